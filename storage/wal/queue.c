/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/wal/queue.h"

#include <stdlib.h>

#include "proto/base/assert.h"

enum status wal_queue_init(struct wal_queue *queue, size_t ring_size, size_t batch_size_max)
{
    ASSERT(ring_size % wal_block_size == 0 && batch_size_max % wal_block_size == 0);
    *queue = (struct wal_queue){
        .ring = aligned_alloc(wal_block_size, ring_size),
        .ring_size = ring_size,
        .batch_size_max = batch_size_max < ring_size ? batch_size_max : ring_size,
    };
    return queue->ring == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

void wal_queue_free(struct wal_queue *queue)
{
    free(queue->ring);
    queue->ring = NULL;
}

size_t wal_queue_entry_size_max(const struct wal_queue *queue)
{
    return queue->batch_size_max - wal_batch_header_size - wal_record_header_size;
}

static struct wal_batch *batch_at(struct wal_queue *queue, unsigned position)
{
    return &queue->batches[(queue->first + position) % wal_queue_batches_max];
}

static struct wal_batch *batch_last(struct wal_queue *queue)
{
    return queue->count == 0 ? NULL : batch_at(queue, queue->count - 1);
}

/* ---- Room ---- */

/* Where a batch of at least `need` bytes can begin: its offset in the ring, or SIZE_MAX. */
static size_t place_find(struct wal_queue *queue, size_t need)
{
    struct wal_batch *last = batch_last(queue);
    if (last == NULL)
        return need <= queue->ring_size ? 0 : SIZE_MAX;
    size_t head = (size_t)(batch_at(queue, 0)->memory - queue->ring);
    size_t tail = (size_t)(last->memory - queue->ring) + wal_batch_size(last);
    if (tail <= head)
        return need <= head - tail ? tail : SIZE_MAX;
    /* The low end is taken as soon as a whole batch fits there: so that a queue which stays short
     * keeps to little memory. */
    if (head >= need && head >= wal_queue_batch_size)
        return 0;
    if (need <= queue->ring_size - tail)
        return tail;
    return head >= need ? 0 : SIZE_MAX;
}

/* How far the last batch may grow. */
static size_t room_end(struct wal_queue *queue, const struct wal_batch *last)
{
    const struct wal_batch *head = batch_at(queue, 0);
    return (size_t)((last->memory >= head->memory ? queue->ring + queue->ring_size : head->memory) -
                    last->memory);
}

static bool batch_takes(struct wal_queue *queue, const struct wal_batch *batch, size_t record_size,
                        const struct wal_run *run)
{
    size_t size = wal_batch_header_size + batch->body_size + record_size;
    if (batch->closed || (size > wal_queue_batch_size && batch->records_count > 0) ||
        wal_align_up(size) > queue->batch_size_max || wal_align_up(size) > room_end(queue, batch))
        return false;
    if (batch->runs_count < wal_batch_runs_max)
        return true;
    const struct wal_run *newest = &batch->runs[batch->runs_count - 1];
    return run->kind == newest->kind && wal_record_has_entry(run->kind) &&
           run->term == newest->term && run->index == newest->index + newest->count &&
           newest->count < UINT32_MAX;
}

/* The batch that takes the next record: the last one or a new one. NULL: no room. */
static struct wal_batch *batch_for(struct wal_queue *queue, size_t record_size,
                                   const struct wal_run *run)
{
    struct wal_batch *last = batch_last(queue);
    if (last != NULL && batch_takes(queue, last, record_size, run))
        return last;
    size_t need = (size_t)wal_align_up(wal_batch_header_size + record_size);
    size_t place = place_find(queue, need);
    if (queue->count == wal_queue_batches_max || place == SIZE_MAX)
        return NULL;
    if (last != NULL)
        last->closed = true;
    struct wal_batch *batch = batch_at(queue, queue->count++);
    *batch = (struct wal_batch){.memory = queue->ring + place};
    return batch;
}

/* ---- Records ---- */

static void run_add(struct wal_batch *batch, const struct wal_run *run)
{
    if (batch->runs_count > 0 && wal_record_has_entry(run->kind)) {
        struct wal_run *newest = &batch->runs[batch->runs_count - 1];
        if (run->kind == newest->kind && run->term == newest->term &&
            run->index == newest->index + newest->count && newest->count < UINT32_MAX) {
            newest->count++;
            return;
        }
    }
    ASSERT(batch->runs_count < wal_batch_runs_max);
    batch->runs[batch->runs_count++] = *run;
}

static bool record_add(struct wal_queue *queue, enum wal_record_kind kind,
                       const struct wal_entry *entry, struct wal_mark last)
{
    struct wal_run run = {
        .index = entry->index,
        .term = entry->term,
        .count = wal_record_has_entry(kind) ? 1 : 0,
        .kind = kind,
    };
    size_t size = wal_record_size(entry->bytes.size);
    struct wal_batch *batch = batch_for(queue, size, &run);
    if (batch == NULL)
        return false;
    wal_record_encode(kind, entry, batch->memory + wal_batch_header_size + batch->body_size);
    run_add(batch, &run);
    batch->body_size += size;
    batch->records_count++;
    batch->entries_count += run.count;
    batch->mends_count += kind != WAL_APPEND;
    batch->payload_size += entry->bytes.size;
    if (wal_record_has_entry(kind) && entry->index > batch->index_max)
        batch->index_max = entry->index;
    batch->last = last;
    batch->durable = last.index;
    queue->body_size += size;
    return true;
}

/* The oldest `count` batches announce nothing at or above `index` any more. */
static void supersede(struct wal_queue *queue, unsigned count, uint64_t index)
{
    for (unsigned i = 0; i < count; i++) {
        struct wal_batch *batch = batch_at(queue, i);
        if (batch->durable >= index)
            batch->durable = index - 1;
    }
}

enum status wal_queue_append(struct wal_queue *queue, const struct wal_entry *entries, size_t count)
{
    unsigned count_before = queue->count;
    size_t size_before = queue->body_size;
    struct wal_batch last_before = {0};
    ASSERT(count > 0);
    if (count_before > 0)
        last_before = *batch_last(queue);
    for (size_t i = 0; i < count; i++) {
        struct wal_mark last = {.index = entries[i].index, .term = entries[i].term};
        if (record_add(queue, WAL_APPEND, &entries[i], last))
            continue;
        queue->count = count_before;
        queue->body_size = size_before;
        if (count_before > 0)
            *batch_last(queue) = last_before;
        return STATUS_BUSY;
    }
    /* The batch that was last may have taken some of these: then what it announces is right. */
    if (count_before > 0) {
        bool grew = batch_at(queue, count_before - 1)->records_count != last_before.records_count;
        supersede(queue, grew ? count_before - 1 : count_before, entries[0].index);
    }
    return STATUS_OK;
}

enum status wal_queue_fill(struct wal_queue *queue, const struct wal_entry *entry,
                           struct wal_mark last)
{
    return record_add(queue, WAL_FILL, entry, last) ? STATUS_OK : STATUS_BUSY;
}

enum status wal_queue_truncate(struct wal_queue *queue, uint64_t index, struct wal_mark last)
{
    struct wal_entry entry = {.index = index};
    if (!record_add(queue, WAL_TRUNCATE, &entry, last))
        return STATUS_BUSY;
    supersede(queue, queue->count, index);
    return STATUS_OK;
}

enum status wal_queue_settle(struct wal_queue *queue, uint64_t index, struct wal_mark last)
{
    struct wal_entry entry = {.index = index};
    return record_add(queue, WAL_SETTLE, &entry, last) ? STATUS_OK : STATUS_BUSY;
}

void wal_queue_drop(struct wal_queue *queue, bool keep_first)
{
    ASSERT(!keep_first || queue->count > 0);
    queue->count = keep_first ? 1 : 0;
    queue->body_size = keep_first ? batch_at(queue, 0)->body_size : 0;
    if (keep_first)
        batch_at(queue, 0)->durable = 0;
}

struct wal_batch *wal_queue_first(struct wal_queue *queue)
{
    return queue->count == 0 ? NULL : batch_at(queue, 0);
}

void wal_queue_remove_first(struct wal_queue *queue)
{
    ASSERT(queue->count > 0);
    queue->body_size -= batch_at(queue, 0)->body_size;
    queue->first = (queue->first + 1) % wal_queue_batches_max;
    queue->count--;
}

uint64_t wal_queue_disk_size(const struct wal_queue *queue)
{
    uint64_t size = 0;
    for (unsigned i = 0; i < queue->count; i++)
        size += wal_batch_size(&queue->batches[(queue->first + i) % wal_queue_batches_max]);
    return size;
}
