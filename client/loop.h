/* SPDX-License-Identifier: Apache-2.0 */
/* A handle that an application's own event loop drives (strait_options_set_loop): what makes its
 * descriptor readable while nobody leads.
 *
 * The descriptor is an epoll set of the link's sockets, a timer for what the leader would have
 * woken for, and `completions`, which says the rest: completions wait, or there is more to do. The
 * set is brought up to date whenever a thread gives up the lead; while one leads, it may be stale,
 * which costs the application a call of strait_dispatch() that finds nothing. */
#ifndef CLIENT_LOOP_H
#define CLIENT_LOOP_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/dial.h"
#include "client/strait.h"
#include "proto/base/status.h"

struct loop {
    int epoll;         /* -1: not a handle with a loop, or not used asynchronously yet */
    int timer;         /* a timerfd, in the set */
    uint64_t armed_ns; /* when the timer comes, or came; UINT64_MAX: it is not armed */
    bool is_of_ready;  /* `watched` is the connection that is READY now */
    struct pollfd watched[dial_descriptors_max];
    unsigned watched_count;
};

void loop_init(struct loop *loop);

/* Makes the set, with `completions` in it. False where no descriptor is left. */
MUST_CHECK bool loop_open(struct loop *loop, int completions);

void loop_close(struct loop *loop);

/* ---- Below: with the handle's lock held ---- */

/* The set as it should be when nobody leads; by the thread that leads, and has `io_busy`. `wake_ns`
 * may be past. */
void loop_arm(strait *handle, uint64_t wake_ns, const struct pollfd *polled, unsigned count);

/* The connection's sockets are about to be closed. */
void loop_unwatch(struct loop *loop);

/* Makes the timer silent where it has come: somebody else leads, and sees to its reason. */
void loop_quiet_timer(struct loop *loop, uint64_t now_ns);

/* Makes the descriptor readable, until completions are taken next. */
void loop_wake(strait *handle);

#endif
