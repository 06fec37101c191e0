/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/number.h"

#include <inttypes.h>
#include <stdio.h>

#include "tests/unit/unit.h"

static void check_round_trip(int64_t value)
{
    char text[number_text_size];
    char expected[number_text_size];
    int64_t parsed;
    size_t size = number_format(value, text);
    snprintf(expected, sizeof expected, "%" PRId64, value);
    ck_assert_str_eq(text, expected);
    ck_assert_uint_eq(size, strlen(expected));
    ck_assert_int_eq(number_parse(bytes_of(text, size), &parsed), STATUS_OK);
    ck_assert_int_eq(parsed, value);
}

START_TEST(test_round_trip)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        for (int64_t near = -2; near <= 2; near++) {
            uint64_t value = (UINT64_C(1) << bit) + (uint64_t)near;
            check_round_trip((int64_t)value);
            check_round_trip((int64_t)-value);
        }
    }
    check_round_trip(0);
    check_round_trip(INT64_MIN);
    check_round_trip(INT64_MAX);
}
END_TEST

START_TEST(test_one_form_only)
{
    static const char *const bad[] = {"",
                                      "-",
                                      "+1",
                                      "-0",
                                      "00",
                                      "01",
                                      "-01",
                                      " 1",
                                      "1 ",
                                      "1.",
                                      "1a",
                                      "--1",
                                      "0x1",
                                      "1e3",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "99999999999999999999",
                                      "-99999999999999999999"};
    int64_t parsed;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_msg(number_parse(bytes_of_text(bad[i]), &parsed) == STATUS_NOT_A_NUMBER, "%s",
                      bad[i]);
        ck_assert_int_eq(parsed, 0);
    }
    ck_assert_int_eq(number_parse(bytes_of("1\0", 2), &parsed), STATUS_NOT_A_NUMBER);
    ck_assert_int_eq(number_parse(bytes_of(NULL, 0), &parsed), STATUS_NOT_A_NUMBER);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_round_trip);
    tcase_add_test(tests, test_one_form_only);
}
