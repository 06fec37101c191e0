/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold of the leases between two regions and their witness at each moment, seen from
 * outside: of messages that are sent, and of answers that clients are given.
 *
 * - A write or a linearizable read is acknowledged while the witness's grant of that epoch is with
 *   the region, or what the other region has promised it lasts; by the one true time.
 * - None is acknowledged of an epoch once one of a later epoch was.
 * - The witness grants to one region at a time, over its restarts too, and an epoch to one region
 *   ever.
 * - A region is promoted with the witness's grant for that, once all that it promised is over.
 *
 * A voter's clock runs as fast as it may, as the shortest lease counts: what it granted lasts for
 * at least that long.
 *
 * By force, no more is promised than `strait region promote --force` says: the new primary goes
 * without a lease until it has one, and the old one may acknowledge until its own is over. */
#ifndef TESTS_SIM_LEASE_WATCH_H
#define TESTS_SIM_LEASE_WATCH_H

#include "proto/epoch.h"
#include "proto/strait.pb-c.h"
#include "server/net/request.h"

struct pair;
struct sim_server;

enum { lease_watch_epochs_max = 64 };

struct lease_watch_grant {
    uint64_t at_ns; /* 0: none */
    struct epoch epoch;
    bool candidate;
};

/* What a region promised. */
struct lease_watch_promise {
    uint64_t at_ns;     /* 0: never */
    struct epoch epoch; /* to whose primary */
};

struct lease_watch_epoch {
    struct epoch epoch;
    bool is_forced;    /* its region may have been promoted by force */
    uint64_t first_ns; /* the first acknowledgement; 0: none yet */
};

struct lease_watch {
    bool is_active;                         /* both regions are in the list */
    struct lease_watch_grant witness[2];    /* the witness's, by region; what it lasts */
    struct lease_watch_grant permitted[2];  /* the last one to be promoted that was given */
    struct lease_watch_promise promised[2]; /* by the region */
    uint64_t asked_until_ns[2];             /* by then an operator's promotion may be done */
    uint64_t forced_until_ns[2];            /* the same of one by force */
    struct lease_watch_epoch epochs[lease_watch_epochs_max];
    unsigned epochs_count;
    uint64_t grants_count;
    uint64_t refusals_count;     /* of the witness's */
    uint64_t acknowledged_count; /* acknowledgements that were looked at */
    uint64_t by_witness_count;   /* of these, such as the witness alone permits */
    uint64_t by_standby_count;   /* and the other region alone */
    uint64_t automatic_count;    /* promotions that nobody asked for */
};

/* A region pulls, and may promise with it; the witness answers. */
void lease_watch_pulls(struct pair *pair, unsigned side, const Strait__RegionPull *pull,
                       uint64_t now_ns);
void lease_watch_answered(struct pair *pair, const struct request *request, uint64_t now_ns);

/* An operator asks a region to be promoted. */
void lease_watch_asked(struct pair *pair, unsigned side, bool force);

/* An epoch is seen for the first time, as that server has it. */
void lease_watch_began(struct pair *pair, struct sim_server *server, struct epoch epoch);

/* A server answers OK to a commit or a linearizable read. */
void lease_watch_acknowledges(struct pair *pair, struct sim_server *server,
                              const struct request *request);

/* Whether anything was acknowledged of that epoch. */
bool lease_watch_is_acknowledged(const struct pair *pair, struct epoch epoch);

/* Whether what was acknowledged of an earlier epoch may have come after the first of this one. */
bool lease_watch_is_forced(const struct pair *pair, struct epoch epoch);

#endif
