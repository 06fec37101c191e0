/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/lsm/output.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "proto/base/planted.h"
#include "storage/io/blocking.h"

void output_init(struct output *output, const struct lsm *lsm)
{
    memset(output, 0, sizeof *output);
    output->lsm = lsm;
    output->cut_size = UINT64_MAX;
}

void output_tree_begin(struct output *output, unsigned tree)
{
    ASSERT(output->writer == NULL);
    output->tree = tree;
    output->key_known = false;
    output->hidden = false;
    memset(output->below_positions, 0, sizeof output->below_positions);
}

/* ---- What is dropped ---- */

/* Keys come in order, so each level is walked once. */
static bool may_be_below(struct output *output, struct bytes key)
{
    if (output->below == NULL)
        return true;
    for (unsigned l = output->below_level; l < lsm_levels_count; l++) {
        const struct level *level = &output->below->levels[l];
        uint32_t *position = &output->below_positions[l];
        while (*position < level->count &&
               bytes_compare(level->files[*position]->info.largest, key) < 0)
            ++*position;
        if (*position < level->count &&
            bytes_compare(level->files[*position]->info.smallest, key) <= 0)
            return true;
    }
    return false;
}

/* Whether nobody can see the entry, or needs it to hide another. */
static bool is_dropped(struct output *output, const struct lsm_entry *entry)
{
    if (output->hidden)
        return true;
    bool regional = output->lsm->trees[output->tree].regional;
    if (entry->version > output->horizon && !regional && !PLANTED(lsm_horizon_ignored))
        return false;
    output->hidden = true;
    return entry->deletion && (PLANTED(lsm_tombstone_early) || !may_be_below(output, entry->key));
}

static bool is_discarded(const struct output *output, struct bytes key)
{
    return output->discard.size != 0 && bytes_compare(key, output->discard) < 0;
}

/* ---- Tables ---- */

static enum status writer_create(struct output *output)
{
    ASSERT(output->number_next < output->numbers_end);
    const struct lsm *lsm = output->lsm;
    const struct table_writer_options options = {
        .keyring = lsm->options.keyring,
        .directory = lsm->directory,
        .tree = &lsm->trees[output->tree],
        .number = output->number_next,
        .uncompressed = lsm->options.uncompressed,
    };
    enum status status = table_writer_create(&options, &output->writer);
    if (status == STATUS_OK)
        output->writer_number = output->number_next++;
    return status;
}

static bool tables_reserve(struct output *output)
{
    if (output->tables_count < output->tables_max)
        return true;
    size_t max = output->tables_max == 0 ? 8 : output->tables_max * 2;
    struct output_table *tables = realloc(output->tables, max * sizeof *tables);
    if (tables == NULL)
        return false;
    output->tables = tables;
    output->tables_max = max;
    return true;
}

static enum status table_finish(struct output *output, struct io *io, struct error *error)
{
    const struct lsm *lsm = output->lsm;
    if (!tables_reserve(output))
        return STATUS_NO_MEMORY;
    struct output_table *table = &output->tables[output->tables_count];
    *table = (struct output_table){.tree = output->tree};
    enum status status = table_writer_finish(output->writer, io, &table->info);
    if (status != STATUS_OK)
        return status;
    output->writer = NULL;
    output->tables_count++;
    output->written_size += table->info.file_size;
    ASSERT(table->info.number == output->writer_number);
    return table_open(io, lsm->options.keyring, lsm->directory, &lsm->trees[table->tree],
                      &table->info, &table->table, error);
}

static bool is_to_be_cut(const struct output *output)
{
    return output->writer != NULL && output->number_next < output->numbers_end &&
           table_writer_size(output->writer) >= output->cut_size;
}

enum status output_add(struct output *output, struct io *io, const struct lsm_entry *entry)
{
    struct bytes last = bytes_of(output->key, output->key_size);
    bool same = output->key_known && bytes_equal(entry->key, last);
    if (output->key_known &&
        lsm_entry_order(last, output->key_version, entry->key, entry->version) >= 0)
        return STATUS_CORRUPT;
    if (!same) {
        ASSERT(entry->key.size <= sizeof output->key);
        if (is_to_be_cut(output)) {
            enum status status = table_finish(output, io, NULL);
            if (status != STATUS_OK)
                return status;
        }
        output->key_known = true;
        output->key_size = entry->key.size;
        bytes_copy(output->key, entry->key);
        output->hidden = is_discarded(output, entry->key);
    }
    output->key_version = entry->version;
    if (is_dropped(output, entry))
        return STATUS_OK;
    if (output->writer == NULL) {
        enum status status = writer_create(output);
        if (status != STATUS_OK)
            return status;
    }
    return table_writer_add(output->writer, io, entry);
}

enum status output_tree_end(struct output *output, struct io *io, struct error *error)
{
    return output->writer == NULL ? STATUS_OK : table_finish(output, io, error);
}

enum status output_flush(struct output *output, struct io *io)
{
    return output->tables_count == 0 || PLANTED(lsm_names_unflushed)
               ? STATUS_OK
               : io_flush_directory_wait(io, output->lsm->directory);
}

/* ---- Afterwards ---- */

static void output_free(struct output *output)
{
    for (size_t i = 0; i < output->tables_count; i++)
        table_info_free(&output->tables[i].info);
    free(output->tables);
    output->tables = NULL;
    output->tables_count = 0;
    output->tables_max = 0;
}

enum status output_install(struct output *output, struct lsm_job *job, unsigned level)
{
    ASSERT(output->writer == NULL);
    for (size_t i = 0; i < output->tables_count; i++) {
        struct output_table *table = &output->tables[i];
        struct table_file *file = table_file_create(table->tree, &table->info);
        if (file == NULL || !version_edit_add(&job->edit, file, level)) {
            table_file_free(file);
            return STATUS_NO_MEMORY;
        }
        table_attach(table->table, job->lsm->cache);
        file->table = table->table;
        table->table = NULL;
    }
    output_free(output);
    return STATUS_OK;
}

void output_remove(struct output *output, struct io *io)
{
    char path[table_path_size];
    table_writer_abandon(output->writer, io);
    output->writer = NULL;
    for (size_t i = 0; i < output->tables_count; i++) {
        struct output_table *table = &output->tables[i];
        if (table->table != NULL)
            table_discard(table->table, io);
        if (!table_path(output->lsm->directory, table->info.number, path))
            continue;
        enum status status = io_unlink_wait(io, path);
        if (status != STATUS_OK) /* the next opening removes it */
            log_warn("table_not_removed", LOG_TEXT("path", path),
                     LOG_TEXT("reason", status_text(status)));
    }
    output_free(output);
}
