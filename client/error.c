/* SPDX-License-Identifier: Apache-2.0 */
#include "client/error.h"

#include <stdarg.h>
#include <stdio.h>

#include "proto/base/error.h"
#include "proto/limits.h"
#include "proto/txn_id.h"

/* Every status that can reach a client has the number that strait.h gives it. */
#define SAME(name) _Static_assert((int)STRAIT_##name == (int)STATUS_##name, #name);
SAME(OK)
SAME(END)
SAME(NOT_FOUND)
SAME(ALREADY_EXISTS)
SAME(CONFLICT)
SAME(CONDITION_FAILED)
SAME(OUT_OF_BOUNDS)
SAME(UNIQUE_VIOLATION)
SAME(SNAPSHOT_TOO_OLD)
SAME(HISTORY_LOST)
SAME(TXN_EXPIRED)
SAME(TXN_MISMATCH)
SAME(NOT_A_NUMBER)
SAME(NO_TABLE)
SAME(NO_INDEX)
SAME(NOT_PRIMARY)
SAME(CANCELLED)
SAME(NO_SNAPSHOT)
SAME(NOT_LEADER)
SAME(INVALID_ARGUMENT)
SAME(MALFORMED)
SAME(TOO_LARGE)
SAME(UNSUPPORTED)
SAME(UNAUTHENTICATED)
SAME(PERMISSION_DENIED)
SAME(BUSY)
SAME(DISK_FULL)
SAME(NO_MEMORY)
SAME(SHUTTING_DOWN)
SAME(DEADLINE_EXCEEDED)
SAME(UNREACHABLE)
SAME(OUTCOME_UNKNOWN)
SAME(DISCONNECTED)
SAME(IO_ERROR)
SAME(CORRUPT)
SAME(KEY_WRONG)
SAME(KEY_MISSING)
SAME(LOCKED)
SAME(NEWER_FORMAT)
SAME(FORBIDDEN)
SAME(INTERNAL)
#undef SAME

_Static_assert((int)STRAIT_TXN_TOKEN_SIZE == (int)txn_id_text_size, "a token is an id's text");
_Static_assert((int)STRAIT_TXN_ID_SIZE == (int)txn_id_size, "one size of ids");
_Static_assert((int)STRAIT_ERROR_TEXT_SIZE == (int)error_text_size, "texts are passed on whole");
_Static_assert((int)STRAIT_GET_KEYS_MAX == (int)limit_get_keys_count, "one bound");

void client_error_clear(struct strait_error *error)
{
    if (error != NULL)
        *error = (struct strait_error){0};
}

enum strait_status client_error_set(struct strait_error *error, enum status status,
                                    const char *format, ...)
{
    if (error != NULL) {
        va_list arguments;
        *error = (struct strait_error){.status = status_public(status)};
        va_start(arguments, format);
        vsnprintf(error->text, sizeof error->text, format, arguments);
        va_end(arguments);
    }
    return status_public(status);
}

const char *strait_status_name(enum strait_status status)
{
    return status_name((enum status)status);
}

const char *strait_status_text(enum strait_status status)
{
    return status_text((enum status)status);
}

const char *strait_error_text(const struct strait_error *error)
{
    return error->text[0] != 0 ? error->text : strait_status_text(error->status);
}

const char *strait_version(void)
{
    return STRAIT_VERSION_TEXT;
}
