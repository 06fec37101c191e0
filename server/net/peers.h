/* SPDX-License-Identifier: Apache-2.0 */
/* The bus between members of a region, on TLS 1.3 with certificates on both sides.
 *
 * Each member dials each other one, sends on the connection that it dialled, and receives on those
 * that it accepted. So there are two connections for each pair of members, and no question which of
 * two is the right one when both dial at once: who needs a connection makes it, order within a lane
 * is that of one TCP stream, and a connection that breaks is one direction's loss, told to the side
 * that sends.
 *
 * Who may come in. The certificate's identity (access.h) has the role `peer`, and is the name that
 * the HELLO says; the cluster's id is ours; the ranges of cluster_version overlap. A member of the
 * membership must come under its own name. Who is not of the membership is a guest, as etcd's
 * transport knows remotes: a member that lags behind hears of those who joined since only from
 * themselves, and a new store that waits to be added has no membership at all. A guest is heard and
 * can be answered (we dial back to the address that its HELLO says), as long as its connection
 * lasts; there are at most limit_members_count. So is one that comes under the name of a member
 * with another id: the membership here may be older than that one's replacement, and the log that
 * tells of it may come from the new one alone, where that leads. Refused for good is who was
 * removed from the membership, as far as this process has seen it.
 *
 * A refusal says why in a frame before the connection ends. A dialler that fails or is refused
 * tries again, from back_off_min_ms, doubled up to back_off_max_ms, each drawn between half and all
 * of it. Who dialled says KEEP_ALIVE each keep_alive_ms, and is answered; a connection on which
 * nothing is heard for silent_ms is ended: so a member that is frozen, or behind a network that
 * swallows, is found gone by both sides.
 *
 * Memory: what waits to be sent (peer_queue.h), what is being put together (peer_stream.h), and one
 * send of about 256 KiB, for each connection; connections are at most two for each member and
 * guest, limit_peer_handshakes_count in their handshakes, and limit_peer_probes_count probes.
 *
 * Belongs to the thread of its io. */
#ifndef SERVER_NET_PEERS_H
#define SERVER_NET_PEERS_H

#include <openssl/ssl.h>

#include "proto/base/error.h"
#include "proto/peer_frame.h"
#include "replication/bus.h"
#include "server/net/access.h"
#include "storage/io/io.h"

struct peers;

struct peers_options {
    struct io *io;               /* with receive buffers */
    SSL_CTX *tls;                /* of tls_peers_context_open(); a reference is taken */
    const struct access *access; /* shared here */
    const char *host;            /* where members are listened for: a numeric address */
    uint16_t port;               /* 0: the system chooses */

    /* What is said of ourselves; copied. `name` is our certificate's identity. */
    const char *name;
    const char *peers_address; /* HOST:PORT, HOST numeric */
    const char *clients_address;
    uint8_t cluster_id[peer_cluster_id_size];
    uint32_t cluster_version_min;
    uint32_t cluster_version_max;

    uint64_t seed; /* of the jitter */

    /* 0: as the comment says. */
    uint32_t handshake_ms;    /* from dialling or accepting to the HELLO; limit_handshake_ms */
    uint32_t keep_alive_ms;   /* 1,000 */
    uint32_t silent_ms;       /* 5,000 */
    uint32_t back_off_min_ms; /* 50 */
    uint32_t back_off_max_ms; /* 1,000 */
};

/* Binds the address and listens; who comes before bus_members() is turned away. INVALID_ARGUMENT
 * (an address, or a certificate whose identity is not `name`), LOCKED, FORBIDDEN, NO_MEMORY, with
 * text. Blocking. */
MUST_CHECK enum status peers_open(const struct peers_options *options, struct peers **peers,
                                  struct error *error);

/* Ends all connections; nothing is told to the bus's user, and probes are done with CANCELLED.
 * Blocking, for a moment. */
void peers_close(struct peers *peers);

struct bus *peers_bus(struct peers *peers);
uint16_t peers_port(const struct peers *peers);

/* Handshakes from now on use it; a reference is taken. */
void peers_reload_tls(struct peers *peers, SSL_CTX *tls);

/* This list counts from now on; it is shared here. Whose identity has the role `peer` no more loses
 * its connections. */
void peers_reload_access(struct peers *peers, const struct access *access);

/* ---- Probes: who is there? ---- */

/* What a store says of itself. */
struct peers_probed {
    enum status status; /* OK: the rest holds */
    char reason[peer_reason_size + 1];
    struct member member; /* `kinds` 0; `peers` is what it advertises, not what was dialled */
    uint32_t cluster_version_min;
    uint32_t cluster_version_max;
};
typedef void peers_probed_fn(void *context, const struct peers_probed *probed);

/* Dials `address` (HOST:PORT, HOST numeric), shakes hands as a member would, and hangs up. `done`
 * is called once, from a turn of the io, within handshake_ms: OK, UNREACHABLE (nobody answers),
 * PERMISSION_DENIED, INVALID_ARGUMENT (another cluster), UNSUPPORTED (versions that do not
 * overlap), or what the other side's refusal says, each with a reason for people. At once, and then
 * `done` is not called: INVALID_ARGUMENT (no such address), BUSY (too many probes), NO_MEMORY. */
MUST_CHECK enum status peers_probe(struct peers *peers, const char *address, peers_probed_fn *done,
                                   void *context);

/* ---- How it stands ---- */

struct peers_member_facts {
    bool is_sending;   /* our connection to it is open */
    bool is_receiving; /* its connection to us is */
    bool is_guest;
    uint32_t cluster_version_min; /* as it said last; 0: it never spoke */
    uint32_t cluster_version_max;
    char trouble[peer_reason_size +
                 1]; /* why there is no connection to it; empty: none, or not yet */
};

/* False where `id` is neither a member nor a guest. */
bool peers_member_facts(const struct peers *peers, uint64_t id, struct peers_member_facts *facts);

struct peers_statistics {
    uint64_t accepted_count;
    uint64_t turned_away_count; /* too many at a time, or too early */
    uint64_t refused_count;     /* by us, with a reason */
    uint64_t handshakes_failed_count;
    uint64_t malformed_count; /* connections ended for what they sent */
    uint64_t timeouts_count;
    uint64_t dialled_count;
    uint64_t connections_count; /* now, of all kinds */
    uint64_t connections_max;   /* most at a time */
    uint64_t messages_sent_count;
    uint64_t messages_received_count;
    uint64_t messages_refused_count; /* no connection, or no room */
    uint64_t sent_size;
    uint64_t received_size;
    uint64_t sends_count;
};
struct peers_statistics peers_statistics(const struct peers *peers);

#endif
