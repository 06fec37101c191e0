/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/replicated_log.h"

#include "tests/unit/replication/fixture.h"

START_TEST(test_alone)
{
    struct region *region = region_create(1, 1);
    struct node *node = &region->nodes[0];
    node_open(region, 0);
    ck_assert_int_eq(replicated_log_role(node->log), LOG_LEADER);
    ck_assert_uint_eq(replicated_log_leader(node->log)->id, node->id);
    region_commit(region, 100, 200);
    ck_assert(replicated_log_may_read(node->log));
    ck_assert(replicated_log_lease_holds(node->log));
    ck_assert_uint_eq(replicated_log_inflight_count(node->log), 0);
    uint64_t last = node->applied.index;
    ck_assert_uint_ge(last, 102); /* the membership, the no-op, and these */
    ck_assert_uint_eq(node->membership.count, 1);
    node_close(region, 0);
    /* All of it comes back, committed at once. */
    node_open(region, 0);
    (void)region_await_leader(region);
    ck_assert_uint_ge(node->applied.index, last);
    node_flush_state(region, 0);
    node_crash(region, 0, SIM_RESTART_LOSE_UNFLUSHED);
    node_open(region, 0);
    region_commit(region, 1, 10);
    region_destroy(region);
}
END_TEST

/* ---- Several ---- */

static unsigned count_fate(const struct region *region, enum fate fate)
{
    unsigned count = 0;
    for (unsigned i = 0; i < region->proposals_count; i++)
        count += region->proposals[i].fate == fate;
    return count;
}

static struct region *formed(uint64_t seed)
{
    struct region *region = region_create(3, seed);
    region_form(region);
    return region;
}

START_TEST(test_three_agree)
{
    struct region *region = formed(2);
    region_commit(region, 200, 300);
    region_await_level(region);
    for (unsigned i = 0; i < 3; i++) {
        const struct node *node = &region->nodes[i];
        ck_assert_uint_eq(node->membership.count, 3);
        ck_assert(!membership_is_joint(&node->membership));
        ck_assert_str_eq(membership_find(&node->membership, node->id)->clients,
                         node_member(node, MEMBER_VOTER).clients);
        ck_assert_uint_eq(replicated_log_leader(node->log)->id, region_leader(region)->id);
    }
    ck_assert_uint_eq(count_fate(region, FATE_APPLIED), region->proposals_count);
    region_destroy(region);
}
END_TEST

START_TEST(test_facts_of_members)
{
    struct region *region = formed(3);
    struct node *leader = region_leader(region);
    struct log_member_facts facts;
    region_commit(region, 20, 100);
    region_run_ms(region, 200);
    for (unsigned i = 0; i < 3; i++) {
        const struct node *node = &region->nodes[i];
        bool known = replicated_log_member_facts(leader->log, node->id, &facts);
        ck_assert_int_eq(known, node != leader);
        ck_assert(!known || (facts.connected && facts.answered && facts.lag_entries == 0 &&
                             facts.answered_ago_ms < 300 && !facts.snapshot));
        ck_assert(node == leader || !replicated_log_member_facts(node->log, leader->id, &facts));
    }
    ck_assert(!replicated_log_member_facts(leader->log, 12345, &facts));
    region_destroy(region);
}
END_TEST

START_TEST(test_followers_refuse)
{
    struct region *region = formed(4);
    struct node *leader = region_leader(region);
    struct node *other = &region->nodes[(leader->number + 1) % 3];
    const struct membership *membership = replicated_log_membership(other->log);
    uint64_t round;
    unsigned number;
    ck_assert_int_eq(node_propose(other, 100, &number), STATUS_NOT_LEADER);
    ck_assert_int_eq(replicated_log_confirm(other->log, &round), STATUS_NOT_LEADER);
    ck_assert_int_eq(replicated_log_change(other->log, membership), STATUS_NOT_LEADER);
    ck_assert_int_eq(replicated_log_transfer(other->log, leader->id), STATUS_NOT_LEADER);
    ck_assert(!replicated_log_may_read(other->log));
    ck_assert(!replicated_log_lease_holds(other->log));
    region_destroy(region);
}
END_TEST

/* ---- The place in the stream ---- */

static uint64_t position_version;

static bool position_is_applied(struct region *region)
{
    for (unsigned i = 0; i < region->count; i++) {
        if (region->nodes[i].position.version != position_version)
            return false;
    }
    return true;
}

static enum status propose_tick(struct node *node)
{
    uint8_t body[8] = {0};
    const struct log_proposal proposal = {.kind = ENTRY_TICK, .body = bytes_of(body, sizeof body)};
    return replicated_log_propose(node->log, &proposal);
}

START_TEST(test_shared_entries_take_the_next_version)
{
    struct region *region = formed(41);
    struct node *leader = region_await_leader(region);
    const struct log_position position = {.epoch_number = 3, .epoch_region = 2, .version = 70};

    ck_assert(!replicated_log_has_position(leader->log));
    ck_assert_int_eq(propose_tick(leader), STATUS_BUSY);
    replicated_log_position_set(leader->log, &position);
    ck_assert(replicated_log_has_position(leader->log));
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(propose_tick(leader), STATUS_OK);
    position_version = 73;
    region_until(region, position_is_applied, 10000);
    ck_assert_uint_eq(region->nodes[0].position.epoch_number, 3);
    ck_assert_uint_eq(region->nodes[0].position.epoch_region, 2);
    replicated_log_position_clear(leader->log);
    ck_assert(!replicated_log_has_position(leader->log));
    ck_assert_int_eq(propose_tick(leader), STATUS_BUSY);
    region_destroy(region);
}
END_TEST

START_TEST(test_entries_of_another_region_are_taken_as_they_are)
{
    struct region *region = formed(42);
    struct node *leader = region_await_leader(region);
    uint8_t body[8] = {0};
    uint8_t bytes[entry_header_size + 8];
    struct entry entry = {.kind = ENTRY_TICK,
                          .epoch_number = 5,
                          .epoch_region = 9,
                          .log_time_ns = 4000000000000000000,
                          .version = 100,
                          .body = bytes_of(body, sizeof body)};
    struct bytes encoded = bytes_of(bytes, sizeof bytes);

    entry_encode(&entry, bytes);
    for (unsigned i = 0; i < region->count; i++) {
        struct node *node = &region->nodes[i];
        enum status status = replicated_log_propose_entry(node->log, encoded, NULL);
        ck_assert_int_eq(status, node == leader ? STATUS_OK : STATUS_NOT_LEADER);
    }
    position_version = 100;
    region_until(region, position_is_applied, 10000);
    ck_assert_uint_eq(leader->position.epoch_number, 5);
    ck_assert_uint_eq(leader->position.epoch_region, 9);
    ck_assert_uint_eq(leader->log_time_ns, entry.log_time_ns);
    /* What is stamped here follows it in time. */
    ck_assert_uint_gt(replicated_log_time_ns(leader->log), 0);
    const struct log_position position = {.epoch_number = 6, .epoch_region = 1, .version = 100};
    replicated_log_position_set(leader->log, &position);
    ck_assert_int_eq(replicated_log_propose_entry(leader->log, encoded, NULL), STATUS_BUSY);
    ck_assert_int_eq(propose_tick(leader), STATUS_OK);
    position_version = 101;
    region_until(region, position_is_applied, 10000);
    ck_assert_uint_gt(leader->log_time_ns, entry.log_time_ns);

    ck_assert_int_eq(replicated_log_propose_entry(leader->log, bytes_of(bytes, 20), NULL),
                     STATUS_MALFORMED);
    entry = (struct entry){.kind = ENTRY_NOOP, .log_time_ns = 1};
    entry_encode(&entry, bytes);
    ck_assert_int_eq(
        replicated_log_propose_entry(leader->log, bytes_of(bytes, entry_header_size), NULL),
        STATUS_MALFORMED);
    region_destroy(region);
}
END_TEST

START_TEST(test_leader_dies)
{
    struct region *region = formed(5);
    unsigned number;
    for (unsigned round = 0; round < 5; round++) {
        struct node *leader = region_await_leader(region);
        unsigned dead = leader->number;
        uint64_t term = replicated_log_term(leader->log);
        region_commit(region, 30, 200);
        for (unsigned i = 0; i < 20; i++)
            ck_assert_int_eq(node_propose(leader, 500, &number), STATUS_OK);
        node_crash(region, dead, SIM_RESTART_LOSE_UNFLUSHED);
        struct node *next = region_await_leader(region);
        ck_assert_uint_ne(next->number, dead);
        ck_assert_uint_gt(replicated_log_term(next->log), term);
        region_commit(region, 10, 200);
        node_open(region, dead);
        region_await_level(region);
    }
    /* Each was told exactly once, be it by the closing. */
    ck_assert_uint_eq(count_fate(region, FATE_PROPOSED), 0);
    region_destroy(region);
}
END_TEST

START_TEST(test_dropped_proposals_are_told_once)
{
    struct region *region = formed(6);
    struct node *old = region_leader(region);
    unsigned numbers[50];
    region_isolate(region, old->number, true);
    for (unsigned i = 0; i < 50; i++)
        ck_assert_int_eq(node_propose(old, 100, &numbers[i]), STATUS_OK);
    ck_assert_uint_eq(replicated_log_inflight_count(old->log), 50);
    region_run_ms(region, 2000);
    /* Without a quorum it leads no more; nothing of it was committed. */
    ck_assert_int_ne(replicated_log_role(old->log), LOG_LEADER);
    for (unsigned i = 0; i < 50; i++)
        ck_assert_int_eq(region->proposals[numbers[i]].fate, FATE_DROPPED);
    ck_assert_uint_eq(replicated_log_inflight_count(old->log), 0);
    struct node *next = region_await_leader(region);
    ck_assert_uint_ne(next->number, old->number);
    region_commit(region, 30, 100);
    /* Its suffix gives way to what the others committed. */
    region_isolate(region, old->number, false);
    region_await_level(region);
    region_commit(region, 5, 100);
    region_await_level(region);
    ck_assert_uint_eq(count_fate(region, FATE_DROPPED), 50);
    for (unsigned i = 0; i < 3; i++) {
        struct raft_statistics statistics = replicated_log_raft_statistics(region->nodes[i].log);
        ck_assert(&region->nodes[i] != old || statistics.truncated_count > 0);
    }
    /* A superseded suffix stays superseded. */
    node_crash(region, old->number, SIM_RESTART_LOSE_UNFLUSHED);
    node_open(region, old->number);
    region_await_level(region);
    region_destroy(region);
}
END_TEST

START_TEST(test_catching_up_from_the_disk)
{
    struct region *region = region_create(3, 7);
    region->cache_size = 64 * 1024;
    region_form(region);
    struct node *leader = region_leader(region);
    unsigned late = (leader->number + 1) % 3;
    node_close(region, late);
    region_commit(region, 600, 2000); /* far beyond the cache, over several segments */
    uint64_t reads = replicated_log_statistics(leader->log).reads_count;
    node_open(region, late);
    region_await_level(region);
    ck_assert_uint_gt(replicated_log_statistics(leader->log).reads_count, reads);
    ck_assert_uint_eq(leader->snapshot_member, 0);
    region_destroy(region);
}
END_TEST

START_TEST(test_applying_late_reads_from_the_disk)
{
    struct region *region = region_create(3, 8);
    region->cache_size = 64 * 1024;
    region_form(region);
    struct node *leader = region_leader(region);
    struct node *slow = &region->nodes[(leader->number + 1) % 3];
    slow->stopped = true;
    region_commit(region, 400, 2000);
    slow->stopped = false;
    region_await_level(region);
    ck_assert_uint_gt(replicated_log_statistics(slow->log).reads_count, 0);
    region_destroy(region);
}
END_TEST

START_TEST(test_all_restart)
{
    struct region *region = formed(9);
    for (unsigned round = 0; round < 4; round++) {
        region_commit(region, 60, 300);
        if (round % 2 == 1)
            node_flush_state(region, round % 3);
        for (unsigned i = 0; i < 3; i++) {
            if ((round + i) % 2 == 0)
                node_close(region, i);
            else
                node_crash(region, i, SIM_RESTART_KEEP_ALL);
        }
        uint64_t last = region->applied_last;
        for (unsigned i = 0; i < 3; i++)
            node_open(region, i);
        region_await_level(region);
        ck_assert_uint_gt(region->applied_last, last); /* at least a no-op */
    }
    region_destroy(region);
}
END_TEST

/* All that the others' states hold is in their logs yet, whoever leads after their restarts. */
START_TEST(test_a_restarted_leader_serves_who_lags_from_its_log)
{
    struct region *region = region_create(3, 10);
    region->cache_size = 64 * 1024;
    region_form(region);
    unsigned late = (region_leader(region)->number + 1) % 3;
    node_close(region, late);
    region_commit(region, 300, 2000);
    for (unsigned i = 0; i < 3; i++) {
        if (i == late)
            continue;
        node_flush_state(region, i);
        node_close(region, i);
        node_open(region, i);
        /* The state holds all: nothing was to be applied again. */
        ck_assert_uint_eq(region->nodes[i].applied.index, region->nodes[i].base.index);
        region_await_leader(region);
    }
    region_commit(region, 10, 100);
    uint64_t behind = region->nodes[late].applied.index;
    node_open(region, late);
    region_await_level(region);
    ck_assert_uint_gt(region->nodes[late].applied.index, behind + 300);
    uint64_t reads = 0;
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_uint_eq(region->nodes[i].snapshot_member, 0);
        if (i != late)
            reads += replicated_log_statistics(region->nodes[i].log).reads_count;
    }
    ck_assert_uint_gt(reads, 0);
    /* A crash after that finds all as it was. */
    for (unsigned i = 0; i < 3; i++)
        node_crash(region, i, SIM_RESTART_LOSE_UNFLUSHED);
    for (unsigned i = 0; i < 3; i++)
        node_open(region, i);
    region_await_level(region);
    region_destroy(region);
}
END_TEST

/* An entry that the state covers and the disk has lost ends what its log can give: who lags farther
 * needs a snapshot. */
START_TEST(test_a_member_needs_a_snapshot)
{
    struct region *region = formed(10);
    unsigned late = (region_leader(region)->number + 1) % 3;
    region_commit(region, 20, 100);
    node_close(region, late);
    unsigned lost = region->proposals_count + 10;
    region_commit(region, 100, 1000);
    for (unsigned i = 0; i < 3; i++) {
        if (i == late)
            continue;
        node_flush_state(region, i);
        node_close(region, i);
        ck_assert(node_damage(&region->nodes[i], lost));
        node_open(region, i);
        region_await_leader(region);
    }
    region_commit(region, 10, 100);
    node_open(region, late);
    struct node *now = region_await_leader(region);
    for (unsigned i = 0; i < 2000 && now->snapshot_member == 0; i++) {
        region_run_ms(region, 5);
        now = region_await_leader(region);
    }
    struct node *behind = &region->nodes[late];
    ck_assert_uint_eq(now->snapshot_member, behind->id);
    struct wal_mark mark = now->applied;
    ck_assert_int_eq(region_install(region, now, behind), STATUS_OK);
    replicated_log_snapshot_sent(now->log, behind->id, mark, true);
    region_commit(region, 5, 100);
    region_await_level(region);
    region_destroy(region);
}
END_TEST

START_TEST(test_a_snapshot_takes_the_place_of_the_log)
{
    struct region *region = region_create(3, 11);
    region->retained_size = 1024 * 1024;
    region_form(region);
    struct node *leader = region_leader(region);
    struct node *late = &region->nodes[(leader->number + 1) % 3];
    struct node *other = &region->nodes[(leader->number + 2) % 3];
    region_isolate(region, late->number, true);
    for (unsigned i = 0; i < 24; i++)
        region_commit(region, 8, 150 * 1000);
    node_flush_state(region, leader->number);
    node_flush_state(region, other->number);
    region_isolate(region, late->number, false);
    for (unsigned i = 0; i < 2000 && leader->snapshot_member == 0; i++)
        region_run_ms(region, 5);
    ck_assert_uint_eq(leader->snapshot_member, late->id);
    struct wal_mark mark = leader->applied;
    ck_assert_int_eq(region_install(region, leader, late), STATUS_OK);
    replicated_log_snapshot_sent(leader->log, late->id, mark, true);
    region_commit(region, 20, 100);
    region_await_level(region);
    /* A second one of the same state changes nothing. */
    ck_assert_int_eq(region_install(region, late, late), STATUS_INVALID_ARGUMENT);
    node_crash(region, late->number, SIM_RESTART_LOSE_UNFLUSHED);
    node_open(region, late->number);
    region_commit(region, 5, 100);
    region_await_level(region);
    region_destroy(region);
}
END_TEST

START_TEST(test_a_snapshot_of_what_the_log_has_too)
{
    struct region *region = formed(21);
    struct node *leader = region_leader(region);
    struct node *late = &region->nodes[(leader->number + 1) % 3];
    region_commit(region, 20, 100);
    region_await_level(region);
    late->stopped = true;
    region_commit(region, 40, 100);
    region_run_ms(region, 200);
    struct wal_mark mark = leader->applied;
    ck_assert_uint_ge(replicated_log_commit_index(late->log), mark.index);
    region_commit(region, 40, 100);
    /* The state jumps to the mark; what follows it is applied from the log. */
    ck_assert_int_eq(region_install(region, leader, late), STATUS_OK);
    ck_assert_uint_gt(late->applied.index, mark.index);
    late->stopped = false;
    region_commit(region, 10, 100);
    region_await_level(region);
    node_crash(region, late->number, SIM_RESTART_KEEP_ALL);
    node_open(region, late->number);
    region_await_level(region);
    region_destroy(region);
}
END_TEST

START_TEST(test_members_come_and_go)
{
    struct region *region = region_create(4, 12);
    struct membership target = {0};
    region->count = 4;
    region_form(region);
    region_commit(region, 20, 100);
    /* The leader goes: another leads on. */
    struct node *leader = region_leader(region);
    target = leader->membership;
    membership_remove(&target, leader->id);
    ck_assert_int_eq(replicated_log_change(leader->log, &target), STATUS_OK);
    ck_assert_int_eq(replicated_log_change(leader->log, &target), STATUS_BUSY);
    region_run_ms(region, 3000);
    struct node *next = region_await_leader(region);
    ck_assert_uint_ne(next->number, leader->number);
    ck_assert_uint_eq(next->membership.count, 3);
    ck_assert_ptr_null(membership_find(replicated_log_membership(next->log), leader->id));
    node_close(region, leader->number);
    region_commit(region, 20, 100);
    /* Two of the three that are left decide. */
    for (unsigned i = 0; i < 4; i++) {
        if (region->nodes[i].log != NULL && &region->nodes[i] != next) {
            node_close(region, i);
            break;
        }
    }
    region_commit(region, 20, 100);
    region_destroy(region);
}
END_TEST

START_TEST(test_changes_that_cannot_be)
{
    struct region *region = formed(13);
    struct node *leader = region_leader(region);
    struct membership target = leader->membership;
    target.members[0].kinds = MEMBER_VOTER | MEMBER_OUTGOING;
    ck_assert_int_eq(replicated_log_change(leader->log, &target), STATUS_INVALID_ARGUMENT);
    target = leader->membership;
    target.members[1].id = target.members[0].id;
    ck_assert_int_eq(replicated_log_change(leader->log, &target), STATUS_INVALID_ARGUMENT);
    target = (struct membership){0};
    ck_assert_int_eq(replicated_log_change(leader->log, &target), STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(replicated_log_transfer(leader->log, 4711), STATUS_INVALID_ARGUMENT);
    region_destroy(region);
    region = region_create(1, 13);
    node_open(region, 0);
    region_commit(region, 1, 100);
    target = region->nodes[0].membership;
    ck_assert_int_eq(replicated_log_change(region->nodes[0].log, &target), STATUS_UNSUPPORTED);
    region_destroy(region);
}
END_TEST

START_TEST(test_leadership_is_handed_over)
{
    struct region *region = formed(14);
    struct node *leader = region_leader(region);
    struct node *next = &region->nodes[(leader->number + 1) % 3];
    region_commit(region, 10, 100);
    ck_assert_int_eq(replicated_log_transfer(leader->log, next->id), STATUS_OK);
    ck_assert(!replicated_log_lease_holds(leader->log));
    region_run_ms(region, 200);
    ck_assert_ptr_eq(region_await_leader(region), next);
    region_commit(region, 10, 100);
    region_await_level(region);
    region_destroy(region);
}
END_TEST

START_TEST(test_reads)
{
    struct region *region = formed(15);
    struct node *leader = region_leader(region);
    uint64_t round;
    region_run_ms(region, 300);
    ck_assert(replicated_log_lease_holds(leader->log));
    ck_assert_int_eq(replicated_log_confirm(leader->log, &round), STATUS_OK);
    ck_assert_uint_lt(leader->confirmed, round);
    region_run_ms(region, 20);
    ck_assert_uint_ge(leader->confirmed, round);
    ck_assert_uint_eq(leader->unconfirmed_count, 0);
    region_isolate(region, leader->number, true);
    ck_assert_int_eq(replicated_log_confirm(leader->log, &round), STATUS_OK);
    region_run_ms(region, 1000);
    ck_assert_uint_lt(leader->confirmed, round);
    ck_assert_uint_eq(leader->unconfirmed_count, 1); /* told once, for all that wait */
    ck_assert(!replicated_log_lease_holds(leader->log));
    region_destroy(region);
}
END_TEST

START_TEST(test_a_way_with_little_room)
{
    struct region *region = region_create(3, 16);
    for (unsigned i = 0; i < 3; i++)
        region->nodes[i].room = 300 * 1000;
    region_form(region);
    region_commit(region, 100, 100 * 1000);
    region_await_level(region);
    region_destroy(region);
}
END_TEST

START_TEST(test_bounds)
{
    struct region *region = region_create(1, 17);
    unsigned number;
    node_open(region, 0);
    (void)region_await_leader(region);
    /* The write-ahead log's queue, or the bytes under way, end it: nothing is lost by that. */
    enum status status = STATUS_OK;
    unsigned taken = 0;
    for (; taken < 2000 && status == STATUS_OK; taken++)
        status = node_propose(&region->nodes[0], 100 * 1000, &number);
    ck_assert_int_eq(status, STATUS_BUSY);
    ck_assert_uint_gt(taken, 100);
    region_run_ms(region, 1000);
    ck_assert_uint_eq(count_fate(region, FATE_APPLIED), taken - 1);
    ck_assert_int_eq(node_propose(&region->nodes[0], 100, &number), STATUS_OK);
    region_destroy(region);
}
END_TEST

/* ---- Hostile ---- */

static void send_raw(struct node *to, uint64_t from, const struct peer_message *message,
                     struct bytes rest)
{
    uint8_t bytes[1024];
    peer_encode(message, bytes);
    bytes_copy(bytes + peer_size(message->kind), rest);
    to->user.received(to->user.context, from,
                      bytes_of(bytes, peer_size(message->kind) + rest.size));
}

START_TEST(test_hostile_messages)
{
    struct region *region = formed(18);
    struct node *leader = region_leader(region);
    struct node *to = &region->nodes[(leader->number + 1) % 3];
    struct node *other = &region->nodes[(leader->number + 2) % 3];
    uint64_t term = replicated_log_term(leader->log);
    uint8_t rest[128] = {0};
    region_commit(region, 10, 100);
    region_await_level(region);
    uint64_t last = to->applied.index;

    /* Not from whom it says, not to whom it came, cut, and of unknown kinds. */
    struct peer_message vote = {.kind = PEER_VOTE,
                                .from = leader->id,
                                .to = to->id,
                                .term = term + 50,
                                .mark = {.index = 1000000, .term = term + 49}};
    send_raw(to, other->id, &vote, (struct bytes){0});
    vote.to = other->id;
    send_raw(to, leader->id, &vote, (struct bytes){0});
    to->user.received(to->user.context, leader->id, bytes_of(rest, 0));
    to->user.received(to->user.context, leader->id, bytes_of(rest, 100));
    ck_assert_uint_eq(replicated_log_term(to->log), term);

    /* Entries that cannot be read; an empty membership; indexes at the end of all numbers. */
    struct peer_message append = {.kind = PEER_APPEND,
                                  .from = leader->id,
                                  .to = to->id,
                                  .term = term,
                                  .mark = {.index = last, .term = term},
                                  .commit = UINT64_MAX,
                                  .count = 1};
    peer_entry_encode(term, 5, rest);
    send_raw(to, leader->id, &append, bytes_of(rest, peer_entry_header_size + 5));
    const struct entry empty = {
        .kind = ENTRY_MEMBERSHIP, .epoch_number = 1, .body = bytes_of("\1\0\0\0\0\0\0\0", 8)};
    peer_entry_encode(term, entry_size(&empty), rest);
    entry_encode(&empty, rest + peer_entry_header_size);
    send_raw(to, leader->id, &append, bytes_of(rest, peer_entry_header_size + entry_size(&empty)));
    append.mark.index = UINT64_MAX;
    send_raw(to, leader->id, &append, bytes_of(rest, peer_entry_header_size + entry_size(&empty)));
    append.mark.index = UINT64_MAX - 1;
    append.mark.term = UINT64_MAX;
    append.term = UINT64_MAX;
    send_raw(to, leader->id, &append, bytes_of(rest, peer_entry_header_size + entry_size(&empty)));
    ck_assert_uint_eq(replicated_log_membership(to->log)->count, 3);
    ck_assert_uint_eq(replicated_log_commit_index(to->log), last);

    /* Answers that nobody asked for, and questions that have no answer. */
    struct peer_message answer = {.kind = PEER_MEND_ANSWER,
                                  .from = leader->id,
                                  .to = to->id,
                                  .mend = PEER_MEND_HAVE,
                                  .mark = {.index = 3, .term = 1}};
    send_raw(to, leader->id, &answer, bytes_of(rest, 20));
    struct peer_message ask = {.kind = PEER_MEND_ASK, .from = leader->id, .to = to->id, .count = 2};
    peer_place_encode((struct peer_place){UINT64_MAX, UINT64_MAX}, rest);
    peer_place_encode((struct peer_place){0, UINT64_MAX}, rest + peer_place_size);
    send_raw(to, leader->id, &ask, bytes_of(rest, 2 * peer_place_size));

    region_commit(region, 10, 100);
    region_await_level(region);
    ck_assert_uint_eq(replicated_log_term(to->log), term); /* nothing of it had an effect */
    region_destroy(region);
}
END_TEST

/* ---- A store's identity ---- */

START_TEST(test_a_store_that_waits_stays_passive)
{
    struct region *region = region_create(3, 19);
    node_open(region, 1);
    region_run_ms(region, 3000);
    ck_assert_int_eq(replicated_log_role(region->nodes[1].log), LOG_FOLLOWER);
    ck_assert_uint_eq(replicated_log_term(region->nodes[1].log), 0);
    ck_assert_uint_eq(replicated_log_membership(region->nodes[1].log)->count, 0);
    node_close(region, 1);
    node_open(region, 1); /* the fixture sees that its id is the same */
    region_run_ms(region, 1000);
    ck_assert_ptr_null(region_leader(region));
    region_destroy(region);
}
END_TEST

START_TEST(test_a_member_is_not_opened_alone)
{
    struct region *region = formed(20);
    struct error error = {0};
    for (unsigned i = 0; i < 3; i++)
        node_close(region, i);
    region->count = 1;
    ck_assert_int_eq(node_try_open(region, 0, &error), STATUS_INVALID_ARGUMENT);
    ck_assert(strstr(error.text, "region") != NULL);
    region->count = 3;
    node_open(region, 0);
    region_destroy(region);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_alone);
    tcase_add_test(tests, test_three_agree);
    tcase_add_test(tests, test_facts_of_members);
    tcase_add_test(tests, test_followers_refuse);
    tcase_add_test(tests, test_shared_entries_take_the_next_version);
    tcase_add_test(tests, test_entries_of_another_region_are_taken_as_they_are);
    tcase_add_test(tests, test_leader_dies);
    tcase_add_test(tests, test_dropped_proposals_are_told_once);
    tcase_add_test(tests, test_catching_up_from_the_disk);
    tcase_add_test(tests, test_applying_late_reads_from_the_disk);
    tcase_add_test(tests, test_all_restart);
    tcase_add_test(tests, test_a_restarted_leader_serves_who_lags_from_its_log);
    tcase_add_test(tests, test_a_member_needs_a_snapshot);
    tcase_add_test(tests, test_a_snapshot_takes_the_place_of_the_log);
    tcase_add_test(tests, test_a_snapshot_of_what_the_log_has_too);
    tcase_add_test(tests, test_members_come_and_go);
    tcase_add_test(tests, test_changes_that_cannot_be);
    tcase_add_test(tests, test_leadership_is_handed_over);
    tcase_add_test(tests, test_reads);
    tcase_add_test(tests, test_a_way_with_little_room);
    tcase_add_test(tests, test_bounds);
    tcase_add_test(tests, test_hostile_messages);
    tcase_add_test(tests, test_a_store_that_waits_stays_passive);
    tcase_add_test(tests, test_a_member_is_not_opened_alone);
}
