/* SPDX-License-Identifier: Apache-2.0 */
/* Promotions that clients tell of: a valid one stops the old primary, nothing else does. */
#include "proto/message.h"
#include "tests/unit/server/pair_fixture.h"

/* A connection begins, and claims that `epoch` began with `record`. The reply stays in *ask. */
static const Strait__HelloReply *hello(unsigned number, struct epoch epoch, struct bytes record,
                                       struct core_ask *ask)
{
    Strait__Hello hello = STRAIT__HELLO__INIT;
    Strait__Promotion promotion = STRAIT__PROMOTION__INIT;

    hello.protocol_version = frame_protocol_version;
    promotion.epoch_number = epoch.number;
    promotion.epoch_region = epoch.region;
    promotion.record = field_of_bytes(record);
    hello.promotion = &promotion;
    ck_assert_int_eq(pair_ask(number, ask, FRAME_HELLO, &hello.base), STATUS_OK);
    return (const Strait__HelloReply *)(const void *)ask->message;
}

static void tell(unsigned number, struct epoch epoch, struct bytes record)
{
    struct core_ask ask;
    (void)hello(number, epoch, record, &ask);
    core_ask_free(&ask);
}

static struct epoch epoch_of(uint64_t number, uint32_t region)
{
    return (struct epoch){.number = number, .region = region};
}

/* Cut off from each other, and told by a client that has been at both. */
START_TEST(test_a_client_stops_the_old_primary)
{
    struct core_ask ask;
    uint8_t record[limit_promotion_record_size];

    pair_set_up();
    pair_is_cut = true;
    ck_assert_int_eq(pair_promote(1, true, &ask), STATUS_OK);
    core_ask_free(&ask);
    ck_assert_int_eq(pair_put(0, "k", "not known yet"), STATUS_OK);

    const Strait__HelloReply *reply = hello(1, epoch_of(0, 0), (struct bytes){0}, &ask);
    ck_assert_ptr_nonnull(reply->promotion);
    const struct epoch epoch =
        epoch_of(reply->promotion->epoch_number, reply->promotion->epoch_region);
    const size_t size = reply->promotion->record.len;
    ck_assert_uint_eq(epoch.region, 2);
    ck_assert_uint_eq(size, pair_record_size);
    memcpy(record, reply->promotion->record.data, size);
    core_ask_free(&ask);

    pair_verifications_count = 0;
    reply = hello(0, epoch, bytes_of(record, size), &ask);
    ck_assert_uint_eq(reply->promotion->epoch_number, epoch.number); /* for its next client */
    core_ask_free(&ask);
    pair_check_refuses(0, 1);
    pair_commit_begin(0, 7, "k", &ask);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(0), &ask), STATUS_NOT_PRIMARY);
    ck_assert_uint_eq(ask.refusal->promotion.len, size);
    core_ask_free(&ask);
    for (unsigned i = 0; i < 3; i++)
        tell(0, epoch, bytes_of(record, size));
    ck_assert_uint_eq(pair_verifications_count, 1);

    /* Its log says so too: it stays so. */
    pair_run_ms(200);
    pair_close(0);
    pair_open(0);
    pair_check_refuses(0, 1);
    pair_tear_down();
}
END_TEST

START_TEST(test_what_is_not_valid_stops_nobody)
{
    uint8_t record[pair_record_size];
    uint8_t large[limit_promotion_record_size + 1] = {'P'};

    pair_set_up();
    pair_verifications_count = 0;
    for (unsigned i = 0; i < 100; i++)
        tell(0, epoch_of(99, 2), bytes_of_text("no record"));
    ck_assert_uint_eq(pair_verifications_count, 1);
    pair_run_ms(11000);
    tell(0, epoch_of(99, 2), bytes_of_text("no record"));
    ck_assert_uint_eq(pair_verifications_count, 2); /* a certificate may be known by now */

    /* Too large, or none at all. */
    tell(0, epoch_of(99, 2), bytes_of(large, sizeof large));
    tell(0, epoch_of(99, 2), (struct bytes){0});
    ck_assert_uint_eq(pair_verifications_count, 2);

    /* Of an epoch that is known, or said to be one and not; and, valid, of a lower one. */
    pair_record_make(epoch_of(1, 1), record);
    tell(0, epoch_of(1, 1), bytes_of(record, sizeof record));
    ck_assert_uint_eq(pair_verifications_count, 2);
    for (unsigned i = 0; i < 3; i++)
        tell(0, epoch_of(99, 2), bytes_of(record, sizeof record));
    ck_assert_uint_eq(pair_verifications_count, 3);
    ck_assert_int_eq(pair_put(0, "k", "v"), STATUS_OK);
    pair_wait_level();
    pair_tear_down();
}
END_TEST

/* More bad ones than are remembered: the one that holds is heeded all the same. */
START_TEST(test_many_bad_ones_hide_no_good_one)
{
    uint8_t record[pair_record_size];

    pair_set_up();
    pair_is_cut = true;
    for (uint8_t i = 0; i < 50; i++) {
        const uint8_t bad[] = {'x', i};
        tell(0, epoch_of(99, 2), bytes_of(bad, sizeof bad));
    }
    ck_assert_int_eq(pair_put(0, "k", "v"), STATUS_OK);
    pair_record_make(epoch_of(5, 2), record);
    tell(0, epoch_of(5, 2), bytes_of(record, sizeof record));
    pair_check_refuses(0, 1);
    pair_tear_down();
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_a_client_stops_the_old_primary);
    tcase_add_test(tests, test_what_is_not_valid_stops_nobody);
    tcase_add_test(tests, test_many_bad_ones_hide_no_good_one);
}
