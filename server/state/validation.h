/* SPDX-License-Identifier: Apache-2.0 */
/* Whether what a commit read is still as it was at its snapshot. */
#ifndef SERVER_STATE_VALIDATION_H
#define SERVER_STATE_VALIDATION_H

#include "proto/strait.pb-c.h"
#include "server/state/catalog.h"
#include "storage/lsm/lsm.h"

struct validation {
    const Strait__Commit *commit;
    const struct catalog *catalog;
    uint8_t *done; /* one for each read and range */
    size_t left;   /* not known yet */
    enum status
        verdict; /* OK so far; CONFLICT, SNAPSHOT_TOO_OLD, HISTORY_LOST, NO_TABLE, NO_INDEX */
};

/* Where a commit's snapshot is to belong. */
struct validation_history {
    uint64_t version; /* the state's */
    uint64_t horizon;
    bool is_lost; /* the snapshot's epoch is none of this history, or did not come so far */
};

/* What the schema and the versions say already. `done` has room for all reads and ranges, and is
 * cleared. */
void validation_init(struct validation *validation, const Strait__Commit *commit,
                     const struct catalog *catalog, const struct validation_history *history,
                     uint8_t *done);

/* Looks up to `*lookups_left` of them up; asks for all blocks before it answers AGAIN. OK: the
 * verdict is final. AGAIN with nothing pending in `wait`: there is more to do. CORRUPT, IO_ERROR.
 */
MUST_CHECK enum status validation_step(struct validation *validation, struct lsm_view *view,
                                       struct lsm_wait *wait, unsigned *lookups_left);

#endif
