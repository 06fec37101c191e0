/* SPDX-License-Identifier: Apache-2.0 */
/* Who belongs to a region: the body of an entry that changes the membership, and what the state
 * keeps of it.
 *
 *     offset size
 *      0      1   format, 1
 *      1      1   count of members
 *      2      6   0
 *      8          members, in ascending order of their ids
 *
 * and each member
 *
 *      0      8   id: drawn at random when its store was made; never 0, never used again
 *      8      1   kinds: a sum of enum member_kind
 *      9      1   size of the name
 *     10      1   size of the peers' address
 *     11      1   size of the clients' address
 *     12          name, peers' address, clients' address: not terminated
 *
 * Integers are little-endian. */
#ifndef PROTO_MEMBERSHIP_H
#define PROTO_MEMBERSHIP_H

#include <stdint.h>

#include "proto/base/bytes.h"
#include "proto/base/status.h"
#include "proto/limits.h"

enum member_kind {
    MEMBER_VOTER = 1,
    MEMBER_OUTGOING = 2, /* a voter of the configuration that a joint one leaves */
    MEMBER_LEARNER = 4,
};

struct member {
    uint64_t id;
    unsigned kinds;                              /* not 0 */
    char name[limit_member_name_size + 1];       /* what its certificate says, as an identity */
    char peers[limit_member_address_size + 1];   /* HOST:PORT, where other members reach it */
    char clients[limit_member_address_size + 1]; /* HOST:PORT, where clients do */
};

struct membership {
    unsigned count;
    struct member members[limit_members_count];
};

enum {
    membership_size_max =
        8 + limit_members_count * (12 + limit_member_name_size + 2 * limit_member_address_size)
};

size_t membership_size(const struct membership *membership);

/* Writes exactly membership_size() bytes, at most membership_size_max. */
void membership_encode(const struct membership *membership, uint8_t *to);

/* MALFORMED where sizes, order, kinds (a voter is no learner), the number of voters or texts
 * (printable ASCII without spaces, which may be empty) do not fit; UNSUPPORTED for another format.
 * `from` may be empty: no members. */
MUST_CHECK enum status membership_decode(struct bytes from, struct membership *membership);

/* NULL where there is none. */
const struct member *membership_find(const struct membership *membership, uint64_t id);
const struct member *membership_find_name(const struct membership *membership, const char *name);

/* Puts in order, or replaces by id; the member's id and kinds are valid. False: full. */
bool membership_set(struct membership *membership, const struct member *member);
void membership_remove(struct membership *membership,
                       uint64_t id); /* one that is not there: none */

bool membership_is_joint(const struct membership *membership);

#endif
