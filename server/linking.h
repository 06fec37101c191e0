/* SPDX-License-Identifier: Apache-2.0 */
/* How a server takes part among regions: the links to whichever is the primary and to the witness
 * (net/region_link.h), and the records of promotions, which it signs and verifies with its own
 * certificate and the cluster's authority (net/promotion.h).
 *
 * Belongs to the core's thread. */
#ifndef SERVER_LINKING_H
#define SERVER_LINKING_H

#include "proto/epoch.h"
#include "proto/regions.h"
#include "server/config.h"
#include "server/net/region_link.h"

struct linking;

/* `config` has a section `region`, and outlives this, as `cluster_id` does; `access` is shared.
 * Errors are for the operator. Blocking. */
MUST_CHECK enum status linking_open(const struct config *config, struct io *io,
                                    const struct access *access,
                                    const uint8_t cluster_id[region_link_cluster_id_size],
                                    struct linking **linking, struct error *error);
void linking_close(struct linking *linking); /* NULL does nothing */

struct link *linking_link(struct linking *linking);   /* to the region that is followed */
struct link *linking_herald(struct linking *linking); /* to those that are to know of a promotion */
struct link *linking_witness(struct linking *linking); /* NULL: none is configured */

/* `access` counts from now on, and is shared: for new connections, and for records of promotions.
 */
void linking_reload_access(struct linking *linking, const struct access *access);

/* Reads the certificates anew. On failure those of before stay in use. Blocking. */
MUST_CHECK enum status linking_reload(struct linking *linking, struct error *error);

/* For core_options. `record` has room for limit_promotion_record_size bytes. */
MUST_CHECK enum status linking_sign(struct linking *linking, const struct epoch_change *change,
                                    const struct region *self, uint8_t *record, size_t *size,
                                    struct error *error);
MUST_CHECK enum status linking_verify(struct linking *linking, struct bytes record,
                                      struct epoch *to, struct error *error);

#endif
