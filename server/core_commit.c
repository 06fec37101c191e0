/* SPDX-License-Identifier: Apache-2.0 */
/* Commits until they are in the log: admission, validation of what was read, and the gradual delay
 * under pressure.
 *
 *     taken -> validating <-> validatable -> delayed -> logged -> applied    (core_apply.c)
 *                                                              -> dropped    (core_region.c)
 *
 * Each state is a list of the core's, and may be passed over. */
#include <inttypes.h>
#include <stdio.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "server/core_internal.h"
#include "server/net/request.h"

#define NS_PER_US 1000ULL

enum {
    retry_pressure_ms = 100,
    retry_inflight_ms = 20,
    retry_quota_ms = 5000,
    retry_guard_ms = 1000
};

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

/* Where blocks had to be read lately, those of this commit are asked for while it is replicated. */
static void prefetch(struct core *core, const struct request *request)
{
    const struct entry entry = {.kind = ENTRY_COMMIT, .body = request->body};
    if (core->prefetches)
        state_prefetch(core->state, &entry);
}

static void propose(struct core *core, struct request *request)
{
    if (!core_is_primary(core)) {
        core_refuse_not_primary(core, request);
        return;
    }
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
        prefetch(core, request);
        break;
    case STATUS_NOT_LEADER:
        core_refuse_not_leader(core, request, NULL);
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
uint64_t core_delay_ns(unsigned pressure, size_t size)
{
    return (uint64_t)pressure * pressure * (size + core_delay_overhead_size) / core_delay_bytes;
}

static void await_admission(struct core *core, uint64_t now)
{
    uint64_t soonest = now + core_delay_step_us * NS_PER_US;
    io_timer_start(core->options.io, &core->admit_timer,
                   core->admit_ns > soonest ? core->admit_ns : soonest);
}

/* The term has just begun, and what goes before is being applied; or a standby takes over. */
static bool awaits_position(const struct core *core)
{
    return core_leads(core) && core_is_primary(core) &&
           (core_is_draining(core) || !replicated_log_has_position(core->log));
}

/* Gradual write delay: under pressure commits go one after the other, the farther apart the more
 * the tables lag behind; at 100 none is taken. */
static void admit(struct core *core, struct request *request)
{
    unsigned pressure = core_pressure(core);

    if (pressure >= 100) {
        core_refuse(core, request, STATUS_BUSY, retry_pressure_ms,
                    "Compaction is behind: try again in %d ms.", retry_pressure_ms);
        return;
    }
    if (pressure == 0 && list_is_empty(&core->delayed) && !awaits_position(core)) {
        propose(core, request);
        return;
    }
    /* core_admit_delayed() follows in this turn. */
    list_init(&request->link);
    list_push_last(&core->delayed, &request->link);
}

void core_admit_delayed(struct core *core)
{
    if (list_is_empty(&core->delayed) || awaits_position(core))
        return;
    uint64_t now = io_boot_ns(core->options.io);
    uint64_t burst_ns = core_delay_burst_us * NS_PER_US;
    uint64_t earliest = now > burst_ns ? now - burst_ns : 0;
    unsigned pressure = core_pressure(core);

    if (core->admit_ns < earliest)
        core->admit_ns = earliest;
    while (!list_is_empty(&core->delayed) && (pressure == 0 || core->admit_ns <= now)) {
        struct list_link *link = list_pop_first(&core->delayed);
        struct request *request = LIST_ENTRY(link, struct request, link);
        core->admit_ns += core_delay_ns(pressure, request->body.size);
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
    core_refuse_with(core, request, status, &message);
}

/* ---- Validation ---- */

/* A commit whose reads are looked at; lives in its request's arena. */
struct validating {
    struct list_link link;
    struct core *core;
    struct request *request;
    struct lsm_wait wait;
    struct state_view *view;
    struct state_refusal refusal;
};

static void on_blocks(struct lsm_wait *wait)
{
    struct validating *validating = wait->context;
    list_remove(&validating->link);
    list_push_last(&validating->core->validatable, &validating->link);
}

static void validating_end(struct validating *validating)
{
    lsm_wait_cancel(&validating->wait);
    list_remove(&validating->link);
    state_view_close(validating->view);
}

/* What has been applied is committed, so a conflict with it stays one, whoever leads: the only
 * refusals that may be given without the log. All else is apply's to say. */
static void validate(struct validating *validating)
{
    struct core *core = validating->core;
    struct request *request = validating->request;
    enum status status = state_validate(validating->view, &validating->wait,
                                        REQUEST_MESSAGE(request, Commit), &validating->refusal);
    if (status == STATUS_AGAIN) {
        list_remove(&validating->link);
        list_push_last(validating->wait.pending_count != 0 ? &core->validating : &core->validatable,
                       &validating->link);
        return;
    }
    validating_end(validating);
    if (status == STATUS_CORRUPT)
        (void)core_damaged(core, 0, "A commit's reads met a table whose bytes do not hold.");
    if (status == STATUS_CONFLICT || status == STATUS_SNAPSHOT_TOO_OLD)
        refuse_checked(core, request, status, &validating->refusal);
    else
        admit(core, request);
}

static void begin_validation(struct core *core, struct request *request)
{
    struct validating *validating = arena_alloc_zeroed(&request->arena, 1, sizeof *validating);

    if (validating == NULL || state_view_open(core->state, UINT64_MAX, &validating->view) != 0) {
        core_refuse(core, request, STATUS_NO_MEMORY, 0, "No memory for this commit.");
        return;
    }
    validating->core = core;
    validating->request = request;
    list_init(&validating->link);
    lsm_wait_init(&validating->wait, on_blocks, validating);
    validate(validating);
}

void core_validate(struct core *core)
{
    struct list_link ready;
    struct list_link *link;

    list_init(&ready);
    while ((link = list_pop_first(&core->validatable)) != NULL)
        list_push_last(&ready, link);
    while ((link = list_pop_first(&ready)) != NULL)
        validate(LIST_ENTRY(link, struct validating, link));
}

/* ---- Taking ---- */

/* False: refused, before anything of it was logged. */
static bool has_room(struct core *core, struct request *request)
{
    const Strait__Commit *commit = REQUEST_MESSAGE(request, Commit);

    if (core->disk_low && !only_deletes(commit)) {
        core_refuse(core, request, STATUS_DISK_FULL, retry_quota_ms,
                    "The disk that holds %s has %" PRIu64 " MiB left, below its reserve of %" PRIu64
                    " MiB: only deletes are taken. Free space there, or delete records.",
                    core->options.directory, core->space.free_size >> 20,
                    core->options.disk_reserve_size >> 20);
        return false;
    }
    if (core->ship.guard.action == REGION_GUARD_REFUSE) {
        core_refuse(core, request, STATUS_BUSY, retry_guard_ms, "%s", core->ship.guard.text);
        return false;
    }
    if (state_outcomes_size(core->state) > core->options.outcomes_size_max) {
        core_refuse(core, request, STATUS_BUSY, retry_quota_ms,
                    "The outcomes of recent transactions fill their quota of %" PRIu64
                    " MiB: raise it (limits.outcomes_size), or wait until the oldest are let go.",
                    core->options.outcomes_size_max >> 20);
        return false;
    }
    return true;
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
    if (!core_leads(core) || core_is_healing(core)) {
        core_refuse_not_leader(
            core, request, core_is_healing(core) ? "This server's state is being rebuilt" : NULL);
        return;
    }
    if (!core_is_primary(core)) {
        core_refuse_not_primary(core, request);
        return;
    }
    if (!core_lease_is_held(core)) {
        core_lease_refuse_out(core, request);
        return;
    }
    if (!has_room(core, request))
        return;
    if (commit->durability == STRAIT__DURABILITY__REMOTE && !core_remote_prepare(core, request))
        return;
    if (commit->n_reads != 0 || commit->n_ranges != 0)
        begin_validation(core, request);
    else
        admit(core, request);
}

/* ---- The end ---- */

static void refuse_unknown(struct core *core, struct list_link *list)
{
    struct list_link *link;
    while ((link = list_pop_first(list)) != NULL)
        core_refuse(core, LIST_ENTRY(link, struct request, link), STATUS_OUTCOME_UNKNOWN, 0,
                    "This server stopped before the outcome was known.");
}

static void refuse_validating(struct core *core, struct list_link *list)
{
    struct list_link *link;
    while ((link = list_first(list)) != NULL) {
        struct validating *validating = LIST_ENTRY(link, struct validating, link);
        validating_end(validating);
        core_refuse(core, validating->request, STATUS_SHUTTING_DOWN, 0, "This server stopped.");
    }
}

void core_validations_refuse(struct core *core)
{
    refuse_validating(core, &core->validating);
    refuse_validating(core, &core->validatable);
}

void core_delayed_refuse(struct core *core)
{
    struct list_link *link;
    while ((link = list_pop_first(&core->delayed)) != NULL)
        core_refuse_not_leader(core, LIST_ENTRY(link, struct request, link),
                               "This server's state is being rebuilt");
}

void core_commits_refuse(struct core *core)
{
    core_validations_refuse(core);
    refuse_unknown(core, &core->dropped);
    refuse_unknown(core, &core->delayed);
    refuse_unknown(core, &core->logged);
}
