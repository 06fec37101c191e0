/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share: the state, and who does what to it.
 *
 * raft.c takes events in and hands them to the file whose business they are; each of those changes
 * its own part of the state. Roles are changed by election.c alone. */
#ifndef REPLICATION_RAFT_RAFT_INTERNAL_H
#define REPLICATION_RAFT_RAFT_INTERNAL_H

#include "proto/base/assert.h"
#include "proto/base/generator.h"
#include "proto/base/planted.h"
#include "replication/raft/raft.h"

enum {
    /* Messages that wait to be taken: of each kind one for each member, and some for those whom the
     * configuration here does not know yet (4.2.2). */
    raft_outbox_max = 256,
    /* The no-op, a change of configuration, and the end of a joint one. */
    raft_own_entries_max = 4,
};

/* Terms and indexes from outside stay below it, so that nothing computed from them overflows. */
#define RAFT_NUMBER_MAX (UINT64_MAX / 4)

/* ---- log.c: which terms and configurations the log holds ---- */

/* Entries of one term, from `first_index` up to the next run or the end. */
struct raft_run {
    uint64_t first_index;
    uint64_t term;
};

struct raft_configuration_at {
    uint64_t index;
    struct raft_configuration configuration;
};

struct raft_log {
    struct raft_mark base;
    uint64_t last_index;
    /* Entries up to here are on stable storage; never above last_index, never below the base. */
    uint64_t durable_index;
    /* Where entries that were still being written have been superseded by others that are still
     * being written: the index of the first of those. 0: nowhere. While it stands nothing more is
     * superseded: else an entry could come back that an earlier write had held, and that write's
     * late notice would be taken for its own. */
    uint64_t superseding_index;

    /* Ascending in both fields; the first one may begin anywhere above the base. */
    struct raft_run *runs;
    size_t runs_count;
    size_t runs_capacity;

    /* Never empty, ascending: the newest that is committed (or the base's), then those above. The
     * configuration is a function of the log: after a truncation it is again what the rest of the
     * log says (4.1). */
    struct raft_configuration_at *configurations;
    size_t configurations_count;
    size_t configurations_capacity;
};

MUST_CHECK enum status raft_log_init(struct raft_log *log, struct raft_mark base,
                                     const struct raft_configuration *configuration);
void raft_log_deinit(struct raft_log *log);

/* Room for so many more runs and configurations: what follows then cannot fail. NO_MEMORY: nothing
 * has changed. */
MUST_CHECK enum status raft_log_reserve(struct raft_log *log, size_t runs, size_t configurations);

struct raft_mark raft_log_last(const struct raft_log *log);
bool raft_log_term_at(const struct raft_log *log, uint64_t index, uint64_t *term);
bool raft_log_has(const struct raft_log *log, struct raft_mark mark);

/* The mark at `index`, which is in the log. */
struct raft_mark raft_log_mark(const struct raft_log *log, uint64_t index);

/* The last place at or below `mark.index` whose term is not above `mark.term`: where a log that
 * holds `mark` may agree with this one. The base where there is none above it. */
struct raft_mark raft_log_candidate(const struct raft_log *log, struct raft_mark mark);

/* Room was reserved. */
void raft_log_append(struct raft_log *log, uint64_t term,
                     const struct raft_configuration *configuration);

/* Drops the entries from `index` on, of which none is committed. */
void raft_log_truncate(struct raft_log *log, uint64_t index);

/* False: entries are being superseded whose writes may yet be reported. */
bool raft_log_may_truncate(const struct raft_log *log);

/* Entries up to `index` are committed: older configurations are never needed again. */
void raft_log_committed(struct raft_log *log, uint64_t index);

/* True where more is durable now than before. */
bool raft_log_persisted(struct raft_log *log, struct raft_mark mark);

void raft_log_release(struct raft_log *log, uint64_t index);

/* The log begins after `mark`, with `configuration`; what follows it and has its term is kept. */
void raft_log_install(struct raft_log *log, struct raft_mark mark,
                      const struct raft_configuration *configuration);

const struct raft_configuration_at *raft_log_configuration(const struct raft_log *log);

/* ---- The state ---- */

/* A message on its way to a member. */
struct raft_inflight {
    uint64_t last_index;
    uint64_t sent_ns;
    size_t size;
};

enum raft_member_state {
    RAFT_PROBE,     /* where the logs agree is not known: one message at a time */
    RAFT_REPLICATE, /* it is: messages follow one another without waiting (10.2.1) */
    RAFT_SNAPSHOT,  /* the member needs what the log does not hold any more */
};

/* The leader's view of another member. */
struct raft_member {
    uint64_t id;
    enum raft_member_state state;
    uint64_t match_index; /* known to be durable there; rises */
    uint64_t next_index;  /* the next to send; above match_index */
    uint64_t commit_told; /* the highest commit index sent */
    uint64_t answered_ns; /* 0: never in this term */
    uint64_t since_ns;    /* when the leader began to count it */
    uint64_t round;       /* the highest answered in this term */
    bool paused;          /* a probe is out, or there is no way: until an answer or a heartbeat */
    bool searching;       /* an append was rejected: probe without entries until one fits */
    bool snapshot_due;    /* raft_take_snapshot() has not told it yet */
    bool snapshot_failed; /* due again at the next heartbeat */
    unsigned inflight_first;
    unsigned inflight_count;
    size_t inflight_size;
    struct raft_inflight *inflight; /* a ring of options.inflight_count_max */
};

struct raft_vote {
    uint64_t from;
    bool granted;
};

struct raft {
    struct raft_options options; /* 0 replaced by what it stands for */
    struct generator generator;
    uint64_t now_ns;
    struct raft_statistics statistics;

    struct raft_log log;
    uint64_t commit_index;
    uint64_t applied_index;

    /* What is acted upon; what the owner was asked to write; what is durable. No message leaves
     * while the first and the last differ. */
    struct raft_hard_state hard_state;
    struct raft_hard_state hard_state_taken;
    struct raft_hard_state hard_state_durable;

    enum raft_role role;
    uint64_t leader; /* of the term; 0: not known, or silent */
    /* Who was heard of as the term's leader, and stays it though silent; 0: nobody yet. */
    uint64_t term_leader;
    bool held;
    uint64_t election_deadline_ns; /* not a leader's */

    /* When the leader was heard of last, or this member started: until an election timeout later it
     * helps nobody else to be elected (4.2.3, 6.4.1). */
    uint64_t contact_ns;

    /* A follower. Up to `matched_index`, which rises within a term, its log is that of the term's
     * leader. An answer is owed: it goes when what it says is durable. */
    uint64_t matched_index;
    uint64_t answered_index;
    uint64_t answer_round;
    bool answer_owed;

    /* A candidate, of either kind. */
    bool transfer_vote;
    unsigned votes_count;
    struct raft_vote votes[2 * raft_voters_max];

    /* A leader. */
    uint64_t noop_index;
    uint64_t heartbeat_deadline_ns;
    uint64_t round;          /* of the newest heartbeats: their time, made to rise */
    uint64_t round_ahead_ns; /* how far that went beyond the time, at most, in this term */
    bool round_open;         /* none of its messages was taken yet */
    uint64_t confirm_wanted; /* the highest round that a read waits for; 0: none in this term */
    uint64_t confirm_told;
    bool lease_dropped; /* for the rest of the term */
    uint64_t transfer_to;
    uint64_t transfer_deadline_ns;
    unsigned members_count;
    struct raft_member members[raft_members_max];

    /* Since when the oldest of the own writes is under way; meaningful while the log is not all
     * durable. */
    uint64_t write_since_ns;

    /* Of a leader: what its last writes took, of which each was slow while the others were not. */
    uint64_t write_slow_ns;

    unsigned own_count;
    struct raft_own_entry own[raft_own_entries_max];

    unsigned outbox_count;
    struct raft_message outbox[raft_outbox_max];

    struct raft_inflight *inflight_memory; /* of all members' rings */
};

/* ---- raft.c ---- */

/* Time does not go back, even where two callers read their clocks out of order. */
static inline void raft_see_time(struct raft *raft, uint64_t now_ns)
{
    if (now_ns > raft->now_ns)
        raft->now_ns = now_ns;
}

/* A term begins: with a vote or without, and with nothing heard of its leader. */
void raft_begin_term(struct raft *raft, struct raft_hard_state state);

/* Raises the commit index and does what follows from it. */
void raft_commit(struct raft *raft, uint64_t index);

/* Appends an entry of the leader's own, for raft_take_own_entry(). Room was reserved. */
void raft_append_own(struct raft *raft, const struct raft_configuration *configuration);

/* Forgets own entries that the log does not hold any more before they were taken. */
void raft_drop_own(struct raft *raft);

/* ---- outbox.c: messages that wait ---- */

/* Takes the place of one of the same type to the same member. `from` and `term` are filled in,
 * unless `term` is set. */
void raft_outbox_put(struct raft *raft, const struct raft_message *message);
bool raft_outbox_take(struct raft *raft, struct raft_message *message);
void raft_outbox_clear(struct raft *raft);
bool raft_hard_state_is_durable(const struct raft *raft);

/* ---- election.c: roles, votes, and the time to stand ---- */

void raft_become_follower(struct raft *raft, uint64_t term, uint64_t leader);

/* A leader or candidate gives up its role; its term stays. */
void raft_step_down(struct raft *raft);
void raft_election_restart_timer(struct raft *raft);
void raft_election_start(struct raft *raft);
uint64_t raft_election_deadline_ns(const struct raft *raft);
void raft_election_tick(struct raft *raft);

/* Stands at once, because the leader asked for it (3.10). */
void raft_election_transfer(struct raft *raft);
bool raft_election_may_stand(const struct raft *raft);

/* The own vote has become durable. */
void raft_election_voted(struct raft *raft);
void raft_election_ask(struct raft *raft, const struct raft_message *message);
void raft_election_answer(struct raft *raft, const struct raft_message *message);

/* Within an election timeout of a leader's word, or of the start. */
bool raft_election_in_lease(const struct raft *raft);

/* ---- append.c: a follower's side ---- */

MUST_CHECK enum status raft_append_receive(struct raft *raft, const struct raft_message *message,
                                           unsigned *accepted_from);
void raft_heartbeat_receive(struct raft *raft, const struct raft_message *message);

/* What is owed to the leader and may be said goes to the outbox. */
void raft_append_answer(struct raft *raft);

/* ---- progress.c: the leader's view of the others ---- */

/* The members are those of the configuration, from now on; what is known of those that stay is
 * kept. */
void raft_progress_reset(struct raft *raft);
void raft_progress_follow_configuration(struct raft *raft);
struct raft_member *raft_progress_find(struct raft *raft, uint64_t member);
void raft_progress_appended(struct raft *raft, const struct raft_message *message);
void raft_progress_heard(struct raft *raft, const struct raft_message *message);
void raft_progress_heartbeat(struct raft *raft);

/* Commits what a quorum holds (3.6.2, 5.4.2 of the paper). */
void raft_progress_commit(struct raft *raft);

/* ---- read.c: rounds, the lease, and whether a quorum still answers ---- */

void raft_read_begin_round(struct raft *raft);
uint64_t raft_read_quorum_contact_ns(const struct raft *raft);

/* ---- membership.c: configurations ---- */

bool raft_configuration_is_valid(const struct raft_configuration *configuration);
bool raft_configuration_is_joint(const struct raft_configuration *configuration);
bool raft_configuration_is_alone(const struct raft_configuration *configuration, uint64_t member);
const struct raft_configuration *raft_newest_configuration(const struct raft *raft);

/* All its members, each once; at most raft_members_max. */
unsigned raft_configuration_members(const struct raft_configuration *configuration,
                                    uint64_t members[raft_members_max]);

/* The highest value that a majority of the voters, of both halves where it is joint, has reached.
 * 0 without voters. */
typedef uint64_t raft_value(const struct raft *raft, uint64_t member);
uint64_t raft_quorum_value(const struct raft *raft, raft_value *value);

/* Leaves a joint configuration once it is committed, and the leader that is not in the new one. */
void raft_membership_committed(struct raft *raft);

/* ---- transfer.c ---- */

void raft_transfer_tick(struct raft *raft);

/* Where the one who takes over has all of the log, it is told to. */
void raft_transfer_proceed(struct raft *raft);

/* A leader that goes without having been asked to names the one to follow it. */
void raft_transfer_give_up(struct raft *raft);

#endif
