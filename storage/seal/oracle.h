/* SPDX-License-Identifier: Apache-2.0 */
/* The nonce oracle: remembers (key, nonce) of what was sealed, and aborts the process when a pair
 * comes again with other bytes. Only in builds with faults; started by seal_oracle_start(). */
#ifndef STORAGE_SEAL_ORACLE_H
#define STORAGE_SEAL_ORACLE_H

#include "proto/base/bytes.h"

#if defined(STRAIT_FAULTS)
/* Any thread. `key` stands for the key; the rest is what will be sealed. Does nothing before
 * seal_oracle_start(). */
void oracle_observe(uint64_t key, struct bytes nonce, struct bytes first, struct bytes second,
                    struct bytes plain);
#endif

#endif
