/* SPDX-License-Identifier: Apache-2.0 */
/* A server of a simulated world: the real core over a simulated disk and bus.
 *
 * Its disk's time is its own: a turn that blocks (a start, a flush of a memtable) leaves it ahead
 * of the world, as a server that was busy. It is turned by the world, when something is due. */
#ifndef TESTS_SIM_SERVER_H
#define TESTS_SIM_SERVER_H

#include "server/core.h"
#include "tests/sim/bus.h"
#include "tests/sim/disk.h"
#include "tests/sim/nemesis.h"

struct client;
struct world;

/* The highest cluster versions of today's program, and of tomorrow's, which is today's with the
 * changes that STRAIT_NEXT compiles in. */
enum { sim_version_today = 1, sim_version_next = 2 };

enum sim_server_state {
    SIM_SERVER_DOWN,
    SIM_SERVER_UP,
    SIM_SERVER_BROKEN, /* its store does not open any more: it waits to be replaced */
};

struct sim_server {
    struct world *world;
    unsigned index;
    enum sim_server_state state;
    bool is_opening;
    struct sim_disk *disk;
    struct io *io;
    struct keyring *keyring;
    struct core *core;
    struct mailbox replies;
    struct sim_bus bus;
    struct event **inbox; /* what has come and was not taken: requests and the bus's */
    size_t inbox_count;
    size_t inbox_capacity;
    bool more;       /* the core has more to do at once */
    bool failed;     /* the core cannot go on */
    bool is_made;    /* its store was made */
    bool is_closing; /* takes no request; closes when none is left, or it is time to */
    uint64_t closing_until_ns;
    uint32_t version_max; /* the highest cluster version of the program that is started next */
    uint64_t lives;       /* starts */
    uint64_t paused_until_ns;
    uint64_t restart_ns; /* while down; UINT64_MAX: not by itself */
    bool is_damaged;     /* a table of its was damaged on purpose: it may rebuild its state */
    bool has_decayed;    /* something on its disk, ever */
    bool may_fail;       /* a fault was put in this life, or the one before, that may end it */
    enum nemesis_fault armed_fault; /* NEMESIS_FAULTS_END: none */
    uint64_t armed_hits;
    struct error error; /* why it failed or is broken */
};

/* A request on its way to a server; the event is the inbox's, told apart by its `fire`. */
struct sim_request {
    struct event event; /* first */
    struct world *world;
    struct request request;
    struct client *client;
    unsigned server;
    uint64_t call; /* the client's number of it */
};

void server_init(struct sim_server *server, struct world *world, unsigned index, uint64_t seed);
void server_free(struct sim_server *server);

/* Starts it; on failure it is down or broken. */
void server_start(struct sim_server *server, bool bootstrap);

/* When it is to be turned; UINT64_MAX: not before something comes. */
uint64_t server_next_ns(const struct sim_server *server);

/* One turn, at the world's time. */
void server_turn(struct sim_server *server);

/* Power is lost, or the process is killed: the disk keeps what `mode` says. It starts again at
 * `restart_ns`. */
void server_crash(struct sim_server *server, enum sim_restart_mode mode, uint64_t restart_ns);

/* A graceful stop begins; it starts again soon after. */
void server_close(struct sim_server *server);

/* Its disk is lost, and it is down or goes down: it starts with an empty one, and waits. */
void server_wipe(struct sim_server *server);

/* Puts into the inbox. */
void server_receive(struct sim_server *server, struct event *event);

#endif
