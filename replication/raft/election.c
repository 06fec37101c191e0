/* SPDX-License-Identifier: Apache-2.0 */
/* Roles, votes, and the time to stand for election (3.4, 3.6.1, 4.2.3, 9.6).
 *
 *     FOLLOWER -- timer --> CANDIDATE_PREVOTE -- quorum would --> CANDIDATE -- quorum does -->
 * LEADER
 *         \------------- the leader says: take over (3.10) ----------^
 *
 * and back to FOLLOWER from each by a higher term, or by word of the term's leader. Whoever is
 * asked for a vote does not look whether it, or the candidate, is in its own configuration: that
 * may be older than the candidate's (4.2.2). The candidate counts those who are voters in its own.
 */
#include "replication/raft/raft_internal.h"

/* 4.2.2: a member that its newest configuration leaves out may be needed until that is committed:
 * others could lack the votes to be elected, for its log is longer than theirs. It does not count
 * its own vote. */
static bool is_elector(const struct raft *raft)
{
    const struct raft_log *log = &raft->log;
    const struct raft_configuration_at *newest = raft_log_configuration(log);

    if (raft_configuration_is_voter(&newest->configuration, raft->options.self))
        return true;
    return newest->index > raft->commit_index && log->configurations_count > 1 &&
           raft_configuration_is_voter(&newest[-1].configuration, raft->options.self);
}

void raft_election_restart_timer(struct raft *raft)
{
    uint64_t timeout = raft->options.election_timeout_ns;

    raft->election_deadline_ns =
        raft->now_ns + timeout + generator_below(&raft->generator, timeout);
}

void raft_election_start(struct raft *raft)
{
    ASSERT(raft->role == RAFT_FOLLOWER);
    raft_election_restart_timer(raft);
    /* Alone there is nobody to wait for. */
    if (raft_configuration_is_alone(raft_newest_configuration(raft), raft->options.self))
        raft->election_deadline_ns = raft->now_ns;
}

uint64_t raft_election_deadline_ns(const struct raft *raft)
{
    /* Who does not stand has but to forget a leader that fell silent. */
    bool waits = raft->leader != 0 || raft->role != RAFT_FOLLOWER || is_elector(raft);
    return waits ? raft->election_deadline_ns : UINT64_MAX;
}

bool raft_election_in_lease(const struct raft *raft)
{
    return raft->role == RAFT_LEADER ||
           raft->now_ns - raft->contact_ns < raft->options.election_timeout_ns;
}

/* Who may stand: one whose log is what it says, on stable storage too. With a snapshot or
 * entries on their way to the disk its last entry could be another after a crash. */
bool raft_election_may_stand(const struct raft *raft)
{
    return !raft->held && raft->role != RAFT_LEADER && is_elector(raft) &&
           raft->log.durable_index == raft->log.last_index &&
           raft->hard_state.term + 1 < RAFT_NUMBER_MAX;
}

void raft_step_down(struct raft *raft)
{
    if (raft->role == RAFT_LEADER)
        raft->statistics.stepped_down_count++;
    /* A follower's timer runs on when it only hears of a newer term: whoever cannot win is not to
     * keep others from standing. */
    if (raft->role != RAFT_FOLLOWER)
        raft_election_restart_timer(raft);
    raft->role = RAFT_FOLLOWER;
    raft->leader = 0;
    raft->members_count = 0;
    raft->transfer_to = 0;
    raft->confirm_wanted = 0;
    raft->confirm_told = 0;
    raft->transfer_vote = false;
    raft->votes_count = 0;
    raft_outbox_clear(raft);
}

void raft_become_follower(struct raft *raft, uint64_t term, uint64_t leader)
{
    ASSERT(term >= raft->hard_state.term);
    ASSERT(leader != raft->options.self);
    if (term > raft->hard_state.term) {
        /* 3.3: a term begins without a vote. The vote of an older one is never needed again. */
        raft_step_down(raft);
        raft_begin_term(raft, (struct raft_hard_state){.term = term});
    } else if (raft->role != RAFT_FOLLOWER) {
        raft_step_down(raft);
    }
    if (leader != 0) {
        ASSERT(raft->term_leader == 0 || raft->term_leader == leader);
        raft->leader = leader;
        raft->term_leader = leader;
    }
}

static void become_leader(struct raft *raft)
{
    ASSERT(raft->role == RAFT_CANDIDATE);
    ASSERT(raft_hard_state_is_durable(raft) && raft->hard_state.vote == raft->options.self);
    ASSERT(raft->log.durable_index == raft->log.last_index);
    raft->role = RAFT_LEADER;
    ASSERT(raft->term_leader == 0);
    raft->leader = raft->options.self;
    raft->term_leader = raft->options.self;
    raft->statistics.won_count++;
    raft->lease_dropped = false;
    raft->transfer_to = 0;
    raft->round_ahead_ns = 0;
    raft->round_open = false;
    raft->confirm_wanted = 0;
    raft->confirm_told = 0;
    raft_outbox_clear(raft);
    raft_progress_reset(raft);
    raft->heartbeat_deadline_ns = raft->now_ns + raft->options.heartbeat_ns;
    raft_read_begin_round(raft);
    /* 6.4: by an entry of its own term it learns what is committed. */
    raft->noop_index = raft->log.last_index + 1;
    raft_append_own(raft, NULL);
}

/* ---- Standing ---- */

static void ask_voters(struct raft *raft, enum raft_message_type type, uint64_t term)
{
    uint64_t members[raft_members_max];
    const struct raft_configuration *configuration = raft_newest_configuration(raft);
    unsigned count = raft_configuration_members(configuration, members);

    for (unsigned i = 0; i < count; i++)
        if (members[i] != raft->options.self &&
            raft_configuration_is_voter(configuration, members[i]))
            raft_outbox_put(raft, &(struct raft_message){.type = type,
                                                         .to = members[i],
                                                         .term = term,
                                                         .mark = raft_log_last(&raft->log),
                                                         .transfer = raft->transfer_vote});
}

static void record_vote(struct raft *raft, uint64_t from, bool granted)
{
    for (unsigned i = 0; i < raft->votes_count; i++)
        if (raft->votes[i].from == from)
            return;
    if (!raft_configuration_is_voter(raft_newest_configuration(raft), from))
        return;
    ASSERT(raft->votes_count < 2 * raft_voters_max);
    raft->votes[raft->votes_count++] = (struct raft_vote){.from = from, .granted = granted};
}

static uint64_t granted_of(const struct raft *raft, uint64_t id)
{
    for (unsigned i = 0; i < raft->votes_count; i++)
        if (raft->votes[i].from == id)
            return raft->votes[i].granted;
    return 0;
}

static uint64_t possible_of(const struct raft *raft, uint64_t id)
{
    for (unsigned i = 0; i < raft->votes_count; i++)
        if (raft->votes[i].from == id)
            return raft->votes[i].granted;
    return 1;
}

static void stand(struct raft *raft, bool transfer)
{
    ASSERT(raft_election_may_stand(raft));
    raft->role = RAFT_CANDIDATE;
    raft->statistics.elections_count++;
    raft_begin_term(raft, (struct raft_hard_state){.term = raft->hard_state.term + 1,
                                                   .vote = raft->options.self});
    raft->transfer_vote = transfer;
    raft->votes_count = 0;
    raft_election_restart_timer(raft);
    ask_voters(raft, RAFT_VOTE, raft->hard_state.term);
}

static void count_votes(struct raft *raft)
{
    if (raft_quorum_value(raft, granted_of) == 1) {
        if (raft->role == RAFT_CANDIDATE)
            become_leader(raft);
        else if (raft_election_may_stand(raft))
            stand(raft, false);
    } else if (raft_quorum_value(raft, possible_of) == 0) {
        raft_step_down(raft);
    }
}

static void stand_for_prevote(struct raft *raft)
{
    raft->role = RAFT_CANDIDATE_PREVOTE;
    raft->leader = 0;
    raft->transfer_vote = false;
    raft->votes_count = 0;
    raft_election_restart_timer(raft);
    ask_voters(raft, RAFT_PREVOTE, raft->hard_state.term + 1);
    record_vote(raft, raft->options.self, true);
    count_votes(raft);
}

void raft_election_tick(struct raft *raft)
{
    ASSERT(raft->role != RAFT_LEADER);
    if (raft->now_ns < raft->election_deadline_ns)
        return;
    /* Room for what a leader appends by itself, so that it never lacks it. */
    if (!raft_election_may_stand(raft) || raft_log_reserve(&raft->log, 1, 2) != STATUS_OK) {
        if (raft->role != RAFT_FOLLOWER)
            raft_step_down(raft);
        raft->leader = 0;
        raft->election_deadline_ns = raft->now_ns + raft->options.heartbeat_ns;
        return;
    }
    /* Alone there is nobody to ask (and nobody who could say no). */
    if (raft_configuration_is_alone(raft_newest_configuration(raft), raft->options.self))
        stand(raft, false);
    else
        stand_for_prevote(raft);
}

void raft_election_transfer(struct raft *raft)
{
    if (raft->role == RAFT_FOLLOWER && raft_election_may_stand(raft) &&
        raft_log_reserve(&raft->log, 1, 2) == STATUS_OK)
        stand(raft, true);
}

void raft_election_voted(struct raft *raft)
{
    if (raft->role != RAFT_CANDIDATE || !raft_hard_state_is_durable(raft))
        return;
    record_vote(raft, raft->options.self, true);
    count_votes(raft);
}

/* ---- Being asked ---- */

/* 3.6.1: whose last entry has the higher term, or the same and a higher index. */
static bool is_up_to_date(const struct raft *raft, struct raft_mark theirs)
{
    struct raft_mark own = raft_log_last(&raft->log);

    if (PLANTED(raft_vote_any_log))
        return true;
    return theirs.term > own.term || (theirs.term == own.term && theirs.index >= own.index);
}

/* 9.6: whether this member would vote so. Neither its term nor its vote changes, and it may say yes
 * to several. */
static void ask_prevote(struct raft *raft, const struct raft_message *message)
{
    bool free = !raft_election_in_lease(raft) || PLANTED(raft_vote_in_lease);
    bool granted =
        message->term > raft->hard_state.term && free && is_up_to_date(raft, message->mark);

    raft_outbox_put(raft,
                    &(struct raft_message){.type = RAFT_PREVOTE_REPLY,
                                           .to = message->from,
                                           .term = granted ? message->term : raft->hard_state.term,
                                           .reject = !granted});
}

static void ask_vote(struct raft *raft, const struct raft_message *message)
{
    if (message->term > raft->hard_state.term) {
        /* 4.2.3, 6.4.1: whoever has heard of a leader lately helps no other, not even by taking
         * over the term, unless that leader wants it so. */
        if (raft_election_in_lease(raft) && !message->transfer && !PLANTED(raft_vote_in_lease))
            return;
        raft_become_follower(raft, message->term, 0);
    }
    bool current = message->term == raft->hard_state.term;
    bool free = raft->hard_state.vote == message->from ||
                (raft->hard_state.vote == 0 && raft->term_leader == 0);
    free = free || PLANTED(raft_vote_twice);
    bool granted = current && free && is_up_to_date(raft, message->mark);
    if (granted) {
        /* The answer waits until this is durable (raft_outbox_take). */
        raft->hard_state.vote = message->from;
        raft_election_restart_timer(raft);
    }
    raft_outbox_put(raft, &(struct raft_message){
                              .type = RAFT_VOTE_REPLY, .to = message->from, .reject = !granted});
}

void raft_election_ask(struct raft *raft, const struct raft_message *message)
{
    /* Its log is not whole: it cannot judge another's. */
    if (raft->held)
        return;
    if (message->type == RAFT_PREVOTE)
        ask_prevote(raft, message);
    else
        ask_vote(raft, message);
}

/* ---- Being answered ---- */

void raft_election_answer(struct raft *raft, const struct raft_message *message)
{
    bool prevote = message->type == RAFT_PREVOTE_REPLY;

    if (message->reject && message->term > raft->hard_state.term) {
        raft_become_follower(raft, message->term, 0);
        return;
    }
    if (PLANTED(raft_prevote_counted) && prevote && raft->role == RAFT_CANDIDATE &&
        message->term == raft->hard_state.term && raft_hard_state_is_durable(raft)) {
        record_vote(raft, message->from, !message->reject);
        count_votes(raft);
        return;
    }
    if (raft->role != (prevote ? RAFT_CANDIDATE_PREVOTE : RAFT_CANDIDATE))
        return;
    /* Nothing was asked yet: an answer is of some other origin. */
    if (!raft_hard_state_is_durable(raft)) {
        raft->statistics.dropped_count++;
        return;
    }
    /* A yes to a pre-vote names the term it was asked for; a no, the one it comes from, which is
     * not above ours here. An answer of the other kind, or to another term's question, counts for
     * nothing. */
    uint64_t expected = raft->hard_state.term + (prevote && !message->reject ? 1 : 0);
    if (message->term != expected && !(prevote && message->reject))
        return;
    record_vote(raft, message->from, !message->reject);
    count_votes(raft);
}
