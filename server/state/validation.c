/* SPDX-License-Identifier: Apache-2.0 */
#include "server/state/validation.h"

#include "proto/base/assert.h"
#include "server/state/commit_check.h"
#include "server/state/keys.h"

/* What a range counts for among the look-ups of one step: it may walk all that a memtable holds. */
enum { range_lookups = 1024 };

/* A range of one tree; `start` at or above `end` is empty. */
struct span {
    uint16_t tree;
    struct keys_buffer start;
    struct keys_buffer end;
};

/* A table or an index that is younger than the snapshot was not what was read then. */
static enum status verdict_of_table(const struct catalog_table *table, uint64_t snapshot)
{
    if (table == NULL)
        return STATUS_NO_TABLE;
    return table->created_version > snapshot ? STATUS_CONFLICT : STATUS_OK;
}

static enum status verdict_of_range(const struct validation *validation, const Strait__Range *range)
{
    uint64_t snapshot = validation->commit->snapshot;
    const struct catalog_table *table =
        catalog_table_find(validation->catalog, bytes_of_text(range->table));
    enum status verdict = verdict_of_table(table, snapshot);
    if (verdict != STATUS_OK || range->index[0] == 0)
        return verdict;
    const struct catalog_index *index = catalog_index_find(table, bytes_of_text(range->index));
    if (index == NULL)
        return STATUS_NO_INDEX;
    return index->created_version > snapshot ? STATUS_CONFLICT : STATUS_OK;
}

void validation_init(struct validation *validation, const Strait__Commit *commit,
                     const struct catalog *catalog, const struct validation_history *history,
                     uint8_t *done)
{
    size_t count = commit->n_reads + commit->n_ranges;
    *validation =
        (struct validation){.commit = commit, .catalog = catalog, .done = done, .left = count};
    if (count == 0)
        return;
    memset(done, 0, count);
    if (commit->snapshot < history->horizon)
        validation->verdict = STATUS_SNAPSHOT_TOO_OLD;
    else if (commit->snapshot > history->version || history->is_lost)
        validation->verdict = STATUS_HISTORY_LOST;
    for (size_t i = 0; i < commit->n_reads && validation->verdict == STATUS_OK; i++)
        validation->verdict = verdict_of_table(
            catalog_table_find(catalog, bytes_of_text(commit->reads[i]->table)), commit->snapshot);
    for (size_t i = 0; i < commit->n_ranges && validation->verdict == STATUS_OK; i++)
        validation->verdict = verdict_of_range(validation, commit->ranges[i]);
    if (validation->verdict != STATUS_OK)
        validation->left = 0;
}

static void span_of_read(const struct validation *validation, const Strait__Key *read,
                         struct span *span)
{
    const struct catalog_table *table =
        catalog_table_find(validation->catalog, bytes_of_text(read->table));
    ASSERT(table != NULL);
    span->tree = STATE_TREE_RECORDS;
    keys_with_id(&span->start, table->id, commit_bytes(read->key));
    span->end = span->start;
    keys_successor(&span->end);
}

static void span_of_range(const struct validation *validation, const Strait__Range *range,
                          struct span *span)
{
    const struct catalog_table *table =
        catalog_table_find(validation->catalog, bytes_of_text(range->table));
    ASSERT(table != NULL);
    if (range->index[0] == 0) {
        span->tree = STATE_TREE_RECORDS;
        keys_with_id(&span->start, table->id, commit_bytes(range->start));
        keys_with_id(&span->end, table->id, commit_bytes(range->end));
        if (range->end.len == 0)
            keys_id_end(&span->end, table->id);
        return;
    }
    const struct catalog_index *index = catalog_index_find(table, bytes_of_text(range->index));
    ASSERT(index != NULL);
    span->tree = STATE_TREE_INDEXES;
    keys_index_bound(&span->start, index->id, commit_bytes(range->start));
    keys_index_bound(&span->end, index->id, commit_bytes(range->end));
    if (range->end.len == 0)
        keys_id_end(&span->end, index->id);
}

static enum status look_up(struct validation *validation, struct lsm_view *view,
                           struct lsm_wait *wait, size_t number)
{
    const Strait__Commit *commit = validation->commit;
    struct span span;
    bool changed = false;

    if (number < commit->n_reads)
        span_of_read(validation, commit->reads[number], &span);
    else
        span_of_range(validation, commit->ranges[number - commit->n_reads], &span);
    if (bytes_compare(keys_bytes(&span.start), keys_bytes(&span.end)) >= 0)
        return STATUS_OK;
    enum status status = lsm_changed(view, wait, span.tree, keys_bytes(&span.start),
                                     keys_bytes(&span.end), commit->snapshot, &changed);
    if (status == STATUS_OK && changed)
        validation->verdict = STATUS_CONFLICT;
    return status;
}

enum status validation_step(struct validation *validation, struct lsm_view *view,
                            struct lsm_wait *wait, unsigned *lookups_left)
{
    size_t count = validation->commit->n_reads + validation->commit->n_ranges;
    bool waiting = false;

    for (size_t i = 0; i < count && validation->left != 0; i++) {
        if (validation->done[i] != 0)
            continue;
        if (*lookups_left == 0)
            return STATUS_AGAIN;
        unsigned lookups = i < validation->commit->n_reads ? 1 : range_lookups;
        *lookups_left -= lookups < *lookups_left ? lookups : *lookups_left;
        enum status status = look_up(validation, view, wait, i);
        if (status != STATUS_OK && status != STATUS_AGAIN)
            return status;
        waiting |= status == STATUS_AGAIN;
        /* The view keeps how far it came in one range: asking for another would lose that. */
        if (status == STATUS_AGAIN && i >= validation->commit->n_reads)
            return status;
        if (status == STATUS_OK) {
            validation->done[i] = 1;
            validation->left--;
        }
        if (validation->verdict != STATUS_OK)
            validation->left = 0;
    }
    return waiting && validation->verdict == STATUS_OK ? STATUS_AGAIN : STATUS_OK;
}
