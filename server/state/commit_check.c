/* SPDX-License-Identifier: Apache-2.0 */
#include "server/state/commit_check.h"

#include <stdio.h>

#include "proto/limits.h"
#include "proto/name.h"
#include "server/state/outcome.h"

enum { ms_per_day = 24 * 60 * 60 * 1000, advice_size = 192 };

static enum status check_name(const char *name)
{
    return name_text_is_valid(name) ? STATUS_OK : STATUS_INVALID_ARGUMENT;
}

static enum status check_key(const char *table, ProtobufCBinaryData key)
{
    if (key.len > limit_key_size)
        return STATUS_TOO_LARGE;
    if (key.len == 0)
        return STATUS_INVALID_ARGUMENT;
    return check_name(table);
}

static enum status check_put(const Strait__Put *put)
{
    if (put->value.len > limit_value_size || put->n_indexes > limit_record_indexes_count)
        return STATUS_TOO_LARGE;
    if (put->ttl_ms > (uint64_t)limit_ttl_days * ms_per_day)
        return STATUS_INVALID_ARGUMENT;
    for (size_t i = 0; i < put->n_indexes; i++) {
        if (put->indexes[i]->key.len > limit_index_key_size)
            return STATUS_TOO_LARGE;
        if (!name_text_is_valid(put->indexes[i]->index))
            return STATUS_INVALID_ARGUMENT;
    }
    return check_key(put->table, put->key);
}

static enum status check_add(const Strait__Add *add)
{
    if (add->has_minimum && add->has_maximum && add->minimum > add->maximum)
        return STATUS_INVALID_ARGUMENT;
    return check_key(add->table, add->key);
}

static enum status check_index_of(const char *table, const char *index)
{
    enum status status = check_name(table);
    return status == STATUS_OK ? check_name(index) : status;
}

static enum status check_operation(const Strait__Operation *operation)
{
    switch (operation->kind_case) {
    case STRAIT__OPERATION__KIND_PUT:
        return check_put(operation->put);
    case STRAIT__OPERATION__KIND_DELETE:
        return check_key(operation->delete_->table, operation->delete_->key);
    case STRAIT__OPERATION__KIND_ADD:
        return check_add(operation->add);
    case STRAIT__OPERATION__KIND_TABLE_CREATE:
        return check_name(operation->table_create->table);
    case STRAIT__OPERATION__KIND_TABLE_DROP:
        return check_name(operation->table_drop->table);
    case STRAIT__OPERATION__KIND_INDEX_CREATE:
        return check_index_of(operation->index_create->table, operation->index_create->index);
    case STRAIT__OPERATION__KIND_INDEX_DROP:
        return check_index_of(operation->index_drop->table, operation->index_drop->index);
    default:
        return STATUS_MALFORMED;
    }
}

static enum status check_condition(const Strait__Condition *condition)
{
    if (condition->kind < STRAIT__CONDITION__KIND__ABSENT ||
        condition->kind > STRAIT__CONDITION__KIND__VALUE_IS)
        return STATUS_MALFORMED;
    if (condition->value.len > limit_value_size)
        return STATUS_TOO_LARGE;
    return check_key(condition->table, condition->key);
}

static enum status check_range(const Strait__Range *range)
{
    bool is_index = range->index[0] != 0;
    size_t size_max = is_index ? limit_index_key_size : limit_key_size;
    if (range->start.len > size_max || range->end.len > size_max)
        return STATUS_TOO_LARGE;
    return is_index ? check_index_of(range->table, range->index) : check_name(range->table);
}

static enum status check_counts(const Strait__Commit *commit)
{
    if (commit->n_operations > limit_txn_operations_count ||
        commit->n_conditions > limit_txn_conditions_count ||
        commit->n_reads > limit_txn_reads_count || commit->n_ranges > limit_txn_ranges_count)
        return STATUS_TOO_LARGE;
    if (commit->txn_id.len != outcome_id_size ||
        (commit->durability != STRAIT__DURABILITY__REGION &&
         commit->durability != STRAIT__DURABILITY__REMOTE) ||
        (commit->snapshot == 0 && commit->n_reads + commit->n_ranges != 0))
        return STATUS_MALFORMED;
    return STATUS_OK;
}

static enum status check_reads(const Strait__Commit *commit)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < commit->n_reads && status == STATUS_OK; i++)
        status = check_key(commit->reads[i]->table, commit->reads[i]->key);
    for (size_t i = 0; i < commit->n_ranges && status == STATUS_OK; i++)
        status = check_range(commit->ranges[i]);
    return status;
}

bool commit_operation_is_schema(const Strait__Operation *operation)
{
    return operation->kind_case == STRAIT__OPERATION__KIND_TABLE_CREATE ||
           operation->kind_case == STRAIT__OPERATION__KIND_TABLE_DROP ||
           operation->kind_case == STRAIT__OPERATION__KIND_INDEX_CREATE ||
           operation->kind_case == STRAIT__OPERATION__KIND_INDEX_DROP;
}

static enum status check_items(const Strait__Commit *commit, struct state_precheck *precheck,
                               struct state_refusal *refusal)
{
    enum status status = STATUS_OK;
    bool has_data = false;
    for (size_t i = 0; i < commit->n_conditions && status == STATUS_OK; i++) {
        status = check_condition(commit->conditions[i]);
        refusal->item_is_condition = true;
        refusal->item = (uint32_t)i + 1;
    }
    for (size_t i = 0; i < commit->n_operations && status == STATUS_OK; i++) {
        bool is_schema = commit_operation_is_schema(commit->operations[i]);
        precheck->has_schema |= is_schema;
        has_data |= !is_schema;
        status = check_operation(commit->operations[i]);
        if (status == STATUS_OK && precheck->has_schema && has_data)
            status = STATUS_INVALID_ARGUMENT;
        refusal->item_is_condition = false;
        refusal->item = (uint32_t)i + 1;
    }
    return status;
}

enum status state_precheck(const Strait__Commit *commit, struct state_precheck *precheck,
                           struct state_refusal *refusal)
{
    *precheck = (struct state_precheck){0};
    *refusal = (struct state_refusal){0};
    enum status status = check_counts(commit);
    if (status == STATUS_OK)
        status = check_reads(commit);
    if (status == STATUS_OK) {
        status = check_items(commit, precheck, refusal);
        if (status == STATUS_OK)
            *refusal = (struct state_refusal){0};
    }
    if (status != STATUS_OK)
        commit_refusal_text(commit, status, refusal->item, refusal->item_is_condition,
                            refusal->text);
    return status;
}

/* ---- Words ---- */

/* What the operation does and to which table. */
static const char *operation_words(const Strait__Operation *operation, const char **table)
{
    *table = NULL;
    switch (operation->kind_case) {
    case STRAIT__OPERATION__KIND_PUT:
        *table = operation->put->table;
        return "put into table";
    case STRAIT__OPERATION__KIND_DELETE:
        *table = operation->delete_->table;
        return "delete from table";
    case STRAIT__OPERATION__KIND_ADD:
        *table = operation->add->table;
        return "add in table";
    case STRAIT__OPERATION__KIND_TABLE_CREATE:
        *table = operation->table_create->table;
        return "create table";
    case STRAIT__OPERATION__KIND_TABLE_DROP:
        *table = operation->table_drop->table;
        return "drop table";
    case STRAIT__OPERATION__KIND_INDEX_CREATE:
        *table = operation->index_create->table;
        return "create an index of table";
    case STRAIT__OPERATION__KIND_INDEX_DROP:
        *table = operation->index_drop->table;
        return "drop an index of table";
    default:
        return "of no known kind";
    }
}

static const char *advice(enum status status)
{
    switch (status) {
    case STATUS_CONFLICT:
    case STATUS_SNAPSHOT_TOO_OLD:
        return " Read again at a new snapshot, and commit that.";
    case STATUS_TXN_EXPIRED:
        return " If an earlier attempt may have been made, ask for what it did; else send it under "
               "a new transaction id.";
    case STATUS_TXN_MISMATCH:
        return " Give each transaction an id of its own.";
    case STATUS_TOO_LARGE:
        return " Split it into smaller transactions, or make keys and values shorter.";
    case STATUS_INVALID_ARGUMENT:
        return " Names are [a-z][a-z0-9_-]*, keys are not empty, and changes of the schema stand "
               "in a transaction of their own.";
    case STATUS_NO_TABLE:
        return " Create it first.";
    case STATUS_NO_INDEX:
        return " Create it first: an index holds what is put after it was made.";
    default:
        return "";
    }
}

/* What a key breaks, with the limit. False: nothing. */
static bool key_advice(ProtobufCBinaryData key, char text[advice_size])
{
    if (key.len != 0 && key.len <= limit_key_size)
        return false;
    (void)snprintf(text, advice_size,
                   key.len == 0
                       ? " Its key is empty: one has 1 to %d bytes."
                       : " Its key is too long: one has 1 to %d bytes; shorten it, or use a "
                         "digest of it.",
                   limit_key_size);
    return true;
}

static bool put_advice(const Strait__Put *put, char text[advice_size])
{
    if (key_advice(put->key, text))
        return true;
    if (put->value.len > limit_value_size)
        (void)snprintf(text, advice_size,
                       " Its value has %zu bytes, and may have at most %d: split it over several "
                       "records.",
                       put->value.len, limit_value_size);
    else if (put->ttl_ms > (uint64_t)limit_ttl_days * ms_per_day)
        (void)snprintf(text, advice_size,
                       " Its time to live is %llu days, and may be at most %d: give a shorter one, "
                       "or none, which keeps the record.",
                       (unsigned long long)(put->ttl_ms / ms_per_day), limit_ttl_days);
    else if (put->n_indexes > limit_record_indexes_count)
        (void)snprintf(text, advice_size, " It has %zu index entries, and may have at most %d.",
                       put->n_indexes, limit_record_indexes_count);
    else
        return false;
    return true;
}

static bool add_advice(const Strait__Add *add, char text[advice_size])
{
    if (key_advice(add->key, text))
        return true;
    if (!add->has_minimum || !add->has_maximum || add->minimum <= add->maximum)
        return false;
    (void)snprintf(text, advice_size,
                   " Its minimum, %lld, is above its maximum, %lld: no number is within both.",
                   (long long)add->minimum, (long long)add->maximum);
    return true;
}

/* The limit that this operation breaks, or what it is that lacks; else what helps with the status
 * in general. */
static const char *item_advice(const Strait__Operation *operation, enum status status,
                               char text[advice_size])
{
    bool is_limit = status == STATUS_INVALID_ARGUMENT || status == STATUS_TOO_LARGE;
    switch (operation->kind_case) {
    case STRAIT__OPERATION__KIND_PUT:
        return is_limit && put_advice(operation->put, text) ? text : advice(status);
    case STRAIT__OPERATION__KIND_DELETE:
        return is_limit && key_advice(operation->delete_->key, text) ? text : advice(status);
    case STRAIT__OPERATION__KIND_ADD:
        return is_limit && add_advice(operation->add, text) ? text : advice(status);
    case STRAIT__OPERATION__KIND_TABLE_DROP:
        return status == STATUS_NO_TABLE
                   ? " It was dropped before, or never made: `strait table list` names those there "
                     "are."
                   : advice(status);
    case STRAIT__OPERATION__KIND_INDEX_DROP:
        return status == STATUS_NO_TABLE || status == STATUS_NO_INDEX
                   ? " It was dropped before, or never made: `strait index list` names those there "
                     "are."
                   : advice(status);
    default:
        return advice(status);
    }
}

void commit_refusal_text(const Strait__Commit *commit, enum status status, uint32_t item,
                         bool item_is_condition, char text[state_text_size])
{
    const char *table = NULL;
    const char *words = NULL;
    char specific[advice_size];
    const char *next = advice(status);
    bool has_item = commit != NULL && item != 0 &&
                    item <= (item_is_condition ? commit->n_conditions : commit->n_operations);
    if (has_item && item_is_condition) {
        words = "on table";
        table = commit->conditions[item - 1]->table;
    } else if (has_item) {
        words = operation_words(commit->operations[item - 1], &table);
        next = item_advice(commit->operations[item - 1], status, specific);
    }
    if (table != NULL && name_text_is_valid(table))
        (void)snprintf(text, state_text_size, "%s %u (%s %s): %s.%s",
                       item_is_condition ? "Condition" : "Operation", item, words, table,
                       status_text(status), next);
    else if (has_item)
        (void)snprintf(text, state_text_size, "%s %u (%s): %s.%s",
                       item_is_condition ? "Condition" : "Operation", item, words,
                       status_text(status), next);
    else
        (void)snprintf(text, state_text_size, "The transaction: %s.%s", status_text(status), next);
}
