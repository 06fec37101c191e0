/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/stream.h"

#include "tests/unit/unit.h"

static const struct stream_position start = {.epoch = {.number = 3, .region = 1}, .version = 100};

static struct entry entry_of(enum entry_kind kind, uint64_t number, uint32_t region,
                             uint64_t version)
{
    return (struct entry){
        .kind = kind, .epoch_number = number, .epoch_region = region, .version = version};
}

static bool takes(const struct epoch_end *end, struct entry entry)
{
    struct stream_position position = start;
    bool taken = stream_takes(&position, end, &entry);
    ck_assert_uint_eq(position.version, start.version + taken);
    return taken;
}

/* A change to `number` of `region`, stamped with the epoch `header`, as version `at` + 1. */
static bool takes_change(const struct epoch_end *end, enum epoch_change_kind kind,
                         struct epoch from, struct epoch to, struct epoch header, uint64_t at)
{
    uint8_t body[epoch_change_header_size];
    const struct epoch_change change = {.kind = kind, .from = from, .to = to, .version = at};
    struct entry entry = entry_of(ENTRY_EPOCH, header.number, header.region, at + 1);
    struct stream_position position = start;
    epoch_change_encode(&change, body);
    entry.body = bytes_of(body, sizeof body);
    if (!stream_takes(&position, end, &entry)) {
        ck_assert(epoch_equal(position.epoch, start.epoch) && position.version == start.version);
        return false;
    }
    ck_assert(epoch_equal(position.epoch, to));
    ck_assert_uint_eq(position.version, at + 1);
    return true;
}

START_TEST(test_the_successor_and_nothing_else)
{
    const enum entry_kind kinds[] = {ENTRY_COMMIT, ENTRY_TICK, ENTRY_REGIONS};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        ck_assert(takes(NULL, entry_of(kinds[i], 3, 1, 101)));
        ck_assert(!takes(NULL, entry_of(kinds[i], 3, 1, 100)));
        ck_assert(!takes(NULL, entry_of(kinds[i], 3, 1, 102)));
        ck_assert(!takes(NULL, entry_of(kinds[i], 3, 2, 101)));
        ck_assert(!takes(NULL, entry_of(kinds[i], 2, 1, 101)));
        ck_assert(!takes(NULL, entry_of(kinds[i], 4, 1, 101)));
    }
    ck_assert(!takes(NULL, entry_of(ENTRY_NOOP, 3, 1, 101)));
    ck_assert(!takes(NULL, entry_of(ENTRY_FENCE, 3, 1, 101)));
    ck_assert(!takes(NULL, entry_of(ENTRY_MEMBERSHIP, 3, 1, 101)));
}
END_TEST

START_TEST(test_the_first_entry_brings_its_epoch)
{
    struct stream_position position = {0};
    struct entry entry = entry_of(ENTRY_TICK, 4, 9, 2);
    ck_assert(!stream_takes(&position, NULL, &entry));
    entry = entry_of(ENTRY_TICK, 0, 9, 1);
    ck_assert(!stream_takes(&position, NULL, &entry));
    entry = entry_of(ENTRY_EPOCH, 4, 9, 1);
    ck_assert(!stream_takes(&position, NULL, &entry));
    ck_assert_uint_eq(position.epoch.number, 0);
    entry = entry_of(ENTRY_TICK, 4, 9, 1);
    ck_assert(stream_takes(&position, NULL, &entry));
    ck_assert_uint_eq(position.epoch.number, 4);
    ck_assert_uint_eq(position.epoch.region, 9);
    ck_assert_uint_eq(position.version, 1);
    ck_assert(!stream_takes(&position, NULL, &entry));
    /* Only the very first: from there on an epoch follows another by an entry of its own. */
    entry = entry_of(ENTRY_TICK, 5, 9, 2);
    ck_assert(!stream_takes(&position, NULL, &entry));
}
END_TEST

START_TEST(test_changes_of_the_epoch)
{
    const struct epoch from = start.epoch;
    const struct epoch to = {.number = 5, .region = 2};
    const struct epoch other = {.number = 2, .region = 2};
    ck_assert(takes_change(NULL, EPOCH_GRANT, from, to, from, 100));
    ck_assert(!takes_change(NULL, EPOCH_GRANT, from, to, to, 100));
    ck_assert(takes_change(NULL, EPOCH_PROMOTE, from, to, to, 100));
    ck_assert(!takes_change(NULL, EPOCH_PROMOTE, from, to, from, 100));
    ck_assert(!takes_change(NULL, EPOCH_PROMOTE, other, to, to, 100));
    ck_assert(!takes_change(NULL, EPOCH_PROMOTE, from, to, to, 99));
    ck_assert(!takes_change(NULL, EPOCH_PROMOTE, from, to, to, 101));
    /* No body at all. */
    ck_assert(!takes(NULL, entry_of(ENTRY_EPOCH, 3, 1, 101)));
}
END_TEST

START_TEST(test_a_log_that_is_longer_than_the_history)
{
    const struct epoch to = {.number = 5, .region = 2};
    const struct epoch other = {.number = 7, .region = 3};
    const struct epoch_end ended = {.epoch = start.epoch, .version = 100, .next = to};
    const struct epoch_end later = {.epoch = start.epoch, .version = 101, .next = to};
    /* What the old primary still proposed is in its log, and was given up. */
    ck_assert(!takes(&ended, entry_of(ENTRY_COMMIT, 3, 1, 101)));
    ck_assert(takes(&later, entry_of(ENTRY_COMMIT, 3, 1, 101)));
    ck_assert(takes_change(&ended, EPOCH_PROMOTE, start.epoch, to, to, 100));
    ck_assert(!takes_change(&later, EPOCH_PROMOTE, start.epoch, to, to, 100));
    ck_assert(!takes_change(&ended, EPOCH_PROMOTE, start.epoch, other, other, 100));
    ck_assert(!takes_change(&ended, EPOCH_GRANT, start.epoch, other, start.epoch, 100));
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_the_successor_and_nothing_else);
    tcase_add_test(tests, test_the_first_entry_brings_its_epoch);
    tcase_add_test(tests, test_changes_of_the_epoch);
    tcase_add_test(tests, test_a_log_that_is_longer_than_the_history);
}
