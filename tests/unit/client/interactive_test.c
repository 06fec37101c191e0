/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions that read: their own writes, what they record as read, and running again. */
#include <signal.h>
#include <stdio.h>

#include "tests/unit/client/fake_store.h"
#include "tests/unit/unit.h"

static struct store store;
static struct fake_server *server;
static strait *handle;

static void begin(void)
{
    store_init(&store);
    for (size_t i = 0; i < 5; i++) {
        snprintf(store.records[i].key, sizeof store.records[i].key, "k%zu", i);
        snprintf(store.records[i].value, sizeof store.records[i].value, "%zu", i * 10);
    }
    snprintf(store.records[4].value, sizeof store.records[4].value, "no number");
    store.count = 5;
    server = fake_start(store_handle, &store);
    handle = fake_open(server, 10000);
}

static void end(void)
{
    strait_close(handle);
    fake_stop(server);
    store_free(&store);
}

static enum strait_status get(strait_txn *txn, const char *key, char value[64])
{
    struct strait_records *records;
    struct strait_error error;
    value[0] = 0;
    enum strait_status status = strait_txn_get(txn, "t", strait_text(key), 0, &records, &error);
    if (status == STRAIT_OK) {
        ck_assert_uint_eq(records->count, 1);
        snprintf(value, 64, "%s", (const char *)records->items[0].value.data);
    } else {
        ck_assert_int_eq(error.status, status);
        ck_assert_ptr_null(records);
    }
    strait_free(records);
    return status;
}

START_TEST(test_own_writes_are_seen)
{
    char value[64];
    strait_txn *txn;
    const struct strait_add_options at_least = {.has_minimum = true, .minimum = 15};
    const struct strait_add_options existing = {.must_exist = true};
    begin();
    ck_assert_int_eq(strait_begin(handle, 0, &txn, NULL), STRAIT_OK);
    ck_assert_int_eq(get(txn, "k1", value), STRAIT_OK);
    ck_assert_str_eq(value, "10");
    strait_txn_put(txn, "t", strait_text("k1"), strait_text("mine"), NULL);
    ck_assert_int_eq(get(txn, "k1", value), STRAIT_OK);
    ck_assert_str_eq(value, "mine");
    strait_txn_del(txn, "t", strait_text("k1"));
    ck_assert_int_eq(get(txn, "k1", value), STRAIT_NOT_FOUND);
    strait_txn_add(txn, "t", strait_text("k1"), -3, NULL);
    ck_assert_int_eq(get(txn, "k1", value), STRAIT_OK);
    ck_assert_str_eq(value, "-3");
    strait_txn_add(txn, "t", strait_text("k2"), 5, NULL);
    strait_txn_add(txn, "t", strait_text("k2"), -4, NULL);
    ck_assert_int_eq(get(txn, "k2", value), STRAIT_OK);
    ck_assert_str_eq(value, "21");
    strait_txn_add(txn, "t", strait_text("k2"), -10, &at_least);
    ck_assert_int_eq(get(txn, "k2", value), STRAIT_OUT_OF_BOUNDS);
    strait_txn_add(txn, "t", strait_text("k4"), 1, NULL);
    ck_assert_int_eq(get(txn, "k4", value), STRAIT_NOT_A_NUMBER);
    strait_txn_add(txn, "t", strait_text("k9"), 1, &existing);
    ck_assert_int_eq(get(txn, "k9", value), STRAIT_NOT_FOUND);
    /* The same key in another table is another record. */
    strait_txn_put(txn, "u", strait_text("k3"), strait_text("other"), NULL);
    ck_assert_int_eq(get(txn, "k3", value), STRAIT_OK);
    ck_assert_str_eq(value, "30");
    strait_txn_free(txn);
    end();
}
END_TEST

START_TEST(test_reads_are_recorded)
{
    char value[64];
    strait_txn *txn;
    struct strait_commit_result result;
    begin();
    ck_assert_int_eq(strait_begin(handle, 0, &txn, NULL), STRAIT_OK);
    ck_assert_int_eq(get(txn, "k1", value), STRAIT_OK);
    ck_assert_int_eq(get(txn, "missing", value), STRAIT_NOT_FOUND);
    /* A record that was written blindly was not read. */
    strait_txn_put(txn, "t", strait_text("k2"), strait_text("mine"), NULL);
    ck_assert_int_eq(get(txn, "k2", value), STRAIT_OK);
    ck_assert_int_eq(strait_commit(handle, txn, 0, &result, NULL), STRAIT_OK);
    ck_assert_uint_eq(result.version, 11);
    ck_assert_uint_eq(store.commit->snapshot, store_version);
    ck_assert_uint_eq(store.commit->snapshot_epoch_number, fake_epoch_number);
    ck_assert_uint_eq(store.commit->snapshot_epoch_region, fake_epoch_region);
    ck_assert_uint_eq(store.commit->n_reads, 2);
    ck_assert_uint_eq(store.commit->n_operations, 1);
    ck_assert(bytes_equal(bytes_of_field(store.commit->reads[0]->key), bytes_of_text("k1")));
    ck_assert(bytes_equal(bytes_of_field(store.commit->reads[1]->key), bytes_of_text("missing")));
    /* It is over: what its snapshot showed is gone. */
    ck_assert_int_eq(get(txn, "k1", value), STRAIT_INVALID_ARGUMENT);
    strait_txn_free(txn);
    end();
    ck_assert_uint_eq(store.closed_count, 1);
}
END_TEST

static enum strait_status take_one(strait_txn *txn, void *context, struct strait_error *error)
{
    unsigned *tries_count = context;
    struct strait_records *records;
    ++*tries_count;
    enum strait_status status = strait_txn_get(txn, "t", strait_text("k1"), 0, &records, error);
    strait_free(records);
    return status == STRAIT_OK ? strait_txn_add(txn, "t", strait_text("k1"), -1, NULL) : status;
}

static enum strait_status give_up(strait_txn *txn, void *context, struct strait_error *error)
{
    (void)txn;
    (void)context;
    (void)error;
    return STRAIT_CANCELLED;
}

START_TEST(test_conflicts_run_again)
{
    unsigned tries_count = 0;
    struct strait_error error;
    struct strait_commit_result result;
    begin();
    store.conflicts = 4;
    ck_assert_int_eq(strait_run(handle, take_one, &tries_count, 0, &result, &error), STRAIT_OK);
    ck_assert_uint_eq(tries_count, 5);
    ck_assert_uint_eq(store.commits_count, 5);
    ck_assert_uint_eq(result.version, 11);
    /* Another region took over without what was read. */
    store.conflict_with = STATUS_HISTORY_LOST;
    store.conflicts = 1;
    ck_assert_int_eq(strait_run(handle, take_one, &tries_count, 0, &result, &error), STRAIT_OK);
    ck_assert_uint_eq(tries_count, 7);
    store.conflict_with = STATUS_CONFLICT;
    /* Until the deadline, which may also come while a try is on its way. */
    store.conflicts = 1000000;
    ck_assert_int_ne(strait_run(handle, take_one, &tries_count, 300, NULL, &error), STRAIT_OK);
    ck_assert(error.status == STRAIT_CONFLICT || error.status == STRAIT_DEADLINE_EXCEEDED ||
              error.status == STRAIT_OUTCOME_UNKNOWN);
    ck_assert_uint_gt(tries_count, 8);
    store.conflicts = 0;
    /* What the body says is told as it is, and nothing is committed. */
    unsigned before = store.commits_count;
    ck_assert_int_eq(strait_run(handle, give_up, NULL, 0, NULL, &error), STRAIT_CANCELLED);
    ck_assert_int_eq(error.status, STRAIT_CANCELLED);
    ck_assert_uint_eq(store.commits_count, before);
    end();
    /* The one that was being opened when the deadline came is nobody's: its own time ends it. */
    ck_assert_uint_ge(store.snapshots_count, store.closed_count);
    ck_assert_uint_le(store.snapshots_count - store.closed_count, 1);
}
END_TEST

void unit_tests(TCase *tests)
{
    signal(SIGPIPE, SIG_IGN);
    tcase_add_test(tests, test_own_writes_are_seen);
    tcase_add_test(tests, test_reads_are_recorded);
    tcase_add_test(tests, test_conflicts_run_again);
}
