/* SPDX-License-Identifier: Apache-2.0 */
/* Source and receiver together, over links and logs that fail in every way they may. What must hold
 * at each step is in the fixture; here is what must come of it. */
#include "tests/unit/replication_region/fixture.h"

static struct world *begin(uint64_t seed)
{
    struct world *world = world_create(seed);
    world_restart_source(world);
    world_start_receiver(world, &(struct receiver_options){0});
    return world;
}

START_TEST(test_all_comes)
{
    struct world *world = begin(1);
    struct source_region region;
    world_connect(world);
    for (unsigned i = 0; i < 2000; i++) {
        world_commit(world, 300);
        if (i % 7 == 0)
            world_add_regional(world);
        if (i % 4 == 0)
            world_step(world);
    }
    world_await_level(world, 1000);
    world_run_ms(world, 300);
    ck_assert_uint_eq(world->proposals_count, 2000);
    ck_assert_uint_eq(world->repeated_count, 0);
    struct receiver_facts facts = receiver_facts(world->receiver);
    ck_assert_uint_eq(facts.restarts_count, 0);
    ck_assert_uint_eq(facts.lag_versions, 0);
    ck_assert_uint_eq(facts.source.version, 2000);
    ck_assert_str_eq(facts.endpoint, "192.0.2.1:7411");
    ck_assert(source_region_find(world->source, standby_id, &region));
    ck_assert_uint_eq(region.acknowledged.version, 2000);
    ck_assert_uint_eq(region.lag_versions, 0);
    ck_assert_uint_eq(region.lag_ms, 0);
    /* Compressed, and in batches. */
    struct source_statistics statistics = source_statistics(world->source);
    ck_assert_uint_eq(statistics.entries_count, 2000);
    ck_assert_uint_lt(statistics.batches_count, 500);
    ck_assert_uint_lt(statistics.sent_size, statistics.raw_size / 2);
    world_destroy(world);
}
END_TEST

START_TEST(test_idle_is_quiet_and_fresh)
{
    struct world *world = begin(2);
    world->delay_ns = 45 * 1000 * 1000;
    world_connect(world);
    world_commit(world, 100);
    world_await_level(world, 500);
    world_run_ms(world, 500);
    uint64_t before = source_statistics(world->source).pulls_count;
    for (unsigned i = 0; i < 100; i++) {
        world_run_ms(world, 10);
        /* A wait, a round trip and what steps and turns take. */
        ck_assert_uint_lt(receiver_age_ns(world->receiver), 220ULL * 1000 * 1000);
    }
    ck_assert_uint_lt(source_statistics(world->source).pulls_count - before, 20);
    world_destroy(world);
}
END_TEST

/* A commit that waits for the other region needs its acknowledgement, which is not to wait for the
 * next pull. */
START_TEST(test_acknowledged_in_a_round_trip)
{
    struct world *world = begin(3);
    struct source_region region;
    world->delay_ns = 45 * 1000 * 1000;
    world_connect(world);
    world_commit(world, 100);
    world_await_level(world, 500);
    world_run_ms(world, 500);
    for (unsigned i = 0; i < 20; i++) {
        uint64_t from = world_now_ns(world);
        world_commit(world, 100);
        do {
            world_step(world);
            ck_assert_uint_lt(world_now_ns(world) - from, 120ULL * 1000 * 1000);
            ck_assert(source_region_find(world->source, standby_id, &region));
        } while (region.acknowledged.version < world->position.version);
        world_run_ms(world, 13 * i);
    }
    world_destroy(world);
}
END_TEST

/* A leader that was deposed and does not know it says nothing of the age. */
START_TEST(test_deposed_leader_says_no_age)
{
    struct world *world = begin(4);
    world_connect(world);
    world_commit(world, 100);
    world_await_level(world, 500);
    world_run_ms(world, 300);
    world->is_deposed = true;
    world_run_ms(world, 20);
    uint64_t before = receiver_facts(world->receiver).fresh_ns;
    world_run_ms(world, 500);
    ck_assert_uint_eq(receiver_facts(world->receiver).fresh_ns, before);
    ck_assert_uint_gt(receiver_age_ns(world->receiver), 450ULL * 1000 * 1000);
    world_destroy(world);
}
END_TEST

START_TEST(test_standby_is_slow)
{
    struct world *world = world_create(5);
    struct source_region region;
    world_restart_source(world);
    world_start_receiver(world, &(struct receiver_options){.inflight_size_max = 20000});
    world->apply_ns = 30ULL * 1000 * 1000;
    world->busy_percent = 30;
    world_connect(world);
    for (unsigned i = 0; i < 1000; i++) {
        world_commit(world, 500);
        world_step(world);
        ck_assert_uint_le(receiver_facts(world->receiver).inflight_size, 20000);
        ck_assert_uint_le(receiver_facts(world->receiver).pulls_count, 8);
    }
    ck_assert(source_region_find(world->source, standby_id, &region));
    ck_assert_uint_gt(region.lag_versions, 100);
    ck_assert_uint_gt(region.lag_size, 100 * 500);
    ck_assert_uint_gt(region.lag_ms, 50);
    world_await_level(world, 10000);
    ck_assert_uint_eq(world->repeated_count, 0);
    world_destroy(world);
}
END_TEST

/* The connection ends after each number of steps: at every point of the way. */
START_TEST(test_break_at_each_point)
{
    for (unsigned point = 0; point < 120; point++) {
        struct world *world = begin(100 + point);
        world->apply_ns = 3ULL * 1000 * 1000;
        world_connect(world);
        for (unsigned i = 0; i < 100; i++) {
            world_commit(world, 50);
            if (i % 3 == 0)
                world_step(world);
        }
        for (unsigned i = 0; i < point; i++)
            world_step(world);
        world_break(world);
        world_run_ms(world, point % 10);
        world_connect(world);
        world_commit(world, 50);
        world_await_level(world, 2000);
        ck_assert_uint_eq(receiver_facts(world->receiver).malformed_count, 0);
        world_destroy(world);
    }
}
END_TEST

/* A region that has nothing yet knows no epoch either. */
START_TEST(test_from_nothing)
{
    struct world *world = begin(7);
    world->state.epoch = (struct epoch){0};
    for (unsigned i = 0; i < 50; i++)
        world_commit(world, 50);
    world_restart_source(world);
    world_connect(world);
    world_await_level(world, 500);
    ck_assert_int_eq(epoch_compare(world->state.epoch, world->position.epoch), 0);
    ck_assert_uint_eq(world->troubles_count, 0);
    ck_assert_uint_eq(receiver_facts(world->receiver).restarts_count, 0);
    world_destroy(world);
}
END_TEST

static const struct epoch second = {.number = 2, .region = standby_id};
static const struct epoch third = {.number = 5, .region = 3};

START_TEST(test_epochs_come_along)
{
    struct world *world = begin(6);
    world_connect(world);
    for (unsigned i = 0; i < 10; i++)
        world_commit(world, 50);
    world_await_level(world, 500);
    world_grant(world, second);
    for (unsigned i = 0; i < 10; i++)
        world_commit(world, 50);
    world_await_level(world, 500);
    ck_assert_int_eq(epoch_compare(world->state.epoch, second), 0);
    world_promote(world, world->position.version, third);
    world_commit(world, 50);
    world_await_level(world, 500);
    ck_assert_int_eq(epoch_compare(world->state.epoch, third), 0);
    ck_assert_uint_eq(world->proposals_count, 23);
    ck_assert_uint_eq(world->troubles_count, 0);
    ck_assert_uint_eq(receiver_facts(world->receiver).malformed_count, 0);
    world_destroy(world);
}
END_TEST

/* Everything at once, by drawn numbers. */
static void disturb(struct world *world, unsigned step)
{
    struct generator *generator = &world->generator;
    unsigned drawn = (unsigned)generator_below(generator, 1000);
    if (drawn < 8)
        world_break(world);
    else if (drawn < 40)
        world_connect(world);
    else if (drawn < 45)
        world_restart_source(world);
    else if (drawn < 50)
        source_lead(world->source, drawn % 2 == 0, NULL);
    else if (drawn < 53) { /* leadership is lost, and with it what was proposed */
        receiver_stop(world->receiver);
        world->proposed_first = 0;
        world->proposed_last = 0;
        receiver_start(world->receiver);
    } else if (drawn < 56) {
        world->apply_ns = generator_below(generator, 200ULL * 1000 * 1000);
    } else if (drawn < 60) {
        world->busy_percent = (unsigned)generator_below(generator, 60);
    } else if (drawn < 65) {
        world->reads_wait = !world->reads_wait;
    } else if (drawn < 100) {
        world_add_regional(world);
    } else if (drawn < 110 && world->position.version > 0) {
        world_add_repeated(world, 1 + generator_below(generator, world->position.version));
    } else if (drawn < 112 && world->epochs_count < world_epochs_max && step > 500) {
        const struct epoch *old = &world->position.epoch;
        const struct epoch next = {old->number + 1, old->region == 1 ? 2 : 1};
        if (drawn % 2 == 0)
            world_grant(world, next);
        else
            world_promote(world, world->position.version, next);
    }
    if (generator_below(generator, 3) == 0) {
        for (uint64_t i = generator_below(generator, 6); i > 0; i--)
            world_commit(world, generator_below(generator, 2000));
    }
}

/* Over all seeds: what was met on the way. */
static struct {
    uint64_t restarts_count;
    uint64_t repeated_count;
    uint64_t epochs_count;
    uint64_t entries_count;
} met;

START_TEST(test_model)
{
    struct world *world = world_create(1000 + (uint64_t)_i);
    struct generator *generator = &world->generator;
    world->delay_ns = generator_below(generator, 60) * 1000 * 1000;
    world->jitter_ns = generator_below(generator, 20) * 1000 * 1000;
    world->source_options.turn_size_max = 1 + generator_below(generator, 100000);
    world->source_options.gather_ms = 1 + (unsigned)generator_below(generator, 20);
    world_restart_source(world);
    world_start_receiver(world, &(struct receiver_options){
                                    .pulls_max = 1 + (unsigned)generator_below(generator, 16),
                                    .pull_size = 1 + (uint32_t)generator_below(generator, 100000),
                                    .inflight_size_max = 1 + generator_below(generator, 100000),
                                });
    for (unsigned step = 0; step < 3000; step++) {
        disturb(world, step);
        world_step(world);
    }
    source_lead(world->source, true, NULL);
    world->busy_percent = 0;
    world->apply_ns = 1000 * 1000;
    world_connect(world);
    world_await_level(world, 60000);
    world_run_ms(world, 500);
    struct source_region region;
    ck_assert(source_region_find(world->source, standby_id, &region));
    ck_assert_uint_eq(region.acknowledged.version, world->position.version);
    ck_assert_uint_lt(receiver_age_ns(world->receiver), 400ULL * 1000 * 1000);
    ck_assert_uint_eq(receiver_facts(world->receiver).malformed_count, 0);
    ck_assert_uint_eq(world->troubles_count, 0);
    ck_assert_uint_eq(receiver_facts(world->receiver).inflight_size, 0);
    met.restarts_count += receiver_facts(world->receiver).restarts_count;
    met.repeated_count += world->repeated_count;
    met.epochs_count += world->epochs_count - 1;
    met.entries_count += world->proposals_count;
    world_destroy(world);
}
END_TEST

START_TEST(test_model_met_all)
{
    ck_assert_uint_gt(met.restarts_count, 500);
    ck_assert_uint_gt(met.repeated_count, 500);
    ck_assert_uint_gt(met.epochs_count, 20);
    ck_assert_uint_gt(met.entries_count, 50000);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_all_comes);
    tcase_add_test(tests, test_idle_is_quiet_and_fresh);
    tcase_add_test(tests, test_acknowledged_in_a_round_trip);
    tcase_add_test(tests, test_deposed_leader_says_no_age);
    tcase_add_test(tests, test_standby_is_slow);
    tcase_add_test(tests, test_break_at_each_point);
    tcase_add_test(tests, test_from_nothing);
    tcase_add_test(tests, test_epochs_come_along);
    tcase_add_loop_test(tests, test_model, 0, 60);
    tcase_add_test(tests, test_model_met_all);
}
