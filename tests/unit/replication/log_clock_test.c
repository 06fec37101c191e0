/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/log_clock.h"

#include "proto/base/generator.h"
#include "tests/unit/unit.h"

enum { second = 1000000000 };
static const uint64_t noon = 1700000000ULL * second;

START_TEST(test_stamps_increase_whatever_the_wall_does)
{
    struct log_clock clock;
    struct generator generator;
    uint64_t boot = second;
    uint64_t wall = noon;
    uint64_t last = 0;

    generator_init(&generator, 7);
    log_clock_init(&clock, boot, wall, 0);
    for (int i = 0; i < 10000; i++) {
        boot += generator_below(&generator, 1000000);
        wall = generator_chance(&generator, 1, 100)
                   ? noon + generator_below(&generator, 1000) * second
                   : wall + generator_below(&generator, 2000000);
        uint64_t stamp = log_clock_stamp(&clock, boot, wall);
        ck_assert_uint_gt(stamp, last);
        last = stamp;
    }
}
END_TEST

START_TEST(test_a_small_difference_is_slewed_away)
{
    struct log_clock clock;
    uint64_t boot = second;
    uint64_t wall = noon;

    log_clock_init(&clock, boot, wall, 0);
    wall += 400000000; /* within the bound */
    for (int i = 0; i < 1000; i++) {
        boot += second;
        wall += second;
        uint64_t before = clock.time_ns;
        uint64_t after = log_clock_read(&clock, boot, wall);
        ck_assert_uint_le(after - before, second + second / 1000000 * LOG_CLOCK_SLEW_PPM);
        ck_assert(!clock.jumped);
    }
    ck_assert_uint_eq(log_clock_read(&clock, boot, wall), wall);
}
END_TEST

START_TEST(test_a_jump_moves_nothing_and_is_told)
{
    struct log_clock clock;
    log_clock_init(&clock, second, noon, 0);
    uint64_t stamp = log_clock_stamp(&clock, 2ULL * second, noon + 3600ULL * second);
    ck_assert(clock.jumped);
    ck_assert_uint_eq(stamp, noon + second);
    stamp = log_clock_stamp(&clock, 3ULL * second, noon + 2ULL * second);
    ck_assert(!clock.jumped);
    ck_assert_uint_eq(stamp, noon + 2ULL * second);
}
END_TEST

START_TEST(test_a_wall_behind_the_log_is_a_jump_from_the_start)
{
    struct log_clock clock;
    log_clock_init(&clock, second, noon, noon + 10ULL * second);
    ck_assert(clock.jumped);
    ck_assert_uint_gt(log_clock_stamp(&clock, second, noon), noon + 10ULL * second);
}
END_TEST

START_TEST(test_stamps_from_elsewhere_are_exceeded)
{
    struct log_clock clock;
    log_clock_init(&clock, second, noon, 0);
    log_clock_observe(&clock, noon + 5ULL * second);
    ck_assert_uint_eq(log_clock_stamp(&clock, second, noon), noon + 5ULL * second + 1);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_stamps_increase_whatever_the_wall_does);
    tcase_add_test(tests, test_a_small_difference_is_slewed_away);
    tcase_add_test(tests, test_a_jump_moves_nothing_and_is_told);
    tcase_add_test(tests, test_a_wall_behind_the_log_is_a_jump_from_the_start);
    tcase_add_test(tests, test_stamps_from_elsewhere_are_exceeded);
}
