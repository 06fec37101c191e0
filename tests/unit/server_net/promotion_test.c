/* SPDX-License-Identifier: Apache-2.0 */
/* The record of a promotion: what a member signed is believed, and nothing else. */
#include "server/net/promotion.h"

#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/server_net/fixture.h"
#include "tests/unit/unit.h"

static struct authority ours;
static struct authority foreign;
static struct access *list;
static const uint8_t cluster_id[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

static void setup(void)
{
    authority_make(&ours, "ca");
    authority_make(&foreign, "foreign");
    ck_assert_int_eq(access_open(&list), STATUS_OK);
    ck_assert_int_eq(access_add(list, "syd1", ROLE_PEER), STATUS_OK);
    ck_assert_int_eq(access_add(list, "dba", ROLE_ADMIN), STATUS_OK);
}

static void teardown(void)
{
    access_close(list);
    authority_free(&foreign);
    authority_free(&ours);
}

static uint64_t now_ms(void)
{
    return (uint64_t)time(NULL) * 1000;
}

static struct promotion promotion_make(void)
{
    struct promotion promotion = {
        .from = {4, 1},
        .to = {6, 2},
        .version = 123456789,
        .chain = {11, 12},
        .wall_ms = now_ms(),
        .name = "sydney",
        .endpoints_count = 3,
        .endpoints = {"syd1.example.com:7411", "192.0.2.7:7411", "[2001:db8::1]:7411"},
    };
    memcpy(promotion.cluster_id, cluster_id, sizeof cluster_id);
    return promotion;
}

/* A context that trusts an authority. */
static SSL_CTX *trusting(const struct authority *authority)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_method());
    ck_assert_ptr_nonnull(tls);
    ck_assert_int_eq(SSL_CTX_load_verify_locations(tls, authority->path, NULL), 1);
    return tls;
}

/* One that signs as whom the certificate names. */
static SSL_CTX *signing(const struct certificate *certificate)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_method());
    ck_assert_ptr_nonnull(tls);
    ck_assert_int_eq(SSL_CTX_use_certificate(tls, certificate->x509), 1);
    ck_assert_int_eq(SSL_CTX_use_PrivateKey(tls, certificate->key), 1);
    return tls;
}

static struct promotion_record sign(const struct certificate *certificate)
{
    struct promotion_record record;
    struct error error = {0};
    struct promotion promotion = promotion_make();
    SSL_CTX *tls = signing(certificate);
    ck_assert_msg(promotion_sign(&promotion, tls, &record, &error) == STATUS_OK, "%s", error.text);
    SSL_CTX_free(tls);
    return record;
}

static struct promotion_record sign_as(const struct authority *authority,
                                       enum certificate_purpose purpose, const char *names,
                                       long from_s, long until_s)
{
    struct certificate certificate = issue(authority, purpose, names, from_s, until_s);
    struct promotion_record record = sign(&certificate);
    certificate_free(&certificate);
    return record;
}

static enum status verify_with(SSL_CTX *tls, struct bytes record, struct promotion *promotion,
                               struct error *error)
{
    char signer[limit_identity_size + 1];
    const struct promotion_trust trust = {
        .tls = tls, .access = list, .cluster_id = cluster_id, .wall_ms = now_ms()};
    *error = (struct error){0};
    enum status status = promotion_verify(record, &trust, promotion, signer, error);
    ck_assert_str_eq(signer, status == STATUS_OK ? "syd1" : "");
    ck_assert(status == STATUS_OK || (error->text[0] != 0 && promotion->to.number == 0));
    return status;
}

static enum status verify(const struct promotion_record *record, struct promotion *promotion,
                          struct error *error)
{
    SSL_CTX *tls = trusting(&ours);
    enum status status = verify_with(tls, bytes_of(record->bytes, record->size), promotion, error);
    SSL_CTX_free(tls);
    return status;
}

/* Refused, with these words among others. */
static void expect(const struct promotion_record *record, enum status status, const char *words)
{
    struct promotion promotion;
    struct error error;
    enum status result = verify(record, &promotion, &error);
    ck_assert_msg(result == status, "%s: %s", status_name(result), error.text);
    ck_assert_msg(strstr(error.text, words) != NULL, "%s", error.text);
}

/* ---- What is believed ---- */

static void expect_same(const struct promotion_record *record)
{
    struct promotion promotion;
    struct promotion expected = promotion_make();
    struct error error;
    ck_assert_msg(verify(record, &promotion, &error) == STATUS_OK, "%s", error.text);
    ck_assert_mem_eq(promotion.cluster_id, cluster_id, sizeof cluster_id);
    ck_assert(epoch_equal(promotion.from, expected.from));
    ck_assert(epoch_equal(promotion.to, expected.to));
    ck_assert_uint_eq(promotion.version, expected.version);
    ck_assert_uint_eq(promotion.chain.low, expected.chain.low);
    ck_assert_uint_eq(promotion.chain.high, expected.chain.high);
    ck_assert_uint_le(promotion.wall_ms, expected.wall_ms);
    ck_assert_uint_ge(promotion.wall_ms + 60000, expected.wall_ms);
    ck_assert_str_eq(promotion.name, expected.name);
    ck_assert_uint_eq(promotion.endpoints_count, expected.endpoints_count);
    for (unsigned i = 0; i < promotion.endpoints_count; i++)
        ck_assert_str_eq(promotion.endpoints[i], expected.endpoints[i]);
}

START_TEST(test_what_a_member_signed_is_believed)
{
    struct promotion_record record =
        sign_as(&ours, CERTIFICATE_MEMBER, "URI:strait:syd1", -60, 3600);
    ck_assert_uint_lt(record.size, 2048);
    expect_same(&record);
}
END_TEST

/* The first epoch follows none. */
START_TEST(test_an_epoch_may_follow_none)
{
    struct certificate certificate = issue(&ours, CERTIFICATE_MEMBER, "URI:strait:syd1", -60, 3600);
    SSL_CTX *tls = signing(&certificate);
    struct promotion promotion = promotion_make();
    struct promotion_record record;
    struct error error = {0};
    promotion.from = (struct epoch){0};
    promotion.endpoints_count = 0;
    ck_assert_int_eq(promotion_sign(&promotion, tls, &record, &error), STATUS_OK);
    ck_assert_int_eq(verify(&record, &promotion, &error), STATUS_OK);
    ck_assert_uint_eq(promotion.from.number, 0);
    ck_assert_uint_eq(promotion.endpoints_count, 0);
    SSL_CTX_free(tls);
    certificate_free(&certificate);
}
END_TEST

/* The same certificate for another key. */
static void give_key(struct certificate *certificate, EVP_PKEY *key,
                     const struct certificate *issuer)
{
    ck_assert_ptr_nonnull(key);
    EVP_PKEY_free(certificate->key);
    certificate->key = key;
    ck_assert_int_eq(X509_set_pubkey(certificate->x509, key), 1);
    ck_assert_int_gt(X509_sign(certificate->x509, issuer->key, EVP_sha256()), 0);
}

START_TEST(test_keys_of_all_kinds_sign)
{
    EVP_PKEY *keys[] = {
        EVP_RSA_gen(2048),
        EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"),
        EVP_PKEY_Q_keygen(NULL, NULL, "ED448"),
        EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384"),
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct certificate certificate =
            issue(&ours, CERTIFICATE_MEMBER, "URI:strait:syd1", -60, 3600);
        give_key(&certificate, keys[i], &ours.certificate);
        struct promotion_record record = sign(&certificate);
        expect_same(&record);
        certificate_free(&certificate);
    }
}
END_TEST

START_TEST(test_a_weak_key_is_refused)
{
    struct certificate certificate = issue(&ours, CERTIFICATE_MEMBER, "URI:strait:syd1", -60, 3600);
    SSL_CTX *tls = SSL_CTX_new(TLS_method());
    struct promotion promotion = promotion_make();
    struct promotion_record record;
    struct error error = {0};
    give_key(&certificate, EVP_RSA_gen(1024), &ours.certificate);
    SSL_CTX_set_security_level(tls, 0);
    ck_assert_int_eq(SSL_CTX_use_certificate(tls, certificate.x509), 1);
    ck_assert_int_eq(SSL_CTX_use_PrivateKey(tls, certificate.key), 1);
    ck_assert_int_eq(promotion_sign(&promotion, tls, &record, &error), STATUS_OK);
    expect(&record, STATUS_UNAUTHENTICATED, "key too weak");
    SSL_CTX_free(tls);
    certificate_free(&certificate);
}
END_TEST

/* An authority that may vouch for others, and one of those. */
static void allow_intermediates(struct certificate *authority, const struct certificate *issuer)
{
    X509_EXTENSION *constraints =
        X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
    int place = X509_get_ext_by_NID(authority->x509, NID_basic_constraints, -1);
    ck_assert_ptr_nonnull(constraints);
    ck_assert_int_ge(place, 0);
    X509_EXTENSION_free(X509_delete_ext(authority->x509, place));
    ck_assert_int_eq(X509_add_ext(authority->x509, constraints, -1), 1);
    X509_EXTENSION_free(constraints);
    ck_assert_int_gt(X509_sign(authority->x509, issuer->key, EVP_sha256()), 0);
}

START_TEST(test_a_chain_of_certificates_comes_along)
{
    struct authority root;
    struct authority middle = {.certificate = {0}};
    struct promotion promotion = promotion_make();
    struct promotion_record record;
    struct error error = {0};
    authority_make(&root, "root");
    allow_intermediates(&root.certificate, &root.certificate);
    X509_NAME *name = X509_NAME_new();
    ck_assert_int_eq(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                                (const unsigned char *)"middle", -1, -1, 0),
                     1);
    middle.certificate = issue(&root, CERTIFICATE_AUTHORITY, NULL, -60, 3600);
    ck_assert_int_eq(X509_set_subject_name(middle.certificate.x509, name), 1);
    ck_assert_int_gt(X509_sign(middle.certificate.x509, root.certificate.key, EVP_sha256()), 0);
    struct certificate certificate =
        issue(&middle, CERTIFICATE_MEMBER, "URI:strait:syd1", -60, 3600);

    SSL_CTX *with = signing(&certificate);
    SSL_CTX *without = signing(&certificate);
    SSL_CTX *trust = SSL_CTX_new(TLS_method());
    ck_assert_int_eq(X509_STORE_add_cert(SSL_CTX_get_cert_store(trust), root.certificate.x509), 1);
    ck_assert_int_eq(SSL_CTX_add1_chain_cert(with, middle.certificate.x509), 1);
    ck_assert_int_eq(promotion_sign(&promotion, with, &record, &error), STATUS_OK);
    enum status status =
        verify_with(trust, bytes_of(record.bytes, record.size), &promotion, &error);
    ck_assert_msg(status == STATUS_OK, "%s", error.text);
    ck_assert_int_eq(promotion_sign(&promotion, without, &record, &error), STATUS_OK);
    ck_assert_int_eq(verify_with(trust, bytes_of(record.bytes, record.size), &promotion, &error),
                     STATUS_UNAUTHENTICATED);
    SSL_CTX_free(trust);
    SSL_CTX_free(without);
    SSL_CTX_free(with);
    X509_NAME_free(name);
    certificate_free(&certificate);
    certificate_free(&middle.certificate);
    authority_free(&root);
}
END_TEST

/* ---- What is not ---- */

START_TEST(test_a_change_of_any_byte_is_found)
{
    SSL_CTX *tls = trusting(&ours);
    struct promotion promotion;
    struct error error;
    struct promotion_record record =
        sign_as(&ours, CERTIFICATE_MEMBER, "URI:strait:syd1", -60, 3600);
    for (size_t i = 0; i < record.size; i++) {
        uint8_t bit = (uint8_t)(1 << i % 8);
        record.bytes[i] ^= bit;
        ck_assert_int_ne(verify_with(tls, bytes_of(record.bytes, record.size), &promotion, &error),
                         STATUS_OK);
        record.bytes[i] ^= bit;
    }
    ck_assert_int_eq(verify_with(tls, bytes_of(record.bytes, record.size), &promotion, &error),
                     STATUS_OK);
    SSL_CTX_free(tls);
}
END_TEST

START_TEST(test_another_size_is_malformed)
{
    struct promotion promotion;
    struct promotion_record record =
        sign_as(&ours, CERTIFICATE_MEMBER, "URI:strait:syd1", -60, 3600);
    for (size_t size = 0; size < record.size; size++)
        ck_assert_int_eq(promotion_parse(bytes_of(record.bytes, size), &promotion),
                         STATUS_MALFORMED);
    record.bytes[record.size] = 0;
    ck_assert_int_eq(promotion_parse(bytes_of(record.bytes, record.size + 1), &promotion),
                     STATUS_MALFORMED);
    record.bytes[0] = 2;
    ck_assert_int_eq(promotion_parse(bytes_of(record.bytes, record.size), &promotion),
                     STATUS_UNSUPPORTED);
    expect(&record, STATUS_UNSUPPORTED, "no record of a promotion");
}
END_TEST

START_TEST(test_another_authority_is_refused)
{
    struct promotion_record record =
        sign_as(&foreign, CERTIFICATE_MEMBER, "URI:strait:syd1", -60, 3600);
    expect(&record, STATUS_UNAUTHENTICATED, "is refused");
}
END_TEST

START_TEST(test_another_role_is_refused)
{
    struct promotion_record record =
        sign_as(&ours, CERTIFICATE_MEMBER, "URI:strait:dba", -60, 3600);
    expect(&record, STATUS_PERMISSION_DENIED, "dba");
    record = sign_as(&ours, CERTIFICATE_MEMBER, "URI:strait:stranger", -60, 3600);
    expect(&record, STATUS_PERMISSION_DENIED, "stranger");
    record = sign_as(&ours, CERTIFICATE_MEMBER, NULL, -60, 3600);
    expect(&record, STATUS_UNAUTHENTICATED, "names nobody");
}
END_TEST

START_TEST(test_a_certificate_out_of_its_time_is_refused)
{
    struct promotion_record record =
        sign_as(&ours, CERTIFICATE_MEMBER, "URI:strait:syd1", -7200, -3600);
    expect(&record, STATUS_UNAUTHENTICATED, "expired");
    record = sign_as(&ours, CERTIFICATE_MEMBER, "URI:strait:syd1", 3600, 7200);
    expect(&record, STATUS_UNAUTHENTICATED, "not yet valid");
}
END_TEST

START_TEST(test_a_certificate_for_something_else_is_refused)
{
    struct promotion_record record =
        sign_as(&ours, CERTIFICATE_SERVER, "URI:strait:syd1", -60, 3600);
    expect(&record, STATUS_UNAUTHENTICATED, "purpose");
}
END_TEST

START_TEST(test_another_cluster_is_refused)
{
    struct certificate certificate = issue(&ours, CERTIFICATE_MEMBER, "URI:strait:syd1", -60, 3600);
    SSL_CTX *tls = signing(&certificate);
    struct promotion promotion = promotion_make();
    struct promotion_record record;
    struct error error = {0};
    promotion.cluster_id[15]++;
    ck_assert_int_eq(promotion_sign(&promotion, tls, &record, &error), STATUS_OK);
    expect(&record, STATUS_INVALID_ARGUMENT, "another cluster");
    SSL_CTX_free(tls);
    certificate_free(&certificate);
}
END_TEST

/* A signature of the same bytes without the context, as another protocol might make one. */
START_TEST(test_a_signature_made_for_another_purpose_is_refused)
{
    struct certificate certificate = issue(&ours, CERTIFICATE_MEMBER, "URI:strait:syd1", -60, 3600);
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    give_key(&certificate, key, &ours.certificate);
    struct promotion_record record = sign(&certificate);
    enum { signature_size = 64 };
    size_t signed_size = record.size - signature_size - 2;
    size_t size = signature_size;
    EVP_MD_CTX *again = EVP_MD_CTX_new();
    ck_assert_int_eq(EVP_DigestSignInit(again, NULL, NULL, NULL, key), 1);
    ck_assert_int_eq(
        EVP_DigestSign(again, record.bytes + signed_size + 2, &size, record.bytes, signed_size), 1);
    EVP_MD_CTX_free(again);
    expect(&record, STATUS_UNAUTHENTICATED, "signature");
    certificate_free(&certificate);
}
END_TEST

START_TEST(test_what_cannot_be_is_not_signed)
{
    struct certificate certificate = issue(&ours, CERTIFICATE_MEMBER, "URI:strait:syd1", -60, 3600);
    SSL_CTX *tls = signing(&certificate);
    struct promotion_record record;
    struct promotion wrong[7];
    for (unsigned i = 0; i < 7; i++)
        wrong[i] = promotion_make();
    wrong[0].to = wrong[0].from;
    wrong[1].to.number = 3;
    wrong[2].to.region = 0;
    wrong[3].name[0] = 0;
    snprintf(wrong[4].name, sizeof wrong[4].name, "Sydney !");
    snprintf(wrong[5].endpoints[1], sizeof wrong[5].endpoints[1], "no endpoint");
    wrong[6].endpoints_count = limit_region_endpoints_count + 1;
    for (unsigned i = 0; i < 7; i++) {
        struct error error = {0};
        ck_assert_int_eq(promotion_sign(&wrong[i], tls, &record, &error), STATUS_INVALID_ARGUMENT);
        ck_assert_uint_eq(record.size, 0);
    }
    SSL_CTX_free(tls);
    certificate_free(&certificate);
}
END_TEST

START_TEST(test_certificates_that_do_not_fit_are_told_so)
{
    static char names[16 * 1024];
    struct promotion promotion = promotion_make();
    struct promotion_record record;
    struct error error = {0};
    size_t size = (size_t)snprintf(names, sizeof names, "URI:strait:syd1");
    for (unsigned i = 0; i < 400; i++)
        size += (size_t)snprintf(names + size, sizeof names - size, ",DNS:host%03u.example.com", i);
    struct certificate certificate = issue(&ours, CERTIFICATE_MEMBER, names, -60, 3600);
    SSL_CTX *tls = signing(&certificate);
    ck_assert_int_eq(promotion_sign(&promotion, tls, &record, &error), STATUS_TOO_LARGE);
    ck_assert_uint_eq(record.size, 0);
    SSL_CTX_free(tls);
    certificate_free(&certificate);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_what_a_member_signed_is_believed);
    tcase_add_test(tests, test_an_epoch_may_follow_none);
    tcase_add_test(tests, test_keys_of_all_kinds_sign);
    tcase_add_test(tests, test_a_weak_key_is_refused);
    tcase_add_test(tests, test_a_chain_of_certificates_comes_along);
    tcase_add_test(tests, test_a_change_of_any_byte_is_found);
    tcase_add_test(tests, test_another_size_is_malformed);
    tcase_add_test(tests, test_another_authority_is_refused);
    tcase_add_test(tests, test_another_role_is_refused);
    tcase_add_test(tests, test_a_certificate_out_of_its_time_is_refused);
    tcase_add_test(tests, test_a_certificate_for_something_else_is_refused);
    tcase_add_test(tests, test_another_cluster_is_refused);
    tcase_add_test(tests, test_a_signature_made_for_another_purpose_is_refused);
    tcase_add_test(tests, test_what_cannot_be_is_not_signed);
    tcase_add_test(tests, test_certificates_that_do_not_fit_are_told_so);
}
