/* SPDX-License-Identifier: Apache-2.0 */
/* Members that talk, lose each other, and find each other again. */
#include "server/net/peers.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/log.h"
#include "storage/io/uring.h"
#include "tests/unit/server_net/peers_fixture.h"
#include "tests/unit/unit.h"

enum { mib = 1024 * 1024 };

static struct authority ours;
static struct io *io;
static struct node nodes[3];
static struct node *const all[] = {&nodes[0], &nodes[1], &nodes[2]};

static const struct peers_options quick = {.keep_alive_ms = 50,
                                           .silent_ms = 60000,
                                           .handshake_ms = 60000,
                                           .back_off_min_ms = 5,
                                           .back_off_max_ms = 50};

static void setup(void)
{
    static const char *const names[] = {"n1", "n2", "n3"};
    io = nodes_io_open();
    for (unsigned i = 0; i < 3; i++)
        node_make(&nodes[i], io, &ours, names[i], 101 + i, &quick);
}

static void teardown(void)
{
    for (unsigned i = 0; i < 3; i++)
        node_free(&nodes[i]);
    io_uring_close(io);
}

static void setup_once(void)
{
    log_descriptor_set(-1);
    authority_make(&ours, "ca");
}

static void teardown_once(void)
{
    authority_free(&ours);
}

static void link_two(void)
{
    node_members(&nodes[0], all, 2);
    node_members(&nodes[1], all, 2);
    TURN_UNTIL(io, nodes_are_linked(&nodes[0], &nodes[1]));
    TURN_UNTIL(io, nodes[0].connected_count == 1 && nodes[1].connected_count == 1);
}

static void expect(const struct node *node, unsigned which, uint64_t from, uint8_t tag, size_t size)
{
    const struct came *came = &node->came[which];
    ck_assert_uint_lt(which, node->came_count);
    ck_assert_uint_eq(came->from, from);
    ck_assert_uint_eq(came->tag, tag);
    ck_assert_uint_eq(came->size, size);
    ck_assert_uint_eq(came->hash, node_hash(tag, size));
}

START_TEST(test_two_exchange_messages_of_both_lanes)
{
    link_two();
    ck_assert(node_send(&nodes[0], 102, BUS_CONTROL, 1, 20));
    ck_assert(node_send(&nodes[0], 102, BUS_BULK, 2, 3000));
    ck_assert(node_send(&nodes[1], 101, BUS_BULK, 3, 1));
    bus_flush(nodes[0].bus);
    bus_flush(nodes[1].bus);
    TURN_UNTIL(io, nodes[1].came_count == 2 && nodes[0].came_count == 1);
    expect(&nodes[1], 0, 101, 1, 20);
    expect(&nodes[1], 1, 101, 2, 3000);
    expect(&nodes[0], 0, 102, 3, 1);
    ck_assert_uint_eq(peers_statistics(nodes[0].peers).messages_sent_count, 2);
    ck_assert_uint_eq(peers_statistics(nodes[1].peers).messages_received_count, 2);
    struct peers_member_facts facts = node_facts(&nodes[0], 102);
    ck_assert(!facts.is_guest);
    ck_assert_uint_eq(facts.cluster_version_max, 1);
    ck_assert_str_eq(facts.trouble, "");
}
END_TEST

START_TEST(test_three_reach_each_other)
{
    for (unsigned i = 0; i < 3; i++)
        node_members(&nodes[i], all, 3);
    TURN_UNTIL(io, nodes[0].connected_count == 2 && nodes[1].connected_count == 2 &&
                       nodes[2].connected_count == 2);
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned k = 0; k < 3; k++) {
            if (i != k)
                ck_assert(node_send(&nodes[i], 101 + k, BUS_CONTROL, (uint8_t)i, 10 + k));
        }
        bus_flush(nodes[i].bus);
    }
    TURN_UNTIL(io,
               nodes[0].came_count == 2 && nodes[1].came_count == 2 && nodes[2].came_count == 2);
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned k = 0; k < 2; k++) {
            uint8_t tag = nodes[i].came[k].tag;
            expect(&nodes[i], k, 101 + tag, tag, 10 + i);
        }
    }
    /* Two connections for each pair, and no more. */
    ck_assert_uint_eq(peers_statistics(nodes[0].peers).connections_count, 4);
}
END_TEST

START_TEST(test_messages_of_all_sizes_are_whole)
{
    static const size_t sizes[] = {1,
                                   16 * 1024 - 1,
                                   limit_peer_frame_size - 1,
                                   limit_peer_frame_size,
                                   limit_peer_frame_size + 1,
                                   3 * limit_peer_frame_size,
                                   mib + 12345,
                                   limit_peer_message_size - 1,
                                   limit_peer_message_size};
    enum { count = sizeof sizes / sizeof sizes[0] };
    link_two();
    for (unsigned i = 0; i < count; i++)
        ck_assert(node_send(&nodes[0], 102, BUS_BULK, (uint8_t)(i + 1), sizes[i]));
    ck_assert(node_send(&nodes[1], 101, BUS_CONTROL, 99, limit_peer_frame_size));
    bus_flush(nodes[0].bus);
    bus_flush(nodes[1].bus);
    TURN_UNTIL(io, nodes[1].came_count == count && nodes[0].came_count == 1);
    for (unsigned i = 0; i < count; i++)
        expect(&nodes[1], i, 101, (uint8_t)(i + 1), sizes[i]);
    expect(&nodes[0], 0, 102, 99, limit_peer_frame_size);
}
END_TEST

/* A heartbeat that is queued while a long message is on its way comes before that message's end. */
START_TEST(test_control_overtakes_bulk_at_a_frames_border)
{
    link_two();
    ck_assert(node_send(&nodes[0], 102, BUS_BULK, 1, limit_peer_message_size));
    bus_flush(nodes[0].bus);
    uint64_t sent_before = peers_statistics(nodes[0].peers).sent_size;
    TURN_UNTIL(io, peers_statistics(nodes[0].peers).sent_size > sent_before);
    ck_assert_uint_eq(nodes[1].came_count, 0);
    ck_assert(node_send(&nodes[0], 102, BUS_CONTROL, 2, 30));
    ck_assert(node_send(&nodes[0], 102, BUS_CONTROL, 3, 30));
    bus_flush(nodes[0].bus);
    TURN_UNTIL(io, nodes[1].came_count == 3);
    expect(&nodes[1], 0, 101, 2, 30);
    expect(&nodes[1], 1, 101, 3, 30);
    expect(&nodes[1], 2, 101, 1, limit_peer_message_size);
}
END_TEST

START_TEST(test_many_messages_share_a_send)
{
    enum { count = 500 };
    link_two();
    uint64_t sends_before = peers_statistics(nodes[0].peers).sends_count;
    for (unsigned i = 0; i < count; i++)
        ck_assert(node_send(&nodes[0], 102, BUS_CONTROL, (uint8_t)i, 50));
    bus_flush(nodes[0].bus);
    ck_assert_uint_eq(peers_statistics(nodes[0].peers).sends_count, sends_before + 1);
    TURN_UNTIL(io, nodes[1].came_count == count);
    for (unsigned i = 0; i < count; i++)
        ck_assert_uint_eq(nodes[1].came[i].tag, (uint8_t)i);
}
END_TEST

START_TEST(test_a_full_queue_says_so_and_when_it_has_room)
{
    unsigned queued_count = 0;
    ck_assert_uint_eq(bus_room(nodes[0].bus, 102), 0);
    ck_assert(!node_send(&nodes[0], 102, BUS_CONTROL, 1, 10)); /* nobody is known yet */
    link_two();
    size_t room = bus_room(nodes[0].bus, 102);
    ck_assert_uint_gt(room, 2 * limit_peer_message_size);
    ck_assert_uint_lt(room, limit_peer_queue_size);
    while (node_send(&nodes[0], 102, BUS_BULK, (uint8_t)queued_count, mib))
        queued_count++;
    ck_assert_uint_ge(queued_count, 29);
    ck_assert_uint_lt(bus_room(nodes[0].bus, 102), mib);
    /* A message as large as the room that is told fits; then there is none. */
    room = bus_room(nodes[0].bus, 102);
    ck_assert(node_send(&nodes[0], 102, BUS_BULK, (uint8_t)queued_count, room));
    queued_count++;
    ck_assert_uint_eq(bus_room(nodes[0].bus, 102), 0);
    ck_assert(!node_send(&nodes[0], 102, BUS_BULK, 1, 100));
    /* CONTROL has a part of the queue for itself, which is bounded too. */
    unsigned control_count = 0;
    while (node_send(&nodes[0], 102, BUS_CONTROL, 200, limit_peer_frame_size))
        control_count++;
    ck_assert_uint_ge(control_count, 14);
    ck_assert_uint_le(control_count, 16);
    ck_assert_uint_eq(nodes[0].room_count, 0);
    bus_flush(nodes[0].bus);
    TURN_UNTIL(io, nodes[1].came_count == queued_count + control_count);
    TURN_UNTIL(io, nodes[0].room_count == 1);
    ck_assert_uint_gt(bus_room(nodes[0].bus, 102), 2 * limit_peer_message_size);
    for (unsigned i = 0; i < control_count; i++)
        ck_assert_uint_eq(nodes[1].came[i].tag, 200);
    for (unsigned i = 0; i < queued_count - 1; i++)
        expect(&nodes[1], control_count + i, 101, (uint8_t)i, mib);
}
END_TEST

START_TEST(test_a_member_that_was_away_is_found_again)
{
    link_two();
    node_down(&nodes[1]);
    TURN_UNTIL(io, nodes[0].disconnected_count == 1);
    ck_assert(!node_send(&nodes[0], 102, BUS_CONTROL, 1, 10));
    ck_assert_uint_eq(bus_room(nodes[0].bus, 102), 0);
    TURN_UNTIL(io, strstr(node_facts(&nodes[0], 102).trouble, "cannot connect") != NULL);
    node_up(&nodes[1]);
    nodes[1].connected_count = 0;
    node_members(&nodes[1], all, 2);
    TURN_UNTIL(io, nodes[0].connected_count == 2 && nodes[1].connected_count == 1);
    ck_assert_str_eq(node_facts(&nodes[0], 102).trouble, "");
    ck_assert(node_send(&nodes[0], 102, BUS_CONTROL, 7, 10));
    bus_flush(nodes[0].bus);
    TURN_UNTIL(io, nodes[1].came_count == 1);
    expect(&nodes[1], 0, 101, 7, 10);
    ck_assert_uint_eq(nodes[0].disconnected_count, 1);
}
END_TEST

/* Whatever was queued when the connection broke is gone; what comes after comes in order. */
START_TEST(test_a_break_with_much_under_way_loses_and_reorders_nothing_else)
{
    link_two();
    for (unsigned i = 0; i < 20; i++)
        ck_assert(node_send(&nodes[0], 102, BUS_BULK, (uint8_t)i, mib));
    bus_flush(nodes[0].bus);
    TURN_UNTIL(io, nodes[1].came_count >= 2);
    node_down(&nodes[1]);
    unsigned came_before = nodes[1].came_count;
    TURN_UNTIL(io, nodes[0].disconnected_count == 1);
    for (unsigned i = 0; i < came_before; i++)
        expect(&nodes[1], i, 101, (uint8_t)i, mib);
    node_up(&nodes[1]);
    node_members(&nodes[1], all, 2);
    TURN_UNTIL(io, nodes[0].connected_count == 2);
    ck_assert(node_send(&nodes[0], 102, BUS_BULK, 77, mib));
    bus_flush(nodes[0].bus);
    TURN_UNTIL(io, nodes[1].came_count == came_before + 1);
    expect(&nodes[1], came_before, 101, 77, mib);
}
END_TEST

START_TEST(test_connections_live_while_nothing_is_said)
{
    link_two();
    uint64_t sends_before = peers_statistics(nodes[0].peers).sends_count;
    /* Many periods of keep-alive. */
    TURN_UNTIL(io, peers_statistics(nodes[0].peers).sends_count > sends_before + 20);
    ck_assert_uint_eq(nodes[0].disconnected_count + nodes[1].disconnected_count, 0);
    ck_assert_uint_eq(peers_statistics(nodes[0].peers).timeouts_count, 0);
}
END_TEST

/* ---- Who is no member, yet or any more ---- */

START_TEST(test_a_new_store_hears_its_leader_and_can_answer)
{
    const struct membership nobody = {0};
    bus_members(nodes[1].bus, &nobody, 102);
    node_members(&nodes[0], all, 2);
    TURN_UNTIL(io, nodes_are_linked(&nodes[0], &nodes[1]));
    TURN_UNTIL(io, nodes[1].connected_count == 1 && nodes[0].connected_count == 1);
    ck_assert(node_facts(&nodes[1], 101).is_guest);
    ck_assert(!node_facts(&nodes[0], 102).is_guest);
    ck_assert(node_send(&nodes[0], 102, BUS_BULK, 1, 100));
    bus_flush(nodes[0].bus);
    TURN_UNTIL(io, nodes[1].came_count == 1);
    expect(&nodes[1], 0, 101, 1, 100);
    ck_assert(node_send(&nodes[1], 101, BUS_CONTROL, 2, 10));
    bus_flush(nodes[1].bus);
    TURN_UNTIL(io, nodes[0].came_count == 1);
    /* The entries that it took say who belongs: what there is is kept. */
    node_members(&nodes[1], all, 2);
    ck_assert(!node_facts(&nodes[1], 101).is_guest);
    nodes_turn_ms(io, 20);
    ck_assert(nodes_are_linked(&nodes[0], &nodes[1]));
    ck_assert_uint_eq(nodes[0].disconnected_count + nodes[1].disconnected_count, 0);
}
END_TEST

START_TEST(test_a_guest_is_forgotten_with_its_connection)
{
    struct peers_member_facts facts;
    const struct membership nobody = {0};
    bus_members(nodes[1].bus, &nobody, 102);
    node_members(&nodes[0], all, 2);
    TURN_UNTIL(io, nodes[1].connected_count == 1);
    node_down(&nodes[0]);
    TURN_UNTIL(io, nodes[1].disconnected_count == 1);
    ck_assert_uint_eq(nodes[1].last_event_of, 101);
    TURN_UNTIL(io, !peers_member_facts(nodes[1].peers, 101, &facts));
    ck_assert(!node_send(&nodes[1], 101, BUS_CONTROL, 2, 10));
    TURN_UNTIL(io, peers_statistics(nodes[1].peers).connections_count == 0);
}
END_TEST

/* n3 joined while n2 was away: n2's membership does not know it, but it leads. */
START_TEST(test_a_member_that_lags_behind_hears_a_newer_one)
{
    node_members(&nodes[1], all, 2);
    for (unsigned i = 0; i < 3; i += 2)
        node_members(&nodes[i], all, 3);
    TURN_UNTIL(io, nodes_are_linked(&nodes[1], &nodes[2]));
    ck_assert(node_send(&nodes[2], 102, BUS_CONTROL, 5, 10));
    bus_flush(nodes[2].bus);
    TURN_UNTIL(io, nodes[1].came_count == 1);
    expect(&nodes[1], 0, 103, 5, 10);
}
END_TEST

START_TEST(test_who_was_removed_is_cut_and_stays_out_until_added_again)
{
    struct peers_member_facts facts;
    for (unsigned i = 0; i < 3; i++)
        node_members(&nodes[i], all, 3);
    TURN_UNTIL(io,
               nodes_are_linked(&nodes[0], &nodes[2]) && nodes_are_linked(&nodes[0], &nodes[1]));
    node_members(&nodes[0], all, 2);
    ck_assert(!peers_member_facts(nodes[0].peers, 103, &facts));
    ck_assert(!node_send(&nodes[0], 103, BUS_CONTROL, 1, 10));
    TURN_UNTIL(io, strstr(node_facts(&nodes[2], 101).trouble, "removed") != NULL);
    uint64_t refused_before = peers_statistics(nodes[0].peers).refused_count;
    TURN_UNTIL(io, peers_statistics(nodes[0].peers).refused_count >= refused_before + 3);
    ck_assert(!peers_member_facts(nodes[0].peers, 103, &facts));
    ck_assert(nodes_are_linked(&nodes[0], &nodes[1]));
    /* The entry that removed it was superseded. */
    node_members(&nodes[0], all, 3);
    TURN_UNTIL(io, nodes_are_linked(&nodes[0], &nodes[2]));
}
END_TEST

static bool is_connected_guest(const struct node *node, uint64_t id)
{
    struct peers_member_facts facts;
    return peers_member_facts(node->peers, id, &facts) && facts.is_guest && facts.is_sending &&
           facts.is_receiving;
}

/* The first one's membership may be older than the second one's replacement: then it hears of that
 * from the second one itself, or never. */
START_TEST(test_a_new_store_under_a_members_name_is_a_guest)
{
    node_members(&nodes[0], all, 2);
    /* n2 lost its disk. */
    nodes[1].about.id = 999;
    node_members(&nodes[1], all, 2);
    TURN_UNTIL(io, is_connected_guest(&nodes[0], 999));
    TURN_UNTIL(io, strstr(node_facts(&nodes[0], 102).trouble, "another store") != NULL);
    ck_assert(node_send(&nodes[0], 999, BUS_CONTROL, 1, 10));
    ck_assert(!node_send(&nodes[0], 102, BUS_CONTROL, 1, 10));
    /* The replacement comes by the log. */
    node_members(&nodes[0], all, 2);
    ck_assert(!is_connected_guest(&nodes[0], 999));
    TURN_UNTIL(io, nodes_are_linked(&nodes[0], &nodes[1]));
    nodes[1].about.id = 102;
}
END_TEST

/* ---- Probes ---- */

struct probing {
    unsigned done_count;
    struct peers_probed probed;
};

static void probed(void *context, const struct peers_probed *result)
{
    struct probing *probing = context;
    probing->done_count++;
    probing->probed = *result;
}

static enum status probe(struct node *node, const char *address, struct peers_probed *result)
{
    struct probing probing = {0};
    ck_assert_int_eq(peers_probe(node->peers, address, probed, &probing), STATUS_OK);
    ck_assert_uint_eq(probing.done_count, 0);
    TURN_UNTIL(io, probing.done_count == 1);
    nodes_turn_ms(io, 5);
    ck_assert_uint_eq(probing.done_count, 1);
    *result = probing.probed;
    return result->status;
}

START_TEST(test_a_probe_tells_who_is_there)
{
    const struct membership nobody = {0};
    struct peers_probed result;
    node_members(&nodes[0], all, 1);
    bus_members(nodes[1].bus, &nobody, 102);
    ck_assert_int_eq(probe(&nodes[0], nodes[1].about.peers, &result), STATUS_OK);
    ck_assert_uint_eq(result.member.id, 102);
    ck_assert_str_eq(result.member.name, "n2");
    ck_assert_str_eq(result.member.peers, nodes[1].about.peers);
    ck_assert_str_eq(result.member.clients, "127.0.0.1:7411");
    ck_assert_uint_eq(result.cluster_version_min, 1);
    ck_assert_uint_eq(result.cluster_version_max, 1);
    /* It leaves nothing behind: nobody was made a guest. */
    TURN_UNTIL(io, peers_statistics(nodes[1].peers).connections_count == 0);
    TURN_UNTIL(io, peers_statistics(nodes[0].peers).connections_count == 0);
    ck_assert_uint_eq(nodes[0].connected_count + nodes[1].connected_count, 0);
}
END_TEST

START_TEST(test_a_probe_in_vain_says_why)
{
    struct peers_probed result;
    struct probing probing = {0};
    static const char gone[] = "127.0.0.1:1";
    ck_assert_int_eq(peers_probe(nodes[0].peers, nodes[1].about.peers, probed, &probing),
                     STATUS_BUSY); /* before anybody knows who it is itself */
    node_members(&nodes[0], all, 1);
    ck_assert_int_eq(probe(&nodes[0], nodes[0].about.peers, &result), STATUS_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(result.reason, "itself"));
    /* n3 does not know yet who it is, and turns everybody away. */
    ck_assert_int_eq(probe(&nodes[0], nodes[2].about.peers, &result), STATUS_UNREACHABLE);
    ck_assert_int_eq(probe(&nodes[0], gone, &result), STATUS_UNREACHABLE);
    ck_assert_ptr_nonnull(strstr(result.reason, "refused"));
    static const char *const wrong[] = {"",
                                        "127.0.0.1",
                                        "127.0.0.1:",
                                        ":7000",
                                        "localhost:1",
                                        "127.0.0.1:0",
                                        "127.0.0.1:1x",
                                        "[]:1",
                                        "127.0.0.1:65536"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        ck_assert_int_eq(peers_probe(nodes[0].peers, wrong[i], probed, &probing),
                         STATUS_INVALID_ARGUMENT);
    for (unsigned i = 0; i < limit_peer_probes_count; i++)
        ck_assert_int_eq(peers_probe(nodes[0].peers, gone, probed, &probing), STATUS_OK);
    ck_assert_int_eq(peers_probe(nodes[0].peers, gone, probed, &probing), STATUS_BUSY);
    /* Those under way are told when all ends. */
    node_down(&nodes[0]);
    ck_assert_uint_eq(probing.done_count, limit_peer_probes_count);
    ck_assert_int_eq(probing.probed.status, STATUS_CANCELLED);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_unchecked_fixture(tests, setup_once, teardown_once);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_two_exchange_messages_of_both_lanes);
    tcase_add_test(tests, test_three_reach_each_other);
    tcase_add_test(tests, test_messages_of_all_sizes_are_whole);
    tcase_add_test(tests, test_control_overtakes_bulk_at_a_frames_border);
    tcase_add_test(tests, test_many_messages_share_a_send);
    tcase_add_test(tests, test_a_full_queue_says_so_and_when_it_has_room);
    tcase_add_test(tests, test_a_member_that_was_away_is_found_again);
    tcase_add_test(tests, test_a_break_with_much_under_way_loses_and_reorders_nothing_else);
    tcase_add_test(tests, test_connections_live_while_nothing_is_said);
    tcase_add_test(tests, test_a_new_store_hears_its_leader_and_can_answer);
    tcase_add_test(tests, test_a_guest_is_forgotten_with_its_connection);
    tcase_add_test(tests, test_a_member_that_lags_behind_hears_a_newer_one);
    tcase_add_test(tests, test_who_was_removed_is_cut_and_stays_out_until_added_again);
    tcase_add_test(tests, test_a_new_store_under_a_members_name_is_a_guest);
    tcase_add_test(tests, test_a_probe_tells_who_is_there);
    tcase_add_test(tests, test_a_probe_in_vain_says_why);
}
