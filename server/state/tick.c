/* SPDX-License-Identifier: Apache-2.0 */
/* The command TICK: what time does. It removes records that are due by its log time, in the order
 * (due time, table, key); then it goes on emptying what was dropped; all together at most
 * tick_removals_max. And it moves the horizon.
 *
 *     EXPIRY   walk the tree of expiry up to the tick's time
 *     RECORDS  read the records that are due
 *     DROPS    walk what was dropped
 *     DONE
 *
 * Its body: the horizon (8), and where there is something to say, flags (8): a sum of enum
 * state_tick_flag.
 *
 * Where the walks begin is a hint that each replica keeps for itself: below it nothing is left, so
 * what they find is the same. */
#include "proto/base/assert.h"
#include "server/state/command.h"
#include "server/state/state_internal.h"

enum { tick_removals_max = 256, tick_body_size = 8 };

_Static_assert((int)tick_body_size < (int)state_tick_body_size_max, "flags follow");

enum tick_step { TICK_EXPIRY, TICK_RECORDS, TICK_DROPS, TICK_DONE };

/* An entry of the tree of expiry whose time has come. */
struct tick_due {
    struct tick_due *next;
    uint64_t due_ms;
    struct bytes key;
    struct overlay_cell *cell;
};

/* False: not as this version knows them. */
static bool flags_of(struct bytes body, uint64_t *flags)
{
    *flags = 0;
    if (body.size == state_tick_body_size_max)
        *flags = load_u64(body.data + tick_body_size);
    return body.size == tick_body_size ||
           (body.size == state_tick_body_size_max && *flags == STATE_TICK_SCRUB);
}

size_t state_tick_encode(uint64_t horizon, uint64_t flags, uint8_t to[state_tick_body_size_max])
{
    store_u64(to, horizon);
    store_u64(to + tick_body_size, flags);
    return flags == 0 ? tick_body_size : state_tick_body_size_max;
}

static enum status tick_plan(struct apply *apply)
{
    struct tick *tick = &apply->tick;
    uint64_t flags;

    tick->valid = flags_of(apply->entry.body, &flags);
    apply->result.scrubs = tick->valid && (flags & STATE_TICK_SCRUB) != 0;
    tick->step = tick->valid ? TICK_EXPIRY : TICK_DONE;
    tick->removals_left = tick_removals_max;
    tick->now_ms = state_ms_of_ns(apply->next.log_time_ns);
    tick->next_due_ms = apply->state->next_due_ms;
    if (tick->valid)
        tick->horizon = load_u64(apply->entry.body.data);
    if (tick->step == TICK_EXPIRY && tick->next_due_ms > tick->now_ms)
        tick->step = TICK_DROPS;
    return STATUS_OK;
}

static void iterator_close(struct tick *tick)
{
    if (tick->iterator != NULL)
        lsm_iterator_close(tick->iterator);
    tick->iterator = NULL;
}

/* ---- What is due ---- */

/* False where it is not due yet: the walk ends. */
static bool add_due(struct apply *apply, struct bytes key, enum status *status)
{
    struct tick *tick = &apply->tick;
    uint64_t due_ms;
    struct bytes table_and_key;

    *status = keys_expiry_decode(key, &due_ms, &table_and_key);
    if (*status != STATUS_OK)
        return false;
    tick->next_due_ms = due_ms;
    if (due_ms > tick->now_ms)
        return false;
    struct tick_due *due = overlay_alloc(&apply->overlay, sizeof *due);
    struct overlay_cell *cell = overlay_cell(&apply->overlay, STATE_TREE_RECORDS, table_and_key);
    if (due == NULL || cell == NULL)
        return false;
    *due = (struct tick_due){.next = tick->dues, .due_ms = due_ms, .cell = cell};
    (void)overlay_copy(&apply->overlay, key, &due->key);
    tick->dues = due;
    tick->expiry_last = due->key;
    cell->table = catalog_table_by_id(apply->state->catalog, load_u32_be(table_and_key.data));
    overlay_want(&apply->overlay, cell);
    return --tick->removals_left != 0;
}

static enum status walk_expiry(struct apply *apply)
{
    struct tick *tick = &apply->tick;
    struct lsm_item item;
    enum status status = STATUS_OK;

    if (tick->iterator == NULL)
        status = lsm_iterator_open(apply->view, STATE_TREE_EXPIRY,
                                   keys_bytes(&apply->state->expiry_cursor), (struct bytes){0},
                                   false, &tick->iterator);
    while (status == STATUS_OK) {
        status = lsm_iterator_next(tick->iterator, &apply->wait, &item);
        if (status == STATUS_END)
            tick->next_due_ms = UINT64_MAX;
        if (status == STATUS_OK && !add_due(apply, item.key, &status))
            break;
    }
    if (status == STATUS_AGAIN)
        return status;
    iterator_close(tick);
    return status == STATUS_END ? STATUS_OK : status;
}

/* ---- What was dropped ---- */

static enum status drop_iterator_open(struct apply *apply, struct catalog_drop drop)
{
    const struct state *state = apply->state;
    struct keys_buffer start;
    struct keys_buffer end;
    bool is_table = drop.kind == CATALOG_DROP_TABLE;

    keys_with_id(&start, drop.id, (struct bytes){0});
    keys_id_end(&end, drop.id);
    if (state->drop.kind == drop.kind && state->drop.id == drop.id)
        start = state->drop_cursor;
    return lsm_iterator_open(apply->view, is_table ? STATE_TREE_RECORDS : STATE_TREE_INDEXES,
                             keys_bytes(&start), keys_bytes(&end), false, &apply->tick.iterator);
}

static enum status remove_dropped(struct apply *apply, struct catalog_drop drop,
                                  const struct lsm_item *item)
{
    struct tick *tick = &apply->tick;
    struct bytes key;

    tick->removals_left--;
    if (!overlay_copy(&apply->overlay, item->key, &key))
        return apply->overlay.failure;
    tick->drop_last = key;
    if (drop.kind == CATALOG_DROP_INDEX) {
        overlay_write_deletion(&apply->overlay, STATE_TREE_INDEXES, key);
        return apply->overlay.failure;
    }
    struct overlay_cell *cell = overlay_cell(&apply->overlay, STATE_TREE_RECORDS, key);
    if (cell == NULL)
        return apply->overlay.failure;
    if (!cell->gathered)
        overlay_known(&apply->overlay, cell, item->value);
    overlay_delete(&apply->overlay, cell);
    return apply->overlay.failure;
}

static enum status finish_drop(struct apply *apply, struct catalog_drop drop)
{
    struct catalog *draft = apply_draft(apply);
    if (draft == NULL)
        return STATUS_NO_MEMORY;
    catalog_drop_finish(draft, drop);
    iterator_close(&apply->tick);
    apply->tick.drop_at++;
    apply->tick.drop_last = (struct bytes){0};
    return STATUS_OK;
}

static enum status walk_drops(struct apply *apply)
{
    struct tick *tick = &apply->tick;
    const struct catalog *catalog = apply->state->catalog;
    struct lsm_item item;
    enum status status = STATUS_OK;

    while (status == STATUS_OK && tick->drop_at < catalog->drops_count &&
           tick->removals_left != 0) {
        struct catalog_drop drop = catalog->drops[tick->drop_at];
        if (tick->iterator == NULL)
            status = drop_iterator_open(apply, drop);
        if (status == STATUS_OK)
            status = lsm_iterator_next(tick->iterator, &apply->wait, &item);
        if (status == STATUS_OK)
            status = remove_dropped(apply, drop, &item);
        else if (status == STATUS_END)
            status = finish_drop(apply, drop);
    }
    if (status != STATUS_AGAIN)
        iterator_close(tick);
    return status;
}

/* ---- The command ---- */

static enum status tick_gather(struct apply *apply)
{
    struct tick *tick = &apply->tick;
    enum status status = STATUS_OK;

    while (status == STATUS_OK && tick->step != TICK_DONE) {
        unsigned lookups_left = apply_lookups_max;
        if (tick->step == TICK_EXPIRY)
            status = walk_expiry(apply);
        else if (tick->step == TICK_RECORDS)
            status = overlay_gather(&apply->overlay, apply->view, &apply->wait, &lookups_left);
        else
            status = walk_drops(apply);
        if (status == STATUS_OK && apply->overlay.failure != STATUS_OK)
            status = apply->overlay.failure;
        if (status == STATUS_OK)
            tick->step++;
    }
    return status;
}

static enum status tick_execute(struct apply *apply)
{
    struct tick *tick = &apply->tick;

    if (!tick->valid) {
        apply->result.status = STATUS_MALFORMED;
        return STATUS_OK;
    }
    for (struct tick_due *due = tick->dues; due != NULL; due = due->next) {
        if (due->cell->found && due->cell->before.expires_at_ms == due->due_ms)
            overlay_delete(&apply->overlay, due->cell);
        else
            overlay_write_deletion(&apply->overlay, STATE_TREE_EXPIRY, due->key);
    }
    uint64_t horizon_max = apply->next.version - 1;
    uint64_t horizon = tick->horizon < horizon_max ? tick->horizon : horizon_max;
    if (horizon > apply->next.horizon)
        apply->next.horizon = horizon;
    return apply_finish(apply);
}

static void cursor_set(struct keys_buffer *cursor, struct bytes last)
{
    ASSERT(last.size < sizeof cursor->data);
    bytes_copy(cursor->data, last);
    cursor->size = last.size;
    keys_successor(cursor);
}

static void tick_published(struct apply *apply)
{
    struct state *state = apply->state;
    const struct tick *tick = &apply->tick;

    if (apply->overlay.writes_count != 0)
        state->written_version = apply->next.version;
    state->next_due_ms = tick->next_due_ms;
    if (tick->expiry_last.size != 0)
        cursor_set(&state->expiry_cursor, tick->expiry_last);
    if (tick->drop_last.size != 0) {
        /* Drops are in order, and what was finished is no longer in the catalog: the one that was
         * begun last is the first that is left. */
        ASSERT(state->catalog->drops_count != 0);
        state->drop = state->catalog->drops[0];
        cursor_set(&state->drop_cursor, tick->drop_last);
    }
}

static void tick_end(struct apply *apply)
{
    iterator_close(&apply->tick);
}

const struct command command_tick = {
    .kind = ENTRY_TICK,
    .name = "tick",
    .versioned = true,
    .depth = 2,
    .plan = tick_plan,
    .gather = tick_gather,
    .execute = tick_execute,
    .published = tick_published,
    .end = tick_end,
};
