/* SPDX-License-Identifier: Apache-2.0 */
/* A hash table of buckets of eight. It doubles when a bucket is full, up to a fixed size; from
 * there a full bucket forgets its oldest entry. So memory is bounded, and what is sealed twice by
 * mistake (after a crash, in a second life of a file) is near enough in time to be caught. */
#include "storage/seal/oracle.h"

#if defined(STRAIT_FAULTS)

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/hash.h"
#include "proto/base/log.h"
#include "storage/seal/seal.h"

enum {
    bucket_entries = 8,
    buckets_count_first = 1 << 10,
    buckets_count_max = 1 << 18, /* two million entries: 50 MiB */
};

struct entry {
    struct hash128 pair; /* of key and nonce */
    uint64_t content;    /* of additional data and plain bytes */
};

struct bucket {
    uint32_t used;
    uint32_t oldest;
    struct entry entries[bucket_entries];
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool started;
static struct bucket *buckets;
static size_t buckets_count; /* a power of two */
static uint64_t seen_count;

/* False where the bucket is full. */
static bool bucket_add(struct bucket *table, size_t count, const struct entry *entry)
{
    struct bucket *bucket = &table[entry->pair.low & (count - 1)];
    if (bucket->used == bucket_entries)
        return false;
    bucket->entries[bucket->used++] = *entry;
    return true;
}

static bool table_copy(struct bucket *to, size_t to_count)
{
    for (size_t i = 0; i < buckets_count; i++)
        for (uint32_t k = 0; k < buckets[i].used; k++)
            if (!bucket_add(to, to_count, &buckets[i].entries[k]))
                return false;
    return true;
}

/* False where the table may grow no further. */
static bool table_grow(void)
{
    for (size_t count = buckets_count * 2; count <= buckets_count_max; count *= 2) {
        struct bucket *grown = calloc(count, sizeof *grown);
        ASSERT(grown != NULL);
        if (table_copy(grown, count)) {
            free(buckets);
            buckets = grown;
            buckets_count = count;
            return true;
        }
        free(grown);
    }
    return false;
}

static void table_add(const struct entry *entry)
{
    while (!bucket_add(buckets, buckets_count, entry)) {
        if (table_grow())
            continue;
        struct bucket *bucket = &buckets[entry->pair.low & (buckets_count - 1)];
        bucket->entries[bucket->oldest] = *entry;
        bucket->oldest = (bucket->oldest + 1) % bucket_entries;
        return;
    }
}

static const struct entry *table_find(struct hash128 pair)
{
    const struct bucket *bucket = &buckets[pair.low & (buckets_count - 1)];
    for (uint32_t k = 0; k < bucket->used; k++) {
        const struct entry *entry = &bucket->entries[k];
        if (entry->pair.low == pair.low && entry->pair.high == pair.high)
            return entry;
    }
    return NULL;
}

void oracle_observe(uint64_t key, struct bytes nonce, struct bytes first, struct bytes second,
                    struct bytes plain)
{
    if (!atomic_load(&started))
        return;
    uint8_t pair[8 + 16];
    uint64_t content[3] = {hash64(first), hash64(second), hash64(plain)};
    ASSERT(nonce.size <= sizeof pair - 8);
    store_u64(pair, key);
    bytes_copy(pair + 8, nonce);
    struct entry entry = {.pair = hash128(bytes_of(pair, 8 + nonce.size)),
                          .content = hash64(bytes_of(content, sizeof content))};
    pthread_mutex_lock(&mutex);
    seen_count++;
    const struct entry *before = table_find(entry.pair);
    if (before == NULL) {
        table_add(&entry);
    } else if (before->content != entry.content) {
        log_error("nonce_used_twice", LOG_HEX("nonce", nonce), LOG_U64("size", plain.size));
        abort();
    }
    pthread_mutex_unlock(&mutex);
}

void seal_oracle_start(void)
{
    pthread_mutex_lock(&mutex);
    if (buckets == NULL) {
        buckets = calloc(buckets_count_first, sizeof *buckets);
        ASSERT(buckets != NULL);
        buckets_count = buckets_count_first;
    }
    atomic_store(&started, true);
    pthread_mutex_unlock(&mutex);
}

uint64_t seal_oracle_count(void)
{
    pthread_mutex_lock(&mutex);
    uint64_t count = seen_count;
    pthread_mutex_unlock(&mutex);
    return count;
}

#endif
