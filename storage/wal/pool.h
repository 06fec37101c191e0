/* SPDX-License-Identifier: Apache-2.0 */
/* Spare segments: files written throughout, ready before the writer needs them. Made anew (filled
 * with zeros, because a write into an unwritten extent costs twice as much), or recycled from
 * segments that are needed no more. One step is under way at a time:
 *
 *     IDLE -> rename the oldest segment to spare -> flush the directory -> open -> IDLE
 *     IDLE -> unlink the oldest segment          -> flush the directory -> IDLE
 *     IDLE -> create preparing -> allocate -> write zeros ... -> flush -> rename to spare
 *          -> flush the directory -> IDLE
 *     on DISK_FULL while creating: close -> unlink -> IDLE, and again after a while
 *
 * Ahead of need, one is made only where `space_kept_size` stays free besides: that space is for
 * metadata and tables, without which no segment is ever released. One that is awaited takes it.
 *
 * A full disk is not a failure: nothing that was written is touched, and `disk_full` says it until
 * a spare is there. Any other error is final, and `failed` is called. */
#ifndef STORAGE_WAL_POOL_H
#define STORAGE_WAL_POOL_H

#include "storage/wal/segment.h"

enum {
    wal_pool_spares_max = 16,
    wal_pool_chunk_size = 256 * 1024, /* of one write of zeros: short, as commits go between */
    wal_pool_retry_ms = 100,          /* after DISK_FULL */
};

struct wal_spare {
    struct wal_path path;
    struct io_file *file; /* open for reading and writing, direct */
};

enum wal_pool_step {
    WAL_POOL_IDLE,
    WAL_POOL_RECYCLE_RENAME,
    WAL_POOL_RECYCLE_FLUSH,
    WAL_POOL_RECYCLE_OPEN,
    WAL_POOL_DISCARD_UNLINK,
    WAL_POOL_DISCARD_FLUSH,
    WAL_POOL_CREATE_OPEN,
    WAL_POOL_CREATE_ALLOCATE,
    WAL_POOL_CREATE_ZERO,
    WAL_POOL_CREATE_FLUSH,
    WAL_POOL_CREATE_RENAME,
    WAL_POOL_CREATE_FLUSH_DIRECTORY,
    WAL_POOL_ABANDON_CLOSE,
    WAL_POOL_ABANDON_UNLINK,
};

struct wal_pool {
    /* Set by the owner. */
    struct io *io;
    const char *directory;
    uint64_t segment_size;
    uint64_t space_kept_size; /* what a new spare leaves free, unless one is awaited */
    unsigned spares_wanted;   /* made anew up to here; recycled ones are kept up to twice that */
    struct wal_segments *segments;
    void (*ready)(void *context); /* a spare came */
    /* The oldest segment is about to be recycled; `next` stays. Told again where a full disk put it
     * off. */
    void (*leaving)(void *context, const struct wal_segment *oldest,
                    const struct wal_segment *next);
    void (*failed)(void *context, enum status, int error_number, const char *path);
    void *context;

    /* The pool's. */
    bool disk_full; /* the last attempt met a full disk */
    bool wanted;    /* `ready` is to be called again where there are spares */
    bool awaited;   /* somebody asked for a spare in vain */
    bool stopping;
    unsigned spares_count;
    struct wal_spare spares[wal_pool_spares_max];
    uint64_t next_number; /* for names */
    uint64_t recycled_count;
    enum wal_pool_step step;
    struct io_op op;
    struct io_timer retry;
    bool retry_started;
    struct wal_path from;
    struct wal_path to;
    struct io_file *file;
    uint64_t zeroed_size;
};

/* The owner has filled its part; the rest is zero. */
void wal_pool_init(struct wal_pool *pool);

/* Takes over what a listing shows, blocking: opens spares of the right size, removes other ones and
 * whatever was being prepared. For start-up. */
MUST_CHECK enum status wal_pool_adopt(struct wal_pool *pool, const struct wal_listing *listing);

/* Goes on, where there is something to do: after a release, after a spare was taken, at start. */
void wal_pool_kick(struct wal_pool *pool);

/* Takes a spare, or answers false. The caller closes its file. */
bool wal_pool_take(struct wal_pool *pool, struct wal_spare *spare);

/* Puts back what was taken and not renamed. */
void wal_pool_put_back(struct wal_pool *pool, const struct wal_spare *spare);

/* The owner met a full disk although there are spares: calls `ready` again after a while. */
void wal_pool_space_wanted(struct wal_pool *pool);

/* Begins no more steps; once not busy any more it may be freed. */
void wal_pool_stop(struct wal_pool *pool);
bool wal_pool_is_busy(const struct wal_pool *pool);

/* Closes the spares' files and frees. Blocking. */
MUST_CHECK enum status wal_pool_free(struct wal_pool *pool);

#endif
