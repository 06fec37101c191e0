/* SPDX-License-Identifier: Apache-2.0 */
#include "server/state/rewind.h"

#include "proto/base/assert.h"
#include "proto/stream.h"
#include "server/state/command.h"
#include "server/state/fence.h"
#include "server/state/lost.h"
#include "server/state/state_internal.h"

/* ---- While one is under way ---- */

/* The same as apply_accept() asked the first time, but for what only the tables could tell. */
static bool was_taken(struct mark_state *next, const struct entry *entry)
{
    struct stream_position tail = {.epoch = next->tail_epoch, .version = next->tail_version};

    if (fence_stops(next, entry) || !stream_takes(&tail, NULL, entry))
        return false;
    next->tail_epoch = tail.epoch;
    next->tail_version = tail.version;
    return true;
}

bool rewind_passes(struct apply *apply)
{
    struct mark_state *next = &apply->next;

    if (!mark_is_rewinding(next) || next->version < next->rewind_version)
        return false;
    if (was_taken(next, &apply->entry)) {
        apply->result.given_up = true;
        lost_file(apply, next->rewind_index, &apply->entry);
    }
    return true;
}

/* One that is not due changes nothing: it was so the first time, or is the one that ends it. */
static enum status rewind_execute(struct apply *apply)
{
    struct mark_state *next = &apply->next;
    struct rewind rewind;
    enum status status = rewind_decode(apply->entry.body, &rewind);

    if (status == STATUS_UNSUPPORTED)
        return STATUS_NEWER_FORMAT;
    /* The leader encoded it: bytes that are none mean that the log is not what it was. */
    if (status != STATUS_OK)
        return STATUS_CORRUPT;
    if (!mark_is_rewinding(next))
        return state_rewind_is_due(apply->state, &apply->entry, &rewind) ? STATUS_HISTORY_LOST
                                                                         : STATUS_OK;
    if (apply->index < next->rewind_index)
        return STATUS_OK;
    /* The log did not lead back to where it has to. */
    if (apply->index != next->rewind_index || next->version != next->rewind_version ||
        next->version != rewind.version || !epoch_equal(mark_epoch(next), rewind.from))
        return STATUS_CORRUPT;
    next->rewind_epoch = (struct epoch){0};
    next->rewind_version = 0;
    next->tail_epoch = (struct epoch){0};
    next->tail_version = 0;
    apply->result.rewound = true;
    lost_finish(apply, apply->index, rewind.to);
    return STATUS_OK;
}

const struct command command_rewind = {
    .kind = ENTRY_REWIND,
    .name = "rewind",
    .execute = rewind_execute,
};

/* ---- For the owner ---- */

bool state_rewind_is_possible(const struct state *state, const struct rewind *rewind)
{
    const struct mark_state *mark = &state->mark;

    if (mark_is_rewinding(mark) || mark_is_adopting(mark) || mark_is_surrendered(mark) ||
        mark->fence_number == 0 || epoch_compare(rewind->to, mark_fence(mark)) > 0 ||
        epoch_compare(rewind->to, mark_epoch(mark)) <= 0)
        return false;
    return state_position_check(state, rewind->from, rewind->version) == STATUS_OK &&
           (rewind->version < mark->version || !epoch_equal(rewind->from, mark_epoch(mark)));
}

bool state_rewind_is_due(const struct state *state, const struct entry *entry,
                         struct rewind *rewind)
{
    *rewind = (struct rewind){0};
    return entry->kind == ENTRY_REWIND && rewind_decode(entry->body, rewind) == STATUS_OK &&
           state_rewind_is_possible(state, rewind);
}

bool state_is_rewinding(const struct state *state)
{
    return mark_is_rewinding(&state->mark);
}

uint64_t state_rewind_index(const struct state *state)
{
    return state->mark.rewind_index;
}

enum status state_rewind_mark(const struct lsm_mark *checkpoint, const struct rewind *rewind,
                              uint64_t index, struct lsm_mark *mark)
{
    struct mark_state next;
    enum status status = mark_decode(checkpoint, &next);

    *mark = *checkpoint;
    if (status != STATUS_OK)
        return status;
    if (mark_is_rewinding(&next) || mark_is_adopting(&next) || checkpoint->index >= index ||
        checkpoint->index < next.rewind_index || next.version == 0 ||
        next.version > rewind->version || epoch_compare(mark_epoch(&next), rewind->from) > 0)
        return STATUS_INVALID_ARGUMENT;
    next.rewind_index = index;
    next.rewind_epoch = rewind->from;
    next.rewind_version = rewind->version;
    next.tail_epoch = rewind->from;
    next.tail_version = rewind->version;
    mark_encode(&next, checkpoint->index, checkpoint->term, mark);
    return STATUS_OK;
}

enum status state_mark_look(const struct lsm_mark *mark, struct state_mark_facts *facts)
{
    struct mark_state state;
    enum status status = mark_decode(mark, &state);

    *facts = (struct state_mark_facts){0};
    if (status != STATUS_OK)
        return status;
    *facts = (struct state_mark_facts){.epoch = mark_epoch(&state),
                                       .version = state.version,
                                       .rewind_index = state.rewind_index,
                                       .is_rewinding = mark_is_rewinding(&state),
                                       .is_adopting = mark_is_adopting(&state),
                                       .cluster_version = state.cluster_version};
    return STATUS_OK;
}
