/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes without a key, for checks of what no adversary touches, for filters and for hash tables.
 * XXH3; what must withstand an adversary is sealed instead. */
#ifndef PROTO_BASE_HASH_H
#define PROTO_BASE_HASH_H

#include "proto/base/bytes.h"

struct hash128 {
    uint64_t low;
    uint64_t high;
};

uint64_t hash64(struct bytes bytes);
uint64_t hash64_seeded(struct bytes bytes, uint64_t seed);
struct hash128 hash128(struct bytes bytes);

/* Mixes all bits of one integer: for tables whose keys are integers. */
static inline uint64_t hash_u64(uint64_t value)
{
    value ^= value >> 32;
    value *= 0xe9846af9b1a615dULL;
    value ^= value >> 32;
    value *= 0xe9846af9b1a615dULL;
    value ^= value >> 28;
    return value;
}

#endif
