/* SPDX-License-Identifier: Apache-2.0 */
/* Memberships: what decodes is in order and encodes to the same bytes. */
#include "proto/base/assert.h"
#include "proto/membership.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct membership membership;
    uint8_t encoded[membership_size_max];

    if (membership_decode(bytes_of(data, size), &membership) != STATUS_OK || size == 0)
        return 0;
    for (unsigned i = 0; i < membership.count; i++) {
        const struct member *member = &membership.members[i];
        ASSERT(member->id != 0 && member->kinds != 0);
        ASSERT(i == 0 || member[-1].id < member->id);
        ASSERT(membership_find(&membership, member->id) == member);
    }
    ASSERT(membership_size(&membership) == size);
    membership_encode(&membership, encoded);
    ASSERT(memcmp(encoded, data, size) == 0);
    return 0;
}
