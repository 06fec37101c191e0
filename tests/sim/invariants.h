/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold at each moment, whatever happens: looked at after each turn of a server, and when
 * a message leaves one.
 *
 * - elections.h and commitment.h say what of votes, leaders, leases, and of entries;
 * - what was applied at an index has the same term on all replicas (state machine safety), and at a
 *   version the same digest of all write sets up to it;
 * - a server's commit index and applied index never go back while it runs;
 * - no replica finds itself to be another than the majority, by its chain or by a scrub of its
 *   disk, and none whose tables were not damaged on purpose finds them damaged: such a one would
 *   heal, and what made it ill would not be seen;
 * - in builds with faults: nothing is sealed twice with one nonce (storage/seal/seal.h), which ends
 *   the process. */
#ifndef TESTS_SIM_INVARIANTS_H
#define TESTS_SIM_INVARIANTS_H

#include "server/core.h"
#include "tests/sim/bus.h"
#include "tests/sim/commitment.h"
#include "tests/sim/elections.h"
#include "tests/sim/numbered.h"

struct world;

/* What the first replica that came there had. */
struct invariants_point {
    uint64_t number;
    uint64_t term;
    struct hash128 digest;
};

enum { invariants_points_count = 1 << 16 };

struct invariants {
    struct elections elections;
    struct commitment commitment;
    struct numbered indexes;                 /* points by index */
    struct numbered versions;                /* by version */
    struct core_facts last[sim_servers_max]; /* of the server's current life */
    uint64_t compared_count;                 /* points that a second replica reached as well */
    uint64_t snapshots_count;                /* that took a state's place */
    uint64_t rebuilds_count;                 /* of these, for a state that was of no use */
    uint64_t scrubs_count;                   /* ended, of all servers */
};

void invariants_init(struct invariants *invariants);
void invariants_free(struct invariants *invariants);

/* A server begins a new life: what it knew is what it finds. */
void invariants_started(struct invariants *invariants, unsigned server);

/* It is open, and will be turned. */
void invariants_opened(struct invariants *invariants, struct world *world, unsigned server);

/* Its process ends in the midst of a turn. */
void invariants_ended(struct invariants *invariants, struct world *world, unsigned server);

/* Its disk is another one, and empty. */
void invariants_wiped(struct invariants *invariants, unsigned server);

/* A message leaves a server for another. */
void invariants_heard(struct invariants *invariants, struct world *world, unsigned server,
                      struct bytes message);

/* Fails the world where something does not hold. */
void invariants_look(struct invariants *invariants, struct world *world, unsigned server,
                     const struct core_facts *facts);

#endif
