/* SPDX-License-Identifier: Apache-2.0 */
/* The block cache: blocks of tables, opened, uncompressed and validated, in bounded memory.
 *
 * A block is known by (source, block number). What is not here is first looked for in the page
 * cache, inline; only where that would block is a read queued, and the caller told AGAIN. All who
 * ask for a block while it is being read share the one read. A read that failed, or whose bytes do
 * not hold, is reported to as many calls as there were waiters, and then forgotten: whoever asks
 * later reads anew.
 *
 * A block is in one of these states:
 *     READING   -> READY (the bytes hold) | FAILED | freed (it failed and nobody waits)
 *     READY     -> PINNED (cache_get) | freed (evicted, its source closed)
 *     PINNED    -> READY (the last cache_unpin)
 *     FAILED    -> freed (reported, evicted, its source closed)
 *
 * Eviction: segmented LRU. A block enters on probation, is protected from its second use on, and
 * goes from the cold end of probation, so that one scan passes through without flushing what is
 * hot. READING and PINNED blocks stay. Bytes of all states count against the bound; where what
 * cannot go would pass it, the answer is NO_MEMORY.
 *
 * Everything here belongs to the core's thread, and uses the core's io. */
#ifndef STORAGE_LSM_CACHE_H
#define STORAGE_LSM_CACHE_H

#include "storage/io/io.h"
#include "storage/lsm/lsm.h"

struct cache;
struct cache_block; /* pinned by whoever holds a pointer to it */

enum {
    cache_size_min = 8 * 1024 * 1024, /* a smaller bound is raised to this: some largest blocks */
    cache_reads_max = 128,            /* under way at a time; further ones queue in the cache */
    cache_path_size = 512,
};

/* Where a block stands in its file. */
struct cache_place {
    uint64_t number; /* of the block, within the file */
    uint64_t offset;
    uint32_t size; /* on disk, tag included */
    uint8_t type;  /* the source's own: what it expects the block to be */
};

/* A file whose blocks are cached: embedded by a table. */
struct cache_source {
    /* Set by the owner before cache_source_open(). `number` is never used again for another. */
    uint64_t number;
    struct io_file *file;
    const char *path; /* of the file, for findings; it lives as long as the source */

    /* Opens `sealed` (which it may overwrite), validates, and gives the block in memory from
     * malloc: CORRUPT, NO_MEMORY. */
    enum status (*decode)(struct cache_source *source, const struct cache_place *place,
                          uint8_t *sealed, uint8_t **block, size_t *size);

    /* After cache_source_close(): no read is under way, the file is closed; may free itself. */
    void (*closed)(struct cache_source *source);

    /* The cache's. */
    struct list_link blocks;
    unsigned reads_count;
    bool closing;
    struct cache *cache;
    struct io_op close_op;
};

/* `size` bytes at most. NO_MEMORY. */
MUST_CHECK enum status cache_create(struct io *io, size_t size, struct cache **cache);

/* All sources are closed or closing, no block is pinned: turns the io until reads and closings that
 * are under way have ended. NULL is permitted. */
void cache_free(struct cache *cache);

void cache_source_open(struct cache *cache, struct cache_source *source);

/* None of its blocks is pinned. Drops them, waits for reads under way without blocking (their
 * waiters are told as ever), closes the file, then calls source->closed(), at the earliest from the
 * next turn of the io. */
void cache_source_close(struct cache_source *source);

/* OK: `*block` is pinned until cache_unpin(). AGAIN: `wait` will be told; NULL: only the read is
 * begun (a prefetch). CORRUPT, IO_ERROR, NO_MEMORY. A place whose block is known is not compared
 * with what was read: sources give one place for one number. */
MUST_CHECK enum status cache_get(struct cache_source *source, const struct cache_place *place,
                                 struct lsm_wait *wait, struct cache_block **block);
void cache_pin(struct cache_block *block); /* once more; each has its cache_unpin() */
void cache_unpin(struct cache_block *block);
struct bytes cache_block_bytes(const struct cache_block *block);

struct cache_statistics {
    uint64_t size;         /* bytes of blocks, and of reads under way */
    uint64_t size_max;     /* the bound */
    uint64_t pinned_count; /* blocks pinned now */
    uint64_t blocks_count;
    uint64_t hits_count;   /* cache_get() answered from here */
    uint64_t misses_count; /* of which some were in the page cache */
    uint64_t again_count;  /* cache_get() answered AGAIN */
    uint64_t reads_count;  /* under way now, queued ones included */
};
/* The newest block that was read and did not hold; false: there was none. `path` is the cache's,
 * and empty where the source has none. */
bool cache_damage(const struct cache *cache, const char **path, uint64_t *offset);

struct cache_statistics cache_statistics(const struct cache *cache);

#endif
