/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage_wal/log_fixture.h"

#include <string.h>

#include "proto/base/generator.h"
#include "proto/base/log.h"

struct bytes log_bytes(uint64_t index, uint64_t term, uint8_t *to)
{
    struct generator generator;
    generator_init(&generator, index * 7919 + term);
    size_t size = (size_t)generator_below(&generator, index % 23 == 0 ? log_entry_size_max : 300);
    generator_fill(&generator, to, size);
    return bytes_of(to, size);
}

static void on_durable(void *context, struct wal_mark mark)
{
    struct log_fixture *fixture = context;
    fixture->durable = mark;
    if (fixture->on_durable != NULL)
        fixture->on_durable(fixture, mark);
}

static void on_mended(void *context)
{
    struct log_fixture *fixture = context;
    fixture->mended_count++;
}

static bool is_alone(void *context)
{
    struct log_fixture *fixture = context;
    fixture->asked_count++;
    return fixture->is_alone;
}

static void on_failed(void *context, enum status status, const char *text)
{
    struct log_fixture *fixture = context;
    (void)status;
    (void)text;
    fixture->failed_count++;
}

static enum status on_replay(void *context, const struct wal_entry *entry)
{
    static uint8_t memory[log_entry_size_max];
    struct log_fixture *fixture = context;
    ck_assert_uint_lt(entry->index, log_indexes_max);
    if (fixture->first == 0)
        fixture->first = entry->index;
    else
        ck_assert_uint_eq(entry->index, fixture->last + 1);
    fixture->last = entry->index;
    fixture->terms[entry->index] = entry->term;
    fixture->holes[entry->index] = entry->hole;
    struct bytes expected = log_bytes(entry->index, entry->term, memory);
    if (entry->hole != WAL_WHOLE) {
        ck_assert_uint_eq(entry->bytes.size, 0);
    } else {
        ck_assert_uint_eq(entry->bytes.size, expected.size);
        ck_assert_mem_eq(entry->bytes.data, expected.data, expected.size);
    }
    return STATUS_OK;
}

enum status log_try_open(struct log_fixture *fixture, struct wal_mark base)
{
    struct wal_options options = {
        .io = fixture->io,
        .keyring = fixture->keyring,
        .directory = "wal",
        .segment_size = log_segment_size,
        .queue_size_max = 128 * 1024,
        .spare_segments = 1,
        .alone = fixture->alone,
        .is_alone = fixture->has_is_alone ? is_alone : NULL,
        .durable = on_durable,
        .mended = on_mended,
        .failed = on_failed,
        .context = fixture,
    };
    log_close(fixture);
    fixture->first = 0;
    fixture->last = 0;
    fixture->mended_count = 0;
    fixture->error = (struct error){0};
    enum status status = wal_open(&options, base, on_replay, fixture, &fixture->wal,
                                  &fixture->report, &fixture->error);
    if (status == STATUS_OK)
        fixture->durable = fixture->report.last;
    else
        ck_assert(fixture->error.text[0] != 0);
    return status;
}

void log_open(struct log_fixture *fixture, struct wal_mark base)
{
    enum status status = log_try_open(fixture, base);
    ck_assert_msg(status == STATUS_OK, "%s", fixture->error.text);
}

void log_close(struct log_fixture *fixture)
{
    if (fixture->wal != NULL)
        ck_assert_int_eq(wal_close(fixture->wal), STATUS_OK);
    fixture->wal = NULL;
    ck_assert_uint_eq(sim_disk_open_count(fixture->disk), 0);
}

void log_stop(struct log_fixture *fixture)
{
    struct sim_disk *stopped = sim_disk_clone(fixture->disk, 5);
    struct sim_disk *old = fixture->disk;
    fixture->on_durable = NULL;
    log_close(fixture);
    sim_disk_destroy(old);
    sim_disk_restart(stopped, 5, SIM_RESTART_KEEP_ALL);
    fixture->disk = stopped;
    fixture->io = sim_disk_io(stopped);
}

void log_fixture_begin(struct log_fixture *fixture, uint64_t seed)
{
    static const uint8_t cluster[seal_id_size] = "cluster of tests";
    struct io_op op = {0};
    log_descriptor_set(-1);
#if defined(STRAIT_FAULTS)
    seal_oracle_start();
#endif
    memset(fixture, 0, sizeof *fixture);
    fixture->disk = sim_disk_create(seed);
    fixture->io = sim_disk_io(fixture->disk);
    ck_assert_int_eq(keyring_create_in_memory(cluster, false, &fixture->keyring), STATUS_OK);
    io_make_directory(fixture->io, &op, "wal");
    ck_assert_int_eq(io_wait(fixture->io, &op), STATUS_OK);
    io_flush_directory(fixture->io, &op, "/");
    ck_assert_int_eq(io_wait(fixture->io, &op), STATUS_OK);
    log_open(fixture, (struct wal_mark){0});
}

void log_fixture_end(struct log_fixture *fixture)
{
    log_close(fixture);
    ck_assert_uint_eq(fixture->failed_count, 0);
    keyring_close(fixture->keyring);
    sim_disk_destroy(fixture->disk);
}

enum status log_try_append(struct log_fixture *fixture, uint64_t index, uint64_t term)
{
    static uint8_t memory[log_entry_size_max];
    struct wal_entry entry = {
        .index = index, .term = term, .bytes = log_bytes(index, term, memory)};
    return wal_append(fixture->wal, &entry, 1);
}

enum status log_fill(struct log_fixture *fixture, uint64_t index, uint64_t term)
{
    static uint8_t memory[log_entry_size_max];
    struct wal_entry entry = {
        .index = index, .term = term, .bytes = log_bytes(index, term, memory)};
    return wal_fill(fixture->wal, &entry);
}

void log_settle(struct log_fixture *fixture)
{
    wal_flush(fixture->wal);
    while (wal_durable_index(fixture->wal) < wal_last(fixture->wal).index)
        io_turn(fixture->io, true);
}

void log_append(struct log_fixture *fixture, uint64_t first, uint64_t last, uint64_t term)
{
    for (uint64_t index = first; index <= last; index++) {
        ck_assert_int_eq(log_try_append(fixture, index, term), STATUS_OK);
        log_settle(fixture);
    }
}

void log_idle(struct log_fixture *fixture)
{
    for (unsigned i = 0; i < 200; i++) {
        sim_disk_clock_advance(fixture->disk, 100 * 1000);
        io_turn(fixture->io, false);
    }
}

void log_mend(struct log_fixture *fixture)
{
    struct wal_mark mark = {0};
    enum wal_hole hole;
    while (wal_hole_next(fixture->wal, mark.index, &mark, &hole))
        ck_assert_int_eq(log_fill(fixture, mark.index, mark.term), STATUS_OK);
    wal_flush(fixture->wal);
    while (wal_holes_count(fixture->wal) > 0)
        io_turn(fixture->io, true);
    ck_assert_int_eq(wal_discard_suspect(fixture->wal), STATUS_OK);
    wal_flush(fixture->wal);
    while (!wal_is_whole(fixture->wal))
        io_turn(fixture->io, true);
}

void log_release_wait(struct log_fixture *fixture, uint64_t index)
{
    wal_release(fixture->wal, index);
    log_idle(fixture);
}

void log_check_replay(const struct log_fixture *fixture, uint64_t first, uint64_t last,
                      uint64_t holes)
{
    ck_assert_uint_eq(fixture->first, first);
    ck_assert_uint_eq(fixture->last, last);
    for (uint64_t index = first; index <= last; index++) {
        bool hole = index <= 64 && (holes >> (index - 1) & 1) != 0;
        ck_assert_msg((fixture->holes[index] != WAL_WHOLE) == hole, "index %llu",
                      (unsigned long long)index);
    }
}
