/* SPDX-License-Identifier: Apache-2.0 */
/* What the device itself takes for one durable write: a zeroed file, O_DIRECT, 4 KiB, RWF_DSYNC,
 * one at a time. Prints the median and the 99th percentile in microseconds, as JSON.
 *
 *     bench_device DIRECTORY SECONDS */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/histogram.h"

enum { block_size = 4096, file_size = 64 * 1024 * 1024 };

static uint64_t now_ns(void)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int fail(const char *what)
{
    fprintf(stderr, "bench_device: %s: %s\n", what, strerror(errno));
    return 1;
}

int main(int count, char **values)
{
    static struct histogram latencies;
    char path[4096];
    void *block;

    if (count != 3 || atof(values[2]) <= 0) {
        fprintf(stderr, "usage: bench_device DIRECTORY SECONDS\n");
        return 2;
    }
    snprintf(path, sizeof path, "%s/bench-device-%ld", values[1], (long)getpid());
    int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_DIRECT | O_CLOEXEC, 0600);
    if (file < 0)
        return fail(path);
    unlink(path);
    if (posix_memalign(&block, block_size, 1 << 20) != 0)
        return fail("memory");
    memset(block, 0, 1 << 20);
    for (off_t at = 0; at < file_size; at += 1 << 20) {
        if (pwrite(file, block, 1 << 20, at) != 1 << 20)
            return fail("zeroing");
    }
    if (fsync(file) != 0)
        return fail("flush");
    memset(block, 7, block_size);
    histogram_init(&latencies);
    uint64_t end = now_ns() + (uint64_t)(atof(values[2]) * 1e9);
    const struct iovec vector = {.iov_base = block, .iov_len = block_size};
    for (off_t at = 0; now_ns() < end; at = (at + block_size) % file_size) {
        uint64_t begun = now_ns();
        if (pwritev2(file, &vector, 1, at, RWF_DSYNC) != block_size)
            return fail("write");
        histogram_add(&latencies, now_ns() - begun);
    }
    printf("{\"count\": %llu, \"p50_us\": %.2f, \"p99_us\": %.2f}\n",
           (unsigned long long)latencies.count, (double)histogram_percentile(&latencies, 50) / 1e3,
           (double)histogram_percentile(&latencies, 99) / 1e3);
    free(block);
    return 0;
}
