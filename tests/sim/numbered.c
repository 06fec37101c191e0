/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/numbered.h"

#include <stdlib.h>
#include <string.h>

#include "proto/base/assert.h"

enum { count_at_first = 1024 };

void numbered_init(struct numbered *numbered, size_t item_size, uint64_t count_max)
{
    ASSERT(count_max >= count_at_first && (count_max & (count_max - 1)) == 0);
    *numbered = (struct numbered){.item_size = item_size, .count_max = count_max};
}

void numbered_free(struct numbered *numbered)
{
    free(numbered->items);
    *numbered = (struct numbered){0};
}

/* Before the bound is reached each number stands at its own place, so that what is there stays. */
static void grow(struct numbered *numbered, uint64_t number)
{
    uint64_t count = numbered->count == 0 ? count_at_first : numbered->count;
    while (count <= number && count < numbered->count_max)
        count *= 2;
    numbered->items = realloc(numbered->items, count * numbered->item_size);
    ASSERT(numbered->items != NULL);
    memset((uint8_t *)numbered->items + numbered->count * numbered->item_size, 0,
           (count - numbered->count) * numbered->item_size);
    numbered->count = count;
}

void *numbered_at(struct numbered *numbered, uint64_t number)
{
    if (number >= numbered->count && numbered->count < numbered->count_max)
        grow(numbered, number);
    return (uint8_t *)numbered->items + (number & (numbered->count - 1)) * numbered->item_size;
}
