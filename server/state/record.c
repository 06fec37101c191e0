/* SPDX-License-Identifier: Apache-2.0 */
#include "server/state/record.h"

#include "proto/base/assert.h"
#include "proto/limits.h"

enum {
    record_format = 1,
    record_flag_expires = 1,
    record_header_size = 3,
    record_index_header_size = 6,
};

static bool index_take(struct bytes *from, struct record_index *entry)
{
    if (from->size < record_index_header_size)
        return false;
    entry->index_id = load_u32(from->data);
    size_t size = load_u16(from->data + 4);
    if (size > from->size - record_index_header_size)
        return false;
    entry->key = bytes_of(from->data + record_index_header_size, size);
    from->data += record_index_header_size + size;
    from->size -= record_index_header_size + size;
    return true;
}

enum status record_decode(struct bytes from, struct record *record)
{
    *record = (struct record){0};
    if (from.size < record_header_size)
        return STATUS_CORRUPT;
    if (from.data[0] != record_format)
        return from.data[0] > record_format ? STATUS_NEWER_FORMAT : STATUS_CORRUPT;
    if ((from.data[1] & ~record_flag_expires) != 0 || from.data[2] > limit_record_indexes_count)
        return STATUS_CORRUPT;
    struct record decoded = {.indexes_count = from.data[2]};
    struct bytes rest = bytes_of(from.data + record_header_size, from.size - record_header_size);
    if (from.data[1] != 0) {
        if (rest.size < 8)
            return STATUS_CORRUPT;
        decoded.expires_at_ms = load_u64(rest.data);
        if (decoded.expires_at_ms == 0)
            return STATUS_CORRUPT;
        rest = bytes_of(rest.data + 8, rest.size - 8);
    }
    const uint8_t *begin = rest.data;
    struct record_index previous = {0};
    for (unsigned i = 0; i < decoded.indexes_count; i++) {
        struct record_index entry;
        if (!index_take(&rest, &entry) || entry.key.size > limit_index_key_size ||
            (i != 0 && record_index_compare(&previous, &entry) >= 0))
            return STATUS_CORRUPT;
        previous = entry;
    }
    decoded.indexes = bytes_of(begin, (size_t)(rest.data - begin));
    decoded.value = rest;
    *record = decoded;
    return STATUS_OK;
}

size_t record_size(const struct record *record)
{
    return record_header_size + (record->expires_at_ms != 0 ? 8u : 0u) + record->indexes.size +
           record->value.size;
}

void record_encode(const struct record *record, uint8_t *to)
{
    ASSERT(record->indexes_count <= limit_record_indexes_count);
    *to++ = record_format;
    *to++ = record->expires_at_ms != 0 ? record_flag_expires : 0;
    *to++ = (uint8_t)record->indexes_count;
    if (record->expires_at_ms != 0) {
        store_u64(to, record->expires_at_ms);
        to += 8;
    }
    bytes_copy(to, record->indexes);
    bytes_copy(to + record->indexes.size, record->value);
}

bool record_index_next(struct bytes *indexes, struct record_index *entry)
{
    *entry = (struct record_index){0};
    if (indexes->size == 0)
        return false;
    bool taken = index_take(indexes, entry);
    ASSERT(taken);
    return true;
}

int record_index_compare(const struct record_index *a, const struct record_index *b)
{
    if (a->index_id != b->index_id)
        return a->index_id < b->index_id ? -1 : 1;
    return bytes_compare(a->key, b->key);
}

void record_indexes_sort(struct record_index *entries, size_t *count)
{
    /* Insertion: a record has at most limit_record_indexes_count. */
    for (size_t i = 1; i < *count; i++) {
        struct record_index moved = entries[i];
        size_t place = i;
        for (; place > 0 && record_index_compare(&entries[place - 1], &moved) > 0; place--)
            entries[place] = entries[place - 1];
        entries[place] = moved;
    }
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        if (kept == 0 || record_index_compare(&entries[kept - 1], &entries[i]) != 0)
            entries[kept++] = entries[i];
    }
    *count = kept;
}

size_t record_indexes_size(const struct record_index *entries, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += record_index_header_size + entries[i].key.size;
    return size;
}

void record_indexes_encode(const struct record_index *entries, size_t count, uint8_t *to)
{
    ASSERT(count <= limit_record_indexes_count);
    for (size_t i = 0; i < count; i++) {
        ASSERT(entries[i].key.size <= limit_index_key_size);
        ASSERT(i == 0 || record_index_compare(&entries[i - 1], &entries[i]) < 0);
        store_u32(to, entries[i].index_id);
        store_u16(to + 4, (uint16_t)entries[i].key.size);
        bytes_copy(to + record_index_header_size, entries[i].key);
        to += record_index_header_size + entries[i].key.size;
    }
}

void record_indexes_compare(struct bytes before, struct bytes after,
                            void (*each)(void *context, const struct record_index *entry,
                                         bool added),
                            void *context)
{
    struct record_index old;
    struct record_index new;
    bool has_old = record_index_next(&before, &old);
    bool has_new = record_index_next(&after, &new);
    while (has_old || has_new) {
        int order = !has_old ? 1 : !has_new ? -1 : record_index_compare(&old, &new);
        if (order < 0)
            each(context, &old, false);
        if (order > 0)
            each(context, &new, true);
        if (order <= 0)
            has_old = record_index_next(&before, &old);
        if (order >= 0)
            has_new = record_index_next(&after, &new);
    }
}
