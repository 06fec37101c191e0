/* SPDX-License-Identifier: Apache-2.0 */
/* Reads one segment: its header, and whether a batch stands at an offset. For recovery and checks:
 * blocking, past the page cache, writes nothing. */
#ifndef STORAGE_WAL_READER_H
#define STORAGE_WAL_READER_H

#include "storage/wal/segment.h"

enum { wal_reader_window_size = 1024 * 1024 };

enum wal_batch_state {
    WAL_BATCH_VALID,  /* whole, in its place, the successor of the one before */
    WAL_BATCH_BLANK,  /* nothing of this life was begun here */
    WAL_BATCH_BROKEN, /* something of this life that does not hold */
};

struct wal_reader {
    struct io *io;
    struct wal_path path;
    struct io_file *file;
    struct sealer *sealer;
    struct wal_segment_header header;
    size_t read_size; /* bytes that one read takes at least, where there are as many */
    uint8_t *window;  /* what was read last, as it is on disk */
    size_t window_capacity;
    uint64_t window_offset;
    size_t window_size;
    uint8_t *body; /* of the batch that was read last, opened */
    size_t body_capacity;
};

/* Opens the file of segment `id` and verifies its header. Errors name the file: NOT_FOUND, CORRUPT,
 * NEWER_FORMAT, KEY_MISSING, IO_ERROR, NO_MEMORY. On any, nothing is left open. */
MUST_CHECK enum status wal_reader_open(struct io *io, struct keyring *keyring,
                                       const char *directory, uint64_t id,
                                       struct wal_reader *reader, struct error *error);

/* The same, where nothing at `end` or later will be looked at: no more is read than that takes. */
MUST_CHECK enum status wal_reader_open_to(struct io *io, struct keyring *keyring,
                                          const char *directory, uint64_t id, uint64_t end,
                                          struct wal_reader *reader, struct error *error);
MUST_CHECK enum status wal_reader_close(struct wal_reader *reader);

/* The verified header alone: one block is read. Errors as of wal_reader_open(). */
MUST_CHECK enum status wal_reader_header(struct io *io, struct keyring *keyring,
                                         const char *directory, uint64_t id,
                                         struct wal_segment_header *header, struct error *error);

/* Looks at `offset` for the batch `sequence` (0: whichever stands there), which ends at or before
 * `limit` and follows `previous` (NULL: not looked at). Where it is VALID, `header` and `records`
 * tell what it holds, until the next call. Where it is BROKEN, `header` is set as far as it could
 * be read: id.segment is 0 where it could not. The status is of reading: IO_ERROR or NO_MEMORY,
 * with text. */
MUST_CHECK enum status wal_reader_batch(struct wal_reader *reader, uint64_t offset, uint64_t limit,
                                        uint64_t sequence, const struct wal_batch_id *previous,
                                        enum wal_batch_state *state,
                                        struct wal_batch_header *header,
                                        struct wal_records *records, struct error *error);

/* Whether any batch header of this life whose sequence is `sequence` or higher stands at `from` or
 * later, before `limit`: then whatever should precede it was durable once, for it is written only
 * after that. A header alone is enough: its body may be torn. `*at` is its offset. */
MUST_CHECK enum status wal_reader_find_successor(struct wal_reader *reader, uint64_t from,
                                                 uint64_t limit, uint64_t sequence, bool *found,
                                                 uint64_t *at, struct wal_batch_header *header,
                                                 struct error *error);

/* Forgets what was read, so that it is read from the disk again. */
void wal_reader_forget(struct wal_reader *reader);

#endif
