/* SPDX-License-Identifier: Apache-2.0 */
/* Who gets through the handshake, as whom, and what a connection may not do with TLS. */
#include <openssl/err.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/base/log.h"
#include "tests/unit/server_net/fixture.h"
#include "tests/unit/unit.h"

static struct authority ours;
static struct authority foreign;
static struct certificate shop;
static SSL_CTX *tls;
static struct server server;

static void setup(void)
{
    log_descriptor_set(-1);
    authority_make(&ours, "ca");
    authority_make(&foreign, "foreign");
    shop = issue(&ours, CERTIFICATE_CLIENT, "URI:strait:shop", -60, 3600);
    tls = server_tls(&ours, &ours);
    const struct net_options options = {.close_ms = 500};
    server_start(&server, tls, &options, false);
}

static void teardown(void)
{
    server_stop(&server);
    SSL_CTX_free(tls);
    certificate_free(&shop);
    authority_free(&foreign);
    authority_free(&ours);
}

START_TEST(test_hello_tells_who_one_is)
{
    struct client client;
    struct reply reply;
    client_connect(&client, server.port);
    ck_assert(client_handshake(&client, &shop, &ours, TLS1_3_VERSION, NULL));
    client_hello(&client, frame_protocol_version);
    ck_assert(client_receive(&client, &reply));
    ck_assert_int_eq(reply.type, FRAME_HELLO_REPLY);
    ck_assert_int_eq(reply.status, STATUS_OK);
    Strait__HelloReply *hello = strait__hello_reply__unpack(NULL, reply.size, reply.body);
    ck_assert_str_eq(hello->identity, "shop");
    ck_assert_str_eq(hello->role, "writer");
    ck_assert_str_eq(hello->server_version, "test 1.0"); /* the core's echo of the client's name */
    strait__hello_reply__free_unpacked(hello, NULL);
    reply_free(&reply);
    client_ping(&client);
    client_close(&client);
    EVENTUALLY(server_statistics(&server).connections_count == 0);
}
END_TEST

/* The handshake must fail on the server's side, with an alert for the client, and nothing of the
 * client's is read. */
static void refuse(const struct certificate *certificate, const struct authority *trusted,
                   int version, unsigned long reason)
{
    struct client client;
    uint64_t failed = server_statistics(&server).handshakes_failed_count;
    char byte;
    client_connect(&client, server.port);
    if (client_handshake(&client, certificate, trusted, version, NULL)) {
        client_hello(&client, frame_protocol_version);
        ERR_clear_error();
        /* client_read() clears the queue, so the reason is looked at here. */
        size_t got;
        while (SSL_read_ex(client.ssl, &byte, 1, &got) != 1 &&
               SSL_get_error(client.ssl, 0) == SSL_ERROR_WANT_READ) {
            char buffer[4096];
            ssize_t size = recv(client.descriptor, buffer, sizeof buffer, 0);
            ck_assert_int_gt(size, 0);
            BIO_write(SSL_get_rbio(client.ssl), buffer, (int)size);
        }
        ck_assert_int_eq(ERR_GET_REASON(ERR_peek_last_error()), (int)reason);
        ERR_clear_error();
    } else {
        ck_assert_uint_eq(reason, 0);
    }
    ck_assert(client_is_closed(&client));
    client_close(&client);
    EVENTUALLY(server_statistics(&server).handshakes_failed_count == failed + 1);
    ck_assert_uint_eq(server_statistics(&server).requests_count, 0);
}

START_TEST(test_certificates_that_are_refused)
{
    struct certificate stranger = issue(&foreign, CERTIFICATE_CLIENT, "URI:strait:shop", -60, 3600);
    struct certificate expired = issue(&ours, CERTIFICATE_CLIENT, "URI:strait:shop", -7200, -60);
    struct certificate early = issue(&ours, CERTIFICATE_CLIENT, "URI:strait:shop", 3600, 7200);
    struct certificate server_like = issue(&ours, CERTIFICATE_SERVER, "URI:strait:shop", -60, 3600);
    refuse(NULL, &ours, TLS1_3_VERSION, SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED);
    refuse(&stranger, &ours, TLS1_3_VERSION, SSL_R_TLSV1_ALERT_UNKNOWN_CA);
    refuse(&expired, &ours, TLS1_3_VERSION, SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED);
    refuse(&early, &ours, TLS1_3_VERSION, SSL_R_SSLV3_ALERT_BAD_CERTIFICATE);
    refuse(&server_like, &ours, TLS1_3_VERSION, SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE);
    certificate_free(&server_like);
    certificate_free(&early);
    certificate_free(&expired);
    certificate_free(&stranger);
}
END_TEST

START_TEST(test_tls_1_2_is_refused)
{
    refuse(&shop, &ours, TLS1_2_VERSION, 0);
}
END_TEST

/* Signed by the right authority is not enough: the list says who may come in. */
START_TEST(test_unknown_identities_are_told_so)
{
    static const char *const names[] = {"URI:strait:nobody", "DNS:unknown.example.com",
                                        "URI:strait:shop,URI:strait:dba", NULL};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct client client;
        struct reply reply;
        struct certificate certificate = issue(&ours, CERTIFICATE_CLIENT, names[i], -60, 3600);
        client_connect(&client, server.port);
        ck_assert(client_handshake(&client, &certificate, &ours, TLS1_3_VERSION, NULL));
        client_hello(&client, frame_protocol_version);
        ck_assert(client_receive(&client, &reply));
        ck_assert_int_eq(reply.status, STATUS_UNAUTHENTICATED);
        ck_assert_uint_gt(strlen(reply.refusal->text), 20);
        reply_free(&reply);
        ck_assert(client_is_closed(&client));
        client_close(&client);
        certificate_free(&certificate);
    }
    ck_assert_uint_eq(server_statistics(&server).unknown_identities_count, 4);
    ck_assert_uint_eq(server_statistics(&server).requests_count, 0);
}
END_TEST

START_TEST(test_one_byte_at_a_time)
{
    struct client client;
    client_connect(&client, server.port);
    client.segment_size = 1;
    ck_assert(client_handshake(&client, &shop, &ours, TLS1_3_VERSION, NULL));
    client_hello(&client, frame_protocol_version);
    client_expect(&client, STATUS_OK);
    for (int i = 0; i < 3; i++)
        client_ping(&client);
    client_close(&client);
}
END_TEST

/* Bytes that are no TLS end the connection and nothing else. */
START_TEST(test_garbage)
{
    static const char web[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct client client;
    struct client other;
    client_enter(&other, server.port, &shop, &ours);
    for (int kind = 0; kind < 3; kind++) {
        uint8_t noise[2000];
        memset(noise, kind == 1 ? 0 : 0xff, sizeof noise);
        client_connect(&client, server.port);
        if (kind == 0)
            ck_assert_int_gt(send(client.descriptor, web, sizeof web - 1, MSG_NOSIGNAL), 0);
        else
            ck_assert_int_gt(send(client.descriptor, noise, sizeof noise, MSG_NOSIGNAL), 0);
        ck_assert(client_is_closed(&client));
        client_close(&client);
    }
    client_ping(&other);
    client_close(&other);
    EVENTUALLY(server_statistics(&server).handshakes_failed_count == 3);
}
END_TEST

/* A handshake that goes on and on: records of a ClientHello that never ends. */
START_TEST(test_handshake_size_is_bounded)
{
    struct client client;
    uint8_t record[5 + 4 + 16000] = {22, 3, 1, 0x3e, 0x84, 1, 0x01, 0xff, 0xff};
    client_connect(&client, server.port);
    for (int i = 0; i < 20 && !client.ended; i++) {
        record[5] = i == 0 ? 1 : 0;
        client.ended = send(client.descriptor, record, sizeof record, MSG_NOSIGNAL) <= 0;
    }
    ck_assert(client_is_closed(&client));
    client_close(&client);
    EVENTUALLY(server_statistics(&server).handshakes_failed_count == 1);
}
END_TEST

/* A few changes of key are the client's right; a flood of them is not. */
START_TEST(test_key_updates_are_bounded)
{
    struct client client;
    client_enter(&client, server.port, &shop, &ours);
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(SSL_key_update(client.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        client_ping(&client);
    }
    for (int i = 0; i < 200; i++) {
        ck_assert_int_eq(SSL_key_update(client.ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        ck_assert_int_eq(SSL_do_handshake(client.ssl), 1);
    }
    client_flush(&client);
    ck_assert(client_is_closed(&client));
    client_close(&client);
    EVENTUALLY(server_statistics(&server).connections_count == 0);
    ck_assert_uint_eq(server_statistics(&server).malformed_count, 1);
}
END_TEST

/* Sealed bytes that were changed on their way. */
START_TEST(test_tampering)
{
    struct client client;
    char buffer[4096];
    Strait__Ping ping = STRAIT__PING__INIT;
    client_enter(&client, server.port, &shop, &ours);
    size_t written;
    uint8_t frame[frame_header_size];
    const struct frame_header header = {.type = FRAME_PING, .request = 9};
    (void)ping;
    frame_header_encode(&header, frame);
    ck_assert_int_eq(SSL_write_ex(client.ssl, frame, sizeof frame, &written), 1);
    int size = BIO_read(SSL_get_wbio(client.ssl), buffer, sizeof buffer);
    ck_assert_int_gt(size, 20);
    buffer[size - 3] ^= 1;
    ck_assert_int_eq(send(client.descriptor, buffer, (size_t)size, MSG_NOSIGNAL), size);
    ck_assert(client_is_closed(&client));
    client_close(&client);
    ck_assert_uint_eq(server_statistics(&server).requests_count, 1); /* the hello */
}
END_TEST

/* Enters with a session of before; returns how the hello was answered. */
static enum status resume(const struct certificate *certificate, SSL_SESSION *session,
                          bool *resumed)
{
    struct client client;
    struct reply reply;
    client_connect(&client, server.port);
    ck_assert(client_handshake(&client, certificate, &ours, TLS1_3_VERSION, session));
    *resumed = SSL_session_reused(client.ssl) == 1;
    client_hello(&client, frame_protocol_version);
    ck_assert(client_receive(&client, &reply));
    enum status status = reply.status;
    reply_free(&reply);
    client_close(&client);
    return status;
}

/* OpenSSL does not look at a certificate again when a session is resumed: we do. */
START_TEST(test_resumption_looks_at_the_certificate_again)
{
    struct client client;
    bool resumed = false;
    struct certificate brief = issue(&ours, CERTIFICATE_CLIENT, "URI:strait:shop", -60, 2);
    client_enter(&client, server.port, &brief, &ours);
    SSL_SESSION *session = SSL_get1_session(client.ssl);
    ck_assert(SSL_SESSION_is_resumable(session));
    ck_assert_uint_eq(SSL_SESSION_get_max_early_data(session), 0);
    client_close(&client);
    ck_assert_int_eq(resume(&brief, session, &resumed), STATUS_OK);
    ck_assert(resumed);
    EVENTUALLY(X509_cmp_current_time(X509_get0_notAfter(brief.x509)) < 0);
    ck_assert_int_eq(resume(&brief, session, &resumed), STATUS_UNAUTHENTICATED);
    ck_assert(resumed);
    SSL_SESSION_free(session);
    certificate_free(&brief);
}
END_TEST

/* The client goes while the core still has its requests. */
START_TEST(test_peer_that_leaves_early)
{
    Strait__Ping ping = STRAIT__PING__INIT;
    struct client client;
    client_enter(&client, server.port, &shop, &ours);
    server_hold(&server, true);
    for (int i = 0; i < 10; i++)
        client_send(&client, FRAME_PING, &ping.base);
    EVENTUALLY(atomic_load(&server.held_count) == 10);
    client_close(&client);
    EVENTUALLY(server_statistics(&server).connections_count == 0);
    ck_assert_uint_eq(server_statistics(&server).requests_in_flight_count, 10);
    server_hold(&server, false);
    EVENTUALLY(server_statistics(&server).requests_in_flight_count == 0);
    ck_assert_uint_eq(server_statistics(&server).requests_in_flight_size, 0);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_hello_tells_who_one_is);
    tcase_add_test(tests, test_certificates_that_are_refused);
    tcase_add_test(tests, test_tls_1_2_is_refused);
    tcase_add_test(tests, test_unknown_identities_are_told_so);
    tcase_add_test(tests, test_one_byte_at_a_time);
    tcase_add_test(tests, test_garbage);
    tcase_add_test(tests, test_handshake_size_is_bounded);
    tcase_add_test(tests, test_key_updates_are_bounded);
    tcase_add_test(tests, test_tampering);
    tcase_add_test(tests, test_resumption_looks_at_the_certificate_again);
    tcase_add_test(tests, test_peer_that_leaves_early);
}
