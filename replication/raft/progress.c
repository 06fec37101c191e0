/* SPDX-License-Identifier: Apache-2.0 */
/* The leader's view of the other members, and what it sends them.
 *
 *     PROBE      one append at a time, until the place where the logs agree is found
 *     REPLICATE  appends follow one another, bounded by count and bytes (10.2.1)
 *     SNAPSHOT   nothing; the owner brings a snapshot
 *
 * PROBE -> REPLICATE when an append is accepted; REPLICATE -> PROBE when one is rejected, lost, or
 * the way is cut; either -> SNAPSHOT when what comes next is not in the log any more; SNAPSHOT ->
 * PROBE when the snapshot was sent, or the member is seen to hold enough. */
#include "replication/raft/raft_internal.h"

#include <string.h>

static void forget_inflight(struct raft_member *member)
{
    member->inflight_first = 0;
    member->inflight_count = 0;
    member->inflight_size = 0;
}

static void probe(struct raft_member *member, uint64_t next_index, bool paused)
{
    ASSERT(next_index > member->match_index);
    member->state = RAFT_PROBE;
    member->next_index = next_index;
    member->commit_told = 0;
    member->paused = paused;
    forget_inflight(member);
}

static void member_init(struct raft *raft, struct raft_member *member, uint64_t id)
{
    struct raft_inflight *inflight = member->inflight;

    *member = (struct raft_member){.id = id,
                                   .state = RAFT_PROBE,
                                   .next_index = raft->log.last_index + 1,
                                   .since_ns = raft->now_ns,
                                   .inflight = inflight};
}

struct raft_member *raft_progress_find(struct raft *raft, uint64_t id)
{
    for (unsigned i = 0; i < raft->members_count; i++)
        if (raft->members[i].id == id)
            return &raft->members[i];
    return NULL;
}

void raft_progress_reset(struct raft *raft)
{
    raft->members_count = 0;
    raft_progress_follow_configuration(raft);
}

void raft_progress_follow_configuration(struct raft *raft)
{
    uint64_t ids[raft_members_max];
    const struct raft_configuration *configuration = raft_newest_configuration(raft);
    unsigned ids_count = raft_configuration_members(configuration, ids);
    unsigned kept = 0;

    for (unsigned i = 0; i < raft->members_count; i++) {
        if (!raft_configuration_has(configuration, raft->members[i].id))
            continue;
        /* Exchanged, so that each ring of messages in flight stays owned by one place. */
        struct raft_member moved = raft->members[kept];
        raft->members[kept] = raft->members[i];
        raft->members[i] = moved;
        kept++;
    }
    raft->members_count = kept;
    for (unsigned i = 0; i < ids_count; i++) {
        if (ids[i] == raft->options.self || raft_progress_find(raft, ids[i]) != NULL)
            continue;
        ASSERT(raft->members_count < raft_members_max);
        member_init(raft, &raft->members[raft->members_count++], ids[i]);
    }
}

/* ---- Commitment ---- */

static uint64_t match_of(const struct raft *raft, uint64_t id)
{
    /* 10.2.1: the leader's own write counts when it is done, like any other's. */
    if (id == raft->options.self)
        return PLANTED(raft_commit_own_early) ? raft->log.last_index : raft->log.durable_index;
    for (unsigned i = 0; i < raft->members_count; i++)
        if (raft->members[i].id == id)
            return raft->members[i].match_index;
    return 0;
}

void raft_progress_commit(struct raft *raft)
{
    uint64_t term;

    ASSERT(raft->role == RAFT_LEADER);
    uint64_t index = raft_quorum_value(raft, match_of);
    if (index <= raft->commit_index)
        return;
    bool found = raft_log_term_at(&raft->log, index, &term);
    ASSERT(found);
    /* 3.6.2 (5.4.2 and figure 8 of the paper): an entry of an older term that a quorum holds may
     * yet be superseded. It is committed by one of the own term above it. */
    if (term != raft->hard_state.term && !PLANTED(raft_commit_old_term))
        return;
    raft_commit(raft, index);
    raft_membership_committed(raft);
}

/* ---- Answers ---- */

static const struct raft_inflight *newest_inflight(const struct raft *raft,
                                                   const struct raft_member *member)
{
    ASSERT(member->inflight_count > 0);
    unsigned place = member->inflight_first + member->inflight_count - 1;
    return &member->inflight[place % raft->options.inflight_count_max];
}

static void free_inflight(struct raft *raft, struct raft_member *member)
{
    while (member->inflight_count > 0) {
        const struct raft_inflight *first = &member->inflight[member->inflight_first];
        if (first->last_index > member->match_index)
            break;
        member->inflight_size -= first->size;
        member->inflight_first = (member->inflight_first + 1) % raft->options.inflight_count_max;
        member->inflight_count--;
    }
}

/* What the member needs next is not in the log any more. */
static void want_snapshot(struct raft_member *member)
{
    if (member->state == RAFT_SNAPSHOT)
        return;
    member->state = RAFT_SNAPSHOT;
    member->snapshot_due = true;
    member->snapshot_failed = false;
    forget_inflight(member);
}

static void rejected(struct raft *raft, struct raft_member *member, struct raft_mark hint)
{
    /* It was sent before what has been answered since. */
    if (hint.index < member->match_index || member->state == RAFT_SNAPSHOT)
        return;
    struct raft_mark candidate = raft_log_candidate(&raft->log, hint);
    uint64_t next = candidate.index + 1;
    member->searching = true;
    /* Below the base nothing can be compared. */
    if (hint.index < raft->log.base.index ||
        (candidate.index == raft->log.base.index && candidate.term > hint.term)) {
        want_snapshot(member);
        return;
    }
    if (next > member->next_index)
        next = member->next_index;
    if (next <= member->match_index)
        next = member->match_index + 1;
    probe(member, next, false);
}

static void accepted(struct raft *raft, struct raft_member *member, struct raft_mark mark)
{
    if (mark.index > member->match_index)
        member->match_index = mark.index;
    if (member->state == RAFT_SNAPSHOT && member->match_index < raft->log.base.index)
        return;
    if (member->state != RAFT_REPLICATE) {
        /* What the probe carried may be on its way to the disk there, and need not be sent again;
         * were it lost, the next append would be rejected. */
        if (member->inflight_count > 0)
            member->next_index = newest_inflight(raft, member)->last_index + 1;
        member->state = RAFT_REPLICATE;
    }
    free_inflight(raft, member);
    if (member->next_index <= member->match_index)
        member->next_index = member->match_index + 1;
    member->searching = false;
    raft_progress_commit(raft);
    if (raft->role == RAFT_LEADER)
        raft_transfer_proceed(raft);
}

/* An answer in the leader's term. Marks that are not in its log cannot be. */
static bool is_possible(const struct raft *raft, const struct raft_message *message)
{
    if (message->round > raft->round)
        return false;
    if (message->reject)
        return message->mark.index < RAFT_NUMBER_MAX && message->mark.term <= raft->hard_state.term;
    return message->mark.index <= raft->log.base.index || raft_log_has(&raft->log, message->mark);
}

void raft_progress_appended(struct raft *raft, const struct raft_message *message)
{
    struct raft_member *member = raft_progress_find(raft, message->from);

    if (member == NULL)
        return;
    if (!is_possible(raft, message)) {
        raft->statistics.dropped_count++;
        return;
    }
    member->answered_ns = raft->now_ns;
    if (message->reject)
        rejected(raft, member, message->mark);
    else
        accepted(raft, member, message->mark);
}

/* Whether the newest message in flight had time enough to come, and its answer to come back. */
static bool is_overdue(const struct raft *raft, const struct raft_member *member)
{
    return member->inflight_count > 0 && raft->now_ns - newest_inflight(raft, member)->sent_ns >=
                                             raft->options.election_timeout_ns;
}

/* The member's log, written or not, is the leader's up to `reaches`. */
static void compare(struct raft *raft, struct raft_member *member, uint64_t reaches)
{
    uint64_t known = reaches > member->match_index ? reaches : member->match_index;

    if (member->state == RAFT_SNAPSHOT) {
        if (reaches >= raft->log.base.index)
            probe(member, known + 1, false);
    } else if (member->state == RAFT_REPLICATE && reaches < member->match_index) {
        /* It has started anew, and does not know yet how far its log is the leader's. */
        probe(member, member->match_index + 1, false);
    } else if (member->state == RAFT_REPLICATE && is_overdue(raft, member)) {
        /* What was sent beyond that is lost; or all has come, and the answer is lost or waits for a
         * slow disk: then the member is asked again, without entries. */
        member->searching = known + 1 >= member->next_index;
        probe(member, known + 1, false);
    }
}

void raft_progress_heard(struct raft *raft, const struct raft_message *message)
{
    struct raft_member *member = raft_progress_find(raft, message->from);

    if (member == NULL)
        return;
    if (!is_possible(raft, message) || message->reject) {
        raft->statistics.dropped_count++;
        return;
    }
    member->answered_ns = raft->now_ns;
    if (message->round < member->round)
        return;
    member->round = message->round;
    compare(raft, member, message->mark.index);
}

/* With each heartbeat, what waits for an answer that may have been lost is tried again. */
void raft_progress_heartbeat(struct raft *raft)
{
    for (unsigned i = 0; i < raft->members_count; i++) {
        struct raft_member *member = &raft->members[i];
        /* A probe that carried entries is not repeated with them: they may have come, and be on
         * their way to a slow disk. */
        if (member->state == RAFT_PROBE && member->paused && member->inflight_count > 0)
            member->searching = true;
        member->paused = false;
        if (member->state == RAFT_SNAPSHOT && member->snapshot_failed) {
            member->snapshot_failed = false;
            member->snapshot_due = true;
        }
    }
}

/* ---- What is to be sent ---- */

static bool has_room(const struct raft *raft, const struct raft_member *member)
{
    return member->inflight_count < raft->options.inflight_count_max &&
           (member->inflight_count == 0 || member->inflight_size < raft->options.inflight_size_max);
}

/* How far the next append may reach: its mark, where only the commit index is news. False: there is
 * nothing to send. */
static bool next_append(const struct raft *raft, const struct raft_member *member, uint64_t *last)
{
    *last = member->next_index - 1;
    if (member->state == RAFT_PROBE) {
        if (!member->searching)
            *last = raft->log.last_index;
        return !member->paused;
    }
    if (member->next_index <= raft->log.last_index) {
        *last = raft->log.last_index;
        return has_room(raft, member);
    }
    return member->commit_told < raft->commit_index;
}

bool raft_take_append(struct raft *raft, uint64_t now_ns, uint64_t id, struct raft_append *append)
{
    struct raft_member *member = raft_progress_find(raft, id);

    *append = (struct raft_append){0};
    raft_see_time(raft, now_ns);
    if (raft->role != RAFT_LEADER || member == NULL || member->state == RAFT_SNAPSHOT)
        return false;
    if (member->next_index <= raft->log.base.index) {
        want_snapshot(member);
        return false;
    }
    uint64_t last;
    if (!next_append(raft, member, &last))
        return false;
    ASSERT(raft_hard_state_is_durable(raft));
    ASSERT(last >= member->next_index - 1 && last <= raft->log.last_index);
    bool answered = member->state == RAFT_PROBE || last >= member->next_index;
    append->message =
        (struct raft_message){.type = RAFT_APPEND,
                              .from = raft->options.self,
                              .to = id,
                              .term = raft->hard_state.term,
                              .mark = raft_log_mark(&raft->log, member->next_index - 1),
                              .commit = raft->commit_index,
                              .round = answered ? raft->round : 0};
    append->last_index = last;
    append->size_max = raft->options.append_size_max;
    return true;
}

void raft_append_sent(struct raft *raft, uint64_t now_ns, uint64_t id,
                      const struct raft_append *append, unsigned entries_count, size_t size)
{
    struct raft_member *member = raft_progress_find(raft, id);
    const struct raft_message *message = &append->message;

    raft_see_time(raft, now_ns);
    ASSERT(entries_count <= append->last_index - message->mark.index);
    /* The entries could not be had: nothing was sent. */
    if (entries_count == 0 && append->last_index > message->mark.index)
        return;
    /* What has happened since it was taken decides. */
    if (raft->role != RAFT_LEADER || member == NULL || message->term != raft->hard_state.term ||
        member->next_index != message->mark.index + 1 || member->state == RAFT_SNAPSHOT)
        return;
    /* The member follows the commit index as far as it knows that its log is the leader's. */
    uint64_t last = message->mark.index + entries_count;
    uint64_t told = message->commit < last ? message->commit : last;
    if (told > member->commit_told)
        member->commit_told = told;
    if (member->state == RAFT_PROBE) {
        member->paused = true;
        forget_inflight(member);
    }
    if (entries_count == 0)
        return;
    ASSERT(member->inflight_count < raft->options.inflight_count_max);
    unsigned place =
        (member->inflight_first + member->inflight_count) % raft->options.inflight_count_max;
    member->inflight[place] =
        (struct raft_inflight){.last_index = last, .sent_ns = raft->now_ns, .size = size};
    member->inflight_count++;
    member->inflight_size += size;
    if (member->state == RAFT_REPLICATE)
        member->next_index = last + 1;
}

void raft_unreachable(struct raft *raft, uint64_t id)
{
    struct raft_member *member = raft_progress_find(raft, id);

    if (raft->role != RAFT_LEADER || member == NULL || member->state == RAFT_SNAPSHOT)
        return;
    probe(member, member->match_index + 1, true);
}

/* ---- Snapshots ---- */

bool raft_take_snapshot(struct raft *raft, uint64_t *id)
{
    *id = 0;
    if (raft->role != RAFT_LEADER)
        return false;
    for (unsigned i = 0; i < raft->members_count; i++) {
        struct raft_member *member = &raft->members[i];
        if (member->state != RAFT_SNAPSHOT && member->next_index <= raft->log.base.index)
            want_snapshot(member);
        if (member->state == RAFT_SNAPSHOT && member->snapshot_due) {
            member->snapshot_due = false;
            *id = member->id;
            return true;
        }
    }
    return false;
}

void raft_snapshot_sent(struct raft *raft, uint64_t now_ns, uint64_t id, struct raft_mark mark,
                        bool ok)
{
    struct raft_member *member = raft_progress_find(raft, id);

    raft_see_time(raft, now_ns);
    if (raft->role != RAFT_LEADER || member == NULL || member->state != RAFT_SNAPSHOT)
        return;
    ASSERT(mark.index <= raft->commit_index);
    if (!ok) {
        member->snapshot_failed = true;
        return;
    }
    uint64_t next = (mark.index > member->match_index ? mark.index : member->match_index) + 1;
    member->searching = false;
    probe(member, next, false);
}

/* ---- How it stands ---- */

bool raft_progress(const struct raft *raft, uint64_t id, struct raft_progress *progress)
{
    *progress = (struct raft_progress){0};
    if (raft->role != RAFT_LEADER)
        return false;
    if (id == raft->options.self) {
        progress->match_index = raft->log.durable_index;
        progress->next_index = raft->log.last_index + 1;
        progress->answered_ns = raft->now_ns;
        return true;
    }
    for (unsigned i = 0; i < raft->members_count; i++) {
        const struct raft_member *member = &raft->members[i];
        if (member->id != id)
            continue;
        progress->match_index = member->match_index;
        progress->next_index = member->next_index;
        progress->answered_ns = member->answered_ns;
        progress->probing = member->state == RAFT_PROBE;
        progress->snapshot_wanted = member->state == RAFT_SNAPSHOT;
        return true;
    }
    return false;
}
