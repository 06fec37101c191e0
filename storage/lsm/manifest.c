/* SPDX-License-Identifier: Apache-2.0 */
/* The contents of the manifest, inside the twin's sealing; integers are little-endian.
 *
 *     manifest: magic u32 | format u32 | numbers_end u64 | horizon u64 | mark | attachment |
 *               trees u16 | tree...
 *     mark:     index u64 | term u64 | version u64 | state_size u16 | state
 *     attachment: size u16 | bytes
 *     tree:     id u16 | kind u8 | key_size u32 | value_size u32 | discard_below key | levels u8 |
 *               level...
 *     level:    tables u32 | table...
 *     table:    number u64 | size u64 | entries u64 | tombstones u64 | version_min u64 |
 *               version_max u64 | data_key u32 | smallest key | largest key
 *     key:      size u16 | bytes
 *
 * Nothing follows the last tree. A change of the grammar raises the format's number, and decoding
 * keeps reading the older ones. */
#include "storage/lsm/manifest.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "storage/seal/twin.h"

enum {
    manifest_magic = 0x4d534c53, /* "SLSM" */
    manifest_format = 2,
    table_size_min = 6 * 8 + 4 + 2 * 2,
};

/* ---- Encoding ---- */

struct encoder {
    uint8_t *at; /* NULL while only measuring */
    size_t size;
};

static void put(struct encoder *to, const void *data, size_t size)
{
    if (to->at != NULL && size != 0)
        memcpy(to->at + to->size, data, size);
    to->size += size;
}

static void put_u8(struct encoder *to, uint8_t value)
{
    put(to, &value, sizeof value);
}

static void put_u16(struct encoder *to, uint16_t value)
{
    put(to, &value, sizeof value);
}

static void put_u32(struct encoder *to, uint32_t value)
{
    put(to, &value, sizeof value);
}

static void put_u64(struct encoder *to, uint64_t value)
{
    put(to, &value, sizeof value);
}

static void put_key(struct encoder *to, struct bytes key)
{
    ASSERT(key.size <= lsm_key_size_max);
    put_u16(to, (uint16_t)key.size);
    put(to, key.data, key.size);
}

static void put_table(struct encoder *to, const struct table_info *table)
{
    put_u64(to, table->number);
    put_u64(to, table->file_size);
    put_u64(to, table->entries_count);
    put_u64(to, table->tombstones_count);
    put_u64(to, table->version_min);
    put_u64(to, table->version_max);
    put_u32(to, table->data_key);
    put_key(to, table->smallest);
    put_key(to, table->largest);
}

static void put_tree(struct encoder *to, const struct manifest_tree *tree)
{
    put_u16(to, tree->id);
    put_u8(to, (uint8_t)tree->kind);
    put_u32(to, tree->key_size);
    put_u32(to, tree->value_size);
    put_key(to, tree->discard_below);
    put_u8(to, lsm_levels_count);
    for (unsigned level = 0; level < lsm_levels_count; level++) {
        put_u32(to, tree->counts[level]);
        for (uint32_t i = 0; i < tree->counts[level]; i++)
            put_table(to, tree->levels[level][i]);
    }
}

static void put_manifest(struct encoder *to, const struct manifest *manifest)
{
    const struct lsm_mark *mark = &manifest->mark;
    ASSERT(mark->state_size <= lsm_mark_state_size_max);
    ASSERT(manifest->attachment.size <= lsm_attachment_size_max);
    ASSERT(manifest->trees_count <= lsm_trees_max);
    put_u32(to, manifest_magic);
    put_u32(to, manifest_format);
    put_u64(to, manifest->numbers_end);
    put_u64(to, manifest->horizon);
    put_u64(to, mark->index);
    put_u64(to, mark->term);
    put_u64(to, mark->version);
    put_u16(to, (uint16_t)mark->state_size);
    put(to, mark->state, mark->state_size);
    put_u16(to, (uint16_t)manifest->attachment.size);
    put(to, manifest->attachment.data, manifest->attachment.size);
    put_u16(to, (uint16_t)manifest->trees_count);
    for (unsigned i = 0; i < manifest->trees_count; i++)
        put_tree(to, &manifest->trees[i]);
}

enum status manifest_encode(const struct manifest *manifest, uint8_t **contents, size_t *size)
{
    struct encoder encoder = {0};
    *contents = NULL;
    *size = 0;
    put_manifest(&encoder, manifest);
    size_t measured = encoder.size;
    if (measured > twin_contents_size_max)
        return STATUS_TOO_LARGE;
    encoder = (struct encoder){.at = malloc(measured)};
    if (encoder.at == NULL)
        return STATUS_NO_MEMORY;
    put_manifest(&encoder, manifest);
    ASSERT(encoder.size == measured);
    *contents = encoder.at;
    *size = measured;
    return STATUS_OK;
}

/* ---- Decoding ---- */

/* Reads past the end give zeros and set `short_input`, so that each caller checks once. */
struct decoder {
    const uint8_t *at;
    size_t left;
    bool short_input;
};

/* The decoded tables, in one allocation: the structs, then the pointers of all levels. */
struct tables {
    struct table_info *tables;
    const struct table_info **pointers;
    size_t count;
    size_t max;
};

static const uint8_t *take(struct decoder *from, size_t size)
{
    if (from->short_input || from->left < size) {
        from->short_input = true;
        return NULL;
    }
    const uint8_t *at = from->at;
    from->at += size;
    from->left -= size;
    return at;
}

static uint8_t take_u8(struct decoder *from)
{
    const uint8_t *at = take(from, 1);
    return at == NULL ? 0 : *at;
}

static uint16_t take_u16(struct decoder *from)
{
    const uint8_t *at = take(from, 2);
    return at == NULL ? 0 : load_u16(at);
}

static uint32_t take_u32(struct decoder *from)
{
    const uint8_t *at = take(from, 4);
    return at == NULL ? 0 : load_u32(at);
}

static uint64_t take_u64(struct decoder *from)
{
    const uint8_t *at = take(from, 8);
    return at == NULL ? 0 : load_u64(at);
}

static struct bytes take_key(struct decoder *from)
{
    size_t size = take_u16(from);
    if (size > lsm_key_size_max)
        from->short_input = true;
    const uint8_t *at = take(from, size);
    return at == NULL ? (struct bytes){0} : bytes_of(at, size);
}

/* NULL where it holds; else what is wrong with it. */
static const char *table_problem(const struct manifest *manifest, const struct manifest_tree *tree,
                                 const struct table_info *table)
{
    if (table->number == 0 || table->number >= manifest->numbers_end)
        return "a table's number was never given out";
    if (table->file_size == 0 || table->entries_count == 0)
        return "a table is empty";
    if (table->tombstones_count > table->entries_count)
        return "a table has more tombstones than entries";
    /* Which trees are regional, and so go by the index, their owner knows. */
    uint64_t version_max = manifest->mark.version > manifest->mark.index ? manifest->mark.version
                                                                         : manifest->mark.index;
    if (table->version_min > table->version_max || table->version_max > version_max ||
        table->version_max > lsm_entry_version_max)
        return "a table's versions are not below the mark";
    if (bytes_compare(table->smallest, table->largest) > 0)
        return "a table's keys are not in order";
    if (tree->kind == LSM_FIXED &&
        (table->smallest.size != tree->key_size || table->largest.size != tree->key_size))
        return "a key has not its tree's size";
    return NULL;
}

static const char *order_problem(unsigned level, const struct table_info *before,
                                 const struct table_info *table)
{
    if (level == 0)
        return table->version_max < before->version_min ? NULL : "level 0 is not newest first";
    return bytes_compare(before->largest, table->smallest) < 0 ? NULL : "tables of a level overlap";
}

static const char *take_level(struct decoder *from, const struct manifest *manifest,
                              struct manifest_tree *tree, unsigned level, struct tables *tables)
{
    uint32_t count = take_u32(from);
    if (from->short_input || count > from->left / table_size_min)
        return "it ends early";
    ASSERT(count <= tables->max - tables->count);
    tree->levels[level] = tables->pointers + tables->count;
    tree->counts[level] = count;
    for (uint32_t i = 0; i < count; i++) {
        struct table_info *table = &tables->tables[tables->count];
        table->number = take_u64(from);
        table->file_size = take_u64(from);
        table->entries_count = take_u64(from);
        table->tombstones_count = take_u64(from);
        table->version_min = take_u64(from);
        table->version_max = take_u64(from);
        table->data_key = take_u32(from);
        table->smallest = take_key(from);
        table->largest = take_key(from);
        if (from->short_input)
            return "it ends early";
        const char *problem = table_problem(manifest, tree, table);
        if (problem == NULL && i > 0)
            problem = order_problem(level, table - 1, table);
        if (problem != NULL)
            return problem;
        tables->pointers[tables->count++] = table;
    }
    return NULL;
}

static const char *take_tree(struct decoder *from, struct manifest *manifest,
                             struct manifest_tree *tree, struct tables *tables)
{
    tree->id = take_u16(from);
    uint8_t kind = take_u8(from);
    tree->kind = kind;
    tree->key_size = take_u32(from);
    tree->value_size = take_u32(from);
    tree->discard_below = take_key(from);
    unsigned levels = take_u8(from);
    if (from->short_input)
        return "it ends early";
    if (kind != LSM_BYTES && kind != LSM_FIXED)
        return "a tree is of an unknown kind";
    if (kind == LSM_BYTES ? tree->key_size != 0 || tree->value_size != 0
                          : tree->key_size == 0 || tree->key_size > lsm_key_size_max ||
                                tree->value_size > lsm_value_size_max)
        return "a tree's sizes are out of bounds";
    if (levels != lsm_levels_count)
        return "a tree has an unknown number of levels";
    if (tree > manifest->trees && tree->id <= (tree - 1)->id)
        return "trees are not in order";
    for (unsigned level = 0; level < lsm_levels_count; level++) {
        const char *problem = take_level(from, manifest, tree, level, tables);
        if (problem != NULL)
            return problem;
    }
    return NULL;
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t left = load_u64(a);
    uint64_t right = load_u64(b);
    return (left > right) - (left < right);
}

/* `scratch` holds as many numbers as there are tables. */
static bool numbers_are_unique(const struct tables *tables, uint64_t *scratch)
{
    for (size_t i = 0; i < tables->count; i++)
        scratch[i] = tables->tables[i].number;
    if (tables->count != 0)
        qsort(scratch, tables->count, sizeof *scratch, compare_numbers);
    for (size_t i = 1; i < tables->count; i++)
        if (scratch[i] == scratch[i - 1])
            return false;
    return true;
}

static const char *take_mark(struct decoder *from, struct manifest *manifest)
{
    struct lsm_mark *mark = &manifest->mark;
    mark->index = take_u64(from);
    mark->term = take_u64(from);
    mark->version = take_u64(from);
    mark->state_size = take_u16(from);
    if (mark->state_size > lsm_mark_state_size_max)
        return "the mark's state is too large";
    const uint8_t *state = take(from, mark->state_size);
    size_t attachment_size = take_u16(from);
    if (attachment_size > lsm_attachment_size_max)
        return "the attachment is too large";
    const uint8_t *attachment = take(from, attachment_size);
    if (from->short_input)
        return "it ends early";
    memcpy(mark->state, state, mark->state_size);
    manifest->attachment = bytes_of(attachment, attachment_size);
    return NULL;
}

static const char *take_manifest(struct decoder *from, struct manifest *manifest,
                                 struct tables *tables, uint64_t *scratch)
{
    manifest->numbers_end = take_u64(from);
    manifest->horizon = take_u64(from);
    const char *bad_mark = take_mark(from, manifest);
    if (bad_mark != NULL)
        return bad_mark;
    manifest->trees_count = take_u16(from);
    if (from->short_input)
        return "it ends early";
    if (manifest->trees_count > lsm_trees_max)
        return "there are too many trees";
    for (unsigned i = 0; i < manifest->trees_count; i++) {
        const char *problem = take_tree(from, manifest, &manifest->trees[i], tables);
        if (problem != NULL)
            return problem;
    }
    if (from->left != 0)
        return "something follows its end";
    return numbers_are_unique(tables, scratch) ? NULL : "a table's number occurs twice";
}

enum status manifest_decode(struct bytes contents, struct manifest *manifest, struct error *error)
{
    struct decoder from = {.at = contents.data, .left = contents.size};
    struct tables tables = {.max = contents.size / table_size_min};
    memset(manifest, 0, sizeof *manifest);
    uint32_t magic = take_u32(&from);
    uint32_t format = take_u32(&from);
    if (from.short_input || magic != manifest_magic)
        return error_set(error, STATUS_CORRUPT, "The manifest does not begin like one.");
    if (format != manifest_format)
        return error_set(error, format > manifest_format ? STATUS_NEWER_FORMAT : STATUS_CORRUPT,
                         "The manifest's format is %u; this version reads %u.%s", format,
                         (unsigned)manifest_format,
                         format > manifest_format ? " Start the newer one." : "");
    size_t each = sizeof *tables.tables + sizeof(void *) + sizeof(uint64_t);
    uint8_t *memory = calloc(tables.max + 1, each);
    if (memory == NULL)
        return error_set(error, STATUS_NO_MEMORY, "No memory to read the manifest.");
    tables.tables = (struct table_info *)(void *)memory;
    tables.pointers = (const struct table_info **)(void *)(tables.tables + tables.max + 1);
    uint64_t *scratch = (uint64_t *)(void *)(tables.pointers + tables.max + 1);
    const char *problem = take_manifest(&from, manifest, &tables, scratch);
    if (problem != NULL) {
        free(memory);
        memset(manifest, 0, sizeof *manifest);
        return error_set(error, STATUS_CORRUPT, "The manifest does not hold: %s.", problem);
    }
    manifest->memory = memory;
    return STATUS_OK;
}

void manifest_free(struct manifest *manifest)
{
    free(manifest->memory);
    memset(manifest, 0, sizeof *manifest);
}
