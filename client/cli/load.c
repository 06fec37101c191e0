/* SPDX-License-Identifier: Apache-2.0 */
/* `strait load retail FILE`: real orders, one transaction an invoice.
 *
 * Each transaction puts the order's record with its lines, indexed by customer and by day, on
 * condition that it does not exist; the customer's record; and moves each SKU's stock, which never
 * goes below zero. Its id derives from the invoice. So loading again, also after a crash in the
 * middle, or after all outcomes have expired, changes nothing that is there.
 *
 * The summary at the end is counted from what the server holds, not from the file. */
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/cli.h"
#include "client/cli/progress.h"
#include "client/cli/retail.h"

enum {
    inflight_max = 64,
    commit_timeout_ms = 60000,
    /* Of one request of the summary: its reply stays within its bounds. */
    summary_keys_max = 500,
    summary_lines_max = 2000,
};

#define INITIAL_STOCK_DEFAULT 1000000

struct load {
    struct cli *cli;
    strait *handle;
    struct retail_file file;
    int64_t initial_stock;
    struct progress progress;
    uint32_t timeout_ms;
    size_t next;
    size_t inflight_count;
    uint64_t loaded_count;
    uint64_t there_count; /* orders that existed already */
    uint64_t refused_count;
    bool stopped; /* by an error that the others would meet as well */
    struct strait_error error;
    struct sending {
        struct load *load;
        strait_txn *txn;
        const struct retail_invoice *invoice;
        bool busy;
    } sending[inflight_max];
};

/* What the server holds of this file, counted. */
struct summary {
    uint64_t invoices_count;
    uint64_t lines_count;
    uint64_t cancellations_count;
    uint64_t cancellation_lines_count;
    json_t *skus; /* as sets: the names are the members */
    json_t *customers;
    int64_t units_sold;
    int64_t units_returned;
    int64_t units_written_off;
    int64_t revenue_micro;
};

/* ---- Schema ---- */

static bool has_index(const struct strait_table *table, const char *name)
{
    for (size_t i = 0; table != NULL && i < table->indexes_count; i++) {
        if (strcmp(table->indexes[i].name, name) == 0)
            return true;
    }
    return false;
}

static const struct strait_table *find_table(const struct strait_tables *tables, const char *name)
{
    for (size_t i = 0; i < tables->count; i++) {
        if (strcmp(tables->items[i].name, name) == 0)
            return &tables->items[i];
    }
    return NULL;
}

/* Makes the tables and indexes that are missing, in one transaction. */
static enum strait_status make_schema(struct load *load)
{
    static const char *const names[] = {"orders", "customers", "stock"};
    struct strait_tables *tables = NULL;
    enum strait_status status = strait_table_list(load->handle, 0, &tables, &load->error);
    if (status != STRAIT_OK)
        return status;
    strait_txn *txn = strait_txn_new();
    for (size_t i = 0; i < 3; i++) {
        if (find_table(tables, names[i]) == NULL)
            (void)strait_txn_create_table(txn, names[i]);
    }
    if (!has_index(find_table(tables, "orders"), "by_customer"))
        (void)strait_txn_create_index(txn, "orders", "by_customer", false);
    if (!has_index(find_table(tables, "orders"), "by_day"))
        (void)strait_txn_create_index(txn, "orders", "by_day", false);
    strait_free(tables);
    if (strait_txn_operations_count(txn) != 0)
        status = strait_commit(load->handle, txn, 0, NULL, &load->error);
    strait_txn_free(txn);
    return status;
}

/* ---- One invoice ---- */

static json_t *line_json(const struct retail_line *line)
{
    char price[32];
    json_t *object = json_object();
    retail_format_money(line->price_micro, price);
    /* Prices finer than a penny are kept to the last digit. */
    if (line->price_micro % RETAIL_MICRO_PER_PENNY != 0)
        snprintf(price, sizeof price, "%s%lld.%06lld", line->price_micro < 0 ? "-" : "",
                 llabs(line->price_micro) / 1000000, llabs(line->price_micro) % 1000000);
    json_object_set_new(object, "sku", json_string(line->sku));
    json_object_set_new(object, "description", json_string(line->description));
    json_object_set_new(object, "quantity", json_integer(line->quantity));
    json_object_set_new(object, "price", json_string(price));
    return object;
}

static char *order_json(const struct retail_invoice *invoice)
{
    char total_text[32];
    json_t *order = json_object();
    json_t *lines = json_array();
    for (uint32_t i = 0; i < invoice->lines_count; i++)
        json_array_append_new(lines, line_json(&invoice->lines[i]));
    retail_format_money(invoice->total_micro, total_text);
    json_object_set_new(order, "invoice", json_string(invoice->number));
    json_object_set_new(order, "kind",
                        json_string(invoice->is_cancellation ? "cancellation" : "order"));
    json_object_set_new(order, "time", json_string(invoice->time));
    json_object_set_new(order, "customer",
                        invoice->customer[0] != 0 ? json_string(invoice->customer) : json_null());
    json_object_set_new(order, "country", json_string(invoice->country));
    json_object_set_new(order, "total", json_string(total_text));
    json_object_set_new(order, "lines", lines);
    char *text = json_dumps(order, JSON_COMPACT);
    json_decref(order);
    return text;
}

static void add_customer(strait_txn *txn, const struct retail_invoice *invoice)
{
    json_t *customer = json_object();
    json_object_set_new(customer, "customer", json_string(invoice->customer));
    json_object_set_new(customer, "country", json_string(invoice->country));
    char *text = json_dumps(customer, JSON_COMPACT);
    json_decref(customer);
    if (text != NULL)
        (void)strait_txn_put(txn, "customers", strait_text(invoice->customer), strait_text(text),
                             NULL);
    free(text);
}

static void set_id(strait_txn *txn, const struct retail_invoice *invoice)
{
    static const char domain[] = "strait load retail";
    uint8_t text[sizeof domain + retail_code_size_max];
    uint8_t digest[EVP_MAX_MD_SIZE];
    size_t size = strlen(invoice->number);
    memcpy(text, domain, sizeof domain);
    memcpy(text + sizeof domain, invoice->number, size);
    if (EVP_Digest(text, sizeof domain + size, digest, NULL, EVP_sha256(), NULL) == 1)
        strait_txn_set_id(txn, digest);
}

/* Gathers the transaction; errors of gathering are told by the commit. False: no memory for the
 * order's text. */
static bool gather(struct load *load, strait_txn *txn, const struct retail_invoice *invoice)
{
    struct strait_index_entry entries[2];
    struct strait_put_options put = {.indexes = entries};
    const struct strait_add_options stock = {
        .has_minimum = true, .minimum = 0, .initial = load->initial_stock};

    entries[put.indexes_count++] =
        (struct strait_index_entry){"by_day", strait_bytes(invoice->time, 10)};
    if (invoice->customer[0] != 0)
        entries[put.indexes_count++] =
            (struct strait_index_entry){"by_customer", strait_text(invoice->customer)};
    char *text = order_json(invoice);
    if (text == NULL)
        return false;
    struct strait_bytes key = strait_text(invoice->number);
    (void)strait_txn_require_absent(txn, "orders", key);
    (void)strait_txn_put(txn, "orders", key, strait_text(text), &put);
    free(text);
    if (invoice->customer[0] != 0)
        add_customer(txn, invoice);
    for (uint32_t i = 0; i < invoice->lines_count; i++) {
        const struct retail_line *line = &invoice->lines[i];
        /* A sale lowers the stock, a cancellation raises it, a write-off lowers it. */
        int64_t change =
            invoice->is_cancellation || line->quantity > 0 ? -line->quantity : line->quantity;
        (void)strait_txn_add(txn, "stock", strait_text(line->sku), change, &stock);
    }
    set_id(txn, invoice);
    return true;
}

/* ---- Sending ---- */

static void refused(struct load *load, const struct retail_invoice *invoice,
                    const struct strait_error *error)
{
    load->refused_count++;
    progress_end(&load->progress);
    fputs("strait: invoice ", stderr);
    cli_print_bytes(stderr, strait_text(invoice->number));
    fputs(" was refused: ", stderr);
    cli_print_bytes(stderr, strait_text(strait_error_text(error)));
    fputc('\n', stderr);
}

static void on_done(void *context, const struct strait_completion *completion)
{
    struct sending *sending = context;
    struct load *load = sending->load;

    sending->busy = false;
    load->inflight_count--;
    switch (completion->status) {
    case STRAIT_OK:
        load->loaded_count++;
        break;
    case STRAIT_CONDITION_FAILED:
        load->there_count++;
        break;
    case STRAIT_OUT_OF_BOUNDS:
    case STRAIT_TOO_LARGE:
    case STRAIT_INVALID_ARGUMENT:
    case STRAIT_TXN_MISMATCH:
        refused(load, sending->invoice, completion->error);
        break;
    default:
        if (!load->stopped)
            load->error = *completion->error;
        load->stopped = true;
    }
    progress_show(&load->progress, load->loaded_count + load->there_count + load->refused_count,
                  load->file.invoices_count);
}

static bool send_next(struct load *load)
{
    struct sending *sending = load->sending;
    while (sending->busy)
        sending++;
    sending->invoice = &load->file.invoices[load->next];
    strait_txn_clear(sending->txn);
    if (!gather(load, sending->txn, sending->invoice)) {
        load->error.status = STRAIT_NO_MEMORY;
        load->stopped = true;
        return false;
    }
    enum strait_status status =
        strait_commit_async(load->handle, sending->txn, load->timeout_ms, on_done, sending);
    if (status == STRAIT_BUSY)
        return false;
    load->next++;
    if (status != STRAIT_OK) {
        const struct strait_error error = {.status = status};
        refused(load, sending->invoice, &error);
        return true;
    }
    sending->busy = true;
    load->inflight_count++;
    return true;
}

static bool send_all(struct load *load)
{
    for (size_t i = 0; i < inflight_max; i++) {
        load->sending[i] = (struct sending){.load = load, .txn = strait_txn_new()};
        if (load->sending[i].txn == NULL) {
            load->error.status = STRAIT_NO_MEMORY;
            load->stopped = true;
        }
    }
    progress_begin(&load->progress, load->cli, "loading", "invoices");
    while (load->inflight_count != 0 ||
           (!load->stopped && load->next < load->file.invoices_count)) {
        while (!load->stopped && load->next < load->file.invoices_count &&
               load->inflight_count < inflight_max && send_next(load))
            ;
        if (load->inflight_count != 0 && strait_dispatch(load->handle, -1) < 0) {
            load->error.status = STRAIT_INTERNAL;
            load->stopped = true;
            break;
        }
    }
    progress_end(&load->progress);
    for (size_t i = 0; i < inflight_max; i++)
        strait_txn_free(load->sending[i].txn);
    return !load->stopped;
}

/* ---- The summary ---- */

/* Whatever the record says, no sum wraps: false where one would, or where it is not ours. */
static bool count_line(struct summary *summary, bool is_cancellation, const json_t *line)
{
    const char *sku = json_string_value(json_object_get(line, "sku"));
    int64_t quantity = json_integer_value(json_object_get(line, "quantity"));
    const char *price = json_string_value(json_object_get(line, "price"));
    int64_t price_micro;
    int64_t amount_micro;
    if (sku == NULL || price == NULL || quantity == 0 || !retail_parse_money(price, &price_micro))
        return false;
    if (__builtin_mul_overflow(quantity, price_micro, &amount_micro) ||
        __builtin_add_overflow(summary->revenue_micro, amount_micro, &summary->revenue_micro))
        return false;
    json_object_set_new(summary->skus, sku, json_true());
    summary->lines_count++;
    summary->cancellation_lines_count += is_cancellation;
    if (is_cancellation)
        return !__builtin_sub_overflow(summary->units_returned, quantity, &summary->units_returned);
    if (quantity > 0)
        return !__builtin_add_overflow(summary->units_sold, quantity, &summary->units_sold);
    return !__builtin_sub_overflow(summary->units_written_off, quantity,
                                   &summary->units_written_off);
}

static bool count_order(struct summary *summary, const struct strait_record *record)
{
    json_t *order = json_loadb(record->value.data, record->value.size, 0, NULL);
    const char *kind = json_string_value(json_object_get(order, "kind"));
    const char *customer = json_string_value(json_object_get(order, "customer"));
    const json_t *lines = json_object_get(order, "lines");
    bool is_right = kind != NULL && json_is_array(lines);
    bool is_cancellation = is_right && strcmp(kind, "cancellation") == 0;
    size_t i;
    json_t *line;

    json_array_foreach(lines, i, line)
    {
        is_right = is_right && count_line(summary, is_cancellation, line);
    }
    if (customer != NULL)
        json_object_set_new(summary->customers, customer, json_true());
    json_decref(order);
    summary->invoices_count++;
    summary->cancellations_count += is_cancellation;
    return is_right;
}

/* Counts the orders that came in one reply. False: one is not ours. */
static bool count_orders(struct load *load, struct summary *summary,
                         const struct strait_records *records)
{
    for (size_t i = 0; i < records->count; i++) {
        if (records->items[i].found && !count_order(summary, &records->items[i])) {
            load->error = (struct strait_error){.status = STRAIT_MALFORMED};
            snprintf(load->error.text, sizeof load->error.text,
                     "The record of order %.*s is not one that `strait load retail` writes, or "
                     "its numbers are too large to be added up: no summary can be made.",
                     (int)records->items[i].key.size, (const char *)records->items[i].key.data);
            return false;
        }
    }
    return true;
}

/* Counts this file's orders as the server holds them, at one snapshot. */
static enum strait_status summarise(struct load *load, struct summary *summary)
{
    struct strait_key keys[summary_keys_max];
    strait_snapshot *snapshot = NULL;
    struct strait_records *records = NULL;
    size_t next = 0;

    enum strait_status status = strait_snapshot_begin(load->handle, 0, &snapshot, &load->error);
    while (status == STRAIT_OK && next < load->file.invoices_count) {
        size_t keys_count = 0;
        uint32_t lines = 0;
        while (next < load->file.invoices_count && keys_count < summary_keys_max &&
               (keys_count == 0 ||
                lines + load->file.invoices[next].lines_count <= summary_lines_max)) {
            lines += load->file.invoices[next].lines_count;
            keys[keys_count++] =
                (struct strait_key){"orders", strait_text(load->file.invoices[next++].number)};
        }
        status =
            strait_get_many(load->handle, snapshot, keys, keys_count, 0, &records, &load->error);
        if (status == STRAIT_OK && !count_orders(load, summary, records))
            status = STRAIT_MALFORMED;
        strait_free(records);
        records = NULL;
    }
    if (snapshot != NULL)
        strait_snapshot_end(snapshot);
    return status;
}

static void print_line_rejected(FILE *to, const char *before,
                                const struct retail_rejected *rejected)
{
    fprintf(to, "%sline %" PRIu64 ": ", before, rejected->line);
    cli_print_bytes(to, strait_text(rejected->reason));
    fputc('\n', to);
}

static void print_rejected(FILE *to, const char *before, const struct retail_file *file)
{
    for (size_t i = 0; i < file->rejected_kept_count; i++)
        print_line_rejected(to, before, &file->rejected[i]);
    if (file->rejected_count > file->rejected_kept_count)
        fprintf(to, "%sand %" PRIu64 " more\n", before,
                file->rejected_count - file->rejected_kept_count);
}

static void print_text(const struct load *load, const struct summary *summary)
{
    char revenue[32];
    retail_format_money(summary->revenue_micro, revenue);
    printf("loaded now             %" PRIu64 " invoices\n", load->loaded_count);
    printf("there already          %" PRIu64 " invoices\n", load->there_count);
    printf("refused                %" PRIu64 " invoices\n", load->refused_count);
    printf("rejected lines         %" PRIu64 "\n", load->file.rejected_count);
    /* Without --quiet each was told when it was met. */
    if (load->cli->quiet)
        print_rejected(stdout, "  ", &load->file);
    printf("Of this file the server holds:\n");
    printf("  invoices             %" PRIu64 "\n", summary->invoices_count);
    printf("  lines                %" PRIu64 "\n", summary->lines_count);
    printf("  cancellations        %" PRIu64 " invoices, %" PRIu64 " lines\n",
           summary->cancellations_count, summary->cancellation_lines_count);
    printf("  SKUs                 %zu\n", json_object_size(summary->skus));
    printf("  customers            %zu\n", json_object_size(summary->customers));
    printf("  units sold           %" PRId64 "\n", summary->units_sold);
    printf("  units returned       %" PRId64 "\n", summary->units_returned);
    printf("  units written off    %" PRId64 "\n", summary->units_written_off);
    printf("  revenue              %s\n", revenue);
}

static void print_document(const struct load *load, const struct summary *summary)
{
    char revenue[32];
    json_t *document = json_object();
    json_t *rejected = json_array();
    retail_format_money(summary->revenue_micro, revenue);
    for (size_t i = 0; i < load->file.rejected_kept_count; i++) {
        json_t *item = json_object();
        json_object_set_new(item, "line", json_integer((json_int_t)load->file.rejected[i].line));
        json_object_set_new(item, "reason", json_string(load->file.rejected[i].reason));
        json_array_append_new(rejected, item);
    }
    const struct {
        const char *name;
        int64_t value;
    } counts[] = {
        {"loaded_invoices", (int64_t)load->loaded_count},
        {"present_invoices", (int64_t)load->there_count},
        {"refused_invoices", (int64_t)load->refused_count},
        {"rejected_lines", (int64_t)load->file.rejected_count},
        {"rejected_more", (int64_t)(load->file.rejected_count - load->file.rejected_kept_count)},
        {"invoices", (int64_t)summary->invoices_count},
        {"lines", (int64_t)summary->lines_count},
        {"cancellation_invoices", (int64_t)summary->cancellations_count},
        {"cancellation_lines", (int64_t)summary->cancellation_lines_count},
        {"skus", (int64_t)json_object_size(summary->skus)},
        {"customers", (int64_t)json_object_size(summary->customers)},
        {"units_sold", summary->units_sold},
        {"units_returned", summary->units_returned},
        {"units_written_off", summary->units_written_off},
    };
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        json_object_set_new(document, counts[i].name, json_integer(counts[i].value));
    json_object_set_new(document, "revenue", json_string(revenue));
    json_object_set_new(document, "rejected", rejected);
    cli_print_json(document);
}

/* ---- The command ---- */

static void on_read(void *context, uint64_t read_size, uint64_t file_size)
{
    struct load *load = context;
    progress_show(&load->progress, read_size, file_size);
}

static void on_rejected(void *context, const struct retail_rejected *rejected)
{
    struct load *load = context;
    progress_end(&load->progress);
    print_line_rejected(stderr, "strait: rejected ", rejected);
}

static enum cli_exit load_file(struct load *load, const char *path)
{
    const struct retail_watch watch = {
        .on_progress = on_read,
        .on_rejected = load->cli->quiet ? NULL : on_rejected,
        .context = load,
    };
    enum cli_exit exit = CLI_DONE;

    progress_begin(&load->progress, load->cli, "reading", NULL);
    const char *wrong = retail_read(&load->file, path, &watch);
    progress_end(&load->progress);
    if (wrong != NULL) {
        if (load->cli->quiet)
            print_rejected(stderr, "strait: rejected ", &load->file);
        return cli_fail(load->cli, CLI_REFUSED, "%s is refused, nothing was written: %s", path,
                        wrong);
    }
    load->handle = cli_handle(load->cli, &exit);
    if (load->handle == NULL)
        return exit;
    if (make_schema(load) != STRAIT_OK)
        return cli_error(load->cli, &load->error);
    if (!send_all(load)) {
        fprintf(stderr,
                "strait: stopped after %" PRIu64 " of %zu invoices; loading again goes on where "
                "this ended\n",
                load->loaded_count + load->there_count, load->file.invoices_count);
        return cli_error(load->cli, &load->error);
    }
    struct summary summary = {.skus = json_object(), .customers = json_object()};
    if (summarise(load, &summary) != STRAIT_OK)
        exit = cli_error(load->cli, &load->error);
    else if (load->cli->json)
        print_document(load, &summary);
    else
        print_text(load, &summary);
    json_decref(summary.skus);
    json_decref(summary.customers);
    return exit == CLI_DONE && load->refused_count != 0 ? CLI_REFUSED : exit;
}

enum cli_exit cli_load_retail(struct cli *cli, int count, char **arguments)
{
    const char *initial = NULL;
    const struct cli_option options[] = {{"initial-stock", &initial, NULL}, {0}};
    struct load load = {.cli = cli,
                        .initial_stock = INITIAL_STOCK_DEFAULT,
                        .timeout_ms = cli->timeout_ms != 0 ? cli->timeout_ms : commit_timeout_ms};

    if (!cli_arguments(cli, options, &count, arguments, 1, 1, "a file is needed"))
        return CLI_USAGE;
    if (initial != NULL && (!cli_parse_i64(initial, &load.initial_stock) || load.initial_stock < 0))
        return cli_usage(cli, "--initial-stock %s: a whole number of units is needed", initial);
    enum cli_exit exit = load_file(&load, arguments[0]);
    retail_free(&load.file);
    return exit;
}
