/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/lsm/export.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "storage/lsm/table_scanner.h"
#include "storage/lsm/transfer.h"
#include "storage/seal/twin.h"

/* A table, and where it stands in the trees. */
struct export_table {
    const struct table_info *info;
    unsigned tree;
    unsigned level;
};

struct lsm_export {
    struct keyring *keyring;
    char directory[table_path_size];
    uint8_t *contents; /* malloc: of the manifest, which points into it */
    struct manifest *manifest;
    struct lsm_tree_options trees[lsm_trees_max];
    struct export_table *tables; /* malloc */
    uint32_t tables_count;
    uint64_t size;
    uint8_t *header; /* malloc */
    size_t header_size;

    struct lsm_transfer_position next; /* that will be made */
    struct lsm_transfer_position from; /* what comes before is passed over */

    /* The table under way. */
    struct table *table; /* NULL: none is open */
    struct table_scanner *scanner;
    struct hash128 digest;
    struct lsm_entry entry; /* read, and not in a piece yet */
    bool entry_known;
    bool entries_ended;

    uint8_t *piece; /* malloc */
    size_t piece_capacity;
};

/* ---- Opening ---- */

static void list_tables(struct lsm_export *export)
{
    const struct manifest *manifest = export->manifest;
    for (unsigned t = 0; t < manifest->trees_count; t++) {
        const struct manifest_tree *tree = &manifest->trees[t];
        export->trees[t] = (struct lsm_tree_options){
            .id = tree->id,
            .name = "",
            .kind = tree->kind,
            .key_size = tree->key_size,
            .value_size = tree->value_size,
        };
        for (unsigned level = 0; level < lsm_levels_count; level++)
            for (uint32_t i = 0; i < tree->counts[level]; i++) {
                const struct table_info *info = tree->levels[level][i];
                export->tables[export->tables_count++] =
                    (struct export_table){.info = info, .tree = t, .level = level};
                export->size += info->file_size;
            }
    }
}

static size_t count_tables(const struct manifest *manifest)
{
    size_t count = 0;
    for (unsigned t = 0; t < manifest->trees_count; t++)
        for (unsigned level = 0; level < lsm_levels_count; level++)
            count += manifest->trees[t].counts[level];
    return count;
}

static enum status read_manifest(struct lsm_export *export, struct io *io, struct error *error)
{
    struct twin *twin = NULL;
    struct twin_report report = {0};
    size_t size = 0;
    enum status status =
        twin_open(io, export->keyring, export->directory, "manifest", SEAL_FORMAT_MANIFEST, &twin,
                  &export->contents, &size, &report, error);
    if (twin != NULL)
        twin_close(twin);
    if (status != STATUS_OK)
        return status;
    export->manifest = calloc(1, sizeof *export->manifest);
    if (export->manifest == NULL)
        return error_set(error, STATUS_NO_MEMORY, "No memory to read %s.", export->directory);
    status = manifest_decode(bytes_of(export->contents, size), export->manifest, error);
    if (status != STATUS_OK)
        return status;
    size_t count = count_tables(export->manifest);
    export->tables = calloc(count + 1, sizeof *export->tables);
    if (export->tables == NULL || count > transfer_tables_count_max)
        return error_set(error,
                         count > transfer_tables_count_max ? STATUS_TOO_LARGE : STATUS_NO_MEMORY,
                         "%s has %zu tables.", export->directory, count);
    list_tables(export);
    return STATUS_OK;
}

static enum status make_header(struct lsm_export *export, const uint8_t *id, struct error *error)
{
    struct transfer_header *header = calloc(1, sizeof *header);
    enum status status = STATUS_NO_MEMORY;
    if (header != NULL) {
        memcpy(header->cluster_id, keyring_cluster_id(export->keyring), seal_id_size);
        memcpy(header->id, id, lsm_transfer_id_size);
        header->tables_count = export->tables_count;
        header->size = export->size;
        header->manifest = *export->manifest;
        header->manifest.numbers_end = 0; /* the sender's own */
        for (unsigned t = 0; t < header->manifest.trees_count; t++)
            memset(header->manifest.trees[t].counts, 0, sizeof header->manifest.trees[t].counts);
        status = transfer_header_encode(header, &export->header, &export->header_size);
    }
    free(header);
    return status == STATUS_OK ? status
                               : error_set(error, status, "Making the header of %s: %s.",
                                           export->directory, status_text(status));
}

enum status lsm_export_open(struct io *io, const struct lsm_export_options *options,
                            struct lsm_export **export, struct error *error)
{
    *export = NULL;
    struct lsm_export *made = calloc(1, sizeof *made);
    if (made == NULL)
        return error_set(error, STATUS_NO_MEMORY, "No memory to read %s.", options->directory);
    made->keyring = options->keyring;
    enum status status = STATUS_OK;
    if (strlen(options->directory) >= sizeof made->directory)
        status = error_set(error, STATUS_INVALID_ARGUMENT, "The path %s is too long.",
                           options->directory);
    if (status == STATUS_OK) {
        memcpy(made->directory, options->directory, strlen(options->directory) + 1);
        status = read_manifest(made, io, error);
    }
    if (status == STATUS_OK)
        status = make_header(made, options->id, error);
    if (status != STATUS_OK) {
        lsm_export_close(made, io);
        return status;
    }
    *export = made;
    return STATUS_OK;
}

static void close_table(struct lsm_export *export, struct io *io)
{
    table_scanner_close(export->scanner);
    export->scanner = NULL;
    if (export->table != NULL)
        table_discard(export->table, io);
    export->table = NULL;
}

void lsm_export_close(struct lsm_export *export, struct io *io)
{
    if (export == NULL)
        return;
    close_table(export, io);
    if (export->manifest != NULL)
        manifest_free(export->manifest);
    free(export->manifest);
    free(export->contents);
    free(export->tables);
    free(export->header);
    free(export->piece);
    free(export);
}

struct bytes lsm_export_header(const struct lsm_export *export)
{
    return bytes_of(export->header, export->header_size);
}

const struct lsm_mark *lsm_export_mark(const struct lsm_export *export)
{
    return &export->manifest->mark;
}

uint32_t lsm_export_tables_count(const struct lsm_export *export)
{
    return export->tables_count;
}

uint64_t lsm_export_size(const struct lsm_export *export)
{
    return export->size;
}

/* ---- Pieces ---- */

static bool is_before(struct lsm_transfer_position a, struct lsm_transfer_position b)
{
    return a.table != b.table ? a.table < b.table : a.chunk < b.chunk;
}

enum status lsm_export_seek(struct lsm_export *export, struct io *io,
                            struct lsm_transfer_position position)
{
    if (position.table > export->tables_count ||
        (position.table == export->tables_count && position.chunk != 0))
        return STATUS_INVALID_ARGUMENT;
    export->from = position;
    /* What lies ahead in the open table is reached by going on; all else begins a table. */
    if (export->table != NULL && export->next.table == position.table &&
        !is_before(position, export->next))
        return STATUS_OK;
    close_table(export, io);
    export->next = (struct lsm_transfer_position){.table = position.table};
    return STATUS_OK;
}

static enum status open_next(struct lsm_export *export, struct io *io, struct error *error)
{
    const struct export_table *table = &export->tables[export->next.table];
    enum status status =
        table_open(io, export->keyring, export->directory, &export->trees[table->tree], table->info,
                   &export->table, error);
    if (status == STATUS_OK)
        status = table_scanner_open(export->table, &export->scanner);
    export->digest = (struct hash128){0};
    export->entry_known = false;
    export->entries_ended = false;
    return status;
}

static enum status piece_room(struct lsm_export *export, size_t size)
{
    if (size <= export->piece_capacity)
        return STATUS_OK;
    uint8_t *grown = realloc(export->piece, size);
    if (grown == NULL)
        return STATUS_NO_MEMORY;
    export->piece = grown;
    export->piece_capacity = size;
    return STATUS_OK;
}

/* Entries up to the target, at least one; none at the table's end. */
static enum status fill_entries(struct lsm_export *export, struct io *io, size_t *filled)
{
    size_t size = 0;
    *filled = 0;
    while (!export->entries_ended) {
        if (!export->entry_known) {
            enum status status = table_scanner_next(export->scanner, io, &export->entry);
            if (status == STATUS_END) {
                export->entries_ended = true;
                break;
            }
            if (status != STATUS_OK)
                return status;
            export->entry_known = true;
        }
        size_t entry_size = transfer_entry_size(&export->entry);
        if (size != 0 && size + entry_size > transfer_payload_size)
            break;
        enum status status =
            piece_room(export, transfer_piece_head_size + (size + entry_size > transfer_payload_size
                                                               ? size + entry_size
                                                               : (size_t)transfer_payload_size));
        if (status != STATUS_OK)
            return status;
        transfer_entry_encode(export->piece + transfer_piece_head_size + size, &export->entry);
        size += entry_size;
        export->entry_known = false;
    }
    *filled = size;
    return STATUS_OK;
}

static enum status make_piece(struct lsm_export *export, struct io *io, struct bytes *piece)
{
    const struct export_table *table = &export->tables[export->next.table];
    size_t size;
    enum transfer_type type = TRANSFER_ENTRIES;
    enum status status = fill_entries(export, io, &size);
    if (status == STATUS_OK && size == 0) {
        type = TRANSFER_END;
        size = transfer_end_size;
        status = piece_room(export, transfer_piece_head_size + size);
        if (status == STATUS_OK)
            transfer_end_encode(export->piece + transfer_piece_head_size, table->info);
    }
    if (status != STATUS_OK)
        return status;
    const struct transfer_piece head = {
        .type = type,
        .level = (uint8_t)table->level,
        .tree = export->trees[table->tree].id,
        .position = export->next,
        .payload = bytes_of(export->piece + transfer_piece_head_size, size),
    };
    transfer_piece_seal(&head, &export->digest, export->piece);
    *piece = bytes_of(export->piece, transfer_piece_head_size + size);
    if (type == TRANSFER_END) {
        close_table(export, io);
        export->next = (struct lsm_transfer_position){.table = export->next.table + 1};
    } else {
        export->next.chunk++;
    }
    return STATUS_OK;
}

enum status lsm_export_next(struct lsm_export *export, struct io *io, struct bytes *piece,
                            struct error *error)
{
    *piece = (struct bytes){0};
    if (export->next.table == export->tables_count)
        return STATUS_END;
    bool passed = is_before(export->next, export->from);
    enum status status = export->table == NULL ? open_next(export, io, error) : STATUS_OK;
    if (status == STATUS_OK)
        status = make_piece(export, io, piece);
    if (status != STATUS_OK) {
        *piece = (struct bytes){0};
        if (error != NULL && error->status == STATUS_OK)
            error_set(error, status, "Reading table %u of the checkpoint %s: %s.",
                      export->next.table, export->directory, status_text(status));
        return status;
    }
    if (!passed)
        return STATUS_OK;
    *piece = (struct bytes){0};
    return STATUS_AGAIN;
}
