/* SPDX-License-Identifier: Apache-2.0 */
#include "server/net/promotion.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "proto/base/assert.h"
#include "proto/name.h"
#include "proto/regions.h"
#include "server/net/tls.h"

enum { record_format = 1, header_size = 80, security_level = 2 };

static const char context[] = "strait promotion 1";

/* Where its parts lie. */
struct parts {
    struct bytes is_signed; /* all that the signature covers */
    struct bytes certificates[promotion_certificates_max];
    unsigned certificates_count;
    struct bytes signature;
};

static bool promotion_is_valid(const struct promotion *promotion)
{
    bool follows =
        promotion->from.number == 0
            ? promotion->from.region == 0
            : promotion->from.region != 0 && epoch_compare(promotion->from, promotion->to) < 0;
    if (!follows || promotion->to.number == 0 || promotion->to.region == 0 ||
        !name_is_valid(bytes_of_text(promotion->name)) ||
        promotion->endpoints_count > limit_region_endpoints_count)
        return false;
    for (unsigned i = 0; i < promotion->endpoints_count; i++) {
        if (!region_endpoint_is_valid(promotion->endpoints[i]))
            return false;
    }
    return true;
}

/* ---- Out ---- */

/* Appends to a record; past its bound nothing more, and `fits` says so. */
struct writer {
    struct promotion_record *record;
    bool fits;
};

static void write_bytes(struct writer *writer, struct bytes bytes)
{
    struct promotion_record *record = writer->record;
    writer->fits = writer->fits && bytes.size <= sizeof record->bytes - record->size;
    if (!writer->fits)
        return;
    bytes_copy(record->bytes + record->size, bytes);
    record->size += bytes.size;
}

/* With its size before it, in one byte or two. */
static void write_sized(struct writer *writer, struct bytes bytes, size_t size_of_size)
{
    uint8_t size[2];
    ASSERT(bytes.size < (size_t)1 << (8 * size_of_size));
    store_u16(size, (uint16_t)bytes.size);
    write_bytes(writer, bytes_of(size, size_of_size));
    write_bytes(writer, bytes);
}

static void write_header(struct writer *writer, const struct promotion *promotion,
                         unsigned certificates_count)
{
    uint8_t header[header_size] = {record_format};
    header[1] = (uint8_t)promotion->endpoints_count;
    header[2] = (uint8_t)certificates_count;
    header[3] = (uint8_t)strlen(promotion->name);
    memcpy(header + 8, promotion->cluster_id, promotion_cluster_id_size);
    store_u64(header + 24, promotion->from.number);
    store_u32(header + 32, promotion->from.region);
    store_u32(header + 36, promotion->to.region);
    store_u64(header + 40, promotion->to.number);
    store_u64(header + 48, promotion->version);
    store_u64(header + 56, promotion->chain.low);
    store_u64(header + 64, promotion->chain.high);
    store_u64(header + 72, promotion->wall_ms);
    write_bytes(writer, bytes_of(header, sizeof header));
}

static enum status write_certificate(struct writer *writer, X509 *certificate, struct error *error)
{
    unsigned char *der = NULL;
    int size = i2d_X509(certificate, &der);
    if (size <= 0)
        return error_set(error, STATUS_INTERNAL, "A certificate could not be encoded.");
    if (size <= limit_promotion_record_size)
        write_sized(writer, bytes_of(der, (size_t)size), 2);
    else
        writer->fits = false;
    OPENSSL_free(der);
    return STATUS_OK;
}

/* Those that say what to hash themselves take no digest of ours. */
static const EVP_MD *digest_of(const EVP_PKEY *key)
{
    return EVP_PKEY_is_a(key, "ED25519") == 1 || EVP_PKEY_is_a(key, "ED448") == 1 ? NULL
                                                                                  : EVP_sha256();
}

/* What is signed: the context with its final 0, then the record up to there. */
struct message {
    size_t size;
    uint8_t bytes[sizeof context + limit_promotion_record_size];
};

static void message_fill(struct message *message, struct bytes is_signed)
{
    ASSERT(is_signed.size <= limit_promotion_record_size);
    memcpy(message->bytes, context, sizeof context);
    bytes_copy(message->bytes + sizeof context, is_signed);
    message->size = sizeof context + is_signed.size;
}

static enum status write_signature(struct writer *writer, EVP_PKEY *key, struct error *error)
{
    struct message message;
    uint8_t signature[limit_promotion_record_size];
    size_t size = sizeof signature;
    EVP_MD_CTX *signing = EVP_MD_CTX_new();
    message_fill(&message, bytes_of(writer->record->bytes, writer->record->size));
    bool is_done = signing != NULL &&
                   EVP_DigestSignInit(signing, NULL, digest_of(key), NULL, key) == 1 &&
                   EVP_DigestSign(signing, signature, &size, message.bytes, message.size) == 1;
    EVP_MD_CTX_free(signing);
    if (!is_done) {
        char reason[256];
        tls_error_text(reason, sizeof reason);
        return error_set(error, STATUS_INTERNAL, "The promotion could not be signed (%s).", reason);
    }
    write_sized(writer, bytes_of(signature, size), 2);
    return STATUS_OK;
}

enum status promotion_sign(const struct promotion *promotion, SSL_CTX *tls,
                           struct promotion_record *record, struct error *error)
{
    STACK_OF(X509) *chain = NULL;
    EVP_PKEY *key = SSL_CTX_get0_privatekey(tls);
    X509 *certificate = SSL_CTX_get0_certificate(tls);
    struct writer writer = {.record = record, .fits = true};
    record->size = 0;
    ERR_clear_error();
    if (!promotion_is_valid(promotion))
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "A promotion leads to a higher epoch of a region with a name and "
                         "endpoints.");
    if (key == NULL || certificate == NULL || SSL_CTX_get0_chain_certs(tls, &chain) != 1)
        return error_set(error, STATUS_INTERNAL, "There is no certificate to sign with.");
    int intermediate_count = chain != NULL ? sk_X509_num(chain) : 0;
    if (intermediate_count >= promotion_certificates_max)
        return error_set(error, STATUS_TOO_LARGE,
                         "A promotion carries at most %d certificates; this one's chain has %d.",
                         promotion_certificates_max, intermediate_count + 1);
    write_header(&writer, promotion, 1 + (unsigned)intermediate_count);
    write_bytes(&writer, bytes_of_text(promotion->name));
    for (unsigned i = 0; i < promotion->endpoints_count; i++)
        write_sized(&writer, bytes_of_text(promotion->endpoints[i]), 1);
    enum status status = write_certificate(&writer, certificate, error);
    for (int i = 0; i < intermediate_count && status == STATUS_OK; i++)
        status = write_certificate(&writer, sk_X509_value(chain, i), error);
    if (status == STATUS_OK && writer.fits)
        status = write_signature(&writer, key, error);
    if (status == STATUS_OK && !writer.fits)
        status = error_set(error, STATUS_TOO_LARGE,
                           "A promotion's record is at most %d bytes; the certificates take more.",
                           limit_promotion_record_size);
    if (status != STATUS_OK)
        record->size = 0;
    return status;
}

/* ---- In ---- */

/* Takes `size` bytes off the front; false where there are fewer. */
static bool take(struct bytes *from, size_t size, struct bytes *taken)
{
    *taken = (struct bytes){0};
    if (from->size < size)
        return false;
    *taken = bytes_of(from->data, size);
    *from = bytes_of(from->data + size, from->size - size);
    return true;
}

static bool take_sized(struct bytes *from, size_t size_of_size, struct bytes *taken)
{
    struct bytes size;
    if (!take(from, size_of_size, &size))
        return false;
    return take(from, size_of_size == 1 ? size.data[0] : load_u16(size.data), taken) &&
           taken->size > 0;
}

static bool take_text(struct bytes text, char *to, size_t size_max)
{
    if (text.size == 0 || text.size > size_max || memchr(text.data, 0, text.size) != NULL)
        return false;
    bytes_copy(to, text);
    to[text.size] = 0;
    return true;
}

/* What follows the header. */
static bool parse_rest(struct bytes record, const uint8_t *header, struct promotion *promotion,
                       struct parts *parts)
{
    struct bytes text;
    struct bytes rest = bytes_of(record.data + header_size, record.size - header_size);
    if (header[1] > limit_region_endpoints_count || header[2] == 0 ||
        header[2] > promotion_certificates_max || !take(&rest, header[3], &text) ||
        !take_text(text, promotion->name, limit_name_size))
        return false;
    promotion->endpoints_count = header[1];
    for (unsigned i = 0; i < promotion->endpoints_count; i++) {
        if (!take_sized(&rest, 1, &text) ||
            !take_text(text, promotion->endpoints[i], limit_member_address_size))
            return false;
    }
    parts->certificates_count = header[2];
    for (unsigned i = 0; i < parts->certificates_count; i++) {
        if (!take_sized(&rest, 2, &parts->certificates[i]))
            return false;
    }
    parts->is_signed = bytes_of(record.data, record.size - rest.size);
    return take_sized(&rest, 2, &parts->signature) && rest.size == 0;
}

static enum status parse(struct bytes record, struct promotion *promotion, struct parts *parts)
{
    const uint8_t *header = record.data;
    *promotion = (struct promotion){0};
    *parts = (struct parts){0};
    if (record.size == 0)
        return STATUS_MALFORMED;
    if (header[0] != record_format)
        return STATUS_UNSUPPORTED;
    if (record.size < header_size || record.size > limit_promotion_record_size ||
        load_u32(header + 4) != 0)
        return STATUS_MALFORMED;
    memcpy(promotion->cluster_id, header + 8, promotion_cluster_id_size);
    promotion->from = (struct epoch){load_u64(header + 24), load_u32(header + 32)};
    promotion->to = (struct epoch){load_u64(header + 40), load_u32(header + 36)};
    promotion->version = load_u64(header + 48);
    promotion->chain = (struct hash128){load_u64(header + 56), load_u64(header + 64)};
    promotion->wall_ms = load_u64(header + 72);
    if (parse_rest(record, header, promotion, parts) && promotion_is_valid(promotion))
        return STATUS_OK;
    *promotion = (struct promotion){0};
    return STATUS_MALFORMED;
}

enum status promotion_parse(struct bytes record, struct promotion *promotion)
{
    struct parts parts;
    return parse(record, promotion, &parts);
}

/* ---- Whether it is so ---- */

static X509 *certificate_of(struct bytes der)
{
    const unsigned char *at = der.data;
    X509 *certificate = d2i_X509(NULL, &at, (long)der.size);
    /* Bytes after it would be signed, and mean nothing. */
    if (certificate != NULL && at != der.data + der.size) {
        X509_free(certificate);
        return NULL;
    }
    return certificate;
}

/* The same demands as TLS makes of a member, at the time that is given. */
static enum status verify_chain(X509 *signer, STACK_OF(X509) * others,
                                const struct promotion_trust *trust, struct error *error)
{
    X509_STORE_CTX *verifying = X509_STORE_CTX_new();
    if (verifying == NULL ||
        X509_STORE_CTX_init(verifying, SSL_CTX_get_cert_store(trust->tls), signer, others) != 1) {
        X509_STORE_CTX_free(verifying);
        return error_set(error, STATUS_NO_MEMORY, "No memory to verify a promotion.");
    }
    X509_VERIFY_PARAM *how = X509_STORE_CTX_get0_param(verifying);
    X509_VERIFY_PARAM_set_time(how, (time_t)(trust->wall_ms / 1000));
    X509_VERIFY_PARAM_set_depth(how, promotion_certificates_max);
    X509_VERIFY_PARAM_set_auth_level(how, security_level);
    bool is_trusted = X509_VERIFY_PARAM_set_purpose(how, X509_PURPOSE_SSL_CLIENT) == 1 &&
                      X509_verify_cert(verifying) == 1;
    int reason = X509_STORE_CTX_get_error(verifying);
    X509_STORE_CTX_free(verifying);
    if (!is_trusted)
        return error_set(error, STATUS_UNAUTHENTICATED,
                         "The certificate of the promotion's signer is refused: %s.",
                         X509_verify_cert_error_string(reason));
    if ((X509_get_key_usage(signer) & KU_DIGITAL_SIGNATURE) == 0)
        return error_set(error, STATUS_UNAUTHENTICATED,
                         "The certificate of the promotion's signer is not for signatures.");
    return STATUS_OK;
}

static enum status verify_signature(X509 *signer, const struct parts *parts, struct error *error)
{
    struct message message;
    EVP_PKEY *key = X509_get0_pubkey(signer);
    EVP_MD_CTX *verifying = EVP_MD_CTX_new();
    message_fill(&message, parts->is_signed);
    bool is_right = key != NULL && verifying != NULL &&
                    EVP_DigestVerifyInit(verifying, NULL, digest_of(key), NULL, key) == 1 &&
                    EVP_DigestVerify(verifying, parts->signature.data, parts->signature.size,
                                     message.bytes, message.size) == 1;
    EVP_MD_CTX_free(verifying);
    if (!is_right)
        return error_set(error, STATUS_UNAUTHENTICATED,
                         "The promotion's signature is not its certificate's.");
    return STATUS_OK;
}

static enum status verify_signer(X509 *signer, STACK_OF(X509) * others, const struct parts *parts,
                                 const struct promotion_trust *trust,
                                 char identity[limit_identity_size + 1], struct error *error)
{
    enum status status = verify_chain(signer, others, trust, error);
    if (status == STATUS_OK)
        status = verify_signature(signer, parts, error);
    if (status == STATUS_OK)
        status = identity_of_certificate(signer, identity, error);
    if (status == STATUS_OK && access_role(trust->access, identity) != ROLE_PEER)
        status =
            error_set(error, STATUS_PERMISSION_DENIED,
                      "%s signed the promotion, and does not have the role peer here.", identity);
    return status;
}

/* The certificates as OpenSSL has them. False: one is none, or there is no memory. */
static bool certificates_open(const struct parts *parts, X509 **signer, STACK_OF(X509) * *others)
{
    *signer = certificate_of(parts->certificates[0]);
    *others = sk_X509_new_null();
    bool is_whole = *signer != NULL && *others != NULL;
    for (unsigned i = 1; i < parts->certificates_count && is_whole; i++) {
        X509 *other = certificate_of(parts->certificates[i]);
        is_whole = other != NULL && sk_X509_push(*others, other) > 0;
        if (!is_whole)
            X509_free(other);
    }
    return is_whole;
}

enum status promotion_verify(struct bytes record, const struct promotion_trust *trust,
                             struct promotion *promotion, char signer[limit_identity_size + 1],
                             struct error *error)
{
    struct parts parts;
    X509 *certificate = NULL;
    STACK_OF(X509) *others = NULL;
    signer[0] = 0;
    ERR_clear_error();
    enum status status = parse(record, promotion, &parts);
    if (status != STATUS_OK)
        return error_set(error, status, "This is no record of a promotion (%s).",
                         status_text(status));
    if (memcmp(promotion->cluster_id, trust->cluster_id, promotion_cluster_id_size) != 0)
        status = error_set(error, STATUS_INVALID_ARGUMENT,
                           "The promotion is one of another cluster: the cluster ids differ.");
    else if (!certificates_open(&parts, &certificate, &others))
        status =
            error_set(error, STATUS_MALFORMED, "The promotion carries what is no certificate.");
    else
        status = verify_signer(certificate, others, &parts, trust, signer, error);
    sk_X509_pop_free(others, X509_free);
    X509_free(certificate);
    ERR_clear_error();
    if (status != STATUS_OK) {
        *promotion = (struct promotion){0};
        signer[0] = 0;
    }
    return status;
}
