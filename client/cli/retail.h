/* SPDX-License-Identifier: Apache-2.0 */
/* The "Online Retail" form of real orders: one CSV row a line of an invoice.
 *
 *     InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
 *
 * An invoice whose number begins with C is a cancellation; its quantities are negative. A negative
 * quantity elsewhere is a write-off. Money is counted in millionths of a pound, in 64 bits. */
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
    retail_reasons_max = 20, /* rejected lines that are listed */
};

#define RETAIL_MICRO_PER_PENNY 10000LL

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
    uint32_t lines_count;
    uint32_t lines_room;
    struct retail_line *lines;
};

struct retail_rejected {
    uint64_t line;
    char reason[160];
};

struct retail_file {
    struct retail_invoice *invoices; /* in the file's order */
    size_t invoices_count;
    uint64_t lines_count;
    uint64_t rejected_count;
    struct retail_rejected rejected[retail_reasons_max];

    /* The reader's. */
    size_t invoices_room;
    uint32_t *table; /* invoices by the hash of their number; 0: free */
    size_t table_size;
    struct retail_texts *texts;
};

/* Reads a whole file, plain or gzip. NULL, or why it is refused as a whole: then nothing of it may
 * be used, but retail_free() is called all the same. `progress` may be NULL. */
const char *retail_read(struct retail_file *file, const char *path,
                        void (*progress)(void *context, uint64_t read_size, uint64_t file_size),
                        void *context);
void retail_free(struct retail_file *file);

/* Money as text: "12.34", "-0.05"; rounded half away from zero. `text` of at least 32 bytes. */
void retail_format_money(int64_t micro, char text[32]);

/* The same back, at most six decimals. */
bool retail_parse_money(const char *text, int64_t *micro);

#endif
