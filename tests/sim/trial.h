/* SPDX-License-Identifier: Apache-2.0 */
/* What two regions with a witness are to bear, tried when all is healed: one of them is lost,
 * alone, in one of the ways in which that can be.
 *
 *     witness lost    stopped, or cut off from both: commits go on, of the standby's leases
 *     standby lost    all its servers down, or cut off from both: they go on, of the witness's
 *     primary lost    all its servers down, or cut off from both: where promotion is automatic, the
 *                     other region commits before long, as nobody asks for it
 *
 * The other two are well, and in step when it begins; where they do not come to be, it is not
 * tried. */
#ifndef TESTS_SIM_TRIAL_H
#define TESTS_SIM_TRIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/epoch.h"

struct pair;

/* X(NAME, name) */
#define TRIALS(X)                                                                                  \
    X(NONE, "none")                                                                                \
    X(WITNESS_LOST, "witness-lost")                                                                \
    X(STANDBY_LOST, "standby-lost")                                                                \
    X(PRIMARY_LOST, "primary-lost")

enum trial_kind {
#define TRIAL_ENUM(name, text) TRIAL_##name,
    TRIALS(TRIAL_ENUM)
#undef TRIAL_ENUM
        TRIALS_END,
};

struct trial {
    enum trial_kind kind; /* of this run */
    bool is_cut;          /* else it is down */
    struct epoch epoch;   /* before */
    uint64_t versions[2]; /* of the regions, when all was healed */
    uint64_t commits_count;
    bool is_done;
};

/* After the healing: fails the world where something stops that should not. */
void trial_run(struct pair *pair);

const char *trial_name(enum trial_kind kind);

#endif
