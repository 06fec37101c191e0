/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/epoch.h"

#include "proto/base/assert.h"

enum { epoch_change_format = 1, fence_format = 1, rewind_format = 1, adoption_format = 1 };

_Static_assert((int)limit_promotion_record_size <= (int)UINT16_MAX, "its size has two bytes");

static bool epoch_is_valid(struct epoch epoch)
{
    return epoch.number != 0 && epoch.region != 0;
}

/* ---- Changes ---- */

static bool change_is_valid(const struct epoch_change *change)
{
    if (!epoch_is_valid(change->from) || !epoch_is_valid(change->to) ||
        epoch_compare(change->from, change->to) >= 0 || change->version == UINT64_MAX)
        return false;
    if (change->kind == EPOCH_GRANT)
        return change->from.region != change->to.region;
    return change->kind == EPOCH_PROMOTE;
}

size_t epoch_change_size(const struct epoch_change *change)
{
    return epoch_change_header_size + change->record.size;
}

void epoch_change_encode(const struct epoch_change *change, uint8_t *to)
{
    ASSERT(change_is_valid(change));
    ASSERT(change->record.size <= limit_promotion_record_size);
    memset(to, 0, epoch_change_header_size);
    to[0] = epoch_change_format;
    to[1] = (uint8_t)change->kind;
    store_u16(to + 2, (uint16_t)change->record.size);
    store_u32(to + 4, change->from.region);
    store_u64(to + 8, change->from.number);
    store_u64(to + 16, change->to.number);
    store_u32(to + 24, change->to.region);
    store_u64(to + 32, change->version);
    store_u64(to + 40, change->chain.low);
    store_u64(to + 48, change->chain.high);
    store_u64(to + 56, change->log_time_ns);
    bytes_copy(to + epoch_change_header_size, change->record);
}

enum status epoch_change_decode(struct bytes from, struct epoch_change *change)
{
    const uint8_t *header = from.data;

    *change = (struct epoch_change){0};
    if (from.size == 0)
        return STATUS_MALFORMED;
    if (header[0] != epoch_change_format)
        return STATUS_UNSUPPORTED;
    if (from.size < epoch_change_header_size)
        return STATUS_MALFORMED;
    size_t record_size = load_u16(header + 2);
    if (record_size > limit_promotion_record_size ||
        from.size != epoch_change_header_size + record_size || load_u32(header + 28) != 0)
        return STATUS_MALFORMED;
    const struct epoch_change decoded = {
        .kind = (enum epoch_change_kind)header[1],
        .from = {.number = load_u64(header + 8), .region = load_u32(header + 4)},
        .to = {.number = load_u64(header + 16), .region = load_u32(header + 24)},
        .version = load_u64(header + 32),
        .chain = {.low = load_u64(header + 40), .high = load_u64(header + 48)},
        .log_time_ns = load_u64(header + 56),
        .record = bytes_of(header + epoch_change_header_size, record_size)};
    if (!change_is_valid(&decoded))
        return STATUS_MALFORMED;
    *change = decoded;
    return STATUS_OK;
}

/* ---- Fences ---- */

static bool fence_is_valid(const struct fence *fence)
{
    return fence->region != 0 && epoch_is_valid(fence->epoch);
}

size_t fence_size(const struct fence *fence)
{
    return fence_header_size + fence->record.size;
}

void fence_encode(const struct fence *fence, uint8_t *to)
{
    ASSERT(fence_is_valid(fence));
    ASSERT(fence->record.size <= limit_promotion_record_size);
    memset(to, 0, fence_header_size);
    to[0] = fence_format;
    store_u16(to + 2, (uint16_t)fence->record.size);
    store_u32(to + 4, fence->region);
    store_u64(to + 8, fence->epoch.number);
    store_u32(to + 16, fence->epoch.region);
    bytes_copy(to + fence_header_size, fence->record);
}

enum status fence_decode(struct bytes from, struct fence *fence)
{
    const uint8_t *header = from.data;

    *fence = (struct fence){0};
    if (from.size == 0)
        return STATUS_MALFORMED;
    if (header[0] != fence_format)
        return STATUS_UNSUPPORTED;
    if (from.size < fence_header_size)
        return STATUS_MALFORMED;
    size_t record_size = load_u16(header + 2);
    if (record_size > limit_promotion_record_size || from.size != fence_header_size + record_size ||
        header[1] != 0 || load_u32(header + 20) != 0)
        return STATUS_MALFORMED;
    const struct fence decoded = {
        .region = load_u32(header + 4),
        .epoch = {.number = load_u64(header + 8), .region = load_u32(header + 16)},
        .record = bytes_of(header + fence_header_size, record_size)};
    if (!fence_is_valid(&decoded))
        return STATUS_MALFORMED;
    *fence = decoded;
    return STATUS_OK;
}

/* ---- Rewinds ---- */

static bool rewind_is_valid(const struct rewind *rewind)
{
    return epoch_is_valid(rewind->from) && epoch_is_valid(rewind->to) &&
           epoch_compare(rewind->from, rewind->to) < 0 && rewind->version != 0;
}

void rewind_encode(const struct rewind *rewind, uint8_t *to)
{
    ASSERT(rewind_is_valid(rewind));
    memset(to, 0, rewind_size);
    to[0] = rewind_format;
    store_u32(to + 4, rewind->to.region);
    store_u64(to + 8, rewind->to.number);
    store_u64(to + 16, rewind->from.number);
    store_u32(to + 24, rewind->from.region);
    store_u64(to + 32, rewind->version);
}

enum status rewind_decode(struct bytes from, struct rewind *rewind)
{
    *rewind = (struct rewind){0};
    if (from.size == 0)
        return STATUS_MALFORMED;
    if (from.data[0] != rewind_format)
        return STATUS_UNSUPPORTED;
    if (from.size != rewind_size || from.data[1] != 0 || load_u16(from.data + 2) != 0 ||
        load_u32(from.data + 28) != 0)
        return STATUS_MALFORMED;
    const struct rewind decoded = {
        .to = {.number = load_u64(from.data + 8), .region = load_u32(from.data + 4)},
        .from = {.number = load_u64(from.data + 16), .region = load_u32(from.data + 24)},
        .version = load_u64(from.data + 32)};
    if (!rewind_is_valid(&decoded))
        return STATUS_MALFORMED;
    *rewind = decoded;
    return STATUS_OK;
}

/* ---- Adoptions ---- */

void adoption_encode(const struct adoption *adoption, uint8_t *to)
{
    ASSERT(epoch_is_valid(adoption->epoch) && adoption->version != 0);
    memset(to, 0, adoption_size);
    to[0] = adoption_format;
    store_u32(to + 4, adoption->epoch.region);
    store_u64(to + 8, adoption->epoch.number);
    store_u64(to + 16, adoption->version);
    store_u64(to + 24, adoption->id.low);
    store_u64(to + 32, adoption->id.high);
}

enum status adoption_decode(struct bytes from, struct adoption *adoption)
{
    *adoption = (struct adoption){0};
    if (from.size == 0)
        return STATUS_MALFORMED;
    if (from.data[0] != adoption_format)
        return STATUS_UNSUPPORTED;
    if (from.size != adoption_size || from.data[1] != 0 || load_u16(from.data + 2) != 0)
        return STATUS_MALFORMED;
    const struct adoption decoded = {
        .epoch = {.number = load_u64(from.data + 8), .region = load_u32(from.data + 4)},
        .version = load_u64(from.data + 16),
        .id = {.low = load_u64(from.data + 24), .high = load_u64(from.data + 32)}};
    if (!epoch_is_valid(decoded.epoch) || decoded.version == 0)
        return STATUS_MALFORMED;
    *adoption = decoded;
    return STATUS_OK;
}
