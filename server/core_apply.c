/* SPDX-License-Identifier: Apache-2.0 */
/* Apply: what the log has committed is taken in its order, applied, and answered where it was
 * proposed here; and the ticks that a leader proposes. */
#include <inttypes.h>
#include <stdio.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "proto/base/planted.h"
#include "server/core_internal.h"
#include "server/net/request.h"

/* ---- Answers ---- */

/* It is in this region's log, and another one was promoted meanwhile: what becomes of it is decided
 * there, so nothing is promised here any more. */
static void refuse_unsure(struct core *core, struct request *request)
{
    core_refuse(core, request, STATUS_OUTCOME_UNKNOWN, 0,
                "Another region was promoted before this was answered: it may be given up. The "
                "same transaction, sent to that region, finds its outcome.");
}

void core_commit_answer(struct core *core, struct request *request,
                        const struct state_result *result)
{
    if (result->versioned && !core_is_primary(core) && !PLANTED(region_late_answer)) {
        refuse_unsure(core, request);
        return;
    }
    if (core_lease_hold(core, request, result))
        return;
    Strait__Position position = STRAIT__POSITION__INIT;
    struct epoch epoch = state_epoch(core->state);

    position.epoch_number = epoch.number;
    position.epoch_region = epoch.region;
    position.version = result->version;
    position.log_time_ns = result->log_time_ns;
    core_note_latency(core, &core->commits_ns, request);
    if (result->status == STATUS_OK && request->context != NULL) {
        core_remote_hold_commit(core, request, &position, result->repeated_reply);
        return;
    }
    if (result->status == STATUS_OK) {
        Strait__CommitReply reply = STRAIT__COMMIT_REPLY__INIT;
        reply.position = &position;
        reply.repeated_reply = result->repeated_reply;
        core_reply(core, request, &reply.base);
        return;
    }
    Strait__Refusal refusal = STRAIT__REFUSAL__INIT;
    refusal.text = (char *)(uintptr_t)result->text;
    refusal.item = result->item;
    refusal.item_is_condition = result->item_is_condition;
    if (result->versioned)
        refusal.position = &position;
    core_refuse_with(core, request, result->status, &refusal);
}

/* One tick removes a bounded number of records: where it left some that are due, the next follows
 * at once, or under pressure as far apart as commits are. */
static void follow_tick(struct core *core)
{
    uint64_t pause_ns = core_delay_ns(lsm_pressure(core->lsm), core_delay_tick_size);

    if (!core->ticks_follow || !state_tick_due(core->state, replicated_log_time_ns(core->log)))
        return;
    if (pause_ns == 0)
        core_tick(core);
    else
        io_timer_start(core->options.io, &core->tick_timer,
                       io_boot_ns(core->options.io) + pause_ns);
}

static void applied(struct core *core, const struct state_result *result)
{
    void *context = core->applying.context;
    enum entry_kind kind = core->applying.entry.kind;

    core->checkpoints.logged_size += entry_size(&core->applying.entry);
    core_ship_applied(core, &core->applying, result);
    replicated_log_applied(core->log, core->applying.index);
    core->applying = (struct log_committed){0};
    if (kind == ENTRY_MEMBERSHIP)
        core_membership_applied(core);
    if (result->versioned)
        core_digests_note(core);
    if (kind == ENTRY_REWIND)
        core_rewind_applied(core, result);
    if (kind == ENTRY_LOST || kind == ENTRY_ADOPT)
        core_surrender_applied(core);
    if (kind == ENTRY_ADOPT)
        core_catchup_applied(core);
    if (result->scrubs)
        core_scrub_applied(core, result);
    if (kind == ENTRY_VERSION)
        core_version_applied(core, result);
    if (context == &core->ticking) {
        core->ticking = false;
        follow_tick(core);
    } else if (core_version_ended(core, context, result)) {
        core_position(core);
    } else if (core_ship_ended(core, context, result)) {
        core_position(core);
    } else if (context != NULL && !core->answers_none) {
        struct request *request = context;
        list_remove(&request->link);
        core_commit_answer(core, request, result);
    }
}

void core_apply(struct core *core)
{
    struct state_result result;

    while (!core->failed && !core->apply_waits_room && !core_is_installing(core) &&
           !core_is_healing(core)) {
        if (!state_apply_is_active(core->state)) {
            if (core_catchup_rests(core))
                return;
            if (!replicated_log_take(core->log, &core->applying))
                return;
            if (core_rewind_begin(core, &core->applying))
                return;
            state_apply_start(core->state, core->applying.index, core->applying.term,
                              &core->applying.entry);
        } else if (!core->apply_ready) {
            return;
        }
        core->apply_ready = false;
        enum status status = state_apply_step(core->state, &result);
        if (status == STATUS_OK) {
            applied(core, &result);
        } else if (status == STATUS_BUSY) {
            core->apply_waits_room = true;
            core->apply_ready = true; /* to be stepped once there is room */
        } else if (status == STATUS_AGAIN) {
            return;
        } else if (status != STATUS_CORRUPT ||
                   !core_damaged(core, 0,
                                 "Entry %" PRIu64 " of the log met a table whose bytes do not "
                                 "hold.",
                                 core->applying.index)) {
            char text[core_failure_size];
            core_fail(core, status, "Entry %" PRIu64 " of the log could not be applied: %s.",
                      core->applying.index, core_failure_text(core, status, text));
        }
    }
}

static bool has_room(struct core *core)
{
    return lsm_pressure(core->lsm) < 100;
}

enum status core_apply_now(struct core *core, uint64_t index, uint64_t term,
                           const struct entry *entry)
{
    struct state_result result;
    struct error error = {0};

    state_apply_start(core->state, index, term, entry);
    for (;;) {
        core->apply_ready = false;
        enum status status = state_apply_step(core->state, &result);
        if (status == STATUS_OK)
            break;
        if (status == STATUS_BUSY) {
            status = core_jobs_run_here(core, has_room, &error);
            if (status != STATUS_OK) {
                log_error("replay_stopped", LOG_TEXT("text", error.text));
                return status;
            }
        } else if (status == STATUS_AGAIN) {
            while (!core->apply_ready)
                io_turn(core->options.io, true);
        } else {
            return status;
        }
    }
    return STATUS_OK;
}

/* ---- Ticks ---- */

/* Proposes a tick where something is due, or where the horizon can hide more. One at a time, and by
 * the leader alone; where one is lost with the leadership, the next leader finds the same due. */
void core_tick(struct core *core)
{
    uint8_t body[state_tick_body_size_max];
    struct state_facts facts = state_facts(core->state);

    if (core->ticking || core->failed || core_is_healing(core))
        return;
    uint32_t expired = snapshots_expire(&core->snapshots, io_boot_ns(core->options.io));
    if (expired != 0)
        log_info("snapshots_expired", LOG_U64("count", expired));
    if (!replicated_log_has_position(core->log) || core_is_draining(core) ||
        !core_ship_may_tick(core))
        return;
    uint64_t horizon = PLANTED(core_snapshots_unheld)
                           ? facts.position.version
                           : snapshots_oldest(&core->snapshots, facts.position.version);
    horizon = core_ship_oldest_snapshot(core, horizon);
    bool hides_more = horizon > facts.horizon && facts.horizon < facts.written_version;
    uint64_t flags = core_scrub_is_due(core) ? STATE_TICK_SCRUB : 0;
    if (!hides_more && flags == 0 && !core->tick_forced &&
        !state_tick_due(core->state, replicated_log_time_ns(core->log)))
        return;
    size_t size = state_tick_encode(horizon > facts.horizon ? horizon : facts.horizon, flags, body);
    const struct log_proposal proposal = {
        .kind = ENTRY_TICK, .body = bytes_of(body, size), .context = &core->ticking};
    enum status status = replicated_log_propose(core->log, &proposal);
    if (status == STATUS_OK)
        core->ticking = true;
    else if (status != STATUS_NOT_LEADER)
        log_warn("tick_not_logged", LOG_TEXT("reason", status_text(status)));
}
