/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/wal/queue.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/generator.h"
#include "tests/unit/unit.h"

enum { ring_size = 256 * 1024, batch_size_max = 128 * 1024 };

static struct wal_queue *queue_make(void)
{
    struct wal_queue *queue = malloc(sizeof *queue);
    ck_assert_ptr_nonnull(queue);
    ck_assert_int_eq(wal_queue_init(queue, ring_size, batch_size_max), STATUS_OK);
    return queue;
}

static void queue_end(struct wal_queue *queue)
{
    wal_queue_free(queue);
    free(queue);
}

static uint8_t *filled(size_t size, uint8_t with)
{
    uint8_t *bytes = malloc(size + 1);
    ck_assert_ptr_nonnull(bytes);
    memset(bytes, with, size);
    return bytes;
}

static struct wal_entry entry_of(uint64_t index, uint64_t term, const uint8_t *bytes, size_t size)
{
    return (struct wal_entry){.index = index, .term = term, .bytes = bytes_of(bytes, size)};
}

/* What gathers while a batch is closed goes into the next one; runs tell what each holds. */
START_TEST(test_batches)
{
    struct wal_queue *queue = queue_make();
    uint8_t *bytes = filled(100, 1);
    ck_assert_ptr_null(wal_queue_first(queue));
    for (uint64_t index = 1; index <= 10; index++) {
        struct wal_entry entry = entry_of(index, index < 8 ? 1 : 2, bytes, 100);
        ck_assert_int_eq(wal_queue_append(queue, &entry, 1), STATUS_OK);
    }
    struct wal_batch *first = wal_queue_first(queue);
    ck_assert_uint_eq(queue->count, 1);
    ck_assert_uint_eq(first->records_count, 10);
    ck_assert_uint_eq(first->runs_count, 2);
    ck_assert_uint_eq(first->runs[0].count, 7);
    ck_assert_uint_eq(first->runs[1].index, 8);
    ck_assert_uint_eq(first->durable, 10);
    ck_assert_uint_eq(first->last.term, 2);
    first->closed = true;
    struct wal_entry entry = entry_of(11, 2, bytes, 100);
    ck_assert_int_eq(wal_queue_append(queue, &entry, 1), STATUS_OK);
    ck_assert_uint_eq(queue->count, 2);
    ck_assert_uint_eq(first->records_count, 10);
    wal_queue_remove_first(queue);
    ck_assert_uint_eq(wal_queue_first(queue)->index_max, 11);
    ck_assert_uint_eq(queue->body_size, wal_record_size(100));
    free(bytes);
    queue_end(queue);
}
END_TEST

/* A batch carries few runs: more of them go into the next batch. */
START_TEST(test_runs_are_bounded)
{
    struct wal_queue *queue = queue_make();
    for (uint64_t index = 1; index <= 20; index++) {
        struct wal_entry entry = entry_of(index, index, NULL, 0);
        ck_assert_int_eq(wal_queue_append(queue, &entry, 1), STATUS_OK);
    }
    ck_assert_uint_eq(queue->count, 4);
    ck_assert_uint_eq(wal_queue_first(queue)->runs_count, wal_batch_runs_max);
    queue_end(queue);
}
END_TEST

/* Superseding and truncating lower what earlier batches announce, and only them. */
START_TEST(test_supersede)
{
    struct wal_queue *queue = queue_make();
    struct wal_entry entries[5];
    for (uint64_t i = 0; i < 5; i++)
        entries[i] = entry_of(i + 1, 1, NULL, 0);
    ck_assert_int_eq(wal_queue_append(queue, entries, 5), STATUS_OK);
    struct wal_batch *first = wal_queue_first(queue);
    first->closed = true;
    struct wal_entry again = entry_of(4, 2, NULL, 0);
    ck_assert_int_eq(wal_queue_append(queue, &again, 1), STATUS_OK);
    ck_assert_uint_eq(first->durable, 3);
    ck_assert_uint_eq(queue->batches[1].durable, 4);
    /* Within one batch the later record wins. */
    again = entry_of(3, 3, NULL, 0);
    ck_assert_int_eq(wal_queue_append(queue, &again, 1), STATUS_OK);
    ck_assert_uint_eq(queue->batches[1].durable, 3);
    ck_assert_uint_eq(first->durable, 2);
    queue->batches[1].closed = true;
    struct wal_mark last = {.index = 1, .term = 1};
    ck_assert_int_eq(wal_queue_truncate(queue, 2, last), STATUS_OK);
    ck_assert_uint_eq(first->durable, 1);
    ck_assert_uint_eq(queue->batches[1].durable, 1);
    ck_assert_uint_eq(queue->batches[2].durable, 1);
    ck_assert_uint_eq(queue->batches[2].last.term, 1);
    queue_end(queue);
}
END_TEST

/* Without room none of a call's entries is taken, and what was there is as before. */
START_TEST(test_all_or_none)
{
    struct wal_queue *queue = queue_make();
    uint8_t *bytes = filled(60000, 7);
    struct wal_entry entries[10];
    for (uint64_t i = 0; i < 10; i++)
        entries[i] = entry_of(i + 1, 1, bytes, 60000);
    ck_assert_int_eq(wal_queue_append(queue, entries, 1), STATUS_OK);
    struct wal_batch before = *wal_queue_first(queue);
    ck_assert_int_eq(wal_queue_append(queue, entries + 1, 9), STATUS_BUSY);
    ck_assert_uint_eq(queue->count, 1);
    ck_assert_mem_eq(wal_queue_first(queue), &before, sizeof before);
    ck_assert_uint_eq(queue->body_size, wal_record_size(60000));
    ck_assert_int_eq(wal_queue_append(queue, entries + 1, 2), STATUS_OK);
    free(bytes);
    queue_end(queue);
}
END_TEST

/* The largest entry fits once the queue is empty, wherever it was before. */
START_TEST(test_largest_entry)
{
    struct wal_queue *queue = queue_make();
    size_t size = wal_queue_entry_size_max(queue);
    uint8_t *bytes = filled(size, 9);
    for (uint64_t index = 1; index < 20; index += 2) {
        struct wal_entry small = entry_of(index, 1, bytes, 5000);
        struct wal_entry large = entry_of(index + 1, 1, bytes, size);
        ck_assert_int_eq(wal_queue_append(queue, &small, 1), STATUS_OK);
        enum status status = wal_queue_append(queue, &large, 1);
        if (status == STATUS_BUSY) {
            wal_queue_remove_first(queue);
            status = wal_queue_append(queue, &large, 1);
        }
        ck_assert_int_eq(status, STATUS_OK);
        ck_assert_uint_le(wal_batch_size(wal_queue_first(queue)), batch_size_max);
        while (wal_queue_first(queue) != NULL)
            wal_queue_remove_first(queue);
    }
    free(bytes);
    queue_end(queue);
}
END_TEST

/* Random sizes and departures: batches are aligned, never overlap, leave in order, and hold what
 * was put in. */
START_TEST(test_random)
{
    struct generator generator;
    const uint64_t seed = 4400 + (uint64_t)_i;
    generator_init(&generator, seed);
    struct wal_queue *queue = queue_make();
    uint8_t *bytes = filled(batch_size_max, 0);
    uint64_t next_in = 1;
    uint64_t next_out = 1;
    unsigned busy_count = 0;
    for (unsigned step = 0; step < 3000; step++) {
        if (generator_chance(&generator, 14, 15)) {
            size_t bound = generator_chance(&generator, 1, 20) ? 100000 : 2000;
            size_t size = (size_t)generator_below(&generator, bound);
            memset(bytes, (int)(next_in & 0xff), size);
            struct wal_entry entry = entry_of(next_in, 1, bytes, size);
            enum status status = wal_queue_append(queue, &entry, 1);
            ck_assert(status == STATUS_OK || status == STATUS_BUSY);
            next_in += status == STATUS_OK;
            busy_count += status == STATUS_BUSY;
            if (wal_queue_first(queue) != NULL && generator_chance(&generator, 1, 10))
                wal_queue_first(queue)->closed = true; /* its write has begun */
        } else if (wal_queue_first(queue) != NULL) {
            struct wal_batch *batch = wal_queue_first(queue);
            struct wal_records records = {
                .body = bytes_of(batch->memory + wal_batch_header_size, batch->body_size)};
            struct wal_record record;
            ck_assert_uint_eq((uintptr_t)batch->memory % wal_block_size, 0);
            ck_assert(batch->memory >= queue->ring &&
                      batch->memory + wal_batch_size(batch) <= queue->ring + ring_size);
            while (wal_record_next(&records, &record) == STATUS_OK) {
                ck_assert_uint_eq(record.entry.index, next_out);
                for (size_t i = 0; i < record.entry.bytes.size; i++)
                    ck_assert_uint_eq(record.entry.bytes.data[i], next_out & 0xff);
                next_out++;
            }
            ck_assert_uint_eq(records.offset, batch->body_size);
            wal_queue_remove_first(queue);
        }
    }
    ck_assert_uint_gt(busy_count, 0);
    ck_assert_uint_gt(next_out, 1000);
    free(bytes);
    queue_end(queue);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_batches);
    tcase_add_test(tests, test_runs_are_bounded);
    tcase_add_test(tests, test_supersede);
    tcase_add_test(tests, test_all_or_none);
    tcase_add_test(tests, test_largest_entry);
    tcase_add_loop_test(tests, test_random, 0, 5);
}
