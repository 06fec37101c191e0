/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base/bytes.h"

bool bytes_equal_secret(const void *a, const void *b, size_t size)
{
    const volatile uint8_t *left = a;
    const volatile uint8_t *right = b;
    unsigned difference = 0;
    for (size_t i = 0; i < size; i++)
        difference |= (unsigned)(left[i] ^ right[i]);
    return difference == 0;
}

void bytes_wipe(void *data, size_t size)
{
    if (size != 0)
        explicit_bzero(data, size);
}
