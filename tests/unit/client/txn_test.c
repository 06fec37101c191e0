/* SPDX-License-Identifier: Apache-2.0 */
/* What a transaction takes, how it is encoded, and under which id. */
#include "client/txn.h"

#include <stdlib.h>

#include "proto/limits.h"
#include "proto/message.h"
#include "tests/unit/unit.h"

/* Encodes, decodes as a server does, and gives the arena that the message lives in. */
static const Strait__Commit *encode(strait_txn *txn, struct call *call, struct arena *arena)
{
    ProtobufCMessage *message;
    struct strait_error error;
    ck_assert_msg(txn_encode(txn, call, UINT64_MAX, &error) == STRAIT_OK, "%s", error.text);
    if (call->issued_ns == 0)
        call_stamp(call, 4711);
    struct bytes body =
        bytes_of(call->frame + frame_header_size, call->frame_size - frame_header_size);
    message_arena_init(arena, body.size);
    ck_assert_int_eq(message_decode(&strait__commit__descriptor, body, true, arena, &message),
                     STATUS_OK);
    return (const Strait__Commit *)message;
}

START_TEST(test_everything_is_encoded)
{
    struct call call;
    struct arena arena;
    strait_txn *txn = strait_txn_new();
    const struct strait_index_entry indexes[] = {{"by_day", strait_text("2010-12-01")},
                                                 {"by_customer", strait_bytes("\0c", 2)}};
    const struct strait_put_options put = {.ttl_ms = 60, .indexes = indexes, .indexes_count = 2};
    const struct strait_add_options add = {.has_minimum = true,
                                           .minimum = -5,
                                           .has_maximum = true,
                                           .maximum = INT64_MAX,
                                           .initial = 9};
    const struct strait_range range = {
        .table = "orders", .index = "by_day", .start = strait_text("a"), .end = strait_text("b")};
    strait_txn_put(txn, "orders", strait_text("o1"), strait_bytes("a\0b", 3), &put);
    strait_txn_del(txn, "orders", strait_text("o2"));
    strait_txn_add(txn, "stock", strait_text("mug"), INT64_MIN, &add);
    strait_txn_create_table(txn, "new");
    strait_txn_drop_table(txn, "old");
    strait_txn_create_index(txn, "new", "unique_one", true);
    strait_txn_drop_index(txn, "new", "other");
    strait_txn_require_absent(txn, "orders", strait_text("o1"));
    strait_txn_require_exists(txn, "orders", strait_text("o2"));
    strait_txn_require_version(txn, "orders", strait_text("o3"), 77);
    strait_txn_require_value(txn, "orders", strait_text("o4"), strait_text("v"));
    strait_txn_read_version(txn, 1234);
    strait_txn_read_key(txn, "orders", strait_text("o5"));
    ck_assert_int_eq(strait_txn_read_range(txn, &range), STRAIT_OK);
    ck_assert_int_eq(strait_txn_set_remote(txn, "sydney", 250), STRAIT_OK);
    ck_assert_uint_eq(strait_txn_operations_count(txn), 7);

    const Strait__Commit *commit = encode(txn, &call, &arena);
    ck_assert_uint_eq(commit->issued_ns, 4711);
    ck_assert_uint_eq(commit->snapshot, 1234);
    ck_assert_int_eq(commit->durability, STRAIT__DURABILITY__REMOTE);
    ck_assert_str_eq(commit->remote_region, "sydney");
    ck_assert_uint_eq(commit->confirm_within_ms, 250);
    ck_assert_uint_eq(commit->n_operations, 7);
    const Strait__Put *first = commit->operations[0]->put;
    ck_assert_uint_eq(first->ttl_ms, 60);
    ck_assert_uint_eq(first->value.len, 3);
    ck_assert_uint_eq(first->n_indexes, 2);
    ck_assert_uint_eq(first->indexes[1]->key.len, 2);
    const Strait__Add *third = commit->operations[2]->add;
    ck_assert_int_eq(third->amount, INT64_MIN);
    ck_assert(third->has_minimum && third->has_maximum && !third->must_exist);
    ck_assert_int_eq(third->minimum, -5);
    ck_assert_int_eq(third->initial, 9);
    ck_assert(commit->operations[5]->index_create->unique);
    ck_assert_str_eq(commit->operations[6]->index_drop->index, "other");
    ck_assert_uint_eq(commit->n_conditions, 4);
    ck_assert_int_eq(commit->conditions[2]->kind, STRAIT__CONDITION__KIND__VERSION_IS);
    ck_assert_uint_eq(commit->conditions[2]->version, 77);
    ck_assert_str_eq(commit->ranges[0]->index, "by_day");
    arena_free(&arena);
    call_free(&call);
    strait_txn_free(txn);
}
END_TEST

START_TEST(test_ids)
{
    struct call call;
    struct arena arena;
    char token[STRAIT_TXN_TOKEN_SIZE];
    uint8_t first[txn_id_size];
    strait_txn *txn = strait_txn_new();
    strait_txn_put(txn, "t", strait_text("k"), strait_text("v"), NULL);
    const Strait__Commit *commit = encode(txn, &call, &arena);
    memcpy(first, commit->txn_id.data, txn_id_size);
    arena_free(&arena);
    call_free(&call);
    /* The same object, the same id; cleared, another. */
    commit = encode(txn, &call, &arena);
    ck_assert_mem_eq(commit->txn_id.data, first, txn_id_size);
    arena_free(&arena);
    call_free(&call);
    strait_txn_clear(txn);
    commit = encode(txn, &call, &arena);
    ck_assert_uint_eq(commit->n_operations, 0);
    ck_assert_mem_ne(commit->txn_id.data, first, txn_id_size);
    arena_free(&arena);
    call_free(&call);

    strait_txn_token(txn, token);
    ck_assert_str_eq(token, "");
    ck_assert_int_eq(strait_txn_set_token(txn, "nonsense"), STRAIT_INVALID_ARGUMENT);
    ck_assert_int_eq(strait_txn_set_token(txn, "00112233445566778899aabbccddeeff-00000000000000aa"),
                     STRAIT_OK);
    commit = encode(txn, &call, &arena);
    ck_assert_uint_eq(commit->issued_ns, 0xaa);
    ck_assert_uint_eq(commit->txn_id.data[15], 0xff);
    /* It may have run already: a server that is busy does not say that it did not. */
    ck_assert_uint_eq(call.unanswered_count, 1);
    arena_free(&arena);
    call_free(&call);
    strait_txn_free(txn);
}
END_TEST

START_TEST(test_what_is_refused)
{
    static uint8_t large[limit_value_size + 1];
    const struct strait_put_options many = {.indexes = (const struct strait_index_entry *)large,
                                            .indexes_count = limit_record_indexes_count + 1};
    /* What is wrong, and with which limit. */
    static const char *const words[] = {
        "'Orders' cannot be the name",
        "A key of table orders is empty: one has 1 to 1024 bytes",
        "'' cannot be the name",
        "A key of table t has 1025 bytes, and may have 1 to 1024",
        "A value for table t has 1048577 bytes, and may have at most 1048576",
        "could not be added to this transaction",
        "'' cannot be a name",
        "could not be added to this transaction",
    };
    struct call call;
    struct strait_error error;
    for (unsigned i = 0; i < 8; i++) {
        enum strait_status status = STRAIT_OK;
        enum strait_status expected = STRAIT_INVALID_ARGUMENT;
        strait_txn *txn = strait_txn_new();
        switch (i) {
        case 0:
            status = strait_txn_put(txn, "Orders", strait_text("k"), strait_text("v"), NULL);
            break;
        case 1:
            status = strait_txn_del(txn, "orders", strait_bytes(NULL, 0));
            break;
        case 2:
            status = strait_txn_add(txn, NULL, strait_text("k"), 1, NULL);
            break;
        case 3:
            expected = STRAIT_TOO_LARGE;
            status = strait_txn_put(txn, "t", strait_bytes(large, limit_key_size + 1),
                                    strait_text("v"), NULL);
            break;
        case 4:
            expected = STRAIT_TOO_LARGE;
            status =
                strait_txn_put(txn, "t", strait_text("k"), strait_bytes(large, sizeof large), NULL);
            break;
        case 5:
            expected = STRAIT_TOO_LARGE;
            status = strait_txn_put(txn, "t", strait_text("k"), strait_text("v"), &many);
            break;
        case 6:
            status = strait_txn_create_index(txn, "t", NULL, false);
            break;
        default:
            status = strait_txn_read_version(txn, 0);
            break;
        }
        ck_assert_int_eq(status, expected);
        /* What comes after it does not make the rest of it a transaction. */
        ck_assert_int_eq(strait_txn_put(txn, "t", strait_text("k"), strait_text("v"), NULL),
                         expected);
        ck_assert_int_eq(txn_encode(txn, &call, UINT64_MAX, &error), expected);
        ck_assert_msg(strstr(error.text, words[i]) != NULL, "%s", error.text);
        call_free(&call);
        strait_txn_clear(txn);
        ck_assert_int_eq(strait_txn_put(txn, "t", strait_text("k"), strait_text("v"), NULL),
                         STRAIT_OK);
        strait_txn_free(txn);
    }
}
END_TEST

START_TEST(test_bounds_of_a_transaction)
{
    static const uint8_t value[64 * 1024];
    struct call call;
    struct arena arena;
    size_t count = 0;
    strait_txn *txn = strait_txn_new();
    while (strait_txn_put(txn, "t", strait_bytes(&count, sizeof count),
                          strait_bytes(value, sizeof value), NULL) == STRAIT_OK)
        count++;
    /* 4 MiB less what the puts take besides their values. */
    ck_assert_uint_eq(count, limit_txn_size / sizeof value - 1);
    strait_txn_clear(txn);
    for (count = 0; count < limit_txn_operations_count; count++)
        ck_assert_int_eq(strait_txn_add(txn, "t", strait_bytes(&count, sizeof count), 1, NULL),
                         STRAIT_OK);
    ck_assert_uint_eq(encode(txn, &call, &arena)->n_operations, limit_txn_operations_count);
    arena_free(&arena);
    call_free(&call);
    ck_assert_int_eq(strait_txn_add(txn, "t", strait_text("k"), 1, NULL), STRAIT_TOO_LARGE);
    strait_txn_free(txn);
}
END_TEST

/* Which answers leave open what became of an earlier send that had none. */
START_TEST(test_what_an_answer_settles)
{
    struct call commit = {.type = FRAME_COMMIT};
    struct call repeated = {.type = FRAME_COMMIT, .unanswered_count = 1};
    struct call read = {.type = FRAME_GET, .unanswered_count = 3};
    static const enum status open[] = {STATUS_BUSY,          STATUS_DISK_FULL,
                                       STATUS_TXN_EXPIRED,   STATUS_PERMISSION_DENIED,
                                       STATUS_SHUTTING_DOWN, STATUS_INVALID_ARGUMENT};
    static const enum status settled[] = {STATUS_OK, STATUS_CONFLICT, STATUS_CONDITION_FAILED,
                                          STATUS_OUT_OF_BOUNDS, STATUS_TXN_MISMATCH};
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++) {
        ck_assert_int_eq(call_outcome(&commit, open[i]), open[i]);
        ck_assert_int_eq(call_outcome(&repeated, open[i]), STATUS_OUTCOME_UNKNOWN);
        ck_assert_int_eq(call_outcome(&read, open[i]), open[i]);
    }
    for (size_t i = 0; i < sizeof settled / sizeof settled[0]; i++)
        ck_assert_int_eq(call_outcome(&repeated, settled[i]), settled[i]);
    /* A server that lost its way says nothing about the commit. */
    ck_assert_int_eq(call_outcome(&commit, STATUS_INTERNAL), STATUS_OUTCOME_UNKNOWN);
    ck_assert_int_eq(call_outcome(&commit, STATUS_IO_ERROR), STATUS_OUTCOME_UNKNOWN);
    ck_assert_int_eq(call_outcome(&read, STATUS_INTERNAL), STATUS_INTERNAL);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_everything_is_encoded);
    tcase_add_test(tests, test_ids);
    tcase_add_test(tests, test_what_is_refused);
    tcase_add_test(tests, test_bounds_of_a_transaction);
    tcase_add_test(tests, test_what_an_answer_settles);
}
