/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/lsm/compaction.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/planted.h"
#include "storage/lsm/merge.h"
#include "storage/lsm/output.h"

enum { dropped_every = 101 }; /* where that bug is planted */

struct compaction_job {
    struct lsm_job job;
    struct version_set *set; /* of the beginning: holds the inputs, and tells what is below */
    struct compaction_pick pick;
    struct merge inputs;
    bool space_checked;
    struct output output;
    uint8_t discard[lsm_key_size_max];
    uint64_t merged_count; /* entries so far */
};

static uint64_t inputs_size(const struct compaction_pick *pick)
{
    uint64_t size = 0;
    for (uint32_t i = 0; i < pick->upper_count; i++)
        size += pick->upper[i]->info.file_size;
    for (uint32_t i = 0; i < pick->lower_count; i++)
        size += pick->lower[i]->info.file_size;
    return size;
}

static void lock_inputs(const struct compaction_pick *pick, bool locked)
{
    for (uint32_t i = 0; i < pick->upper_count; i++) {
        ASSERT(pick->upper[i]->locked != locked);
        pick->upper[i]->locked = locked;
    }
    for (uint32_t i = 0; i < pick->lower_count; i++) {
        ASSERT(pick->lower[i]->locked != locked);
        pick->lower[i]->locked = locked;
    }
}

/* ---- Merging ---- */

/* END: all inputs are worked off. */
static enum status merge_inputs(struct compaction_job *compaction, struct io *io)
{
    for (size_t size = 0; size < lsm_job_step_size;) {
        struct lsm_entry entry;
        enum status status = merge_next(&compaction->inputs, io, &entry, &compaction->job.error);
        if (status != STATUS_OK)
            return status;
        size_t entry_size = entry.key.size + entry.value.size + sizeof(uint64_t);
        size += entry_size;
        if (PLANTED(lsm_record_dropped) && ++compaction->merged_count % dropped_every == 0)
            continue;
        status = output_add(&compaction->output, io, &entry);
        if (status != STATUS_OK)
            return status;
        job_worked(&compaction->job, io, entry_size);
    }
    return STATUS_OK;
}

/* The outputs take at most about what the inputs do. */
static enum status check_space(struct compaction_job *compaction, struct io *io)
{
    struct io_space space;
    compaction->space_checked = true;
    enum status status = io_space(io, compaction->job.lsm->directory, &space);
    if (status == STATUS_OK && space.free_size < inputs_size(&compaction->pick))
        status = STATUS_DISK_FULL;
    return status;
}

static bool compaction_step(struct lsm_job *job, struct io *worker_io)
{
    struct compaction_job *compaction = (struct compaction_job *)job;
    enum status status = STATUS_OK;
    if (!compaction->space_checked)
        status = check_space(compaction, worker_io);
    if (status == STATUS_OK)
        status = merge_inputs(compaction, worker_io);
    if (status == STATUS_OK)
        return false;
    if (status == STATUS_END)
        status = output_tree_end(&compaction->output, worker_io, &job->error);
    if (status == STATUS_OK)
        status = output_flush(&compaction->output, worker_io);
    if (status != STATUS_OK)
        output_remove(&compaction->output, worker_io);
    return job_finish(job, status, "Compacting tables in", job->lsm->directory);
}

/* ---- Its life ---- */

static void compaction_free(struct compaction_job *compaction)
{
    struct lsm *lsm = compaction->job.lsm;
    merge_close(&compaction->inputs);
    version_edit_free(&compaction->job.edit);
    version_set_release(compaction->set, &lsm->obsolete);
    free(compaction);
}

static void compaction_abandon(struct lsm_job *job, struct io *io)
{
    struct compaction_job *compaction = (struct compaction_job *)job;
    lock_inputs(&compaction->pick, false);
    job->lsm->compactions_count--;
    output_remove(&compaction->output, io);
    job_close_outputs(job);
    compaction_free(compaction);
}

static enum status fill_edit(struct compaction_job *compaction)
{
    struct lsm_job *job = &compaction->job;
    const struct compaction_pick *pick = &compaction->pick;
    for (uint32_t i = 0; i < pick->upper_count; i++)
        if (!version_edit_remove(&job->edit, pick->upper[i], pick->level))
            return STATUS_NO_MEMORY;
    for (uint32_t i = 0; i < pick->lower_count; i++)
        if (!version_edit_remove(&job->edit, pick->lower[i], pick->level + 1))
            return STATUS_NO_MEMORY;
    if (!pick->moves)
        return output_install(&compaction->output, job, pick->level + 1);
    for (uint32_t i = 0; i < pick->upper_count; i++)
        if (!version_edit_add(&job->edit, pick->upper[i], pick->level + 1))
            return STATUS_NO_MEMORY;
    return STATUS_OK;
}

static enum status compaction_returned(struct lsm_job *job, struct error *error)
{
    struct compaction_job *compaction = (struct compaction_job *)job;
    struct lsm *lsm = job->lsm;
    uint64_t size = compaction->output.written_size;
    enum status status = fill_edit(compaction);
    if (status != STATUS_OK) {
        compaction_abandon(job, lsm->io);
        return error_set(error, status, "Installing a compaction of %s: %s.", lsm->directory,
                         status_text(status));
    }
    lsm->statistics.compacted_size += size;
    lsm->statistics.compactions_count++;
    job_await_install(job);
    return STATUS_OK;
}

static void compaction_installed(struct lsm_job *job)
{
    struct compaction_job *compaction = (struct compaction_job *)job;
    lock_inputs(&compaction->pick, false);
    job->lsm->compactions_count--;
    compaction_free(compaction);
}

static const struct job_operations compaction_operations = {
    .step = compaction_step,
    .returned = compaction_returned,
    .installed = compaction_installed,
    .abandon = compaction_abandon,
};

/* ---- Beginning ---- */

/* Level 0's tables are a source each, as they overlap; those of another level are one. */
static bool open_sources(struct compaction_job *compaction)
{
    const struct compaction_pick *pick = &compaction->pick;
    struct merge *inputs = &compaction->inputs;
    if (!merge_open(inputs, pick->upper_count + (size_t)1))
        return false;
    for (uint32_t i = 0; pick->level == 0 && i < pick->upper_count; i++)
        merge_add(inputs, &pick->upper[i], 1);
    if (pick->level != 0)
        merge_add(inputs, pick->upper, pick->upper_count);
    merge_add(inputs, pick->lower, pick->lower_count);
    return true;
}

static void set_output(struct compaction_job *compaction)
{
    struct lsm *lsm = compaction->job.lsm;
    struct output *output = &compaction->output;
    struct bytes discard = {0};
    if (!scrub_waits(lsm))
        discard = lsm_discard_key(lsm, compaction->pick.tree);
    bytes_copy(compaction->discard, discard);
    output->horizon = scrub_horizon(lsm);
    output->discard = bytes_of(compaction->discard, discard.size);
    output->cut_size = lsm->options.table_size;
    output->below = compaction->set->trees[compaction->pick.tree];
    output->below_level = compaction->pick.level + 2;
    output_tree_begin(output, compaction->pick.tree);
}

/* Twice what the inputs would be cut into, as other cuts and less compression are possible. */
static uint64_t numbers_needed(const struct lsm *lsm, const struct compaction_pick *pick)
{
    uint64_t count = inputs_size(pick) / lsm->options.table_size * 2 + 8;
    return count < lsm_numbers_reserved ? count : lsm_numbers_reserved;
}

bool compaction_begin(struct lsm *lsm, bool level0)
{
    struct compaction_pick pick;
    uint64_t number = 0;
    if (lsm->compactions_count >= lsm_compactions_max || !compaction_choose(lsm, level0, &pick))
        return false;
    uint64_t numbers_count = pick.moves ? 0 : numbers_needed(lsm, &pick);
    if (!job_numbers_take(lsm, numbers_count, &number))
        return false;
    struct compaction_job *compaction = calloc(1, sizeof *compaction);
    if (compaction == NULL) {
        jobs_retry_later(lsm);
        return false;
    }
    compaction->pick = pick;
    compaction->set = version_set_hold(lsm->current);
    output_init(&compaction->output, lsm);
    compaction->output.number_next = number;
    compaction->output.numbers_end = number + numbers_count;
    job_init(&compaction->job, lsm, &compaction_operations, level0 ? JOB_LEVEL0 : JOB_LEVELS);
    lock_inputs(&pick, true);
    lsm->compactions_count++;
    set_output(compaction);
    bool ready = pick.moves ? fill_edit(compaction) == STATUS_OK : open_sources(compaction);
    if (!ready) {
        list_remove(&compaction->job.link);
        compaction_abandon(&compaction->job, lsm->io);
        jobs_retry_later(lsm);
        return false;
    }
    if (pick.moves)
        job_await_install(&compaction->job);
    return true;
}

/* ---- Whole tables of discarded keys ---- */

static void discard_unlock(struct lsm_job *job)
{
    for (size_t i = 0; i < job->edit.count; i++)
        job->edit.changes[i].file->locked = false;
    version_edit_free(&job->edit);
    free(job);
}

static void discard_abandon(struct lsm_job *job, struct io *io)
{
    (void)io;
    discard_unlock(job);
}

static const struct job_operations discard_operations = {
    .installed = discard_unlock,
    .abandon = discard_abandon,
};

static void discard_level(struct lsm *lsm, struct lsm_job *job, unsigned tree, unsigned number)
{
    const struct level *level = &lsm->current->trees[tree]->levels[number];
    struct bytes key = lsm_discard_key(lsm, tree);
    for (uint32_t i = 0; i < level->count; i++) {
        struct table_file *file = level->files[i];
        if (!file->locked && bytes_compare(file->info.largest, key) < 0 &&
            version_edit_remove(&job->edit, file, number))
            file->locked = true;
    }
}

void compaction_discard(struct lsm *lsm)
{
    if (lsm->replace.asked || lsm->halted || scrub_waits(lsm))
        return; /* what goes is about to go with all else, or is asked for; there is a next time */
    struct lsm_job *job = calloc(1, sizeof *job);
    if (job == NULL)
        return; /* it is tried again with the next key or installation */
    for (unsigned t = 0; t < lsm->trees_count; t++)
        for (unsigned l = 0; lsm->discards[t] != NULL && l < lsm_levels_count; l++)
            discard_level(lsm, job, t, l);
    if (job->edit.count == 0) {
        free(job);
        return;
    }
    job_init(job, lsm, &discard_operations, JOB_LEVELS);
    job_await_install(job);
    lsm_work(lsm);
}
