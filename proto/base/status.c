/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/status.h"

const char *status_name(enum status status)
{
    switch (status) {
#define STATUS_CASE(name, number, text)                                                            \
    case STATUS_##name:                                                                            \
        return #name;
        STATUS_LIST(STATUS_CASE)
#undef STATUS_CASE
    }
    return "UNKNOWN";
}

const char *status_text(enum status status)
{
    switch (status) {
#define STATUS_CASE(name, number, text)                                                            \
    case STATUS_##name:                                                                            \
        return text;
        STATUS_LIST(STATUS_CASE)
#undef STATUS_CASE
    }
    return "unknown status";
}

bool status_is_known(int number)
{
    switch (number) {
#define STATUS_CASE(name, value, text) case value:
        STATUS_LIST(STATUS_CASE)
#undef STATUS_CASE
        return true;
    default:
        return false;
    }
}
