/* SPDX-License-Identifier: Apache-2.0 */
/* A bounded queue of pointers between two threads: one puts in, one takes out, and neither waits.
 *
 * Each side writes an index of its own, on a cache line of its own, and keeps a copy of the other
 * side's, which it reads anew only where the copy says "full" or "empty": a burst costs one miss,
 * not one an item. What the producer wrote before ring_push() is seen by the consumer after
 * ring_pop(). */
#ifndef PROTO_BASE_RING_H
#define PROTO_BASE_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/base/status.h"

enum { ring_line_size = 64 };

struct ring {
    /* Written by ring_open() only. */
    void **slots;
    uint64_t mask; /* capacity - 1 */

    /* The producer's: items ever put in, and the newest `head` it has seen. */
    _Alignas(ring_line_size) _Atomic uint64_t tail;
    uint64_t head_seen;

    /* The consumer's: items ever taken out, and the newest `tail` it has seen. */
    _Alignas(ring_line_size) _Atomic uint64_t head;
    uint64_t tail_seen;
};

/* Takes room for `capacity` pointers, rounded up to a power of two; `capacity` is in [1, 2^31]. */
MUST_CHECK enum status ring_open(struct ring *ring, uint64_t capacity);

/* Both sides are done with it. Pointers left inside are forgotten. */
void ring_close(struct ring *ring);

/* The producer's thread. `item` is not NULL. False where the ring is full. */
MUST_CHECK bool ring_push(struct ring *ring, void *item);

/* The consumer's thread. NULL where the ring is empty. */
void *ring_pop(struct ring *ring);

/* The consumer's thread. */
bool ring_is_empty(struct ring *ring);

#endif
