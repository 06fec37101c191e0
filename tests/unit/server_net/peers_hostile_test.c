/* SPDX-License-Identifier: Apache-2.0 */
/* Who is not let in, and what nobody gets away with. */
#include <openssl/err.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/base/log.h"
#include "storage/io/socket.h"
#include "storage/io/uring.h"
#include "tests/unit/server_net/peers_fixture.h"
#include "tests/unit/unit.h"

static struct authority ours;
static struct authority foreign;

static const struct peers_options quick = {.keep_alive_ms = 50,
                                           .silent_ms = 60000,
                                           .handshake_ms = 60000,
                                           .back_off_min_ms = 5,
                                           .back_off_max_ms = 50};

static void setup(void)
{
    log_descriptor_set(-1);
    authority_make(&ours, "ca");
    authority_make(&foreign, "foreign");
}

static void teardown(void)
{
    authority_free(&foreign);
    authority_free(&ours);
}

/* ---- Two members that do not fit ---- */

struct couple {
    struct io *io;
    struct node a;
    struct node b;
};

static void couple_make(struct couple *couple)
{
    couple->io = nodes_io_open();
    node_make(&couple->a, couple->io, &ours, "n1", 101, &quick);
    node_make(&couple->b, couple->io, &ours, "n2", 102, &quick);
}

static void couple_free(struct couple *couple)
{
    node_free(&couple->a);
    node_free(&couple->b);
    io_uring_close(couple->io);
}

static void couple_meet(struct couple *couple)
{
    struct node *both[] = {&couple->a, &couple->b};
    node_members(&couple->a, both, 2);
    node_members(&couple->b, both, 2);
}

/* Both try, both learn why not, and neither is ever connected. */
static void expect_no_match(struct couple *couple, const char *reason)
{
    couple_meet(couple);
    TURN_UNTIL(couple->io, strstr(node_facts(&couple->a, 102).trouble, reason) != NULL);
    TURN_UNTIL(couple->io, strstr(node_facts(&couple->b, 101).trouble, reason) != NULL);
    nodes_turn_ms(couple->io, 30);
    ck_assert_uint_eq(couple->a.connected_count + couple->b.connected_count, 0);
    ck_assert(!node_facts(&couple->a, 102).is_receiving);
    ck_assert(!node_facts(&couple->b, 101).is_receiving);
    couple_free(couple);
}

START_TEST(test_another_cluster_is_refused)
{
    struct couple couple;
    couple_make(&couple);
    node_down(&couple.b);
    couple.b.options.cluster_id[15] = 1;
    node_up(&couple.b);
    expect_no_match(&couple, "different clusters");
}
END_TEST

START_TEST(test_versions_that_do_not_overlap_are_refused)
{
    struct couple couple;
    couple_make(&couple);
    node_down(&couple.b);
    couple.b.options.cluster_version_min = 2;
    couple.b.options.cluster_version_max = 3;
    node_up(&couple.b);
    expect_no_match(&couple, "cluster versions");
}
END_TEST

START_TEST(test_versions_that_overlap_are_fine)
{
    struct couple couple;
    couple_make(&couple);
    node_down(&couple.b);
    couple.b.options.cluster_version_max = 3;
    node_up(&couple.b);
    couple_meet(&couple);
    TURN_UNTIL(couple.io, nodes_are_linked(&couple.a, &couple.b));
    ck_assert_uint_eq(node_facts(&couple.a, 102).cluster_version_max, 3);
    couple_free(&couple);
}
END_TEST

START_TEST(test_a_certificate_of_another_authority_is_refused)
{
    struct couple couple;
    couple_make(&couple);
    SSL_CTX *tls = node_tls(&foreign, &foreign, "n2");
    peers_reload_tls(couple.b.peers, tls);
    SSL_CTX_free(tls);
    expect_no_match(&couple, "certificate");
}
END_TEST

/* n2's certificate is a right one, of a member, but of n3. */
START_TEST(test_a_certificate_of_another_member_is_refused)
{
    struct couple couple;
    couple_make(&couple);
    SSL_CTX *tls = node_tls(&ours, &ours, "n3");
    peers_reload_tls(couple.b.peers, tls);
    SSL_CTX_free(tls);
    couple_meet(&couple);
    TURN_UNTIL(couple.io, strstr(node_facts(&couple.a, 102).trouble, "that of n3") != NULL);
    TURN_UNTIL(couple.io,
               strstr(node_facts(&couple.b, 101).trouble, "its certificate says n3") != NULL);
    ck_assert_uint_eq(couple.a.connected_count + couple.b.connected_count, 0);
    couple_free(&couple);
}
END_TEST

START_TEST(test_an_identity_without_the_role_is_refused)
{
    struct couple couple;
    couple_make(&couple);
    SSL_CTX *tls = node_tls(&ours, &ours, "shop");
    peers_reload_tls(couple.b.peers, tls);
    SSL_CTX_free(tls);
    couple_meet(&couple);
    TURN_UNTIL(couple.io, strstr(node_facts(&couple.a, 102).trouble, "role peer") != NULL);
    TURN_UNTIL(couple.io, strstr(node_facts(&couple.b, 101).trouble, "role peer") != NULL);
    ck_assert_uint_eq(couple.a.connected_count + couple.b.connected_count, 0);
    couple_free(&couple);
}
END_TEST

START_TEST(test_a_certificate_is_read_anew)
{
    struct couple couple;
    couple_make(&couple);
    SSL_CTX *bad = node_tls(&foreign, &ours, "n2");
    SSL_CTX *good = node_tls(&ours, &ours, "n2");
    peers_reload_tls(couple.b.peers, bad);
    couple_meet(&couple);
    TURN_UNTIL(couple.io, strstr(node_facts(&couple.a, 102).trouble, "certificate") != NULL);
    peers_reload_tls(couple.b.peers, good);
    TURN_UNTIL(couple.io, nodes_are_linked(&couple.a, &couple.b));
    SSL_CTX_free(bad);
    SSL_CTX_free(good);
    couple_free(&couple);
}
END_TEST

START_TEST(test_an_access_list_is_read_anew)
{
    struct couple couple;
    struct access *without;
    couple_make(&couple);
    couple_meet(&couple);
    TURN_UNTIL(couple.io, nodes_are_linked(&couple.a, &couple.b));
    ck_assert_int_eq(access_open(&without), STATUS_OK);
    ck_assert_int_eq(access_add(without, "n1", ROLE_PEER), STATUS_OK);
    ck_assert_int_eq(access_add(without, "n2", ROLE_READER), STATUS_OK);
    peers_reload_access(couple.a.peers, without);
    access_close(without);
    TURN_UNTIL(couple.io, !nodes_are_linked(&couple.a, &couple.b));
    TURN_UNTIL(couple.io, strstr(node_facts(&couple.b, 101).trouble, "role peer") != NULL);
    peers_reload_access(couple.a.peers, couple.a.access);
    TURN_UNTIL(couple.io, nodes_are_linked(&couple.a, &couple.b));
    couple_free(&couple);
}
END_TEST

START_TEST(test_opening_says_what_does_not_fit)
{
    struct couple couple;
    struct peers *peers;
    struct error error = {0};
    couple_make(&couple);
    struct peers_options options = couple.a.options;
    options.port = 0;
    options.name = "n7";
    ck_assert_int_eq(peers_open(&options, &peers, &error), STATUS_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(error.text, "URI:strait:n7"));
    options.name = "n1";
    options.peers_address = "n1.example.com";
    ck_assert_int_eq(peers_open(&options, &peers, &error), STATUS_INVALID_ARGUMENT);
    options.peers_address = couple.a.options.peers_address;
    options.port = couple.b.options.port;
    ck_assert_int_eq(peers_open(&options, &peers, &error), STATUS_LOCKED);
    ck_assert_ptr_null(peers);
    couple_free(&couple);
}
END_TEST

/* ---- A network that swallows ---- */

/* Forwards bytes between whoever connects to it and a member, until it is frozen: then it takes
 * all, and gives nothing on. */
struct swallower {
    struct io *io;
    struct io_listener *listener;
    uint16_t target;
    bool frozen;
    unsigned ways_count;
    struct way {
        struct swallower *swallower;
        struct io_socket *from;
        struct way *back;
        struct io_op op;
        uint8_t *data; /* under way */
        uint8_t *next; /* came since */
        size_t next_size;
    } ways[64];
};

static void way_send(struct way *way)
{
    if (way->op.pending || way->next_size == 0 || way->back->from == NULL)
        return;
    free(way->data);
    way->data = way->next;
    size_t size = way->next_size;
    way->next = NULL;
    way->next_size = 0;
    io_socket_send(way->back->from, &way->op, way->data, size);
}

static void way_sent(struct io_op *op)
{
    way_send(op->context);
}

static void way_close(struct way *way)
{
    if (way->from != NULL)
        io_socket_close(way->from);
    way->from = NULL;
}

static void way_received(void *context, const uint8_t *data, size_t size, enum status status)
{
    struct way *way = context;
    (void)status;
    if (way->swallower->frozen)
        return;
    if (size == 0) {
        way_close(way->back);
        way_close(way);
        return;
    }
    way->next = realloc(way->next, way->next_size + size);
    memcpy(way->next + way->next_size, data, size);
    way->next_size += size;
    way_send(way);
}

static void way_connected(struct io_op *op)
{
    struct way *way = op->context;
    if (way->back->from != NULL && op->status == STATUS_OK)
        io_socket_receive_start(way->back->from, way_received, way->back);
    op->done = way_sent;
    way_send(way);
}

static void swallower_accepted(void *context, struct io_socket *socket, enum status status)
{
    struct swallower *swallower = context;
    ck_assert_int_eq(status, STATUS_OK);
    ck_assert_uint_lt(swallower->ways_count + 2, 64);
    struct way *in = &swallower->ways[swallower->ways_count++];
    struct way *out = &swallower->ways[swallower->ways_count++];
    *in = (struct way){.swallower = swallower, .from = socket, .back = out};
    *out = (struct way){.swallower = swallower, .back = in};
    in->op = (struct io_op){.done = way_connected, .context = in};
    out->op = (struct io_op){.done = way_sent, .context = out};
    ck_assert_int_eq(io_connect(swallower->io, "127.0.0.1", swallower->target, &in->op, &out->from),
                     STATUS_OK);
    io_socket_receive_start(socket, way_received, in);
}

static void swallower_close(struct swallower *swallower)
{
    io_listener_close(swallower->io, swallower->listener);
    for (unsigned i = 0; i < swallower->ways_count; i++)
        way_close(&swallower->ways[i]);
    while (swallower->io->pending_count > 0)
        io_turn(swallower->io, true);
    for (unsigned i = 0; i < swallower->ways_count; i++) {
        free(swallower->ways[i].data);
        free(swallower->ways[i].next);
    }
}

/* Half-open: no side hears of an end, yet each finds out, and when the network is back, so are
 * they.
 */
START_TEST(test_a_silent_network_is_found_out_by_both_sides)
{
    struct couple couple;
    static struct swallower swallower;
    struct error error = {0};
    couple.io = nodes_io_open();
    struct peers_options options = quick;
    options.silent_ms = 500;
    options.handshake_ms = 2000;
    node_make(&couple.a, couple.io, &ours, "n1", 101, &options);
    node_make(&couple.b, couple.io, &ours, "n2", 102, &options);
    swallower = (struct swallower){.io = couple.io, .target = couple.b.options.port};
    ck_assert_int_eq(io_listen(couple.io, "127.0.0.1", 0, swallower_accepted, &swallower,
                               &swallower.listener, &error),
                     STATUS_OK);
    /* Only n1's way to n2 goes through it. */
    snprintf(couple.b.about.peers, sizeof couple.b.about.peers, "127.0.0.1:%u",
             io_listener_port(swallower.listener));
    couple_meet(&couple);
    TURN_UNTIL(couple.io, nodes_are_linked(&couple.a, &couple.b));
    TURN_UNTIL(couple.io, couple.a.connected_count == 1);
    swallower.frozen = true;
    TURN_UNTIL(couple.io, couple.a.disconnected_count >= 1);
    TURN_UNTIL(couple.io, !node_facts(&couple.b, 101).is_receiving);
    ck_assert_uint_ge(peers_statistics(couple.a.peers).timeouts_count +
                          peers_statistics(couple.b.peers).timeouts_count,
                      1);
    /* What was under way is lost, and what is dialled from now on gets through. */
    swallower.frozen = false;
    for (unsigned i = 0; i < swallower.ways_count; i++)
        way_close(&swallower.ways[i]);
    TURN_UNTIL(couple.io, nodes_are_linked(&couple.a, &couple.b));
    node_down(&couple.a);
    node_down(&couple.b);
    swallower_close(&swallower);
    couple_free(&couple);
}
END_TEST

/* ---- A member on a thread of its own, and somebody outside who means it no good ---- */

static struct {
    struct io *io;
    struct io_bell bell;
    struct node node;
    pthread_t thread;
    atomic_bool stop;
    pthread_mutex_t lock;
    struct peers_statistics statistics; /* under the lock */
    unsigned came_count;                /* the same */
    atomic_bool ready;
    struct peers_options options;
} alone;

static void rung(struct io_bell *bell)
{
    (void)bell;
}

static void *alone_main(void *context)
{
    struct membership membership = {0};
    (void)context;
    alone.io = nodes_io_open();
    alone.bell = (struct io_bell){.rung = rung};
    ck_assert_int_eq(io_bell_open(alone.io, &alone.bell), STATUS_OK);
    node_make(&alone.node, alone.io, &ours, "n1", 101, &alone.options);
    const struct member n2 = {
        .id = 102, .kinds = MEMBER_VOTER, .name = "n2", .peers = "127.0.0.1:1", .clients = "x:1"};
    ck_assert(membership_set(&membership, &alone.node.about) && membership_set(&membership, &n2));
    bus_members(alone.node.bus, &membership, 101);
    atomic_store(&alone.ready, true);
    while (!atomic_load(&alone.stop)) {
        io_turn(alone.io, true);
        pthread_mutex_lock(&alone.lock);
        alone.statistics = peers_statistics(alone.node.peers);
        alone.came_count = alone.node.came_count;
        pthread_mutex_unlock(&alone.lock);
    }
    node_free(&alone.node);
    pthread_mutex_lock(&alone.lock); /* who rings holds it */
    io_bell_close(alone.io, &alone.bell);
    pthread_mutex_unlock(&alone.lock);
    io_uring_close(alone.io);
    return NULL;
}

static void alone_start(const struct peers_options *options)
{
    memset(&alone, 0, sizeof alone);
    alone.options = *options;
    pthread_mutex_init(&alone.lock, NULL);
    ck_assert_int_eq(pthread_create(&alone.thread, NULL, alone_main, NULL), 0);
    EVENTUALLY(atomic_load(&alone.ready));
}

static void alone_stop(void)
{
    pthread_mutex_lock(&alone.lock);
    atomic_store(&alone.stop, true);
    io_bell_ring(alone.io, &alone.bell);
    pthread_mutex_unlock(&alone.lock);
    pthread_join(alone.thread, NULL);
    pthread_mutex_destroy(&alone.lock);
}

static struct peers_statistics alone_statistics(void)
{
    pthread_mutex_lock(&alone.lock);
    struct peers_statistics statistics = alone.statistics;
    pthread_mutex_unlock(&alone.lock);
    return statistics;
}

static unsigned alone_came_count(void)
{
    pthread_mutex_lock(&alone.lock);
    unsigned count = alone.came_count;
    pthread_mutex_unlock(&alone.lock);
    return count;
}

static void enter(struct client *client, const char *names)
{
    struct certificate certificate = issue(&ours, CERTIFICATE_MEMBER, names, -60, 3600);
    client_connect(client, alone.node.options.port);
    ck_assert(client_handshake(client, &certificate, &ours, TLS1_3_VERSION, NULL));
    certificate_free(&certificate);
}

static void say(struct client *client, const struct peer_frame_header *header, const void *body,
                size_t size)
{
    uint8_t frame[peer_frame_header_size];
    peer_frame_encode(header, frame);
    client_write(client, frame, sizeof frame);
    if (size > 0)
        client_write(client, body, size);
}

static struct peer_hello good_hello(void)
{
    return (struct peer_hello){.cluster_version_min = 1,
                               .cluster_version_max = 1,
                               .member = 102,
                               .expected = 101,
                               .name = "n2",
                               .peers = "127.0.0.1:1",
                               .clients = "127.0.0.1:2"};
}

static void say_hello(struct client *client, const struct peer_hello *hello)
{
    uint8_t body[peer_hello_size_max];
    size_t size = peer_hello_encode(hello, body);
    const struct peer_frame_header header = {.kind = PEER_FRAME_HELLO, .body_size = (uint32_t)size};
    say(client, &header, body, size);
}

/* The next frame: its kind, and its body in `body`. 0: the connection ended. */
static int hear(struct client *client, uint8_t *body, size_t *size)
{
    uint8_t bytes[peer_frame_header_size];
    struct peer_frame_header header;
    if (!client_read(client, bytes, sizeof bytes))
        return 0;
    ck_assert_int_eq(peer_frame_decode(bytes, &header), STATUS_OK);
    ck_assert_uint_le(header.body_size, 1024);
    ck_assert(header.body_size == 0 || client_read(client, body, header.body_size));
    *size = header.body_size;
    return (int)header.kind;
}

/* Says HELLO, and is answered with one. */
static void greet(struct client *client)
{
    uint8_t body[1024];
    size_t size;
    struct peer_hello hello = good_hello();
    say_hello(client, &hello);
    ck_assert_int_eq(hear(client, body, &size), PEER_FRAME_HELLO);
    ck_assert_int_eq(peer_hello_decode(bytes_of(body, size), &hello), STATUS_OK);
    ck_assert_str_eq(hello.name, "n1");
    ck_assert_uint_eq(hello.member, 101);
}

static void expect_refusal(struct client *client, enum status status)
{
    uint8_t body[1024];
    size_t size;
    struct peer_refusal refusal;
    ck_assert_int_eq(hear(client, body, &size), PEER_FRAME_REFUSAL);
    ck_assert_int_eq(peer_refusal_decode(bytes_of(body, size), &refusal), STATUS_OK);
    ck_assert_int_eq(refusal.status, status);
    ck_assert_uint_gt(strlen(refusal.reason), 10);
    ck_assert(client_is_closed(client));
    client_close(client);
}

START_TEST(test_a_hello_that_lies_is_refused_in_words)
{
    struct client client;
    alone_start(&quick);
    for (int kind = 0; kind < 5; kind++) {
        struct peer_hello hello = good_hello();
        enum status expected = STATUS_PERMISSION_DENIED;
        if (kind == 0) {
            snprintf(hello.name, sizeof hello.name, "n3");
        } else if (kind == 1) {
            hello.cluster_id[0] = 7;
            expected = STATUS_INVALID_ARGUMENT;
        } else if (kind == 2) {
            hello.cluster_version_min = hello.cluster_version_max = 9;
            expected = STATUS_UNSUPPORTED;
        } else if (kind == 3) {
            hello.member = 101; /* the listener's own */
            expected = STATUS_INVALID_ARGUMENT;
        } else {
            hello.expected = 55;
            expected = STATUS_NOT_FOUND;
        }
        enter(&client, "URI:strait:n2");
        say_hello(&client, &hello);
        expect_refusal(&client, expected);
    }
    ck_assert_uint_eq(alone_statistics().refused_count, 5);
    alone_stop();
}
END_TEST

START_TEST(test_another_protocol_version_is_refused_in_words)
{
    struct client client;
    uint8_t body[200] = {9};
    const struct peer_frame_header header = {.kind = PEER_FRAME_HELLO, .body_size = sizeof body};
    alone_start(&quick);
    enter(&client, "URI:strait:n2");
    say(&client, &header, body, sizeof body);
    expect_refusal(&client, STATUS_UNSUPPORTED);
    alone_stop();
}
END_TEST

START_TEST(test_a_client_is_no_peer)
{
    struct client client;
    alone_start(&quick);
    enter(&client, "URI:strait:shop");
    expect_refusal(&client, STATUS_PERMISSION_DENIED);
    enter(&client, "URI:strait:stranger");
    expect_refusal(&client, STATUS_PERMISSION_DENIED);
    enter(&client, "URI:strait:n2,URI:strait:n3");
    expect_refusal(&client, STATUS_UNAUTHENTICATED);
    /* And without a certificate, or with one of another authority, nothing at all. */
    struct certificate certificate =
        issue(&foreign, CERTIFICATE_MEMBER, "URI:strait:n2", -60, 3600);
    for (int i = 0; i < 2; i++) {
        uint8_t byte;
        client_connect(&client, alone.node.options.port);
        if (client_handshake(&client, i == 0 ? NULL : &certificate, &ours, TLS1_3_VERSION, NULL))
            ck_assert(!client_read(&client, &byte, 1));
        client_close(&client);
    }
    certificate_free(&certificate);
    EVENTUALLY(alone_statistics().handshakes_failed_count == 2);
    EVENTUALLY(alone_statistics().connections_count == 0);
    alone_stop();
}
END_TEST

/* What is sent by who was not greeted yet, or was: each ends its connection, and nothing of it is
 * taken. */
START_TEST(test_garbage_ends_the_connection)
{
    enum { kinds_count = 9 };
    static uint8_t zeros[limit_peer_frame_size];
    alone_start(&quick);
    for (int kind = 0; kind < kinds_count; kind++) {
        struct client client;
        uint64_t malformed_before = alone_statistics().malformed_count;
        enter(&client, "URI:strait:n2");
        if (kind >= 3)
            greet(&client);
        struct peer_frame_header header = {.kind = PEER_FRAME_MESSAGE,
                                           .lane = BUS_BULK,
                                           .body_size = limit_peer_frame_size,
                                           .message_size = 2 * limit_peer_frame_size};
        switch (kind) {
        case 0: /* a message before HELLO */
            header.message_size = header.body_size = 5;
            say(&client, &header, zeros, 5);
            break;
        case 1:
            client_write(&client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
            break;
        case 2: /* a HELLO of nothing but zeros, of the right version */
            header = (struct peer_frame_header){.kind = PEER_FRAME_HELLO, .body_size = 100};
            store_u32(zeros, peer_protocol_version);
            say(&client, &header, zeros, 100);
            store_u32(zeros, 0);
            break;
        case 3:
            client_write(&client, "\xff\xff\xff\xff\x04\x01\0\0\0\0\0\0\0\0\0\0", 16);
            break;
        case 4: /* the middle of a message that never began */
            header.message_offset = limit_peer_frame_size;
            say(&client, &header, zeros, 0);
            break;
        case 5: /* a frame of another message within a message */
            say(&client, &header, zeros, limit_peer_frame_size);
            header.message_size = 3 * limit_peer_frame_size;
            header.message_offset = limit_peer_frame_size;
            say(&client, &header, zeros, 0);
            break;
        case 6: /* the same part twice */
            say(&client, &header, zeros, limit_peer_frame_size);
            say(&client, &header, zeros, 0);
            break;
        case 7:
            header = (struct peer_frame_header){.kind = PEER_FRAME_HELLO, .body_size = 100};
            say(&client, &header, zeros, 100);
            break;
        default: /* CONTROL in parts */
            header.lane = BUS_CONTROL;
            say(&client, &header, zeros, 0);
        }
        ck_assert_msg(client_is_closed(&client), "kind %d", kind);
        client_close(&client);
        EVENTUALLY(alone_statistics().malformed_count == malformed_before + 1);
    }
    EVENTUALLY(alone_statistics().connections_count == 0);
    ck_assert_uint_eq(alone_came_count(), 0);
    alone_stop();
}
END_TEST

/* A message that breaks off is no message. */
START_TEST(test_half_a_message_is_none)
{
    static uint8_t zeros[limit_peer_frame_size];
    struct client client;
    const struct peer_frame_header header = {.kind = PEER_FRAME_MESSAGE,
                                             .lane = BUS_BULK,
                                             .body_size = limit_peer_frame_size,
                                             .message_size = limit_peer_message_size};
    const struct peer_frame_header small = {
        .kind = PEER_FRAME_MESSAGE, .lane = BUS_CONTROL, .body_size = 3, .message_size = 3};
    alone_start(&quick);
    enter(&client, "URI:strait:n2");
    greet(&client);
    say(&client, &header, zeros, limit_peer_frame_size);
    say(&client, &small, "abc", 3);
    EVENTUALLY(alone_came_count() == 1);
    client_close(&client);
    EVENTUALLY(alone_statistics().connections_count == 0);
    ck_assert_uint_eq(alone_came_count(), 1);
    alone_stop();
}
END_TEST

START_TEST(test_every_byte_on_its_own_is_fine)
{
    struct client client;
    const struct peer_frame_header header = {
        .kind = PEER_FRAME_MESSAGE, .lane = BUS_CONTROL, .body_size = 3, .message_size = 3};
    alone_start(&quick);
    client.segment_size = 0;
    enter(&client, "URI:strait:n2");
    client.segment_size = 1;
    greet(&client);
    say(&client, &header, "abc", 3);
    EVENTUALLY(alone_came_count() == 1);
    client_close(&client);
    alone_stop();
}
END_TEST

START_TEST(test_keep_alives_are_answered)
{
    struct client client;
    uint8_t body[1024];
    size_t size;
    const struct peer_frame_header header = {.kind = PEER_FRAME_KEEP_ALIVE};
    alone_start(&quick);
    enter(&client, "URI:strait:n2");
    greet(&client);
    for (int i = 0; i < 3; i++) {
        say(&client, &header, NULL, 0);
        ck_assert_int_eq(hear(&client, body, &size), PEER_FRAME_KEEP_ALIVE);
    }
    client_close(&client);
    alone_stop();
}
END_TEST

START_TEST(test_who_says_nothing_is_left)
{
    struct client client;
    struct peers_options options = quick;
    options.silent_ms = 100;
    alone_start(&options);
    enter(&client, "URI:strait:n2");
    greet(&client);
    ck_assert(client_is_closed(&client));
    EVENTUALLY(alone_statistics().timeouts_count >= 1);
    client_close(&client);
    alone_stop();
}
END_TEST

/* Those who connect and say nothing, or too little, take no more places than are theirs, and not
 * for long; then a member gets in. */
START_TEST(test_slow_handshakes_are_bounded)
{
    enum { count = limit_peer_handshakes_host_count + 8 };
    int idlers[count];
    struct client client;
    struct peers_options options = quick;
    options.handshake_ms = 300;
    alone_start(&options);
    for (int i = 0; i < count; i++) {
        client_connect(&client, alone.node.options.port);
        idlers[i] = client.descriptor;
        if (i % 2 == 0)
            ck_assert_int_eq(send(idlers[i], "\x16\x03\x01\x02", 4, MSG_NOSIGNAL), 4);
    }
    EVENTUALLY(alone_statistics().accepted_count + alone_statistics().turned_away_count >= count);
    ck_assert_uint_le(alone_statistics().connections_max, limit_peer_handshakes_host_count + 1);
    EVENTUALLY(alone_statistics().timeouts_count >= limit_peer_handshakes_host_count / 2);
    EVENTUALLY(alone_statistics().connections_count <= 1);
    for (int i = 0; i < count; i++)
        close(idlers[i]);
    enter(&client, "URI:strait:n2");
    greet(&client);
    client_close(&client);
    /* Also one that comes as far as TLS and stays there. */
    uint64_t timeouts_before = alone_statistics().timeouts_count;
    enter(&client, "URI:strait:n2");
    ck_assert(client_is_closed(&client));
    EVENTUALLY(alone_statistics().timeouts_count > timeouts_before);
    client_close(&client);
    alone_stop();
}
END_TEST

START_TEST(test_changes_of_key_without_end_are_refused)
{
    struct client client;
    alone_start(&quick);
    enter(&client, "URI:strait:n2");
    greet(&client);
    for (int i = 0; i < 3 * limit_connection_key_updates_count && !client.ended; i++) {
        if (SSL_key_update(client.ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1 ||
            SSL_do_handshake(client.ssl) != 1)
            break;
        client_flush(&client);
    }
    ERR_clear_error();
    ck_assert(client_is_closed(&client));
    client_close(&client);
    EVENTUALLY(alone_statistics().malformed_count == 1);
    alone_stop();
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_unchecked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_another_cluster_is_refused);
    tcase_add_test(tests, test_versions_that_do_not_overlap_are_refused);
    tcase_add_test(tests, test_versions_that_overlap_are_fine);
    tcase_add_test(tests, test_a_certificate_of_another_authority_is_refused);
    tcase_add_test(tests, test_a_certificate_of_another_member_is_refused);
    tcase_add_test(tests, test_an_identity_without_the_role_is_refused);
    tcase_add_test(tests, test_a_certificate_is_read_anew);
    tcase_add_test(tests, test_an_access_list_is_read_anew);
    tcase_add_test(tests, test_opening_says_what_does_not_fit);
    tcase_add_test(tests, test_a_silent_network_is_found_out_by_both_sides);
    tcase_add_test(tests, test_a_hello_that_lies_is_refused_in_words);
    tcase_add_test(tests, test_another_protocol_version_is_refused_in_words);
    tcase_add_test(tests, test_a_client_is_no_peer);
    tcase_add_test(tests, test_garbage_ends_the_connection);
    tcase_add_test(tests, test_half_a_message_is_none);
    tcase_add_test(tests, test_every_byte_on_its_own_is_fine);
    tcase_add_test(tests, test_keep_alives_are_answered);
    tcase_add_test(tests, test_who_says_nothing_is_left);
    tcase_add_test(tests, test_slow_handshakes_are_bounded);
    tcase_add_test(tests, test_changes_of_key_without_end_are_refused);
}
