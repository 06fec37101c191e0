/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between members: what decodes can be walked to its end and encodes to the same bytes. */
#include "proto/base/assert.h"
#include "proto/peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Compares `size` bytes with what the input has at `*at`, and goes on behind them. */
static void expect(const uint8_t *data, size_t *at, const uint8_t *bytes, size_t size)
{
    ASSERT(size == 0 || memcmp(data + *at, bytes, size) == 0);
    *at += size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct peer_message message;
    struct peer_entry entry;
    struct peer_place place;
    uint8_t encoded[peer_raft_size];
    size_t at = 0;
    unsigned count = 0;

    if (peer_decode(bytes_of(data, size), &message) != STATUS_OK)
        return 0;
    peer_encode(&message, encoded);
    expect(data, &at, encoded, peer_size(message.kind));
    if (message.kind == PEER_APPEND) {
        for (struct bytes rest = message.rest; peer_entry_next(&rest, &entry); count++) {
            ASSERT(entry.bytes.size <= peer_entry_size_max);
            peer_entry_encode(entry.term, entry.bytes.size, encoded);
            expect(data, &at, encoded, peer_entry_header_size);
            expect(data, &at, entry.bytes.data, entry.bytes.size);
        }
    } else if (message.kind == PEER_MEND_ASK) {
        for (struct bytes rest = message.rest; peer_place_next(&rest, &place); count++) {
            peer_place_encode(place, encoded);
            expect(data, &at, encoded, peer_place_size);
        }
    } else {
        at += message.rest.size;
    }
    ASSERT(count == message.count && at == size);
    return 0;
}
