/* SPDX-License-Identifier: Apache-2.0 */
/* An LSM on an io of the test's, with its jobs run inline: for the tests of whole operations. */
#ifndef TESTS_UNIT_STORAGE_LSM_FIXTURE_H
#define TESTS_UNIT_STORAGE_LSM_FIXTURE_H

#include <stdio.h>

#include "storage/io/io.h"
#include "storage/lsm/lsm.h"
#include "tests/unit/unit.h"

enum { fixture_bytes_tree = 1, fixture_fixed_tree = 5, fixture_fixed_key_size = 8 };

static const struct lsm_tree_options fixture_trees[] = {
    {.id = fixture_bytes_tree, .name = "records", .kind = LSM_BYTES},
    {.id = fixture_fixed_tree,
     .name = "outcomes",
     .kind = LSM_FIXED,
     .key_size = fixture_fixed_key_size,
     .value_size = 4},
};

struct fixture {
    struct io *io;
    struct keyring *keyring;
    char directory[256];
    struct lsm_options options;
    struct lsm *lsm;
    struct lsm_mark mark;
    struct lsm_report report;
    struct error error;
};

static inline void fixture_ready(struct lsm_wait *wait)
{
    (void)wait;
}

/* Small sizes, so that a few thousand entries make several levels. */
static inline void fixture_init(struct fixture *fixture, struct io *io, struct keyring *keyring,
                                const char *directory)
{
    *fixture = (struct fixture){.io = io, .keyring = keyring};
    snprintf(fixture->directory, sizeof fixture->directory, "%s", directory);
    fixture->options = (struct lsm_options){
        .io = io,
        .keyring = keyring,
        .directory = fixture->directory,
        .trees = fixture_trees,
        .trees_count = sizeof fixture_trees / sizeof *fixture_trees,
        .memtable_size = 64 * 1024,
        .memtables_max = 4,
        .cache_size = 8 * 1024 * 1024,
        .table_size = 16 * 1024,
        .level_base_size = 48 * 1024,
    };
}

static inline enum status fixture_open(struct fixture *fixture)
{
    fixture->error = (struct error){0};
    return lsm_open(&fixture->options, &fixture->lsm, &fixture->mark, &fixture->report,
                    &fixture->error);
}

static inline void fixture_close(struct fixture *fixture)
{
    lsm_close(fixture->lsm);
    fixture->lsm = NULL;
}

/* Runs the most urgent job to its end. END: there is none. */
static inline enum status fixture_run_job(struct fixture *fixture)
{
    struct lsm_job *job = lsm_job_take(fixture->lsm);
    if (job == NULL)
        return STATUS_END;
    while (!lsm_job_step(job, fixture->io))
        continue;
    return lsm_job_return(fixture->lsm, job, &fixture->error);
}

/* Runs all jobs there are. */
static inline enum status fixture_run_jobs(struct fixture *fixture)
{
    enum status status;
    do
        status = fixture_run_job(fixture);
    while (status == STATUS_OK);
    return status == STATUS_END ? STATUS_OK : status;
}

/* Waits for the blocks that a read asked for. */
static inline void fixture_wait(struct fixture *fixture, struct lsm_wait *wait)
{
    while (wait->pending_count != 0)
        io_turn(fixture->io, true);
}

static inline enum status fixture_get(struct fixture *fixture, struct lsm_view *view, uint16_t tree,
                                      struct bytes key, struct lsm_value *value)
{
    struct lsm_wait wait;
    enum status status;
    lsm_wait_init(&wait, fixture_ready, NULL);
    while ((status = lsm_get(view, &wait, tree, key, value)) == STATUS_AGAIN)
        fixture_wait(fixture, &wait);
    return status;
}

static inline enum status fixture_next(struct fixture *fixture, struct lsm_iterator *iterator,
                                       struct lsm_item *item)
{
    struct lsm_wait wait;
    enum status status;
    lsm_wait_init(&wait, fixture_ready, NULL);
    while ((status = lsm_iterator_next(iterator, &wait, item)) == STATUS_AGAIN)
        fixture_wait(fixture, &wait);
    return status;
}

static inline enum status fixture_changed(struct fixture *fixture, struct lsm_view *view,
                                          uint16_t tree, struct bytes start, struct bytes end,
                                          uint64_t since, bool *changed)
{
    struct lsm_wait wait;
    enum status status;
    lsm_wait_init(&wait, fixture_ready, NULL);
    while ((status = lsm_changed(view, &wait, tree, start, end, since, changed)) == STATUS_AGAIN)
        fixture_wait(fixture, &wait);
    return status;
}

/* Publishes one version with these writes. Index and version rise together. */
static inline void fixture_publish(struct fixture *fixture, const struct lsm_write *writes,
                                   size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += writes[i].key.size + writes[i].value.size + 64;
    ck_assert(lsm_has_room(fixture->lsm, size));
    fixture->mark.index++;
    fixture->mark.term = 1;
    fixture->mark.version++;
    fixture->mark.state_size = 8;
    store_u64(fixture->mark.state, fixture->mark.version);
    lsm_publish(fixture->lsm, writes, count, &fixture->mark);
}

static inline void fixture_put(struct fixture *fixture, const char *key, const char *value)
{
    struct lsm_write write = {.tree = fixture_bytes_tree,
                              .deletion = value == NULL,
                              .key = bytes_of_text(key),
                              .value = value == NULL ? (struct bytes){0} : bytes_of_text(value)};
    fixture_publish(fixture, &write, 1);
}

#endif
