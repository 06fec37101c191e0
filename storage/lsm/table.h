/* SPDX-License-Identifier: Apache-2.0 */
/* A table: entries in order, immutable in a file, and its readers on the core's thread. The bytes
 * are described in table_format.h; tables are made by table_writer.h, read in bulk on workers by
 * table_scanner.h, and checked by table_check.h.
 *
 * Resident is little: the sealer, and the top-level index (an entry for about each MiB). All else
 * comes through the block cache, so reads answer AGAIN.
 *
 * Reads return OK, AGAIN (`wait` will be told; call again with the same arguments), CORRUPT,
 * IO_ERROR, NO_MEMORY (all of the cache is pinned, or malloc failed), and what each says. */
#ifndef STORAGE_LSM_TABLE_H
#define STORAGE_LSM_TABLE_H

#include "proto/base/error.h"
#include "storage/io/io.h"
#include "storage/lsm/cache.h"
#include "storage/lsm/entry.h"
#include "storage/lsm/lsm.h"
#include "storage/lsm/table_block.h"
#include "storage/seal/registry.h"

struct table;

enum { table_path_size = 512 };

/* What the manifest keeps of a table. */
struct table_info {
    uint64_t number;           /* never used again within the store; names the file; not 0 */
    uint64_t file_size;        /* exact */
    uint64_t entries_count;    /* tombstones included; not 0 */
    uint64_t tombstones_count; /* of them */
    uint64_t version_min;
    uint64_t version_max;
    uint32_t data_key;     /* of the keyring, that the file's own key is wrapped under */
    struct bytes smallest; /* key of the first entry */
    struct bytes largest;  /* key of the last entry */
    uint8_t *keys;         /* from malloc: holds both; NULL where another owns their memory */
};

/* A copy whose keys are its own. NO_MEMORY. */
MUST_CHECK enum status table_info_copy(const struct table_info *from, struct table_info *to);
void table_info_free(struct table_info *info); /* frees `keys`, zeroes */

/* DIRECTORY/NNNNNNNNNNNNNNNN.table, the number in 16 hexadecimal digits. False: too long. */
MUST_CHECK bool table_path(const char *directory, uint64_t number, char path[table_path_size]);

/* Whether `name` (without its directory) is a table's, and which number it has. */
bool table_name_parse(const char *name, uint64_t *number);

/* Opens the file, verifies its header, its footer and the top-level index against `info` (which is
 * copied) and reads no more. `tree` outlives the table. One reference. Blocking, with the io of the
 * calling thread; a worker may open what it wrote and hand the table over. CORRUPT (also: another
 * size than the manifest says), NEWER_FORMAT, KEY_MISSING, NOT_FOUND, IO_ERROR, NO_MEMORY; `error`
 * names the file. */
MUST_CHECK enum status table_open(struct io *io, struct keyring *keyring, const char *directory,
                                  const struct lsm_tree_options *tree,
                                  const struct table_info *info, struct table **table,
                                  struct error *error);

/* Puts an opened table under the core's cache, before its first read. */
void table_attach(struct table *table, struct cache *cache);

/* The core's thread. At the last reference: its cached blocks go, reads under way end, the file is
 * closed and the table freed, without blocking (cache_free() waits for it). A table that was never
 * attached is closed by table_discard(). The file itself is the caller's to unlink. */
void table_ref(struct table *table);
void table_unref(struct table *table);

/* Closes a table that was never attached: its only reference. Blocking, any thread's io. */
void table_discard(struct table *table, struct io *io);

const struct table_info *table_info(const struct table *table);
const char *table_file_path(const struct table *table);

/* Whether a key in [start, end) can be in it, by its bounds. An empty `end` is the tree's. */
bool table_overlaps(const struct table *table, struct bytes start, struct bytes end);

/* The newest entry of `key` at or below `version`, tombstones included; or NOT_FOUND. On OK,
 * `*pin` is a block to be unpinned (cache_unpin), until when entry->value is valid; entry->key is
 * the caller's `key`. Otherwise `*pin` is NULL. */
MUST_CHECK enum status table_get(struct table *table, struct lsm_wait *wait, struct bytes key,
                                 uint64_t version, struct cache_block **pin,
                                 struct lsm_entry *entry);

/* A place in a table, for the core's thread. Pins at most two blocks: the data block it stands in
 * and that one's index. Not to be copied. Fields are private. */
struct table_cursor {
    struct table *table;
    uint64_t since;               /* see table_cursor_init() */
    struct cache_block *index;    /* of `partition`; NULL: none pinned */
    struct cache_block *data;     /* NULL: stands nowhere */
    uint32_t partition;           /* in the top-level index */
    uint32_t block;               /* in the partition */
    struct table_block_cursor at; /* in the data block */
};

/* The table outlives the cursor. Blocks, and partitions of blocks, whose versions are all at or
 * below `since` are passed over unread: for a caller who wants newer ones only, and who still gets
 * some that are older. 0 passes over none but version 0. */
void table_cursor_init(struct table_cursor *cursor, struct table *table, uint64_t since);
void table_cursor_close(struct table_cursor *cursor); /* unpins; again is harmless */

/* Each stands on an entry and gives OK with it; the entry's key and value are valid until the next
 * call with the cursor. END: there is no such entry, and it stands nowhere. On any other status
 * next and previous stay where they stood, so the same call may be made again; a seek stands
 * nowhere. The entry is zeroed unless OK. */

/* The first at or after (key, version) in the order of entry.h. */
MUST_CHECK enum status table_cursor_seek(struct table_cursor *cursor, struct lsm_wait *wait,
                                         struct bytes key, uint64_t version,
                                         struct lsm_entry *entry);
/* The last before (key, version). With lsm_entry_version_max: the last whose key is smaller. */
MUST_CHECK enum status table_cursor_seek_before(struct table_cursor *cursor, struct lsm_wait *wait,
                                                struct bytes key, uint64_t version,
                                                struct lsm_entry *entry);
MUST_CHECK enum status table_cursor_first(struct table_cursor *cursor, struct lsm_wait *wait,
                                          struct lsm_entry *entry);
MUST_CHECK enum status table_cursor_last(struct table_cursor *cursor, struct lsm_wait *wait,
                                         struct lsm_entry *entry);

/* From the entry it stands on; END where it stands nowhere. */
MUST_CHECK enum status table_cursor_next(struct table_cursor *cursor, struct lsm_wait *wait,
                                         struct lsm_entry *entry);
MUST_CHECK enum status table_cursor_previous(struct table_cursor *cursor, struct lsm_wait *wait,
                                             struct lsm_entry *entry);

#endif
