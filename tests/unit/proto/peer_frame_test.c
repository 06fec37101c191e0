/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/peer_frame.h"

#include <stdio.h>

#include "proto/base/generator.h"
#include "tests/unit/unit.h"

static enum status decode(uint32_t size, uint8_t kind, uint8_t lane, uint16_t zero,
                          uint32_t message_size, uint32_t offset)
{
    uint8_t bytes[peer_frame_header_size];
    struct peer_frame_header header;
    store_u32(bytes, size);
    bytes[4] = kind;
    bytes[5] = lane;
    store_u16(bytes + 6, zero);
    store_u32(bytes + 8, message_size);
    store_u32(bytes + 12, offset);
    enum status status = peer_frame_decode(bytes, &header);
    if (status == STATUS_OK) {
        uint8_t again[peer_frame_header_size];
        peer_frame_encode(&header, again);
        ck_assert_mem_eq(again, bytes, sizeof bytes);
    } else {
        ck_assert_uint_eq(header.body_size, 0);
    }
    return status;
}

START_TEST(test_headers)
{
    const uint32_t full = limit_peer_frame_size;
    static const struct {
        uint32_t size;
        uint8_t kind;
        uint8_t lane;
        uint16_t zero;
        uint32_t message_size;
        uint32_t offset;
        enum status status;
    } cases[] = {
        {100, PEER_FRAME_HELLO, 0, 0, 0, 0, STATUS_OK},
        {3, PEER_FRAME_HELLO, 0, 0, 0, 0, STATUS_MALFORMED},
        {100, PEER_FRAME_HELLO, 1, 0, 0, 0, STATUS_MALFORMED},
        {100, PEER_FRAME_HELLO, 0, 1, 0, 0, STATUS_MALFORMED},
        {100, PEER_FRAME_HELLO, 0, 0, 100, 0, STATUS_MALFORMED},
        {limit_frame_first_size, PEER_FRAME_HELLO, 0, 0, 0, 0, STATUS_OK},
        {limit_frame_first_size + 1, PEER_FRAME_HELLO, 0, 0, 0, 0, STATUS_TOO_LARGE},
        {peer_refusal_size_max, PEER_FRAME_REFUSAL, 0, 0, 0, 0, STATUS_OK},
        {peer_refusal_size_max + 1, PEER_FRAME_REFUSAL, 0, 0, 0, 0, STATUS_TOO_LARGE},
        {1, PEER_FRAME_REFUSAL, 0, 0, 0, 0, STATUS_MALFORMED},
        {0, PEER_FRAME_KEEP_ALIVE, 0, 0, 0, 0, STATUS_OK},
        {1, PEER_FRAME_KEEP_ALIVE, 0, 0, 0, 0, STATUS_TOO_LARGE},
        {0, 0, 0, 0, 0, 0, STATUS_UNSUPPORTED},
        {0, 5, 0, 0, 0, 0, STATUS_UNSUPPORTED},
        {10, PEER_FRAME_MESSAGE, 0, 0, 10, 0, STATUS_OK},
        {10, PEER_FRAME_MESSAGE, 1, 0, 10, 0, STATUS_OK},
        {10, PEER_FRAME_MESSAGE, 2, 0, 10, 0, STATUS_MALFORMED},
        {0, PEER_FRAME_MESSAGE, 1, 0, 0, 0, STATUS_MALFORMED},
        {10, PEER_FRAME_MESSAGE, 1, 0, 11, 0, STATUS_MALFORMED}, /* not last, and not full */
        {11, PEER_FRAME_MESSAGE, 1, 0, 10, 0, STATUS_MALFORMED},
        {full, PEER_FRAME_MESSAGE, 1, 0, full + 1, 0, STATUS_OK},
        {1, PEER_FRAME_MESSAGE, 1, 0, full + 1, full, STATUS_OK},
        {2, PEER_FRAME_MESSAGE, 1, 0, full + 1, full, STATUS_MALFORMED},
        {1, PEER_FRAME_MESSAGE, 1, 0, full + 1, full - 1, STATUS_MALFORMED},
        {1, PEER_FRAME_MESSAGE, 1, 0, full, full, STATUS_MALFORMED},
        {full, PEER_FRAME_MESSAGE, 0, 0, full, 0, STATUS_OK},
        {full, PEER_FRAME_MESSAGE, 0, 0, full + 1, 0, STATUS_MALFORMED}, /* CONTROL in parts */
        {full + 1, PEER_FRAME_MESSAGE, 1, 0, full + 1, 0, STATUS_TOO_LARGE},
        {full, PEER_FRAME_MESSAGE, 1, 0, limit_peer_message_size, 0, STATUS_OK},
        {full, PEER_FRAME_MESSAGE, 1, 0, limit_peer_message_size + 1, 0, STATUS_TOO_LARGE},
        {UINT32_MAX, PEER_FRAME_MESSAGE, 1, 0, UINT32_MAX, UINT32_MAX, STATUS_TOO_LARGE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ck_assert_msg(decode(cases[i].size, cases[i].kind, cases[i].lane, cases[i].zero,
                             cases[i].message_size, cases[i].offset) == cases[i].status,
                      "case %zu", i);
}
END_TEST

static struct peer_hello sample(void)
{
    return (struct peer_hello){.cluster_version_min = 1,
                               .cluster_version_max = 3,
                               .is_probe = true,
                               .cluster_id = {1, 2, 3, 16},
                               .member = 42,
                               .expected = 43,
                               .name = "n1",
                               .peers = "192.0.2.1:7412",
                               .clients = "one.example.com:7411"};
}

START_TEST(test_a_hello_comes_back_as_it_was)
{
    uint8_t bytes[peer_hello_size_max];
    struct peer_hello hello = sample();
    struct peer_hello read;
    size_t size = peer_hello_encode(&hello, bytes);
    ck_assert_int_eq(peer_hello_decode(bytes_of(bytes, size), &read), STATUS_OK);
    ck_assert_uint_eq(read.cluster_version_min, 1);
    ck_assert_uint_eq(read.cluster_version_max, 3);
    ck_assert(read.is_probe);
    ck_assert_mem_eq(read.cluster_id, hello.cluster_id, peer_cluster_id_size);
    ck_assert_uint_eq(read.member, 42);
    ck_assert_uint_eq(read.expected, 43);
    ck_assert_str_eq(read.name, hello.name);
    ck_assert_str_eq(read.peers, hello.peers);
    ck_assert_str_eq(read.clients, hello.clients);
    /* The longest there is. */
    memset(hello.name, 'n', limit_member_name_size);
    memset(hello.peers, 'p', limit_member_address_size);
    memset(hello.clients, 'c', limit_member_address_size);
    hello.name[limit_member_name_size] = hello.peers[limit_member_address_size] =
        hello.clients[limit_member_address_size] = 0;
    ck_assert_uint_eq(peer_hello_encode(&hello, bytes), peer_hello_size_max);
    ck_assert_int_eq(peer_hello_decode(bytes_of(bytes, sizeof bytes), &read), STATUS_OK);
    ck_assert_str_eq(read.clients, hello.clients);
}
END_TEST

START_TEST(test_a_hello_that_is_cut_or_bent_is_none)
{
    static const struct {
        size_t offset;
        uint8_t value;
    } bent[] = {{12, 2},  {13, 1}, {32, 0}, {48, 0},   {48, 3}, {48, 65},   {49, 255},  {50, 19},
                {50, 21}, {51, 1}, {55, 1}, {56, ' '}, {56, 0}, {57, 0x7f}, {60, 0xc3}, {4, 4}};
    uint8_t bytes[peer_hello_size_max];
    struct peer_hello hello = sample();
    struct peer_hello read;
    size_t size = peer_hello_encode(&hello, bytes);
    for (size_t cut = 0; cut < size; cut++) {
        ck_assert_int_eq(peer_hello_decode(bytes_of(bytes, cut), &read), STATUS_MALFORMED);
        ck_assert_uint_eq(read.member, 0);
    }
    ck_assert_int_eq(peer_hello_decode(bytes_of(bytes, size + 1), &read), STATUS_MALFORMED);
    for (size_t i = 0; i < sizeof bent / sizeof bent[0]; i++) {
        uint8_t copy[peer_hello_size_max];
        memcpy(copy, bytes, sizeof copy);
        copy[bent[i].offset] = bent[i].value;
        ck_assert_msg(peer_hello_decode(bytes_of(copy, size), &read) == STATUS_MALFORMED,
                      "case %zu", i);
    }
    bytes[0] = 2;
    ck_assert_int_eq(peer_hello_decode(bytes_of(bytes, size), &read), STATUS_UNSUPPORTED);
    ck_assert_int_eq(peer_hello_decode(bytes_of(bytes, 4), &read), STATUS_UNSUPPORTED);
}
END_TEST

START_TEST(test_refusals)
{
    uint8_t bytes[peer_refusal_size_max];
    struct peer_refusal refusal = {.status = STATUS_NOT_FOUND, .reason = "Not here\n\x80."};
    struct peer_refusal read;
    size_t size = peer_refusal_encode(&refusal, bytes);
    ck_assert_int_eq(peer_refusal_decode(bytes_of(bytes, size), &read), STATUS_OK);
    ck_assert_int_eq(read.status, STATUS_NOT_FOUND);
    ck_assert_str_eq(read.reason, "Not here\?\?.");
    memset(refusal.reason, 'x', peer_reason_size);
    refusal.reason[peer_reason_size] = 0;
    ck_assert_uint_eq(peer_refusal_encode(&refusal, bytes), peer_refusal_size_max);
    ck_assert_int_eq(peer_refusal_decode(bytes_of(bytes, sizeof bytes), &read), STATUS_OK);
    ck_assert_uint_eq(strlen(read.reason), peer_reason_size);
    store_u16(bytes, 0);
    ck_assert_int_eq(peer_refusal_decode(bytes_of(bytes, 2), &read), STATUS_OK);
    ck_assert_int_eq(read.status, STATUS_INTERNAL);
    store_u16(bytes, 7777);
    ck_assert_int_eq(peer_refusal_decode(bytes_of(bytes, 3), &read), STATUS_OK);
    ck_assert_int_eq(read.status, STATUS_INTERNAL);
    bytes[2] = '\n';
    ck_assert_int_eq(peer_refusal_decode(bytes_of(bytes, 3), &read), STATUS_MALFORMED);
    ck_assert_int_eq(peer_refusal_decode(bytes_of(bytes, 1), &read), STATUS_MALFORMED);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_headers);
    tcase_add_test(tests, test_a_hello_comes_back_as_it_was);
    tcase_add_test(tests, test_a_hello_that_is_cut_or_bent_is_none);
    tcase_add_test(tests, test_refusals);
}
