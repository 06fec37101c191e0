/* SPDX-License-Identifier: Apache-2.0 */
/* A standby takes what the primary commits, and leaves to it what only a primary may answer. */
#include <stdio.h>

#include "proto/message.h"
#include "tests/unit/server/pair_fixture.h"

/* Reads a key of "t" at a consistency: the status, the value ("" where there is none), and whom a
 * refusal names. */
static enum status get(unsigned number, Strait__Consistency__Kind kind, const char *key,
                       char value[64], char leader[64])
{
    Strait__Consistency consistency = STRAIT__CONSISTENCY__INIT;
    Strait__Get message = STRAIT__GET__INIT;
    Strait__Key wanted = STRAIT__KEY__INIT;
    Strait__Key *keys[] = {&wanted};
    struct core_ask ask;

    value[0] = 0;
    leader[0] = 0;
    consistency.kind = kind;
    consistency.max_staleness_ms = 60 * 60 * 1000;
    wanted.table = (char *)(uintptr_t) "t";
    wanted.key = field_of_bytes(bytes_of_text(key));
    message.keys = keys;
    message.n_keys = 1;
    message.consistency = &consistency;
    enum status status = pair_ask(number, &ask, FRAME_GET, &message.base);
    if (status == STATUS_OK) {
        const Strait__GetReply *reply = (const void *)ask.message;
        ck_assert_uint_eq(reply->n_records, 1);
        if (reply->records[0]->found)
            snprintf(value, 64, "%.*s", (int)reply->records[0]->value.len,
                     (const char *)reply->records[0]->value.data);
    } else {
        snprintf(leader, 64, "%s", ask.refusal->leader);
    }
    core_ask_free(&ask);
    return status;
}

static uint64_t horizon_of(unsigned number)
{
    Strait__TxnList list = STRAIT__TXN_LIST__INIT;
    struct core_ask ask;
    ck_assert_int_eq(pair_ask(number, &ask, FRAME_TXN_LIST, &list.base), STATUS_OK);
    uint64_t horizon = ((const Strait__TxnListReply *)(const void *)ask.message)->horizon;
    core_ask_free(&ask);
    return horizon;
}

static void check_stale(unsigned number, const char *key, const char *expected)
{
    char value[64];
    char leader[64];
    ck_assert_int_eq(get(number, STRAIT__CONSISTENCY__KIND__BOUNDED_STALE, key, value, leader),
                     STATUS_OK);
    ck_assert_str_eq(value, expected);
}

START_TEST(test_commits_arrive)
{
    char key[16];

    pair_set_up();
    for (unsigned i = 0; i < 50; i++) {
        snprintf(key, sizeof key, "k%u", i);
        ck_assert_int_eq(pair_put(0, key, key), STATUS_OK);
    }
    uint64_t version = pair_facts(0).version;
    pair_wait_level();
    ck_assert_uint_ge(pair_facts(1).version, version);
    check_stale(1, "k0", "k0");
    check_stale(1, "k49", "k49");
    check_stale(1, "k50", "");
    pair_tear_down();
}
END_TEST

START_TEST(test_what_was_missed_while_cut_arrives_later)
{
    pair_set_up();
    ck_assert_int_eq(pair_put(0, "k", "before"), STATUS_OK);
    pair_wait_level();
    pair_is_cut = true;
    ck_assert_int_eq(pair_put(0, "k", "meanwhile"), STATUS_OK);
    pair_run_ms(2000);
    ck_assert_uint_lt(pair_facts(1).version, pair_facts(0).version);
    check_stale(1, "k", "before");
    pair_is_cut = false;
    pair_wait_level();
    check_stale(1, "k", "meanwhile");
    pair_tear_down();
}
END_TEST

/* Each cut loses what was in flight, pulls and answers, and nothing of the stream. */
START_TEST(test_cuts_lose_nothing)
{
    char key[16];

    pair_set_up();
    for (unsigned i = 0; i < 30; i++) {
        struct core_ask ask;
        snprintf(key, sizeof key, "k%u", i);
        pair_commit_begin(0, (uint8_t)i, key, &ask);
        for (unsigned turns = 0; turns < i; turns++)
            pair_turn();
        pair_is_cut = true;
        ck_assert_int_eq(core_fixture_wait(pair_fixture(0), &ask), STATUS_OK);
        core_ask_free(&ask);
        pair_turn();
        pair_is_cut = false;
    }
    pair_wait_level();
    for (unsigned i = 0; i < 30; i++) {
        snprintf(key, sizeof key, "k%u", i);
        check_stale(1, key, "v");
    }
    pair_tear_down();
}
END_TEST

START_TEST(test_both_go_on_after_restarts)
{
    pair_set_up();
    pair_close(1);
    ck_assert_int_eq(pair_put(0, "k", "without two"), STATUS_OK);
    pair_open(1);
    pair_wait_level();
    check_stale(1, "k", "without two");
    pair_close(0);
    check_stale(1, "k", "without two");
    pair_open(0);
    ck_assert_int_eq(pair_put(0, "k", "after"), STATUS_OK);
    pair_wait_level();
    check_stale(1, "k", "after");
    pair_tear_down();
}
END_TEST

START_TEST(test_a_standby_leaves_to_the_primary_what_is_its)
{
    char value[64];
    char leader[64];
    struct core_ask ask;

    pair_set_up();
    uint64_t version = pair_facts(1).version;
    pair_check_refuses(1, 0);
    ck_assert_int_eq(get(1, STRAIT__CONSISTENCY__KIND__LINEARIZABLE, "k", value, leader),
                     STATUS_NOT_PRIMARY);
    ck_assert_str_eq(leader, "one:7400");
    ck_assert_int_eq(pair_change(1, STRAIT__REGION_CHANGE__ACTION__ADD, 3, "three", "three:1"),
                     STATUS_NOT_PRIMARY);
    pair_switchover_begin(1, "two", 0, &ask);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(1), &ask), STATUS_NOT_PRIMARY);
    core_ask_free(&ask);
    ck_assert_uint_eq(pair_facts(1).version, version);
    pair_tear_down();
}
END_TEST

/* Of whom it follows it has no list yet: it names nobody, and cannot be promoted with nothing. */
START_TEST(test_a_standby_that_has_nothing)
{
    struct core_ask ask;

    pair_begin();
    pair_is_cut = true;
    pair_open(1);
    pair_run_ms(1000);
    ck_assert_uint_eq(pair_facts(1).version, 0);
    pair_commit_begin(1, 1, "k", &ask);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(1), &ask), STATUS_NOT_PRIMARY);
    ck_assert_str_eq(ask.refusal->leader, "");
    core_ask_free(&ask);
    ck_assert_int_eq(pair_promote(1, true, &ask), STATUS_CONDITION_FAILED);
    core_ask_free(&ask);
    pair_is_cut = false;
    pair_wait_level();
    pair_tear_down();
}
END_TEST

/* A snapshot that was opened before a switchover is read yet where it was opened, and holds back
 * what the new primary hides, until it is closed. */
START_TEST(test_a_snapshot_outlives_a_switchover)
{
    Strait__SnapshotOpen open = STRAIT__SNAPSHOT_OPEN__INIT;
    Strait__SnapshotClose close = STRAIT__SNAPSHOT_CLOSE__INIT;
    Strait__Get get = STRAIT__GET__INIT;
    Strait__Key wanted = STRAIT__KEY__INIT;
    Strait__Key *keys[] = {&wanted};
    struct core_ask ask;

    pair_set_up();
    ck_assert_int_eq(pair_put(0, "k", "old"), STATUS_OK);
    ck_assert_int_eq(pair_ask(0, &ask, FRAME_SNAPSHOT_OPEN, &open.base), STATUS_OK);
    const Strait__SnapshotOpenReply *opened = (const void *)ask.message;
    get.snapshot_id = opened->snapshot_id;
    const uint64_t version = opened->position->version;
    core_ask_free(&ask);
    pair_run_ms(500);
    pair_switchover_begin(0, "two", 0, &ask);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(0), &ask), STATUS_OK);
    core_ask_free(&ask);
    pair_wait_level();
    for (unsigned i = 0; i < 5; i++) {
        ck_assert_int_eq(pair_put(1, "k", "new"), STATUS_OK);
        pair_run_ms(1500);
    }
    pair_wait_level();
    wanted.table = (char *)(uintptr_t) "t";
    wanted.key = field_of_bytes(bytes_of_text("k"));
    get.keys = keys;
    get.n_keys = 1;
    ck_assert_int_eq(pair_ask(0, &ask, FRAME_GET, &get.base), STATUS_OK);
    const Strait__GetReply *reply = (const void *)ask.message;
    ck_assert_uint_eq(reply->records[0]->value.len, 3);
    ck_assert_mem_eq(reply->records[0]->value.data, "old", 3);
    core_ask_free(&ask);
    ck_assert_uint_le(horizon_of(1), version);

    close.snapshot_id = get.snapshot_id;
    ck_assert_int_eq(pair_ask(0, &ask, FRAME_SNAPSHOT_CLOSE, &close.base), STATUS_OK);
    core_ask_free(&ask);
    pair_run_ms(1000);
    ck_assert_int_eq(pair_put(1, "k", "newer"), STATUS_OK);
    pair_run_ms(3000);
    ck_assert_uint_gt(horizon_of(1), version);
    pair_tear_down();
}
END_TEST

/* Pulls wait in the primary, commits and reads in the standby: a close answers each. */
START_TEST(test_a_close_answers_pulls)
{
    struct core_ask ask;

    pair_set_up();
    pair_run_ms(500);
    ck_assert_uint_gt(core_requests_count(pair_fixture(0)->core), 0);
    pair_commit_begin(0, 1, "k", &ask);
    pair_close(0);
    ck_assert(ask.answered);
    ck_assert_int_eq(ask.request.status, STATUS_OUTCOME_UNKNOWN);
    core_ask_free(&ask);
    ck_assert_uint_eq(pair_servers[1].link.letters_count, 0);
    pair_tear_down();
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_commits_arrive);
    tcase_add_test(tests, test_what_was_missed_while_cut_arrives_later);
    tcase_add_test(tests, test_cuts_lose_nothing);
    tcase_add_test(tests, test_both_go_on_after_restarts);
    tcase_add_test(tests, test_a_standby_leaves_to_the_primary_what_is_its);
    tcase_add_test(tests, test_a_standby_that_has_nothing);
    tcase_add_test(tests, test_a_snapshot_outlives_a_switchover);
    tcase_add_test(tests, test_a_close_answers_pulls);
}
