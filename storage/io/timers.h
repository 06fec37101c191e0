/* SPDX-License-Identifier: Apache-2.0 */
/* A thread's timers, by deadline: a pairing heap (Fredman, Sedgewick, Sleator and Tarjan, 1986)
 * whose links live in the timers, so that starting one allocates nothing and cannot fail. Starting
 * is O(1), stopping and firing are O(log n) amortised. For the implementations of io.h. */
#ifndef STORAGE_IO_TIMERS_H
#define STORAGE_IO_TIMERS_H

#include "storage/io/io.h"

/* Zeroed: no timers. */
struct timers {
    struct io_timer *first; /* the next to fire: the heap's root */
    uint64_t sequence;      /* of the latest start: breaks ties of deadlines */
};

/* timer->deadline_ns is set. Starts it, or moves it where it is started. */
void timers_start(struct timers *timers, struct io_timer *timer);

/* Stopping what is not started does nothing. */
void timers_stop(struct timers *timers, struct io_timer *timer);

/* UINT64_MAX where there is none. */
uint64_t timers_deadline_ns(const struct timers *timers);

/* Calls back all whose deadline is at or before `now_ns`. Those that callbacks start wait for the
 * next call, so that it ends. True: at least one fired. */
bool timers_fire(struct timers *timers, uint64_t now_ns);

#endif
