/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/region/batch.h"

#include <stdlib.h>

#include "proto/base/generator.h"
#include "proto/epoch.h"
#include "tests/unit/unit.h"

static uint8_t space[batch_entry_size_max];

static struct bytes encoded(enum entry_kind kind, struct epoch epoch, uint64_t version, size_t size)
{
    static uint8_t body[limit_txn_size];
    const struct entry entry = {.kind = kind,
                                .epoch_number = epoch.number,
                                .epoch_region = epoch.region,
                                .version = version,
                                .identity = bytes_of_text("app"),
                                .body = bytes_of(body, size)};
    memset(body, (int)(version % 251), size);
    entry_encode(&entry, space);
    return bytes_of(space, entry_size(&entry));
}

static const struct epoch first = {.number = 1, .region = 1};
static const struct epoch second = {.number = 2, .region = 2};

static struct bytes compressed(const struct batch *batch)
{
    size_t size = batch_block_size_max(batch->size);
    uint8_t *block = malloc(size);
    ck_assert_ptr_nonnull(block);
    return bytes_of(block, batch_compress(batch, block, size));
}

static void free_bytes(struct bytes bytes)
{
    free((void *)(uintptr_t)bytes.data);
}

START_TEST(test_round_trip)
{
    struct batch batch;
    struct batch_successor successor;
    const struct region_position position = {.epoch = first, .version = 6};
    struct bytes bytes;
    struct entry entry;
    uint8_t *raw;

    ck_assert_int_eq(batch_init(&batch), STATUS_OK);
    for (uint64_t version = 7; version < 100; version++)
        ck_assert(batch_add(&batch, encoded(ENTRY_COMMIT, first, version, version * 10), 1 << 20));
    struct bytes block = compressed(&batch);
    ck_assert_uint_lt(block.size, batch.size / 4);
    ck_assert_int_eq(batch_open(block, batch.size, &raw), STATUS_OK);
    struct bytes rest = bytes_of(raw, batch.size);
    batch_successor_init(&successor, &position);
    for (uint64_t version = 7; version < 100; version++) {
        ck_assert_int_eq(batch_next(&rest, &bytes, &entry), STATUS_OK);
        ck_assert_uint_eq(entry.version, version);
        ck_assert_uint_eq(entry.body.size, version * 10);
        ck_assert(bytes_equal(bytes, encoded(ENTRY_COMMIT, first, version, version * 10)));
        ck_assert_int_eq(batch_successor_take(&successor, &entry), STATUS_OK);
    }
    ck_assert_int_eq(batch_next(&rest, &bytes, &entry), STATUS_END);
    free(raw);
    free_bytes(block);
    batch_free(&batch);
}
END_TEST

START_TEST(test_bounds)
{
    struct batch batch;
    uint8_t *raw;
    ck_assert_int_eq(batch_init(&batch), STATUS_OK);
    /* One is taken whatever was asked for; a second one must fit. */
    ck_assert(batch_add(&batch, encoded(ENTRY_COMMIT, first, 1, limit_txn_size), 100));
    ck_assert(!batch_add(&batch, encoded(ENTRY_COMMIT, first, 2, 100), 2 * batch_size_max));
    ck_assert_uint_eq(batch.count, 1);
    ck_assert_uint_le(batch.size, batch_size_max);
    struct bytes block = compressed(&batch);
    ck_assert_int_eq(batch_open(block, batch.size, &raw), STATUS_OK);
    free(raw);
    /* The size is what it says, or nothing is allocated. */
    ck_assert_int_eq(batch_open(block, batch.size - 1, &raw), STATUS_MALFORMED);
    ck_assert_int_eq(batch_open(block, batch.size + 1, &raw), STATUS_MALFORMED);
    ck_assert_int_eq(batch_open(block, batch_size_max + 1, &raw), STATUS_TOO_LARGE);
    ck_assert_int_eq(batch_open(block, SIZE_MAX, &raw), STATUS_TOO_LARGE);
    ck_assert_int_eq(batch_open(block, 0, &raw), STATUS_MALFORMED);
    ck_assert_int_eq(batch_open((struct bytes){0}, 100, &raw), STATUS_MALFORMED);
    ck_assert_int_eq(batch_open(bytes_of(block.data, 10), batch.size, &raw), STATUS_MALFORMED);
    ck_assert_int_eq(batch_open(bytes_of(block.data, block.size - 1), batch.size, &raw),
                     STATUS_MALFORMED);
    ck_assert_ptr_null(raw);
    free_bytes(block);
    batch_clear(&batch);
    ck_assert(batch_add(&batch, encoded(ENTRY_COMMIT, first, 1, 100), 300));
    ck_assert(batch_add(&batch, encoded(ENTRY_COMMIT, first, 2, 100), 300));
    ck_assert(!batch_add(&batch, encoded(ENTRY_COMMIT, first, 3, 100), 300));
    batch_free(&batch);
}
END_TEST

START_TEST(test_entries_that_are_none)
{
    struct bytes bytes;
    struct entry entry;
    uint8_t raw[200] = {0};

    struct bytes rest = bytes_of(raw, 3);
    ck_assert_int_eq(batch_next(&rest, &bytes, &entry), STATUS_MALFORMED);
    store_u32(raw, 100);
    rest = bytes_of(raw, 103);
    ck_assert_int_eq(batch_next(&rest, &bytes, &entry), STATUS_MALFORMED);
    store_u32(raw, UINT32_MAX);
    rest = bytes_of(raw, sizeof raw);
    ck_assert_int_eq(batch_next(&rest, &bytes, &entry), STATUS_MALFORMED);
    /* Of a regional kind. */
    struct bytes noop = encoded(ENTRY_NOOP, first, 0, 0);
    store_u32(raw, (uint32_t)noop.size);
    bytes_copy(raw + 4, noop);
    rest = bytes_of(raw, 4 + noop.size);
    ck_assert_int_eq(batch_next(&rest, &bytes, &entry), STATUS_MALFORMED);
}
END_TEST

static enum status take(struct batch_successor *successor, enum entry_kind kind, struct epoch epoch,
                        uint64_t version)
{
    const struct entry entry = {.kind = kind,
                                .epoch_number = epoch.number,
                                .epoch_region = epoch.region,
                                .version = version};
    return batch_successor_take(successor, &entry);
}

START_TEST(test_successors)
{
    struct batch_successor successor;
    const struct region_position position = {.epoch = first, .version = 10};

    batch_successor_init(&successor, &position);
    ck_assert_int_eq(take(&successor, ENTRY_COMMIT, first, 10), STATUS_MALFORMED);
    ck_assert_int_eq(take(&successor, ENTRY_COMMIT, first, 12), STATUS_MALFORMED);
    ck_assert_int_eq(take(&successor, ENTRY_COMMIT, second, 11), STATUS_MALFORMED);
    ck_assert_int_eq(take(&successor, ENTRY_NOOP, first, 11), STATUS_MALFORMED);
    ck_assert_int_eq(take(&successor, ENTRY_COMMIT, first, 11), STATUS_OK);
    /* A promotion. */
    ck_assert_int_eq(take(&successor, ENTRY_EPOCH, second, 12), STATUS_OK);
    ck_assert_int_eq(take(&successor, ENTRY_COMMIT, first, 13), STATUS_MALFORMED);
    ck_assert_int_eq(take(&successor, ENTRY_COMMIT, second, 13), STATUS_OK);
    /* A grant: its own header is of the epoch that it ends. */
    const struct epoch third = {.number = 3, .region = 1};
    ck_assert_int_eq(take(&successor, ENTRY_COMMIT, third, 14), STATUS_MALFORMED);
    ck_assert_int_eq(take(&successor, ENTRY_EPOCH, second, 14), STATUS_OK);
    ck_assert_int_eq(take(&successor, ENTRY_COMMIT, third, 15), STATUS_OK);
    ck_assert_int_eq(take(&successor, ENTRY_COMMIT, second, 16), STATUS_MALFORMED);
}
END_TEST

/* Bytes that were changed on their way are refused, or are some other batch: nothing else. */
START_TEST(test_damage)
{
    struct generator generator;
    struct batch batch;
    generator_init(&generator, 7);
    ck_assert_int_eq(batch_init(&batch), STATUS_OK);
    for (uint64_t version = 1; version < 50; version++)
        ck_assert(batch_add(&batch, encoded(ENTRY_COMMIT, first, version, 100), 1 << 20));
    struct bytes block = compressed(&batch);
    uint8_t *damaged = malloc(block.size);
    ck_assert_ptr_nonnull(damaged);
    for (unsigned i = 0; i < 3000; i++) {
        uint8_t *raw;
        bytes_copy(damaged, block);
        for (uint64_t n = 1 + generator_below(&generator, 4); n > 0; n--)
            damaged[generator_below(&generator, block.size)] = (uint8_t)generator_draw(&generator);
        size_t size = 1 + generator_below(&generator, block.size);
        if (batch_open(bytes_of(damaged, i % 2 == 0 ? block.size : size), batch.size, &raw) !=
            STATUS_OK)
            continue;
        struct bytes rest = bytes_of(raw, batch.size);
        struct bytes bytes;
        struct entry entry;
        while (batch_next(&rest, &bytes, &entry) == STATUS_OK)
            ck_assert(bytes.data >= raw && bytes.data + bytes.size <= raw + batch.size);
        free(raw);
    }
    free(damaged);
    free_bytes(block);
    batch_free(&batch);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_round_trip);
    tcase_add_test(tests, test_bounds);
    tcase_add_test(tests, test_entries_that_are_none);
    tcase_add_test(tests, test_successors);
    tcase_add_test(tests, test_damage);
}
