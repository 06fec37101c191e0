/* SPDX-License-Identifier: Apache-2.0 */
/* What a leader and a member say to each other while a snapshot is sent. Each is the body of a
 * message of proto/peer.h, of one of these kinds:
 *
 *     offer    u64 session, u64 term, u32 attempt, u32 zero,
 *              header (storage/lsm/transfer.h)                           leader, BULK
 *     piece    u64 session, u32 attempt, u32 zero, piece (transfer.h)    leader, BULK
 *     answer   u64 session, u32 attempt, u8 state, u8 status, u16 queued,
 *              u32 table, u32 chunk, u64 written                         member, CONTROL
 *     stop     u64 session                                               leader, CONTROL
 *     want     u64 index: its state is of no use, and its log goes on
 *              behind it; a snapshot above that index is wanted          member, CONTROL
 *
 * A session is one leader's attempt to bring one member a checkpoint; its number is drawn at
 * random. The receiver says where it stands, and with each higher `attempt` that the sender is to
 * begin anew there: pieces of lower attempts are dropped. So whatever was lost, repeated or late
 * changes nothing. Integers are little-endian. */
#ifndef REPLICATION_SNAPSHOT_MESSAGE_H
#define REPLICATION_SNAPSHOT_MESSAGE_H

#include "proto/peer.h"
#include "storage/lsm/lsm.h"

enum snapshot_kind {
    SNAPSHOT_OFFER = PEER_SNAPSHOT_FIRST,
    SNAPSHOT_PIECE = PEER_SNAPSHOT_FIRST + 1,
    SNAPSHOT_ANSWER = PEER_SNAPSHOT_FIRST + 2,
    SNAPSHOT_STOP = PEER_SNAPSHOT_FIRST + 3,
    SNAPSHOT_WANT = PEER_SNAPSHOT_FIRST + 4,
};

enum {
    snapshot_offer_head_size = 24,
    snapshot_piece_head_size = 16,
    snapshot_answer_size = 32,
    snapshot_stop_size = 8,
    snapshot_want_size = 8,
};

struct snapshot_offer {
    uint64_t session;
    uint64_t term;
    uint32_t attempt; /* the highest that the sender was answered with */
    struct bytes header;
};

struct snapshot_piece {
    uint64_t session;
    uint32_t attempt;
    struct bytes piece;
};

enum snapshot_answer_state {
    SNAPSHOT_AT = 1,      /* stands at `position` */
    SNAPSHOT_STAGED = 2,  /* has all of it, and is installing */
    SNAPSHOT_HAVE = 3,    /* its state is at the mark, or past it */
    SNAPSHOT_REFUSED = 4, /* will not have it: `status` */
};

struct snapshot_answer {
    uint64_t session;
    uint32_t attempt;
    enum snapshot_answer_state state;
    enum status status;
    uint16_t queued_count; /* pieces that it has received and not worked off */
    struct lsm_transfer_position position;
    uint64_t written_size; /* of the tables' files that it has finished */
};

/* The heads; what follows is sent behind them. */
void snapshot_offer_encode(const struct snapshot_offer *offer,
                           uint8_t to[snapshot_offer_head_size]);
void snapshot_piece_encode(const struct snapshot_piece *piece,
                           uint8_t to[snapshot_piece_head_size]);
void snapshot_answer_encode(const struct snapshot_answer *answer, uint8_t to[snapshot_answer_size]);

/* MALFORMED; what is decoded refers to `from`. */
MUST_CHECK enum status snapshot_offer_decode(struct bytes from, struct snapshot_offer *offer);
MUST_CHECK enum status snapshot_piece_decode(struct bytes from, struct snapshot_piece *piece);
MUST_CHECK enum status snapshot_answer_decode(struct bytes from, struct snapshot_answer *answer);
MUST_CHECK enum status snapshot_stop_decode(struct bytes from, uint64_t *session);
MUST_CHECK enum status snapshot_want_decode(struct bytes from, uint64_t *index);

#endif
