/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/lsm/table_filter.h"

#include <stdlib.h>

#include "proto/base/hash.h"
#include "tests/unit/unit.h"

static uint64_t hash_of(uint64_t number)
{
    return hash64(bytes_of(&number, sizeof number));
}

/* It holds all that was put in, and few others: about 1.2 %, and never 2 %. */
START_TEST(test_holds_all_and_few_others)
{
    static const size_t counts[] = {1, 2, 50, 51, 52, 1000, 20000};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        size_t count = counts[c];
        uint64_t *hashes = malloc(count * sizeof *hashes);
        for (size_t i = 0; i < count; i++)
            hashes[i] = hash_of(i);
        size_t size = table_filter_size(count);
        uint8_t *body = malloc(size);
        table_filter_build(hashes, count, body);
        struct bytes bytes = bytes_of(body, size);
        ck_assert_int_eq(table_filter_check(bytes), STATUS_OK);
        for (size_t i = 0; i < count; i++)
            ck_assert(table_filter_may_hold(bytes, hashes[i]));
        unsigned passed = 0;
        for (uint64_t i = 0; i < 20000; i++)
            passed += table_filter_may_hold(bytes, hash_of(1000000 + i)) ? 1 : 0;
        ck_assert_uint_lt(passed, 400);
        free(body);
        free(hashes);
    }
}
END_TEST

START_TEST(test_bad_bodies)
{
    uint64_t hash = 7;
    uint8_t body[72];
    ck_assert_uint_eq(table_filter_size(1), sizeof body);
    table_filter_build(&hash, 1, body);
    ck_assert_int_eq(table_filter_check(bytes_of(body, 71)), STATUS_CORRUPT);
    ck_assert_int_eq(table_filter_check(bytes_of(body, 7)), STATUS_CORRUPT);
    store_u32(body, 2);
    ck_assert_int_eq(table_filter_check(bytes_of(body, 72)), STATUS_CORRUPT);
    store_u32(body, 0);
    ck_assert_int_eq(table_filter_check(bytes_of(body, 72)), STATUS_CORRUPT);
    store_u32(body, 1);
    store_u32(body + 4, 7);
    ck_assert_int_eq(table_filter_check(bytes_of(body, 72)), STATUS_CORRUPT);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_holds_all_and_few_others);
    tcase_add_test(tests, test_bad_bodies);
}
