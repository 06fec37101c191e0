/* SPDX-License-Identifier: Apache-2.0 */
/* The cache alone, on the simulated disk: blocks of a file whose bytes are known, with a trivial
 * coding: a block's bytes are its number repeated, or it is corrupt. */
#include "storage/lsm/cache.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/generator.h"
#include "storage/io/blocking.h"
#include "tests/sim/disk.h"
#include "tests/unit/unit.h"

enum { block_size = 4096, blocks_count = 5000, block_header_size = 200 };

struct fixture {
    struct sim_disk *disk;
    struct io *io;
    struct cache *cache;
    struct cache_source sources[2];
    unsigned closed_count;
    unsigned decoded_count;
};

static struct fixture fixture;

static enum status decode(struct cache_source *source, const struct cache_place *place,
                          uint8_t *sealed, uint8_t **block, size_t *size)
{
    (void)source;
    *block = NULL;
    *size = 0;
    fixture.decoded_count++;
    for (size_t i = 0; i < place->size; i += 8)
        if (load_u64(sealed + i) != place->number)
            return STATUS_CORRUPT;
    *block = malloc(place->size);
    memcpy(*block, sealed, place->size);
    *size = place->size;
    return STATUS_OK;
}

static void closed(struct cache_source *source)
{
    (void)source;
    fixture.closed_count++;
}

static struct cache_place place_of(uint64_t number)
{
    return (struct cache_place){
        .number = number, .offset = number * block_size, .size = block_size, .type = 1};
}

static void setup(unsigned cached_percent)
{
    memset(&fixture, 0, sizeof fixture);
    fixture.disk = sim_disk_create(1);
    fixture.io = sim_disk_io(fixture.disk);
    ck_assert_int_eq(cache_create(fixture.io, 0, &fixture.cache), STATUS_OK);
    uint8_t *contents = malloc((size_t)blocks_count * block_size);
    for (size_t i = 0; i < (size_t)blocks_count * block_size; i += 8)
        store_u64(contents + i, i / block_size);
    for (int i = 0; i < 2; i++) {
        struct cache_source *source = &fixture.sources[i];
        const char *path = i == 0 ? "a" : "b";
        ck_assert_int_eq(
            io_open_wait(fixture.io, path, IO_READ | IO_WRITE | IO_CREATE, &source->file),
            STATUS_OK);
        ck_assert_int_eq(
            io_write_wait(fixture.io, source->file, contents, (size_t)blocks_count * block_size, 0),
            STATUS_OK);
        source->number = (uint64_t)i + 1;
        source->path = i == 0 ? "file a" : "file b";
        source->decode = decode;
        source->closed = closed;
        cache_source_open(fixture.cache, source);
    }
    free(contents);
    sim_disk_cached_percent(fixture.disk, cached_percent);
}

static void teardown(void)
{
    for (int i = 0; i < 2; i++)
        if (!fixture.sources[i].closing)
            cache_source_close(&fixture.sources[i]);
    cache_free(fixture.cache);
    ck_assert_uint_eq(fixture.closed_count, 2);
    ck_assert_uint_eq(sim_disk_open_count(fixture.disk), 0);
    sim_disk_destroy(fixture.disk);
}

static void count_up(struct lsm_wait *wait)
{
    (*(unsigned *)wait->context)++;
}

static enum status get(int source, uint64_t number, struct lsm_wait *wait,
                       struct cache_block **block)
{
    struct cache_place place = place_of(number);
    enum status status = cache_get(&fixture.sources[source], &place, wait, block);
    ck_assert((status == STATUS_OK) == (*block != NULL));
    if (status == STATUS_OK) {
        struct bytes bytes = cache_block_bytes(*block);
        ck_assert_uint_eq(bytes.size, block_size);
        ck_assert_uint_eq(load_u64(bytes.data), number);
    }
    return status;
}

/* A block that is in the page cache, or is here already, is given at once. */
START_TEST(test_inline_and_hit)
{
    setup(100);
    struct cache_block *block;
    ck_assert_int_eq(get(0, 7, NULL, &block), STATUS_OK);
    struct cache_block *again;
    ck_assert_int_eq(get(0, 7, NULL, &again), STATUS_OK);
    ck_assert_ptr_eq(block, again);
    ck_assert_uint_eq(cache_statistics(fixture.cache).pinned_count, 1);
    cache_unpin(block);
    cache_unpin(again);
    ck_assert_uint_eq(cache_statistics(fixture.cache).pinned_count, 0);
    ck_assert_int_eq(get(1, 7, NULL, &block), STATUS_OK);
    cache_unpin(block);
    ck_assert_uint_eq(fixture.decoded_count, 2);
    ck_assert_uint_eq(cache_statistics(fixture.cache).hits_count, 1);
    teardown();
}
END_TEST

/* Several waits on one block share its read, a wait on several blocks is told once, after all. */
START_TEST(test_waits)
{
    setup(0);
    unsigned told[2] = {0};
    struct lsm_wait waits[2];
    for (int i = 0; i < 2; i++)
        lsm_wait_init(&waits[i], count_up, &told[i]);
    struct cache_block *block;
    for (uint64_t number = 1; number <= 3; number++)
        ck_assert_int_eq(get(0, number, &waits[0], &block), STATUS_AGAIN);
    ck_assert_int_eq(get(0, 2, &waits[0], &block), STATUS_AGAIN);
    ck_assert_int_eq(get(0, 2, &waits[1], &block), STATUS_AGAIN);
    ck_assert_uint_eq(waits[0].pending_count, 3);
    ck_assert_uint_eq(waits[1].pending_count, 1);
    ck_assert_uint_eq(cache_statistics(fixture.cache).reads_count, 3);
    while (cache_statistics(fixture.cache).reads_count != 0) {
        ck_assert_uint_eq(told[0], 0);
        io_turn(fixture.io, true);
    }
    ck_assert_uint_eq(told[0], 1);
    ck_assert_uint_eq(told[1], 1);
    ck_assert_uint_eq(fixture.decoded_count, 3);
    for (uint64_t number = 1; number <= 3; number++) {
        ck_assert_int_eq(get(0, number, &waits[0], &block), STATUS_OK);
        cache_unpin(block);
    }
    teardown();
}
END_TEST

struct canceller {
    struct lsm_wait wait;
    struct lsm_wait *other;
    unsigned told;
};

static void cancel_other(struct lsm_wait *wait)
{
    struct canceller *canceller = wait->context;
    canceller->told++;
    lsm_wait_cancel(canceller->other);
}

/* A cancelled wait is not told: neither before the read ends, nor by one told just before it. */
START_TEST(test_cancel)
{
    setup(0);
    struct canceller cancellers[2];
    for (int i = 0; i < 2; i++) {
        lsm_wait_init(&cancellers[i].wait, cancel_other, &cancellers[i]);
        cancellers[i].other = &cancellers[1 - i].wait;
        cancellers[i].told = 0;
    }
    struct cache_block *block;
    ck_assert_int_eq(get(0, 1, &cancellers[0].wait, &block), STATUS_AGAIN);
    ck_assert_int_eq(get(0, 1, &cancellers[1].wait, &block), STATUS_AGAIN);
    unsigned told = 0;
    struct lsm_wait early;
    lsm_wait_init(&early, count_up, &told);
    ck_assert_int_eq(get(0, 1, &early, &block), STATUS_AGAIN);
    ck_assert_int_eq(get(0, 2, &early, &block), STATUS_AGAIN);
    lsm_wait_cancel(&early);
    ck_assert_uint_eq(early.pending_count, 0);
    while (cache_statistics(fixture.cache).reads_count != 0)
        io_turn(fixture.io, true);
    ck_assert_uint_eq(told, 0);
    ck_assert_uint_eq(cancellers[0].told + cancellers[1].told, 1);
    teardown();
}
END_TEST

/* A failed read, and a corrupt block, are reported to each waiter, and then forgotten. */
START_TEST(test_failures_are_told_and_forgotten)
{
    setup(0);
    unsigned told = 0;
    struct lsm_wait waits[2];
    for (int i = 0; i < 2; i++)
        lsm_wait_init(&waits[i], count_up, &told);
    struct cache_block *block;
    for (int round = 0; round < 2; round++) {
        uint64_t number = 10 + (uint64_t)round;
        enum status expected = round == 0 ? STATUS_IO_ERROR : STATUS_CORRUPT;
        if (round == 0)
            sim_disk_fault(fixture.disk, &(struct sim_fault){.effect = SIM_FAIL,
                                                             .kind = IO_KIND_READ,
                                                             .status = STATUS_IO_ERROR,
                                                             .error_number = 5});
        else
            sim_disk_flip_bit(fixture.disk, "a", number * block_size + 9, 0);
        for (int i = 0; i < 2; i++)
            ck_assert_int_eq(get(0, number, &waits[i], &block), STATUS_AGAIN);
        while (waits[0].pending_count + waits[1].pending_count != 0)
            io_turn(fixture.io, true);
        for (int i = 0; i < 2; i++)
            ck_assert_int_eq(get(0, number, &waits[i], &block), expected);
        /* A block that does not hold is named. */
        const char *path;
        uint64_t offset;
        ck_assert_int_eq(cache_damage(fixture.cache, &path, &offset), round == 1);
        if (round == 1) {
            ck_assert_str_eq(path, "file a");
            ck_assert_uint_eq(offset, number * block_size);
        }
        if (round == 1)
            sim_disk_flip_bit(fixture.disk, "a", number * block_size + 9, 0);
        ck_assert_int_eq(get(0, number, &waits[0], &block), STATUS_AGAIN);
        while (waits[0].pending_count != 0)
            io_turn(fixture.io, true);
        ck_assert_int_eq(get(0, number, &waits[0], &block), STATUS_OK);
        cache_unpin(block);
    }
    /* Nobody waits: forgotten at once. Past the file's end: corrupt. */
    sim_disk_fault(fixture.disk, &(struct sim_fault){.effect = SIM_FAIL,
                                                     .kind = IO_KIND_READ,
                                                     .status = STATUS_IO_ERROR,
                                                     .error_number = 5});
    ck_assert_int_eq(get(0, 20, NULL, &block), STATUS_AGAIN);
    while (cache_statistics(fixture.cache).reads_count != 0)
        io_turn(fixture.io, true);
    ck_assert_int_eq(get(0, 20, NULL, &block), STATUS_AGAIN);
    ck_assert_int_eq(get(0, blocks_count, &waits[0], &block), STATUS_AGAIN);
    while (cache_statistics(fixture.cache).reads_count != 0)
        io_turn(fixture.io, true);
    ck_assert_int_eq(get(0, blocks_count, &waits[0], &block), STATUS_CORRUPT);
    teardown();
}
END_TEST

/* Random use stays within the bound and gives right bytes; what is pinned stays. */
START_TEST(test_bound)
{
    setup(70);
    struct generator generator;
    generator_init(&generator, 3);
    enum { held_max = 300 };
    static struct cache_block *held[held_max];
    unsigned held_count = 0;
    unsigned told = 0;
    struct lsm_wait wait;
    lsm_wait_init(&wait, count_up, &told);
    for (int i = 0; i < 20000; i++) {
        struct cache_block *block;
        enum status status = get((int)generator_below(&generator, 2),
                                 generator_below(&generator, blocks_count), &wait, &block);
        if (status == STATUS_AGAIN) {
            if (generator_chance(&generator, 1, 50))
                while (wait.pending_count != 0)
                    io_turn(fixture.io, true);
        } else {
            ck_assert_int_eq(status, STATUS_OK);
            if (held_count < held_max) {
                held[held_count++] = block;
            } else {
                unsigned chosen = (unsigned)generator_below(&generator, held_max);
                cache_unpin(held[chosen]);
                held[chosen] = block;
            }
        }
        struct cache_statistics statistics = cache_statistics(fixture.cache);
        ck_assert_uint_le(statistics.size, statistics.size_max);
    }
    ck_assert_uint_gt(cache_statistics(fixture.cache).size, cache_size_min * 3 / 4);
    while (wait.pending_count != 0)
        io_turn(fixture.io, true);
    while (held_count != 0)
        cache_unpin(held[--held_count]);
    teardown();
}
END_TEST

/* Where all of it is pinned, the answer is NO_MEMORY, until something is unpinned. */
START_TEST(test_all_pinned)
{
    setup(100);
    static struct cache_block *held[blocks_count];
    unsigned held_count = 0;
    enum status status;
    while ((status = get(0, held_count, NULL, &held[held_count])) == STATUS_OK)
        held_count++;
    ck_assert_int_eq(status, STATUS_NO_MEMORY);
    ck_assert_uint_gt(held_count, cache_size_min / (block_size + block_header_size) - 2);
    sim_disk_cached_percent(fixture.disk, 0);
    struct cache_block *block;
    ck_assert_int_eq(get(0, held_count, NULL, &block), STATUS_NO_MEMORY);
    sim_disk_cached_percent(fixture.disk, 100);
    cache_unpin(held[0]);
    ck_assert_int_eq(get(0, held_count, NULL, &held[0]), STATUS_OK);
    while (held_count != 0)
        cache_unpin(held[--held_count]);
    teardown();
}
END_TEST

/* A scan of more than fits leaves what was used twice. */
START_TEST(test_scan_leaves_the_hot)
{
    setup(100);
    struct cache_block *block;
    for (int round = 0; round < 2; round++)
        for (uint64_t number = 0; number < 500; number++) {
            ck_assert_int_eq(get(0, number, NULL, &block), STATUS_OK);
            cache_unpin(block);
        }
    for (uint64_t number = 0; number < blocks_count; number++) {
        ck_assert_int_eq(get(1, number, NULL, &block), STATUS_OK);
        cache_unpin(block);
    }
    unsigned decoded_count = fixture.decoded_count;
    for (uint64_t number = 0; number < 500; number++) {
        ck_assert_int_eq(get(0, number, NULL, &block), STATUS_OK);
        cache_unpin(block);
    }
    ck_assert_uint_eq(fixture.decoded_count, decoded_count);
    teardown();
}
END_TEST

/* A source is closed while many of its blocks are being read, most of them queued: its waiters are
 * told, and its file is closed after the last. */
START_TEST(test_close_under_reads)
{
    setup(0);
    unsigned told = 0;
    struct lsm_wait wait;
    lsm_wait_init(&wait, count_up, &told);
    struct cache_block *block;
    for (uint64_t number = 0; number < 3 * cache_reads_max; number++)
        ck_assert_int_eq(get(0, number, &wait, &block), STATUS_AGAIN);
    ck_assert_int_eq(get(1, 0, NULL, &block), STATUS_AGAIN);
    cache_source_close(&fixture.sources[0]);
    ck_assert_uint_eq(fixture.closed_count, 0);
    while (fixture.closed_count == 0)
        io_turn(fixture.io, true);
    ck_assert_uint_eq(told, 1);
    ck_assert_uint_eq(wait.pending_count, 0);
    teardown();
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_inline_and_hit);
    tcase_add_test(tests, test_waits);
    tcase_add_test(tests, test_cancel);
    tcase_add_test(tests, test_failures_are_told_and_forgotten);
    tcase_add_test(tests, test_bound);
    tcase_add_test(tests, test_all_pinned);
    tcase_add_test(tests, test_scan_leaves_the_hot);
    tcase_add_test(tests, test_close_under_reads);
}
