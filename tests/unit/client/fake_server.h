/* SPDX-License-Identifier: Apache-2.0 */
/* A server for the client's tests: real TLS on loopback, real frames, and a handler that does with
 * each request what the test wants. One thread a connection. */
#ifndef TESTS_UNIT_CLIENT_FAKE_SERVER_H
#define TESTS_UNIT_CLIENT_FAKE_SERVER_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "client/strait.h"
#include "proto/epoch.h"
#include "proto/frame.h"
#include "proto/message.h"
#include "proto/strait.pb-c.h"

enum {
    fake_connections_max = 256,
    fake_log_time_ns = 1700000000,
    fake_epoch_number = 5,
    fake_epoch_region = 2,
};

struct fake_server;

struct fake_connection {
    struct fake_server *server;
    pthread_t thread;
    int descriptor;
    SSL *ssl;
    bool ended; /* by fake_drop() */
};

struct fake_request {
    struct frame_header header;
    struct bytes body; /* lives as long as the handler runs */
};

/* Runs on the connection's thread for each request but Hello, which is answered before. */
typedef void (*fake_handler)(struct fake_connection *connection, const struct fake_request *request,
                             void *context);

struct fake_server {
    int listener;
    uint16_t port;
    SSL_CTX *tls;
    fake_handler handler;
    void *context;
    pthread_t thread;
    char directory[256];
    struct fake_connection connections[fake_connections_max];
    atomic_uint connections_count; /* that were accepted */
    atomic_uint requests_count;    /* without Hellos */
    atomic_uint resumed_count;     /* TLS sessions */
    atomic_bool stopping;
    enum status hello_status; /* what Hello is answered with */

    /* Of promotions; number 0: none. Set before anybody connects. */
    struct epoch promotion; /* told with each Hello's answer; its record is its number's bytes */
    atomic_uint_least64_t told; /* the number of that which the last Hello told of */
    atomic_uint told_size;      /* of its record */
};

struct fake_server *fake_start(fake_handler handler, void *context);

/* Another one of the same authority: a handle that trusts the first trusts it too. */
struct fake_server *fake_start_beside(const struct fake_server *first, fake_handler handler,
                                      void *context);

/* Ends all connections, joins all threads, and frees. */
void fake_stop(struct fake_server *server);

/* Where to reach the server, with a certificate of its authority. The caller frees. */
strait_options *fake_options(const struct fake_server *server, uint32_t timeout_ms);

/* A handle to it; strait_close()d by the caller. */
strait *fake_open(const struct fake_server *server, uint32_t timeout_ms);

void fake_reply(struct fake_connection *connection, const struct fake_request *request,
                enum status status, const ProtobufCMessage *message);

/* An answer that the state refused, or BUSY, with words. */
void fake_refuse(struct fake_connection *connection, const struct fake_request *request,
                 enum status status, uint32_t retry_after_ms);

/* An answer with nothing but its position in it, to any request whose reply has one, or none. */
void fake_accept(struct fake_connection *connection, const struct fake_request *request,
                 uint64_t version);

/* Ends the connection once the handler has returned. */
void fake_drop(struct fake_connection *connection);

#endif
