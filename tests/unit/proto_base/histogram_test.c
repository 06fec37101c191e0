/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/histogram.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/generator.h"
#include "tests/unit/unit.h"

static struct histogram histogram;
static struct histogram other;

static bool is_near(uint64_t value, uint64_t expected)
{
    uint64_t distance = value > expected ? value - expected : expected - value;
    return distance <= expected / 125; /* 0.8 % */
}

START_TEST(test_empty)
{
    histogram_init(&histogram);
    ck_assert_uint_eq(histogram_percentile(&histogram, 50), 0);
    ck_assert_uint_eq(histogram_mean(&histogram), 0);
}
END_TEST

START_TEST(test_small_values_are_exact)
{
    histogram_init(&histogram);
    for (uint64_t i = 1; i <= 100; i++)
        histogram_add(&histogram, i);
    ck_assert_uint_eq(histogram_percentile(&histogram, 0), 1);
    ck_assert_uint_eq(histogram_percentile(&histogram, 50), 50);
    ck_assert_uint_eq(histogram_percentile(&histogram, 99), 99);
    ck_assert_uint_eq(histogram_percentile(&histogram, 99.5), 100);
    ck_assert_uint_eq(histogram_percentile(&histogram, 100), 100);
    ck_assert_uint_eq(histogram_mean(&histogram), 50);
}
END_TEST

START_TEST(test_counts_up_to_bounds)
{
    static const uint64_t bounds[] = {0, 10, 10, 100, 1000, 50000, 1000000, UINT64_MAX};
    uint64_t counts[8];
    histogram_init(&histogram);
    histogram_counts(&histogram, bounds, 8, counts);
    for (unsigned i = 0; i < 8; i++)
        ck_assert_uint_eq(counts[i], 0);
    for (uint64_t i = 1; i <= 100000; i++)
        histogram_add(&histogram, i);
    histogram_add(&histogram, UINT64_MAX);
    histogram_counts(&histogram, bounds, 8, counts);
    ck_assert_uint_eq(counts[0], 0);
    ck_assert_uint_eq(counts[1], 10);
    ck_assert_uint_eq(counts[2], 10);
    ck_assert_uint_eq(counts[3], 100);
    ck_assert(is_near(counts[4], 1000));
    ck_assert(is_near(counts[5], 50000));
    ck_assert_uint_eq(counts[6], 100000);
    ck_assert_uint_eq(counts[7], 100001);
}
END_TEST

START_TEST(test_extremes)
{
    histogram_init(&histogram);
    histogram_add(&histogram, UINT64_MAX);
    histogram_add(&histogram, 0);
    ck_assert_uint_eq(histogram_percentile(&histogram, 50), 0);
    ck_assert_uint_eq(histogram_percentile(&histogram, 100), UINT64_MAX);
    ck_assert_uint_eq(histogram.sum, UINT64_MAX);
    histogram_add(&histogram, UINT64_MAX);
    ck_assert_uint_eq(histogram.sum, UINT64_MAX);
    ck_assert(is_near(histogram_percentile(&histogram, 60), UINT64_MAX));
}
END_TEST

/* One value alone is told exactly, at every size: least and greatest bound what a bucket says. */
START_TEST(test_each_doubling)
{
    for (unsigned shift = 0; shift < 64; shift++) {
        for (int step = -1; step <= 1; step++) {
            uint64_t value = (UINT64_C(1) << shift) + (uint64_t)(int64_t)step;
            histogram_init(&histogram);
            histogram_add(&histogram, value);
            ck_assert_uint_eq(histogram_percentile(&histogram, 50), value);
            histogram_add(&histogram, 0);
            histogram_add(&histogram, UINT64_MAX);
            ck_assert(is_near(histogram_percentile(&histogram, 50), value));
        }
    }
}
END_TEST

static int order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Against the sorted values, two halves merged. */
START_TEST(test_percentiles_of_random_values)
{
    enum { count = 20000 };
    static uint64_t values[count];
    static const double percents[] = {1, 25, 50, 90, 99, 99.9, 99.99};
    const uint64_t seed = 20101201;
    struct generator generator;
    printf("seed %llu\n", (unsigned long long)seed);
    generator_init(&generator, seed);
    histogram_init(&histogram);
    histogram_init(&other);
    for (int i = 0; i < count; i++) {
        values[i] = generator_draw(&generator) >> generator_below(&generator, 60);
        histogram_add(i % 2 == 0 ? &histogram : &other, values[i]);
    }
    histogram_merge(&histogram, &other);
    ck_assert_uint_eq(histogram.count, count);
    qsort(values, count, sizeof values[0], order);
    for (size_t i = 0; i < sizeof percents / sizeof percents[0]; i++) {
        size_t rank = (size_t)((double)count * percents[i] / 100 + 0.999999);
        uint64_t told = histogram_percentile(&histogram, percents[i]);
        ck_assert_msg(is_near(told, values[rank - 1]), "p%g: %llu, not %llu", percents[i],
                      (unsigned long long)told, (unsigned long long)values[rank - 1]);
    }
    ck_assert_uint_eq(histogram_percentile(&histogram, 100), values[count - 1]);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_empty);
    tcase_add_test(tests, test_small_values_are_exact);
    tcase_add_test(tests, test_counts_up_to_bounds);
    tcase_add_test(tests, test_extremes);
    tcase_add_test(tests, test_each_doubling);
    tcase_add_test(tests, test_percentiles_of_random_values);
}
