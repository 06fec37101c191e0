/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of digests, one after another: what is told is of a version that was noted, and what is
 * sent within bounds. Input: u8 sender, u8 kind, u8 size, bytes, and again. */
#include "proto/base/assert.h"
#include "replication/digest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool on_send(void *context, uint64_t to, uint8_t kind, enum bus_lane lane,
                    struct bytes message)
{
    (void)context;
    ASSERT(to <= UINT8_MAX && kind >= DIGEST_CHAIN && kind < DIGEST_SCRUB);
    ASSERT(lane == BUS_CONTROL && message.size <= 40);
    return true;
}

static void on_version(void *context, uint64_t version)
{
    (void)context;
    ASSERT(version >= 1 && version <= 100);
}

static void on_differs(void *context, uint64_t member, uint64_t version)
{
    ASSERT(member == 2 || member == 3);
    on_version(context, version);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct membership membership = {.count = 3,
                                          .members = {{.id = 1, .kinds = MEMBER_VOTER},
                                                      {.id = 2, .kinds = MEMBER_VOTER},
                                                      {.id = 3, .kinds = MEMBER_VOTER}}};
    const struct digests_options options = {.self = 1,
                                            .send = on_send,
                                            .odd = on_version,
                                            .differs = on_differs,
                                            .undecided = on_version};
    struct digests *digests;
    ASSERT(digests_create(&options, &digests) == STATUS_OK);
    for (uint64_t version = 1; version <= 50; version++)
        digests_note(digests, version, (struct hash128){.low = version});
    digests_lead(digests, &membership);
    uint64_t newest = 50;
    while (size >= 3) {
        size_t message_size = data[2] < size - 3 ? data[2] : size - 3;
        digests_received(digests, data[0], data[1], bytes_of(data + 3, message_size));
        if (data[1] == 0 && newest < 100) {
            newest++;
            digests_note(digests, newest, (struct hash128){.low = newest});
        }
        if (data[1] == 1)
            digests_lead(digests, &membership);
        data += 3 + message_size;
        size -= 3 + message_size;
    }
    digests_free(digests);
    return 0;
}
