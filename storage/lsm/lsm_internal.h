/* SPDX-License-Identifier: Apache-2.0 */
/* The LSM's own struct, and what its files ask of one another. lsm.c opens and closes it, write.c
 * fills the memtables, view.c, get.c, changed.c and iterator.c read, jobs.c hands out work,
 * install.c replaces the manifest, and flush.c, compaction.c, remove.c, checkpoint.c, replace.c,
 * check.c and scrub.c are the jobs.
 *
 * All of it belongs to the core's thread. A job on a worker touches its own struct, the immutable
 * things that it holds (a version set, sealed memtables), and of the LSM only `options`, `trees`
 * and `directory`, which never change while it is open. */
#ifndef STORAGE_LSM_LSM_INTERNAL_H
#define STORAGE_LSM_LSM_INTERNAL_H

#include "storage/lsm/cache.h"
#include "storage/lsm/jobs.h"
#include "storage/lsm/lsm.h"
#include "storage/lsm/manifest.h"
#include "storage/lsm/memtable.h"
#include "storage/lsm/version_set.h"
#include "storage/seal/twin.h"

enum {
    lsm_compactions_max = 4,         /* jobs begun and not installed */
    lsm_checkpoints_max = 16,        /* asked for and not done */
    lsm_numbers_reserved = 4096,     /* table numbers that one manifest write takes into use */
    lsm_retry_ms = 1000,             /* after a full disk */
    lsm_job_step_size = 1024 * 1024, /* bytes that one step works off, about */
};

/* The memtables of all trees that are sealed together: one generation. */
struct memory {
    unsigned references; /* the LSM's and its views' */
    unsigned trees_count;
    struct memtable *tables[lsm_trees_max];
    uint64_t version_first; /* of the writes in it; UINT64_MAX and 0 while empty */
    uint64_t version_last;
    bool flushing;        /* a flush job has it, or waits with its tables to be installed */
    struct lsm_mark mark; /* once sealed: up to where its tables are durable, when installed */
    struct attachment attachment; /* of that mark */
    struct list_link link;
};

struct discard {
    size_t size;
    uint8_t key[lsm_key_size_max];
};

/* A checkpoint that was asked for. */
struct checkpoint_request {
    struct list_link link;
    char directory[table_path_size];
    uint64_t index; /* installed marks from here on satisfy it */
    void (*done)(void *context, enum status status, const struct lsm_mark *mark);
    void *context;
};

/* The content that was asked for in place of all there is: replace.c. */
struct lsm_replace {
    bool asked;
    bool restores;        /* a checkpoint of this LSM's own, under `mark` */
    bool adopts;          /* another's, under `mark`; regional trees stay */
    struct lsm_mark mark; /* of either */
    char directory[table_path_size];
    void (*done)(void *context, enum status status, const struct lsm_mark *mark);
    void *context;
};

/* The check under way. */
struct check_state {
    struct lsm_check_progress progress;
    struct version_set *set; /* whose tables are checked */
    unsigned tree;           /* the next table */
    unsigned level;
    uint32_t position;
    void (*bad)(void *context, const char *path, uint64_t offset, const char *text);
    void (*done)(void *context, enum status status);
    void *context;
};

struct lsm {
    struct lsm_options options;                   /* defaults filled in */
    struct lsm_tree_options trees[lsm_trees_max]; /* ascending ids; their order is the position */
    unsigned trees_count;
    char directory[table_path_size];
    struct io *io;
    struct cache *cache;
    struct twin
        *twin; /* NULL after a write that failed for lack of space: opened anew by the next */

    /* Durable: what the newest manifest says. Moves when a manifest write returns. */
    struct version_set *current;
    struct lsm_mark installed;
    struct attachment attachment_installed;
    uint64_t numbers_end;

    /* In memory. */
    struct memory *open;     /* takes writes; NULL until has_room() makes it */
    struct list_link sealed; /* oldest first */
    unsigned sealed_count;
    struct lsm_mark mark;              /* of the last publish */
    struct attachment attachment;      /* of that mark */
    struct attachment attachment_next; /* of the next one */
    uint64_t index_sealed; /* of the newest sealed generation's mark, or the installed one's */
    uint64_t horizon;      /* only rises */
    struct discard *discards[lsm_trees_max]; /* NULL: nothing */

    /* Work. */
    uint64_t numbers_next;     /* below numbers_end, or a manifest write must come first */
    bool numbers_wanted;       /* a job could not begin for lack of numbers */
    struct list_link queue;    /* jobs begun, not finished, and not taken */
    struct list_link taken;    /* jobs that workers have */
    struct list_link finished; /* jobs whose edits wait for a manifest write, in order */
    bool manifest_writing;     /* a manifest job is queued or taken */
    bool flush_running;        /* a flush job is queued or taken */
    bool remove_running;
    unsigned compactions_count; /* begun and not installed */
    struct list_link obsolete;  /* files that no set names, to be unlinked */
    struct io_timer retry;
    bool disk_full;   /* a job failed for it; until one that writes succeeds */
    bool retry_later; /* until the timer fires */
    struct bytes compact_keys[lsm_trees_max]
                             [lsm_levels_count]; /* where the last one ended; malloc */
    struct list_link checkpoints;
    unsigned checkpoints_count;
    bool checkpoint_running;
    struct lsm_replace replace;
    struct scrub_request *scrub_asked; /* its version is not installed yet; NULL: none */
    struct lsm_job *scrub_job;         /* begun; NULL: none */
    struct check_state check;
    bool check_running;        /* its job is queued or taken */
    bool halted;               /* until all content is replaced */
    struct list_link unopened; /* of a bare one: the files that its manifest names */

    unsigned views_count;
    struct lsm_statistics statistics; /* counters only; the rest is computed when asked for */
};

/* ---- lsm.c ---- */

/* The position of a tree; asserts that it exists. */
unsigned lsm_tree_position(const struct lsm *lsm, uint16_t id);

/* Tells the owner that a job may be taken, or that pressure changed. */
void lsm_work(struct lsm *lsm);

/* ---- write.c ---- */

void memory_release(struct memory *memory);
static inline struct memory *memory_hold(struct memory *memory)
{
    memory->references++;
    return memory;
}

struct bytes lsm_discard_key(const struct lsm *lsm, unsigned tree); /* empty: nothing */

/* ---- install.c ---- */

/* Makes a set the only content, in place of all there was, memtables included: its manifest, of
 * `source`, is durable, and no other job is under way. Takes `discards`. Table numbers go on from
 * `number_next`. */
void install_content(struct lsm *lsm, struct version_set *set, const struct manifest_source *source,
                     struct discard *discards[lsm_trees_max], uint64_t number_next);

/* ---- scrub.c ---- */

/* While a scrub waits for its version to be installed: no whole tables are dropped, nor keys. */
bool scrub_waits(const struct lsm *lsm);
/* The horizon that flushes and compactions may go by. */
uint64_t scrub_horizon(const struct lsm *lsm);
/* All content is to be replaced: what waits, or is queued, is told CANCELLED. */
void scrub_cancel(struct lsm *lsm);
void scrub_close(struct lsm *lsm);

/* ---- view.c ---- */

struct lsm_view {
    struct lsm *lsm;
    uint64_t version;
    uint64_t index; /* of the newest mark at its opening: bounds regional trees */
    struct version_set *set;
    unsigned iterators_count;
    struct cache_block **pins; /* what lsm_get() pinned */
    size_t pins_count;
    size_t pins_max;
    struct changed_progress *progress; /* changed.c's; NULL: none */
    unsigned memories_count;
    struct memory *memories[]; /* newest first */
};

/* What an entry's version is compared with. */
static inline uint64_t view_version(const struct lsm_view *view, unsigned tree)
{
    return view->lsm->trees[tree].regional ? view->index : view->version;
}

/* ---- changed.c ---- */

void changed_progress_free(struct changed_progress *progress); /* NULL is permitted */

/* ---- get.c ---- */

/* The newest entry of `key` in (since, the view's version]; OK, NOT_FOUND, and as lsm_get(). The
 * entry is valid as lsm_get()'s value is. */
MUST_CHECK enum status view_find(struct lsm_view *view, struct lsm_wait *wait, unsigned tree,
                                 struct bytes key, uint64_t since, struct lsm_entry *entry);

#endif
