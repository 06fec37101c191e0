/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a table from first to last on a worker, for compaction: past the block cache, in large
 * reads into buffers of its own (about 0.5 MiB), with a sealer of its own. */
#ifndef STORAGE_LSM_TABLE_SCANNER_H
#define STORAGE_LSM_TABLE_SCANNER_H

#include "storage/lsm/table.h"

struct table_scanner;

/* The core's thread; `table` stays referenced by the caller until the scanner is closed. Stands
 * before the first entry. NO_MEMORY. */
MUST_CHECK enum status table_scanner_open(struct table *table, struct table_scanner **scanner);

/* Any one thread at a time, with its own io. OK, END, CORRUPT, IO_ERROR, NO_MEMORY. The entry is
 * valid until the next call. Blocking. */
MUST_CHECK enum status table_scanner_next(struct table_scanner *scanner, struct io *io,
                                          struct lsm_entry *entry);

/* Bytes read from the file so far: for working in steps. */
uint64_t table_scanner_read_size(const struct table_scanner *scanner);

/* Any thread that has it. NULL is permitted. */
void table_scanner_close(struct table_scanner *scanner);

#endif
