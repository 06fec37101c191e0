/* SPDX-License-Identifier: Apache-2.0 */
/* Worker threads: flush, compaction, checkpoints, checks. Each has its own io and takes one piece
 * of work at a time, as the core hands it out; it works at nice 19.
 *
 * A piece of work is a step function from inputs to outputs: it shares nothing with the core while
 * it runs. The core's thread gives it and gets it back. */
#ifndef SERVER_WORKERS_H
#define SERVER_WORKERS_H

#include "proto/base/error.h"
#include "storage/io/io.h"

enum { workers_max = 16 };

/* Embedded in what it works on; the caller's again from `returned` on. */
struct work {
    /* On a worker's thread. True: finished. */
    bool (*step)(struct work *work, struct io *worker_io);
    /* On the core's thread, from a turn of its io. */
    void (*returned)(struct work *work, bool finished);
    void *context;
    bool finished; /* the workers' */
};

struct workers;

/* Starts `count` threads (1 to workers_max) and waits until each has its ring. FORBIDDEN and the
 * like as io_uring_open(). */
MUST_CHECK enum status workers_open(struct io *core_io, unsigned count, struct workers **workers,
                                    struct error *error);

/* Whether a worker is free. */
bool workers_has_idle(const struct workers *workers);

/* Hands out a step of work; workers_has_idle() was true. */
void workers_give(struct workers *workers, struct work *work);

/* Pieces of work that are out. */
unsigned workers_busy_count(const struct workers *workers);

/* No work is out. Ends the threads. */
void workers_close(struct workers *workers);

#endif
