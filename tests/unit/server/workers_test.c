/* SPDX-License-Identifier: Apache-2.0 */
#include "server/workers.h"

#include <pthread.h>

#include "storage/io/uring.h"
#include "tests/unit/unit.h"

enum { steps_wanted = 200, pieces_count = 3 };

/* A piece of work that counts its steps; it is finished with the last one. */
struct counting {
    struct work work;
    struct workers *workers;
    unsigned steps_count;
    unsigned returned_count;
    pthread_t core;
    bool finished;
    bool was_on_core;
};

static bool step(struct work *work, struct io *worker_io)
{
    struct counting *counting = work->context;
    ck_assert_ptr_nonnull(worker_io);
    if (pthread_equal(pthread_self(), counting->core))
        counting->was_on_core = true;
    return ++counting->steps_count == steps_wanted;
}

static void returned(struct work *work, bool finished)
{
    struct counting *counting = work->context;
    ck_assert(pthread_equal(pthread_self(), counting->core));
    counting->returned_count++;
    counting->finished = finished;
    if (!finished)
        workers_give(counting->workers, work);
}

static struct io *open_io(void)
{
    const struct io_uring_options options = {0};
    struct error error = {0};
    struct io *io;
    ck_assert_msg(io_uring_open(&options, &io, &error) == STATUS_OK, "%s", error.text);
    return io;
}

START_TEST(test_steps_run_elsewhere_and_come_back)
{
    struct counting counting[pieces_count] = {0};
    struct error error = {0};
    struct workers *workers;
    struct io *io = open_io();

    ck_assert_int_eq(workers_open(io, 2, &workers, &error), STATUS_OK);
    ck_assert(workers_has_idle(workers));
    for (int i = 0; i < pieces_count; i++) {
        counting[i].work.step = step;
        counting[i].work.returned = returned;
        counting[i].work.context = &counting[i];
        counting[i].workers = workers;
        counting[i].core = pthread_self();
    }
    workers_give(workers, &counting[0].work);
    workers_give(workers, &counting[1].work);
    ck_assert(!workers_has_idle(workers));
    ck_assert_uint_eq(workers_busy_count(workers), 2);
    while (!workers_has_idle(workers))
        io_turn(io, true);
    workers_give(workers, &counting[2].work);
    while (workers_busy_count(workers) != 0)
        io_turn(io, true);
    for (int i = 0; i < pieces_count; i++) {
        ck_assert(counting[i].finished && !counting[i].was_on_core);
        ck_assert_uint_eq(counting[i].steps_count, steps_wanted);
        ck_assert_uint_eq(counting[i].returned_count, steps_wanted);
    }
    workers_close(workers);
    io_uring_close(io);
}
END_TEST

START_TEST(test_many_starts_and_stops)
{
    struct io *io = open_io();
    for (unsigned count = 1; count <= 8; count++) {
        struct error error = {0};
        struct workers *workers;
        ck_assert_int_eq(workers_open(io, count, &workers, &error), STATUS_OK);
        workers_close(workers);
    }
    io_uring_close(io);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_steps_run_elsewhere_and_come_back);
    tcase_add_test(tests, test_many_starts_and_stops);
}
