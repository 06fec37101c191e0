/* SPDX-License-Identifier: Apache-2.0 */
/* The outcome of a transaction, kept under its id, so that a retry gets the answer of its first
 * attempt.
 *
 * Key (24 bytes): issued (8, big-endian nanoseconds), transaction id (16). Inserts land at the
 * right edge, and eviction drops whole tables from the left.
 *
 * Value (40 bytes):
 *     offset size
 *      0     16   content's hash
 *     16      8   version
 *     24      8   log time, nanoseconds
 *     32      4   item
 *     36      2   status
 *     38      1   flags: 1, the item is a condition
 *     39      1   0 */
#ifndef SERVER_STATE_OUTCOME_H
#define SERVER_STATE_OUTCOME_H

#include "proto/base/bytes.h"
#include "proto/base/hash.h"
#include "proto/base/status.h"

enum { outcome_id_size = 16, outcome_key_size = 24, outcome_value_size = 40 };

struct outcome {
    struct hash128 content;
    uint64_t version;
    uint64_t log_time_ns;
    uint32_t item;
    enum status status;
    bool item_is_condition;
};

void outcome_key_encode(uint64_t issued_ns, const uint8_t id[outcome_id_size],
                        uint8_t to[outcome_key_size]);

void outcome_encode(const struct outcome *outcome, uint8_t to[outcome_value_size]);

/* CORRUPT where the bytes are no outcome; a status that this program does not know reads as
 * INTERNAL. */
MUST_CHECK enum status outcome_decode(struct bytes from, struct outcome *outcome);

#endif
