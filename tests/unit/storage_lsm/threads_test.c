/* SPDX-License-Identifier: Apache-2.0 */
/* Workers on threads of their own, each with its own ring, while the core publishes and reads: for
 * the thread sanitizer as much as for the results. */
#include <pthread.h>
#include <stdlib.h>

#include "storage/io/uring.h"
#include "storage/seal/registry.h"
#include "tests/unit/storage_lsm/fixture.h"

enum { workers_count = 2, rounds_count = 4000, keys_count = 500 };

/* One slot, which the core fills and empties and the worker works off. */
struct worker {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct lsm_job *job;
    bool stepped;
    bool finished;
    bool stop;
};

static struct fixture fixture;
static struct worker workers[workers_count];

static void *work(void *context)
{
    struct worker *worker = context;
    struct io *io;
    struct error error = {0};
    if (io_uring_open(&(struct io_uring_options){.entries = 64}, &io, &error) != STATUS_OK)
        return NULL;
    pthread_mutex_lock(&worker->mutex);
    while (!worker->stop) {
        if (worker->job == NULL || worker->stepped) {
            pthread_cond_wait(&worker->changed, &worker->mutex);
            continue;
        }
        struct lsm_job *job = worker->job;
        pthread_mutex_unlock(&worker->mutex);
        bool finished = lsm_job_step(job, io);
        pthread_mutex_lock(&worker->mutex);
        worker->finished = finished;
        worker->stepped = true;
        pthread_cond_signal(&worker->changed);
    }
    pthread_mutex_unlock(&worker->mutex);
    io_uring_close(io);
    return worker;
}

/* Takes back what was stepped, and hands out what there is. `wait`: until the slot is empty. */
static void serve(struct worker *worker, bool wait)
{
    pthread_mutex_lock(&worker->mutex);
    while (wait && worker->job != NULL && !worker->stepped)
        pthread_cond_wait(&worker->changed, &worker->mutex);
    if (worker->job != NULL && worker->stepped) {
        enum status status = lsm_job_return(fixture.lsm, worker->job, &fixture.error);
        ck_assert_msg(status == STATUS_OK, "%s", fixture.error.text);
        worker->job = NULL;
        worker->stepped = false;
    }
    if (worker->job == NULL) {
        worker->job = lsm_job_take(fixture.lsm);
        pthread_cond_signal(&worker->changed);
    }
    pthread_mutex_unlock(&worker->mutex);
}

static void serve_all(bool wait)
{
    for (unsigned i = 0; i < workers_count; i++)
        serve(&workers[i], wait);
}

static void expect_key(int number, int round)
{
    struct lsm_view *view;
    struct lsm_value value;
    char key[32];
    snprintf(key, sizeof key, "key%05d", number);
    ck_assert_int_eq(lsm_view_open(fixture.lsm, UINT64_MAX, &view), STATUS_OK);
    enum status status =
        fixture_get(&fixture, view, fixture_bytes_tree, bytes_of_text(key), &value);
    ck_assert_int_eq(status, round < 0 ? STATUS_NOT_FOUND : STATUS_OK);
    if (round >= 0)
        ck_assert_int_eq(atoi((const char *)value.value.data), round);
    lsm_view_close(view);
}

START_TEST(test_workers_on_threads)
{
    static const uint8_t cluster[seal_id_size] = {5};
    static int rounds[keys_count];
    struct io *io;
    struct keyring *keyring;
    struct error error = {0};
    memset(rounds, -1, sizeof rounds);
    ck_assert_int_eq(io_uring_open(&(struct io_uring_options){0}, &io, &error), STATUS_OK);
    ck_assert_int_eq(keyring_create_in_memory(cluster, false, &keyring), STATUS_OK);
    fixture_init(&fixture, io, keyring, unit_directory());
    ck_assert_int_eq(fixture_open(&fixture), STATUS_OK);
    for (unsigned i = 0; i < workers_count; i++) {
        pthread_mutex_init(&workers[i].mutex, NULL);
        pthread_cond_init(&workers[i].changed, NULL);
        ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int round = 0; round < rounds_count; round++) {
        char key[32];
        char value[120];
        int number = round * 7919 % keys_count;
        while (!lsm_has_room(fixture.lsm, 1024))
            serve_all(true);
        snprintf(key, sizeof key, "key%05d", number);
        snprintf(value, sizeof value, "%d%80s", round, "");
        fixture_put(&fixture, key, value);
        rounds[number] = round;
        lsm_horizon_set(fixture.lsm, fixture.mark.version - 1);
        if (round % 16 == 0) {
            serve_all(false);
            int other = round * 31 % keys_count;
            expect_key(other, rounds[other]);
        }
    }
    lsm_seal(fixture.lsm);
    while (!lsm_is_idle(fixture.lsm))
        serve_all(true);
    ck_assert_uint_gt(lsm_statistics(fixture.lsm).compactions_count, 0);
    for (unsigned i = 0; i < workers_count; i++) {
        pthread_mutex_lock(&workers[i].mutex);
        workers[i].stop = true;
        pthread_cond_signal(&workers[i].changed);
        pthread_mutex_unlock(&workers[i].mutex);
        void *result;
        ck_assert_int_eq(pthread_join(workers[i].thread, &result), 0);
        ck_assert_ptr_nonnull(result);
    }
    for (int number = 0; number < keys_count; number++)
        expect_key(number, rounds[number]);
    fixture_close(&fixture);
    keyring_close(keyring);
    io_uring_close(io);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_workers_on_threads);
}
