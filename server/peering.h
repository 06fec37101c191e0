/* SPDX-License-Identifier: Apache-2.0 */
/* How a server takes part in a region: the bus to the other members (net/peers.h), opened as the
 * configuration says, and the question to a server that is no member yet, who it is.
 *
 * Belongs to the core's thread. */
#ifndef SERVER_PEERING_H
#define SERVER_PEERING_H

#include "server/config.h"
#include "server/net/peers.h"

struct peering;

/* `config` has a section `region`, and outlives this, as `access` does. `versions_max`: the highest
 * cluster_version that this program can apply. Errors are for the operator. Blocking. */
MUST_CHECK enum status peering_open(const struct config *config, struct io *io,
                                    const struct access *access,
                                    const uint8_t cluster_id[peer_cluster_id_size],
                                    uint32_t versions_max, struct peering **peering,
                                    struct error *error);

/* Questions under way are not answered any more. NULL does nothing. */
void peering_close(struct peering *peering);

struct bus *peering_bus(struct peering *peering);

/* The certificates of the configuration, read anew: for connections to servers of this region, and
 * of others (linking.h). The caller frees with SSL_CTX_free(). Blocking. */
MUST_CHECK enum status peering_tls_open(const struct config *config, SSL_CTX **tls,
                                        struct error *error);

/* What is said of this server as a member; the id is 0. */
struct member peering_self(const struct config *config);

/* `access` counts from now on, and is shared. */
void peering_reload_access(struct peering *peering, const struct access *access);

/* Reads the certificates anew. On failure those of before stay in use. Blocking. */
MUST_CHECK enum status peering_reload(struct peering *peering, struct error *error);

/* OK with id, name and addresses, and the highest cluster version that its program can apply; or
 * why not, with a sentence, and `member` is NULL. */
typedef void peering_asked_fn(void *context, enum status status, const struct member *member,
                              uint32_t cluster_version_max, const char *text);

/* Asks the server at `address` (HOST:PORT of its members' listener, checked here) who it is. Its
 * certificate and its configuration must say `name`. Both texts are copied. `asked` is called once,
 * from a turn of the io, within limit_handshake_ms; or at once, with BUSY, where
 * limit_peer_probes_count questions are under way. */
void peering_ask(struct peering *peering, const char *address, const char *name,
                 peering_asked_fn *asked, void *context);

#endif
