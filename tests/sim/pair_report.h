/* SPDX-License-Identifier: Apache-2.0 */
/* strait-sim --regions: runs of two regions, and what they came to. */
#ifndef TESTS_SIM_PAIR_REPORT_H
#define TESTS_SIM_PAIR_REPORT_H

#include "tests/sim/world.h"

/* One run for each seed, or two that are compared; the exit status. */
int pair_report(const struct world_options *options, uint64_t from, uint64_t to, bool twice);

#endif
