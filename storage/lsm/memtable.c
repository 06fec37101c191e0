/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/lsm/memtable.h"

#include <stdlib.h>

#include "storage/lsm/memtable_internal.h"

enum {
    chunk_size_first = 16 * 1024,
    chunk_size_last = 1024 * 1024,
};

static size_t aligned_size(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

/* ---- The arena ---- */

static bool arena_reserve(struct memtable_arena *arena, size_t size)
{
    size_t rest = arena->chunk != NULL ? arena->chunk->size - arena->chunk_used : 0;
    if (size <= rest || (arena->spare != NULL && size <= arena->spare->size))
        return true;
    size_t chunk_size = size > arena->chunk_size_next ? size : arena->chunk_size_next;
    struct memtable_chunk *spare = malloc(sizeof *spare + chunk_size);
    if (spare == NULL)
        return false;
    spare->size = chunk_size;
    free(arena->spare);
    arena->spare = spare;
    if (arena->chunk_size_next < chunk_size_last)
        arena->chunk_size_next *= 2;
    return true;
}

void *memtable_arena_take(struct memtable_arena *arena, size_t size)
{
    size = aligned_size(size);
    if (arena->chunk == NULL || size > arena->chunk->size - arena->chunk_used) {
        ASSERT(arena->spare != NULL && size <= arena->spare->size);
        arena->spare->next = arena->chunk;
        arena->chunk = arena->spare;
        arena->chunk_used = 0;
        arena->spare = NULL;
    }
    void *taken = arena->chunk->bytes + arena->chunk_used;
    arena->chunk_used += size;
    arena->used_size += size;
    return taken;
}

static void arena_free(struct memtable_arena *arena)
{
    free(arena->spare);
    while (arena->chunk != NULL) {
        struct memtable_chunk *next = arena->chunk->next;
        free(arena->chunk);
        arena->chunk = next;
    }
}

/* ---- The memtable ---- */

enum status memtable_create(const struct lsm_tree_options *tree, struct memtable **memtable)
{
    *memtable = NULL;
    struct memtable *made = calloc(1, sizeof *made);
    if (made == NULL)
        return STATUS_NO_MEMORY;
    made->options = tree;
    made->references_count = 1;
    made->version_min = UINT64_MAX;
    made->arena.chunk_size_next = chunk_size_first;
    *memtable = made;
    return STATUS_OK;
}

void memtable_ref(struct memtable *memtable)
{
    ASSERT(memtable->references_count != 0);
    memtable->references_count++;
}

void memtable_unref(struct memtable *memtable)
{
    ASSERT(memtable->references_count != 0);
    if (--memtable->references_count != 0)
        return;
    memtable_runs_free(&memtable->runs);
    arena_free(&memtable->arena);
    free(memtable);
}

bool memtable_reserve(struct memtable *memtable, size_t entries_count, size_t size)
{
    ASSERT(!memtable->sealed);
    size_t records_size;
    size_t nodes_size = 0;
    if (__builtin_mul_overflow(entries_count, sizeof(struct memtable_record) + 7, &records_size) ||
        __builtin_add_overflow(records_size, size, &records_size))
        return false;
    if (memtable->options->kind == LSM_BYTES) {
        if (!memtable_tree_reserve(&memtable->tree, entries_count, &nodes_size))
            return false;
    } else if (!memtable_runs_reserve(memtable, entries_count)) {
        return false;
    }
    size_t total;
    return !__builtin_add_overflow(records_size, nodes_size, &total) && total < SIZE_MAX / 2 &&
           arena_reserve(&memtable->arena, total);
}

static void assert_fits(const struct memtable *memtable, const struct lsm_entry *entry)
{
    const struct lsm_tree_options *options = memtable->options;
    ASSERT(!memtable->sealed);
    ASSERT(entry->version <= lsm_entry_version_max);
    ASSERT(!entry->deletion || entry->value.size == 0);
    ASSERT(entry->key.size <= lsm_key_size_max && entry->value.size <= lsm_value_size_max);
    if (options->kind == LSM_FIXED) {
        ASSERT(entry->key.size == options->key_size);
        ASSERT(entry->deletion || entry->value.size == options->value_size);
    }
    const struct memtable_record *newest = memtable->newest;
    ASSERT(newest == NULL || entry->version > newest->version ||
           (entry->version == newest->version &&
            bytes_compare(entry->key, memtable_record_key(newest)) > 0));
}

void memtable_put(struct memtable *memtable, const struct lsm_entry *entry)
{
    assert_fits(memtable, entry);
    struct memtable_record *record =
        memtable_arena_take(&memtable->arena, sizeof *record + entry->key.size + entry->value.size);
    record->version = entry->version;
    record->key_size = (uint32_t)entry->key.size;
    record->value_size = (uint32_t)entry->value.size & 0x7fffffff;
    record->deletion = entry->deletion;
    bytes_copy(record->bytes, entry->key);
    bytes_copy(record->bytes + entry->key.size, entry->value);
    if (memtable->options->kind == LSM_BYTES)
        memtable_tree_put(memtable, record);
    else
        memtable_runs_put(memtable, record);
    memtable->newest = record;
    memtable->entries_count++;
    if (memtable->version_min > entry->version)
        memtable->version_min = entry->version;
    memtable->version_max = entry->version;
}

void memtable_seal(struct memtable *memtable)
{
    memtable->sealed = true;
}

bool memtable_is_sealed(const struct memtable *memtable)
{
    return memtable->sealed;
}

size_t memtable_size(const struct memtable *memtable)
{
    return memtable->arena.used_size + memtable->runs.slots_size;
}

uint64_t memtable_entries_count(const struct memtable *memtable)
{
    return memtable->entries_count;
}

uint64_t memtable_version_min(const struct memtable *memtable)
{
    return memtable->version_min;
}

uint64_t memtable_version_max(const struct memtable *memtable)
{
    return memtable->version_max;
}

static bool record_entry(const struct memtable_record *record, struct lsm_entry *entry)
{
    if (record == NULL) {
        *entry = (struct lsm_entry){0};
        return false;
    }
    *entry = (struct lsm_entry){
        .key = memtable_record_key(record),
        .version = record->version,
        .deletion = record->deletion,
        .value = bytes_of(record->bytes + record->key_size, record->value_size),
    };
    return true;
}

bool memtable_get(const struct memtable *memtable, struct bytes key, uint64_t version,
                  struct lsm_entry *entry)
{
    const struct memtable_record *record = memtable->options->kind == LSM_BYTES
                                               ? memtable_tree_get(memtable, key, version)
                                               : memtable_runs_get(memtable, key, version);
    return record_entry(record, entry);
}

/* ---- Cursors ---- */

void memtable_cursor_init(struct memtable_cursor *cursor, const struct memtable *memtable)
{
    cursor->memtable = memtable;
    cursor->record = NULL;
    cursor->modifications_count = 0;
    cursor->backwards = false;
    cursor->leaf = NULL;
    cursor->slot = 0;
}

static bool is_bytes(const struct memtable_cursor *cursor)
{
    return cursor->memtable->options->kind == LSM_BYTES;
}

static uint64_t version_clamped(uint64_t version)
{
    return version < lsm_entry_version_max ? version : lsm_entry_version_max;
}

bool memtable_cursor_seek(struct memtable_cursor *cursor, struct bytes key, uint64_t version,
                          struct lsm_entry *entry)
{
    if (is_bytes(cursor))
        memtable_tree_seek(cursor, key, version_clamped(version));
    else
        memtable_runs_seek(cursor, key, version_clamped(version));
    return record_entry(cursor->record, entry);
}

bool memtable_cursor_seek_before(struct memtable_cursor *cursor, struct bytes key, uint64_t version,
                                 struct lsm_entry *entry)
{
    if (is_bytes(cursor))
        memtable_tree_seek_before(cursor, key, version_clamped(version));
    else
        memtable_runs_seek_before(cursor, key, version_clamped(version));
    return record_entry(cursor->record, entry);
}

bool memtable_cursor_first(struct memtable_cursor *cursor, struct lsm_entry *entry)
{
    if (is_bytes(cursor))
        memtable_tree_first(cursor);
    else
        memtable_runs_first(cursor);
    return record_entry(cursor->record, entry);
}

bool memtable_cursor_last(struct memtable_cursor *cursor, struct lsm_entry *entry)
{
    if (is_bytes(cursor))
        memtable_tree_last(cursor);
    else
        memtable_runs_last(cursor);
    return record_entry(cursor->record, entry);
}

bool memtable_cursor_next(struct memtable_cursor *cursor, struct lsm_entry *entry)
{
    if (cursor->record != NULL) {
        if (is_bytes(cursor))
            memtable_tree_next(cursor);
        else
            memtable_runs_next(cursor);
    }
    return record_entry(cursor->record, entry);
}

bool memtable_cursor_previous(struct memtable_cursor *cursor, struct lsm_entry *entry)
{
    if (cursor->record != NULL) {
        if (is_bytes(cursor))
            memtable_tree_previous(cursor);
        else
            memtable_runs_previous(cursor);
    }
    return record_entry(cursor->record, entry);
}
