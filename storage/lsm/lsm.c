/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, recovery and closing.
 *
 * What is found in the directory, and what is done about it:
 *
 *     manifest   tables                      recovery
 *     --------   -------------------------   ----------------------------------------------------
 *     none       none                        new: an empty manifest is written before anything else
 *     none       some                        CORRUPT: the first manifest stands before any table
 *     whole      all that it names, whole    open them
 *     whole      one missing, or other size  CORRUPT, and the file is named
 *     whole      some that it does not name  what a crash left: unlinked
 *     bad        any                         the twin's status: CORRUPT, KEY_MISSING, NEWER_FORMAT
 *
 * A bare one looks at no table, and removes nothing.
 */
#include "storage/lsm/lsm.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "storage/io/blocking.h"
#include "storage/lsm/lsm_internal.h"

enum { name_size_max = 256 };

/* ---- Options ---- */

static int compare_trees(const void *a, const void *b)
{
    const struct lsm_tree_options *left = a;
    const struct lsm_tree_options *right = b;
    return (left->id > right->id) - (left->id < right->id);
}

static void fill_defaults(struct lsm_options *options)
{
    if (options->memtable_size == 0)
        options->memtable_size = (size_t)64 << 20;
    if (options->memtables_max == 0)
        options->memtables_max = 4;
    if (options->cache_size == 0)
        options->cache_size = (size_t)256 << 20;
    if (options->table_size == 0)
        options->table_size = (uint64_t)32 << 20;
    if (options->level_base_size == 0)
        options->level_base_size = (uint64_t)256 << 20;
    if (options->level0_compact_count == 0)
        options->level0_compact_count = 4;
    if (options->level0_stop_count == 0)
        options->level0_stop_count = 20;
    if (options->level0_stop_count <= options->level0_compact_count)
        options->level0_stop_count = options->level0_compact_count + 1;
    if (options->scrub_rate_max == 0)
        options->scrub_rate_max = (uint64_t)32 << 20;
}

static void retry_fired(struct io_timer *timer)
{
    struct lsm *lsm = timer->context;
    lsm->retry_later = false;
    lsm_work(lsm);
}

static enum status options_apply(struct lsm *lsm, const struct lsm_options *options,
                                 struct error *error)
{
    ASSERT(options->trees_count <= lsm_trees_max);
    lsm->options = *options;
    fill_defaults(&lsm->options);
    lsm->io = options->io;
    lsm->trees_count = options->trees_count;
    memcpy(lsm->trees, options->trees, options->trees_count * sizeof *options->trees);
    qsort(lsm->trees, lsm->trees_count, sizeof *lsm->trees, compare_trees);
    for (unsigned i = 1; i < lsm->trees_count; i++)
        ASSERT(lsm->trees[i - 1].id != lsm->trees[i].id);
    for (unsigned i = 0; i < lsm->trees_count; i++)
        ASSERT(!lsm->trees[i].regional || lsm->trees[i].kind == LSM_BYTES);
    int size = snprintf(lsm->directory, sizeof lsm->directory, "%s", options->directory);
    if (size < 0 || (size_t)size >= sizeof lsm->directory)
        return error_set(error, STATUS_INVALID_ARGUMENT, "The path %s is too long.",
                         options->directory);
    lsm->options.directory = lsm->directory;
    lsm->options.trees = lsm->trees;
    list_init(&lsm->sealed);
    list_init(&lsm->queue);
    list_init(&lsm->taken);
    list_init(&lsm->finished);
    list_init(&lsm->obsolete);
    list_init(&lsm->checkpoints);
    list_init(&lsm->unopened);
    lsm->halted = lsm->options.bare;
    lsm->retry = (struct io_timer){.fired = retry_fired, .context = lsm};
    lsm->current = version_set_create(lsm->trees_count);
    if (lsm->current == NULL || cache_create(lsm->io, lsm->options.cache_size, &lsm->cache) != 0)
        return error_set(error, STATUS_NO_MEMORY, "No memory to open %s.", lsm->directory);
    return STATUS_OK;
}

/* ---- What is in the directory ---- */

struct listing {
    struct lsm *lsm;
    uint64_t *numbers; /* of the tables there */
    size_t count;
    size_t max;
    char (*temporary)[name_size_max]; /* names of unfinished files */
    size_t temporary_count;
    bool no_memory;
};

static bool name_is_temporary(const char *name)
{
    size_t size = strlen(name);
    return size > 4 && size < name_size_max && strcmp(name + size - 4, ".tmp") == 0;
}

static void list_name(void *context, const char *name, bool is_directory)
{
    struct listing *listing = context;
    uint64_t number;
    if (is_directory || listing->no_memory)
        return;
    if (name_is_temporary(name)) {
        void *grown = realloc(listing->temporary,
                              (listing->temporary_count + 1) * sizeof *listing->temporary);
        if (grown == NULL) {
            listing->no_memory = true;
            return;
        }
        listing->temporary = grown;
        memcpy(listing->temporary[listing->temporary_count++], name, strlen(name) + 1);
        return;
    }
    if (!table_name_parse(name, &number))
        return;
    if (listing->count == listing->max) {
        size_t max = listing->max == 0 ? 256 : listing->max * 2;
        uint64_t *grown = realloc(listing->numbers, max * sizeof *grown);
        if (grown == NULL) {
            listing->no_memory = true;
            return;
        }
        listing->numbers = grown;
        listing->max = max;
    }
    listing->numbers[listing->count++] = number;
}

static enum status list_directory(struct lsm *lsm, struct listing *listing, struct error *error)
{
    *listing = (struct listing){.lsm = lsm};
    enum status status = io_list(lsm->io, lsm->directory, list_name, listing);
    if (status == STATUS_OK && listing->no_memory)
        status = STATUS_NO_MEMORY;
    if (status != STATUS_OK)
        return error_set(error, status, "Listing %s: %s.", lsm->directory, status_text(status));
    return STATUS_OK;
}

static void listing_free(struct listing *listing)
{
    free(listing->numbers);
    free(listing->temporary);
}

/* ---- The manifest ---- */

static bool tree_matches(const struct manifest_tree *tree, const struct lsm_tree_options *options)
{
    if (tree->kind != options->kind)
        return false;
    return tree->kind == LSM_BYTES ||
           (tree->key_size == options->key_size && tree->value_size == options->value_size);
}

static enum status open_table(struct lsm *lsm, unsigned tree, unsigned level,
                              const struct table_info *info, struct version_edit *edit,
                              struct error *error)
{
    struct table_file *file = table_file_create(tree, info);
    if (file == NULL)
        return error_set(error, STATUS_NO_MEMORY, "No memory to open the tables.");
    if (lsm->options.bare) {
        list_push_last(&lsm->unopened, &file->link);
        return STATUS_OK;
    }
    enum status status = table_open(lsm->io, lsm->options.keyring, lsm->directory,
                                    &lsm->trees[tree], &file->info, &file->table, error);
    if (status != STATUS_OK) {
        table_file_free(file);
        if (status != STATUS_NOT_FOUND)
            return status;
        char path[table_path_size];
        if (!table_path(lsm->directory, info->number, path))
            path[0] = '\0';
        return error_set(error, STATUS_CORRUPT, "The table %s is gone; the manifest names it.",
                         path);
    }
    table_attach(file->table, lsm->cache);
    if (!version_edit_add(edit, file, level)) {
        table_unref(file->table);
        file->table = NULL;
        table_file_free(file);
        return error_set(error, STATUS_NO_MEMORY, "No memory to open the tables.");
    }
    return STATUS_OK;
}

static enum status open_tree(struct lsm *lsm, const struct manifest_tree *tree,
                             const struct lsm_mark *mark, struct version_edit *edit,
                             struct error *error)
{
    unsigned position = 0;
    while (position < lsm->trees_count && lsm->trees[position].id != tree->id)
        position++;
    if (position == lsm->trees_count || !tree_matches(tree, &lsm->trees[position]))
        return error_set(error, STATUS_NEWER_FORMAT,
                         "%s holds tree %u, which this version does not know in that form. Start "
                         "the one that wrote it.",
                         lsm->directory, (unsigned)tree->id);
    if (tree->discard_below.size != 0) {
        struct discard *discard = calloc(1, sizeof *discard);
        if (discard == NULL)
            return error_set(error, STATUS_NO_MEMORY, "No memory to open the trees.");
        discard->size = tree->discard_below.size;
        bytes_copy(discard->key, tree->discard_below);
        lsm->discards[position] = discard;
    }
    for (unsigned level = 0; level < lsm_levels_count; level++)
        for (uint32_t i = 0; i < tree->counts[level]; i++) {
            const struct table_info *info = tree->levels[level][i];
            if (info->version_max > (lsm->trees[position].regional ? mark->index : mark->version))
                return error_set(error, STATUS_CORRUPT,
                                 "%s: the manifest names a table whose versions are past its mark.",
                                 lsm->directory);
            enum status status = open_table(lsm, position, level, info, edit, error);
            if (status != STATUS_OK)
                return status;
        }
    return STATUS_OK;
}

static void edit_close_tables(struct version_edit *edit)
{
    for (size_t i = 0; i < edit->count; i++) {
        struct table_file *file = edit->changes[i].file;
        table_unref(file->table);
        file->table = NULL;
        table_file_free(file);
    }
}

static enum status open_manifest(struct lsm *lsm, const struct manifest *manifest,
                                 struct error *error)
{
    struct version_edit edit = {0};
    const struct version_edit *edits[] = {&edit};
    enum status status = STATUS_OK;
    for (unsigned i = 0; i < manifest->trees_count && status == STATUS_OK; i++)
        status = open_tree(lsm, &manifest->trees[i], &manifest->mark, &edit, error);
    struct version_set *set = NULL;
    if (status == STATUS_OK) {
        set = version_set_apply(lsm->current, edits, 1);
        if (set == NULL)
            status = error_set(error, STATUS_NO_MEMORY, "No memory to open the trees.");
    }
    if (status != STATUS_OK) {
        edit_close_tables(&edit);
    } else {
        version_set_release(lsm->current, &lsm->obsolete);
        lsm->current = set;
        lsm->installed = manifest->mark;
        lsm->mark = manifest->mark;
        lsm_attachment_set(lsm, manifest->attachment);
        lsm->attachment = lsm->attachment_next;
        lsm->attachment_installed = lsm->attachment_next;
        lsm->index_sealed = manifest->mark.index;
        /* The horizon may have run ahead of the mark. At the mark nothing is hidden all the same,
         * and what comes after it is replayed whole. */
        lsm->horizon =
            manifest->horizon < manifest->mark.version ? manifest->horizon : manifest->mark.version;
        lsm->numbers_end = manifest->numbers_end;
        lsm->numbers_next = manifest->numbers_end;
    }
    version_edit_free(&edit);
    return status;
}

/* The first manifest of a new LSM: without it, a table that a crash left would look like loss. */
static enum status create_manifest(struct lsm *lsm, struct error *error)
{
    struct manifest_source source;
    uint8_t *contents = NULL;
    size_t size = 0;
    lsm->numbers_next = 1;
    lsm->numbers_end = 1 + lsm_numbers_reserved;
    if (!manifest_source_init(&source, lsm))
        return error_set(error, STATUS_NO_MEMORY, "No memory to make %s.", lsm->directory);
    source.set = lsm->current;
    source.mark = lsm->installed;
    source.numbers_end = lsm->numbers_end;
    enum status status = manifest_source_encode(&source, &contents, &size);
    if (status == STATUS_OK)
        status = twin_write_wait(lsm->twin, lsm->io, bytes_of(contents, size));
    free(contents);
    manifest_source_free(&source);
    if (status != STATUS_OK)
        return error_set(error, status, "Writing the first manifest in %s: %s.", lsm->directory,
                         status_text(status));
    return STATUS_OK;
}

static enum status read_manifest(struct lsm *lsm, const struct listing *listing,
                                 struct lsm_report *report, struct error *error)
{
    struct twin_report twin_report = {0};
    struct manifest manifest;
    uint8_t *contents = NULL;
    size_t size = 0;
    enum status status =
        twin_open(lsm->io, lsm->options.keyring, lsm->directory, "manifest", SEAL_FORMAT_MANIFEST,
                  &lsm->twin, &contents, &size, &twin_report, error);
    report->manifest_repaired = twin_report.repaired;
    memcpy(report->repaired_path, twin_report.repaired_path, sizeof report->repaired_path);
    if (status == STATUS_NOT_FOUND) {
        if (error != NULL)
            *error = (struct error){0};
        if (listing->count != 0)
            return error_set(error, STATUS_CORRUPT, "%s holds tables, but both manifests are gone.",
                             lsm->directory);
        report->created = true;
        return create_manifest(lsm, error);
    }
    if (status != STATUS_OK)
        return status;
    status = manifest_decode(bytes_of(contents, size), &manifest, error);
    if (status == STATUS_OK) {
        status = open_manifest(lsm, &manifest, error);
        manifest_free(&manifest);
    } else {
        error_prefix(error, "%s: ", lsm->directory);
    }
    free(contents);
    return status;
}

/* ---- Leftovers of a crash ---- */

static int compare_numbers(const void *a, const void *b)
{
    uint64_t left = load_u64(a);
    uint64_t right = load_u64(b);
    return (left > right) - (left < right);
}

static size_t set_count(const struct version_set *set)
{
    size_t count = 0;
    for (unsigned t = 0; t < set->trees_count; t++)
        for (unsigned l = 0; l < lsm_levels_count; l++)
            count += set->trees[t]->levels[l].count;
    return count;
}

/* The numbers of all tables of the current set, sorted; from malloc. NULL: no memory. */
static uint64_t *set_numbers(const struct version_set *set, size_t *count)
{
    uint64_t *numbers = calloc(set_count(set) + 1, sizeof *numbers);
    *count = 0;
    if (numbers == NULL)
        return NULL;
    for (unsigned t = 0; t < set->trees_count; t++)
        for (unsigned l = 0; l < lsm_levels_count; l++)
            for (uint32_t i = 0; i < set->trees[t]->levels[l].count; i++)
                numbers[(*count)++] = set->trees[t]->levels[l].files[i]->info.number;
    qsort(numbers, *count, sizeof *numbers, compare_numbers);
    return numbers;
}

static enum status remove_leftover(struct lsm *lsm, const char *path, struct lsm_report *report,
                                   struct error *error)
{
    enum status status = io_unlink_wait(lsm->io, path);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        return error_set(error, status, "Removing %s, which a crash left: %s.", path,
                         status_text(status));
    report->removed_count++;
    return STATUS_OK;
}

static enum status remove_leftovers(struct lsm *lsm, const struct listing *listing,
                                    struct lsm_report *report, struct error *error)
{
    char path[table_path_size + name_size_max];
    size_t count;
    enum status status = STATUS_OK;
    uint64_t *named = set_numbers(lsm->current, &count);
    if (named == NULL)
        return error_set(error, STATUS_NO_MEMORY, "No memory to open %s.", lsm->directory);
    for (size_t i = 0; i < listing->count && status == STATUS_OK; i++) {
        uint64_t number = listing->numbers[i];
        if (bsearch(&number, named, count, sizeof number, compare_numbers) != NULL)
            continue;
        if (table_path(lsm->directory, number, path))
            status = remove_leftover(lsm, path, report, error);
    }
    for (size_t i = 0; i < listing->temporary_count && status == STATUS_OK; i++) {
        snprintf(path, sizeof path, "%s/%s", lsm->directory, listing->temporary[i]);
        status = remove_leftover(lsm, path, report, error);
    }
    free(named);
    report->tables_count = count;
    return status;
}

/* ---- Open and close ---- */

enum status lsm_open(const struct lsm_options *options, struct lsm **lsm, struct lsm_mark *mark,
                     struct lsm_report *report, struct error *error)
{
    struct listing listing = {0};
    *lsm = NULL;
    memset(mark, 0, sizeof *mark);
    memset(report, 0, sizeof *report);
    struct lsm *made = calloc(1, sizeof *made);
    if (made == NULL)
        return error_set(error, STATUS_NO_MEMORY, "No memory to open %s.", options->directory);
    enum status status = options_apply(made, options, error);
    if (status == STATUS_OK)
        status = list_directory(made, &listing, error);
    if (status == STATUS_OK)
        status = read_manifest(made, &listing, report, error);
    if (status == STATUS_OK && !report->created) {
        listing_free(&listing); /* a repair of the manifest may have made or removed files */
        status = list_directory(made, &listing, error);
    }
    /* What a manifest names whose tables are not opened is no leftover. */
    if (status == STATUS_OK && !made->options.bare)
        status = remove_leftovers(made, &listing, report, error);
    listing_free(&listing);
    if (status != STATUS_OK) {
        lsm_close(made);
        return status;
    }
    *mark = made->installed;
    *lsm = made;
    compaction_discard(made);
    return STATUS_OK;
}

static void close_jobs(struct lsm *lsm)
{
    struct list_link *link;
    while ((link = list_pop_first(&lsm->queue)) != NULL) {
        struct lsm_job *job = LIST_ENTRY(link, struct lsm_job, link);
        job->operations->abandon(job, lsm->io);
    }
    while ((link = list_pop_first(&lsm->finished)) != NULL) {
        struct lsm_job *job = LIST_ENTRY(link, struct lsm_job, link);
        job->operations->abandon(job, lsm->io);
    }
}

static void close_files(struct list_link *files)
{
    struct list_link *link;
    while ((link = list_pop_first(files)) != NULL) {
        struct table_file *file = LIST_ENTRY(link, struct table_file, link);
        if (file->table != NULL)
            table_unref(file->table);
        file->table = NULL;
        table_file_free(file);
    }
}

void lsm_close(struct lsm *lsm)
{
    struct list_link *link;
    if (lsm == NULL)
        return;
    ASSERT(lsm->views_count == 0 && list_is_empty(&lsm->taken));
    lsm->options.work = NULL;
    if (lsm->retry_later)
        io_timer_stop(lsm->io, &lsm->retry);
    close_jobs(lsm);
    while ((link = list_pop_first(&lsm->checkpoints)) != NULL)
        free(LIST_ENTRY(link, struct checkpoint_request, link));
    version_set_release(lsm->check.set, &lsm->obsolete);
    scrub_close(lsm);
    while ((link = list_pop_first(&lsm->sealed)) != NULL)
        memory_release(LIST_ENTRY(link, struct memory, link));
    if (lsm->open != NULL)
        memory_release(lsm->open);
    /* Files that are obsolete and were not yet unlinked go at the next opening. */
    version_set_release(lsm->current, &lsm->obsolete);
    close_files(&lsm->obsolete);
    close_files(&lsm->unopened);
    cache_free(lsm->cache);
    if (lsm->twin != NULL)
        twin_close(lsm->twin);
    for (unsigned t = 0; t < lsm_trees_max; t++) {
        free(lsm->discards[t]);
        for (unsigned l = 0; l < lsm_levels_count; l++)
            free((void *)(uintptr_t)lsm->compact_keys[t][l].data);
    }
    free(lsm);
}

unsigned lsm_tree_position(const struct lsm *lsm, uint16_t id)
{
    unsigned position = 0;
    while (position < lsm->trees_count && lsm->trees[position].id != id)
        position++;
    ASSERT(position < lsm->trees_count);
    return position;
}

void lsm_work(struct lsm *lsm)
{
    if (lsm->options.work != NULL)
        lsm->options.work(lsm->options.context);
}

bool lsm_damage(const struct lsm *lsm, const char **path, uint64_t *offset)
{
    return cache_damage(lsm->cache, path, offset);
}

struct lsm_statistics lsm_statistics(const struct lsm *lsm)
{
    struct lsm_statistics statistics = lsm->statistics;
    struct cache_statistics cache = cache_statistics(lsm->cache);
    statistics.sealed_count = lsm->sealed_count;
    statistics.cache_size = cache.size;
    statistics.cache_hits_count = cache.hits_count;
    statistics.cache_misses_count = cache.misses_count;
    statistics.blocked_count = cache.again_count;
    statistics.compactions_running = lsm->compactions_count;
    statistics.disk_full = lsm->disk_full;
    for (unsigned t = 0; t < lsm->trees_count; t++) {
        if (lsm->open != NULL)
            statistics.memtable_size += memtable_size(lsm->open->tables[t]);
        const struct tree_tables *tree = lsm->current->trees[t];
        statistics.level0_count += tree->levels[0].count;
        for (unsigned l = 0; l < lsm_levels_count; l++) {
            statistics.tables_count += tree->levels[l].count;
            statistics.tables_size += tree->levels[l].size;
        }
    }
    return statistics;
}

uint64_t lsm_installed_index(const struct lsm *lsm)
{
    return lsm->installed.index;
}

const struct lsm_mark *lsm_installed_mark(const struct lsm *lsm)
{
    return &lsm->installed;
}
