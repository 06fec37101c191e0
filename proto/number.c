/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/number.h"

size_t number_format(int64_t value, char text[number_text_size])
{
    char reversed[number_text_size];
    uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;
    size_t digits = 0;
    size_t size = 0;

    do {
        reversed[digits++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    if (value < 0)
        text[size++] = '-';
    while (digits != 0)
        text[size++] = reversed[--digits];
    text[size] = 0;
    return size;
}

enum status number_parse(struct bytes text, int64_t *value)
{
    *value = 0;
    bool negative = text.size != 0 && text.data[0] == '-';
    size_t first = negative ? 1 : 0;

    if (text.size == first || text.size >= number_text_size)
        return STATUS_NOT_A_NUMBER;
    if (text.data[first] == '0' && text.size != 1)
        return STATUS_NOT_A_NUMBER;
    int64_t parsed = 0;
    for (size_t i = first; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (c < '0' || c > '9')
            return STATUS_NOT_A_NUMBER;
        /* Negative numbers are built downwards: the least has no positive counterpart. */
        int64_t digit = negative ? -(c - '0') : c - '0';
        if (__builtin_mul_overflow(parsed, 10, &parsed) ||
            __builtin_add_overflow(parsed, digit, &parsed))
            return STATUS_NOT_A_NUMBER;
    }
    *value = parsed;
    return STATUS_OK;
}
