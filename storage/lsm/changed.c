/* SPDX-License-Identifier: Apache-2.0 */
/* Whether anything in a range has changed since a version: looks only in memtables, tables and
 * blocks that hold newer versions. A range that needs many blocks goes on where it stood: the view
 * keeps the place of the last question that was answered AGAIN. */
#include <stdlib.h>

#include "proto/base/assert.h"
#include "storage/lsm/lsm_internal.h"

struct changed_progress {
    unsigned tree;
    uint64_t since;
    unsigned level; /* of the table that is being looked through */
    uint32_t position;
    bool standing; /* the cursor stands on an entry; else it is to seek */
    struct table_cursor cursor;
    bool cursor_open;
    size_t start_size;
    size_t end_size;
    uint8_t start[lsm_key_size_max];
    uint8_t end[lsm_key_size_max];
};

void changed_progress_free(struct changed_progress *progress)
{
    if (progress == NULL)
        return;
    if (progress->cursor_open)
        table_cursor_close(&progress->cursor);
    free(progress);
}

/* An empty `end` is the tree's. */
static bool key_is_before(struct bytes key, struct bytes end)
{
    return end.size == 0 || bytes_compare(key, end) < 0;
}

static bool memory_changed(const struct lsm_view *view, const struct memory *memory, unsigned tree,
                           struct bytes start, struct bytes end, uint64_t since)
{
    struct memtable_cursor cursor;
    struct lsm_entry entry;
    if (tree >= memory->trees_count || memory->version_last <= since ||
        memory->version_first > view->version)
        return false;
    memtable_cursor_init(&cursor, memory->tables[tree]);
    bool found = memtable_cursor_seek(&cursor, start, lsm_entry_version_max, &entry);
    while (found && key_is_before(entry.key, end)) {
        if (entry.version > since && entry.version <= view->version)
            return true;
        found = memtable_cursor_next(&cursor, &entry);
    }
    return false;
}

/* Looks through the table that `progress` is at. OK: it has none, or *changed. */
static enum status table_changed(struct lsm_view *view, struct lsm_wait *wait,
                                 struct changed_progress *progress, struct table *table,
                                 bool *changed)
{
    struct bytes start = bytes_of(progress->start, progress->start_size);
    struct bytes end = bytes_of(progress->end, progress->end_size);
    struct lsm_entry entry;
    enum status status;
    if (!progress->cursor_open) {
        table_cursor_init(&progress->cursor, table, progress->since);
        progress->cursor_open = true;
        progress->standing = false;
    }
    do {
        status = progress->standing ? table_cursor_next(&progress->cursor, wait, &entry)
                                    : table_cursor_seek(&progress->cursor, wait, start,
                                                        lsm_entry_version_max, &entry);
        if (status != STATUS_OK)
            break;
        progress->standing = true;
        *changed = key_is_before(entry.key, end) && entry.version > progress->since &&
                   entry.version <= view->version;
    } while (!*changed && key_is_before(entry.key, end));
    if (status != STATUS_OK && status != STATUS_END)
        return status;
    table_cursor_close(&progress->cursor);
    progress->cursor_open = false;
    return STATUS_OK;
}

/* The next table, from where `progress` is, that may hold the range and newer versions. */
static struct table_file *next_table(const struct lsm_view *view, struct changed_progress *progress)
{
    struct bytes start = bytes_of(progress->start, progress->start_size);
    struct bytes end = bytes_of(progress->end, progress->end_size);
    const struct tree_tables *tables = view->set->trees[progress->tree];
    for (; progress->level < lsm_levels_count; progress->level++, progress->position = 0) {
        const struct level *level = &tables->levels[progress->level];
        if (progress->level > 0 && progress->position == 0)
            progress->position = level_find(level, start);
        for (; progress->position < level->count; progress->position++) {
            struct table_file *file = level->files[progress->position];
            if (progress->level > 0 && !key_is_before(file->info.smallest, end))
                break;
            if (file->info.version_max > progress->since &&
                file->info.version_min <= view->version &&
                bytes_compare(file->info.largest, start) >= 0 &&
                key_is_before(file->info.smallest, end))
                return file;
        }
    }
    return NULL;
}

static bool progress_matches(const struct changed_progress *progress, unsigned tree,
                             struct bytes start, struct bytes end, uint64_t since)
{
    return progress != NULL && progress->tree == tree && progress->since == since &&
           bytes_equal(start, bytes_of(progress->start, progress->start_size)) &&
           bytes_equal(end, bytes_of(progress->end, progress->end_size));
}

static bool progress_begin(struct lsm_view *view, unsigned tree, struct bytes start,
                           struct bytes end, uint64_t since)
{
    changed_progress_free(view->progress);
    struct changed_progress *progress = malloc(sizeof *progress);
    view->progress = progress;
    if (progress == NULL)
        return false;
    progress->tree = tree;
    progress->since = since;
    progress->level = 0;
    progress->position = 0;
    progress->standing = false;
    progress->cursor_open = false;
    progress->start_size = start.size;
    progress->end_size = end.size;
    bytes_copy(progress->start, start);
    bytes_copy(progress->end, end);
    return true;
}

static enum status range_changed(struct lsm_view *view, struct lsm_wait *wait, unsigned tree,
                                 struct bytes start, struct bytes end, uint64_t since,
                                 bool *changed)
{
    enum status status = STATUS_OK;
    if (!progress_matches(view->progress, tree, start, end, since) &&
        !progress_begin(view, tree, start, end, since))
        return STATUS_NO_MEMORY;
    struct table_file *file;
    while (!*changed && (file = next_table(view, view->progress)) != NULL) {
        status = table_changed(view, wait, view->progress, file->table, changed);
        if (status != STATUS_OK)
            break;
        view->progress->position++;
    }
    if (status != STATUS_AGAIN) {
        changed_progress_free(view->progress);
        view->progress = NULL;
    }
    return status;
}

enum status lsm_changed(struct lsm_view *view, struct lsm_wait *wait, uint16_t tree,
                        struct bytes start, struct bytes end, uint64_t since, bool *changed)
{
    unsigned position = lsm_tree_position(view->lsm, tree);
    ASSERT(start.size <= lsm_key_size_max && end.size <= lsm_key_size_max + 1);
    *changed = false;
    if (since >= view->version || !key_is_before(start, end))
        return STATUS_OK;
    bool is_point =
        end.size == start.size + 1 && end.data[start.size] == 0 && bytes_has_prefix(end, start);
    if (is_point) { /* filters help */
        struct lsm_entry entry;
        enum status status = view_find(view, wait, position, start, since, &entry);
        *changed = status == STATUS_OK;
        return status == STATUS_NOT_FOUND ? STATUS_OK : status;
    }
    ASSERT(end.size <= lsm_key_size_max);
    for (unsigned i = 0; i < view->memories_count; i++)
        if (memory_changed(view, view->memories[i], position, start, end, since)) {
            *changed = true;
            return STATUS_OK;
        }
    return range_changed(view, wait, position, start, end, since, changed);
}
