/* SPDX-License-Identifier: Apache-2.0 */
/* What administrators ask of regions: the list, handing over, taking over. */
#include "proto/message.h"
#include "tests/unit/server/pair_fixture.h"

#define ADD    STRAIT__REGION_CHANGE__ACTION__ADD
#define SET    STRAIT__REGION_CHANGE__ACTION__SET
#define REMOVE STRAIT__REGION_CHANGE__ACTION__REMOVE

static void check_primary_is(unsigned number, uint32_t region)
{
    struct core_ask ask;
    const Strait__RegionListReply *list = pair_list(number, &ask);
    ck_assert_uint_eq(list->position->epoch_region, region);
    core_ask_free(&ask);
}

/* ---- The list ---- */

START_TEST(test_changes_are_refused_that_do_not_fit)
{
    pair_set_up();
    uint64_t version = pair_facts(0).version;
    ck_assert_int_eq(pair_change(0, ADD, 3, NULL, NULL), STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(pair_change(0, ADD, 0, "three", "three:1"), STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(pair_change(0, ADD, 3, "no name!", "three:1"), STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(pair_change(0, ADD, 3, "three", "no port"), STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(pair_change(0, ADD, 2, "three", "three:1"), STATUS_ALREADY_EXISTS);
    ck_assert_int_eq(pair_change(0, ADD, 3, "two", "three:1"), STATUS_ALREADY_EXISTS);
    ck_assert_int_eq(pair_change(0, SET, 3, "three", "three:1"), STATUS_NOT_FOUND);
    ck_assert_int_eq(pair_change(0, SET, 2, "other", "two:1"), STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(pair_change(0, REMOVE, 0, "three", NULL), STATUS_NOT_FOUND);
    ck_assert_int_eq(pair_change(0, REMOVE, 0, "one", NULL), STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(pair_change(0, (Strait__RegionChange__Action)9, 3, "three", "three:1"),
                     STATUS_UNSUPPORTED);
    ck_assert_uint_eq(pair_facts(0).version, version);
    pair_tear_down();
}
END_TEST

START_TEST(test_the_list_changes_everywhere)
{
    struct core_ask ask;

    pair_set_up();
    ck_assert_int_eq(pair_change(0, ADD, 3, "three", "three:1"), STATUS_OK);
    ck_assert_int_eq(pair_change(0, SET, 3, "three", "three:2"), STATUS_OK);
    pair_wait_level();
    const Strait__RegionListReply *list = pair_list(1, &ask);
    ck_assert_uint_eq(list->n_regions, 3);
    ck_assert_str_eq(list->regions[2]->name, "three");
    ck_assert_str_eq(list->regions[2]->endpoints[0], "three:2");
    ck_assert(list->regions[0]->primary && !list->regions[0]->self);
    ck_assert(list->regions[1]->self && !list->regions[1]->primary);
    ck_assert_str_eq(list->source, "one:7400");
    ck_assert_str_eq(list->trouble, "");
    core_ask_free(&ask);
    ck_assert_int_eq(pair_change(0, REMOVE, 0, "three", NULL), STATUS_OK);
    list = pair_list(0, &ask);
    ck_assert_uint_eq(list->n_regions, 2);
    ck_assert(list->regions[1]->heard && list->regions[1]->ready);
    core_ask_free(&ask);
    pair_tear_down();
}
END_TEST

static void check_trouble(unsigned number, const char *expected)
{
    struct core_ask ask;
    const char *trouble = pair_list(number, &ask)->trouble;
    if (expected[0] == 0)
        ck_assert_str_eq(trouble, "");
    else
        ck_assert_msg(strstr(trouble, expected) != NULL, "%s", trouble);
    core_ask_free(&ask);
}

START_TEST(test_a_primary_that_is_not_heard)
{
    pair_set_up();
    pair_is_cut = true;
    pair_run_ms(2000);
    check_trouble(1, "");
    pair_run_ms(3000);
    check_trouble(1, "one cannot be reached: it is cut. See that");
    check_trouble(0, "");
    pair_is_cut = false;
    pair_run_ms(3000);
    check_trouble(1, "");
    pair_close(0);
    pair_run_ms(5000);
    check_trouble(1, "region promote --explain");
    pair_tear_down();
}
END_TEST

START_TEST(test_one_change_at_a_time)
{
    Strait__RegionChange change = STRAIT__REGION_CHANGE__INIT;
    Strait__Region region = STRAIT__REGION__INIT;
    struct core_ask first;

    pair_set_up();
    region.name = (char *)(uintptr_t) "two";
    change.action = REMOVE;
    change.region = &region;
    core_fixture_ask(pair_fixture(0), &first, FRAME_REGION_CHANGE, &change.base);
    ck_assert_int_eq(pair_change(0, ADD, 3, "three", "three:1"), STATUS_BUSY);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(0), &first), STATUS_OK);
    core_ask_free(&first);
    pair_tear_down();
}
END_TEST

/* ---- Switchover ---- */

/* What waits while it drains is refused once it is over, with the new primary's endpoint, and can
 * be done there. */
START_TEST(test_switchover)
{
    struct core_ask ask;
    struct core_ask waiting;

    pair_set_up();
    ck_assert_int_eq(pair_put(0, "k", "old"), STATUS_OK);
    pair_switchover_begin(0, "two", 0, &ask);
    pair_commit_begin(0, 1, "w", &waiting);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(0), &ask), STATUS_OK);
    const Strait__RegionSwitchoverReply *reply = (const void *)ask.message;
    ck_assert(!reply->was_primary_before);
    ck_assert_uint_eq(reply->position->epoch_region, 2);
    core_ask_free(&ask);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(0), &waiting), STATUS_NOT_PRIMARY);
    ck_assert_str_eq(waiting.refusal->leader, "two:7400");
    core_ask_free(&waiting);
    pair_wait_level();
    pair_check_refuses(0, 1);
    ck_assert_int_eq(pair_put(1, "k", "new"), STATUS_OK);
    pair_wait_level();
    check_primary_is(0, 2);
    check_primary_is(1, 2);

    /* Asked again, of either. */
    for (unsigned i = 0; i < pair_count; i++) {
        pair_switchover_begin(i, "two", 0, &ask);
        ck_assert_int_eq(core_fixture_wait(pair_fixture(i), &ask), STATUS_OK);
        reply = (const void *)ask.message;
        ck_assert(reply->was_primary_before);
        core_ask_free(&ask);
    }

    /* And back. */
    pair_run_ms(500);
    pair_switchover_begin(1, "one", 0, &ask);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(1), &ask), STATUS_OK);
    core_ask_free(&ask);
    pair_wait_level();
    ck_assert_int_eq(pair_put(0, "k", "again"), STATUS_OK);
    pair_wait_level();
    pair_check_refuses(1, 0);
    pair_tear_down();
}
END_TEST

START_TEST(test_switchover_is_undone_in_time)
{
    struct core_ask ask;
    struct core_ask waiting;

    pair_set_up();
    pair_run_ms(500);
    pair_is_cut = true;
    ck_assert_int_eq(pair_put(0, "k", "alone"), STATUS_OK);
    pair_switchover_begin(0, "two", 1000, &ask);
    ck_assert(!ask.answered);
    pair_commit_begin(0, 1, "w", &waiting);
    pair_run_ms(500);
    core_fixture_collect(pair_fixture(0));
    ck_assert(!ask.answered);
    ck_assert(!waiting.answered);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(0), &ask), STATUS_CONDITION_FAILED);
    core_ask_free(&ask);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(0), &waiting), STATUS_OK);
    core_ask_free(&waiting);
    ck_assert_int_eq(pair_put(0, "k", "goes on"), STATUS_OK);
    check_primary_is(0, 1);

    pair_is_cut = false;
    pair_wait_level();
    pair_run_ms(500);
    pair_switchover_begin(0, "two", 0, &ask);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(0), &ask), STATUS_OK);
    core_ask_free(&ask);
    pair_wait_level();
    ck_assert_int_eq(pair_put(1, "k", "there"), STATUS_OK);
    pair_tear_down();
}
END_TEST

START_TEST(test_switchover_is_refused_to_who_cannot)
{
    struct core_ask ask;

    pair_set_up();
    pair_switchover_begin(0, "none", 0, &ask);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(0), &ask), STATUS_NOT_FOUND);
    core_ask_free(&ask);
    pair_switchover_begin(0, "one", 0, &ask);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(0), &ask), STATUS_OK);
    core_ask_free(&ask);
    pair_is_cut = true;
    pair_run_ms(4000);
    pair_switchover_begin(0, "two", 0, &ask);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(0), &ask), STATUS_CONDITION_FAILED);
    core_ask_free(&ask);
    ck_assert_int_eq(pair_put(0, "k", "v"), STATUS_OK);
    pair_tear_down();
}
END_TEST

/* ---- Promotion ---- */

START_TEST(test_promotion_is_refused_while_the_primary_answers)
{
    struct core_ask ask;

    pair_set_up();
    pair_run_ms(500);
    ck_assert_int_eq(pair_promote(1, false, &ask), STATUS_CONDITION_FAILED);
    core_ask_free(&ask);
    check_primary_is(1, 1);
    /* And it goes on following. */
    ck_assert_int_eq(pair_put(0, "k", "v"), STATUS_OK);
    pair_wait_level();

    /* Nobody answered for long: no force is needed. */
    pair_is_cut = true;
    pair_run_ms(11000);
    ck_assert_int_eq(pair_promote(1, false, &ask), STATUS_OK);
    core_ask_free(&ask);
    check_primary_is(1, 2);
    pair_tear_down();
}
END_TEST

START_TEST(test_promotion)
{
    Strait__RegionPromote explain = STRAIT__REGION_PROMOTE__INIT;
    struct core_ask ask;

    pair_set_up();
    pair_is_cut = true;
    uint64_t version = pair_facts(1).version;
    explain.explain = true;
    ck_assert_int_eq(pair_ask(1, &ask, FRAME_REGION_PROMOTE, &explain.base), STATUS_OK);
    const Strait__RegionPromoteReply *reply = (const void *)ask.message;
    ck_assert(!reply->done && !reply->was_primary_before && reply->source_known);
    core_ask_free(&ask);
    check_primary_is(1, 1);

    ck_assert_int_eq(pair_promote(1, true, &ask), STATUS_OK);
    reply = (const void *)ask.message;
    ck_assert(reply->done && !reply->was_primary_before);
    ck_assert_uint_eq(reply->position->epoch_region, 2);
    ck_assert_uint_eq(reply->position->epoch_number, 3);
    ck_assert_uint_eq(reply->position->version, version + 1);
    core_ask_free(&ask);
    ck_assert_int_eq(pair_put(1, "k", "new"), STATUS_OK);

    version = pair_facts(1).version;
    ck_assert_int_eq(pair_promote(1, false, &ask), STATUS_OK);
    reply = (const void *)ask.message;
    ck_assert(!reply->done && reply->was_primary_before);
    core_ask_free(&ask);
    ck_assert_uint_eq(pair_facts(1).version, version);

    /* It is the primary after a restart too. */
    pair_close(1);
    pair_open(1);
    ck_assert_int_eq(pair_put(1, "k", "newer"), STATUS_OK);
    pair_tear_down();
}
END_TEST

/* The primary, asked to promote itself, is what it is to be. */
START_TEST(test_promotion_of_the_primary)
{
    struct core_ask ask;

    pair_set_up();
    ck_assert_int_eq(pair_promote(0, false, &ask), STATUS_OK);
    const Strait__RegionPromoteReply *reply = (const void *)ask.message;
    ck_assert(reply->was_primary_before && !reply->done);
    core_ask_free(&ask);
    pair_tear_down();
}
END_TEST

/* ---- Closing ---- */

/* At each turn of a switchover and of a promotion: what is under way is answered. */
START_TEST(test_a_close_answers_what_is_under_way)
{
    for (unsigned turns = 0; turns < 12; turns++) {
        struct core_ask ask;
        struct core_ask waiting;
        pair_set_up();
        pair_switchover_begin(0, "two", 0, &ask);
        pair_commit_begin(0, 1, "w", &waiting);
        for (unsigned i = 0; i < turns; i++)
            pair_turn();
        pair_close(0);
        ck_assert(ask.answered && waiting.answered);
        ck_assert(ask.request.status == STATUS_OK || ask.request.status == STATUS_OUTCOME_UNKNOWN);
        core_ask_free(&ask);
        core_ask_free(&waiting);
        pair_tear_down();

        pair_set_up();
        Strait__RegionPromote promote = STRAIT__REGION_PROMOTE__INIT;
        promote.force = true;
        core_fixture_ask(pair_fixture(1), &ask, FRAME_REGION_PROMOTE, &promote.base);
        for (unsigned i = 0; i < turns; i++)
            pair_turn();
        pair_close(1);
        ck_assert(ask.answered);
        ck_assert(ask.request.status == STATUS_OK || ask.request.status == STATUS_OUTCOME_UNKNOWN);
        core_ask_free(&ask);
        pair_tear_down();
    }
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_changes_are_refused_that_do_not_fit);
    tcase_add_test(tests, test_the_list_changes_everywhere);
    tcase_add_test(tests, test_a_primary_that_is_not_heard);
    tcase_add_test(tests, test_one_change_at_a_time);
    tcase_add_test(tests, test_switchover);
    tcase_add_test(tests, test_switchover_is_undone_in_time);
    tcase_add_test(tests, test_switchover_is_refused_to_who_cannot);
    tcase_add_test(tests, test_promotion_is_refused_while_the_primary_answers);
    tcase_add_test(tests, test_promotion);
    tcase_add_test(tests, test_promotion_of_the_primary);
    tcase_add_test(tests, test_a_close_answers_what_is_under_way);
}
