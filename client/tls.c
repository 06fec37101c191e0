/* SPDX-License-Identifier: Apache-2.0 */
#include "client/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <sys/socket.h>

#include "client/error.h"

enum { tls_read_buffer_size = 32 * 1024 };

static BIO_METHOD *socket_method;
static int tickets_index = -1;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int socket_write(BIO *bio, const char *data, size_t size, size_t *written)
{
    struct tls_socket *socket = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t sent;
    do
        sent = send(socket->descriptor, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    *written = sent > 0 ? (size_t)sent : 0;
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        BIO_set_retry_write(bio);
    return sent > 0;
}

static int socket_read(BIO *bio, char *data, size_t size, size_t *read)
{
    struct tls_socket *socket = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *read = 0;
    if (socket->drained) {
        BIO_set_retry_read(bio);
        return 0;
    }
    ssize_t received;
    do
        received = recv(socket->descriptor, data, size, MSG_DONTWAIT);
    while (received < 0 && errno == EINTR);
    if (received > 0) {
        *read = (size_t)received;
        socket->drained = (size_t)received < size;
    } else if (received < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        socket->drained = true;
        BIO_set_retry_read(bio);
    } else if (received == 0) {
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    }
    return received > 0;
}

static long socket_control(BIO *bio, int command, long number, void *pointer)
{
    (void)number;
    (void)pointer;
    if (command == BIO_CTRL_FLUSH)
        return 1;
    if (command == BIO_CTRL_EOF)
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    return 0;
}

static void initialise(void)
{
    socket_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "strait socket");
    if (socket_method != NULL) {
        BIO_meth_set_write_ex(socket_method, socket_write);
        BIO_meth_set_read_ex(socket_method, socket_read);
        BIO_meth_set_ctrl(socket_method, socket_control);
    }
    tickets_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

/* Keeps the newest ticket; 1 says that the reference was taken. */
static int keep_ticket(SSL *ssl, SSL_SESSION *session)
{
    SSL_SESSION **tickets = SSL_get_ex_data(ssl, tickets_index);
    if (tickets == NULL)
        return 0;
    SSL_SESSION_free(*tickets);
    *tickets = session;
    return 1;
}

/* A key with a pass phrase is an error: a library does not ask at the terminal. */
static int no_pass_phrase(char *buffer, int size, int writing, void *context)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)context;
    return -1;
}

static enum strait_status load_files(const strait_options *options, SSL_CTX *context,
                                     struct strait_error *error)
{
    if (options->ca_file[0] == 0 || options->certificate_file[0] == 0 || options->key_file[0] == 0)
        return client_error_set(error, STATUS_KEY_MISSING,
                                "The connection needs three files: the CA's certificates, one's "
                                "own certificate, and its key. A profile names all three.");
    if (SSL_CTX_load_verify_file(context, options->ca_file) != 1)
        return client_error_set(error, STATUS_KEY_MISSING,
                                "The CA's certificates cannot be read from %s.", options->ca_file);
    if (SSL_CTX_use_certificate_chain_file(context, options->certificate_file) != 1)
        return client_error_set(error, STATUS_KEY_MISSING, "No certificate can be read from %s.",
                                options->certificate_file);
    if (SSL_CTX_use_PrivateKey_file(context, options->key_file, SSL_FILETYPE_PEM) != 1)
        return client_error_set(error, STATUS_KEY_MISSING,
                                "No key can be read from %s (one with a pass phrase will not do), "
                                "or it is not that of the certificate %s.",
                                options->key_file, options->certificate_file);
    if (SSL_CTX_check_private_key(context) != 1)
        return client_error_set(error, STATUS_KEY_WRONG,
                                "The key %s does not belong to the certificate %s.",
                                options->key_file, options->certificate_file);
    return STRAIT_OK;
}

enum strait_status tls_context_open(const strait_options *options, SSL_CTX **context,
                                    struct strait_error *error)
{
    *context = NULL;
    pthread_once(&once, initialise);
    ERR_clear_error();
    SSL_CTX *opened = SSL_CTX_new(TLS_client_method());
    if (opened == NULL || socket_method == NULL || tickets_index < 0 ||
        SSL_CTX_set_min_proto_version(opened, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(opened, TLS1_3_VERSION) != 1) {
        SSL_CTX_free(opened);
        return client_error_set(error, STATUS_NO_MEMORY, "OpenSSL could not be set up.");
    }
    SSL_CTX_set_verify(opened, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_default_passwd_cb(opened, no_pass_phrase);
    SSL_CTX_set_mode(opened, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                 SSL_MODE_RELEASE_BUFFERS);
    /* Frames carry their sizes, so a stream that was cut cannot pass for a whole one; and a session
     * whose connection just ended stays good for the next. */
    SSL_CTX_set_options(opened, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_read_ahead(opened, 1);
    SSL_CTX_set_default_read_buffer_len(opened, tls_read_buffer_size);
    SSL_CTX_set_session_cache_mode(opened,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(opened, keep_ticket);
    enum strait_status status = load_files(options, opened, error);
    ERR_clear_error();
    if (status != STRAIT_OK)
        SSL_CTX_free(opened);
    else
        *context = opened;
    return status;
}

static bool is_address(const char *name)
{
    struct in6_addr address;
    return inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1;
}

/* Binds the check of the certificate to the name. */
static bool expect_name(SSL *ssl, const char *name)
{
    if (is_address(name))
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

SSL *tls_start(SSL_CTX *context, struct tls_socket *socket, const char *name, SSL_SESSION *resumed,
               SSL_SESSION **tickets)
{
    SSL *ssl = SSL_new(context);
    BIO *bio = BIO_new(socket_method);

    if (ssl == NULL || bio == NULL || !expect_name(ssl, name) ||
        SSL_set_ex_data(ssl, tickets_index, tickets) != 1 ||
        (resumed != NULL && SSL_set_session(ssl, resumed) != 1)) {
        BIO_free(bio);
        SSL_free(ssl);
        ERR_clear_error();
        return NULL;
    }
    BIO_set_data(bio, socket);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_connect_state(ssl);
    return ssl;
}

static bool is_refusal_of_certificate(int reason)
{
    switch (reason) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV1_ALERT_DECRYPT_ERROR:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
        return true;
    default:
        return false;
    }
}

enum status tls_failure(const SSL *ssl, int code, const char *operation, struct strait_error *error)
{
    int saved = errno;
    /* The last one is TLS's own; those before it say what failed below. */
    unsigned long queued = ERR_peek_last_error();
    int reason = ERR_GET_REASON(queued);
    const char *words = ERR_reason_error_string(queued);
    long verified = SSL_get_verify_result(ssl);

    ERR_clear_error();
    if (code == SSL_ERROR_SSL && reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        client_error_set(error, STATUS_UNAUTHENTICATED, "the server's certificate is not taken: %s",
                         X509_verify_cert_error_string(verified));
        return STATUS_UNAUTHENTICATED;
    }
    if (code == SSL_ERROR_SSL && is_refusal_of_certificate(reason)) {
        client_error_set(error, STATUS_UNAUTHENTICATED,
                         "the server does not take this client's certificate: %s",
                         words != NULL ? words : "no reason given");
        return STATUS_UNAUTHENTICATED;
    }
    if (code == SSL_ERROR_SSL && reason != SSL_R_UNEXPECTED_EOF_WHILE_READING && words != NULL)
        client_error_set(error, STATUS_DISCONNECTED, "%s failed: %s", operation, words);
    else if (code == SSL_ERROR_SYSCALL && saved != 0)
        client_error_set(error, STATUS_DISCONNECTED, "%s failed: %s", operation, strerror(saved));
    else
        client_error_set(error, STATUS_DISCONNECTED, "%s failed: the server ended the connection",
                         operation);
    return STATUS_DISCONNECTED;
}
