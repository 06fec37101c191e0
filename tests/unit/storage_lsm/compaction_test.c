/* SPDX-License-Identifier: Apache-2.0 */
/* What compaction keeps, drops, moves, cuts and picks. */
#include "storage/lsm/compaction.h"

#include "storage/io/blocking.h"
#include "storage/seal/registry.h"
#include "tests/sim/disk.h"
#include "tests/unit/storage_lsm/fixture.h"

static struct sim_disk *disk;
static struct fixture fixture;

static void set_up(uint64_t level_base_size)
{
    static const uint8_t cluster[seal_id_size] = {4};
    struct keyring *keyring;
    disk = sim_disk_create(12);
    struct io *io = sim_disk_io(disk);
    ck_assert_int_eq(keyring_create_in_memory(cluster, false, &keyring), STATUS_OK);
    ck_assert_int_eq(io_make_directory_wait(io, "lsm"), STATUS_OK);
    fixture_init(&fixture, io, keyring, "lsm");
    fixture.options.memtable_size = 16 * 1024 * 1024;
    fixture.options.level0_compact_count = 2;
    fixture.options.level_base_size = level_base_size;
    fixture.options.uncompressed = true;
    ck_assert_int_eq(fixture_open(&fixture), STATUS_OK);
}

static void tear_down(void)
{
    fixture_close(&fixture);
    keyring_close(fixture.keyring);
    sim_disk_destroy(disk);
}

static void flush(void)
{
    lsm_seal(fixture.lsm);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert(lsm_is_idle(fixture.lsm));
}

static void put(int key, const char *value)
{
    char text[32];
    snprintf(text, sizeof text, "key%06d", key);
    fixture_put(&fixture, text, value);
}

static const struct level *level_of(unsigned level)
{
    return &fixture.lsm->current->trees[0]->levels[level];
}

static uint64_t entries_count(void)
{
    uint64_t count = 0;
    for (unsigned l = 0; l < lsm_levels_count; l++)
        for (uint32_t i = 0; i < level_of(l)->count; i++)
            count += level_of(l)->files[i]->info.entries_count;
    return count;
}

/* The versions of one key that some version from the horizon on can see stay; no others do. */
START_TEST(test_hidden_versions_go)
{
    set_up(64 << 20);
    put(1, "below all");
    flush();
    for (int i = 0; i < 10; i++)
        put(1, "hot");
    lsm_horizon_set(fixture.lsm, 6); /* versions 7 to 11 are above, 6 is what it sees */
    flush();                         /* the flush drops 2 to 5, and version 1 moves down */
    ck_assert_uint_eq(entries_count(), 7);
    put(2, "other");
    flush();
    ck_assert_uint_eq(lsm_statistics(fixture.lsm).level0_count, 0);
    ck_assert_uint_eq(entries_count(), 7);
    struct lsm_view *view;
    struct lsm_value value;
    for (uint64_t version = 6; version <= 11; version++) {
        ck_assert_int_eq(lsm_view_open(fixture.lsm, version, &view), STATUS_OK);
        ck_assert_int_eq(
            fixture_get(&fixture, view, fixture_bytes_tree, bytes_of_text("key000001"), &value),
            STATUS_OK);
        ck_assert_uint_eq(value.version, version);
        lsm_view_close(view);
    }
    tear_down();
}
END_TEST

/* A tombstone stays as long as something below may hold the key, and goes with it. */
START_TEST(test_tombstones_go_at_the_bottom)
{
    set_up(64 << 20);
    for (int key = 0; key < 10; key++)
        put(key, "value");
    flush();
    for (int key = 0; key < 5; key++)
        put(key, NULL);
    lsm_horizon_set(fixture.lsm, fixture.mark.version);
    lsm_seal(fixture.lsm);
    struct lsm_job *job;
    while ((job = lsm_job_take(fixture.lsm)) != NULL && job->urgency != JOB_LEVEL0) {
        while (!lsm_job_step(job, fixture.io))
            continue;
        ck_assert_int_eq(lsm_job_return(fixture.lsm, job, &fixture.error), STATUS_OK);
    }
    ck_assert_uint_eq(entries_count(), 15); /* the flush keeps them: they hide what is below */
    if (job != NULL) {
        while (!lsm_job_step(job, fixture.io))
            continue;
        ck_assert_int_eq(lsm_job_return(fixture.lsm, job, &fixture.error), STATUS_OK);
    }
    flush();
    put(20, "value");
    flush();
    put(21, "value");
    flush();
    ck_assert_uint_eq(entries_count(), 7);
    tear_down();
}
END_TEST

/* Keys that rise, as those of outcomes do, are never rewritten. */
START_TEST(test_disjoint_tables_move)
{
    set_up(16 * 1024);
    for (int round = 0; round < 12; round++) {
        for (int i = 0; i < 100; i++)
            put(round * 100 + i, "a value of some length, to make the tables a few blocks long");
        flush();
    }
    ck_assert_uint_eq(lsm_statistics(fixture.lsm).compacted_size, 0);
    ck_assert_uint_le(level_of(0)->count, 1);
    ck_assert_uint_gt(level_of(2)->count, 0);
    ck_assert_uint_eq(entries_count(), 1200);
    tear_down();
}
END_TEST

/* Tables are cut near their target, between keys only. */
START_TEST(test_cuts_are_between_keys)
{
    static char value[1000];
    memset(value, 'v', sizeof value - 1);
    set_up(64 << 20);
    for (int round = 0; round < 3; round++) {
        for (int version = 0; version < 30; version++)
            for (int key = 0; key < 8; key++)
                put(key, value);
        flush();
    }
    const struct level *level = level_of(1);
    uint64_t count = 0;
    ck_assert_uint_gt(level->count, 3);
    for (uint32_t i = 0; i < level->count; i++) {
        count += level->files[i]->info.entries_count;
        if (i > 0)
            ck_assert_int_lt(
                bytes_compare(level->files[i - 1]->info.largest, level->files[i]->info.smallest),
                0);
    }
    ck_assert_uint_ge(count, 240);
    tear_down();
}
END_TEST

/* Whole tables below a discard key go by the manifest alone, and the key outlives a restart. */
START_TEST(test_discarded_tables_go)
{
    set_up(64 << 20);
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < 10; i++)
            put(round * 10 + i, "value");
        flush();
    }
    ck_assert_uint_eq(entries_count(), 60);
    lsm_discard_below(fixture.lsm, fixture_bytes_tree, bytes_of_text("key000035"));
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert_uint_eq(entries_count(), 30);
    ck_assert_uint_eq(lsm_statistics(fixture.lsm).compacted_size, 0);
    fixture_close(&fixture);
    ck_assert_int_eq(fixture_open(&fixture), STATUS_OK);
    ck_assert_uint_eq(fixture.report.removed_count, 0);
    struct bytes key = lsm_discard_key(fixture.lsm, 0);
    ck_assert(bytes_equal(key, bytes_of_text("key000035")));
    tear_down();
}
END_TEST

/* What is picked is complete, and nothing of it is picked twice. */
START_TEST(test_picks_are_complete_and_locked)
{
    struct compaction_pick pick;
    set_up(64 << 20);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 20; i++)
            put(i * 50, "value");
        flush();
    }
    for (int i = 0; i < 20; i++)
        put(i * 50 + 1, "value");
    lsm_seal(fixture.lsm);
    struct lsm_job *compaction;
    while ((compaction = lsm_job_take(fixture.lsm))->urgency != JOB_LEVEL0) {
        while (!lsm_job_step(compaction, fixture.io))
            continue;
        ck_assert_int_eq(lsm_job_return(fixture.lsm, compaction, &fixture.error), STATUS_OK);
    }
    for (unsigned l = 0; l < 2; l++)
        for (uint32_t i = 0; i < level_of(l)->count; i++)
            ck_assert(level_of(l)->files[i]->locked);
    ck_assert(!compaction_choose(fixture.lsm, true, &pick));
    ck_assert_ptr_null(lsm_job_take(fixture.lsm));
    while (!lsm_job_step(compaction, fixture.io))
        continue;
    ck_assert_int_eq(lsm_job_return(fixture.lsm, compaction, &fixture.error), STATUS_OK);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert_uint_eq(level_of(0)->count, 0);
    for (uint32_t i = 0; i < level_of(1)->count; i++)
        ck_assert(!level_of(1)->files[i]->locked);
    tear_down();
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_hidden_versions_go);
    tcase_add_test(tests, test_tombstones_go_at_the_bottom);
    tcase_add_test(tests, test_disjoint_tables_move);
    tcase_add_test(tests, test_cuts_are_between_keys);
    tcase_add_test(tests, test_discarded_tables_go);
    tcase_add_test(tests, test_picks_are_complete_and_locked);
}
