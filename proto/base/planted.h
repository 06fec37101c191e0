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
    X(raft_confirm_old_round, "a round that was begun earlier confirms a read")

enum planted {
    PLANTED_NONE,
#define PLANTED_ENUM(name, text) PLANTED_##name,
    PLANTED_LIST(PLANTED_ENUM)
#undef PLANTED_ENUM
};

#if defined(STRAIT_PLANTED)
enum planted planted_chosen(void);
#define PLANTED(name) (planted_chosen() == PLANTED_##name)
#else
#define PLANTED(name) false
#endif

/* By name; "" for none. False where there is no such bug, or none is compiled in. */
bool planted_choose(const char *name);

#endif
