/* SPDX-License-Identifier: Apache-2.0 */
/* Frames between the members of a region, after the TLS handshake: a fixed header and a body.
 *
 *     offset size
 *      0      4   body's size
 *      4      1   kind: enum peer_frame_kind
 *      5      1   lane: enum bus_lane; 0 in all but a MESSAGE
 *      6      2   0
 *      8      4   of a MESSAGE: the whole message's size; else 0
 *     12      4   of a MESSAGE: where the body lies within the message; else 0
 *
 * A message of CONTROL is one frame. One of BULK is as many as it takes, in order, all but the last
 * of limit_peer_frame_size, and frames of CONTROL may come between them.
 *
 * The first frame of both sides is a HELLO: the side that dialled says it first, the other answers
 * with its own, or with a REFUSAL and the end. From then on the side that dialled sends MESSAGE and
 * KEEP_ALIVE; the other listens, and answers KEEP_ALIVE with KEEP_ALIVE. Either may end with a
 * REFUSAL.
 *
 * HELLO:
 *      0      4   protocol's version, 1: of another, nothing after it is read
 *      4      4   the lowest cluster_version that the sender's program can apply
 *      8      4   the highest
 *     12      4   1: a probe, which will send nothing; else 0
 *     16     16   cluster's id
 *     32      8   sender's member id, never 0
 *     40      8   the member id that the sender means to reach; 0: whoever is there
 *     48      1   size of the name
 *     49      1   size of the peers' address
 *     50      1   size of the clients' address
 *     51      5   0
 *     56          name, peers' address, clients' address: not terminated, each 1 byte at least
 *
 * REFUSAL:
 *      0      2   enum status
 *      2          why, for people
 *
 * Texts are printable ASCII without spaces; a reason has spaces. All integers are little-endian. */
#ifndef PROTO_PEER_FRAME_H
#define PROTO_PEER_FRAME_H

#include "proto/base/bytes.h"
#include "proto/base/status.h"
#include "proto/limits.h"

enum peer_frame_kind {
    PEER_FRAME_HELLO = 1,
    PEER_FRAME_REFUSAL = 2,
    PEER_FRAME_KEEP_ALIVE = 3, /* no body */
    PEER_FRAME_MESSAGE = 4,
};

enum {
    peer_protocol_version = 1,
    peer_frame_header_size = 16,
    peer_cluster_id_size = 16,
    peer_hello_fixed_size = 56,
    peer_hello_size_max =
        peer_hello_fixed_size + limit_member_name_size + 2 * limit_member_address_size,
    peer_reason_size = 240, /* of a refusal's text, without its terminator */
    peer_refusal_size_max = 2 + peer_reason_size,
    peer_lanes_count = 2,
};

struct peer_frame_header {
    uint32_t body_size;
    enum peer_frame_kind kind;
    uint8_t lane;
    uint32_t message_size;
    uint32_t message_offset;
};

void peer_frame_encode(const struct peer_frame_header *header, uint8_t to[peer_frame_header_size]);

/* UNSUPPORTED for a kind that is not of the list, TOO_LARGE for sizes past their bounds, MALFORMED
 * for all else that the grammar above does not permit. Zeroed where the result is not OK. */
MUST_CHECK enum status peer_frame_decode(const uint8_t from[peer_frame_header_size],
                                         struct peer_frame_header *header);

struct peer_hello {
    uint32_t cluster_version_min;
    uint32_t cluster_version_max;
    bool is_probe;
    uint8_t cluster_id[peer_cluster_id_size];
    uint64_t member;
    uint64_t expected; /* 0: whoever is there */
    char name[limit_member_name_size + 1];
    char peers[limit_member_address_size + 1];
    char clients[limit_member_address_size + 1];
};

/* Returns the size. The texts are within their bounds, and not empty. */
size_t peer_hello_encode(const struct peer_hello *hello, uint8_t to[peer_hello_size_max]);

/* UNSUPPORTED for another version of the protocol, MALFORMED for what is none. Zeroed where the
 * result is not OK. */
MUST_CHECK enum status peer_hello_decode(struct bytes from, struct peer_hello *hello);

struct peer_refusal {
    enum status status;
    char reason[peer_reason_size + 1];
};

/* Returns the size. What of the reason is not printable ASCII becomes a question mark. */
size_t peer_refusal_encode(const struct peer_refusal *refusal, uint8_t to[peer_refusal_size_max]);

/* MALFORMED; a status that is not of the list, or OK, reads as INTERNAL. */
MUST_CHECK enum status peer_refusal_decode(struct bytes from, struct peer_refusal *refusal);

#endif
