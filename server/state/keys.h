/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of the trees. Integers are big-endian, so that keys sort as what they stand for.
 *
 *     records   table id (4), record key
 *     indexes   index id (4), index key escaped and ended (proto/key.h), record key
 *               of a unique index: without the record key, which is the value instead
 *     expiry    due time in milliseconds (8), table id (4), record key
 *     meta      "T" table id (4); "D" kind (1) id (4): dropped, and not emptied yet
 *               "R": the list of regions; "P": the change that began the present epoch;
 *               "V": the cluster version, where it was ever raised;
 *               "E" number (8) region (4): the end of an epoch
 *     outcomes  outcome.h */
#ifndef SERVER_STATE_KEYS_H
#define SERVER_STATE_KEYS_H

#include "proto/base/bytes.h"
#include "proto/key.h"
#include "proto/limits.h"
#include "storage/lsm/lsm.h"

enum {
    keys_id_size = 4,
    keys_due_size = 8,
    keys_index_size_max = keys_id_size + 2 * limit_index_key_size + key_end_size + limit_key_size,
};

_Static_assert((int)keys_index_size_max < (int)lsm_key_size_max, "every key fits its tree");
/* Also the successor of a key, and the end of a range. */
_Static_assert(keys_index_size_max + 1 <= lsm_key_size_max, "bounds fit as well");

/* A key under construction. */
struct keys_buffer {
    size_t size;
    uint8_t data[keys_index_size_max + 1];
};

static inline struct bytes keys_bytes(const struct keys_buffer *buffer)
{
    return bytes_of(buffer->data, buffer->size);
}

/* `id` and then `rest`: a record's key, or the bound of an index's. */
void keys_with_id(struct keys_buffer *buffer, uint32_t id, struct bytes rest);

/* `record_key` empty: of a unique index. */
void keys_index(struct keys_buffer *buffer, uint32_t index_id, struct bytes index_key,
                struct bytes record_key);

/* The lower bound of all entries at or above `index_key`. */
void keys_index_bound(struct keys_buffer *buffer, uint32_t index_id, struct bytes index_key);

/* The first key past all that begin with `id`. */
void keys_id_end(struct keys_buffer *buffer, uint32_t id);

/* The least key above the one in the buffer. */
void keys_successor(struct keys_buffer *buffer);

void keys_expiry(struct keys_buffer *buffer, uint64_t due_ms, struct bytes table_and_key);

/* CORRUPT where the bytes are no such key. `table_and_key` is the record's key in its tree. */
MUST_CHECK enum status keys_expiry_decode(struct bytes key, uint64_t *due_ms,
                                          struct bytes *table_and_key);

/* The index key goes to `to`, which has room for the whole key; `*record_key` is within `key`,
 * empty where the index is unique. */
MUST_CHECK enum status keys_index_decode(struct bytes key, uint8_t *to, struct bytes *index_key,
                                         struct bytes *record_key);

#endif
