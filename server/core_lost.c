/* SPDX-License-Identifier: Apache-2.0 */
/* What a rewind gave up: what administrators ask of it, and what the leader proposes about it.
 *
 * Any member lists the reports and reads them, from its own state. The leader closes one, and then
 * empties it, a bounded number of entries of the report with each entry of the log, however long
 * that takes and whoever leads meanwhile: the state says what is left.
 *
 * Before the leader proposes a rewind, it tells what the commits of the tail had come to, with
 * core_lost_tell(): their outcomes go with the rewind, and one that was refused must not be run
 * later by somebody who finds it in the report.
 *
 *     (none) -> TELLING <-> LOGGED -> TOLD      of one version, in one term */
#include <inttypes.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "proto/message.h"
#include "server/core_internal.h"
#include "server/net/request.h"

enum { retry_lost_ms = 200 };

/* ---- The list ---- */

static void fill_report(const struct state_lost_report *report, Strait__LostReport *message)
{
    strait__lost_report__init(message);
    message->id = report->id;
    message->epoch_number = report->epoch.number;
    message->epoch_region = report->epoch.region;
    message->next_number = report->next.number;
    message->next_region = report->next.region;
    message->first_version = report->first_version;
    message->last_version = report->last_version;
    message->count = report->count;
    message->size_bytes = report->size;
    message->log_time_ns = report->log_time_ns;
    message->closed = report->closed;
    message->unlisted_first = report->unlisted_first;
    message->unlisted_last = report->unlisted_last;
}

static void list(struct core *core, struct request *request)
{
    Strait__RegionLostListReply reply = STRAIT__REGION_LOST_LIST_REPLY__INIT;
    struct state_position position = state_facts(core->state).position;
    struct state_lost_report report;
    size_t count = 0;

    if (core_refuse_while_resting(core, request))
        return;
    while (state_lost_report_at(core->state, count, &report))
        count++;
    Strait__LostReport *messages = arena_alloc_zeroed(&request->arena, count + 1, sizeof *messages);
    reply.reports = arena_alloc_zeroed(&request->arena, count + 1, sizeof(Strait__LostReport *));
    if (messages == NULL || reply.reports == NULL) {
        core_refuse(core, request, STATUS_NO_MEMORY, 0, "No memory for the reports.");
        return;
    }
    for (; state_lost_report_at(core->state, reply.n_reports, &report); reply.n_reports++) {
        fill_report(&report, &messages[reply.n_reports]);
        reply.reports[reply.n_reports] = &messages[reply.n_reports];
    }
    reply.region_id = core->options.region_id;
    reply.position = state_position_message(&position, &request->arena);
    core_reply(core, request, &reply.base);
}

/* ---- A page of entries: a read ---- */

enum status core_lost_read_open(struct core_read *read)
{
    const Strait__RegionLostRead *asked = REQUEST_MESSAGE(read->request, RegionLostRead);
    struct state_lost_page page = {
        .id = asked->id,
        .after_epoch = {.number = asked->after_epoch_number, .region = asked->after_epoch_region},
        .after_version = asked->after_version,
        .count_max = asked->entries_max,
        .size_max = limit_reply_size};

    if (page.count_max == 0 || page.count_max > limit_lost_entries_count)
        page.count_max = limit_lost_entries_count;
    strait__region_lost_read_reply__init(&read->reply.lost);
    return state_lost_walk_open(read->view, &page, &read->request->arena, &read->lost,
                                &read->refusal);
}

enum status core_lost_read_step(struct core_read *read)
{
    const struct state_lost_entry *entries;
    struct arena *arena = &read->request->arena;
    Strait__RegionLostReadReply *reply = &read->reply.lost;
    size_t count;
    bool more;

    enum status status = state_lost_walk_step(read->lost, &read->wait, &entries, &count, &more);
    if (status != STATUS_OK)
        return status;
    Strait__LostEntry *messages = arena_alloc_zeroed(arena, count + 1, sizeof *messages);
    reply->entries = arena_alloc_zeroed(arena, count + 1, sizeof(Strait__LostEntry *));
    if (messages == NULL || reply->entries == NULL)
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        strait__lost_entry__init(&messages[i]);
        messages[i].entry = field_of_bytes(entries[i].bytes);
        messages[i].has_outcome = entries[i].has_outcome;
        messages[i].outcome = (uint32_t)entries[i].outcome;
        reply->entries[i] = &messages[i];
    }
    reply->n_entries = count;
    reply->more = more;
    return STATUS_OK;
}

/* ---- Closing ---- */

static bool find_report(const struct core *core, uint64_t id, struct state_lost_report *report)
{
    for (size_t i = 0; state_lost_report_at(core->state, i, report); i++) {
        if (report->id == id)
            return true;
    }
    return false;
}

static void answer_closed(struct core *core, struct request *request)
{
    Strait__RegionLostCloseReply reply = STRAIT__REGION_LOST_CLOSE_REPLY__INIT;
    core_reply(core, request, &reply.base);
}

static enum status propose(struct core *core, struct bytes identity, struct bytes body,
                           void *context)
{
    const struct log_proposal proposal = {
        .kind = ENTRY_LOST, .identity = identity, .body = body, .context = context};
    return replicated_log_propose(core->log, &proposal);
}

static void close_report(struct core *core, struct request *request)
{
    uint64_t id = REQUEST_MESSAGE(request, RegionLostClose)->id;
    uint8_t body[state_lost_body_size];
    struct state_lost_report report;

    if (!core_leads(core)) {
        core_refuse_not_leader(core, request, NULL);
        return;
    }
    if (!find_report(core, id, &report)) {
        core_refuse(core, request, STATUS_NOT_FOUND, 0,
                    "There is no report %" PRIu64
                    " of what was given up here: `strait region lost list` shows those there are.",
                    id);
        return;
    }
    if (report.closed) {
        answer_closed(core, request);
        return;
    }
    if (core->lost.closing != NULL) {
        core_refuse(core, request, STATUS_BUSY, retry_lost_ms,
                    "Another report is being closed: try again in %d ms.", retry_lost_ms);
        return;
    }
    state_lost_close_encode(id, body);
    enum status status = propose(core, bytes_of_text(request->session->identity),
                                 bytes_of(body, sizeof body), &core->lost.closing);
    if (status != STATUS_OK) {
        core_refuse(core, request, status, retry_lost_ms, "The closing cannot be logged: %s.",
                    status_text(status));
        return;
    }
    core->lost.closing = request;
    log_warn("lost_report_closing", LOG_U64("report", id), LOG_U64("entries", report.count),
             LOG_TEXT("by", request->session->identity));
}

static void closing_ended(struct core *core, const struct state_result *result)
{
    struct request *request = core->lost.closing;

    core->lost.closing = NULL;
    if (result == NULL)
        core_refuse_dropped(core, request);
    else if (result->status != STATUS_OK)
        core_refuse(core, request, result->status, 0, "%s", result->text);
    else
        answer_closed(core, request);
    core_lost_look(core);
}

void core_lost_look(struct core *core)
{
    uint8_t body[state_lost_body_size];

    if (core->lost.logging || !core_leads(core) || core_is_installing(core) ||
        core_is_healing(core) || !state_lost_due(core->state, body))
        return;
    enum status status =
        propose(core, (struct bytes){0}, bytes_of(body, sizeof body), &core->lost.logging);
    core->lost.logging = status == STATUS_OK;
    if (status != STATUS_OK && status != STATUS_BUSY && status != STATUS_NOT_LEADER)
        log_warn("lost_report_not_emptied", LOG_TEXT("reason", status_text(status)));
}

/* ---- Telling ---- */

static void on_blocks(struct lsm_wait *wait)
{
    (void)wait; /* whoever tells looks each turn */
}

static void telling_close(struct core_lost *lost)
{
    if (lost->telling != NULL)
        lsm_wait_cancel(&lost->wait);
    state_lost_telling_close(lost->telling);
    lost->telling = NULL;
}

void core_lost_tell_stop(struct core *core)
{
    telling_close(&core->lost);
    core->lost.told_term = 0;
}

static enum status telling_begin(struct core *core, uint64_t version)
{
    struct core_lost *lost = &core->lost;

    telling_close(lost);
    lost->told_version = version;
    lost->told_term = replicated_log_term(core->log);
    lost->tell_size = 0;
    lost->tells_more = true;
    lsm_wait_init(&lost->wait, on_blocks, core);
    return state_lost_telling_open(core->state, version, &lost->telling);
}

/* Makes the next body and puts it into the log. */
static enum status tell_next(struct core *core)
{
    struct core_lost *lost = &core->lost;
    enum status status = STATUS_OK;

    if (lost->tell_size == 0)
        status = state_lost_telling_step(lost->telling, &lost->wait, lost->tell_body,
                                         &lost->tell_size, &lost->tells_more);
    if (status == STATUS_OK)
        status = propose(core, (struct bytes){0}, bytes_of(lost->tell_body, lost->tell_size),
                         &lost->logging);
    if (status != STATUS_OK)
        return status == STATUS_BUSY ? STATUS_AGAIN : status;
    lost->logging = true;
    lost->tell_size = 0;
    return STATUS_AGAIN;
}

enum status core_lost_tell(struct core *core, uint64_t version)
{
    struct core_lost *lost = &core->lost;
    enum status status = STATUS_OK;

    ASSERT(core_leads(core));
    if (lost->told_version != version || lost->told_term != replicated_log_term(core->log))
        status = telling_begin(core, version);
    if (status == STATUS_OK && lost->telling == NULL)
        return STATUS_OK;
    if (status == STATUS_OK && (lost->logging || lost->wait.pending_count != 0))
        return STATUS_AGAIN;
    if (status == STATUS_OK && lost->tell_size == 0 && !lost->tells_more) {
        telling_close(lost);
        return STATUS_OK;
    }
    if (status == STATUS_OK)
        status = tell_next(core);
    if (status != STATUS_AGAIN)
        core_lost_tell_stop(core);
    return status;
}

bool core_lost_tells(const struct core *core)
{
    const struct core_lost *lost = &core->lost;
    return lost->telling != NULL && !lost->logging && lost->wait.pending_count == 0;
}

/* ---- Requests and ends ---- */

void core_lost_request(struct core *core, struct request *request)
{
    if (request->type == FRAME_REGION_LOST_LIST)
        list(core, request);
    else
        close_report(core, request);
}

bool core_lost_ended(struct core *core, const void *context, const struct state_result *result)
{
    struct core_lost *lost = &core->lost;

    if (context != &lost->closing && context != &lost->logging)
        return false;
    if (context == &lost->logging) {
        lost->logging = false;
        /* What is not in the log was not told. */
        if (result == NULL)
            core_lost_tell_stop(core);
        else
            core_lost_look(core);
    } else if (!core->answers_none) {
        closing_ended(core, result);
    }
    return true;
}

void core_lost_refuse(struct core *core)
{
    if (core->lost.closing != NULL)
        core_refuse(core, core->lost.closing, STATUS_OUTCOME_UNKNOWN, 0,
                    "This server stopped before the outcome was known.");
    core->lost.closing = NULL;
}
