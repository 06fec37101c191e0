/* SPDX-License-Identifier: Apache-2.0 */
#include "client/writes.h"

#include <stdlib.h>

#include "proto/base/hash.h"
#include "proto/message.h"
#include "proto/number.h"

static size_t place_of(const struct writes *writes, const char *table, struct bytes key)
{
    uint64_t seed = hash64(bytes_of_text(table));
    return (size_t)hash64_seeded(key, seed) & (writes->slots_count - 1);
}

static struct write **slot_of(const struct writes *writes, const char *table, struct bytes key)
{
    size_t place = place_of(writes, table, key);
    for (;; place = (place + 1) & (writes->slots_count - 1)) {
        struct write *write = writes->slots[place];
        if (write == NULL || (bytes_equal(write->key, key) && strcmp(write->table, table) == 0))
            return &writes->slots[place];
    }
}

struct write *writes_find(const struct writes *writes, const char *table, struct bytes key)
{
    return writes->count == 0 ? NULL : *slot_of(writes, table, key);
}

static bool grow(struct writes *writes)
{
    struct writes grown = {.slots_count = writes->slots_count == 0 ? 16 : writes->slots_count * 2,
                           .count = writes->count};
    grown.slots = calloc(grown.slots_count, sizeof(struct write *));
    if (grown.slots == NULL)
        return false;
    for (size_t i = 0; i < writes->slots_count; i++) {
        struct write *write = writes->slots[i];
        if (write != NULL)
            *slot_of(&grown, write->table, write->key) = write;
    }
    free(writes->slots);
    *writes = grown;
    return true;
}

/* The record's entry, made where there was none; NULL where memory ran out. */
static struct write *entry_of(struct writes *writes, struct arena *arena, const char *table,
                              struct bytes key)
{
    if (writes->count * 2 >= writes->slots_count && !grow(writes))
        return NULL;
    struct write **slot = slot_of(writes, table, key);
    if (*slot == NULL) {
        struct write *write = arena_alloc_zeroed(arena, 1, sizeof *write);
        if (write == NULL)
            return NULL;
        *write = (struct write){.table = table, .key = key, .adds_end = &write->adds};
        *slot = write;
        writes->count++;
    }
    return *slot;
}

static bool replace(struct writes *writes, struct arena *arena, const char *table, struct bytes key,
                    const Strait__Put *put)
{
    struct write *write = entry_of(writes, arena, table, key);
    if (write == NULL)
        return false;
    write->replaces = true;
    write->put = put;
    write->adds = NULL;
    write->adds_end = &write->adds;
    return true;
}

bool writes_put(struct writes *writes, struct arena *arena, const Strait__Put *put)
{
    return replace(writes, arena, put->table, bytes_of_field(put->key), put);
}

bool writes_delete(struct writes *writes, struct arena *arena, const Strait__Delete *delete)
{
    return replace(writes, arena, delete->table, bytes_of_field(delete->key), NULL);
}

bool writes_add(struct writes *writes, struct arena *arena, const Strait__Add *add)
{
    struct write *write = entry_of(writes, arena, add->table, bytes_of_field(add->key));
    struct write_add *link = write == NULL ? NULL : arena_alloc_zeroed(arena, 1, sizeof *link);
    if (link == NULL)
        return false;
    link->add = add;
    *write->adds_end = link;
    write->adds_end = &link->next;
    return true;
}

void writes_free(struct writes *writes)
{
    free(writes->slots);
    *writes = (struct writes){0};
}

static enum status show_put(const Strait__Put *put, struct arena *arena,
                            struct strait_record *record)
{
    record->found = true;
    record->value = strait_bytes(put->value.data, put->value.len);
    if (put->n_indexes == 0)
        return STATUS_OK;
    struct strait_index_entry *indexes = arena_alloc_zeroed(arena, put->n_indexes, sizeof *indexes);
    if (indexes == NULL)
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < put->n_indexes; i++) {
        indexes[i].index = put->indexes[i]->index;
        indexes[i].key = strait_bytes(put->indexes[i]->key.data, put->indexes[i]->key.len);
    }
    record->indexes = indexes;
    record->indexes_count = put->n_indexes;
    return STATUS_OK;
}

/* Does one add, as the server will. */
static enum status show_add(const Strait__Add *add, int64_t *number, bool *found)
{
    if (!*found && add->must_exist)
        return STATUS_NOT_FOUND;
    if (!*found)
        *number = add->initial;
    *found = true;
    if (__builtin_add_overflow(*number, add->amount, number) ||
        (add->has_minimum && *number < add->minimum) ||
        (add->has_maximum && *number > add->maximum))
        return STATUS_OUT_OF_BOUNDS;
    return STATUS_OK;
}

static enum status show_adds(const struct write *write, struct arena *arena,
                             struct strait_record *record)
{
    char text[number_text_size];
    int64_t number = 0;
    enum status status = STATUS_OK;

    if (record->found)
        status = number_parse(bytes_of(record->value.data, record->value.size), &number);
    for (const struct write_add *link = write->adds; status == STATUS_OK && link != NULL;
         link = link->next)
        status = show_add(link->add, &number, &record->found);
    if (status != STATUS_OK)
        return status;
    struct bytes copy;
    size_t size = number_format(number, text);
    if (!arena_copy(arena, bytes_of(text, size), &copy))
        return STATUS_NO_MEMORY;
    record->value = strait_bytes(copy.data, copy.size);
    record->version = 0;
    return STATUS_OK;
}

enum status writes_apply(const struct write *write, const struct strait_record *base,
                         struct arena *arena, struct strait_record *record)
{
    enum status status = STATUS_OK;

    *record = (struct strait_record){.key = strait_bytes(write->key.data, write->key.size)};
    if (!write->replaces && base != NULL)
        *record = *base;
    else if (write->replaces && write->put != NULL)
        status = show_put(write->put, arena, record);
    if (status == STATUS_OK && write->adds != NULL)
        status = show_adds(write, arena, record);
    return status;
}
