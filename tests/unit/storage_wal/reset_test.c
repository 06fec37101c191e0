/* SPDX-License-Identifier: Apache-2.0 */
/* A log that begins anew, at run time and where a crash fell between the state's swap and that; and
 * the hard state that tells them apart. */
#include "storage/wal/hard_state.h"

#include <string.h>

#include "proto/base/generator.h"
#include "tests/unit/storage_wal/log_fixture.h"

struct reset {
    bool done;
    enum status status;
};

static void on_reset(void *context, enum status status)
{
    struct reset *reset = context;
    ck_assert(!reset->done);
    reset->done = true;
    reset->status = status;
}

static void reset_wait(struct log_fixture *fixture, struct wal_mark mark)
{
    struct reset reset = {0};
    wal_reset(fixture->wal, mark, on_reset, &reset);
    ck_assert(!reset.done);
    while (!reset.done)
        io_turn(fixture->io, true);
    ck_assert_int_eq(reset.status, STATUS_OK);
}

/* Above, within or at the end of what there was: afterwards nothing of it is left, at once and
 * after restarts, and its segments are used again. */
START_TEST(test_reset)
{
    static const struct wal_mark marks[] = {{100, 2}, {20, 3}, {40, 2}};
    static struct log_fixture fixture;
    struct wal_mark mark = marks[_i];
    log_fixture_begin(&fixture, 1);
    log_append(&fixture, 1, 40, 1);
    wal_release(fixture.wal, 3);
    reset_wait(&fixture, mark);
    ck_assert_uint_eq(wal_last(fixture.wal).index, mark.index);
    ck_assert_uint_eq(wal_last(fixture.wal).term, mark.term);
    ck_assert_uint_eq(wal_first_index(fixture.wal), mark.index + 1);
    ck_assert_uint_eq(wal_durable_index(fixture.wal), mark.index);
    uint64_t term = 0;
    ck_assert(wal_term_at(fixture.wal, mark.index, &term));
    ck_assert_uint_eq(term, mark.term);
    ck_assert(!wal_term_at(fixture.wal, mark.index - 1, &term));
    if (_i == 1) { /* nothing follows it before the power goes */
        log_stop(&fixture);
        log_open(&fixture, mark);
        ck_assert_uint_eq(fixture.report.last.index, mark.index);
    }
    log_append(&fixture, mark.index + 1, mark.index + 5, mark.term);
    log_idle(&fixture);
    ck_assert_uint_le(wal_statistics(fixture.wal).segments_count, 2);
    for (unsigned life = 0; life < 2; life++) {
        fixture.alone = life == 1;
        log_open(&fixture, mark);
        log_check_replay(&fixture, mark.index + 1, mark.index + 5, 0);
    }
    ck_assert_int_eq(log_try_open(&fixture, (struct wal_mark){.index = 10, .term = 1}),
                     STATUS_CORRUPT);
    log_open(&fixture, mark);
    log_fixture_end(&fixture);
}
END_TEST

/* What is queued or under way is dropped without a word; until it is done nothing is taken. */
START_TEST(test_reset_in_flight)
{
    static struct log_fixture fixture;
    struct generator generator;
    generator_init(&generator, 50 + (uint64_t)_i);
    log_fixture_begin(&fixture, (uint64_t)_i);
    uint64_t index = generator_between(&generator, 1, 40);
    log_append(&fixture, 1, index, 1);
    uint64_t more = generator_between(&generator, 1, 30);
    for (uint64_t i = 1; i <= more; i++) {
        ck_assert_int_eq(log_try_append(&fixture, index + i, 1), STATUS_OK);
        if (generator_chance(&generator, 1, 3)) {
            wal_flush(fixture.wal);
            io_turn(fixture.io, generator_chance(&generator, 1, 2));
        }
    }
    uint64_t durable = fixture.durable.index;
    struct wal_mark mark = {.index = generator_between(&generator, 1, 100), .term = 2};
    struct reset reset = {0};
    wal_reset(fixture.wal, mark, on_reset, &reset);
    ck_assert_int_eq(log_try_append(&fixture, mark.index + 1, 2), STATUS_BUSY);
    ck_assert_int_eq(wal_truncate(fixture.wal, mark.index + 1), STATUS_BUSY);
    ck_assert_int_eq(log_fill(&fixture, 1, 1), STATUS_BUSY);
    while (!reset.done)
        io_turn(fixture.io, true);
    ck_assert_uint_eq(fixture.durable.index, durable);
    ck_assert(wal_is_whole(fixture.wal));
    log_append(&fixture, mark.index + 1, mark.index + 3, 2);
    ck_assert_uint_eq(fixture.durable.index, mark.index + 3);
    ck_assert_uint_eq(fixture.durable.term, 2);
    log_open(&fixture, mark);
    log_check_replay(&fixture, mark.index + 1, mark.index + 3, 0);
    log_fixture_end(&fixture);
}
END_TEST

static void on_read(struct wal_read *read)
{
    bool *done = read->context;
    *done = true;
}

/* A read that is under way ends with nothing, and its segment waits for it. */
START_TEST(test_reset_under_a_read)
{
    static struct log_fixture fixture;
    bool read_done = false;
    struct wal_read read = {
        .first = 1, .last = 10, .size_max = 1000, .done = on_read, .context = &read_done};
    log_fixture_begin(&fixture, 3);
    log_append(&fixture, 1, 20, 1);
    struct sim_fault slow = {.effect = SIM_SLOW,
                             .kind = IO_KIND_READ,
                             .path = "segment-",
                             .delay_ns = 1000 * 1000 * 1000};
    sim_disk_fault(fixture.disk, &slow);
    wal_read_start(fixture.wal, &read);
    reset_wait(&fixture, (struct wal_mark){.index = 15, .term = 2});
    for (unsigned i = 0; i < 50; i++) {
        sim_disk_clock_advance(fixture.disk, 1000 * 1000);
        io_turn(fixture.io, false);
    }
    ck_assert(!read_done);
    ck_assert_uint_eq(wal_statistics(fixture.wal).recycled_count, 0);
    while (!read_done)
        io_turn(fixture.io, true);
    ck_assert_int_eq(read.status, STATUS_NOT_FOUND);
    wal_read_end(&read);
    log_idle(&fixture);
    ck_assert_uint_eq(wal_statistics(fixture.wal).segments_count, 1);
    log_fixture_end(&fixture);
}
END_TEST

/* Without space for a segment a reset waits, and closing ends it. */
START_TEST(test_reset_on_a_full_disk)
{
    static struct log_fixture fixture;
    struct reset reset = {0};
    log_fixture_begin(&fixture, 4);
    log_append(&fixture, 1, 3, 1);
    log_idle(&fixture);
    sim_disk_capacity(fixture.disk, sim_disk_used(fixture.disk));
    reset_wait(&fixture, (struct wal_mark){.index = 10, .term = 2}); /* takes the spare */
    log_append(&fixture, 11, 11, 2);
    log_idle(&fixture);
    reset_wait(&fixture, (struct wal_mark){.index = 20, .term = 3}); /* takes the first one's */
    sim_disk_fault(fixture.disk, &(struct sim_fault){.effect = SIM_FAIL,
                                                     .kind = IO_KIND_RENAME,
                                                     .path = "spare-",
                                                     .count = 40,
                                                     .status = STATUS_DISK_FULL,
                                                     .error_number = 28});
    log_idle(&fixture);
    wal_reset(fixture.wal, (struct wal_mark){.index = 30, .term = 4}, on_reset, &reset);
    for (unsigned i = 0; i < 1000; i++) {
        sim_disk_clock_advance(fixture.disk, 1000 * 1000);
        io_turn(fixture.io, false);
    }
    ck_assert(!reset.done);
    if (_i == 0) {
        log_close(&fixture);
        ck_assert(reset.done);
        ck_assert_int_eq(reset.status, STATUS_SHUTTING_DOWN);
        sim_disk_capacity(fixture.disk, (uint64_t)1 << 30);
        sim_disk_faults_clear(fixture.disk);
        log_open(&fixture, (struct wal_mark){.index = 20, .term = 3});
    } else {
        sim_disk_faults_clear(fixture.disk);
        while (!reset.done)
            io_turn(fixture.io, true);
        ck_assert_int_eq(reset.status, STATUS_OK);
        log_open(&fixture, (struct wal_mark){.index = 30, .term = 4});
    }
    log_fixture_end(&fixture);
}
END_TEST

/* ---- The state and the log after a crash between their steps ---- */

static void on_written(void *context, enum status status)
{
    struct reset *reset = context;
    reset->done = true;
    reset->status = status;
}

static void hard_state_wait(struct log_fixture *fixture, const struct wal_hard_state *state)
{
    struct reset written = {0};
    wal_hard_state_write(fixture->wal, state, on_written, &written);
    while (!written.done)
        io_turn(fixture->io, true);
    ck_assert_int_eq(written.status, STATUS_OK);
}

static const struct fit {
    struct wal_mark base;
    struct wal_mark snapshot;
    bool goes;
    uint64_t last; /* of the log after that */
} fits[] = {
    {{0, 0}, {0, 0}, true, 10},  {{0, 0}, {5, 2}, true, 10},   {{5, 1}, {0, 0}, true, 10},
    {{5, 1}, {5, 1}, true, 10},  {{10, 1}, {0, 0}, true, 10},  {{5, 2}, {0, 0}, false, 0},
    {{5, 2}, {5, 2}, true, 5},   {{5, 2}, {5, 3}, false, 0},   {{5, 2}, {6, 2}, false, 0},
    {{9, 4}, {9, 4}, true, 9},   {{10, 2}, {0, 0}, true, 10},  {{10, 2}, {10, 2}, true, 10},
    {{20, 3}, {0, 0}, true, 20}, {{20, 3}, {20, 3}, true, 20}, {{20, 3}, {5, 2}, true, 20},
};

/* Each row of "The log and the state" in recovery.h. */
START_TEST(test_fit)
{
    static struct log_fixture fixture;
    const struct fit *fit = &fits[_i];
    struct wal_hard_state state = {.term = 7, .vote = 3, .member = 99, .snapshot = fit->snapshot};
    log_fixture_begin(&fixture, 5);
    log_append(&fixture, 1, 10, 1);
    hard_state_wait(&fixture, &state);
    log_stop(&fixture);
    uint64_t hash = sim_disk_hash(fixture.disk);
    enum status status = log_try_open(&fixture, fit->base);
    ck_assert_int_eq(status, fit->goes ? STATUS_OK : STATUS_CORRUPT);
    if (!fit->goes) {
        ck_assert_ptr_nonnull(strstr(fixture.error.text, "does not fit"));
        ck_assert_uint_eq(sim_disk_hash(fixture.disk), hash);
    } else {
        struct wal_hard_state found = wal_hard_state(fixture.wal);
        ck_assert_uint_eq(found.member, 99);
        ck_assert_uint_eq(found.vote, 3);
        ck_assert_uint_eq(found.snapshot.index, fit->snapshot.index);
        ck_assert_uint_eq(found.snapshot.term, fit->snapshot.term);
        ck_assert_uint_eq(wal_last(fixture.wal).index, fit->last);
        /* Once more: nothing of this depends on the intent any longer. */
        state.snapshot = (struct wal_mark){0};
        hard_state_wait(&fixture, &state);
        log_append(&fixture, fit->last + 1, fit->last + 2, 8);
        log_open(&fixture, fit->base);
        ck_assert_uint_eq(wal_last(fixture.wal).index, fit->last + 2);
        log_idle(&fixture);
    }
    log_fixture_end(&fixture);
}
END_TEST

START_TEST(test_hard_state_bytes)
{
    struct wal_hard_state state = {.term = 1,
                                   .vote = 2,
                                   .epoch_number = 3,
                                   .epoch_region = 4,
                                   .member = 5,
                                   .snapshot = {.index = 6, .term = 7}};
    struct wal_hard_state found;
    struct error error = {0};
    uint8_t bytes[wal_hard_state_size];
    wal_hard_state_encode(&state, bytes);
    ck_assert_int_eq(wal_hard_state_decode(bytes_of(bytes, sizeof bytes), "d", &found, &error),
                     STATUS_OK);
    ck_assert_uint_eq(found.term, 1);
    ck_assert_uint_eq(found.vote, 2);
    ck_assert_uint_eq(found.epoch_number, 3);
    ck_assert_uint_eq(found.epoch_region, 4);
    ck_assert_uint_eq(found.member, 5);
    ck_assert_uint_eq(found.snapshot.index, 6);
    ck_assert_uint_eq(found.snapshot.term, 7);
    ck_assert_int_eq(wal_hard_state_decode(bytes_of(bytes, 40), "d", &found, &error),
                     STATUS_CORRUPT);
    ck_assert_int_eq(wal_hard_state_decode(bytes_of(bytes, 2), "d", &found, &error),
                     STATUS_CORRUPT);
    bytes[36] = 1;
    ck_assert_int_eq(wal_hard_state_decode(bytes_of(bytes, sizeof bytes), "d", &found, &error),
                     STATUS_CORRUPT);
    bytes[36] = 0;
    bytes[0]++;
    ck_assert_int_eq(wal_hard_state_decode(bytes_of(bytes, sizeof bytes), "d", &found, &error),
                     STATUS_NEWER_FORMAT);
}
END_TEST

/* Without both copies the member is over: the text says what to do. */
START_TEST(test_hard_state_lost)
{
    static struct log_fixture fixture;
    log_fixture_begin(&fixture, 6);
    log_append(&fixture, 1, 3, 1);
    log_stop(&fixture);
    if (_i == 0) {
        sim_disk_remove(fixture.disk, "wal/hard-state.a");
        sim_disk_remove(fixture.disk, "wal/hard-state.b");
    } else {
        sim_disk_flip_bit(fixture.disk, "wal/hard-state.a", 150, 1);
        sim_disk_flip_bit(fixture.disk, "wal/hard-state.b", 150, 1);
    }
    uint64_t hash = sim_disk_hash(fixture.disk);
    ck_assert_int_eq(log_try_open(&fixture, (struct wal_mark){0}), STATUS_CORRUPT);
    ck_assert_ptr_nonnull(strstr(fixture.error.text, "wal/hard-state"));
    ck_assert_ptr_nonnull(strstr(fixture.error.text, "strait member replace"));
    ck_assert_uint_eq(sim_disk_hash(fixture.disk), hash);
    log_fixture_end(&fixture);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_loop_test(tests, test_reset, 0, 3);
    tcase_add_loop_test(tests, test_reset_in_flight, 0, 40);
    tcase_add_test(tests, test_reset_under_a_read);
    tcase_add_loop_test(tests, test_reset_on_a_full_disk, 0, 2);
    tcase_add_loop_test(tests, test_fit, 0, sizeof fits / sizeof *fits);
    tcase_add_test(tests, test_hard_state_bytes);
    tcase_add_loop_test(tests, test_hard_state_lost, 0, 2);
}
