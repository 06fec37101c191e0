/* SPDX-License-Identifier: Apache-2.0 */
/* Writes what another LSM exports (export.h) into a directory of its own, sealed under this
 * store's keys, until it is a whole LSM, which opens like any and can be installed (lsm_install()).
 *
 * What arrives is taken for what it may be: every entry is judged before the table writer, which
 * asserts, gets it. A piece is applied whole or not at all, after its digest was found to continue
 * its table's; a table is kept once its counts and versions are those that the sender's manifest
 * names, it was flushed, and it opens again.
 *
 * Going on after a break. While the import is open, the next piece is the one after the last that
 * was applied. After a failure, or the process's end, an import that is opened anew for the same
 * checkpoint begins at the first table that was not recorded, and that table's file begins anew,
 * under another number and another key: no block is ever sealed twice under one key. Finished
 * tables are recorded every few MiB, by a twin file "progress": the header of the stream, and a
 * manifest of the tables that are there.
 *
 * The directory holds nothing else: what is found there that the progress does not name is
 * removed, and all of it is where the progress is of another checkpoint.
 *
 * Belongs to one worker at a time, which gives its io. All calls but the small questions are
 * blocking; each works off one piece. */
#ifndef STORAGE_LSM_IMPORT_H
#define STORAGE_LSM_IMPORT_H

#include "storage/lsm/lsm.h"

struct lsm_import;

struct lsm_import_options {
    struct keyring *keyring;
    const char *directory;                /* made where it is absent; its parent exists */
    struct bytes header;                  /* of the stream: copied */
    const struct lsm_tree_options *trees; /* this version's; outlive the import */
    unsigned trees_count;
    uint64_t number_first; /* lsm_staging_number() of the LSM that is to install it */
    uint64_t record_size;  /* finished tables between two records; 0: 16 MiB */
    bool uncompressed;     /* no LZ4 */
};

/* What a stream's header says of its mark and of the size of the sender's files. MALFORMED,
 * CORRUPT, NEWER_FORMAT, NO_MEMORY. Small, not blocking. */
MUST_CHECK enum status lsm_import_look(struct bytes header, struct lsm_mark *mark, uint64_t *size);

/* MALFORMED, CORRUPT, NEWER_FORMAT (also trees that this version does not know, or has in another
 * form), INVALID_ARGUMENT (of another cluster): the stream is refused. Else as lsm_open(). */
MUST_CHECK enum status lsm_import_open(struct io *io, const struct lsm_import_options *options,
                                       struct lsm_import **import, struct error *error);

/* The piece that must come next; of table lsm_import_tables_count(): all tables are there. */
struct lsm_transfer_position lsm_import_position(const struct lsm_import *import);
uint32_t lsm_import_tables_count(const struct lsm_import *import);
uint64_t lsm_import_written_size(const struct lsm_import *import); /* of finished tables' files */
const struct lsm_mark *lsm_import_mark(const struct lsm_import *import);

/* INVALID_ARGUMENT: another piece than the next (a repetition, or one after a gap): nothing has
 * changed, and the import goes on. MALFORMED, CORRUPT, DISK_FULL, NO_MEMORY: only closing is left;
 * opened anew, it begins with the table under way. IO_ERROR: the process ends. */
MUST_CHECK enum status lsm_import_take(struct lsm_import *import, struct io *io, struct bytes piece,
                                       struct error *error);

/* All tables are there: writes the manifest. From OK on the directory opens. CORRUPT: the tables do
 * not make a whole. Else as lsm_import_take(). */
MUST_CHECK enum status lsm_import_finish(struct lsm_import *import, struct io *io,
                                         struct error *error);

/* Removes the file under way; the finished ones stay. NULL is permitted. */
void lsm_import_close(struct lsm_import *import, struct io *io);

#endif
