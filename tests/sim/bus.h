/* SPDX-License-Identifier: Apache-2.0 */
/* The bus between members (replication/bus.h) over a simulated network.
 *
 * As server/net/peers.h does it, each server dials each member it knows of and sends on the
 * connection that it dialled; whoever is heard without being a member can be answered for as long.
 * A connection breaks where its server stops, where the network has lost what was sent on it for
 * some time, or when a fault says so. Messages of one lane keep their order. A message is lost with
 * its connection, or by a lossy network; none comes twice. */
#ifndef TESTS_SIM_BUS_H
#define TESTS_SIM_BUS_H

#include "replication/bus.h"
#include "tests/sim/network.h"
#include "tests/sim/schedule.h"

enum { sim_servers_max = 6, sim_bus_lanes = 2 };

struct sim_buses;

/* The way from one server to another. */
struct sim_link {
    bool wanted;           /* the sender knows the other one by its membership */
    bool is_guest;         /* it does not, and has heard it on a connection that stands */
    bool up;               /* connected */
    bool dialling;         /* an attempt is under way */
    uint64_t life;         /* grows with each connection and break: what was sent before is void */
    uint64_t member;       /* whom the sender expects there, by id */
    uint64_t known;        /* who that is by its membership; 0: nobody */
    uint64_t cut_since_ns; /* when the first message was lost that no other has followed; 0: none */
    uint64_t lane_due_ns[sim_bus_lanes];
    size_t queued_size; /* sent and not arrived */
    bool was_full;
};

struct sim_bus {
    struct bus bus; /* first */
    struct sim_buses *buses;
    unsigned index; /* of its server */
    bool is_attached;
    struct bus_user user;
    uint64_t self; /* 0: not known yet */
    struct membership membership;
    struct sim_link links[sim_servers_max]; /* to others, by their numbers */
    uint64_t removed[limit_members_count];  /* ids that the membership had once; the oldest go */
    unsigned removed_count;
};

/* All of a world. Where `now_ns` differs between servers, that of the sender counts. */
struct sim_buses {
    struct network *network;
    struct schedule *schedule;
    unsigned count;
    struct sim_bus *buses[sim_servers_max];
    bool is_running[sim_servers_max];
    uint64_t (*now_ns)(void *context, unsigned server);
    bool (*is_off)(void *context, unsigned server); /* its power is gone: what it sends is not */
    /* Something waits for this server: it is to be turned, and handed what it takes then. */
    void (*arrived)(void *context, unsigned server, struct event *event);
    /* A message leaves this server; it may be lost yet. Long ones are not told. */
    void (*said)(void *context, unsigned server, struct bytes message);
    void *context;
    uint64_t connects_count;
    uint64_t breaks_count;
    uint64_t messages_count;
};

/* When a server starts and stops. A stop breaks its connections: at once for the others where
 * `said`, else they notice when they are not answered. */
void sim_bus_start(struct sim_buses *buses, struct sim_bus *bus, unsigned index);
void sim_bus_stop(struct sim_buses *buses, unsigned index, bool said);

/* Breaks the connection from one to another, if there is one. */
void sim_bus_break(struct sim_buses *buses, unsigned from, unsigned to);

/* Hands the server what `arrived` was called with; by its turn, in that order. Frees it. */
void sim_bus_deliver(struct sim_bus *bus, struct event *event);

/* The server with this member's id, or `count`. */
unsigned sim_bus_find(const struct sim_buses *buses, uint64_t member);

#endif
