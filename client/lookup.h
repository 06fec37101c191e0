/* SPDX-License-Identifier: Apache-2.0 */
/* An endpoint's addresses, without waiting for a name server.
 *
 * The C library's look-up blocks, for tens of seconds where a name server is silent, and cannot be
 * cancelled. So that of a name runs on a thread of its own, which lives as long as it, and whoever
 * wants it waits on a descriptor. Given up, it ends by itself and tells nobody. A numeric address
 * needs no thread.
 *
 * Belongs to one thread at a time. Bounded: lookups_max threads of a process, with those that were
 * given up. After a fork the child may give it up, and nothing else. */
#ifndef CLIENT_LOOKUP_H
#define CLIENT_LOOKUP_H

#include <netdb.h>

#include "client/options.h"
#include "proto/base/status.h"

enum { lookups_max = 64 };

struct lookup;

/* OK: it is under way, or done. NO_MEMORY, also where there can be no thread or descriptor; BUSY:
 * as many are under way as there may be. */
MUST_CHECK enum status lookup_start(const struct endpoint *endpoint, struct lookup **lookup);

/* Readable once it is done. Its own. */
int lookup_descriptor(const struct lookup *lookup);

/* AGAIN: it is not done. OK: `*addresses` is the caller's (freeaddrinfo()); UNREACHABLE: there is
 * none, and `*why` says why not, for people. Then the look-up is gone. */
MUST_CHECK enum status lookup_take(struct lookup *lookup, struct addrinfo **addresses,
                                   const char **why);

/* NULL is permitted. */
void lookup_give_up(struct lookup *lookup);

#endif
