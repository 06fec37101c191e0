/* SPDX-License-Identifier: Apache-2.0 */
/* What table.c, the cursor, the scanner and the check share of a table. */
#ifndef STORAGE_LSM_TABLE_INTERNAL_H
#define STORAGE_LSM_TABLE_INTERNAL_H

#include "storage/lsm/table.h"
#include "storage/lsm/table_format.h"
#include "storage/lsm/table_index.h"

struct table {
    struct cache_source source; /* its file is the table's */
    const struct lsm_tree_options *tree;
    unsigned references_count;
    bool attached;
    struct sealer *sealer; /* the core's */
    struct table_block_limits limits;
    struct table_info info;
    uint8_t *top; /* malloc: the body of the top-level index */
    size_t top_size;
    uint8_t header[table_header_size];
    char path[table_path_size];
};

static inline struct bytes table_top(const struct table *table)
{
    return bytes_of(table->top, table->top_size);
}

/* Where the filter of a partition stands, by its entry in the top. */
static inline struct cache_place table_filter_place(const struct table_index_entry *partition)
{
    return (struct cache_place){.number = partition->place.number - 1,
                                .offset = partition->place.offset - partition->filter_size,
                                .size = partition->filter_size,
                                .type = TABLE_BLOCK_FILTER};
}

/* Where its first data block stands, and the number of that: data blocks stand between the index
 * before, or the header, and the filter. */
static inline bool table_partition_is_good(const struct table *table, uint32_t partition,
                                           struct bytes index)
{
    struct table_index_entry top;
    struct table_index_entry first;
    struct table_index_entry last;
    table_index_get(table_top(table), partition, &top);
    uint32_t count = table_index_count(index);
    table_index_get(index, 0, &first);
    table_index_get(index, count - 1, &last);
    uint64_t start = table_header_size;
    if (partition != 0) {
        struct table_index_entry before;
        table_index_get(table_top(table), partition - 1, &before);
        start = before.place.offset + before.place.size;
    }
    return count == top.entries_count && first.place.offset == start &&
           first.place.number == top.place.number - 1 - count &&
           last.place.offset + last.place.size == top.place.offset - top.filter_size &&
           last.separator_version == top.separator_version &&
           bytes_equal(last.separator, top.separator);
}

/* Pins the index of a partition: CORRUPT also where it does not agree with the top. */
MUST_CHECK enum status table_index_pin(struct table *table, uint32_t partition,
                                       struct lsm_wait *wait, struct cache_block **index);

#endif
