/* SPDX-License-Identifier: Apache-2.0 */
#include "client/snapshot.h"

#include <stdlib.h>

#include "client/error.h"
#include "client/result.h"

enum strait_status snapshot_begin(strait *handle, uint64_t deadline_ns, strait_snapshot **snapshot,
                                  struct strait_error *error)
{
    Strait__SnapshotOpen request = STRAIT__SNAPSHOT_OPEN__INIT;
    const ProtobufCMessage *message;
    struct result *result;

    *snapshot = NULL;
    uint64_t begun_ns = client_now_ns();
    enum strait_status status =
        result_of_request(handle, FRAME_SNAPSHOT_OPEN, &request.base, deadline_ns,
                          &strait__snapshot_open_reply__descriptor, 0, &result, &message, error);
    if (status != STRAIT_OK)
        return status;
    const Strait__SnapshotOpenReply *reply = (const Strait__SnapshotOpenReply *)message;
    note_position(handle, reply->position);
    const struct strait_token token = position_token(reply->position);
    strait_snapshot *made = calloc(1, sizeof *made);
    if (made == NULL) {
        status = client_error_set(error, STATUS_NO_MEMORY, "Out of memory.");
    } else {
        *made = (strait_snapshot){.handle = handle,
                                  .id = reply->snapshot_id,
                                  .version = token.version,
                                  .epoch_number = token.epoch_number,
                                  .epoch_region = token.epoch_region,
                                  .age_max_ns = (uint64_t)reply->age_max_ms * 1000000,
                                  .renewed_ns = begun_ns};
        *snapshot = made;
    }
    result_free(result);
    return status;
}

enum strait_status strait_snapshot_begin(strait *handle, uint32_t timeout_ms,
                                         strait_snapshot **snapshot, struct strait_error *error)
{
    *snapshot = NULL;
    enum strait_status status = handle_check(handle, error);
    if (status != STRAIT_OK)
        return status;
    return snapshot_begin(handle, handle_deadline_ns(handle, timeout_ms), snapshot, error);
}

uint64_t strait_snapshot_version(const strait_snapshot *snapshot)
{
    return snapshot->version;
}

uint64_t strait_snapshot_id(const strait_snapshot *snapshot)
{
    return snapshot->id;
}

static enum strait_status renew(strait_snapshot *snapshot, uint64_t deadline_ns,
                                struct strait_error *error)
{
    Strait__SnapshotRenew request = STRAIT__SNAPSHOT_RENEW__INIT;
    const ProtobufCMessage *message;
    struct result *result;

    request.snapshot_id = snapshot->id;
    uint64_t begun_ns = client_now_ns();
    enum strait_status status =
        result_of_request(snapshot->handle, FRAME_SNAPSHOT_RENEW, &request.base, deadline_ns,
                          &strait__snapshot_renew_reply__descriptor, 0, &result, &message, error);
    if (status == STRAIT_OK)
        snapshot->renewed_ns = begun_ns;
    result_free(result);
    return status;
}

enum strait_status strait_snapshot_renew(strait_snapshot *snapshot, uint32_t timeout_ms,
                                         struct strait_error *error)
{
    enum strait_status status = handle_check(snapshot->handle, error);
    if (status != STRAIT_OK)
        return status;
    return renew(snapshot, handle_deadline_ns(snapshot->handle, timeout_ms), error);
}

enum strait_status snapshot_keep(strait_snapshot *snapshot, uint64_t deadline_ns,
                                 struct strait_error *error)
{
    if (client_now_ns() - snapshot->renewed_ns < snapshot->age_max_ns / 2)
        return STRAIT_OK;
    return renew(snapshot, deadline_ns, error);
}

void strait_snapshot_end(strait_snapshot *snapshot)
{
    Strait__SnapshotClose request = STRAIT__SNAPSHOT_CLOSE__INIT;

    if (snapshot == NULL)
        return;
    request.snapshot_id = snapshot->id;
    struct call *call =
        handle_check(snapshot->handle, NULL) == STRAIT_OK ? malloc(sizeof *call) : NULL;
    if (call != NULL &&
        call_init(call, FRAME_SNAPSHOT_CLOSE, &request.base, UINT64_MAX, NULL) == STATUS_OK) {
        handle_forget(snapshot->handle, call);
    } else if (call != NULL) {
        /* Without memory to say so, the server finds out by itself when its time is over. */
        call_free(call);
        free(call);
    }
    free(snapshot);
}
