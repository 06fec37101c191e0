/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/region/batch.h"

#include <lz4.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/epoch.h"

enum {
    size_field = 4,
    /* LZ4 makes at most this many bytes out of one. */
    expansion_max = 255,
};

_Static_assert(batch_size_max <= LZ4_MAX_INPUT_SIZE, "one block holds a batch");
_Static_assert(batch_size_max + batch_size_max / expansion_max + 4096 <= limit_frame_size,
               "a reply holds a batch that cannot be compressed");
_Static_assert((int)batch_size_asked_max <= (int)batch_size_max, "what is asked for fits");

/* ---- Writing ---- */

enum status batch_init(struct batch *batch)
{
    *batch = (struct batch){.raw = malloc(batch_size_max)};
    return batch->raw == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

void batch_free(struct batch *batch)
{
    free(batch->raw);
    *batch = (struct batch){0};
}

void batch_clear(struct batch *batch)
{
    batch->size = 0;
    batch->count = 0;
}

bool batch_add(struct batch *batch, struct bytes entry, size_t size_max)
{
    size_t size = size_field + entry.size;
    ASSERT(entry.size <= batch_entry_size_max);
    if (batch->count > 0 && (batch->size + size > size_max || batch->size + size > batch_size_max))
        return false;
    store_u32(batch->raw + batch->size, (uint32_t)entry.size);
    bytes_copy(batch->raw + batch->size + size_field, entry);
    batch->size += size;
    batch->count++;
    return true;
}

size_t batch_block_size_max(size_t raw_size)
{
    return (size_t)LZ4_compressBound((int)raw_size);
}

size_t batch_compress(const struct batch *batch, uint8_t *to, size_t to_size)
{
    ASSERT(batch->count > 0 && to_size >= batch_block_size_max(batch->size));
    int size =
        LZ4_compress_default((const char *)batch->raw, (char *)to, (int)batch->size, (int)to_size);
    ASSERT(size > 0);
    return (size_t)size;
}

/* ---- Reading ---- */

void batch_successor_init(struct batch_successor *successor, const struct region_position *position)
{
    /* The position may be that of the end of an epoch, as it is before a grant, or after it. */
    *successor = (struct batch_successor){
        .epoch = position->epoch, .version = position->version, .may_rise = position->version == 0};
}

enum status batch_successor_take(struct batch_successor *successor, const struct entry *entry)
{
    const struct epoch epoch = {entry->epoch_number, entry->epoch_region};
    int order = epoch_compare(epoch, successor->epoch);

    if (!entry_kind_is_shared(entry->kind) || entry->version - 1 != successor->version)
        return STATUS_MALFORMED;
    if (order < 0 || (order > 0 && !successor->may_rise && entry->kind != ENTRY_EPOCH))
        return STATUS_MALFORMED;
    successor->epoch = epoch;
    successor->version = entry->version;
    successor->may_rise = entry->kind == ENTRY_EPOCH;
    return STATUS_OK;
}

bool batch_epoch_begun(const struct entry *entry, struct epoch *epoch)
{
    struct epoch_change change;

    *epoch = (struct epoch){0};
    if (entry->kind != ENTRY_EPOCH || epoch_change_decode(entry->body, &change) != STATUS_OK)
        return false;
    *epoch = (struct epoch){change.to.number, change.to.region};
    return true;
}

enum status batch_open(struct bytes block, size_t raw_size, uint8_t **raw)
{
    *raw = NULL;
    if (raw_size > batch_size_max || block.size > batch_block_size_max(batch_size_max))
        return STATUS_TOO_LARGE;
    if (raw_size == 0 || block.size == 0 || raw_size / expansion_max > block.size)
        return STATUS_MALFORMED;
    uint8_t *to = malloc(raw_size);
    if (to == NULL)
        return STATUS_NO_MEMORY;
    int size =
        LZ4_decompress_safe((const char *)block.data, (char *)to, (int)block.size, (int)raw_size);
    if (size < 0 || (size_t)size != raw_size) {
        free(to);
        return STATUS_MALFORMED;
    }
    *raw = to;
    return STATUS_OK;
}

enum status batch_next(struct bytes *rest, struct bytes *bytes, struct entry *entry)
{
    *bytes = (struct bytes){0};
    *entry = (struct entry){0};
    if (rest->size == 0)
        return STATUS_END;
    if (rest->size < size_field)
        return STATUS_MALFORMED;
    size_t size = load_u32(rest->data);
    if (size > rest->size - size_field)
        return STATUS_MALFORMED;
    *bytes = bytes_of(rest->data + size_field, size);
    *rest = bytes_of(rest->data + size_field + size, rest->size - size_field - size);
    enum status status = entry_decode(*bytes, entry);
    if (status == STATUS_OK && !entry_kind_is_shared(entry->kind))
        status = STATUS_MALFORMED;
    return status;
}
