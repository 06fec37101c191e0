/* SPDX-License-Identifier: Apache-2.0 */
#include "server/state/catalog.h"

#include <stdio.h>

#include "proto/base/generator.h"
#include "tests/unit/unit.h"

static struct catalog *catalog_made(void)
{
    struct catalog *catalog = catalog_create();
    ck_assert(catalog != NULL);
    ck_assert_int_eq(catalog_table_create(catalog, bytes_of_text("users"), 3, 10), STATUS_OK);
    ck_assert_int_eq(catalog_table_create(catalog, bytes_of_text("carts"), 7, 11), STATUS_OK);
    ck_assert_int_eq(catalog_table_create(catalog, bytes_of_text("orders"), 5, 12), STATUS_OK);
    struct catalog_table *users = catalog_table_find(catalog, bytes_of_text("users"));
    ck_assert_int_eq(catalog_index_create(catalog, users, bytes_of_text("mail"), true, 20, 13),
                     STATUS_OK);
    ck_assert_int_eq(catalog_index_create(catalog, users, bytes_of_text("city"), false, 21, 14),
                     STATUS_OK);
    users->expires = true;
    return catalog;
}

START_TEST(test_look_ups)
{
    struct catalog *catalog = catalog_made();
    ck_assert_str_eq(catalog->tables[0].name.text, "carts");
    ck_assert_str_eq(catalog_table_by_id(catalog, 5)->name.text, "orders");
    ck_assert(catalog_table_by_id(catalog, 4) == NULL);
    ck_assert(catalog_table_find(catalog, bytes_of_text("user")) == NULL);
    struct catalog_table *users = catalog_table_find(catalog, bytes_of_text("users"));
    ck_assert_str_eq(users->indexes[0].name.text, "city");
    ck_assert(catalog_index_by_id(users, 20)->unique);
    ck_assert(catalog_index_find(users, bytes_of_text("mai")) == NULL);
    ck_assert_int_eq(catalog_table_create(catalog, bytes_of_text("users"), 9, 1),
                     STATUS_ALREADY_EXISTS);
    catalog_release(catalog);
}
END_TEST

START_TEST(test_drops)
{
    struct catalog *catalog = catalog_made();
    struct catalog *draft = catalog_copy(catalog);
    ck_assert(draft != NULL);
    struct catalog_table *users = catalog_table_find(draft, bytes_of_text("users"));
    ck_assert_int_eq(catalog_table_drop(draft, users), STATUS_OK);
    ck_assert_uint_eq(draft->drops_count, 3);
    ck_assert(catalog_table_by_id(draft, 3) == NULL);
    ck_assert_str_eq(catalog_table_by_id(draft, 7)->name.text, "carts");
    ck_assert_str_eq(catalog_table_by_id(draft, 5)->name.text, "orders");
    ck_assert_int_eq(catalog_table_create(draft, bytes_of_text("users"), 8, 20), STATUS_OK);
    ck_assert(catalog_table_by_id(catalog, 3) != NULL);
    while (draft->drops_count != 0)
        catalog_drop_finish(draft, draft->drops[0]);
    catalog_release(draft);
    catalog_release(catalog);
}
END_TEST

START_TEST(test_round_trip_through_the_tree)
{
    struct catalog *catalog = catalog_made();
    struct catalog *loaded = catalog_create();
    uint8_t key[catalog_meta_key_size_max];
    static uint8_t value[catalog_table_size_max];
    struct catalog_drop drop = {.kind = CATALOG_DROP_INDEX, .id = 9};
    ck_assert_int_eq(
        catalog_load(loaded, bytes_of(key, catalog_drop_key(drop, key)), (struct bytes){0}),
        STATUS_OK);
    for (size_t i = 0; i < 3; i++) {
        const struct catalog_table *table = &catalog->tables[i];
        size_t size = catalog_table_encode(table, value);
        struct bytes key_bytes = bytes_of(key, catalog_table_key(table->id, key));
        ck_assert_int_eq(catalog_load(loaded, key_bytes, bytes_of(value, size - 1)),
                         STATUS_CORRUPT);
        catalog_release(loaded);
        loaded = catalog_create();
        ck_assert_int_eq(catalog_load(loaded, key_bytes, bytes_of(value, size)), STATUS_OK);
        const struct catalog_table *back = catalog_table_by_id(loaded, table->id);
        ck_assert_str_eq(back->name.text, table->name.text);
        ck_assert_uint_eq(back->created_version, table->created_version);
        ck_assert_int_eq(back->expires, table->expires);
        ck_assert_uint_eq(back->indexes_count, table->indexes_count);
        for (unsigned n = 0; n < table->indexes_count; n++) {
            ck_assert_uint_eq(back->indexes[n].id, table->indexes[n].id);
            ck_assert_str_eq(back->indexes[n].name.text, table->indexes[n].name.text);
            ck_assert_int_eq(back->indexes[n].unique, table->indexes[n].unique);
        }
    }
    catalog_release(loaded);
    catalog_release(catalog);
}
END_TEST

START_TEST(test_limits)
{
    struct catalog *catalog = catalog_create();
    char name[16];
    enum status status = STATUS_OK;
    uint32_t count = 0;
    while (status == STATUS_OK) {
        (void)snprintf(name, sizeof name, "t%u", count);
        status = catalog_table_create(catalog, bytes_of_text(name), ++count, 1);
    }
    ck_assert_int_eq(status, STATUS_TOO_LARGE);
    ck_assert_uint_eq(catalog->tables_count, limit_tables_count);
    for (uint32_t id = 1; id <= limit_tables_count; id++)
        ck_assert_uint_eq(catalog_table_by_id(catalog, id)->id, id);
    status = STATUS_OK;
    for (count = 0; status == STATUS_OK; count++) {
        (void)snprintf(name, sizeof name, "i%u", count);
        status = catalog_index_create(catalog, &catalog->tables[0], bytes_of_text(name), false,
                                      count, 1);
    }
    ck_assert_uint_eq(catalog->tables[0].indexes_count, limit_table_indexes_count);
    catalog_release(catalog);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_look_ups);
    tcase_add_test(tests, test_drops);
    tcase_add_test(tests, test_round_trip_through_the_tree);
    tcase_add_test(tests, test_limits);
}
