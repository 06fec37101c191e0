/* SPDX-License-Identifier: Apache-2.0 */
/* What a caller owns and strait_free()s: a public structure and, in one arena behind it, all that
 * it points to. */
#ifndef CLIENT_RESULT_H
#define CLIENT_RESULT_H

#include "client/call.h"
#include "client/handle.h"
#include "proto/base/arena.h"
#include "proto/strait.pb-c.h"

struct result {
    struct arena arena;
    _Alignas(16) uint8_t public_part[]; /* what the caller sees */
};

/* A zeroed public part of `public_size`, with an arena for decoding a body of `body_size` and
 * translating it. NULL where memory ran out. */
struct result *result_new(size_t public_size, size_t body_size);
void result_free(struct result *result);

/* Runs the request to its end and decodes the answer into a result with a public part of
 * `public_size`. OK: both are set, and the result is the caller's. `descriptor` is the reply's. */
enum strait_status result_of_request(strait *handle, enum frame_type type,
                                     const ProtobufCMessage *request, uint64_t deadline_ns,
                                     const ProtobufCMessageDescriptor *descriptor,
                                     size_t public_size, struct result **result,
                                     const ProtobufCMessage **reply, struct strait_error *error);

/* The same for a call that is DONE. */
enum strait_status result_of_call(const struct call *call,
                                  const ProtobufCMessageDescriptor *descriptor, size_t public_size,
                                  struct result **result, const ProtobufCMessage **reply,
                                  struct strait_error *error);

/* The descriptor of the reply to a request of this type. */
const ProtobufCMessageDescriptor *result_descriptor(enum frame_type type);

static inline void note_position(strait *handle, const Strait__Position *position)
{
    if (position != NULL)
        handle_note_log_time(handle, position->log_time_ns);
}

static inline uint64_t position_version(const Strait__Position *position)
{
    return position != NULL ? position->version : 0;
}

static inline struct strait_token position_token(const Strait__Position *position)
{
    struct strait_token token = {0};
    if (position != NULL) {
        token.epoch_number = position->epoch_number;
        token.epoch_region = position->epoch_region;
        token.version = position->version;
    }
    return token;
}

/* Translates records into the arena. False where memory ran out. */
bool result_records(struct result *result, Strait__Record *const *records, size_t count,
                    struct strait_records *to);

static inline struct strait_bytes bytes_public(ProtobufCBinaryData field)
{
    return strait_bytes(field.len != 0 ? (const void *)field.data : "", field.len);
}

static inline ProtobufCBinaryData bytes_field(struct strait_bytes bytes)
{
    return (ProtobufCBinaryData){.len = bytes.size, .data = (uint8_t *)(uintptr_t)bytes.data};
}

/* protobuf-c's texts are not const. */
static inline char *text_field(const char *text)
{
    return (char *)(uintptr_t)text;
}

#endif
