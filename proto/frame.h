/* SPDX-License-Identifier: Apache-2.0 */
/* A frame: a fixed header and a protobuf body. Both directions, after the TLS handshake.
 *
 *     offset size
 *      0      4   body's size
 *      4      2   type
 *      6      2   status (of a reply; 0 in a request)
 *      8      8   request's number, chosen by the client, repeated by the reply; replies come in
 * any order
 *
 * All little-endian. Type and size are checked before anything is allocated. */
#ifndef PROTO_FRAME_H
#define PROTO_FRAME_H

#include "proto/base/bytes.h"
#include "proto/base/status.h"

enum { frame_header_size = 16, frame_protocol_version = 1 };

/* X(NAME, number, Request, Reply, request, reply): the messages' names give the generated C types
 * Strait__<Name>, and in lower case their functions strait__<name>. A reply has the request's type
 * plus frame_reply. */
#define FRAME_LIST(X)                                                                              \
    X(HELLO, 1, Hello, HelloReply, hello, hello_reply)                                             \
    X(PING, 2, Ping, PingReply, ping, ping_reply)                                                  \
    X(COMMIT, 3, Commit, CommitReply, commit, commit_reply)                                        \
    X(GET, 4, Get, GetReply, get, get_reply)                                                       \
    X(SCAN, 5, Scan, ScanReply, scan, scan_reply)                                                  \
    X(SNAPSHOT_OPEN, 6, SnapshotOpen, SnapshotOpenReply, snapshot_open, snapshot_open_reply)       \
    X(SNAPSHOT_RENEW, 7, SnapshotRenew, SnapshotRenewReply, snapshot_renew, snapshot_renew_reply)  \
    X(SNAPSHOT_CLOSE, 8, SnapshotClose, SnapshotCloseReply, snapshot_close, snapshot_close_reply)  \
    X(TXN_STATUS, 9, TxnStatus, TxnStatusReply, txn_status, txn_status_reply)                      \
    X(TXN_LIST, 10, TxnList, TxnListReply, txn_list, txn_list_reply)                               \
    X(TXN_CANCEL, 11, TxnCancel, TxnCancelReply, txn_cancel, txn_cancel_reply)                     \
    X(TABLE_LIST, 12, TableList, TableListReply, table_list, table_list_reply)                     \
    X(STATUS, 13, Status, StatusReply, status, status_reply)                                       \
    X(CHECK, 14, Check, CheckReply, check, check_reply)                                            \
    X(MEMBER_LIST, 15, MemberList, MemberListReply, member_list, member_list_reply)                \
    X(MEMBER_CHANGE, 16, MemberChange, MemberChangeReply, member_change, member_change_reply)      \
    X(LEADER_TRANSFER, 17, LeaderTransfer, LeaderTransferReply, leader_transfer,                   \
      leader_transfer_reply)                                                                       \
    X(REGION_PULL, 18, RegionPull, RegionPullReply, region_pull, region_pull_reply)                \
    X(REGION_LIST, 19, RegionList, RegionListReply, region_list, region_list_reply)                \
    X(REGION_CHANGE, 20, RegionChange, RegionChangeReply, region_change, region_change_reply)      \
    X(REGION_SWITCHOVER, 21, RegionSwitchover, RegionSwitchoverReply, region_switchover,           \
      region_switchover_reply)                                                                     \
    X(REGION_PROMOTE, 22, RegionPromote, RegionPromoteReply, region_promote, region_promote_reply) \
    X(REGION_LOST_LIST, 23, RegionLostList, RegionLostListReply, region_lost_list,                 \
      region_lost_list_reply)                                                                      \
    X(REGION_LOST_READ, 24, RegionLostRead, RegionLostReadReply, region_lost_read,                 \
      region_lost_read_reply)                                                                      \
    X(REGION_LOST_CLOSE, 25, RegionLostClose, RegionLostCloseReply, region_lost_close,             \
      region_lost_close_reply)                                                                     \
    X(CLUSTER_UPGRADE, 26, ClusterUpgrade, ClusterUpgradeReply, cluster_upgrade,                   \
      cluster_upgrade_reply)                                                                       \
    X(WITNESS_LEASE, 27, WitnessLease, WitnessLeaseReply, witness_lease, witness_lease_reply)      \
    X(WITNESS_STATUS, 28, WitnessStatus, WitnessStatusReply, witness_status, witness_status_reply) \
    X(REGION_CHECKPOINT, 29, RegionCheckpoint, RegionCheckpointReply, region_checkpoint,           \
      region_checkpoint_reply)

enum { frame_reply = 0x8000 };

enum frame_type {
#define FRAME_ENUM(name, number, request, reply, request_lower, reply_lower)                       \
    FRAME_##name = number, FRAME_##name##_REPLY = number | frame_reply,
    FRAME_LIST(FRAME_ENUM)
#undef FRAME_ENUM
};

struct frame_header {
    uint32_t body_size;
    enum frame_type type;
    enum status status; /* a number that is not of the list reads as INTERNAL */
    uint64_t request;
};

void frame_header_encode(const struct frame_header *header, uint8_t to[frame_header_size]);

/* `header` is filled in any case, so that a refusal can name the request, and what is refused can
 * be passed over; only with OK does any of it hold.
 *
 * For the server: UNSUPPORTED for a type that is no request; MALFORMED for a status other than 0;
 * TOO_LARGE for a body past what the type permits, or past limit_frame_first_size where `first`,
 * and MALFORMED where the first frame is no HELLO or a later one is. `*header` is zeroed where the
 * result is not OK. */
MUST_CHECK enum status frame_request_decode(const uint8_t from[frame_header_size], bool first,
                                            struct frame_header *header);

/* For the client: the same for replies. */
MUST_CHECK enum status frame_reply_decode(const uint8_t from[frame_header_size],
                                          struct frame_header *header);

/* The largest body of a frame of this type; limits.h has them. */
uint32_t frame_body_size_max(enum frame_type type);

/* "COMMIT"; static. */
const char *frame_type_name(enum frame_type type);

#endif
