/* SPDX-License-Identifier: Apache-2.0 */
/* What a strait_txn gathers: the messages of its commit, built in its arena as they are added. */
#ifndef CLIENT_TXN_H
#define CLIENT_TXN_H

#include "client/snapshot.h"
#include "client/writes.h"
#include "proto/base/arena.h"
#include "proto/strait.pb-c.h"
#include "proto/txn_id.h"

/* Pointers to messages of the arena. */
struct txn_list {
    void **items;
    size_t count;
    size_t capacity;
};

enum { txn_failed_size = 256 };

struct strait_txn {
    struct arena arena;
    struct txn_list operations; /* Strait__Operation */
    struct txn_list conditions; /* Strait__Condition */
    struct txn_list reads;      /* Strait__Key */
    struct txn_list ranges;     /* Strait__Range */
    size_t size;                /* of the commit, encoded, at most; but for ranges of scans */
    enum status failed;         /* the first builder that failed; the commit answers it ... */
    char failed_text[txn_failed_size]; /* ... in these words; "" where the status says it all */
    uint64_t read_version;
    uint64_t read_epoch_number; /* 0: not known, the primary's present one */
    uint32_t read_epoch_region;
    enum strait_durability durability;
    char remote_region[STRAIT_REGION_NAME_SIZE_MAX]; /* with REMOTE; "": any one */
    uint32_t confirm_within_ms;
    char confirmed_by[STRAIT_REGION_NAME_SIZE_MAX]; /* by the last commit's reply; "": none */

    struct txn_id id; /* issued_ns 0: never sent */
    bool has_id;
    bool may_have_run;            /* an earlier attempt has no known outcome */
    bool is_committing;           /* asynchronously */
    struct strait_token position; /* of the commit, once it was done */

    /* Of strait_begin(). */
    strait *handle;
    strait_snapshot *snapshot; /* NULL once it is over */
    struct writes writes;
};

/* Fails the transaction for good, and returns the status; with words of its own. */
enum strait_status txn_fail(strait_txn *txn, enum status status);
enum strait_status txn_fail_with(strait_txn *txn, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Records a read, once for each key. */
enum strait_status txn_note_read(strait_txn *txn, const char *table, struct bytes key);

/* A range message of the transaction's own for `range`, which counts as read only once it is added
 * with txn_add_range(). `*bound` is memory for a moving bound of limit_key_size + 1 bytes. NULL
 * where memory ran out. */
Strait__Range *txn_new_range(strait_txn *txn, const struct strait_range *range, uint8_t **bound);
enum strait_status txn_add_range(strait_txn *txn, Strait__Range *range);

/* Encodes the commit. On failure too, call_free(). */
enum strait_status txn_encode(strait_txn *txn, struct call *call, uint64_t deadline_ns,
                              struct strait_error *error);

/* Learns from a commit that is DONE what it says of the transaction, and fills result and error. */
enum strait_status txn_finish(strait *handle, strait_txn *txn, const struct call *call,
                              struct strait_commit_result *result, struct strait_error *error);

#endif
