/* SPDX-License-Identifier: Apache-2.0 */
/* Commits that a standby confirms, or does not. */
#include <stdio.h>
#include <stdlib.h>

#include "proto/message.h"
#include "storage/lsm/lsm.h"
#include "tests/unit/server/pair_fixture.h"

/* A put of `key` under the transaction `id`, with durability REMOTE. */
static void commit_begin(unsigned number, uint8_t id, uint64_t issued_ns, const char *key,
                         const char *region, uint32_t within_ms, struct core_ask *ask)
{
    Strait__Commit commit = STRAIT__COMMIT__INIT;
    Strait__Put put = STRAIT__PUT__INIT;
    Strait__Operation operation = STRAIT__OPERATION__INIT;
    Strait__Operation *list[] = {&operation};
    uint8_t bytes[16] = {9, id};

    put.table = (char *)(uintptr_t) "t";
    put.key = field_of_bytes(bytes_of_text(key));
    put.value = field_of_bytes(bytes_of_text("v"));
    operation.kind_case = STRAIT__OPERATION__KIND_PUT;
    operation.put = &put;
    commit.issued_ns = issued_ns;
    commit.txn_id = field_of_bytes(bytes_of(bytes, sizeof bytes));
    commit.operations = list;
    commit.n_operations = 1;
    commit.durability = STRAIT__DURABILITY__REMOTE;
    commit.remote_region = (char *)(uintptr_t)region;
    commit.confirm_within_ms = within_ms;
    core_fixture_ask(pair_fixture(number), ask, FRAME_COMMIT, &commit.base);
}

static uint64_t issued_now_ns(unsigned number)
{
    return io_wall_ns(pair_fixture(number)->io);
}

static void status_begin(unsigned number, uint8_t id, uint64_t issued_ns, const char *region,
                         uint32_t within_ms, struct core_ask *ask)
{
    Strait__TxnStatus status = STRAIT__TXN_STATUS__INIT;
    uint8_t bytes[16] = {9, id};

    status.txn_id = field_of_bytes(bytes_of(bytes, sizeof bytes));
    status.issued_ns = issued_ns;
    status.durability = STRAIT__DURABILITY__REMOTE;
    status.remote_region = (char *)(uintptr_t)region;
    status.confirm_within_ms = within_ms;
    core_fixture_ask(pair_fixture(number), ask, FRAME_TXN_STATUS, &status.base);
}

/* Waits for a commit that is done, checks what it says, and frees it; its version. */
static uint64_t check_done(unsigned number, struct core_ask *ask, bool confirmed,
                           const char *region, bool repeated)
{
    ck_assert_int_eq(core_fixture_wait(pair_fixture(number), ask), STATUS_OK);
    const Strait__CommitReply *reply = (const void *)ask->message;
    ck_assert_ptr_nonnull(reply->confirmation);
    ck_assert_int_eq(reply->confirmation->confirmed, confirmed);
    ck_assert_str_eq(reply->confirmation->region, region);
    ck_assert_int_eq(reply->repeated_reply, repeated);
    uint64_t version = reply->position->version;
    core_ask_free(ask);
    return version;
}

static void check_refused(struct core_ask *ask, enum status expected)
{
    ck_assert_int_eq(core_fixture_wait(pair_fixture(0), ask), expected);
    core_ask_free(ask);
}

static uint32_t waiting_count(unsigned number)
{
    struct core_ask ask;
    uint32_t count = pair_list(number, &ask)->unconfirmed_count;
    core_ask_free(&ask);
    return count;
}

START_TEST(test_a_standby_confirms)
{
    struct core_ask ask;

    pair_set_up();
    commit_begin(0, 1, issued_now_ns(0), "a", "two", 0, &ask);
    uint64_t version = check_done(0, &ask, true, "two", false);
    ck_assert_uint_ge(pair_facts(1).version, version);
    commit_begin(0, 2, issued_now_ns(0), "b", "", 0, &ask);
    version = check_done(0, &ask, true, "two", false);
    ck_assert_uint_ge(pair_facts(1).version, version);
    ck_assert_uint_eq(waiting_count(0), 0);

    /* Others do not wait for it, and say nothing of it. */
    pair_is_cut = true;
    pair_commit_begin(0, 3, "c", &ask);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(0), &ask), STATUS_OK);
    ck_assert_ptr_null(((const Strait__CommitReply *)(const void *)ask.message)->confirmation);
    core_ask_free(&ask);
    pair_tear_down();
}
END_TEST

/* Done here, said to be not confirmed once the time is over; asked again, it is, when it has come.
 */
START_TEST(test_a_cut_is_told_in_time)
{
    struct core_ask ask;
    struct core_ask question;

    pair_set_up();
    uint64_t issued_ns = issued_now_ns(0);
    pair_is_cut = true;
    uint64_t begun_ns = io_boot_ns(pair_fixture(0)->io);
    commit_begin(0, 1, issued_ns, "a", "two", 700, &ask);
    pair_run_ms(300);
    core_fixture_collect(pair_fixture(0));
    ck_assert(!ask.answered);
    ck_assert_uint_eq(waiting_count(0), 1);
    uint64_t version = check_done(0, &ask, false, "two", false);
    uint64_t took_ms = (io_boot_ns(pair_fixture(0)->io) - begun_ns) / 1000000;
    ck_assert_uint_ge(took_ms, 700);
    ck_assert_uint_lt(took_ms, 1000);
    ck_assert_uint_eq(waiting_count(0), 0);

    /* The same again, and the question, wait again. */
    commit_begin(0, 1, issued_ns, "a", "two", 700, &ask);
    ck_assert_uint_eq(check_done(0, &ask, false, "two", true), version);
    status_begin(0, 1, issued_ns, "", 60000, &question);
    pair_run_ms(100);
    pair_is_cut = false;
    ck_assert_int_eq(core_fixture_wait(pair_fixture(0), &question), STATUS_OK);
    const Strait__TxnStatusReply *reply = (const void *)question.message;
    ck_assert_int_eq(reply->state, STRAIT__TXN_STATUS_REPLY__STATE__COMMITTED);
    ck_assert(reply->confirmation->confirmed);
    ck_assert_str_eq(reply->confirmation->region, "two");
    ck_assert_uint_eq(reply->position->version, version);
    core_ask_free(&question);
    commit_begin(0, 1, issued_ns, "a", "two", 700, &ask);
    ck_assert_uint_eq(check_done(0, &ask, true, "two", true), version);

    /* Of what has no outcome there is nothing to confirm. */
    pair_is_cut = true;
    status_begin(0, 77, issued_ns, "two", 60000, &question);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(0), &question), STATUS_OK);
    reply = (const void *)question.message;
    ck_assert_int_eq(reply->state, STRAIT__TXN_STATUS_REPLY__STATE__UNKNOWN);
    ck_assert_ptr_null(reply->confirmation);
    core_ask_free(&question);
    pair_tear_down();
}
END_TEST

START_TEST(test_what_cannot_be_confirmed_is_not_done)
{
    struct core_ask ask;

    pair_set_up();
    pair_is_cut = true;
    uint64_t version = pair_facts(0).version;
    commit_begin(0, 1, issued_now_ns(0), "a", "three", 0, &ask);
    check_refused(&ask, STATUS_INVALID_ARGUMENT);
    commit_begin(0, 1, issued_now_ns(0), "a", "one", 0, &ask);
    check_refused(&ask, STATUS_INVALID_ARGUMENT);
    commit_begin(0, 1, issued_now_ns(0), "a", "two", 60001, &ask);
    check_refused(&ask, STATUS_INVALID_ARGUMENT);
    status_begin(0, 1, issued_now_ns(0), "three", 0, &ask);
    check_refused(&ask, STATUS_INVALID_ARGUMENT);
    commit_begin(1, 1, issued_now_ns(1), "a", "one", 0, &ask);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(1), &ask), STATUS_NOT_PRIMARY);
    core_ask_free(&ask);
    ck_assert_uint_eq(pair_facts(0).version, version);

    /* What apply refuses waits for nobody. */
    commit_begin(0, 2, issued_now_ns(0) - 2ULL * 3600 * 1000 * 1000 * 1000, "a", "two", 60000,
                 &ask);
    check_refused(&ask, STATUS_TXN_EXPIRED);
    pair_tear_down();
}
END_TEST

START_TEST(test_a_region_alone_has_no_standby)
{
    struct core_ask ask;

    pair_begin();
    ck_assert_int_eq(core_fixture_create_table(pair_fixture(0), "t"), STATUS_OK);
    commit_begin(0, 1, issued_now_ns(0), "a", "", 0, &ask);
    check_refused(&ask, STATUS_INVALID_ARGUMENT);
    pair_tear_down();
}
END_TEST

/* Past the bound commits are refused before they are done; others are taken. */
START_TEST(test_waiters_are_bounded)
{
    enum { most = 4096 };
    struct core_ask *asks = calloc(most, sizeof *asks);
    struct core_ask ask;

    ck_assert_ptr_nonnull(asks);
    pair_set_up();
    pair_is_cut = true;
    uint64_t issued_ns = issued_now_ns(0);
    commit_begin(0, 1, issued_ns, "a", "two", 1, &ask);
    (void)check_done(0, &ask, false, "two", false);
    for (unsigned i = 0; i < most; i++)
        status_begin(0, 1, issued_ns, "two", 60000, &asks[i]);
    pair_turn();
    ck_assert_uint_eq(waiting_count(0), most);
    uint64_t version = pair_facts(0).version;
    commit_begin(0, 2, issued_ns, "b", "two", 60000, &ask);
    check_refused(&ask, STATUS_BUSY);
    ck_assert_uint_eq(pair_facts(0).version, version);
    ck_assert_int_eq(pair_put(0, "k", "v"), STATUS_OK);
    pair_is_cut = false;
    for (unsigned i = 0; i < most; i++) {
        ck_assert_int_eq(core_fixture_wait(pair_fixture(0), &asks[i]), STATUS_OK);
        core_ask_free(&asks[i]);
    }
    commit_begin(0, 2, issued_ns, "b", "two", 60000, &ask);
    (void)check_done(0, &ask, true, "two", false);
    pair_tear_down();
    free(asks);
}
END_TEST

/* Whoever waits is told to ask again, and finds at the new primary what came of it. */
START_TEST(test_a_promotion_meanwhile)
{
    struct core_ask ask;
    struct core_ask question;
    struct core_ask promoted;
    uint8_t record[pair_record_size];

    pair_set_up();
    pair_is_cut = true;
    uint64_t issued_ns = issued_now_ns(0);
    commit_begin(0, 1, issued_ns, "a", "two", 60000, &ask);
    pair_run_ms(100);
    status_begin(0, 1, issued_ns, "two", 60000, &question);
    ck_assert_int_eq(pair_promote(1, true, &promoted), STATUS_OK);
    const Strait__RegionPromoteReply *reply = (const void *)promoted.message;
    pair_record_make((struct epoch){.number = reply->position->epoch_number, .region = 2}, record);
    core_ask_free(&promoted);
    pair_tell(0, bytes_of(record, sizeof record));
    ck_assert_int_eq(core_fixture_wait(pair_fixture(0), &ask), STATUS_OUTCOME_UNKNOWN);
    core_ask_free(&ask);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(0), &question), STATUS_NOT_PRIMARY);
    core_ask_free(&question);
    commit_begin(0, 1, issued_ns, "a", "two", 60000, &ask);
    check_refused(&ask, STATUS_NOT_PRIMARY);

    /* It is the primary itself now: its name confirms nothing. */
    commit_begin(1, 1, issued_ns, "a", "two", 100, &ask);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(1), &ask), STATUS_INVALID_ARGUMENT);
    core_ask_free(&ask);
    pair_tear_down();
}
END_TEST

/* A region that has other things under the same versions confirms nothing. */
START_TEST(test_a_given_up_tail_confirms_nothing)
{
    struct core_ask ask;
    char key[16];

    pair_set_up();
    pair_is_cut = true;
    for (unsigned i = 0; i < 20; i++) {
        snprintf(key, sizeof key, "tail%u", i);
        ck_assert_int_eq(pair_put(0, key, "v"), STATUS_OK);
    }
    uint64_t tail_version = pair_facts(0).version;
    ck_assert_int_eq(pair_promote(1, true, &ask), STATUS_OK);
    core_ask_free(&ask);
    /* With nothing to go back to, it keeps its tail until it takes over a checkpoint. */
    pair_close(0);
    ck_assert_int_eq(lsm_directory_remove(pair_fixture(0)->io, "one/rewind-1"), STATUS_OK);
    ck_assert_int_eq(lsm_directory_remove(pair_fixture(0)->io, "one/rewind-2"), STATUS_OK);
    pair_open(0);
    commit_begin(1, 1, issued_now_ns(1), "a", "one", 60000, &ask);
    pair_is_cut = false; /* the old primary hears of it, and asks to follow */
    for (unsigned turns = 0; !ask.answered; turns++) {
        ck_assert_uint_lt(turns, 400000);
        pair_turn();
        core_fixture_collect(pair_fixture(1));
    }
    ck_assert_uint_eq(pair_facts(0).adoptions_count, 1);
    uint64_t version = check_done(1, &ask, true, "one", false);
    ck_assert_uint_lt(version, tail_version);
    ck_assert_uint_ge(pair_facts(0).version, version);
    pair_tear_down();
}
END_TEST

/* Whatever was confirmed before the primary was lost is there after the promotion. */
START_TEST(test_what_is_confirmed_is_kept)
{
    enum { commits_count = 60 };
    struct core_ask asks[commits_count];
    bool confirmed[commits_count] = {false};
    unsigned confirmed_count = 0;
    struct core_ask ask;
    char key[16];

    pair_set_up();
    for (unsigned i = 0; i < commits_count; i++) {
        snprintf(key, sizeof key, "k%u", i);
        commit_begin(0, (uint8_t)i, issued_now_ns(0), key, i % 2 == 0 ? "two" : "", 60000,
                     &asks[i]);
        for (unsigned turns = 0; turns < i % 7; turns++)
            pair_turn();
        pair_is_cut = i % 10 > 6;
    }
    pair_is_cut = true;
    pair_run_ms(200);
    core_fixture_collect(pair_fixture(0));
    for (unsigned i = 0; i < commits_count; i++) {
        confirmed[i] = asks[i].answered;
        confirmed_count += confirmed[i];
        if (confirmed[i])
            (void)check_done(0, &asks[i], true, "two", false);
    }
    ck_assert_uint_gt(confirmed_count, 5);
    ck_assert_uint_lt(confirmed_count, commits_count);
    pair_close(0); /* it is lost, and those that wait are told so */
    ck_assert_int_eq(pair_promote(1, true, &ask), STATUS_OK);
    core_ask_free(&ask);
    for (unsigned i = 0; i < commits_count; i++) {
        char value[64];
        if (!confirmed[i]) {
            ck_assert(asks[i].answered);
            ck_assert_int_eq(asks[i].request.status, STATUS_OUTCOME_UNKNOWN);
            core_ask_free(&asks[i]);
            continue;
        }
        snprintf(key, sizeof key, "k%u", i);
        ck_assert_int_eq(core_fixture_get(pair_fixture(1), "t", key, value), STATUS_OK);
        ck_assert_str_eq(value, "v");
    }
    pair_tear_down();
}
END_TEST

/* A switchover drains, and so confirms; what it held back is sent on to the new primary. */
START_TEST(test_a_switchover_confirms)
{
    struct core_ask before;
    struct core_ask during;
    struct core_ask ask;

    pair_set_up();
    pair_run_ms(500);
    commit_begin(0, 1, issued_now_ns(0), "a", "two", 60000, &before);
    pair_switchover_begin(0, "two", 0, &ask);
    commit_begin(0, 2, issued_now_ns(0), "b", "two", 60000, &during);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(0), &ask), STATUS_OK);
    core_ask_free(&ask);
    (void)check_done(0, &before, true, "two", false);
    check_refused(&during, STATUS_NOT_PRIMARY);
    pair_wait_level();
    commit_begin(1, 2, issued_now_ns(1), "b", "", 60000, &during);
    (void)check_done(1, &during, true, "one", false);
    pair_tear_down();
}
END_TEST

/* A stop does not wait for a standby that is away. */
START_TEST(test_a_stop_lets_go)
{
    struct core_ask ask;

    pair_set_up();
    pair_is_cut = true;
    commit_begin(0, 1, issued_now_ns(0), "a", "two", 60000, &ask);
    pair_run_ms(50);
    ck_assert(!ask.answered);
    core_stop(pair_fixture(0)->core);
    pair_turn();
    core_fixture_collect(pair_fixture(0));
    ck_assert(ask.answered);
    ck_assert_int_eq(ask.request.status, STATUS_OUTCOME_UNKNOWN);
    core_ask_free(&ask);
    pair_tear_down();
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_a_standby_confirms);
    tcase_add_test(tests, test_a_cut_is_told_in_time);
    tcase_add_test(tests, test_what_cannot_be_confirmed_is_not_done);
    tcase_add_test(tests, test_a_region_alone_has_no_standby);
    tcase_add_test(tests, test_waiters_are_bounded);
    tcase_add_test(tests, test_a_promotion_meanwhile);
    tcase_add_test(tests, test_a_given_up_tail_confirms_nothing);
    tcase_add_test(tests, test_what_is_confirmed_is_kept);
    tcase_add_test(tests, test_a_switchover_confirms);
    tcase_add_test(tests, test_a_stop_lets_go);
}
