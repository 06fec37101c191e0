/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints: a directory of hard links to all tables of one set, with a manifest of its own that
 * names the set and the mark it was installed with. It is made under another name and renamed once
 * it is whole, so that a directory of the asked-for name is never half of one:
 *
 *     clear or make DIRECTORY.partial | link each table | manifest | flush | rename | flush parent
 */
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "storage/io/blocking.h"
#include "storage/lsm/directory.h"
#include "storage/lsm/lsm_internal.h"

enum { partial_path_size = table_path_size + 16, links_per_step = 64 };

struct checkpoint_job {
    struct lsm_job job;
    struct checkpoint_request *request;
    struct version_set *set; /* holds the files until the links are made */
    struct manifest_source source;
    bool begun;
    enum status outcome; /* what the asker is told */
    unsigned tree;       /* the next table to be linked */
    unsigned level;
    uint32_t position;
    char partial[partial_path_size];
};

/* ---- The directory ---- */

static enum status begin_directory(struct checkpoint_job *checkpoint, struct io *io)
{
    struct directory_names names;
    enum status status = directory_list(io, checkpoint->request->directory, &names);
    directory_names_free(&names);
    if (status == STATUS_OK)
        return STATUS_ALREADY_EXISTS;
    if (status != STATUS_NOT_FOUND)
        return status;
    status = lsm_directory_remove(io, checkpoint->partial);
    return status == STATUS_OK ? io_make_directory_wait(io, checkpoint->partial) : status;
}

static enum status link_table(const struct checkpoint_job *checkpoint, struct io *io,
                              const struct table_file *file)
{
    char to[table_path_size];
    if (!table_path(checkpoint->partial, file->info.number, to))
        return STATUS_INVALID_ARGUMENT;
    return io_link_wait(io, table_file_path(file->table), to);
}

/* END: all are linked. */
static enum status link_tables(struct checkpoint_job *checkpoint, struct io *io)
{
    unsigned count = 0;
    for (; checkpoint->tree < checkpoint->set->trees_count; checkpoint->tree++) {
        for (; checkpoint->level < lsm_levels_count; checkpoint->level++) {
            const struct level *level =
                &checkpoint->set->trees[checkpoint->tree]->levels[checkpoint->level];
            for (; checkpoint->position < level->count; checkpoint->position++) {
                if (count++ == links_per_step)
                    return STATUS_OK;
                enum status status = link_table(checkpoint, io, level->files[checkpoint->position]);
                if (status != STATUS_OK)
                    return status;
            }
            checkpoint->position = 0;
        }
        checkpoint->level = 0;
    }
    return STATUS_END;
}

static enum status write_manifest(struct checkpoint_job *checkpoint, struct io *io)
{
    struct twin *twin = NULL;
    struct twin_report report = {0};
    uint8_t *contents = NULL;
    uint8_t *found = NULL;
    size_t size = 0;
    size_t found_size = 0;
    enum status status = manifest_source_encode(&checkpoint->source, &contents, &size);
    if (status != STATUS_OK)
        return status;
    status = twin_open(io, checkpoint->job.lsm->options.keyring, checkpoint->partial, "manifest",
                       SEAL_FORMAT_MANIFEST, &twin, &found, &found_size, &report,
                       &checkpoint->job.error);
    if (status == STATUS_NOT_FOUND) {
        checkpoint->job.error = (struct error){0};
        status = twin_write_wait(twin, io, bytes_of(contents, size));
    } else if (status == STATUS_OK) {
        status = STATUS_ALREADY_EXISTS; /* the directory was made just now, empty */
    }
    if (twin != NULL)
        twin_close(twin);
    free(found);
    free(contents);
    return status;
}

static enum status publish_directory(struct checkpoint_job *checkpoint, struct io *io)
{
    char parent[table_path_size];
    const char *directory = checkpoint->request->directory;
    const char *slash = strrchr(directory, '/');
    int size = slash == NULL ? 0 : (int)(slash - directory);
    snprintf(parent, sizeof parent, "%.*s%s", size, directory,
             slash == NULL ? "."
             : size == 0   ? "/"
                           : "");
    enum status status = io_flush_directory_wait(io, checkpoint->partial);
    if (status == STATUS_OK)
        status = io_rename_wait(io, checkpoint->partial, directory);
    return status == STATUS_OK ? io_flush_directory_wait(io, parent) : status;
}

/* ---- The job ---- */

static bool checkpoint_step(struct lsm_job *job, struct io *worker_io)
{
    struct checkpoint_job *checkpoint = (struct checkpoint_job *)job;
    enum status status = STATUS_OK;
    bool made = checkpoint->begun;
    if (!checkpoint->begun) {
        status = begin_directory(checkpoint, worker_io);
        checkpoint->begun = made = status == STATUS_OK;
    }
    if (status == STATUS_OK)
        status = link_tables(checkpoint, worker_io);
    if (status == STATUS_OK)
        return false;
    if (status == STATUS_END)
        status = write_manifest(checkpoint, worker_io);
    if (status == STATUS_OK)
        status = publish_directory(checkpoint, worker_io);
    if (status != STATUS_OK && made &&
        lsm_directory_remove(worker_io, checkpoint->partial) != STATUS_OK)
        error_set(&job->error, status, "Making the checkpoint %s: %s. %s is left behind.",
                  checkpoint->request->directory, status_text(status), checkpoint->partial);
    /* A failed flush ends the process; all else is the asker's to deal with. */
    checkpoint->outcome = status;
    return job_finish(job, status == STATUS_IO_ERROR ? status : STATUS_OK, "Making the checkpoint",
                      checkpoint->request->directory);
}

static void request_done(struct lsm *lsm, struct checkpoint_request *request, enum status status,
                         const struct lsm_mark *mark)
{
    list_remove(&request->link);
    lsm->checkpoints_count--;
    request->done(request->context, status, mark);
    free(request);
}

static void checkpoint_free(struct checkpoint_job *checkpoint)
{
    checkpoint->job.lsm->checkpoint_running = false;
    version_set_release(checkpoint->set, &checkpoint->job.lsm->obsolete);
    manifest_source_free(&checkpoint->source);
    free(checkpoint);
}

/* Failed or not: the asker is told, and the LSM goes on. */
static enum status checkpoint_returned(struct lsm_job *job, struct error *error)
{
    struct checkpoint_job *checkpoint = (struct checkpoint_job *)job;
    (void)error;
    request_done(job->lsm, checkpoint->request, checkpoint->outcome, &checkpoint->source.mark);
    checkpoint_free(checkpoint);
    return STATUS_OK;
}

static void checkpoint_abandon(struct lsm_job *job, struct io *io)
{
    struct checkpoint_job *checkpoint = (struct checkpoint_job *)job;
    (void)io; /* what is half made stays under its other name, and the next attempt clears it */
    if (job->finished)
        request_done(job->lsm, checkpoint->request, checkpoint->outcome, &checkpoint->source.mark);
    checkpoint_free(checkpoint);
}

static const struct job_operations checkpoint_operations = {
    .step = checkpoint_step,
    .returned = checkpoint_returned,
    .abandon = checkpoint_abandon,
};

bool checkpoint_begin(struct lsm *lsm)
{
    struct list_link *link = list_first(&lsm->checkpoints);
    if (lsm->checkpoint_running || link == NULL)
        return false;
    struct checkpoint_request *request = LIST_ENTRY(link, struct checkpoint_request, link);
    if (lsm->installed.index < request->index)
        return false;
    struct checkpoint_job *checkpoint = calloc(1, sizeof *checkpoint);
    if (checkpoint == NULL || !manifest_source_init(&checkpoint->source, lsm)) {
        free(checkpoint);
        jobs_retry_later(lsm);
        return false;
    }
    checkpoint->request = request;
    checkpoint->set = version_set_hold(lsm->current);
    checkpoint->source.set = checkpoint->set;
    checkpoint->source.mark = lsm->installed;
    checkpoint->source.attachment = lsm->attachment_installed;
    checkpoint->source.numbers_end = lsm->numbers_end;
    snprintf(checkpoint->partial, sizeof checkpoint->partial, "%s.partial", request->directory);
    lsm->checkpoint_running = true;
    job_init(&checkpoint->job, lsm, &checkpoint_operations, JOB_CHECKPOINT);
    return true;
}

enum status lsm_checkpoint_look(struct io *io, struct keyring *keyring, const char *directory,
                                struct lsm_mark *mark)
{
    struct twin *twin = NULL;
    struct twin_report report = {0};
    uint8_t *contents = NULL;
    size_t size = 0;
    struct error error = {0};

    *mark = (struct lsm_mark){0};
    enum status status = twin_open(io, keyring, directory, "manifest", SEAL_FORMAT_MANIFEST, &twin,
                                   &contents, &size, &report, &error);
    if (twin != NULL)
        twin_close(twin);
    struct manifest *manifest = calloc(1, sizeof *manifest);
    if (status == STATUS_OK && manifest == NULL)
        status = STATUS_NO_MEMORY;
    if (status == STATUS_OK)
        status = manifest_decode(bytes_of(contents, size), manifest, &error);
    if (status == STATUS_OK) {
        *mark = manifest->mark;
        manifest_free(manifest);
    }
    free(manifest);
    free(contents);
    return status;
}

void lsm_checkpoint(struct lsm *lsm, const char *directory,
                    void (*done)(void *context, enum status status, const struct lsm_mark *mark),
                    void *context)
{
    struct lsm_mark none = {0};
    struct checkpoint_request *request = calloc(1, sizeof *request);
    size_t size = strlen(directory);
    if (request == NULL || size == 0 || size >= sizeof request->directory ||
        lsm->checkpoints_count == lsm_checkpoints_max) {
        done(context,
             request == NULL                                 ? STATUS_NO_MEMORY
             : lsm->checkpoints_count == lsm_checkpoints_max ? STATUS_BUSY
                                                             : STATUS_INVALID_ARGUMENT,
             &none);
        free(request);
        return;
    }
    lsm_seal(lsm);
    memcpy(request->directory, directory, size + 1);
    request->index = lsm->index_sealed;
    request->done = done;
    request->context = context;
    list_push_last(&lsm->checkpoints, &request->link);
    lsm->checkpoints_count++;
    lsm_work(lsm);
}
