/* SPDX-License-Identifier: Apache-2.0 */
/* The contents of the progress, inside the twin's sealing:
 *
 *     u32 size of the header, header (transfer.h), manifest (manifest.h)
 *
 * The manifest holds the finished tables, a prefix of the stream's. Its end of numbers lies above
 * all that were given to files before it was written, or will be before it is written by another
 * opening. */
#include "storage/lsm/import.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "storage/io/blocking.h"
#include "storage/lsm/directory.h"
#include "storage/lsm/table_writer.h"
#include "storage/lsm/transfer.h"
#include "storage/seal/twin.h"

struct import_table {
    struct table_info info;
    unsigned tree; /* position in the header's manifest */
    unsigned level;
};

struct lsm_import {
    struct keyring *keyring;
    char directory[table_path_size];
    const struct lsm_tree_options *trees;
    unsigned trees_count;
    bool uncompressed;
    uint64_t record_size;
    uint8_t *header_bytes; /* malloc; the header points into it */
    size_t header_size;
    struct transfer_header header;
    struct twin *progress;

    struct import_table *tables; /* malloc: finished, in the stream's order */
    uint32_t tables_count;
    uint32_t tables_max;
    uint64_t written_size;
    uint64_t recorded_size; /* of it, when the progress was written last */
    uint64_t number_next;
    uint64_t numbers_end;

    /* The table under way. */
    bool failed;
    struct lsm_transfer_position next;
    struct hash128 digest;
    struct table_writer *writer;         /* NULL: no entry came yet */
    const struct lsm_tree_options *tree; /* of it */
    unsigned tree_position;
    unsigned level;
    uint64_t last_version;
    size_t last_key_size;
    uint8_t last_key[lsm_key_size_max];
};

static enum status fail(struct lsm_import *import, struct error *error, enum status status,
                        const char *text)
{
    import->failed = true;
    if (error != NULL && error->status != STATUS_OK)
        return status;
    return error_set(error, status, "Staging table %u in %s: %s.", import->next.table,
                     import->directory, text == NULL ? status_text(status) : text);
}

/* ---- Manifests of what is there ---- */

/* The header's manifest with the finished tables. `infos` holds their pointers. */
static void fill_manifest(const struct lsm_import *import, struct manifest *manifest,
                          const struct table_info **infos)
{
    uint32_t at = 0;
    *manifest = import->header.manifest;
    manifest->numbers_end = import->numbers_end;
    for (unsigned t = 0; t < manifest->trees_count; t++)
        for (unsigned level = 0; level < lsm_levels_count; level++) {
            manifest->trees[t].levels[level] = infos + at;
            for (; at < import->tables_count && import->tables[at].tree == t &&
                   import->tables[at].level == level;
                 at++) {
                infos[at] = &import->tables[at].info;
                manifest->trees[t].counts[level]++;
            }
        }
    ASSERT(at == import->tables_count);
}

static enum status encode_manifest(const struct lsm_import *import, uint8_t **contents,
                                   size_t *size)
{
    *contents = NULL;
    *size = 0;
    struct manifest *manifest = calloc(1, sizeof *manifest);
    const struct table_info **infos = calloc((size_t)import->tables_count + 1, sizeof *infos);
    enum status status = STATUS_NO_MEMORY;
    if (manifest != NULL && infos != NULL) {
        fill_manifest(import, manifest, infos);
        status = manifest_encode(manifest, contents, size);
    }
    free(infos);
    free(manifest);
    return status;
}

static enum status write_progress(struct lsm_import *import, struct io *io)
{
    uint8_t *manifest;
    size_t manifest_size;
    enum status status = encode_manifest(import, &manifest, &manifest_size);
    if (status != STATUS_OK)
        return status;
    size_t size = 4 + import->header_size + manifest_size;
    uint8_t *contents = malloc(size);
    status = STATUS_NO_MEMORY;
    if (contents != NULL) {
        store_u32(contents, (uint32_t)import->header_size);
        memcpy(contents + 4, import->header_bytes, import->header_size);
        memcpy(contents + 4 + import->header_size, manifest, manifest_size);
        status = twin_write_wait(import->progress, io, bytes_of(contents, size));
    }
    if (status == STATUS_OK)
        import->recorded_size = import->written_size;
    free(contents);
    free(manifest);
    return status;
}

/* ---- Opening ---- */

static bool tree_is_known(const struct lsm_import *import, const struct manifest_tree *tree)
{
    for (unsigned i = 0; i < import->trees_count; i++) {
        const struct lsm_tree_options *options = &import->trees[i];
        if (options->id == tree->id)
            return options->kind == tree->kind &&
                   (tree->kind == LSM_BYTES || (options->key_size == tree->key_size &&
                                                options->value_size == tree->value_size));
    }
    return false;
}

static enum status take_header(struct lsm_import *import, struct bytes header, struct error *error)
{
    import->header_bytes = malloc(header.size + 1);
    if (import->header_bytes == NULL)
        return error_set(error, STATUS_NO_MEMORY, "No memory to stage a snapshot.");
    bytes_copy(import->header_bytes, header);
    import->header_size = header.size;
    enum status status =
        transfer_header_decode(bytes_of(import->header_bytes, header.size), &import->header, error);
    if (status != STATUS_OK)
        return status;
    if (memcmp(import->header.cluster_id, keyring_cluster_id(import->keyring), seal_id_size) != 0)
        return error_set(error, STATUS_INVALID_ARGUMENT, "The snapshot is of another cluster.");
    for (unsigned t = 0; t < import->header.manifest.trees_count; t++)
        if (!tree_is_known(import, &import->header.manifest.trees[t]))
            return error_set(
                error, STATUS_NEWER_FORMAT,
                "The snapshot holds tree %u, which this version does not know in that form.",
                (unsigned)import->header.manifest.trees[t].id);
    return STATUS_OK;
}

static bool tables_reserve(struct lsm_import *import)
{
    if (import->tables_count < import->tables_max)
        return true;
    uint32_t max = import->tables_max == 0 ? 64 : import->tables_max * 2;
    struct import_table *tables = realloc(import->tables, max * sizeof *tables);
    if (tables == NULL)
        return false;
    import->tables = tables;
    import->tables_max = max;
    return true;
}

/* Whether the file is there and opens as what the progress says. */
static enum status verify_table(const struct lsm_import *import, struct io *io, unsigned tree,
                                const struct table_info *info)
{
    const struct manifest_tree *named = &import->header.manifest.trees[tree];
    const struct lsm_tree_options options = {.id = named->id,
                                             .name = "",
                                             .kind = named->kind,
                                             .key_size = named->key_size,
                                             .value_size = named->value_size};
    struct table *table;
    enum status status =
        table_open(io, import->keyring, import->directory, &options, info, &table, NULL);
    if (status == STATUS_OK)
        table_discard(table, io);
    return status;
}

/* Takes over one table of the progress. NOT_FOUND: this one and what follows comes again. */
static enum status keep_table(struct lsm_import *import, struct io *io, unsigned tree,
                              unsigned level, const struct table_info *info)
{
    if (!tables_reserve(import))
        return STATUS_NO_MEMORY;
    enum status status = verify_table(import, io, tree, info);
    if (status == STATUS_CORRUPT || status == STATUS_NOT_FOUND)
        return STATUS_NOT_FOUND;
    struct import_table *table = &import->tables[import->tables_count];
    if (status == STATUS_OK)
        status = table_info_copy(info, &table->info);
    if (status != STATUS_OK)
        return status;
    table->tree = tree;
    table->level = level;
    import->tables_count++;
    import->written_size += info->file_size;
    return STATUS_OK;
}

static enum status keep_tables(struct lsm_import *import, struct io *io,
                               const struct manifest *manifest)
{
    for (unsigned t = 0; t < manifest->trees_count; t++)
        for (unsigned level = 0; level < lsm_levels_count; level++)
            for (uint32_t i = 0; i < manifest->trees[t].counts[level]; i++) {
                const struct table_info *info = manifest->trees[t].levels[level][i];
                enum status status = keep_table(import, io, t, level, info);
                if (status != STATUS_OK)
                    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
            }
    return STATUS_OK;
}

/* What an earlier opening left: its tables, where it was of the same stream and for the same
 * numbers; in any case numbers that it may have used are not used again. */
static enum status take_progress(struct lsm_import *import, struct io *io, struct bytes contents)
{
    if (contents.size < 4 || load_u32(contents.data) > contents.size - 4)
        return STATUS_OK;
    struct bytes header = bytes_of(contents.data + 4, load_u32(contents.data));
    struct bytes rest = bytes_of(header.data + header.size, contents.size - 4 - header.size);
    struct manifest *manifest = calloc(1, sizeof *manifest);
    if (manifest == NULL)
        return STATUS_NO_MEMORY;
    enum status status = manifest_decode(rest, manifest, NULL);
    if (status == STATUS_OK) {
        bool same = bytes_equal(header, bytes_of(import->header_bytes, import->header_size)) &&
                    manifest->numbers_end >= import->number_next &&
                    manifest->numbers_end - import->number_next <= UINT32_MAX;
        if (manifest->numbers_end > import->number_next)
            import->number_next = manifest->numbers_end;
        if (same)
            status = keep_tables(import, io, manifest);
        manifest_free(manifest);
    } else if (status == STATUS_CORRUPT || status == STATUS_NEWER_FORMAT) {
        status = STATUS_OK; /* nothing of it is kept */
    }
    free(manifest);
    return status;
}

static bool is_finished_table(const struct lsm_import *import, const char *name)
{
    uint64_t number;
    if (!table_name_parse(name, &number))
        return strcmp(name, "progress.a") == 0 || strcmp(name, "progress.b") == 0;
    for (uint32_t i = 0; i < import->tables_count; i++)
        if (import->tables[i].info.number == number)
            return true;
    return false;
}

/* Leaves the finished tables and the progress alone. */
static enum status remove_others(struct lsm_import *import, struct io *io)
{
    struct directory_names names;
    char path[table_path_size + directory_name_size_max + 1];
    enum status status = directory_list(io, import->directory, &names);
    for (size_t i = 0; i < names.count && status == STATUS_OK; i++) {
        if (is_finished_table(import, names.names[i]))
            continue;
        memcpy(path, import->directory, strlen(import->directory));
        path[strlen(import->directory)] = '/';
        memcpy(path + strlen(import->directory) + 1, names.names[i], strlen(names.names[i]) + 1);
        status = io_unlink_wait(io, path);
    }
    directory_names_free(&names);
    return status;
}

static enum status make_directory(const struct lsm_import *import, struct io *io)
{
    char parent[table_path_size];
    enum status status = io_make_directory_wait(io, import->directory);
    if (status == STATUS_ALREADY_EXISTS)
        return STATUS_OK;
    if (status != STATUS_OK)
        return status;
    memcpy(parent, import->directory, sizeof parent);
    char *slash = strrchr(parent, '/');
    if (slash == NULL)
        return io_flush_directory_wait(io, ".");
    slash[slash == parent ? 1 : 0] = '\0';
    return io_flush_directory_wait(io, parent);
}

static enum status open_progress(struct lsm_import *import, struct io *io, struct error *error)
{
    struct twin_report report = {0};
    uint8_t *contents = NULL;
    size_t size = 0;
    enum status status =
        twin_open(io, import->keyring, import->directory, "progress", SEAL_FORMAT_STAGING,
                  &import->progress, &contents, &size, &report, error);
    if (status == STATUS_CORRUPT || status == STATUS_KEY_MISSING) {
        /* It only saves work: all is begun anew. */
        status = directory_empty(io, import->directory);
        if (status == STATUS_OK)
            status =
                twin_open(io, import->keyring, import->directory, "progress", SEAL_FORMAT_STAGING,
                          &import->progress, &contents, &size, &report, error);
    }
    if (status == STATUS_OK)
        status = take_progress(import, io, bytes_of(contents, size));
    else if (status == STATUS_NOT_FOUND)
        status = STATUS_OK;
    free(contents);
    return status;
}

enum status lsm_import_open(struct io *io, const struct lsm_import_options *options,
                            struct lsm_import **import, struct error *error)
{
    *import = NULL;
    struct error reason = {0};
    struct lsm_import *made = calloc(1, sizeof *made);
    if (made == NULL)
        return error_set(error, STATUS_NO_MEMORY, "No memory to stage a snapshot.");
    made->keyring = options->keyring;
    made->trees = options->trees;
    made->trees_count = options->trees_count;
    made->uncompressed = options->uncompressed;
    made->record_size = options->record_size == 0 ? 16 * 1024 * 1024 : options->record_size;
    made->number_next = options->number_first;
    ASSERT(options->number_first != 0);
    enum status status =
        strlen(options->directory) < sizeof made->directory ? STATUS_OK : STATUS_INVALID_ARGUMENT;
    if (status == STATUS_OK) {
        memcpy(made->directory, options->directory, strlen(options->directory) + 1);
        status = take_header(made, options->header, &reason);
    }
    if (status == STATUS_OK)
        status = make_directory(made, io);
    if (status == STATUS_OK)
        status = open_progress(made, io, &reason);
    if (status == STATUS_OK)
        status = remove_others(made, io);
    if (status == STATUS_OK && made->tables_count > made->header.tables_count)
        status = STATUS_CORRUPT; /* cannot be: the progress is sealed, and was of this header */
    if (status == STATUS_OK) {
        made->next.table = made->tables_count;
        made->numbers_end = made->number_next + made->header.tables_count + 1;
        status = write_progress(made, io);
    }
    if (status != STATUS_OK) {
        if (reason.status != status)
            error_set(&reason, status, "Staging a snapshot in %s: %s.", options->directory,
                      status_text(status));
        if (error != NULL)
            *error = reason;
        lsm_import_close(made, io);
        return status;
    }
    *import = made;
    return STATUS_OK;
}

enum status lsm_import_look(struct bytes header, struct lsm_mark *mark, uint64_t *size)
{
    struct transfer_header *decoded = calloc(1, sizeof *decoded);
    *mark = (struct lsm_mark){0};
    *size = 0;
    if (decoded == NULL)
        return STATUS_NO_MEMORY;
    enum status status = transfer_header_decode(header, decoded, NULL);
    if (status == STATUS_OK) {
        *mark = decoded->manifest.mark;
        *size = decoded->size;
        manifest_free(&decoded->manifest);
    }
    free(decoded);
    return status;
}

void lsm_import_close(struct lsm_import *import, struct io *io)
{
    if (import == NULL)
        return;
    table_writer_abandon(import->writer, io);
    for (uint32_t i = 0; i < import->tables_count; i++)
        table_info_free(&import->tables[i].info);
    free(import->tables);
    if (import->progress != NULL)
        twin_close(import->progress);
    manifest_free(&import->header.manifest);
    free(import->header_bytes);
    free(import);
}

struct lsm_transfer_position lsm_import_position(const struct lsm_import *import)
{
    return import->next;
}

uint32_t lsm_import_tables_count(const struct lsm_import *import)
{
    return import->header.tables_count;
}

uint64_t lsm_import_written_size(const struct lsm_import *import)
{
    return import->written_size;
}

const struct lsm_mark *lsm_import_mark(const struct lsm_import *import)
{
    return &import->header.manifest.mark;
}

/* ---- Pieces ---- */

/* The tree and level of a table's first piece: not before those of the table before. */
static const char *table_problem(struct lsm_import *import, const struct transfer_piece *piece)
{
    const struct manifest *manifest = &import->header.manifest;
    unsigned position = 0;
    while (position < manifest->trees_count && manifest->trees[position].id != piece->tree)
        position++;
    if (position == manifest->trees_count)
        return "it is of a tree that the header does not name";
    if (import->tables_count != 0) {
        const struct import_table *last = &import->tables[import->tables_count - 1];
        if (position < last->tree || (position == last->tree && piece->level < last->level))
            return "tables are not in the order of their places";
    }
    import->tree = NULL;
    for (unsigned i = 0; i < import->trees_count; i++)
        if (import->trees[i].id == piece->tree)
            import->tree = &import->trees[i];
    ASSERT(import->tree != NULL); /* by take_header() */
    import->tree_position = position;
    import->level = piece->level;
    return NULL;
}

static const char *entry_problem(const struct lsm_import *import, const struct lsm_entry *entry)
{
    const struct lsm_tree_options *tree = import->tree;
    struct bytes last = bytes_of(import->last_key, import->last_key_size);
    if (tree->kind == LSM_FIXED && (entry->key.size != tree->key_size ||
                                    entry->value.size != (entry->deletion ? 0 : tree->value_size)))
        return "an entry has not its tree's size";
    const struct lsm_mark *mark = &import->header.manifest.mark;
    if (entry->version > (import->tree->regional ? mark->index : mark->version))
        return "an entry is past the mark";
    if (import->writer != NULL &&
        lsm_entry_order(last, import->last_version, entry->key, entry->version) >= 0)
        return "entries are out of order";
    return NULL;
}

static enum status begin_table(struct lsm_import *import)
{
    const struct table_writer_options options = {
        .keyring = import->keyring,
        .directory = import->directory,
        .tree = import->tree,
        .number = import->number_next,
        .uncompressed = import->uncompressed,
    };
    ASSERT(import->number_next < import->numbers_end);
    enum status status = table_writer_create(&options, &import->writer);
    if (status == STATUS_OK)
        import->number_next++;
    return status;
}

static enum status take_entries(struct lsm_import *import, struct io *io, struct bytes payload,
                                struct error *error)
{
    struct lsm_entry entry;
    enum status status;
    while ((status = transfer_entry_decode(&payload, &entry)) == STATUS_OK) {
        const char *problem = entry_problem(import, &entry);
        if (problem != NULL)
            return fail(import, error, STATUS_CORRUPT, problem);
        if (import->writer == NULL)
            status = begin_table(import);
        if (status == STATUS_OK)
            status = table_writer_add(import->writer, io, &entry);
        if (status != STATUS_OK)
            return fail(import, error, status, NULL);
        bytes_copy(import->last_key, entry.key);
        import->last_key_size = entry.key.size;
        import->last_version = entry.version;
    }
    if (status != STATUS_END)
        return fail(import, error, status, NULL);
    import->next.chunk++;
    return STATUS_OK;
}

static bool end_agrees(const struct transfer_end *end, const struct table_info *info)
{
    return end->entries_count == info->entries_count &&
           end->tombstones_count == info->tombstones_count &&
           end->version_min == info->version_min && end->version_max == info->version_max;
}

static enum status finish_table(struct lsm_import *import, struct io *io, struct bytes payload,
                                struct error *error)
{
    struct transfer_end end;
    enum status status = transfer_end_decode(payload, &end);
    if (status != STATUS_OK || import->writer == NULL)
        return fail(import, error, STATUS_MALFORMED, "its end is not one");
    if (!tables_reserve(import))
        return fail(import, error, STATUS_NO_MEMORY, NULL);
    struct import_table *table = &import->tables[import->tables_count];
    *table = (struct import_table){.tree = import->tree_position, .level = import->level};
    status = table_writer_finish(import->writer, io, &table->info);
    if (status != STATUS_OK)
        return fail(import, error, status, NULL);
    import->writer = NULL;
    import->tables_count++;
    import->written_size += table->info.file_size;
    if (!end_agrees(&end, &table->info))
        return fail(import, error, STATUS_CORRUPT,
                    "its entries are not those that the sender's manifest counts");
    status = verify_table(import, io, table->tree, &table->info);
    if (status == STATUS_OK && import->written_size - import->recorded_size >= import->record_size)
        status = write_progress(import, io);
    if (status != STATUS_OK)
        return fail(import, error, status, NULL);
    import->next = (struct lsm_transfer_position){.table = import->next.table + 1};
    import->digest = (struct hash128){0};
    import->last_key_size = 0;
    import->last_version = 0;
    return STATUS_OK;
}

enum status lsm_import_take(struct lsm_import *import, struct io *io, struct bytes bytes,
                            struct error *error)
{
    struct transfer_piece piece;
    ASSERT(!import->failed);
    enum status status = transfer_piece_decode(bytes, &piece);
    if (status != STATUS_OK)
        return fail(import, error, status, NULL);
    if (piece.position.table != import->next.table || piece.position.chunk != import->next.chunk ||
        import->next.table == import->header.tables_count)
        return STATUS_INVALID_ARGUMENT;
    if (!transfer_piece_holds(&piece, bytes, &import->digest))
        return fail(import, error, STATUS_CORRUPT, "a piece's digest does not hold");
    const char *problem = NULL;
    if (piece.position.chunk == 0)
        problem = table_problem(import, &piece);
    else if (piece.tree != import->tree->id || piece.level != import->level)
        problem = "a table changes its place";
    if (problem != NULL)
        return fail(import, error, STATUS_CORRUPT, problem);
    return piece.type == TRANSFER_ENTRIES ? take_entries(import, io, piece.payload, error)
                                          : finish_table(import, io, piece.payload, error);
}

/* ---- The end ---- */

/* A manifest that no reader of manifests would take is not written. */
static enum status check_whole(struct bytes contents, struct error *error)
{
    struct manifest *manifest = calloc(1, sizeof *manifest);
    if (manifest == NULL)
        return error_set(error, STATUS_NO_MEMORY, "No memory to finish a snapshot.");
    enum status status = manifest_decode(contents, manifest, error);
    if (status == STATUS_OK)
        manifest_free(manifest);
    free(manifest);
    return status;
}

enum status lsm_import_finish(struct lsm_import *import, struct io *io, struct error *error)
{
    ASSERT(!import->failed && import->next.table == import->header.tables_count);
    struct twin *twin = NULL;
    struct twin_report report = {0};
    uint8_t *contents = NULL;
    uint8_t *found = NULL;
    size_t size = 0;
    size_t found_size = 0;
    enum status status = encode_manifest(import, &contents, &size);
    if (status == STATUS_OK)
        status = check_whole(bytes_of(contents, size), error);
    if (status == STATUS_OK)
        status = write_progress(import, io);
    if (status == STATUS_OK) {
        status = twin_open(io, import->keyring, import->directory, "manifest", SEAL_FORMAT_MANIFEST,
                           &twin, &found, &found_size, &report, error);
        if (status == STATUS_NOT_FOUND) {
            if (error != NULL)
                *error = (struct error){0};
            status = twin_write_wait(twin, io, bytes_of(contents, size));
        }
    }
    if (twin != NULL)
        twin_close(twin);
    free(found);
    free(contents);
    return status == STATUS_OK ? status : fail(import, error, status, NULL);
}
