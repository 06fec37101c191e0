/* SPDX-License-Identifier: Apache-2.0 */
/* Promotions that clients tell of. A client carries the record of the newest promotion that a
 * server told it of, and shows it to each server that it connects to: so a primary that is cut off
 * from the region which has taken over learns of that from whoever comes from there, and stops.
 *
 * A client is not believed, only the signature. What looking at one costs is bounded: a connection
 * has one Hello, and its handshake costs more; a claim of no higher epoch than is known is not
 * looked at; and what was looked at in vain is remembered, if it is valid for good, else for a
 * while, for a certificate that is not known yet may be soon. */
#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "proto/message.h"
#include "server/core_internal.h"

enum {
    bad_ms = 10000, /* until a bad record is looked at again */
    tell_ms = 10000,
};

#define NS_PER_MS 1000000ULL

struct epoch core_claim_known(const struct core *core, struct bytes *record)
{
    const struct core_ship *ship = &core->ship;
    const struct epoch_change *change = state_epoch_change(core->state);

    *record = (struct bytes){0};
    if (ship->higher.number != 0) {
        *record = bytes_of(ship->record, ship->record_size);
        return ship->higher;
    }
    if (change == NULL || change->record.size == 0)
        return (struct epoch){0};
    *record = change->record;
    return change->to;
}

Strait__Promotion *core_claim_message(const struct core *core, struct arena *arena)
{
    struct bytes record;
    struct epoch epoch = core_claim_known(core, &record);
    Strait__Promotion *message = NULL;

    if (epoch.number != 0)
        message = arena_alloc_zeroed(arena, 1, sizeof *message);
    if (message == NULL)
        return NULL;
    strait__promotion__init(message);
    message->epoch_number = epoch.number;
    message->epoch_region = epoch.region;
    message->record = field_of_bytes(record);
    return message;
}

void core_claim_take(struct core *core, const Strait__Promotion *claim)
{
    if (claim == NULL || claim->record.len == 0)
        return;
    const struct epoch claimed = {.number = claim->epoch_number, .region = claim->epoch_region};
    if (epoch_compare(claimed, state_epoch(core->state)) > 0 &&
        epoch_compare(claimed, state_fence(core->state)) > 0 &&
        epoch_compare(claimed, core->ship.higher) > 0)
        core_promotion_seen(core, bytes_of(claim->record.data, claim->record.len));
}

/* ---- What was looked at ---- */

bool core_claim_is_judged(struct core *core, struct bytes record)
{
    const struct core_claims *claims = &core->ship.claims;
    uint64_t now = io_boot_ns(core->options.io);

    for (unsigned i = 0; i < core_claims_max; i++) {
        if (claims->judged[i].until_ns > now &&
            bytes_equal(bytes_of(claims->judged[i].record, claims->judged[i].size), record))
            return true;
    }
    return false;
}

static void remember(struct core *core, struct bytes record, uint64_t until_ns)
{
    struct core_claims *claims = &core->ship.claims;

    ASSERT(record.size <= sizeof claims->judged[0].record);
    bytes_copy(claims->judged[claims->next].record, record);
    claims->judged[claims->next].size = record.size;
    claims->judged[claims->next].until_ns = until_ns;
    claims->next = (claims->next + 1) % core_claims_max;
}

void core_claim_is_old(struct core *core, struct bytes record)
{
    remember(core, record, UINT64_MAX);
}

void core_claim_is_bad(struct core *core, struct bytes record, const char *why)
{
    struct core_claims *claims = &core->ship.claims;
    uint64_t now = io_boot_ns(core->options.io);

    remember(core, record, now + bad_ms * NS_PER_MS);
    if (claims->told_ns != 0 && now < claims->told_ns + tell_ms * NS_PER_MS) {
        claims->untold_count++;
        return;
    }
    log_warn("promotion_not_valid", LOG_TEXT("text", why),
             LOG_U64("others_since", claims->untold_count));
    claims->told_ns = now;
    claims->untold_count = 0;
}
