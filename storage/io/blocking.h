/* SPDX-License-Identifier: Apache-2.0 */
/* The operations of io.h, started and waited for: for start-up, shut-down and workers. Each is
 * io_X() and io_wait(); statuses are those of io.h. */
#ifndef STORAGE_IO_BLOCKING_H
#define STORAGE_IO_BLOCKING_H

#include "storage/io/io.h"

MUST_CHECK enum status io_open_wait(struct io *io, const char *path, unsigned flags,
                                    struct io_file **file);
MUST_CHECK enum status io_close_wait(struct io *io, struct io_file *file);
MUST_CHECK enum status io_read_wait(struct io *io, struct io_file *file, void *to, size_t size,
                                    uint64_t offset, size_t *read_size);
MUST_CHECK enum status io_write_wait(struct io *io, struct io_file *file, const void *from,
                                     size_t size, uint64_t offset);
MUST_CHECK enum status io_flush_wait(struct io *io, struct io_file *file);
MUST_CHECK enum status io_write_back_wait(struct io *io, struct io_file *file, uint32_t size,
                                          uint64_t offset);
MUST_CHECK enum status io_allocate_wait(struct io *io, struct io_file *file, uint64_t size);
MUST_CHECK enum status io_truncate_wait(struct io *io, struct io_file *file, uint64_t size);
MUST_CHECK enum status io_file_size_wait(struct io *io, struct io_file *file, uint64_t *size);
MUST_CHECK enum status io_rename_wait(struct io *io, const char *from, const char *to);
MUST_CHECK enum status io_unlink_wait(struct io *io, const char *path);
MUST_CHECK enum status io_link_wait(struct io *io, const char *from, const char *to);
MUST_CHECK enum status io_make_directory_wait(struct io *io, const char *path);
MUST_CHECK enum status io_remove_directory_wait(struct io *io, const char *path);
MUST_CHECK enum status io_flush_directory_wait(struct io *io, const char *path);

/* Turns for so long: what pends on the io goes on meanwhile. */
void io_pause_wait(struct io *io, uint64_t duration_ns);

/* The whole of a small file, at most `size_max` bytes (TOO_LARGE past it), into memory from
 * malloc, which the caller frees. */
MUST_CHECK enum status io_read_file_wait(struct io *io, const char *path, size_t size_max,
                                         uint8_t **contents, size_t *size);

#endif
