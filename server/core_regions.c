/* SPDX-License-Identifier: Apache-2.0 */
/* What administrators ask of regions: who they are, and which of them is the primary. Changes of
 * the list are core_region_change.c's.
 *
 * A switchover, at the primary's leader:
 *
 *     DRAINING   commits wait; the standby catches up     -> GRANTING, or undone
 *     GRANTING   the grant is in the log: no way back     -> applied
 *
 * The grant goes to the standby as any entry does, and makes it the primary when it is applied
 * there. Until it is proposed all can be undone, and is, where time runs out.
 *
 * A promotion, at the leader of a standby:
 *
 *     STOPPING   nothing is pulled any more; what was proposed is applied;
 *                unless it is forced, the witness's grant is waited for       -> PROMOTING
 *     PROMOTING  the new epoch's first entry, with its signed record, is in the log -> applied
 *
 * One of each at a time. Where the leadership is lost on the way, the outcome shows in the epoch,
 * and the same request, asked again, finds it. */
#include <inttypes.h>
#include <stdio.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "proto/base/planted.h"
#include "server/core_internal.h"
#include "server/net/request.h"

enum {
    retry_change_ms = 200,
    switchover_default_ms = 5000,
    switchover_max_ms = 60000,
    heard_within_ms = 3000,     /* a standby that is to take over */
    answered_within_ms = 10000, /* a primary that still answers is not given up */
    witness_within_ms = 3000,   /* it grants a promotion, or that is refused */
};

#define NS_PER_MS 1000000ULL

static const char automatic[] = "automatic"; /* who promotes, where nobody asks for it */

/* ---- The list ---- */

/* The messages of a list, in the request's arena. */
struct listing {
    Strait__RegionListReply reply;
    Strait__Position position;
    Strait__Region *pointers[limit_regions_count];
    Strait__Region regions[limit_regions_count];
    char *endpoints[limit_regions_count][limit_region_endpoints_count];
    struct receiver_facts receiver;
};

static uint64_t ago_ms(const struct core *core, uint64_t then_ns)
{
    uint64_t now = io_boot_ns(core->options.io);
    return now > then_ns ? (now - then_ns) / NS_PER_MS : 0;
}

/* As the primary's leader sees another. */
static void fill_facts(struct core *core, Strait__Region *message)
{
    struct snapshot_sender_facts sent;
    struct source_region facts;
    if (message->self || !core_is_primary(core) || !core_leads(core) ||
        !source_region_find(core->ship.source, message->id, &facts) || !facts.heard)
        return;
    message->heard = true;
    message->heard_ago_ms = ago_ms(core, facts.heard_ns);
    message->version = facts.acknowledged.version;
    message->lag_versions = facts.lag_versions;
    message->lag_bytes = facts.lag_size;
    message->lag_ms = facts.lag_ms;
    message->ready = facts.ready;
    message->snapshot = facts.snapshot;
    message->checkpoint = core_catchup_sent(core, message->id, &sent);
    message->checkpoint_bytes = sent.written_size;
    message->checkpoint_bytes_total = sent.total_size;
}

/* The list itself is the state's, and stays while the reply is made. */
static void fill_region(struct core *core, struct listing *listing, unsigned number)
{
    const struct region *region = &state_regions(core->state)->regions[number];
    const struct region *primary = core_primary(core);
    Strait__Region *message = &listing->regions[number];

    strait__region__init(message);
    listing->pointers[number] = message;
    message->id = region->id;
    message->name = (char *)(uintptr_t)region->name;
    for (unsigned i = 0; i < region->endpoints_count; i++)
        listing->endpoints[number][i] = (char *)(uintptr_t)region->endpoints[i];
    message->endpoints = listing->endpoints[number];
    message->n_endpoints = region->endpoints_count;
    message->primary = primary != NULL && primary->id == region->id;
    message->self = region->id == core->options.region_id;
    const struct region *upstream = regions_find(state_regions(core->state), region->upstream);
    if (upstream != NULL)
        message->upstream = (char *)(uintptr_t)upstream->name;
    message->guard = (Strait__Region__Guard)region->guard.action;
    message->lag_bytes_max = region->guard.lag_bytes_max;
    message->lag_ms_max = region->guard.lag_ms_max;
    fill_facts(core, message);
}

/* As a standby's leader sees itself. */
static void fill_standby(struct core *core, struct listing *listing)
{
    Strait__RegionListReply *reply = &listing->reply;
    if (core->ship.receiver == NULL || core_is_primary(core) || !core_leads(core))
        return;
    listing->receiver = receiver_facts(core->ship.receiver);
    uint64_t age_ns = receiver_age_ns(core->ship.receiver);
    if (listing->receiver.connected)
        reply->source = listing->receiver.endpoint;
    if (listing->receiver.source_known) {
        reply->source_known = true;
        reply->source_version = listing->receiver.source.version;
        reply->answered_ago_ms = ago_ms(core, listing->receiver.answered_ns);
        reply->lag_versions = listing->receiver.lag_versions;
    }
    reply->age_known = age_ns != UINT64_MAX;
    reply->age_ms = reply->age_known ? age_ns / NS_PER_MS : 0;
    reply->trouble = (char *)(uintptr_t)core_ship_trouble_text(core);
    reply->checkpoint = core_catchup_fetches(core) || core_is_adopting(core);
    if (!reply->checkpoint)
        return;
    struct snapshot_receiver_facts checkpoint = core_catchup_facts(core);
    reply->checkpoint_bytes = checkpoint.written_size;
    reply->checkpoint_bytes_total = checkpoint.total_size;
}

Strait__RegionListReply *core_regions_list(struct core *core, struct arena *arena)
{
    struct listing *listing = arena_alloc_zeroed(arena, 1, sizeof *listing);
    const struct regions *regions = state_regions(core->state);
    struct state_position position = state_facts(core->state).position;
    struct epoch fence = state_fence(core->state);

    if (listing == NULL)
        return NULL;
    Strait__RegionListReply *reply = &listing->reply;
    strait__region_list_reply__init(reply);
    for (unsigned i = 0; i < regions->count; i++)
        fill_region(core, listing, i);
    reply->regions = listing->pointers;
    reply->n_regions = regions->count;
    reply->list_version = regions->version;
    strait__position__init(&listing->position);
    listing->position.epoch_number = position.epoch_number;
    listing->position.epoch_region = position.epoch_region;
    listing->position.version = position.version;
    listing->position.log_time_ns = position.log_time_ns;
    reply->position = &listing->position;
    reply->region_id = core->options.region_id;
    if (epoch_compare(core->ship.higher, fence) > 0)
        fence = core->ship.higher;
    reply->fenced = fence.number != 0;
    reply->fence_number = fence.number;
    reply->fence_region = fence.region;
    reply->unconfirmed_count = core->remote.waiting_count;
    reply->rewinding = core_rewind_is_possible(core) || core_surrender_is_active(core) ||
                       state_is_surrendered(core->state);
    reply->lease = core_lease_message(core, arena);
    fill_standby(core, listing);
    return reply;
}

static void list(struct core *core, struct request *request)
{
    if (!REQUEST_MESSAGE(request, RegionList)->any && !core_leads(core)) {
        core_refuse_not_leader(core, request, NULL);
        return;
    }
    Strait__RegionListReply *reply = core_regions_list(core, &request->arena);
    if (reply == NULL)
        core_refuse(core, request, STATUS_NO_MEMORY, 0, "No memory for the regions.");
    else
        core_reply(core, request, &reply->base);
}

/* ---- Switchover ---- */

bool core_regions_check_primary(struct core *core, struct request *request)
{
    if (!core_leads(core))
        core_refuse_not_leader(core, request, NULL);
    else if (!core_is_primary(core))
        core_refuse_not_primary(core, request);
    else
        return true;
    return false;
}

bool core_is_draining(const struct core *core)
{
    return core->ship.switchover.step != SWITCHOVER_NONE;
}

static void on_switchover_time(struct io_timer *timer)
{
    struct core *core = timer->context;
    core->ship.switchover.timed_out = true;
}

static void switchover_answer(struct core *core, struct request *request, bool was_before,
                              uint64_t paused_ms)
{
    Strait__RegionSwitchoverReply reply = STRAIT__REGION_SWITCHOVER_REPLY__INIT;
    struct state_position position = state_facts(core->state).position;
    reply.position = state_position_message(&position, &request->arena);
    reply.paused_ms = paused_ms;
    reply.was_primary_before = was_before;
    core_reply(core, request, &reply.base);
}

/* Commits go on, here or, told so, where the primary is. */
static void switchover_end(struct core *core)
{
    io_timer_stop(core->options.io, &core->ship.switchover.timer);
    core->ship.switchover = (struct core_switchover){0};
    core_admit_delayed(core);
}

static void switchover_undo(struct core *core, enum status status, const char *text)
{
    struct request *request = core->ship.switchover.request;
    log_warn("switchover_undone", LOG_TEXT("text", text));
    switchover_end(core);
    core_refuse(core, request, status, 0, "%s", text);
}

static void switchover(struct core *core, struct request *request)
{
    const Strait__RegionSwitchover *wanted = REQUEST_MESSAGE(request, RegionSwitchover);
    struct core_switchover *switchover = &core->ship.switchover;
    const struct region *to = regions_find_name(state_regions(core->state), wanted->to);
    struct source_region facts;

    if (to != NULL && core_primary(core) == to) {
        switchover_answer(core, request, true, 0);
        return;
    }
    if (!core_regions_check_primary(core, request))
        return;
    if (to == NULL) {
        core_refuse(core, request, STATUS_NOT_FOUND, 0,
                    "There is no region %.64s: `strait region list` names them.", wanted->to);
    } else if (core_regions_are_changing(core) || !replicated_log_has_position(core->log)) {
        core_refuse(core, request, STATUS_BUSY, retry_change_ms,
                    "Another change of regions is under way, or the leader's term has just begun: "
                    "try again in %d ms.",
                    retry_change_ms);
    } else if (!source_region_find(core->ship.source, to->id, &facts) || !facts.heard ||
               ago_ms(core, facts.heard_ns) > heard_within_ms) {
        core_refuse(core, request, STATUS_CONDITION_FAILED, 0,
                    "%s was not heard within the last %d s: it cannot take over. Nothing was "
                    "changed.",
                    to->name, heard_within_ms / 1000);
    } else if (!facts.ready) {
        core_refuse(core, request, STATUS_CONDITION_FAILED, 0,
                    "%s says that it is not ready to take over. Nothing was changed.", to->name);
    } else {
        uint32_t timeout_ms = wanted->timeout_ms == 0 ? switchover_default_ms : wanted->timeout_ms;
        if (timeout_ms > switchover_max_ms)
            timeout_ms = switchover_max_ms;
        uint64_t now = io_boot_ns(core->options.io);
        *switchover = (struct core_switchover){
            .step = SWITCHOVER_DRAINING,
            .request = request,
            .to = to->id,
            .begun_ns = now,
            .timer = {.fired = on_switchover_time, .context = core},
        };
        io_timer_start(core->options.io, &switchover->timer, now + timeout_ms * NS_PER_MS);
        log_warn("switchover", LOG_TEXT("to", to->name),
                 LOG_TEXT("by", request->session->identity));
    }
}

static bool is_caught_up(struct core *core)
{
    struct source_region facts;
    struct region_position position = core_region_position(core);
    if (PLANTED(region_granted_early))
        return replicated_log_inflight_count(core->log) == 0 && !core->ticking;
    return replicated_log_inflight_count(core->log) == 0 && !core->ticking &&
           source_region_find(core->ship.source, core->ship.switchover.to, &facts) && facts.heard &&
           facts.ready && epoch_equal(facts.acknowledged.epoch, position.epoch) &&
           facts.acknowledged.version == position.version;
}

static void grant(struct core *core)
{
    struct core_switchover *switchover = &core->ship.switchover;
    struct state_refusal refusal = {0};
    struct epoch_change change;
    uint8_t body[epoch_change_size_max];

    state_epoch_next(core->state, EPOCH_GRANT, switchover->to, &change);
    enum status status = state_epoch_check(core->state, &change, &refusal);
    if (status != STATUS_OK) {
        switchover_undo(core, status, refusal.text);
        return;
    }
    epoch_change_encode(&change, body);
    const struct log_proposal proposal = {.kind = ENTRY_EPOCH,
                                          .identity =
                                              bytes_of_text(switchover->request->session->identity),
                                          .body = bytes_of(body, epoch_change_size(&change)),
                                          .context = switchover};
    /* BUSY or without space: tried again until time runs out. */
    if (replicated_log_propose(core->log, &proposal) != STATUS_OK)
        return;
    switchover->step = SWITCHOVER_GRANTING;
    replicated_log_position_clear(core->log);
}

static void switchover_turn(struct core *core)
{
    struct core_switchover *switchover = &core->ship.switchover;
    if (switchover->step != SWITCHOVER_DRAINING)
        return;
    if (!core_leads(core) || !core_is_primary(core))
        switchover_undo(core, STATUS_NOT_LEADER,
                        "This server lost the leadership meanwhile: nothing was changed; ask the "
                        "new leader.");
    else if (switchover->timed_out)
        switchover_undo(core, STATUS_CONDITION_FAILED,
                        "The standby did not catch up in time: this region goes on as the primary, "
                        "and nothing was changed. See its lag in `strait region list`.");
    else if (is_caught_up(core))
        grant(core);
}

static void switchover_ended(struct core *core, const struct state_result *result)
{
    struct core_switchover switchover = core->ship.switchover;

    switchover_end(core);
    if (result == NULL) {
        core_refuse_dropped(core, switchover.request);
    } else if (!result->versioned || result->status != STATUS_OK) {
        core_refuse(core, switchover.request, result->status, 0, "The grant was refused: %s",
                    result->text);
    } else {
        uint64_t paused_ms = ago_ms(core, switchover.begun_ns);
        log_warn("switchover_done", LOG_U64("region", switchover.to),
                 LOG_U64("paused_ms", paused_ms));
        switchover_answer(core, switchover.request, false, paused_ms);
    }
}

/* ---- Promotion ---- */

static void promote_answer(struct core *core, struct request *request, bool was_before, bool done)
{
    Strait__RegionPromoteReply reply = STRAIT__REGION_PROMOTE_REPLY__INIT;
    struct state_position position = state_facts(core->state).position;

    reply.was_primary_before = was_before;
    reply.done = done;
    reply.position = state_position_message(&position, &request->arena);
    if (core->ship.receiver != NULL && !was_before) {
        struct receiver_facts facts = receiver_facts(core->ship.receiver);
        uint64_t age_ns = receiver_age_ns(core->ship.receiver);
        /* What an upstream says of the primary is no word of the primary's. */
        if (facts.source_known && facts.primary_ns != 0) {
            reply.source_known = true;
            reply.source_version = facts.source.version;
            reply.answered_ago_ms = ago_ms(core, facts.primary_ns);
            reply.lost_versions_min = facts.lag_versions;
        }
        reply.age_known = age_ns != UINT64_MAX;
        reply.age_ms = reply.age_known ? age_ns / NS_PER_MS : 0;
    }
    reply.lease = core_lease_message(core, &request->arena);
    core_reply(core, request, &reply.base);
}

bool core_promotion_is_possible(const struct core *core)
{
    return core->ship.receiver != NULL && core->options.promotion_sign != NULL &&
           core->ship.promotion.step == PROMOTION_NONE && !core_is_rewinding(core) &&
           !core_is_adopting(core) && !state_is_surrendered(core->state) && !core->disk_low &&
           state_facts(core->state).position.version != 0 &&
           regions_find(state_regions(core->state), core->options.region_id) != NULL;
}

static void begin(struct core *core, struct request *request, bool forced)
{
    core->ship.promotion = (struct core_promotion){
        .step = PROMOTION_STOPPING,
        .request = request,
        .forced = forced,
        .until_ns = io_boot_ns(core->options.io) + witness_within_ms * NS_PER_MS,
    };
    core_ship_roles_changed(core);
    log_warn("promotion", LOG_TEXT("by", request != NULL ? request->session->identity : automatic),
             LOG_U64("forced", forced));
}

void core_promotion_begin(struct core *core)
{
    begin(core, NULL, false);
}

static void promote(struct core *core, struct request *request)
{
    const Strait__RegionPromote *wanted = REQUEST_MESSAGE(request, RegionPromote);
    struct core_promotion *promotion = &core->ship.promotion;

    if (!core_leads(core)) {
        core_refuse_not_leader(core, request, NULL);
        return;
    }
    if (core_is_primary(core) && wanted->force && !wanted->explain && !core_lease_is_held(core))
        core_lease_waive(core, state_epoch(core->state), request->session->identity);
    if (core_is_primary(core) || wanted->explain) {
        promote_answer(core, request, core_is_primary(core), false);
        return;
    }
    if (core->ship.receiver == NULL || core->options.promotion_sign == NULL) {
        core_refuse(core, request, STATUS_UNSUPPORTED, 0,
                    "This server's configuration names no other region.");
        return;
    }
    struct receiver_facts facts = receiver_facts(core->ship.receiver);
    if (core_is_rewinding(core)) {
        core_refuse(core, request, STATUS_BUSY, retry_change_ms,
                    "This region goes back to an earlier version now: try again in %d ms.",
                    retry_change_ms);
        return;
    }
    if (core_is_adopting(core)) {
        core_refuse(core, request, STATUS_BUSY, retry_change_ms,
                    "This region takes over the state of a checkpoint now: try again in %d ms.",
                    retry_change_ms);
        return;
    }
    if (promotion->step != PROMOTION_NONE) {
        core_refuse(core, request, STATUS_BUSY, retry_change_ms,
                    "This region is being promoted already.");
    } else if (state_facts(core->state).position.version == 0) {
        core_refuse(core, request, STATUS_CONDITION_FAILED, 0,
                    "Nothing of the primary's data has come here yet: there is nothing to take "
                    "over with.");
    } else if (!wanted->force && facts.source_known && facts.primary_ns != 0 &&
               ago_ms(core, facts.primary_ns) < answered_within_ms) {
        core_refuse(core, request, STATUS_CONDITION_FAILED, 0,
                    "The primary answered %" PRIu64 " ms ago: `strait region switchover`, asked "
                    "there, loses nothing. --force gives up what it has acknowledged and this "
                    "region lacks.",
                    ago_ms(core, facts.primary_ns));
    } else {
        begin(core, request, wanted->force);
    }
}

static void promotion_end(struct core *core)
{
    core->ship.promotion = (struct core_promotion){0};
    core_ship_roles_changed(core);
}

static void promotion_refuse(struct core *core, enum status status, const char *text)
{
    struct request *request = core->ship.promotion.request;
    log_error("promotion_failed", LOG_TEXT("text", text));
    promotion_end(core);
    if (request != NULL)
        core_refuse(core, request, status, 0, "%s", text);
}

static void propose_promotion(struct core *core)
{
    struct core_promotion *promotion = &core->ship.promotion;
    const struct region *self = regions_find(state_regions(core->state), core->options.region_id);
    uint8_t record[limit_promotion_record_size];
    uint8_t body[epoch_change_size_max];
    struct state_refusal refusal = {0};
    struct epoch_change change;
    struct error error = {0};
    size_t size = 0;

    state_epoch_next(core->state, EPOCH_PROMOTE, core->options.region_id, &change);
    enum status status = state_epoch_check(core->state, &change, &refusal);
    if (status != STATUS_OK) {
        promotion_refuse(core, status, refusal.text);
        return;
    }
    ASSERT(self != NULL); /* state_epoch_check() knows of it */
    status =
        core->options.promotion_sign(core->options.context, &change, self, record, &size, &error);
    if (status != STATUS_OK) {
        promotion_refuse(core, status, error.text);
        return;
    }
    change.record = bytes_of(record, size);
    epoch_change_encode(&change, body);
    const struct log_position position = {.epoch_number = change.to.number,
                                          .epoch_region = change.to.region,
                                          .version = change.version};
    const char *by = promotion->request != NULL ? promotion->request->session->identity : automatic;
    const struct log_proposal proposal = {.kind = ENTRY_EPOCH,
                                          .identity = bytes_of_text(by),
                                          .body = bytes_of(body, epoch_change_size(&change)),
                                          .context = promotion};
    replicated_log_position_set(core->log, &position);
    status = replicated_log_propose(core->log, &proposal);
    if (status == STATUS_OK) {
        promotion->step = PROMOTION_PROMOTING;
        if (promotion->forced)
            core_lease_waive(core, change.to, by);
        return;
    }
    replicated_log_position_clear(core->log);
    if (status != STATUS_BUSY)
        promotion_refuse(core, status, "The promotion could not be logged.");
}

static void promotion_wait(struct core *core)
{
    char text[error_text_size];
    if (io_boot_ns(core->options.io) < core->ship.promotion.until_ns)
        return;
    snprintf(text, sizeof text,
             "%s Nothing was changed; --force promotes all the same, and then the old primary may "
             "acknowledge until its own lease is over.",
             core_lease_step_text(core));
    promotion_refuse(core, STATUS_CONDITION_FAILED, text);
}

static void promotion_turn(struct core *core)
{
    struct core_promotion *promotion = &core->ship.promotion;
    if (promotion->step != PROMOTION_STOPPING)
        return;
    if (!core_leads(core))
        promotion_refuse(core, STATUS_NOT_LEADER,
                         "This server lost the leadership meanwhile: nothing was changed; ask the "
                         "new leader.");
    else if (!promotion->forced && !core_lease_permits_promotion(core))
        promotion_wait(core);
    else if (replicated_log_inflight_count(core->log) == 0 && replicated_log_may_read(core->log))
        propose_promotion(core); /* all that an earlier leader left is applied */
}

static void promotion_ended(struct core *core, const struct state_result *result)
{
    struct request *request = core->ship.promotion.request;

    if (result != NULL && (!result->versioned || result->status != STATUS_OK)) {
        replicated_log_position_clear(core->log);
        promotion_refuse(core, result->status == STATUS_OK ? STATUS_CONFLICT : result->status,
                         result->text[0] != 0 ? result->text
                                              : "The region's state moved on meanwhile.");
        return;
    }
    promotion_end(core);
    if (request == NULL)
        log_warn("promotion_ended", LOG_U64("done", result != NULL));
    else if (result == NULL)
        core_refuse_dropped(core, request);
    else
        promote_answer(core, request, false, true);
}

/* ---- Turns and ends ---- */

void core_regions_request(struct core *core, struct request *request)
{
    switch (request->type) {
    case FRAME_REGION_LIST:
        list(core, request);
        break;
    case FRAME_REGION_CHANGE:
        core_region_change(core, request);
        break;
    case FRAME_REGION_SWITCHOVER:
        switchover(core, request);
        break;
    case FRAME_REGION_PROMOTE:
        promote(core, request);
        break;
    default:
        UNREACHABLE();
    }
}

void core_regions_turn(struct core *core)
{
    core_region_change_turn(core);
    switchover_turn(core);
    promotion_turn(core);
}

bool core_regions_ended(struct core *core, const void *context, const struct state_result *result)
{
    struct core_ship *ship = &core->ship;
    bool is_ours =
        context == &ship->change || context == &ship->switchover || context == &ship->promotion;
    if (core_lost_ended(core, context, result))
        return true;
    if (!is_ours || core->answers_none)
        return is_ours;
    if (context == &ship->change)
        core_region_change_ended(core, result);
    else if (context == &ship->switchover)
        switchover_ended(core, result);
    else
        promotion_ended(core, result);
    return true;
}

void core_regions_refuse(struct core *core)
{
    struct core_ship *ship = &core->ship;
    static const char text[] = "This server stopped before the outcome was known.";

    if (ship->change != NULL)
        core_refuse(core, ship->change, STATUS_OUTCOME_UNKNOWN, 0, text);
    if (ship->removal.request != NULL)
        core_refuse(core, ship->removal.request, STATUS_OUTCOME_UNKNOWN, 0, text);
    if (ship->switchover.request != NULL)
        core_refuse(core, ship->switchover.request, STATUS_OUTCOME_UNKNOWN, 0, text);
    if (ship->promotion.request != NULL)
        core_refuse(core, ship->promotion.request, STATUS_OUTCOME_UNKNOWN, 0, text);
    core_lost_refuse(core);
    io_timer_stop(core->options.io, &ship->switchover.timer);
    ship->change = NULL;
    ship->removal = (struct core_removal){0};
    ship->switchover = (struct core_switchover){0};
    ship->promotion = (struct core_promotion){0};
}
