/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/io/io.h"

#include "proto/base/assert.h"

/* Fills the fields that all operations share and hands the op over. Those of the one kind were set
 * before. */
static void submit(struct io *io, struct io_op *op, enum io_kind kind)
{
    ASSERT(!op->pending);
    op->kind = (uint8_t)kind;
    op->step = 0;
    op->pending = true;
    op->status = STATUS_OK;
    op->error_number = 0;
    op->size = 0;
    list_init(&op->link);
    io->pending_count++;
    io->operations->submit(io, op);
}

static void submit_file(struct io *io, struct io_op *op, enum io_kind kind, struct io_file *file,
                        void *buffer, uint64_t wanted, uint64_t offset)
{
    ASSERT(!op->pending);
    ASSERT(file != NULL);
    op->file = file;
    op->buffer = buffer;
    op->wanted = wanted;
    op->offset = offset;
    submit(io, op, kind);
}

static void submit_path(struct io *io, struct io_op *op, enum io_kind kind, const char *path,
                        const char *path_to)
{
    ASSERT(!op->pending);
    ASSERT(path != NULL);
    op->file = NULL;
    op->path = path;
    op->path_to = path_to;
    submit(io, op, kind);
}

void io_open(struct io *io, struct io_op *op, const char *path, unsigned flags)
{
    ASSERT((flags & (IO_READ | IO_WRITE)) != 0);
    op->flags = flags;
    submit_path(io, op, IO_KIND_OPEN, path, NULL);
}

void io_close(struct io *io, struct io_op *op, struct io_file *file)
{
    submit_file(io, op, IO_KIND_CLOSE, file, NULL, 0, 0);
}

void io_read(struct io *io, struct io_op *op, struct io_file *file, void *to, size_t size,
             uint64_t offset)
{
    submit_file(io, op, IO_KIND_READ, file, to, size, offset);
}

void io_write(struct io *io, struct io_op *op, struct io_file *file, const void *from, size_t size,
              uint64_t offset)
{
    submit_file(io, op, IO_KIND_WRITE, file, (void *)(uintptr_t)from, size, offset);
}

void io_write_flush(struct io *io, struct io_op *op, struct io_file *file, const void *from,
                    size_t size, uint64_t offset)
{
    submit_file(io, op, IO_KIND_WRITE_FLUSH, file, (void *)(uintptr_t)from, size, offset);
}

void io_flush(struct io *io, struct io_op *op, struct io_file *file)
{
    submit_file(io, op, IO_KIND_FLUSH, file, NULL, 0, 0);
}

void io_write_back(struct io *io, struct io_op *op, struct io_file *file, uint32_t size,
                   uint64_t offset)
{
    submit_file(io, op, IO_KIND_WRITE_BACK, file, NULL, size, offset);
}

void io_allocate(struct io *io, struct io_op *op, struct io_file *file, uint64_t size)
{
    submit_file(io, op, IO_KIND_ALLOCATE, file, NULL, size, 0);
}

void io_truncate(struct io *io, struct io_op *op, struct io_file *file, uint64_t size)
{
    submit_file(io, op, IO_KIND_TRUNCATE, file, NULL, size, 0);
}

void io_file_size(struct io *io, struct io_op *op, struct io_file *file)
{
    submit_file(io, op, IO_KIND_FILE_SIZE, file, NULL, 0, 0);
}

void io_rename(struct io *io, struct io_op *op, const char *from, const char *to)
{
    submit_path(io, op, IO_KIND_RENAME, from, to);
}

void io_unlink(struct io *io, struct io_op *op, const char *path)
{
    submit_path(io, op, IO_KIND_UNLINK, path, NULL);
}

void io_link(struct io *io, struct io_op *op, const char *from, const char *to)
{
    submit_path(io, op, IO_KIND_LINK, from, to);
}

void io_make_directory(struct io *io, struct io_op *op, const char *path)
{
    submit_path(io, op, IO_KIND_MAKE_DIRECTORY, path, NULL);
}

void io_remove_directory(struct io *io, struct io_op *op, const char *path)
{
    submit_path(io, op, IO_KIND_REMOVE_DIRECTORY, path, NULL);
}

void io_flush_directory(struct io *io, struct io_op *op, const char *path)
{
    submit_path(io, op, IO_KIND_FLUSH_DIRECTORY, path, NULL);
}

enum status io_read_now(struct io *io, struct io_file *file, void *to, size_t size, uint64_t offset,
                        size_t *read_size)
{
    *read_size = 0;
    return io->operations->read_now(io, file, to, size, offset, read_size);
}

enum status io_list(struct io *io, const char *path, io_list_fn *each, void *context)
{
    return io->operations->list(io, path, each, context);
}

enum status io_space(struct io *io, const char *path, struct io_space *space)
{
    *space = (struct io_space){0};
    return io->operations->space(io, path, space);
}

enum status io_lock(struct io *io, const char *path, struct io_file **lock)
{
    *lock = NULL;
    return io->operations->lock(io, path, lock);
}

uint64_t io_boot_ns(struct io *io)
{
    return io->operations->boot_ns(io);
}

uint64_t io_wall_ns(struct io *io)
{
    return io->operations->wall_ns(io);
}

void io_timer_start(struct io *io, struct io_timer *timer, uint64_t deadline_ns)
{
    ASSERT(timer->fired != NULL);
    timer->deadline_ns = deadline_ns;
    io->operations->timer_start(io, timer);
}

void io_timer_stop(struct io *io, struct io_timer *timer)
{
    io->operations->timer_stop(io, timer);
}

void io_turn(struct io *io, bool wait)
{
    io->operations->turn(io, wait);
}

enum status io_wait(struct io *io, struct io_op *op)
{
    while (op->pending)
        io->operations->turn(io, true);
    return op->status;
}

enum status io_bell_open(struct io *io, struct io_bell *bell)
{
    ASSERT(bell->rung != NULL);
    bell->private_pointer = NULL;
    return io->operations->bell_open(io, bell);
}

void io_bell_close(struct io *io, struct io_bell *bell)
{
    io->operations->bell_close(io, bell);
    bell->private_pointer = NULL;
}

void io_bell_ring(struct io *io_of_owner, struct io_bell *bell)
{
    io_of_owner->operations->bell_ring(bell);
}
