/* SPDX-License-Identifier: Apache-2.0 */
#include "server/net/http.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/assert.h"

enum { http_memory_size = 8 * 1024, pem_size_max = 256 * 1024 };

#define TLS_PRIORITIES "SECURE128:-VERS-ALL:+VERS-TLS1.3"

struct http {
    struct http_options options;
    char host[64];
    char certificate_path[512];
    char key_path[512];
    uint16_t port; /* the one that was given or found */
    char *certificate;
    char *key;
    struct MHD_Daemon *daemon;
};

const char *http_argument(const struct http_query *query, const char *name)
{
    return MHD_lookup_connection_value(query->private_pointer, MHD_GET_ARGUMENT_KIND, name);
}

/* ---- Answering ---- */

static enum MHD_Result send_reply(struct MHD_Connection *connection, struct http_reply *reply)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(reply->size, reply->text, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(reply->text);
        return MHD_NO;
    }
    enum MHD_Result result =
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply->content_type);
    if (result == MHD_YES)
        result = MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (result == MHD_YES)
        result = MHD_queue_response(connection, reply->code, response);
    MHD_destroy_response(response);
    return result;
}

/* Called first with the head alone, and again at the request's end: answered then, so that the
 * connection can be kept for the next one. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *body, size_t *body_size, void **seen)
{
    struct http *http = context;
    struct http_reply reply = {.code = MHD_HTTP_NOT_FOUND,
                               .content_type = "text/plain; charset=utf-8"};
    const struct http_query query = {.path = path, .private_pointer = connection};

    (void)version;
    (void)body;
    if (*seen == NULL) {
        *seen = http;
        return MHD_YES;
    }
    if (*body_size != 0)
        return MHD_NO;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0)
        reply.code = MHD_HTTP_METHOD_NOT_ALLOWED;
    else
        http->options.answer(http->options.context, &query, &reply);
    return send_reply(connection, &reply);
}

/* The library's own lines are about single connections: strangers must not fill our log. */
static void on_log(void *context, const char *format, va_list arguments)
{
    (void)context;
    (void)format;
    (void)arguments;
}

/* ---- Opening ---- */

static enum status read_pem(const char *path, char **text, struct error *error)
{
    size_t size = 0;
    BIO *file = BIO_new_file(path, "r");

    *text = NULL;
    ERR_clear_error();
    if (file == NULL)
        return error_set(error, STATUS_NOT_FOUND, "%s cannot be read: it is needed for HTTPS.",
                         path);
    char *bytes = malloc(pem_size_max + 1);
    int read = bytes == NULL ? 0 : BIO_read(file, bytes, pem_size_max + 1);
    BIO_free(file);
    if (read > 0)
        size = (size_t)read;
    if (size == 0 || size > pem_size_max) {
        free(bytes);
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "%s is empty, or larger than %d KiB: it should be a PEM file.", path,
                         pem_size_max / 1024);
    }
    bytes[size] = 0;
    *text = bytes;
    return STATUS_OK;
}

static void free_secret(char *text)
{
    if (text != NULL)
        OPENSSL_cleanse(text, strlen(text));
    free(text);
}

/* libmicrohttpd takes any text and fails at the first handshake; what cannot be used is refused
 * here. */
static enum status check_pair(const struct http *http, const char *certificate, const char *key,
                              struct error *error)
{
    BIO *certificate_bio = BIO_new_mem_buf(certificate, -1);
    BIO *key_bio = BIO_new_mem_buf(key, -1);
    X509 *x509 = certificate_bio == NULL ? NULL : PEM_read_bio_X509(certificate_bio, NULL, 0, NULL);
    EVP_PKEY *pair = key_bio == NULL ? NULL : PEM_read_bio_PrivateKey(key_bio, NULL, 0, NULL);
    bool good = x509 != NULL && pair != NULL && X509_check_private_key(x509, pair) == 1;

    ERR_clear_error();
    X509_free(x509);
    EVP_PKEY_free(pair);
    BIO_free(certificate_bio);
    BIO_free(key_bio);
    if (!good)
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "%s and %s are not a certificate and its key.", http->certificate_path,
                         http->key_path);
    return STATUS_OK;
}

static enum status read_files(const struct http *http, char **certificate, char **key,
                              struct error *error)
{
    *key = NULL;
    enum status status = read_pem(http->certificate_path, certificate, error);
    if (status == STATUS_OK)
        status = read_pem(http->key_path, key, error);
    if (status == STATUS_OK)
        status = check_pair(http, *certificate, *key, error);
    if (status != STATUS_OK) {
        free(*certificate);
        free_secret(*key);
    }
    return status;
}

static bool address_of(const char *host, uint16_t port, struct sockaddr_storage *address)
{
    struct sockaddr_in *four = (struct sockaddr_in *)address;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)address;

    memset(address, 0, sizeof *address);
    if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
        return true;
    }
    if (inet_pton(AF_INET6, host, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(port);
        return true;
    }
    return false;
}

/* Signals are for the core's thread: the library's thread begins with all of them blocked. */
static enum status start(struct http *http, struct error *error)
{
    struct sockaddr_storage address;
    sigset_t all;
    sigset_t before;

    if (!address_of(http->host, http->port, &address))
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "%s is not a numeric address: HTTPS listens on one.", http->host);
    unsigned flags =
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL | MHD_USE_TLS | MHD_USE_ERROR_LOG;
    if (address.ss_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0)
        return error_set(error, STATUS_INTERNAL, "Signals could not be blocked.");
    http->daemon = MHD_start_daemon(
        flags, http->port, NULL, NULL, on_request, http, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
        MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address, MHD_OPTION_HTTPS_MEM_CERT,
        http->certificate, MHD_OPTION_HTTPS_MEM_KEY, http->key, MHD_OPTION_HTTPS_PRIORITIES,
        TLS_PRIORITIES, MHD_OPTION_CONNECTION_LIMIT, (unsigned)http_connections_max,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)http_connection_seconds,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)http_memory_size, MHD_OPTION_END);
    int restored = pthread_sigmask(SIG_SETMASK, &before, NULL);
    ASSERT(restored == 0);
    if (http->daemon == NULL)
        return error_set(error, STATUS_UNREACHABLE,
                         "HTTPS cannot listen on %s port %u: is the port taken?", http->host,
                         http->port);
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_BIND_PORT);
    if (info != NULL)
        http->port = info->port;
    return STATUS_OK;
}

enum status http_open(const struct http_options *options, struct http **http_out,
                      struct error *error)
{
    struct http *http = calloc(1, sizeof *http);

    *http_out = NULL;
    if (http == NULL)
        return error_set(error, STATUS_NO_MEMORY, "Out of memory for HTTPS.");
    http->options = *options;
    http->port = options->port;
    snprintf(http->host, sizeof http->host, "%s", options->host);
    snprintf(http->certificate_path, sizeof http->certificate_path, "%s", options->certificate);
    snprintf(http->key_path, sizeof http->key_path, "%s", options->key);
    enum status status = read_files(http, &http->certificate, &http->key, error);
    if (status != STATUS_OK) {
        http->certificate = NULL;
        http->key = NULL;
    } else {
        status = start(http, error);
    }
    if (status != STATUS_OK) {
        http_close(http);
        return status;
    }
    *http_out = http;
    return STATUS_OK;
}

uint16_t http_port(const struct http *http)
{
    return http->port;
}

enum status http_reload(struct http *http, struct error *error)
{
    char *certificate;
    char *key;

    enum status status = read_files(http, &certificate, &key, error);
    if (status != STATUS_OK)
        return status;
    if (http->daemon != NULL)
        MHD_stop_daemon(http->daemon);
    http->daemon = NULL;
    free(http->certificate);
    free_secret(http->key);
    http->certificate = certificate;
    http->key = key;
    return start(http, error);
}

void http_close(struct http *http)
{
    if (http == NULL)
        return;
    if (http->daemon != NULL)
        MHD_stop_daemon(http->daemon);
    free(http->certificate);
    free_secret(http->key);
    free(http);
}
