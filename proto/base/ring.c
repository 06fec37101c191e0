/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/ring.h"

#include <stdlib.h>

#include "proto/base/assert.h"

enum status ring_open(struct ring *ring, uint64_t capacity)
{
    uint64_t rounded = 1;
    ASSERT(capacity >= 1 && capacity <= UINT64_C(1) << 31);
    while (rounded < capacity)
        rounded *= 2;
    *ring = (struct ring){.mask = rounded - 1};
    ring->slots = calloc(rounded, sizeof *ring->slots);
    return ring->slots != NULL ? STATUS_OK : STATUS_NO_MEMORY;
}

void ring_close(struct ring *ring)
{
    free(ring->slots);
    ring->slots = NULL;
}

bool ring_push(struct ring *ring, void *item)
{
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    ASSERT(item != NULL);
    if (tail - ring->head_seen > ring->mask) {
        ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
        if (tail - ring->head_seen > ring->mask)
            return false;
    }
    ring->slots[tail & ring->mask] = item;
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
    return true;
}

bool ring_is_empty(struct ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (head == ring->tail_seen)
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
    return head == ring->tail_seen;
}

void *ring_pop(struct ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (ring_is_empty(ring))
        return NULL;
    void *item = ring->slots[head & ring->mask];
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    return item;
}
