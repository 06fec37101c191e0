/* SPDX-License-Identifier: Apache-2.0 */
/* Which job is the most urgent, and what happens when one comes back. */
#include "storage/lsm/jobs.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "storage/io/blocking.h"
#include "storage/io/failure.h"
#include "storage/lsm/compaction.h"
#include "storage/lsm/lsm_internal.h"

#define NS_PER_US 1000ULL
#define NS_PER_S  1000000000ULL

/* A paced job works for `work_us` and rests for `rest_us`; each `look_size` it looks at the clock.
 */
enum { work_us = 200, rest_us = 50, look_size = 16 * 1024 };

void job_init(struct lsm_job *job, struct lsm *lsm, const struct job_operations *operations,
              enum job_urgency urgency)
{
    job->operations = operations;
    job->lsm = lsm;
    job->urgency = urgency;
    list_init(&job->link);
    list_push_last(&lsm->queue, &job->link);
}

bool job_finish(struct lsm_job *job, enum status status, const char *doing, const char *path)
{
    ASSERT(!job->finished);
    job->finished = true;
    job->status = status;
    if (status != STATUS_OK && job->error.status == STATUS_OK)
        error_set(&job->error, status, "%s %s: %s.", doing, path, io_failure_text(status));
    return true;
}

void job_await_install(struct lsm_job *job)
{
    struct lsm *lsm = job->lsm;
    job->finished = true;
    list_remove(&job->link);
    list_push_last(&lsm->finished, &job->link);
}

void job_close_outputs(struct lsm_job *job)
{
    for (size_t i = 0; i < job->edit.count; i++) {
        struct table_file *file = job->edit.changes[i].file;
        if (job->edit.changes[i].removal || file->references != 0)
            continue;
        table_unref(file->table);
        file->table = NULL;
        table_file_free(file);
    }
}

bool job_numbers_take(struct lsm *lsm, uint64_t count, uint64_t *first)
{
    ASSERT(count <= lsm_numbers_reserved);
    *first = lsm->numbers_next;
    if (count > lsm->numbers_end - lsm->numbers_next) {
        lsm->numbers_wanted = true;
        return false;
    }
    lsm->numbers_next += count;
    return true;
}

/* ---- Taking ---- */

static struct lsm_job *find_queued(const struct lsm *lsm, enum job_urgency urgency)
{
    LIST_EACH(link, &lsm->queue)
    {
        struct lsm_job *job = LIST_ENTRY(link, struct lsm_job, link);
        if (job->urgency == urgency)
            return job;
    }
    return NULL;
}

static bool begin(struct lsm *lsm, enum job_urgency urgency)
{
    /* What all content is to be replaced waits for takes no new work. */
    if (lsm->replace.asked && urgency > JOB_REPLACE)
        return false;
    if (lsm->halted && urgency > JOB_REPLACE && urgency != JOB_CHECK)
        return false;
    switch (urgency) {
    case JOB_MANIFEST:
        return install_begin(lsm);
    case JOB_REMOVE:
        return remove_begin(lsm);
    case JOB_REPLACE:
        return replace_begin(lsm);
    case JOB_FLUSH:
        return flush_begin(lsm);
    case JOB_LEVEL0:
    case JOB_LEVELS:
        return compaction_begin(lsm, urgency == JOB_LEVEL0);
    case JOB_CHECKPOINT:
        return checkpoint_begin(lsm);
    case JOB_CHECK:
        return check_begin(lsm);
    case JOB_SCRUB:
        return scrub_begin(lsm);
    }
    UNREACHABLE();
}

/* While the disk is full, only what takes no space. */
static bool may_run(const struct lsm *lsm, enum job_urgency urgency)
{
    return !lsm->retry_later || urgency == JOB_REMOVE || urgency >= JOB_CHECK;
}

struct lsm_job *lsm_job_take(struct lsm *lsm)
{
    enum job_urgency urgency = JOB_MANIFEST;
    while (urgency <= JOB_SCRUB) {
        bool wanted = lsm->numbers_wanted;
        if (!may_run(lsm, urgency)) {
            urgency++;
            continue;
        }
        struct lsm_job *job = find_queued(lsm, urgency);
        bool begun = job == NULL && begin(lsm, urgency);
        if (begun)
            job = find_queued(lsm, urgency);
        if (job != NULL) {
            list_remove(&job->link);
            list_push_last(&lsm->taken, &job->link);
            job->taken = true;
            job->paced = false;
            return job;
        }
        /* An edit without work, or the want of numbers, calls for a manifest write. */
        bool again = begun || (lsm->numbers_wanted && !wanted);
        urgency = again ? JOB_MANIFEST : urgency + 1;
    }
    return NULL;
}

void lsm_job_pace(struct lsm_job *job, bool paced)
{
    ASSERT(job->taken);
    job->paced = paced;
}

/* A scheduler may let a thread that computes go on for milliseconds, however nice it is, before
 * one that has often slept and woken gets its turn. One that sleeps by itself is in nobody's way.
 */
void job_worked(struct lsm_job *job, struct io *worker_io, size_t size)
{
    job->worked_size += size;
    if (!job->paced || job->worked_size < look_size)
        return;
    uint64_t rest_ns = rest_us * NS_PER_US;
    uint64_t worked_size = job->worked_size;
    job->worked_size = 0;
    if (job->rate_max != 0)
        rest_ns = worked_size * NS_PER_S / job->rate_max;
    else if (io_boot_ns(worker_io) < job->rest_ns)
        return;
    io_pause_wait(worker_io, rest_ns);
    job->rest_ns = io_boot_ns(worker_io) + work_us * NS_PER_US;
}

bool lsm_job_step(struct lsm_job *job, struct io *worker_io)
{
    ASSERT(job->taken);
    if (job->paced)
        job->rest_ns = io_boot_ns(worker_io) + work_us * NS_PER_US;
    return job->finished || job->operations->step(job, worker_io);
}

/* ---- Returning ---- */

void jobs_retry_later(struct lsm *lsm)
{
    if (!lsm->retry_later)
        io_timer_start(lsm->io, &lsm->retry,
                       io_boot_ns(lsm->io) + (uint64_t)lsm_retry_ms * 1000 * 1000);
    lsm->retry_later = true;
}

enum status lsm_job_return(struct lsm *lsm, struct lsm_job *job, struct error *error)
{
    ASSERT(job->taken && job->lsm == lsm);
    list_remove(&job->link);
    job->taken = false;
    if (!job->finished) {
        list_push_first(&lsm->queue, &job->link);
        return STATUS_OK;
    }
    bool writes = job->urgency == JOB_FLUSH || job->urgency == JOB_LEVEL0 ||
                  job->urgency == JOB_LEVELS || job->urgency == JOB_MANIFEST;
    enum status status = job->status;
    if (status == STATUS_OK) {
        if (writes)
            lsm->disk_full = false;
        status = job->operations->returned(job, error);
    } else {
        if (error != NULL)
            *error = job->error;
        job->operations->abandon(job, lsm->io);
    }
    if (status == STATUS_DISK_FULL) {
        lsm->disk_full = true;
        jobs_retry_later(lsm);
    }
    lsm_work(lsm);
    return status;
}

void lsm_halt(struct lsm *lsm)
{
    lsm->halted = true;
    scrub_cancel(lsm);
}

bool lsm_is_idle(const struct lsm *lsm)
{
    return list_is_empty(&lsm->queue) && list_is_empty(&lsm->taken) &&
           list_is_empty(&lsm->finished) && lsm->sealed_count == 0 &&
           list_is_empty(&lsm->obsolete) && lsm->checkpoints_count == 0 && !lsm->replace.asked &&
           !scrub_waits(lsm) && !lsm->check.progress.running && !compaction_is_wanted(lsm);
}
