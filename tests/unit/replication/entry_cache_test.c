/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/entry_cache.h"

#include "tests/unit/unit.h"

static void put(struct entry_cache *cache, uint64_t index, size_t size)
{
    ck_assert_int_eq(entry_cache_reserve(cache, 1), STATUS_OK);
    struct cached_entry *entry = cached_entry_create(index, 7, size);
    ck_assert_ptr_nonnull(entry);
    memset(entry->bytes, (int)index, size);
    entry_cache_put(cache, entry);
}

START_TEST(test_a_window)
{
    struct entry_cache cache;
    entry_cache_init(&cache);
    ck_assert_ptr_null(entry_cache_find(&cache, 0));
    for (uint64_t index = 100; index < 1100; index++)
        put(&cache, index, 10);
    for (uint64_t index = 100; index < 600; index++)
        entry_cache_drop_first(&cache);
    /* The places are used again, and more of them are made in between. */
    for (uint64_t index = 1100; index < 3000; index++)
        put(&cache, index, 10);
    for (uint64_t index = 600; index < 3000; index++) {
        const struct cached_entry *entry = entry_cache_find(&cache, index);
        ck_assert_ptr_nonnull(entry);
        ck_assert_uint_eq(entry->index, index);
        ck_assert_uint_eq(entry->bytes[9], (uint8_t)index);
    }
    ck_assert_ptr_null(entry_cache_find(&cache, 599));
    ck_assert_ptr_null(entry_cache_find(&cache, 3000));
    entry_cache_free(&cache);
    ck_assert_uint_eq(cache.size, 0);
}
END_TEST

START_TEST(test_cutting)
{
    struct entry_cache cache;
    entry_cache_init(&cache);
    for (uint64_t index = 10; index < 20; index++)
        put(&cache, index, 100);
    size_t size = cache.size;
    entry_cache_cut(&cache, 20);
    ck_assert_uint_eq(cache.count, 10);
    entry_cache_cut(&cache, 15);
    ck_assert_uint_eq(cache.count, 5);
    ck_assert_uint_eq(cache.size, size / 2);
    put(&cache, 15, 1);
    entry_cache_cut(&cache, 3);
    ck_assert_uint_eq(cache.count, 0);
    ck_assert_uint_eq(cache.size, 0);
    put(&cache, 3, 1); /* it may begin anywhere */
    ck_assert_ptr_nonnull(entry_cache_find(&cache, 3));
    entry_cache_free(&cache);
}
END_TEST

START_TEST(test_who_took_an_entry_keeps_it)
{
    struct entry_cache cache;
    entry_cache_init(&cache);
    put(&cache, 1, 50);
    struct cached_entry *taken = entry_cache_find(&cache, 1);
    cached_entry_keep(taken);
    entry_cache_drop_first(&cache);
    ck_assert_ptr_null(entry_cache_find(&cache, 1));
    ck_assert_uint_eq(cached_entry_bytes(taken).size, 50);
    ck_assert_uint_eq(taken->bytes[49], 1);
    cached_entry_release(taken);
    cached_entry_release(NULL);
    entry_cache_free(&cache);
}
END_TEST

static void put_with_a_gap(void *context)
{
    struct entry_cache *cache = context;
    put(cache, cache->first + cache->count + 1, 1);
}

START_TEST(test_no_gaps)
{
    struct entry_cache cache;
    entry_cache_init(&cache);
    put(&cache, 5, 1);
    unit_assert_dies(put_with_a_gap, &cache);
    entry_cache_free(&cache);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_a_window);
    tcase_add_test(tests, test_cutting);
    tcase_add_test(tests, test_who_took_an_entry_keeps_it);
    tcase_add_test(tests, test_no_gaps);
}
