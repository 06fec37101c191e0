/* SPDX-License-Identifier: Apache-2.0 */
/* The line between two simulated regions: long, and all that passes between them takes it.
 *
 * Each direction is cut or not by itself. What is sent while it is cut is lost, and with it the
 * connection that it was sent on, a while later, as nothing is acknowledged any more. */
#ifndef TESTS_SIM_WAN_H
#define TESTS_SIM_WAN_H

#include "proto/base/generator.h"

struct wan {
    struct generator generator;
    bool cut[2];                /* from region 0 to 1, from 1 to 0 */
    uint64_t slow_bytes_per_ms; /* 0: as fast as light */
    unsigned stall_percent;     /* of messages: one that waits for a packet to be sent again */
    uint64_t messages_count;
    uint64_t lost_count;
    uint64_t breaks_count; /* of connections */
};

void wan_init(struct wan *wan, uint64_t seed);

/* All reach all, nothing is slow. */
void wan_heal(struct wan *wan);

/* Whether a message of now arrives, and when. */
bool wan_pass(struct wan *wan, unsigned from, size_t size, uint64_t now_ns, uint64_t *due_ns);

/* How long a handshake takes, which crosses three times. */
uint64_t wan_handshake_ns(struct wan *wan);

#endif
