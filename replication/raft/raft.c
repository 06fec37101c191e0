/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/raft/raft.h"

#include "replication/raft/raft_internal.h"

#include <stdlib.h>
#include <string.h>

static void fill_defaults(struct raft_options *options)
{
    if (options->election_timeout_ns == 0)
        options->election_timeout_ns = 300000000;
    if (options->heartbeat_ns == 0)
        options->heartbeat_ns = options->election_timeout_ns / 6;
    if (options->disk_stall_ns == 0)
        options->disk_stall_ns = 3000000000;
    if (options->clock_bound_ppm == 0)
        options->clock_bound_ppm = 1000;
    if (options->inflight_size_max == 0)
        options->inflight_size_max = 8 << 20;
    if (options->inflight_count_max == 0)
        options->inflight_count_max = 64;
    if (options->applied_index == 0)
        options->applied_index = options->base.index;
    if (options->append_size_max == 0)
        options->append_size_max = 256 << 10;
}

static bool options_are_valid(const struct raft_options *options)
{
    return options->self != 0 && options->heartbeat_ns > 0 &&
           options->heartbeat_ns < options->election_timeout_ns &&
           options->election_timeout_ns < RAFT_NUMBER_MAX / 1000000 &&
           options->clock_bound_ppm < 500000 && options->inflight_count_max <= 65536 &&
           (options->base.index == 0) == (options->base.term == 0) &&
           options->base.index <= options->applied_index &&
           options->applied_index < RAFT_NUMBER_MAX && options->hard_state.term < RAFT_NUMBER_MAX &&
           raft_configuration_is_valid(&options->configuration);
}

enum status raft_create(const struct raft_options *options, struct raft **out)
{
    *out = NULL;
    struct raft_options filled = *options;
    fill_defaults(&filled);
    if (!options_are_valid(&filled))
        return STATUS_INVALID_ARGUMENT;

    struct raft *raft = calloc(1, sizeof(*raft));
    if (raft == NULL)
        return STATUS_NO_MEMORY;
    raft->options = filled;
    raft->inflight_memory = calloc((size_t)raft_members_max * filled.inflight_count_max,
                                   sizeof(*raft->inflight_memory));
    if (raft->inflight_memory == NULL ||
        raft_log_init(&raft->log, filled.base, &filled.configuration) != STATUS_OK) {
        raft_destroy(raft);
        return STATUS_NO_MEMORY;
    }
    for (unsigned i = 0; i < raft_members_max; i++)
        raft->members[i].inflight = raft->inflight_memory + (size_t)i * filled.inflight_count_max;
    generator_init(&raft->generator, filled.seed);
    raft->now_ns = filled.now_ns;
    /* Before the start it may have heard of a leader that counts on it (6.4.1). */
    raft->contact_ns = filled.now_ns;
    if (PLANTED(raft_vote_after_start))
        raft->contact_ns = filled.now_ns - filled.election_timeout_ns;
    raft->log.configurations[0].index = filled.applied_index;
    raft->commit_index = filled.applied_index;
    raft->applied_index = filled.applied_index;
    raft->matched_index = filled.applied_index;
    raft->hard_state = filled.hard_state;
    raft->hard_state_taken = filled.hard_state;
    raft->hard_state_durable = filled.hard_state;
    /* An entry of a term is durable before that term is, after a crash between the two. Its leader
     * is elected: no vote of this member can make a second one. */
    if (filled.base.term > raft->hard_state.term)
        raft->hard_state = (struct raft_hard_state){.term = filled.base.term};
    raft_election_start(raft);
    *out = raft;
    return STATUS_OK;
}

void raft_destroy(struct raft *raft)
{
    if (raft == NULL)
        return;
    raft_log_deinit(&raft->log);
    free(raft->inflight_memory);
    free(raft);
}

enum status raft_restore(struct raft *raft, const struct raft_entry *entries, size_t count)
{
    size_t configurations = 0;
    size_t runs = 0;
    uint64_t term = raft_log_last(&raft->log).term;

    ASSERT(raft->role == RAFT_FOLLOWER && raft->leader == 0);
    for (size_t i = 0; i < count; i++) {
        ASSERT(entries[i].term >= term && entries[i].term > 0);
        runs += i == 0 || entries[i].term != term;
        term = entries[i].term;
        configurations += entries[i].configuration != NULL;
        ASSERT(entries[i].configuration == NULL ||
               raft->log.last_index + i + 1 > raft->applied_index);
    }
    enum status status = raft_log_reserve(&raft->log, runs, configurations);
    if (status != STATUS_OK)
        return status;
    for (size_t i = 0; i < count; i++)
        raft_log_append(&raft->log, entries[i].term, entries[i].configuration);
    raft->log.durable_index = raft->log.last_index;
    if (term > raft->hard_state.term)
        raft->hard_state = (struct raft_hard_state){.term = term};
    raft_election_start(raft);
    return STATUS_OK;
}

/* ---- What follows from events ---- */

void raft_commit(struct raft *raft, uint64_t index)
{
    if (index <= raft->commit_index)
        return;
    ASSERT(index <= raft->log.last_index);
    raft->commit_index = index;
    if (raft->matched_index < index)
        raft->matched_index = index;
    raft_log_committed(&raft->log, index);
}

void raft_begin_term(struct raft *raft, struct raft_hard_state state)
{
    ASSERT(state.term > raft->hard_state.term);
    raft->hard_state = state;
    raft->leader = 0;
    raft->term_leader = 0;
    raft->matched_index = raft->commit_index;
    raft->answered_index = 0;
    raft->answer_owed = false;
    raft_outbox_clear(raft);
}

void raft_append_own(struct raft *raft, const struct raft_configuration *configuration)
{
    ASSERT(raft->role == RAFT_LEADER && raft->own_count < raft_own_entries_max);
    if (raft->log.durable_index == raft->log.last_index)
        raft->write_since_ns = raft->now_ns;
    raft_log_append(&raft->log, raft->hard_state.term, configuration);
    struct raft_own_entry *own = &raft->own[raft->own_count++];
    *own = (struct raft_own_entry){.mark = raft_log_last(&raft->log),
                                   .is_configuration = configuration != NULL};
    if (configuration != NULL)
        own->configuration = *configuration;
}

void raft_drop_own(struct raft *raft)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < raft->own_count; i++)
        if (raft->own[i].mark.index > raft->log.base.index &&
            raft_log_has(&raft->log, raft->own[i].mark))
            raft->own[kept++] = raft->own[i];
    raft->own_count = kept;
}

/* ---- Messages ---- */

/* What no member of any version would send, whatever it holds. */
static bool is_possible(const struct raft *raft, const struct raft_message *message)
{
    return message->type >= RAFT_PREVOTE && message->type < RAFT_TYPES_END && message->from != 0 &&
           message->from != raft->options.self && message->to == raft->options.self &&
           (message->term > 0 || message->reject) && message->term < RAFT_NUMBER_MAX &&
           message->mark.index < RAFT_NUMBER_MAX && message->mark.term <= message->term &&
           (message->type == RAFT_APPEND || message->entries_count == 0);
}

/* 3.3: whoever is of an older term is told so. Not so for answers: they are of the past. */
static void answer_older(struct raft *raft, const struct raft_message *message)
{
    struct raft_message answer = {.to = message->from, .round = message->round, .reject = true};

    if (message->type == RAFT_APPEND)
        answer.type = RAFT_APPEND_REPLY;
    else if (message->type == RAFT_HEARTBEAT)
        answer.type = RAFT_HEARTBEAT_REPLY;
    else
        return;
    raft_outbox_put(raft, &answer);
}

/* An answer to what a leader sent. */
static void receive_answer(struct raft *raft, const struct raft_message *message)
{
    if (message->term > raft->hard_state.term) {
        /* 3.3: a newer term has begun. Only a refusal can come from it: nothing was sent in it. */
        if (message->reject)
            raft_become_follower(raft, message->term, 0);
        else
            raft->statistics.dropped_count++;
        return;
    }
    if (message->term < raft->hard_state.term || raft->role != RAFT_LEADER)
        return;
    if (message->type == RAFT_APPEND_REPLY)
        raft_progress_appended(raft, message);
    else
        raft_progress_heard(raft, message);
}

enum status raft_step(struct raft *raft, uint64_t now_ns, const struct raft_message *message,
                      unsigned *accepted_from)
{
    *accepted_from = message->entries_count;
    raft_see_time(raft, now_ns);
    if (!is_possible(raft, message)) {
        raft->statistics.dropped_count++;
        return STATUS_OK;
    }
    switch (message->type) {
    case RAFT_PREVOTE:
    case RAFT_VOTE:
        raft_election_ask(raft, message);
        return STATUS_OK;
    case RAFT_PREVOTE_REPLY:
    case RAFT_VOTE_REPLY:
        raft_election_answer(raft, message);
        return STATUS_OK;
    case RAFT_APPEND_REPLY:
    case RAFT_HEARTBEAT_REPLY:
        receive_answer(raft, message);
        return STATUS_OK;
    case RAFT_TIMEOUT_NOW:
        if (message->term == raft->hard_state.term && message->from == raft->leader)
            raft_election_transfer(raft);
        return STATUS_OK;
    case RAFT_APPEND:
    case RAFT_HEARTBEAT:
        break;
    case RAFT_TYPES_END:
        UNREACHABLE();
    }
    if (message->term < raft->hard_state.term) {
        answer_older(raft, message);
        return STATUS_OK;
    }
    if (message->type == RAFT_APPEND)
        return raft_append_receive(raft, message, accepted_from);
    raft_heartbeat_receive(raft, message);
    return STATUS_OK;
}

/* ---- Time ---- */

static uint64_t slow_write_ns(const struct raft *raft)
{
    return raft->options.disk_stall_ns / 6;
}

/* A disk that has stalled is a reason to let another lead, if there may be another: commits would
 * not wait for it, but everything else would. So is one that takes as long in several slow writes
 * in a row; but not where the others' are no faster, which shows in what they commit without it. */
static uint64_t stall_deadline_ns(const struct raft *raft)
{
    uint64_t limit_ns = raft->options.disk_stall_ns;
    if (raft->log.durable_index == raft->log.last_index ||
        raft_configuration_is_alone(raft_newest_configuration(raft), raft->options.self))
        return UINT64_MAX;
    if (raft->commit_index > raft->log.durable_index) {
        limit_ns -= raft->write_slow_ns < limit_ns ? raft->write_slow_ns : limit_ns;
        limit_ns = limit_ns > slow_write_ns(raft) ? limit_ns : slow_write_ns(raft);
    }
    return raft->write_since_ns + limit_ns;
}

/* A write is done, before which the log was durable up to `durable_index`. */
static void note_write(struct raft *raft, uint64_t durable_index)
{
    uint64_t took_ns = raft->now_ns - raft->write_since_ns;
    if (raft->role == RAFT_LEADER && took_ns >= slow_write_ns(raft) &&
        raft->commit_index > durable_index)
        raft->write_slow_ns += took_ns;
    else
        raft->write_slow_ns = 0;
    /* The next write began when this one was done. */
    raft->write_since_ns = raft->now_ns;
}

/* 6.2: without answers from a quorum for an election timeout another leader may exist. */
static uint64_t quorum_deadline_ns(const struct raft *raft)
{
    return raft_read_quorum_contact_ns(raft) + raft->options.election_timeout_ns;
}

static void tick_leader(struct raft *raft)
{
    if (raft->now_ns >= quorum_deadline_ns(raft)) {
        raft_step_down(raft);
        return;
    }
    if (raft->now_ns >= stall_deadline_ns(raft)) {
        raft->statistics.stalled_count++;
        raft_transfer_give_up(raft);
        return;
    }
    raft_transfer_tick(raft);
    if (raft->now_ns < raft->heartbeat_deadline_ns)
        return;
    raft->heartbeat_deadline_ns = raft->now_ns + raft->options.heartbeat_ns;
    raft_progress_heartbeat(raft);
    raft_read_begin_round(raft);
    raft_transfer_proceed(raft);
}

void raft_tick(struct raft *raft, uint64_t now_ns)
{
    ASSERT(raft->commit_index <= raft->log.last_index); /* all that is applied was restored */
    raft_see_time(raft, now_ns);
    if (raft->role == RAFT_LEADER)
        tick_leader(raft);
    else
        raft_election_tick(raft);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t raft_deadline_ns(const struct raft *raft)
{
    if (raft->role == RAFT_LEADER) {
        if (raft->members_count == 0)
            return UINT64_MAX;
        uint64_t deadline = earlier(raft->heartbeat_deadline_ns, quorum_deadline_ns(raft));
        deadline = earlier(deadline, stall_deadline_ns(raft));
        return raft->transfer_to == 0 ? deadline : earlier(deadline, raft->transfer_deadline_ns);
    }
    return raft_election_deadline_ns(raft);
}

/* ---- Durability ---- */

void raft_persisted(struct raft *raft, uint64_t now_ns, struct raft_mark mark)
{
    uint64_t durable_index = raft->log.durable_index;
    raft_see_time(raft, now_ns);
    if (!raft_log_persisted(&raft->log, mark))
        return;
    note_write(raft, durable_index);
    if (raft->role == RAFT_LEADER)
        raft_progress_commit(raft);
    else
        raft_append_answer(raft);
}

void raft_hard_state_persisted(struct raft *raft, uint64_t now_ns,
                               const struct raft_hard_state *state)
{
    raft_see_time(raft, now_ns);
    ASSERT(state->term <= raft->hard_state.term);
    ASSERT(state->term >= raft->hard_state_durable.term);
    if (raft_hard_state_is_durable(raft))
        return;
    raft->hard_state_durable = *state;
    raft_election_voted(raft);
}

/* ---- What the owner asks for ---- */

enum status raft_propose(struct raft *raft, uint64_t now_ns, struct raft_entry *entries,
                         size_t count, uint64_t *first_index)
{
    *first_index = 0;
    raft_see_time(raft, now_ns);
    if (raft->role != RAFT_LEADER)
        return STATUS_NOT_LEADER;
    if (raft->transfer_to != 0)
        return STATUS_BUSY;
    /* Else the owner would write these before those that come before them. */
    ASSERT(raft->own_count == 0);
    enum status status = raft_log_reserve(&raft->log, 1, 0);
    if (status != STATUS_OK)
        return status;
    if (count > 0 && raft->log.durable_index == raft->log.last_index)
        raft->write_since_ns = raft->now_ns;
    *first_index = raft->log.last_index + 1;
    for (size_t i = 0; i < count; i++) {
        ASSERT(entries[i].configuration == NULL);
        entries[i].term = raft->hard_state.term;
        raft_log_append(&raft->log, entries[i].term, NULL);
    }
    return STATUS_OK;
}

void raft_applied(struct raft *raft, uint64_t index)
{
    ASSERT(index <= raft->commit_index);
    if (index > raft->applied_index)
        raft->applied_index = index;
}

void raft_release(struct raft *raft, uint64_t index)
{
    ASSERT(index <= raft->applied_index);
    raft_log_release(&raft->log, index);
}

/* Whether a snapshot can be: of a place that is not committed here yet, and not of an older term
 * than what is. */
static bool snapshot_is_possible(const struct raft *raft, struct raft_mark mark,
                                 const struct raft_configuration *configuration)
{
    bool newer = mark.index > raft->commit_index;
    if (PLANTED(raft_snapshot_stale))
        newer = mark.index > raft->log.base.index;
    return newer && mark.index < RAFT_NUMBER_MAX && mark.term > 0 && mark.term < RAFT_NUMBER_MAX &&
           (mark.term >= raft_log_mark(&raft->log, raft->commit_index).term ||
            PLANTED(raft_snapshot_stale)) &&
           configuration->voters_count > 0 && raft_configuration_is_valid(configuration);
}

enum status raft_snapshot_installed(struct raft *raft, struct raft_mark mark,
                                    const struct raft_configuration *configuration)
{
    if (raft->role == RAFT_LEADER || !snapshot_is_possible(raft, mark, configuration))
        return STATUS_INVALID_ARGUMENT;
    if (mark.term > raft->hard_state.term)
        raft_become_follower(raft, mark.term, 0);
    else if (raft->role != RAFT_FOLLOWER)
        raft_step_down(raft);
    /* What waits to be said of a log that goes is not true any more. */
    if (!raft_log_has(&raft->log, mark))
        raft_outbox_clear(raft);
    raft_log_install(&raft->log, mark, configuration);
    raft_drop_own(raft);
    raft->applied_index = mark.index;
    raft_commit(raft, mark.index);
    if (raft->matched_index > raft->log.last_index)
        raft->matched_index = raft->log.last_index;
    raft_append_answer(raft);
    return STATUS_OK;
}

void raft_hold(struct raft *raft, bool held)
{
    raft->held = held;
    if (held && raft->role != RAFT_FOLLOWER)
        raft_step_down(raft);
    if (!held)
        raft_append_answer(raft);
}

/* ---- What is to be done ---- */

bool raft_take_hard_state(struct raft *raft, struct raft_hard_state *state)
{
    *state = raft->hard_state;
    if (raft->hard_state_taken.term == state->term && raft->hard_state_taken.vote == state->vote)
        return false;
    raft->hard_state_taken = *state;
    return true;
}

bool raft_take_own_entry(struct raft *raft, struct raft_own_entry *entry)
{
    *entry = (struct raft_own_entry){0};
    if (raft->own_count == 0)
        return false;
    *entry = raft->own[0];
    ASSERT(raft_log_has(&raft->log, entry->mark));
    raft->own_count--;
    memmove(raft->own, raft->own + 1, raft->own_count * sizeof(raft->own[0]));
    return true;
}

bool raft_take_message(struct raft *raft, struct raft_message *message)
{
    *message = (struct raft_message){0};
    return raft_outbox_take(raft, message);
}

/* ---- How it stands ---- */

enum raft_role raft_role(const struct raft *raft)
{
    return raft->role;
}

uint64_t raft_term(const struct raft *raft)
{
    return raft->hard_state.term;
}

uint64_t raft_leader(const struct raft *raft)
{
    return raft->leader;
}

uint64_t raft_commit_index(const struct raft *raft)
{
    return raft->commit_index;
}

struct raft_mark raft_last(const struct raft *raft)
{
    return raft_log_last(&raft->log);
}

struct raft_mark raft_base(const struct raft *raft)
{
    return raft->log.base;
}

bool raft_term_at(const struct raft *raft, uint64_t index, uint64_t *term)
{
    return raft_log_term_at(&raft->log, index, term);
}

const struct raft_configuration *raft_configuration(const struct raft *raft, uint64_t *index)
{
    const struct raft_configuration_at *newest = raft_log_configuration(&raft->log);
    *index = newest->index;
    return &newest->configuration;
}

struct raft_statistics raft_statistics(const struct raft *raft)
{
    return raft->statistics;
}
