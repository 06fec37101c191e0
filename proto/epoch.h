/* SPDX-License-Identifier: Apache-2.0 */
/* Epochs: the reigns of primaries, and the bodies of the entries that begin and fence them.
 *
 * An epoch is (number, region), totally ordered; the region is its primary. It begins with one
 * entry of the stream that all regions share, ENTRY_EPOCH, whose body says which epoch it follows
 * and where that one ended, so that a log shows by itself how its history hangs together:
 *
 *     GRANT    the primary hands over: its last command, stamped with the epoch that it ends
 *     PROMOTE  a standby takes over without it: the first command of the new epoch, stamped with it
 *
 *     offset size
 *      0      1   format, 1
 *      1      1   kind
 *      2      2   the record's size
 *      4      4   region of the epoch that ends
 *      8      8   number of the epoch that ends
 *     16      8   number of the epoch that begins
 *     24      4   region of the epoch that begins
 *     28      4   0
 *     32      8   last version of the epoch that ends
 *     40     16   chain digest at that version
 *     56      8   log time at that version, nanoseconds
 *     64          the record
 *
 * ENTRY_FENCE stops the commands of one region, in its own log, once it has learnt of a higher
 * epoch:
 *
 *      0      1   format, 1
 *      1      1   0
 *      2      2   the record's size
 *      4      4   region whose commands it stops
 *      8      8   number of the epoch below which they are stopped
 *     16      4   region of that epoch
 *     20      4   0
 *     24          the record
 *
 * ENTRY_REWIND gives up the versions above one, in the log of a region that has a tail which the
 * history of the epoch that fences it lacks:
 *
 *      0      1   format, 1
 *      1      3   0
 *      4      4   region of the epoch that it gives way to
 *      8      8   number of the epoch that it gives way to
 *     16      8   number of the epoch of the last version that both share
 *     24      4   region of that epoch
 *     28      4   0
 *     32      8   the last version that both share
 *
 * ENTRY_ADOPT puts the state of another region's checkpoint in the place of this region's, in the
 * log of a standby that cannot come to it entry by entry:
 *
 *      0      1   format, 1
 *      1      3   0
 *      4      4   region of the checkpoint's epoch
 *      8      8   number of the checkpoint's epoch
 *     16      8   the checkpoint's version
 *     24     16   id: a digest of all that the checkpoint's mark says
 *
 * The record is the signed one of the promotion: opaque here. Integers are little-endian. */
#ifndef PROTO_EPOCH_H
#define PROTO_EPOCH_H

#include "proto/base/bytes.h"
#include "proto/base/hash.h"
#include "proto/base/status.h"
#include "proto/limits.h"

struct epoch {
    uint64_t number; /* 0: none */
    uint32_t region;
};

/* By number, then by region. <0, 0, >0. */
static inline int epoch_compare(struct epoch a, struct epoch b)
{
    if (a.number != b.number)
        return a.number < b.number ? -1 : 1;
    return (a.region > b.region) - (a.region < b.region);
}

static inline bool epoch_equal(struct epoch a, struct epoch b)
{
    return epoch_compare(a, b) == 0;
}

/* ---- How an epoch begins ---- */

/* Numbers are on disk and on the wire. */
enum epoch_change_kind { EPOCH_GRANT = 1, EPOCH_PROMOTE = 2 };

struct epoch_change {
    enum epoch_change_kind kind;
    struct epoch from;
    struct epoch to;      /* above `from`; of a grant: of another region */
    uint64_t version;     /* the last of `from`; the entry's own is the next */
    struct hash128 chain; /* at `version` */
    uint64_t log_time_ns; /* at `version` */
    struct bytes record;  /* at most limit_promotion_record_size; may be empty */
};

enum {
    epoch_change_header_size = 64,
    epoch_change_size_max = epoch_change_header_size + limit_promotion_record_size,
};

size_t epoch_change_size(const struct epoch_change *change);

/* Writes exactly epoch_change_size() bytes. */
void epoch_change_encode(const struct epoch_change *change, uint8_t *to);

/* `change->record` refers to `from`. MALFORMED where sizes, the kind, the order of the two epochs
 * or their regions (never 0) do not fit; UNSUPPORTED for another format. */
MUST_CHECK enum status epoch_change_decode(struct bytes from, struct epoch_change *change);

/* ---- How an epoch ended ---- */

struct epoch_end {
    struct epoch epoch;
    enum epoch_change_kind kind; /* of the change that ended it */
    uint64_t version;            /* its last */
    struct hash128 chain;        /* at `version` */
    uint64_t log_time_ns;        /* at `version` */
    struct epoch next;           /* which began with `version` + 1 */
};

/* ---- Fences ---- */

struct fence {
    uint32_t region;     /* whose commands it stops; never 0 */
    struct epoch epoch;  /* those of lower epochs */
    struct bytes record; /* at most limit_promotion_record_size; may be empty */
};

enum {
    fence_header_size = 24,
    fence_size_max = fence_header_size + limit_promotion_record_size,
};

size_t fence_size(const struct fence *fence);

/* Writes exactly fence_size() bytes. */
void fence_encode(const struct fence *fence, uint8_t *to);

/* As epoch_change_decode(). */
MUST_CHECK enum status fence_decode(struct bytes from, struct fence *fence);

/* ---- Rewinds ---- */

struct rewind {
    struct epoch to;   /* that it gives way to; above `from` */
    struct epoch from; /* of `version` */
    uint64_t version;  /* the last that both histories share; never 0 */
};

enum { rewind_size = 40 };

/* Writes exactly rewind_size bytes. */
void rewind_encode(const struct rewind *rewind, uint8_t *to);

/* As epoch_change_decode(). */
MUST_CHECK enum status rewind_decode(struct bytes from, struct rewind *rewind);

/* ---- Adoptions ---- */

struct adoption {
    struct epoch epoch; /* of `version` */
    uint64_t version;   /* never 0 */
    struct hash128 id;
};

enum { adoption_size = 40 };

/* Writes exactly adoption_size bytes. */
void adoption_encode(const struct adoption *adoption, uint8_t *to);

/* As epoch_change_decode(). */
MUST_CHECK enum status adoption_decode(struct bytes from, struct adoption *adoption);

#endif
