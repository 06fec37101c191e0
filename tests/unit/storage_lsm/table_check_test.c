/* SPDX-License-Identifier: Apache-2.0 */
/* Each flipped byte of a table file is found: by the check, and by whoever reads it. */
#include "storage/lsm/table_check.h"

#include "proto/base/log.h"
#include "storage/lsm/table_scanner.h"
#include "tests/sim/disk.h"
#include "tests/unit/storage_lsm/table_unit.h"

struct findings {
    unsigned count;
    uint64_t offset; /* of the last */
};

static void found(void *context, uint64_t offset, const char *text)
{
    struct findings *findings = context;
    ck_assert_ptr_nonnull(text);
    findings->count++;
    findings->offset = offset;
}

static struct findings check_all(struct table *table, struct io *io)
{
    struct findings findings = {0};
    struct table_check *check;
    ck_assert_int_eq(table_check_open(table, &check), STATUS_OK);
    enum status status;
    do
        status = table_check_step(check, io, found, &findings);
    while (status == STATUS_OK);
    ck_assert_int_eq(status, STATUS_END);
    if (findings.count == 0)
        ck_assert_uint_eq(table_check_size(check), table_info(table)->file_size);
    table_check_close(check);
    return findings;
}

/* Whether all entries are read as they were written; CORRUPT is the only other answer. */
static bool scan_all(struct table *table, struct io *io, const struct unit_entries *entries)
{
    struct table_scanner *scanner;
    ck_assert_int_eq(table_scanner_open(table, &scanner), STATUS_OK);
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK; i++) {
        struct lsm_entry entry;
        status = table_scanner_next(scanner, io, &entry);
        if (status == STATUS_OK)
            unit_assert_entry(&entry, &entries->entries[i]);
        else
            ck_assert(status == STATUS_CORRUPT || (status == STATUS_END && i == entries->count));
    }
    table_scanner_close(scanner);
    return status == STATUS_END;
}

static void flip_each(const struct lsm_tree_options *tree, bool plain)
{
    struct generator generator;
    generator_init(&generator, 11);
    struct unit_entries entries = unit_entries_draw(
        &generator, tree, &(struct unit_shape){plain ? 20 : 60, 2, 60, 0, "orders/"});
    struct sim_disk *disk = sim_disk_create(1);
    struct io *io = sim_disk_io(disk);
    struct keyring *keyring;
    ck_assert_int_eq(keyring_create_in_memory(unit_cluster_id, plain, &keyring), STATUS_OK);
    struct table_info info = unit_table_write(io, keyring, "", tree, &entries, 5, plain);
    char path[table_path_size];
    ck_assert(table_path("", 5, path));
    ck_assert(plain || !sim_disk_contains(disk, bytes_of_text("orders/")));
    struct table *table;
    ck_assert_int_eq(table_open(io, keyring, "", tree, &info, &table, NULL), STATUS_OK);
    ck_assert_uint_eq(check_all(table, io).count, 0);
    ck_assert(scan_all(table, io, &entries));
    unsigned opened_count = 0;
    unsigned scanned_count = 0;
    for (uint64_t offset = 0; offset < info.file_size; offset++) {
        unsigned bit = (unsigned)(offset % 8);
        sim_disk_flip_bit(disk, path, offset, bit);
        struct findings findings = check_all(table, io);
        ck_assert_msg(findings.count != 0, "the check misses a flip at %llu",
                      (unsigned long long)offset);
        ck_assert_uint_le(findings.offset, offset);
        /* Opening looks at the ends; what is read later is what a scan sees, or a filter. */
        struct table *again;
        struct error error = {0};
        if (table_open(io, keyring, "", tree, &info, &again, &error) == STATUS_OK) {
            opened_count++;
            scanned_count += scan_all(again, io, &entries) ? 1 : 0;
            table_discard(again, io);
        } else {
            ck_assert_ptr_nonnull(strstr(error.text, path));
        }
        sim_disk_flip_bit(disk, path, offset, bit);
    }
    ck_assert_uint_gt(opened_count, info.file_size / 2);
    /* The filter alone is not read by a scan. */
    ck_assert_uint_lt(scanned_count, info.file_size / 4);
    table_discard(table, io);
    table_info_free(&info);
    keyring_close(keyring);
    sim_disk_destroy(disk);
    unit_entries_free(&entries);
}

START_TEST(test_each_flip_is_found_bytes)
{
    flip_each(&unit_tree_bytes, false);
}
END_TEST

START_TEST(test_each_flip_is_found_fixed)
{
    flip_each(&unit_tree_fixed, false);
}
END_TEST

START_TEST(test_each_flip_is_found_plain)
{
    flip_each(&unit_tree_bytes, true);
}
END_TEST

/* A table of several partitions and steps; then two of its blocks are swapped, cut off, or fail. */
START_TEST(test_large_table)
{
    struct generator generator;
    generator_init(&generator, 12);
    struct unit_entries entries = unit_entries_draw(&generator, &unit_tree_bytes,
                                                    &(struct unit_shape){1500, 2, 1500, 400, NULL});
    struct sim_disk *disk = sim_disk_create(2);
    struct io *io = sim_disk_io(disk);
    struct keyring *keyring;
    ck_assert_int_eq(keyring_create_in_memory(unit_cluster_id, false, &keyring), STATUS_OK);
    struct table_info info =
        unit_table_write(io, keyring, "", &unit_tree_bytes, &entries, 5, false);
    struct table *table;
    ck_assert_int_eq(table_open(io, keyring, "", &unit_tree_bytes, &info, &table, NULL), STATUS_OK);
    ck_assert_uint_eq(check_all(table, io).count, 0);
    char path[table_path_size];
    ck_assert(table_path("", 5, path));
    for (int i = 0; i < 10; i++) {
        uint64_t offset = generator_below(&generator, info.file_size);
        sim_disk_flip_bit(disk, path, offset, 3);
        ck_assert_uint_ne(check_all(table, io).count, 0);
        sim_disk_flip_bit(disk, path, offset, 3);
    }
    sim_disk_fault(disk, &(struct sim_fault){.effect = SIM_FAIL,
                                             .kind = IO_KIND_READ,
                                             .nth = 5,
                                             .status = STATUS_IO_ERROR,
                                             .error_number = 5});
    ck_assert_uint_ne(check_all(table, io).count, 0);
    sim_disk_faults_clear(disk);
    ck_assert_uint_eq(check_all(table, io).count, 0);
    sim_disk_remove(disk, path);
    ck_assert_uint_eq(check_all(table, io).count, 1);
    table_discard(table, io);
    table_info_free(&info);
    keyring_close(keyring);
    sim_disk_destroy(disk);
    unit_entries_free(&entries);
}
END_TEST

void unit_tests(TCase *tests)
{
    log_descriptor_set(-1);
    tcase_add_test(tests, test_each_flip_is_found_bytes);
    tcase_add_test(tests, test_each_flip_is_found_fixed);
    tcase_add_test(tests, test_each_flip_is_found_plain);
    tcase_add_test(tests, test_large_table);
}
