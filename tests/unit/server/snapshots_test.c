/* SPDX-License-Identifier: Apache-2.0 */
#include "server/snapshots.h"

#include "tests/unit/unit.h"

static struct snapshots snapshots;

static struct snapshot *open_one(uint64_t version, uint64_t now_ns)
{
    struct snapshot *snapshot;
    ck_assert_int_eq(snapshots_open(&snapshots, "app-1", "shop 1.0", version, now_ns, &snapshot),
                     STATUS_OK);
    return snapshot;
}

START_TEST(test_the_oldest_pins)
{
    ck_assert_int_eq(snapshots_init(&snapshots, 100, 5), STATUS_OK);
    ck_assert_uint_eq(snapshots_oldest(&snapshots, 42), 42);
    struct snapshot *first = open_one(10, 0);
    open_one(10, 0);
    struct snapshot *third = open_one(12, 50);
    ck_assert_uint_eq(snapshots_oldest(&snapshots, 42), 10);
    snapshots_close(&snapshots, first);
    ck_assert_uint_eq(snapshots_oldest(&snapshots, 42), 10);
    ck_assert_uint_eq(snapshots_expire(&snapshots, 100), 1);
    ck_assert_uint_eq(snapshots_oldest(&snapshots, 42), 12);
    snapshots_renew(&snapshots, third, 140);
    ck_assert_uint_eq(snapshots_expire(&snapshots, 239), 0);
    ck_assert_uint_eq(snapshots_expire(&snapshots, 240), 1);
    ck_assert_uint_eq(snapshots.count, 0);
    snapshots_free(&snapshots);
}
END_TEST

START_TEST(test_ids_are_the_owners_and_never_used_again)
{
    ck_assert_int_eq(snapshots_init(&snapshots, 100, 5), STATUS_OK);
    struct snapshot *snapshot = open_one(1, 0);
    uint64_t id = snapshot->id;
    ck_assert_ptr_eq(snapshots_find(&snapshots, id, "app-1"), snapshot);
    ck_assert_ptr_eq(snapshots_find(&snapshots, id, NULL), snapshot);
    ck_assert_ptr_null(snapshots_find(&snapshots, id, "app-2"));
    ck_assert_ptr_null(snapshots_find(&snapshots, 0, NULL));
    ck_assert_ptr_null(snapshots_find(&snapshots, UINT64_MAX, NULL));
    snapshots_close(&snapshots, snapshot);
    ck_assert_ptr_null(snapshots_find(&snapshots, id, "app-1"));
    for (uint64_t i = 0; i < limit_snapshots_count; i++)
        ck_assert_uint_ne(open_one(2, 0)->id, id);
    ck_assert_int_eq(snapshots_open(&snapshots, "a", "b", 2, 0, &snapshot), STATUS_BUSY);
    snapshots_free(&snapshots);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_the_oldest_pins);
    tcase_add_test(tests, test_ids_are_the_owners_and_never_used_again);
}
