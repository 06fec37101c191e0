/* SPDX-License-Identifier: Apache-2.0 */
/* The body of an index block: where blocks stand, and what they hold. A partition's index has an
 * entry for each of its data blocks; the top one has an entry for each partition, which leads to
 * that partition's index block and, right before it, its filter.
 *
 *     body   = u32 entries, u32 size of keys, record {record}, keys
 *     record = u64 offset, u64 number, u64 separator version, u64 smallest version,
 *              u64 largest version, u32 size, u32 end of its key in keys, u32 filter size,
 *              u32 entries in the block (top: blocks in the partition)                  (56)
 *
 * A separator, (key, version) in the order of entry.h, is at or after the last entry of its block,
 * and before the first of the next. Where the two keys differ it is a shortest key between them
 * with version UINT64_MAX. In a partition's index the filter size is 0. */
#ifndef STORAGE_LSM_TABLE_INDEX_H
#define STORAGE_LSM_TABLE_INDEX_H

#include "proto/base/bytes.h"
#include "proto/base/status.h"
#include "storage/lsm/cache.h"

enum { table_index_head_size = 8, table_index_record_size = 56 };

struct table_index_entry {
    struct cache_place place; /* the type is not set */
    struct bytes separator;
    uint64_t separator_version;
    uint64_t version_min;
    uint64_t version_max;
    uint32_t filter_size;
    uint32_t entries_count;
};

/* CORRUPT unless all is as described, in order, within the file, and each block follows on the
 * last. */
MUST_CHECK enum status table_index_check(struct bytes body, bool is_top, uint64_t file_size);

/* Of a good body. */
uint32_t table_index_count(struct bytes body);
void table_index_get(struct bytes body, uint32_t ordinal, struct table_index_entry *entry);

/* The first entry whose separator is at or after (key, version); the count where there is none. */
uint32_t table_index_find(struct bytes body, struct bytes key, uint64_t version);

/* ---- Making ---- */

struct table_index_builder {
    uint8_t *records; /* malloc */
    uint8_t *keys;    /* malloc */
    uint32_t count;
    size_t records_capacity;
    size_t keys_size;
    size_t keys_capacity;
    uint8_t *body; /* malloc: the last finished */
};

void table_index_builder_init(struct table_index_builder *builder);
void table_index_builder_free(struct table_index_builder *builder);
MUST_CHECK enum status table_index_builder_add(struct table_index_builder *builder,
                                               const struct table_index_entry *entry);
/* The body, valid until the next finish; the builder is empty again. */
MUST_CHECK enum status table_index_builder_finish(struct table_index_builder *builder,
                                                  struct bytes *body);

#endif
