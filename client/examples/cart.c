/* SPDX-License-Identifier: Apache-2.0 */
/* A shopper's cart that goes by itself when it is left alone.
 *
 *     cart add SHOPPER SKU QUANTITY    puts so many more of a SKU in (a negative number: out)
 *     cart show SHOPPER                prints what is in it
 *     cart empty SHOPPER               takes all out
 *
 * The server is found as every program of Strait finds it: STRAIT_PROFILE, or
 * ~/.config/strait/profile. The table is made with the first use, which needs the role admin.
 *
 * Each line of a cart is a record of its own, "SHOPPER/SKU". Changing one begins its half hour
 * anew. Two devices of one shopper may change a cart at the same time: each change is a small
 * transaction that reads and writes, and is run again where the other one came first. */
#include <strait.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { cart_ttl_ms = 30 * 60 * 1000, key_size = 256 };

static int complain(const char *what, const struct strait_error *error)
{
    fprintf(stderr, "cart: %s: %s (%s)\n", what, strait_error_text(error),
            strait_status_name(error->status));
    if (error->status == STRAIT_OUTCOME_UNKNOWN)
        fprintf(stderr, "cart: what became of it: strait txn status %s\n", error->txn);
    return error->status == STRAIT_OUTCOME_UNKNOWN ? 4
           : error->status == STRAIT_UNREACHABLE   ? 3
                                                   : 1;
}

/* Makes the table unless it is there. */
static enum strait_status make_table(strait *db, struct strait_error *error)
{
    strait_txn *txn = strait_txn_new();
    if (txn == NULL)
        return STRAIT_NO_MEMORY;
    strait_txn_create_table(txn, "carts");
    enum strait_status status = strait_commit(db, txn, 0, NULL, error);
    strait_txn_free(txn);
    return status == STRAIT_ALREADY_EXISTS ? STRAIT_OK : status;
}

struct change {
    char key[key_size];
    int64_t quantity;
    int64_t result;
};

/* The body of the transaction: reads the line, and writes it with its time begun anew. */
static enum strait_status change_line(strait_txn *txn, void *context, struct strait_error *error)
{
    struct change *change = context;
    const struct strait_put_options options = {.ttl_ms = cart_ttl_ms};
    struct strait_records *found;
    char text[32];

    change->result = change->quantity;
    enum strait_status status =
        strait_txn_get(txn, "carts", strait_text(change->key), 0, &found, error);
    if (status == STRAIT_OK)
        change->result += strtoll(found->items[0].value.data, NULL, 10);
    else if (status != STRAIT_NOT_FOUND)
        return status;
    strait_free(found);
    if (change->result <= 0) {
        change->result = 0;
        return strait_txn_del(txn, "carts", strait_text(change->key));
    }
    snprintf(text, sizeof text, "%" PRId64, change->result);
    return strait_txn_put(txn, "carts", strait_text(change->key), strait_text(text), &options);
}

static int add(strait *db, const char *shopper, const char *sku, const char *quantity)
{
    struct change change = {0};
    struct strait_error error;
    char *end = NULL;

    change.quantity = strtoll(quantity, &end, 10);
    if (end == quantity || *end != 0 ||
        snprintf(change.key, sizeof change.key, "%s/%s", shopper, sku) >= key_size) {
        fprintf(stderr, "cart: the quantity is no number, or the names are too long\n");
        return 2;
    }
    enum strait_status status = strait_run(db, change_line, &change, 0, NULL, &error);
    if (status == STRAIT_NO_TABLE) {
        status = make_table(db, &error);
        if (status == STRAIT_OK)
            status = strait_run(db, change_line, &change, 0, NULL, &error);
    }
    if (status != STRAIT_OK)
        return complain("the cart was not changed", &error);
    printf("%s: %" PRId64 "\n", sku, change.result);
    return 0;
}

/* Keys "SHOPPER/" up to "SHOPPER0": '0' comes right after '/'. */
static int show(strait *db, const char *shopper)
{
    char start[key_size];
    char end[key_size];
    struct strait_error error;
    const struct strait_record *line;
    strait_scan *scan;

    snprintf(start, sizeof start, "%s/", shopper);
    snprintf(end, sizeof end, "%s0", shopper);
    struct strait_range range = {
        .table = "carts", .start = strait_text(start), .end = strait_text(end)};
    if (strait_scan_begin(db, &range, NULL, 0, &scan, &error) != STRAIT_OK)
        return complain("the cart cannot be read", &error);
    enum strait_status status;
    while ((status = strait_scan_next(scan, &line, &error)) == STRAIT_OK)
        printf("%s: %s\n", (const char *)line->key.data + strlen(start),
               (const char *)line->value.data);
    strait_scan_end(scan);
    return status == STRAIT_END || status == STRAIT_NO_TABLE
               ? 0
               : complain("the cart cannot be read", &error);
}

/* Reads the cart and deletes its lines in one transaction: what another device puts in meanwhile is
 * either deleted, too, or makes this run again. */
static enum strait_status delete_lines(strait_txn *txn, void *context, struct strait_error *error)
{
    const struct strait_range *range = context;
    const struct strait_scan_options options = {.keys_only = true};
    const struct strait_record *line;
    strait_scan *scan;

    enum strait_status status = strait_txn_scan(txn, range, &options, 0, &scan, error);
    while (status == STRAIT_OK) {
        status = strait_scan_next(scan, &line, error);
        if (status == STRAIT_OK)
            status = strait_txn_del(txn, "carts", line->key);
    }
    strait_scan_end(scan);
    return status == STRAIT_END ? STRAIT_OK : status;
}

static int empty(strait *db, const char *shopper)
{
    char start[key_size];
    char end[key_size];
    struct strait_error error;

    snprintf(start, sizeof start, "%s/", shopper);
    snprintf(end, sizeof end, "%s0", shopper);
    struct strait_range range = {
        .table = "carts", .start = strait_text(start), .end = strait_text(end)};
    enum strait_status status = strait_run(db, delete_lines, &range, 0, NULL, &error);
    return status == STRAIT_OK || status == STRAIT_NO_TABLE
               ? 0
               : complain("the cart was not emptied", &error);
}

static int usage(void)
{
    fprintf(stderr, "usage: cart add SHOPPER SKU QUANTITY | cart show SHOPPER | cart empty "
                    "SHOPPER\n");
    return 2;
}

int main(int count, char **arguments)
{
    strait *db = NULL;
    struct strait_error error = {0};
    int result = 2;

    if (count < 3 || strlen(arguments[2]) > key_size / 2)
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
    if (strcmp(arguments[1], "add") == 0 && count == 5)
        result = add(db, arguments[2], arguments[3], arguments[4]);
    else if (strcmp(arguments[1], "show") == 0 && count == 3)
        result = show(db, arguments[2]);
    else if (strcmp(arguments[1], "empty") == 0 && count == 3)
        result = empty(db, arguments[2]);
    else
        result = usage();
    strait_close(db);
    return result;
}
