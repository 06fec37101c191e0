/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/peer_frame.h"

#include "proto/base/assert.h"

/* ---- The header ---- */

void peer_frame_encode(const struct peer_frame_header *header, uint8_t to[peer_frame_header_size])
{
    ASSERT(header->body_size <= limit_peer_frame_size);
    ASSERT(header->message_offset <= header->message_size);
    memset(to, 0, peer_frame_header_size);
    store_u32(to, header->body_size);
    to[4] = (uint8_t)header->kind;
    to[5] = header->lane;
    store_u32(to + 8, header->message_size);
    store_u32(to + 12, header->message_offset);
}

static enum status message_check(const struct peer_frame_header *header)
{
    uint32_t size = header->body_size;
    if (size > limit_peer_frame_size || header->message_size > limit_peer_message_size)
        return STATUS_TOO_LARGE;
    if (size == 0 || header->lane >= peer_lanes_count ||
        header->message_offset % limit_peer_frame_size != 0 ||
        header->message_offset >= header->message_size ||
        size > header->message_size - header->message_offset)
        return STATUS_MALFORMED;
    bool is_last = size == header->message_size - header->message_offset;
    if (!is_last && size != limit_peer_frame_size)
        return STATUS_MALFORMED;
    /* The lane that may not be split is CONTROL, the first. */
    return header->lane == 0 && header->message_size != size ? STATUS_MALFORMED : STATUS_OK;
}

static enum status header_check(const struct peer_frame_header *header)
{
    uint32_t least = 0;
    uint32_t most = 0;
    switch (header->kind) {
    case PEER_FRAME_HELLO:
        /* A version that is not known may be of another size. */
        least = sizeof(uint32_t);
        most = limit_frame_first_size;
        break;
    case PEER_FRAME_REFUSAL:
        least = sizeof(uint16_t);
        most = peer_refusal_size_max;
        break;
    case PEER_FRAME_KEEP_ALIVE:
        break;
    case PEER_FRAME_MESSAGE:
        return message_check(header);
    default:
        return STATUS_UNSUPPORTED;
    }
    if (header->body_size > most)
        return STATUS_TOO_LARGE;
    if (header->body_size < least || header->lane != 0 || header->message_size != 0 ||
        header->message_offset != 0)
        return STATUS_MALFORMED;
    return STATUS_OK;
}

enum status peer_frame_decode(const uint8_t from[peer_frame_header_size],
                              struct peer_frame_header *header)
{
    *header = (struct peer_frame_header){
        .body_size = load_u32(from),
        .kind = (enum peer_frame_kind)from[4],
        .lane = from[5],
        .message_size = load_u32(from + 8),
        .message_offset = load_u32(from + 12),
    };
    enum status status = header_check(header);
    if (status == STATUS_OK && load_u16(from + 6) != 0)
        status = STATUS_MALFORMED;
    if (status != STATUS_OK)
        *header = (struct peer_frame_header){0};
    return status;
}

/* ---- HELLO ---- */

static uint8_t *put_text(uint8_t *to, uint8_t *size_to, const char *text, size_t size_max)
{
    struct bytes bytes = bytes_of_text(text);
    ASSERT(bytes.size > 0 && bytes.size <= size_max);
    *size_to = (uint8_t)bytes.size;
    memcpy(to, bytes.data, bytes.size);
    return to + bytes.size;
}

size_t peer_hello_encode(const struct peer_hello *hello, uint8_t to[peer_hello_size_max])
{
    ASSERT(hello->member != 0);
    memset(to, 0, peer_hello_fixed_size);
    store_u32(to, peer_protocol_version);
    store_u32(to + 4, hello->cluster_version_min);
    store_u32(to + 8, hello->cluster_version_max);
    store_u32(to + 12, hello->is_probe);
    memcpy(to + 16, hello->cluster_id, peer_cluster_id_size);
    store_u64(to + 32, hello->member);
    store_u64(to + 40, hello->expected);
    uint8_t *text = to + peer_hello_fixed_size;
    text = put_text(text, to + 48, hello->name, limit_member_name_size);
    text = put_text(text, to + 49, hello->peers, limit_member_address_size);
    text = put_text(text, to + 50, hello->clients, limit_member_address_size);
    return (size_t)(text - to);
}

/* Takes a text from the front. */
static bool take_text(struct bytes *from, size_t size, char *to, size_t size_max)
{
    if (size == 0 || size > size_max || size > from->size)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (from->data[i] <= 0x20 || from->data[i] >= 0x7f)
            return false;
    }
    memcpy(to, from->data, size);
    to[size] = 0;
    *from = bytes_of(from->data + size, from->size - size);
    return true;
}

static bool hello_read(struct bytes from, struct peer_hello *hello)
{
    const uint8_t *data = from.data;
    if (from.size < peer_hello_fixed_size)
        return false;
    uint32_t flags = load_u32(data + 12);
    *hello = (struct peer_hello){
        .cluster_version_min = load_u32(data + 4),
        .cluster_version_max = load_u32(data + 8),
        .is_probe = flags == 1,
        .member = load_u64(data + 32),
        .expected = load_u64(data + 40),
    };
    memcpy(hello->cluster_id, data + 16, peer_cluster_id_size);
    static const uint8_t zeros[5];
    if (flags > 1 || hello->member == 0 ||
        hello->cluster_version_min > hello->cluster_version_max ||
        memcmp(data + 51, zeros, sizeof zeros) != 0)
        return false;
    struct bytes texts = bytes_of(data + peer_hello_fixed_size, from.size - peer_hello_fixed_size);
    return take_text(&texts, data[48], hello->name, limit_member_name_size) &&
           take_text(&texts, data[49], hello->peers, limit_member_address_size) &&
           take_text(&texts, data[50], hello->clients, limit_member_address_size) &&
           texts.size == 0;
}

enum status peer_hello_decode(struct bytes from, struct peer_hello *hello)
{
    *hello = (struct peer_hello){0};
    if (from.size < sizeof(uint32_t))
        return STATUS_MALFORMED;
    if (load_u32(from.data) != peer_protocol_version)
        return STATUS_UNSUPPORTED;
    if (hello_read(from, hello))
        return STATUS_OK;
    *hello = (struct peer_hello){0};
    return STATUS_MALFORMED;
}

/* ---- REFUSAL ---- */

static bool is_printable(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x7f;
}

size_t peer_refusal_encode(const struct peer_refusal *refusal, uint8_t to[peer_refusal_size_max])
{
    size_t size = strnlen(refusal->reason, peer_reason_size);
    store_u16(to, (uint16_t)refusal->status);
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)refusal->reason[i];
        to[2 + i] = is_printable(byte) ? byte : '?';
    }
    return 2 + size;
}

enum status peer_refusal_decode(struct bytes from, struct peer_refusal *refusal)
{
    *refusal = (struct peer_refusal){0};
    if (from.size < 2 || from.size > peer_refusal_size_max)
        return STATUS_MALFORMED;
    for (size_t i = 2; i < from.size; i++) {
        if (!is_printable(from.data[i]))
            return STATUS_MALFORMED;
    }
    uint16_t number = load_u16(from.data);
    refusal->status =
        status_is_known(number) && number != STATUS_OK ? (enum status)number : STATUS_INTERNAL;
    memcpy(refusal->reason, from.data + 2, from.size - 2);
    return STATUS_OK;
}
