/* SPDX-License-Identifier: Apache-2.0 */
/* Leveled compaction: what is picked, and why it is safe.
 *
 * Level 0 holds whole flushes, newest first, which overlap. Below, the tables of a level are sorted
 * and disjoint, and level n has a target size, 10 times that of level n - 1. Of one key, an upper
 * level holds only newer entries than a lower one; so do the newer tables of level 0.
 *
 * A compaction moves entries from one level to the next. To keep the order it takes, from level 0,
 * an unbroken run of the oldest tables; and from the next level, all tables that overlap the range
 * of those. Tables are locked until their compaction is installed; one that needs a locked table is
 * not begun. So of the keys in its range no entry can enter or leave its levels, nor any level
 * below from there, meanwhile: what it saw of the levels below when it began still tells whether a
 * tombstone may go.
 *
 * Where nothing overlaps below, a table is moved by the manifest alone, unless most of it is
 * tombstones, which a rewrite may drop. */
#ifndef STORAGE_LSM_COMPACTION_H
#define STORAGE_LSM_COMPACTION_H

#include "storage/lsm/lsm_internal.h"

/* Whether any level is past its target. */
bool compaction_is_wanted(const struct lsm *lsm);

/* What one compaction takes. compaction_pick.c chooses, compaction.c carries out. */
struct compaction_pick {
    unsigned tree;
    unsigned level; /* of `upper`; `lower` is of the next one */
    struct table_file **upper;
    uint32_t upper_count;
    struct table_file **lower;
    uint32_t lower_count;
    bool moves; /* nothing is below: `upper` moves as it is */
};

/* Chooses from the current set. False: nothing may be begun now. The arrays point into the set. */
bool compaction_choose(struct lsm *lsm, bool level0, struct compaction_pick *pick);

#endif
