/* SPDX-License-Identifier: Apache-2.0 */
/* The byte grammar of the log: one reader and one writer of each part.
 *
 *     segment = segment-header batch* unused
 *     batch   = batch-header sealed-body          sized in multiples of 4 KiB, both together
 *     body    = record* zeros                     as it is before it was sealed
 *
 * A segment's header is one block of 4 KiB, plain:
 *
 *     offset size
 *        0     8   XXH3-64 of all that follows in the block
 *        8    16   tag: the block from 24 on, bound by the segment's key under the number 0
 *       24     8   "STRAITWL"
 *       32     4   format, 2: it and what stands before it keep their places in all formats
 *       36     4   flags: 1, the log begins anew after the base, whatever came before
 *       40    16   life: unlike that of any other life of this or another file
 *       56    16   boot: which run of the process began this life
 *       72     8   the segment's id
 *       80     8   the file's size
 *       88     8   base index: the log's last entry when the segment began
 *       96     8   base term
 *      104     8   id of the segment before; 0: none
 *      112     8   its exact end: bytes past it are ignored
 *      120   184   identifier of the newest batch before this segment (below); zeros: none
 *      304    96   the envelope of the segment's key
 *      400     8   first index of a suspect tail of unknown extent that is not settled; 0: none
 *      408   184   identifier of a suspect batch, which stood at the exact end above; zeros: none
 *      592  3504   zeros
 *
 * A batch's header is one sector of 512 bytes, plain, so that it is never torn itself:
 *
 *        0     8   XXH3-64 of the other 504 bytes
 *        8    16   tag of the sealed body; binds the bytes from 24 to 512 too
 *       24     4   "SWB1"
 *       28     4   0
 *       32    16   life of the segment
 *       48     8   the batch's offset in the file
 *       56     4   size of the records in the body
 *       60     4   count of the records
 *       64   184   the batch's own identifier; its tag's place is zero, the tag stands above
 *      248   184   its predecessor's identifier; zeros: none
 *      432    80   zeros
 *
 * A batch's identifier:
 *
 *        0     8   the segment's id
 *        8     8   sequence within the segment, from 1: the nonce
 *       16    16   tag
 *       32     4   size of header and body
 *       36     4   count of runs, at most 6
 *       40   144   runs: first index 8, term 8, count of entries 4, kind 4; unused ones are zero
 *
 * A record, 8-byte aligned:
 *
 *        0     1   kind: 1 APPEND, 2 FILL, 3 TRUNCATE, 4 SETTLE (0: the end, in the padding)
 *        1     3   0
 *        4     4   size of the bytes; 0 for TRUNCATE and SETTLE
 *        8     8   index; of SETTLE: the first that was suspect
 *       16     8   term; 0 for TRUNCATE and SETTLE
 *       24         bytes, then zeros to a multiple of 8
 *
 * Integers are little-endian. Readers take nothing for granted: what does not follow this grammar
 * gives a status. */
#ifndef STORAGE_WAL_FORMAT_H
#define STORAGE_WAL_FORMAT_H

#include "storage/seal/seal.h"
#include "storage/wal/wal.h"

enum {
    wal_block_size = 4096,
    wal_batch_header_size = 512,
    wal_batch_runs_max = 6,
    wal_record_header_size = 24,
    wal_bound_offset = 24, /* what the tags of both headers bind begins here */
    wal_life_size = 16,
    wal_format = 2,
};

enum wal_record_kind { WAL_APPEND = 1, WAL_FILL = 2, WAL_TRUNCATE = 3, WAL_SETTLE = 4 };

static inline bool wal_record_has_entry(enum wal_record_kind kind)
{
    return kind == WAL_APPEND || kind == WAL_FILL;
}

/* Consecutive entries of one term, or one record without an entry (count 0). */
struct wal_run {
    uint64_t index;
    uint64_t term;
    uint32_t count;
    enum wal_record_kind kind;
};

/* What a batch is known by, also where it does not hold any more. `segment` 0: none. */
struct wal_batch_id {
    uint64_t segment;
    uint64_t sequence;
    uint8_t tag[seal_tag_size];
    uint32_t size;
    uint32_t runs_count;
    struct wal_run runs[wal_batch_runs_max];
};

struct wal_batch_header {
    uint8_t life[wal_life_size];
    uint64_t offset;
    uint32_t body_size;
    uint32_t records_count;
    struct wal_batch_id id;
    struct wal_batch_id previous;
};

struct wal_segment_header {
    uint8_t tag[seal_tag_size];
    uint8_t life[wal_life_size];
    uint8_t boot[wal_life_size];
    uint64_t id;
    uint64_t size;
    struct wal_mark base;
    uint64_t previous_id;
    uint64_t previous_end;
    struct wal_batch_id previous;
    uint8_t envelope[seal_envelope_size];
    bool anew;                   /* the log begins after `base` here, whatever came before */
    uint64_t unknown_first;      /* of a suspect tail of unknown extent; 0: none */
    struct wal_batch_id suspect; /* `segment` 0: none */
};

struct wal_record {
    enum wal_record_kind kind;
    struct wal_entry entry; /* no bytes, and term 0, for TRUNCATE and SETTLE */
};

/* Reads records of a body one after the other. */
struct wal_records {
    struct bytes body; /* exactly its records */
    size_t offset;     /* of the next record */
};

static inline uint64_t wal_align_up(uint64_t size)
{
    return (size + wal_block_size - 1) & ~(uint64_t)(wal_block_size - 1);
}

/* Whole size of a record that carries `size` bytes. */
static inline size_t wal_record_size(size_t size)
{
    return wal_record_header_size + ((size + 7) & ~(size_t)7);
}

/* Whether both name the same batch: where, which, and with which contents. */
bool wal_batch_id_equal(const struct wal_batch_id *a, const struct wal_batch_id *b);

/* Writes wal_block_size bytes with tag and checksum empty: then the tag over what it binds is made,
 * and wal_segment_header_finish() puts both in. */
void wal_segment_header_encode(const struct wal_segment_header *header, uint8_t *to);
void wal_segment_header_finish(uint8_t *to, const uint8_t tag[seal_tag_size]);

/* CORRUPT: not a header, or damaged. NEWER_FORMAT: whole, but of a later version. The tag is not
 * checked here. */
MUST_CHECK enum status wal_segment_header_decode(const uint8_t *from,
                                                 struct wal_segment_header *header);

/* The same for a batch: wal_batch_header_size bytes. */
void wal_batch_header_encode(const struct wal_batch_header *header, uint8_t *to);
void wal_batch_header_finish(uint8_t *to, const uint8_t tag[seal_tag_size]);

/* OK: whole, and of the segment and life given. NOT_FOUND: nothing of this life was begun here
 * (zeros, remains of an earlier life). CORRUPT: a header of this life, damaged. Sizes are checked
 * against one another, not against the file. */
MUST_CHECK enum status wal_batch_header_decode(const uint8_t *from, uint64_t segment,
                                               const uint8_t life[wal_life_size],
                                               struct wal_batch_header *header);

/* Writes wal_record_size(entry->bytes.size) bytes. */
void wal_record_encode(enum wal_record_kind kind, const struct wal_entry *entry, uint8_t *to);

/* OK, END after the last, CORRUPT. `record` refers to the body. */
MUST_CHECK enum status wal_record_next(struct wal_records *records, struct wal_record *record);

/* What a tag of either header binds. */
static inline struct bytes wal_bound(const uint8_t *header, size_t header_size)
{
    return bytes_of(header + wal_bound_offset, header_size - wal_bound_offset);
}

#endif
