/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs that fail, wait, are interrupted, and take turns; on the simulated disk. */
#include "storage/lsm/jobs.h"

#include "storage/io/blocking.h"
#include "storage/lsm/lsm_internal.h"
#include "storage/seal/registry.h"
#include "tests/sim/disk.h"
#include "tests/unit/storage_lsm/fixture.h"

static struct sim_disk *disk;
static struct fixture fixture;
static unsigned works_count;

static void on_work(void *context)
{
    (void)context;
    works_count++;
}

static void set_up(void)
{
    static const uint8_t cluster[seal_id_size] = {3};
    struct keyring *keyring;
    disk = sim_disk_create(11);
    struct io *io = sim_disk_io(disk);
    ck_assert_int_eq(keyring_create_in_memory(cluster, false, &keyring), STATUS_OK);
    ck_assert_int_eq(io_make_directory_wait(io, "lsm"), STATUS_OK);
    fixture_init(&fixture, io, keyring, "lsm");
    fixture.options.work = on_work;
    fixture.options.memtable_size = 1024 * 1024;
    fixture.options.level0_compact_count = 2;
    fixture.options.uncompressed = true;
    fixture.options.level_base_size = 64 * 1024 * 1024;
    ck_assert_int_eq(fixture_open(&fixture), STATUS_OK);
    works_count = 0;
}

static void tear_down(void)
{
    fixture_close(&fixture);
    ck_assert_uint_eq(sim_disk_open_count(disk), 0);
    keyring_close(fixture.keyring);
    sim_disk_destroy(disk);
}

static void fill(int round, int count)
{
    char key[32];
    static char value[4000];
    memset(value, 'a' + round % 26, sizeof value - 1);
    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof key, "key%04d", i);
        fixture_put(&fixture, key, value);
    }
    lsm_seal(fixture.lsm);
}

static void count_table(void *context, const char *path, uint64_t size)
{
    (void)size;
    *(unsigned *)context += strstr(path, ".table") != NULL;
}

static unsigned tables_on_disk(void)
{
    unsigned count = 0;
    sim_disk_each_file(disk, count_table, &count);
    return count;
}

static void expect_round(int round, int count)
{
    struct lsm_view *view;
    struct lsm_value value;
    char key[32];
    ck_assert_int_eq(lsm_view_open(fixture.lsm, UINT64_MAX, &view), STATUS_OK);
    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof key, "key%04d", i);
        ck_assert_int_eq(
            fixture_get(&fixture, view, fixture_bytes_tree, bytes_of_text(key), &value), STATUS_OK);
        ck_assert_int_eq(value.value.data[0], 'a' + round % 26);
    }
    lsm_view_close(view);
}

/* The next job; manifest writes that come first are done. */
static struct lsm_job *take_past_manifest(void)
{
    struct lsm_job *job;
    while ((job = lsm_job_take(fixture.lsm)) != NULL && job->urgency == JOB_MANIFEST) {
        ck_assert(lsm_job_step(job, fixture.io));
        ck_assert_int_eq(lsm_job_return(fixture.lsm, job, &fixture.error), STATUS_OK);
    }
    return job;
}

/* Passes the time after which a full disk is tried again. */
static void pass_retry_time(void)
{
    works_count = 0;
    sim_disk_clock_advance(disk, (uint64_t)lsm_retry_ms * 1000 * 1000);
    io_turn(fixture.io, false);
    ck_assert_uint_gt(works_count, 0);
}

/* A flush that finds no space leaves nothing behind, holds nothing up for good, and loses nothing.
 */
START_TEST(test_full_disk_at_flush)
{
    set_up();
    fill(0, 200);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    fill(1, 200);
    uint64_t used = sim_disk_used(disk);
    sim_disk_capacity(disk, used + 64 * 1024);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_DISK_FULL);
    ck_assert_uint_eq(tables_on_disk(), 1);
    ck_assert_uint_eq(sim_disk_used(disk), used);
    ck_assert(lsm_statistics(fixture.lsm).disk_full);
    ck_assert_ptr_null(lsm_job_take(fixture.lsm));
    ck_assert(!lsm_is_idle(fixture.lsm));
    expect_round(1, 200);

    pass_retry_time();
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_DISK_FULL);
    sim_disk_capacity(disk, used + 64 * 1024 * 1024);
    pass_retry_time();
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert(!lsm_statistics(fixture.lsm).disk_full);
    ck_assert(lsm_is_idle(fixture.lsm));
    ck_assert_uint_eq(lsm_installed_index(fixture.lsm), 400);
    expect_round(1, 200);
    tear_down();
}
END_TEST

/* The manifest finds no space: the flush waits for the next attempt, and is installed then. */
START_TEST(test_full_disk_at_manifest)
{
    const struct sim_fault fault = {.effect = SIM_FAIL,
                                    .kind = IO_KIND_WRITE,
                                    .path = "manifest",
                                    .nth = 1,
                                    .count = 1,
                                    .status = STATUS_DISK_FULL};
    set_up();
    fill(0, 50);
    sim_disk_fault(disk, &fault);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_DISK_FULL);
    ck_assert_uint_eq(lsm_installed_index(fixture.lsm), 0);
    expect_round(0, 50);
    pass_retry_time();
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert_uint_eq(lsm_installed_index(fixture.lsm), 50);
    fixture_close(&fixture);
    ck_assert_int_eq(fixture_open(&fixture), STATUS_OK);
    ck_assert_uint_eq(fixture.report.removed_count, 0);
    expect_round(0, 50);
    tear_down();
}
END_TEST

START_TEST(test_full_disk_at_compaction)
{
    set_up();
    fill(0, 50);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    fill(1, 50);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK); /* the first moves to level 1 */
    ck_assert_uint_eq(lsm_statistics(fixture.lsm).level0_count, 1);
    fill(2, 50);
    struct lsm_job *flush = take_past_manifest();
    while (!lsm_job_step(flush, fixture.io))
        continue;
    ck_assert_int_eq(lsm_job_return(fixture.lsm, flush, &fixture.error), STATUS_OK);
    ck_assert_int_eq(fixture_run_job(&fixture), STATUS_OK); /* the manifest */
    sim_disk_capacity(disk, sim_disk_used(disk));
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_DISK_FULL);
    ck_assert_uint_eq(tables_on_disk(), 3);
    sim_disk_capacity(disk, (uint64_t)1 << 30);
    pass_retry_time();
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert_uint_eq(lsm_statistics(fixture.lsm).level0_count, 0);
    expect_round(2, 50);
    tear_down();
}
END_TEST

/* All else is final, and names what it was about; what is on disk opens again. */
static void fail_once(enum io_kind kind, const char *path)
{
    const struct sim_fault fault = {.effect = SIM_FAIL,
                                    .kind = kind,
                                    .path = path,
                                    .nth = 1,
                                    .count = 1,
                                    .status = STATUS_IO_ERROR,
                                    .error_number = 5};
    set_up();
    fill(0, 50);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    fill(1, 50);
    sim_disk_fault(disk, &fault);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_IO_ERROR);
    ck_assert_ptr_nonnull(strstr(fixture.error.text, "lsm"));
    fixture_close(&fixture);
    sim_disk_faults_clear(disk);
    ck_assert_msg(fixture_open(&fixture) == STATUS_OK, "%s", fixture.error.text);
    expect_round(fixture.mark.index == 100 ? 1 : 0, 50);
    tear_down();
}

START_TEST(test_errors_are_final)
{
    fail_once(IO_KIND_WRITE, ".table");
    fail_once(IO_KIND_FLUSH, ".table");
    fail_once(IO_KIND_FLUSH_DIRECTORY, "lsm");
    fail_once(IO_KIND_WRITE, "manifest");
    fail_once(IO_KIND_RENAME, "manifest");
}
END_TEST

/* A job of several steps is given back after each, goes to another worker, and is the same job. */
START_TEST(test_steps_are_resumed)
{
    unsigned steps_count = 0;
    struct lsm_job *first = NULL;
    set_up();
    fixture_close(&fixture);
    fixture.options.memtable_size = 64 * 1024 * 1024;
    ck_assert_int_eq(fixture_open(&fixture), STATUS_OK);
    fill(0, 1000);
    struct lsm_job *job = take_past_manifest();
    for (; job != NULL && job->urgency == JOB_FLUSH; job = lsm_job_take(fixture.lsm)) {
        ck_assert(first == NULL || first == job);
        first = job;
        steps_count++;
        bool finished = lsm_job_step(job, fixture.io);
        ck_assert_ptr_null(finished ? NULL : lsm_job_take(fixture.lsm));
        ck_assert_int_eq(lsm_job_return(fixture.lsm, job, &fixture.error), STATUS_OK);
        expect_round(0, 10);
    }
    ck_assert_uint_ge(steps_count, 4);
    ck_assert_ptr_nonnull(job);
    ck_assert_int_eq(job->urgency, JOB_MANIFEST);
    ck_assert(lsm_job_step(job, fixture.io));
    ck_assert_int_eq(lsm_job_return(fixture.lsm, job, &fixture.error), STATUS_OK);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    expect_round(0, 1000);
    tear_down();
}
END_TEST

/* A flush overtakes a compaction that is under way; closing gives up what is half done. */
START_TEST(test_flush_overtakes_compaction)
{
    set_up();
    fixture_close(&fixture);
    fixture.options.memtable_size = 64 * 1024 * 1024;
    ck_assert_int_eq(fixture_open(&fixture), STATUS_OK);
    fill(0, 600);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    fill(1, 600);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    fill(2, 600);
    struct lsm_job *compaction;
    while ((compaction = take_past_manifest())->urgency == JOB_FLUSH) {
        lsm_job_step(compaction, fixture.io);
        ck_assert_int_eq(lsm_job_return(fixture.lsm, compaction, &fixture.error), STATUS_OK);
    }
    ck_assert_int_eq(compaction->urgency, JOB_LEVEL0);
    ck_assert(!lsm_job_step(compaction, fixture.io));
    ck_assert_int_eq(lsm_job_return(fixture.lsm, compaction, &fixture.error), STATUS_OK);
    fill(3, 10);
    struct lsm_job *flush = lsm_job_take(fixture.lsm);
    ck_assert_int_eq(flush->urgency, JOB_FLUSH);
    ck_assert_int_eq(lsm_job_return(fixture.lsm, flush, &fixture.error), STATUS_OK);
    fixture_close(&fixture);
    ck_assert_int_eq(fixture_open(&fixture), STATUS_OK);
    ck_assert_uint_eq(fixture.report.tables_count, 3);
    ck_assert_uint_eq(tables_on_disk(), 3);
    expect_round(2, 600);
    tear_down();
}
END_TEST

static unsigned findings_count;
static char finding_path[table_path_size];
static enum status check_status;

static void on_bad(void *context, const char *path, uint64_t offset, const char *text)
{
    (void)context;
    (void)offset;
    ck_assert_ptr_nonnull(text);
    findings_count++;
    snprintf(finding_path, sizeof finding_path, "%s", path);
}

static void on_checked(void *context, enum status status)
{
    (void)context;
    check_status = status;
}

static void run_check(unsigned findings)
{
    findings_count = 0;
    check_status = STATUS_BUSY;
    ck_assert_int_eq(lsm_check(fixture.lsm, on_bad, on_checked, NULL), STATUS_OK);
    ck_assert_int_eq(lsm_check(fixture.lsm, on_bad, on_checked, NULL), STATUS_BUSY);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert_int_eq(check_status, STATUS_OK);
    ck_assert_uint_eq(findings_count, findings);
    struct lsm_check_progress progress = lsm_check_progress(fixture.lsm);
    ck_assert(!progress.running);
    ck_assert_uint_eq(progress.findings_count, findings);
    ck_assert_uint_eq(progress.checked_size, progress.total_size);
}

START_TEST(test_check_finds_damage)
{
    set_up();
    fill(0, 50);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    run_check(0);
    sim_disk_flip_bit(disk, "lsm/manifest.b", 150, 3);
    run_check(1);
    ck_assert_ptr_nonnull(strstr(finding_path, "manifest.b"));
    sim_disk_flip_bit(disk, "lsm/0000000000000001.table", 5000, 1);
    run_check(2);
    tear_down();
}
END_TEST

static enum status checkpoint_status;

static void on_checkpoint(void *context, enum status status, const struct lsm_mark *mark)
{
    (void)context;
    ck_assert_ptr_nonnull(mark);
    checkpoint_status = status;
}

/* A name that is taken is refused; what an earlier attempt left half made is not in the way. */
START_TEST(test_checkpoint_names)
{
    set_up();
    fill(0, 50);
    ck_assert_int_eq(io_make_directory_wait(fixture.io, "taken"), STATUS_OK);
    lsm_checkpoint(fixture.lsm, "taken", on_checkpoint, NULL);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert_int_eq(checkpoint_status, STATUS_ALREADY_EXISTS);

    struct io_file *file;
    ck_assert_int_eq(io_make_directory_wait(fixture.io, "copy.partial"), STATUS_OK);
    ck_assert_int_eq(
        io_open_wait(fixture.io, "copy.partial/manifest.a", IO_WRITE | IO_CREATE, &file),
        STATUS_OK);
    ck_assert_int_eq(io_close_wait(fixture.io, file), STATUS_OK);
    lsm_checkpoint(fixture.lsm, "copy", on_checkpoint, NULL);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert_int_eq(checkpoint_status, STATUS_OK);
    ck_assert(sim_disk_exists(disk, "copy/manifest.a"));
    ck_assert(!sim_disk_exists(disk, "copy.partial/manifest.a"));

    for (int i = 0; i < lsm_checkpoints_max; i++)
        lsm_checkpoint(fixture.lsm, "many", on_checkpoint, NULL);
    lsm_checkpoint(fixture.lsm, "many", on_checkpoint, NULL);
    ck_assert_int_eq(checkpoint_status, STATUS_BUSY);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert(lsm_is_idle(fixture.lsm));
    tear_down();
}
END_TEST

/* How long a flush of what fill() wrote takes in simulated time, where computing takes none. */
static uint64_t flush_time_ns(bool paced)
{
    uint64_t begun_ns = io_boot_ns(fixture.io);
    struct lsm_job *job = take_past_manifest();
    ck_assert_ptr_nonnull(job);
    ck_assert_int_eq(job->urgency, JOB_FLUSH);
    for (;;) {
        lsm_job_pace(job, paced);
        bool finished = lsm_job_step(job, fixture.io);
        ck_assert_int_eq(lsm_job_return(fixture.lsm, job, &fixture.error), STATUS_OK);
        if (finished)
            return io_boot_ns(fixture.io) - begun_ns;
        job = take_past_manifest();
        ck_assert(!job->paced); /* only for one step */
    }
}

/* A paced job rests within its steps, and does the same work. */
START_TEST(test_paced_job_rests)
{
    enum { records_count = 200 };
    set_up();
    fill(0, records_count);
    uint64_t unpaced_ns = flush_time_ns(false);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    fill(1, records_count);
    uint64_t paced_ns = flush_time_ns(true);
    ck_assert_uint_gt(paced_ns, unpaced_ns);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    expect_round(1, records_count);
    tear_down();
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_paced_job_rests);
    tcase_add_test(tests, test_full_disk_at_flush);
    tcase_add_test(tests, test_full_disk_at_manifest);
    tcase_add_test(tests, test_full_disk_at_compaction);
    tcase_add_test(tests, test_errors_are_final);
    tcase_add_test(tests, test_steps_are_resumed);
    tcase_add_test(tests, test_flush_overtakes_compaction);
    tcase_add_test(tests, test_check_finds_damage);
    tcase_add_test(tests, test_checkpoint_names);
}
