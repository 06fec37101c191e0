/* SPDX-License-Identifier: Apache-2.0 */
/* Rounds of heartbeats, and what a quorum's answers to them allow: to go on leading (6.2), to
 * confirm reads (6.4), to read without asking while the lease lasts (6.4.1).
 *
 * A round's number is the time at which it was begun, made to rise: so an answer that repeats it
 * says when its question was asked, at the earliest, and no table of rounds is kept. */
#include "replication/raft/raft_internal.h"

void raft_read_begin_round(struct raft *raft)
{
    ASSERT(raft->role == RAFT_LEADER);
    uint64_t round = raft->now_ns > raft->round ? raft->now_ns : raft->round + 1;
    uint64_t ahead = round - raft->now_ns;
    if (ahead > raft->round_ahead_ns)
        raft->round_ahead_ns = ahead;
    raft->round = round;
    raft->round_open = true;
    for (unsigned i = 0; i < raft->members_count; i++) {
        const struct raft_member *member = &raft->members[i];
        /* The member holds its match: it may commit that far without a look at its log. */
        uint64_t commit =
            raft->commit_index < member->match_index ? raft->commit_index : member->match_index;
        raft_outbox_put(
            raft, &(struct raft_message){
                      .type = RAFT_HEARTBEAT, .to = member->id, .commit = commit, .round = round});
    }
}

static const struct raft_member *find(const struct raft *raft, uint64_t id)
{
    for (unsigned i = 0; i < raft->members_count; i++)
        if (raft->members[i].id == id)
            return &raft->members[i];
    return NULL;
}

static uint64_t round_of(const struct raft *raft, uint64_t id)
{
    const struct raft_member *member = find(raft, id);
    if (id == raft->options.self)
        return raft->round;
    return member == NULL ? 0 : member->round;
}

static uint64_t contact_of(const struct raft *raft, uint64_t id)
{
    const struct raft_member *member = find(raft, id);
    if (id == raft->options.self)
        return raft->now_ns;
    if (member == NULL)
        return 0;
    return member->answered_ns > member->since_ns ? member->answered_ns : member->since_ns;
}

uint64_t raft_read_quorum_contact_ns(const struct raft *raft)
{
    return raft_quorum_value(raft, contact_of);
}

bool raft_may_read(const struct raft *raft)
{
    /* 6.4, step 1: only with an entry of its own term does a leader know what is committed. */
    return raft->role == RAFT_LEADER &&
           (raft->applied_index >= raft->noop_index || PLANTED(raft_read_early));
}

bool raft_lease_holds(const struct raft *raft, uint64_t now_ns)
{
    if (!raft_may_read(raft))
        return false;
    /* Nobody else can be elected. */
    if (raft_configuration_is_alone(raft_newest_configuration(raft), raft->options.self))
        return true;
    /* 6.4.1: whom leadership is handed to does not wait for the lease to end. */
    if (raft->options.lease_off || raft->lease_dropped)
        return false;
    uint64_t round = raft_quorum_value(raft, round_of);
    if (round == 0)
        return false;
    /* From when the round was begun, not from when it was answered: each of the quorum heard of the
     * leader no earlier than that, and helps nobody else for an election timeout by its own clock,
     * which may be faster by so much. */
    uint64_t timeout = raft->options.election_timeout_ns;
    uint64_t margin = timeout / 1000000 * raft->options.clock_bound_ppm +
                      timeout % 1000000 * raft->options.clock_bound_ppm / 1000000 + 1;
    uint64_t begun = round - raft->round_ahead_ns;
    if (PLANTED(raft_lease_from_answer))
        begun = raft_quorum_value(raft, contact_of);
    if (PLANTED(raft_lease_unbounded))
        margin = 0;
    uint64_t now = now_ns > raft->now_ns ? now_ns : raft->now_ns;
    ASSERT(margin < timeout && round >= raft->round_ahead_ns);
    return now < begun + timeout - margin;
}

enum status raft_confirm(struct raft *raft, uint64_t now_ns, uint64_t *round)
{
    *round = 0;
    raft_see_time(raft, now_ns);
    if (raft->role != RAFT_LEADER)
        return STATUS_NOT_LEADER;
    /* A round of which nothing has left yet is begun after this call as well. */
    if ((!raft->round_open && !PLANTED(raft_confirm_old_round)) || raft->members_count == 0)
        raft_read_begin_round(raft);
    raft->confirm_wanted = raft->round;
    *round = raft->round;
    return STATUS_OK;
}

bool raft_take_confirmed(struct raft *raft, uint64_t *round)
{
    *round = 0;
    if (raft->role != RAFT_LEADER || raft->confirm_told >= raft->confirm_wanted)
        return false;
    uint64_t answered = raft_quorum_value(raft, round_of);
    ASSERT(answered <= raft->round);
    if (answered <= raft->confirm_told)
        return false;
    raft->confirm_told = answered;
    *round = answered;
    return true;
}
