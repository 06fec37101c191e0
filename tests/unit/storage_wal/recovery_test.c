/* SPDX-License-Identifier: Apache-2.0 */
/* What recovery concludes: each row of its table, and each place where a log can be damaged. */
#include "storage/wal/recovery.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/log.h"
#include "tests/sim/disk.h"
#include "tests/unit/unit.h"

START_TEST(test_table)
{
    static const struct {
        enum wal_place_kind place;
        enum wal_batch_state state;
        bool successor;
        bool known;
        enum wal_verdict verdict; /* not alone */
        enum wal_verdict alone;
    } rows[] = {
        {WAL_PLACE_INSIDE, WAL_BATCH_VALID, false, false, WAL_VERDICT_TAKE, WAL_VERDICT_TAKE},
        {WAL_PLACE_INSIDE, WAL_BATCH_VALID, false, true, WAL_VERDICT_TAKE, WAL_VERDICT_TAKE},
        {WAL_PLACE_INSIDE, WAL_BATCH_VALID, true, false, WAL_VERDICT_TAKE, WAL_VERDICT_TAKE},
        {WAL_PLACE_INSIDE, WAL_BATCH_VALID, true, true, WAL_VERDICT_TAKE, WAL_VERDICT_TAKE},
        {WAL_PLACE_INSIDE, WAL_BATCH_BLANK, false, false, WAL_VERDICT_GAP, WAL_VERDICT_CORRUPT},
        {WAL_PLACE_INSIDE, WAL_BATCH_BLANK, false, true, WAL_VERDICT_HOLES, WAL_VERDICT_CORRUPT},
        {WAL_PLACE_INSIDE, WAL_BATCH_BLANK, true, false, WAL_VERDICT_GAP, WAL_VERDICT_CORRUPT},
        {WAL_PLACE_INSIDE, WAL_BATCH_BLANK, true, true, WAL_VERDICT_HOLES, WAL_VERDICT_CORRUPT},
        {WAL_PLACE_INSIDE, WAL_BATCH_BROKEN, false, false, WAL_VERDICT_GAP, WAL_VERDICT_CORRUPT},
        {WAL_PLACE_INSIDE, WAL_BATCH_BROKEN, false, true, WAL_VERDICT_HOLES, WAL_VERDICT_CORRUPT},
        {WAL_PLACE_INSIDE, WAL_BATCH_BROKEN, true, false, WAL_VERDICT_GAP, WAL_VERDICT_CORRUPT},
        {WAL_PLACE_INSIDE, WAL_BATCH_BROKEN, true, true, WAL_VERDICT_HOLES, WAL_VERDICT_CORRUPT},
        {WAL_PLACE_OPEN, WAL_BATCH_VALID, false, false, WAL_VERDICT_TAKE, WAL_VERDICT_TAKE},
        {WAL_PLACE_OPEN, WAL_BATCH_VALID, false, true, WAL_VERDICT_TAKE, WAL_VERDICT_TAKE},
        {WAL_PLACE_OPEN, WAL_BATCH_VALID, true, false, WAL_VERDICT_TAKE, WAL_VERDICT_TAKE},
        {WAL_PLACE_OPEN, WAL_BATCH_VALID, true, true, WAL_VERDICT_TAKE, WAL_VERDICT_TAKE},
        {WAL_PLACE_OPEN, WAL_BATCH_BLANK, false, false, WAL_VERDICT_END, WAL_VERDICT_END},
        {WAL_PLACE_OPEN, WAL_BATCH_BLANK, false, true, WAL_VERDICT_END, WAL_VERDICT_END},
        {WAL_PLACE_OPEN, WAL_BATCH_BLANK, true, false, WAL_VERDICT_GAP, WAL_VERDICT_CORRUPT},
        {WAL_PLACE_OPEN, WAL_BATCH_BLANK, true, true, WAL_VERDICT_HOLES, WAL_VERDICT_CORRUPT},
        {WAL_PLACE_OPEN, WAL_BATCH_BROKEN, false, false, WAL_VERDICT_SUSPECT, WAL_VERDICT_TORN},
        {WAL_PLACE_OPEN, WAL_BATCH_BROKEN, false, true, WAL_VERDICT_SUSPECT, WAL_VERDICT_TORN},
        {WAL_PLACE_OPEN, WAL_BATCH_BROKEN, true, false, WAL_VERDICT_GAP, WAL_VERDICT_CORRUPT},
        {WAL_PLACE_OPEN, WAL_BATCH_BROKEN, true, true, WAL_VERDICT_HOLES, WAL_VERDICT_CORRUPT},
    };
    ck_assert_uint_eq(sizeof rows / sizeof *rows, 2 * 3 * 2 * 2);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ck_assert_int_eq(wal_recovery_verdict(rows[i].place, rows[i].state, rows[i].successor,
                                              rows[i].known, false),
                         rows[i].verdict);
        ck_assert_int_eq(wal_recovery_verdict(rows[i].place, rows[i].state, rows[i].successor,
                                              rows[i].known, true),
                         rows[i].alone);
    }
}
END_TEST

/* ---- Damage ---- */

enum { segment_size = 64 * 1024, batch_size = 8192 };

struct fixture {
    struct sim_disk *disk;
    struct io *io;
    struct keyring *keyring;
    struct wal *wal;
    struct wal_report report;
    struct error error;
    uint64_t last; /* replayed */
    bool alone;
    uint64_t bad_count;
    uint64_t bad_offset;
};

static void on_durable(void *context, struct wal_mark mark)
{
    (void)context;
    (void)mark;
}

static void on_failed(void *context, enum status status, const char *text)
{
    (void)context;
    (void)status;
    ck_abort_msg("%s", text);
}

static enum status on_replay(void *context, const struct wal_entry *entry)
{
    struct fixture *fixture = context;
    ck_assert_uint_eq(entry->index, fixture->last + 1);
    ck_assert_uint_eq(entry->bytes.data[0], entry->index & 0xff);
    fixture->last = entry->index;
    return STATUS_OK;
}

static enum status fixture_open(struct fixture *fixture, struct wal_mark base)
{
    struct wal_options options = {
        .io = fixture->io,
        .keyring = fixture->keyring,
        .directory = "wal",
        .segment_size = segment_size,
        .queue_size_max = 128 * 1024,
        .spare_segments = 1,
        .alone = fixture->alone,
        .durable = on_durable,
        .failed = on_failed,
        .context = fixture,
    };
    fixture->last = base.index;
    fixture->error = (struct error){0};
    return wal_open(&options, base, on_replay, fixture, &fixture->wal, &fixture->report,
                    &fixture->error);
}

static void append_one(struct fixture *fixture, uint64_t index)
{
    uint8_t bytes[5000];
    memset(bytes, (int)(index & 0xff), sizeof bytes);
    struct wal_entry entry = {.index = index, .term = 1, .bytes = bytes_of(bytes, sizeof bytes)};
    ck_assert_int_eq(wal_append(fixture->wal, &entry, 1), STATUS_OK);
    wal_flush(fixture->wal);
    while (wal_durable_index(fixture->wal) < index)
        io_turn(fixture->io, true);
}

static void fixture_begin(struct fixture *fixture)
{
    static const uint8_t cluster[seal_id_size] = "cluster of tests";
    struct io_op op = {0};
    log_descriptor_set(-1);
#if defined(STRAIT_FAULTS)
    seal_oracle_start();
#endif
    *fixture = (struct fixture){.disk = sim_disk_create(1), .alone = true};
    fixture->io = sim_disk_io(fixture->disk);
    ck_assert_int_eq(keyring_create_in_memory(cluster, false, &fixture->keyring), STATUS_OK);
    io_make_directory(fixture->io, &op, "wal");
    ck_assert_int_eq(io_wait(fixture->io, &op), STATUS_OK);
    ck_assert_int_eq(fixture_open(fixture, (struct wal_mark){0}), STATUS_OK);
}

/* Ten entries: 1 to 7 fill segment 1, 8 to 10 are in segment 2, at 4096, 12288 and 20480, and then
 * the power goes. */
static void fixture_fill(struct fixture *fixture)
{
    fixture_begin(fixture);
    for (uint64_t index = 1; index <= 10; index++)
        append_one(fixture, index);
    struct sim_disk *stopped = sim_disk_clone(fixture->disk, 1);
    ck_assert_int_eq(wal_close(fixture->wal), STATUS_OK);
    fixture->wal = NULL;
    sim_disk_destroy(fixture->disk);
    fixture->disk = stopped;
    sim_disk_restart(fixture->disk, 1, SIM_RESTART_KEEP_ALL);
    fixture->io = sim_disk_io(fixture->disk);
}

static void fixture_end(struct fixture *fixture)
{
    if (fixture->wal != NULL)
        ck_assert_int_eq(wal_close(fixture->wal), STATUS_OK);
    keyring_close(fixture->keyring);
    sim_disk_destroy(fixture->disk);
}

static void on_bad(void *context, const char *path, uint64_t offset, const char *text)
{
    struct fixture *fixture = context;
    ck_assert(path[0] != 0 && text[0] != 0);
    fixture->bad_count++;
    fixture->bad_offset = offset;
}

static const char segment_1[] = "wal/segment-0000000000000001";
static const char segment_2[] = "wal/segment-0000000000000002";

/* Each kind of place, what is flipped there, and what it must come to: a status, and the offset
 * that is named; or the last entry that is left. */
static const struct damage {
    const char *path;
    uint64_t offset; /* of the flipped byte */
    bool alone;
    enum status status;
    const char *named;
    uint64_t last;
    bool torn;
} damages[] = {
    {segment_1, 30, true, STATUS_CORRUPT, "segment-0000000000000001: offset 0", 0, false},
    {segment_1, 3000, true, STATUS_CORRUPT, "segment-0000000000000001: offset 0", 0, false},
    {segment_2, 310, true, STATUS_CORRUPT, "segment-0000000000000002: offset 0", 0, false},
    /* Batches before a recorded end. */
    {segment_1, 4096 + 40, true, STATUS_CORRUPT, "1, offset 4096", 0, false},
    {segment_1, 4096 + 600, true, STATUS_CORRUPT, "1, offset 4096", 0, false},
    {segment_1, 4096 + 6 * batch_size + 5000, true, STATUS_CORRUPT, "1, offset 53248", 0, false},
    /* Past the recorded end nobody looks. */
    {segment_1, 4096 + 7 * batch_size + 100, true, STATUS_OK, NULL, 10, false},
    /* In the newest segment, with a successor. */
    {segment_2, 4096 + 3, true, STATUS_CORRUPT, "2, offset 4096", 0, false},
    {segment_2, 4096 + 60, true, STATUS_CORRUPT, "2, offset 4096", 0, false},
    {segment_2, 12288 + 8000, true, STATUS_CORRUPT, "2, offset 12288", 0, false},
    /* The last batch: header, body, padding. */
    {segment_2, 20480 + 9, true, STATUS_OK, NULL, 9, true},
    {segment_2, 20480 + 56, true, STATUS_OK, NULL, 9, true},
    {segment_2, 20480 + 513, true, STATUS_OK, NULL, 9, true},
    {segment_2, 20480 + 8191, true, STATUS_OK, NULL, 9, true},
    /* After the end. */
    {segment_2, 28672 + 100, true, STATUS_OK, NULL, 10, false},
};

START_TEST(test_flips)
{
    const struct damage *damage = &damages[_i];
    struct fixture fixture;
    uint64_t checked = 0;
    fixture_fill(&fixture);
    sim_disk_flip_bit(fixture.disk, damage->path, damage->offset, 2);
    uint64_t hash = sim_disk_hash(fixture.disk);
    fixture.alone = damage->alone;
    enum status status =
        wal_check(fixture.io, fixture.keyring, "wal", 10, on_bad, &checked, &fixture);
    ck_assert_int_eq(status, STATUS_OK);
    bool is_bad = damage->status != STATUS_OK || damage->torn;
    ck_assert_int_eq(fixture.bad_count > 0, is_bad);
    status = fixture_open(&fixture, (struct wal_mark){0});
    ck_assert_msg(status == damage->status, "%s", fixture.error.text);
    if (status == STATUS_OK) {
        ck_assert_uint_eq(fixture.last, damage->last);
        ck_assert_int_eq(fixture.report.torn, damage->torn);
        ck_assert_uint_eq(fixture.report.torn_index, damage->torn ? 10 : 0);
    } else {
        ck_assert_msg(strstr(fixture.error.text, damage->named) != NULL, "%s", fixture.error.text);
        /* Nothing was written: the log is as it was found. */
        ck_assert_uint_eq(sim_disk_hash(fixture.disk), hash);
    }
    fixture_end(&fixture);
}
END_TEST

/* A segment that is missing, cut short or in another's place is said, not passed over. */
START_TEST(test_missing_segment)
{
    struct fixture fixture;
    fixture_fill(&fixture);
    sim_disk_remove(fixture.disk, segment_1);
    ck_assert_int_eq(fixture_open(&fixture, (struct wal_mark){0}), STATUS_CORRUPT);
    /* It held nothing above 7, so with a state that has those the log is whole. */
    ck_assert_int_eq(fixture_open(&fixture, (struct wal_mark){.index = 7, .term = 1}), STATUS_OK);
    ck_assert_uint_eq(fixture.last, 10);
    fixture_end(&fixture);
}
END_TEST

/* The state and the log must agree where they meet; a log that lies below the state begins anew. */
START_TEST(test_base)
{
    struct fixture fixture;
    fixture_fill(&fixture);
    ck_assert_int_eq(fixture_open(&fixture, (struct wal_mark){.index = 5, .term = 2}),
                     STATUS_CORRUPT);
    ck_assert_ptr_nonnull(strstr(fixture.error.text, "does not fit"));
    ck_assert_int_eq(fixture_open(&fixture, (struct wal_mark){.index = 20, .term = 3}), STATUS_OK);
    ck_assert_uint_eq(wal_last(fixture.wal).index, 20);
    ck_assert_uint_eq(wal_last(fixture.wal).term, 3);
    append_one(&fixture, 21);
    ck_assert_int_eq(wal_close(fixture.wal), STATUS_OK);
    fixture.wal = NULL;
    ck_assert_int_eq(fixture_open(&fixture, (struct wal_mark){.index = 5, .term = 1}),
                     STATUS_CORRUPT);
    ck_assert_int_eq(fixture_open(&fixture, (struct wal_mark){.index = 20, .term = 3}), STATUS_OK);
    ck_assert_uint_eq(fixture.last, 21);
    fixture_end(&fixture);
}
END_TEST

/* Without room for a spare the log goes on to the end of its segment, refuses what does not fit,
 * loses nothing, and goes on when there is room. */
START_TEST(test_disk_full)
{
    struct fixture fixture;
    fixture_begin(&fixture);
    append_one(&fixture, 1);
    while (wal_statistics(fixture.wal).segments_count < 2)
        append_one(&fixture, wal_last(fixture.wal).index + 1);
    sim_disk_capacity(fixture.disk, sim_disk_used(fixture.disk));
    uint8_t bytes[5000];
    enum status status = STATUS_OK;
    while (status == STATUS_OK) {
        uint64_t index = wal_last(fixture.wal).index + 1;
        memset(bytes, (int)(index & 0xff), sizeof bytes);
        struct wal_entry entry = {
            .index = index, .term = 1, .bytes = bytes_of(bytes, sizeof bytes)};
        status = wal_append(fixture.wal, &entry, 1);
        wal_flush(fixture.wal);
        for (unsigned i = 0; i < 100; i++) {
            io_turn(fixture.io, false);
            sim_disk_clock_advance(fixture.disk, 100 * 1000);
        }
    }
    ck_assert_int_eq(status, STATUS_DISK_FULL);
    uint64_t last = wal_last(fixture.wal).index;
    ck_assert_uint_eq(wal_durable_index(fixture.wal), last);
    sim_disk_capacity(fixture.disk, (uint64_t)1 << 30);
    for (unsigned i = 0; i < 3000; i++) {
        io_turn(fixture.io, false);
        sim_disk_clock_advance(fixture.disk, 100 * 1000);
    }
    for (unsigned i = 0; i < 30; i++)
        append_one(&fixture, wal_last(fixture.wal).index + 1);
    ck_assert_int_eq(wal_close(fixture.wal), STATUS_OK);
    fixture.wal = NULL;
    ck_assert_int_eq(fixture_open(&fixture, (struct wal_mark){0}), STATUS_OK);
    ck_assert_uint_eq(fixture.last, last + 30);
    for (unsigned i = 0; i < 3000; i++) {
        io_turn(fixture.io, false);
        sim_disk_clock_advance(fixture.disk, 100 * 1000);
    }
    ck_assert_int_eq(wal_close(fixture.wal), STATUS_OK);
    fixture.wal = NULL;
    /* The spare is the reserve that a start needs. */
    sim_disk_capacity(fixture.disk, sim_disk_used(fixture.disk));
    ck_assert_int_eq(fixture_open(&fixture, (struct wal_mark){0}), STATUS_OK);
    append_one(&fixture, last + 31);
    ck_assert_int_eq(wal_close(fixture.wal), STATUS_OK);
    fixture.wal = NULL;
    ck_assert_int_eq(fixture_open(&fixture, (struct wal_mark){0}), STATUS_DISK_FULL);
    sim_disk_capacity(fixture.disk, (uint64_t)1 << 30);
    ck_assert_int_eq(fixture_open(&fixture, (struct wal_mark){0}), STATUS_OK);
    ck_assert_uint_eq(fixture.last, last + 31);
    fixture_end(&fixture);
}
END_TEST

/* A copy of the hard state that is bad is mended and said; both missing is never passed over. */
START_TEST(test_hard_state)
{
    struct fixture fixture;
    fixture_fill(&fixture);
    sim_disk_flip_bit(fixture.disk, "wal/hard-state.a", 100, 1);
    ck_assert_int_eq(fixture_open(&fixture, (struct wal_mark){0}), STATUS_OK);
    ck_assert(fixture.report.hard_state.repaired);
    ck_assert_ptr_nonnull(strstr(fixture.report.hard_state.path, "hard-state.a"));
    ck_assert_int_eq(wal_close(fixture.wal), STATUS_OK);
    fixture.wal = NULL;
    sim_disk_remove(fixture.disk, "wal/hard-state.a");
    sim_disk_remove(fixture.disk, "wal/hard-state.b");
    ck_assert_int_eq(fixture_open(&fixture, (struct wal_mark){0}), STATUS_CORRUPT);
    fixture_end(&fixture);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_table);
    tcase_add_loop_test(tests, test_flips, 0, sizeof damages / sizeof *damages);
    tcase_add_test(tests, test_missing_segment);
    tcase_add_test(tests, test_base);
    tcase_add_test(tests, test_disk_full);
    tcase_add_test(tests, test_hard_state);
}
