/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests: what decodes is within its bounds, sorted and disjoint, and encodes to the same
 * bytes. */
#include <stdlib.h>

#include "proto/base/assert.h"
#include "storage/lsm/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_level(const struct manifest_tree *tree, unsigned level)
{
    for (uint32_t i = 0; i < tree->counts[level]; i++) {
        const struct table_info *table = tree->levels[level][i];
        ASSERT(table->number != 0 && table->file_size != 0 && table->entries_count != 0);
        ASSERT(bytes_compare(table->smallest, table->largest) <= 0);
        ASSERT(table->version_min <= table->version_max);
        if (i > 0 && level > 0)
            ASSERT(bytes_compare(tree->levels[level][i - 1]->largest, table->smallest) < 0);
        if (i > 0 && level == 0)
            ASSERT(tree->levels[level][i - 1]->version_min > table->version_max);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct manifest manifest;
    uint8_t *encoded;
    size_t encoded_size;
    if (manifest_decode(bytes_of(data, size), &manifest, NULL) != STATUS_OK)
        return 0;
    for (unsigned t = 0; t < manifest.trees_count; t++)
        for (unsigned level = 0; level < lsm_levels_count; level++)
            check_level(&manifest.trees[t], level);
    ASSERT(manifest_encode(&manifest, &encoded, &encoded_size) == STATUS_OK);
    ASSERT(encoded_size == size && memcmp(encoded, data, size) == 0);
    free(encoded);
    manifest_free(&manifest);
    return 0;
}
