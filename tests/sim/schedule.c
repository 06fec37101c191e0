/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/schedule.h"

#include <stdbool.h>
#include <stdlib.h>

#include "proto/base/assert.h"

static bool is_before(const struct schedule_slot *a, const struct schedule_slot *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->sequence < b->sequence;
}

void schedule_add(struct schedule *schedule, struct event *event, uint64_t due_ns)
{
    ASSERT(event->fire != NULL && event->drop != NULL);
    if (schedule->count == schedule->capacity) {
        schedule->capacity = schedule->capacity == 0 ? 256 : schedule->capacity * 2;
        schedule->slots = realloc(schedule->slots, schedule->capacity * sizeof *schedule->slots);
        ASSERT(schedule->slots != NULL);
    }
    event->due_ns = due_ns;
    const struct schedule_slot added = {
        .due_ns = due_ns, .sequence = ++schedule->sequence, .event = event};
    size_t at = schedule->count++;
    for (; at != 0 && is_before(&added, &schedule->slots[(at - 1) / 2]); at = (at - 1) / 2)
        schedule->slots[at] = schedule->slots[(at - 1) / 2];
    schedule->slots[at] = added;
}

uint64_t schedule_next_ns(const struct schedule *schedule)
{
    return schedule->count == 0 ? UINT64_MAX : schedule->slots[0].due_ns;
}

struct event *schedule_take(struct schedule *schedule)
{
    ASSERT(schedule->count != 0);
    struct event *first = schedule->slots[0].event;
    const struct schedule_slot last = schedule->slots[--schedule->count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < schedule->count; at = child) {
        if (child + 1 < schedule->count &&
            is_before(&schedule->slots[child + 1], &schedule->slots[child]))
            child++;
        if (!is_before(&schedule->slots[child], &last))
            break;
        schedule->slots[at] = schedule->slots[child];
    }
    schedule->slots[at] = last;
    return first;
}

void schedule_free(struct schedule *schedule)
{
    while (schedule->count != 0) {
        struct event *event = schedule_take(schedule);
        event->drop(event);
    }
    free(schedule->slots);
    *schedule = (struct schedule){0};
}
