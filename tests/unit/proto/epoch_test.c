/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/epoch.h"

#include "tests/unit/unit.h"

static uint8_t record[limit_promotion_record_size + 1];

static struct epoch_change sample_change(size_t record_size)
{
    for (size_t i = 0; i < sizeof record; i++)
        record[i] = (uint8_t)(i * 7);
    return (struct epoch_change){.kind = EPOCH_PROMOTE,
                                 .from = {.number = 3, .region = 1},
                                 .to = {.number = 5, .region = 2},
                                 .version = 1000,
                                 .chain = {.low = 11, .high = 12},
                                 .log_time_ns = 1700000000000000001,
                                 .record = bytes_of(record, record_size)};
}

static struct fence sample_fence(size_t record_size)
{
    return (struct fence){
        .region = 1, .epoch = {.number = 5, .region = 2}, .record = bytes_of(record, record_size)};
}

START_TEST(test_epochs_are_ordered)
{
    const struct epoch order[] = {{0, 0}, {1, 1}, {1, 2}, {2, 1}, {3, UINT32_MAX}, {UINT64_MAX, 1}};
    for (int a = 0; a < 6; a++) {
        for (int b = 0; b < 6; b++) {
            int compared = epoch_compare(order[a], order[b]);
            ck_assert_int_eq((compared > 0) - (compared < 0), (a > b) - (a < b));
            ck_assert_int_eq(epoch_equal(order[a], order[b]), a == b);
        }
    }
}
END_TEST

START_TEST(test_a_change_is_read_as_it_was_written)
{
    static uint8_t encoded[epoch_change_size_max];
    const size_t sizes[] = {0, 1, 700, limit_promotion_record_size};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct epoch_change change = sample_change(sizes[i]);
        struct epoch_change decoded;
        size_t size = epoch_change_size(&change);
        ck_assert_uint_le(size, sizeof encoded);
        epoch_change_encode(&change, encoded);
        ck_assert_int_eq(epoch_change_decode(bytes_of(encoded, size), &decoded), STATUS_OK);
        ck_assert_int_eq(decoded.kind, change.kind);
        ck_assert(epoch_equal(decoded.from, change.from) && epoch_equal(decoded.to, change.to));
        ck_assert_uint_eq(decoded.version, change.version);
        ck_assert_mem_eq(&decoded.chain, &change.chain, sizeof change.chain);
        ck_assert_uint_eq(decoded.log_time_ns, change.log_time_ns);
        ck_assert(bytes_equal(decoded.record, change.record));
    }
}
END_TEST

START_TEST(test_a_change_that_is_cut_or_longer_is_malformed)
{
    static uint8_t encoded[epoch_change_size_max + 1];
    struct epoch_change change = sample_change(20);
    struct epoch_change decoded;
    size_t whole = epoch_change_size(&change);
    epoch_change_encode(&change, encoded);
    for (size_t size = 0; size <= whole + 1; size++) {
        if (size == whole)
            continue;
        ck_assert_int_eq(epoch_change_decode(bytes_of(encoded, size), &decoded), STATUS_MALFORMED);
        ck_assert_uint_eq(decoded.to.number, 0);
    }
    /* A record past the bound, though its size fits the bytes. */
    store_u16(encoded + 2, limit_promotion_record_size + 1);
    ck_assert_int_eq(epoch_change_decode(bytes_of(encoded, sizeof encoded), &decoded),
                     STATUS_MALFORMED);
}
END_TEST

/* Writes a sound change, overwrites one byte, and reads it. */
static enum status changed_at(size_t at, uint8_t value)
{
    uint8_t encoded[epoch_change_header_size + 20];
    struct epoch_change change = sample_change(20);
    struct epoch_change decoded;
    epoch_change_encode(&change, encoded);
    encoded[at] = value;
    return epoch_change_decode(bytes_of(encoded, sizeof encoded), &decoded);
}

START_TEST(test_changes_that_make_no_sense_are_malformed)
{
    ck_assert_int_eq(changed_at(0, 2), STATUS_UNSUPPORTED);
    ck_assert_int_eq(changed_at(1, EPOCH_GRANT), STATUS_OK);
    ck_assert_int_eq(changed_at(1, 0), STATUS_MALFORMED);
    ck_assert_int_eq(changed_at(1, 3), STATUS_MALFORMED);
    ck_assert_int_eq(changed_at(4, 0), STATUS_MALFORMED);  /* no region ends */
    ck_assert_int_eq(changed_at(24, 0), STATUS_MALFORMED); /* none begins */
    ck_assert_int_eq(changed_at(8, 0), STATUS_MALFORMED);  /* no number */
    ck_assert_int_eq(changed_at(16, 4), STATUS_OK);
    ck_assert_int_eq(changed_at(16, 3), STATUS_OK); /* the same number, a higher region */
    ck_assert_int_eq(changed_at(16, 2), STATUS_MALFORMED);
    ck_assert_int_eq(changed_at(28, 1), STATUS_MALFORMED);
}
END_TEST

START_TEST(test_a_promotion_may_stay_where_it_is_and_a_grant_may_not)
{
    uint8_t encoded[epoch_change_header_size];
    struct epoch_change change = sample_change(0);
    struct epoch_change decoded;
    change.to.region = change.from.region;
    epoch_change_encode(&change, encoded);
    ck_assert_int_eq(epoch_change_decode(bytes_of(encoded, sizeof encoded), &decoded), STATUS_OK);
    encoded[1] = EPOCH_GRANT;
    ck_assert_int_eq(epoch_change_decode(bytes_of(encoded, sizeof encoded), &decoded),
                     STATUS_MALFORMED);
}
END_TEST

START_TEST(test_a_fence_is_read_as_it_was_written)
{
    static uint8_t encoded[fence_size_max];
    const size_t sizes[] = {0, 33, limit_promotion_record_size};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct fence fence = sample_fence(sizes[i]);
        struct fence decoded;
        size_t size = fence_size(&fence);
        fence_encode(&fence, encoded);
        ck_assert_int_eq(fence_decode(bytes_of(encoded, size), &decoded), STATUS_OK);
        ck_assert_uint_eq(decoded.region, 1);
        ck_assert(epoch_equal(decoded.epoch, fence.epoch));
        ck_assert(bytes_equal(decoded.record, fence.record));
        for (size_t cut = 0; cut < size; cut++)
            ck_assert_int_eq(fence_decode(bytes_of(encoded, cut), &decoded), STATUS_MALFORMED);
    }
}
END_TEST

START_TEST(test_fences_that_make_no_sense_are_malformed)
{
    const struct {
        size_t at;
        uint8_t value;
        enum status status;
    } cases[] = {{0, 9, STATUS_UNSUPPORTED}, {1, 1, STATUS_MALFORMED}, {2, 6, STATUS_MALFORMED},
                 {4, 0, STATUS_MALFORMED},   {8, 0, STATUS_MALFORMED}, {16, 0, STATUS_MALFORMED},
                 {20, 1, STATUS_MALFORMED},  {8, 77, STATUS_OK}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t encoded[fence_header_size + 5];
        struct fence fence = sample_fence(5);
        struct fence decoded;
        fence_encode(&fence, encoded);
        encoded[cases[i].at] = cases[i].value;
        ck_assert_int_eq(fence_decode(bytes_of(encoded, sizeof encoded), &decoded),
                         cases[i].status);
    }
}
END_TEST

START_TEST(test_a_rewind_is_read_as_it_was_written)
{
    static const struct rewind rewind = {
        .to = {.number = 5, .region = 2}, .from = {.number = 3, .region = 9}, .version = 1000};
    uint8_t encoded[rewind_size + 1] = {0};
    struct rewind decoded;

    rewind_encode(&rewind, encoded);
    ck_assert_int_eq(rewind_decode(bytes_of(encoded, rewind_size), &decoded), STATUS_OK);
    ck_assert(epoch_equal(decoded.to, rewind.to) && epoch_equal(decoded.from, rewind.from));
    ck_assert_uint_eq(decoded.version, 1000);
    for (size_t cut = 0; cut < rewind_size; cut++)
        ck_assert_int_eq(rewind_decode(bytes_of(encoded, cut), &decoded), STATUS_MALFORMED);
    ck_assert_int_eq(rewind_decode(bytes_of(encoded, sizeof encoded), &decoded), STATUS_MALFORMED);
    encoded[0]++;
    ck_assert_int_eq(rewind_decode(bytes_of(encoded, rewind_size), &decoded), STATUS_UNSUPPORTED);
}
END_TEST

START_TEST(test_an_adoption_is_read_as_it_was_written)
{
    static const struct adoption adoption = {
        .epoch = {.number = 5, .region = 2}, .version = 77, .id = {.low = 8, .high = 9}};
    uint8_t encoded[adoption_size + 1] = {0};
    struct adoption decoded;

    adoption_encode(&adoption, encoded);
    ck_assert_int_eq(adoption_decode(bytes_of(encoded, adoption_size), &decoded), STATUS_OK);
    ck_assert(epoch_equal(decoded.epoch, adoption.epoch));
    ck_assert_uint_eq(decoded.version, 77);
    ck_assert_uint_eq(decoded.id.low, 8);
    ck_assert_uint_eq(decoded.id.high, 9);
    for (size_t cut = 0; cut < adoption_size; cut++)
        ck_assert_int_eq(adoption_decode(bytes_of(encoded, cut), &decoded), STATUS_MALFORMED);
    ck_assert_int_eq(adoption_decode(bytes_of(encoded, sizeof encoded), &decoded),
                     STATUS_MALFORMED);
    static const struct {
        size_t offset;
        uint8_t value;
        enum status status;
    } spoils[] = {
        {0, 2, STATUS_UNSUPPORTED}, {1, 1, STATUS_MALFORMED}, {2, 1, STATUS_MALFORMED},
        {4, 0, STATUS_MALFORMED},   {8, 0, STATUS_MALFORMED}, {16, 0, STATUS_MALFORMED},
    };
    for (size_t i = 0; i < sizeof spoils / sizeof spoils[0]; i++) {
        adoption_encode(&adoption, encoded);
        encoded[spoils[i].offset] = spoils[i].value;
        ck_assert_int_eq(adoption_decode(bytes_of(encoded, adoption_size), &decoded),
                         spoils[i].status);
    }
}
END_TEST

START_TEST(test_rewinds_that_make_no_sense_are_malformed)
{
    /* Reserved bytes, regions and numbers of 0, an epoch that is not above, and no version. */
    static const struct {
        size_t offset;
        uint8_t value;
    } changes[] = {{1, 1},  {2, 1}, {3, 1},  {28, 1}, {31, 1}, {4, 0},
                   {24, 0}, {8, 0}, {16, 0}, {8, 2},  {32, 0}, {16, 6}};
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        const struct rewind rewind = {
            .to = {.number = 5, .region = 2}, .from = {.number = 3, .region = 9}, .version = 7};
        uint8_t encoded[rewind_size];
        struct rewind decoded;
        rewind_encode(&rewind, encoded);
        encoded[changes[i].offset] = changes[i].value;
        ck_assert_msg(rewind_decode(bytes_of(encoded, sizeof encoded), &decoded) ==
                          STATUS_MALFORMED,
                      "change %zu", i);
    }
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_epochs_are_ordered);
    tcase_add_test(tests, test_a_change_is_read_as_it_was_written);
    tcase_add_test(tests, test_a_change_that_is_cut_or_longer_is_malformed);
    tcase_add_test(tests, test_changes_that_make_no_sense_are_malformed);
    tcase_add_test(tests, test_a_promotion_may_stay_where_it_is_and_a_grant_may_not);
    tcase_add_test(tests, test_a_fence_is_read_as_it_was_written);
    tcase_add_test(tests, test_fences_that_make_no_sense_are_malformed);
    tcase_add_test(tests, test_a_rewind_is_read_as_it_was_written);
    tcase_add_test(tests, test_an_adoption_is_read_as_it_was_written);
    tcase_add_test(tests, test_rewinds_that_make_no_sense_are_malformed);
}
