/* SPDX-License-Identifier: Apache-2.0 */
/* A follower's side: entries and heartbeats of the term's leader (3.5). */
#include "replication/raft/raft_internal.h"

/* Word of a leader, of this term or a newer one. False: it cannot be, and was counted. */
static bool hear_leader(struct raft *raft, const struct raft_message *message)
{
    ASSERT(message->term >= raft->hard_state.term);
    bool newer = message->term > raft->hard_state.term;
    /* 3.4: at most one leader in a term. */
    if (!newer && raft->term_leader != 0 && raft->term_leader != message->from) {
        raft->statistics.dropped_count++;
        return false;
    }
    raft_become_follower(raft, message->term, message->from);
    raft->contact_ns = raft->now_ns;
    raft_election_restart_timer(raft);
    return true;
}

void raft_heartbeat_receive(struct raft *raft, const struct raft_message *message)
{
    if (!hear_leader(raft, message))
        return;
    uint64_t commit = message->commit < raft->matched_index ? message->commit : raft->matched_index;
    raft_commit(raft, commit);
    raft_outbox_put(raft,
                    &(struct raft_message){.type = RAFT_HEARTBEAT_REPLY,
                                           .to = message->from,
                                           .round = message->round,
                                           .mark = raft_log_mark(&raft->log, raft->matched_index)});
}

void raft_append_answer(struct raft *raft)
{
    if (!raft->answer_owed || raft->held || raft->role != RAFT_FOLLOWER || raft->leader == 0)
        return;
    uint64_t durable = PLANTED(raft_ack_early) ? raft->log.last_index : raft->log.durable_index;
    uint64_t match = raft->matched_index < durable ? raft->matched_index : durable;
    /* 3.8 (and 10.2.1): what is not durable here is not said to be held. Of several writes under
     * way each that is done is told. */
    if (match < raft->matched_index && match <= raft->answered_index)
        return;
    raft->answer_owed = match < raft->matched_index;
    raft->answered_index = match;
    raft_outbox_put(raft, &(struct raft_message){.type = RAFT_APPEND_REPLY,
                                                 .to = raft->leader,
                                                 .round = raft->answer_round,
                                                 .mark = raft_log_mark(&raft->log, match)});
}

/* The last place of an append's entries, and whether they can be: terms rise from the mark's up to
 * the sender's, configurations are valid. */
static bool is_possible(const struct raft_message *message)
{
    uint64_t term = message->mark.term;

    if (message->entries_count > raft_append_entries_max || message->mark.index > RAFT_NUMBER_MAX ||
        (message->mark.index == 0) != (message->mark.term == 0))
        return false;
    for (unsigned i = 0; i < message->entries_count; i++) {
        const struct raft_entry *entry = &message->entries[i];
        if (entry->term < term || entry->term == 0)
            return false;
        if (entry->configuration != NULL && (!raft_configuration_is_valid(entry->configuration) ||
                                             entry->configuration->voters_count == 0))
            return false;
        term = entry->term;
    }
    return term <= message->term;
}

static void reject(struct raft *raft, const struct raft_message *message)
{
    raft->statistics.rejected_count++;
    /* 3.5, end: the leader need not go back entry by entry. Where the terms differ, nothing of this
     * log with a higher term than the leader's there can agree. */
    raft_outbox_put(raft,
                    &(struct raft_message){.type = RAFT_APPEND_REPLY,
                                           .to = message->from,
                                           .round = message->round,
                                           .reject = true,
                                           .mark = raft_log_candidate(&raft->log, message->mark)});
}

/* Makes room for entries from `first` on, superseding the log from `index` on where it reaches so
 * far. */
static enum status prepare(struct raft *raft, const struct raft_message *message, unsigned first,
                           uint64_t index)
{
    size_t configurations = 0;
    size_t runs = 0;

    for (unsigned i = first; i < message->entries_count; i++) {
        configurations += message->entries[i].configuration != NULL;
        runs += i == first || message->entries[i].term != message->entries[i - 1].term;
    }
    enum status status = raft_log_reserve(&raft->log, runs, configurations);
    if (status != STATUS_OK)
        return status;
    if (index <= raft->log.last_index) {
        raft_log_truncate(&raft->log, index);
        raft->statistics.truncated_count++;
        raft_drop_own(raft);
    }
    return STATUS_OK;
}

/* Entries [first, count) of the message are not in the log: they follow `index` - 1. */
static enum status accept(struct raft *raft, const struct raft_message *message, unsigned first,
                          uint64_t index)
{
    bool supersedes = index <= raft->log.last_index;
    /* The leader has every committed entry (3.6.3), and within a term never changes one. */
    if (supersedes && (index <= raft->commit_index || index <= raft->matched_index)) {
        raft->statistics.dropped_count++;
        return STATUS_BUSY;
    }
    /* It will be sent again. */
    if (supersedes && !raft_log_may_truncate(&raft->log))
        return STATUS_BUSY;
    enum status status = prepare(raft, message, first, index);
    if (status != STATUS_OK)
        return status;
    if (raft->log.durable_index == raft->log.last_index)
        raft->write_since_ns = raft->now_ns;
    for (unsigned i = first; i < message->entries_count; i++)
        raft_log_append(&raft->log, message->entries[i].term, message->entries[i].configuration);
    return STATUS_OK;
}

/* How many of the entries, from the front, are in the log. */
static unsigned count_known(const struct raft *raft, const struct raft_message *message)
{
    unsigned known = 0;
    uint64_t index = message->mark.index + 1;
    uint64_t term;

    for (; known < message->entries_count; known++, index++) {
        /* What lies below the base is committed, therefore the same. */
        if (index < raft->log.base.index)
            continue;
        if (!raft_log_term_at(&raft->log, index, &term) || term != message->entries[known].term)
            break;
    }
    return known;
}

enum status raft_append_receive(struct raft *raft, const struct raft_message *message,
                                unsigned *accepted_from)
{
    *accepted_from = message->entries_count;
    if (!is_possible(message)) {
        raft->statistics.dropped_count++;
        return STATUS_OK;
    }
    if (!hear_leader(raft, message))
        return STATUS_OK;
    /* 3.5, consistency check. Below the base the logs agree: what lies there is committed. */
    if (message->mark.index >= raft->log.base.index && !raft_log_has(&raft->log, message->mark)) {
        reject(raft, message);
        return STATUS_OK;
    }
    unsigned known = count_known(raft, message);
    uint64_t last = message->mark.index + message->entries_count;
    if (known < message->entries_count) {
        enum status status = accept(raft, message, known, message->mark.index + 1 + known);
        if (status == STATUS_BUSY)
            return STATUS_OK;
        if (status != STATUS_OK)
            return status;
        *accepted_from = known;
    }
    if (last > raft->matched_index)
        raft->matched_index = last;
    ASSERT(raft->matched_index <= raft->log.last_index);
    raft_commit(raft,
                message->commit < raft->matched_index ? message->commit : raft->matched_index);
    /* An empty one without a round only brings the commit index. */
    if (message->entries_count > 0 || message->round != 0) {
        raft->answer_owed = true;
        raft->answer_round = message->round;
        raft_append_answer(raft);
    }
    return STATUS_OK;
}
