/* SPDX-License-Identifier: Apache-2.0 */
/* What operators ask: each a request, an answer, and its translation. */
#include <stdio.h>

#include "client/error.h"
#include "client/member.h"
#include "client/result.h"
#include "proto/message.h"
#include "proto/name.h"
#include "proto/txn_id.h"

/* Runs a request whose public part is `public_size`; the common beginning of all below. */
static enum strait_status ask(strait *handle, enum frame_type type, const ProtobufCMessage *request,
                              uint32_t timeout_ms, size_t public_size, struct result **result,
                              const ProtobufCMessage **reply, struct strait_error *error)
{
    *result = NULL;
    *reply = NULL;
    enum strait_status status = handle_check(handle, error);
    if (status != STRAIT_OK)
        return status;
    return result_of_request(handle, type, request, handle_deadline_ns(handle, timeout_ms),
                             result_descriptor(type), public_size, result, reply, error);
}

static void *public_part(struct result *result)
{
    return result->public_part;
}

static enum strait_status no_memory(struct result *result, struct strait_error *error)
{
    result_free(result);
    return client_error_set(error, STATUS_NO_MEMORY, "Out of memory.");
}

static const char *copy_text(struct result *result, const char *text)
{
    struct bytes copy;
    return arena_copy(&result->arena, bytes_of_text(text), &copy) ? (const char *)copy.data : NULL;
}

/* Of the connection that answered last; taken with the I/O at rest. */
static bool fill_session(strait *handle, struct result *result, struct strait_session *session)
{
    char endpoint[endpoint_host_size + endpoint_port_size + 4];
    struct bytes cluster_id;

    pthread_mutex_lock(&handle->lock);
    const struct session_info *info = &handle->session;
    const struct endpoint *where = &info->endpoint;
    bool bracketed = strchr(where->host, ':') != NULL;
    snprintf(endpoint, sizeof endpoint, "%s%s%s:%s", bracketed ? "[" : "", where->host,
             bracketed ? "]" : "", where->port);
    session->endpoint = copy_text(result, endpoint);
    session->server_version = copy_text(result, info->server_version);
    session->identity = copy_text(result, info->identity);
    session->role = copy_text(result, info->role);
    bool done = arena_copy(&result->arena, bytes_of(info->cluster_id, sizeof info->cluster_id),
                           &cluster_id);
    session->cluster_id = strait_bytes(cluster_id.data, cluster_id.size);
    pthread_mutex_unlock(&handle->lock);
    return done && session->endpoint != NULL && session->server_version != NULL &&
           session->identity != NULL && session->role != NULL;
}

enum strait_status strait_ping(strait *handle, uint32_t timeout_ms, struct strait_session **session,
                               struct strait_error *error)
{
    Strait__Ping request = STRAIT__PING__INIT;
    const ProtobufCMessage *message;
    struct result *result;

    if (session != NULL)
        *session = NULL;
    enum strait_status status = ask(handle, FRAME_PING, &request.base, timeout_ms, sizeof **session,
                                    &result, &message, error);
    if (status != STRAIT_OK)
        return status;
    const Strait__PingReply *reply = (const Strait__PingReply *)message;
    struct strait_session *made = public_part(result);
    note_position(handle, reply->position);
    made->version = position_version(reply->position);
    if (session == NULL) {
        result_free(result);
        return STRAIT_OK;
    }
    if (!fill_session(handle, result, made))
        return no_memory(result, error);
    *session = made;
    return STRAIT_OK;
}

static bool parse_token(const char *token, struct txn_id *id, struct strait_error *error)
{
    if (token != NULL && txn_id_parse(bytes_of_text(token), id) == STATUS_OK)
        return true;
    client_error_set(error, STATUS_INVALID_ARGUMENT,
                     "'%.64s' is no transaction's token: 32 hexadecimal digits, '-', 16 more.",
                     token != NULL ? token : "");
    return false;
}

static struct strait_outcome translate_outcome(const Strait__TxnStatusReply *reply)
{
    unsigned state = (unsigned)reply->state;
    return (struct strait_outcome){
        .state = state <= STRAIT_OUTCOME_EXPIRED ? (enum strait_outcome_state)state
                                                 : STRAIT_OUTCOME_NONE,
        .status = status_is_known((int)reply->status) ? (enum strait_status)reply->status
                                                      : STRAIT_INTERNAL,
        .version = position_version(reply->position),
        .log_time_ns = reply->position != NULL ? reply->position->log_time_ns : 0,
    };
}

/* `request` has what the question is but for the transaction. */
static enum strait_status ask_outcome(strait *handle, const char *token, Strait__TxnStatus *request,
                                      uint32_t timeout_ms, struct strait_confirmation *confirmation,
                                      struct strait_error *error)
{
    const ProtobufCMessage *message;
    struct result *result;
    struct txn_id id;

    if (!parse_token(token, &id, error))
        return STRAIT_INVALID_ARGUMENT;
    request->txn_id = field_of_bytes(bytes_of(id.bytes, txn_id_size));
    request->issued_ns = id.issued_ns;
    enum strait_status status =
        ask(handle, FRAME_TXN_STATUS, &request->base, timeout_ms, 0, &result, &message, error);
    if (status != STRAIT_OK)
        return status;
    const Strait__TxnStatusReply *reply = (const Strait__TxnStatusReply *)message;
    note_position(handle, reply->position);
    confirmation->outcome = translate_outcome(reply);
    confirmation->confirmed = reply->confirmation != NULL && reply->confirmation->confirmed;
    if (confirmation->confirmed)
        snprintf(confirmation->region, sizeof confirmation->region, "%s",
                 reply->confirmation->region);
    result_free(result);
    return STRAIT_OK;
}

enum strait_status strait_txn_status(strait *handle, const char *token, uint32_t timeout_ms,
                                     struct strait_outcome *outcome, struct strait_error *error)
{
    Strait__TxnStatus request = STRAIT__TXN_STATUS__INIT;
    struct strait_confirmation confirmation = {0};

    enum strait_status status =
        ask_outcome(handle, token, &request, timeout_ms, &confirmation, error);
    *outcome = confirmation.outcome;
    return status;
}

enum strait_status strait_txn_confirm(strait *handle, const char *token, const char *region,
                                      uint32_t confirm_within_ms, uint32_t timeout_ms,
                                      struct strait_confirmation *confirmation,
                                      struct strait_error *error)
{
    Strait__TxnStatus request = STRAIT__TXN_STATUS__INIT;

    *confirmation = (struct strait_confirmation){0};
    if (region != NULL && region[0] != 0 && !name_is_valid(bytes_of_text(region)))
        return client_error_set(error, STATUS_INVALID_ARGUMENT, "'%.64s' is no region's name.",
                                region);
    request.durability = STRAIT__DURABILITY__REMOTE;
    if (region != NULL)
        request.remote_region = (char *)(uintptr_t)region;
    request.confirm_within_ms = confirm_within_ms;
    return ask_outcome(handle, token, &request, timeout_ms, confirmation, error);
}

static bool translate_status(struct result *result, const Strait__StatusReply *reply,
                             struct strait_server_status *to)
{
    struct strait_metric *metrics =
        arena_alloc_zeroed(&result->arena, reply->n_metrics, sizeof *metrics);
    if (metrics == NULL)
        return false;
    for (size_t i = 0; i < reply->n_metrics; i++) {
        metrics[i].name = reply->metrics[i]->name;
        metrics[i].value = reply->metrics[i]->value;
    }
    *to = (struct strait_server_status){
        .server_version = reply->server_version,
        .role = reply->role,
        .cluster_id = bytes_public(reply->cluster_id),
        .version = position_version(reply->position),
        .log_index = reply->log_index,
        .log_term = reply->log_term,
        .uptime_ms = reply->uptime_ms,
        .encrypted = reply->encrypted != 0,
        .writable = reply->writable != 0,
        .alarms = (const char *const *)reply->alarms,
        .alarms_count = reply->n_alarms,
        .metrics = metrics,
        .metrics_count = reply->n_metrics,
        .member = reply->member,
        .leader = reply->leader,
        .commit_index = reply->commit_index,
        .lease = reply->lease != 0,
        .members = members_translate(result, reply->members, reply->n_members),
        .members_count = reply->n_members,
        .cluster_version = reply->cluster_version,
        .cluster_version_max = reply->cluster_version_max,
        .chain_digest = bytes_public(reply->chain_digest),
    };
    if (reply->position != NULL) {
        to->epoch_number = reply->position->epoch_number;
        to->epoch_region = reply->position->epoch_region;
        to->log_time_ns = reply->position->log_time_ns;
    }
    return to->members != NULL;
}

enum strait_status strait_server_status(strait *handle, uint32_t timeout_ms,
                                        struct strait_server_status **status,
                                        struct strait_error *error)
{
    Strait__Status request = STRAIT__STATUS__INIT;
    const ProtobufCMessage *message;
    struct result *result;

    *status = NULL;
    enum strait_status asked = ask(handle, FRAME_STATUS, &request.base, timeout_ms, sizeof **status,
                                   &result, &message, error);
    if (asked != STRAIT_OK)
        return asked;
    const Strait__StatusReply *reply = (const Strait__StatusReply *)message;
    note_position(handle, reply->position);
    if (!translate_status(result, reply, public_part(result)))
        return no_memory(result, error);
    *status = public_part(result);
    return STRAIT_OK;
}

enum strait_status strait_check(strait *handle, bool start, uint32_t timeout_ms,
                                struct strait_check **check, struct strait_error *error)
{
    Strait__Check request = STRAIT__CHECK__INIT;
    const ProtobufCMessage *message;
    struct result *result;

    *check = NULL;
    request.start = start;
    enum strait_status status = ask(handle, FRAME_CHECK, &request.base, timeout_ms, sizeof **check,
                                    &result, &message, error);
    if (status != STRAIT_OK)
        return status;
    const Strait__CheckReply *reply = (const Strait__CheckReply *)message;
    struct strait_finding *findings =
        arena_alloc_zeroed(&result->arena, reply->n_findings, sizeof *findings);
    if (findings == NULL)
        return no_memory(result, error);
    for (size_t i = 0; i < reply->n_findings; i++) {
        findings[i].file = reply->findings[i]->file;
        findings[i].offset = reply->findings[i]->offset;
        findings[i].text = reply->findings[i]->text;
    }
    struct strait_check *made = public_part(result);
    *made = (struct strait_check){.running = reply->running != 0,
                                  .checked_size_bytes = reply->checked_size_bytes,
                                  .total_size_bytes = reply->total_size_bytes,
                                  .files_count = reply->files_count,
                                  .findings = findings,
                                  .findings_count = reply->n_findings,
                                  .findings_total_count = reply->findings_count};
    *check = made;
    return STRAIT_OK;
}

enum strait_status strait_scrub(strait *handle, bool start, uint32_t timeout_ms,
                                struct strait_scrub **scrub, struct strait_error *error)
{
    Strait__Check request = STRAIT__CHECK__INIT;
    const ProtobufCMessage *message;
    struct result *result;

    *scrub = NULL;
    request.start = start;
    request.scrub = true;
    enum strait_status status = ask(handle, FRAME_CHECK, &request.base, timeout_ms, sizeof **scrub,
                                    &result, &message, error);
    if (status != STRAIT_OK)
        return status;
    const Strait__CheckReply *reply = (const Strait__CheckReply *)message;
    struct strait_scrub *made = public_part(result);
    *made = (struct strait_scrub){0};
    if (reply->scrub != NULL)
        *made = (struct strait_scrub){.running = reply->scrub->running != 0,
                                      .failed = reply->scrub->failed != 0,
                                      .version = reply->scrub->version,
                                      .members_count = reply->scrub->members_count,
                                      .agreed_count = reply->scrub->agreed_count,
                                      .differing = (const char *const *)reply->scrub->differing,
                                      .differing_count = reply->scrub->n_differing};
    *scrub = made;
    return STRAIT_OK;
}

static bool translate_table(struct result *result, const Strait__TableListReply__Table *from,
                            struct strait_table *to)
{
    struct strait_index *indexes =
        arena_alloc_zeroed(&result->arena, from->n_indexes, sizeof *indexes);
    if (indexes == NULL)
        return false;
    for (size_t i = 0; i < from->n_indexes; i++) {
        indexes[i].name = from->indexes[i]->name;
        indexes[i].unique = from->indexes[i]->unique != 0;
    }
    *to = (struct strait_table){
        .name = from->name, .indexes = indexes, .indexes_count = from->n_indexes};
    return true;
}

enum strait_status strait_table_list(strait *handle, uint32_t timeout_ms,
                                     struct strait_tables **tables, struct strait_error *error)
{
    Strait__TableList request = STRAIT__TABLE_LIST__INIT;
    const ProtobufCMessage *message;
    struct result *result;

    *tables = NULL;
    enum strait_status status = ask(handle, FRAME_TABLE_LIST, &request.base, timeout_ms,
                                    sizeof **tables, &result, &message, error);
    if (status != STRAIT_OK)
        return status;
    const Strait__TableListReply *reply = (const Strait__TableListReply *)message;
    note_position(handle, reply->position);
    struct strait_table *items = arena_alloc_zeroed(&result->arena, reply->n_tables, sizeof *items);
    bool done = items != NULL;
    for (size_t i = 0; done && i < reply->n_tables; i++)
        done = translate_table(result, reply->tables[i], &items[i]);
    if (!done)
        return no_memory(result, error);
    *tables = public_part(result);
    **tables = (struct strait_tables){
        .version = position_version(reply->position), .count = reply->n_tables, .items = items};
    return STRAIT_OK;
}

enum strait_status strait_txn_list(strait *handle, uint32_t timeout_ms,
                                   struct strait_open_txns **txns, struct strait_error *error)
{
    Strait__TxnList request = STRAIT__TXN_LIST__INIT;
    const ProtobufCMessage *message;
    struct result *result;

    *txns = NULL;
    enum strait_status status = ask(handle, FRAME_TXN_LIST, &request.base, timeout_ms,
                                    sizeof **txns, &result, &message, error);
    if (status != STRAIT_OK)
        return status;
    const Strait__TxnListReply *reply = (const Strait__TxnListReply *)message;
    struct strait_open_txn *items =
        arena_alloc_zeroed(&result->arena, reply->n_items, sizeof *items);
    if (items == NULL)
        return no_memory(result, error);
    for (size_t i = 0; i < reply->n_items; i++) {
        const Strait__TxnListReply__Item *from = reply->items[i];
        items[i] = (struct strait_open_txn){.snapshot_id = from->snapshot_id,
                                            .identity = from->identity,
                                            .client = from->client,
                                            .version = from->version,
                                            .age_ms = from->age_ms,
                                            .expires_in_ms = from->expires_in_ms};
    }
    *txns = public_part(result);
    **txns = (struct strait_open_txns){
        .horizon = reply->horizon, .count = reply->n_items, .items = items};
    return STRAIT_OK;
}

enum strait_status strait_txn_cancel(strait *handle, uint64_t snapshot_id, uint32_t timeout_ms,
                                     struct strait_error *error)
{
    Strait__TxnCancel request = STRAIT__TXN_CANCEL__INIT;
    const ProtobufCMessage *message;
    struct result *result;

    request.snapshot_id = snapshot_id;
    enum strait_status status =
        ask(handle, FRAME_TXN_CANCEL, &request.base, timeout_ms, 0, &result, &message, error);
    result_free(result);
    return status;
}
