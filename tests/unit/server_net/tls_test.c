/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a server's certificate: what is wrong with them is said with the file's name. */
#include "server/net/tls.h"

#include <fcntl.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/log.h"
#include "tests/unit/server_net/fixture.h"
#include "tests/unit/unit.h"

static char certificate_path[256];
static char key_path[256];
static char other_key_path[256];
static char text_path[256];
static char sealed_key_path[256];
static struct authority ours;

static void write_file(const char *path, const char *data, size_t size)
{
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(data, 1, size, file), size);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(chmod(path, 0600), 0);
}

static void write_bio(const char *path, BIO *pem)
{
    char *data = NULL;
    long size = BIO_get_mem_data(pem, &data);
    write_file(path, data, (size_t)size);
    BIO_free(pem);
}

static void setup(void)
{
    const char *folder = unit_directory();
    BIO *certificate_pem;
    BIO *key_pem;
    struct error error = {0};
    log_descriptor_set(-1);
    snprintf(certificate_path, sizeof certificate_path, "%s/server.crt", folder);
    snprintf(key_path, sizeof key_path, "%s/server.key", folder);
    snprintf(other_key_path, sizeof other_key_path, "%s/other.key", folder);
    snprintf(text_path, sizeof text_path, "%s/text", folder);
    snprintf(sealed_key_path, sizeof sealed_key_path, "%s/sealed.key", folder);
    authority_make(&ours, "ca");
    for (int i = 0; i < 2; i++) {
        struct certificate made = issue(&ours, CERTIFICATE_SERVER, "DNS:localhost", -60, 3600);
        ck_assert_int_eq(certificate_write(&made, &certificate_pem, &key_pem, &error), STATUS_OK);
        write_bio(certificate_path, certificate_pem);
        write_bio(i == 0 ? other_key_path : key_path, key_pem);
        BIO *sealed = BIO_new(BIO_s_mem());
        ck_assert_int_eq(PEM_write_bio_PKCS8PrivateKey(sealed, made.key, EVP_aes_256_cbc(), "word",
                                                       4, NULL, NULL),
                         1);
        write_bio(sealed_key_path, sealed);
        certificate_free(&made);
    }
    write_file(text_path, "words\n", 6);
}

static void teardown(void)
{
    authority_free(&ours);
}

/* `named`: the file that the error must name. */
static void refuse(const char *certificate, const char *key, const char *ca, enum status status,
                   const char *named)
{
    SSL_CTX *context = NULL;
    struct error error = {0};
    const struct tls_options options = {.certificate = certificate, .key = key, .ca = ca};
    ck_assert_int_eq(tls_context_open(&options, &context, &error), status);
    ck_assert_ptr_null(context);
    ck_assert_msg(strstr(error.text, named) != NULL, "%s", error.text);
}

START_TEST(test_good_files)
{
    SSL_CTX *context = NULL;
    struct error error = {0};
    const struct tls_options options = {
        .certificate = certificate_path, .key = key_path, .ca = ours.path};
    ck_assert_msg(tls_context_open(&options, &context, &error) == STATUS_OK, "%s", error.text);
    ck_assert_int_eq(SSL_CTX_get_min_proto_version(context), TLS1_3_VERSION);
    ck_assert_uint_eq(SSL_CTX_get_max_early_data(context), 0);
    SSL_CTX_free(context);
}
END_TEST

START_TEST(test_bad_files)
{
    refuse("/nowhere/a.crt", key_path, ours.path, STATUS_NOT_FOUND, "/nowhere/a.crt");
    refuse(certificate_path, "/nowhere/a.key", ours.path, STATUS_NOT_FOUND, "/nowhere/a.key");
    refuse(certificate_path, key_path, "/nowhere/ca.crt", STATUS_NOT_FOUND, "/nowhere/ca.crt");
    refuse("/tmp", key_path, ours.path, STATUS_INVALID_ARGUMENT, "/tmp");
    refuse(text_path, key_path, ours.path, STATUS_INVALID_ARGUMENT, text_path);
    refuse(certificate_path, text_path, ours.path, STATUS_INVALID_ARGUMENT, text_path);
    refuse(certificate_path, key_path, text_path, STATUS_INVALID_ARGUMENT, text_path);
    refuse(certificate_path, other_key_path, ours.path, STATUS_INVALID_ARGUMENT, other_key_path);
    refuse(certificate_path, sealed_key_path, ours.path, STATUS_INVALID_ARGUMENT, sealed_key_path);
}
END_TEST

/* A member's certificate serves and dials. */
START_TEST(test_members_certificates_are_for_both_sides)
{
    const struct {
        enum certificate_purpose purpose;
        enum status status;
    } cases[] = {{CERTIFICATE_MEMBER, STATUS_OK},
                 {CERTIFICATE_SERVER, STATUS_INVALID_ARGUMENT},
                 {CERTIFICATE_CLIENT, STATUS_INVALID_ARGUMENT}};
    char path[256];
    char path_of_key[256];
    const char *folder = unit_directory();
    snprintf(path, sizeof path, "%s/member.crt", folder);
    snprintf(path_of_key, sizeof path_of_key, "%s/member.key", folder);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        SSL_CTX *context = NULL;
        BIO *certificate_pem;
        BIO *key_pem;
        struct error error = {0};
        struct certificate made = issue(&ours, cases[i].purpose, "URI:strait:n1", -60, 3600);
        ck_assert_int_eq(certificate_write(&made, &certificate_pem, &key_pem, &error), STATUS_OK);
        certificate_free(&made);
        write_bio(path, certificate_pem);
        write_bio(path_of_key, key_pem);
        const struct tls_options options = {
            .certificate = path, .key = path_of_key, .ca = ours.path};
        ck_assert_int_eq(tls_peers_context_open(&options, &context, &error), cases[i].status);
        ck_assert((context != NULL) == (cases[i].status == STATUS_OK));
        if (context == NULL)
            ck_assert_ptr_nonnull(strstr(error.text, "clientAuth"));
        else
            ck_assert_uint_eq(SSL_CTX_get_num_tickets(context), 0);
        SSL_CTX_free(context);
    }
}
END_TEST

START_TEST(test_keys_that_others_can_read)
{
    ck_assert_int_eq(chmod(key_path, 0640), 0);
    refuse(certificate_path, key_path, ours.path, STATUS_FORBIDDEN, "chmod 600");
    ck_assert_int_eq(chmod(key_path, 0400), 0);
}
END_TEST

START_TEST(test_certificates_in_time)
{
    static const struct {
        long from_s;
        long until_s;
        enum status status;
    } cases[] = {
        {-60, 60, STATUS_OK}, {-60, -1, STATUS_UNAUTHENTICATED}, {60, 120, STATUS_UNAUTHENTICATED}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error error = {0};
        struct certificate made =
            issue(&ours, CERTIFICATE_CLIENT, "URI:strait:shop", cases[i].from_s, cases[i].until_s);
        ck_assert_int_eq(tls_certificate_is_current(made.x509, &error), cases[i].status);
        certificate_free(&made);
    }
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_good_files);
    tcase_add_test(tests, test_bad_files);
    tcase_add_test(tests, test_members_certificates_are_for_both_sides);
    tcase_add_test(tests, test_keys_that_others_can_read);
    tcase_add_test(tests, test_certificates_in_time);
}
