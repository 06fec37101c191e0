/* SPDX-License-Identifier: Apache-2.0 */
/* The "Online Retail" form of real orders: one CSV row a line of an invoice.
 *
 *     InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
 *
 * An invoice whose number begins with C is a cancellation; its quantities are negative. A negative
 * quantity elsewhere is a write-off. Money is counted in millionths of a pound, in 64 bits: lines
 * whose amounts would not fit there, alone or together, are rejected.
 *
 * A line that is not of this form is rejected: reported with its number, and passed over. */
#ifndef CLIENT_CLI_RETAIL_H
#define CLIENT_CLI_RETAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    retail_text_size_max = 200, /* of a description or a country */
    retail_code_size_max = 64,  /* of an invoice's, a SKU's or a customer's number */
    retail_lines_max = 3000,    /* of one invoice: its record and transaction stay within bounds */
    retail_lines_total_max = 20 * 1000 * 1000,
    retail_reasons_max = 10000, /* rejected lines that are kept; all are reported as they are met */
};

#define RETAIL_MICRO_PER_PENNY  10000LL
#define RETAIL_QUANTITY_MAX     1000000000LL       /* of a line, either way */
#define RETAIL_PRICE_MICRO_MAX  1000000000000LL    /* of a unit: a million pounds */
#define RETAIL_AMOUNT_MICRO_MAX 1000000000000000LL /* quantity times price: a billion pounds */

_Static_assert(RETAIL_AMOUNT_MICRO_MAX <= INT64_MAX / retail_lines_max,
               "the total of an invoice fits into 64 bits");
_Static_assert(RETAIL_QUANTITY_MAX <= INT64_MAX / retail_lines_total_max,
               "the units of a whole file fit into 64 bits");

struct retail_line {
    const char *sku;
    const char *description;
    int64_t quantity;
    int64_t price_micro;
};

/* Its texts live as long as the file. */
struct retail_invoice {
    const char *number;
    const char *customer; /* "" where it is not known */
    const char *country;
    char time[17]; /* "2010-12-01T08:26" */
    bool is_cancellation;
    int64_t total_micro;
    uint32_t lines_count;
    uint32_t lines_room;
    struct retail_line *lines;
};

struct retail_rejected {
    uint64_t line;    /* of the file, from 1 */
    char reason[160]; /* UTF-8 without control characters */
};

/* Who is told while a file is read. Either function may be NULL. */
struct retail_watch {
    void (*on_progress)(void *context, uint64_t read_size, uint64_t file_size);
    void (*on_rejected)(void *context, const struct retail_rejected *rejected); /* of each line */
    void *context;
};

struct retail_file {
    struct retail_invoice *invoices; /* in the file's order */
    size_t invoices_count;
    uint64_t lines_count;
    uint64_t rejected_count;
    struct retail_rejected *rejected; /* the first of them */
    size_t rejected_kept_count;       /* at most retail_reasons_max */

    /* The reader's. */
    size_t rejected_room;
    int64_t amounts_micro; /* of all lines, each as if it were above zero: no sum passes it */
    size_t invoices_room;
    uint32_t *table; /* invoices by the hash of their number; 0: free */
    size_t table_size;
    struct retail_texts *texts;
};

/* Reads a whole file, plain or gzip. NULL, or why it is refused as a whole: then nothing of it but
 * what was rejected may be used, and retail_free() is called all the same. */
const char *retail_read(struct retail_file *file, const char *path,
                        const struct retail_watch *watch);
void retail_free(struct retail_file *file);

/* Money as text: "12.34", "-0.05"; rounded half away from zero. `text` of at least 32 bytes. */
void retail_format_money(int64_t micro, char text[32]);

/* The same back, at most six decimals. False: it is none, or does not fit into 64 bits. */
bool retail_parse_money(const char *text, int64_t *micro);

#endif
