/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/txn_id.h"

#include "tests/unit/unit.h"

static const struct txn_id sample = {.bytes = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88,
                                               0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff},
                                     .issued_ns = 0x17979cfe362a0001};
static const char sample_text[] = "00112233445566778899aabbccddeeff-17979cfe362a0001";

START_TEST(test_round_trip)
{
    char text[txn_id_text_size];
    struct txn_id parsed;
    txn_id_format(&sample, text);
    ck_assert_str_eq(text, sample_text);
    ck_assert_int_eq(txn_id_parse(bytes_of_text(text), &parsed), STATUS_OK);
    ck_assert_int_eq(txn_id_compare(&parsed, &sample), 0);
    ck_assert_int_eq(
        txn_id_parse(bytes_of_text("00112233445566778899AABBCCDDEEFF-17979CFE362A0001"), &parsed),
        STATUS_OK);
    ck_assert_int_eq(txn_id_compare(&parsed, &sample), 0);
}
END_TEST

START_TEST(test_each_wrong_byte_is_refused)
{
    struct txn_id parsed;
    for (size_t i = 0; i < sizeof sample_text - 1; i++) {
        char text[sizeof sample_text];
        memcpy(text, sample_text, sizeof text);
        text[i] = 'g';
        ck_assert_int_eq(txn_id_parse(bytes_of_text(text), &parsed), STATUS_INVALID_ARGUMENT);
        ck_assert_uint_eq(parsed.issued_ns, 0);
        ck_assert_int_eq(txn_id_parse(bytes_of(sample_text, i), &parsed), STATUS_INVALID_ARGUMENT);
    }
    ck_assert_int_eq(txn_id_parse(bytes_of(sample_text, sizeof sample_text), &parsed),
                     STATUS_INVALID_ARGUMENT);
}
END_TEST

START_TEST(test_order)
{
    struct txn_id later = sample;
    later.issued_ns++;
    ck_assert_int_lt(txn_id_compare(&sample, &later), 0);
    later.bytes[0] = 1;
    later.issued_ns = 0;
    ck_assert_int_gt(txn_id_compare(&later, &sample), 0);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_round_trip);
    tcase_add_test(tests, test_each_wrong_byte_is_refused);
    tcase_add_test(tests, test_order);
}
