/* SPDX-License-Identifier: Apache-2.0 */
/* The merging iterator: all memtables and tables of a view that can hold the range, as sources in
 * one order; of each key the newest entry at or below the view's version; tombstones hide.
 *
 * A source stands on an entry, or has a move that is still to be made (its cursor answered AGAIN),
 * or has ended. No step decides anything before every source has made its move, so an AGAIN passes
 * nothing over: the next call makes the moves that are left. All sources begin their reads in the
 * same call.
 *
 * Forwards, the smallest entry in (key, newest first) order is the visible one once it is at or
 * below the version; the rest of its key is then passed over. Backwards, the versions of a key come
 * oldest first, so all of a key's entries are met before the newest visible one is known; it is
 * kept in a copy. */
#include <stdlib.h>

#include "proto/base/assert.h"
#include "storage/lsm/lsm_internal.h"

/* After so many moves within one key, a source seeks past it. */
enum { moves_before_seek = 8 };

enum source_move {
    MOVE_NONE,  /* stands on `entry`, or has ended */
    MOVE_BEGIN, /* to the first entry of the range in the iterator's direction */
    MOVE_STEP,
    MOVE_SKIP, /* forwards: past the key it stands on, or down to the version */
};

struct source {
    enum source_move move;
    bool ended;
    struct lsm_entry entry;          /* unless a move is left or it has ended */
    unsigned moves_count;            /* within the key it stands on */
    uint64_t skip_version;           /* MOVE_SKIP: to (iterator's key, this version) */
    const struct memtable *memtable; /* or tables: */
    struct table_file **files;       /* of one level, ascending; one file for level 0 */
    uint32_t files_count;
    uint32_t file; /* that the cursor is in */
    bool in_file;  /* the cursor is initialised for it */
    union {
        struct memtable_cursor memory;
        struct table_cursor table;
    } cursor;
};

struct key_buffer {
    size_t size;
    uint8_t bytes[lsm_key_size_max];
};

struct lsm_iterator {
    struct lsm_view *view;
    unsigned tree;
    uint64_t version; /* the view's of this tree */
    bool reverse;
    bool passing;          /* forwards: `key` was dealt with, its other entries are passed over */
    bool collecting;       /* backwards: the entries of `key` are being met */
    bool found;            /* backwards: `best` holds something */
    struct lsm_entry best; /* backwards: its value points into `value` */
    uint8_t *value;
    size_t value_size;
    struct key_buffer start;
    struct key_buffer end; /* empty: the tree's */
    struct key_buffer key;
    unsigned sources_count;
    struct source *sources[];
};

static struct bytes key_of(const struct key_buffer *key)
{
    return bytes_of(key->bytes, key->size);
}

static void key_set(struct key_buffer *key, struct bytes from)
{
    ASSERT(from.size <= sizeof key->bytes);
    key->size = from.size;
    bytes_copy(key->bytes, from);
}

/* ---- Moves of one source ---- */

static bool memory_move(struct lsm_iterator *iterator, struct source *source)
{
    struct memtable_cursor *cursor = &source->cursor.memory;
    struct lsm_entry *entry = &source->entry;
    struct bytes end = key_of(&iterator->end);
    if (source->move == MOVE_STEP)
        return iterator->reverse ? memtable_cursor_previous(cursor, entry)
                                 : memtable_cursor_next(cursor, entry);
    if (source->move == MOVE_SKIP)
        return memtable_cursor_seek(cursor, key_of(&iterator->key), source->skip_version, entry);
    if (!iterator->reverse)
        return memtable_cursor_seek(cursor, key_of(&iterator->start), lsm_entry_version_max, entry);
    return end.size == 0 ? memtable_cursor_last(cursor, entry)
                         : memtable_cursor_seek_before(cursor, end, lsm_entry_version_max, entry);
}

/* In the file that the source is in. */
static enum status file_move(struct lsm_iterator *iterator, struct source *source,
                             struct lsm_wait *wait)
{
    struct table_cursor *cursor = &source->cursor.table;
    struct lsm_entry *entry = &source->entry;
    struct bytes end = key_of(&iterator->end);
    if (source->move == MOVE_STEP)
        return iterator->reverse ? table_cursor_previous(cursor, wait, entry)
                                 : table_cursor_next(cursor, wait, entry);
    if (source->move == MOVE_SKIP)
        return table_cursor_seek(cursor, wait, key_of(&iterator->key), source->skip_version, entry);
    if (!iterator->reverse)
        return table_cursor_seek(cursor, wait, key_of(&iterator->start), lsm_entry_version_max,
                                 entry);
    return end.size == 0
               ? table_cursor_last(cursor, wait, entry)
               : table_cursor_seek_before(cursor, wait, end, lsm_entry_version_max, entry);
}

/* Past the end of one file of a level, on to the next in the iterator's direction. A seek goes on
 * as the same seek, which gives the next file's first entry, as that lies past the sought place. */
static bool next_file(const struct lsm_iterator *iterator, struct source *source)
{
    table_cursor_close(&source->cursor.table);
    source->in_file = false;
    if (iterator->reverse ? source->file == 0 : source->file + 1 >= source->files_count)
        return false;
    source->file += iterator->reverse ? UINT32_MAX : 1; /* one down, or one up */
    source->move = MOVE_BEGIN;
    return true;
}

static enum status tables_move(struct lsm_iterator *iterator, struct source *source,
                               struct lsm_wait *wait)
{
    for (;;) {
        if (!source->in_file) {
            table_cursor_init(&source->cursor.table, source->files[source->file]->table, 0);
            source->in_file = true;
        }
        enum status status = file_move(iterator, source, wait);
        if (status != STATUS_END)
            return status;
        if (!next_file(iterator, source))
            return STATUS_END;
    }
}

static enum status source_move(struct lsm_iterator *iterator, struct source *source,
                               struct lsm_wait *wait)
{
    enum status status = STATUS_OK;
    if (source->memtable != NULL)
        status = memory_move(iterator, source) ? STATUS_OK : STATUS_END;
    else
        status = tables_move(iterator, source, wait);
    if (status == STATUS_END) {
        source->ended = true;
        status = STATUS_OK;
    }
    if (status == STATUS_OK)
        source->move = MOVE_NONE;
    return status;
}

/* Makes the moves that are left. AGAIN only after all of them were tried. */
static enum status make_moves(struct lsm_iterator *iterator, struct lsm_wait *wait)
{
    enum status result = STATUS_OK;
    for (unsigned i = 0; i < iterator->sources_count; i++) {
        struct source *source = iterator->sources[i];
        if (source->move == MOVE_NONE)
            continue;
        enum status status = source_move(iterator, source, wait);
        if (status == STATUS_AGAIN)
            result = STATUS_AGAIN;
        else if (status != STATUS_OK)
            return status;
    }
    return result;
}

static bool source_stands(const struct source *source)
{
    return source->move == MOVE_NONE && !source->ended;
}

/* ---- Forwards ---- */

/* From `key`'s entry to its next one; by a seek to (key, version) after some. */
static void forward_past(struct source *source, uint64_t version)
{
    if (++source->moves_count <= moves_before_seek) {
        source->move = MOVE_STEP;
        return;
    }
    source->moves_count = 0;
    source->move = MOVE_SKIP;
    source->skip_version = version;
}

/* Whether any source still stands on the key that is passed over, and so has to move. */
static bool pass_key(struct lsm_iterator *iterator)
{
    bool moving = false;
    for (unsigned i = 0; i < iterator->sources_count; i++) {
        struct source *source = iterator->sources[i];
        if (!source_stands(source))
            continue;
        if (!bytes_equal(source->entry.key, key_of(&iterator->key))) {
            source->moves_count = 0;
            continue;
        }
        /* Version 0 is never written, so a seek to it leaves the key. */
        forward_past(source, 0);
        moving = true;
    }
    return moving;
}

static struct source *smallest_source(struct lsm_iterator *iterator)
{
    struct source *smallest = NULL;
    for (unsigned i = 0; i < iterator->sources_count; i++) {
        struct source *source = iterator->sources[i];
        if (source_stands(source) &&
            (smallest == NULL || lsm_entry_order(source->entry.key, source->entry.version,
                                                 smallest->entry.key, smallest->entry.version) < 0))
            smallest = source;
    }
    return smallest;
}

static enum status forward_next(struct lsm_iterator *iterator, struct lsm_wait *wait,
                                struct lsm_item *item)
{
    for (;;) {
        enum status status = make_moves(iterator, wait);
        if (status != STATUS_OK)
            return status;
        if (iterator->passing && pass_key(iterator))
            continue;
        iterator->passing = false;
        struct source *source = smallest_source(iterator);
        struct bytes end = key_of(&iterator->end);
        if (source == NULL || (end.size != 0 && bytes_compare(source->entry.key, end) >= 0))
            return STATUS_END;
        key_set(&iterator->key, source->entry.key);
        if (source->entry.version > iterator->version) {
            forward_past(source, iterator->version);
            continue;
        }
        iterator->passing = true;
        if (source->entry.deletion)
            continue;
        *item = (struct lsm_item){.key = source->entry.key,
                                  .value = source->entry.value,
                                  .version = source->entry.version};
        return STATUS_OK;
    }
}

/* ---- Backwards ---- */

static struct source *largest_source(struct lsm_iterator *iterator)
{
    struct source *largest = NULL;
    for (unsigned i = 0; i < iterator->sources_count; i++) {
        struct source *source = iterator->sources[i];
        if (source_stands(source) &&
            (largest == NULL || bytes_compare(source->entry.key, largest->entry.key) > 0))
            largest = source;
    }
    return largest;
}

static bool best_set(struct lsm_iterator *iterator, const struct lsm_entry *entry)
{
    if (entry->value.size > iterator->value_size) {
        uint8_t *grown = realloc(iterator->value, entry->value.size);
        if (grown == NULL)
            return false;
        iterator->value = grown;
        iterator->value_size = entry->value.size;
    }
    bytes_copy(iterator->value, entry->value);
    iterator->best = (struct lsm_entry){.key = key_of(&iterator->key),
                                        .version = entry->version,
                                        .deletion = entry->deletion,
                                        .value = bytes_of(iterator->value, entry->value.size)};
    iterator->found = true;
    return true;
}

/* Meets the entries of `key` that sources stand on. END: there are none left. */
static enum status collect(struct lsm_iterator *iterator)
{
    bool any = false;
    for (unsigned i = 0; i < iterator->sources_count; i++) {
        struct source *source = iterator->sources[i];
        const struct lsm_entry *entry = &source->entry;
        if (!source_stands(source) || !bytes_equal(entry->key, key_of(&iterator->key)))
            continue;
        if (entry->version <= iterator->version &&
            (!iterator->found || entry->version > iterator->best.version) &&
            !best_set(iterator, entry))
            return STATUS_NO_MEMORY;
        source->move = MOVE_STEP;
        any = true;
    }
    return any ? STATUS_OK : STATUS_END;
}

static enum status reverse_next(struct lsm_iterator *iterator, struct lsm_wait *wait,
                                struct lsm_item *item)
{
    for (;;) {
        enum status status = make_moves(iterator, wait);
        if (status != STATUS_OK)
            return status;
        if (!iterator->collecting) {
            const struct source *source = largest_source(iterator);
            if (source == NULL || bytes_compare(source->entry.key, key_of(&iterator->start)) < 0)
                return STATUS_END;
            key_set(&iterator->key, source->entry.key);
            iterator->collecting = true;
            iterator->found = false;
        }
        status = collect(iterator);
        if (status == STATUS_OK)
            continue;
        if (status != STATUS_END)
            return status;
        iterator->collecting = false;
        if (!iterator->found || iterator->best.deletion)
            continue;
        *item = (struct lsm_item){.key = iterator->best.key,
                                  .value = iterator->best.value,
                                  .version = iterator->best.version};
        return STATUS_OK;
    }
}

/* ---- The interface ---- */

static struct source *source_add(struct lsm_iterator *iterator)
{
    struct source *source = malloc(sizeof *source);
    if (source == NULL)
        return NULL;
    /* Not the cursor: it is large, and initialised by its own function. */
    source->move = MOVE_BEGIN;
    source->ended = false;
    source->entry = (struct lsm_entry){0};
    source->moves_count = 0;
    source->skip_version = 0;
    source->memtable = NULL;
    source->files = NULL;
    source->files_count = 0;
    source->file = 0;
    source->in_file = false;
    iterator->sources[iterator->sources_count++] = source;
    return source;
}

static bool add_memories(struct lsm_iterator *iterator)
{
    const struct lsm_view *view = iterator->view;
    for (unsigned i = 0; i < view->memories_count; i++) {
        const struct memory *memory = view->memories[i];
        if (iterator->tree >= memory->trees_count ||
            (!view->lsm->trees[iterator->tree].regional && memory->version_first > view->version))
            continue;
        struct source *source = source_add(iterator);
        if (source == NULL)
            return false;
        source->memtable = memory->tables[iterator->tree];
        memtable_cursor_init(&source->cursor.memory, source->memtable);
    }
    return true;
}

static bool add_files(struct lsm_iterator *iterator, struct table_file **files, uint32_t count)
{
    if (count == 0)
        return true;
    struct source *source = source_add(iterator);
    if (source == NULL)
        return false;
    source->files = files;
    source->files_count = count;
    source->file = iterator->reverse ? count - 1 : 0;
    return true;
}

static bool add_tables(struct lsm_iterator *iterator)
{
    struct bytes start = key_of(&iterator->start);
    struct bytes end = key_of(&iterator->end);
    const struct tree_tables *tables = iterator->view->set->trees[iterator->tree];
    const struct level *level0 = &tables->levels[0];
    for (uint32_t i = 0; i < level0->count; i++)
        if (level0->files[i]->info.version_min <= iterator->version &&
            table_overlaps(level0->files[i]->table, start, end) &&
            !add_files(iterator, &level0->files[i], 1))
            return false;
    for (unsigned l = 1; l < lsm_levels_count; l++) {
        const struct level *level = &tables->levels[l];
        uint32_t first = level_find(level, start);
        uint32_t past = end.size == 0 ? level->count : first;
        while (past < level->count && bytes_compare(level->files[past]->info.smallest, end) < 0)
            past++;
        if (!add_files(iterator, level->files + first, past - first))
            return false;
    }
    return true;
}

enum status lsm_iterator_open(struct lsm_view *view, uint16_t tree, struct bytes start,
                              struct bytes end, bool reverse, struct lsm_iterator **iterator)
{
    *iterator = NULL;
    ASSERT(start.size <= lsm_key_size_max && end.size <= lsm_key_size_max);
    unsigned position = lsm_tree_position(view->lsm, tree);
    size_t sources_max =
        view->memories_count + view->set->trees[position]->levels[0].count + lsm_levels_count;
    struct lsm_iterator *made = malloc(sizeof *made + sources_max * sizeof(struct source *));
    if (made == NULL)
        return STATUS_NO_MEMORY;
    made->view = view;
    made->tree = position;
    made->version = view_version(view, position);
    made->reverse = reverse;
    made->passing = false;
    made->collecting = false;
    made->found = false;
    made->best = (struct lsm_entry){0};
    made->value = NULL;
    made->value_size = 0;
    made->key.size = 0;
    made->sources_count = 0;
    key_set(&made->start, start);
    key_set(&made->end, end);
    view->iterators_count++;
    bool empty = end.size != 0 && bytes_compare(start, end) >= 0;
    if (!empty && !(add_memories(made) && add_tables(made))) {
        lsm_iterator_close(made);
        return STATUS_NO_MEMORY;
    }
    ASSERT(made->sources_count <= sources_max);
    *iterator = made;
    return STATUS_OK;
}

enum status lsm_iterator_next(struct lsm_iterator *iterator, struct lsm_wait *wait,
                              struct lsm_item *item)
{
    *item = (struct lsm_item){0};
    return iterator->reverse ? reverse_next(iterator, wait, item)
                             : forward_next(iterator, wait, item);
}

void lsm_iterator_close(struct lsm_iterator *iterator)
{
    if (iterator == NULL)
        return;
    for (unsigned i = 0; i < iterator->sources_count; i++) {
        struct source *source = iterator->sources[i];
        if (source->memtable == NULL && source->in_file)
            table_cursor_close(&source->cursor.table);
        free(source);
    }
    ASSERT(iterator->view->iterators_count > 0);
    iterator->view->iterators_count--;
    free(iterator->value);
    free(iterator);
}
