/* SPDX-License-Identifier: Apache-2.0 */
/* Unlinks files that no set, and so no manifest, view, job or checkpoint under way, names any
 * more. What cannot be unlinked is logged and left for the next opening. */
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "storage/io/blocking.h"
#include "storage/lsm/lsm_internal.h"

enum { remove_files_max = 64 };

struct remove_job {
    struct lsm_job job;
    unsigned count;
    char paths[remove_files_max][table_path_size];
};

static bool remove_step(struct lsm_job *job, struct io *worker_io)
{
    struct remove_job *remove = (struct remove_job *)job;
    for (unsigned i = 0; i < remove->count; i++) {
        enum status status = io_unlink_wait(worker_io, remove->paths[i]);
        if (status != STATUS_OK)
            log_warn("table_not_removed", LOG_TEXT("path", remove->paths[i]),
                     LOG_TEXT("reason", status_text(status)));
    }
    return job_finish(job, STATUS_OK, "", "");
}

static enum status remove_returned(struct lsm_job *job, struct error *error)
{
    (void)error;
    job->lsm->remove_running = false;
    free(job);
    return STATUS_OK;
}

static void remove_abandon(struct lsm_job *job, struct io *io)
{
    (void)io;
    job->lsm->remove_running = false;
    free(job);
}

static const struct job_operations remove_operations = {
    .step = remove_step,
    .returned = remove_returned,
    .abandon = remove_abandon,
};

bool remove_begin(struct lsm *lsm)
{
    if (lsm->remove_running || list_is_empty(&lsm->obsolete))
        return false;
    struct remove_job *remove = malloc(sizeof *remove);
    if (remove == NULL)
        return false;
    remove->job = (struct lsm_job){0};
    remove->count = 0;
    struct list_link *link;
    while (remove->count < remove_files_max && (link = list_pop_first(&lsm->obsolete)) != NULL) {
        struct table_file *file = LIST_ENTRY(link, struct table_file, link);
        bool fits = table_path(lsm->directory, file->info.number, remove->paths[remove->count]);
        ASSERT(fits);
        remove->count++;
        if (file->table != NULL)
            table_unref(file->table);
        file->table = NULL;
        table_file_free(file);
    }
    lsm->remove_running = true;
    job_init(&remove->job, lsm, &remove_operations, JOB_REMOVE);
    return true;
}
