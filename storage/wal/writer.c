/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/wal/writer.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/hash.h"
#include "proto/base/planted.h"
#include "storage/io/blocking.h"

static void writer_done(struct io_op *op);
static void writer_closed(struct io_op *op);
static void writer_idle(struct io_timer *timer);
static void writer_continue(struct wal_writer *writer);

enum status wal_writer_init(struct wal_writer *writer)
{
    writer->empty.memory = aligned_alloc(wal_block_size, wal_block_size);
    writer->block = aligned_alloc(wal_block_size, wal_block_size);
    histogram_init(&writer->flushes_ns);
    writer->op = (struct io_op){.done = writer_done, .context = writer};
    writer->close_op = (struct io_op){.done = writer_closed, .context = writer};
    writer->idle = (struct io_timer){.fired = writer_idle, .context = writer};
    return writer->empty.memory == NULL || writer->block == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

static void writer_fail(struct wal_writer *writer, enum status status, int error_number,
                        const char *path)
{
    writer->step = WAL_WRITER_IDLE;
    wal_writer_stop(writer);
    writer->failed(writer->context, status, error_number, path);
}

uint64_t wal_writer_room(const struct wal_writer *writer)
{
    return writer->file == NULL ? 0 : writer->segment_size - writer->position.end;
}

/* ---- A new segment ---- */

/* A life's name: unlike that of any other life, and nothing that a client could know. */
static void life_make(const struct wal_writer *writer, const struct wal_segment_header *header,
                      uint8_t life[wal_life_size])
{
    uint8_t from[seal_envelope_size + wal_life_size + 8];
    memcpy(from, header->envelope, seal_envelope_size);
    memcpy(from + seal_envelope_size, writer->boot, wal_life_size);
    store_u64(from + seal_envelope_size + wal_life_size, header->id);
    struct hash128 hash = hash128(bytes_of(from, sizeof from));
    store_u64(life, hash.low);
    store_u64(life + 8, hash.high);
}

static void segment_begin(struct wal_writer *writer)
{
    ASSERT(writer->step == WAL_WRITER_IDLE || writer->step == WAL_WRITER_WAIT_SPARE);
    if (writer->closing || !wal_pool_take(writer->pool, &writer->spare)) {
        writer->step = WAL_WRITER_WAIT_SPARE;
        wal_pool_kick(writer->pool);
        return;
    }
    if (writer->reset_wanted) {
        writer->position.mark = writer->reset_mark;
        writer->position.anew = true;
    }
    struct wal_segment_header header = {
        .id = writer->position.segment_id + 1,
        .size = writer->segment_size,
        .base = writer->position.mark,
        .previous_id = writer->position.segment_id,
        .previous_end = writer->position.end,
        .previous = writer->position.batch,
        .anew = writer->position.anew,
        .unknown_first = writer->position.unknown_first,
        .suspect = writer->position.suspect,
    };
    struct seal_file name = {.format = SEAL_FORMAT_WAL_SEGMENT, .number = header.id};
    uint8_t tag[seal_tag_size];
    enum status status = seal_create(writer->keyring, name, header.envelope, &writer->next_sealer);
    if (status != STATUS_OK) {
        wal_pool_put_back(writer->pool, &writer->spare);
        writer_fail(writer, status, 0, writer->spare.path.text);
        return;
    }
    memcpy(header.boot, writer->boot, wal_life_size);
    life_make(writer, &header, header.life);
    wal_segment_header_encode(&header, writer->block);
    sealer_seal(writer->next_sealer, 0, wal_bound(writer->block, wal_block_size),
                bytes_of(writer->block, 0), writer->block, tag);
    wal_segment_header_finish(writer->block, tag);
    writer->next = header;
    writer->step = WAL_WRITER_HEADER;
    io_write_flush(writer->io, &writer->op, writer->spare.file, writer->block, wal_block_size, 0);
}

/* The segment's header and name are durable: what follows goes there. */
static void segment_enter(struct wal_writer *writer)
{
    struct wal_segment segment = wal_segment_of(&writer->next);
    enum status status = wal_segments_add(writer->segments, &segment);
    if (status != STATUS_OK) {
        writer_fail(writer, status, 0, writer->path.text);
        return;
    }
    if (writer->file != NULL) {
        writer->closing = true;
        io_close(writer->io, &writer->close_op, writer->file);
    }
    sealer_free(writer->sealer);
    writer->sealer = writer->next_sealer;
    writer->next_sealer = NULL;
    writer->file = writer->spare.file;
    writer->spare.file = NULL;
    memcpy(writer->life, writer->next.life, wal_life_size);
    writer->sequence = 1;
    writer->position.segment_id = writer->next.id;
    writer->position.end = wal_block_size;
    /* The header's identifier of the newest batch is that batch's successor. */
    writer->successor_lack = false;
    writer->position.suspect = (struct wal_batch_id){0};
    writer->step = WAL_WRITER_IDLE;
    writer->written_size += wal_block_size;
    if (writer->next.anew) {
        wal_segments_obsolete(writer->segments);
        writer->position.anew = false;
    }
    if (writer->next.anew && writer->reset_wanted) {
        writer->reset_wanted = false;
        writer->reset(writer->context);
    }
    wal_pool_kick(writer->pool);
    writer_continue(writer);
}

static void segment_give_up(struct wal_writer *writer)
{
    sealer_free(writer->next_sealer);
    writer->next_sealer = NULL;
    wal_pool_put_back(writer->pool, &writer->spare);
    writer->spare.file = NULL;
}

static void writer_closed(struct io_op *op)
{
    struct wal_writer *writer = op->context;
    writer->closing = false;
    if (op->status != STATUS_OK && !writer->stopped) {
        /* Another operation may be under way: the step is that one's. */
        wal_writer_stop(writer);
        writer->failed(writer->context, op->status, op->error_number, writer->directory);
    } else {
        wal_writer_spare_ready(writer);
    }
}

/* ---- Batches ---- */

static void batch_write(struct wal_writer *writer, struct wal_batch *batch)
{
    size_t size = wal_batch_size(batch);
    uint8_t *body = batch->memory + wal_batch_header_size;
    size_t sealed_size = size - wal_batch_header_size;
    uint8_t tag[seal_tag_size];
    batch->closed = true;
    writer->header = (struct wal_batch_header){
        .offset = writer->position.end,
        .body_size = (uint32_t)batch->body_size,
        .records_count = batch->records_count,
        .id =
            {
                .segment = writer->position.segment_id,
                .sequence = writer->sequence++,
                .size = (uint32_t)size,
                .runs_count = batch->runs_count,
            },
        .previous = writer->position.batch,
    };
    memcpy(writer->header.life, writer->life, wal_life_size);
    memcpy(writer->header.id.runs, batch->runs, batch->runs_count * sizeof batch->runs[0]);
    wal_batch_header_encode(&writer->header, batch->memory);
    memset(body + batch->body_size, 0, sealed_size - batch->body_size);
    sealer_seal(writer->sealer, writer->header.id.sequence,
                wal_bound(batch->memory, wal_batch_header_size), bytes_of(body, sealed_size), body,
                tag);
    wal_batch_header_finish(batch->memory, tag);
    memcpy(writer->header.id.tag, tag, seal_tag_size);
    batch->offset = writer->header.offset;
    batch->id = writer->header.id;
    writer->step = WAL_WRITER_WRITE;
    writer->write_ns = io_boot_ns(writer->io);
    if (PLANTED(wal_unflushed))
        io_write(writer->io, &writer->op, writer->file, batch->memory, size, writer->position.end);
    else
        io_write_flush(writer->io, &writer->op, writer->file, batch->memory, size,
                       writer->position.end);
}

static void writer_start(struct wal_writer *writer)
{
    struct wal_batch *batch = wal_queue_first(writer->queue);
    if (writer->stopped || writer->step != WAL_WRITER_IDLE || batch == NULL)
        return;
    if (wal_batch_size(batch) > wal_writer_room(writer)) {
        segment_begin(writer);
        return;
    }
    /* What is queued in later batches follows by itself. */
    writer->wanted = writer->queue->count > 1;
    batch_write(writer, batch);
}

/* What is to follow, once nothing is under way. */
static void writer_continue(struct wal_writer *writer)
{
    if (writer->reset_wanted && !writer->stopped && writer->step == WAL_WRITER_IDLE)
        segment_begin(writer);
    else if (writer->wanted)
        writer_start(writer);
}

void wal_writer_settle(struct wal_writer *writer)
{
    if (writer->stopped || writer->step != WAL_WRITER_IDLE || !writer->successor_lack ||
        wal_queue_first(writer->queue) != NULL)
        return;
    if (wal_writer_room(writer) < wal_block_size) {
        segment_begin(writer);
        return;
    }
    writer->writing_empty = true;
    batch_write(writer, &writer->empty);
}

static void writer_idle(struct io_timer *timer)
{
    wal_writer_settle(timer->context);
}

static void batch_done(struct wal_writer *writer)
{
    writer->step = WAL_WRITER_IDLE;
    writer->position.end += writer->header.id.size;
    writer->position.batch = writer->header.id;
    writer->written_size += writer->header.id.size;
    if (writer->writing_empty) {
        writer->writing_empty = false;
        writer->successor_lack = false;
        writer->empty_count++;
    } else {
        struct wal_batch *batch = wal_queue_first(writer->queue);
        struct wal_segment *segment = wal_segments_newest(writer->segments);
        if (batch->index_max > segment->index_max)
            segment->index_max = batch->index_max;
        writer->position.mark = batch->last;
        writer->successor_lack = true;
        writer->flushes_count++;
        histogram_add(&writer->flushes_ns, io_boot_ns(writer->io) - writer->write_ns);
        struct wal_batch durable = *batch;
        wal_queue_remove_first(writer->queue);
        writer->durable(writer->context, &durable);
    }
    writer_continue(writer);
    if (writer->step == WAL_WRITER_IDLE && writer->successor_lack && !writer->stopped)
        io_timer_start(writer->io, &writer->idle,
                       io_boot_ns(writer->io) + (uint64_t)wal_writer_idle_ms * 1000 * 1000);
}

static void writer_done(struct io_op *op)
{
    struct wal_writer *writer = op->context;
    if (writer->step == WAL_WRITER_RENAME && op->status == STATUS_DISK_FULL) {
        /* The name did not change: this life is over before it began, and another is begun when
         * there is space. */
        segment_give_up(writer);
        writer->step = WAL_WRITER_WAIT_SPARE;
        wal_pool_space_wanted(writer->pool);
        return;
    }
    if (op->status != STATUS_OK &&
        !(PLANTED(wal_error_passed) && writer->step == WAL_WRITER_WRITE)) {
        bool in_spare = writer->step == WAL_WRITER_HEADER;
        writer_fail(writer, op->status, op->error_number,
                    in_spare ? writer->spare.path.text : writer->path.text);
        return;
    }
    switch (writer->step) {
    case WAL_WRITER_WRITE:
        batch_done(writer);
        return;
    case WAL_WRITER_HEADER:
        writer->path = wal_path(writer->directory, WAL_FILE_SEGMENT, writer->next.id);
        writer->step = WAL_WRITER_RENAME;
        io_rename(writer->io, &writer->op, writer->spare.path.text, writer->path.text);
        return;
    case WAL_WRITER_RENAME:
        writer->step = WAL_WRITER_FLUSH_NAMES;
        if (PLANTED(wal_name_unflushed)) {
            segment_enter(writer);
            return;
        }
        io_flush_directory(writer->io, &writer->op, writer->directory);
        return;
    case WAL_WRITER_FLUSH_NAMES:
        segment_enter(writer);
        return;
    case WAL_WRITER_IDLE:
    case WAL_WRITER_WAIT_SPARE:
        UNREACHABLE();
    }
}

/* ---- From outside ---- */

void wal_writer_begin_segment(struct wal_writer *writer)
{
    ASSERT(writer->file == NULL && writer->step == WAL_WRITER_IDLE);
    segment_begin(writer);
}

void wal_writer_reset(struct wal_writer *writer, struct wal_mark mark)
{
    ASSERT(!writer->reset_wanted);
    writer->reset_wanted = true;
    writer->reset_mark = mark;
    writer_continue(writer);
}

bool wal_writer_is_writing(const struct wal_writer *writer)
{
    return writer->step == WAL_WRITER_WRITE && !writer->writing_empty;
}

void wal_writer_flush(struct wal_writer *writer)
{
    if (wal_queue_first(writer->queue) == NULL)
        return;
    writer->wanted = true;
    writer_start(writer);
}

void wal_writer_spare_ready(struct wal_writer *writer)
{
    if (writer->step != WAL_WRITER_WAIT_SPARE || writer->stopped)
        return;
    writer->step = WAL_WRITER_IDLE;
    segment_begin(writer);
}

void wal_writer_stop(struct wal_writer *writer)
{
    writer->stopped = true;
    io_timer_stop(writer->io, &writer->idle);
}

bool wal_writer_is_busy(const struct wal_writer *writer)
{
    return writer->closing ||
           (writer->step != WAL_WRITER_IDLE && writer->step != WAL_WRITER_WAIT_SPARE);
}

enum status wal_writer_free(struct wal_writer *writer)
{
    enum status status = STATUS_OK;
    ASSERT(!wal_writer_is_busy(writer));
    if (writer->file != NULL)
        status = io_close_wait(writer->io, writer->file);
    if (writer->spare.file != NULL) {
        enum status closed = io_close_wait(writer->io, writer->spare.file);
        if (status == STATUS_OK)
            status = closed;
    }
    sealer_free(writer->sealer);
    sealer_free(writer->next_sealer);
    free(writer->empty.memory);
    free(writer->block);
    *writer = (struct wal_writer){0};
    return status;
}
