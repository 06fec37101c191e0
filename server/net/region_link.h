/* SPDX-License-Identifier: Apache-2.0 */
/* The link to another region (replication/region/link.h), on TLS 1.3 with certificates on both
 * sides: a client of that region's servers, at the port where they take their clients.
 *
 * Who is spoken to. The other side's certificate comes from the cluster's authority, its identity
 * (access.h) has the role `peer` here, and its HELLO's reply says our cluster's id; ours has the
 * role `peer` there, which permits what regions ask of each other and nothing else. Names of hosts
 * do not count: who has the certificate is the server, wherever it is found.
 *
 * Which endpoint. One after another, in the order of the list, going on after the one that was
 * tried last; a name is looked up (resolver.h), and each of its addresses is tried. A refusal with
 * NOT_LEADER that names the leader ends the connection, and that address is next, at once, where it
 * is on the list. One that is not may be known inside that region alone (there may be another
 * network between, or a relay): it is next where the whole list was asked in vain, and else the
 * list's next. After more of these than the list has endpoints, and four, without a reply between
 * them, as after any failure, there is a pause first: from back_off_min_ms, doubled with each round
 * of the list up to back_off_max_ms, each drawn between half and all of it. A reply with OK makes
 * it begin anew.
 *
 * How long. connect_ms from dialling to HELLO's reply. When nothing was heard for keep_alive_ms, a
 * PING is sent; where nothing is heard for silent_ms, the connection ends. A request whose time is
 * over is told of, and keeps its place until its reply comes, so that this is known for what it is;
 * when half of the places are kept so, the connection ends.
 *
 * What hostile bytes can do: end the connection. A frame's size and number are checked before
 * anything is allocated, a reply that nobody asked for ends it, and so does what is no message.
 *
 * Belongs to the thread of its io. */
#ifndef SERVER_NET_REGION_LINK_H
#define SERVER_NET_REGION_LINK_H

#include <openssl/ssl.h>

#include "proto/base/error.h"
#include "replication/region/link.h"
#include "server/net/access.h"
#include "storage/io/io.h"

struct region_link;

enum { region_link_reason_size = 240, region_link_cluster_id_size = 16 };

struct region_link_options {
    struct io *io;               /* with receive buffers */
    SSL_CTX *tls;                /* of tls_peers_context_open(); a reference is taken */
    const struct access *access; /* outlives this */
    uint8_t cluster_id[region_link_cluster_id_size];
    const char
        *program;  /* name and version of ours, and of whom, for the other side's log; copied */
    uint64_t seed; /* of the jitter */

    /* 0: the ones given here. */
    uint32_t connect_ms;      /* limit_handshake_ms */
    uint32_t keep_alive_ms;   /* 1,000 */
    uint32_t silent_ms;       /* 5,000 */
    uint32_t back_off_min_ms; /* 50 */
    uint32_t back_off_max_ms; /* 2,000 */
};

/* Dials nobody before link_endpoints(). NO_MEMORY, IO_ERROR, with text. */
MUST_CHECK enum status region_link_open(const struct region_link_options *options,
                                        struct region_link **link, struct error *error);

/* Ends the connection; the user is told nothing. Not from within what the user is told. Blocking,
 * for a moment. */
void region_link_close(struct region_link *link);

struct link *region_link_interface(struct region_link *link);

/* Connections from now on use it; a reference is taken. */
void region_link_reload_tls(struct region_link *link, SSL_CTX *tls);

/* Connections from now on are judged by it; it outlives this, or the next such call. */
void region_link_reload_access(struct region_link *link, const struct access *access);

/* ---- How it stands ---- */

struct region_link_facts {
    bool is_connected;
    uint64_t heard_ns; /* boot clock, when the other region was last heard; 0: never */
    char endpoint[limit_member_address_size + 1]; /* who is connected, or was tried last */
    char identity[limit_identity_size + 1];       /* whom it proved to be; empty: not connected */
    char trouble[region_link_reason_size + 1];    /* why not; empty: none, or not yet */
    uint32_t requests_count;                      /* in flight */
};
struct region_link_facts region_link_facts(const struct region_link *link);

struct region_link_statistics {
    uint64_t dialled_count;
    uint64_t connected_count;
    uint64_t redirects_count;
    uint64_t malformed_count; /* connections ended for what came on them */
    uint64_t silences_count;  /* and for what did not */
    uint64_t requests_count;  /* that were taken */
    uint64_t replies_count;   /* with OK */
    uint64_t refusals_count;
    uint64_t timeouts_count;     /* of requests */
    uint64_t disconnected_count; /* requests that were in flight when their connection ended */
    uint64_t sent_size;
    uint64_t received_size;
};
struct region_link_statistics region_link_statistics(const struct region_link *link);

#endif
