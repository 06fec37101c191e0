/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/entry.h"

#include "proto/base/assert.h"
#include "proto/limits.h"

size_t entry_size(const struct entry *entry)
{
    return entry_header_size + entry->identity.size + entry->body.size;
}

void entry_encode(const struct entry *entry, uint8_t *to)
{
    ASSERT(entry->identity.size <= limit_identity_size);
    ASSERT(entry->body.size <= limit_txn_size);
    ASSERT(entry_kind_is_shared(entry->kind) == (entry->version != 0));
    memset(to, 0, entry_header_size);
    to[0] = entry_format;
    to[1] = (uint8_t)entry->kind;
    to[2] = (uint8_t)entry->identity.size;
    store_u32(to + 4, (uint32_t)entry->body.size);
    store_u64(to + 8, entry->epoch_number);
    store_u32(to + 16, entry->epoch_region);
    store_u64(to + 24, entry->log_time_ns);
    store_u64(to + 32, entry->version);
    bytes_copy(to + entry_header_size, entry->identity);
    bytes_copy(to + entry_header_size + entry->identity.size, entry->body);
}

static bool kind_is_known(uint8_t kind)
{
    return kind == ENTRY_NOOP || kind == ENTRY_MEMBERSHIP || kind == ENTRY_FENCE ||
           kind == ENTRY_REWIND || kind == ENTRY_LOST || kind == ENTRY_ADOPT ||
           kind == ENTRY_COMMIT || kind == ENTRY_TICK || kind == ENTRY_REGIONS ||
           kind == ENTRY_EPOCH || kind == ENTRY_VERSION;
}

enum status entry_header_decode(struct bytes from, struct entry *entry, size_t *size)
{
    *entry = (struct entry){0};
    *size = 0;
    if (from.size < entry_header_size)
        return STATUS_MALFORMED;
    const uint8_t *header = from.data;
    if (header[0] != entry_format)
        return STATUS_UNSUPPORTED;
    size_t identity_size = header[2];
    size_t body_size = load_u32(header + 4);
    if (identity_size > limit_identity_size || body_size > limit_txn_size || header[3] != 0 ||
        load_u32(header + 20) != 0)
        return STATUS_MALFORMED;
    if (!kind_is_known(header[1]))
        return STATUS_UNSUPPORTED;
    entry->kind = (enum entry_kind)header[1];
    entry->version = load_u64(header + 32);
    if (entry_kind_is_shared(entry->kind) != (entry->version != 0))
        return STATUS_MALFORMED;
    entry->epoch_number = load_u64(header + 8);
    entry->epoch_region = load_u32(header + 16);
    entry->log_time_ns = load_u64(header + 24);
    *size = entry_header_size + identity_size + body_size;
    return STATUS_OK;
}

enum status entry_decode(struct bytes from, struct entry *entry)
{
    size_t size;
    enum status status = entry_header_decode(from, entry, &size);
    if (status == STATUS_OK && size != from.size) {
        *entry = (struct entry){0};
        status = STATUS_MALFORMED;
    }
    if (status != STATUS_OK)
        return status;
    size_t identity_size = from.data[2];
    entry->identity = bytes_of(from.data + entry_header_size, identity_size);
    entry->body = bytes_of(from.data + entry_header_size + identity_size,
                           size - entry_header_size - identity_size);
    return STATUS_OK;
}
