/* SPDX-License-Identifier: Apache-2.0 */
/* Memory with one named lifetime: allocated piece by piece, freed at once.
 *
 * An arena has a budget; past it, allocation answers NULL, and the request gets a status. It also
 * counts allocations, for decoders whose input could ask for many empty pieces. Not thread-safe. */
#ifndef PROTO_BASE_ARENA_H
#define PROTO_BASE_ARENA_H

#include "proto/base/bytes.h"

struct arena_chunk;

/* Fields are for reading only. */
struct arena {
    struct arena_chunk *chunk;  /* newest; linked to older ones */
    size_t chunk_used;          /* bytes used of the newest chunk's space */
    size_t chunk_size;          /* least size of a new chunk's space */
    size_t used_size;           /* bytes handed out, alignment included */
    size_t budget_size;         /* bound of used_size */
    uint32_t allocations_count; /* since init or reset */
    uint32_t allocations_max;   /* bound of allocations_count */
};

/* No memory is taken before the first allocation. `chunk_size` is at least 256. */
void arena_init(struct arena *arena, size_t chunk_size, size_t budget_size);

/* 16-byte aligned, not zeroed. NULL where the budget, the count limit or memory is exhausted.
 * A size of 0 gives a valid pointer, and counts. */
void *arena_alloc(struct arena *arena, size_t size) __attribute__((malloc, alloc_size(2)));

/* The same, zeroed; `count * size` is checked for overflow. */
void *arena_alloc_zeroed(struct arena *arena, size_t count, size_t size);

/* A copy with a terminating 0 byte past its size. `*copy` is empty on failure. */
bool arena_copy(struct arena *arena, struct bytes from, struct bytes *copy);

/* Frees all but one chunk, and forgets all allocations. */
void arena_reset(struct arena *arena);

/* Frees all. The arena may be used again. */
void arena_free(struct arena *arena);

#endif
