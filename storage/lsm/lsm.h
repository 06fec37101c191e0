/* SPDX-License-Identifier: Apache-2.0 */
/* The LSM: several trees of versioned keys under one manifest. It is the log, materialised; it has
 * no log of its own.
 *
 * Writes come from apply, one version at a time, into the open memtables of all trees. When they
 * are full, all are sealed together at one mark; workers write them as tables of level 0, and a
 * manifest swap installs them. Leveled compaction follows. What was published past the last
 * installed mark is in memory only, and comes back by replaying the write-ahead log from that mark.
 *
 * Single-threaded: everything here belongs to the core's thread, except lsm_job_step(), which
 * works on what is immutable. Reads never block: what is not in memory is asked for, and the call
 * answers AGAIN.
 *
 * Versions: each key keeps its history down to the horizon. A read at version v sees, per key, the
 * newest entry at or below v. Compaction drops only what no version at or above the horizon can
 * see. */
#ifndef STORAGE_LSM_LSM_H
#define STORAGE_LSM_LSM_H

#include "proto/base/error.h"
#include "proto/base/hash.h"
#include "storage/io/io.h"
#include "storage/seal/registry.h"

struct lsm;
struct lsm_view;
struct lsm_iterator;
struct lsm_job;

enum {
    lsm_trees_max = 16,
    lsm_mark_state_size_max = 512,
    lsm_attachment_size_max = 4096,
    lsm_key_size_max = 4096, /* a tree's key, composed by the state */
    lsm_value_size_max = 2 * 1024 * 1024,
};

enum lsm_kind {
    LSM_BYTES, /* keys and values of any size; prefix-compressed, LZ4-compressed blocks */
    LSM_FIXED, /* sizes known when compiled; blocks without prefixes, lengths or LZ4 */
};

struct lsm_tree_options {
    uint16_t id; /* on disk; never used again for another purpose */
    const char *name;
    enum lsm_kind kind;
    uint32_t key_size;   /* LSM_FIXED */
    uint32_t value_size; /* LSM_FIXED; may be 0 */

    /* Holds what no version tells of, and another store with the same versions need not have. Its
     * entries carry the index of their mark in place of a version. A view sees what is newest as it
     * is opened, whatever version it is of; of each key the newest entry alone is kept; scrubs
     * leave the tree out. LSM_BYTES only. */
    bool regional;
};

/* Up to where the tables are durable: what the manifest records of the log. */
struct lsm_mark {
    uint64_t index;
    uint64_t term;
    uint64_t version;                       /* of the newest entry */
    uint64_t state_size;                    /* at most lsm_mark_state_size_max */
    uint8_t state[lsm_mark_state_size_max]; /* the state machine's own: position, log time, ... */
};

struct lsm_options {
    struct io *io;
    struct keyring *keyring;
    const char *directory; /* exists; holds nothing but this LSM */
    const struct lsm_tree_options *trees;
    unsigned trees_count;
    size_t memtable_size;     /* of all trees together before sealing; 0: 64 MiB */
    unsigned memtables_max;   /* sealed ones waiting, past which writers are BUSY; 0: 4 */
    size_t cache_size;        /* block cache; 0: 256 MiB */
    uint64_t table_size;      /* a table's target; 0: 32 MiB */
    uint64_t level_base_size; /* level 1's target; 0: 256 MiB; each further level 10 times that */
    unsigned level0_compact_count; /* tables that start a compaction; 0: 4 */
    unsigned level0_stop_count;    /* tables past which writers are BUSY; 0: 20 */
    bool uncompressed;             /* no LZ4, by name */
    uint64_t scrub_rate_max;       /* bytes of entries a second of a paced scrub; 0: 32 MiB */

    /* Opens the manifest and none of the tables that it names, damaged as they may be: the mark,
     * the attachment and the numbers are there, and no content. As after lsm_halt(), nothing is
     * done but to replace it; what the manifest names stays until then. */
    bool bare;

    /* There may be a job to take, or pressure has changed. Called from within calls made by the
     * core; the callee only takes note. */
    void (*work)(void *context);
    void *context;
};

struct lsm_report {
    bool created; /* the directory was empty */
    bool manifest_repaired;
    char repaired_path[512];
    uint64_t tables_count;
    uint64_t removed_count; /* files that no manifest names: leftovers of a crash */
};

/* Opens, making it where `directory` is empty. `*mark` is the installed mark (zeros when new).
 * CORRUPT, KEY_MISSING, NEWER_FORMAT name the file. A tree of the manifest that `trees` lacks, or
 * has with other sizes, is NEWER_FORMAT. Blocking. */
MUST_CHECK enum status lsm_open(const struct lsm_options *options, struct lsm **lsm,
                                struct lsm_mark *mark, struct lsm_report *report,
                                struct error *error);

/* All views and iterators are closed, all jobs returned. What is not installed is dropped: it is in
 * the write-ahead log. Blocking. */
void lsm_close(struct lsm *lsm);

/* ---- Writing ---- */

struct lsm_write {
    uint16_t tree;
    bool deletion; /* a tombstone; `value` is empty */
    struct bytes key;
    struct bytes value;
};

/* Whether a publish of `size` more bytes (keys, values, 64 each for each write) may come now; else
 * the caller waits for `work`. False only under pressure or out of memory, never for good. */
bool lsm_has_room(struct lsm *lsm, size_t size);

/* Puts the writes of one version, in one step that cannot fail, after lsm_has_room() said yes.
 * Sorted by (tree, key), each key once. `mark.version` is their version, above all before; marks
 * also come without writes, or with writes to regional trees alone, where `mark.index` is above all
 * before. Bytes are copied. Seals the memtables where they are full. */
void lsm_publish(struct lsm *lsm, const struct lsm_write *writes, size_t count,
                 const struct lsm_mark *mark);

/* Bytes that belong to all marks from the next lsm_publish() on, until they are replaced: what the
 * owner keeps beside the trees and must never have of another moment than theirs. A manifest
 * records those of its mark, so they survive, and travel with checkpoints. Copied; at most
 * lsm_attachment_size_max. */
void lsm_attachment_set(struct lsm *lsm, struct bytes attachment);

/* What was set last; after lsm_open(), those of the installed mark; empty in a new LSM. Valid until
 * the next lsm_attachment_set(). */
struct bytes lsm_attachment(const struct lsm *lsm);

/* Seals what the memtables hold, at the last mark: for checkpoints, shut-down and tests. */
void lsm_seal(struct lsm *lsm);

/* The index of the mark that is installed: what lies at or below it comes back from the tables, and
 * the write-ahead log may let go of it. Moves within lsm_job_return(). */
uint64_t lsm_installed_index(const struct lsm *lsm);

/* The mark itself: what an lsm_open() now would give. */
const struct lsm_mark *lsm_installed_mark(const struct lsm *lsm);

/* Versions hidden below `version` may go. Only goes up. */
void lsm_horizon_set(struct lsm *lsm, uint64_t version);

/* Keys of `tree` below `key` are of no use to anyone: whole tables of them may go. Only goes up;
 * recorded by the manifest. Readers may still meet such keys. */
void lsm_discard_below(struct lsm *lsm, uint16_t tree, struct bytes key);

/* How hard writers should be held back: 0 not at all, 1..99 gradually, 100 BUSY. */
unsigned lsm_pressure(const struct lsm *lsm);

/* ---- Reading ---- */

/* Told when all blocks that were asked for on its behalf are there (or failed: the next call says
 * so): then call again. Embedded by the caller; initialised by lsm_wait_init(); may not be freed
 * while pending_count is not 0, unless cancelled. */
struct lsm_wait {
    void (*ready)(struct lsm_wait *wait);
    void *context;
    unsigned pending_count;
    struct list_link blocks; /* the cache's */
};

void lsm_wait_init(struct lsm_wait *wait, void (*ready)(struct lsm_wait *wait), void *context);
void lsm_wait_cancel(struct lsm_wait *wait); /* no call after this */

/* Fixes a version, the memtables and the tables, and holds them until closed. `version` is at or
 * above the horizon. UINT64_MAX: the newest. */
MUST_CHECK enum status lsm_view_open(struct lsm *lsm, uint64_t version, struct lsm_view **view);
void lsm_view_close(struct lsm_view *view);
uint64_t lsm_view_version(const struct lsm_view *view);

struct lsm_value {
    uint64_t version; /* of the newest entry at or below the view's version, tombstones included; of
                         a regional tree: its index */
    struct bytes value;
};

/* OK, NOT_FOUND (with value->version of the tombstone, or 0), AGAIN, CORRUPT, IO_ERROR. The value's
 * bytes are valid until the view is closed, or lsm_view_release() is called. */
MUST_CHECK enum status lsm_get(struct lsm_view *view, struct lsm_wait *wait, uint16_t tree,
                               struct bytes key, struct lsm_value *value);

/* Unpins the blocks that lsm_get() pinned. */
void lsm_view_release(struct lsm_view *view);

/* Whether any entry, tombstones included, of a key in [start, end) has a version above `since` and
 * at or below the view's. An empty `end` is the tree's. Looks only where such versions can be. Not
 * of a regional tree. */
MUST_CHECK enum status lsm_changed(struct lsm_view *view, struct lsm_wait *wait, uint16_t tree,
                                   struct bytes start, struct bytes end, uint64_t since,
                                   bool *changed);

struct lsm_item {
    struct bytes key; /* key and value: valid until the next call with this iterator */
    struct bytes value;
    uint64_t version;
};

/* Visible keys in [start, end), in order, or from the end backwards where `reverse`. `start` and
 * `end` are copied; an empty `end` is the tree's. */
MUST_CHECK enum status lsm_iterator_open(struct lsm_view *view, uint16_t tree, struct bytes start,
                                         struct bytes end, bool reverse,
                                         struct lsm_iterator **iterator);

/* OK, END, AGAIN (call again, nothing was passed over), CORRUPT, IO_ERROR. */
MUST_CHECK enum status lsm_iterator_next(struct lsm_iterator *iterator, struct lsm_wait *wait,
                                         struct lsm_item *item);
void lsm_iterator_close(struct lsm_iterator *iterator); /* before its view */

/* ---- Work for workers ---- */

/* The most urgent job that may run now, or NULL: a manifest to be written, a flush, level 0, the
 * other levels, a checkpoint, a check, a scrub. Several may be out at once, one per worker. */
struct lsm_job *lsm_job_take(struct lsm *lsm);

/* Before a step, on the core's thread: whether the job takes its time until it is taken anew. Then
 * it rests again and again within a step, so that whoever shares the processor, the log's flushes
 * above all, never waits long behind it. For workers with a thread and an io of their own. */
void lsm_job_pace(struct lsm_job *job, bool paced);

/* On a worker's thread, with its own io: works off at most about 1 MiB. True: finished (also by a
 * failure, which lsm_job_return() deals with). */
bool lsm_job_step(struct lsm_job *job, struct io *worker_io);

/* Back on the core's thread, finished or not: an unfinished one goes back to the queue and will be
 * taken again when it is the most urgent. A finished one is installed, or starts what must follow.
 * Not OK: DISK_FULL is retried when space comes back; all else is final, and the owner ends the
 * process; `error` names the file. */
MUST_CHECK enum status lsm_job_return(struct lsm *lsm, struct lsm_job *job, struct error *error);

/* What is here is damaged, or wrong: no job begins any more but what an lsm_install() needs, and
 * the check. Jobs under way end. Writing and reading are the owner's to stop. Ends with the
 * installation. */
void lsm_halt(struct lsm *lsm);

/* Whether nothing is left to do and no job is out. */
bool lsm_is_idle(const struct lsm *lsm);

/* Seals, and once that is installed makes `directory` (which must not exist) with hard links to all
 * tables and a manifest of its own; it opens like the original, under the same keyring. `done` is
 * called from lsm_job_return(). */
void lsm_checkpoint(struct lsm *lsm, const char *directory,
                    void (*done)(void *context, enum status status, const struct lsm_mark *mark),
                    void *context);

/* Removes a checkpoint, or what was staged for lsm_install(), with the files in it; there may be
 * none. Blocking, any thread's io. */
MUST_CHECK enum status lsm_directory_remove(struct io *io, const char *directory);

/* How content travels from a checkpoint of one LSM (export.h) to a directory that another one can
 * install (import.h): table by table, each in chunks, both from 0. */
enum { lsm_transfer_id_size = 16 };
struct lsm_transfer_position {
    uint32_t table;
    uint32_t chunk;
};

/* Where the numbers of tables begin that are staged for lsm_install(): above all that this LSM
 * gives out before the next installation. */
uint64_t lsm_staging_number(const struct lsm *lsm);

/* Replaces all content by that of `directory`, which an import made whole, by one swap of the
 * manifest: whatever stops the process before it leaves the old content, after it the new. Then
 * `directory` is removed.
 *
 * Waits for the jobs under way and begins no others. From here until `done` nothing may be
 * published; what is in memory only is dropped. Mark, attachment, horizon and discard keys become
 * those of the new content. Views that are open go on to see the old one, whose files go with them.
 *
 * `done` is called from lsm_job_return(), or, where it is refused, at once. Not OK: the old content
 * is as it was, and writing may go on. BUSY: another installation is under way; DISK_FULL,
 * NO_MEMORY: may be asked for again; CORRUPT, NEWER_FORMAT, INVALID_ARGUMENT (staged for the
 * numbers of an earlier content): this directory will never do. IO_ERROR: lsm_job_return() says so
 * too. */
void lsm_install(struct lsm *lsm, const char *directory,
                 void (*done)(void *context, enum status status, const struct lsm_mark *mark),
                 void *context);

/* What a checkpoint of this LSM is of. NOT_FOUND: there is none; CORRUPT, NEWER_FORMAT. Blocking,
 * any thread's io. */
MUST_CHECK enum status lsm_checkpoint_look(struct io *io, struct keyring *keyring,
                                           const char *directory, struct lsm_mark *mark);

/* Goes back to a checkpoint of this very LSM, as lsm_install() goes on to another's: by one swap of
 * the manifest, after which the checkpoint's directory is removed. Files that both have stay where
 * they are. The manifest records `mark` in place of the checkpoint's, of which it has the index,
 * the term and the version: its state bytes may say more, so that what they say is true from the
 * very moment of the swap. No view is open, nor opened until `done` was called; nobody but the
 * check holds older tables. Statuses are lsm_install()'s; INVALID_ARGUMENT also where `mark` is not
 * the checkpoint's, or a checkpoint of an earlier content is given. */
void lsm_restore(struct lsm *lsm, const char *directory, const struct lsm_mark *mark,
                 void (*done)(void *context, enum status status, const struct lsm_mark *mark),
                 void *context);

/* As lsm_install(), of content that is another region's: the regional trees and the attachment stay
 * this LSM's own, and the manifest records `mark`, which has the index that is installed here, and
 * the staged content's version. All that was published is installed. INVALID_ARGUMENT also where
 * the version is another one. */
void lsm_adopt(struct lsm *lsm, const char *directory, const struct lsm_mark *mark,
               void (*done)(void *context, enum status status, const struct lsm_mark *mark),
               void *context);

struct lsm_check_progress {
    bool running;
    uint64_t checked_size;
    uint64_t total_size;
    uint64_t files_count;
    uint64_t findings_count;
};

/* Reads all blocks of all tables and both copies of the manifest from the disk, past the cache, and
 * verifies them, as jobs of the lowest urgency. `bad` is called on the core's thread for each
 * finding; `done` at the end. One at a time: BUSY. */
MUST_CHECK enum status lsm_check(struct lsm *lsm,
                                 void (*bad)(void *context, const char *path, uint64_t offset,
                                             const char *text),
                                 void (*done)(void *context, enum status status), void *context);
struct lsm_check_progress lsm_check_progress(const struct lsm *lsm);

/* Keys of a tree below `key` do not count: replicas may have dropped them or not. */
struct lsm_scrub_floor {
    uint16_t tree;
    struct bytes key; /* at or above all that lsm_discard_below() was given; copied */
};

/* Computes, from the tables on disk and past all caches, a digest of all that is visible at the
 * version published last, as a job of the lowest urgency: where replicas asked at the same version,
 * theirs are equal, whatever their tables look like. Writing goes on meanwhile. `done` is called
 * from lsm_job_return(): OK; CORRUPT, IO_ERROR or NO_MEMORY where a table could not be read;
 * CANCELLED, from lsm_job_take(), where an installation replaces the content. BUSY: one is under
 * way, or all is halted; NO_MEMORY. */
MUST_CHECK enum status
lsm_scrub(struct lsm *lsm, const struct lsm_scrub_floor *floors, size_t floors_count,
          void (*done)(void *context, enum status status, uint64_t version, struct hash128 digest),
          void *context);

struct lsm_statistics {
    uint64_t memtable_size;
    uint64_t sealed_count;
    uint64_t cache_size;
    uint64_t cache_hits_count;
    uint64_t cache_misses_count;
    uint64_t tables_count;
    uint64_t tables_size;
    uint64_t level0_count;
    uint64_t flushed_size;
    uint64_t compacted_size;
    uint64_t compactions_count;
    uint64_t compactions_running; /* begun and not installed */
    uint64_t blocked_count;       /* reads that answered AGAIN */
    bool disk_full;               /* a job failed for lack of space, and will be tried again */
};
struct lsm_statistics lsm_statistics(const struct lsm *lsm);

/* The newest block of a table that was read and did not hold: its file, and where in it. False:
 * none since the start. */
bool lsm_damage(const struct lsm *lsm, const char **path, uint64_t *offset);

#endif
