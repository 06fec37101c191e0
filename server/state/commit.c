/* SPDX-License-Identifier: Apache-2.0 */
/* The command COMMIT: conditions, reads and operations of one transaction, all or nothing.
 *
 * What is answered, in this order, so that every replica finds the same reason:
 *     MALFORMED                       the bytes are no commit, or have no transaction id
 *     the outcome of an earlier attempt, or TXN_MISMATCH
 *     TXN_EXPIRED                     issued before what is kept, or in the future
 *     MALFORMED, TOO_LARGE, INVALID_ARGUMENT   as state_precheck() tells
 *     SNAPSHOT_TOO_OLD, HISTORY_LOST, NO_TABLE, NO_INDEX, CONFLICT   of what was read
 *     the first condition that fails
 *     the first operation that fails
 * From the fourth line on, the answer is kept as the transaction's outcome.
 *
 * One wave of look-ups is enough: the outcome, what was read, and all records and unique keys that
 * the commit names. What a found record names (its old entries) is not read: it is the record's. */
#include "proto/base/assert.h"
#include "proto/base/planted.h"
#include "proto/message.h"
#include "proto/number.h"
#include "server/state/command.h"
#include "server/state/commit_check.h"
#include "server/state/schema.h"
#include "server/state/state_internal.h"
#include "server/state/version.h"

/* ---- Planning ---- */

static struct overlay_cell *record_cell(struct apply *apply, const struct catalog_table *table,
                                        ProtobufCBinaryData key)
{
    struct keys_buffer buffer;
    keys_with_id(&buffer, table->id, commit_bytes(key));
    struct overlay_cell *cell =
        overlay_cell(&apply->overlay, STATE_TREE_RECORDS, keys_bytes(&buffer));
    if (cell != NULL)
        cell->table = table;
    return cell;
}

static enum status plan_condition(struct apply *apply, const Strait__Condition *condition,
                                  struct commit_condition *planned)
{
    const struct catalog_table *table =
        catalog_table_find(apply->state->catalog, bytes_of_text(condition->table));
    if (table == NULL)
        return STATUS_NO_TABLE;
    planned->cell = record_cell(apply, table, condition->key);
    if (planned->cell == NULL)
        return STATUS_OK;
    overlay_want(&apply->overlay, planned->cell);
    if (condition->kind == STRAIT__CONDITION__KIND__VALUE_IS)
        planned->comparison =
            overlay_compare(&apply->overlay, planned->cell, commit_bytes(condition->value));
    return STATUS_OK;
}

/* The table's old records have nothing that a put or a delete must take away with them. */
static bool is_blind(const struct catalog_table *table)
{
    return table->indexes_count == 0 && !table->expires;
}

/* Resolves the put's index entries into the record's encoding. */
static enum status plan_indexes(struct apply *apply, const struct catalog_table *table,
                                const Strait__Put *put, struct record *record)
{
    struct record_index entries[limit_record_indexes_count];
    size_t count = put->n_indexes;

    ASSERT(count <= limit_record_indexes_count);
    for (size_t i = 0; i < count; i++) {
        const struct catalog_index *index =
            catalog_index_find(table, bytes_of_text(put->indexes[i]->index));
        if (index == NULL)
            return STATUS_NO_INDEX;
        entries[i] =
            (struct record_index){.index_id = index->id, .key = commit_bytes(put->indexes[i]->key)};
    }
    if (count == 0)
        return STATUS_OK;
    record_indexes_sort(entries, &count);
    size_t size = record_indexes_size(entries, count);
    uint8_t *encoded = overlay_alloc(&apply->overlay, size);
    if (encoded == NULL)
        return STATUS_OK;
    record_indexes_encode(entries, count, encoded);
    record->indexes_count = (unsigned)count;
    record->indexes = bytes_of(encoded, size);
    overlay_want_uniques(&apply->overlay, table, record->indexes);
    return STATUS_OK;
}

/* From the first record that expires on, puts into the table look for the old one's expiry. */
static enum status table_expires(struct apply *apply, const struct catalog_table **table)
{
    if ((*table)->expires)
        return STATUS_OK;
    struct catalog *draft = apply_draft(apply);
    if (draft == NULL)
        return STATUS_NO_MEMORY;
    struct catalog_table *changed = catalog_table_by_id(draft, (*table)->id);
    ASSERT(changed != NULL);
    changed->expires = true;
    *table = changed;
    return STATUS_OK;
}

static enum status plan_put(struct apply *apply, const struct catalog_table *table,
                            const Strait__Put *put, struct commit_planned *planned)
{
    bool blind = is_blind(table);
    planned->put = (struct record){.value = commit_bytes(put->value)};
    enum status status = plan_indexes(apply, table, put, &planned->put);
    if (status == STATUS_OK && put->ttl_ms != 0) {
        /* Rounded up: whoever holds a lease for so long has it for all of that. */
        planned->put.expires_at_ms = state_ms_past_ns(apply->next.log_time_ns) + put->ttl_ms;
        status = table_expires(apply, &table);
    }
    if (status != STATUS_OK)
        return status;
    planned->cell = record_cell(apply, table, put->key);
    if (planned->cell != NULL && !blind)
        overlay_want(&apply->overlay, planned->cell);
    return STATUS_OK;
}

static enum status plan_operation(struct apply *apply, const Strait__Operation *operation,
                                  struct commit_planned *planned)
{
    const char *name = operation->kind_case == STRAIT__OPERATION__KIND_PUT ? operation->put->table
                       : operation->kind_case == STRAIT__OPERATION__KIND_DELETE
                           ? operation->delete_->table
                           : operation->add->table;
    const struct catalog_table *table =
        catalog_table_find(apply_catalog(apply), bytes_of_text(name));
    if (table == NULL)
        return STATUS_NO_TABLE;
    switch (operation->kind_case) {
    case STRAIT__OPERATION__KIND_PUT:
        return plan_put(apply, table, operation->put, planned);
    case STRAIT__OPERATION__KIND_DELETE:
        planned->cell = record_cell(apply, table, operation->delete_->key);
        if (planned->cell != NULL && !is_blind(table))
            overlay_want(&apply->overlay, planned->cell);
        return STATUS_OK;
    case STRAIT__OPERATION__KIND_ADD:
        planned->cell = record_cell(apply, table, operation->add->key);
        if (planned->cell != NULL) {
            planned->cell->keep_value = true;
            overlay_want(&apply->overlay, planned->cell);
        }
        return STATUS_OK;
    default:
        UNREACHABLE();
    }
}

/* Each stops at what cannot be resolved: that fails unless something before it does. */
static enum status plan_items(struct apply *apply)
{
    struct commit *commit = &apply->commit;
    const Strait__Commit *message = commit->message;
    enum status status = STATUS_OK;
    size_t reads_count = message->n_reads + message->n_ranges;

    uint8_t *done = overlay_alloc(&apply->overlay, reads_count);
    commit->conditions =
        overlay_alloc(&apply->overlay, message->n_conditions * sizeof *commit->conditions);
    commit->operations =
        overlay_alloc(&apply->overlay, message->n_operations * sizeof *commit->operations);
    if (done == NULL || commit->conditions == NULL || commit->operations == NULL)
        return STATUS_OK;
    const struct validation_history history = {.version = apply->state->mark.version,
                                               .horizon = apply->state->mark.horizon,
                                               .is_lost =
                                                   state_snapshot_is_lost(apply->state, message)};
    validation_init(&commit->validation, message, apply->state->catalog, &history, done);
    for (size_t i = 0; i < message->n_conditions && status == STATUS_OK; i++) {
        commit->conditions[i] = (struct commit_condition){0};
        status = plan_condition(apply, message->conditions[i], &commit->conditions[i]);
        commit->conditions_count += status == STATUS_OK;
    }
    commit->condition_failure = status;
    for (size_t i = 0; i < message->n_operations && status == STATUS_OK && !commit->has_schema &&
                       apply->overlay.failure == STATUS_OK;
         i++) {
        commit->operations[i] = (struct commit_planned){0};
        status = plan_operation(apply, message->operations[i], &commit->operations[i]);
        commit->operations_count += status == STATUS_OK;
    }
    commit->operation_failure = status;
    return status == STATUS_NO_MEMORY ? status : STATUS_OK;
}

static enum status commit_plan(struct apply *apply)
{
    struct commit *commit = &apply->commit;
    struct state_precheck precheck;
    ProtobufCMessage *message;

    message_arena_init(&apply->decoding, apply->entry.body.size);
    apply->decoding_used = true;
    if (message_decode(&strait__commit__descriptor, apply->entry.body, true, &apply->decoding,
                       &message) != STATUS_OK)
        return STATUS_OK;
    commit->message = (Strait__Commit *)message;
    if (commit->message->txn_id.len != outcome_id_size) {
        commit->message = NULL;
        return STATUS_OK;
    }
    uint64_t issued_ns = commit->message->issued_ns;
    commit->check = state_precheck(commit->message, &precheck, &commit->check_refusal);
    commit->has_schema = precheck.has_schema;
    commit->content = hash128(apply->entry.body);
    commit->is_issued_valid = mark_issued_is_valid(&apply->next, issued_ns);
    commit->looked_up =
        issued_ns < mark_outcomes_floor_ns(&apply->next) || issued_ns > apply->next.log_time_ns;
    outcome_key_encode(issued_ns, commit->message->txn_id.data, commit->outcome_key);
    if (commit->check != STATUS_OK || !commit->is_issued_valid)
        return STATUS_OK;
    return plan_items(apply);
}

/* ---- Gathering ---- */

static enum status look_up_outcome(struct apply *apply)
{
    struct commit *commit = &apply->commit;
    struct lsm_value value;

    if (commit->looked_up || PLANTED(state_outcome_unread))
        return STATUS_OK;
    enum status status = lsm_get(apply->view, &apply->wait, STATE_TREE_OUTCOMES,
                                 bytes_of(commit->outcome_key, sizeof commit->outcome_key), &value);
    if (status == STATUS_AGAIN)
        return status;
    if (status == STATUS_OK &&
        !(PLANTED(state_outcomes_volatile) && value.version <= apply->state->opened_version)) {
        commit->found = true;
        status = outcome_decode(value.value, &commit->outcome);
    } else if (status == STATUS_NOT_FOUND) {
        status = STATUS_OK;
    }
    commit->looked_up = status == STATUS_OK;
    return status;
}

static enum status commit_gather(struct apply *apply)
{
    struct commit *commit = &apply->commit;
    unsigned lookups_left = apply_lookups_max;

    if (commit->message == NULL)
        return STATUS_OK;
    enum status outcome = look_up_outcome(apply);
    if (outcome != STATUS_OK && outcome != STATUS_AGAIN)
        return outcome;
    if (commit->found || commit->check != STATUS_OK || !commit->is_issued_valid)
        return outcome;
    enum status validation = STATUS_OK;
    if (commit->validation.commit != NULL)
        validation = validation_step(&commit->validation, apply->view, &apply->wait, &lookups_left);
    /* Ranges are walked with the view's help, which gathering the cells would take away. */
    if (validation != STATUS_OK)
        return validation;
    enum status cells = overlay_gather(&apply->overlay, apply->view, &apply->wait, &lookups_left);
    if (cells != STATUS_OK && cells != STATUS_AGAIN)
        return cells;
    return cells == STATUS_AGAIN ? cells : outcome;
}

/* ---- Executing ---- */

static bool condition_holds(const Strait__Condition *condition,
                            const struct commit_condition *planned)
{
    const struct overlay_cell *cell = planned->cell;
    ASSERT(cell->gathered);
    switch (condition->kind) {
    case STRAIT__CONDITION__KIND__ABSENT:
        return !cell->found;
    case STRAIT__CONDITION__KIND__EXISTS:
        return cell->found;
    case STRAIT__CONDITION__KIND__VERSION_IS:
        return (cell->found ? cell->version : 0) == condition->version;
    case STRAIT__CONDITION__KIND__VALUE_IS:
        return cell->found && planned->comparison->equal;
    default:
        UNREACHABLE();
    }
}

static enum status execute_add(struct apply *apply, const Strait__Add *add,
                               struct overlay_cell *cell)
{
    struct bytes value;
    int64_t number = add->initial;
    char text[number_text_size];

    if (!cell->present && add->must_exist)
        return STATUS_NOT_FOUND;
    if (cell->present &&
        (cell->value_missing || number_parse(cell->after.value, &number) != STATUS_OK))
        return STATUS_NOT_A_NUMBER;
    if (__builtin_add_overflow(number, add->amount, &number) ||
        (add->has_minimum && number < add->minimum) || (add->has_maximum && number > add->maximum))
        return STATUS_OUT_OF_BOUNDS;
    size_t size = number_format(number, text);
    if (overlay_copy(&apply->overlay, bytes_of(text, size), &value))
        overlay_value_set(cell, value);
    return STATUS_OK;
}

static enum status execute_operation(struct apply *apply, size_t number)
{
    struct commit *commit = &apply->commit;
    const Strait__Operation *operation = commit->message->operations[number];

    if (commit->has_schema)
        return schema_execute(apply, operation);
    if (number >= commit->operations_count)
        return commit->operation_failure;
    struct commit_planned *planned = &commit->operations[number];
    switch (operation->kind_case) {
    case STRAIT__OPERATION__KIND_PUT:
        return overlay_put(&apply->overlay, planned->cell, &planned->put);
    case STRAIT__OPERATION__KIND_DELETE:
        overlay_delete(&apply->overlay, planned->cell);
        return STATUS_OK;
    case STRAIT__OPERATION__KIND_ADD:
        return execute_add(apply, operation->add, planned->cell);
    default:
        UNREACHABLE();
    }
}

static void write_outcome(struct apply *apply)
{
    struct commit *commit = &apply->commit;
    const struct state_result *result = &apply->result;
    struct outcome outcome = {.content = commit->content,
                              .version = result->version,
                              .log_time_ns = result->log_time_ns,
                              .item = result->item,
                              .status = result->status,
                              .item_is_condition = result->item_is_condition};
#if defined(STRAIT_NEXT)
    /* A change as a version brings one: what is done keeps how many operations it had. */
    bool is_ungated = PLANTED(state_version_ungated) && apply->state->cluster_version_max >= 2;
    if ((version_is_reached(&apply->next, 2) || is_ungated) && result->status == STATUS_OK)
        outcome.item = (uint32_t)commit->message->n_operations;
#endif
    outcome_encode(&outcome, commit->outcome_value);
    overlay_write(&apply->overlay, STATE_TREE_OUTCOMES,
                  bytes_of(commit->outcome_key, sizeof commit->outcome_key),
                  bytes_of(commit->outcome_value, sizeof commit->outcome_value));
}

/* Runs the whole transaction on the overlay; the first thing that fails is its refusal. */
static enum status execute_items(struct apply *apply)
{
    struct commit *commit = &apply->commit;
    const Strait__Commit *message = commit->message;
    struct state_result *result = &apply->result;

    if (commit->validation.verdict != STATUS_OK && !PLANTED(state_reads_unchecked))
        return commit->validation.verdict;
    if (apply->overlay.failure != STATUS_OK)
        return apply->overlay.failure;
    result->item_is_condition = true;
    for (size_t i = 0; i < message->n_conditions; i++) {
        result->item = (uint32_t)i + 1;
        if (i >= commit->conditions_count)
            return commit->condition_failure;
        if (!condition_holds(message->conditions[i], &commit->conditions[i]))
            return STATUS_CONDITION_FAILED;
    }
    result->item_is_condition = false;
    for (size_t i = 0; i < message->n_operations; i++) {
        result->item = (uint32_t)i + 1;
        enum status status = execute_operation(apply, i);
        if (status != STATUS_OK)
            return status;
    }
    result->item = 0;
    write_outcome(apply);
    return apply_finish(apply);
}

/* No effect but the outcome's. */
static void drop_effects(struct apply *apply)
{
    apply->next.table_id_next = apply->state->mark.table_id_next;
    apply->next.index_id_next = apply->state->mark.index_id_next;
    catalog_release(apply->draft);
    apply->draft = NULL;
    overlay_drop(&apply->overlay);
    arena_reset(&apply->arena);
}

static void refuse(struct apply *apply, enum status status)
{
    struct state_result *result = &apply->result;
    if (status == STATUS_TOO_LARGE && apply->commit.check == STATUS_OK &&
        !apply->commit.has_schema) {
        /* Which operation took the last of the memory says nothing to anyone. */
        result->item = 0;
        result->item_is_condition = false;
    }
    result->status = status;
    drop_effects(apply);
    commit_refusal_text(apply->commit.message, status, result->item, result->item_is_condition,
                        result->text);
}

/* The answer of an earlier attempt, where its content was the same. */
static void execute_repeated(struct apply *apply)
{
    const struct commit *commit = &apply->commit;
    struct state_result *result = &apply->result;
    if (commit->outcome.content.low != commit->content.low ||
        commit->outcome.content.high != commit->content.high) {
        refuse(apply, STATUS_TXN_MISMATCH);
        return;
    }
    result->item = commit->outcome.item;
    result->item_is_condition = commit->outcome.item_is_condition;
    result->version = commit->outcome.version;
    result->log_time_ns = commit->outcome.log_time_ns;
    result->repeated_reply = true;
    if (commit->outcome.status != STATUS_OK)
        refuse(apply, commit->outcome.status);
    else
        drop_effects(apply);
}

static enum status commit_execute(struct apply *apply)
{
    struct commit *commit = &apply->commit;
    struct state_result *result = &apply->result;

    if (commit->message == NULL) {
        refuse(apply, STATUS_MALFORMED);
        return STATUS_OK;
    }
    if (commit->found) {
        execute_repeated(apply);
        return STATUS_OK;
    }
    if (!commit->is_issued_valid) {
        refuse(apply, STATUS_TXN_EXPIRED);
        return STATUS_OK;
    }
    enum status status = commit->check;
    if (status != STATUS_OK) {
        result->item = commit->check_refusal.item;
        result->item_is_condition = commit->check_refusal.item_is_condition;
    } else {
        status = execute_items(apply);
    }
    if (status == STATUS_NO_MEMORY || status == STATUS_CORRUPT || status == STATUS_NEWER_FORMAT)
        return status;
    if (status != STATUS_OK) {
        refuse(apply, status);
        if (!PLANTED(state_refusal_forgotten))
            write_outcome(apply);
    }
    mark_outcome_add(&apply->next, commit->message->issued_ns);
    return STATUS_OK;
}

static void commit_published(struct apply *apply)
{
    struct state *state = apply->state;
    if (apply->result.status != STATUS_OK || apply->result.repeated_reply)
        return;
    state->written_version = apply->next.version;
    for (size_t i = 0; i < apply->commit.operations_count; i++) {
        uint64_t due_ms = apply->commit.operations[i].put.expires_at_ms;
        if (due_ms != 0 && due_ms < state->next_due_ms)
            state->next_due_ms = due_ms;
    }
}

const struct command command_commit = {
    .kind = ENTRY_COMMIT,
    .name = "commit",
    .versioned = true,
    .depth = 1,
    .plan = commit_plan,
    .gather = commit_gather,
    .execute = commit_execute,
    .published = commit_published,
};
