/* SPDX-License-Identifier: Apache-2.0 */
/* The cluster version: what apply does, as a number that all members of all regions share. The body
 * of ENTRY_VERSION, which raises it, and what the state keeps of it:
 *
 *     offset size
 *      0      1   format, 1
 *      1      3   0
 *      4      4   the version, from 1 on
 *
 * Little-endian. */
#ifndef PROTO_CLUSTER_VERSION_H
#define PROTO_CLUSTER_VERSION_H

#include "proto/base/bytes.h"
#include "proto/base/status.h"

enum {
    cluster_version_first = 1, /* what every new state begins with, whichever program made it */
    cluster_version_size = 8,
};

void cluster_version_encode(uint32_t version, uint8_t to[cluster_version_size]);

/* MALFORMED where the size or the bytes do not fit; UNSUPPORTED for another format. */
MUST_CHECK enum status cluster_version_decode(struct bytes from, uint32_t *version);

#endif
