/* SPDX-License-Identifier: Apache-2.0 */
/* Replacing all content by a staged one.
 *
 *     asked for    no job begins but those that write manifests of finished edits, or unlink
 *     drained      the job begins: no other is queued, taken or waiting to be installed
 *     READ         the staged manifest, and what it says is fit for this LSM
 *     LINK         each staged table gets a second name in the LSM's directory
 *     OPEN         the names are durable; each table is opened by its new one
 *     WRITE        a manifest that names those tables and no others; its swap is the change
 *     CLEAR        the staging directory goes
 *     returned     install_content() makes the new set the current one
 *
 * Until the swap the old manifest stands, and the next opening removes the links, which it does
 * not name; from the swap on the new one stands, and the next opening removes the old tables, and
 * whoever staged them the staging directory. A staged table has a number above all of the LSM's
 * own (lsm_staging_number()), so both contents may lie in one directory.
 *
 * An adoption takes the same way, and its new set has the tables of the regional trees from the set
 * that goes, in place of those that are staged: the same files.
 *
 * A restoration takes the same way with a checkpoint of this LSM's own, whose tables have numbers
 * that the LSM gave out once. One that is still here, in the set that goes or in that of a check,
 * is the same file: the new set shares it. Any other was unlinked since, and is linked again: as no
 * view is open, nobody is left who would unlink that name later. */
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "storage/io/blocking.h"
#include "storage/lsm/lsm_internal.h"

enum { links_per_step = 64, opens_per_step = 16, staging_number_bits = 32 };

enum replace_stage {
    REPLACE_READ,
    REPLACE_LINK,
    REPLACE_OPEN,
    REPLACE_WRITE,
    REPLACE_CLEAR,
};

struct replace_job {
    struct lsm_job job;
    enum replace_stage stage;
    enum status outcome;         /* what the asker is told */
    size_t position;             /* in the edit: of the next table */
    size_t linked_count;         /* of the edit's tables */
    bool links_stay;             /* a manifest may name them */
    uint64_t number_next;        /* of the LSM when the job began */
    struct version_set *held[2]; /* not of an installation: whose files it may share; or NULL */
    struct version_set *set;
    struct manifest_source source;
    struct discard *discards[lsm_trees_max]; /* that `source` refers to; NULL: none */
};

uint64_t lsm_staging_number(const struct lsm *lsm)
{
    return ((lsm->numbers_end >> staging_number_bits) + 1) << staging_number_bits;
}

/* ---- Reading what is staged ---- */

static bool tree_position(const struct lsm *lsm, const struct manifest_tree *tree,
                          unsigned *position)
{
    for (*position = 0; *position < lsm->trees_count; ++*position) {
        const struct lsm_tree_options *options = &lsm->trees[*position];
        if (options->id == tree->id)
            return options->kind == tree->kind &&
                   (tree->kind == LSM_BYTES || (options->key_size == tree->key_size &&
                                                options->value_size == tree->value_size));
    }
    return false;
}

static struct table_file *find_file(const struct version_set *set, unsigned tree, uint64_t number)
{
    for (unsigned l = 0; set != NULL && l < lsm_levels_count; l++) {
        const struct level *level = &set->trees[tree]->levels[l];
        for (uint32_t i = 0; i < level->count; i++) {
            if (level->files[i]->info.number == number)
                return level->files[i];
        }
    }
    return NULL;
}

/* That a set of the old content has too: it is referenced before the new set is made. */
static bool is_shared(const struct table_file *file)
{
    return file->references != 0;
}

static enum status add_table(struct replace_job *replace, unsigned tree, unsigned level,
                             const struct table_info *info)
{
    bool restores = replace->job.lsm->replace.restores;
    if (restores != (info->number < replace->number_next) &&
        find_file(replace->held[0], tree, info->number) == NULL)
        return error_set(&replace->job.error, STATUS_INVALID_ARGUMENT,
                         "What is staged has table numbers of %s content.",
                         restores ? "another" : "an earlier");
    struct table_file *file = find_file(replace->held[0], tree, info->number);
    if (file == NULL)
        file = find_file(replace->held[1], tree, info->number);
    bool shared = file != NULL;
    if (!shared)
        file = table_file_create(tree, info);
    if (file == NULL || !version_edit_add(&replace->job.edit, file, level)) {
        if (!shared)
            table_file_free(file);
        return STATUS_NO_MEMORY;
    }
    return STATUS_OK;
}

static enum status add_tree(struct replace_job *replace, const struct manifest_tree *tree)
{
    unsigned position;
    if (!tree_position(replace->job.lsm, tree, &position))
        return error_set(&replace->job.error, STATUS_NEWER_FORMAT,
                         "What is staged holds tree %u, which this version does not know in that "
                         "form.",
                         (unsigned)tree->id);
    if (tree->discard_below.size != 0) {
        struct discard *discard = calloc(1, sizeof *discard);
        if (discard == NULL)
            return STATUS_NO_MEMORY;
        discard->size = tree->discard_below.size;
        bytes_copy(discard->key, tree->discard_below);
        replace->discards[position] = discard;
        replace->source.discards[position] = bytes_of(discard->key, discard->size);
    }
    enum status status = STATUS_OK;
    for (unsigned level = 0; level < lsm_levels_count; level++)
        for (uint32_t i = 0; i < tree->counts[level] && status == STATUS_OK; i++)
            status = add_table(replace, position, level, tree->levels[level][i]);
    return status;
}

/* The tables of the region's own trees, which are not another region's to give. */
static enum status keep_regional(struct replace_job *replace)
{
    const struct lsm *lsm = replace->job.lsm;
    const struct version_set *set = replace->held[0];
    enum status status = STATUS_OK;

    for (unsigned t = 0; t < lsm->trees_count; t++) {
        if (!lsm->trees[t].regional)
            continue;
        for (unsigned l = 0; l < lsm_levels_count; l++) {
            const struct level *level = &set->trees[t]->levels[l];
            for (uint32_t i = 0; i < level->count && status == STATUS_OK; i++)
                status = add_table(replace, t, l, &level->files[i]->info);
        }
    }
    return status;
}

static bool is_regional(const struct lsm *lsm, uint16_t id)
{
    for (unsigned t = 0; t < lsm->trees_count; t++) {
        if (lsm->trees[t].id == id)
            return lsm->trees[t].regional;
    }
    return false;
}

static bool marks_fit(const struct lsm_replace *asked, const struct lsm_mark *mark)
{
    return asked->mark.version == mark->version &&
           (asked->adopts || (asked->mark.index == mark->index && asked->mark.term == mark->term));
}

static void take_attachment(struct replace_job *replace, const struct manifest *manifest)
{
    struct manifest_source *source = &replace->source;
    if (replace->job.lsm->replace.adopts) {
        source->attachment = replace->job.lsm->attachment_installed;
        return;
    }
    source->attachment.size = (uint32_t)manifest->attachment.size;
    bytes_copy(source->attachment.bytes, manifest->attachment);
}

static enum status take_manifest(struct replace_job *replace, const struct manifest *manifest)
{
    struct manifest_source *source = &replace->source;
    enum status status = STATUS_OK;
    const struct lsm_replace *asked = &replace->job.lsm->replace;
    for (unsigned t = 0; t < manifest->trees_count && status == STATUS_OK; t++) {
        if (!asked->adopts || !is_regional(replace->job.lsm, manifest->trees[t].id))
            status = add_tree(replace, &manifest->trees[t]);
    }
    if (status == STATUS_OK && asked->adopts)
        status = keep_regional(replace);
    source->mark = manifest->mark;
    if (status == STATUS_OK && (asked->restores || asked->adopts)) {
        if (!marks_fit(asked, &manifest->mark))
            return error_set(&replace->job.error, STATUS_INVALID_ARGUMENT,
                             "The checkpoint is not the one that the mark is of.");
        source->mark = asked->mark;
    }
    take_attachment(replace, manifest);
    /* As when it is opened: at its mark nothing is hidden yet. */
    source->horizon =
        manifest->horizon < manifest->mark.version ? manifest->horizon : manifest->mark.version;
    if (manifest->numbers_end > replace->number_next)
        replace->number_next = manifest->numbers_end;
    source->numbers_end = replace->number_next + lsm_numbers_reserved;
    return status;
}

static enum status read_staged(struct replace_job *replace, struct io *io)
{
    const struct lsm *lsm = replace->job.lsm;
    struct twin *twin = NULL;
    struct twin_report report = {0};
    uint8_t *contents = NULL;
    size_t size = 0;
    enum status status =
        twin_open(io, lsm->options.keyring, lsm->replace.directory, "manifest",
                  SEAL_FORMAT_MANIFEST, &twin, &contents, &size, &report, &replace->job.error);
    if (twin != NULL)
        twin_close(twin);
    struct manifest *manifest = calloc(1, sizeof *manifest);
    if (status == STATUS_OK && manifest == NULL)
        status = STATUS_NO_MEMORY;
    if (status == STATUS_OK)
        status = manifest_decode(bytes_of(contents, size), manifest, &replace->job.error);
    if (status == STATUS_OK) {
        status = take_manifest(replace, manifest);
        manifest_free(manifest);
    }
    free(manifest);
    free(contents);
    return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
}

/* ---- The tables ---- */

static const struct table_file *edit_file(const struct replace_job *replace, size_t position)
{
    return replace->job.edit.changes[position].file;
}

static enum status link_table(struct replace_job *replace, struct io *io)
{
    const struct lsm *lsm = replace->job.lsm;
    const struct table_file *file = edit_file(replace, replace->position);
    char from[table_path_size];
    char to[table_path_size];
    if (is_shared(file)) {
        replace->linked_count++; /* undo() passes it over too */
        return STATUS_OK;
    }
    if (!table_path(lsm->replace.directory, file->info.number, from) ||
        !table_path(lsm->directory, file->info.number, to))
        return STATUS_INVALID_ARGUMENT;
    enum status status = io_link_wait(io, from, to);
    if (status == STATUS_ALREADY_EXISTS) {
        /* Left by an installation that found the disk full: no manifest names it. */
        status = io_unlink_wait(io, to);
        if (status == STATUS_OK)
            status = io_link_wait(io, from, to);
    }
    if (status == STATUS_OK)
        replace->linked_count++;
    return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
}

static enum status open_table(struct replace_job *replace, struct io *io)
{
    const struct lsm *lsm = replace->job.lsm;
    struct table_file *file = replace->job.edit.changes[replace->position].file;
    if (is_shared(file))
        return STATUS_OK;
    return table_open(io, lsm->options.keyring, lsm->directory, &lsm->trees[file->tree],
                      &file->info, &file->table, &replace->job.error);
}

/* Some of the tables; END: it was all of them. */
static enum status each_table(struct replace_job *replace, struct io *io, size_t count,
                              enum status (*work)(struct replace_job *replace, struct io *io))
{
    for (size_t i = 0; i < count; i++, replace->position++) {
        if (replace->position == replace->job.edit.count) {
            replace->position = 0;
            return STATUS_END;
        }
        enum status status = work(replace, io);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

/* Closes the tables and takes their links away: nothing has changed. */
static void undo(struct replace_job *replace, struct io *io)
{
    char path[table_path_size];
    struct list_link files;
    list_init(&files);
    version_set_release(replace->set, &files);
    while (list_pop_first(&files) != NULL)
        continue;
    replace->set = NULL;
    for (size_t i = 0; i < replace->job.edit.count; i++) {
        struct table_file *file = replace->job.edit.changes[i].file;
        if (is_shared(file))
            continue;
        if (file->table != NULL)
            table_discard(file->table, io);
        file->table = NULL;
        if (i < replace->linked_count && !replace->links_stay &&
            table_path(replace->job.lsm->directory, file->info.number, path) &&
            io_unlink_wait(io, path) != STATUS_OK)
            log_warn("table_not_removed", LOG_TEXT("path", path));
        table_file_free(file);
    }
    version_edit_free(&replace->job.edit);
    replace->linked_count = 0;
}

/* ---- The swap ---- */

static enum status write_manifest(struct replace_job *replace, struct io *io)
{
    struct lsm *lsm = replace->job.lsm;
    const struct version_edit *edits[] = {&replace->job.edit};
    uint8_t *contents = NULL;
    size_t size = 0;
    struct version_set *none = version_set_create(lsm->trees_count);
    if (none == NULL)
        return STATUS_NO_MEMORY;
    replace->set = version_set_apply(none, edits, 1);
    version_set_release(none, NULL);
    if (replace->set == NULL)
        return STATUS_NO_MEMORY;
    replace->source.set = replace->set;
    enum status status = manifest_source_encode(&replace->source, &contents, &size);
    if (status == STATUS_OK) {
        status = twin_write_wait(lsm->twin, io, bytes_of(contents, size));
        replace->links_stay = status == STATUS_OK || !twin_is_usable(lsm->twin);
    }
    free(contents);
    return status;
}

static enum status advance(struct replace_job *replace, struct io *io)
{
    const struct lsm *lsm = replace->job.lsm;
    enum status status = STATUS_OK;
    switch (replace->stage) {
    case REPLACE_READ:
        status = read_staged(replace, io);
        break;
    case REPLACE_LINK:
        status = each_table(replace, io, links_per_step, link_table);
        if (status == STATUS_OK)
            return STATUS_OK;
        if (status == STATUS_END)
            status = io_flush_directory_wait(io, lsm->directory);
        break;
    case REPLACE_OPEN:
        status = each_table(replace, io, opens_per_step, open_table);
        if (status == STATUS_OK)
            return STATUS_OK;
        if (status == STATUS_END)
            status = STATUS_OK;
        break;
    case REPLACE_WRITE:
        status = write_manifest(replace, io);
        break;
    case REPLACE_CLEAR:
        /* It is installed: what is left behind is a matter of space. */
        if (lsm_directory_remove(io, lsm->replace.directory) != STATUS_OK)
            log_warn("staging_not_removed", LOG_TEXT("path", lsm->replace.directory));
        return STATUS_END;
    }
    replace->stage++;
    return status;
}

static bool replace_step(struct lsm_job *job, struct io *worker_io)
{
    struct replace_job *replace = (struct replace_job *)job;
    enum status status = advance(replace, worker_io);
    if (status == STATUS_OK)
        return false;
    replace->outcome = status == STATUS_END ? STATUS_OK : status;
    if (replace->outcome != STATUS_OK) {
        undo(replace, worker_io);
        if (job->error.status == STATUS_OK)
            error_set(&job->error, status, "%s", status_text(status));
        log_error("install_failed", LOG_TEXT("directory", job->lsm->replace.directory),
                  LOG_TEXT("text", job->error.text));
    }
    /* What the disk did not take for sure ends the process; all else is the asker's to deal with.
     */
    bool fatal = replace->outcome == STATUS_IO_ERROR || replace->links_stay;
    return job_finish(job, fatal && replace->outcome != STATUS_OK ? replace->outcome : STATUS_OK,
                      "Installing", job->lsm->replace.directory);
}

/* ---- The job ---- */

static void replace_free(struct replace_job *replace)
{
    struct lsm *lsm = replace->job.lsm;
    for (unsigned t = 0; t < lsm_trees_max; t++)
        free(replace->discards[t]);
    version_edit_free(&replace->job.edit);
    for (unsigned i = 0; i < 2; i++)
        version_set_release(replace->held[i], &lsm->obsolete);
    free(replace);
    lsm->manifest_writing = false;
}

static void tell(struct lsm *lsm, enum status status)
{
    struct lsm_replace asked = lsm->replace;
    lsm->replace = (struct lsm_replace){0};
    asked.done(asked.context, status, &lsm->installed);
}

static enum status replace_returned(struct lsm_job *job, struct error *error)
{
    struct replace_job *replace = (struct replace_job *)job;
    struct lsm *lsm = job->lsm;
    (void)error;
    if (replace->outcome == STATUS_OK) {
        /* A shared one was attached when it came, and has the old sets' references besides. */
        for (size_t i = 0; i < job->edit.count; i++) {
            if (edit_file(replace, i)->references == 1)
                table_attach(edit_file(replace, i)->table, lsm->cache);
        }
        install_content(lsm, replace->set, &replace->source, replace->discards,
                        replace->number_next);
    }
    enum status outcome = replace->outcome;
    replace_free(replace);
    tell(lsm, outcome);
    return STATUS_OK;
}

static void replace_abandon(struct lsm_job *job, struct io *io)
{
    struct replace_job *replace = (struct replace_job *)job;
    struct lsm *lsm = job->lsm;
    bool finished = job->finished; /* then it has failed, and was undone by its last step */
    enum status outcome = replace->outcome;
    if (!finished)
        undo(replace, io);
    replace_free(replace);
    if (finished)
        tell(lsm, outcome);
}

static const struct job_operations replace_operations = {
    .step = replace_step,
    .returned = replace_returned,
    .abandon = replace_abandon,
};

bool replace_begin(struct lsm *lsm)
{
    if (lsm->replace.asked)
        scrub_cancel(lsm);
    if (!lsm->replace.asked || lsm->manifest_writing || !list_is_empty(&lsm->queue) ||
        !list_is_empty(&lsm->taken) || !list_is_empty(&lsm->finished))
        return false;
    if (lsm->replace.restores && !list_is_empty(&lsm->obsolete))
        return false; /* for want of memory: what is to be unlinked may be what is linked again */
    struct replace_job *replace = calloc(1, sizeof *replace);
    if (replace == NULL) {
        jobs_retry_later(lsm);
        return false;
    }
    replace->source.lsm = lsm;
    replace->number_next =
        lsm->numbers_next > lsm->numbers_end ? lsm->numbers_next : lsm->numbers_end;
    if (lsm->replace.adopts)
        replace->held[0] = version_set_hold(lsm->current);
    if (lsm->replace.restores) {
        ASSERT(lsm->views_count == 0 && !lsm->options.bare);
        replace->held[0] = version_set_hold(lsm->current);
        if (lsm->check.set != NULL)
            replace->held[1] = version_set_hold(lsm->check.set);
    }
    lsm->manifest_writing = true;
    job_init(&replace->job, lsm, &replace_operations, JOB_REPLACE);
    return true;
}

enum asked { ASKED_INSTALL, ASKED_RESTORE, ASKED_ADOPT };

static void ask(struct lsm *lsm, enum asked what, const char *directory,
                const struct lsm_mark *mark,
                void (*done)(void *context, enum status status, const struct lsm_mark *mark),
                void *context)
{
    size_t size = strlen(directory);
    bool too_long = size == 0 || size >= sizeof lsm->replace.directory;
    if (lsm->replace.asked || too_long) {
        done(context, too_long ? STATUS_INVALID_ARGUMENT : STATUS_BUSY, &lsm->installed);
        return;
    }
    memcpy(lsm->replace.directory, directory, size + 1);
    lsm->replace.restores = what == ASKED_RESTORE;
    lsm->replace.adopts = what == ASKED_ADOPT;
    if (mark != NULL)
        lsm->replace.mark = *mark;
    lsm->replace.done = done;
    lsm->replace.context = context;
    lsm->replace.asked = true;
    lsm_work(lsm);
}

void lsm_install(struct lsm *lsm, const char *directory,
                 void (*done)(void *context, enum status status, const struct lsm_mark *mark),
                 void *context)
{
    ask(lsm, ASKED_INSTALL, directory, NULL, done, context);
}

void lsm_restore(struct lsm *lsm, const char *directory, const struct lsm_mark *mark,
                 void (*done)(void *context, enum status status, const struct lsm_mark *mark),
                 void *context)
{
    ask(lsm, ASKED_RESTORE, directory, mark, done, context);
}

void lsm_adopt(struct lsm *lsm, const char *directory, const struct lsm_mark *mark,
               void (*done)(void *context, enum status status, const struct lsm_mark *mark),
               void *context)
{
    ASSERT(!lsm->options.bare && lsm->installed.index == mark->index);
    ask(lsm, ASKED_ADOPT, directory, mark, done, context);
}
