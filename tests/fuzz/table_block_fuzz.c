/* SPDX-License-Identifier: Apache-2.0 */
/* Opened blocks of tables: whatever passes the check can be walked both ways and searched, in
 * order, within its bounds. The first byte chooses the tree and whether there is a wrapping. */
#include <stdlib.h>

#include "proto/base/assert.h"
#include "storage/lsm/table_block.h"
#include "storage/lsm/table_filter.h"
#include "storage/lsm/table_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct lsm_tree_options trees[] = {
    {.id = 1, .name = "bytes", .kind = LSM_BYTES},
    {.id = 2, .name = "fixed", .kind = LSM_FIXED, .key_size = 3, .value_size = 2},
    {.id = 3, .name = "keys", .kind = LSM_FIXED, .key_size = 4},
};

/* Reads all bytes of an entry, so that one past the bounds is seen. */
static uint64_t touch(const struct lsm_entry *entry)
{
    uint64_t sum = entry->version;
    for (size_t i = 0; i < entry->key.size; i++)
        sum += entry->key.data[i];
    for (size_t i = 0; i < entry->value.size; i++)
        sum += entry->value.data[i];
    return sum;
}

static void walk(const struct lsm_tree_options *tree, struct bytes body)
{
    static struct table_block_cursor cursor;
    static struct table_block_cursor seeker;
    uint64_t forward = 0;
    uint64_t backward = 0;
    uint32_t count = 0;
    table_block_cursor_init(&cursor, tree, body);
    table_block_cursor_init(&seeker, tree, body);
    for (bool found = table_block_cursor_first(&cursor); found;
         found = table_block_cursor_next(&cursor)) {
        forward += touch(&cursor.entry);
        /* Large blocks are searched here and there: the work stays linear. */
        if (count++ % 64 < 4) {
            ASSERT(table_block_cursor_seek(&seeker, cursor.entry.key, cursor.entry.version));
            ASSERT(seeker.position == cursor.position);
            ASSERT(table_block_cursor_seek_before(&seeker, cursor.entry.key,
                                                  cursor.entry.version) == (count != 1));
        }
    }
    ASSERT(count == cursor.entries_count);
    for (bool found = table_block_cursor_last(&cursor); found && count <= 4096;
         found = table_block_cursor_previous(&cursor)) {
        backward += touch(&cursor.entry);
    }
    ASSERT(count > 4096 || forward == backward);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const struct lsm_tree_options *tree = &trees[data[0] % 3];
    bool wrapped = (data[0] & 0x80) != 0;
    bool filter = (data[0] & 0x40) != 0;
    struct bytes bytes = bytes_of(data + 1, size - 1);
    uint8_t *body = NULL;
    if (wrapped) {
        struct table_block_limits limits = {.tree = tree, .file_size = 1 << 20};
        size_t body_size;
        if (table_block_unwrap(&limits, filter ? TABLE_BLOCK_FILTER : TABLE_BLOCK_DATA, bytes,
                               &body, &body_size) != STATUS_OK)
            return 0;
        bytes = bytes_of(body, body_size);
    }
    if (filter) {
        if (table_filter_check(bytes) == STATUS_OK)
            for (uint64_t hash = 1; hash != 0; hash <<= 1)
                (void)table_filter_may_hold(bytes, ~hash);
    } else if (table_block_check(tree, bytes) == STATUS_OK) {
        walk(tree, bytes);
    }
    free(body);
    return 0;
}
