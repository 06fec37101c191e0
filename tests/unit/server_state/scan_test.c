/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/limits.h"
#include "tests/unit/server_state/backend_fake.h"
#include "tests/unit/server_state/harness.h"

static void fill(struct harness *harness)
{
    struct txn txn;
    harness_table(harness, "users");
    txn_begin(harness, &txn);
    txn_index_entry(&txn, txn_put(&txn, "users", "a", "1", 0), "plain", "red");
    txn_index_entry(&txn, txn_put(&txn, "users", "b", "2", 0), "plain", "blue");
    txn_index_entry(&txn, txn_put(&txn, "users", "c", "3", 0), "plain", "red");
    txn_put(&txn, "users", "d", "4", 0);
    ck_assert_int_eq(txn_commit(harness, &txn).status, STATUS_OK);
}

START_TEST(test_ranges_both_ways_in_pages)
{
    struct harness harness;
    harness_open_on(&harness, backend_open(1, 30, 0));
    fill(&harness);
    for (uint32_t page = 0; page < 4; page++) {
        ck_assert_str_eq(harness_scan(&harness, UINT64_MAX, "users", "", "", "", false, page),
                         "a=1 b=2 c=3 d=4 ");
        ck_assert_str_eq(harness_scan(&harness, UINT64_MAX, "users", "", "b", "d", true, page),
                         "c=3 b=2 ");
        ck_assert_str_eq(harness_scan(&harness, UINT64_MAX, "users", "plain", "", "", false, page),
                         "b=2 a=1 c=3 ");
        ck_assert_str_eq(
            harness_scan(&harness, UINT64_MAX, "users", "plain", "red", "red0", true, page),
            "c=3 a=1 ");
        ck_assert_str_eq(harness_scan(&harness, UINT64_MAX, "users", "", "c", "b", false, page),
                         "");
    }
    harness_close(&harness);
}
END_TEST

static enum status open_with(struct harness *harness, const char *table, const char *index,
                             const char *start, const char *end, struct bytes resume)
{
    struct arena arena;
    struct state_view *view;
    struct state_scan *scan;
    struct state_refusal refusal = {0};
    Strait__Scan request = STRAIT__SCAN__INIT;
    Strait__Range range = STRAIT__RANGE__INIT;
    range.table = txn_text(table);
    range.index = txn_text(index);
    range.start = txn_bytes(start);
    range.end = txn_bytes(end);
    request.range = &range;
    request.resume.data = (uint8_t *)(uintptr_t)resume.data;
    request.resume.len = resume.size;
    arena_init(&arena, 4096, 1 << 24);
    ck_assert_int_eq(state_view_open(harness->state, UINT64_MAX, &view), STATUS_OK);
    enum status status = state_scan_open(view, &request, &arena, &scan, &refusal);
    ck_assert_int_eq(refusal.text[0] == 0, status == STATUS_OK);
    state_scan_close(scan);
    state_view_close(view);
    arena_free(&arena);
    return status;
}

START_TEST(test_what_is_refused)
{
    struct harness harness;
    struct bytes none = {0};
    uint8_t resume[] = {1, STATE_TREE_RECORDS, 0, 0, 0, 1, 'b'};
    harness_open_on(&harness, backend_open(1, 0, 0));
    fill(&harness);
    ck_assert_int_eq(open_with(&harness, "nowhere", "", "", "", none), STATUS_NO_TABLE);
    ck_assert_int_eq(open_with(&harness, "users", "none", "", "", none), STATUS_NO_INDEX);
    ck_assert_int_eq(open_with(&harness, "Users", "", "", "", none), STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(open_with(&harness, "users", "I", "", "", none), STATUS_INVALID_ARGUMENT);
    struct bytes given = bytes_of(resume, sizeof resume);
    ck_assert_int_eq(open_with(&harness, "users", "", "", "", given), STATUS_OK);
    ck_assert_int_eq(open_with(&harness, "users", "", "c", "", given), STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(open_with(&harness, "users", "plain", "", "", given), STATUS_INVALID_ARGUMENT);
    /* Another table's. */
    resume[5] = 2;
    ck_assert_int_eq(open_with(&harness, "users", "", "", "", given), STATUS_INVALID_ARGUMENT);
    resume[5] = 1;
    resume[0] = 2;
    ck_assert_int_eq(open_with(&harness, "users", "", "", "", given), STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(open_with(&harness, "users", "", "", "", bytes_of(resume, 2)),
                     STATUS_INVALID_ARGUMENT);
    harness_close(&harness);
}
END_TEST

/* A reply stops at its size, and the next page goes on. */
START_TEST(test_large_records_come_in_pages)
{
    struct harness harness;
    harness_open_on(&harness, backend_open(1, 0, 0));
    harness_table(&harness, "users");
    char *value = malloc(limit_value_size + 1);
    ck_assert(value != NULL);
    memset(value, 'v', limit_value_size);
    value[limit_value_size] = 0;
    static const char *const keys[] = {"a", "b", "c", "d", "e", "f"};
    for (size_t i = 0; i < 6; i++) {
        struct txn txn;
        txn_begin(&harness, &txn);
        txn_index_entry(&txn, txn_put(&txn, "users", keys[i], value, 0), "plain", "p");
        ck_assert_int_eq(txn_commit(&harness, &txn).status, STATUS_OK);
    }
    for (int by_index = 0; by_index < 2; by_index++) {
        struct arena arena;
        struct lsm_wait wait;
        struct state_view *view;
        struct state_scan *scan;
        struct state_refusal refusal;
        Strait__Scan request = STRAIT__SCAN__INIT;
        Strait__Range range = STRAIT__RANGE__INIT;
        Strait__ScanReply reply = STRAIT__SCAN_REPLY__INIT;
        range.table = txn_text("users");
        range.index = txn_text(by_index ? "plain" : "");
        request.range = &range;
        arena_init(&arena, 4096, 1 << 26);
        lsm_wait_init(&wait, harness_no_wait, NULL);
        ck_assert_int_eq(state_view_open(harness.state, UINT64_MAX, &view), STATUS_OK);
        ck_assert_int_eq(state_scan_open(view, &request, &arena, &scan, &refusal), STATUS_OK);
        ck_assert_int_eq(state_scan_step(scan, &wait, &reply), STATUS_OK);
        ck_assert_uint_eq(reply.n_records, 4);
        ck_assert(reply.more && reply.resume.len != 0);
        ck_assert_uint_le(strait__scan_reply__get_packed_size(&reply), limit_frame_size);
        state_scan_close(scan);
        state_view_close(view);
        arena_free(&arena);
    }
    free(value);
    harness_close(&harness);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_ranges_both_ways_in_pages);
    tcase_add_test(tests, test_what_is_refused);
    tcase_add_test(tests, test_large_records_come_in_pages);
}
