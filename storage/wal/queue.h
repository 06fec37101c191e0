/* SPDX-License-Identifier: Apache-2.0 */
/* What was appended and is not durable yet: batches being filled, waiting and under way, in one
 * ring of memory. Entries are copied into their place in the batch once; sealing and writing happen
 * there too. Nothing is allocated after the queue was made.
 *
 *     ring:  | batch 1 (under way) | batch 2 | batch 3 (being filled) ...   free   |
 *
 * A batch is contiguous, aligned to 4 KiB, and begins with room for its header. The last batch
 * takes records until it is closed, full, or meets the ring's end or another batch; then the next
 * one begins. Batches leave in order. */
#ifndef STORAGE_WAL_QUEUE_H
#define STORAGE_WAL_QUEUE_H

#include "storage/wal/format.h"

enum {
    wal_queue_batches_max = 64,
    wal_queue_batch_size = 1024 * 1024, /* a batch takes no further record past this */
};

struct wal_batch {
    uint8_t *memory;  /* header's place; aligned */
    size_t body_size; /* of the records so far */
    uint32_t records_count;
    uint32_t entries_count;
    uint64_t payload_size;  /* bytes of its entries */
    uint64_t index_max;     /* largest index that it carries */
    uint32_t mends_count;   /* records other than APPEND */
    struct wal_mark last;   /* the log's last entry once this batch is durable */
    uint64_t durable;       /* the index to announce then; lowered where that was superseded */
    bool closed;            /* takes no more records */
    uint64_t offset;        /* where it was written */
    struct wal_batch_id id; /* as what */
    uint32_t runs_count;
    struct wal_run runs[wal_batch_runs_max];
};

struct wal_queue {
    uint8_t *ring;
    size_t ring_size;
    size_t batch_size_max; /* header, records and padding of any batch */
    size_t body_size;      /* of all batches */
    unsigned first;        /* oldest batch's place in `batches` */
    unsigned count;
    struct wal_batch batches[wal_queue_batches_max];
};

/* `batch_size_max`: what a segment can hold; a multiple of 4 KiB, as is `ring_size`. */
MUST_CHECK enum status wal_queue_init(struct wal_queue *queue, size_t ring_size,
                                      size_t batch_size_max);
void wal_queue_free(struct wal_queue *queue);

/* Largest entry that can ever be taken. */
size_t wal_queue_entry_size_max(const struct wal_queue *queue);

/* Takes one record each, all or none. BUSY where there is no room. Batches that were there announce
 * nothing any more that the records supersede. `last` is the log's last entry afterwards. */
MUST_CHECK enum status wal_queue_append(struct wal_queue *queue, const struct wal_entry *entries,
                                        size_t count);
MUST_CHECK enum status wal_queue_fill(struct wal_queue *queue, const struct wal_entry *entry,
                                      struct wal_mark last);
MUST_CHECK enum status wal_queue_truncate(struct wal_queue *queue, uint64_t index,
                                          struct wal_mark last);
MUST_CHECK enum status wal_queue_settle(struct wal_queue *queue, uint64_t index,
                                        struct wal_mark last);

/* Drops all batches, but the oldest where `keep_first`: that one announces nothing any more. */
void wal_queue_drop(struct wal_queue *queue, bool keep_first);

/* The oldest batch, or NULL. It stays until it is removed. */
struct wal_batch *wal_queue_first(struct wal_queue *queue);
void wal_queue_remove_first(struct wal_queue *queue);

/* Bytes that a batch takes on disk. */
static inline size_t wal_batch_size(const struct wal_batch *batch)
{
    return (size_t)wal_align_up(wal_batch_header_size + batch->body_size);
}

/* Bytes on disk of all batches. */
uint64_t wal_queue_disk_size(const struct wal_queue *queue);

#endif
