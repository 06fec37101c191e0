/* SPDX-License-Identifier: Apache-2.0 */
/* A bounded pool of objects of one size: at most so many are out at a time, and those that came
 * back are used again before memory is asked for. Not thread-safe. */
#ifndef PROTO_BASE_POOL_H
#define PROTO_BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

struct pool_object;

/* Fields are for reading only. */
struct pool {
    struct pool_object *free; /* came back, ready to be taken */
    size_t object_size;
    uint64_t free_count;
    uint64_t used_count; /* taken and not given back */
    uint64_t used_max;   /* bound of used_count */
    uint64_t free_max;   /* bound of free_count: the rest goes back to the system */
};

/* Takes no memory. `object_size` is not 0. Of the objects that came back, `free_max` are kept. */
void pool_init(struct pool *pool, size_t object_size, uint64_t used_max, uint64_t free_max);

/* A zeroed object, aligned for every type; NULL where the bound or memory is exhausted. */
void *pool_take(struct pool *pool);

/* `object` came from pool_take() of this pool. NULL does nothing. */
void pool_give(struct pool *pool, void *object);

/* All objects have been given back. */
void pool_close(struct pool *pool);

#endif
