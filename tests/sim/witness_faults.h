/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to the witness of two regions, and to the lines between the three: drawn, within the
 * atlas.
 *
 *     primary alone    the primary is cut off from both others; its clients still reach it
 *     standby alone    so is the standby
 *     all alone        all three lines are cut
 *     turn             the primary is cut off until the other region is promoted; in that moment
 *                      the witness loses power while it writes, and the old primary reaches it, and
 *                      nobody else does */
#ifndef TESTS_SIM_WITNESS_FAULTS_H
#define TESTS_SIM_WITNESS_FAULTS_H

#include "proto/base/generator.h"
#include "proto/epoch.h"

struct pair;

/* X(NAME, name) */
#define WITNESS_FAULTS(X)                                                                          \
    X(KILL, "witness-kill")                                                                        \
    X(POWER_LOSS, "witness-power-loss")                                                            \
    X(CRASH_AT_STEP, "witness-crash-at-step")                                                      \
    X(PAUSE, "witness-pause")                                                                      \
    X(DRIFT, "witness-drift")                                                                      \
    X(CUT_ONE, "witness-cut-one")                                                                  \
    X(DEAF, "witness-one-way")                                                                     \
    X(CUT_BOTH, "witness-cut-both")                                                                \
    X(PRIMARY_ALONE, "primary-alone")                                                              \
    X(STANDBY_ALONE, "standby-alone")                                                              \
    X(ALL_ALONE, "all-alone")                                                                      \
    X(TURN, "turn")

enum witness_fault {
#define WITNESS_FAULT_ENUM(name, text) WITNESS_FAULT_##name,
    WITNESS_FAULTS(WITNESS_FAULT_ENUM)
#undef WITNESS_FAULT_ENUM
        WITNESS_FAULTS_END,
};

struct witness_faults {
    struct generator generator;
    bool is_active;
    bool is_gentle;      /* in this run they are few */
    bool has_cut;        /* one at a time */
    bool turns;          /* with the next promotion of a region that is not: */
    unsigned turned;     /* the one that is cut off */
    uint64_t cuts_count; /* ever: which one is healed */
    uint64_t counts[WITNESS_FAULTS_END];
};

void witness_faults_begin(struct pair *pair);
void witness_faults_end(struct pair *pair);

/* A new epoch has begun. */
void witness_faults_epoch_began(struct pair *pair, struct epoch epoch);

const char *witness_fault_name(enum witness_fault fault);

#endif
