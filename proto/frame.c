/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/frame.h"

#include "proto/base/assert.h"
#include "proto/limits.h"

static bool frame_type_is_request(uint16_t type)
{
    switch (type) {
#define FRAME_CASE(name, number, request, reply, request_lower, reply_lower) case FRAME_##name:
        FRAME_LIST(FRAME_CASE)
#undef FRAME_CASE
        return true;
    default:
        return false;
    }
}

void frame_header_encode(const struct frame_header *header, uint8_t to[frame_header_size])
{
    ASSERT(header->body_size <= limit_frame_size);
    store_u32(to, header->body_size);
    store_u16(to + 4, (uint16_t)header->type);
    store_u16(to + 6, (uint16_t)header->status);
    store_u64(to + 8, header->request);
}

enum status frame_request_decode(const uint8_t from[frame_header_size], bool first,
                                 struct frame_header *header)
{
    uint32_t body_size = load_u32(from);
    uint16_t type = load_u16(from + 4);

    *header = (struct frame_header){
        .body_size = body_size, .type = (enum frame_type)type, .request = load_u64(from + 8)};
    if (!frame_type_is_request(type))
        return STATUS_UNSUPPORTED;
    if (load_u16(from + 6) != 0 || first != (type == FRAME_HELLO))
        return STATUS_MALFORMED;
    if (body_size > frame_body_size_max((enum frame_type)type))
        return STATUS_TOO_LARGE;
    return STATUS_OK;
}

enum status frame_reply_decode(const uint8_t from[frame_header_size], struct frame_header *header)
{
    uint32_t body_size = load_u32(from);
    uint16_t type = load_u16(from + 4);
    uint16_t status = load_u16(from + 6);

    *header = (struct frame_header){0};
    if ((type & frame_reply) == 0 || !frame_type_is_request((uint16_t)(type & ~frame_reply)))
        return STATUS_UNSUPPORTED;
    if (body_size > limit_frame_size)
        return STATUS_TOO_LARGE;
    *header = (struct frame_header){.body_size = body_size,
                                    .type = (enum frame_type)type,
                                    .status = status_is_known(status) ? (enum status)status
                                                                      : STATUS_INTERNAL,
                                    .request = load_u64(from + 8)};
    return STATUS_OK;
}

uint32_t frame_body_size_max(enum frame_type type)
{
    if ((type & frame_reply) != 0)
        return limit_frame_size;
    switch (type) {
    case FRAME_HELLO:
        return limit_frame_first_size;
    case FRAME_COMMIT:
        return limit_txn_size;
    case FRAME_GET:
        return limit_request_get_size;
    case FRAME_SCAN:
        return limit_request_scan_size;
    case FRAME_REGION_PULL:
    case FRAME_WITNESS_LEASE:
        return limit_request_pull_size;
    case FRAME_REGION_CHANGE:
        return limit_request_region_size;
    default:
        return limit_request_small_size;
    }
}

const char *frame_type_name(enum frame_type type)
{
    switch (type) {
#define FRAME_NAME(name, number, request, reply, request_lower, reply_lower)                       \
    case FRAME_##name:                                                                             \
        return #name;                                                                              \
    case FRAME_##name##_REPLY:                                                                     \
        return #name "_REPLY";
        FRAME_LIST(FRAME_NAME)
#undef FRAME_NAME
    }
    return "UNKNOWN";
}
