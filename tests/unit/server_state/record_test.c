/* SPDX-License-Identifier: Apache-2.0 */
#include "server/state/record.h"

#include "proto/base/generator.h"
#include "proto/limits.h"
#include "tests/unit/unit.h"

static struct record_index entry_of(uint32_t id, const char *key)
{
    return (struct record_index){.index_id = id, .key = bytes_of_text(key)};
}

START_TEST(test_round_trip)
{
    struct record_index entries[] = {entry_of(2, "b"), entry_of(1, "z"), entry_of(2, "a"),
                                     entry_of(2, "b"), entry_of(2, "")};
    size_t count = 5;
    uint8_t indexes[64];
    uint8_t bytes[128];
    struct record decoded;

    record_indexes_sort(entries, &count);
    ck_assert_uint_eq(count, 4);
    record_indexes_encode(entries, count, indexes);
    struct record record = {.expires_at_ms = 77,
                            .indexes_count = (unsigned)count,
                            .indexes = bytes_of(indexes, record_indexes_size(entries, count)),
                            .value = bytes_of_text("value")};
    record_encode(&record, bytes);
    ck_assert_int_eq(record_decode(bytes_of(bytes, record_size(&record)), &decoded), STATUS_OK);
    ck_assert_uint_eq(decoded.expires_at_ms, 77);
    ck_assert_uint_eq(decoded.indexes_count, 4);
    ck_assert(bytes_equal(decoded.value, record.value));
    struct record_index entry;
    for (size_t i = 0; i < count; i++) {
        ck_assert(record_index_next(&decoded.indexes, &entry));
        ck_assert_int_eq(record_index_compare(&entry, &entries[i]), 0);
    }
    ck_assert(!record_index_next(&decoded.indexes, &entry));
}
END_TEST

START_TEST(test_bad_bytes_are_corrupt)
{
    static const uint8_t newer[] = {2, 0, 0};
    static const uint8_t flags[] = {1, 2, 0};
    static const uint8_t no_expiry[] = {1, 1, 0, 5};
    static const uint8_t zero_expiry[] = {1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t unsorted[] = {1, 0, 2, 9, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0};
    static const uint8_t long_key[] = {1, 0, 1, 9, 0, 0, 0, 4, 0, 'a'};
    struct record record;
    ck_assert_int_eq(record_decode(bytes_of(newer, 2), &record), STATUS_CORRUPT);
    ck_assert_int_eq(record_decode(bytes_of(newer, sizeof newer), &record), STATUS_NEWER_FORMAT);
    ck_assert_int_eq(record_decode(bytes_of(flags, sizeof flags), &record), STATUS_CORRUPT);
    ck_assert_int_eq(record_decode(bytes_of(no_expiry, sizeof no_expiry), &record), STATUS_CORRUPT);
    ck_assert_int_eq(record_decode(bytes_of(zero_expiry, sizeof zero_expiry), &record),
                     STATUS_CORRUPT);
    ck_assert_int_eq(record_decode(bytes_of(unsorted, sizeof unsorted), &record), STATUS_CORRUPT);
    ck_assert_int_eq(record_decode(bytes_of(long_key, sizeof long_key), &record), STATUS_CORRUPT);
}
END_TEST

START_TEST(test_random_bytes_never_crash)
{
    struct generator generator;
    generator_init(&generator, 3);
    for (int i = 0; i < 200000; i++) {
        uint8_t bytes[48];
        struct record record;
        struct record_index entry;
        size_t size = generator_below(&generator, sizeof bytes);
        for (size_t at = 0; at < size; at++)
            bytes[at] = (uint8_t)generator_below(&generator, 4);
        if (record_decode(bytes_of(bytes, size), &record) != STATUS_OK)
            continue;
        unsigned count = 0;
        while (record_index_next(&record.indexes, &entry))
            count++;
        ck_assert_uint_eq(count, record.indexes_count);
    }
}
END_TEST

struct differences {
    unsigned added;
    unsigned removed;
};

static void count_difference(void *context, const struct record_index *entry, bool added)
{
    struct differences *differences = context;
    *(added ? &differences->added : &differences->removed) |= 1u << entry->index_id;
}

START_TEST(test_differences)
{
    struct record_index old[] = {entry_of(1, "a"), entry_of(2, "a"), entry_of(5, "a")};
    struct record_index new[] = {entry_of(2, "a"), entry_of(3, "a"), entry_of(5, "b")};
    uint8_t old_bytes[64];
    uint8_t new_bytes[64];
    struct differences differences = {0};
    record_indexes_encode(old, 3, old_bytes);
    record_indexes_encode(new, 3, new_bytes);
    record_indexes_compare(bytes_of(old_bytes, record_indexes_size(old, 3)),
                           bytes_of(new_bytes, record_indexes_size(new, 3)), count_difference,
                           &differences);
    ck_assert_uint_eq(differences.added, 1u << 3 | 1u << 5);
    ck_assert_uint_eq(differences.removed, 1u << 1 | 1u << 5);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_round_trip);
    tcase_add_test(tests, test_bad_bytes_are_corrupt);
    tcase_add_test(tests, test_random_bytes_never_crash);
    tcase_add_test(tests, test_differences);
}
