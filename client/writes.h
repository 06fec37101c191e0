/* SPDX-License-Identifier: Apache-2.0 */
/* The writes of an interactive transaction, by record: what its own reads have to show. */
#ifndef CLIENT_WRITES_H
#define CLIENT_WRITES_H

#include "client/strait.h"
#include "proto/base/arena.h"
#include "proto/strait.pb-c.h"

/* An add, in the order they came. */
struct write_add {
    const Strait__Add *add;
    struct write_add *next;
};

/* The last word on one record. Texts and bytes are those of the transaction's arena. */
struct write {
    const char *table;
    struct bytes key;
    bool replaces;          /* a put or delete: what the snapshot holds does not matter */
    const Strait__Put *put; /* of `replaces`: NULL for a delete */
    struct write_add *adds; /* since then */
    struct write_add **adds_end;
};

/* A hash table with open addressing; `slots_count` is a power of two, at most half full. */
struct writes {
    struct write **slots;
    size_t slots_count;
    size_t count;
};

/* All memory but the table is the arena's. False where it ran out. */
bool writes_put(struct writes *writes, struct arena *arena, const Strait__Put *put);
bool writes_delete(struct writes *writes, struct arena *arena, const Strait__Delete *delete);
bool writes_add(struct writes *writes, struct arena *arena, const Strait__Add *add);
void writes_free(struct writes *writes);

/* NULL where the transaction has not written that record. */
struct write *writes_find(const struct writes *writes, const char *table, struct bytes key);

/* What the record looks like after the write: `base` is the snapshot's (NULL: it has none; not
 * looked at where the write replaces it). `*record` is zeroed but for the key where there is none.
 * Memory is `arena`'s. Where an add would be refused, its status: NOT_A_NUMBER, OUT_OF_BOUNDS,
 * NOT_FOUND. */
enum status writes_apply(const struct write *write, const struct strait_record *base,
                         struct arena *arena, struct strait_record *record);

#endif
