/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/pool.h"

#include <string.h>

#include "tests/unit/unit.h"

START_TEST(test_bound_is_kept)
{
    struct pool pool;
    void *objects[3];
    pool_init(&pool, 40, 3, 2);
    for (int i = 0; i < 3; i++) {
        objects[i] = pool_take(&pool);
        ck_assert_ptr_nonnull(objects[i]);
    }
    ck_assert_ptr_null(pool_take(&pool));
    for (int i = 0; i < 3; i++)
        pool_give(&pool, objects[i]);
    ck_assert_uint_eq(pool.used_count, 0);
    ck_assert_uint_eq(pool.free_count, 2);
    pool_close(&pool);
    ck_assert_uint_eq(pool.free_count, 0);
}
END_TEST

START_TEST(test_objects_come_zeroed)
{
    struct pool pool;
    static const uint8_t zeroes[24];
    pool_init(&pool, sizeof zeroes, 8, 8);
    uint8_t *object = pool_take(&pool);
    memset(object, 0xab, sizeof zeroes);
    pool_give(&pool, object);
    uint8_t *again = pool_take(&pool);
    ck_assert_ptr_eq(again, object);
    ck_assert_mem_eq(again, zeroes, sizeof zeroes);
    pool_give(&pool, again);
    pool_give(&pool, NULL);
    pool_close(&pool);
}
END_TEST

START_TEST(test_tiny_objects)
{
    struct pool pool;
    pool_init(&pool, 1, 100, 100);
    void *objects[100];
    for (int i = 0; i < 100; i++)
        objects[i] = pool_take(&pool);
    for (int i = 0; i < 100; i++)
        pool_give(&pool, objects[i]);
    pool_close(&pool);
}
END_TEST

static void close_early(void *context)
{
    struct pool *pool = context;
    pool_close(pool);
}

START_TEST(test_leaks_are_found)
{
    struct pool pool;
    pool_init(&pool, 16, 1, 1);
    void *object = pool_take(&pool);
    unit_assert_dies(close_early, &pool);
    pool_give(&pool, object);
    pool_close(&pool);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_bound_is_kept);
    tcase_add_test(tests, test_objects_come_zeroed);
    tcase_add_test(tests, test_tiny_objects);
    tcase_add_test(tests, test_leaks_are_found);
}
