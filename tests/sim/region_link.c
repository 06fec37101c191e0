/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/region_link.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/message.h"
#include "server/core.h"
#include "tests/sim/pair.h"

#define NS_PER_MS UINT64_C(1000000)

enum {
    back_off_min_ms = 50,
    back_off_max_ms = 2000,
    connect_ms = 3000,
    silent_min_ms = 5000,
    silent_max_ms = 6500,
};

static const char site_letters[wan_sites_count] = {'a', 'b', 'w'};

/* ---- What is on its way ---- */

/* A request, and then its reply. */
struct letter {
    struct event event; /* first */
    struct sim_region_link *link;
    uint64_t life; /* of the link's connection */
    struct request request;
};

enum note_what { DIAL, CONNECTED, FAILED, BROKEN, BREAK, TIMEOUT };

/* Something that a link waits for. */
struct note {
    struct event event; /* first */
    struct sim_region_link *link;
    uint64_t life;
    enum note_what what;
    uint64_t number; /* TIMEOUT: of the flight */
};

static struct pair *pair_of(const struct sim_region_link *link)
{
    return link->server->world->pair;
}

static uint64_t now_of(const struct sim_region_link *link)
{
    uint64_t now_ns = sim_disk_now_ns(link->server->disk);
    return now_ns > link->server->world->now_ns ? now_ns : link->server->world->now_ns;
}

static struct sim_server *peer_of(const struct sim_region_link *link)
{
    return &pair_of(link)->worlds[link->site].servers[link->peer];
}

static struct sim_region_links *links_of(const struct sim_server *server)
{
    return &server->world->pair->links[server->world->side][server->index];
}

static void drop_note(struct event *event)
{
    free(event);
}

static void fire_note(struct event *event);

static void note_later(struct sim_region_link *link, enum note_what what, uint64_t delay_ns,
                       uint64_t number)
{
    struct note *note = calloc(1, sizeof *note);
    ASSERT(note != NULL);
    *note = (struct note){.event = {.fire = fire_note, .drop = drop_note},
                          .link = link,
                          .life = link->life,
                          .what = what,
                          .number = number};
    schedule_add(&link->server->world->schedule, &note->event, now_of(link) + delay_ns);
}

/* ---- Connections ---- */

static void dial_later(struct sim_region_link *link, uint64_t delay_ms)
{
    link->state = REGION_LINK_DIALLING;
    link->life++;
    note_later(link, DIAL, delay_ms * NS_PER_MS, 0);
}

static void dial_after_failure(struct sim_region_link *link)
{
    link->at++;
    link->back_off_ms = link->back_off_ms == 0 ? back_off_min_ms : link->back_off_ms * 2;
    if (link->back_off_ms > back_off_max_ms)
        link->back_off_ms = back_off_max_ms;
    dial_later(link, generator_between(&pair_of(link)->wan.generator, link->back_off_ms / 2,
                                       link->back_off_ms));
}

static void dial(struct sim_region_link *link)
{
    struct wan *wan = &pair_of(link)->wan;
    link->at %= link->endpoints_count;
    link->peer = link->endpoints[link->at];
    if (!wan_is_whole(wan, link->server->world->side, link->site))
        note_later(link, FAILED, connect_ms * NS_PER_MS, 0);
    else
        note_later(link, CONNECTED, wan_handshake_ns(wan, link->server->world->side, link->site),
                   0);
}

/* Its user is told in a turn of the server's. */
static void break_off(struct sim_region_link *link)
{
    if (link->state != REGION_LINK_OPEN)
        return;
    pair_of(link)->wan.breaks_count++;
    link->state = REGION_LINK_BROKEN;
    link->life++;
    note_later(link, BROKEN, 0, 0);
}

/* Of which life the peer is that answers; 0: none does. */
static uint64_t answering_life(const struct sim_region_link *link)
{
    if (link->site == wan_witness) {
        const struct sim_witness *witness = &pair_of(link)->witness;
        return witness->state == SIM_SERVER_UP ? witness->lives : 0;
    }
    const struct sim_server *server = peer_of(link);
    return server->state == SIM_SERVER_UP && !server->is_closing ? server->lives : 0;
}

static void connect(struct sim_region_link *link)
{
    const struct wan *wan = &pair_of(link)->wan;
    uint64_t peer_life = answering_life(link);

    if (!wan_is_whole(wan, link->server->world->side, link->site) || peer_life == 0) {
        dial_after_failure(link);
        return;
    }
    char endpoint[16];
    link->state = REGION_LINK_OPEN;
    link->life++;
    link->peer_life = peer_life;
    link->due_ns[0] = link->due_ns[1] = 0;
    link->silent = false;
    snprintf(endpoint, sizeof endpoint, "%c%u:7100", site_letters[link->site], link->peer);
    link->user.connected(link->user.context, endpoint);
}

static void tell_broken(struct sim_region_link *link)
{
    struct region_flight flights[limit_link_requests_count];
    memcpy(flights, link->flights, sizeof flights);
    memset(link->flights, 0, sizeof link->flights);
    link->state = REGION_LINK_RESTING;
    for (unsigned i = 0; i < limit_link_requests_count; i++)
        if (flights[i].number != 0 && !flights[i].is_late && link->user.replied != NULL)
            link->user.replied(link->user.context, flights[i].context, STATUS_DISCONNECTED, NULL);
    if (link->user.disconnected != NULL)
        link->user.disconnected(link->user.context, "The connection broke.");
    if (link->state == REGION_LINK_RESTING && link->endpoints_count != 0)
        dial_after_failure(link);
}

static struct region_flight *flight_of(struct sim_region_link *link, uint64_t number)
{
    struct region_flight *flight = &link->flights[number % limit_link_requests_count];
    return flight->number == number ? flight : NULL;
}

static void time_out(struct sim_region_link *link, uint64_t number)
{
    struct region_flight *flight = flight_of(link, number);
    unsigned late_count = 0;
    if (flight == NULL || flight->is_late)
        return;
    flight->is_late = true;
    for (unsigned i = 0; i < limit_link_requests_count; i++)
        late_count += link->flights[i].number != 0 && link->flights[i].is_late;
    link->user.replied(link->user.context, flight->context, STATUS_DEADLINE_EXCEEDED, NULL);
    if (late_count >= limit_link_requests_count / 2)
        break_off(link);
}

static void fire_note(struct event *event)
{
    struct note *note = (struct note *)event;
    struct sim_region_link *link = note->link;

    if (note->life != link->life || link->server->state != SIM_SERVER_UP) {
        free(note);
        return;
    }
    switch (note->what) {
    case DIAL:
        dial(link);
        break;
    case FAILED:
        dial_after_failure(link);
        break;
    case BREAK:
        break_off(link);
        break;
    case CONNECTED:
    case BROKEN:
    case TIMEOUT:
        server_receive(link->server, event);
        return;
    }
    free(note);
}

/* In a turn of the server's. */
static void deliver_note(struct note *note)
{
    struct sim_region_link *link = note->link;
    if (note->life == link->life) {
        if (note->what == CONNECTED)
            connect(link);
        else if (note->what == BROKEN)
            tell_broken(link);
        else
            time_out(link, note->number);
    }
    free(note);
}

/* ---- Requests and replies ---- */

static void drop_letter(struct event *event)
{
    struct letter *letter = (struct letter *)event;
    arena_free(&letter->request.arena);
    free(letter);
}

/* It is lost, and the connection with it. */
static void lose(struct sim_region_link *link)
{
    if (link->silent)
        return;
    link->silent = true;
    note_later(link, BREAK,
               NS_PER_MS *
                   generator_between(&pair_of(link)->wan.generator, silent_min_ms, silent_max_ms),
               0);
}

/* False: it does not arrive. */
static bool pass(struct sim_region_link *link, bool is_back, size_t size, uint64_t now_ns,
                 uint64_t *due_ns)
{
    struct pair *pair = pair_of(link);
    unsigned from = is_back ? link->site : link->server->world->side;
    unsigned to = is_back ? link->server->world->side : link->site;
    if (!wan_pass(&pair->wan, from, to, size, now_ns, due_ns) || link->silent) {
        lose(link);
        return false;
    }
    if (*due_ns <= link->due_ns[is_back])
        *due_ns = link->due_ns[is_back] + 1;
    link->due_ns[is_back] = *due_ns;
    return true;
}

static void arrive(struct event *event)
{
    struct letter *letter = (struct letter *)event;
    struct sim_region_link *link = letter->link;

    if (letter->life != link->life) {
        drop_letter(event);
    } else if (answering_life(link) != link->peer_life) {
        drop_letter(event);
        break_off(link);
    } else if (link->site == wan_witness) {
        sim_witness_receive(&pair_of(link)->witness, event);
    } else {
        server_receive(peer_of(link), event);
    }
}

struct request *region_link_request(struct event *event)
{
    struct request *request = &((struct letter *)event)->request;
    enum status status = message_decode(client_request_descriptor(request->type), request->body,
                                        true, &request->arena, &request->message);
    ASSERT(status == STATUS_OK);
    return request;
}

static void hand_over(struct sim_server *server, struct letter *letter)
{
    struct request *request = region_link_request(&letter->event);
    struct sim_region_links *links = links_of(server);
    request->session = &links->peer;
    request->replies = &links->replies;
    request->received_ns = io_boot_ns(server->io);
    core_take(server->core, request);
}

static void fire_reply(struct event *event)
{
    struct letter *letter = (struct letter *)event;
    if (letter->life == letter->link->life && letter->link->server->state == SIM_SERVER_UP)
        server_receive(letter->link->server, event);
    else
        drop_letter(event);
}

void region_link_send_reply(struct request *request, uint64_t now_ns)
{
    struct letter *letter = LIST_ENTRY(request, struct letter, request);
    struct sim_region_link *link = letter->link;
    uint64_t due_ns;

    if (letter->life != link->life || !pass(link, true, request->reply.size, now_ns, &due_ns)) {
        drop_letter(&letter->event);
        return;
    }
    letter->event.fire = fire_reply;
    schedule_add(&link->server->world->schedule, &letter->event, due_ns);
}

void region_links_send_replies(struct sim_region_links *links, uint64_t now_ns)
{
    struct request *request;
    while ((request = mailbox_take(&links->replies)) != NULL)
        region_link_send_reply(request, now_ns);
}

/* To the leader that it names, or else to the next endpoint. */
static void redirect(struct sim_region_link *link, const char *leader)
{
    unsigned index = leader[0] == 's' ? (unsigned)(leader[1] - '0') : sim_servers_max;
    break_off(link);
    for (unsigned i = 0; i < link->endpoints_count; i++)
        if (link->endpoints[i] == index) /* what goes on after a break begins with the next */
            link->at = i + link->endpoints_count - 1;
}

static void deliver_reply(struct letter *letter)
{
    struct sim_region_link *link = letter->link;
    struct request *request = &letter->request;
    ProtobufCMessage *message;
    struct region_flight *flight =
        letter->life == link->life ? flight_of(link, request->number) : NULL;

    if (flight != NULL) {
        const struct region_flight known = *flight;
        const ProtobufCMessageDescriptor *descriptor = request->status == STATUS_OK
                                                           ? client_reply_descriptor(request->type)
                                                           : &strait__refusal__descriptor;
        struct bytes body = bytes_of(request->reply.data + frame_header_size,
                                     request->reply.size - frame_header_size);
        enum status status = message_decode(descriptor, body, false, &request->arena, &message);
        ASSERT(status == STATUS_OK);
        *flight = (struct region_flight){0};
        if (request->status == STATUS_OK) {
            link->back_off_ms = 0;
        }
        if (!known.is_late)
            link->user.replied(link->user.context, known.context, request->status, message);
        if (request->status == STATUS_NOT_LEADER && letter->life == link->life)
            redirect(link, ((const Strait__Refusal *)(void *)message)->leader);
    }
    drop_letter(&letter->event);
}

bool region_link_is_event(const struct event *event)
{
    return event->fire == fire_note || event->fire == arrive || event->fire == fire_reply;
}

void region_link_deliver(struct sim_server *server, struct event *event)
{
    if (event->fire == fire_note)
        deliver_note((struct note *)event);
    else if (event->fire == arrive)
        hand_over(server, (struct letter *)event);
    else
        deliver_reply((struct letter *)event);
}

/* ---- The table of link.h ---- */

static struct sim_region_link *sim_of(struct link *link)
{
    return (struct sim_region_link *)(void *)link;
}

static void on_attach(struct link *base, const struct link_user *user)
{
    sim_of(base)->user = user == NULL ? (struct link_user){0} : *user;
}

static void on_endpoints(struct link *base, const char *const *endpoints, size_t count)
{
    struct sim_region_link *link = sim_of(base);
    bool keeps = false;

    link->endpoints_count = 0;
    for (size_t i = 0; i < count && i < limit_link_endpoints_count; i++) {
        ASSERT(endpoints[i][0] == site_letters[link->site]);
        unsigned index = (unsigned)(endpoints[i][1] - '0');
        keeps = keeps || index == link->peer;
        link->endpoints[link->endpoints_count++] = index;
    }
    if (link->state == REGION_LINK_OPEN && !keeps)
        break_off(link);
    if (link->state == REGION_LINK_DIALLING && count == 0) {
        link->life++;
        link->state = REGION_LINK_RESTING;
    }
    if (link->state == REGION_LINK_RESTING && count != 0)
        dial_later(link, 0);
}

static struct letter *letter_create(struct sim_region_link *link, enum frame_type type,
                                    const ProtobufCMessage *message, size_t size)
{
    struct letter *letter = calloc(1, sizeof *letter);
    uint8_t *bytes = malloc(size + 1);
    ASSERT(letter != NULL && bytes != NULL);
    protobuf_c_message_pack(message, bytes);
    letter->event.fire = arrive;
    letter->event.drop = drop_letter;
    letter->link = link;
    letter->life = link->life;
    letter->request.type = type;
    list_init(&letter->request.link);
    message_arena_init(&letter->request.arena, size);
    bool copied = arena_copy(&letter->request.arena, bytes_of(bytes, size), &letter->request.body);
    ASSERT(copied);
    free(bytes);
    return letter;
}

static enum status on_send(struct link *base, enum frame_type type, const ProtobufCMessage *message,
                           uint32_t timeout_ms, void *context)
{
    struct sim_region_link *link = sim_of(base);
    unsigned free_count = 0;
    uint64_t due_ns;

    if (type == FRAME_REGION_PULL && link->state == REGION_LINK_OPEN)
        lease_watch_pulls(pair_of(link), link->server->world->side, (const void *)message,
                          now_of(link));
    if (link->state != REGION_LINK_OPEN)
        return STATUS_UNREACHABLE;
    for (unsigned i = 0; i < limit_link_requests_count; i++)
        free_count += link->flights[i].number == 0;
    if (free_count == 0)
        return STATUS_BUSY;
    do
        link->numbers_count++;
    while (link->flights[link->numbers_count % limit_link_requests_count].number != 0);
    uint64_t number = link->numbers_count;
    link->flights[number % limit_link_requests_count] =
        (struct region_flight){.number = number, .context = context};
    if (timeout_ms != 0)
        note_later(link, TIMEOUT, timeout_ms * NS_PER_MS, number);
    size_t size = protobuf_c_message_get_packed_size(message);
    if (!pass(link, false, size, now_of(link), &due_ns))
        return STATUS_OK;
    struct letter *letter = letter_create(link, type, message, size);
    letter->request.number = number;
    schedule_add(&pair_of(link)->worlds[1 - link->server->world->side].schedule, &letter->event,
                 due_ns);
    return STATUS_OK;
}

static void on_leave(struct link *base, const char *reason)
{
    (void)reason;
    break_off(sim_of(base));
}

static const char *on_trouble(const struct link *base)
{
    return ((const struct sim_region_link *)base)->state == REGION_LINK_OPEN ? "" : "it is cut";
}

static const struct link_operations operations = {on_attach, on_endpoints, on_send, on_leave,
                                                  on_trouble};

/* ---- Of a server ---- */

void region_links_init(struct sim_region_links *links, struct sim_server *server, unsigned side)
{
    *links = (struct sim_region_links){0};
    links->pull = (struct sim_region_link){
        .link.operations = &operations, .server = server, .site = 1 - side};
    links->herald = links->witness = links->pull;
    links->witness.site = wan_witness;
    links->peer = (struct session){.id = 100, .role = ROLE_PEER};
    snprintf(links->peer.identity, sizeof links->peer.identity, "other-region");
    enum status status = mailbox_open(&links->replies, false, limit_requests_count);
    ASSERT(status == STATUS_OK);
}

void region_link_drop_replies(struct mailbox *replies)
{
    struct request *request;
    while ((request = mailbox_take(replies)) != NULL)
        drop_letter(&LIST_ENTRY(request, struct letter, request)->event);
}

void region_links_free(struct sim_region_links *links)
{
    region_link_drop_replies(&links->replies);
    mailbox_close(&links->replies);
}

void region_links_options(struct sim_region_links *links, struct core_options *options)
{
    const struct pair *pair = pair_of(&links->pull);
    options->link = &links->pull.link;
    options->herald_link = &links->herald.link;
    if (pair->has_witness)
        options->witness_link = &links->witness.link;
}

static void begin_life(struct sim_region_link *link)
{
    link->user = (struct link_user){0};
    link->endpoints_count = 0;
    link->state = REGION_LINK_RESTING;
    link->life++;
    link->back_off_ms = 0;
    memset(link->flights, 0, sizeof link->flights);
}

void region_links_start(struct sim_region_links *links)
{
    begin_life(&links->pull);
    begin_life(&links->herald);
    begin_life(&links->witness);
}

/* The other side is told by the system that closes the connection, or notices after a while. */
static void lose_peer(struct sim_region_link *link, unsigned peer, bool is_said)
{
    struct wan *wan = &pair_of(link)->wan;
    uint64_t delay_ms = generator_between(&wan->generator, silent_min_ms, silent_max_ms);
    if (link->state == REGION_LINK_OPEN && link->peer == peer)
        note_later(link, BREAK, is_said ? 60 * NS_PER_MS : delay_ms * NS_PER_MS, 0);
}

void region_links_stop(struct sim_region_links *links, bool is_said)
{
    const struct sim_server *server = links->pull.server;
    struct pair *pair = server->world->pair;
    unsigned other = 1 - server->world->side;
    for (unsigned i = 0; i < pair->worlds[other].options.servers_count; i++) {
        lose_peer(&pair->links[other][i].pull, server->index, is_said);
        lose_peer(&pair->links[other][i].herald, server->index, is_said);
    }
    region_link_drop_replies(&links->replies);
    region_links_start(links);
}

void region_links_witness_stopped(struct pair *pair, bool is_said)
{
    for (unsigned side = 0; side < 2; side++)
        for (unsigned i = 0; i < pair->worlds[side].options.servers_count; i++)
            lose_peer(&pair->links[side][i].witness, 0, is_said);
}

void region_links_break(struct sim_region_links *links, unsigned site)
{
    if (site == wan_witness) {
        break_off(&links->witness);
    } else {
        break_off(&links->pull);
        break_off(&links->herald);
    }
}
