/* SPDX-License-Identifier: Apache-2.0 */
#include "server/state/state.h"

#include <inttypes.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/cluster_version.h"
#include "proto/limits.h"
#include "server/state/state_internal.h"
#include "server/state/version.h"

enum {
    state_retention_ms_default = 60 * 60 * 1000,
    state_idle_parts = 8, /* of the retention: how often an idle log gets a tick */
    state_arena_chunk_size = 64 * 1024,
};

static const char newer_advice[] = " Start the newer program with this data.";

/* ---- Opening ---- */

static void wait_done(struct lsm_wait *wait)
{
    (void)wait;
}

enum status state_next_blocking(struct io *io, struct lsm_iterator *iterator, struct lsm_item *item)
{
    struct lsm_wait wait;
    enum status status;

    lsm_wait_init(&wait, wait_done, NULL);
    while ((status = lsm_iterator_next(iterator, &wait, item)) == STATUS_AGAIN) {
        while (wait.pending_count != 0)
            io_turn(io, true);
    }
    lsm_wait_cancel(&wait);
    return status;
}

static enum status load_regions(struct state *state, struct bytes key, struct bytes value)
{
    enum status status = key.size == 1 ? regions_decode(value, &state->regions) : STATUS_CORRUPT;
    if (status == STATUS_UNSUPPORTED)
        return STATUS_NEWER_FORMAT;
    return status == STATUS_OK ? STATUS_OK : STATUS_CORRUPT;
}

/* What the first letter of its key says (keys.h). */
static enum status load_item(struct state *state, struct bytes key, struct bytes value)
{
    switch (key.size == 0 ? 0 : key.data[0]) {
    case 'R':
        return load_regions(state, key, value);
    case 'V':
        return version_load(&state->mark, key, value);
    case 'E':
    case 'P':
        return epochs_load(&state->epochs, key, value);
    default:
        return catalog_load(state->catalog, key, value);
    }
}

static enum status load_meta(struct state *state, struct io *io, struct lsm_view *view)
{
    struct lsm_iterator *iterator;
    struct lsm_item item;
    enum status status = lsm_iterator_open(view, STATE_TREE_META, (struct bytes){0},
                                           (struct bytes){0}, false, &iterator);
    if (status != STATUS_OK)
        return status;
    while ((status = state_next_blocking(io, iterator, &item)) == STATUS_OK) {
        status = load_item(state, item.key, item.value);
        if (status != STATUS_OK)
            break;
    }
    lsm_iterator_close(iterator);
    return status == STATUS_END ? epochs_loaded(&state->epochs, mark_epoch(&state->mark)) : status;
}

static enum status load_next_due(struct state *state, struct io *io, struct lsm_view *view)
{
    struct lsm_iterator *iterator;
    struct lsm_item item;
    struct bytes table_and_key;
    enum status status = lsm_iterator_open(view, STATE_TREE_EXPIRY, (struct bytes){0},
                                           (struct bytes){0}, false, &iterator);
    if (status != STATUS_OK)
        return status;
    status = state_next_blocking(io, iterator, &item);
    if (status == STATUS_OK)
        status = keys_expiry_decode(item.key, &state->next_due_ms, &table_and_key);
    lsm_iterator_close(iterator);
    return status == STATUS_END ? STATUS_OK : status;
}

static void make_new(struct state *state, const struct state_options *options)
{
    uint64_t retention_ms = options->outcome_retention_ms;
    if (retention_ms == 0)
        retention_ms = state_retention_ms_default;
    state->mark = (struct mark_state){.cluster_version = cluster_version_first,
                                      .epoch_number = options->region_id == 0 ? 0 : 1,
                                      .epoch_region = options->region_id,
                                      .table_id_next = 1,
                                      .index_id_next = 1,
                                      .retention_ns = retention_ms * 1000000};
    state->applied_index = options->mark->index;
    state->applied_term = options->mark->term;
}

static enum status load(struct state *state, const struct state_options *options,
                        struct error *error)
{
    struct lsm_view *view;
    enum status status = mark_decode(options->mark, &state->mark);
    if (status != STATUS_OK)
        return error_set(error, status, "The state's mark in the manifest: %s.%s",
                         status_text(status), status == STATUS_NEWER_FORMAT ? newer_advice : "");
    if (state->mark.cluster_version > state->cluster_version_max)
        return error_set(error, STATUS_NEWER_FORMAT,
                         "The cluster version is %" PRIu32 ", and this program can apply %" PRIu32
                         " at most: it is too old for this data. Start the newer program with it; "
                         "a cluster version that was raised does not go back.",
                         state->mark.cluster_version, state->cluster_version_max);
    state->applied_index = options->mark->index;
    state->applied_term = options->mark->term;
    state->written_version = state->mark.version;
    state->opened_version = state->mark.version;
    lsm_horizon_set(state->lsm, state->mark.horizon);
    state->forgotten_horizon = state->mark.horizon;
    status = lsm_view_open(state->lsm, UINT64_MAX, &view);
    if (status != STATUS_OK)
        return error_set(error, status, "The tables: %s.", status_text(status));
    status = load_meta(state, options->io, view);
    if (status == STATUS_OK)
        status = load_next_due(state, options->io, view);
    if (status == STATUS_OK)
        status = lost_load(&state->lost, options->io, view);
    lsm_view_close(view);
    if (status != STATUS_OK)
        return error_set(error, status,
                         "Reading the schema, the regions, what is due and what was "
                         "given up: %s.%s",
                         status_text(status), status == STATUS_NEWER_FORMAT ? newer_advice : "");
    return STATUS_OK;
}

enum status state_open(const struct state_options *options, struct state **opened,
                       struct error *error)
{
    enum status status = STATUS_OK;

    *opened = NULL;
    struct state *state = calloc(1, sizeof *state);
    if (state == NULL)
        return error_set(error, STATUS_NO_MEMORY, "No memory for the state.");
    state->lsm = options->lsm;
    state->apply_ready = options->apply_ready;
    state->context = options->context;
    state->next_due_ms = UINT64_MAX;
    state->cluster_version_max =
        options->cluster_version_max == 0 ? state_cluster_version : options->cluster_version_max;
    ASSERT(state->cluster_version_max <= state_cluster_version);
    lsm_wait_init(&state->prefetching, wait_done, NULL);
    arena_init(&state->apply.arena, state_arena_chunk_size, limit_txn_arena_size);
    state->catalog = catalog_create();
    if (state->catalog == NULL)
        status = error_set(error, STATUS_NO_MEMORY, "No memory for the schema.");
    else if (options->mark->state_size == 0)
        make_new(state, options);
    else
        status = load(state, options, error);
    if (status != STATUS_OK) {
        state_close(state);
        return status;
    }
    *opened = state;
    return STATUS_OK;
}

void state_close(struct state *state)
{
    if (state == NULL)
        return;
    ASSERT(state->views_count == 0);
    apply_drop(&state->apply);
    lsm_wait_cancel(&state->prefetching);
    catalog_release(state->catalog);
    lost_free(&state->lost);
    free(state);
}

/* ---- Where it stands ---- */

static struct state_position position_of(const struct mark_state *mark)
{
    return (struct state_position){.epoch_number = mark->epoch_number,
                                   .epoch_region = mark->epoch_region,
                                   .version = mark->version,
                                   .log_time_ns = mark->log_time_ns};
}

struct state_facts state_facts(const struct state *state)
{
    return (struct state_facts){.position = position_of(&state->mark),
                                .applied_index = state->applied_index,
                                .applied_term = state->applied_term,
                                .chain_digest = state->mark.chain,
                                .horizon = state->mark.horizon,
                                .written_version = state->written_version,
                                .cluster_version = state->mark.cluster_version,
                                .outcome_retention_ms = state_ms_of_ns(state->mark.retention_ns),
                                .outcomes_count = state->mark.outcomes_count,
                                .tables_count = state->catalog->tables_count,
                                .drops_count = state->catalog->drops_count};
}

struct state_position state_position(const struct state *state)
{
    return position_of(&state->mark);
}

struct hash128 state_chain(const struct state *state)
{
    return state->mark.chain;
}

struct bytes state_membership(const struct state *state)
{
    return lsm_attachment(state->lsm);
}

uint64_t state_outcomes_size(const struct state *state)
{
    return state->mark.outcomes_count * (outcome_key_size + outcome_value_size);
}

uint64_t state_tick_due_ns(const struct state *state)
{
    if (state->mark.version == 0 || state->catalog->drops_count != 0)
        return 0;
    uint64_t idle_ns = state->mark.log_time_ns + state->mark.retention_ns / state_idle_parts;
    uint64_t due_ns;
    if (__builtin_mul_overflow(state->next_due_ms, (uint64_t)1000000, &due_ns))
        return idle_ns;
    return due_ns < idle_ns ? due_ns : idle_ns;
}

struct lsm_scrub_floor state_scrub_floor(const struct state *state,
                                         uint8_t key[state_floor_size_max])
{
    static const uint8_t id[outcome_id_size];
    _Static_assert((int)outcome_key_size <= (int)state_floor_size_max, "an outcome's key fits");
    outcome_key_encode(mark_outcomes_floor_ns(&state->mark), id, key);
    return (struct lsm_scrub_floor){.tree = STATE_TREE_OUTCOMES,
                                    .key = bytes_of(key, outcome_key_size)};
}

bool state_tick_due(const struct state *state, uint64_t log_time_ns)
{
    return log_time_ns >= state_tick_due_ns(state);
}

/* ---- Views ---- */

enum status state_view_open(struct state *state, uint64_t version, struct state_view **opened)
{
    *opened = NULL;
    if (version != UINT64_MAX && version > state->mark.version)
        return STATUS_HISTORY_LOST;
    if (version < state->mark.horizon)
        return STATUS_SNAPSHOT_TOO_OLD;
    struct state_view *view = calloc(1, sizeof *view);
    if (view == NULL)
        return STATUS_NO_MEMORY;
    enum status status = lsm_view_open(state->lsm, version, &view->lsm);
    if (status != STATUS_OK) {
        free(view);
        return status;
    }
    view->state = state;
    view->catalog = catalog_retain(state->catalog);
    view->mark = state->mark;
    view->position = position_of(&state->mark);
    if (version != UINT64_MAX)
        view->position.version = version;
    state->views_count++;
    *opened = view;
    return STATUS_OK;
}

void state_view_close(struct state_view *view)
{
    if (view == NULL)
        return;
    ASSERT(view->state->views_count != 0);
    view->state->views_count--;
    lsm_view_close(view->lsm);
    catalog_release(view->catalog);
    free(view->validation_done);
    free(view);
}

struct state_position state_view_position(const struct state_view *view)
{
    return view->position;
}

Strait__Position *state_position_message(const struct state_position *position, struct arena *arena)
{
    Strait__Position *message = arena_alloc(arena, sizeof *message);
    if (message == NULL)
        return NULL;
    strait__position__init(message);
    message->epoch_number = position->epoch_number;
    message->epoch_region = position->epoch_region;
    message->version = position->version;
    message->log_time_ns = position->log_time_ns;
    return message;
}
