/* SPDX-License-Identifier: Apache-2.0 */
/* One command on its way: gather, execute, publish.
 *
 *     IDLE --start--> GATHERING --all is there--> PUBLISHING --there is room--> IDLE
 *
 * The pipeline (apply.c) is the same for every type of command; command.h lists the types and what
 * each of them does in its turn. Nothing outside `struct apply` changes before the publish, which
 * cannot fail. */
#ifndef SERVER_STATE_APPLY_H
#define SERVER_STATE_APPLY_H

#include "proto/regions.h"
#include "server/state/catalog.h"
#include "server/state/epochs.h"
#include "server/state/lost.h"
#include "server/state/mark.h"
#include "server/state/outcome.h"
#include "server/state/overlay.h"
#include "server/state/state.h"
#include "server/state/validation.h"

struct command;
struct tick_due;

enum { apply_lookups_max = 1024 }; /* in one step: a long command lets others take their turn */

enum apply_phase { APPLY_IDLE, APPLY_GATHERING, APPLY_PUBLISHING };

/* An operation of a commit, its names resolved. */
struct commit_planned {
    struct overlay_cell *cell;
    struct record put; /* of a put */
};

struct commit_condition {
    struct overlay_cell *cell;
    struct overlay_comparison *comparison;
};

/* What a COMMIT knows while it is under way. */
struct commit {
    Strait__Commit *message; /* in the arena of decoding; NULL: malformed */
    enum status check;       /* what can be told without the state */
    struct state_refusal check_refusal;
    bool has_schema;

    /* Whether an outcome may be looked up, and kept: there is an id, and the time is kept. */
    bool has_outcome;
    bool is_issued_valid;
    bool looked_up;
    bool found;
    struct outcome outcome;
    struct hash128 content;
    uint8_t outcome_key[outcome_key_size];
    uint8_t outcome_value[outcome_value_size];
    struct lsm_write outcome_write; /* where a refusal has no other */

    struct validation validation;
    size_t conditions_count; /* planned */
    struct commit_condition *conditions;
    enum status condition_failure; /* of the one after those */
    size_t operations_count;       /* planned: up to the first whose names are unknown */
    struct commit_planned *operations;
    enum status operation_failure; /* of the one after those */
};

/* What a TICK knows while it is under way. */
struct tick {
    bool valid; /* the body has its size */
    uint64_t horizon;
    uint64_t now_ms;
    unsigned step;          /* tick.c */
    unsigned removals_left; /* of what it may remove in all */
    struct lsm_iterator *iterator;
    struct tick_due *dues;    /* found, newest first */
    uint64_t next_due_ms;     /* nothing is left that is due before */
    struct bytes expiry_last; /* the last key that was found */
    size_t drop_at;           /* the place in the catalog's drops */
    struct bytes drop_last;   /* the last key of that one that was found */
};

/* What an EPOCH knows while it is under way. */
struct epoch_begin {
    struct epoch_change change;
    struct epoch_end end; /* of the one before it */
};

struct apply {
    enum apply_phase phase;
    const struct command *command;
    struct state *state;
    struct entry entry;
    uint64_t index;
    uint64_t term;
    struct lsm_view *view;
    struct lsm_wait wait;
    struct arena decoding; /* the message */
    bool decoding_used;
    struct arena arena; /* all else; its budget is limit_txn_arena_size */
    struct overlay overlay;
    struct mark_state next; /* the numbers after it */
    struct catalog *draft;  /* the schema after it; NULL: as before */
    struct state_result result;
    struct lsm_mark mark;
    struct commit commit;
    struct tick tick;
    struct epoch_begin epoch;
    struct lost_change lost;
    struct regions *regions; /* of a REGIONS, in the arena */
};

/* The schema that the command sees: as changed by itself. */
const struct catalog *apply_catalog(const struct apply *apply);

/* The schema to change. NULL: no memory. */
struct catalog *apply_draft(struct apply *apply);

/* Turns the overlay's cells and the changed schema into writes. Returns the overlay's failure:
 * TOO_LARGE is a refusal, anything else fatal. */
MUST_CHECK enum status apply_finish(struct apply *apply);

/* Ends the command under way, if any, without effect, and frees the memory. */
void apply_drop(struct apply *apply);

#endif
