/* SPDX-License-Identifier: Apache-2.0 */
#include "server/state/outcome.h"

#include "tests/unit/unit.h"

START_TEST(test_round_trip)
{
    struct outcome outcome = {.content = {.low = 1, .high = 2},
                              .version = 3,
                              .log_time_ns = 4,
                              .item = 5,
                              .status = STATUS_CONDITION_FAILED,
                              .item_is_condition = true};
    uint8_t value[outcome_value_size];
    outcome_encode(&outcome, value);
    struct outcome decoded;
    ck_assert_int_eq(outcome_decode(bytes_of(value, sizeof value), &decoded), STATUS_OK);
    ck_assert_mem_eq(&decoded.content, &outcome.content, sizeof decoded.content);
    ck_assert_uint_eq(decoded.version, 3);
    ck_assert_uint_eq(decoded.log_time_ns, 4);
    ck_assert_uint_eq(decoded.item, 5);
    ck_assert_int_eq(decoded.status, STATUS_CONDITION_FAILED);
    ck_assert(decoded.item_is_condition);
}
END_TEST

START_TEST(test_bad_bytes_are_corrupt)
{
    struct outcome outcome = {.status = STATUS_OK};
    uint8_t value[outcome_value_size];
    outcome_encode(&outcome, value);
    struct outcome decoded;
    ck_assert_int_eq(outcome_decode(bytes_of(value, sizeof value - 1), &decoded), STATUS_CORRUPT);
    value[38] = 2;
    ck_assert_int_eq(outcome_decode(bytes_of(value, sizeof value), &decoded), STATUS_CORRUPT);
    value[38] = 0;
    value[37] = 0x7f;
    ck_assert_int_eq(outcome_decode(bytes_of(value, sizeof value), &decoded), STATUS_OK);
    ck_assert_int_eq(decoded.status, STATUS_INTERNAL);
}
END_TEST

START_TEST(test_keys_sort_by_issued)
{
    uint8_t id_low[outcome_id_size] = {0};
    uint8_t id_high[outcome_id_size];
    memset(id_high, 0xff, sizeof id_high);
    uint8_t early[outcome_key_size];
    uint8_t late[outcome_key_size];
    outcome_key_encode(255, id_high, early);
    outcome_key_encode(256, id_low, late);
    ck_assert_int_lt(memcmp(early, late, sizeof early), 0);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_round_trip);
    tcase_add_test(tests, test_bad_bytes_are_corrupt);
    tcase_add_test(tests, test_keys_sort_by_issued);
}
