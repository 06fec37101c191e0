/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/io/timers.h"

#include "proto/base/assert.h"

/* In the heap each timer's `child` is its first child, `sibling` its next sibling, and `previous`
 * the sibling before it or, for a first child, the parent. The root has neither sibling nor
 * previous. No timer comes before its parent. */

static bool comes_before(const struct io_timer *a, const struct io_timer *b)
{
    if (a->deadline_ns != b->deadline_ns)
        return a->deadline_ns < b->deadline_ns;
    return a->sequence < b->sequence;
}

/* Joins two roots, either of which may be NULL. */
static struct io_timer *join(struct io_timer *a, struct io_timer *b)
{
    if (a == NULL)
        return b;
    if (b == NULL)
        return a;
    if (comes_before(b, a)) {
        struct io_timer *other = a;
        a = b;
        b = other;
    }
    b->previous = a;
    b->sibling = a->child;
    if (a->child != NULL)
        a->child->previous = b;
    a->child = b;
    return a;
}

/* Makes one root of a list of siblings: first in pairs from the left, then the pairs from the
 * right, which is what the amortised bound rests on. */
static struct io_timer *join_siblings(struct io_timer *sibling)
{
    struct io_timer *pairs = NULL;
    while (sibling != NULL) {
        struct io_timer *a = sibling;
        struct io_timer *b = a->sibling;
        sibling = b != NULL ? b->sibling : NULL;
        a->sibling = a->previous = NULL;
        if (b != NULL)
            b->sibling = b->previous = NULL;
        struct io_timer *pair = join(a, b);
        pair->sibling = pairs;
        pairs = pair;
    }
    struct io_timer *root = NULL;
    while (pairs != NULL) {
        struct io_timer *next = pairs->sibling;
        pairs->sibling = NULL;
        root = join(root, pairs);
        pairs = next;
    }
    return root;
}

static void cut(struct io_timer *timer)
{
    if (timer->previous->child == timer)
        timer->previous->child = timer->sibling;
    else
        timer->previous->sibling = timer->sibling;
    if (timer->sibling != NULL)
        timer->sibling->previous = timer->previous;
    timer->sibling = timer->previous = NULL;
}

void timers_start(struct timers *timers, struct io_timer *timer)
{
    uint64_t deadline_ns = timer->deadline_ns;
    timers_stop(timers, timer);
    timer->deadline_ns = deadline_ns;
    timer->sequence = ++timers->sequence;
    timer->started = true;
    timer->child = timer->sibling = timer->previous = NULL;
    timers->first = join(timers->first, timer);
}

void timers_stop(struct timers *timers, struct io_timer *timer)
{
    if (!timer->started)
        return;
    if (timers->first == timer) {
        timers->first = join_siblings(timer->child);
    } else {
        ASSERT(timer->previous != NULL);
        cut(timer);
        timers->first = join(timers->first, join_siblings(timer->child));
    }
    timer->child = NULL;
    timer->started = false;
}

uint64_t timers_deadline_ns(const struct timers *timers)
{
    return timers->first != NULL ? timers->first->deadline_ns : UINT64_MAX;
}

bool timers_fire(struct timers *timers, uint64_t now_ns)
{
    uint64_t sequence_last = timers->sequence;
    bool fired = false;
    while (timers->first != NULL && timers->first->deadline_ns <= now_ns &&
           timers->first->sequence <= sequence_last) {
        struct io_timer *timer = timers->first;
        timers_stop(timers, timer);
        timer->fired(timer);
        fired = true;
    }
    return fired;
}
