/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes for transaction ids: OpenSSL's, drawn for many ids at a time, because a draw costs a
 * fifth of all that the library does for a commit. */
#ifndef CLIENT_RANDOM_H
#define CLIENT_RANDOM_H

#include "proto/base/status.h"
#include "proto/txn_id.h"

/* A new id in `bytes`, which no other thread gets, nor a process's child after fork(). INTERNAL
 * where OpenSSL has no random bytes. Any thread. */
MUST_CHECK enum status random_txn_id(uint8_t bytes[txn_id_size]);

#endif
