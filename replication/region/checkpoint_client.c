/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/region/checkpoint_client.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/message.h"
#include "proto/strait.pb-c.h"

enum {
    wait_ms = 2000,    /* that a request waits at the primary */
    answer_ms = 30000, /* until it is given up, behind what is on its way */
    retry_ms = 500,    /* after a refusal */
};

#define NS_PER_MS 1000000ULL

struct checkpoint_client {
    struct checkpoint_client_options options;
    struct io_timer timer;
    bool connected;
    bool wanted;
    unsigned flights_count;
    uint64_t resume_ns; /* after a refusal nothing is sent before */
    uint64_t heard_ns;

    bool says;
    uint8_t say_kind;
    size_t say_size;
    uint8_t say[snapshot_answer_size];
};

/* Whether it was sent. */
static bool send(struct checkpoint_client *client)
{
    Strait__RegionCheckpoint message = STRAIT__REGION_CHECKPOINT__INIT;

    message.region_id = client->options.region;
    message.wanted = client->wanted;
    message.wait_ms = client->wanted ? wait_ms : 0;
    if (client->says) {
        message.kind = client->say_kind;
        message.message = field_of_bytes(bytes_of(client->say, client->say_size));
    }
    if (link_send(client->options.link, FRAME_REGION_CHECKPOINT, &message.base, answer_ms,
                  client) != STATUS_OK)
        return false;
    client->says = false;
    client->flights_count++;
    return true;
}

void checkpoint_client_turn(struct checkpoint_client *client)
{
    uint64_t now = io_boot_ns(client->options.io);

    if (!client->connected || (!client->wanted && !client->says))
        return;
    if (now < client->resume_ns) {
        io_timer_start(client->options.io, &client->timer, client->resume_ns);
        return;
    }
    /* One place is kept for what is to be said: it does not wait for an answer. */
    while (
        client->flights_count < checkpoint_flights_max &&
        (client->says || (client->wanted && client->flights_count + 1 < checkpoint_flights_max))) {
        if (!send(client)) {
            client->resume_ns = now + retry_ms * NS_PER_MS;
            io_timer_start(client->options.io, &client->timer, client->resume_ns);
            return;
        }
    }
}

static void on_timer(struct io_timer *timer)
{
    checkpoint_client_turn(timer->context);
}

/* ---- What the link tells ---- */

static void on_connected(void *context, const char *endpoint)
{
    struct checkpoint_client *client = context;
    (void)endpoint;
    client->connected = true;
    client->resume_ns = 0;
    checkpoint_client_turn(client);
}

static void on_disconnected(void *context, const char *reason)
{
    struct checkpoint_client *client = context;
    (void)reason;
    client->connected = false;
}

static void take(struct checkpoint_client *client, const Strait__RegionCheckpointReply *reply)
{
    if (reply->kind == 0 || reply->kind > UINT8_MAX || !client->wanted)
        return;
    client->options.received(client->options.context, (uint8_t)reply->kind,
                             bytes_of_field(reply->message));
}

static void on_replied(void *context, void *request, enum status status,
                       const ProtobufCMessage *message)
{
    struct checkpoint_client *client = context;

    ASSERT(request == client && client->flights_count > 0);
    client->flights_count--;
    if (status == STATUS_DISCONNECTED)
        return;
    if (status == STATUS_OK) {
        client->heard_ns = io_boot_ns(client->options.io);
        take(client, (const Strait__RegionCheckpointReply *)(const void *)message);
    } else {
        client->resume_ns = io_boot_ns(client->options.io) + retry_ms * NS_PER_MS;
        if (client->wanted && status != STATUS_DEADLINE_EXCEEDED)
            client->options.refused(client->options.context, status);
    }
    checkpoint_client_turn(client);
}

/* ---- The interface ---- */

void checkpoint_client_want(struct checkpoint_client *client, bool wanted)
{
    if (client->wanted == wanted)
        return;
    client->wanted = wanted;
    checkpoint_client_turn(client);
}

void checkpoint_client_say(struct checkpoint_client *client, uint8_t kind, struct bytes message)
{
    ASSERT(kind != 0 && message.size <= sizeof client->say);
    client->says = true;
    client->say_kind = kind;
    client->say_size = message.size;
    bytes_copy(client->say, message);
    checkpoint_client_turn(client);
}

uint64_t checkpoint_client_heard_ns(const struct checkpoint_client *client)
{
    return client->heard_ns;
}

enum status checkpoint_client_create(const struct checkpoint_client_options *options,
                                     struct checkpoint_client **client)
{
    struct checkpoint_client *made = calloc(1, sizeof *made);

    *client = NULL;
    if (made == NULL)
        return STATUS_NO_MEMORY;
    made->options = *options;
    made->timer = (struct io_timer){.fired = on_timer, .context = made};
    const struct link_user user = {.connected = on_connected,
                                   .disconnected = on_disconnected,
                                   .replied = on_replied,
                                   .context = made};
    link_attach(options->link, &user);
    *client = made;
    return STATUS_OK;
}

void checkpoint_client_free(struct checkpoint_client *client)
{
    if (client == NULL)
        return;
    link_attach(client->options.link, NULL);
    io_timer_stop(client->options.io, &client->timer);
    free(client);
}
