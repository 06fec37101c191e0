/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the log share.
 *
 * An entry's way: propose (replicated_log.c) or log_receive.c puts it into Raft's log, the cache
 * and the write-ahead log; log_send.c sends it to peers; log_raft.c hears of its durability and
 * tells that it is committed; replicated_log_take() hands it out.
 *
 * What always holds
 * - Raft's log is the truth. The cache ends where it ends, or is empty. The write-ahead log holds
 *   the same up to `written_index`, and may lag behind it: full, or without space.
 * - applied_index <= taken_index <= Raft's commit index.
 * - After each call that changes Raft log_raft_follow() is called, before the next one.
 * - Callbacks are made by log_raft_tell() and for truncated proposals, from turns only. */
#ifndef REPLICATION_REPLICATED_LOG_INTERNAL_H
#define REPLICATION_REPLICATED_LOG_INTERNAL_H

#include "proto/base/assert.h"
#include "proto/peer.h"
#include "replication/entry_cache.h"
#include "replication/log_clock.h"
#include "replication/memberships.h"
#include "replication/mend.h"
#include "replication/replicated_log.h"

enum {
    log_taken_max = 64,      /* taken and not applied, a power of two */
    log_memberships_max = 8, /* changes of the membership in one append that are taken up */
    log_peers_max = 2 * limit_members_count,  /* those that leave while they are read for, too */
    log_guests_max = limit_members_count / 2, /* of them: strangers that ask while they mend */
    log_extents_max = 512,
    log_settled_size = 256 * 1024, /* of entries that nobody waits for: for a next leader, or
                                     another region */
    log_read_size = 1024 * 1024,
    log_pieces_max = 1 + 2 * peer_entries_max,
};

#define LOG_NS_PER_MS 1000000ULL

/* A proposal made here, from its entry until it is applied or dropped. */
struct log_proposed {
    uint64_t index;
    size_t size;
    void *context;
};

struct log_proposals {
    struct log_proposed *items; /* a ring, ascending */
    size_t capacity;            /* a power of two */
    size_t first;
    size_t count;
    size_t size;   /* bytes of all */
    uint64_t term; /* in which they were made */
};

/* Entries of the past, read from the write-ahead log for one who needs them. */
struct log_reader {
    struct replicated_log *log;
    struct wal_read read;
    bool reading; /* `read` belongs to the write-ahead log */
    bool ready;   /* its results can be looked at */
};

/* Another member. */
struct log_peer {
    uint64_t id;   /* 0: this place is free */
    bool leaving;  /* not a member any more: free once nothing is read for it */
    bool is_guest; /* no member that is known here: asks while it mends, and leaves once answered */
    struct log_reader reader;
    /* What it asked for while mending. */
    struct log_reader mend_reader;
    struct peer_place mend_places[peer_places_max];
    unsigned mend_first;
    unsigned mend_count;
};

/* How many bytes of entries the log had taken up to an index, since its start. */
struct log_extent {
    uint64_t index;
    uint64_t size;
};

/* What the write-ahead log held at the start, until Raft knows of it. */
struct log_recovered_entry {
    uint64_t term;
    bool hole;
};

struct log_recovered {
    struct wal_mark base;
    struct log_recovered_entry *entries; /* from base.index + 1 on */
    size_t count;
    size_t capacity;
    uint64_t suspect_index; /* of the first that may never have been durable; 0: none */
    enum status status;     /* of the replay */
};

struct replicated_log {
    struct replicated_log_options options;
    struct wal *wal;
    struct raft *raft; /* NULL until the log is whole */
    struct mend *mend; /* NULL once it is */
    struct log_recovered recovered;
    struct log_clock clock;
    struct entry_cache cache;
    struct memberships memberships;
    uint64_t self;
    bool held;    /* by the owner */
    bool opening; /* nothing is told yet */
    bool closing;
    bool failed;

    /* Durability. */
    uint64_t written_index;
    enum status write_status; /* why the rest is not: BUSY, DISK_FULL */
    bool hard_state_writing;
    struct wal_hard_state hard_state; /* being written, or written last */
    uint64_t term_least;              /* wanted by mending; 0: none */

    /* Apply. */
    uint64_t taken_index;
    uint64_t applied_index;
    struct cached_entry *taken[log_taken_max]; /* by index; NULL: it is the reader's */
    struct log_reader apply_reader;
    uint64_t position_term; /* in which the position was set; 0: it is not */
    struct log_position position;
    struct log_proposals proposals;

    /* Release. */
    uint64_t state_index; /* the state is durable up to here */
    uint64_t released_index;
    uint64_t pin_index;   /* nothing above it is released: the owner's; UINT64_MAX: none */
    uint64_t peers_index; /* no member that is heard of needs entries at or below it */
    uint64_t release_look_ns;
    uint64_t appended_size;
    struct log_extent extents[log_extents_max];
    unsigned extents_first;
    unsigned extents_count;

    /* Reads. */
    uint64_t confirm_wanted; /* 0: none */
    uint64_t confirm_term;

    struct list_link readers; /* of the owner's */

    /* Snapshots. */
    struct wal_mark snapshot_mark; /* to be made durable in the hard state */
    void (*snapshot_prepared)(void *context, enum status status);
    void (*snapshot_done)(void *context, enum status status);
    enum status snapshot_status;
    bool snapshot_done_due; /* with the next turn */
    bool proposals_passed;  /* by a snapshot: they are told to have been dropped */

    /* What was told last. */
    enum log_role told_role;
    uint64_t told_term;
    uint64_t told_leader;
    uint64_t told_limit;         /* of what may be taken */
    uint64_t membership_version; /* counts changes */
    uint64_t told_version;

    struct membership change; /* being asked for: names and addresses of new members */
    struct io_timer timer;
    uint64_t timer_ns; /* UINT64_MAX: it is not started */
    struct log_peer peers[log_peers_max];
    unsigned peers_used; /* those from there on were never taken */
    unsigned connected_count;
    uint64_t connected[log_peers_max]; /* ids; of strangers too, who may be members soon */
    uint64_t hostile_count;            /* messages that could not be */
    bool newer_told;

    /* Working memory of one call. */
    struct raft_entry incoming[peer_entries_max];
    struct cached_entry *accepted[peer_entries_max];
    struct membership memberships_in[log_memberships_max];
    struct raft_configuration configurations_in[log_memberships_max];
    struct bytes pieces[log_pieces_max];
    uint8_t entry_headers[peer_entries_max][peer_entry_header_size];
};

static inline uint64_t log_now_ns(const struct replicated_log *log)
{
    return io_boot_ns(log->options.io);
}

/* ---- replicated_log.c ---- */

/* Ends the process by way of options.failed; the first reason counts. */
void log_fail(struct replicated_log *log, enum status status, const char *text);

/* Entries up to here may be applied. */
uint64_t log_take_limit(const struct replicated_log *log);

/* Encodes and stamps an entry of this leader's. NULL: no memory. */
struct cached_entry *log_entry_create(struct replicated_log *log, enum entry_kind kind,
                                      struct bytes identity, struct bytes body,
                                      struct raft_mark mark, uint64_t now_ns);

/* Proposals at and above `index` are told to have been dropped. */
void log_proposals_drop(struct replicated_log *log, uint64_t index);

/* The log now has `size` more bytes, up to `index`. */
void log_extent_add(struct replicated_log *log, uint64_t index, size_t size);

/* Lets go of what was kept for the state, for members and for apply, where they need it no more. */
void log_cache_trim(struct replicated_log *log);
void log_release(struct replicated_log *log);

/* Starts reading from `first` on, `last` at most; nothing is being read. */
void log_reader_start(struct log_reader *reader, uint64_t first, uint64_t last);
/* What it has read of `index`; NULL where it has not. */
const struct wal_entry *log_reader_find(const struct log_reader *reader, uint64_t index);
void log_reader_drop(struct log_reader *reader);

/* ---- log_read.c ---- */

/* Something is being read for readers of the owner's. */
bool log_readers_are_reading(const struct replicated_log *log);

/* ---- log_open.c ---- */

/* Raft begins with what was recovered, which is whole. */
MUST_CHECK enum status log_raft_begin(struct replicated_log *log, struct error *error);

/* A membership that stands in the recovered log: CORRUPT, NEWER_FORMAT, NO_MEMORY. */
MUST_CHECK enum status log_recovered_membership(struct replicated_log *log, uint64_t index,
                                                struct bytes body);

/* The recovered log ends before `index`. */
void log_recovered_cut(struct replicated_log *log, uint64_t index);

/* The recovered log begins after `mark`; what follows it is kept where the log holds it. */
void log_recovered_install(struct replicated_log *log, struct wal_mark mark);

/* Nobody else decides. */
bool log_is_alone(const struct replicated_log *log);

/* ---- log_raft.c: what follows from what Raft was told ---- */

void log_raft_follow(struct replicated_log *log);
void log_raft_tell(struct replicated_log *log);

/* Gives the write-ahead log what it does not have yet. */
void log_raft_write(struct replicated_log *log);

/* Entries at and above `index` are superseded. */
void log_raft_cut(struct replicated_log *log, uint64_t index);
void log_raft_hard_state(struct replicated_log *log);
void log_raft_timer(struct replicated_log *log);

/* For wal_options and the timer. */
void log_raft_on_durable(void *context, struct wal_mark mark);
void log_raft_on_timer(struct io_timer *timer);

/* ---- log_send.c ---- */

void log_send_appends(struct replicated_log *log);
void log_send_messages(struct replicated_log *log);
bool log_send_message(struct replicated_log *log, const struct peer_message *message,
                      enum bus_lane lane, struct bytes rest);

/* Entries go to the members of the newest membership, committed or not. */
void log_send_follow_membership(struct replicated_log *log);

/* The bus connects to those, and to whoever an entry removes that is not committed yet. */
void log_send_tell_bus(struct replicated_log *log);

/* Places of members that left are free again once nothing is read for them. */
void log_send_reap(struct replicated_log *log);
struct log_peer *log_send_peer(struct replicated_log *log, uint64_t id); /* NULL: none */

/* A place for one that is no member as far as this log knows, to answer what it asks while it
 * mends. NULL: it is not connected, or there are too many. Left once it is answered or gone; free
 * with log_send_reap(). */
struct log_peer *log_send_guest(struct replicated_log *log, uint64_t id);
void log_send_guest_leaves(struct log_peer *peer);

/* ---- log_receive.c ---- */

void log_receive_message(void *context, uint64_t from, struct bytes bytes);
void log_receive_event(void *context, uint64_t member, enum bus_event event);

#endif
