/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the nemesis share. */
#ifndef TESTS_SIM_NEMESIS_INTERNAL_H
#define TESTS_SIM_NEMESIS_INTERNAL_H

#include "tests/sim/world.h"

#define NS_PER_MS UINT64_C(1000000)

enum {
    nemesis_down_min_ms = 50, /* a server, after a crash */
    nemesis_down_max_ms = 4000,
    nemesis_first_count = NEMESIS_LOST_DISK + 1, /* of the faults that come in all worlds */
};

/* `act` is called after so long, within the world's events. */
void nemesis_later(struct world *world, uint64_t delay_ns, unsigned server,
                   void (*act)(struct world *world, unsigned server));

/* In nanoseconds. */
uint64_t nemesis_draw_ms(struct world *world, uint64_t min_ms, uint64_t max_ms);
bool nemesis_chance(struct world *world, uint64_t numerator, uint64_t denominator);

/* Counts and tells it. */
void nemesis_did(struct world *world, unsigned server, enum nemesis_fault fault);

void nemesis_heal_partition(struct world *world, unsigned server);
void nemesis_slow_disk(struct world *world, struct sim_server *server);
void nemesis_heal_slow_disk(struct world *world, unsigned server);

/* ---- nemesis_more.c ---- */

/* Begins the further faults, where the world is to have some. */
void nemesis_more_begin(struct world *world);
void nemesis_more_end(struct world *world);

#endif
