/* SPDX-License-Identifier: Apache-2.0 */
/* How a witness between regions stands. */
#include "client/error.h"
#include "client/handle.h"
#include "client/result.h"
#include "client/strait_region.h"

static struct strait_witness_region translate_region(const Strait__WitnessRegion *from)
{
    bool is_known = from->answer >= STRAIT__WITNESS_LEASE_REPLY__ANSWER__GRANTED &&
                    from->answer <= STRAIT__WITNESS_LEASE_REPLY__ANSWER__REMOVED;
    return (struct strait_witness_region){
        .id = from->id,
        .server = from->server,
        .asked_ago_ms = from->asked_ago_ms,
        .candidate = from->candidate != 0,
        .answer = is_known ? (enum strait_lease_answer)from->answer : STRAIT_LEASE_NONE,
    };
}

enum strait_status strait_witness_status(strait *handle, uint32_t timeout_ms,
                                         struct strait_witness **witness,
                                         struct strait_error *error)
{
    Strait__WitnessStatus request = STRAIT__WITNESS_STATUS__INIT;
    const ProtobufCMessage *message;
    struct result *result;

    *witness = NULL;
    enum strait_status status = handle_check(handle, error);
    if (status != STRAIT_OK)
        return status;
    status = result_of_request(
        handle, FRAME_WITNESS_STATUS, &request.base, handle_deadline_ns(handle, timeout_ms),
        result_descriptor(FRAME_WITNESS_STATUS), sizeof **witness, &result, &message, error);
    if (status != STRAIT_OK)
        return status;
    const Strait__WitnessStatusReply *reply = (const Strait__WitnessStatusReply *)message;
    struct strait_witness *made = (struct strait_witness *)(void *)result->public_part;
    struct strait_witness_region *items =
        arena_alloc_zeroed(&result->arena, reply->n_regions + 1, sizeof *items);
    if (items == NULL) {
        result_free(result);
        return client_error_set(error, STATUS_NO_MEMORY, "Out of memory.");
    }
    for (size_t i = 0; i < reply->n_regions; i++)
        items[i] = translate_region(reply->regions[i]);
    *made = (struct strait_witness){
        .epoch_number = reply->epoch_number,
        .epoch_region = reply->epoch_region,
        .epoch_held = reply->epoch_held != 0,
        .granted_to = reply->granted_to,
        .candidate = reply->candidate != 0,
        .granted_ms = reply->granted_ms,
        .waits_ms = reply->waits_ms,
        .lease_ms = reply->lease_ms,
        .up_ms = reply->up_ms,
        .granted_count = reply->granted_count,
        .refused_count = reply->refused_count,
        .list_version = reply->list_version,
        .listed_count = reply->n_listed,
        .listed = reply->listed,
        .count = reply->n_regions,
        .items = items,
    };
    *witness = made;
    return STRAIT_OK;
}
