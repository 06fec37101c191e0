/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/lsm/cache.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/hash.h"

enum block_state {
    BLOCK_READING, /* in no LRU list */
    BLOCK_READY,   /* in an LRU list, unless pinned */
    BLOCK_FAILED,  /* in the probation list */
};

/* A read of a block, from its start to its end. */
struct cache_read {
    struct io_op op;
    struct cache_block *block;
    struct list_link queued;
    uint8_t buffer[];
};

struct cache_block {
    struct cache_source *source;
    struct cache_place place;
    struct cache_block *hash_next;
    struct list_link lru;
    struct list_link of_source;
    struct list_link waiters; /* cache_waiter.of_block */
    uint8_t state;            /* enum block_state */
    bool is_protected;
    bool used;              /* since it was read */
    unsigned pins_count;    /* BLOCK_READY */
    unsigned reports_count; /* BLOCK_FAILED: calls that are still to be told */
    enum status status;     /* BLOCK_FAILED: what they are told */
    uint8_t *data;          /* BLOCK_READY; malloc */
    size_t data_size;
    size_t charge; /* bytes that count against the bound */
};

/* That a wait waits for a block. */
struct cache_waiter {
    struct lsm_wait *wait;
    struct list_link of_wait;
    struct list_link of_block;
};

struct cache {
    struct io *io;
    size_t size_max;
    size_t size;           /* of the charges of all blocks */
    size_t protected_size; /* of those in the protected list */
    struct list_link probation;
    struct list_link protected;
    struct list_link queue; /* reads not begun */
    unsigned reads_active;
    unsigned sources_open;
    unsigned sources_closing;
    uint8_t *scratch; /* malloc: sealed bytes of one block */
    size_t scratch_size;
    size_t buckets_mask;
    struct cache_block **buckets;
    struct cache_statistics counted;
    bool is_damaged; /* a block did not hold: where the newest was */
    uint64_t damage_offset;
    char damage_path[cache_path_size];
};

/* ---- Waits ---- */

void lsm_wait_init(struct lsm_wait *wait, void (*ready)(struct lsm_wait *wait), void *context)
{
    wait->ready = ready;
    wait->context = context;
    wait->pending_count = 0;
    list_init(&wait->blocks);
}

static void waiter_free(struct cache_waiter *waiter)
{
    list_remove(&waiter->of_wait);
    list_remove(&waiter->of_block);
    ASSERT(waiter->wait->pending_count != 0);
    waiter->wait->pending_count--;
    free(waiter);
}

void lsm_wait_cancel(struct lsm_wait *wait)
{
    LIST_EACH(link, &wait->blocks)
    {
        waiter_free(LIST_ENTRY(link, struct cache_waiter, of_wait));
    }
    ASSERT(wait->pending_count == 0);
}

/* AGAIN, with the wait among those of the block; once only. */
static enum status wait_for(struct cache_block *block, struct lsm_wait *wait)
{
    block->source->cache->counted.again_count++;
    if (wait == NULL)
        return STATUS_AGAIN;
    LIST_EACH(link, &block->waiters)
    {
        if (LIST_ENTRY(link, struct cache_waiter, of_block)->wait == wait)
            return STATUS_AGAIN;
    }
    struct cache_waiter *waiter = malloc(sizeof *waiter);
    if (waiter == NULL)
        return STATUS_NO_MEMORY;
    waiter->wait = wait;
    list_push_last(&wait->blocks, &waiter->of_wait);
    list_push_last(&block->waiters, &waiter->of_block);
    wait->pending_count++;
    return STATUS_AGAIN;
}

/* Tells all that waited, of which some may cancel others meanwhile. */
static void tell(struct list_link *waiters)
{
    for (struct list_link *link; (link = list_first(waiters)) != NULL;) {
        struct cache_waiter *waiter = LIST_ENTRY(link, struct cache_waiter, of_block);
        struct lsm_wait *wait = waiter->wait;
        waiter_free(waiter);
        if (wait->pending_count == 0)
            wait->ready(wait);
    }
}

/* ---- Blocks ---- */

static struct cache_block **bucket_of(struct cache *cache, uint64_t source, uint64_t number)
{
    return &cache->buckets[hash_u64(source * 0x9e3779b97f4a7c15ULL + number) & cache->buckets_mask];
}

static struct cache_block *find(struct cache_source *source, uint64_t number)
{
    struct cache_block *block = *bucket_of(source->cache, source->number, number);
    while (block != NULL && (block->source != source || block->place.number != number))
        block = block->hash_next;
    return block;
}

static void lru_remove(struct cache *cache, struct cache_block *block)
{
    if (list_is_linked(&block->lru) && block->is_protected)
        cache->protected_size -= block->charge;
    list_remove(&block->lru);
}

/* Puts a block at the hot end of its list, and lets the protected ones be at most 4/5. */
static void lru_insert(struct cache *cache, struct cache_block *block)
{
    if (!block->is_protected) {
        list_push_first(&cache->probation, &block->lru);
        return;
    }
    list_push_first(&cache->protected, &block->lru);
    cache->protected_size += block->charge;
    while (cache->protected_size > cache->size_max / 5 * 4) {
        struct cache_block *coldest =
            LIST_ENTRY(list_last(&cache->protected), struct cache_block, lru);
        lru_remove(cache, coldest);
        coldest->is_protected = false;
        list_push_first(&cache->probation, &coldest->lru);
    }
}

static void block_free(struct cache_block *block)
{
    struct cache *cache = block->source->cache;
    ASSERT(block->pins_count == 0 && list_is_empty(&block->waiters));
    struct cache_block **at = bucket_of(cache, block->source->number, block->place.number);
    while (*at != block)
        at = &(*at)->hash_next;
    *at = block->hash_next;
    lru_remove(cache, block);
    list_remove(&block->of_source);
    cache->size -= block->charge;
    cache->counted.blocks_count--;
    free(block->data);
    free(block);
}

/* Evicts until `more` bytes fit. False: they cannot. */
static bool make_room(struct cache *cache, size_t more)
{
    while (cache->size + more > cache->size_max) {
        struct list_link *coldest = list_last(&cache->probation);
        if (coldest == NULL)
            coldest = list_last(&cache->protected);
        if (coldest == NULL)
            return false;
        block_free(LIST_ENTRY(coldest, struct cache_block, lru));
    }
    return true;
}

/* A block in no list, charged. */
static struct cache_block *block_make(struct cache_source *source, const struct cache_place *place,
                                      size_t size)
{
    struct cache *cache = source->cache;
    size_t charge = sizeof(struct cache_block) + size;
    if (!make_room(cache, charge))
        return NULL;
    struct cache_block *block = calloc(1, sizeof *block);
    if (block == NULL)
        return NULL;
    block->source = source;
    block->place = *place;
    block->charge = charge;
    list_init(&block->lru);
    list_init(&block->waiters);
    list_push_last(&source->blocks, &block->of_source);
    struct cache_block **bucket = bucket_of(cache, source->number, place->number);
    block->hash_next = *bucket;
    *bucket = block;
    cache->size += charge;
    cache->counted.blocks_count++;
    return block;
}

void cache_pin(struct cache_block *block)
{
    ASSERT(block->state == BLOCK_READY && block->pins_count != 0);
    block->pins_count++;
}

void cache_unpin(struct cache_block *block)
{
    ASSERT(block->state == BLOCK_READY && block->pins_count != 0);
    if (--block->pins_count != 0)
        return;
    block->source->cache->counted.pinned_count--;
    lru_insert(block->source->cache, block);
}

struct bytes cache_block_bytes(const struct cache_block *block)
{
    return bytes_of(block->data, block->data_size);
}

/* Its second use protects a block. */
static void pin_ready(struct cache *cache, struct cache_block *block)
{
    if (block->pins_count++ == 0) {
        lru_remove(cache, block);
        cache->counted.pinned_count++;
    }
    if (block->used)
        block->is_protected = true;
    block->used = true;
}

/* ---- Reading ---- */

static void read_done(struct io_op *op);
static void source_close_if_idle(struct cache_source *source);

static void read_start(struct cache *cache, struct cache_read *read)
{
    struct cache_block *block = read->block;
    cache->reads_active++;
    io_read(cache->io, &read->op, block->source->file, read->buffer, block->place.size,
            block->place.offset);
}

static void reads_start_queued(struct cache *cache)
{
    while (cache->reads_active < cache_reads_max && !list_is_empty(&cache->queue))
        read_start(cache, LIST_ENTRY(list_pop_first(&cache->queue), struct cache_read, queued));
}

static enum status note_damage(struct cache_source *source, const struct cache_place *place)
{
    struct cache *cache = source->cache;
    cache->is_damaged = true;
    cache->damage_offset = place->offset;
    snprintf(cache->damage_path, sizeof cache->damage_path, "%s",
             source->path != NULL ? source->path : "");
    return STATUS_CORRUPT;
}

/* CORRUPT where the file was shorter, or the bytes do not hold. */
static enum status decode(struct cache_source *source, const struct cache_place *place,
                          uint8_t *sealed, size_t sealed_size, uint8_t **data, size_t *size)
{
    enum status status = STATUS_CORRUPT;
    if (sealed_size == place->size)
        status = source->decode(source, place, sealed, data, size);
    return status == STATUS_CORRUPT ? note_damage(source, place) : status;
}

/* Gives the block what was read, or says why not. */
static enum status take(struct cache_block *block, struct cache_read *read)
{
    struct cache *cache = block->source->cache;
    if (read->op.status != STATUS_OK)
        return STATUS_IO_ERROR;
    uint8_t *data;
    size_t size;
    enum status status =
        decode(block->source, &block->place, read->buffer, read->op.size, &data, &size);
    if (status != STATUS_OK)
        return status;
    cache->size -= block->charge;
    size_t charge = sizeof *block + size;
    if (!make_room(cache, charge)) {
        cache->size += block->charge;
        free(data);
        return STATUS_NO_MEMORY;
    }
    block->charge = charge;
    cache->size += charge;
    block->data = data;
    block->data_size = size;
    return STATUS_OK;
}

static void read_done(struct io_op *op)
{
    struct cache_read *read = LIST_ENTRY(op, struct cache_read, op);
    struct cache_block *block = read->block;
    struct cache_source *source = block->source;
    struct cache *cache = source->cache;
    struct list_link waiters;
    unsigned waiters_count = 0;
    cache->reads_active--;
    cache->counted.reads_count--;
    list_init(&waiters);
    for (struct list_link *link; (link = list_pop_first(&block->waiters)) != NULL;) {
        list_push_last(&waiters, link);
        waiters_count++;
    }
    enum status status = source->closing ? STATUS_IO_ERROR : take(block, read);
    free(read);
    if (status == STATUS_OK) {
        block->state = BLOCK_READY;
        lru_insert(cache, block);
    } else if (waiters_count == 0 || source->closing) {
        block_free(block);
    } else {
        cache->size -= block->charge - sizeof *block;
        block->charge = sizeof *block;
        block->state = BLOCK_FAILED;
        block->status = status;
        block->reports_count = waiters_count;
        lru_insert(cache, block);
    }
    source->reads_count--;
    source_close_if_idle(source);
    reads_start_queued(cache);
    tell(&waiters);
}

static enum status scratch_reserve(struct cache *cache, size_t size)
{
    if (size <= cache->scratch_size)
        return STATUS_OK;
    uint8_t *grown = realloc(cache->scratch, size);
    if (grown == NULL)
        return STATUS_NO_MEMORY;
    cache->scratch = grown;
    cache->scratch_size = size;
    return STATUS_OK;
}

/* AGAIN where the page cache has not all of it. */
static enum status get_now(struct cache_source *source, const struct cache_place *place,
                           struct cache_block **block)
{
    struct cache *cache = source->cache;
    enum status status = scratch_reserve(cache, place->size);
    if (status != STATUS_OK)
        return status;
    size_t read_size;
    status = io_read_now(cache->io, source->file, cache->scratch, place->size, place->offset,
                         &read_size);
    if (status != STATUS_OK)
        return status == STATUS_AGAIN ? status : STATUS_IO_ERROR;
    uint8_t *data;
    size_t size;
    status = decode(source, place, cache->scratch, read_size, &data, &size);
    if (status != STATUS_OK)
        return status;
    struct cache_block *made = block_make(source, place, size);
    if (made == NULL) {
        free(data);
        return STATUS_NO_MEMORY;
    }
    made->state = BLOCK_READY;
    made->data = data;
    made->data_size = size;
    pin_ready(cache, made);
    *block = made;
    return STATUS_OK;
}

static enum status get_later(struct cache_source *source, const struct cache_place *place,
                             struct lsm_wait *wait)
{
    struct cache *cache = source->cache;
    struct cache_read *read = malloc(sizeof *read + place->size);
    if (read == NULL)
        return STATUS_NO_MEMORY;
    struct cache_block *block = block_make(source, place, sizeof *read + place->size);
    if (block == NULL) {
        free(read);
        return STATUS_NO_MEMORY;
    }
    block->state = BLOCK_READING;
    read->op = (struct io_op){.done = read_done};
    read->block = block;
    list_init(&read->queued);
    source->reads_count++;
    cache->counted.reads_count++;
    if (cache->reads_active < cache_reads_max)
        read_start(cache, read);
    else
        list_push_last(&cache->queue, &read->queued);
    return wait_for(block, wait);
}

static enum status report(struct cache_block *block)
{
    enum status status = block->status;
    if (--block->reports_count == 0)
        block_free(block);
    return status;
}

enum status cache_get(struct cache_source *source, const struct cache_place *place,
                      struct lsm_wait *wait, struct cache_block **block)
{
    *block = NULL;
    struct cache *cache = source->cache;
    ASSERT(!source->closing);
    struct cache_block *known = find(source, place->number);
    if (known == NULL) {
        cache->counted.misses_count++;
        enum status status = get_now(source, place, block);
        return status == STATUS_AGAIN ? get_later(source, place, wait) : status;
    }
    switch ((enum block_state)known->state) {
    case BLOCK_READING:
        return wait_for(known, wait);
    case BLOCK_FAILED:
        return report(known);
    case BLOCK_READY:
        /* A place that names a known number as something else was never written by us. */
        if (known->place.type != place->type)
            return note_damage(source, place);
        cache->counted.hits_count++;
        pin_ready(cache, known);
        *block = known;
        return STATUS_OK;
    }
    UNREACHABLE();
}

/* ---- Sources ---- */

void cache_source_open(struct cache *cache, struct cache_source *source)
{
    list_init(&source->blocks);
    source->reads_count = 0;
    source->closing = false;
    source->cache = cache;
    cache->sources_open++;
}

static void source_closed(struct io_op *op)
{
    /* Nothing was written through it: a close that reports an error loses nothing. */
    struct cache_source *source = LIST_ENTRY(op, struct cache_source, close_op);
    source->cache->sources_closing--;
    source->closed(source);
}

static void source_close_if_idle(struct cache_source *source)
{
    if (!source->closing || source->reads_count != 0)
        return;
    ASSERT(list_is_empty(&source->blocks));
    source->close_op = (struct io_op){.done = source_closed};
    io_close(source->cache->io, &source->close_op, source->file);
}

void cache_source_close(struct cache_source *source)
{
    ASSERT(!source->closing);
    LIST_EACH(link, &source->blocks)
    {
        struct cache_block *block = LIST_ENTRY(link, struct cache_block, of_source);
        if (block->state != BLOCK_READING)
            block_free(block);
    }
    source->closing = true;
    source->cache->sources_open--;
    source->cache->sources_closing++;
    source_close_if_idle(source);
}

/* ---- The cache ---- */

enum status cache_create(struct io *io, size_t size, struct cache **cache)
{
    *cache = NULL;
    struct cache *made = calloc(1, sizeof *made);
    if (made == NULL)
        return STATUS_NO_MEMORY;
    made->io = io;
    made->size_max = size < cache_size_min ? cache_size_min : size;
    size_t buckets_count = 1024;
    while (buckets_count < made->size_max / 4096)
        buckets_count *= 2;
    made->buckets_mask = buckets_count - 1;
    made->buckets = calloc(buckets_count, sizeof *made->buckets);
    if (made->buckets == NULL) {
        free(made);
        return STATUS_NO_MEMORY;
    }
    list_init(&made->probation);
    list_init(&made->protected);
    list_init(&made->queue);
    *cache = made;
    return STATUS_OK;
}

void cache_free(struct cache *cache)
{
    if (cache == NULL)
        return;
    ASSERT(cache->sources_open == 0);
    while (cache->sources_closing != 0)
        io_turn(cache->io, true);
    ASSERT(cache->size == 0 && cache->counted.blocks_count == 0);
    free(cache->scratch);
    free(cache->buckets);
    free(cache);
}

bool cache_damage(const struct cache *cache, const char **path, uint64_t *offset)
{
    *path = cache->damage_path;
    *offset = cache->damage_offset;
    return cache->is_damaged;
}

struct cache_statistics cache_statistics(const struct cache *cache)
{
    struct cache_statistics statistics = cache->counted;
    statistics.size = cache->size;
    statistics.size_max = cache->size_max;
    return statistics;
}
