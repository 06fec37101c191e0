/* SPDX-License-Identifier: Apache-2.0 */
/* The command FENCE: this region has learnt of a higher epoch, and takes no commands of its own any
 * more.
 *
 * It is regional: it stands in the log of the region that it stops, takes no version, and is not
 * shipped. What that region proposed before it knew, and what lies in its log behind the fence, is
 * discarded by apply. Commands of other regions pass, though their epochs may be lower too: it is
 * by these that the fenced region comes to the higher epoch. */
#include "server/state/fence.h"

#include "proto/base/planted.h"
#include "server/state/command.h"
#include "server/state/state_internal.h"

bool fence_stops(const struct mark_state *mark, const struct entry *entry)
{
    const struct epoch epoch = {.number = entry->epoch_number, .region = entry->epoch_region};
    return mark->fence_number != 0 && epoch.region == mark->fenced_region &&
           epoch_compare(epoch, mark_fence(mark)) < 0;
}

/* A fence that is lower than what is known already changes nothing. */
static enum status fence_execute(struct apply *apply)
{
    struct mark_state *next = &apply->next;
    struct fence fence;
    enum status status = fence_decode(apply->entry.body, &fence);

    if (status == STATUS_UNSUPPORTED)
        return STATUS_NEWER_FORMAT;
    /* The leader encoded it: bytes that are none mean that the log is not what it was. */
    if (status != STATUS_OK)
        return STATUS_CORRUPT;
    if (!PLANTED(region_fence_unapplied) && epoch_compare(fence.epoch, mark_epoch(next)) > 0 &&
        epoch_compare(fence.epoch, mark_fence(next)) > 0) {
        next->fence_number = fence.epoch.number;
        next->fence_region = fence.epoch.region;
        next->fenced_region = fence.region;
    }
    return STATUS_OK;
}

const struct command command_fence = {
    .kind = ENTRY_FENCE,
    .name = "fence",
    .execute = fence_execute,
};

/* ---- Asking ---- */

struct epoch state_fence(const struct state *state)
{
    return mark_fence(&state->mark);
}

bool state_is_fenced(const struct state *state, uint32_t region)
{
    return state->mark.fence_number != 0 && state->mark.fenced_region == region;
}
