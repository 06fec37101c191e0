/* SPDX-License-Identifier: Apache-2.0 */
/* A whole region and its clients in one thread, under one seed and one clock.
 *
 * Everything that happens is either an event of the schedule or a turn of a server; the earliest
 * goes first. Servers have times of their own (server.h), never behind the world's when they are
 * turned, so that nothing is received before it was sent.
 *
 * A run has phases: the store is made; clients work while faults happen (nemesis.h); all is healed,
 * and the region must commit again within ten election timeouts; the clients come to an end; one of
 * them reads everything; the replicas are compared, and the histories judged. */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "jepsen/check/verdict.h"
#include "tests/sim/client.h"
#include "tests/sim/invariants.h"
#include "tests/sim/nemesis.h"
#include "tests/sim/operator.h"
#include "tests/sim/server.h"
#include "tests/sim/workload.h"

struct pair;

enum { world_clients_max = 8, world_election_timeout_ms = 300 };

struct world_options {
    uint64_t seed;
    unsigned servers_count;
    uint64_t seconds; /* of the phase with faults */
    bool calm;        /* no faults */
    bool keep_log;    /* no memtable is written, so that no log releases what another may need */
    /* Further faults (nemesis.h), each in worlds of its own, so that a seed means the same without.
     */
    bool decay;   /* of disks */
    bool churn;   /* of members */
    bool aim;     /* several at once, at whom it hurts */
    bool upgrade; /* programs of two ages: servers start anew with the newer one */
    bool regions; /* two of them (pair.h) */
    bool verbose;
};

struct world {
    struct world_options options;
    struct pair *pair; /* of two regions, of which it is one (pair.h); NULL: it is alone */
    unsigned side;     /* which of the two */
    struct generator generator;
    uint64_t now_ns;
    struct schedule schedule;
    struct network network;
    struct sim_buses buses;
    struct sim_server servers[sim_servers_max];
    struct client clients[world_clients_max];
    struct sim_operator operator;
    struct workload workload;
    struct workload_client *workload_clients[world_clients_max];
    unsigned clients_count;
    struct nemesis nemesis;
    struct invariants invariants;
    uint64_t begun_ns;
    uint64_t turns_count;
    bool is_prepared;
    bool is_read;
    uint64_t committed_before; /* the healing */
    char failure[1024];        /* empty: none */
};

/* What a run came to. */
struct world_result {
    bool failed;
    char failure[1536];
    uint64_t commits_count;
    uint64_t transactions_count;
    uint64_t refused_count;
    uint64_t unknown_count;
    uint64_t elections_count;
    uint64_t starts_count;
    uint64_t retries_count;
    uint64_t turns_count;
    uint64_t messages_count;
    uint64_t snapshots_count;    /* installed */
    uint64_t scrubs_count;       /* of single replicas */
    uint64_t rebuilds_count;     /* of states that were damaged */
    uint64_t replacements_count; /* of members, ended */
    uint64_t raises_count;       /* 1 where the cluster version was raised */
    uint64_t simulated_ns;
    uint64_t faults[NEMESIS_FAULTS_END];
    uint64_t final_draw; /* of the world's generator: equal runs have equal ones */
    uint64_t digest;     /* of what clients saw and replicas hold */
};

/* One run. The process is its own: the source of random bytes is seeded with it. */
void world_run(const struct world_options *options, struct world_result *result);

/* ---- For a pair of them ---- */

/* Makes it, and starts its servers. */
void world_begin(struct world *world, const struct world_options *options, struct pair *pair,
                 unsigned side);
void world_tell(struct world *world, struct world_result *result); /* it has run */
void world_end(struct world *world);

/* What is due next, and when; and does it, at that time or the world's own. */
struct world_next {
    uint64_t due_ns;
    struct sim_server *server; /* is turned; NULL: an event comes before */
};
struct world_next world_next(struct world *world);
void world_step(struct world *world, const struct world_next *next);

bool world_all_are_up(struct world *world);
bool world_replicas_are_equal(struct world *world);
bool world_clients_are_idle(struct world *world);
void world_note_servers(struct world *world);
void world_judge(struct world *world);

/* ---- For the parts of a world ---- */

/* The first failure counts. */
void world_fail(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A line of the trace, where it is verbose. `server` may be NULL. */
void world_note(struct world *world, const struct sim_server *server, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A server's process ended by itself, or its store does not open: only after a fault that may come
 * to that. */
void world_server_ended(struct world *world, struct sim_server *server);
void world_server_broke(struct world *world, struct sim_server *server);

/* After each turn. */
void world_check_server(struct world *world, struct sim_server *server);

/* The server that a refusal names as the leader, or their count. */
unsigned world_leader_hint(const struct world *world, const Strait__Refusal *refusal);

#endif
