/* SPDX-License-Identifier: Apache-2.0 */
/* A standby catches up by a checkpoint of the primary's: what the rest of the core knows of it. */
#ifndef SERVER_CORE_CATCHUP_H
#define SERVER_CORE_CATCHUP_H

#include "proto/base/error.h"
#include "proto/epoch.h"
#include "replication/region/checkpoint_client.h"
#include "replication/region/checkpoint_server.h"
#include "replication/snapshot_receiver.h"
#include "replication/snapshot_sender.h"
#include "storage/lsm/lsm.h"

struct core;
struct request;

/* A checkpoint on its way to another region, or from it; core_catchup.c. */
struct core_catchup {
    /* As the primary's leader. */
    struct snapshot_sender *sender; /* NULL: not open; and the server */
    struct checkpoint_server *server;
    char path_checkpoint[512 + 32];
    bool serves;       /* a region has asked since this member leads */
    bool outrun;       /* the log behind the checkpoint was not kept */
    uint64_t begin_ns; /* after one that failed, none begins before */
    uint64_t sent_count;

    /* As a standby. */
    struct snapshot_receiver *receiver; /* NULL: no other region can be reached; and the client */
    struct checkpoint_client *client;
    char path_staging[512 + 32];
    bool wanted;      /* this leader needs one */
    bool is_received; /* what is staged came from the receiver, which waits to be told */
    bool proposing;   /* an entry of ours is in the log */
    bool rests;       /* the state waits for the leader's snapshot */
    enum { CATCHUP_NONE, CATCHUP_STAGED, CATCHUP_SEALING, CATCHUP_SWAPPING } step;
    char directory[512 + 32]; /* of what is staged */
    struct lsm_mark mark;     /* of that, as the other region has it */
    struct adoption adoption;
    bool look;     /* something has changed */
    bool answered; /* with `status` */
    enum status status;
    uint64_t retry_ns;
    uint64_t count; /* taken over, since the start */
};

/* `link` NULL: no other region can be reached. */
MUST_CHECK enum status core_catchup_open(struct core *core, struct link *link, struct error *error);
void core_catchup_close(struct core *core);
void core_catchup_request(struct core *core, struct request *request);
void core_catchup_turn(struct core *core);
void core_catchup_look(struct core *core);    /* each second */
void core_catchup_applied(struct core *core); /* an ENTRY_ADOPT was applied */
void core_catchup_refuse(struct core *core);  /* what waits is answered: the core ends */

/* Whether `context` is that of a proposal of this file's; then it is done with. */
bool core_catchup_ended(struct core *core, const void *context);

/* A checkpoint is being fetched: nothing is pulled meanwhile. */
bool core_catchup_fetches(const struct core *core);

/* The state is not what the region's is to be: nobody is to see it. */
bool core_is_adopting(const struct core *core);

/* The state is being replaced: nothing is applied or read. */
bool core_catchup_swaps(const struct core *core);

/* The state waits for the leader's snapshot: nothing is applied, so that this one is ahead. */
bool core_catchup_rests(const struct core *core);

/* How far a checkpoint is that is received here, or sent to a region (false: none is). */
struct snapshot_receiver_facts core_catchup_facts(const struct core *core);
bool core_catchup_sent(const struct core *core, uint32_t region,
                       struct snapshot_sender_facts *facts);
const char *core_catchup_alarm(const struct core *core); /* empty: none */

#endif
