/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers, times and bytes, to and from text. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/cli/cli.h"
#include "client/cli/utf8.h"

bool cli_parse_i64(const char *text, int64_t *value)
{
    char *end;
    errno = 0;
    long long parsed = strtoll(text, &end, 10);
    if (text[0] == 0 || text[0] == ' ' || *end != 0 || errno != 0)
        return false;
    *value = parsed;
    return true;
}

bool cli_parse_u64(const char *text, uint64_t low, uint64_t high, uint64_t *value)
{
    char *end;
    errno = 0;
    if (text[0] < '0' || text[0] > '9')
        return false;
    unsigned long long parsed = strtoull(text, &end, 10);
    if (*end != 0 || errno != 0 || parsed < low || parsed > high)
        return false;
    *value = parsed;
    return true;
}

bool cli_parse_duration(const char *text, uint64_t *duration_ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    char *end;

    errno = 0;
    if (text[0] < '0' || text[0] > '9')
        return false;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || number > 1000000000ULL)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(end, units[i].unit) == 0) {
            *duration_ms = number * units[i].ms;
            return true;
        }
    }
    return false;
}

void cli_format_time(uint64_t time_ns, char text[32])
{
    time_t seconds = (time_t)(time_ns / 1000000000);
    struct tm parts = {0};
    gmtime_r(&seconds, &parts);
    size_t used = strftime(text, 32, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + used, 32 - used, ".%03uZ", (unsigned)(time_ns / 1000000 % 1000));
}

/* C0 and C1 controls and DEL: they could move a terminal's cursor. */
static bool is_control(const unsigned char *at, size_t size)
{
    return (size == 1 && (at[0] < 0x20 || at[0] == 0x7f)) ||
           (size == 2 && at[0] == 0xc2 && at[1] < 0xa0);
}

bool cli_is_text(struct strait_bytes bytes)
{
    const unsigned char *data = bytes.data;
    for (size_t i = 0; i < bytes.size;) {
        size_t size = utf8_sequence_size(data + i, bytes.size - i);
        if (size == 0 || (is_control(data + i, size) && data[i] != '\n' && data[i] != '\t'))
            return false;
        i += size;
    }
    return true;
}

void cli_print_bytes(FILE *to, struct strait_bytes bytes)
{
    const unsigned char *data = bytes.data;
    for (size_t i = 0; i < bytes.size;) {
        size_t size = utf8_sequence_size(data + i, bytes.size - i);
        if (size == 0 || is_control(data + i, size)) {
            fprintf(to, "\\x%02x", data[i]);
            i++;
        } else {
            if (data[i] == '\\')
                fputc('\\', to);
            fwrite(data + i, 1, size, to);
            i += size;
        }
    }
}

void cli_json_bytes(json_t *object, const char *name, struct strait_bytes bytes)
{
    if (cli_is_text(bytes)) {
        json_object_set_new(object, name,
                            json_stringn(bytes.size != 0 ? bytes.data : "", bytes.size));
        return;
    }
    static const char digits[] = "0123456789abcdef";
    const unsigned char *data = bytes.data;
    char field[80];
    char *hex = malloc(bytes.size * 2 + 1);
    snprintf(field, sizeof field, "%s_hex", name);
    if (hex == NULL)
        return;
    for (size_t i = 0; i < bytes.size; i++) {
        hex[2 * i] = digits[data[i] >> 4];
        hex[2 * i + 1] = digits[data[i] & 15];
    }
    json_object_set_new(object, field, json_stringn(hex, bytes.size * 2));
    free(hex);
}

json_t *cli_json_record(const struct strait_record *record)
{
    json_t *object = json_object();
    cli_json_bytes(object, "key", record->key);
    if (!record->found) {
        json_object_set_new(object, "found", json_false());
        return object;
    }
    cli_json_bytes(object, "value", record->value);
    json_object_set_new(object, "version", json_integer((json_int_t)record->version));
    if (record->expires_at_ms != 0) {
        char when[32];
        cli_format_time(record->expires_at_ms * 1000000, when);
        json_object_set_new(object, "expires_at", json_string(when));
    }
    if (record->index_key.size != 0)
        cli_json_bytes(object, "index_key", record->index_key);
    if (record->indexes_count != 0) {
        json_t *indexes = json_array();
        for (size_t i = 0; i < record->indexes_count; i++) {
            json_t *entry = json_object();
            json_object_set_new(entry, "index", json_string(record->indexes[i].index));
            cli_json_bytes(entry, "key", record->indexes[i].key);
            json_array_append_new(indexes, entry);
        }
        json_object_set_new(object, "indexes", indexes);
    }
    return object;
}

enum cli_exit cli_print_json(json_t *document)
{
    json_dumpf(document, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    fputc('\n', stdout);
    json_decref(document);
    return CLI_DONE;
}
