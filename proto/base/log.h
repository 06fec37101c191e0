/* SPDX-License-Identifier: Apache-2.0 */
/* Structured log lines: one line an event, `key=value` pairs (logfmt), on standard error.
 *
 *     log_info("wal_recovered", LOG_U64("entries", n), LOG_TEXT("directory", path));
 *
 * An event's name is lower_case and stable: people search for it. Values are escaped and cut, so
 * that input from outside cannot forge a line. No key, value or secret of a user goes in. A line
 * is one write(2), at most 4 KiB. Thread-safe. */
#ifndef PROTO_BASE_LOG_H
#define PROTO_BASE_LOG_H

#include "proto/base/bytes.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

enum log_kind { LOG_KIND_END, LOG_KIND_U64, LOG_KIND_I64, LOG_KIND_TEXT, LOG_KIND_HEX };

struct log_field {
    enum log_kind kind;
    const char *name;
    uint64_t number;
    struct bytes bytes;
};

#define LOG_U64(name_, value_)                                                                     \
    ((struct log_field){.kind = LOG_KIND_U64, .name = (name_), .number = (uint64_t)(value_)})
#define LOG_I64(name_, value_)                                                                     \
    ((struct log_field){                                                                           \
        .kind = LOG_KIND_I64, .name = (name_), .number = (uint64_t)(int64_t)(value_)})
#define LOG_TEXT(name_, value_)                                                                    \
    ((struct log_field){.kind = LOG_KIND_TEXT, .name = (name_), .bytes = bytes_of_text(value_)})
#define LOG_BYTES(name_, value_)                                                                   \
    ((struct log_field){.kind = LOG_KIND_TEXT, .name = (name_), .bytes = (value_)})
#define LOG_HEX(name_, value_)                                                                     \
    ((struct log_field){.kind = LOG_KIND_HEX, .name = (name_), .bytes = (value_)})

/* Lines below `level` are dropped. INFO at start. */
void log_level_set(enum log_level level);

/* Where lines go: a file descriptor, 2 at start. Tests may give -1: nowhere. */
void log_descriptor_set(int descriptor);

/* `fields` ends with a field of kind LOG_KIND_END. */
void log_write(enum log_level level, const char *event, const struct log_field *fields);

#define LOG_AT(level, event, ...)                                                                  \
    log_write(level, event, (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){0}})
#define log_debug(event, ...) LOG_AT(LOG_DEBUG, event __VA_OPT__(, ) __VA_ARGS__)
#define log_info(event, ...)  LOG_AT(LOG_INFO, event __VA_OPT__(, ) __VA_ARGS__)
#define log_warn(event, ...)  LOG_AT(LOG_WARN, event __VA_OPT__(, ) __VA_ARGS__)
#define log_error(event, ...) LOG_AT(LOG_ERROR, event __VA_OPT__(, ) __VA_ARGS__)

#endif
