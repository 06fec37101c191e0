/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/io/uring_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "storage/io/blocking.h"
#include "storage/io/uring.h"
#include "tests/unit/unit.h"

static struct io *open_io(unsigned entries)
{
    struct io *io;
    struct error error = {0};
    const struct io_uring_options options = {.entries = entries};
    enum status status = io_uring_open(&options, &io, &error);
    ck_assert_msg(status == STATUS_OK, "%s", error.text);
    return io;
}

static const char *path_of(const char *directory, const char *name)
{
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

#define OK(call) ck_assert_int_eq(call, STATUS_OK)

START_TEST(test_files_keep_what_was_written)
{
    struct io *io = open_io(0);
    const char *path = path_of(unit_directory(), "orders");
    struct io_file *file;
    uint64_t size;
    size_t got;
    char text[32] = {0};
    OK(io_open_wait(io, path, IO_READ | IO_WRITE | IO_CREATE, &file));
    OK(io_write_wait(io, file, "twelve lamps", 12, 0));
    OK(io_write_wait(io, file, "!", 1, 12));
    OK(io_write_back_wait(io, file, 13, 0));
    OK(io_write_back_wait(io, file, 4096, 4096)); /* where there is nothing */
    OK(io_flush_wait(io, file));
    OK(io_file_size_wait(io, file, &size));
    ck_assert_uint_eq(size, 13);
    OK(io_read_wait(io, file, text, sizeof text, 7, &got));
    ck_assert_uint_eq(got, 6);
    ck_assert_str_eq(text, "lamps!");
    OK(io_read_wait(io, file, text, sizeof text, 13, &got));
    ck_assert_uint_eq(got, 0);
    OK(io_truncate_wait(io, file, 6));
    OK(io_allocate_wait(io, file, 8192));
    OK(io_file_size_wait(io, file, &size));
    ck_assert_uint_eq(size, 8192);
    OK(io_close_wait(io, file));

    struct io_file *again;
    ck_assert_int_eq(io_open_wait(io, path, IO_WRITE | IO_CREATE, &again), STATUS_ALREADY_EXISTS);
    ck_assert_ptr_null(again);
    ck_assert_int_eq(io_open_wait(io, "/nowhere/at/all", IO_READ, &again), STATUS_NOT_FOUND);
    ck_assert_uint_eq(io->pending_count, 0);
    io_uring_close(io);
}
END_TEST

START_TEST(test_direct_write_and_flush)
{
    struct io *io = open_io(0);
    const char *path = path_of(unit_directory(), "segment");
    struct io_file *file;
    struct io_op op = {0};
    uint8_t *buffer = aligned_alloc(io_alignment, 3 * io_alignment);
    size_t got;
    OK(io_open_wait(io, path, IO_READ | IO_WRITE | IO_CREATE | IO_DIRECT, &file));
    OK(io_allocate_wait(io, file, 64 * io_alignment));
    memset(buffer, 7, 2 * io_alignment);
    io_write_flush(io, &op, file, buffer, 2 * io_alignment, io_alignment);
    OK(io_wait(io, &op));
    ck_assert_uint_eq(op.size, 2 * io_alignment);
    memset(buffer, 0, 3 * io_alignment);
    OK(io_read_wait(io, file, buffer, 3 * io_alignment, 0, &got));
    ck_assert_uint_eq(got, 3 * io_alignment);
    ck_assert_uint_eq(buffer[io_alignment - 1], 0);
    ck_assert_uint_eq(buffer[io_alignment], 7);
    ck_assert_uint_eq(buffer[3 * io_alignment - 1], 7);

    /* The end of the file within a block. */
    OK(io_truncate_wait(io, file, io_alignment + 100));
    OK(io_read_wait(io, file, buffer, 3 * io_alignment, 0, &got));
    ck_assert_uint_eq(got, io_alignment + 100);
    ck_assert_int_eq(io_read_now(io, file, buffer, io_alignment, 0, &got), STATUS_AGAIN);

    /* An empty write and flush is a flush. */
    io_write_flush(io, &op, file, buffer, 0, 0);
    OK(io_wait(io, &op));
    OK(io_close_wait(io, file));
    free(buffer);
    io_uring_close(io);
}
END_TEST

static void count_name(void *context, const char *name, bool is_directory)
{
    unsigned *counts = context;
    counts[is_directory]++;
    ck_assert(strcmp(name, "sub") == 0 || strcmp(name, "b") == 0 || strcmp(name, "c") == 0);
}

START_TEST(test_names)
{
    struct io *io = open_io(0);
    char directory[256];
    snprintf(directory, sizeof directory, "%s", unit_directory());
    struct io_file *file;
    OK(io_open_wait(io, path_of(directory, "a"), IO_WRITE | IO_CREATE, &file));
    OK(io_close_wait(io, file));
    OK(io_rename_wait(io, path_of(directory, "a"), path_of(directory, "b")));
    OK(io_link_wait(io, path_of(directory, "b"), path_of(directory, "c")));
    ck_assert_int_eq(io_link_wait(io, path_of(directory, "b"), path_of(directory, "c")),
                     STATUS_ALREADY_EXISTS);
    OK(io_make_directory_wait(io, path_of(directory, "sub")));
    ck_assert_int_eq(io_make_directory_wait(io, path_of(directory, "sub")), STATUS_ALREADY_EXISTS);
    OK(io_flush_directory_wait(io, directory));
    ck_assert_int_eq(io_flush_directory_wait(io, path_of(directory, "none")), STATUS_NOT_FOUND);
    unsigned counts[2] = {0};
    OK(io_list(io, directory, count_name, counts));
    ck_assert_uint_eq(counts[0], 2);
    ck_assert_uint_eq(counts[1], 1);
    OK(io_remove_directory_wait(io, path_of(directory, "sub")));
    OK(io_unlink_wait(io, path_of(directory, "b")));
    OK(io_unlink_wait(io, path_of(directory, "c")));
    ck_assert_int_eq(io_unlink_wait(io, path_of(directory, "c")), STATUS_NOT_FOUND);
    struct io_space space;
    OK(io_space(io, directory, &space));
    ck_assert_uint_ge(space.total_size, space.free_size);
    ck_assert_uint_gt(space.total_size, 0);
    ck_assert_int_eq(io_list(io, path_of(directory, "none"), count_name, counts), STATUS_NOT_FOUND);
    io_uring_close(io);
}
END_TEST

START_TEST(test_read_now)
{
    struct io *io = open_io(0);
    const char *path = path_of(unit_directory(), "table");
    struct io_file *file;
    char text[16];
    size_t got;
    OK(io_open_wait(io, path, IO_READ | IO_WRITE | IO_CREATE, &file));
    OK(io_write_wait(io, file, "in the page cache", 17, 0));
    /* A file system that cannot tell says AGAIN, and is read through the ring. */
    enum status status = io_read_now(io, file, text, 16, 7, &got);
    ck_assert(status == STATUS_OK || status == STATUS_AGAIN);
    if (status == STATUS_OK) {
        ck_assert_uint_eq(got, 10);
        ck_assert_mem_eq(text, "page cache", 10);
    }
    OK(io_close_wait(io, file));
    io_uring_close(io);
}
END_TEST

START_TEST(test_lock_excludes_a_second)
{
    struct io *io = open_io(0);
    const char *path = path_of(unit_directory(), "LOCK");
    struct io_file *lock;
    struct io_file *second;
    OK(io_lock(io, path, &lock));
    ck_assert_int_eq(io_lock(io, path, &second), STATUS_LOCKED);
    ck_assert_ptr_null(second);
    OK(io_close_wait(io, lock));
    OK(io_lock(io, path, &second));
    OK(io_close_wait(io, second));
    io_uring_close(io);
}
END_TEST

/* Sets the longest file that this process may write: past it the kernel takes a part of a write,
 * and then none. */
static void limit_files(rlim_t size)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* The kernel takes a part, the chain breaks there, and the rest is refused: the op ends with the
 * refusal, and counts what was written. */
START_TEST(test_a_short_write_is_continued)
{
    enum { limit = 3 * io_alignment, size = 5 * io_alignment };
    struct io *io = open_io(0);
    char directory[256];
    snprintf(directory, sizeof directory, "%s", unit_directory());
    uint8_t *buffer = aligned_alloc(io_alignment, size);
    memset(buffer, 3, size);
    signal(SIGXFSZ, SIG_IGN);
    for (unsigned i = 0; i < 4; i++) {
        struct io_op op = {0};
        struct io_file *file;
        uint64_t file_size;
        unsigned flags = IO_WRITE | IO_CREATE | (i >= 2 ? IO_DIRECT : 0u);
        char name[2] = {(char)('a' + i), 0};
        OK(io_open_wait(io, path_of(directory, name), flags, &file));
        limit_files(limit);
        if (i % 2 == 0)
            io_write_flush(io, &op, file, buffer, size, 0);
        else
            io_write(io, &op, file, buffer, size, 0);
        enum status status = io_wait(io, &op);
        limit_files(RLIM_INFINITY);
        ck_assert_int_eq(status, STATUS_DISK_FULL);
        ck_assert_uint_eq(op.size, limit);
        OK(io_file_size_wait(io, file, &file_size));
        ck_assert_uint_eq(file_size, limit);
        /* The next one starts afresh. */
        io_write_flush(io, &op, file, buffer, size, 0);
        OK(io_wait(io, &op));
        ck_assert_uint_eq(op.size, size);
        OK(io_close_wait(io, file));
    }
    signal(SIGXFSZ, SIG_DFL);
    free(buffer);
    io_uring_close(io);
}
END_TEST

/* What the one completion of a pair means: the flush's ends the op, whatever it says; the write's
 * says that the flush did not run. */
START_TEST(test_outcomes_of_a_linked_pair)
{
    static const struct {
        bool flushed;
        int result;
        enum status status;
        int error_number;
        bool goes_on; /* another pair is started, which then succeeds */
    } rows[] = {
        {true, 0, STATUS_OK, 0, false},
        {true, -EIO, STATUS_IO_ERROR, EIO, false},
        {true, -ENOSPC, STATUS_IO_ERROR, ENOSPC, false},
        {true, -EINTR, STATUS_IO_ERROR, EINTR, false},
        {true, -EAGAIN, STATUS_IO_ERROR, EAGAIN, false},
        {false, 4096, STATUS_OK, 0, true},
        {false, 0, STATUS_OK, 0, true},
        {false, -EINTR, STATUS_OK, 0, true},
        {false, -EAGAIN, STATUS_OK, 0, true},
        {false, -ENOSPC, STATUS_DISK_FULL, ENOSPC, false},
        {false, -EIO, STATUS_IO_ERROR, EIO, false},
        {false, -ECANCELED, STATUS_IO_ERROR, ECANCELED, false},
    };
    struct io *io = open_io(0);
    struct uring *uring = (struct uring *)io;
    const char *path = path_of(unit_directory(), "segment");
    uint8_t *buffer = calloc(1, 8192);
    struct io_file *file;
    OK(io_open_wait(io, path, IO_WRITE | IO_CREATE, &file));
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct io_op op = {.kind = IO_KIND_WRITE_FLUSH,
                           .pending = true,
                           .file = file,
                           .buffer = buffer,
                           .wanted = 8192};
        list_init(&op.link);
        io->pending_count++;
        uring_file_complete(uring, &op, rows[i].flushed, rows[i].result);
        ck_assert_msg(op.pending == rows[i].goes_on, "row %u", i);
        enum status status = io_wait(io, &op);
        ck_assert_msg(status == rows[i].status, "row %u: %s", i, status_name(status));
        ck_assert_int_eq(op.error_number, rows[i].error_number);
        if (status == STATUS_OK)
            ck_assert_uint_eq(op.size, 8192);
    }
    OK(io_close_wait(io, file));
    free(buffer);
    io_uring_close(io);
}
END_TEST

/* The kernel's side of that: of each pair one completion comes, never none and never two. */
START_TEST(test_a_linked_pair_completes_once)
{
    struct io *io = open_io(0);
    struct uring *uring = (struct uring *)io;
    const char *path = path_of(unit_directory(), "segment");
    uint8_t *buffer = aligned_alloc(io_alignment, io_alignment);
    struct io_file *files[2];
    memset(buffer, 5, io_alignment);
    OK(io_open_wait(io, path, IO_WRITE | IO_CREATE, &files[0]));
    OK(io_open_wait(io, path, IO_READ, &files[1])); /* cannot be written */
    for (unsigned i = 0; i < 8; i++) {
        struct io_op op = {0};
        struct io_op after = {0};
        bool writable = i % 2 == 0;
        io_write_flush(io, &op, files[i % 2], buffer, io_alignment, 0);
        ck_assert_int_eq(io_wait(io, &op), writable ? STATUS_OK : STATUS_IO_ERROR);
        ck_assert_int_eq(op.error_number, writable ? 0 : EBADF);
        ck_assert_uint_eq(op.size, writable ? io_alignment : 0);
        /* What is flushed after it completes after it: nothing is left in between. */
        io_flush(io, &after, files[0]);
        OK(io_wait(io, &after));
        ck_assert_uint_eq(io_uring_cq_ready(&uring->ring), 0);
    }
    OK(io_close_wait(io, files[0]));
    OK(io_close_wait(io, files[1]));
    free(buffer);
    io_uring_close(io);
}
END_TEST

/* A device that never gets on is an error, and not an endless loop. */
START_TEST(test_no_progress_is_an_error_in_the_end)
{
    struct io *io = open_io(0);
    struct uring *uring = (struct uring *)io;
    uint8_t byte = 0;
    struct io_file *file;
    OK(io_open_wait(io, path_of(unit_directory(), "f"), IO_WRITE | IO_CREATE, &file));
    struct io_op op = {
        .kind = IO_KIND_WRITE, .pending = true, .file = file, .buffer = &byte, .wanted = 1};
    list_init(&op.link);
    io->pending_count++;
    op.private_words[0] = 128;
    uring_file_complete(uring, &op, false, -EAGAIN);
    ck_assert(!op.pending);
    ck_assert_int_eq(op.status, STATUS_IO_ERROR);
    OK(io_close_wait(io, file));
    io_uring_close(io);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_files_keep_what_was_written);
    tcase_add_test(tests, test_direct_write_and_flush);
    tcase_add_test(tests, test_names);
    tcase_add_test(tests, test_read_now);
    tcase_add_test(tests, test_lock_excludes_a_second);
    tcase_add_test(tests, test_a_short_write_is_continued);
    tcase_add_test(tests, test_outcomes_of_a_linked_pair);
    tcase_add_test(tests, test_a_linked_pair_completes_once);
    tcase_add_test(tests, test_no_progress_is_an_error_in_the_end);
}
