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

enum { workers_inline_steps = 1 }; /* a turn takes, so that other work gets its turn too */

/* Workers without threads: workers_give() runs the step at once, on the core's io, and returns it
 * before it comes back. Each turn takes workers_inline_steps of them, so that the core alone is one
 * thread whose doings follow from its io and its seed: for simulation. NO_MEMORY. */
MUST_CHECK enum status workers_open_inline(struct io *core_io, struct workers **workers,
                                           struct error *error);

/* A turn of the core begins: workers without threads are free again. */
void workers_turn(struct workers *workers);
bool workers_are_inline(const struct workers *workers);

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
