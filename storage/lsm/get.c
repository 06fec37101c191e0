/* SPDX-License-Identifier: Apache-2.0 */
/* The look-up of one key: memtables from the newest, level 0 from the newest, then the levels. Of
 * one key, an upper place holds only newer versions than a lower one, so the first entry found at
 * or below the view's version is the one. */
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/planted.h"
#include "storage/lsm/lsm_internal.h"

static bool pin_keep(struct lsm_view *view, struct cache_block *pin)
{
    if (view->pins_count == view->pins_max) {
        size_t max = view->pins_max == 0 ? 8 : view->pins_max * 2;
        struct cache_block **pins = realloc(view->pins, max * sizeof *pins);
        if (pins == NULL)
            return false;
        view->pins = pins;
        view->pins_max = max;
    }
    view->pins[view->pins_count++] = pin;
    return true;
}

static enum status find_in_table(struct lsm_view *view, struct lsm_wait *wait,
                                 const struct table_file *file, struct bytes key, uint64_t version,
                                 uint64_t since, struct lsm_entry *entry)
{
    struct cache_block *pin = NULL;
    if (file->info.version_min > version || file->info.version_max <= since ||
        !table_file_contains(file, key))
        return STATUS_NOT_FOUND;
    enum status status = table_get(file->table, wait, key, version, &pin, entry);
    if (status == STATUS_OK && pin != NULL && !pin_keep(view, pin)) {
        cache_unpin(pin);
        return STATUS_NO_MEMORY;
    }
    return status;
}

static enum status find_in_tables(struct lsm_view *view, struct lsm_wait *wait, unsigned tree,
                                  struct bytes key, uint64_t since, struct lsm_entry *entry)
{
    const struct tree_tables *tables = view->set->trees[tree];
    const struct level *level0 = &tables->levels[0];
    uint64_t version = view_version(view, tree);
    for (uint32_t i = 0; i < level0->count; i++) {
        enum status status = find_in_table(
            view, wait, level0->files[PLANTED(lsm_level0_order) ? level0->count - 1 - i : i], key,
            version, since, entry);
        if (status != STATUS_NOT_FOUND)
            return status;
    }
    for (unsigned l = 1; l < lsm_levels_count; l++) {
        const struct level *level = &tables->levels[l];
        uint32_t place = level_find(level, key);
        if (place == level->count)
            continue;
        enum status status =
            find_in_table(view, wait, level->files[place], key, version, since, entry);
        if (status != STATUS_NOT_FOUND)
            return status;
    }
    return STATUS_NOT_FOUND;
}

enum status view_find(struct lsm_view *view, struct lsm_wait *wait, unsigned tree, struct bytes key,
                      uint64_t since, struct lsm_entry *entry)
{
    enum status status = STATUS_NOT_FOUND;
    uint64_t version = view_version(view, tree);
    *entry = (struct lsm_entry){0};
    for (unsigned i = 0; i < view->memories_count && status != STATUS_OK; i++) {
        const struct memory *memory =
            view->memories[PLANTED(lsm_memtable_order) ? view->memories_count - 1 - i : i];
        bool is_within = memory->version_first <= version && memory->version_last > since;
        bool may_have = is_within || view->lsm->trees[tree].regional;
        if (tree < memory->trees_count && may_have &&
            memtable_get(memory->tables[tree], key, version, entry))
            status = STATUS_OK;
    }
    if (status != STATUS_OK)
        status = find_in_tables(view, wait, tree, key, since, entry);
    if (status == STATUS_OK && entry->version <= since)
        status = STATUS_NOT_FOUND;
    return status;
}

enum status lsm_get(struct lsm_view *view, struct lsm_wait *wait, uint16_t tree, struct bytes key,
                    struct lsm_value *value)
{
    struct lsm_entry entry;
    *value = (struct lsm_value){0};
    unsigned position = lsm_tree_position(view->lsm, tree);
    enum status status = view_find(view, wait, position, key, 0, &entry);
    if (status != STATUS_OK)
        return status;
    ASSERT(entry.version <= view_version(view, position));
    value->version = entry.version;
    if (entry.deletion)
        return STATUS_NOT_FOUND;
    value->value = entry.value;
    return STATUS_OK;
}
