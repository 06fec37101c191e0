/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/bus.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/peer.h"

#define NS_PER_MS UINT64_C(1000000)

enum {
    queue_size_max = 4 * 1024 * 1024,
    back_off_min_ms = 20,
    back_off_max_ms = 500,
    silent_min_ms = 500, /* until a connection whose messages are lost is taken for dead */
    silent_max_ms = 10000,
    bytes_per_us = 100, /* of the network, between two servers */
};

enum what { MESSAGE, TELL, DIAL, GIVE_UP };

struct delivery {
    struct event event; /* first */
    struct sim_buses *buses;
    enum what what;
    unsigned from; /* of the link */
    unsigned to;
    uint64_t life;
    uint64_t sender;         /* MESSAGE: its id */
    uint64_t since_ns;       /* GIVE_UP: the link's cut_since_ns */
    enum bus_event happened; /* TELL */
    size_t size;
    uint8_t bytes[];
};

static struct sim_link *link_of(const struct sim_buses *buses, unsigned from, unsigned to)
{
    return &buses->buses[from]->links[to];
}

static uint64_t now_of(const struct sim_buses *buses, unsigned server)
{
    return buses->now_ns(buses->context, server);
}

static void drop(struct event *event)
{
    free(event);
}

static void fire(struct event *event);

static struct delivery *delivery_create(struct sim_buses *buses, enum what what, unsigned from,
                                        unsigned to, size_t size)
{
    struct delivery *delivery = calloc(1, sizeof *delivery + size);
    ASSERT(delivery != NULL);
    delivery->event.fire = fire;
    delivery->event.drop = drop;
    delivery->buses = buses;
    delivery->what = what;
    delivery->from = from;
    delivery->to = to;
    delivery->life = link_of(buses, from, to)->life;
    delivery->size = size;
    return delivery;
}

static void tell(struct sim_buses *buses, unsigned from, unsigned to, enum bus_event happened,
                 uint64_t due_ns)
{
    struct delivery *delivery = delivery_create(buses, TELL, from, to, 0);
    delivery->happened = happened;
    delivery->sender = link_of(buses, from, to)->member;
    schedule_add(buses->schedule, &delivery->event, due_ns);
}

/* ---- Connections ---- */

static void dial(struct sim_buses *buses, unsigned from, unsigned to, uint64_t due_ns)
{
    struct sim_link *link = link_of(buses, from, to);
    if (link->dialling || link->up)
        return;
    link->dialling = true;
    schedule_add(buses->schedule, &delivery_create(buses, DIAL, from, to, 0)->event, due_ns);
}

static void dial_later(struct sim_buses *buses, unsigned from, unsigned to, uint64_t now_ns)
{
    dial(buses, from, to,
         now_ns + NS_PER_MS * generator_between(&buses->network->generator, back_off_min_ms,
                                                back_off_max_ms));
}

static bool is_removed(const struct sim_bus *bus, uint64_t member)
{
    for (unsigned i = 0; i < bus->removed_count; i++)
        if (bus->removed[i] == member)
            return true;
    return false;
}

/* The guest is gone: its place is again that of whom the membership names, if anybody. */
static void forget_guest(struct sim_buses *buses, unsigned from, unsigned to, uint64_t now_ns)
{
    struct sim_link *link = link_of(buses, from, to);
    link->is_guest = false;
    link->member = link->known;
    link->wanted = link->known != 0;
    if (link->wanted)
        dial_later(buses, from, to, now_ns);
}

static void connect(struct delivery *delivery)
{
    struct sim_buses *buses = delivery->buses;
    unsigned from = delivery->from;
    unsigned to = delivery->to;
    struct sim_link *link = link_of(buses, from, to);
    uint64_t now_ns = delivery->event.due_ns;
    uint64_t there_ns;
    uint64_t back_ns;

    link->dialling = false;
    if (!buses->is_running[from] || (!link->wanted && !link->is_guest) || link->up)
        return;
    const struct sim_bus *other = buses->buses[to];
    bool reached = network_pass(buses->network, from, to, now_ns, &there_ns) &&
                   network_pass(buses->network, to, from, there_ns, &back_ns);
    if (!reached || !buses->is_running[to] || other->self != link->member || link->member == 0 ||
        is_removed(other, buses->buses[from]->self)) {
        if (link->wanted)
            dial_later(buses, from, to, now_ns);
        else
            forget_guest(buses, from, to, now_ns);
        return;
    }
    link->up = true;
    link->life++;
    link->cut_since_ns = 0;
    link->queued_size = 0;
    link->was_full = false;
    memset(link->lane_due_ns, 0, sizeof link->lane_due_ns);
    buses->connects_count++;
    tell(buses, from, to, BUS_CONNECTED, back_ns);
}

static void cut_off(struct sim_buses *buses, unsigned from, unsigned to, uint64_t now_ns)
{
    struct sim_link *link = link_of(buses, from, to);
    if (!link->up)
        return;
    link->up = false;
    link->life++;
    buses->breaks_count++;
    if (!buses->is_running[from])
        return;
    tell(buses, from, to, BUS_DISCONNECTED, now_ns + 1);
    if (link->wanted)
        dial_later(buses, from, to, now_ns);
    else
        forget_guest(buses, from, to, now_ns); /* until it is heard again */
}

void sim_bus_break(struct sim_buses *buses, unsigned from, unsigned to)
{
    cut_off(buses, from, to, now_of(buses, from));
}

unsigned sim_bus_find(const struct sim_buses *buses, uint64_t member)
{
    unsigned index = 0;
    while (index < buses->count &&
           (buses->buses[index] == NULL || buses->buses[index]->self != member))
        index++;
    return index;
}

/* ---- Messages on their way ---- */

static void arrive(struct sim_buses *buses, struct delivery *delivery)
{
    struct sim_link *link = link_of(buses, delivery->from, delivery->to);
    if (delivery->life != link->life || !buses->is_running[delivery->to]) {
        free(delivery);
        return;
    }
    link->queued_size -= delivery->size;
    if (link->was_full && link->queued_size < queue_size_max / 2) {
        link->was_full = false;
        tell(buses, delivery->from, delivery->to, BUS_ROOM, delivery->event.due_ns);
    }
    buses->arrived(buses->context, delivery->to, &delivery->event);
}

static void fire(struct event *event)
{
    struct delivery *delivery = (struct delivery *)event;
    struct sim_buses *buses = delivery->buses;
    struct sim_link *link = link_of(buses, delivery->from, delivery->to);

    switch (delivery->what) {
    case MESSAGE:
        arrive(buses, delivery);
        return;
    case TELL:
        if (buses->is_running[delivery->from] && delivery->life == link->life) {
            buses->arrived(buses->context, delivery->from, event);
            return;
        }
        break;
    case DIAL:
        connect(delivery);
        break;
    case GIVE_UP:
        if (delivery->life == link->life && delivery->since_ns == link->cut_since_ns)
            cut_off(buses, delivery->from, delivery->to, event->due_ns);
        break;
    }
    free(delivery);
}

/* A sender that is not of the membership can be answered. */
static void hear_guest(struct sim_bus *bus, unsigned from, uint64_t sender)
{
    struct sim_link *link = &bus->links[from];
    if (link->wanted && link->member == sender)
        return;
    if (link->is_guest && link->member == sender)
        return;
    if (bus->buses->buses[from]->self != sender)
        return; /* of a store that is gone meanwhile */
    /* Under the name of a member it has that one's place: the membership here is old, as there the
     * member was replaced since, and no other store will answer to that name. */
    if (link->up)
        cut_off(bus->buses, bus->index, from, now_of(bus->buses, bus->index));
    link->wanted = false;
    link->is_guest = true;
    link->member = sender;
    dial(bus->buses, bus->index, from, now_of(bus->buses, bus->index));
}

void sim_bus_deliver(struct sim_bus *bus, struct event *event)
{
    struct delivery *delivery = (struct delivery *)event;
    if (!bus->is_attached) {
        free(delivery);
        return;
    }
    if (delivery->what == TELL) {
        bus->user.happened(bus->user.context, delivery->sender, delivery->happened);
    } else if (!is_removed(bus, delivery->sender)) {
        hear_guest(bus, delivery->from, delivery->sender);
        bus->buses->messages_count++;
        bus->user.received(bus->user.context, delivery->sender,
                           bytes_of(delivery->bytes, delivery->size));
    }
    free(delivery);
}

/* ---- The table of bus.h ---- */

static struct sim_bus *sim_of(struct bus *bus)
{
    return (struct sim_bus *)bus;
}

static void attach(struct bus *bus, const struct bus_user *user)
{
    struct sim_bus *sim = sim_of(bus);
    ASSERT(sim->is_attached == (user == NULL));
    sim->is_attached = user != NULL;
    sim->user = user != NULL ? *user : (struct bus_user){0};
}

/* Servers are named s0, s1, … */
static unsigned index_of_name(const struct sim_buses *buses, const char *name)
{
    unsigned index = (unsigned)(name[1] - '0');
    ASSERT(name[0] == 's' && name[2] == 0 && index < buses->count);
    return index;
}

static void note_removed(struct sim_bus *sim, const struct membership *membership)
{
    for (unsigned i = 0; i < sim->membership.count; i++) {
        uint64_t id = sim->membership.members[i].id;
        if (membership_find(membership, id) == NULL && !is_removed(sim, id))
            sim->removed[sim->removed_count++ % limit_members_count] = id;
    }
    if (sim->removed_count > limit_members_count)
        sim->removed_count = limit_members_count;
}

/* Who is a member again: its removal came to nothing. */
static void forget_removed(struct sim_bus *sim, const struct membership *membership)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < sim->removed_count; i++) {
        if (membership_find(membership, sim->removed[i]) == NULL)
            sim->removed[kept++] = sim->removed[i];
    }
    sim->removed_count = kept;
}

static void members(struct bus *bus, const struct membership *membership, uint64_t self)
{
    struct sim_bus *sim = sim_of(bus);
    struct sim_buses *buses = sim->buses;
    uint64_t now_ns = now_of(buses, sim->index);

    note_removed(sim, membership);
    forget_removed(sim, membership);
    sim->self = self;
    sim->membership = *membership;
    for (unsigned to = 0; to < buses->count; to++) {
        sim->links[to].wanted = false;
        sim->links[to].known = 0;
    }
    for (unsigned i = 0; i < membership->count; i++) {
        const struct member *member = &membership->members[i];
        unsigned to = index_of_name(buses, member->name);
        struct sim_link *link = &sim->links[to];
        if (member->id == self || to == sim->index)
            continue;
        link->known = member->id;
        /* An old membership does not end what a guest has in that one's place. */
        if (link->is_guest && link->member != member->id && buses->buses[to]->self == link->member)
            continue;
        if (link->up && link->member != member->id)
            cut_off(buses, sim->index, to, now_ns);
        link->wanted = true;
        link->is_guest = false;
        link->member = member->id;
    }
    for (unsigned to = 0; to < buses->count; to++) {
        struct sim_link *link = &sim->links[to];
        if (link->wanted)
            dial(buses, sim->index, to, now_ns);
        else if (!link->is_guest)
            cut_off(buses, sim->index, to, now_ns);
    }
}

static unsigned index_of_member(const struct sim_bus *sim, uint64_t member)
{
    unsigned index = 0;
    while (index < sim->buses->count && (sim->links[index].member != member || member == 0))
        index++;
    return index;
}

static void lose(struct sim_buses *buses, unsigned from, unsigned to, uint64_t now_ns)
{
    struct sim_link *link = link_of(buses, from, to);
    if (link->cut_since_ns != 0)
        return;
    link->cut_since_ns = now_ns;
    struct delivery *delivery = delivery_create(buses, GIVE_UP, from, to, 0);
    delivery->since_ns = now_ns;
    schedule_add(buses->schedule, &delivery->event,
                 now_ns + NS_PER_MS * generator_between(&buses->network->generator, silent_min_ms,
                                                        silent_max_ms));
}

static void say(struct sim_bus *sim, const struct bytes *pieces, size_t pieces_count, size_t size)
{
    uint8_t message[peer_raft_size];
    size_t at = 0;
    if (size > sizeof message)
        return;
    for (size_t i = 0; i < pieces_count; i++) {
        bytes_copy(message + at, pieces[i]);
        at += pieces[i].size;
    }
    sim->buses->said(sim->buses->context, sim->index, bytes_of(message, size));
}

static bool send(struct bus *bus, uint64_t to_member, enum bus_lane lane,
                 const struct bytes *pieces, size_t pieces_count)
{
    struct sim_bus *sim = sim_of(bus);
    struct sim_buses *buses = sim->buses;
    unsigned to = index_of_member(sim, to_member);
    size_t size = 0;
    uint64_t due_ns;

    if (to == buses->count || !sim->links[to].up)
        return false;
    struct sim_link *link = &sim->links[to];
    for (size_t i = 0; i < pieces_count; i++)
        size += pieces[i].size;
    ASSERT(size <=
           (lane == BUS_CONTROL ? (size_t)limit_peer_frame_size : (size_t)limit_peer_message_size));
    if (lane == BUS_BULK && link->queued_size + size > queue_size_max) {
        link->was_full = true;
        return false;
    }
    if (buses->is_off(buses->context, sim->index))
        return true;
    say(sim, pieces, pieces_count, size);
    uint64_t now_ns = now_of(buses, sim->index);
    if (!network_pass(buses->network, sim->index, to, now_ns, &due_ns)) {
        lose(buses, sim->index, to, now_ns);
        return true;
    }
    link->cut_since_ns = 0;
    due_ns += size * 1000 / bytes_per_us;
    if (due_ns <= link->lane_due_ns[lane])
        due_ns = link->lane_due_ns[lane] + 1;
    link->lane_due_ns[lane] = due_ns;
    link->queued_size += size;
    struct delivery *delivery = delivery_create(buses, MESSAGE, sim->index, to, size);
    delivery->sender = sim->self;
    size_t at = 0;
    for (size_t i = 0; i < pieces_count; i++) {
        bytes_copy(delivery->bytes + at, pieces[i]);
        at += pieces[i].size;
    }
    schedule_add(buses->schedule, &delivery->event, due_ns);
    return true;
}

static size_t room(struct bus *bus, uint64_t to_member)
{
    struct sim_bus *sim = sim_of(bus);
    unsigned to = index_of_member(sim, to_member);
    if (to == sim->buses->count || !sim->links[to].up)
        return 0;
    if (sim->links[to].queued_size >= queue_size_max) {
        sim->links[to].was_full = true;
        return 0;
    }
    return queue_size_max - sim->links[to].queued_size;
}

static void flush(struct bus *bus)
{
    (void)bus; /* what is sent is on its way at once */
}

static const struct bus_operations operations = {
    .attach = attach,
    .members = members,
    .send = send,
    .room = room,
    .flush = flush,
};

/* ---- Servers start and stop ---- */

void sim_bus_start(struct sim_buses *buses, struct sim_bus *bus, unsigned index)
{
    uint64_t now_ns = now_of(buses, index);
    /* Lives go on, so that what was sent before the stop stays void. */
    uint64_t lives[sim_servers_max];
    for (unsigned i = 0; i < sim_servers_max; i++)
        lives[i] = bus->links[i].life + 1;
    *bus = (struct sim_bus){.bus = {.operations = &operations}, .buses = buses, .index = index};
    for (unsigned i = 0; i < sim_servers_max; i++)
        bus->links[i].life = lives[i];
    buses->buses[index] = bus;
    buses->is_running[index] = true;
    for (unsigned from = 0; from < buses->count; from++)
        if (from != index && buses->buses[from] != NULL)
            cut_off(buses, from, index, now_ns);
}

void sim_bus_stop(struct sim_buses *buses, unsigned index, bool said)
{
    uint64_t now_ns = now_of(buses, index);
    buses->is_running[index] = false;
    for (unsigned other = 0; other < buses->count; other++) {
        if (other == index || buses->buses[other] == NULL)
            continue;
        struct sim_link *own = link_of(buses, index, other);
        own->up = own->dialling = false;
        own->life++;
        if (said)
            cut_off(buses, other, index, now_ns);
        else if (link_of(buses, other, index)->up)
            lose(buses, other, index, now_ns);
    }
}
