/* SPDX-License-Identifier: Apache-2.0 */
/* The search for a seed under which a planted bug (proto/base/planted.h) comes to light.
 *
 * It has to be an invariant of the simulator, its checks at the end, or a history's checker that
 * finds it. An assertion of the program that fails ends the run as well, but may stand next to the
 * bug, and so counts apart; each run is a process of its own, so that it can. */
#ifndef TESTS_SIM_HUNT_H
#define TESTS_SIM_HUNT_H

#include "tests/sim/world.h"

struct hunt {
    bool found;
    uint64_t seed;
    char failure[256];         /* the first line of it */
    uint64_t assertions_count; /* runs that ended in one */
    uint64_t asserted_seed;    /* the first of these; 0: none */
};

/* Seeds in order, until one finds it. */
void hunt_run(const struct world_options *options, uint64_t from, uint64_t to, struct hunt *hunt);

#endif
