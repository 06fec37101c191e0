/* SPDX-License-Identifier: Apache-2.0 */
/* The net loop: limits over all connections, deadlines, reload, graceful stop; on one thread with
 * the core, and on two. */
#include "server/net/net.h"

#include <sys/socket.h>

#include "proto/base/log.h"
#include "tests/unit/server_net/fixture.h"
#include "tests/unit/unit.h"

static struct authority ours;
static struct authority foreign;
static struct certificate shop;
static SSL_CTX *tls;
static struct server server;
static struct client client;

static void setup(void)
{
    log_descriptor_set(-1);
    authority_make(&ours, "ca");
    authority_make(&foreign, "foreign");
    shop = issue(&ours, CERTIFICATE_CLIENT, "URI:strait:shop", -60, 3600);
    tls = server_tls(&ours, &ours);
}

static void teardown(void)
{
    SSL_CTX_free(tls);
    certificate_free(&shop);
    authority_free(&foreign);
    authority_free(&ours);
}

static void start(const struct net_options *options)
{
    server_start(&server, tls, options, false);
}

static void send_ping(struct client *from)
{
    Strait__Ping ping = STRAIT__PING__INIT;
    client_send(from, FRAME_PING, &ping.base);
}

static void send_header(struct client *from, uint32_t body_size, enum frame_type type)
{
    uint8_t bytes[frame_header_size];
    const struct frame_header header = {.type = type, .body_size = body_size, .request = 1};
    frame_header_encode(&header, bytes);
    client_write(from, bytes, sizeof bytes);
}

START_TEST(test_half_open_connections_are_left)
{
    start(&(struct net_options){.handshake_ms = 2000, .frame_ms = 2000, .close_ms = 100});
    struct client silent;
    struct client nameless;
    struct client partial;
    struct client trickle;
    struct client good;
    client_enter(&good, server.port, &shop, &ours);
    client_connect(&silent, server.port);
    client_connect(&nameless, server.port);
    ck_assert(client_handshake(&nameless, &shop, &ours, TLS1_3_VERSION, NULL));
    client_enter(&partial, server.port, &shop, &ours);
    send_header(&partial, 100, FRAME_GET);
    client_write(&partial, "abc", 3);
    client_enter(&trickle, server.port, &shop, &ours);
    client_write(&trickle, "x", 1);
    ck_assert(client_is_closed(&silent));
    ck_assert(client_is_closed(&nameless));
    ck_assert(client_is_closed(&partial));
    ck_assert(client_is_closed(&trickle));
    EVENTUALLY(server_statistics(&server).connections_count == 1);
    ck_assert_uint_eq(server_statistics(&server).timeouts_count, 4);
    ck_assert_uint_eq(server_statistics(&server).requests_in_flight_count, 0);
    client_ping(&good); /* idle, and whole: not touched */
    client_close(&silent);
    client_close(&nameless);
    client_close(&partial);
    client_close(&trickle);
    client_close(&good);
    server_stop(&server);
}
END_TEST

/* Bytes that keep coming do not put off the deadline of the whole frame. */
START_TEST(test_slow_senders_are_left)
{
    start(&(struct net_options){.frame_ms = 300});
    client_enter(&client, server.port, &shop, &ours);
    send_header(&client, limit_txn_size, FRAME_COMMIT);
    EVENTUALLY((client_write(&client, "x", 1), server_statistics(&server).timeouts_count == 1));
    client_close(&client);
    server_stop(&server);
}
END_TEST

START_TEST(test_connections_are_bounded)
{
    struct client clients[2];
    start(&(struct net_options){.connections_max = 2});
    client_enter(&clients[0], server.port, &shop, &ours);
    client_enter(&clients[1], server.port, &shop, &ours);
    client_connect(&client, server.port);
    ck_assert(client_is_closed(&client));
    client_close(&client);
    client_close(&clients[1]);
    EVENTUALLY(server_statistics(&server).connections_count == 1);
    client_enter(&clients[1], server.port, &shop, &ours);
    ck_assert_uint_eq(server_statistics(&server).accept_refused_count, 1);
    ck_assert_uint_eq(server_statistics(&server).connections_max, 2);
    client_close(&clients[0]);
    client_close(&clients[1]);
    server_stop(&server);
}
END_TEST

/* Past a bound: BUSY at once, and what was taken is answered. */
static void expect_busy(const struct net_options *options, unsigned taken, unsigned refused)
{
    start(options);
    client_enter(&client, server.port, &shop, &ours);
    EVENTUALLY(server_statistics(&server).requests_in_flight_count == 0);
    server_hold(&server, true);
    for (unsigned i = 0; i < taken + refused; i++)
        send_ping(&client);
    for (unsigned i = 0; i < refused; i++) {
        struct reply reply;
        ck_assert(client_receive(&client, &reply));
        ck_assert_int_eq(reply.status, STATUS_BUSY);
        ck_assert_uint_gt(reply.refusal->retry_after_ms, 0);
        reply_free(&reply);
    }
    ck_assert_uint_eq(server_statistics(&server).busy_count, refused);
    server_hold(&server, false);
    for (unsigned i = 0; i < taken; i++)
        client_expect(&client, STATUS_OK);
    client_ping(&client);
    client_close(&client);
    server_stop(&server);
}

START_TEST(test_requests_are_bounded)
{
    expect_busy(&(struct net_options){.requests_max = 5}, 5, 3);
    expect_busy(&(struct net_options){.connection_requests_max = 3}, 3, 4);
}
END_TEST

/* The memory of requests in flight: a body that does not fit is passed over, a small one goes. */
START_TEST(test_memory_of_requests_is_bounded)
{
    static uint8_t body[100000];
    start(&(struct net_options){.requests_size = sizeof body});
    client_enter(&client, server.port, &shop, &ours);
    send_header(&client, sizeof body, FRAME_COMMIT);
    client_write(&client, body, sizeof body);
    struct reply reply;
    ck_assert(client_receive(&client, &reply));
    ck_assert(reply.status == STATUS_MALFORMED); /* zeroes; it was let in whole */
    reply_free(&reply);
    send_header(&client, sizeof body + 1, FRAME_COMMIT);
    client_write(&client, body, sizeof body);
    client_write(&client, body, 1);
    client_expect(&client, STATUS_BUSY);
    client_ping(&client);
    client_close(&client);
    EVENTUALLY(server_statistics(&server).requests_in_flight_size == 0);
    server_stop(&server);
}
END_TEST

START_TEST(test_reload)
{
    struct client old;
    struct certificate theirs = issue(&foreign, CERTIFICATE_CLIENT, "URI:strait:shop", -60, 3600);
    SSL_CTX *next = server_tls(&foreign, &foreign);
    start(NULL);
    client_enter(&old, server.port, &shop, &ours);
    net_reload_tls(server.net, next);
    client_enter(&client, server.port, &theirs, &foreign);
    client_ping(&client);
    client_close(&client);
    client_ping(&old); /* goes on as it was */
    client_close(&old);
    client_connect(&client, server.port);
    ck_assert(!client_handshake(&client, &shop, &ours, TLS1_3_VERSION, NULL));
    client_close(&client);
    /* A second reload before anybody connects: the first one's context is not lost. */
    net_reload_tls(server.net, next);
    net_reload_tls(server.net, tls);
    client_enter(&client, server.port, &shop, &ours);
    client_close(&client);
    server_stop(&server);
    SSL_CTX_free(next);
    certificate_free(&theirs);
}
END_TEST

static struct access *access_of(const char *identity, enum role role)
{
    struct access *access;
    ck_assert_int_eq(access_open(&access), STATUS_OK);
    ck_assert_int_eq(access_add(access, "dba", ROLE_ADMIN), STATUS_OK);
    if (identity != NULL)
        ck_assert_int_eq(access_add(access, identity, role), STATUS_OK);
    return access;
}

/* Who has another role than before is let go, and comes back as what it is now; the others stay. */
START_TEST(test_reload_of_access)
{
    struct client admin;
    struct certificate dba = issue(&ours, CERTIFICATE_CLIENT, "URI:strait:dba", -60, 3600);
    Strait__Commit commit = STRAIT__COMMIT__INIT;
    start(NULL);
    client_enter(&admin, server.port, &dba, &ours);
    client_enter(&client, server.port, &shop, &ours);
    client_ping(&client);

    /* The same roles: nothing happens to anybody. */
    struct access *next = access_of("shop", ROLE_WRITER);
    net_reload_access(server.net, next);
    access_close(next);
    client_ping(&client);
    client_ping(&admin);

    next = access_of("shop", ROLE_READER);
    net_reload_access(server.net, next);
    access_close(next);
    ck_assert(client_is_closed(&client));
    client_close(&client);
    client_enter(&client, server.port, &shop, &ours);
    client_send(&client, FRAME_COMMIT, &commit.base);
    client_expect(&client, STATUS_PERMISSION_DENIED);

    /* Two lists at once: the newer one counts. */
    next = access_of("shop", ROLE_WRITER);
    net_reload_access(server.net, next);
    access_close(next);
    next = access_of(NULL, ROLE_NONE);
    net_reload_access(server.net, next);
    access_close(next);
    ck_assert(client_is_closed(&client));
    client_close(&client);
    client_connect(&client, server.port);
    ck_assert(client_handshake(&client, &shop, &ours, TLS1_3_VERSION, NULL));
    client_hello(&client, frame_protocol_version);
    client_expect(&client, STATUS_UNAUTHENTICATED);
    client_close(&client);
    client_ping(&admin); /* stayed all the time */
    client_close(&admin);
    server_stop(&server);
    certificate_free(&dba);
}
END_TEST

START_TEST(test_graceful_stop)
{
    struct client idle;
    struct client half;
    start(NULL);
    client_enter(&idle, server.port, &shop, &ours);
    client_enter(&client, server.port, &shop, &ours);
    client_connect(&half, server.port);
    server_hold(&server, true);
    send_ping(&client);
    EVENTUALLY(atomic_load(&server.held_count) == 1);
    net_drain(server.net);
    ck_assert(client_is_closed(&idle));
    ck_assert(client_is_closed(&half));
    send_ping(&client);
    client_expect(&client, STATUS_SHUTTING_DOWN);
    ck_assert(!atomic_load(&server.is_drained));
    server_hold(&server, false);
    client_expect(&client, STATUS_OK); /* what was outstanding is delivered */
    ck_assert(client_is_closed(&client));
    client_close(&client);
    client_close(&idle);
    client_close(&half);
    EVENTUALLY(atomic_load(&server.is_drained));
    server_stop(&server);
}
END_TEST

/* A stop that waits for nobody: with a request at the core and half a frame on its way. */
START_TEST(test_close_with_all_under_way)
{
    struct client other;
    start(NULL);
    client_enter(&client, server.port, &shop, &ours);
    client_enter(&other, server.port, &shop, &ours);
    send_header(&other, 1000000, FRAME_COMMIT);
    client_write(&other, "x", 1);
    server_hold(&server, true);
    send_ping(&client);
    EVENTUALLY(atomic_load(&server.held_count) == 1);
    server_stop(&server);
    client_close(&other);
    client_close(&client);
}
END_TEST

/* The same with the core on another thread, whose bells are rung when it waits. */
START_TEST(test_two_threads)
{
    enum { count = 500, rounds = 20 };
    server_start(&server, tls, NULL, true);
    client_enter(&client, server.port, &shop, &ours);
    for (int i = 0; i < 100; i++)
        client_ping(&client);
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < count; i++)
            send_ping(&client);
        for (int i = 0; i < count; i++)
            client_expect(&client, STATUS_OK);
    }
    ck_assert_uint_eq(server_statistics(&server).busy_count, 0);
    client_close(&client);
    server_stop(&server);
}
END_TEST

/* Two loops on two threads accept from one port. */
START_TEST(test_two_loops_share_a_port)
{
    enum { count = 20 };
    static struct server second;
    static struct client clients[count];
    start(NULL);
    server_start(&second, tls, &(struct net_options){.beside = server.net}, false);
    ck_assert_uint_eq(second.port, server.port);
    for (int i = 0; i < count; i++)
        client_enter(&clients[i], server.port, &shop, &ours);
    ck_assert_uint_eq(server_statistics(&server).connections_count +
                          server_statistics(&second).connections_count,
                      count);
    /* The port stays open with either. */
    net_drain(server.net);
    EVENTUALLY(server_statistics(&server).connections_count == 0);
    client_enter(&client, second.port, &shop, &ours);
    client_ping(&client);
    client_close(&client);
    for (int i = 0; i < count; i++)
        client_close(&clients[i]);
    server_stop(&second);
    server_stop(&server);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_half_open_connections_are_left);
    tcase_add_test(tests, test_slow_senders_are_left);
    tcase_add_test(tests, test_connections_are_bounded);
    tcase_add_test(tests, test_requests_are_bounded);
    tcase_add_test(tests, test_memory_of_requests_is_bounded);
    tcase_add_test(tests, test_reload);
    tcase_add_test(tests, test_reload_of_access);
    tcase_add_test(tests, test_graceful_stop);
    tcase_add_test(tests, test_close_with_all_under_way);
    tcase_add_test(tests, test_two_threads);
    tcase_add_test(tests, test_two_loops_share_a_port);
}
