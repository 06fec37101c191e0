/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/entry.h"

#include "tests/unit/unit.h"

static const struct entry sample = {
    .kind = ENTRY_COMMIT,
    .epoch_number = 7,
    .epoch_region = 2,
    .log_time_ns = 1700000000000000001,
    .version = 41,
    .identity = {.data = (const uint8_t *)"app-1", .size = 5},
    .body = {.data = (const uint8_t *)"body", .size = 4},
};

START_TEST(test_round_trip)
{
    uint8_t encoded[64];
    struct entry decoded;
    ck_assert_uint_eq(entry_size(&sample), entry_header_size + 9);
    entry_encode(&sample, encoded);
    ck_assert_int_eq(entry_decode(bytes_of(encoded, entry_size(&sample)), &decoded), STATUS_OK);
    ck_assert_int_eq(decoded.kind, sample.kind);
    ck_assert_uint_eq(decoded.epoch_number, sample.epoch_number);
    ck_assert_uint_eq(decoded.epoch_region, sample.epoch_region);
    ck_assert_uint_eq(decoded.log_time_ns, sample.log_time_ns);
    ck_assert_uint_eq(decoded.version, sample.version);
    ck_assert(bytes_equal(decoded.identity, sample.identity));
    ck_assert(bytes_equal(decoded.body, sample.body));
}
END_TEST

START_TEST(test_each_cut_is_malformed)
{
    uint8_t encoded[64];
    struct entry decoded;
    entry_encode(&sample, encoded);
    for (size_t size = 0; size < entry_size(&sample); size++)
        ck_assert_int_eq(entry_decode(bytes_of(encoded, size), &decoded), STATUS_MALFORMED);
}
END_TEST

START_TEST(test_what_is_newer_is_unsupported)
{
    uint8_t encoded[64];
    struct entry decoded;
    entry_encode(&sample, encoded);
    encoded[1] = 99;
    ck_assert_int_eq(entry_decode(bytes_of(encoded, entry_size(&sample)), &decoded),
                     STATUS_UNSUPPORTED);
    entry_encode(&sample, encoded);
    encoded[0] = 1;
    ck_assert_int_eq(entry_decode(bytes_of(encoded, entry_size(&sample)), &decoded),
                     STATUS_UNSUPPORTED);
}
END_TEST

START_TEST(test_shared_kinds_alone_have_a_version)
{
    uint8_t encoded[64];
    struct entry decoded;
    entry_encode(&sample, encoded);
    store_u64(encoded + 32, 0);
    ck_assert_int_eq(entry_decode(bytes_of(encoded, entry_size(&sample)), &decoded),
                     STATUS_MALFORMED);
    const struct entry regional = {.kind = ENTRY_NOOP, .epoch_number = 1, .log_time_ns = 1};
    entry_encode(&regional, encoded);
    ck_assert_int_eq(entry_decode(bytes_of(encoded, entry_header_size), &decoded), STATUS_OK);
    store_u64(encoded + 32, 1);
    ck_assert_int_eq(entry_decode(bytes_of(encoded, entry_header_size), &decoded),
                     STATUS_MALFORMED);
}
END_TEST

START_TEST(test_a_header_tells_the_size)
{
    uint8_t encoded[64];
    struct entry decoded;
    size_t size;
    ck_assert_uint_le(entry_size(&sample), sizeof encoded);
    entry_encode(&sample, encoded);
    for (size_t given = 0; given <= entry_size(&sample); given++) {
        enum status status = entry_header_decode(bytes_of(encoded, given), &decoded, &size);
        ck_assert_int_eq(status, given < entry_header_size ? STATUS_MALFORMED : STATUS_OK);
        ck_assert_uint_eq(size, status == STATUS_OK ? entry_size(&sample) : 0);
        ck_assert_uint_eq(decoded.version, status == STATUS_OK ? sample.version : 0);
        ck_assert_uint_eq(decoded.body.size, 0);
    }
}
END_TEST

START_TEST(test_each_kind_is_known)
{
    const enum entry_kind kinds[] = {ENTRY_NOOP,  ENTRY_MEMBERSHIP, ENTRY_FENCE, ENTRY_REWIND,
                                     ENTRY_LOST,  ENTRY_COMMIT,     ENTRY_TICK,  ENTRY_REGIONS,
                                     ENTRY_EPOCH, ENTRY_VERSION};
    uint8_t encoded[64];
    struct entry decoded;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct entry entry = sample;
        entry.kind = kinds[i];
        entry.version = entry_kind_is_shared(kinds[i]) ? 1 : 0;
        entry_encode(&entry, encoded);
        ck_assert_int_eq(entry_decode(bytes_of(encoded, entry_size(&entry)), &decoded), STATUS_OK);
        ck_assert_int_eq(decoded.kind, kinds[i]);
    }
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_round_trip);
    tcase_add_test(tests, test_each_kind_is_known);
    tcase_add_test(tests, test_a_header_tells_the_size);
    tcase_add_test(tests, test_shared_kinds_alone_have_a_version);
    tcase_add_test(tests, test_each_cut_is_malformed);
    tcase_add_test(tests, test_what_is_newer_is_unsupported);
}
