/* SPDX-License-Identifier: Apache-2.0 */
/* One entry of a tree: what memtables hold, tables store and iterators merge.
 *
 * Order: key ascending, then version descending, so that the first entry at or after (key, v) is,
 * where it has that key, the newest entry of the key at or below v. */
#ifndef STORAGE_LSM_ENTRY_H
#define STORAGE_LSM_ENTRY_H

#include "proto/base/bytes.h"

/* Versions of entries lie in [0, lsm_entry_version_max]; the top bit is the formats'. Where a
 * version is asked for, any above it means the newest. */
#define lsm_entry_version_max (UINT64_MAX >> 1)

struct lsm_entry {
    struct bytes key;
    uint64_t version;
    bool deletion;      /* a tombstone: `value` is empty */
    struct bytes value; /* of another's memory: see each source of entries */
};

/* <0, 0, >0: whether (key a, version a) comes before (key b, version b). */
static inline int lsm_entry_order(struct bytes key_a, uint64_t version_a, struct bytes key_b,
                                  uint64_t version_b)
{
    int order = bytes_compare(key_a, key_b);
    return order != 0 ? order : (version_a < version_b) - (version_a > version_b);
}

#endif
