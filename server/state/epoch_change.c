/* SPDX-License-Identifier: Apache-2.0 */
/* The command EPOCH: the present epoch ends, and the next one begins with this version.
 *
 * It says which version it follows, and the chain digest there: so what held when it was proposed
 * holds when it is applied, or it is discarded. It is never refused: whoever reads the log knows by
 * the entry alone that the epoch changed with it (proto/stream.h). */
#include "server/state/epoch_change.h"

#include <inttypes.h>
#include <stdio.h>

#include "proto/base/assert.h"
#include "proto/base/planted.h"
#include "server/state/command.h"
#include "server/state/state_internal.h"

static bool chain_equal(struct hash128 a, struct hash128 b)
{
    return a.low == b.low && a.high == b.high;
}

bool epoch_change_is_known(struct bytes body)
{
    struct epoch_change change;
    return epoch_change_decode(body, &change) != STATUS_UNSUPPORTED;
}

enum status epoch_change_accept(struct apply *apply)
{
    const struct mark_state *mark = &apply->next;
    struct epoch_change *change = &apply->epoch.change;
    enum status status = epoch_change_decode(apply->entry.body, change);

    ASSERT(status == STATUS_OK && change->version == mark->version);
    apply->epoch.end = (struct epoch_end){.epoch = change->from,
                                          .kind = change->kind,
                                          .version = mark->version,
                                          .chain = mark->chain,
                                          .log_time_ns = mark->log_time_ns,
                                          .next = change->to};
    if (PLANTED(region_end_short))
        apply->epoch.end.version--;
    if (chain_equal(change->chain, mark->chain))
        return STATUS_OK;
    (void)snprintf(apply->result.text, sizeof apply->result.text,
                   "Epoch (%" PRIu64 ", %" PRIu32 ") follows another version %" PRIu64
                   " than the one here: the histories of the two regions differ. Make this region "
                   "anew from the other's checkpoint.",
                   change->to.number, change->to.region, change->version);
    return STATUS_HISTORY_LOST;
}

static enum status epoch_change_plan(struct apply *apply)
{
    (void)apply;
    return STATUS_OK;
}

static enum status epoch_change_gather(struct apply *apply)
{
    (void)apply;
    return STATUS_OK;
}

static void write_end(struct apply *apply)
{
    const struct epoch_end *end = &apply->epoch.end;
    uint8_t key[epochs_end_key_size];
    uint8_t value[epochs_end_value_size];
    struct bytes key_copy;
    struct bytes value_copy;

    epochs_end_key(end->epoch, key);
    epochs_end_encode(end, value);
    if (overlay_copy(&apply->overlay, bytes_of(key, sizeof key), &key_copy) &&
        overlay_copy(&apply->overlay, bytes_of(value, sizeof value), &value_copy))
        overlay_write(&apply->overlay, STATE_TREE_META, key_copy, value_copy);
}

static void write_forgotten(struct apply *apply)
{
    const struct epoch_end *oldest = epochs_oldest_of_full(&apply->state->epochs);
    uint8_t key[epochs_end_key_size];
    struct bytes copy;

    if (oldest == NULL)
        return;
    epochs_end_key(oldest->epoch, key);
    if (overlay_copy(&apply->overlay, bytes_of(key, sizeof key), &copy))
        overlay_write_deletion(&apply->overlay, STATE_TREE_META, copy);
}

static enum status epoch_change_execute(struct apply *apply)
{
    write_end(apply);
    write_forgotten(apply);
    overlay_write(&apply->overlay, STATE_TREE_META, bytes_of_text("P"), apply->entry.body);
    mark_epoch_set(&apply->next, apply->epoch.change.to);
    return apply->overlay.failure;
}

static void epoch_change_published(struct apply *apply)
{
    epochs_add(&apply->state->epochs, &apply->epoch.end, &apply->epoch.change);
    apply->state->written_version = apply->next.version;
}

/* ---- Before proposing ---- */

void state_epoch_next(const struct state *state, enum epoch_change_kind kind, uint32_t region,
                      struct epoch_change *change)
{
    const struct mark_state *mark = &state->mark;
    uint64_t number = mark->epoch_number;

    if (kind == EPOCH_PROMOTE && mark->fence_number > number)
        number = mark->fence_number;
    *change = (struct epoch_change){
        .kind = kind,
        .from = mark_epoch(mark),
        .to = {.number = number + (kind == EPOCH_GRANT || PLANTED(region_number_reused) ? 1 : 2),
               .region = region},
        .version = mark->version,
        .chain = mark->chain,
        .log_time_ns = mark->log_time_ns};
}

/* The sentence of a refusal about the epoch that is asked for. */
static enum status refuse_change(struct state_refusal *refusal, enum status status,
                                 const struct epoch_change *change, const char *why)
{
    (void)snprintf(refusal->text, sizeof refusal->text,
                   "Region %" PRIu32 " cannot become the primary with epoch (%" PRIu64 ", %" PRIu32
                   "): %s",
                   change->to.region, change->to.number, change->to.region, why);
    return status;
}

enum status state_epoch_check(const struct state *state, const struct epoch_change *change,
                              struct state_refusal *refusal)
{
    const struct mark_state *mark = &state->mark;

    *refusal = (struct state_refusal){0};
    if (regions_find(&state->regions, change->to.region) == NULL)
        return refuse_change(refusal, STATUS_NOT_FOUND, change,
                             "it is not in the list of regions. Add it first: strait region add.");
    if (change->kind == EPOCH_GRANT && change->to.region == mark->epoch_region)
        return refuse_change(refusal, STATUS_INVALID_ARGUMENT, change,
                             "it is the primary already.");
    if (epoch_compare(change->to, mark_epoch(mark)) <= 0 ||
        (mark->fence_number != 0 && epoch_compare(change->to, mark_fence(mark)) <= 0))
        return refuse_change(refusal, STATUS_NOT_PRIMARY, change,
                             "that epoch is over, or a higher one is known. Ask again.");
    if (change->kind == EPOCH_GRANT && state_is_fenced(state, mark->epoch_region))
        return refuse_change(refusal, STATUS_NOT_PRIMARY, change,
                             "another region has been promoted, and this one is the primary no "
                             "longer: it has nothing to hand over.");
    if (!epoch_equal(change->from, mark_epoch(mark)) || change->version != mark->version ||
        !chain_equal(change->chain, mark->chain))
        return refuse_change(refusal, STATUS_CONFLICT, change,
                             "the state has moved on meanwhile. Ask again.");
    return STATUS_OK;
}

const struct command command_epoch = {
    .kind = ENTRY_EPOCH,
    .name = "epoch",
    .versioned = true,
    .depth = 0,
    .plan = epoch_change_plan,
    .gather = epoch_change_gather,
    .execute = epoch_change_execute,
    .published = epoch_change_published,
};
