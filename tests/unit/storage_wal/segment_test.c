/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/wal/segment.h"

#include "tests/unit/unit.h"

START_TEST(test_names)
{
    uint64_t number = 0;
    struct wal_path path = wal_path("d", WAL_FILE_SEGMENT, 0xabc);
    ck_assert_str_eq(path.text, "d/segment-0000000000000abc");
    ck_assert_int_eq(wal_name_parse(path.text + 2, &number), WAL_FILE_SEGMENT);
    ck_assert_uint_eq(number, 0xabc);
    path = wal_path("d", WAL_FILE_SPARE, UINT64_MAX);
    ck_assert_int_eq(wal_name_parse(path.text + 2, &number), WAL_FILE_SPARE);
    ck_assert_uint_eq(number, UINT64_MAX);
    path = wal_path("d", WAL_FILE_PREPARING, 1);
    ck_assert_int_eq(wal_name_parse(path.text + 2, &number), WAL_FILE_PREPARING);
    static const char *const others[] = {
        "hard-state.a",
        "segment-",
        "segment-1",
        "segment-0000000000000ABC",
        "segment-0000000000000abcd",
        "segment-+000000000000abc",
        "lost+found",
        "",
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        ck_assert_int_eq(wal_name_parse(others[i], &number), WAL_FILE_OTHER);
}
END_TEST

/* A segment goes only when all that it carries, and what the next one stands on, is released. */
START_TEST(test_recyclable)
{
    struct wal_segments segments = {0};
    ck_assert_ptr_null(wal_segments_recyclable(&segments));
    for (uint64_t id = 1; id <= 100; id++) {
        struct wal_segment segment = {
            .id = id,
            .base = {.index = 10 * (id - 1), .term = 1},
            .index_max = 10 * id + (id == 2 ? 5 : 0), /* carried more, which was superseded */
        };
        ck_assert_int_eq(wal_segments_add(&segments, &segment), STATUS_OK);
    }
    segments.released = 9;
    ck_assert_ptr_null(wal_segments_recyclable(&segments));
    segments.released = 10;
    ck_assert_uint_eq(wal_segments_recyclable(&segments)->id, 1);
    wal_segments_remove_oldest(&segments);
    segments.released = 20;
    ck_assert_ptr_null(wal_segments_recyclable(&segments));
    segments.released = 25;
    ck_assert_uint_eq(wal_segments_recyclable(&segments)->id, 2);
    segments.released = UINT64_MAX;
    unsigned count = 0;
    while (wal_segments_recyclable(&segments) != NULL) {
        wal_segments_remove_oldest(&segments);
        count++;
    }
    /* The newest is being written. */
    ck_assert_uint_eq(count, 98);
    ck_assert_uint_eq(wal_segments_oldest(&segments)->id, 100);
    ck_assert_ptr_eq(wal_segments_oldest(&segments), wal_segments_newest(&segments));
    wal_segments_free(&segments);
}
END_TEST

/* The list goes on in bounded memory while segments come and go. */
START_TEST(test_list_is_reused)
{
    struct wal_segments segments = {0};
    for (uint64_t id = 1; id <= 10000; id++) {
        struct wal_segment segment = {.id = id};
        ck_assert_int_eq(wal_segments_add(&segments, &segment), STATUS_OK);
        ck_assert_uint_eq(wal_segments_newest(&segments)->id, id);
        if (segments.count > 5)
            wal_segments_remove_oldest(&segments);
        ck_assert_uint_eq(wal_segments_oldest(&segments)->id, id < 6 ? 1 : id - 4);
    }
    ck_assert_uint_le(segments.capacity, 16);
    wal_segments_free(&segments);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_names);
    tcase_add_test(tests, test_recyclable);
    tcase_add_test(tests, test_list_is_reused);
}
