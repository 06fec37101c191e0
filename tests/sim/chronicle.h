/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold between two regions at each moment, and what they acknowledged; seen from outside.
 *
 * - At equal (epoch, version) all replicas of both regions have the same digest of all write sets
 * up to it: so a standby's stream has no gap, and no version twice.
 * - While it runs, a replica's epoch never goes back, nor its version within an epoch, nor the
 *   highest epoch that it knows of, but where it gives up a tail, or is given a peer's state.
 * - A commit is acknowledged by the region whose epoch it is of, alone; by no server that had
 * learnt of a higher epoch in an earlier turn; and no two have one version of an epoch.
 * - A grant is given when the region that it goes to has all that is before it.
 * - In the end each acknowledged commit is either kept, or lies past the end of its epoch: then it
 *   was given up by a promotion, and none is in the state (pair_judge.c). */
#ifndef TESTS_SIM_CHRONICLE_H
#define TESTS_SIM_CHRONICLE_H

#include "server/core.h"
#include "tests/sim/client.h"
#include "tests/sim/numbered.h"

enum { chronicle_epochs_max = 64, chronicle_versions_count = 1 << 14 };

struct chronicle_point {
    uint64_t version;
    unsigned side; /* whose it was first */
    struct hash128 digest;
};

/* One epoch, as it was seen. */
struct chronicle_epoch {
    struct epoch epoch;
    uint64_t began_ns;      /* when the first replica was seen in it */
    uint64_t version;       /* the highest seen */
    struct numbered points; /* by version */
};

struct chronicle_ack {
    struct epoch epoch;
    uint64_t version;
    unsigned client;
    uint64_t call; /* the client's number of it */
};

/* A replica as it was seen last, in its present life. */
struct chronicle_last {
    uint64_t life;
    struct epoch epoch;
    struct epoch highest;
    uint64_t version;
    bool is_primary;
    bool is_waived; /* of leases */
    bool leads;
    bool is_rewinding;
    bool is_installing;
    uint64_t rewinds_count;
    uint64_t snapshots_count;
};

/* How far a region has ever been seen to be. */
struct chronicle_reach {
    struct epoch epoch;
    uint64_t version;
};

struct chronicle {
    struct chronicle_epoch epochs[chronicle_epochs_max]; /* in the order in which they were seen */
    unsigned epochs_count;
    struct chronicle_last last[2][sim_servers_max];
    struct chronicle_reach reached[2];
    struct chronicle_ack *acks;
    size_t acks_count;
    size_t acks_capacity;
    uint64_t compared_count; /* points that a second replica reached as well */
    uint64_t crossed_count;  /* of these, of another region than the first */
};

void chronicle_free(struct chronicle *chronicle);

/* After a turn. */
void chronicle_look(struct chronicle *chronicle, struct sim_server *server,
                    const struct core_facts *facts);

/* A server answers OK to a commit or a linearizable read. A commit's reply came to the client. */
void chronicle_acknowledges(struct chronicle *chronicle, struct sim_server *server);
void chronicle_acknowledged(struct chronicle *chronicle, struct world *world,
                            const struct client *client);

/* Where a server was seen last. */
struct client_position chronicle_position(const struct chronicle *chronicle,
                                          const struct sim_server *server);

/* NULL: it was never seen. */
const struct chronicle_epoch *chronicle_find(const struct chronicle *chronicle, struct epoch epoch);

/* No two acknowledged commits have one version; fails the world. */
void chronicle_judge(struct chronicle *chronicle, struct world *world);

#endif
