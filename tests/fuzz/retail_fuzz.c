/* SPDX-License-Identifier: Apache-2.0 */
/* A file of orders, plain or gzip: whatever its bytes are, each line is taken within its bounds or
 * rejected with words, and none gets lost. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "client/cli/cli.h"
#include "client/cli/retail.h"
#include "client/cli/utf8.h"
#include "proto/base/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct told {
    uint64_t count;
    uint64_t line;
};

static void on_rejected(void *context, const struct retail_rejected *rejected)
{
    struct told *told = context;
    ASSERT(rejected->line > told->line);
    ASSERT(rejected->reason[0] != 0 && cli_is_text(strait_text(rejected->reason)));
    told->line = rejected->line;
    told->count++;
}

static void on_progress(void *context, uint64_t read_size, uint64_t file_size)
{
    (void)context;
    ASSERT(read_size <= file_size);
}

/* Nothing in it moves a cursor. */
static void check_code(const char *text)
{
    ASSERT(strlen(text) <= retail_code_size_max);
    ASSERT(cli_is_text(strait_text(text)) && strpbrk(text, "\n\t") == NULL);
}

static void check_text(const char *text)
{
    ASSERT(strlen(text) <= retail_text_size_max);
    ASSERT(utf8_is_valid(text, strlen(text)));
}

/* A minute that there is: the calendar gives the same one back. */
static void check_time(const char *text)
{
    struct tm parts = {0};
    char again[64];
    const char *end = strptime(text, "%Y-%m-%dT%H:%M", &parts);
    ASSERT(end != NULL && *end == 0 && strlen(text) == 16);
    time_t seconds = timegm(&parts);
    ASSERT(gmtime_r(&seconds, &parts) != NULL);
    ASSERT(strftime(again, sizeof again, "%Y-%m-%dT%H:%M", &parts) == 16);
    ASSERT(strcmp(text, again) == 0);
}

static void check_invoice(const struct retail_invoice *invoice)
{
    __int128 total = 0;
    check_code(invoice->number);
    check_code(invoice->customer);
    check_text(invoice->country);
    check_time(invoice->time);
    ASSERT(invoice->number[0] != 0);
    ASSERT(invoice->is_cancellation == (invoice->number[0] == 'C'));
    ASSERT(invoice->lines_count >= 1 && invoice->lines_count <= retail_lines_max);
    for (uint32_t i = 0; i < invoice->lines_count; i++) {
        const struct retail_line *line = &invoice->lines[i];
        check_code(line->sku);
        check_text(line->description);
        ASSERT(line->sku[0] != 0 && line->quantity != 0);
        ASSERT(line->quantity < 0 || !invoice->is_cancellation);
        ASSERT(llabs(line->quantity) <= RETAIL_QUANTITY_MAX);
        ASSERT(llabs(line->price_micro) <= RETAIL_PRICE_MICRO_MAX);
        total += (__int128)line->quantity * line->price_micro;
    }
    ASSERT(total == invoice->total_micro);
}

static void check_file(const struct retail_file *file)
{
    uint64_t lines_count = 0;
    ASSERT(file->invoices_count >= 1);
    for (size_t i = 0; i < file->invoices_count; i++) {
        check_invoice(&file->invoices[i]);
        lines_count += file->invoices[i].lines_count;
    }
    ASSERT(lines_count == file->lines_count);
}

/* What is money is the same money again, to the penny. */
static void check_money(const uint8_t *data, size_t size)
{
    char text[64];
    int64_t micro;
    int64_t again;
    if (size >= sizeof text)
        return;
    memcpy(text, data, size);
    text[size] = 0;
    if (!retail_parse_money(text, &micro))
        return;
    char written[32];
    retail_format_money(micro, written);
    /* Rounding up to a penny may leave what fits. */
    if (retail_parse_money(written, &again))
        ASSERT(llabs(again - micro) <= RETAIL_MICRO_PER_PENNY / 2);
    else
        ASSERT(llabs(micro) > INT64_MAX - RETAIL_MICRO_PER_PENNY);
}

static void check_latin1(const uint8_t *data, size_t size)
{
    char text[2 * 256];
    if (size > sizeof text / 2)
        return;
    memcpy(text, data, size);
    ASSERT(utf8_is_valid(text, utf8_from_latin1(text, size)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int descriptor = -1;
    static char path[64];
    struct retail_file file;
    struct told told = {0};
    const struct retail_watch watch = {on_progress, on_rejected, &told};

    if (descriptor < 0) {
        descriptor = memfd_create("orders", MFD_CLOEXEC);
        ASSERT(descriptor >= 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    }
    ASSERT(ftruncate(descriptor, 0) == 0);
    ASSERT(pwrite(descriptor, data, size, 0) == (ssize_t)size);
    const char *wrong = retail_read(&file, path, &watch);
    if (wrong == NULL)
        check_file(&file);
    else
        ASSERT(wrong[0] != 0);
    ASSERT(file.rejected_count == told.count);
    ASSERT(file.rejected_kept_count ==
           (told.count < retail_reasons_max ? told.count : retail_reasons_max));
    retail_free(&file);
    check_money(data, size);
    check_latin1(data, size);
    return 0;
}
