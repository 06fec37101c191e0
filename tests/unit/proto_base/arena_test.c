/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/arena.h"

#include <string.h>

#include "tests/unit/unit.h"

START_TEST(test_budget_is_kept)
{
    struct arena arena;
    arena_init(&arena, 256, 1024);
    ck_assert_ptr_nonnull(arena_alloc(&arena, 1000));
    ck_assert_uint_eq(arena.used_size, 1008);
    ck_assert_ptr_null(arena_alloc(&arena, 17));
    ck_assert_ptr_nonnull(arena_alloc(&arena, 16));
    ck_assert_ptr_null(arena_alloc(&arena, 0));
    arena_free(&arena);
}
END_TEST

START_TEST(test_count_is_kept)
{
    struct arena arena;
    arena_init(&arena, 256, 1 << 20);
    arena.allocations_max = 3;
    for (int i = 0; i < 3; i++)
        ck_assert_ptr_nonnull(arena_alloc(&arena, 0));
    ck_assert_ptr_null(arena_alloc(&arena, 1));
    arena_reset(&arena);
    ck_assert_ptr_nonnull(arena_alloc(&arena, 1));
    arena_free(&arena);
}
END_TEST

START_TEST(test_sizes_do_not_overflow)
{
    struct arena arena;
    arena_init(&arena, 256, SIZE_MAX);
    ck_assert_ptr_null(arena_alloc_zeroed(&arena, SIZE_MAX / 2, 3));
    struct bytes copy;
    ck_assert(arena_copy(&arena, bytes_of("orders", 6), &copy));
    ck_assert_str_eq((const char *)copy.data, "orders");
    arena_free(&arena);
}
END_TEST

START_TEST(test_reset_drops_large_chunks)
{
    struct arena arena;
    arena_init(&arena, 256, 1 << 20);
    for (int i = 0; i < 100; i++)
        memset(arena_alloc(&arena, 100), i, 100);
    memset(arena_alloc(&arena, 100000), 1, 100000);
    arena_reset(&arena);
    ck_assert_uint_eq(arena.used_size, 0);
    memset(arena_alloc(&arena, 100), 1, 100);
    arena_free(&arena);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_budget_is_kept);
    tcase_add_test(tests, test_count_is_kept);
    tcase_add_test(tests, test_sizes_do_not_overflow);
    tcase_add_test(tests, test_reset_drops_large_chunks);
}
