/* SPDX-License-Identifier: Apache-2.0 */
/* Frame headers: nothing that decodes is past its bounds, and it encodes to the same bytes. */
#include "proto/base/assert.h"
#include "proto/frame.h"
#include "proto/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_encoding(const struct frame_header *header, const uint8_t *data)
{
    uint8_t encoded[frame_header_size];
    frame_header_encode(header, encoded);
    /* A status that is not of the list has become INTERNAL. */
    if (status_is_known(load_u16(data + 6)))
        ASSERT(memcmp(encoded, data, frame_header_size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame_header header;

    if (size < frame_header_size)
        return 0;
    for (int first = 0; first <= 1; first++) {
        if (frame_request_decode(data, first == 1, &header) != STATUS_OK)
            continue;
        ASSERT(header.body_size <= frame_body_size_max(header.type));
        ASSERT(header.status == STATUS_OK);
        ASSERT((header.type == FRAME_HELLO) == (first == 1));
        check_encoding(&header, data);
    }
    if (frame_reply_decode(data, &header) == STATUS_OK) {
        ASSERT(header.body_size <= limit_frame_size);
        ASSERT((header.type & frame_reply) != 0);
        check_encoding(&header, data);
    }
    return 0;
}
