/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/generator.h"

#include "proto/base/assert.h"

static uint64_t rotate_left(uint64_t value, unsigned by)
{
    return (value << by) | (value >> (64 - by));
}

void generator_init(struct generator *generator, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15ULL;
        uint64_t mixed = seed;
        mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ULL;
        mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebULL;
        generator->state[i] = mixed ^ (mixed >> 31);
    }
}

uint64_t generator_draw(struct generator *generator)
{
    uint64_t *s = generator->state;
    uint64_t drawn = rotate_left(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return drawn;
}

uint64_t generator_below(struct generator *generator, uint64_t bound)
{
    ASSERT(bound != 0);
    /* Draws below 2^64 mod bound are dropped, so that each remainder is equally likely. */
    uint64_t least = (0 - bound) % bound;
    uint64_t drawn;
    do {
        drawn = generator_draw(generator);
    } while (drawn < least);
    return drawn % bound;
}

uint64_t generator_between(struct generator *generator, uint64_t low, uint64_t high)
{
    ASSERT(low <= high);
    if (low == 0 && high == UINT64_MAX)
        return generator_draw(generator);
    return low + generator_below(generator, high - low + 1);
}

bool generator_chance(struct generator *generator, uint64_t numerator, uint64_t denominator)
{
    return generator_below(generator, denominator) < numerator;
}

void generator_fill(struct generator *generator, void *to, size_t size)
{
    uint8_t *bytes = to;
    while (size != 0) {
        uint64_t drawn = generator_draw(generator);
        size_t part = size < sizeof drawn ? size : sizeof drawn;
        memcpy(bytes, &drawn, part);
        bytes += part;
        size -= part;
    }
}
