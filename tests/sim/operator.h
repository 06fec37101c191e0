/* SPDX-License-Identifier: Apache-2.0 */
/* Who administers a simulated region: makes it of its servers, hands leadership over, replaces a
 * member whose disk is lost. One thing at a time, through the core's own requests. */
#ifndef TESTS_SIM_OPERATOR_H
#define TESTS_SIM_OPERATOR_H

#include "tests/sim/client.h"

struct operator_plan {
    enum {
        OPERATOR_IDLE,
        OPERATOR_HAND_OVER, /* by a member that leads, before it is removed */
        OPERATOR_REMOVE,
        OPERATOR_WIPE,
        OPERATOR_ADD,
        OPERATOR_PROMOTE,
        OPERATOR_TRANSFER,
    } step;
    unsigned server; /* whom it concerns */
    uint64_t id;     /* of its store: who is to be removed; 0: whoever has the name */
    bool builds;     /* the others follow */
    void (*done)(struct world *world);
};

struct sim_operator {
    struct client client;
    struct operator_plan plan;
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

/* Its client, for servers that answer it. */
struct sim_operator *operator_of(struct client *client);

#endif
