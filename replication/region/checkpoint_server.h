/* SPDX-License-Identifier: Apache-2.0 */
/* The requests by which standby regions take a checkpoint (strait.RegionCheckpoint): they wait here
 * until there is something to say to their region, or their time is over.
 *
 * What is said are messages of a snapshot_sender, whose members are regions here; what comes with a
 * request goes to it. So a request is one message each way, and room for one of the sender's: where
 * none waits there is no room, and the sender tries again.
 *
 * Belongs to the thread of its io. Bounded: checkpoint_regions_max regions with
 * checkpoint_polls_max requests each; one more answers the oldest with nothing. */
#ifndef REPLICATION_REGION_CHECKPOINT_SERVER_H
#define REPLICATION_REGION_CHECKPOINT_SERVER_H

#include "proto/base/bytes.h"
#include "proto/base/status.h"
#include "proto/limits.h"
#include "proto/strait.pb-c.h"
#include "storage/io/io.h"

struct checkpoint_server;

enum {
    checkpoint_regions_max = limit_regions_count,
    checkpoint_polls_max = 16, /* of one region, waiting */
    checkpoint_wait_ms_max = 10 * 1000,
};

struct checkpoint_server_options {
    struct io *io;

    /* A message that came with a request of the region's: to the sender. */
    void (*received)(void *context, uint32_t region, uint8_t kind, struct bytes message);
    void (*reply)(void *context, void *request, const Strait__RegionCheckpointReply *reply);
    void *context;
};

MUST_CHECK enum status checkpoint_server_create(const struct checkpoint_server_options *options,
                                                struct checkpoint_server **server);

/* Nothing waits: checkpoint_server_stop() was called. NULL is permitted. */
void checkpoint_server_free(struct checkpoint_server *server);

/* Takes the request: it is replied to later, or at once. MALFORMED, BUSY (of too many regions): it
 * was not taken. */
MUST_CHECK enum status checkpoint_server_take(struct checkpoint_server *server,
                                              const Strait__RegionCheckpoint *message,
                                              void *request);

/* Says it to the region. False: no request of it waits. */
bool checkpoint_server_send(struct checkpoint_server *server, uint32_t region, uint8_t kind,
                            struct bytes message);

/* All that wait are replied to, with nothing. */
void checkpoint_server_stop(struct checkpoint_server *server);

#endif
