/* SPDX-License-Identifier: Apache-2.0 */
/* The other end of checkpoint_server.h: a standby's leader keeps some requests under way, each of
 * which brings one message of the primary's back, and takes one of our own there.
 *
 * What it carries are the messages of a snapshot_receiver. Nothing of what comes was checked but
 * that it is such a message. After a break, or a refusal, it begins anew by itself.
 *
 * Belongs to the thread of its io. Bounded: checkpoint_flights_max requests, and one message that
 * waits to be said: the newest, as each says where the receiver stands. */
#ifndef REPLICATION_REGION_CHECKPOINT_CLIENT_H
#define REPLICATION_REGION_CHECKPOINT_CLIENT_H

#include "proto/base/bytes.h"
#include "proto/base/status.h"
#include "replication/region/link.h"
#include "replication/snapshot_message.h"
#include "storage/io/io.h"

struct checkpoint_client;

enum { checkpoint_flights_max = 8 };

struct checkpoint_client_options {
    struct io *io;
    struct link *link;
    uint32_t region; /* our own id */

    /* A message of the primary's; valid during the call. */
    void (*received)(void *context, uint8_t kind, struct bytes message);

    /* The primary will send none: `status` says why. It is asked again after a while, unless it is
     * not wanted any more. */
    void (*refused)(void *context, enum status status);
    void *context;
};

MUST_CHECK enum status checkpoint_client_create(const struct checkpoint_client_options *options,
                                                struct checkpoint_client **client);
void checkpoint_client_free(struct checkpoint_client *client); /* detaches from the link */

/* From now on a checkpoint is asked for, or is not. While it is not, only what is to be said is. */
void checkpoint_client_want(struct checkpoint_client *client, bool wanted);

/* To the primary, with the next request; replaces what was to be said. At most
 * snapshot_answer_size bytes. */
void checkpoint_client_say(struct checkpoint_client *client, uint8_t kind, struct bytes message);

/* Sends what is to be sent. */
void checkpoint_client_turn(struct checkpoint_client *client);

/* When a reply came last, by the boot clock; 0: never. */
uint64_t checkpoint_client_heard_ns(const struct checkpoint_client *client);

#endif
