/* SPDX-License-Identifier: Apache-2.0 */
/* The newest entries of the log in memory: a window of consecutive indexes, as encoded bytes.
 *
 * Every entry that is proposed or accepted is put in at the end; the oldest leave first. What is
 * not in it any more is read from the write-ahead log. An entry is counted: apply may still refer
 * to one that has left. Belongs to its log's thread. */
#ifndef REPLICATION_ENTRY_CACHE_H
#define REPLICATION_ENTRY_CACHE_H

#include "proto/base/bytes.h"
#include "proto/base/status.h"

struct cached_entry {
    uint64_t index;
    uint64_t term;
    unsigned references; /* of the cache, and of whoever took it */
    size_t size;
    uint8_t bytes[];
};

struct entry_cache {
    struct cached_entry **slots; /* by index modulo the capacity, a power of two */
    size_t capacity;
    size_t count;
    uint64_t first; /* index of the oldest, where count is not 0 */
    size_t size;    /* bytes of all, what the bookkeeping takes included */
};

/* Takes no memory. */
void entry_cache_init(struct entry_cache *cache);
void entry_cache_free(struct entry_cache *cache);

/* An entry whose bytes the caller fills; it has one reference. NULL: no memory. */
struct cached_entry *cached_entry_create(uint64_t index, uint64_t term, size_t size);
void cached_entry_keep(struct cached_entry *entry);
void cached_entry_release(struct cached_entry *entry); /* NULL does nothing */

static inline struct bytes cached_entry_bytes(const struct cached_entry *entry)
{
    return bytes_of(entry->bytes, entry->size);
}

/* Room for `count` more, so that as many puts cannot fail. NO_MEMORY. */
MUST_CHECK enum status entry_cache_reserve(struct entry_cache *cache, size_t count);

/* Takes over the caller's reference. Its index is one past the newest, where there is any; there is
 * room. */
void entry_cache_put(struct entry_cache *cache, struct cached_entry *entry);

/* NULL where it is not here. The cache's reference; valid until the next put, cut or drop. */
struct cached_entry *entry_cache_find(const struct entry_cache *cache, uint64_t index);

/* Drops the entries at and above `index`. */
void entry_cache_cut(struct entry_cache *cache, uint64_t index);

/* Drops the oldest; there is one. */
void entry_cache_drop_first(struct entry_cache *cache);

#endif
