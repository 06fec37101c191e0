/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between the members of a region, as an interface: real on TLS (server/net/peers.h),
 * simulated in tests/sim.
 *
 * A message is bytes (proto/peer.h has their grammar). It comes whole or not at all, and at most
 * once; messages of one lane from one sender come in their order, with gaps where some were lost.
 * CONTROL overtakes BULK. Who sent it is known: the connection is authenticated, and `from` is the
 * id that the sender proved to own by its certificate's name.
 *
 * Belongs to one thread: that of its io. Bounded: what waits for a member is at most
 * limit_peer_queue_size bytes; past it bus_send() answers false. */
#ifndef REPLICATION_BUS_H
#define REPLICATION_BUS_H

#include "proto/base/bytes.h"
#include "proto/membership.h"

enum bus_lane {
    BUS_CONTROL, /* small: votes, heartbeats, answers; at most limit_peer_frame_size */
    BUS_BULK,    /* entries, chunks of snapshots; at most limit_peer_message_size */
};

enum bus_event {
    BUS_CONNECTED,    /* what is sent from now on may arrive */
    BUS_DISCONNECTED, /* what was sent may be lost */
    BUS_ROOM,         /* there is room for BULK again, after bus_room() had said 0, or bus_send()
                         false for want of it */
};

/* What the bus tells its user; called from turns of the io, never from within calls of the bus. */
struct bus_user {
    void (*received)(void *context, uint64_t from, struct bytes message); /* valid for the call */
    void (*happened)(void *context, uint64_t member, enum bus_event event);
    void *context;
};

struct bus;

struct bus_operations {
    void (*attach)(struct bus *bus, const struct bus_user *user);
    void (*members)(struct bus *bus, const struct membership *membership, uint64_t self);
    bool (*send)(struct bus *bus, uint64_t to, enum bus_lane lane, const struct bytes *pieces,
                 size_t pieces_count);
    size_t (*room)(struct bus *bus, uint64_t to);
    void (*flush)(struct bus *bus);
};

/* An implementation begins with it. */
struct bus {
    const struct bus_operations *operations;
};

/* Before all else; and with NULL at the end: from then on nobody is told anything. */
static inline void bus_attach(struct bus *bus, const struct bus_user *user)
{
    bus->operations->attach(bus, user);
}

/* To whom connections are kept, from now on. Copied. Who was removed by it is heard no more. Others
 * of the cluster, whom no membership ever named here, may still be heard, and can be answered as
 * long as they are: a member that lags behind knows those who joined since by nothing else, and
 * must take their entries (Ongaro 2014, 4.1); one that waits to be added knows nobody. */
static inline void bus_members(struct bus *bus, const struct membership *membership, uint64_t self)
{
    bus->operations->members(bus, membership, self);
}

/* Queues the pieces as one message; their bytes are copied. False: not connected, or no room; then
 * none of it is sent. */
static inline bool bus_send(struct bus *bus, uint64_t to, enum bus_lane lane,
                            const struct bytes *pieces, size_t pieces_count)
{
    return bus->operations->send(bus, to, lane, pieces, pieces_count);
}

/* Bytes of BULK that may be queued for a member now; 0 also where it is not connected. */
static inline size_t bus_room(struct bus *bus, uint64_t to)
{
    return bus->operations->room(bus, to);
}

/* Once a turn, after all was queued: what waits goes out, in one write for each member. */
static inline void bus_flush(struct bus *bus)
{
    bus->operations->flush(bus);
}

#endif
