/* SPDX-License-Identifier: Apache-2.0 */
#include "server/net/peer_stream.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "replication/bus.h"

_Static_assert(BUS_CONTROL == 0 && BUS_BULK == 1 && peer_lanes_count == 2,
               "the frame's grammar knows these lanes");

void peer_stream_close(struct peer_stream *stream)
{
    free(stream->part);
    free(stream->message);
    free(stream->given);
    *stream = (struct peer_stream){0};
}

static void input_skip(struct bytes *input, size_t size)
{
    if (size != 0)
        *input = bytes_of(input->data + size, input->size - size);
}

/* ---- The header ---- */

static bool is_split(const struct peer_frame_header *frame)
{
    return frame->kind == PEER_FRAME_MESSAGE && frame->body_size != frame->message_size;
}

/* Of a split message each frame continues the one before; no other message of BULK comes between.
 */
static enum status begin_body(struct peer_stream *stream)
{
    const struct peer_frame_header *frame = &stream->frame;
    bool is_greeting = frame->kind == PEER_FRAME_HELLO || frame->kind == PEER_FRAME_REFUSAL;
    bool is_bulk = frame->kind == PEER_FRAME_MESSAGE && frame->lane == BUS_BULK;
    if (!stream->is_greeted && !is_greeting)
        return STATUS_MALFORMED;
    stream->in_body = true;
    stream->body_filled = 0;
    if (!is_bulk)
        return STATUS_OK;
    if (stream->message == NULL && frame->message_offset != 0)
        return STATUS_MALFORMED;
    if (stream->message != NULL)
        return frame->message_size == stream->message_size &&
                       frame->message_offset == stream->message_filled
                   ? STATUS_OK
                   : STATUS_MALFORMED;
    if (!is_split(frame))
        return STATUS_OK;
    stream->message = malloc(frame->message_size);
    if (stream->message == NULL)
        return STATUS_NO_MEMORY;
    stream->message_size = frame->message_size;
    stream->message_filled = 0;
    return STATUS_OK;
}

/* AGAIN where the header is not whole yet. */
static enum status take_header(struct peer_stream *stream, struct bytes *input)
{
    size_t wanted = peer_frame_header_size - stream->header_filled;
    size_t taken = input->size < wanted ? input->size : wanted;
    bytes_copy(stream->header + stream->header_filled, bytes_of(input->data, taken));
    stream->header_filled += taken;
    input_skip(input, taken);
    if (stream->header_filled < peer_frame_header_size)
        return STATUS_AGAIN;
    stream->header_filled = 0;
    enum status status = peer_frame_decode(stream->header, &stream->frame);
    return status == STATUS_OK ? begin_body(stream) : status;
}

/* ---- The body ---- */

static void finish(struct peer_stream *stream, struct bytes body, struct peer_item *item)
{
    stream->in_body = false;
    *item =
        (struct peer_item){.kind = stream->frame.kind, .lane = stream->frame.lane, .body = body};
}

/* A frame that belongs to no split message: as it lies, where it lies whole. */
static enum status take_plain(struct peer_stream *stream, struct bytes *input,
                              struct peer_item *item)
{
    uint32_t size = stream->frame.body_size;
    if (stream->part == NULL && input->size >= size) {
        finish(stream, bytes_of(input->data, size), item);
        input_skip(input, size);
        return STATUS_OK;
    }
    if (input->size == 0)
        return STATUS_AGAIN;
    if (stream->part == NULL && (stream->part = malloc(size)) == NULL)
        return STATUS_NO_MEMORY;
    size_t wanted = size - stream->body_filled;
    size_t taken = input->size < wanted ? input->size : wanted;
    memcpy(stream->part + stream->body_filled, input->data, taken);
    stream->body_filled += (uint32_t)taken;
    input_skip(input, taken);
    if (stream->body_filled < size)
        return STATUS_AGAIN;
    stream->given = stream->part;
    stream->part = NULL;
    finish(stream, bytes_of(stream->given, size), item);
    return STATUS_OK;
}

/* OK only with the message's last byte; AGAIN also at a frame's end. */
static enum status take_split(struct peer_stream *stream, struct bytes *input,
                              struct peer_item *item)
{
    size_t wanted = stream->frame.body_size - stream->body_filled;
    size_t taken = input->size < wanted ? input->size : wanted;
    bytes_copy(stream->message + stream->message_filled + stream->body_filled,
               bytes_of(input->data, taken));
    stream->body_filled += (uint32_t)taken;
    input_skip(input, taken);
    if (stream->body_filled < stream->frame.body_size)
        return STATUS_AGAIN;
    stream->message_filled += stream->body_filled;
    stream->in_body = false;
    if (stream->message_filled < stream->message_size)
        return STATUS_AGAIN;
    stream->given = stream->message;
    stream->message = NULL;
    finish(stream, bytes_of(stream->given, stream->message_size), item);
    return STATUS_OK;
}

enum status peer_stream_take(struct peer_stream *stream, struct bytes *input,
                             struct peer_item *item)
{
    *item = (struct peer_item){0};
    free(stream->given);
    stream->given = NULL;
    do {
        enum status status = stream->in_body ? STATUS_OK : take_header(stream, input);
        if (status != STATUS_OK)
            return status;
        status = is_split(&stream->frame) ? take_split(stream, input, item)
                                          : take_plain(stream, input, item);
        if (status != STATUS_AGAIN)
            return status;
    } while (input->size > 0);
    return STATUS_AGAIN;
}

uint8_t *peer_stream_space(struct peer_stream *stream, size_t *size)
{
    *size = 0;
    if (!stream->in_body || !is_split(&stream->frame))
        return NULL;
    *size = stream->frame.body_size - stream->body_filled;
    return stream->message + stream->message_filled + stream->body_filled;
}

void peer_stream_filled(struct peer_stream *stream, size_t size)
{
    ASSERT(stream->in_body && size <= stream->frame.body_size - stream->body_filled);
    stream->body_filled += (uint32_t)size;
}
