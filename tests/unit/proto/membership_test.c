/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/membership.h"

#include <stdio.h>

#include "tests/unit/unit.h"

static struct member member_of(uint64_t id, unsigned kinds)
{
    struct member member = {.id = id, .kinds = kinds};
    snprintf(member.name, sizeof member.name, "node-%llu", (unsigned long long)id);
    snprintf(member.peers, sizeof member.peers, "10.0.0.%llu:7001", (unsigned long long)id);
    snprintf(member.clients, sizeof member.clients, "n%llu.example:7000", (unsigned long long)id);
    return member;
}

static struct membership sample(void)
{
    struct membership membership = {0};
    const struct member members[] = {member_of(9, MEMBER_VOTER),
                                     member_of(2, MEMBER_VOTER | MEMBER_OUTGOING),
                                     member_of(5, MEMBER_LEARNER), member_of(3, MEMBER_OUTGOING)};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        ck_assert(membership_set(&membership, &members[i]));
    return membership;
}

static enum status decode(const uint8_t *from, size_t size, struct membership *membership)
{
    return membership_decode(bytes_of(from, size), membership);
}

START_TEST(test_round_trip)
{
    uint8_t encoded[membership_size_max];
    struct membership membership = sample();
    struct membership decoded;
    size_t size = membership_size(&membership);
    membership_encode(&membership, encoded);
    ck_assert_int_eq(decode(encoded, size, &decoded), STATUS_OK);
    ck_assert_uint_eq(decoded.count, 4);
    const uint64_t order[] = {2, 3, 5, 9};
    for (unsigned i = 0; i < 4; i++) {
        const struct member *expected = membership_find(&membership, order[i]);
        ck_assert_uint_eq(decoded.members[i].id, order[i]);
        ck_assert_uint_eq(decoded.members[i].kinds, expected->kinds);
        ck_assert_str_eq(decoded.members[i].name, expected->name);
        ck_assert_str_eq(decoded.members[i].peers, expected->peers);
        ck_assert_str_eq(decoded.members[i].clients, expected->clients);
    }
}
END_TEST

START_TEST(test_none_and_the_largest)
{
    uint8_t encoded[membership_size_max];
    struct membership membership = {0};
    struct membership decoded = {.count = 3};
    ck_assert_int_eq(membership_decode((struct bytes){0}, &decoded), STATUS_OK);
    ck_assert_uint_eq(decoded.count, 0);
    membership_encode(&membership, encoded);
    ck_assert_int_eq(decode(encoded, membership_size(&membership), &decoded), STATUS_OK);
    ck_assert_uint_eq(decoded.count, 0);
    for (uint64_t i = 1; i <= limit_members_count; i++) {
        struct member member = {.id = i, .kinds = i <= 7 ? MEMBER_VOTER : MEMBER_LEARNER};
        memset(member.name, 'n', limit_member_name_size);
        memset(member.peers, 'p', limit_member_address_size);
        memset(member.clients, 'c', limit_member_address_size);
        ck_assert(membership_set(&membership, &member));
    }
    ck_assert_uint_eq(membership_size(&membership), membership_size_max);
    membership_encode(&membership, encoded);
    ck_assert_int_eq(decode(encoded, sizeof encoded, &decoded), STATUS_OK);
    ck_assert_uint_eq(decoded.count, limit_members_count);
    ck_assert_uint_eq(strlen(decoded.members[15].clients), limit_member_address_size);
    struct member more = member_of(99, MEMBER_LEARNER);
    ck_assert(!membership_set(&membership, &more));
    more.id = 4;
    ck_assert(membership_set(&membership, &more)); /* replaces */
    ck_assert_uint_eq(membership.count, limit_members_count);
}
END_TEST

START_TEST(test_each_cut_and_each_extra_byte_is_malformed)
{
    uint8_t encoded[membership_size_max + 1] = {0};
    struct membership membership = sample();
    struct membership decoded;
    size_t size = membership_size(&membership);
    membership_encode(&membership, encoded);
    for (size_t cut = 1; cut < size; cut++) {
        ck_assert_int_eq(decode(encoded, cut, &decoded), STATUS_MALFORMED);
        ck_assert_uint_eq(decoded.count, 0);
    }
    ck_assert_int_eq(decode(encoded, size + 1, &decoded), STATUS_MALFORMED);
}
END_TEST

/* Encodes the sample, puts `value` at `offset`, and decodes. */
static enum status decode_with(size_t offset, uint8_t value)
{
    uint8_t encoded[membership_size_max];
    struct membership membership = sample();
    struct membership decoded;
    size_t size = membership_size(&membership);
    membership_encode(&membership, encoded);
    encoded[offset] = value;
    return decode(encoded, size, &decoded);
}

START_TEST(test_hostile_bytes)
{
    ck_assert_int_eq(decode_with(0, 2), STATUS_UNSUPPORTED);
    ck_assert_int_eq(decode_with(1, 3), STATUS_MALFORMED);
    ck_assert_int_eq(decode_with(1, 5), STATUS_MALFORMED);
    ck_assert_int_eq(decode_with(1, 255), STATUS_MALFORMED);
    for (size_t offset = 2; offset < 8; offset++)
        ck_assert_int_eq(decode_with(offset, 1), STATUS_MALFORMED);
    ck_assert_int_eq(decode_with(8, 0), STATUS_MALFORMED);  /* the id 0 */
    ck_assert_int_eq(decode_with(8, 3), STATUS_MALFORMED);  /* the next member's id */
    ck_assert_int_eq(decode_with(8, 77), STATUS_MALFORMED); /* out of order */
    ck_assert_int_eq(decode_with(16, 0), STATUS_MALFORMED);
    ck_assert_int_eq(decode_with(16, 8), STATUS_MALFORMED);
    ck_assert_int_eq(decode_with(16, MEMBER_VOTER | MEMBER_LEARNER), STATUS_MALFORMED);
    ck_assert_int_eq(decode_with(17, limit_member_name_size + 1), STATUS_MALFORMED);
    ck_assert_int_eq(decode_with(20, ' '), STATUS_MALFORMED);
    ck_assert_int_eq(decode_with(20, 0), STATUS_MALFORMED);
    ck_assert_int_eq(decode_with(20, 0x7f), STATUS_MALFORMED);
    ck_assert_int_eq(decode_with(20, 'N'), STATUS_OK);
}
END_TEST

START_TEST(test_too_many_voters)
{
    uint8_t encoded[membership_size_max];
    const unsigned kinds[] = {MEMBER_VOTER, MEMBER_OUTGOING};
    struct membership decoded;
    for (unsigned k = 0; k < 2; k++) {
        struct membership membership = {0};
        for (uint64_t id = 1; id <= limit_voters_count; id++) {
            struct member member = member_of(id, kinds[k]);
            ck_assert(membership_set(&membership, &member));
        }
        membership_encode(&membership, encoded);
        ck_assert_int_eq(decode(encoded, membership_size(&membership), &decoded), STATUS_OK);
        struct member member = member_of(limit_voters_count + 1, kinds[k]);
        ck_assert(membership_set(&membership, &member));
        membership_encode(&membership, encoded);
        ck_assert_int_eq(decode(encoded, membership_size(&membership), &decoded), STATUS_MALFORMED);
    }
}
END_TEST

START_TEST(test_find_and_remove)
{
    struct membership membership = sample();
    ck_assert(membership_is_joint(&membership));
    ck_assert_uint_eq(membership_find_name(&membership, "node-5")->id, 5);
    ck_assert_ptr_null(membership_find_name(&membership, "node-6"));
    ck_assert_ptr_null(membership_find(&membership, 6));
    membership_remove(&membership, 6);
    ck_assert_uint_eq(membership.count, 4);
    membership_remove(&membership, 2);
    membership_remove(&membership, 3);
    ck_assert_uint_eq(membership.count, 2);
    ck_assert_uint_eq(membership.members[0].id, 5);
    ck_assert_uint_eq(membership.members[1].id, 9);
    ck_assert(!membership_is_joint(&membership));
}
END_TEST

static void encode_invalid(void *context)
{
    uint8_t encoded[membership_size_max];
    membership_encode(context, encoded);
}

START_TEST(test_what_could_not_be_read_is_not_written)
{
    struct membership membership = sample();
    membership.members[1].id = membership.members[0].id;
    unit_assert_dies(encode_invalid, &membership);
    membership = sample();
    membership.members[1].kinds = 0;
    unit_assert_dies(encode_invalid, &membership);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_round_trip);
    tcase_add_test(tests, test_none_and_the_largest);
    tcase_add_test(tests, test_each_cut_and_each_extra_byte_is_malformed);
    tcase_add_test(tests, test_hostile_bytes);
    tcase_add_test(tests, test_too_many_voters);
    tcase_add_test(tests, test_find_and_remove);
    tcase_add_test(tests, test_what_could_not_be_read_is_not_written);
}
