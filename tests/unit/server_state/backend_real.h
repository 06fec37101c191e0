/* SPDX-License-Identifier: Apache-2.0 */
/* The harness's LSM: the real one, on a simulated disk, with its jobs run inline. */
#ifndef TESTS_UNIT_SERVER_STATE_BACKEND_REAL_H
#define TESTS_UNIT_SERVER_STATE_BACKEND_REAL_H

#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/generator.h"
#include "server/state/state.h"
#include "tests/sim/disk.h"
#include "tests/unit/unit.h"

struct backend {
    struct sim_disk *disk;
    struct io *io;
    struct keyring *keyring;
    struct lsm_options options;
    struct lsm *lsm;
    struct lsm_mark mark;
};

static inline void backend_lsm_open(struct backend *backend)
{
    struct lsm_report report;
    struct error error = {0};
    enum status status =
        lsm_open(&backend->options, &backend->lsm, &backend->mark, &report, &error);
    ck_assert_msg(status == STATUS_OK, "%s", error.text);
}

static inline struct backend *backend_open(uint64_t seed, size_t memtable_size, size_t cache_size,
                                           unsigned cached_percent)
{
    static const uint8_t cluster_id[seal_id_size] = {1};
    struct backend *backend = calloc(1, sizeof *backend);
    struct io_op op = {0};
    ck_assert(backend != NULL);
    backend->disk = sim_disk_create(seed);
    backend->io = sim_disk_io(backend->disk);
    sim_disk_cached_percent(backend->disk, cached_percent);
    io_make_directory(backend->io, &op, "lsm");
    ck_assert_int_eq(io_wait(backend->io, &op), STATUS_OK);
    ck_assert_int_eq(keyring_create_in_memory(cluster_id, false, &backend->keyring), STATUS_OK);
    backend->options = (struct lsm_options){.io = backend->io,
                                            .keyring = backend->keyring,
                                            .directory = "lsm",
                                            .trees = state_trees,
                                            .trees_count = state_trees_count,
                                            .memtable_size = memtable_size,
                                            .cache_size = cache_size,
                                            .table_size = 16 * 1024,
                                            .level_base_size = 48 * 1024};
    backend_lsm_open(backend);
    return backend;
}

static inline void backend_close(struct backend *backend)
{
    lsm_close(backend->lsm);
    keyring_close(backend->keyring);
    sim_disk_destroy(backend->disk);
    free(backend);
}

static inline struct lsm *backend_lsm(struct backend *backend)
{
    return backend->lsm;
}

static inline struct io *backend_io(struct backend *backend)
{
    return backend->io;
}

static inline const struct lsm_mark *backend_mark(struct backend *backend)
{
    return &backend->mark;
}

/* A job, where there is one; else what the disk has to say. */
static inline void backend_turn(struct backend *backend)
{
    struct error error = {0};
    struct lsm_job *job = lsm_job_take(backend->lsm);
    if (job == NULL) {
        io_turn(backend->io, backend->io->pending_count != 0);
        return;
    }
    while (!lsm_job_step(job, backend->io))
        continue;
    enum status status = lsm_job_return(backend->lsm, job, &error);
    ck_assert_msg(status == STATUS_OK, "%s", error.text);
}

#endif
