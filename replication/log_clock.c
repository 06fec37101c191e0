/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/log_clock.h"

#include "proto/base/assert.h"

void log_clock_init(struct log_clock *clock, uint64_t boot_ns, uint64_t wall_ns, uint64_t last_ns)
{
    *clock = (struct log_clock){.boot_ns = boot_ns, .last_ns = last_ns};
    clock->time_ns = wall_ns > last_ns ? wall_ns : last_ns;
    clock->offset_ns = (int64_t)(wall_ns - clock->time_ns);
    clock->jumped = clock->time_ns - wall_ns > LOG_CLOCK_JUMP_NS;
}

uint64_t log_clock_read(struct log_clock *clock, uint64_t boot_ns, uint64_t wall_ns)
{
    ASSERT(boot_ns >= clock->boot_ns);
    uint64_t elapsed = boot_ns - clock->boot_ns;
    clock->boot_ns = boot_ns;
    clock->time_ns += elapsed;
    clock->offset_ns = (int64_t)(wall_ns - clock->time_ns);

    uint64_t distance =
        clock->offset_ns < 0 ? 0 - (uint64_t)clock->offset_ns : (uint64_t)clock->offset_ns;
    clock->jumped = distance > LOG_CLOCK_JUMP_NS;
    if (!clock->jumped) {
        uint64_t step = elapsed / (1000000 / LOG_CLOCK_SLEW_PPM);
        if (step > distance)
            step = distance;
        clock->time_ns = clock->offset_ns < 0 ? clock->time_ns - step : clock->time_ns + step;
    }
    return clock->time_ns;
}

uint64_t log_clock_stamp(struct log_clock *clock, uint64_t boot_ns, uint64_t wall_ns)
{
    uint64_t now = log_clock_read(clock, boot_ns, wall_ns);
    clock->last_ns = now > clock->last_ns ? now : clock->last_ns + 1;
    return clock->last_ns;
}

void log_clock_observe(struct log_clock *clock, uint64_t stamp_ns)
{
    if (stamp_ns > clock->last_ns)
        clock->last_ns = stamp_ns;
}
