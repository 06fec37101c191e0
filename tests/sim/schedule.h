/* SPDX-License-Identifier: Apache-2.0 */
/* What will happen in a simulated world, in the order of its time; what is due at the same time
 * happens in the order in which it was scheduled. A binary heap. */
#ifndef TESTS_SIM_SCHEDULE_H
#define TESTS_SIM_SCHEDULE_H

#include <stddef.h>
#include <stdint.h>

/* Embedded in what it carries, which `fire` finds by its offset; its owner's until it is added, the
 * schedule's until `fire` is called, its owner's again. */
struct event {
    void (*fire)(struct event *event);
    void (*drop)(struct event *event); /* the world ends before it was due */
    uint64_t due_ns;                   /* the schedule's */
};

/* When, beside what, so that ordering them touches no event. */
struct schedule_slot {
    uint64_t due_ns;
    uint64_t sequence;
    struct event *event;
};

/* Zeroed: empty. */
struct schedule {
    struct schedule_slot *slots;
    size_t count;
    size_t capacity;
    uint64_t sequence;
};

void schedule_add(struct schedule *schedule, struct event *event, uint64_t due_ns);

/* UINT64_MAX where there is none. */
uint64_t schedule_next_ns(const struct schedule *schedule);

/* Removes the first one; there is one. */
struct event *schedule_take(struct schedule *schedule);

/* Drops all that is left. */
void schedule_free(struct schedule *schedule);

#endif
