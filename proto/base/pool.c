/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/pool.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/assert.h"

/* A free object's first bytes link it to the next. */
struct pool_object {
    struct pool_object *next;
};

void pool_init(struct pool *pool, size_t object_size, uint64_t used_max, uint64_t free_max)
{
    ASSERT(object_size != 0);
    if (object_size < sizeof(struct pool_object))
        object_size = sizeof(struct pool_object);
    *pool = (struct pool){.object_size = object_size, .used_max = used_max, .free_max = free_max};
}

void *pool_take(struct pool *pool)
{
    struct pool_object *object = pool->free;
    if (pool->used_count >= pool->used_max)
        return NULL;
    if (object != NULL) {
        pool->free = object->next;
        pool->free_count--;
        memset(object, 0, pool->object_size);
    } else {
        object = calloc(1, pool->object_size);
        if (object == NULL)
            return NULL;
    }
    pool->used_count++;
    return object;
}

void pool_give(struct pool *pool, void *object)
{
    if (object == NULL)
        return;
    ASSERT(pool->used_count != 0);
    pool->used_count--;
    if (pool->free_count >= pool->free_max) {
        free(object);
        return;
    }
    struct pool_object *link = object;
    link->next = pool->free;
    pool->free = link;
    pool->free_count++;
}

void pool_close(struct pool *pool)
{
    ASSERT(pool->used_count == 0);
    while (pool->free != NULL) {
        struct pool_object *object = pool->free;
        pool->free = object->next;
        free(object);
    }
    pool->free_count = 0;
}
