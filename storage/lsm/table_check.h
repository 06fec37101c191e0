/* SPDX-License-Identifier: Apache-2.0 */
/* Verifies a whole table file on a worker: header, footer, every index, filter and data block, the
 * order of all entries, and that what the indexes, filters, the footer and the manifest say of them
 * is so. Reads the file anew, past the block cache. */
#ifndef STORAGE_LSM_TABLE_CHECK_H
#define STORAGE_LSM_TABLE_CHECK_H

#include "storage/lsm/table.h"

struct table_check;

/* Told of each finding: where in the file, and what, as text that lives on. */
typedef void table_check_bad_fn(void *context, uint64_t offset, const char *text);

/* The core's thread; `table` stays referenced by the caller until the check is closed. NO_MEMORY.
 */
MUST_CHECK enum status table_check_open(struct table *table, struct table_check **check);

/* Any one thread at a time, with its own io: verifies about 1 MiB more. OK: call again; END: all is
 * verified (findings were given to `bad`, on this thread); NO_MEMORY: call again later. A block
 * that cannot be read is a finding like any other. Blocking. */
MUST_CHECK enum status table_check_step(struct table_check *check, struct io *io,
                                        table_check_bad_fn *bad, void *context);

/* Bytes of the file verified so far. */
uint64_t table_check_size(const struct table_check *check);
void table_check_close(struct table_check *check); /* NULL is permitted */

#endif
