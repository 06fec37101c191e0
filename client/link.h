/* SPDX-License-Identifier: Apache-2.0 */
/* The way to the server: a state machine from nothing to a connection that answered Hello, and
 * back. It knows nothing of calls.
 *
 *     IDLE -> DIALING -> HANDSHAKE -> HELLO -> READY        link_connect()
 *     DIALING -> WAITING   no endpoint left in this round   link_connect()
 *     HANDSHAKE, HELLO -> DIALING   this endpoint failed    link_connect()
 *     READY -> IDLE    lost, after it had served            link_lost()
 *     READY -> WAITING lost before it served anything       link_lost()
 *     WAITING -> DIALING   the pause is over                link_connect()
 *     READY -> IDLE    the leader, or primary, is elsewhere link_follow()
 *     READY -> WAITING it cannot serve                      link_turn_away()
 *
 * Besides the endpoints of the options, it knows those that servers have named as their region's
 * leader, or as the primary region's servers; they are dialled like the others, and have to prove
 * their names like the others. A round begins where the last connection was, and goes on to all
 * others: so the primary that was followed is stayed with, and left where it does not answer.
 *
 * Owned by whoever drives the handle; no lock. */
#ifndef CLIENT_LINK_H
#define CLIENT_LINK_H

#include "client/connection.h"
#include "client/dial.h"
#include "client/promotion.h"
#include "proto/base/generator.h"

enum link_state { LINK_IDLE, LINK_DIALING, LINK_HANDSHAKE, LINK_HELLO, LINK_READY, LINK_WAITING };

enum {
    link_handshake_ms = 5000,
    link_handshake_other_ms = 2000, /* where there are other endpoints to try */
    link_pause_min_ms = 20,
    link_pause_max_ms = 2000,
    link_pause_away_ms = 100,    /* at most, where a server is there and does not lead: an election
                                    takes some hundred milliseconds */
    link_follow_again_ms = 1000, /* an endpoint that failed is not followed to before */
    link_follows_max = 4,        /* from server to server, until one of them serves */
    link_endpoints_max = endpoints_max + endpoints_told_max,
};

/* What the server's Hello said; texts are cut to fit. */
struct session_info {
    struct endpoint endpoint;
    char server_version[64];
    char identity[128];
    char role[16];
    uint8_t cluster_id[16];
};

struct link {
    const struct strait_options *options;
    SSL_CTX *context;
    enum link_state state;
    struct dial dial;
    struct connection connection;
    struct generator generator;                    /* jitter of pauses */
    struct endpoint endpoints[link_endpoints_max]; /* those of the options, then those told */
    unsigned endpoints_count;
    unsigned told_next; /* the told one that is forgotten next, where all are taken */
    uint64_t failed_ns[link_endpoints_max]; /* when it failed last; 0: never */
    SSL_SESSION *tickets[link_endpoints_max];
    unsigned endpoint;      /* that of the connection, or the one that a round begins with */
    unsigned follows_count; /* since a server served */
    uint64_t deadline_ns;   /* of handshake and hello together */
    uint64_t resume_ns;     /* end of WAITING */
    uint32_t pause_ms;      /* the next pause, before jitter; 0 after a connection that served */
    bool served;            /* a request was answered on this connection */
    bool refused;           /* the last round ended with a reason that time alone does not mend */
    struct strait_error error;   /* why the last endpoint failed */
    struct session_info session; /* of the last READY */
    uint64_t log_time_ns;
    struct promotion_known promotion; /* shown with each Hello */
};

/* `options` and `context` outlive the link. */
void link_init(struct link *link, const struct strait_options *options, SSL_CTX *context,
               uint64_t seed);

/* Goes on as far as it can without waiting. OK: READY. AGAIN: to be called again when a descriptor
 * of link_poll() is ready or its time has come. Else a whole round has failed: `link->error` says
 * why, and WAITING has begun; calling again then gives AGAIN until the pause is over. */
MUST_CHECK enum status link_connect(struct link *link, uint64_t now_ns);

/* The connection is of no more use: `link->error` says why. */
void link_lost(struct link *link, uint64_t now_ns);

/* Leaves this server for the next endpoint: it said that it cannot serve. */
void link_turn_away(struct link *link, uint64_t now_ns);

/* After link_lost(): the next round begins with another endpoint, where there is one. For a server
 * that takes connections, and then says nothing. */
void link_pass_over(struct link *link);

/* Whether link_follow() would go to one of the endpoints that a server named,
 * "HOST:PORT[,HOST:PORT...]": not to what is none, is this one, or has failed just now, nor where
 * too many were followed in vain. */
bool link_may_follow(const struct link *link, const char *named, uint64_t now_ns);

/* Leaves this server for the first of those that may be followed, at once, and remembers all.
 * link_may_follow() was true. */
void link_follow(struct link *link, const char *named, uint64_t now_ns);

/* A server serves: what was followed led somewhere. */
static inline void link_found(struct link *link)
{
    link->follows_count = 0;
}

/* At most dial_descriptors_max descriptors. */
unsigned link_poll(const struct link *link, struct pollfd *polled, uint64_t *wake_ns);

void link_free(struct link *link, bool quietly);

#endif
