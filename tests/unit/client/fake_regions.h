/* SPDX-License-Identifier: Apache-2.0 */
/* A fake server's handler that answers what administrators ask of regions, from a list that it
 * keeps, and remembers what was asked. */
#ifndef TESTS_UNIT_CLIENT_FAKE_REGIONS_H
#define TESTS_UNIT_CLIENT_FAKE_REGIONS_H

#include "tests/unit/client/fake_server.h"

enum { fake_regions_max = 4, fake_region_endpoints_max = 16 };

struct fake_region {
    uint32_t id;
    char name[65];
    char endpoints[fake_region_endpoints_max][65];
    size_t endpoints_count;
    Strait__Region__Guard guard;
    uint64_t lag_bytes_max;
    uint64_t lag_ms_max;
    bool heard; /* as of 12 ms ago: at version 90, 10 versions, 4096 bytes and 250 ms behind */
    bool snapshot;
};

struct fake_regions {
    pthread_mutex_t lock; /* of all below */
    struct fake_region regions[fake_regions_max];
    size_t count;
    uint32_t self;     /* the id of the region that answers */
    uint32_t primary;  /* that of the primary; its epoch's number is 3 */
    uint64_t version;  /* of the region that answers */
    bool fenced;       /* by epoch 5 of region 9 */
    bool leaderless;   /* only `any` is answered */
    bool source_known; /* heard 1,500 ms ago, at version 110 */
    char trouble[256];
    enum status refused; /* what the next change, switchover or promotion is answered with; OK */

    /* What was asked last. */
    unsigned lists_count;
    unsigned changes_count;
    unsigned switchovers_count;
    unsigned explanations_count;
    unsigned promotions_count;
    Strait__RegionChange__Action action;
    char to[65];
    uint32_t pause_max_ms;
    bool forced;
};

/* Region 1, singapore, the primary, which answers; region 2, sydney, heard. */
void fake_regions_init(struct fake_regions *regions);

/* A fake_handler; `context` is a struct fake_regions. */
void fake_regions_serve(struct fake_connection *connection, const struct fake_request *request,
                        void *context);

#endif
