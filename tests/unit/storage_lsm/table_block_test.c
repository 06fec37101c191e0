/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/lsm/table_block.h"

#include "tests/unit/storage_lsm/table_unit.h"

/* Fills a block until it takes no more; gives how many entries it has. */
static size_t fill(struct table_block_builder *builder, const struct unit_entries *entries,
                   struct bytes *body)
{
    size_t count = 0;
    while (count < entries->count && table_block_builder_takes(builder, &entries->entries[count]))
        ck_assert_int_eq(table_block_builder_add(builder, &entries->entries[count++]), STATUS_OK);
    ck_assert_int_eq(table_block_builder_finish(builder, body), STATUS_OK);
    return count;
}

static void run(const struct lsm_tree_options *tree, const struct unit_shape *shape, uint64_t seed)
{
    printf("block %s seed %llu\n", tree->name, (unsigned long long)seed);
    static struct table_block_builder builder;
    static struct table_block_cursor cursor;
    struct generator generator;
    generator_init(&generator, seed);
    struct unit_entries entries = unit_entries_draw(&generator, tree, shape);
    table_block_builder_init(&builder, tree);
    struct bytes body;
    size_t count = fill(&builder, &entries, &body);
    ck_assert_uint_le(body.size, 4096 + 64 + (count == 1 ? lsm_value_size_max : 0));
    ck_assert_int_eq(table_block_check(tree, body), STATUS_OK);
    table_block_cursor_init(&cursor, tree, body);
    ck_assert_uint_eq(cursor.entries_count, count);
    bool found = table_block_cursor_first(&cursor);
    for (size_t i = 0; i < count; i++, found = table_block_cursor_next(&cursor)) {
        ck_assert(found);
        unit_assert_entry(&cursor.entry, &entries.entries[i]);
    }
    ck_assert(!found);
    found = table_block_cursor_last(&cursor);
    for (size_t i = count; i > 0; i--, found = table_block_cursor_previous(&cursor)) {
        ck_assert(found);
        unit_assert_entry(&cursor.entry, &entries.entries[i - 1]);
    }
    ck_assert(!found);
    for (int i = 0; i < 500; i++) {
        const struct lsm_entry *drawn = &entries.entries[generator_below(&generator, count)];
        uint64_t version = generator_between(&generator, 900, 2100);
        size_t place = unit_entries_find(&entries, drawn->key, version);
        /* Older versions of the block's last key may have had no room in it. */
        if (place > count)
            place = count;
        found = table_block_cursor_seek(&cursor, drawn->key, version);
        ck_assert_int_eq(found, place < count);
        if (found)
            unit_assert_entry(&cursor.entry, &entries.entries[place]);
        found = table_block_cursor_seek_before(&cursor, drawn->key, version);
        ck_assert_int_eq(found, place != 0);
        if (found)
            unit_assert_entry(&cursor.entry, &entries.entries[place - 1]);
    }
    table_block_builder_free(&builder);
    unit_entries_free(&entries);
}

START_TEST(test_against_model)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        run(&unit_tree_bytes, &(struct unit_shape){400, 3, 20, 0, "orders/"}, seed);
        run(&unit_tree_bytes, &(struct unit_shape){400, 40, 0, 0, NULL}, seed);
        run(&unit_tree_fixed, &(struct unit_shape){100, 3, 0, 0, NULL}, seed);
    }
}
END_TEST

/* No value of any byte of a good body makes the check read past it; and a body that is cut, or
 * whose order or counts are wrong, is refused. */
START_TEST(test_bad_bodies)
{
    static struct table_block_builder builder;
    struct generator generator;
    generator_init(&generator, 5);
    struct unit_entries entries =
        unit_entries_draw(&generator, &unit_tree_bytes, &(struct unit_shape){40, 2, 10, 0, NULL});
    table_block_builder_init(&builder, &unit_tree_bytes);
    struct bytes body;
    size_t count = fill(&builder, &entries, &body);
    for (size_t size = 0; size < body.size; size++) {
        uint8_t *cut = malloc(size + 1);
        bytes_copy(cut, bytes_of(body.data, size));
        ck_assert_int_eq(table_block_check(&unit_tree_bytes, bytes_of(cut, size)), STATUS_CORRUPT);
        free(cut);
    }
    uint8_t *changed = malloc(body.size);
    for (size_t i = 0; i < body.size; i++) {
        for (int value = 0; value < 256; value += 15) {
            bytes_copy(changed, body);
            changed[i] = (uint8_t)value;
            enum status status = table_block_check(&unit_tree_bytes, bytes_of(changed, body.size));
            /* Of the trailer's counts, each byte matters. */
            if (i >= body.size - 8 && value != body.data[i])
                ck_assert_int_eq(status, STATUS_CORRUPT);
        }
    }
    /* The same entry twice. */
    table_block_builder_reset(&builder);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(table_block_builder_add(&builder, &entries.entries[0]), STATUS_OK);
    ck_assert_int_eq(table_block_builder_finish(&builder, &body), STATUS_OK);
    ck_assert_int_eq(table_block_check(&unit_tree_bytes, body), STATUS_CORRUPT);
    ck_assert_uint_gt(count, 1);
    free(changed);
    table_block_builder_free(&builder);
    unit_entries_free(&entries);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_against_model);
    tcase_add_test(tests, test_bad_bodies);
}
