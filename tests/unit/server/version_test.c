/* SPDX-License-Identifier: Apache-2.0 */
/* Programs of two ages in one region, and in two. */
#include "proto/cluster_version.h"
#include "server/state/state.h"
#include "tests/unit/server/pair_fixture.h"
#include "tests/unit/server/region_fixture.h"

/* ---- A region of three ---- */

static void set_versions(uint32_t first, uint32_t second, uint32_t third)
{
    region_version_max[0] = first;
    region_version_max[1] = second;
    region_version_max[2] = third;
}

static uint32_t active(unsigned number)
{
    return region_facts_of(number).cluster_version;
}

static void run_ms(uint64_t ms)
{
    uint64_t until_ns = sim_disk_now_ns(region_disk) + ms * 1000000;
    for (int turns = 0; sim_disk_now_ns(region_disk) < until_ns; turns++) {
        ck_assert_int_lt(turns, region_turns_max);
        region_turn();
    }
}

static void wait_all_at(uint32_t version)
{
    for (int turns = 0; active(0) != version || active(1) != version || active(2) != version;
         turns++) {
        ck_assert_int_lt(turns, region_turns_max);
        region_turn();
    }
}

static void restart(unsigned number, uint32_t version_max)
{
    region_close_server(number);
    region_version_max[number] = version_max;
    ck_assert_int_eq(region_open_server(number, false), STATUS_OK);
}

/* What the leader says that each can apply. */
static void expect_known(const uint32_t wanted[region_servers_count])
{
    Strait__MemberList list = STRAIT__MEMBER_LIST__INIT;
    struct region_asked asked;
    region_ask(region_wait_leader(), &asked, FRAME_MEMBER_LIST, &list.base);
    ck_assert_int_eq(asked.status, STATUS_OK);
    Strait__MemberListReply *reply = strait__member_list_reply__unpack(
        NULL, region_reply_of(&asked).size, region_reply_of(&asked).data);
    ck_assert_uint_eq(reply->n_members, region_servers_count);
    for (size_t i = 0; i < reply->n_members; i++)
        ck_assert_uint_eq(reply->members[i]->cluster_version_max,
                          wanted[reply->members[i]->name[1] - '0']);
    strait__member_list_reply__free_unpacked(reply, NULL);
    region_forget(&asked);
}

START_TEST(test_it_rises_once_the_last_can)
{
    set_versions(1, 1, 1);
    region_set_up();
    for (unsigned i = 0; i < region_servers_count; i++) {
        region_put(i, "before");
        run_ms(3000);
        for (unsigned other = 0; other < region_servers_count; other++)
            ck_assert_uint_eq(active(other), 1);
        restart(i, 2);
    }
    wait_all_at(2);
    region_put(1, "after");
    region_wait_equal();
    expect_known((const uint32_t[]){2, 2, 2});
    region_tear_down();
}
END_TEST

START_TEST(test_one_that_is_away_or_old_holds_back)
{
    set_versions(1, 2, 1);
    region_set_up();
    restart(0, 2);
    run_ms(5000);
    ck_assert_uint_eq(active(0), 1);
    expect_known((const uint32_t[]){2, 2, 1});
    region_close_server(2);
    region_version_max[2] = 2;
    run_ms(20000);
    ck_assert_uint_eq(active(region_wait_leader()), 1);
    ck_assert_int_eq(region_open_server(2, false), STATUS_OK);
    wait_all_at(2);
    region_tear_down();
}
END_TEST

START_TEST(test_an_older_program_does_not_start)
{
    set_versions(2, 2, 2);
    region_set_up();
    wait_all_at(2);
    region_close_server(1);
    region_version_max[1] = 1;
    ck_assert_int_eq(region_open_server(1, false), STATUS_NEWER_FORMAT);
    ck_assert_ptr_nonnull(strstr(region_servers[1].error.text, "Start the newer program"));
    region_version_max[1] = 2;
    ck_assert_int_eq(region_open_server(1, false), STATUS_OK);
    region_wait_equal();
    region_tear_down();
}
END_TEST

/* One that was put back to the older program meets the entry: it stops there, and goes on with the
 * newer one. */
START_TEST(test_an_older_program_stops_before_the_raise)
{
    set_versions(1, 2, 1);
    region_set_up();
    restart(0, 2);
    const unsigned old = 2;
    restart(old, 2);
    while (active(region_wait_leader()) == 1)
        region_turn();
    region_kill_server(old);
    region_version_max[old] = 1;
    enum status status = region_open_server(old, false);
    if (status == STATUS_OK) {
        for (int turns = 0; !region_servers[old].failed; turns++) {
            ck_assert_int_lt(turns, region_turns_max);
            region_turn();
        }
        ck_assert_uint_eq(active(old), 1);
        ck_assert_ptr_nonnull(strstr(region_servers[old].error.text, "start the newer program"));
        region_servers[old].failed = false;
        region_kill_server(old);
    } else {
        ck_assert_int_eq(status, STATUS_NEWER_FORMAT);
    }
    region_version_max[old] = 2;
    ck_assert_int_eq(region_open_server(old, false), STATUS_OK);
    wait_all_at(2);
    region_wait_equal();
    region_tear_down();
}
END_TEST

START_TEST(test_an_older_program_is_not_let_in)
{
    Strait__MemberChange change = STRAIT__MEMBER_CHANGE__INIT;
    struct region_asked asked;

    set_versions(2, 2, 2);
    region_set_up();
    wait_all_at(2);
    unsigned leader = region_wait_leader();
    unsigned other = (leader + 1) % region_servers_count;
    char name[] = "s0";
    char peers[] = "0:1";
    name[1] = peers[0] = (char)('0' + other);
    change.name = name;
    change.action = STRAIT__MEMBER_CHANGE__ACTION__REMOVE;
    region_ask(leader, &asked, FRAME_MEMBER_CHANGE, &change.base);
    ck_assert_int_eq(asked.status, STATUS_OK);
    region_forget(&asked);
    region_version_max[other] = 1; /* what is said of it when it is asked who it is */
    change.action = STRAIT__MEMBER_CHANGE__ACTION__ADD;
    change.peers = peers;
    region_ask(leader, &asked, FRAME_MEMBER_CHANGE, &change.base);
    ck_assert_int_eq(asked.status, STATUS_UNSUPPORTED);
    region_forget(&asked);
    region_tear_down();
}
END_TEST

/* Asks for the raise; the version that is answered, or 0. */
static uint32_t ask_upgrade(unsigned number, enum status wanted, const char *words)
{
    Strait__ClusterUpgrade upgrade = STRAIT__CLUSTER_UPGRADE__INIT;
    struct region_asked asked;
    uint32_t version = 0;

    region_ask(number, &asked, FRAME_CLUSTER_UPGRADE, &upgrade.base);
    ck_assert_int_eq(asked.status, wanted);
    struct bytes reply = region_reply_of(&asked);
    if (wanted == STATUS_OK) {
        Strait__ClusterUpgradeReply *message =
            strait__cluster_upgrade_reply__unpack(NULL, reply.size, reply.data);
        version = message->cluster_version;
        strait__cluster_upgrade_reply__free_unpacked(message, NULL);
    } else {
        Strait__Refusal *refusal = strait__refusal__unpack(NULL, reply.size, reply.data);
        ck_assert_msg(strstr(refusal->text, words) != NULL, "%s", refusal->text);
        strait__refusal__free_unpacked(refusal, NULL);
    }
    region_forget(&asked);
    return version;
}

START_TEST(test_held_back_it_rises_when_asked_for)
{
    region_upgrade_held = true;
    set_versions(1, 2, 1);
    region_set_up();
    restart(0, 2);
    run_ms(3000);
    (void)ask_upgrade((region_wait_leader() + 1) % region_servers_count, STATUS_NOT_LEADER, "");
    if (region_wait_leader() != 2)
        (void)ask_upgrade(region_wait_leader(), STATUS_CONDITION_FAILED, "The program of s2");
    else
        ck_assert_uint_eq(ask_upgrade(2, STATUS_OK, ""), 1); /* it knows of no higher one */
    region_close_server(2);
    run_ms(1000);
    (void)ask_upgrade(region_wait_leader(), STATUS_CONDITION_FAILED, "s2 does not answer");
    region_version_max[2] = 2;
    ck_assert_int_eq(region_open_server(2, false), STATUS_OK);
    run_ms(10000);
    ck_assert_uint_eq(active(region_wait_leader()), 1);
    ck_assert_uint_eq(ask_upgrade(region_wait_leader(), STATUS_OK, ""), 2);
    wait_all_at(2);
    ck_assert_uint_eq(ask_upgrade(region_wait_leader(), STATUS_OK, ""), 2);
    region_tear_down();
    region_upgrade_held = false;
}
END_TEST

/* ---- Two regions ---- */

static uint32_t pair_active(unsigned number)
{
    return pair_facts(number).cluster_version;
}

static void pair_wait_both_at(uint32_t version)
{
    for (int turns = 0; pair_active(0) != version || pair_active(1) != version; turns++) {
        ck_assert_int_lt(turns, region_turns_max);
        pair_turn();
    }
}

START_TEST(test_a_standby_that_cannot_holds_back)
{
    /* A region alone raises it at once: so both begin with the older program. */
    pair_version_max[0] = pair_version_max[1] = 1;
    pair_set_up();
    pair_close(0);
    pair_version_max[0] = 2;
    pair_open(0);
    ck_assert_int_eq(pair_put(0, "k", "v"), STATUS_OK);
    pair_run_ms(40 * 1000);
    ck_assert_uint_eq(pair_active(0), 1);
    pair_close(1);
    pair_run_ms(40 * 1000);
    ck_assert_uint_eq(pair_active(0), 1);
    pair_version_max[1] = 2;
    pair_open(1);
    pair_wait_both_at(2);
    ck_assert_int_eq(pair_put(0, "l", "v"), STATUS_OK);
    pair_wait_level();
    pair_tear_down();
}
END_TEST

static void wait_heard(void)
{
    bool heard = false;
    for (int turns = 0; !heard; turns++) {
        struct core_ask ask;
        ck_assert_int_lt(turns, region_turns_max);
        heard = pair_list(0, &ask)->regions[1]->heard;
        core_ask_free(&ask);
        pair_turn();
    }
}

/* A standby that is put back to an older program stops at the raise, and says what to do. */
START_TEST(test_a_standby_that_cannot_stops)
{
    struct core_fixture *standby = pair_fixture(1);

    pair_version_max[0] = 1;
    pair_version_max[1] = 2;
    pair_set_up();
    pair_close(0);
    pair_version_max[0] = 2;
    pair_open(0);
    /* Heard, and away before the primary looks whether all can. */
    wait_heard();
    pair_close(1);
    ck_assert_uint_eq(pair_active(0), 1);
    for (int turns = 0; pair_active(0) == 1; turns++) {
        ck_assert_int_lt(turns, region_turns_max);
        pair_turn();
    }
    pair_version_max[1] = 1;
    pair_open(1);
    for (int turns = 0; !standby->failed; turns++) {
        ck_assert_int_lt(turns, region_turns_max);
        pair_turn();
    }
    ck_assert_int_eq(standby->error.status, STATUS_NEWER_FORMAT);
    ck_assert_ptr_nonnull(strstr(standby->error.text, "start the newer program"));
    ck_assert_uint_eq(pair_active(1), 1);
    pair_abandon(1);
    pair_version_max[1] = 2;
    pair_open(1);
    pair_wait_both_at(2);
    pair_wait_level();
    pair_tear_down();
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, test_it_rises_once_the_last_can);
    tcase_add_test(tests, test_one_that_is_away_or_old_holds_back);
    tcase_add_test(tests, test_an_older_program_does_not_start);
    tcase_add_test(tests, test_an_older_program_stops_before_the_raise);
    tcase_add_test(tests, test_an_older_program_is_not_let_in);
    tcase_add_test(tests, test_held_back_it_rises_when_asked_for);
    tcase_add_test(tests, test_a_standby_that_cannot_holds_back);
    tcase_add_test(tests, test_a_standby_that_cannot_stops);
}
