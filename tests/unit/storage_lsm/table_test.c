/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/lsm/table.h"

#include "storage/io/uring.h"
#include "storage/lsm/table_scanner.h"
#include "tests/sim/disk.h"
#include "tests/unit/storage_lsm/table_unit.h"

/* One table with its model: on the simulated disk, where half of all reads are not in memory; or on
 * the real one. */
struct fixture {
    struct sim_disk *disk; /* NULL: the real one */
    struct io *io;
    struct keyring *keyring;
    struct cache *cache;
    struct table *table;
    const struct lsm_tree_options *tree;
    struct unit_entries entries;
    struct generator generator;
    struct lsm_wait wait;
    bool told;
    char directory[256];
};

static void told(struct lsm_wait *wait)
{
    *(bool *)wait->context = true;
}

static void setup(struct fixture *fixture, const struct lsm_tree_options *tree,
                  const struct unit_shape *shape, uint64_t seed, bool uncompressed, bool real)
{
    printf("table %s seed %llu\n", tree->name, (unsigned long long)seed);
    struct error error = {0};
    memset(fixture, 0, sizeof *fixture);
    generator_init(&fixture->generator, seed);
    fixture->tree = tree;
    if (real) {
        ck_assert_int_eq(io_uring_open(&(struct io_uring_options){0}, &fixture->io, &error),
                         STATUS_OK);
        snprintf(fixture->directory, sizeof fixture->directory, "%s", unit_directory());
    } else {
        fixture->disk = sim_disk_create(seed);
        fixture->io = sim_disk_io(fixture->disk);
        sim_disk_cached_percent(fixture->disk, 50);
    }
    ck_assert_int_eq(keyring_create_in_memory(unit_cluster_id, false, &fixture->keyring),
                     STATUS_OK);
    ck_assert_int_eq(cache_create(fixture->io, 0, &fixture->cache), STATUS_OK);
    fixture->entries = unit_entries_draw(&fixture->generator, tree, shape);
    struct table_info info = unit_table_write(fixture->io, fixture->keyring, fixture->directory,
                                              tree, &fixture->entries, 7, uncompressed);
    enum status status = table_open(fixture->io, fixture->keyring, fixture->directory, tree, &info,
                                    &fixture->table, &error);
    ck_assert_msg(status == STATUS_OK, "%s", error.text);
    table_info_free(&info);
    table_attach(fixture->table, fixture->cache);
    lsm_wait_init(&fixture->wait, told, &fixture->told);
}

static void teardown(struct fixture *fixture)
{
    ck_assert_uint_eq(cache_statistics(fixture->cache).pinned_count, 0);
    table_unref(fixture->table);
    cache_free(fixture->cache);
    keyring_close(fixture->keyring);
    if (fixture->disk == NULL) {
        io_uring_close(fixture->io);
    } else {
        ck_assert_uint_eq(sim_disk_open_count(fixture->disk), 0);
        sim_disk_destroy(fixture->disk);
    }
    unit_entries_free(&fixture->entries);
}

/* AGAIN: waits until told. True: call again. */
static bool again(struct fixture *fixture, enum status status)
{
    if (status != STATUS_AGAIN)
        return false;
    ck_assert_uint_ne(fixture->wait.pending_count, 0);
    fixture->told = false;
    while (!fixture->told)
        io_turn(fixture->io, true);
    return true;
}

#define EVENTUALLY(fixture, status, call)                                                          \
    do                                                                                             \
        (status) = (call);                                                                         \
    while (again(fixture, status))

static void assert_at(struct fixture *fixture, enum status status, const struct lsm_entry *entry,
                      size_t place)
{
    ck_assert_int_eq(status, place < fixture->entries.count ? STATUS_OK : STATUS_END);
    if (status == STATUS_OK)
        unit_assert_entry(entry, &fixture->entries.entries[place]);
}

/* A key that is there, or beside one that is. */
static struct bytes draw_key(struct fixture *fixture, uint8_t to[256])
{
    const struct lsm_entry *entry =
        &fixture->entries.entries[generator_below(&fixture->generator, fixture->entries.count)];
    size_t size = entry->key.size;
    bytes_copy(to, entry->key);
    if (generator_chance(&fixture->generator, 1, 3))
        to[size - 1] = (uint8_t)(to[size - 1] + generator_below(&fixture->generator, 3));
    if (fixture->tree->kind == LSM_BYTES && generator_chance(&fixture->generator, 1, 4))
        size -= generator_below(&fixture->generator, size);
    return bytes_of(to, size);
}

static uint64_t draw_version(struct fixture *fixture)
{
    return generator_chance(&fixture->generator, 1, 4)
               ? UINT64_MAX
               : generator_between(&fixture->generator, 800, 2100);
}

static void check_get(struct fixture *fixture)
{
    uint8_t bytes[256];
    struct bytes key = draw_key(fixture, bytes);
    uint64_t version = draw_version(fixture);
    size_t place = unit_entries_find(&fixture->entries, key, version);
    bool has =
        place < fixture->entries.count && bytes_equal(fixture->entries.entries[place].key, key);
    struct cache_block *pin;
    struct lsm_entry entry;
    enum status status;
    EVENTUALLY(fixture, status,
               table_get(fixture->table, &fixture->wait, key, version, &pin, &entry));
    ck_assert_int_eq(status, has ? STATUS_OK : STATUS_NOT_FOUND);
    if (has) {
        unit_assert_entry(&entry, &fixture->entries.entries[place]);
        cache_unpin(pin);
    }
}

static void check_seek_and_walk(struct fixture *fixture)
{
    uint8_t bytes[256];
    struct bytes key = draw_key(fixture, bytes);
    uint64_t version = draw_version(fixture);
    size_t place = unit_entries_find(&fixture->entries, key, version);
    struct table_cursor cursor;
    struct lsm_entry entry;
    enum status status;
    table_cursor_init(&cursor, fixture->table, 0);
    if (generator_chance(&fixture->generator, 1, 2)) {
        EVENTUALLY(fixture, status,
                   table_cursor_seek(&cursor, &fixture->wait, key, version, &entry));
    } else {
        EVENTUALLY(fixture, status,
                   table_cursor_seek_before(&cursor, &fixture->wait, key, version, &entry));
        place = place == 0 ? SIZE_MAX : place - 1;
    }
    assert_at(fixture, status, &entry, place);
    for (int i = 0; i < 30 && status == STATUS_OK; i++) {
        if (generator_chance(&fixture->generator, 1, 2)) {
            EVENTUALLY(fixture, status, table_cursor_next(&cursor, &fixture->wait, &entry));
            place++;
        } else {
            EVENTUALLY(fixture, status, table_cursor_previous(&cursor, &fixture->wait, &entry));
            place = place == 0 ? SIZE_MAX : place - 1;
        }
        assert_at(fixture, status, &entry, place);
    }
    table_cursor_close(&cursor);
}

static void check_whole(struct fixture *fixture)
{
    struct table_cursor cursor;
    struct lsm_entry entry;
    enum status status;
    table_cursor_init(&cursor, fixture->table, 0);
    EVENTUALLY(fixture, status, table_cursor_first(&cursor, &fixture->wait, &entry));
    for (size_t i = 0; i <= fixture->entries.count; i++) {
        assert_at(fixture, status, &entry, i);
        EVENTUALLY(fixture, status, table_cursor_next(&cursor, &fixture->wait, &entry));
    }
    EVENTUALLY(fixture, status, table_cursor_last(&cursor, &fixture->wait, &entry));
    for (size_t i = fixture->entries.count; i > 0; i--) {
        assert_at(fixture, status, &entry, i - 1);
        EVENTUALLY(fixture, status, table_cursor_previous(&cursor, &fixture->wait, &entry));
    }
    ck_assert_int_eq(status, STATUS_END);
    table_cursor_close(&cursor);

    struct table_scanner *scanner;
    ck_assert_int_eq(table_scanner_open(fixture->table, &scanner), STATUS_OK);
    for (size_t i = 0; i <= fixture->entries.count; i++) {
        status = table_scanner_next(scanner, fixture->io, &entry);
        assert_at(fixture, status, &entry, i);
    }
    table_scanner_close(scanner);
}

/* A cursor with `since` gives, in order, at least all that is newer. */
static void check_since(struct fixture *fixture, uint64_t since)
{
    struct table_cursor cursor;
    struct lsm_entry entry;
    enum status status;
    table_cursor_init(&cursor, fixture->table, since);
    EVENTUALLY(fixture, status, table_cursor_first(&cursor, &fixture->wait, &entry));
    for (size_t i = 0; i < fixture->entries.count; i++) {
        const struct lsm_entry *expected = &fixture->entries.entries[i];
        bool is_it = status == STATUS_OK && entry.version == expected->version &&
                     bytes_equal(entry.key, expected->key);
        ck_assert(is_it || expected->version <= since);
        if (is_it)
            EVENTUALLY(fixture, status, table_cursor_next(&cursor, &fixture->wait, &entry));
    }
    ck_assert_int_eq(status, STATUS_END);
    table_cursor_close(&cursor);
}

static void run(const struct lsm_tree_options *tree, const struct unit_shape *shape, uint64_t seed,
                bool uncompressed)
{
    struct fixture fixture;
    setup(&fixture, tree, shape, seed, uncompressed, false);
    check_whole(&fixture);
    for (int i = 0; i < 50; i++) {
        check_get(&fixture);
        check_seek_and_walk(&fixture);
    }
    check_since(&fixture, 1500);
    check_since(&fixture, 1990);
    check_since(&fixture, 5000);
    ck_assert(cache_statistics(fixture.cache).again_count != 0 || fixture.entries.count < 100);
    teardown(&fixture);
}

START_TEST(test_on_the_real_disk)
{
    struct fixture fixture;
    setup(&fixture, &unit_tree_bytes, &(struct unit_shape){1000, 3, 200, 0, "orders/"}, 12, false,
          true);
    check_whole(&fixture);
    for (int i = 0; i < 50; i++)
        check_get(&fixture);
    teardown(&fixture);
}
END_TEST

/* A read that fails while a cursor stands somewhere: it still stands there, and goes on later. */
START_TEST(test_cursor_survives_failures)
{
    struct fixture fixture;
    setup(&fixture, &unit_tree_bytes, &(struct unit_shape){1000, 3, 200, 0, NULL}, 13, false,
          false);
    sim_disk_cached_percent(fixture.disk, 0);
    struct table_cursor cursor;
    struct lsm_entry entry;
    enum status status;
    unsigned failures_count = 0;
    table_cursor_init(&cursor, fixture.table, 0);
    EVENTUALLY(&fixture, status, table_cursor_first(&cursor, &fixture.wait, &entry));
    for (size_t i = 0; i < fixture.entries.count; i++) {
        assert_at(&fixture, status, &entry, i);
        sim_disk_fault(fixture.disk, &(struct sim_fault){.effect = SIM_FAIL,
                                                         .kind = IO_KIND_READ,
                                                         .status = STATUS_IO_ERROR,
                                                         .error_number = 5});
        EVENTUALLY(&fixture, status, table_cursor_next(&cursor, &fixture.wait, &entry));
        sim_disk_faults_clear(fixture.disk);
        if (status == STATUS_IO_ERROR) {
            failures_count++;
            EVENTUALLY(&fixture, status, table_cursor_next(&cursor, &fixture.wait, &entry));
        }
    }
    ck_assert_int_eq(status, STATUS_END);
    ck_assert_uint_gt(failures_count, 10);
    table_cursor_close(&cursor);
    teardown(&fixture);
}
END_TEST

START_TEST(test_bytes_against_model)
{
    run(&unit_tree_bytes, &(struct unit_shape){1, 1, 10, 0, NULL}, 1, false);
    run(&unit_tree_bytes, &(struct unit_shape){1500, 3, 200, 0, "orders/"}, 2, false);
    run(&unit_tree_bytes, &(struct unit_shape){200, 60, 100, 0, NULL}, 3, false);
    run(&unit_tree_bytes, &(struct unit_shape){2000, 2, 0, 0, NULL}, 4, true);
}
END_TEST

START_TEST(test_several_partitions)
{
    run(&unit_tree_bytes, &(struct unit_shape){1800, 2, 1200, 0, "users/"}, 5, false);
    run(&unit_tree_fixed, &(struct unit_shape){12000, 2, 0, 0, NULL}, 6, false);
}
END_TEST

START_TEST(test_large_values)
{
    run(&unit_tree_bytes, &(struct unit_shape){40, 2, 300, 10, NULL}, 7, false);
    run(&unit_tree_bytes, &(struct unit_shape){30, 2, 300, 10, NULL}, 8, true);
}
END_TEST

START_TEST(test_fixed_against_model)
{
    run(&unit_tree_fixed, &(struct unit_shape){1, 1, 0, 0, NULL}, 9, false);
    run(&unit_tree_fixed, &(struct unit_shape){1500, 4, 0, 0, NULL}, 10, false);
}
END_TEST

START_TEST(test_names)
{
    char path[table_path_size];
    uint64_t number;
    ck_assert(table_path("data/lsm", 0xab12, path));
    ck_assert_str_eq(path, "data/lsm/000000000000ab12.table");
    ck_assert(table_name_parse("000000000000ab12.table", &number));
    ck_assert_uint_eq(number, 0xab12);
    ck_assert(!table_name_parse("000000000000AB12.table", &number));
    ck_assert(!table_name_parse("0000000000000000.table", &number));
    ck_assert(!table_name_parse("000000000000ab12.tablet", &number));
    ck_assert(!table_name_parse("manifest.a", &number));
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_bytes_against_model);
    tcase_add_test(tests, test_several_partitions);
    tcase_add_test(tests, test_large_values);
    tcase_add_test(tests, test_fixed_against_model);
    tcase_add_test(tests, test_on_the_real_disk);
    tcase_add_test(tests, test_cursor_survives_failures);
    tcase_add_test(tests, test_names);
}
