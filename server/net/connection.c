/* SPDX-License-Identifier: Apache-2.0 */
#include "server/net/net_internal.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "server/net/tls.h"

static _Atomic uint64_t sessions_made;

void connection_set_state(struct connection *connection, enum connection_state state)
{
    static const unsigned permitted[] = {
        [CONNECTION_HANDSHAKE] = 1 << CONNECTION_HELLO | 1 << CONNECTION_CLOSING |
                                 1 << CONNECTION_SHUT | 1 << CONNECTION_ENDED,
        [CONNECTION_HELLO] = 1 << CONNECTION_OPEN | 1 << CONNECTION_CLOSING | 1 << CONNECTION_SHUT |
                             1 << CONNECTION_ENDED,
        [CONNECTION_OPEN] = 1 << CONNECTION_CLOSING | 1 << CONNECTION_SHUT | 1 << CONNECTION_ENDED,
        [CONNECTION_CLOSING] = 1 << CONNECTION_SHUT | 1 << CONNECTION_ENDED,
        [CONNECTION_SHUT] = 1 << CONNECTION_ENDED,
        [CONNECTION_ENDED] = 0,
    };
    ASSERT((permitted[connection->state] & 1U << state) != 0);
    if (connection->state <= CONNECTION_HELLO && state > CONNECTION_HELLO)
        connection->net->handshakes_count--;
    connection->state = state;
}

void connection_mark_dirty(struct connection *connection)
{
    if (connection->state != CONNECTION_ENDED && !list_is_linked(&connection->dirty_link))
        list_push_last(&connection->net->dirty, &connection->dirty_link);
}

bool connection_output_reserve(struct connection *connection, size_t size)
{
    struct output *output = connection->pending;
    size_t used = output != NULL ? output->size : 0;
    if (output != NULL && output->capacity - used >= size)
        return true;
    struct output *grown = realloc(output, sizeof *grown + used + size);
    if (grown == NULL)
        return false;
    grown->size = used;
    grown->capacity = used + size;
    connection->pending = grown;
    return true;
}

/* ---- OpenSSL's view of the socket ---- */

/* Fatal where it gives -1 without a retry: the peer has used up what it may send before it is
 * known, or between two frames. */
static int bio_read(BIO *bio, char *to, int size)
{
    struct connection *connection = BIO_get_data(bio);
    size_t taken = connection->input.size < (size_t)size ? connection->input.size : (size_t)size;
    BIO_clear_retry_flags(bio);
    if (connection->key_updates_count > limit_connection_key_updates_count)
        return -1;
    if (taken == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    if (connection->state == CONNECTION_HANDSHAKE) {
        connection->handshake_size += taken;
        if (connection->handshake_size > limit_tls_handshake_size)
            return -1;
    }
    memcpy(to, connection->input.data, taken);
    connection->input.data += taken;
    connection->input.size -= taken;
    return (int)taken;
}

static int bio_write(BIO *bio, const char *from, int size)
{
    struct connection *connection = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (!connection_output_reserve(connection, (size_t)size))
        return -1;
    struct output *output = connection->pending;
    memcpy(output->bytes + output->size, from, (size_t)size);
    output->size += (size_t)size;
    connection_mark_dirty(connection);
    return size;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

BIO_METHOD *connection_bio_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "strait");
    if (method == NULL)
        return NULL;
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_ctrl(method, bio_control);
    return method;
}

/* After the handshake a client has nothing to say in handshake messages but KeyUpdate, each of
 * which costs us a derivation of keys, and perhaps an answer. */
static void count_messages(int write_p, int version, int content_type, const void *message,
                           size_t size, SSL *ssl, void *context)
{
    struct connection *connection = context;
    (void)version;
    (void)message;
    (void)size;
    (void)ssl;
    if (write_p == 0 && content_type == SSL3_RT_HANDSHAKE &&
        connection->state != CONNECTION_HANDSHAKE)
        connection->key_updates_count++;
}

/* ---- The end ---- */

static void log_end(struct connection *connection, const char *event, const char *reason)
{
    if (net_may_log(connection->net))
        log_warn(event, LOG_TEXT("peer", connection->session.peer),
                 LOG_TEXT("identity", connection->session.identity), LOG_TEXT("reason", reason));
}

static void connection_drop_input(struct connection *connection)
{
    connection->input = (struct bytes){0};
    if (connection->incoming != NULL)
        connection_request_free(connection, connection->incoming);
    connection->incoming = NULL;
    connection->header_filled = 0;
    connection->skip_size = 0;
    net_deadline_stop(&connection->deadline);
}

void connection_end(struct connection *connection, const char *reason)
{
    struct net *net = connection->net;
    if (connection->state == CONNECTION_ENDED)
        return;
    if (reason != NULL)
        log_end(connection, "connection_ended", reason);
    connection_drop_input(connection);
    net_deadline_stop(&connection->send_deadline);
    for (struct list_link *link; (link = list_pop_first(&connection->replies)) != NULL;)
        connection_request_free(connection, LIST_ENTRY(link, struct request, link));
    connection->replies_count = 0;
    connection->replies_size = 0;
    free(connection->pending);
    connection->pending = NULL;
    free(connection->refusal);
    connection->refusal = NULL;
    SSL_free(connection->ssl);
    connection->ssl = NULL;
    if (connection->socket != NULL)
        io_socket_close(connection->socket);
    connection->socket = NULL;
    list_remove(&connection->dirty_link);
    list_remove(&connection->link);
    list_push_last(&net->ended, &connection->link);
    connection_set_state(connection, CONNECTION_ENDED);
    net->statistics.connections_count--;
    net->statistics.closed_count++;
}

bool connection_is_done(const struct connection *connection)
{
    return connection->state == CONNECTION_ENDED && connection->sending == NULL &&
           connection->requests_count == 0;
}

void connection_free(struct connection *connection)
{
    ASSERT(connection_is_done(connection));
    list_remove(&connection->link);
    free(connection);
}

void connection_close_gently(struct connection *connection)
{
    if (connection->state >= CONNECTION_CLOSING)
        return;
    connection_set_state(connection, CONNECTION_CLOSING);
    connection_drop_input(connection);
    connection_mark_dirty(connection);
    /* So that the peer's own close is seen. */
    if (connection->paused)
        io_socket_receive_resume(connection->socket);
    connection->paused = false;
}

/* The TLS stream is broken: OpenSSL has made an alert, which is sent before the socket is closed;
 * replies can no longer be sealed. */
static void connection_fail(struct connection *connection, const char *event, const char *reason)
{
    log_end(connection, event, reason);
    connection_set_state(connection, CONNECTION_SHUT);
    connection_drop_input(connection);
    connection_mark_dirty(connection);
    net_deadline_start(connection->net, connection, DEADLINE_CLOSE);
}

/* ---- The handshake ---- */

static void handshake_failed(struct connection *connection)
{
    char reason[256];
    long verified = SSL_get_verify_result(connection->ssl);
    if (connection->handshake_size > limit_tls_handshake_size)
        snprintf(reason, sizeof reason, "the handshake is larger than %d bytes",
                 limit_tls_handshake_size);
    else if (verified != X509_V_OK)
        snprintf(reason, sizeof reason, "the client's certificate is refused: %s",
                 X509_verify_cert_error_string(verified));
    else
        tls_error_text(reason, sizeof reason);
    connection->net->statistics.handshakes_failed_count++;
    connection_fail(connection, "tls_handshake_failed", reason);
}

/* Who it is, and what that permits. Where nobody may come in, the first frame is answered with the
 * reason. */
static void connection_identify(struct connection *connection)
{
    struct session *session = &connection->session;
    struct error error = {0};
    const X509 *certificate = SSL_get0_peer_certificate(connection->ssl);
    enum status status = certificate == NULL
                             ? error_set(&error, STATUS_UNAUTHENTICATED, "There is no certificate.")
                             : identity_of_certificate(certificate, session->identity, &error);
    if (status == STATUS_OK && SSL_session_reused(connection->ssl)) {
        connection->net->statistics.resumed_count++;
        status = tls_certificate_is_current(certificate, &error);
    }
    if (status == STATUS_OK)
        session->role = access_role(connection->net->access, session->identity);
    if (session->role != ROLE_NONE)
        return;
    if (status == STATUS_OK)
        status = error_set(&error, STATUS_UNAUTHENTICATED,
                           "The identity %s is not on this server's access list. Its "
                           "administrator can add it, with a role.",
                           session->identity);
    connection->refusal = strdup(error.text);
    connection->net->statistics.unknown_identities_count++;
    log_end(connection, "identity_refused", error.text);
}

/* Returns whether the handshake is done. */
static bool connection_handshake(struct connection *connection)
{
    ERR_clear_error();
    int result = SSL_do_handshake(connection->ssl);
    if (result == 1) {
        connection_identify(connection);
        connection_set_state(connection, CONNECTION_HELLO);
        return true;
    }
    if (SSL_get_error(connection->ssl, result) != SSL_ERROR_WANT_READ)
        handshake_failed(connection);
    return false;
}

/* ---- Bytes that come ---- */

static void read_failed(struct connection *connection)
{
    char reason[256];
    if (connection->key_updates_count > limit_connection_key_updates_count)
        snprintf(reason, sizeof reason, "more than %d changes of key without a request",
                 limit_connection_key_updates_count);
    else
        tls_error_text(reason, sizeof reason);
    connection->net->statistics.malformed_count++;
    connection_fail(connection, "tls_failed", reason);
}

static void connection_read(struct connection *connection)
{
    struct net *net = connection->net;
    while (connection->state == CONNECTION_HELLO || connection->state == CONNECTION_OPEN) {
        size_t space = 0;
        size_t got = 0;
        uint8_t *body = connection_body_space(connection, &space);
        uint8_t *to = body != NULL ? body : net->plain_in;
        tls_forget_errors();
        if (SSL_read_ex(connection->ssl, to, body != NULL ? space : sizeof net->plain_in, &got) ==
            1) {
            if (body != NULL)
                connection_body_filled(connection, got);
            else
                connection_consume(connection, bytes_of(to, got));
            /* Where all input was taken, TLS would only say that it wants more. */
            if (connection->ssl == NULL ||
                (connection->input.size == 0 && SSL_has_pending(connection->ssl) == 0))
                return;
            continue;
        }
        switch (SSL_get_error(connection->ssl, 0)) {
        case SSL_ERROR_WANT_READ:
            return;
        case SSL_ERROR_ZERO_RETURN:
            connection_close_gently(connection);
            return;
        default:
            read_failed(connection);
            return;
        }
    }
}

/* A peer that is being left may still be sending; it is not read, and not for ever. */
static void connection_discard(struct connection *connection, size_t size)
{
    connection->discarded_size += size;
    if (connection->discarded_size > connection_discard_size_max)
        connection_end(connection, NULL);
}

static bool has_partial_frame(const struct connection *connection)
{
    return connection->header_filled != 0 || connection->incoming != NULL ||
           connection->skip_size != 0;
}

static void connection_received(void *context, const uint8_t *data, size_t size, enum status status)
{
    struct connection *connection = context;
    struct net *net = connection->net;
    (void)status;
    if (connection->state == CONNECTION_ENDED)
        return;
    if (size == 0) {
        connection_end(connection, NULL);
        return;
    }
    net->statistics.received_size += size;
    if (connection->state >= CONNECTION_CLOSING) {
        connection_discard(connection, size);
        return;
    }
    net->now_ns = io_boot_ns(net->io);
    connection->input = bytes_of(data, size);
    if (connection->state != CONNECTION_HANDSHAKE || connection_handshake(connection))
        connection_read(connection);
    connection->input = (struct bytes){0};
    if (connection->state == CONNECTION_OPEN && !connection->paused &&
        has_partial_frame(connection) && !list_is_linked(&connection->deadline.link))
        net_deadline_start(net, connection, DEADLINE_FRAME);
}

/* ---- The beginning ---- */

static bool connection_start_tls(struct connection *connection)
{
    struct net *net = connection->net;
    connection->ssl = SSL_new(net->tls);
    BIO *bio = connection->ssl != NULL ? BIO_new(net->bio_method) : NULL;
    if (bio == NULL)
        return false;
    BIO_set_data(bio, connection);
    BIO_set_init(bio, 1);
    SSL_set_bio(connection->ssl, bio, bio);
    SSL_set_accept_state(connection->ssl);
    SSL_set_msg_callback(connection->ssl, count_messages);
    SSL_set_msg_callback_arg(connection->ssl, connection);
    return true;
}

void connection_open(struct net *net, struct io_socket *socket)
{
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL) {
        io_socket_close(socket);
        return;
    }
    connection->net = net;
    connection->socket = socket;
    connection->session.id = atomic_fetch_add(&sessions_made, 1) + 1;
    struct io_address peer = io_socket_peer(socket);
    snprintf(connection->session.peer, sizeof connection->session.peer, "%s", peer.text);
    list_init(&connection->dirty_link);
    list_init(&connection->deadline.link);
    list_init(&connection->send_deadline.link);
    list_init(&connection->replies);
    list_push_last(&net->connections, &connection->link);
    net->handshakes_count++;
    net->statistics.connections_count++;
    if (net->statistics.connections_count > net->statistics.connections_max)
        net->statistics.connections_max = net->statistics.connections_count;
    if (!connection_start_tls(connection)) {
        connection_end(connection, "no memory for TLS");
        return;
    }
    net_deadline_start(net, connection, DEADLINE_HANDSHAKE);
    io_socket_receive_start(socket, connection_received, connection);
}
