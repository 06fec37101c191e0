/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/peer.h"

#include "proto/base/assert.h"

_Static_assert((size_t)peer_raft_size + peer_entry_header_size + peer_entry_size_max <=
                   limit_peer_message_size,
               "a message has room for the largest entry");
_Static_assert(peer_header_size + peer_places_max * peer_place_size <= limit_peer_frame_size,
               "an ask may overtake entries");

bool peer_kind_is_raft(uint8_t kind)
{
    return kind >= PEER_PREVOTE && kind <= PEER_TIMEOUT_NOW;
}

bool peer_kind_is_owned(uint8_t kind)
{
    return kind >= PEER_SNAPSHOT_FIRST && kind <= PEER_SHARED;
}

size_t peer_size(uint8_t kind)
{
    if (peer_kind_is_raft(kind))
        return peer_raft_size;
    return kind == PEER_MEND_ANSWER ? peer_answer_size : peer_header_size;
}

void peer_encode(const struct peer_message *message, uint8_t *to)
{
    uint8_t kind = message->kind;
    ASSERT(peer_kind_is_raft(kind) || peer_kind_is_owned(kind) || kind == PEER_MEND_ASK ||
           kind == PEER_MEND_ANSWER);
    ASSERT(message->count <= (kind == PEER_APPEND     ? peer_entries_max
                              : kind == PEER_MEND_ASK ? peer_places_max
                                                      : 0U));
    memset(to, 0, peer_size(kind));
    to[0] = peer_format;
    to[1] = kind;
    store_u32(to + 4, message->count);
    store_u64(to + 8, message->from);
    store_u64(to + 16, message->to);
    if (kind == PEER_MEND_ANSWER) {
        to[2] = (uint8_t)message->mend;
        store_u64(to + 24, message->mark.index);
        store_u64(to + 32, message->mark.term);
        store_u64(to + 40, message->term);
    } else if (peer_kind_is_raft(kind)) {
        to[2] = (uint8_t)((message->reject ? PEER_REJECT : 0) |
                          (message->transfer ? PEER_TRANSFER : 0));
        store_u64(to + 24, message->term);
        store_u64(to + 32, message->mark.index);
        store_u64(to + 40, message->mark.term);
        store_u64(to + 48, message->commit);
        store_u64(to + 56, message->round);
    }
}

void peer_entry_encode(uint64_t term, size_t size, uint8_t to[peer_entry_header_size])
{
    ASSERT(size <= peer_entry_size_max);
    store_u64(to, term);
    store_u32(to + 8, (uint32_t)size);
}

void peer_place_encode(struct peer_place place, uint8_t to[peer_place_size])
{
    store_u64(to, place.index);
    store_u64(to + 8, place.term);
}

/* What a decoder knows is there. */
static struct bytes skip(struct bytes from, size_t size)
{
    return bytes_of(from.data + size, from.size - size);
}

bool peer_entry_next(struct bytes *rest, struct peer_entry *entry)
{
    if (rest->size < peer_entry_header_size)
        return false;
    size_t size = load_u32(rest->data + 8);
    if (size > peer_entry_size_max || size > rest->size - peer_entry_header_size)
        return false;
    entry->term = load_u64(rest->data);
    entry->bytes = bytes_of(rest->data + peer_entry_header_size, size);
    *rest = skip(*rest, peer_entry_header_size + size);
    return true;
}

bool peer_place_next(struct bytes *rest, struct peer_place *place)
{
    if (rest->size < peer_place_size)
        return false;
    place->index = load_u64(rest->data);
    place->term = load_u64(rest->data + 8);
    *rest = skip(*rest, peer_place_size);
    return true;
}

static bool entries_are_whole(struct bytes rest, unsigned count)
{
    struct peer_entry entry;
    if (count > peer_entries_max)
        return false;
    for (unsigned i = 0; i < count; i++) {
        if (!peer_entry_next(&rest, &entry))
            return false;
    }
    return rest.size == 0;
}

static bool raft_decode(const uint8_t *header, struct peer_message *message)
{
    const uint8_t all = PEER_REJECT | PEER_TRANSFER;
    message->reject = (header[2] & PEER_REJECT) != 0;
    message->transfer = (header[2] & PEER_TRANSFER) != 0;
    message->term = load_u64(header + 24);
    message->mark = (struct peer_place){load_u64(header + 32), load_u64(header + 40)};
    message->commit = load_u64(header + 48);
    message->round = load_u64(header + 56);
    return (header[2] & ~all) == 0 && (message->kind == PEER_APPEND || message->count == 0) &&
           entries_are_whole(message->rest, message->count);
}

static bool answer_decode(const uint8_t *header, struct peer_message *message)
{
    message->mend = (enum peer_mend)header[2];
    message->mark = (struct peer_place){load_u64(header + 24), load_u64(header + 32)};
    message->term = load_u64(header + 40);
    return header[2] >= PEER_MEND_HAVE && header[2] <= PEER_MEND_END && message->count == 0 &&
           message->rest.size <= peer_entry_size_max &&
           (message->mend == PEER_MEND_HAVE || message->rest.size == 0);
}

static bool parts_decode(const uint8_t *header, struct peer_message *message)
{
    if (peer_kind_is_raft(message->kind))
        return raft_decode(header, message);
    if (message->kind == PEER_MEND_ANSWER)
        return answer_decode(header, message);
    if (header[2] != 0)
        return false;
    if (message->kind == PEER_MEND_ASK)
        return message->count <= peer_places_max &&
               message->rest.size == (size_t)message->count * peer_place_size;
    return message->count == 0;
}

enum status peer_decode(struct bytes from, struct peer_message *message)
{
    *message = (struct peer_message){0};
    if (from.size > limit_peer_message_size)
        return STATUS_TOO_LARGE;
    if (from.size < peer_header_size)
        return STATUS_MALFORMED;
    const uint8_t *header = from.data;
    uint8_t kind = header[1];
    if (header[0] != peer_format || (!peer_kind_is_raft(kind) && !peer_kind_is_owned(kind) &&
                                     kind != PEER_MEND_ASK && kind != PEER_MEND_ANSWER))
        return STATUS_UNSUPPORTED;
    if (from.size < peer_size(kind) || header[3] != 0)
        return STATUS_MALFORMED;
    message->kind = kind;
    message->count = load_u32(header + 4);
    message->from = load_u64(header + 8);
    message->to = load_u64(header + 16);
    message->rest = skip(from, peer_size(kind));
    if (!parts_decode(header, message)) {
        *message = (struct peer_message){0};
        return STATUS_MALFORMED;
    }
    return STATUS_OK;
}
