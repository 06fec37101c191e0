/* SPDX-License-Identifier: Apache-2.0 */
/* What a member promises about its own log and its writes, without any other member. */
#include "proto/base/status.h"
#include "replication/raft/raft.h"
#include "tests/unit/unit.h"

static struct raft *alone(uint64_t now_ns)
{
    struct raft *raft;
    struct raft_options options = {
        .self = 1, .now_ns = now_ns, .configuration = {.voters_count = 1, .voters = {1}}};
    ck_assert_int_eq(raft_create(&options, &raft), STATUS_OK);
    return raft;
}

static void persist_hard_state(struct raft *raft, uint64_t now_ns)
{
    struct raft_hard_state state;
    ck_assert(raft_take_hard_state(raft, &state));
    ck_assert(!raft_take_hard_state(raft, &state));
    raft_hard_state_persisted(raft, now_ns, &state);
}

START_TEST(test_the_only_voter_leads_as_soon_as_its_vote_is_durable)
{
    struct raft *raft = alone(1000);
    struct raft_own_entry own;
    uint64_t first;

    ck_assert_uint_eq(raft_deadline_ns(raft), 1000);
    raft_tick(raft, 1000);
    ck_assert_int_eq(raft_role(raft), RAFT_CANDIDATE);
    persist_hard_state(raft, 1000);
    ck_assert_int_eq(raft_role(raft), RAFT_LEADER);
    ck_assert_uint_eq(raft_term(raft), 1);

    ck_assert(raft_take_own_entry(raft, &own));
    ck_assert(!own.is_configuration);
    ck_assert_uint_eq(own.mark.index, 1);
    struct raft_entry entries[3] = {0};
    ck_assert_int_eq(raft_propose(raft, 1000, entries, 3, &first), STATUS_OK);
    ck_assert_uint_eq(first, 2);
    ck_assert_uint_eq(entries[2].term, 1);
    ck_assert_uint_eq(raft_commit_index(raft), 0);
    raft_persisted(raft, 1000, (struct raft_mark){3, 1});
    ck_assert_uint_eq(raft_commit_index(raft), 3);
    ck_assert(!raft_may_read(raft));
    ck_assert(!raft_lease_holds(raft, 1000));
    raft_applied(raft, 3);
    ck_assert(raft_lease_holds(raft, UINT64_MAX / 8));
    raft_release(raft, 3);
    ck_assert_uint_eq(raft_base(raft).index, 3);
    ck_assert_uint_eq(raft_last(raft).index, 4);
    raft_destroy(raft);
}
END_TEST

START_TEST(test_what_was_recovered_is_committed_by_a_new_entry)
{
    struct raft *raft = alone(0);
    struct raft_entry entries[] = {{.term = 1}, {.term = 1}, {.term = 3}};
    struct raft_own_entry own;
    uint64_t term;

    ck_assert_int_eq(raft_restore(raft, entries, 3), STATUS_OK);
    /* The term of the last entry was durable before the hard state that goes with it. */
    persist_hard_state(raft, 0);
    ck_assert_uint_eq(raft_term(raft), 3);
    raft_tick(raft, 0);
    persist_hard_state(raft, 0);
    ck_assert_uint_eq(raft_commit_index(raft), 0);
    ck_assert(raft_take_own_entry(raft, &own));
    ck_assert_uint_eq(own.mark.term, 4);
    raft_persisted(raft, 0, own.mark);
    ck_assert_uint_eq(raft_commit_index(raft), 4);
    ck_assert(raft_term_at(raft, 2, &term) && term == 1);
    ck_assert(!raft_term_at(raft, 5, &term));
    raft_destroy(raft);
}
END_TEST

/* What is applied may stand in the log, for members that need it yet. */
START_TEST(test_a_log_that_reaches_back_behind_what_is_applied)
{
    struct raft *raft;
    const struct raft_options options = {
        .self = 1,
        .hard_state = {.term = 3},
        .base = {2, 1},
        .applied_index = 6,
        .configuration = {.voters_count = 3, .voters = {1, 2, 3}},
    };
    struct raft_configuration four = {.voters_count = 3, .voters = {1, 2, 4}};
    struct raft_entry before[] = {{.term = 1}, {.term = 2}, {.term = 2}, {.term = 2}};
    struct raft_entry after[] = {{.term = 2}, {.term = 3, .configuration = &four}};
    uint64_t index;
    uint64_t term;
    unsigned accepted;

    ck_assert_int_eq(raft_create(&options, &raft), STATUS_OK);
    ck_assert_int_eq(raft_restore(raft, before, 4), STATUS_OK);
    ck_assert_int_eq(raft_restore(raft, after, 2), STATUS_OK);
    raft_tick(raft, 0);
    ck_assert_uint_eq(raft_base(raft).index, 2);
    ck_assert_uint_eq(raft_commit_index(raft), 6);
    ck_assert_uint_eq(raft_last(raft).index, 8);
    ck_assert(raft_term_at(raft, 3, &term) && term == 1);
    ck_assert(raft_term_at(raft, 4, &term) && term == 2);
    ck_assert(raft_configuration_is_voter(raft_configuration(raft, &index), 4));
    ck_assert_uint_eq(index, 8);

    /* What agrees in what is applied goes on from there, and supersedes only what is not. */
    struct raft_entry entries[] = {{.term = 2}, {.term = 2}, {.term = 4}};
    struct raft_message append = {.type = RAFT_APPEND,
                                  .from = 2,
                                  .to = 1,
                                  .term = 4,
                                  .mark = {4, 2},
                                  .commit = 6,
                                  .entries_count = 3,
                                  .entries = entries};
    ck_assert_int_eq(raft_step(raft, 1, &append, &accepted), STATUS_OK);
    ck_assert_uint_eq(accepted, 2);
    ck_assert_uint_eq(raft_last(raft).index, 7);
    ck_assert_uint_eq(raft_last(raft).term, 4);
    /* The membership is again that of the state. */
    ck_assert(raft_configuration_is_voter(raft_configuration(raft, &index), 3));
    ck_assert_uint_eq(index, 6);
    /* What is applied never changes, whatever is sent. */
    entries[0].term = 3;
    entries[1].term = 3;
    ck_assert_int_eq(raft_step(raft, 2, &append, &accepted), STATUS_OK);
    ck_assert_uint_eq(accepted, 3);
    ck_assert(raft_term_at(raft, 5, &term) && term == 2);
    ck_assert_uint_eq(raft_statistics(raft).dropped_count, 1);
    raft_release(raft, 5);
    ck_assert_uint_eq(raft_base(raft).index, 5);
    ck_assert_uint_eq(raft_base(raft).term, 2);
    raft_destroy(raft);

    /* Nothing is applied below the base. */
    struct raft_options wrong = options;
    wrong.applied_index = 1;
    ck_assert_int_eq(raft_create(&wrong, &raft), STATUS_INVALID_ARGUMENT);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_a_log_that_reaches_back_behind_what_is_applied);
    tcase_add_test(tests, test_the_only_voter_leads_as_soon_as_its_vote_is_durable);
    tcase_add_test(tests, test_what_was_recovered_is_committed_by_a_new_entry);
}
