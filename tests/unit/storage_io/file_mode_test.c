/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/io/file_mode.h"

#include <stdio.h>
#include <sys/stat.h>

#include "storage/io/uring.h"
#include "tests/unit/unit.h"

START_TEST(test_mode_of_a_real_file)
{
    static const unsigned modes[] = {0600, 0400, 0644, 0660, 0601};
    char path[300];
    struct io *io = NULL;
    unsigned mode = 0;
    snprintf(path, sizeof path, "%s/file", unit_directory());
    const struct io_uring_options options = {0};
    ck_assert_int_eq(io_uring_open(&options, &io, NULL), STATUS_OK);
    ck_assert_int_eq(io_file_mode(io, path, &mode), STATUS_NOT_FOUND);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fclose(file);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        ck_assert_int_eq(chmod(path, modes[i]), 0);
        ck_assert_int_eq(io_file_mode(io, path, &mode), STATUS_OK);
        ck_assert_uint_eq(mode, modes[i]);
    }
    io_uring_close(io);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_mode_of_a_real_file);
}
