/* SPDX-License-Identifier: Apache-2.0 */
/* The TLS half of one connection between members, without its socket: sealed bytes in, plain bytes
 * out, and the reverse.
 *
 * What the other side may make us do is bounded: limit_tls_handshake_size bytes until the handshake
 * is done, limit_connection_key_updates_count changes of its key between two reads of plain bytes.
 * Our own key is changed long before AES-GCM wears out (RFC 8446 5.5: 2^24.5 records). */
#ifndef SERVER_NET_TLS_STREAM_H
#define SERVER_NET_TLS_STREAM_H

#include <openssl/ssl.h>

#include "proto/base/bytes.h"
#include "proto/base/status.h"

/* Sealed bytes on their way to the socket. */
struct tls_output {
    size_t size;
    size_t capacity;
    uint8_t bytes[];
};

struct tls_stream {
    SSL *ssl;                  /* NULL: closed */
    struct bytes input;        /* sealed bytes, not yet read; the caller's */
    struct tls_output *output; /* sealed bytes, taken by the caller, who frees it; or NULL */
    bool is_open;              /* the handshake is done */
    uint64_t handshake_size;
    uint32_t key_updates_count; /* of the other side, since plain bytes came */
    uint64_t records_count;     /* sealed under our present key, at most */
};

/* How OpenSSL reads and writes streams; one for any number of them. NULL: no memory. */
BIO_METHOD *tls_stream_method(void);

/* `stream` stays where it is until it is closed. NO_MEMORY: nothing is held. */
MUST_CHECK enum status tls_stream_open(struct tls_stream *stream, SSL_CTX *context,
                                       BIO_METHOD *method, bool is_dialler);
void tls_stream_close(struct tls_stream *stream);

/* Goes on with the handshake: OK when it is done, AGAIN where more input is needed, DISCONNECTED
 * where it failed, with `reason` (at least 256 bytes). In each case there may be output. */
MUST_CHECK enum status tls_stream_handshake(struct tls_stream *stream, char *reason,
                                            size_t reason_size);

/* Reads plain bytes: OK with `*got` > 0; AGAIN: the input is used up; END: the other side has said
 * that it closes; DISCONNECTED with `reason`. */
MUST_CHECK enum status tls_stream_read(struct tls_stream *stream, void *to, size_t space,
                                       size_t *got, char *reason, size_t reason_size);

/* Seals all of `plain`, in records of 16 KiB. INTERNAL or NO_MEMORY: the stream is broken. */
MUST_CHECK enum status tls_stream_write(struct tls_stream *stream, struct bytes plain);

/* Says that we close; it goes out with the output. */
void tls_stream_say_close(struct tls_stream *stream);

#endif
