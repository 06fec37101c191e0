/* SPDX-License-Identifier: Apache-2.0 */
/* Bugs put in on purpose, one of which may be chosen when a test starts: to see that the tests
 * would find it. Each is one that some system has shipped (or nearly so).
 *
 * They are compiled in only where STRAIT_PLANTED is on, in a build of its own; in every other build
 * PLANTED() is the constant false, and nothing of them is left.
 *
 *     if (term != raft->hard_state.term && !PLANTED(raft_commit_old_term))
 *         return;
 *
 * Chosen by planted_choose(), or else by the environment variable STRAIT_PLANTED_BUG, which is read
 * once. Choose before any thread is started. */
#ifndef PROTO_BASE_PLANTED_H
#define PROTO_BASE_PLANTED_H

#include <stdbool.h>

/* X(name, what it does) */
#define PLANTED_LIST(X)                                                                            \
    X(raft_vote_twice, "a vote is given again within a term")                                      \
    X(raft_vote_early, "messages leave before the hard state is durable")                          \
    X(raft_vote_any_log, "a vote is given whatever the candidate's log lacks")                     \
    X(raft_vote_in_lease, "a vote is given although a leader was heard of")                        \
    X(raft_vote_after_start, "a start waits for no lease that was given before it")                \
    X(raft_prevote_counted, "a pre-vote's answer is counted as a vote")                            \
    X(raft_commit_old_term, "an entry of an older term is committed by counting")                  \
    X(raft_commit_own_early, "the leader counts what its own disk does not have")                  \
    X(raft_commit_one_half, "in a joint configuration the new half decides alone")                 \
    X(raft_change_early, "the membership changes before the own no-op is committed")               \
    X(raft_joint_left_early, "a joint configuration is left before it is committed")               \
    X(raft_configuration_kept, "a truncated configuration stays in force")                         \
    X(raft_ack_early, "a follower says that it holds what it has not written")                     \
    X(raft_notice_stale, "a report of a superseded write is believed")                             \
    X(raft_snapshot_stale, "a snapshot below the commit index is installed")                       \
    X(raft_snapshot_drops, "a snapshot drops the entries that follow it")                          \
    X(raft_lease_kept, "the lease lasts while leadership is handed over")                          \
    X(raft_lease_from_answer, "the lease runs from when a round was answered")                     \
    X(raft_lease_unbounded, "the lease takes no account of clocks that run apart")                 \
    X(raft_read_early, "reads begin before the own no-op is applied")                              \
    X(raft_confirm_old_round, "a round that was begun earlier confirms a read")                    \
    X(raft_commit_minority, "one voter is enough to commit")                                       \
    X(log_hard_state_unwritten, "term and vote are said to be durable and never written")          \
    X(log_applies_unwritten, "a follower applies what its own log does not hold durably")          \
    X(log_proposals_kept, "an entry of another answers for the one it superseded")                 \
    X(log_snapshot_keeps_suffix, "a log that differs from a snapshot is kept after it")            \
    X(wal_unflushed, "a batch is said to be durable once it is written")                           \
    X(wal_name_unflushed, "a segment is used before its name is durable")                          \
    X(wal_error_passed, "a write or flush that failed counts as done")                             \
    X(wal_vote_lost, "the hard state keeps the term and not the vote")                             \
    X(wal_term_lost, "the hard state keeps the term before")                                       \
    X(twin_unflushed, "copies of a twin are renamed before they are durable")                      \
    X(core_log_released_early, "the log is released up to what is applied and not yet in tables")  \
    X(core_read_unconfirmed, "a deposed leader reads: neither lease nor quorum is asked")          \
    X(core_lease_first, "the lease is looked at before a read, and not after")                     \
    X(core_version_unasked, "the cluster version is raised before all can apply it")               \
    X(core_snapshots_unheld, "versions that an open snapshot sees are let go")                     \
    X(state_outcome_unread, "a retry of what was committed runs again")                            \
    X(state_outcomes_volatile, "outcomes of before a restart are not known")                       \
    X(state_refusal_forgotten, "a refusal's outcome is not kept: a retry may succeed")             \
    X(state_reads_unchecked, "what a commit has read may have changed since")                      \
    X(state_mark_ahead, "the applied index is persisted one ahead of the data")                    \
    X(state_version_ungated, "a newer program applies in its own way before all can")              \
    X(lsm_mark_ahead, "a manifest's mark is the memtables', not the tables'")                      \
    X(lsm_level0_order, "level 0 is searched from the oldest table")                               \
    X(lsm_memtable_order, "memtables are searched from the oldest")                                \
    X(lsm_horizon_ignored, "a merge drops older versions that a reader needs")                     \
    X(lsm_tombstone_early, "a merge drops deletions that hide what is below")                      \
    X(lsm_inputs_newest, "a compaction takes level 0's newest tables and leaves older ones")       \
    X(lsm_record_dropped, "a compaction loses a record now and then")                              \
    X(lsm_table_unflushed, "a table is installed before its contents are durable")                 \
    X(lsm_names_unflushed, "a table is installed before its name is durable")                      \
    X(region_higher_ignored, "a primary goes on although it knows of a higher epoch")              \
    X(region_late_answer, "what is in the log when a higher epoch is heard of is acknowledged")    \
    X(region_fence_unapplied, "a fence in the log stops nothing")                                  \
    X(region_told_early, "a standby acknowledges what its group has not committed")                \
    X(region_granted_early, "a switchover does not wait for the standby")                          \
    X(region_number_reused, "a promotion takes the number that a grant would take")                \
    X(region_gap_taken, "a standby begins one version ahead, and takes the gap")                   \
    X(region_duplicate_taken, "a standby applies what was proposed twice")                         \
    X(region_lower_taken, "a standby applies commands of another epoch")                           \
    X(region_end_short, "an epoch is said to have ended one version before")                       \
    X(region_token_epochless, "a read's token is compared by its version alone")                   \
    X(region_reads_epochless, "a commit may have read what was given up since")                    \
    X(region_fresh_unapplied, "a standby is as new as the answer that it has not applied")         \
    X(region_adopted_unreported, "a tail that nothing leads back from is dropped unreported")      \
    X(region_range_unsaid, "a report does not say which versions it could not list")               \
    X(lease_from_answer, "a lease between regions runs from when its grant came")                  \
    X(lease_clocks_equal, "a lease takes no account of clocks that run apart")                     \
    X(lease_kept_over_epochs, "what was granted for an epoch counts in a later one")               \
    X(lease_unread, "linearizable reads are answered without a lease")                             \
    X(lease_promise_broken, "a standby is promoted while what it promised lasts")                  \
    X(lease_witness_forgets, "the witness answers, and what it has to keep is not durable")        \
    X(lease_witness_both, "the witness grants what another region still has")                      \
    X(lease_witness_at_once, "a witness that was restarted grants at once")

enum planted {
    PLANTED_NONE,
#define PLANTED_ENUM(name, text) PLANTED_##name,
    PLANTED_LIST(PLANTED_ENUM)
#undef PLANTED_ENUM
        PLANTED_END
};

#if defined(STRAIT_PLANTED)
enum planted planted_chosen(void);
#define PLANTED(name) (planted_chosen() == PLANTED_##name)
#else
#define PLANTED(name) false
#endif

/* The bug of a number from 1 to PLANTED_END - 1, and what it does. */
const char *planted_name(enum planted bug);
const char *planted_text(enum planted bug);

/* By name; "" for none. False where there is no such bug, or none is compiled in. */
bool planted_choose(const char *name);

#endif
