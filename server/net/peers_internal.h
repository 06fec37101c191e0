/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the bus between members share: peers.c (the bus, its members, its events),
 * peers_dial.c (dialling, back-off, probes), peer_connection.c (a connection's life and its bytes),
 * peer_greeting.c (who is let in).
 *
 * Nothing of a connection is freed where it ends, but at the end of a turn (peers_step), so that
 * whoever is on the stack may end any connection. What happened is told to the bus's user there
 * too. */
#ifndef SERVER_NET_PEERS_INTERNAL_H
#define SERVER_NET_PEERS_INTERNAL_H

#include "proto/base/generator.h"
#include "proto/base/list.h"
#include "server/net/address.h"
#include "server/net/peer_queue.h"
#include "server/net/peer_stream.h"
#include "server/net/peers.h"
#include "server/net/tls_stream.h"
#include "storage/io/socket.h"

enum {
    peers_plain_size = 128 * 1024,        /* read or gathered at a time */
    peers_send_size = 256 * 1024,         /* sealed at a time, about */
    peers_unsent_size = 128 * 1024,       /* of that, in the kernel's buffer past the network's */
    peers_unacknowledged_ms = 10 * 1000,  /* then the connection is broken */
    peers_discard_size_max = 1024 * 1024, /* from somebody who was refused */
    peers_table_size = 2 * limit_members_count,
    peers_removed_count = 64,
};

/* A connection's life:
 *
 *     CONNECTING -> HANDSHAKE   dialled: there is a TCP connection
 *     HANDSHAKE -> GREETING     TLS is done, and the identity has the role `peer`
 *     GREETING -> OPEN          each has said HELLO, and is content with the other's
 *     HANDSHAKE, GREETING, OPEN -> CLOSING
 *                               the last is said (a refusal, or why TLS failed); it goes out, and
 *                               the other side has a moment to read it
 *     any -> ENDED              the socket is closed
 *     ENDED -> freed            its operation has come back
 *
 * peer_connection_set_state() holds it to that. */
enum peer_state {
    PEER_CONNECTING,
    PEER_HANDSHAKE,
    PEER_GREETING,
    PEER_OPEN,
    PEER_CLOSING,
    PEER_ENDED,
};

struct peer_probe {
    peers_probed_fn *done;
    void *context;
    struct peers_probed result;
};

struct peer_connection {
    struct peers *peers;
    struct list_link link; /* in peers->connections or peers->ended */
    enum peer_state state;
    bool is_dialled;
    bool is_reading;            /* on the stack */
    struct peer_member *member; /* whose it is; NULL: not known (yet), or a probe's */
    struct peer_probe *probe;   /* owned; NULL: none */
    struct io_socket *socket;   /* NULL once ENDED */
    struct tls_stream tls;
    struct peer_stream stream;
    struct tls_output *sending; /* the io's; NULL: none */
    struct io_op op;            /* of the connect, then of the send */
    struct io_timer timer;      /* before OPEN: the deadline; OPEN: each keep_alive_ms; CLOSING */
    bool was_active;            /* something was heard since the last period */
    bool answer_wanted;         /* a KEEP_ALIVE came */
    uint32_t idle_count;        /* periods of silence */
    uint64_t discarded_size;
    char address[io_address_text_size];
    char identity[limit_identity_size + 1]; /* empty: not known yet */
};

/* One of the membership, or a guest. */
struct peer_member {
    struct peers *peers;
    struct member about; /* id 0: the place is free */
    bool is_guest;
    struct peer_connection *out; /* dialled by us: being opened, or open; or NULL */
    struct peer_connection *in;  /* open; or NULL */
    struct peer_queue queue;     /* empty unless `out` is open */
    bool room_wanted;            /* bus_room() said 0 */
    uint64_t opening;            /* number of the opening of `out`; 0: it is not open */
    uint64_t opening_told;       /* that the user knows of; 0: it knows of none */
    struct io_timer dial_timer;
    uint32_t back_off_ms;
    uint32_t cluster_version_min;
    uint32_t cluster_version_max;
    char trouble[peer_reason_size + 1];
};

struct peers {
    struct bus bus; /* first, so that a struct bus is one of these */
    struct peers_options options;
    struct peer_hello hello; /* our own; `member` 0: bus_members() was not called yet */
    struct io *io;
    struct io_listener *listener;
    SSL_CTX *tls;
    BIO_METHOD *bio_method;
    const struct bus_user *user;
    struct bus_user attached;
    struct generator generator;
    bool is_closing;

    struct peer_member members[peers_table_size];
    uint64_t removed[peers_removed_count]; /* ids, a ring; 0: none */
    unsigned removed_next;
    uint64_t openings_count;

    struct list_link connections;
    struct list_link ended;
    struct io_timer step; /* runs peers_step() in the next turn */
    uint32_t probes_count;

    uint64_t log_second;
    uint32_t log_lines_count;
    uint32_t log_dropped_count;

    struct peers_statistics statistics;
    uint8_t plain_in[peers_plain_size];
    uint8_t plain_out[peers_plain_size];
};

/* ---- peers.c ---- */

/* Whether a line about a peer may be logged now. */
bool peers_may_log(struct peers *peers);

/* Something happened that is to be told, or something has to be freed. */
void peers_step_later(struct peers *peers);

void peers_timer_start(struct peers *peers, struct io_timer *timer, uint64_t delay_ms);

/* NULL: neither a member nor a guest. */
struct peer_member *peers_find(struct peers *peers, uint64_t id);
bool peers_was_removed(const struct peers *peers, uint64_t id);

/* NULL: no place. */
struct peer_member *peers_add_guest(struct peers *peers, const struct peer_hello *hello);

/* Why there is no connection to a member. Returns whether that is news, worth a line in the log. */
bool peers_note_trouble(struct peer_member *member, const char *reason);

/* A connection of a member has opened, or ended. */
void peers_opened(struct peers *peers, struct peer_connection *connection);
void peers_ended(struct peers *peers, struct peer_connection *connection, const char *reason);

/* ---- peers_dial.c ---- */

/* Dials, unless there is a connection; a failure starts the back-off. */
void peers_dial_soon(struct peer_member *member, bool at_once);
void peers_dial_fired(struct io_timer *timer);

/* The result is told, and the probe freed. */
void peers_probe_done(struct peer_connection *connection, enum status status, const char *reason);

/* ---- peer_connection.c ---- */

/* Takes the socket in any case. */
void peer_connection_accept(struct peers *peers, struct io_socket *socket);

/* INVALID_ARGUMENT, NO_MEMORY, IO_ERROR: there is none. `member` or `probe`. */
MUST_CHECK enum status peer_connection_dial(struct peers *peers, const char *address,
                                            struct peer_member *member, struct peer_probe *probe);

void peer_connection_set_state(struct peer_connection *connection, enum peer_state state);

/* Closes the socket, and tells peers_ended(). May be called in any state. `reason`, for a log line
 * and the member's trouble, may be NULL. */
void peer_connection_end(struct peer_connection *connection, const char *reason);

/* Says so in a frame, then ends. */
void peer_connection_refuse(struct peer_connection *connection, enum status status,
                            const char *reason);

/* Seals a frame that is no message. False: the connection has ended. */
bool peer_connection_say(struct peer_connection *connection, enum peer_frame_kind kind,
                         struct bytes body);

/* Reads no more; ends when what was sealed is out and the other side has closed. */
void peer_connection_close_gently(struct peer_connection *connection);

/* Seals what waits, and starts a send, unless one is under way. */
void peer_connection_send(struct peer_connection *connection);

bool peer_connection_is_done(const struct peer_connection *connection);
void peer_connection_free(struct peer_connection *connection);

/* ---- peer_greeting.c ---- */

/* The TLS handshake is done. The dialler says HELLO. */
void peer_greeting_begin(struct peer_connection *connection);

/* A frame came before the connection is open, or a REFUSAL at any time. */
void peer_greeting_take(struct peer_connection *connection, const struct peer_item *item);

#endif
