/* SPDX-License-Identifier: Apache-2.0 */
/* The guard on standbys that lag behind: what would be given up if this region were lost now is
 * bounded, as far as the list of regions says so. Looked at once a second, by the primary's leader.
 *
 *     ALERT   an alarm in the status, a line in the log, a metric
 *     SLOW    and commits are held back, as by compaction that is guard_pressure per cent behind
 *     REFUSE  and commits are refused with BUSY, until the standby has caught up */
#include <inttypes.h>
#include <stdio.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "server/core_internal.h"

enum { guard_pressure = 90 };

static bool is_past(const struct region_guard *guard, const struct source_region *facts)
{
    return (guard->lag_bytes_max != 0 && facts->lag_size > guard->lag_bytes_max) ||
           (guard->lag_ms_max != 0 && facts->lag_ms > guard->lag_ms_max);
}

static void describe(struct core_guard *guard, const struct region *region,
                     const struct source_region *facts)
{
    static const char *const does[] = {[REGION_GUARD_ALERT] = "",
                                       [REGION_GUARD_SLOW] = " Commits are slowed down.",
                                       [REGION_GUARD_REFUSE] = " Commits are refused meanwhile."};
    snprintf(guard->text, sizeof guard->text,
             "The standby %s is %" PRIu64 " KiB and %" PRIu64 ".%" PRIu64
             " s behind, past the bound of its guard.%s See `strait region list`.",
             region->name, facts->lag_size >> 10, facts->lag_ms / 1000, facts->lag_ms % 1000 / 100,
             does[guard->action]);
}

void core_guard_look(struct core *core)
{
    const struct regions *regions = state_regions(core->state);
    struct core_guard found = {0};
    struct source_region facts;
    bool guards = core_leads(core) && core_is_primary(core);

    for (unsigned i = 0; guards && i < regions->count; i++) {
        const struct region *region = &regions->regions[i];
        if (!source_region_find(core->ship.source, region->id, &facts))
            continue;
        if (facts.lag_ms > found.lag_ms_most)
            found.lag_ms_most = facts.lag_ms;
        if (facts.lag_size > found.lag_size_most)
            found.lag_size_most = facts.lag_size;
        if (!is_past(&region->guard, &facts) || region->guard.action <= found.action)
            continue;
        found.action = region->guard.action;
        describe(&found, region, &facts);
    }
    if (found.action != core->ship.guard.action) {
        if (found.action != 0)
            log_warn("region_guard", LOG_TEXT("text", found.text));
        else
            log_info("region_guard_over");
    }
    core->ship.guard = found;
}

unsigned core_pressure(const struct core *core)
{
    unsigned pressure = lsm_pressure(core->lsm);
    if (core->ship.guard.action == REGION_GUARD_SLOW && pressure < guard_pressure)
        return guard_pressure;
    return pressure;
}
