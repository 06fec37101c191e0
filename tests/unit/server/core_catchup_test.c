/* SPDX-License-Identifier: Apache-2.0 */
/* A standby that the primary's log does not reach back to takes over a checkpoint, and follows. */
#include <stdio.h>

#include "proto/message.h"
#include "tests/unit/server/pair_fixture.h"

enum {
    catchup_ms = 60 * 1000,
    retained_size = 128 * 1024, /* of the log, for a region that is away */
    value_size = 4000,
    away_count = 120, /* values, more than that */
};

static void put_some(unsigned number, const char *prefix, unsigned count)
{
    char key[32];
    for (unsigned i = 0; i < count; i++) {
        snprintf(key, sizeof key, "%s%u", prefix, i);
        ck_assert_int_eq(pair_put(number, key, prefix), STATUS_OK);
    }
}

static void put_large(unsigned number, const char *prefix, unsigned count)
{
    char value[value_size];
    char key[32];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = 0;
    for (unsigned i = 0; i < count; i++) {
        snprintf(key, sizeof key, "%s%u", prefix, i);
        ck_assert_int_eq(pair_put(number, key, value), STATUS_OK);
    }
}

static void check_value(unsigned number, const char *key, const char *expected)
{
    char value[value_size];
    ck_assert_int_eq(core_fixture_get(pair_fixture(number), "t", key, value), STATUS_OK);
    ck_assert_str_eq(value, expected);
}

/* What lies behind is in tables, and the log is let go of by whole segments: a start begins one. */
static void restart(unsigned number)
{
    pair_close(number);
    pair_open(number);
}

/* Both, level, with a primary that keeps little of its log for a region that is away. */
static void set_up_short(void)
{
    pair_set_up();
    for (unsigned i = 0; i < pair_count; i++)
        pair_fixture(i)->options.shipping_retained_size = retained_size;
    restart(0);
    restart(1);
    put_some(0, "base", 10);
    pair_wait_level();
}

/* The log of `number` grows past what it keeps. */
static void outgrow(unsigned number)
{
    restart(number);
    put_large(number, "away", away_count);
    restart(number);
    put_large(number, "more", away_count);
    restart(number);
    put_some(number, "last", 3);
}

static void wait_adopted(unsigned number, uint64_t count)
{
    uint64_t begun_ns = sim_disk_now_ns(pair_fixture(0)->disk);
    while (pair_facts(number).adoptions_count < count) {
        pair_turn();
        ck_assert_msg(sim_disk_now_ns(pair_fixture(0)->disk) - begun_ns < catchup_ms * 1000000ULL,
                      "it does not catch up");
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
    ck_assert(!list->checkpoint);
    core_ask_free(&ask);
}

static void switch_to(unsigned number, const char *name)
{
    struct core_ask ask;
    pair_switchover_begin(1 - number, name, 5000, &ask);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(1 - number), &ask), STATUS_OK);
    core_ask_free(&ask);
    pair_wait_level();
}

/* It is away for longer than the primary's log reaches back. */
START_TEST(test_a_standby_that_was_away)
{
    set_up_short();
    pair_close(1);
    outgrow(0);
    pair_open(1);
    wait_adopted(1, 1);
    check_role(1, false);

    /* It goes on from there, also after a restart; and takes over with all that there is. */
    put_some(0, "after", 5);
    pair_wait_level();
    restart(1);
    ck_assert_uint_eq(pair_facts(1).adoptions_count, 0);
    pair_wait_level();
    switch_to(1, "two");
    check_value(1, "base0", "base");
    check_value(1, "last2", "last");
    check_value(1, "after4", "after");
    put_some(1, "own", 5);
    pair_wait_level();
    check_role(0, false);
    switch_to(0, "one");
    check_value(0, "own4", "own");
    pair_tear_down();
}
END_TEST

/* It has nothing yet. */
START_TEST(test_a_region_that_is_added_late)
{
    struct core_ask ask;

    pair_begin();
    ck_assert_int_eq(pair_change(0, STRAIT__REGION_CHANGE__ACTION__ADD, 1, "one", "one:7400"),
                     STATUS_OK);
    restart(0);
    restart(0);
    ck_assert_int_eq(pair_change(0, STRAIT__REGION_CHANGE__ACTION__ADD, 2, "two", "two:7400"),
                     STATUS_OK);
    pair_open(1);
    wait_adopted(1, 1);
    const Strait__RegionListReply *list = pair_list(1, &ask);
    ck_assert_uint_eq(list->n_regions, 2);
    core_ask_free(&ask);
    pair_tear_down();
}
END_TEST

/* A report of what was given up is the region's own, and stays. */
START_TEST(test_what_is_regional_stays)
{
    struct core_ask ask;

    set_up_short();
    pair_run_ms(3000);
    pair_is_cut = true;
    put_some(0, "tail", 7);
    ck_assert_int_eq(pair_promote(1, true, &ask), STATUS_OK);
    core_ask_free(&ask);
    put_some(1, "new", 3);
    pair_is_cut = false;
    uint64_t begun_ns = sim_disk_now_ns(pair_fixture(0)->disk);
    while (pair_facts(0).rewinds_count == 0) {
        pair_turn();
        ck_assert(sim_disk_now_ns(pair_fixture(0)->disk) - begun_ns < catchup_ms * 1000000ULL);
    }
    pair_wait_level();
    pair_close(0);
    outgrow(1);
    pair_open(0);
    wait_adopted(0, 1);
    for (unsigned i = 0; i < 2; i++) {
        Strait__RegionLostList message = STRAIT__REGION_LOST_LIST__INIT;
        ck_assert_int_eq(pair_ask(0, &ask, FRAME_REGION_LOST_LIST, &message.base), STATUS_OK);
        const Strait__RegionLostListReply *lost = (const void *)ask.message;
        ck_assert_uint_eq(lost->n_reports, 1);
        ck_assert_uint_ge(lost->reports[0]->count, 7);
        core_ask_free(&ask);
        restart(0);
        pair_wait_level();
    }
    pair_tear_down();
}
END_TEST

/* The link breaks again and again while the checkpoint is on its way. */
START_TEST(test_the_link_breaks)
{
    unsigned breaks = 0;

    set_up_short();
    pair_close(1);
    outgrow(0);
    pair_open(1);
    for (unsigned turns = 0; pair_facts(1).adoptions_count == 0; turns++) {
        ck_assert_uint_lt(turns, 4000000);
        pair_turn();
        if (turns % 7 != 6 || breaks == 20 || pair_facts(1).is_adopting)
            continue;
        pair_is_cut = true;
        pair_run_ms(10);
        pair_is_cut = false;
        breaks++;
    }
    ck_assert_uint_gt(breaks, 3);
    pair_wait_level();
    pair_run_ms(5000); /* the primary answers again */
    check_role(1, false);
    pair_tear_down();
}
END_TEST

/* Both lose power at some moment of it; what comes back goes on where it was. */
START_TEST(test_power_is_lost_at_any_moment)
{
    unsigned waiting = 0; /* for the checkpoint that it has */
    unsigned through = 0;
    for (unsigned moment = 0; moment < 400 && through < 3; moment++) {
        set_up_short();
        pair_close(1);
        outgrow(0);
        pair_open(1);
        struct core_ask ask;
        bool fetches = false;
        for (unsigned turns = 0; !fetches; turns++) {
            ck_assert_uint_lt(turns, 400000);
            pair_turn();
            fetches = pair_list(1, &ask)->checkpoint;
            core_ask_free(&ask);
        }
        for (unsigned i = 0; i < moment && pair_facts(1).adoptions_count == 0; i++)
            pair_turn();
        waiting += pair_facts(1).is_adopting;
        through += pair_facts(1).adoptions_count != 0;
        pair_crash(moment + 1);
        pair_open(0);
        pair_open(1);
        put_some(0, "later", 3);
        pair_wait_level();
        pair_run_ms(3000);
        pair_wait_level();
        check_role(1, false);
        switch_to(1, "two");
        check_value(1, "base9", "base");
        check_value(1, "last2", "last");
        check_value(1, "later2", "later");
        pair_tear_down();
    }
    ck_assert_uint_gt(waiting, 0);
    ck_assert_uint_eq(through, 3);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_set_timeout(tests, 240);
    tcase_add_test(tests, test_a_standby_that_was_away);
    tcase_add_test(tests, test_a_region_that_is_added_late);
    tcase_add_test(tests, test_what_is_regional_stays);
    tcase_add_test(tests, test_the_link_breaks);
    tcase_add_test(tests, test_power_is_lost_at_any_moment);
}
