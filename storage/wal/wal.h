/* SPDX-License-Identifier: Apache-2.0 */
/* The write-ahead log: entries with an index and a term, durable, sealed, in order.
 *
 * It is the Raft log's storage. It knows nothing of Raft but the three records that Raft needs:
 * APPEND(i) supersedes everything at or above i; FILL(i, term) mends only i; TRUNCATE(i) drops
 * everything at or above i. In a region of one only APPEND occurs.
 *
 * Segments are preallocated files, written once with zeros and recycled, O_DIRECT. A batch is a
 * plain header and a sealed body, together padded to 4 KiB; each batch's header carries its
 * predecessor's identifier. One write and flush is under way at a time, and takes all that queued
 * while the last one flew. After an idle moment an empty batch follows (within 10 ms of the last
 * durable one), so that the last acknowledged batch has a successor which tells a torn tail from
 * decay. Recovery opens a new segment and never appends to an old one.
 *
 * Belongs to one thread: that of its io. A failed write or flush is final: `failed` is called once,
 * nothing is acknowledged any more, and the owner ends the process. */
#ifndef STORAGE_WAL_WAL_H
#define STORAGE_WAL_WAL_H

#include "proto/base/error.h"
#include "storage/io/io.h"
#include "storage/seal/registry.h"

struct wal;

/* One entry. `bytes` is opaque here. Index 0 stands for "before the first". */
struct wal_entry {
    uint64_t index;
    uint64_t term;
    struct bytes bytes;
};

/* A place in the log: the pair that tells whether two logs agree there. */
struct wal_mark {
    uint64_t index;
    uint64_t term;
};

/* What must never be forgotten or go back: two copies, sealed (a twin file). */
struct wal_hard_state {
    uint64_t term;
    uint64_t vote;         /* member id voted for in `term`; 0: none */
    uint64_t epoch_number; /* newest epoch known */
    uint32_t epoch_region;
};

struct wal_options {
    struct io *io;
    struct keyring *keyring;
    const char *directory;   /* exists; holds nothing but this log */
    uint64_t segment_size;   /* bytes, a multiple of 4 KiB, from 64 KiB to 2 GiB; 0: 64 MiB */
    size_t queue_size_max;   /* bytes queued or under way before BUSY, at least 64 KiB; 0: 32 MiB */
    unsigned spare_segments; /* kept ready, 1 to 7, and up to twice as many recycled ones; 0: 2 */
    uint64_t space_kept_size; /* bytes that a new spare leaves free on the disk, unless the log
                               * cannot go on without it */
    /* A region of one: a bad last batch is torn, for no peer can tell. Otherwise it is CORRUPT, for
     * it may have been acknowledged. */
    bool alone;

    /* All entries up to `index` are on stable storage. Called from a turn of the io. Goes up only,
     * but for what is superseded or truncated: from there it goes up again. */
    void (*durable)(void *context, uint64_t index);
    /* A write or flush failed: say so and end the process. */
    void (*failed)(void *context, enum status status, const char *text);
    void *context;
};

/* What recovery found. */
struct wal_report {
    uint64_t entries_count; /* replayed */
    uint64_t segments_count;
    bool torn;           /* the last batch was cut short, and was dropped */
    uint64_t torn_index; /* the first index that it might have held */
    struct wal_mark last;
    struct twin_report_summary {
        bool repaired;
        char path[512];
    } hard_state;
};

/* Gets each recovered entry in order. The bytes are valid during the call. Another status than OK
 * ends recovery with it. */
typedef enum status wal_replay_fn(void *context, const struct wal_entry *entry);

/* Opens the log, making it where `directory` is empty, and replays the entries above `base`: the
 * mark up to which the state is durable elsewhere. Entries at or below base.index are passed over;
 * those above are replayed only where the log holds an entry (base.index, base.term), or begins
 * there; else the log does not fit the state: CORRUPT. Blocking.
 *
 * CORRUPT names the segment and offset: a bad batch that has a successor. NEWER_FORMAT likewise.
 * Nothing is written before all segments were read. */
MUST_CHECK enum status wal_open(const struct wal_options *options, struct wal_mark base,
                                wal_replay_fn *replay, void *context, struct wal **wal,
                                struct wal_report *report, struct error *error);

/* Flushes what was appended, waits, frees. Blocking. */
MUST_CHECK enum status wal_close(struct wal *wal);

/* Queues entries, whose bytes are copied, consecutive from one past the last index (or from an
 * earlier one, which supersedes: then all have terms of their leader). The write starts with
 * wal_flush(). On any other status than OK none is taken: BUSY where the queue is full; DISK_FULL
 * where the segment has no room for it and there is no space for another, until there is (released
 * segments count); TOO_LARGE where an entry fits no segment or queue of these sizes (with the
 * usual ones: 32 MiB); the first failure's, after one. */
MUST_CHECK enum status wal_append(struct wal *wal, const struct wal_entry *entries, size_t count);

/* Starts the write of what is queued, unless one is under way (then it follows by itself). Once a
 * turn, after all that is ready was appended. */
void wal_flush(struct wal *wal);

/* Drops everything at or above `index`, durably with the next batch. */
MUST_CHECK enum status wal_truncate(struct wal *wal, uint64_t index);

/* Replaces one corrupt entry, by what a peer holds. */
MUST_CHECK enum status wal_fill(struct wal *wal, const struct wal_entry *entry);

/* Entries at or below `index` are needed no more: their segments may be recycled. */
void wal_release(struct wal *wal, uint64_t index);

struct wal_mark wal_last(const struct wal *wal); /* appended */
uint64_t wal_durable_index(const struct wal *wal);
uint64_t wal_first_index(const struct wal *wal); /* oldest entry still kept */

/* The hard state in memory, as last made durable. */
struct wal_hard_state wal_hard_state(const struct wal *wal);

/* Makes it durable; acted upon only after `done`. One at a time. */
void wal_hard_state_write(struct wal *wal, const struct wal_hard_state *state,
                          void (*done)(void *context, enum status status), void *context);

struct wal_statistics {
    uint64_t flushes_count; /* durable writes that carried entries */
    uint64_t empty_count;   /* empty batches after idle moments */
    uint64_t entries_count;
    uint64_t written_size; /* bytes, padding included */
    uint64_t payload_size; /* bytes of entries */
    uint64_t queued_size;
    uint64_t segments_count;
    uint64_t recycled_count;
};
struct wal_statistics wal_statistics(const struct wal *wal);

/* Reads all batches of all segments in `directory` and verifies them, without a `struct wal`; the
 * log may be in use by another thread: bytes past what was durable when the check began are not
 * judged. `bad` is called for each finding. Blocking; any thread's io. */
MUST_CHECK enum status
wal_check(struct io *io, struct keyring *keyring, const char *directory, uint64_t durable_index,
          void (*bad)(void *context, const char *path, uint64_t offset, const char *text),
          uint64_t *checked_size, void *context);

#endif
