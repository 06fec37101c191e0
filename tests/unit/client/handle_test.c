/* SPDX-License-Identifier: Apache-2.0 */
/* The handle against a server that reorders, drops, is busy, keeps silent, or is not there. */
#include "client/handle.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/txn_id.h"
#include "tests/unit/client/fake_server.h"
#include "tests/unit/unit.h"

static void accept_all(struct fake_connection *connection, const struct fake_request *request,
                       void *context)
{
    (void)context;
    fake_accept(connection, request, 9);
}

static enum strait_status commit_one(strait *handle, uint32_t timeout_ms,
                                     struct strait_commit_result *result,
                                     struct strait_error *error)
{
    strait_txn *txn = strait_txn_new();
    strait_txn_put(txn, "orders", strait_text("o1"), strait_text("v"), NULL);
    enum strait_status status = strait_commit(handle, txn, timeout_ms, result, error);
    strait_txn_free(txn);
    return status;
}

START_TEST(test_ping_and_session)
{
    struct strait_session *session;
    struct strait_error error;
    struct fake_server *server = fake_start(accept_all, NULL);
    strait *handle = fake_open(server, 5000);
    ck_assert_msg(strait_ping(handle, 0, &session, &error) == STRAIT_OK, "%s", error.text);
    ck_assert_str_eq(session->role, "admin");
    ck_assert_str_eq(session->server_version, "fake");
    ck_assert_uint_eq(session->version, 9);
    ck_assert_uint_eq(session->cluster_id.size, 16);
    strait_free(session);
    ck_assert_int_eq(strait_ping(handle, 0, NULL, NULL), STRAIT_OK);
    ck_assert_uint_eq(atomic_load(&server->connections_count), 1);
    strait_close(handle);
    fake_stop(server);
}
END_TEST

/* ---- Confirmations ---- */

/* The first time nothing has come from the standby yet. */
static void confirm_later(struct fake_connection *connection, const struct fake_request *request,
                          void *context)
{
    Strait__Confirmation confirmation = STRAIT__CONFIRMATION__INIT;
    Strait__Position position = STRAIT__POSITION__INIT;
    Strait__CommitReply commit = STRAIT__COMMIT_REPLY__INIT;
    Strait__TxnStatusReply outcome = STRAIT__TXN_STATUS_REPLY__INIT;
    unsigned *asked_count = context;

    confirmation.region = (char *)(uintptr_t) "sydney";
    confirmation.confirmed = (*asked_count)++ % 2 != 0;
    position.version = 9;
    position.log_time_ns = fake_log_time_ns;
    commit.position = &position;
    commit.confirmation = &confirmation;
    outcome.position = &position;
    outcome.confirmation = &confirmation;
    outcome.state = STRAIT__TXN_STATUS_REPLY__STATE__COMMITTED;
    if (request->header.type == FRAME_COMMIT)
        fake_reply(connection, request, STATUS_OK, &commit.base);
    else
        fake_reply(connection, request, STATUS_OK, &outcome.base);
}

START_TEST(test_confirmations)
{
    unsigned asked_count = 0;
    struct strait_commit_result result;
    struct strait_confirmation found;
    struct strait_error error;
    struct fake_server *server = fake_start(confirm_later, &asked_count);
    strait *handle = fake_open(server, 5000);
    strait_txn *txn = strait_txn_new();

    strait_txn_put(txn, "orders", strait_text("o1"), strait_text("v"), NULL);
    ck_assert_int_eq(strait_txn_set_remote(txn, "sydney", 100), STRAIT_OK);
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(strait_commit(handle, txn, 0, &result, &error), STRAIT_OK);
        ck_assert_uint_eq(result.version, 9);
        ck_assert_int_eq(result.confirmed, i % 2 != 0);
        ck_assert_str_eq(strait_txn_confirmed_by(txn), i % 2 != 0 ? "sydney" : "");
    }
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(strait_txn_confirm(handle, result.txn, NULL, 100, 0, &found, &error),
                         STRAIT_OK);
        ck_assert_int_eq(found.outcome.state, STRAIT_OUTCOME_COMMITTED);
        ck_assert_uint_eq(found.outcome.version, 9);
        ck_assert_int_eq(found.confirmed, i != 0);
        ck_assert_str_eq(found.region, i != 0 ? "sydney" : "");
    }
    ck_assert_int_eq(strait_txn_confirm(handle, result.txn, "no name!", 0, 0, &found, &error),
                     STRAIT_INVALID_ARGUMENT);
    ck_assert_int_eq(strait_txn_confirm(handle, "no token", NULL, 0, 0, &found, &error),
                     STRAIT_INVALID_ARGUMENT);
    ck_assert_int_eq(strait_txn_set_remote(txn, "no name!", 0), STRAIT_INVALID_ARGUMENT);
    ck_assert_int_eq(strait_commit(handle, txn, 0, &result, &error), STRAIT_INVALID_ARGUMENT);
    strait_txn_free(txn);
    strait_close(handle);
    fake_stop(server);
    ck_assert_uint_eq(asked_count, 6);
}
END_TEST

/* ---- Replies in any order ---- */

enum { threads_count = 16, rounds_count = 50 };

/* Holds requests back until two have come, and answers the later one first. */
struct reorder {
    bool holding;
    struct frame_header held;
    uint64_t held_version;
    unsigned swapped_count;
};

/* The version in the answer is the amount that the commit adds: each caller knows its own. */
static uint64_t amount_of(const struct fake_request *request)
{
    struct arena arena;
    ProtobufCMessage *message;
    message_arena_init(&arena, request->body.size);
    ck_assert_int_eq(
        message_decode(&strait__commit__descriptor, request->body, true, &arena, &message),
        STATUS_OK);
    int64_t amount = ((const Strait__Commit *)message)->operations[0]->add->amount;
    arena_free(&arena);
    return (uint64_t)amount;
}

static void reorder_replies(struct fake_connection *connection, const struct fake_request *request,
                            void *context)
{
    struct reorder *reorder = context;
    uint64_t version = amount_of(request);

    if (!reorder->holding && version % 3 != 0) {
        reorder->holding = true;
        reorder->held = request->header;
        reorder->held_version = version;
        return;
    }
    fake_accept(connection, request, version);
    if (reorder->holding) {
        struct fake_request held = {.header = reorder->held};
        reorder->holding = false;
        reorder->swapped_count++;
        fake_accept(connection, &held, reorder->held_version);
    }
}

struct worker {
    pthread_t thread;
    strait *handle;
    uint64_t number;
    unsigned failures;
};

static void *run_worker(void *argument)
{
    struct worker *worker = argument;
    for (uint64_t i = 0; i < rounds_count; i++) {
        uint64_t expected = 1 + worker->number * rounds_count + i;
        struct strait_commit_result result;
        strait_txn *txn = strait_txn_new();
        strait_txn_add(txn, "stock", strait_text("sku"), (int64_t)expected, NULL);
        if (strait_commit(worker->handle, txn, 20000, &result, NULL) != STRAIT_OK ||
            result.version != expected)
            worker->failures++;
        strait_txn_free(txn);
    }
    return NULL;
}

START_TEST(test_replies_in_any_order_to_many_threads)
{
    struct worker workers[threads_count];
    struct reorder reorder = {0};
    struct fake_server *server = fake_start(reorder_replies, &reorder);
    strait *handle = fake_open(server, 20000);
    for (unsigned i = 0; i < threads_count; i++) {
        workers[i] = (struct worker){.handle = handle, .number = i};
        ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]), 0);
    }
    /* What is still held when the others are done needs one more to push it out. */
    for (unsigned i = 0; i < threads_count; i++) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 1;
        while (pthread_timedjoin_np(workers[i].thread, NULL, &until) == ETIMEDOUT) {
            strait_txn *txn = strait_txn_new();
            strait_txn_add(txn, "stock", strait_text("sku"), 3, NULL);
            ck_assert_int_eq(strait_commit(handle, txn, 0, NULL, NULL), STRAIT_OK);
            strait_txn_free(txn);
            until.tv_sec += 1;
        }
        ck_assert_uint_eq(workers[i].failures, 0);
    }
    ck_assert_uint_gt(reorder.swapped_count, 10);
    ck_assert_uint_eq(atomic_load(&server->connections_count), 1);
    strait_close(handle);
    fake_stop(server);
}
END_TEST

/* ---- Repeating ---- */

struct repeats {
    unsigned drops; /* connections that are still to be dropped */
    unsigned busy;  /* answers BUSY that are still to be given */
    uint32_t retry_after_ms;
    unsigned seen_count;
    struct txn_id seen[16];
};

static void note_commit(struct repeats *repeats, const struct fake_request *request)
{
    struct arena arena;
    ProtobufCMessage *message;
    if (request->header.type != FRAME_COMMIT)
        return;
    message_arena_init(&arena, request->body.size);
    ck_assert_int_eq(
        message_decode(&strait__commit__descriptor, request->body, true, &arena, &message),
        STATUS_OK);
    const Strait__Commit *commit = (const Strait__Commit *)message;
    struct txn_id *id = &repeats->seen[repeats->seen_count++ % 16];
    ck_assert_uint_eq(commit->txn_id.len, txn_id_size);
    memcpy(id->bytes, commit->txn_id.data, txn_id_size);
    id->issued_ns = commit->issued_ns;
    arena_free(&arena);
}

static void drop_or_refuse(struct fake_connection *connection, const struct fake_request *request,
                           void *context)
{
    struct repeats *repeats = context;
    note_commit(repeats, request);
    if (repeats->drops != 0) {
        repeats->drops--;
        fake_drop(connection);
    } else if (repeats->busy != 0) {
        repeats->busy--;
        fake_refuse(connection, request, STATUS_BUSY, repeats->retry_after_ms);
    } else {
        fake_accept(connection, request, 50 + repeats->seen_count);
    }
}

START_TEST(test_a_commit_is_repeated_under_its_id)
{
    struct repeats repeats = {.drops = 3};
    struct strait_commit_result result;
    struct strait_error error;
    char token[STRAIT_TXN_TOKEN_SIZE];
    struct fake_server *server = fake_start(drop_or_refuse, &repeats);
    strait *handle = fake_open(server, 10000);
    ck_assert_msg(commit_one(handle, 0, &result, &error) == STRAIT_OK, "%s", error.text);
    ck_assert_uint_eq(repeats.seen_count, 4);
    for (unsigned i = 1; i < 4; i++)
        ck_assert_int_eq(txn_id_compare(&repeats.seen[0], &repeats.seen[i]), 0);
    ck_assert_uint_eq(repeats.seen[0].issued_ns, fake_log_time_ns);
    txn_id_format(&repeats.seen[0], token);
    ck_assert_str_eq(result.txn, token);
    /* The next one has another id, and the newest log time that was seen. */
    ck_assert_int_eq(commit_one(handle, 0, NULL, NULL), STRAIT_OK);
    ck_assert_int_ne(memcmp(repeats.seen[0].bytes, repeats.seen[4].bytes, txn_id_size), 0);
    ck_assert_uint_eq(repeats.seen[4].issued_ns, fake_log_time_ns + result.version);
    ck_assert_uint_ge(atomic_load(&server->connections_count), 4);
    ck_assert_uint_ge(atomic_load(&server->resumed_count), 1);
    strait_close(handle);
    fake_stop(server);
}
END_TEST

START_TEST(test_busy_is_tried_again)
{
    struct repeats repeats = {.busy = 4, .retry_after_ms = 3};
    struct strait_error error;
    struct fake_server *server = fake_start(drop_or_refuse, &repeats);
    strait *handle = fake_open(server, 10000);
    ck_assert_msg(commit_one(handle, 0, NULL, &error) == STRAIT_OK, "%s", error.text);
    ck_assert_uint_eq(repeats.seen_count, 5);
    /* Where the server asks for more time than there is, the caller learns it at once. */
    repeats.busy = 1;
    repeats.retry_after_ms = 60000;
    ck_assert_int_eq(commit_one(handle, 0, NULL, &error), STRAIT_BUSY);
    ck_assert_uint_eq(error.retry_after_ms, 60000);
    ck_assert_str_eq(error.text, "refused by the test");
    /* After a send without an answer, BUSY does not say what became of that one. */
    repeats.drops = 1;
    repeats.busy = 1;
    ck_assert_int_eq(commit_one(handle, 0, NULL, &error), STRAIT_OUTCOME_UNKNOWN);
    ck_assert_uint_eq(strlen(error.txn), STRAIT_TXN_TOKEN_SIZE - 1);
    strait_close(handle);
    fake_stop(server);
}
END_TEST

START_TEST(test_refusals_are_told)
{
    struct strait_error error;
    struct repeats repeats = {0};
    struct fake_server *server = fake_start(drop_or_refuse, &repeats);
    strait *handle = fake_open(server, 10000);
    ck_assert_int_eq(strait_ping(handle, 0, NULL, NULL), STRAIT_OK);
    strait_close(handle);
    fake_stop(server);

    server = fake_start(accept_all, NULL);
    server->hello_status = STATUS_PERMISSION_DENIED;
    handle = fake_open(server, 10000);
    uint64_t begun_ns = client_now_ns();
    ck_assert_int_eq(commit_one(handle, 0, NULL, &error), STRAIT_PERMISSION_DENIED);
    ck_assert_ptr_nonnull(strstr(error.text, "not today"));
    ck_assert_str_eq(error.txn, "");
    ck_assert_uint_lt(client_now_ns() - begun_ns, 3000000000);
    strait_close(handle);
    fake_stop(server);
}
END_TEST

/* A handle that rested for hours does not date its next commit from before. */
START_TEST(test_issued_goes_on_while_the_handle_rests)
{
    const uint64_t hour_ns = UINT64_C(3600) * 1000000000;
    struct fake_server *server = fake_start(accept_all, NULL);
    strait *handle = fake_open(server, 10000);
    ck_assert_int_eq(commit_one(handle, 0, NULL, NULL), STRAIT_OK);
    uint64_t seen_ns = atomic_load(&handle->log_time_ns);
    ck_assert_uint_eq(handle_issued_ns(handle), seen_ns);
    atomic_store(&handle->log_time_seen_ns, client_now_ns() - 2 * hour_ns);
    ck_assert_uint_gt(handle_issued_ns(handle), seen_ns + hour_ns);
    ck_assert_uint_lt(handle_issued_ns(handle), seen_ns + 2 * hour_ns);
    strait_close(handle);
    fake_stop(server);
}
END_TEST

/* ---- Silence ---- */

static void keep_silent(struct fake_connection *connection, const struct fake_request *request,
                        void *context)
{
    (void)connection;
    (void)request;
    (void)context;
}

/* The connection is made before: that may take longer than the deadlines here. */
static void answer_pings(struct fake_connection *connection, const struct fake_request *request,
                         void *context)
{
    (void)context;
    if (request->header.type == FRAME_PING)
        fake_accept(connection, request, 0);
}

START_TEST(test_outcome_unknown_past_the_deadline)
{
    struct strait_error error;
    struct strait_records *records;
    struct fake_server *server = fake_start(answer_pings, NULL);
    strait *handle = fake_open(server, 10000);
    ck_assert_int_eq(strait_ping(handle, 0, NULL, NULL), STRAIT_OK);
    strait_txn *txn = strait_txn_new();
    strait_txn_put(txn, "orders", strait_text("o1"), strait_text("v"), NULL);
    uint64_t begun_ns = client_now_ns();
    ck_assert_int_eq(strait_commit(handle, txn, 200, NULL, &error), STRAIT_OUTCOME_UNKNOWN);
    uint64_t took_ns = client_now_ns() - begun_ns;
    ck_assert_uint_ge(took_ns, 190000000);
    ck_assert_uint_lt(took_ns, 2000000000);
    struct txn_id id;
    ck_assert_int_eq(txn_id_parse(bytes_of_text(error.txn), &id), STATUS_OK);
    ck_assert_uint_eq(id.issued_ns, fake_log_time_ns);
    char token[STRAIT_TXN_TOKEN_SIZE];
    strait_txn_token(txn, token);
    ck_assert_str_eq(token, error.txn);
    strait_txn_free(txn);
    ck_assert_int_eq(strait_get(handle, NULL, "orders", strait_text("o1"), 100, &records, &error),
                     STRAIT_DEADLINE_EXCEEDED);
    ck_assert_ptr_null(records);
    strait_close(handle);
    fake_stop(server);
}
END_TEST

START_TEST(test_a_silent_server_is_given_up)
{
    struct strait_error error;
    struct fake_server *server = fake_start(keep_silent, NULL);
    strait *handle = fake_open(server, 10000);
    ck_assert_int_eq(commit_one(handle, silence_lost_ms + 1000, NULL, &error),
                     STRAIT_OUTCOME_UNKNOWN);
    /* The commit, a ping, and the commit again on another connection. */
    ck_assert_uint_eq(atomic_load(&server->connections_count), 2);
    ck_assert_uint_ge(atomic_load(&server->requests_count), 3);
    strait_close(handle);
    fake_stop(server);
}
END_TEST

/* ---- No way ---- */

START_TEST(test_unreachable)
{
    struct strait_error error;
    struct fake_server *server = fake_start(accept_all, NULL);
    strait *handle = fake_open(server, 10000);
    fake_stop(server);
    ck_assert_int_eq(commit_one(handle, 300, NULL, &error), STRAIT_UNREACHABLE);
    ck_assert_ptr_nonnull(strstr(error.text, "127.0.0.1"));
    ck_assert_str_eq(error.txn, "");
    strait_close(handle);
}
END_TEST

START_TEST(test_other_endpoints_are_tried)
{
    char endpoints[128];
    struct strait_error error;
    strait *handle;
    struct fake_server *server = fake_start(accept_all, NULL);
    strait_options *options = fake_options(server, 10000);
    snprintf(endpoints, sizeof endpoints, "127.0.0.1:1,[::1]:1,localhost:%u", server->port);
    ck_assert_int_eq(strait_options_set_endpoints(options, endpoints), STRAIT_OK);
    ck_assert_int_eq(strait_open(options, &handle, &error), STRAIT_OK);
    ck_assert_msg(commit_one(handle, 0, NULL, &error) == STRAIT_OK, "%s", error.text);
    strait_close(handle);
    strait_options_free(options);
    fake_stop(server);
}
END_TEST

START_TEST(test_a_foreign_server_is_not_trusted)
{
    struct strait_error error;
    strait *handle;
    struct fake_server *server = fake_start(accept_all, NULL);
    struct fake_server *other = fake_start(accept_all, NULL);
    char ca[512];

    strait_options *options = fake_options(server, 10000);
    ck_assert_int_eq(strait_options_set_server_name(options, "elsewhere"), STRAIT_OK);
    ck_assert_int_eq(strait_open(options, &handle, &error), STRAIT_OK);
    ck_assert_int_eq(commit_one(handle, 0, NULL, &error), STRAIT_UNAUTHENTICATED);
    ck_assert_ptr_nonnull(strstr(error.text, "hostname mismatch"));
    strait_close(handle);
    strait_options_free(options);

    options = fake_options(server, 10000);
    snprintf(ca, sizeof ca, "%s/ca.pem", other->directory);
    ck_assert_int_eq(strait_options_set_ca_file(options, ca), STRAIT_OK);
    ck_assert_int_eq(strait_open(options, &handle, &error), STRAIT_OK);
    ck_assert_msg(commit_one(handle, 0, NULL, &error) == STRAIT_UNAUTHENTICATED, "%s", error.text);
    strait_close(handle);
    strait_options_free(options);
    ck_assert_uint_eq(atomic_load(&server->requests_count), 0);

    /* The server does not take a certificate of another authority. */
    options = fake_options(server, 10000);
    snprintf(ca, sizeof ca, "%s/client.pem", other->directory);
    ck_assert_int_eq(strait_options_set_certificate_file(options, ca), STRAIT_OK);
    snprintf(ca, sizeof ca, "%s/client.key", other->directory);
    ck_assert_int_eq(strait_options_set_key_file(options, ca), STRAIT_OK);
    ck_assert_int_eq(strait_open(options, &handle, &error), STRAIT_OK);
    ck_assert_int_eq(commit_one(handle, 0, NULL, &error), STRAIT_UNAUTHENTICATED);
    ck_assert_ptr_nonnull(strstr(error.text, "this client's certificate"));
    strait_close(handle);
    strait_options_free(options);
    fake_stop(server);
    fake_stop(other);
}
END_TEST

static void answer_nonsense(struct fake_connection *connection, const struct fake_request *request,
                            void *context)
{
    unsigned *left = context;
    struct fake_request wrong = *request;
    if (*left != 0) {
        --*left;
        wrong.header.request ^= 1024 * 1024;
    }
    fake_accept(connection, &wrong, 3);
}

START_TEST(test_an_answer_to_no_question_ends_the_connection)
{
    unsigned left = 1;
    struct strait_error error;
    struct fake_server *server = fake_start(answer_nonsense, &left);
    strait *handle = fake_open(server, 10000);
    ck_assert_msg(commit_one(handle, 0, NULL, &error) == STRAIT_OK, "%s", error.text);
    ck_assert_uint_eq(atomic_load(&server->connections_count), 2);
    strait_close(handle);
    fake_stop(server);
}
END_TEST

/* ---- fork and signals ---- */

START_TEST(test_fork)
{
    struct strait_error error;
    int wait_status = 0;
    struct fake_server *server = fake_start(accept_all, NULL);
    strait *handle = fake_open(server, 10000);
    ck_assert_int_eq(strait_ping(handle, 0, NULL, NULL), STRAIT_OK);
    fflush(NULL);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        bool clear = commit_one(handle, 0, NULL, &error) == STRAIT_UNSUPPORTED &&
                     strstr(error.text, "fork") != NULL && strait_poll_fd(handle) == -1;
        strait_close(handle);
        _exit(clear ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &wait_status, 0), child);
    ck_assert(WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0);
    /* The parent's connection was not touched. */
    ck_assert_int_eq(strait_ping(handle, 0, NULL, NULL), STRAIT_OK);
    ck_assert_uint_eq(atomic_load(&server->connections_count), 1);
    strait_close(handle);
    fake_stop(server);
}
END_TEST

static atomic_uint pipes_count;

static void count_pipe(int number)
{
    (void)number;
    atomic_fetch_add(&pipes_count, 1);
}

START_TEST(test_no_sigpipe)
{
    struct repeats repeats = {.drops = 2};
    struct sigaction counting = {.sa_handler = count_pipe};
    struct sigaction before;
    sigaction(SIGPIPE, &counting, &before);
    struct fake_server *server = fake_start(drop_or_refuse, &repeats);
    strait *handle = fake_open(server, 10000);
    for (unsigned i = 0; i < 5; i++)
        ck_assert_int_eq(commit_one(handle, 0, NULL, NULL), STRAIT_OK);
    strait_close(handle);
    unsigned raised = atomic_load(&pipes_count);
    fake_stop(server);
    sigaction(SIGPIPE, &before, NULL);
    ck_assert_uint_eq(raised, 0);
}
END_TEST

void unit_tests(TCase *tests)
{
    /* The fake server's own writes, to clients that went away, are not what is tested. */
    signal(SIGPIPE, SIG_IGN);
    tcase_add_test(tests, test_ping_and_session);
    tcase_add_test(tests, test_confirmations);
    tcase_add_test(tests, test_replies_in_any_order_to_many_threads);
    tcase_add_test(tests, test_a_commit_is_repeated_under_its_id);
    tcase_add_test(tests, test_busy_is_tried_again);
    tcase_add_test(tests, test_refusals_are_told);
    tcase_add_test(tests, test_issued_goes_on_while_the_handle_rests);
    tcase_add_test(tests, test_outcome_unknown_past_the_deadline);
    tcase_add_test(tests, test_a_silent_server_is_given_up);
    tcase_add_test(tests, test_unreachable);
    tcase_add_test(tests, test_other_endpoints_are_tried);
    tcase_add_test(tests, test_a_foreign_server_is_not_trusted);
    tcase_add_test(tests, test_an_answer_to_no_question_ends_the_connection);
    tcase_add_test(tests, test_fork);
    tcase_add_test(tests, test_no_sigpipe);
}
