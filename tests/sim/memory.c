/* SPDX-License-Identifier: Apache-2.0 */
/* malloc() and its like for strait-sim, in the C library's place where no sanitizer is: a run takes
 * and frees hundreds of thousands of small pieces, in one thread, and the next run the same again.
 *
 * A piece is of a class of sizes, with its head right before it. What is freed goes to its class,
 * last in first out, so that what is taken next is still in the processor's cache; it stays there
 * until the process ends. What a class lacks is cut from slabs. What is larger than all classes is
 * mapped for itself, and goes back to the system. */
#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "proto/base/assert.h"

enum {
    grain = 16,         /* all sizes and places are multiples of it */
    small_classes = 64, /* a grain apart, up to 1 KiB */
    doublings = 10,     /* from there to 1 MiB, four classes each */
    classes_count = small_classes + 4 * doublings,
    mapped = classes_count, /* in a head: no class */
    huge_page_size = 2 << 20,
    slab_size = 8 * huge_page_size,
};

struct head {
    uint32_t class;
    uint32_t offset; /* from the piece's first byte that may be used to the one that is */
    size_t size;     /* that may be used from there on */
};

struct piece {
    struct piece *next;
};

static struct piece *freed[classes_count];
static uint8_t *slab;
static size_t slab_left;

/* Also called by the libraries that are linked. */
#define EXPORTED __attribute__((visibility("default"), used))

/* ---- Classes ---- */

static unsigned class_of(size_t size)
{
    if (size <= (size_t)small_classes * grain)
        return size == 0 ? 0 : (unsigned)((size - 1) / grain);
    unsigned doubling = 63 - (unsigned)__builtin_clzl(size - 1); /* 10: from 1 KiB on */
    return small_classes + 4 * (doubling - 10) + (unsigned)((size - 1) >> (doubling - 2) & 3);
}

static size_t class_size(unsigned class)
{
    if (class < small_classes)
        return (size_t)(class + 1) * grain;
    unsigned doubling = 10 + (class - small_classes) / 4;
    return ((size_t)1 << doubling) + ((size_t)((class - small_classes) % 4 + 1) << (doubling - 2));
}

static struct head *head_of(void *memory)
{
    return (struct head *)memory - 1;
}

static void *map(size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

/* Of huge pages, where the system has some: of small ones a run touches more than the processor
 * can find without looking them up. */
static bool slab_begin(void)
{
    uint8_t *mapping = map(slab_size + huge_page_size);
    if (mapping == NULL)
        return false;
    slab = mapping + (-(uintptr_t)mapping & (huge_page_size - 1));
    slab_left = slab_size;
    (void)madvise(slab, slab_size, MADV_HUGEPAGE);
    return true;
}

/* Never used before: zeros. */
static void *cut(unsigned class)
{
    size_t size = sizeof(struct head) + class_size(class);
    if (size > slab_left && !slab_begin())
        return NULL;
    struct head *head = (struct head *)(void *)slab;
    slab += size;
    slab_left -= size;
    *head = (struct head){.class = class, .size = class_size(class)};
    return head + 1;
}

static void *map_piece(size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    struct head *head = map(sizeof *head + size);
    if (head == NULL)
        return NULL;
    *head = (struct head){.class = mapped, .size = size};
    return head + 1;
}

static void *take(size_t size, bool *is_new)
{
    unsigned class = class_of(size);
    void *memory;

    *is_new = true;
    if (class >= classes_count) {
        memory = map_piece(size);
    } else if (freed[class] == NULL) {
        memory = cut(class);
    } else {
        *is_new = false;
        memory = freed[class];
        freed[class] = freed[class]->next;
    }
    if (memory == NULL)
        errno = ENOMEM;
    return memory;
}

static void *take_aligned(size_t alignment, size_t size)
{
    bool is_new;
    if (alignment <= grain)
        return take(size, &is_new);
    if (alignment > UINT32_MAX || size > SIZE_MAX - alignment) {
        errno = ENOMEM;
        return NULL;
    }
    uint8_t *memory = take(size + alignment, &is_new);
    if (memory == NULL)
        return NULL;
    const struct head whole = *head_of(memory);
    size_t offset = -(uintptr_t)memory & (alignment - 1);
    *head_of(memory + offset) = (struct head){
        .class = whole.class, .offset = (uint32_t)offset, .size = whole.size - offset};
    return memory + offset;
}

/* ---- What the C library has ---- */

EXPORTED void *malloc(size_t size)
{
    bool is_new;
    return take(size, &is_new);
}

EXPORTED void free(void *memory)
{
    if (memory == NULL)
        return;
    const struct head head = *head_of(memory);
    ASSERT(head.class <= mapped && head.offset % grain == 0);
    uint8_t *first = (uint8_t *)memory - head.offset;
    if (head.class == mapped) {
        (void)munmap(head_of(first), sizeof head + head.offset + head.size);
        return;
    }
    if (head.offset != 0)
        *head_of(first) = (struct head){.class = head.class, .size = class_size(head.class)};
    struct piece *piece = (struct piece *)(void *)first;
    piece->next = freed[head.class];
    freed[head.class] = piece;
}

EXPORTED void *calloc(size_t count, size_t size)
{
    size_t total;
    bool is_new;
    if (__builtin_mul_overflow(count, size, &total)) {
        errno = ENOMEM;
        return NULL;
    }
    void *memory = take(total, &is_new);
    if (memory != NULL && !is_new)
        memset(memory, 0, total);
    return memory;
}

EXPORTED void *realloc(void *memory, size_t size)
{
    bool is_new;
    if (memory == NULL)
        return take(size, &is_new);
    size_t had = head_of(memory)->size;
    if (size <= had && size != 0)
        return memory;
    void *larger = take(size, &is_new);
    if (larger != NULL) {
        memcpy(larger, memory, size < had ? size : had);
        free(memory);
    }
    return larger;
}

EXPORTED void *memalign(size_t alignment, size_t size)
{
    return take_aligned(alignment, size);
}

EXPORTED void *aligned_alloc(size_t alignment, size_t size)
{
    return take_aligned(alignment, size);
}

EXPORTED int posix_memalign(void **memory, size_t alignment, size_t size)
{
    *memory = take_aligned(alignment, size);
    return *memory == NULL ? ENOMEM : 0;
}

EXPORTED size_t malloc_usable_size(void *memory)
{
    return memory == NULL ? 0 : head_of(memory)->size;
}
