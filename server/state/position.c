/* SPDX-License-Identifier: Apache-2.0 */
/* Where the state stands in the history of all regions, and whether a position belongs to it. */
#include "proto/base/planted.h"
#include "server/state/state_internal.h"

struct epoch state_epoch(const struct state *state)
{
    return mark_epoch(&state->mark);
}

const struct epoch_change *state_epoch_change(const struct state *state)
{
    return state->epochs.change.to.number == 0 ? NULL : &state->epochs.change;
}

size_t state_epoch_ends(const struct state *state, const struct epoch_end **ends)
{
    *ends = state->epochs.ends;
    return state->epochs.count;
}

const struct epoch_end *state_epoch_end_before(const struct state *state, struct epoch epoch)
{
    return epochs_find(&state->epochs, epoch);
}

enum status state_epoch_end(const struct state *state, struct epoch epoch, struct epoch_end *end)
{
    const struct epoch_end *found = epochs_find(&state->epochs, epoch);

    *end = (struct epoch_end){0};
    if (found == NULL || !epoch_equal(found->epoch, epoch))
        return STATUS_NOT_FOUND;
    *end = *found;
    return STATUS_OK;
}

enum status state_position_check(const struct state *state, struct epoch epoch, uint64_t version)
{
    struct epoch_end end;
    int order = epoch_compare(epoch, mark_epoch(&state->mark));

    if (PLANTED(region_token_epochless))
        return version <= state->mark.version ? STATUS_OK : STATUS_AGAIN;
    if (order > 0)
        return STATUS_AGAIN;
    if (order == 0)
        return version <= state->mark.version ? STATUS_OK : STATUS_AGAIN;
    /* An epoch that is not known here was another region's, whose history came to nothing; or it is
     * so long ago that nothing is known of it. */
    if (state_epoch_end(state, epoch, &end) != STATUS_OK)
        return STATUS_HISTORY_LOST;
    return version <= end.version ? STATUS_OK : STATUS_HISTORY_LOST;
}

bool state_snapshot_is_lost(const struct state *state, const Strait__Commit *commit)
{
    const struct epoch epoch = {.number = commit->snapshot_epoch_number,
                                .region = commit->snapshot_epoch_region};
    return !PLANTED(region_reads_epochless) && epoch.number != 0 &&
           state_position_check(state, epoch, commit->snapshot) != STATUS_OK;
}
