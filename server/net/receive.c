/* SPDX-License-Identifier: Apache-2.0 */
/* Plain bytes of a connection into frames, and frames into requests.
 *
 * A frame that is refused with its size known and bearable is passed over, and the connection goes
 * on; one whose size cannot be trusted ends it. */
#include "server/net/net_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "proto/message.h"

enum {
    busy_retry_after_ms = 20,
    body_direct_size_min = 16 * 1024, /* below it, bytes are copied out of the shared buffer */
    /* What answering a request may take of its arena, besides what decoding took: records copied
     * out of the tree, and the frame made of them. */
    answer_arena_size = 2 * limit_frame_size + limit_reply_size,
};

static const ProtobufCMessageDescriptor *descriptor_of(enum frame_type type)
{
    switch (type) {
#define FRAME_CASE(name, number, request, reply, request_lower, reply_lower)                       \
    case FRAME_##name:                                                                             \
        return &strait__##request_lower##__descriptor;
        FRAME_LIST(FRAME_CASE)
#undef FRAME_CASE
    default:
        UNREACHABLE();
    }
}

/* ---- Requests ---- */

static struct request *request_make(struct connection *connection,
                                    const struct frame_header *header)
{
    struct net *net = connection->net;
    struct request *request = pool_take(&net->requests);
    if (request == NULL)
        return NULL;
    list_init(&request->link);
    request->session = &connection->session;
    request->connection = connection;
    request->replies = net->options.replies;
    request->type = header->type;
    request->number = header->request;
    message_arena_init(&request->arena, header->body_size);
    connection->requests_count++;
    net->statistics.requests_in_flight_count++;
    return request;
}

void connection_request_free(struct connection *connection, struct request *request)
{
    struct net *net = connection->net;
    ASSERT(request->connection == connection);
    ASSERT(connection->requests_count != 0);
    connection->requests_count--;
    net->statistics.requests_in_flight_count--;
    net->statistics.requests_in_flight_size -= request->counted_size;
    arena_free(&request->arena);
    pool_give(&net->requests, request);
}

static void request_count_size(struct net *net, struct request *request)
{
    net->statistics.requests_in_flight_size -= request->counted_size;
    request->counted_size = request->arena.used_size;
    net->statistics.requests_in_flight_size += request->counted_size;
}

static void request_refused(struct request *request, enum status status, uint32_t retry_after_ms,
                            const char *format, ...) __attribute__((format(printf, 4, 5)));

static void request_refused(struct request *request, enum status status, uint32_t retry_after_ms,
                            const char *format, ...)
{
    char text[error_text_size];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    request_encode_refusal(request, status, retry_after_ms, text);
    connection_take_reply(request->connection, request);
}

/* ---- A frame's header ---- */

/* Answers a frame whose body was not read. False where even that is past a bound: then the
 * connection has ended. */
static bool frame_refuse(struct connection *connection, const struct frame_header *header,
                         enum status status, uint32_t retry_after_ms, const char *text)
{
    const struct frame_header bare = {.type = header->type, .request = header->request};
    struct request *request = request_make(connection, &bare);
    if (request == NULL) {
        connection_end(connection, "more refused requests than can be answered");
        return false;
    }
    request_refused(request, status, retry_after_ms, "%s", text);
    return true;
}

static void frame_pass_over(struct connection *connection, const struct frame_header *header)
{
    connection->header_filled = 0;
    connection->skip_size = header->body_size;
    if (header->body_size == 0)
        net_deadline_stop(&connection->deadline);
}

static void frame_header_refused(struct connection *connection, const struct frame_header *header,
                                 enum status status)
{
    char text[error_text_size];
    bool first = connection->state == CONNECTION_HELLO;
    bool keep = !first && status != STATUS_MALFORMED && header->body_size <= limit_frame_size;
    connection->net->statistics.malformed_count++;
    switch (status) {
    case STATUS_UNSUPPORTED:
        snprintf(text, sizeof text, "This server knows no request of type %u.",
                 (unsigned)header->type);
        break;
    case STATUS_TOO_LARGE:
        snprintf(text, sizeof text, "A %s of %u bytes is larger than the %u permitted.",
                 frame_type_name(header->type), header->body_size,
                 first ? limit_frame_first_size : frame_body_size_max(header->type));
        break;
    default:
        snprintf(text, sizeof text, "%s",
                 first ? "The first frame of a connection is a HELLO."
                       : "The frame's header is malformed, or says HELLO once more.");
        break;
    }
    if (net_may_log(connection->net))
        log_warn("frame_refused", LOG_TEXT("peer", connection->session.peer),
                 LOG_TEXT("identity", connection->session.identity), LOG_TEXT("reason", text));
    if (!frame_refuse(connection, header, status, 0, text))
        return;
    if (keep)
        frame_pass_over(connection, header);
    else
        connection_close_gently(connection);
}

/* NULL where there is room for one more request of this size, else why not. */
static const char *busy_reason(const struct connection *connection, size_t body_size)
{
    const struct net *net = connection->net;
    if (connection->requests_count >= net->options.connection_requests_max)
        return "Too many requests are in flight on this connection.";
    if (net->statistics.requests_in_flight_count >= net->options.requests_max)
        return "Too many requests are in flight on this server.";
    if (net->statistics.requests_in_flight_size + body_size > net->options.requests_size)
        return "The requests in flight take all the memory that they may.";
    return NULL;
}

static void frame_end(struct connection *connection);

static void frame_begin(struct connection *connection)
{
    struct net *net = connection->net;
    struct frame_header header;
    enum status status =
        frame_request_decode(connection->header, connection->state == CONNECTION_HELLO, &header);
    if (status != STATUS_OK) {
        frame_header_refused(connection, &header, status);
        return;
    }
    const char *reason = busy_reason(connection, header.body_size);
    struct request *request = reason == NULL ? request_make(connection, &header) : NULL;
    uint8_t *body = NULL;
    if (request != NULL) {
        /* The body's bytes are beside the budget of decoding it. */
        request->arena.budget_size += (size_t)header.body_size + 16;
        body = arena_alloc(&request->arena, header.body_size);
    }
    if (body == NULL) {
        if (request != NULL)
            connection_request_free(connection, request);
        net->statistics.busy_count++;
        if (frame_refuse(connection, &header, STATUS_BUSY, busy_retry_after_ms,
                         reason != NULL ? reason : "There is no memory for this request."))
            frame_pass_over(connection, &header);
        return;
    }
    request->body = bytes_of(body, header.body_size);
    request_count_size(net, request);
    connection->incoming = request;
    if (header.body_size == 0)
        frame_end(connection);
}

/* ---- A whole frame ---- */

/* Copies text that may be too long, without cutting through a character of UTF-8. */
static void text_cut(char *to, size_t size, const char *from)
{
    size_t length = strlen(from);
    if (length >= size) {
        length = size - 1;
        while (length > 0 && ((uint8_t)from[length] & 0xc0) == 0x80)
            length--;
    }
    memcpy(to, from, length);
    to[length] = 0;
}

/* Returns whether the peer may come in; else the request was answered. */
static bool hello_is_permitted(struct connection *connection, struct request *request)
{
    const Strait__Hello *hello = REQUEST_MESSAGE(request, Hello);
    if (connection->session.role == ROLE_NONE) {
        request_refused(request, STATUS_UNAUTHENTICATED, 0, "%s",
                        connection->refusal != NULL ? connection->refusal : "Unknown identity.");
        connection_close_gently(connection);
        return false;
    }
    if (hello->protocol_version != frame_protocol_version) {
        request_refused(request, STATUS_UNSUPPORTED, 0,
                        "This server speaks version %d of the protocol, the client version %u. "
                        "Use a client of the same release.",
                        frame_protocol_version, hello->protocol_version);
        connection_close_gently(connection);
        return false;
    }
    text_cut(connection->session.client, sizeof connection->session.client, hello->client);
    connection_set_state(connection, CONNECTION_OPEN);
    return true;
}

/* Returns whether the request may go to the core; else it was answered. */
static bool request_is_permitted(struct connection *connection, struct request *request)
{
    struct net *net = connection->net;
    const struct session *session = &connection->session;
    if (request->type == FRAME_HELLO && !hello_is_permitted(connection, request))
        return false;
    if (net->draining) {
        request_refused(request, STATUS_SHUTTING_DOWN, 0,
                        "The server is shutting down; nothing was done.");
        return false;
    }
    if (!access_permits(session->role, request->type, request->message)) {
        enum role needed = access_role_needed(request->type, request->message);
        net->statistics.denied_count++;
        request_refused(request, STATUS_PERMISSION_DENIED, 0,
                        "%s needs the role %s; the identity %s has the role %s.",
                        request->type == FRAME_COMMIT && needed == ROLE_ADMIN
                            ? "A change of the schema"
                            : frame_type_name(request->type),
                        role_name(needed), session->identity, role_name(session->role));
        return false;
    }
    return true;
}

static void frame_end(struct connection *connection)
{
    struct net *net = connection->net;
    struct request *request = connection->incoming;
    request->received_ns = net->now_ns;
    connection->incoming = NULL;
    connection->header_filled = 0;
    connection->key_updates_count = 0;
    net_deadline_stop(&connection->deadline);

    enum status status = message_decode(descriptor_of(request->type), request->body, true,
                                        &request->arena, &request->message);
    /* Decoding was held to its own bounds; answering has others. */
    request->arena.allocations_max = UINT32_MAX;
    request->arena.budget_size = request->arena.used_size + answer_arena_size;
    if (request->type == FRAME_COMMIT && request->arena.budget_size < limit_txn_arena_size)
        request->arena.budget_size = limit_txn_arena_size;
    request_count_size(net, request);
    if (status != STATUS_OK) {
        net->statistics.malformed_count++;
        request_refused(request, status, 0,
                        "The body is no %s that this server understands, or takes more memory to "
                        "decode than it may.",
                        frame_type_name(request->type));
        /* The frame was whole, so the stream can be read on; but who begins like this is left. */
        if (connection->state == CONNECTION_HELLO)
            connection_close_gently(connection);
        return;
    }
    if (!request_is_permitted(connection, request))
        return;
    net->statistics.requests_count++;
    mailbox_post(net->options.requests, request);
}

/* ---- Bytes ---- */

uint8_t *connection_body_space(struct connection *connection, size_t *size)
{
    struct request *request = connection->incoming;
    *size = 0;
    if (request == NULL || request->body.size - request->body_filled < body_direct_size_min)
        return NULL;
    *size = request->body.size - request->body_filled;
    /* The body is in the request's own arena, and constant only for everybody else. */
    return (uint8_t *)(uintptr_t)request->body.data + request->body_filled;
}

void connection_body_filled(struct connection *connection, size_t size)
{
    struct request *request = connection->incoming;
    ASSERT(size <= request->body.size - request->body_filled);
    request->body_filled += size;
    if (request->body_filled == request->body.size)
        frame_end(connection);
}

static size_t size_least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Takes what the frame that is being read lacks, and returns how much that was. */
static size_t consume_part(struct connection *connection, struct bytes plain)
{
    struct request *request = connection->incoming;
    size_t taken;
    if (connection->skip_size != 0) {
        taken = size_least(connection->skip_size, plain.size);
        connection->skip_size -= (uint32_t)taken;
        if (connection->skip_size == 0)
            net_deadline_stop(&connection->deadline);
    } else if (request != NULL) {
        taken = size_least(request->body.size - request->body_filled, plain.size);
        bytes_copy((uint8_t *)(uintptr_t)request->body.data + request->body_filled,
                   bytes_of(plain.data, taken));
        connection_body_filled(connection, taken);
    } else {
        taken = size_least(sizeof connection->header - connection->header_filled, plain.size);
        memcpy(connection->header + connection->header_filled, plain.data, taken);
        connection->header_filled += taken;
        if (connection->header_filled == sizeof connection->header)
            frame_begin(connection);
    }
    return taken;
}

void connection_consume(struct connection *connection, struct bytes plain)
{
    while (plain.size != 0 &&
           (connection->state == CONNECTION_HELLO || connection->state == CONNECTION_OPEN)) {
        size_t taken = consume_part(connection, plain);
        plain = bytes_of(plain.data + taken, plain.size - taken);
    }
}
