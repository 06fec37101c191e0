/* SPDX-License-Identifier: Apache-2.0 */
/* One connection to another region: its states, its bytes in and out, its deadlines, its end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/assert.h"
#include "server/net/region_link_internal.h"

enum { reason_size = 256, read_direct_size_min = 4 * 1024 };

void region_link_connection_set_state(struct region_link_connection *connection,
                                      enum region_link_state state)
{
    static const unsigned permitted[] = {
        [REGION_LINK_CONNECTING] = 1 << REGION_LINK_HANDSHAKE | 1 << REGION_LINK_ENDED,
        [REGION_LINK_HANDSHAKE] = 1 << REGION_LINK_GREETING | 1 << REGION_LINK_ENDED,
        [REGION_LINK_GREETING] = 1 << REGION_LINK_OPEN | 1 << REGION_LINK_ENDED,
        [REGION_LINK_OPEN] = 1 << REGION_LINK_ENDED,
        [REGION_LINK_ENDED] = 0,
    };
    ASSERT((permitted[connection->state] & 1U << state) != 0);
    connection->state = state;
    if (state == REGION_LINK_OPEN)
        region_link_timer_start(connection->link, &connection->timer,
                                connection->link->options.keep_alive_ms);
}

/* ---- The end ---- */

void region_link_connection_end(struct region_link_connection *connection, const char *reason)
{
    struct region_link *link = connection->link;
    if (connection->state == REGION_LINK_ENDED)
        return;
    bool was_open = connection->state == REGION_LINK_OPEN;
    region_link_connection_set_state(connection, REGION_LINK_ENDED);
    io_timer_stop(link->io, &connection->timer);
    io_socket_close(connection->socket);
    connection->socket = NULL;
    connection->tls.input = (struct bytes){0};
    list_push_last(&link->ended, &connection->place);
    ASSERT(link->connection == connection);
    link->connection = NULL;
    region_link_ended(link, was_open, reason);
}

void region_link_connection_end_malformed(struct region_link_connection *connection,
                                          const char *reason)
{
    connection->link->statistics.malformed_count++;
    region_link_connection_end(connection, reason);
}

bool region_link_connection_is_done(const struct region_link_connection *connection)
{
    return connection->state == REGION_LINK_ENDED && !connection->op.pending;
}

void region_link_connection_free(struct region_link_connection *connection)
{
    ASSERT(region_link_connection_is_done(connection));
    list_remove(&connection->place);
    tls_stream_close(&connection->tls);
    free(connection->sending);
    free(connection->body);
    free(connection);
}

/* ---- Out ---- */

bool region_link_connection_say(struct region_link_connection *connection, struct bytes frame)
{
    if (tls_stream_write(&connection->tls, frame) != STATUS_OK) {
        region_link_connection_end(connection, "what is to be sent could not be sealed");
        return false;
    }
    region_link_step_later(connection->link);
    return true;
}

size_t region_link_connection_waiting_size(const struct region_link_connection *connection)
{
    size_t waiting = connection->tls.output != NULL ? connection->tls.output->size : 0;
    return waiting + (connection->sending != NULL ? connection->sending->size : 0);
}

static void sent(struct io_op *op)
{
    struct region_link_connection *connection = op->context;
    struct region_link *link = connection->link;
    free(connection->sending);
    connection->sending = NULL;
    link->statistics.sent_size += op->size;
    if (op->status != STATUS_OK)
        region_link_connection_end(connection, "the connection broke");
    if (connection->state == REGION_LINK_ENDED)
        region_link_step_later(link);
    else
        region_link_connection_send(connection);
}

void region_link_connection_send(struct region_link_connection *connection)
{
    struct tls_output *output = connection->tls.output;
    if (connection->state == REGION_LINK_CONNECTING || connection->state == REGION_LINK_ENDED ||
        connection->sending != NULL || output == NULL || output->size == 0)
        return;
    connection->tls.output = NULL;
    connection->sending = output;
    connection->op = (struct io_op){.done = sent, .context = connection};
    io_socket_send(connection->socket, &connection->op, output->bytes, output->size);
}

/* ---- In ---- */

static void frame_end(struct region_link_connection *connection)
{
    struct frame_header frame = connection->frame;
    uint8_t *body = connection->body;
    connection->header_filled = 0;
    connection->body = NULL;
    connection->body_filled = 0;
    region_link_reply_take(connection, &frame, bytes_of(body, frame.body_size));
    free(body);
}

static void frame_begin(struct region_link_connection *connection)
{
    struct frame_header *frame = &connection->frame;
    if (frame_reply_decode(connection->header, frame) != STATUS_OK) {
        region_link_connection_end_malformed(connection, "it sent a frame that cannot be");
        return;
    }
    if (!region_link_reply_is_due(connection, frame)) {
        region_link_connection_end_malformed(connection, "it sent a reply that nobody asked for");
        return;
    }
    if (frame->body_size == 0) {
        frame_end(connection);
        return;
    }
    connection->body = malloc(frame->body_size);
    if (connection->body == NULL)
        region_link_connection_end(connection, "no memory for its reply");
}

static void body_filled(struct region_link_connection *connection, size_t size)
{
    connection->body_filled += size;
    ASSERT(connection->body_filled <= connection->frame.body_size);
    if (connection->body_filled == connection->frame.body_size)
        frame_end(connection);
}

static size_t size_least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool is_readable(const struct region_link_connection *connection)
{
    return connection->state == REGION_LINK_GREETING || connection->state == REGION_LINK_OPEN;
}

static void consume(struct region_link_connection *connection, struct bytes plain)
{
    while (plain.size != 0 && is_readable(connection)) {
        size_t taken;
        if (connection->body != NULL) {
            taken = size_least(connection->frame.body_size - connection->body_filled, plain.size);
            memcpy(connection->body + connection->body_filled, plain.data, taken);
            body_filled(connection, taken);
        } else {
            taken = size_least(frame_header_size - connection->header_filled, plain.size);
            memcpy(connection->header + connection->header_filled, plain.data, taken);
            connection->header_filled += taken;
            if (connection->header_filled == frame_header_size)
                frame_begin(connection);
        }
        plain = bytes_of(plain.data + taken, plain.size - taken);
    }
}

/* Large bodies are read to where they belong, all else through the shared buffer. */
static void read_all(struct region_link_connection *connection)
{
    struct region_link *link = connection->link;
    char reason[reason_size];
    while (is_readable(connection)) {
        size_t lacking =
            connection->body != NULL ? connection->frame.body_size - connection->body_filled : 0;
        bool is_direct = lacking >= read_direct_size_min;
        size_t got = 0;
        enum status status = tls_stream_read(
            &connection->tls,
            is_direct ? connection->body + connection->body_filled : link->plain_in,
            is_direct ? lacking : sizeof link->plain_in, &got, reason, sizeof reason);
        if (status == STATUS_AGAIN)
            return;
        if (status == STATUS_END)
            region_link_connection_end(connection, "the other side closed it");
        else if (status != STATUS_OK)
            region_link_connection_end_malformed(connection, reason);
        else if (is_direct)
            body_filled(connection, got);
        else
            consume(connection, bytes_of(link->plain_in, got));
    }
}

/* OK where whoever the certificate names has the role `peer`. */
static enum status identify(struct region_link_connection *connection, struct error *error)
{
    const X509 *certificate = SSL_get0_peer_certificate(connection->tls.ssl);
    if (certificate == NULL)
        return error_set(error, STATUS_UNAUTHENTICATED, "It has no certificate.");
    enum status status = identity_of_certificate(certificate, connection->identity, error);
    if (status != STATUS_OK)
        return status;
    if (access_role(connection->link->options.access, connection->identity) != ROLE_PEER)
        return error_set(error, STATUS_PERMISSION_DENIED,
                         "its identity %s does not have the role peer here: put it on the access "
                         "list, if it is a server of the other region",
                         connection->identity);
    return STATUS_OK;
}

static void shake_hands(struct region_link_connection *connection)
{
    char reason[reason_size];
    struct error error = {0};
    enum status status = tls_stream_handshake(&connection->tls, reason, sizeof reason);
    if (status == STATUS_AGAIN)
        return;
    if (status != STATUS_OK) {
        region_link_connection_end_malformed(connection, reason);
    } else if (identify(connection, &error) != STATUS_OK) {
        region_link_connection_end(connection, error.text);
    } else {
        region_link_connection_set_state(connection, REGION_LINK_GREETING);
        /* Where it cannot, the connection has ended, and there is nothing left to do. */
        (void)region_link_say_hello(connection);
    }
}

static void received(void *context, const uint8_t *data, size_t size, enum status status)
{
    struct region_link_connection *connection = context;
    struct region_link *link = connection->link;
    if (connection->state == REGION_LINK_ENDED)
        return;
    if (size == 0) {
        region_link_connection_end(connection, status == STATUS_OK ? "the other side closed it"
                                                                   : "the connection broke");
        return;
    }
    link->statistics.received_size += size;
    connection->was_active = true;
    if (connection->state == REGION_LINK_OPEN)
        link->heard_ns = io_boot_ns(link->io);
    connection->tls.input = bytes_of(data, size);
    if (connection->state == REGION_LINK_HANDSHAKE)
        shake_hands(connection);
    read_all(connection);
    connection->tls.input = (struct bytes){0};
    region_link_connection_send(connection);
}

/* ---- Deadlines ---- */

static void timer_fired(struct io_timer *timer)
{
    struct region_link_connection *connection = timer->context;
    struct region_link *link = connection->link;
    if (connection->state != REGION_LINK_OPEN) {
        link->statistics.silences_count++;
        region_link_connection_end(connection, "it did not answer in time");
        return;
    }
    connection->idle_count = connection->was_active ? 0 : connection->idle_count + 1;
    connection->was_active = false;
    if ((uint64_t)connection->idle_count * link->options.keep_alive_ms >= link->options.silent_ms) {
        link->statistics.silences_count++;
        region_link_connection_end(connection, "nothing is heard of it");
        return;
    }
    if (connection->idle_count > 0 && !connection->ping_pending &&
        !region_link_say_ping(connection))
        return;
    region_link_timer_start(link, &connection->timer, link->options.keep_alive_ms);
}

/* ---- The beginning ---- */

/* There is a TCP connection. */
static void start_tls(struct region_link_connection *connection)
{
    struct region_link *link = connection->link;
    io_socket_keep_short(connection->socket, region_link_unacknowledged_ms,
                         region_link_unsent_size);
    if (tls_stream_open(&connection->tls, link->tls, link->bio_method, true) != STATUS_OK) {
        region_link_connection_end(connection, "no memory for TLS");
        return;
    }
    io_socket_receive_start(connection->socket, received, connection);
    shake_hands(connection);
    region_link_connection_send(connection);
}

static void connected(struct io_op *op)
{
    struct region_link_connection *connection = op->context;
    char reason[reason_size];
    if (connection->state == REGION_LINK_ENDED) {
        region_link_step_later(connection->link);
        return;
    }
    if (op->status != STATUS_OK) {
        snprintf(reason, sizeof reason, "cannot connect to it: %s", strerror(op->error_number));
        region_link_connection_end(connection, reason);
        return;
    }
    region_link_connection_set_state(connection, REGION_LINK_HANDSHAKE);
    start_tls(connection);
}

enum status region_link_connection_dial(struct region_link *link, const char *host, uint16_t port)
{
    ASSERT(link->connection == NULL);
    struct region_link_connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        return STATUS_NO_MEMORY;
    connection->link = link;
    connection->state = REGION_LINK_CONNECTING;
    connection->timer = (struct io_timer){.fired = timer_fired, .context = connection};
    connection->op = (struct io_op){.done = connected, .context = connection};
    list_init(&connection->place);
    enum status status = io_connect(link->io, host, port, &connection->op, &connection->socket);
    if (status != STATUS_OK) {
        free(connection);
        return status;
    }
    link->statistics.dialled_count++;
    link->connection = connection;
    region_link_timer_start(link, &connection->timer, link->options.connect_ms);
    return STATUS_OK;
}
