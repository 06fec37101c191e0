/* SPDX-License-Identifier: Apache-2.0 */
#include "server/net/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "proto/base/log.h"
#include "proto/limits.h"

enum {
    tickets_count = 1,
    ticket_lifetime_s = 2 * 60 * 60,
    chain_depth_max = 4,
    expiry_warning_s = 14 * 24 * 60 * 60,
};

static const char ciphers[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

void tls_error_text(char *text, size_t size)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
    snprintf(text, size, "%s", reason != NULL ? reason : "no reason given");
    ERR_clear_error();
}

/* ---- Files ---- */

static enum status file_check(const char *what, const char *path, bool is_secret,
                              struct error *error)
{
    struct stat about;
    if (stat(path, &about) != 0) {
        enum status status = errno == ENOENT   ? STATUS_NOT_FOUND
                             : errno == EACCES ? STATUS_FORBIDDEN
                                               : STATUS_IO_ERROR;
        return error_set(error, status, "%s: cannot read the %s: %s.", path, what, strerror(errno));
    }
    if (!S_ISREG(about.st_mode))
        return error_set(error, STATUS_INVALID_ARGUMENT, "%s: the %s is not a file.", path, what);
    if (is_secret && (about.st_mode & 077) != 0)
        return error_set(error, STATUS_FORBIDDEN,
                         "%s: others can read the %s (mode %03o). Run: chmod 600 %s", path, what,
                         (unsigned)about.st_mode & 0777, path);
    return STATUS_OK;
}

static enum status file_refused(const char *what, const char *path, struct error *error)
{
    char reason[256];
    tls_error_text(reason, sizeof reason);
    return error_set(error, STATUS_INVALID_ARGUMENT, "%s: this is no usable %s in PEM form (%s).",
                     path, what, reason);
}

/* A key with a pass-phrase is refused, instead of asking on the terminal. */
static int no_pass_phrase(char *buffer, int size, int for_writing, void *context)
{
    (void)buffer;
    (void)size;
    (void)for_writing;
    (void)context;
    return 0;
}

static enum status load_files(SSL_CTX *context, const struct tls_options *options,
                              struct error *error)
{
    enum status status = file_check("certificate", options->certificate, false, error);
    if (status == STATUS_OK)
        status = file_check("private key", options->key, true, error);
    if (status == STATUS_OK)
        status = file_check("authority's certificate", options->ca, false, error);
    if (status != STATUS_OK)
        return status;
    SSL_CTX_set_default_passwd_cb(context, no_pass_phrase);
    if (SSL_CTX_use_certificate_chain_file(context, options->certificate) != 1)
        return file_refused("certificate", options->certificate, error);
    if (SSL_CTX_use_PrivateKey_file(context, options->key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context) != 1) {
        char reason[256];
        tls_error_text(reason, sizeof reason);
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "%s: this is no usable private key of the certificate %s (%s).",
                         options->key, options->certificate, reason);
    }
    if (SSL_CTX_load_verify_locations(context, options->ca, NULL) != 1)
        return file_refused("authority's certificate", options->ca, error);
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(options->ca);
    if (names == NULL)
        return file_refused("authority's certificate", options->ca, error);
    SSL_CTX_set_client_CA_list(context, names);
    return STATUS_OK;
}

/* ---- The context ---- */

static bool set_protocol(SSL_CTX *context, int tickets)
{
    static const unsigned char session_context[] = "strait";
    if (SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(context, ciphers) != 1 ||
        SSL_CTX_set1_groups_list(context, "X25519:P-256:P-384") != 1 ||
        SSL_CTX_set_session_id_context(context, session_context, sizeof session_context - 1) != 1 ||
        SSL_CTX_set_num_tickets(context, (size_t)tickets) != 1 ||
        SSL_CTX_set_max_early_data(context, 0) != 1)
        return false;
    SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_RENEGOTIATION |
                                     SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* Tickets carry the session; nothing is kept here, so nothing can grow here. */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(context, ticket_lifetime_s);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_verify_depth(context, chain_depth_max);
    SSL_CTX_set_max_cert_list(context, limit_tls_handshake_size / 2);
    return true;
}

static void warn_of_expiry(SSL_CTX *context, const char *path)
{
    const X509 *certificate = SSL_CTX_get0_certificate(context);
    time_t soon = time(NULL) + expiry_warning_s;
    struct error error = {0};
    if (tls_certificate_is_current(certificate, &error) != STATUS_OK)
        log_warn("tls_certificate_not_valid", LOG_TEXT("file", path),
                 LOG_TEXT("reason", error.text));
    else if (X509_cmp_time(X509_get0_notAfter(certificate), &soon) < 0)
        log_warn("tls_certificate_expires_soon", LOG_TEXT("file", path));
}

static enum status open_context(const struct tls_options *options, const SSL_METHOD *method,
                                int tickets, SSL_CTX **context, struct error *error)
{
    *context = NULL;
    ERR_clear_error();
    SSL_CTX *made = SSL_CTX_new(method);
    if (made == NULL)
        return error_set(error, STATUS_NO_MEMORY, "No memory for TLS.");
    if (!set_protocol(made, tickets)) {
        char reason[256];
        tls_error_text(reason, sizeof reason);
        SSL_CTX_free(made);
        return error_set(error, STATUS_INTERNAL, "TLS 1.3 cannot be set up (%s).", reason);
    }
    enum status status = load_files(made, options, error);
    if (status != STATUS_OK) {
        SSL_CTX_free(made);
        return status;
    }
    *context = made;
    return STATUS_OK;
}

enum status tls_context_open(const struct tls_options *options, SSL_CTX **context,
                             struct error *error)
{
    enum status status = open_context(options, TLS_server_method(), tickets_count, context, error);
    if (status == STATUS_OK)
        warn_of_expiry(*context, options->certificate);
    return status;
}

/* Whether it may stand for us on both sides, as OpenSSL at the other end will ask. */
static bool is_fit_for_both(X509 *certificate)
{
    return X509_check_purpose(certificate, X509_PURPOSE_SSL_SERVER, 0) == 1 &&
           X509_check_purpose(certificate, X509_PURPOSE_SSL_CLIENT, 0) == 1;
}

enum status tls_peers_context_open(const struct tls_options *options, SSL_CTX **context,
                                   struct error *error)
{
    enum status status = open_context(options, TLS_method(), 0, context, error);
    if (status != STATUS_OK || is_fit_for_both(SSL_CTX_get0_certificate(*context)))
        return status;
    SSL_CTX_free(*context);
    *context = NULL;
    return error_set(error, STATUS_INVALID_ARGUMENT,
                     "%s: a member's certificate serves and dials, but its extended key usage "
                     "does not permit both. Issue one with serverAuth and clientAuth.",
                     options->certificate);
}

enum status tls_certificate_is_current(const X509 *certificate, struct error *error)
{
    /* X509_cmp_current_time() gives 0 for a time that it cannot read. */
    int begins = X509_cmp_current_time(X509_get0_notBefore(certificate));
    int ends = X509_cmp_current_time(X509_get0_notAfter(certificate));
    if (begins >= 0)
        return error_set(error, STATUS_UNAUTHENTICATED, "The certificate is not valid yet.");
    if (ends <= 0)
        return error_set(error, STATUS_UNAUTHENTICATED, "The certificate has expired.");
    return STATUS_OK;
}
