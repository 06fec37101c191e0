/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/mend.h"

#include "tests/unit/replication/fixture.h"

static struct region *formed(uint64_t seed)
{
    struct region *region = region_create(3, seed);
    region_form(region);
    return region;
}

static bool is_mending(const struct node *node)
{
    return replicated_log_role(node->log) == LOG_MENDING;
}

static unsigned count_down(const struct region *region)
{
    unsigned count = 0;
    for (unsigned i = 0; i < region->count; i++)
        count += region->nodes[i].log == NULL;
    return count;
}

START_TEST(test_a_hole_is_filled)
{
    struct region *region = formed(1);
    region_commit(region, 100, 500);
    region_await_level(region);
    struct node *leader = region_leader(region);
    for (unsigned i = 0; i < 3; i++) {
        struct node *node = &region->nodes[i];
        node_close(region, i);
        ck_assert(node_damage(node, 40));
        node_open(region, i);
        ck_assert_uint_gt(node->report.holes_count, 0);
        ck_assert(is_mending(node));
        ck_assert_uint_eq(replicated_log_self(node->log), node->id);
        region_await_level(region);
        ck_assert(!is_mending(node));
    }
    /* It is whole for good. */
    for (unsigned i = 0; i < 3; i++) {
        node_close(region, i);
        node_open(region, i);
        ck_assert_uint_eq(region->nodes[i].report.holes_count, 0);
        ck_assert(!is_mending(&region->nodes[i]));
        region_await_level(region);
    }
    region_commit(region, 10, 100);
    (void)leader;
    region_destroy(region);
}
END_TEST

START_TEST(test_no_leader_is_needed)
{
    struct region *region = formed(2);
    region_commit(region, 100, 500);
    region_await_level(region);
    for (unsigned i = 0; i < 3; i++)
        node_close(region, i);
    ck_assert(node_damage(&region->nodes[0], 20));
    ck_assert(node_damage(&region->nodes[1], 80));
    /* Each of the two has what the other lost; only together can they elect. */
    node_open(region, 0);
    node_open(region, 1);
    ck_assert(is_mending(&region->nodes[0]) && is_mending(&region->nodes[1]));
    region_await_level(region);
    region_commit(region, 10, 100);
    node_open(region, 2);
    region_await_level(region);
    region_destroy(region);
}
END_TEST

START_TEST(test_what_nobody_has_is_waited_for)
{
    struct region *region = formed(3);
    region_commit(region, 100, 500);
    region_await_level(region);
    for (unsigned i = 0; i < 3; i++)
        node_close(region, i);
    ck_assert(node_damage(&region->nodes[0], 50));
    ck_assert(node_damage(&region->nodes[1], 50));
    node_open(region, 0);
    node_open(region, 1);
    region_run_ms(region, 12000);
    /* Neither takes part, so that nothing is lost; there is no leader. */
    ck_assert(is_mending(&region->nodes[0]) && is_mending(&region->nodes[1]));
    ck_assert_ptr_null(region_leader(region));
    ck_assert_uint_eq(replicated_log_commit_index(region->nodes[0].log), 0);
    node_open(region, 2); /* it has it */
    region_await_level(region);
    region_commit(region, 10, 100);
    region_destroy(region);
}
END_TEST

START_TEST(test_corrupt_everywhere)
{
    struct region *region = formed(4);
    region_commit(region, 100, 500);
    region_await_level(region);
    for (unsigned i = 0; i < 3; i++)
        node_close(region, i);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert(node_damage(&region->nodes[i], 50));
        node_open(region, i);
    }
    region_run_ms(region, 5000);
    for (unsigned i = 0; i < 3; i++)
        ck_assert(is_mending(&region->nodes[i]));
    region_destroy(region);
}
END_TEST

START_TEST(test_holes_below_the_state_do_not_matter)
{
    struct region *region = formed(5);
    region_commit(region, 100, 500);
    region_await_level(region);
    node_flush_state(region, 1);
    node_close(region, 1);
    ck_assert(node_damage(&region->nodes[1], 50));
    node_open(region, 1);
    ck_assert(!is_mending(&region->nodes[1]));
    region_await_level(region);
    region_destroy(region);
}
END_TEST

/* Who is asked knows an older membership alone, in which the one that asks is not. */
START_TEST(test_a_stranger_is_answered)
{
    struct region *region = region_create(4, 7);
    region_form(region);
    region_commit(region, 60, 500);
    region_await_level(region);
    struct membership members = region->nodes[0].membership;
    struct member late = node_member(&region->nodes[3], MEMBER_LEARNER);
    membership_remove(&members, late.id);
    region_change(region, &members);
    region_isolate(region, 2, true);
    ck_assert(membership_set(&members, &late));
    region_change(region, &members);
    late.kinds = MEMBER_VOTER;
    ck_assert(membership_set(&members, &late));
    region_change(region, &members);
    for (unsigned i = 0; i < 4; i++)
        node_close(region, i);
    ck_assert(node_damage(&region->nodes[3], 20));
    region_isolate(region, 2, false);
    node_open(region, 2);
    node_open(region, 3);
    ck_assert(is_mending(&region->nodes[3]));
    ck_assert_ptr_null(membership_find(&region->nodes[2].bus_members, late.id));
    region_run_ms(region, 3000);
    ck_assert(!is_mending(&region->nodes[3]));
    node_open(region, 0);
    region_await_level(region);
    region_commit(region, 10, 100);
    region_destroy(region);
}
END_TEST

/* The others have let go of what this one lost. The leader still counts on what this one has
 * acknowledged to it, unless it leads a newer term. */
static void mend_by_snapshot(bool new_term)
{
    struct region *region = region_create(3, 6);
    region->retained_size = 1024 * 1024;
    region_form(region);
    region_commit(region, 60, 500);
    region_await_level(region);
    struct node *leader = region_leader(region);
    struct node *hurt = &region->nodes[(leader->number + 1) % 3];
    struct node *other = &region->nodes[(leader->number + 2) % 3];
    node_close(region, hurt->number);
    ck_assert(node_damage(hurt, 40));
    if (new_term) {
        ck_assert_int_eq(replicated_log_transfer(leader->log, other->id), STATUS_OK);
        region_run_ms(region, 500);
        ck_assert_ptr_eq(region_await_leader(region), other);
        leader = other;
    }
    region_commit(region, 40, 100 * 1000);
    region_await_level(region);
    for (unsigned i = 0; i < 3; i++) {
        if (i != hurt->number)
            node_flush_state(region, i);
    }
    region_run_ms(region, 200);
    node_open(region, hurt->number);
    ck_assert(is_mending(hurt));
    for (unsigned i = 0; i < 2000 && leader->snapshot_member == 0; i++) {
        region_run_ms(region, 5);
        leader = region_await_leader(region);
    }
    ck_assert_uint_eq(leader->snapshot_member, hurt->id);
    ck_assert(is_mending(hurt));
    struct wal_mark mark = leader->applied;
    ck_assert_int_eq(region_install(region, leader, hurt), STATUS_OK);
    replicated_log_snapshot_sent(leader->log, hurt->id, mark, true);
    region_await_level(region);
    ck_assert(!is_mending(hurt));
    region_commit(region, 10, 100);
    region_await_level(region);
    node_crash(region, hurt->number, SIM_RESTART_LOSE_UNFLUSHED);
    node_open(region, hurt->number);
    region_await_level(region);
    region_destroy(region);
}

START_TEST(test_what_the_others_released_comes_with_a_snapshot)
{
    mend_by_snapshot(false);
    mend_by_snapshot(true);
}
END_TEST

/* A region all of whose nodes stopped right after an entry was applied: it stands in the last batch
 * of each, without a successor. Returns the proposal. */
static unsigned stop_after_commit(struct region *region)
{
    unsigned number;
    region_commit(region, 20, 200);
    region_await_level(region);
    region_run_ms(region, 50);
    struct node *leader = region_leader(region);
    ck_assert_int_eq(node_propose(leader, 200, &number), STATUS_OK);
    while (!region_is_level(region) || region->proposals[number].fate != FATE_APPLIED)
        region_step(region);
    for (unsigned i = 0; i < 3; i++)
        node_crash(region, i, SIM_RESTART_KEEP_ALL);
    return number;
}

static void open_unknown(struct region *region, unsigned number)
{
    node_open(region, number);
    ck_assert(region->nodes[number].report.suspect.is_unknown);
    ck_assert(is_mending(&region->nodes[number]));
}

static void is_settled(struct region *region)
{
    region_await_level(region);
    region_run_ms(region, 100);
    region_commit(region, 5, 100);
    for (unsigned i = 0; i < 3; i++) {
        node_close(region, i);
        node_open(region, i);
        ck_assert_uint_eq(region->nodes[i].report.suspect.first, 0);
        region_await_level(region);
    }
    region_destroy(region);
}

START_TEST(test_a_tail_of_unknown_extent)
{
    struct region *region = formed(20);
    unsigned number = stop_after_commit(region);
    ck_assert(node_damage_header(&region->nodes[1], number));
    open_unknown(region, 1);
    /* It votes for nobody who may lack what it has lost. */
    node_open(region, 0);
    region_run_ms(region, 3000);
    ck_assert_ptr_null(region_leader(region));
    node_open(region, 2);
    is_settled(region);
}
END_TEST

START_TEST(test_a_tail_of_unknown_extent_while_others_lead)
{
    struct region *region = formed(21);
    unsigned number = stop_after_commit(region);
    ck_assert(node_damage_header(&region->nodes[2], number));
    node_open(region, 0);
    node_open(region, 1);
    region_commit(region, 10, 100);
    open_unknown(region, 2);
    is_settled(region);
}
END_TEST

START_TEST(test_two_tails_of_unknown_extent)
{
    struct region *region = formed(22);
    unsigned number = stop_after_commit(region);
    ck_assert(node_damage_header(&region->nodes[0], number));
    ck_assert(node_damage_header(&region->nodes[1], number));
    open_unknown(region, 0);
    open_unknown(region, 1);
    region_run_ms(region, 3000);
    ck_assert_ptr_null(region_leader(region));
    /* All have said how far they go: the one that goes farthest is elected. */
    node_open(region, 2);
    ck_assert_uint_eq(region_await_leader(region)->number, 2);
    is_settled(region);
}
END_TEST

/* Under load, power fails for some nodes at some moment; what their disks keep is drawn. All that
 * was applied anywhere is there afterwards: the fixture compares. */
static void crash_under_load(uint64_t seed, unsigned victims, uint64_t *suspects)
{
    struct region *region = formed(1000 + seed);
    unsigned number;
    region_commit(region, 5, 100);
    for (unsigned round = 0; round < 3; round++) {
        struct node *leader = region_await_leader(region);
        for (unsigned i = 0; i < 5 + seed % 17; i++) {
            for (unsigned j = 0; j < 1 + seed % 5; j++)
                (void)node_propose(leader, 100 + (seed * 131 + i * 977) % 9000, &number);
            region_step(region);
        }
        for (unsigned i = 0; i < victims; i++)
            node_crash(region, (unsigned)(seed + round + i) % 3, SIM_RESTART_RANDOM);
        if (seed % 3 == 0)
            region_run_ms(region, 700);
        for (unsigned i = 0; i < 3; i++) {
            if (region->nodes[i].log != NULL)
                continue;
            node_open(region, i);
            *suspects += region->nodes[i].report.suspect.first != 0;
        }
        ck_assert_uint_eq(count_down(region), 0);
        region_await_level(region);
    }
    region_commit(region, 5, 100);
    region_await_level(region);
    for (unsigned i = 0; i < region->proposals_count; i++)
        ck_assert_int_ne(region->proposals[i].fate, FATE_PROPOSED);
    region_destroy(region);
}

START_TEST(test_power_fails_for_one)
{
    uint64_t suspects = 0;
    for (uint64_t seed = 0; seed < 60; seed++)
        crash_under_load(seed, 1, &suspects);
    ck_assert_uint_gt(suspects, 10);
}
END_TEST

START_TEST(test_power_fails_for_two)
{
    uint64_t suspects = 0;
    for (uint64_t seed = 0; seed < 60; seed++)
        crash_under_load(seed, 2, &suspects);
    ck_assert_uint_gt(suspects, 10);
}
END_TEST

START_TEST(test_power_fails_for_all)
{
    uint64_t suspects = 0;
    for (uint64_t seed = 0; seed < 60; seed++)
        crash_under_load(seed, 3, &suspects);
    ck_assert_uint_gt(suspects, 10);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_a_hole_is_filled);
    tcase_add_test(tests, test_no_leader_is_needed);
    tcase_add_test(tests, test_what_nobody_has_is_waited_for);
    tcase_add_test(tests, test_corrupt_everywhere);
    tcase_add_test(tests, test_holes_below_the_state_do_not_matter);
    tcase_add_test(tests, test_a_stranger_is_answered);
    tcase_add_test(tests, test_what_the_others_released_comes_with_a_snapshot);
    tcase_add_test(tests, test_a_tail_of_unknown_extent);
    tcase_add_test(tests, test_a_tail_of_unknown_extent_while_others_lead);
    tcase_add_test(tests, test_two_tails_of_unknown_extent);
    tcase_add_test(tests, test_power_fails_for_one);
    tcase_add_test(tests, test_power_fails_for_two);
    tcase_add_test(tests, test_power_fails_for_all);
}
