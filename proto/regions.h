/* SPDX-License-Identifier: Apache-2.0 */
/* The regions of a cluster: the body of ENTRY_REGIONS, and what the state keeps of it.
 *
 *     offset size
 *      0      1   format: 2 where some region has an upstream, else 1
 *      1      1   count of regions
 *      2      6   0
 *      8      8   version
 *     16          regions, in ascending order of their ids
 *
 * and each region
 *
 *      0      4   id
 *      4      1   what the guard does
 *      5      1   size of the name
 *      6      1   count of endpoints
 *      7      1   0
 *      8      8   the guard's bound in bytes
 *     16      8   the guard's bound in milliseconds
 *     24      4   upstream, in format 2 alone
 *                 name; then for each endpoint its size (1) and its text
 *
 * Texts are not terminated. Integers are little-endian. */
#ifndef PROTO_REGIONS_H
#define PROTO_REGIONS_H

#include "proto/base/bytes.h"
#include "proto/base/status.h"
#include "proto/limits.h"

/* What the primary does when this region, as a standby, is too far behind. Numbers are on disk. */
enum region_guard_action {
    REGION_GUARD_ALERT = 1,  /* says so */
    REGION_GUARD_SLOW = 2,   /* and delays writers */
    REGION_GUARD_REFUSE = 3, /* and refuses writes */
};

struct region_guard {
    enum region_guard_action action;
    uint64_t lag_bytes_max; /* of the log that the standby has not applied; 0: any */
    uint64_t lag_ms_max;    /* age of the standby's data; 0: any */
};

struct region {
    uint32_t id;                    /* never 0; never given to another */
    uint32_t upstream;              /* the standby that it pulls from; 0: always the primary */
    char name[limit_name_size + 1]; /* proto/name.h */
    struct region_guard guard;
    unsigned endpoints_count;
    /* HOST:PORT, where its servers take clients and other regions. */
    char endpoints[limit_region_endpoints_count][limit_member_address_size + 1];
};

struct regions {
    /* In the state: the version that wrote this list; 0: none was written. In a proposed list: that
     * of the list which it was made from, so that of two changes at a time one is refused. */
    uint64_t version;
    unsigned count;
    struct region regions[limit_regions_count];
};

enum {
    region_size_max =
        28 + limit_name_size + limit_region_endpoints_count * (1 + limit_member_address_size),
    regions_size_max = 16 + limit_regions_count * region_size_max,
};

size_t regions_size(const struct regions *regions);

/* Writes exactly regions_size() bytes, at most regions_size_max. */
void regions_encode(const struct regions *regions, uint8_t *to);

/* MALFORMED where sizes, order, names (two of the same among them), endpoints or a guard's action
 * do not fit; UNSUPPORTED for another format. */
MUST_CHECK enum status regions_decode(struct bytes from, struct regions *regions);

/* Whether the text is HOST:PORT, with a host and a port from 1 to 65535, of printable ASCII without
 * spaces, and of at most limit_member_address_size bytes. */
bool region_endpoint_is_valid(const char *text);

/* Whether id, name, guard and endpoints are such that they can be encoded. That there is such an
 * upstream is not looked at. */
bool region_is_valid(const struct region *region);

/* NULL where there is none. */
const struct region *regions_find(const struct regions *regions, uint32_t id);
const struct region *regions_find_name(const struct regions *regions, const char *name);

/* Puts in order, or replaces by id; the region is valid. ALREADY_EXISTS: another has its name;
 * TOO_LARGE: full. Then nothing has changed. */
MUST_CHECK enum status regions_set(struct regions *regions, const struct region *region);
void regions_remove(struct regions *regions, uint32_t id); /* one that is not there: none */

#endif
