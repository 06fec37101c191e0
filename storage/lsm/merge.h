/* SPDX-License-Identifier: Apache-2.0 */
/* The entries of many tables of one tree, in the order of entry.h, on a worker: for compaction and
 * scrubbing. Tables are read one after the other within a source, so each source holds one
 * scanner. */
#ifndef STORAGE_LSM_MERGE_H
#define STORAGE_LSM_MERGE_H

#include "storage/lsm/table_scanner.h"
#include "storage/lsm/version_set.h"

/* Tables whose keys follow one another: one of level 0, or a run of another level. */
struct merge_source {
    struct table_file *const *files;
    uint32_t count;
    uint32_t at;                   /* the file being read */
    struct table_scanner *scanner; /* of it; NULL: not begun */
    bool standing;                 /* on `entry`; else it is to move on, or has ended */
    struct lsm_entry entry;
};

/* Zeroed by its owner, who holds a set with the files until the merge is closed. */
struct merge {
    struct merge_source *sources; /* malloc */
    uint32_t sources_count;
    struct merge_source *last; /* whose entry was given; NULL: none */
};

/* Room for so many sources. False: no memory. */
bool merge_open(struct merge *merge, size_t sources_max);

/* Tables of which nothing overlaps, in order; none are no source. */
void merge_add(struct merge *merge, struct table_file *const *files, uint32_t count);

/* The next entry, valid until the next call; END. CORRUPT, IO_ERROR, NO_MEMORY, with the file's
 * name in `error`. Blocking. */
MUST_CHECK enum status merge_next(struct merge *merge, struct io *io, struct lsm_entry *entry,
                                  struct error *error);

void merge_close(struct merge *merge); /* again is harmless */

#endif
