/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/wal/reads.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "storage/io/blocking.h"

enum { opened_words = wal_read_span_max / wal_block_size / 64 };

static void reads_fire(struct io_timer *timer);
static void reads_pump(struct wal_reads *reads);
static void file_opened(struct io_op *op);
static void file_closed(struct io_op *op);
static void read_done(struct io_op *op);

void wal_reads_init(struct wal_reads *reads)
{
    list_init(&reads->waiting);
    list_init(&reads->finished);
    reads->timer = (struct io_timer){.fired = reads_fire, .context = reads};
    for (unsigned i = 0; i < wal_files_max; i++)
        reads->files[i].reads = reads;
}

/* ---- Ends ---- */

static void read_unpin(struct wal_reads *reads, struct wal_read *read)
{
    struct wal_segment *segment = wal_segments_find(reads->segments, read->segment);
    ASSERT(segment != NULL && segment->pins_count > 0);
    if (read->file != NULL) {
        ASSERT(read->file->users_count > 0);
        read->file->users_count--;
        read->file = NULL;
    }
    if (--segment->pins_count == 0)
        reads->unpinned(reads->context);
}

/* The read is over, within a turn: it is the caller's again. */
static void read_tell(struct wal_reads *reads, struct wal_read *read)
{
    ASSERT(reads->under_way_count > 0);
    reads->under_way_count--;
    read->done(read);
}

/* Over as soon as the io turns. */
static void read_finish_later(struct wal_reads *reads, struct wal_read *read, enum status status)
{
    read->status = status;
    list_push_last(&reads->finished, &read->link);
    io_timer_start(reads->io, &reads->timer, io_boot_ns(reads->io));
}

static void reads_fire(struct io_timer *timer)
{
    struct wal_reads *reads = timer->context;
    struct list_link told;
    list_init(&told);
    /* What these start is told in a later turn. */
    while (!list_is_empty(&reads->finished))
        list_push_last(&told, list_pop_first(&reads->finished));
    while (!list_is_empty(&told))
        read_tell(reads, LIST_ENTRY(list_pop_first(&told), struct wal_read, link));
}

void wal_read_end(struct wal_read *read)
{
    if (read->buffer != NULL)
        bytes_wipe(read->buffer, read->size);
    free(read->buffer);
    free(read->entries);
    read->buffer = NULL;
    read->entries = NULL;
    read->entries_count = 0;
}

/* ---- What was read ---- */

static bool was_opened(uint64_t opened[opened_words], size_t at)
{
    size_t block = at / wal_block_size;
    uint64_t bit = (uint64_t)1 << (block % 64);
    ASSERT(block / 64 < opened_words);
    bool was = (opened[block / 64] & bit) != 0;
    opened[block / 64] |= bit;
    return was;
}

/* Verifies the batch that stands in `place`, and opens it where it is, unless that was done. */
static bool batch_open(struct wal_read *read, const struct wal_place *place,
                       uint64_t opened[opened_words], struct wal_records *records)
{
    uint64_t offset = (uint64_t)place->block * wal_block_size;
    uint8_t *bytes = read->buffer + (offset - read->offset);
    const struct wal_file *file = read->file;
    struct wal_batch_header header;
    if (wal_batch_header_decode(bytes, file->segment_id, file->life, &header) != STATUS_OK ||
        header.offset != offset || header.id.size != (uint64_t)place->blocks * wal_block_size)
        return false;
    struct bytes sealed =
        bytes_of(bytes + wal_batch_header_size, header.id.size - wal_batch_header_size);
    if (!was_opened(opened, (size_t)(offset - read->offset)) &&
        sealer_open(file->sealer, header.id.sequence, wal_bound(bytes, wal_batch_header_size),
                    sealed, header.id.tag, bytes + wal_batch_header_size) != STATUS_OK)
        return false;
    records->body = bytes_of(sealed.data, header.body_size);
    records->offset = 0;
    return true;
}

/* Takes the entries [first, last] out of a batch: the last record of each counts. */
static bool batch_take(const struct wal_reads *reads, struct wal_read *read,
                       struct wal_records records, uint64_t first, uint64_t last)
{
    struct wal_record record;
    while (wal_record_next(&records, &record) == STATUS_OK) {
        if (record.kind <= WAL_FILL && record.entry.index >= first && record.entry.index <= last)
            read->entries[record.entry.index - read->first] = record.entry;
    }
    for (uint64_t index = first; index <= last; index++) {
        const struct wal_entry *entry = &read->entries[index - read->first];
        uint64_t term = 0;
        if (entry->index != index || !wal_terms_find(reads->terms, index, &term) ||
            entry->term != term)
            return false;
    }
    return true;
}

static void entries_bound(struct wal_read *read)
{
    size_t size = 0;
    for (size_t i = 0; i < read->entries_count; i++) {
        size += read->entries[i].bytes.size;
        if (size > read->size_max && i > 0) {
            read->entries_count = i;
            return;
        }
    }
}

/* Takes what is still in the log, and was read, as far as it holds. */
static enum status entries_take(struct wal_reads *reads, struct wal_read *read)
{
    uint64_t opened[opened_words] = {0};
    uint64_t index = read->first;
    enum status status = STATUS_NOT_FOUND;
    read->entries = calloc((size_t)(read->until - read->first + 1), sizeof *read->entries);
    if (read->entries == NULL)
        return STATUS_NO_MEMORY;
    const struct wal_place *place = wal_places_find(reads->places, index);
    while (place != NULL && index <= read->until && place->blocks != 0 &&
           place->segment == read->segment) {
        uint64_t offset = (uint64_t)place->block * wal_block_size;
        uint64_t last = wal_place_last(place) < read->until ? wal_place_last(place) : read->until;
        struct wal_records records;
        if (offset < read->offset ||
            offset + (uint64_t)place->blocks * wal_block_size > read->offset + read->size)
            break;
        if (!batch_open(read, place, opened, &records) ||
            !batch_take(reads, read, records, index, last)) {
            status = STATUS_CORRUPT;
            log_warn("wal_read_corrupt", LOG_TEXT("file", read->file->path.text),
                     LOG_U64("offset", offset), LOG_U64("index", index));
            break;
        }
        index = last + 1;
        place = wal_places_next(reads->places, place);
    }
    read->entries_count = (size_t)(index - read->first);
    entries_bound(read);
    return read->entries_count > 0 ? STATUS_OK : status;
}

static void read_done(struct io_op *op)
{
    struct wal_read *read = op->context;
    struct wal_reads *reads = read->file->reads;
    read->status = op->status;
    if (op->status == STATUS_OK && op->size != read->size)
        read->status = STATUS_CORRUPT; /* the file is shorter than it was made */
    if (read->status == STATUS_OK)
        read->status = entries_take(reads, read);
    if (read->status != STATUS_OK)
        wal_read_end(read);
    reads->reads_count++;
    reads->read_size += op->size;
    read_unpin(reads, read);
    reads_pump(reads);
    read_tell(reads, read);
}

/* ---- Files ---- */

static void file_open(struct wal_reads *reads, struct wal_file *file,
                      const struct wal_segment *segment)
{
    file->segment = (uint32_t)segment->id;
    file->segment_id = segment->id;
    memcpy(file->life, segment->life, wal_life_size);
    file->path = wal_path(reads->directory, WAL_FILE_SEGMENT, segment->id);
    file->state = WAL_FILE_OPENING;
    file->op = (struct io_op){.done = file_opened, .context = file};
    io_open(reads->io, &file->op, file->path.text, IO_READ | IO_DIRECT);
}

static void file_close(struct wal_file *file)
{
    ASSERT(file->state == WAL_FILE_OPEN && file->users_count == 0);
    sealer_free(file->sealer);
    file->sealer = NULL;
    file->state = WAL_FILE_CLOSING;
    file->op = (struct io_op){.done = file_closed, .context = file};
    io_close(file->reads->io, &file->op, file->file);
    file->file = NULL;
}

static void file_closed(struct io_op *op)
{
    struct wal_file *file = op->context;
    /* Nothing was written through it: that closing fails loses nothing. */
    if (op->status != STATUS_OK)
        log_warn("wal_read_close", LOG_TEXT("file", file->path.text),
                 LOG_TEXT("status", status_name(op->status)));
    file->state = WAL_FILE_FREE;
    reads_pump(file->reads);
}

/* All that waits for `file` ends with `status`. */
static void file_fail(struct wal_file *file, enum status status)
{
    struct wal_reads *reads = file->reads;
    LIST_EACH(link, &reads->waiting)
    {
        struct wal_read *read = LIST_ENTRY(link, struct wal_read, link);
        if (read->file != file)
            continue;
        list_remove(&read->link);
        read_unpin(reads, read);
        read_finish_later(reads, read, status);
    }
}

static void file_opened(struct io_op *op)
{
    struct wal_file *file = op->context;
    struct wal_reads *reads = file->reads;
    struct wal_segment *segment = wal_segments_find(reads->segments, file->segment);
    enum status status = op->status;
    ASSERT(segment != NULL && segment->pins_count > 0);
    file->file = op->status == STATUS_OK ? op->file : NULL;
    file->state = op->status == STATUS_OK ? WAL_FILE_OPEN : WAL_FILE_FREE;
    if (status == STATUS_OK) {
        struct seal_file name = {.format = SEAL_FORMAT_WAL_SEGMENT, .number = segment->id};
        status = seal_open(reads->keyring, name, segment->envelope, &file->sealer);
    }
    if (status != STATUS_OK) {
        log_warn("wal_read_open", LOG_TEXT("file", file->path.text),
                 LOG_TEXT("status", status_name(status)));
        file_fail(file, status == STATUS_NO_MEMORY || status == STATUS_IO_ERROR ? status
                                                                                : STATUS_CORRUPT);
        if (file->state == WAL_FILE_OPEN)
            file_close(file);
    }
    reads_pump(reads);
}

/* The file of a segment, or one that can be made it. NULL: all are in use. */
static struct wal_file *file_for(struct wal_reads *reads, uint32_t segment)
{
    struct wal_file *oldest = NULL;
    struct wal_file *empty = NULL;
    for (unsigned i = 0; i < wal_files_max; i++) {
        struct wal_file *file = &reads->files[i];
        if ((file->state == WAL_FILE_OPEN || file->state == WAL_FILE_OPENING) &&
            file->segment == segment)
            return file;
        if (file->state == WAL_FILE_FREE)
            empty = file;
        if (file->state == WAL_FILE_OPEN && file->users_count == 0 &&
            (oldest == NULL || file->used < oldest->used))
            oldest = file;
    }
    if (empty != NULL)
        return empty;
    if (oldest != NULL)
        file_close(oldest); /* its slot is free when that is done */
    return NULL;
}

static void read_submit(struct wal_reads *reads, struct wal_read *read)
{
    list_remove(&read->link);
    read->buffer = aligned_alloc(wal_block_size, read->size);
    if (read->buffer == NULL) {
        read_unpin(reads, read);
        read_finish_later(reads, read, STATUS_NO_MEMORY);
        return;
    }
    read->op = (struct io_op){.done = read_done, .context = read};
    io_read(reads->io, &read->op, read->file->file, read->buffer, read->size, read->offset);
}

/* Starts what can be. */
static void reads_pump(struct wal_reads *reads)
{
    LIST_EACH(link, &reads->waiting)
    {
        struct wal_read *read = LIST_ENTRY(link, struct wal_read, link);
        if (read->file == NULL) {
            struct wal_file *file = file_for(reads, read->segment);
            if (file == NULL)
                return; /* in order: what came later does not take its place */
            if (file->state == WAL_FILE_FREE)
                file_open(reads, file, wal_segments_find(reads->segments, read->segment));
            file->users_count++;
            file->used = reads->reads_count + reads->under_way_count;
            read->file = file;
        }
        if (read->file->state == WAL_FILE_OPEN)
            read_submit(reads, read);
    }
}

/* ---- From outside ---- */

/* What one read takes: batches of one segment that follow each other, as far as the bounds go. */
static void read_plan(struct wal_reads *reads, struct wal_read *read, const struct wal_place *place)
{
    uint64_t span_max =
        wal_align_up(read->size_max < wal_read_span_max ? read->size_max : wal_read_span_max);
    uint64_t end = ((uint64_t)place->block + place->blocks) * wal_block_size;
    uint64_t last = wal_place_last(place);
    read->segment = place->segment;
    read->offset = (uint64_t)place->block * wal_block_size;
    while (last < read->last) {
        place = wal_places_next(reads->places, place);
        if (place == NULL || place->blocks == 0 || place->segment != read->segment)
            break;
        uint64_t begin = (uint64_t)place->block * wal_block_size;
        uint64_t place_end = begin + (uint64_t)place->blocks * wal_block_size;
        if (begin < read->offset || place_end > read->offset + span_max)
            break;
        if (place_end > end)
            end = place_end;
        last = wal_place_last(place);
    }
    read->until = read->last < last ? read->last : last;
    read->size = (size_t)(end - read->offset);
}

void wal_reads_start(struct wal_reads *reads, struct wal_read *read)
{
    ASSERT(read->first > 0 && read->first <= read->last && read->done != NULL);
    read->status = STATUS_OK;
    read->entries = NULL;
    read->entries_count = 0;
    read->file = NULL;
    read->buffer = NULL;
    list_init(&read->link);
    reads->under_way_count++;
    const struct wal_place *place = wal_places_find(reads->places, read->first);
    if (reads->stopping || place == NULL || place->blocks == 0) {
        read_finish_later(reads, read,
                          reads->stopping ? STATUS_SHUTTING_DOWN
                          : place == NULL ? STATUS_NOT_FOUND
                                          : STATUS_CORRUPT);
        return;
    }
    read_plan(reads, read, place);
    struct wal_segment *segment = wal_segments_find(reads->segments, read->segment);
    ASSERT(segment != NULL && !segment->leaving);
    segment->pins_count++;
    list_push_last(&reads->waiting, &read->link);
    reads_pump(reads);
}

void wal_reads_forget_segment(struct wal_reads *reads, uint64_t id)
{
    for (unsigned i = 0; i < wal_files_max; i++) {
        struct wal_file *file = &reads->files[i];
        if (file->state == WAL_FILE_OPEN && file->segment_id == id && file->users_count == 0)
            file_close(file);
    }
}

void wal_reads_stop(struct wal_reads *reads)
{
    reads->stopping = true;
}

bool wal_reads_are_busy(const struct wal_reads *reads)
{
    bool busy = reads->under_way_count > 0;
    for (unsigned i = 0; i < wal_files_max; i++)
        busy = busy || reads->files[i].state == WAL_FILE_OPENING ||
               reads->files[i].state == WAL_FILE_CLOSING;
    return busy;
}

enum status wal_reads_free(struct wal_reads *reads)
{
    enum status status = STATUS_OK;
    ASSERT(!wal_reads_are_busy(reads));
    for (unsigned i = 0; i < wal_files_max; i++) {
        struct wal_file *file = &reads->files[i];
        if (file->state != WAL_FILE_OPEN)
            continue;
        sealer_free(file->sealer);
        enum status closed = io_close_wait(reads->io, file->file);
        if (status == STATUS_OK)
            status = closed;
        file->state = WAL_FILE_FREE;
    }
    return status;
}
