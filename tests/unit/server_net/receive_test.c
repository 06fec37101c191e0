/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: what is refused, with what words, and whether the connection goes on. */
#include <stdlib.h>
#include <string.h>

#include "proto/base/log.h"
#include "tests/unit/server_net/fixture.h"
#include "tests/unit/unit.h"

static struct authority ours;
static struct certificate shop;
static struct certificate reports;
static struct certificate dba;
static SSL_CTX *tls;
static struct server server;
static struct client client;

static void setup(void)
{
    log_descriptor_set(-1);
    authority_make(&ours, "ca");
    shop = issue(&ours, CERTIFICATE_CLIENT, "URI:strait:shop", -60, 3600);
    reports = issue(&ours, CERTIFICATE_CLIENT, "DNS:reports", -60, 3600);
    dba = issue(&ours, CERTIFICATE_CLIENT, "email:dba", -60, 3600);
    tls = server_tls(&ours, &ours);
    const struct net_options options = {.close_ms = 500};
    server_start(&server, tls, &options, false);
}

static void teardown(void)
{
    server_stop(&server);
    SSL_CTX_free(tls);
    certificate_free(&dba);
    certificate_free(&reports);
    certificate_free(&shop);
    authority_free(&ours);
}

static void send_header(uint32_t body_size, unsigned type, unsigned status)
{
    uint8_t bytes[frame_header_size];
    store_u32(bytes, body_size);
    store_u16(bytes + 4, (uint16_t)type);
    store_u16(bytes + 6, (uint16_t)status);
    store_u64(bytes + 8, ++client.number);
    client_write(&client, bytes, sizeof bytes);
}

static void send_zeroes(size_t size)
{
    static const uint8_t zeroes[64 * 1024];
    while (size != 0) {
        size_t part = size < sizeof zeroes ? size : sizeof zeroes;
        client_write(&client, zeroes, part);
        size -= part;
    }
}

static void connect_without_hello(void)
{
    client_connect(&client, server.port);
    ck_assert(client_handshake(&client, &shop, &ours, TLS1_3_VERSION, NULL));
}

static void expect_end(enum status status)
{
    client_expect(&client, status);
    ck_assert(client_is_closed(&client));
    client_close(&client);
    EVENTUALLY(server_statistics(&server).connections_count == 0);
    ck_assert_uint_eq(server_statistics(&server).requests_in_flight_count, 0);
}

START_TEST(test_wrong_protocol_version)
{
    connect_without_hello();
    client_hello(&client, frame_protocol_version + 1);
    expect_end(STATUS_UNSUPPORTED);
}
END_TEST

START_TEST(test_first_frame_is_bounded)
{
    connect_without_hello();
    send_header(limit_frame_first_size + 1, FRAME_HELLO, 0);
    expect_end(STATUS_TOO_LARGE);
    connect_without_hello();
    send_header(UINT32_MAX, FRAME_HELLO, 0);
    expect_end(STATUS_TOO_LARGE);
}
END_TEST

START_TEST(test_first_frame_is_hello)
{
    connect_without_hello();
    send_header(0, FRAME_PING, 0);
    expect_end(STATUS_MALFORMED);
    connect_without_hello();
    send_header(4, FRAME_HELLO, 0);
    client_write(&client, "\xff\xff\xff\xff", 4);
    expect_end(STATUS_MALFORMED);
}
END_TEST

START_TEST(test_headers_that_end_the_connection)
{
    static const struct {
        uint32_t size;
        unsigned type;
        unsigned status;
        enum status refused;
    } headers[] = {
        {0, FRAME_PING, 1, STATUS_MALFORMED},
        {0, FRAME_HELLO, 0, STATUS_MALFORMED}, /* once more */
        {limit_frame_size + 1, FRAME_COMMIT, 0, STATUS_TOO_LARGE},
        {UINT32_MAX, FRAME_PING, 0, STATUS_TOO_LARGE},
        {UINT32_MAX, 0x1234, 0, STATUS_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        client_enter(&client, server.port, &shop, &ours);
        send_header(headers[i].size, headers[i].type, headers[i].status);
        expect_end(headers[i].refused);
    }
}
END_TEST

START_TEST(test_frames_that_are_passed_over)
{
    static const struct {
        uint32_t size;
        unsigned type;
        enum status refused;
    } frames[] = {
        {0, 0x1234, STATUS_UNSUPPORTED},
        {100, FRAME_PING_REPLY, STATUS_UNSUPPORTED},
        {limit_request_small_size + 1, FRAME_PING, STATUS_TOO_LARGE},
        {limit_frame_size, FRAME_COMMIT, STATUS_TOO_LARGE},
    };
    client_enter(&client, server.port, &shop, &ours);
    for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++) {
        send_header(frames[i].size, frames[i].type, 0);
        send_zeroes(frames[i].size);
        client_expect(&client, frames[i].refused);
        client_ping(&client);
    }
    client_close(&client);
}
END_TEST

/* The frame was whole, so the connection goes on. */
START_TEST(test_bodies_that_are_refused)
{
    static const char unknown_field[] = {(char)0xa2, 0x06, 1, 'x'}; /* field 100 */
    client_enter(&client, server.port, &shop, &ours);
    send_header(4, FRAME_GET, 0);
    client_write(&client, "\xff\xff\xff\xff", 4);
    client_expect(&client, STATUS_MALFORMED);
    send_header(sizeof unknown_field, FRAME_PING, 0);
    client_write(&client, unknown_field, sizeof unknown_field);
    client_expect(&client, STATUS_MALFORMED);
    client_ping(&client);
    client_close(&client);
    ck_assert_uint_eq(server_statistics(&server).malformed_count, 2);
}
END_TEST

/* A schema change, or a put of a value of this size. */
static void send_commit(bool schema, size_t value_size)
{
    Strait__Commit commit = STRAIT__COMMIT__INIT;
    Strait__Operation operation = STRAIT__OPERATION__INIT;
    Strait__Operation *operations[] = {&operation};
    Strait__TableCreate create = STRAIT__TABLE_CREATE__INIT;
    Strait__Put put = STRAIT__PUT__INIT;
    uint8_t *value = calloc(1, value_size + 1);
    create.table = put.table = (char *)(uintptr_t) "orders";
    put.value = (ProtobufCBinaryData){.data = value, .len = value_size};
    operation.kind_case =
        schema ? STRAIT__OPERATION__KIND_TABLE_CREATE : STRAIT__OPERATION__KIND_PUT;
    if (schema)
        operation.table_create = &create;
    else
        operation.put = &put;
    commit.operations = operations;
    commit.n_operations = 1;
    client_send(&client, FRAME_COMMIT, &commit.base);
    free(value);
}

START_TEST(test_roles)
{
    const struct {
        const struct certificate *certificate;
        enum status put;
        enum status schema;
        enum status list;
    } cases[] = {
        {&reports, STATUS_PERMISSION_DENIED, STATUS_PERMISSION_DENIED, STATUS_PERMISSION_DENIED},
        {&shop, STATUS_OK, STATUS_PERMISSION_DENIED, STATUS_PERMISSION_DENIED},
        {&dba, STATUS_OK, STATUS_OK, STATUS_NOT_FOUND},
    };
    Strait__TxnList list = STRAIT__TXN_LIST__INIT;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        client_enter(&client, server.port, cases[i].certificate, &ours);
        send_commit(false, 10);
        client_expect(&client, cases[i].put);
        send_commit(true, 0);
        client_expect(&client, cases[i].schema);
        client_send(&client, FRAME_TXN_LIST, &list.base);
        client_expect(&client, cases[i].list);
        client_ping(&client);
        client_close(&client);
    }
    ck_assert_uint_eq(server_statistics(&server).denied_count, 5);
}
END_TEST

/* Bodies that come in many records, and in small segments: whole, and not one byte more. */
START_TEST(test_large_bodies)
{
    static const size_t sizes[] = {16000, 16384, 100000, 1000000, 4000000};
    client_enter(&client, server.port, &shop, &ours);
    for (int round = 0; round < 2; round++) {
        client.segment_size = round == 0 ? 0 : 1439;
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            struct reply reply;
            send_commit(false, sizes[i]);
            ck_assert(client_receive(&client, &reply));
            ck_assert_int_eq(reply.status, STATUS_OK);
            Strait__CommitReply *commit =
                strait__commit_reply__unpack(NULL, reply.size, reply.body);
            ck_assert_uint_gt(commit->position->version, sizes[i]);
            ck_assert_uint_lt(commit->position->version, sizes[i] + 64);
            strait__commit_reply__free_unpacked(commit, NULL);
            reply_free(&reply);
            client_ping(&client);
        }
    }
    client_close(&client);
    EVENTUALLY(server_statistics(&server).requests_in_flight_size == 0);
}
END_TEST

/* The name of a client's program is cut, and stays a text. */
START_TEST(test_client_names_are_cut)
{
    struct reply reply;
    char name[201] = {0};
    for (int i = 0; i < 100; i++)
        memcpy(name + (size_t)2 * (size_t)i, "\xc3\xa9", 2); /* é */
    Strait__Hello hello = STRAIT__HELLO__INIT;
    hello.protocol_version = frame_protocol_version;
    hello.client = name;
    connect_without_hello();
    client_send(&client, FRAME_HELLO, &hello.base);
    ck_assert(client_receive(&client, &reply));
    ck_assert_int_eq(reply.status, STATUS_OK);
    Strait__HelloReply *answer = strait__hello_reply__unpack(NULL, reply.size, reply.body);
    ck_assert_uint_eq(strlen(answer->server_version), 62);
    strait__hello_reply__free_unpacked(answer, NULL);
    reply_free(&reply);
    client_close(&client);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_wrong_protocol_version);
    tcase_add_test(tests, test_first_frame_is_bounded);
    tcase_add_test(tests, test_first_frame_is_hello);
    tcase_add_test(tests, test_headers_that_end_the_connection);
    tcase_add_test(tests, test_frames_that_are_passed_over);
    tcase_add_test(tests, test_bodies_that_are_refused);
    tcase_add_test(tests, test_roles);
    tcase_add_test(tests, test_large_bodies);
    tcase_add_test(tests, test_client_names_are_cut);
}
