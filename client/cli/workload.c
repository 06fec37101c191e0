/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/workload.h"

#include <inttypes.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/progress.h"

enum { prepare_batch = 500, lines_max = 5, prepare_timeout_ms = 60000 };

#define STOCK_INITIAL 1000000000000LL

bool workload_find(const char *name, enum workload_kind *kind)
{
    static const char *const names[] = {"put", "get", "mixed", "scan", "checkout", "hot-sku"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            *kind = (enum workload_kind)i;
            return true;
        }
    }
    return false;
}

bool workload_init(struct workload *workload, uint64_t seed)
{
    struct generator generator;
    double sum = 0;
    char *value = malloc(workload->value_size + 1);
    workload->zipf = malloc(workload_catalogue_count * sizeof *workload->zipf);
    workload->value = value;
    if (value == NULL || workload->zipf == NULL)
        return false;
    /* Not of the seed: a checkout's order must be absent, also where the same draws came before. */
    uint64_t run = 0;
    if (RAND_bytes((unsigned char *)&run, sizeof run) != 1)
        return false;
    snprintf(workload->run, sizeof workload->run, "%016" PRIx64, run);
    generator_init(&generator, seed);
    generator_fill(&generator, value, workload->value_size);
    /* Zipf's law with exponent 1: the k-th SKU is drawn 1/k as often as the first. */
    for (size_t i = 0; i < workload_catalogue_count; i++) {
        sum += 1.0 / (double)(i + 1);
        workload->zipf[i] = sum;
    }
    for (size_t i = 0; i < workload_catalogue_count; i++)
        workload->zipf[i] /= sum;
    return true;
}

void workload_free(struct workload *workload)
{
    free((char *)(uintptr_t)workload->value);
    free(workload->zipf);
}

/* ---- Records to begin with ---- */

static enum strait_status make_table(strait *handle, const char *table, struct strait_error *error)
{
    strait_txn *txn = strait_txn_new();
    (void)strait_txn_create_table(txn, table);
    if (strcmp(table, "bench_orders") == 0)
        (void)strait_txn_create_index(txn, table, "by_customer", false);
    enum strait_status status = strait_commit(handle, txn, 0, NULL, error);
    strait_txn_free(txn);
    return status == STRAIT_ALREADY_EXISTS ? STRAIT_OK : status;
}

static void key_of(uint64_t number, char text[32])
{
    snprintf(text, 32, "key%012" PRIu64, number);
}

static void sku_of(uint64_t number, char text[32])
{
    snprintf(text, 32, "sku%06" PRIu64, number);
}

static enum strait_status fill(struct cli *cli, strait *handle, const struct workload *workload,
                               struct strait_error *error)
{
    enum strait_status status = STRAIT_OK;
    struct progress progress;
    strait_txn *txn = strait_txn_new();
    char key[32];

    progress_begin(&progress, cli, "filling", "records");
    for (uint64_t i = 0; i < workload->keys_count && status == STRAIT_OK; i++) {
        key_of(i, key);
        (void)strait_txn_put(txn, "bench", strait_text(key),
                             strait_bytes(workload->value, workload->value_size), NULL);
        bool is_last = i + 1 == workload->keys_count;
        if (strait_txn_operations_count(txn) == prepare_batch || is_last ||
            strait_txn_operations_count(txn) * workload->value_size > 2 * 1024 * 1024) {
            status = strait_commit(handle, txn, prepare_timeout_ms, NULL, error);
            strait_txn_clear(txn);
            progress_show(&progress, i + 1, workload->keys_count);
        }
    }
    progress_end(&progress);
    strait_txn_free(txn);
    return status;
}

enum strait_status workload_prepare(struct cli *cli, strait *handle,
                                    const struct workload *workload, struct strait_error *error)
{
    static const char *const tables[] = {"bench", "bench_stock", "bench_orders"};
    enum strait_status status = STRAIT_OK;
    for (size_t i = 0; i < 3 && status == STRAIT_OK; i++)
        status = make_table(handle, tables[i], error);
    if (status == STRAIT_OK &&
        (workload->kind == WORKLOAD_GET || workload->kind == WORKLOAD_MIXED ||
         workload->kind == WORKLOAD_SCAN))
        status = fill(cli, handle, workload, error);
    return status;
}

/* ---- Operations ---- */

static uint64_t draw_sku(const struct workload *workload, struct generator *generator)
{
    double share = (double)(generator_draw(generator) >> 11) / 9007199254740992.0;
    size_t low = 0;
    size_t high = workload_catalogue_count - 1;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (workload->zipf[middle] < share)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* An order of 1 to 5 lines: stock taken for each, and the order's record, all or nothing. */
static void checkout(const struct workload *workload, struct generator *generator, strait_txn *txn)
{
    const struct strait_add_options stock = {
        .has_minimum = true, .minimum = 0, .initial = STOCK_INITIAL};
    char order[64];
    char customer[32];
    char text[1024];
    char sku[32];
    size_t used = 0;
    uint64_t lines = generator_between(generator, 1, lines_max);
    struct strait_index_entry entry = {.index = "by_customer"};
    const struct strait_put_options put = {.indexes = &entry, .indexes_count = 1};

    snprintf(order, sizeof order, "%s-%016" PRIx64 "%08" PRIx32, workload->run,
             generator_draw(generator), (uint32_t)generator_draw(generator));
    snprintf(customer, sizeof customer, "c%05" PRIu64, generator_below(generator, 100000));
    used += (size_t)snprintf(text, sizeof text, "{\"customer\":\"%s\",\"lines\":[", customer);
    for (uint64_t i = 0; i < lines; i++) {
        int64_t quantity = (int64_t)generator_between(generator, 1, 3);
        sku_of(draw_sku(workload, generator), sku);
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 "%s{\"sku\":\"%s\",\"quantity\":%" PRId64 "}", i == 0 ? "" : ",",
                                 sku, quantity);
        (void)strait_txn_add(txn, "bench_stock", strait_text(sku), -quantity, &stock);
    }
    used += (size_t)snprintf(text + used, sizeof text - used, "]}");
    entry.key = strait_text(customer);
    (void)strait_txn_require_absent(txn, "bench_orders", strait_text(order));
    (void)strait_txn_put(txn, "bench_orders", strait_text(order), strait_bytes(text, used), &put);
}

static void put_operation(const struct workload *workload, struct operation *operation)
{
    operation->is_commit = true;
    (void)strait_txn_put(operation->txn, "bench", strait_text(operation->key_text),
                         strait_bytes(workload->value, workload->value_size), NULL);
}

void workload_next(const struct workload *workload, struct generator *generator,
                   struct operation *operation)
{
    const struct strait_add_options stock = {
        .has_minimum = true, .minimum = 0, .initial = STOCK_INITIAL};

    strait_txn_clear(operation->txn);
    operation->is_commit = false;
    operation->is_scan = false;
    key_of(generator_below(generator, workload->keys_count), operation->key_text);
    operation->key = (struct strait_key){.table = "bench", .key = strait_text(operation->key_text)};
    switch (workload->kind) {
    case WORKLOAD_PUT:
        put_operation(workload, operation);
        break;
    case WORKLOAD_GET:
        break;
    case WORKLOAD_MIXED:
        if (generator_chance(generator, 1, 5))
            put_operation(workload, operation);
        break;
    case WORKLOAD_SCAN:
        operation->is_scan = true;
        break;
    case WORKLOAD_CHECKOUT:
        operation->is_commit = true;
        checkout(workload, generator, operation->txn);
        break;
    case WORKLOAD_HOT_SKU:
        operation->is_commit = true;
        (void)strait_txn_add(operation->txn, "bench_stock", strait_text("sku000000"), -1, &stock);
        break;
    }
}
