/* SPDX-License-Identifier: Apache-2.0 */
/* Names of hosts into addresses, beside a thread that must not wait.
 *
 * The C library's look-up blocks, for tens of seconds where a name server is silent, and cannot be
 * cancelled. So each runs on a thread of its own, which lives as long as it; one at a time for each
 * resolver. What was abandoned ends by itself and tells nobody. */
#ifndef SERVER_NET_RESOLVER_H
#define SERVER_NET_RESOLVER_H

#include "proto/limits.h"
#include "storage/io/io.h"

enum {
    resolver_addresses_max = 8,
    resolver_address_size = limit_member_address_size + 1,
    resolver_reason_size = 128,
};

struct resolved {
    enum status status;                /* OK: there is one address at least; else UNREACHABLE */
    char reason[resolver_reason_size]; /* why not, for people */
    unsigned count;
    char addresses[resolver_addresses_max][resolver_address_size]; /* numeric */
};

/* `resolved` is valid during the call, which comes from a turn of the io. */
typedef void resolver_done_fn(void *context, const struct resolved *resolved);

struct resolver_lookup;

struct resolver {
    struct io *io;
    struct io_bell bell;
    struct resolver_lookup *lookup; /* under way; or NULL */
    resolver_done_fn *done;
    void *context;
};

/* `resolver` stays where it is until it is closed. NO_MEMORY, IO_ERROR. */
MUST_CHECK enum status resolver_open(struct resolver *resolver, struct io *io);

/* Abandons what is under way. */
void resolver_close(struct resolver *resolver);

/* None is under way. NO_MEMORY, also where there can be no thread: `done` is not called. */
MUST_CHECK enum status resolver_start(struct resolver *resolver, const char *host,
                                      resolver_done_fn *done, void *context);

/* `done` is not called any more; nothing where none is under way. */
void resolver_abandon(struct resolver *resolver);

static inline bool resolver_is_busy(const struct resolver *resolver)
{
    return resolver->lookup != NULL;
}

#endif
