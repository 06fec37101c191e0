/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/io/failure.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "storage/io/blocking.h"
#include "storage/io/uring.h"
#include "tests/unit/unit.h"

/* Where no file can be opened for want of descriptors, the words name the limit and not the disk.
 */
START_TEST(test_descriptors_that_are_used_up)
{
    struct io *io;
    struct io_file *file;
    struct rlimit limit;
    struct error error = {0};
    char path[512];
    const struct io_uring_options options = {0};

    snprintf(path, sizeof path, "%s/few", unit_directory());
    ck_assert_int_eq(io_uring_open(&options, &io, &error), STATUS_OK);
    ck_assert_int_eq(io_open_wait(io, path, IO_READ | IO_WRITE | IO_CREATE, &file), STATUS_OK);
    ck_assert_int_eq(io_close_wait(io, file), STATUS_OK);
    ck_assert_str_eq(io_failure_text(STATUS_IO_ERROR), status_text(STATUS_IO_ERROR));

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = limit.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    enum status status = io_open_wait(io, path, IO_READ, &file);
    const char *words = io_failure_text(status);
    const char *others = io_failure_text(STATUS_CORRUPT);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_int_ne(status, STATUS_OK);
    ck_assert_msg(strstr(words, "LimitNOFILE") != NULL, "%s", words);
    ck_assert_str_eq(others, status_text(STATUS_CORRUPT));
    ck_assert_str_eq(io_failure_text(STATUS_IO_ERROR), status_text(STATUS_IO_ERROR));
    io_uring_close(io);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_descriptors_that_are_used_up);
}
