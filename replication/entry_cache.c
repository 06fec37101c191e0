/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/entry_cache.h"

#include <stdlib.h>

#include "proto/base/assert.h"

enum { capacity_least = 64 };

void entry_cache_init(struct entry_cache *cache)
{
    *cache = (struct entry_cache){0};
}

void entry_cache_free(struct entry_cache *cache)
{
    while (cache->count > 0)
        entry_cache_drop_first(cache);
    free(cache->slots);
    *cache = (struct entry_cache){0};
}

struct cached_entry *cached_entry_create(uint64_t index, uint64_t term, size_t size)
{
    struct cached_entry *entry = malloc(sizeof *entry + size);
    if (entry == NULL)
        return NULL;
    entry->index = index;
    entry->term = term;
    entry->references = 1;
    entry->size = size;
    return entry;
}

void cached_entry_keep(struct cached_entry *entry)
{
    entry->references++;
}

void cached_entry_release(struct cached_entry *entry)
{
    if (entry == NULL)
        return;
    ASSERT(entry->references > 0);
    if (--entry->references == 0)
        free(entry);
}

static struct cached_entry **slot_of(const struct entry_cache *cache, uint64_t index)
{
    return &cache->slots[index & (cache->capacity - 1)];
}

static size_t size_of(const struct cached_entry *entry)
{
    return sizeof *entry + sizeof(struct cached_entry *) + entry->size;
}

enum status entry_cache_reserve(struct entry_cache *cache, size_t count)
{
    size_t capacity = cache->capacity == 0 ? capacity_least : cache->capacity;
    while (capacity < cache->count + count)
        capacity *= 2;
    if (capacity == cache->capacity)
        return STATUS_OK;
    struct entry_cache grown = *cache;
    grown.capacity = capacity;
    grown.slots = calloc(capacity, sizeof(struct cached_entry *));
    if (grown.slots == NULL)
        return STATUS_NO_MEMORY;
    for (uint64_t index = cache->first; index < cache->first + cache->count; index++)
        *slot_of(&grown, index) = *slot_of(cache, index);
    free(cache->slots);
    *cache = grown;
    return STATUS_OK;
}

void entry_cache_put(struct entry_cache *cache, struct cached_entry *entry)
{
    ASSERT(cache->count < cache->capacity);
    if (cache->count == 0)
        cache->first = entry->index;
    ASSERT(entry->index == cache->first + cache->count);
    *slot_of(cache, entry->index) = entry;
    cache->count++;
    cache->size += size_of(entry);
}

struct cached_entry *entry_cache_find(const struct entry_cache *cache, uint64_t index)
{
    if (index < cache->first || index - cache->first >= cache->count)
        return NULL;
    struct cached_entry *entry = *slot_of(cache, index);
    ASSERT(entry->index == index);
    return entry;
}

static void drop(struct entry_cache *cache, uint64_t index)
{
    struct cached_entry *entry = *slot_of(cache, index);
    *slot_of(cache, index) = NULL;
    cache->count--;
    cache->size -= size_of(entry);
    cached_entry_release(entry);
}

void entry_cache_cut(struct entry_cache *cache, uint64_t index)
{
    while (cache->count > 0 && cache->first + cache->count - 1 >= index)
        drop(cache, cache->first + cache->count - 1);
}

void entry_cache_drop_first(struct entry_cache *cache)
{
    ASSERT(cache->count > 0);
    drop(cache, cache->first);
    cache->first++;
}
