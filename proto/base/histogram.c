/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/histogram.h"

#include <string.h>

#include "proto/base/assert.h"

enum { buckets_per_doubling = 1 << histogram_bits };

/* Values below 2 * 64 are buckets of their own. Above, a value with `shift` bits too many falls in
 * the bucket of its 7 leading bits, in the row of that shift. */
static uint32_t bucket_of(uint64_t value)
{
    if (value < 2 * buckets_per_doubling)
        return (uint32_t)value;
    uint32_t shift = 63 - (uint32_t)__builtin_clzll(value) - histogram_bits;
    return (shift << histogram_bits) + (uint32_t)(value >> shift);
}

static uint64_t bucket_middle(uint32_t bucket)
{
    if (bucket < 2 * buckets_per_doubling)
        return bucket;
    uint32_t shift = (bucket >> histogram_bits) - 1;
    uint64_t leading = (bucket & (buckets_per_doubling - 1)) | buckets_per_doubling;
    return (leading << shift) + ((UINT64_C(1) << shift) >> 1);
}

void histogram_init(struct histogram *histogram)
{
    memset(histogram, 0, sizeof *histogram);
    histogram->least = UINT64_MAX;
}

static void sum_add(struct histogram *histogram, uint64_t value)
{
    if (__builtin_add_overflow(histogram->sum, value, &histogram->sum))
        histogram->sum = UINT64_MAX;
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    uint32_t bucket = bucket_of(value);
    ASSERT(bucket < histogram_buckets_count);
    histogram->buckets[bucket]++;
    histogram->count++;
    sum_add(histogram, value);
    if (value < histogram->least)
        histogram->least = value;
    if (value > histogram->greatest)
        histogram->greatest = value;
}

void histogram_merge(struct histogram *to, const struct histogram *from)
{
    for (uint32_t i = 0; i < histogram_buckets_count; i++)
        to->buckets[i] += from->buckets[i];
    to->count += from->count;
    sum_add(to, from->sum);
    if (from->least < to->least)
        to->least = from->least;
    if (from->greatest > to->greatest)
        to->greatest = from->greatest;
}

uint64_t histogram_percentile(const struct histogram *histogram, double percent)
{
    ASSERT(percent >= 0 && percent <= 100);
    if (histogram->count == 0)
        return 0;
    if (percent >= 100)
        return histogram->greatest;
    double exact = (double)histogram->count * percent / 100;
    uint64_t rank = (uint64_t)exact;
    if ((double)rank < exact || rank == 0)
        rank++;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < histogram_buckets_count; i++) {
        seen += histogram->buckets[i];
        if (seen < rank)
            continue;
        uint64_t value = bucket_middle(i);
        if (value < histogram->least)
            return histogram->least;
        return value < histogram->greatest ? value : histogram->greatest;
    }
    return histogram->greatest;
}

void histogram_counts(const struct histogram *histogram, const uint64_t *bounds, uint32_t count,
                      uint64_t *counts)
{
    uint64_t seen = 0;
    uint32_t bucket = 0;
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(i == 0 || bounds[i] >= bounds[i - 1]);
        for (uint32_t end = bucket_of(bounds[i]); bucket <= end; bucket++)
            seen += histogram->buckets[bucket];
        counts[i] = seen;
    }
}

uint64_t histogram_mean(const struct histogram *histogram)
{
    return histogram->count == 0 ? 0 : histogram->sum / histogram->count;
}
