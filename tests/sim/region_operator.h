/* SPDX-License-Identifier: Apache-2.0 */
/* Who administers a pair of regions: makes their list, hands the reign over, and, in a half of all
 * runs, gives regions up and promotes the other one; where there is a witness, mostly not by force.
 *
 *     switchover      asked of the primary; half of them are interrupted a moment later: a server
 *                     or a whole region loses power, the line is cut, a leader hands over
 *     loss            the primary's region loses power as a whole, or the line is cut; then the
 *                     standby is promoted, by force or once nothing was heard for long enough
 *     race            a switchover, the line cut in the midst of it, both promoted by force
 *     granted         the line is cut in the moment in which a grant is given, and the region that
 *                     it goes to is promoted by force without it
 *     needless        the standby is to be promoted although all is well: it refuses */
#ifndef TESTS_SIM_REGION_OPERATOR_H
#define TESTS_SIM_REGION_OPERATOR_H

#include "tests/sim/client.h"

struct pair;

struct region_operator {
    struct pair *pair;
    struct generator generator;
    struct client clients[2]; /* each asks its own region */
    bool is_active;
    bool promotes; /* in this run */
    bool forces;   /* where there is a witness, seldom: else leases say who may be promoted */
    unsigned added_count;
    unsigned deeds_count;
    void (*done)(struct pair *pair);
    uint64_t switchovers_count; /* that were done */
    uint64_t undone_count;      /* refused, or of unknown end */
    uint64_t promotions_count;
};

void region_operator_init(struct region_operator *operator, struct pair * pair, uint64_t seed,
                          unsigned index);
void region_operator_free(struct region_operator *operator);

/* Puts both regions into the list, at the first. */
void region_operator_set_up(struct region_operator *operator, void (*done)(struct pair *pair));

void region_operator_begin(struct region_operator *operator);
void region_operator_end(struct region_operator *operator);

/* A region has granted the reign to the other one. */
void region_operator_granted(struct region_operator *operator, unsigned to);

bool region_operator_is_idle(const struct region_operator *operator);

#endif
