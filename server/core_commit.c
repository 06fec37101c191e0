/* SPDX-License-Identifier: Apache-2.0 */
/* Commits: admission, the log, apply, and the reply; and the ticks that the core itself proposes.
 */
#include <inttypes.h>
#include <stdio.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "server/core_internal.h"
#include "server/net/request.h"

#define NS_PER_US 1000ULL

enum { retry_pressure_ms = 100, retry_inflight_ms = 20, retry_quota_ms = 5000, tick_body_size = 8 };

/* ---- Admission ---- */

static bool only_deletes(const Strait__Commit *commit)
{
    for (size_t i = 0; i < commit->n_operations; i++) {
        Strait__Operation__KindCase kind = commit->operations[i]->kind_case;
        if (kind != STRAIT__OPERATION__KIND_DELETE && kind != STRAIT__OPERATION__KIND_TABLE_DROP &&
            kind != STRAIT__OPERATION__KIND_INDEX_DROP)
            return false;
    }
    return true;
}

static void propose(struct core *core, struct request *request)
{
    const struct log_proposal proposal = {
        .kind = ENTRY_COMMIT,
        .identity = bytes_of_text(request->session->identity),
        .body = request->body,
        .context = request,
    };
    enum status status = replicated_log_propose(core->log, &proposal);
    switch (status) {
    case STATUS_OK:
        core->commits_count++;
        list_init(&request->link);
        list_push_last(&core->logged, &request->link);
        break;
    case STATUS_BUSY:
        core_refuse(core, request, status, retry_inflight_ms,
                    "Too many commits are under way: try again in %d ms.", retry_inflight_ms);
        break;
    case STATUS_DISK_FULL:
        core->log_full = true;
        core_refuse(core, request, status, retry_quota_ms,
                    "The disk that holds %s is full: free space there.", core->options.directory);
        break;
    default:
        core_refuse(core, request, status, 0, "The commit could not be logged: %s.",
                    status_text(status));
    }
}

/* After a commit of `size` bytes. By the square: hardly felt where the tables begin to lag, and
 * what a slow device takes where they are about to stop the writers. By the size: it is bytes that
 * the tables lag behind by, and many small commits bring no more of these than a few large ones. */
static uint64_t delay_ns(unsigned pressure, size_t size)
{
    return (uint64_t)pressure * pressure * (size + core_delay_overhead_size) / core_delay_bytes;
}

static void await_admission(struct core *core, uint64_t now)
{
    uint64_t soonest = now + core_delay_step_us * NS_PER_US;
    io_timer_start(core->options.io, &core->admit_timer,
                   core->admit_ns > soonest ? core->admit_ns : soonest);
}

/* Gradual write delay: under pressure commits go one after the other, the farther apart the more
 * the tables lag behind; at 100 none is taken. */
static void admit(struct core *core, struct request *request)
{
    unsigned pressure = lsm_pressure(core->lsm);

    if (pressure >= 100) {
        core_refuse(core, request, STATUS_BUSY, retry_pressure_ms,
                    "Compaction is behind: try again in %d ms.", retry_pressure_ms);
        return;
    }
    if (pressure == 0 && list_is_empty(&core->delayed)) {
        propose(core, request);
        return;
    }
    /* core_admit_delayed() follows in this turn. */
    list_init(&request->link);
    list_push_last(&core->delayed, &request->link);
}

void core_admit_delayed(struct core *core)
{
    if (list_is_empty(&core->delayed))
        return;
    uint64_t now = io_boot_ns(core->options.io);
    uint64_t burst_ns = core_delay_burst_us * NS_PER_US;
    uint64_t earliest = now > burst_ns ? now - burst_ns : 0;
    unsigned pressure = lsm_pressure(core->lsm);

    if (core->admit_ns < earliest)
        core->admit_ns = earliest;
    while (!list_is_empty(&core->delayed) && (pressure == 0 || core->admit_ns <= now)) {
        struct list_link *link = list_pop_first(&core->delayed);
        struct request *request = LIST_ENTRY(link, struct request, link);
        core->admit_ns += delay_ns(pressure, request->body.size);
        propose(core, request);
    }
    if (!list_is_empty(&core->delayed))
        await_admission(core, now);
}

static void refuse_checked(struct core *core, struct request *request, enum status status,
                           const struct state_refusal *refusal)
{
    Strait__Refusal message = STRAIT__REFUSAL__INIT;
    message.text = (char *)(uintptr_t)refusal->text;
    message.item = refusal->item;
    message.item_is_condition = refusal->item_is_condition;
    core->requests_count--;
    core->refused_count++;
    request_refuse_with(request, status, &message);
}

void core_commit(struct core *core, struct request *request)
{
    const Strait__Commit *commit = REQUEST_MESSAGE(request, Commit);
    struct state_precheck precheck;
    struct state_refusal refusal = {0};

    enum status status = state_precheck(commit, &precheck, &refusal);
    if (status != STATUS_OK) {
        refuse_checked(core, request, status, &refusal);
        return;
    }
    /* Done in this region alone, it would be acknowledged as what it is not. */
    if (commit->durability == STRAIT__DURABILITY__REMOTE) {
        core_refuse(core, request, STATUS_UNSUPPORTED, 0,
                    "There is no standby region that could commit this: ask for the durability of "
                    "this region.");
        return;
    }
    if (core->disk_low && !only_deletes(commit)) {
        core_refuse(core, request, STATUS_DISK_FULL, retry_quota_ms,
                    "The disk that holds %s has %" PRIu64 " MiB left, below its reserve of %" PRIu64
                    " MiB: only deletes are taken. Free space there, or delete records.",
                    core->options.directory, core->space.free_size >> 20,
                    core->options.disk_reserve_size >> 20);
        return;
    }
    if (state_outcomes_size(core->state) > core->options.outcomes_size_max) {
        core_refuse(core, request, STATUS_BUSY, retry_quota_ms,
                    "The outcomes of recent transactions fill their quota of %" PRIu64
                    " MiB: raise it (limits.outcomes_size), or wait until the oldest are let go.",
                    core->options.outcomes_size_max >> 20);
        return;
    }
    admit(core, request);
}

/* ---- Apply ---- */

static void answer(struct core *core, struct request *request, const struct state_result *result)
{
    Strait__Position position = STRAIT__POSITION__INIT;
    struct state_facts facts = state_facts(core->state);

    position.epoch_number = facts.position.epoch_number;
    position.epoch_region = facts.position.epoch_region;
    position.version = result->version;
    position.log_time_ns = result->log_time_ns;
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
    core->requests_count--;
    core->refused_count++;
    request_refuse_with(request, result->status, &refusal);
}

/* One tick removes a bounded number of records: where it left some that are due, the next follows
 * at once, or under pressure as far apart as commits are. */
static void follow_tick(struct core *core)
{
    uint64_t pause_ns = delay_ns(lsm_pressure(core->lsm), core_delay_tick_size);

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
    struct request *request = core->applying.context;

    bool was_tick = core->applying.entry.kind == ENTRY_TICK;
    replicated_log_applied(core->log, core->applying.index);
    core->applying = (struct log_committed){0};
    if (request != NULL) {
        list_remove(&request->link);
        answer(core, request, result);
    }
    if (was_tick) {
        core->ticking = false;
        follow_tick(core);
    }
}

void core_apply(struct core *core)
{
    struct state_result result;

    while (!core->failed && !core->apply_waits_room) {
        if (!state_apply_is_active(core->state)) {
            if (!replicated_log_take(core->log, &core->applying))
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
        } else {
            core_fail(core, status, "Entry %" PRIu64 " of the log could not be applied: %s.",
                      core->applying.index, status_text(status));
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

static void refuse_unknown(struct core *core, struct list_link *list)
{
    struct list_link *link;
    while ((link = list_pop_first(list)) != NULL)
        core_refuse(core, LIST_ENTRY(link, struct request, link), STATUS_OUTCOME_UNKNOWN, 0,
                    "This server stopped before the outcome was known.");
}

void core_commits_refuse(struct core *core)
{
    refuse_unknown(core, &core->delayed);
    refuse_unknown(core, &core->logged);
}

/* ---- Ticks ---- */

/* Proposes a tick where something is due, or where the horizon can hide more. One at a time. */
void core_tick(struct core *core)
{
    uint8_t body[tick_body_size];
    struct state_facts facts = state_facts(core->state);

    if (core->ticking || core->failed)
        return;
    uint32_t expired = snapshots_expire(&core->snapshots, io_boot_ns(core->options.io));
    if (expired != 0)
        log_info("snapshots_expired", LOG_U64("count", expired));
    uint64_t horizon = snapshots_oldest(&core->snapshots, facts.position.version);
    bool hides_more = horizon > facts.horizon && facts.horizon < facts.written_version;
    if (!hides_more && !state_tick_due(core->state, replicated_log_time_ns(core->log)))
        return;
    store_u64(body, horizon > facts.horizon ? horizon : facts.horizon);
    const struct log_proposal proposal = {.kind = ENTRY_TICK, .body = bytes_of(body, sizeof body)};
    enum status status = replicated_log_propose(core->log, &proposal);
    if (status == STATUS_OK)
        core->ticking = true;
    else
        log_warn("tick_not_logged", LOG_TEXT("reason", status_text(status)));
}
