/* SPDX-License-Identifier: Apache-2.0 */
/* The LSM, stopped at every step of the disk.
 *
 * A scripted workload runs once. After each write, flush, creation, rename, link, unlink or
 * directory step the disk is cloned, restarted in several ways, and what is found is opened:
 *
 * - it opens, and its mark is the installed one or the one being installed;
 * - its contents are the model's at exactly that mark, forwards and backwards;
 * - no file is there that the manifest does not name;
 * - a checkpoint that has its name is whole, and equals the model at its mark;
 * - a second crash, at a random step of this recovery, changes none of that;
 * - it goes on: publishes, flushes, and opens once more.
 *
 * The same for lsm_install(): it finds the old content or the new one, whole. */
#include "tests/unit/storage_lsm/model.h"
#include "tests/unit/storage_lsm/transfer_unit.h"

#include "storage/io/blocking.h"
#include "storage/lsm/table.h"
#include "storage/seal/registry.h"
#include "tests/sim/disk.h"

enum {
    checkpoints_max = 8,
    images_max = 1 << 16, /* slots of a hash set; a power of 2 */
    marks_max = 4096,
};

struct crash_run {
    struct sim_disk *disk;
    struct keyring *keyring;
    struct fixture fixture;
    struct model model;
    struct generator draws; /* of the checks: the workload's own stay the same */
    uint64_t seed;
    uint64_t checkpoint_versions[checkpoints_max]; /* once done; 0 before */
    unsigned checkpoints_done_count;
    /* Marks that restarts found since the last installation: old or new. */
    uint64_t found_marks[marks_max];
    size_t found_count;
};

/* The images seen, for the whole process, and the mark that was found in each. */
struct image {
    uint64_t hash; /* 0: a free slot */
    uint64_t mark;
    bool opened;
};
static struct image images[images_max];
static uint64_t images_count;
static uint64_t restarts_count;
static uint64_t recovery_crashes_count;
static uint64_t new_marks_count; /* restarts that found the mark being installed */

/* The slot of an image; a new one is counted. */
static struct image *find_image(uint64_t hash)
{
    size_t slot = hash & (images_max - 1);
    hash |= 1;
    while (images[slot].hash != 0 && images[slot].hash != hash)
        slot = (slot + 1) & (images_max - 1);
    images_count += images[slot].hash == 0;
    images[slot].hash = hash;
    ck_assert_uint_lt(images_count, images_max / 2);
    return &images[slot];
}

/* ---- What must hold after a restart ---- */

struct files {
    uint64_t tables_count;
    uint64_t others_count;
};

static void count_file(void *context, const char *path, uint64_t size)
{
    struct files *files = context;
    const char *name = strrchr(path, '/');
    uint64_t number;
    (void)size;
    name = name == NULL ? path : name + 1;
    if (strstr(path, "lsm/") == NULL)
        return; /* a checkpoint's */
    if (table_name_parse(name, &number))
        files->tables_count++;
    else if (strcmp(name, "manifest.a") != 0 && strcmp(name, "manifest.b") != 0)
        files->others_count++;
}

static struct fixture fixture_on(const struct crash_run *run, struct sim_disk *disk,
                                 const char *directory)
{
    struct fixture fixture;
    fixture_init(&fixture, sim_disk_io(disk), run->keyring, directory);
    fixture.options.table_size = run->fixture.options.table_size;
    fixture.options.level_base_size = run->fixture.options.level_base_size;
    fixture.options.directory = NULL;
    return fixture;
}

/* fixture_init()'s directory is the struct's own, which moved with the copy. */
static enum status open_on(struct fixture *fixture)
{
    fixture->options.directory = fixture->directory;
    return fixture_open(fixture);
}

static void expect_contents(const struct crash_run *run, struct fixture *fixture)
{
    struct model model = run->model;
    memset(model.sessions, 0, sizeof model.sessions);
    model.fixture = fixture;
    for (unsigned tree = 0; tree < model_trees_count; tree++)
        for (int reverse = 0; reverse < 2; reverse++)
            model_expect_tree(&model, tree, fixture->mark.version, reverse != 0);
}

/* The LSM goes on from what was found. */
static void expect_use(struct fixture *fixture)
{
    fixture_put(fixture, "after", "restart");
    lsm_seal(fixture->lsm);
    ck_assert_int_eq(fixture_run_jobs(fixture), STATUS_OK);
    uint64_t version = fixture->mark.version;
    fixture_close(fixture);
    ck_assert_msg(fixture_open(fixture) == STATUS_OK, "%s", fixture->error.text);
    ck_assert_uint_eq(fixture->mark.version, version);
    ck_assert_uint_eq(fixture->report.removed_count, 0);
}

static void expect_checkpoints(struct crash_run *run, struct sim_disk *disk)
{
    for (unsigned i = 0; i < checkpoints_max; i++) {
        char directory[64];
        char manifest[96];
        snprintf(directory, sizeof directory, "checkpoint-%u", i + 1);
        snprintf(manifest, sizeof manifest, "%s/manifest.a", directory);
        if (!sim_disk_exists(disk, directory)) {
            /* One that was reported as done is not lost. */
            ck_assert_uint_ge(i, run->checkpoints_done_count);
            continue;
        }
        struct fixture fixture = fixture_on(run, disk, directory);
        ck_assert_msg(open_on(&fixture) == STATUS_OK, "%s", fixture.error.text);
        ck_assert(!fixture.report.created);
        expect_contents(run, &fixture);
        fixture_close(&fixture);
    }
}

static void note_mark(struct crash_run *run, uint64_t mark)
{
    uint64_t installed = lsm_installed_index(run->fixture.lsm);
    ck_assert_uint_ge(mark, installed);
    ck_assert_uint_lt(run->found_count, marks_max);
    run->found_marks[run->found_count++] = mark;
    new_marks_count += mark != installed;
}

/* Opens what a restart left, perhaps with one more crash within the opening. Gives the mark. */
static uint64_t expect_recovery(struct crash_run *run, struct sim_disk *disk)
{
    struct files files = {0};
    if (generator_chance(&run->draws, 1, 2)) {
        struct sim_disk *again = sim_disk_clone(disk, generator_draw(&run->draws));
        struct fixture fixture = fixture_on(run, again, "lsm");
        sim_disk_crash_after(again, generator_below(&run->draws, 12));
        enum status status = open_on(&fixture);
        fixture_close(&fixture);
        if (sim_disk_crashed(again)) {
            recovery_crashes_count++;
            sim_disk_restart(again, generator_draw(&run->draws), SIM_RESTART_RANDOM);
            find_image(sim_disk_hash(again));
            fixture = fixture_on(run, again, "lsm");
            status = open_on(&fixture);
            ck_assert_msg(status == STATUS_OK, "after a crash in recovery: %s", fixture.error.text);
            expect_contents(run, &fixture);
            fixture_close(&fixture);
        }
        ck_assert_int_eq(status, STATUS_OK);
        sim_disk_destroy(again);
    }
    struct fixture fixture = fixture_on(run, disk, "lsm");
    ck_assert_msg(open_on(&fixture) == STATUS_OK, "%s", fixture.error.text);
    uint64_t mark = fixture.mark.index;
    sim_disk_each_file(disk, count_file, &files);
    ck_assert_uint_eq(files.tables_count, fixture.report.tables_count);
    ck_assert_uint_eq(files.others_count, 0);
    expect_contents(run, &fixture);
    if (generator_chance(&run->draws, 1, 8))
        expect_use(&fixture);
    fixture_close(&fixture);
    expect_checkpoints(run, disk);
    ck_assert_uint_eq(sim_disk_open_count(disk), 0);
    return mark;
}

static void stepped(void *context, struct sim_disk *disk, uint64_t step)
{
    static const enum sim_restart_mode modes[] = {SIM_RESTART_LOSE_UNFLUSHED, SIM_RESTART_KEEP_ALL,
                                                  SIM_RESTART_RANDOM,         SIM_RESTART_RANDOM,
                                                  SIM_RESTART_RANDOM,         SIM_RESTART_RANDOM};
    struct crash_run *run = context;
    (void)step;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        uint64_t seed = generator_draw(&run->draws);
        struct sim_disk *clone = sim_disk_clone(disk, seed);
        sim_disk_restart(clone, seed, modes[i]);
        restarts_count++;
        /* The same image is recovered in the same way; but its mark must still do. */
        struct image *image = find_image(sim_disk_hash(clone));
        if (!image->opened)
            image->mark = expect_recovery(run, clone);
        image->opened = true;
        note_mark(run, image->mark);
        sim_disk_destroy(clone);
    }
}

/* ---- The workload ---- */

/* What restarts found while a job ran is the mark before or the mark after it. */
static void expect_old_or_new(struct crash_run *run, uint64_t before)
{
    uint64_t after = lsm_installed_index(run->fixture.lsm);
    for (size_t i = 0; i < run->found_count; i++)
        ck_assert(run->found_marks[i] == before || run->found_marks[i] == after);
    run->found_count = 0;
}

static void run_jobs(struct crash_run *run)
{
    for (;;) {
        uint64_t before = lsm_installed_index(run->fixture.lsm);
        enum status status = fixture_run_job(&run->fixture);
        if (status == STATUS_END)
            return;
        ck_assert_msg(status == STATUS_OK, "%s", run->fixture.error.text);
        expect_old_or_new(run, before);
    }
}

static void checkpoint_done(void *context, enum status status, const struct lsm_mark *mark)
{
    struct crash_run *run = context;
    ck_assert_int_eq(status, STATUS_OK);
    run->checkpoint_versions[run->checkpoints_done_count++] = mark->version;
}

/* One round: publishes, and one of the things that change files. */
static void run_round(struct crash_run *run, unsigned round)
{
    struct model *model = &run->model;
    struct lsm *lsm = run->fixture.lsm;
    for (int i = 0; i < 24; i++)
        model_publish(model);
    if (round % 2 == 1) {
        model->horizon = run->fixture.mark.version - 10;
        lsm_horizon_set(lsm, model->horizon);
    }
    if (round % 4 == 3)
        model_discard(model);
    if (round % 3 == 2) {
        char directory[64];
        snprintf(directory, sizeof directory, "checkpoint-%u", run->checkpoints_done_count + 1);
        lsm_checkpoint(lsm, directory, checkpoint_done, run);
    } else {
        lsm_seal(lsm);
    }
    run_jobs(run);
}

static void run_workload(uint64_t seed, unsigned rounds)
{
    static const uint8_t cluster[seal_id_size] = {9};
    static struct crash_run run;
    memset(&run, 0, sizeof run);
    run.seed = seed;
    run.disk = sim_disk_create(seed);
    run.model.fixture = &run.fixture;
    generator_init(&run.model.generator, seed);
    generator_init(&run.draws, seed + 1);
    struct io *io = sim_disk_io(run.disk);
    ck_assert_int_eq(keyring_create_in_memory(cluster, false, &run.keyring), STATUS_OK);
    ck_assert_int_eq(io_make_directory_wait(io, "lsm"), STATUS_OK);
    ck_assert_int_eq(io_flush_directory_wait(io, "."), STATUS_OK);
    fixture_init(&run.fixture, io, run.keyring, "lsm");
    run.fixture.options.memtable_size = 1024 * 1024; /* sealed by the script */
    run.fixture.options.table_size = 6 * 1024;
    run.fixture.options.level_base_size = 12 * 1024;
    run.fixture.options.level0_compact_count = 2;
    ck_assert_msg(fixture_open(&run.fixture) == STATUS_OK, "%s", run.fixture.error.text);
    sim_disk_on_step(run.disk, stepped, &run);
    for (unsigned round = 0; round < rounds; round++)
        run_round(&run, round);
    sim_disk_on_step(run.disk, NULL, NULL);
    ck_assert_uint_gt(lsm_statistics(run.fixture.lsm).compactions_count, 0);
    ck_assert_uint_gt(run.checkpoints_done_count, 0);
    model_close(&run.model);
    fixture_close(&run.fixture);
    ck_assert_uint_eq(sim_disk_open_count(run.disk), 0);
    keyring_close(run.keyring);
    sim_disk_destroy(run.disk);
}

START_TEST(test_stopped_at_every_step)
{
    enum { seeds_count = 5, rounds = 12, images_least = 2000 };
    for (uint64_t seed = 1; seed <= seeds_count; seed++) {
        printf("lsm_crash: seed %llu\n", (unsigned long long)seed);
        fflush(stdout);
        run_workload(seed, rounds);
    }
    printf("lsm_crash: %llu distinct disk images of %llu restarts, %llu crashes within recovery, "
           "%llu found the new mark\n",
           (unsigned long long)images_count, (unsigned long long)restarts_count,
           (unsigned long long)recovery_crashes_count, (unsigned long long)new_marks_count);
    ck_assert_uint_gt(images_count, images_least);
    ck_assert_uint_gt(recovery_crashes_count, 0);
    ck_assert_uint_gt(new_marks_count, 0);
}
END_TEST

/* The first opening makes the first manifest: stopped anywhere, the next one makes it again, or
 * finds it. */
START_TEST(test_stopped_while_being_made)
{
    static const uint8_t cluster[seal_id_size] = {9};
    struct keyring *keyring;
    uint64_t made_count = 0;
    ck_assert_int_eq(keyring_create_in_memory(cluster, false, &keyring), STATUS_OK);
    for (uint64_t n = 0;; n++) {
        struct sim_disk *disk = sim_disk_create(n);
        struct fixture fixture;
        struct io *io = sim_disk_io(disk);
        ck_assert_int_eq(io_make_directory_wait(io, "lsm"), STATUS_OK);
        ck_assert_int_eq(io_flush_directory_wait(io, "."), STATUS_OK);
        uint64_t before = sim_disk_steps_count(disk);
        sim_disk_crash_after(disk, before + n);
        fixture_init(&fixture, io, keyring, "lsm");
        enum status status = fixture_open(&fixture);
        fixture_close(&fixture);
        bool crashed = sim_disk_crashed(disk);
        ck_assert(crashed || status == STATUS_OK);
        sim_disk_restart(disk, n, (enum sim_restart_mode)(n % 3));
        fixture_init(&fixture, sim_disk_io(disk), keyring, "lsm");
        ck_assert_msg(fixture_open(&fixture) == STATUS_OK, "step %llu: %s", (unsigned long long)n,
                      fixture.error.text);
        made_count += fixture.report.created;
        expect_use(&fixture);
        fixture_close(&fixture);
        sim_disk_destroy(disk);
        if (!crashed)
            break;
    }
    ck_assert_uint_gt(made_count, 0);
    keyring_close(keyring);
}
END_TEST

/* ---- All content replaced ---- */

struct replacement {
    struct keyring *keyring;
    uint64_t old_index;
    uint64_t old_digest;
    uint64_t new_index;
    uint64_t new_digest;
    struct generator draws;
    uint64_t old_count; /* restarts that found it */
    uint64_t new_count;
    bool installed; /* it was reported */
};

static void on_installed(void *context, enum status status, const struct lsm_mark *mark)
{
    struct replacement *replacement = context;
    ck_assert_int_eq(status, STATUS_OK);
    ck_assert_uint_eq(mark->index, replacement->new_index);
    replacement->installed = true;
}

/* A restart finds one of the two contents, whole, and no file of the other; from the old one, what
 * was staged can be installed all the same. */
static void expect_one_content(struct replacement *replacement, struct sim_disk *disk)
{
    struct fixture fixture;
    struct files files = {0};
    fixture_init(&fixture, sim_disk_io(disk), replacement->keyring, "lsm");
    ck_assert_msg(fixture_open(&fixture) == STATUS_OK, "%s", fixture.error.text);
    bool is_new = fixture.mark.index == replacement->new_index;
    ck_assert(is_new || fixture.mark.index == replacement->old_index);
    ck_assert(is_new || !replacement->installed);
    ck_assert_uint_eq(transfer_digest(&fixture, UINT64_MAX),
                      is_new ? replacement->new_digest : replacement->old_digest);
    sim_disk_each_file(disk, count_file, &files);
    ck_assert_uint_eq(files.tables_count, fixture.report.tables_count);
    ck_assert_uint_eq(files.others_count, 0);
    *(is_new ? &replacement->new_count : &replacement->old_count) += 1;
    if (!is_new && generator_chance(&replacement->draws, 1, 8)) {
        lsm_install(fixture.lsm, "staging", on_installed, replacement);
        ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
        ck_assert(replacement->installed);
        replacement->installed = false;
        fixture.mark = *lsm_installed_mark(fixture.lsm);
        ck_assert_uint_eq(transfer_digest(&fixture, UINT64_MAX), replacement->new_digest);
    }
    expect_use(&fixture);
    fixture_close(&fixture);
}

static void replacement_stepped(void *context, struct sim_disk *disk, uint64_t step)
{
    struct replacement *replacement = context;
    (void)step;
    for (unsigned i = 0; i < 8; i++) {
        uint64_t seed = generator_draw(&replacement->draws);
        struct sim_disk *clone = sim_disk_clone(disk, seed);
        sim_disk_restart(clone, seed, i < 2 ? (enum sim_restart_mode)i : SIM_RESTART_RANDOM);
        restarts_count++;
        struct image *image = find_image(sim_disk_hash(clone));
        if (!image->opened)
            expect_one_content(replacement, clone);
        image->opened = true;
        sim_disk_destroy(clone);
    }
}

static void stage(struct fixture *other, struct fixture *fixture)
{
    struct lsm_import *import;
    transfer_checkpoint(other, "checkpoint");
    struct lsm_export *export = transfer_export(other->io, other->keyring, "checkpoint");
    ck_assert_int_eq(transfer_import(fixture->io, fixture->keyring, "staging",
                                     lsm_export_header(export), lsm_staging_number(fixture->lsm),
                                     &import),
                     STATUS_OK);
    ck_assert_int_eq(transfer_run(export, other->io, import, fixture->io, UINT_MAX), STATUS_END);
    lsm_import_close(import, fixture->io);
    lsm_export_close(export, other->io);
}

static void run_replacement(uint64_t seed, struct replacement *replacement)
{
    static const uint8_t cluster[seal_id_size] = {9};
    struct fixture fixture;
    struct fixture other;
    struct sim_disk *disk = sim_disk_create(seed);
    struct io *io = sim_disk_io(disk);
    generator_init(&replacement->draws, seed);
    replacement->installed = false;
    ck_assert_int_eq(keyring_create_in_memory(cluster, false, &replacement->keyring), STATUS_OK);
    ck_assert_int_eq(io_make_directory_wait(io, "lsm"), STATUS_OK);
    ck_assert_int_eq(io_make_directory_wait(io, "sender"), STATUS_OK);
    ck_assert_int_eq(io_flush_directory_wait(io, "."), STATUS_OK);
    fixture_init(&fixture, io, replacement->keyring, "lsm");
    fixture_init(&other, io, replacement->keyring, "sender");
    ck_assert_int_eq(fixture_open(&fixture), STATUS_OK);
    ck_assert_int_eq(fixture_open(&other), STATUS_OK);
    transfer_fill(&fixture, 500 + 100 * (unsigned)seed, 1);
    transfer_fill(&other, 900 + 200 * (unsigned)seed, 2);
    stage(&other, &fixture);
    lsm_seal(fixture.lsm);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    replacement->old_index = fixture.mark.index;
    replacement->old_digest = transfer_digest(&fixture, UINT64_MAX);
    replacement->new_index = other.mark.index;
    replacement->new_digest = transfer_digest(&other, UINT64_MAX);
    sim_disk_on_step(disk, replacement_stepped, replacement);
    lsm_install(fixture.lsm, "staging", on_installed, replacement);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert(replacement->installed);
    sim_disk_on_step(disk, NULL, NULL);
    fixture_close(&fixture);
    fixture_close(&other);
    ck_assert_uint_eq(sim_disk_open_count(disk), 0);
    keyring_close(replacement->keyring);
    sim_disk_destroy(disk);
}

/* lsm_install() replaces all content at one moment, wherever it is stopped. */
START_TEST(test_replacement_stopped_at_every_step)
{
    enum { seeds_count = 6, images_least = 150 };
    static struct replacement replacement;
    uint64_t images_before = images_count;
    for (uint64_t seed = 1; seed <= seeds_count; seed++)
        run_replacement(seed, &replacement);
    uint64_t images_here = images_count - images_before;
    printf("lsm_crash: replacement: %llu distinct disk images, %llu found the old content, %llu "
           "the new one\n",
           (unsigned long long)images_here, (unsigned long long)replacement.old_count,
           (unsigned long long)replacement.new_count);
    ck_assert_uint_gt(images_here, images_least);
    ck_assert_uint_gt(replacement.old_count, images_least / 4);
    ck_assert_uint_gt(replacement.new_count, images_least / 4);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_replacement_stopped_at_every_step);
    tcase_add_test(tests, test_stopped_at_every_step);
    tcase_add_test(tests, test_stopped_while_being_made);
}
