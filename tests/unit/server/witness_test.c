/* SPDX-License-Identifier: Apache-2.0 */
#include "server/witness.h"

#include <string.h>

#include "proto/message.h"
#include "server/net/mailbox.h"
#include "storage/io/blocking.h"
#include "tests/sim/disk.h"
#include "tests/unit/unit.h"

enum { lease_ms = 6000, singapore = 1, sydney = 2 };

#define NS_PER_MS 1000000ULL

static struct {
    struct sim_disk *disk;
    struct io *io;
    struct keyring *keyring;
    struct witness *witness;
    struct mailbox replies;
    struct session session;
    struct error error;
    uint64_t lease_ms;
    unsigned failed_count;
    unsigned verifications_count;
} fixture;

/* A request and what came of it. */
struct asked {
    struct request request;
    ProtobufCMessage *message; /* a Refusal where the status is not OK */
};

static void on_failed(void *context, const struct error *error)
{
    ck_assert_ptr_eq(context, &fixture);
    ck_assert_int_ne(error->status, STATUS_OK);
    fixture.failed_count++;
}

/* A record here is a number and a region, and whatever follows. */
static struct bytes record_make(struct epoch epoch, uint8_t *to, size_t size)
{
    store_u64(to, epoch.number);
    store_u32(to + 8, epoch.region);
    return bytes_of(to, size);
}

static enum status on_verify(void *context, struct bytes record, struct epoch *to,
                             struct error *error)
{
    ck_assert_ptr_eq(context, &fixture);
    fixture.verifications_count++;
    *to = (struct epoch){0};
    if (record.size < 12)
        return error_set(error, STATUS_MALFORMED, "This is no record.");
    *to = (struct epoch){.number = load_u64(record.data), .region = load_u32(record.data + 8)};
    return STATUS_OK;
}

static enum status begin(bool is_new)
{
    const struct witness_options options = {.io = fixture.io,
                                            .keyring = fixture.keyring,
                                            .directory = "/w",
                                            .lease_ms = fixture.lease_ms,
                                            .is_new = is_new,
                                            .verify = on_verify,
                                            .failed = on_failed,
                                            .context = &fixture};
    fixture.error = (struct error){0};
    return witness_open(&options, &fixture.witness, &fixture.error);
}

static void setup(void)
{
    static const uint8_t cluster[seal_id_size] = {7};
    memset(&fixture, 0, sizeof fixture);
    fixture.lease_ms = lease_ms;
    fixture.disk = sim_disk_create(1);
    fixture.io = sim_disk_io(fixture.disk);
    fixture.session = (struct session){.id = 1, .role = ROLE_PEER, .identity = "s1"};
    ck_assert_int_eq(keyring_create_in_memory(cluster, false, &fixture.keyring), STATUS_OK);
    ck_assert_int_eq(mailbox_open(&fixture.replies, false, 8), STATUS_OK);
    ck_assert_int_eq(io_make_directory_wait(fixture.io, "/w"), STATUS_OK);
    ck_assert_int_eq(io_flush_directory_wait(fixture.io, "/"), STATUS_OK);
}

static void teardown(void)
{
    witness_close(fixture.witness);
    mailbox_close(&fixture.replies);
    keyring_close(fixture.keyring);
    sim_disk_destroy(fixture.disk);
}

static void take(struct asked *asked, enum frame_type type, const ProtobufCMessage *message)
{
    static uint8_t bytes[limit_request_pull_size];
    ck_assert_uint_le(protobuf_c_message_get_packed_size(message), sizeof bytes);
    size_t size = protobuf_c_message_pack(message, bytes);

    *asked = (struct asked){
        .request = {.session = &fixture.session, .type = type, .replies = &fixture.replies}};
    list_init(&asked->request.link);
    message_arena_init(&asked->request.arena, size);
    ck_assert(arena_copy(&asked->request.arena, bytes_of(bytes, size), &asked->request.body));
    ck_assert_int_eq(message_decode(message->descriptor, asked->request.body, true,
                                    &asked->request.arena, &asked->request.message),
                     STATUS_OK);
    asked->request.arena.allocations_max = UINT32_MAX;
    asked->request.arena.budget_size = asked->request.arena.used_size + 2 * limit_frame_size;
    witness_take(fixture.witness, &asked->request);
}

static enum status finish(struct asked *asked, const ProtobufCMessageDescriptor *descriptor)
{
    struct request *request;
    while ((request = mailbox_take(&fixture.replies)) == NULL)
        io_turn(fixture.io, true);
    ck_assert_ptr_eq(request, &asked->request);
    struct bytes body =
        bytes_of(request->reply.data + frame_header_size, request->reply.size - frame_header_size);
    ck_assert_int_eq(
        message_decode(request->status == STATUS_OK ? descriptor : &strait__refusal__descriptor,
                       body, true, &request->arena, &asked->message),
        STATUS_OK);
    return request->status;
}

static Strait__WitnessLease question(uint32_t region, uint64_t number, uint32_t epoch_region)
{
    Strait__WitnessLease lease = STRAIT__WITNESS_LEASE__INIT;
    lease.region_id = region;
    lease.epoch_number = number;
    lease.epoch_region = epoch_region;
    lease.lease_ms = lease_ms;
    return lease;
}

/* What it answers; the reply is checked for the epoch that it knows then. */
static Strait__WitnessLeaseReply__Answer ask(const Strait__WitnessLease *lease, uint64_t number)
{
    struct asked asked;
    take(&asked, FRAME_WITNESS_LEASE, &lease->base);
    ck_assert_int_eq(finish(&asked, &strait__witness_lease_reply__descriptor), STATUS_OK);
    const Strait__WitnessLeaseReply *reply = (Strait__WitnessLeaseReply *)(void *)asked.message;
    Strait__WitnessLeaseReply__Answer answer = reply->answer;
    ck_assert_uint_eq(reply->epoch_number, number);
    arena_free(&asked.request.arena);
    return answer;
}

static void pass_ms(uint64_t ms)
{
    sim_disk_clock_advance(fixture.disk, ms * NS_PER_MS);
    io_turn(fixture.io, false);
}

/* It loses its power, and starts again. */
static void crash(uint64_t seed)
{
    sim_disk_crash_now(fixture.disk);
    witness_close(fixture.witness);
    sim_disk_restart(fixture.disk, seed, SIM_RESTART_RANDOM);
    fixture.io = sim_disk_io(fixture.disk);
    ck_assert_msg(begin(false) == STATUS_OK, "%s", fixture.error.text);
}

#define ANSWER(name) STRAIT__WITNESS_LEASE_REPLY__ANSWER__##name

START_TEST(test_epochs_outlive_it_and_grants_do_not)
{
    Strait__WitnessLease primary = question(singapore, 1, singapore);
    Strait__WitnessLease heir = question(sydney, 1, singapore);

    ck_assert_int_eq(begin(true), STATUS_OK);
    ck_assert_int_eq(ask(&primary, 1), ANSWER(WAITS));
    pass_ms(lease_ms);
    ck_assert_int_eq(ask(&primary, 1), ANSWER(GRANTED));
    heir.candidate = true;
    ck_assert_int_eq(ask(&heir, 1), ANSWER(HELD));

    /* It loses its power, and what it promised with it: so it grants nothing for one lease. */
    crash(3);
    ck_assert_int_eq(ask(&primary, 1), ANSWER(WAITS));
    ck_assert_int_eq(ask(&heir, 1), ANSWER(WAITS));
    pass_ms(lease_ms);
    ck_assert_int_eq(ask(&heir, 1), ANSWER(GRANTED));
    uint8_t record[12];
    Strait__WitnessLease promoted = question(sydney, 2, sydney);
    promoted.promotion = field_of_bytes(record_make((struct epoch){2, sydney}, record, 12));
    ck_assert_int_eq(ask(&promoted, 2), ANSWER(GRANTED));

    /* The new epoch was kept before it was answered. */
    crash(4);
    pass_ms(lease_ms);
    ck_assert_int_eq(ask(&primary, 2), ANSWER(OLD_EPOCH));
    ck_assert_int_eq(ask(&promoted, 2), ANSWER(GRANTED));
}
END_TEST

START_TEST(test_the_old_primary_is_shown_the_record)
{
    static uint8_t bytes[limit_promotion_record_size];
    Strait__WitnessLease primary = question(singapore, 1, singapore);
    Strait__WitnessLease promoted = question(sydney, 2, sydney);
    struct asked asked;

    memset(bytes, 5, sizeof bytes);
    ck_assert_int_eq(begin(true), STATUS_OK);
    ck_assert_int_eq(ask(&primary, 1), ANSWER(WAITS));
    promoted.promotion =
        field_of_bytes(record_make((struct epoch){2, sydney}, bytes, sizeof bytes));
    ck_assert_int_eq(ask(&promoted, 2), ANSWER(WAITS));
    witness_close(fixture.witness);
    ck_assert_msg(begin(false) == STATUS_OK, "%s", fixture.error.text);
    take(&asked, FRAME_WITNESS_LEASE, &primary.base);
    ck_assert_int_eq(finish(&asked, &strait__witness_lease_reply__descriptor), STATUS_OK);
    const Strait__WitnessLeaseReply *reply = (Strait__WitnessLeaseReply *)(void *)asked.message;
    ck_assert_int_eq(reply->answer, ANSWER(OLD_EPOCH));
    ck_assert_uint_eq(reply->promotion.len, sizeof bytes);
    ck_assert_mem_eq(reply->promotion.data, bytes, sizeof bytes);
    arena_free(&asked.request.arena);
}
END_TEST

/* Whoever says it: what is believed, and from then on answered with, has a valid record. */
START_TEST(test_an_epoch_needs_its_record)
{
    uint8_t record[12];
    Strait__WitnessLease primary = question(singapore, 1, singapore);
    Strait__WitnessLease claim = question(sydney, 9, sydney);

    ck_assert_int_eq(begin(true), STATUS_OK);
    pass_ms(lease_ms);
    ck_assert_int_eq(ask(&claim, 0), ANSWER(UNPROVEN));
    ck_assert_int_eq(ask(&primary, 1), ANSWER(GRANTED));
    ck_assert_int_eq(ask(&claim, 1), ANSWER(UNPROVEN));
    claim.promotion = field_of_bytes(bytes_of("none", 4));
    ck_assert_int_eq(ask(&claim, 1), ANSWER(UNPROVEN));
    /* A true one, of another epoch. */
    claim.promotion = field_of_bytes(record_make((struct epoch){2, sydney}, record, 12));
    ck_assert_int_eq(ask(&claim, 1), ANSWER(UNPROVEN));
    ck_assert_int_eq(ask(&primary, 1), ANSWER(GRANTED));
    ck_assert_uint_eq(fixture.verifications_count, 2);

    claim.promotion = field_of_bytes(record_make((struct epoch){9, sydney}, record, 12));
    ck_assert_int_eq(ask(&claim, 9), ANSWER(HELD));
    ck_assert_int_eq(ask(&primary, 9), ANSWER(OLD_EPOCH));
    /* What is known is not looked at again. */
    ck_assert_int_eq(ask(&claim, 9), ANSWER(HELD));
    ck_assert_uint_eq(fixture.verifications_count, 3);
}
END_TEST

START_TEST(test_who_was_taken_out_is_granted_nothing)
{
    uint32_t regions[limit_regions_count + 1] = {singapore, sydney};
    Strait__WitnessStatus status = STRAIT__WITNESS_STATUS__INIT;
    Strait__WitnessLease primary = question(singapore, 1, singapore);
    Strait__WitnessLease heir = question(sydney, 1, singapore);
    struct asked asked;

    ck_assert_int_eq(begin(true), STATUS_OK);
    pass_ms(lease_ms);
    primary.regions = regions;
    primary.n_regions = limit_regions_count + 1;
    primary.list_version = 7;
    take(&asked, FRAME_WITNESS_LEASE, &primary.base);
    ck_assert_int_eq(finish(&asked, NULL), STATUS_INVALID_ARGUMENT);
    arena_free(&asked.request.arena);

    primary.list_term = 2;
    primary.list_serial = 1;
    primary.n_regions = 2;
    ck_assert_int_eq(ask(&primary, 1), ANSWER(GRANTED));
    primary.list_serial = 2;
    primary.n_regions = 1;
    take(&asked, FRAME_WITNESS_LEASE, &primary.base);
    ck_assert_int_eq(finish(&asked, &strait__witness_lease_reply__descriptor), STATUS_OK);
    const Strait__WitnessLeaseReply *reply = (Strait__WitnessLeaseReply *)(void *)asked.message;
    ck_assert_int_eq(reply->answer, ANSWER(GRANTED));
    ck_assert_uint_eq(reply->list_version, 7);
    ck_assert_uint_eq(reply->list_term, 2);
    ck_assert_uint_eq(reply->list_serial, 2);
    arena_free(&asked.request.arena);

    /* It was kept before it was answered. */
    crash(5);
    pass_ms(lease_ms);
    heir.candidate = true;
    ck_assert_int_eq(ask(&heir, 1), ANSWER(REMOVED));
    ck_assert_int_eq(ask(&primary, 1), ANSWER(GRANTED));
    take(&asked, FRAME_WITNESS_STATUS, &status.base);
    ck_assert_int_eq(finish(&asked, &strait__witness_status_reply__descriptor), STATUS_OK);
    const Strait__WitnessStatusReply *told = (Strait__WitnessStatusReply *)(void *)asked.message;
    ck_assert_uint_eq(told->list_version, 7);
    ck_assert_uint_eq(told->n_listed, 1);
    ck_assert_uint_eq(told->listed[0], singapore);
    arena_free(&asked.request.arena);
}
END_TEST

/* Shorter leases begin once the longer ones are over. */
START_TEST(test_leases_are_made_shorter)
{
    Strait__WitnessLease primary = question(singapore, 1, singapore);
    Strait__WitnessLease heir = question(sydney, 1, singapore);
    struct asked asked;

    ck_assert_int_eq(begin(true), STATUS_OK);
    pass_ms(lease_ms);
    ck_assert_int_eq(ask(&primary, 1), ANSWER(GRANTED));
    fixture.lease_ms = lease_ms / 6;
    crash(6);
    heir.lease_ms = lease_ms / 6;
    heir.candidate = true;
    pass_ms(lease_ms - 1);
    ck_assert_int_eq(ask(&heir, 1), ANSWER(WAITS));
    /* One more start begins the wait anew: what was kept is kept. */
    crash(7);
    pass_ms(lease_ms - 1);
    ck_assert_int_eq(ask(&heir, 1), ANSWER(WAITS));
    pass_ms(1);
    take(&asked, FRAME_WITNESS_LEASE, &heir.base);
    ck_assert_int_eq(finish(&asked, &strait__witness_lease_reply__descriptor), STATUS_OK);
    const Strait__WitnessLeaseReply *reply = (Strait__WitnessLeaseReply *)(void *)asked.message;
    ck_assert_int_eq(reply->answer, ANSWER(GRANTED));
    ck_assert_uint_eq(reply->asked_max_ms, lease_ms);
    arena_free(&asked.request.arena);
    crash(8);
    pass_ms(lease_ms / 6);
    ck_assert_int_eq(ask(&heir, 1), ANSWER(GRANTED));
}
END_TEST

START_TEST(test_one_write_is_under_way_at_a_time)
{
    uint8_t record[12];
    Strait__WitnessLease primary = question(singapore, 1, singapore);
    Strait__WitnessLease promoted = question(sydney, 2, sydney);
    promoted.promotion = field_of_bytes(record_make((struct epoch){2, sydney}, record, 12));
    struct asked first;
    struct asked second;

    ck_assert_int_eq(begin(true), STATUS_OK);
    take(&first, FRAME_WITNESS_LEASE, &primary.base);
    ck_assert_uint_eq(witness_requests_count(fixture.witness), 1);
    take(&second, FRAME_WITNESS_LEASE, &promoted.base);
    ck_assert_int_eq(finish(&second, NULL), STATUS_BUSY);
    ck_assert_int_eq(finish(&first, &strait__witness_lease_reply__descriptor), STATUS_OK);
    ck_assert_uint_eq(witness_requests_count(fixture.witness), 0);
    arena_free(&first.request.arena);
    arena_free(&second.request.arena);
}
END_TEST

START_TEST(test_what_is_refused)
{
    static uint8_t bytes[limit_promotion_record_size + 1];
    Strait__WitnessLease lease = question(0, 1, singapore);
    Strait__Get get = STRAIT__GET__INIT;
    struct asked asked;

    ck_assert_int_eq(begin(true), STATUS_OK);
    take(&asked, FRAME_WITNESS_LEASE, &lease.base);
    ck_assert_int_eq(finish(&asked, NULL), STATUS_INVALID_ARGUMENT);
    arena_free(&asked.request.arena);
    lease = question(sydney, 2, sydney);
    lease.promotion = field_of_bytes(bytes_of(bytes, sizeof bytes));
    take(&asked, FRAME_WITNESS_LEASE, &lease.base);
    ck_assert_int_eq(finish(&asked, NULL), STATUS_INVALID_ARGUMENT);
    arena_free(&asked.request.arena);
    take(&asked, FRAME_GET, &get.base);
    ck_assert_int_eq(finish(&asked, NULL), STATUS_UNSUPPORTED);
    arena_free(&asked.request.arena);
}
END_TEST

START_TEST(test_its_status)
{
    Strait__WitnessStatus status = STRAIT__WITNESS_STATUS__INIT;
    Strait__WitnessLease primary = question(singapore, 1, singapore);
    struct asked asked;

    ck_assert_int_eq(begin(true), STATUS_OK);
    pass_ms(lease_ms);
    ck_assert_int_eq(ask(&primary, 1), ANSWER(GRANTED));
    pass_ms(1000);
    take(&asked, FRAME_WITNESS_STATUS, &status.base);
    ck_assert_int_eq(finish(&asked, &strait__witness_status_reply__descriptor), STATUS_OK);
    const Strait__WitnessStatusReply *reply = (Strait__WitnessStatusReply *)(void *)asked.message;
    ck_assert_uint_eq(reply->epoch_number, 1);
    ck_assert(reply->epoch_held && !reply->candidate);
    ck_assert_uint_eq(reply->granted_to, singapore);
    ck_assert_uint_le(reply->granted_ms, lease_ms - 1000);
    ck_assert_uint_eq(reply->n_regions, 1);
    ck_assert_str_eq(reply->regions[0]->server, "s1");
    ck_assert_int_eq(reply->regions[0]->answer, ANSWER(GRANTED));
    arena_free(&asked.request.arena);
}
END_TEST

/* Nothing that was kept before, or is said to be: what it knew may have been lost. */
START_TEST(test_a_start_without_what_was_kept)
{
    ck_assert_int_eq(begin(false), STATUS_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(fixture.error.text, "--bootstrap"));
    ck_assert_int_eq(begin(true), STATUS_OK);
    witness_close(fixture.witness);
    ck_assert_int_eq(begin(true), STATUS_ALREADY_EXISTS);
    ck_assert_int_eq(begin(false), STATUS_OK);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_epochs_outlive_it_and_grants_do_not);
    tcase_add_test(tests, test_the_old_primary_is_shown_the_record);
    tcase_add_test(tests, test_an_epoch_needs_its_record);
    tcase_add_test(tests, test_who_was_taken_out_is_granted_nothing);
    tcase_add_test(tests, test_leases_are_made_shorter);
    tcase_add_test(tests, test_one_write_is_under_way_at_a_time);
    tcase_add_test(tests, test_what_is_refused);
    tcase_add_test(tests, test_its_status);
    tcase_add_test(tests, test_a_start_without_what_was_kept);
}
