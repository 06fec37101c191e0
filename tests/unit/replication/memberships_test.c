/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/memberships.h"

#include <stdio.h>

#include "tests/unit/unit.h"

static struct membership of_ids(const uint64_t *ids, unsigned count, const char *prefix)
{
    struct membership membership = {0};
    for (unsigned i = 0; i < count; i++) {
        struct member member = {.id = ids[i], .kinds = MEMBER_VOTER};
        snprintf(member.name, sizeof member.name, "%s%u", prefix, (unsigned)ids[i]);
        ck_assert(membership_set(&membership, &member));
    }
    return membership;
}

static void add(struct memberships *memberships, uint64_t index, unsigned count)
{
    const uint64_t ids[] = {1, 2, 3, 4, 5, 6, 7};
    struct membership membership = of_ids(ids, count, "n");
    ck_assert_int_eq(memberships_reserve(memberships, 1), STATUS_OK);
    memberships_add(memberships, index, &membership);
}

START_TEST(test_the_newest_holds)
{
    struct memberships memberships;
    const struct membership none = {0};
    ck_assert_int_eq(memberships_begin(&memberships, 10, &none), STATUS_OK);
    ck_assert_uint_eq(memberships_newest(&memberships)->count, 0);
    for (unsigned i = 1; i <= 6; i++)
        add(&memberships, 10 + 10 * i, i);
    ck_assert_uint_eq(memberships_newest(&memberships)->count, 6);
    memberships_cut(&memberships, 51);
    ck_assert_uint_eq(memberships_newest(&memberships)->count, 4);
    memberships_cut(&memberships, 50);
    ck_assert_uint_eq(memberships_newest(&memberships)->count, 3);
    /* What is committed stays, older ones go. */
    memberships_committed(&memberships, 35);
    ck_assert_uint_eq(memberships.count, 2);
    ck_assert_uint_eq(memberships.items[0].index, 30);
    memberships_cut(&memberships, 36);
    ck_assert_uint_eq(memberships_newest(&memberships)->count, 2);
    memberships_cut(&memberships, 1); /* the last one is the base's */
    ck_assert_uint_eq(memberships_newest(&memberships)->count, 2);
    memberships_free(&memberships);
}
END_TEST

START_TEST(test_one_that_was_lost_comes_back_in_its_place)
{
    struct memberships memberships;
    const struct membership none = {0};
    ck_assert_int_eq(memberships_begin(&memberships, 0, &none), STATUS_OK);
    add(&memberships, 10, 1);
    add(&memberships, 30, 3);
    add(&memberships, 20, 2);
    ck_assert_uint_eq(memberships_newest(&memberships)->count, 3);
    ck_assert_uint_eq(memberships.items[2].index, 20);
    memberships_free(&memberships);
}
END_TEST

START_TEST(test_a_snapshot)
{
    struct memberships memberships;
    const uint64_t ids[] = {8, 9};
    const struct membership none = {0};
    const struct membership installed = of_ids(ids, 2, "s");
    ck_assert_int_eq(memberships_begin(&memberships, 0, &none), STATUS_OK);
    add(&memberships, 10, 1);
    add(&memberships, 30, 3);
    memberships_install(&memberships, 20, &installed);
    ck_assert_uint_eq(memberships.count, 2);
    ck_assert_str_eq(memberships.items[0].membership.members[0].name, "s8");
    ck_assert_uint_eq(memberships_newest(&memberships)->count, 3);
    memberships_install(&memberships, 40, &installed);
    ck_assert_uint_eq(memberships.count, 1);
    ck_assert_uint_eq(memberships_newest(&memberships)->count, 2);
    memberships_free(&memberships);
}
END_TEST

START_TEST(test_configurations)
{
    const uint64_t old_ids[] = {1, 2, 3};
    const uint64_t new_ids[] = {2, 3, 4};
    const struct membership before = of_ids(old_ids, 3, "old");
    const struct membership asked = of_ids(new_ids, 3, "new");
    const struct raft_configuration joint = {
        .voters = {2, 3, 4},
        .voters_count = 3,
        .outgoing = {1, 2, 3},
        .outgoing_count = 3,
    };
    struct membership membership;
    ck_assert(memberships_of_configuration(&joint, &asked, &before, &membership));
    ck_assert_uint_eq(membership.count, 4);
    ck_assert(membership_is_joint(&membership));
    ck_assert_uint_eq(membership_find(&membership, 1)->kinds, MEMBER_OUTGOING);
    ck_assert_uint_eq(membership_find(&membership, 2)->kinds, MEMBER_VOTER | MEMBER_OUTGOING);
    ck_assert_uint_eq(membership_find(&membership, 4)->kinds, MEMBER_VOTER);
    ck_assert_str_eq(membership_find(&membership, 1)->name, "old1");
    ck_assert_str_eq(membership_find(&membership, 2)->name, "new2");
    struct raft_configuration back = memberships_configuration(&membership);
    ck_assert_uint_eq(back.voters_count, 3);
    ck_assert_uint_eq(back.outgoing_count, 3);
    ck_assert_uint_eq(back.learners_count, 0);
    /* Of whom nothing is known no membership can be made. */
    const struct raft_configuration stranger = {.learners = {99}, .learners_count = 1};
    ck_assert(!memberships_of_configuration(&stranger, &asked, &before, &membership));
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_the_newest_holds);
    tcase_add_test(tests, test_one_that_was_lost_comes_back_in_its_place);
    tcase_add_test(tests, test_a_snapshot);
    tcase_add_test(tests, test_configurations);
}
