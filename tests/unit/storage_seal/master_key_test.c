/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/seal/registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "proto/base/log.h"
#include "storage/io/uring.h"
#include "tests/unit/unit.h"

#define HEX "00112233445566778899aabbccddeeffFEDCBA98765432100123456789abcdef"

static const uint8_t wanted[master_key_size] = {
    0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
    0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};

static struct io *io;
static char path[300];
static uint8_t key[master_key_size];
static struct error error;

static void setup(void)
{
    const struct io_uring_options options = {0};
    ck_assert_int_eq(io_uring_open(&options, &io, NULL), STATUS_OK);
    snprintf(path, sizeof path, "%s/master.key", unit_directory());
}

static void teardown(void)
{
    io_uring_close(io);
}

static enum status from_file(struct bytes contents, mode_t mode)
{
    const struct master_key_source source = {.file = path};
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(contents.data, 1, contents.size, file), contents.size);
    fclose(file);
    ck_assert_int_eq(chmod(path, mode), 0);
    error = (struct error){0};
    memset(key, 0xee, sizeof key);
    return master_key_read(io, &source, key, &error);
}

static enum status from_command(const char *command)
{
    const struct master_key_source source = {.command = command};
    error = (struct error){0};
    memset(key, 0xee, sizeof key);
    return master_key_read(io, &source, key, &error);
}

static void assert_refused_without_traces(void)
{
    const uint8_t zeros[master_key_size] = {0};
    ck_assert_mem_eq(key, zeros, sizeof key);
    ck_assert_uint_ne(strlen(error.text), 0);
    ck_assert_ptr_null(strstr(error.text, "0011223344"));
}

START_TEST(test_both_forms_of_a_file)
{
    static const char *const texts[] = {HEX, HEX "\n", HEX "\r\n", HEX " \t\n\n"};
    setup();
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        ck_assert_int_eq(from_file(bytes_of_text(texts[i]), 0600), STATUS_OK);
        ck_assert_mem_eq(key, wanted, sizeof key);
    }
    ck_assert_int_eq(from_file(bytes_of(wanted, sizeof wanted), 0400), STATUS_OK);
    ck_assert_mem_eq(key, wanted, sizeof key);
    teardown();
}
END_TEST

START_TEST(test_what_is_no_key)
{
    static const char *const texts[] = {
        "", "\n", "00112233445566778899aabbccddeeff", HEX "0", HEX "\nx", " " HEX, "0x" HEX};
    setup();
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        ck_assert_int_eq(from_file(bytes_of_text(texts[i]), 0600), STATUS_KEY_WRONG);
        assert_refused_without_traces();
        ck_assert_ptr_nonnull(strstr(error.text, path));
    }
    ck_assert_int_eq(from_file(bytes_of(HEX, 63), 0600), STATUS_KEY_WRONG);
    ck_assert_int_eq(from_file(bytes_of(wanted, 31), 0600), STATUS_KEY_WRONG);
    teardown();
}
END_TEST

/* The text says what to do. */
START_TEST(test_file_that_others_can_use)
{
    static const mode_t modes[] = {0644, 0640, 0604, 0620, 0601, 0666};
    char remedy[400];
    setup();
    snprintf(remedy, sizeof remedy, "chmod 600 %s", path);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        ck_assert_int_eq(from_file(bytes_of_text(HEX), modes[i]), STATUS_FORBIDDEN);
        assert_refused_without_traces();
        ck_assert_ptr_nonnull(strstr(error.text, remedy));
    }
    teardown();
}
END_TEST

START_TEST(test_no_file)
{
    const struct master_key_source source = {.file = "/nonexistent/master.key"};
    setup();
    error = (struct error){0};
    ck_assert_int_eq(master_key_read(io, &source, key, &error), STATUS_KEY_MISSING);
    ck_assert_ptr_nonnull(strstr(error.text, source.file));
    teardown();
}
END_TEST

START_TEST(test_exactly_one_source)
{
    const struct master_key_source none = {0};
    const struct master_key_source both = {.file = "a", .command = "b"};
    setup();
    ck_assert_int_eq(master_key_read(io, &none, key, &error), STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(master_key_read(io, &both, key, &error), STATUS_INVALID_ARGUMENT);
    teardown();
}
END_TEST

START_TEST(test_command)
{
    setup();
    ck_assert_int_eq(from_command("echo " HEX), STATUS_OK);
    ck_assert_mem_eq(key, wanted, sizeof key);
    ck_assert_int_eq(from_command("printf 00112233445566778899aabbccddeeff; "
                                  "printf FEDCBA98765432100123456789abcdef | cat"),
                     STATUS_OK);
    ck_assert_mem_eq(key, wanted, sizeof key);
    teardown();
}
END_TEST

START_TEST(test_command_that_fails)
{
    setup();
    ck_assert_int_eq(from_command("echo " HEX "; exit 3"), STATUS_KEY_MISSING);
    ck_assert_ptr_nonnull(strstr(error.text, "exit status 3"));
    assert_refused_without_traces();
    ck_assert_int_eq(from_command("kill -9 $$"), STATUS_KEY_MISSING);
    ck_assert_int_eq(from_command("true"), STATUS_KEY_WRONG);
    ck_assert_int_eq(from_command("echo no key"), STATUS_KEY_WRONG);
    teardown();
}
END_TEST

/* One that talks without end is ended soon, with all its children. */
START_TEST(test_command_without_end)
{
    struct timespec begun, ended;
    setup();
    clock_gettime(CLOCK_MONOTONIC, &begun);
    ck_assert_int_eq(from_command("cat /dev/zero | cat"), STATUS_KEY_MISSING);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    ck_assert_int_lt(ended.tv_sec - begun.tv_sec, 10);
    assert_refused_without_traces();
    teardown();
}
END_TEST

#if defined(STRAIT_FAULTS)
/* Whether it says nothing, or said all and stays: it is ended in time, and so are its children. */
START_TEST(test_command_that_takes_too_long)
{
    static const char *const commands[] = {"sleep 1000", "echo " HEX "; sleep 1000",
                                           "echo " HEX "; exec >&-; sleep 1000",
                                           "echo " HEX "; sleep 1000 & true"};
    setup();
    master_key_timeout_set(200);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        ck_assert_int_eq(from_command(commands[i]), STATUS_KEY_MISSING);
        assert_refused_without_traces();
        ck_assert_ptr_nonnull(strstr(error.text, status_text(STATUS_DEADLINE_EXCEEDED)));
    }
    master_key_timeout_set(30000);
    teardown();
}
END_TEST
#endif

void unit_tests(TCase *tests)
{
#if defined(STRAIT_FAULTS)
    tcase_add_test(tests, test_command_that_takes_too_long);
#endif
    tcase_add_test(tests, test_both_forms_of_a_file);
    tcase_add_test(tests, test_what_is_no_key);
    tcase_add_test(tests, test_file_that_others_can_use);
    tcase_add_test(tests, test_no_file);
    tcase_add_test(tests, test_exactly_one_source);
    tcase_add_test(tests, test_command);
    tcase_add_test(tests, test_command_that_fails);
    tcase_add_test(tests, test_command_without_end);
}
