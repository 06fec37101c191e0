/* SPDX-License-Identifier: Apache-2.0 */
#include "client/read.h"

#include <stdlib.h>

#include "client/error.h"
#include "client/result.h"
#include "proto/limits.h"
#include "proto/name.h"

enum strait_status read_check_key(const char *table, struct strait_bytes key,
                                  struct strait_error *error)
{
    if (!name_text_is_valid(table))
        return client_error_set(error, STATUS_INVALID_ARGUMENT,
                                "'%.80s' cannot be the name of a table: [a-z][a-z0-9_-]*, at most "
                                "%d bytes.",
                                table != NULL ? table : "", limit_name_size);
    if (key.size == 0)
        return client_error_set(error, STATUS_INVALID_ARGUMENT,
                                "A key of table %s is empty: one has 1 to %d bytes.", table,
                                limit_key_size);
    if (key.size > limit_key_size)
        return client_error_set(
            error, STATUS_TOO_LARGE,
            "A key of table %s has %zu bytes, and may have 1 to %d: shorten it, "
            "or use a digest of it.",
            table, key.size, limit_key_size);
    return STRAIT_OK;
}

enum strait_status read_check_keys(const struct strait_key *keys, size_t keys_count,
                                   struct strait_error *error)
{
    if (keys_count == 0 || keys_count > limit_get_keys_count)
        return client_error_set(error, STATUS_INVALID_ARGUMENT,
                                "%zu keys were asked for; 1 to %d are taken.", keys_count,
                                limit_get_keys_count);
    for (size_t i = 0; i < keys_count; i++) {
        enum strait_status status = read_check_key(keys[i].table, keys[i].key, error);
        if (status != STRAIT_OK)
            return status;
    }
    return STRAIT_OK;
}

enum strait_status read_check_range(const struct strait_range *range, struct strait_error *error)
{
    size_t size_max = range->index != NULL ? limit_index_key_size : limit_key_size;
    if (!name_text_is_valid(range->table) ||
        (range->index != NULL && !name_text_is_valid(range->index)))
        return client_error_set(error, STATUS_INVALID_ARGUMENT,
                                "A range names no valid table or index: [a-z][a-z0-9_-]*, at most "
                                "%d bytes.",
                                limit_name_size);
    /* A bound may be one byte longer than a key: the successor of the longest one. */
    if (range->start.size > size_max + 1 || range->end.size > size_max + 1)
        return client_error_set(error, STATUS_TOO_LARGE, "A range's bound has more than %zu bytes.",
                                size_max + 1);
    return STRAIT_OK;
}

enum strait_status read_check_options(const struct strait_read_options *reads,
                                      struct strait_error *error)
{
    if (reads == NULL || reads->consistency <= STRAIT_AT_LEAST)
        return STRAIT_OK;
    return client_error_set(error, STATUS_INVALID_ARGUMENT, "There is no consistency %d.",
                            (int)reads->consistency);
}

/* NULL for a linearizable read: so is one that says nothing. */
static Strait__Consistency *consistency_of(const struct strait_read_options *reads,
                                           Strait__Consistency *consistency,
                                           Strait__Position *position)
{
    if (reads == NULL || reads->consistency == STRAIT_LINEARIZABLE)
        return NULL;
    strait__consistency__init(consistency);
    if (reads->consistency == STRAIT_BOUNDED_STALE) {
        consistency->kind = STRAIT__CONSISTENCY__KIND__BOUNDED_STALE;
        consistency->max_staleness_ms = reads->max_staleness_ms;
    } else {
        strait__position__init(position);
        position->epoch_number = reads->token.epoch_number;
        position->epoch_region = reads->token.epoch_region;
        position->version = reads->token.version;
        consistency->kind = STRAIT__CONSISTENCY__KIND__AT_LEAST;
        consistency->position = position;
    }
    return consistency;
}

enum strait_status read_encode_get(struct call *call, uint64_t snapshot_id,
                                   const struct strait_read_options *reads,
                                   const struct strait_key *keys, size_t keys_count,
                                   uint64_t deadline_ns, struct strait_error *error)
{
    Strait__Get request = STRAIT__GET__INIT;
    Strait__Consistency consistency;
    Strait__Position position;
    Strait__Key *messages = calloc(keys_count, sizeof *messages);
    Strait__Key **pointers = calloc(keys_count, sizeof *pointers);
    enum status status = STATUS_NO_MEMORY;

    *call = (struct call){.type = FRAME_GET};
    if (messages != NULL && pointers != NULL) {
        for (size_t i = 0; i < keys_count; i++) {
            strait__key__init(&messages[i]);
            messages[i].table = text_field(keys[i].table);
            messages[i].key = bytes_field(keys[i].key);
            pointers[i] = &messages[i];
        }
        request.snapshot_id = snapshot_id;
        if (snapshot_id == 0)
            request.consistency = consistency_of(reads, &consistency, &position);
        request.keys = pointers;
        request.n_keys = keys_count;
        status = call_init(call, FRAME_GET, &request.base, deadline_ns, error);
    } else {
        client_error_set(error, status, "Out of memory.");
    }
    free(messages);
    free(pointers);
    return status_public(status);
}

enum strait_status read_encode_page(struct call *call, uint64_t snapshot_id,
                                    const struct strait_read_options *reads,
                                    const struct strait_range *range,
                                    const struct strait_scan_options *options, uint32_t records_max,
                                    struct strait_bytes resume, uint64_t deadline_ns,
                                    struct strait_error *error)
{
    Strait__Scan request = STRAIT__SCAN__INIT;
    Strait__Consistency consistency;
    Strait__Position position;
    Strait__Range message = STRAIT__RANGE__INIT;

    message.table = text_field(range->table);
    if (range->index != NULL)
        message.index = text_field(range->index);
    message.start = bytes_field(range->start);
    message.end = bytes_field(range->end);
    request.snapshot_id = snapshot_id;
    if (snapshot_id == 0)
        request.consistency = consistency_of(reads, &consistency, &position);
    request.range = &message;
    request.reverse = options != NULL && options->reverse;
    request.keys_only = options != NULL && options->keys_only;
    request.records_max = records_max;
    request.resume = bytes_field(resume);
    return status_public(call_init(call, FRAME_SCAN, &request.base, deadline_ns, error));
}

/* What both replies hold. */
struct parts {
    const Strait__Position *position;
    Strait__Record *const *records;
    size_t count;
    bool more;
    struct strait_bytes resume;
};

static struct parts parts_of(const struct call *call, const ProtobufCMessage *message)
{
    if (call->type == FRAME_GET) {
        const Strait__GetReply *reply = (const Strait__GetReply *)message;
        return (struct parts){
            .position = reply->position, .records = reply->records, .count = reply->n_records};
    }
    const Strait__ScanReply *reply = (const Strait__ScanReply *)message;
    return (struct parts){.position = reply->position,
                          .records = reply->records,
                          .count = reply->n_records,
                          .more = reply->more != 0,
                          .resume = bytes_public(reply->resume)};
}

enum strait_status read_decode(strait *handle, const struct call *call, size_t keys_count,
                               struct strait_records **records, struct strait_error *error)
{
    const ProtobufCMessage *message;
    struct result *result;

    *records = NULL;
    enum strait_status status = result_of_call(call, result_descriptor(call->type),
                                               sizeof **records, &result, &message, error);
    if (status != STRAIT_OK)
        return status;
    struct parts parts = parts_of(call, message);
    struct strait_records *made = (struct strait_records *)(void *)result->public_part;
    note_position(handle, parts.position);
    made->version = position_version(parts.position);
    made->token = position_token(parts.position);
    made->more = parts.more;
    made->resume = parts.resume;
    if (call->type == FRAME_GET && parts.count != keys_count)
        status = client_error_set(error, STATUS_MALFORMED,
                                  "The server answered %zu keys with %zu records.", keys_count,
                                  parts.count);
    else if (parts.more && parts.resume.size == 0)
        status = client_error_set(error, STATUS_MALFORMED,
                                  "The server's page does not say where the next one begins.");
    else if (!result_records(result, parts.records, parts.count, made))
        status = client_error_set(error, STATUS_NO_MEMORY, "Out of memory.");
    if (status == STRAIT_OK)
        *records = made;
    else
        result_free(result);
    return status;
}

enum strait_status read_keys(strait *handle, uint64_t snapshot_id,
                             const struct strait_read_options *reads, const struct strait_key *keys,
                             size_t keys_count, uint64_t deadline_ns,
                             struct strait_records **records, struct strait_error *error)
{
    struct call call;

    *records = NULL;
    enum strait_status status =
        read_encode_get(&call, snapshot_id, reads, keys, keys_count, deadline_ns, error);
    if (status == STRAIT_OK) {
        handle_run(handle, &call);
        status = read_decode(handle, &call, keys_count, records, error);
    }
    call_free(&call);
    return status;
}

enum strait_status read_page(strait *handle, uint64_t snapshot_id,
                             const struct strait_read_options *reads,
                             const struct strait_range *range,
                             const struct strait_scan_options *options, uint32_t records_max,
                             struct strait_bytes resume, uint64_t deadline_ns,
                             struct strait_records **records, struct strait_error *error)
{
    struct call call;

    *records = NULL;
    enum strait_status status = read_encode_page(&call, snapshot_id, reads, range, options,
                                                 records_max, resume, deadline_ns, error);
    if (status == STRAIT_OK) {
        handle_run(handle, &call);
        status = read_decode(handle, &call, 0, records, error);
    }
    call_free(&call);
    return status;
}

enum strait_status strait_get_many(strait *handle, strait_snapshot *snapshot,
                                   const struct strait_key *keys, size_t keys_count,
                                   uint32_t timeout_ms, struct strait_records **records,
                                   struct strait_error *error)
{
    *records = NULL;
    enum strait_status status = handle_check(handle, error);
    if (status == STRAIT_OK)
        status = read_check_keys(keys, keys_count, error);
    if (status != STRAIT_OK)
        return status;
    uint64_t deadline_ns = handle_deadline_ns(handle, timeout_ms);
    if (snapshot != NULL)
        status = snapshot_keep(snapshot, deadline_ns, error);
    if (status != STRAIT_OK)
        return status;
    return read_keys(handle, snapshot != NULL ? snapshot->id : 0, NULL, keys, keys_count,
                     deadline_ns, records, error);
}

enum strait_status strait_get_with(strait *handle, const struct strait_read_options *options,
                                   const struct strait_key *keys, size_t keys_count,
                                   uint32_t timeout_ms, struct strait_records **records,
                                   struct strait_error *error)
{
    *records = NULL;
    enum strait_status status = handle_check(handle, error);
    if (status == STRAIT_OK)
        status = read_check_keys(keys, keys_count, error);
    if (status == STRAIT_OK)
        status = read_check_options(options, error);
    if (status != STRAIT_OK)
        return status;
    return read_keys(handle, 0, options, keys, keys_count, handle_deadline_ns(handle, timeout_ms),
                     records, error);
}

enum strait_status strait_get(strait *handle, strait_snapshot *snapshot, const char *table,
                              struct strait_bytes key, uint32_t timeout_ms,
                              struct strait_records **records, struct strait_error *error)
{
    struct strait_key asked = {.table = table, .key = key};
    enum strait_status status =
        strait_get_many(handle, snapshot, &asked, 1, timeout_ms, records, error);
    if (status == STRAIT_OK && !(*records)->items[0].found) {
        strait_free(*records);
        *records = NULL;
        return client_error_set(error, STATUS_NOT_FOUND, "There is no such record in '%s'.", table);
    }
    return status;
}

enum strait_status strait_page(strait *handle, const struct strait_range *range,
                               const struct strait_scan_options *options,
                               struct strait_bytes resume, uint32_t timeout_ms,
                               struct strait_records **records, struct strait_error *error)
{
    strait_snapshot *snapshot = options != NULL ? options->snapshot : NULL;

    *records = NULL;
    enum strait_status status = handle_check(handle, error);
    if (status == STRAIT_OK)
        status = read_check_range(range, error);
    if (status != STRAIT_OK)
        return status;
    uint64_t deadline_ns = handle_deadline_ns(handle, timeout_ms);
    if (snapshot != NULL)
        status = snapshot_keep(snapshot, deadline_ns, error);
    if (status != STRAIT_OK)
        return status;
    return read_page(handle, snapshot != NULL ? snapshot->id : 0, NULL, range, options,
                     options != NULL ? options->page_records : 0, resume, deadline_ns, records,
                     error);
}

enum strait_status strait_page_with(strait *handle, const struct strait_read_options *reads,
                                    const struct strait_range *range,
                                    const struct strait_scan_options *options,
                                    struct strait_bytes resume, uint32_t timeout_ms,
                                    struct strait_records **records, struct strait_error *error)
{
    *records = NULL;
    enum strait_status status = handle_check(handle, error);
    if (status == STRAIT_OK)
        status = read_check_range(range, error);
    if (status == STRAIT_OK)
        status = read_check_options(reads, error);
    if (status == STRAIT_OK && options != NULL && options->snapshot != NULL)
        status = client_error_set(error, STATUS_INVALID_ARGUMENT,
                                  "A page is read at a snapshot, or at a state that the options of "
                                  "the read permit; not both.");
    if (status != STRAIT_OK)
        return status;
    return read_page(handle, 0, reads, range, options, options != NULL ? options->page_records : 0,
                     resume, handle_deadline_ns(handle, timeout_ms), records, error);
}
