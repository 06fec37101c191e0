/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/retail.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/csv.h"

enum { columns_count = 8, texts_chunk_size = 256 * 1024, table_size_first = 4096 };

enum column { INVOICE, SKU, DESCRIPTION, QUANTITY, TIME, PRICE, CUSTOMER, COUNTRY };

static const char *const column_names[columns_count] = {"InvoiceNo",  "StockCode",   "Description",
                                                        "Quantity",   "InvoiceDate", "UnitPrice",
                                                        "CustomerID", "Country"};

/* ---- Texts: copied once, freed together ---- */

struct retail_texts {
    struct retail_texts *older;
    size_t used;
    char space[texts_chunk_size];
};

static const char *keep_text(struct retail_file *file, const char *text)
{
    size_t size = strlen(text) + 1;
    if (file->texts == NULL || size > sizeof file->texts->space - file->texts->used) {
        struct retail_texts *chunk = malloc(sizeof *chunk);
        if (chunk == NULL)
            return NULL;
        chunk->older = file->texts;
        chunk->used = 0;
        file->texts = chunk;
    }
    char *kept = file->texts->space + file->texts->used;
    memcpy(kept, text, size);
    file->texts->used += size;
    return kept;
}

/* ---- Numbers ---- */

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

bool retail_parse_money(const char *text, int64_t *micro)
{
    bool negative = text[0] == '-';
    bool has_digit = false;
    int64_t value = 0;
    int decimals = -1;

    text += negative;
    for (; *text != 0; text++) {
        if (*text == '.' && decimals < 0) {
            decimals = 0;
            continue;
        }
        if (!is_digit(*text) || decimals == 6 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *text - '0', &value))
            return false;
        has_digit = true;
        decimals += decimals >= 0;
    }
    for (int i = decimals < 0 ? 0 : decimals; i < 6; i++) {
        if (__builtin_mul_overflow(value, 10, &value))
            return false;
    }
    *micro = negative ? -value : value;
    return has_digit;
}

void retail_format_money(int64_t micro, char text[32])
{
    uint64_t size = micro < 0 ? 0 - (uint64_t)micro : (uint64_t)micro;
    uint64_t pennies = (size + RETAIL_MICRO_PER_PENNY / 2) / RETAIL_MICRO_PER_PENNY;
    snprintf(text, 32, "%s%" PRIu64 ".%02" PRIu64, micro < 0 && pennies != 0 ? "-" : "",
             pennies / 100, pennies % 100);
}

static bool parse_quantity(const char *text, int64_t *quantity)
{
    char *end;
    errno = 0;
    if (!is_digit(text[text[0] == '-']))
        return false;
    long long value = strtoll(text, &end, 10);
    if (*end != 0 || errno != 0 || value > RETAIL_QUANTITY_MAX || value < -RETAIL_QUANTITY_MAX)
        return false;
    *quantity = value;
    return true;
}

/* Takes one to `digits_max` digits off the front, and the byte after them, which is `after`. */
static bool take_number(const char **text, int digits_max, char after, unsigned *number)
{
    int digits = 0;
    *number = 0;
    for (; digits < digits_max && is_digit(**text); digits++)
        *number = *number * 10 + (unsigned)(*(*text)++ - '0');
    if (digits == 0 || **text != after)
        return false;
    *text += after != 0;
    return true;
}

static unsigned days_of(unsigned month, unsigned year)
{
    static const unsigned char days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && is_leap ? 1U : 0U);
}

/* "01/12/2010 08:26" to "2010-12-01T08:26". */
static bool parse_time(const char *text, char time[17])
{
    unsigned day;
    unsigned month;
    unsigned year;
    unsigned hour;
    unsigned minute;
    if (!take_number(&text, 2, '/', &day) || !take_number(&text, 2, '/', &month) ||
        !take_number(&text, 4, ' ', &year) || !take_number(&text, 2, ':', &hour) ||
        !take_number(&text, 2, 0, &minute))
        return false;
    if (year < 1900 || month < 1 || month > 12 || day < 1 || day > days_of(month, year) ||
        hour > 23 || minute > 59)
        return false;
    snprintf(time, 17, "%04u-%02u-%02uT%02u:%02u", year % 10000, month % 100, day % 100, hour % 100,
             minute % 100);
    return true;
}

/* Codes are printed, and are keys: no C0 or C1 controls, no DEL. `text` is UTF-8. */
static bool is_code(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t size = strlen(text);
    for (size_t i = 0; i < size; i++) {
        if (at[i] < 0x20 || at[i] == 0x7f || (at[i] == 0xc2 && at[i + 1] < 0xa0))
            return false;
    }
    return size >= 1 && size <= retail_code_size_max;
}

/* ---- Invoices ---- */

static uint64_t hash_text(const char *text)
{
    uint64_t hash = 14695981039346656037ULL; /* FNV-1a */
    for (; *text != 0; text++)
        hash = (hash ^ (unsigned char)*text) * 1099511628211ULL;
    return hash ^ (hash >> 32);
}

static size_t slot_of(const struct retail_file *file, const char *number)
{
    size_t slot = hash_text(number) & (file->table_size - 1);
    while (file->table[slot] != 0 &&
           strcmp(file->invoices[file->table[slot] - 1].number, number) != 0)
        slot = (slot + 1) & (file->table_size - 1);
    return slot;
}

/* Keeps the table at most half full, and room for one more invoice. */
static bool make_room(struct retail_file *file)
{
    if (file->invoices_count == file->invoices_room) {
        size_t room = file->invoices_room == 0 ? 1024 : file->invoices_room * 2;
        struct retail_invoice *grown = realloc(file->invoices, room * sizeof *grown);
        if (grown == NULL)
            return false;
        file->invoices = grown;
        file->invoices_room = room;
    }
    if (file->table_size > 2 * (file->invoices_count + 1))
        return true;
    size_t size = file->table_size == 0 ? table_size_first : file->table_size * 2;
    uint32_t *table = calloc(size, sizeof *table);
    if (table == NULL)
        return false;
    free(file->table);
    file->table = table;
    file->table_size = size;
    for (size_t i = 0; i < file->invoices_count; i++)
        table[slot_of(file, file->invoices[i].number)] = (uint32_t)i + 1;
    return true;
}

/* The invoice of a row, found or begun. NULL: no memory. */
static struct retail_invoice *invoice_of(struct retail_file *file, const char *const *fields,
                                         const char *time)
{
    if (!make_room(file))
        return NULL;
    size_t slot = slot_of(file, fields[INVOICE]);
    if (file->table[slot] != 0)
        return &file->invoices[file->table[slot] - 1];
    struct retail_invoice *invoice = &file->invoices[file->invoices_count];
    *invoice = (struct retail_invoice){.is_cancellation = fields[INVOICE][0] == 'C'};
    invoice->number = keep_text(file, fields[INVOICE]);
    invoice->customer = keep_text(file, fields[CUSTOMER]);
    invoice->country = keep_text(file, fields[COUNTRY]);
    memcpy(invoice->time, time, sizeof invoice->time);
    if (invoice->number == NULL || invoice->customer == NULL || invoice->country == NULL)
        return NULL;
    file->table[slot] = (uint32_t)++file->invoices_count;
    return invoice;
}

static struct retail_line *add_line(struct retail_file *file, struct retail_invoice *invoice)
{
    if (invoice->lines_count == invoice->lines_room) {
        uint32_t room = invoice->lines_room == 0 ? 8 : invoice->lines_room * 2;
        struct retail_line *grown = realloc(invoice->lines, room * sizeof *grown);
        if (grown == NULL)
            return NULL;
        invoice->lines = grown;
        invoice->lines_room = room;
    }
    file->lines_count++;
    return &invoice->lines[invoice->lines_count++];
}

/* ---- Rows ---- */

/* What the rows of one reading are taken with. */
struct reading {
    struct retail_file *file;
    const struct retail_watch *watch;
};

/* Keeps what was rejected, up to a bound. False: no memory. */
static bool keep_rejected(struct retail_file *file, const struct retail_rejected *rejected)
{
    file->rejected_count++;
    if (file->rejected_kept_count == retail_reasons_max)
        return true;
    if (file->rejected_kept_count == file->rejected_room) {
        size_t room = file->rejected_room == 0 ? 16 : file->rejected_room * 2;
        struct retail_rejected *grown = realloc(file->rejected, room * sizeof *grown);
        if (grown == NULL)
            return false;
        file->rejected = grown;
        file->rejected_room = room;
    }
    file->rejected[file->rejected_kept_count++] = *rejected;
    return true;
}

/* False: no memory. */
__attribute__((format(printf, 3, 4))) static bool reject(const struct reading *reading,
                                                         uint64_t line, const char *format, ...)
{
    struct retail_rejected rejected = {.line = line};
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(rejected.reason, sizeof rejected.reason, format, arguments);
    va_end(arguments);
    if (reading->watch->on_rejected != NULL)
        reading->watch->on_rejected(reading->watch->context, &rejected);
    return keep_rejected(reading->file, &rejected);
}

/* What is wrong with a row by itself, or NULL. */
static const char *check_row(const char *const *fields, size_t count, struct retail_line *line,
                             char time[17], int64_t *amount_micro)
{
    if (count != columns_count)
        return "it does not have 8 fields";
    if (!is_code(fields[INVOICE]) || !is_code(fields[SKU]))
        return "InvoiceNo or StockCode is empty, too long, or holds control characters";
    if (fields[CUSTOMER][0] != 0 && !is_code(fields[CUSTOMER]))
        return "CustomerID is too long, or holds control characters";
    if (!parse_quantity(fields[QUANTITY], &line->quantity) || line->quantity == 0)
        return "Quantity is not a whole number other than 0, up to 1,000,000,000";
    if (!parse_time(fields[TIME], time))
        return "InvoiceDate is not DD/MM/YYYY HH:MM, or there is no such day";
    if (!retail_parse_money(fields[PRICE], &line->price_micro) ||
        line->price_micro > RETAIL_PRICE_MICRO_MAX || line->price_micro < -RETAIL_PRICE_MICRO_MAX)
        return "UnitPrice is not an amount in pounds, up to 1,000,000";
    if (__builtin_mul_overflow(line->quantity, line->price_micro, amount_micro) ||
        *amount_micro > RETAIL_AMOUNT_MICRO_MAX || *amount_micro < -RETAIL_AMOUNT_MICRO_MAX)
        return "Quantity times UnitPrice is more than 1,000,000,000 pounds";
    if (strlen(fields[DESCRIPTION]) > retail_text_size_max ||
        strlen(fields[COUNTRY]) > retail_text_size_max)
        return "Description or Country is longer than 200 bytes";
    if (fields[INVOICE][0] == 'C' && line->quantity > 0)
        return "a cancellation's quantity is negative";
    return NULL;
}

/* False: no memory. */
static bool take_row(const struct reading *reading, uint64_t number, const char *const *fields,
                     size_t count)
{
    struct retail_file *file = reading->file;
    struct retail_line parsed = {0};
    int64_t amount_micro = 0;
    int64_t amounts_micro;
    char time[17];

    const char *wrong = check_row(fields, count, &parsed, time, &amount_micro);
    if (wrong != NULL)
        return reject(reading, number, "%s", wrong);
    /* Before the invoice is begun: none is without lines. */
    if (__builtin_add_overflow(file->amounts_micro, llabs(amount_micro), &amounts_micro))
        return reject(reading, number,
                      "the amounts of the file's lines pass 9,223,372,036,854 "
                      "pounds with it");
    struct retail_invoice *invoice = invoice_of(file, fields, time);
    if (invoice == NULL)
        return false;
    if (strcmp(invoice->customer, fields[CUSTOMER]) != 0)
        return reject(reading, number, "invoice %s has another CustomerID in an earlier line",
                      invoice->number);
    if (invoice->lines_count == retail_lines_max)
        return reject(reading, number, "invoice %s has more than 3,000 lines", invoice->number);
    parsed.sku = keep_text(file, fields[SKU]);
    parsed.description = keep_text(file, fields[DESCRIPTION]);
    struct retail_line *line = add_line(file, invoice);
    if (parsed.sku == NULL || parsed.description == NULL || line == NULL)
        return false;
    *line = parsed;
    invoice->total_micro += amount_micro;
    file->amounts_micro = amounts_micro;
    return true;
}

static bool is_header(const char *const *fields, size_t count)
{
    static const char byte_order_mark[] = "\xef\xbb\xbf";
    if (count != columns_count)
        return false;
    for (int i = 0; i < columns_count; i++) {
        const char *field = fields[i];
        if (i == 0 && strncmp(field, byte_order_mark, 3) == 0)
            field += 3;
        if (strcmp(field, column_names[i]) != 0)
            return false;
    }
    return true;
}

static const char *read_rows(const struct reading *reading, struct csv *csv)
{
    static const char no_memory[] = "there is not enough memory for it";
    const struct retail_watch *watch = reading->watch;
    const char *fields[csv_fields_max];
    uint64_t read_size;
    uint64_t file_size;
    size_t count;

    enum csv_result result = csv_next(csv, fields, &count);
    if (result == CSV_BROKEN)
        return csv_reason(csv);
    if (result != CSV_ROW || !is_header(fields, count))
        return "its first line is not InvoiceNo,StockCode,Description,Quantity,InvoiceDate,"
               "UnitPrice,CustomerID,Country";
    for (uint64_t rows = 0;; rows++) {
        if (watch->on_progress != NULL && rows % 4096 == 0) {
            csv_progress(csv, &read_size, &file_size);
            watch->on_progress(watch->context, read_size, file_size);
        }
        switch (csv_next(csv, fields, &count)) {
        case CSV_END:
            return reading->file->invoices_count == 0 ? "it holds no order" : NULL;
        case CSV_BROKEN:
            return csv_reason(csv);
        case CSV_MALFORMED:
            if (!reject(reading, csv_line(csv), "it is no CSV: %s", csv_reason(csv)))
                return no_memory;
            break;
        case CSV_ROW:
            if (reading->file->lines_count == retail_lines_total_max)
                return "it has more than 20,000,000 lines: split it";
            if (!take_row(reading, csv_line(csv), fields, count))
                return no_memory;
            break;
        }
    }
}

const char *retail_read(struct retail_file *file, const char *path,
                        const struct retail_watch *watch)
{
    const struct reading reading = {file, watch};

    *file = (struct retail_file){0};
    errno = 0;
    struct csv *csv = csv_open(path);
    if (csv == NULL && errno == EISDIR)
        return "it is a directory, not a file";
    if (csv == NULL)
        return errno != 0 ? strerror(errno) : "it cannot be read";
    const char *reason = read_rows(&reading, csv);
    csv_close(csv);
    return reason;
}

void retail_free(struct retail_file *file)
{
    for (size_t i = 0; i < file->invoices_count; i++)
        free(file->invoices[i].lines);
    free(file->invoices);
    free(file->table);
    free(file->rejected);
    while (file->texts != NULL) {
        struct retail_texts *older = file->texts->older;
        free(file->texts);
        file->texts = older;
    }
    *file = (struct retail_file){0};
}
