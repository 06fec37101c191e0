/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/key.h"

#include <stdio.h>

#include "proto/base/generator.h"
#include "tests/unit/unit.h"

enum { text_size_max = 6 };

/* Few distinct bytes, so that prefixes and runs of marks are frequent. */
static struct bytes text_draw(struct generator *generator, uint8_t to[text_size_max])
{
    static const uint8_t alphabet[] = {0, 1, 2, 254, 255};
    size_t size = generator_below(generator, text_size_max + 1);
    for (size_t i = 0; i < size; i++)
        to[i] = alphabet[generator_below(generator, sizeof alphabet)];
    return bytes_of(to, size);
}

static struct bytes encode(struct bytes text, bool with_end, uint8_t *to)
{
    size_t size = key_escape(text, to);
    if (with_end)
        size += key_end(to + size);
    return bytes_of(to, size);
}

static int sign(int order)
{
    return (order > 0) - (order < 0);
}

START_TEST(test_order_is_the_text_s)
{
    struct generator generator;
    printf("seed %d\n", 7);
    generator_init(&generator, 7);
    for (int i = 0; i < 200000; i++) {
        uint8_t a_text[text_size_max];
        uint8_t b_text[text_size_max];
        uint8_t a_key[2 * text_size_max + key_end_size];
        uint8_t b_key[2 * text_size_max + key_end_size];
        struct bytes a = text_draw(&generator, a_text);
        struct bytes b = text_draw(&generator, b_text);
        int order = sign(bytes_compare(a, b));
        ck_assert_int_eq(sign(bytes_compare(encode(a, true, a_key), encode(b, true, b_key))),
                         order);
        /* A bound without its end: at or above it exactly where the text is. */
        int bound = bytes_compare(encode(a, true, a_key), encode(b, false, b_key));
        ck_assert_int_eq(bound >= 0, order >= 0);
    }
}
END_TEST

START_TEST(test_round_trip_with_a_rest)
{
    struct generator generator;
    generator_init(&generator, 8);
    for (int i = 0; i < 20000; i++) {
        uint8_t text[text_size_max];
        uint8_t key[2 * text_size_max + key_end_size + 3];
        uint8_t back[sizeof key];
        struct bytes given = text_draw(&generator, text);
        struct bytes encoded = encode(given, true, key);
        memcpy(key + encoded.size, "\0\1z", 3);
        size_t size;
        struct bytes rest;
        ck_assert(key_unescape(bytes_of(key, encoded.size + 3), back, &size, &rest));
        ck_assert(bytes_equal(bytes_of(back, size), given));
        ck_assert(bytes_equal(rest, bytes_of("\0\1z", 3)));
    }
}
END_TEST

START_TEST(test_bad_bytes_are_refused)
{
    uint8_t back[8];
    size_t size;
    struct bytes rest;
    ck_assert(!key_unescape(bytes_of("", 0), back, &size, &rest));
    ck_assert(!key_unescape(bytes_of("abc", 3), back, &size, &rest));
    ck_assert(!key_unescape(bytes_of("a\0", 2), back, &size, &rest));
    ck_assert(!key_unescape(bytes_of("a\0\2", 3), back, &size, &rest));
    ck_assert(!key_unescape(bytes_of("\0\377", 2), back, &size, &rest));
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_order_is_the_text_s);
    tcase_add_test(tests, test_round_trip_with_a_rest);
    tcase_add_test(tests, test_bad_bytes_are_refused);
}
