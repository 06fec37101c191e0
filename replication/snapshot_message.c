/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/snapshot_message.h"

void snapshot_offer_encode(const struct snapshot_offer *offer, uint8_t to[snapshot_offer_head_size])
{
    store_u64(to, offer->session);
    store_u64(to + 8, offer->term);
    store_u32(to + 16, offer->attempt);
    store_u32(to + 20, 0);
}

enum status snapshot_offer_decode(struct bytes from, struct snapshot_offer *offer)
{
    *offer = (struct snapshot_offer){0};
    if (from.size <= snapshot_offer_head_size || load_u32(from.data + 20) != 0)
        return STATUS_MALFORMED;
    offer->session = load_u64(from.data);
    offer->term = load_u64(from.data + 8);
    offer->attempt = load_u32(from.data + 16);
    offer->header =
        bytes_of(from.data + snapshot_offer_head_size, from.size - snapshot_offer_head_size);
    return STATUS_OK;
}

void snapshot_piece_encode(const struct snapshot_piece *piece, uint8_t to[snapshot_piece_head_size])
{
    store_u64(to, piece->session);
    store_u32(to + 8, piece->attempt);
    store_u32(to + 12, 0);
}

enum status snapshot_piece_decode(struct bytes from, struct snapshot_piece *piece)
{
    *piece = (struct snapshot_piece){0};
    if (from.size <= snapshot_piece_head_size || load_u32(from.data + 12) != 0)
        return STATUS_MALFORMED;
    piece->session = load_u64(from.data);
    piece->attempt = load_u32(from.data + 8);
    piece->piece =
        bytes_of(from.data + snapshot_piece_head_size, from.size - snapshot_piece_head_size);
    return STATUS_OK;
}

void snapshot_answer_encode(const struct snapshot_answer *answer, uint8_t to[snapshot_answer_size])
{
    store_u64(to, answer->session);
    store_u32(to + 8, answer->attempt);
    to[12] = (uint8_t)answer->state;
    to[13] = (uint8_t)answer->status;
    store_u16(to + 14, answer->queued_count);
    store_u32(to + 16, answer->position.table);
    store_u32(to + 20, answer->position.chunk);
    store_u64(to + 24, answer->written_size);
}

enum status snapshot_answer_decode(struct bytes from, struct snapshot_answer *answer)
{
    *answer = (struct snapshot_answer){0};
    if (from.size != snapshot_answer_size)
        return STATUS_MALFORMED;
    uint8_t state = from.data[12];
    if (state < SNAPSHOT_AT || state > SNAPSHOT_REFUSED)
        return STATUS_MALFORMED;
    answer->session = load_u64(from.data);
    answer->attempt = load_u32(from.data + 8);
    answer->state = state;
    /* A newer version's reason is as good as none of ours. */
    answer->status = status_is_known(from.data[13]) ? (enum status)from.data[13] : STATUS_INTERNAL;
    answer->queued_count = load_u16(from.data + 14);
    answer->position.table = load_u32(from.data + 16);
    answer->position.chunk = load_u32(from.data + 20);
    answer->written_size = load_u64(from.data + 24);
    return STATUS_OK;
}

enum status snapshot_stop_decode(struct bytes from, uint64_t *session)
{
    *session = 0;
    if (from.size != snapshot_stop_size)
        return STATUS_MALFORMED;
    *session = load_u64(from.data);
    return STATUS_OK;
}

enum status snapshot_want_decode(struct bytes from, uint64_t *index)
{
    *index = 0;
    if (from.size != snapshot_want_size)
        return STATUS_MALFORMED;
    *index = load_u64(from.data);
    return STATUS_OK;
}
