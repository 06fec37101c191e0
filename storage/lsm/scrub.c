/* SPDX-License-Identifier: Apache-2.0 */
/* The scrub: a digest of what is visible at one version, computed anew from the tables on disk.
 *
 * It is a sum, over all that is visible, of a hash of (tree, key, version, value): the order in
 * which replicas' tables hold it, and what else they hold, make no difference. Visible is, as to
 * every reader, the newest entry of a key at or below the version, unless it is a tombstone.
 * Regional trees are left out: what they hold is of no version.
 *
 *     asked for   at the newest version: it is sealed, and until the job begins nothing is dropped
 *                 that is visible at it: what flushes and compactions may drop is held back
 *     installed   the version's mark: the job begins, with the set of tables of that moment, which
 *                 holds all that is visible at the version, whatever is dropped from then on
 *     worked off  tree by tree, all tables merged, no faster than scrub_rate_max
 */
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/hash.h"
#include "storage/lsm/lsm_internal.h"
#include "storage/lsm/merge.h"

/* What was asked for; the job's, from its beginning on. */
struct scrub_request {
    uint64_t version;
    struct discard floors[lsm_trees_max];
    void (*done)(void *context, enum status status, uint64_t version, struct hash128 digest);
    void *context;
};

struct scrub_job {
    struct lsm_job job;
    struct scrub_request *request;
    struct version_set *set;
    unsigned tree;
    struct merge merge; /* of `tree`; without sources: to be begun */
    bool key_known;     /* `key`: the newest entry at or below the version was seen */
    size_t key_size;
    uint8_t key[lsm_key_size_max];
    struct hash128 digest;
    enum status outcome;
};

/* ---- What is visible ---- */

static void add_visible(struct scrub_job *scrub, const struct lsm_entry *entry)
{
    uint8_t covered[2 + 8 + 16 + 16];
    struct hash128 key = hash128(entry->key);
    struct hash128 value = hash128(entry->value);
    store_u16(covered, scrub->job.lsm->trees[scrub->tree].id);
    store_u64(covered + 2, entry->version);
    store_u64(covered + 10, key.low);
    store_u64(covered + 18, key.high);
    store_u64(covered + 26, value.low);
    store_u64(covered + 34, value.high);
    struct hash128 hash = hash128(bytes_of(covered, sizeof covered));
    scrub->digest.low += hash.low;
    scrub->digest.high += hash.high;
}

static void take_entry(struct scrub_job *scrub, const struct lsm_entry *entry)
{
    const struct discard *discard = &scrub->request->floors[scrub->tree];
    struct bytes floor = bytes_of(discard->key, discard->size);
    if (entry->version > scrub->request->version || bytes_compare(entry->key, floor) < 0)
        return;
    if (scrub->key_known && bytes_equal(entry->key, bytes_of(scrub->key, scrub->key_size)))
        return; /* hidden by a newer one */
    scrub->key_known = true;
    scrub->key_size = entry->key.size;
    bytes_copy(scrub->key, entry->key);
    if (!entry->deletion)
        add_visible(scrub, entry);
}

/* ---- The job ---- */

/* None of those of a regional tree. */
static enum status begin_tree(struct scrub_job *scrub)
{
    const struct tree_tables *tree = scrub->set->trees[scrub->tree];
    if (scrub->job.lsm->trees[scrub->tree].regional)
        return STATUS_END;
    const struct level *level0 = &tree->levels[0];
    if (!merge_open(&scrub->merge, level0->count + (size_t)lsm_levels_count))
        return STATUS_NO_MEMORY;
    for (uint32_t i = 0; i < level0->count; i++)
        merge_add(&scrub->merge, &level0->files[i], 1);
    for (unsigned l = 1; l < lsm_levels_count; l++)
        merge_add(&scrub->merge, tree->levels[l].files, tree->levels[l].count);
    scrub->key_known = false;
    return STATUS_OK;
}

/* About a step's worth of one tree. END: all of the tree. */
static enum status scrub_tree(struct scrub_job *scrub, struct io *io)
{
    struct lsm_entry entry;
    enum status status = scrub->merge.sources == NULL ? begin_tree(scrub) : STATUS_OK;
    for (size_t size = 0; status == STATUS_OK && size < lsm_job_step_size;) {
        status = merge_next(&scrub->merge, io, &entry, &scrub->job.error);
        if (status != STATUS_OK)
            break;
        size_t entry_size = entry.key.size + entry.value.size + sizeof(uint64_t);
        take_entry(scrub, &entry);
        size += entry_size;
        job_worked(&scrub->job, io, entry_size);
    }
    return status;
}

static bool scrub_step(struct lsm_job *job, struct io *worker_io)
{
    struct scrub_job *scrub = (struct scrub_job *)job;
    enum status status = scrub_tree(scrub, worker_io);
    if (status == STATUS_OK)
        return false;
    if (status == STATUS_END) {
        merge_close(&scrub->merge);
        status = STATUS_OK;
        if (++scrub->tree < scrub->set->trees_count)
            return false;
    }
    /* Damage is the asker's to deal with: it is what a scrub looks for. */
    scrub->outcome = status;
    return job_finish(job, STATUS_OK, "", "");
}

/* Gives the request back. */
static struct scrub_request *scrub_free(struct scrub_job *scrub)
{
    struct lsm *lsm = scrub->job.lsm;
    struct scrub_request *request = scrub->request;
    merge_close(&scrub->merge);
    version_set_release(scrub->set, &lsm->obsolete);
    free(scrub);
    lsm->scrub_job = NULL;
    return request;
}

static void tell(struct scrub_request *request, enum status status, struct hash128 digest)
{
    request->done(request->context, status, request->version, digest);
    free(request);
}

static enum status scrub_returned(struct lsm_job *job, struct error *error)
{
    struct scrub_job *scrub = (struct scrub_job *)job;
    struct hash128 none = {0};
    struct hash128 digest = scrub->outcome == STATUS_OK ? scrub->digest : none;
    enum status outcome = scrub->outcome;
    (void)error;
    tell(scrub_free(scrub), outcome, digest);
    return STATUS_OK;
}

/* At closing: nobody is told. */
static void scrub_abandon(struct lsm_job *job, struct io *io)
{
    (void)io;
    free(scrub_free((struct scrub_job *)job));
}

static const struct job_operations scrub_operations = {
    .step = scrub_step,
    .returned = scrub_returned,
    .abandon = scrub_abandon,
};

bool scrub_begin(struct lsm *lsm)
{
    if (lsm->scrub_asked == NULL || lsm->installed.version < lsm->scrub_asked->version)
        return false;
    struct scrub_job *scrub = calloc(1, sizeof *scrub);
    if (scrub == NULL) {
        jobs_retry_later(lsm);
        return false;
    }
    scrub->set = version_set_hold(lsm->current);
    scrub->request = lsm->scrub_asked;
    lsm->scrub_asked = NULL;
    lsm->scrub_job = &scrub->job;
    job_init(&scrub->job, lsm, &scrub_operations, JOB_SCRUB);
    scrub->job.rate_max = lsm->options.scrub_rate_max;
    return true;
}

/* ---- The interface ---- */

bool scrub_waits(const struct lsm *lsm)
{
    return lsm->scrub_asked != NULL;
}

uint64_t scrub_horizon(const struct lsm *lsm)
{
    return scrub_waits(lsm) && lsm->scrub_asked->version < lsm->horizon ? lsm->scrub_asked->version
                                                                        : lsm->horizon;
}

void scrub_cancel(struct lsm *lsm)
{
    struct hash128 none = {0};
    struct scrub_request *request = lsm->scrub_asked;
    lsm->scrub_asked = NULL;
    if (request != NULL)
        tell(request, STATUS_CANCELLED, none);
    struct lsm_job *job = lsm->scrub_job;
    if (job == NULL || job->taken)
        return;
    list_remove(&job->link);
    tell(scrub_free((struct scrub_job *)job), STATUS_CANCELLED, none);
}

void scrub_close(struct lsm *lsm)
{
    free(lsm->scrub_asked);
    lsm->scrub_asked = NULL;
}

enum status lsm_scrub(struct lsm *lsm, const struct lsm_scrub_floor *floors, size_t floors_count,
                      void (*done)(void *context, enum status status, uint64_t version,
                                   struct hash128 digest),
                      void *context)
{
    if (scrub_waits(lsm) || lsm->scrub_job != NULL || lsm->replace.asked || lsm->halted)
        return STATUS_BUSY;
    struct scrub_request *request = calloc(1, sizeof *request);
    if (request == NULL)
        return STATUS_NO_MEMORY;
    request->version = lsm->mark.version;
    request->done = done;
    request->context = context;
    for (size_t i = 0; i < floors_count; i++) {
        struct discard *floor = &request->floors[lsm_tree_position(lsm, floors[i].tree)];
        ASSERT(floors[i].key.size <= lsm_key_size_max);
        floor->size = floors[i].key.size;
        bytes_copy(floor->key, floors[i].key);
    }
    lsm->scrub_asked = request;
    lsm_seal(lsm);
    lsm_work(lsm);
    return STATUS_OK;
}
