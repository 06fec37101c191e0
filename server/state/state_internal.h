/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share of the state. */
#ifndef SERVER_STATE_STATE_INTERNAL_H
#define SERVER_STATE_STATE_INTERNAL_H

#include "server/state/apply.h"
#include "server/state/keys.h"
#include "server/state/lost.h"

struct state {
    struct lsm *lsm;
    struct mark_state mark;
    uint32_t cluster_version_max;
    uint64_t applied_index;
    uint64_t applied_term;
    uint64_t written_version;
    uint64_t opened_version; /* what the tables held when it was opened */
    struct catalog *catalog;
    struct regions regions; /* as the tree of meta has them */
    struct epochs epochs;
    struct lost lost; /* as its tree has it */

    /* What the LSM may forget, it is told only once an installed mark knows of it too: else a
     * replay from that mark would miss tombstones and outcomes that its first run found.
     * `forget_index` is that of the entry after which these held; 0: nothing is waiting. */
    uint64_t forget_index;
    uint64_t forget_horizon;
    uint64_t forget_floor_ns;
    uint64_t forgotten_horizon; /* told */
    uint64_t forgotten_floor_ns;

    /* Derived from the trees, and no part of what apply goes by: hints of where to look. */
    uint64_t next_due_ms;             /* nothing is due before; UINT64_MAX: nothing at all */
    struct keys_buffer expiry_cursor; /* all below is removed */
    struct catalog_drop drop;         /* being emptied */
    struct keys_buffer drop_cursor;   /* all of it below is removed */

    struct apply apply;
    struct lsm_wait prefetching; /* whoever asked does not wait */
    unsigned views_count;        /* open */
    void (*apply_ready)(void *context);
    void *context;
};

struct state_view {
    struct state *state;
    struct lsm_view *lsm;
    struct catalog *catalog;
    struct state_position position;
    struct mark_state mark;       /* as of its opening */
    struct validation validation; /* of state_validate() */
    uint8_t *validation_done;
};

/* Whether the commit says an epoch of its snapshot that is none of this history, or ended before.
 */
bool state_snapshot_is_lost(const struct state *state, const Strait__Commit *commit);

/* Calls the iterator, turning the io, until it has an answer: while a state is being opened. */
MUST_CHECK enum status state_next_blocking(struct io *io, struct lsm_iterator *iterator,
                                           struct lsm_item *item);

static inline uint64_t state_ms_of_ns(uint64_t ns)
{
    return ns / 1000000;
}

/* The first millisecond that is not before it. */
static inline uint64_t state_ms_past_ns(uint64_t ns)
{
    return ns / 1000000 + (ns % 1000000 != 0);
}

#endif
