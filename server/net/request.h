/* SPDX-License-Identifier: Apache-2.0 */
/* A decoded request and, later, its reply.
 *
 * It is made by a net loop when a whole valid frame is there, posted to the core, and posted back
 * with its reply encoded; the net loop sends that and frees it. It belongs to one of them at a
 * time, as does its arena. Each request is answered exactly once, also where its connection is
 * gone meanwhile: the core need not know of connections.
 *
 * How many there are is bounded: limit_requests_count over all connections of a net loop,
 * limit_connection_requests_count on each, limit_requests_size of memory. */
#ifndef SERVER_NET_REQUEST_H
#define SERVER_NET_REQUEST_H

#include <protobuf-c/protobuf-c.h>

#include "proto/base/arena.h"
#include "proto/base/list.h"
#include "proto/frame.h"
#include "proto/limits.h"
#include "proto/strait.pb-c.h"
#include "server/net/access.h"

struct connection;
struct mailbox;

enum { session_client_size = 64, session_peer_size = 64 };

/* Who is at the other end of a connection. Set before its first request is posted, constant from
 * then on, and there for as long as one of its requests is. */
struct session {
    uint64_t id; /* unique within the process, never 0 */
    enum role role;
    char identity[limit_identity_size + 1];
    char client[session_client_size]; /* from Hello: name and version of a program; hostile text */
    char peer[session_peer_size];     /* address and port */
};

struct request {
    struct list_link link; /* for whoever has it */

    const struct session *session;
    enum frame_type type; /* a request's, not a reply's */
    uint64_t number;      /* the client's, for its reply */
    uint64_t received_ns; /* boot clock, when its last byte came */

    struct arena arena;        /* holds all of this, and what the core needs to answer it */
    struct bytes body;         /* as the client sent it: a commit's goes into the log like this */
    ProtobufCMessage *message; /* the same, decoded; of the type's request descriptor */

    void *context; /* the core's own, NULL at first */

    /* The reply: a whole frame. Set by request_reply() and request_refuse(). */
    enum status status;
    struct bytes reply;
    uint8_t reply_space[frame_header_size]; /* where there is no memory for a body */

    /* The net loop's. */
    struct mailbox *replies; /* where it goes when it is answered */
    struct connection *connection;
    size_t counted_size; /* of the net loop's budget */
    size_t body_filled;
};

/* The decoded message by its generated type: REQUEST_MESSAGE(request, Commit). */
#define REQUEST_MESSAGE(request, name) ((Strait__##name *)(void *)(request)->message)

/* Encodes the reply, status OK, and posts the request back: it is no longer the caller's. `message`
 * is of the reply's descriptor, and may refer to the request's arena or to the caller's memory. A
 * reply that is too large or finds no memory turns into a refusal that says so. */
void request_reply(struct request *request, const ProtobufCMessage *message);

/* The same with any status but OK, and a Refusal. request_refuse() makes one of a text alone. */
void request_refuse_with(struct request *request, enum status status,
                         const Strait__Refusal *refusal);
void request_refuse(struct request *request, enum status status, uint32_t retry_after_ms,
                    const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The net loop's own refusals: encoded, and not posted. */
void request_encode_refusal(struct request *request, enum status status, uint32_t retry_after_ms,
                            const char *text);

#endif
