/* SPDX-License-Identifier: Apache-2.0 */
#include "jepsen/check/verdict.h"

#include <stdarg.h>
#include <stdio.h>

void verdict_set(struct verdict *verdict, enum verdict_kind kind, const char *class,
                 const char *format, ...)
{
    va_list arguments;

    if (verdict->kind != VERDICT_VALID)
        return;
    verdict->kind = kind;
    snprintf(verdict->class, sizeof verdict->class, "%s", class != NULL ? class : "");
    va_start(arguments, format);
    vsnprintf(verdict->text, sizeof verdict->text, format, arguments);
    va_end(arguments);
}

const char *verdict_name(enum verdict_kind kind)
{
    static const char *const names[] = {
        [VERDICT_VALID] = "valid",         [VERDICT_INVALID] = "invalid",
        [VERDICT_MALFORMED] = "malformed", [VERDICT_VACUOUS] = "vacuous",
        [VERDICT_UNKNOWN] = "unknown",
    };
    return names[kind];
}
