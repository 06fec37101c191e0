/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of tables share: a list of entries as the model, and a table made from it. */
#ifndef TESTS_UNIT_STORAGE_LSM_TABLE_UNIT_H
#define TESTS_UNIT_STORAGE_LSM_TABLE_UNIT_H

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/generator.h"
#include "storage/lsm/table_writer.h"
#include "tests/unit/unit.h"

static const struct lsm_tree_options unit_tree_bytes = {
    .id = 1, .name = "records", .kind = LSM_BYTES};
static const struct lsm_tree_options unit_tree_fixed = {
    .id = 2, .name = "outcomes", .kind = LSM_FIXED, .key_size = 16, .value_size = 40};

static const uint8_t unit_cluster_id[seal_id_size] = {1, 2, 3};

/* Entries in order; keys and values are malloc's. */
struct unit_entries {
    struct lsm_entry *entries;
    size_t count;
};

struct unit_shape {
    size_t keys_count;
    unsigned versions_max;     /* of one key */
    size_t value_size_max;     /* kind bytes */
    unsigned large_one_in;     /* one value in so many is up to 2 MiB; 0: none */
    const char *keys_begin_by; /* kind bytes */
};

static inline struct bytes unit_copy(struct bytes from)
{
    uint8_t *copy = malloc(from.size + 1);
    bytes_copy(copy, from);
    return bytes_of(copy, from.size);
}

static inline struct bytes unit_value(struct generator *generator,
                                      const struct lsm_tree_options *tree,
                                      const struct unit_shape *shape)
{
    size_t size = tree->kind == LSM_FIXED ? tree->value_size
                                          : generator_below(generator, shape->value_size_max + 1);
    if (shape->large_one_in != 0 && generator_chance(generator, 1, shape->large_one_in))
        size = generator_between(generator, 5000, lsm_value_size_max);
    uint8_t *value = malloc(size + 1);
    /* Half of each value compresses. */
    memset(value, 'v', size);
    generator_fill(generator, value, size / 2);
    return bytes_of(value, size);
}

static inline struct unit_entries unit_entries_draw(struct generator *generator,
                                                    const struct lsm_tree_options *tree,
                                                    const struct unit_shape *shape)
{
    struct unit_entries made = {
        .entries = calloc(shape->keys_count * shape->versions_max, sizeof(struct lsm_entry))};
    uint64_t number = 0;
    for (size_t i = 0; i < shape->keys_count; i++) {
        /* Keys in order, with gaps, and of several sizes. */
        uint8_t key[256] = {0};
        size_t start = 0;
        number += generator_between(generator, 1, 5);
        if (tree->kind == LSM_BYTES && shape->keys_begin_by != NULL) {
            start = strlen(shape->keys_begin_by);
            memcpy(key, shape->keys_begin_by, start);
        }
        store_u64_be(key + start, number);
        size_t size =
            tree->kind == LSM_FIXED ? tree->key_size : start + 8 + generator_below(generator, 20);
        unsigned versions = (unsigned)generator_between(generator, 1, shape->versions_max);
        uint64_t version = generator_between(generator, 1000, 2000);
        for (unsigned v = 0; v < versions; v++) {
            struct lsm_entry *entry = &made.entries[made.count++];
            entry->key = unit_copy(bytes_of(key, size));
            entry->version = version;
            version -= generator_between(generator, 1, 15);
            entry->deletion = generator_chance(generator, 1, 8);
            entry->value =
                entry->deletion ? unit_copy(bytes_of(NULL, 0)) : unit_value(generator, tree, shape);
        }
    }
    return made;
}

static inline void unit_entries_free(struct unit_entries *entries)
{
    for (size_t i = 0; i < entries->count; i++) {
        free((void *)(uintptr_t)entries->entries[i].key.data);
        free((void *)(uintptr_t)entries->entries[i].value.data);
    }
    free(entries->entries);
    *entries = (struct unit_entries){0};
}

/* The first at or after (key, version); the count where there is none. */
static inline size_t unit_entries_find(const struct unit_entries *entries, struct bytes key,
                                       uint64_t version)
{
    size_t low = 0;
    size_t high = entries->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct lsm_entry *entry = &entries->entries[middle];
        if (lsm_entry_order(entry->key, entry->version, key, version) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static inline void unit_assert_entry(const struct lsm_entry *entry,
                                     const struct lsm_entry *expected)
{
    ck_assert(bytes_equal(entry->key, expected->key));
    ck_assert_uint_eq(entry->version, expected->version);
    ck_assert_int_eq(entry->deletion, expected->deletion);
    ck_assert(bytes_equal(entry->value, expected->value));
}

static inline struct table_info unit_table_write(struct io *io, struct keyring *keyring,
                                                 const char *directory,
                                                 const struct lsm_tree_options *tree,
                                                 const struct unit_entries *entries,
                                                 uint64_t number, bool uncompressed)
{
    struct table_writer_options options = {.keyring = keyring,
                                           .directory = directory,
                                           .tree = tree,
                                           .number = number,
                                           .uncompressed = uncompressed};
    struct table_writer *writer;
    ck_assert_int_eq(table_writer_create(&options, &writer), STATUS_OK);
    for (size_t i = 0; i < entries->count; i++)
        ck_assert_int_eq(table_writer_add(writer, io, &entries->entries[i]), STATUS_OK);
    struct table_info info;
    ck_assert_int_eq(table_writer_finish(writer, io, &info), STATUS_OK);
    ck_assert_uint_eq(info.entries_count, entries->count);
    return info;
}

#endif
