/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/lsm/lsm.h"

#include <stdlib.h>
#include <unistd.h>

#include "storage/io/uring.h"
#include "storage/lsm/table.h"
#include "storage/seal/registry.h"
#include "tests/unit/storage_lsm/fixture.h"

static struct fixture fixture;

static void set_up(void)
{
    static const uint8_t cluster[seal_id_size] = {1};
    struct io *io;
    struct keyring *keyring;
    struct error error = {0};
    ck_assert_int_eq(io_uring_open(&(struct io_uring_options){0}, &io, &error), STATUS_OK);
    ck_assert_int_eq(keyring_create_in_memory(cluster, false, &keyring), STATUS_OK);
    fixture_init(&fixture, io, keyring, unit_directory());
    ck_assert_int_eq(fixture_open(&fixture), STATUS_OK);
    ck_assert(fixture.report.created);
}

static void tear_down(void)
{
    fixture_close(&fixture);
    keyring_close(fixture.keyring);
    io_uring_close(fixture.io);
}

static void reopen(void)
{
    fixture_close(&fixture);
    ck_assert_msg(fixture_open(&fixture) == STATUS_OK, "%s", fixture.error.text);
}

static void expect(uint64_t version, const char *key, const char *value)
{
    struct lsm_view *view;
    struct lsm_value got;
    ck_assert_int_eq(lsm_view_open(fixture.lsm, version, &view), STATUS_OK);
    enum status status = fixture_get(&fixture, view, fixture_bytes_tree, bytes_of_text(key), &got);
    ck_assert_int_eq(status, value == NULL ? STATUS_NOT_FOUND : STATUS_OK);
    if (value != NULL)
        ck_assert(bytes_equal(got.value, bytes_of_text(value)));
    lsm_view_close(view);
}

/* The visible keys, one letter each, in the order they come. */
static void expect_scan(uint64_t version, const char *start, const char *end, bool reverse,
                        const char *keys)
{
    struct lsm_view *view;
    struct lsm_iterator *iterator;
    struct lsm_item item;
    char seen[64] = "";
    enum status status;
    ck_assert_int_eq(lsm_view_open(fixture.lsm, version, &view), STATUS_OK);
    ck_assert_int_eq(lsm_iterator_open(view, fixture_bytes_tree, bytes_of_text(start),
                                       bytes_of_text(end), reverse, &iterator),
                     STATUS_OK);
    while ((status = fixture_next(&fixture, iterator, &item)) == STATUS_OK)
        strncat(seen, (const char *)item.key.data, 1);
    ck_assert_int_eq(status, STATUS_END);
    ck_assert_str_eq(seen, keys);
    lsm_iterator_close(iterator);
    lsm_view_close(view);
}

/* Every state of the same few entries: in memory, flushed, half of each, reopened. */
static void check_versions(void)
{
    expect(1, "a", "one");
    expect(1, "b", NULL);
    expect(2, "b", "two");
    expect(3, "a", "three");
    expect(4, "b", NULL);
    expect(UINT64_MAX, "c", "five");
    expect_scan(2, "", "", false, "ab");
    expect_scan(UINT64_MAX, "", "", false, "ac");
    expect_scan(UINT64_MAX, "", "", true, "ca");
    expect_scan(3, "", "", true, "ba");
    expect_scan(3, "b", "", false, "b");
    expect_scan(3, "", "b", true, "a");
    expect_scan(3, "b", "b", false, "");
}

START_TEST(test_versions)
{
    set_up();
    fixture_put(&fixture, "a", "one");
    fixture_put(&fixture, "b", "two");
    fixture_put(&fixture, "a", "three");
    fixture_put(&fixture, "b", NULL);
    fixture_put(&fixture, "c", "five");
    check_versions();
    lsm_seal(fixture.lsm);
    check_versions();
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert(lsm_is_idle(fixture.lsm));
    ck_assert_uint_eq(lsm_installed_index(fixture.lsm), 5);
    check_versions();
    reopen();
    ck_assert_uint_eq(fixture.mark.index, 5);
    ck_assert_uint_eq(fixture.mark.version, 5);
    ck_assert_uint_eq(fixture.report.tables_count, 1);
    check_versions();
    tear_down();
}
END_TEST

START_TEST(test_what_is_not_installed_is_dropped)
{
    set_up();
    fixture_put(&fixture, "a", "one");
    lsm_seal(fixture.lsm);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    fixture_put(&fixture, "a", "two");
    fixture_put(&fixture, "b", "three");
    reopen();
    ck_assert_uint_eq(fixture.mark.version, 1);
    expect(UINT64_MAX, "a", "one");
    expect(UINT64_MAX, "b", NULL);
    tear_down();
}
END_TEST

/* A mark without writes is installed too: the log may be let go of. */
START_TEST(test_mark_alone_is_installed)
{
    set_up();
    fixture_put(&fixture, "a", "one");
    fixture_publish(&fixture, NULL, 0);
    lsm_seal(fixture.lsm);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    fixture_publish(&fixture, NULL, 0);
    lsm_seal(fixture.lsm);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert_uint_eq(lsm_installed_index(fixture.lsm), 3);
    reopen();
    ck_assert_uint_eq(fixture.mark.index, 3);
    ck_assert_uint_eq(load_u64(fixture.mark.state), 3);
    expect(UINT64_MAX, "a", "one");
    tear_down();
}
END_TEST

/* A view keeps its tables and memtables, whatever is flushed, compacted and dropped meanwhile. */
static void checkpoint_done(void *context, enum status status, const struct lsm_mark *mark)
{
    (void)mark;
    *(enum status *)context = status;
}

static void attach(const char *text)
{
    lsm_attachment_set(fixture.lsm, bytes_of_text(text));
}

static void expect_attachment(const char *text)
{
    ck_assert(bytes_equal(lsm_attachment(fixture.lsm), bytes_of_text(text)));
}

/* What comes back after a restart is the attachment of the mark that comes back: not the newest,
 * nor one that was set and never published with. */
START_TEST(test_attachment_goes_with_its_mark)
{
    set_up();
    expect_attachment("");
    attach("one");
    fixture_put(&fixture, "a", "1");
    attach("two");
    lsm_seal(fixture.lsm); /* at the mark of "one" */
    fixture_put(&fixture, "b", "2");
    attach("three");
    expect_attachment("three");
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    reopen();
    expect_attachment("one");

    attach("two");
    fixture_put(&fixture, "b", "2");
    lsm_seal(fixture.lsm);
    attach("three");
    fixture.mark.index++;
    lsm_publish(fixture.lsm, NULL, 0, &fixture.mark); /* a mark without writes */
    lsm_seal(fixture.lsm);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    reopen();
    expect_attachment("three");

    enum status status = STATUS_AGAIN;
    char copy[300];
    snprintf(copy, sizeof copy, "%s/copy", unit_directory());
    lsm_checkpoint(fixture.lsm, copy, checkpoint_done, &status);
    attach("four");
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert_int_eq(status, STATUS_OK);
    fixture_close(&fixture);
    ck_assert_uint_lt(strlen(copy), sizeof fixture.directory);
    memcpy(fixture.directory, copy, strlen(copy) + 1);
    ck_assert_int_eq(fixture_open(&fixture), STATUS_OK);
    expect_attachment("three");
    tear_down();
}
END_TEST

START_TEST(test_view_outlives_compaction)
{
    struct lsm_view *view;
    struct lsm_value value;
    set_up();
    fixture_put(&fixture, "k", "old");
    lsm_seal(fixture.lsm);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert_int_eq(lsm_view_open(fixture.lsm, UINT64_MAX, &view), STATUS_OK);
    for (int i = 0; i < 12; i++) {
        fixture_put(&fixture, "k", "new");
        lsm_horizon_set(fixture.lsm, fixture.mark.version);
        lsm_seal(fixture.lsm);
        ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    }
    ck_assert_uint_gt(lsm_statistics(fixture.lsm).compactions_count, 0);
    ck_assert_uint_eq(lsm_statistics(fixture.lsm).compactions_running, 0);
    ck_assert_int_eq(fixture_get(&fixture, view, fixture_bytes_tree, bytes_of_text("k"), &value),
                     STATUS_OK);
    ck_assert(bytes_equal(value.value, bytes_of_text("old")));
    lsm_view_close(view);
    struct lsm_view *late;
    ck_assert_int_eq(lsm_view_open(fixture.lsm, 1, &late), STATUS_SNAPSHOT_TOO_OLD);
    expect(UINT64_MAX, "k", "new");
    tear_down();
}
END_TEST

START_TEST(test_changed)
{
    struct lsm_view *view;
    bool changed;
    struct bytes a = bytes_of_text("a");
    struct bytes c = bytes_of_text("c");
    struct bytes none = {0};
    set_up();
    fixture_put(&fixture, "a", "one");
    fixture_put(&fixture, "d", "two");
    for (int flushed = 0; flushed < 2; flushed++) {
        ck_assert_int_eq(lsm_view_open(fixture.lsm, 2, &view), STATUS_OK);
        const struct {
            struct bytes start, end;
            uint64_t since;
            bool changed;
        } cases[] = {{a, c, 0, true},
                     {a, c, 1, false},
                     {a, none, 1, true},
                     {c, none, 1, true},
                     {c, none, 2, false},
                     {none, none, 0, true},
                     {a, bytes_of("a", 2), 0, true},
                     {a, bytes_of("a", 2), 1, false}};
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            ck_assert_int_eq(fixture_changed(&fixture, view, fixture_bytes_tree, cases[i].start,
                                             cases[i].end, cases[i].since, &changed),
                             STATUS_OK);
            ck_assert_msg(changed == cases[i].changed, "case %zu flushed %d", i, flushed);
        }
        lsm_view_close(view);
        lsm_seal(fixture.lsm);
        ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    }
    tear_down();
}
END_TEST

/* Files that no manifest names are what a crash left. */
START_TEST(test_leftovers_are_removed)
{
    char path[table_path_size];
    char temporary[600];
    set_up();
    fixture_put(&fixture, "a", "one");
    lsm_seal(fixture.lsm);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert(table_path(fixture.directory, 77, path));
    snprintf(temporary, sizeof temporary, "%s/manifest.a.tmp", fixture.directory);
    FILE *leftover = fopen(path, "w");
    ck_assert_ptr_nonnull(leftover);
    fclose(leftover);
    leftover = fopen(temporary, "w");
    ck_assert_ptr_nonnull(leftover);
    fclose(leftover);
    reopen();
    ck_assert_uint_eq(fixture.report.removed_count, 2);
    ck_assert_int_ne(access(path, F_OK), 0);
    ck_assert_int_ne(access(temporary, F_OK), 0);
    expect(UINT64_MAX, "a", "one");
    tear_down();
}
END_TEST

START_TEST(test_lost_files_are_found)
{
    char path[table_path_size];
    char lost[table_path_size + 8];
    set_up();
    fixture_put(&fixture, "a", "one");
    lsm_seal(fixture.lsm);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    fixture_close(&fixture);
    ck_assert(table_path(fixture.directory, 1, path));
    snprintf(lost, sizeof lost, "%s.lost", path);
    ck_assert_int_eq(rename(path, lost), 0);
    ck_assert_int_eq(fixture_open(&fixture), STATUS_CORRUPT);
    ck_assert_ptr_nonnull(strstr(fixture.error.text, "0000000000000001.table"));
    ck_assert_int_eq(rename(lost, path), 0);
    ck_assert_int_eq(truncate(path, 100), 0);
    ck_assert_int_eq(fixture_open(&fixture), STATUS_CORRUPT);

    char manifest[600];
    snprintf(manifest, sizeof manifest, "%s/manifest.a", fixture.directory);
    ck_assert_int_eq(unlink(manifest), 0);
    snprintf(manifest, sizeof manifest, "%s/manifest.b", fixture.directory);
    ck_assert_int_eq(unlink(manifest), 0);
    ck_assert_int_eq(fixture_open(&fixture), STATUS_CORRUPT);
    keyring_close(fixture.keyring);
    io_uring_close(fixture.io);
}
END_TEST

/* Trees that this version lacks, or knows in another form, are of a newer one. */
START_TEST(test_unknown_trees_are_refused)
{
    struct lsm_tree_options other[2] = {fixture_trees[0], fixture_trees[1]};
    set_up();
    fixture_put(&fixture, "a", "one");
    lsm_seal(fixture.lsm);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    fixture_close(&fixture);
    fixture.options.trees_count = 1;
    ck_assert_int_eq(fixture_open(&fixture), STATUS_NEWER_FORMAT);
    fixture.options.trees_count = 2;
    fixture.options.trees = other;
    other[1].value_size = 8;
    ck_assert_int_eq(fixture_open(&fixture), STATUS_NEWER_FORMAT);
    other[1].value_size = 4;
    ck_assert_int_eq(fixture_open(&fixture), STATUS_OK);
    tear_down();
}
END_TEST

/* The horizon that a manifest keeps may be above its mark: replay reads at the mark and upwards. */
START_TEST(test_horizon_ahead_of_mark)
{
    struct lsm_view *view;
    set_up();
    fixture_put(&fixture, "a", "one");
    fixture_put(&fixture, "a", "two");
    lsm_seal(fixture.lsm);
    fixture_put(&fixture, "a", "three");
    lsm_horizon_set(fixture.lsm, 3);
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    reopen();
    ck_assert_uint_eq(fixture.mark.version, 2);
    expect(2, "a", "two");
    ck_assert_int_eq(lsm_view_open(fixture.lsm, 1, &view), STATUS_SNAPSHOT_TOO_OLD);
    fixture_put(&fixture, "a", "three");
    expect(2, "a", "two");
    expect(3, "a", "three");
    tear_down();
}
END_TEST

START_TEST(test_pressure_is_gradual)
{
    unsigned last = 0;
    unsigned between = 0;
    set_up();
    for (unsigned i = 0; i < fixture.options.memtables_max; i++) {
        ck_assert(lsm_has_room(fixture.lsm, 100));
        fixture_put(&fixture, "a", "one");
        lsm_seal(fixture.lsm);
        ck_assert_uint_ge(lsm_pressure(fixture.lsm), last);
        last = lsm_pressure(fixture.lsm);
        between += last > 0 && last < 100;
    }
    ck_assert_uint_gt(between, 1);
    ck_assert_uint_eq(last, 100);
    ck_assert(!lsm_has_room(fixture.lsm, 100));
    ck_assert_int_eq(fixture_run_jobs(&fixture), STATUS_OK);
    ck_assert(lsm_has_room(fixture.lsm, 100));
    ck_assert_uint_eq(lsm_pressure(fixture.lsm), 0);
    tear_down();
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_versions);
    tcase_add_test(tests, test_what_is_not_installed_is_dropped);
    tcase_add_test(tests, test_mark_alone_is_installed);
    tcase_add_test(tests, test_attachment_goes_with_its_mark);
    tcase_add_test(tests, test_view_outlives_compaction);
    tcase_add_test(tests, test_changed);
    tcase_add_test(tests, test_leftovers_are_removed);
    tcase_add_test(tests, test_lost_files_are_found);
    tcase_add_test(tests, test_unknown_trees_are_refused);
    tcase_add_test(tests, test_horizon_ahead_of_mark);
    tcase_add_test(tests, test_pressure_is_gradual);
}
