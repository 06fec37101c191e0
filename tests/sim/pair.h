/* SPDX-License-Identifier: Apache-2.0 */
/* Two regions and the line between them, under one seed and one clock: each is a world with its
 * own servers, network and nemesis (world.h); clients go where the primary is. In a half of all
 * runs there is a witness (witness.h), and leases; mostly the standby then promotes itself.
 *
 * A run: the first region makes the store, the second follows it; clients work while faults happen
 * within both, to the witness and on the lines, and an operator (region_operator.h) hands the reign
 * over, loses regions, promotes; all is healed; where there is a witness, one of the three is lost
 * alone (trial.h); clients come to an end, one of them reads everything where the primary is; the
 * standby becomes level; both regions are compared, and the histories judged. */
#ifndef TESTS_SIM_PAIR_H
#define TESTS_SIM_PAIR_H

#include "tests/sim/chronicle.h"
#include "tests/sim/lease_watch.h"
#include "tests/sim/line_faults.h"
#include "tests/sim/region_link.h"
#include "tests/sim/region_operator.h"
#include "tests/sim/region_reader.h"
#include "tests/sim/trial.h"
#include "tests/sim/wan.h"
#include "tests/sim/witness.h"
#include "tests/sim/witness_faults.h"
#include "tests/sim/world.h"

enum {
    pair_readers_count = 2,
    pair_operators_count = 2,
    /* Of the networks, beside servers and clients: a region's own operator, and these. */
    pair_nodes_count = 1 + pair_operators_count + pair_readers_count,
};

struct pair {
    struct world worlds[2];
    struct sim_region_links links[2][sim_servers_max];
    struct wan wan;
    struct chronicle chronicle;
    struct line_faults faults;
    struct region_operator operator;
    struct region_reader readers[pair_readers_count];

    /* Where there is a witness. */
    bool has_witness;
    bool is_automatic; /* the standby promotes itself */
    uint64_t lease_ms;
    struct sim_witness witness;
    struct lease_watch leases;
    struct witness_faults witness_faults;
    struct trial trial;

    bool is_set_up;
    bool is_quiet[2];        /* in this run nothing happens within that region */
    uint64_t kept_count;     /* acknowledged commits that are in the state */
    uint64_t given_up_count; /* and that are not */
};

/* The same of leases. */
struct pair_leases_result {
    uint64_t runs_count;
    uint64_t witness_starts_count;
    uint64_t grants_count; /* of the witness's */
    uint64_t refusals_count;
    uint64_t acknowledged_count;
    uint64_t by_witness_count; /* acknowledgements that it alone permits */
    uint64_t by_standby_count; /* and the standby alone */
    uint64_t automatic_count;  /* promotions that nobody asked for */
    uint64_t faults[WITNESS_FAULTS_END];
    uint64_t trials[TRIALS_END];
};

struct pair_result {
    struct world_result worlds[2];
    bool failed;
    char failure[1536];
    uint64_t switchovers_count;
    uint64_t promotions_count;
    uint64_t epochs_count;
    uint64_t kept_count;
    uint64_t given_up_count;
    uint64_t tails_count; /* regions that ended with what nobody else has */
    uint64_t compared_count;
    uint64_t reads_count; /* at a standby */
    uint64_t line_faults[LINE_FAULTS_END];
    struct pair_leases_result leases; /* zero where there is no witness */
    uint64_t simulated_ns;
    uint64_t digest;
};

/* One run. The process is its own: the source of random bytes is seeded with it. */
void pair_run(const struct world_options *options, struct pair_result *result);

/* ---- For servers ---- */

/* As in struct core_options, for the witness too. */
MUST_CHECK enum status pair_promotion_verify(void *context, struct bytes record, struct epoch *to,
                                             struct error *error);

void pair_server_options(struct pair *pair, struct sim_server *server,
                         struct core_options *options);
void pair_server_started(struct pair *pair, struct sim_server *server);
void pair_server_stopped(struct pair *pair, struct sim_server *server, bool is_said);
void pair_send_replies(struct pair *pair, struct sim_server *server);

/* ---- For the parts of a pair ---- */

/* Until `done` says so; false after `span_ns`, or where a region has failed. */
bool pair_run_until(struct pair *pair, uint64_t span_ns, bool (*done)(struct pair *pair));

/* With what each server is at. */
void pair_fail(struct pair *pair, const char *text);

uint64_t pair_now_ns(const struct pair *pair);

/* The highest epoch that any replica is in. */
struct epoch pair_epoch(const struct pair *pair);

/* A server of the region, up, whose state is of that epoch; NULL: none. */
struct sim_server *pair_server_of(struct pair *pair, unsigned side, struct epoch epoch);

/* ---- pair_judge.c ---- */

/* Whether what was seen there is part of the history that the primary has now. */
bool pair_is_kept(struct pair *pair, const struct client_position *position);

/* Takes what was given up out of the histories, and judges all. */
void pair_judge(struct pair *pair);

#endif
