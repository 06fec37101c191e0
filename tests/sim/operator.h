/* SPDX-License-Identifier: Apache-2.0 */
/* Who administers a simulated region: makes it of its servers, hands leadership over, adds,
 * promotes, removes and replaces members. One thing at a time, through the core's own requests. */
#ifndef TESTS_SIM_OPERATOR_H
#define TESTS_SIM_OPERATOR_H

#include "tests/sim/client.h"

enum operator_step {
    OPERATOR_IDLE,
    OPERATOR_HAND_OVER, /* by a member that leads, before it is removed */
    OPERATOR_REMOVE,
    OPERATOR_WIPE,
    OPERATOR_ADD,
    OPERATOR_PROMOTE,
    OPERATOR_TRANSFER,
};

enum { operator_deeds_max = 16 };

struct operator_deed {
    enum operator_step step;
    unsigned server;
};

struct operator_plan {
    struct operator_deed deeds[operator_deeds_max]; /* one after the other */
    unsigned count;
    unsigned at;
    enum operator_step step; /* of the deed under way */
    uint64_t id;             /* of the store that is to be removed; 0: whoever has the name */
    void (*done)(struct world *world);
};

/* What a server is to the region, once the plan is done. */
enum operator_standing { OPERATOR_OUT, OPERATOR_LEARNER, OPERATOR_VOTER };

struct sim_operator {
    struct client client;
    struct operator_plan plan;
    enum operator_standing standings[sim_servers_max];
    bool restores; /* all servers become voters again */
    uint64_t transfers_count;
    uint64_t replacements_count;
};

/* It is the client of this number. */
void operator_init(struct sim_operator *operator, struct world * world, unsigned index);
void operator_free(struct sim_operator *operator);

bool operator_is_idle(const struct sim_operator *operator);

/* All servers but the first become voters, one after the other. */
void operator_build(struct sim_operator *operator, void (*done)(struct world *world));

/* It is idle. */
void operator_transfer(struct sim_operator *operator, unsigned server);

/* The server's disk is lost: it is removed, comes back with an empty one, and is added again. */
void operator_replace(struct sim_operator *operator, unsigned server);

/* It is idle. The server is as the name says before: a member is removed and its disk emptied; who
 * is out becomes a learner; a learner gets its vote; who is out takes a voter's place, which leaves
 * when it has. */
void operator_remove(struct sim_operator *operator, unsigned server);
void operator_add(struct sim_operator *operator, unsigned server);
void operator_promote(struct sim_operator *operator, unsigned server);
void operator_exchange(struct sim_operator *operator, unsigned out, unsigned voter);

/* From now on: all servers become voters, one after the other. */
void operator_restore(struct sim_operator *operator);

unsigned operator_voters_count(const struct sim_operator *operator);

/* Its client, for servers that answer it. */
struct sim_operator *operator_of(struct client *client);

#endif
