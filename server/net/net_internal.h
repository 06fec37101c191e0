/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a net loop share: net.c (the loop), connection.c (a connection's life and its
 * TLS), receive.c (bytes into requests), send.c (replies into bytes). */
#ifndef SERVER_NET_NET_INTERNAL_H
#define SERVER_NET_NET_INTERNAL_H

#include <stdatomic.h>

#include "proto/base/pool.h"
#include "server/net/net.h"
#include "storage/io/socket.h"

enum {
    /* Plain bytes read or written at a time. Replies of one turn are gathered up to this, sealed,
     * and sent as one; the rest follows when that is taken. */
    net_plain_size = 64 * 1024,
    /* What a peer may still send after we have said that we close. */
    connection_discard_size_max = 1024 * 1024,
};

/* A connection's life:
 *
 *     HANDSHAKE -> HELLO     the handshake is done; the peer has an identity, perhaps no role
 *     HELLO -> OPEN          its first frame was read and permitted
 *     HANDSHAKE, HELLO, OPEN -> CLOSING
 *                            refused or drained: input is discarded, replies are still sent
 *     CLOSING -> SHUT        all replies are sent, and that we close; the peer is given a moment
 *     any -> ENDED           the socket is closed: the peer closed, broke off, or took too long
 *     ENDED -> freed         its send has come back, and each of its requests
 *
 * connection_set_state() holds it to that. */
enum connection_state {
    CONNECTION_HANDSHAKE,
    CONNECTION_HELLO,
    CONNECTION_OPEN,
    CONNECTION_CLOSING,
    CONNECTION_SHUT,
    CONNECTION_ENDED,
};

/* Sealed bytes on their way to the socket. */
struct output {
    size_t size;
    size_t capacity;
    uint8_t bytes[];
};

/* Members of one list have the same time to go, so the oldest is due first. */
enum deadline_kind {
    DEADLINE_HANDSHAKE, /* from accept to the end of the first frame */
    DEADLINE_FRAME,     /* from a frame's first byte to its last */
    DEADLINE_CLOSE,     /* from our close to the peer's */
    deadline_kinds_count,
};

struct deadline {
    struct list_link link; /* in net->deadlines[...] */
    uint64_t due_ns;
};

struct connection {
    struct net *net;
    struct session session;
    struct list_link link;       /* in net->connections or net->ended */
    struct list_link dirty_link; /* in net->dirty: has something to send this turn */
    enum connection_state state;
    struct io_socket *socket; /* NULL once ENDED */
    SSL *ssl;                 /* NULL once ENDED */
    char *refusal;            /* HELLO: why nobody of this certificate may come in */

    struct deadline deadline;      /* of the state, or of the frame that is being read */
    struct deadline send_deadline; /* of the send under way */

    /* Input. */
    struct bytes input; /* sealed bytes of the receive that is being handled, not yet read */
    bool paused;        /* the socket's receive */
    uint32_t key_updates_count; /* since the last whole frame */
    uint64_t handshake_size;
    uint64_t discarded_size;
    uint8_t header[frame_header_size];
    size_t header_filled;
    struct request *incoming; /* its header is read, its body not yet */
    uint32_t skip_size;       /* of a refused body, still to come */

    /* Output. */
    struct list_link replies; /* answered requests, oldest first */
    uint64_t replies_count;
    uint64_t replies_size;  /* bytes of their frames */
    size_t reply_written;   /* of the first */
    struct output *pending; /* sealed, not yet given to the socket; or NULL */
    struct output *sending; /* the io's; or NULL */
    struct io_op send;
    uint64_t requests_count; /* with the core, or in `replies` */
};

struct net {
    struct net_options options;
    struct io *io;
    struct io_listener *listener; /* NULL once draining */
    SSL_CTX *tls;
    SSL_CTX *_Atomic tls_next; /* from net_reload_tls(), taken at the next accept */
    const struct access *access;
    const struct access *_Atomic access_next; /* from net_reload_access(), taken at a turn's end */
    atomic_bool drain_asked;
    bool draining;
    struct io_bell bell; /* rung by net_drain() and net_reload_access() */
    BIO_METHOD *bio_method;

    struct list_link connections;
    struct list_link ended;
    struct list_link dirty;
    struct list_link deadlines[deadline_kinds_count];
    struct list_link sends; /* connections with a send under way, by send_deadline, oldest first */
    struct io_timer timer;
    bool timer_runs;

    struct pool requests; /* those of the core's, and refusals of our own */
    uint64_t log_second;  /* lines about peers are limited by the second */
    uint32_t log_lines_count;
    uint32_t log_dropped_count;

    struct net_statistics statistics;
    uint64_t handshakes_count; /* connections in HANDSHAKE or HELLO */
    uint64_t now_ns;           /* boot clock when the last bytes came */
    uint8_t plain_in[net_plain_size];
    uint8_t plain_out[net_plain_size];
};

/* ---- net.c ---- */

/* Whether a line about a peer may be logged now: a flood of bad peers must not become one of
 * lines. */
bool net_may_log(struct net *net);

void net_deadline_start(struct net *net, struct connection *connection, enum deadline_kind kind);
void net_send_deadline_start(struct net *net, struct connection *connection);
void net_deadline_stop(struct deadline *deadline);

/* ---- connection.c ---- */

/* How OpenSSL reads and writes a connection; one for each net loop. NULL: no memory. */
BIO_METHOD *connection_bio_method(void);

/* Takes the socket in any case. */
void connection_open(struct net *net, struct io_socket *socket);

/* Closes the socket and frees what the connection holds; itself it is freed at the turn's end, once
 * nothing refers to it. May be called in any state. `reason`, for a log line, may be NULL. */
void connection_end(struct connection *connection, const char *reason);

/* Reads no more; ends once all replies are sent. */
void connection_close_gently(struct connection *connection);

/* Whether it may be freed. */
bool connection_is_done(const struct connection *connection);
void connection_free(struct connection *connection);

void connection_set_state(struct connection *connection, enum connection_state state);
void connection_mark_dirty(struct connection *connection);

/* Makes room for sealed bytes; false where there is no memory. */
bool connection_output_reserve(struct connection *connection, size_t size);

/* ---- receive.c ---- */

/* Plain bytes of the stream, in order. May end or close the connection. */
void connection_consume(struct connection *connection, struct bytes plain);

/* Where the next plain bytes may be read to directly: within the body that is being read, where
 * much of it is to come; else empty. */
uint8_t *connection_body_space(struct connection *connection, size_t *size);
void connection_body_filled(struct connection *connection, size_t size);

/* Frees a request: its reply was sent, or nobody is there any more to read it. */
void connection_request_free(struct connection *connection, struct request *request);

/* ---- send.c ---- */

/* A request came back answered. */
void connection_take_reply(struct connection *connection, struct request *request);

/* Seals replies and starts a send, unless one is under way. */
void connection_flush(struct connection *connection);

#endif
