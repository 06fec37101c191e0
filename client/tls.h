/* SPDX-License-Identifier: Apache-2.0 */
/* The TLS that every connection of a handle shares: version 1.3 only, both sides show a
 * certificate, and reading and writing never raises SIGPIPE. */
#ifndef CLIENT_TLS_H
#define CLIENT_TLS_H

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "client/options.h"

/* A socket under TLS. `drained` says that the last read took all there was, and spares a call to
 * find out; whoever has polled clears it. */
struct tls_socket {
    int descriptor;
    bool drained;
};

/* Reads the files that the options name. KEY_MISSING, KEY_WRONG, INVALID_ARGUMENT. `*context` is
 * the caller's, to SSL_CTX_free(). */
enum strait_status tls_context_open(const strait_options *options, SSL_CTX **context,
                                    struct strait_error *error);

/* A client's end over `socket`, which outlives it. The server's certificate must hold `name`: an
 * IP address or a DNS name. `resumed` may be NULL. New tickets replace `*tickets`, whose reference
 * is its owner's. NULL where memory ran out or the name is no name. */
SSL *tls_start(SSL_CTX *context, struct tls_socket *socket, const char *name, SSL_SESSION *resumed,
               SSL_SESSION **tickets);

/* Empties OpenSSL's queue of errors, as it must be before a call whose failure is to be understood.
 * It mostly is, and looking costs less than emptying. */
static inline void tls_forget_errors(void)
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

/* Puts OpenSSL's last queued error into words, and empties its queue. `operation` failed with
 * SSL_get_error() `code`. UNAUTHENTICATED where one side did not take the other's certificate, else
 * DISCONNECTED. */
enum status tls_failure(const SSL *ssl, int code, const char *operation,
                        struct strait_error *error);

#endif
