/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/message.h"

#include <stdlib.h>

#include "proto/frame.h"
#include "proto/limits.h"
#include "proto/strait.pb-c.h"
#include "tests/unit/unit.h"

static enum status decode(const ProtobufCMessageDescriptor *descriptor, struct bytes body,
                          bool strict)
{
    struct arena arena;
    ProtobufCMessage *message;
    message_arena_init(&arena, body.size);
    enum status status = message_decode(descriptor, body, strict, &arena, &message);
    ck_assert_uint_le(arena.used_size, body.size * limit_decode_factor + limit_decode_base_size);
    ck_assert((status == STATUS_OK) == (message != NULL));
    arena_free(&arena);
    return status;
}

static enum status decode_commit(const void *body, size_t size)
{
    return decode(&strait__commit__descriptor, bytes_of(body, size), true);
}

/* A commit of `count` of the smallest puts, each with `indexes` entries. */
static struct bytes encode_puts(size_t count, size_t indexes, struct arena *arena)
{
    Strait__Commit commit = STRAIT__COMMIT__INIT;
    Strait__IndexEntry entry = STRAIT__INDEX_ENTRY__INIT;
    Strait__Put put = STRAIT__PUT__INIT;
    Strait__Operation operation = STRAIT__OPERATION__INIT;
    Strait__IndexEntry *entries[limit_record_indexes_count];
    Strait__Operation **operations = malloc(count * sizeof *operations);
    struct bytes frame;

    entry.index = (char *)(uintptr_t) "i";
    entry.key = field_of_bytes(bytes_of("k", 1));
    for (size_t i = 0; i < indexes; i++)
        entries[i] = &entry;
    put.table = (char *)(uintptr_t) "t";
    put.key = field_of_bytes(bytes_of("k", 1));
    put.indexes = entries;
    put.n_indexes = indexes;
    operation.kind_case = STRAIT__OPERATION__KIND_PUT;
    operation.put = &put;
    for (size_t i = 0; i < count; i++)
        operations[i] = &operation;
    commit.operations = operations;
    commit.n_operations = count;
    arena_init(arena, 65536, 2 * limit_frame_size);
    ck_assert_int_eq(message_encode_frame(&commit.base, FRAME_COMMIT, STATUS_OK, 42, arena, &frame),
                     STATUS_OK);
    free(operations);
    return frame;
}

static struct bytes body_of(struct bytes frame)
{
    return bytes_of(frame.data + frame_header_size, frame.size - frame_header_size);
}

START_TEST(test_round_trip)
{
    struct arena arena;
    struct arena decoding;
    struct frame_header header;
    ProtobufCMessage *message;
    struct bytes frame = encode_puts(3, 2, &arena);

    ck_assert_int_eq(frame_request_decode(frame.data, false, &header), STATUS_OK);
    ck_assert_uint_eq(header.body_size, frame.size - frame_header_size);
    ck_assert_uint_eq(header.request, 42);
    message_arena_init(&decoding, header.body_size);
    ck_assert_int_eq(
        message_decode(&strait__commit__descriptor, body_of(frame), true, &decoding, &message),
        STATUS_OK);
    arena_free(&arena); /* the message refers to nothing of the frame */
    const Strait__Commit *commit = (const Strait__Commit *)message;
    ck_assert_uint_eq(commit->n_operations, 3);
    ck_assert_int_eq(commit->operations[2]->kind_case, STRAIT__OPERATION__KIND_PUT);
    ck_assert_str_eq(commit->operations[2]->put->table, "t");
    ck_assert_str_eq(commit->operations[2]->put->indexes[1]->index, "i");
    arena_free(&decoding);
}
END_TEST

START_TEST(test_empty_body)
{
    ck_assert_int_eq(decode_commit(NULL, 0), STATUS_OK);
}
END_TEST

START_TEST(test_largest_counts_of_the_smallest_items_fit)
{
    struct arena arena;
    struct bytes frame = encode_puts(limit_txn_operations_count, 0, &arena);
    ck_assert_int_eq(decode(&strait__commit__descriptor, body_of(frame), true), STATUS_OK);
    arena_free(&arena);
    frame = encode_puts(limit_txn_operations_count, limit_record_indexes_count, &arena);
    ck_assert_int_eq(decode(&strait__commit__descriptor, body_of(frame), true), STATUS_OK);
    arena_free(&arena);

    /* A reply of records that were not found, with keys of one byte. */
    uint8_t missing[5 * limit_get_keys_count];
    for (size_t i = 0; i < limit_get_keys_count; i++)
        memcpy(missing + 5 * i, "\x12\x03\x12\x01k", 5);
    ck_assert_int_eq(
        decode(&strait__get_reply__descriptor, bytes_of(missing, sizeof missing), false),
        STATUS_OK);
}
END_TEST

/* Each two bytes on the wire would cost protobuf-c about a hundred in memory. */
START_TEST(test_empty_submessages_do_not_blow_up)
{
    size_t size = limit_txn_size;
    uint8_t *body = malloc(size);
    for (size_t i = 0; i < size; i += 2)
        memcpy(body + i, "\x3a\x00", 2);
    ck_assert_int_eq(decode_commit(body, size), STATUS_MALFORMED);
    ck_assert_int_eq(decode_commit(body, 2 * limit_decode_elements_count), STATUS_MALFORMED);
    ck_assert_int_eq(decode_commit(body, limit_decode_elements_count / 2), STATUS_OK);
    free(body);
}
END_TEST

/* The same one level deeper, where no single field repeats too often: puts of 100 empty index
 * entries each, up to the largest commit. The arena's budget ends it. */
START_TEST(test_nested_empty_submessages_do_not_blow_up)
{
    enum { entries = 100, put_size = 2 + 2 * entries, item_size = 6 + put_size };
    static const uint8_t head[] = {0x3a,
                                   0x80 | ((put_size + 3) & 127),
                                   (put_size + 3) >> 7,
                                   0x0a,
                                   0x80 | (put_size & 127),
                                   put_size >> 7,
                                   0x0a,
                                   0x00};
    size_t count = limit_txn_size / item_size;
    uint8_t *body = malloc(count * item_size);
    for (size_t i = 0; i < count; i++) {
        uint8_t *item = body + i * item_size;
        memcpy(item, head, sizeof head);
        for (size_t j = 0; j < entries; j++)
            memcpy(item + sizeof head + 2 * j, "\x2a\x00", 2);
    }
    ck_assert_int_eq(decode_commit(body, 10 * item_size), STATUS_OK);
    struct arena arena;
    ProtobufCMessage *message;
    message_arena_init(&arena, count * item_size);
    ck_assert_int_eq(message_decode(&strait__commit__descriptor, bytes_of(body, count * item_size),
                                    true, &arena, &message),
                     STATUS_MALFORMED);
    ck_assert_uint_le(arena.used_size, limit_decode_size);
    arena_free(&arena);
    free(body);
}
END_TEST

START_TEST(test_unknown_fields)
{
    /* Field 15 at the top; then within a put's index entry. */
    static const uint8_t top[] = {0x78, 0x01};
    static const uint8_t deep[] = {0x3a, 0x06, 0x0a, 0x04, 0x2a, 0x02, 0x78, 0x01};
    ck_assert_int_eq(decode_commit(top, sizeof top), STATUS_MALFORMED);
    ck_assert_int_eq(decode_commit(deep, sizeof deep), STATUS_MALFORMED);
    ck_assert_int_eq(decode(&strait__commit__descriptor, bytes_of(top, sizeof top), false),
                     STATUS_OK);
    ck_assert_int_eq(decode(&strait__commit__descriptor, bytes_of(deep, sizeof deep), false),
                     STATUS_OK);

    size_t size = limit_txn_size;
    uint8_t *body = malloc(size);
    for (size_t i = 0; i < size; i += 2)
        memcpy(body + i, top, 2);
    struct arena arena;
    ProtobufCMessage *message;
    message_arena_init(&arena, size);
    ck_assert_int_eq(
        message_decode(&strait__commit__descriptor, bytes_of(body, size), false, &arena, &message),
        STATUS_MALFORMED);
    ck_assert_uint_le(arena.used_size, limit_decode_size);
    arena_free(&arena);
    free(body);
}
END_TEST

START_TEST(test_hostile_forms_are_malformed)
{
    static const struct {
        const char *bytes;
        size_t size;
    } hostile[] = {
        {"\x0a", 1},                                              /* a size is missing */
        {"\x0a\x05zz", 4},                                        /* shorter than its size */
        {"\x0a\xff\xff\xff\xff\x0f", 6},                          /* 4 GiB */
        {"\x08\x01", 2},                                          /* a varint where bytes belong */
        {"\x0b\x0c", 2},                                          /* groups */
        {"\x00\x00", 2},                                          /* field 0 */
        {"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12}, /* a varint of 11 bytes */
        {"\xff\xff\xff\xff\xff\x01\x00", 7},                      /* a tag of 6 bytes */
        {"\x18\x01\x18\x02", 4},                                  /* the snapshot twice */
        {"\x3a\x04\x0a\x00\x12\x00", 6},             /* a put and a delete in one operation */
        {"\x3a\x07\x0a\x05\x0a\x03t\0u", 9},         /* a 0 byte in a name */
        {"\x3a\x06\x0a\x04\x0a\x02\xc3\x28", 8},     /* not UTF-8 */
        {"\x3a\x07\x0a\x05\x0a\x03\xed\xa0\x80", 9}, /* a surrogate */
        {"\x3a\x06\x0a\x04\x0a\x02\xc0\xaf", 8},     /* overlong */
    };
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++)
        ck_assert_msg(decode_commit(hostile[i].bytes, hostile[i].size) == STATUS_MALFORMED,
                      "form %zu was taken", i);
}
END_TEST

START_TEST(test_each_cut_is_survived)
{
    struct arena arena;
    struct bytes body = body_of(encode_puts(20, 2, &arena));
    size_t refused = 0;
    for (size_t size = 0; size < body.size; size++) {
        uint8_t *copy = malloc(size + 1); /* exact, so that a read past it is seen */
        memcpy(copy, body.data, size);
        refused += decode_commit(copy, size) == STATUS_MALFORMED;
        free(copy);
    }
    ck_assert_uint_gt(refused, body.size / 2);
    arena_free(&arena);
}
END_TEST

/* Every allocation fails once: protobuf-c's error paths run, and leak or touch nothing. */
START_TEST(test_each_failed_allocation_is_survived)
{
    struct arena arena;
    struct bytes body = body_of(encode_puts(40, 3, &arena));
    for (uint32_t allowed = 0;; allowed++) {
        struct arena decoding;
        ProtobufCMessage *message;
        message_arena_init(&decoding, body.size);
        decoding.allocations_max = allowed;
        enum status status =
            message_decode(&strait__commit__descriptor, body, true, &decoding, &message);
        arena_free(&decoding);
        if (status == STATUS_OK)
            break;
        ck_assert_int_eq(status, STATUS_MALFORMED);
        ck_assert_uint_lt(allowed, 10000);
    }
    arena_free(&arena);
}
END_TEST

START_TEST(test_encoding_is_bounded)
{
    struct arena arena;
    struct bytes frame;
    Strait__Ping ping = STRAIT__PING__INIT;
    Strait__ScanReply reply = STRAIT__SCAN_REPLY__INIT;
    uint8_t *large = malloc(limit_frame_size);

    arena_init(&arena, 256, 15);
    ck_assert_int_eq(message_encode_frame(&ping.base, FRAME_PING, STATUS_OK, 1, &arena, &frame),
                     STATUS_NO_MEMORY);
    ck_assert_uint_eq(frame.size, 0);
    arena_free(&arena);
    arena_init(&arena, 256, SIZE_MAX);
    reply.resume = field_of_bytes(bytes_of(large, limit_frame_size));
    memset(large, 0, limit_frame_size);
    ck_assert_int_eq(
        message_encode_frame(&reply.base, FRAME_SCAN_REPLY, STATUS_OK, 1, &arena, &frame),
        STATUS_TOO_LARGE);
    arena_free(&arena);
    free(large);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_round_trip);
    tcase_add_test(tests, test_empty_body);
    tcase_add_test(tests, test_largest_counts_of_the_smallest_items_fit);
    tcase_add_test(tests, test_empty_submessages_do_not_blow_up);
    tcase_add_test(tests, test_nested_empty_submessages_do_not_blow_up);
    tcase_add_test(tests, test_unknown_fields);
    tcase_add_test(tests, test_hostile_forms_are_malformed);
    tcase_add_test(tests, test_each_cut_is_survived);
    tcase_add_test(tests, test_each_failed_allocation_is_survived);
    tcase_add_test(tests, test_encoding_is_bounded);
}
