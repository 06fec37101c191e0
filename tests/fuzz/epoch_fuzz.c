/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies that begin an epoch, fence one, rewind for one, or adopt a checkpoint: what decodes makes
 * sense and encodes to the same bytes. */
#include "proto/base/assert.h"
#include "proto/epoch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t encoded[epoch_change_size_max];
    struct epoch_change change;
    struct fence fence;
    struct rewind rewind;
    struct adoption adoption;

    if (epoch_change_decode(bytes_of(data, size), &change) == STATUS_OK) {
        ASSERT(epoch_compare(change.from, change.to) < 0);
        ASSERT(change.record.size <= limit_promotion_record_size);
        ASSERT(epoch_change_size(&change) == size);
        epoch_change_encode(&change, encoded);
        ASSERT(memcmp(encoded, data, size) == 0);
    }
    if (fence_decode(bytes_of(data, size), &fence) == STATUS_OK) {
        ASSERT(fence.region != 0 && fence.record.size <= limit_promotion_record_size);
        ASSERT(fence_size(&fence) == size);
        fence_encode(&fence, encoded);
        ASSERT(memcmp(encoded, data, size) == 0);
    }
    if (rewind_decode(bytes_of(data, size), &rewind) == STATUS_OK) {
        ASSERT(epoch_compare(rewind.from, rewind.to) < 0 && rewind.version != 0);
        ASSERT(size == rewind_size);
        rewind_encode(&rewind, encoded);
        ASSERT(memcmp(encoded, data, size) == 0);
    }
    if (adoption_decode(bytes_of(data, size), &adoption) == STATUS_OK) {
        ASSERT(adoption.epoch.number != 0 && adoption.version != 0);
        ASSERT(size == adoption_size);
        adoption_encode(&adoption, encoded);
        ASSERT(memcmp(encoded, data, size) == 0);
    }
    return 0;
}
