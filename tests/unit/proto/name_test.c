/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/name.h"

#include "proto/limits.h"
#include "tests/unit/unit.h"

START_TEST(test_names)
{
    static const char *const good[] = {"a", "orders", "by-day", "by_customer_2", "z9"};
    static const char *const bad[] = {"",      "9a",   "-a",          "_a",    "Orders",
                                      "or er", "or.d", "caf\xc3\xa9", "a\x7f", "a/b"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        ck_assert_msg(name_text_is_valid(good[i]), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(!name_text_is_valid(bad[i]), "%s", bad[i]);
    ck_assert(!name_text_is_valid(NULL));
    ck_assert(!name_is_valid(bytes_of("a\0b", 3)));
}
END_TEST

START_TEST(test_length_is_bounded)
{
    char name[limit_name_size + 2];
    memset(name, 'a', sizeof name);
    ck_assert(name_is_valid(bytes_of(name, limit_name_size)));
    ck_assert(!name_is_valid(bytes_of(name, limit_name_size + 1)));
    name[limit_name_size + 1] = 0;
    ck_assert(!name_text_is_valid(name));
    name[limit_name_size] = 0;
    ck_assert(name_text_is_valid(name));
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_names);
    tcase_add_test(tests, test_length_is_bounded);
}
