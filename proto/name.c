/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/name.h"

#include "proto/limits.h"

bool name_is_valid(struct bytes name)
{
    if (name.size == 0 || name.size > limit_name_size)
        return false;
    if (name.data[0] < 'a' || name.data[0] > 'z')
        return false;
    for (size_t i = 1; i < name.size; i++) {
        uint8_t c = name.data[i];
        if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-')
            return false;
    }
    return true;
}

bool name_text_is_valid(const char *name)
{
    return name != NULL && name_is_valid(bytes_of(name, strnlen(name, limit_name_size + 1)));
}
