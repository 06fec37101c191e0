/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/log.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { line_size = 4096, value_size_max = 1024 };

static atomic_int level_least = LOG_INFO;
static atomic_int descriptor = STDERR_FILENO;

/* A line being made; what does not fit is cut. */
struct line {
    char text[line_size];
    size_t size;
};

static void line_put(struct line *line, char letter)
{
    if (line->size < sizeof line->text - 1)
        line->text[line->size++] = letter;
}

static void line_text(struct line *line, const char *text)
{
    while (*text != 0)
        line_put(line, *text++);
}

static void line_hex(struct line *line, struct bytes bytes)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.size; i++) {
        line_put(line, digits[bytes.data[i] >> 4]);
        line_put(line, digits[bytes.data[i] & 15]);
    }
}

static void line_quoted(struct line *line, struct bytes bytes)
{
    line_put(line, '"');
    for (size_t i = 0; i < bytes.size && i < value_size_max; i++) {
        uint8_t byte = bytes.data[i];
        if (byte == '"' || byte == '\\') {
            line_put(line, '\\');
            line_put(line, (char)byte);
        } else if (byte < 0x20 || byte == 0x7f) {
            line_text(line, "\\x");
            line_hex(line, bytes_of(&byte, 1));
        } else {
            line_put(line, (char)byte);
        }
    }
    if (bytes.size > value_size_max)
        line_text(line, "...");
    line_put(line, '"');
}

static bool is_plain(struct bytes bytes)
{
    for (size_t i = 0; i < bytes.size; i++) {
        uint8_t byte = bytes.data[i];
        if (byte <= 0x20 || byte >= 0x7f || byte == '"' || byte == '\\' || byte == '=')
            return false;
    }
    return bytes.size != 0 && bytes.size <= value_size_max;
}

static void line_field(struct line *line, const struct log_field *field)
{
    char number[32];
    line_put(line, ' ');
    line_text(line, field->name);
    line_put(line, '=');
    switch (field->kind) {
    case LOG_KIND_U64:
        snprintf(number, sizeof number, "%" PRIu64, field->number);
        line_text(line, number);
        break;
    case LOG_KIND_I64:
        snprintf(number, sizeof number, "%" PRId64, (int64_t)field->number);
        line_text(line, number);
        break;
    case LOG_KIND_HEX:
        line_hex(line, field->bytes);
        break;
    case LOG_KIND_TEXT:
        if (is_plain(field->bytes)) {
            for (size_t i = 0; i < field->bytes.size; i++)
                line_put(line, (char)field->bytes.data[i]);
        } else {
            line_quoted(line, field->bytes);
        }
        break;
    case LOG_KIND_END:
        break;
    }
}

void log_level_set(enum log_level level)
{
    atomic_store(&level_least, (int)level);
}

void log_descriptor_set(int new_descriptor)
{
    atomic_store(&descriptor, new_descriptor);
}

void log_write(enum log_level level, const char *event, const struct log_field *fields)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    int to = atomic_load(&descriptor);
    struct timespec now = {0};
    struct tm parts = {0};
    char stamp[64];
    struct line line;

    if ((int)level < atomic_load(&level_least) || to < 0)
        return;
    line.size = 0;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    size_t used = strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(stamp + used, sizeof stamp - used, ".%03ldZ", now.tv_nsec / 1000000);
    line_text(&line, "time=");
    line_text(&line, stamp);
    line_text(&line, " level=");
    line_text(&line, names[level]);
    line_text(&line, " event=");
    line_text(&line, event);
    for (; fields->kind != LOG_KIND_END; fields++)
        line_field(&line, fields);
    line.text[line.size++] = '\n';
    /* A log that cannot be written must not stop the server: there is nobody left to tell. */
    ssize_t written = write(to, line.text, line.size);
    (void)written;
}
