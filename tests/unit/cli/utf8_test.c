/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/utf8.h"

#include <string.h>

#include "tests/unit/unit.h"

static void assert_size(const char *bytes, size_t size, size_t wanted)
{
    ck_assert_msg(utf8_sequence_size(bytes, size) == wanted, "%02x of %zu bytes: %zu, not %zu",
                  (unsigned char)bytes[0], size, utf8_sequence_size(bytes, size), wanted);
    ck_assert(utf8_is_valid(bytes, size) == (wanted == size));
}

START_TEST(test_first_and_last_of_each_size)
{
    assert_size("\0", 1, 1);
    assert_size("\x7f", 1, 1);
    assert_size("\xc2\x80", 2, 2);
    assert_size("\xdf\xbf", 2, 2);
    assert_size("\xe0\xa0\x80", 3, 3);
    assert_size("\xed\x9f\xbf", 3, 3);
    assert_size("\xee\x80\x80", 3, 3);
    assert_size("\xef\xbf\xbf", 3, 3);
    assert_size("\xf0\x90\x80\x80", 4, 4);
    assert_size("\xf4\x8f\xbf\xbf", 4, 4);
}
END_TEST

START_TEST(test_what_is_not_valid)
{
    assert_size("\x80", 1, 0); /* a continuation alone */
    assert_size("\xbf", 1, 0);
    assert_size("\xc0\x80", 2, 0); /* overlong */
    assert_size("\xc1\xbf", 2, 0);
    assert_size("\xe0\x9f\xbf", 3, 0);
    assert_size("\xf0\x8f\xbf\xbf", 4, 0);
    assert_size("\xed\xa0\x80", 3, 0); /* surrogates */
    assert_size("\xed\xbf\xbf", 3, 0);
    assert_size("\xf4\x90\x80\x80", 4, 0); /* past U+10FFFF */
    assert_size("\xf5\x80\x80\x80", 4, 0);
    assert_size("\xff", 1, 0);
    assert_size("\xc3(", 2, 0); /* what follows is no continuation */
    assert_size("\xe2\x82(", 3, 0);
    assert_size("\xf0\x9f\x98(", 4, 0);
}
END_TEST

/* A sequence that goes on past what is there is none, and nothing past it is read. */
START_TEST(test_cut_short)
{
    static const char euro[] = "\xe2\x82\xac";
    static const char face[] = "\xf0\x9f\x98\x80";
    for (size_t size = 0; size < 3; size++)
        ck_assert_uint_eq(utf8_sequence_size(euro, size), 0);
    for (size_t size = 0; size < 4; size++)
        ck_assert_uint_eq(utf8_sequence_size(face, size), 0);
    ck_assert(utf8_is_valid("", 0));
    ck_assert(utf8_is_valid("a\xe2\x82\xac\xf0\x9f\x98\x80z", 9));
    ck_assert(!utf8_is_valid("a\xe2\x82\xac\xf0\x9f\x98\x80z", 7));
    ck_assert(!utf8_is_valid("a\xa3z", 3));
}
END_TEST

START_TEST(test_every_byte_of_latin1)
{
    char text[512];
    for (size_t i = 0; i < 256; i++)
        text[i] = (char)i;
    ck_assert_uint_eq(utf8_from_latin1(text, 256), 128 + 2 * 128);
    ck_assert(utf8_is_valid(text, 384));
    for (size_t i = 0; i < 128; i++)
        ck_assert_uint_eq((unsigned char)text[i], i);
    for (size_t i = 128; i < 256; i++) {
        const unsigned char *at = (const unsigned char *)text + 128 + 2 * (i - 128);
        ck_assert_uint_eq((size_t)(at[0] & 0x1f) << 6 | (at[1] & 0x3f), i);
    }
    ck_assert_uint_eq(utf8_from_latin1(text, 0), 0);
    memcpy(text, "plain", 5);
    ck_assert_uint_eq(utf8_from_latin1(text, 5), 5);
    ck_assert_mem_eq(text, "plain", 5);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_first_and_last_of_each_size);
    tcase_add_test(tests, test_what_is_not_valid);
    tcase_add_test(tests, test_cut_short);
    tcase_add_test(tests, test_every_byte_of_latin1);
}
