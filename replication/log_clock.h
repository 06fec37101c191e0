/* SPDX-License-Identifier: Apache-2.0 */
/* The clock that stamps log entries: strictly increasing, and never jumping.
 *
 * It runs with the monotonic clock and is slewed to the wall clock, by at most log_clock_slew_ppm,
 * and only while the two agree within log_clock_jump_ns. A wall clock that is farther off has
 * jumped: that raises an alarm and moves nothing. Pure: the caller brings both clocks' readings. */
#ifndef REPLICATION_LOG_CLOCK_H
#define REPLICATION_LOG_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define LOG_CLOCK_JUMP_NS  500000000ULL /* past this difference the wall clock is not believed */
#define LOG_CLOCK_SLEW_PPM 500ULL       /* how much faster or slower than the monotonic clock */

struct log_clock {
    uint64_t boot_ns;  /* the monotonic clock at the last reading */
    uint64_t time_ns;  /* this clock at that reading; nanoseconds since 1970 */
    uint64_t last_ns;  /* newest stamp given out; each is above it */
    bool jumped;       /* the wall clock is out of bounds now: an alarm */
    int64_t offset_ns; /* wall clock less this clock, at the last reading */
};

/* `last_ns`: the newest stamp in the log; the clock starts at the wall's time, but never at or
 * below it. A wall clock behind the log by more than the bound is a jump from the start. */
void log_clock_init(struct log_clock *clock, uint64_t boot_ns, uint64_t wall_ns, uint64_t last_ns);

/* Reads the clock: does not stamp. */
uint64_t log_clock_read(struct log_clock *clock, uint64_t boot_ns, uint64_t wall_ns);

/* The next stamp: above all before it. */
uint64_t log_clock_stamp(struct log_clock *clock, uint64_t boot_ns, uint64_t wall_ns);

/* Takes note of a stamp that came with an entry from elsewhere. */
void log_clock_observe(struct log_clock *clock, uint64_t stamp_ns);

#endif
