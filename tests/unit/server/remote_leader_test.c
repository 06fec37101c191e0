/* SPDX-License-Identifier: Apache-2.0 */
/* Commits that wait for a standby while their region's leader changes. */
#include "tests/unit/server/region_fixture.h"

static void add_region(unsigned leader, uint32_t id, const char *name)
{
    Strait__RegionChange change = STRAIT__REGION_CHANGE__INIT;
    Strait__Region region = STRAIT__REGION__INIT;
    struct region_asked asked;

    region.id = id;
    region.name = (char *)(uintptr_t)name;
    change.action = STRAIT__REGION_CHANGE__ACTION__ADD;
    change.region = &region;
    region_ask(leader, &asked, FRAME_REGION_CHANGE, &change.base);
    ck_assert_int_eq(asked.status, STATUS_OK);
    region_forget(&asked);
}

/* The same transaction each time: a put, which a standby that never comes is to confirm. */
static void commit_begin(unsigned number, uint64_t issued_ns, struct region_asked *asked)
{
    Strait__Commit commit = STRAIT__COMMIT__INIT;
    Strait__Put put = STRAIT__PUT__INIT;
    Strait__Operation operation = STRAIT__OPERATION__INIT;
    Strait__Operation *list[] = {&operation};
    uint8_t id[16] = {3, 1, 4};

    put.table = (char *)(uintptr_t) "things";
    put.key = field_of_bytes(bytes_of_text("paid"));
    operation.kind_case = STRAIT__OPERATION__KIND_PUT;
    operation.put = &put;
    commit.txn_id = field_of_bytes(bytes_of(id, sizeof id));
    commit.issued_ns = issued_ns;
    commit.operations = list;
    commit.n_operations = 1;
    commit.durability = STRAIT__DURABILITY__REMOTE;
    commit.remote_region = (char *)(uintptr_t) "two";
    commit.confirm_within_ms = 20000;
    region_ask_begin(number, asked, FRAME_COMMIT, &commit.base);
}

static void transfer(unsigned leader)
{
    Strait__LeaderTransfer transfer = STRAIT__LEADER_TRANSFER__INIT;
    struct region_asked asked;
    region_ask(leader, &asked, FRAME_LEADER_TRANSFER, &transfer.base);
    ck_assert_int_eq(asked.status, STATUS_OK);
    region_forget(&asked);
}

/* Whoever waits is told to ask the next leader, which finds it done, and waits in its turn. */
START_TEST(test_the_next_leader_waits_on)
{
    struct region_asked asked;
    struct arena arena;
    ProtobufCMessage *message;

    region_set_up();
    unsigned leader = region_wait_leader();
    add_region(leader, 1, "one");
    add_region(leader, 2, "two");
    const uint64_t version = region_facts_of(leader).version;
    const uint64_t issued_ns = io_wall_ns(region_servers[leader].io);
    commit_begin(leader, issued_ns, &asked);
    for (int turns = 0; region_facts_of(leader).version == version; turns++) {
        ck_assert_int_lt(turns, region_turns_max);
        region_turn();
    }
    ck_assert(!asked.answered);
    transfer(leader);
    region_wait(&asked);
    ck_assert_int_eq(asked.status, STATUS_OUTCOME_UNKNOWN);
    region_forget(&asked);

    unsigned next = region_wait_leader();
    ck_assert_uint_ne(next, leader);
    commit_begin(next, issued_ns, &asked);
    region_wait(&asked);
    ck_assert_int_eq(asked.status, STATUS_OK);
    struct bytes body = region_reply_of(&asked);
    message_arena_init(&arena, body.size);
    ck_assert_int_eq(
        message_decode(&strait__commit_reply__descriptor, body, true, &arena, &message), STATUS_OK);
    const Strait__CommitReply *reply = (const Strait__CommitReply *)message;
    ck_assert(reply->repeated_reply);
    ck_assert(!reply->confirmation->confirmed);
    ck_assert_str_eq(reply->confirmation->region, "two");
    arena_free(&arena);
    region_forget(&asked);
    region_tear_down();
}
END_TEST

/* A leader that is cut off from the others learns that it is none, and lets go. */
START_TEST(test_a_leader_that_is_cut_off_lets_go)
{
    struct region_asked asked;

    region_set_up();
    unsigned leader = region_wait_leader();
    add_region(leader, 1, "one");
    add_region(leader, 2, "two");
    const uint64_t version = region_facts_of(leader).version;
    const uint64_t issued_ns = io_wall_ns(region_servers[leader].io);
    commit_begin(leader, issued_ns, &asked);
    for (int turns = 0; region_facts_of(leader).version == version; turns++) {
        ck_assert_int_lt(turns, region_turns_max);
        region_turn();
    }
    region_is_cut[leader] = true;
    region_wait(&asked);
    ck_assert_int_eq(asked.status, STATUS_OUTCOME_UNKNOWN);
    region_forget(&asked);
    region_is_cut[leader] = false;
    region_wait_equal();
    region_tear_down();
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_the_next_leader_waits_on);
    tcase_add_test(tests, test_a_leader_that_is_cut_off_lets_go);
}
