/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/wal/reader.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "storage/io/blocking.h"

static enum status corrupt(const struct wal_reader *reader, const char *what, struct error *error)
{
    return error_set(error, STATUS_CORRUPT, "%s: %s", reader->path.text, what);
}

/* ---- Bytes ---- */

static enum status memory_reserve(uint8_t **memory, size_t *capacity, size_t size,
                                  const struct wal_reader *reader, struct error *error)
{
    if (size <= *capacity)
        return STATUS_OK;
    size = (size_t)wal_align_up(size);
    uint8_t *larger = aligned_alloc(wal_block_size, size);
    if (larger == NULL)
        return error_set(error, STATUS_NO_MEMORY, "%s: no memory for %zu bytes of it",
                         reader->path.text, size);
    free(*memory);
    *memory = larger;
    *capacity = size;
    return STATUS_OK;
}

void wal_reader_forget(struct wal_reader *reader)
{
    reader->window_size = 0;
}

/* Gives `size` bytes at `offset`, which is aligned and within the segment: valid until the next
 * call. */
static enum status reader_view(struct wal_reader *reader, uint64_t offset, size_t size,
                               const uint8_t **bytes, struct error *error)
{
    *bytes = NULL;
    ASSERT(offset % wal_block_size == 0);
    if (offset < reader->window_offset ||
        offset + size > reader->window_offset + reader->window_size) {
        uint64_t left = reader->header.size - offset;
        size_t wanted = size > reader->read_size ? (size_t)wal_align_up(size) : reader->read_size;
        if (wanted > left)
            wanted = (size_t)left;
        ASSERT(size <= wanted);
        reader->window_size = 0;
        enum status status =
            memory_reserve(&reader->window, &reader->window_capacity, wanted, reader, error);
        if (status != STATUS_OK)
            return status;
        size_t read_size = 0;
        status = io_read_wait(reader->io, reader->file, reader->window, wanted, offset, &read_size);
        if (status == STATUS_OK && read_size != wanted)
            return corrupt(reader, "the file is shorter than its header says", error);
        if (status != STATUS_OK)
            return error_set(error, status, "%s, offset %llu: reading: %s", reader->path.text,
                             (unsigned long long)offset, status_text(status));
        reader->window_offset = offset;
        reader->window_size = wanted;
    }
    *bytes = reader->window + (offset - reader->window_offset);
    return STATUS_OK;
}

/* ---- The header ---- */

static enum status reader_check_header(struct wal_reader *reader, struct keyring *keyring,
                                       uint64_t id, const uint8_t *block, uint64_t file_size,
                                       struct error *error)
{
    enum status status = wal_segment_header_decode(block, &reader->header);
    if (status == STATUS_NEWER_FORMAT)
        return error_set(error, status,
                         "%s: a newer version of this program wrote it: start that one",
                         reader->path.text);
    if (status != STATUS_OK)
        return corrupt(reader, "offset 0: the segment's header does not hold", error);
    if (reader->header.id != id)
        return corrupt(reader, "offset 0: the header is that of another segment", error);
    if (reader->header.size != file_size)
        return corrupt(reader, "the file's size is not what its header says", error);
    struct seal_file name = {.format = SEAL_FORMAT_WAL_SEGMENT, .number = id};
    status = seal_open(keyring, name, reader->header.envelope, &reader->sealer);
    if (status == STATUS_CORRUPT)
        return corrupt(reader, "offset 0: the segment's key does not open", error);
    if (status != STATUS_OK)
        return error_set(error, status, "%s: the segment's key: %s", reader->path.text,
                         status_text(status));
    uint8_t nothing = 0;
    status = sealer_open(reader->sealer, 0, wal_bound(block, wal_block_size), bytes_of(&nothing, 0),
                         reader->header.tag, &nothing);
    if (status != STATUS_OK)
        return corrupt(reader, "offset 0: the segment's header was altered", error);
    return STATUS_OK;
}

static enum status reader_begin(struct io *io, struct keyring *keyring, const char *directory,
                                uint64_t id, size_t read_size, struct wal_reader *reader,
                                struct error *error)
{
    *reader = (struct wal_reader){
        .io = io,
        .path = wal_path(directory, WAL_FILE_SEGMENT, id),
        .read_size = read_size,
    };
    uint64_t file_size = 0;
    const uint8_t *block = NULL;
    enum status status = io_open_wait(io, reader->path.text, IO_READ | IO_DIRECT, &reader->file);
    if (status == STATUS_OK)
        status = io_file_size_wait(io, reader->file, &file_size);
    if (status != STATUS_OK) {
        status =
            error_set(error, status, "%s: opening: %s", reader->path.text, status_text(status));
        goto err;
    }
    if (file_size < 2 * wal_block_size || file_size % wal_block_size != 0) {
        status = corrupt(reader, "the file is cut short", error);
        goto err;
    }
    reader->header.size = file_size; /* bounds the read */
    status = reader_view(reader, 0, wal_block_size, &block, error);
    if (status == STATUS_OK)
        status = reader_check_header(reader, keyring, id, block, file_size, error);
    if (status == STATUS_OK)
        return STATUS_OK;
err:;
    enum status closed = wal_reader_close(reader);
    return closed == STATUS_OK || status != STATUS_OK ? status : closed;
}

enum status wal_reader_open(struct io *io, struct keyring *keyring, const char *directory,
                            uint64_t id, struct wal_reader *reader, struct error *error)
{
    return reader_begin(io, keyring, directory, id, wal_reader_window_size, reader, error);
}

enum status wal_reader_open_to(struct io *io, struct keyring *keyring, const char *directory,
                               uint64_t id, uint64_t end, struct wal_reader *reader,
                               struct error *error)
{
    /* What the end says is not verified yet. */
    size_t read_size = end < wal_reader_window_size ? (size_t)wal_align_up(end) : 0;
    if (read_size == 0)
        read_size = wal_reader_window_size;
    return reader_begin(io, keyring, directory, id, read_size, reader, error);
}

enum status wal_reader_header(struct io *io, struct keyring *keyring, const char *directory,
                              uint64_t id, struct wal_segment_header *header, struct error *error)
{
    struct wal_reader reader;
    *header = (struct wal_segment_header){0};
    enum status status = reader_begin(io, keyring, directory, id, wal_block_size, &reader, error);
    if (status != STATUS_OK)
        return status;
    *header = reader.header;
    status = wal_reader_close(&reader);
    if (status != STATUS_OK)
        return error_set(error, status, "%s: closing: %s", reader.path.text, status_text(status));
    return STATUS_OK;
}

enum status wal_reader_close(struct wal_reader *reader)
{
    enum status status = STATUS_OK;
    if (reader->file != NULL)
        status = io_close_wait(reader->io, reader->file);
    sealer_free(reader->sealer);
    free(reader->window);
    if (reader->body != NULL)
        bytes_wipe(reader->body, reader->body_capacity);
    free(reader->body);
    reader->file = NULL;
    reader->sealer = NULL;
    reader->window = NULL;
    reader->body = NULL;
    return status;
}

/* ---- Batches ---- */

enum status wal_reader_batch(struct wal_reader *reader, uint64_t offset, uint64_t limit,
                             uint64_t sequence, const struct wal_batch_id *previous,
                             enum wal_batch_state *state, struct wal_batch_header *header,
                             struct wal_records *records, struct error *error)
{
    const uint8_t *bytes = NULL;
    *state = WAL_BATCH_BROKEN;
    *header = (struct wal_batch_header){0};
    *records = (struct wal_records){0};
    ASSERT(limit <= reader->header.size && offset + wal_block_size <= limit);
    enum status status = reader_view(reader, offset, wal_block_size, &bytes, error);
    if (status != STATUS_OK)
        return status;
    status = wal_batch_header_decode(bytes, reader->header.id, reader->header.life, header);
    if (status == STATUS_NOT_FOUND)
        *state = WAL_BATCH_BLANK;
    if (status != STATUS_OK) {
        *header = (struct wal_batch_header){0};
        return STATUS_OK;
    }
    if (header->offset != offset || (sequence != 0 && header->id.sequence != sequence) ||
        header->id.size > limit - offset ||
        (previous != NULL && !wal_batch_id_equal(previous, &header->previous)))
        return STATUS_OK;
    size_t sealed_size = header->id.size - wal_batch_header_size;
    status = memory_reserve(&reader->body, &reader->body_capacity, sealed_size, reader, error);
    if (status == STATUS_OK)
        status = reader_view(reader, offset, header->id.size, &bytes, error);
    if (status != STATUS_OK)
        return status;
    status = sealer_open(
        reader->sealer, header->id.sequence, wal_bound(bytes, wal_batch_header_size),
        bytes_of(bytes + wal_batch_header_size, sealed_size), header->id.tag, reader->body);
    if (status != STATUS_OK)
        return STATUS_OK;
    *state = WAL_BATCH_VALID;
    records->body = bytes_of(reader->body, header->body_size);
    return STATUS_OK;
}

enum status wal_reader_find_successor(struct wal_reader *reader, uint64_t from, uint64_t limit,
                                      uint64_t sequence, bool *found, uint64_t *at,
                                      struct wal_batch_header *header, struct error *error)
{
    *found = false;
    *at = 0;
    *header = (struct wal_batch_header){0};
    for (uint64_t offset = from; offset + wal_block_size <= limit; offset += wal_block_size) {
        const uint8_t *bytes = NULL;
        enum status status = reader_view(reader, offset, wal_block_size, &bytes, error);
        if (status != STATUS_OK)
            return status;
        status = wal_batch_header_decode(bytes, reader->header.id, reader->header.life, header);
        if (status == STATUS_OK && header->id.sequence >= sequence) {
            *found = true;
            *at = offset;
            return STATUS_OK;
        }
    }
    *header = (struct wal_batch_header){0};
    return STATUS_OK;
}
