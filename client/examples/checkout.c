/* SPDX-License-Identifier: Apache-2.0 */
/* Placing an order: stock and order in one transaction, in one round trip.
 *
 *     checkout stock SKU QUANTITY                   receives so many
 *     checkout order ORDER CUSTOMER SKU QUANTITY [SKU QUANTITY...]
 *     checkout orders CUSTOMER                      prints a customer's orders
 *
 * An order takes each line's quantity from the stock, never below zero, and writes the order with
 * an index entry for its customer: all of it, or nothing and the reason. Taking is an add with a
 * minimum, so that two orders for the same SKU do not conflict while there is enough for both.
 *
 * The order's number makes it safe to run again, for ever: it is written on condition that it is
 * not there yet. Run twice, the second one says so and changes nothing. */
#include <strait.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { lines_max = 100, order_text_size = 128 * 1024 };

static int complain(const char *what, const struct strait_error *error)
{
    fprintf(stderr, "checkout: %s: %s (%s)\n", what, strait_error_text(error),
            strait_status_name(error->status));
    if (error->status == STRAIT_OUTCOME_UNKNOWN)
        fprintf(stderr, "checkout: what became of it: strait txn status %s\n", error->txn);
    return error->status == STRAIT_OUTCOME_UNKNOWN ? 4
           : error->status == STRAIT_UNREACHABLE   ? 3
                                                   : 1;
}

static bool parse_quantity(const char *text, int64_t *quantity)
{
    char *end = NULL;
    *quantity = strtoll(text, &end, 10);
    return end != text && *end == 0 && *quantity > 0 && *quantity <= 1000000;
}

/* Tables and index in one transaction; they are there already where another one came first. */
static enum strait_status make_tables(strait *db, struct strait_error *error)
{
    strait_txn *txn = strait_txn_new();
    if (txn == NULL)
        return STRAIT_NO_MEMORY;
    strait_txn_create_table(txn, "shop_stock");
    strait_txn_create_table(txn, "shop_orders");
    strait_txn_create_index(txn, "shop_orders", "by_customer", false);
    enum strait_status status = strait_commit(db, txn, 0, NULL, error);
    strait_txn_free(txn);
    return status == STRAIT_ALREADY_EXISTS ? STRAIT_OK : status;
}

/* Commits; where the tables are not there yet, makes them and commits again. After that refusal the
 * same work needs another id, for the outcome of the first one is kept: `build` does it anew. */
static enum strait_status commit(strait *db,
                                 void (*build)(strait_txn *txn, char **arguments, int count),
                                 char **arguments, int count, struct strait_error *error)
{
    strait_txn *txn = strait_txn_new();
    if (txn == NULL)
        return STRAIT_NO_MEMORY;
    build(txn, arguments, count);
    enum strait_status status = strait_commit(db, txn, 0, NULL, error);
    if (status == STRAIT_NO_TABLE) {
        status = make_tables(db, error);
        strait_txn_clear(txn);
        build(txn, arguments, count);
        if (status == STRAIT_OK)
            status = strait_commit(db, txn, 0, NULL, error);
    }
    strait_txn_free(txn);
    return status;
}

/* ---- Stock ---- */

static void build_receipt(strait_txn *txn, char **arguments, int count)
{
    int64_t quantity = 0;
    (void)count;
    if (parse_quantity(arguments[1], &quantity))
        strait_txn_add(txn, "shop_stock", strait_text(arguments[0]), quantity, NULL);
}

static int receive(strait *db, char **arguments, int count)
{
    struct strait_error error;
    struct strait_records *stock;
    int64_t quantity;

    if (!parse_quantity(arguments[1], &quantity)) {
        fprintf(stderr, "checkout: '%s' is no quantity\n", arguments[1]);
        return 2;
    }
    if (commit(db, build_receipt, arguments, count, &error) != STRAIT_OK)
        return complain("the stock was not received", &error);
    if (strait_get(db, NULL, "shop_stock", strait_text(arguments[0]), 0, &stock, &error) !=
        STRAIT_OK)
        return complain("the stock cannot be read", &error);
    printf("%s: %s\n", arguments[0], (const char *)stock->items[0].value.data);
    strait_free(stock);
    return 0;
}

/* ---- Orders: ORDER CUSTOMER SKU QUANTITY [SKU QUANTITY...] ---- */

static void build_order(strait_txn *txn, char **arguments, int count)
{
    static char text[order_text_size];
    const struct strait_add_options at_least_none = {.has_minimum = true, .must_exist = true};
    const struct strait_index_entry customer = {.index = "by_customer",
                                                .key = strait_text(arguments[1])};
    const struct strait_put_options indexed = {.indexes = &customer, .indexes_count = 1};
    size_t size = 0;

    text[0] = 0;
    strait_txn_require_absent(txn, "shop_orders", strait_text(arguments[0]));
    for (int i = 2; i + 1 < count; i += 2) {
        int64_t quantity = 0;
        int length = snprintf(text + size, sizeof text - size, "%s%s %s", size != 0 ? ", " : "",
                              arguments[i + 1], arguments[i]);
        if (length > 0 && size + (size_t)length < sizeof text)
            size += (size_t)length;
        if (parse_quantity(arguments[i + 1], &quantity))
            strait_txn_add(txn, "shop_stock", strait_text(arguments[i]), -quantity, &at_least_none);
    }
    strait_txn_put(txn, "shop_orders", strait_text(arguments[0]), strait_text(text), &indexed);
}

static int order(strait *db, char **arguments, int count)
{
    struct strait_error error;

    for (int i = 2; i < count; i += 2) {
        int64_t quantity;
        if (!parse_quantity(arguments[i + 1], &quantity)) {
            fprintf(stderr, "checkout: '%s' is no quantity\n", arguments[i + 1]);
            return 2;
        }
    }
    switch (commit(db, build_order, arguments, count, &error)) {
    case STRAIT_OK:
        printf("order %s is placed\n", arguments[0]);
        return 0;
    case STRAIT_CONDITION_FAILED:
        printf("order %s was placed before; nothing was changed\n", arguments[0]);
        return 0;
    case STRAIT_OUT_OF_BOUNDS:
    case STRAIT_NOT_FOUND:
        /* The operations are the lines in their order, and then the order itself. */
        if (error.item != 0 && (int)error.item * 2 < count)
            fprintf(stderr, "checkout: there is not enough of %s; nothing was changed\n",
                    arguments[error.item * 2]);
        return complain("the order was not placed", &error);
    default:
        return complain("the order was not placed", &error);
    }
}

static int list(strait *db, const char *customer)
{
    char after[1024];
    struct strait_error error;
    const struct strait_record *found;
    strait_scan *scan;
    size_t size = strlen(customer);

    /* The one index key: from it up to itself with a zero byte behind. */
    if (size + 1 > sizeof after)
        return 2;
    memcpy(after, customer, size + 1);
    struct strait_range range = {.table = "shop_orders",
                                 .index = "by_customer",
                                 .start = strait_text(customer),
                                 .end = strait_bytes(after, size + 1)};
    if (strait_scan_begin(db, &range, NULL, 0, &scan, &error) != STRAIT_OK)
        return complain("the orders cannot be read", &error);
    enum strait_status status;
    while ((status = strait_scan_next(scan, &found, &error)) == STRAIT_OK)
        printf("%s: %s\n", (const char *)found->key.data, (const char *)found->value.data);
    strait_scan_end(scan);
    return status == STRAIT_END || status == STRAIT_NO_TABLE
               ? 0
               : complain("the orders cannot be read", &error);
}

static int usage(void)
{
    fprintf(stderr, "usage: checkout stock SKU QUANTITY\n"
                    "       checkout order ORDER CUSTOMER SKU QUANTITY [SKU QUANTITY...]\n"
                    "       checkout orders CUSTOMER\n");
    return 2;
}

int main(int count, char **arguments)
{
    strait *db = NULL;
    struct strait_error error = {0};
    int result = 2;

    if (count < 3)
        return usage();
    strait_options *options = strait_options_new();
    if (options == NULL)
        return 1;
    enum strait_status status = strait_options_load_default(options, &error);
    if (status == STRAIT_OK)
        status = strait_open(options, &db, &error);
    strait_options_free(options);
    if (status != STRAIT_OK)
        return complain("cannot begin", &error);
    if (strcmp(arguments[1], "stock") == 0 && count == 4)
        result = receive(db, arguments + 2, count - 2);
    else if (strcmp(arguments[1], "order") == 0 && count >= 6 && count % 2 == 0 &&
             count <= 4 + 2 * lines_max)
        result = order(db, arguments + 2, count - 2);
    else if (strcmp(arguments[1], "orders") == 0 && count == 3)
        result = list(db, arguments[2]);
    else
        result = usage();
    strait_close(db);
    return result;
}
