/* SPDX-License-Identifier: Apache-2.0 */
/* From the other members. Whatever comes is checked before Raft sees it: the sender is whom the
 * connection proved it to be, and entries can be read. */
#include "proto/base/log.h"
#include "replication/replicated_log_internal.h"

static struct raft_message to_raft(const struct peer_message *message)
{
    return (struct raft_message){
        .type = (enum raft_message_type)message->kind,
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

/* The entries of one append, on their way into the log. */
struct incoming {
    struct raft_message message;
    unsigned count;
    unsigned known; /* at the front: in the log already */
    unsigned memberships_count;
    unsigned membership_places[log_memberships_max];
};

static bool is_known(const struct replicated_log *log, uint64_t index, uint64_t term)
{
    uint64_t own;
    return index <= raft_base(log->raft).index ||
           (raft_term_at(log->raft, index, &own) && own == term);
}

static void incoming_free(struct replicated_log *log, unsigned end)
{
    for (unsigned i = 0; i < end; i++) {
        cached_entry_release(log->accepted[i]);
        log->accepted[i] = NULL;
    }
}

/* An entry that says who belongs to the region. False: it says nothing that could be. */
static bool membership_take(struct replicated_log *log, struct incoming *incoming,
                            struct bytes body, unsigned place)
{
    unsigned m = incoming->memberships_count;
    if (membership_decode(body, &log->memberships_in[m]) != STATUS_OK)
        return false;
    log->configurations_in[m] = memberships_configuration(&log->memberships_in[m]);
    log->incoming[place].configuration = &log->configurations_in[m];
    incoming->membership_places[m] = place;
    incoming->memberships_count++;
    return true;
}

static void tell_newer(struct replicated_log *log, uint64_t from)
{
    if (log->newer_told)
        return;
    log->newer_told = true;
    log_error("log_entry_newer", LOG_U64("from", from),
              LOG_TEXT("text", "a member sends entries that this version cannot read: this one "
                               "falls behind until the newer program is started on it"));
}

/* OK, or why nothing of the message is taken. */
static enum status incoming_take(struct replicated_log *log, const struct peer_message *message,
                                 struct incoming *incoming)
{
    struct bytes rest = message->rest;
    struct peer_entry from;
    struct entry entry;

    while (peer_entry_next(&rest, &from)) {
        unsigned place = incoming->count;
        uint64_t index = message->mark.index + place + 1;
        enum status status = entry_decode(from.bytes, &entry);
        if (status != STATUS_OK)
            return status;
        log->incoming[place] = (struct raft_entry){.term = from.term};
        if (entry.kind == ENTRY_MEMBERSHIP) {
            /* What follows comes with the next one. */
            if (incoming->memberships_count == log_memberships_max)
                return STATUS_OK;
            if (!membership_take(log, incoming, entry.body, place))
                return STATUS_MALFORMED;
        }
        log->accepted[place] = NULL;
        incoming->count++;
        if (incoming->known == place && is_known(log, index, from.term)) {
            incoming->known++;
            continue;
        }
        struct cached_entry *cached = cached_entry_create(index, from.term, from.bytes.size);
        if (cached == NULL)
            return STATUS_NO_MEMORY;
        bytes_copy(cached->bytes, from.bytes);
        log->accepted[place] = cached;
    }
    return STATUS_OK;
}

/* Raft has taken the entries from `first` on. */
static void accept(struct replicated_log *log, const struct incoming *incoming, unsigned first)
{
    uint64_t index = incoming->message.mark.index + first + 1;
    struct entry entry;

    log_raft_cut(log, index);
    for (unsigned i = first; i < incoming->count; i++) {
        struct cached_entry *cached = log->accepted[i];
        ASSERT(cached != NULL && cached->index == incoming->message.mark.index + i + 1);
        log->accepted[i] = NULL;
        enum status status = entry_decode(cached_entry_bytes(cached), &entry);
        ASSERT(status == STATUS_OK); /* it was, in incoming_take() */
        log_clock_observe(&log->clock, entry.log_time_ns);
        log_extent_add(log, cached->index, cached->size);
        entry_cache_put(&log->cache, cached);
    }
    for (unsigned m = 0; m < incoming->memberships_count; m++) {
        unsigned place = incoming->membership_places[m];
        if (place < first)
            continue;
        memberships_add(&log->memberships, incoming->message.mark.index + place + 1,
                        &log->memberships_in[m]);
        log->membership_version++;
    }
}

static void receive_append(struct replicated_log *log, const struct peer_message *message)
{
    struct incoming incoming = {.message = to_raft(message)};
    unsigned accepted_from;

    enum status status = incoming_take(log, message, &incoming);
    if (status == STATUS_OK)
        status = entry_cache_reserve(&log->cache, incoming.count);
    if (status == STATUS_OK)
        status = memberships_reserve(&log->memberships, incoming.memberships_count);
    if (status != STATUS_OK) {
        incoming_free(log, incoming.count);
        if (status == STATUS_UNSUPPORTED)
            tell_newer(log, message->from);
        log->hostile_count += status == STATUS_MALFORMED;
        return;
    }
    incoming.message.entries = log->incoming;
    incoming.message.entries_count = incoming.count;
    status = raft_step(log->raft, log_now_ns(log), &incoming.message, &accepted_from);
    if (status == STATUS_OK && accepted_from < incoming.count) {
        ASSERT(accepted_from >= incoming.known);
        incoming_free(log, accepted_from);
        accept(log, &incoming, accepted_from);
    } else {
        incoming_free(log, incoming.count);
    }
    log_raft_follow(log);
}

static void receive_raft(struct replicated_log *log, const struct peer_message *message)
{
    unsigned accepted_from;

    if (log->failed)
        return;
    if (log->raft == NULL) {
        mend_heard(log->mend, message);
        return;
    }
    if (log->mend != NULL && !mend_permits(log->mend, message))
        return;
    if (message->kind == PEER_APPEND) {
        receive_append(log, message);
    } else {
        const struct raft_message stepped = to_raft(message);
        enum status status = raft_step(log->raft, log_now_ns(log), &stepped, &accepted_from);
        ASSERT(status == STATUS_OK); /* only entries take memory */
        log_raft_follow(log);
    }
    log_raft_tell(log);
}

void log_receive_message(void *context, uint64_t from, struct bytes bytes)
{
    struct replicated_log *log = context;
    struct peer_message message;

    enum status status = peer_decode(bytes, &message);
    if (status != STATUS_OK || message.from != from || message.to != log->self) {
        log->hostile_count++;
        return;
    }
    if (peer_kind_is_raft(message.kind)) {
        receive_raft(log, &message);
    } else if (message.kind == PEER_MEND_ASK) {
        mend_asked(log, &message);
    } else if (message.kind == PEER_MEND_ANSWER) {
        if (log->mend != NULL)
            mend_answered(log->mend, &message);
    } else if (log->options.received != NULL) {
        log->options.received(log->options.context, from, message.kind, message.rest);
    }
}

static void note_connected(struct replicated_log *log, uint64_t member, bool connected)
{
    unsigned at = 0;
    while (at < log->connected_count && log->connected[at] != member)
        at++;
    if (connected && at == log->connected_count && at < log_peers_max)
        log->connected[log->connected_count++] = member;
    if (!connected && at < log->connected_count)
        log->connected[at] = log->connected[--log->connected_count];
}

void log_receive_event(void *context, uint64_t member, enum bus_event event)
{
    struct replicated_log *log = context;

    if (event != BUS_ROOM)
        note_connected(log, member, event == BUS_CONNECTED);
    struct log_peer *peer = log_send_peer(log, member);
    if (event == BUS_DISCONNECTED && peer != NULL && peer->is_guest)
        log_send_guest_leaves(peer);
    if (log->raft != NULL && event == BUS_DISCONNECTED) {
        raft_unreachable(log->raft, member);
        log_raft_follow(log);
    }
    if (log->mend != NULL && event == BUS_CONNECTED)
        mend_connected(log->mend, member);
}
