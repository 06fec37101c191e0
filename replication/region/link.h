/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to another region and their replies, as an interface: real on TLS
 * (server/net/region_link.h), simulated in tests/sim.
 *
 * A link keeps one connection to a server of the other region that has proved to belong to the same
 * cluster: it tries the endpoints one after another, with back-off, for as long as it is open, and
 * goes on to the leader that a refusal with NOT_LEADER names, as far as it can (or to the next
 * endpoint where it names none). Many requests are in flight at a time; replies come in any order.
 *
 * Each request that link_send() took is told of exactly once by `replied`: with its reply, with a
 * refusal, or with why there is neither. When a connection ends, first `replied` is called for each
 * request in flight, with DISCONNECTED, then `disconnected`; nothing is sent again by the link.
 *
 * Belongs to one thread: that of its io. Bounded: limit_link_requests_count requests in flight,
 * limit_link_output_size bytes of them not yet sent, one reply of limit_frame_size that is being
 * put together. */
#ifndef REPLICATION_REGION_LINK_H
#define REPLICATION_REGION_LINK_H

#include <protobuf-c/protobuf-c.h>

#include "proto/base/status.h"
#include "proto/frame.h"

/* What a link tells its user: from turns of the io, never from within calls of the link. Each may
 * call any function of the link. */
struct link_user {
    /* `endpoint`, HOST:PORT, is whom requests reach from now on. */
    void (*connected)(void *context, const char *endpoint);

    /* `reason` is for people. */
    void (*disconnected)(void *context, const char *reason);

    /* OK: `message` is the reply, of the type's reply descriptor. Else it is a Strait__Refusal, or
     * NULL where the other side did not say so itself: DISCONNECTED, DEADLINE_EXCEEDED. It is valid
     * during the call only. Nothing of it was checked but that it is such a message. */
    void (*replied)(void *context, void *request, enum status status,
                    const ProtobufCMessage *message);
    void *context;
};

struct link;

struct link_operations {
    void (*attach)(struct link *link, const struct link_user *user);
    void (*endpoints)(struct link *link, const char *const *endpoints, size_t count);
    enum status (*send)(struct link *link, enum frame_type type, const ProtobufCMessage *message,
                        uint32_t timeout_ms, void *request);
    void (*leave)(struct link *link, const char *reason);
    const char *(*trouble)(const struct link *link);
};

/* An implementation begins with it. */
struct link {
    const struct link_operations *operations;
};

/* Before all else; and with NULL at the end: from then on nobody is told anything. Copied. */
static inline void link_attach(struct link *link, const struct link_user *user)
{
    link->operations->attach(link, user);
}

/* Whom to try, from now on: HOST:PORT, of at most limit_member_address_size characters; copied.
 * What is no such text is passed over, as is what comes past limit_link_endpoints_count. None: the
 * link ends its connection and rests. A connection to one that is not of the new list ends. */
static inline void link_endpoints(struct link *link, const char *const *endpoints, size_t count)
{
    link->operations->endpoints(link, endpoints, count);
}

/* Encodes the message, of the type's request descriptor, and sends it with the io's next turn.
 * `request` is given back by `replied`. `timeout_ms` 0: no time limit but the connection's own.
 * UNREACHABLE (not connected), BUSY (past a bound of above), TOO_LARGE (larger than the type
 * permits), NO_MEMORY: it was not taken, and `replied` does not come. */
MUST_CHECK static inline enum status link_send(struct link *link, enum frame_type type,
                                               const ProtobufCMessage *message, uint32_t timeout_ms,
                                               void *request)
{
    return link->operations->send(link, type, message, timeout_ms, request);
}

/* Ends the connection, if there is one, and tries the next endpoint, after a back-off: where the
 * one that is connected answers, but not what its user needs. */
static inline void link_leave(struct link *link, const char *reason)
{
    link->operations->leave(link, reason);
}

/* Why there is no connection, for people: the endpoint that was tried last, and what came of it.
 * Empty: there is one, or none was tried in vain yet. Valid until the io's next turn. */
static inline const char *link_trouble(const struct link *link)
{
    return link->operations->trouble(link);
}

#endif
