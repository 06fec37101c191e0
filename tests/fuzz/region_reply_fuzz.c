/* SPDX-License-Identifier: Apache-2.0 */
/* What another region may answer: bodies of answers and refusals, in any order, to the pulls of a
 * receiver. What it has proposed is of a shared kind, in order, without a gap. Input: u8 what is
 * answered and how, u8 status or time, u16 size, bytes, and again. */
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/entry.h"
#include "proto/message.h"
#include "replication/region/receiver.h"
#include "tests/sim/disk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { requests_max = 64 };

static struct {
    struct link link; /* first */
    struct link_user user;
    void *requests[requests_max];
    unsigned requests_count;
    struct region_position state;
    uint64_t newest;
    unsigned proposals_count;
} fake;

static void on_attach(struct link *link, const struct link_user *user)
{
    ASSERT(link == &fake.link);
    fake.user = user == NULL ? (struct link_user){0} : *user;
}

static enum status on_send(struct link *link, enum frame_type type, const ProtobufCMessage *message,
                           uint32_t timeout_ms, void *request)
{
    ASSERT(link == &fake.link && type == FRAME_REGION_PULL && message != NULL && timeout_ms == 0);
    if (fake.requests_count == requests_max)
        return STATUS_BUSY;
    fake.requests[fake.requests_count++] = request;
    return STATUS_OK;
}

static void on_leave(struct link *link, const char *reason)
{
    ASSERT(link == &fake.link && reason != NULL);
}

static const struct link_operations operations = {
    .attach = on_attach, .send = on_send, .leave = on_leave};

static void on_standing(void *context, struct receiver_standing *standing)
{
    (void)context;
    *standing = (struct receiver_standing){.applied = fake.state};
}

static enum status on_propose(void *context, struct bytes bytes)
{
    struct entry entry;
    (void)context;
    enum status status = entry_decode(bytes, &entry);
    ASSERT(status == STATUS_OK && entry_kind_is_shared(entry.kind));
    ASSERT(entry.version == fake.newest + 1 || entry.version == fake.state.version + 1);
    if (++fake.proposals_count % 5 == 0)
        return STATUS_BUSY;
    fake.newest = entry.version;
    return STATUS_OK;
}

static void on_trouble(void *context, enum receiver_trouble trouble,
                       const struct region_position *common, struct bytes promotion)
{
    (void)context;
    ASSERT(trouble <= RECEIVER_BEHIND && common != NULL);
    ASSERT(promotion.size == 0 || promotion.data != NULL);
}

/* Answers one of the requests with these bytes, if they are such a message. */
static void answer(uint8_t how, uint8_t with, struct bytes body)
{
    enum status status = STATUS_OK;
    ProtobufCMessage *message;
    struct arena arena;

    if (fake.requests_count == 0)
        return;
    unsigned number = (how >> 2) % fake.requests_count;
    void *request = fake.requests[number];
    fake.requests_count--;
    memmove(&fake.requests[number], &fake.requests[number + 1],
            (fake.requests_count - number) * sizeof request);
    if ((how & 1) != 0)
        status = status_is_known(with) ? (enum status)with : STATUS_INTERNAL;
    message_arena_init(&arena, body.size);
    bool decoded = message_decode(status == STATUS_OK ? &strait__region_pull_reply__descriptor
                                                      : &strait__refusal__descriptor,
                                  body, false, &arena, &message) == STATUS_OK;
    if (decoded)
        fake.user.replied(fake.user.context, request, status, message);
    else
        fake.user.replied(fake.user.context, request, STATUS_DISCONNECTED, NULL);
    arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sim_disk *disk = sim_disk_create(1);
    struct io *io = sim_disk_io(disk);
    const struct receiver_options options = {.io = io,
                                             .link = &fake.link,
                                             .region = 2,
                                             .seed = 1,
                                             .inflight_size_max = 4096,
                                             .standing = on_standing,
                                             .propose = on_propose,
                                             .trouble = on_trouble};
    struct receiver *receiver;

    memset(&fake, 0, sizeof fake);
    fake.link.operations = &operations;
    fake.state.epoch = (struct epoch){1, 1};
    enum status status = receiver_create(&options, &receiver);
    ASSERT(status == STATUS_OK);
    receiver_start(receiver);
    fake.user.connected(fake.user.context, "192.0.2.1:1");
    while (size >= 4) {
        size_t body_size = load_u16(data + 2);
        body_size = body_size < size - 4 ? body_size : size - 4;
        sim_disk_clock_advance(disk, (uint64_t)data[1] * 1000 * 1000);
        io_turn(io, false);
        receiver_turn(receiver);
        answer(data[0], data[1], bytes_of(data + 4, body_size));
        if ((data[0] & 2) != 0) {
            fake.state.version = fake.newest;
            receiver_applied(receiver, &fake.state);
        }
        data += 4 + body_size;
        size -= 4 + body_size;
    }
    ASSERT(receiver_facts(receiver).pulls_count <= receiver_pulls_max);
    receiver_free(receiver);
    sim_disk_destroy(disk);
    return 0;
}
