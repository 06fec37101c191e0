/* SPDX-License-Identifier: Apache-2.0 */
/* The links of simulated servers to the servers of the other region (replication/region/link.h),
 * and to the witness, over the lines between them.
 *
 * As server/net/region_link.h does it: a link tries one endpoint after the other, follows a refusal
 * with NOT_LEADER to the leader that it names, keeps the place of a request whose time is over
 * until its reply comes, and gives its connection up where nothing comes any more. The endpoints of
 * the servers are a0:7100, a1:7100, ... and b0:7100, ..., that of the witness w0:7100. */
#ifndef TESTS_SIM_REGION_LINK_H
#define TESTS_SIM_REGION_LINK_H

#include "replication/region/link.h"
#include "server/net/mailbox.h"
#include "server/net/request.h"
#include "tests/sim/bus.h"
#include "tests/sim/schedule.h"

struct core_options;
struct pair;
struct sim_server;

enum region_link_state {
    REGION_LINK_RESTING, /* nobody to dial */
    REGION_LINK_DIALLING,
    REGION_LINK_OPEN,
    REGION_LINK_BROKEN, /* its user is still to be told */
};

/* A request that was sent, until its reply or the end of the connection. */
struct region_flight {
    uint64_t number; /* 0: this place is free */
    void *context;
    bool is_late; /* its user was told so */
};

struct sim_region_link {
    struct link link; /* first */
    struct sim_server *server;
    unsigned site; /* where it goes to: the other region, or wan_witness */
    struct link_user user;
    unsigned endpoints[limit_link_endpoints_count]; /* servers there; of the witness 0 */
    unsigned endpoints_count;
    unsigned at; /* the endpoint that is tried, or next */
    enum region_link_state state;
    unsigned peer;      /* the server that is connected */
    uint64_t peer_life; /* of it */
    uint64_t life;      /* grows with each connection and break: what belongs to others is void */
    uint64_t numbers_count;
    uint64_t due_ns[2]; /* of the last message there, and back: they keep their order */
    uint64_t back_off_ms;
    bool silent; /* something was lost: it will be noticed */
    struct region_flight flights[limit_link_requests_count];
};

/* All of a server's, and what it owes to those of the other region. */
struct sim_region_links {
    struct sim_region_link pull;
    struct sim_region_link herald;
    struct sim_region_link witness;
    struct session peer; /* whom requests of the other region come from */
    struct mailbox replies;
};

void region_links_init(struct sim_region_links *links, struct sim_server *server, unsigned side);
void region_links_free(struct sim_region_links *links);

/* The core's part of them. */
void region_links_options(struct sim_region_links *links, struct core_options *options);

/* The server starts: nothing is connected. It stops: connections to it, and its own, end; at once
 * for the others where `is_said`, else they notice. */
void region_links_start(struct sim_region_links *links);
void region_links_stop(struct sim_region_links *links, bool is_said);

/* Each connection of its own to that site breaks. */
void region_links_break(struct sim_region_links *links, unsigned site);

/* The witness stops: as with servers. */
void region_links_witness_stopped(struct pair *pair, bool is_said);

/* Whether an event of a server's inbox is one of these, and what is done with it then. */
bool region_link_is_event(const struct event *event);
void region_link_deliver(struct sim_server *server, struct event *event);

/* Takes the request, decoded, out of an event that has come: whoever it was sent to has it now. */
struct request *region_link_request(struct event *event);

/* Sends what the core has answered; or whoever else a request was taken by, one reply. */
void region_links_send_replies(struct sim_region_links *links, uint64_t now_ns);
void region_link_send_reply(struct request *request, uint64_t now_ns);

/* Frees what was answered and will not be sent. */
void region_link_drop_replies(struct mailbox *replies);

#endif
