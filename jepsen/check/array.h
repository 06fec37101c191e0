/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays that grow, for tools: where there is no memory, the process ends. */
#ifndef JEPSEN_CHECK_ARRAY_H
#define JEPSEN_CHECK_ARRAY_H

#include <stdint.h>
#include <stdlib.h>

#include "proto/base/assert.h"

/* `items`, moved where it has no room for one more than `count`. */
static inline void *array_grow(void *items, uint32_t count, uint32_t *capacity, size_t item_size)
{
    if (count < *capacity)
        return items;
    ASSERT(*capacity <= UINT32_MAX / 2);
    *capacity = *capacity == 0 ? 16 : *capacity * 2;
    items = realloc(items, *capacity * item_size);
    ASSERT(items != NULL);
    return items;
}

/* Zeroed; never NULL. */
static inline void *array_create(size_t count, size_t item_size)
{
    void *items = calloc(count == 0 ? 1 : count, item_size);
    ASSERT(items != NULL);
    return items;
}

#endif
