/* SPDX-License-Identifier: Apache-2.0 */
/* One TLS connection: bytes of frames in, whole replies out, never blocking.
 *
 * No thread of its own and no lock: whoever drives the handle owns it. After any result that is
 * neither OK nor AGAIN the connection is of no more use, and is stopped. */
#ifndef CLIENT_CONNECTION_H
#define CLIENT_CONNECTION_H

#include "client/tls.h"
#include "proto/frame.h"

enum { connection_input_size = 4096 };

struct connection {
    struct tls_socket socket; /* descriptor -1: stopped */
    SSL *ssl;
    uint8_t *output; /* frames that TLS has not taken: [output_start, output_end) */
    size_t output_start;
    size_t output_end;
    size_t output_capacity;
    bool wants_write; /* TLS waits for room in the socket */
    uint8_t header_bytes[frame_header_size];
    size_t header_used;
    struct frame_header header; /* of the reply that is coming in, once header_used is full */
    uint8_t *body;
    size_t body_used;
    /* What TLS gave and no reply has taken: [input_start, input_end). */
    size_t input_start;
    size_t input_end;
    uint8_t input[connection_input_size];
};

void connection_init(struct connection *connection);

/* Takes the connected socket, also where it fails; `name` and tickets as in tls_start(). */
MUST_CHECK enum status connection_start(struct connection *connection, SSL_CTX *context,
                                        int descriptor, const char *name, SSL_SESSION *resumed,
                                        SSL_SESSION **tickets);

/* OK once TLS is up and the server is the one that was named; AGAIN; else why not. */
MUST_CHECK enum status connection_handshake(struct connection *connection,
                                            struct strait_error *error);

/* Adds bytes to be written. NO_MEMORY. */
MUST_CHECK enum status connection_write(struct connection *connection, struct bytes bytes);

/* Writes what there is: OK when all went out, AGAIN when the socket is full. */
MUST_CHECK enum status connection_flush(struct connection *connection, struct strait_error *error);

/* OK with one whole reply, whose `*body` (NULL where it is empty) is the caller's to free; AGAIN
 * where there is none. */
MUST_CHECK enum status connection_read(struct connection *connection, struct frame_header *header,
                                       uint8_t **body, struct strait_error *error);

static inline bool connection_has_output(const struct connection *connection)
{
    return connection->output_start != connection->output_end;
}

/* Closes and frees. With `quietly`, nothing is written: for a child after fork(). */
void connection_stop(struct connection *connection, bool quietly);

#endif
