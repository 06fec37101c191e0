/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/lsm/table_writer.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/hash.h"
#include "proto/base/log.h"
#include "proto/base/planted.h"
#include "storage/io/blocking.h"
#include "storage/lsm/table_block.h"
#include "storage/lsm/table_filter.h"
#include "storage/lsm/table_format.h"
#include "storage/lsm/table_index.h"

enum { write_size = 256 * 1024, write_back_size = 1024 * 1024 };

struct table_writer {
    const struct lsm_tree_options *tree;
    bool compress;
    bool failed;    /* only abandoning is left */
    bool file_made; /* there is a file to remove */
    struct sealer *sealer;
    struct io_file *file; /* made by the first write */
    uint8_t header[table_header_size];
    char path[table_path_size];

    /* Sealed, not yet written; the first byte's offset in the file. */
    uint8_t *output; /* malloc */
    size_t output_size;
    size_t output_capacity;
    uint64_t output_offset;
    uint64_t number_next; /* of blocks */

    /* What was handed to the device: up to the second, and up to the first it is there. */
    uint64_t arrived_offset;
    uint64_t handed_offset;

    struct table_block_builder block;
    struct table_index_builder index; /* of this partition */
    struct table_index_builder top;
    uint64_t *hashes; /* malloc: of this partition's distinct keys */
    size_t hashes_count;
    size_t hashes_capacity;
    uint64_t partition_version_min;
    uint64_t partition_version_max;

    struct table_info info; /* counts so far; smallest is set, largest at the end */
    uint64_t last_version;
    uint32_t last_key_size;
    uint8_t last_key[lsm_key_size_max];
    uint64_t separator_version;
    uint32_t separator_size;
    uint8_t separator[lsm_key_size_max]; /* of the last data block */
};

static void writer_free(struct table_writer *writer)
{
    sealer_free(writer->sealer);
    table_block_builder_free(&writer->block);
    table_index_builder_free(&writer->index);
    table_index_builder_free(&writer->top);
    table_info_free(&writer->info);
    free(writer->hashes);
    free(writer->output);
    free(writer);
}

enum status table_writer_create(const struct table_writer_options *options,
                                struct table_writer **writer)
{
    *writer = NULL;
    ASSERT(options->number != 0);
    struct table_writer *made = calloc(1, sizeof *made);
    if (made == NULL)
        return STATUS_NO_MEMORY;
    enum status status = STATUS_NO_MEMORY;
    made->tree = options->tree;
    made->compress = options->tree->kind == LSM_BYTES && !options->uncompressed;
    made->number_next = table_block_number_first;
    made->info.number = options->number;
    made->info.version_min = UINT64_MAX;
    made->partition_version_min = UINT64_MAX;
    table_block_builder_init(&made->block, made->tree);
    made->output_capacity = write_size + 64 * 1024;
    made->output = malloc(made->output_capacity);
    if (made->output == NULL)
        goto err;
    if (!table_path(options->directory, options->number, made->path)) {
        status = STATUS_INVALID_ARGUMENT;
        goto err;
    }
    uint8_t envelope[seal_envelope_size];
    struct seal_file file = {.format = SEAL_FORMAT_TABLE, .number = options->number};
    status = seal_create(options->keyring, file, envelope, &made->sealer);
    if (status != STATUS_OK)
        goto err;
    made->info.data_key = seal_envelope_data_key(envelope);
    table_header_encode(made->header, options->number, envelope);
    memcpy(made->output, made->header, table_header_size);
    made->output_size = table_header_size;
    *writer = made;
    return STATUS_OK;
err:
    writer_free(made);
    return status;
}

/* ---- Output ---- */

/* The device gets the table in parts, each once it has taken the one before, so that the log's
 * flushes never wait behind a whole table. */
static enum status hand_over(struct table_writer *writer, struct io *io)
{
    uint64_t size = writer->output_offset - writer->arrived_offset;
    if (writer->output_offset - writer->handed_offset < write_back_size)
        return STATUS_OK;
    enum status status =
        io_write_back_wait(io, writer->file, (uint32_t)size, writer->arrived_offset);
    writer->arrived_offset = writer->handed_offset;
    writer->handed_offset = writer->output_offset;
    return status;
}

static enum status write_out(struct table_writer *writer, struct io *io)
{
    if (writer->file == NULL) {
        enum status status = io_open_wait(io, writer->path, IO_WRITE | IO_CREATE, &writer->file);
        if (status != STATUS_OK)
            return status;
        writer->file_made = true;
    }
    enum status status =
        io_write_wait(io, writer->file, writer->output, writer->output_size, writer->output_offset);
    if (status != STATUS_OK)
        return status;
    writer->output_offset += writer->output_size;
    writer->output_size = 0;
    return hand_over(writer, io);
}

static enum status output_room(struct table_writer *writer, size_t size)
{
    if (size <= writer->output_capacity - writer->output_size)
        return STATUS_OK;
    uint8_t *grown = realloc(writer->output, writer->output_size + size);
    if (grown == NULL)
        return STATUS_NO_MEMORY;
    writer->output = grown;
    writer->output_capacity = writer->output_size + size;
    return STATUS_OK;
}

/* Appends one sealed block and says where it stands. */
static enum status block_out(struct table_writer *writer, struct io *io, enum table_block_type type,
                             struct bytes body, struct cache_place *place)
{
    *place = (struct cache_place){0};
    enum status status = output_room(writer, body.size + table_block_overhead);
    if (status != STATUS_OK)
        return status;
    bool compress = writer->compress && type != TABLE_BLOCK_FILTER;
    *place = (struct cache_place){
        .number = writer->number_next,
        .offset = writer->output_offset + writer->output_size,
        .type = (uint8_t)type,
    };
    place->size = table_block_seal(writer->sealer, writer->number_next++, type, body, compress,
                                   writer->output + writer->output_size);
    writer->output_size += place->size;
    return writer->output_size >= write_size ? write_out(writer, io) : STATUS_OK;
}

/* ---- Blocks and partitions ---- */

/* A separator at or after the last entry, and before `next` (NULL: there is none). */
static void separate(struct table_writer *writer, const struct lsm_entry *next)
{
    struct bytes last = bytes_of(writer->last_key, writer->last_key_size);
    writer->separator_version = writer->last_version;
    struct bytes separator = last;
    if (next != NULL && writer->tree->kind == LSM_BYTES && !bytes_equal(last, next->key)) {
        size_t shared = 0;
        while (shared < last.size && last.data[shared] == next->key.data[shared])
            shared++;
        separator = bytes_of(next->key.data, shared + 1);
        writer->separator_version = UINT64_MAX;
    }
    bytes_copy(writer->separator, separator);
    writer->separator_size = (uint32_t)separator.size;
}

static enum status data_out(struct table_writer *writer, struct io *io,
                            const struct lsm_entry *next)
{
    struct table_block_builder *block = &writer->block;
    struct bytes body;
    enum status status = table_block_builder_finish(block, &body);
    if (status != STATUS_OK)
        return status;
    separate(writer, next);
    struct table_index_entry entry = {
        .separator = bytes_of(writer->separator, writer->separator_size),
        .separator_version = writer->separator_version,
        .version_min = block->version_min,
        .version_max = block->version_max,
        .entries_count = block->entries_count,
    };
    status = block_out(writer, io, TABLE_BLOCK_DATA, body, &entry.place);
    if (status != STATUS_OK)
        return status;
    if (writer->partition_version_min > entry.version_min)
        writer->partition_version_min = entry.version_min;
    if (writer->partition_version_max < entry.version_max)
        writer->partition_version_max = entry.version_max;
    table_block_builder_reset(block);
    return table_index_builder_add(&writer->index, &entry);
}

static enum status filter_out(struct table_writer *writer, struct io *io, uint32_t *size)
{
    *size = 0;
    size_t body_size = table_filter_size(writer->hashes_count);
    uint8_t *body = malloc(body_size);
    if (body == NULL)
        return STATUS_NO_MEMORY;
    table_filter_build(writer->hashes, writer->hashes_count, body);
    struct cache_place place;
    enum status status =
        block_out(writer, io, TABLE_BLOCK_FILTER, bytes_of(body, body_size), &place);
    free(body);
    *size = place.size;
    writer->hashes_count = 0;
    return status;
}

/* Ends the partition: its filter, its index, its entry in the top. */
static enum status partition_out(struct table_writer *writer, struct io *io)
{
    struct table_index_entry entry = {
        .separator = bytes_of(writer->separator, writer->separator_size),
        .separator_version = writer->separator_version,
        .version_min = writer->partition_version_min,
        .version_max = writer->partition_version_max,
        .entries_count = writer->index.count,
    };
    enum status status = filter_out(writer, io, &entry.filter_size);
    if (status != STATUS_OK)
        return status;
    struct bytes body;
    status = table_index_builder_finish(&writer->index, &body);
    if (status != STATUS_OK)
        return status;
    status = block_out(writer, io, TABLE_BLOCK_INDEX, body, &entry.place);
    if (status != STATUS_OK)
        return status;
    writer->partition_version_min = UINT64_MAX;
    writer->partition_version_max = 0;
    return table_index_builder_add(&writer->top, &entry);
}

/* ---- Entries ---- */

static enum status hash_add(struct table_writer *writer, struct bytes key)
{
    if (writer->hashes_count == writer->hashes_capacity) {
        size_t capacity = writer->hashes_capacity == 0 ? 4096 : 2 * writer->hashes_capacity;
        uint64_t *grown = realloc(writer->hashes, capacity * sizeof *grown);
        if (grown == NULL)
            return STATUS_NO_MEMORY;
        writer->hashes = grown;
        writer->hashes_capacity = capacity;
    }
    writer->hashes[writer->hashes_count++] = hash64(key);
    return STATUS_OK;
}

static enum status first_key_keep(struct table_writer *writer, struct bytes key)
{
    struct table_info first = {.smallest = key};
    struct table_info copy;
    enum status status = table_info_copy(&first, &copy);
    writer->info.smallest = copy.smallest;
    writer->info.keys = copy.keys;
    return status;
}

static enum status add(struct table_writer *writer, struct io *io, const struct lsm_entry *entry)
{
    struct table_info *info = &writer->info;
    struct bytes last = bytes_of(writer->last_key, writer->last_key_size);
    bool is_first = info->entries_count == 0;
    ASSERT(is_first || lsm_entry_order(last, writer->last_version, entry->key, entry->version) < 0);
    enum status status = STATUS_OK;
    if (is_first)
        status = first_key_keep(writer, entry->key);
    if (status == STATUS_OK && !table_block_builder_takes(&writer->block, entry)) {
        status = data_out(writer, io, entry);
        if (status == STATUS_OK && writer->index.count == table_partition_blocks_max)
            status = partition_out(writer, io);
    }
    /* A key that goes on from the last partition is in both filters. */
    if (status == STATUS_OK && (writer->hashes_count == 0 || !bytes_equal(last, entry->key)))
        status = hash_add(writer, entry->key);
    if (status == STATUS_OK)
        status = table_block_builder_add(&writer->block, entry);
    if (status != STATUS_OK)
        return status;
    bytes_copy(writer->last_key, entry->key);
    writer->last_key_size = (uint32_t)entry->key.size;
    writer->last_version = entry->version;
    info->entries_count++;
    info->tombstones_count += entry->deletion ? 1 : 0;
    if (info->version_min > entry->version)
        info->version_min = entry->version;
    if (info->version_max < entry->version)
        info->version_max = entry->version;
    return STATUS_OK;
}

enum status table_writer_add(struct table_writer *writer, struct io *io,
                             const struct lsm_entry *entry)
{
    ASSERT(!writer->failed);
    enum status status = add(writer, io, entry);
    writer->failed = status != STATUS_OK;
    return status;
}

uint64_t table_writer_size(const struct table_writer *writer)
{
    return writer->output_offset + writer->output_size + writer->block.size;
}

uint64_t table_writer_entries_count(const struct table_writer *writer)
{
    return writer->info.entries_count;
}

/* ---- The end ---- */

static enum status footer_out(struct table_writer *writer, const struct cache_place *top,
                              uint32_t partitions_count)
{
    enum status status = output_room(writer, table_footer_sealed_size);
    if (status != STATUS_OK)
        return status;
    struct table_info *info = &writer->info;
    info->file_size = writer->output_offset + writer->output_size + table_footer_sealed_size;
    struct table_footer footer = {
        .tree = writer->tree->id,
        .kind = (uint8_t)writer->tree->kind,
        .partitions_count = partitions_count,
        .key_size = writer->tree->kind == LSM_FIXED ? writer->tree->key_size : 0,
        .value_size = writer->tree->kind == LSM_FIXED ? writer->tree->value_size : 0,
        .file_size = info->file_size,
        .entries_count = info->entries_count,
        .tombstones_count = info->tombstones_count,
        .version_min = info->version_min,
        .version_max = info->version_max,
        .top = *top,
    };
    uint8_t *to = writer->output + writer->output_size;
    table_footer_encode(to, &footer);
    sealer_seal(writer->sealer, table_footer_number, bytes_of(writer->header, table_header_size),
                bytes_of(to, table_footer_size), to, to + table_footer_size);
    writer->output_size += table_footer_sealed_size;
    return STATUS_OK;
}

/* The keys of the info: the first, kept since it came, and the last. */
static enum status keys_finish(struct table_writer *writer)
{
    struct table_info both = writer->info;
    both.largest = bytes_of(writer->last_key, writer->last_key_size);
    struct table_info copy;
    enum status status = table_info_copy(&both, &copy);
    if (status != STATUS_OK)
        return status;
    table_info_free(&writer->info);
    writer->info = copy;
    return STATUS_OK;
}

static enum status finish(struct table_writer *writer, struct io *io)
{
    enum status status = data_out(writer, io, NULL);
    if (status == STATUS_OK)
        status = partition_out(writer, io);
    if (status != STATUS_OK)
        return status;
    uint32_t partitions_count = writer->top.count;
    struct bytes body;
    status = table_index_builder_finish(&writer->top, &body);
    struct cache_place top;
    if (status == STATUS_OK)
        status = block_out(writer, io, TABLE_BLOCK_TOP, body, &top);
    if (status == STATUS_OK)
        status = footer_out(writer, &top, partitions_count);
    if (status == STATUS_OK)
        status = keys_finish(writer);
    if (status == STATUS_OK)
        status = write_out(writer, io);
    if (status == STATUS_OK)
        status = PLANTED(lsm_table_unflushed) ? STATUS_OK : io_flush_wait(io, writer->file);
    if (status != STATUS_OK)
        return status;
    struct io_file *file = writer->file;
    writer->file = NULL;
    return io_close_wait(io, file);
}

enum status table_writer_finish(struct table_writer *writer, struct io *io, struct table_info *info)
{
    *info = (struct table_info){0};
    ASSERT(!writer->failed && writer->info.entries_count != 0);
    enum status status = finish(writer, io);
    if (status != STATUS_OK) {
        writer->failed = true;
        return status;
    }
    *info = writer->info;
    writer->info = (struct table_info){0};
    writer_free(writer);
    return STATUS_OK;
}

void table_writer_abandon(struct table_writer *writer, struct io *io)
{
    if (writer == NULL)
        return;
    /* Only what this writer made: another's file of that name is not its to remove. */
    bool made = writer->file_made;
    enum status status = STATUS_OK;
    if (writer->file != NULL)
        status = io_close_wait(io, writer->file);
    if (made && status == STATUS_OK)
        status = io_unlink_wait(io, writer->path);
    if (status != STATUS_OK)
        log_warn("table_not_removed", LOG_TEXT("path", writer->path),
                 LOG_TEXT("status", status_name(status)));
    writer_free(writer);
}
