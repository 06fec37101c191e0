/* SPDX-License-Identifier: Apache-2.0 */
#include "client/txn.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/error.h"
#include "client/read.h"
#include "client/result.h"
#include "proto/base/assert.h"
#include "proto/limits.h"
#include "proto/name.h"

enum {
    txn_chunk_size = 4096,
    txn_arena_size = 32 * 1024 * 1024,
    txn_head_size = 224 /* of a commit besides its lists */
};

strait_txn *strait_txn_new(void)
{
    strait_txn *txn = calloc(1, sizeof *txn);
    if (txn != NULL) {
        arena_init(&txn->arena, txn_chunk_size, txn_arena_size);
        txn->size = txn_head_size;
    }
    return txn;
}

void strait_txn_free(strait_txn *txn)
{
    if (txn == NULL)
        return;
    ASSERT(!txn->is_committing);
    strait_snapshot_end(txn->snapshot);
    writes_free(&txn->writes);
    free(txn->operations.items);
    free(txn->conditions.items);
    free(txn->reads.items);
    free(txn->ranges.items);
    arena_free(&txn->arena);
    free(txn);
}

void strait_txn_clear(strait_txn *txn)
{
    ASSERT(!txn->is_committing && txn->handle == NULL);
    struct strait_txn kept = *txn;
    arena_reset(&kept.arena);
    kept.operations.count = 0;
    kept.conditions.count = 0;
    kept.reads.count = 0;
    kept.ranges.count = 0;
    *txn = (struct strait_txn){.arena = kept.arena,
                               .operations = kept.operations,
                               .conditions = kept.conditions,
                               .reads = kept.reads,
                               .ranges = kept.ranges,
                               .size = txn_head_size};
}

enum strait_status txn_fail(strait_txn *txn, enum status status)
{
    if (txn->failed == STATUS_OK)
        txn->failed = status;
    return status_public(status);
}

enum strait_status txn_fail_with(strait_txn *txn, enum status status, const char *format, ...)
{
    va_list arguments;

    if (txn->failed != STATUS_OK)
        return status_public(status);
    va_start(arguments, format);
    vsnprintf(txn->failed_text, sizeof txn->failed_text, format, arguments);
    va_end(arguments);
    return txn_fail(txn, status);
}

/* ---- Pieces ---- */

static bool list_reserve(struct txn_list *list)
{
    if (list->count < list->capacity)
        return true;
    size_t capacity = list->capacity == 0 ? 8 : list->capacity * 2;
    void **items = realloc(list->items, capacity * sizeof *items);
    if (items == NULL)
        return false;
    list->items = items;
    list->capacity = capacity;
    return true;
}

static const char *list_items(const strait_txn *txn, const struct txn_list *list)
{
    return list == &txn->operations   ? "operations"
           : list == &txn->conditions ? "conditions"
           : list == &txn->reads      ? "keys that were read"
                                      : "ranges that were read";
}

/* Adds a message of the arena, counting its size; `count_max` bounds the list. */
static enum strait_status list_add(strait_txn *txn, struct txn_list *list, size_t count_max,
                                   ProtobufCMessage *message)
{
    /* The tag, and a length of up to four bytes. */
    size_t size = protobuf_c_message_get_packed_size(message) + 5;
    if (list->count >= count_max)
        return txn_fail_with(txn, STATUS_TOO_LARGE,
                             "The transaction has more than %zu %s, which is the limit: split it "
                             "into smaller ones.",
                             count_max, list_items(txn, list));
    if (size > limit_txn_size - txn->size)
        return txn_fail_with(txn, STATUS_TOO_LARGE,
                             "The transaction has more than %d bytes, which is the limit: split it "
                             "into smaller ones.",
                             limit_txn_size);
    if (!list_reserve(list))
        return txn_fail(txn, STATUS_NO_MEMORY);
    list->items[list->count++] = message;
    txn->size += size;
    return STRAIT_OK;
}

static bool copy_text(strait_txn *txn, const char *text, char **copy)
{
    struct bytes copied;
    bool done = arena_copy(&txn->arena, bytes_of_text(text), &copied);
    *copy = done ? (char *)(uintptr_t)copied.data : (char *)(uintptr_t) "";
    return done;
}

static bool copy_bytes(strait_txn *txn, struct strait_bytes bytes, ProtobufCBinaryData *copy)
{
    struct bytes copied;
    bool done = arena_copy(&txn->arena, bytes_of(bytes.data, bytes.size), &copied);
    *copy = (ProtobufCBinaryData){.len = copied.size, .data = (uint8_t *)(uintptr_t)copied.data};
    return done;
}

#define NEW(txn, type, init, variable)                                                             \
    type *(variable) = arena_alloc(&(txn)->arena, sizeof *(variable));                             \
    if ((variable) == NULL)                                                                        \
        return txn_fail(txn, STATUS_NO_MEMORY);                                                    \
    init(variable)

/* A transaction that goes on after it has failed would do something else than was meant. */
static enum strait_status check_record(strait_txn *txn, const char *table, struct strait_bytes key)
{
    if (txn->failed != STATUS_OK)
        return status_public(txn->failed);
    struct strait_error error = {0};
    enum strait_status status = read_check_key(table, key, &error);
    return status == STRAIT_OK ? STRAIT_OK
                               : txn_fail_with(txn, (enum status)status, "%.250s", error.text);
}

static enum strait_status check_value(strait_txn *txn, const char *table, struct strait_bytes value)
{
    if (value.size <= limit_value_size)
        return STRAIT_OK;
    return txn_fail_with(txn, STATUS_TOO_LARGE,
                         "A value for table %s has %zu bytes, and may have at most %d: split it "
                         "over several records.",
                         table, value.size, limit_value_size);
}

/* ---- Operations ---- */

static enum strait_status add_operation(strait_txn *txn, Strait__Operation *operation)
{
    return list_add(txn, &txn->operations, limit_txn_operations_count, &operation->base);
}

static bool indexes_are_valid(const struct strait_put_options *options)
{
    for (size_t i = 0; i < options->indexes_count; i++) {
        if (!name_text_is_valid(options->indexes[i].index) ||
            options->indexes[i].key.size > limit_index_key_size)
            return false;
    }
    return true;
}

static enum strait_status copy_indexes(strait_txn *txn, const struct strait_put_options *options,
                                       Strait__Put *put)
{
    if (options->indexes_count > limit_record_indexes_count)
        return txn_fail(txn, STATUS_TOO_LARGE);
    if (!indexes_are_valid(options))
        return txn_fail(txn, STATUS_INVALID_ARGUMENT);
    put->indexes =
        arena_alloc_zeroed(&txn->arena, options->indexes_count, sizeof(Strait__IndexEntry *));
    if (put->indexes == NULL)
        return txn_fail(txn, STATUS_NO_MEMORY);
    for (size_t i = 0; i < options->indexes_count; i++) {
        NEW(txn, Strait__IndexEntry, strait__index_entry__init, entry);
        if (!copy_text(txn, options->indexes[i].index, &entry->index) ||
            !copy_bytes(txn, options->indexes[i].key, &entry->key))
            return txn_fail(txn, STATUS_NO_MEMORY);
        put->indexes[i] = entry;
    }
    put->n_indexes = options->indexes_count;
    return STRAIT_OK;
}

enum strait_status strait_txn_put(strait_txn *txn, const char *table, struct strait_bytes key,
                                  struct strait_bytes value,
                                  const struct strait_put_options *options)
{
    enum strait_status status = check_record(txn, table, key);
    if (status == STRAIT_OK)
        status = check_value(txn, table, value);
    if (status != STRAIT_OK)
        return status;
    NEW(txn, Strait__Operation, strait__operation__init, operation);
    NEW(txn, Strait__Put, strait__put__init, put);
    operation->kind_case = STRAIT__OPERATION__KIND_PUT;
    operation->put = put;
    if (!copy_text(txn, table, &put->table) || !copy_bytes(txn, key, &put->key) ||
        !copy_bytes(txn, value, &put->value))
        return txn_fail(txn, STATUS_NO_MEMORY);
    if (options != NULL) {
        put->ttl_ms = options->ttl_ms;
        if (options->indexes_count != 0)
            status = copy_indexes(txn, options, put);
    }
    if (status == STRAIT_OK)
        status = add_operation(txn, operation);
    if (status == STRAIT_OK && txn->handle != NULL && !writes_put(&txn->writes, &txn->arena, put))
        status = txn_fail(txn, STATUS_NO_MEMORY);
    return status;
}

enum strait_status strait_txn_del(strait_txn *txn, const char *table, struct strait_bytes key)
{
    enum strait_status status = check_record(txn, table, key);
    if (status != STRAIT_OK)
        return status;
    NEW(txn, Strait__Operation, strait__operation__init, operation);
    NEW(txn, Strait__Delete, strait__delete__init, delete);
    operation->kind_case = STRAIT__OPERATION__KIND_DELETE;
    operation->delete_ = delete;
    if (!copy_text(txn, table, &delete->table) || !copy_bytes(txn, key, &delete->key))
        return txn_fail(txn, STATUS_NO_MEMORY);
    status = add_operation(txn, operation);
    if (status == STRAIT_OK && txn->handle != NULL &&
        !writes_delete(&txn->writes, &txn->arena, delete))
        status = txn_fail(txn, STATUS_NO_MEMORY);
    return status;
}

enum strait_status strait_txn_add(strait_txn *txn, const char *table, struct strait_bytes key,
                                  int64_t amount, const struct strait_add_options *options)
{
    enum strait_status status = check_record(txn, table, key);
    if (status != STRAIT_OK)
        return status;
    NEW(txn, Strait__Operation, strait__operation__init, operation);
    NEW(txn, Strait__Add, strait__add__init, add);
    operation->kind_case = STRAIT__OPERATION__KIND_ADD;
    operation->add = add;
    add->amount = amount;
    if (options != NULL) {
        add->has_minimum = options->has_minimum;
        add->minimum = options->minimum;
        add->has_maximum = options->has_maximum;
        add->maximum = options->maximum;
        add->initial = options->initial;
        add->must_exist = options->must_exist;
    }
    if (!copy_text(txn, table, &add->table) || !copy_bytes(txn, key, &add->key))
        return txn_fail(txn, STATUS_NO_MEMORY);
    status = add_operation(txn, operation);
    if (status == STRAIT_OK && txn->handle != NULL && !writes_add(&txn->writes, &txn->arena, add))
        status = txn_fail(txn, STATUS_NO_MEMORY);
    return status;
}

/* ---- Schema ---- */

static enum strait_status check_names(strait_txn *txn, const char *table, const char *index)
{
    if (txn->failed != STATUS_OK)
        return status_public(txn->failed);
    const char *wrong = !name_text_is_valid(table)                    ? table
                        : index != NULL && !name_text_is_valid(index) ? index
                                                                      : NULL;
    if (wrong == NULL && table != NULL)
        return STRAIT_OK;
    return txn_fail_with(txn, STATUS_INVALID_ARGUMENT,
                         "'%.80s' cannot be a name: [a-z][a-z0-9_-]*, at most %d bytes.",
                         wrong != NULL ? wrong : "", limit_name_size);
}

enum strait_status strait_txn_create_table(strait_txn *txn, const char *table)
{
    enum strait_status status = check_names(txn, table, NULL);
    if (status != STRAIT_OK)
        return status;
    NEW(txn, Strait__Operation, strait__operation__init, operation);
    NEW(txn, Strait__TableCreate, strait__table_create__init, create);
    operation->kind_case = STRAIT__OPERATION__KIND_TABLE_CREATE;
    operation->table_create = create;
    if (!copy_text(txn, table, &create->table))
        return txn_fail(txn, STATUS_NO_MEMORY);
    return add_operation(txn, operation);
}

enum strait_status strait_txn_drop_table(strait_txn *txn, const char *table)
{
    enum strait_status status = check_names(txn, table, NULL);
    if (status != STRAIT_OK)
        return status;
    NEW(txn, Strait__Operation, strait__operation__init, operation);
    NEW(txn, Strait__TableDrop, strait__table_drop__init, drop);
    operation->kind_case = STRAIT__OPERATION__KIND_TABLE_DROP;
    operation->table_drop = drop;
    if (!copy_text(txn, table, &drop->table))
        return txn_fail(txn, STATUS_NO_MEMORY);
    return add_operation(txn, operation);
}

enum strait_status strait_txn_create_index(strait_txn *txn, const char *table, const char *index,
                                           bool unique)
{
    enum strait_status status = check_names(txn, table, index != NULL ? index : "");
    if (status != STRAIT_OK)
        return status;
    NEW(txn, Strait__Operation, strait__operation__init, operation);
    NEW(txn, Strait__IndexCreate, strait__index_create__init, create);
    operation->kind_case = STRAIT__OPERATION__KIND_INDEX_CREATE;
    operation->index_create = create;
    create->unique = unique;
    if (!copy_text(txn, table, &create->table) || !copy_text(txn, index, &create->index))
        return txn_fail(txn, STATUS_NO_MEMORY);
    return add_operation(txn, operation);
}

enum strait_status strait_txn_drop_index(strait_txn *txn, const char *table, const char *index)
{
    enum strait_status status = check_names(txn, table, index != NULL ? index : "");
    if (status != STRAIT_OK)
        return status;
    NEW(txn, Strait__Operation, strait__operation__init, operation);
    NEW(txn, Strait__IndexDrop, strait__index_drop__init, drop);
    operation->kind_case = STRAIT__OPERATION__KIND_INDEX_DROP;
    operation->index_drop = drop;
    if (!copy_text(txn, table, &drop->table) || !copy_text(txn, index, &drop->index))
        return txn_fail(txn, STATUS_NO_MEMORY);
    return add_operation(txn, operation);
}

/* ---- Conditions ---- */

static enum strait_status require(strait_txn *txn, Strait__Condition__Kind kind, const char *table,
                                  struct strait_bytes key, uint64_t version,
                                  struct strait_bytes value)
{
    enum strait_status status = check_record(txn, table, key);
    if (status == STRAIT_OK)
        status = check_value(txn, table, value);
    if (status != STRAIT_OK)
        return status;
    NEW(txn, Strait__Condition, strait__condition__init, condition);
    condition->kind = kind;
    condition->version = version;
    if (!copy_text(txn, table, &condition->table) || !copy_bytes(txn, key, &condition->key) ||
        !copy_bytes(txn, value, &condition->value))
        return txn_fail(txn, STATUS_NO_MEMORY);
    return list_add(txn, &txn->conditions, limit_txn_conditions_count, &condition->base);
}

enum strait_status strait_txn_require_absent(strait_txn *txn, const char *table,
                                             struct strait_bytes key)
{
    return require(txn, STRAIT__CONDITION__KIND__ABSENT, table, key, 0, strait_bytes(NULL, 0));
}

enum strait_status strait_txn_require_exists(strait_txn *txn, const char *table,
                                             struct strait_bytes key)
{
    return require(txn, STRAIT__CONDITION__KIND__EXISTS, table, key, 0, strait_bytes(NULL, 0));
}

enum strait_status strait_txn_require_version(strait_txn *txn, const char *table,
                                              struct strait_bytes key, uint64_t version)
{
    return require(txn, STRAIT__CONDITION__KIND__VERSION_IS, table, key, version,
                   strait_bytes(NULL, 0));
}

enum strait_status strait_txn_require_value(strait_txn *txn, const char *table,
                                            struct strait_bytes key, struct strait_bytes value)
{
    return require(txn, STRAIT__CONDITION__KIND__VALUE_IS, table, key, 0, value);
}

/* ---- Reads ---- */

enum strait_status strait_txn_read_version(strait_txn *txn, uint64_t version)
{
    if (version == 0 || txn->handle != NULL)
        return txn_fail(txn, STATUS_INVALID_ARGUMENT);
    txn->read_version = version;
    return STRAIT_OK;
}

enum strait_status txn_note_read(strait_txn *txn, const char *table, struct bytes key)
{
    NEW(txn, Strait__Key, strait__key__init, read);
    if (!copy_text(txn, table, &read->table) ||
        !copy_bytes(txn, strait_bytes(key.data, key.size), &read->key))
        return txn_fail(txn, STATUS_NO_MEMORY);
    return list_add(txn, &txn->reads, limit_txn_reads_count, &read->base);
}

enum strait_status strait_txn_read_key(strait_txn *txn, const char *table, struct strait_bytes key)
{
    enum strait_status status = check_record(txn, table, key);
    return status == STRAIT_OK ? txn_note_read(txn, table, bytes_of(key.data, key.size)) : status;
}

Strait__Range *txn_new_range(strait_txn *txn, const struct strait_range *range, uint8_t **bound)
{
    Strait__Range *made = arena_alloc(&txn->arena, sizeof *made);
    *bound = arena_alloc(&txn->arena, limit_key_size + 1);
    if (made == NULL || *bound == NULL)
        return NULL;
    strait__range__init(made);
    if (!copy_text(txn, range->table, &made->table) ||
        (range->index != NULL && !copy_text(txn, range->index, &made->index)) ||
        !copy_bytes(txn, range->start, &made->start) || !copy_bytes(txn, range->end, &made->end))
        return NULL;
    return made;
}

enum strait_status txn_add_range(strait_txn *txn, Strait__Range *range)
{
    return list_add(txn, &txn->ranges, limit_txn_ranges_count, &range->base);
}

enum strait_status strait_txn_read_range(strait_txn *txn, const struct strait_range *range)
{
    uint8_t *bound;

    if (txn->failed != STATUS_OK)
        return status_public(txn->failed);
    enum strait_status status = read_check_range(range, NULL);
    if (status != STRAIT_OK)
        return txn_fail(txn, (enum status)status);
    Strait__Range *made = txn_new_range(txn, range, &bound);
    return made != NULL ? txn_add_range(txn, made) : txn_fail(txn, STATUS_NO_MEMORY);
}

/* ---- Names and numbers ---- */

void strait_txn_set_durability(strait_txn *txn, enum strait_durability durability)
{
    txn->durability = durability;
}

enum strait_status strait_txn_set_remote(strait_txn *txn, const char *region,
                                         uint32_t confirm_within_ms)
{
    if (region == NULL)
        region = "";
    if (region[0] != 0 && !name_is_valid(bytes_of_text(region)))
        return txn_fail_with(txn, STATUS_INVALID_ARGUMENT, "'%.64s' is no region's name.", region);
    txn->durability = STRAIT_DURABILITY_REMOTE;
    snprintf(txn->remote_region, sizeof txn->remote_region, "%s", region);
    txn->confirm_within_ms = confirm_within_ms;
    return STRAIT_OK;
}

const char *strait_txn_confirmed_by(const strait_txn *txn)
{
    return txn->confirmed_by;
}

void strait_txn_set_id(strait_txn *txn, const uint8_t id[STRAIT_TXN_ID_SIZE])
{
    txn->id = (struct txn_id){0};
    memcpy(txn->id.bytes, id, txn_id_size);
    txn->has_id = true;
    txn->may_have_run = false;
}

enum strait_status strait_txn_set_token(strait_txn *txn, const char *token)
{
    struct txn_id id;
    if (token == NULL || txn_id_parse(bytes_of_text(token), &id) != STATUS_OK)
        return STRAIT_INVALID_ARGUMENT;
    txn->id = id;
    txn->has_id = true;
    txn->may_have_run = true;
    return STRAIT_OK;
}

void strait_txn_token(const strait_txn *txn, char token[STRAIT_TXN_TOKEN_SIZE])
{
    token[0] = 0;
    if (txn->has_id && txn->id.issued_ns != 0)
        txn_id_format(&txn->id, token);
}

void strait_txn_position(const strait_txn *txn, struct strait_token *token)
{
    *token = txn->position;
}

size_t strait_txn_operations_count(const strait_txn *txn)
{
    return txn->operations.count;
}
