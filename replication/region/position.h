/* SPDX-License-Identifier: Apache-2.0 */
/* A place in the one stream that all regions share.
 *
 * The stream is the sequence of shared entries, one a version. Each version belongs to one epoch:
 * the reign of one primary. Epochs are ordered by number, then by region; each begins where the one
 * before it ended, so that along one history versions rise by one, and epochs never fall. Two
 * histories that part (a region was promoted that lacked a tail) do so at an epoch: as long as
 * positions are compared by both, and not by the version alone, no tail is taken for another's
 * (Kafka's KIP-101 and KIP-279 tell what follows where that is not done). */
#ifndef REPLICATION_REGION_POSITION_H
#define REPLICATION_REGION_POSITION_H

#include "proto/base/hash.h"
#include "proto/base/status.h"
#include "proto/epoch.h"
#include "proto/strait.pb-c.h"

struct region_position {
    struct epoch epoch;
    uint64_t version;
    uint64_t log_time_ns;
    bool chain_known;
    struct hash128 chain; /* digest of all write sets up to it */
};

/* An epoch of a history. The newest has no end yet: `last` is UINT64_MAX, and `next` is zeroed. */
struct region_epoch_span {
    struct epoch epoch;
    uint64_t last; /* its last version */
    struct epoch next;
};

/* By epoch, then version: along one history that is its order. */
static inline int region_position_compare(const struct region_position *a,
                                          const struct region_position *b)
{
    int order = epoch_compare(a->epoch, b->epoch);
    return order != 0 ? order : (a->version > b->version) - (a->version < b->version);
}

enum { region_chain_size = 16 };

/* Into a message, whose `chain` refers to `chain_space`. */
void region_position_to_message(const struct region_position *position,
                                uint8_t chain_space[region_chain_size],
                                Strait__RegionPosition *message);

/* MALFORMED: absent, or with a chain of another size. */
MUST_CHECK enum status region_position_of_message(const Strait__RegionPosition *message,
                                                  struct region_position *position);

#endif
