/* SPDX-License-Identifier: Apache-2.0 */
/* What the two kinds of memtable share: records, the arena that holds them, and slots that order
 * them. */
#ifndef STORAGE_LSM_MEMTABLE_INTERNAL_H
#define STORAGE_LSM_MEMTABLE_INTERNAL_H

#include "proto/base/assert.h"
#include "storage/lsm/memtable.h"

/* An entry's bytes: key, then value. Never moves. */
struct memtable_record {
    uint64_t version;
    uint32_t key_size;
    uint32_t value_size : 31;
    uint32_t deletion : 1;
    uint8_t bytes[];
};

/* An order's member: the key's first 8 bytes stand beside the pointer, so that most comparisons
 * stay within the array. */
struct memtable_slot {
    uint64_t prefix;
    const struct memtable_record *record;
};

struct memtable_chunk {
    struct memtable_chunk *next; /* older */
    size_t size;                 /* of `bytes` */
    uint8_t bytes[];
};

/* Allocates from `chunk`, and from `spare` where that is full. A reservation holds where it fits
 * in either as a whole: what does not fit into the rest of the one fits into the other. */
struct memtable_arena {
    struct memtable_chunk *chunk; /* newest in use */
    struct memtable_chunk *spare; /* untouched; NULL: none */
    size_t chunk_used;
    size_t used_size; /* handed out in all */
    size_t chunk_size_next;
};

enum {
    memtable_order_max = 32,  /* slots of a leaf, children of an inner node */
    memtable_height_max = 16, /* half-full nodes: 16^16 entries */
};

/* Members in order, with 8 bytes of each key beside its pointer: those after the start that all of
 * them share, so that keys which begin alike are told apart without a look at the records. */
struct memtable_node {
    uint32_t count;
    uint32_t skip; /* bytes that the keys share; may be fewer than they do */
    uint64_t prefixes[memtable_order_max];
    const struct memtable_record *records[memtable_order_max];
};

struct memtable_leaf {
    struct memtable_node node;
    struct memtable_leaf *previous;
    struct memtable_leaf *next;
};

/* children[i] holds what is at or after separator i and before separator i + 1; separator 0 is not
 * compared: all that is smaller goes there too. */
struct memtable_inner {
    struct memtable_node node;          /* of separators */
    void *children[memtable_order_max]; /* memtable_inner, or memtable_leaf at the bottom */
};

/* Kind bytes. Levels are counted from the leaves: 0. */
struct memtable_tree {
    void *root; /* NULL: empty */
    unsigned height;
    uint64_t nodes_count[memtable_height_max + 1]; /* by level */
    struct memtable_leaf *first;
    struct memtable_leaf *last;
};

struct memtable_run {
    struct memtable_slot *slots; /* malloc */
    uint32_t count;
    uint32_t capacity;
};

/* Kind fixed: runs from oldest to newest; all versions of a run are at or below those of the next.
 */
struct memtable_runs {
    struct memtable_run runs[memtable_runs_max];
    unsigned count;
    bool open;                    /* the last run takes puts of the newest version */
    struct memtable_run reserved; /* becomes the next run */
    uint64_t slots_size;          /* bytes of slots in use */
};

struct memtable {
    const struct lsm_tree_options *options;
    unsigned references_count;
    bool sealed;
    uint64_t modifications_count; /* grows where a cursor's place may have moved */
    uint64_t entries_count;
    uint64_t version_min;
    uint64_t version_max;
    const struct memtable_record *newest; /* the last put */
    struct memtable_arena arena;
    struct memtable_tree tree; /* LSM_BYTES */
    struct memtable_runs runs; /* LSM_FIXED */
};

/* 8 bytes of the key in an integer of the same order; ties need the whole keys. */
static inline uint64_t memtable_prefix(struct bytes key)
{
    if (key.size >= 8)
        return load_u64_be(key.data);
    uint8_t padded[8] = {0};
    bytes_copy(padded, key);
    return load_u64_be(padded);
}

static inline struct bytes memtable_record_key(const struct memtable_record *record)
{
    return bytes_of(record->bytes, record->key_size);
}

/* Order of a record with `prefix` against (key, version) with `key_prefix`. */
static inline int memtable_record_order(uint64_t prefix, const struct memtable_record *record,
                                        uint64_t key_prefix, struct bytes key, uint64_t version)
{
    if (prefix != key_prefix)
        return prefix < key_prefix ? -1 : 1;
    return lsm_entry_order(memtable_record_key(record), record->version, key, version);
}

/* Reserved before. 8-byte aligned. */
void *memtable_arena_take(struct memtable_arena *arena, size_t size);

bool memtable_tree_reserve(const struct memtable_tree *tree, size_t entries_count, size_t *size);
void memtable_tree_put(struct memtable *memtable, const struct memtable_record *record);
const struct memtable_record *memtable_tree_get(const struct memtable *memtable, struct bytes key,
                                                uint64_t version);
void memtable_tree_seek(struct memtable_cursor *cursor, struct bytes key, uint64_t version);
void memtable_tree_seek_before(struct memtable_cursor *cursor, struct bytes key, uint64_t version);
void memtable_tree_first(struct memtable_cursor *cursor);
void memtable_tree_last(struct memtable_cursor *cursor);
void memtable_tree_next(struct memtable_cursor *cursor);
void memtable_tree_previous(struct memtable_cursor *cursor);

bool memtable_runs_reserve(struct memtable *memtable, size_t entries_count);
void memtable_runs_put(struct memtable *memtable, const struct memtable_record *record);
void memtable_runs_free(struct memtable_runs *runs);
const struct memtable_record *memtable_runs_get(const struct memtable *memtable, struct bytes key,
                                                uint64_t version);
void memtable_runs_seek(struct memtable_cursor *cursor, struct bytes key, uint64_t version);
void memtable_runs_seek_before(struct memtable_cursor *cursor, struct bytes key, uint64_t version);
void memtable_runs_first(struct memtable_cursor *cursor);
void memtable_runs_last(struct memtable_cursor *cursor);
void memtable_runs_next(struct memtable_cursor *cursor);
void memtable_runs_previous(struct memtable_cursor *cursor);

#endif
