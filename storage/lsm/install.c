/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest job: takes the edits of all finished jobs, in order, makes the set of tables that
 * they lead to, writes a manifest that names it, and only then makes it the current one. One such
 * job at a time, so that each builds on what the last one made durable. */
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/planted.h"
#include "storage/lsm/lsm_internal.h"

struct install_job {
    struct lsm_job job;
    struct version_set *set; /* that becomes the current one */
    struct manifest_source source;
    size_t edits_count; /* of the first jobs in lsm->finished */
};

/* ---- What a manifest is made from ---- */

bool manifest_source_init(struct manifest_source *source, const struct lsm *lsm)
{
    *source = (struct manifest_source){.lsm = lsm, .horizon = lsm->horizon};
    for (unsigned t = 0; t < lsm->trees_count; t++) {
        struct bytes key = lsm_discard_key(lsm, t);
        if (key.size == 0)
            continue;
        uint8_t *copy = malloc(key.size);
        if (copy == NULL) {
            manifest_source_free(source);
            return false;
        }
        bytes_copy(copy, key);
        source->discards[t] = bytes_of(copy, key.size);
    }
    return true;
}

void manifest_source_free(struct manifest_source *source)
{
    for (unsigned t = 0; t < lsm_trees_max; t++) {
        free((void *)(uintptr_t)source->discards[t].data);
        source->discards[t] = (struct bytes){0};
    }
}

static size_t source_tables_count(const struct manifest_source *source)
{
    size_t count = 0;
    for (unsigned t = 0; t < source->set->trees_count; t++)
        for (unsigned l = 0; l < lsm_levels_count; l++)
            count += source->set->trees[t]->levels[l].count;
    return count;
}

enum status manifest_source_encode(const struct manifest_source *source, uint8_t **contents,
                                   size_t *size)
{
    *contents = NULL;
    *size = 0;
    struct manifest *manifest = calloc(1, sizeof *manifest);
    const struct table_info **infos = calloc(source_tables_count(source) + 1, sizeof *infos);
    enum status status = STATUS_NO_MEMORY;
    if (manifest == NULL || infos == NULL)
        goto done;
    manifest->numbers_end = source->numbers_end;
    manifest->horizon = source->horizon;
    manifest->mark = source->mark;
    manifest->attachment = attachment_bytes(&source->attachment);
    manifest->trees_count = source->set->trees_count;
    size_t count = 0;
    for (unsigned t = 0; t < manifest->trees_count; t++) {
        const struct lsm_tree_options *options = &source->lsm->trees[t];
        struct manifest_tree *tree = &manifest->trees[t];
        tree->id = options->id;
        tree->kind = options->kind;
        tree->key_size = options->kind == LSM_FIXED ? options->key_size : 0;
        tree->value_size = options->kind == LSM_FIXED ? options->value_size : 0;
        tree->discard_below = source->discards[t];
        for (unsigned l = 0; l < lsm_levels_count; l++) {
            const struct level *level = &source->set->trees[t]->levels[l];
            tree->levels[l] = infos + count;
            tree->counts[l] = level->count;
            for (uint32_t i = 0; i < level->count; i++)
                infos[count++] = &level->files[i]->info;
        }
    }
    status = manifest_encode(manifest, contents, size);
done:
    free(infos);
    free(manifest);
    return status;
}

/* ---- All at once ---- */

void install_content(struct lsm *lsm, struct version_set *set, const struct manifest_source *source,
                     struct discard *discards[lsm_trees_max], uint64_t number_next)
{
    struct version_set *old = lsm->current;
    struct list_link *link;
    ASSERT(list_is_empty(&lsm->finished) && list_is_empty(&lsm->taken));
    ASSERT(!lsm->flush_running && lsm->compactions_count == 0);
    while ((link = list_pop_first(&lsm->sealed)) != NULL) {
        lsm->sealed_count--;
        memory_release(LIST_ENTRY(link, struct memory, link));
    }
    if (lsm->open != NULL)
        memory_release(lsm->open);
    lsm->open = NULL;
    lsm->current = set;
    lsm->installed = source->mark;
    lsm->attachment_installed = source->attachment;
    lsm->mark = source->mark;
    lsm->attachment = source->attachment;
    lsm->attachment_next = source->attachment;
    lsm->index_sealed = source->mark.index;
    lsm->horizon = source->horizon;
    lsm->numbers_next = number_next;
    lsm->numbers_end = source->numbers_end;
    for (unsigned t = 0; t < lsm->trees_count; t++) {
        free(lsm->discards[t]);
        lsm->discards[t] = discards[t];
        discards[t] = NULL;
        for (unsigned l = 0; l < lsm_levels_count; l++) {
            free((void *)(uintptr_t)lsm->compact_keys[t][l].data);
            lsm->compact_keys[t][l] = (struct bytes){0};
        }
    }
    /* Checkpoints that waited for a mark of the old content get the new one. */
    LIST_EACH(request, &lsm->checkpoints)
    {
        struct checkpoint_request *waiting = LIST_ENTRY(request, struct checkpoint_request, link);
        if (waiting->index > lsm->installed.index)
            waiting->index = lsm->installed.index;
    }
    version_set_release(old, &lsm->obsolete);
    while ((link = list_pop_first(&lsm->unopened)) != NULL)
        list_push_last(&lsm->obsolete, link);
    lsm->halted = false;
    lsm->options.bare = false; /* all that is named is open from now on */
}

/* ---- The job ---- */

static bool install_step(struct lsm_job *job, struct io *worker_io)
{
    struct install_job *install = (struct install_job *)job;
    uint8_t *contents;
    size_t size;
    enum status status = manifest_source_encode(&install->source, &contents, &size);
    if (status == STATUS_OK)
        status = twin_write_wait(job->lsm->twin, worker_io, bytes_of(contents, size));
    free(contents);
    return job_finish(job, status, "Writing the manifest in", job->lsm->directory);
}

static void install_free(struct install_job *install)
{
    manifest_source_free(&install->source);
    install->job.lsm->manifest_writing = false;
    free(install);
}

static enum status install_returned(struct lsm_job *job, struct error *error)
{
    struct install_job *install = (struct install_job *)job;
    struct lsm *lsm = job->lsm;
    struct version_set *old = lsm->current;
    (void)error;
    lsm->current = install->set;
    lsm->installed = install->source.mark;
    lsm->attachment_installed = install->source.attachment;
    lsm->numbers_end = install->source.numbers_end;
    for (size_t i = 0; i < install->edits_count; i++) {
        struct list_link *link = list_pop_first(&lsm->finished);
        ASSERT(link != NULL);
        struct lsm_job *finished = LIST_ENTRY(link, struct lsm_job, link);
        finished->operations->installed(finished);
    }
    version_set_release(old, &lsm->obsolete);
    install_free(install);
    compaction_discard(lsm);
    return STATUS_OK;
}

/* The edits stay, for the next attempt. The new tables are theirs again; the set that was to be
 * referenced nothing else that the current one does not. */
static void install_abandon(struct lsm_job *job, struct io *io)
{
    struct install_job *install = (struct install_job *)job;
    struct list_link files;
    (void)io;
    list_init(&files);
    version_set_release(install->set, &files);
    while (list_pop_first(&files) != NULL)
        continue;
    install_free(install);
}

static const struct job_operations install_operations = {
    .step = install_step,
    .returned = install_returned,
    .abandon = install_abandon,
};

/* The set that all finished edits lead to, and their number. The mark of the last of those with one
 * goes to `source`. NULL: no memory. */
static struct version_set *apply_finished(const struct lsm *lsm, size_t *count,
                                          struct manifest_source *source)
{
    size_t total = 0;
    *count = 0;
    LIST_EACH(link, &lsm->finished)
    {
        total++;
    }
    const struct version_edit **edits = calloc(total + 1, sizeof *edits);
    if (edits == NULL)
        return NULL;
    LIST_EACH(link, &lsm->finished)
    {
        const struct lsm_job *job = LIST_ENTRY(link, struct lsm_job, link);
        edits[(*count)++] = &job->edit;
        if (job->mark == NULL)
            continue;
        source->mark = PLANTED(lsm_mark_ahead) ? lsm->mark : *job->mark;
        source->attachment = *job->attachment;
    }
    struct version_set *set = version_set_apply(lsm->current, edits, *count);
    free(edits);
    return set;
}

bool install_begin(struct lsm *lsm)
{
    if (lsm->manifest_writing || (list_is_empty(&lsm->finished) && !lsm->numbers_wanted))
        return false;
    ASSERT(!lsm->options.bare || !lsm->halted); /* its tables would be forgotten */
    struct install_job *install = calloc(1, sizeof *install);
    if (install == NULL || !manifest_source_init(&install->source, lsm)) {
        free(install);
        jobs_retry_later(lsm);
        return false;
    }
    install->source.mark = lsm->installed;
    install->source.attachment = lsm->attachment_installed;
    install->set = apply_finished(lsm, &install->edits_count, &install->source);
    if (install->set == NULL) {
        manifest_source_free(&install->source);
        free(install);
        jobs_retry_later(lsm);
        return false;
    }
    install->source.set = install->set;
    install->source.numbers_end = lsm->numbers_next + lsm_numbers_reserved;
    lsm->numbers_wanted = false;
    lsm->manifest_writing = true;
    job_init(&install->job, lsm, &install_operations, JOB_MANIFEST);
    return true;
}
