/* SPDX-License-Identifier: Apache-2.0 */
#include "server/net/peer_queue.h"

#include <stdlib.h>

#include "proto/base/assert.h"

enum {
    frame_size_max = peer_frame_header_size + limit_peer_frame_size,
    bulk_size_max = limit_peer_queue_size - limit_peer_queue_control_size,
};

_Static_assert((int)bulk_size_max >= 2 * (int)limit_peer_message_size,
               "a message fits while another is being sent");

/* Its frames, one after the other. */
struct peer_message {
    struct list_link link;
    size_t size;
    size_t taken_size;
    uint8_t frames[];
};

void peer_queue_init(struct peer_queue *queue)
{
    *queue = (struct peer_queue){0};
    for (int lane = 0; lane < peer_lanes_count; lane++)
        list_init(&queue->lanes[lane]);
}

void peer_queue_clear(struct peer_queue *queue)
{
    for (int lane = 0; lane < peer_lanes_count; lane++) {
        for (struct list_link *link; (link = list_pop_first(&queue->lanes[lane])) != NULL;)
            free(LIST_ENTRY(link, struct peer_message, link));
        queue->sizes[lane] = 0;
    }
    free(queue->given);
    queue->given = NULL;
}

size_t peer_queue_room(const struct peer_queue *queue)
{
    uint64_t used = queue->sizes[BUS_BULK];
    size_t left = used < bulk_size_max ? (size_t)(bulk_size_max - used) : 0;
    size_t rest = left % frame_size_max;
    return left / frame_size_max * limit_peer_frame_size +
           (rest > peer_frame_header_size ? rest - peer_frame_header_size : 0);
}

/* ---- In ---- */

struct source {
    const struct bytes *pieces;
    size_t offset; /* within the first */
};

static void source_read(struct source *source, uint8_t *to, size_t size)
{
    while (size > 0) {
        struct bytes piece = *source->pieces;
        size_t left = piece.size - source->offset;
        size_t taken = left < size ? left : size;
        if (taken > 0)
            memcpy(to, piece.data + source->offset, taken);
        to += taken;
        size -= taken;
        source->offset += taken;
        if (source->offset == piece.size) {
            source->pieces++;
            source->offset = 0;
        }
    }
}

static void lay_out(struct peer_message *message, enum bus_lane lane, const struct bytes *pieces,
                    size_t body_size)
{
    struct source source = {.pieces = pieces};
    uint8_t *to = message->frames;
    for (size_t offset = 0; offset < body_size;) {
        size_t left = body_size - offset;
        size_t size = left < limit_peer_frame_size ? left : limit_peer_frame_size;
        const struct peer_frame_header header = {
            .body_size = (uint32_t)size,
            .kind = PEER_FRAME_MESSAGE,
            .lane = (uint8_t)lane,
            .message_size = (uint32_t)body_size,
            .message_offset = (uint32_t)offset,
        };
        peer_frame_encode(&header, to);
        source_read(&source, to + peer_frame_header_size, size);
        to += peer_frame_header_size + size;
        offset += size;
    }
    ASSERT(to == message->frames + message->size);
}

bool peer_queue_push(struct peer_queue *queue, enum bus_lane lane, const struct bytes *pieces,
                     size_t pieces_count)
{
    size_t body_size = 0;
    for (size_t i = 0; i < pieces_count; i++)
        body_size += pieces[i].size;
    ASSERT(body_size > 0);
    ASSERT(body_size <=
           (lane == BUS_BULK ? (size_t)limit_peer_message_size : (size_t)limit_peer_frame_size));
    size_t frames_count = (body_size + limit_peer_frame_size - 1) / limit_peer_frame_size;
    size_t size = body_size + frames_count * peer_frame_header_size;
    uint64_t most = lane == BUS_BULK ? bulk_size_max : limit_peer_queue_control_size;
    if (queue->sizes[lane] + size > most)
        return false;
    struct peer_message *message = malloc(sizeof *message + size);
    if (message == NULL)
        return false;
    message->size = size;
    message->taken_size = 0;
    lay_out(message, lane, pieces, body_size);
    list_init(&message->link);
    list_push_last(&queue->lanes[lane], &message->link);
    queue->sizes[lane] += size;
    return true;
}

/* ---- Out ---- */

bool peer_queue_is_empty(const struct peer_queue *queue)
{
    return list_is_empty(&queue->lanes[BUS_CONTROL]) && list_is_empty(&queue->lanes[BUS_BULK]);
}

/* The message whose frame is next; NULL: none. */
static struct peer_message *next_message(const struct peer_queue *queue, enum bus_lane *lane)
{
    *lane = list_is_empty(&queue->lanes[BUS_CONTROL]) ? BUS_BULK : BUS_CONTROL;
    struct list_link *first = list_first(&queue->lanes[*lane]);
    return first != NULL ? LIST_ENTRY(first, struct peer_message, link) : NULL;
}

static size_t next_frame_size(const struct peer_message *message)
{
    size_t left = message->size - message->taken_size;
    return left < frame_size_max ? left : frame_size_max;
}

size_t peer_queue_next_size(const struct peer_queue *queue)
{
    enum bus_lane lane;
    const struct peer_message *message = next_message(queue, &lane);
    return message != NULL ? next_frame_size(message) : 0;
}

struct bytes peer_queue_take(struct peer_queue *queue)
{
    enum bus_lane lane;
    struct peer_message *message = next_message(queue, &lane);
    ASSERT(message != NULL);
    free(queue->given);
    queue->given = NULL;
    size_t size = next_frame_size(message);
    struct bytes frame = bytes_of(message->frames + message->taken_size, size);
    message->taken_size += size;
    if (message->taken_size == message->size) {
        queue->sizes[lane] -= message->size;
        list_remove(&message->link);
        queue->given = message;
    }
    return frame;
}
