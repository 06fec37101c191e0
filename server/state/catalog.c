/* SPDX-License-Identifier: Apache-2.0 */
#include "server/state/catalog.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/name.h"

enum { catalog_format = 1, catalog_flag = 1, catalog_id_size = 4 };

struct catalog *catalog_create(void)
{
    struct catalog *catalog = calloc(1, sizeof *catalog);
    if (catalog != NULL)
        catalog->references_count = 1;
    return catalog;
}

static void *catalog_duplicate(const void *from, size_t size)
{
    void *copy = malloc(size == 0 ? 1 : size);
    if (copy != NULL && size != 0)
        memcpy(copy, from, size);
    return copy;
}

struct catalog *catalog_copy(const struct catalog *catalog)
{
    struct catalog *copy = catalog_create();
    if (copy == NULL)
        return NULL;
    copy->tables_count = catalog->tables_count;
    copy->drops_count = catalog->drops_count;
    copy->tables =
        catalog_duplicate(catalog->tables, catalog->tables_count * sizeof *catalog->tables);
    copy->order = catalog_duplicate(catalog->order, catalog->tables_count * sizeof *catalog->order);
    copy->drops = catalog_duplicate(catalog->drops, catalog->drops_count * sizeof *catalog->drops);
    if (copy->tables == NULL || copy->order == NULL || copy->drops == NULL) {
        catalog_release(copy);
        return NULL;
    }
    return copy;
}

struct catalog *catalog_retain(struct catalog *catalog)
{
    ASSERT(catalog->references_count != 0);
    catalog->references_count++;
    return catalog;
}

void catalog_release(struct catalog *catalog)
{
    if (catalog == NULL)
        return;
    ASSERT(catalog->references_count != 0);
    if (--catalog->references_count != 0)
        return;
    free(catalog->tables);
    free(catalog->order);
    free(catalog->drops);
    free(catalog);
}

/* ---- Looking up ---- */

static struct bytes name_bytes(const struct catalog_name *name)
{
    return bytes_of(name->text, name->size);
}

static void name_set(struct catalog_name *name, struct bytes text)
{
    ASSERT(text.size <= limit_name_size);
    *name = (struct catalog_name){.size = (uint8_t)text.size};
    bytes_copy(name->text, text);
}

/* The place of the first table whose name is not below `name`. */
static size_t table_place(const struct catalog *catalog, struct bytes name)
{
    size_t low = 0;
    size_t high = catalog->tables_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (bytes_compare(name_bytes(&catalog->tables[middle].name), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The place in `order` of the first table whose id is not below `id`. */
static size_t order_place(const struct catalog *catalog, uint32_t id)
{
    size_t low = 0;
    size_t high = catalog->tables_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (catalog->tables[catalog->order[middle]].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct catalog_table *catalog_table_find(const struct catalog *catalog, struct bytes name)
{
    size_t place = table_place(catalog, name);
    if (place == catalog->tables_count ||
        !bytes_equal(name_bytes(&catalog->tables[place].name), name))
        return NULL;
    return &catalog->tables[place];
}

struct catalog_table *catalog_table_by_id(const struct catalog *catalog, uint32_t id)
{
    size_t place = order_place(catalog, id);
    if (place == catalog->tables_count || catalog->tables[catalog->order[place]].id != id)
        return NULL;
    return &catalog->tables[catalog->order[place]];
}

const struct catalog_index *catalog_index_find(const struct catalog_table *table, struct bytes name)
{
    for (unsigned i = 0; i < table->indexes_count; i++) {
        if (bytes_equal(name_bytes(&table->indexes[i].name), name))
            return &table->indexes[i];
    }
    return NULL;
}

const struct catalog_index *catalog_index_by_id(const struct catalog_table *table, uint32_t id)
{
    for (unsigned i = 0; i < table->indexes_count; i++) {
        if (table->indexes[i].id == id)
            return &table->indexes[i];
    }
    return NULL;
}

/* ---- Changing ---- */

/* Makes room for one more, and then opens a gap at `place`. */
static enum status table_insert(struct catalog *catalog, size_t place,
                                const struct catalog_table *table)
{
    size_t count = catalog->tables_count;
    struct catalog_table *tables = realloc(catalog->tables, (count + 1) * sizeof *tables);
    if (tables == NULL)
        return STATUS_NO_MEMORY;
    catalog->tables = tables;
    uint32_t *order = realloc(catalog->order, (count + 1) * sizeof *order);
    if (order == NULL)
        return STATUS_NO_MEMORY;
    catalog->order = order;

    size_t order_at = order_place(catalog, table->id);
    memmove(tables + place + 1, tables + place, (count - place) * sizeof *tables);
    tables[place] = *table;
    for (size_t i = 0; i < count; i++)
        order[i] += order[i] >= place;
    memmove(order + order_at + 1, order + order_at, (count - order_at) * sizeof *order);
    order[order_at] = (uint32_t)place;
    catalog->tables_count++;
    return STATUS_OK;
}

static void table_remove(struct catalog *catalog, size_t place)
{
    size_t order_at = order_place(catalog, catalog->tables[place].id);
    ASSERT(catalog->order[order_at] == place);
    size_t count = --catalog->tables_count;
    memmove(catalog->order + order_at, catalog->order + order_at + 1,
            (count - order_at) * sizeof *catalog->order);
    memmove(catalog->tables + place, catalog->tables + place + 1,
            (count - place) * sizeof *catalog->tables);
    for (size_t i = 0; i < count; i++)
        catalog->order[i] -= catalog->order[i] > place;
}

enum status catalog_table_create(struct catalog *catalog, struct bytes name, uint32_t id,
                                 uint64_t version)
{
    ASSERT(name_is_valid(name));
    if (catalog_table_find(catalog, name) != NULL)
        return STATUS_ALREADY_EXISTS;
    if (catalog->tables_count >= limit_tables_count)
        return STATUS_TOO_LARGE;
    struct catalog_table table;
    memset(&table, 0, sizeof table);
    table.id = id;
    table.created_version = version;
    name_set(&table.name, name);
    return table_insert(catalog, table_place(catalog, name), &table);
}

enum status catalog_index_create(struct catalog *catalog, struct catalog_table *table,
                                 struct bytes name, bool unique, uint32_t id, uint64_t version)
{
    (void)catalog;
    ASSERT(name_is_valid(name));
    if (catalog_index_find(table, name) != NULL)
        return STATUS_ALREADY_EXISTS;
    if (table->indexes_count >= limit_table_indexes_count)
        return STATUS_TOO_LARGE;
    unsigned place = 0;
    while (place < table->indexes_count &&
           bytes_compare(name_bytes(&table->indexes[place].name), name) < 0)
        place++;
    memmove(table->indexes + place + 1, table->indexes + place,
            (table->indexes_count - place) * sizeof *table->indexes);
    struct catalog_index *index = &table->indexes[place];
    *index = (struct catalog_index){.id = id, .unique = unique, .created_version = version};
    name_set(&index->name, name);
    table->indexes_count++;
    return STATUS_OK;
}

static int drop_compare(struct catalog_drop a, struct catalog_drop b)
{
    if (a.kind != b.kind)
        return a.kind < b.kind ? -1 : 1;
    return (a.id > b.id) - (a.id < b.id);
}

static enum status drop_add(struct catalog *catalog, struct catalog_drop drop)
{
    if (catalog->drops_count >= catalog_drops_max)
        return STATUS_BUSY;
    struct catalog_drop *drops =
        realloc(catalog->drops, (catalog->drops_count + 1) * sizeof *drops);
    if (drops == NULL)
        return STATUS_NO_MEMORY;
    catalog->drops = drops;
    size_t place = catalog->drops_count++;
    for (; place > 0 && drop_compare(drops[place - 1], drop) > 0; place--)
        drops[place] = drops[place - 1];
    drops[place] = drop;
    return STATUS_OK;
}

enum status catalog_table_drop(struct catalog *catalog, struct catalog_table *table)
{
    if (catalog->drops_count + 1 + table->indexes_count > catalog_drops_max)
        return STATUS_BUSY;
    struct catalog_drop drop = {.kind = CATALOG_DROP_TABLE, .id = table->id};
    enum status status = drop_add(catalog, drop);
    for (unsigned i = 0; i < table->indexes_count && status == STATUS_OK; i++) {
        drop = (struct catalog_drop){.kind = CATALOG_DROP_INDEX, .id = table->indexes[i].id};
        status = drop_add(catalog, drop);
    }
    if (status == STATUS_OK)
        table_remove(catalog, (size_t)(table - catalog->tables));
    return status;
}

enum status catalog_index_drop(struct catalog *catalog, struct catalog_table *table,
                               const struct catalog_index *index)
{
    struct catalog_drop drop = {.kind = CATALOG_DROP_INDEX, .id = index->id};
    enum status status = drop_add(catalog, drop);
    if (status != STATUS_OK)
        return status;
    size_t place = (size_t)(index - table->indexes);
    table->indexes_count--;
    memmove(table->indexes + place, table->indexes + place + 1,
            (table->indexes_count - place) * sizeof *table->indexes);
    return STATUS_OK;
}

void catalog_drop_finish(struct catalog *catalog, struct catalog_drop drop)
{
    for (size_t i = 0; i < catalog->drops_count; i++) {
        if (drop_compare(catalog->drops[i], drop) == 0) {
            catalog->drops_count--;
            memmove(catalog->drops + i, catalog->drops + i + 1,
                    (catalog->drops_count - i) * sizeof *catalog->drops);
            return;
        }
    }
    UNREACHABLE();
}

/* ---- In the tree ---- */

size_t catalog_table_key(uint32_t id, uint8_t to[catalog_meta_key_size_max])
{
    to[0] = 'T';
    store_u32_be(to + 1, id);
    return 1 + catalog_id_size;
}

size_t catalog_drop_key(struct catalog_drop drop, uint8_t to[catalog_meta_key_size_max])
{
    to[0] = 'D';
    to[1] = (uint8_t)drop.kind;
    store_u32_be(to + 2, drop.id);
    return 2 + catalog_id_size;
}

static uint8_t *name_encode(const struct catalog_name *name, uint8_t *to)
{
    *to++ = name->size;
    bytes_copy(to, name_bytes(name));
    return to + name->size;
}

size_t catalog_table_encode(const struct catalog_table *table, uint8_t to[catalog_table_size_max])
{
    uint8_t *at = to;
    *at++ = catalog_format;
    *at++ = table->expires ? catalog_flag : 0;
    store_u64(at, table->created_version);
    at = name_encode(&table->name, at + 8);
    *at++ = (uint8_t)table->indexes_count;
    for (unsigned i = 0; i < table->indexes_count; i++) {
        const struct catalog_index *index = &table->indexes[i];
        store_u32(at, index->id);
        store_u64(at + 4, index->created_version);
        at[12] = index->unique ? catalog_flag : 0;
        at = name_encode(&index->name, at + 13);
    }
    ASSERT(at - to <= catalog_table_size_max);
    return (size_t)(at - to);
}

/* Takes `size` bytes off the front. */
static bool take(struct bytes *from, size_t size, struct bytes *taken)
{
    if (from->size < size)
        return false;
    *taken = bytes_of(from->data, size);
    *from = bytes_of(from->data + size, from->size - size);
    return true;
}

static bool take_name(struct bytes *from, struct bytes *name)
{
    struct bytes size;
    return take(from, 1, &size) && take(from, size.data[0], name) && name_is_valid(*name);
}

static enum status load_index(struct catalog *catalog, struct catalog_table *table,
                              struct bytes *value)
{
    struct bytes fixed;
    struct bytes name;
    if (!take(value, 13, &fixed) || !take_name(value, &name) ||
        (fixed.data[12] & ~catalog_flag) != 0)
        return STATUS_CORRUPT;
    enum status status = catalog_index_create(catalog, table, name, fixed.data[12] != 0,
                                              load_u32(fixed.data), load_u64(fixed.data + 4));
    return status == STATUS_OK ? STATUS_OK : STATUS_CORRUPT;
}

static enum status load_table(struct catalog *catalog, uint32_t id, struct bytes value)
{
    struct bytes fixed;
    struct bytes name;
    struct bytes count;
    if (value.size > 0 && value.data[0] > catalog_format)
        return STATUS_NEWER_FORMAT;
    if (!take(&value, 10, &fixed) || fixed.data[0] != catalog_format ||
        (fixed.data[1] & ~catalog_flag) != 0 || !take_name(&value, &name) ||
        !take(&value, 1, &count))
        return STATUS_CORRUPT;
    enum status status = catalog_table_create(catalog, name, id, load_u64(fixed.data + 2));
    if (status != STATUS_OK)
        return status == STATUS_NO_MEMORY ? status : STATUS_CORRUPT;
    struct catalog_table *table = catalog_table_find(catalog, name);
    table->expires = fixed.data[1] != 0;
    for (unsigned i = 0; i < count.data[0] && status == STATUS_OK; i++)
        status = load_index(catalog, table, &value);
    return status == STATUS_OK && value.size != 0 ? STATUS_CORRUPT : status;
}

enum status catalog_load(struct catalog *catalog, struct bytes key, struct bytes value)
{
    if (key.size == 1 + catalog_id_size && key.data[0] == 'T')
        return load_table(catalog, load_u32_be(key.data + 1), value);
    if (key.size == 2 + catalog_id_size && key.data[0] == 'D') {
        struct catalog_drop drop = {.kind = (enum catalog_drop_kind)key.data[1],
                                    .id = load_u32_be(key.data + 2)};
        if (value.size != 0 || (drop.kind != CATALOG_DROP_TABLE && drop.kind != CATALOG_DROP_INDEX))
            return STATUS_CORRUPT;
        enum status status = drop_add(catalog, drop);
        return status == STATUS_BUSY ? STATUS_CORRUPT : status;
    }
    return STATUS_CORRUPT;
}
