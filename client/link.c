/* SPDX-License-Identifier: Apache-2.0 */
#include "client/link.h"

#include <stdio.h>
#include <stdlib.h>

#include "client/error.h"
#include "proto/base/assert.h"
#include "proto/message.h"
#include "proto/strait.pb-c.h"

static const uint64_t millisecond_ns = 1000 * 1000;

void link_init(struct link *link, const struct strait_options *options, SSL_CTX *context,
               uint64_t seed)
{
    *link = (struct link){
        .options = options, .context = context, .endpoints_count = options->endpoints_count};
    memcpy(link->endpoints, options->endpoints, sizeof options->endpoints);
    dial_init(&link->dial, link->endpoints, link->endpoints_count);
    connection_init(&link->connection);
    generator_init(&link->generator, seed);
}

/* Half of the pause is certain, half is chance, so that a crowd of clients does not come back as
 * one. */
static void begin_waiting(struct link *link, uint64_t now_ns)
{
    if (link->pause_ms == 0)
        link->pause_ms = link_pause_min_ms;
    uint32_t half_ms = link->pause_ms / 2;
    link->resume_ns =
        now_ns + (half_ms + generator_below(&link->generator, half_ms + 1)) * millisecond_ns;
    link->pause_ms =
        link->pause_ms * 2 < link_pause_max_ms ? link->pause_ms * 2 : link_pause_max_ms;
    link->state = LINK_WAITING;
}

static const char *server_name(const struct link *link)
{
    return link->options->server_name[0] != 0 ? link->options->server_name
                                              : link->endpoints[link->endpoint].host;
}

/* Puts the endpoint in front of the words there are. */
static void name_endpoint(struct link *link)
{
    const struct endpoint *endpoint = &link->endpoints[link->endpoint];
    struct strait_error error = link->error;
    client_error_set(&link->error, (enum status)error.status, "%s:%s: %.300s", endpoint->host,
                     endpoint->port, error.text);
}

static enum status send_hello(struct link *link)
{
    Strait__Hello hello = STRAIT__HELLO__INIT;
    Strait__Promotion promotion = STRAIT__PROMOTION__INIT;
    struct arena arena;
    struct bytes frame;

    hello.protocol_version = frame_protocol_version;
    if (link->options->client_name[0] != 0)
        hello.client = (char *)(uintptr_t)link->options->client_name;
    if (link->promotion.epoch.number != 0) {
        promotion.epoch_number = link->promotion.epoch.number;
        promotion.epoch_region = link->promotion.epoch.region;
        promotion.record =
            field_of_bytes(bytes_of(link->promotion.record, link->promotion.record_size));
        hello.promotion = &promotion;
    }
    arena_init(&arena, 1024, 2 * limit_frame_first_size);
    enum status status =
        message_encode_frame(&hello.base, FRAME_HELLO, STATUS_OK, 0, &arena, &frame);
    if (status == STATUS_OK)
        status = connection_write(&link->connection, frame);
    arena_free(&arena);
    return status;
}

static enum status refuse_hello(struct link *link, enum status status, struct bytes body)
{
    struct arena arena;
    ProtobufCMessage *message;

    message_arena_init(&arena, body.size);
    if (message_decode(&strait__refusal__descriptor, body, false, &arena, &message) == STATUS_OK)
        client_error_set(&link->error, status, "the server refused the connection (%s): %s",
                         status_name(status), ((const Strait__Refusal *)message)->text);
    else
        client_error_set(&link->error, status, "the server refused the connection: %s",
                         status_text(status));
    arena_free(&arena);
    return status;
}

static void note_promotion(struct link *link, const Strait__Promotion *promotion)
{
    if (promotion == NULL)
        return;
    const struct epoch epoch = {.number = promotion->epoch_number,
                                .region = promotion->epoch_region};
    promotion_note(&link->promotion, epoch,
                   bytes_of(promotion->record.data, promotion->record.len));
}

static enum status take_hello(struct link *link, struct bytes body)
{
    struct arena arena;
    ProtobufCMessage *message;

    message_arena_init(&arena, body.size);
    enum status status =
        message_decode(&strait__hello_reply__descriptor, body, false, &arena, &message);
    const Strait__HelloReply *reply = (const Strait__HelloReply *)message;
    if (status == STATUS_OK && reply->protocol_version != frame_protocol_version)
        status = STATUS_UNSUPPORTED;
    if (status == STATUS_OK) {
        struct session_info *session = &link->session;
        *session = (struct session_info){.endpoint = link->endpoints[link->endpoint]};
        snprintf(session->server_version, sizeof session->server_version, "%s",
                 reply->server_version);
        snprintf(session->identity, sizeof session->identity, "%s", reply->identity);
        snprintf(session->role, sizeof session->role, "%s", reply->role);
        if (reply->cluster_id.len == sizeof session->cluster_id)
            memcpy(session->cluster_id, reply->cluster_id.data, sizeof session->cluster_id);
        if (reply->position != NULL)
            link->log_time_ns = reply->position->log_time_ns;
        note_promotion(link, reply->promotion);
    } else {
        client_error_set(&link->error, status,
                         "the server answered with a protocol that this library does not speak");
    }
    arena_free(&arena);
    return status;
}

/* OK once the server has answered Hello. */
static enum status exchange_hello(struct link *link)
{
    struct frame_header header;
    uint8_t *body;

    enum status status = connection_flush(&link->connection, &link->error);
    if (status != STATUS_OK && status != STATUS_AGAIN)
        return status;
    status = connection_read(&link->connection, &header, &body, &link->error);
    if (status != STATUS_OK)
        return status;
    if (header.type != FRAME_HELLO_REPLY) {
        client_error_set(&link->error, STATUS_MALFORMED, "the server did not answer Hello");
        status = STATUS_MALFORMED;
    } else if (header.status != STATUS_OK) {
        status = refuse_hello(link, header.status, bytes_of(body, header.body_size));
    } else {
        status = take_hello(link, bytes_of(body, header.body_size));
    }
    free(body);
    return status;
}

/* One step of DIALING. */
static enum status step_dialing(struct link *link, uint64_t now_ns)
{
    int descriptor;
    unsigned endpoint;

    enum status status = dial_step(&link->dial, now_ns, &descriptor, &endpoint, &link->error);
    if (status != STATUS_OK)
        return status;
    /* Those before it have refused, or kept silent for longer than it took. */
    for (unsigned i = link->endpoint; i != endpoint; i = (i + 1) % link->endpoints_count)
        link->failed_ns[i] = now_ns;
    link->endpoint = endpoint;
    link->deadline_ns =
        now_ns +
        (link->endpoints_count > 1 ? link_handshake_other_ms : link_handshake_ms) * millisecond_ns;
    status = connection_start(&link->connection, link->context, descriptor, server_name(link),
                              link->tickets[endpoint], &link->tickets[endpoint]);
    if (status == STATUS_OK)
        link->state = LINK_HANDSHAKE;
    return status;
}

/* One step of HANDSHAKE or HELLO; OK when it led to the next state. */
static enum status step_greeting(struct link *link, uint64_t now_ns)
{
    enum status status;

    link->connection.socket.drained = false;
    if (link->state == LINK_HANDSHAKE) {
        status = connection_handshake(&link->connection, &link->error);
        if (status == STATUS_OK)
            status = send_hello(link);
        if (status == STATUS_OK)
            link->state = LINK_HELLO;
    } else {
        status = exchange_hello(link);
        if (status == STATUS_OK) {
            link->state = LINK_READY;
            link->served = false;
            link->refused = false;
        }
    }
    if (status == STATUS_AGAIN && now_ns >= link->deadline_ns) {
        client_error_set(&link->error, STATUS_UNREACHABLE,
                         "it accepts connections but does not answer");
        status = STATUS_UNREACHABLE;
    }
    if (status != STATUS_OK && status != STATUS_AGAIN) {
        if (link->error.text[0] == 0)
            client_error_set(&link->error, status, "%s", status_text(status));
        name_endpoint(link);
        connection_stop(&link->connection, false);
        link->failed_ns[link->endpoint] = now_ns;
        link->state = LINK_DIALING;
    }
    return status;
}

/* Reasons that time alone does not mend. */
static bool is_refusal(enum strait_status status)
{
    return status == STRAIT_UNAUTHENTICATED || status == STRAIT_UNSUPPORTED ||
           status == STRAIT_PERMISSION_DENIED;
}

enum status link_connect(struct link *link, uint64_t now_ns)
{
    for (;;) {
        enum status status = STATUS_OK;
        switch (link->state) {
        case LINK_READY:
            return STATUS_OK;
        case LINK_WAITING:
            if (now_ns < link->resume_ns)
                return STATUS_AGAIN;
            link->state = LINK_IDLE;
            break;
        case LINK_IDLE:
            client_error_clear(&link->error);
            link->refused = false;
            dial_begin(&link->dial, link->endpoint);
            link->state = LINK_DIALING;
            break;
        case LINK_DIALING:
            status = step_dialing(link, now_ns);
            if (status != STATUS_OK && status != STATUS_AGAIN) {
                link->refused = is_refusal(link->error.status);
                begin_waiting(link, now_ns);
                return status;
            }
            break;
        case LINK_HANDSHAKE:
        case LINK_HELLO:
            /* Where an endpoint fails here, DIALING goes on with the next. */
            status = step_greeting(link, now_ns);
            break;
        }
        if (status == STATUS_AGAIN)
            return STATUS_AGAIN;
    }
}

void link_lost(struct link *link, uint64_t now_ns)
{
    ASSERT(link->state == LINK_READY);
    connection_stop(&link->connection, false);
    link->failed_ns[link->endpoint] = now_ns;
    if (link->error.text[0] != 0)
        name_endpoint(link);
    link->state = LINK_IDLE;
    if (link->served)
        link->pause_ms = 0;
    else
        begin_waiting(link, now_ns);
}

void link_turn_away(struct link *link, uint64_t now_ns)
{
    ASSERT(link->state == LINK_READY);
    connection_stop(&link->connection, false);
    link->endpoint = (link->endpoint + 1) % link->endpoints_count;
    link->follows_count = 0;
    if (link->pause_ms > link_pause_away_ms)
        link->pause_ms = link_pause_away_ms;
    begin_waiting(link, now_ns);
}

void link_pass_over(struct link *link)
{
    ASSERT(link->state == LINK_IDLE || link->state == LINK_WAITING);
    link->endpoint = (link->endpoint + 1) % link->endpoints_count;
}

/* ---- The leader, as servers name it ---- */

/* link->endpoints_count where it is not known. */
static unsigned find_endpoint(const struct link *link, const struct endpoint *endpoint)
{
    unsigned i = 0;
    while (i < link->endpoints_count && (strcmp(link->endpoints[i].host, endpoint->host) != 0 ||
                                         strcmp(link->endpoints[i].port, endpoint->port) != 0))
        i++;
    return i;
}

static bool may_follow(const struct link *link, const struct endpoint *endpoint, uint64_t now_ns)
{
    unsigned found = find_endpoint(link, endpoint);
    if (found == link->endpoints_count)
        return true;
    return found != link->endpoint &&
           (link->failed_ns[found] == 0 ||
            now_ns >= link->failed_ns[found] + link_follow_again_ms * millisecond_ns);
}

bool link_may_follow(const struct link *link, const char *named, uint64_t now_ns)
{
    struct endpoint endpoint;

    if (link->follows_count >= link_follows_max)
        return false;
    while (endpoint_next(&named, &endpoint)) {
        if (may_follow(link, &endpoint, now_ns))
            return true;
    }
    return false;
}

/* A place for one more endpoint: a new one, or that of the one that was told longest ago. */
static unsigned place_told(struct link *link)
{
    unsigned configured = link->options->endpoints_count;
    if (link->endpoints_count < configured + endpoints_told_max)
        return link->endpoints_count++;
    unsigned place = configured + link->told_next;
    if (place == link->endpoint)
        place = configured + (link->told_next + 1) % endpoints_told_max;
    link->told_next = (place - configured + 1) % endpoints_told_max;
    SSL_SESSION_free(link->tickets[place]);
    link->tickets[place] = NULL;
    link->failed_ns[place] = 0;
    return place;
}

/* Of a list that is longer than there are places, the last ones stay. */
static void remember_told(struct link *link, const char *named)
{
    struct endpoint endpoint;

    while (endpoint_next(&named, &endpoint)) {
        if (find_endpoint(link, &endpoint) == link->endpoints_count) {
            unsigned place = place_told(link);
            link->endpoints[place] = endpoint;
        }
    }
    link->dial.endpoints_count = link->endpoints_count;
}

void link_follow(struct link *link, const char *named, uint64_t now_ns)
{
    unsigned next = 0;
    struct endpoint endpoint;
    bool found = false;

    ASSERT(link->state == LINK_READY);
    connection_stop(&link->connection, false);
    remember_told(link, named);
    /* What is forgotten for the sake of later ones leaves at least the last of these, which has not
     * failed. */
    while (!found && endpoint_next(&named, &endpoint)) {
        next = find_endpoint(link, &endpoint);
        found = next != link->endpoints_count && may_follow(link, &endpoint, now_ns);
    }
    ASSERT(found);
    link->endpoint = next;
    link->follows_count++;
    link->state = LINK_IDLE;
}

unsigned link_poll(const struct link *link, struct pollfd *polled, uint64_t *wake_ns)
{
    *wake_ns = UINT64_MAX;
    switch (link->state) {
    case LINK_IDLE:
        return 0;
    case LINK_WAITING:
        *wake_ns = link->resume_ns;
        return 0;
    case LINK_DIALING:
        return dial_poll(&link->dial, polled, wake_ns);
    case LINK_HANDSHAKE:
    case LINK_HELLO:
        *wake_ns = link->deadline_ns;
        break;
    case LINK_READY:
        break;
    }
    polled[0] = (struct pollfd){.fd = link->connection.socket.descriptor, .events = POLLIN};
    if (link->connection.wants_write || connection_has_output(&link->connection))
        polled[0].events |= POLLOUT;
    return 1;
}

void link_free(struct link *link, bool quietly)
{
    dial_stop(&link->dial);
    connection_stop(&link->connection, quietly);
    for (unsigned i = 0; i < link_endpoints_max; i++) {
        SSL_SESSION_free(link->tickets[i]);
        link->tickets[i] = NULL;
    }
    link->state = LINK_IDLE;
}
