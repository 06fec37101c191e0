/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of regions: what decodes is in order and encodes to the same bytes. */
#include "proto/base/assert.h"
#include "proto/regions.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct regions regions;
    static uint8_t encoded[regions_size_max];

    if (regions_decode(bytes_of(data, size), &regions) != STATUS_OK)
        return 0;
    for (unsigned i = 0; i < regions.count; i++) {
        const struct region *region = &regions.regions[i];
        ASSERT(region_is_valid(region));
        ASSERT(i == 0 || region[-1].id < region->id);
        ASSERT(regions_find(&regions, region->id) == region);
        ASSERT(regions_find_name(&regions, region->name) == region);
    }
    ASSERT(regions_size(&regions) == size);
    regions_encode(&regions, encoded);
    ASSERT(memcmp(encoded, data, size) == 0);
    return 0;
}
