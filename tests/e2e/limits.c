/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions of the greatest size: 10,000 operations, and close to 4 MiB. Each is committed and
 * read back; and one beyond is refused in words that name the limit, and changes nothing. The
 * server is that of STRAIT_PROFILE. Exit status 0 when all of it is so. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/strait.h"

enum {
    operations_max = 10000,
    value_size = 1024 * 1024,
    page_records = 1000,
    timeout_ms = 60000,
};

/* Three of a whole MiB, and one that leaves room for the keys and the rest. */
enum { values_count = 4, last_size = value_size - 4096 };

static char value[value_size];
static strait *handle;

static void fail(const char *what, const char *text)
{
    fprintf(stderr, "limits: %s: %s\n", what, text);
    exit(1);
}

static void check(enum strait_status status, const struct strait_error *error, const char *what)
{
    if (status != STRAIT_OK)
        fail(what, strait_error_text(error));
}

static void commit(strait_txn *txn, const char *what)
{
    struct strait_error error = {0};
    check(strait_commit(handle, txn, timeout_ms, NULL, &error), &error, what);
    strait_txn_clear(txn);
}

/* The transaction is too large already, and says of what. */
static void commit_refused(strait_txn *txn, const char *wanted)
{
    struct strait_error error = {0};
    if (strait_commit(handle, txn, timeout_ms, NULL, &error) != STRAIT_TOO_LARGE)
        fail("one that is too large", strait_error_text(&error));
    if (strstr(strait_error_text(&error), wanted) == NULL)
        fail("its limit is not named", strait_error_text(&error));
    strait_txn_clear(txn);
}

/* How many records the table has. */
static size_t count_records(const char *table)
{
    const struct strait_range range = {.table = table};
    const struct strait_scan_options options = {.page_records = page_records, .keys_only = true};
    const struct strait_record *record;
    struct strait_error error = {0};
    strait_scan *scan = NULL;
    size_t count = 0;
    check(strait_scan_begin(handle, &range, &options, timeout_ms, &scan, &error), &error, table);
    enum strait_status status;
    while ((status = strait_scan_next(scan, &record, &error)) == STRAIT_OK)
        count++;
    strait_scan_end(scan);
    if (status != STRAIT_END)
        fail("a scan", strait_error_text(&error));
    return count;
}

static void expect_records(const char *table, size_t wanted)
{
    char text[64];
    size_t count = count_records(table);
    snprintf(text, sizeof text, "%zu records, wanted %zu", count, wanted);
    if (count != wanted)
        fail(table, text);
}

/* ---- Many operations ---- */

static enum strait_status put_many(strait_txn *txn, const char *prefix, size_t count)
{
    enum strait_status status = STRAIT_OK;
    char key[32];
    for (size_t i = 0; i < count && status == STRAIT_OK; i++) {
        snprintf(key, sizeof key, "%s%05zu", prefix, i);
        status = strait_txn_put(txn, "many", strait_text(key), strait_text(key), NULL);
    }
    return status;
}

static void test_operations(strait_txn *txn)
{
    if (put_many(txn, "a", operations_max) != STRAIT_OK)
        fail("10,000 operations", "one of them was not taken");
    commit(txn, "10,000 operations");
    expect_records("many", operations_max);
    if (put_many(txn, "b", operations_max + 1) != STRAIT_TOO_LARGE)
        fail("10,001 operations", "all of them were taken");
    commit_refused(txn, "more than 10000 operations");
    expect_records("many", operations_max);
}

/* ---- Many bytes ---- */

static size_t size_of(size_t number)
{
    return number + 1 < values_count ? value_size : last_size;
}

static void put_large(strait_txn *txn, const char *prefix)
{
    char key[32];
    for (size_t i = 0; i < values_count; i++) {
        snprintf(key, sizeof key, "%s%zu", prefix, i);
        memset(value, 'a' + (int)i, size_of(i));
        if (strait_txn_put(txn, "large", strait_text(key), strait_bytes(value, size_of(i)), NULL) !=
            STRAIT_OK)
            fail(key, "its value was not taken");
    }
}

static void expect_large(const char *prefix)
{
    struct strait_error error = {0};
    char key[32];
    for (size_t i = 0; i < values_count; i++) {
        struct strait_records *records = NULL;
        snprintf(key, sizeof key, "%s%zu", prefix, i);
        check(strait_get(handle, NULL, "large", strait_text(key), timeout_ms, &records, &error),
              &error, key);
        memset(value, 'a' + (int)i, size_of(i));
        if (records->items[0].value.size != size_of(i) ||
            memcmp(records->items[0].value.data, value, size_of(i)) != 0)
            fail(key, "another value was read than was written");
        strait_free(records);
    }
}

static void test_size(strait_txn *txn)
{
    put_large(txn, "a");
    commit(txn, "nearly 4 MiB");
    expect_large("a");
    put_large(txn, "b");
    if (strait_txn_put(txn, "large", strait_text("b"), strait_bytes(value, 8192), NULL) !=
        STRAIT_TOO_LARGE)
        fail("more than 4 MiB", "all of it was taken");
    commit_refused(txn, "more than 4194304 bytes");
    expect_records("large", values_count);
}

int main(void)
{
    struct strait_error error = {0};
    strait_options *options = strait_options_new();
    strait_txn *txn = strait_txn_new();
    if (options == NULL || txn == NULL)
        fail("set-up", "no memory");
    check(strait_options_load_default(options, &error), &error, "the profile");
    check(strait_open(options, &handle, &error), &error, "the server");
    strait_options_free(options);
    (void)strait_txn_create_table(txn, "many");
    (void)strait_txn_create_table(txn, "large");
    commit(txn, "the tables");
    test_operations(txn);
    test_size(txn);
    strait_txn_free(txn);
    strait_close(handle);
    return 0;
}
