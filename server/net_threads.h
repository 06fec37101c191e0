/* SPDX-License-Identifier: Apache-2.0 */
/* The net loops of a server: on the core's own thread, or each on a thread of its own; and their
 * mailboxes. Belongs to the core's thread. */
#ifndef SERVER_NET_THREADS_H
#define SERVER_NET_THREADS_H

#include "server/net/net.h"

struct net_threads;

struct net_threads_options {
    struct io *core_io; /* with receive buffers where `count` is 0 */
    unsigned count; /* 0: on the core's own thread; else threads, at most config_net_threads_max */
    const char *host;
    uint16_t port;
    uint32_t connections_max; /* over all net loops */
    SSL_CTX *tls;
    const struct access *access;
};

/* Listens. Errors have text for the operator. */
MUST_CHECK enum status net_threads_open(const struct net_threads_options *options,
                                        struct net_threads **threads, struct error *error);
uint16_t net_threads_port(const struct net_threads *threads);

/* The oldest request of any net loop, or NULL. */
struct request *net_threads_take(struct net_threads *threads);

/* Right before the core waits: false where a request is there to be taken. */
bool net_threads_may_wait(struct net_threads *threads);

/* After the core's turn: replies go out. */
void net_threads_turn_end(struct net_threads *threads);

void net_threads_reload(struct net_threads *threads, SSL_CTX *tls);
void net_threads_reload_access(struct net_threads *threads, const struct access *access);

/* Graceful stop, and whether all connections are gone. */
void net_threads_drain(struct net_threads *threads);
bool net_threads_are_drained(struct net_threads *threads);

/* The core has answered every request. Ends what is left. Blocking. */
void net_threads_close(struct net_threads *threads);

#endif
