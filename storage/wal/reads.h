/* SPDX-License-Identifier: Apache-2.0 */
/* Reads of old entries while the log goes on (struct wal_read): each is one read of one segment's
 * file, past the page cache, verified and opened where it stands in memory.
 *
 *     WAITING -> (its segment's file is open) -> READING -> done
 *
 * A read pins its segment from its start on. Files stay open for the next reads, wal_files_max of
 * them; a file goes FREE -> OPENING -> OPEN -> CLOSING -> FREE, and is closed for another segment's
 * sake only while nobody uses it. What was superseded while the read flew is found out at its end,
 * and not given. */
#ifndef STORAGE_WAL_READS_H
#define STORAGE_WAL_READS_H

#include "storage/wal/places.h"
#include "storage/wal/segment.h"
#include "storage/wal/terms.h"

enum {
    wal_files_max = 4,
    wal_read_span_max = 1024 * 1024, /* of one read, unless one batch is larger */
};

enum wal_file_state { WAL_FILE_FREE, WAL_FILE_OPENING, WAL_FILE_OPEN, WAL_FILE_CLOSING };

/* A segment's file, open for reads. */
struct wal_file {
    enum wal_file_state state;
    uint32_t segment; /* the low half of its id */
    unsigned users_count;
    uint64_t used; /* when it was used last, in reads */
    struct wal_path path;
    struct io_file *file;
    struct sealer *sealer;
    uint8_t life[wal_life_size];
    uint64_t segment_id;
    struct wal_reads *reads;
    struct io_op op;
};

struct wal_reads {
    /* Set by the owner. */
    struct io *io;
    struct keyring *keyring;
    const char *directory;
    struct wal_segments *segments;
    const struct wal_places *places;
    const struct wal_terms *terms;
    void (*unpinned)(void *context); /* a segment is pinned no more */
    void *context;

    /* The reads'. */
    struct list_link waiting;  /* for their file */
    struct list_link finished; /* without a read; told by the timer */
    struct io_timer timer;
    struct wal_file files[wal_files_max];
    uint64_t under_way_count; /* reads not done yet */
    bool stopping;
    uint64_t reads_count;
    uint64_t read_size;
};

/* The owner has filled its part; the rest is zero. */
void wal_reads_init(struct wal_reads *reads);
void wal_reads_start(struct wal_reads *reads, struct wal_read *read);

/* A segment leaves: nobody has it pinned. */
void wal_reads_forget_segment(struct wal_reads *reads, uint64_t id);

/* Reads that start from now on answer SHUTTING_DOWN; those under way go on. */
void wal_reads_stop(struct wal_reads *reads);
bool wal_reads_are_busy(const struct wal_reads *reads);

/* Closes the files. Blocking; not busy. */
MUST_CHECK enum status wal_reads_free(struct wal_reads *reads);

#endif
