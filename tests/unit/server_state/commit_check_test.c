/* SPDX-License-Identifier: Apache-2.0 */
#include "server/state/commit_check.h"

#include "proto/limits.h"
#include "tests/unit/server_state/backend_fake.h"
#include "tests/unit/server_state/harness.h"

static enum status check(struct txn *txn)
{
    struct state_precheck precheck;
    struct state_refusal refusal;
    enum status status = state_precheck(&txn->commit, &precheck, &refusal);
    ck_assert_int_eq(refusal.text[0] == 0, status == STATUS_OK);
    ck_assert_int_eq(status == STATUS_OK && refusal.item != 0, 0);
    return status;
}

START_TEST(test_shapes)
{
    static char long_key[limit_key_size + 2];
    struct harness harness = {.time_ns = 5};
    struct txn txn;
    memset(long_key, 'k', limit_key_size + 1);

    txn_begin(&harness, &txn);
    ck_assert_int_eq(check(&txn), STATUS_OK);
    txn.commit.txn_id.len = 15;
    ck_assert_int_eq(check(&txn), STATUS_MALFORMED);
    txn_begin(&harness, &txn);
    txn_put(&txn, "users", long_key, "", 0);
    ck_assert_int_eq(check(&txn), STATUS_TOO_LARGE);
    txn.bodies[0].put.key.len--;
    ck_assert_int_eq(check(&txn), STATUS_OK);
    txn.bodies[0].put.ttl_ms = UINT64_MAX;
    ck_assert_int_eq(check(&txn), STATUS_INVALID_ARGUMENT);
    txn_begin(&harness, &txn);
    txn_delete(&txn, "users", "");
    ck_assert_int_eq(check(&txn), STATUS_INVALID_ARGUMENT);
    txn_begin(&harness, &txn);
    txn_delete(&txn, "Users", "a");
    ck_assert_int_eq(check(&txn), STATUS_INVALID_ARGUMENT);
    txn_begin(&harness, &txn);
    txn_read(&txn, "users", "a");
    ck_assert_int_eq(check(&txn), STATUS_MALFORMED); /* without a snapshot */
    txn.commit.snapshot = 1;
    ck_assert_int_eq(check(&txn), STATUS_OK);
    txn_begin(&harness, &txn);
    (void)txn_operation(&txn, STRAIT__OPERATION__KIND__NOT_SET);
    ck_assert_int_eq(check(&txn), STATUS_MALFORMED);
    txn_begin(&harness, &txn);
    txn_condition(&txn, STRAIT__CONDITION__KIND__NONE, "users", "a");
    ck_assert_int_eq(check(&txn), STATUS_MALFORMED);
    txn_begin(&harness, &txn);
    Strait__Add *add = txn_add(&txn, "users", "a", 1);
    add->has_minimum = add->has_maximum = true;
    add->minimum = 1;
    ck_assert_int_eq(check(&txn), STATUS_INVALID_ARGUMENT);
    struct state_precheck precheck;
    struct state_refusal refusal;
    ck_assert_int_eq(state_precheck(&txn.commit, &precheck, &refusal), STATUS_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(refusal.text, "minimum, 1, is above its maximum, 0"));
    add->maximum = 1;
    ck_assert_int_eq(check(&txn), STATUS_OK);
    txn_begin(&harness, &txn);
    txn.commit.n_operations = limit_txn_operations_count + 1;
    ck_assert_int_eq(check(&txn), STATUS_TOO_LARGE);
}
END_TEST

/* What is refused for its size is told with the limit, and what lacks with where to look. */
START_TEST(test_words_name_the_limit)
{
    static char long_key[limit_key_size + 2];
    static uint8_t long_value[limit_value_size + 1];
    struct harness harness = {.time_ns = 5};
    struct state_precheck precheck;
    struct state_refusal refusal;
    char text[state_text_size];
    struct txn txn;
    memset(long_key, 'k', limit_key_size + 1);

    txn_begin(&harness, &txn);
    txn_put(&txn, "users", "a", "", 0);
    txn.bodies[0].put.ttl_ms = 4000ULL * 24 * 60 * 60 * 1000;
    ck_assert_int_eq(state_precheck(&txn.commit, &precheck, &refusal), STATUS_INVALID_ARGUMENT);
    ck_assert_msg(strstr(refusal.text, "4000 days") != NULL, "%s", refusal.text);
    ck_assert_msg(strstr(refusal.text, "at most 3650") != NULL, "%s", refusal.text);
    txn_begin(&harness, &txn);
    txn_put(&txn, "users", long_key, "", 0);
    ck_assert_int_eq(state_precheck(&txn.commit, &precheck, &refusal), STATUS_TOO_LARGE);
    ck_assert_msg(strstr(refusal.text, "1 to 1024 bytes") != NULL, "%s", refusal.text);
    txn_begin(&harness, &txn);
    txn_delete(&txn, "users", "");
    ck_assert_int_eq(state_precheck(&txn.commit, &precheck, &refusal), STATUS_INVALID_ARGUMENT);
    ck_assert_msg(strstr(refusal.text, "key is empty: one has 1 to 1024") != NULL, "%s",
                  refusal.text);
    txn_begin(&harness, &txn);
    txn_put(&txn, "users", "a", "", 0);
    txn.bodies[0].put.value = (ProtobufCBinaryData){sizeof long_value, long_value};
    ck_assert_int_eq(state_precheck(&txn.commit, &precheck, &refusal), STATUS_TOO_LARGE);
    ck_assert_msg(strstr(refusal.text, "1048577 bytes, and may have at most 1048576") != NULL, "%s",
                  refusal.text);
    /* The general advice where no limit is broken. */
    txn_begin(&harness, &txn);
    txn_delete(&txn, "Users", "a");
    ck_assert_int_eq(state_precheck(&txn.commit, &precheck, &refusal), STATUS_INVALID_ARGUMENT);
    ck_assert_msg(strstr(refusal.text, "Names are") != NULL, "%s", refusal.text);

    Strait__TableDrop drop = STRAIT__TABLE_DROP__INIT;
    Strait__Operation operation = STRAIT__OPERATION__INIT;
    Strait__Operation *operations[] = {&operation};
    Strait__Commit commit = STRAIT__COMMIT__INIT;
    drop.table = (char *)"gone";
    operation.kind_case = STRAIT__OPERATION__KIND_TABLE_DROP;
    operation.table_drop = &drop;
    commit.operations = operations;
    commit.n_operations = 1;
    commit_refusal_text(&commit, STATUS_NO_TABLE, 1, false, text);
    ck_assert_msg(strstr(text, "gone") != NULL && strstr(text, "`strait table list`") != NULL, "%s",
                  text);
    ck_assert_msg(strstr(text, "Create it first") == NULL, "%s", text);
    commit_refusal_text(&commit, STATUS_CONFLICT, 1, false, text);
    ck_assert_msg(strstr(text, "Read again") != NULL, "%s", text);
}
END_TEST

START_TEST(test_schema_stands_alone)
{
    struct harness harness = {.time_ns = 5};
    struct txn txn;
    struct state_precheck precheck;
    struct state_refusal refusal;
    txn_begin(&harness, &txn);
    txn_table_create(&txn, "users");
    txn_condition(&txn, STRAIT__CONDITION__KIND__ABSENT, "orders", "a");
    ck_assert_int_eq(state_precheck(&txn.commit, &precheck, &refusal), STATUS_OK);
    ck_assert(precheck.has_schema);
    txn_put(&txn, "users", "a", "1", 0);
    ck_assert_int_eq(state_precheck(&txn.commit, &precheck, &refusal), STATUS_INVALID_ARGUMENT);
    ck_assert_uint_eq(refusal.item, 2);
    txn_begin(&harness, &txn);
    txn_put(&txn, "users", "a", "1", 0);
    txn_table_create(&txn, "users");
    ck_assert_int_eq(state_precheck(&txn.commit, &precheck, &refusal), STATUS_INVALID_ARGUMENT);
}
END_TEST

/* The most operations that one may have, with an index to look at, fit the memory of one command.
 */
START_TEST(test_the_largest_transaction)
{
    enum { count = limit_txn_operations_count };
    struct harness harness;
    struct txn txn;
    static Strait__Operation operations[count];
    static Strait__Operation *list[count];
    static Strait__Put puts[count];
    static char keys[count][8];
    static char value[330];
    harness_open_on(&harness, backend_open(1, 0, 0));
    harness_table(&harness, "users");
    memset(value, 'v', sizeof value - 1);
    txn_begin(&harness, &txn);
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(keys[i], sizeof keys[i], "%05zu", i);
        strait__put__init(&puts[i]);
        puts[i].table = txn_text("users");
        puts[i].key = txn_bytes(keys[i]);
        puts[i].value = txn_bytes(value);
        strait__operation__init(&operations[i]);
        operations[i].kind_case = STRAIT__OPERATION__KIND_PUT;
        operations[i].put = &puts[i];
        list[i] = &operations[i];
    }
    txn.commit.operations = list;
    txn.commit.n_operations = count;
    struct state_result result = txn_commit(&harness, &txn);
    ck_assert_msg(result.status == STATUS_OK, "%s", result.text);
    harness_close(&harness);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_shapes);
    tcase_add_test(tests, test_words_name_the_limit);
    tcase_add_test(tests, test_schema_stands_alone);
    tcase_add_test(tests, test_the_largest_transaction);
}
