/* SPDX-License-Identifier: Apache-2.0 */
#include "server/core.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/generator.h"
#include "proto/base/log.h"
#include "server/core_internal.h"
#include "server/net/request.h"
#include "storage/io/blocking.h"

enum { region_id_default = 1 };

#define DISK_RESERVE_DEFAULT  (256ULL << 20)
#define OUTCOMES_SIZE_DEFAULT (1ULL << 30)
#define NS_PER_MS             1000000ULL

/* ---- Answers ---- */

void core_fail(struct core *core, enum status status, const char *format, ...)
{
    struct error error = {.status = status};
    va_list arguments;

    if (core->failed)
        return;
    core->failed = true;
    va_start(arguments, format);
    vsnprintf(error.text, sizeof error.text, format, arguments);
    va_end(arguments);
    core->options.failed(core->options.context, &error);
}

void core_reply(struct core *core, struct request *request, const ProtobufCMessage *message)
{
    ASSERT(core->requests_count > 0);
    core->requests_count--;
    request_reply(request, message);
}

void core_refuse(struct core *core, struct request *request, enum status status,
                 uint32_t retry_after_ms, const char *format, ...)
{
    char text[error_text_size];
    va_list arguments;

    ASSERT(core->requests_count > 0);
    core->requests_count--;
    core->refused_count++;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    request_refuse(request, status, retry_after_ms, "%s", text);
}

void core_refuse_with(struct core *core, struct request *request, enum status status,
                      const Strait__Refusal *refusal)
{
    ASSERT(core->requests_count > 0);
    core->requests_count--;
    core->refused_count++;
    request_refuse_with(request, status, refusal);
}

const char *core_failure_text(const struct core *core, enum status status, char *text)
{
    const char *path;
    uint64_t offset;

    if (status == STATUS_CORRUPT && lsm_damage(core->lsm, &path, &offset))
        snprintf(text, core_failure_size, "%s: %.256s, offset %" PRIu64 ", does not hold",
                 status_text(status), path, offset);
    else if (status == STATUS_NEWER_FORMAT)
        snprintf(text, core_failure_size,
                 "it needs a newer program than this one, which can apply cluster versions up to "
                 "%" PRIu32 ". Nothing is lost: start the newer program with this data",
                 state_cluster_version_max(core->state));
    else
        snprintf(text, core_failure_size, "%s", status_text(status));
    return text;
}

void core_note_latency(struct core *core, struct histogram *histogram,
                       const struct request *request)
{
    uint64_t now_ns = io_boot_ns(core->options.io);
    histogram_add(histogram, now_ns > request->received_ns ? now_ns - request->received_ns : 0);
}

void core_take(struct core *core, struct request *request)
{
    core->requests_count++;
    switch (request->type) {
    case FRAME_COMMIT:
        core_commit(core, request);
        break;
    case FRAME_HELLO:
    case FRAME_PING:
    case FRAME_GET:
    case FRAME_SCAN:
    case FRAME_TXN_STATUS:
    case FRAME_TABLE_LIST:
    case FRAME_SNAPSHOT_OPEN:
    case FRAME_SNAPSHOT_RENEW:
    case FRAME_SNAPSHOT_CLOSE:
    case FRAME_REGION_LOST_READ:
        core_read(core, request);
        break;
    case FRAME_TXN_LIST:
    case FRAME_TXN_CANCEL:
    case FRAME_STATUS:
    case FRAME_CHECK:
        core_admin(core, request);
        break;
    case FRAME_CLUSTER_UPGRADE:
        core_version_request(core, request);
        break;
    case FRAME_REGION_PULL:
        core_ship_pull(core, request);
        break;
    case FRAME_REGION_CHECKPOINT:
        core_catchup_request(core, request);
        break;
    case FRAME_REGION_LIST:
    case FRAME_REGION_CHANGE:
    case FRAME_REGION_SWITCHOVER:
    case FRAME_REGION_PROMOTE:
        core_regions_request(core, request);
        break;
    case FRAME_REGION_LOST_LIST:
    case FRAME_REGION_LOST_CLOSE:
        core_lost_request(core, request);
        break;
    case FRAME_MEMBER_LIST:
    case FRAME_MEMBER_CHANGE:
    case FRAME_LEADER_TRANSFER:
        core_member(core, request);
        break;
    default:
        core_refuse(core, request, STATUS_UNSUPPORTED, 0, "This server does not serve %s.",
                    frame_type_name(request->type));
    }
}

/* ---- Turns ---- */

/* What may go on without waiting for anything. */
static bool has_more(const struct core *core)
{
    if (core->failed)
        return false;
    if (core->work_wanted && workers_are_inline(core->workers) && !core->closing)
        return true;
    if (core->heal.look || (core->heal.step == CORE_HEAL_WANTED && !core_is_installing(core)))
        return true;
    if (core->rewind.step == REWIND_RESTORING && core->rewind.answered)
        return true;
    if ((core->install.step == CORE_INSTALL_STAGED && core->rewind.step == REWIND_NONE &&
         !core_catchup_swaps(core)) ||
        (core->install.step != CORE_INSTALL_NONE && core->install.answered))
        return true;
    if (core->catchup.look && core->catchup.server != NULL)
        return true;
    if (core->remote.look && core->remote.waiting_count != 0)
        return true;
    if (core_lost_tells(core) || core_surrender_goes_on(core))
        return true;
    return (core->apply_ready && !core->apply_waits_room && !core_is_installing(core) &&
            !core_is_healing(core) && state_apply_is_active(core->state)) ||
           !list_is_empty(&core->reads_ready) || !list_is_empty(&core->reads_decided) ||
           !list_is_empty(&core->validatable) || !list_is_empty(&core->dropped) ||
           core->region_changed;
}

bool core_turn(struct core *core)
{
    /* The disk and the peers first: they work while the rest of the turn does. */
    replicated_log_turn(core->log);
    core_validate(core);
    core_admit_delayed(core);
    core_apply(core);
    core_position(core);
    core_lease_turn(core);
    core_remote_turn(core);
    core_ship_turn(core);
    core_region_turn(core);
    core_reads_run(core);
    core_jobs_run(core);
    replicated_log_turn(core->log);
    return has_more(core);
}

uint64_t core_requests_count(const struct core *core)
{
    return core->requests_count;
}

struct core_facts core_facts(const struct core *core)
{
    struct state_facts facts = state_facts(core->state);
    return (struct core_facts){
        .member = replicated_log_self(core->log),
        .term = replicated_log_term(core->log),
        .leads = replicated_log_role(core->log) == LOG_LEADER,
        .role = core_role_text(core),
        .commit_index = replicated_log_commit_index(core->log),
        .applied_index = facts.applied_index,
        .applied_term = facts.applied_term,
        .version = facts.position.version,
        .chain_digest = facts.chain_digest,
        .snapshots_count = core->install.installed_count,
        .is_installing = core_is_installing(core),
        .rebuilds_count = core->heal.rebuilt_count,
        .is_rebuilding = core_is_healing(core),
        .odd_version = core->heal.version,
        .scrubs_count = core->scrub.count,
        .cluster_version = facts.cluster_version,
        .rewinds_count = core->rewind.count,
        .surrenders_count = core->surrender.count,
        .is_surrendered = state_is_surrendered(core->state),
        .adoptions_count = core->catchup.count,
        .is_adopting = state_is_adopting(core->state),
        .is_rewinding = core_is_rewinding(core),
        .lacks_checkpoint = core->rewind.lacks,
    };
}

const struct replicated_log *core_log(const struct core *core)
{
    return core->log;
}

static void on_tick(struct io_timer *timer)
{
    struct core *core = timer->context;
    uint64_t blocked_count = lsm_statistics(core->lsm).blocked_count;
    core->prefetches = blocked_count != core->blocked_count;
    core->blocked_count = blocked_count;
    core->apply_waits_room = false; /* where it was memory that lacked, no job tells of it */
    core_space_look(core);
    core_checkpoints_look(core);
    core_ship_pin(core);
    core_herald_turn(core);
    core_ship_look(core);
    core_guard_look(core);
    core_lost_look(core);
    core_surrender_look(core);
    core_catchup_look(core);
    core_tick(core);
    core_version_look(core);
    core_fresh_look_ahead(core);
    core_digests_lead(core);
    io_timer_start(core->options.io, timer,
                   io_boot_ns(core->options.io) + core_tick_ms * NS_PER_MS);
}

static void on_admit(struct io_timer *timer)
{
    (void)timer; /* core_turn() admits what is due */
}

/* ---- Callbacks from below: they only take note ---- */

static void on_lsm_work(void *context)
{
    struct core *core = context;
    core->work_wanted = true;
    core->apply_waits_room = false;
}

static void on_apply_ready(void *context)
{
    struct core *core = context;
    core->apply_ready = true;
}

static void on_committed(void *context)
{
    (void)context; /* core_apply() looks each turn */
}

static void on_log_failed(void *context, enum status status, const char *text)
{
    struct core *core = context;
    core_fail(core, status, "The write-ahead log in %s cannot be written any more: %s",
              core->path_wal, text);
}

/* ---- Opening ---- */

static enum status make_directory(struct io *io, const char *parent, const char *path,
                                  struct error *error)
{
    enum status status = io_make_directory_wait(io, path);
    if (status == STATUS_OK)
        status = io_flush_directory_wait(io, parent);
    if (status != STATUS_OK && status != STATUS_ALREADY_EXISTS)
        return error_set(error, status, "The directory %s could not be made: %s.", path,
                         status_text(status));
    return STATUS_OK;
}

/* The retention is part of the state, as apply depends on it: a store keeps that which it was made
 * with. */
static void tell_retention(const struct core *core)
{
    struct state_facts facts = state_facts(core->state);
    uint64_t wanted_ms = core->options.outcome_retention_ms;
    if (wanted_ms != 0 && wanted_ms != facts.outcome_retention_ms)
        log_warn(
            "outcome_retention_kept", LOG_U64("configured_ms", wanted_ms),
            LOG_U64("kept_ms", facts.outcome_retention_ms),
            LOG_TEXT("text", "how long outcomes are kept was settled when this store was made"));
}

enum status core_state_open(struct core *core, const struct lsm_mark *mark, struct error *error)
{
    const struct state_options state_options = {
        .lsm = core->lsm,
        .io = core->options.io,
        .mark = mark,
        .cluster_version_max = core->options.cluster_version_max,
        .region_id = core->options.standby_of_count == 0 ? core->options.region_id : 0,
        .outcome_retention_ms = core->options.outcome_retention_ms,
        .apply_ready = on_apply_ready,
        .context = core,
    };
    struct state *opened;
    enum status status = state_open(&state_options, &opened, error);
    if (status != STATUS_OK)
        return status;
    state_close(core->state);
    core->state = opened;
    tell_retention(core);
    return STATUS_OK;
}

static enum status open_tables(struct core *core, bool bare, struct lsm_mark *mark,
                               struct error *error)
{
    const struct core_options *options = &core->options;
    struct lsm_report report;

    const struct lsm_options lsm_options = {
        .io = options->io,
        .keyring = options->keyring,
        .directory = core->path_lsm,
        .trees = state_trees,
        .trees_count = state_trees_count,
        .memtable_size = options->memtable_size,
        .cache_size = options->cache_size,
        .table_size = options->table_size,
        .uncompressed = options->uncompressed,
        .bare = bare,
        .work = on_lsm_work,
        .context = core,
    };
    enum status status = lsm_open(&lsm_options, &core->lsm, mark, &report, error);
    if (status != STATUS_OK)
        return status;
    log_info("tables_opened", LOG_U64("tables", report.tables_count),
             LOG_U64("leftovers_removed", report.removed_count), LOG_U64("index", mark->index),
             LOG_U64("version", mark->version));
    if (report.manifest_repaired)
        log_warn("metadata_repaired", LOG_TEXT("file", report.repaired_path));
    status = core_state_open(core, mark, error);
    if (status != STATUS_OK) {
        lsm_close(core->lsm);
        core->lsm = NULL;
    }
    return status;
}

/* Tables that are damaged are no reason to end where another member may have them. */
static enum status open_storage(struct core *core, struct lsm_mark *mark, struct error *error)
{
    const struct core_options *options = &core->options;
    struct error bare_error = {0};

    enum status status = make_directory(options->io, options->directory, core->path_lsm, error);
    if (status == STATUS_OK)
        status = make_directory(options->io, options->directory, core->path_wal, error);
    if (status != STATUS_OK)
        return status;
    bool bare = options->bus != NULL && core_heal_open(core);
    status = open_tables(core, bare, mark, error);
    if (status != STATUS_CORRUPT || bare || options->bus == NULL)
        return status;
    if (open_tables(core, true, mark, &bare_error) != STATUS_OK)
        return status;
    log_error("tables_damaged", LOG_TEXT("text", error->text));
    core_heal_begin_open(core, error->text);
    return STATUS_OK;
}

/* Whether there is somebody to rebuild from. */
static enum status check_healing(const struct core *core, struct error *error)
{
    if (!core_is_healing(core) || core_heal_is_possible(core))
        return STATUS_OK;
    *error = (struct error){0};
    return error_set(error, STATUS_CORRUPT, "%s There is no other member to rebuild from.",
                     core->heal.why);
}

static enum status open_log(struct core *core, const struct lsm_mark *mark, struct error *error)
{
    struct wal_report report;
    struct state_facts facts = state_facts(core->state);
    const struct replicated_log_options log_options = {
        .io = core->options.io,
        .keyring = core->options.keyring,
        .directory = core->path_wal,
        .segment_size = core->options.segment_size,
        .space_kept_size = ballast_low_size(&core->ballast),
        .base = {.index = mark->index, .term = mark->term},
        .log_time_ns = facts.position.log_time_ns,
        .membership = state_membership(core->state),
        .bootstrap = core->options.bootstrap || core->options.bus == NULL,
        .self = core->options.self,
        .bus = core->options.bus,
        .seed = core->options.seed,
        .election_timeout_ms = core->options.election_timeout_ms,
        .lease_off = core->options.lease_off,
        .committed = on_committed,
        .dropped = core_on_dropped,
        .changed = core_on_changed,
        .confirmed = core_on_confirmed,
        .unconfirmed = core_on_unconfirmed,
        .snapshot_needed = core_on_snapshot_needed,
        .received = core_on_received,
        .failed = on_log_failed,
        .context = core,
    };
    uint64_t begun_ns = io_boot_ns(core->options.io);
    enum status status = replicated_log_open(&log_options, &core->log, &report, error);
    if (status != STATUS_OK)
        return status;
    log_info("log_recovered", LOG_U64("entries", report.entries_count),
             LOG_U64("last_index", report.last.index), LOG_U64("segments", report.segments_count),
             LOG_U64("took_ms", (io_boot_ns(core->options.io) - begun_ns) / NS_PER_MS));
    if (report.torn)
        log_info("log_tail_torn", LOG_U64("from_index", report.torn_index),
                 LOG_TEXT("text", "the last batch was cut short by a crash; it was never "
                                  "acknowledged, and is dropped"));
    if (report.hard_state.repaired)
        log_warn("metadata_repaired", LOG_TEXT("file", report.hard_state.path));
    return STATUS_OK;
}

/* A region of one: what the log held beyond the state is committed, and applied, before the term's
 * own no-op. */
static enum status catch_up(struct core *core, struct error *error)
{
    char text[core_failure_size];
    struct log_committed committed;
    while (!replicated_log_may_read(core->log)) {
        replicated_log_turn(core->log);
        if (!replicated_log_take(core->log, &committed)) {
            io_turn(core->options.io, true);
            if (core->failed)
                return error_set(error, STATUS_IO_ERROR, "The log could not be written.");
            continue;
        }
        struct rewind due;
        if (state_rewind_is_due(core->state, &committed.entry, &due)) {
            enum status rewound = core_rewind_now(core, &committed, error);
            if (rewound != STATUS_OK)
                return rewound;
            continue;
        }
        enum status status =
            core_apply_now(core, committed.index, committed.term, &committed.entry);
        if (status != STATUS_OK)
            return error_set(error, status,
                             "Entry %" PRIu64 " of the log could not be applied: %s.",
                             committed.index, core_failure_text(core, status, text));
        replicated_log_applied(core->log, committed.index);
    }
    return STATUS_OK;
}

static bool is_proposing(const struct core *core)
{
    return !core->failed && replicated_log_inflight_count(core->log) != 0;
}

/* The term begins with its no-op, and a tick where one is due: a new state, and one that
 * was idle for long, has no log time that clients could issue by before that. */
static void begin_term(struct core *core)
{
    core_position(core);
    on_tick(&core->tick_timer);
    while (is_proposing(core)) {
        bool more = core_turn(core);
        io_turn(core->options.io, !more && is_proposing(core));
    }
}

static void set_defaults(struct core *core)
{
    struct core_options *options = &core->options;
    if (options->workers_count == 0)
        options->workers_count = 1;
    if (options->region_id == 0)
        options->region_id = region_id_default;
    if (options->outcomes_size_max == 0)
        options->outcomes_size_max = OUTCOMES_SIZE_DEFAULT;
    if (options->snapshot_age_ms == 0)
        options->snapshot_age_ms = limit_snapshot_age_ms;
    if (options->disk_reserve_size == 0)
        options->disk_reserve_size = DISK_RESERVE_DEFAULT;
}

static bool memtables_are_written(struct core *core)
{
    return lsm_statistics(core->lsm).sealed_count == 0 &&
           lsm_installed_index(core->lsm) == state_facts(core->state).applied_index;
}

static enum status write_memtables(struct core *core, struct error *error)
{
    enum status status;
    lsm_seal(core->lsm);
    status = core_jobs_run_here(core, memtables_are_written, error);
    /* Without space the log keeps what the tables could not take. */
    if (status == STATUS_DISK_FULL) {
        log_warn("memtables_kept_in_log", LOG_TEXT("text", "no space to write them as tables"));
        status = STATUS_OK;
    }
    return status;
}

static enum status open_workers(struct core *core, struct error *error)
{
    if (core->options.workers_inline)
        return workers_open_inline(core->options.io, &core->workers, error);
    return workers_open(core->options.io, core->options.workers_count, &core->workers, error);
}

static enum status open_all(struct core *core, struct error *error)
{
    const struct core_options *options = &core->options;
    struct generator generator;
    struct lsm_mark mark;

    /* Ids of snapshots are drawn from a range so wide that one of another server, or of an earlier
     * start, is none of ours. */
    generator_init(&generator, options->seed);
    enum status status = snapshots_init(&core->snapshots, options->snapshot_age_ms * NS_PER_MS,
                                        generator_draw(&generator) >> snapshots_first_shift);
    if (status != STATUS_OK)
        return error_set(error, status, "Out of memory for %d snapshots.", limit_snapshots_count);
    ballast_open(&core->ballast, options->io, options->directory, options->disk_reserve_size);
    status = open_storage(core, &mark, error);
    if (status == STATUS_OK)
        status = open_log(core, &mark, error);
    if (status == STATUS_OK)
        status = check_healing(core, error);
    if (status == STATUS_OK)
        core_checkpoints_open(core);
    if (status == STATUS_OK && core_leads(core))
        status = catch_up(core, error);
    if (status != STATUS_OK)
        return status;
    core_membership_applied(core);
    core->region_changed = true;
    status = core_install_open(core, error);
    if (status == STATUS_OK)
        status = core_ship_open(core, error);
    if (status != STATUS_OK)
        return status;
    core_lease_open(core);
    /* Each start begins a segment of the log: written as tables, what the earlier ones hold is
     * needed no more, and they can be used again where there is no space for new ones. Done before
     * anybody is served, so that starts which follow each other quickly do not use up what is left.
     */
    core_space_look(core);
    if (core->disk_low && !core_is_healing(core))
        status = write_memtables(core, error);
    if (status == STATUS_OK)
        status = open_workers(core, error);
    if (status != STATUS_OK)
        return status;
    core_log_release(core);
    core->work_wanted = true;
    if (core_leads(core))
        begin_term(core);
    else
        on_tick(&core->tick_timer);
    core->ticks_follow = true;
    if (core->failed)
        return error_set(error, STATUS_IO_ERROR, "Stopped by the failure above.");
    return STATUS_OK;
}

/* Frees all that was opened, in reverse order. Nothing is under way that a worker has. */
static void dismantle(struct core *core)
{
    struct io *io = core->options.io;

    io_timer_stop(io, &core->tick_timer);
    io_timer_stop(io, &core->admit_timer);
    io_timer_stop(io, &core->fresh.timer);
    io_timer_stop(io, &core->transfer.timer);
    core_heal_close(core);
    if (core->workers != NULL)
        workers_close(core->workers);
    core_install_close(core);
    core_remote_close(core);
    core_lease_close(core);
    core_ship_close(core);
    if (core->log != NULL && replicated_log_close(core->log) != STATUS_OK)
        log_error("log_close_failed", LOG_TEXT("directory", core->path_wal));
    if (core->state != NULL)
        state_close(core->state);
    if (core->lsm != NULL)
        lsm_close(core->lsm);
    ballast_close(&core->ballast);
    snapshots_free(&core->snapshots);
    free(core);
}

enum status core_open(const struct core_options *options, struct core **core_out,
                      struct error *error)
{
    struct core *core = calloc(1, sizeof *core);

    *core_out = NULL;
    if (core == NULL)
        return error_set(error, STATUS_NO_MEMORY, "Out of memory at start.");
    histogram_init(&core->commits_ns);
    histogram_init(&core->reads_ns);
    core->options = *options;
    set_defaults(core);
    core->started_ns = io_boot_ns(options->io);
    list_init(&core->reads_ready);
    list_init(&core->reads_parked);
    list_init(&core->reads_unconfirmed);
    list_init(&core->reads_decided);
    list_init(&core->validating);
    list_init(&core->validatable);
    list_init(&core->dropped);
    core_fresh_open(core);
    core_remote_open(core);
    list_init(&core->lease.waiting);
    list_init(&core->delayed);
    list_init(&core->logged);
    core->tick_timer = (struct io_timer){.fired = on_tick, .context = core};
    core->admit_timer = (struct io_timer){.fired = on_admit, .context = core};
    snprintf(core->path_wal, sizeof core->path_wal, "%s/wal", options->directory);
    snprintf(core->path_lsm, sizeof core->path_lsm, "%s/lsm", options->directory);

    enum status status = open_all(core, error);
    if (status != STATUS_OK) {
        dismantle(core);
        return status;
    }
    *core_out = core;
    return STATUS_OK;
}

/* ---- Closing ---- */

void core_refuse_rest(struct core *core)
{
    core_reads_refuse(core, STATUS_SHUTTING_DOWN, "This server stopped.");
    core_commits_refuse(core);
    core_lease_refuse(core);
    core_remote_refuse(core);
    core_member_refuse(core);
    core_version_refuse(core);
    core_regions_refuse(core);
    core_catchup_refuse(core);
    if (core->ship.source != NULL)
        source_lead(core->ship.source, false, NULL);
    core->answers_none = true;
}

/* Whether something is under way that a close waits for. Asked again before the wait itself: where
 * the turn was what ended it, nothing else would come that ends the wait. */
static bool must_finish(const struct core *core, bool alone)
{
    if (core->failed)
        return false;
    if (workers_busy_count(core->workers) != 0)
        return true;
    /* No job makes room any more: what waits for it is applied from the log, after the next start.
     */
    if (core->apply_waits_room)
        return false;
    return (alone && replicated_log_inflight_count(core->log) != 0) ||
           (state_apply_is_active(core->state) && !core_is_installing(core) &&
            !core_is_healing(core));
}

enum status core_close(struct core *core, struct error *error)
{
    struct io *io = core->options.io;

    core_refuse_rest(core);
    ASSERT(core->requests_count == 0);
    core->ticks_follow = false;
    io_timer_stop(io, &core->tick_timer);
    io_timer_stop(io, &core->admit_timer);
    core->closing = true;
    /* In a region of one, what it proposed itself is committed yet; in a larger one that is the
     * next leader's. What is being applied is finished in both. */
    bool alone = core->membership.count <= 1 && core_leads(core);
    while (must_finish(core, alone)) {
        bool more = core_turn(core);
        io_turn(io, !more && must_finish(core, alone));
    }
    if (core->failed)
        return error_set(error, STATUS_IO_ERROR, "Stopped by the failure above.");
    enum status status = core_is_healing(core) ? STATUS_OK : write_memtables(core, error);
    core_log_release(core);
    core_lease_close(
        core); /* nothing that a witness still says reaches a log that is being closed */
    core_ship_close(core);
    enum status closed = replicated_log_close(core->log);
    core->log = NULL;
    if (status == STATUS_OK && closed != STATUS_OK)
        status = error_set(error, closed, "The log in %s was not closed cleanly: %s.",
                           core->path_wal, status_text(closed));
    dismantle(core);
    return status;
}

void core_abandon(struct core *core)
{
    ASSERT(core->options.workers_inline);
    core->failed = true;
    core_refuse_rest(core);
    ASSERT(core->requests_count == 0);
    dismantle(core);
}
