/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/server_state/backend_fake.h"
#include "tests/unit/server_state/harness.h"

/* Puts `count` records that are due in a second, 50 a transaction. */
static void put_due(struct harness *harness, unsigned count)
{
    static char keys[1024][12];
    ck_assert_uint_le(count, 1024);
    for (unsigned i = 0; i < count;) {
        struct txn txn;
        txn_begin(harness, &txn);
        for (unsigned n = 0; n < 50 && i < count; n++, i++) {
            (void)snprintf(keys[i], sizeof keys[i], "%04u", i);
            Strait__Put *put = txn_put(&txn, "carts", keys[i], "1", 1000);
            if (n == 0)
                txn_index_entry(&txn, put, "plain", "first");
        }
        ck_assert_int_eq(txn_commit(harness, &txn).status, STATUS_OK);
    }
}

static size_t scan_count(struct harness *harness)
{
    size_t count = 0;
    for (const char *at = harness_scan(harness, UINT64_MAX, "carts", "", "", "", false, 0);
         *at != 0; at++)
        count += *at == ' ';
    return count;
}

START_TEST(test_a_bounded_number_at_a_time_in_order)
{
    struct harness harness;
    harness_open_on(&harness, backend_open(1, 5, 5));
    harness_table(&harness, "carts");
    put_due(&harness, 600);
    ck_assert(!state_tick_due(harness.state, harness.time_ns));
    ck_assert_uint_gt(state_tick_due_ns(harness.state), harness.time_ns);
    harness.time_ns += 2 * HARNESS_SECOND_NS;
    /* Visible until an applied entry removes them. */
    ck_assert_uint_eq(scan_count(&harness), 600);
    (void)harness_tick(&harness, 0);
    ck_assert_uint_eq(scan_count(&harness), 600 - 256);
    ck_assert_str_eq(harness_value(&harness, "carts", "0255"), "-");
    ck_assert_str_eq(harness_value(&harness, "carts", "0256"), "1");
    ck_assert(state_tick_due(harness.state, harness.time_ns));
    state_close(harness.state);
    harness_state_open(&harness);
    ck_assert(state_tick_due(harness.state, harness.time_ns));
    (void)harness_tick(&harness, 0);
    (void)harness_tick(&harness, 0);
    ck_assert_uint_eq(scan_count(&harness), 0);
    ck_assert_str_eq(harness_scan(&harness, UINT64_MAX, "carts", "plain", "", "", false, 0), "");
    ck_assert(!state_tick_due(harness.state, harness.time_ns));
    harness_close(&harness);
}
END_TEST

/* Log time is finer than the milliseconds of a due time. */
START_TEST(test_nothing_goes_before_its_time)
{
    struct harness harness;
    harness_open_on(&harness, backend_open(1, 0, 0));
    harness_table(&harness, "carts");
    struct txn txn;
    txn_begin(&harness, &txn);
    (void)txn_put(&txn, "carts", "held", "1", 1000);
    harness.time_ns += 900000 - harness.time_ns % 1000000;
    ck_assert_int_eq(txn_commit(&harness, &txn).status, STATUS_OK);
    uint64_t put_ns = state_facts(harness.state).position.log_time_ns;
    ck_assert_uint_ne(put_ns % 1000000, 0);

    harness.time_ns = put_ns + HARNESS_SECOND_NS - 2;
    ck_assert(!state_tick_due(harness.state, harness.time_ns));
    (void)harness_tick(&harness, 0);
    ck_assert_str_eq(harness_value(&harness, "carts", "held"), "1");
    harness.time_ns = put_ns + HARNESS_SECOND_NS + 1000000;
    ck_assert(state_tick_due(harness.state, harness.time_ns));
    (void)harness_tick(&harness, 0);
    ck_assert_str_eq(harness_value(&harness, "carts", "held"), "-");
    harness_close(&harness);
}
END_TEST

START_TEST(test_an_idle_log_gets_ticks)
{
    struct harness harness;
    harness_open_on(&harness, backend_open(1, 0, 0));
    ck_assert(!state_tick_due(harness.state, harness.time_ns));
    harness.time_ns += 8 * HARNESS_SECOND_NS;
    ck_assert(state_tick_due(harness.state, harness.time_ns));
    (void)harness_tick(&harness, 0);
    ck_assert(!state_tick_due(harness.state, harness.time_ns));
    ck_assert_uint_eq(state_facts(harness.state).position.log_time_ns, harness.time_ns);
    harness_close(&harness);
}
END_TEST

START_TEST(test_the_horizon_only_rises)
{
    struct harness harness;
    harness_open_on(&harness, backend_open(1, 0, 0));
    harness_table(&harness, "carts");
    uint64_t version = state_facts(harness.state).position.version;
    (void)harness_tick(&harness, UINT64_MAX);
    ck_assert_uint_eq(state_facts(harness.state).horizon, version);
    (void)harness_tick(&harness, 1);
    ck_assert_uint_eq(state_facts(harness.state).horizon, version);
    struct state_view *view;
    ck_assert_int_eq(state_view_open(harness.state, version - 1, &view), STATUS_SNAPSHOT_TOO_OLD);
    ck_assert_int_eq(state_view_open(harness.state, version + 9, &view), STATUS_HISTORY_LOST);
    harness_close(&harness);
}
END_TEST

/* The flag is heard, and changes nothing of the state; a body that is not known is refused. */
START_TEST(test_a_scrub_is_asked_for)
{
    struct harness harness;
    uint8_t body[state_tick_body_size_max];
    harness_open_on(&harness, backend_open(1, 0, 0));
    harness_table(&harness, "carts");
    ck_assert(!harness_tick(&harness, 0).scrubs);
    size_t size = state_tick_encode(2, STATE_TICK_SCRUB, body);
    struct state_result result = harness_apply(&harness, ENTRY_TICK, bytes_of(body, size));
    ck_assert_int_eq(result.status, STATUS_OK);
    ck_assert(result.scrubs);
    ck_assert_uint_eq(result.version, state_facts(harness.state).position.version);
    ck_assert_uint_eq(state_facts(harness.state).horizon, 2);
    ck_assert_uint_eq(state_tick_encode(2, 0, body), 8);
    uint8_t key[state_floor_size_max];
    ck_assert_uint_eq(state_scrub_floor(harness.state, key).tree, STATE_TREE_OUTCOMES);
    for (unsigned flags = 0; flags < 8; flags++) {
        if (flags == STATE_TICK_SCRUB)
            continue;
        store_u64(body + 8, flags);
        result = harness_apply(&harness, ENTRY_TICK, bytes_of(body, sizeof body));
        ck_assert_int_eq(result.status, STATUS_MALFORMED);
        ck_assert(!result.scrubs);
    }
    result = harness_apply(&harness, ENTRY_TICK, bytes_of(body, 15));
    ck_assert_int_eq(result.status, STATUS_MALFORMED);
    harness_close(&harness);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_a_bounded_number_at_a_time_in_order);
    tcase_add_test(tests, test_nothing_goes_before_its_time);
    tcase_add_test(tests, test_an_idle_log_gets_ticks);
    tcase_add_test(tests, test_the_horizon_only_rises);
    tcase_add_test(tests, test_a_scrub_is_asked_for);
}
