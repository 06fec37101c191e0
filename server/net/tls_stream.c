/* SPDX-License-Identifier: Apache-2.0 */
#include "server/net/tls_stream.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/limits.h"
#include "server/net/tls.h"

enum {
    record_plain_size = 16 * 1024,
    record_overhead_size = 64, /* more than a record's header, tag and type take */
};

static const uint64_t records_under_one_key_max = UINT64_C(1) << 23;

/* ---- OpenSSL's view ---- */

static bool output_reserve(struct tls_stream *stream, size_t size)
{
    struct tls_output *output = stream->output;
    size_t used = output != NULL ? output->size : 0;
    if (output != NULL && output->capacity - used >= size)
        return true;
    struct tls_output *grown = realloc(output, sizeof *grown + used + size);
    if (grown == NULL)
        return false;
    grown->size = used;
    grown->capacity = used + size;
    stream->output = grown;
    return true;
}

static bool is_spent(const struct tls_stream *stream)
{
    return stream->key_updates_count > limit_connection_key_updates_count ||
           stream->handshake_size > limit_tls_handshake_size;
}

/* Fatal where it gives -1 without a retry: the other side has used up what it may send. */
static int bio_read(BIO *bio, char *to, int size)
{
    struct tls_stream *stream = BIO_get_data(bio);
    size_t taken = stream->input.size < (size_t)size ? stream->input.size : (size_t)size;
    BIO_clear_retry_flags(bio);
    if (taken == 0 && !is_spent(stream))
        BIO_set_retry_read(bio);
    if (taken == 0)
        return -1;
    if (!stream->is_open)
        stream->handshake_size += taken;
    if (is_spent(stream))
        return -1;
    memcpy(to, stream->input.data, taken);
    stream->input = bytes_of(stream->input.data + taken, stream->input.size - taken);
    return (int)taken;
}

static int bio_write(BIO *bio, const char *from, int size)
{
    struct tls_stream *stream = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (!output_reserve(stream, (size_t)size))
        return -1;
    memcpy(stream->output->bytes + stream->output->size, from, (size_t)size);
    stream->output->size += (size_t)size;
    return size;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

BIO_METHOD *tls_stream_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "strait peer");
    if (method == NULL)
        return NULL;
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_ctrl(method, bio_control);
    return method;
}

/* After the handshake the other side has nothing to say in handshake messages but KeyUpdate. */
static void count_messages(int write_p, int version, int content_type, const void *message,
                           size_t size, SSL *ssl, void *context)
{
    struct tls_stream *stream = context;
    (void)version;
    (void)message;
    (void)size;
    (void)ssl;
    if (write_p == 0 && content_type == SSL3_RT_HANDSHAKE && stream->is_open)
        stream->key_updates_count++;
}

/* ---- The stream ---- */

enum status tls_stream_open(struct tls_stream *stream, SSL_CTX *context, BIO_METHOD *method,
                            bool is_dialler)
{
    *stream = (struct tls_stream){.ssl = SSL_new(context)};
    BIO *bio = stream->ssl != NULL ? BIO_new(method) : NULL;
    if (bio == NULL) {
        SSL_free(stream->ssl);
        stream->ssl = NULL;
        return STATUS_NO_MEMORY;
    }
    BIO_set_data(bio, stream);
    BIO_set_init(bio, 1);
    SSL_set_bio(stream->ssl, bio, bio);
    if (is_dialler)
        SSL_set_connect_state(stream->ssl);
    else
        SSL_set_accept_state(stream->ssl);
    SSL_set_msg_callback(stream->ssl, count_messages);
    SSL_set_msg_callback_arg(stream->ssl, stream);
    return STATUS_OK;
}

void tls_stream_close(struct tls_stream *stream)
{
    SSL_free(stream->ssl);
    free(stream->output);
    *stream = (struct tls_stream){0};
}

static void explain(const struct tls_stream *stream, char *reason, size_t reason_size)
{
    long verified = SSL_get_verify_result(stream->ssl);
    if (stream->handshake_size > limit_tls_handshake_size)
        snprintf(reason, reason_size, "the handshake is larger than %d bytes",
                 limit_tls_handshake_size);
    else if (stream->key_updates_count > limit_connection_key_updates_count)
        snprintf(reason, reason_size, "more than %d changes of key without a frame",
                 limit_connection_key_updates_count);
    else if (verified != X509_V_OK)
        snprintf(reason, reason_size, "the certificate is refused: %s",
                 X509_verify_cert_error_string(verified));
    else
        tls_error_text(reason, reason_size);
    ERR_clear_error();
}

enum status tls_stream_handshake(struct tls_stream *stream, char *reason, size_t reason_size)
{
    tls_forget_errors();
    int result = SSL_do_handshake(stream->ssl);
    if (result == 1) {
        stream->is_open = true;
        return STATUS_OK;
    }
    if (SSL_get_error(stream->ssl, result) == SSL_ERROR_WANT_READ)
        return STATUS_AGAIN;
    explain(stream, reason, reason_size);
    return STATUS_DISCONNECTED;
}

enum status tls_stream_read(struct tls_stream *stream, void *to, size_t space, size_t *got,
                            char *reason, size_t reason_size)
{
    *got = 0;
    ASSERT(stream->is_open && space > 0);
    /* Where all input was taken, TLS would only say that it wants more. */
    if (stream->input.size == 0 && SSL_has_pending(stream->ssl) == 0)
        return STATUS_AGAIN;
    tls_forget_errors();
    if (SSL_read_ex(stream->ssl, to, space, got) == 1) {
        stream->key_updates_count = 0;
        return STATUS_OK;
    }
    switch (SSL_get_error(stream->ssl, 0)) {
    case SSL_ERROR_WANT_READ:
        return STATUS_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return STATUS_END;
    default:
        explain(stream, reason, reason_size);
        return STATUS_DISCONNECTED;
    }
}

enum status tls_stream_write(struct tls_stream *stream, struct bytes plain)
{
    size_t written = 0;
    size_t records_count = plain.size / record_plain_size + 1;
    ASSERT(stream->is_open && plain.size > 0);
    tls_forget_errors();
    if (stream->records_count + records_count > records_under_one_key_max) {
        if (SSL_key_update(stream->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1) {
            ERR_clear_error();
            return STATUS_INTERNAL;
        }
        stream->records_count = 0;
    }
    stream->records_count += records_count;
    if (!output_reserve(stream, plain.size + (records_count + 1) * record_overhead_size))
        return STATUS_NO_MEMORY;
    if (SSL_write_ex(stream->ssl, plain.data, plain.size, &written) != 1 || written != plain.size) {
        ERR_clear_error();
        return STATUS_INTERNAL;
    }
    return STATUS_OK;
}

void tls_stream_say_close(struct tls_stream *stream)
{
    if (!stream->is_open)
        return;
    ERR_clear_error();
    /* 0 and 1 say whether the other side has closed; less, that it cannot be told, and will see. */
    if (SSL_shutdown(stream->ssl) < 0)
        ERR_clear_error();
}
