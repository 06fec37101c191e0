/* SPDX-License-Identifier: Apache-2.0 */
/* The region's one ordered log: entries are proposed, become durable on a quorum, are committed,
 * and are taken in order by apply.
 *
 * A region of one is its own quorum: an entry is committed once the write-ahead log has it on
 * stable storage. It leads from its start: each start begins a new term, durable before its first
 * entry, and that term's first entry is a no-op.
 *
 * Belongs to one thread: that of its io. Memory is bounded: entries that are not yet applied take
 * at most `inflight_size_max`, past which proposing answers BUSY. */
#ifndef REPLICATION_REPLICATED_LOG_H
#define REPLICATION_REPLICATED_LOG_H

#include "proto/entry.h"
#include "replication/log_clock.h"
#include "storage/wal/wal.h"

struct replicated_log;

/* What is asked of the log. `identity` and `body` are copied. */
struct log_proposal {
    enum entry_kind kind;
    struct bytes identity;
    struct bytes body;
    void *context; /* comes back with the committed entry */
};

/* A committed entry. `entry` refers to memory of the log until replicated_log_applied(). */
struct log_committed {
    uint64_t index;
    uint64_t term;
    struct entry entry;
    void *context; /* of the proposal; NULL for the log's own no-op */
};

/* Gets each entry that was in the log already, at open, in order; it is applied before this
 * returns. Another status than OK ends the opening with it. */
typedef enum status log_replay_fn(void *context, uint64_t index, uint64_t term,
                                  const struct entry *entry);

struct replicated_log_options {
    struct io *io;
    struct keyring *keyring;
    const char *directory;
    uint64_t segment_size;    /* of the write-ahead log; 0: its default */
    uint64_t space_kept_size; /* wal_options has it */
    size_t inflight_size_max; /* 0: 64 MiB */

    struct wal_mark base;  /* up to where the state is durable */
    uint64_t log_time_ns;  /* of the state at `base` */
    uint64_t epoch_number; /* what entries are stamped with */
    uint32_t epoch_region;

    log_replay_fn *replay;
    /* There are entries to take. Called from a turn of the io. */
    void (*committed)(void *context);
    /* The log cannot be written any more: the process ends. */
    void (*failed)(void *context, enum status status, const char *text);
    void *context;
};

/* Recovers, replays, begins a new term, and proposes its no-op. Blocking. Errors are wal_open()'s.
 */
MUST_CHECK enum status replicated_log_open(const struct replicated_log_options *options,
                                           struct replicated_log **log, struct wal_report *report,
                                           struct error *error);

/* Waits until what was proposed is durable, and closes. Proposals that were not taken are dropped.
 * Blocking. */
MUST_CHECK enum status replicated_log_close(struct replicated_log *log);

/* Stamps and queues one entry. BUSY, DISK_FULL: nothing was taken. It is written with
 * replicated_log_flush(), once a turn. */
MUST_CHECK enum status replicated_log_propose(struct replicated_log *log,
                                              const struct log_proposal *proposal);
void replicated_log_flush(struct replicated_log *log);

/* The next committed entry that was not taken yet; false where there is none. */
bool replicated_log_take(struct replicated_log *log, struct log_committed *committed);

/* The entry that was taken last is applied, and its memory is given back. */
void replicated_log_applied(struct replicated_log *log, uint64_t index);

/* The state is durable up to `index`: the write-ahead log may recycle what lies below. */
void replicated_log_release(struct replicated_log *log, uint64_t index);

/* The log's clock now: what the next entry would be stamped with, at least. */
uint64_t replicated_log_time_ns(struct replicated_log *log);

/* Whether the wall clock has jumped away from the log's clock, and by how much (signed). */
bool replicated_log_clock_jumped(const struct replicated_log *log, int64_t *offset_ns);

/* Entries proposed and not applied. */
uint64_t replicated_log_inflight_count(const struct replicated_log *log);
uint64_t replicated_log_term(const struct replicated_log *log);
uint64_t replicated_log_durable_index(const struct replicated_log *log);
struct wal_statistics replicated_log_statistics(const struct replicated_log *log);

#endif
