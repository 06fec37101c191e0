/* SPDX-License-Identifier: Apache-2.0 */
/* The regions of the cluster, changes of their list, and which of them is the primary. */
#include "client/strait_region.h"

#include "client/error.h"
#include "client/handle.h"
#include "client/result.h"
#include "proto/name.h"
#include "proto/regions.h"

_Static_assert((int)STRAIT_GUARD_ALERT == (int)STRAIT__REGION__GUARD__ALERT &&
                   (int)STRAIT_GUARD_SLOW == (int)STRAIT__REGION__GUARD__SLOW &&
                   (int)STRAIT_GUARD_REFUSE == (int)STRAIT__REGION__GUARD__REFUSE,
               "a guard is told as it comes");

enum { pause_default_ms = 5000 };

static enum strait_status no_memory(struct result *result, struct strait_error *error)
{
    result_free(result);
    return client_error_set(error, STATUS_NO_MEMORY, "Out of memory.");
}

/* ---- The list ---- */

static struct strait_region translate_region(const Strait__Region *from)
{
    return (struct strait_region){
        .id = from->id,
        .name = from->name,
        .endpoints = (const char *const *)from->endpoints,
        .endpoints_count = from->n_endpoints,
        .primary = from->primary != 0,
        .self = from->self != 0,
        .guard = (enum strait_guard)from->guard,
        .guard_lag_bytes = from->lag_bytes_max,
        .guard_lag_ms = from->lag_ms_max,
        .heard = from->heard != 0,
        .heard_ago_ms = from->heard_ago_ms,
        .version = from->version,
        .lag_versions = from->lag_versions,
        .lag_bytes = from->lag_bytes,
        .lag_ms = from->lag_ms,
        .ready = from->ready != 0,
        .snapshot = from->snapshot != 0,
        .checkpoint = from->checkpoint != 0,
        .checkpoint_bytes = from->checkpoint_bytes,
        .checkpoint_bytes_total = from->checkpoint_bytes_total,
        .upstream = from->upstream,
    };
}

/* In the result's arena. False where memory ran out; no lease is fine. */
static bool translate_lease(struct result *result, const Strait__RegionLease *from,
                            const struct strait_lease **lease)
{
    *lease = NULL;
    if (from == NULL)
        return true;
    struct strait_lease *made = arena_alloc_zeroed(&result->arena, 1, sizeof *made);
    if (made == NULL)
        return false;
    *made = (struct strait_lease){
        .held = from->held != 0,
        .witness_ms = from->witness_ms,
        .standby_ms = from->standby_ms,
        .waived = from->waived != 0,
        .connected = from->connected != 0,
        .promised_ms = from->promised_ms,
        .automatic = from->automatic != 0,
        .text = from->text,
        .lease_ms = from->lease_ms,
    };
    *lease = made;
    return true;
}

/* Into the result's public part, referring to the reply in its arena. False where memory ran out.
 */
static bool translate_list(struct result *result, const Strait__RegionListReply *reply)
{
    struct strait_regions *made = (struct strait_regions *)(void *)result->public_part;
    struct strait_region *items =
        arena_alloc_zeroed(&result->arena, reply->n_regions + 1, sizeof *items);

    if (items == NULL)
        return false;
    for (size_t i = 0; i < reply->n_regions; i++)
        items[i] = translate_region(reply->regions[i]);
    *made = (struct strait_regions){
        .position = position_token(reply->position),
        .list_version = reply->list_version,
        .region_id = reply->region_id,
        .fenced = reply->fenced != 0,
        .fence_number = reply->fence_number,
        .fence_region = reply->fence_region,
        .source = reply->source,
        .source_known = reply->source_known != 0,
        .source_version = reply->source_version,
        .answered_ago_ms = reply->answered_ago_ms,
        .lag_versions = reply->lag_versions,
        .age_known = reply->age_known != 0,
        .age_ms = reply->age_ms,
        .trouble = reply->trouble,
        .count = reply->n_regions,
        .items = items,
        .unconfirmed_count = reply->unconfirmed_count,
        .rewinding = reply->rewinding != 0,
        .checkpoint = reply->checkpoint != 0,
        .checkpoint_bytes = reply->checkpoint_bytes,
        .checkpoint_bytes_total = reply->checkpoint_bytes_total,
    };
    return translate_lease(result, reply->lease, &made->lease);
}

enum strait_status strait_region_list(strait *handle, bool any, uint32_t timeout_ms,
                                      struct strait_regions **regions, struct strait_error *error)
{
    Strait__RegionList request = STRAIT__REGION_LIST__INIT;
    const ProtobufCMessage *message;
    struct result *result;

    *regions = NULL;
    enum strait_status status = handle_check(handle, error);
    if (status != STRAIT_OK)
        return status;
    request.any = any;
    status = result_of_request(
        handle, FRAME_REGION_LIST, &request.base, handle_deadline_ns(handle, timeout_ms),
        result_descriptor(FRAME_REGION_LIST), sizeof **regions, &result, &message, error);
    if (status != STRAIT_OK)
        return status;
    const Strait__RegionListReply *reply = (const Strait__RegionListReply *)message;
    note_position(handle, reply->position);
    if (!translate_list(result, reply))
        return no_memory(result, error);
    *regions = (struct strait_regions *)(void *)result->public_part;
    return STRAIT_OK;
}

/* ---- Changes ---- */

static enum strait_status change(strait *handle, const Strait__RegionChange *request,
                                 uint32_t timeout_ms, struct strait_regions **regions,
                                 struct strait_error *error)
{
    const ProtobufCMessage *message;
    struct result *result;

    enum strait_status status = result_of_request(
        handle, FRAME_REGION_CHANGE, &request->base, handle_deadline_ns(handle, timeout_ms),
        result_descriptor(FRAME_REGION_CHANGE), sizeof **regions, &result, &message, error);
    if (status != STRAIT_OK)
        return status;
    const Strait__RegionChangeReply *reply = (const Strait__RegionChangeReply *)message;
    if (regions == NULL) {
        result_free(result);
        return STRAIT_OK;
    }
    if (reply->list == NULL) {
        result_free(result);
        return client_error_set(error, STATUS_MALFORMED,
                                "The server's answer does not hold the list of regions.");
    }
    note_position(handle, reply->list->position);
    if (!translate_list(result, reply->list))
        return no_memory(result, error);
    *regions = (struct strait_regions *)(void *)result->public_part;
    return STRAIT_OK;
}

static enum strait_status check_name(const strait *handle, const char *name,
                                     struct strait_error *error)
{
    enum strait_status status = handle_check(handle, error);
    if (status == STRAIT_OK && !name_text_is_valid(name))
        status = client_error_set(
            error, STATUS_INVALID_ARGUMENT,
            "'%.80s' is no name of a region: a letter of a to z, then letters, digits, '_' or '-', "
            "at most %d.",
            name != NULL ? name : "", limit_name_size);
    return status;
}

/* The endpoints of a list "HOST:PORT[,HOST:PORT...]". */
struct endpoint_list {
    char texts[limit_region_endpoints_count][limit_member_address_size + 1];
    char *pointers[limit_region_endpoints_count];
    unsigned count;
};

static enum strait_status split(const char *endpoints, struct endpoint_list *list,
                                struct strait_error *error)
{
    *list = (struct endpoint_list){0};
    if (endpoints == NULL || endpoints[0] == 0)
        return client_error_set(error, STATUS_INVALID_ARGUMENT,
                                "A region needs endpoints: where its servers take clients.");
    for (const char *at = endpoints;; at++) {
        size_t size = strcspn(at, ",");
        struct endpoint parsed;
        if (list->count == limit_region_endpoints_count)
            return client_error_set(error, STATUS_INVALID_ARGUMENT,
                                    "A region has at most %d endpoints.",
                                    limit_region_endpoints_count);
        char *text = list->texts[list->count];
        if (size <= limit_member_address_size)
            memcpy(text, at, size);
        if (size > limit_member_address_size || !endpoint_parse(at, size, &parsed) ||
            !region_endpoint_is_valid(text))
            return client_error_set(error, STATUS_INVALID_ARGUMENT,
                                    "'%.*s' is no endpoint: HOST:PORT, at most %d bytes.",
                                    (int)(size < 80 ? size : 80), at, limit_member_address_size);
        list->pointers[list->count++] = text;
        at += size;
        if (*at == 0)
            return STRAIT_OK;
    }
}

static enum strait_status put(strait *handle, Strait__RegionChange__Action action,
                              const struct strait_region_settings *settings, uint32_t timeout_ms,
                              struct strait_regions **regions, struct strait_error *error)
{
    Strait__Region region = STRAIT__REGION__INIT;
    struct endpoint_list endpoints;

    if (regions != NULL)
        *regions = NULL;
    enum strait_status status = check_name(handle, settings->name, error);
    if (status == STRAIT_OK && settings->id == 0)
        status = client_error_set(error, STATUS_INVALID_ARGUMENT,
                                  "A region's id is from 1 to 2^32 - 1.");
    if (status == STRAIT_OK &&
        (settings->guard < STRAIT_GUARD_ALERT || settings->guard > STRAIT_GUARD_REFUSE))
        status =
            client_error_set(error, STATUS_INVALID_ARGUMENT,
                             "A region's guard alerts, slows writers down, or refuses writes.");
    if (status == STRAIT_OK)
        status = split(settings->endpoints, &endpoints, error);
    if (status != STRAIT_OK)
        return status;
    region.id = settings->id;
    region.name = text_field(settings->name);
    region.endpoints = endpoints.pointers;
    region.n_endpoints = endpoints.count;
    region.guard = (Strait__Region__Guard)settings->guard;
    region.lag_bytes_max = settings->guard_lag_bytes;
    region.lag_ms_max = settings->guard_lag_ms;
    region.upstream = text_field(settings->upstream != NULL ? settings->upstream : "");
    Strait__RegionChange request = STRAIT__REGION_CHANGE__INIT;
    request.action = action;
    request.region = &region;
    return change(handle, &request, timeout_ms, regions, error);
}

enum strait_status strait_region_add(strait *handle, const struct strait_region_settings *settings,
                                     uint32_t timeout_ms, struct strait_regions **regions,
                                     struct strait_error *error)
{
    return put(handle, STRAIT__REGION_CHANGE__ACTION__ADD, settings, timeout_ms, regions, error);
}

enum strait_status strait_region_set(strait *handle, const struct strait_region_settings *settings,
                                     uint32_t timeout_ms, struct strait_regions **regions,
                                     struct strait_error *error)
{
    return put(handle, STRAIT__REGION_CHANGE__ACTION__SET, settings, timeout_ms, regions, error);
}

enum strait_status strait_region_remove(strait *handle, const char *name, bool force,
                                        uint32_t timeout_ms, struct strait_regions **regions,
                                        struct strait_error *error)
{
    Strait__RegionChange request = STRAIT__REGION_CHANGE__INIT;
    Strait__Region region = STRAIT__REGION__INIT;

    if (regions != NULL)
        *regions = NULL;
    enum strait_status status = check_name(handle, name, error);
    if (status != STRAIT_OK)
        return status;
    region.name = text_field(name);
    request.action = STRAIT__REGION_CHANGE__ACTION__REMOVE;
    request.region = &region;
    request.force = force;
    return change(handle, &request, timeout_ms, regions, error);
}

/* ---- The primary ---- */

enum strait_status strait_region_switchover(strait *handle, const char *to, uint32_t pause_max_ms,
                                            uint32_t timeout_ms,
                                            struct strait_switchover **switchover,
                                            struct strait_error *error)
{
    Strait__RegionSwitchover request = STRAIT__REGION_SWITCHOVER__INIT;
    const ProtobufCMessage *message;
    struct result *result;

    if (switchover != NULL)
        *switchover = NULL;
    enum strait_status status = check_name(handle, to, error);
    if (status != STRAIT_OK)
        return status;
    if (pause_max_ms == 0)
        pause_max_ms = pause_default_ms;
    uint64_t deadline_ns = handle_deadline_ns(handle, timeout_ms);
    if (timeout_ms == 0)
        deadline_ns += pause_max_ms * UINT64_C(1000000);
    request.to = text_field(to);
    request.timeout_ms = pause_max_ms;
    status = result_of_request(handle, FRAME_REGION_SWITCHOVER, &request.base, deadline_ns,
                               result_descriptor(FRAME_REGION_SWITCHOVER), sizeof **switchover,
                               &result, &message, error);
    if (status != STRAIT_OK)
        return status;
    const Strait__RegionSwitchoverReply *reply = (const Strait__RegionSwitchoverReply *)message;
    struct strait_switchover *made = (struct strait_switchover *)(void *)result->public_part;
    note_position(handle, reply->position);
    made->position = position_token(reply->position);
    made->paused_ms = reply->paused_ms;
    made->was_primary_before = reply->was_primary_before != 0;
    if (switchover != NULL)
        *switchover = made;
    else
        result_free(result);
    return STRAIT_OK;
}

enum strait_status strait_region_promote(strait *handle, bool explain, bool force,
                                         uint32_t timeout_ms, struct strait_promotion **promotion,
                                         struct strait_error *error)
{
    Strait__RegionPromote request = STRAIT__REGION_PROMOTE__INIT;
    const ProtobufCMessage *message;
    struct result *result;

    if (promotion != NULL)
        *promotion = NULL;
    enum strait_status status = handle_check(handle, error);
    if (status != STRAIT_OK)
        return status;
    request.explain = explain;
    request.force = force;
    status = result_of_request(
        handle, FRAME_REGION_PROMOTE, &request.base, handle_deadline_ns(handle, timeout_ms),
        result_descriptor(FRAME_REGION_PROMOTE), sizeof **promotion, &result, &message, error);
    if (status != STRAIT_OK)
        return status;
    const Strait__RegionPromoteReply *reply = (const Strait__RegionPromoteReply *)message;
    struct strait_promotion *made = (struct strait_promotion *)(void *)result->public_part;
    note_position(handle, reply->position);
    *made = (struct strait_promotion){
        .done = reply->done != 0,
        .was_primary_before = reply->was_primary_before != 0,
        .position = position_token(reply->position),
        .source_known = reply->source_known != 0,
        .answered_ago_ms = reply->answered_ago_ms,
        .source_version = reply->source_version,
        .lost_versions_min = reply->lost_versions_min,
        .age_known = reply->age_known != 0,
        .age_ms = reply->age_ms,
    };
    if (!translate_lease(result, reply->lease, &made->lease))
        return no_memory(result, error);
    if (promotion != NULL)
        *promotion = made;
    else
        result_free(result);
    return STRAIT_OK;
}
