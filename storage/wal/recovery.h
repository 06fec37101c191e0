/* SPDX-License-Identifier: Apache-2.0 */
/* What the log holds after a stop of any kind: reads and verifies all of it, decides what a bad
 * batch means, and replays. Writes nothing; blocking.
 *
 * Each place where a batch should stand is judged by this table. INSIDE is before the end that the
 * next segment's header recorded; OPEN is in the newest segment, whose end nobody recorded. A
 * successor is a later header of the same life: it was written only after what precedes it was
 * durable, so that its absence is no accident of a crash. What a bad batch carried is known by its
 * own header where that is whole, or by the identifier in its successor's header (of a segment's
 * last batch: in the next segment's).
 *
 *     place    batch    successor   known   alone   verdict
 *     ------   ------   ---------   -----   ----- ------------------------------------------------
 *     any      valid    any         any     any     TAKE
 *     INSIDE   blank,   any         yes     no      HOLES: it was durable; peers have what it held
 *              broken
 *     INSIDE   blank,   any         no      no      GAP: it was durable; what it held follows from
 *              broken                               what comes after (outline.h), or is CORRUPT
 *     INSIDE   blank,   any         any     yes     CORRUPT
 *              broken
 *     OPEN     blank    no          any     any     END: nothing was begun here
 *     OPEN     blank,   yes         yes     no      HOLES
 *              broken
 *     OPEN     blank,   yes         no      no      GAP
 *              broken
 *     OPEN     blank,   yes         any     yes     CORRUPT
 *              broken
 *     OPEN     broken   no          yes     no      SUSPECT: torn, or decayed after it was
 *                                                   acknowledged: suspect holes
 *     OPEN     broken   no          no      no      SUSPECT: a suspect tail of unknown extent
 *     OPEN     broken   no          any     yes     TORN: the write under way when the power went;
 *                                                   dropped
 *
 * A broken place right after a bad last batch whose own header is whole is a successor too: another
 * batch was begun there.
 *
 * Whether the log is `alone` may be told only by its entries: then it is read as if it were not,
 * and wal_recovery_alone() judges the findings afterwards. Where they are CORRUPT, nothing was
 * written; where the last batch is suspect, it is recorded so, and dropped by a record.
 *
 * The end of a segment that has no room for one more batch is an END. An end that differs from the
 * recorded one, a gap in the ids, a segment's header that does not hold, or a predecessor that is
 * not the one recorded, is CORRUPT for all: segments get their names after their headers are
 * durable, so no crash leaves such.
 *
 * What survives a restart. A hole is found again, as its batch stays bad; a FILL, TRUNCATE or
 * superseding APPEND after it mends it again. A suspect batch lies past the end that the next
 * segment's header records: so that header repeats its identifier, and each segment's header says
 * whether a tail of unknown extent is still to be settled.
 *
 * The log and the state. `base` is the mark up to which the state is durable, `last` the log's end:
 *
 *     the log                                       then
 *     -------------------------------------------   ----------------------------------------------
 *     holds (base.index, base.term), or begins      it goes on; what lies above is replayed
 *     after it
 *     ends at or below base.index, without it       it begins anew after `base`: what it lacks is
 *                                                   in the state
 *     goes farther, without it; `base` is the       it begins anew after `base`: the power went
 *     hard state's `snapshot`                       between the state's swap and the reset, and
 *                                                   the snapshot superseded what the log holds
 *     goes farther, without it; else                CORRUPT: it is not this state's log */
#ifndef STORAGE_WAL_RECOVERY_H
#define STORAGE_WAL_RECOVERY_H

#include "storage/wal/outline.h"
#include "storage/wal/reader.h"
#include "storage/wal/writer.h"

enum wal_place_kind { WAL_PLACE_INSIDE, WAL_PLACE_OPEN };

enum wal_verdict {
    WAL_VERDICT_TAKE,
    WAL_VERDICT_END,
    WAL_VERDICT_HOLES,
    WAL_VERDICT_GAP,
    WAL_VERDICT_SUSPECT,
    WAL_VERDICT_TORN,
    WAL_VERDICT_CORRUPT,
};

/* The table. */
enum wal_verdict wal_recovery_verdict(enum wal_place_kind place, enum wal_batch_state state,
                                      bool has_successor, bool is_known, bool alone);

struct wal_recovery {
    /* Set by the owner. */
    struct io *io;
    struct keyring *keyring;
    const char *directory;
    bool alone; /* it is known from the start: a bad last batch is dropped as torn */
    struct wal_mark base;
    struct wal_mark snapshot; /* of the hard state */

    /* Results of wal_recovery_read(). The owner may take `outline` and `segments` over by zeroing
     * them here. */
    struct wal_outline outline;
    struct wal_segments segments;
    struct wal_position position; /* where the log ends, and what the next header is to say */
    uint64_t entries_count;       /* replayed */
    bool broken_last;             /* the newest segment ends with a bad batch */
    uint64_t broken_index;        /* the first index that it might have held */
    bool broken_unknown;          /* what it held is not known, and it is not torn */
    bool gap_last;                /* the log ends with a gap: something durable is missing there */
    struct error damage;          /* the first finding of a batch that was durable and is bad */
    struct error doubt;           /* what is said of the bad last batch */

    /* The recovery's. */
    struct wal_segment_header *headers;
    size_t headers_count;
};

/* Reads and verifies all segments of the listing. */
MUST_CHECK enum status wal_recovery_read(struct wal_recovery *recovery,
                                         const struct wal_listing *listing, struct error *error);

/* Where the batches of a segment end, by position: as the next one's header says, or with the
 * segment. Not verified. */
uint64_t wal_recovery_segment_end(const struct wal_recovery *recovery, size_t position);

/* Judges what was found as a region of one must: CORRUPT where anything that was durable is missing
 * and not mended. What is suspect is a tail, which the owner drops. */
MUST_CHECK enum status wal_recovery_alone(struct wal_recovery *recovery, struct error *error);

/* Whether the log goes with a state that is durable up to `base`: CORRUPT where it does not. */
MUST_CHECK enum status wal_recovery_fit(struct wal_recovery *recovery, struct error *error);

/* Makes durable what was read: a process that was killed may have left it in the device's cache,
 * and its end is about to be recorded as durable. */
MUST_CHECK enum status wal_recovery_flush(struct wal_recovery *recovery, struct error *error);

/* Gives the entries above `base` in order, holes too. */
MUST_CHECK enum status wal_recovery_replay(struct wal_recovery *recovery, wal_replay_fn *replay,
                                           void *context, struct error *error);

void wal_recovery_free(struct wal_recovery *recovery);

#endif
