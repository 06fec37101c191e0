/* SPDX-License-Identifier: Apache-2.0 */
/* A message between two members of a region: what the bus carries (replication/bus.h).
 *
 *     offset size
 *      0      1   format, 1
 *      1      1   kind
 *      2      1   flags: a sum of enum peer_flag; of a mend answer: enum peer_mend
 *      3      1   0
 *      4      4   count: entries of an append, places of a mend ask; else 0
 *      8      8   from: the sender's id
 *     16      8   to: the receiver's id
 *     24          by kind
 *
 * Raft's (replication/raft/raft.h says what they mean), and after an append its entries, whose
 * indexes follow the mark's:
 *
 *     24      8   term
 *     32      8   mark's index
 *     40      8   mark's term
 *     48      8   commit
 *     56      8   round
 *     64          entries: each its term (8), its size (4), and its bytes as they were proposed
 *
 * A mend ask: which of these entries do you hold? An index and a term of 0 ask where the log ends.
 *
 *     24          places: each an index (8) and a term (8)
 *
 * A mend answer, one for each place; its bytes are the entry's, where it is held and was asked for:
 *
 *     24      8   index, as asked; of END, that of the last entry
 *     32      8   term, as asked; of END, that of the last entry
 *     40      8   the sender's own term, which is durable there
 *     48          bytes
 *
 * All others are their owners' (snapshots, digests): bytes from offset 24 on.
 *
 * Integers are little-endian. Sizes are checked before anything is believed; whether terms and
 * marks can be is Raft's to judge. */
#ifndef PROTO_PEER_H
#define PROTO_PEER_H

#include "proto/base/bytes.h"
#include "proto/base/status.h"
#include "proto/entry.h"
#include "proto/limits.h"

enum {
    peer_format = 1,
    peer_header_size = 24,
    peer_raft_size = 64, /* header included */
    peer_entry_header_size = 12,
    peer_entries_max = 1024,
    peer_entry_size_max = entry_header_size + limit_identity_size + limit_txn_size,
    peer_places_max = 256,
    peer_place_size = 16,
    peer_answer_size = 48, /* without bytes */
};

/* Numbers are never used again for something else. */
enum peer_kind {
    PEER_PREVOTE = 1,
    PEER_PREVOTE_REPLY = 2,
    PEER_VOTE = 3,
    PEER_VOTE_REPLY = 4,
    PEER_APPEND = 5,
    PEER_APPEND_REPLY = 6,
    PEER_HEARTBEAT = 7,
    PEER_HEARTBEAT_REPLY = 8,
    PEER_TIMEOUT_NOW = 9,
    PEER_MEND_ASK = 16,
    PEER_MEND_ANSWER = 17,
    /* Their owners number what lies in these ranges. */
    PEER_SNAPSHOT_FIRST = 32,
    PEER_SNAPSHOT_LAST = 47,
    PEER_DIGEST_FIRST = 48,
    PEER_DIGEST_LAST = 63,
    PEER_FRESHNESS_FIRST = 64, /* how new a state is: server/core_fresh.c */
    PEER_FRESHNESS_LAST = 67,
    PEER_VERSION_FIRST = 68, /* what a program can apply: server/core_version.c */
    PEER_VERSION_LAST = 69,
    PEER_SHARED = 70, /* what other regions have: server/core_checkpoints.c */
};

enum peer_flag { PEER_REJECT = 1, PEER_TRANSFER = 2 };

/* What a member says of a place in the log that it was asked for. */
enum peer_mend {
    PEER_MEND_HAVE = 1,
    PEER_MEND_NEVER = 2,    /* its log is whole there, and holds no such entry */
    PEER_MEND_CORRUPT = 3,  /* it had it, and cannot read it */
    PEER_MEND_RELEASED = 4, /* its state has it; its log does not go back so far */
    PEER_MEND_SUSPECT = 5,  /* it may have had it: its own last write cannot be read */
    PEER_MEND_END = 6,      /* where the log ends, as far as it can be read */
};

struct peer_place {
    uint64_t index;
    uint64_t term;
};

struct peer_message {
    uint8_t kind; /* enum peer_kind, or a number of an owner's */
    uint64_t from;
    uint64_t to;

    /* Raft's. */
    uint64_t term;          /* also the sender's of a mend answer */
    struct peer_place mark; /* also the place of a mend answer */
    uint64_t commit;
    uint64_t round;
    bool reject;
    bool transfer;

    /* Of a mend answer. */
    enum peer_mend mend;

    unsigned count; /* entries or places */
    /* When read: what follows the fixed part: entries, places, an entry's bytes, an owner's. */
    struct bytes rest;
};

struct peer_entry {
    uint64_t term;
    struct bytes bytes;
};

bool peer_kind_is_raft(uint8_t kind);
bool peer_kind_is_owned(uint8_t kind); /* a number of an owner's */

/* Size of what peer_encode() writes for this kind: all but `rest`. */
size_t peer_size(uint8_t kind);

/* Writes exactly peer_size() bytes, at most peer_raft_size; what `rest` would hold is sent after
 * them. */
void peer_encode(const struct peer_message *message, uint8_t *to);
void peer_entry_encode(uint64_t term, size_t size, uint8_t to[peer_entry_header_size]);
void peer_place_encode(struct peer_place place, uint8_t to[peer_place_size]);

/* `message` refers to `from`. MALFORMED where sizes or numbers do not fit; TOO_LARGE past
 * limit_peer_message_size; UNSUPPORTED for another format or an unknown kind: a newer version sent
 * it. Entries and places have been walked: the two functions below find all of them. */
MUST_CHECK enum status peer_decode(struct bytes from, struct peer_message *message);

/* Take the next one off the front of message.rest. False at the end. */
bool peer_entry_next(struct bytes *rest, struct peer_entry *entry);
bool peer_place_next(struct bytes *rest, struct peer_place *place);

#endif
