/* SPDX-License-Identifier: Apache-2.0 */
/* The server's side of TLS: version 1.3 alone, both sides with a certificate, no early data.
 *
 * Resumption is by tickets, which the client keeps; the server keeps nothing for them. A resumed
 * session's certificate is checked again for its validity in time, and its identity and role are
 * looked up again. A reload makes tickets of before void. */
#ifndef SERVER_NET_TLS_H
#define SERVER_NET_TLS_H

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "proto/base/error.h"

/* Paths of PEM files. */
struct tls_options {
    const char *certificate; /* the server's, then the intermediate ones, if any */
    const char *key;         /* of the certificate, without a pass-phrase, mode 0600 or 0400 */
    const char *ca;          /* one or more authorities that clients' certificates come from */
};

/* Reads the files. `*context` is freed with SSL_CTX_free() by its owner; sessions hold references
 * of their own. Errors name the file and what is wrong with it: NOT_FOUND, FORBIDDEN (a key that
 * others can read), INVALID_ARGUMENT (no PEM, key and certificate that do not belong together). A
 * certificate that has expired, or soon will, gets a line in the log. Blocking. */
MUST_CHECK enum status tls_context_open(const struct tls_options *options, SSL_CTX **context,
                                        struct error *error);

/* Empties OpenSSL's queue of errors, as it must be before a call whose failure is to be understood.
 * It mostly is, and looking costs less than emptying. */
static inline void tls_forget_errors(void)
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

/* The same for connections between members, for both the side that dials and the one that is
 * dialled: so the certificate must be fit for both (extended key usage serverAuth and clientAuth,
 * or none). Without resumption: such connections are few, and live long. */
MUST_CHECK enum status tls_peers_context_open(const struct tls_options *options, SSL_CTX **context,
                                              struct error *error);

/* Why OpenSSL's last call on this thread failed, in words; empties its queue. */
void tls_error_text(char *text, size_t size);

/* UNAUTHENTICATED with text where the certificate is not valid at this time: for resumed
 * sessions, which OpenSSL does not verify again. */
MUST_CHECK enum status tls_certificate_is_current(const X509 *certificate, struct error *error);

#endif
