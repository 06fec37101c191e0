/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/arena.h"

#include <stdlib.h>

#include "proto/base/assert.h"

enum { arena_alignment = 16 };

struct arena_chunk {
    struct arena_chunk *older;
    size_t size; /* of space */
    _Alignas(arena_alignment) uint8_t space[];
};

void arena_init(struct arena *arena, size_t chunk_size, size_t budget_size)
{
    ASSERT(chunk_size >= 256);
    *arena = (struct arena){
        .chunk_size = chunk_size, .budget_size = budget_size, .allocations_max = UINT32_MAX};
}

static bool arena_grow(struct arena *arena, size_t size)
{
    size_t space = size > arena->chunk_size ? size : arena->chunk_size;
    struct arena_chunk *chunk = malloc(sizeof *chunk + space);
    if (chunk == NULL)
        return false;
    chunk->older = arena->chunk;
    chunk->size = space;
    arena->chunk = chunk;
    arena->chunk_used = 0;
    return true;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    ASSERT(arena->chunk_size != 0);
    if (size > arena->budget_size || arena->allocations_count >= arena->allocations_max)
        return NULL;
    size_t rounded = (size + arena_alignment - 1) & ~(size_t)(arena_alignment - 1);
    if (rounded == 0)
        rounded = arena_alignment;
    if (rounded > arena->budget_size - arena->used_size)
        return NULL;
    if ((arena->chunk == NULL || rounded > arena->chunk->size - arena->chunk_used) &&
        !arena_grow(arena, rounded))
        return NULL;
    void *piece = arena->chunk->space + arena->chunk_used;
    arena->chunk_used += rounded;
    arena->used_size += rounded;
    arena->allocations_count++;
    return piece;
}

void *arena_alloc_zeroed(struct arena *arena, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    void *piece = arena_alloc(arena, total);
    if (piece != NULL)
        memset(piece, 0, total);
    return piece;
}

bool arena_copy(struct arena *arena, struct bytes from, struct bytes *copy)
{
    *copy = (struct bytes){0};
    if (from.size == SIZE_MAX)
        return false;
    uint8_t *piece = arena_alloc(arena, from.size + 1);
    if (piece == NULL)
        return false;
    bytes_copy(piece, from);
    piece[from.size] = 0;
    *copy = bytes_of(piece, from.size);
    return true;
}

void arena_reset(struct arena *arena)
{
    struct arena_chunk *kept = arena->chunk;
    if (kept != NULL) {
        while (kept->older != NULL) {
            struct arena_chunk *older = kept->older;
            kept->older = older->older;
            free(older);
        }
        /* A chunk made for one large piece is not kept for a life of small ones. */
        if (kept->size > arena->chunk_size) {
            free(kept);
            kept = NULL;
        }
    }
    arena->chunk = kept;
    arena->chunk_used = 0;
    arena->used_size = 0;
    arena->allocations_count = 0;
}

void arena_free(struct arena *arena)
{
    arena_reset(arena);
    free(arena->chunk);
    arena->chunk = NULL;
}
