/* SPDX-License-Identifier: Apache-2.0 */
/* Gets and pages of scans: their requests, made and answered the same way for synchronous and
 * asynchronous callers. */
#ifndef CLIENT_READ_H
#define CLIENT_READ_H

#include "client/call.h"
#include "client/snapshot.h"

/* Checks names, sizes and counts. */
enum strait_status read_check_keys(const struct strait_key *keys, size_t keys_count,
                                   struct strait_error *error);
enum strait_status read_check_range(const struct strait_range *range, struct strait_error *error);
enum strait_status read_check_key(const char *table, struct strait_bytes key,
                                  struct strait_error *error);

/* Encodes a request into `call`; on failure too, call_free() it. `reads` NULL: all zero; with a
 * snapshot it is not looked at. */
enum strait_status read_encode_get(struct call *call, uint64_t snapshot_id,
                                   const struct strait_read_options *reads,
                                   const struct strait_key *keys, size_t keys_count,
                                   uint64_t deadline_ns, struct strait_error *error);
enum strait_status read_encode_page(struct call *call, uint64_t snapshot_id,
                                    const struct strait_read_options *reads,
                                    const struct strait_range *range,
                                    const struct strait_scan_options *options, uint32_t records_max,
                                    struct strait_bytes resume, uint64_t deadline_ns,
                                    struct strait_error *error);

enum strait_status read_check_options(const struct strait_read_options *reads,
                                      struct strait_error *error);

/* The records of a GET or SCAN that is DONE. `keys_count` is what a GET asked for: another count is
 * MALFORMED. */
enum strait_status read_decode(strait *handle, const struct call *call, size_t keys_count,
                               struct strait_records **records, struct strait_error *error);

/* One page, with a deadline instead of a timeout. */
enum strait_status read_page(strait *handle, uint64_t snapshot_id,
                             const struct strait_read_options *reads,
                             const struct strait_range *range,
                             const struct strait_scan_options *options, uint32_t records_max,
                             struct strait_bytes resume, uint64_t deadline_ns,
                             struct strait_records **records, struct strait_error *error);

enum strait_status read_keys(strait *handle, uint64_t snapshot_id,
                             const struct strait_read_options *reads, const struct strait_key *keys,
                             size_t keys_count, uint64_t deadline_ns,
                             struct strait_records **records, struct strait_error *error);

#endif
