/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of a snapshot: what is taken is within its bounds, and encodes to the same bytes. */
#include "proto/base/assert.h"
#include "replication/snapshot_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes from = bytes_of(data, size);
    struct snapshot_offer offer;
    struct snapshot_piece piece;
    struct snapshot_answer answer;
    uint64_t session;
    uint8_t head[snapshot_answer_size];
    if (snapshot_offer_decode(from, &offer) == STATUS_OK) {
        snapshot_offer_encode(&offer, head);
        ASSERT(memcmp(head, data, snapshot_offer_head_size) == 0);
        ASSERT(offer.header.size == size - snapshot_offer_head_size);
    }
    if (snapshot_piece_decode(from, &piece) == STATUS_OK) {
        snapshot_piece_encode(&piece, head);
        ASSERT(memcmp(head, data, snapshot_piece_head_size) == 0);
        ASSERT(piece.piece.size == size - snapshot_piece_head_size);
    }
    if (snapshot_answer_decode(from, &answer) == STATUS_OK) {
        snapshot_answer_encode(&answer, head);
        if (status_is_known(data[13]))
            ASSERT(memcmp(head, data, size) == 0);
    }
    if (snapshot_stop_decode(from, &session) == STATUS_OK)
        ASSERT(load_u64(data) == session);
    uint64_t index;
    if (snapshot_want_decode(from, &index) == STATUS_OK)
        ASSERT(load_u64(data) == index && size == snapshot_want_size);
    return 0;
}
