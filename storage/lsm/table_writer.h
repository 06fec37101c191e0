/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a table file: entries in order in, sealed blocks out, in large sequential writes.
 *
 * Made on the core's thread (it draws the file's key from the keyring); then it belongs to the
 * worker that was handed it, and may move between workers from step to step with their job, each
 * giving its own io. Holds about 1.5 MiB, whatever the table's size. */
#ifndef STORAGE_LSM_TABLE_WRITER_H
#define STORAGE_LSM_TABLE_WRITER_H

#include "storage/lsm/table.h"

struct table_writer;

struct table_writer_options {
    struct keyring *keyring;
    const char *directory;               /* copied */
    const struct lsm_tree_options *tree; /* outlives the writer */
    uint64_t number;                     /* never used before; not 0 */
    bool uncompressed;                   /* no LZ4 */
};

/* Touches no file yet. NO_MEMORY, INVALID_ARGUMENT (the path is too long). */
MUST_CHECK enum status table_writer_create(const struct table_writer_options *options,
                                           struct table_writer **writer);

/* Strictly ascending in the order of entry.h; sizes within the tree's. Bytes are copied. Blocking
 * now and then: writes. DISK_FULL, IO_ERROR, NO_MEMORY, ALREADY_EXISTS; after a failure only
 * table_writer_abandon() may follow. */
MUST_CHECK enum status table_writer_add(struct table_writer *writer, struct io *io,
                                        const struct lsm_entry *entry);

/* Bytes that the file would have about now, and entries added: for deciding when to finish. */
uint64_t table_writer_size(const struct table_writer *writer);
uint64_t table_writer_entries_count(const struct table_writer *writer);

/* Writes the rest, flushes and closes the file, and frees the writer. At least one entry was added.
 * `info` is the caller's (table_info_free). The file's name is durable only once the caller has
 * flushed the directory. On failure the writer remains, to be abandoned. A failed flush is
 * IO_ERROR, and the file is not to be used. Blocking. */
MUST_CHECK enum status table_writer_finish(struct table_writer *writer, struct io *io,
                                           struct table_info *info);

/* Closes and removes what was written, and frees the writer. What cannot be removed is left for the
 * next start, where no manifest names it. NULL is permitted. Blocking. */
void table_writer_abandon(struct table_writer *writer, struct io *io);

#endif
