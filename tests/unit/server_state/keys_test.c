/* SPDX-License-Identifier: Apache-2.0 */
#include "server/state/keys.h"

#include "tests/unit/unit.h"

START_TEST(test_index_keys)
{
    struct keys_buffer key;
    struct keys_buffer bound;
    uint8_t text[sizeof key.data];
    struct bytes index_key;
    struct bytes record_key;
    keys_index(&key, 9, bytes_of("a\0b", 3), bytes_of_text("record"));
    ck_assert_int_eq(keys_index_decode(keys_bytes(&key), text, &index_key, &record_key), STATUS_OK);
    ck_assert(bytes_equal(index_key, bytes_of("a\0b", 3)));
    ck_assert(bytes_equal(record_key, bytes_of_text("record")));
    keys_index_bound(&bound, 9, bytes_of("a\0b", 3));
    ck_assert_int_ge(bytes_compare(keys_bytes(&key), keys_bytes(&bound)), 0);
    keys_index_bound(&bound, 9, bytes_of("a\0b\0", 4));
    ck_assert_int_lt(bytes_compare(keys_bytes(&key), keys_bytes(&bound)), 0);
    keys_id_end(&bound, 9);
    ck_assert_int_lt(bytes_compare(keys_bytes(&key), keys_bytes(&bound)), 0);
    key.data[4] = 0;
    ck_assert_int_eq(keys_index_decode(keys_bytes(&key), text, &index_key, &record_key),
                     STATUS_CORRUPT);
    ck_assert_int_eq(keys_index_decode(bytes_of(key.data, 3), text, &index_key, &record_key),
                     STATUS_CORRUPT);
}
END_TEST

START_TEST(test_the_largest_key_fits)
{
    static uint8_t zeros[limit_key_size];
    struct keys_buffer key;
    keys_index(&key, 1, bytes_of(zeros, limit_index_key_size), bytes_of(zeros, limit_key_size));
    ck_assert_uint_eq(key.size, keys_index_size_max);
    keys_successor(&key);
    ck_assert_uint_le(key.size, lsm_key_size_max);
}
END_TEST

START_TEST(test_expiry_keys_sort_by_time)
{
    struct keys_buffer record;
    struct keys_buffer early;
    struct keys_buffer late;
    uint64_t due_ms;
    struct bytes table_and_key;
    keys_with_id(&record, 5, bytes_of_text("cart"));
    keys_expiry(&early, 255, keys_bytes(&record));
    keys_expiry(&late, 256, keys_bytes(&record));
    ck_assert_int_lt(bytes_compare(keys_bytes(&early), keys_bytes(&late)), 0);
    ck_assert_int_eq(keys_expiry_decode(keys_bytes(&late), &due_ms, &table_and_key), STATUS_OK);
    ck_assert_uint_eq(due_ms, 256);
    ck_assert(bytes_equal(table_and_key, keys_bytes(&record)));
    ck_assert_int_eq(keys_expiry_decode(bytes_of(late.data, 12), &due_ms, &table_and_key),
                     STATUS_CORRUPT);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_index_keys);
    tcase_add_test(tests, test_the_largest_key_fits);
    tcase_add_test(tests, test_expiry_keys_sort_by_time);
}
