/* SPDX-License-Identifier: Apache-2.0 */
/* The text of numbers that records hold for `Add`: a 64-bit signed integer in decimal, with one
 * form for each value: no sign but "-", no leading zeros, no "-0", no spaces. */
#ifndef PROTO_NUMBER_H
#define PROTO_NUMBER_H

#include "proto/base/bytes.h"
#include "proto/base/status.h"

enum { number_text_size = 21 }; /* "-9223372036854775808" and the terminating 0 */

/* Returns the text's size, without the terminating 0. */
size_t number_format(int64_t value, char text[number_text_size]);

/* NOT_A_NUMBER for any other form, and for what 64 bits do not hold; `*value` is then 0. */
MUST_CHECK enum status number_parse(struct bytes text, int64_t *value);

#endif
