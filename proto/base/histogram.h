/* SPDX-License-Identifier: Apache-2.0 */
/* Counts of values by size, for percentiles: exact up to 127, and from there 64 buckets for each
 * doubling, so that a percentile is within 0.8 % of a value that was added. Memory is fixed (30
 * KiB), whatever is added. Not thread-safe: each thread has its own, and they are merged. */
#ifndef PROTO_BASE_HISTOGRAM_H
#define PROTO_BASE_HISTOGRAM_H

#include <stdint.h>

enum {
    histogram_bits = 6, /* a doubling has 2^6 buckets */
    histogram_buckets_count = (64 - histogram_bits + 1) << histogram_bits,
};

struct histogram {
    uint64_t count;
    uint64_t sum; /* stays at UINT64_MAX once past it */
    uint64_t least;
    uint64_t greatest;
    uint64_t buckets[histogram_buckets_count];
};

void histogram_init(struct histogram *histogram);

void histogram_add(struct histogram *histogram, uint64_t value);

/* Adds all that `from` counted. */
void histogram_merge(struct histogram *to, const struct histogram *from);

/* The least value that `percent` of the values (0 to 100) do not exceed: 50 is the median, 100 the
 * greatest, exactly. 0 where nothing was added. */
uint64_t histogram_percentile(const struct histogram *histogram, double percent);

/* How many values each of `bounds`, which ascend, is not exceeded by: within the 0.8 % as above. */
void histogram_counts(const struct histogram *histogram, const uint64_t *bounds, uint32_t count,
                      uint64_t *counts);

/* 0 where nothing was added. */
uint64_t histogram_mean(const struct histogram *histogram);

#endif
