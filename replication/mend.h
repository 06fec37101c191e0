/* SPDX-License-Identifier: Apache-2.0 */
/* Mending a log with what the other members hold ("Protocol-Aware Recovery for Consensus-Based
 * Storage", FAST'18), and answering others that mend theirs.
 *
 * A log that is opened with entries that cannot be read does not take part in consensus. It asks
 * all members for those entries by (index, term): whoever holds the same pair holds the same bytes,
 * so no leader is needed. Then it begins.
 *
 * Not each entry that was durable here was committed. A lost one is discarded, with what follows
 * it, where that is certain to lose nothing: voters enough to leave no quorum without them say that
 * they never had it, and are in a newer term than this member's. No leader that counts an
 * acknowledgement of this member's can commit anything any more.
 *
 * The last write before a crash may never have been durable, so that its entries may never have
 * been acknowledged at all. Such a suspect entry is filled and discarded like others, and is
 * discarded too where all voters have answered and none holds it: each never had it, or has it as
 * suspect as here. Had it been acknowledged by a quorum, all of that quorum's copies would have to
 * have decayed within the moment before the crash.
 *
 * "Had it, corrupt" is no such answer, nor is silence: then this member waits, and says so.
 *
 * What all others have in their states only comes with a snapshot, which takes the place of the log
 * up to its mark; what follows that is kept.
 *
 * Where not even the extent of the last write is known, there is nothing to ask for by name. Then
 * consensus begins in a newer term, by which old acknowledgements lapse; but this member votes for
 * nobody, until the log has caught up with a leader that was elected without it (such a one has all
 * that was committed), or until all voters have said how far their logs go: then it may vote for
 * one whose log goes as far as any.
 *
 * Belongs to its log's thread. */
#ifndef REPLICATION_MEND_H
#define REPLICATION_MEND_H

#include "proto/base/error.h"
#include "proto/peer.h"

struct mend;
struct replicated_log;

/* The log's write-ahead log is not whole. NO_MEMORY. */
MUST_CHECK enum status mend_create(struct replicated_log *log, struct mend **mend,
                                   struct error *error);
void mend_free(struct mend *mend); /* NULL does nothing */

/* Once a turn: asks where it is time to, decides, and where the log is whole lets Raft begin. True:
 * all is done, and the owner frees it. */
bool mend_turn(struct mend *mend);

/* When mend_turn() has something to do at the latest. */
uint64_t mend_deadline_ns(const struct mend *mend);

/* A record that mends is durable. */
void mend_look(struct mend *mend);

/* A member can be asked now. */
void mend_connected(struct mend *mend, uint64_t member);
void mend_answered(struct mend *mend, const struct peer_message *message);

/* A message of Raft's came while there is no Raft yet. Where what is lost is in the others' states
 * and in nobody's log any more, the leader is told that this member needs a snapshot. */
void mend_heard(struct mend *mend, const struct peer_message *message);

/* Whether Raft may see this message of its own: not a question for a vote which this member must
 * not give. */
bool mend_permits(const struct mend *mend, const struct peer_message *message);

/* Whether this member may stand for election. */
bool mend_may_stand(const struct mend *mend);

/* ---- For others, whether or not this log is whole ---- */

/* A member asks. Its newest question takes the place of an older one. */
void mend_asked(struct replicated_log *log, const struct peer_message *message);

/* Once a turn: answers what can be answered now. */
void mend_answer_turn(struct replicated_log *log);

#endif
