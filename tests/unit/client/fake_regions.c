/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/client/fake_regions.h"

#include <stdio.h>

#include "tests/unit/unit.h"

static struct fake_region *add(struct fake_regions *regions, uint32_t id, const char *name)
{
    ck_assert_uint_lt(regions->count, fake_regions_max);
    struct fake_region *region = &regions->regions[regions->count++];
    *region = (struct fake_region){.id = id, .guard = STRAIT__REGION__GUARD__ALERT};
    snprintf(region->name, sizeof region->name, "%s", name);
    return region;
}

void fake_regions_init(struct fake_regions *regions)
{
    *regions = (struct fake_regions){.self = 1, .primary = 1, .version = 100};
    pthread_mutex_init(&regions->lock, NULL);
    struct fake_region *singapore = add(regions, 1, "singapore");
    snprintf(singapore->endpoints[0], sizeof singapore->endpoints[0], "sg1.example:7411");
    singapore->endpoints_count = 1;
    struct fake_region *sydney = add(regions, 2, "sydney");
    snprintf(sydney->endpoints[0], sizeof sydney->endpoints[0], "syd1.example:7411");
    snprintf(sydney->endpoints[1], sizeof sydney->endpoints[1], "syd2.example:7411");
    sydney->endpoints_count = 2;
    sydney->guard = STRAIT__REGION__GUARD__SLOW;
    sydney->lag_bytes_max = 1 << 20;
    sydney->heard = true;
}

/* ---- The list ---- */

/* A reply and all that it points to. */
struct list_reply {
    Strait__RegionListReply reply;
    Strait__Position position;
    Strait__Region regions[fake_regions_max];
    Strait__Region *pointers[fake_regions_max];
    char *endpoints[fake_regions_max][fake_region_endpoints_max];
};

static void fill_position(const struct fake_regions *regions, Strait__Position *position)
{
    *position = (Strait__Position)STRAIT__POSITION__INIT;
    position->epoch_number = 3;
    position->epoch_region = regions->primary;
    position->version = regions->version;
    position->log_time_ns = fake_log_time_ns;
}

static void fill_region(struct fake_regions *regions, size_t index, struct list_reply *list)
{
    struct fake_region *from = &regions->regions[index];
    Strait__Region *to = &list->regions[index];

    *to = (Strait__Region)STRAIT__REGION__INIT;
    for (size_t i = 0; i < from->endpoints_count; i++)
        list->endpoints[index][i] = from->endpoints[i];
    to->id = from->id;
    to->name = from->name;
    to->endpoints = list->endpoints[index];
    to->n_endpoints = from->endpoints_count;
    to->primary = from->id == regions->primary;
    to->self = from->id == regions->self;
    to->guard = from->guard;
    to->lag_bytes_max = from->lag_bytes_max;
    to->lag_ms_max = from->lag_ms_max;
    if (regions->self == regions->primary && from->heard) {
        to->heard = true;
        to->heard_ago_ms = 12;
        to->version = 90;
        to->lag_versions = 10;
        to->lag_bytes = 4096;
        to->lag_ms = 250;
        to->ready = !from->snapshot;
        to->snapshot = from->snapshot;
    }
    list->pointers[index] = to;
}

static void fill_list(struct fake_regions *regions, struct list_reply *list)
{
    static const Strait__RegionListReply empty = STRAIT__REGION_LIST_REPLY__INIT;
    Strait__RegionListReply *reply = &list->reply;

    *reply = empty;
    fill_position(regions, &list->position);
    reply->position = &list->position;
    for (size_t i = 0; i < regions->count; i++)
        fill_region(regions, i, list);
    reply->regions = list->pointers;
    reply->n_regions = regions->count;
    reply->region_id = regions->self;
    reply->list_version = 42;
    reply->fenced = regions->fenced;
    reply->fence_number = regions->fenced ? 5 : 0;
    reply->fence_region = regions->fenced ? 9 : 0;
    reply->trouble = regions->trouble;
    if (regions->self != regions->primary && regions->source_known) {
        reply->source = (char *)(uintptr_t) "sg1.example:7411";
        reply->source_known = true;
        reply->source_version = 110;
        reply->answered_ago_ms = 1500;
        reply->lag_versions = 110 - regions->version;
        reply->age_known = true;
        reply->age_ms = 1750;
    }
}

/* ---- Requests ---- */

static const ProtobufCMessage *decode(const ProtobufCMessageDescriptor *descriptor,
                                      const struct fake_request *request, struct arena *arena)
{
    ProtobufCMessage *message;
    message_arena_init(arena, request->body.size);
    ck_assert_int_eq(message_decode(descriptor, request->body, true, arena, &message), STATUS_OK);
    return message;
}

static void list(struct fake_regions *regions, struct fake_connection *connection,
                 const struct fake_request *request)
{
    struct arena arena;
    struct list_reply reply;

    const Strait__RegionList *asked = (const Strait__RegionList *)(const void *)decode(
        &strait__region_list__descriptor, request, &arena);
    regions->lists_count++;
    if (regions->leaderless && !asked->any) {
        fake_refuse(connection, request, STATUS_NOT_LEADER, 20);
    } else {
        fill_list(regions, &reply);
        fake_reply(connection, request, STATUS_OK, &reply.reply.base);
    }
    arena_free(&arena);
}

static struct fake_region *find(struct fake_regions *regions, uint32_t id, const char *name)
{
    for (size_t i = 0; i < regions->count; i++) {
        if (regions->regions[i].id == id || strcmp(regions->regions[i].name, name) == 0)
            return &regions->regions[i];
    }
    return NULL;
}

static void apply(struct fake_regions *regions, const Strait__RegionChange *asked)
{
    const Strait__Region *from = asked->region;
    struct fake_region *region = find(regions, from->id, from->name);

    if (asked->action == STRAIT__REGION_CHANGE__ACTION__REMOVE) {
        ck_assert_ptr_nonnull(region);
        *region = regions->regions[--regions->count];
        return;
    }
    if (asked->action == STRAIT__REGION_CHANGE__ACTION__ADD)
        region = add(regions, from->id, from->name);
    ck_assert_ptr_nonnull(region);
    ck_assert_uint_le(from->n_endpoints, fake_region_endpoints_max);
    for (size_t i = 0; i < from->n_endpoints; i++)
        snprintf(region->endpoints[i], sizeof region->endpoints[i], "%s", from->endpoints[i]);
    region->endpoints_count = from->n_endpoints;
    region->guard = from->guard;
    region->lag_bytes_max = from->lag_bytes_max;
    region->lag_ms_max = from->lag_ms_max;
}

static void change(struct fake_regions *regions, struct fake_connection *connection,
                   const struct fake_request *request)
{
    Strait__RegionChangeReply reply = STRAIT__REGION_CHANGE_REPLY__INIT;
    struct list_reply after;
    struct arena arena;

    const Strait__RegionChange *asked = (const Strait__RegionChange *)(const void *)decode(
        &strait__region_change__descriptor, request, &arena);
    regions->changes_count++;
    regions->action = asked->action;
    regions->forced = asked->force != 0;
    ck_assert_ptr_nonnull(asked->region);
    if (regions->refused != STATUS_OK) {
        fake_refuse(connection, request, regions->refused, 0);
    } else {
        apply(regions, asked);
        fill_list(regions, &after);
        reply.list = &after.reply;
        fake_reply(connection, request, STATUS_OK, &reply.base);
    }
    arena_free(&arena);
}

static void switch_over(struct fake_regions *regions, struct fake_connection *connection,
                        const struct fake_request *request)
{
    Strait__RegionSwitchoverReply reply = STRAIT__REGION_SWITCHOVER_REPLY__INIT;
    Strait__Position position;
    struct arena arena;

    const Strait__RegionSwitchover *asked = (const Strait__RegionSwitchover *)(const void *)decode(
        &strait__region_switchover__descriptor, request, &arena);
    regions->switchovers_count++;
    regions->pause_max_ms = asked->timeout_ms;
    snprintf(regions->to, sizeof regions->to, "%s", asked->to);
    const struct fake_region *to = find(regions, 0, asked->to);
    if (regions->refused != STATUS_OK) {
        fake_refuse(connection, request, regions->refused, 0);
    } else if (to == NULL) {
        fake_refuse(connection, request, STATUS_NOT_FOUND, 0);
    } else {
        reply.was_primary_before = regions->primary == to->id;
        regions->primary = to->id;
        reply.paused_ms = 321;
        fill_position(regions, &position);
        reply.position = &position;
        fake_reply(connection, request, STATUS_OK, &reply.base);
    }
    arena_free(&arena);
}

static void promote(struct fake_regions *regions, struct fake_connection *connection,
                    const struct fake_request *request)
{
    Strait__RegionPromoteReply reply = STRAIT__REGION_PROMOTE_REPLY__INIT;
    Strait__Position position;
    struct arena arena;

    const Strait__RegionPromote *asked = (const Strait__RegionPromote *)(const void *)decode(
        &strait__region_promote__descriptor, request, &arena);
    regions->explanations_count += asked->explain != 0;
    regions->promotions_count += asked->explain == 0;
    regions->forced = asked->force != 0;
    if (!asked->explain && regions->refused != STATUS_OK) {
        fake_refuse(connection, request, regions->refused, 0);
        arena_free(&arena);
        return;
    }
    reply.was_primary_before = regions->self == regions->primary;
    reply.source_known = regions->source_known;
    if (regions->source_known) {
        reply.answered_ago_ms = 1500;
        reply.source_version = 110;
        reply.lost_versions_min = 110 - regions->version;
        reply.age_known = true;
        reply.age_ms = 1750;
    }
    if (!asked->explain) {
        regions->primary = regions->self;
        regions->version++;
        reply.done = true;
    }
    fill_position(regions, &position);
    reply.position = &position;
    fake_reply(connection, request, STATUS_OK, &reply.base);
    arena_free(&arena);
}

void fake_regions_serve(struct fake_connection *connection, const struct fake_request *request,
                        void *context)
{
    struct fake_regions *regions = context;

    pthread_mutex_lock(&regions->lock);
    switch (request->header.type) {
    case FRAME_REGION_LIST:
        list(regions, connection, request);
        break;
    case FRAME_REGION_CHANGE:
        change(regions, connection, request);
        break;
    case FRAME_REGION_SWITCHOVER:
        switch_over(regions, connection, request);
        break;
    case FRAME_REGION_PROMOTE:
        promote(regions, connection, request);
        break;
    default:
        fake_accept(connection, request, 9);
    }
    pthread_mutex_unlock(&regions->lock);
}
