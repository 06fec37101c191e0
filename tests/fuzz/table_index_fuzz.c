/* SPDX-License-Identifier: Apache-2.0 */
/* Indexes, headers and footers of tables: whatever passes the check stays within the file, and
 * finds each of its separators. The first byte chooses what it is. */
#include "proto/base/assert.h"
#include "storage/lsm/entry.h"
#include "storage/lsm/table_format.h"
#include "storage/lsm/table_index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_index(struct bytes body, bool is_top, uint64_t file_size)
{
    if (table_index_check(body, is_top, file_size) != STATUS_OK)
        return;
    uint32_t count = table_index_count(body);
    for (uint32_t i = 0; i < count; i++) {
        struct table_index_entry entry;
        table_index_get(body, i, &entry);
        ASSERT(entry.place.offset + entry.place.size <= file_size);
        ASSERT(entry.filter_size < entry.place.offset);
        ASSERT(table_index_find(body, entry.separator, entry.separator_version) == i);
        if (entry.separator_version != 0)
            ASSERT(table_index_find(body, entry.separator, entry.separator_version - 1) == i + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 9)
        return 0;
    uint64_t file_size = load_u64(data + 1);
    struct bytes rest = bytes_of(data + 9, size - 9);
    struct table_footer footer;
    switch (data[0] % 4) {
    case 0:
        fuzz_index(rest, false, file_size);
        break;
    case 1:
        fuzz_index(rest, true, file_size);
        break;
    case 2:
        if (rest.size >= table_header_size &&
            table_header_decode(rest.data, file_size) == STATUS_OK)
            ASSERT(load_u64(rest.data + 16) == file_size);
        break;
    default:
        if (rest.size >= table_footer_size &&
            table_footer_decode(rest.data, &footer) == STATUS_OK) {
            uint8_t encoded[table_footer_size];
            table_footer_encode(encoded, &footer);
            ASSERT(memcmp(encoded, rest.data, table_footer_size) == 0);
        }
    }
    return 0;
}
