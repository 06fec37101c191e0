/* SPDX-License-Identifier: Apache-2.0 */
/* A seeded generator of pseudo-random numbers: the same seed gives the same draws on every machine.
 * For tests, simulation, jitter and load. Never for keys, nonces or ids (those come from OpenSSL).
 * xoshiro256** by Blackman and Vigna (2018), seeded through splitmix64. */
#ifndef PROTO_BASE_GENERATOR_H
#define PROTO_BASE_GENERATOR_H

#include "proto/base/bytes.h"

struct generator {
    uint64_t state[4];
};

void generator_init(struct generator *generator, uint64_t seed);

/* Uniform over all 64-bit values. */
uint64_t generator_draw(struct generator *generator);

/* Uniform in [0, bound); `bound` is not 0. */
uint64_t generator_below(struct generator *generator, uint64_t bound);

/* Uniform in [low, high], both included. */
uint64_t generator_between(struct generator *generator, uint64_t low, uint64_t high);

/* True `numerator` times in `denominator`, on average. */
bool generator_chance(struct generator *generator, uint64_t numerator, uint64_t denominator);

void generator_fill(struct generator *generator, void *to, size_t size);

#endif
