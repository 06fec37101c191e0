/* SPDX-License-Identifier: Apache-2.0 */
/* Entries on their way to another region: encoded as they stand in the log, one after another, in
 * one LZ4 block.
 *
 *     u32 size, the entry's bytes (proto/entry.h); and again
 *
 * The size before compression travels beside it (RegionPullReply), and is checked before anything
 * is allocated for it. Nothing is believed of what comes: every entry is decoded, is of a shared
 * kind, and is the successor of the one before it. */
#ifndef REPLICATION_REGION_BATCH_H
#define REPLICATION_REGION_BATCH_H

#include "proto/entry.h"
#include "proto/limits.h"
#include "replication/region/position.h"

enum {
    batch_entry_size_max = entry_header_size + limit_identity_size + limit_txn_size,
    /* A batch holds what was asked for, or one entry however large it is. */
    batch_size_max = 4 + batch_entry_size_max,
    batch_size_asked_max = 1024 * 1024,
};

/* ---- Writing ---- */

struct batch {
    uint8_t *raw; /* batch_size_max bytes */
    size_t size;
    uint32_t count;
};

MUST_CHECK enum status batch_init(struct batch *batch);
void batch_free(struct batch *batch);
void batch_clear(struct batch *batch);

/* False where it does not fit in `size_max`, and is not the first. At most batch_entry_size_max. */
MUST_CHECK bool batch_add(struct batch *batch, struct bytes entry, size_t size_max);

/* How large the block may become. */
size_t batch_block_size_max(size_t raw_size);

/* The block of what was added; `to` has room for batch_block_size_max(). Its size. */
size_t batch_compress(const struct batch *batch, uint8_t *to, size_t to_size);

/* ---- Reading ---- */

/* What comes next in the stream, as far as that shows from headers. An epoch changes with an entry
 * of the kind ENTRY_EPOCH: that one's own header has the old epoch (a grant by the old primary) or
 * the new one (a promotion). Whether the change holds is for apply to say. */
struct batch_successor {
    struct epoch epoch;
    uint64_t version; /* of the last one taken */
    bool may_rise;    /* the last one was an ENTRY_EPOCH: the next may be of a higher epoch */
};

void batch_successor_init(struct batch_successor *successor,
                          const struct region_position *position);

/* Takes the entry, where it is the successor; else MALFORMED, and nothing has changed. */
MUST_CHECK enum status batch_successor_take(struct batch_successor *successor,
                                            const struct entry *entry);

/* The epoch that an entry begins; false for any that begins none. */
bool batch_epoch_begun(const struct entry *entry, struct epoch *epoch);

/* Opens a block: `*raw` is the caller's, to be freed. MALFORMED where it is not one of exactly
 * `raw_size` bytes, TOO_LARGE past batch_size_max, NO_MEMORY. */
MUST_CHECK enum status batch_open(struct bytes block, size_t raw_size, uint8_t **raw);

/* The next entry of what is left of an open block: its bytes, and decoded; both refer to the block.
 * END after the last; else as entry_decode(), and MALFORMED for one of a regional kind. */
MUST_CHECK enum status batch_next(struct bytes *rest, struct bytes *bytes, struct entry *entry);

#endif
