/* SPDX-License-Identifier: Apache-2.0 */
#include "server/state/apply.h"

#include "proto/base/assert.h"
#include "proto/limits.h"
#include "proto/stream.h"
#include "server/state/adopt.h"
#include "server/state/command.h"
#include "server/state/epoch_change.h"
#include "server/state/fence.h"
#include "server/state/rewind.h"
#include "server/state/state_internal.h"

const struct catalog *apply_catalog(const struct apply *apply)
{
    return apply->draft != NULL ? apply->draft : apply->state->catalog;
}

struct catalog *apply_draft(struct apply *apply)
{
    if (apply->draft == NULL)
        apply->draft = catalog_copy(apply->state->catalog);
    return apply->draft;
}

bool state_apply_is_active(const struct state *state)
{
    return state->apply.phase != APPLY_IDLE;
}

static void apply_blocks_ready(struct lsm_wait *wait)
{
    struct state *state = wait->context;
    if (state->apply_ready != NULL)
        state->apply_ready(state->context);
}

void state_apply_start(struct state *state, uint64_t index, uint64_t term,
                       const struct entry *entry)
{
    struct apply *apply = &state->apply;

    ASSERT(apply->phase == APPLY_IDLE);
    ASSERT(index == state->applied_index + 1 && term >= state->applied_term);
    apply->state = state;
    apply->command = command_of(entry->kind);
    apply->entry = *entry;
    apply->index = index;
    apply->term = term;
    apply->phase = APPLY_GATHERING;
    apply->next = state->mark;
    apply->result = (struct state_result){0};
    lsm_wait_init(&apply->wait, apply_blocks_ready, state);
    overlay_init(&apply->overlay, &apply->arena);
    memset(&apply->commit, 0, sizeof apply->commit);
    memset(&apply->tick, 0, sizeof apply->tick);
    lost_change_init(apply);
}

/* A shared command that was discarded has no part but this: the mark moves on. */
static bool is_discarded(const struct apply *apply)
{
    return apply->command->versioned && !apply->result.versioned;
}

/* Whether it is the successor of what was applied, in the epoch that stands. Of another epoch it is
 * where whoever proposed it was not the primary; of another version where a standby was sent it
 * twice, or has not been sent what comes before it. NOT_PRIMARY and HISTORY_LOST are results: it is
 * discarded. */
static enum status apply_accept(struct apply *apply)
{
    struct stream_position position = {.epoch = mark_epoch(&apply->next),
                                       .version = apply->next.version};

    if (rewind_passes(apply) || adopt_passes(apply))
        return STATUS_HISTORY_LOST;
    if (fence_stops(&apply->next, &apply->entry))
        return STATUS_NOT_PRIMARY;
    /* A newer version wrote it, and may take what would be discarded here. */
    if (apply->entry.kind == ENTRY_EPOCH && !epoch_change_is_known(apply->entry.body))
        return STATUS_NEWER_FORMAT;
    if (!stream_takes(&position, NULL, &apply->entry))
        return STATUS_NOT_PRIMARY;
    if (apply->next.epoch_number == 0) {
        apply->next.epoch_number = position.epoch.number;
        apply->next.epoch_region = position.epoch.region;
    }
    return apply->entry.kind == ENTRY_EPOCH ? epoch_change_accept(apply) : STATUS_OK;
}

static enum status apply_plan(struct apply *apply)
{
    if (apply->command->plan == NULL)
        return STATUS_OK;
    enum status status = lsm_view_open(apply->state->lsm, UINT64_MAX, &apply->view);
    return status == STATUS_OK ? apply->command->plan(apply) : status;
}

/* Takes the next version. Time moves on with every version, whatever the entry says. */
static enum status apply_begin(struct apply *apply)
{
    if (!apply->command->versioned)
        return apply_plan(apply);
    enum status status = apply_accept(apply);
    if (status == STATUS_NEWER_FORMAT)
        return status;
    if (status != STATUS_OK) {
        apply->result.status = status;
        return STATUS_OK;
    }
    uint64_t time_ns = apply->entry.log_time_ns;
    if (time_ns <= apply->next.log_time_ns)
        time_ns = apply->next.log_time_ns + 1;
    apply->next.version++;
    mark_time_set(&apply->next, time_ns);
    apply->result.versioned = true;
    apply->result.version = apply->next.version;
    apply->result.log_time_ns = time_ns;
    return apply_plan(apply);
}

/* ---- Publishing ---- */

static void write_tables(struct apply *apply)
{
    const struct catalog *before = apply->state->catalog;
    const struct catalog *after = apply->draft;
    uint8_t old[catalog_table_size_max];
    uint8_t new[catalog_table_size_max];
    uint8_t key[catalog_meta_key_size_max];
    struct bytes key_copy;
    struct bytes value_copy;

    for (size_t i = 0; i < after->tables_count; i++) {
        const struct catalog_table *table = &after->tables[i];
        const struct catalog_table *was = catalog_table_by_id(before, table->id);
        struct bytes value = bytes_of(new, catalog_table_encode(table, new));
        if (was != NULL && bytes_equal(value, bytes_of(old, catalog_table_encode(was, old))))
            continue;
        if (overlay_copy(&apply->overlay, bytes_of(key, catalog_table_key(table->id, key)),
                         &key_copy) &&
            overlay_copy(&apply->overlay, value, &value_copy))
            overlay_write(&apply->overlay, STATE_TREE_META, key_copy, value_copy);
    }
    for (size_t i = 0; i < before->tables_count; i++) {
        uint32_t id = before->tables[i].id;
        if (catalog_table_by_id(after, id) == NULL &&
            overlay_copy(&apply->overlay, bytes_of(key, catalog_table_key(id, key)), &key_copy))
            overlay_write_deletion(&apply->overlay, STATE_TREE_META, key_copy);
    }
}

static bool has_drop(const struct catalog *catalog, struct catalog_drop drop)
{
    for (size_t i = 0; i < catalog->drops_count; i++) {
        if (catalog->drops[i].kind == drop.kind && catalog->drops[i].id == drop.id)
            return true;
    }
    return false;
}

static void write_drops(struct apply *apply, const struct catalog *of,
                        const struct catalog *against, bool is_deletion)
{
    uint8_t key[catalog_meta_key_size_max];
    struct bytes copy;

    for (size_t i = 0; i < of->drops_count; i++) {
        if (has_drop(against, of->drops[i]) ||
            !overlay_copy(&apply->overlay, bytes_of(key, catalog_drop_key(of->drops[i], key)),
                          &copy))
            continue;
        if (is_deletion)
            overlay_write_deletion(&apply->overlay, STATE_TREE_META, copy);
        else
            overlay_write(&apply->overlay, STATE_TREE_META, copy, (struct bytes){0});
    }
}

static void write_catalog(struct apply *apply)
{
    if (apply->draft == NULL)
        return;
    write_tables(apply);
    write_drops(apply, apply->draft, apply->state->catalog, false);
    write_drops(apply, apply->state->catalog, apply->draft, true);
}

struct chain_head {
    struct hash128 before;
    uint64_t version;
    uint64_t log_time_ns;
    uint64_t status;
    uint64_t writes_count;
};

struct chain_link {
    struct hash128 before;
    struct hash128 key;
    struct hash128 value;
    uint64_t tree;
    uint64_t is_deletion;
};

static void chain_add(struct apply *apply)
{
    const struct overlay *overlay = &apply->overlay;
    struct chain_head head = {.before = apply->next.chain,
                              .version = apply->next.version,
                              .log_time_ns = apply->next.log_time_ns,
                              .status = (uint64_t)apply->result.status,
                              .writes_count = overlay->writes_count};
    struct hash128 chain = hash128(bytes_of(&head, sizeof head));
    for (size_t i = 0; i < overlay->writes_count; i++) {
        const struct lsm_write *write = &overlay->writes[i];
        struct chain_link link = {.before = chain,
                                  .key = hash128(write->key),
                                  .value = hash128(write->value),
                                  .tree = write->tree,
                                  .is_deletion = write->deletion};
        chain = hash128(bytes_of(&link, sizeof link));
    }
    apply->next.chain = chain;
}

static enum status apply_execute(struct apply *apply)
{
    const struct command *command = apply->command;
    enum status status = STATUS_OK;

    if (!is_discarded(apply) && command->execute != NULL)
        status = command->execute(apply);
    if (status == STATUS_OK)
        status = apply->overlay.failure;
    if (status != STATUS_OK)
        return status;
    overlay_sort(&apply->overlay);
    if (apply->result.versioned)
        chain_add(apply);
    mark_encode(&apply->next, apply->index, apply->term, &apply->mark);
    apply->phase = APPLY_PUBLISHING;
    return STATUS_OK;
}

/* The writes of a commit and the schema belong to it alone: called by execute of the commands. */
enum status apply_finish(struct apply *apply)
{
    overlay_finish(&apply->overlay);
    write_catalog(apply);
    return apply->overlay.failure;
}

static void apply_end(struct apply *apply)
{
    if (!is_discarded(apply) && apply->command->end != NULL)
        apply->command->end(apply);
    lsm_wait_cancel(&apply->wait);
    if (apply->view != NULL)
        lsm_view_close(apply->view);
    apply->view = NULL;
    catalog_release(apply->draft);
    apply->draft = NULL;
    if (apply->decoding_used)
        arena_free(&apply->decoding);
    apply->decoding_used = false;
    arena_reset(&apply->arena);
    apply->phase = APPLY_IDLE;
}

void apply_drop(struct apply *apply)
{
    if (apply->phase != APPLY_IDLE)
        apply_end(apply);
    arena_free(&apply->arena);
}

/* Tells the LSM what it may forget, where that is installed. */
static void apply_forget(struct state *state)
{
    uint64_t floor_ns = mark_outcomes_floor_ns(&state->mark);
    if (state->forget_index == 0 &&
        (state->mark.horizon > state->forgotten_horizon || floor_ns > state->forgotten_floor_ns)) {
        state->forget_index = state->applied_index;
        state->forget_horizon = state->mark.horizon;
        state->forget_floor_ns = floor_ns;
    }
    if (state->forget_index == 0 || lsm_installed_index(state->lsm) < state->forget_index)
        return;
    if (state->forget_horizon > state->forgotten_horizon)
        lsm_horizon_set(state->lsm, state->forget_horizon);
    if (state->forget_floor_ns > state->forgotten_floor_ns) {
        uint8_t key[outcome_key_size];
        static const uint8_t id[outcome_id_size];
        outcome_key_encode(state->forget_floor_ns, id, key);
        lsm_discard_below(state->lsm, STATE_TREE_OUTCOMES, bytes_of(key, sizeof key));
    }
    state->forgotten_horizon = state->forget_horizon;
    state->forgotten_floor_ns = state->forget_floor_ns;
    state->forget_index = 0;
}

static void apply_publish(struct apply *apply)
{
    struct state *state = apply->state;

    if (apply->entry.kind == ENTRY_MEMBERSHIP)
        lsm_attachment_set(state->lsm, apply->entry.body);
    lsm_publish(state->lsm, apply->overlay.writes, apply->overlay.writes_count, &apply->mark);
    state->mark = apply->next;
    state->applied_index = apply->index;
    state->applied_term = apply->term;
    if (apply->draft != NULL) {
        catalog_release(state->catalog);
        state->catalog = catalog_retain(apply->draft);
    }
    lost_published(apply);
    if (!is_discarded(apply) && apply->command->published != NULL)
        apply->command->published(apply);
    apply_forget(state);
}

enum status state_apply_step(struct state *state, struct state_result *result)
{
    struct apply *apply = &state->apply;
    enum status status = STATUS_OK;

    ASSERT(apply->phase != APPLY_IDLE);
    *result = (struct state_result){0};
    if (apply->phase == APPLY_GATHERING) {
        if (apply->view == NULL)
            status = apply_begin(apply);
        if (status == STATUS_OK && apply->view != NULL)
            status = apply->command->gather(apply);
        if (status == STATUS_AGAIN && apply->wait.pending_count == 0)
            apply_blocks_ready(&apply->wait);
        if (status == STATUS_OK)
            status = apply_execute(apply);
        if (status != STATUS_OK)
            return status;
    }
    if (!lsm_has_room(state->lsm, apply->overlay.writes_size))
        return STATUS_BUSY;
    apply_publish(apply);
    *result = apply->result;
    apply_end(apply);
    return STATUS_OK;
}
