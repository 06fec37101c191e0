/* SPDX-License-Identifier: Apache-2.0 */
/* The LSM's jobs on their way to workers and back; checks of what is on disk; the disk's space. */
#include <inttypes.h>
#include <stdio.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "server/core_internal.h"

enum { snapshot_jobs_every = 4 }; /* jobs of the LSM, while it has some */

/* What a finished job's status means for us. */
static void job_ended(struct core *core, enum status status, const struct error *error)
{
    if (status == STATUS_DISK_FULL) {
        if (!core->job_failed_full)
            log_error("disk_full", LOG_TEXT("text", error->text));
        core->job_failed_full = true;
        return;
    }
    core->job_failed_full = false;
    if (status == STATUS_CORRUPT && core_damaged(core, 0, "%s", error->text))
        return;
    if (status != STATUS_OK)
        core_fail(core, status, "%s", error->text);
}

static void job_returned(struct work *work, bool finished)
{
    struct core_job *slot = work->context;
    struct core *core = slot->core;
    struct error error = {0};

    (void)finished; /* the LSM knows */
    enum status status = lsm_job_return(core->lsm, slot->job, &error);
    slot->job = NULL;
    core->work_wanted = true;
    core->apply_waits_room = false;
    job_ended(core, status, &error);
    core_log_release(core);
}

static bool job_step(struct work *work, struct io *worker_io)
{
    struct core_job *slot = work->context;
    return lsm_job_step(slot->job, worker_io);
}

static struct core_job *free_slot(struct core *core)
{
    for (unsigned i = 0; i < workers_max; i++) {
        if (core->jobs[i].job == NULL)
            return &core->jobs[i];
    }
    UNREACHABLE();
}

/* ---- Jobs of snapshots: one is out at a time ---- */

static bool snapshot_step(struct work *work, struct io *worker_io)
{
    return snapshot_job_step(((struct core *)work->context)->install.job, worker_io);
}

static void snapshot_returned(struct work *work, bool finished)
{
    struct core *core = work->context;
    struct snapshot_job *job = core->install.job;

    core->install.job = NULL;
    core->work_wanted = true;
    snapshot_job_return(job, finished);
    core_log_release(core);
}

/* They come behind the LSM's, but are not kept from their turn for good. */
static bool give_snapshot_job(struct core *core, bool lsm_is_idle)
{
    struct core_install *install = &core->install;

    if (install->sender == NULL || install->job != NULL ||
        (!lsm_is_idle && install->given_count < snapshot_jobs_every))
        return false;
    install->job = snapshot_receiver_job(install->receiver);
    if (install->job == NULL && core->catchup.receiver != NULL)
        install->job = snapshot_receiver_job(core->catchup.receiver);
    if (install->job == NULL)
        install->job = snapshot_sender_job(install->sender);
    if (install->job == NULL && core->catchup.sender != NULL)
        install->job = snapshot_sender_job(core->catchup.sender);
    if (install->job == NULL)
        return false;
    install->given_count = 0;
    install->work =
        (struct work){.step = snapshot_step, .returned = snapshot_returned, .context = core};
    workers_give(core->workers, &install->work);
    return true;
}

static void check_rest_give(struct core *core);

void core_jobs_run(struct core *core)
{
    if (!core->work_wanted || core->failed || core->closing)
        return;
    workers_turn(core->workers);
    core_heal_jobs_run(core);
    core_checkpoints_jobs_run(core);
    while (workers_has_idle(core->workers)) {
        if (give_snapshot_job(core, false))
            continue;
        struct lsm_job *job = lsm_job_take(core->lsm);
        if (job == NULL) {
            if (give_snapshot_job(core, true))
                continue;
            core->work_wanted = false;
            break;
        }
        core->install.given_count++;
        struct core_job *slot = free_slot(core);
        *slot = (struct core_job){.core = core, .job = job};
        slot->work.step = job_step;
        slot->work.returned = job_returned;
        slot->work.context = slot;
        lsm_job_pace(job, !workers_are_inline(core->workers) &&
                              lsm_pressure(core->lsm) < core_pace_pressure);
        workers_give(core->workers, &slot->work);
    }
    if (core->check.rest_wanted && workers_has_idle(core->workers))
        check_rest_give(core);
}

enum status core_jobs_run_here(struct core *core, bool (*enough)(struct core *core),
                               struct error *error)
{
    struct lsm_job *job;
    while (!enough(core) && (job = lsm_job_take(core->lsm)) != NULL) {
        while (!lsm_job_step(job, core->options.io))
            ;
        enum status status = lsm_job_return(core->lsm, job, error);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

/* ---- Checks ---- */

static void add_finding(struct core_finding *findings, uint64_t *count, const char *path,
                        uint64_t offset, const char *text)
{
    if (*count < core_findings_max) {
        struct core_finding *finding = &findings[*count];
        finding->offset = offset;
        snprintf(finding->file, sizeof finding->file, "%s", path);
        snprintf(finding->text, sizeof finding->text, "%s", text);
    }
    (*count)++;
}

void core_check_found(struct core *core, const char *path, uint64_t offset, const char *text)
{
    log_error("check_found", LOG_TEXT("file", path), LOG_U64("offset", offset),
              LOG_TEXT("text", text));
    add_finding(core->check.findings, &core->check.findings_count, path, offset, text);
}

static void on_lsm_bad(void *context, const char *path, uint64_t offset, const char *text)
{
    struct core *core = context;
    struct core_check *check = &core->check;

    core_check_found(core, path, offset, text);
    check->tables_findings_count++;
    /* What a snapshot has replaced meanwhile is of no interest any more. */
    if (check->installed_count != core->install.installed_count)
        return;
    if (!core_damaged(core, 0, "%s, at byte %" PRIu64 ": %s", path, offset, text))
        log_error("tables_damaged", LOG_TEXT("path", path));
}

static void check_ended(struct core *core)
{
    if (core->check.lsm_running || core->check.rest_running)
        return;
    log_info("check_ended", LOG_U64("findings", core->check.findings_count));
}

static void on_lsm_checked(void *context, enum status status)
{
    struct core *core = context;
    if (status != STATUS_OK)
        core_check_found(core, core->path_lsm, 0, status_text(status));
    core->check.lsm_running = false;
    check_ended(core);
}

static void on_rest_bad(void *context, const char *path, uint64_t offset, const char *text)
{
    struct core_check *check = context;
    add_finding(check->rest_findings, &check->rest_findings_count, path, offset, text);
}

static void on_copy_bad(void *context, const char *path, const char *text)
{
    on_rest_bad(context, path, 0, text);
}

/* On a worker: the registry and the write-ahead log. */
static bool check_rest_step(struct work *work, struct io *worker_io)
{
    struct core_check *check = work->context;
    struct core *core = check->core;

    enum status status = keyring_check(worker_io, core->options.keyring, core->options.directory,
                                       on_copy_bad, check);
    if (status != STATUS_OK && check->rest_findings_count == 0)
        on_rest_bad(check, core->options.directory, 0, status_text(status));
    uint64_t before = check->rest_findings_count;
    status = wal_check(worker_io, core->options.keyring, core->path_wal, check->durable_index,
                       on_rest_bad, &check->rest_checked_size, check);
    if (status != STATUS_OK && check->rest_findings_count == before)
        on_rest_bad(check, core->path_wal, 0, status_text(status));
    return true;
}

static void check_rest_returned(struct work *work, bool finished)
{
    struct core_check *check = work->context;
    (void)finished;
    for (uint64_t i = 0; i < check->rest_findings_count && i < core_findings_max; i++)
        core_check_found(check->core, check->rest_findings[i].file, check->rest_findings[i].offset,
                         check->rest_findings[i].text);
    if (check->rest_findings_count > core_findings_max)
        check->findings_count += check->rest_findings_count - core_findings_max;
    check->rest_running = false;
    check->core->work_wanted = true;
    check_ended(check->core);
}

static void check_rest_give(struct core *core)
{
    core->check.rest_wanted = false;
    core->check.work.step = check_rest_step;
    core->check.work.returned = check_rest_returned;
    core->check.work.context = &core->check;
    core->check.durable_index = replicated_log_durable_index(core->log);
    workers_give(core->workers, &core->check.work);
}

enum status core_check_start(struct core *core)
{
    struct core_check *check = &core->check;
    if (check->lsm_running || check->rest_running)
        return STATUS_BUSY;
    *check = (struct core_check){.core = core, .installed_count = core->install.installed_count};
    enum status status = lsm_check(core->lsm, on_lsm_bad, on_lsm_checked, core);
    if (status != STATUS_OK)
        return status;
    check->lsm_running = true;
    check->rest_running = true;
    check->rest_wanted = true;
    core->work_wanted = true;
    return STATUS_OK;
}

/* ---- Space ---- */

void core_space_look(struct core *core)
{
    enum status status = io_space(core->options.io, core->options.directory, &core->space);
    if (status != STATUS_OK) {
        log_error("disk_space_unknown", LOG_TEXT("reason", status_text(status)));
        return;
    }
    bool low = core->space.free_size < core->options.disk_reserve_size;
    if (low && !core->disk_low)
        log_error("disk_low", LOG_U64("free_bytes", core->space.free_size),
                  LOG_U64("reserve_bytes", core->options.disk_reserve_size),
                  LOG_TEXT("text", "only deletes are taken: free space or delete records"));
    if (!low && core->disk_low)
        log_info("disk_recovered", LOG_U64("free_bytes", core->space.free_size));
    core->disk_low = low;
    ballast_look(&core->ballast, &core->space);
    if (core->job_failed_full)
        core->work_wanted = true; /* there may be space now */
    if (core->log_full && lsm_pressure(core->lsm) == 0) {
        /* Once it is written as tables, the segments that hold it are used again. */
        core->log_full = false;
        lsm_seal(core->lsm);
    }
}
