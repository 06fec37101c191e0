/* SPDX-License-Identifier: Apache-2.0 */
/* A cursor moves from block to block like this: it finds the next place, pins its index and its
 * data block, and only then gives up where it stood. So whatever interrupts a move, it can be made
 * again. */
#include "proto/base/assert.h"
#include "storage/lsm/table_internal.h"

/* A block that a move has found: what the cursor will stand in. */
struct landing {
    struct cache_block *index;
    struct cache_block *data;
    uint32_t partition;
    uint32_t block;
};

void table_cursor_init(struct table_cursor *cursor, struct table *table, uint64_t since)
{
    ASSERT(table->attached);
    cursor->table = table;
    cursor->since = since;
    cursor->index = NULL;
    cursor->data = NULL;
    cursor->partition = 0;
    cursor->block = 0;
}

void table_cursor_close(struct table_cursor *cursor)
{
    if (cursor->data != NULL)
        cache_unpin(cursor->data);
    if (cursor->index != NULL)
        cache_unpin(cursor->index);
    cursor->data = NULL;
    cursor->index = NULL;
}

/* Whether blocks up to `version_max` are of interest. */
static bool wanted(const struct table_cursor *cursor, uint64_t version_max)
{
    return cursor->since == 0 || version_max > cursor->since;
}

/* Pins the partition's index; the cursor's own is pinned once more. */
static enum status pin_index(struct table_cursor *cursor, uint32_t partition, struct lsm_wait *wait,
                             struct cache_block **index)
{
    if (cursor->index != NULL && cursor->partition == partition) {
        cache_pin(cursor->index);
        *index = cursor->index;
        return STATUS_OK;
    }
    return table_index_pin(cursor->table, partition, wait, index);
}

static enum status pin_data(struct table_cursor *cursor, struct lsm_wait *wait,
                            struct landing *landing)
{
    struct table_index_entry entry;
    table_index_get(cache_block_bytes(landing->index), landing->block, &entry);
    entry.place.type = TABLE_BLOCK_DATA;
    enum status status = cache_get(&cursor->table->source, &entry.place, wait, &landing->data);
    if (status != STATUS_OK)
        cache_unpin(landing->index);
    return status;
}

/* The first block of interest at or after (partition, block). */
static enum status land_forward(struct table_cursor *cursor, struct lsm_wait *wait,
                                uint32_t partition, uint32_t block, struct landing *landing)
{
    struct bytes top = table_top(cursor->table);
    for (; partition < table_index_count(top); partition++, block = 0) {
        struct table_index_entry entry;
        table_index_get(top, partition, &entry);
        if (!wanted(cursor, entry.version_max) || block >= entry.entries_count)
            continue;
        enum status status = pin_index(cursor, partition, wait, &landing->index);
        if (status != STATUS_OK)
            return status;
        struct bytes body = cache_block_bytes(landing->index);
        for (; block < table_index_count(body); block++) {
            table_index_get(body, block, &entry);
            if (!wanted(cursor, entry.version_max))
                continue;
            landing->partition = partition;
            landing->block = block;
            return pin_data(cursor, wait, landing);
        }
        cache_unpin(landing->index);
    }
    return STATUS_END;
}

/* The last block of interest at or before (partition, block); `block` may be past the partition's
 * end. */
static enum status land_backward(struct table_cursor *cursor, struct lsm_wait *wait,
                                 uint32_t partition, uint32_t block, struct landing *landing)
{
    struct bytes top = table_top(cursor->table);
    for (;; partition--, block = UINT32_MAX) {
        struct table_index_entry entry;
        table_index_get(top, partition, &entry);
        if (wanted(cursor, entry.version_max)) {
            enum status status = pin_index(cursor, partition, wait, &landing->index);
            if (status != STATUS_OK)
                return status;
            struct bytes body = cache_block_bytes(landing->index);
            uint32_t count = table_index_count(body);
            for (uint32_t i = block < count ? block + 1 : count; i > 0; i--) {
                table_index_get(body, i - 1, &entry);
                if (!wanted(cursor, entry.version_max))
                    continue;
                landing->partition = partition;
                landing->block = i - 1;
                return pin_data(cursor, wait, landing);
            }
            cache_unpin(landing->index);
        }
        if (partition == 0)
            return STATUS_END;
    }
}

/* Gives up the old place for the new one. */
static void settle(struct table_cursor *cursor, const struct landing *landing)
{
    table_cursor_close(cursor);
    cursor->index = landing->index;
    cursor->data = landing->data;
    cursor->partition = landing->partition;
    cursor->block = landing->block;
    table_block_cursor_init(&cursor->at, cursor->table->tree, cache_block_bytes(cursor->data));
}

/* The call's result: END lets go of everything. */
static enum status result(struct table_cursor *cursor, enum status status, struct lsm_entry *entry)
{
    if (status == STATUS_OK)
        *entry = cursor->at.entry;
    else if (status == STATUS_END)
        table_cursor_close(cursor);
    return status;
}

/* Lands at or after a block, and stands on its first entry. */
static enum status enter_forward(struct table_cursor *cursor, struct lsm_wait *wait,
                                 uint32_t partition, uint32_t block)
{
    struct landing landing;
    enum status status = land_forward(cursor, wait, partition, block, &landing);
    if (status == STATUS_OK) {
        settle(cursor, &landing);
        table_block_cursor_first(&cursor->at);
    }
    return status;
}

/* Lands before a block, and stands on the last entry there. */
static enum status enter_backward(struct table_cursor *cursor, struct lsm_wait *wait,
                                  uint32_t partition, uint32_t block)
{
    struct landing landing;
    if (block == 0 && partition == 0)
        return STATUS_END;
    enum status status = block != 0
                             ? land_backward(cursor, wait, partition, block - 1, &landing)
                             : land_backward(cursor, wait, partition - 1, UINT32_MAX, &landing);
    if (status == STATUS_OK) {
        settle(cursor, &landing);
        table_block_cursor_last(&cursor->at);
    }
    return status;
}

/* Finds the block that has the first entry at or after (key, version), if its separator is to be
 * believed; the partition past the last where there is none. */
static enum status find_block(struct table_cursor *cursor, struct lsm_wait *wait, struct bytes key,
                              uint64_t version, uint32_t *partition, uint32_t *block)
{
    struct bytes top = table_top(cursor->table);
    *block = 0;
    *partition = table_index_find(top, key, version);
    if (*partition == table_index_count(top))
        return STATUS_OK;
    /* Where the whole partition is passed over, any block of it will do: no need to read. */
    struct table_index_entry entry;
    table_index_get(top, *partition, &entry);
    if (!wanted(cursor, entry.version_max))
        return STATUS_OK;
    struct cache_block *index;
    enum status status = pin_index(cursor, *partition, wait, &index);
    if (status != STATUS_OK)
        return status;
    *block = table_index_find(cache_block_bytes(index), key, version);
    cache_unpin(index);
    return STATUS_OK;
}

static enum status seek(struct table_cursor *cursor, struct lsm_wait *wait, struct bytes key,
                        uint64_t version)
{
    uint32_t partition;
    uint32_t block;
    enum status status = find_block(cursor, wait, key, version, &partition, &block);
    if (status != STATUS_OK)
        return status;
    struct landing landing;
    status = land_forward(cursor, wait, partition, block, &landing);
    if (status != STATUS_OK)
        return status;
    settle(cursor, &landing);
    if (table_block_cursor_seek(&cursor->at, key, version))
        return STATUS_OK;
    /* Past the block's end, but before its separator: the next one begins after. */
    return enter_forward(cursor, wait, cursor->partition, cursor->block + 1);
}

static enum status seek_before(struct table_cursor *cursor, struct lsm_wait *wait, struct bytes key,
                               uint64_t version)
{
    uint32_t partition;
    uint32_t block;
    enum status status = find_block(cursor, wait, key, version, &partition, &block);
    if (status != STATUS_OK)
        return status;
    if (partition == table_index_count(table_top(cursor->table))) {
        partition--;
        block = UINT32_MAX;
    }
    struct landing landing;
    status = land_backward(cursor, wait, partition, block, &landing);
    if (status != STATUS_OK)
        return status;
    settle(cursor, &landing);
    if (table_block_cursor_seek_before(&cursor->at, key, version))
        return STATUS_OK;
    return enter_backward(cursor, wait, cursor->partition, cursor->block);
}

static uint64_t version_clamped(uint64_t version)
{
    return version < lsm_entry_version_max ? version : lsm_entry_version_max;
}

/* A seek that was interrupted stands nowhere, but keeps its index for the next attempt. */
static enum status seek_result(struct table_cursor *cursor, enum status status,
                               struct lsm_entry *entry)
{
    if (status != STATUS_OK && cursor->data != NULL) {
        cache_unpin(cursor->data);
        cursor->data = NULL;
    }
    return result(cursor, status, entry);
}

enum status table_cursor_seek(struct table_cursor *cursor, struct lsm_wait *wait, struct bytes key,
                              uint64_t version, struct lsm_entry *entry)
{
    *entry = (struct lsm_entry){0};
    return seek_result(cursor, seek(cursor, wait, key, version_clamped(version)), entry);
}

enum status table_cursor_seek_before(struct table_cursor *cursor, struct lsm_wait *wait,
                                     struct bytes key, uint64_t version, struct lsm_entry *entry)
{
    *entry = (struct lsm_entry){0};
    return seek_result(cursor, seek_before(cursor, wait, key, version_clamped(version)), entry);
}

enum status table_cursor_first(struct table_cursor *cursor, struct lsm_wait *wait,
                               struct lsm_entry *entry)
{
    *entry = (struct lsm_entry){0};
    return seek_result(cursor, enter_forward(cursor, wait, 0, 0), entry);
}

enum status table_cursor_last(struct table_cursor *cursor, struct lsm_wait *wait,
                              struct lsm_entry *entry)
{
    *entry = (struct lsm_entry){0};
    uint32_t end = table_index_count(table_top(cursor->table));
    return seek_result(cursor, enter_backward(cursor, wait, end, 0), entry);
}

enum status table_cursor_next(struct table_cursor *cursor, struct lsm_wait *wait,
                              struct lsm_entry *entry)
{
    *entry = (struct lsm_entry){0};
    if (cursor->data == NULL)
        return STATUS_END;
    enum status status = STATUS_OK;
    if (!table_block_cursor_next(&cursor->at))
        status = enter_forward(cursor, wait, cursor->partition, cursor->block + 1);
    return result(cursor, status, entry);
}

enum status table_cursor_previous(struct table_cursor *cursor, struct lsm_wait *wait,
                                  struct lsm_entry *entry)
{
    *entry = (struct lsm_entry){0};
    if (cursor->data == NULL)
        return STATUS_END;
    enum status status = STATUS_OK;
    if (!table_block_cursor_previous(&cursor->at))
        status = enter_backward(cursor, wait, cursor->partition, cursor->block);
    return result(cursor, status, entry);
}
