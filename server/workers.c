/* SPDX-License-Identifier: Apache-2.0 */
#include "server/workers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "proto/base/ring.h"
#include "storage/io/uring.h"

struct worker {
    struct workers *workers;
    pthread_t thread;
    struct io *io;        /* the worker's */
    struct io_bell bell;  /* rung by the core: there is work, or it is time to stop */
    struct ring given;    /* core to worker */
    struct ring returned; /* worker to core */
    struct work *current; /* the core's: what is out with this worker */
    bool joined;
};

struct workers {
    struct io *core_io;
    struct io_bell bell; /* rung by workers: work has come back */
    struct worker worker[workers_max];
    unsigned count;
    unsigned busy_count;
    bool is_inline;
    unsigned inline_left; /* steps that this turn may take yet */
    atomic_bool stopping;
    pthread_mutex_t start_lock; /* and the lock under which bells are rung to stop */
    pthread_cond_t started;
    unsigned started_count;
    struct error start_error;
};

static void worker_turn(struct io_bell *bell)
{
    struct worker *worker = bell->context;
    struct work *work;

    while ((work = ring_pop(&worker->given)) != NULL) {
        work->finished = work->step(work, worker->io);
        bool pushed = ring_push(&worker->returned, work);
        ASSERT(pushed); /* one piece of work is out with each worker */
        io_bell_ring(worker->workers->core_io, &worker->workers->bell);
    }
}

static void worker_started(struct worker *worker, const struct error *error)
{
    struct workers *workers = worker->workers;
    pthread_mutex_lock(&workers->start_lock);
    workers->started_count++;
    if (error->status != STATUS_OK)
        workers->start_error = *error;
    pthread_cond_signal(&workers->started);
    pthread_mutex_unlock(&workers->start_lock);
}

static void *worker_main(void *context)
{
    struct worker *worker = context;
    const struct io_uring_options options = {.entries = 128};
    struct error error = {0};

    pid_t thread = (pid_t)syscall(SYS_gettid);
    if (setpriority(PRIO_PROCESS, (id_t)thread, 19) != 0)
        log_warn("worker_priority_kept", LOG_TEXT("text", "the worker could not be made nice"));
    enum status status = io_uring_open(&options, &worker->io, &error);
    if (status == STATUS_OK) {
        worker->bell.rung = worker_turn;
        worker->bell.context = worker;
        status = io_bell_open(worker->io, &worker->bell);
        if (status != STATUS_OK) {
            error_set(&error, status, "A worker's bell could not be made: %s.",
                      status_text(status));
            io_uring_close(worker->io);
            worker->io = NULL;
        }
    }
    worker_started(worker, &error);
    if (status != STATUS_OK)
        return NULL;
    while (!atomic_load(&worker->workers->stopping))
        io_turn(worker->io, true);
    /* The core rings each bell with the lock held: none is closed while it is being rung. */
    pthread_mutex_lock(&worker->workers->start_lock);
    pthread_mutex_unlock(&worker->workers->start_lock);
    io_bell_close(worker->io, &worker->bell);
    io_uring_close(worker->io);
    return NULL;
}

static void core_rung(struct io_bell *bell)
{
    struct workers *workers = bell->context;
    for (unsigned i = 0; i < workers->count; i++) {
        struct worker *worker = &workers->worker[i];
        struct work *work = ring_pop(&worker->returned);
        if (work == NULL)
            continue;
        ASSERT(work == worker->current);
        worker->current = NULL;
        workers->busy_count--;
        work->returned(work, work->finished);
    }
}

static enum status start_thread(struct workers *workers, struct error *error)
{
    struct worker *worker = &workers->worker[workers->count];
    worker->workers = workers;
    if (ring_open(&worker->given, 2) != STATUS_OK)
        return error_set(error, STATUS_NO_MEMORY, "Out of memory for a worker.");
    if (ring_open(&worker->returned, 2) != STATUS_OK) {
        ring_close(&worker->given);
        return error_set(error, STATUS_NO_MEMORY, "Out of memory for a worker.");
    }
    if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0) {
        ring_close(&worker->given);
        ring_close(&worker->returned);
        return error_set(error, STATUS_NO_MEMORY,
                         "A worker thread could not be started: check the limit on processes "
                         "(ulimit -u).");
    }
    workers->count++;
    return STATUS_OK;
}

enum status workers_open(struct io *core_io, unsigned count, struct workers **workers_out,
                         struct error *error)
{
    struct workers *workers = calloc(1, sizeof *workers);

    ASSERT(count >= 1 && count <= workers_max);
    *workers_out = NULL;
    if (workers == NULL)
        return error_set(error, STATUS_NO_MEMORY, "Out of memory for the workers.");
    workers->core_io = core_io;
    workers->bell.rung = core_rung;
    workers->bell.context = workers;
    pthread_mutex_init(&workers->start_lock, NULL);
    pthread_cond_init(&workers->started, NULL);
    enum status status = io_bell_open(core_io, &workers->bell);
    if (status != STATUS_OK) {
        free(workers);
        return error_set(error, status, "A bell could not be made: %s.", status_text(status));
    }
    for (unsigned i = 0; i < count && status == STATUS_OK; i++)
        status = start_thread(workers, error);
    pthread_mutex_lock(&workers->start_lock);
    while (workers->started_count < workers->count)
        pthread_cond_wait(&workers->started, &workers->start_lock);
    pthread_mutex_unlock(&workers->start_lock);
    if (status == STATUS_OK && workers->start_error.status != STATUS_OK) {
        status = workers->start_error.status;
        error_set(error, status, "%s", workers->start_error.text);
    }
    if (status != STATUS_OK) {
        workers_close(workers);
        return status;
    }
    *workers_out = workers;
    return STATUS_OK;
}

enum status workers_open_inline(struct io *core_io, struct workers **workers_out,
                                struct error *error)
{
    struct workers *workers = calloc(1, sizeof *workers);

    *workers_out = workers;
    if (workers == NULL)
        return error_set(error, STATUS_NO_MEMORY, "Out of memory for the workers.");
    workers->core_io = core_io;
    workers->is_inline = true;
    return STATUS_OK;
}

void workers_turn(struct workers *workers)
{
    workers->inline_left = workers_inline_steps;
}

bool workers_are_inline(const struct workers *workers)
{
    return workers->is_inline;
}

bool workers_has_idle(const struct workers *workers)
{
    if (workers->is_inline)
        return workers->inline_left > 0 && workers->busy_count == 0;
    return workers->busy_count < workers->count;
}

static void run_inline(struct workers *workers, struct work *work)
{
    ASSERT(workers->inline_left > 0 && workers->busy_count == 0);
    workers->inline_left--;
    workers->busy_count = 1; /* the step may turn the io: nothing is given meanwhile */
    work->finished = work->step(work, workers->core_io);
    workers->busy_count = 0;
    work->returned(work, work->finished);
}

void workers_give(struct workers *workers, struct work *work)
{
    if (workers->is_inline) {
        run_inline(workers, work);
        return;
    }
    for (unsigned i = 0; i < workers->count; i++) {
        struct worker *worker = &workers->worker[i];
        if (worker->current != NULL)
            continue;
        worker->current = work;
        workers->busy_count++;
        bool pushed = ring_push(&worker->given, work);
        ASSERT(pushed);
        io_bell_ring(worker->io, &worker->bell);
        return;
    }
    UNREACHABLE();
}

unsigned workers_busy_count(const struct workers *workers)
{
    return workers->busy_count;
}

void workers_close(struct workers *workers)
{
    ASSERT(workers->busy_count == 0);
    if (workers->is_inline) {
        free(workers);
        return;
    }
    pthread_mutex_lock(&workers->start_lock);
    atomic_store(&workers->stopping, true);
    for (unsigned i = 0; i < workers->count; i++) {
        struct worker *worker = &workers->worker[i];
        /* A worker whose ring could not be made has ended by itself, and has no bell. */
        if (worker->io != NULL)
            io_bell_ring(worker->io, &worker->bell);
    }
    pthread_mutex_unlock(&workers->start_lock);
    for (unsigned i = 0; i < workers->count; i++) {
        struct worker *worker = &workers->worker[i];
        pthread_join(worker->thread, NULL);
        ring_close(&worker->given);
        ring_close(&worker->returned);
    }
    io_bell_close(workers->core_io, &workers->bell);
    pthread_cond_destroy(&workers->started);
    pthread_mutex_destroy(&workers->start_lock);
    free(workers);
}
