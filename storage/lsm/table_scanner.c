/* SPDX-License-Identifier: Apache-2.0 */
/* A partition's index stands after its data, so a scan reads the index first, and then the data
 * from front to end in large reads. Filters are not read. */
#include "storage/lsm/table_scanner.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "storage/io/blocking.h"
#include "storage/lsm/table_internal.h"

enum { scan_read_size = 256 * 1024 };

struct table_scanner {
    struct table *table;
    struct sealer *sealer;
    uint32_t partition_next;
    uint32_t block_next; /* of the current partition */
    uint8_t *index;      /* malloc: the current partition's; NULL: none yet */
    size_t index_size;
    uint64_t data_end; /* of the current partition's data blocks in the file */

    /* Sealed bytes of the file from `buffer_offset` on. */
    uint8_t *buffer; /* malloc */
    size_t buffer_capacity;
    size_t buffer_size;
    uint64_t buffer_offset;

    uint8_t *data; /* malloc: the block that `at` stands in; NULL: none */
    struct table_block_cursor at;
    uint64_t read_size;
};

enum status table_scanner_open(struct table *table, struct table_scanner **scanner)
{
    *scanner = NULL;
    struct table_scanner *made = malloc(sizeof *made);
    if (made == NULL)
        return STATUS_NO_MEMORY;
    memset(made, 0, offsetof(struct table_scanner, at));
    made->read_size = 0;
    made->table = table;
    enum status status = sealer_clone(table->sealer, &made->sealer);
    if (status != STATUS_OK) {
        free(made);
        return status;
    }
    *scanner = made;
    return STATUS_OK;
}

void table_scanner_close(struct table_scanner *scanner)
{
    if (scanner == NULL)
        return;
    sealer_free(scanner->sealer);
    free(scanner->index);
    free(scanner->buffer);
    free(scanner->data);
    free(scanner);
}

uint64_t table_scanner_read_size(const struct table_scanner *scanner)
{
    return scanner->read_size;
}

/* Fills the buffer from the file: exactly `size` bytes. */
static enum status fill(struct table_scanner *scanner, struct io *io, uint64_t offset, size_t size)
{
    scanner->buffer_size = 0;
    if (size > scanner->buffer_capacity) {
        uint8_t *grown = realloc(scanner->buffer, size);
        if (grown == NULL)
            return STATUS_NO_MEMORY;
        scanner->buffer = grown;
        scanner->buffer_capacity = size;
    }
    size_t read_size;
    enum status status =
        io_read_wait(io, scanner->table->source.file, scanner->buffer, size, offset, &read_size);
    if (status != STATUS_OK)
        return STATUS_IO_ERROR;
    if (read_size != size)
        return STATUS_CORRUPT;
    scanner->buffer_size = size;
    scanner->buffer_offset = offset;
    scanner->read_size += size;
    return STATUS_OK;
}

static enum status load_index(struct table_scanner *scanner, struct io *io)
{
    struct table *table = scanner->table;
    struct table_index_entry entry;
    table_index_get(table_top(table), scanner->partition_next, &entry);
    entry.place.type = TABLE_BLOCK_INDEX;
    enum status status = fill(scanner, io, entry.place.offset, entry.place.size);
    if (status != STATUS_OK)
        return status;
    scanner->buffer_size = 0; /* opened in place */
    uint8_t *index;
    size_t size;
    status = table_block_open(scanner->sealer, &table->limits, &entry.place, scanner->buffer,
                              &index, &size);
    if (status != STATUS_OK)
        return status;
    if (!table_partition_is_good(table, scanner->partition_next, bytes_of(index, size))) {
        free(index);
        return STATUS_CORRUPT;
    }
    free(scanner->index);
    scanner->index = index;
    scanner->index_size = size;
    scanner->data_end = entry.place.offset - entry.filter_size;
    scanner->block_next = 0;
    scanner->partition_next++;
    return STATUS_OK;
}

static enum status load_data(struct table_scanner *scanner, struct io *io)
{
    struct table *table = scanner->table;
    struct table_index_entry entry;
    table_index_get(bytes_of(scanner->index, scanner->index_size), scanner->block_next, &entry);
    struct cache_place *place = &entry.place;
    place->type = TABLE_BLOCK_DATA;
    if (place->offset < scanner->buffer_offset ||
        place->offset + place->size > scanner->buffer_offset + scanner->buffer_size) {
        uint64_t size = scanner->data_end - place->offset;
        if (size > scan_read_size)
            size = place->size > scan_read_size ? place->size : scan_read_size;
        enum status status = fill(scanner, io, place->offset, (size_t)size);
        if (status != STATUS_OK)
            return status;
    }
    uint8_t *data;
    size_t size;
    enum status status =
        table_block_open(scanner->sealer, &table->limits, place,
                         scanner->buffer + (place->offset - scanner->buffer_offset), &data, &size);
    if (status != STATUS_OK)
        return status;
    free(scanner->data);
    scanner->data = data;
    table_block_cursor_init(&scanner->at, table->tree, bytes_of(data, size));
    scanner->block_next++;
    return STATUS_OK;
}

enum status table_scanner_next(struct table_scanner *scanner, struct io *io,
                               struct lsm_entry *entry)
{
    *entry = (struct lsm_entry){0};
    if (scanner->data != NULL && table_block_cursor_next(&scanner->at)) {
        *entry = scanner->at.entry;
        return STATUS_OK;
    }
    uint32_t blocks_count = scanner->index == NULL
                                ? 0
                                : table_index_count(bytes_of(scanner->index, scanner->index_size));
    if (scanner->block_next == blocks_count) {
        if (scanner->partition_next == table_index_count(table_top(scanner->table)))
            return STATUS_END;
        enum status status = load_index(scanner, io);
        if (status != STATUS_OK)
            return status;
    }
    enum status status = load_data(scanner, io);
    if (status != STATUS_OK)
        return status;
    table_block_cursor_first(&scanner->at);
    *entry = scanner->at.entry;
    return STATUS_OK;
}
