/* SPDX-License-Identifier: Apache-2.0 */
/* A net loop: accepts connections, speaks TLS, reads frames, checks them, posts requests to the
 * core, and sends the replies. Everything hostile ends here: what reaches the core is a decoded
 * message of a known identity whose role permits it.
 *
 * It lives on one thread, on that thread's io: the core's own, or another. Its turn:
 *
 *     io_turn(io, wait);      callbacks read all input that is ready and post to `requests`
 *     (the core's turn, where it is on this thread)
 *     net_turn_end(net);      takes `replies`, writes once for each connection, wakes the core
 *
 * where `wait` is mailbox_may_wait() of the mailboxes that this thread takes from.
 *
 * Bounds are those of limits.h. Past them: a refusal with BUSY where the stream can still be
 * trusted, else the connection ends. An idle connection holds no buffer. */
#ifndef SERVER_NET_NET_H
#define SERVER_NET_NET_H

#include <openssl/ssl.h>

#include "proto/base/error.h"
#include "server/net/access.h"
#include "server/net/mailbox.h"
#include "storage/io/io.h"

struct net;

struct net_options {
    struct io *io; /* of the calling thread, with receive buffers */
    const char *host;
    uint16_t port;               /* 0: the system chooses */
    const struct net *beside;    /* another thread's, whose port is shared; else NULL */
    SSL_CTX *tls;                /* a reference is taken */
    const struct access *access; /* shared here */
    struct mailbox *requests;    /* to the core; this thread posts */
    struct mailbox *replies;     /* from the core; this thread takes, and has attached it */

    /* 0: the one of limits.h. Tests set smaller ones. */
    uint32_t connections_max;
    uint32_t handshake_ms;
    uint32_t frame_ms;
    uint32_t send_ms;
    uint32_t close_ms;
    uint32_t connection_output_size;
    uint32_t connection_requests_max;
    uint32_t requests_max;
    uint64_t requests_size;
};

struct net_statistics {
    uint64_t connections_count; /* now */
    uint64_t connections_max;   /* at most at a time */
    uint64_t accepted_count;
    uint64_t accept_refused_count;    /* past a limit, or out of descriptors */
    uint64_t handshakes_failed_count; /* no, foreign or expired certificate, no TLS 1.3, garbage */
    uint64_t unknown_identities_count;
    uint64_t resumed_count;
    uint64_t malformed_count; /* frames */
    uint64_t denied_count;    /* requests past the role */
    uint64_t busy_count;      /* requests past a limit */
    uint64_t timeouts_count;  /* handshakes, frames, sends */
    uint64_t closed_count;
    uint64_t requests_count; /* posted to the core */
    uint64_t requests_in_flight_count;
    uint64_t requests_in_flight_size;
    uint64_t sends_count;
    uint64_t sent_size; /* bytes, TLS included */
    uint64_t received_size;
};

/* Listens and begins to accept. Errors have text for the operator. */
MUST_CHECK enum status net_open(const struct net_options *options, struct net **net,
                                struct error *error);

/* The port that it listens on. */
uint16_t net_port(const struct net *net);

/* After the core's turn. */
void net_turn_end(struct net *net);

/* From any thread: connections from now on use `tls` (a reference is taken), those of before keep
 * what they had. */
void net_reload_tls(struct net *net, SSL_CTX *tls);

/* From any thread: this list counts from now on; it is shared here. Who has another role by it than
 * before, or none, loses the connection, and may come back as what it is now. */
void net_reload_access(struct net *net, const struct access *access);

/* From any thread: graceful stop. No new connection is accepted, requests that come are refused
 * with SHUTTING_DOWN, each connection is closed when its outstanding replies are sent. */
void net_drain(struct net *net);

/* The net loop's thread: whether all connections are gone, and with them all requests. */
bool net_is_drained(const struct net *net);

/* Ends the connections that are left, waits for the io's part of it, and frees. All requests have
 * come back: the core takes no more, and has answered each. Requests in `replies` are freed. */
void net_close(struct net *net);

struct net_statistics net_statistics(const struct net *net);

#endif
