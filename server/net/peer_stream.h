/* SPDX-License-Identifier: Apache-2.0 */
/* The plain bytes of a peer into whole frames and whole messages. Pure: bytes in, items out.
 *
 * What lies whole in the input is given as it lies; only what comes in parts is put together in
 * memory of the stream's: a frame of at most limit_peer_frame_size that was cut by the end of the
 * input, and one message of BULK, of at most limit_peer_message_size, whose size is known, and
 * taken from memory, with its first frame. Between items it holds no memory. */
#ifndef SERVER_NET_PEER_STREAM_H
#define SERVER_NET_PEER_STREAM_H

#include "proto/peer_frame.h"

struct peer_stream {
    uint8_t header[peer_frame_header_size];
    size_t header_filled;
    bool is_greeted; /* the caller's: until it is set, HELLO and REFUSAL alone are permitted */
    bool in_body;    /* `frame` is read, its body not yet */
    struct peer_frame_header frame;
    uint32_t body_filled;
    uint8_t *part;    /* a frame's body, but one of BULK that was split; or NULL */
    uint8_t *message; /* of BULK; or NULL */
    uint32_t message_size;
    uint32_t message_filled; /* by whole frames */
    uint8_t *given;          /* what the last item lies in, freed with the next call; or NULL */
};

/* A frame, or of a MESSAGE the whole of it. */
struct peer_item {
    enum peer_frame_kind kind;
    uint8_t lane;
    struct bytes body; /* valid until the next call, and as long as the input */
};

/* All zero is a new stream: of somebody who was not greeted yet, from whom nothing larger than
 * limit_frame_first_size is taken. */
void peer_stream_close(struct peer_stream *stream);

/* Takes bytes from the front of `input`. OK: an item, and there may be more. AGAIN: all was taken,
 * and no item is whole. MALFORMED, TOO_LARGE, UNSUPPORTED: the stream is broken for good.
 * NO_MEMORY: the same. */
MUST_CHECK enum status peer_stream_take(struct peer_stream *stream, struct bytes *input,
                                        struct peer_item *item);

/* Where the next bytes may be read to directly, to spare a copy: within a message of BULK; else
 * NULL. peer_stream_filled() says how many were; then peer_stream_take(), perhaps with no input. */
uint8_t *peer_stream_space(struct peer_stream *stream, size_t *size);
void peer_stream_filled(struct peer_stream *stream, size_t size);

#endif
