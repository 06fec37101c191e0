/* SPDX-License-Identifier: Apache-2.0 */
/* The commit path as it shows through the log: grouping, the empty batch, and the first failure. */
#include "storage/wal/writer.h"

#include <stdlib.h>

#include "proto/base/log.h"
#include "tests/sim/disk.h"
#include "tests/unit/unit.h"

struct fixture {
    struct sim_disk *disk;
    struct io *io;
    struct keyring *keyring;
    struct wal *wal;
    uint64_t durable;
    unsigned failures;
};

static void on_durable(void *context, struct wal_mark mark)
{
    struct fixture *fixture = context;
    ck_assert_uint_eq(fixture->failures, 0);
    fixture->durable = mark.index;
}

static void on_failed(void *context, enum status status, const char *text)
{
    struct fixture *fixture = context;
    ck_assert_int_eq(status, STATUS_IO_ERROR);
    ck_assert_ptr_nonnull(strstr(text, "segment-"));
    fixture->failures++;
}

static enum status on_replay(void *context, const struct wal_entry *entry)
{
    (void)context;
    (void)entry;
    return STATUS_OK;
}

static void fixture_begin(struct fixture *fixture)
{
    static const uint8_t cluster[seal_id_size] = "cluster of tests";
    struct io_op op = {0};
    struct wal_report report;
    struct error error = {0};
    log_descriptor_set(-1);
    *fixture = (struct fixture){.disk = sim_disk_create(3)};
    fixture->io = sim_disk_io(fixture->disk);
    ck_assert_int_eq(keyring_create_in_memory(cluster, false, &fixture->keyring), STATUS_OK);
    io_make_directory(fixture->io, &op, "wal");
    ck_assert_int_eq(io_wait(fixture->io, &op), STATUS_OK);
    struct wal_options options = {
        .io = fixture->io,
        .keyring = fixture->keyring,
        .directory = "wal",
        .segment_size = 256 * 1024,
        .queue_size_max = 128 * 1024,
        .spare_segments = 1,
        .alone = true,
        .durable = on_durable,
        .failed = on_failed,
        .context = fixture,
    };
    ck_assert_int_eq(wal_open(&options, (struct wal_mark){0}, on_replay, fixture, &fixture->wal,
                              &report, &error),
                     STATUS_OK);
}

static void fixture_end(struct fixture *fixture)
{
    keyring_close(fixture->keyring);
    sim_disk_destroy(fixture->disk);
}

static enum status append(struct fixture *fixture, uint64_t index)
{
    static const char marker[] = "a known description that no disk may show";
    struct wal_entry entry = {.index = index, .term = 1, .bytes = bytes_of(marker, sizeof marker)};
    return wal_append(fixture->wal, &entry, 1);
}

/* All that queues while one write flies goes in the next. */
START_TEST(test_group_commit)
{
    struct fixture fixture;
    fixture_begin(&fixture);
    uint64_t index = 0;
    while (index < 500) {
        for (unsigned i = 0; i < 10; i++)
            ck_assert_int_eq(append(&fixture, ++index), STATUS_OK);
        wal_flush(fixture.wal);
        io_turn(fixture.io, false);
        sim_disk_clock_advance(fixture.disk, 10 * 1000);
    }
    while (fixture.durable < index)
        io_turn(fixture.io, true);
    struct wal_statistics statistics = wal_statistics(fixture.wal);
    ck_assert_uint_eq(statistics.entries_count, index);
    ck_assert_uint_lt(statistics.flushes_count, 50);
    ck_assert(!sim_disk_contains(fixture.disk, bytes_of_text("a known description")));
    ck_assert_int_eq(wal_close(fixture.wal), STATUS_OK);
    fixture_end(&fixture);
}
END_TEST

/* Within 10 ms of the last batch an empty one follows; then there is silence. */
START_TEST(test_empty_batch)
{
    struct fixture fixture;
    fixture_begin(&fixture);
    ck_assert_int_eq(append(&fixture, 1), STATUS_OK);
    wal_flush(fixture.wal);
    while (fixture.durable < 1)
        io_turn(fixture.io, true);
    uint64_t start = io_boot_ns(fixture.io);
    ck_assert_uint_eq(wal_statistics(fixture.wal).empty_count, 0);
    while (wal_statistics(fixture.wal).empty_count == 0)
        io_turn(fixture.io, true);
    ck_assert_uint_le(io_boot_ns(fixture.io) - start, 10 * 1000 * 1000);
    for (unsigned i = 0; i < 1000; i++) {
        sim_disk_clock_advance(fixture.disk, 1000 * 1000);
        io_turn(fixture.io, false);
    }
    ck_assert_uint_eq(wal_statistics(fixture.wal).empty_count, 1);
    ck_assert_int_eq(wal_close(fixture.wal), STATUS_OK);
    fixture_end(&fixture);
}
END_TEST

/* A write or a flush that fails is said once; nothing is acknowledged or taken any more. */
START_TEST(test_first_failure_is_final)
{
    struct fixture fixture;
    fixture_begin(&fixture);
    for (unsigned i = 0; i < 200; i++) { /* the spare is made */
        sim_disk_clock_advance(fixture.disk, 100 * 1000);
        io_turn(fixture.io, false);
    }
    struct sim_fault fault = {
        .effect = SIM_FAIL,
        .kind = _i == 0 ? IO_KIND_WRITE : IO_KIND_FLUSH,
        .path = "preparing-", /* the name under which the segment was opened */
        .status = STATUS_IO_ERROR,
        .error_number = 5,
    };
    sim_disk_fault(fixture.disk, &fault);
    for (uint64_t index = 1; index <= 3; index++)
        ck_assert_int_eq(append(&fixture, index), STATUS_OK);
    wal_flush(fixture.wal);
    for (unsigned i = 0; i < 200; i++) {
        sim_disk_clock_advance(fixture.disk, 100 * 1000);
        io_turn(fixture.io, false);
    }
    ck_assert_uint_eq(fixture.failures, 1);
    ck_assert_uint_eq(fixture.durable, 0);
    ck_assert_int_eq(append(&fixture, 4), STATUS_IO_ERROR);
    ck_assert_int_eq(wal_close(fixture.wal), STATUS_IO_ERROR);
    ck_assert_uint_eq(fixture.failures, 1);
    fixture_end(&fixture);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_group_commit);
    tcase_add_test(tests, test_empty_batch);
    tcase_add_loop_test(tests, test_first_failure_is_final, 0, 2);
}
