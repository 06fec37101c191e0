/* SPDX-License-Identifier: Apache-2.0 */
/* The old primary learns that another region was promoted: it stops at once, and follows where it
 * has nothing that the new history lacks. */
#include "proto/message.h"
#include "tests/unit/server/pair_fixture.h"

static void check_fenced(unsigned number, uint64_t epoch_number, uint32_t epoch_region)
{
    struct core_ask ask;
    const Strait__RegionListReply *list = pair_list(number, &ask);
    ck_assert(list->fenced);
    ck_assert_uint_eq(list->fence_number, epoch_number);
    ck_assert_uint_eq(list->fence_region, epoch_region);
    core_ask_free(&ask);
}

static void promote_two_alone(void)
{
    struct core_ask ask;
    pair_is_cut = true;
    ck_assert_int_eq(pair_promote(1, true, &ask), STATUS_OK);
    core_ask_free(&ask);
}

START_TEST(test_a_record_stops_commits_at_once)
{
    uint8_t record[pair_record_size];
    struct core_ask waiting;

    pair_set_up();
    pair_is_cut = true;
    ck_assert_int_eq(pair_put(0, "k", "v"), STATUS_OK);
    pair_record_make((struct epoch){.number = 9, .region = 2}, record);
    pair_tell(0, bytes_of(record, sizeof record));
    pair_commit_begin(0, 1, "w", &waiting);
    core_fixture_collect(pair_fixture(0));
    ck_assert(waiting.answered); /* before any turn, and any entry of the log */
    ck_assert_int_eq(waiting.request.status, STATUS_NOT_PRIMARY);
    ck_assert_str_eq(waiting.refusal->leader, "two:7400");
    ck_assert_uint_eq(waiting.refusal->promotion.len, sizeof record);
    core_ask_free(&waiting);

    pair_run_ms(3000);
    uint64_t version = pair_facts(0).version;
    check_fenced(0, 9, 2);
    for (unsigned i = 0; i < 2; i++) {
        pair_close(0);
        pair_open(0);
        check_fenced(0, 9, 2);
        pair_check_refuses(0, 1);
        pair_run_ms(2000);
    }
    ck_assert_uint_eq(pair_facts(0).version, version);
    pair_tear_down();
}
END_TEST

/* The log says so from the first entry on that can: a crash right after the fence is committed
 * changes nothing. */
START_TEST(test_the_fence_is_in_the_log)
{
    uint8_t record[pair_record_size];

    pair_set_up();
    pair_is_cut = true;
    pair_record_make((struct epoch){.number = 5, .region = 2}, record);
    pair_tell(0, bytes_of(record, sizeof record));
    pair_run_ms(100);
    core_abandon(pair_fixture(0)->core);
    pair_fixture(0)->core = NULL;
    pair_open(0);
    check_fenced(0, 5, 2);
    pair_check_refuses(0, 1);
    pair_tear_down();
}
END_TEST

/* Lost with its region, and back before anybody tells it: what it ticks of its own accord would be
 * a tail that the new history lacks. */
START_TEST(test_an_old_primary_that_starts_again_follows)
{
    pair_set_up();
    ck_assert_int_eq(pair_put(0, "k", "v"), STATUS_OK);
    pair_wait_level();
    core_abandon(pair_fixture(0)->core);
    pair_fixture(0)->core = NULL;
    promote_two_alone();
    ck_assert_int_eq(pair_put(1, "n", "v"), STATUS_OK);
    pair_open(0);
    uint64_t version = pair_facts(0).version;
    pair_run_ms(5000);
    ck_assert_uint_eq(pair_facts(0).version, version);
    pair_is_cut = false;
    pair_wait_level();
    pair_check_refuses(0, 1);
    pair_tear_down();
}
END_TEST

START_TEST(test_what_is_no_record_changes_nothing)
{
    static const char text[] = "no record of any";
    uint8_t record[pair_record_size];
    struct core_ask ask;

    pair_set_up();
    pair_tell(0, bytes_of_text(text));
    /* The present epoch's, or a lower one, is no news. */
    pair_record_make((struct epoch){.number = 1, .region = 1}, record);
    pair_tell(0, bytes_of(record, sizeof record));
    pair_record_make((struct epoch){.number = 0, .region = 2}, record);
    pair_tell(0, bytes_of(record, sizeof record));
    pair_run_ms(1000);
    ck_assert_int_eq(pair_put(0, "k", "v"), STATUS_OK);
    const Strait__RegionListReply *list = pair_list(0, &ask);
    ck_assert(!list->fenced);
    core_ask_free(&ask);
    pair_wait_level();
    pair_tear_down();
}
END_TEST

/* Nobody tells it by hand: the herald does, once they can talk. */
START_TEST(test_the_old_primary_without_a_tail_follows)
{
    struct core_ask ask;

    pair_set_up();
    ck_assert_int_eq(pair_put(0, "k", "old"), STATUS_OK);
    pair_run_ms(3000); /* until no tick is due: it would be a tail */
    pair_wait_level();
    promote_two_alone();
    ck_assert_int_eq(pair_put(1, "k", "new"), STATUS_OK);
    ck_assert_uint_lt(pair_facts(0).version, pair_facts(1).version);
    pair_is_cut = false;
    pair_wait_level();
    pair_check_refuses(0, 1);
    ck_assert_int_eq(pair_put(1, "k", "newer"), STATUS_OK);
    pair_wait_level();
    const Strait__RegionListReply *list = pair_list(0, &ask);
    ck_assert(!list->fenced); /* it is in the epoch that fenced it */
    ck_assert_uint_eq(list->position->epoch_region, 2);
    ck_assert_str_eq(list->trouble, "");
    ck_assert_str_eq(list->source, "two:7400");
    core_ask_free(&ask);

    /* And is handed the reign back. */
    pair_run_ms(500);
    pair_switchover_begin(1, "one", 0, &ask);
    ck_assert_int_eq(core_fixture_wait(pair_fixture(1), &ask), STATUS_OK);
    core_ask_free(&ask);
    pair_wait_level();
    ck_assert_int_eq(pair_put(0, "k", "newest"), STATUS_OK);
    pair_wait_level();
    pair_tear_down();
}
END_TEST

/* Once the other pulls, there is nothing left to tell. */
START_TEST(test_the_herald_falls_silent)
{
    pair_set_up();
    pair_run_ms(3000);
    pair_wait_level();
    promote_two_alone();
    pair_run_ms(10000);
    ck_assert_uint_eq(pair_servers[1].herald.sends_count, 0);
    pair_is_cut = false;
    pair_wait_level();
    pair_run_ms(10000);
    unsigned told_count = pair_servers[1].herald.sends_count;
    ck_assert_uint_gt(told_count, 0);
    pair_run_ms(10000);
    ck_assert_uint_eq(pair_servers[1].herald.sends_count, told_count);
    ck_assert(!pair_servers[1].herald.connected);
    pair_tear_down();
}
END_TEST

/* It hears of the promotion from the herald alone, and goes back by itself. */
START_TEST(test_the_old_primary_with_a_tail_gives_it_up)
{
    struct core_ask ask;

    pair_set_up();
    pair_run_ms(3000);
    pair_wait_level();
    promote_two_alone();
    ck_assert_int_eq(pair_put(0, "lost", "alone"), STATUS_OK);
    ck_assert_int_eq(pair_put(1, "k", "new"), STATUS_OK);
    pair_is_cut = false;
    pair_run_ms(10000);
    pair_wait_level();
    ck_assert_uint_eq(pair_facts(0).rewinds_count, 1);
    const Strait__RegionListReply *list = pair_list(0, &ask);
    ck_assert(!list->fenced && !list->rewinding);
    ck_assert_uint_eq(list->position->epoch_region, 2);
    ck_assert_str_eq(list->trouble, "");
    core_ask_free(&ask);
    pair_check_refuses(0, 1);
    ck_assert_int_eq(pair_put(1, "k", "newer"), STATUS_OK);
    pair_wait_level();
    pair_tear_down();
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_a_record_stops_commits_at_once);
    tcase_add_test(tests, test_the_fence_is_in_the_log);
    tcase_add_test(tests, test_an_old_primary_that_starts_again_follows);
    tcase_add_test(tests, test_what_is_no_record_changes_nothing);
    tcase_add_test(tests, test_the_old_primary_without_a_tail_follows);
    tcase_add_test(tests, test_the_herald_falls_silent);
    tcase_add_test(tests, test_the_old_primary_with_a_tail_gives_it_up);
}
