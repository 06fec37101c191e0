/* SPDX-License-Identifier: Apache-2.0 */
/* lsm_adopt(): the shared trees become another's, the regional ones stay. */
#include "storage/lsm/lsm.h"
#include "tests/unit/storage_lsm/transfer_unit.h"

enum { own_tree = 9, own_count = 300 };

static struct lsm_tree_options trees[3];
static struct sim_disk *disk;
static struct keyring *keyring;
static struct fixture fixture; /* whose shared content is replaced */
static struct fixture other;   /* whose it gets */
static enum status adopted_status;
static unsigned adopted_count;

static void on_adopted(void *context, enum status status, const struct lsm_mark *mark)
{
    (void)context;
    ck_assert_ptr_nonnull(mark);
    adopted_status = status;
    adopted_count++;
}

static void put_own(struct fixture *to, unsigned number, const char *value)
{
    char key[32];
    snprintf(key, sizeof key, "own-%05u", number);
    const struct lsm_write write = {
        .tree = own_tree, .key = bytes_of_text(key), .value = bytes_of_text(value)};
    while (!lsm_has_room(to->lsm, 1000))
        ck_assert_int_eq(fixture_run_job(to), STATUS_OK);
    to->mark.index++;
    lsm_publish(to->lsm, &write, 1, &to->mark);
}

static void seal(struct fixture *to)
{
    lsm_seal(to->lsm);
    ck_assert_int_eq(fixture_run_jobs(to), STATUS_OK);
    ck_assert_uint_eq(lsm_installed_index(to->lsm), to->mark.index);
}

static void expect_own(const char *value)
{
    struct lsm_view *view;
    struct lsm_value got;
    ck_assert_int_eq(lsm_view_open(fixture.lsm, UINT64_MAX, &view), STATUS_OK);
    for (unsigned i = 0; i < own_count; i++) {
        char key[32];
        snprintf(key, sizeof key, "own-%05u", i);
        ck_assert_int_eq(fixture_get(&fixture, view, own_tree, bytes_of_text(key), &got),
                         STATUS_OK);
        ck_assert(bytes_equal(got.value, bytes_of_text(value)));
    }
    lsm_view_close(view);
}

static void stage(void)
{
    struct lsm_import *import;
    struct lsm_export *export = transfer_export(other.io, keyring, "checkpoint");
    const struct lsm_import_options options = {.keyring = keyring,
                                               .directory = "staging",
                                               .header = lsm_export_header(export),
                                               .trees = trees,
                                               .trees_count = 3,
                                               .number_first = lsm_staging_number(fixture.lsm)};
    ck_assert_int_eq(lsm_import_open(fixture.io, &options, &import, NULL), STATUS_OK);
    ck_assert_int_eq(transfer_run(export, other.io, import, fixture.io, UINT_MAX), STATUS_END);
    lsm_import_close(import, fixture.io);
    lsm_export_close(export, other.io);
}

static void open_one(struct fixture *to, const char *directory)
{
    struct io *io = sim_disk_io(disk);
    ck_assert_int_eq(io_make_directory_wait(io, directory), STATUS_OK);
    fixture_init(to, io, keyring, directory);
    to->options.trees = trees;
    to->options.trees_count = 3;
    ck_assert_int_eq(fixture_open(to), STATUS_OK);
}

static void set_up(void)
{
    static const uint8_t cluster[seal_id_size] = {3};
    trees[0] = fixture_trees[0];
    trees[1] = fixture_trees[1];
    trees[2] = (struct lsm_tree_options){
        .id = own_tree, .name = "own", .kind = LSM_BYTES, .regional = true};
    disk = sim_disk_create(1);
    adopted_count = 0;
    ck_assert_int_eq(keyring_create_in_memory(cluster, false, &keyring), STATUS_OK);
    open_one(&fixture, "lsm");
    open_one(&other, "other");
    lsm_attachment_set(fixture.lsm, bytes_of_text("our members"));
    transfer_fill(&fixture, 500, 1);
    for (unsigned i = 0; i < own_count; i++) {
        put_own(&fixture, i, "ours");
        put_own(&other, i, "theirs");
        if (i % 100 == 50)
            seal(&fixture);
    }
    lsm_attachment_set(other.lsm, bytes_of_text("their members"));
    transfer_fill(&other, 1000, 2);
    transfer_checkpoint(&other, "checkpoint");
    stage();
    seal(&fixture);
}

static void tear_down(void)
{
    fixture_close(&fixture);
    fixture_close(&other);
    ck_assert_uint_eq(sim_disk_open_count(disk), 0);
    keyring_close(keyring);
    sim_disk_destroy(disk);
}

/* Ours but for the version, and told apart by its state. */
static struct lsm_mark adopting_mark(void)
{
    struct lsm_mark mark = fixture.mark;
    mark.version = other.mark.version;
    mark.state_size = 8;
    memset(mark.state, 'm', 8);
    return mark;
}

static void expect_adopted(const struct lsm_mark *mark)
{
    ck_assert_uint_eq(transfer_digest(&fixture, UINT64_MAX), transfer_digest(&other, UINT64_MAX));
    ck_assert_uint_eq(transfer_digest(&fixture, other.mark.version - 30),
                      transfer_digest(&other, other.mark.version - 30));
    expect_own("ours");
    ck_assert(bytes_equal(lsm_attachment(fixture.lsm), bytes_of_text("our members")));
    ck_assert_uint_eq(lsm_installed_index(fixture.lsm), mark->index);
    ck_assert_uint_eq(lsm_installed_mark(fixture.lsm)->version, other.mark.version);
    ck_assert_mem_eq(lsm_installed_mark(fixture.lsm)->state, mark->state, 8);
}

/* A view that is open sees the old; writing goes on; a restart, and compactions, find the same. */
START_TEST(test_adopts_what_is_shared)
{
    struct lsm_view *view;

    set_up();
    const struct lsm_mark mark = adopting_mark();
    uint64_t before = transfer_digest(&fixture, UINT64_MAX);
    ck_assert_int_eq(lsm_view_open(fixture.lsm, UINT64_MAX, &view), STATUS_OK);
    lsm_adopt(fixture.lsm, "staging", &mark, on_adopted, NULL);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert_uint_eq(adopted_count, 1);
    ck_assert_int_eq(adopted_status, STATUS_OK);
    lsm_view_close(view);
    ck_assert_uint_ne(transfer_digest(&fixture, UINT64_MAX), before);
    expect_adopted(&mark);
    ck_assert(!sim_disk_exists(disk, "staging"));

    fixture_close(&fixture);
    ck_assert_msg(fixture_open(&fixture) == STATUS_OK, "%s", fixture.error.text);
    expect_adopted(&mark);
    ck_assert_uint_eq(fixture.mark.index, mark.index);
    for (unsigned i = 0; i < own_count; i++)
        put_own(&fixture, i, "newer");
    fixture.mark.version = other.mark.version;
    transfer_fill(&fixture, 900, 3);
    transfer_fill(&other, 900, 3);
    seal(&fixture);
    expect_own("newer");
    ck_assert_uint_eq(transfer_digest(&fixture, UINT64_MAX), transfer_digest(&other, UINT64_MAX));
    tear_down();
}
END_TEST

/* Another version than what is staged has, a directory that is not there, a disk that fills. */
START_TEST(test_refusals_leave_the_old)
{
    set_up();
    struct lsm_mark mark = adopting_mark();
    uint64_t before = transfer_digest(&fixture, UINT64_MAX);
    mark.version++;
    lsm_adopt(fixture.lsm, "staging", &mark, on_adopted, NULL);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert_int_eq(adopted_status, STATUS_INVALID_ARGUMENT);
    mark.version--;
    lsm_adopt(fixture.lsm, "nowhere", &mark, on_adopted, NULL);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert_int_eq(adopted_status, STATUS_CORRUPT);
    ck_assert_uint_eq(transfer_digest(&fixture, UINT64_MAX), before);
    expect_own("ours");

    uint64_t used = sim_disk_used(disk);
    unsigned full_count = 0;
    for (uint64_t more = 0; more < 40; more += 4) {
        sim_disk_capacity(disk, used + more * 1024);
        lsm_adopt(fixture.lsm, "staging", &mark, on_adopted, NULL);
        ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
        if (adopted_status == STATUS_OK)
            break;
        ck_assert_int_eq(adopted_status, STATUS_DISK_FULL);
        expect_own("ours");
        full_count++;
    }
    ck_assert_uint_gt(full_count, 0);
    ck_assert_int_eq(adopted_status, STATUS_OK);
    sim_disk_capacity(disk, (uint64_t)1 << 40);
    expect_adopted(&mark);
    tear_down();
}
END_TEST

/* Closed at any moment of it, the LSM opens with the old content or the new. */
START_TEST(test_closed_within)
{
    unsigned old_count = 0;
    unsigned new_count = 0;
    for (unsigned steps = 0; steps < 7; steps++) {
        set_up();
        const struct lsm_mark mark = adopting_mark();
        uint64_t before = transfer_digest(&fixture, UINT64_MAX);
        lsm_adopt(fixture.lsm, "staging", &mark, on_adopted, NULL);
        struct lsm_job *job = lsm_job_take(fixture.lsm);
        bool finished = false;
        for (unsigned i = 0; i < steps && !finished; i++)
            finished = lsm_job_step(job, fixture.io);
        ck_assert_int_eq(lsm_job_return(fixture.lsm, job, &fixture.error), STATUS_OK);
        fixture_close(&fixture);
        ck_assert_msg(fixture_open(&fixture) == STATUS_OK, "%s", fixture.error.text);
        if (fixture.mark.version == other.mark.version) {
            expect_adopted(&mark);
            new_count++;
        } else {
            ck_assert_uint_eq(transfer_digest(&fixture, UINT64_MAX), before);
            expect_own("ours");
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
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, test_adopts_what_is_shared);
    tcase_add_test(tests, test_refusals_leave_the_old);
    tcase_add_test(tests, test_closed_within);
}
