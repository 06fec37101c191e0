/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/wan.h"

#include <string.h>

#define NS_PER_MS UINT64_C(1000000)

enum {
    latency_min_us = 42000,
    latency_max_us = 52000,
    near_min_us = 150,
    near_max_us = 800,
    stall_min_ms = 90,
    stall_max_ms = 900
};

void wan_init(struct wan *wan, uint64_t seed)
{
    *wan = (struct wan){0};
    generator_init(&wan->generator, seed);
}

void wan_heal(struct wan *wan)
{
    memset(wan->cut, 0, sizeof wan->cut);
    wan->slow_bytes_per_ms = 0;
    wan->stall_percent = 0;
}

static uint64_t latency_ns(struct wan *wan, unsigned one, unsigned other)
{
    if (wan->witness_is_near && (one == wan_witness || other == wan_witness))
        return 1000 * generator_between(&wan->generator, near_min_us, near_max_us);
    return 1000 * generator_between(&wan->generator, latency_min_us, latency_max_us);
}

void wan_cut_way(struct wan *wan, unsigned from, unsigned to, enum wan_cutter cutter, bool is_cut)
{
    if (is_cut)
        wan->cut[from][to] |= (unsigned)cutter;
    else
        wan->cut[from][to] &= ~(unsigned)cutter;
}

void wan_cut(struct wan *wan, unsigned one, unsigned other, enum wan_cutter cutter, bool is_cut)
{
    wan_cut_way(wan, one, other, cutter, is_cut);
    wan_cut_way(wan, other, one, cutter, is_cut);
}

bool wan_is_whole(const struct wan *wan, unsigned one, unsigned other)
{
    return wan->cut[one][other] == 0 && wan->cut[other][one] == 0;
}

bool wan_pass(struct wan *wan, unsigned from, unsigned to, size_t size, uint64_t now_ns,
              uint64_t *due_ns)
{
    wan->messages_count++;
    *due_ns = now_ns + latency_ns(wan, from, to);
    if (wan->slow_bytes_per_ms != 0)
        *due_ns += size * NS_PER_MS / wan->slow_bytes_per_ms;
    if (wan->stall_percent != 0 && generator_chance(&wan->generator, wan->stall_percent, 100))
        *due_ns += NS_PER_MS * generator_between(&wan->generator, stall_min_ms, stall_max_ms);
    wan->lost_count += wan->cut[from][to] != 0;
    return wan->cut[from][to] == 0;
}

uint64_t wan_handshake_ns(struct wan *wan, unsigned one, unsigned other)
{
    return latency_ns(wan, one, other) + latency_ns(wan, one, other) + latency_ns(wan, one, other);
}
