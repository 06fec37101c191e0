/* SPDX-License-Identifier: Apache-2.0 */
/* Which tables make up the trees at one moment: an immutable, reference-counted set.
 *
 * The LSM has one current set; views, jobs and checkpoints hold the one they began with. A change
 * (version_edit) makes a new set that shares the untouched trees with the old one. The new set
 * becomes current once a manifest that names its tables is durable. A table that no set names any
 * more is handed to the list of obsolete files; as a set is only ever released after the manifest
 * that follows it is durable, no manifest on disk names those either, and they may be unlinked.
 *
 * All of this belongs to the core's thread; a worker may read a set that its job holds. */
#ifndef STORAGE_LSM_VERSION_SET_H
#define STORAGE_LSM_VERSION_SET_H

#include "proto/base/list.h"
#include "storage/lsm/manifest.h"

/* One table's file. Owned by the sets that name it; by the obsolete list after the last. */
struct table_file {
    struct table_info info; /* its keys follow the struct, in the same allocation */
    unsigned tree;          /* position among the LSM's trees */
    unsigned references;    /* of tree_tables that name it */
    bool locked;            /* input of a job: no other job may take it */
    struct table *table;    /* its open reader; NULL while none was opened */
    struct list_link link;  /* in the obsolete list */
};

struct level {
    struct table_file **files; /* level 0: newest first; others: sorted by key, disjoint */
    uint32_t count;
    uint64_t size; /* sum of the files' */
};

/* The tables of one tree. */
struct tree_tables {
    unsigned references; /* of sets */
    struct level levels[lsm_levels_count];
};

struct version_set {
    unsigned references;
    unsigned trees_count;
    struct tree_tables *trees[lsm_trees_max];
};

/* One table that enters or leaves a level. */
struct version_change {
    struct table_file *file;
    unsigned level;
    bool removal;
};

/* All changes that one job makes: installed together. */
struct version_edit {
    struct version_change *changes;
    size_t count;
    size_t max;
};

/* A file of its own for `info`, whose keys are copied. NULL: no memory. */
struct table_file *table_file_create(unsigned tree, const struct table_info *info);
void table_file_free(struct table_file *file); /* its reader was closed */

/* Grows as needed; false: no memory. */
bool version_edit_add(struct version_edit *edit, struct table_file *file, unsigned level);
bool version_edit_remove(struct version_edit *edit, struct table_file *file, unsigned level);
void version_edit_free(struct version_edit *edit);

/* A set without tables, with one reference, the caller's. NULL: no memory. */
struct version_set *version_set_create(unsigned trees_count);

/* `base` with `edits` applied in order; one reference, the caller's. Added files are referenced by
 * the new set; files moved between levels stay the same. Asserts that removed files were there, and
 * that levels are sorted and disjoint after. NULL: no memory, and nothing has changed. */
struct version_set *version_set_apply(const struct version_set *base,
                                      const struct version_edit *const *edits, size_t edits_count);

struct version_set *version_set_hold(struct version_set *set);

/* Files that nobody names any more go to the end of `obsolete`. NULL is permitted. */
void version_set_release(struct version_set *set, struct list_link *obsolete);

/* Level >= 1: the position of the first table whose last key is at or after `key`. */
uint32_t level_find(const struct level *level, struct bytes key);

/* Whether any table of the level holds keys between `key_min` and `key_max`, both included; for
 * levels >= 1 the positions of those are [*first, *end). */
bool level_overlap(const struct level *level, struct bytes key_min, struct bytes key_max,
                   uint32_t *first, uint32_t *end);

static inline bool table_file_overlaps(const struct table_file *file, struct bytes key_min,
                                       struct bytes key_max)
{
    return bytes_compare(file->info.smallest, key_max) <= 0 &&
           bytes_compare(key_min, file->info.largest) <= 0;
}

static inline bool table_file_contains(const struct table_file *file, struct bytes key)
{
    return bytes_compare(file->info.smallest, key) <= 0 &&
           bytes_compare(key, file->info.largest) <= 0;
}

#endif
