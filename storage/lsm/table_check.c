/* SPDX-License-Identifier: Apache-2.0 */
/* The file is read anew through a handle of its own, past the page cache where the file system
 * permits that, so that what is verified is what the disk holds. */
#include "storage/lsm/table_check.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/hash.h"
#include "proto/base/log.h"
#include "storage/io/blocking.h"
#include "storage/lsm/table_filter.h"
#include "storage/lsm/table_internal.h"

enum {
    check_read_size = 256 * 1024,
    check_step_size = 1024 * 1024,
};

struct table_check {
    struct table *table;
    struct sealer *sealer;
    struct io_file *file; /* open within a step only */
    bool ends_checked;
    bool finished;

    /* File bytes from `window_offset` on, in aligned memory. */
    uint8_t *window;
    size_t window_capacity;
    size_t window_size;
    uint64_t window_offset;

    uint32_t partition_next;
    uint32_t block_next;
    uint8_t *index; /* malloc; NULL: the next partition is to be begun */
    size_t index_size;
    uint8_t *filter; /* malloc; NULL where it is bad */
    size_t filter_size;
    uint64_t partition_version_min;
    uint64_t partition_version_max;

    bool incomplete; /* a block was bad: totals say nothing */
    uint64_t entries_count;
    uint64_t tombstones_count;
    uint64_t version_min;
    uint64_t version_max;
    uint64_t verified_size;

    /* The entry before, over all blocks. */
    uint64_t last_version;
    uint32_t last_key_size;
    uint8_t last_key[lsm_key_size_max];
    struct table_block_cursor at;

    table_check_bad_fn *bad; /* of the step under way */
    void *bad_context;
};

enum status table_check_open(struct table *table, struct table_check **check)
{
    *check = NULL;
    struct table_check *made = calloc(1, sizeof *made);
    if (made == NULL)
        return STATUS_NO_MEMORY;
    made->table = table;
    made->version_min = UINT64_MAX;
    enum status status = sealer_clone(table->sealer, &made->sealer);
    if (status != STATUS_OK) {
        free(made);
        return status;
    }
    *check = made;
    return STATUS_OK;
}

uint64_t table_check_size(const struct table_check *check)
{
    return check->verified_size;
}

static void find(struct table_check *check, uint64_t offset, const char *text)
{
    check->bad(check->bad_context, offset, text);
}

/* ---- Reading ---- */

static enum status file_open(struct table_check *check, struct io *io)
{
    const char *path = check->table->path;
    enum status status = io_open_wait(io, path, IO_READ | IO_DIRECT, &check->file);
    /* Not every file system has direct reads. */
    if (status != STATUS_OK)
        status = io_open_wait(io, path, IO_READ, &check->file);
    return status;
}

/* Points `*bytes` at [offset, offset + size) of the file, reading on up to `ahead_end` where it has
 * to read. CORRUPT where the file ends before. */
static enum status view(struct table_check *check, struct io *io, uint64_t offset, size_t size,
                        uint64_t ahead_end, uint8_t **bytes)
{
    if (offset < check->window_offset ||
        offset + size > check->window_offset + check->window_size) {
        uint64_t end = offset + size;
        if (end < ahead_end)
            end = ahead_end - offset < check_read_size ? ahead_end : offset + check_read_size;
        if (end < offset + size)
            end = offset + size;
        uint64_t start = offset / io_alignment * io_alignment;
        size_t wanted = (size_t)((end - start + io_alignment - 1) / io_alignment * io_alignment);
        check->window_size = 0;
        if (wanted > check->window_capacity) {
            free(check->window);
            check->window_capacity = 0;
            check->window = aligned_alloc(io_alignment, wanted);
            if (check->window == NULL)
                return STATUS_NO_MEMORY;
            check->window_capacity = wanted;
        }
        size_t read_size;
        enum status status =
            io_read_wait(io, check->file, check->window, wanted, start, &read_size);
        if (status != STATUS_OK)
            return STATUS_IO_ERROR;
        check->window_offset = start;
        check->window_size = read_size;
        if (start + read_size < offset + size)
            return STATUS_CORRUPT;
    }
    *bytes = check->window + (offset - check->window_offset);
    return STATUS_OK;
}

/* Reads and opens one block; its bytes in the window are then used up. */
static enum status block_open(struct table_check *check, struct io *io,
                              const struct cache_place *place, uint64_t ahead_end, uint8_t **body,
                              size_t *size)
{
    uint8_t *sealed;
    enum status status = view(check, io, place->offset, place->size, ahead_end, &sealed);
    if (status == STATUS_OK)
        status = table_block_open(check->sealer, &check->table->limits, place, sealed, body, size);
    if (status != STATUS_NO_MEMORY)
        check->verified_size += place->size;
    return status;
}

static const char *block_text(enum status status)
{
    return status == STATUS_IO_ERROR ? "a block cannot be read" : "a block does not hold";
}

/* ---- The ends ---- */

static enum status check_ends(struct table_check *check, struct io *io)
{
    struct table *table = check->table;
    uint64_t file_size = table->info.file_size;
    uint64_t size;
    if (io_file_size_wait(io, check->file, &size) != STATUS_OK || size != file_size)
        find(check, 0, "the file has another size than the manifest says");
    uint8_t *bytes;
    enum status status = view(check, io, 0, table_header_size, 0, &bytes);
    if (status == STATUS_NO_MEMORY)
        return status;
    if (status != STATUS_OK || memcmp(bytes, table->header, table_header_size) != 0)
        find(check, 0, "the header does not hold");
    uint64_t offset = file_size - table_footer_sealed_size;
    status = view(check, io, offset, table_footer_sealed_size, 0, &bytes);
    if (status == STATUS_NO_MEMORY)
        return status;
    uint8_t plain[table_footer_size];
    struct table_footer footer;
    if (status == STATUS_OK)
        status = sealer_open(check->sealer, table_footer_number,
                             bytes_of(table->header, table_header_size),
                             bytes_of(bytes, table_footer_size), bytes + table_footer_size, plain);
    if (status == STATUS_OK)
        status = table_footer_decode(plain, &footer);
    if (status != STATUS_OK) {
        find(check, offset, "the footer does not hold");
        return STATUS_OK;
    }
    check->verified_size += table_header_size + table_footer_sealed_size;
    uint8_t *top;
    size_t top_size;
    status = block_open(check, io, &footer.top, 0, &top, &top_size);
    if (status == STATUS_NO_MEMORY)
        return status;
    if (status != STATUS_OK || !bytes_equal(bytes_of(top, top_size), table_top(table)))
        find(check, footer.top.offset, "the top-level index does not hold");
    if (status == STATUS_OK)
        free(top);
    return STATUS_OK;
}

static void check_totals(struct table_check *check)
{
    const struct table_info *info = &check->table->info;
    if (check->incomplete)
        return;
    if (check->entries_count != info->entries_count ||
        check->tombstones_count != info->tombstones_count ||
        check->version_min != info->version_min || check->version_max != info->version_max)
        find(check, 0, "the entries are not those that the manifest counts");
    if (!bytes_equal(bytes_of(check->last_key, check->last_key_size), info->largest))
        find(check, 0, "the last key is not the one that the manifest names");
}

/* ---- Partitions and blocks ---- */

/* Reads the next partition's filter and index. */
static enum status begin_partition(struct table_check *check, struct io *io)
{
    struct table *table = check->table;
    struct table_index_entry entry;
    table_index_get(table_top(table), check->partition_next, &entry);
    entry.place.type = TABLE_BLOCK_INDEX;
    uint8_t *index;
    enum status status = block_open(check, io, &entry.place, 0, &index, &check->index_size);
    if (status == STATUS_NO_MEMORY)
        return status;
    bool good = status == STATUS_OK;
    if (good && !table_partition_is_good(table, check->partition_next,
                                         bytes_of(index, check->index_size))) {
        free(index);
        good = false;
    }
    if (!good) {
        find(check, entry.place.offset, block_text(status));
        check->incomplete = true;
        check->partition_next++;
        return STATUS_OK;
    }
    struct cache_place place = table_filter_place(&entry);
    status = block_open(check, io, &place, 0, &check->filter, &check->filter_size);
    if (status == STATUS_NO_MEMORY) {
        check->verified_size -= entry.place.size;
        free(index);
        return status;
    }
    if (status != STATUS_OK)
        find(check, place.offset, block_text(status));
    check->index = index;
    check->block_next = 0;
    check->partition_version_min = UINT64_MAX;
    check->partition_version_max = 0;
    check->partition_next++;
    return STATUS_OK;
}

static void end_partition(struct table_check *check)
{
    struct table_index_entry entry;
    table_index_get(table_top(check->table), check->partition_next - 1, &entry);
    if (!check->incomplete && (check->partition_version_min != entry.version_min ||
                               check->partition_version_max != entry.version_max))
        find(check, entry.place.offset, "the top-level index has other versions for a partition");
    free(check->index);
    free(check->filter);
    check->index = NULL;
    check->filter = NULL;
}

/* What one entry must agree with: the one before, the filter, the manifest. */
static const char *check_entry(struct table_check *check, const struct lsm_entry *entry)
{
    const struct table_info *info = &check->table->info;
    bool is_first = check->entries_count == 0 && !check->incomplete;
    const char *text = NULL;
    if (check->filter != NULL &&
        !table_filter_may_hold(bytes_of(check->filter, check->filter_size), hash64(entry->key)))
        text = "the filter denies a key that is there";
    if (is_first && !bytes_equal(entry->key, info->smallest))
        text = "the first key is not the one that the manifest names";
    if (check->entries_count != 0 &&
        lsm_entry_order(bytes_of(check->last_key, check->last_key_size), check->last_version,
                        entry->key, entry->version) >= 0)
        text = "entries of two blocks are out of order";
    bytes_copy(check->last_key, entry->key);
    check->last_key_size = (uint32_t)entry->key.size;
    check->last_version = entry->version;
    check->entries_count++;
    check->tombstones_count += entry->deletion ? 1 : 0;
    return text;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* A data block's entries against what its index says of them. */
static const char *check_data(struct table_check *check, const struct table_index_entry *index,
                              struct bytes body)
{
    const char *text = NULL;
    uint64_t version_min = UINT64_MAX;
    uint64_t version_max = 0;
    table_block_cursor_init(&check->at, check->table->tree, body);
    bool found = table_block_cursor_first(&check->at);
    while (found) {
        const struct lsm_entry *entry = &check->at.entry;
        const char *finding = check_entry(check, entry);
        if (text == NULL)
            text = finding;
        version_min = least(version_min, entry->version);
        version_max = most(version_max, entry->version);
        found = table_block_cursor_next(&check->at);
    }
    if (version_min != index->version_min || version_max != index->version_max)
        text = "the index has other versions for a block";
    if (check->at.entries_count != index->entries_count)
        text = "the index has another number of entries for a block";
    if (lsm_entry_order(bytes_of(check->last_key, check->last_key_size), check->last_version,
                        index->separator, index->separator_version) > 0)
        text = "a block's entries pass its separator";
    check->partition_version_min = least(check->partition_version_min, version_min);
    check->partition_version_max = most(check->partition_version_max, version_max);
    check->version_min = least(check->version_min, version_min);
    check->version_max = most(check->version_max, version_max);
    return text;
}

/* Whether the block's first entry lies past the separator of the block before it. */
static bool begins_after(const struct table_check *check, struct bytes index, struct bytes body)
{
    struct table_index_entry before;
    if (check->block_next == 0) {
        if (check->partition_next == 1)
            return true;
        table_index_get(table_top(check->table), check->partition_next - 2, &before);
    } else {
        table_index_get(index, check->block_next - 1, &before);
    }
    struct table_block_cursor first;
    table_block_cursor_init(&first, check->table->tree, body);
    table_block_cursor_first(&first);
    return lsm_entry_order(before.separator, before.separator_version, first.entry.key,
                           first.entry.version) < 0;
}

static enum status check_block(struct table_check *check, struct io *io)
{
    struct bytes index = bytes_of(check->index, check->index_size);
    struct table_index_entry entry;
    struct table_index_entry last;
    table_index_get(index, check->block_next, &entry);
    table_index_get(index, table_index_count(index) - 1, &last);
    entry.place.type = TABLE_BLOCK_DATA;
    uint8_t *data;
    size_t size;
    enum status status =
        block_open(check, io, &entry.place, last.place.offset + last.place.size, &data, &size);
    if (status == STATUS_NO_MEMORY)
        return status;
    if (status != STATUS_OK) {
        find(check, entry.place.offset, block_text(status));
        check->incomplete = true;
    } else {
        const char *text = check_data(check, &entry, bytes_of(data, size));
        if (!begins_after(check, index, bytes_of(data, size)))
            text = "a block begins before the separator of the one before it";
        if (text != NULL)
            find(check, entry.place.offset, text);
        free(data);
    }
    check->block_next++;
    if (check->block_next == table_index_count(index))
        end_partition(check);
    return STATUS_OK;
}

/* ---- Steps ---- */

static enum status advance(struct table_check *check, struct io *io)
{
    if (!check->ends_checked) {
        enum status status = check_ends(check, io);
        check->ends_checked = status == STATUS_OK;
        return status;
    }
    if (check->index != NULL)
        return check_block(check, io);
    if (check->partition_next < table_index_count(table_top(check->table)))
        return begin_partition(check, io);
    check_totals(check);
    check->finished = true;
    return STATUS_OK;
}

enum status table_check_step(struct table_check *check, struct io *io, table_check_bad_fn *bad,
                             void *context)
{
    if (check->finished)
        return STATUS_END;
    check->bad = bad;
    check->bad_context = context;
    if (file_open(check, io) != STATUS_OK) {
        find(check, 0, "the file cannot be opened");
        check->finished = true;
        return STATUS_END;
    }
    enum status status = STATUS_OK;
    uint64_t enough = check->verified_size + check_step_size;
    while (status == STATUS_OK && !check->finished && check->verified_size < enough)
        status = advance(check, io);
    /* Blocks are opened in place: what is done again is read again. */
    if (status != STATUS_OK)
        check->window_size = 0;
    struct io_file *file = check->file;
    check->file = NULL;
    if (io_close_wait(io, file) != STATUS_OK)
        log_warn("table_close_failed", LOG_TEXT("path", check->table->path));
    return status == STATUS_OK && check->finished ? STATUS_END : status;
}

void table_check_close(struct table_check *check)
{
    if (check == NULL)
        return;
    sealer_free(check->sealer);
    free(check->window);
    free(check->index);
    free(check->filter);
    free(check);
}
