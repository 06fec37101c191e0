/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/lsm/version_set.h"

#include <stdlib.h>

#include "proto/base/assert.h"

struct table_file *table_file_create(unsigned tree, const struct table_info *info)
{
    struct table_file *file = malloc(sizeof *file + info->smallest.size + info->largest.size);
    if (file == NULL)
        return NULL;
    uint8_t *keys = (uint8_t *)(file + 1);
    *file = (struct table_file){.info = *info, .tree = tree};
    bytes_copy(keys, info->smallest);
    bytes_copy(keys + info->smallest.size, info->largest);
    file->info.smallest.data = keys;
    file->info.largest.data = keys + info->smallest.size;
    list_init(&file->link);
    return file;
}

void table_file_free(struct table_file *file)
{
    if (file == NULL)
        return;
    ASSERT(file->references == 0 && file->table == NULL && !list_is_linked(&file->link));
    free(file);
}

/* ---- Edits ---- */

static bool edit_push(struct version_edit *edit, struct version_change change)
{
    ASSERT(change.level < lsm_levels_count);
    if (edit->count == edit->max) {
        size_t max = edit->max == 0 ? 16 : edit->max * 2;
        struct version_change *changes = realloc(edit->changes, max * sizeof *changes);
        if (changes == NULL)
            return false;
        edit->changes = changes;
        edit->max = max;
    }
    edit->changes[edit->count++] = change;
    return true;
}

bool version_edit_add(struct version_edit *edit, struct table_file *file, unsigned level)
{
    return edit_push(edit, (struct version_change){.file = file, .level = level});
}

bool version_edit_remove(struct version_edit *edit, struct table_file *file, unsigned level)
{
    return edit_push(edit, (struct version_change){.file = file, .level = level, .removal = true});
}

void version_edit_free(struct version_edit *edit)
{
    free(edit->changes);
    *edit = (struct version_edit){0};
}

/* ---- Sets ---- */

struct version_set *version_set_create(unsigned trees_count)
{
    ASSERT(trees_count <= lsm_trees_max);
    struct version_set *set = calloc(1, sizeof *set);
    if (set == NULL)
        return NULL;
    set->references = 1;
    for (; set->trees_count < trees_count; set->trees_count++) {
        struct tree_tables *tree = calloc(1, sizeof *tree);
        if (tree == NULL) {
            version_set_release(set, NULL);
            return NULL;
        }
        tree->references = 1;
        set->trees[set->trees_count] = tree;
    }
    return set;
}

struct version_set *version_set_hold(struct version_set *set)
{
    ASSERT(set->references > 0);
    set->references++;
    return set;
}

static void tree_tables_release(struct tree_tables *tree, struct list_link *obsolete)
{
    ASSERT(tree->references > 0);
    if (--tree->references != 0)
        return;
    for (unsigned l = 0; l < lsm_levels_count; l++) {
        struct level *level = &tree->levels[l];
        for (uint32_t i = 0; i < level->count; i++) {
            struct table_file *file = level->files[i];
            ASSERT(file->references > 0);
            if (--file->references == 0) {
                ASSERT(obsolete != NULL && !list_is_linked(&file->link));
                list_push_last(obsolete, &file->link);
            }
        }
        free(level->files);
    }
    free(tree);
}

void version_set_release(struct version_set *set, struct list_link *obsolete)
{
    if (set == NULL)
        return;
    ASSERT(set->references > 0);
    if (--set->references != 0)
        return;
    for (unsigned i = 0; i < set->trees_count; i++)
        tree_tables_release(set->trees[i], obsolete);
    free(set);
}

/* ---- Applying edits ---- */

static void check_level(const struct level *level, unsigned number)
{
    for (uint32_t i = 1; i < level->count; i++) {
        const struct table_info *before = &level->files[i - 1]->info;
        const struct table_info *table = &level->files[i]->info;
        if (number == 0)
            ASSERT(table->version_max < before->version_min);
        else
            ASSERT(bytes_compare(before->largest, table->smallest) < 0);
    }
}

static uint32_t level_position(const struct level *level, const struct table_file *file)
{
    for (uint32_t i = 0; i < level->count; i++)
        if (level->files[i] == file)
            return i;
    return level->count;
}

/* `level` has room for one more. */
static void level_insert(struct level *level, unsigned number, struct table_file *file)
{
    uint32_t place = 0;
    if (number == 0)
        while (place < level->count &&
               level->files[place]->info.version_min > file->info.version_max)
            place++;
    else
        place = level_find(level, file->info.smallest);
    memmove(level->files + place + 1, level->files + place,
            (level->count - place) * sizeof(struct table_file *));
    level->files[place] = file;
    level->count++;
    level->size += file->info.file_size;
}

static void level_remove(struct level *level, struct table_file *file)
{
    uint32_t place = level_position(level, file);
    ASSERT(place < level->count);
    level->count--;
    level->size -= file->info.file_size;
    memmove(level->files + place, level->files + place + 1,
            (level->count - place) * sizeof(struct table_file *));
}

/* A copy of `from` with room for what the edits add; references are counted by the caller. */
static struct tree_tables *tree_tables_copy(const struct tree_tables *from, size_t added_count)
{
    struct tree_tables *tree = calloc(1, sizeof *tree);
    if (tree == NULL)
        return NULL;
    tree->references = 1;
    for (unsigned l = 0; l < lsm_levels_count; l++) {
        const struct level *source = &from->levels[l];
        struct level *level = &tree->levels[l];
        level->files = calloc(source->count + added_count + 1, sizeof *level->files);
        if (level->files == NULL) {
            while (l-- > 0)
                free(tree->levels[l].files);
            free(tree);
            return NULL;
        }
        if (source->count != 0)
            memcpy(level->files, source->files, source->count * sizeof *level->files);
        level->count = source->count;
        level->size = source->size;
    }
    return tree;
}

/* Removals of one edit go first: a table that moves down leaves before it enters. */
static void tree_apply(struct tree_tables *tree, unsigned position, const struct version_edit *edit)
{
    for (int removal = 1; removal >= 0; removal--)
        for (size_t i = 0; i < edit->count; i++) {
            const struct version_change *change = &edit->changes[i];
            if (change->file->tree != position || change->removal != (removal != 0))
                continue;
            struct level *level = &tree->levels[change->level];
            if (change->removal)
                level_remove(level, change->file);
            else
                level_insert(level, change->level, change->file);
        }
}

static void tree_count_references(struct tree_tables *tree)
{
    for (unsigned l = 0; l < lsm_levels_count; l++) {
        check_level(&tree->levels[l], l);
        for (uint32_t i = 0; i < tree->levels[l].count; i++)
            tree->levels[l].files[i]->references++;
    }
}

static size_t tree_added_count(unsigned position, const struct version_edit *const *edits,
                               size_t edits_count, bool *touched)
{
    size_t added = 0;
    for (size_t e = 0; e < edits_count; e++)
        for (size_t i = 0; i < edits[e]->count; i++)
            if (edits[e]->changes[i].file->tree == position) {
                *touched = true;
                added += !edits[e]->changes[i].removal;
            }
    return added;
}

struct version_set *version_set_apply(const struct version_set *base,
                                      const struct version_edit *const *edits, size_t edits_count)
{
    struct tree_tables *copies[lsm_trees_max] = {0};
    struct version_set *set = calloc(1, sizeof *set);
    bool enough = set != NULL;
    for (unsigned t = 0; t < base->trees_count && enough; t++) {
        bool touched = false;
        size_t added = tree_added_count(t, edits, edits_count, &touched);
        if (touched) {
            copies[t] = tree_tables_copy(base->trees[t], added);
            enough = copies[t] != NULL;
        }
    }
    if (!enough) {
        for (unsigned t = 0; t < base->trees_count; t++) {
            for (unsigned l = 0; copies[t] != NULL && l < lsm_levels_count; l++)
                free(copies[t]->levels[l].files);
            free(copies[t]);
        }
        free(set);
        return NULL;
    }
    set->references = 1;
    set->trees_count = base->trees_count;
    for (unsigned t = 0; t < base->trees_count; t++) {
        if (copies[t] == NULL) {
            set->trees[t] = base->trees[t];
            set->trees[t]->references++;
            continue;
        }
        for (size_t e = 0; e < edits_count; e++)
            tree_apply(copies[t], t, edits[e]);
        tree_count_references(copies[t]);
        set->trees[t] = copies[t];
    }
    return set;
}

/* ---- Looking up ---- */

uint32_t level_find(const struct level *level, struct bytes key)
{
    uint32_t low = 0;
    uint32_t high = level->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (bytes_compare(level->files[middle]->info.largest, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool level_overlap(const struct level *level, struct bytes key_min, struct bytes key_max,
                   uint32_t *first, uint32_t *end)
{
    *first = level_find(level, key_min);
    *end = *first;
    while (*end < level->count && bytes_compare(level->files[*end]->info.smallest, key_max) <= 0)
        ++*end;
    return *end > *first;
}
