/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/region/checkpoint_server.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/message.h"

#define NS_PER_MS 1000000ULL

struct poll {
    void *request;
    uint64_t deadline_ns;
};

struct region_polls {
    uint32_t region;                         /* 0: this place is free */
    struct poll polls[checkpoint_polls_max]; /* a ring, oldest first */
    unsigned first;
    unsigned count;
};

struct checkpoint_server {
    struct checkpoint_server_options options;
    struct io_timer timer;
    struct region_polls regions[checkpoint_regions_max];
};

/* ---- Requests that wait ---- */

static struct region_polls *find(struct checkpoint_server *server, uint32_t region)
{
    for (unsigned i = 0; i < checkpoint_regions_max; i++) {
        if (server->regions[i].region == region)
            return &server->regions[i];
    }
    return NULL;
}

/* A place that has no requests is as good as a free one. */
static struct region_polls *place_for(struct checkpoint_server *server, uint32_t region)
{
    struct region_polls *polls = find(server, region);
    for (unsigned i = 0; i < checkpoint_regions_max && polls == NULL; i++) {
        if (server->regions[i].count == 0)
            polls = &server->regions[i];
    }
    if (polls != NULL && polls->region != region)
        *polls = (struct region_polls){.region = region};
    return polls;
}

static void reply_first(struct checkpoint_server *server, struct region_polls *polls, uint8_t kind,
                        struct bytes message)
{
    Strait__RegionCheckpointReply reply = STRAIT__REGION_CHECKPOINT_REPLY__INIT;
    void *request = polls->polls[polls->first].request;

    ASSERT(polls->count > 0);
    polls->first = (polls->first + 1) % checkpoint_polls_max;
    polls->count--;
    reply.kind = kind;
    reply.message = field_of_bytes(message);
    server->options.reply(server->options.context, request, &reply);
}

static void on_timer(struct io_timer *timer)
{
    struct checkpoint_server *server = timer->context;
    uint64_t now = io_boot_ns(server->options.io);
    uint64_t next_ns = UINT64_MAX;

    for (unsigned i = 0; i < checkpoint_regions_max; i++) {
        struct region_polls *polls = &server->regions[i];
        while (polls->count > 0 && polls->polls[polls->first].deadline_ns <= now)
            reply_first(server, polls, 0, (struct bytes){0});
        if (polls->count > 0 && polls->polls[polls->first].deadline_ns < next_ns)
            next_ns = polls->polls[polls->first].deadline_ns;
    }
    if (next_ns != UINT64_MAX)
        io_timer_start(server->options.io, &server->timer, next_ns);
}

/* ---- The interface ---- */

enum status checkpoint_server_take(struct checkpoint_server *server,
                                   const Strait__RegionCheckpoint *message, void *request)
{
    struct io *io = server->options.io;

    if (message->region_id == 0 || message->wait_ms > checkpoint_wait_ms_max ||
        message->kind > UINT8_MAX || (message->kind == 0 && message->message.len != 0))
        return STATUS_MALFORMED;
    struct region_polls *polls = place_for(server, message->region_id);
    if (polls == NULL)
        return STATUS_BUSY;
    if (polls->count == checkpoint_polls_max)
        reply_first(server, polls, 0, (struct bytes){0});
    struct poll *poll = &polls->polls[(polls->first + polls->count) % checkpoint_polls_max];
    *poll = (struct poll){.request = request,
                          .deadline_ns = io_boot_ns(io) + message->wait_ms * NS_PER_MS};
    polls->count++;
    if (!server->timer.started || server->timer.deadline_ns > poll->deadline_ns)
        io_timer_start(io, &server->timer, poll->deadline_ns);
    /* Last: it may be answered at once, by just this request. */
    if (message->kind != 0)
        server->options.received(server->options.context, message->region_id,
                                 (uint8_t)message->kind, bytes_of_field(message->message));
    return STATUS_OK;
}

bool checkpoint_server_send(struct checkpoint_server *server, uint32_t region, uint8_t kind,
                            struct bytes message)
{
    struct region_polls *polls = find(server, region);
    ASSERT(region != 0 && kind != 0);
    if (polls == NULL || polls->count == 0)
        return false;
    reply_first(server, polls, kind, message);
    return true;
}

void checkpoint_server_stop(struct checkpoint_server *server)
{
    for (unsigned i = 0; i < checkpoint_regions_max; i++) {
        while (server->regions[i].count > 0)
            reply_first(server, &server->regions[i], 0, (struct bytes){0});
    }
    io_timer_stop(server->options.io, &server->timer);
}

enum status checkpoint_server_create(const struct checkpoint_server_options *options,
                                     struct checkpoint_server **server)
{
    struct checkpoint_server *made = calloc(1, sizeof *made);

    *server = NULL;
    if (made == NULL)
        return STATUS_NO_MEMORY;
    made->options = *options;
    made->timer = (struct io_timer){.fired = on_timer, .context = made};
    *server = made;
    return STATUS_OK;
}

void checkpoint_server_free(struct checkpoint_server *server)
{
    if (server == NULL)
        return;
    for (unsigned i = 0; i < checkpoint_regions_max; i++)
        ASSERT(server->regions[i].count == 0);
    io_timer_stop(server->options.io, &server->timer);
    free(server);
}
