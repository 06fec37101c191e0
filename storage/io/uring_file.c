/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/io/uring_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "proto/base/assert.h"

/* One submission moves at most this much: the kernel's own bound is a little below 2 GiB. */
enum { transfer_size_max = 1 << 30 };

/* Attempts in a row that neither fail nor get further. Each EINTR, EAGAIN or empty transfer is one;
 * past these the device is said to have failed. */
enum { fruitless_max = 128 };

/* Where an op keeps what it needs from one step to the next. */
enum {
    WORD_FRUITLESS,  /* attempts in a row without progress */
    WORD_DESCRIPTOR, /* directory flush */
    WORD_ERROR,      /* directory flush: the flush's error number, told after closing */
};

/* Steps of a directory's flush. */
enum { DIRECTORY_OPEN, DIRECTORY_FLUSH, DIRECTORY_CLOSE };

static int flags_of_open(const struct io_op *op)
{
    int flags = O_CLOEXEC;
    if ((op->flags & IO_WRITE) == 0)
        flags |= O_RDONLY;
    else
        flags |= (op->flags & IO_READ) != 0 ? O_RDWR : O_WRONLY;
    if ((op->flags & IO_CREATE) != 0)
        flags |= O_CREAT | O_EXCL;
    if ((op->flags & IO_DIRECT) != 0)
        flags |= O_DIRECT;
    return flags;
}

static void assert_aligned(const struct io_op *op)
{
    if (op->file->direct) {
        ASSERT((uintptr_t)op->buffer % io_alignment == 0);
        ASSERT(op->wanted % io_alignment == 0);
        ASSERT(op->offset % io_alignment == 0);
    }
}

/* ftruncate() and fstat() are plain calls: the ring has none of the first in Linux 6.1, and hands
 * the second to a thread, which costs more than the call. */
static void submit_plain(struct uring *uring, struct io_op *op)
{
    int descriptor = op->file->descriptor;
    int error_number = 0;
    struct stat attributes;
    if (op->kind == IO_KIND_TRUNCATE) {
        int result;
        do
            result = ftruncate(descriptor, (off_t)op->wanted);
        while (result < 0 && errno == EINTR);
        error_number = result < 0 ? errno : 0;
    } else if (fstat(descriptor, &attributes) < 0) {
        error_number = errno;
    } else {
        op->size = (uint64_t)attributes.st_size;
    }
    uring_done_later(uring, op, uring_status_of(error_number), error_number);
}

void uring_file_submit(struct io *io, struct io_op *op)
{
    struct uring *uring = (struct uring *)io;
    memset(op->private_words, 0, sizeof op->private_words);
    switch (op->kind) {
    case IO_KIND_OPEN:
        op->private_pointer = calloc(1, sizeof(struct io_file));
        if (op->private_pointer == NULL) {
            uring_done_later(uring, op, STATUS_NO_MEMORY, ENOMEM);
            return;
        }
        break;
    case IO_KIND_READ:
    case IO_KIND_WRITE:
        assert_aligned(op);
        if (op->wanted == 0) {
            uring_done_later(uring, op, STATUS_OK, 0);
            return;
        }
        break;
    case IO_KIND_WRITE_FLUSH:
        assert_aligned(op);
        break;
    case IO_KIND_TRUNCATE:
    case IO_KIND_FILE_SIZE:
        submit_plain(uring, op);
        return;
    default:
        break;
    }
    uring_start(uring, op);
}

static unsigned transfer_size(const struct io_op *op)
{
    uint64_t left = op->wanted - op->size;
    return (unsigned)(left < transfer_size_max ? left : transfer_size_max);
}

static void prepare_write(struct uring *uring, struct io_op *op, unsigned flags)
{
    struct io_uring_sqe *entry = uring_entry(uring, op, false);
    io_uring_prep_write(entry, op->file->descriptor, op->buffer + op->size, transfer_size(op),
                        op->offset + op->size);
    io_uring_sqe_set_flags(entry, flags);
}

/* ---- A slow disk, for benchmarks ---- */

#if defined(STRAIT_PLANTED)

enum { slow_flush_s = 1 };

/* While the file that STRAIT_SLOW_FLUSH names is there, a write with its flush begins so late. Its
 * completion, which only tells that the time is over, is not told. */
static void prepare_slowness(struct uring *uring)
{
    static struct __kernel_timespec delay = {.tv_sec = slow_flush_s};
    const char *path = getenv("STRAIT_SLOW_FLUSH");
    if (path == NULL || access(path, F_OK) != 0)
        return;
    struct io_uring_sqe *entry = uring_entry(uring, NULL, false);
    io_uring_prep_timeout(entry, &delay, 0, IORING_TIMEOUT_ETIME_SUCCESS);
    io_uring_sqe_set_flags(entry, IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS);
}

#else

static void prepare_slowness(struct uring *uring)
{
    (void)uring;
}

#endif

/* The flush is linked to the last part of the write: it runs only where that part is whole. Of such
 * a pair one completion comes (IOSQE_CQE_SKIP_SUCCESS on the write): the flush's where the write
 * was whole, else the write's, and then the cancelled flush tells nothing. So the loop wakes once
 * for a pair. */
static void prepare_write_flush(struct uring *uring, struct io_op *op)
{
    bool last = op->wanted - op->size <= transfer_size_max;
    if (last)
        prepare_slowness(uring);
    if (op->size < op->wanted)
        prepare_write(uring, op, last ? IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS : 0);
    if (last) {
        struct io_uring_sqe *entry = uring_entry(uring, op, true);
        io_uring_prep_fsync(entry, op->file->descriptor, IORING_FSYNC_DATASYNC);
    }
}

static void prepare_directory(struct uring *uring, struct io_op *op)
{
    struct io_uring_sqe *entry = uring_entry(uring, op, false);
    int descriptor = (int)op->private_words[WORD_DESCRIPTOR];
    if (op->step == DIRECTORY_OPEN)
        io_uring_prep_openat(entry, AT_FDCWD, op->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    else if (op->step == DIRECTORY_FLUSH)
        io_uring_prep_fsync(entry, descriptor, 0);
    else
        io_uring_prep_close(entry, descriptor);
}

static void prepare_one(struct io_uring_sqe *entry, struct io_op *op)
{
    int descriptor = op->file != NULL ? op->file->descriptor : -1;
    switch (op->kind) {
    case IO_KIND_OPEN:
        io_uring_prep_openat(entry, AT_FDCWD, op->path, flags_of_open(op), 0600);
        return;
    case IO_KIND_CLOSE:
        io_uring_prep_close(entry, descriptor);
        return;
    case IO_KIND_READ:
        io_uring_prep_read(entry, descriptor, op->buffer + op->size, transfer_size(op),
                           op->offset + op->size);
        return;
    case IO_KIND_FLUSH:
        io_uring_prep_fsync(entry, descriptor, IORING_FSYNC_DATASYNC);
        return;
    case IO_KIND_WRITE_BACK:
        io_uring_prep_sync_file_range(entry, descriptor, (unsigned)op->wanted, op->offset,
                                      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE);
        return;
    case IO_KIND_ALLOCATE:
        io_uring_prep_fallocate(entry, descriptor, 0, 0, (off_t)op->wanted);
        return;
    case IO_KIND_RENAME:
        io_uring_prep_renameat(entry, AT_FDCWD, op->path, AT_FDCWD, op->path_to, 0);
        return;
    case IO_KIND_UNLINK:
        io_uring_prep_unlinkat(entry, AT_FDCWD, op->path, 0);
        return;
    case IO_KIND_LINK:
        io_uring_prep_linkat(entry, AT_FDCWD, op->path, AT_FDCWD, op->path_to, 0);
        return;
    case IO_KIND_MAKE_DIRECTORY:
        io_uring_prep_mkdirat(entry, AT_FDCWD, op->path, 0700);
        return;
    case IO_KIND_REMOVE_DIRECTORY:
        io_uring_prep_unlinkat(entry, AT_FDCWD, op->path, AT_REMOVEDIR);
        return;
    default:
        UNREACHABLE();
    }
}

bool uring_file_prepare(struct uring *uring, struct io_op *op)
{
    if (!uring_room(uring, op->kind == IO_KIND_WRITE_FLUSH ? 3 : 1))
        return false;
    if (op->kind == IO_KIND_WRITE_FLUSH)
        prepare_write_flush(uring, op);
    else if (op->kind == IO_KIND_WRITE)
        prepare_write(uring, op, 0);
    else if (op->kind == IO_KIND_FLUSH_DIRECTORY)
        prepare_directory(uring, op);
    else
        prepare_one(uring_entry(uring, op, false), op);
    return true;
}

static void fail(struct uring *uring, struct io_op *op, int error_number)
{
    uring_done(uring, op, uring_status_of(error_number), error_number);
}

/* A flush is never told as anything but OK or IO_ERROR, so that nobody takes a failed one for a
 * full disk and goes on. */
static void finish_flush(struct uring *uring, struct io_op *op, int result)
{
    uring_done(uring, op, result < 0 ? STATUS_IO_ERROR : STATUS_OK, result < 0 ? -result : 0);
}

static void start_again(struct uring *uring, struct io_op *op)
{
    if (++op->private_words[WORD_FRUITLESS] > fruitless_max)
        fail(uring, op, EIO);
    else
        uring_start(uring, op);
}

static bool is_transient(int result)
{
    return result == -EINTR || result == -EAGAIN;
}

/* Takes note of a transfer that succeeded. A file that bypasses the page cache goes on from whole
 * blocks only: the rest of a torn one is moved again. */
static void note_progress(struct io_op *op, int result)
{
    uint64_t got = (uint64_t)result;
    if (op->file->direct && op->size + got < op->wanted)
        got -= got % io_alignment;
    if (got != 0)
        op->private_words[WORD_FRUITLESS] = 0;
    op->size += got;
    ASSERT(op->size <= op->wanted);
}

/* Past the page cache the file's end shows as a part of a block. */
static bool is_end_of_file(const struct io_op *op, uint64_t position)
{
    struct stat attributes;
    return fstat(op->file->descriptor, &attributes) == 0 &&
           (uint64_t)attributes.st_size <= position;
}

static void complete_read(struct uring *uring, struct io_op *op, int result)
{
    if (is_transient(result)) {
        start_again(uring, op);
        return;
    }
    if (result < 0) {
        fail(uring, op, -result);
        return;
    }
    bool in_block = op->file->direct && result % io_alignment != 0;
    if (result == 0 || (in_block && is_end_of_file(op, op->offset + op->size + (uint64_t)result))) {
        op->size += (uint64_t)result;
        uring_done(uring, op, STATUS_OK, 0);
        return;
    }
    note_progress(op, result);
    if (op->size == op->wanted)
        uring_done(uring, op, STATUS_OK, 0);
    else
        start_again(uring, op);
}

static void complete_write(struct uring *uring, struct io_op *op, int result)
{
    if (result < 0 && !is_transient(result)) {
        fail(uring, op, -result);
        return;
    }
    if (result > 0)
        note_progress(op, result);
    if (op->size == op->wanted)
        uring_done(uring, op, STATUS_OK, 0);
    else
        start_again(uring, op);
}

/* One half of a pair, or a part of a write too long for one. The flush ran: it ends the op, also
 * where it failed, for a second flush would report success over pages that were dropped. It did not
 * run: what the write lacks is written by another pair. */
static void complete_write_flush(struct uring *uring, struct io_op *op, bool flushed, int result)
{
    if (flushed) {
        if (result >= 0)
            op->size = op->wanted;
        finish_flush(uring, op, result);
        return;
    }
    if (result < 0 && !is_transient(result)) {
        fail(uring, op, -result);
        return;
    }
    if (result > 0)
        note_progress(op, result);
    start_again(uring, op);
}

static void complete_directory(struct uring *uring, struct io_op *op, int result)
{
    switch (op->step) {
    case DIRECTORY_OPEN:
        if (is_transient(result)) {
            start_again(uring, op);
            return;
        }
        if (result < 0) {
            fail(uring, op, -result);
            return;
        }
        op->private_words[WORD_DESCRIPTOR] = (uint64_t)result;
        op->step = DIRECTORY_FLUSH;
        break;
    case DIRECTORY_FLUSH:
        op->private_words[WORD_ERROR] = (uint64_t)-result;
        op->step = DIRECTORY_CLOSE;
        break;
    default:
        /* The names are durable by now; closing a directory that was only read loses nothing. */
        finish_flush(uring, op, -(int)op->private_words[WORD_ERROR]);
        return;
    }
    uring_start(uring, op);
}

static void complete_open(struct uring *uring, struct io_op *op, int result)
{
    struct io_file *file = op->private_pointer;
    if (is_transient(result) && ++op->private_words[WORD_FRUITLESS] <= fruitless_max) {
        uring_start(uring, op);
        return;
    }
    op->private_pointer = NULL;
    if (result < 0) {
        free(file);
        fail(uring, op, -result);
        return;
    }
    file->descriptor = result;
    file->direct = (op->flags & IO_DIRECT) != 0;
    op->file = file;
    uring_done(uring, op, STATUS_OK, 0);
}

void uring_file_complete(struct uring *uring, struct io_op *op, bool second, int result)
{
    switch (op->kind) {
    case IO_KIND_OPEN:
        complete_open(uring, op, result);
        return;
    case IO_KIND_CLOSE:
        /* The descriptor is gone even where the call was interrupted. */
        free(op->file);
        op->file = NULL;
        fail(uring, op, result < 0 && result != -EINTR ? -result : 0);
        return;
    case IO_KIND_READ:
        complete_read(uring, op, result);
        return;
    case IO_KIND_WRITE:
        complete_write(uring, op, result);
        return;
    case IO_KIND_WRITE_FLUSH:
        complete_write_flush(uring, op, second, result);
        return;
    case IO_KIND_FLUSH:
    case IO_KIND_WRITE_BACK:
        /* The kernel tells of pages that it could not write once: the flush would not. */
        finish_flush(uring, op, result);
        return;
    case IO_KIND_FLUSH_DIRECTORY:
        complete_directory(uring, op, result);
        return;
    default:
        if (is_transient(result))
            start_again(uring, op);
        else
            fail(uring, op, result < 0 ? -result : 0);
    }
}

enum status uring_file_read_now(struct io *io, struct io_file *file, void *to, size_t size,
                                uint64_t offset, size_t *read_size)
{
    (void)io;
    size_t got = 0;
    if (file->direct)
        return STATUS_AGAIN;
    while (got < size) {
        struct iovec part = {.iov_base = (uint8_t *)to + got, .iov_len = size - got};
        ssize_t result = preadv2(file->descriptor, &part, 1, (off_t)(offset + got), RWF_NOWAIT);
        if (result == 0)
            break;
        if (result > 0)
            got += (size_t)result;
        else if (errno == EAGAIN || errno == EOPNOTSUPP)
            return STATUS_AGAIN;
        else if (errno != EINTR)
            return STATUS_IO_ERROR;
    }
    *read_size = got;
    return STATUS_OK;
}

/* Some file systems do not tell the type with the name. */
static bool is_directory(DIR *directory, const struct dirent *entry)
{
    struct stat attributes;
    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type == DT_DIR;
    return fstatat(dirfd(directory), entry->d_name, &attributes, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISDIR(attributes.st_mode);
}

enum status uring_file_list(struct io *io, const char *path, io_list_fn *each, void *context)
{
    (void)io;
    DIR *directory = opendir(path);
    if (directory == NULL)
        return uring_status_of(errno);
    const struct dirent *entry;
    while (errno = 0, (entry = readdir(directory)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        each(context, entry->d_name, is_directory(directory, entry));
    }
    enum status status = uring_status_of(errno);
    if (closedir(directory) < 0 && status == STATUS_OK)
        status = uring_status_of(errno);
    return status;
}

enum status uring_file_space(struct io *io, const char *path, struct io_space *space)
{
    (void)io;
    struct statvfs system;
    int result;
    do
        result = statvfs(path, &system);
    while (result < 0 && errno == EINTR);
    if (result < 0)
        return uring_status_of(errno);
    space->free_size = (uint64_t)system.f_bavail * system.f_frsize;
    space->total_size = (uint64_t)system.f_blocks * system.f_frsize;
    return STATUS_OK;
}

/* flock() belongs to the open file and not, like fcntl()'s older locks, to the process, which would
 * lose it by closing any other descriptor of the same file. */
enum status uring_file_lock(struct io *io, const char *path, struct io_file **lock)
{
    (void)io;
    struct io_file *file = calloc(1, sizeof *file);
    if (file == NULL)
        return STATUS_NO_MEMORY;
    enum status status;
    do
        file->descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    while (file->descriptor < 0 && errno == EINTR);
    if (file->descriptor < 0) {
        status = uring_status_of(errno);
        free(file);
        return status;
    }
    int result;
    do
        result = flock(file->descriptor, LOCK_EX | LOCK_NB);
    while (result < 0 && errno == EINTR);
    if (result < 0) {
        status = errno == EWOULDBLOCK ? STATUS_LOCKED : uring_status_of(errno);
        close(file->descriptor);
        free(file);
        return status;
    }
    *lock = file;
    return STATUS_OK;
}
