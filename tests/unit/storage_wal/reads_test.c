/* SPDX-License-Identifier: Apache-2.0 */
/* Reads of old entries while the log goes on: what is given, how far, and when it is refused. */
#include "storage/wal/reads.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/generator.h"
#include "proto/base/log.h"
#include "tests/sim/disk.h"
#include "tests/unit/unit.h"

enum { segment_size = 128 * 1024, entry_size_max = 20000 };

struct fixture {
    struct sim_disk *disk;
    struct io *io;
    struct keyring *keyring;
    struct wal *wal;
    uint64_t durable;
    uint64_t done_count;
};

static void on_durable(void *context, struct wal_mark mark)
{
    struct fixture *fixture = context;
    fixture->durable = mark.index;
}

static void on_failed(void *context, enum status status, const char *text)
{
    (void)context;
    (void)status;
    ck_abort_msg("%s", text);
}

static enum status on_replay(void *context, const struct wal_entry *entry)
{
    (void)context;
    (void)entry;
    return STATUS_OK;
}

static void fixture_open(struct fixture *fixture, bool alone)
{
    struct wal_report report;
    struct error error = {0};
    struct wal_options options = {
        .io = fixture->io,
        .keyring = fixture->keyring,
        .directory = "wal",
        .segment_size = segment_size,
        .queue_size_max = 256 * 1024,
        .spare_segments = 1,
        .alone = alone,
        .durable = on_durable,
        .failed = on_failed,
        .context = fixture,
    };
    enum status status =
        wal_open(&options, (struct wal_mark){0}, on_replay, NULL, &fixture->wal, &report, &error);
    ck_assert_msg(status == STATUS_OK, "%s", error.text);
    fixture->durable = wal_durable_index(fixture->wal);
}

static void fixture_begin(struct fixture *fixture, bool plain)
{
    static const uint8_t cluster[seal_id_size] = "cluster of tests";
    struct io_op op = {0};
    log_descriptor_set(-1);
    *fixture = (struct fixture){.disk = sim_disk_create(11)};
    fixture->io = sim_disk_io(fixture->disk);
    ck_assert_int_eq(keyring_create_in_memory(cluster, plain, &fixture->keyring), STATUS_OK);
    io_make_directory(fixture->io, &op, "wal");
    ck_assert_int_eq(io_wait(fixture->io, &op), STATUS_OK);
    fixture_open(fixture, true);
}

static void fixture_end(struct fixture *fixture)
{
    ck_assert_int_eq(wal_close(fixture->wal), STATUS_OK);
    ck_assert_uint_eq(sim_disk_open_count(fixture->disk), 0);
    keyring_close(fixture->keyring);
    sim_disk_destroy(fixture->disk);
}

static struct bytes content(uint64_t index, uint64_t term, uint8_t *to)
{
    struct generator generator;
    generator_init(&generator, index * 1000 + term);
    size_t size = (size_t)generator_below(&generator, index % 40 == 0 ? entry_size_max : 500);
    generator_fill(&generator, to, size);
    return bytes_of(to, size);
}

static void append(struct fixture *fixture, uint64_t first, uint64_t last, uint64_t term)
{
    static uint8_t memory[entry_size_max];
    for (uint64_t index = first; index <= last; index++) {
        struct wal_entry entry = {
            .index = index, .term = term, .bytes = content(index, term, memory)};
        enum status status;
        while ((status = wal_append(fixture->wal, &entry, 1)) == STATUS_BUSY) {
            wal_flush(fixture->wal);
            io_turn(fixture->io, true);
        }
        ck_assert_int_eq(status, STATUS_OK);
    }
}

static void settle(struct fixture *fixture)
{
    wal_flush(fixture->wal);
    while (wal_durable_index(fixture->wal) < wal_last(fixture->wal).index)
        io_turn(fixture->io, true);
}

static void on_done(struct wal_read *read)
{
    struct fixture *fixture = read->context;
    fixture->done_count++;
}

static void read_start(struct fixture *fixture, struct wal_read *read, uint64_t first,
                       uint64_t last, size_t size_max)
{
    *read = (struct wal_read){
        .first = first, .last = last, .size_max = size_max, .done = on_done, .context = fixture};
    uint64_t before = fixture->done_count;
    wal_read_start(fixture->wal, read);
    ck_assert_uint_eq(fixture->done_count, before);
}

static void read_wait(struct fixture *fixture, struct wal_read *read, uint64_t first, uint64_t last,
                      size_t size_max)
{
    uint64_t wanted = fixture->done_count + 1;
    read_start(fixture, read, first, last, size_max);
    while (fixture->done_count < wanted)
        io_turn(fixture->io, true);
}

static void check_entries(const struct wal_read *read, uint64_t term)
{
    static uint8_t memory[entry_size_max];
    size_t size = 0;
    ck_assert_int_eq(read->status, STATUS_OK);
    ck_assert_uint_ge(read->entries_count, 1);
    ck_assert_uint_le(read->entries_count, read->last - read->first + 1);
    for (size_t i = 0; i < read->entries_count; i++) {
        const struct wal_entry *entry = &read->entries[i];
        struct bytes expected = content(read->first + i, term, memory);
        ck_assert_uint_eq(entry->index, read->first + i);
        ck_assert_uint_eq(entry->term, term);
        ck_assert_int_eq(entry->hole, WAL_WHOLE);
        ck_assert_uint_eq(entry->bytes.size, expected.size);
        ck_assert_mem_eq(entry->bytes.data, expected.data, expected.size);
        size += entry->bytes.size;
    }
    ck_assert(size <= read->size_max || read->entries_count == 1);
}

/* The whole log comes back in pieces of any size, sealed or plain, before and after a restart. */
START_TEST(test_all)
{
    static const size_t sizes[] = {0, 700, 5000, 100000, 4 * 1024 * 1024};
    struct fixture fixture;
    struct wal_read read;
    fixture_begin(&fixture, _i == 1);
    for (uint64_t index = 1; index <= 900; index += 9) {
        append(&fixture, index, index + 8, 1);
        if (index % 4 == 0)
            settle(&fixture);
        else
            wal_flush(fixture.wal);
    }
    settle(&fixture);
    ck_assert_uint_gt(wal_statistics(fixture.wal).segments_count, 4);
    for (unsigned life = 0; life < 2; life++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            uint64_t reads_count = 0;
            for (uint64_t first = 1; first <= 900; reads_count++) {
                read_wait(&fixture, &read, first, 900, sizes[i]);
                check_entries(&read, 1);
                first += read.entries_count;
                wal_read_end(&read);
            }
            if (i == 4)
                ck_assert_uint_lt(reads_count, 20);
        }
        read_wait(&fixture, &read, 33, 35, 1 << 20);
        check_entries(&read, 1);
        ck_assert_uint_le(read.entries_count, 3);
        wal_read_end(&read);
        ck_assert_int_eq(wal_close(fixture.wal), STATUS_OK);
        fixture_open(&fixture, true);
    }
    fixture_end(&fixture);
}
END_TEST

/* What is not durable, or past the end, is not given; what was superseded while the read flew is
 * not either. */
START_TEST(test_not_found)
{
    struct fixture fixture;
    struct wal_read read;
    fixture_begin(&fixture, false);
    append(&fixture, 1, 10, 1);
    settle(&fixture);
    append(&fixture, 11, 12, 1);
    read_wait(&fixture, &read, 11, 12, 1000);
    ck_assert_int_eq(read.status, STATUS_NOT_FOUND);
    ck_assert_ptr_null(read.entries);
    wal_read_end(&read);
    settle(&fixture);
    read_start(&fixture, &read, 5, 12, 100000);
    append(&fixture, 8, 9, 2);
    while (fixture.done_count < 2)
        io_turn(fixture.io, true);
    check_entries(&read, 1);
    ck_assert_uint_eq(read.entries_count, 3); /* 5, 6 and 7 */
    wal_read_end(&read);
    settle(&fixture);
    read_wait(&fixture, &read, 8, 100, 100000);
    check_entries(&read, 2);
    ck_assert_uint_eq(read.entries_count, 2);
    wal_read_end(&read);
    read_start(&fixture, &read, 3, 9, 100000);
    ck_assert_int_eq(wal_truncate(fixture.wal, 2), STATUS_OK);
    while (fixture.done_count < 4)
        io_turn(fixture.io, true);
    ck_assert_int_eq(read.status, STATUS_NOT_FOUND);
    wal_read_end(&read);
    fixture_end(&fixture);
}
END_TEST

/* A read holds its segment; when it is over, the segment goes, and is not found any more. */
START_TEST(test_pins)
{
    struct fixture fixture;
    struct wal_read reads[8];
    fixture_begin(&fixture, false);
    append(&fixture, 1, 1500, 1);
    settle(&fixture);
    uint64_t segments_count = wal_statistics(fixture.wal).segments_count;
    ck_assert_uint_gt(segments_count, 6);
    struct sim_fault slow = {.effect = SIM_SLOW,
                             .kind = IO_KIND_READ,
                             .path = "segment-",
                             .count = 8,
                             .delay_ns = 3000 * 1000 * 1000ULL};
    sim_disk_fault(fixture.disk, &slow);
    /* More segments than files are kept open for. */
    for (unsigned i = 0; i < 8; i++)
        read_start(&fixture, &reads[i], 1 + i * 180, 1 + i * 180, 100);
    wal_release(fixture.wal, 1400);
    for (unsigned i = 0; i < 500; i++) {
        sim_disk_clock_advance(fixture.disk, 1000 * 1000);
        io_turn(fixture.io, false);
    }
    ck_assert_uint_eq(fixture.done_count, 0);
    ck_assert_uint_eq(wal_statistics(fixture.wal).recycled_count, 0);
    ck_assert_uint_eq(wal_first_index(fixture.wal), 1);
    while (fixture.done_count < 8)
        io_turn(fixture.io, true);
    for (unsigned i = 0; i < 8; i++) {
        check_entries(&reads[i], 1);
        wal_read_end(&reads[i]);
    }
    while (wal_first_index(fixture.wal) < 1200)
        io_turn(fixture.io, true);
    ck_assert_uint_le(wal_first_index(fixture.wal), 1401);
    read_start(&fixture, &reads[0], 5, 5, 100);
    read_start(&fixture, &reads[1], 1450, 1460, 100000);
    while (fixture.done_count < 10)
        io_turn(fixture.io, true);
    ck_assert_int_eq(reads[0].status, STATUS_NOT_FOUND);
    check_entries(&reads[1], 1);
    wal_read_end(&reads[0]);
    wal_read_end(&reads[1]);
    fixture_end(&fixture);
}
END_TEST

/* Damage at rest, a write that went elsewhere, and errors of the disk are told, and mended by a
 * fill. */
START_TEST(test_damage)
{
    static uint8_t memory[entry_size_max];
    struct fixture fixture;
    struct wal_read read;
    fixture_begin(&fixture, _i % 2 == 1);
    for (uint64_t index = 1; index <= 5; index++) {
        append(&fixture, index, index, 1); /* a batch each: at 4096, 8192 ... */
        settle(&fixture);
    }
    const char *path = "wal/segment-0000000000000001";
    uint8_t other[4096];
    if (_i < 2) {
        sim_disk_flip_bit(fixture.disk, path, 3 * 4096 + 530, 3);
    } else { /* a batch in another's place is none */
        ck_assert_uint_eq(sim_disk_peek(fixture.disk, path, 4096, other, sizeof other), 4096);
        sim_disk_overwrite(fixture.disk, path, 3 * 4096, other, sizeof other);
    }
    read_wait(&fixture, &read, 3, 5, 100000);
    ck_assert_int_eq(read.status, STATUS_CORRUPT);
    wal_read_end(&read);
    read_wait(&fixture, &read, 1, 5, 100000);
    check_entries(&read, 1);
    ck_assert_uint_eq(read.entries_count, 2);
    wal_read_end(&read);
    struct wal_entry entry = {.index = 3, .term = 1, .bytes = content(3, 1, memory)};
    ck_assert_int_eq(wal_fill(fixture.wal, &entry), STATUS_OK);
    ck_assert(!wal_is_whole(fixture.wal));
    wal_flush(fixture.wal);
    while (!wal_is_whole(fixture.wal))
        io_turn(fixture.io, true);
    read_wait(&fixture, &read, 3, 5, 100000);
    check_entries(&read, 1);
    wal_read_end(&read);
    struct sim_fault fault = {.effect = SIM_FAIL,
                              .kind = IO_KIND_READ,
                              .path = "segment-",
                              .status = STATUS_IO_ERROR,
                              .error_number = 5};
    sim_disk_fault(fixture.disk, &fault);
    read_wait(&fixture, &read, 1, 1, 10);
    ck_assert_int_eq(read.status, STATUS_IO_ERROR);
    wal_read_end(&read);
    fixture_end(&fixture);
}
END_TEST

/* A file that cannot be opened ends all that wait for it; the next read tries again. */
START_TEST(test_open_fails)
{
    struct fixture fixture;
    struct wal_read reads[3];
    fixture_begin(&fixture, false);
    append(&fixture, 1, 20, 1);
    settle(&fixture);
    struct sim_fault fault = {.effect = SIM_FAIL,
                              .kind = IO_KIND_OPEN,
                              .path = "segment-",
                              .status = STATUS_IO_ERROR,
                              .error_number = 5};
    sim_disk_fault(fixture.disk, &fault);
    for (unsigned i = 0; i < 3; i++)
        read_start(&fixture, &reads[i], 1 + i, 20, 100000);
    while (fixture.done_count < 3)
        io_turn(fixture.io, true);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(reads[i].status, STATUS_IO_ERROR);
        wal_read_end(&reads[i]);
    }
    read_wait(&fixture, &reads[0], 1, 20, 100000);
    check_entries(&reads[0], 1);
    wal_read_end(&reads[0]);
    /* Closing waits for what is under way. */
    read_start(&fixture, &reads[1], 1, 20, 100000);
    fixture_end(&fixture);
    ck_assert_uint_eq(fixture.done_count, 5);
    check_entries(&reads[1], 1);
    wal_read_end(&reads[1]);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_loop_test(tests, test_all, 0, 2);
    tcase_add_test(tests, test_not_found);
    tcase_add_test(tests, test_pins);
    tcase_add_loop_test(tests, test_damage, 0, 4);
    tcase_add_test(tests, test_open_fails);
}
