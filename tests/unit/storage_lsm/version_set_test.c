/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/lsm/version_set.h"

#include "tests/unit/unit.h"

static struct table_file *make_file(uint64_t number, const char *min, const char *max,
                                    uint64_t version_min, uint64_t version_max)
{
    struct table_info info = {.number = number,
                              .file_size = 100,
                              .entries_count = 1,
                              .version_min = version_min,
                              .version_max = version_max,
                              .smallest = bytes_of_text(min),
                              .largest = bytes_of_text(max)};
    struct table_file *file = table_file_create(0, &info);
    ck_assert_ptr_nonnull(file);
    return file;
}

static struct version_set *apply(struct version_set *base, const struct version_edit *edit)
{
    struct version_set *set = version_set_apply(base, &edit, 1);
    ck_assert_ptr_nonnull(set);
    return set;
}

static size_t drain(struct list_link *obsolete)
{
    size_t count = 0;
    for (struct list_link *link; (link = list_pop_first(obsolete)) != NULL; count++)
        table_file_free(LIST_ENTRY(link, struct table_file, link));
    return count;
}

/* A table stays as long as any set names it, and is obsolete right after. */
START_TEST(test_files_live_as_long_as_sets)
{
    struct list_link obsolete;
    struct version_edit first = {0};
    struct version_edit second = {0};
    list_init(&obsolete);
    struct version_set *empty = version_set_create(2);
    struct table_file *old = make_file(1, "a", "m", 1, 5);
    struct table_file *kept = make_file(2, "n", "z", 1, 5);
    ck_assert(version_edit_add(&first, kept, 1));
    ck_assert(version_edit_add(&first, old, 1));
    struct version_set *before = apply(empty, &first);
    ck_assert(before->trees[1] == empty->trees[1]);
    ck_assert(before->trees[0]->levels[1].files[0] == old);
    ck_assert_uint_eq(before->trees[0]->levels[1].size, 200);

    struct version_set *view = version_set_hold(before);
    ck_assert(version_edit_remove(&second, old, 1));
    ck_assert(version_edit_add(&second, make_file(3, "a", "k", 6, 9), 0));
    struct version_set *after = apply(before, &second);
    version_set_release(before, &obsolete);
    version_set_release(empty, &obsolete);
    ck_assert(list_is_empty(&obsolete));
    version_set_release(view, &obsolete);
    ck_assert(list_first(&obsolete) == &old->link);
    ck_assert_uint_eq(drain(&obsolete), 1);
    version_set_release(after, &obsolete);
    ck_assert_uint_eq(drain(&obsolete), 2);
    version_edit_free(&first);
    version_edit_free(&second);
}
END_TEST

START_TEST(test_moved_file_stays)
{
    struct list_link obsolete;
    struct version_edit first = {0};
    struct version_edit move = {0};
    list_init(&obsolete);
    struct version_set *empty = version_set_create(1);
    struct table_file *file = make_file(1, "a", "m", 1, 5);
    ck_assert(version_edit_add(&first, file, 0));
    struct version_set *before = apply(empty, &first);
    ck_assert(version_edit_add(&move, file, 1));
    ck_assert(version_edit_remove(&move, file, 0));
    struct version_set *after = apply(before, &move);
    version_set_release(before, &obsolete);
    ck_assert(list_is_empty(&obsolete));
    ck_assert_uint_eq(after->trees[0]->levels[0].count, 0);
    ck_assert(after->trees[0]->levels[1].files[0] == file);
    version_set_release(after, &obsolete);
    version_set_release(empty, &obsolete);
    ck_assert_uint_eq(drain(&obsolete), 1);
    version_edit_free(&first);
    version_edit_free(&move);
}
END_TEST

static void apply_overlapping(void *context)
{
    (void)context;
    struct version_edit edit = {0};
    if (version_edit_add(&edit, make_file(1, "a", "m", 1, 5), 1) &&
        version_edit_add(&edit, make_file(2, "m", "z", 1, 5), 1))
        apply(version_set_create(1), &edit);
}

static void apply_level0_disorder(void *context)
{
    (void)context;
    struct version_edit edit = {0};
    if (version_edit_add(&edit, make_file(1, "a", "m", 1, 5), 0) &&
        version_edit_add(&edit, make_file(2, "m", "z", 5, 9), 0))
        apply(version_set_create(1), &edit);
}

START_TEST(test_bad_edits_are_never_installed)
{
    unit_assert_dies(apply_overlapping, NULL);
    unit_assert_dies(apply_level0_disorder, NULL);
}
END_TEST

START_TEST(test_finding)
{
    struct list_link obsolete;
    struct version_edit edit = {0};
    uint32_t first;
    uint32_t end;
    list_init(&obsolete);
    struct version_set *empty = version_set_create(1);
    ck_assert(version_edit_add(&edit, make_file(1, "b", "d", 1, 5), 1));
    ck_assert(version_edit_add(&edit, make_file(2, "f", "h", 1, 5), 1));
    ck_assert(version_edit_add(&edit, make_file(3, "j", "l", 1, 5), 1));
    struct version_set *set = apply(empty, &edit);
    const struct level *level = &set->trees[0]->levels[1];
    ck_assert_uint_eq(level_find(level, bytes_of_text("a")), 0);
    ck_assert_uint_eq(level_find(level, bytes_of_text("d")), 0);
    ck_assert_uint_eq(level_find(level, bytes_of_text("da")), 1);
    ck_assert_uint_eq(level_find(level, bytes_of_text("m")), 3);
    ck_assert(level_overlap(level, bytes_of_text("d"), bytes_of_text("f"), &first, &end));
    ck_assert_uint_eq(first, 0);
    ck_assert_uint_eq(end, 2);
    ck_assert(!level_overlap(level, bytes_of_text("e"), bytes_of_text("ez"), &first, &end));
    ck_assert(level_overlap(level, bytes_of_text(""), bytes_of_text("zz"), &first, &end));
    ck_assert_uint_eq(end - first, 3);
    version_set_release(set, &obsolete);
    version_set_release(empty, &obsolete);
    ck_assert_uint_eq(drain(&obsolete), 3);
    version_edit_free(&edit);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_files_live_as_long_as_sets);
    tcase_add_test(tests, test_moved_file_stays);
    tcase_add_test(tests, test_bad_edits_are_never_installed);
    tcase_add_test(tests, test_finding);
}
