/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/io/blocking.h"

#include <stdlib.h>

#include "proto/base/assert.h"

enum status io_open_wait(struct io *io, const char *path, unsigned flags, struct io_file **file)
{
    struct io_op op = {0};
    *file = NULL;
    io_open(io, &op, path, flags);
    enum status status = io_wait(io, &op);
    if (status == STATUS_OK)
        *file = op.file;
    return status;
}

enum status io_close_wait(struct io *io, struct io_file *file)
{
    struct io_op op = {0};
    io_close(io, &op, file);
    return io_wait(io, &op);
}

enum status io_read_wait(struct io *io, struct io_file *file, void *to, size_t size,
                         uint64_t offset, size_t *read_size)
{
    struct io_op op = {0};
    *read_size = 0;
    io_read(io, &op, file, to, size, offset);
    enum status status = io_wait(io, &op);
    if (status == STATUS_OK)
        *read_size = op.size;
    return status;
}

enum status io_write_wait(struct io *io, struct io_file *file, const void *from, size_t size,
                          uint64_t offset)
{
    struct io_op op = {0};
    io_write(io, &op, file, from, size, offset);
    return io_wait(io, &op);
}

enum status io_flush_wait(struct io *io, struct io_file *file)
{
    struct io_op op = {0};
    io_flush(io, &op, file);
    return io_wait(io, &op);
}

enum status io_write_back_wait(struct io *io, struct io_file *file, uint32_t size, uint64_t offset)
{
    struct io_op op = {0};
    io_write_back(io, &op, file, size, offset);
    return io_wait(io, &op);
}

static void pause_over(struct io_timer *timer)
{
    bool *over = timer->context;
    *over = true;
}

void io_pause_wait(struct io *io, uint64_t duration_ns)
{
    bool over = false;
    struct io_timer timer = {.fired = pause_over, .context = &over};
    io_timer_start(io, &timer, io_boot_ns(io) + duration_ns);
    while (!over)
        io_turn(io, true);
}

enum status io_allocate_wait(struct io *io, struct io_file *file, uint64_t size)
{
    struct io_op op = {0};
    io_allocate(io, &op, file, size);
    return io_wait(io, &op);
}

enum status io_truncate_wait(struct io *io, struct io_file *file, uint64_t size)
{
    struct io_op op = {0};
    io_truncate(io, &op, file, size);
    return io_wait(io, &op);
}

enum status io_file_size_wait(struct io *io, struct io_file *file, uint64_t *size)
{
    struct io_op op = {0};
    *size = 0;
    io_file_size(io, &op, file);
    enum status status = io_wait(io, &op);
    if (status == STATUS_OK)
        *size = op.size;
    return status;
}

enum status io_rename_wait(struct io *io, const char *from, const char *to)
{
    struct io_op op = {0};
    io_rename(io, &op, from, to);
    return io_wait(io, &op);
}

enum status io_unlink_wait(struct io *io, const char *path)
{
    struct io_op op = {0};
    io_unlink(io, &op, path);
    return io_wait(io, &op);
}

enum status io_link_wait(struct io *io, const char *from, const char *to)
{
    struct io_op op = {0};
    io_link(io, &op, from, to);
    return io_wait(io, &op);
}

enum status io_make_directory_wait(struct io *io, const char *path)
{
    struct io_op op = {0};
    io_make_directory(io, &op, path);
    return io_wait(io, &op);
}

enum status io_remove_directory_wait(struct io *io, const char *path)
{
    struct io_op op = {0};
    io_remove_directory(io, &op, path);
    return io_wait(io, &op);
}

enum status io_flush_directory_wait(struct io *io, const char *path)
{
    struct io_op op = {0};
    io_flush_directory(io, &op, path);
    return io_wait(io, &op);
}

/* The file's size is read first and may be wrong by the time of the read; one byte more is asked
 * for, so that a file that has grown past the bound is seen. */
static enum status read_all(struct io *io, struct io_file *file, size_t size_max, uint8_t **buffer,
                            size_t *size)
{
    uint64_t file_size = 0;
    enum status status = io_file_size_wait(io, file, &file_size);
    if (status != STATUS_OK)
        return status;
    if (file_size > size_max)
        return STATUS_TOO_LARGE;
    *buffer = malloc((size_t)file_size + 1);
    if (*buffer == NULL)
        return STATUS_NO_MEMORY;
    status = io_read_wait(io, file, *buffer, (size_t)file_size + 1, 0, size);
    if (status == STATUS_OK && *size > size_max)
        status = STATUS_TOO_LARGE;
    return status;
}

enum status io_read_file_wait(struct io *io, const char *path, size_t size_max, uint8_t **contents,
                              size_t *size)
{
    struct io_file *file;
    uint8_t *buffer = NULL;
    *contents = NULL;
    *size = 0;
    ASSERT(size_max < SIZE_MAX);
    enum status status = io_open_wait(io, path, IO_READ, &file);
    if (status != STATUS_OK)
        return status;
    status = read_all(io, file, size_max, &buffer, size);
    enum status closed = io_close_wait(io, file);
    if (status == STATUS_OK)
        status = closed;
    if (status != STATUS_OK) {
        free(buffer);
        *size = 0;
        return status;
    }
    *contents = buffer;
    return STATUS_OK;
}
