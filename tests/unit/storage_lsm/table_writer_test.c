/* SPDX-License-Identifier: Apache-2.0 */
/* The writer where the disk does not do as it is told. What a table holds is table_test.c's. */
#include "storage/lsm/table_writer.h"

#include "proto/base/log.h"
#include "storage/io/blocking.h"
#include "tests/sim/disk.h"
#include "tests/unit/storage_lsm/table_unit.h"

struct fixture {
    struct sim_disk *disk;
    struct io *io;
    struct keyring *keyring;
    struct unit_entries entries;
    char path[table_path_size];
};

static void setup(struct fixture *fixture)
{
    struct generator generator;
    generator_init(&generator, 21);
    fixture->entries = unit_entries_draw(&generator, &unit_tree_bytes,
                                         &(struct unit_shape){2400, 2, 1500, 0, NULL});
    fixture->disk = sim_disk_create(1);
    fixture->io = sim_disk_io(fixture->disk);
    ck_assert_int_eq(keyring_create_in_memory(unit_cluster_id, false, &fixture->keyring),
                     STATUS_OK);
    ck_assert(table_path("", 9, fixture->path));
}

static void teardown(struct fixture *fixture)
{
    keyring_close(fixture->keyring);
    sim_disk_destroy(fixture->disk);
    unit_entries_free(&fixture->entries);
}

static struct table_writer *writer_make(struct fixture *fixture)
{
    struct table_writer_options options = {
        .keyring = fixture->keyring, .directory = "", .tree = &unit_tree_bytes, .number = 9};
    struct table_writer *writer;
    ck_assert_int_eq(table_writer_create(&options, &writer), STATUS_OK);
    return writer;
}

/* Writes all; on failure abandons, and gives the first status that was not OK. */
static enum status write_all(struct fixture *fixture, struct table_info *info)
{
    struct table_writer *writer = writer_make(fixture);
    enum status status = STATUS_OK;
    for (size_t i = 0; i < fixture->entries.count && status == STATUS_OK; i++) {
        status = table_writer_add(writer, fixture->io, &fixture->entries.entries[i]);
        ck_assert_uint_ge(table_writer_entries_count(writer), i);
    }
    if (status == STATUS_OK)
        status = table_writer_finish(writer, fixture->io, info);
    if (status != STATUS_OK)
        table_writer_abandon(writer, fixture->io);
    return status;
}

START_TEST(test_abandon_removes)
{
    struct fixture fixture;
    setup(&fixture);
    struct table_writer *writer = writer_make(&fixture);
    table_writer_abandon(writer, fixture.io);
    ck_assert(!sim_disk_exists(fixture.disk, fixture.path));
    writer = writer_make(&fixture);
    for (size_t i = 0; i < fixture.entries.count; i++)
        ck_assert_int_eq(table_writer_add(writer, fixture.io, &fixture.entries.entries[i]),
                         STATUS_OK);
    ck_assert(sim_disk_exists(fixture.disk, fixture.path));
    ck_assert_uint_gt(table_writer_size(writer), sim_disk_file_size(fixture.disk, fixture.path));
    table_writer_abandon(writer, fixture.io);
    ck_assert(!sim_disk_exists(fixture.disk, fixture.path));
    ck_assert_uint_eq(sim_disk_open_count(fixture.disk), 0);
    table_writer_abandon(NULL, fixture.io);
    teardown(&fixture);
}
END_TEST

/* The n-th call of each kind fails: the status comes through, and nothing is left behind. */
START_TEST(test_every_failure)
{
    static const enum io_kind kinds[] = {IO_KIND_OPEN, IO_KIND_WRITE, IO_KIND_WRITE_BACK,
                                         IO_KIND_FLUSH};
    struct fixture fixture;
    setup(&fixture);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        unsigned failures_count = 0;
        for (uint64_t nth = 1;; nth++) {
            enum status expected = kinds[k] == IO_KIND_WRITE ? STATUS_DISK_FULL : STATUS_IO_ERROR;
            sim_disk_fault(fixture.disk, &(struct sim_fault){.effect = SIM_FAIL,
                                                             .kind = kinds[k],
                                                             .nth = nth,
                                                             .status = expected,
                                                             .error_number = 28});
            struct table_info info = {0};
            enum status status = write_all(&fixture, &info);
            sim_disk_faults_clear(fixture.disk);
            if (status == STATUS_OK) {
                ck_assert_uint_eq(info.file_size, sim_disk_file_size(fixture.disk, fixture.path));
                table_info_free(&info);
                sim_disk_remove(fixture.disk, fixture.path);
                break;
            }
            failures_count++;
            ck_assert_int_eq(status, expected);
            ck_assert(!sim_disk_exists(fixture.disk, fixture.path));
            ck_assert_uint_eq(sim_disk_open_count(fixture.disk), 0);
        }
        ck_assert_uint_ge(failures_count, kinds[k] == IO_KIND_WRITE ? 3 : 1);
    }
    teardown(&fixture);
}
END_TEST

START_TEST(test_name_is_taken)
{
    struct fixture fixture;
    struct table_info info;
    setup(&fixture);
    ck_assert_int_eq(write_all(&fixture, &info), STATUS_OK);
    struct table_info second;
    struct table_writer *writer = writer_make(&fixture);
    enum status status = STATUS_OK;
    for (size_t i = 0; i < fixture.entries.count && status == STATUS_OK; i++)
        status = table_writer_add(writer, fixture.io, &fixture.entries.entries[i]);
    if (status == STATUS_OK)
        status = table_writer_finish(writer, fixture.io, &second);
    ck_assert_int_eq(status, STATUS_ALREADY_EXISTS);
    table_writer_abandon(writer, fixture.io);
    /* The file of that name is another's, and stays. */
    ck_assert(sim_disk_exists(fixture.disk, fixture.path));
    table_info_free(&info);
    teardown(&fixture);
}
END_TEST

/* After the finish, and a flush of the directory by its caller, the table survives a crash. */
START_TEST(test_finished_is_durable)
{
    struct fixture fixture;
    setup(&fixture);
    struct table_info info;
    ck_assert_int_eq(write_all(&fixture, &info), STATUS_OK);
    ck_assert_int_eq(io_flush_directory_wait(fixture.io, "/"), STATUS_OK);
    sim_disk_crash_now(fixture.disk);
    sim_disk_restart(fixture.disk, 5, SIM_RESTART_LOSE_UNFLUSHED);
    fixture.io = sim_disk_io(fixture.disk);
    struct table *table;
    struct error error = {0};
    enum status status =
        table_open(fixture.io, fixture.keyring, "", &unit_tree_bytes, &info, &table, &error);
    ck_assert_msg(status == STATUS_OK, "%s", error.text);
    ck_assert(bytes_equal(table_info(table)->smallest, fixture.entries.entries[0].key));
    ck_assert(bytes_equal(table_info(table)->largest,
                          fixture.entries.entries[fixture.entries.count - 1].key));
    table_discard(table, fixture.io);
    table_info_free(&info);
    teardown(&fixture);
}
END_TEST

static void add_unordered(void *context)
{
    struct fixture *fixture = context;
    struct table_writer *writer = writer_make(fixture);
    if (table_writer_add(writer, fixture->io, &fixture->entries.entries[1]) == STATUS_OK &&
        table_writer_add(writer, fixture->io, &fixture->entries.entries[0]) == STATUS_OK)
        table_writer_abandon(writer, fixture->io);
}

START_TEST(test_disorder_is_refused)
{
    struct fixture fixture;
    setup(&fixture);
    unit_assert_dies(add_unordered, &fixture);
    teardown(&fixture);
}
END_TEST

void unit_tests(TCase *tests)
{
    log_descriptor_set(-1);
    tcase_add_test(tests, test_abandon_removes);
    tcase_add_test(tests, test_every_failure);
    tcase_add_test(tests, test_name_is_taken);
    tcase_add_test(tests, test_finished_is_durable);
    tcase_add_test(tests, test_disorder_is_refused);
}
