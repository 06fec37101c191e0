/* SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/utf8.h"

size_t utf8_sequence_size(const void *text, size_t left)
{
    const unsigned char *at = text;
    if (left == 0)
        return 0;
    if (at[0] < 0x80)
        return 1;
    size_t size = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4 || size > left)
        return 0;
    for (size_t i = 1; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
        (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f))
        return 0;
    return size;
}

bool utf8_is_valid(const void *text, size_t size)
{
    const unsigned char *at = text;
    for (size_t i = 0; i < size;) {
        size_t step = utf8_sequence_size(at + i, size - i);
        if (step == 0)
            return false;
        i += step;
    }
    return true;
}

size_t utf8_from_latin1(char *text, size_t size)
{
    size_t high = 0;
    for (size_t i = 0; i < size; i++)
        high += (unsigned char)text[i] >= 0x80;
    size_t to = size + high;
    size_t grown = to;
    for (size_t from = size; from-- > 0;) {
        unsigned char byte = (unsigned char)text[from];
        if (byte < 0x80) {
            text[--to] = (char)byte;
        } else {
            text[--to] = (char)(0x80 | (byte & 0x3f));
            text[--to] = (char)(0xc0 | (byte >> 6));
        }
    }
    return grown;
}
