/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/csv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "client/cli/utf8.h"

/* Read at a time: what is held past a row is moved to the front for the next one. */
enum { chunk_size = 4096 };

struct csv {
    gzFile file;
    uint64_t file_size;
    uint64_t line;      /* of the row's first byte */
    uint64_t next_line; /* of the next byte to be parsed */
    const char *reason;

    /* The raw bytes that were read and not yet given up: raw[0] begins the row. */
    char raw[csv_row_size_max];
    size_t raw_size;
    size_t parsed; /* of raw */

    /* Each byte of Latin-1 becomes two of UTF-8 at most, and each field ends with a zero. */
    char text[2 * csv_row_size_max + csv_fields_max];
    size_t text_size;
};

struct csv *csv_open(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return NULL;
    if (S_ISDIR(status.st_mode)) {
        errno = EISDIR;
        return NULL;
    }
    struct csv *csv = calloc(1, sizeof *csv);
    if (csv == NULL)
        return NULL;
    csv->file = gzopen(path, "rbe");
    if (csv->file == NULL) {
        free(csv);
        return NULL;
    }
    csv->file_size = (uint64_t)status.st_size;
    csv->next_line = 1;
    return csv;
}

void csv_close(struct csv *csv)
{
    gzclose(csv->file);
    free(csv);
}

/* The next raw byte; -1 at the end, -2 where the row is too long, -3 where the file is broken. */
static int peek(struct csv *csv)
{
    if (csv->parsed < csv->raw_size)
        return (unsigned char)csv->raw[csv->parsed];
    if (csv->raw_size == sizeof csv->raw)
        return -2;
    size_t room = sizeof csv->raw - csv->raw_size;
    int got = gzread(csv->file, csv->raw + csv->raw_size,
                     (unsigned)(room < chunk_size ? room : chunk_size));
    if (got < 0)
        return -3;
    if (got == 0) {
        int number;
        gzerror(csv->file, &number);
        return number == Z_OK || number == Z_STREAM_END ? -1 : -3;
    }
    csv->raw_size += (size_t)got;
    return (unsigned char)csv->raw[csv->parsed];
}

static void give_up_parsed(struct csv *csv, size_t size)
{
    memmove(csv->raw, csv->raw + size, csv->raw_size - size);
    csv->raw_size -= size;
    csv->parsed = 0;
}

/* Gives up the row's first line: what follows it is parsed anew. */
static enum csv_result malformed(struct csv *csv, const char *reason)
{
    char *end = memchr(csv->raw, '\n', csv->raw_size);
    csv->reason = reason;
    while (end == NULL) {
        /* The line goes on past what is held: pass over it. */
        csv->raw_size = 0;
        csv->parsed = 0;
        if (peek(csv) < 0) {
            csv->next_line = csv->line + 1;
            return CSV_MALFORMED;
        }
        end = memchr(csv->raw, '\n', csv->raw_size);
    }
    give_up_parsed(csv, (size_t)(end - csv->raw) + 1);
    csv->next_line = csv->line + 1;
    return CSV_MALFORMED;
}

static void put(struct csv *csv, int byte)
{
    csv->text[csv->text_size++] = (char)byte;
}

/* Ends the field that began at `start`: makes it UTF-8 where it is not. */
static void end_field(struct csv *csv, size_t start)
{
    size_t size = csv->text_size - start;
    if (!utf8_is_valid(csv->text + start, size)) {
        size_t grown = utf8_from_latin1(csv->text + start, size);
        csv->text_size = start + grown;
    }
    put(csv, 0);
}

/* One field, quoted or not; the byte after it is not taken. NULL, or what is wrong. */
static const char *parse_field(struct csv *csv)
{
    int byte = peek(csv);
    bool quoted = byte == '"';
    if (quoted)
        csv->parsed++;
    for (;;) {
        byte = peek(csv);
        if (byte == -2)
            return "longer than 64 KiB";
        if (byte == 0)
            return "holds a zero byte";
        if (quoted && byte < 0)
            return "a quote is not closed";
        if (byte < 0 || (!quoted && (byte == ',' || byte == '\n')))
            return NULL;
        csv->parsed++;
        if (quoted && byte == '"') {
            if (peek(csv) != '"')
                return NULL;
            csv->parsed++;
        } else if (!quoted && byte == '\r' && (peek(csv) == '\n' || peek(csv) == -1)) {
            return NULL;
        }
        if (byte == '\n')
            csv->next_line++;
        put(csv, byte);
    }
}

enum csv_result csv_next(struct csv *csv, const char *fields[csv_fields_max], size_t *count)
{
    size_t starts[csv_fields_max];
    int byte;

    *count = 0;
    while ((byte = peek(csv)) == '\n' || byte == '\r') {
        csv->next_line += byte == '\n';
        if (++csv->parsed == csv->raw_size)
            give_up_parsed(csv, csv->parsed);
    }
    give_up_parsed(csv, csv->parsed);
    csv->line = csv->next_line;
    csv->text_size = 0;
    if (byte == -1)
        return CSV_END;
    for (;;) {
        if (*count == csv_fields_max)
            return malformed(csv, "more than 64 fields");
        starts[*count] = csv->text_size;
        const char *reason = parse_field(csv);
        if (reason != NULL)
            return malformed(csv, reason);
        end_field(csv, starts[(*count)++]);
        byte = peek(csv);
        if (byte == '\r') {
            csv->parsed++;
            byte = peek(csv);
        }
        if (byte == -3) {
            csv->reason = "the file cannot be read on: is it cut short?";
            return CSV_BROKEN;
        }
        if (byte != -1)
            csv->parsed++;
        if (byte == -1 || byte == '\n')
            break;
        if (byte != ',')
            return malformed(csv, byte == -2 ? "longer than 64 KiB" : "text after a closing quote");
    }
    csv->next_line++;
    for (size_t i = 0; i < *count; i++)
        fields[i] = csv->text + starts[i];
    return CSV_ROW;
}

uint64_t csv_line(const struct csv *csv)
{
    return csv->line;
}

const char *csv_reason(const struct csv *csv)
{
    return csv->reason;
}

void csv_progress(struct csv *csv, uint64_t *read_size, uint64_t *file_size)
{
    *read_size = (uint64_t)gzoffset(csv->file);
    *file_size = csv->file_size;
}
