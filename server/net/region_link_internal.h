/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the link to another region share: region_link.c (the link, its endpoints, its
 * back-off), region_link_connection.c (a connection's life and its bytes), region_link_request.c
 * (requests in flight, and whose a reply is).
 *
 * A connection is not freed where it ends, but in a turn of its own (step() in region_link.c), so
 * that whoever is on the stack may end it; there too the user is told of it. */
#ifndef SERVER_NET_REGION_LINK_INTERNAL_H
#define SERVER_NET_REGION_LINK_INTERNAL_H

#include "proto/base/generator.h"
#include "proto/base/list.h"
#include "server/net/address.h"
#include "server/net/region_link.h"
#include "server/net/resolver.h"
#include "server/net/tls_stream.h"
#include "storage/io/socket.h"

enum {
    region_link_plain_size = 64 * 1024,        /* read at a time */
    region_link_unsent_size = 256 * 1024,      /* in the kernel's buffer past the network's */
    region_link_unacknowledged_ms = 15 * 1000, /* then the connection is broken */
    region_link_program_size = 64,
};

/* The numbers that requests of the link's own have; those of its user are larger. */
enum { region_link_hello_number = 0, region_link_ping_number = 1 };

/* A connection's life:
 *
 *     CONNECTING -> HANDSHAKE   there is a TCP connection
 *     HANDSHAKE -> GREETING     TLS is done, the identity has the role `peer`, and we said HELLO
 *     GREETING -> OPEN          it was answered, by a server of our cluster
 *     any -> ENDED              the socket is closed
 *     ENDED -> freed            its operation has come back
 *
 * region_link_connection_set_state() holds it to that. */
enum region_link_state {
    REGION_LINK_CONNECTING,
    REGION_LINK_HANDSHAKE,
    REGION_LINK_GREETING,
    REGION_LINK_OPEN,
    REGION_LINK_ENDED,
};

struct region_link_connection {
    struct region_link *link;
    struct list_link place; /* in link->ended, once ENDED */
    enum region_link_state state;
    struct io_socket *socket; /* NULL once ENDED */
    struct tls_stream tls;
    struct tls_output *sending; /* the io's; or NULL */
    struct io_op op;            /* of the connect, then of the send */
    struct io_timer timer;      /* before OPEN: the deadline; OPEN: each keep_alive_ms */
    bool was_active;            /* something was heard since the last period */
    bool ping_pending;
    uint32_t idle_count; /* periods of silence */
    char identity[limit_identity_size + 1];

    /* The frame that is being read. */
    uint8_t header[frame_header_size];
    size_t header_filled;
    struct frame_header frame; /* holds once the header is whole */
    uint8_t *body;             /* owned; NULL where there is none, or not yet */
    size_t body_filled;
};

/* A place for a request in flight. */
struct region_link_request {
    struct region_link *link;
    uint64_t number; /* 0: the place is free */
    enum frame_type type;
    bool is_late; /* the user was told that its time is over; only its reply is waited for */
    void *context;
    struct io_timer timer;
};

struct region_link_endpoints {
    char texts[limit_link_endpoints_count][limit_member_address_size + 1];
    unsigned count;
};

struct region_link {
    struct link interface; /* first, so that a struct link is one of these */
    struct region_link_options options;
    char program[region_link_program_size];
    struct io *io;
    SSL_CTX *tls;
    BIO_METHOD *bio_method;
    const struct link_user *user;
    struct link_user attached;
    struct generator generator;
    bool is_closing;
    bool is_told; /* the user knows of a connection */

    /* Whom to dial. */
    struct region_link_endpoints endpoints;
    unsigned endpoints_next;
    char leader[limit_member_address_size + 1];   /* named by a refusal; empty: none */
    char endpoint[limit_member_address_size + 1]; /* the one that is being tried, or connected */
    uint16_t port;                                /* of it */
    struct resolved addresses;                    /* of it */
    unsigned addresses_next;
    struct resolver resolver;
    struct io_timer dial_timer;
    uint32_t back_off_ms;
    uint32_t failures_count;  /* since a reply with OK */
    uint32_t redirects_count; /* since a reply with OK */

    struct region_link_connection *connection; /* NULL: none, or it has ended */
    struct list_link ended;
    struct io_timer step;                     /* runs step() in the next turn */
    char reason[region_link_reason_size + 1]; /* why the last connection ended */

    struct region_link_request requests[limit_link_requests_count];
    uint64_t requests_sequence;
    uint32_t requests_count; /* in flight, late ones too */
    uint32_t late_count;

    uint64_t log_after_ns; /* no line about trouble before it */
    uint64_t heard_ns;
    char trouble[region_link_reason_size + 1];
    struct region_link_statistics statistics;
    uint8_t plain_in[region_link_plain_size];
};

/* ---- region_link.c ---- */

void region_link_timer_start(struct region_link *link, struct io_timer *timer, uint64_t delay_ms);

/* Something is to be sent, told or freed, in the next turn. */
void region_link_step_later(struct region_link *link);

/* HELLO was answered as it should. */
void region_link_opened(struct region_link *link);

/* The connection has ended; `was_open`: the user knows of it. */
void region_link_ended(struct region_link *link, bool was_open, const char *reason);

/* A refusal says who leads; empty: it does not know. Ends the connection. */
void region_link_redirect(struct region_link *link, const char *leader);

/* ---- region_link_connection.c ---- */

/* Dials a numeric address; link->connection is then the connection. INVALID_ARGUMENT, NO_MEMORY,
 * IO_ERROR: there is none. */
MUST_CHECK enum status region_link_connection_dial(struct region_link *link, const char *host,
                                                   uint16_t port);

void region_link_connection_set_state(struct region_link_connection *connection,
                                      enum region_link_state state);

/* Closes the socket, and tells region_link_ended(). May be called in any state. */
void region_link_connection_end(struct region_link_connection *connection, const char *reason);

/* The same for bytes that cannot be. */
void region_link_connection_end_malformed(struct region_link_connection *connection,
                                          const char *reason);

/* Seals a frame; it goes out with the next turn. False: the connection has ended. */
bool region_link_connection_say(struct region_link_connection *connection, struct bytes frame);

/* Sealed bytes that wait for the socket. */
size_t region_link_connection_waiting_size(const struct region_link_connection *connection);

/* Starts a send, unless one is under way or there is nothing to send. */
void region_link_connection_send(struct region_link_connection *connection);

bool region_link_connection_is_done(const struct region_link_connection *connection);
void region_link_connection_free(struct region_link_connection *connection);

/* ---- region_link_request.c ---- */

void region_link_requests_init(struct region_link *link);

/* As link_send() says. */
MUST_CHECK enum status region_link_request_send(struct region_link *link, enum frame_type type,
                                                const ProtobufCMessage *message,
                                                uint32_t timeout_ms, void *context);

/* Those of the link's own. False: the connection has ended. */
bool region_link_say_hello(struct region_link_connection *connection);
bool region_link_say_ping(struct region_link_connection *connection);

/* Whether this reply was asked for, and may be as large as its header says. */
bool region_link_reply_is_due(const struct region_link_connection *connection,
                              const struct frame_header *frame);

/* A whole reply that is due. May end the connection. */
void region_link_reply_take(struct region_link_connection *connection,
                            const struct frame_header *frame, struct bytes body);

/* All that are in flight have no connection any more. */
void region_link_requests_lose(struct region_link *link);

#endif
