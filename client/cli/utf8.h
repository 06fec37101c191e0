/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8: what is valid, and from Latin-1. */
#ifndef CLIENT_CLI_UTF8_H
#define CLIENT_CLI_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* The size of the valid sequence at `at`, 1 to 4, of which `left` bytes are there; 0 where there is
 * none: overlong forms, surrogates and what lies past U+10FFFF are not valid (RFC 3629). */
size_t utf8_sequence_size(const void *at, size_t left);
bool utf8_is_valid(const void *text, size_t size);

/* In place: each byte stands for its own code point. There is room for 2 * size bytes. Returns the
 * new size. */
size_t utf8_from_latin1(char *text, size_t size);

#endif
