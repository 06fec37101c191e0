/* SPDX-License-Identifier: Apache-2.0 */
#include "server/state/adopt.h"

#include "proto/base/assert.h"
#include "proto/base/planted.h"
#include "proto/stream.h"
#include "server/state/command.h"
#include "server/state/fence.h"
#include "server/state/state_internal.h"

/* ---- While the state waits ---- */

bool adopt_passes(struct apply *apply)
{
    struct mark_state *next = &apply->next;
    struct stream_position tail = {.epoch = next->tail_epoch, .version = next->tail_version};

    if (!mark_is_adopting(next))
        return false;
    if (!fence_stops(next, &apply->entry) && stream_takes(&tail, NULL, &apply->entry)) {
        next->tail_epoch = tail.epoch;
        next->tail_version = tail.version;
    }
    return true;
}

/* ---- The entry ---- */

static struct adoption standing(const struct mark_state *mark)
{
    if (mark_is_adopting(mark) || mark_is_surrendered(mark))
        return (struct adoption){
            .epoch = mark->tail_epoch, .version = mark->tail_version, .id = mark->adopt_id};
    return (struct adoption){.epoch = mark_epoch(mark), .version = mark->version};
}

static bool is_due(const struct mark_state *mark, const struct adoption *adoption)
{
    const struct adoption stands = standing(mark);
    int order = epoch_compare(adoption->epoch, stands.epoch);

    /* Of the history that it gives way to, or one that goes on from there. */
    if (mark_is_surrendered(mark) ||
        (PLANTED(region_adopted_unreported) && !mark_is_adopting(mark) && mark->fence_number != 0))
        return epoch_compare(adoption->epoch, mark_fence(mark)) >= 0;
    if (mark_is_rewinding(mark) || order < 0 || adoption->version < stands.version)
        return false;
    return order > 0 || adoption->version > stands.version || mark_is_adopting(mark);
}

static enum status adopt_execute(struct apply *apply)
{
    struct mark_state *next = &apply->next;
    struct adoption adoption;
    enum status status = adoption_decode(apply->entry.body, &adoption);

    if (status == STATUS_UNSUPPORTED)
        return STATUS_NEWER_FORMAT;
    /* The leader encoded it: bytes that are none mean that the log is not what it was. */
    if (status != STATUS_OK)
        return STATUS_CORRUPT;
    if (!is_due(next, &adoption))
        return STATUS_OK;
    next->adopt_index = apply->index;
    next->adopt_id = adoption.id;
    next->tail_epoch = adoption.epoch;
    next->tail_version = adoption.version;
    return STATUS_OK;
}

const struct command command_adopt = {
    .kind = ENTRY_ADOPT,
    .name = "adopt",
    .execute = adopt_execute,
};

/* ---- For the owner ---- */

bool state_is_adopting(const struct state *state)
{
    return mark_is_adopting(&state->mark);
}

void state_adoption(const struct state *state, struct adoption *adoption)
{
    *adoption = standing(&state->mark);
}

bool state_adoption_is_due(const struct state *state, const struct adoption *adoption)
{
    return is_due(&state->mark, adoption);
}

enum status state_adoption_of(const struct lsm_mark *checkpoint, struct adoption *adoption)
{
    struct mark_state mark;
    enum status status = mark_decode(checkpoint, &mark);

    *adoption = (struct adoption){0};
    if (status != STATUS_OK)
        return status;
    if (mark_is_rewinding(&mark) || mark_is_adopting(&mark) || mark.version == 0 ||
        mark.epoch_number == 0)
        return STATUS_INVALID_ARGUMENT;
    *adoption = (struct adoption){
        .epoch = mark_epoch(&mark),
        .version = mark.version,
        .id = hash128(bytes_of(checkpoint->state, (size_t)checkpoint->state_size))};
    return STATUS_OK;
}

/* What is the region's own stays as it is; a fence that the checkpoint's epoch reaches is done. */
static void keep_own(const struct mark_state *own, struct mark_state *next)
{
    next->fence_number = own->fence_number;
    next->fence_region = own->fence_region;
    next->fenced_region = own->fenced_region;
    if (own->fence_number != 0 && epoch_compare(mark_epoch(next), mark_fence(own)) >= 0) {
        next->fence_number = 0;
        next->fence_region = 0;
        next->fenced_region = 0;
    }
    next->tail_epoch = (struct epoch){0};
    next->tail_version = 0;
}

enum status state_adoption_mark(const struct state *state, const struct lsm_mark *checkpoint,
                                struct lsm_mark *mark)
{
    const struct mark_state *own = &state->mark;
    struct mark_state next;
    struct adoption adoption;

    *mark = (struct lsm_mark){0};
    enum status status = state_adoption_of(checkpoint, &adoption);
    if (status != STATUS_OK)
        return status;
    if (!mark_is_adopting(own) || adoption.version != own->tail_version ||
        !epoch_equal(adoption.epoch, own->tail_epoch) || adoption.id.low != own->adopt_id.low ||
        adoption.id.high != own->adopt_id.high)
        return STATUS_INVALID_ARGUMENT;
    status = mark_decode(checkpoint, &next);
    ASSERT(status == STATUS_OK); /* it was just now */
    keep_own(own, &next);
    /* Nobody goes back behind this: the log does not lead on from there. */
    next.rewind_index = state->applied_index;
    mark_encode(&next, state->applied_index, state->applied_term, mark);
    return STATUS_OK;
}
