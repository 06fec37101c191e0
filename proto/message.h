/* SPDX-License-Identifier: Apache-2.0 */
/* Messages out of and into bytes, within an arena.
 *
 * protobuf-c allocates piece by piece, and empty submessages and unknown fields cost it 45 to 60
 * times their size on the wire; so the bytes are checked before anything is allocated, and decoding
 * allocates from an arena with a budget and a count.
 *
 * What is promised of a decoded message: texts are UTF-8 and end where they end on the wire; no
 * field that may stand once stood twice; a repeated field has at most limit_decode_elements_count
 * elements. Numbers of enumerations are not checked, and a message that may be absent is NULL. */
#ifndef PROTO_MESSAGE_H
#define PROTO_MESSAGE_H

#include <protobuf-c/protobuf-c.h>

#include "proto/base/arena.h"
#include "proto/base/status.h"

/* Prepares an arena for decoding a body of `body_size` bytes: limit_decode_factor times that and
 * limit_decode_base_size, at most limit_decode_size. That is a bound: memory is taken as decoding
 * asks for it. The arena is initialised here, and freed by its owner. */
void message_arena_init(struct arena *arena, size_t body_size);

/* `*message` lives in the arena, and refers to nothing of `body`. MALFORMED where the bytes are no
 * such message or want more than the arena's budget; where `strict`, also where any part of it
 * holds an unknown field: a server must not run half of what a newer client asked for, while a
 * client may pass over what a newer server says more. Where not `strict`, bytes fields that are not
 * empty are followed by a 0 byte. Never to be freed by protobuf-c. */
MUST_CHECK enum status message_decode(const ProtobufCMessageDescriptor *descriptor,
                                      struct bytes body, bool strict, struct arena *arena,
                                      ProtobufCMessage **message);

/* Encodes a frame (header and body) into the arena. NO_MEMORY past its budget, TOO_LARGE past
 * limit_frame_size. */
MUST_CHECK enum status message_encode_frame(const ProtobufCMessage *message, int frame_type,
                                            enum status status, uint64_t request,
                                            struct arena *arena, struct bytes *frame);

static inline struct bytes bytes_of_field(ProtobufCBinaryData field)
{
    return bytes_of(field.data, field.len);
}

static inline ProtobufCBinaryData field_of_bytes(struct bytes bytes)
{
    return (ProtobufCBinaryData){.len = bytes.size, .data = (uint8_t *)(uintptr_t)bytes.data};
}

#endif
