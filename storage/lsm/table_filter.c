/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/lsm/table_filter.h"

#include "proto/base/assert.h"

enum { head_size = 8, line_bits = table_filter_line_size * 8 };

static size_t lines_of(size_t keys_count)
{
    return (keys_count * table_filter_bits_per_key + line_bits - 1) / line_bits;
}

static size_t line_offset(uint64_t hash, uint64_t lines)
{
    return head_size + (size_t)((hash >> 32) * lines >> 32) * table_filter_line_size;
}

/* 54 bits for the probes, independent of those that chose the line. */
static uint64_t probes_of(uint64_t hash)
{
    uint64_t probes = hash * 0x9e3779b97f4a7c15ULL;
    return probes ^ (probes >> 32);
}

size_t table_filter_size(size_t keys_count)
{
    return head_size + lines_of(keys_count) * table_filter_line_size;
}

void table_filter_build(const uint64_t *hashes, size_t count, uint8_t *body)
{
    size_t lines = lines_of(count);
    ASSERT(lines != 0 && lines <= UINT32_MAX);
    memset(body, 0, table_filter_size(count));
    store_u32(body, (uint32_t)lines);
    store_u32(body + 4, table_filter_probes);
    for (size_t i = 0; i < count; i++) {
        uint8_t *line = body + line_offset(hashes[i], lines);
        uint64_t probes = probes_of(hashes[i]);
        for (int probe = 0; probe < table_filter_probes; probe++, probes >>= 9)
            line[probes % line_bits / 8] |= (uint8_t)(1 << probes % 8);
    }
}

enum status table_filter_check(struct bytes body)
{
    if (body.size < head_size + table_filter_line_size)
        return STATUS_CORRUPT;
    uint64_t lines = load_u32(body.data);
    return load_u32(body.data + 4) == table_filter_probes &&
                   body.size - head_size == lines * table_filter_line_size
               ? STATUS_OK
               : STATUS_CORRUPT;
}

bool table_filter_may_hold(struct bytes body, uint64_t hash)
{
    const uint8_t *line = body.data + line_offset(hash, load_u32(body.data));
    uint64_t probes = probes_of(hash);
    for (int probe = 0; probe < table_filter_probes; probe++, probes >>= 9)
        if ((line[probes % line_bits / 8] & 1 << probes % 8) == 0)
            return false;
    return true;
}
