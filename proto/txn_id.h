/* SPDX-License-Identifier: Apache-2.0 */
/* A transaction's id, and its text for people.
 *
 *     32 hex digits of the id's 16 bytes, "-", 16 hex digits of issued_ns
 *
 * The two travel together: outcomes are kept in the order of `issued_ns`, so the id alone does not
 * find one. `strait txn status` takes this text, and errors that leave an outcome unknown print it.
 */
#ifndef PROTO_TXN_ID_H
#define PROTO_TXN_ID_H

#include "proto/base/bytes.h"
#include "proto/base/status.h"

enum {
    txn_id_size = 16,
    txn_id_text_size = 32 + 1 + 16 + 1 /* the terminating 0 included */
};

struct txn_id {
    uint8_t bytes[txn_id_size]; /* chosen at random by the client */
    uint64_t issued_ns;         /* the newest log time its client had seen when it first sent it */
};

/* Lower-case digits, terminated. */
void txn_id_format(const struct txn_id *id, char text[txn_id_text_size]);

/* INVALID_ARGUMENT where `text` is anything else than the whole form above; digits of either case.
 * `*id` is zeroed where the result is not OK. */
MUST_CHECK enum status txn_id_parse(struct bytes text, struct txn_id *id);

/* By id, then by time; <0, 0, >0. */
int txn_id_compare(const struct txn_id *a, const struct txn_id *b);

#endif
