/* SPDX-License-Identifier: Apache-2.0 */
/* What this log holds, for another that mends its own. */
#include "replication/replicated_log_internal.h"

void mend_asked(struct replicated_log *log, const struct peer_message *message)
{
    struct log_peer *peer = log_send_peer(log, message->from);
    struct bytes rest = message->rest;
    struct peer_place place;

    /* A log that is old may know an old membership alone, and not who asks; nobody else may hold
     * what that one lost, or say that it was never held. */
    if (peer == NULL)
        peer = log_send_guest(log, message->from);
    if (peer == NULL || peer->leaving)
        return;
    peer->mend_first = 0;
    peer->mend_count = 0;
    while (peer_place_next(&rest, &place))
        peer->mend_places[peer->mend_count++] = place;
}

static bool term_at(const struct replicated_log *log, uint64_t index, uint64_t *term)
{
    return log->raft != NULL ? raft_term_at(log->raft, index, term)
                             : wal_term_at(log->wal, index, term);
}

static struct peer_place last_of(const struct replicated_log *log)
{
    if (log->raft != NULL) {
        struct raft_mark last = raft_last(log->raft);
        return (struct peer_place){last.index, last.term};
    }
    struct wal_mark last = wal_last(log->wal);
    return (struct peer_place){last.index, last.term};
}

static uint64_t base_of(const struct replicated_log *log)
{
    return log->raft != NULL ? raft_base(log->raft).index : log->recovered.base.index;
}

/* What can be said of it without its bytes. */
static enum peer_mend judge(const struct replicated_log *log, struct peer_place place)
{
    struct wal_suspect suspect = wal_suspect(log->wal);
    struct wal_mark mark;
    enum wal_hole hole;
    uint64_t term;

    if (place.index == 0)
        return PEER_MEND_END;
    if (place.index <= base_of(log))
        return PEER_MEND_RELEASED;
    /* A tail of unknown extent may have superseded what stands anywhere above the base. */
    bool held = term_at(log, place.index, &term);
    if (!held || term != place.term)
        return suspect.is_unknown && (!held || term < place.term) ? PEER_MEND_SUSPECT
                                                                  : PEER_MEND_NEVER;
    if (wal_hole_next(log->wal, place.index - 1, &mark, &hole) && mark.index == place.index)
        return hole == WAL_HOLE_SUSPECT ? PEER_MEND_SUSPECT : PEER_MEND_CORRUPT;
    return PEER_MEND_HAVE;
}

static struct peer_message answer_to(const struct replicated_log *log, uint64_t member,
                                     struct peer_place place, enum peer_mend mend)
{
    return (struct peer_message){.kind = PEER_MEND_ANSWER,
                                 .to = member,
                                 .mark = place,
                                 .term = wal_hard_state(log->wal).term,
                                 .mend = mend};
}

/* False: it has to be read. */
static bool find_bytes(struct replicated_log *log, struct log_peer *peer, struct peer_place place,
                       struct bytes *bytes)
{
    const struct cached_entry *cached = entry_cache_find(&log->cache, place.index);
    const struct wal_entry *read = log_reader_find(&peer->mend_reader, place.index);

    if (cached != NULL)
        *bytes = cached_entry_bytes(cached);
    else if (read != NULL && read->term == place.term)
        *bytes = read->bytes;
    else
        return false;
    return true;
}

/* False: not now. */
static bool answer_next(struct replicated_log *log, struct log_peer *peer)
{
    struct peer_place place = peer->mend_places[peer->mend_first];
    struct bytes bytes = {0};

    enum peer_mend mend = judge(log, place);
    if (mend == PEER_MEND_END)
        place = last_of(log);
    if (mend == PEER_MEND_HAVE && !find_bytes(log, peer, place, &bytes)) {
        if (!peer->mend_reader.reading) {
            log_reader_drop(&peer->mend_reader);
            log_reader_start(&peer->mend_reader, place.index, place.index);
        }
        return false;
    }
    const struct peer_message answer = answer_to(log, peer->id, place, mend);
    return log_send_message(log, &answer, bytes.size == 0 ? BUS_CONTROL : BUS_BULK, bytes);
}

void mend_answer_turn(struct replicated_log *log)
{
    for (unsigned i = 0; i < log->peers_used; i++) {
        struct log_peer *peer = &log->peers[i];
        if (peer->id == 0 || peer->leaving || peer->mend_count == 0)
            continue;
        while (peer->mend_count > 0 && answer_next(log, peer)) {
            peer->mend_first++;
            peer->mend_count--;
        }
        if (peer->mend_count == 0)
            log_reader_drop(&peer->mend_reader);
        if (peer->mend_count == 0 && peer->is_guest)
            log_send_guest_leaves(peer);
    }
}
