/* SPDX-License-Identifier: Apache-2.0 */
#include "server/state/keys.h"

#include "proto/base/assert.h"

static void keys_append(struct keys_buffer *buffer, struct bytes bytes)
{
    ASSERT(bytes.size <= sizeof buffer->data - buffer->size);
    bytes_copy(buffer->data + buffer->size, bytes);
    buffer->size += bytes.size;
}

void keys_with_id(struct keys_buffer *buffer, uint32_t id, struct bytes rest)
{
    store_u32_be(buffer->data, id);
    buffer->size = keys_id_size;
    keys_append(buffer, rest);
}

void keys_index_bound(struct keys_buffer *buffer, uint32_t index_id, struct bytes index_key)
{
    ASSERT(index_key.size <= limit_index_key_size);
    store_u32_be(buffer->data, index_id);
    buffer->size = keys_id_size + key_escape(index_key, buffer->data + keys_id_size);
}

void keys_index(struct keys_buffer *buffer, uint32_t index_id, struct bytes index_key,
                struct bytes record_key)
{
    keys_index_bound(buffer, index_id, index_key);
    buffer->size += key_end(buffer->data + buffer->size);
    keys_append(buffer, record_key);
}

void keys_id_end(struct keys_buffer *buffer, uint32_t id)
{
    ASSERT(id != UINT32_MAX);
    store_u32_be(buffer->data, id + 1);
    buffer->size = keys_id_size;
}

void keys_successor(struct keys_buffer *buffer)
{
    keys_append(buffer, bytes_of("", 1));
}

void keys_expiry(struct keys_buffer *buffer, uint64_t due_ms, struct bytes table_and_key)
{
    store_u64_be(buffer->data, due_ms);
    buffer->size = keys_due_size;
    keys_append(buffer, table_and_key);
}

enum status keys_expiry_decode(struct bytes key, uint64_t *due_ms, struct bytes *table_and_key)
{
    *due_ms = 0;
    *table_and_key = (struct bytes){0};
    if (key.size <= keys_due_size + keys_id_size ||
        key.size > keys_due_size + keys_id_size + limit_key_size)
        return STATUS_CORRUPT;
    *due_ms = load_u64_be(key.data);
    *table_and_key = bytes_of(key.data + keys_due_size, key.size - keys_due_size);
    return STATUS_OK;
}

enum status keys_index_decode(struct bytes key, uint8_t *to, struct bytes *index_key,
                              struct bytes *record_key)
{
    size_t size;

    *index_key = (struct bytes){0};
    *record_key = (struct bytes){0};
    if (key.size < keys_id_size || key.size > keys_index_size_max)
        return STATUS_CORRUPT;
    struct bytes rest = bytes_of(key.data + keys_id_size, key.size - keys_id_size);
    if (!key_unescape(rest, to, &size, record_key) || size > limit_index_key_size ||
        record_key->size > limit_key_size)
        return STATUS_CORRUPT;
    *index_key = bytes_of(to, size);
    return STATUS_OK;
}
