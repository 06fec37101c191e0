/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/io/uring.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "storage/io/blocking.h"
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

struct many {
    struct io_op op;
    struct many *all;
    unsigned *left;
    uint64_t value;
};

static void many_done(struct io_op *op)
{
    struct many *one = op->context;
    ck_assert_int_eq(op->status, STATUS_OK);
    ck_assert_uint_eq(op->size, sizeof one->value);
    (*one->left)--;
}

START_TEST(test_more_operations_than_the_queue_holds)
{
    enum { count = 500 };
    struct io *io = open_io(4);
    struct io_file *file;
    struct many *all = calloc(count, sizeof *all);
    unsigned left = count;
    OK(io_open_wait(io, path_of(unit_directory(), "f"), IO_READ | IO_WRITE | IO_CREATE, &file));
    for (unsigned i = 0; i < count; i++) {
        all[i].op.done = many_done;
        all[i].op.context = &all[i];
        all[i].left = &left;
        all[i].value = i * UINT64_C(0x9e3779b97f4a7c15);
        if (i % 3 == 0)
            io_write_flush(io, &all[i].op, file, &all[i].value, 8, i * 8);
        else
            io_write(io, &all[i].op, file, &all[i].value, 8, i * 8);
    }
    while (left > 0)
        io_turn(io, true);
    left = count;
    for (unsigned i = 0; i < count; i++) {
        all[i].value = 0;
        io_read(io, &all[i].op, file, &all[i].value, 8, i * 8);
    }
    while (left > 0)
        io_turn(io, true);
    for (unsigned i = 0; i < count; i++)
        ck_assert_uint_eq(all[i].value, i * UINT64_C(0x9e3779b97f4a7c15));
    OK(io_close_wait(io, file));
    free(all);
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

START_TEST(test_small_files_whole)
{
    struct io *io = open_io(0);
    const char *path = path_of(unit_directory(), "key");
    struct io_file *file;
    uint8_t *contents;
    size_t size;
    OK(io_open_wait(io, path, IO_WRITE | IO_CREATE, &file));
    OK(io_write_wait(io, file, "0123456789", 10, 0));
    OK(io_close_wait(io, file));
    OK(io_read_file_wait(io, path, 10, &contents, &size));
    ck_assert_uint_eq(size, 10);
    ck_assert_mem_eq(contents, "0123456789", 10);
    free(contents);
    ck_assert_int_eq(io_read_file_wait(io, path, 9, &contents, &size), STATUS_TOO_LARGE);
    ck_assert_ptr_null(contents);
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

static void count_fired(struct io_timer *timer)
{
    (*(unsigned *)timer->context)++;
}

START_TEST(test_a_turn_sleeps_to_the_next_timer)
{
    struct io *io = open_io(0);
    unsigned fired = 0;
    struct io_timer soon = {.fired = count_fired, .context = &fired};
    struct io_timer never = {.fired = count_fired, .context = &fired};
    uint64_t begin_ns = io_boot_ns(io);
    io_timer_start(io, &soon, begin_ns + 20000000);
    io_timer_start(io, &never, begin_ns + 10000000);
    io_timer_stop(io, &never);
    while (fired == 0)
        io_turn(io, true);
    ck_assert_uint_eq(fired, 1);
    ck_assert_uint_ge(io_boot_ns(io), begin_ns + 20000000);
    ck_assert_uint_gt(io_wall_ns(io), UINT64_C(1700000000) * 1000000000);
    io_uring_close(io);
}
END_TEST

struct ringer {
    struct io *io;
    struct io_bell bell;
    unsigned rung;
    _Atomic unsigned sent;
    unsigned seen;
};

enum { rings_count = 20000 };

static void rung(struct io_bell *bell)
{
    struct ringer *ringer = bell->context;
    ringer->rung++;
    ringer->seen = ringer->sent;
}

static void *ring_often(void *context)
{
    struct ringer *ringer = context;
    for (unsigned i = 0; i < rings_count; i++) {
        ringer->sent++;
        io_bell_ring(ringer->io, &ringer->bell);
    }
    return NULL;
}

START_TEST(test_no_ring_is_lost)
{
    struct ringer ringer = {.io = open_io(0), .bell = {.rung = rung}};
    pthread_t thread;
    ringer.bell.context = &ringer;
    OK(io_bell_open(ringer.io, &ringer.bell));
    ck_assert_int_eq(pthread_create(&thread, NULL, ring_often, &ringer), 0);
    /* Hangs where the last ring was swallowed. */
    while (ringer.seen < rings_count)
        io_turn(ringer.io, true);
    pthread_join(thread, NULL);
    ck_assert_uint_ge(ringer.rung, 1);
    io_bell_close(ringer.io, &ringer.bell);
    io_uring_close(ringer.io);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_files_keep_what_was_written);
    tcase_add_test(tests, test_direct_write_and_flush);
    tcase_add_test(tests, test_more_operations_than_the_queue_holds);
    tcase_add_test(tests, test_names);
    tcase_add_test(tests, test_small_files_whole);
    tcase_add_test(tests, test_read_now);
    tcase_add_test(tests, test_lock_excludes_a_second);
    tcase_add_test(tests, test_a_turn_sleeps_to_the_next_timer);
    tcase_add_test(tests, test_no_ring_is_lost);
}
