/* SPDX-License-Identifier: Apache-2.0 */
/* What the log holds after a stop of any kind: reads and verifies all of it, decides what a bad
 * batch means, and replays. Writes nothing; blocking.
 *
 * Each place where a batch should stand is judged by this table. INSIDE is before the end that the
 * next segment's header recorded; OPEN is in the newest segment, whose end nobody recorded. A
 * successor is a later header of the same life: it was written only after what precedes it was
 * durable, so that its absence is no accident of a crash.
 *
 *     place    batch    successor   alone   verdict
 *     ------   ------   ---------   ----- --------------------------------------------------------
 *     any      valid    any         any     TAKE
 *     INSIDE   blank    any         any     CORRUPT: it was durable
 *     INSIDE   broken   any         any     CORRUPT: it was durable
 *     OPEN     blank    no          any     END: nothing was begun here
 *     OPEN     blank    yes         any     CORRUPT: it was durable
 *     OPEN     broken   yes         any     CORRUPT: it was durable
 *     OPEN     broken   no          yes     TORN: the write under way when the power went; dropped
 *     OPEN     broken   no          no      SUSPECT: torn, or decayed after it was acknowledged;
 * only peers can tell, and it is not dropped
 *
 * The end of a segment that has no room for one more batch is an END. An end that differs from the
 * recorded one, a gap in the ids, a header that does not hold, or a predecessor that is not the one
 * recorded, is CORRUPT: segments get their names after their headers are durable, so no crash
 * leaves such. */
#ifndef STORAGE_WAL_RECOVERY_H
#define STORAGE_WAL_RECOVERY_H

#include "storage/wal/reader.h"
#include "storage/wal/terms.h"
#include "storage/wal/writer.h"

enum wal_place { WAL_PLACE_INSIDE, WAL_PLACE_OPEN };

enum wal_verdict {
    WAL_VERDICT_TAKE,
    WAL_VERDICT_END,
    WAL_VERDICT_TORN,
    WAL_VERDICT_SUSPECT,
    WAL_VERDICT_CORRUPT,
};

/* The table. */
enum wal_verdict wal_recovery_verdict(enum wal_place place, enum wal_batch_state state,
                                      bool has_successor, bool alone);

/* Consecutive entries of one batch that are part of the log. */
struct wal_piece {
    uint64_t first;
    uint64_t last;
    uint64_t term;
    uint64_t batch_offset;
    uint64_t sequence;
    size_t segment; /* position among the headers */
    uint32_t record_offset;
    uint32_t record_end;
};

struct wal_recovery {
    /* Set by the owner. */
    struct io *io;
    struct keyring *keyring;
    const char *directory;
    bool alone;
    struct wal_mark base;

    /* Results of wal_recovery_read(). The owner may take `terms` and `segments` over by zeroing
     * them here. */
    struct wal_terms terms;
    struct wal_segments segments;
    struct wal_position position; /* where the log ends */
    uint64_t entries_count;       /* replayed */
    bool torn;
    uint64_t torn_index;

    /* The recovery's. */
    struct wal_segment_header *headers;
    size_t headers_count;
    struct wal_piece *pieces; /* entries above base.index, in order */
    size_t pieces_count;
    size_t pieces_capacity;
};

/* Reads and verifies all segments of the listing. */
MUST_CHECK enum status wal_recovery_read(struct wal_recovery *recovery,
                                         const struct wal_listing *listing, struct error *error);

/* Whether the log goes with a state that is durable up to `base`: CORRUPT where it does not. A log
 * that ends at or below `base` begins anew there. */
MUST_CHECK enum status wal_recovery_fit(struct wal_recovery *recovery, struct error *error);

/* Makes durable what was read: a process that was killed may have left it in the device's cache,
 * and its end is about to be recorded as durable. */
MUST_CHECK enum status wal_recovery_flush(struct wal_recovery *recovery, struct error *error);

MUST_CHECK enum status wal_recovery_replay(struct wal_recovery *recovery, wal_replay_fn *replay,
                                           void *context, struct error *error);

void wal_recovery_free(struct wal_recovery *recovery);

#endif
