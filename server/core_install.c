/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots between members: those that this leader sends, and the one that takes this state's
 * place; and the comparison of digests.
 *
 *     NONE       the receiver has staged one                 -> STAGED
 *     STAGED     apply has paused, and nothing looks at the
 *                state any more                              -> PREPARING
 *     PREPARING  the log has noted durably what is about to
 *                happen: the LSM is to install it            -> SWAPPING
 *     SWAPPING   the manifest names the new content: the
 *                state is opened anew, the log is told       -> LOGGING
 *     LOGGING    the log begins after the mark, durably      -> NONE
 *
 * From STAGED to the end this member holds still: it applies nothing, reads nothing and does not
 * vote. Where the LSM refuses, it goes on as before. A crash in SWAPPING leaves the old content or
 * the new; from then on the log may not reach the state, or differ from it: by what PREPARING noted
 * it is known to begin anew there. */
#include <inttypes.h>
#include <stdio.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "proto/base/planted.h"
#include "proto/peer.h"
#include "replication/snapshot_message.h"
#include "server/core_internal.h"

/* ---- What senders, receivers and digests ask of the core ---- */

static bool send_message(void *context, uint64_t to, uint8_t kind, enum bus_lane lane,
                         struct bytes message)
{
    struct core *core = context;
    return replicated_log_send(core->log, to, kind, lane, message);
}

static void on_work(void *context)
{
    struct core *core = context;
    core->work_wanted = true;
}

static void on_failed(void *context, enum status status, const char *text)
{
    core_fail(context, status, "A snapshot could not be received: %s", text);
}

/* Only takes note: it may come from within the log. */
static void on_ended(void *context, uint64_t member, const struct lsm_mark *mark,
                     enum status status)
{
    struct core_install *install = &((struct core *)context)->install;
    log_info("snapshot_sent", LOG_U64("member", member), LOG_U64("index", mark->index),
             LOG_TEXT("result", status_text(status)));
    if (install->ended_count == limit_members_count)
        return; /* the log asks again */
    install->ended[install->ended_count++] = (struct core_snapshot_end){
        .member = member, .mark = {mark->index, mark->term}, .ok = status == STATUS_OK};
}

static enum snapshot_verdict judge(void *context, uint64_t from, uint64_t term,
                                   const struct lsm_mark *mark)
{
    const struct core *core = context;
    uint64_t leader = replicated_log_leader_id(core->log);

    /* What is to be rebuilt has a log that goes on behind its state: any place past that serves. */
    uint64_t known_index = replicated_log_commit_index(core->log);
    if (core_is_healing(core) || state_is_adopting(core->state))
        known_index = state_facts(core->state).applied_index + 1;
    /* A log that is being mended knows of no leader yet: it takes what it asked for. */
    bool mends = replicated_log_role(core->log) == LOG_MENDING;
    if (mends ? term < replicated_log_term(core->log)
              : leader == 0 || leader != from || term != replicated_log_term(core->log))
        return SNAPSHOT_IGNORE;
    return mark->index <= known_index ? SNAPSHOT_KNOWN : SNAPSHOT_ACCEPT;
}

static void on_staged(void *context, const char *directory, const struct lsm_mark *mark)
{
    struct core *core = context;
    ASSERT(core->install.step == CORE_INSTALL_NONE);
    core->install.step = CORE_INSTALL_STAGED;
    core->install.mark = *mark;
    snprintf(core->install.directory, sizeof core->install.directory, "%s", directory);
}

void core_on_snapshot_needed(void *context, uint64_t member)
{
    struct core_install *install = &((struct core *)context)->install;
    for (unsigned i = 0; i < install->needed_count; i++) {
        if (install->needed[i] == member)
            return;
    }
    if (install->needed_count < limit_members_count)
        install->needed[install->needed_count++] = member;
}

static void on_unreadable(void *context, enum status status, const char *text)
{
    /* What the disk refuses to read is told by the disk's own users. */
    if (status == STATUS_CORRUPT && !core_damaged(context, 0, "%s", text))
        log_error("tables_damaged", LOG_TEXT("text", text));
}

static void on_odd(void *context, uint64_t version)
{
    if (core_damaged(context, version,
                     "The state at version %" PRIu64 " is not that of a majority of the region.",
                     version))
        return;
    core_fail(context, STATUS_CORRUPT,
              "This server's state at version %" PRIu64
              " is not that of a majority of its region. It stops, so that it spreads no further: "
              "keep its data directory for a look, and give the server an empty one.",
              version);
}

static void on_differs(void *context, uint64_t member, uint64_t version)
{
    struct core *core = context;
    core->digests_differ_count++;
    core->differs_version = version;
    log_error("replica_differs", LOG_U64("member", member), LOG_U64("version", version));
}

static void on_undecided(void *context, uint64_t version)
{
    struct core *core = context;
    core->digests_differ_count++;
    core->replicas_disagree = true;
    log_error("replicas_disagree", LOG_U64("version", version),
              LOG_TEXT("text", "no majority of the voters has the same state"));
}

/* ---- Opening and closing ---- */

enum status core_install_open(struct core *core, struct error *error)
{
    const struct core_options *options = &core->options;
    struct core_install *install = &core->install;
    snprintf(install->path_checkpoint, sizeof install->path_checkpoint, "%s/checkpoint",
             options->directory);
    snprintf(install->path_staging, sizeof install->path_staging, "%s/staging", options->directory);
    const struct snapshot_sender_options sender = {
        .io = options->io,
        .keyring = options->keyring,
        .lsm = core->lsm,
        .directory = install->path_checkpoint,
        .seed = options->seed,
        .send = send_message,
        .ended = on_ended,
        .unreadable = on_unreadable,
        .work = on_work,
        .context = core,
    };
    const struct snapshot_receiver_options receiver = {
        .io = options->io,
        .keyring = options->keyring,
        .lsm = core->lsm,
        .directory = install->path_staging,
        .trees = state_trees,
        .trees_count = state_trees_count,
        .uncompressed = options->uncompressed,
        .send = send_message,
        .judge = judge,
        .staged = on_staged,
        .work = on_work,
        .failed = on_failed,
        .context = core,
    };
    const struct digests_options digests = {
        .self = replicated_log_self(core->log),
        .send = send_message,
        .odd = on_odd,
        .differs = on_differs,
        .undecided = on_undecided,
        .context = core,
    };
    enum status status = snapshot_sender_open(&sender, &install->sender);
    if (status == STATUS_OK)
        status = snapshot_receiver_open(&receiver, &install->receiver);
    if (status == STATUS_OK)
        status = digests_create(&digests, &core->digests);
    if (status == STATUS_OK)
        status = core_scrub_open(core, &digests);
    if (status != STATUS_OK)
        return error_set(error, status, "Snapshots could not be prepared in %s: %s.",
                         options->directory, status_text(status));
    core_digests_reset(core);
    return STATUS_OK;
}

void core_install_close(struct core *core)
{
    if (core->install.sender != NULL)
        snapshot_sender_close(core->install.sender);
    if (core->install.receiver != NULL)
        snapshot_receiver_close(core->install.receiver);
    digests_free(core->digests);
    core_scrub_close(core);
}

/* ---- Messages ---- */

void core_install_received(struct core *core, uint64_t from, uint8_t kind, struct bytes message)
{
    if (core->install.sender == NULL)
        return;
    if (kind == SNAPSHOT_ANSWER)
        snapshot_sender_received(core->install.sender, from, kind, message);
    else if (kind == SNAPSHOT_WANT)
        core_heal_received(core, from, message);
    else if (kind >= PEER_SNAPSHOT_FIRST && kind <= PEER_SNAPSHOT_LAST)
        snapshot_receiver_received(core->install.receiver, from, kind, message);
    else if (kind >= DIGEST_SCRUB)
        digests_received(core->scrub.digests, from, kind, message);
    else
        digests_received(core->digests, from, kind, message);
}

/* ---- Digests ---- */

uint64_t core_digests_history(const struct core *core)
{
    struct epoch epoch = state_epoch(core->state);
    return epoch.number << 32 ^ epoch.region;
}

void core_digests_note(struct core *core)
{
    struct state_facts facts = state_facts(core->state);
    if (core->digests == NULL)
        return;
    digests_history(core->digests, core_digests_history(core));
    digests_note(core->digests, facts.position.version, facts.chain_digest);
}

void core_digests_reset(struct core *core)
{
    struct state_facts facts = state_facts(core->state);
    digests_history(core->digests, core_digests_history(core));
    digests_reset(core->digests, facts.position.version, facts.chain_digest);
}

void core_state_replaced(struct core *core)
{
    core_membership_applied(core);
    if (core->digests != NULL) {
        core_digests_reset(core);
        core_scrub_reset(core);
    }
}

/* A member that differed is rebuilt; once all agree at a later version, all is as it was. */
static void look_whether_all_agree(struct core *core)
{
    const struct membership *membership = &core->membership;

    if (core->differs_version == 0 || digests_asked_version(core->digests) <= core->differs_version)
        return;
    for (unsigned i = 0; i < membership->count; i++) {
        if (digests_verdict(core->digests, membership->members[i].id) != DIGEST_AGREES)
            return;
    }
    core->differs_version = 0;
}

void core_digests_lead(struct core *core)
{
    if (core->digests == NULL || core_state_is_passing(core))
        return;
    if (!core_leads(core)) {
        core->differs_version = 0; /* the leader's to tell */
        return;
    }
    look_whether_all_agree(core);
    digests_lead(core->digests, &core->membership);
    digests_lead(core->scrub.digests, &core->membership);
}

/* ---- Sending ---- */

void core_log_release(struct core *core)
{
    uint64_t index = PLANTED(core_log_released_early) ? state_facts(core->state).applied_index
                                                      : lsm_installed_index(core->lsm);
    uint64_t pin =
        core->install.sender != NULL ? snapshot_sender_pin(core->install.sender) : UINT64_MAX;
    core_ship_pin(core);
    if (core->log != NULL)
        replicated_log_release(core->log, index < pin ? index : pin);
}

static void serve_members(struct core *core)
{
    struct core_install *install = &core->install;
    unsigned kept = 0;

    if (!core_leads(core) || core_state_is_passing(core)) {
        if (install->serves)
            snapshot_sender_stop(install->sender);
        install->serves = false;
        install->needed_count = 0;
        install->ended_count = 0;
        return;
    }
    for (unsigned i = 0; i < install->needed_count; i++) {
        enum status status = snapshot_sender_begin(install->sender, install->needed[i],
                                                   replicated_log_term(core->log));
        if (status == STATUS_BUSY)
            install->needed[kept++] = install->needed[i];
        else
            install->serves = true;
    }
    install->needed_count = kept;
    for (unsigned i = 0; i < install->ended_count; i++)
        replicated_log_snapshot_sent(core->log, install->ended[i].member, install->ended[i].mark,
                                     install->ended[i].ok);
    if (install->ended_count != 0)
        core_log_release(core);
    install->ended_count = 0;
}

/* ---- Installing ---- */

static void install_end(struct core *core, enum status status)
{
    log_info("snapshot_installed", LOG_U64("index", core->install.mark.index),
             LOG_TEXT("result", status_text(status)));
    core->install.step = CORE_INSTALL_NONE;
    replicated_log_hold(core->log, false);
    snapshot_receiver_installed(core->install.receiver, status);
    core->fresh.look = true;
    core->work_wanted = true;
}

static void on_prepared(void *context, enum status status)
{
    struct core_install *install = &((struct core *)context)->install;
    ASSERT(install->step == CORE_INSTALL_PREPARING);
    install->status = status;
    install->answered = true;
}

static void on_swapped(void *context, enum status status, const struct lsm_mark *mark)
{
    struct core_install *install = &((struct core *)context)->install;
    ASSERT(install->step == CORE_INSTALL_SWAPPING);
    install->status = status;
    if (status == STATUS_OK)
        install->mark = *mark;
    install->answered = true;
}

static void on_logged(void *context, enum status status)
{
    struct core_install *install = &((struct core *)context)->install;
    ASSERT(install->step == CORE_INSTALL_LOGGING);
    install->status = status;
    install->answered = true;
}

/* What looks at the state is ended; what waits for a newer one waits on. */
static void prepare(struct core *core)
{
    struct core_install *install = &core->install;

    /* The log was quicker: what was taken and is not applied counts as taken. */
    if (install->mark.index <= state_facts(core->state).applied_index + 1) {
        install_end(core, STATUS_OK);
        return;
    }
    replicated_log_hold(core->log, true);
    core_reads_refuse(core, STATUS_NOT_LEADER, "This server is being given a snapshot.");
    core_validations_refuse(core);
    install->step = CORE_INSTALL_PREPARING;
    install->answered = false;
    replicated_log_snapshot_prepare(
        core->log, (struct wal_mark){install->mark.index, install->mark.term}, on_prepared);
}

static void prepared(struct core *core)
{
    struct core_install *install = &core->install;
    if (install->status != STATUS_OK) {
        install_end(core, install->status);
        return;
    }
    install->step = CORE_INSTALL_SWAPPING;
    install->answered = false;
    lsm_install(core->lsm, install->directory, on_swapped, core);
    core->work_wanted = true;
}

static void open_state(struct core *core)
{
    struct core_install *install = &core->install;
    struct error error = {0};

    core->applying = (struct log_committed){0};
    core->apply_ready = false;
    core->apply_waits_room = false;
    enum status status = core_state_open(core, &install->mark, &error);
    if (status != STATUS_OK) {
        core_fail(core, status, "The snapshot that was installed cannot be opened: %s", error.text);
        return;
    }
    core_state_replaced(core);
    core_checkpoints_doom(core); /* the log does not reach back to them any more */
    install->step = CORE_INSTALL_LOGGING;
    install->answered = false;
    replicated_log_snapshot_installed(
        core->log, (struct wal_mark){install->mark.index, install->mark.term},
        state_membership(core->state), state_facts(core->state).position.log_time_ns, on_logged);
}

static void swapped(struct core *core)
{
    if (core->install.status == STATUS_OK)
        open_state(core);
    else
        install_end(core, core->install.status);
}

static void logged(struct core *core)
{
    enum status status = core->install.status;
    if (status == STATUS_OK) {
        core->install.installed_count++;
        core_heal_installed(core);
        install_end(core, status);
    } else {
        core_fail(core, status,
                  "The log in %s cannot begin at the snapshot's index %" PRIu64 ": %s.",
                  core->path_wal, core->install.mark.index, status_text(status));
    }
}

void core_install_turn(struct core *core)
{
    struct core_install *install = &core->install;

    if (install->sender == NULL)
        return;
    serve_members(core);
    /* A rewind has the state first: what was staged is past its entry, or comes to nothing. */
    if (install->step == CORE_INSTALL_STAGED && core->rewind.step == REWIND_NONE &&
        !core_catchup_swaps(core))
        prepare(core);
    if (install->step == CORE_INSTALL_PREPARING && install->answered)
        prepared(core);
    if (install->step == CORE_INSTALL_SWAPPING && install->answered)
        swapped(core);
    if (install->step == CORE_INSTALL_LOGGING && install->answered && !core->failed)
        logged(core);
}

bool core_is_installing(const struct core *core)
{
    return core->install.step != CORE_INSTALL_NONE || core->rewind.step != REWIND_NONE ||
           core_catchup_swaps(core);
}
