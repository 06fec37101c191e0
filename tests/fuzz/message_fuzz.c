/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of every type: the first byte picks the type and how strict to be, the rest is the body.
 * What decodes strictly is encoded and decoded again, and must then encode to the same bytes. */
#include "proto/base/assert.h"
#include "proto/frame.h"
#include "proto/limits.h"
#include "proto/message.h"
#include "proto/strait.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *const descriptors[] = {
#define DESCRIPTOR(name, number, request, reply, request_lower, reply_lower)                       \
    &strait__##request_lower##__descriptor, &strait__##reply_lower##__descriptor,
    FRAME_LIST(DESCRIPTOR)
#undef DESCRIPTOR
        & strait__refusal__descriptor,
};

static void check_encoding(const ProtobufCMessageDescriptor *descriptor, ProtobufCMessage *message)
{
    struct arena arena;
    struct bytes first;
    struct bytes second;
    ProtobufCMessage *again;

    arena_init(&arena, 4096, 4 * (size_t)limit_decode_size);
    if (message_encode_frame(message, FRAME_PING, STATUS_OK, 0, &arena, &first) == STATUS_OK) {
        struct bytes body =
            bytes_of(first.data + frame_header_size, first.size - frame_header_size);
        enum status decoded = message_decode(descriptor, body, true, &arena, &again);
        ASSERT(decoded == STATUS_OK);
        enum status encoded =
            message_encode_frame(again, FRAME_PING, STATUS_OK, 0, &arena, &second);
        ASSERT(encoded == STATUS_OK && bytes_equal(first, second));
    }
    arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    ProtobufCMessage *message;

    if (size == 0)
        return 0;
    const ProtobufCMessageDescriptor *descriptor =
        descriptors[(data[0] >> 1) % (sizeof descriptors / sizeof descriptors[0])];
    bool strict = (data[0] & 1) != 0;
    struct bytes body = bytes_of(data + 1, size - 1);
    message_arena_init(&arena, body.size);
    enum status status = message_decode(descriptor, body, strict, &arena, &message);
    ASSERT(status == STATUS_OK || status == STATUS_MALFORMED);
    ASSERT(arena.used_size <= limit_decode_size);
    if (status == STATUS_OK && strict)
        check_encoding(descriptor, message);
    arena_free(&arena);
    return 0;
}
