/* SPDX-License-Identifier: Apache-2.0 */
/* lsm_install(): all content replaced by what an import staged. */
#include "storage/lsm/lsm.h"

#include "storage/lsm/table.h"
#include "tests/unit/storage_lsm/transfer_unit.h"

static struct sim_disk *disk;
static struct keyring *keyring;
static struct fixture fixture; /* whose content is replaced */
static struct fixture other;   /* whose content it gets */
static enum status installed_status;
static unsigned installed_count;

static void on_installed(void *context, enum status status, const struct lsm_mark *mark)
{
    (void)context;
    ck_assert_ptr_nonnull(mark);
    installed_status = status;
    installed_count++;
}

static void stage(uint64_t number_first)
{
    struct lsm_import *import;
    struct lsm_export *export = transfer_export(other.io, keyring, "checkpoint");
    ck_assert_int_eq(transfer_import(fixture.io, keyring, "staging", lsm_export_header(export),
                                     number_first, &import),
                     STATUS_OK);
    ck_assert_int_eq(transfer_run(export, other.io, import, fixture.io, UINT_MAX), STATUS_END);
    lsm_import_close(import, fixture.io);
    lsm_export_close(export, other.io);
}

static void set_up(unsigned count)
{
    static const uint8_t cluster[seal_id_size] = {3};
    disk = sim_disk_create(1);
    installed_count = 0;
    ck_assert_int_eq(keyring_create_in_memory(cluster, false, &keyring), STATUS_OK);
    struct io *io = sim_disk_io(disk);
    ck_assert_int_eq(io_make_directory_wait(io, "lsm"), STATUS_OK);
    ck_assert_int_eq(io_make_directory_wait(io, "other"), STATUS_OK);
    fixture_init(&fixture, io, keyring, "lsm");
    fixture_init(&other, io, keyring, "other");
    ck_assert_int_eq(fixture_open(&fixture), STATUS_OK);
    ck_assert_int_eq(fixture_open(&other), STATUS_OK);
    transfer_fill(&fixture, count, 1);
    lsm_attachment_set(other.lsm, bytes_of_text("the members"));
    transfer_fill(&other, count * 2, 2);
    uint8_t below[fixture_fixed_key_size];
    store_u64_be(below, 100);
    lsm_discard_below(other.lsm, fixture_fixed_tree, bytes_of(below, sizeof below));
    transfer_checkpoint(&other, "checkpoint");
    stage(lsm_staging_number(fixture.lsm));
}

static void tear_down(void)
{
    fixture_close(&fixture);
    fixture_close(&other);
    ck_assert_uint_eq(sim_disk_open_count(disk), 0);
    keyring_close(keyring);
    sim_disk_destroy(disk);
}

static void count_table(void *context, const char *path, uint64_t size)
{
    uint64_t number;
    (void)size;
    const char *name = strrchr(path, '/');
    if (strstr(path, "lsm/") != NULL && table_name_parse(name + 1, &number))
        ++*(uint64_t *)context;
}

static uint64_t tables_on_disk(void)
{
    uint64_t count = 0;
    sim_disk_each_file(disk, count_table, &count);
    return count;
}

static void expect_other(void)
{
    for (uint64_t back = 0; back < 40; back += 13)
        ck_assert_uint_eq(transfer_digest(&fixture, other.mark.version - back),
                          transfer_digest(&other, other.mark.version - back));
    ck_assert(bytes_equal(lsm_attachment(fixture.lsm), bytes_of_text("the members")));
    ck_assert_uint_eq(lsm_installed_index(fixture.lsm), other.mark.index);
    ck_assert_uint_eq(lsm_installed_mark(fixture.lsm)->version, other.mark.version);
    ck_assert_mem_eq(lsm_installed_mark(fixture.lsm)->state, other.mark.state, 8);
}

static void install_now(void)
{
    lsm_install(fixture.lsm, "staging", on_installed, NULL);
    ck_assert(!lsm_is_idle(fixture.lsm));
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert_uint_eq(installed_count, 1);
    ck_assert_int_eq(installed_status, STATUS_OK);
    ck_assert(lsm_is_idle(fixture.lsm));
}

/* What was in memory and in tables is gone, on the disk too, and writing goes on from the new mark;
 * a restart finds the same. */
START_TEST(test_replaces_all)
{
    set_up(1000);
    fixture_put(&fixture, "key-of-the-memtable", "goes too");
    install_now();
    expect_other();
    ck_assert_uint_eq(tables_on_disk(), lsm_statistics(fixture.lsm).tables_count);
    ck_assert(!sim_disk_exists(disk, "staging"));
    ck_assert_int_eq(lsm_directory_remove(fixture.io, "staging"), STATUS_OK);

    fixture.mark = other.mark;
    fixture_put(&fixture, "key-00001", "newer");
    fixture_put(&other, "key-00001", "newer");
    ck_assert_uint_eq(transfer_digest(&fixture, UINT64_MAX), transfer_digest(&other, UINT64_MAX));
    transfer_fill(&fixture, 900, 3);
    transfer_fill(&other, 900, 3);
    lsm_seal(fixture.lsm);
    lsm_seal(other.lsm);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert_int_eq(fixture_run_jobs(&other), STATUS_OK);
    fixture_close(&fixture);
    ck_assert_msg(fixture_open(&fixture) == STATUS_OK, "%s", fixture.error.text);
    ck_assert_uint_eq(fixture.report.removed_count, 0);
    expect_other();
    tear_down();
}
END_TEST

/* Nothing begins any more but the replacement, which ends that. */
START_TEST(test_halted)
{
    set_up(1000);
    transfer_fill(&fixture, 600, 3);
    lsm_halt(fixture.lsm);
    lsm_seal(fixture.lsm);
    uint64_t index = lsm_installed_index(fixture.lsm);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert_uint_eq(lsm_installed_index(fixture.lsm), index);
    ck_assert(!lsm_is_idle(fixture.lsm)); /* the flush is still to come */
    install_now();
    expect_other();
    fixture.mark = other.mark;
    transfer_fill(&fixture, 600, 3);
    lsm_seal(fixture.lsm);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert_uint_eq(lsm_installed_index(fixture.lsm), fixture.mark.index);
    tear_down();
}
END_TEST

static void spoil(void *context, const char *path, uint64_t size)
{
    uint64_t number;
    (void)context;
    if (strstr(path, "lsm/") != NULL && table_name_parse(strrchr(path, '/') + 1, &number))
        sim_disk_flip_bit(disk, path, size - 40, 0);
}

/* Tables that do not open at all keep nothing from being replaced, and go with it; until then they
 * stay, whatever a start does. */
START_TEST(test_bare)
{
    set_up(1000);
    lsm_seal(fixture.lsm);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    struct lsm_mark mark = *lsm_installed_mark(fixture.lsm);
    fixture_close(&fixture);
    sim_disk_each_file(disk, spoil, NULL);
    ck_assert_int_eq(fixture_open(&fixture), STATUS_CORRUPT);
    uint64_t count = tables_on_disk();
    ck_assert_uint_gt(count, 0);
    fixture.options.bare = true;
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_msg(fixture_open(&fixture) == STATUS_OK, "%s", fixture.error.text);
        ck_assert_uint_eq(fixture.mark.index, mark.index);
        ck_assert_uint_eq(lsm_statistics(fixture.lsm).tables_count, 0);
        ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
        ck_assert_uint_eq(tables_on_disk(), count);
        if (i < 2)
            fixture_close(&fixture);
    }
    install_now();
    expect_other();
    ck_assert_uint_eq(tables_on_disk(), lsm_statistics(fixture.lsm).tables_count);
    /* It is one like any other now: halted again, it installs what was under way. */
    fixture.mark = other.mark;
    transfer_fill(&fixture, 600, 3);
    lsm_seal(fixture.lsm);
    struct lsm_job *flush = lsm_job_take(fixture.lsm);
    ck_assert_ptr_nonnull(flush);
    lsm_halt(fixture.lsm);
    while (!lsm_job_step(flush, fixture.io))
        continue;
    ck_assert_int_eq(lsm_job_return(fixture.lsm, flush, &fixture.error), STATUS_OK);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    fixture_close(&fixture);
    fixture.options.bare = false;
    ck_assert_msg(fixture_open(&fixture) == STATUS_OK, "%s", fixture.error.text);
    ck_assert_uint_eq(fixture.report.removed_count, 0);
    ck_assert_uint_gt(fixture.mark.index, other.mark.index);
    tear_down();
}
END_TEST

static void spoil_format(void *context, const char *path, uint64_t size)
{
    uint64_t number;
    (void)size;
    if (strstr(path, "lsm/") != NULL && table_name_parse(strrchr(path, '/') + 1, &number) &&
        ++*(unsigned *)context == 1)
        sim_disk_flip_bit(disk, path, 9, 4);
}

/* A number of the format that has decayed is damage, and no newer version's doing. */
START_TEST(test_decayed_format)
{
    unsigned count = 0;
    set_up(1000);
    lsm_seal(fixture.lsm);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    fixture_close(&fixture);
    sim_disk_each_file(disk, spoil_format, &count);
    ck_assert_uint_ne(count, 0);
    ck_assert_int_eq(fixture_open(&fixture), STATUS_CORRUPT);
    fixture.options.bare = true;
    ck_assert_int_eq(fixture_open(&fixture), STATUS_OK);
    tear_down();
}
END_TEST

/* A view and a scan that began before it go on in the old content, whose files go with them. */
START_TEST(test_views_outlive_it)
{
    struct lsm_view *view;
    struct lsm_iterator *iterator;
    struct lsm_item item;
    set_up(1000);
    uint64_t before = transfer_digest(&fixture, UINT64_MAX);
    uint64_t digest = 1;
    fixture_put(&fixture, "key-zzzzz", "in memory");
    ck_assert_int_eq(lsm_view_open(fixture.lsm, fixture.mark.version - 1, &view), STATUS_OK);
    ck_assert_int_eq(lsm_iterator_open(view, fixture_bytes_tree, (struct bytes){0},
                                       (struct bytes){0}, false, &iterator),
                     STATUS_OK);
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(fixture_next(&fixture, iterator, &item), STATUS_OK);
        digest = hash64_seeded(item.key, digest + item.version);
        digest = hash64_seeded(item.value, digest);
    }
    install_now();
    expect_other();
    uint64_t held = tables_on_disk();
    ck_assert_uint_gt(held, lsm_statistics(fixture.lsm).tables_count);
    enum status status;
    while ((status = fixture_next(&fixture, iterator, &item)) == STATUS_OK) {
        digest = hash64_seeded(item.key, digest + item.version);
        digest = hash64_seeded(item.value, digest);
    }
    ck_assert_int_eq(status, STATUS_END);
    lsm_iterator_close(iterator);
    ck_assert_int_eq(lsm_iterator_open(view, fixture_fixed_tree, (struct bytes){0},
                                       (struct bytes){0}, false, &iterator),
                     STATUS_OK);
    while ((status = fixture_next(&fixture, iterator, &item)) == STATUS_OK) {
        digest = hash64_seeded(item.key, digest + item.version);
        digest = hash64_seeded(item.value, digest);
    }
    lsm_iterator_close(iterator);
    ck_assert_uint_eq(digest, before);
    lsm_view_close(view);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert_uint_eq(tables_on_disk(), lsm_statistics(fixture.lsm).tables_count);
    tear_down();
}
END_TEST

/* It waits for what is under way, a flush, a compaction, a checkpoint, and none begins before it;
 * memtables that were sealed for later are dropped. A checkpoint asked for before it comes after.
 */
START_TEST(test_waits_for_jobs)
{
    set_up(1000);
    enum status checkpoint = STATUS_AGAIN;
    struct lsm_job *jobs[2];
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    transfer_fill(&fixture, 90, 5);
    lsm_seal(fixture.lsm);
    jobs[0] = lsm_job_take(fixture.lsm);
    ck_assert_ptr_nonnull(jobs[0]);
    fixture_put(&fixture, "key-00002", "sealed, and never flushed");
    lsm_seal(fixture.lsm);
    lsm_checkpoint(fixture.lsm, "of-the-new", transfer_checkpoint_done, &checkpoint);
    jobs[1] = lsm_job_take(fixture.lsm); /* a compaction, or nothing: one flush at a time */
    lsm_install(fixture.lsm, "staging", on_installed, NULL);
    lsm_install(fixture.lsm, "staging", on_installed, NULL);
    ck_assert_int_eq(installed_status, STATUS_BUSY);
    ck_assert_uint_eq(installed_count, 1);
    ck_assert_ptr_null(lsm_job_take(fixture.lsm));
    uint64_t index = lsm_installed_index(fixture.lsm);
    for (int i = 0; i < 2; i++) {
        if (jobs[i] == NULL)
            continue;
        while (!lsm_job_step(jobs[i], fixture.io))
            continue;
        ck_assert_int_eq(lsm_job_return(fixture.lsm, jobs[i], &fixture.error), STATUS_OK);
    }
    while (installed_count == 1) {
        ck_assert_int_eq(fixture_run_job(&fixture), STATUS_OK);
        ck_assert_int_eq(checkpoint, STATUS_AGAIN);
    }
    ck_assert_int_eq(installed_status, STATUS_OK);
    ck_assert_uint_gt(lsm_installed_index(fixture.lsm), index);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert_int_eq(checkpoint, STATUS_OK);
    ck_assert_uint_eq(lsm_statistics(fixture.lsm).sealed_count, 0);
    expect_other();
    fixture_close(&fixture);
    memcpy(fixture.directory, "of-the-new", sizeof "of-the-new");
    ck_assert_int_eq(fixture_open(&fixture), STATUS_OK);
    expect_other();
    tear_down();
}
END_TEST

static void expect_refused(const char *directory, enum status expected)
{
    uint64_t before = transfer_digest(&fixture, UINT64_MAX);
    uint64_t tables = tables_on_disk();
    installed_count = 0;
    lsm_install(fixture.lsm, directory, on_installed, NULL);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert_uint_eq(installed_count, 1);
    ck_assert_int_eq(installed_status, expected);
    ck_assert_uint_eq(tables_on_disk(), tables);
    ck_assert_uint_eq(transfer_digest(&fixture, UINT64_MAX), before);
    fixture_put(&fixture, "key-after", "it goes on");
}

START_TEST(test_refusals_leave_the_old)
{
    set_up(1000);
    lsm_seal(fixture.lsm);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    expect_refused("nowhere", STATUS_CORRUPT);
    expect_refused("checkpoint", STATUS_INVALID_ARGUMENT); /* numbers of another LSM */

    /* A table that is gone, one that is damaged, and the disk that fills in each place. */
    char path[table_path_size];
    ck_assert(table_path("staging", lsm_staging_number(fixture.lsm) + 2, path));
    uint64_t used = sim_disk_used(disk);
    for (uint64_t more = 0; more < 40; more += 4) {
        sim_disk_capacity(disk, used + more * 1024);
        lsm_install(fixture.lsm, "staging", on_installed, NULL);
        ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
        if (installed_status == STATUS_OK)
            break;
        ck_assert_int_eq(installed_status, STATUS_DISK_FULL);
    }
    sim_disk_capacity(disk, (uint64_t)1 << 40);
    ck_assert_int_eq(installed_status, STATUS_OK);
    expect_other();

    /* What was staged before an installation does not fit after it. */
    uint64_t number = lsm_staging_number(fixture.lsm);
    stage(number - ((uint64_t)1 << 32));
    fixture.mark = other.mark;
    expect_refused("staging", STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(lsm_directory_remove(fixture.io, "staging"), STATUS_OK);
    stage(number);
    ck_assert(table_path("staging", number + 2, path));
    sim_disk_flip_bit(disk, path, sim_disk_file_size(disk, path) - 10, 3);
    expect_refused("staging", STATUS_CORRUPT);
    sim_disk_remove(disk, path);
    expect_refused("staging", STATUS_CORRUPT);
    tear_down();
}
END_TEST

/* Closed at any moment of it, the LSM opens with the old content or the new. */
START_TEST(test_closed_within)
{
    unsigned old_count = 0;
    unsigned new_count = 0;
    for (unsigned steps = 0; steps < 6; steps++) {
        set_up(400);
        lsm_seal(fixture.lsm);
        ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
        uint64_t before = transfer_digest(&fixture, UINT64_MAX);
        lsm_install(fixture.lsm, "staging", on_installed, NULL);
        struct lsm_job *job = lsm_job_take(fixture.lsm);
        bool finished = false;
        for (unsigned i = 0; i < steps && !finished; i++)
            finished = lsm_job_step(job, fixture.io);
        ck_assert_int_eq(lsm_job_return(fixture.lsm, job, &fixture.error), STATUS_OK);
        fixture_close(&fixture);
        ck_assert_msg(fixture_open(&fixture) == STATUS_OK, "%s", fixture.error.text);
        if (fixture.mark.index == other.mark.index) {
            expect_other();
            new_count++;
        } else {
            ck_assert_uint_eq(transfer_digest(&fixture, UINT64_MAX), before);
            old_count++;
        }
        tear_down();
    }
    ck_assert_uint_gt(old_count, 2);
    ck_assert_uint_gt(new_count, 1);
}
END_TEST

/* ---- Going back to a checkpoint of one's own ---- */

static struct lsm_mark back_mark;
static uint64_t back_digest;
static uint64_t back_horizon_digest;

static void set_up_back(unsigned after)
{
    set_up(1000);
    transfer_checkpoint(&fixture, "back");
    ck_assert_int_eq(lsm_checkpoint_look(fixture.io, keyring, "back", &back_mark), STATUS_OK);
    ck_assert_uint_eq(back_mark.index, lsm_installed_index(fixture.lsm));
    ck_assert_uint_eq(back_mark.version, fixture.mark.version);
    back_digest = transfer_digest(&fixture, UINT64_MAX);
    back_horizon_digest = transfer_digest(&fixture, fixture.mark.version - 20);
    transfer_fill(&fixture, after, 3);
    lsm_seal(fixture.lsm);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    fixture_put(&fixture, "key-of-the-memtable", "goes too");
}

static void restore_now(const struct lsm_mark *mark)
{
    installed_count = 0;
    lsm_restore(fixture.lsm, "back", mark, on_installed, NULL);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert_uint_eq(installed_count, 1);
}

static void expect_back(void)
{
    ck_assert_uint_eq(transfer_digest(&fixture, UINT64_MAX), back_digest);
    ck_assert_uint_eq(transfer_digest(&fixture, back_mark.version - 20), back_horizon_digest);
    ck_assert_uint_eq(lsm_installed_index(fixture.lsm), back_mark.index);
    ck_assert_uint_eq(tables_on_disk(), lsm_statistics(fixture.lsm).tables_count);
}

/* Whether all tables of the checkpoint are still there, some, or none: what comes after is as if
 * the time between had never been; also after a restart, and once compactions have moved all. */
START_TEST(test_goes_back)
{
    static const unsigned afters[] = {10, 450, 3000};
    for (unsigned i = 0; i < 3; i++) {
        set_up_back(afters[i]);
        struct lsm_mark mark = back_mark;
        mark.state[mark.state_size++] = 'R';
        restore_now(&mark);
        ck_assert_int_eq(installed_status, STATUS_OK);
        expect_back();
        ck_assert(!sim_disk_exists(disk, "back"));
        ck_assert_uint_eq(lsm_installed_mark(fixture.lsm)->state_size, mark.state_size);
        fixture.mark = mark;
        transfer_fill(&fixture, 900, 5);
        lsm_seal(fixture.lsm);
        ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
        uint64_t digest = transfer_digest(&fixture, UINT64_MAX);
        ck_assert_uint_eq(tables_on_disk(), lsm_statistics(fixture.lsm).tables_count);
        fixture_close(&fixture);
        ck_assert_msg(fixture_open(&fixture) == STATUS_OK, "%s", fixture.error.text);
        ck_assert_uint_eq(fixture.report.removed_count, 0);
        ck_assert_uint_eq(transfer_digest(&fixture, UINT64_MAX), digest);
        tear_down();
    }
}
END_TEST

static void expect_not_restored(const struct lsm_mark *mark, enum status expected)
{
    uint64_t before = transfer_digest(&fixture, UINT64_MAX);
    uint64_t tables = tables_on_disk();
    restore_now(mark);
    ck_assert_int_eq(installed_status, expected);
    ck_assert_uint_eq(transfer_digest(&fixture, UINT64_MAX), before);
    ck_assert_uint_eq(tables_on_disk(), tables);
}

/* Not to a checkpoint that is another one than was meant, nor to what another LSM staged. */
START_TEST(test_goes_back_to_its_own_alone)
{
    set_up_back(3000);
    lsm_seal(fixture.lsm);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    struct lsm_mark mark = back_mark;
    mark.version--;
    expect_not_restored(&mark, STATUS_INVALID_ARGUMENT);
    installed_count = 0;
    lsm_restore(fixture.lsm, "staging", &back_mark, on_installed, NULL);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert_int_eq(installed_status, STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(lsm_checkpoint_look(fixture.io, keyring, "none", &mark), STATUS_NOT_FOUND);
    fixture_put(&fixture, "key-after", "it goes on");
    restore_now(&back_mark);
    ck_assert_int_eq(installed_status, STATUS_OK);
    expect_back();
    tear_down();
}
END_TEST

/* Closed at any moment of it, the LSM opens with what was, or with what it goes back to. */
START_TEST(test_closed_within_going_back)
{
    unsigned old_count = 0;
    unsigned new_count = 0;
    for (unsigned steps = 0; steps < 7; steps++) {
        set_up_back(1200);
        lsm_seal(fixture.lsm);
        ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
        uint64_t before = transfer_digest(&fixture, UINT64_MAX);
        lsm_restore(fixture.lsm, "back", &back_mark, on_installed, NULL);
        struct lsm_job *job = lsm_job_take(fixture.lsm);
        bool finished = false;
        for (unsigned i = 0; i < steps && !finished; i++)
            finished = lsm_job_step(job, fixture.io);
        ck_assert_int_eq(lsm_job_return(fixture.lsm, job, &fixture.error), STATUS_OK);
        fixture_close(&fixture);
        ck_assert_msg(fixture_open(&fixture) == STATUS_OK, "%s", fixture.error.text);
        if (fixture.mark.index == back_mark.index) {
            expect_back();
            new_count++;
        } else {
            ck_assert_uint_eq(transfer_digest(&fixture, UINT64_MAX), before);
            restore_now(&back_mark);
            ck_assert_int_eq(installed_status, STATUS_OK);
            expect_back();
            old_count++;
        }
        tear_down();
    }
    ck_assert_uint_gt(old_count, 2);
    ck_assert_uint_gt(new_count, 1);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_replaces_all);
    tcase_add_test(tests, test_halted);
    tcase_add_test(tests, test_bare);
    tcase_add_test(tests, test_decayed_format);
    tcase_add_test(tests, test_views_outlive_it);
    tcase_add_test(tests, test_waits_for_jobs);
    tcase_add_test(tests, test_refusals_leave_the_old);
    tcase_add_test(tests, test_closed_within);
    tcase_add_test(tests, test_goes_back);
    tcase_add_test(tests, test_goes_back_to_its_own_alone);
    tcase_add_test(tests, test_closed_within_going_back);
}
