/* SPDX-License-Identifier: Apache-2.0 */
/* Filling the caller's struct strait_error. All take NULL for one that does not care. */
#ifndef CLIENT_ERROR_H
#define CLIENT_ERROR_H

#include "client/strait.h"
#include "proto/base/status.h"

/* Both enumerations have the same numbers; error.c asserts it. */
static inline enum strait_status status_public(enum status status)
{
    return (enum strait_status)status;
}

void client_error_clear(struct strait_error *error);

/* Clears, fills in status and text, and returns the status. */
enum strait_status client_error_set(struct strait_error *error, enum status status,
                                    const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
