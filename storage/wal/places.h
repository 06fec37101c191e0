/* SPDX-License-Identifier: Apache-2.0 */
/* Where the bytes of each durable entry stand: which segment and batch; or that they are lost.
 *
 * One place is a run of consecutive indexes in one batch, or of one kind of hole. A batch takes at
 * most as many places as it has runs, and at least 4 KiB of disk: so all places together take less
 * than a hundredth of what the segments do, and 24 bytes for a batch as a rule. They cover one
 * range of indexes without a gap, and follow what happens to the log: cut where it is superseded or
 * truncated, filled where it is mended, released where its segments go.
 *
 * Belongs to its log's thread. */
#ifndef STORAGE_WAL_PLACES_H
#define STORAGE_WAL_PLACES_H

#include "storage/wal/format.h"

struct wal_place {
    uint64_t first; /* index */
    uint32_t count;
    uint32_t segment; /* the low half of its id; of a hole: which (enum wal_hole) */
    uint32_t block;   /* the batch's offset in blocks of 4 KiB */
    uint32_t blocks;  /* its size; 0: a hole */
};

struct wal_places {
    struct wal_place *places;
    size_t first; /* those before were released */
    size_t count;
    size_t capacity;
    uint64_t hole_places_count;
};

static inline uint64_t wal_place_last(const struct wal_place *place)
{
    return place->first + place->count - 1;
}

static inline enum wal_hole wal_place_hole(const struct wal_place *place)
{
    return place->blocks != 0 ? WAL_WHOLE : (enum wal_hole)place->segment;
}

/* The place of entries from `first` on in a batch, or of a hole. */
struct wal_place wal_place_of(uint64_t first, uint32_t count, const struct wal_batch_id *batch,
                              uint64_t offset);
struct wal_place wal_place_of_hole(uint64_t first, uint32_t count, enum wal_hole hole);

void wal_places_free(struct wal_places *places);

/* Makes room for `more` places, so that as many changes cannot fail. A fill takes two. */
MUST_CHECK enum status wal_places_reserve(struct wal_places *places, size_t more);

/* The last index that is covered; 0: none. */
uint64_t wal_places_last(const struct wal_places *places);

/* Goes on with what follows the last one. Room was reserved. */
void wal_places_append(struct wal_places *places, const struct wal_place *place);

/* Forgets `index` and all above it; all at or below `index`. */
void wal_places_cut(struct wal_places *places, uint64_t index);
void wal_places_release(struct wal_places *places, uint64_t index);

/* Takes the place of the same indexes, as far as they are covered. Room for two was reserved. */
void wal_places_fill(struct wal_places *places, const struct wal_place *fill);

/* NULL: not covered. Valid until the next change. */
const struct wal_place *wal_places_find(const struct wal_places *places, uint64_t index);

/* The place after one that was found; NULL after the last. */
const struct wal_place *wal_places_next(const struct wal_places *places,
                                        const struct wal_place *place);

/* The first hole above `after`, and how many entries it has from there; NULL: none. */
const struct wal_place *wal_places_hole_next(const struct wal_places *places, uint64_t after,
                                             uint64_t *index, uint64_t *count);

#endif
