/* SPDX-License-Identifier: Apache-2.0 */
/* The link to another region: whom it takes for that region, what it tells its user of each
 * request, and that nothing which comes on it can do more than end a connection. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/base/log.h"
#include "storage/io/uring.h"
#include "tests/unit/server_net/region_link_fixture.h"
#include "tests/unit/unit.h"

static struct authority ours;
static struct authority foreign;
static struct io *io;
static struct far far[3];
static struct near near;

static void setup_once(void)
{
    log_descriptor_set(-1);
    authority_make(&ours, "ca");
    authority_make(&foreign, "foreign");
}

static void teardown_once(void)
{
    authority_free(&foreign);
    authority_free(&ours);
}

static void setup(void)
{
    static const char *const names[] = {"n2", "n3", "n4"};
    io = nodes_io_open();
    for (unsigned i = 0; i < 3; i++)
        far_open(&far[i], io, &ours, &ours, names[i]);
    near_open(&near, io, &ours, "n1", NULL);
}

static void teardown(void)
{
    near_close(&near);
    for (unsigned i = 0; i < 3; i++)
        far_close(&far[i]);
    io_uring_close(io);
}

/* With other times, or as somebody else. */
static void near_again(const char *name, const struct region_link_options *options)
{
    near_close(&near);
    near_open(&near, io, &ours, name, options);
}

static const struct told *told_of(uintptr_t request)
{
    const struct told *found = NULL;
    for (unsigned i = 0; i < near.told_count; i++) {
        if (near.told[i].request != request)
            continue;
        ck_assert_ptr_null(found); /* each once */
        found = &near.told[i];
    }
    return found;
}

static struct region_link_statistics statistics(void)
{
    return region_link_statistics(near.link);
}

static bool trouble_says(const char *text)
{
    return strstr(region_link_facts(near.link).trouble, text) != NULL;
}

static void connect_to_first(void)
{
    near_endpoints(&near, far[0].address, NULL);
    TURN_UNTIL(io, near.connected_count == 1);
    ck_assert_str_eq(near.endpoint, far[0].address);
}

/* ---- Requests ---- */

START_TEST(test_requests_come_back_with_their_replies)
{
    ck_assert_int_eq(near_ask(&near, 1, 0), STATUS_UNREACHABLE);
    connect_to_first();
    ck_assert_str_eq(region_link_facts(near.link).identity, "n2");
    for (uint64_t i = 1; i <= limit_link_requests_count; i++)
        ck_assert_int_eq(near_ask(&near, i, 60000), STATUS_OK);
    ck_assert_int_eq(near_ask(&near, 100, 0), STATUS_BUSY);
    ck_assert_uint_eq(region_link_facts(near.link).requests_count, limit_link_requests_count);
    ck_assert_uint_eq(near.told_count, 0);
    TURN_UNTIL(io, near.told_count == limit_link_requests_count);
    for (uint64_t i = 1; i <= limit_link_requests_count; i++) {
        const struct told *told = told_of(i);
        ck_assert_ptr_nonnull(told);
        ck_assert_int_eq(told->status, STATUS_OK);
        ck_assert_uint_eq(told->version, i);
    }
    ck_assert_int_eq(near_ask(&near, 100, 0), STATUS_OK);
    TURN_UNTIL(io, told_of(100) != NULL);
    ck_assert_uint_eq(statistics().replies_count, limit_link_requests_count + 1);
    ck_assert_uint_eq(region_link_facts(near.link).requests_count, 0);
}
END_TEST

static struct {
    struct far_guest *guest;
    struct frame_header headers[limit_link_requests_count];
    uint64_t snapshots[limit_link_requests_count];
    unsigned count;
} kept;

static void keep(struct far_guest *guest, const struct frame_header *header, struct bytes body)
{
    if (header->type == FRAME_PING) {
        far_answer(guest, header, body);
        return;
    }
    Strait__Get *get = strait__get__unpack(NULL, body.size, body.data);
    ck_assert_uint_lt(kept.count, limit_link_requests_count);
    kept.guest = guest;
    kept.snapshots[kept.count] = get->snapshot_id;
    kept.headers[kept.count++] = *header;
    strait__get__free_unpacked(get, NULL);
}

static void keep_requests(struct far *server)
{
    memset(&kept, 0, sizeof kept);
    server->take = keep;
}

static void answer_kept(unsigned i, size_t value_size)
{
    Strait__Record record = STRAIT__RECORD__INIT;
    Strait__Record *records[] = {&record};
    Strait__GetReply reply = STRAIT__GET_REPLY__INIT;
    record.version = kept.snapshots[i];
    record.value.len = value_size;
    record.value.data = calloc(1, value_size + 1);
    reply.records = records;
    reply.n_records = 1;
    far_reply(kept.guest, &kept.headers[i], STATUS_OK, &reply.base);
    free(record.value.data);
}

START_TEST(test_replies_of_all_sizes_come_in_any_order)
{
    static const size_t sizes[] = {0,     1,      4000,    4096,    16384,
                                   16385, 100000, 1000000, 3000000, 4 * 1024 * 1024};
    enum { count = sizeof sizes / sizeof sizes[0] };
    keep_requests(&far[0]);
    connect_to_first();
    for (unsigned i = 0; i < count; i++)
        ck_assert_int_eq(near_ask(&near, i + 1, 0), STATUS_OK);
    TURN_UNTIL(io, kept.count == count);
    for (unsigned i = count; i-- > 0;)
        answer_kept(i, sizes[i]);
    TURN_UNTIL(io, near.told_count == count);
    for (unsigned i = 0; i < count; i++) {
        ck_assert_uint_eq(near.told[i].request, count - i);
        ck_assert_uint_eq(near.told[i].version, count - i);
        ck_assert_uint_eq(near.told[i].value_size, sizes[count - i - 1]);
    }
}
END_TEST

static void refuse(struct far_guest *guest, const struct frame_header *header, struct bytes body)
{
    (void)body;
    far_refuse(guest, header, STATUS_SNAPSHOT_TOO_OLD, "It is gone.", "");
}

START_TEST(test_a_refusal_is_handed_back_and_the_connection_stays)
{
    far[0].take = refuse;
    connect_to_first();
    for (uint64_t i = 1; i <= 3; i++)
        ck_assert_int_eq(near_ask(&near, i, 0), STATUS_OK);
    TURN_UNTIL(io, near.told_count == 3);
    for (uint64_t i = 1; i <= 3; i++) {
        ck_assert_int_eq(told_of(i)->status, STATUS_SNAPSHOT_TOO_OLD);
        ck_assert(told_of(i)->has_message);
    }
    ck_assert_uint_eq(near.disconnected_count, 0);
    ck_assert_uint_eq(statistics().refusals_count, 3);
}
END_TEST

START_TEST(test_what_is_too_large_is_not_taken)
{
    Strait__Get get = STRAIT__GET__INIT;
    Strait__Key key = STRAIT__KEY__INIT;
    Strait__Key *keys[] = {&key};
    connect_to_first();
    key.key.len = limit_request_get_size;
    key.key.data = calloc(1, key.key.len);
    get.keys = keys;
    get.n_keys = 1;
    ck_assert_int_eq(link_send(near.interface, FRAME_GET, &get.base, 0, NULL), STATUS_TOO_LARGE);
    free(key.key.data);
    ck_assert_uint_eq(region_link_facts(near.link).requests_count, 0);
}
END_TEST

/* The user hears in time; a reply that comes later is passed over, and its place is free again. */
START_TEST(test_a_request_has_its_time)
{
    keep_requests(&far[0]);
    connect_to_first();
    ck_assert_int_eq(near_ask(&near, 1, 20), STATUS_OK);
    ck_assert_int_eq(near_ask(&near, 2, 0), STATUS_OK);
    TURN_UNTIL(io, near.told_count == 1 && kept.count == 2);
    ck_assert_int_eq(told_of(1)->status, STATUS_DEADLINE_EXCEEDED);
    ck_assert(!told_of(1)->has_message);
    answer_kept(0, 10);
    answer_kept(1, 10);
    TURN_UNTIL(io, near.told_count == 2);
    ck_assert_int_eq(told_of(2)->status, STATUS_OK);
    far[0].take = far_answer;
    for (uint64_t i = 10; i < 10 + limit_link_requests_count; i++)
        ck_assert_int_eq(near_ask(&near, i, 60000), STATUS_OK);
    TURN_UNTIL(io, near.told_count == 2 + limit_link_requests_count);
    ck_assert_uint_eq(near.disconnected_count, 0);
    ck_assert_uint_eq(statistics().timeouts_count, 1);
}
END_TEST

/* It lives, and answers nothing: the link is not to be stuck with it. */
START_TEST(test_who_leaves_all_unanswered_is_left)
{
    keep_requests(&far[0]);
    connect_to_first();
    for (uint64_t i = 1; i <= limit_link_requests_count; i++)
        ck_assert_int_eq(near_ask(&near, i, 10), STATUS_OK);
    TURN_UNTIL(io, near.disconnected_count == 1);
    ck_assert_ptr_nonnull(strstr(near.reason, "unanswered"));
    ck_assert_uint_eq(near.told_count, limit_link_requests_count);
    unsigned late_count = 0;
    for (uint64_t i = 1; i <= limit_link_requests_count; i++) {
        late_count += told_of(i)->status == STATUS_DEADLINE_EXCEEDED;
        ck_assert(told_of(i)->status == STATUS_DEADLINE_EXCEEDED ||
                  told_of(i)->status == STATUS_DISCONNECTED);
    }
    ck_assert_uint_ge(late_count, limit_link_requests_count / 2 + 1);
    TURN_UNTIL(io, near.connected_count == 2);
}
END_TEST

/* ---- Connections that end ---- */

START_TEST(test_a_break_tells_of_each_request_once_and_then_of_itself)
{
    keep_requests(&far[0]);
    connect_to_first();
    for (uint64_t i = 1; i <= 10; i++)
        ck_assert_int_eq(near_ask(&near, i, 60000), STATUS_OK);
    TURN_UNTIL(io, kept.count == 10);
    answer_kept(4, 0);
    TURN_UNTIL(io, near.told_count == 1);
    far_drop(&far[0]);
    TURN_UNTIL(io, near.disconnected_count == 1);
    ck_assert_uint_eq(near.told_count, 10);
    for (uint64_t i = 1; i <= 10; i++)
        ck_assert_int_eq(told_of(i)->status, i == 5 ? STATUS_OK : STATUS_DISCONNECTED);
    ck_assert_int_eq(near_ask(&near, 11, 0), STATUS_UNREACHABLE);
    far[0].take = far_answer;
    TURN_UNTIL(io, near.connected_count == 2);
    ck_assert_int_eq(near_ask(&near, 12, 0), STATUS_OK);
    TURN_UNTIL(io, told_of(12) != NULL);
    ck_assert_int_eq(told_of(12)->status, STATUS_OK);
    ck_assert_uint_eq(statistics().disconnected_count, 9);
}
END_TEST

START_TEST(test_endpoints_are_tried_one_after_another)
{
    struct far gone;
    far_open(&gone, io, &ours, &ours, "n5");
    char address[32];
    memcpy(address, gone.address, sizeof address);
    far_close(&gone);
    near_endpoints(&near, address, "no endpoint", far[0].address, far[1].address, NULL);
    TURN_UNTIL(io, near.connected_count == 1);
    ck_assert_str_eq(near.endpoint, far[0].address);
    far_drop(&far[0]);
    TURN_UNTIL(io, near.connected_count == 2);
    ck_assert_str_eq(near.endpoint, far[1].address);
    far_drop(&far[1]);
    TURN_UNTIL(io, near.connected_count == 3);
    ck_assert_str_eq(near.endpoint, far[0].address);
    ck_assert_uint_ge(statistics().dialled_count, 4);
}
END_TEST

START_TEST(test_a_name_is_looked_up)
{
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "localhost:%u", far[0].port);
    near_endpoints(&near, endpoint, NULL);
    TURN_UNTIL(io, near.connected_count == 1);
    ck_assert_str_eq(near.endpoint, endpoint);
    ck_assert_int_eq(near_ask(&near, 1, 0), STATUS_OK);
    TURN_UNTIL(io, near.told_count == 1);
}
END_TEST

START_TEST(test_a_name_that_nobody_has_is_passed_over)
{
    near_endpoints(&near, "nobody.invalid:7411", far[1].address, NULL);
    TURN_UNTIL(io, near.connected_count == 1);
    ck_assert_str_eq(near.endpoint, far[1].address);
}
END_TEST

START_TEST(test_a_look_up_may_be_abandoned)
{
    for (unsigned i = 0; i < 20; i++) {
        near_endpoints(&near, i % 2 == 0 ? "nobody.invalid:1" : "localhost:1", NULL);
        io_turn(io, true);
    }
    near_endpoints(&near, "nobody.invalid:2", NULL);
    io_turn(io, true);
}
END_TEST

START_TEST(test_endpoints_may_change)
{
    near_endpoints(&near, far[0].address, far[1].address, NULL);
    TURN_UNTIL(io, near.connected_count == 1);
    /* The one that is connected is still of the list. */
    near_endpoints(&near, far[2].address, far[0].address, NULL);
    nodes_turn_ms(io, 20);
    ck_assert_uint_eq(near.disconnected_count, 0);
    near_endpoints(&near, far[2].address, NULL);
    TURN_UNTIL(io, near.connected_count == 2);
    ck_assert_str_eq(near.endpoint, far[2].address);
    link_endpoints(near.interface, NULL, 0);
    TURN_UNTIL(io, near.disconnected_count == 2);
    nodes_turn_ms(io, 50);
    ck_assert_uint_eq(near.connected_count, 2);
    near_endpoints(&near, far[2].address, NULL);
    TURN_UNTIL(io, near.connected_count == 3);
}
END_TEST

START_TEST(test_leaving_goes_on_to_the_next)
{
    keep_requests(&far[0]);
    near_endpoints(&near, far[0].address, far[1].address, NULL);
    TURN_UNTIL(io, near.connected_count == 1);
    ck_assert_int_eq(near_ask(&near, 1, 0), STATUS_OK);
    link_leave(near.interface, "it does not have what is asked for");
    ck_assert_uint_eq(near.told_count, 0); /* not from within the call */
    TURN_UNTIL(io, near.connected_count == 2);
    ck_assert_int_eq(told_of(1)->status, STATUS_DISCONNECTED);
    ck_assert_str_eq(near.reason, "it does not have what is asked for");
    ck_assert_str_eq(near.endpoint, far[1].address);
}
END_TEST

/* ---- The leader ---- */

static const char *leader;

static void refuse_as_follower(struct far_guest *guest, const struct frame_header *header,
                               struct bytes body)
{
    if (header->type == FRAME_PING)
        far_answer(guest, header, body);
    else
        far_refuse(guest, header, STATUS_NOT_LEADER, "Ask the leader.", leader);
}

START_TEST(test_the_leader_that_is_named_is_followed)
{
    far[0].take = refuse_as_follower;
    leader = far[2].address;
    connect_to_first();
    ck_assert_int_eq(near_ask(&near, 1, 0), STATUS_OK);
    TURN_UNTIL(io, near.connected_count == 2);
    ck_assert_int_eq(told_of(1)->status, STATUS_NOT_LEADER);
    ck_assert_str_eq(told_of(1)->leader, far[2].address);
    ck_assert_str_eq(near.endpoint, far[2].address);
    ck_assert_int_eq(near_ask(&near, 2, 0), STATUS_OK);
    TURN_UNTIL(io, near.told_count == 2);
    ck_assert_int_eq(told_of(2)->status, STATUS_OK);
    /* The same list again ends nothing, though the leader is not of it. */
    near_endpoints(&near, far[0].address, NULL);
    nodes_turn_ms(io, 20);
    ck_assert_uint_eq(near.disconnected_count, 1);
}
END_TEST

/* Its own region may know it by an address that leads nowhere from here. */
START_TEST(test_a_leader_that_is_not_listed_is_followed_after_the_list)
{
    far[0].take = refuse_as_follower;
    far[1].take = refuse_as_follower;
    leader = far[2].address;
    near_endpoints(&near, far[0].address, far[1].address, NULL);
    TURN_UNTIL(io, near.connected_count == 1);
    ck_assert_int_eq(near_ask(&near, 1, 0), STATUS_OK);
    TURN_UNTIL(io, near.connected_count == 2);
    ck_assert_str_eq(near.endpoint, far[1].address);
    ck_assert_int_eq(near_ask(&near, 2, 0), STATUS_OK);
    TURN_UNTIL(io, near.connected_count == 3);
    ck_assert_str_eq(near.endpoint, far[2].address);
}
END_TEST

START_TEST(test_without_a_leader_the_next_is_asked)
{
    static const char *const none[] = {"", "no address", "127.0.0.1:0", "a b:1"};
    far[0].take = refuse_as_follower;
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        leader = none[i];
        near_again("n1", NULL);
        near_endpoints(&near, far[0].address, far[1].address, NULL);
        TURN_UNTIL(io, near.connected_count == 1);
        ck_assert_int_eq(near_ask(&near, 1, 0), STATUS_OK);
        TURN_UNTIL(io, near.connected_count == 2);
        ck_assert_str_eq(near.endpoint, far[1].address);
    }
}
END_TEST

/* Two that each name the other: the link goes round, but not as fast as it can. */
START_TEST(test_leaders_that_name_each_other_are_asked_at_a_bearable_rate)
{
    const struct region_link_options slow = {.back_off_min_ms = 100, .back_off_max_ms = 100};
    near_again("n1", &slow);
    far[0].take = refuse_as_follower;
    leader = far[0].address;
    near_endpoints(&near, far[0].address, NULL);
    uint64_t began_ns = io_boot_ns(io);
    for (uint64_t i = 1; i <= 10; i++) {
        TURN_UNTIL(io, near.connected_count == i);
        ck_assert_int_eq(near_ask(&near, i, 0), STATUS_OK);
    }
    /* Five at once, and four after a pause of at least 50 ms. */
    ck_assert_uint_ge(io_boot_ns(io) - began_ns, UINT64_C(200000000));
    ck_assert_uint_ge(statistics().redirects_count, 9);
}
END_TEST

/* ---- Who is not taken for the other region ---- */

static void expect_never(const char *reason)
{
    near_endpoints(&near, far[0].address, NULL);
    TURN_UNTIL(io, trouble_says(reason));
    nodes_turn_ms(io, 30);
    ck_assert_uint_eq(near.connected_count, 0);
    ck_assert(!region_link_facts(near.link).is_connected);
}

static void far_is(const struct authority *authority, const struct authority *trusted,
                   const char *name)
{
    far_close(&far[0]);
    far_open(&far[0], io, authority, trusted, name);
}

START_TEST(test_a_certificate_of_another_authority_is_refused)
{
    far_is(&foreign, &ours, "n2");
    expect_never("certificate");
}
END_TEST

START_TEST(test_an_identity_without_the_role_is_refused)
{
    far_is(&ours, &ours, "shop");
    expect_never("shop does not have the role peer");
}
END_TEST

START_TEST(test_an_identity_that_is_not_listed_is_refused)
{
    far_is(&ours, &ours, "stranger");
    expect_never("stranger does not have the role peer");
}
END_TEST

START_TEST(test_another_cluster_is_refused)
{
    far[0].cluster_id[15] = 1;
    expect_never("another cluster");
}
END_TEST

static void say_hello_without_a_cluster(struct far_guest *guest)
{
    const struct frame_header header = {.type = FRAME_HELLO};
    Strait__HelloReply reply = STRAIT__HELLO_REPLY__INIT;
    far_reply(guest, &header, STATUS_OK, &reply.base);
}

START_TEST(test_a_hello_without_a_cluster_is_refused)
{
    far[0].hello = say_hello_without_a_cluster;
    expect_never("another cluster");
}
END_TEST

static void refuse_hello(struct far_guest *guest)
{
    const struct frame_header header = {.type = FRAME_HELLO};
    far_refuse(guest, &header, STATUS_UNAUTHENTICATED, "Not on this list.", "");
}

START_TEST(test_a_refused_hello_says_why)
{
    far[0].hello = refuse_hello;
    expect_never("Not on this list");
}
END_TEST

START_TEST(test_our_certificate_may_be_refused)
{
    far_is(&ours, &foreign, "n2");
    expect_never("alert");
}
END_TEST

/* ---- Silence ---- */

START_TEST(test_who_does_not_answer_the_handshake_is_left)
{
    const struct region_link_options quick = {
        .connect_ms = 30, .back_off_min_ms = 2, .back_off_max_ms = 10};
    near_again("n1", &quick);
    far[0].is_mute = true;
    near_endpoints(&near, far[0].address, far[1].address, NULL);
    TURN_UNTIL(io, near.connected_count == 1 || trouble_says("in time"));
    TURN_UNTIL(io, near.connected_count == 1);
    ck_assert_str_eq(near.endpoint, far[1].address);
    ck_assert_uint_ge(statistics().silences_count, 1);
}
END_TEST

START_TEST(test_a_connection_lives_while_nothing_is_asked)
{
    const struct region_link_options quick = {.keep_alive_ms = 5, .silent_ms = 30000};
    near_again("n1", &quick);
    connect_to_first();
    TURN_UNTIL(io, far[0].requests_count >= 10); /* PINGs */
    ck_assert_uint_eq(near.disconnected_count, 0);
    ck_assert_uint_eq(near.told_count, 0);
}
END_TEST

START_TEST(test_who_falls_silent_is_left)
{
    const struct region_link_options quick = {
        .keep_alive_ms = 10, .silent_ms = 200, .back_off_min_ms = 2, .back_off_max_ms = 10};
    near_again("n1", &quick);
    near_endpoints(&near, far[0].address, far[1].address, NULL);
    TURN_UNTIL(io, near.connected_count == 1);
    keep_requests(&far[0]);
    ck_assert_int_eq(near_ask(&near, 1, 0), STATUS_OK);
    TURN_UNTIL(io, kept.count == 1);
    far[0].is_mute = true;
    TURN_UNTIL(io, near.disconnected_count == 1);
    ck_assert_ptr_nonnull(strstr(near.reason, "nothing is heard"));
    ck_assert_int_eq(told_of(1)->status, STATUS_DISCONNECTED);
    TURN_UNTIL(io, near.connected_count == 2);
    ck_assert_str_eq(near.endpoint, far[1].address);
}
END_TEST

/* ---- Hostile bytes ---- */

static struct {
    uint8_t bytes[64];
    size_t size;
    bool to_hello;
} script;

static void speak(struct far_guest *guest)
{
    far_write(guest, script.bytes, script.size);
}

static void take_and_speak(struct far_guest *guest, const struct frame_header *header,
                           struct bytes body)
{
    (void)body;
    /* The number that was asked with, where the script leaves it open. */
    if (load_u64(script.bytes + 8) == UINT64_MAX)
        store_u64(script.bytes + 8, header->request);
    speak(guest);
}

/* In place of HELLO's reply, or of the first request's: the connection ends, what was in flight is
 * told of, and the next server serves. */
static void expect_end(const void *bytes, size_t size, bool to_hello)
{
    near_again("n1", NULL);
    memcpy(script.bytes, bytes, size);
    script.size = size;
    far[0].hello = to_hello ? speak : NULL;
    far[0].take = take_and_speak;
    near_endpoints(&near, far[0].address, far[1].address, NULL);
    TURN_UNTIL(io, near.connected_count == 1);
    if (!to_hello) {
        ck_assert_str_eq(near.endpoint, far[0].address);
        ck_assert_int_eq(near_ask(&near, 1, 60000), STATUS_OK);
        TURN_UNTIL(io, near.disconnected_count == 1);
        ck_assert_int_eq(told_of(1)->status, STATUS_DISCONNECTED);
        TURN_UNTIL(io, near.connected_count == 2);
    }
    ck_assert_str_eq(near.endpoint, far[1].address);
    ck_assert_uint_eq(statistics().malformed_count, 1);
    ck_assert_int_eq(near_ask(&near, 2, 0), STATUS_OK);
    TURN_UNTIL(io, told_of(2) != NULL);
    ck_assert_int_eq(told_of(2)->status, STATUS_OK);
}

static size_t lay_out(uint8_t to[64], uint32_t body_size, unsigned type, unsigned status,
                      uint64_t number, const char *body)
{
    store_u32(to, body_size);
    store_u16(to + 4, (uint16_t)type);
    store_u16(to + 6, (uint16_t)status);
    store_u64(to + 8, number);
    memcpy(to + 16, body, strlen(body));
    return 16 + strlen(body);
}

START_TEST(test_frames_that_cannot_be_end_the_connection)
{
    const uint64_t asked = UINT64_MAX; /* the number of the request */
    const struct {
        uint32_t body_size;
        unsigned type;
        unsigned status;
        uint64_t number;
        const char *body;
        bool to_hello;
    } cases[] = {
        {0, FRAME_GET, 0, asked, "", false}, /* a request */
        {0, 0xffff, 0, asked, "", false},    /* nothing of ours */
        {limit_frame_size + 1, FRAME_GET_REPLY, 0, asked, "", false},
        {0, FRAME_SCAN_REPLY, 0, asked, "", false},  /* to another question */
        {0, FRAME_GET_REPLY, 0, 1 << 20, "", false}, /* to none */
        {0, FRAME_GET_REPLY, 0, 0, "", false},
        {0, FRAME_HELLO_REPLY, 0, 0, "", false},                /* once more */
        {0, FRAME_PING_REPLY, 0, 1, "", false},                 /* nobody asked */
        {0, FRAME_GET_REPLY, STATUS_AGAIN, asked, "", false},   /* stays in a process */
        {3, FRAME_GET_REPLY, 0, asked, "\xff\xff\xff", false},  /* no message */
        {3, FRAME_GET_REPLY, 12, asked, "\xff\xff\xff", false}, /* no refusal */
        {0, FRAME_GET_REPLY, 0, 64, "", true},                  /* before HELLO's */
        {limit_frame_first_size + 1, FRAME_HELLO_REPLY, 0, 0, "", true},
        {2, FRAME_HELLO_REPLY, 0, 0, "\x0f\xff", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t bytes[64];
        size_t size = lay_out(bytes, cases[i].body_size, cases[i].type, cases[i].status,
                              cases[i].number, cases[i].body);
        expect_end(bytes, size, cases[i].to_hello);
    }
}
END_TEST

static void answer_twice(struct far_guest *guest, const struct frame_header *header,
                         struct bytes body)
{
    far_answer(guest, header, body);
    far_answer(guest, header, body);
}

START_TEST(test_a_second_reply_ends_the_connection_after_the_first)
{
    far[0].take = answer_twice;
    connect_to_first();
    ck_assert_int_eq(near_ask(&near, 1, 0), STATUS_OK);
    ck_assert_int_eq(near_ask(&near, 2, 0), STATUS_OK);
    TURN_UNTIL(io, near.disconnected_count == 1);
    ck_assert_int_eq(told_of(1)->status, STATUS_OK);
    ck_assert_int_eq(told_of(2)->status, STATUS_DISCONNECTED);
}
END_TEST

/* No TLS at all, and TLS that breaks off. */
START_TEST(test_garbage_in_place_of_tls_ends_the_connection)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    char endpoint[32];
    char junk[512];
    memset(junk, 0x16, sizeof junk);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    snprintf(endpoint, sizeof endpoint, "127.0.0.1:%u", ntohs(address.sin_port));
    near_endpoints(&near, endpoint, far[1].address, NULL);
    int socket_of_link = -1;
    TURN_UNTIL(io, (socket_of_link = accept(listener, NULL, NULL)) >= 0);
    ck_assert_int_eq(send(socket_of_link, junk, sizeof junk, 0), sizeof junk);
    TURN_UNTIL(io, near.connected_count == 1);
    ck_assert_str_eq(near.endpoint, far[1].address);
    ck_assert_uint_eq(statistics().malformed_count, 1);
    close(socket_of_link);
    close(listener);
}
END_TEST

/* ---- What the user does from within ---- */

static void leave_at_once(void *context, const char *endpoint)
{
    struct near *from = context;
    (void)endpoint;
    from->connected_count++;
    if (from->connected_count < 3)
        link_leave(from->interface, "not this one");
    else
        ck_assert_int_eq(near_ask(from, 7, 0), STATUS_OK);
}

static void count_end(void *context, const char *reason)
{
    struct near *from = context;
    (void)reason;
    from->disconnected_count++;
    ck_assert_int_eq(near_ask(from, 8, 0), STATUS_UNREACHABLE);
}

static void note_and_stop(void *context, void *request, enum status status,
                          const ProtobufCMessage *message)
{
    struct near *from = context;
    ck_assert_uint_eq((uintptr_t)request, 7);
    ck_assert_int_eq(status, STATUS_OK);
    ck_assert_ptr_nonnull(message);
    from->told_count++;
    link_endpoints(from->interface, NULL, 0);
}

START_TEST(test_the_user_may_call_the_link_while_it_is_told)
{
    const struct link_user user = {.connected = leave_at_once,
                                   .disconnected = count_end,
                                   .replied = note_and_stop,
                                   .context = &near};
    link_attach(near.interface, NULL);
    link_attach(near.interface, &user);
    near_endpoints(&near, far[0].address, far[1].address, far[2].address, NULL);
    TURN_UNTIL(io, near.disconnected_count == 3);
    ck_assert_uint_eq(near.told_count, 1);
    ck_assert_uint_eq(near.connected_count, 3);
}
END_TEST

/* ---- A real server ---- */

static struct server server;

static void enter_server(const char *name)
{
    char endpoint[32];
    SSL_CTX *tls = server_tls(&ours, &ours);
    server_start(&server, tls, NULL, true);
    SSL_CTX_free(tls);
    near_again(name, NULL);
    snprintf(endpoint, sizeof endpoint, "127.0.0.1:%u", server.port);
    near_endpoints(&near, endpoint, NULL);
}

/* A peer may say HELLO and PING, and may not read what clients read. */
START_TEST(test_a_server_permits_a_peer_what_regions_ask_and_no_more)
{
    const struct region_link_options quick = {.keep_alive_ms = 5, .silent_ms = 30000};
    char endpoint[32];
    enter_server("n1");
    TURN_UNTIL(io, near.connected_count == 1);
    ck_assert_int_eq(near_ask(&near, 1, 0), STATUS_OK);
    TURN_UNTIL(io, near.told_count == 1);
    ck_assert_int_eq(told_of(1)->status, STATUS_PERMISSION_DENIED);
    near_again("n1", &quick);
    snprintf(endpoint, sizeof endpoint, "127.0.0.1:%u", server.port);
    near_endpoints(&near, endpoint, NULL);
    uint64_t before = server_statistics(&server).requests_count;
    TURN_UNTIL(io, server_statistics(&server).requests_count >= before + 5);
    ck_assert_uint_eq(near.disconnected_count, 0);
    ck_assert_uint_eq(server_statistics(&server).denied_count, 1);
    server_stop(&server);
}
END_TEST

START_TEST(test_a_server_refuses_who_is_not_on_its_list)
{
    enter_server("n5");
    TURN_UNTIL(io, trouble_says("not on this server's access list"));
    ck_assert_uint_eq(near.connected_count, 0);
    server_stop(&server);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_unchecked_fixture(tests, setup_once, teardown_once);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_requests_come_back_with_their_replies);
    tcase_add_test(tests, test_replies_of_all_sizes_come_in_any_order);
    tcase_add_test(tests, test_a_refusal_is_handed_back_and_the_connection_stays);
    tcase_add_test(tests, test_what_is_too_large_is_not_taken);
    tcase_add_test(tests, test_a_request_has_its_time);
    tcase_add_test(tests, test_who_leaves_all_unanswered_is_left);
    tcase_add_test(tests, test_a_break_tells_of_each_request_once_and_then_of_itself);
    tcase_add_test(tests, test_endpoints_are_tried_one_after_another);
    tcase_add_test(tests, test_a_name_is_looked_up);
    tcase_add_test(tests, test_a_name_that_nobody_has_is_passed_over);
    tcase_add_test(tests, test_a_look_up_may_be_abandoned);
    tcase_add_test(tests, test_endpoints_may_change);
    tcase_add_test(tests, test_leaving_goes_on_to_the_next);
    tcase_add_test(tests, test_the_leader_that_is_named_is_followed);
    tcase_add_test(tests, test_a_leader_that_is_not_listed_is_followed_after_the_list);
    tcase_add_test(tests, test_without_a_leader_the_next_is_asked);
    tcase_add_test(tests, test_leaders_that_name_each_other_are_asked_at_a_bearable_rate);
    tcase_add_test(tests, test_a_certificate_of_another_authority_is_refused);
    tcase_add_test(tests, test_an_identity_without_the_role_is_refused);
    tcase_add_test(tests, test_an_identity_that_is_not_listed_is_refused);
    tcase_add_test(tests, test_another_cluster_is_refused);
    tcase_add_test(tests, test_a_hello_without_a_cluster_is_refused);
    tcase_add_test(tests, test_a_refused_hello_says_why);
    tcase_add_test(tests, test_our_certificate_may_be_refused);
    tcase_add_test(tests, test_who_does_not_answer_the_handshake_is_left);
    tcase_add_test(tests, test_a_connection_lives_while_nothing_is_asked);
    tcase_add_test(tests, test_who_falls_silent_is_left);
    tcase_add_test(tests, test_frames_that_cannot_be_end_the_connection);
    tcase_add_test(tests, test_a_second_reply_ends_the_connection_after_the_first);
    tcase_add_test(tests, test_garbage_in_place_of_tls_ends_the_connection);
    tcase_add_test(tests, test_the_user_may_call_the_link_while_it_is_told);
    tcase_add_test(tests, test_a_server_permits_a_peer_what_regions_ask_and_no_more);
    tcase_add_test(tests, test_a_server_refuses_who_is_not_on_its_list);
}
