/* SPDX-License-Identifier: Apache-2.0 */
/* The segments that the log consists of: their names, what they carry, and which are needed no
 * more. A file's name says what it is at any crash:
 *
 *     preparing-N   being made: of no use after a crash
 *     spare-N       as long as it should be and written throughout; contents without meaning
 *     segment-ID    its header is whole and durable; in use until it is renamed to spare-N
 *
 * All numbers are 16 hexadecimal digits. A name changes by a rename that is durable before the next
 * step, so segments leave oldest first and arrive newest last: their ids have no gap. */
#ifndef STORAGE_WAL_SEGMENT_H
#define STORAGE_WAL_SEGMENT_H

#include "storage/wal/format.h"

enum { wal_path_size = 512 };

struct wal_path {
    char text[wal_path_size];
};

enum wal_file_kind {
    WAL_FILE_OTHER, /* not a segment's file: the hard state, or nothing of ours */
    WAL_FILE_PREPARING,
    WAL_FILE_SPARE,
    WAL_FILE_SEGMENT,
};

/* `directory` was checked by wal_path_fits(). */
struct wal_path wal_path(const char *directory, enum wal_file_kind kind, uint64_t number);
bool wal_path_fits(const char *directory);
enum wal_file_kind wal_name_parse(const char *name, uint64_t *number);

/* All numbers of one kind in a directory, sorted. */
struct wal_numbers {
    uint64_t *numbers; /* from malloc */
    size_t count;
    size_t capacity;
};
struct wal_listing {
    struct wal_numbers of[WAL_FILE_SEGMENT + 1];
    bool no_memory;
};
MUST_CHECK enum status wal_listing_read(struct io *io, const char *directory,
                                        struct wal_listing *listing);
void wal_listing_free(struct wal_listing *listing);

struct wal_segment {
    uint64_t id;
    uint64_t size;
    struct wal_mark base;
    uint64_t index_max; /* largest index that it carries, or base.index */
    uint8_t life[wal_life_size];
    uint8_t envelope[seal_envelope_size];
    uint32_t pins_count; /* reads that are under way: it stays */
    bool obsolete;       /* the log began anew after it */
    bool leaving;        /* it is being recycled */
};

/* As its header tells it. */
struct wal_segment wal_segment_of(const struct wal_segment_header *header);

/* Oldest first; the last one is being written. */
struct wal_segments {
    struct wal_segment *segments;
    size_t first;
    size_t count;
    size_t capacity;
    uint64_t released; /* indexes at or below are needed no more */
};

MUST_CHECK enum status wal_segments_add(struct wal_segments *segments,
                                        const struct wal_segment *segment);
void wal_segments_free(struct wal_segments *segments);

struct wal_segment *wal_segments_oldest(struct wal_segments *segments);
struct wal_segment *wal_segments_newest(struct wal_segments *segments);
void wal_segments_remove_oldest(struct wal_segments *segments);

/* By the low half of its id; NULL. Valid until one is added or removed. */
struct wal_segment *wal_segments_find(struct wal_segments *segments, uint32_t id);

/* The log begins anew with the newest: those before it carry nothing of it. */
void wal_segments_obsolete(struct wal_segments *segments);

/* The oldest segment, where it is needed no more: it is obsolete, or each index that it carries is
 * released, and the next one's base too (which stands for what is missing); it is not being
 * written, and nobody has it pinned. Else NULL. */
struct wal_segment *wal_segments_recyclable(struct wal_segments *segments);

#endif
