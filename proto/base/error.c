/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum status error_set(struct error *error, enum status status, const char *format, ...)
{
    if (error != NULL) {
        va_list arguments;
        error->status = status;
        va_start(arguments, format);
        vsnprintf(error->text, sizeof error->text, format, arguments);
        va_end(arguments);
    }
    return status;
}

void error_prefix(struct error *error, const char *format, ...)
{
    char old[error_text_size];
    va_list arguments;

    if (error == NULL)
        return;
    memcpy(old, error->text, sizeof old);
    va_start(arguments, format);
    int written = vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    if (written < 0)
        written = 0;
    size_t used = (size_t)written < sizeof error->text ? (size_t)written : sizeof error->text - 1;
    snprintf(error->text + used, sizeof error->text - used, "%s", old);
}
