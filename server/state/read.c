/* SPDX-License-Identifier: Apache-2.0 */
#include "server/state/read.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/limits.h"
#include "proto/message.h"
#include "proto/name.h"
#include "server/state/commit_check.h"

enum { read_record_overhead_size = 64 };

enum status read_refuse(struct state_refusal *refusal, enum status status, const char *what,
                        const char *name)
{
    *refusal = (struct state_refusal){0};
    if (name_text_is_valid(name))
        (void)snprintf(refusal->text, sizeof refusal->text, "%s %s: %s.", what, name,
                       status_text(status));
    else
        (void)snprintf(refusal->text, sizeof refusal->text, "%s: %s.", what, status_text(status));
    return status;
}

enum status read_table_find(const struct state_view *view, const char *name,
                            const struct catalog_table **table, struct state_refusal *refusal)
{
    *table = NULL;
    if (!name_text_is_valid(name))
        return read_refuse(refusal, STATUS_INVALID_ARGUMENT, "The table's name", name);
    const struct catalog_table *found = catalog_table_find(view->catalog, bytes_of_text(name));
    if (found == NULL || found->created_version > view->position.version)
        return read_refuse(refusal, STATUS_NO_TABLE, "Table", name);
    *table = found;
    return STATUS_OK;
}

static enum status read_indexes(const struct catalog_table *table, const struct record *from,
                                struct arena *arena, Strait__Record *record)
{
    struct bytes rest = from->indexes;
    struct record_index entry;

    record->indexes = arena_alloc_zeroed(arena, from->indexes_count, sizeof *record->indexes);
    Strait__IndexEntry *entries = arena_alloc_zeroed(arena, from->indexes_count, sizeof *entries);
    if (record->indexes == NULL || entries == NULL)
        return STATUS_NO_MEMORY;
    while (record_index_next(&rest, &entry)) {
        const struct catalog_index *index = catalog_index_by_id(table, entry.index_id);
        if (index == NULL)
            continue;
        Strait__IndexEntry *to = &entries[record->n_indexes];
        strait__index_entry__init(to);
        to->index = (char *)(uintptr_t)index->name.text;
        to->key = field_of_bytes(entry.key);
        record->indexes[record->n_indexes++] = to;
    }
    return STATUS_OK;
}

enum status read_record(const struct catalog_table *table, struct bytes value, uint64_t version,
                        struct arena *arena, Strait__Record *record)
{
    struct record decoded;
    enum status status = record_decode(value, &decoded);
    if (status != STATUS_OK)
        return status;
    record->found = true;
    record->version = version;
    record->value = field_of_bytes(decoded.value);
    record->expires_at_ms = decoded.expires_at_ms;
    return decoded.indexes_count == 0 ? STATUS_OK : read_indexes(table, &decoded, arena, record);
}

size_t read_record_size(const Strait__Record *record)
{
    size_t size =
        read_record_overhead_size + record->key.len + record->value.len + record->index_key.len;
    for (size_t i = 0; i < record->n_indexes; i++)
        size += read_record_overhead_size + record->indexes[i]->key.len;
    return size;
}

/* ---- Get ---- */

static enum status get_key(struct state_view *view, struct lsm_wait *wait, const Strait__Key *key,
                           struct arena *arena, Strait__Record **made,
                           struct state_refusal *refusal)
{
    const struct catalog_table *table;
    struct keys_buffer buffer;
    struct lsm_value value;

    _Static_assert(limit_key_size == 1024, "as the text says");
    if (key->key.len == 0)
        return read_refuse(refusal, STATUS_INVALID_ARGUMENT,
                           "A key has 1 to 1024 bytes, and is empty for table", key->table);
    if (key->key.len > limit_key_size)
        return read_refuse(refusal, STATUS_INVALID_ARGUMENT,
                           "A key has 1 to 1024 bytes, and is longer for table", key->table);
    enum status status = read_table_find(view, key->table, &table, refusal);
    if (status != STATUS_OK)
        return status;
    keys_with_id(&buffer, table->id, commit_bytes(key->key));
    status = lsm_get(view->lsm, wait, STATE_TREE_RECORDS, keys_bytes(&buffer), &value);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        return status;
    Strait__Record *record = arena_alloc(arena, sizeof *record);
    if (record == NULL)
        return STATUS_NO_MEMORY;
    strait__record__init(record);
    record->key = key->key;
    if (status == STATUS_OK)
        status = read_record(table, value.value, value.version, arena, record);
    else
        status = STATUS_OK;
    if (status == STATUS_OK)
        *made = record;
    return status;
}

enum status state_get(struct state_view *view, struct lsm_wait *wait, const Strait__Get *request,
                      struct arena *arena, Strait__GetReply *reply, struct state_refusal *refusal)
{
    enum status result = STATUS_OK;
    size_t size = 0;

    if (request->n_keys > limit_get_keys_count)
        return read_refuse(refusal, STATUS_TOO_LARGE, "At most 1000 keys in one request", "");
    if (reply->records == NULL) {
        reply->records = arena_alloc_zeroed(arena, request->n_keys, sizeof *reply->records);
        if (reply->records == NULL)
            return STATUS_NO_MEMORY;
    }
    for (size_t i = 0; i < request->n_keys; i++) {
        if (reply->records[i] == NULL) {
            enum status status =
                get_key(view, wait, request->keys[i], arena, &reply->records[i], refusal);
            if (status == STATUS_AGAIN)
                result = status;
            else if (status != STATUS_OK)
                return status;
        }
        if (reply->records[i] != NULL)
            size += read_record_size(reply->records[i]);
        if (size > limit_reply_size && i != 0)
            return read_refuse(refusal, STATUS_TOO_LARGE,
                               "The records are too large together: ask for fewer keys", "");
    }
    if (result == STATUS_OK)
        reply->n_records = request->n_keys;
    return result;
}

/* ---- Outcomes ---- */

enum status state_outcome(struct state_view *view, struct lsm_wait *wait,
                          const Strait__TxnStatus *request, struct arena *arena,
                          Strait__TxnStatusReply *reply, struct state_refusal *refusal)
{
    uint8_t key[outcome_key_size];
    struct lsm_value value;
    struct outcome outcome;

    if (request->txn_id.len != outcome_id_size)
        return read_refuse(refusal, STATUS_INVALID_ARGUMENT, "A transaction's id has 16 bytes", "");
    reply->state = STRAIT__TXN_STATUS_REPLY__STATE__UNKNOWN;
    if (request->issued_ns < mark_outcomes_floor_ns(&view->mark)) {
        reply->state = STRAIT__TXN_STATUS_REPLY__STATE__EXPIRED;
        return STATUS_OK;
    }
    outcome_key_encode(request->issued_ns, request->txn_id.data, key);
    enum status status =
        lsm_get(view->lsm, wait, STATE_TREE_OUTCOMES, bytes_of(key, sizeof key), &value);
    if (status == STATUS_NOT_FOUND) {
        if (request->issued_ns <= view->mark.log_time_ns &&
            !mark_issued_is_valid(&view->mark, request->issued_ns))
            reply->state = STRAIT__TXN_STATUS_REPLY__STATE__EXPIRED;
        return STATUS_OK;
    }
    if (status == STATUS_OK)
        status = outcome_decode(value.value, &outcome);
    if (status != STATUS_OK)
        return status;
    reply->state = outcome.status == STATUS_OK ? STRAIT__TXN_STATUS_REPLY__STATE__COMMITTED
                                               : STRAIT__TXN_STATUS_REPLY__STATE__REFUSED;
    reply->status = (uint32_t)outcome.status;
    struct state_position position = view->position;
    position.version = outcome.version;
    position.log_time_ns = outcome.log_time_ns;
    reply->position = state_position_message(&position, arena);
    return reply->position == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

/* ---- Tables ---- */

static enum status table_message(const struct catalog_table *table, struct arena *arena,
                                 Strait__TableListReply__Table **made)
{
    Strait__TableListReply__Table *message = arena_alloc(arena, sizeof *message);
    if (message == NULL)
        return STATUS_NO_MEMORY;
    strait__table_list_reply__table__init(message);
    message->name = (char *)(uintptr_t)table->name.text;
    message->indexes = arena_alloc_zeroed(arena, table->indexes_count, sizeof *message->indexes);
    Strait__TableListReply__Index *indexes =
        arena_alloc_zeroed(arena, table->indexes_count, sizeof *indexes);
    if (message->indexes == NULL || indexes == NULL)
        return STATUS_NO_MEMORY;
    for (unsigned i = 0; i < table->indexes_count; i++) {
        strait__table_list_reply__index__init(&indexes[i]);
        indexes[i].name = (char *)(uintptr_t)table->indexes[i].name.text;
        indexes[i].unique = table->indexes[i].unique;
        message->indexes[i] = &indexes[i];
    }
    message->n_indexes = table->indexes_count;
    *made = message;
    return STATUS_OK;
}

enum status state_tables(struct state_view *view, struct arena *arena,
                         Strait__TableListReply *reply)
{
    const struct catalog *catalog = view->catalog;
    enum status status = STATUS_OK;

    reply->tables = arena_alloc_zeroed(arena, catalog->tables_count, sizeof *reply->tables);
    if (reply->tables == NULL)
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < catalog->tables_count && status == STATUS_OK; i++) {
        if (catalog->tables[i].created_version > view->position.version)
            continue;
        status = table_message(&catalog->tables[i], arena, &reply->tables[reply->n_tables]);
        reply->n_tables += status == STATUS_OK;
    }
    return status;
}

/* ---- Validating before proposing ---- */

/* Whether the commit was applied before: a retry of what was done would conflict with itself. */
static enum status has_outcome(struct state_view *view, struct lsm_wait *wait,
                               const Strait__Commit *commit, bool *found)
{
    uint8_t key[outcome_key_size];
    struct lsm_value value;

    *found = true;
    if (commit->issued_ns < mark_outcomes_floor_ns(&view->mark))
        return STATUS_OK;
    outcome_key_encode(commit->issued_ns, commit->txn_id.data, key);
    enum status status =
        lsm_get(view->lsm, wait, STATE_TREE_OUTCOMES, bytes_of(key, sizeof key), &value);
    *found = status == STATUS_OK;
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status state_validate(struct state_view *view, struct lsm_wait *wait,
                           const Strait__Commit *commit, struct state_refusal *refusal)
{
    size_t count = commit->n_reads + commit->n_ranges;
    unsigned lookups_left = UINT32_MAX;
    bool found;

    ASSERT(commit->txn_id.len == outcome_id_size);
    *refusal = (struct state_refusal){0};
    if (count == 0)
        return STATUS_OK;
    if (view->validation_done == NULL) {
        enum status status = has_outcome(view, wait, commit, &found);
        if (status != STATUS_OK || found)
            return status;
        view->validation_done = malloc(count);
        if (view->validation_done == NULL)
            return STATUS_NO_MEMORY;
        const struct validation_history history = {.version = view->mark.version,
                                                   .horizon = view->mark.horizon,
                                                   .is_lost =
                                                       state_snapshot_is_lost(view->state, commit)};
        validation_init(&view->validation, commit, view->catalog, &history, view->validation_done);
    }
    ASSERT(view->validation.commit == commit);
    enum status status = validation_step(&view->validation, view->lsm, wait, &lookups_left);
    enum status verdict = view->validation.verdict;
    if (status != STATUS_OK || (verdict != STATUS_CONFLICT && verdict != STATUS_SNAPSHOT_TOO_OLD))
        return status;
    commit_refusal_text(commit, verdict, 0, false, refusal->text);
    return verdict;
}
