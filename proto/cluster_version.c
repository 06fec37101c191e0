/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/cluster_version.h"

#include "proto/base/assert.h"

enum { cluster_version_format = 1 };

void cluster_version_encode(uint32_t version, uint8_t to[cluster_version_size])
{
    ASSERT(version >= cluster_version_first);
    memset(to, 0, cluster_version_size);
    to[0] = cluster_version_format;
    store_u32(to + 4, version);
}

enum status cluster_version_decode(struct bytes from, uint32_t *version)
{
    *version = 0;
    if (from.size == 0)
        return STATUS_MALFORMED;
    if (from.data[0] != cluster_version_format)
        return STATUS_UNSUPPORTED;
    if (from.size != cluster_version_size || from.data[1] != 0 || from.data[2] != 0 ||
        from.data[3] != 0 || load_u32(from.data + 4) < cluster_version_first)
        return STATUS_MALFORMED;
    *version = load_u32(from.data + 4);
    return STATUS_OK;
}
