/* SPDX-License-Identifier: Apache-2.0 */
#include "server/state/overlay.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/hash.h"
#include "proto/number.h"
#include "server/state/keys.h"
#include "server/state/state.h"

enum { overlay_slots_min = 64, overlay_writes_min = 16 };

void overlay_init(struct overlay *overlay, struct arena *arena)
{
    *overlay = (struct overlay){.arena = arena};
}

void overlay_drop(struct overlay *overlay)
{
    overlay_init(overlay, overlay->arena);
}

static void overlay_fail(struct overlay *overlay, enum status status)
{
    if (overlay->failure == STATUS_OK)
        overlay->failure = status;
}

void *overlay_alloc(struct overlay *overlay, size_t size)
{
    void *piece = arena_alloc(overlay->arena, size);
    if (piece == NULL) {
        /* The budget is the same on every replica; memory is not, so its lack is no outcome. */
        size_t left = overlay->arena->budget_size - overlay->arena->used_size;
        bool is_budget = size > left || left - size < 16;
        overlay_fail(overlay, is_budget ? STATUS_TOO_LARGE : STATUS_NO_MEMORY);
    }
    return piece;
}

bool overlay_copy(struct overlay *overlay, struct bytes from, struct bytes *copy)
{
    *copy = (struct bytes){0};
    uint8_t *piece = overlay_alloc(overlay, from.size);
    if (piece == NULL)
        return false;
    bytes_copy(piece, from);
    *copy = bytes_of(piece, from.size);
    return true;
}

/* ---- Cells ---- */

static struct overlay_cell **slot_find(struct overlay_cell **slots, size_t slots_count,
                                       uint64_t hash, uint16_t tree, struct bytes key)
{
    size_t at = hash & (slots_count - 1);
    while (slots[at] != NULL && (slots[at]->hash != hash || slots[at]->tree != tree ||
                                 !bytes_equal(slots[at]->key, key)))
        at = (at + 1) & (slots_count - 1);
    return &slots[at];
}

static bool slots_grow(struct overlay *overlay)
{
    if (overlay->cells_count < overlay->slots_count / 2)
        return true;
    size_t count = overlay->slots_count == 0 ? overlay_slots_min : 2 * overlay->slots_count;
    struct overlay_cell **slots = overlay_alloc(overlay, count * sizeof(struct overlay_cell *));
    if (slots == NULL)
        return false;
    memset(slots, 0, count * sizeof(struct overlay_cell *));
    for (struct overlay_cell *cell = overlay->first; cell != NULL; cell = cell->next)
        *slot_find(slots, count, cell->hash, cell->tree, cell->key) = cell;
    overlay->slots = slots;
    overlay->slots_count = count;
    return true;
}

struct overlay_cell *overlay_cell(struct overlay *overlay, uint16_t tree, struct bytes key)
{
    if (!slots_grow(overlay))
        return NULL;
    uint64_t hash = hash64_seeded(key, tree);
    struct overlay_cell **slot = slot_find(overlay->slots, overlay->slots_count, hash, tree, key);
    if (*slot != NULL)
        return *slot;
    struct overlay_cell *cell = overlay_alloc(overlay, sizeof *cell);
    if (cell == NULL)
        return NULL;
    *cell = (struct overlay_cell){.hash = hash, .tree = tree};
    if (!overlay_copy(overlay, key, &cell->key))
        return NULL;
    *slot = cell;
    overlay->cells_count++;
    if (overlay->last == NULL)
        overlay->first = cell;
    else
        overlay->last->next = cell;
    overlay->last = cell;
    return cell;
}

void overlay_want(struct overlay *overlay, struct overlay_cell *cell)
{
    if (cell->wanted || cell->gathered)
        return;
    cell->wanted = true;
    cell->next_wanted = overlay->wanted;
    overlay->wanted = cell;
}

struct overlay_comparison *overlay_compare(struct overlay *overlay, struct overlay_cell *cell,
                                           struct bytes expected)
{
    struct overlay_comparison *comparison = overlay_alloc(overlay, sizeof *comparison);
    if (comparison == NULL)
        return NULL;
    ASSERT(!cell->gathered);
    *comparison = (struct overlay_comparison){.next = cell->comparisons, .expected = expected};
    cell->comparisons = comparison;
    overlay_want(overlay, cell);
    return comparison;
}

/* ---- Gathering ---- */

static void known_record(struct overlay *overlay, struct overlay_cell *cell, struct bytes value)
{
    struct record record;
    enum status status = record_decode(value, &record);
    if (status != STATUS_OK) {
        overlay_fail(overlay, status);
        return;
    }
    for (struct overlay_comparison *c = cell->comparisons; c != NULL; c = c->next)
        c->equal = bytes_equal(c->expected, record.value);
    cell->before.expires_at_ms = record.expires_at_ms;
    cell->before.indexes_count = record.indexes_count;
    if (record.indexes.size != 0)
        (void)overlay_copy(overlay, record.indexes, &cell->before.indexes);
    if (cell->keep_value && record.value.size < number_text_size)
        (void)overlay_copy(overlay, record.value, &cell->before.value);
    else
        cell->value_missing = true;
}

void overlay_known(struct overlay *overlay, struct overlay_cell *cell, struct bytes value)
{
    ASSERT(!cell->gathered);
    cell->gathered = true;
    cell->found = true;
    cell->present = true;
    if (cell->tree == STATE_TREE_RECORDS)
        known_record(overlay, cell, value);
    else
        (void)overlay_copy(overlay, value, &cell->before.value);
    cell->after = cell->before;
}

static enum status cell_gather(struct overlay *overlay, struct overlay_cell *cell,
                               struct lsm_view *view, struct lsm_wait *wait)
{
    struct lsm_value value;
    enum status status = lsm_get(view, wait, cell->tree, cell->key, &value);
    if (status == STATUS_OK) {
        overlay_known(overlay, cell, value.value);
    } else if (status == STATUS_NOT_FOUND) {
        cell->gathered = true;
        status = STATUS_OK;
    }
    cell->version = value.version;
    return status;
}

enum status overlay_gather(struct overlay *overlay, struct lsm_view *view, struct lsm_wait *wait,
                           unsigned *lookups_left)
{
    struct overlay_cell **link = &overlay->wanted;
    enum status result = STATUS_OK;

    while (*link != NULL && overlay->failure == STATUS_OK) {
        struct overlay_cell *cell = *link;
        if (*lookups_left == 0) {
            result = STATUS_AGAIN;
            break;
        }
        (*lookups_left)--;
        enum status status = cell->gathered ? STATUS_OK : cell_gather(overlay, cell, view, wait);
        if (status == STATUS_OK) {
            *link = cell->next_wanted;
        } else if (status == STATUS_AGAIN) {
            result = STATUS_AGAIN;
            link = &cell->next_wanted;
        } else {
            return status;
        }
    }
    /* What was found is copied: nothing needs the blocks any more. */
    lsm_view_release(view);
    if (overlay->failure != STATUS_OK)
        return overlay->failure == STATUS_TOO_LARGE ? STATUS_OK : overlay->failure;
    return result;
}

/* ---- Operations ---- */

static struct bytes record_key_of(const struct overlay_cell *cell)
{
    ASSERT(cell->tree == STATE_TREE_RECORDS && cell->key.size > keys_id_size);
    return bytes_of(cell->key.data + keys_id_size, cell->key.size - keys_id_size);
}

static bool is_unique(const struct catalog_table *table, const struct record_index *entry)
{
    const struct catalog_index *index =
        table == NULL ? NULL : catalog_index_by_id(table, entry->index_id);
    return index != NULL && index->unique;
}

static struct overlay_cell *unique_cell(struct overlay *overlay, const struct record_index *entry)
{
    struct keys_buffer key;
    keys_index(&key, entry->index_id, entry->key, (struct bytes){0});
    return overlay_cell(overlay, STATE_TREE_INDEXES, keys_bytes(&key));
}

void overlay_want_uniques(struct overlay *overlay, const struct catalog_table *table,
                          struct bytes indexes)
{
    struct record_index entry;
    while (record_index_next(&indexes, &entry)) {
        if (!is_unique(table, &entry))
            continue;
        struct overlay_cell *cell = unique_cell(overlay, &entry);
        if (cell == NULL)
            return;
        overlay_want(overlay, cell);
    }
}

/* Whether another record holds one of the entries. */
static bool is_violation(struct overlay *overlay, const struct overlay_cell *record,
                         struct bytes indexes)
{
    struct record_index entry;
    while (record_index_next(&indexes, &entry)) {
        if (!is_unique(record->table, &entry))
            continue;
        struct overlay_cell *cell = unique_cell(overlay, &entry);
        if (cell == NULL)
            return false;
        ASSERT(cell->gathered);
        if (cell->present && !bytes_equal(cell->after.value, record_key_of(record)))
            return true;
    }
    return false;
}

/* Gives up the record's unique keys, or takes them. The old ones are its own: the index says so
 * where it was read, and need not be read where it was not. */
static void uniques_change(struct overlay *overlay, const struct overlay_cell *record,
                           struct bytes indexes, bool take)
{
    struct record_index entry;
    while (record_index_next(&indexes, &entry)) {
        if (!is_unique(record->table, &entry))
            continue;
        struct overlay_cell *cell = unique_cell(overlay, &entry);
        if (cell == NULL)
            return;
        if (!cell->gathered)
            overlay_known(overlay, cell, record_key_of(record));
        if (!take && (!cell->present || !bytes_equal(cell->after.value, record_key_of(record)))) {
            overlay_fail(overlay, STATUS_CORRUPT);
            return;
        }
        cell->present = take;
        cell->after.value = take ? record_key_of(record) : (struct bytes){0};
        cell->dirty = true;
    }
}

enum status overlay_put(struct overlay *overlay, struct overlay_cell *cell,
                        const struct record *record)
{
    if (is_violation(overlay, cell, record->indexes))
        return STATUS_UNIQUE_VIOLATION;
    if (cell->present)
        uniques_change(overlay, cell, cell->after.indexes, false);
    uniques_change(overlay, cell, record->indexes, true);
    cell->after = *record;
    cell->value_missing = false;
    cell->present = true;
    cell->dirty = true;
    return STATUS_OK;
}

void overlay_value_set(struct overlay_cell *cell, struct bytes value)
{
    if (!cell->present)
        cell->after = (struct record){0};
    cell->after.value = value;
    cell->value_missing = false;
    cell->present = true;
    cell->dirty = true;
}

void overlay_delete(struct overlay *overlay, struct overlay_cell *cell)
{
    if (cell->present)
        uniques_change(overlay, cell, cell->after.indexes, false);
    cell->after = (struct record){0};
    cell->present = false;
    cell->dirty = true;
}

/* ---- Writes ---- */

static struct lsm_write *write_add(struct overlay *overlay)
{
    if (overlay->failure != STATUS_OK)
        return NULL;
    if (overlay->writes_count == overlay->writes_max) {
        size_t count = overlay->writes_max == 0 ? overlay_writes_min : 2 * overlay->writes_max;
        struct lsm_write *writes = overlay_alloc(overlay, count * sizeof *writes);
        if (writes == NULL)
            return NULL;
        if (overlay->writes_count != 0)
            memcpy(writes, overlay->writes, overlay->writes_count * sizeof *writes);
        overlay->writes = writes;
        overlay->writes_max = count;
    }
    return &overlay->writes[overlay->writes_count++];
}

void overlay_write(struct overlay *overlay, uint16_t tree, struct bytes key, struct bytes value)
{
    struct lsm_write *write = write_add(overlay);
    if (write == NULL)
        return;
    *write = (struct lsm_write){.tree = tree, .key = key, .value = value};
    overlay->writes_size += key.size + value.size + 64;
}

void overlay_write_deletion(struct overlay *overlay, uint16_t tree, struct bytes key)
{
    struct lsm_write *write = write_add(overlay);
    if (write == NULL)
        return;
    *write = (struct lsm_write){.tree = tree, .deletion = true, .key = key};
    overlay->writes_size += key.size + 64;
}

/* One write of a key that is composed here. */
static void write_composed(struct overlay *overlay, uint16_t tree, const struct keys_buffer *key,
                           bool is_deletion)
{
    struct bytes copy;
    if (!overlay_copy(overlay, keys_bytes(key), &copy))
        return;
    if (is_deletion)
        overlay_write_deletion(overlay, tree, copy);
    else
        overlay_write(overlay, tree, copy, (struct bytes){0});
}

struct finishing {
    struct overlay *overlay;
    const struct overlay_cell *cell;
};

static void finish_index_entry(void *context, const struct record_index *entry, bool added)
{
    const struct finishing *finishing = context;
    const struct catalog_table *table = finishing->cell->table;
    const struct catalog_index *index =
        table == NULL ? NULL : catalog_index_by_id(table, entry->index_id);
    /* A dropped index is emptied by ticks; a unique one has cells of its own. */
    if (index == NULL || index->unique)
        return;
    struct keys_buffer key;
    keys_index(&key, entry->index_id, entry->key, record_key_of(finishing->cell));
    write_composed(finishing->overlay, STATE_TREE_INDEXES, &key, !added);
}

static void finish_expiry(struct overlay *overlay, const struct overlay_cell *cell,
                          uint64_t before_ms, uint64_t after_ms)
{
    struct keys_buffer key;
    if (before_ms == after_ms)
        return;
    if (before_ms != 0) {
        keys_expiry(&key, before_ms, cell->key);
        write_composed(overlay, STATE_TREE_EXPIRY, &key, true);
    }
    if (after_ms != 0) {
        keys_expiry(&key, after_ms, cell->key);
        write_composed(overlay, STATE_TREE_EXPIRY, &key, false);
    }
}

static void finish_record(struct overlay *overlay, const struct overlay_cell *cell)
{
    struct finishing finishing = {.overlay = overlay, .cell = cell};
    if (cell->present) {
        size_t size = record_size(&cell->after);
        uint8_t *value = overlay_alloc(overlay, size);
        if (value == NULL)
            return;
        record_encode(&cell->after, value);
        overlay_write(overlay, STATE_TREE_RECORDS, cell->key, bytes_of(value, size));
    } else if (!cell->gathered || cell->found) {
        overlay_write_deletion(overlay, STATE_TREE_RECORDS, cell->key);
    }
    record_indexes_compare(cell->before.indexes, cell->after.indexes, finish_index_entry,
                           &finishing);
    finish_expiry(overlay, cell, cell->before.expires_at_ms, cell->after.expires_at_ms);
}

static void finish_unique(struct overlay *overlay, const struct overlay_cell *cell)
{
    if (!cell->present && cell->found)
        overlay_write_deletion(overlay, STATE_TREE_INDEXES, cell->key);
    if (cell->present && (!cell->found || !bytes_equal(cell->before.value, cell->after.value)))
        overlay_write(overlay, STATE_TREE_INDEXES, cell->key, cell->after.value);
}

void overlay_finish(struct overlay *overlay)
{
    for (struct overlay_cell *cell = overlay->first; cell != NULL; cell = cell->next) {
        if (!cell->dirty)
            continue;
        if (cell->tree == STATE_TREE_RECORDS)
            finish_record(overlay, cell);
        else
            finish_unique(overlay, cell);
    }
}

static int write_compare(const void *a, const void *b)
{
    const struct lsm_write *left = a;
    const struct lsm_write *right = b;
    if (left->tree != right->tree)
        return left->tree < right->tree ? -1 : 1;
    return bytes_compare(left->key, right->key);
}

void overlay_sort(struct overlay *overlay)
{
    if (overlay->writes_count > 1)
        qsort(overlay->writes, overlay->writes_count, sizeof *overlay->writes, write_compare);
    for (size_t i = 1; i < overlay->writes_count; i++)
        ASSERT(write_compare(&overlay->writes[i - 1], &overlay->writes[i]) < 0);
}
