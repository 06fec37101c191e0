/* SPDX-License-Identifier: Apache-2.0 */
/* The stream of a peer. The input's first byte says whether it was greeted, the second how the rest
 * is cut into parts. Whatever comes: no item is past its bounds, what decodes encodes to the same
 * bytes, and however the stream is cut, it gives the same items and ends the same way. */
#include <stdlib.h>

#include "proto/base/assert.h"
#include "server/net/peer_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_hello(struct bytes body)
{
    struct peer_hello hello;
    uint8_t encoded[peer_hello_size_max];
    if (peer_hello_decode(body, &hello) != STATUS_OK)
        return;
    ASSERT(hello.member != 0 && hello.cluster_version_min <= hello.cluster_version_max);
    size_t size = peer_hello_encode(&hello, encoded);
    ASSERT(bytes_equal(body, bytes_of(encoded, size)));
}

static void check_refusal(struct bytes body)
{
    struct peer_refusal refusal;
    uint8_t encoded[peer_refusal_size_max];
    if (peer_refusal_decode(body, &refusal) != STATUS_OK)
        return;
    ASSERT(refusal.status != STATUS_OK && strlen(refusal.reason) == body.size - 2);
    size_t size = peer_refusal_encode(&refusal, encoded);
    ASSERT(size == body.size && memcmp(encoded + 2, body.data + 2, size - 2) == 0);
}

struct outcome {
    enum status status;
    unsigned items_count;
    uint64_t sum; /* of the items' bytes, by place */
};

static void take_item(struct outcome *outcome, const struct peer_item *item, bool is_greeted)
{
    ASSERT(is_greeted || item->kind == PEER_FRAME_HELLO || item->kind == PEER_FRAME_REFUSAL);
    if (item->kind == PEER_FRAME_HELLO)
        check_hello(item->body);
    else if (item->kind == PEER_FRAME_REFUSAL)
        check_refusal(item->body);
    else if (item->kind == PEER_FRAME_MESSAGE)
        ASSERT(item->body.size > 0 && item->body.size <= limit_peer_message_size &&
               (item->lane == 1 || item->body.size <= limit_peer_frame_size));
    else
        ASSERT(item->kind == PEER_FRAME_KEEP_ALIVE && item->body.size == 0);
    for (size_t i = 0; i < item->body.size; i++)
        outcome->sum = outcome->sum * 31 + item->body.data[i];
    outcome->sum = outcome->sum * 31 + (uint64_t)item->kind * 2 + item->lane;
    outcome->items_count++;
}

static struct outcome run(struct bytes wire, size_t part_size, bool is_greeted, bool direct)
{
    struct peer_stream stream = {.is_greeted = is_greeted};
    struct outcome outcome = {.status = STATUS_AGAIN};
    struct peer_item item;
    for (size_t read = 0; read < wire.size && outcome.status == STATUS_AGAIN;) {
        size_t part = part_size < wire.size - read ? part_size : wire.size - read;
        size_t space;
        struct bytes input = bytes_of(wire.data + read, part);
        uint8_t *to = peer_stream_space(&stream, &space);
        if (direct && to != NULL) {
            part = part < space ? part : space;
            memcpy(to, wire.data + read, part);
            peer_stream_filled(&stream, part);
            input = (struct bytes){0};
        }
        while ((outcome.status = peer_stream_take(&stream, &input, &item)) == STATUS_OK)
            take_item(&outcome, &item, is_greeted);
        read += part;
    }
    ASSERT(outcome.status != STATUS_NO_MEMORY && outcome.status != STATUS_END);
    peer_stream_close(&stream);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct peer_frame_header header;
    uint8_t encoded[peer_frame_header_size];
    if (size >= peer_frame_header_size && peer_frame_decode(data, &header) == STATUS_OK) {
        peer_frame_encode(&header, encoded);
        ASSERT(memcmp(encoded, data, sizeof encoded) == 0);
    }
    check_hello(bytes_of(data, size));
    check_refusal(bytes_of(data, size));
    if (size < 2)
        return 0;
    bool is_greeted = (data[0] & 1) != 0;
    size_t part_size = 1 + data[1];
    struct bytes wire = bytes_of(data + 2, size - 2);
    struct outcome whole = run(wire, wire.size + 1, is_greeted, false);
    struct outcome parts = run(wire, part_size, is_greeted, (data[0] & 2) != 0);
    ASSERT(whole.status == parts.status && whole.items_count == parts.items_count &&
           whole.sum == parts.sum);
    return 0;
}
