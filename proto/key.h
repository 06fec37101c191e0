/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that hold a text of any bytes followed by more, and still sort as the text does.
 *
 *     escaped   every byte 0 as 0 255, every other as it is
 *     end       0 1
 *
 * The escaped text sorts as the text does against any other escaped text with its end, so that
 * the escaped text alone, without its end, is the lower bound of all that begin at it. */
#ifndef PROTO_KEY_H
#define PROTO_KEY_H

#include "proto/base/bytes.h"

enum { key_end_size = 2 };

/* Most bytes that an escaped text of `size` takes, without its end. */
static inline size_t key_escaped_size_max(size_t size)
{
    return 2 * size;
}

/* Writes at most key_escaped_size_max() bytes; returns how many. */
size_t key_escape(struct bytes text, uint8_t *to);

/* Writes key_end_size bytes; returns that. */
size_t key_end(uint8_t *to);

/* Takes an escaped text and its end off the front of `from`: `*text_size` bytes go to `to`, which
 * has room for `from.size`, and `*rest` is what follows. False where there is none. */
bool key_unescape(struct bytes from, uint8_t *to, size_t *text_size, struct bytes *rest);

#endif
