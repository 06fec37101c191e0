/* SPDX-License-Identifier: Apache-2.0 */
/* A standby that the primary's log does not reach back to any more catches up by a checkpoint.
 *
 * At the primary's leader: a snapshot_sender whose members are regions; what it says travels in
 * the replies to the standby's requests (replication/region/checkpoint_server.h). The log behind
 * the checkpoint is kept by what is kept for any region that lags, up to shipping.retained_size;
 * where that does not last, an alarm says so, as the standby will have to begin anew.
 *
 * At the standby's leader, where the primary has refused its pulls for that reason, or the region
 * has surrendered a tail (core_surrender.c):
 *
 *     NONE      a snapshot_receiver takes what comes into a directory of its own; all of it is
 *               there, verified and durable                            -> STAGED
 *     STAGED    ENTRY_ADOPT is proposed; once it is applied, the state waits for just this
 *               checkpoint (server/state/adopt.h), and nothing looks at it any more -> SEALING
 *               the state has come past it in another way              -> NONE
 *     SEALING   all that was applied is in the tables                  -> SWAPPING
 *     SWAPPING  the manifest names the checkpoint's shared tables, and the regional ones that were
 *               there: the state is opened anew                        -> NONE
 *               the disk is full: tried again                          -> SEALING
 *               it does not hold: another one is asked for             -> NONE
 *
 * The others apply nothing from that entry on, and ask their leader for a snapshot of what it has
 * then. A crash before the swap finds the state waiting and the directory whole; where whoever had
 * it is gone, the next leader asks the primary for another one, which the same kind of entry puts
 * in the place of the first. So nobody but who has a checkpoint in place takes up the stream. */
#include "server/core_catchup.h"

#include <inttypes.h>
#include <stdio.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "proto/base/planted.h"
#include "replication/snapshot_message.h"
#include "server/core_internal.h"
#include "server/net/request.h"

enum {
    primary_id = 1,                     /* whom the receiver takes for its sender */
    sender_silence_ms = 10 * 60 * 1000, /* a break that a standby goes on after */
    sender_pause_ms = 5000,             /* after a checkpoint that could not be sent */
    retry_ms = 1000,
};

#define NS_PER_MS 1000000ULL

/* ---- The primary's side ---- */

static bool sender_send(void *context, uint64_t to, uint8_t kind, enum bus_lane lane,
                        struct bytes message)
{
    struct core *core = context;
    (void)lane;
    return checkpoint_server_send(core->catchup.server, (uint32_t)to, kind, message);
}

static void sender_ended(void *context, uint64_t member, const struct lsm_mark *mark,
                         enum status status)
{
    struct core *core = context;
    log_info("region_checkpoint_sent", LOG_U64("region", member), LOG_U64("version", mark->version),
             LOG_TEXT("result", status_text(status)));
    core->catchup.outrun = false;
    if (status == STATUS_OK)
        core->catchup.sent_count++;
    else
        core->catchup.begin_ns =
            io_boot_ns(core->options.io) + (uint64_t)sender_pause_ms * NS_PER_MS;
}

static void sender_unreadable(void *context, enum status status, const char *text)
{
    if (status == STATUS_CORRUPT && !core_damaged(context, 0, "%s", text))
        log_error("tables_damaged", LOG_TEXT("text", text));
}

static void on_work(void *context)
{
    struct core *core = context;
    core->work_wanted = true;
}

static void server_received(void *context, uint32_t region, uint8_t kind, struct bytes message)
{
    struct core *core = context;
    snapshot_sender_received(core->catchup.sender, region, kind, message);
}

static void server_reply(void *context, void *request, const Strait__RegionCheckpointReply *reply)
{
    core_reply(context, request, &reply->base);
}

static bool may_serve(const struct core *core)
{
    return core_leads(core) && !core->failed && !core_state_is_passing(core) &&
           !state_is_surrendered(core->state) && state_position(core->state).version != 0;
}

void core_catchup_request(struct core *core, struct request *request)
{
    const Strait__RegionCheckpoint *wanted = REQUEST_MESSAGE(request, RegionCheckpoint);
    struct core_catchup *catchup = &core->catchup;
    uint64_t now = io_boot_ns(core->options.io);

    if (!may_serve(core)) {
        core_refuse_not_leader(core, request, NULL);
        return;
    }
    if (wanted->region_id == core->options.region_id ||
        regions_find(state_regions(core->state), wanted->region_id) == NULL) {
        core_refuse(core, request, STATUS_INVALID_ARGUMENT, 0,
                    "The region %" PRIu32 " is none of the list that follows this one.",
                    wanted->region_id);
        return;
    }
    enum status status = checkpoint_server_take(catchup->server, wanted, request);
    if (status != STATUS_OK) {
        core_refuse(core, request, status, 0, "The request's numbers do not fit.");
        return;
    }
    catchup->serves = true;
    source_note_heard(core->ship.source, wanted->region_id);
    /* BUSY: an earlier one is ending; the next request asks again. */
    if (wanted->wanted && now >= catchup->begin_ns &&
        snapshot_sender_begin(catchup->sender, wanted->region_id, replicated_log_term(core->log)) ==
            STATUS_OK)
        snapshot_sender_room(catchup->sender);
}

static void stop_serving(struct core *core)
{
    struct core_catchup *catchup = &core->catchup;

    if (!catchup->serves)
        return;
    catchup->serves = false;
    catchup->outrun = false;
    snapshot_sender_stop(catchup->sender);
    checkpoint_server_stop(catchup->server);
}

/* Once a second. */
static void look_at_log(struct core *core)
{
    struct core_catchup *catchup = &core->catchup;
    uint64_t pin = snapshot_sender_pin(catchup->sender);

    if (!catchup->serves || catchup->outrun || pin == UINT64_MAX || pin == 0 ||
        replicated_log_first_index(core->log) <= pin + 1)
        return;
    catchup->outrun = true;
    log_error("region_checkpoint_outrun", LOG_U64("index", pin),
              LOG_TEXT("text", core_catchup_alarm(core)));
}

const char *core_catchup_alarm(const struct core *core)
{
    if (!core->catchup.outrun)
        return "";
    return "The log grows faster than a standby takes the checkpoint that it is sent, and "
           "shipping.retained_size is used up: it will have to begin anew. Raise that size, or let "
           "fewer writes in until the standby follows.";
}

bool core_catchup_sent(const struct core *core, uint32_t region,
                       struct snapshot_sender_facts *facts)
{
    return core->catchup.sender != NULL &&
           snapshot_sender_facts(core->catchup.sender, region, facts);
}

/* ---- The standby's side ---- */

/* This member has the checkpoint that the state waits for. */
static bool is_held(const struct core *core)
{
    const struct core_catchup *catchup = &core->catchup;
    struct adoption stands;

    if (catchup->step == CATCHUP_NONE || !state_is_adopting(core->state))
        return false;
    state_adoption(core->state, &stands);
    return stands.id.low == catchup->adoption.id.low && stands.id.high == catchup->adoption.id.high;
}

bool core_catchup_rests(const struct core *core)
{
    return state_is_adopting(core->state) && !core_leads(core) && !is_held(core);
}

bool core_is_adopting(const struct core *core)
{
    return state_is_adopting(core->state) || core_catchup_swaps(core);
}

bool core_catchup_swaps(const struct core *core)
{
    return core->catchup.step == CATCHUP_SEALING || core->catchup.step == CATCHUP_SWAPPING;
}

bool core_catchup_fetches(const struct core *core)
{
    return core->catchup.wanted;
}

struct snapshot_receiver_facts core_catchup_facts(const struct core *core)
{
    if (core->catchup.receiver == NULL)
        return (struct snapshot_receiver_facts){0};
    return snapshot_receiver_facts(core->catchup.receiver);
}

static bool receiver_send(void *context, uint64_t to, uint8_t kind, enum bus_lane lane,
                          struct bytes message)
{
    struct core *core = context;
    (void)to;
    (void)lane;
    if (core->catchup.client == NULL)
        return false;
    checkpoint_client_say(core->catchup.client, kind, message);
    return true;
}

static enum snapshot_verdict receiver_judge(void *context, uint64_t from, uint64_t term,
                                            const struct lsm_mark *mark)
{
    struct core *core = context;
    struct state_mark_facts facts;
    struct adoption adoption;

    (void)from;
    (void)term;
    if (!core->catchup.wanted || state_mark_look(mark, &facts) != STATUS_OK ||
        state_adoption_of(mark, &adoption) != STATUS_OK)
        return SNAPSHOT_IGNORE;
    if (facts.cluster_version > state_cluster_version_max(core->state)) {
        log_error("region_checkpoint_newer", LOG_U64("cluster_version", facts.cluster_version),
                  LOG_TEXT("text", "it needs a newer program than this one"));
        return SNAPSHOT_IGNORE;
    }
    return state_adoption_is_due(core->state, &adoption) ? SNAPSHOT_ACCEPT : SNAPSHOT_KNOWN;
}

static bool take_staged(struct core *core, const char *directory, const struct lsm_mark *mark)
{
    struct core_catchup *catchup = &core->catchup;

    if (state_adoption_of(mark, &catchup->adoption) != STATUS_OK)
        return false;
    catchup->mark = *mark;
    snprintf(catchup->directory, sizeof catchup->directory, "%s", directory);
    catchup->step = CATCHUP_STAGED;
    catchup->look = true;
    catchup->retry_ns = 0;
    return true;
}

static void receiver_staged(void *context, const char *directory, const struct lsm_mark *mark)
{
    struct core *core = context;

    ASSERT(core->catchup.step == CATCHUP_NONE);
    bool taken = take_staged(core, directory, mark);
    ASSERT(taken); /* it was judged */
    core->catchup.is_received = true;
    log_info("region_checkpoint_received", LOG_U64("version", mark->version));
}

static void receiver_failed(void *context, enum status status, const char *text)
{
    core_fail(context, status, "A checkpoint of another region could not be received: %s", text);
}

static void client_received(void *context, uint8_t kind, struct bytes message)
{
    struct core *core = context;
    /* While another snapshot takes the state's place, what comes is lost, and comes again. */
    if (core->install.step != CORE_INSTALL_NONE || core_is_healing(core))
        return;
    snapshot_receiver_received(core->catchup.receiver, primary_id, kind, message);
}

/* By the next refusal of a pull it shows what the primary is by then. */
static void client_refused(void *context, enum status status)
{
    struct core *core = context;
    if (status == STATUS_NOT_LEADER || status == STATUS_BUSY)
        return;
    log_warn("region_checkpoint_refused", LOG_TEXT("reason", status_text(status)));
    core->ship.has_trouble = false;
    core->catchup.look = true;
}

/* What is staged is of no use any more, or has done its work. */
static void end(struct core *core, enum status status)
{
    struct core_catchup *catchup = &core->catchup;
    bool is_received = catchup->is_received;

    catchup->step = CATCHUP_NONE;
    catchup->is_received = false;
    catchup->look = true;
    core->work_wanted = true;
    if (is_received)
        snapshot_receiver_installed(catchup->receiver, status);
}

static bool is_wanted(const struct core *core)
{
    const struct core_ship *ship = &core->ship;

    if (core->catchup.client == NULL || !core_leads(core) || core_is_primary(core) ||
        core_is_healing(core) || core_is_rewinding(core) ||
        core->install.step != CORE_INSTALL_NONE || ship->promotion.step != PROMOTION_NONE ||
        state_facts(core->state).applied_term != replicated_log_term(core->log))
        return false;
    if (state_is_adopting(core->state))
        return !is_held(core);
    if (state_is_surrendered(core->state) ||
        (PLANTED(region_adopted_unreported) && core->rewind.lacking_ns != 0))
        return true;
    return ship->has_trouble && ship->trouble == RECEIVER_RELEASED;
}

static void want(struct core *core)
{
    struct core_catchup *catchup = &core->catchup;
    bool wanted = is_wanted(core);

    if (wanted == catchup->wanted)
        return;
    catchup->wanted = wanted;
    core_ship_roles_changed(core);
    checkpoint_client_want(catchup->client, wanted);
    if (wanted)
        log_warn("region_checkpoint_wanted",
                 LOG_U64("version", state_position(core->state).version),
                 LOG_TEXT("text", state_is_surrendered(core->state)
                                      ? "what this region had alone is reported, and given up"
                                      : "the primary's log does not reach back to here"));
}

static void propose(struct core *core)
{
    struct core_catchup *catchup = &core->catchup;
    uint8_t body[adoption_size];

    adoption_encode(&catchup->adoption, body);
    const struct log_proposal proposal = {
        .kind = ENTRY_ADOPT, .body = bytes_of(body, sizeof body), .context = &catchup->proposing};
    catchup->proposing = replicated_log_propose(core->log, &proposal) == STATUS_OK;
    if (catchup->proposing)
        log_warn("adoption_proposed", LOG_U64("version", catchup->adoption.version),
                 LOG_U64("epoch", catchup->adoption.epoch.number));
}

/* ---- Putting it in place ---- */

static void hold_still(struct core *core)
{
    core_reads_refuse(core, STATUS_NOT_LEADER,
                      "This server takes over the state of another region's checkpoint.");
    core_validations_refuse(core);
    core_delayed_refuse(core);
    core_lost_tell_stop(core);
    (void)snapshots_clear(&core->snapshots);
    core->fresh.known_ns = 0;
    core->fresh.asked_ns = 0;
    core->fresh.answer_ns = 0;
    source_lead(core->ship.source, false, NULL);
    if (core->ship.receiver != NULL)
        receiver_forget(core->ship.receiver);
}

static void on_swapped(void *context, enum status status, const struct lsm_mark *mark)
{
    struct core_catchup *catchup = &((struct core *)context)->catchup;
    (void)mark;
    ASSERT(catchup->step == CATCHUP_SWAPPING);
    catchup->status = status;
    catchup->answered = true;
    catchup->look = true;
}

static void staged_turn(struct core *core)
{
    struct core_catchup *catchup = &core->catchup;

    if (is_held(core)) {
        if (state_apply_is_active(core->state) || core->install.step != CORE_INSTALL_NONE ||
            core_is_healing(core) || io_boot_ns(core->options.io) < catchup->retry_ns)
            return;
        catchup->step = CATCHUP_SEALING;
        hold_still(core);
        lsm_seal(core->lsm);
        core->work_wanted = true;
    } else if (!state_adoption_is_due(core->state, &catchup->adoption)) {
        end(core, STATUS_OK);
    } else if (catchup->wanted && !catchup->proposing) {
        propose(core);
    }
}

static void sealing_turn(struct core *core)
{
    struct core_catchup *catchup = &core->catchup;
    struct lsm_mark mark;

    if (lsm_statistics(core->lsm).sealed_count != 0 ||
        lsm_installed_index(core->lsm) != state_facts(core->state).applied_index)
        return;
    enum status status = state_adoption_mark(core->state, &catchup->mark, &mark);
    if (status != STATUS_OK) {
        log_error("adoption_failed", LOG_TEXT("reason", status_text(status)));
        end(core, status);
        return;
    }
    catchup->step = CATCHUP_SWAPPING;
    catchup->answered = false;
    lsm_adopt(core->lsm, catchup->directory, &mark, on_swapped, core);
    core->work_wanted = true;
}

static void open_state(struct core *core)
{
    struct core_catchup *catchup = &core->catchup;
    const struct lsm_mark mark = *lsm_installed_mark(core->lsm);
    struct error error = {0};

    enum status status = core_state_open(core, &mark, &error);
    if (status != STATUS_OK) {
        core_fail(core, status, "The checkpoint that was taken over cannot be opened: %s",
                  error.text);
        return;
    }
    catchup->count++;
    log_warn("adopted", LOG_U64("version", mark.version), LOG_U64("index", mark.index),
             LOG_TEXT("text", "the state of the primary's checkpoint is this region's: it follows "
                              "from there"));
    end(core, STATUS_OK);
    core_state_replaced(core);
    core_checkpoints_doom(core); /* they are of another state than the log leads on from */
    core->checkpoints.shared = (struct region_position){0};
    core_ship_reset(core);
    core->ship.has_trouble = false;
    core->fresh.look = true;
    core->work_wanted = true;
}

static void swapped(struct core *core)
{
    struct core_catchup *catchup = &core->catchup;

    catchup->answered = false;
    if (catchup->status == STATUS_OK) {
        open_state(core);
        return;
    }
    log_error("adoption_failed", LOG_TEXT("reason", status_text(catchup->status)));
    if (catchup->status == STATUS_DISK_FULL || catchup->status == STATUS_NO_MEMORY ||
        catchup->status == STATUS_BUSY) {
        catchup->step = CATCHUP_STAGED;
        catchup->retry_ns = io_boot_ns(core->options.io) + retry_ms * NS_PER_MS;
        return;
    }
    end(core, catchup->status);
}

/* ---- Those that have no checkpoint ---- */

/* A member that waits for the leader's; what it proposed while it led will not be applied here. */
static void rest(struct core *core)
{
    struct core_catchup *catchup = &core->catchup;
    bool rests = core_catchup_rests(core) && !core_is_healing(core);

    if (rests && !catchup->rests && !state_apply_is_active(core->state)) {
        catchup->rests = true;
        replicated_log_disown(core->log);
    } else if (!rests) {
        catchup->rests = false;
    }
}

static void ask(struct core *core)
{
    uint8_t message[snapshot_want_size];
    uint64_t leader = replicated_log_leader_id(core->log);

    if (!core->catchup.rests || core->install.step != CORE_INSTALL_NONE || leader == 0 ||
        leader == replicated_log_self(core->log))
        return;
    store_u64(message, state_facts(core->state).applied_index + 1);
    /* Lost, it is followed by the next. */
    if (!replicated_log_send(core->log, leader, SNAPSHOT_WANT, BUS_CONTROL,
                             bytes_of(message, sizeof message)))
        log_debug("snapshot_not_asked_for", LOG_U64("leader", leader));
}

/* ---- What the core tells ---- */

void core_catchup_applied(struct core *core)
{
    struct adoption stands;

    core->catchup.look = true;
    core_ship_roles_changed(core);
    if (!state_is_adopting(core->state))
        return;
    state_adoption(core->state, &stands);
    log_warn("adoption_begun", LOG_U64("version", stands.version),
             LOG_U64("index", state_facts(core->state).applied_index));
    hold_still(core);
}

bool core_catchup_ended(struct core *core, const void *context)
{
    if (context != &core->catchup.proposing)
        return false;
    core->catchup.proposing = false;
    core->catchup.look = true;
    return true;
}

void core_catchup_turn(struct core *core)
{
    struct core_catchup *catchup = &core->catchup;

    catchup->look = false;
    if (catchup->server == NULL || core->failed || core->closing)
        return;
    if (!may_serve(core))
        stop_serving(core);
    rest(core);
    if (catchup->client == NULL)
        return;
    want(core);
    if (catchup->step == CATCHUP_STAGED)
        staged_turn(core);
    if (catchup->step == CATCHUP_SEALING)
        sealing_turn(core);
    if (catchup->step == CATCHUP_SWAPPING && catchup->answered)
        swapped(core);
    checkpoint_client_turn(catchup->client);
}

void core_catchup_look(struct core *core)
{
    if (core->catchup.server == NULL || core->failed)
        return;
    look_at_log(core);
    ask(core);
    core->catchup.look = true;
}

void core_catchup_refuse(struct core *core)
{
    if (core->catchup.server != NULL)
        stop_serving(core);
}

/* ---- Opening and closing ---- */

/* A checkpoint that an earlier process had received, and the state waits for. */
static void look_for_staged(struct core *core)
{
    struct core_catchup *catchup = &core->catchup;
    struct lsm_mark mark;

    if (!state_is_adopting(core->state) ||
        lsm_checkpoint_look(core->options.io, core->options.keyring, catchup->path_staging,
                            &mark) != STATUS_OK ||
        !take_staged(core, catchup->path_staging, &mark))
        return;
    if (!is_held(core))
        catchup->step = CATCHUP_NONE;
}

static enum status open_server(struct core *core)
{
    struct core_catchup *catchup = &core->catchup;
    const struct snapshot_sender_options sender = {
        .io = core->options.io,
        .keyring = core->options.keyring,
        .lsm = core->lsm,
        .directory = catchup->path_checkpoint,
        .seed = core->options.seed + 1,
        .silence_ms = sender_silence_ms,
        .send = sender_send,
        .ended = sender_ended,
        .unreadable = sender_unreadable,
        .work = on_work,
        .context = core,
    };
    const struct checkpoint_server_options server = {
        .io = core->options.io,
        .received = server_received,
        .reply = server_reply,
        .context = core,
    };
    enum status status = snapshot_sender_open(&sender, &catchup->sender);
    return status == STATUS_OK ? checkpoint_server_create(&server, &catchup->server) : status;
}

static enum status open_client(struct core *core, struct link *link)
{
    struct core_catchup *catchup = &core->catchup;
    const struct snapshot_receiver_options receiver = {
        .io = core->options.io,
        .keyring = core->options.keyring,
        .lsm = core->lsm,
        .directory = catchup->path_staging,
        .trees = state_trees,
        .trees_count = state_trees_count,
        .uncompressed = core->options.uncompressed,
        .send = receiver_send,
        .judge = receiver_judge,
        .staged = receiver_staged,
        .work = on_work,
        .failed = receiver_failed,
        .context = core,
    };
    const struct checkpoint_client_options client = {
        .io = core->options.io,
        .link = link,
        .region = core->options.region_id,
        .received = client_received,
        .refused = client_refused,
        .context = core,
    };
    enum status status = snapshot_receiver_open(&receiver, &catchup->receiver);
    return status == STATUS_OK ? checkpoint_client_create(&client, &catchup->client) : status;
}

enum status core_catchup_open(struct core *core, struct link *link, struct error *error)
{
    struct core_catchup *catchup = &core->catchup;

    snprintf(catchup->path_checkpoint, sizeof catchup->path_checkpoint, "%s/checkpoint-regions",
             core->options.directory);
    snprintf(catchup->path_staging, sizeof catchup->path_staging, "%s/staging-region",
             core->options.directory);
    enum status status = open_server(core);
    if (status == STATUS_OK && link != NULL) {
        look_for_staged(core);
        status = open_client(core, link);
    }
    if (status != STATUS_OK)
        return error_set(error, status, "Checkpoints between regions could not be prepared: %s.",
                         status_text(status));
    return STATUS_OK;
}

void core_catchup_close(struct core *core)
{
    struct core_catchup *catchup = &core->catchup;

    checkpoint_client_free(catchup->client);
    catchup->client = NULL;
    if (catchup->receiver != NULL)
        snapshot_receiver_close(catchup->receiver);
    catchup->receiver = NULL;
    if (catchup->sender != NULL)
        snapshot_sender_close(catchup->sender);
    catchup->sender = NULL;
    checkpoint_server_free(catchup->server);
    catchup->server = NULL;
}
