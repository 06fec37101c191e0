/* SPDX-License-Identifier: Apache-2.0 */
/* An old primary that comes back with a tail gives it up, and follows. */
#include <stdio.h>

#include "proto/message.h"
#include "storage/io/blocking.h"
#include "storage/lsm/lsm.h"
#include "tests/unit/server/pair_fixture.h"

enum { rewind_ms = 30 * 1000, checkpoint_ms = 2500 };

static void put_some(unsigned number, const char *prefix, unsigned count)
{
    char key[32];
    for (unsigned i = 0; i < count; i++) {
        snprintf(key, sizeof key, "%s%u", prefix, i);
        ck_assert_int_eq(pair_put(number, key, prefix), STATUS_OK);
    }
}

static void check_value(unsigned number, const char *key, const char *expected)
{
    char value[64];
    ck_assert_int_eq(core_fixture_get(pair_fixture(number), "t", key, value), STATUS_OK);
    ck_assert_str_eq(value, expected);
}

/* Both have "base0", and a checkpoint from before "more0". */
static void set_up_shared(void)
{
    pair_set_up();
    put_some(0, "base", 20);
    pair_wait_level();
    pair_run_ms(checkpoint_ms);
    put_some(0, "more", 20);
    pair_wait_level();
    pair_run_ms(checkpoint_ms);
}

/* `from` has a tail, and `to` is promoted without it. */
static void part(unsigned from, unsigned to, const char *tail, const char *after)
{
    struct core_ask ask;
    pair_is_cut = true;
    put_some(from, tail, 30);
    ck_assert_int_eq(pair_promote(to, true, &ask), STATUS_OK);
    core_ask_free(&ask);
    put_some(to, after, 10);
    ck_assert_uint_ne(pair_facts(from).version, 0);
}

/* Until `number` has gone back, and follows. */
static void wait_rewound(unsigned number, uint64_t count)
{
    uint64_t begun_ns = sim_disk_now_ns(pair_fixture(0)->disk);
    while (pair_facts(number).rewinds_count < count) {
        pair_turn();
        ck_assert_msg(sim_disk_now_ns(pair_fixture(0)->disk) - begun_ns < rewind_ms * 1000000ULL,
                      "it does not go back");
    }
    pair_wait_level();
}

static void check_role(unsigned number, bool primary)
{
    struct core_ask ask;
    const Strait__RegionListReply *list = pair_list(number, &ask);
    ck_assert_uint_eq(list->n_regions, 2);
    ck_assert_int_eq(list->regions[number]->primary, primary);
    ck_assert_str_eq(list->trouble, "");
    core_ask_free(&ask);
}

START_TEST(test_a_tail_is_given_up)
{
    set_up_shared();
    part(0, 1, "tail", "new");
    check_value(0, "tail0", "tail");
    pair_is_cut = false;
    wait_rewound(0, 1);
    check_role(0, false);
    check_role(1, true);
    check_value(1, "tail0", "");
    check_value(1, "new9", "new");

    /* It goes on, takes over again with all that there is, and after a restart too. */
    put_some(1, "later", 5);
    pair_wait_level();
    pair_close(0);
    pair_open(0);
    ck_assert_uint_eq(pair_facts(0).rewinds_count, 0);
    pair_wait_level();
    struct core_ask ask;
    pair_switchover_begin(1, "one", 5000, &ask);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(1), &ask), STATUS_OK);
    core_ask_free(&ask);
    pair_wait_level();
    check_value(0, "tail0", "");
    check_value(0, "base0", "base");
    check_value(0, "more19", "more");
    check_value(0, "later4", "later");
    put_some(0, "own", 5);
    pair_wait_level();
    pair_tear_down();
}
END_TEST

/* The other region is promoted as soon as it is known there: each has had a checkpoint by then. */
START_TEST(test_a_tail_of_the_first_moments)
{
    pair_set_up();
    part(0, 1, "tail", "new");
    pair_is_cut = false;
    wait_rewound(0, 1);
    check_role(0, false);
    check_role(1, true);
    check_value(1, "tail0", "");
    check_value(1, "new9", "new");

    /* And as soon as it has come back. */
    part(1, 0, "tail-two", "new-one");
    pair_is_cut = false;
    wait_rewound(1, 1);
    check_role(0, true);
    check_value(0, "tail-two0", "");
    check_value(0, "new9", "new");
    check_value(0, "new-one9", "new-one");
    pair_tear_down();
}
END_TEST

/* It was away while all that happened. */
START_TEST(test_it_comes_back_from_a_restart)
{
    set_up_shared();
    part(0, 1, "tail", "new");
    pair_close(0);
    pair_run_ms(1000);
    pair_is_cut = false;
    pair_open(0);
    wait_rewound(0, 1);
    check_role(0, false);
    check_value(1, "tail29", "");
    pair_tear_down();
}
END_TEST

/* Tails on both sides, one after the other; each is given up by whoever made it. */
START_TEST(test_there_and_back)
{
    set_up_shared();
    for (unsigned round = 1; round <= 3; round++) {
        part(0, 1, "tail-one", "new-two");
        pair_is_cut = false;
        wait_rewound(0, round);
        pair_run_ms(checkpoint_ms);
        put_some(1, "between", 10);
        pair_wait_level();
        pair_run_ms(checkpoint_ms);
        part(1, 0, "tail-two", "new-one");
        pair_is_cut = false;
        wait_rewound(1, round);
        check_role(0, true);
        check_value(0, "tail-one0", "");
        check_value(0, "tail-two0", "");
        check_value(0, "new-two9", "new-two");
        check_value(0, "new-one9", "new-one");
        pair_run_ms(checkpoint_ms);
    }
    pair_tear_down();
}
END_TEST

/* Both lose power at some moment of it; what comes back goes on where it was. */
START_TEST(test_power_is_lost_at_any_moment)
{
    unsigned before = 0;
    unsigned after = 0;
    for (unsigned moment = 0; moment < 60; moment++) {
        set_up_shared();
        part(0, 1, "tail", "new");
        pair_is_cut = false;
        /* From when the entry is committed on each turn counts. */
        for (unsigned turns = 0; !pair_facts(0).is_rewinding; turns++) {
            ck_assert_uint_lt(turns, 400000);
            pair_turn();
        }
        for (unsigned i = 0; i < moment && pair_facts(0).rewinds_count == 0; i++)
            pair_turn();
        bool is_through = pair_facts(0).rewinds_count != 0;
        pair_crash(moment + 1);
        pair_open(0);
        if (is_through || pair_facts(0).rewinds_count != 0)
            after++;
        else
            before++;
        pair_open(1);
        pair_wait_level();
        for (unsigned i = 0; i < 20; i++) {
            pair_run_ms(100);
            pair_wait_level();
        }
        check_role(0, false);
        check_value(1, "tail0", "");
        check_value(1, "more19", "more");
        check_value(1, "new9", "new");
        put_some(1, "later", 3);
        pair_wait_level();
        pair_tear_down();
        if (is_through && after > 3)
            break;
    }
    ck_assert_uint_gt(before, 3);
    ck_assert_uint_gt(after, 3);
}
END_TEST

/* ---- Where nothing leads back ---- */

static void lose_checkpoints(unsigned number)
{
    struct io *io = pair_fixture(number)->io;
    ck_assert_int_eq(lsm_directory_remove(io, "one/rewind-1"), STATUS_OK);
    ck_assert_int_eq(lsm_directory_remove(io, "one/rewind-2"), STATUS_OK);
}

/* One has a tail and no checkpoint, and is open again; the line is cut. */
static void set_up_bare(void)
{
    set_up_shared();
    part(0, 1, "tail", "new");
    pair_close(0);
    lose_checkpoints(0);
    pair_open(0);
}

/* There is one report, which has all 30 puts of the tail. */
static void check_report(void)
{
    Strait__RegionLostList message = STRAIT__REGION_LOST_LIST__INIT;
    struct core_ask ask;

    ck_assert_int_eq(pair_ask(0, &ask, FRAME_REGION_LOST_LIST, &message.base), STATUS_OK);
    const Strait__RegionLostListReply *reply = (const void *)ask.message;
    ck_assert_uint_eq(reply->n_reports, 1);
    const Strait__LostReport *report = reply->reports[0];
    ck_assert_uint_ge(report->count, 30);
    ck_assert_uint_eq(report->count, report->last_version - report->first_version + 1);
    ck_assert_uint_eq(report->unlisted_first, 0);
    ck_assert_uint_eq(report->next_region, 2);
    core_ask_free(&ask);
}

static void check_followed(void)
{
    check_role(0, false);
    check_role(1, true);
    check_report();
    check_value(1, "tail0", "");
    check_value(1, "more19", "more");
    check_value(1, "new9", "new");
}

/* It reports the tail from its log, takes over a checkpoint of the new primary's, of fewer versions
 * than it had, and follows. */
START_TEST(test_without_a_checkpoint)
{
    set_up_bare();
    ck_assert_uint_gt(pair_facts(0).version, pair_facts(1).version);
    pair_is_cut = false;
    pair_wait_level();
    ck_assert_uint_eq(pair_facts(0).surrenders_count, 1);
    ck_assert_uint_eq(pair_facts(0).adoptions_count, 1);
    ck_assert_uint_eq(pair_facts(0).rewinds_count, 0);
    ck_assert(!pair_facts(0).is_surrendered);
    check_followed();

    /* It goes on from there, also after a restart, and takes the reign back. */
    put_some(1, "later", 5);
    pair_wait_level();
    pair_close(0);
    pair_open(0);
    pair_wait_level();
    struct core_ask ask;
    pair_switchover_begin(1, "one", 5000, &ask);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(1), &ask), STATUS_OK);
    core_ask_free(&ask);
    pair_wait_level();
    check_value(0, "tail0", "");
    check_value(0, "later4", "later");
    put_some(0, "own", 5);
    pair_wait_level();
    check_report();
    pair_tear_down();
}
END_TEST

/* Both lose power at any moment of it. */
START_TEST(test_power_is_lost_while_nothing_leads_back)
{
    enum { moments_count = 40 };
    uint64_t turns_all = 0;
    bool seen_between = false;

    set_up_bare();
    pair_is_cut = false;
    for (; pair_facts(0).adoptions_count == 0; turns_all++) {
        ck_assert_uint_lt(turns_all, 400000);
        pair_turn();
    }
    pair_tear_down();
    for (unsigned moment = 0; moment < moments_count; moment++) {
        set_up_bare();
        pair_is_cut = false;
        for (uint64_t i = 0; i < turns_all * moment / moments_count; i++)
            pair_turn();
        seen_between |= pair_facts(0).is_surrendered || pair_facts(0).is_adopting;
        pair_crash(moment + 1);
        pair_open(0);
        pair_open(1);
        pair_wait_level();
        check_followed();
        put_some(1, "later", 3);
        pair_wait_level();
        pair_tear_down();
    }
    ck_assert(seen_between);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, test_a_tail_is_given_up);
    tcase_add_test(tests, test_a_tail_of_the_first_moments);
    tcase_add_test(tests, test_it_comes_back_from_a_restart);
    tcase_add_test(tests, test_there_and_back);
    tcase_add_test(tests, test_power_is_lost_at_any_moment);
    tcase_add_test(tests, test_without_a_checkpoint);
    tcase_add_test(tests, test_power_is_lost_while_nothing_leads_back);
}
