/* SPDX-License-Identifier: Apache-2.0 */
/* What waits to be sent to one member: two lanes of messages, laid out as frames when they are
 * queued, so that they are copied once and sealed from where they lie.
 *
 * CONTROL goes first, at the border of each frame: a message of BULK whose frames went out in part
 * is continued after. Bounded: limit_peer_queue_size bytes of messages in all, of which
 * limit_peer_queue_control_size are kept for CONTROL. */
#ifndef SERVER_NET_PEER_QUEUE_H
#define SERVER_NET_PEER_QUEUE_H

#include "proto/base/list.h"
#include "proto/peer_frame.h"
#include "replication/bus.h"

struct peer_queue {
    struct list_link lanes[peer_lanes_count];
    uint64_t sizes[peer_lanes_count]; /* memory of messages that were not taken in whole */
    struct peer_message *given;       /* what the last frame lay in, and is done; or NULL */
};

void peer_queue_init(struct peer_queue *queue);

/* Frees all that waits. */
void peer_queue_clear(struct peer_queue *queue);

/* Bytes of BULK for which there is room. */
size_t peer_queue_room(const struct peer_queue *queue);

/* Copies the pieces as one message of 1 byte at least and no more than its lane permits. False: no
 * room, or no memory; then nothing was queued. */
MUST_CHECK bool peer_queue_push(struct peer_queue *queue, enum bus_lane lane,
                                const struct bytes *pieces, size_t pieces_count);

bool peer_queue_is_empty(const struct peer_queue *queue);

/* The size of the next frame, with its header; 0: nothing waits. */
size_t peer_queue_next_size(const struct peer_queue *queue);

/* Takes that frame: header and body, valid until the next call. */
struct bytes peer_queue_take(struct peer_queue *queue);

#endif
