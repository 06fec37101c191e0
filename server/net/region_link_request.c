/* SPDX-License-Identifier: Apache-2.0 */
/* Requests in flight to another region, and whose a reply is.
 *
 * A request's number is a sequence times the count of places, plus its place: so a reply finds its
 * place without a search, and a number is never used twice. */
#include <stdio.h>
#include <string.h>

#include "proto/base/assert.h"
#include "proto/message.h"
#include "proto/strait.pb-c.h"
#include "server/net/region_link_internal.h"

enum { late_count_max = limit_link_requests_count / 2, arena_slack_size = 256 };

static const ProtobufCMessageDescriptor *reply_descriptor_of(enum frame_type type)
{
    switch (type) {
#define FRAME_CASE(name, number, request, reply, request_lower, reply_lower)                       \
    case FRAME_##name:                                                                             \
        return &strait__##reply_lower##__descriptor;
        FRAME_LIST(FRAME_CASE)
#undef FRAME_CASE
    default:
        UNREACHABLE();
    }
}

/* Those that never leave a process. */
static bool status_may_travel(enum status status)
{
    return status != STATUS_AGAIN && status != STATUS_END;
}

/* ---- Places ---- */

static void place_free(struct region_link_request *request)
{
    struct region_link *link = request->link;
    io_timer_stop(link->io, &request->timer);
    link->late_count -= request->is_late;
    link->requests_count--;
    request->number = 0;
    request->is_late = false;
    request->context = NULL;
}

static struct region_link_request *place_find(struct region_link *link)
{
    for (struct region_link_request *each = link->requests;
         each < link->requests + limit_link_requests_count; each++) {
        if (each->number == 0)
            return each;
    }
    return NULL;
}

/* NULL: no request in flight has this number. */
static struct region_link_request *place_of(const struct region_link *link, uint64_t number)
{
    const struct region_link_request *request = &link->requests[number % limit_link_requests_count];
    return number != 0 && request->number == number
               ? (struct region_link_request *)(uintptr_t)request
               : NULL;
}

static void tell(struct region_link *link, void *context, enum status status,
                 const ProtobufCMessage *message)
{
    if (link->user != NULL)
        link->user->replied(link->user->context, context, status, message);
}

/* Its time is over. The place stays taken: a reply that comes yet must not end the connection as
 * one that nobody asked for. */
static void time_is_over(struct io_timer *timer)
{
    struct region_link_request *request = timer->context;
    struct region_link *link = request->link;
    void *context = request->context;
    ASSERT(request->number != 0 && !request->is_late);
    request->is_late = true;
    link->late_count++;
    link->statistics.timeouts_count++;
    tell(link, context, STATUS_DEADLINE_EXCEEDED, NULL);
    if (link->late_count > late_count_max && link->connection != NULL)
        region_link_connection_end(link->connection, "it leaves too many requests unanswered");
}

void region_link_requests_init(struct region_link *link)
{
    for (struct region_link_request *each = link->requests;
         each < link->requests + limit_link_requests_count; each++) {
        each->link = link;
        each->timer = (struct io_timer){.fired = time_is_over, .context = each};
    }
}

void region_link_requests_lose(struct region_link *link)
{
    for (struct region_link_request *each = link->requests;
         each < link->requests + limit_link_requests_count; each++) {
        if (each->number == 0)
            continue;
        void *context = each->context;
        bool is_late = each->is_late;
        place_free(each);
        if (is_late)
            continue;
        link->statistics.disconnected_count++;
        tell(link, context, STATUS_DISCONNECTED, NULL);
    }
    ASSERT(link->requests_count == 0 && link->late_count == 0);
}

/* ---- Out ---- */

/* Encodes and seals; false where the connection has ended or there is no memory. */
static enum status say(struct region_link_connection *connection, enum frame_type type,
                       const ProtobufCMessage *message, uint64_t number)
{
    struct arena arena;
    struct bytes frame;
    size_t size = frame_header_size + protobuf_c_message_get_packed_size(message);
    arena_init(&arena, size + arena_slack_size, size + arena_slack_size);
    enum status status =
        message_encode_frame(message, (int)type, STATUS_OK, number, &arena, &frame);
    if (status == STATUS_OK && !region_link_connection_say(connection, frame))
        status = STATUS_NO_MEMORY;
    arena_free(&arena);
    return status;
}

enum status region_link_request_send(struct region_link *link, enum frame_type type,
                                     const ProtobufCMessage *message, uint32_t timeout_ms,
                                     void *context)
{
    struct region_link_connection *connection = link->connection;
    ASSERT((type & frame_reply) == 0 && type != FRAME_HELLO && type != FRAME_PING);
    if (connection == NULL || connection->state != REGION_LINK_OPEN)
        return STATUS_UNREACHABLE;
    size_t size = protobuf_c_message_get_packed_size(message);
    if (size > frame_body_size_max(type))
        return STATUS_TOO_LARGE;
    struct region_link_request *request = place_find(link);
    if (request == NULL ||
        region_link_connection_waiting_size(connection) + size > limit_link_output_size)
        return STATUS_BUSY;
    uint64_t number = ++link->requests_sequence * limit_link_requests_count +
                      (uint64_t)(request - link->requests);
    enum status status = say(connection, type, message, number);
    if (status != STATUS_OK)
        return status;
    request->number = number;
    request->type = type;
    request->context = context;
    link->requests_count++;
    link->statistics.requests_count++;
    if (timeout_ms != 0)
        region_link_timer_start(link, &request->timer, timeout_ms);
    return STATUS_OK;
}

bool region_link_say_hello(struct region_link_connection *connection)
{
    Strait__Hello hello = STRAIT__HELLO__INIT;
    hello.protocol_version = frame_protocol_version;
    hello.client = connection->link->program;
    if (say(connection, FRAME_HELLO, &hello.base, region_link_hello_number) == STATUS_OK)
        return true;
    region_link_connection_end(connection, "no memory to say HELLO");
    return false;
}

bool region_link_say_ping(struct region_link_connection *connection)
{
    Strait__Ping ping = STRAIT__PING__INIT;
    connection->ping_pending = true;
    if (say(connection, FRAME_PING, &ping.base, region_link_ping_number) == STATUS_OK)
        return true;
    region_link_connection_end(connection, "no memory to say PING");
    return false;
}

/* ---- In ---- */

bool region_link_reply_is_due(const struct region_link_connection *connection,
                              const struct frame_header *frame)
{
    const struct region_link *link = connection->link;
    if (!status_may_travel(frame->status))
        return false;
    if (connection->state == REGION_LINK_GREETING)
        return frame->type == FRAME_HELLO_REPLY && frame->request == region_link_hello_number &&
               frame->body_size <= limit_frame_first_size;
    if (frame->request == region_link_ping_number)
        return frame->type == FRAME_PING_REPLY && connection->ping_pending &&
               frame->body_size <= limit_frame_first_size;
    const struct region_link_request *request = place_of(link, frame->request);
    return request != NULL && frame->type == (enum frame_type)((int)request->type | frame_reply);
}

static void take_hello(struct region_link_connection *connection, enum status status,
                       const ProtobufCMessage *message)
{
    struct region_link *link = connection->link;
    char reason[region_link_reason_size + 1];
    if (status != STATUS_OK) {
        const Strait__Refusal *refusal = (const Strait__Refusal *)(const void *)message;
        snprintf(reason, sizeof reason, "it refused: %.200s", refusal->text);
        region_link_connection_end(connection, reason);
        return;
    }
    const Strait__HelloReply *hello = (const Strait__HelloReply *)(const void *)message;
    if (hello->cluster_id.len != region_link_cluster_id_size ||
        memcmp(hello->cluster_id.data, link->options.cluster_id, region_link_cluster_id_size) !=
            0) {
        region_link_connection_end(connection,
                                   "it belongs to another cluster: the cluster ids differ");
        return;
    }
    region_link_connection_set_state(connection, REGION_LINK_OPEN);
    region_link_opened(link);
}

static void take_reply(struct region_link_connection *connection,
                       struct region_link_request *request, enum status status,
                       const ProtobufCMessage *message)
{
    struct region_link *link = connection->link;
    void *context = request->context;
    bool is_late = request->is_late;
    place_free(request);
    if (status == STATUS_OK) {
        link->statistics.replies_count++;
        link->failures_count = 0;
        link->redirects_count = 0;
    } else {
        link->statistics.refusals_count++;
    }
    if (!is_late)
        tell(link, context, status, message);
    /* Where the user has not left it itself. */
    if (status == STATUS_NOT_LEADER && link->connection == connection)
        region_link_redirect(link, ((const Strait__Refusal *)(const void *)message)->leader);
}

void region_link_reply_take(struct region_link_connection *connection,
                            const struct frame_header *frame, struct bytes body)
{
    struct arena arena;
    ProtobufCMessage *message = NULL;
    enum frame_type type = (enum frame_type)((int)frame->type & ~frame_reply);
    const ProtobufCMessageDescriptor *descriptor =
        frame->status == STATUS_OK ? reply_descriptor_of(type) : &strait__refusal__descriptor;
    message_arena_init(&arena, body.size);
    if (message_decode(descriptor, body, false, &arena, &message) != STATUS_OK) {
        region_link_connection_end_malformed(connection, "it sent a reply that is none");
    } else if (connection->state == REGION_LINK_GREETING) {
        take_hello(connection, frame->status, message);
    } else if (frame->request == region_link_ping_number) {
        connection->ping_pending = false;
    } else {
        struct region_link_request *request = place_of(connection->link, frame->request);
        /* It was due when its header came; its place is freed by its reply alone. */
        ASSERT(request != NULL);
        take_reply(connection, request, frame->status, message);
    }
    arena_free(&arena);
}
