/* SPDX-License-Identifier: Apache-2.0 */
/* One link, two users.
 *
 * Each has a link of its own (link.h) on top of the one below: both are told when it connects and
 * disconnects, and each of the replies to its own requests. Whom the link below tries is for the
 * first user to say; the second one's link_endpoints() and link_leave() are assertions.
 *
 * Belongs to the thread of the link. Bounded: limit_link_requests_count requests of both. */
#ifndef REPLICATION_REGION_LINK_FORK_H
#define REPLICATION_REGION_LINK_FORK_H

#include "replication/region/link.h"

struct link_fork;

MUST_CHECK enum status link_fork_create(struct link *link, struct link_fork **fork);

/* Both users are detached. NULL is permitted. */
void link_fork_free(struct link_fork *fork);

struct link *link_fork_first(struct link_fork *fork);
struct link *link_fork_second(struct link_fork *fork);

#endif
