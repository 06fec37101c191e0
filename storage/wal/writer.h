/* SPDX-License-Identifier: Apache-2.0 */
/* The commit path: takes batches from the queue, seals each where it stands, writes and flushes it,
 * one at a time; goes on to a new segment where the old one has no room.
 *
 *     IDLE -> WRITE -> IDLE                             a batch, or the empty one after idleness
 *     IDLE -> WAIT_SPARE -> HEADER                      no room, and no spare segment yet
 *     IDLE -> HEADER -> RENAME -> FLUSH_NAMES -> IDLE   a segment's life begins; then WRITE
 *
 * A segment's header holds the exact end of the one before; it is durable, and so is its name,
 * before the first batch. Sequence numbers, which are the nonces, count up within the life of a
 * segment, so nothing is ever sealed twice under one. A life that was begun and not named (the
 * rename met a full disk) is given up with its key. A reset is a segment whose header says that the
 * log begins anew: durable with its name, as one step. */
#ifndef STORAGE_WAL_WRITER_H
#define STORAGE_WAL_WRITER_H

#include "storage/wal/pool.h"
#include "storage/wal/queue.h"

enum { wal_writer_idle_ms = 8 }; /* leaves 2 ms to have the empty batch on disk within 10 */

enum wal_writer_step {
    WAL_WRITER_IDLE,
    WAL_WRITER_WRITE,
    WAL_WRITER_WAIT_SPARE,
    WAL_WRITER_HEADER,
    WAL_WRITER_RENAME,
    WAL_WRITER_FLUSH_NAMES,
};

/* Where the log goes on: what a new segment's header says of the past. */
struct wal_position {
    uint64_t segment_id; /* 0: there is none before */
    uint64_t end;        /* its exact end */
    struct wal_batch_id batch;
    struct wal_mark mark; /* last entry of the log up to there */
    /* For the next segment's header alone: */
    bool anew;                   /* the log begins after `mark` there */
    struct wal_batch_id suspect; /* a suspect batch that stands at `end`; `segment` 0: none */
    /* Until it is settled: the first index of a suspect tail of unknown extent; 0: none. */
    uint64_t unknown_first;
};

struct wal_writer {
    /* Set by the owner. */
    struct io *io;
    struct keyring *keyring;
    const char *directory;
    uint64_t segment_size;
    struct wal_queue *queue;
    struct wal_pool *pool;
    struct wal_segments *segments;
    uint8_t boot[wal_life_size];
    struct wal_position position; /* the newest durable place; moves on with each batch */
    /* A batch is durable, and has left the queue: its memory is gone. */
    void (*durable)(void *context, const struct wal_batch *batch);
    void (*reset)(void *context); /* the segment that wal_writer_reset() asked for is begun */
    void (*failed)(void *context, enum status, int error_number, const char *path);
    void *context;

    /* The writer's. */
    enum wal_writer_step step;
    bool wanted; /* a write shall follow the one under way */
    bool stopped;
    bool reset_wanted; /* the log shall begin anew after `reset_mark`, with the next segment */
    struct wal_mark reset_mark;
    bool successor_lack; /* the newest batch has entries and nothing follows it */
    bool writing_empty;
    struct io_op op;
    struct io_timer idle;
    struct wal_path path; /* of the segment being written */
    struct io_file *file; /* NULL before the first */
    struct sealer *sealer;
    uint8_t life[wal_life_size];
    uint64_t sequence; /* of the next batch */
    struct wal_batch_header header;
    struct wal_batch empty; /* the batch without records, in memory of its own */
    uint8_t *block;         /* a segment's header */
    /* A segment whose life is being begun. */
    struct wal_spare spare;
    struct wal_segment_header next;
    struct sealer *next_sealer;
    struct io_op close_op;
    bool closing;
    /* For statistics. */
    uint64_t write_ns;           /* when the write under way began */
    struct histogram flushes_ns; /* how long those took that carried entries */
    uint64_t flushes_count;
    uint64_t empty_count;
    uint64_t written_size;
};

/* The owner has filled its part; the rest is zero. */
MUST_CHECK enum status wal_writer_init(struct wal_writer *writer);

/* Starts the first segment of this run, without a batch. Done once the writer is not busy. */
void wal_writer_begin_segment(struct wal_writer *writer);

/* Begins a segment with which the log begins anew after `mark`, once what is under way is done.
 * Nothing is queued any more but a batch under way. */
void wal_writer_reset(struct wal_writer *writer, struct wal_mark mark);

/* Whether the queue's oldest batch is being written. */
bool wal_writer_is_writing(const struct wal_writer *writer);

/* Starts the write of what is queued; where one is under way, it follows. */
void wal_writer_flush(struct wal_writer *writer);

/* Writes the empty batch now, where the newest batch has no successor and nothing is queued. */
void wal_writer_settle(struct wal_writer *writer);

/* A spare came. */
void wal_writer_spare_ready(struct wal_writer *writer);

/* Bytes that fit into the segment being written. */
uint64_t wal_writer_room(const struct wal_writer *writer);

/* Starts nothing any more. */
void wal_writer_stop(struct wal_writer *writer);

/* Whether an operation is under way; waiting for a spare is not one. */
bool wal_writer_is_busy(const struct wal_writer *writer);

/* Closes and frees. Blocking. */
MUST_CHECK enum status wal_writer_free(struct wal_writer *writer);

#endif
