/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/server_state/backend_fake.h"
#include "tests/unit/server_state/harness.h"

static void harness_open(struct harness *harness, uint64_t seed, unsigned again_percent,
                         unsigned full_percent)
{
    harness_open_on(harness, backend_open(seed, again_percent, full_percent));
}

static void harness_reopen(struct harness *harness)
{
    state_close(harness->state);
    harness_state_open(harness);
}

static void expect(struct state_result result, enum status status)
{
    ck_assert_msg(result.status == status, "%s instead of %s: %s", status_name(result.status),
                  status_name(status), result.text);
    ck_assert_int_eq(result.text[0] == 0, status == STATUS_OK);
}

START_TEST(test_put_get_delete)
{
    struct harness harness;
    struct txn txn;
    harness_open(&harness, 1, 0, 0);
    harness_table(&harness, "users");
    txn_begin(&harness, &txn);
    txn_put(&txn, "users", "a", "1", 0);
    txn_put(&txn, "users", "b", "2", 0);
    txn_put(&txn, "users", "a", "3", 0);
    struct state_result result = txn_commit(&harness, &txn);
    expect(result, STATUS_OK);
    ck_assert(result.versioned && !result.repeated_reply);
    ck_assert_uint_eq(result.version, state_facts(harness.state).position.version);
    ck_assert_str_eq(harness_value(&harness, "users", "a"), "3");
    ck_assert_str_eq(harness_value(&harness, "users", "b"), "2");
    uint64_t before = result.version;
    txn_begin(&harness, &txn);
    txn_delete(&txn, "users", "a");
    txn_delete(&txn, "users", "never");
    expect(txn_commit(&harness, &txn), STATUS_OK);
    ck_assert_str_eq(harness_value(&harness, "users", "a"), "-");
    char value[64];
    ck_assert_uint_eq(harness_get(&harness, before, "users", "a", value), before);
    ck_assert_str_eq(value, "3");
    harness_close(&harness);
}
END_TEST

START_TEST(test_all_or_nothing)
{
    struct harness harness;
    struct txn txn;
    harness_open(&harness, 1, 0, 0);
    harness_table(&harness, "users");
    txn_begin(&harness, &txn);
    txn_put(&txn, "users", "a", "1", 0);
    txn_put(&txn, "nowhere", "b", "2", 0);
    struct state_result result = txn_commit(&harness, &txn);
    expect(result, STATUS_NO_TABLE);
    ck_assert_uint_eq(result.item, 2);
    ck_assert(!result.item_is_condition);
    ck_assert(result.versioned);
    ck_assert_str_eq(harness_value(&harness, "users", "a"), "-");
    /* The first operation that fails is the reason, whichever check finds it first. */
    txn_begin(&harness, &txn);
    Strait__Add *add = txn_add(&txn, "users", "n", 1);
    add->must_exist = true;
    txn_put(&txn, "nowhere", "b", "2", 0);
    result = txn_commit(&harness, &txn);
    expect(result, STATUS_NOT_FOUND);
    ck_assert_uint_eq(result.item, 1);
    harness_close(&harness);
}
END_TEST

START_TEST(test_conditions)
{
    struct harness harness;
    struct txn txn;
    harness_open(&harness, 1, 30, 0);
    harness_table(&harness, "users");
    txn_begin(&harness, &txn);
    txn_condition(&txn, STRAIT__CONDITION__KIND__ABSENT, "users", "a");
    txn_put(&txn, "users", "a", "1", 0);
    struct state_result made = txn_commit(&harness, &txn);
    expect(made, STATUS_OK);

    txn_begin(&harness, &txn);
    txn_condition(&txn, STRAIT__CONDITION__KIND__EXISTS, "users", "a");
    txn_condition(&txn, STRAIT__CONDITION__KIND__VERSION_IS, "users", "a")->version = made.version;
    txn_condition(&txn, STRAIT__CONDITION__KIND__VALUE_IS, "users", "a")->value = txn_bytes("1");
    txn_condition(&txn, STRAIT__CONDITION__KIND__VALUE_IS, "users", "a")->value = txn_bytes("2");
    struct state_result result = txn_commit(&harness, &txn);
    expect(result, STATUS_CONDITION_FAILED);
    ck_assert_uint_eq(result.item, 4);
    ck_assert(result.item_is_condition);

    txn_begin(&harness, &txn);
    txn_condition(&txn, STRAIT__CONDITION__KIND__ABSENT, "users", "a");
    expect(txn_commit(&harness, &txn), STATUS_CONDITION_FAILED);
    txn_begin(&harness, &txn);
    txn_condition(&txn, STRAIT__CONDITION__KIND__VERSION_IS, "users", "b")->version = 0;
    expect(txn_commit(&harness, &txn), STATUS_OK);
    txn_begin(&harness, &txn);
    txn_condition(&txn, STRAIT__CONDITION__KIND__EXISTS, "nowhere", "b");
    expect(txn_commit(&harness, &txn), STATUS_NO_TABLE);
    harness_close(&harness);
}
END_TEST

START_TEST(test_add_with_bounds)
{
    struct harness harness;
    struct txn txn;
    harness_open(&harness, 1, 0, 0);
    harness_table(&harness, "stock");
    txn_begin(&harness, &txn);
    Strait__Add *add = txn_add(&txn, "stock", "sku", -3);
    add->initial = 5;
    txn_add(&txn, "stock", "sku", -1);
    expect(txn_commit(&harness, &txn), STATUS_OK);
    ck_assert_str_eq(harness_value(&harness, "stock", "sku"), "1");

    txn_begin(&harness, &txn);
    add = txn_add(&txn, "stock", "sku", -2);
    add->has_minimum = true;
    expect(txn_commit(&harness, &txn), STATUS_OUT_OF_BOUNDS);
    txn_begin(&harness, &txn);
    add = txn_add(&txn, "stock", "sku", 2);
    add->has_maximum = true;
    add->maximum = 2;
    expect(txn_commit(&harness, &txn), STATUS_OUT_OF_BOUNDS);
    txn_begin(&harness, &txn);
    txn_add(&txn, "stock", "sku", INT64_MAX);
    expect(txn_commit(&harness, &txn), STATUS_OUT_OF_BOUNDS);
    txn_begin(&harness, &txn);
    txn_put(&txn, "stock", "word", "many", 0);
    txn_put(&txn, "stock", "long", "0123456789012345678901234567890123456789", 0);
    expect(txn_commit(&harness, &txn), STATUS_OK);
    txn_begin(&harness, &txn);
    txn_add(&txn, "stock", "word", 1);
    expect(txn_commit(&harness, &txn), STATUS_NOT_A_NUMBER);
    txn_begin(&harness, &txn);
    txn_add(&txn, "stock", "long", 1);
    expect(txn_commit(&harness, &txn), STATUS_NOT_A_NUMBER);
    txn_begin(&harness, &txn);
    txn_put(&txn, "stock", "long", "7", 0);
    txn_add(&txn, "stock", "long", 1);
    expect(txn_commit(&harness, &txn), STATUS_OK);
    ck_assert_str_eq(harness_value(&harness, "stock", "long"), "8");
    harness_close(&harness);
}
END_TEST

START_TEST(test_add_keeps_indexes_and_expiry)
{
    struct harness harness;
    struct txn txn;
    harness_open(&harness, 1, 0, 0);
    harness_table(&harness, "stock");
    txn_begin(&harness, &txn);
    Strait__Put *put = txn_put(&txn, "stock", "sku", "4", 1000);
    txn_index_entry(&txn, put, "plain", "shelf");
    expect(txn_commit(&harness, &txn), STATUS_OK);
    txn_begin(&harness, &txn);
    txn_add(&txn, "stock", "sku", 1);
    expect(txn_commit(&harness, &txn), STATUS_OK);
    ck_assert_str_eq(harness_scan(&harness, UINT64_MAX, "stock", "plain", "shelf", "", false, 0),
                     "sku=5 ");
    harness.time_ns += 2 * HARNESS_SECOND_NS;
    ck_assert(state_tick_due(harness.state, harness.time_ns));
    expect(harness_tick(&harness, 0), STATUS_OK);
    ck_assert_str_eq(harness_value(&harness, "stock", "sku"), "-");
    ck_assert_str_eq(harness_scan(&harness, UINT64_MAX, "stock", "plain", "", "", false, 0), "");
    harness_close(&harness);
}
END_TEST

START_TEST(test_unique_indexes)
{
    struct harness harness;
    struct txn txn;
    harness_open(&harness, 1, 20, 0);
    harness_table(&harness, "users");
    txn_begin(&harness, &txn);
    txn_index_entry(&txn, txn_put(&txn, "users", "a", "1", 0), "only", "x@y");
    expect(txn_commit(&harness, &txn), STATUS_OK);
    /* Against what is there. */
    txn_begin(&harness, &txn);
    txn_index_entry(&txn, txn_put(&txn, "users", "b", "2", 0), "only", "x@y");
    expect(txn_commit(&harness, &txn), STATUS_UNIQUE_VIOLATION);
    /* The same record may keep it. */
    txn_begin(&harness, &txn);
    txn_index_entry(&txn, txn_put(&txn, "users", "a", "3", 0), "only", "x@y");
    expect(txn_commit(&harness, &txn), STATUS_OK);
    /* Within one transaction, in order: given up, and then taken. */
    txn_begin(&harness, &txn);
    txn_put(&txn, "users", "a", "4", 0);
    txn_index_entry(&txn, txn_put(&txn, "users", "b", "5", 0), "only", "x@y");
    expect(txn_commit(&harness, &txn), STATUS_OK);
    ck_assert_str_eq(harness_scan(&harness, UINT64_MAX, "users", "only", "", "", false, 0), "b=5 ");
    /* Taken twice within one. */
    txn_begin(&harness, &txn);
    txn_index_entry(&txn, txn_put(&txn, "users", "c", "6", 0), "only", "z");
    txn_index_entry(&txn, txn_put(&txn, "users", "d", "7", 0), "only", "z");
    struct state_result result = txn_commit(&harness, &txn);
    expect(result, STATUS_UNIQUE_VIOLATION);
    ck_assert_uint_eq(result.item, 2);
    /* Deleting gives it up. */
    txn_begin(&harness, &txn);
    txn_delete(&txn, "users", "b");
    txn_index_entry(&txn, txn_put(&txn, "users", "a", "8", 0), "only", "x@y");
    expect(txn_commit(&harness, &txn), STATUS_OK);
    ck_assert_str_eq(harness_scan(&harness, UINT64_MAX, "users", "only", "", "", false, 0), "a=8 ");
    txn_begin(&harness, &txn);
    txn_index_entry(&txn, txn_put(&txn, "users", "a", "9", 0), "none", "k");
    expect(txn_commit(&harness, &txn), STATUS_NO_INDEX);
    harness_close(&harness);
}
END_TEST

START_TEST(test_snapshot_validation)
{
    struct harness harness;
    struct txn txn;
    harness_open(&harness, 1, 20, 0);
    harness_table(&harness, "users");
    txn_begin(&harness, &txn);
    txn_put(&txn, "users", "a", "1", 0);
    txn_index_entry(&txn, txn_put(&txn, "users", "m", "1", 0), "plain", "red");
    uint64_t snapshot = txn_commit(&harness, &txn).version;
    txn_begin(&harness, &txn);
    txn_put(&txn, "users", "b", "2", 0);
    txn_index_entry(&txn, txn_put(&txn, "users", "n", "1", 0), "plain", "blue");
    expect(txn_commit(&harness, &txn), STATUS_OK);

    txn_begin(&harness, &txn);
    txn.commit.snapshot = snapshot;
    txn_read(&txn, "users", "a");
    txn_range(&txn, "users", "", "c", "n");
    txn_range(&txn, "users", "plain", "red", "");
    txn_put(&txn, "users", "c", "3", 0);
    expect(txn_commit(&harness, &txn), STATUS_OK);
    txn_begin(&harness, &txn);
    txn.commit.snapshot = snapshot;
    txn_read(&txn, "users", "b");
    expect(txn_commit(&harness, &txn), STATUS_CONFLICT);
    txn_begin(&harness, &txn);
    txn.commit.snapshot = snapshot;
    txn_range(&txn, "users", "", "", "");
    expect(txn_commit(&harness, &txn), STATUS_CONFLICT);
    txn_begin(&harness, &txn);
    txn.commit.snapshot = snapshot;
    txn_range(&txn, "users", "plain", "b", "c");
    expect(txn_commit(&harness, &txn), STATUS_CONFLICT);

    uint64_t newest = state_facts(harness.state).position.version;
    txn_begin(&harness, &txn);
    txn.commit.snapshot = newest + 100;
    txn_read(&txn, "users", "a");
    expect(txn_commit(&harness, &txn), STATUS_HISTORY_LOST);
    expect(harness_tick(&harness, newest), STATUS_OK);
    ck_assert_uint_eq(state_facts(harness.state).horizon, newest);
    txn_begin(&harness, &txn);
    txn.commit.snapshot = snapshot;
    txn_read(&txn, "users", "a");
    expect(txn_commit(&harness, &txn), STATUS_SNAPSHOT_TOO_OLD);
    /* A table that is younger than the snapshot was not what was read. */
    uint64_t older = state_facts(harness.state).position.version;
    harness_table(&harness, "carts");
    txn_begin(&harness, &txn);
    txn.commit.snapshot = older;
    txn_read(&txn, "carts", "a");
    expect(txn_commit(&harness, &txn), STATUS_CONFLICT);
    harness_close(&harness);
}
END_TEST

START_TEST(test_retries_get_the_first_outcome)
{
    struct harness harness;
    struct txn txn;
    struct txn other;
    harness_open(&harness, 1, 20, 0);
    harness_table(&harness, "users");
    txn_begin(&harness, &txn);
    txn_add(&txn, "users", "n", 1);
    struct state_result first = txn_commit(&harness, &txn);
    expect(first, STATUS_OK);
    harness.time_ns += HARNESS_SECOND_NS;
    harness_reopen(&harness);
    struct state_result again = txn_commit(&harness, &txn);
    expect(again, STATUS_OK);
    ck_assert(again.repeated_reply);
    ck_assert_uint_eq(again.version, first.version);
    ck_assert_uint_eq(again.log_time_ns, first.log_time_ns);
    ck_assert_str_eq(harness_value(&harness, "users", "n"), "1");

    other = txn;
    txn.bodies[0].add.amount = 2;
    (void)other;
    expect(txn_commit(&harness, &txn), STATUS_TXN_MISMATCH);
    txn.bodies[0].add.amount = 1;
    again = txn_commit(&harness, &txn);
    expect(again, STATUS_OK);
    ck_assert_uint_eq(again.version, first.version);

    /* A refusal is an outcome too, also where it would succeed now. */
    txn_begin(&harness, &txn);
    txn_condition(&txn, STRAIT__CONDITION__KIND__EXISTS, "users", "late");
    struct state_result refused = txn_commit(&harness, &txn);
    expect(refused, STATUS_CONDITION_FAILED);
    txn_begin(&harness, &other);
    txn_put(&other, "users", "late", "1", 0);
    expect(txn_commit(&harness, &other), STATUS_OK);
    again = txn_commit(&harness, &txn);
    expect(again, STATUS_CONDITION_FAILED);
    ck_assert(again.repeated_reply && again.item_is_condition);
    ck_assert_uint_eq(again.item, 1);
    ck_assert_uint_eq(again.version, refused.version);
    ck_assert_str_eq(again.text, refused.text);
    harness_close(&harness);
}
END_TEST

START_TEST(test_late_retries_never_run)
{
    struct harness harness;
    struct txn txn;
    harness_open(&harness, 1, 0, 0);
    harness_table(&harness, "users");
    txn_begin(&harness, &txn);
    txn_add(&txn, "users", "n", 1);
    expect(txn_commit(&harness, &txn), STATUS_OK);
    uint64_t count = state_facts(harness.state).outcomes_count;
    ck_assert_uint_eq(count, 2);
    ck_assert_uint_gt(state_outcomes_size(harness.state), 0);
    harness.time_ns += 61 * HARNESS_SECOND_NS;
    expect(txn_commit(&harness, &txn), STATUS_OK); /* not evicted yet: whole buckets are */
    harness.time_ns += 10 * HARNESS_SECOND_NS;
    fake_compact(harness.lsm);
    expect(txn_commit(&harness, &txn), STATUS_TXN_EXPIRED);
    fake_compact(harness.lsm);
    expect(txn_commit(&harness, &txn), STATUS_TXN_EXPIRED);
    ck_assert_uint_eq(state_facts(harness.state).outcomes_count, 0);
    ck_assert_str_eq(harness_value(&harness, "users", "n"), "1");
    txn_begin(&harness, &txn);
    txn.commit.issued_ns = harness.time_ns + HARNESS_SECOND_NS;
    expect(txn_commit(&harness, &txn), STATUS_TXN_EXPIRED);
    harness_close(&harness);
}
END_TEST

START_TEST(test_schema)
{
    struct harness harness;
    struct txn txn;
    harness_open(&harness, 1, 0, 0);
    harness_table(&harness, "users");
    txn_begin(&harness, &txn);
    txn_table_create(&txn, "orders");
    txn_table_create(&txn, "users");
    struct state_result result = txn_commit(&harness, &txn);
    expect(result, STATUS_ALREADY_EXISTS);
    ck_assert_uint_eq(result.item, 2);
    ck_assert_uint_eq(state_facts(harness.state).tables_count, 1);
    txn_begin(&harness, &txn);
    txn_table_create(&txn, "orders");
    txn_put(&txn, "orders", "a", "1", 0);
    expect(txn_commit(&harness, &txn), STATUS_INVALID_ARGUMENT);

    /* Dropped and made again: nothing of the old shows, and the old is emptied. */
    txn_begin(&harness, &txn);
    for (int i = 0; i < 10; i++) {
        static char keys[10][2];
        keys[i][0] = (char)('a' + i);
        Strait__Put *put = txn_put(&txn, "users", keys[i], "1", i % 2 == 0 ? 3600000 : 0);
        txn_index_entry(&txn, put, "plain", "p");
        txn_index_entry(&txn, put, "only", keys[i]);
    }
    expect(txn_commit(&harness, &txn), STATUS_OK);
    txn_begin(&harness, &txn);
    txn_table_drop(&txn, "users");
    txn_table_create(&txn, "users");
    expect(txn_commit(&harness, &txn), STATUS_OK);
    ck_assert_uint_eq(state_facts(harness.state).drops_count, 3);
    ck_assert_str_eq(harness_scan(&harness, UINT64_MAX, "users", "", "", "", false, 0), "");
    harness_reopen(&harness);
    ck_assert_uint_eq(state_facts(harness.state).drops_count, 3);
    while (state_facts(harness.state).drops_count != 0) {
        ck_assert(state_tick_due(harness.state, harness.time_ns));
        expect(harness_tick(&harness, state_facts(harness.state).position.version), STATUS_OK);
    }
    expect(harness_tick(&harness, state_facts(harness.state).position.version), STATUS_OK);
    /* Once for what the tombstones hide, once for the tombstones. */
    fake_compact(harness.lsm);
    fake_compact(harness.lsm);
    for (size_t i = 0; i < harness.lsm->count; i++)
        ck_assert(harness.lsm->entries[i].tree == STATE_TREE_META ||
                  harness.lsm->entries[i].tree == STATE_TREE_OUTCOMES);
    harness_close(&harness);
}
END_TEST

START_TEST(test_dropped_index)
{
    struct harness harness;
    struct txn txn;
    harness_open(&harness, 1, 10, 0);
    harness_table(&harness, "users");
    txn_begin(&harness, &txn);
    Strait__Put *put = txn_put(&txn, "users", "a", "1", 0);
    txn_index_entry(&txn, put, "plain", "p");
    txn_index_entry(&txn, put, "only", "o");
    expect(txn_commit(&harness, &txn), STATUS_OK);
    txn_begin(&harness, &txn);
    txn_index_drop(&txn, "users", "only");
    txn_index_create(&txn, "users", "only", true);
    expect(txn_commit(&harness, &txn), STATUS_OK);
    ck_assert_str_eq(harness_scan(&harness, UINT64_MAX, "users", "only", "", "", false, 0), "");
    txn_begin(&harness, &txn);
    txn_index_entry(&txn, txn_put(&txn, "users", "b", "2", 0), "only", "o");
    txn_delete(&txn, "users", "a");
    expect(txn_commit(&harness, &txn), STATUS_OK);
    expect(harness_tick(&harness, 0), STATUS_OK);
    ck_assert_uint_eq(state_facts(harness.state).drops_count, 0);
    ck_assert_str_eq(harness_scan(&harness, UINT64_MAX, "users", "only", "", "", false, 0), "b=2 ");
    ck_assert_str_eq(harness_scan(&harness, UINT64_MAX, "users", "plain", "", "", false, 0), "");
    harness_close(&harness);
}
END_TEST

START_TEST(test_other_epochs_change_nothing)
{
    struct harness harness;
    struct txn txn;
    harness_open(&harness, 1, 0, 0);
    struct state_facts before = state_facts(harness.state);
    txn_begin(&harness, &txn);
    txn_table_create(&txn, "users");
    struct bytes body = txn_encode(&txn);
    struct entry entry = {.kind = ENTRY_COMMIT,
                          .version = harness_next_version(&harness),
                          .epoch_number = 2,
                          .epoch_region = 7,
                          .log_time_ns = harness.time_ns + 5,
                          .body = body};
    struct state_result result;
    state_apply_start(harness.state, ++harness.index, 1, &entry);
    ck_assert_int_eq(state_apply_step(harness.state, &result), STATUS_OK);
    ck_assert_int_eq(result.status, STATUS_NOT_PRIMARY);
    ck_assert(!result.versioned);
    free((void *)(uintptr_t)body.data);
    result = harness_apply(&harness, ENTRY_NOOP, (struct bytes){0});
    ck_assert(!result.versioned);
    struct state_facts after = state_facts(harness.state);
    ck_assert_uint_eq(after.position.version, before.position.version);
    ck_assert_uint_eq(after.position.log_time_ns, before.position.log_time_ns);
    ck_assert_mem_eq(&after.chain_digest, &before.chain_digest, sizeof after.chain_digest);
    ck_assert_uint_eq(after.applied_index, before.applied_index + 2);
    ck_assert_uint_eq(harness.lsm->mark.index, after.applied_index);
    harness_close(&harness);
}
END_TEST

/* What a standby is sent twice, or ahead of what comes before it. */
START_TEST(test_only_the_successor_is_applied)
{
    struct harness harness;
    struct state_result result;
    harness_open(&harness, 1, 0, 0);
    struct state_facts before = state_facts(harness.state);
    uint8_t body[8] = {0};
    const uint64_t versions[] = {before.position.version, before.position.version + 2, 1,
                                 UINT64_MAX};
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        struct entry entry = {.kind = ENTRY_TICK,
                              .epoch_number = 1,
                              .epoch_region = 7,
                              .version = versions[i],
                              .log_time_ns = harness.time_ns + 5,
                              .body = bytes_of(body, sizeof body)};
        result = harness_apply_entry(&harness, ++harness.index, &entry);
        ck_assert_int_eq(result.status, STATUS_NOT_PRIMARY);
        ck_assert(!result.versioned);
    }
    struct state_facts after = state_facts(harness.state);
    ck_assert_uint_eq(after.position.version, before.position.version);
    ck_assert_mem_eq(&after.chain_digest, &before.chain_digest, sizeof after.chain_digest);
    ck_assert_uint_eq(after.applied_index, before.applied_index + 4);
    result = harness_tick(&harness, 0);
    ck_assert(result.versioned);
    ck_assert_uint_eq(result.version, before.position.version + 1);
    harness_close(&harness);
}
END_TEST

START_TEST(test_malformed_bodies_take_a_version)
{
    struct harness harness;
    harness_open(&harness, 1, 0, 0);
    uint64_t version = state_facts(harness.state).position.version;
    struct state_result result = harness_apply(&harness, ENTRY_COMMIT, bytes_of("\xff\xff", 2));
    expect(result, STATUS_MALFORMED);
    ck_assert_uint_eq(result.version, version + 1);
    result = harness_apply(&harness, ENTRY_COMMIT, (struct bytes){0});
    expect(result, STATUS_MALFORMED);
    result = harness_apply(&harness, ENTRY_TICK, bytes_of("abc", 3));
    ck_assert_int_eq(result.status, STATUS_MALFORMED);
    harness_close(&harness);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_put_get_delete);
    tcase_add_test(tests, test_all_or_nothing);
    tcase_add_test(tests, test_conditions);
    tcase_add_test(tests, test_add_with_bounds);
    tcase_add_test(tests, test_add_keeps_indexes_and_expiry);
    tcase_add_test(tests, test_unique_indexes);
    tcase_add_test(tests, test_snapshot_validation);
    tcase_add_test(tests, test_retries_get_the_first_outcome);
    tcase_add_test(tests, test_late_retries_never_run);
    tcase_add_test(tests, test_schema);
    tcase_add_test(tests, test_dropped_index);
    tcase_add_test(tests, test_other_epochs_change_nothing);
    tcase_add_test(tests, test_only_the_successor_is_applied);
    tcase_add_test(tests, test_malformed_bodies_take_a_version);
}
