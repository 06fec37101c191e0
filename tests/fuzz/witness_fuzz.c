/* SPDX-License-Identifier: Apache-2.0 */
/* What members, or whoever has the key of one, may ask of a witness, with restarts in between: each
 * question is answered once, epochs never go back, and no two regions hold a grant at a time.
 * Input: u8 time (0: a restart), u8 region, epoch's number and region, flags (1: to be promoted, 2:
 * for the whole lease, 4: without the epoch's record); u16 size of further bytes, which are decoded
 * as a whole question in place of that. */
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "proto/epoch.h"
#include "proto/message.h"
#include "server/net/mailbox.h"
#include "server/witness.h"
#include "storage/io/blocking.h"
#include "tests/sim/disk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { lease_ms = 6000, regions_max = 8, header_size = 7, record_size = 12 };

#define NS_PER_MS 1000000ULL

static struct {
    struct sim_disk *disk;
    struct io *io;
    struct keyring *keyring;
    struct witness *witness;
    struct mailbox replies;
    struct session session;
    struct epoch epoch; /* the highest that was answered */
    uint32_t holder;
    uint64_t until_ns;
} fake;

static void on_failed(void *context, const struct error *error)
{
    (void)context;
    (void)error;
    UNREACHABLE(); /* the disk is sound */
}

/* A record here is a number and a region, and whatever follows. */
static enum status on_verify(void *context, struct bytes record, struct epoch *to,
                             struct error *error)
{
    (void)context;
    *to = (struct epoch){0};
    if (record.size < record_size)
        return error_set(error, STATUS_MALFORMED, "This is no record.");
    *to = (struct epoch){.number = load_u64(record.data), .region = load_u32(record.data + 8)};
    return STATUS_OK;
}

static void begin(bool is_new)
{
    const struct witness_options options = {.io = fake.io,
                                            .keyring = fake.keyring,
                                            .directory = "/w",
                                            .lease_ms = lease_ms,
                                            .is_new = is_new,
                                            .verify = on_verify,
                                            .failed = on_failed};
    struct error error = {0};
    enum status status = witness_open(&options, &fake.witness, &error);
    ASSERT(status == STATUS_OK);
}

static void check(const struct request *request, const Strait__WitnessLeaseReply *reply)
{
    const Strait__WitnessLease *asked = REQUEST_MESSAGE(request, WitnessLease);
    const struct epoch epoch = {.number = reply->epoch_number, .region = reply->epoch_region};
    uint64_t now = io_boot_ns(fake.io);

    ASSERT(epoch_compare(epoch, fake.epoch) >= 0);
    fake.epoch = epoch;
    if (reply->answer == STRAIT__WITNESS_LEASE_REPLY__ANSWER__NOTED &&
        fake.holder == asked->region_id)
        fake.until_ns = 0;
    if (reply->answer != STRAIT__WITNESS_LEASE_REPLY__ANSWER__GRANTED)
        return;
    ASSERT(asked->lease_ms <= lease_ms && asked->epoch_number == epoch.number);
    ASSERT(fake.holder == asked->region_id || fake.until_ns <= now);
    uint64_t until_ns = now + asked->lease_ms * NS_PER_MS;
    if (fake.holder != asked->region_id || until_ns > fake.until_ns)
        fake.until_ns = until_ns;
    fake.holder = asked->region_id;
}

static void ask(struct bytes body)
{
    struct request request = {.session = &fake.session,
                              .type = FRAME_WITNESS_LEASE,
                              .replies = &fake.replies,
                              .body = body};
    struct request *answered;
    ProtobufCMessage *message;
    struct arena arena;

    list_init(&request.link);
    message_arena_init(&request.arena, body.size);
    if (message_decode(&strait__witness_lease__descriptor, body, true, &request.arena,
                       &request.message) == STATUS_OK) {
        request.arena.allocations_max = UINT32_MAX;
        request.arena.budget_size = request.arena.used_size + limit_frame_size;
        witness_take(fake.witness, &request);
        while (witness_requests_count(fake.witness) != 0)
            io_turn(fake.io, true);
        answered = mailbox_take(&fake.replies);
        ASSERT(answered == &request && mailbox_take(&fake.replies) == NULL);
        if (request.status == STATUS_OK) {
            struct bytes reply = bytes_of(request.reply.data + frame_header_size,
                                          request.reply.size - frame_header_size);
            message_arena_init(&arena, reply.size);
            enum status status = message_decode(&strait__witness_lease_reply__descriptor, reply,
                                                false, &arena, &message);
            ASSERT(status == STATUS_OK);
            check(&request, (const Strait__WitnessLeaseReply *)(const void *)message);
            arena_free(&arena);
        }
    }
    arena_free(&request.arena);
}

static void ask_of(const uint8_t *from)
{
    Strait__WitnessLease asked = STRAIT__WITNESS_LEASE__INIT;
    uint8_t record[record_size];
    uint8_t bytes[64];
    asked.region_id = from[1] % regions_max;
    asked.epoch_number = from[2];
    asked.epoch_region = from[3] % regions_max;
    asked.candidate = (from[4] & 1) != 0;
    asked.lease_ms = (from[4] & 2) != 0 ? lease_ms : (uint32_t)from[4] * 100;
    store_u64(record, asked.epoch_number);
    store_u32(record + 8, asked.epoch_region);
    if ((from[4] & 4) == 0)
        asked.promotion = field_of_bytes(bytes_of(record, sizeof record));
    ASSERT(protobuf_c_message_get_packed_size(&asked.base) <= sizeof bytes);
    ask(bytes_of(bytes, protobuf_c_message_pack(&asked.base, bytes)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t cluster[seal_id_size] = {1};

    log_level_set(LOG_ERROR);
    memset(&fake, 0, sizeof fake);
    fake.disk = sim_disk_create(1);
    fake.io = sim_disk_io(fake.disk);
    fake.session = (struct session){.id = 1, .role = ROLE_PEER, .identity = "s1"};
    enum status status = keyring_create_in_memory(cluster, false, &fake.keyring);
    ASSERT(status == STATUS_OK);
    status = mailbox_open(&fake.replies, false, 4);
    ASSERT(status == STATUS_OK);
    status = io_make_directory_wait(fake.io, "/w");
    ASSERT(status == STATUS_OK);
    begin(true);
    while (size >= header_size) {
        size_t body_size = load_u16(data + 5);
        body_size = body_size < size - header_size ? body_size : size - header_size;
        sim_disk_clock_advance(fake.disk, (uint64_t)data[0] * 50 * NS_PER_MS);
        if (data[0] == 0) {
            witness_close(fake.witness);
            begin(false);
        } else if (body_size == 0) {
            ask_of(data);
        } else {
            ask(bytes_of(data + header_size, body_size));
        }
        data += header_size + body_size;
        size -= header_size + body_size;
    }
    witness_close(fake.witness);
    mailbox_close(&fake.replies);
    keyring_close(fake.keyring);
    sim_disk_destroy(fake.disk);
    return 0;
}
