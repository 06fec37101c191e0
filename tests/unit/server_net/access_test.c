/* SPDX-License-Identifier: Apache-2.0 */
#include "server/net/access.h"

#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "proto/strait.pb-c.h"
#include "server/net/certificate.h"
#include "tests/unit/unit.h"

static struct certificate make(const char *names)
{
    struct certificate certificate;
    const struct certificate_options options = {.purpose = CERTIFICATE_CLIENT,
                                                .common_name = "dba",
                                                .names = names,
                                                .valid_from = time(NULL) - 60,
                                                .valid_until = time(NULL) + 60};
    struct error error = {0};
    ck_assert_msg(certificate_make(&options, NULL, &certificate, &error) == STATUS_OK, "%s",
                  error.text);
    return certificate;
}

/* NULL: none, and the error says why. */
static void expect_identity(const char *names, const char *expected)
{
    char identity[limit_identity_size + 1] = "?";
    struct error error = {0};
    struct certificate certificate = make(names);
    enum status status = identity_of_certificate(certificate.x509, identity, &error);
    if (expected != NULL) {
        ck_assert_msg(status == STATUS_OK, "%s: %s", names, error.text);
        ck_assert_str_eq(identity, expected);
    } else {
        ck_assert_int_eq(status, STATUS_UNAUTHENTICATED);
        ck_assert_str_eq(identity, "");
        ck_assert_uint_gt(strlen(error.text), 10);
    }
    certificate_free(&certificate);
}

START_TEST(test_identities)
{
    char longest[200] = "URI:strait:";
    expect_identity("URI:strait:shop", "shop");
    expect_identity("DNS:db1.example.com,URI:strait:shop,email:a@example.com", "shop");
    expect_identity("DNS:first.example.com,DNS:second.example.com", "first.example.com");
    expect_identity("email:a@example.com,DNS:first.example.com", "first.example.com");
    expect_identity("email:a@example.com", "a@example.com");
    expect_identity("URI:https://example.com/,DNS:first.example.com", "first.example.com");

    memset(longest + strlen(longest), 'x', limit_identity_size);
    expect_identity(longest, longest + strlen("URI:strait:"));
    strcat(longest, "x");
    expect_identity(longest, NULL);

    expect_identity(NULL, NULL); /* a common name of "dba" counts for nothing */
    expect_identity("IP:127.0.0.1", NULL);
    expect_identity("URI:https://example.com/", NULL);
    expect_identity("URI:strait:", NULL);
    expect_identity("URI:strait:shop,URI:strait:dba", NULL);
    expect_identity("URI:strait:two words", NULL);
    expect_identity("URI:strait:caf\xc3\xa9", NULL);
    expect_identity("URI:strait:line\nbreak", NULL);
}
END_TEST

/* A name that goes on behind a zero byte is not the name before it. */
START_TEST(test_zero_byte_in_a_name)
{
    static const char text[] = "dba\0.evil.example.com";
    char identity[limit_identity_size + 1];
    struct error error = {0};
    struct certificate certificate = make(NULL);
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *value = ASN1_IA5STRING_new();
    ck_assert_int_eq(ASN1_STRING_set(value, text, sizeof text - 1), 1);
    GENERAL_NAME_set0_value(name, GEN_DNS, value);
    sk_GENERAL_NAME_push(names, name);
    ck_assert_int_eq(X509_add1_ext_i2d(certificate.x509, NID_subject_alt_name, names, 0, 0), 1);
    ck_assert_int_eq(identity_of_certificate(certificate.x509, identity, &error),
                     STATUS_UNAUTHENTICATED);
    GENERAL_NAMES_free(names);
    certificate_free(&certificate);
}
END_TEST

START_TEST(test_list)
{
    struct access *access = NULL;
    ck_assert_int_eq(access_open(&access), STATUS_OK);
    ck_assert_int_eq(access_role(access, "shop"), ROLE_NONE);
    ck_assert_int_eq(access_add(access, "shop", ROLE_WRITER), STATUS_OK);
    ck_assert_int_eq(access_add(access, "shop", ROLE_ADMIN), STATUS_ALREADY_EXISTS);
    ck_assert_int_eq(access_role(access, "shop"), ROLE_WRITER);
    ck_assert_int_eq(access_role(access, "shop2"), ROLE_NONE);
    ck_assert_int_eq(access_role(access, "Shop"), ROLE_NONE);
    ck_assert_int_eq(access_role(access, ""), ROLE_NONE);
    ck_assert_int_eq(access_add(access, "", ROLE_READER), STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(access_add(access, "a b", ROLE_READER), STATUS_INVALID_ARGUMENT);
    for (int i = 1; i < limit_access_count; i++) {
        char identity[32];
        snprintf(identity, sizeof identity, "user-%d", (i * 7919) % limit_access_count);
        ck_assert_int_eq(access_add(access, identity, ROLE_READER), STATUS_OK);
    }
    ck_assert_int_eq(access_add(access, "one-more", ROLE_READER), STATUS_TOO_LARGE);
    ck_assert_int_eq(access_role(access, "user-4095"), ROLE_READER);
    ck_assert_int_eq(access_role(access, "shop"), ROLE_WRITER);
    access_close(access);
}
END_TEST

START_TEST(test_role_names)
{
    ck_assert_int_eq(role_of_name("reader"), ROLE_READER);
    ck_assert_int_eq(role_of_name("writer"), ROLE_WRITER);
    ck_assert_int_eq(role_of_name("admin"), ROLE_ADMIN);
    ck_assert_int_eq(role_of_name("none"), ROLE_NONE);
    ck_assert_int_eq(role_of_name("Admin"), ROLE_NONE);
    ck_assert_str_eq(role_name(ROLE_ADMIN), "admin");
    ck_assert_int_eq(role_of_name("peer"), ROLE_PEER);
    ck_assert_str_eq(role_name(ROLE_PEER), "peer");
    ck_assert_str_eq(role_name(ROLE_NONE), "none");
    /* A peer may do less than who may do nothing. */
    ck_assert_int_lt(ROLE_PEER, ROLE_NONE);
}
END_TEST

/* Every request is listed here, so that a new one cannot come to be open to all by being forgotten.
 */
START_TEST(test_role_of_each_request)
{
    static const struct {
        enum frame_type type;
        enum role role;
    } expected[] = {
        {FRAME_HELLO, ROLE_READER},
        {FRAME_PING, ROLE_READER},
        {FRAME_GET, ROLE_READER},
        {FRAME_SCAN, ROLE_READER},
        {FRAME_SNAPSHOT_OPEN, ROLE_READER},
        {FRAME_SNAPSHOT_RENEW, ROLE_READER},
        {FRAME_SNAPSHOT_CLOSE, ROLE_READER},
        {FRAME_TXN_STATUS, ROLE_READER},
        {FRAME_TXN_LIST, ROLE_ADMIN},
        {FRAME_TXN_CANCEL, ROLE_ADMIN},
        {FRAME_TABLE_LIST, ROLE_READER},
        {FRAME_STATUS, ROLE_READER},
        {FRAME_CHECK, ROLE_ADMIN},
        {FRAME_MEMBER_LIST, ROLE_ADMIN},
        {FRAME_MEMBER_CHANGE, ROLE_ADMIN},
        {FRAME_LEADER_TRANSFER, ROLE_ADMIN},
        {FRAME_REGION_PULL, ROLE_PEER},
        {FRAME_REGION_CHECKPOINT, ROLE_PEER},
        {FRAME_REGION_LIST, ROLE_ADMIN},
        {FRAME_REGION_CHANGE, ROLE_ADMIN},
        {FRAME_REGION_SWITCHOVER, ROLE_ADMIN},
        {FRAME_REGION_PROMOTE, ROLE_ADMIN},
        {FRAME_REGION_LOST_LIST, ROLE_ADMIN},
        {FRAME_REGION_LOST_READ, ROLE_ADMIN},
        {FRAME_REGION_LOST_CLOSE, ROLE_ADMIN},
        {FRAME_CLUSTER_UPGRADE, ROLE_ADMIN},
        {FRAME_WITNESS_LEASE, ROLE_PEER},
        {FRAME_WITNESS_STATUS, ROLE_ADMIN},
    };
    size_t requests = 0;
#define COUNT(name, number, request, reply, request_lower, reply_lower) requests++;
    FRAME_LIST(COUNT)
#undef COUNT
    ck_assert_uint_eq(sizeof expected / sizeof expected[0] + 1, requests); /* and COMMIT */
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        ck_assert_int_eq(access_role_needed(expected[i].type, NULL), expected[i].role);
}
END_TEST

START_TEST(test_role_of_commits)
{
    static const struct {
        Strait__Operation__KindCase kind;
        enum role role;
    } expected[] = {
        {STRAIT__OPERATION__KIND_PUT, ROLE_WRITER},
        {STRAIT__OPERATION__KIND_DELETE, ROLE_WRITER},
        {STRAIT__OPERATION__KIND_ADD, ROLE_WRITER},
        {STRAIT__OPERATION__KIND_TABLE_CREATE, ROLE_ADMIN},
        {STRAIT__OPERATION__KIND_TABLE_DROP, ROLE_ADMIN},
        {STRAIT__OPERATION__KIND_INDEX_CREATE, ROLE_ADMIN},
        {STRAIT__OPERATION__KIND_INDEX_DROP, ROLE_ADMIN},
    };
    Strait__Operation put = STRAIT__OPERATION__INIT;
    put.kind_case = STRAIT__OPERATION__KIND_PUT;
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        Strait__Commit commit = STRAIT__COMMIT__INIT;
        Strait__Operation operation = STRAIT__OPERATION__INIT;
        Strait__Operation *operations[] = {&put, &operation};
        operation.kind_case = expected[i].kind;
        commit.operations = operations;
        commit.n_operations = 2;
        ck_assert_int_eq(access_role_needed(FRAME_COMMIT, &commit.base), expected[i].role);
    }
    Strait__Commit empty = STRAIT__COMMIT__INIT;
    ck_assert_int_eq(access_role_needed(FRAME_COMMIT, &empty.base), ROLE_WRITER);
}
END_TEST

/* A peer asks what regions ask, says HELLO and PING, and reads and writes nothing. */
START_TEST(test_what_roles_permit)
{
    static const enum frame_type types[] = {
#define TYPE(name, number, request, reply, request_lower, reply_lower) FRAME_##name,
        FRAME_LIST(TYPE)
#undef TYPE
    };
    Strait__Commit commit = STRAIT__COMMIT__INIT;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        enum role needed = access_role_needed(types[i], &commit.base);
        bool is_greeting = types[i] == FRAME_HELLO || types[i] == FRAME_PING;
        ck_assert(access_permits(ROLE_PEER, types[i], &commit.base) ==
                  (is_greeting || needed == ROLE_PEER));
        ck_assert(!access_permits(ROLE_NONE, types[i], &commit.base));
        for (enum role role = ROLE_READER; role <= ROLE_ADMIN; role++)
            ck_assert(access_permits(role, types[i], &commit.base) ==
                      (needed != ROLE_PEER && role >= needed));
    }
    ck_assert(!access_permits(ROLE_PEER, FRAME_GET, NULL));
    ck_assert(!access_permits(ROLE_PEER, FRAME_MEMBER_CHANGE, NULL));
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_identities);
    tcase_add_test(tests, test_zero_byte_in_a_name);
    tcase_add_test(tests, test_list);
    tcase_add_test(tests, test_role_names);
    tcase_add_test(tests, test_role_of_each_request);
    tcase_add_test(tests, test_role_of_commits);
    tcase_add_test(tests, test_what_roles_permit);
}
