/* SPDX-License-Identifier: Apache-2.0 */
/* Finding a server that answers: connects to the endpoints' addresses in turn, the next one without
 * waiting for one that keeps silent; the first that is connected wins.
 *
 * After RFC 8305 (Happy Eyeballs), section 5: a new attempt every 250 ms, or at once when one
 * failed. Names are looked up by the system's resolver when their turn comes, beside (lookup.h). */
#ifndef CLIENT_DIAL_H
#define CLIENT_DIAL_H

#include <netdb.h>
#include <poll.h>

#include "client/lookup.h"
#include "client/options.h"
#include "proto/base/status.h"

enum {
    dial_attempts_max = 4,
    dial_descriptors_max = dial_attempts_max + 1, /* and that of a look-up */
    dial_step_ms = 250,
    dial_attempt_ms = 3000
};

struct dial_attempt {
    int descriptor; /* -1: none */
    unsigned endpoint;
    uint64_t deadline_ns;
};

struct dial {
    const struct endpoint *endpoints;
    unsigned endpoints_count;
    unsigned first;             /* the endpoint that a round begins with */
    unsigned taken_count;       /* endpoints whose turn has come in this round */
    unsigned endpoint;          /* the one that `addresses` belong to */
    struct lookup *lookup;      /* of that one; NULL: none is under way */
    uint64_t lookup_until_ns;   /* then the next endpoint's turn comes */
    struct addrinfo *addresses; /* of the endpoint whose turn it is */
    const struct addrinfo *next;
    uint64_t next_ns; /* when the next attempt may begin */
    struct dial_attempt attempts[dial_attempts_max];
};

void dial_init(struct dial *dial, const struct endpoint *endpoints, unsigned endpoints_count);

/* A new round over all endpoints, from `first`. */
void dial_begin(struct dial *dial, unsigned first);

/* OK: `*descriptor` is connected, non-blocking and the caller's, and `*endpoint` says where to; the
 * other attempts are given up, and the round can go on from the next endpoint. AGAIN: to be called
 * again when a descriptor of dial_poll() is ready or its time has come. UNREACHABLE: the round is
 * over; `error` says why the last attempt failed. */
MUST_CHECK enum status dial_step(struct dial *dial, uint64_t now_ns, int *descriptor,
                                 unsigned *endpoint, struct strait_error *error);

/* Fills in at most dial_descriptors_max descriptors and returns their number; `*wake_ns` is the
 * time by which to step in any case. */
unsigned dial_poll(const struct dial *dial, struct pollfd *polled, uint64_t *wake_ns);

/* Gives up all attempts. */
void dial_stop(struct dial *dial);

#endif
