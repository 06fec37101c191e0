/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates made here: those of a development server, and of tests. X.509 version 3, keys on the
 * curve P-256, SHA-256, serial numbers drawn at random. Errors: INTERNAL with OpenSSL's reason. */
#ifndef SERVER_NET_CERTIFICATE_H
#define SERVER_NET_CERTIFICATE_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <time.h>

#include "proto/base/error.h"

enum certificate_purpose {
    CERTIFICATE_AUTHORITY,
    CERTIFICATE_SERVER,
    CERTIFICATE_CLIENT,
    CERTIFICATE_MEMBER, /* of a region: serves, and dials the other members */
};

struct certificate {
    X509 *x509;
    EVP_PKEY *key;
};

struct certificate_options {
    enum certificate_purpose purpose;
    const char *common_name; /* for people; nothing of ours looks at it */
    const char *names;       /* "URI:strait:shop", "DNS:localhost,IP:127.0.0.1"; NULL: none */
    time_t valid_from;
    time_t valid_until;
};

/* With a new key, signed by `issuer`, or by itself where that is NULL. */
MUST_CHECK enum status certificate_make(const struct certificate_options *options,
                                        const struct certificate *issuer,
                                        struct certificate *certificate, struct error *error);

/* NOT_FOUND where either file is not there; CORRUPT where it is, and is no such thing, or the key
 * is not the certificate's. */
MUST_CHECK enum status certificate_read(const char *certificate_path, const char *key_path,
                                        struct certificate *certificate, struct error *error);

/* In PEM form, into memory BIOs that the caller frees. */
MUST_CHECK enum status certificate_write(const struct certificate *certificate,
                                         BIO **certificate_pem, BIO **key_pem, struct error *error);

/* Whether it is signed by `issuer` and valid until `until` at least. */
bool certificate_is_usable(const struct certificate *certificate, const struct certificate *issuer,
                           time_t until);

void certificate_free(struct certificate *certificate);

#endif
