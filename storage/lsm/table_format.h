/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a table file. Integers are little-endian.
 *
 *     file      = header, partition {partition}, top, footer
 *     partition = data {data}, filter, index         256 data blocks, fewer in the last
 *     data, filter, index, top = sealed block
 *
 *     header (128, plain) =
 *         0   magic "strtable"
 *         8   u32 format version (1), u32 zero
 *         16  u64 table number, u64 zero
 *         32  envelope (seal.h)
 *
 *     sealed block = sealed bytes, tag (16). Blocks are numbered over the file in order, from 1;
 *     the number is the nonce and is bound, as are the file and its key. Nothing is in between.
 *
 *     opened block =
 *         0   u8 flags: bit 0: the body is LZ4-compressed; all others zero
 *         1   u8 type (enum table_block_type), u16 zero
 *         4   u32 size of the body, uncompressed
 *         8   body: see table_block.h (data), table_filter.h, table_index.h (index and top)
 *
 *     footer (128, sealed as number 0 with the header bound, and tag) =
 *         0   magic
 *         8   u16 tree id, u8 kind, u8 zero, u32 number of partitions
 *         16  u32 key size, u32 value size           (kind fixed; else zero)
 *         24  u64 file size
 *         32  u64 entries, u64 tombstones of them
 *         48  u64 smallest version, u64 largest version
 *         64  u64 top's offset, u64 top's number, u32 top's size, zeros
 *
 * The order of writing is the order of the file, so a table is written in one pass; the footer at
 * its known end leads to the top, that to each partition's index and filter, and those to data. */
#ifndef STORAGE_LSM_TABLE_FORMAT_H
#define STORAGE_LSM_TABLE_FORMAT_H

#include "storage/lsm/cache.h"
#include "storage/lsm/lsm.h"
#include "storage/lsm/table.h"
#include "storage/seal/seal.h"

enum {
    table_format_version = 1,
    table_header_size = 128,
    table_header_envelope_offset = 32,
    table_footer_size = 128,
    table_footer_sealed_size = table_footer_size + seal_tag_size,
    table_footer_number = 0,
    table_block_number_first = 1,
    table_block_header_size = 8,
    table_block_overhead = table_block_header_size + seal_tag_size,
    table_block_flag_lz4 = 1,

    /* A data block is full at this size of body; one entry may be larger. */
    table_data_size_target = 4096,
    table_partition_blocks_max = 256,
    table_partitions_max = 1 << 20,

    /* Of bodies. The largest data block: one entry and what surrounds it. */
    table_data_size_max = lsm_value_size_max + lsm_key_size_max + 128,
    table_index_size_max = 8 + table_partition_blocks_max * (56 + lsm_key_size_max),
    table_filter_size_max = 2 * 1024 * 1024,
    table_body_size_max = table_data_size_max, /* of what goes through the cache */
    table_top_size_max = 256 * 1024 * 1024,
};

_Static_assert((int)table_index_size_max <= (int)table_body_size_max, "one bound for the cache");
_Static_assert((int)table_filter_size_max <= (int)table_body_size_max, "one bound for the cache");

enum table_block_type {
    TABLE_BLOCK_DATA = 1,
    TABLE_BLOCK_FILTER = 2,
    TABLE_BLOCK_INDEX = 3,
    TABLE_BLOCK_TOP = 4,
};

struct table_footer {
    uint16_t tree;
    uint8_t kind;
    uint32_t partitions_count;
    uint32_t key_size;
    uint32_t value_size;
    uint64_t file_size;
    uint64_t entries_count;
    uint64_t tombstones_count;
    uint64_t version_min;
    uint64_t version_max;
    struct cache_place top;
};

void table_header_encode(uint8_t to[table_header_size], uint64_t number,
                         const uint8_t envelope[seal_envelope_size]);
/* CORRUPT (also for another table's header), NEWER_FORMAT. The envelope stands in place. */
MUST_CHECK enum status table_header_decode(const uint8_t from[table_header_size], uint64_t number);

/* As if it were of this version's format: to see whether its number has decayed. */
void table_header_format_set(uint8_t header[table_header_size]);

void table_footer_encode(uint8_t to[table_footer_size], const struct table_footer *footer);
/* Validates all that it can alone: CORRUPT. */
MUST_CHECK enum status table_footer_decode(const uint8_t from[table_footer_size],
                                           struct table_footer *footer);

/* What a block is checked against. */
struct table_block_limits {
    const struct lsm_tree_options *tree;
    uint64_t file_size;
};

/* Wraps a body into `to`, which has room for body.size + table_block_overhead bytes, compressing
 * where asked for and worth it, and seals it. Returns its size in the file. */
uint32_t table_block_seal(struct sealer *sealer, uint64_t number, enum table_block_type type,
                          struct bytes body, bool compress, uint8_t *to);

/* Opens a block in place, and gives its body, uncompressed and validated for its type, from
 * malloc. CORRUPT, NO_MEMORY. */
MUST_CHECK enum status table_block_open(struct sealer *sealer,
                                        const struct table_block_limits *limits,
                                        const struct cache_place *place, uint8_t *sealed,
                                        uint8_t **body, size_t *size);

/* The same for bytes that are open already (`plain` without the tag). */
MUST_CHECK enum status table_block_unwrap(const struct table_block_limits *limits,
                                          enum table_block_type type, struct bytes plain,
                                          uint8_t **body, size_t *size);

#endif
