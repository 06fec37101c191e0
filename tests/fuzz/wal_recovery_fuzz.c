/* SPDX-License-Identifier: Apache-2.0 */
/* What recovery parses from a disk: headers and records. Nothing is read past the bytes given, and
 * what decodes encodes to the same bytes. Checksums are put right, so that the fuzzer gets past
 * them. */
#include "proto/base/assert.h"
#include "proto/base/hash.h"
#include "storage/wal/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_batch(const uint8_t *data)
{
    uint8_t block[wal_batch_header_size];
    uint8_t again[wal_batch_header_size];
    struct wal_batch_header header;
    memcpy(block, data, sizeof block);
    store_u64(block, hash64(bytes_of(block + 8, sizeof block - 8)));
    enum status status = wal_batch_header_decode(block, load_u64(block + 64), block + 32, &header);
    ASSERT(status == STATUS_OK || status == STATUS_CORRUPT || status == STATUS_NOT_FOUND);
    if (status != STATUS_OK)
        return;
    ASSERT(header.body_size <= header.id.size - wal_batch_header_size);
    /* The tag's place within the own identifier is not read. */
    memset(block + 64 + 16, 0, seal_tag_size);
    store_u64(block, hash64(bytes_of(block + 8, sizeof block - 8)));
    wal_batch_header_encode(&header, again);
    wal_batch_header_finish(again, header.id.tag);
    ASSERT(memcmp(block, again, sizeof block) == 0);
}

static void fuzz_segment(const uint8_t *data, size_t size)
{
    static uint8_t block[wal_block_size];
    static uint8_t again[wal_block_size];
    struct wal_segment_header header;
    memset(block, 0, sizeof block);
    memcpy(block, data, size < sizeof block ? size : sizeof block);
    store_u64(block, hash64(bytes_of(block + 8, sizeof block - 8)));
    if (wal_segment_header_decode(block, &header) != STATUS_OK)
        return;
    wal_segment_header_encode(&header, again);
    wal_segment_header_finish(again, header.tag);
    ASSERT(memcmp(block, again, sizeof block) == 0);
}

static void fuzz_records(const uint8_t *data, size_t size)
{
    struct wal_records records = {.body = bytes_of(data, size)};
    struct wal_record record;
    size_t before = 0;
    enum status status;
    while ((status = wal_record_next(&records, &record)) == STATUS_OK) {
        ASSERT(records.offset > before && records.offset <= size);
        ASSERT(record.entry.bytes.size == 0 ||
               (record.entry.bytes.data >= data &&
                record.entry.bytes.data + record.entry.bytes.size <= data + size));
        before = records.offset;
    }
    ASSERT(status == STATUS_END || status == STATUS_CORRUPT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    switch (data[0] % 3) {
    case 0:
        if (size > wal_batch_header_size)
            fuzz_batch(data + 1);
        break;
    case 1:
        fuzz_segment(data + 1, size - 1);
        break;
    default:
        fuzz_records(data + 1, size - 1);
        break;
    }
    return 0;
}
