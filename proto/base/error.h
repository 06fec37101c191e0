/* SPDX-License-Identifier: Apache-2.0 */
/* A status with words: what happened, on what, and what to do next.
 *
 * For failures that a person will read: start-up, configuration, keys, recovery, the command line.
 * Hot paths use bare statuses. */
#ifndef PROTO_BASE_ERROR_H
#define PROTO_BASE_ERROR_H

#include "proto/base/status.h"

enum { error_text_size = 512 };

/* Zeroed by its owner before the call; written by whoever fails first. */
struct error {
    enum status status;
    char text[error_text_size]; /* one or more sentences, UTF-8, no newline */
};

/* Fills `error` (which may be NULL) and returns `status`, so that one can `return error_set(...)`.
 * Text longer than the buffer is cut. */
enum status error_set(struct error *error, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts words in front of the text there is: "what was being done: " and the old text. */
void error_prefix(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
