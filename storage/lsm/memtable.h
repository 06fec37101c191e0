/* SPDX-License-Identifier: Apache-2.0 */
/* A memtable: the newest entries of one tree, in memory and in order.
 *
 * Kind bytes is a B+tree in an arena; kind fixed an array of sorted runs, one for each published
 * version, runs of like size merged. In both, an entry's bytes never move and are never freed
 * before the memtable is, so what memtable_get() and cursors give stays valid as long as the
 * memtable is referenced, whatever is published meanwhile.
 *
 * Threads: an open memtable belongs to the core's thread, as do reference counts always. Once
 * sealed it is immutable, and its reads and cursors may be used on any thread that was handed it
 * (the hand-over orders memory). */
#ifndef STORAGE_LSM_MEMTABLE_H
#define STORAGE_LSM_MEMTABLE_H

#include "storage/lsm/entry.h"
#include "storage/lsm/lsm.h"

struct memtable;
struct memtable_record;
struct memtable_leaf;

enum {
    memtable_runs_max = 64, /* of kind fixed */
};

/* `tree` outlives the memtable. One reference, the caller's. NO_MEMORY. */
MUST_CHECK enum status memtable_create(const struct lsm_tree_options *tree,
                                       struct memtable **memtable);
void memtable_ref(struct memtable *memtable);
void memtable_unref(struct memtable *memtable); /* frees at the last */

/* Makes sure that `entries_count` puts of one version, of `size` bytes of keys and values together,
 * cannot fail. False where memory is out; it may be asked again. Memory that was reserved and not
 * used is kept for the next. */
MUST_CHECK bool memtable_reserve(struct memtable *memtable, size_t entries_count, size_t size);

/* Copies an entry in. Reserved for; not sealed; versions never go down; within one version keys
 * strictly ascend. Kind fixed: key and value have the tree's sizes (a tombstone's value is empty).
 */
void memtable_put(struct memtable *memtable, const struct lsm_entry *entry);

/* No put after this. */
void memtable_seal(struct memtable *memtable);
bool memtable_is_sealed(const struct memtable *memtable);

/* Bytes taken: entries with their overhead, and nodes. Grows with each put. */
size_t memtable_size(const struct memtable *memtable);
uint64_t memtable_entries_count(const struct memtable *memtable);

/* Of the entries put so far; UINT64_MAX and 0 where there are none. */
uint64_t memtable_version_min(const struct memtable *memtable);
uint64_t memtable_version_max(const struct memtable *memtable);

/* The newest entry of `key` at or below `version`, tombstones included. False: none (zeroed). */
bool memtable_get(const struct memtable *memtable, struct bytes key, uint64_t version,
                  struct lsm_entry *entry);

/* A place in a memtable. Needs no release; keeps no reference: its user holds one. It survives
 * puts: they are met when they lie ahead (so a reader at a version ignores versions above it), and
 * the entry it stands on stays where it is. Fields are private. */
struct memtable_cursor {
    const struct memtable *memtable;
    const struct memtable_record *record; /* stood on; NULL: nowhere */
    uint64_t modifications_count;         /* of the memtable when the place below was found */
    bool backwards;                       /* kind fixed: which way `places` are set */
    struct memtable_leaf *leaf;           /* kind bytes */
    uint32_t slot;                        /* kind bytes; kind fixed: the run of `record` */
    uint32_t places[memtable_runs_max];   /* kind fixed: the next slot of each run */
};

void memtable_cursor_init(struct memtable_cursor *cursor, const struct memtable *memtable);

/* Each stands on an entry and gives true with it, or gives false (entry zeroed) and stands nowhere,
 * where there is no such entry. */

/* The first at or after (key, version) in the order of entry.h. */
bool memtable_cursor_seek(struct memtable_cursor *cursor, struct bytes key, uint64_t version,
                          struct lsm_entry *entry);
/* The last before (key, version). With lsm_entry_version_max: the last whose key is smaller. */
bool memtable_cursor_seek_before(struct memtable_cursor *cursor, struct bytes key, uint64_t version,
                                 struct lsm_entry *entry);
bool memtable_cursor_first(struct memtable_cursor *cursor, struct lsm_entry *entry);
bool memtable_cursor_last(struct memtable_cursor *cursor, struct lsm_entry *entry);

/* From the entry it stands on; false where it stands nowhere. */
bool memtable_cursor_next(struct memtable_cursor *cursor, struct lsm_entry *entry);
bool memtable_cursor_previous(struct memtable_cursor *cursor, struct lsm_entry *entry);

#endif
