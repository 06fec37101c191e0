/* SPDX-License-Identifier: Apache-2.0 */
/* Consensus: Raft without I/O, clocks, threads or random sources.
 *
 * Ongaro, "Consensus: Bridging Theory and Practice" (2014), is the source; sections below are its.
 * Added to it: pre-vote (9.6), check-quorum (6.2), a leader lease (6.4.1) with the rules below,
 * leadership transfer (3.10), learners (4.2.1), joint consensus (4.3), pipelining (10.2.1), the
 * leader's own write in parallel with its peers' (10.2.1), and a leader that steps down when its
 * own disk stalls.
 *
 * Shape. The owner brings in what happened: raft_step() for a message, raft_tick() when the time of
 * raft_deadline_ns() has come, raft_persisted() and raft_hard_state_persisted() when something is
 * on stable storage. After each turn it takes out what is to be done, in this order:
 *
 *     raft_take_hard_state()   write it; then raft_hard_state_persisted()
 *     raft_take_own_entry()    the leader's own entries (no-op, configurations): write them like
 *                              proposals, and before those that are proposed later
 *     raft_take_message()      send: whatever durable thing it depends on is durable already
 *     raft_take_append()       send, for each member, as long as there is room on its way
 *     raft_take_snapshot()     a member that needs a snapshot
 *     raft_take_confirmed()    reads that may be answered
 *     raft_commit_index()      entries up to here may be applied
 *
 * Conventions
 * 1. Entries' bytes are the owner's. Raft knows of each its index, its term and, where it
 * changes the membership, the configuration.
 * 2. Times are nanoseconds of one clock that counts suspended time too (CLOCK_BOOTTIME), given with
 *    each call; they never go back.
 * 3. Nothing that depends on a write leaves before that write is persisted: votes wait for the hard
 *    state, a follower's answer for its entries. Raft holds such messages back by itself.
 * 4. Memory is bounded by raft_members_max, by the messages that wait to be taken (at most a few
 *    for each member: a newer one of a kind takes an older one's place), by 16 bytes for each run
 *    of entries of one term, and by one configuration for each entry above the commit index that
 *    holds one.
 * 5. A message of an impossible term or with impossible marks is dropped, and counted in
 *    raft_statistics(): peers are authenticated, yet may be of another version, or broken. One
 *    from a member that the configuration here does not know is answered: that configuration may
 *    be the older one (4.2.2). So whoever is asked for a vote judges the candidate's term and log
 *    alone, and who may decide is judged by the candidate.
 * 6. The owner's writes are done, and reported, in the order in which they were begun. */
#ifndef REPLICATION_RAFT_RAFT_H
#define REPLICATION_RAFT_RAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/status.h"

struct raft;

enum {
    raft_voters_max = 7,
    raft_members_max = 16,         /* voters of both halves and learners, together */
    raft_append_entries_max = 1024 /* in one message */
};

/* A place in the log: two logs that agree in it agree in all before it (3.5). (0, 0): before the
 * first. */
struct raft_mark {
    uint64_t index;
    uint64_t term;
};

/* Durable before it is acted upon. `vote` 0: none in `term`. */
struct raft_hard_state {
    uint64_t term;
    uint64_t vote;
};

/* Who decides. Members are known by ids that are never used again, and never 0. Joint while
 * `outgoing_count` is not 0: then elections and commitment need a majority of `voters` and one of
 * `outgoing` (4.3). A learner gets entries and decides nothing. */
struct raft_configuration {
    unsigned voters_count;
    unsigned outgoing_count;
    unsigned learners_count;
    uint64_t voters[raft_voters_max];
    uint64_t outgoing[raft_voters_max];
    uint64_t learners[raft_members_max];
};

/* One entry, as far as Raft knows it. */
struct raft_entry {
    uint64_t term;
    const struct raft_configuration *configuration; /* NULL: an ordinary entry */
};

enum raft_message_type {
    RAFT_PREVOTE = 1, /* would you vote for me? changes nobody's term */
    RAFT_PREVOTE_REPLY,
    RAFT_VOTE,
    RAFT_VOTE_REPLY,
    RAFT_APPEND, /* entries after `mark`; none: a probe, or a new commit index */
    RAFT_APPEND_REPLY,
    RAFT_HEARTBEAT, /* carries `round`, for check-quorum, leases and reads; small, and may
                       overtake appends */
    RAFT_HEARTBEAT_REPLY,
    RAFT_TIMEOUT_NOW, /* stand for election at once (3.10) */
    RAFT_TYPES_END
};

/* Replies carry the kind of question in their type, and the term they answer in: a late answer to a
 * pre-vote is never taken for a vote. */
struct raft_message {
    enum raft_message_type type;
    uint64_t from;
    uint64_t to;
    uint64_t term;          /* the sender's; of a pre-vote: the one it would stand in */
    struct raft_mark mark;  /* votes: the last entry; append: the one before the first; append
                               reply: the last that is the same and durable, or, where `reject`, a
                               place to try next; heartbeat reply: the last that is the same,
                               durable or not */
    uint64_t commit;        /* append, heartbeat: the leader's, no farther than the member is known
                               to hold */
    uint64_t round;         /* append, heartbeat and their replies: repeated as it came; 0 in an
                               append that brings only a commit index: it needs no answer */
    bool reject;            /* replies: no */
    bool transfer;          /* vote: the leader asked for it; leases do not hold it up */
    unsigned entries_count; /* append; refer to the owner's memory, for the call */
    const struct raft_entry *entries;
};

enum raft_role { RAFT_FOLLOWER, RAFT_CANDIDATE_PREVOTE, RAFT_CANDIDATE, RAFT_LEADER };

struct raft_options {
    uint64_t self;
    uint64_t now_ns;
    uint64_t election_timeout_ns; /* a follower waits from this to twice this; 0: 300 ms */
    uint64_t heartbeat_ns;        /* 0: a sixth of the election timeout */
    /* A leader steps down whose own oldest write takes longer than this; and one whose writes in a
     * row, each of a sixth of it or more, take as long together while the others commit without it.
     * 0: 3 s. */
    uint64_t disk_stall_ns;

    bool lease_off;              /* clocks' rates are not to be trusted: rounds alone */
    uint32_t clock_bound_ppm;    /* how far two clocks' rates may be apart; 0: 1000 */
    uint64_t seed;               /* of the election timeouts */
    size_t inflight_size_max;    /* bytes on their way to one member; 0: 8 MiB */
    unsigned inflight_count_max; /* messages on their way to one member; 0: 64 */
    size_t append_size_max;      /* bytes of entries in one message (one entry may be larger);
                                    0: 256 KiB */

    /* As recovered. The log's entries follow with raft_restore(). */
    struct raft_hard_state hard_state;
    struct raft_mark base;  /* the log begins after it */
    uint64_t applied_index; /* applied and committed up to here, at or above the base, and in what
                             * is restored; 0: up to the base */
    /* As of what is applied; no voters: not a member yet. One who is filled from the log's
     * beginning learns of members by entries alone: a founder's own configuration is best the log's
     * first entry too. */
    struct raft_configuration configuration;
};

/* NO_MEMORY; INVALID_ARGUMENT for a configuration that cannot be. */
MUST_CHECK enum status raft_create(const struct raft_options *options, struct raft **raft);
void raft_destroy(struct raft *raft);

/* Before the first tick: the recovered log's entries after the base, in order, in one call or
 * several; all are durable. None that is applied has a configuration: what counts of those is given
 * with the options. NO_MEMORY. */
MUST_CHECK enum status raft_restore(struct raft *raft, const struct raft_entry *entries,
                                    size_t count);

/* ---- What happened ---- */

/* Of a RAFT_APPEND, `*accepted_from` is how many of its entries at the front are in the log
 * already: the owner writes those from there on, as successors of the one before, which drops what
 * the log held at and above that index. entries_count: nothing is to be written. NO_MEMORY: nothing
 * was accepted; it will be sent again. */
MUST_CHECK enum status raft_step(struct raft *raft, uint64_t now_ns,
                                 const struct raft_message *message, unsigned *accepted_from);

void raft_tick(struct raft *raft, uint64_t now_ns);

/* When the next tick is due; changes with every call. UINT64_MAX: none is. */
uint64_t raft_deadline_ns(const struct raft *raft);

/* Entries up to `mark` are on stable storage here. A mark that is no longer in the log (it was
 * superseded while the write flew) is ignored. */
void raft_persisted(struct raft *raft, uint64_t now_ns, struct raft_mark mark);
void raft_hard_state_persisted(struct raft *raft, uint64_t now_ns,
                               const struct raft_hard_state *state);

/* A leader takes new entries, whose terms are its own (`term` is filled in); none holds a
 * configuration. `*first_index`: of the first one. All own entries were taken before: those made
 * earlier have lower indexes. NOT_LEADER; BUSY while leadership is being handed over; NO_MEMORY. */
MUST_CHECK enum status raft_propose(struct raft *raft, uint64_t now_ns, struct raft_entry *entries,
                                    size_t count, uint64_t *first_index);

/* A leader changes the membership to `target`, which is not joint: by one entry where no voter
 * changes, else through a joint configuration, which it leaves by an entry of its own once the
 * joint one is committed (4.3). The entry to write comes with raft_take_own_entry(). NOT_LEADER;
 * BUSY where a change or a transfer is under way, or the leader's own no-op is not committed yet (a
 * change before that can elect two leaders); INVALID_ARGUMENT; NO_MEMORY. */
MUST_CHECK enum status raft_change(struct raft *raft, uint64_t now_ns,
                                   const struct raft_configuration *target);

/* Hands leadership to a voter that is nearly up to date: proposals answer BUSY until it took over,
 * or an election timeout passed. The lease is dropped for the rest of the term. NOT_LEADER,
 * INVALID_ARGUMENT; BUSY while it is being handed to another. */
MUST_CHECK enum status raft_transfer(struct raft *raft, uint64_t now_ns, uint64_t to);

/* The state up to `index` is applied. */
void raft_applied(struct raft *raft, uint64_t index);

/* The log keeps nothing at or below `index`, which is applied and durable. */
void raft_release(struct raft *raft, uint64_t index);

/* A snapshot took the place of the state, durably: the log begins after `mark`. Where the log held
 * `mark`, what follows it is kept; else nothing is (raft_last() says which: the owner's log is to
 * be the same). INVALID_ARGUMENT for one at or below the commit index, or on a leader: nothing
 * changes.
 */
MUST_CHECK enum status raft_snapshot_installed(struct raft *raft, struct raft_mark mark,
                                               const struct raft_configuration *configuration);

/* While a snapshot is being installed, or the log is not whole, this member neither stands for
 * election nor votes, nor says that it holds entries. It takes them, and answers heartbeats. A
 * leader that is held steps down. */
void raft_hold(struct raft *raft, bool held);

/* ---- What is to be done ---- */

bool raft_take_hard_state(struct raft *raft, struct raft_hard_state *state);

struct raft_own_entry {
    struct raft_mark mark;
    bool is_configuration; /* else the no-op that begins a leader's term (6.4) */
    struct raft_configuration configuration;
};
bool raft_take_own_entry(struct raft *raft, struct raft_own_entry *entry);

/* All but appends with entries. */
bool raft_take_message(struct raft *raft, struct raft_message *message);

/* An append to `member` may go now: `message` lacks its entries. The owner looks up the bytes of
 * entries after message->mark, up to `last_index` and `size_max`, and says with raft_append_sent()
 * how many it sent (0 although there are some: they could not be had now, nothing was sent, ask
 * again later; 0 where there are none: the message alone went out). */
struct raft_append {
    struct raft_message message;
    uint64_t last_index; /* send at most up to here; == message.mark.index: an empty append */
    size_t size_max;
};
bool raft_take_append(struct raft *raft, uint64_t now_ns, uint64_t member,
                      struct raft_append *append);
void raft_append_sent(struct raft *raft, uint64_t now_ns, uint64_t member,
                      const struct raft_append *append, unsigned entries_count, size_t size);

/* The way to a member was cut, or its message was dropped: what is in flight may be lost, so that
 * the member is probed again, at the next heartbeat. */
void raft_unreachable(struct raft *raft, uint64_t member);

/* A member needs what the log does not hold any more. Returned once; again a heartbeat after
 * raft_snapshot_sent() with `ok` false, or when it falls behind again. Appends to it rest until
 * raft_snapshot_sent(), or until it is seen to hold enough. */
bool raft_take_snapshot(struct raft *raft, uint64_t *member);
void raft_snapshot_sent(struct raft *raft, uint64_t now_ns, uint64_t member, struct raft_mark mark,
                        bool ok);

/* ---- Reads (6.4) ----
 *
 * A linearizable read: the owner reads its applied state, once raft_may_read() says that the
 * leader's own no-op is applied; then, last of all, asks raft_lease_holds(). Where it does not
 * hold, raft_confirm() asks for a round that begins now: the read is answered when its number, or a
 * higher one, comes out of raft_take_confirmed(), and must be answered otherwise (NOT_LEADER) where
 * the role or term changes first: all that wait are dropped then. The only voter needs neither time
 * nor answers: its lease always holds. */
bool raft_may_read(const struct raft *raft);
bool raft_lease_holds(const struct raft *raft, uint64_t now_ns);

/* `*round`: a number that rises; all reads up to the one that raft_take_confirmed() gives are
 * confirmed. NOT_LEADER. */
MUST_CHECK enum status raft_confirm(struct raft *raft, uint64_t now_ns, uint64_t *round);
bool raft_take_confirmed(struct raft *raft, uint64_t *round);

/* ---- How it stands ---- */

enum raft_role raft_role(const struct raft *raft);
uint64_t raft_term(const struct raft *raft);
uint64_t raft_leader(const struct raft *raft); /* 0: not known */

/* Entries up to here are durable on a quorum: this member need not be of it, so that the index may
 * be above what is durable here. */
uint64_t raft_commit_index(const struct raft *raft);
struct raft_mark raft_last(const struct raft *raft);
struct raft_mark raft_base(const struct raft *raft);

/* False where the log does not reach: below the base, above the last. */
bool raft_term_at(const struct raft *raft, uint64_t index, uint64_t *term);

/* The newest configuration in the log, committed or not (4.1), and the index of its entry (or the
 * base's). */
const struct raft_configuration *raft_configuration(const struct raft *raft, uint64_t *index);
bool raft_configuration_has(const struct raft_configuration *configuration, uint64_t member);
bool raft_configuration_is_voter(const struct raft_configuration *configuration, uint64_t member);

/* As the leader sees a member. */
struct raft_progress {
    uint64_t match_index; /* known to be durable there */
    uint64_t next_index;
    uint64_t answered_ns; /* when it was heard of last; 0: never */
    bool probing;
    bool snapshot_wanted;
};
bool raft_progress(const struct raft *raft, uint64_t member, struct raft_progress *progress);

struct raft_statistics {
    uint64_t elections_count; /* stood for, pre-votes not counted */
    uint64_t won_count;
    uint64_t stepped_down_count;
    uint64_t stalled_count;   /* of these: for the own disk's sake */
    uint64_t dropped_count;   /* messages that could not be */
    uint64_t rejected_count;  /* appends that did not fit */
    uint64_t truncated_count; /* times that a suffix was superseded */
};
struct raft_statistics raft_statistics(const struct raft *raft);

#endif
