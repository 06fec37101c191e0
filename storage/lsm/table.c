/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/lsm/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/hash.h"
#include "proto/base/log.h"
#include "storage/io/blocking.h"
#include "storage/io/failure.h"
#include "storage/lsm/table_filter.h"
#include "storage/lsm/table_internal.h"

/* ---- Infos and names ---- */

enum status table_info_copy(const struct table_info *from, struct table_info *to)
{
    *to = (struct table_info){0};
    uint8_t *keys = malloc(from->smallest.size + from->largest.size + 1);
    if (keys == NULL)
        return STATUS_NO_MEMORY;
    bytes_copy(keys, from->smallest);
    bytes_copy(keys + from->smallest.size, from->largest);
    *to = *from;
    to->keys = keys;
    to->smallest = bytes_of(keys, from->smallest.size);
    to->largest = bytes_of(keys + from->smallest.size, from->largest.size);
    return STATUS_OK;
}

void table_info_free(struct table_info *info)
{
    free(info->keys);
    *info = (struct table_info){0};
}

enum { name_digits = 16 };
static const char name_suffix[] = ".table";

bool table_path(const char *directory, uint64_t number, char path[table_path_size])
{
    int size =
        snprintf(path, table_path_size, "%s/%016" PRIx64 "%s", directory, number, name_suffix);
    return size > 0 && size < table_path_size;
}

bool table_name_parse(const char *name, uint64_t *number)
{
    *number = 0;
    uint64_t parsed = 0;
    if (strlen(name) != name_digits + sizeof name_suffix - 1 ||
        strcmp(name + name_digits, name_suffix) != 0)
        return false;
    for (int i = 0; i < name_digits; i++) {
        char digit = name[i];
        if (digit >= '0' && digit <= '9')
            parsed = parsed << 4 | (uint64_t)(digit - '0');
        else if (digit >= 'a' && digit <= 'f')
            parsed = parsed << 4 | (uint64_t)(digit - 'a' + 10);
        else
            return false;
    }
    *number = parsed;
    return parsed != 0;
}

/* ---- Opening and closing ---- */

static enum status decode(struct cache_source *source, const struct cache_place *place,
                          uint8_t *sealed, uint8_t **block, size_t *size)
{
    struct table *table = LIST_ENTRY(source, struct table, source);
    enum status status =
        table_block_open(table->sealer, &table->limits, place, sealed, block, size);
    if (status == STATUS_CORRUPT)
        log_error("table_block_corrupt", LOG_TEXT("path", table->path),
                  LOG_U64("offset", place->offset), LOG_U64("size", place->size));
    return status;
}

static void table_free(struct table *table)
{
    sealer_free(table->sealer);
    table_info_free(&table->info);
    free(table->top);
    free(table);
}

static void closed(struct cache_source *source)
{
    table_free(LIST_ENTRY(source, struct table, source));
}

/* Reads exactly `size` bytes: CORRUPT where the file ends before. */
static enum status read_exactly(struct io *io, struct io_file *file, void *to, size_t size,
                                uint64_t offset)
{
    size_t read_size;
    enum status status = io_read_wait(io, file, to, size, offset, &read_size);
    if (status != STATUS_OK)
        return status;
    return read_size == size ? STATUS_OK : STATUS_CORRUPT;
}

static bool footer_agrees(const struct table *table, const struct table_footer *footer)
{
    const struct table_info *info = &table->info;
    const struct lsm_tree_options *tree = table->tree;
    bool fixed = tree->kind == LSM_FIXED;
    return footer->tree == tree->id && footer->kind == tree->kind &&
           footer->key_size == (fixed ? tree->key_size : 0) &&
           footer->value_size == (fixed ? tree->value_size : 0) &&
           footer->file_size == info->file_size && footer->entries_count == info->entries_count &&
           footer->tombstones_count == info->tombstones_count &&
           footer->version_min == info->version_min && footer->version_max == info->version_max;
}

/* The top is as the footer says, and ends right before itself. */
static bool top_agrees(const struct table *table, const struct table_footer *footer)
{
    struct bytes top = table_top(table);
    uint32_t count = table_index_count(top);
    struct table_index_entry last;
    table_index_get(top, count - 1, &last);
    return count == footer->partitions_count &&
           last.place.offset + last.place.size == footer->top.offset &&
           last.place.number + 1 == footer->top.number &&
           bytes_equal(last.separator, table->info.largest) &&
           last.separator_version <= lsm_entry_version_max;
}

static enum status read_top(struct table *table, struct io *io, const struct table_footer *footer)
{
    uint8_t *sealed = malloc(footer->top.size);
    if (sealed == NULL)
        return STATUS_NO_MEMORY;
    enum status status =
        read_exactly(io, table->source.file, sealed, footer->top.size, footer->top.offset);
    if (status == STATUS_OK)
        status = table_block_open(table->sealer, &table->limits, &footer->top, sealed, &table->top,
                                  &table->top_size);
    free(sealed);
    if (status == STATUS_OK && !top_agrees(table, footer))
        status = STATUS_CORRUPT;
    return status;
}

static enum status read_footer(struct table *table, struct io *io, struct keyring *keyring,
                               struct table_footer *footer)
{
    const struct table_info *info = &table->info;
    struct seal_file name = {.format = SEAL_FORMAT_TABLE, .number = info->number};
    const uint8_t *envelope = table->header + table_header_envelope_offset;
    uint8_t sealed[table_footer_sealed_size];
    uint8_t plain[table_footer_size];

    enum status status = seal_open(keyring, name, envelope, &table->sealer);
    if (status != STATUS_OK)
        return status;
    status = read_exactly(io, table->source.file, sealed, sizeof sealed,
                          info->file_size - sizeof sealed);
    if (status == STATUS_OK)
        status = sealer_open(
            table->sealer, table_footer_number, bytes_of(table->header, table_header_size),
            bytes_of(sealed, table_footer_size), sealed + table_footer_size, plain);
    return status == STATUS_OK ? table_footer_decode(plain, footer) : status;
}

/* The format is plain to read, and covered by the footer's seal. One that is not known may be a
 * number that has decayed: then the footer holds with the one that is. */
static bool format_decayed(struct table *table, struct io *io, struct keyring *keyring)
{
    struct table_footer footer;
    table_header_format_set(table->header);
    return table_header_decode(table->header, table->info.number) == STATUS_OK &&
           read_footer(table, io, keyring, &footer) == STATUS_OK;
}

static enum status read_ends(struct table *table, struct io *io, struct keyring *keyring)
{
    const struct table_info *info = &table->info;
    struct io_file *file = table->source.file;
    uint64_t size;
    enum status status = io_file_size_wait(io, file, &size);
    if (status != STATUS_OK)
        return status;
    if (size != info->file_size || size < table_header_size + table_footer_sealed_size)
        return STATUS_CORRUPT;
    status = read_exactly(io, file, table->header, table_header_size, 0);
    if (status == STATUS_OK)
        status = table_header_decode(table->header, info->number);
    if (status == STATUS_NEWER_FORMAT && format_decayed(table, io, keyring))
        status = STATUS_CORRUPT;
    if (status != STATUS_OK)
        return status;
    struct table_footer footer;
    status = read_footer(table, io, keyring, &footer);
    if (status == STATUS_OK && !footer_agrees(table, &footer))
        status = STATUS_CORRUPT;
    return status == STATUS_OK ? read_top(table, io, &footer) : status;
}

enum status table_open(struct io *io, struct keyring *keyring, const char *directory,
                       const struct lsm_tree_options *tree, const struct table_info *info,
                       struct table **table, struct error *error)
{
    *table = NULL;
    struct table *made = calloc(1, sizeof *made);
    if (made == NULL)
        return error_set(error, STATUS_NO_MEMORY, "out of memory while opening a table");
    made->tree = tree;
    made->references_count = 1;
    made->limits = (struct table_block_limits){.tree = tree, .file_size = info->file_size};
    enum status status = STATUS_INVALID_ARGUMENT;
    if (!table_path(directory, info->number, made->path))
        goto err;
    status = table_info_copy(info, &made->info);
    if (status != STATUS_OK)
        goto err;
    made->source.number = info->number;
    made->source.path = made->path;
    made->source.decode = decode;
    made->source.closed = closed;
    status = io_open_wait(io, made->path, IO_READ, &made->source.file);
    if (status != STATUS_OK)
        goto err;
    status = read_ends(made, io, keyring);
    if (status != STATUS_OK)
        goto err;
    *table = made;
    return STATUS_OK;
err:
    error_set(error, status, "table %s: %s", made->path, io_failure_text(status));
    if (made->source.file != NULL && io_close_wait(io, made->source.file) != STATUS_OK)
        log_warn("table_close_failed", LOG_TEXT("path", made->path));
    table_free(made);
    return status;
}

void table_attach(struct table *table, struct cache *cache)
{
    ASSERT(!table->attached);
    table->attached = true;
    cache_source_open(cache, &table->source);
}

void table_ref(struct table *table)
{
    ASSERT(table->references_count != 0);
    table->references_count++;
}

void table_unref(struct table *table)
{
    ASSERT(table->references_count != 0 && table->attached);
    if (--table->references_count == 0)
        cache_source_close(&table->source);
}

void table_discard(struct table *table, struct io *io)
{
    ASSERT(table->references_count == 1 && !table->attached);
    if (io_close_wait(io, table->source.file) != STATUS_OK)
        log_warn("table_close_failed", LOG_TEXT("path", table->path));
    table_free(table);
}

const struct table_info *table_info(const struct table *table)
{
    return &table->info;
}

const char *table_file_path(const struct table *table)
{
    return table->path;
}

bool table_overlaps(const struct table *table, struct bytes start, struct bytes end)
{
    return bytes_compare(table->info.largest, start) >= 0 &&
           (end.size == 0 || bytes_compare(table->info.smallest, end) < 0);
}

/* ---- Point reads ---- */

enum status table_index_pin(struct table *table, uint32_t partition, struct lsm_wait *wait,
                            struct cache_block **index)
{
    struct table_index_entry entry;
    table_index_get(table_top(table), partition, &entry);
    entry.place.type = TABLE_BLOCK_INDEX;
    enum status status = cache_get(&table->source, &entry.place, wait, index);
    if (status != STATUS_OK)
        return status;
    if (!table_partition_is_good(table, partition, cache_block_bytes(*index))) {
        cache_unpin(*index);
        *index = NULL;
        return STATUS_CORRUPT;
    }
    return STATUS_OK;
}

/* NOT_FOUND where the filter denies the key. The filter and the index are asked for together. */
static enum status filter_and_index(struct table *table, struct lsm_wait *wait, uint32_t partition,
                                    struct bytes key, struct cache_block **index)
{
    *index = NULL;
    struct table_index_entry entry;
    table_index_get(table_top(table), partition, &entry);
    struct cache_place place = table_filter_place(&entry);
    struct cache_block *filter;
    enum status status = cache_get(&table->source, &place, wait, &filter);
    if (status == STATUS_OK) {
        bool may_hold = table_filter_may_hold(cache_block_bytes(filter), hash64(key));
        cache_unpin(filter);
        if (!may_hold)
            return STATUS_NOT_FOUND;
    } else if (status != STATUS_AGAIN) {
        return status;
    }
    enum status index_status = table_index_pin(table, partition, wait, index);
    if (status == STATUS_AGAIN && index_status == STATUS_OK) {
        cache_unpin(*index);
        *index = NULL;
    }
    return status == STATUS_AGAIN ? STATUS_AGAIN : index_status;
}

/* Finds the entry within a data block that, by the index, has it if any does. */
static enum status get_in_block(struct table *table, struct lsm_wait *wait,
                                const struct cache_place *place, struct bytes key, uint64_t version,
                                struct cache_block **pin, struct lsm_entry *entry)
{
    struct cache_block *block;
    enum status status = cache_get(&table->source, place, wait, &block);
    if (status != STATUS_OK)
        return status;
    struct table_block_cursor cursor;
    table_block_cursor_init(&cursor, table->tree, cache_block_bytes(block));
    if (!table_block_cursor_seek(&cursor, key, version) || !bytes_equal(cursor.entry.key, key)) {
        cache_unpin(block);
        return STATUS_NOT_FOUND;
    }
    *entry = cursor.entry;
    entry->key = key;
    *pin = block;
    return STATUS_OK;
}

enum status table_get(struct table *table, struct lsm_wait *wait, struct bytes key,
                      uint64_t version, struct cache_block **pin, struct lsm_entry *entry)
{
    *pin = NULL;
    *entry = (struct lsm_entry){0};
    ASSERT(table->attached);
    if (version > lsm_entry_version_max)
        version = lsm_entry_version_max;
    const struct table_info *info = &table->info;
    if (info->version_min > version || bytes_compare(key, info->smallest) < 0 ||
        bytes_compare(key, info->largest) > 0)
        return STATUS_NOT_FOUND;
    /* Were the entry anywhere, it would be in the first partition, and there in the first block,
     * whose separator is at or after it: separators between two keys are no entry's place. */
    uint32_t partition = table_index_find(table_top(table), key, version);
    if (partition == table_index_count(table_top(table)))
        return STATUS_NOT_FOUND;
    struct table_index_entry found;
    table_index_get(table_top(table), partition, &found);
    if (found.version_min > version)
        return STATUS_NOT_FOUND;
    struct cache_block *index;
    enum status status = filter_and_index(table, wait, partition, key, &index);
    if (status != STATUS_OK)
        return status;
    struct bytes body = cache_block_bytes(index);
    uint32_t block = table_index_find(body, key, version);
    status = STATUS_NOT_FOUND;
    if (block < table_index_count(body)) {
        table_index_get(body, block, &found);
        found.place.type = TABLE_BLOCK_DATA;
        if (found.version_min <= version)
            status = get_in_block(table, wait, &found.place, key, version, pin, entry);
    }
    cache_unpin(index);
    return status;
}
