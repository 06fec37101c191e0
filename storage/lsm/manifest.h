/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest: the one file that says which tables make up the trees, and up to where of the log
 * they are durable. It is kept as a twin (storage/seal/twin.h) and replaced as a whole: its swap
 * alone installs a flush, a compaction or a snapshot. This file owns its grammar, which stands in
 * manifest.c, and its validation: a manifest that manifest_decode() accepts can be built on. */
#ifndef STORAGE_LSM_MANIFEST_H
#define STORAGE_LSM_MANIFEST_H

#include "proto/base/error.h"
#include "storage/lsm/table.h"

enum { lsm_levels_count = 7 };

struct manifest_tree {
    uint16_t id;
    enum lsm_kind kind;
    uint32_t key_size; /* LSM_FIXED, else 0 */
    uint32_t value_size;
    struct bytes discard_below; /* empty: nothing */
    /* Level 0: newest first, no version range overlaps another. Levels below: sorted by key, no key
     * range overlaps another. Of two entries of one key, the newer stands in the upper level. */
    const struct table_info **levels[lsm_levels_count];
    uint32_t counts[lsm_levels_count];
};

struct manifest {
    uint64_t numbers_end; /* table numbers at or above were never given out */
    uint64_t horizon;
    struct lsm_mark mark;
    struct bytes attachment; /* of the mark; decoded: points into the contents */
    unsigned trees_count;
    struct manifest_tree trees[lsm_trees_max]; /* ascending ids */
    void *memory;                              /* what manifest_decode() allocated */
};

/* Encodes into memory from malloc, which the caller frees. TOO_LARGE past what a twin holds;
 * NO_MEMORY. Reads only what `manifest` points to: any thread. */
MUST_CHECK enum status manifest_encode(const struct manifest *manifest, uint8_t **contents,
                                       size_t *size);

/* Decodes and validates. CORRUPT and NEWER_FORMAT come with text; then nothing is to be freed. Keys
 * point into `contents`, which must outlive the manifest. */
MUST_CHECK enum status manifest_decode(struct bytes contents, struct manifest *manifest,
                                       struct error *error);
void manifest_free(struct manifest *manifest);

#endif
