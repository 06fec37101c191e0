/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/hash.h"

#include <xxhash.h>

uint64_t hash64(struct bytes bytes)
{
    return XXH3_64bits(bytes.data, bytes.size);
}

uint64_t hash64_seeded(struct bytes bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes.data, bytes.size, seed);
}

struct hash128 hash128(struct bytes bytes)
{
    XXH128_hash_t hash = XXH3_128bits(bytes.data, bytes.size);
    return (struct hash128){.low = hash.low64, .high = hash.high64};
}
