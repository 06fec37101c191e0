/* SPDX-License-Identifier: Apache-2.0 */
/* What one command has read and changed, before it is published.
 *
 * A cell stands for one key of the records, or one key of a unique index, that the command touches:
 * what was there before, and what is there now, after the operations executed so far. Life of a
 * cell: made while planning; `wanted` where its old contents matter; gathered (read once, and
 * copied); changed by operations; turned into writes by overlay_finish(), one for each key however
 * many operations touched it. Entries of plain indexes and of the expiry follow from their record,
 * and need no cells.
 *
 * All memory is the arena's. Where its budget does not hold a command, `failure` is TOO_LARGE: what
 * is allocated depends on the command and the state alone, so every replica finds the same. */
#ifndef SERVER_STATE_OVERLAY_H
#define SERVER_STATE_OVERLAY_H

#include "proto/base/arena.h"
#include "server/state/catalog.h"
#include "server/state/record.h"
#include "storage/lsm/lsm.h"

/* VALUE_IS is told while the old value is in memory, so that values need not be copied. */
struct overlay_comparison {
    struct overlay_comparison *next;
    struct bytes expected;
    bool equal; /* valid once the cell is gathered */
};

struct overlay_cell {
    struct overlay_cell *next;        /* in order of making */
    struct overlay_cell *next_wanted; /* to be gathered */
    uint64_t hash;
    uint16_t tree;
    bool wanted;
    bool gathered;
    bool keep_value; /* the value is needed where it may be a number */
    bool found;      /* before; valid where gathered */
    bool present;    /* now */
    bool dirty;
    bool value_missing; /* there was a value too long to be a number; it was not kept */
    uint64_t version;   /* before; of the newest entry, tombstones included */
    struct bytes key;   /* the tree's */
    struct record before;
    struct record after; /* valid where `present`; of a unique index: `value` is the owner's key */
    const struct catalog_table *table; /* of a record; NULL: dropped */
    struct overlay_comparison *comparisons;
};

struct overlay {
    struct arena *arena;
    enum status failure; /* OK, TOO_LARGE, NO_MEMORY, CORRUPT, NEWER_FORMAT */

    struct overlay_cell *first;
    struct overlay_cell *last;
    struct overlay_cell *wanted; /* not gathered yet */
    struct overlay_cell **slots; /* by hash, open addressing; never walked */
    size_t slots_count;
    size_t cells_count;

    struct lsm_write *writes;
    size_t writes_count;
    size_t writes_max;
    size_t writes_size; /* as lsm_has_room() counts */
};

void overlay_init(struct overlay *overlay, struct arena *arena);

/* The cell of a key, made where there is none. NULL, with `failure` set, past the budget. */
struct overlay_cell *overlay_cell(struct overlay *overlay, uint16_t tree, struct bytes key);

/* Asks that the cell's old contents be read. */
void overlay_want(struct overlay *overlay, struct overlay_cell *cell);

/* Adds what must be compared with the cell's old value; the cell is wanted. NULL past the budget.
 */
struct overlay_comparison *overlay_compare(struct overlay *overlay, struct overlay_cell *cell,
                                           struct bytes expected);

/* Reads up to `*lookups_left` wanted cells, asking for all blocks before it answers AGAIN. AGAIN
 * with nothing pending in `wait`: there is more to do. CORRUPT, IO_ERROR. Releases what the view
 * has pinned: what was found is copied. */
MUST_CHECK enum status overlay_gather(struct overlay *overlay, struct lsm_view *view,
                                      struct lsm_wait *wait, unsigned *lookups_left);

/* The cell's contents are known without being asked for. */
void overlay_known(struct overlay *overlay, struct overlay_cell *cell, struct bytes value);

/* Allocates, and sets `failure` where it cannot. */
void *overlay_alloc(struct overlay *overlay, size_t size);
bool overlay_copy(struct overlay *overlay, struct bytes from, struct bytes *copy);

/* ---- Operations; on cells of records whose wanted cells are all gathered ---- */

/* `record` refers to memory that outlives the command. UNIQUE_VIOLATION changes nothing. Where
 * `failure` is set: OK, and the caller looks at it in the end. */
MUST_CHECK enum status overlay_put(struct overlay *overlay, struct overlay_cell *cell,
                                   const struct record *record);
void overlay_delete(struct overlay *overlay, struct overlay_cell *cell);

/* Expiry and index entries stay; a record that is not there is made, without any. */
void overlay_value_set(struct overlay_cell *cell, struct bytes value);

/* The unique indexes' cells that a put of these entries will look at. */
void overlay_want_uniques(struct overlay *overlay, const struct catalog_table *table,
                          struct bytes indexes);

/* ---- Writes ---- */

/* `key` and `value` outlive the command. */
void overlay_write(struct overlay *overlay, uint16_t tree, struct bytes key, struct bytes value);
void overlay_write_deletion(struct overlay *overlay, uint16_t tree, struct bytes key);

/* Turns the cells into writes. */
void overlay_finish(struct overlay *overlay);

/* Sorts the writes by (tree, key). */
void overlay_sort(struct overlay *overlay);

/* Drops the cells and the writes: a refusal has no effect. */
void overlay_drop(struct overlay *overlay);

#endif
