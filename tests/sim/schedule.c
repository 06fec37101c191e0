/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/schedule.h"

#include <stdbool.h>
#include <stdlib.h>

#include "proto/base/assert.h"

static bool is_before(const struct event *a, const struct event *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->sequence < b->sequence;
}

static void swap(struct schedule *schedule, size_t a, size_t b)
{
    struct event *event = schedule->events[a];
    schedule->events[a] = schedule->events[b];
    schedule->events[b] = event;
}

void schedule_add(struct schedule *schedule, struct event *event, uint64_t due_ns)
{
    ASSERT(event->fire != NULL && event->drop != NULL);
    if (schedule->count == schedule->capacity) {
        schedule->capacity = schedule->capacity == 0 ? 256 : schedule->capacity * 2;
        schedule->events = realloc(schedule->events, schedule->capacity * sizeof *schedule->events);
        ASSERT(schedule->events != NULL);
    }
    event->due_ns = due_ns;
    event->sequence = ++schedule->sequence;
    size_t at = schedule->count++;
    schedule->events[at] = event;
    while (at != 0 && is_before(schedule->events[at], schedule->events[(at - 1) / 2])) {
        swap(schedule, at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
}

uint64_t schedule_next_ns(const struct schedule *schedule)
{
    return schedule->count == 0 ? UINT64_MAX : schedule->events[0]->due_ns;
}

struct event *schedule_take(struct schedule *schedule)
{
    ASSERT(schedule->count != 0);
    struct event *first = schedule->events[0];
    schedule->events[0] = schedule->events[--schedule->count];
    for (size_t at = 0;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2; child++)
            if (child < schedule->count &&
                is_before(schedule->events[child], schedule->events[least]))
                least = child;
        if (least == at)
            return first;
        swap(schedule, at, least);
        at = least;
    }
}

void schedule_free(struct schedule *schedule)
{
    while (schedule->count != 0) {
        struct event *event = schedule_take(schedule);
        event->drop(event);
    }
    free(schedule->events);
    *schedule = (struct schedule){0};
}
