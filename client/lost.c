/* SPDX-License-Identifier: Apache-2.0 */
/* What a region gave up when it came back as a standby: listed, read, committed again, closed. */
#include "client/error.h"
#include "client/handle.h"
#include "client/result.h"
#include "client/strait_region.h"
#include "proto/entry.h"
#include "proto/message.h"
#include "proto/txn_id.h"

static enum strait_status no_memory(struct result *result, struct strait_error *error)
{
    result_free(result);
    return client_error_set(error, STATUS_NO_MEMORY, "Out of memory.");
}

/* ---- The list ---- */

static struct strait_lost_report translate_report(const Strait__LostReport *from)
{
    return (struct strait_lost_report){
        .id = from->id,
        .position = {.epoch_number = from->epoch_number,
                     .version = from->last_version,
                     .epoch_region = from->epoch_region},
        .next_epoch_number = from->next_number,
        .next_epoch_region = from->next_region,
        .first_version = from->first_version,
        .last_version = from->last_version,
        .count = from->count,
        .size = from->size_bytes,
        .log_time_ns = from->log_time_ns,
        .closed = from->closed != 0,
        .unlisted_first_version = from->unlisted_first,
        .unlisted_last_version = from->unlisted_last,
    };
}

enum strait_status strait_region_lost_list(strait *handle, uint32_t timeout_ms,
                                           struct strait_lost_reports **reports,
                                           struct strait_error *error)
{
    Strait__RegionLostList request = STRAIT__REGION_LOST_LIST__INIT;
    const ProtobufCMessage *message;
    struct result *result;

    *reports = NULL;
    enum strait_status status = handle_check(handle, error);
    if (status != STRAIT_OK)
        return status;
    status = result_of_request(
        handle, FRAME_REGION_LOST_LIST, &request.base, handle_deadline_ns(handle, timeout_ms),
        result_descriptor(FRAME_REGION_LOST_LIST), sizeof **reports, &result, &message, error);
    if (status != STRAIT_OK)
        return status;
    const Strait__RegionLostListReply *reply = (const Strait__RegionLostListReply *)message;
    struct strait_lost_reports *made = (struct strait_lost_reports *)(void *)result->public_part;
    struct strait_lost_report *items =
        arena_alloc_zeroed(&result->arena, reply->n_reports + 1, sizeof *items);
    if (items == NULL)
        return no_memory(result, error);
    note_position(handle, reply->position);
    for (size_t i = 0; i < reply->n_reports; i++)
        items[i] = translate_report(reply->reports[i]);
    *made = (struct strait_lost_reports){
        .region_id = reply->region_id, .count = reply->n_reports, .items = items};
    *reports = made;
    return STRAIT_OK;
}

/* ---- A page ---- */

static enum strait_lost_kind kind_of(enum entry_kind kind)
{
    switch (kind) {
    case ENTRY_COMMIT:
        return STRAIT_LOST_COMMIT;
    case ENTRY_TICK:
        return STRAIT_LOST_TICK;
    case ENTRY_REGIONS:
        return STRAIT_LOST_REGIONS;
    default:
        return STRAIT_LOST_EPOCH;
    }
}

/* `to` refers to the reply in the arena. */
static enum status translate_entry(struct arena *arena, const Strait__LostEntry *from,
                                   struct strait_lost_entry *to)
{
    struct bytes identity;
    struct entry entry;
    enum status status = entry_decode(bytes_of_field(from->entry), &entry);

    if (status == STATUS_OK && !entry_kind_is_shared(entry.kind))
        status = STATUS_MALFORMED;
    if (status != STATUS_OK)
        return status;
    if (!arena_copy(arena, entry.identity, &identity))
        return STATUS_NO_MEMORY;
    *to = (struct strait_lost_entry){
        .kind = kind_of(entry.kind),
        .position = {.epoch_number = entry.epoch_number,
                     .version = entry.version,
                     .epoch_region = entry.epoch_region},
        .log_time_ns = entry.log_time_ns,
        .identity = (const char *)identity.data,
        .has_outcome = from->has_outcome != 0,
        .outcome = status_is_known((int)from->outcome) ? (enum strait_status)from->outcome
                                                       : STRAIT_INTERNAL,
    };
    if (entry.kind == ENTRY_COMMIT)
        to->commit = strait_bytes(entry.body.data, entry.body.size);
    return STATUS_OK;
}

static enum strait_status translate_page(struct result *result,
                                         const Strait__RegionLostReadReply *reply,
                                         struct strait_error *error)
{
    struct strait_lost_entries *made = (struct strait_lost_entries *)(void *)result->public_part;
    struct strait_lost_entry *items =
        arena_alloc_zeroed(&result->arena, reply->n_entries + 1, sizeof *items);
    enum status status = items == NULL ? STATUS_NO_MEMORY : STATUS_OK;

    for (size_t i = 0; i < reply->n_entries && status == STATUS_OK; i++)
        status = translate_entry(&result->arena, reply->entries[i], &items[i]);
    if (status == STATUS_NO_MEMORY)
        return no_memory(result, error);
    if (status != STATUS_OK) {
        result_free(result);
        return client_error_set(error, status,
                                "The server's answer holds an entry that cannot be read: %s.",
                                status_text(status));
    }
    *made = (struct strait_lost_entries){
        .more = reply->more != 0, .count = reply->n_entries, .items = items};
    return STRAIT_OK;
}

enum strait_status strait_region_lost_read(strait *handle, uint64_t report_id,
                                           const struct strait_token *after, uint32_t entries_max,
                                           uint32_t timeout_ms,
                                           struct strait_lost_entries **entries,
                                           struct strait_error *error)
{
    Strait__RegionLostRead request = STRAIT__REGION_LOST_READ__INIT;
    const ProtobufCMessage *message;
    struct result *result;

    *entries = NULL;
    enum strait_status status = handle_check(handle, error);
    if (status != STRAIT_OK)
        return status;
    request.id = report_id;
    request.entries_max = entries_max;
    if (after != NULL) {
        request.after_epoch_number = after->epoch_number;
        request.after_epoch_region = after->epoch_region;
        request.after_version = after->version;
    }
    status = result_of_request(
        handle, FRAME_REGION_LOST_READ, &request.base, handle_deadline_ns(handle, timeout_ms),
        result_descriptor(FRAME_REGION_LOST_READ), sizeof **entries, &result, &message, error);
    if (status == STRAIT_OK)
        status = translate_page(result, (const Strait__RegionLostReadReply *)message, error);
    if (status == STRAIT_OK)
        *entries = (struct strait_lost_entries *)(void *)result->public_part;
    return status;
}

/* ---- What a transaction was to do ---- */

static enum status translate_put(struct arena *arena, const Strait__Put *put,
                                 struct strait_lost_operation *to)
{
    struct strait_index_entry *indexes =
        arena_alloc_zeroed(arena, put->n_indexes + 1, sizeof *indexes);
    if (indexes == NULL)
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < put->n_indexes; i++)
        indexes[i] = (struct strait_index_entry){.index = put->indexes[i]->index,
                                                 .key = bytes_public(put->indexes[i]->key)};
    to->kind = STRAIT_LOST_PUT;
    to->table = put->table;
    to->key = bytes_public(put->key);
    to->value = bytes_public(put->value);
    to->ttl_ms = put->ttl_ms;
    to->indexes = indexes;
    to->indexes_count = put->n_indexes;
    return STATUS_OK;
}

static void translate_add(const Strait__Add *add, struct strait_lost_operation *to)
{
    to->kind = STRAIT_LOST_ADD;
    to->table = add->table;
    to->key = bytes_public(add->key);
    to->amount = add->amount;
    to->add = (struct strait_add_options){.has_minimum = add->has_minimum != 0,
                                          .minimum = add->minimum,
                                          .has_maximum = add->has_maximum != 0,
                                          .maximum = add->maximum,
                                          .initial = add->initial,
                                          .must_exist = add->must_exist != 0};
}

static enum status translate_operation(struct arena *arena, const Strait__Operation *from,
                                       struct strait_lost_operation *to)
{
    to->key = strait_bytes("", 0);
    to->value = to->key;
    to->index = "";
    switch (from->kind_case) {
    case STRAIT__OPERATION__KIND_PUT:
        return translate_put(arena, from->put, to);
    case STRAIT__OPERATION__KIND_DELETE:
        to->kind = STRAIT_LOST_DELETE;
        to->table = from->delete_->table;
        to->key = bytes_public(from->delete_->key);
        return STATUS_OK;
    case STRAIT__OPERATION__KIND_ADD:
        translate_add(from->add, to);
        return STATUS_OK;
    case STRAIT__OPERATION__KIND_TABLE_CREATE:
        to->kind = STRAIT_LOST_TABLE_CREATE;
        to->table = from->table_create->table;
        return STATUS_OK;
    case STRAIT__OPERATION__KIND_TABLE_DROP:
        to->kind = STRAIT_LOST_TABLE_DROP;
        to->table = from->table_drop->table;
        return STATUS_OK;
    case STRAIT__OPERATION__KIND_INDEX_CREATE:
        to->kind = STRAIT_LOST_INDEX_CREATE;
        to->table = from->index_create->table;
        to->index = from->index_create->index;
        to->unique = from->index_create->unique != 0;
        return STATUS_OK;
    case STRAIT__OPERATION__KIND_INDEX_DROP:
        to->kind = STRAIT_LOST_INDEX_DROP;
        to->table = from->index_drop->table;
        to->index = from->index_drop->index;
        return STATUS_OK;
    default:
        return STATUS_MALFORMED;
    }
}

static enum status translate_commit(struct result *result, const Strait__Commit *from)
{
    struct strait_lost_commit *made = (struct strait_lost_commit *)(void *)result->public_part;
    struct strait_lost_operation *operations =
        arena_alloc_zeroed(&result->arena, from->n_operations + 1, sizeof *operations);
    enum status status = operations == NULL ? STATUS_NO_MEMORY : STATUS_OK;
    struct txn_id id = {.issued_ns = from->issued_ns};

    if (from->txn_id.len != txn_id_size)
        return STATUS_MALFORMED;
    memcpy(id.bytes, from->txn_id.data, txn_id_size);
    txn_id_format(&id, made->txn);
    for (size_t i = 0; i < from->n_operations && status == STATUS_OK; i++)
        status = translate_operation(&result->arena, from->operations[i], &operations[i]);
    made->conditions_count = from->n_conditions;
    made->reads_count = from->n_reads + from->n_ranges;
    made->count = from->n_operations;
    made->operations = operations;
    return status;
}

/* Decodes into a result with a public part of `public_size`. */
static enum strait_status decode_commit(const struct strait_lost_entry *entry, size_t public_size,
                                        struct result **result, const Strait__Commit **commit,
                                        struct strait_error *error)
{
    ProtobufCMessage *message;

    client_error_clear(error);
    *result = result_new(public_size, entry->commit.size);
    if (*result == NULL)
        return client_error_set(error, STATUS_NO_MEMORY, "Out of memory.");
    enum status status = message_decode(&strait__commit__descriptor,
                                        bytes_of(entry->commit.data, entry->commit.size), false,
                                        &(*result)->arena, &message);
    if (entry->kind == STRAIT_LOST_COMMIT && status == STATUS_OK) {
        *commit = (const Strait__Commit *)message;
        return STRAIT_OK;
    }
    result_free(*result);
    return client_error_set(error, STATUS_MALFORMED, "The entry is no transaction.");
}

enum strait_status strait_lost_commit_of(const struct strait_lost_entry *entry,
                                         struct strait_lost_commit **commit,
                                         struct strait_error *error)
{
    const Strait__Commit *message;
    struct result *result;

    *commit = NULL;
    enum strait_status decoded = decode_commit(entry, sizeof **commit, &result, &message, error);
    if (decoded != STRAIT_OK)
        return decoded;
    enum status status = translate_commit(result, message);
    if (status != STATUS_OK) {
        result_free(result);
        return client_error_set(error, status, "The entry is no transaction: %s.",
                                status_text(status));
    }
    *commit = (struct strait_lost_commit *)(void *)result->public_part;
    return STRAIT_OK;
}

/* ---- Again ---- */

/* What it goes by may be of the history that was given up, where versions are not what they are
 * now: a version that was read, or one that a record is to have. */
static bool goes_by_what_is_lost(const struct strait_lost_report *report,
                                 const Strait__Commit *commit)
{
    uint64_t kept = report->first_version - 1;

    if (commit->snapshot > kept && commit->n_reads + commit->n_ranges != 0)
        return true;
    for (size_t i = 0; i < commit->n_conditions; i++) {
        const Strait__Condition *condition = commit->conditions[i];
        if (condition->kind == STRAIT__CONDITION__KIND__VERSION_IS && condition->version > kept)
            return true;
    }
    return false;
}

static enum strait_status check_replay(const struct strait_lost_report *report,
                                       const struct strait_lost_entry *entry,
                                       const Strait__Commit *commit, struct strait_error *error)
{
    if (!entry->has_outcome)
        return client_error_set(error, STATUS_CONDITION_FAILED,
                                "Whether it was done or refused at its time is not known, so it is "
                                "not run again.");
    if (entry->outcome != STRAIT_OK)
        return client_error_set(error, STATUS_CONDITION_FAILED,
                                "It was refused at its time (%s): there is nothing to be done "
                                "again.",
                                strait_status_text(entry->outcome));
    if (goes_by_what_is_lost(report, commit))
        return client_error_set(error, STATUS_HISTORY_LOST,
                                "It goes by what it read after version %llu, which was given up "
                                "too.",
                                (unsigned long long)report->first_version - 1);
    return STRAIT_OK;
}

static enum strait_status run_again(strait *handle, const struct strait_lost_entry *entry,
                                    uint64_t issued_ns, uint32_t timeout_ms,
                                    struct strait_commit_result *done, struct strait_error *error)
{
    const ProtobufCMessage *message;
    struct result *result = NULL;
    struct call call;

    enum strait_status status = status_public(
        call_init_encoded(&call, FRAME_COMMIT, bytes_of(entry->commit.data, entry->commit.size),
                          handle_deadline_ns(handle, timeout_ms), error));
    if (status == STRAIT_OK) {
        call.issued_ns = issued_ns;
        call.keeps_issued = true;
        handle_run(handle, &call);
        status =
            result_of_call(&call, &strait__commit_reply__descriptor, 0, &result, &message, error);
    }
    if (status == STRAIT_OK) {
        const Strait__CommitReply *reply = (const Strait__CommitReply *)message;
        note_position(handle, reply->position);
        done->version = position_version(reply->position);
        done->log_time_ns = reply->position != NULL ? reply->position->log_time_ns : 0;
        done->repeated = reply->repeated_reply != 0;
        done->confirmed = reply->confirmation != NULL && reply->confirmation->confirmed;
    }
    result_free(result);
    call_free(&call);
    return status;
}

enum strait_status
strait_region_lost_replay(strait *handle, const struct strait_lost_report *report,
                          const struct strait_lost_entry *entry, uint32_t timeout_ms,
                          struct strait_commit_result *result, struct strait_error *error)
{
    struct strait_commit_result done = {0};
    const Strait__Commit *commit;
    struct result *decoded;

    enum strait_status status = handle_check(handle, error);
    if (status == STRAIT_OK)
        status = decode_commit(entry, 0, &decoded, &commit, error);
    if (status != STRAIT_OK)
        return status;
    status = check_replay(report, entry, commit, error);
    if (status == STRAIT_OK && commit->txn_id.len != txn_id_size)
        status = client_error_set(error, STATUS_MALFORMED, "The transaction has no id.");
    if (status == STRAIT_OK) {
        struct txn_id id = {.issued_ns = commit->issued_ns};
        memcpy(id.bytes, commit->txn_id.data, txn_id_size);
        txn_id_format(&id, done.txn);
        status = run_again(handle, entry, commit->issued_ns, timeout_ms, &done, error);
    }
    result_free(decoded);
    if (result != NULL)
        *result = done;
    return status;
}

/* ---- Closing ---- */

enum strait_status strait_region_lost_close(strait *handle, uint64_t report_id, uint32_t timeout_ms,
                                            struct strait_error *error)
{
    Strait__RegionLostClose request = STRAIT__REGION_LOST_CLOSE__INIT;
    const ProtobufCMessage *message;
    struct result *result;

    enum strait_status status = handle_check(handle, error);
    if (status != STRAIT_OK)
        return status;
    request.id = report_id;
    status = result_of_request(
        handle, FRAME_REGION_LOST_CLOSE, &request.base, handle_deadline_ns(handle, timeout_ms),
        result_descriptor(FRAME_REGION_LOST_CLOSE), 0, &result, &message, error);
    if (status == STRAIT_OK)
        result_free(result);
    return status;
}
