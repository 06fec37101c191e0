/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/io/blocking.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/disk.h"
#include "tests/unit/unit.h"

#define OK(call) ck_assert_int_eq(call, STATUS_OK)

static struct io_file *put(struct io *io, const char *path, const char *text)
{
    struct io_file *file;
    OK(io_open_wait(io, path, IO_READ | IO_WRITE | IO_CREATE, &file));
    OK(io_write_wait(io, file, text, strlen(text), 0));
    return file;
}

START_TEST(test_small_files_whole)
{
    struct sim_disk *disk = sim_disk_create(1);
    struct io *io = sim_disk_io(disk);
    uint8_t *contents;
    size_t size;
    OK(io_close_wait(io, put(io, "key", "0123456789")));
    OK(io_read_file_wait(io, "key", 10, &contents, &size));
    ck_assert_uint_eq(size, 10);
    ck_assert_mem_eq(contents, "0123456789", 10);
    free(contents);
    ck_assert_int_eq(io_read_file_wait(io, "key", 9, &contents, &size), STATUS_TOO_LARGE);
    ck_assert_ptr_null(contents);
    ck_assert_int_eq(io_read_file_wait(io, "none", 9, &contents, &size), STATUS_NOT_FOUND);
    ck_assert_uint_eq(sim_disk_open_count(disk), 0);
    sim_disk_destroy(disk);
}
END_TEST

/* Whatever call fails, nothing leaks and nothing is returned. */
START_TEST(test_small_files_on_a_failing_disk)
{
    static const enum io_kind kinds[] = {IO_KIND_OPEN, IO_KIND_FILE_SIZE, IO_KIND_READ,
                                         IO_KIND_CLOSE};
    struct sim_disk *disk = sim_disk_create(2);
    struct io *io = sim_disk_io(disk);
    OK(io_close_wait(io, put(io, "key", "0123456789")));
    for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const struct sim_fault fault = {
            .effect = SIM_FAIL, .kind = kinds[i], .status = STATUS_IO_ERROR};
        uint8_t *contents;
        size_t size;
        sim_disk_fault(disk, &fault);
        ck_assert_int_eq(io_read_file_wait(io, "key", 10, &contents, &size), STATUS_IO_ERROR);
        ck_assert_ptr_null(contents);
        ck_assert_uint_eq(size, 0);
        ck_assert_uint_eq(sim_disk_open_count(disk), 0);
        ck_assert_uint_eq(sim_disk_fault_hits(disk, SIM_FAIL), i + 1);
    }
    sim_disk_destroy(disk);
}
END_TEST

START_TEST(test_results_are_zeroed_on_failure)
{
    struct sim_disk *disk = sim_disk_create(3);
    struct io *io = sim_disk_io(disk);
    struct io_file *file = put(io, "f", "text");
    struct io_file *none = file;
    uint64_t file_size = 7;
    size_t read_size = 7;
    char byte;
    sim_disk_crash_now(disk);
    ck_assert_int_eq(io_open_wait(io, "f", IO_READ, &none), STATUS_IO_ERROR);
    ck_assert_ptr_null(none);
    ck_assert_int_eq(io_file_size_wait(io, file, &file_size), STATUS_IO_ERROR);
    ck_assert_uint_eq(file_size, 0);
    ck_assert_int_eq(io_read_wait(io, file, &byte, 1, 0, &read_size), STATUS_IO_ERROR);
    ck_assert_uint_eq(read_size, 0);
    ck_assert_int_eq(io_close_wait(io, file), STATUS_IO_ERROR);
    sim_disk_destroy(disk);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_small_files_whole);
    tcase_add_test(tests, test_small_files_on_a_failing_disk);
    tcase_add_test(tests, test_results_are_zeroed_on_failure);
}
