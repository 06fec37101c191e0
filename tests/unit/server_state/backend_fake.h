/* SPDX-License-Identifier: Apache-2.0 */
/* The harness's LSM: the one of lsm_fake.h. */
#ifndef TESTS_UNIT_SERVER_STATE_BACKEND_FAKE_H
#define TESTS_UNIT_SERVER_STATE_BACKEND_FAKE_H

#include "tests/unit/server_state/lsm_fake.h"

struct backend {
    struct lsm *lsm;
};

static inline struct backend *backend_open(uint64_t seed, unsigned again_percent,
                                           unsigned full_percent)
{
    struct backend *backend = calloc(1, sizeof *backend);
    ASSERT(backend != NULL);
    backend->lsm = fake_open(seed, again_percent, full_percent);
    return backend;
}

static inline void backend_close(struct backend *backend)
{
    fake_close(backend->lsm);
    free(backend);
}

static inline struct lsm *backend_lsm(struct backend *backend)
{
    return backend->lsm;
}

static inline struct io *backend_io(struct backend *backend)
{
    return &backend->lsm->io;
}

static inline const struct lsm_mark *backend_mark(struct backend *backend)
{
    return &backend->lsm->mark;
}

static inline void backend_turn(struct backend *backend)
{
    fake_turn(backend->lsm);
}

#endif
