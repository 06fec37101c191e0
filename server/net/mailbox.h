/* SPDX-License-Identifier: Apache-2.0 */
/* Requests on their way from one loop to another: from a net loop to the core, or back.
 *
 * A mailbox has one side that posts and one that takes. Where both are the same thread it is a
 * list that is emptied in the same turn; where they are not it is a ring, and a bell that wakes
 * the taker. The code on both sides is the same, and does not know which it is:
 *
 *     a turn of the posting side:   mailbox_post() ... mailbox_post(), mailbox_flush()
 *     a turn of the taking side:    mailbox_take() until NULL, work,
 *                                   io_turn(io, mailbox_may_wait(mailbox))
 *
 * A taker with several mailboxes waits only where mailbox_may_wait() of each says so.
 *
 * Never full: a mailbox is as large as the number of requests that its net loop lets exist. */
#ifndef SERVER_NET_MAILBOX_H
#define SERVER_NET_MAILBOX_H

#include "proto/base/list.h"
#include "proto/base/ring.h"
#include "server/net/request.h"
#include "storage/io/io.h"

struct mailbox {
    bool is_shared; /* between two threads */

    /* Of one thread: requests by their `link`, oldest first. */
    struct list_link list;

    /* Between two. */
    struct ring ring;
    bool posted; /* the posting side's: since its last flush */
    _Alignas(ring_line_size) atomic_bool taker_waits;
    struct io *taker_io;
    struct io_bell bell;
};

/* `capacity` is at least the number of requests that can be in it: limit_requests_count. */
MUST_CHECK enum status mailbox_open(struct mailbox *mailbox, bool is_shared, uint64_t capacity);

/* By the taking thread, before the first post: names the io that its loop turns, and opens the
 * bell there. Of a mailbox of one thread: nothing happens. */
MUST_CHECK enum status mailbox_attach(struct mailbox *mailbox, struct io *taker_io);

/* By the taking thread: closes the bell. Nothing is posted after it. */
void mailbox_detach(struct mailbox *mailbox);

/* It is empty and detached. */
void mailbox_close(struct mailbox *mailbox);

/* The posting side. The request belongs to the taker from here on. */
void mailbox_post(struct mailbox *mailbox, struct request *request);

/* The posting side, once at the end of its turn: wakes the taker if it waits. */
void mailbox_flush(struct mailbox *mailbox);

/* The taking side: the oldest request, or NULL. */
struct request *mailbox_take(struct mailbox *mailbox);

/* The taking side, right before it waits. False: there is something to take. True: it may wait;
 * the next mailbox_flush() with something in it wakes it. */
bool mailbox_may_wait(struct mailbox *mailbox);

#endif
