/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a checkpoint as a stream that another LSM imports (import.h): a header, then pieces, which
 * are opened here and sealed anew there, under keys of the receiver's own. transfer.h has the
 * bytes, and says why entries travel and not blocks.
 *
 * Several exports may read one checkpoint, each for a receiver of its own. An export belongs to one
 * worker at a time, which gives its io; it holds about 1 MiB. All calls but the small questions are
 * blocking; each works off at most about 0.5 MiB. */
#ifndef STORAGE_LSM_EXPORT_H
#define STORAGE_LSM_EXPORT_H

#include "storage/lsm/lsm.h"

struct lsm_export;

struct lsm_export_options {
    struct keyring *keyring;          /* that the checkpoint was made under */
    const char *directory;            /* of the checkpoint; stays until the export is closed */
    uint8_t id[lsm_transfer_id_size]; /* of the checkpoint: random, the same in all its exports */
};

/* Reads the manifest. Errors are those of lsm_open(). */
MUST_CHECK enum status lsm_export_open(struct io *io, const struct lsm_export_options *options,
                                       struct lsm_export **export, struct error *error);

/* The stream's header, and what a receiver will have when it has all. Valid while it is open. */
struct bytes lsm_export_header(const struct lsm_export *export);
const struct lsm_mark *lsm_export_mark(const struct lsm_export *export);
uint32_t lsm_export_tables_count(const struct lsm_export *export);
uint64_t lsm_export_size(const struct lsm_export *export); /* of all tables' files */

/* The next piece will be the one at `position`: what the receiver lacks. Positions that the stream
 * does not have are INVALID_ARGUMENT, or END from lsm_export_next(). */
MUST_CHECK enum status lsm_export_seek(struct lsm_export *export, struct io *io,
                                       struct lsm_transfer_position position);

/* OK with a piece, valid until the next call; AGAIN: call again (it passes over what the receiver
 * has of this table); END: that was all. CORRUPT, IO_ERROR, NO_MEMORY, with text: only closing is
 * left. */
MUST_CHECK enum status lsm_export_next(struct lsm_export *export, struct io *io,
                                       struct bytes *piece, struct error *error);

void lsm_export_close(struct lsm_export *export, struct io *io); /* NULL is permitted */

#endif
