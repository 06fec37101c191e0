/* SPDX-License-Identifier: Apache-2.0 */
/* An entry of the log: a fixed header, the identity of whoever asked, and the command's bytes as
 * the client sent them. What the WAL stores, peers forward, and apply unpacks.
 *
 *     offset size
 *      0      1   format, 2
 *      1      1   kind
 *      2      1   identity's size
 *      3      1   0
 *      4      4   body's size
 *      8      8   epoch number
 *     16      4   epoch region
 *     20      4   0
 *     24      8   log time, nanoseconds since 1970; strictly increasing over what one region stamps
 *     32      8   version that it is to make; 0 of a regional one
 *     40          identity, then body
 *
 * Index and term are the WAL's own. Epoch and version are the entry's place in the one stream that
 * all regions share: apply takes an entry only as the successor of what it applied, so whoever
 * reads a log, or copies the entry's bytes into another region's, needs no other record of the
 * order. */
#ifndef PROTO_ENTRY_H
#define PROTO_ENTRY_H

#include "proto/base/bytes.h"
#include "proto/base/status.h"

enum { entry_header_size = 40, entry_format = 2 };

/* Regional kinds take no version and are not shipped; shared ones (16 and up) do and are. */
enum entry_kind {
    ENTRY_NOOP = 1,       /* a leader's first entry of its term; no body */
    ENTRY_MEMBERSHIP = 2, /* body: who belongs to the region from here on (membership.h) */
    ENTRY_FENCE = 3,      /* body: the higher epoch that stops this region (epoch.h) */
    ENTRY_REWIND = 4,     /* body: the version back to which it goes for that one (epoch.h) */
    ENTRY_LOST = 5,       /* body: which report of what was given up is closed (the state's) */
    ENTRY_ADOPT = 6,      /* body: whose checkpoint takes the state's place (epoch.h) */
    ENTRY_COMMIT = 16,    /* body: strait.Commit */
    ENTRY_TICK = 17, /* body: 8 bytes, the horizon to move to; removes what is due by the header's
                        log time */
    ENTRY_REGIONS = 18, /* body: the cluster's regions from here on (regions.h) */
    ENTRY_EPOCH = 19,   /* body: the epoch that begins with this entry (epoch.h) */
    ENTRY_VERSION = 20, /* body: the cluster version from here on (cluster_version.h) */
};

struct entry {
    enum entry_kind kind;
    uint64_t epoch_number;
    uint32_t epoch_region;
    uint64_t log_time_ns;
    uint64_t version;      /* 0: of a regional kind, and only there */
    struct bytes identity; /* at most limit_identity_size */
    struct bytes body;     /* at most limit_txn_size */
};

/* Whether entries of this kind take a version, and belong to the stream of all regions. */
static inline bool entry_kind_is_shared(enum entry_kind kind)
{
    return kind >= ENTRY_COMMIT;
}

/* Size of the entry's encoding. */
size_t entry_size(const struct entry *entry);

/* Writes exactly entry_size() bytes. */
void entry_encode(const struct entry *entry, uint8_t *to);

/* `entry` refers to `from`. MALFORMED where sizes do not fit; UNSUPPORTED for an unknown kind or
 * format: a newer version wrote it. */
MUST_CHECK enum status entry_decode(struct bytes from, struct entry *entry);

/* The same of the beginning of an encoding: `entry` without identity and body, and the size of it
 * all. MALFORMED also where `from` does not hold a header. */
MUST_CHECK enum status entry_header_decode(struct bytes from, struct entry *entry, size_t *size);

#endif
