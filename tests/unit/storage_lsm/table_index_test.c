/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/lsm/table_index.h"

#include <stdlib.h>

#include "storage/lsm/lsm.h"
#include "tests/unit/unit.h"

enum { entries_count = 100, file_size = 1000000 };

static struct table_index_entry entry_of(uint32_t ordinal, uint8_t key[8])
{
    store_u64_be(key, ordinal * 10);
    return (struct table_index_entry){
        .place = {.offset = 128 + (uint64_t)ordinal * 500, .number = 1 + ordinal, .size = 500},
        .separator = bytes_of(key, 8),
        .separator_version = 50,
        .version_min = ordinal,
        .version_max = ordinal + 1,
        .entries_count = 9,
    };
}

/* The body of a partition's index, but for what `spoil` does to entry 50. */
static enum status check_spoilt(void (*spoil)(struct table_index_entry *entry))
{
    struct table_index_builder builder;
    table_index_builder_init(&builder);
    for (uint32_t i = 0; i < entries_count; i++) {
        uint8_t key[8];
        struct table_index_entry entry = entry_of(i, key);
        if (i == 50 && spoil != NULL)
            spoil(&entry);
        ck_assert_int_eq(table_index_builder_add(&builder, &entry), STATUS_OK);
    }
    struct bytes body;
    ck_assert_int_eq(table_index_builder_finish(&builder, &body), STATUS_OK);
    enum status status = table_index_check(body, false, file_size);
    table_index_builder_free(&builder);
    return status;
}

START_TEST(test_finds)
{
    struct table_index_builder builder;
    table_index_builder_init(&builder);
    for (uint32_t i = 0; i < entries_count; i++) {
        uint8_t key[8];
        struct table_index_entry entry = entry_of(i, key);
        ck_assert_int_eq(table_index_builder_add(&builder, &entry), STATUS_OK);
    }
    struct bytes body;
    ck_assert_int_eq(table_index_builder_finish(&builder, &body), STATUS_OK);
    ck_assert_int_eq(table_index_check(body, false, file_size), STATUS_OK);
    ck_assert_uint_eq(table_index_count(body), entries_count);
    for (uint64_t number = 0; number < 10 * entries_count; number++) {
        uint8_t key[8];
        store_u64_be(key, number);
        uint32_t at_or_after = (uint32_t)(number + 9) / 10;
        ck_assert_uint_eq(table_index_find(body, bytes_of(key, 8), 50), at_or_after);
        ck_assert_uint_eq(table_index_find(body, bytes_of(key, 8), 51), at_or_after);
        /* An older version of the separator's own key comes after it. */
        ck_assert_uint_eq(table_index_find(body, bytes_of(key, 8), 49),
                          number % 10 == 0 ? at_or_after + 1 : at_or_after);
    }
    struct table_index_entry entry;
    table_index_get(body, 33, &entry);
    ck_assert_uint_eq(entry.place.offset, 128 + 33 * 500);
    ck_assert_uint_eq(entry.version_max, 34);
    ck_assert_uint_eq(entry.entries_count, 9);
    for (size_t size = 0; size < body.size; size++)
        ck_assert_int_eq(table_index_check(bytes_of(body.data, size), false, file_size),
                         STATUS_CORRUPT);
    ck_assert_int_eq(table_index_check(body, false, 128 + entries_count * 500), STATUS_CORRUPT);
    table_index_builder_free(&builder);
}
END_TEST

static void shift(struct table_index_entry *entry)
{
    entry->place.offset++;
}
static void renumber(struct table_index_entry *entry)
{
    entry->place.number++;
}
static void empty(struct table_index_entry *entry)
{
    entry->place.size = 0;
}
static void inflate(struct table_index_entry *entry)
{
    entry->place.size = 0x7fffffff;
}
static void reverse(struct table_index_entry *entry)
{
    entry->version_min = entry->version_max + 1;
}
static void overflow(struct table_index_entry *entry)
{
    entry->version_max = UINT64_MAX;
}
static void disorder(struct table_index_entry *entry)
{
    entry->separator = bytes_of("\xff\xff\xff", 3);
}
static void add_filter(struct table_index_entry *entry)
{
    entry->filter_size = 100;
}

START_TEST(test_bad_entries)
{
    static void (*const spoils[])(struct table_index_entry *) = {
        shift, renumber, empty, inflate, reverse, overflow, disorder, add_filter};
    ck_assert_int_eq(check_spoilt(NULL), STATUS_OK);
    for (size_t i = 0; i < sizeof spoils / sizeof *spoils; i++)
        ck_assert_msg(check_spoilt(spoils[i]) == STATUS_CORRUPT, "spoil %zu", i);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_finds);
    tcase_add_test(tests, test_bad_entries);
}
