/* SPDX-License-Identifier: Apache-2.0 */
/* Which tables the next compaction takes. */
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/planted.h"
#include "storage/lsm/compaction.h"

enum { level_growth = 10 };

static uint64_t level_target(const struct lsm *lsm, unsigned level)
{
    uint64_t target = lsm->options.level_base_size;
    for (unsigned l = 1; l < level; l++)
        if (__builtin_mul_overflow(target, (uint64_t)level_growth, &target))
            return UINT64_MAX;
    return target;
}

/* Past its target: 100 and more. Locked tables are leaving already. */
static uint64_t level_score(const struct lsm *lsm, unsigned tree, unsigned level)
{
    const struct level *at = &lsm->current->trees[tree]->levels[level];
    if (level == 0)
        return (uint64_t)at->count * 100 / lsm->options.level0_compact_count;
    if (level + 1 == lsm_levels_count)
        return 0;
    uint64_t size = at->size;
    uint64_t target = level_target(lsm, level);
    if (size <= target)
        return 0;
    for (uint32_t i = 0; i < at->count; i++)
        if (at->files[i]->locked)
            size -= at->files[i]->info.file_size;
    return size <= target ? 0 : 100 + (size - target) / (target / 100 + 1);
}

bool compaction_is_wanted(const struct lsm *lsm)
{
    for (unsigned t = 0; t < lsm->trees_count; t++)
        for (unsigned l = 0; l < lsm_levels_count; l++)
            if (level_score(lsm, t, l) >= 100)
                return true;
    return false;
}

/* All tables of the next level between the keys; false where one is locked. */
static bool take_lower(const struct lsm *lsm, struct compaction_pick *pick, struct bytes key_min,
                       struct bytes key_max)
{
    const struct level *below = &lsm->current->trees[pick->tree]->levels[pick->level + 1];
    uint32_t first;
    uint32_t end;
    level_overlap(below, key_min, key_max, &first, &end);
    for (uint32_t i = first; i < end; i++)
        if (below->files[i]->locked)
            return false;
    pick->lower = below->files + first;
    pick->lower_count = end - first;
    return true;
}

static bool overlaps_any(struct table_file *const *files, uint32_t count,
                         const struct table_file *file)
{
    for (uint32_t i = 0; i < count; i++)
        if (table_file_overlaps(files[i], file->info.smallest, file->info.largest))
            return true;
    return false;
}

static bool is_mostly_tombstones(const struct table_file *file)
{
    return file->info.tombstones_count > file->info.entries_count / 2;
}

/* How many of the oldest tables can move down as they are: they overlap neither one another nor
 * anything below. */
static uint32_t level0_movable(const struct lsm *lsm, unsigned tree)
{
    const struct tree_tables *tables = lsm->current->trees[tree];
    const struct level *level0 = &tables->levels[0];
    uint32_t count = 0;
    while (count < level0->count) {
        uint32_t place = level0->count - 1 - count;
        const struct table_file *file = level0->files[place];
        uint32_t first;
        uint32_t end;
        if (is_mostly_tombstones(file) || overlaps_any(level0->files + place + 1, count, file) ||
            level_overlap(&tables->levels[1], file->info.smallest, file->info.largest, &first,
                          &end))
            break;
        count++;
    }
    return count;
}

static bool choose_level0(const struct lsm *lsm, struct compaction_pick *pick)
{
    const struct level *level0 = &lsm->current->trees[pick->tree]->levels[0];
    for (uint32_t i = 0; i < level0->count; i++)
        if (level0->files[i]->locked)
            return false;
    uint32_t count = level0_movable(lsm, pick->tree);
    pick->moves = count != 0;
    if (!pick->moves) {
        uint32_t most = lsm->options.level0_compact_count * 2;
        count = level0->count < most ? level0->count : most;
    }
    if (PLANTED(lsm_inputs_newest) && !pick->moves)
        count = (count + 1) / 2;
    pick->upper = level0->files + (PLANTED(lsm_inputs_newest) ? 0 : level0->count - count);
    pick->upper_count = count;
    struct bytes key_min = pick->upper[0]->info.smallest;
    struct bytes key_max = pick->upper[0]->info.largest;
    for (uint32_t i = 1; i < count; i++) {
        if (bytes_compare(pick->upper[i]->info.smallest, key_min) < 0)
            key_min = pick->upper[i]->info.smallest;
        if (bytes_compare(pick->upper[i]->info.largest, key_max) > 0)
            key_max = pick->upper[i]->info.largest;
    }
    if (pick->moves)
        return true;
    return take_lower(lsm, pick, key_min, key_max);
}

/* Remembers where this level's compactions have come to, so that they go round. */
static void remember_place(struct lsm *lsm, const struct compaction_pick *pick)
{
    struct bytes largest = pick->upper[0]->info.largest;
    struct bytes *place = &lsm->compact_keys[pick->tree][pick->level];
    uint8_t *copy = malloc(largest.size + 1);
    if (copy == NULL)
        return; /* it goes round less evenly */
    bytes_copy(copy, largest);
    free((void *)(uintptr_t)place->data);
    *place = bytes_of(copy, largest.size);
}

static bool choose_level(struct lsm *lsm, struct compaction_pick *pick)
{
    const struct level *level = &lsm->current->trees[pick->tree]->levels[pick->level];
    struct bytes place = lsm->compact_keys[pick->tree][pick->level];
    uint32_t begin = place.data == NULL ? 0 : level_find(level, place);
    if (begin < level->count && place.data != NULL &&
        bytes_compare(level->files[begin]->info.smallest, place) <= 0)
        begin++;
    for (uint32_t i = 0; i < level->count; i++) {
        uint32_t at = (begin + i) % level->count;
        struct table_file *file = level->files[at];
        if (file->locked || !take_lower(lsm, pick, file->info.smallest, file->info.largest))
            continue;
        pick->upper = level->files + at;
        pick->upper_count = 1;
        pick->moves = pick->lower_count == 0 && !is_mostly_tombstones(file);
        remember_place(lsm, pick);
        return true;
    }
    return false;
}

bool compaction_choose(struct lsm *lsm, bool level0, struct compaction_pick *pick)
{
    bool tried[lsm_trees_max][lsm_levels_count] = {0};
    unsigned first = level0 ? 0 : 1;
    unsigned end = level0 ? 1 : lsm_levels_count - 1;
    for (;;) {
        uint64_t best = 99;
        *pick = (struct compaction_pick){0};
        for (unsigned t = 0; t < lsm->trees_count; t++)
            for (unsigned l = first; l < end; l++) {
                uint64_t score = tried[t][l] ? 0 : level_score(lsm, t, l);
                if (score > best) {
                    best = score;
                    pick->tree = t;
                    pick->level = l;
                }
            }
        if (best < 100)
            return false;
        tried[pick->tree][pick->level] = true;
        if (level0 ? choose_level0(lsm, pick) : choose_level(lsm, pick))
            return true;
    }
}
