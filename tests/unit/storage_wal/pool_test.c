/* SPDX-License-Identifier: Apache-2.0 */
/* Spares as they show through the log: what they leave free, and when they take that too. */
#include "storage/wal/pool.h"

#include "proto/base/log.h"
#include "storage/wal/wal.h"
#include "tests/sim/disk.h"
#include "tests/unit/unit.h"

enum { kib = 1024, segment = 256 * kib, kept = 1024 * kib, payload = 3000 };

struct fixture {
    struct sim_disk *disk;
    struct io *io;
    struct keyring *keyring;
    struct wal *wal;
    uint64_t index;
    uint64_t durable;
    unsigned spares;
};

static void on_durable(void *context, struct wal_mark mark)
{
    struct fixture *fixture = context;
    fixture->durable = mark.index;
}

static void on_failed(void *context, enum status status, const char *text)
{
    (void)context;
    ck_abort_msg("%s: %s", status_name(status), text);
}

static enum status on_replay(void *context, const struct wal_entry *entry)
{
    struct fixture *fixture = context;
    fixture->index = entry->index;
    return STATUS_OK;
}

static void open_log(struct fixture *fixture)
{
    struct wal_report report;
    struct error error = {0};
    const struct wal_options options = {
        .io = fixture->io,
        .keyring = fixture->keyring,
        .directory = "wal",
        .segment_size = segment,
        .queue_size_max = 128 * kib,
        .spare_segments = 1,
        .space_kept_size = kept,
        .alone = true,
        .durable = on_durable,
        .failed = on_failed,
        .context = fixture,
    };
    ck_assert_int_eq(wal_open(&options, (struct wal_mark){0}, on_replay, fixture, &fixture->wal,
                              &report, &error),
                     STATUS_OK);
}

static void fixture_begin(struct fixture *fixture)
{
    static const uint8_t cluster[seal_id_size] = "cluster of tests";
    struct io_op op = {0};
    log_descriptor_set(-1);
    *fixture = (struct fixture){.disk = sim_disk_create(11)};
    fixture->io = sim_disk_io(fixture->disk);
    ck_assert_int_eq(keyring_create_in_memory(cluster, false, &fixture->keyring), STATUS_OK);
    io_make_directory(fixture->io, &op, "wal");
    ck_assert_int_eq(io_wait(fixture->io, &op), STATUS_OK);
    open_log(fixture);
}

static void pass_time(struct fixture *fixture)
{
    for (unsigned i = 0; i < 400; i++) {
        sim_disk_clock_advance(fixture->disk, 1000 * 1000);
        io_turn(fixture->io, false);
    }
}

static void count_spare(void *context, const char *path, uint64_t size)
{
    struct fixture *fixture = context;
    fixture->spares += size == segment && strstr(path, "spare-") != NULL;
}

static unsigned spares_count(struct fixture *fixture)
{
    fixture->spares = 0;
    sim_disk_each_file(fixture->disk, count_spare, fixture);
    return fixture->spares;
}

static enum status append(struct fixture *fixture)
{
    static const uint8_t bytes[payload];
    const struct wal_entry entry = {
        .index = fixture->index + 1, .term = 1, .bytes = bytes_of(bytes, sizeof bytes)};
    enum status status = wal_append(fixture->wal, &entry, 1);
    if (status != STATUS_OK)
        return status;
    fixture->index++;
    wal_flush(fixture->wal);
    while (fixture->durable < fixture->index)
        io_turn(fixture->io, true);
    return STATUS_OK;
}

START_TEST(test_spares_leave_space_unless_awaited)
{
    struct fixture fixture;
    enum status status;
    fixture_begin(&fixture);
    pass_time(&fixture);
    ck_assert_uint_eq(spares_count(&fixture), 1);

    /* There is room for two segments, but not for what should stay free besides. */
    sim_disk_capacity(fixture.disk, sim_disk_used(fixture.disk) + 2 * segment + 64 * kib);
    while ((status = append(&fixture)) == STATUS_OK)
        ;
    ck_assert_int_eq(status, STATUS_DISK_FULL);
    pass_time(&fixture);
    ck_assert_uint_eq(spares_count(&fixture), 0);
    ck_assert_uint_gt(fixture.index, 2 * (segment - 64 * kib) / 8192);

    /* A start cannot go on without one. */
    ck_assert_int_eq(wal_close(fixture.wal), STATUS_OK);
    open_log(&fixture);
    ck_assert_int_eq(append(&fixture), STATUS_OK);
    pass_time(&fixture);
    ck_assert_uint_eq(spares_count(&fixture), 0);

    /* What is released is used again without new space. */
    wal_release(fixture.wal, fixture.index - 1);
    pass_time(&fixture);
    ck_assert_uint_ge(spares_count(&fixture), 1);
    uint64_t before = fixture.index;
    while (fixture.index < before + 100)
        ck_assert_int_eq(append(&fixture), STATUS_OK);

    ck_assert_int_eq(wal_close(fixture.wal), STATUS_OK);
    keyring_close(fixture.keyring);
    sim_disk_destroy(fixture.disk);
}
END_TEST

START_TEST(test_space_that_came_back_is_found)
{
    struct fixture fixture;
    fixture_begin(&fixture);
    pass_time(&fixture);
    sim_disk_capacity(fixture.disk, sim_disk_used(fixture.disk) + 64 * kib);
    while (append(&fixture) == STATUS_OK)
        ;
    sim_disk_capacity(fixture.disk, (uint64_t)64 * 1024 * kib);
    pass_time(&fixture);
    ck_assert_uint_eq(spares_count(&fixture), 1);
    ck_assert_int_eq(append(&fixture), STATUS_OK);
    ck_assert_int_eq(wal_close(fixture.wal), STATUS_OK);
    keyring_close(fixture.keyring);
    sim_disk_destroy(fixture.disk);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_spares_leave_space_unless_awaited);
    tcase_add_test(tests, test_space_that_came_back_is_found);
}
