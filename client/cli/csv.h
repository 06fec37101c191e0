/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a CSV file, plain or gzip, after RFC 4180: fields between commas, quoted where they hold
 * commas, quotes (doubled) or line ends.
 *
 * Text that is not UTF-8 is taken for Latin-1, field by field. A row that is malformed costs its
 * first line alone: reading goes on with the next one, also after a quote that never ends. */
#ifndef CLIENT_CLI_CSV_H
#define CLIENT_CLI_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { csv_fields_max = 64, csv_row_size_max = 64 * 1024 };

struct csv;

enum csv_result {
    CSV_ROW,
    CSV_END,
    CSV_MALFORMED, /* csv_reason() says why; csv_line() where */
    CSV_BROKEN,    /* the file cannot be read on */
};

/* NULL with errno; a directory is EISDIR. */
struct csv *csv_open(const char *path);
void csv_close(struct csv *csv);

/* `fields` are texts without zero bytes, valid until the next call. Empty lines are passed over. */
enum csv_result csv_next(struct csv *csv, const char *fields[csv_fields_max], size_t *count);

/* The line at which the row of the last call began, from 1. */
uint64_t csv_line(const struct csv *csv);
const char *csv_reason(const struct csv *csv);

/* How far the reading is: bytes of the file as it lies on the disk, and its size. */
void csv_progress(struct csv *csv, uint64_t *read_size, uint64_t *file_size);

#endif
