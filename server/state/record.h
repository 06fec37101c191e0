/* SPDX-License-Identifier: Apache-2.0 */
/* A record as the tree of records holds it.
 *
 *     format (1): 1
 *     flags (1): 1, it expires
 *     number of index entries (1)
 *     where it expires: due time, Unix milliseconds (8)
 *     index entries, sorted by (index id, key), each once: index id (4), key's size (2), key
 *     value: the rest
 *
 * Its key, version and table stand in the tree's key and in the LSM. */
#ifndef SERVER_STATE_RECORD_H
#define SERVER_STATE_RECORD_H

#include "proto/base/bytes.h"
#include "proto/base/status.h"

struct record {
    uint64_t expires_at_ms; /* 0: never */
    unsigned indexes_count;
    struct bytes indexes; /* the entries' encoding */
    struct bytes value;
};

struct record_index {
    uint32_t index_id;
    struct bytes key;
};

/* `*record` refers to `from`. CORRUPT where the bytes are no record, NEWER_FORMAT. */
MUST_CHECK enum status record_decode(struct bytes from, struct record *record);

size_t record_size(const struct record *record);
void record_encode(const struct record *record, uint8_t *to);

/* Takes the first entry off `*indexes`, which record_decode() or record_indexes_encode() made;
 * false at the end. */
bool record_index_next(struct bytes *indexes, struct record_index *entry);

/* <0, 0, >0 by (index id, key). */
int record_index_compare(const struct record_index *a, const struct record_index *b);

/* Sorts `entries`, takes repetitions out (`*count` is how many are left). */
void record_indexes_sort(struct record_index *entries, size_t *count);

size_t record_indexes_size(const struct record_index *entries, size_t count);

/* `entries` are sorted, each once. Writes record_indexes_size() bytes. */
void record_indexes_encode(const struct record_index *entries, size_t count, uint8_t *to);

/* Calls `each` for every entry that only one of the two has: `added` says which. In order. */
void record_indexes_compare(struct bytes before, struct bytes after,
                            void (*each)(void *context, const struct record_index *entry,
                                         bool added),
                            void *context);

#endif
