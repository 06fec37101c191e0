/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of entries from another region. Input: u8 how, u32 the size it says, then the block; or,
 * as the first byte says, the entries themselves, so that not only LZ4 is met. */
#include <stdlib.h>

#include "proto/base/assert.h"
#include "replication/region/batch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(struct bytes rest)
{
    const struct region_position position = {.epoch = {1, 1}, .version = 10};
    struct batch_successor successor;
    struct bytes bytes;
    struct entry entry;
    uint64_t taken = 0;
    const uint8_t *begin = rest.data;
    const uint8_t *end = rest.data + rest.size;

    batch_successor_init(&successor, &position);
    while (batch_next(&rest, &bytes, &entry) == STATUS_OK) {
        struct epoch begun;
        ASSERT(bytes.data >= begin && bytes.data + bytes.size <= end);
        ASSERT(entry_kind_is_shared(entry.kind));
        if (batch_epoch_begun(&entry, &begun))
            ASSERT(begun.region != 0);
        if (batch_successor_take(&successor, &entry) == STATUS_OK)
            taken++;
        ASSERT(successor.version == position.version + taken);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *raw;

    if (size < 5)
        return 0;
    struct bytes block = bytes_of(data + 5, size - 5);
    if ((data[0] & 1) != 0) {
        walk(block);
        return 0;
    }
    size_t raw_size = load_u32(data + 1);
    if (batch_open(block, raw_size, &raw) == STATUS_OK) {
        ASSERT(raw_size <= batch_size_max);
        walk(bytes_of(raw, raw_size));
        free(raw);
    }
    return 0;
}
