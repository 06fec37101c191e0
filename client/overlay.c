/* SPDX-License-Identifier: Apache-2.0 */
#include "client/overlay.h"

#include <stdlib.h>

#include "proto/message.h"

static bool is_within(struct bytes key, const struct strait_range *range)
{
    return bytes_compare(key, bytes_of(range->start.data, range->start.size)) >= 0 &&
           (range->end.size == 0 ||
            bytes_compare(key, bytes_of(range->end.data, range->end.size)) < 0);
}

static bool push(struct overlay *overlay, size_t *capacity, struct overlay_entry entry)
{
    if (overlay->count == *capacity) {
        size_t grown = *capacity == 0 ? 16 : *capacity * 2;
        struct overlay_entry *entries = realloc(overlay->entries, grown * sizeof *entries);
        if (entries == NULL)
            return false;
        overlay->entries = entries;
        *capacity = grown;
    }
    overlay->entries[overlay->count++] = entry;
    return true;
}

static bool push_index_entries(struct overlay *overlay, size_t *capacity, const struct write *write,
                               const struct strait_range *range)
{
    if (!write->replaces || write->put == NULL)
        return true;
    for (size_t i = 0; i < write->put->n_indexes; i++) {
        const Strait__IndexEntry *index = write->put->indexes[i];
        struct bytes key = bytes_of_field(index->key);
        if (strcmp(index->index, range->index) == 0 && is_within(key, range) &&
            !push(overlay, capacity, (struct overlay_entry){.write = write, .index_key = key}))
            return false;
    }
    return true;
}

static int compare_entries(const void *left, const void *right)
{
    const struct overlay_entry *a = left;
    const struct overlay_entry *b = right;
    int order = bytes_compare(a->index_key, b->index_key);
    return order != 0 ? order : bytes_compare(a->write->key, b->write->key);
}

static int compare_entries_reverse(const void *left, const void *right)
{
    return compare_entries(right, left);
}

bool overlay_init(struct overlay *overlay, const struct writes *writes,
                  const struct strait_range *range, bool reverse)
{
    size_t capacity = 0;

    *overlay = (struct overlay){0};
    for (size_t i = 0; i < writes->slots_count; i++) {
        const struct write *write = writes->slots[i];
        bool done = true;
        if (write == NULL || strcmp(write->table, range->table) != 0)
            continue;
        if (range->index != NULL)
            done = push_index_entries(overlay, &capacity, write, range);
        else if (is_within(write->key, range))
            done = push(overlay, &capacity, (struct overlay_entry){.write = write});
        if (!done) {
            overlay_free(overlay);
            return false;
        }
    }
    if (overlay->count != 0)
        qsort(overlay->entries, overlay->count, sizeof overlay->entries[0],
              reverse ? compare_entries_reverse : compare_entries);
    return true;
}

void overlay_free(struct overlay *overlay)
{
    free(overlay->entries);
    *overlay = (struct overlay){0};
}
