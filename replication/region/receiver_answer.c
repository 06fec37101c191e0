/* SPDX-License-Identifier: Apache-2.0 */
/* What comes from the other region: refusals, and answers, which are checked, held until their turn
 * comes, and say how old our data is. */
#include <stdlib.h>

#include "proto/base/planted.h"
#include "proto/message.h"
#include "replication/region/receiver_internal.h"

/* ---- Age ---- */

static struct sample *sample_at(struct receiver *receiver, unsigned position)
{
    return &receiver->samples[(receiver->samples_first + position) % receiver_samples_max];
}

static void tell_trouble(struct receiver *receiver, enum receiver_trouble trouble,
                         const struct region_position *common, struct bytes promotion)
{
    receiver->options.trouble(receiver->options.context, trouble, common, promotion);
}

static bool chains_differ(const struct region_position *a, const struct region_position *b)
{
    return a->chain_known && b->chain_known &&
           (a->chain.low != b->chain.low || a->chain.high != b->chain.high);
}

void receiver_samples_reached(struct receiver *receiver)
{
    const struct region_position none = {0};
    bool diverged = false;

    while (receiver->samples_count > 0) {
        const struct sample *sample = sample_at(receiver, 0);
        int order = region_position_compare(&receiver->applied, &sample->position);
        if (order < 0 && !PLANTED(region_fresh_unapplied))
            break;
        diverged |= order == 0 && chains_differ(&receiver->applied, &sample->position);
        if (!receiver->fresh || sample->heard_ns > receiver->fresh_ns)
            receiver->fresh_ns = sample->heard_ns;
        receiver->fresh = true;
        receiver->samples_first = (receiver->samples_first + 1) % receiver_samples_max;
        receiver->samples_count--;
    }
    if (diverged) {
        receiver_start_over(receiver);
        tell_trouble(receiver, RECEIVER_DIVERGED, &none, (struct bytes){0});
    }
}

/* Where many wait, the newest are not noted: the age is then told to be greater than it is. */
static void sample_add(struct receiver *receiver, const struct region_position *position,
                       uint64_t heard_ns)
{
    if (heard_ns == 0 || receiver->samples_count == receiver_samples_max)
        return;
    *sample_at(receiver, receiver->samples_count++) =
        (struct sample){.position = *position, .heard_ns = heard_ns};
}

/* ---- Refusals ---- */

/* What was asked is known, and nothing is followed yet. */
static void on_agreed(struct receiver *receiver)
{
    struct region_position agreed = receiver->first;

    receiver_start_over(receiver);
    if (receiver->options.agreed != NULL)
        receiver->options.agreed(receiver->options.context, &agreed);
}

static void on_refused(struct receiver *receiver, enum status status,
                       const Strait__Refusal *refusal)
{
    struct region_position common = {0};
    struct bytes promotion = {0};

    if (refusal != NULL) {
        promotion = bytes_of_field(refusal->promotion);
        if (status == STATUS_HISTORY_LOST && refusal->position != NULL) {
            common.epoch.number = refusal->position->epoch_number;
            common.epoch.region = refusal->position->epoch_region;
            common.version = refusal->position->version;
        }
    }
    receiver->last_refusal = status;
    /* Its log does not reach back to the position, which is one of its history: that comes first.
     */
    if (receiver->asking && status == STATUS_SNAPSHOT_TOO_OLD) {
        on_agreed(receiver);
        return;
    }
    receiver_start_over(receiver);
    if (status == STATUS_HISTORY_LOST)
        tell_trouble(receiver, RECEIVER_HISTORY_LOST, &common, promotion);
    else if (status == STATUS_SNAPSHOT_TOO_OLD)
        tell_trouble(receiver, RECEIVER_RELEASED, &common, promotion);
    else if (status == STATUS_CORRUPT)
        tell_trouble(receiver, RECEIVER_DIVERGED, &common, promotion);
    else if (status == STATUS_NOT_PRIMARY)
        tell_trouble(receiver, RECEIVER_BEHIND, &common, promotion);
}

/* ---- Answers ---- */

/* Whether the answer's own numbers fit; its entries are looked at when their turn comes. */
static bool answer_is_valid(const struct receiver *receiver, const struct slot *slot,
                            const Strait__RegionPullReply *reply, struct answer *answer)
{
    uint64_t now = io_boot_ns(receiver->options.io);

    *answer = (struct answer){.first_version = reply->first_version,
                              .count = reply->count,
                              .raw_size = reply->raw_size,
                              .block = bytes_of_field(reply->entries)};
    /* It can have heard of no time that has not come. */
    if (reply->heard_ns > now)
        return false;
    if (answer->count == 0)
        return answer->raw_size == 0 && answer->block.size == 0 && answer->first_version == 0;
    return slot->sequence != 0 && answer->raw_size <= batch_size_max &&
           (answer->count == 1 || answer->raw_size <= receiver->options.pull_size) &&
           answer->block.size > 0 && answer->block.size <= batch_block_size_max(answer->raw_size);
}

/* Its turn has not come: it is copied. */
static bool hold(struct slot *slot, const struct answer *answer)
{
    slot->answer = *answer;
    slot->state = SLOT_HELD;
    if (answer->block.size == 0)
        return true;
    slot->held = malloc(answer->block.size);
    if (slot->held == NULL)
        return false;
    bytes_copy(slot->held, answer->block);
    slot->answer.block = bytes_of(slot->held, answer->block.size);
    return true;
}

static void on_answer(struct receiver *receiver, struct slot *slot,
                      const Strait__RegionPullReply *reply)
{
    struct region_position position;
    struct answer answer;

    enum status status = region_position_of_message(reply->position, &position);
    if (status != STATUS_OK || !answer_is_valid(receiver, slot, reply, &answer)) {
        slot->state = SLOT_FREE;
        receiver->malformed_count++;
        receiver_start_over(receiver);
        return;
    }
    receiver->source = position;
    receiver->source_known = true;
    receiver->source_ns = receiver->answered_ns;
    if (reply->primary)
        receiver->primary_ns = receiver->answered_ns;
    if (receiver->options.lease_asked != NULL)
        receiver->options.lease_asked(receiver->options.context, reply->lease_holder,
                                      reply->lease_asked_ns, reply->lease_ms);
    if (receiver->asking) {
        slot->state = SLOT_FREE;
        on_agreed(receiver);
        return;
    }
    receiver->received_size += answer.block.size;
    sample_add(receiver, &position, reply->heard_ns);
    if (receiver->options.source_seen != NULL)
        receiver->options.source_seen(receiver->options.context, &position);
    if (slot->sequence == 0) {
        slot->state = SLOT_FREE;
    } else if (!hold(slot, &answer)) {
        slot->state = SLOT_FREE;
        receiver_start_over(receiver);
        return;
    }
    receiver_samples_reached(receiver);
    receiver_pump(receiver);
}

void receiver_on_replied(void *context, void *request, enum status status,
                         const ProtobufCMessage *message)
{
    struct receiver *receiver = context;
    struct slot *slot = request;

    ASSERT(slot->state == SLOT_FLYING);
    if (receiver->state != RECEIVER_PULLING || slot->cursor != receiver->cursor) {
        *slot = (struct slot){0};
        return;
    }
    if (slot->sequence == 0)
        receiver->tells_count--;
    receiver->answered_ns = io_boot_ns(receiver->options.io);
    if (status == STATUS_OK && message != NULL) {
        on_answer(receiver, slot, (const Strait__RegionPullReply *)(const void *)message);
        return;
    }
    *slot = (struct slot){0};
    on_refused(receiver, status, (const Strait__Refusal *)(const void *)message);
}
