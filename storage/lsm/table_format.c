/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/lsm/table_format.h"

#include <lz4.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "storage/lsm/table_block.h"
#include "storage/lsm/table_filter.h"
#include "storage/lsm/table_index.h"

static const char table_magic[8] = {'s', 't', 'r', 't', 'a', 'b', 'l', 'e'};

static bool is_zero(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (data[i] != 0)
            return false;
    return true;
}

void table_header_encode(uint8_t to[table_header_size], uint64_t number,
                         const uint8_t envelope[seal_envelope_size])
{
    _Static_assert((int)table_header_envelope_offset + (int)seal_envelope_size ==
                       (int)table_header_size,
                   "the envelope ends the header");
    memset(to, 0, table_header_size);
    memcpy(to, table_magic, sizeof table_magic);
    store_u32(to + 8, table_format_version);
    store_u64(to + 16, number);
    memcpy(to + table_header_envelope_offset, envelope, seal_envelope_size);
}

void table_header_format_set(uint8_t header[table_header_size])
{
    store_u32(header + 8, table_format_version);
}

enum status table_header_decode(const uint8_t from[table_header_size], uint64_t number)
{
    if (memcmp(from, table_magic, sizeof table_magic) != 0)
        return STATUS_CORRUPT;
    if (load_u32(from + 8) != table_format_version)
        return load_u32(from + 8) > table_format_version ? STATUS_NEWER_FORMAT : STATUS_CORRUPT;
    if (!is_zero(from + 12, 4) || load_u64(from + 16) != number || !is_zero(from + 24, 8))
        return STATUS_CORRUPT;
    return STATUS_OK;
}

void table_footer_encode(uint8_t to[table_footer_size], const struct table_footer *footer)
{
    memset(to, 0, table_footer_size);
    memcpy(to, table_magic, sizeof table_magic);
    store_u16(to + 8, footer->tree);
    to[10] = footer->kind;
    store_u32(to + 12, footer->partitions_count);
    store_u32(to + 16, footer->key_size);
    store_u32(to + 20, footer->value_size);
    store_u64(to + 24, footer->file_size);
    store_u64(to + 32, footer->entries_count);
    store_u64(to + 40, footer->tombstones_count);
    store_u64(to + 48, footer->version_min);
    store_u64(to + 56, footer->version_max);
    store_u64(to + 64, footer->top.offset);
    store_u64(to + 72, footer->top.number);
    store_u32(to + 80, footer->top.size);
}

enum status table_footer_decode(const uint8_t from[table_footer_size], struct table_footer *footer)
{
    *footer = (struct table_footer){
        .tree = load_u16(from + 8),
        .kind = from[10],
        .partitions_count = load_u32(from + 12),
        .key_size = load_u32(from + 16),
        .value_size = load_u32(from + 20),
        .file_size = load_u64(from + 24),
        .entries_count = load_u64(from + 32),
        .tombstones_count = load_u64(from + 40),
        .version_min = load_u64(from + 48),
        .version_max = load_u64(from + 56),
        .top = {.offset = load_u64(from + 64),
                .number = load_u64(from + 72),
                .size = load_u32(from + 80),
                .type = TABLE_BLOCK_TOP},
    };
    const struct cache_place *top = &footer->top;
    bool good = memcmp(from, table_magic, sizeof table_magic) == 0 && from[11] == 0 &&
                is_zero(from + 84, table_footer_size - 84) && footer->partitions_count != 0 &&
                footer->partitions_count <= table_partitions_max && footer->entries_count != 0 &&
                footer->tombstones_count <= footer->entries_count &&
                footer->version_min <= footer->version_max &&
                footer->version_max <= lsm_entry_version_max && top->size > table_block_overhead &&
                top->size <= table_top_size_max && top->offset >= table_header_size &&
                top->offset < footer->file_size &&
                footer->file_size - top->offset == (uint64_t)top->size + table_footer_sealed_size;
    return good ? STATUS_OK : STATUS_CORRUPT;
}

/* ---- Blocks ---- */

uint32_t table_block_seal(struct sealer *sealer, uint64_t number, enum table_block_type type,
                          struct bytes body, bool compress, uint8_t *to)
{
    ASSERT(body.size <= table_top_size_max && number >= table_block_number_first);
    memset(to, 0, table_block_header_size);
    to[1] = (uint8_t)type;
    store_u32(to + 4, (uint32_t)body.size);
    size_t stored = 0;
    /* Worth it where it saves an eighth. */
    if (compress && body.size > 64) {
        int most = (int)(body.size - body.size / 8);
        int got = LZ4_compress_default((const char *)body.data,
                                       (char *)to + table_block_header_size, (int)body.size, most);
        ASSERT(got >= 0 && got <= most);
        stored = (size_t)got;
    }
    if (stored != 0) {
        to[0] = table_block_flag_lz4;
    } else {
        bytes_copy(to + table_block_header_size, body);
        stored = body.size;
    }
    size_t size = table_block_header_size + stored;
    sealer_seal(sealer, number, bytes_of(NULL, 0), bytes_of(to, size), to, to + size);
    return (uint32_t)(size + seal_tag_size);
}

static size_t size_max_of(enum table_block_type type)
{
    switch (type) {
    case TABLE_BLOCK_DATA:
        return table_data_size_max;
    case TABLE_BLOCK_FILTER:
        return table_filter_size_max;
    case TABLE_BLOCK_INDEX:
        return table_index_size_max;
    case TABLE_BLOCK_TOP:
        return table_top_size_max;
    }
    return 0;
}

static enum status check(const struct table_block_limits *limits, enum table_block_type type,
                         struct bytes body)
{
    switch (type) {
    case TABLE_BLOCK_DATA:
        return table_block_check(limits->tree, body);
    case TABLE_BLOCK_FILTER:
        return table_filter_check(body);
    case TABLE_BLOCK_INDEX:
    case TABLE_BLOCK_TOP:
        return table_index_check(body, type == TABLE_BLOCK_TOP, limits->file_size);
    }
    return STATUS_CORRUPT;
}

enum status table_block_unwrap(const struct table_block_limits *limits, enum table_block_type type,
                               struct bytes plain, uint8_t **body, size_t *size)
{
    *body = NULL;
    *size = 0;
    if (plain.size <= table_block_header_size)
        return STATUS_CORRUPT;
    const uint8_t *header = plain.data;
    size_t stored = plain.size - table_block_header_size;
    size_t body_size = load_u32(header + 4);
    bool lz4 = header[0] == table_block_flag_lz4;
    if ((header[0] != 0 && !lz4) || header[1] != type || load_u16(header + 2) != 0 ||
        body_size == 0 || body_size > size_max_of(type) ||
        (lz4 ? stored >= body_size : stored != body_size))
        return STATUS_CORRUPT;
    uint8_t *made = malloc(body_size);
    if (made == NULL)
        return STATUS_NO_MEMORY;
    const uint8_t *from = header + table_block_header_size;
    if (!lz4)
        memcpy(made, from, body_size);
    else if (LZ4_decompress_safe((const char *)from, (char *)made, (int)stored, (int)body_size) !=
             (int)body_size)
        goto corrupt;
    if (check(limits, type, bytes_of(made, body_size)) != STATUS_OK)
        goto corrupt;
    *body = made;
    *size = body_size;
    return STATUS_OK;
corrupt:
    free(made);
    return STATUS_CORRUPT;
}

enum status table_block_open(struct sealer *sealer, const struct table_block_limits *limits,
                             const struct cache_place *place, uint8_t *sealed, uint8_t **body,
                             size_t *size)
{
    *body = NULL;
    *size = 0;
    if (place->size <= table_block_overhead)
        return STATUS_CORRUPT;
    size_t plain_size = place->size - seal_tag_size;
    uint8_t tag[seal_tag_size];
    memcpy(tag, sealed + plain_size, sizeof tag);
    enum status status = sealer_open(sealer, place->number, bytes_of(NULL, 0),
                                     bytes_of(sealed, plain_size), tag, sealed);
    if (status != STATUS_OK)
        return status;
    return table_block_unwrap(limits, (enum table_block_type)place->type,
                              bytes_of(sealed, plain_size), body, size);
}
