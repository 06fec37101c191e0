/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/lsm/table_index.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "storage/lsm/entry.h"
#include "storage/lsm/table_format.h"

uint32_t table_index_count(struct bytes body)
{
    return load_u32(body.data);
}

static const uint8_t *record_at(struct bytes body, uint32_t ordinal)
{
    return body.data + table_index_head_size + (size_t)ordinal * table_index_record_size;
}

static struct bytes key_at(struct bytes body, uint32_t ordinal)
{
    uint32_t start = ordinal == 0 ? 0 : load_u32(record_at(body, ordinal - 1) + 44);
    uint32_t end = load_u32(record_at(body, ordinal) + 44);
    return bytes_of(record_at(body, table_index_count(body)) + start, end - start);
}

void table_index_get(struct bytes body, uint32_t ordinal, struct table_index_entry *entry)
{
    ASSERT(ordinal < table_index_count(body));
    const uint8_t *record = record_at(body, ordinal);
    *entry = (struct table_index_entry){
        .place = {.offset = load_u64(record),
                  .number = load_u64(record + 8),
                  .size = load_u32(record + 40)},
        .separator = key_at(body, ordinal),
        .separator_version = load_u64(record + 16),
        .version_min = load_u64(record + 24),
        .version_max = load_u64(record + 32),
        .filter_size = load_u32(record + 48),
        .entries_count = load_u32(record + 52),
    };
}

uint32_t table_index_find(struct bytes body, struct bytes key, uint64_t version)
{
    uint32_t low = 0;
    uint32_t high = table_index_count(body);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (lsm_entry_order(key_at(body, middle), load_u64(record_at(body, middle) + 16), key,
                            version) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- Checking ---- */

/* The keys' ends rise, by no more than a key's size, to the end of the keys. */
static bool keys_are_good(struct bytes body, uint32_t count, uint32_t keys_size)
{
    uint32_t start = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t end = load_u32(record_at(body, i) + 44);
        if (end < start || end - start > lsm_key_size_max || end > keys_size)
            return false;
        start = end;
    }
    return start == keys_size;
}

static bool entry_is_good(const struct table_index_entry *entry, bool is_top, uint64_t file_size)
{
    const struct cache_place *place = &entry->place;
    uint32_t size_max = (uint32_t)table_body_size_max + table_block_overhead;
    bool good = place->number >= table_block_number_first && place->size > table_block_overhead &&
                place->size <= size_max && place->offset >= table_header_size &&
                place->offset < file_size && place->size < file_size - place->offset &&
                entry->version_min <= entry->version_max &&
                entry->version_max <= lsm_entry_version_max && entry->entries_count != 0;
    if (!is_top)
        return good && entry->filter_size == 0;
    return good && entry->entries_count <= table_partition_blocks_max &&
           place->number > table_block_number_first + 1 &&
           entry->filter_size > table_block_overhead && entry->filter_size <= size_max &&
           entry->filter_size < place->offset - table_header_size;
}

/* Data blocks stand one right after the other; of partitions, at least the filter and the blocks
 * stand in between. */
static bool follows(const struct table_index_entry *before, const struct table_index_entry *entry,
                    bool is_top)
{
    if (lsm_entry_order(before->separator, before->separator_version, entry->separator,
                        entry->separator_version) >= 0)
        return false;
    uint64_t end = before->place.offset + before->place.size;
    if (!is_top)
        return entry->place.offset == end && entry->place.number == before->place.number + 1;
    return entry->place.offset > end && entry->place.offset - end > entry->filter_size &&
           entry->place.number == before->place.number + entry->entries_count + 2;
}

enum status table_index_check(struct bytes body, bool is_top, uint64_t file_size)
{
    if (body.size < table_index_head_size)
        return STATUS_CORRUPT;
    uint32_t count = load_u32(body.data);
    uint32_t keys_size = load_u32(body.data + 4);
    if (count == 0 ||
        count > (is_top ? (uint32_t)table_partitions_max : (uint32_t)table_partition_blocks_max) ||
        body.size !=
            table_index_head_size + (uint64_t)count * table_index_record_size + keys_size ||
        !keys_are_good(body, count, keys_size))
        return STATUS_CORRUPT;
    struct table_index_entry before = {0};
    for (uint32_t i = 0; i < count; i++) {
        struct table_index_entry entry;
        table_index_get(body, i, &entry);
        if (!entry_is_good(&entry, is_top, file_size) ||
            (i != 0 && !follows(&before, &entry, is_top)))
            return STATUS_CORRUPT;
        before = entry;
    }
    return STATUS_OK;
}

/* ---- Making ---- */

void table_index_builder_init(struct table_index_builder *builder)
{
    *builder = (struct table_index_builder){0};
}

void table_index_builder_free(struct table_index_builder *builder)
{
    free(builder->records);
    free(builder->keys);
    free(builder->body);
    *builder = (struct table_index_builder){0};
}

static enum status grow(uint8_t **array, size_t *capacity, size_t wanted)
{
    if (wanted <= *capacity)
        return STATUS_OK;
    size_t more = *capacity < 2048 ? 4096 : 2 * *capacity;
    if (more < wanted)
        more = wanted;
    uint8_t *grown = realloc(*array, more);
    if (grown == NULL)
        return STATUS_NO_MEMORY;
    *array = grown;
    *capacity = more;
    return STATUS_OK;
}

enum status table_index_builder_add(struct table_index_builder *builder,
                                    const struct table_index_entry *entry)
{
    size_t records_size = (size_t)builder->count * table_index_record_size;
    enum status status =
        grow(&builder->records, &builder->records_capacity, records_size + table_index_record_size);
    if (status == STATUS_OK)
        status = grow(&builder->keys, &builder->keys_capacity,
                      builder->keys_size + entry->separator.size);
    if (status != STATUS_OK)
        return status;
    bytes_copy(builder->keys + builder->keys_size, entry->separator);
    builder->keys_size += entry->separator.size;
    uint8_t *record = builder->records + records_size;
    store_u64(record, entry->place.offset);
    store_u64(record + 8, entry->place.number);
    store_u64(record + 16, entry->separator_version);
    store_u64(record + 24, entry->version_min);
    store_u64(record + 32, entry->version_max);
    store_u32(record + 40, entry->place.size);
    store_u32(record + 44, (uint32_t)builder->keys_size);
    store_u32(record + 48, entry->filter_size);
    store_u32(record + 52, entry->entries_count);
    builder->count++;
    return STATUS_OK;
}

enum status table_index_builder_finish(struct table_index_builder *builder, struct bytes *body)
{
    *body = bytes_of(NULL, 0);
    ASSERT(builder->count != 0);
    size_t records_size = (size_t)builder->count * table_index_record_size;
    size_t size = table_index_head_size + records_size + builder->keys_size;
    uint8_t *made = realloc(builder->body, size);
    if (made == NULL)
        return STATUS_NO_MEMORY;
    builder->body = made;
    store_u32(made, builder->count);
    store_u32(made + 4, (uint32_t)builder->keys_size);
    memcpy(made + table_index_head_size, builder->records, records_size);
    bytes_copy(made + table_index_head_size + records_size,
               bytes_of(builder->keys, builder->keys_size));
    builder->count = 0;
    builder->keys_size = 0;
    *body = bytes_of(made, size);
    return STATUS_OK;
}
