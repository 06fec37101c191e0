/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/csv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "tests/unit/unit.h"

static char path[300];
static struct csv *csv;

static void setup(void)
{
    snprintf(path, sizeof path, "%s/rows.csv", unit_directory());
    csv = NULL;
}

static void teardown(void)
{
    if (csv != NULL)
        csv_close(csv);
    csv = NULL;
}

static void open_bytes(const void *bytes, size_t size)
{
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, size, file), size);
    ck_assert_int_eq(fclose(file), 0);
    teardown();
    csv = csv_open(path);
    ck_assert_ptr_nonnull(csv);
}

static void open_text(const char *text)
{
    open_bytes(text, strlen(text));
}

/* The next row begins at this line; its fields are joined by '|'. */
static void assert_row(uint64_t line, const char *wanted)
{
    const char *fields[csv_fields_max];
    char joined[256] = "";
    size_t used = 0;
    size_t count;
    ck_assert_int_eq(csv_next(csv, fields, &count), CSV_ROW);
    for (size_t i = 0; i < count; i++) {
        int size =
            snprintf(joined + used, sizeof joined - used, "%s%s", i == 0 ? "" : "|", fields[i]);
        used += (size_t)size;
        ck_assert_uint_lt(used, sizeof joined);
    }
    ck_assert_str_eq(joined, wanted);
    ck_assert_uint_eq(csv_line(csv), line);
}

static void assert_malformed(uint64_t line, const char *reason)
{
    const char *fields[csv_fields_max];
    size_t count;
    ck_assert_int_eq(csv_next(csv, fields, &count), CSV_MALFORMED);
    ck_assert_str_eq(csv_reason(csv), reason);
    ck_assert_uint_eq(csv_line(csv), line);
}

/* The end stays the end. */
static void assert_end(void)
{
    const char *fields[csv_fields_max];
    size_t count;
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(csv_next(csv, fields, &count), CSV_END);
}

START_TEST(test_plain)
{
    open_text("a,b,c\n1,,3\n,\nlast,without an end");
    assert_row(1, "a|b|c");
    assert_row(2, "1||3");
    assert_row(3, "|");
    assert_row(4, "last|without an end");
    assert_end();
    open_text("");
    assert_end();
    open_text("\n\r\n\n");
    assert_end();
}
END_TEST

START_TEST(test_line_ends)
{
    open_text("a,b\r\n\r\n\nc,d\r\n\"e\",\"f\"\r\ng\rh,i\r");
    assert_row(1, "a|b");
    assert_row(4, "c|d");
    assert_row(5, "e|f");
    assert_row(6, "g\rh|i"); /* a carriage return inside a field is of the field */
    assert_end();
}
END_TEST

START_TEST(test_quotes)
{
    open_text("\"a,b\",\"c\"\"d\",\"\"\n\"\"\"\"\nx\"y\"\n\"two\nlines\",2\nnext\n");
    assert_row(1, "a,b|c\"d|");
    assert_row(2, "\"");
    assert_row(3, "x\"y\""); /* quotes that do not begin the field are of its text */
    assert_row(4, "two\nlines|2");
    assert_row(6, "next");
    assert_end();
    open_text("\"closed at the end\"");
    assert_row(1, "closed at the end");
    assert_end();
}
END_TEST

/* A malformed row costs its first line alone. */
START_TEST(test_malformed_quotes)
{
    open_text("a,\"b\"c\nd\n\"never closed,1\nbut this is fine,2\n3\n");
    assert_malformed(1, "text after a closing quote");
    assert_row(2, "d");
    assert_malformed(3, "a quote is not closed");
    assert_row(4, "but this is fine|2");
    assert_row(5, "3");
    assert_end();
    open_text("\"");
    assert_malformed(1, "a quote is not closed");
    assert_end();
}
END_TEST

START_TEST(test_zero_bytes)
{
    static const char bytes[] = "a\0b,c\nd\n\"e\0\"\nf";
    open_bytes(bytes, sizeof bytes - 1);
    assert_malformed(1, "holds a zero byte");
    assert_row(2, "d");
    assert_malformed(3, "holds a zero byte");
    assert_row(4, "f");
    assert_end();
}
END_TEST

START_TEST(test_latin1)
{
    open_text("\xa3,\xc2\xa3,\xc2,\"\xe9\"\"\xe9\",\xed\xa0\x80\n");
    /* Field by field: what is UTF-8 stays, all else is Latin-1. */
    assert_row(1, "\xc2\xa3|\xc2\xa3|\xc3\x82|\xc3\xa9\"\xc3\xa9|\xc3\xad\xc2\xa0\xc2\x80");
    assert_end();
}
END_TEST

START_TEST(test_most_fields)
{
    char text[300] = "";
    for (int i = 0; i < csv_fields_max - 1; i++)
        text[i] = ',';
    snprintf(text + csv_fields_max - 1, 16, "\n");
    open_text(text);
    const char *fields[csv_fields_max];
    size_t count;
    ck_assert_int_eq(csv_next(csv, fields, &count), CSV_ROW);
    ck_assert_uint_eq(count, csv_fields_max);
    assert_end();
    snprintf(text + csv_fields_max - 1, 16, ",\nnext");
    open_text(text);
    assert_malformed(1, "more than 64 fields");
    assert_row(2, "next");
    assert_end();
}
END_TEST

/* A row of `size` bytes with its line end, all one field of what becomes two bytes each, between
 * two short ones. */
static void open_long(size_t size, const char *after)
{
    char *bytes = malloc(size + 64);
    ck_assert_ptr_nonnull(bytes);
    memcpy(bytes, "a\n", 2);
    memset(bytes + 2, 0xe9, size - 1);
    int rest = snprintf(bytes + 2 + size - 1, 62, "\n%s", after);
    open_bytes(bytes, 2 + size - 1 + (size_t)rest);
    free(bytes);
}

START_TEST(test_longest_row)
{
    const char *fields[csv_fields_max];
    size_t count;
    open_long(csv_row_size_max, "b\n");
    assert_row(1, "a");
    ck_assert_int_eq(csv_next(csv, fields, &count), CSV_ROW);
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(strlen(fields[0]), 2 * (csv_row_size_max - 1));
    assert_row(3, "b");
    assert_end();
    open_long(csv_row_size_max + 1, "b\n");
    assert_row(1, "a");
    assert_malformed(2, "longer than 64 KiB");
    assert_row(3, "b");
    assert_end();
}
END_TEST

START_TEST(test_far_too_long)
{
    open_long(5 * csv_row_size_max, "\"b\"");
    assert_row(1, "a");
    assert_malformed(2, "longer than 64 KiB");
    assert_row(3, "b");
    assert_end();
    /* Also one that is the last, and one within quotes. */
    char *text = malloc(3 * csv_row_size_max);
    ck_assert_ptr_nonnull(text);
    memset(text, 'x', 3 * csv_row_size_max);
    open_bytes(text, 3 * csv_row_size_max);
    assert_malformed(1, "longer than 64 KiB");
    assert_end();
    text[0] = '"';
    text[10] = '\n';
    open_bytes(text, csv_row_size_max + 20);
    assert_malformed(1, "longer than 64 KiB");
    assert_malformed(2, "longer than 64 KiB");
    assert_end();
    free(text);
}
END_TEST

/* More of them than are held at once. */
START_TEST(test_many_empty_lines)
{
    enum { lines = 200000 };
    char *text = malloc(2 * lines + 2);
    ck_assert_ptr_nonnull(text);
    for (size_t i = 0; i < lines; i++)
        memcpy(text + 2 * i, "\r\n", 2);
    memcpy(text + (size_t)2 * lines, "x", 2);
    open_bytes(text, 2 * lines + 1);
    assert_row(lines + 1, "x");
    assert_end();
    free(text);
}
END_TEST

START_TEST(test_gzip)
{
    const char *fields[csv_fields_max];
    uint64_t read_size;
    uint64_t file_size;
    size_t count;
    char text[64];
    gzFile file = gzopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    for (unsigned i = 0; i < 20000; i++) {
        int size = snprintf(text, sizeof text, "%u,%u\n", i, i * 2654435761U);
        ck_assert_int_eq(gzwrite(file, text, (unsigned)size), size);
    }
    ck_assert_int_eq(gzclose(file), Z_OK);
    csv = csv_open(path);
    ck_assert_ptr_nonnull(csv);
    for (unsigned i = 0; i < 20000; i++) {
        snprintf(text, sizeof text, "%u|%u", i, i * 2654435761U);
        assert_row(i + 1, text);
    }
    assert_end();
    csv_progress(csv, &read_size, &file_size);
    ck_assert_uint_gt(file_size, 0);
    ck_assert_uint_eq(read_size, file_size);
    csv_close(csv);

    /* Cut short it is broken, and stays so. */
    ck_assert_int_eq(truncate(path, (off_t)file_size / 2), 0);
    csv = csv_open(path);
    ck_assert_ptr_nonnull(csv);
    enum csv_result result = CSV_ROW;
    for (unsigned i = 0; i < 20000 && result == CSV_ROW; i++)
        result = csv_next(csv, fields, &count);
    ck_assert_int_eq(result, CSV_BROKEN);
    ck_assert_ptr_nonnull(strstr(csv_reason(csv), "cut short"));
    ck_assert_int_eq(csv_next(csv, fields, &count), CSV_BROKEN);
}
END_TEST

START_TEST(test_what_cannot_be_opened)
{
    const char *directory = unit_directory();
    ck_assert_ptr_null(csv_open(directory));
    ck_assert_int_eq(errno, EISDIR);
    ck_assert_ptr_null(csv_open("/nonexistent/rows.csv"));
    ck_assert_int_eq(errno, ENOENT);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_plain);
    tcase_add_test(tests, test_line_ends);
    tcase_add_test(tests, test_quotes);
    tcase_add_test(tests, test_malformed_quotes);
    tcase_add_test(tests, test_zero_bytes);
    tcase_add_test(tests, test_latin1);
    tcase_add_test(tests, test_most_fields);
    tcase_add_test(tests, test_longest_row);
    tcase_add_test(tests, test_far_too_long);
    tcase_add_test(tests, test_many_empty_lines);
    tcase_add_test(tests, test_gzip);
    tcase_add_test(tests, test_what_cannot_be_opened);
}
