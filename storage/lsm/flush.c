/* SPDX-License-Identifier: Apache-2.0 */
/* The flush: writes the oldest sealed memtables of all trees as one table of level 0 each; one
 * manifest swap installs them with their mark. Generations are flushed one after the other, so that
 * the installed mark never passes over one. */
#include <stdlib.h>

#include "proto/base/assert.h"
#include "storage/lsm/lsm_internal.h"
#include "storage/lsm/output.h"

struct flush_job {
    struct lsm_job job;
    struct memory *memory;
    struct output output;
    unsigned tree;
    bool in_tree; /* the cursor stands on `entry` of that tree */
    struct lsm_entry entry;
    struct memtable_cursor cursor;
};

/* Works off entries of one tree. True: it is done, or has failed. */
static bool flush_tree(struct flush_job *flush, struct io *io, size_t *size_left,
                       enum status *status)
{
    while (flush->in_tree) {
        size_t size = flush->entry.key.size + flush->entry.value.size + sizeof(uint64_t);
        if (*size_left == 0)
            return false;
        *size_left -= size < *size_left ? size : *size_left;
        *status = output_add(&flush->output, io, &flush->entry);
        if (*status != STATUS_OK)
            return true;
        flush->in_tree = memtable_cursor_next(&flush->cursor, &flush->entry);
        job_worked(&flush->job, io, size);
    }
    *status = output_tree_end(&flush->output, io, &flush->job.error);
    return true;
}

static bool flush_step(struct lsm_job *job, struct io *worker_io)
{
    struct flush_job *flush = (struct flush_job *)job;
    size_t size_left = lsm_job_step_size;
    enum status status = STATUS_OK;
    for (; flush->tree < flush->memory->trees_count; flush->tree++) {
        if (!flush->in_tree) {
            output_tree_begin(&flush->output, flush->tree);
            memtable_cursor_init(&flush->cursor, flush->memory->tables[flush->tree]);
            flush->in_tree = memtable_cursor_first(&flush->cursor, &flush->entry);
        }
        if (!flush_tree(flush, worker_io, &size_left, &status))
            return false;
        if (status != STATUS_OK)
            break;
    }
    if (status == STATUS_OK)
        status = output_flush(&flush->output, worker_io);
    if (status != STATUS_OK)
        output_remove(&flush->output, worker_io);
    return job_finish(job, status, "Flushing memtables to", job->lsm->directory);
}

static void flush_free(struct flush_job *flush)
{
    memory_release(flush->memory);
    version_edit_free(&flush->job.edit);
    free(flush);
}

static void flush_abandon(struct lsm_job *job, struct io *io)
{
    struct flush_job *flush = (struct flush_job *)job;
    if (job->mark == NULL) /* else it waits for its manifest, and another one may run */
        job->lsm->flush_running = false;
    flush->memory->flushing = false;
    output_remove(&flush->output, io);
    job_close_outputs(job);
    flush_free(flush);
}

static enum status flush_returned(struct lsm_job *job, struct error *error)
{
    struct flush_job *flush = (struct flush_job *)job;
    struct lsm *lsm = job->lsm;
    uint64_t size = flush->output.written_size;
    lsm->flush_running = false;
    enum status status = output_install(&flush->output, job, 0);
    if (status != STATUS_OK) {
        flush_abandon(job, lsm->io);
        return error_set(error, status, "Installing a flush of %s: %s.", lsm->directory,
                         status_text(status));
    }
    lsm->statistics.flushed_size += size;
    job->mark = &flush->memory->mark;
    job->attachment = &flush->memory->attachment;
    job_await_install(job);
    return STATUS_OK;
}

static void flush_installed(struct lsm_job *job)
{
    struct flush_job *flush = (struct flush_job *)job;
    struct memory *memory = flush->memory;
    struct lsm *lsm = job->lsm;
    ASSERT(list_first(&lsm->sealed) == &memory->link);
    list_remove(&memory->link);
    lsm->sealed_count--;
    memory_release(memory);
    flush_free(flush);
}

static const struct job_operations flush_operations = {
    .step = flush_step,
    .returned = flush_returned,
    .installed = flush_installed,
    .abandon = flush_abandon,
};

static struct memory *oldest_unflushed(const struct lsm *lsm)
{
    LIST_EACH(link, &lsm->sealed)
    {
        struct memory *memory = LIST_ENTRY(link, struct memory, link);
        if (!memory->flushing)
            return memory;
    }
    return NULL;
}

bool flush_begin(struct lsm *lsm)
{
    uint64_t number;
    struct memory *memory = oldest_unflushed(lsm);
    if (lsm->flush_running || memory == NULL ||
        !job_numbers_take(lsm, memory->trees_count, &number))
        return false;
    struct flush_job *flush = calloc(1, sizeof *flush);
    if (flush == NULL) {
        jobs_retry_later(lsm);
        return false;
    }
    flush->memory = memory_hold(memory);
    memory->flushing = true;
    lsm->flush_running = true;
    output_init(&flush->output, lsm);
    flush->output.horizon = scrub_horizon(lsm);
    flush->output.number_next = number;
    flush->output.numbers_end = number + memory->trees_count;
    job_init(&flush->job, lsm, &flush_operations, JOB_FLUSH);
    return true;
}
