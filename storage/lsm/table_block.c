/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/lsm/table_block.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "storage/lsm/table_format.h"

static const uint64_t deletion_bit = 1ULL << 63;

/* ---- Varints ---- */

enum { varint_size_max = 10 };

static size_t varint_store(uint8_t *to, uint64_t value)
{
    size_t size = 0;
    while (value >= 0x80) {
        to[size++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    to[size++] = (uint8_t)value;
    return size;
}

static bool varint_load(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && *at < end; shift += 7) {
        uint8_t byte = *(*at)++;
        if (shift == 63 && byte > 1)
            return false;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

static uint64_t zigzag(uint64_t difference)
{
    return (difference << 1) ^ (uint64_t)((int64_t)difference >> 63);
}

static uint64_t unzigzag(uint64_t value)
{
    return (value >> 1) ^ (0 - (value & 1));
}

/* ---- One entry of kind bytes ---- */

struct parsed_entry {
    uint32_t shared;
    uint32_t rest;
    struct lsm_entry entry;  /* without the key */
    const uint8_t *key_rest; /* `rest` bytes */
    const uint8_t *end;      /* where the next entry begins */
};

/* False where it does not fit before `end`, or passes a limit. */
static bool entry_parse(const uint8_t *at, const uint8_t *end, uint64_t version_base,
                        struct parsed_entry *parsed)
{
    uint64_t shared;
    uint64_t rest;
    uint64_t value;
    uint64_t version;
    if (!varint_load(&at, end, &shared) || !varint_load(&at, end, &rest) ||
        !varint_load(&at, end, &value) || !varint_load(&at, end, &version))
        return false;
    uint64_t value_size = value >> 1;
    if (shared > lsm_key_size_max || rest > lsm_key_size_max - shared ||
        value_size > lsm_value_size_max || rest + value_size > (uint64_t)(end - at))
        return false;
    *parsed = (struct parsed_entry){
        .shared = (uint32_t)shared,
        .rest = (uint32_t)rest,
        .key_rest = at,
        .end = at + rest + value_size,
        .entry = {.version = version_base + unzigzag(version),
                  .deletion = (value & 1) != 0,
                  .value = bytes_of(at + rest, value_size)},
    };
    return parsed->entry.version <= lsm_entry_version_max &&
           (!parsed->entry.deletion || value_size == 0);
}

/* ---- Checking ---- */

static enum status bytes_check(const struct lsm_tree_options *tree, struct bytes body)
{
    struct table_block_cursor shape;
    uint32_t count = load_u32(body.data + body.size - 8);
    uint32_t restarts = load_u32(body.data + body.size - 4);
    if (count == 0 || restarts != (count - 1) / table_block_restart_interval + 1 ||
        (uint64_t)restarts * 4 > body.size - table_block_trailer_size)
        return STATUS_CORRUPT;
    table_block_cursor_init(&shape, tree, body);
    const uint8_t *end = body.data + shape.entries_size;
    const uint8_t *at = body.data;
    uint8_t keys[2][lsm_key_size_max];
    size_t key_size = 0;
    uint64_t version = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct parsed_entry parsed;
        bool is_restart = i % table_block_restart_interval == 0;
        if (!entry_parse(at, end, shape.version_base, &parsed) || parsed.shared > key_size ||
            (is_restart &&
             (parsed.shared != 0 ||
              load_u32(end + i / table_block_restart_interval * 4) != (uint32_t)(at - body.data))))
            return STATUS_CORRUPT;
        uint8_t *key = keys[i % 2];
        const uint8_t *before = keys[(i + 1) % 2];
        memcpy(key, before, parsed.shared);
        memcpy(key + parsed.shared, parsed.key_rest, parsed.rest);
        size_t size = parsed.shared + parsed.rest;
        if (i != 0 && lsm_entry_order(bytes_of(before, key_size), version, bytes_of(key, size),
                                      parsed.entry.version) >= 0)
            return STATUS_CORRUPT;
        key_size = size;
        version = parsed.entry.version;
        at = parsed.end;
    }
    return at == end ? STATUS_OK : STATUS_CORRUPT;
}

static enum status fixed_check(const struct lsm_tree_options *tree, struct bytes body)
{
    size_t entry_size = (size_t)tree->key_size + tree->value_size + 8;
    uint64_t count = load_u32(body.data + body.size - 8);
    if (count == 0 || load_u32(body.data + body.size - 4) != 0 ||
        load_u64(body.data + body.size - 16) != 0 ||
        count * entry_size != body.size - table_block_trailer_size)
        return STATUS_CORRUPT;
    struct table_block_cursor cursor;
    table_block_cursor_init(&cursor, tree, body);
    bool found = table_block_cursor_first(&cursor);
    while (found) {
        struct lsm_entry before = cursor.entry;
        found = table_block_cursor_next(&cursor);
        if (found && lsm_entry_order(before.key, before.version, cursor.entry.key,
                                     cursor.entry.version) >= 0)
            return STATUS_CORRUPT;
    }
    return STATUS_OK;
}

enum status table_block_check(const struct lsm_tree_options *tree, struct bytes body)
{
    if (body.size <= table_block_trailer_size || body.size > table_data_size_max)
        return STATUS_CORRUPT;
    return tree->kind == LSM_BYTES ? bytes_check(tree, body) : fixed_check(tree, body);
}

/* ---- Making ---- */

void table_block_builder_init(struct table_block_builder *builder,
                              const struct lsm_tree_options *tree)
{
    builder->tree = tree;
    builder->body = NULL;
    builder->capacity = 0;
    table_block_builder_reset(builder);
}

void table_block_builder_free(struct table_block_builder *builder)
{
    free(builder->body);
    builder->body = NULL;
    builder->capacity = 0;
}

void table_block_builder_reset(struct table_block_builder *builder)
{
    builder->size = 0;
    builder->entries_count = 0;
    builder->restarts_count = 0;
    builder->version_base = 0;
    builder->version_min = UINT64_MAX;
    builder->version_max = 0;
    builder->key_size = 0;
}

/* At most this many bytes more, restart point included. */
static size_t entry_size_max(const struct lsm_entry *entry)
{
    return 4 * varint_size_max + 4 + entry->key.size + entry->value.size;
}

bool table_block_builder_takes(const struct table_block_builder *builder,
                               const struct lsm_entry *entry)
{
    if (builder->entries_count == 0)
        return true;
    if (builder->restarts_count == table_block_restarts_max)
        return false;
    size_t more = builder->tree->kind == LSM_BYTES
                      ? 8 + entry->key.size + entry->value.size
                      : (size_t)builder->tree->key_size + builder->tree->value_size + 8;
    return builder->size + builder->restarts_count * 4 + more <= table_data_size_target;
}

static enum status make_room(struct table_block_builder *builder, size_t more)
{
    if (more <= builder->capacity - builder->size)
        return STATUS_OK;
    size_t capacity = 2 * builder->capacity;
    if (capacity < builder->size + more)
        capacity = builder->size + more;
    if (capacity < 2 * table_data_size_target)
        capacity = 2 * table_data_size_target;
    uint8_t *body = realloc(builder->body, capacity);
    if (body == NULL)
        return STATUS_NO_MEMORY;
    builder->body = body;
    builder->capacity = capacity;
    return STATUS_OK;
}

static void bytes_add(struct table_block_builder *builder, const struct lsm_entry *entry)
{
    size_t shared = 0;
    if (builder->entries_count % table_block_restart_interval == 0) {
        builder->restarts[builder->restarts_count++] = (uint32_t)builder->size;
    } else {
        size_t most = builder->key_size < entry->key.size ? builder->key_size : entry->key.size;
        while (shared < most && builder->key[shared] == entry->key.data[shared])
            shared++;
    }
    uint8_t *at = builder->body + builder->size;
    size_t rest = entry->key.size - shared;
    at += varint_store(at, shared);
    at += varint_store(at, rest);
    at += varint_store(at, entry->value.size << 1 | (entry->deletion ? 1 : 0));
    at += varint_store(at, zigzag(entry->version - builder->version_base));
    if (rest != 0)
        memcpy(at, entry->key.data + shared, rest);
    at += rest;
    bytes_copy(at, entry->value);
    at += entry->value.size;
    builder->size = (size_t)(at - builder->body);
    if (rest != 0)
        memcpy(builder->key + shared, entry->key.data + shared, rest);
    builder->key_size = (uint32_t)entry->key.size;
}

static void fixed_add(struct table_block_builder *builder, const struct lsm_entry *entry)
{
    const struct lsm_tree_options *tree = builder->tree;
    ASSERT(entry->key.size == tree->key_size);
    ASSERT(entry->deletion || entry->value.size == tree->value_size);
    uint8_t *at = builder->body + builder->size;
    bytes_copy(at, entry->key);
    at += tree->key_size;
    if (entry->deletion)
        memset(at, 0, tree->value_size);
    else
        bytes_copy(at, entry->value);
    at += tree->value_size;
    store_u64(at, entry->version | (entry->deletion ? deletion_bit : 0));
    builder->size += (size_t)tree->key_size + tree->value_size + 8;
    bytes_copy(builder->key, entry->key);
    builder->key_size = tree->key_size;
}

enum status table_block_builder_add(struct table_block_builder *builder,
                                    const struct lsm_entry *entry)
{
    ASSERT(entry->key.size <= lsm_key_size_max && entry->value.size <= lsm_value_size_max);
    ASSERT(entry->version <= lsm_entry_version_max);
    enum status status = make_room(builder, entry_size_max(entry) + builder->tree->value_size);
    if (status != STATUS_OK)
        return status;
    if (builder->entries_count == 0)
        builder->version_base = entry->version;
    if (builder->tree->kind == LSM_BYTES)
        bytes_add(builder, entry);
    else
        fixed_add(builder, entry);
    builder->entries_count++;
    if (builder->version_min > entry->version)
        builder->version_min = entry->version;
    if (builder->version_max < entry->version)
        builder->version_max = entry->version;
    return STATUS_OK;
}

enum status table_block_builder_finish(struct table_block_builder *builder, struct bytes *body)
{
    *body = bytes_of(NULL, 0);
    ASSERT(builder->entries_count != 0);
    size_t tail_size = builder->restarts_count * 4 + table_block_trailer_size;
    enum status status = make_room(builder, tail_size);
    if (status != STATUS_OK)
        return status;
    uint8_t *at = builder->body + builder->size;
    for (uint32_t i = 0; i < builder->restarts_count; i++, at += 4)
        store_u32(at, builder->restarts[i]);
    store_u64(at, builder->tree->kind == LSM_BYTES ? builder->version_base : 0);
    store_u32(at + 8, builder->entries_count);
    store_u32(at + 12, builder->restarts_count);
    *body = bytes_of(builder->body, builder->size + tail_size);
    return STATUS_OK;
}

/* ---- Reading ---- */

void table_block_cursor_init(struct table_block_cursor *cursor, const struct lsm_tree_options *tree,
                             struct bytes body)
{
    const uint8_t *trailer = body.data + body.size - table_block_trailer_size;
    cursor->tree = tree;
    cursor->body = body.data;
    cursor->version_base = load_u64(trailer);
    cursor->entries_count = load_u32(trailer + 8);
    cursor->restarts_count = load_u32(trailer + 12);
    cursor->entries_size =
        (uint32_t)(body.size - table_block_trailer_size - (size_t)cursor->restarts_count * 4);
    cursor->position = 0;
    cursor->position_next = 0;
    cursor->key_size = 0;
    cursor->entry = (struct lsm_entry){0};
}

/* Kind bytes: reads the entry at `position`; the key buffer has the key before, or it is a restart
 * point. */
static void bytes_read(struct table_block_cursor *cursor, uint32_t position)
{
    struct parsed_entry parsed;
    bool good = entry_parse(cursor->body + position, cursor->body + cursor->entries_size,
                            cursor->version_base, &parsed);
    ASSERT(good && parsed.shared <= cursor->key_size);
    memcpy(cursor->key + parsed.shared, parsed.key_rest, parsed.rest);
    cursor->key_size = parsed.shared + parsed.rest;
    cursor->entry = parsed.entry;
    cursor->entry.key = bytes_of(cursor->key, cursor->key_size);
    cursor->position = position;
    cursor->position_next = (uint32_t)(parsed.end - cursor->body);
}

static void fixed_read(struct table_block_cursor *cursor, uint32_t ordinal)
{
    const struct lsm_tree_options *tree = cursor->tree;
    size_t entry_size = (size_t)tree->key_size + tree->value_size + 8;
    const uint8_t *at = cursor->body + ordinal * entry_size;
    uint64_t version = load_u64(at + tree->key_size + tree->value_size);
    bool deletion = (version & deletion_bit) != 0;
    cursor->entry = (struct lsm_entry){
        .key = bytes_of(at, tree->key_size),
        .version = version & ~deletion_bit,
        .deletion = deletion,
        .value = bytes_of(at + tree->key_size, deletion ? 0 : tree->value_size),
    };
    cursor->position = ordinal;
    cursor->position_next = ordinal + 1;
}

static uint32_t restart_position(const struct table_block_cursor *cursor, uint32_t restart)
{
    return load_u32(cursor->body + cursor->entries_size + (size_t)restart * 4);
}

static void bytes_read_restart(struct table_block_cursor *cursor, uint32_t restart)
{
    cursor->key_size = 0;
    bytes_read(cursor, restart_position(cursor, restart));
}

bool table_block_cursor_first(struct table_block_cursor *cursor)
{
    if (cursor->tree->kind == LSM_BYTES)
        bytes_read_restart(cursor, 0);
    else
        fixed_read(cursor, 0);
    return true;
}

bool table_block_cursor_last(struct table_block_cursor *cursor)
{
    if (cursor->tree->kind == LSM_FIXED) {
        fixed_read(cursor, cursor->entries_count - 1);
        return true;
    }
    bytes_read_restart(cursor, cursor->restarts_count - 1);
    while (cursor->position_next < cursor->entries_size)
        bytes_read(cursor, cursor->position_next);
    return true;
}

static int entry_order(const struct table_block_cursor *cursor, struct bytes key, uint64_t version)
{
    return lsm_entry_order(cursor->entry.key, cursor->entry.version, key, version);
}

static bool fixed_seek(struct table_block_cursor *cursor, struct bytes key, uint64_t version)
{
    uint32_t low = 0;
    uint32_t high = cursor->entries_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        fixed_read(cursor, middle);
        if (entry_order(cursor, key, version) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == cursor->entries_count)
        return false;
    fixed_read(cursor, low);
    return true;
}

bool table_block_cursor_seek(struct table_block_cursor *cursor, struct bytes key, uint64_t version)
{
    if (cursor->tree->kind == LSM_FIXED)
        return fixed_seek(cursor, key, version);
    /* The last restart point before (key, version), or the first of all. */
    uint32_t low = 0;
    uint32_t high = cursor->restarts_count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        bytes_read_restart(cursor, middle);
        if (entry_order(cursor, key, version) < 0)
            low = middle;
        else
            high = middle;
    }
    bytes_read_restart(cursor, low);
    while (entry_order(cursor, key, version) < 0) {
        if (cursor->position_next == cursor->entries_size)
            return false;
        bytes_read(cursor, cursor->position_next);
    }
    return true;
}

bool table_block_cursor_seek_before(struct table_block_cursor *cursor, struct bytes key,
                                    uint64_t version)
{
    if (!table_block_cursor_seek(cursor, key, version))
        return table_block_cursor_last(cursor);
    return table_block_cursor_previous(cursor);
}

bool table_block_cursor_next(struct table_block_cursor *cursor)
{
    if (cursor->tree->kind == LSM_FIXED) {
        if (cursor->position_next == cursor->entries_count)
            return false;
        fixed_read(cursor, cursor->position_next);
        return true;
    }
    if (cursor->position_next == cursor->entries_size)
        return false;
    bytes_read(cursor, cursor->position_next);
    return true;
}

bool table_block_cursor_previous(struct table_block_cursor *cursor)
{
    uint32_t position = cursor->position;
    if (position == 0)
        return false;
    if (cursor->tree->kind == LSM_FIXED) {
        fixed_read(cursor, position - 1);
        return true;
    }
    /* The last restart point before, and on from there. */
    uint32_t low = 0;
    uint32_t high = cursor->restarts_count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (restart_position(cursor, middle) < position)
            low = middle;
        else
            high = middle;
    }
    bytes_read_restart(cursor, low);
    while (cursor->position_next != position)
        bytes_read(cursor, cursor->position_next);
    return true;
}
