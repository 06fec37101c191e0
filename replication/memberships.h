/* SPDX-License-Identifier: Apache-2.0 */
/* Which membership holds at which place of the log: the one that is committed last, and those after
 * it that may yet be superseded.
 *
 * Raft keeps the same of configurations, which are ids; here are the names and addresses. Belongs
 * to its log's thread. */
#ifndef REPLICATION_MEMBERSHIPS_H
#define REPLICATION_MEMBERSHIPS_H

#include "proto/membership.h"
#include "replication/raft/raft.h"

struct membership_at {
    uint64_t index; /* of its entry; of the base: what the state had it from */
    struct membership membership;
};

struct memberships {
    struct membership_at *items; /* ascending; never empty once it was begun */
    size_t count;
    size_t capacity;
};

/* `base`: as of `index`; may have no members. NO_MEMORY. */
MUST_CHECK enum status memberships_begin(struct memberships *memberships, uint64_t index,
                                         const struct membership *base);
void memberships_free(struct memberships *memberships);

/* Room for `count` more, so that as many additions cannot fail. NO_MEMORY. */
MUST_CHECK enum status memberships_reserve(struct memberships *memberships, size_t count);

/* `index` is none of those there are (the last, but where a lost entry was mended); there is room.
 */
void memberships_add(struct memberships *memberships, uint64_t index,
                     const struct membership *membership);

/* The entries at and above `index`, none of which is committed, are no more. */
void memberships_cut(struct memberships *memberships, uint64_t index);

/* What lies up to `index` is committed: older ones are not needed again. */
void memberships_committed(struct memberships *memberships, uint64_t index);

/* A snapshot took the place of all up to `index`. */
void memberships_install(struct memberships *memberships, uint64_t index,
                         const struct membership *membership);

const struct membership *memberships_newest(const struct memberships *memberships);

/* Raft's view of a membership that was decoded or checked. */
struct raft_configuration memberships_configuration(const struct membership *membership);

/* The reverse: names and addresses come from `first`, where it has the member, else from `second`.
 * False where neither has one, or there are too many. */
bool memberships_of_configuration(const struct raft_configuration *configuration,
                                  const struct membership *first, const struct membership *second,
                                  struct membership *membership);

#endif
