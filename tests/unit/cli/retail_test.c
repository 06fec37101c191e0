/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/retail.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

#define HEADER "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
#define WHEN   "01/12/2010 08:26"

static char path[300];
static struct retail_file file;

/* What was told while the file was read. */
static struct {
    uint64_t count;
    uint64_t last_line;
    uint64_t progress_count;
} told;

static void on_rejected(void *context, const struct retail_rejected *rejected)
{
    ck_assert_ptr_eq(context, &told);
    ck_assert_uint_gt(rejected->line, told.last_line);
    ck_assert_uint_ne(strlen(rejected->reason), 0);
    told.last_line = rejected->line;
    told.count++;
}

static void on_progress(void *context, uint64_t read_size, uint64_t file_size)
{
    ck_assert_ptr_eq(context, &told);
    ck_assert_uint_le(read_size, file_size);
    told.progress_count++;
}

static const struct retail_watch watch = {on_progress, on_rejected, &told};

static void setup(void)
{
    snprintf(path, sizeof path, "%s/orders.csv", unit_directory());
    file = (struct retail_file){0};
}

static void teardown(void)
{
    retail_free(&file);
}

static FILE *begin(const char *header)
{
    FILE *to = fopen(path, "w");
    ck_assert_ptr_nonnull(to);
    ck_assert_int_ge(fputs(header, to), 0);
    return to;
}

static const char *read_written(FILE *to)
{
    ck_assert_int_eq(fclose(to), 0);
    retail_free(&file);
    memset(&told, 0, sizeof told);
    const char *wrong = retail_read(&file, path, &watch);
    ck_assert_uint_eq(told.count, file.rejected_count);
    return wrong;
}

/* Reads the header and these lines. */
__attribute__((format(printf, 1, 2))) static const char *read_lines(const char *format, ...)
{
    va_list arguments;
    FILE *to = begin(HEADER);
    va_start(arguments, format);
    ck_assert_int_ge(vfprintf(to, format, arguments), 0);
    va_end(arguments);
    return read_written(to);
}

/* A good line, then this one, which is rejected for a reason that holds this part. */
static void assert_rejected(const char *line, const char *part)
{
    ck_assert_ptr_null(read_lines("1,A,fine,2," WHEN ",2.55,9,Kenya\n%s\n", line));
    ck_assert_msg(file.rejected_count == 1 && file.rejected_kept_count == 1, "taken: %s", line);
    ck_assert_uint_eq(file.rejected[0].line, 3);
    ck_assert_msg(strstr(file.rejected[0].reason, part) != NULL, "%s: %s", line,
                  file.rejected[0].reason);
    ck_assert_uint_eq(file.lines_count, 1);
    ck_assert_uint_eq(file.invoices_count, 1);
    ck_assert_int_eq(file.invoices[0].total_micro, 5100000);
}

static void assert_taken(const char *line)
{
    ck_assert_ptr_null(read_lines("%s\n", line));
    ck_assert_msg(file.rejected_count == 0 && file.lines_count == 1, "rejected: %s", line);
}

/* ---- Money ---- */

static void assert_money(const char *text, int64_t wanted)
{
    int64_t micro = 1;
    ck_assert_msg(retail_parse_money(text, &micro), "%s", text);
    ck_assert_int_eq(micro, wanted);
}

START_TEST(test_money_is_parsed)
{
    assert_money("0", 0);
    assert_money("-0", 0);
    assert_money("2.55", 2550000);
    assert_money("-11062.06", -11062060000);
    assert_money(".5", 500000);
    assert_money("5.", 5000000);
    assert_money("0.000001", 1);
    assert_money("999999.999999", 999999999999);
    assert_money("9223372036854.775807", INT64_MAX);
    assert_money("-9223372036854.775807", -INT64_MAX);
    assert_money("0000000000000000000000000001", 1000000);
    static const char *const wrong[] = {
        "",
        "-",
        ".",
        "-.",
        "1.0000001",
        "1,5",
        "1.2.3",
        "+1",
        " 1",
        "1 ",
        "--1",
        "1e3",
        "9223372036854.775808",
        "9223372036855",
        "99999999999999999999",
        "0x10",
        "nan",
    };
    int64_t micro;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        ck_assert_msg(!retail_parse_money(wrong[i], &micro), "%s", wrong[i]);
}
END_TEST

static void assert_formatted(int64_t micro, const char *wanted)
{
    char text[32];
    retail_format_money(micro, text);
    ck_assert_str_eq(text, wanted);
}

START_TEST(test_money_is_formatted)
{
    assert_formatted(0, "0.00");
    assert_formatted(2550000, "2.55");
    assert_formatted(-50000, "-0.05");
    assert_formatted(4999, "0.00"); /* half away from zero */
    assert_formatted(5000, "0.01");
    assert_formatted(-4999, "0.00");
    assert_formatted(-5000, "-0.01");
    assert_formatted(INT64_MAX, "9223372036854.78");
    assert_formatted(INT64_MIN, "-9223372036854.78");
}
END_TEST

/* ---- Files ---- */

START_TEST(test_orders)
{
    ck_assert_ptr_null(read_lines("536365,85123A,\"HOLDER, \"\"WHITE\"\"\",6," WHEN
                                  ",2.55,17850,United Kingdom\r\n"
                                  "C536379,D,Discount,-1,28/02/2011 9:41,27.5,,Kenya\n"
                                  "536365,71053,\xa3 LANTERN,-2," WHEN ",0.000001,17850,Other"));
    ck_assert_uint_eq(file.rejected_count, 0);
    ck_assert_uint_eq(file.lines_count, 3);
    ck_assert_uint_eq(file.invoices_count, 2);
    ck_assert_uint_ge(told.progress_count, 1);
    const struct retail_invoice *first = &file.invoices[0];
    ck_assert_str_eq(first->number, "536365");
    ck_assert_str_eq(first->customer, "17850");
    ck_assert_str_eq(first->country, "United Kingdom");
    ck_assert_str_eq(first->time, "2010-12-01T08:26");
    ck_assert(!first->is_cancellation);
    ck_assert_uint_eq(first->lines_count, 2);
    ck_assert_int_eq(first->total_micro, 15300000 - 2);
    ck_assert_str_eq(first->lines[0].sku, "85123A");
    ck_assert_str_eq(first->lines[0].description, "HOLDER, \"WHITE\"");
    ck_assert_int_eq(first->lines[0].quantity, 6);
    ck_assert_int_eq(first->lines[0].price_micro, 2550000);
    ck_assert_str_eq(first->lines[1].description, "\xc2\xa3 LANTERN");
    ck_assert_int_eq(first->lines[1].quantity, -2);
    const struct retail_invoice *second = &file.invoices[1];
    ck_assert(second->is_cancellation);
    ck_assert_str_eq(second->customer, "");
    ck_assert_str_eq(second->time, "2011-02-28T09:41");
    ck_assert_int_eq(second->total_micro, -27500000);
}
END_TEST

START_TEST(test_header)
{
    ck_assert_ptr_null(read_written(begin("\xef\xbb\xbf" HEADER "1,A,,1," WHEN ",1,,\n")));
    ck_assert_ptr_null(
        read_written(begin("\"InvoiceNo\",StockCode,Description,Quantity,InvoiceDate,"
                           "UnitPrice,CustomerID,Country\r\n1,A,,1," WHEN ",1,,\n")));
    static const char *const wrong[] = {
        "",
        "a,b,c\n1,2,3\n",
        "1,A,fine,2," WHEN ",2.55,9,Kenya\n",
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID\n",
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country,More\n",
        "\"never closed\n",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const char *said = read_written(begin(wrong[i]));
        ck_assert_ptr_nonnull(said);
        ck_assert_msg(strstr(said, "its first line is not") != NULL, "%s", said);
    }
}
END_TEST

START_TEST(test_refused_as_a_whole)
{
    ck_assert_str_eq(read_lines("%s", ""), "it holds no order");
    ck_assert_str_eq(read_lines("1,A,,0," WHEN ",1,,\n"), "it holds no order");
    ck_assert_uint_eq(file.rejected_kept_count, 1);
    retail_free(&file);
    ck_assert_str_eq(retail_read(&file, unit_directory(), &watch), "it is a directory, not a file");
    ck_assert_str_eq(retail_read(&file, "/nonexistent.csv", &watch), "No such file or directory");
    /* The magic of gzip, and nothing of what follows it. */
    const char *said = read_written(begin("\x1f\x8b\x08"));
    ck_assert_msg(said != NULL && strstr(said, "cannot be read on") != NULL, "%s", said);
}
END_TEST

/* ---- Lines that are rejected ---- */

START_TEST(test_fields)
{
    assert_rejected("1,A,fine,2," WHEN ",2.55,9", "8 fields");
    assert_rejected("1,A,fine,2," WHEN ",2.55,9,Kenya,", "8 fields");
    assert_rejected("\"1,A,fine", "it is no CSV: a quote is not closed");
    assert_rejected("C2,A,positive,2," WHEN ",1,9,Kenya", "a cancellation's quantity is negative");
    assert_rejected("1,A,other,2," WHEN ",1,8,Kenya", "invoice 1 has another CustomerID");
    assert_rejected("1,A,none,2," WHEN ",1,,Kenya", "invoice 1 has another CustomerID");
    char text[retail_text_size_max + 2];
    char line[512];
    memset(text, 'x', sizeof text);
    text[retail_text_size_max + 1] = 0;
    snprintf(line, sizeof line, "1,A,%s,2," WHEN ",1,9,Kenya", text);
    assert_rejected(line, "longer than 200 bytes");
    snprintf(line, sizeof line, "1,A,fine,2," WHEN ",1,9,%s", text);
    assert_rejected(line, "longer than 200 bytes");
    text[retail_text_size_max] = 0;
    snprintf(line, sizeof line, "1,A,%s,2," WHEN ",1,9,%s", text, text);
    assert_taken(line);
}
END_TEST

START_TEST(test_codes)
{
    static const char *const bad[] = {"\x1b[2J",  "a\tb",     "\x7f",    "a\x9bm",
                                      "\xc2\x80", "\xc2\x9f", "\"a\nb\""};
    char long_code[retail_code_size_max + 2];
    char line[512];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(line, sizeof line, "%s,A,,2," WHEN ",1,9,Kenya", bad[i]);
        assert_rejected(line, "InvoiceNo or StockCode");
        snprintf(line, sizeof line, "1,%s,,2," WHEN ",1,9,Kenya", bad[i]);
        assert_rejected(line, "InvoiceNo or StockCode");
        snprintf(line, sizeof line, "2,A,,2," WHEN ",1,%s,Kenya", bad[i]);
        assert_rejected(line, "CustomerID is too long, or holds control characters");
    }
    assert_rejected(",A,,2," WHEN ",1,9,Kenya", "InvoiceNo or StockCode");
    assert_rejected("1,,,2," WHEN ",1,9,Kenya", "InvoiceNo or StockCode");
    /* What is no control: a no-break space, and all else past it. */
    assert_taken("\xc2\xa0,\xa3\xff,,2," WHEN ",1,\xc3\x80,Kenya");
    memset(long_code, 'x', sizeof long_code);
    long_code[retail_code_size_max + 1] = 0;
    snprintf(line, sizeof line, "%s,A,,2," WHEN ",1,9,Kenya", long_code);
    assert_rejected(line, "too long");
    snprintf(line, sizeof line, "2,A,,2," WHEN ",1,%s,Kenya", long_code);
    assert_rejected(line, "CustomerID is too long");
    long_code[retail_code_size_max] = 0;
    snprintf(line, sizeof line, "%s,%s,,2," WHEN ",1,%s,Kenya", long_code, long_code, long_code);
    assert_taken(line);
}
END_TEST

START_TEST(test_quantities)
{
    static const char *const bad[] = {
        "",   "0",  "-0", "x",   "1.5",        " 1",          "\t1",
        "1 ", "+1", "-",  "- 1", "1000000001", "-1000000001", "99999999999999999999",
        "0x1"};
    char line[128];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(line, sizeof line, "2,A,,%s," WHEN ",1,9,Kenya", bad[i]);
        assert_rejected(line, "Quantity is not a whole number");
    }
    assert_taken("2,A,,1000000000," WHEN ",1,9,Kenya");
    assert_taken("2,A,,-1000000000," WHEN ",-1,9,Kenya");
}
END_TEST

START_TEST(test_times)
{
    static const char *const bad[] = {"",
                                      "2010-12-01 08:26",
                                      "01/12/2010",
                                      "01/12/2010 24:00",
                                      "01/12/2010 08:60",
                                      "00/12/2010 08:26",
                                      "32/01/2010 08:26",
                                      "01/00/2010 08:26",
                                      "01/13/2010 08:26",
                                      "31/02/2010 08:26",
                                      "30/02/2012 08:26",
                                      "29/02/2011 08:26",
                                      "29/02/1900 08:26",
                                      "29/02/2100 08:26",
                                      "31/04/2010 08:26",
                                      "31/06/2010 08:26",
                                      "31/09/2010 08:26",
                                      "31/11/2010 08:26",
                                      "01/12/1899 08:26",
                                      "01/12/20100 08:26",
                                      "001/12/2010 8:26",
                                      " 1/12/2010 08:26",
                                      "+1/12/2010 08:26",
                                      "-1/12/2010 08:26",
                                      "01/12/2010  8:26",
                                      "01/12/2010 08:26 ",
                                      "01/12/2010 08:2x",
                                      "01/12/2010 08:",
                                      "01/12/2010 08:26:30"};
    static const char *const good[] = {"31/01/2010 00:00", "28/02/2010 23:59", "29/02/2012 08:26",
                                       "29/02/2000 08:26", "30/04/2010 08:26", "31/12/9999 08:26",
                                       "01/01/1900 08:26", "1/2/2010 8:6"};
    char line[128];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(line, sizeof line, "2,A,,1,%s,1,9,Kenya", bad[i]);
        assert_rejected(line, "InvoiceDate is not DD/MM/YYYY HH:MM");
    }
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        snprintf(line, sizeof line, "2,A,,1,%s,1,9,Kenya", good[i]);
        assert_taken(line);
    }
    ck_assert_str_eq(file.invoices[0].time, "2010-02-01T08:06");
}
END_TEST

START_TEST(test_prices)
{
    assert_rejected("2,A,,1," WHEN ",,9,Kenya", "UnitPrice");
    assert_rejected("2,A,,1," WHEN ",1.2.3,9,Kenya", "UnitPrice");
    assert_rejected("2,A,,1," WHEN ",1000000.000001,9,Kenya", "UnitPrice");
    assert_rejected("2,A,,1," WHEN ",-1000000.01,9,Kenya", "UnitPrice");
    assert_rejected("2,A,,1," WHEN ",99999999999999999999999,9,Kenya", "UnitPrice");
    assert_taken("2,A,,1," WHEN ",1000000.000000,9,Kenya");
    assert_taken("2,A,,1," WHEN ",-1000000,9,Kenya");
}
END_TEST

START_TEST(test_amounts)
{
    static const char part[] = "Quantity times UnitPrice is more than 1,000,000,000 pounds";
    assert_rejected("C999001,X1,big,-1000000000," WHEN ",1000000,1,UK", part);
    assert_rejected("2,X1,big,1000000000," WHEN ",1000000,1,UK", part);
    assert_rejected("2,X1,big,1000000000," WHEN ",-1000000,1,UK", part);
    assert_rejected("2,X1,big,-1000000000," WHEN ",-1000000,1,UK", part);
    /* Its product wraps to 0 in 64 bits. */
    assert_rejected("2,X1,big,536870912," WHEN ",549755.813888,1,UK", part);
    assert_rejected("2,X1,big,1000000000," WHEN ",1.000001,1,UK", part);
    assert_taken("2,X1,big,1000000000," WHEN ",1,1,UK");
    ck_assert_int_eq(file.invoices[0].total_micro, RETAIL_AMOUNT_MICRO_MAX);
    assert_taken("C2,X1,big,-1000," WHEN ",1000000,1,UK");
    ck_assert_int_eq(file.invoices[0].total_micro, -RETAIL_AMOUNT_MICRO_MAX);
}
END_TEST

/* No order of adding the amounts of a file's lines up can wrap. */
START_TEST(test_amounts_of_a_file)
{
    enum { fitting = INT64_MAX / RETAIL_AMOUNT_MICRO_MAX };
    FILE *to = begin(HEADER);
    for (int i = 0; i < fitting; i++)
        fprintf(to, "%s%d,A,,-1000000000," WHEN ",1,9,Kenya\n", i % 2 == 0 ? "C" : "", i / 2000);
    fputs("1,A,too much,1000000000," WHEN ",1,9,Kenya\n", to);
    fputs("new,A,too much,1000000000," WHEN ",1,9,Kenya\n", to);
    fputs("1,A,fits,1," WHEN ",1,9,Kenya\n", to);
    ck_assert_ptr_null(read_written(to));
    ck_assert_uint_eq(file.lines_count, fitting + 1);
    ck_assert_uint_eq(file.rejected_count, 2);
    ck_assert_uint_eq(file.rejected[0].line, fitting + 2);
    ck_assert_ptr_nonnull(strstr(file.rejected[0].reason, "pass 9,223,372,036,854 pounds"));
    for (size_t i = 0; i < file.invoices_count; i++) {
        ck_assert_uint_gt(file.invoices[i].lines_count, 0);
        ck_assert_str_ne(file.invoices[i].number, "new");
    }
}
END_TEST

START_TEST(test_lines_of_an_invoice)
{
    FILE *to = begin(HEADER);
    for (int i = 0; i <= retail_lines_max; i++)
        fprintf(to, "7,A%d,,1000000000," WHEN ",1,9,Kenya\n", i);
    fputs("8,A,,1," WHEN ",1,9,Kenya\n", to);
    ck_assert_ptr_null(read_written(to));
    ck_assert_uint_eq(file.rejected_count, 1);
    ck_assert_str_eq(file.rejected[0].reason, "invoice 7 has more than 3,000 lines");
    ck_assert_uint_eq(file.rejected[0].line, retail_lines_max + 2);
    ck_assert_uint_eq(file.invoices[0].lines_count, retail_lines_max);
    ck_assert_int_eq(file.invoices[0].total_micro, retail_lines_max * RETAIL_AMOUNT_MICRO_MAX);
    ck_assert_uint_eq(file.invoices_count, 2);
}
END_TEST

/* All are told, and as many as fit are kept, in order. */
START_TEST(test_many_rejected)
{
    enum { more = 50 };
    FILE *to = begin(HEADER);
    fputs("1,A,,1," WHEN ",1,9,Kenya\n", to);
    for (int i = 0; i < retail_reasons_max + more; i++)
        fputs("x\n", to);
    ck_assert_ptr_null(read_written(to));
    ck_assert_uint_eq(file.rejected_count, retail_reasons_max + more);
    ck_assert_uint_eq(told.last_line, retail_reasons_max + more + 2);
    ck_assert_uint_eq(file.rejected_kept_count, retail_reasons_max);
    for (size_t i = 0; i < file.rejected_kept_count; i++)
        ck_assert_uint_eq(file.rejected[i].line, i + 3);
    /* Nobody has to be told. */
    const struct retail_watch nobody = {0};
    retail_free(&file);
    ck_assert_ptr_null(retail_read(&file, path, &nobody));
    ck_assert_uint_eq(file.rejected_count, retail_reasons_max + more);
}
END_TEST

/* More than the table of invoices begins with; each is found again. */
START_TEST(test_many_invoices)
{
    enum { invoices = 10000 };
    FILE *to = begin(HEADER);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < invoices; i++)
            fprintf(to, "%d,A,,1," WHEN ",1,9,Kenya\n", i);
    }
    ck_assert_ptr_null(read_written(to));
    ck_assert_uint_eq(file.invoices_count, invoices);
    for (size_t i = 0; i < invoices; i++) {
        ck_assert_int_eq(atoi(file.invoices[i].number), (int)i);
        ck_assert_uint_eq(file.invoices[i].lines_count, 2);
    }
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_money_is_parsed);
    tcase_add_test(tests, test_money_is_formatted);
    tcase_add_test(tests, test_orders);
    tcase_add_test(tests, test_header);
    tcase_add_test(tests, test_refused_as_a_whole);
    tcase_add_test(tests, test_fields);
    tcase_add_test(tests, test_codes);
    tcase_add_test(tests, test_quantities);
    tcase_add_test(tests, test_times);
    tcase_add_test(tests, test_prices);
    tcase_add_test(tests, test_amounts);
    tcase_add_test(tests, test_amounts_of_a_file);
    tcase_add_test(tests, test_lines_of_an_invoice);
    tcase_add_test(tests, test_many_rejected);
    tcase_add_test(tests, test_many_invoices);
}
