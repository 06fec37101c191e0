/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/key.h"

enum { key_mark = 0, key_escaped_mark = 255, key_end_mark = 1 };

size_t key_escape(struct bytes text, uint8_t *to)
{
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        to[size++] = text.data[i];
        if (text.data[i] == key_mark)
            to[size++] = key_escaped_mark;
    }
    return size;
}

size_t key_end(uint8_t *to)
{
    to[0] = key_mark;
    to[1] = key_end_mark;
    return key_end_size;
}

bool key_unescape(struct bytes from, uint8_t *to, size_t *text_size, struct bytes *rest)
{
    *text_size = 0;
    *rest = (struct bytes){0};
    size_t size = 0;
    for (size_t i = 0; i < from.size; i++) {
        if (from.data[i] != key_mark) {
            to[size++] = from.data[i];
            continue;
        }
        if (++i == from.size)
            return false;
        if (from.data[i] == key_end_mark) {
            *text_size = size;
            *rest = bytes_of(from.data + i + 1, from.size - i - 1);
            return true;
        }
        if (from.data[i] != key_escaped_mark)
            return false;
        to[size++] = key_mark;
    }
    return false;
}
