/* SPDX-License-Identifier: Apache-2.0 */
/* The region's one ordered log: entries are proposed, become durable on a quorum, are committed,
 * and are taken in order by apply.
 *
 * Drives Raft (replication/raft/) over the write-ahead log and the bus. An entry is encoded once,
 * by the leader that proposes it; its bytes then go to the write-ahead log, to the peers and to
 * apply as they are. A region of one is its own quorum: it elects itself while it is opened, and an
 * entry is committed as soon as its own disk has it.
 *
 * Conventions
 * 1. Belongs to one thread: that of its io.
 * 2. Callbacks come from turns of the io, or from within replicated_log_turn() and
 *    replicated_log_close(); never from within another call. They may ask anything, and change
 *    nothing: what is to be done follows after they have returned.
 * 3. What is proposed, changed or held takes its course with the next replicated_log_turn(), which
 *    the owner calls after each turn of the io.
 * 4. Memory is bounded: entries kept for peers and for apply take about `cache_size_max` at most;
 *    those proposed here and neither applied nor dropped `inflight_size_max`, past which proposing
 *    answers BUSY. Committed entries that are not in memory are read from the write-ahead log.
 * 5. A proposal ends in one of two ways, exactly once: it is taken and applied, or it is dropped.
 */
#ifndef REPLICATION_REPLICATED_LOG_H
#define REPLICATION_REPLICATED_LOG_H

#include "proto/entry.h"
#include "proto/membership.h"
#include "replication/bus.h"
#include "replication/raft/raft.h"
#include "storage/wal/wal.h"

struct replicated_log;

/* What is asked of the log. `identity` and `body` are copied. */
struct log_proposal {
    enum entry_kind kind;
    struct bytes identity;
    struct bytes body;
    void *context; /* comes back with the committed entry, or with `dropped`; may be NULL */
};

/* A committed entry. `entry` refers to memory of the log until replicated_log_applied(). */
struct log_committed {
    uint64_t index;
    uint64_t term;
    struct entry entry;
    void *context; /* of a proposal made here in this term; else NULL */
};

enum log_role {
    LOG_MENDING, /* entries of its own log are corrupt: it asks others for them, and neither votes
                    nor acknowledges until it has them */
    LOG_FOLLOWER,
    LOG_CANDIDATE,
    LOG_LEADER,
};

struct replicated_log_options {
    struct io *io;
    struct keyring *keyring;
    const char *directory;    /* of the write-ahead log; exists */
    uint64_t segment_size;    /* of the write-ahead log; 0: its default */
    uint64_t space_kept_size; /* wal_options has it */
    size_t inflight_size_max; /* bytes; 0: 64 MiB */
    size_t cache_size_max;    /* bytes; 0: 64 MiB */
    /* Bytes of entries that are kept for a member that is slow or away; farther behind, it needs a
     * snapshot. 0: 256 MiB. */
    uint64_t retained_size_max;

    struct wal_mark base;    /* up to where the state is durable */
    uint64_t log_time_ns;    /* of the state at `base` */
    struct bytes membership; /* as of `base` (proto/membership.h); empty: a new store */

    /* Of a new store. `bootstrap`: it is a region of one, and leads; else it waits to be added. */
    bool bootstrap;
    struct member self; /* its name and addresses; the id is made with the store, and kept */
    struct bus *bus;    /* NULL: a region of one for good */
    uint64_t seed;      /* of election timeouts, and of a new member's id: drawn at random */
    uint64_t election_timeout_ms; /* 0: 300 */
    bool lease_off;               /* raft_options has it */

    /* Each may be NULL but `failed`. */
    void (*committed)(void *context); /* there may be entries to take */
    /* Leadership was lost before it was committed: it may be committed yet, by another leader. */
    void (*dropped)(void *context, void *proposal);
    void (*changed)(void *context);                   /* the role, term, leader or membership */
    void (*confirmed)(void *context, uint64_t round); /* reads up to this round may be answered */
    void (*unconfirmed)(void *context); /* none of the reads that wait will be: NOT_LEADER */
    /* A member needs what this leader's log does not hold any more. */
    void (*snapshot_needed)(void *context, uint64_t member);
    /* A message that is not the log's own, from a member; `message` is valid during the call. */
    void (*received)(void *context, uint64_t from, uint8_t kind, struct bytes message);
    /* The log cannot be written any more: the process ends. */
    void (*failed)(void *context, enum status status, const char *text);
    void *context;
};

/* Recovers, and where this is a region of one, elects itself: what it had logged beyond `base` is
 * committed then, and can be taken. Blocking. Errors are wal_open()'s; MALFORMED or UNSUPPORTED for
 * `membership`. */
MUST_CHECK enum status replicated_log_open(const struct replicated_log_options *options,
                                           struct replicated_log **log, struct wal_report *report,
                                           struct error *error);

/* Waits until what was proposed is durable, drops the proposals that were not applied, and closes.
 * Blocking. */
MUST_CHECK enum status replicated_log_close(struct replicated_log *log);

/* ---- Proposing ----
 *
 * Of a shared kind each entry says where it stands in the stream that all regions share: its epoch
 * and its version (proto/entry.h). Where this leader is to go on, only the owner knows, once it has
 * applied this term's first entry and so all before it, and nothing of a shared kind is under way:
 * then it sets the position, and each such proposal takes the next version. The position ends with
 * the leadership. */

struct log_position {
    uint64_t epoch_number;
    uint32_t epoch_region;
    uint64_t version; /* newest; the next proposal takes the one after it */
};

/* This server leads. */
void replicated_log_position_set(struct replicated_log *log, const struct log_position *position);

/* This region is the primary no longer: what was proposed takes its course. */
void replicated_log_position_clear(struct replicated_log *log);
bool replicated_log_has_position(const struct replicated_log *log);

/* Stamps and takes one entry. NOT_LEADER, BUSY (also where a position is needed, and none is set),
 * DISK_FULL, NO_MEMORY: nothing was taken. */
MUST_CHECK enum status replicated_log_propose(struct replicated_log *log,
                                              const struct log_proposal *proposal);

/* The same for an entry of another region's log, of a shared kind, which is taken as it is. `bytes`
 * are copied. Also MALFORMED and UNSUPPORTED, as entry_decode() says, or for another kind; BUSY
 * while this log has a position of its own. */
MUST_CHECK enum status replicated_log_propose_entry(struct replicated_log *log, struct bytes bytes,
                                                    void *context);

/* After each turn of the io, and again where proposals were made after it: sends entries to peers,
 * starts the flush, sends messages, tells what has changed. */
void replicated_log_turn(struct replicated_log *log);

/* The next committed entry that was not taken yet; false where there is none, or while it is being
 * read: `committed` tells of it. */
bool replicated_log_take(struct replicated_log *log, struct log_committed *committed);

/* The oldest entry that was taken and not applied is applied: its memory is given back. */
void replicated_log_applied(struct replicated_log *log, uint64_t index);

/* The state went back to `index`: what follows is taken anew, in its order, also what was taken and
 * not applied. NOT_FOUND: the log does not reach back so far; nothing has changed. */
MUST_CHECK enum status replicated_log_replay(struct replicated_log *log, uint64_t index);

/* The state is durable up to `index`, which is applied: the log may forget what lies below, once no
 * other member is to get it from here. */
void replicated_log_release(struct replicated_log *log, uint64_t index);

/* The log keeps what lies above `index`, whatever was released, until the pin moves; UINT64_MAX, as
 * at first: it keeps nothing for that. What is gone already does not come back. */
void replicated_log_pin(struct replicated_log *log, uint64_t index);

/* ---- Other readers ----
 *
 * Each reads what is applied here, at its own pace, and keeps nothing from being released. */

struct replicated_log_reader;

/* `done` is called, from a turn of the io, when what was being read can be asked for again. The
 * reader is closed before the log is. NO_MEMORY. */
MUST_CHECK enum status replicated_log_reader_open(struct replicated_log *log,
                                                  void (*done)(void *context), void *context,
                                                  struct replicated_log_reader **reader);
void replicated_log_reader_close(struct replicated_log_reader *reader); /* NULL is permitted */

/* The bytes of the entry at `index`, valid until the next call for this reader or of anything that
 * changes the log. AGAIN: they are being read, and at most `ahead_size` bytes of what follows with
 * them. END: it is not applied yet. NOT_FOUND: the log does not hold it any more. CORRUPT or
 * IO_ERROR: it lies below what this member needs for itself, and cannot be read; an entry above
 * that ends the process, as for apply. */
MUST_CHECK enum status replicated_log_reader_find(struct replicated_log_reader *reader,
                                                  uint64_t index, size_t ahead_size,
                                                  struct bytes *bytes);

/* Gives back the memory of what was read. */
void replicated_log_reader_drop(struct replicated_log_reader *reader);

/* The oldest entry that the log still holds. */
uint64_t replicated_log_first_index(const struct replicated_log *log);

/* ---- Linearizable reads ----
 *
 * Once replicated_log_may_read(), a read runs on the applied state; then, last of all, it asks
 * replicated_log_lease_holds(). Where that says no, replicated_log_confirm() gives a round, and the
 * read is answered when confirmed() tells of that round or a later one, or refused with
 * unconfirmed(). A region of one always holds its lease. */
bool replicated_log_may_read(const struct replicated_log *log);
bool replicated_log_lease_holds(const struct replicated_log *log);
MUST_CHECK enum status replicated_log_confirm(struct replicated_log *log, uint64_t *round);

/* ---- Members ---- */

/* Proposes `target` as the region's membership: its kinds are VOTER or LEARNER, and Raft goes
 * through a joint one where voters change. NOT_LEADER; BUSY while a change is under way or the
 * term has just begun; UNSUPPORTED in a region that is of one for good; INVALID_ARGUMENT. */
MUST_CHECK enum status replicated_log_change(struct replicated_log *log,
                                             const struct membership *target);

/* Hands leadership to a voter. NOT_LEADER, INVALID_ARGUMENT. */
MUST_CHECK enum status replicated_log_transfer(struct replicated_log *log, uint64_t to);

/* The newest in the log, committed or not. Valid until the next call or turn. */
const struct membership *replicated_log_membership(const struct replicated_log *log);

/* This store's id. */
uint64_t replicated_log_self(const struct replicated_log *log);
enum log_role replicated_log_role(const struct replicated_log *log);

/* NULL: not known. Valid as the membership is. */
const struct member *replicated_log_leader(const struct replicated_log *log);

/* Its id, also where the membership here does not know it yet, as a new member's does not; 0: none
 * is known. */
uint64_t replicated_log_leader_id(const struct replicated_log *log);

struct log_member_facts {
    uint64_t id;
    uint64_t match_index; /* known to be durable there */
    uint64_t lag_entries; /* of this leader's log, not known to be durable there */
    uint64_t answered_ago_ms;
    bool answered;  /* ever, in this term */
    bool connected; /* now */
    bool snapshot;  /* it needs one */
};

/* As this leader sees a member other than itself; false where it does not lead or knows of none. */
bool replicated_log_member_facts(const struct replicated_log *log, uint64_t id,
                                 struct log_member_facts *facts);

/* ---- Snapshots and other messages of the owner's ---- */

/* Notes durably that a snapshot up to `mark` is about to take the state's place: `done` is called
 * before that may happen, from a turn of the io. One at a time. */
void replicated_log_snapshot_prepare(struct replicated_log *log, struct wal_mark mark,
                                     void (*done)(void *context, enum status status));

/* A snapshot took the state's place: the log begins after `mark`, and keeps what follows it with
 * the same term. `membership` is as of `mark`. `done` is called when that is durable, from a turn
 * of the io; INVALID_ARGUMENT for a mark that was taken here already: nothing has changed. One
 * at a time, after replicated_log_snapshot_prepare(), and under replicated_log_hold(). */
void replicated_log_snapshot_installed(struct replicated_log *log, struct wal_mark mark,
                                       struct bytes membership, uint64_t log_time_ns,
                                       void (*done)(void *context, enum status status));

/* The member that snapshot_needed() named has one up to `mark`, or could not be given one. */
void replicated_log_snapshot_sent(struct replicated_log *log, uint64_t member, struct wal_mark mark,
                                  bool ok);

/* What was proposed here is told to have been dropped, with the next turn: the owner will not apply
 * it, committed or not, before a snapshot takes the state's place. */
void replicated_log_disown(struct replicated_log *log);

/* While held, this member neither votes nor stands for election: a snapshot is being installed. */
void replicated_log_hold(struct replicated_log *log, bool held);

/* A message of the owner's to another member (proto/peer.h has the kinds). False: not connected, or
 * no room: nothing was sent. */
MUST_CHECK bool replicated_log_send(struct replicated_log *log, uint64_t to, uint8_t kind,
                                    enum bus_lane lane, struct bytes message);

/* ---- How it stands ---- */

uint64_t replicated_log_term(const struct replicated_log *log);
uint64_t replicated_log_commit_index(const struct replicated_log *log);
uint64_t replicated_log_durable_index(const struct replicated_log *log); /* on this disk */

/* What it holds, for those who compare members: a simulation. Valid until the next call or turn. */
struct log_facts {
    bool is_whole; /* else it mends, and nothing else is said here */
    struct raft_mark base;
    struct raft_mark last;
    uint64_t held_index;               /* durable on this disk, in the log or in the state */
    struct raft_hard_state hard_state; /* as last made durable */
    const struct raft_configuration *configuration; /* the newest in the log */
};
struct log_facts replicated_log_facts(const struct replicated_log *log);

/* False where the log does not reach: at or below its base it is said of the base alone. */
bool replicated_log_term_at(const struct replicated_log *log, uint64_t index, uint64_t *term);

/* Proposals made here that are neither applied nor dropped. */
uint64_t replicated_log_inflight_count(const struct replicated_log *log);

/* The log's clock now: what the next entry would be stamped with, at least. */
uint64_t replicated_log_time_ns(struct replicated_log *log);

/* Whether the wall clock has jumped away from the log's clock, and by how much (signed). */
bool replicated_log_clock_jumped(const struct replicated_log *log, int64_t *offset_ns);

struct wal_statistics replicated_log_statistics(const struct replicated_log *log);
const struct histogram *replicated_log_flushes_ns(const struct replicated_log *log);
struct raft_statistics replicated_log_raft_statistics(const struct replicated_log *log);

#endif
