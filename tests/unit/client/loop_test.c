/* SPDX-License-Identifier: Apache-2.0 */
/* Handles that the application's own loop drives: no thread, one descriptor that tells all. */
#include "client/loop.h"

#include <dirent.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "client/handle.h"
#include "tests/unit/client/fake_server.h"
#include "tests/unit/unit.h"

enum { handles_count = 32, rounds_count = 20 };

struct outcome {
    unsigned done_count;
    unsigned statuses[128];
};

static void note(void *context, const struct strait_completion *completion)
{
    struct outcome *outcome = context;
    outcome->done_count++;
    outcome->statuses[completion->status]++;
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

static strait *open_loop(const struct fake_server *server, uint32_t timeout_ms)
{
    strait_options *options = fake_options(server, timeout_ms);
    strait *handle = NULL;
    strait_options_set_loop(options, true);
    ck_assert_int_eq(strait_open(options, &handle, NULL), STRAIT_OK);
    strait_options_free(options);
    return handle;
}

/* Whether the descriptor is readable within a time. */
static bool is_readable(strait *handle, int wait_ms)
{
    struct pollfd polled = {.fd = strait_poll_fd(handle), .events = POLLIN};
    return poll(&polled, 1, wait_ms) == 1;
}

/* As an application would: calls strait_dispatch() only where the descriptor asks for it. Returns
 * how often that was. */
static unsigned drive_until(strait *handle, const struct outcome *outcome, unsigned count)
{
    unsigned calls_count = 0;
    strait_dispatch(handle, 0);
    for (; outcome->done_count < count; calls_count++) {
        ck_assert(is_readable(handle, 20000));
        ck_assert_int_ge(strait_dispatch(handle, 0), 0);
    }
    return calls_count;
}

static unsigned threads_count(void)
{
    unsigned count = 0;
    DIR *folder = opendir("/proc/self/task");
    ck_assert_ptr_nonnull(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

START_TEST(test_completions_without_a_thread)
{
    struct outcome outcome = {0};
    struct fake_server *server = fake_start(accept_requests, NULL);
    strait *handle = open_loop(server, 20000);
    strait_txn *txn = strait_txn_new();
    strait_txn_put(txn, "t", strait_text("k"), strait_text("v"), NULL);
    /* The server has one for each connection; so the first count is with the connection there. */
    ck_assert_int_eq(strait_ping(handle, 0, NULL, NULL), STRAIT_OK);
    unsigned before = threads_count();
    ck_assert(!is_readable(handle, 0));
    ck_assert_int_eq(strait_commit_async(handle, txn, 0, note, &outcome), STRAIT_OK);
    for (unsigned i = 0; i < 100; i++)
        ck_assert_int_eq(strait_ping_async(handle, 0, note, &outcome), STRAIT_OK);
    /* Nothing happens between calls of strait_dispatch(). */
    ck_assert(!is_readable(handle, 20));
    ck_assert_uint_eq(atomic_load(&server->requests_count), 1);
    drive_until(handle, &outcome, 101);
    ck_assert_uint_eq(outcome.statuses[STRAIT_OK], 101);
    ck_assert_uint_eq(threads_count(), before);
    ck_assert_uint_eq(atomic_load(&server->connections_count), 1);
    ck_assert_int_eq(strait_dispatch(handle, 0), 0);
    ck_assert(!is_readable(handle, 20));
    strait_txn_free(txn);
    strait_close(handle);
    fake_stop(server);
}
END_TEST

START_TEST(test_deadline_wakes_the_loop)
{
    struct outcome outcome = {0};
    struct fake_server *server = fake_start(keep_silent, NULL);
    strait *handle = open_loop(server, 60000);
    strait_txn *txn = strait_txn_new();
    strait_txn_put(txn, "t", strait_text("k"), strait_text("v"), NULL);
    ck_assert_int_eq(strait_ping_async(handle, 60000, note, &outcome), STRAIT_OK);
    ck_assert_int_eq(strait_ping_async(handle, 200, note, &outcome), STRAIT_OK);
    ck_assert_int_eq(strait_commit_async(handle, txn, 300, note, &outcome), STRAIT_OK);
    ck_assert_uint_lt(drive_until(handle, &outcome, 2), 100);
    ck_assert_uint_eq(outcome.statuses[STRAIT_DEADLINE_EXCEEDED], 1);
    ck_assert_uint_eq(outcome.statuses[STRAIT_OUTCOME_UNKNOWN], 1);
    /* What is under way when the handle is closed. */
    ck_assert_int_eq(strait_commit_async(handle, txn, 60000, note, &outcome), STRAIT_OK);
    strait_dispatch(handle, 0);
    strait_close(handle);
    ck_assert_uint_eq(outcome.statuses[STRAIT_CANCELLED], 1);
    ck_assert_uint_eq(outcome.statuses[STRAIT_OUTCOME_UNKNOWN], 2);
    strait_txn_free(txn);
    fake_stop(server);
}
END_TEST

struct drops {
    atomic_uint left;
};

static void drop_some(struct fake_connection *connection, const struct fake_request *request,
                      void *context)
{
    struct drops *drops = context;
    if (atomic_load(&drops->left) != 0) {
        atomic_fetch_sub(&drops->left, 1);
        fake_drop(connection);
        return;
    }
    fake_accept(connection, request, 9);
}

/* A connection that ended before it served anything is made again after a pause, which only the
 * timer can end. */
START_TEST(test_reconnects_after_a_pause)
{
    struct outcome outcome = {0};
    struct drops drops = {.left = 4};
    struct fake_server *server = fake_start(drop_some, &drops);
    strait *handle = open_loop(server, 20000);
    for (unsigned i = 0; i < 10; i++)
        ck_assert_int_eq(strait_ping_async(handle, 0, note, &outcome), STRAIT_OK);
    ck_assert_uint_lt(drive_until(handle, &outcome, 10), 500);
    ck_assert_uint_eq(outcome.statuses[STRAIT_OK], 10);
    ck_assert_uint_eq(atomic_load(&server->connections_count), 5);
    /* An idle connection that ends is told by the descriptor, once. */
    atomic_store(&drops.left, 1);
    ck_assert_int_eq(strait_ping_async(handle, 0, note, &outcome), STRAIT_OK);
    drive_until(handle, &outcome, 11);
    ck_assert_uint_eq(outcome.statuses[STRAIT_OK], 11);
    ck_assert_uint_eq(atomic_load(&server->connections_count), 6);
    strait_close(handle);
    fake_stop(server);
}
END_TEST

/* The deadline also comes where no server is, and the loop does not turn without a pause. */
START_TEST(test_no_server)
{
    struct outcome outcome = {0};
    struct fake_server *server = fake_start(accept_requests, NULL);
    strait_options *options = fake_options(server, 20000);
    strait *handle = NULL;
    strait_options_set_loop(options, true);
    ck_assert_int_eq(strait_options_set_endpoints(options, "127.0.0.1:1"), STRAIT_OK);
    ck_assert_int_eq(strait_open(options, &handle, NULL), STRAIT_OK);
    strait_options_free(options);
    ck_assert_int_eq(strait_ping_async(handle, 400, note, &outcome), STRAIT_OK);
    ck_assert_uint_lt(drive_until(handle, &outcome, 1), 200);
    ck_assert_uint_eq(outcome.statuses[STRAIT_UNREACHABLE], 1);
    strait_dispatch(handle, 0);
    strait_dispatch(handle, 0);
    strait_close(handle);
    fake_stop(server);
}
END_TEST

struct chain {
    strait *handle;
    unsigned left;
    unsigned *open_count;
};

static void begin_again(void *context, const struct strait_completion *completion)
{
    struct chain *chain = context;
    ck_assert_int_eq(completion->status, STRAIT_OK);
    if (--chain->left == 0) {
        --*chain->open_count;
        return;
    }
    ck_assert_int_eq(strait_ping_async(chain->handle, 0, begin_again, chain), STRAIT_OK);
}

/* What a completion begins is sent without another call. */
START_TEST(test_many_handles_in_one_set)
{
    struct chain chains[handles_count];
    unsigned open_count = handles_count;
    struct epoll_event events[8];
    struct fake_server *server = fake_start(accept_requests, NULL);
    int set = epoll_create1(0);
    for (unsigned i = 0; i < handles_count; i++) {
        chains[i] = (struct chain){
            .handle = open_loop(server, 60000), .left = rounds_count, .open_count = &open_count};
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = chains[i].handle};
        int descriptor = strait_poll_fd(chains[i].handle);
        ck_assert_int_eq(epoll_ctl(set, EPOLL_CTL_ADD, descriptor, &event), 0);
        ck_assert_int_eq(strait_ping_async(chains[i].handle, 0, begin_again, &chains[i]),
                         STRAIT_OK);
        ck_assert_int_eq(strait_dispatch(chains[i].handle, 0), 0);
    }
    while (open_count != 0) {
        int count = epoll_wait(set, events, 8, 20000);
        ck_assert_int_gt(count, 0);
        for (int i = 0; i < count; i++)
            strait_dispatch(events[i].data.ptr, 0);
    }
    ck_assert_uint_eq(atomic_load(&server->requests_count), handles_count * rounds_count);
    for (unsigned i = 0; i < handles_count; i++)
        strait_close(chains[i].handle);
    close(set);
    fake_stop(server);
}
END_TEST

struct user {
    pthread_t thread;
    strait *handle;
    unsigned failures;
    atomic_bool ended;
};

static void *ping_often(void *argument)
{
    struct user *user = argument;
    for (unsigned i = 0; i < 200; i++)
        user->failures += strait_ping(user->handle, 20000, NULL, NULL) != STRAIT_OK;
    atomic_store(&user->ended, true);
    return NULL;
}

/* The lead goes back and forth between synchronous callers and the loop. */
START_TEST(test_synchronous_threads_beside_the_loop)
{
    struct outcome outcome = {0};
    struct user users[3] = {0};
    unsigned begun_count = 0;
    struct fake_server *server = fake_start(accept_requests, NULL);
    strait *handle = open_loop(server, 60000);
    for (unsigned i = 0; i < 3; i++) {
        users[i].handle = handle;
        ck_assert_int_eq(pthread_create(&users[i].thread, NULL, ping_often, &users[i]), 0);
    }
    for (unsigned i = 0; i < 3;) {
        ck_assert_int_eq(strait_ping_async(handle, 0, note, &outcome), STRAIT_OK);
        begun_count++;
        if (begun_count % 2 == 0) {
            drive_until(handle, &outcome, begun_count);
        } else {
            while (outcome.done_count < begun_count)
                ck_assert_int_gt(strait_dispatch(handle, 20000), 0);
        }
        i += atomic_load(&users[i].ended);
    }
    for (unsigned i = 0; i < 3; i++) {
        pthread_join(users[i].thread, NULL);
        ck_assert_uint_eq(users[i].failures, 0);
    }
    ck_assert_uint_eq(outcome.statuses[STRAIT_OK], begun_count);
    strait_close(handle);
    fake_stop(server);
}
END_TEST

START_TEST(test_dispatch_waits)
{
    struct outcome outcome = {0};
    struct fake_server *server = fake_start(accept_requests, NULL);
    strait *handle = open_loop(server, 10000);
    ck_assert_int_eq(strait_dispatch(handle, 0), 0);
    uint64_t begun_ns = client_now_ns();
    ck_assert_int_eq(strait_dispatch(handle, 20), 0);
    ck_assert_uint_ge(client_now_ns() - begun_ns, 20 * 1000 * 1000);
    ck_assert_int_eq(strait_ping_async(handle, 0, note, &outcome), STRAIT_OK);
    ck_assert_int_eq(strait_dispatch(handle, -1), 1);
    ck_assert_uint_eq(outcome.statuses[STRAIT_OK], 1);
    strait_close(handle);
    fake_stop(server);
}
END_TEST

void unit_tests(TCase *tests)
{
    signal(SIGPIPE, SIG_IGN);
    tcase_add_test(tests, test_completions_without_a_thread);
    tcase_add_test(tests, test_deadline_wakes_the_loop);
    tcase_add_test(tests, test_reconnects_after_a_pause);
    tcase_add_test(tests, test_no_server);
    tcase_add_test(tests, test_many_handles_in_one_set);
    tcase_add_test(tests, test_synchronous_threads_beside_the_loop);
    tcase_add_test(tests, test_dispatch_waits);
}
