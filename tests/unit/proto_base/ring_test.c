/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/ring.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "tests/unit/unit.h"

START_TEST(test_order_and_bound)
{
    struct ring ring;
    int items[5];
    ck_assert_int_eq(ring_open(&ring, 3), STATUS_OK); /* rounded up to 4 */
    ck_assert(ring_is_empty(&ring));
    ck_assert_ptr_null(ring_pop(&ring));
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 4; i++)
            ck_assert(ring_push(&ring, &items[i]));
        ck_assert(!ring_push(&ring, &items[4]));
        ck_assert(!ring_is_empty(&ring));
        ck_assert_ptr_eq(ring_pop(&ring), &items[0]);
        ck_assert(ring_push(&ring, &items[4]));
        for (int i = 1; i < 5; i++)
            ck_assert_ptr_eq(ring_pop(&ring), &items[i]);
        ck_assert_ptr_null(ring_pop(&ring));
    }
    ring_close(&ring);
}
END_TEST

START_TEST(test_capacity_of_one)
{
    struct ring ring;
    int item;
    ck_assert_int_eq(ring_open(&ring, 1), STATUS_OK);
    ck_assert(ring_push(&ring, &item));
    ck_assert(!ring_push(&ring, &item));
    ck_assert_ptr_eq(ring_pop(&ring), &item);
    ck_assert(ring_push(&ring, &item));
    ck_assert_ptr_eq(ring_pop(&ring), &item);
    ring_close(&ring);
}
END_TEST

enum { items_count = 200000 };

/* What the producer writes into an item, without atomics, must be there when it is taken. */
struct item {
    uint64_t number;
    uint64_t inverse;
};

struct transfer {
    struct ring ring;
    struct item *items;
};

static void *produce(void *context)
{
    struct transfer *transfer = context;
    for (uint64_t i = 0; i < items_count; i++) {
        transfer->items[i] = (struct item){.number = i, .inverse = ~i};
        while (!ring_push(&transfer->ring, &transfer->items[i]))
            sched_yield();
    }
    return NULL;
}

START_TEST(test_two_threads)
{
    struct transfer transfer;
    pthread_t producer;
    ck_assert_int_eq(ring_open(&transfer.ring, 64), STATUS_OK);
    transfer.items = calloc(items_count, sizeof *transfer.items);
    ck_assert_ptr_nonnull(transfer.items);
    ck_assert_int_eq(pthread_create(&producer, NULL, produce, &transfer), 0);
    for (uint64_t i = 0; i < items_count;) {
        const struct item *item = ring_pop(&transfer.ring);
        if (item == NULL) {
            sched_yield();
            continue;
        }
        ck_assert_uint_eq(item->number, i);
        ck_assert_uint_eq(item->inverse, ~i);
        i++;
    }
    ck_assert_int_eq(pthread_join(producer, NULL), 0);
    ck_assert(ring_is_empty(&transfer.ring));
    ring_close(&transfer.ring);
    free(transfer.items);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_order_and_bound);
    tcase_add_test(tests, test_capacity_of_one);
    tcase_add_test(tests, test_two_threads);
}
