/* SPDX-License-Identifier: Apache-2.0 */
/* To the other members: entries as far as there is room on the way to each, and messages. */
#include "replication/replicated_log_internal.h"

/* Less room than this is not worth a message: BUS_ROOM tells when there is more. */
enum { room_least = 16 * 1024 };

#define SAME_KIND(name)                                                                            \
    _Static_assert((int)RAFT_##name == (int)PEER_##name, "Raft's types are the messages' kinds")
SAME_KIND(PREVOTE);
SAME_KIND(PREVOTE_REPLY);
SAME_KIND(VOTE);
SAME_KIND(VOTE_REPLY);
SAME_KIND(APPEND);
SAME_KIND(APPEND_REPLY);
SAME_KIND(HEARTBEAT);
SAME_KIND(HEARTBEAT_REPLY);
SAME_KIND(TIMEOUT_NOW);
_Static_assert((int)RAFT_TYPES_END == (int)PEER_TIMEOUT_NOW + 1, "there are no others");
_Static_assert((int)raft_append_entries_max == (int)peer_entries_max, "in one message");

/* ---- Peers ---- */

struct log_peer *log_send_peer(struct replicated_log *log, uint64_t id)
{
    for (unsigned i = 0; i < log_peers_max; i++) {
        if (log->peers[i].id == id)
            return &log->peers[i];
    }
    return NULL;
}

static void peer_leave(struct log_peer *peer)
{
    log_reader_drop(&peer->reader);
    log_reader_drop(&peer->mend_reader);
    peer->leaving = true;
    peer->mend_count = 0;
    if (!peer->reader.reading && !peer->mend_reader.reading)
        *peer = (struct log_peer){0};
}

static void peer_join(struct replicated_log *log, uint64_t id)
{
    struct log_peer *peer = log_send_peer(log, id);
    if (peer == NULL) {
        peer = log_send_peer(log, 0);
        if (peer == NULL)
            return; /* places of those that left are still read for: log_send_reap() comes back */
        if (peer == &log->peers[log->peers_used])
            log->peers_used++; /* the first that is free is taken */
        *peer = (struct log_peer){.id = id};
        peer->reader.log = log;
        peer->mend_reader.log = log;
    }
    peer->leaving = false;
    peer->is_guest = false;
}

struct log_peer *log_send_guest(struct replicated_log *log, uint64_t id)
{
    unsigned guests = 0;
    bool connected = false;

    for (unsigned i = 0; i < log->connected_count; i++)
        connected |= log->connected[i] == id;
    for (unsigned i = 0; i < log->peers_used; i++)
        guests += log->peers[i].id != 0 && log->peers[i].is_guest;
    if (!connected || guests >= log_guests_max)
        return NULL;
    peer_join(log, id);
    struct log_peer *peer = log_send_peer(log, id);
    if (peer != NULL)
        peer->is_guest = true;
    return peer;
}

void log_send_guest_leaves(struct log_peer *peer)
{
    ASSERT(peer->is_guest);
    peer->mend_count = 0;
    peer->leaving = true;
}

/* A member is left behind by the bus once its removal is committed, and not before: that entry may
 * be superseded yet, by a leader which it would have removed. */
void log_send_tell_bus(struct replicated_log *log)
{
    struct membership members = *memberships_newest(&log->memberships);
    bool fits = true;

    if (log->options.bus == NULL)
        return;
    for (size_t i = log->memberships.count - 1; i-- > 0 && fits;) {
        const struct membership *older = &log->memberships.items[i].membership;
        for (unsigned m = 0; m < older->count && fits; m++) {
            const struct member *member = &older->members[m];
            if (membership_find(&members, member->id) == NULL &&
                membership_find_name(&members, member->name) == NULL)
                fits = membership_set(&members, member);
        }
    }
    bus_members(log->options.bus, &members, log->self);
}

void log_send_follow_membership(struct replicated_log *log)
{
    const struct membership *membership = memberships_newest(&log->memberships);

    if (log->options.bus == NULL)
        return;
    for (unsigned i = 0; i < log->peers_used; i++) {
        struct log_peer *peer = &log->peers[i];
        if (peer->id != 0 && !peer->is_guest && membership_find(membership, peer->id) == NULL)
            peer_leave(peer);
    }
    for (unsigned i = 0; i < membership->count; i++) {
        if (membership->members[i].id != log->self)
            peer_join(log, membership->members[i].id);
    }
    log_send_tell_bus(log);
}

void log_send_reap(struct replicated_log *log)
{
    bool freed = false;
    for (unsigned i = 0; i < log->peers_used; i++) {
        struct log_peer *peer = &log->peers[i];
        if (peer->leaving && !peer->reader.reading && !peer->mend_reader.reading) {
            peer_leave(peer);
            freed = true;
        }
    }
    if (freed)
        log_send_follow_membership(log);
}

/* ---- Messages ---- */

bool log_send_message(struct replicated_log *log, const struct peer_message *message,
                      enum bus_lane lane, struct bytes rest)
{
    uint8_t header[peer_raft_size];
    struct peer_message sent = *message;

    if (log->options.bus == NULL)
        return false;
    sent.from = log->self;
    peer_encode(&sent, header);
    const struct bytes pieces[] = {bytes_of(header, peer_size(sent.kind)), rest};
    return bus_send(log->options.bus, sent.to, lane, pieces, rest.size == 0 ? 1 : 2);
}

static struct peer_message of_raft(const struct raft_message *message)
{
    return (struct peer_message){
        .kind = (uint8_t)message->type,
        .from = message->from,
        .to = message->to,
        .term = message->term,
        .mark = {message->mark.index, message->mark.term},
        .commit = message->commit,
        .round = message->round,
        .reject = message->reject,
        .transfer = message->transfer,
    };
}

void log_send_messages(struct replicated_log *log)
{
    struct raft_message message;
    while (raft_take_message(log->raft, &message)) {
        const struct peer_message sent = of_raft(&message);
        /* Where there is no way now, the next of its kind says the same later. */
        (void)log_send_message(log, &sent, BUS_CONTROL, (struct bytes){0});
    }
}

/* ---- Entries ---- */

struct outgoing {
    unsigned count;
    size_t size;         /* of the entries' bytes */
    size_t message_size; /* headers too */
};

/* The bytes of an entry, from memory or from what was read for this member. */
static bool find_entry(struct replicated_log *log, const struct log_peer *peer, uint64_t index,
                       struct peer_entry *entry)
{
    uint64_t term;
    const struct cached_entry *cached = entry_cache_find(&log->cache, index);
    if (cached != NULL) {
        *entry = (struct peer_entry){.term = cached->term, .bytes = cached_entry_bytes(cached)};
        return true;
    }
    const struct wal_entry *read = log_reader_find(&peer->reader, index);
    /* Read before the log was superseded there? */
    if (read == NULL || !raft_term_at(log->raft, index, &term) || read->term != term)
        return false;
    *entry = (struct peer_entry){.term = read->term, .bytes = read->bytes};
    return true;
}

static struct outgoing gather(struct replicated_log *log, const struct log_peer *peer,
                              const struct raft_append *append, size_t room)
{
    struct outgoing outgoing = {.message_size = peer_raft_size};
    uint64_t index = append->message.mark.index + 1;
    struct peer_entry entry;

    for (; index <= append->last_index && outgoing.count < peer_entries_max; index++) {
        if (!find_entry(log, peer, index, &entry))
            break;
        size_t message_size = outgoing.message_size + peer_entry_header_size + entry.bytes.size;
        if (outgoing.count > 0 &&
            (outgoing.size + entry.bytes.size > append->size_max || message_size > room))
            break;
        uint8_t *header = log->entry_headers[outgoing.count];
        peer_entry_encode(entry.term, entry.bytes.size, header);
        log->pieces[1 + 2 * outgoing.count] = bytes_of(header, peer_entry_header_size);
        log->pieces[2 + 2 * outgoing.count] = entry.bytes;
        outgoing.count++;
        outgoing.size += entry.bytes.size;
        outgoing.message_size = message_size;
    }
    return outgoing;
}

/* False: no more now. */
static bool send_append(struct replicated_log *log, struct log_peer *peer)
{
    uint8_t header[peer_raft_size];
    struct raft_append append;
    struct bus *bus = log->options.bus;
    size_t room = bus_room(bus, peer->id);

    if (room < room_least || peer->reader.reading ||
        !raft_take_append(log->raft, log_now_ns(log), peer->id, &append))
        return false;
    uint64_t first = append.message.mark.index + 1;
    struct outgoing outgoing = gather(log, peer, &append, room);
    if (outgoing.count == 0 && first <= append.last_index) {
        log_reader_drop(&peer->reader);
        log_reader_start(&peer->reader, first, append.last_index);
        return false;
    }
    struct peer_message message = of_raft(&append.message);
    message.count = outgoing.count;
    peer_encode(&message, header);
    log->pieces[0] = bytes_of(header, sizeof header);
    if (!bus_send(bus, peer->id, BUS_BULK, log->pieces, 1 + 2 * (size_t)outgoing.count))
        return false;
    raft_append_sent(log->raft, log_now_ns(log), peer->id, &append, outgoing.count, outgoing.size);
    return true;
}

void log_send_appends(struct replicated_log *log)
{
    if (raft_role(log->raft) != RAFT_LEADER || log->failed)
        return;
    for (unsigned i = 0; i < log->peers_used; i++) {
        struct log_peer *peer = &log->peers[i];
        if (peer->id == 0 || peer->leaving || peer->is_guest)
            continue;
        while (send_append(log, peer))
            ;
    }
}
