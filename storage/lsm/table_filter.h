/* SPDX-License-Identifier: Apache-2.0 */
/* A filter over the keys of one partition: says no for nearly all keys that are not there, and
 * never for one that is. A Bloom filter in lines of 64 bytes: a key's bits lie in one line (Putze,
 * Sanders, Singler: Cache-, Hash- and Space-Efficient Bloom Filters, section 3), about 10 bits a
 * key and 6 probes: 1.2 % of absent keys pass.
 *
 *     body = u32 lines, u32 probes (6), lines of 64 bytes
 *
 * With h the hash64() of the key: the line is (h >> 32) * lines >> 32; probe i is bit
 * (g >> 9 * i) % 512 of the line, where g is h times an odd constant, upper bits mixed down. */
#ifndef STORAGE_LSM_TABLE_FILTER_H
#define STORAGE_LSM_TABLE_FILTER_H

#include "proto/base/bytes.h"
#include "proto/base/status.h"

enum { table_filter_line_size = 64, table_filter_probes = 6, table_filter_bits_per_key = 10 };

/* Bytes of the body for so many distinct keys (at least 1). */
size_t table_filter_size(size_t keys_count);

/* Fills a body of table_filter_size(count) bytes. */
void table_filter_build(const uint64_t *hashes, size_t count, uint8_t *body);

MUST_CHECK enum status table_filter_check(struct bytes body);

/* The body is good. False: no key of this hash is there. */
bool table_filter_may_hold(struct bytes body, uint64_t hash);

#endif
