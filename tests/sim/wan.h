/* SPDX-License-Identifier: Apache-2.0 */
/* The lines between the sites of two simulated regions and their witness: long, and all that passes
 * between sites takes them.
 *
 * Each direction of each line is cut or not by itself. What is sent while it is cut is lost, and
 * with it the connection that it was sent on, a while later, as nothing is acknowledged any more.
 */
#ifndef TESTS_SIM_WAN_H
#define TESTS_SIM_WAN_H

#include "proto/base/generator.h"

/* The two regions are sites 0 and 1, by their side. */
enum { wan_witness = 2, wan_sites_count };

/* Who cuts: what one has cut, another does not heal. */
enum wan_cutter {
    WAN_LINE_FAULTS = 1, /* line_faults.h */
    WAN_SHAPES = 2,      /* of all three: witness_faults.h, trial.h */
};

struct wan {
    struct generator generator;
    unsigned cut[wan_sites_count][wan_sites_count]; /* from, to: by whom, a sum of cutters */
    bool witness_is_near;                           /* to both: less than a millisecond */
    uint64_t slow_bytes_per_ms;                     /* 0: as fast as light */
    unsigned stall_percent; /* of messages: one that waits for a packet to be sent again */
    uint64_t messages_count;
    uint64_t lost_count;
    uint64_t breaks_count; /* of connections */
};

void wan_init(struct wan *wan, uint64_t seed);

/* All reach all, nothing is slow. */
void wan_heal(struct wan *wan);

/* One direction of a line; or both. */
void wan_cut_way(struct wan *wan, unsigned from, unsigned to, enum wan_cutter cutter, bool is_cut);
void wan_cut(struct wan *wan, unsigned one, unsigned other, enum wan_cutter cutter, bool is_cut);

/* Whether a connection can be made: both directions pass. */
bool wan_is_whole(const struct wan *wan, unsigned one, unsigned other);

/* Whether a message of now arrives, and when. */
bool wan_pass(struct wan *wan, unsigned from, unsigned to, size_t size, uint64_t now_ns,
              uint64_t *due_ns);

/* How long a handshake takes, which crosses three times. */
uint64_t wan_handshake_ns(struct wan *wan, unsigned one, unsigned other);

#endif
