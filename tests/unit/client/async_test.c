/* SPDX-License-Identifier: Apache-2.0 */
/* Asynchronous calls: completions through a descriptor, bounds, deadlines, and closing. */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>

#include "client/handle.h"
#include "tests/unit/client/fake_store.h"
#include "tests/unit/unit.h"

enum { calls_count = 500 };

struct outcome {
    unsigned done_count;
    unsigned statuses[128];
    uint64_t version;
    size_t records_count;
    bool has_token;
};

static void note(void *context, const struct strait_completion *completion)
{
    struct outcome *outcome = context;
    outcome->done_count++;
    ck_assert_int_lt(completion->status, 128);
    outcome->statuses[completion->status]++;
    ck_assert((completion->error != NULL) == (completion->status != STRAIT_OK));
    if (completion->commit != NULL)
        outcome->version = completion->commit->version;
    if (completion->records != NULL)
        outcome->records_count += completion->records->count;
    if (completion->error != NULL)
        outcome->has_token = completion->error->txn[0] != 0;
    strait_free(completion->records);
}

static void accept_requests(struct fake_connection *connection, const struct fake_request *request,
                            void *context)
{
    (void)context;
    fake_accept(connection, request, 9);
}

static void keep_silent(struct fake_connection *connection, const struct fake_request *request,
                        void *context)
{
    (void)connection;
    (void)request;
    (void)context;
}

/* Silent after the first request, whose answer tells that the connection is made: that may take
 * longer than the deadlines of what follows. */
static void answer_once(struct fake_connection *connection, const struct fake_request *request,
                        void *context)
{
    bool *has_answered = context;
    if (!*has_answered)
        fake_accept(connection, request, 9);
    *has_answered = true;
}

static void dispatch_until(strait *handle, const struct outcome *outcome, unsigned count)
{
    struct pollfd polled = {.fd = strait_poll_fd(handle), .events = POLLIN};
    while (outcome->done_count < count) {
        ck_assert_int_eq(poll(&polled, 1, 10000), 1);
        ck_assert_int_gt(strait_dispatch(handle, 0), 0);
    }
    ck_assert_int_eq(poll(&polled, 1, 0), 0);
}

START_TEST(test_completions_come_through_the_descriptor)
{
    struct outcome outcome = {0};
    struct store store;
    struct strait_key keys[2] = {{"t", strait_text("k0")}, {"t", strait_text("k1")}};
    struct strait_range range = {.table = "t"};
    store_init(&store);
    memcpy(store.records[0].key, "k0", 3);
    store.count = 1;
    struct fake_server *server = fake_start(store_handle, &store);
    strait *handle = fake_open(server, 10000);
    strait_txn *txn = strait_txn_new();
    strait_txn_put(txn, "t", strait_text("k"), strait_text("v"), NULL);
    ck_assert_int_eq(strait_commit_async(handle, txn, 0, note, &outcome), STRAIT_OK);
    ck_assert_int_eq(strait_get_async(handle, NULL, keys, 2, 0, note, &outcome), STRAIT_OK);
    ck_assert_int_eq(
        strait_page_async(handle, &range, NULL, strait_bytes(NULL, 0), 0, note, &outcome),
        STRAIT_OK);
    ck_assert_int_eq(strait_ping_async(handle, 0, note, &outcome), STRAIT_OK);
    ck_assert_uint_eq(outcome.done_count, 0);
    dispatch_until(handle, &outcome, 4);
    ck_assert_uint_eq(outcome.statuses[STRAIT_OK], 4);
    ck_assert_uint_eq(outcome.version, 11);
    ck_assert_uint_eq(outcome.records_count, 2 + 1);
    /* Synchronous calls go on beside the library's thread. */
    ck_assert_int_eq(strait_ping(handle, 0, NULL, NULL), STRAIT_OK);
    strait_txn_free(txn);
    strait_close(handle);
    fake_stop(server);
    store_free(&store);
}
END_TEST

struct user {
    pthread_t thread;
    strait *handle;
    unsigned failures;
};

static void *ping_often(void *argument)
{
    struct user *user = argument;
    for (unsigned i = 0; i < 200; i++)
        user->failures += strait_ping(user->handle, 20000, NULL, NULL) != STRAIT_OK;
    return NULL;
}

START_TEST(test_many_calls_beside_synchronous_threads)
{
    struct outcome outcome = {0};
    struct user users[4];
    struct fake_server *server = fake_start(accept_requests, NULL);
    strait *handle = fake_open(server, 20000);
    for (unsigned i = 0; i < 4; i++) {
        users[i] = (struct user){.handle = handle};
        ck_assert_int_eq(pthread_create(&users[i].thread, NULL, ping_often, &users[i]), 0);
    }
    for (unsigned i = 0; i < calls_count; i++)
        ck_assert_int_eq(strait_ping_async(handle, 0, note, &outcome), STRAIT_OK);
    dispatch_until(handle, &outcome, calls_count);
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(users[i].thread, NULL);
        ck_assert_uint_eq(users[i].failures, 0);
    }
    ck_assert_uint_eq(outcome.statuses[STRAIT_OK], calls_count);
    ck_assert_uint_eq(atomic_load(&server->connections_count), 1);
    strait_close(handle);
    fake_stop(server);
}
END_TEST

START_TEST(test_bounds)
{
    struct outcome outcome = {0};
    struct fake_server *server = fake_start(keep_silent, NULL);
    strait *handle = fake_open(server, 60000);
    for (unsigned i = 0; i < async_calls_max; i++)
        ck_assert_int_eq(strait_ping_async(handle, 0, note, &outcome), STRAIT_OK);
    ck_assert_int_eq(strait_ping_async(handle, 0, note, &outcome), STRAIT_BUSY);
    ck_assert_uint_eq(outcome.done_count, 0);
    strait_close(handle);
    ck_assert_uint_eq(outcome.statuses[STRAIT_CANCELLED], async_calls_max);
    ck_assert_uint_eq(outcome.done_count, async_calls_max);
    fake_stop(server);
}
END_TEST

START_TEST(test_deadlines_and_closing)
{
    struct outcome outcome = {0};
    bool has_answered = false;
    struct fake_server *server = fake_start(answer_once, &has_answered);
    strait *handle = fake_open(server, 60000);
    ck_assert_int_eq(strait_ping(handle, 0, NULL, NULL), STRAIT_OK);
    strait_txn *txn = strait_txn_new();
    strait_txn_put(txn, "t", strait_text("k"), strait_text("v"), NULL);
    ck_assert_int_eq(strait_ping_async(handle, 60000, note, &outcome), STRAIT_OK);
    ck_assert_int_eq(strait_ping_async(handle, 100, note, &outcome), STRAIT_OK);
    dispatch_until(handle, &outcome, 1);
    ck_assert_uint_eq(outcome.statuses[STRAIT_DEADLINE_EXCEEDED], 1);
    ck_assert_int_eq(strait_commit_async(handle, txn, 100, note, &outcome), STRAIT_OK);
    dispatch_until(handle, &outcome, 2);
    ck_assert_uint_eq(outcome.statuses[STRAIT_OUTCOME_UNKNOWN], 1);
    ck_assert(outcome.has_token);
    /* Sent and not answered when the handle is closed: not known either. */
    ck_assert_int_eq(strait_commit_async(handle, txn, 60000, note, &outcome), STRAIT_OK);
    strait_close(handle);
    ck_assert_uint_eq(outcome.statuses[STRAIT_OUTCOME_UNKNOWN], 2);
    ck_assert_uint_eq(outcome.statuses[STRAIT_CANCELLED], 1);
    strait_txn_free(txn);
    fake_stop(server);
}
END_TEST

START_TEST(test_dispatch_waits)
{
    struct outcome outcome = {0};
    struct fake_server *server = fake_start(accept_requests, NULL);
    strait *handle = fake_open(server, 10000);
    ck_assert_int_eq(strait_dispatch(handle, 0), 0);
    ck_assert_int_eq(strait_dispatch(handle, 20), 0);
    ck_assert_int_eq(strait_ping_async(handle, 0, note, &outcome), STRAIT_OK);
    ck_assert_int_eq(strait_dispatch(handle, 10000), 1);
    ck_assert_uint_eq(outcome.done_count, 1);
    strait_close(handle);
    fake_stop(server);
}
END_TEST

void unit_tests(TCase *tests)
{
    signal(SIGPIPE, SIG_IGN);
    tcase_add_test(tests, test_completions_come_through_the_descriptor);
    tcase_add_test(tests, test_many_calls_beside_synchronous_threads);
    tcase_add_test(tests, test_bounds);
    tcase_add_test(tests, test_deadlines_and_closing);
    tcase_add_test(tests, test_dispatch_waits);
}
