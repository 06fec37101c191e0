/* SPDX-License-Identifier: Apache-2.0 */
/* Who belongs to the region, changes of that, and who leads it. */
#include "client/member.h"

#include "client/error.h"
#include "client/handle.h"

const struct strait_member *members_translate(struct result *result, Strait__Member *const *members,
                                              size_t count)
{
    struct strait_member *made = arena_alloc_zeroed(&result->arena, count + 1, sizeof *made);
    if (made == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        const Strait__Member *from = members[i];
        made[i] = (struct strait_member){
            .id = from->id,
            .name = from->name,
            .peers = from->peers,
            .clients = from->clients,
            .kind = from->kind,
            .leader = from->leader != 0,
            .self = from->self != 0,
            .connected = from->connected != 0,
            .answered = from->answered != 0,
            .answered_ago_ms = from->answered_ago_ms,
            .match_index = from->match_index,
            .lag_entries = from->lag_entries,
            .snapshot = from->snapshot != 0,
            .cluster_version_max = from->cluster_version_max,
        };
    }
    return made;
}

static enum strait_status no_memory(struct result *result, struct strait_error *error)
{
    result_free(result);
    return client_error_set(error, STATUS_NO_MEMORY, "Out of memory.");
}

static enum strait_status check(const strait *handle, const char *name, struct strait_error *error)
{
    enum strait_status status = handle_check(handle, error);
    if (status == STRAIT_OK &&
        (name == NULL || name[0] == 0 || strlen(name) > limit_member_name_size))
        status = client_error_set(error, STATUS_INVALID_ARGUMENT,
                                  "A member's name has 1 to %d bytes.", limit_member_name_size);
    return status;
}

static enum strait_status list(strait *handle, bool any, uint64_t deadline_ns,
                               struct strait_members **members, struct strait_error *error)
{
    Strait__MemberList request = STRAIT__MEMBER_LIST__INIT;
    const ProtobufCMessage *message;
    struct result *result;

    request.any = any;
    enum strait_status status = result_of_request(handle, FRAME_MEMBER_LIST, &request.base,
                                                  deadline_ns, result_descriptor(FRAME_MEMBER_LIST),
                                                  sizeof **members, &result, &message, error);
    if (status != STRAIT_OK)
        return status;
    const Strait__MemberListReply *reply = (const Strait__MemberListReply *)message;
    struct strait_members *made = (struct strait_members *)(void *)result->public_part;
    made->log_term = reply->log_term;
    made->count = reply->n_members;
    made->items = members_translate(result, reply->members, reply->n_members);
    if (made->items == NULL)
        return no_memory(result, error);
    *members = made;
    return STRAIT_OK;
}

enum strait_status strait_member_list(strait *handle, bool any, uint32_t timeout_ms,
                                      struct strait_members **members, struct strait_error *error)
{
    *members = NULL;
    enum strait_status status = handle_check(handle, error);
    if (status != STRAIT_OK)
        return status;
    return list(handle, any, handle_deadline_ns(handle, timeout_ms), members, error);
}

/* ---- Changes ---- */

static enum strait_status send_change(strait *handle, const Strait__MemberChange *request,
                                      uint64_t deadline_ns, struct strait_members **members,
                                      struct strait_error *error)
{
    const ProtobufCMessage *message;
    struct result *result;

    enum strait_status status = result_of_request(
        handle, FRAME_MEMBER_CHANGE, &request->base, deadline_ns,
        result_descriptor(FRAME_MEMBER_CHANGE), sizeof **members, &result, &message, error);
    if (status != STRAIT_OK)
        return status;
    const Strait__MemberChangeReply *reply = (const Strait__MemberChangeReply *)message;
    struct strait_members *made = (struct strait_members *)(void *)result->public_part;
    made->count = reply->n_members;
    made->items = members_translate(result, reply->members, reply->n_members);
    if (members == NULL) {
        result_free(result);
    } else if (made->items == NULL) {
        return no_memory(result, error);
    } else {
        *members = made;
    }
    return STRAIT_OK;
}

static enum strait_status change(strait *handle, const Strait__MemberChange *request,
                                 uint32_t timeout_ms, struct strait_members **members,
                                 struct strait_error *error)
{
    if (members != NULL)
        *members = NULL;
    enum strait_status status = check(handle, request->name, error);
    if (status != STRAIT_OK)
        return status;
    return send_change(handle, request, handle_deadline_ns(handle, timeout_ms), members, error);
}

enum strait_status strait_member_add(strait *handle, const char *name, const char *peers,
                                     uint32_t timeout_ms, struct strait_members **members,
                                     struct strait_error *error)
{
    Strait__MemberChange request = STRAIT__MEMBER_CHANGE__INIT;
    struct endpoint endpoint;

    if (members != NULL)
        *members = NULL;
    if (peers == NULL || strlen(peers) > limit_member_address_size ||
        !endpoint_parse(peers, strlen(peers), &endpoint))
        return client_error_set(error, STATUS_INVALID_ARGUMENT,
                                "'%.80s' is no address of a member: HOST:PORT, at most %d bytes.",
                                peers != NULL ? peers : "", limit_member_address_size);
    request.action = STRAIT__MEMBER_CHANGE__ACTION__ADD;
    request.name = text_field(name);
    request.peers = text_field(peers);
    return change(handle, &request, timeout_ms, members, error);
}

enum strait_status strait_member_promote(strait *handle, const char *name, uint32_t timeout_ms,
                                         struct strait_members **members,
                                         struct strait_error *error)
{
    Strait__MemberChange request = STRAIT__MEMBER_CHANGE__INIT;
    request.action = STRAIT__MEMBER_CHANGE__ACTION__PROMOTE;
    request.name = text_field(name);
    return change(handle, &request, timeout_ms, members, error);
}

/* 0: there is none of that name. */
static uint64_t id_of(const struct strait_members *members, const char *name)
{
    for (size_t i = 0; i < members->count; i++) {
        if (strcmp(members->items[i].name, name) == 0)
            return members->items[i].id;
    }
    return 0;
}

static enum strait_status remove_id(strait *handle, const char *name, uint64_t id, bool force,
                                    uint64_t deadline_ns, struct strait_members **members,
                                    struct strait_error *error)
{
    Strait__MemberChange request = STRAIT__MEMBER_CHANGE__INIT;
    request.action = STRAIT__MEMBER_CHANGE__ACTION__REMOVE;
    request.name = text_field(name);
    request.id = id;
    request.force = force;
    return send_change(handle, &request, deadline_ns, members, error);
}

enum strait_status strait_member_remove_id(strait *handle, const char *name, uint64_t id,
                                           bool force, uint32_t timeout_ms,
                                           struct strait_members **members,
                                           struct strait_error *error)
{
    if (members != NULL)
        *members = NULL;
    enum strait_status status = check(handle, name, error);
    if (status == STRAIT_OK && id == 0)
        status = client_error_set(error, STATUS_INVALID_ARGUMENT,
                                  "No member has the id 0: `strait_member_list` gives it.");
    if (status != STRAIT_OK)
        return status;
    return remove_id(handle, name, id, force, handle_deadline_ns(handle, timeout_ms), members,
                     error);
}

/* The request is repeated until it is answered, by whoever leads: what it says has to be of the
 * member that was there when it was begun, as the name may be given to another meanwhile. */
enum strait_status strait_member_remove(strait *handle, const char *name, bool force,
                                        uint32_t timeout_ms, struct strait_members **members,
                                        struct strait_error *error)
{
    struct strait_members *listed = NULL;

    if (members != NULL)
        *members = NULL;
    enum strait_status status = check(handle, name, error);
    if (status != STRAIT_OK)
        return status;
    uint64_t deadline_ns = handle_deadline_ns(handle, timeout_ms);
    status = list(handle, false, deadline_ns, &listed, error);
    if (status != STRAIT_OK)
        return status;
    uint64_t id = id_of(listed, name);
    strait_free(listed);
    if (id == 0)
        return client_error_set(error, STATUS_NOT_FOUND,
                                "The region has no member %.64s: `strait member list` names them.",
                                name);
    return remove_id(handle, name, id, force, deadline_ns, members, error);
}

/* ---- The leadership ---- */

enum strait_status strait_leader_transfer(strait *handle, const char *name, uint32_t timeout_ms,
                                          struct strait_leader **leader, struct strait_error *error)
{
    Strait__LeaderTransfer request = STRAIT__LEADER_TRANSFER__INIT;
    const ProtobufCMessage *message;
    struct result *result;

    if (leader != NULL)
        *leader = NULL;
    enum strait_status status =
        name != NULL ? check(handle, name, error) : handle_check(handle, error);
    if (status != STRAIT_OK)
        return status;
    if (name != NULL)
        request.name = text_field(name);
    status = result_of_request(
        handle, FRAME_LEADER_TRANSFER, &request.base, handle_deadline_ns(handle, timeout_ms),
        result_descriptor(FRAME_LEADER_TRANSFER), sizeof **leader, &result, &message, error);
    if (status != STRAIT_OK)
        return status;
    const Strait__LeaderTransferReply *reply = (const Strait__LeaderTransferReply *)message;
    struct strait_leader *made = (struct strait_leader *)(void *)result->public_part;
    made->name = reply->leader;
    made->clients = reply->clients;
    if (leader != NULL)
        *leader = made;
    else
        result_free(result);
    return STRAIT_OK;
}

/* ---- The cluster version ---- */

enum strait_status strait_cluster_upgrade(strait *handle, uint32_t timeout_ms,
                                          uint32_t *cluster_version, struct strait_error *error)
{
    Strait__ClusterUpgrade request = STRAIT__CLUSTER_UPGRADE__INIT;
    const ProtobufCMessage *message;
    struct result *result;

    *cluster_version = 0;
    enum strait_status status = handle_check(handle, error);
    if (status == STRAIT_OK)
        status = result_of_request(
            handle, FRAME_CLUSTER_UPGRADE, &request.base, handle_deadline_ns(handle, timeout_ms),
            result_descriptor(FRAME_CLUSTER_UPGRADE), 0, &result, &message, error);
    if (status != STRAIT_OK)
        return status;
    *cluster_version = ((const Strait__ClusterUpgradeReply *)message)->cluster_version;
    result_free(result);
    return STRAIT_OK;
}
