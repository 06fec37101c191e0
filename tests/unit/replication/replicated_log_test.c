/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/replicated_log.h"

#include "tests/unit/replication/fixture.h"

START_TEST(test_alone)
{
    struct region *region = region_create(1, 1);
    struct node *node = &region->nodes[0];
    node_open(region, 0);
    ck_assert_int_eq(replicated_log_role(node->log), LOG_LEADER);
    ck_assert_uint_eq(replicated_log_leader(node->log)->id, node->id);
    region_commit(region, 100, 200);
    ck_assert(replicated_log_may_read(node->log));
    ck_assert(replicated_log_lease_holds(node->log));
    ck_assert_uint_eq(replicated_log_inflight_count(node->log), 0);
    uint64_t last = node->applied.index;
    ck_assert_uint_ge(last, 102); /* the membership, the no-op, and these */
    ck_assert_uint_eq(node->membership.count, 1);
    node_close(region, 0);
    /* All of it comes back, committed at once. */
    node_open(region, 0);
    (void)region_await_leader(region);
    ck_assert_uint_ge(node->applied.index, last);
    node_flush_state(region, 0);
    node_crash(region, 0, SIM_RESTART_LOSE_UNFLUSHED);
    node_open(region, 0);
    region_commit(region, 1, 10);
    region_destroy(region);
}
END_TEST

START_TEST(test_three)
{
    struct region *region = region_create(3, 2);
    region_form(region);
    region_commit(region, 200, 300);
    region_await_level(region);
    region_destroy(region);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_alone);
    tcase_add_test(tests, test_three);
}
