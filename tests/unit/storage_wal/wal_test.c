/* SPDX-License-Identifier: Apache-2.0 */
/* The log as a whole, on a real directory through io_uring. */
#include "storage/wal/wal.h"

#include <stdio.h>
#include <stdlib.h>

#include "storage/io/uring.h"
#include "tests/unit/unit.h"

enum { entry_size_max = 64 * 1024 };

struct fixture {
    struct io *io;
    struct keyring *keyring;
    char directory[256];
    struct wal *wal;
    struct wal_report report;
    uint64_t durable;
    uint64_t replayed_first;
    uint64_t replayed_last;
    bool failed;
    uint64_t segment_size;
    size_t queue_size;
};

static void on_durable(void *context, struct wal_mark mark)
{
    struct fixture *fixture = context;
    ck_assert_uint_gt(mark.index, fixture->durable);
    fixture->durable = mark.index;
}

static void on_failed(void *context, enum status status, const char *text)
{
    struct fixture *fixture = context;
    (void)status;
    (void)text;
    fixture->failed = true;
}

/* What entry `index` holds: made from its index, so that no copy is kept. */
static struct bytes entry_bytes(uint64_t index, uint64_t term, uint8_t *to)
{
    size_t size = (size_t)(index * 37 % 600);
    if (index % 50 == 0)
        size = 20000;
    for (size_t i = 0; i < size; i++)
        to[i] = (uint8_t)(index * 31 + i * 7 + term);
    return bytes_of(to, size);
}

static enum status on_replay(void *context, const struct wal_entry *entry)
{
    static uint8_t expected[entry_size_max];
    struct fixture *fixture = context;
    if (fixture->replayed_first == 0)
        fixture->replayed_first = entry->index;
    else
        ck_assert_uint_eq(entry->index, fixture->replayed_last + 1);
    fixture->replayed_last = entry->index;
    ck_assert(bytes_equal(entry->bytes, entry_bytes(entry->index, entry->term, expected)));
    return STATUS_OK;
}

static enum status fixture_try(struct fixture *fixture, struct wal_mark base, struct error *error)
{
    struct wal_options options = {
        .io = fixture->io,
        .keyring = fixture->keyring,
        .directory = fixture->directory,
        .segment_size = fixture->segment_size,
        .queue_size_max = fixture->queue_size,
        .spare_segments = 1,
        .alone = true,
        .durable = on_durable,
        .failed = on_failed,
        .context = fixture,
    };
    fixture->replayed_first = 0;
    fixture->replayed_last = 0;
    fixture->durable = 0;
    return wal_open(&options, base, on_replay, fixture, &fixture->wal, &fixture->report, error);
}

static void fixture_open(struct fixture *fixture, struct wal_mark base)
{
    struct error error = {0};
    ck_assert_msg(fixture_try(fixture, base, &error) == STATUS_OK, "%s", error.text);
    fixture->durable = wal_durable_index(fixture->wal);
}

static void fixture_init(struct fixture *fixture, bool plain)
{
    static const uint8_t cluster[seal_id_size] = "cluster of tests";
    struct io_uring_options options = {.entries = 64};
    struct error error = {0};
    *fixture = (struct fixture){.segment_size = 256 * 1024, .queue_size = 128 * 1024};
    ck_assert_msg(io_uring_open(&options, &fixture->io, &error) == STATUS_OK, "%s", error.text);
    ck_assert_int_eq(keyring_create_in_memory(cluster, plain, &fixture->keyring), STATUS_OK);
    snprintf(fixture->directory, sizeof fixture->directory, "%s", unit_directory());
    fixture_open(fixture, (struct wal_mark){0});
}

static void fixture_close(struct fixture *fixture)
{
    ck_assert_int_eq(wal_close(fixture->wal), STATUS_OK);
    fixture->wal = NULL;
    ck_assert(!fixture->failed);
}

static void fixture_end(struct fixture *fixture)
{
    if (fixture->wal != NULL)
        fixture_close(fixture);
    keyring_close(fixture->keyring);
    io_uring_close(fixture->io);
}

static void append(struct fixture *fixture, uint64_t first, uint64_t last, uint64_t term)
{
    static uint8_t memory[entry_size_max];
    for (uint64_t index = first; index <= last; index++) {
        struct wal_entry entry = {
            .index = index, .term = term, .bytes = entry_bytes(index, term, memory)};
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

static void bad_is_none(void *context, const char *path, uint64_t offset, const char *text)
{
    (void)context;
    ck_abort_msg("%s, %llu: %s", path, (unsigned long long)offset, text);
}

static uint64_t check(struct fixture *fixture)
{
    uint64_t checked = 0;
    ck_assert_int_eq(wal_check(fixture->io, fixture->keyring, fixture->directory,
                               wal_durable_index(fixture->wal), bad_is_none, &checked, NULL),
                     STATUS_OK);
    return checked;
}

/* Entries of all sizes over many segments come back, whatever the sealing. */
START_TEST(test_round_trip)
{
    struct fixture fixture;
    fixture_init(&fixture, _i == 1);
    append(&fixture, 1, 3000, 1);
    settle(&fixture);
    ck_assert_uint_eq(fixture.durable, 3000);
    ck_assert_uint_gt(wal_statistics(fixture.wal).segments_count, 3);
    ck_assert_uint_gt(check(&fixture), 1000 * 1000);
    fixture_close(&fixture);
    fixture_open(&fixture, (struct wal_mark){0});
    ck_assert_uint_eq(fixture.replayed_first, 1);
    ck_assert_uint_eq(fixture.replayed_last, 3000);
    ck_assert_uint_eq(fixture.report.entries_count, 3000);
    ck_assert(!fixture.report.torn);
    ck_assert_uint_eq(wal_last(fixture.wal).index, 3000);
    append(&fixture, 3001, 3010, 2);
    fixture_close(&fixture);
    fixture_open(&fixture, (struct wal_mark){.index = 2500, .term = 1});
    ck_assert_uint_eq(fixture.replayed_first, 2501);
    ck_assert_uint_eq(fixture.replayed_last, 3010);
    ck_assert_uint_eq(wal_last(fixture.wal).term, 2);
    fixture_end(&fixture);
}
END_TEST

/* What is released is recycled, and the log goes on in a bounded number of files. */
START_TEST(test_recycling)
{
    struct fixture fixture;
    fixture_init(&fixture, false);
    for (uint64_t index = 1; index <= 5000; index += 100) {
        append(&fixture, index, index + 99, 1);
        settle(&fixture);
        wal_release(fixture.wal, index);
        ck_assert_uint_le(wal_statistics(fixture.wal).segments_count, 4);
    }
    ck_assert_uint_gt(wal_statistics(fixture.wal).recycled_count, 5);
    ck_assert_uint_gt(wal_first_index(fixture.wal), 4000);
    ck_assert_uint_le(wal_first_index(fixture.wal), 4902);
    struct error error = {0};
    fixture_close(&fixture);
    ck_assert_int_eq(fixture_try(&fixture, (struct wal_mark){0}, &error), STATUS_CORRUPT);
    ck_assert_ptr_null(fixture.wal);
    fixture_open(&fixture, (struct wal_mark){.index = 4901, .term = 1});
    ck_assert_uint_eq(fixture.replayed_first, 4902);
    ck_assert_uint_eq(fixture.replayed_last, 5000);
    check(&fixture);
    fixture_end(&fixture);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_loop_test(tests, test_round_trip, 0, 2);
    tcase_add_test(tests, test_recycling);
}
