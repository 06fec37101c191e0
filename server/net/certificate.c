/* SPDX-License-Identifier: Apache-2.0 */
#include "server/net/certificate.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "server/net/tls.h"

enum { serial_size = 16, version_3 = 2 };

static enum status refused(const char *what, struct error *error)
{
    char reason[256];
    tls_error_text(reason, sizeof reason);
    return error_set(error, STATUS_INTERNAL, "OpenSSL could not %s (%s).", what, reason);
}

/* ---- Making ---- */

static bool set_serial(X509 *x509)
{
    uint8_t serial[serial_size];
    if (RAND_bytes(serial, sizeof serial) != 1)
        return false;
    serial[0] &= 0x7f; /* positive */
    serial[0] |= 0x40; /* and of full length */
    BIGNUM *number = BN_bin2bn(serial, sizeof serial, NULL);
    bool done = number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x509)) != NULL;
    BN_free(number);
    return done;
}

static bool set_name(X509 *x509, const char *common_name, const X509 *issuer)
{
    X509_NAME *name = X509_get_subject_name(x509);
    return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)common_name,
                                      -1, -1, 0) == 1 &&
           X509_set_issuer_name(x509, issuer != NULL ? X509_get_subject_name(issuer) : name) == 1;
}

static bool add_extension(X509 *x509, X509 *issuer, int kind, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer != NULL ? issuer : x509, x509, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
    bool done = extension != NULL && X509_add_ext(x509, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return done;
}

static bool set_extensions(X509 *x509, X509 *issuer, const struct certificate_options *options)
{
    static const char *const usages[] = {[CERTIFICATE_SERVER] = "serverAuth",
                                         [CERTIFICATE_CLIENT] = "clientAuth",
                                         [CERTIFICATE_MEMBER] = "serverAuth,clientAuth"};
    bool is_authority = options->purpose == CERTIFICATE_AUTHORITY;
    bool done = add_extension(x509, issuer, NID_basic_constraints,
                              is_authority ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE") &&
                add_extension(x509, issuer, NID_key_usage,
                              is_authority ? "critical,keyCertSign,cRLSign"
                                           : "critical,digitalSignature") &&
                add_extension(x509, issuer, NID_subject_key_identifier, "hash") &&
                add_extension(x509, issuer, NID_authority_key_identifier, "keyid:always");
    if (done && !is_authority)
        done = add_extension(x509, issuer, NID_ext_key_usage, usages[options->purpose]);
    if (done && options->names != NULL)
        done = add_extension(x509, issuer, NID_subject_alt_name, options->names);
    return done;
}

static bool set_times(X509 *x509, const struct certificate_options *options)
{
    return ASN1_TIME_set(X509_getm_notBefore(x509), options->valid_from) != NULL &&
           ASN1_TIME_set(X509_getm_notAfter(x509), options->valid_until) != NULL;
}

enum status certificate_make(const struct certificate_options *options,
                             const struct certificate *issuer, struct certificate *certificate,
                             struct error *error)
{
    X509 *issuer_x509 = issuer != NULL ? issuer->x509 : NULL;
    *certificate = (struct certificate){.x509 = X509_new(), .key = EVP_EC_gen("P-256")};
    X509 *x509 = certificate->x509;
    if (x509 != NULL && certificate->key != NULL && X509_set_version(x509, version_3) == 1 &&
        set_serial(x509) && set_name(x509, options->common_name, issuer_x509) &&
        set_times(x509, options) && X509_set_pubkey(x509, certificate->key) == 1 &&
        set_extensions(x509, issuer_x509, options) &&
        X509_sign(x509, issuer != NULL ? issuer->key : certificate->key, EVP_sha256()) > 0)
        return STATUS_OK;
    certificate_free(certificate);
    return refused("make a certificate", error);
}

/* ---- Reading and writing ---- */

static enum status open_file(const char *path, FILE **file, struct error *error)
{
    *file = fopen(path, "re");
    if (*file != NULL)
        return STATUS_OK;
    return error_set(error, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO_ERROR,
                     "%s: cannot open it: %s.", path, strerror(errno));
}

enum status certificate_read(const char *certificate_path, const char *key_path,
                             struct certificate *certificate, struct error *error)
{
    FILE *file = NULL;
    *certificate = (struct certificate){0};
    enum status status = open_file(certificate_path, &file, error);
    if (status != STATUS_OK)
        return status;
    certificate->x509 = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    status = open_file(key_path, &file, error);
    if (status != STATUS_OK) {
        certificate_free(certificate);
        return status;
    }
    certificate->key = PEM_read_PrivateKey(file, NULL, NULL, (char *)"");
    fclose(file);
    if (certificate->x509 != NULL && certificate->key != NULL &&
        X509_check_private_key(certificate->x509, certificate->key) == 1)
        return STATUS_OK;
    ERR_clear_error();
    certificate_free(certificate);
    return error_set(error, STATUS_CORRUPT, "%s: not a certificate whose key is %s.",
                     certificate_path, key_path);
}

enum status certificate_write(const struct certificate *certificate, BIO **certificate_pem,
                              BIO **key_pem, struct error *error)
{
    *certificate_pem = BIO_new(BIO_s_mem());
    *key_pem = BIO_new(BIO_s_secmem());
    if (*certificate_pem != NULL && *key_pem != NULL &&
        PEM_write_bio_X509(*certificate_pem, certificate->x509) == 1 &&
        PEM_write_bio_PKCS8PrivateKey(*key_pem, certificate->key, NULL, NULL, 0, NULL, NULL) == 1)
        return STATUS_OK;
    BIO_free(*certificate_pem);
    BIO_free(*key_pem);
    *certificate_pem = NULL;
    *key_pem = NULL;
    return refused("write a certificate", error);
}

bool certificate_is_usable(const struct certificate *certificate, const struct certificate *issuer,
                           time_t until)
{
    bool usable = X509_verify(certificate->x509, issuer->key) == 1 &&
                  X509_cmp_current_time(X509_get0_notBefore(certificate->x509)) < 0 &&
                  X509_cmp_time(X509_get0_notAfter(certificate->x509), &until) > 0;
    ERR_clear_error();
    return usable;
}

void certificate_free(struct certificate *certificate)
{
    X509_free(certificate->x509);
    EVP_PKEY_free(certificate->key);
    *certificate = (struct certificate){0};
}
