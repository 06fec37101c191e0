/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/lsm/memtable.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/generator.h"
#include "proto/base/hash.h"
#include "tests/unit/unit.h"

/* The model: all entries in one sorted array. */
enum { model_max = 4000, key_max = 24, value_max = 32 };

struct model_entry {
    uint8_t key[key_max];
    uint8_t value[value_max];
    struct lsm_entry entry;
};

static struct model_entry *model[model_max];
static size_t model_count;

static const struct lsm_tree_options tree_bytes = {.id = 1, .name = "records", .kind = LSM_BYTES};
static const struct lsm_tree_options tree_fixed = {
    .id = 2, .name = "outcomes", .kind = LSM_FIXED, .key_size = 12, .value_size = 20};

static void model_clear(void)
{
    for (size_t i = 0; i < model_count; i++)
        free(model[i]);
    model_count = 0;
}

static size_t model_lower_bound(struct bytes key, uint64_t version)
{
    size_t low = 0;
    size_t high = model_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct lsm_entry *entry = &model[middle]->entry;
        if (lsm_entry_order(entry->key, entry->version, key, version) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void model_put(const struct model_entry *from)
{
    struct model_entry *made = malloc(sizeof *made);
    *made = *from;
    made->entry.key.data = made->key;
    made->entry.value.data = made->value;
    size_t place = model_lower_bound(made->entry.key, made->entry.version);
    memmove(model + place + 1, model + place, (model_count - place) * sizeof *model);
    model[place] = made;
    model_count++;
}

static void assert_same(bool found, const struct lsm_entry *entry, size_t place)
{
    ck_assert_int_eq(found, place < model_count);
    if (!found)
        return;
    const struct lsm_entry *expected = &model[place]->entry;
    ck_assert(bytes_equal(entry->key, expected->key));
    ck_assert_uint_eq(entry->version, expected->version);
    ck_assert_int_eq(entry->deletion, expected->deletion);
    ck_assert(bytes_equal(entry->value, expected->value));
}

/* A key of few, so that versions of one key meet; in one seed of two with a long common start, from
 * which a few stray. */
static struct bytes draw_key(struct generator *generator, const struct lsm_tree_options *tree,
                             bool shared, uint8_t to[key_max])
{
    memset(to, 0, key_max);
    if (tree->kind == LSM_FIXED) {
        store_u64_be(to + (shared ? 4 : 0), generator_below(generator, 300));
        return bytes_of(to, tree->key_size);
    }
    size_t start = !shared ? 0 : generator_chance(generator, 1, 50) ? 5 : 10;
    size_t size = start + generator_below(generator, 5);
    memset(to, 's', start);
    if (start != 0 && generator_chance(generator, 1, 50))
        to[generator_below(generator, start)] = generator_chance(generator, 1, 2) ? 'r' : 't';
    for (size_t i = start; i < size; i++)
        to[i] = (uint8_t)generator_below(generator, 5);
    return bytes_of(to, size);
}

/* By the bytes that lie within, for sorting moves them. */
static int by_key(const void *a, const void *b)
{
    const struct model_entry *left = a;
    const struct model_entry *right = b;
    return bytes_compare(bytes_of(left->key, left->entry.key.size),
                         bytes_of(right->key, right->entry.key.size));
}

static void publish(struct memtable *memtable, struct generator *generator,
                    const struct lsm_tree_options *tree, bool shared, uint64_t version)
{
    static struct model_entry batch[200];
    size_t count = generator_chance(generator, 1, 10) ? generator_between(generator, 1, 200)
                                                      : generator_between(generator, 1, 4);
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        struct model_entry *made = &batch[i];
        *made = (struct model_entry){.entry.version = version};
        made->entry.key = draw_key(generator, tree, shared, made->key);
        made->entry.deletion = generator_chance(generator, 1, 5);
        generator_fill(generator, made->value, sizeof made->value);
        if (!made->entry.deletion)
            made->entry.value = bytes_of(
                made->value, tree->kind == LSM_FIXED ? tree->value_size
                                                     : generator_below(generator, value_max + 1));
    }
    qsort(batch, count, sizeof *batch, by_key);
    size_t unique = 0;
    for (size_t i = 0; i < count; i++) {
        if (unique != 0 && by_key(&batch[unique - 1], &batch[i]) == 0)
            continue;
        batch[unique] = batch[i];
        batch[unique].entry.key.data = batch[unique].key;
        batch[unique].entry.value.data = batch[unique].value;
        size += batch[unique].entry.key.size + batch[unique].entry.value.size;
        unique++;
    }
    ck_assert(memtable_reserve(memtable, unique, size));
    for (size_t i = 0; i < unique; i++) {
        memtable_put(memtable, &batch[i].entry);
        model_put(&batch[i]);
    }
}

static void check_reads(struct memtable *memtable, struct generator *generator,
                        const struct lsm_tree_options *tree, bool shared, uint64_t version_max)
{
    uint8_t bytes[key_max];
    struct lsm_entry entry;
    struct bytes key = draw_key(generator, tree, shared, bytes);
    uint64_t version = generator_chance(generator, 1, 4)
                           ? UINT64_MAX
                           : generator_below(generator, version_max + 2);
    size_t place = model_lower_bound(key, version);
    struct memtable_cursor cursor;
    memtable_cursor_init(&cursor, memtable);
    assert_same(memtable_cursor_seek(&cursor, key, version, &entry), &entry, place);
    assert_same(memtable_cursor_seek_before(&cursor, key, version, &entry), &entry,
                place == 0 ? SIZE_MAX : place - 1);
    bool has = place < model_count && bytes_equal(model[place]->entry.key, key);
    assert_same(memtable_get(memtable, key, version, &entry), &entry, has ? place : SIZE_MAX);
}

/* Walks at random, with puts in between now and then. */
static void check_walk(struct memtable *memtable, struct generator *generator,
                       const struct lsm_tree_options *tree, bool shared, uint64_t *version)
{
    struct memtable_cursor cursor;
    struct lsm_entry entry;
    memtable_cursor_init(&cursor, memtable);
    bool found = generator_chance(generator, 1, 2) ? memtable_cursor_first(&cursor, &entry)
                                                   : memtable_cursor_last(&cursor, &entry);
    ck_assert(found == (model_count != 0));
    for (int i = 0; i < 50 && found; i++) {
        struct lsm_entry kept = entry;
        if (*version != 0 && generator_chance(generator, 1, 20))
            publish(memtable, generator, tree, shared, (*version)++);
        size_t place = model_lower_bound(kept.key, kept.version);
        ck_assert_uint_eq(model[place]->entry.version, kept.version);
        if (generator_chance(generator, 1, 2)) {
            found = memtable_cursor_next(&cursor, &entry);
            assert_same(found, &entry, place + 1);
        } else {
            found = memtable_cursor_previous(&cursor, &entry);
            assert_same(found, &entry, place == 0 ? SIZE_MAX : place - 1);
        }
    }
}

static void run_model(const struct lsm_tree_options *tree, uint64_t seed)
{
    struct generator generator;
    generator_init(&generator, seed);
    printf("memtable %s seed %llu\n", tree->name, (unsigned long long)seed);
    struct memtable *memtable;
    ck_assert_int_eq(memtable_create(tree, &memtable), STATUS_OK);
    bool shared = seed % 2 == 0;
    uint64_t version = 1;
    while (model_count < model_max / 2) {
        publish(memtable, &generator, tree, shared, version);
        version += generator_between(&generator, 1, 3);
        check_reads(memtable, &generator, tree, shared, version);
        if (generator_chance(&generator, 1, 10))
            check_walk(memtable, &generator, tree, shared, &version);
    }
    memtable_seal(memtable);
    ck_assert_uint_eq(memtable_entries_count(memtable), model_count);
    ck_assert_uint_eq(memtable_version_min(memtable), 1);
    ck_assert_uint_lt(memtable_version_max(memtable), version);
    struct memtable_cursor cursor;
    struct lsm_entry entry;
    memtable_cursor_init(&cursor, memtable);
    bool found = memtable_cursor_first(&cursor, &entry);
    for (size_t place = 0; place <= model_count; place++) {
        assert_same(found, &entry, place < model_count ? place : SIZE_MAX);
        found = memtable_cursor_next(&cursor, &entry);
    }
    found = memtable_cursor_last(&cursor, &entry);
    for (size_t place = model_count; place > 0; place--) {
        assert_same(found, &entry, place - 1);
        found = memtable_cursor_previous(&cursor, &entry);
    }
    ck_assert(!found);
    memtable_unref(memtable);
    model_clear();
}

START_TEST(test_bytes_against_model)
{
    for (uint64_t seed = 1; seed <= 4; seed++)
        run_model(&tree_bytes, seed);
}
END_TEST

START_TEST(test_fixed_against_model)
{
    for (uint64_t seed = 1; seed <= 4; seed++)
        run_model(&tree_fixed, seed);
}
END_TEST

/* Ascending, descending and random keys, one a version or all in one: every reservation suffices
 * (a put past it would assert), and order holds over several levels. */
static void run_many(const struct lsm_tree_options *tree, unsigned pattern, unsigned batch_size)
{
    enum { count = 8000 };
    struct memtable *memtable;
    ck_assert_int_eq(memtable_create(tree, &memtable), STATUS_OK);
    uint8_t key[12] = {0};
    uint8_t value[20] = {0};
    for (uint64_t i = 0; i < count; i++) {
        uint64_t version = i / batch_size;
        uint64_t number = pattern == 0 ? i : pattern == 1 ? count - i : hash_u64(i);
        if (batch_size != 1)
            number = pattern == 0 ? i : (i % batch_size) * count + (pattern == 1 ? count - i : i);
        store_u64_be(key, number);
        if (i % batch_size == 0)
            ck_assert(memtable_reserve(memtable, batch_size, batch_size * 32));
        memtable_put(memtable, &(struct lsm_entry){.key = bytes_of(key, 12),
                                                   .version = version,
                                                   .value = bytes_of(value, 20)});
    }
    struct memtable_cursor cursor;
    struct lsm_entry entry;
    memtable_cursor_init(&cursor, memtable);
    uint64_t last = 0;
    uint64_t seen = 0;
    for (bool found = memtable_cursor_first(&cursor, &entry); found;
         found = memtable_cursor_next(&cursor, &entry)) {
        ck_assert(seen == 0 || load_u64_be(entry.key.data) > last);
        last = load_u64_be(entry.key.data);
        seen++;
    }
    ck_assert_uint_eq(seen, count);
    memtable_unref(memtable);
}

START_TEST(test_reservations_suffice)
{
    for (unsigned pattern = 0; pattern < 3; pattern++) {
        run_many(&tree_bytes, pattern, 1);
        run_many(&tree_fixed, pattern, 1);
        run_many(&tree_bytes, pattern, 1000);
        run_many(&tree_fixed, pattern, 1000);
    }
}
END_TEST

START_TEST(test_empty_and_large)
{
    struct memtable *memtable;
    struct lsm_entry entry;
    struct memtable_cursor cursor;
    ck_assert_int_eq(memtable_create(&tree_bytes, &memtable), STATUS_OK);
    memtable_cursor_init(&cursor, memtable);
    ck_assert(!memtable_get(memtable, bytes_of_text("a"), UINT64_MAX, &entry));
    ck_assert(!memtable_cursor_first(&cursor, &entry));
    ck_assert(!memtable_cursor_last(&cursor, &entry));
    ck_assert(!memtable_cursor_seek_before(&cursor, bytes_of_text("a"), 5, &entry));
    ck_assert(!memtable_cursor_next(&cursor, &entry));
    ck_assert_uint_eq(memtable_version_min(memtable), UINT64_MAX);
    ck_assert(!memtable_reserve(memtable, SIZE_MAX / 2, SIZE_MAX / 2));

    uint8_t *value = calloc(1, lsm_value_size_max);
    value[lsm_value_size_max - 1] = 7;
    ck_assert(memtable_reserve(memtable, 2, 2 + lsm_value_size_max));
    memtable_put(memtable, &(struct lsm_entry){.key = bytes_of_text("a"),
                                               .version = 9,
                                               .value = bytes_of(value, lsm_value_size_max)});
    memtable_put(memtable,
                 &(struct lsm_entry){.key = bytes_of_text("b"), .version = 9, .deletion = true});
    ck_assert(memtable_get(memtable, bytes_of_text("a"), 9, &entry));
    ck_assert(bytes_equal(entry.value, bytes_of(value, lsm_value_size_max)));
    ck_assert(memtable_get(memtable, bytes_of_text("b"), UINT64_MAX, &entry) && entry.deletion);
    ck_assert(!memtable_get(memtable, bytes_of_text("b"), 8, &entry));
    ck_assert_uint_gt(memtable_size(memtable), lsm_value_size_max);
    memtable_ref(memtable);
    memtable_unref(memtable);
    memtable_unref(memtable);
    free(value);
}
END_TEST

static void put_unordered(void *context)
{
    (void)context;
    struct memtable *memtable;
    if (memtable_create(&tree_bytes, &memtable) != STATUS_OK || !memtable_reserve(memtable, 2, 100))
        return;
    memtable_put(memtable, &(struct lsm_entry){.key = bytes_of_text("b"), .version = 2});
    memtable_put(memtable, &(struct lsm_entry){.key = bytes_of_text("c"), .version = 1});
}

START_TEST(test_version_that_goes_down_is_refused)
{
    unit_assert_dies(put_unordered, NULL);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_bytes_against_model);
    tcase_add_test(tests, test_fixed_against_model);
    tcase_add_test(tests, test_reservations_suffice);
    tcase_add_test(tests, test_empty_and_large);
    tcase_add_test(tests, test_version_that_goes_down_is_refused);
}
