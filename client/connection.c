/* SPDX-License-Identifier: Apache-2.0 */
#include "client/connection.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/error.h"
#include "proto/base/assert.h"

enum {
    output_record_size = 16 * 1024, /* what one TLS record holds */
    output_kept_size = 64 * 1024    /* a larger buffer is given back when it is empty */
};

void connection_init(struct connection *connection)
{
    *connection = (struct connection){.socket.descriptor = -1};
}

enum status connection_start(struct connection *connection, SSL_CTX *context, int descriptor,
                             const char *name, SSL_SESSION *resumed, SSL_SESSION **tickets)
{
    ASSERT(connection->socket.descriptor == -1);
    connection->socket = (struct tls_socket){.descriptor = descriptor};
    connection->ssl = tls_start(context, &connection->socket, name, resumed, tickets);
    if (connection->ssl != NULL)
        return STATUS_OK;
    connection_stop(connection, true);
    return STATUS_NO_MEMORY;
}

/* What an SSL call that did not succeed means. */
static enum status interpret(struct connection *connection, int result, const char *operation,
                             struct strait_error *error)
{
    int code = SSL_get_error(connection->ssl, result);
    if (code == SSL_ERROR_WANT_READ)
        return STATUS_AGAIN;
    if (code == SSL_ERROR_WANT_WRITE) {
        connection->wants_write = true;
        return STATUS_AGAIN;
    }
    return tls_failure(connection->ssl, code, operation, error);
}

enum status connection_handshake(struct connection *connection, struct strait_error *error)
{
    connection->wants_write = false;
    ERR_clear_error();
    errno = 0;
    int result = SSL_do_handshake(connection->ssl);
    return result == 1 ? STATUS_OK : interpret(connection, result, "the TLS handshake", error);
}

static bool make_room(struct connection *connection, size_t size)
{
    size_t used = connection->output_end - connection->output_start;
    if (connection->output_capacity - connection->output_end >= size)
        return true;
    if (used != 0 && connection->output_start != 0)
        memmove(connection->output, connection->output + connection->output_start, used);
    connection->output_start = 0;
    connection->output_end = used;
    if (connection->output_capacity - used >= size)
        return true;
    size_t capacity = connection->output_capacity < 4096 ? 4096 : connection->output_capacity;
    while (capacity - used < size)
        capacity *= 2;
    uint8_t *output = realloc(connection->output, capacity);
    if (output == NULL)
        return false;
    connection->output = output;
    connection->output_capacity = capacity;
    return true;
}

enum status connection_write(struct connection *connection, struct bytes bytes)
{
    if (!make_room(connection, bytes.size))
        return STATUS_NO_MEMORY;
    bytes_copy(connection->output + connection->output_end, bytes);
    connection->output_end += bytes.size;
    return STATUS_OK;
}

enum status connection_flush(struct connection *connection, struct strait_error *error)
{
    connection->wants_write = false;
    while (connection_has_output(connection)) {
        size_t size = connection->output_end - connection->output_start;
        size_t written = 0;
        if (size > output_record_size)
            size = output_record_size;
        tls_forget_errors();
        errno = 0;
        int result = SSL_write_ex(connection->ssl, connection->output + connection->output_start,
                                  size, &written);
        if (result != 1)
            return interpret(connection, result, "writing to the server", error);
        connection->output_start += written;
    }
    connection->output_start = 0;
    connection->output_end = 0;
    if (connection->output_capacity > output_kept_size) {
        free(connection->output);
        connection->output = NULL;
        connection->output_capacity = 0;
    }
    return STATUS_OK;
}

static enum status read_tls(struct connection *connection, uint8_t *to, size_t size, size_t *read,
                            struct strait_error *error)
{
    /* Neither the socket nor TLS holds anything: no need to ask. */
    if (connection->socket.drained && SSL_has_pending(connection->ssl) == 0)
        return STATUS_AGAIN;
    tls_forget_errors();
    errno = 0;
    int result = SSL_read_ex(connection->ssl, to, size, read);
    return result == 1 ? STATUS_OK
                       : interpret(connection, result, "reading from the server", error);
}

/* Small parts by way of the input, so that one call of TLS's brings many. */
static enum status read_some(struct connection *connection, uint8_t *to, size_t size, size_t *used,
                             struct strait_error *error)
{
    enum status status = STATUS_OK;

    while (*used < size && status == STATUS_OK) {
        size_t wanted = size - *used;
        size_t held = connection->input_end - connection->input_start;
        size_t read = 0;
        if (held != 0) {
            read = held < wanted ? held : wanted;
            memcpy(to + *used, connection->input + connection->input_start, read);
            connection->input_start += read;
        } else if (wanted >= sizeof connection->input) {
            status = read_tls(connection, to + *used, wanted, &read, error);
        } else {
            connection->input_start = connection->input_end = 0;
            status = read_tls(connection, connection->input, sizeof connection->input,
                              &connection->input_end, error);
        }
        *used += read;
    }
    return status;
}

static enum status read_header(struct connection *connection, struct strait_error *error)
{
    enum status status = read_some(connection, connection->header_bytes, frame_header_size,
                                   &connection->header_used, error);
    if (status != STATUS_OK)
        return status;
    status = frame_reply_decode(connection->header_bytes, &connection->header);
    if (status != STATUS_OK) {
        client_error_set(error, STATUS_MALFORMED, "the server sent a frame that is no reply");
        return STATUS_MALFORMED;
    }
    connection->body_used = 0;
    if (connection->header.body_size == 0)
        return STATUS_OK;
    connection->body = malloc(connection->header.body_size);
    return connection->body == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

enum status connection_read(struct connection *connection, struct frame_header *header,
                            uint8_t **body, struct strait_error *error)
{
    enum status status = STATUS_OK;

    *body = NULL;
    if (connection->header_used < frame_header_size)
        status = read_header(connection, error);
    if (status == STATUS_OK && connection->header.body_size != 0)
        status = read_some(connection, connection->body, connection->header.body_size,
                           &connection->body_used, error);
    if (status != STATUS_OK)
        return status;
    *header = connection->header;
    *body = connection->body;
    connection->body = NULL;
    connection->header_used = 0;
    return STATUS_OK;
}

void connection_stop(struct connection *connection, bool quietly)
{
    if (connection->ssl != NULL && SSL_is_init_finished(connection->ssl) == 1) {
        /* Best effort: the server learns of the end from the socket as well. */
        if (!quietly)
            (void)SSL_shutdown(connection->ssl);
        /* Without this, OpenSSL would take the session for spoilt, and not resume it. */
        SSL_set_shutdown(connection->ssl, SSL_SENT_SHUTDOWN);
        ERR_clear_error();
    }
    SSL_free(connection->ssl);
    if (connection->socket.descriptor != -1)
        close(connection->socket.descriptor);
    free(connection->output);
    free(connection->body);
    connection_init(connection);
}
