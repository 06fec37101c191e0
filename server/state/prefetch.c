/* SPDX-License-Identifier: Apache-2.0 */
/* Asking for the blocks of a command that is on its way through the log, so that they are in the
 * cache when it is applied. Nothing that is found is looked at, and nothing depends on it. */
#include "proto/message.h"
#include "server/state/commit_check.h"
#include "server/state/state_internal.h"

enum { prefetch_keys_max = 1024, prefetch_pending_max = 4096 };

struct prefetch {
    struct state *state;
    struct lsm_view *view;
    unsigned keys_left;
};

static void ask(struct prefetch *prefetch, uint16_t tree, struct bytes key)
{
    struct lsm_value value;
    if (prefetch->keys_left == 0)
        return;
    prefetch->keys_left--;
    enum status status = lsm_get(prefetch->view, &prefetch->state->prefetching, tree, key, &value);
    /* Whatever is wrong with it, apply will meet it too. */
    (void)status;
}

static void ask_record(struct prefetch *prefetch, const struct catalog_table *table,
                       ProtobufCBinaryData key)
{
    struct keys_buffer buffer;
    keys_with_id(&buffer, table->id, commit_bytes(key));
    ask(prefetch, STATE_TREE_RECORDS, keys_bytes(&buffer));
}

static void ask_put(struct prefetch *prefetch, const struct catalog_table *table,
                    const Strait__Put *put)
{
    struct keys_buffer key;
    if (table->indexes_count == 0 && !table->expires)
        return;
    ask_record(prefetch, table, put->key);
    for (size_t i = 0; i < put->n_indexes; i++) {
        const struct catalog_index *index =
            catalog_index_find(table, bytes_of_text(put->indexes[i]->index));
        if (index == NULL || !index->unique)
            continue;
        keys_index(&key, index->id, commit_bytes(put->indexes[i]->key), (struct bytes){0});
        ask(prefetch, STATE_TREE_INDEXES, keys_bytes(&key));
    }
}

static void ask_operation(struct prefetch *prefetch, const Strait__Operation *operation)
{
    const struct catalog *catalog = prefetch->state->catalog;
    const struct catalog_table *table;

    switch (operation->kind_case) {
    case STRAIT__OPERATION__KIND_PUT:
        table = catalog_table_find(catalog, bytes_of_text(operation->put->table));
        if (table != NULL)
            ask_put(prefetch, table, operation->put);
        break;
    case STRAIT__OPERATION__KIND_DELETE:
        table = catalog_table_find(catalog, bytes_of_text(operation->delete_->table));
        if (table != NULL && (table->indexes_count != 0 || table->expires))
            ask_record(prefetch, table, operation->delete_->key);
        break;
    case STRAIT__OPERATION__KIND_ADD:
        table = catalog_table_find(catalog, bytes_of_text(operation->add->table));
        if (table != NULL)
            ask_record(prefetch, table, operation->add->key);
        break;
    default:
        break;
    }
}

static void ask_commit(struct prefetch *prefetch, const Strait__Commit *commit)
{
    uint8_t key[outcome_key_size];
    struct state_precheck precheck;
    struct state_refusal refusal;

    if (state_precheck(commit, &precheck, &refusal) != STATUS_OK || precheck.has_schema)
        return;
    outcome_key_encode(commit->issued_ns, commit->txn_id.data, key);
    ask(prefetch, STATE_TREE_OUTCOMES, bytes_of(key, sizeof key));
    for (size_t i = 0; i < commit->n_conditions; i++) {
        const struct catalog_table *table = catalog_table_find(
            prefetch->state->catalog, bytes_of_text(commit->conditions[i]->table));
        if (table != NULL)
            ask_record(prefetch, table, commit->conditions[i]->key);
    }
    for (size_t i = 0; i < commit->n_operations; i++)
        ask_operation(prefetch, commit->operations[i]);
}

void state_prefetch(struct state *state, const struct entry *entry)
{
    struct prefetch prefetch = {.state = state, .keys_left = prefetch_keys_max};
    struct arena arena;
    ProtobufCMessage *message;

    if (entry->kind != ENTRY_COMMIT || state->prefetching.pending_count > prefetch_pending_max ||
        lsm_view_open(state->lsm, UINT64_MAX, &prefetch.view) != STATUS_OK)
        return;
    message_arena_init(&arena, entry->body.size);
    if (message_decode(&strait__commit__descriptor, entry->body, true, &arena, &message) ==
        STATUS_OK)
        ask_commit(&prefetch, (Strait__Commit *)message);
    arena_free(&arena);
    lsm_view_close(prefetch.view);
}
