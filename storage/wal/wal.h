/* SPDX-License-Identifier: Apache-2.0 */
/* The write-ahead log: entries with an index and a term, durable, sealed, in order.
 *
 * It is the Raft log's storage. It knows nothing of Raft but the records that Raft needs: APPEND(i)
 * supersedes everything at or above i; FILL(i, term) mends only i; TRUNCATE(i) drops everything at
 * or above i; SETTLE ends the doubt about a suspect tail. In a region of one only APPEND occurs.
 *
 * Segments are preallocated files, written once with zeros and recycled, O_DIRECT. A batch is a
 * plain header and a sealed body, together padded to 4 KiB; each batch's header carries its
 * predecessor's identifier. One write and flush is under way at a time, and takes all that queued
 * while the last one flew. After an idle moment an empty batch follows (within 10 ms of the last
 * durable one), so that the last acknowledged batch has a successor which tells a torn tail from
 * decay. Recovery opens a new segment and never appends to an old one.
 *
 * Damage. A region of one cannot open a log in which an acknowledged batch does not hold: CORRUPT.
 * Elsewhere the log opens, and says what it lacks ("Protocol-Aware Recovery for Consensus-Based
 * Storage", FAST'18):
 *   - a hole is an entry whose index and term are known and whose bytes are lost. Peers that hold
 *     the same (index, term) have the same bytes: wal_fill() mends it.
 *   - a suspect hole is one whose batch was the last to be written: it may never have been
 *     acknowledged. It is filled like others, or dropped with wal_discard_suspect() once enough
 *     members said that they never had it.
 *   - a suspect tail of unknown extent: a last batch was begun, and not even its header can be
 *     read. The log may have held and acknowledged any entries from `first` on. Until it is
 *     settled this member must not vote, acknowledge, or answer that it never had an entry. It is
 *     settled with wal_discard_suspect() once the log has caught up with a leader whom a majority
 *     without this member elected.
 * All of it stays so over restarts until the record that mends it is durable.
 *
 * Belongs to one thread: that of its io. A failed write or flush is final: `failed` is called once,
 * nothing is acknowledged any more, and the owner ends the process. */
#ifndef STORAGE_WAL_WAL_H
#define STORAGE_WAL_WAL_H

#include "proto/base/error.h"
#include "proto/base/histogram.h"
#include "storage/io/io.h"
#include "storage/seal/registry.h"

struct wal;

/* What is missing of an entry. */
enum wal_hole {
    WAL_WHOLE = 0,
    WAL_HOLE,         /* its bytes are lost; it was durable */
    WAL_HOLE_SUSPECT, /* its bytes are lost; it may never have been durable */
};

/* One entry. `bytes` is opaque here. Index 0 stands for "before the first". */
struct wal_entry {
    uint64_t index;
    uint64_t term;
    struct bytes bytes;
    enum wal_hole hole; /* of entries given to replay; elsewhere WAL_WHOLE */
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
    uint64_t member; /* this member's own id; 0: none yet. Once set it does not change */
    /* The snapshot that takes, or took, the state's place. It is durable before the state's swap,
     * so that a crash between that and wal_reset() is told from a log that is not the state's:
     *     hard state with `snapshot` -> the state's swap -> wal_reset()
     * It may stay: it permits nothing but a log that begins anew at exactly this mark. */
    struct wal_mark snapshot;
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
    /* A region of one: a bad last batch is torn, for no peer can tell, and a bad batch before it is
     * CORRUPT. Otherwise holes and a suspect tail are what they come to. */
    bool alone;
    /* Where `alone` is not set and the log has damage: asked once, after the replay and before
     * anything is written, for the membership may stand in the log. True: as if `alone` had been
     * set; the owner then forgets the suspect entries that it was given. NULL: not alone. */
    bool (*is_alone)(void *context);

    /* All entries of the log as it is now, up to and with the one at `mark`, are on stable storage
     * (but for holes). Called from a turn of the io, never from within wal_append() and the like.
     * `mark` is in the log: entries that were superseded or truncated while their write flew are
     * not told; the notice of their batch is for what precedes them, or does not come.
     * Goes up only, but for what is superseded or truncated: that lowers wal_durable_index() at
     * once, and from there it goes up again. */
    void (*durable)(void *context, struct wal_mark mark);
    /* A batch with fills, truncations or a discard is durable: wal_is_whole() may answer otherwise
     * now. NULL: not wanted. */
    void (*mended)(void *context);
    /* A write or flush failed: say so and end the process. */
    void (*failed)(void *context, enum status status, const char *text);
    void *context;
};

/* The tail of which it is not known whether it was ever durable. */
struct wal_suspect {
    uint64_t first;  /* 0: there is none */
    uint64_t last;   /* suspect holes are within [first, last]; 0 where unknown */
    bool is_unknown; /* the log may have held anything from `first` on */
};

/* What recovery found. */
struct wal_report {
    uint64_t entries_count; /* replayed, holes too */
    uint64_t segments_count;
    uint64_t holes_count; /* of entries above the base; suspect ones too */
    struct wal_suspect suspect;
    bool torn;           /* the last batch was cut short, and was dropped */
    uint64_t torn_index; /* the first index that it might have held */
    struct error damage; /* what does not hold, where: the first finding. Status OK: none */
    struct wal_mark last;
    struct twin_report_summary {
        bool repaired;
        char path[512];
    } hard_state;
};

/* Gets each recovered entry in order, holes without bytes. The bytes are valid during the call.
 * Another status than OK ends recovery with it. */
typedef enum status wal_replay_fn(void *context, const struct wal_entry *entry);

/* Opens the log, making it where `directory` is empty, and replays the entries above `base`: the
 * mark up to which the state is durable elsewhere. Entries at or below base.index are passed over;
 * those above are replayed only where the log holds an entry (base.index, base.term), or begins
 * there. A log that ends at or below base.index begins anew at `base`, and so does one that goes
 * farther without holding it, where the hard state's `snapshot` is `base`; else the log does not
 * fit the state: CORRUPT. Blocking.
 *
 * CORRUPT names the segment and offset: what does not hold, and cannot be told as holes (see
 * recovery.h). NEWER_FORMAT likewise. Nothing is written before all segments were read. */
MUST_CHECK enum status wal_open(const struct wal_options *options, struct wal_mark base,
                                wal_replay_fn *replay, void *context, struct wal **wal,
                                struct wal_report *report, struct error *error);

/* Flushes what was appended, waits, frees. Blocking. */
MUST_CHECK enum status wal_close(struct wal *wal);

/* Queues entries, whose bytes are copied (`hole` is WAL_WHOLE), consecutive from one past the last
 * index (or from an earlier one, which supersedes: then all have terms of their leader). The write
 * starts with wal_flush(). On any other status than OK none is taken: BUSY where the queue is full;
 * DISK_FULL where the segment has no room for it and there is no space for another, until there is
 * (released segments count); TOO_LARGE where an entry fits no segment or queue of these sizes (with
 * the usual ones: 32 MiB); the first failure's, after one. BUSY too while a reset is under way, as
 * from all that queue records. */
MUST_CHECK enum status wal_append(struct wal *wal, const struct wal_entry *entries, size_t count);

/* Starts the write of what is queued, unless one is under way (then it follows by itself). Once a
 * turn, after all that is ready was appended. */
void wal_flush(struct wal *wal);

/* Drops everything at or above `index`, durably with the next batch (`mended` tells). */
MUST_CHECK enum status wal_truncate(struct wal *wal, uint64_t index);

/* Mends one entry, by what a peer holds; the hole is gone once that is durable (`mended` tells).
 * INVALID_ARGUMENT where the log does not have this (index, term). Else statuses as of
 * wal_append(). */
MUST_CHECK enum status wal_fill(struct wal *wal, const struct wal_entry *entry);

/* Ends the doubt: drops the log from the first suspect hole on, where there is one; and an unknown
 * tail is settled, which drops nothing. Durable once `mended` was called. OK where nothing is
 * suspect. */
MUST_CHECK enum status wal_discard_suspect(struct wal *wal);

/* Entries at or below `index` are needed no more: their segments may be recycled. */
void wal_release(struct wal *wal, uint64_t index);

/* Drops all entries: the log begins anew after `mark`, above what was released. For a snapshot that
 * took the state's place where the log does not hold `mark`; where it does, wal_release() is
 * enough. What is queued is dropped and never told durable. A crash before `done` leaves the log as
 * it was or as it shall be. An unknown suspect tail stays one. `done` is called from a turn; with
 * another status than OK after `failed`, or SHUTTING_DOWN from wal_close(). One at a time, and not
 * after `failed`; waits for space where the disk is full. */
void wal_reset(struct wal *wal, struct wal_mark mark,
               void (*done)(void *context, enum status status), void *context);

struct wal_mark wal_last(const struct wal *wal); /* appended */
uint64_t wal_durable_index(const struct wal *wal);
uint64_t wal_first_index(const struct wal *wal); /* oldest entry still kept */

/* The term of an entry that was appended and is still kept, or of the one before the first. False
 * where the log does not reach, and where that one's term is not known. */
bool wal_term_at(const struct wal *wal, uint64_t index, uint64_t *term);

/* The place after which the log can give all that follows, up to `index`: those entries are kept
 * and whole, and their terms are known, as is its own. `index` is in the log, or what it begins
 * after; where nothing before it can be given, the place is its own. */
struct wal_mark wal_served_after(const struct wal *wal, uint64_t index);

/* ---- Holes ---- */

/* No hole above what was released (or the base at the start), no suspect tail, and no fill,
 * truncation or discard that is not durable yet. */
bool wal_is_whole(const struct wal *wal);
uint64_t wal_holes_count(const struct wal *wal); /* suspect ones too */

/* The first hole above index `after`. False: none. */
bool wal_hole_next(const struct wal *wal, uint64_t after, struct wal_mark *mark,
                   enum wal_hole *hole);
struct wal_suspect wal_suspect(const struct wal *wal);

/* ---- Reading what is kept ---- */

/* A read of old entries. Its memory is the caller's from wal_read_start() until `done`, and its
 * results from there until wal_read_end(). */
struct wal_read {
    /* Set by the caller. */
    uint64_t first;
    uint64_t last;   /* at or above `first`: no entry past it is given */
    size_t size_max; /* bytes of all entries given; one is given however large it is */
    void (*done)(struct wal_read *read); /* from a turn of the io; may start further reads */
    void *context;

    /* Results. OK: at least one entry, consecutive from `first`; fewer than asked for where the
     * bound, a segment or a hole ends them. NOT_FOUND: below wal_first_index(), or not durable (not
     * yet, or superseded meanwhile). CORRUPT: a hole, or what stands there does not hold (wal_fill
     * mends it). IO_ERROR, NO_MEMORY, SHUTTING_DOWN. */
    enum status status;
    struct wal_entry *entries;
    size_t entries_count;

    /* The log's. */
    struct list_link link;
    struct io_op op;
    struct wal_file *file;
    uint64_t until; /* the last entry that this read takes */
    uint32_t segment;
    uint64_t offset;
    size_t size;
    uint8_t *buffer;
};

/* Reads from one segment, in one piece of at most 1 MiB (or one batch that is larger). Never blocks
 * and never calls `done` from within. While it is under way the segment is not recycled. Reads wait
 * for one another where they are of more segments than wal_files_max. */
void wal_read_start(struct wal *wal, struct wal_read *read);

/* Frees the results, whatever the status. */
void wal_read_end(struct wal_read *read);

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
    uint64_t reads_count;
    uint64_t read_size; /* bytes, of segments read again */
};
struct wal_statistics wal_statistics(const struct wal *wal);

/* How long the durable writes took that carried entries. The log's own. */
const struct histogram *wal_flushes_ns(const struct wal *wal);

/* Reads all batches of all segments in `directory` and verifies them, without a `struct wal`; the
 * log may be in use by another thread: bytes past what was durable when the check began are not
 * judged. `bad` is called for each finding. Blocking; any thread's io. */
MUST_CHECK enum status
wal_check(struct io *io, struct keyring *keyring, const char *directory, uint64_t durable_index,
          void (*bad)(void *context, const char *path, uint64_t offset, const char *text),
          uint64_t *checked_size, void *context);

#endif
