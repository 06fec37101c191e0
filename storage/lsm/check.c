/* SPDX-License-Identifier: Apache-2.0 */
/* The check of all that is on disk: one job for each table of a set, then one for the manifest.
 * Findings are kept by the job and told on the core's thread when it comes back. */
#include <stdlib.h>

#include "proto/base/assert.h"
#include "storage/lsm/lsm_internal.h"
#include "storage/lsm/table_check.h"

enum { findings_max = 64 }; /* of one job; more are counted */

struct finding {
    char path[table_path_size];
    uint64_t offset;
    char text[128];
};

struct check_job {
    struct lsm_job job;
    const struct table_file *file; /* NULL: the manifest */
    struct table_check *check;
    enum status outcome; /* of the check itself: not a finding */
    uint64_t found_count;
    unsigned kept_count;
    struct finding findings[findings_max];
};

static void keep_finding(struct check_job *check, const char *path, uint64_t offset,
                         const char *text)
{
    check->found_count++;
    if (check->kept_count == findings_max)
        return;
    struct finding *finding = &check->findings[check->kept_count++];
    finding->offset = offset;
    strncpy(finding->path, path, sizeof finding->path - 1);
    strncpy(finding->text, text, sizeof finding->text - 1);
}

static void table_bad(void *context, uint64_t offset, const char *text)
{
    struct check_job *check = context;
    keep_finding(check, table_file_path(check->file->table), offset, text);
}

static void manifest_bad(void *context, const char *path, const char *text)
{
    keep_finding(context, path, 0, text);
}

static bool check_step(struct lsm_job *job, struct io *worker_io)
{
    struct check_job *check = (struct check_job *)job;
    const struct lsm *lsm = job->lsm;
    enum status status;
    if (check->file != NULL) {
        status = table_check_step(check->check, worker_io, table_bad, check);
        if (status == STATUS_OK)
            return false;
    } else {
        status = twin_check(worker_io, lsm->options.keyring, lsm->directory, "manifest",
                            SEAL_FORMAT_MANIFEST, manifest_bad, check);
        if (status == STATUS_CORRUPT || status == STATUS_NOT_FOUND)
            status = STATUS_OK; /* found, and told */
    }
    check->outcome = status == STATUS_END ? STATUS_OK : status;
    return job_finish(job, STATUS_OK, "", "");
}

/* ---- From one table to the next ---- */

static struct table_file *next_file(struct lsm *lsm)
{
    struct check_state *state = &lsm->check;
    for (; state->tree < state->set->trees_count; state->tree++, state->level = 0)
        for (; state->level < lsm_levels_count; state->level++, state->position = 0) {
            const struct level *level = &state->set->trees[state->tree]->levels[state->level];
            if (state->position < level->count)
                return level->files[state->position++];
        }
    return NULL;
}

static void check_end(struct lsm *lsm, enum status status)
{
    struct check_state *state = &lsm->check;
    version_set_release(state->set, &lsm->obsolete);
    state->set = NULL;
    state->progress.running = false;
    state->done(state->context, status);
}

static void tell_findings(struct lsm *lsm, const struct check_job *check)
{
    for (unsigned i = 0; i < check->kept_count; i++)
        lsm->check.bad(lsm->check.context, check->findings[i].path, check->findings[i].offset,
                       check->findings[i].text);
    lsm->check.progress.findings_count += check->found_count;
}

static void check_free(struct check_job *check)
{
    check->job.lsm->check_running = false;
    table_check_close(check->check);
    free(check);
}

static enum status check_returned(struct lsm_job *job, struct error *error)
{
    struct check_job *check = (struct check_job *)job;
    struct lsm *lsm = job->lsm;
    enum status outcome = check->outcome;
    bool last = check->file == NULL;
    (void)error;
    tell_findings(lsm, check);
    if (!last) {
        lsm->check.progress.checked_size += check->file->info.file_size;
        lsm->check.progress.files_count++;
    }
    check_free(check);
    if (last || outcome != STATUS_OK)
        check_end(lsm, outcome);
    return STATUS_OK;
}

static void check_abandon(struct lsm_job *job, struct io *io)
{
    (void)io;
    check_free((struct check_job *)job);
}

static const struct job_operations check_operations = {
    .step = check_step,
    .returned = check_returned,
    .abandon = check_abandon,
};

bool check_begin(struct lsm *lsm)
{
    if (!lsm->check.progress.running || lsm->check_running)
        return false;
    struct check_job *check = calloc(1, sizeof *check);
    if (check == NULL)
        return false;
    check->job.lsm = lsm;
    check->file = next_file(lsm);
    if (check->file != NULL && table_check_open(check->file->table, &check->check) != STATUS_OK) {
        check_free(check);
        check_end(lsm, STATUS_NO_MEMORY);
        return false;
    }
    lsm->check_running = true;
    job_init(&check->job, lsm, &check_operations, JOB_CHECK);
    return true;
}

/* ---- The interface ---- */

enum status lsm_check(struct lsm *lsm,
                      void (*bad)(void *context, const char *path, uint64_t offset,
                                  const char *text),
                      void (*done)(void *context, enum status status), void *context)
{
    if (lsm->check.progress.running)
        return STATUS_BUSY;
    lsm->check = (struct check_state){
        .set = version_set_hold(lsm->current), .bad = bad, .done = done, .context = context};
    lsm->check.progress.running = true;
    for (unsigned t = 0; t < lsm->trees_count; t++)
        for (unsigned l = 0; l < lsm_levels_count; l++)
            lsm->check.progress.total_size += lsm->current->trees[t]->levels[l].size;
    lsm_work(lsm);
    return STATUS_OK;
}

struct lsm_check_progress lsm_check_progress(const struct lsm *lsm)
{
    return lsm->check.progress;
}
