/* SPDX-License-Identifier: Apache-2.0 */
/* Regional trees: written without a new version, and no part of what a version tells. */
#include "storage/io/blocking.h"
#include "storage/lsm/lsm.h"
#include "storage/seal/registry.h"
#include "tests/sim/disk.h"
#include "tests/unit/storage_lsm/fixture.h"

enum { regional_tree = 9 };

static const struct lsm_tree_options trees[] = {
    {.id = fixture_bytes_tree, .name = "records", .kind = LSM_BYTES},
    {.id = regional_tree, .name = "own", .kind = LSM_BYTES, .regional = true},
};

static struct sim_disk *disk;
static struct keyring *keyring;
static struct fixture fixtures[2]; /* the second has no regional writes */

static void set_up(unsigned trees_count)
{
    static const uint8_t cluster[seal_id_size] = {3};
    disk = sim_disk_create(1);
    struct io *io = sim_disk_io(disk);
    ck_assert_int_eq(keyring_create_in_memory(cluster, false, &keyring), STATUS_OK);
    for (unsigned i = 0; i < 2; i++) {
        const char *directory = i == 0 ? "one" : "two";
        ck_assert_int_eq(io_make_directory_wait(io, directory), STATUS_OK);
        fixture_init(&fixtures[i], io, keyring, directory);
        fixtures[i].options.trees = trees;
        fixtures[i].options.trees_count = trees_count;
        fixtures[i].options.table_size = 4 * 1024;
        fixtures[i].options.memtable_size = 24 * 1024;
        ck_assert_int_eq(fixture_open(&fixtures[i]), STATUS_OK);
    }
}

static void tear_down(void)
{
    for (unsigned i = 0; i < 2; i++)
        fixture_close(&fixtures[i]);
    ck_assert_uint_eq(sim_disk_open_count(disk), 0);
    keyring_close(keyring);
    sim_disk_destroy(disk);
}

/* Moves the index on, and not the version. NULL: removes. */
static void put_own(struct fixture *fixture, const char *key, const char *value)
{
    const struct lsm_write write = {.tree = regional_tree,
                                    .deletion = value == NULL,
                                    .key = bytes_of_text(key),
                                    .value =
                                        value == NULL ? (struct bytes){0} : bytes_of_text(value)};
    while (!lsm_has_room(fixture->lsm, 1000))
        ck_assert_int_eq(fixture_run_job(fixture), STATUS_OK);
    fixture->mark.index++;
    lsm_publish(fixture->lsm, &write, 1, &fixture->mark);
}

static void put(struct fixture *fixture, unsigned number)
{
    char key[32];
    char value[100];
    snprintf(key, sizeof key, "key-%04u", number % 97);
    memset(value, 'a' + (int)(number % 26), sizeof value);
    const struct lsm_write write = {.tree = fixture_bytes_tree,
                                    .key = bytes_of_text(key),
                                    .value = bytes_of(value, sizeof value)};
    while (!lsm_has_room(fixture->lsm, 1000))
        ck_assert_int_eq(fixture_run_job(fixture), STATUS_OK);
    fixture_publish(fixture, &write, 1);
}

static void expect_in(struct fixture *fixture, struct lsm_view *view, const char *key,
                      const char *value)
{
    struct lsm_value got;
    enum status status = fixture_get(fixture, view, regional_tree, bytes_of_text(key), &got);
    ck_assert_int_eq(status, value == NULL ? STATUS_NOT_FOUND : STATUS_OK);
    if (value != NULL)
        ck_assert(bytes_equal(got.value, bytes_of_text(value)));
}

static void expect(uint64_t version, const char *key, const char *value)
{
    struct lsm_view *view;
    ck_assert_int_eq(lsm_view_open(fixtures[0].lsm, version, &view), STATUS_OK);
    expect_in(&fixtures[0], view, key, value);
    lsm_view_close(view);
}

static size_t count_own(bool reverse)
{
    struct lsm_view *view;
    struct lsm_iterator *iterator;
    struct lsm_item item;
    size_t count = 0;
    ck_assert_int_eq(lsm_view_open(fixtures[0].lsm, UINT64_MAX, &view), STATUS_OK);
    ck_assert_int_eq(lsm_iterator_open(view, regional_tree, (struct bytes){0}, (struct bytes){0},
                                       reverse, &iterator),
                     STATUS_OK);
    while (fixture_next(&fixtures[0], iterator, &item) == STATUS_OK)
        count++;
    lsm_iterator_close(iterator);
    lsm_view_close(view);
    return count;
}

static void on_scrubbed(void *context, enum status status, uint64_t version, struct hash128 digest)
{
    (void)version;
    ck_assert_int_eq(status, STATUS_OK);
    *(struct hash128 *)context = digest;
}

static struct hash128 scrub(struct fixture *fixture)
{
    struct hash128 digest = {0};
    ck_assert_int_eq(lsm_scrub(fixture->lsm, NULL, 0, on_scrubbed, &digest), STATUS_OK);
    ck_assert_int_eq(fixture_run_jobs(fixture), STATUS_OK);
    ck_assert(digest.low != 0);
    return digest;
}

START_TEST(test_written_without_a_version)
{
    struct lsm_view *view;
    set_up(2);
    put(&fixtures[0], 1);
    put_own(&fixtures[0], "a", "1");
    ck_assert_int_eq(lsm_view_open(fixtures[0].lsm, UINT64_MAX, &view), STATUS_OK);
    put_own(&fixtures[0], "a", "2");
    put_own(&fixtures[0], "b", "3");
    /* A view sees what was newest as it was opened. */
    expect_in(&fixtures[0], view, "a", "1");
    expect_in(&fixtures[0], view, "b", NULL);
    lsm_view_close(view);
    expect(1, "a", "2");
    put(&fixtures[0], 2);
    /* Whatever version it is of. */
    expect(1, "b", "3");
    put_own(&fixtures[0], "b", NULL);
    expect(UINT64_MAX, "b", NULL);
    ck_assert_uint_eq(count_own(false), 1);
    tear_down();
}
END_TEST

/* Many at one version, over many tables; of each key the newest is left. */
START_TEST(test_flushed_compacted_and_found_again)
{
    char key[16];
    char value[120];
    set_up(2);
    put(&fixtures[0], 1);
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = 0;
    for (unsigned round = 0; round < 4; round++) {
        value[0] = (char)('0' + round);
        for (unsigned i = 0; i < 600; i++) {
            snprintf(key, sizeof key, "%05u", i * 7919 % 600);
            put_own(&fixtures[0], key, round == 3 && i % 2 == 0 ? NULL : value);
        }
        ck_assert_int_eq(fixture_run_jobs(&fixtures[0]), STATUS_OK);
    }
    lsm_seal(fixtures[0].lsm);
    ck_assert_int_eq(fixture_run_jobs(&fixtures[0]), STATUS_OK);
    ck_assert_uint_gt(lsm_statistics(fixtures[0].lsm).compactions_count, 0);
    ck_assert_uint_eq(fixtures[0].mark.version, 1);
    for (unsigned again = 0; again < 2; again++) {
        ck_assert_uint_eq(count_own(again != 0), 300);
        for (unsigned i = 0; i < 600; i++) {
            snprintf(key, sizeof key, "%05u", i * 7919 % 600);
            expect(UINT64_MAX, key, i % 2 == 0 ? NULL : value);
        }
        fixture_close(&fixtures[0]);
        ck_assert_msg(fixture_open(&fixtures[0]) == STATUS_OK, "%s", fixtures[0].error.text);
        ck_assert_uint_eq(fixtures[0].mark.version, 1);
        ck_assert_uint_eq(fixtures[0].mark.index, 1 + 4 * 600);
    }
    tear_down();
}
END_TEST

START_TEST(test_a_scrub_leaves_them_out)
{
    set_up(2);
    for (unsigned i = 0; i < 1000; i++) {
        put(&fixtures[0], i);
        put(&fixtures[1], i);
        if (i % 3 == 0)
            put_own(&fixtures[0], i % 2 == 0 ? "even" : "odd", "1");
    }
    struct hash128 one = scrub(&fixtures[0]);
    struct hash128 two = scrub(&fixtures[1]);
    ck_assert_mem_eq(&one, &two, sizeof one);
    put_own(&fixtures[0], "more", "1");
    one = scrub(&fixtures[0]);
    ck_assert_mem_eq(&one, &two, sizeof one);
    tear_down();
}
END_TEST

/* A store that was made before there was such a tree. */
START_TEST(test_a_tree_comes_later)
{
    set_up(1);
    for (unsigned i = 0; i < 500; i++)
        put(&fixtures[0], i);
    lsm_seal(fixtures[0].lsm);
    ck_assert_int_eq(fixture_run_jobs(&fixtures[0]), STATUS_OK);
    fixture_close(&fixtures[0]);
    fixtures[0].options.trees_count = 2;
    ck_assert_msg(fixture_open(&fixtures[0]) == STATUS_OK, "%s", fixtures[0].error.text);
    ck_assert_uint_eq(count_own(false), 0);
    put_own(&fixtures[0], "a", "1");
    expect(UINT64_MAX, "a", "1");
    lsm_seal(fixtures[0].lsm);
    ck_assert_int_eq(fixture_run_jobs(&fixtures[0]), STATUS_OK);
    fixture_close(&fixtures[0]);
    ck_assert_msg(fixture_open(&fixtures[0]) == STATUS_OK, "%s", fixtures[0].error.text);
    expect(UINT64_MAX, "a", "1");
    tear_down();
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_written_without_a_version);
    tcase_add_test(tests, test_flushed_compacted_and_found_again);
    tcase_add_test(tests, test_a_scrub_leaves_them_out);
    tcase_add_test(tests, test_a_tree_comes_later);
}
