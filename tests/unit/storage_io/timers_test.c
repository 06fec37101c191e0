/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/io/timers.h"

#include <stdio.h>

#include "proto/base/generator.h"
#include "tests/unit/unit.h"

enum { timers_max = 200 };

struct world {
    struct timers timers;
    struct io_timer all[timers_max];
    unsigned order[timers_max]; /* which fired, in order */
    unsigned fired;
};

static void note_fired(struct io_timer *timer)
{
    struct world *world = timer->context;
    world->order[world->fired++] = (unsigned)(timer - world->all);
}

static void world_init(struct world *world)
{
    *world = (struct world){0};
    for (unsigned i = 0; i < timers_max; i++)
        world->all[i] = (struct io_timer){.fired = note_fired, .context = world};
}

static void start(struct world *world, unsigned which, uint64_t deadline_ns)
{
    world->all[which].deadline_ns = deadline_ns;
    timers_start(&world->timers, &world->all[which]);
}

START_TEST(test_deadlines_then_order_of_starting)
{
    struct world world;
    world_init(&world);
    ck_assert_uint_eq(timers_deadline_ns(&world.timers), UINT64_MAX);
    start(&world, 0, 30);
    start(&world, 1, 10);
    start(&world, 2, 20);
    start(&world, 3, 10);
    start(&world, 0, 10); /* moved, and so started last */
    timers_stop(&world.timers, &world.all[2]);
    timers_stop(&world.timers, &world.all[2]);
    ck_assert_uint_eq(timers_deadline_ns(&world.timers), 10);
    ck_assert(!timers_fire(&world.timers, 9));
    ck_assert(timers_fire(&world.timers, 1000));
    ck_assert_uint_eq(world.fired, 3);
    ck_assert_uint_eq(world.order[0], 1);
    ck_assert_uint_eq(world.order[1], 3);
    ck_assert_uint_eq(world.order[2], 0);
    ck_assert_uint_eq(timers_deadline_ns(&world.timers), UINT64_MAX);
}
END_TEST

static void start_again(struct io_timer *timer)
{
    struct world *world = timer->context;
    world->fired++;
    timers_start(&world->timers, timer);
}

START_TEST(test_a_timer_started_by_a_callback_waits_for_the_next_turn)
{
    struct world world;
    world_init(&world);
    world.all[0].fired = start_again;
    start(&world, 0, 5);
    for (unsigned i = 1; i <= 3; i++) {
        timers_fire(&world.timers, 5);
        ck_assert_uint_eq(world.fired, i);
    }
}
END_TEST

/* Against the plainest of models: look at all. */
START_TEST(test_random_lives)
{
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct world world;
        struct generator generator;
        uint64_t now_ns = 0;
        world_init(&world);
        generator_init(&generator, seed);
        for (unsigned i = 0; i < 2000; i++) {
            unsigned which = (unsigned)generator_below(&generator, timers_max);
            uint64_t chance = generator_below(&generator, 10);
            if (chance < 6) {
                start(&world, which, now_ns + generator_below(&generator, 50));
            } else if (chance < 8) {
                timers_stop(&world.timers, &world.all[which]);
            } else {
                bool due[timers_max];
                unsigned due_count = 0;
                uint64_t last_ns = 0;
                now_ns += generator_below(&generator, 20);
                for (unsigned k = 0; k < timers_max; k++) {
                    due[k] = world.all[k].started && world.all[k].deadline_ns <= now_ns;
                    due_count += due[k];
                }
                world.fired = 0;
                timers_fire(&world.timers, now_ns);
                ck_assert_msg(world.fired == due_count, "seed %llu", (unsigned long long)seed);
                for (unsigned k = 0; k < due_count; k++) {
                    ck_assert(due[world.order[k]]);
                    ck_assert(!world.all[world.order[k]].started);
                    ck_assert_uint_ge(world.all[world.order[k]].deadline_ns, last_ns);
                    last_ns = world.all[world.order[k]].deadline_ns;
                }
            }
        }
    }
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_deadlines_then_order_of_starting);
    tcase_add_test(tests, test_a_timer_started_by_a_callback_waits_for_the_next_turn);
    tcase_add_test(tests, test_random_lives);
}
