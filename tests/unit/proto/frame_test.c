/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/frame.h"

#include "proto/limits.h"
#include "tests/unit/unit.h"

static const struct frame_header commit = {
    .body_size = 77, .type = FRAME_COMMIT, .request = 0x0102030405060708};

START_TEST(test_layout_is_fixed)
{
    static const uint8_t expected[frame_header_size] = {77, 0, 0, 0, 3, 0, 0, 0,
                                                        8,  7, 6, 5, 4, 3, 2, 1};
    uint8_t encoded[frame_header_size];
    frame_header_encode(&commit, encoded);
    ck_assert_mem_eq(encoded, expected, sizeof expected);
}
END_TEST

START_TEST(test_request_round_trip)
{
    uint8_t encoded[frame_header_size];
    struct frame_header decoded;
    frame_header_encode(&commit, encoded);
    ck_assert_int_eq(frame_request_decode(encoded, false, &decoded), STATUS_OK);
    ck_assert_uint_eq(decoded.body_size, 77);
    ck_assert_int_eq(decoded.type, FRAME_COMMIT);
    ck_assert_uint_eq(decoded.request, commit.request);
    ck_assert_int_eq(frame_reply_decode(encoded, &decoded), STATUS_UNSUPPORTED);
}
END_TEST

START_TEST(test_hello_comes_first_and_once)
{
    uint8_t encoded[frame_header_size];
    struct frame_header decoded;
    struct frame_header hello = {.type = FRAME_HELLO, .body_size = limit_frame_first_size};
    frame_header_encode(&hello, encoded);
    ck_assert_int_eq(frame_request_decode(encoded, true, &decoded), STATUS_OK);
    ck_assert_int_eq(frame_request_decode(encoded, false, &decoded), STATUS_MALFORMED);
    store_u32(encoded, limit_frame_first_size + 1);
    ck_assert_int_eq(frame_request_decode(encoded, true, &decoded), STATUS_TOO_LARGE);
    ck_assert_uint_eq(decoded.body_size, limit_frame_first_size + 1);
    frame_header_encode(&commit, encoded);
    ck_assert_int_eq(frame_request_decode(encoded, true, &decoded), STATUS_MALFORMED);
}
END_TEST

START_TEST(test_each_request_is_bounded)
{
    static const enum frame_type types[] = {
#define TYPE(name, number, request, reply, request_lower, reply_lower) FRAME_##name,
        FRAME_LIST(TYPE)
#undef TYPE
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        uint8_t encoded[frame_header_size];
        struct frame_header decoded;
        struct frame_header header = {.type = types[i], .body_size = frame_body_size_max(types[i])};
        bool first = types[i] == FRAME_HELLO;
        frame_header_encode(&header, encoded);
        ck_assert_int_eq(frame_request_decode(encoded, first, &decoded), STATUS_OK);
        store_u32(encoded, header.body_size + 1);
        ck_assert_int_eq(frame_request_decode(encoded, first, &decoded), STATUS_TOO_LARGE);
        store_u32(encoded, UINT32_MAX);
        ck_assert_int_eq(frame_request_decode(encoded, first, &decoded), STATUS_TOO_LARGE);
        store_u32(encoded, 0);
        store_u16(encoded + 6, STATUS_NOT_FOUND);
        ck_assert_int_eq(frame_request_decode(encoded, first, &decoded), STATUS_MALFORMED);
    }
}
END_TEST

START_TEST(test_unknown_types_are_unsupported)
{
    uint8_t encoded[frame_header_size];
    struct frame_header decoded;
    for (unsigned type = 0; type <= UINT16_MAX; type++) {
        frame_header_encode(&commit, encoded);
        store_u16(encoded + 4, (uint16_t)type);
        bool request = type >= FRAME_HELLO && type <= FRAME_REGION_CHECKPOINT;
        bool reply = type >= FRAME_HELLO_REPLY && type <= FRAME_REGION_CHECKPOINT_REPLY;
        if (!request)
            ck_assert_int_eq(frame_request_decode(encoded, false, &decoded), STATUS_UNSUPPORTED);
        ck_assert_int_eq(frame_reply_decode(encoded, &decoded),
                         reply ? STATUS_OK : STATUS_UNSUPPORTED);
    }
}
END_TEST

START_TEST(test_reply_statuses)
{
    uint8_t encoded[frame_header_size];
    struct frame_header decoded;
    struct frame_header reply = {.type = FRAME_GET_REPLY, .status = STATUS_NO_TABLE, .request = 9};
    frame_header_encode(&reply, encoded);
    ck_assert_int_eq(frame_reply_decode(encoded, &decoded), STATUS_OK);
    ck_assert_int_eq(decoded.status, STATUS_NO_TABLE);
    store_u16(encoded + 6, 55);
    ck_assert_int_eq(frame_reply_decode(encoded, &decoded), STATUS_OK);
    ck_assert_int_eq(decoded.status, STATUS_INTERNAL);
    store_u32(encoded, limit_frame_size + 1);
    ck_assert_int_eq(frame_reply_decode(encoded, &decoded), STATUS_TOO_LARGE);
}
END_TEST

START_TEST(test_names)
{
    ck_assert_str_eq(frame_type_name(FRAME_COMMIT), "COMMIT");
    ck_assert_str_eq(frame_type_name(FRAME_TXN_LIST_REPLY), "TXN_LIST_REPLY");
    ck_assert_str_eq(frame_type_name((enum frame_type)999), "UNKNOWN");
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_layout_is_fixed);
    tcase_add_test(tests, test_request_round_trip);
    tcase_add_test(tests, test_hello_comes_first_and_once);
    tcase_add_test(tests, test_each_request_is_bounded);
    tcase_add_test(tests, test_unknown_types_are_unsupported);
    tcase_add_test(tests, test_reply_statuses);
    tcase_add_test(tests, test_names);
}
