/* SPDX-License-Identifier: Apache-2.0 */
/* One connection between members: its states, its bytes in and out, its deadlines, its end. */
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "server/net/peers_internal.h"

enum {
    direct_size_min = 16 * 1024, /* a frame from here on is sealed from where it lies */
    read_direct_size_min = 4 * 1024,
    reason_size = 256,
};

void peer_connection_set_state(struct peer_connection *connection, enum peer_state state)
{
    static const unsigned permitted[] = {
        [PEER_CONNECTING] = 1 << PEER_HANDSHAKE | 1 << PEER_ENDED,
        [PEER_HANDSHAKE] = 1 << PEER_GREETING | 1 << PEER_CLOSING | 1 << PEER_ENDED,
        [PEER_GREETING] = 1 << PEER_OPEN | 1 << PEER_CLOSING | 1 << PEER_ENDED,
        [PEER_OPEN] = 1 << PEER_CLOSING | 1 << PEER_ENDED,
        [PEER_CLOSING] = 1 << PEER_ENDED,
        [PEER_ENDED] = 0,
    };
    ASSERT((permitted[connection->state] & 1U << state) != 0);
    connection->state = state;
    if (state == PEER_OPEN)
        peers_timer_start(connection->peers, &connection->timer,
                          connection->peers->options.keep_alive_ms);
    else if (state == PEER_CLOSING)
        peers_timer_start(connection->peers, &connection->timer, limit_close_ms);
}

/* ---- The end ---- */

void peer_connection_end(struct peer_connection *connection, const char *reason)
{
    struct peers *peers = connection->peers;
    if (connection->state == PEER_ENDED)
        return;
    peer_connection_set_state(connection, PEER_ENDED);
    io_timer_stop(peers->io, &connection->timer);
    if (connection->socket != NULL)
        io_socket_close(connection->socket);
    connection->socket = NULL;
    connection->tls.input = (struct bytes){0};
    list_remove(&connection->link);
    list_push_last(&peers->ended, &connection->link);
    peers->statistics.connections_count--;
    if (connection->probe != NULL)
        peers_probe_done(connection, STATUS_UNREACHABLE,
                         reason != NULL ? reason : "the connection ended");
    peers_ended(peers, connection, reason);
    peers_step_later(peers);
}

bool peer_connection_is_done(const struct peer_connection *connection)
{
    return connection->state == PEER_ENDED && !connection->op.pending && !connection->is_reading;
}

void peer_connection_free(struct peer_connection *connection)
{
    ASSERT(peer_connection_is_done(connection) && connection->probe == NULL);
    list_remove(&connection->link);
    peer_stream_close(&connection->stream);
    tls_stream_close(&connection->tls);
    free(connection->sending);
    free(connection);
}

/* A member that is dialled again and again for the same reason in vain gets one line, not many. */
static void log_trouble(struct peer_connection *connection, const char *event, const char *reason)
{
    bool is_news = !connection->is_dialled || connection->member == NULL ||
                   peers_note_trouble(connection->member, reason);
    if (is_news && peers_may_log(connection->peers))
        log_warn(event, LOG_TEXT("address", connection->address),
                 LOG_TEXT("identity", connection->identity), LOG_TEXT("reason", reason));
}

void peer_connection_close_gently(struct peer_connection *connection)
{
    if (connection->state >= PEER_CLOSING)
        return;
    tls_stream_say_close(&connection->tls);
    peer_connection_set_state(connection, PEER_CLOSING);
    peer_connection_send(connection);
}

void peer_connection_refuse(struct peer_connection *connection, enum status status,
                            const char *reason)
{
    struct peers *peers = connection->peers;
    struct peer_refusal refusal = {.status = status};
    uint8_t body[peer_refusal_size_max];
    snprintf(refusal.reason, sizeof refusal.reason, "%s", reason);
    peers->statistics.refused_count++;
    log_trouble(connection, "peer_refused", reason);
    if (connection->probe != NULL)
        peers_probe_done(connection, status, reason);
    size_t size = peer_refusal_encode(&refusal, body);
    if (peer_connection_say(connection, PEER_FRAME_REFUSAL, bytes_of(body, size)))
        peer_connection_close_gently(connection);
}

/* ---- Out ---- */

static bool seal(struct peer_connection *connection, struct bytes plain)
{
    if (tls_stream_write(&connection->tls, plain) == STATUS_OK)
        return true;
    peer_connection_end(connection, "what is to be sent could not be sealed");
    return false;
}

bool peer_connection_say(struct peer_connection *connection, enum peer_frame_kind kind,
                         struct bytes body)
{
    uint8_t frame[peer_frame_header_size + peer_hello_size_max];
    const struct peer_frame_header header = {.kind = kind, .body_size = (uint32_t)body.size};
    _Static_assert(peer_refusal_size_max <= peer_hello_size_max, "the frame holds either");
    ASSERT(body.size <= peer_hello_size_max);
    peer_frame_encode(&header, frame);
    bytes_copy(frame + peer_frame_header_size, body);
    return seal(connection, bytes_of(frame, peer_frame_header_size + body.size));
}

/* Small frames are gathered, so that one record holds many; large ones are sealed from where they
 * lie. False: the connection has ended. */
static bool seal_queue(struct peer_connection *connection)
{
    struct peers *peers = connection->peers;
    struct peer_queue *queue = &connection->member->queue;
    size_t sealed = 0;
    size_t filled = 0;
    size_t size;
    while (sealed + filled < peers_send_size && (size = peer_queue_next_size(queue)) != 0) {
        bool is_direct = size >= direct_size_min;
        if (filled > 0 && (is_direct || filled + size > sizeof peers->plain_out)) {
            if (!seal(connection, bytes_of(peers->plain_out, filled)))
                return false;
            sealed += filled;
            filled = 0;
        }
        struct bytes frame = peer_queue_take(queue);
        if (is_direct) {
            if (!seal(connection, frame))
                return false;
            sealed += size;
        } else {
            memcpy(peers->plain_out + filled, frame.data, size);
            filled += size;
        }
    }
    return filled == 0 || seal(connection, bytes_of(peers->plain_out, filled));
}

static void sent(struct io_op *op)
{
    struct peer_connection *connection = op->context;
    struct peers *peers = connection->peers;
    free(connection->sending);
    connection->sending = NULL;
    peers->statistics.sent_size += op->size;
    if (op->status != STATUS_OK)
        peer_connection_end(connection, "the connection broke");
    if (connection->state == PEER_ENDED) {
        peers_step_later(peers);
        return;
    }
    peer_connection_send(connection);
}

void peer_connection_send(struct peer_connection *connection)
{
    struct peers *peers = connection->peers;
    if (connection->state == PEER_CONNECTING || connection->state == PEER_ENDED ||
        connection->sending != NULL)
        return;
    if (connection->state == PEER_OPEN && connection->is_dialled) {
        if (!seal_queue(connection))
            return;
        if (connection->member->room_wanted)
            peers_step_later(peers);
    }
    struct tls_output *output = connection->tls.output;
    if (output == NULL || output->size == 0)
        return;
    connection->tls.output = NULL;
    connection->sending = output;
    connection->op = (struct io_op){.done = sent, .context = connection};
    peers->statistics.sends_count++;
    io_socket_send(connection->socket, &connection->op, output->bytes, output->size);
}

/* ---- In ---- */

/* TLS has failed: OpenSSL has made an alert, which goes out before the end. */
static void fail(struct peer_connection *connection, const char *reason)
{
    struct peers *peers = connection->peers;
    if (connection->state == PEER_HANDSHAKE)
        peers->statistics.handshakes_failed_count++;
    else
        peers->statistics.malformed_count++;
    log_trouble(connection, "peer_tls_failed", reason);
    if (connection->probe != NULL)
        peers_probe_done(connection, STATUS_UNREACHABLE, reason);
    peer_connection_set_state(connection, PEER_CLOSING);
    peer_connection_send(connection);
    if (connection->sending == NULL)
        peer_connection_end(connection, NULL);
}

static void take_item(struct peer_connection *connection, const struct peer_item *item)
{
    struct peers *peers = connection->peers;
    if (item->kind == PEER_FRAME_REFUSAL ||
        (connection->state == PEER_GREETING && item->kind == PEER_FRAME_HELLO)) {
        peer_greeting_take(connection, item);
    } else if (connection->state != PEER_OPEN || item->kind == PEER_FRAME_HELLO ||
               (connection->is_dialled && item->kind != PEER_FRAME_KEEP_ALIVE)) {
        peers->statistics.malformed_count++;
        peer_connection_end(connection, "it sent a frame that nobody asked for");
    } else if (item->kind == PEER_FRAME_KEEP_ALIVE) {
        connection->answer_wanted = !connection->is_dialled;
    } else {
        peers->statistics.messages_received_count++;
        if (peers->user != NULL)
            peers->user->received(peers->user->context, connection->member->about.id, item->body);
    }
}

static bool is_readable(const struct peer_connection *connection)
{
    return connection->state == PEER_GREETING || connection->state == PEER_OPEN;
}

static void take_items(struct peer_connection *connection, struct bytes input)
{
    struct peer_item item;
    while (is_readable(connection)) {
        enum status status = peer_stream_take(&connection->stream, &input, &item);
        if (status == STATUS_AGAIN)
            return;
        if (status == STATUS_OK) {
            take_item(connection, &item);
            continue;
        }
        connection->peers->statistics.malformed_count += status != STATUS_NO_MEMORY;
        peer_connection_end(connection, status == STATUS_NO_MEMORY
                                            ? "no memory for its message"
                                            : "it sent a frame that cannot be");
    }
}

static void read_all(struct peer_connection *connection)
{
    struct peers *peers = connection->peers;
    char reason[reason_size];
    while (is_readable(connection)) {
        size_t space = 0;
        size_t got = 0;
        uint8_t *direct = peer_stream_space(&connection->stream, &space);
        bool is_direct = direct != NULL && space >= read_direct_size_min;
        enum status status = tls_stream_read(&connection->tls, is_direct ? direct : peers->plain_in,
                                             is_direct ? space : sizeof peers->plain_in, &got,
                                             reason, sizeof reason);
        if (status == STATUS_AGAIN)
            return;
        if (status == STATUS_END) {
            peer_connection_end(connection, "the other side closed it");
        } else if (status != STATUS_OK) {
            fail(connection, reason);
        } else if (is_direct) {
            peer_stream_filled(&connection->stream, got);
            take_items(connection, (struct bytes){0});
        } else {
            take_items(connection, bytes_of(peers->plain_in, got));
        }
    }
}

static void shake_hands(struct peer_connection *connection)
{
    char reason[reason_size];
    enum status status = tls_stream_handshake(&connection->tls, reason, sizeof reason);
    if (status == STATUS_OK)
        peer_greeting_begin(connection);
    else if (status != STATUS_AGAIN)
        fail(connection, reason);
}

static void discard(struct peer_connection *connection, size_t size)
{
    connection->discarded_size += size;
    if (connection->discarded_size > peers_discard_size_max)
        peer_connection_end(connection, NULL);
}

static void received(void *context, const uint8_t *data, size_t size, enum status status)
{
    struct peer_connection *connection = context;
    if (connection->state == PEER_ENDED)
        return;
    if (size == 0) {
        peer_connection_end(connection, status == STATUS_OK ? "the other side closed it"
                                                            : "the connection broke");
        return;
    }
    connection->peers->statistics.received_size += size;
    if (connection->state == PEER_CLOSING) {
        discard(connection, size);
        return;
    }
    connection->was_active = true;
    connection->is_reading = true;
    connection->tls.input = bytes_of(data, size);
    if (connection->state == PEER_HANDSHAKE)
        shake_hands(connection);
    read_all(connection);
    connection->tls.input = (struct bytes){0};
    connection->is_reading = false;
    /* One answer at a time, and none to who does not take them. */
    if (connection->answer_wanted && connection->state == PEER_OPEN &&
        connection->sending == NULL &&
        !peer_connection_say(connection, PEER_FRAME_KEEP_ALIVE, (struct bytes){0}))
        return;
    connection->answer_wanted = false;
    peer_connection_send(connection);
}

/* ---- Deadlines ---- */

/* The side that dialled asks for a sign of life; the other answers each (received()). */
static void period(struct peer_connection *connection)
{
    const struct peers_options *options = &connection->peers->options;
    struct peer_connection *out = connection->member->out;
    connection->idle_count = connection->was_active ? 0 : connection->idle_count + 1;
    connection->was_active = false;
    if (connection->idle_count * options->keep_alive_ms >= options->silent_ms) {
        connection->peers->statistics.timeouts_count++;
        /* What we send to one of whom nothing is heard goes nowhere either. */
        if (out != NULL && out != connection && out->state == PEER_OPEN)
            peer_connection_end(out, "nothing is heard of it");
        peer_connection_end(connection, "nothing is heard of it");
    } else if (connection->is_dialled && connection->sending == NULL &&
               peer_connection_say(connection, PEER_FRAME_KEEP_ALIVE, (struct bytes){0})) {
        peer_connection_send(connection);
    }
}

static void timer_fired(struct io_timer *timer)
{
    struct peer_connection *connection = timer->context;
    struct peers *peers = connection->peers;
    if (connection->state == PEER_CLOSING) {
        peer_connection_end(connection, NULL);
        return;
    }
    if (connection->state != PEER_OPEN) {
        peers->statistics.timeouts_count++;
        peer_connection_end(connection, "the handshake took too long");
        return;
    }
    period(connection);
    if (connection->state == PEER_OPEN)
        peers_timer_start(peers, &connection->timer, peers->options.keep_alive_ms);
}

/* ---- The beginning ---- */

static struct peer_connection *connection_make(struct peers *peers, bool is_dialled)
{
    struct peer_connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        return NULL;
    connection->peers = peers;
    connection->is_dialled = is_dialled;
    connection->state = is_dialled ? PEER_CONNECTING : PEER_HANDSHAKE;
    connection->timer = (struct io_timer){.fired = timer_fired, .context = connection};
    list_init(&connection->link);
    return connection;
}

static void connection_begin(struct peer_connection *connection, struct io_socket *socket)
{
    struct peers *peers = connection->peers;
    struct io_address address = io_socket_peer(socket);
    connection->socket = socket;
    snprintf(connection->address, sizeof connection->address, "%s", address.text);
    list_push_last(&peers->connections, &connection->link);
    if (++peers->statistics.connections_count > peers->statistics.connections_max)
        peers->statistics.connections_max = peers->statistics.connections_count;
    peers_timer_start(peers, &connection->timer, peers->options.handshake_ms);
}

/* There is a TCP connection. */
static void start_tls(struct peer_connection *connection)
{
    struct peers *peers = connection->peers;
    io_socket_keep_short(connection->socket, peers_unacknowledged_ms, peers_unsent_size);
    if (tls_stream_open(&connection->tls, peers->tls, peers->bio_method, connection->is_dialled) !=
        STATUS_OK) {
        peer_connection_end(connection, "no memory for TLS");
        return;
    }
    io_socket_receive_start(connection->socket, received, connection);
}

void peer_connection_accept(struct peers *peers, struct io_socket *socket)
{
    struct peer_connection *connection = connection_make(peers, false);
    if (connection == NULL) {
        io_socket_close(socket);
        return;
    }
    connection_begin(connection, socket);
    start_tls(connection);
}

static void connected(struct io_op *op)
{
    struct peer_connection *connection = op->context;
    char reason[reason_size];
    if (connection->state == PEER_ENDED) {
        peers_step_later(connection->peers);
        return;
    }
    if (op->status != STATUS_OK) {
        snprintf(reason, sizeof reason, "cannot connect to it: %s", strerror(op->error_number));
        peer_connection_end(connection, reason);
        return;
    }
    peer_connection_set_state(connection, PEER_HANDSHAKE);
    start_tls(connection);
    if (connection->state == PEER_HANDSHAKE)
        shake_hands(connection);
    peer_connection_send(connection);
}

enum status peer_connection_dial(struct peers *peers, const char *address,
                                 struct peer_member *member, struct peer_probe *probe)
{
    char host[limit_member_address_size + 1];
    uint16_t port;
    struct io_socket *socket;
    if (!address_split(address, host, &port))
        return STATUS_INVALID_ARGUMENT;
    struct peer_connection *connection = connection_make(peers, true);
    if (connection == NULL)
        return STATUS_NO_MEMORY;
    connection->op = (struct io_op){.done = connected, .context = connection};
    enum status status = io_connect(peers->io, host, port, &connection->op, &socket);
    if (status != STATUS_OK) {
        free(connection);
        return status;
    }
    peers->statistics.dialled_count++;
    connection->member = member;
    connection->probe = probe;
    connection_begin(connection, socket);
    return STATUS_OK;
}
