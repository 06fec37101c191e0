/* SPDX-License-Identifier: Apache-2.0 */
/* The handle against two regions, of which one is the primary: commits and reads at the newest
 * state find it. Commits are kept by their ids, so that one that runs twice is seen. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/handle.h"
#include "client/strait_region.h"
#include "tests/unit/client/fake_server.h"
#include "tests/unit/unit.h"

enum { regions_count = 2, region_servers_count = 2, neither = 99, ids_max = 4096 };

struct cluster;

struct member {
    struct cluster *cluster;
    unsigned region;
};

struct cluster {
    struct fake_server *servers[regions_count][region_servers_count];
    struct member members[regions_count]; /* one for all servers of a region */
    pthread_mutex_t lock;                 /* of all below */
    unsigned primary;                     /* or neither */
    unsigned named[regions_count];        /* whom each names where it is not; or neither */
    char named_text[4096];                /* in place of that, where it is not empty */
    uint64_t epochs[regions_count];       /* by which each refuses; 0: it does not say */
    uint8_t record[limit_promotion_shown_size + 1]; /* that goes with it */
    size_t record_size;
    uint8_t ids[ids_max][16];
    unsigned ids_count;
    unsigned refusals;
};

static void refuse(struct cluster *cluster, unsigned region, struct fake_connection *connection,
                   const struct fake_request *request)
{
    Strait__Refusal refusal = STRAIT__REFUSAL__INIT;
    Strait__Position position = STRAIT__POSITION__INIT;
    char named[4096] = "";
    unsigned other = cluster->named[region];

    if (cluster->named_text[0] != 0)
        memcpy(named, cluster->named_text, sizeof named);
    else if (other != neither)
        snprintf(named, sizeof named, "127.0.0.1:%u,127.0.0.1:%u", cluster->servers[other][0]->port,
                 cluster->servers[other][1]->port);
    refusal.text = (char *)(uintptr_t) "This region is a standby.";
    refusal.retry_after_ms = 20;
    refusal.leader = named;
    if (cluster->record_size != 0)
        refusal.promotion = field_of_bytes(bytes_of(cluster->record, cluster->record_size));
    if (cluster->epochs[region] != 0) {
        position.epoch_number = cluster->epochs[region];
        position.epoch_region = 1;
        refusal.position = &position;
    }
    cluster->refusals++;
    fake_reply(connection, request, STATUS_NOT_PRIMARY, &refusal.base);
}

static void commit(struct cluster *cluster, struct fake_connection *connection,
                   const struct fake_request *request)
{
    Strait__CommitReply reply = STRAIT__COMMIT_REPLY__INIT;
    Strait__Position position = STRAIT__POSITION__INIT;
    struct arena arena;
    ProtobufCMessage *message;

    message_arena_init(&arena, request->body.size);
    ck_assert_int_eq(
        message_decode(&strait__commit__descriptor, request->body, true, &arena, &message),
        STATUS_OK);
    const Strait__Commit *asked = (const Strait__Commit *)message;
    for (unsigned i = 0; i < cluster->ids_count && !reply.repeated_reply; i++)
        reply.repeated_reply = memcmp(cluster->ids[i], asked->txn_id.data, 16) == 0;
    if (!reply.repeated_reply) {
        ck_assert_uint_lt(cluster->ids_count, ids_max);
        memcpy(cluster->ids[cluster->ids_count++], asked->txn_id.data, 16);
    }
    arena_free(&arena);
    position.version = cluster->ids_count;
    position.log_time_ns = fake_log_time_ns;
    reply.position = &position;
    fake_reply(connection, request, STATUS_OK, &reply.base);
}

static bool is_at_newest(const struct fake_request *request)
{
    struct arena arena;
    ProtobufCMessage *message;

    message_arena_init(&arena, request->body.size);
    ck_assert_int_eq(
        message_decode(&strait__get__descriptor, request->body, true, &arena, &message), STATUS_OK);
    const Strait__Consistency *consistency = ((const Strait__Get *)message)->consistency;
    bool newest =
        consistency == NULL || consistency->kind == STRAIT__CONSISTENCY__KIND__LINEARIZABLE;
    arena_free(&arena);
    return newest;
}

static void get(struct fake_connection *connection, const struct fake_request *request)
{
    Strait__GetReply reply = STRAIT__GET_REPLY__INIT;
    Strait__Position position = STRAIT__POSITION__INIT;
    Strait__Record record = STRAIT__RECORD__INIT;
    Strait__Record *records[] = {&record};

    record.found = true;
    reply.position = &position;
    reply.records = records;
    reply.n_records = 1;
    fake_reply(connection, request, STATUS_OK, &reply.base);
}

static void serve(struct fake_connection *connection, const struct fake_request *request,
                  void *context)
{
    struct member *member = context;
    struct cluster *cluster = member->cluster;

    pthread_mutex_lock(&cluster->lock);
    bool serves = cluster->primary == member->region;
    if (request->header.type == FRAME_PING)
        fake_accept(connection, request, 9);
    else if (request->header.type == FRAME_GET && (serves || !is_at_newest(request)))
        get(connection, request);
    else if (request->header.type == FRAME_COMMIT && serves)
        commit(cluster, connection, request);
    else
        refuse(cluster, member->region, connection, request);
    pthread_mutex_unlock(&cluster->lock);
}

/* ---- The cluster ---- */

static void start_region(struct cluster *cluster, unsigned region, const struct fake_server *first)
{
    for (unsigned i = 0; i < region_servers_count; i++) {
        cluster->servers[region][i] =
            first == NULL ? fake_start(serve, &cluster->members[region])
                          : fake_start_beside(first, serve, &cluster->members[region]);
        if (first == NULL)
            first = cluster->servers[region][i];
    }
}

/* Each region names the other, which need not be the primary. */
static struct cluster *cluster_start(unsigned primary)
{
    struct cluster *cluster = calloc(1, sizeof *cluster);
    ck_assert_ptr_nonnull(cluster);
    /* Servers write to clients that have left for another one. */
    ck_assert_ptr_ne(signal(SIGPIPE, SIG_IGN), SIG_ERR);
    pthread_mutex_init(&cluster->lock, NULL);
    cluster->primary = primary;
    for (unsigned r = 0; r < regions_count; r++) {
        cluster->members[r] = (struct member){.cluster = cluster, .region = r};
        cluster->named[r] = 1 - r;
        start_region(cluster, r, r == 0 ? NULL : cluster->servers[0][0]);
    }
    return cluster;
}

static void cluster_stop(struct cluster *cluster)
{
    for (unsigned r = 0; r < regions_count; r++) {
        for (unsigned i = 0; i < region_servers_count; i++) {
            if (cluster->servers[r][i] != NULL)
                fake_stop(cluster->servers[r][i]);
        }
    }
    pthread_mutex_destroy(&cluster->lock);
    free(cluster);
}

static void set_primary(struct cluster *cluster, unsigned primary)
{
    pthread_mutex_lock(&cluster->lock);
    cluster->primary = primary;
    pthread_mutex_unlock(&cluster->lock);
}

static unsigned refusals(struct cluster *cluster)
{
    pthread_mutex_lock(&cluster->lock);
    unsigned count = cluster->refusals;
    pthread_mutex_unlock(&cluster->lock);
    return count;
}

static unsigned requests(const struct cluster *cluster, unsigned region)
{
    unsigned count = 0;
    for (unsigned i = 0; i < region_servers_count; i++)
        count += atomic_load(&cluster->servers[region][i]->requests_count);
    return count;
}

static unsigned connections(const struct cluster *cluster, unsigned region)
{
    unsigned count = 0;
    for (unsigned i = 0; i < region_servers_count; i++)
        count += atomic_load(&cluster->servers[region][i]->connections_count);
    return count;
}

/* A handle that knows region 0's servers alone, or those of both. */
static strait *open_handle(const struct cluster *cluster, unsigned regions, uint32_t timeout_ms)
{
    struct strait_error error;
    char endpoints[256];
    size_t size = 0;
    strait *handle;

    strait_options *options = fake_options(cluster->servers[0][0], timeout_ms);
    for (unsigned i = 0; i < regions * region_servers_count; i++)
        size += (size_t)snprintf(
            endpoints + size, sizeof endpoints - size, "%s127.0.0.1:%u", i == 0 ? "" : ",",
            cluster->servers[i / region_servers_count][i % region_servers_count]->port);
    ck_assert_int_eq(strait_options_set_endpoints(options, endpoints), STRAIT_OK);
    ck_assert_int_eq(strait_open(options, &handle, &error), STRAIT_OK);
    strait_options_free(options);
    return handle;
}

static enum strait_status commit_one(strait *handle, struct strait_error *error)
{
    strait_txn *txn = strait_txn_new();
    strait_txn_put(txn, "orders", strait_text("o1"), strait_text("v"), NULL);
    enum strait_status status = strait_commit(handle, txn, 0, NULL, error);
    strait_txn_free(txn);
    return status;
}

static void assert_commits(strait *handle)
{
    struct strait_error error;
    enum strait_status status = commit_one(handle, &error);
    ck_assert_msg(status == STRAIT_OK, "%s: %s", strait_status_name(status), error.text);
}

/* ---- Following ---- */

START_TEST(test_the_primary_is_followed)
{
    struct strait_records *records;
    struct strait_error error;
    struct cluster *cluster = cluster_start(1);
    strait *handle = open_handle(cluster, 1, 10000);

    assert_commits(handle);
    ck_assert_uint_eq(requests(cluster, 0), 1);
    ck_assert_uint_eq(requests(cluster, 1), 1);
    /* And stayed with. */
    assert_commits(handle);
    ck_assert_msg(strait_get(handle, NULL, "orders", strait_text("o1"), 0, &records, &error) ==
                      STRAIT_OK,
                  "%s", error.text);
    strait_free(records);
    ck_assert_uint_eq(requests(cluster, 0), 1);
    ck_assert_uint_eq(connections(cluster, 0) + connections(cluster, 1), 2);
    ck_assert_uint_eq(cluster->ids_count, 2);
    strait_close(handle);
    cluster_stop(cluster);
}
END_TEST

static void set_record(struct cluster *cluster, uint64_t epoch, size_t size)
{
    pthread_mutex_lock(&cluster->lock);
    cluster->epochs[0] = epoch;
    cluster->record_size = size;
    pthread_mutex_unlock(&cluster->lock);
}

/* Commits, with region 0 refusing and 1 serving; what 1 was told of by then. */
static uint64_t told_after_commit(struct cluster *cluster, unsigned *size)
{
    strait *handle = open_handle(cluster, 1, 10000);
    assert_commits(handle);
    strait_close(handle);
    *size = 0;
    uint64_t told = 0;
    for (unsigned i = 0; i < region_servers_count; i++) {
        const struct fake_server *server = cluster->servers[1][i];
        if (atomic_load(&server->told) >= told) {
            told = atomic_load(&server->told);
            *size = atomic_load(&server->told_size);
        }
    }
    return told;
}

/* What one server tells of a promotion is shown to the next one. */
START_TEST(test_promotions_are_carried_on)
{
    struct cluster *cluster = cluster_start(1);
    unsigned size;

    ck_assert_uint_eq(told_after_commit(cluster, &size), 0);
    /* By a refusal; the largest record there is, and one that is larger. */
    set_record(cluster, 4, limit_promotion_shown_size);
    ck_assert_uint_eq(told_after_commit(cluster, &size), 4);
    ck_assert_uint_eq(size, limit_promotion_shown_size);
    set_record(cluster, 6, limit_promotion_shown_size + 1);
    ck_assert_uint_eq(told_after_commit(cluster, &size), 0);
    /* By the answer to Hello, where it is the higher one. */
    for (unsigned i = 0; i < region_servers_count; i++)
        cluster->servers[0][i]->promotion = (struct epoch){.number = 9, .region = 2};
    set_record(cluster, 6, 100);
    ck_assert_uint_eq(told_after_commit(cluster, &size), 9);
    ck_assert_uint_eq(size, sizeof(uint64_t));
    set_record(cluster, 12, 100);
    ck_assert_uint_eq(told_after_commit(cluster, &size), 12);
    ck_assert_uint_eq(size, 100);
    cluster_stop(cluster);
}
END_TEST

START_TEST(test_a_read_at_the_newest_state_follows)
{
    const struct strait_key key = {.table = "orders", .key = strait_text("o1")};
    const struct strait_read_options stale = {.consistency = STRAIT_BOUNDED_STALE,
                                              .max_staleness_ms = 250};
    struct strait_records *records;
    struct strait_error error;
    struct cluster *cluster = cluster_start(1);
    strait *handle = open_handle(cluster, 1, 10000);

    /* The standby answers one that may be old. */
    ck_assert_msg(strait_get_with(handle, &stale, &key, 1, 0, &records, &error) == STRAIT_OK, "%s",
                  error.text);
    strait_free(records);
    ck_assert_uint_eq(requests(cluster, 1), 0);
    ck_assert_msg(strait_get_with(handle, NULL, &key, 1, 0, &records, &error) == STRAIT_OK, "%s",
                  error.text);
    strait_free(records);
    ck_assert_uint_eq(requests(cluster, 1), 1);
    strait_close(handle);
    cluster_stop(cluster);
}
END_TEST

/* What is asked of a certain region stays there. */
START_TEST(test_what_is_for_the_region_that_is_asked)
{
    struct strait_regions *list;
    struct strait_promotion *promotion;
    struct strait_error error;
    struct cluster *cluster = cluster_start(1);
    strait *handle = open_handle(cluster, 1, 5000);

    ck_assert_int_eq(strait_region_list(handle, false, 0, &list, &error), STRAIT_NOT_PRIMARY);
    ck_assert_int_eq(strait_region_promote(handle, false, true, 0, &promotion, &error),
                     STRAIT_NOT_PRIMARY);
    ck_assert_str_eq(error.text, "This region is a standby.");
    ck_assert_uint_eq(requests(cluster, 0), 2);
    ck_assert_uint_eq(connections(cluster, 1), 0);
    strait_close(handle);
    cluster_stop(cluster);
}
END_TEST

START_TEST(test_what_is_named_may_be_anything)
{
    char many[4096];
    size_t size = 0;
    struct cluster *cluster = cluster_start(1);
    unsigned port = cluster->servers[1][1]->port;

    for (unsigned i = 0; i < 60; i++)
        size += (size_t)snprintf(many + size, sizeof many - size, "127.0.0.1:%u,", 1 + i % 7);
    snprintf(many + size, sizeof many - size, "127.0.0.1:%u", port);
    char some[256];
    snprintf(some, sizeof some, ",,nonsense,127.0.0.1:0,:1,[::1,127.0.0.1:%u,", port);
    const char *const named[] = {some, many};
    for (unsigned i = 0; i < 2; i++) {
        strait *handle = open_handle(cluster, 1, 20000);
        snprintf(cluster->named_text, sizeof cluster->named_text, "%s", named[i]);
        assert_commits(handle);
        strait_close(handle);
    }
    /* Of what leads nowhere there is an end, and what the server said. */
    static const char *const useless[] = {"", "nonsense", ",,,", "127.0.0.1:1"};
    for (unsigned i = 0; i < sizeof useless / sizeof useless[0]; i++) {
        struct strait_error error;
        strait *handle = open_handle(cluster, 1, 700);
        snprintf(cluster->named_text, sizeof cluster->named_text, "%s", useless[i]);
        if (useless[i][0] == 0)
            cluster->named[0] = neither;
        ck_assert_int_eq(commit_one(handle, &error), STRAIT_NOT_PRIMARY);
        ck_assert_uint_ne(strlen(error.text), 0);
        strait_close(handle);
    }
    cluster_stop(cluster);
}
END_TEST

START_TEST(test_a_named_primary_has_to_prove_its_name)
{
    struct strait_error error;
    struct cluster *cluster = cluster_start(neither);
    struct cluster *foreign = cluster_start(0);
    strait *handle = open_handle(cluster, 1, 2000);

    snprintf(cluster->named_text, sizeof cluster->named_text, "127.0.0.1:%u",
             foreign->servers[0][0]->port);
    ck_assert_int_eq(commit_one(handle, &error), STRAIT_NOT_PRIMARY);
    ck_assert_uint_ge(connections(foreign, 0), 1);
    ck_assert_uint_eq(requests(foreign, 0), 0);
    strait_close(handle);
    cluster_stop(foreign);
    cluster_stop(cluster);
}
END_TEST

/* ---- No primary for a time ---- */

/* Both send to each other until the deadline: with few requests and connections. */
START_TEST(test_neither_is_the_primary)
{
    for (uint64_t epochs = 0; epochs < 2; epochs++) {
        struct strait_error error;
        struct strait_records *records;
        struct cluster *cluster = cluster_start(neither);
        strait *handle = open_handle(cluster, 2, 2000);

        cluster->epochs[0] = epochs * 3;
        cluster->epochs[1] = epochs * 2;
        ck_assert_int_eq(commit_one(handle, &error), STRAIT_NOT_PRIMARY);
        ck_assert_int_eq(strait_get(handle, NULL, "orders", strait_text("o1"), 0, &records, &error),
                         STRAIT_NOT_PRIMARY);
        ck_assert_uint_eq(cluster->ids_count, 0);
        ck_assert_uint_gt(requests(cluster, 0), 0);
        ck_assert_uint_gt(requests(cluster, 1), 0);
        ck_assert_uint_lt(requests(cluster, 0) + requests(cluster, 1), 400);
        ck_assert_uint_lt(connections(cluster, 0) + connections(cluster, 1), 150);
        strait_close(handle);
        cluster_stop(cluster);
    }
}
END_TEST

struct asker {
    pthread_t thread;
    strait *handle;
    enum strait_status status;
    struct strait_error error;
};

static void *run_asker(void *argument)
{
    struct asker *asker = argument;
    asker->status = commit_one(asker->handle, &asker->error);
    return NULL;
}

/* A region that has not learnt yet that it is the primary names the old one: it is waited for. */
START_TEST(test_a_region_that_is_behind_is_waited_for)
{
    struct asker asker = {0};
    struct cluster *cluster = cluster_start(neither);
    strait *handle = open_handle(cluster, 1, 60000);

    cluster->epochs[0] = 8;
    cluster->epochs[1] = 7;
    asker.handle = handle;
    ck_assert_int_eq(pthread_create(&asker.thread, NULL, run_asker, &asker), 0);
    while (requests(cluster, 1) < 6)
        sched_yield();
    set_primary(cluster, 1);
    pthread_join(asker.thread, NULL);
    ck_assert_msg(asker.status == STRAIT_OK, "%s", asker.error.text);
    /* However slow this machine is, it is asked twice before anybody else is. */
    ck_assert_uint_gt(requests(cluster, 1), requests(cluster, 0) * 3 / 2);
    strait_close(handle);
    cluster_stop(cluster);
}
END_TEST

enum { committers_count = 6, commits_each = 30 };

struct committer {
    pthread_t thread;
    strait *handle;
    unsigned failures;
};

static void *run_committer(void *argument)
{
    struct committer *committer = argument;
    for (unsigned i = 0; i < commits_each; i++)
        committer->failures += commit_one(committer->handle, NULL) != STRAIT_OK;
    return NULL;
}

/* A switchover and back, each with a time in which neither is the primary. */
START_TEST(test_commits_survive_switchovers)
{
    struct committer committers[committers_count];
    struct cluster *cluster = cluster_start(0);
    strait *handle = open_handle(cluster, 1, 60000);

    for (unsigned i = 0; i < committers_count; i++) {
        committers[i] = (struct committer){.handle = handle};
        ck_assert_int_eq(pthread_create(&committers[i].thread, NULL, run_committer, &committers[i]),
                         0);
    }
    for (unsigned next = 1; next <= 2; next++) {
        unsigned served = requests(cluster, 1 - next % 2);
        while (requests(cluster, 1 - next % 2) < served + 10)
            sched_yield();
        unsigned before = refusals(cluster);
        set_primary(cluster, neither);
        while (refusals(cluster) < before + 8)
            sched_yield();
        set_primary(cluster, next % 2);
    }
    for (unsigned i = 0; i < committers_count; i++) {
        pthread_join(committers[i].thread, NULL);
        ck_assert_uint_eq(committers[i].failures, 0);
    }
    ck_assert_uint_eq(cluster->ids_count, committers_count * commits_each);
    strait_close(handle);
    cluster_stop(cluster);
}
END_TEST

/* ---- A primary that is gone ---- */

/* One of its servers is: the next one that was named is found. */
START_TEST(test_a_primary_of_which_one_server_is_gone)
{
    struct cluster *cluster = cluster_start(1);
    strait *handle = open_handle(cluster, 1, 20000);

    snprintf(cluster->named_text, sizeof cluster->named_text, "127.0.0.1:%u,127.0.0.1:%u",
             cluster->servers[1][0]->port, cluster->servers[1][1]->port);
    fake_stop(cluster->servers[1][0]);
    cluster->servers[1][0] = NULL;
    assert_commits(handle);
    ck_assert_uint_eq(atomic_load(&cluster->servers[1][1]->requests_count), 1);
    strait_close(handle);
    cluster_stop(cluster);
}
END_TEST

/* All of them are, and the standby goes on to name them until it is promoted. */
START_TEST(test_a_primary_that_is_gone)
{
    struct asker asker = {0};
    struct cluster *cluster = cluster_start(1);
    strait *handle = open_handle(cluster, 1, 60000);

    assert_commits(handle);
    snprintf(cluster->named_text, sizeof cluster->named_text, "127.0.0.1:%u,127.0.0.1:%u",
             cluster->servers[1][0]->port, cluster->servers[1][1]->port);
    for (unsigned i = 0; i < region_servers_count; i++) {
        fake_stop(cluster->servers[1][i]);
        cluster->servers[1][i] = NULL;
    }
    asker.handle = handle;
    ck_assert_int_eq(pthread_create(&asker.thread, NULL, run_asker, &asker), 0);
    unsigned before = refusals(cluster);
    while (refusals(cluster) < before + 3)
        sched_yield();
    set_primary(cluster, 0);
    pthread_join(asker.thread, NULL);
    ck_assert_msg(asker.status == STRAIT_OK, "%s", asker.error.text);
    ck_assert_uint_eq(cluster->ids_count, 2);
    /* It comes back, and takes over again. */
    start_region(cluster, 1, cluster->servers[0][0]);
    pthread_mutex_lock(&cluster->lock);
    cluster->named_text[0] = 0;
    cluster->primary = 1;
    pthread_mutex_unlock(&cluster->lock);
    assert_commits(handle);
    ck_assert_uint_eq(cluster->ids_count, 3);
    strait_close(handle);
    cluster_stop(cluster);
}
END_TEST

/* ---- Lists of endpoints ---- */

START_TEST(test_lists_of_endpoints)
{
    static const struct {
        const char *list;
        const char *ports; /* of those that are found, in order */
    } lists[] = {
        {"", ""},
        {",", ""},
        {"a:1", "1 "},
        {"a:1,b:2", "1 2 "},
        {",a:1,,b:2,", "1 2 "},
        {"a,b:2", "2 "},
        {"a:1,b", "1 "},
        {"[::1]:3,::1:4,a:65536,a: 5,a:6", "3 6 "},
    };
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        const char *at = lists[i].list;
        struct endpoint endpoint;
        char ports[64] = "";
        size_t size = 0;
        while (endpoint_next(&at, &endpoint))
            size += (size_t)snprintf(ports + size, sizeof ports - size, "%s ", endpoint.port);
        ck_assert_str_eq(ports, lists[i].ports);
        ck_assert_int_eq(*at, 0);
    }
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, test_the_primary_is_followed);
    tcase_add_test(tests, test_promotions_are_carried_on);
    tcase_add_test(tests, test_a_read_at_the_newest_state_follows);
    tcase_add_test(tests, test_what_is_for_the_region_that_is_asked);
    tcase_add_test(tests, test_what_is_named_may_be_anything);
    tcase_add_test(tests, test_a_named_primary_has_to_prove_its_name);
    tcase_add_test(tests, test_neither_is_the_primary);
    tcase_add_test(tests, test_a_region_that_is_behind_is_waited_for);
    tcase_add_test(tests, test_commits_survive_switchovers);
    tcase_add_test(tests, test_a_primary_of_which_one_server_is_gone);
    tcase_add_test(tests, test_a_primary_that_is_gone);
    tcase_add_test(tests, test_lists_of_endpoints);
}
