/* SPDX-License-Identifier: Apache-2.0 */
/* Replies: many in one send, bounded where nobody takes them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "proto/base/log.h"
#include "tests/unit/server_net/fixture.h"
#include "tests/unit/unit.h"

enum { output_size = 256 * 1024, send_ms = 2000 };

static struct authority ours;
static struct certificate shop;
static SSL_CTX *tls;
static struct server server;
static struct client client;

static void setup(void)
{
    log_descriptor_set(-1);
    authority_make(&ours, "ca");
    shop = issue(&ours, CERTIFICATE_CLIENT, "URI:strait:shop", -60, 3600);
    tls = server_tls(&ours, &ours);
    const struct net_options options = {
        .connection_output_size = output_size, .connection_requests_max = 2000, .send_ms = send_ms};
    server_start(&server, tls, &options, false);
    client_enter(&client, server.port, &shop, &ours);
}

static void teardown(void)
{
    client_close(&client);
    server_stop(&server);
    SSL_CTX_free(tls);
    certificate_free(&shop);
    authority_free(&ours);
}

static void send_get(size_t value_size)
{
    char digits[32];
    Strait__Get get = STRAIT__GET__INIT;
    Strait__Key key = STRAIT__KEY__INIT;
    Strait__Key *keys[] = {&key};
    snprintf(digits, sizeof digits, "%zu", value_size);
    key.table = (char *)(uintptr_t) "orders";
    key.key = (ProtobufCBinaryData){.data = (uint8_t *)digits, .len = strlen(digits)};
    get.keys = keys;
    get.n_keys = 1;
    client_send(&client, FRAME_GET, &get.base);
}

/* A thousand requests in one write: answered in order, in few sends. */
START_TEST(test_replies_share_sends)
{
    enum { count = 1000 };
    uint8_t *frames = calloc(count, frame_header_size);
    uint64_t before = server_statistics(&server).sends_count;
    for (uint64_t i = 0; i < count; i++) {
        const struct frame_header header = {.type = FRAME_PING, .request = i};
        frame_header_encode(&header, frames + i * frame_header_size);
    }
    client_write(&client, frames, (size_t)count * frame_header_size);
    for (uint64_t i = 0; i < count; i++) {
        struct reply reply;
        ck_assert(client_receive(&client, &reply));
        ck_assert_uint_eq(reply.number, i);
        reply_free(&reply);
    }
    EVENTUALLY(server_statistics(&server).requests_in_flight_count == 0);
    ck_assert_uint_lt(server_statistics(&server).sends_count - before, 20);
    free(frames);
}
END_TEST

START_TEST(test_large_replies)
{
    static const size_t sizes[] = {0, 1, 16384, 65536, 1000000, 6000000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct reply reply;
        send_get(sizes[i]);
        ck_assert(client_receive(&client, &reply));
        ck_assert_int_eq(reply.status, STATUS_OK);
        Strait__GetReply *get = strait__get_reply__unpack(NULL, reply.size, reply.body);
        ck_assert_uint_eq(get->records[0]->value.len, sizes[i]);
        strait__get_reply__free_unpacked(get, NULL);
        reply_free(&reply);
    }
    /* Larger than a frame: a refusal that says so. */
    send_get((size_t)limit_frame_size + 1);
    client_expect(&client, STATUS_TOO_LARGE);
    client_ping(&client);
}
END_TEST

/* Asks for far more than the bound and reads nothing for a while: reading pauses, what is past
 * twice the bound is refused with BUSY, nothing is lost, and the connection goes on. */
START_TEST(test_output_is_bounded)
{
    enum { count = 100, value_size = 100000 };
    unsigned served = 0;
    unsigned busy = 0;
    server_hold(&server, true);
    for (int i = 0; i < count; i++)
        send_get(value_size);
    EVENTUALLY(atomic_load(&server.held_count) == count);
    server_hold(&server, false);
    for (int i = 0; i < count; i++) {
        struct reply reply;
        ck_assert(client_receive(&client, &reply));
        ck_assert(reply.status == STATUS_OK || reply.status == STATUS_BUSY);
        served += reply.status == STATUS_OK;
        busy += reply.status == STATUS_BUSY;
        ck_assert(reply.status == STATUS_OK || reply.refusal->retry_after_ms > 0);
        reply_free(&reply);
    }
    ck_assert_uint_eq(served + busy, count);
    ck_assert_uint_ge(served, 2 * output_size / value_size);
    ck_assert_uint_le(served, 2 * output_size / value_size + 1);
    client_ping(&client);
    EVENTUALLY(server_statistics(&server).requests_in_flight_size == 0);
}
END_TEST

static void make_receive_buffer_small(void)
{
    const int receive_size = 64 * 1024;
    ck_assert_int_eq(
        setsockopt(client.descriptor, SOL_SOCKET, SO_RCVBUF, &receive_size, sizeof receive_size),
        0);
}

/* More than the bound waits for the client, so reading pauses; it goes on once that is taken. */
START_TEST(test_reading_goes_on_after_a_pause)
{
    Strait__Ping ping = STRAIT__PING__INIT;
    make_receive_buffer_small();
    send_get(6000000);
    EVENTUALLY(server_statistics(&server).requests_count == 2);
    client_send(&client, FRAME_PING, &ping.base);
    client_expect(&client, STATUS_OK);
    client_expect(&client, STATUS_OK);
    ck_assert_uint_eq(server_statistics(&server).requests_count, 3);
}
END_TEST

/* Never reads: is left after send_ms, while others are served. */
START_TEST(test_reader_that_never_reads)
{
    struct client other;
    client_enter(&other, server.port, &shop, &ours);
    make_receive_buffer_small();
    /* More than the kernel's own buffers hold. */
    for (int i = 0; i < 5; i++)
        send_get(6000000);
    client_ping(&other);
    EVENTUALLY(server_statistics(&server).timeouts_count == 1);
    EVENTUALLY(server_statistics(&server).connections_count == 1);
    ck_assert_uint_eq(server_statistics(&server).requests_in_flight_count, 0);
    client_ping(&other);
    client_close(&other);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_replies_share_sends);
    tcase_add_test(tests, test_large_replies);
    tcase_add_test(tests, test_output_is_bounded);
    tcase_add_test(tests, test_reading_goes_on_after_a_pause);
    tcase_add_test(tests, test_reader_that_never_reads);
}
