/* SPDX-License-Identifier: Apache-2.0 */
/* Scans by pages, and a transaction's own writes merged into them, against a model. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/generator.h"
#include "proto/number.h"
#include "tests/unit/client/fake_store.h"
#include "tests/unit/unit.h"

enum { keys_count = 40, cases_count = 400, writes_max = 12 };

/* A record as it should be seen. */
struct seen {
    bool found;
    char value[24];
    char index_key[8];
};

static void key_of(size_t number, char key[8])
{
    snprintf(key, 8, "k%02zu", number % 100);
}

static void fill_store(struct store *store, struct generator *generator, struct seen *model)
{
    memset(model, 0, keys_count * sizeof *model);
    store->count = 0;
    for (size_t i = 0; i < keys_count; i++) {
        if (generator_chance(generator, 1, 2))
            continue;
        struct store_record *record = &store->records[store->count++];
        memset(record, 0, sizeof *record);
        key_of(i, record->key);
        snprintf(record->value, sizeof record->value, "%u",
                 (unsigned)generator_below(generator, 100));
        if (generator_chance(generator, 2, 3))
            snprintf(record->index_key, sizeof record->index_key, "i%u",
                     (unsigned)generator_below(generator, 6));
        model[i].found = true;
        memcpy(model[i].value, record->value, sizeof record->value);
        memcpy(model[i].index_key, record->index_key, sizeof record->index_key);
    }
}

static void add_to_model(struct seen *model, int64_t amount)
{
    int64_t number = 1000;
    if (model->found)
        ck_assert_int_eq(number_parse(bytes_of_text(model->value), &number), STATUS_OK);
    model->found = true;
    number_format(number + amount, model->value);
}

static void write_some(strait_txn *txn, struct generator *generator, struct seen *model)
{
    for (uint64_t i = generator_below(generator, writes_max); i-- > 0;) {
        char key[8];
        size_t number = (size_t)generator_below(generator, keys_count);
        struct seen *seen = &model[number];
        key_of(number, key);
        switch (generator_below(generator, 3)) {
        case 0: {
            struct strait_index_entry entry = {.index = "i"};
            struct strait_put_options options = {.indexes = &entry};
            memset(seen, 0, sizeof *seen);
            seen->found = true;
            snprintf(seen->value, sizeof seen->value, "%u",
                     (unsigned)generator_below(generator, 100));
            if (generator_chance(generator, 1, 2)) {
                snprintf(seen->index_key, sizeof seen->index_key, "i%u",
                         (unsigned)generator_below(generator, 6));
                options.indexes_count = 1;
            }
            entry.key = strait_text(seen->index_key);
            ck_assert_int_eq(
                strait_txn_put(txn, "t", strait_text(key), strait_text(seen->value), &options),
                STRAIT_OK);
            break;
        }
        case 1:
            memset(seen, 0, sizeof *seen);
            ck_assert_int_eq(strait_txn_del(txn, "t", strait_text(key)), STRAIT_OK);
            break;
        default: {
            const struct strait_add_options options = {.initial = 1000};
            ck_assert_int_eq(strait_txn_add(txn, "t", strait_text(key), 7, &options), STRAIT_OK);
            add_to_model(seen, 7);
            break;
        }
        }
    }
}

/* The numbers of the model's records in the order that a scan gives. */
static size_t expect(const struct seen *model, const struct strait_range *range, bool reverse,
                     size_t expected[keys_count])
{
    size_t count = 0;
    for (size_t index = 0; index < (range->index != NULL ? 6 : 1); index++) {
        for (size_t i = 0; i < keys_count; i++) {
            char key[8];
            if (range->index != NULL)
                snprintf(key, sizeof key, "i%zu", index);
            else
                key_of(i, key);
            if (!model[i].found || (range->index != NULL && strcmp(model[i].index_key, key) != 0) ||
                strcmp(key, range->start.data) < 0 ||
                (range->end.size != 0 && strcmp(key, range->end.data) >= 0))
                continue;
            expected[count++] = i;
        }
    }
    for (size_t i = 0; reverse && i < count / 2; i++) {
        size_t swapped = expected[i];
        expected[i] = expected[count - 1 - i];
        expected[count - 1 - i] = swapped;
    }
    return count;
}

static void check_record(const struct strait_record *record, const struct seen *seen, size_t number,
                         const struct strait_range *range, bool keys_only)
{
    char key[8];
    key_of(number, key);
    ck_assert(record->found);
    ck_assert_str_eq(record->key.data, key);
    if (range->index != NULL)
        ck_assert_str_eq(record->index_key.data, seen->index_key);
    if (keys_only) {
        ck_assert_uint_eq(record->value.size, 0);
        return;
    }
    ck_assert_str_eq(record->value.data, seen->value);
    ck_assert_uint_eq(record->value.size, strlen(seen->value));
    ck_assert_uint_eq(record->indexes_count, seen->index_key[0] != 0);
    if (record->indexes_count == 1)
        ck_assert_str_eq(record->indexes[0].key.data, seen->index_key);
}

static void scan_and_compare(strait_txn *txn, struct generator *generator, const struct seen *model)
{
    static const char *const bounds[] = {"k00", "k07", "k13", "k25", "k39", "k50"};
    static const char *const index_bounds[] = {"i0", "i1", "i2", "i3", "i5", "i6"};
    bool by_index = generator_chance(generator, 1, 2);
    const char *const *from = by_index ? index_bounds : bounds;
    size_t first = (size_t)generator_below(generator, 6);
    size_t last = (size_t)generator_below(generator, 6);
    struct strait_range range = {
        .table = "t",
        .index = by_index ? "i" : NULL,
        .start = strait_text(from[first]),
        .end = strait_text(generator_chance(generator, 1, 3) ? "" : from[last])};
    struct strait_scan_options options = {.reverse = generator_chance(generator, 1, 2),
                                          .keys_only = generator_chance(generator, 1, 4),
                                          .records_max = generator_below(generator, 12)};
    size_t expected[keys_count];
    size_t count = expect(model, &range, options.reverse, expected);
    const struct strait_record *record;
    struct strait_error error;
    enum strait_status status;
    strait_scan *scan;
    size_t given = 0;

    ck_assert_int_eq(strait_txn_scan(txn, &range, &options, 0, &scan, &error), STRAIT_OK);
    while ((status = strait_scan_next(scan, &record, &error)) == STRAIT_OK) {
        ck_assert_uint_lt(given, count);
        check_record(record, &model[expected[given]], expected[given], &range, options.keys_only);
        given++;
    }
    ck_assert_msg(status == STRAIT_END, "%s", error.text);
    if (options.records_max != 0 && options.records_max < count)
        count = options.records_max;
    ck_assert_uint_eq(given, count);
    strait_scan_end(scan);
}

START_TEST(test_own_writes_are_merged)
{
    uint64_t seed = 20260801;
    struct generator generator;
    struct store store;
    struct seen model[keys_count];
    const char *text = getenv("STRAIT_SEED");
    if (text != NULL)
        seed = strtoull(text, NULL, 10);
    printf("seed %llu (STRAIT_SEED)\n", (unsigned long long)seed);
    generator_init(&generator, seed);
    store_init(&store);
    struct fake_server *server = fake_start(store_handle, &store);
    strait *handle = fake_open(server, 10000);
    for (unsigned i = 0; i < cases_count; i++) {
        strait_txn *txn;
        fill_store(&store, &generator, model);
        ck_assert_int_eq(strait_begin(handle, 0, &txn, NULL), STRAIT_OK);
        write_some(txn, &generator, model);
        for (unsigned j = 0; j < 3; j++)
            scan_and_compare(txn, &generator, model);
        strait_txn_free(txn);
    }
    strait_close(handle);
    fake_stop(server);
    ck_assert_uint_eq(store.snapshots_count, cases_count);
    ck_assert_uint_ge(store.closed_count, cases_count - 1);
    store_free(&store);
}
END_TEST

static void fill_plain(struct store *store, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        key_of(i, store->records[i].key);
        snprintf(store->records[i].value, sizeof store->records[i].value, "v%zu", i);
    }
    store->count = count;
}

static size_t count_scan(strait *handle, const struct strait_scan_options *options)
{
    const struct strait_range range = {.table = "t"};
    const struct strait_record *record;
    strait_scan *scan;
    size_t count = 0;
    enum strait_status status;
    ck_assert_int_eq(strait_scan_begin(handle, &range, options, 0, &scan, NULL), STRAIT_OK);
    while ((status = strait_scan_next(scan, &record, NULL)) == STRAIT_OK)
        count++;
    ck_assert_int_eq(status, STRAIT_END);
    ck_assert_int_eq(strait_scan_next(scan, &record, NULL), STRAIT_END);
    strait_scan_end(scan);
    return count;
}

START_TEST(test_a_snapshot_only_where_one_page_is_not_enough)
{
    struct store store;
    store_init(&store);
    fill_plain(&store, store_page_records);
    struct fake_server *server = fake_start(store_handle, &store);
    strait *handle = fake_open(server, 10000);
    ck_assert_uint_eq(count_scan(handle, NULL), store_page_records);
    ck_assert_uint_eq(store.snapshots_count, 0);
    ck_assert_uint_eq(store.scans_count, 1);

    fill_plain(&store, 10);
    ck_assert_uint_eq(count_scan(handle, NULL), 10);
    ck_assert_uint_eq(store.snapshots_count, 1);
    ck_assert_uint_eq(store.scans_count, 1 + 1 + 4);

    const struct strait_scan_options newest = {.newest = true};
    ck_assert_uint_eq(count_scan(handle, &newest), 10);
    const struct strait_scan_options few = {.records_max = 2};
    ck_assert_uint_eq(count_scan(handle, &few), 2);
    ck_assert_uint_eq(store.snapshots_count, 1);
    strait_close(handle);
    fake_stop(server);
    ck_assert_uint_eq(store.closed_count, 1);
    store_free(&store);
}
END_TEST

/* What has been given out counts as read, up to there and no further. */
START_TEST(test_what_a_scan_has_read)
{
    struct store store;
    const struct strait_range range = {
        .table = "t", .start = strait_text("k01"), .end = strait_text("k08")};
    const struct strait_scan_options reverse = {.reverse = true};
    const struct strait_record *record;
    strait_scan *scans[3];
    strait_txn *txn;
    store_init(&store);
    fill_plain(&store, 12);
    struct fake_server *server = fake_start(store_handle, &store);
    strait *handle = fake_open(server, 10000);
    ck_assert_int_eq(strait_begin(handle, 0, &txn, NULL), STRAIT_OK);
    ck_assert_int_eq(strait_txn_scan(txn, &range, NULL, 0, &scans[0], NULL), STRAIT_OK);
    ck_assert_int_eq(strait_txn_scan(txn, &range, &reverse, 0, &scans[1], NULL), STRAIT_OK);
    ck_assert_int_eq(strait_txn_scan(txn, &range, NULL, 0, &scans[2], NULL), STRAIT_OK);
    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(strait_scan_next(scans[0], &record, NULL), STRAIT_OK);
    ck_assert_int_eq(strait_scan_next(scans[1], &record, NULL), STRAIT_OK);
    ck_assert_str_eq(record->key.data, "k07");
    for (unsigned i = 0; i < 3; i++)
        strait_scan_end(scans[i]);
    ck_assert_int_eq(strait_commit(handle, txn, 0, NULL, NULL), STRAIT_OK);
    ck_assert_uint_eq(store.commit->snapshot, store_version);
    ck_assert_uint_eq(store.commit->n_ranges, 2);
    const Strait__Range *forward = store.commit->ranges[0];
    const Strait__Range *backward = store.commit->ranges[1];
    ck_assert(bytes_equal(bytes_of_field(forward->start), bytes_of("k01", 3)));
    ck_assert(bytes_equal(bytes_of_field(forward->end), bytes_of("k02\0", 4)));
    ck_assert(bytes_equal(bytes_of_field(backward->start), bytes_of("k07", 3)));
    ck_assert(bytes_equal(bytes_of_field(backward->end), bytes_of("k08", 3)));
    strait_txn_free(txn);
    strait_close(handle);
    fake_stop(server);
    store_free(&store);
}
END_TEST

void unit_tests(TCase *tests)
{
    signal(SIGPIPE, SIG_IGN);
    tcase_add_test(tests, test_own_writes_are_merged);
    tcase_add_test(tests, test_a_snapshot_only_where_one_page_is_not_enough);
    tcase_add_test(tests, test_what_a_scan_has_read);
}
