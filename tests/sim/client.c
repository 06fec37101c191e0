/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/client.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/message.h"
#include "tests/sim/pair.h"

#define NS_PER_MS UINT64_C(1000000)

enum {
    deadline_ms = 12000,
    attempt_min_ms = 400,
    attempt_max_ms = 2500,
    back_off_min_ms = 5,
    back_off_max_ms = 60,
};

const ProtobufCMessageDescriptor *client_request_descriptor(enum frame_type type)
{
    switch (type) {
#define REQUEST_CASE(name, number, request, reply, request_lower, reply_lower)                     \
    case FRAME_##name:                                                                             \
        return &strait__##request_lower##__descriptor;
        FRAME_LIST(REQUEST_CASE)
#undef REQUEST_CASE
    default:
        UNREACHABLE();
    }
}

const ProtobufCMessageDescriptor *client_reply_descriptor(enum frame_type type)
{
    switch (type) {
#define REPLY_CASE(name, number, request, reply, request_lower, reply_lower)                       \
    case FRAME_##name:                                                                             \
        return &strait__##reply_lower##__descriptor;
        FRAME_LIST(REPLY_CASE)
#undef REPLY_CASE
    default:
        UNREACHABLE();
    }
}

void client_init(struct client *client, struct world *world, unsigned index)
{
    *client = (struct client){.world = world, .index = index};
    client->node = world->options.servers_count + index;
    generator_init(&client->generator, generator_draw(&world->generator));
    client->session = (struct session){.id = index + 1, .role = ROLE_ADMIN};
    snprintf(client->session.identity, sizeof client->session.identity, "client-%u", index);
    client->server = index % world->options.servers_count;
}

void client_free(struct client *client)
{
    free((void *)(uintptr_t)client->call.body.data);
}

/* ---- Timers ---- */

struct timer {
    struct event event; /* first */
    struct client *client;
    uint64_t number; /* of the attempt; 0: `then` */
    void (*then)(struct client *client);
};

static void drop_event(struct event *event)
{
    free(event);
}

static void start_timer(struct client *client, uint64_t delay_ns, uint64_t number,
                        void (*then)(struct client *client), void (*fire)(struct event *event))
{
    struct timer *timer = calloc(1, sizeof *timer);
    ASSERT(timer != NULL);
    timer->event.fire = fire;
    timer->event.drop = drop_event;
    timer->client = client;
    timer->number = number;
    timer->then = then;
    schedule_add(&client->world->schedule, &timer->event, client->world->now_ns + delay_ns);
}

static void fire_later(struct event *event)
{
    struct timer *timer = (struct timer *)event;
    struct client *client = timer->client;
    void (*then)(struct client * client) = timer->then;
    free(timer);
    then(client);
}

void client_later(struct client *client, uint64_t delay_ns, void (*then)(struct client *client))
{
    start_timer(client, delay_ns, 0, then, fire_later);
}

/* ---- Attempts ---- */

static void free_request(struct sim_request *request)
{
    arena_free(&request->request.arena);
    free(request);
}

static void drop_request(struct event *event)
{
    free_request((struct sim_request *)event);
}

static void end_call(struct client *client, enum status status, const ProtobufCMessage *message)
{
    struct client_call *call = &client->call;
    client_done_fn *done = call->done;
    call->active = false;
    call->number++;
    done(client, status, message);
}

static void attempt(struct client *client);
static void fire_attempt(struct event *event);

/* Of two regions: it asks the other one from now on. */
static void move(struct client *client)
{
    client->world = &client->world->pair->worlds[1 - client->world->side];
}

static void try_again(struct client *client, uint64_t delay_ms)
{
    struct client_call *call = &client->call;
    if (client->world->now_ns >= call->deadline_ns) {
        end_call(client, STATUS_OUTCOME_UNKNOWN, NULL);
        return;
    }
    call->number++; /* what comes for the last attempt is late */
    client->retries_count++;
    start_timer(client, delay_ms * NS_PER_MS, call->number, NULL, fire_attempt);
}

static uint64_t back_off_ms(struct client *client)
{
    return generator_between(&client->generator, back_off_min_ms, back_off_max_ms);
}

/* No reply that says how it ended: it is tried at another server, unless it makes no sense there.
 */
static void attempt_failed(struct client *client, bool is_doubtful)
{
    struct client_call *call = &client->call;
    call->doubtful = call->doubtful || is_doubtful;
    if (client->world->pair != NULL && !call->sticky && !client->stays &&
        generator_chance(&client->generator, 1, 4))
        move(client);
    client->server =
        (unsigned)generator_below(&client->generator, client->world->options.servers_count);
    if (call->sticky)
        end_call(client, STATUS_DISCONNECTED, NULL);
    else
        try_again(client, back_off_ms(client));
}

static void fire_attempt(struct event *event)
{
    struct timer *timer = (struct timer *)event;
    struct client *client = timer->client;
    if (client->call.active && client->call.number == timer->number)
        attempt(client);
    free(timer);
}

void client_hurry(struct client *client)
{
    if (!client->call.active)
        return;
    client->call.doubtful = true;
    client->call.number++;
    attempt(client);
}

static void fire_timeout(struct event *event)
{
    struct timer *timer = (struct timer *)event;
    struct client *client = timer->client;
    if (client->call.active && client->call.number == timer->number)
        attempt_failed(client, true);
    free(timer);
}

static void arrive(struct event *event)
{
    struct sim_request *request = (struct sim_request *)event;
    struct sim_server *server = &request->world->servers[request->server];
    if (server->state == SIM_SERVER_UP && !server->is_closing)
        server_receive(server, event);
    else
        client_disconnect(request);
}

static void attempt(struct client *client)
{
    struct client_call *call = &client->call;
    struct world *world = client->world;
    uint64_t due_ns;

    ASSERT(call->active);
    call->attempts++;
    start_timer(client,
                NS_PER_MS * generator_between(&client->generator, attempt_min_ms, attempt_max_ms),
                call->number, NULL, fire_timeout);
    if (!network_pass(&world->network, client->node, client->server, world->now_ns, &due_ns))
        return;
    struct sim_request *request = calloc(1, sizeof *request);
    ASSERT(request != NULL);
    request->event.fire = arrive;
    request->event.drop = drop_request;
    request->world = world;
    request->client = client;
    request->server = client->server;
    request->call = call->number;
    request->request.type = call->type;
    request->request.number = call->number;
    request->request.session = &client->session;
    list_init(&request->request.link);
    message_arena_init(&request->request.arena, call->body.size);
    bool copied = arena_copy(&request->request.arena, call->body, &request->request.body);
    ASSERT(copied);
    schedule_add(&world->schedule, &request->event, due_ns);
}

void client_ask(struct client *client, enum frame_type type, const ProtobufCMessage *message,
                bool sticky, client_done_fn *done)
{
    struct client_call *call = &client->call;
    size_t size = protobuf_c_message_get_packed_size(message);

    ASSERT(!call->active);
    uint8_t *body = realloc((void *)(uintptr_t)call->body.data, size + 1);
    ASSERT(body != NULL);
    protobuf_c_message_pack(message, body);
    call->body = bytes_of(body, size);
    call->active = true;
    call->sticky = sticky;
    call->doubtful = false;
    call->type = type;
    call->number++;
    call->attempts = 0;
    call->deadline_ns = client->world->now_ns + deadline_ms * NS_PER_MS;
    call->done = done;
    client->calls_count++;
    attempt(client);
}

/* ---- At the server ---- */

bool client_is_request(const struct event *event)
{
    return event->fire == arrive;
}

void client_hand_over(struct event *event, struct sim_server *server)
{
    struct sim_request *request = (struct sim_request *)event;
    struct request *inner = &request->request;

    if (server->is_closing) {
        client_disconnect(request);
        return;
    }
    inner->received_ns = io_boot_ns(server->io);
    inner->replies = &server->replies;
    enum status status = message_decode(client_request_descriptor(inner->type), inner->body, true,
                                        &inner->arena, &inner->message);
    ASSERT(status == STATUS_OK);
    core_take(server->core, inner);
}

/* ---- Back at the client ---- */

static void understand(struct client *client, const Strait__Position *position)
{
    if (position == NULL)
        return;
    client->position = (struct client_position){
        .epoch = {.number = position->epoch_number, .region = position->epoch_region},
        .version = position->version};
    if (position->log_time_ns > client->log_time_ns)
        client->log_time_ns = position->log_time_ns;
}

/* The position that a reply carries, by its type; NULL where it has none. */
static const Strait__Position *position_of(enum frame_type type, const ProtobufCMessage *message)
{
    switch (type) {
    case FRAME_COMMIT:
        return ((const Strait__CommitReply *)(const void *)message)->position;
    case FRAME_GET:
        return ((const Strait__GetReply *)(const void *)message)->position;
    case FRAME_SCAN:
        return ((const Strait__ScanReply *)(const void *)message)->position;
    case FRAME_PING:
        return ((const Strait__PingReply *)(const void *)message)->position;
    case FRAME_SNAPSHOT_OPEN:
        return ((const Strait__SnapshotOpenReply *)(const void *)message)->position;
    default:
        return NULL;
    }
}

static void refused(struct client *client, enum status status, const Strait__Refusal *refusal)
{
    struct client_call *call = &client->call;
    unsigned leader = world_leader_hint(client->world, refusal);
    if (client->world->pair != NULL)
        client->position = chronicle_position(&client->world->pair->chronicle,
                                              &client->world->servers[client->server]);
    if (status != STATUS_NOT_PRIMARY) /* whose position is another region's */
        understand(client, refusal->position);
    if (status != STATUS_NOT_LEADER) /* there are many while there is none */
        world_note(client->world, &client->world->servers[client->server], "to client %u: %s: %s",
                   client->index, status_name(status), refusal->text);
    /* The log's time was another region's, which was given up, and ran ahead. */
    if (status == STATUS_TXN_EXPIRED && client->world->pair != NULL && refusal->position != NULL)
        client->log_time_ns = refusal->position->log_time_ns;
    switch (status) {
    case STATUS_NOT_LEADER:
        /* It may have been logged before the leader lost its office. */
        if (call->sticky || leader == client->world->options.servers_count) {
            attempt_failed(client, true);
            return;
        }
        call->doubtful = true;
        client->server = leader;
        try_again(client, 1);
        return;
    case STATUS_NOT_PRIMARY:
        if (client->world->pair == NULL || call->sticky || client->stays) {
            end_call(client, call->sticky ? STATUS_DISCONNECTED : status, &refusal->base);
            return;
        }
        call->doubtful = true; /* it may have been logged before */
        move(client);
        try_again(client, refusal->retry_after_ms + back_off_ms(client));
        return;
    case STATUS_BUSY:
    case STATUS_DISK_FULL:
        try_again(client, refusal->retry_after_ms + back_off_ms(client));
        return;
    case STATUS_SHUTTING_DOWN:
    case STATUS_OUTCOME_UNKNOWN:
    case STATUS_IO_ERROR:
    case STATUS_DISCONNECTED:
    case STATUS_DEADLINE_EXCEEDED:
        attempt_failed(client, true);
        return;
    default:
        end_call(client, status, &refusal->base);
    }
}

static void fire_reply(struct event *event)
{
    struct sim_request *request = (struct sim_request *)event;
    struct client *client = request->client;
    struct request *inner = &request->request;
    ProtobufCMessage *message;

    if (client->call.active && client->call.number == request->call) {
        const ProtobufCMessageDescriptor *descriptor = inner->status == STATUS_OK
                                                           ? client_reply_descriptor(inner->type)
                                                           : &strait__refusal__descriptor;
        struct bytes body =
            bytes_of(inner->reply.data + frame_header_size, inner->reply.size - frame_header_size);
        enum status status = message_decode(descriptor, body, false, &inner->arena, &message);
        ASSERT(status == STATUS_OK);
        if (inner->status == STATUS_OK) {
            understand(client, position_of(inner->type, message));
            if (request->world->pair != NULL && inner->type == FRAME_COMMIT)
                chronicle_acknowledged(&request->world->pair->chronicle, request->world, client);
            end_call(client, STATUS_OK, message);
        } else {
            refused(client, inner->status, (const Strait__Refusal *)(void *)message);
        }
    }
    free_request(request);
}

static void fire_disconnect(struct event *event)
{
    struct sim_request *request = (struct sim_request *)event;
    struct client *client = request->client;
    if (client->call.active && client->call.number == request->call) {
        client->disconnects_count++;
        attempt_failed(client, true);
    }
    free_request(request);
}

static void send_back(struct sim_request *request, uint64_t now_ns,
                      void (*fire)(struct event *event))
{
    struct world *world = request->world;
    struct client *client = request->client;
    uint64_t due_ns;

    if (!network_pass(&world->network, request->server, client->node, now_ns, &due_ns)) {
        free_request(request);
        return;
    }
    request->event.fire = fire;
    schedule_add(&world->schedule, &request->event, due_ns);
}

/* Commits, and reads that are to show all that was acknowledged. */
static bool is_of_the_primary(const struct request *request)
{
    if (request->type == FRAME_GET)
        return REQUEST_MESSAGE(request, Get)->snapshot_id == 0 &&
               REQUEST_MESSAGE(request, Get)->consistency == NULL;
    if (request->type == FRAME_SCAN)
        return REQUEST_MESSAGE(request, Scan)->snapshot_id == 0 &&
               REQUEST_MESSAGE(request, Scan)->consistency == NULL;
    return request->type == FRAME_COMMIT;
}

void client_send_reply(struct sim_request *request, uint64_t now_ns)
{
    struct pair *pair = request->world->pair;
    if (pair != NULL && request->request.status == STATUS_OK &&
        is_of_the_primary(&request->request)) {
        struct sim_server *server = &request->world->servers[request->server];
        chronicle_acknowledges(&pair->chronicle, server);
        lease_watch_acknowledges(pair, server, &request->request);
    }
    send_back(request, now_ns, fire_reply);
}

void client_disconnect(struct sim_request *request)
{
    send_back(request, request->world->now_ns, fire_disconnect);
}
