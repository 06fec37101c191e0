/* SPDX-License-Identifier: Apache-2.0 */
/* The log as its records leave it, while recovery reads them in order: terms, places, holes.
 *
 * A batch that does not hold leaves holes where it is known what it carried: by its own header, or
 * by the identifier in its successor. Where neither is left there is a gap: the batch may have
 * appended, superseded and dropped anything. What comes next in the log tells more, by Raft's Log
 * Matching Property (Ongaro 3.5): two logs that have an entry of the same index and term agree in
 * all before it, and all entries between two of one term have that term.
 *
 *     next is (k, t), and the outline holds               then
 *     -------------------------------------------------   ---------------------------------------
 *     (k, t), or k is 1                                   nothing before k has changed
 *     (j, t), with the largest such j below k             nothing up to j has changed, and what
 *                                                         lies between is of term t: holes
 *     nothing of term t below k                           what stood before k is not known: the
 *                                                         outline begins anew before k (`lost`)
 *     nothing comes next                                  a suspect tail of unknown extent
 *
 * (j is the last entry below k: terms never fall along a log, so if that one is not of term t, none
 * is.) An outline that has `lost` is of use only with a state that is durable up to an entry which
 * it holds. */
#ifndef STORAGE_WAL_OUTLINE_H
#define STORAGE_WAL_OUTLINE_H

#include "storage/wal/places.h"
#include "storage/wal/terms.h"

struct wal_outline {
    struct wal_terms terms;
    struct wal_places places; /* of terms.begin.index + 1 to terms.last_index */
    uint64_t unknown_first;   /* of a suspect tail of unknown extent; 0: none */
    bool gap;                 /* since what was applied last */
    bool lost;                /* it began anew after a gap */
};

/* Nothing, after `mark`. The unknown tail is kept. */
void wal_outline_restart(struct wal_outline *outline, struct wal_mark mark);
void wal_outline_free(struct wal_outline *outline);

/* Entries of one term and one batch, or holes: `place` says which. They supersede. CORRUPT: they do
 * not follow. NO_MEMORY. */
MUST_CHECK enum status wal_outline_append(struct wal_outline *outline,
                                          const struct wal_place *place, uint64_t term);

/* One that mends. CORRUPT: the log does not have it. */
MUST_CHECK enum status wal_outline_fill(struct wal_outline *outline, const struct wal_place *place,
                                        uint64_t term);
void wal_outline_truncate(struct wal_outline *outline, uint64_t index);

/* What a batch that is lost carried, or one that may have been durable. */
MUST_CHECK enum status wal_outline_holes(struct wal_outline *outline, const struct wal_batch_id *id,
                                         enum wal_hole hole);

/* A batch is lost of which nothing is known; the log has more after it. */
void wal_outline_gap(struct wal_outline *outline);

/* The log's last entry is `mark`, as a segment's header says. CORRUPT: it cannot be. */
MUST_CHECK enum status wal_outline_expect(struct wal_outline *outline, struct wal_mark mark);

/* The log ends. */
void wal_outline_end(struct wal_outline *outline);

#endif
