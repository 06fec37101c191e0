/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding is two passes. The first walks the bytes against the descriptor and allocates nothing:
 * all sizes fit, wire types are those of the fields, texts are UTF-8 without a 0 byte (a field
 * that decodes to a C string would else be cut there), a field that may stand once stands once
 * (protobuf-c would merge), and nothing repeats or nests past its bound. The second is protobuf-c,
 * in the arena, whose budget bounds what the first cannot see. */
#include "proto/message.h"

#include "proto/base/assert.h"
#include "proto/frame.h"
#include "proto/limits.h"

enum { message_fields_max = 64, chunk_size_min = 1024, chunk_size_max = 64 * 1024 };

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_SIZED = 2, WIRE_32 = 5 };

struct walk {
    const uint8_t *at;
    const uint8_t *end;
};

static bool walk_varint(struct walk *walk, unsigned bytes_max, uint64_t *value)
{
    /* Most are of one byte: tags, short sizes, small numbers. */
    if (walk->at < walk->end && *walk->at < 0x80) {
        *value = *walk->at++;
        return true;
    }
    *value = 0;
    for (unsigned i = 0; i < bytes_max && walk->at < walk->end; i++) {
        uint8_t byte = *walk->at++;
        *value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if ((byte & 0x80) == 0)
            return true;
    }
    return false;
}

static bool walk_bytes(struct walk *walk, uint64_t size, struct bytes *bytes)
{
    if (size > (uint64_t)(walk->end - walk->at))
        return false;
    *bytes = bytes_of(walk->at, (size_t)size);
    walk->at += size;
    return true;
}

/* Passes over a field's value; `*content` is that of a sized one. */
static bool walk_value(struct walk *walk, unsigned wire_type, struct bytes *content)
{
    uint64_t number;

    *content = (struct bytes){0};
    switch (wire_type) {
    case WIRE_VARINT:
        return walk_varint(walk, 10, &number);
    case WIRE_64:
        return walk_bytes(walk, 8, content);
    case WIRE_SIZED:
        return walk_varint(walk, 5, &number) && walk_bytes(walk, number, content);
    case WIRE_32:
        return walk_bytes(walk, 4, content);
    default:
        return false;
    }
}

/* The bytes that follow a first byte of UTF-8 (Unicode, table 3-7), and the bounds of the next one;
 * false where it is no first byte. */
static bool utf8_first(uint8_t c, size_t *more, uint8_t *low, uint8_t *high)
{
    *low = 0x80;
    *high = 0xbf;
    if (c < 0x80) {
        *more = 0;
    } else if (c >= 0xc2 && c <= 0xdf) {
        *more = 1;
    } else if (c >= 0xe0 && c <= 0xef) {
        *more = 2;
        *low = c == 0xe0 ? 0xa0 : *low;
        *high = c == 0xed ? 0x9f : *high;
    } else if (c >= 0xf0 && c <= 0xf4) {
        *more = 3;
        *low = c == 0xf0 ? 0x90 : *low;
        *high = c == 0xf4 ? 0x8f : *high;
    } else {
        return false;
    }
    return c != 0;
}

static bool text_is_valid(struct bytes text)
{
    for (size_t i = 0; i < text.size;) {
        size_t more = 0;
        uint8_t low = 0;
        uint8_t high = 0;
        if (text.data[i] - 1U < 0x7f) {
            i++;
            continue;
        }
        if (!utf8_first(text.data[i++], &more, &low, &high) || more > text.size - i)
            return false;
        for (; more != 0; more--, i++) {
            if (text.data[i] < low || text.data[i] > high)
                return false;
            low = 0x80;
            high = 0xbf;
        }
    }
    return true;
}

static unsigned wire_type_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return WIRE_32;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return WIRE_64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return WIRE_SIZED;
    default:
        return WIRE_VARINT;
    }
}

/* Counts one more occurrence; false where the field has too many. A oneof's members count as one
 * field: they share the place that says which it is. */
static bool count_field(const ProtobufCMessageDescriptor *descriptor,
                        const ProtobufCFieldDescriptor *field, uint32_t counts[message_fields_max])
{
    size_t number = (size_t)(field - descriptor->fields);
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return ++counts[number] <= limit_decode_elements_count;
    if (counts[number] != 0)
        return false;
    counts[number] = 1;
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        for (unsigned i = 0; i < descriptor->n_fields; i++) {
            const ProtobufCFieldDescriptor *other = &descriptor->fields[i];
            if ((other->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
                other->quantifier_offset == field->quantifier_offset)
                counts[i] = 1;
        }
    }
    return true;
}

/* NULL: there is none of this number. Where fields are numbered from 1 on without a gap, which most
 * messages' are, it stands at its number. */
static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *descriptor,
                                                  unsigned number)
{
    if (number - 1 < descriptor->n_fields && descriptor->fields[number - 1].id == number)
        return &descriptor->fields[number - 1];
    return protobuf_c_message_descriptor_get_field(descriptor, number);
}

static bool message_is_valid(const ProtobufCMessageDescriptor *descriptor, struct bytes body,
                             bool strict, unsigned depth)
{
    uint32_t counts[message_fields_max];
    struct walk walk = {.at = body.data, .end = body.size == 0 ? body.data : body.data + body.size};

    ASSERT(descriptor->n_fields <= message_fields_max);
    memset(counts, 0, descriptor->n_fields * sizeof counts[0]);
    if (depth > limit_decode_depth_count)
        return false;
    while (walk.at < walk.end) {
        uint64_t tag;
        struct bytes content;
        if (!walk_varint(&walk, 5, &tag) || tag > UINT32_MAX || tag >> 3 == 0)
            return false;
        unsigned wire_type = (unsigned)(tag & 7);
        if (!walk_value(&walk, wire_type, &content))
            return false;
        const ProtobufCFieldDescriptor *field = find_field(descriptor, (unsigned)(tag >> 3));
        if (field == NULL) {
            if (strict)
                return false;
            continue;
        }
        if (wire_type != wire_type_of(field->type) || !count_field(descriptor, field, counts))
            return false;
        if (field->type == PROTOBUF_C_TYPE_STRING && !text_is_valid(content))
            return false;
        if (field->type == PROTOBUF_C_TYPE_MESSAGE &&
            !message_is_valid(field->descriptor, content, strict, depth + 1))
            return false;
    }
    return true;
}

void message_arena_init(struct arena *arena, size_t body_size)
{
    size_t chunk_size = body_size + chunk_size_min;
    size_t budget_size = limit_decode_size;

    if (body_size < (limit_decode_size - limit_decode_base_size) / limit_decode_factor)
        budget_size = body_size * limit_decode_factor + limit_decode_base_size;
    arena_init(arena, chunk_size < chunk_size_max ? chunk_size : chunk_size_max, budget_size);
    arena->allocations_max = limit_decode_allocations_count;
}

static void *allocator_alloc(void *arena, size_t size)
{
    return arena_alloc(arena, size);
}

/* One more byte, zero, so that a bytes field can be used as a text. */
static void *allocator_alloc_terminated(void *arena, size_t size)
{
    uint8_t *piece = size == SIZE_MAX ? NULL : arena_alloc(arena, size + 1);
    if (piece != NULL)
        piece[size] = 0;
    return piece;
}

/* The arena frees all at once. */
static void allocator_free(void *arena, void *piece)
{
    (void)arena;
    (void)piece;
}

enum status message_decode(const ProtobufCMessageDescriptor *descriptor, struct bytes body,
                           bool strict, struct arena *arena, ProtobufCMessage **message)
{
    ProtobufCAllocator allocator = {.alloc = strict ? allocator_alloc : allocator_alloc_terminated,
                                    .free = allocator_free,
                                    .allocator_data = arena};
    static const uint8_t nothing[1];

    *message = NULL;
    if (body.size > limit_frame_size || !message_is_valid(descriptor, body, strict, 1))
        return STATUS_MALFORMED;
    *message = protobuf_c_message_unpack(descriptor, &allocator, body.size,
                                         body.size == 0 ? nothing : body.data);
    return *message == NULL ? STATUS_MALFORMED : STATUS_OK;
}

enum status message_encode_frame(const ProtobufCMessage *message, int frame_type,
                                 enum status status, uint64_t request, struct arena *arena,
                                 struct bytes *frame)
{
    *frame = (struct bytes){0};
    size_t body_size = protobuf_c_message_get_packed_size(message);
    if (body_size > limit_frame_size)
        return STATUS_TOO_LARGE;
    uint8_t *bytes = arena_alloc(arena, frame_header_size + body_size);
    if (bytes == NULL)
        return STATUS_NO_MEMORY;
    struct frame_header header = {.body_size = (uint32_t)body_size,
                                  .type = (enum frame_type)frame_type,
                                  .status = status,
                                  .request = request};
    frame_header_encode(&header, bytes);
    size_t packed_size = protobuf_c_message_pack(message, bytes + frame_header_size);
    ASSERT(packed_size == body_size);
    *frame = bytes_of(bytes, frame_header_size + body_size);
    return STATUS_OK;
}
