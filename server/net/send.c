/* SPDX-License-Identifier: Apache-2.0 */
/* Replies of a connection into sealed bytes, and those into one send at a time.
 *
 * What is answered while a send is under way waits and goes out with the next: the slower the peer,
 * the larger the batches. */
#include "server/net/net_internal.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/assert.h"
#include "server/net/tls.h"

enum {
    record_plain_size = 16 * 1024,
    record_overhead_size = 64, /* more than a record's header, tag and type take */
    reply_droppable_size = 4 * 1024,
    dropped_retry_after_ms = 100,
};

/* ---- Replies that come back ---- */

static bool output_is_past(const struct connection *connection, uint64_t factor)
{
    const struct net_options *options = &connection->net->options;
    return connection->replies_size > factor * options->connection_output_size ||
           connection->replies_count > factor * 2 * options->connection_requests_max;
}

/* Reading stops while the peer does not take what it asked for, and goes on at half of that. */
static void connection_adjust_receive(struct connection *connection)
{
    const struct net_options *options = &connection->net->options;
    if (connection->state != CONNECTION_OPEN)
        return;
    if (!connection->paused && output_is_past(connection, 1)) {
        connection->paused = true;
        net_deadline_stop(&connection->deadline);
        io_socket_receive_pause(connection->socket);
    } else if (connection->paused &&
               connection->replies_size <= options->connection_output_size / 2 &&
               connection->replies_count <= options->connection_requests_max) {
        connection->paused = false;
        io_socket_receive_resume(connection->socket);
    }
}

/* Pausing does not stop what is with the core already. Past twice the bound, large replies to reads
 * are dropped for a BUSY, so that memory stays bounded whatever was asked for at once. */
static void reply_drop_if_past(struct connection *connection, struct request *request)
{
    const struct net *net = connection->net;
    bool total_is_past = net->statistics.requests_in_flight_size / 2 > net->options.requests_size;
    if (request->type == FRAME_COMMIT || request->reply.size < reply_droppable_size ||
        (!total_is_past && !output_is_past(connection, 2)))
        return;
    request->reply = (struct bytes){0};
    arena_free(&request->arena);
    arena_init(&request->arena, 1024, reply_droppable_size);
    request_encode_refusal(request, STATUS_BUSY, dropped_retry_after_ms,
                           "More replies wait for this client to take them than may.");
}

void connection_take_reply(struct connection *connection, struct request *request)
{
    struct net *net = connection->net;
    ASSERT(request->reply.size >= frame_header_size);
    if (connection->state == CONNECTION_ENDED || connection->state == CONNECTION_SHUT) {
        connection_request_free(connection, request);
        return;
    }
    reply_drop_if_past(connection, request);
    net->statistics.requests_in_flight_size -= request->counted_size;
    request->counted_size = request->arena.used_size;
    net->statistics.requests_in_flight_size += request->counted_size;
    list_push_last(&connection->replies, &request->link);
    connection->replies_count++;
    connection->replies_size += request->reply.size;
    connection_mark_dirty(connection);
    connection_adjust_receive(connection);
}

/* ---- Sealing ---- */

/* Copies replies into one buffer, frees those that went in whole, and returns how much it holds. */
static size_t replies_gather(struct connection *connection, uint8_t *to, size_t space)
{
    size_t filled = 0;
    struct list_link *link;
    while (filled < space && (link = list_first(&connection->replies)) != NULL) {
        struct request *request = LIST_ENTRY(link, struct request, link);
        size_t left = request->reply.size - connection->reply_written;
        size_t taken = left < space - filled ? left : space - filled;
        memcpy(to + filled, request->reply.data + connection->reply_written, taken);
        filled += taken;
        connection->reply_written += taken;
        connection->replies_size -= taken;
        if (taken < left)
            break;
        connection->reply_written = 0;
        connection->replies_count--;
        list_remove(link);
        connection_request_free(connection, request);
    }
    return filled;
}

/* False where the connection has ended. */
static bool replies_seal(struct connection *connection)
{
    struct net *net = connection->net;
    if (list_is_empty(&connection->replies) || connection->state == CONNECTION_SHUT)
        return true;
    size_t filled = replies_gather(connection, net->plain_out, sizeof net->plain_out);
    size_t written = 0;
    size_t sealed_size = filled + (filled / record_plain_size + 1) * record_overhead_size;
    tls_forget_errors();
    if (connection_output_reserve(connection, sealed_size) &&
        SSL_write_ex(connection->ssl, net->plain_out, filled, &written) == 1 && written == filled)
        return true;
    connection_end(connection, "replies could not be sealed");
    return false;
}

/* ---- Sending ---- */

static void connection_sent(struct io_op *op)
{
    struct connection *connection = op->context;
    struct net *net = connection->net;
    net->statistics.sent_size += op->size;
    free(connection->sending);
    connection->sending = NULL;
    net_deadline_stop(&connection->send_deadline);
    if (op->status != STATUS_OK)
        connection_end(connection, NULL);
    else
        connection_mark_dirty(connection);
}

static void connection_send_pending(struct connection *connection)
{
    struct net *net = connection->net;
    struct output *output = connection->pending;
    if (output == NULL || output->size == 0)
        return;
    connection->pending = NULL;
    connection->sending = output;
    connection->send = (struct io_op){.done = connection_sent, .context = connection};
    net->statistics.sends_count++;
    net_send_deadline_start(net, connection);
    io_socket_send(connection->socket, &connection->send, output->bytes, output->size);
}

/* All that was asked for is answered and sealed: says so, and gives the peer a moment to close. */
static void connection_shut(struct connection *connection)
{
    ERR_clear_error();
    /* 0 and 1 say whether the peer has closed; less, that it cannot be told, and it will see. */
    int result = SSL_shutdown(connection->ssl);
    if (result < 0)
        ERR_clear_error();
    connection_set_state(connection, CONNECTION_SHUT);
    net_deadline_start(connection->net, connection, DEADLINE_CLOSE);
}

static bool may_shut(const struct connection *connection)
{
    uint64_t unread = connection->incoming != NULL ? 1 : 0;
    bool leaving = connection->state == CONNECTION_CLOSING ||
                   (connection->state == CONNECTION_OPEN && connection->net->draining);
    return leaving && connection->requests_count == unread;
}

void connection_flush(struct connection *connection)
{
    if (connection->state == CONNECTION_ENDED || connection->sending != NULL)
        return;
    if (!replies_seal(connection))
        return;
    if (may_shut(connection)) {
        connection_close_gently(connection);
        connection_shut(connection);
    }
    connection_send_pending(connection);
    connection_adjust_receive(connection);
}
