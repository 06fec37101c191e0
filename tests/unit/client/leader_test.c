/* SPDX-License-Identifier: Apache-2.0 */
/* The handle against a region: servers that lead, do not, know who does, do not, or say what is not
 * so. Commits are kept by their ids, so that one that runs twice is seen. */
#include "client/handle.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/client/fake_server.h"
#include "tests/unit/unit.h"

enum { servers_count = 3, nobody = 99, ids_max = 4096 };

struct region {
    struct fake_server *servers[servers_count];
    struct member {
        struct region *region;
        unsigned index;
    } members[servers_count];
    pthread_mutex_t lock;
    unsigned leader;         /* or nobody */
    unsigned told;           /* whom the others take for it */
    char told_address[128];  /* in place of that, where it is not empty */
    uint32_t retry_after_ms; /* that the others ask for; 0: some */
    unsigned drops;          /* commits that are done and answered with OUTCOME_UNKNOWN... */
    unsigned next_leader;    /* ... upon which this one leads */
    uint64_t floor_ns;       /* what was issued before is answered with TXN_EXPIRED ... */
    uint64_t ceiling_ns;     /* and what is issued after; 0: none */
    bool floor_follows;      /* ... however late it was issued */
    unsigned expired_count;
    uint8_t ids[ids_max][16];
    unsigned ids_count;
    Strait__Consistency__Kind kind; /* of the last get */
    uint64_t staleness_ms;
    uint64_t at_least;
    unsigned stale_by; /* who answered it */
};

static void refuse(struct region *region, struct fake_connection *connection,
                   const struct fake_request *request, enum status status)
{
    Strait__Refusal refusal = STRAIT__REFUSAL__INIT;
    char leader[128] = "";

    if (region->told_address[0] != 0)
        snprintf(leader, sizeof leader, "%s", region->told_address);
    else if (region->told != nobody)
        snprintf(leader, sizeof leader, "127.0.0.1:%u", region->servers[region->told]->port);
    refusal.text = (char *)(uintptr_t) "refused by the test";
    refusal.retry_after_ms = region->retry_after_ms != 0 ? region->retry_after_ms : 20;
    refusal.leader = leader;
    fake_reply(connection, request, status, &refusal.base);
}

/* Whether it was issued too long ago, or in the future: then it is refused, with the log's time as
 * it is. */
static bool expire(struct region *region, struct fake_connection *connection,
                   const struct fake_request *request)
{
    Strait__Refusal refusal = STRAIT__REFUSAL__INIT;
    Strait__Position position = STRAIT__POSITION__INIT;
    struct arena arena;
    ProtobufCMessage *message;

    message_arena_init(&arena, request->body.size);
    ck_assert_int_eq(
        message_decode(&strait__commit__descriptor, request->body, true, &arena, &message),
        STATUS_OK);
    uint64_t issued_ns = ((const Strait__Commit *)message)->issued_ns;
    arena_free(&arena);
    bool is_late = region->ceiling_ns != 0 && issued_ns > region->ceiling_ns;
    if (issued_ns >= region->floor_ns && !is_late)
        return false;
    region->expired_count++;
    refusal.text = (char *)(uintptr_t) "refused by the test";
    position.epoch_number = 2;
    position.epoch_region = 1;
    position.log_time_ns = is_late ? region->ceiling_ns : region->floor_ns;
    refusal.position = &position;
    fake_reply(connection, request, STATUS_TXN_EXPIRED, &refusal.base);
    if (region->floor_follows)
        region->floor_ns += 1000;
    return true;
}

/* Whether the id is new. */
static bool run(struct region *region, const struct fake_request *request)
{
    struct arena arena;
    ProtobufCMessage *message;

    message_arena_init(&arena, request->body.size);
    ck_assert_int_eq(
        message_decode(&strait__commit__descriptor, request->body, true, &arena, &message),
        STATUS_OK);
    const Strait__Commit *commit = (const Strait__Commit *)message;
    bool is_new = true;
    for (unsigned i = 0; i < region->ids_count && is_new; i++)
        is_new = memcmp(region->ids[i], commit->txn_id.data, 16) != 0;
    if (is_new) {
        ck_assert_uint_lt(region->ids_count, ids_max);
        memcpy(region->ids[region->ids_count++], commit->txn_id.data, 16);
    }
    arena_free(&arena);
    return is_new;
}

static void commit(struct region *region, struct fake_connection *connection,
                   const struct fake_request *request)
{
    Strait__CommitReply reply = STRAIT__COMMIT_REPLY__INIT;
    Strait__Position position = STRAIT__POSITION__INIT;

    if (expire(region, connection, request))
        return;
    reply.repeated_reply = !run(region, request);
    if (region->drops != 0) {
        region->drops--;
        region->leader = region->next_leader;
        region->told = region->next_leader;
        refuse(region, connection, request, STATUS_OUTCOME_UNKNOWN);
        return;
    }
    position.epoch_number = 2;
    position.epoch_region = 1;
    position.version = region->ids_count;
    position.log_time_ns = fake_log_time_ns;
    reply.position = &position;
    fake_reply(connection, request, STATUS_OK, &reply.base);
}

/* False: it is for the leader. */
static bool note_get(struct region *region, unsigned index, const struct fake_request *request)
{
    struct arena arena;
    ProtobufCMessage *message;

    message_arena_init(&arena, request->body.size);
    ck_assert_int_eq(
        message_decode(&strait__get__descriptor, request->body, true, &arena, &message), STATUS_OK);
    const Strait__Consistency *consistency = ((const Strait__Get *)message)->consistency;
    region->kind = STRAIT__CONSISTENCY__KIND__LINEARIZABLE;
    if (consistency != NULL) {
        region->kind = consistency->kind;
        region->staleness_ms = consistency->max_staleness_ms;
        region->at_least = consistency->position != NULL ? consistency->position->version : 0;
        region->stale_by = index;
    }
    arena_free(&arena);
    return region->kind != STRAIT__CONSISTENCY__KIND__LINEARIZABLE;
}

static void get(struct fake_connection *connection, const struct fake_request *request)
{
    Strait__GetReply reply = STRAIT__GET_REPLY__INIT;
    Strait__Position position = STRAIT__POSITION__INIT;
    Strait__Record record = STRAIT__RECORD__INIT;
    Strait__Record *records[] = {&record};

    position.version = 7;
    position.epoch_number = 2;
    position.epoch_region = 1;
    reply.position = &position;
    reply.records = records;
    reply.n_records = 1;
    fake_reply(connection, request, STATUS_OK, &reply.base);
}

static void serve(struct fake_connection *connection, const struct fake_request *request,
                  void *context)
{
    struct member *member = context;
    struct region *region = member->region;

    pthread_mutex_lock(&region->lock);
    bool leads = region->leader == member->index;
    if (request->header.type == FRAME_PING)
        fake_accept(connection, request, 9);
    else if (request->header.type == FRAME_GET &&
             (note_get(region, member->index, request) || leads))
        get(connection, request);
    else if (!leads)
        refuse(region, connection, request, STATUS_NOT_LEADER);
    else
        commit(region, connection, request);
    pthread_mutex_unlock(&region->lock);
}

static struct region *region_start(unsigned leader, unsigned told)
{
    struct region *region = calloc(1, sizeof *region);
    ck_assert_ptr_nonnull(region);
    /* Servers write to clients that have left for another one. */
    ck_assert_ptr_ne(signal(SIGPIPE, SIG_IGN), SIG_ERR);
    pthread_mutex_init(&region->lock, NULL);
    region->leader = leader;
    region->told = told;
    for (unsigned i = 0; i < servers_count; i++) {
        region->members[i] = (struct member){.region = region, .index = i};
        region->servers[i] =
            i == 0 ? fake_start(serve, &region->members[i])
                   : fake_start_beside(region->servers[0], serve, &region->members[i]);
    }
    return region;
}

static void region_stop(struct region *region)
{
    for (unsigned i = 0; i < servers_count; i++) {
        if (region->servers[i] != NULL)
            fake_stop(region->servers[i]);
    }
    pthread_mutex_destroy(&region->lock);
    free(region);
}

static unsigned requests(const struct region *region)
{
    unsigned count = 0;
    for (unsigned i = 0; i < servers_count; i++)
        count += atomic_load(&region->servers[i]->requests_count);
    return count;
}

static unsigned connections(const struct region *region)
{
    unsigned count = 0;
    for (unsigned i = 0; i < servers_count; i++)
        count += atomic_load(&region->servers[i]->connections_count);
    return count;
}

/* A handle that knows the first `count` of them. */
static strait *open_handle(const struct region *region, unsigned count, uint32_t timeout_ms)
{
    struct strait_error error;
    char endpoints[256];
    size_t size = 0;
    strait *handle;

    strait_options *options = fake_options(region->servers[0], timeout_ms);
    for (unsigned i = 0; i < count; i++)
        size += (size_t)snprintf(endpoints + size, sizeof endpoints - size, "%s127.0.0.1:%u",
                                 i == 0 ? "" : ",", region->servers[i]->port);
    ck_assert_int_eq(strait_options_set_endpoints(options, endpoints), STRAIT_OK);
    ck_assert_int_eq(strait_open(options, &handle, &error), STRAIT_OK);
    strait_options_free(options);
    return handle;
}

static enum strait_status commit_one(strait *handle, struct strait_commit_result *result,
                                     struct strait_error *error)
{
    strait_txn *txn = strait_txn_new();
    strait_txn_put(txn, "orders", strait_text("o1"), strait_text("v"), NULL);
    enum strait_status status = strait_commit(handle, txn, 0, result, error);
    strait_txn_free(txn);
    return status;
}

START_TEST(test_the_leader_is_followed_where_it_is_named)
{
    struct strait_error error;
    struct region *region = region_start(2, 2);
    strait *handle = open_handle(region, 1, 10000);

    ck_assert_msg(commit_one(handle, NULL, &error) == STRAIT_OK, "%s", error.text);
    ck_assert_uint_eq(atomic_load(&region->servers[0]->requests_count), 1);
    ck_assert_uint_eq(atomic_load(&region->servers[2]->requests_count), 1);
    /* And stayed with. */
    ck_assert_int_eq(commit_one(handle, NULL, NULL), STRAIT_OK);
    ck_assert_uint_eq(requests(region), 3);
    ck_assert_uint_eq(connections(region), 2);
    strait_close(handle);
    region_stop(region);
}
END_TEST

START_TEST(test_the_leader_is_found_where_nobody_names_it)
{
    struct strait_error error;
    struct region *region = region_start(2, nobody);
    strait *handle = open_handle(region, 3, 20000);

    ck_assert_msg(commit_one(handle, NULL, &error) == STRAIT_OK, "%s", error.text);
    ck_assert_uint_eq(region->ids_count, 1);
    ck_assert_uint_lt(requests(region), 100); /* some a pause, no hot loop */
    strait_close(handle);
    region_stop(region);
}
END_TEST

/* Without a leader calls end at their deadline, with few requests until then. */
START_TEST(test_no_leader)
{
    static const unsigned told[] = {nobody, 1};
    for (unsigned i = 0; i < 2; i++) {
        struct strait_records *records;
        struct strait_error error;
        struct region *region = region_start(nobody, told[i]);
        strait *handle = open_handle(region, 3, 2000);

        /* Unknown only where the deadline came while a send was on its way. */
        enum strait_status status = commit_one(handle, NULL, &error);
        ck_assert(status == STRAIT_UNREACHABLE || status == STRAIT_OUTCOME_UNKNOWN);
        ck_assert_uint_eq(region->ids_count, 0);
        ck_assert_int_eq(strait_get(handle, NULL, "orders", strait_text("o1"), 0, &records, &error),
                         STRAIT_UNREACHABLE);
        ck_assert_uint_lt(requests(region), 400);
        ck_assert_uint_lt(connections(region), 150);
        strait_close(handle);
        region_stop(region);
    }
}
END_TEST

/* The leader is lost with a commit that the next one has: it is found there, and runs once. */
START_TEST(test_a_dropped_commit_is_asked_for_again)
{
    struct strait_commit_result result;
    struct strait_error error;
    struct region *region = region_start(0, 0);
    strait *handle = open_handle(region, 3, 10000);

    region->drops = 1;
    region->next_leader = 1;
    ck_assert_msg(commit_one(handle, &result, &error) == STRAIT_OK, "%s", error.text);
    ck_assert(result.repeated);
    ck_assert_uint_eq(region->ids_count, 1);
    ck_assert_uint_eq(atomic_load(&region->servers[1]->requests_count), 1);
    strait_close(handle);
    region_stop(region);
}
END_TEST

/* The same where nobody leads after it: that NOT_LEADER refuses later sends says nothing of it. */
START_TEST(test_a_dropped_commit_stays_unknown)
{
    struct strait_error error;
    struct region *region = region_start(0, 0);
    strait *handle = open_handle(region, 3, 3000);

    region->drops = 1;
    region->next_leader = nobody;
    ck_assert_int_eq(commit_one(handle, NULL, &error), STRAIT_OUTCOME_UNKNOWN);
    ck_assert_uint_gt(strlen(error.txn), 40);
    strait_close(handle);
    region_stop(region);
}
END_TEST

START_TEST(test_a_named_leader_has_to_prove_its_name)
{
    struct strait_error error;
    struct region *region = region_start(nobody, nobody);
    struct region *foreign = region_start(0, 0);
    strait *handle = open_handle(region, 1, 3000);

    snprintf(region->told_address, sizeof region->told_address, "127.0.0.1:%u",
             foreign->servers[0]->port);
    /* Unknown only where an answer took its time, and the deadline came before it. */
    enum strait_status status = commit_one(handle, NULL, &error);
    ck_assert(status == STRAIT_UNREACHABLE || status == STRAIT_OUTCOME_UNKNOWN);
    ck_assert_uint_ge(atomic_load(&foreign->servers[0]->connections_count), 1);
    ck_assert_uint_eq(requests(foreign), 0);
    ck_assert_uint_eq(foreign->ids_count, 0);
    strait_close(handle);
    region_stop(foreign);
    region_stop(region);
}
END_TEST

/* A commit that was refused for certain has not run. One more send just before the deadline could
 * only lose that: its answer would come too late. */
START_TEST(test_a_refused_commit_is_not_sent_at_the_last_moment)
{
    struct strait_error error;
    struct region *region = region_start(nobody, nobody);
    strait *handle = open_handle(region, 1, 4000);

    /* Due again between 3,960 and 5,940 ms after it. */
    region->retry_after_ms = 3960;
    ck_assert_int_eq(commit_one(handle, NULL, &error), STRAIT_UNREACHABLE);
    ck_assert_uint_eq(requests(region), 1);
    strait_close(handle);
    region_stop(region);
}
END_TEST

START_TEST(test_when_a_call_is_late)
{
    static const uint64_t millisecond_ns = 1000000;
    struct call call = {.type = FRAME_COMMIT, .deadline_ns = 1000 * millisecond_ns};

    /* The first send goes out up to the deadline, as does one whose answer may be lost. */
    ck_assert(!call_is_late(&call, 999 * millisecond_ns));
    ck_assert(call_is_late(&call, 1000 * millisecond_ns));
    call.was_refused = true;
    call.unanswered_count = 1;
    ck_assert(!call_is_late(&call, 999 * millisecond_ns));
    call.unanswered_count = 0;
    ck_assert(call_is_late(&call, 999 * millisecond_ns));
    ck_assert(call_is_late(&call, 950 * millisecond_ns));
    ck_assert(!call_is_late(&call, 949 * millisecond_ns));
    ck_assert(call_is_late(&call, 2000 * millisecond_ns));
    /* What changes nothing may as well be asked for. */
    call.type = FRAME_GET;
    ck_assert(!call_is_late(&call, 999 * millisecond_ns));
}
END_TEST

START_TEST(test_what_is_no_address_is_not_followed)
{
    static const char *const told[] = {"nonsense", ":1", "127.0.0.1:0", "127.0.0.1:99999"};
    for (unsigned i = 0; i < sizeof told / sizeof told[0]; i++) {
        struct region *region = region_start(2, nobody);
        strait *handle = open_handle(region, 3, 20000);
        snprintf(region->told_address, sizeof region->told_address, "%s", told[i]);
        ck_assert_int_eq(commit_one(handle, NULL, NULL), STRAIT_OK);
        strait_close(handle);
        region_stop(region);
    }
}
END_TEST

/* ---- A leader that goes while many are at it ---- */

enum { committers_count = 8, commits_each = 40 };

struct committer {
    pthread_t thread;
    strait *handle;
    unsigned failures;
};

static void *run_committer(void *argument)
{
    struct committer *committer = argument;
    for (unsigned i = 0; i < commits_each; i++)
        committer->failures += commit_one(committer->handle, NULL, NULL) != STRAIT_OK;
    return NULL;
}

START_TEST(test_commits_survive_leaders)
{
    struct committer committers[committers_count];
    struct region *region = region_start(0, 0);
    strait *handle = open_handle(region, 3, 30000);

    for (unsigned i = 0; i < committers_count; i++) {
        committers[i] = (struct committer){.handle = handle};
        ck_assert_int_eq(pthread_create(&committers[i].thread, NULL, run_committer, &committers[i]),
                         0);
    }
    while (atomic_load(&region->servers[0]->requests_count) < 20)
        sched_yield();
    /* Handed over, and the old one known of nothing for a while; then gone. */
    pthread_mutex_lock(&region->lock);
    region->leader = 1;
    region->told = nobody;
    pthread_mutex_unlock(&region->lock);
    while (atomic_load(&region->servers[1]->requests_count) < 20)
        sched_yield();
    pthread_mutex_lock(&region->lock);
    region->leader = 2;
    region->told = 2;
    pthread_mutex_unlock(&region->lock);
    for (unsigned i = 0; i < committers_count; i++) {
        pthread_join(committers[i].thread, NULL);
        ck_assert_uint_eq(committers[i].failures, 0);
    }
    ck_assert_uint_eq(region->ids_count, committers_count * commits_each);
    strait_close(handle);
    region_stop(region);
}
END_TEST

START_TEST(test_a_leader_that_is_gone)
{
    struct strait_error error;
    struct region *region = region_start(0, 0);
    strait *handle = open_handle(region, 3, 20000);

    ck_assert_int_eq(commit_one(handle, NULL, NULL), STRAIT_OK);
    struct fake_server *gone = region->servers[0];
    char address[128];
    snprintf(address, sizeof address, "127.0.0.1:%u", gone->port);
    /* The others still name it, for a time: what failed is not followed to at once. */
    snprintf(region->told_address, sizeof region->told_address, "%s", address);
    region->leader = 1;
    fake_stop(gone);
    region->servers[0] = fake_start_beside(region->servers[1], serve, &region->members[0]);
    ck_assert_msg(commit_one(handle, NULL, &error) == STRAIT_OK, "%s", error.text);
    ck_assert_uint_eq(region->ids_count, 2);
    strait_close(handle);
    region_stop(region);
}
END_TEST

/* ---- Reads by any member ---- */

START_TEST(test_reads_that_any_member_answers)
{
    const struct strait_key key = {.table = "orders", .key = strait_text("o1")};
    struct strait_read_options options = {.consistency = STRAIT_BOUNDED_STALE,
                                          .max_staleness_ms = 250};
    struct strait_records *records;
    struct strait_error error;
    struct strait_token token;
    struct region *region = region_start(2, 2);
    strait *handle = open_handle(region, 1, 10000);

    ck_assert_msg(strait_get_with(handle, &options, &key, 1, 0, &records, &error) == STRAIT_OK,
                  "%s", error.text);
    ck_assert_int_eq(region->kind, STRAIT__CONSISTENCY__KIND__BOUNDED_STALE);
    ck_assert_uint_eq(region->staleness_ms, 250);
    ck_assert_uint_eq(region->stale_by, 0);
    ck_assert_uint_eq(connections(region), 1);
    ck_assert_uint_eq(records->token.version, 7);
    ck_assert_uint_eq(records->token.epoch_number, 2);
    ck_assert_uint_eq(records->token.epoch_region, 1);
    strait_free(records);

    strait_txn *txn = strait_txn_new();
    strait_txn_put(txn, "orders", strait_text("o1"), strait_text("v"), NULL);
    strait_txn_position(txn, &token);
    ck_assert_uint_eq(token.version, 0);
    ck_assert_int_eq(strait_commit(handle, txn, 0, NULL, NULL), STRAIT_OK);
    strait_txn_position(txn, &token);
    strait_txn_free(txn);
    ck_assert_uint_eq(token.version, 1);
    options = (struct strait_read_options){.consistency = STRAIT_AT_LEAST, .token = token};
    ck_assert_int_eq(strait_get_with(handle, &options, &key, 1, 0, &records, &error), STRAIT_OK);
    ck_assert_int_eq(region->kind, STRAIT__CONSISTENCY__KIND__AT_LEAST);
    ck_assert_uint_eq(region->at_least, 1);
    strait_free(records);

    options.consistency = (enum strait_consistency)77;
    ck_assert_int_eq(strait_get_with(handle, &options, &key, 1, 0, &records, &error),
                     STRAIT_INVALID_ARGUMENT);
    ck_assert_int_eq(strait_get_with(handle, NULL, &key, 1, 0, &records, &error), STRAIT_OK);
    ck_assert_int_eq(region->kind, STRAIT__CONSISTENCY__KIND__LINEARIZABLE);
    strait_free(records);
    strait_close(handle);
    region_stop(region);
}
END_TEST

/* A member that lags behind tells a log time that is too old at the leader. Nothing was run, so
 * that the commit is issued anew. */
START_TEST(test_a_log_time_that_was_too_old_is_taken_anew)
{
    struct strait_error error;
    struct region *region = region_start(2, 2);
    strait *handle = open_handle(region, 1, 10000);

    region->floor_ns = fake_log_time_ns + 1000;
    ck_assert_msg(commit_one(handle, NULL, &error) == STRAIT_OK, "%s", error.text);
    ck_assert_uint_eq(region->expired_count, 1);
    ck_assert_uint_eq(region->ids_count, 1);
    /* Once: a server that calls each time too old is believed in the end. */
    region->floor_ns = fake_log_time_ns + 1000000;
    region->floor_follows = true;
    ck_assert_int_eq(commit_one(handle, NULL, &error), STRAIT_TXN_EXPIRED);
    ck_assert_uint_eq(region->expired_count, 3);
    ck_assert_uint_eq(region->ids_count, 1);
    strait_close(handle);
    region_stop(region);
}
END_TEST

/* A region that was lost told times to which the log of the promoted one has not come. */
START_TEST(test_a_log_time_that_is_to_come_is_taken_anew)
{
    struct strait_error error;
    struct region *region = region_start(0, 0);
    strait *handle = open_handle(region, 1, 10000);

    region->ceiling_ns = fake_log_time_ns - 1000;
    ck_assert_msg(commit_one(handle, NULL, &error) == STRAIT_OK, "%s", error.text);
    ck_assert_uint_eq(region->expired_count, 1);
    ck_assert_uint_eq(region->ids_count, 1);
    strait_close(handle);
    region_stop(region);
}
END_TEST

/* Where an earlier send may have run, only the same words can tell. */
START_TEST(test_a_commit_that_may_have_run_is_not_issued_anew)
{
    struct strait_error error;
    struct region *region = region_start(0, 0);
    strait *handle = open_handle(region, 3, 10000);

    region->floor_ns = fake_log_time_ns + 1000;
    region->floor_follows = true;
    strait_txn *txn = strait_txn_new();
    strait_txn_put(txn, "orders", strait_text("o1"), strait_text("v"), NULL);
    char token[] = "00112233445566778899aabbccddeeff-0000000000000001";
    ck_assert_int_eq(strait_txn_set_token(txn, token), STRAIT_OK);
    ck_assert_int_eq(strait_commit(handle, txn, 0, NULL, &error), STRAIT_OUTCOME_UNKNOWN);
    ck_assert_uint_eq(region->expired_count, 1);
    strait_txn_free(txn);
    strait_close(handle);
    region_stop(region);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, test_the_leader_is_followed_where_it_is_named);
    tcase_add_test(tests, test_the_leader_is_found_where_nobody_names_it);
    tcase_add_test(tests, test_no_leader);
    tcase_add_test(tests, test_a_dropped_commit_is_asked_for_again);
    tcase_add_test(tests, test_a_dropped_commit_stays_unknown);
    tcase_add_test(tests, test_a_named_leader_has_to_prove_its_name);
    tcase_add_test(tests, test_a_refused_commit_is_not_sent_at_the_last_moment);
    tcase_add_test(tests, test_when_a_call_is_late);
    tcase_add_test(tests, test_what_is_no_address_is_not_followed);
    tcase_add_test(tests, test_commits_survive_leaders);
    tcase_add_test(tests, test_a_leader_that_is_gone);
    tcase_add_test(tests, test_reads_that_any_member_answers);
    tcase_add_test(tests, test_a_log_time_that_was_too_old_is_taken_anew);
    tcase_add_test(tests, test_a_log_time_that_is_to_come_is_taken_anew);
    tcase_add_test(tests, test_a_commit_that_may_have_run_is_not_issued_anew);
}
