/* SPDX-License-Identifier: Apache-2.0 */
/* A client of a simulated world: one call at a time, over a network that loses what it likes.
 *
 * A call is one request, repeated with the same bytes at one server after the other until a reply
 * says how it ended, or its deadline has passed: then nobody knows (OUTCOME_UNKNOWN). */
#ifndef TESTS_SIM_CLIENT_H
#define TESTS_SIM_CLIENT_H

#include "server/net/request.h"
#include "tests/sim/server.h"

struct client;

/* How a call ended: `message` is the reply's where OK, else the Refusal or NULL; valid during the
 * call back. */
typedef void client_done_fn(struct client *client, enum status status,
                            const ProtobufCMessage *message);

struct client_call {
    uint64_t number; /* of the client's calls and attempts; a reply to another one is late */
    bool active;
    bool sticky;   /* it means something at this server alone: never repeated elsewhere */
    bool doubtful; /* an attempt may have been taken whose reply did not come */
    enum frame_type type;
    struct bytes body;
    unsigned attempts;
    uint64_t deadline_ns;
    client_done_fn *done;
};

/* What a reply was true of. */
struct client_position {
    struct epoch epoch;
    uint64_t version;
};

struct client {
    struct world *world; /* the region that it asks */
    unsigned index;
    unsigned node; /* of the network */
    bool stays;    /* of two regions it asks this one alone */
    struct generator generator;
    struct session session;
    struct client_call call;
    unsigned server;      /* whom it asks first: who answered last */
    uint64_t log_time_ns; /* the newest seen in a reply: what transactions are issued by */
    struct client_position position; /* of the newest reply that had one */
    uint64_t calls_count;
    uint64_t retries_count;
    uint64_t disconnects_count;
    void *workload; /* whoever uses it */
};

void client_init(struct client *client, struct world *world, unsigned index);
void client_free(struct client *client);

/* No call is active. */
void client_ask(struct client *client, enum frame_type type, const ProtobufCMessage *message,
                bool sticky, client_done_fn *done);

/* The call under way, if any, is tried again at once. */
void client_hurry(struct client *client);

/* Calls `then` with the client after a while; once. Not to be stopped. */
void client_later(struct client *client, uint64_t delay_ns, void (*then)(struct client *client));

/* ---- For servers ---- */

const ProtobufCMessageDescriptor *client_request_descriptor(enum frame_type type);
const ProtobufCMessageDescriptor *client_reply_descriptor(enum frame_type type);

bool client_is_request(const struct event *event);

/* Decodes it and gives it to the core. */
void client_hand_over(struct event *event, struct sim_server *server);

/* The reply is on its way from `now_ns` on. Frees the request, now or later. */
void client_send_reply(struct sim_request *request, uint64_t now_ns);

/* The connection is gone with what was asked on it. Frees the request, now or later. */
void client_disconnect(struct sim_request *request);

#endif
