/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/lsm/transfer.h"

#include <stdlib.h>

#include "proto/base/assert.h"

enum {
    header_magic = 0x52545453, /* "STTR" */
    header_format = 1,
    piece_position_size = 16, /* what the digest covers of the head */
};

/* ---- The header ---- */

static bool manifest_has_tables(const struct manifest *manifest)
{
    for (unsigned t = 0; t < manifest->trees_count; t++)
        for (unsigned level = 0; level < lsm_levels_count; level++)
            if (manifest->trees[t].counts[level] != 0)
                return true;
    return false;
}

enum status transfer_header_encode(const struct transfer_header *header, uint8_t **bytes,
                                   size_t *size)
{
    uint8_t *manifest;
    size_t manifest_size;
    *bytes = NULL;
    *size = 0;
    ASSERT(!manifest_has_tables(&header->manifest));
    enum status status = manifest_encode(&header->manifest, &manifest, &manifest_size);
    if (status != STATUS_OK)
        return status;
    uint8_t *to = malloc(transfer_header_fixed_size + manifest_size);
    if (manifest_size > transfer_header_size_max - transfer_header_fixed_size)
        status = STATUS_TOO_LARGE;
    else if (to == NULL)
        status = STATUS_NO_MEMORY;
    if (status != STATUS_OK) {
        free(to);
        free(manifest);
        return status;
    }
    store_u32(to, header_magic);
    store_u32(to + 4, header_format);
    memcpy(to + 8, header->cluster_id, seal_id_size);
    memcpy(to + 24, header->id, lsm_transfer_id_size);
    store_u32(to + 40, header->tables_count);
    store_u32(to + 44, 0);
    store_u64(to + 48, header->size);
    memcpy(to + transfer_header_fixed_size, manifest, manifest_size);
    free(manifest);
    *bytes = to;
    *size = transfer_header_fixed_size + manifest_size;
    return STATUS_OK;
}

enum status transfer_header_decode(struct bytes from, struct transfer_header *header,
                                   struct error *error)
{
    memset(header, 0, sizeof *header);
    if (from.size < transfer_header_fixed_size || from.size > transfer_header_size_max ||
        load_u32(from.data) != header_magic)
        return error_set(error, STATUS_MALFORMED, "The snapshot does not begin like one.");
    if (load_u32(from.data + 4) != header_format)
        return error_set(error, STATUS_NEWER_FORMAT,
                         "The snapshot's format is %u; this version reads %u.",
                         load_u32(from.data + 4), (unsigned)header_format);
    memcpy(header->cluster_id, from.data + 8, seal_id_size);
    memcpy(header->id, from.data + 24, lsm_transfer_id_size);
    header->tables_count = load_u32(from.data + 40);
    header->size = load_u64(from.data + 48);
    if (load_u32(from.data + 44) != 0 || header->tables_count > transfer_tables_count_max)
        return error_set(error, STATUS_MALFORMED, "The snapshot's header is out of bounds.");
    struct bytes manifest =
        bytes_of(from.data + transfer_header_fixed_size, from.size - transfer_header_fixed_size);
    enum status status = manifest_decode(manifest, &header->manifest, error);
    if (status != STATUS_OK)
        return status;
    if (manifest_has_tables(&header->manifest)) {
        manifest_free(&header->manifest);
        return error_set(error, STATUS_MALFORMED, "The snapshot's header names tables.");
    }
    return STATUS_OK;
}

/* ---- Pieces ---- */

static void digest_move(struct hash128 *digest, const uint8_t *head, struct bytes payload)
{
    uint8_t covered[16 + piece_position_size + 16];
    struct hash128 content = hash128(payload);
    store_u64(covered, digest->low);
    store_u64(covered + 8, digest->high);
    memcpy(covered + 16, head, piece_position_size);
    store_u64(covered + 32, content.low);
    store_u64(covered + 40, content.high);
    *digest = hash128(bytes_of(covered, sizeof covered));
}

void transfer_piece_seal(const struct transfer_piece *piece, struct hash128 *digest, uint8_t *to)
{
    ASSERT(piece->payload.size <= transfer_piece_size_max - transfer_piece_head_size);
    to[0] = (uint8_t)piece->type;
    to[1] = piece->level;
    store_u16(to + 2, piece->tree);
    store_u32(to + 4, piece->position.table);
    store_u32(to + 8, piece->position.chunk);
    store_u32(to + 12, 0);
    digest_move(digest, to, piece->payload);
    store_u64(to + 16, digest->low);
    store_u64(to + 24, digest->high);
}

enum status transfer_piece_decode(struct bytes from, struct transfer_piece *piece)
{
    *piece = (struct transfer_piece){0};
    if (from.size <= transfer_piece_head_size || from.size > transfer_piece_size_max)
        return STATUS_MALFORMED;
    uint8_t type = from.data[0];
    if ((type != TRANSFER_ENTRIES && type != TRANSFER_END) || from.data[1] >= lsm_levels_count ||
        load_u32(from.data + 12) != 0)
        return STATUS_MALFORMED;
    piece->type = type;
    piece->level = from.data[1];
    piece->tree = load_u16(from.data + 2);
    piece->position.table = load_u32(from.data + 4);
    piece->position.chunk = load_u32(from.data + 8);
    piece->digest.low = load_u64(from.data + 16);
    piece->digest.high = load_u64(from.data + 24);
    piece->payload =
        bytes_of(from.data + transfer_piece_head_size, from.size - transfer_piece_head_size);
    return STATUS_OK;
}

bool transfer_piece_holds(const struct transfer_piece *piece, struct bytes bytes,
                          struct hash128 *digest)
{
    struct hash128 moved = *digest;
    digest_move(&moved, bytes.data, piece->payload);
    if (moved.low != piece->digest.low || moved.high != piece->digest.high)
        return false;
    *digest = moved;
    return true;
}

/* ---- Payloads ---- */

size_t transfer_entry_size(const struct lsm_entry *entry)
{
    return transfer_entry_head_size + entry->key.size + entry->value.size;
}

void transfer_entry_encode(uint8_t *to, const struct lsm_entry *entry)
{
    ASSERT(entry->key.size <= lsm_key_size_max && entry->value.size <= lsm_value_size_max);
    store_u16(to, (uint16_t)entry->key.size);
    store_u16(to + 2, 0);
    store_u32(to + 4, (uint32_t)entry->value.size << 1 | (entry->deletion ? 1 : 0));
    store_u64(to + 8, entry->version);
    bytes_copy(to + transfer_entry_head_size, entry->key);
    bytes_copy(to + transfer_entry_head_size + entry->key.size, entry->value);
}

enum status transfer_entry_decode(struct bytes *from, struct lsm_entry *entry)
{
    *entry = (struct lsm_entry){0};
    if (from->size == 0)
        return STATUS_END;
    if (from->size < transfer_entry_head_size)
        return STATUS_MALFORMED;
    size_t key_size = load_u16(from->data);
    size_t value_size = load_u32(from->data + 4) >> 1;
    bool deletion = (load_u32(from->data + 4) & 1) != 0;
    uint64_t version = load_u64(from->data + 8);
    if (load_u16(from->data + 2) != 0 || key_size > lsm_key_size_max ||
        value_size > lsm_value_size_max || (deletion && value_size != 0) ||
        version > lsm_entry_version_max ||
        key_size + value_size > from->size - transfer_entry_head_size)
        return STATUS_MALFORMED;
    const uint8_t *key = from->data + transfer_entry_head_size;
    *entry = (struct lsm_entry){.key = bytes_of(key, key_size),
                                .version = version,
                                .deletion = deletion,
                                .value = bytes_of(key + key_size, value_size)};
    size_t size = transfer_entry_size(entry);
    *from = bytes_of(from->data + size, from->size - size);
    return STATUS_OK;
}

void transfer_end_encode(uint8_t to[transfer_end_size], const struct table_info *info)
{
    store_u64(to, info->entries_count);
    store_u64(to + 8, info->tombstones_count);
    store_u64(to + 16, info->version_min);
    store_u64(to + 24, info->version_max);
}

enum status transfer_end_decode(struct bytes from, struct transfer_end *end)
{
    *end = (struct transfer_end){0};
    if (from.size != transfer_end_size)
        return STATUS_MALFORMED;
    end->entries_count = load_u64(from.data);
    end->tombstones_count = load_u64(from.data + 8);
    end->version_min = load_u64(from.data + 16);
    end->version_max = load_u64(from.data + 24);
    return STATUS_OK;
}
