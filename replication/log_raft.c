/* SPDX-License-Identifier: Apache-2.0 */
/* What follows from what Raft was told: its own entries and its hard state are written, what it
 * decided is told to the owner. */
#include <stdlib.h>

#include "replication/replicated_log_internal.h"

#include "proto/base/planted.h"

enum { write_entries_max = 64, write_size_max = 1024 * 1024, retry_ms = 50 };

/* ---- Entries to the write-ahead log ---- */

/* The next ones of the cache that it lacks. At least one. */
static size_t gather(const struct replicated_log *log, uint64_t last,
                     struct wal_entry entries[write_entries_max])
{
    size_t count = 0;
    size_t size = 0;
    for (uint64_t index = log->written_index + 1; index <= last && count < write_entries_max;
         index++) {
        const struct cached_entry *cached = entry_cache_find(&log->cache, index);
        ASSERT(cached != NULL); /* what is not written does not leave the cache */
        if (count > 0 && size + cached->size > write_size_max)
            break;
        size += cached->size;
        entries[count++] = (struct wal_entry){
            .index = index, .term = cached->term, .bytes = cached_entry_bytes(cached)};
    }
    return count;
}

void log_raft_write(struct replicated_log *log)
{
    uint64_t last = raft_last(log->raft).index;
    struct wal_entry entries[write_entries_max];

    while (log->written_index < last && !log->failed) {
        size_t count = gather(log, last, entries);
        enum status status = wal_append(log->wal, entries, count);
        if (status == STATUS_BUSY && count > 1) {
            count = 1;
            status = wal_append(log->wal, entries, count);
        }
        log->write_status = status;
        if (status == STATUS_BUSY || status == STATUS_DISK_FULL)
            return; /* again with the next turn */
        if (status != STATUS_OK) {
            log_fail(log, status, "an entry cannot be written to the write-ahead log");
            return;
        }
        log->written_index += count;
    }
}

void log_raft_cut(struct replicated_log *log, uint64_t index)
{
    ASSERT(index > log->taken_index);
    if (!PLANTED(log_proposals_kept))
        log_proposals_drop(log, index);
    entry_cache_cut(&log->cache, index);
    size_t count = log->memberships.count;
    memberships_cut(&log->memberships, index);
    log->membership_version += count != log->memberships.count;
    if (log->written_index >= index)
        log->written_index = index - 1;
    while (log->extents_count > 0 &&
           log->extents[(log->extents_first + log->extents_count - 1) % log_extents_max].index >=
               index)
        log->extents_count--;
}

void log_raft_on_durable(void *context, struct wal_mark mark)
{
    struct replicated_log *log = context;
    if (log->raft == NULL)
        return;
    /* Raft's log may have been superseded already where the write-ahead log could not be told yet:
     * what is below that holds. */
    struct raft_mark durable = {mark.index, mark.term};
    if (durable.index > log->written_index) {
        durable.index = log->written_index;
        if (!raft_term_at(log->raft, durable.index, &durable.term))
            return;
    }
    raft_persisted(log->raft, log_now_ns(log), durable);
    log_raft_follow(log);
    log_raft_tell(log);
}

/* ---- The leader's own entries ---- */

static bool own_entry_add(struct replicated_log *log, const struct raft_own_entry *own)
{
    uint8_t encoded[membership_size_max];
    struct bytes body = {0};
    enum entry_kind kind = ENTRY_NOOP;

    if (own->is_configuration) {
        struct membership membership;
        bool known = memberships_of_configuration(
            &own->configuration, &log->change, memberships_newest(&log->memberships), &membership);
        ASSERT(known); /* the members of the change asked for, or of the joint one before */
        if (memberships_reserve(&log->memberships, 1) != STATUS_OK)
            return false;
        memberships_add(&log->memberships, own->mark.index, &membership);
        log->membership_version++;
        membership_encode(&membership, encoded);
        body = bytes_of(encoded, membership_size(&membership));
        kind = ENTRY_MEMBERSHIP;
    }
    struct cached_entry *entry =
        log_entry_create(log, kind, (struct bytes){0}, body, own->mark, log_now_ns(log));
    if (entry == NULL || entry_cache_reserve(&log->cache, 1) != STATUS_OK) {
        cached_entry_release(entry);
        return false;
    }
    log_extent_add(log, entry->index, entry->size);
    entry_cache_put(&log->cache, entry);
    return true;
}

/* ---- The hard state ---- */

static void hard_state_written(void *context, enum status status)
{
    struct replicated_log *log = context;
    log->hard_state_writing = false;
    if (status != STATUS_OK) {
        log_fail(log, status, "the hard state cannot be written");
        return;
    }
    if (log->raft != NULL) {
        const struct raft_hard_state durable = {log->hard_state.term, log->hard_state.vote};
        raft_hard_state_persisted(log->raft, log_now_ns(log), &durable);
    }
    if (log->snapshot_prepared != NULL &&
        log->hard_state.snapshot.index == log->snapshot_mark.index &&
        log->hard_state.snapshot.term == log->snapshot_mark.term) {
        void (*prepared)(void *, enum status) = log->snapshot_prepared;
        log->snapshot_prepared = NULL;
        prepared(log->options.context, STATUS_OK);
    }
    if (log->raft != NULL) {
        log_raft_follow(log);
        log_raft_tell(log);
    } else {
        log_raft_hard_state(log);
    }
}

void log_raft_hard_state(struct replicated_log *log)
{
    struct raft_hard_state wanted;

    if (log->hard_state_writing || log->failed)
        return;
    bool changed = log->raft != NULL && raft_take_hard_state(log->raft, &wanted);
    if (!changed && log->snapshot_prepared == NULL && log->term_least == 0)
        return;
    struct wal_hard_state next = wal_hard_state(log->wal);
    if (changed) {
        next.term = wanted.term;
        next.vote = wanted.vote;
    } else if (next.term < log->term_least) {
        next.term = log->term_least;
        next.vote = 0;
    }
    log->term_least = 0;
    if (log->snapshot_prepared != NULL)
        next.snapshot = log->snapshot_mark;
    log->hard_state_writing = true;
    log->hard_state = next;
    if (PLANTED(log_hard_state_unwritten) && changed && log->snapshot_prepared == NULL)
        hard_state_written(log, STATUS_OK);
    else
        wal_hard_state_write(log->wal, &log->hard_state, hard_state_written, log);
}

void replicated_log_snapshot_prepare(struct replicated_log *log, struct wal_mark mark,
                                     void (*done)(void *context, enum status status))
{
    ASSERT(log->snapshot_prepared == NULL);
    log->snapshot_mark = mark;
    log->snapshot_prepared = done;
    log_raft_hard_state(log);
}

/* ---- After each change of Raft ---- */

void log_raft_follow(struct replicated_log *log)
{
    struct raft_own_entry own;

    while (!log->failed && raft_take_own_entry(log->raft, &own)) {
        if (!own_entry_add(log, &own))
            log_fail(log, STATUS_NO_MEMORY, "no memory for an entry of the log's own");
    }
    if (log->written_index < raft_last(log->raft).index)
        log_raft_write(log);
    log_raft_hard_state(log);
    size_t before = log->memberships.count;
    if (before > 1)
        memberships_committed(&log->memberships, raft_commit_index(log->raft));
    if (log->memberships.count < before)
        log_send_tell_bus(log);
}

/* ---- What is told ---- */

/* Proposals of a leader that leads no more, or again, in a later term. */
static void tell_dropped(struct replicated_log *log)
{
    if (log->proposals_passed) {
        log->proposals_passed = false;
        log_proposals_drop(log, 0);
    }
    if (log->proposals.count > 0 && !PLANTED(log_proposals_kept) &&
        (raft_role(log->raft) != RAFT_LEADER || raft_term(log->raft) != log->proposals.term))
        log_proposals_drop(log, raft_commit_index(log->raft) + 1);
}

static void tell_reads(struct replicated_log *log)
{
    const struct replicated_log_options *options = &log->options;
    uint64_t round;

    if (log->confirm_wanted == 0)
        return;
    if (raft_role(log->raft) != RAFT_LEADER || raft_term(log->raft) != log->confirm_term) {
        log->confirm_wanted = 0;
        if (options->unconfirmed != NULL)
            options->unconfirmed(options->context);
        return;
    }
    while (raft_take_confirmed(log->raft, &round)) {
        if (round >= log->confirm_wanted)
            log->confirm_wanted = 0;
        if (options->confirmed != NULL)
            options->confirmed(options->context, round);
    }
}

static void tell_changed(struct replicated_log *log)
{
    enum log_role role = replicated_log_role(log);
    uint64_t term = replicated_log_term(log);
    uint64_t leader = log->raft == NULL ? 0 : raft_leader(log->raft);

    if (role == log->told_role && term == log->told_term && leader == log->told_leader &&
        log->membership_version == log->told_version)
        return;
    log->told_role = role;
    log->told_term = term;
    log->told_leader = leader;
    log->told_version = log->membership_version;
    log_send_follow_membership(log);
    if (log->options.changed != NULL)
        log->options.changed(log->options.context);
}

void log_raft_tell(struct replicated_log *log)
{
    if (log->opening)
        return;
    if (log->snapshot_done_due) {
        log->snapshot_done_due = false;
        void (*done)(void *, enum status) = log->snapshot_done;
        log->snapshot_done = NULL;
        done(log->options.context, log->snapshot_status);
    }
    tell_changed(log);
    if (log->raft == NULL)
        return;
    tell_dropped(log);
    tell_reads(log);
    uint64_t member;
    while (raft_take_snapshot(log->raft, &member)) {
        if (log->options.snapshot_needed != NULL)
            log->options.snapshot_needed(log->options.context, member);
    }
    uint64_t limit = log_take_limit(log);
    if (limit > log->told_limit && limit > log->taken_index && log->options.committed != NULL)
        log->options.committed(log->options.context);
    log->told_limit = limit;
}

/* ---- Time ---- */

/* A member that must not stand for election has nothing to do when its time comes. */
static bool may_tick(const struct replicated_log *log)
{
    return log->raft != NULL &&
           (log->mend == NULL || raft_role(log->raft) == RAFT_LEADER || mend_may_stand(log->mend));
}

void log_raft_on_timer(struct io_timer *timer)
{
    struct replicated_log *log = timer->context;
    log->timer_ns = UINT64_MAX;
    if (!may_tick(log))
        return; /* replicated_log_turn() follows, and looks what is due */
    raft_tick(log->raft, log_now_ns(log));
    log_raft_follow(log);
    log_raft_tell(log);
}

void log_raft_timer(struct replicated_log *log)
{
    uint64_t deadline = UINT64_MAX;
    if (log->failed || log->closing)
        return;
    if (log->mend != NULL)
        deadline = mend_deadline_ns(log->mend);
    /* Alone for good there is nobody to hear from. */
    if (may_tick(log) && (log->options.bus != NULL || raft_role(log->raft) != RAFT_LEADER)) {
        uint64_t tick = raft_deadline_ns(log->raft);
        deadline = tick < deadline ? tick : deadline;
    }
    if (log->raft != NULL && log->written_index < raft_last(log->raft).index) {
        uint64_t retry = log_now_ns(log) + retry_ms * LOG_NS_PER_MS;
        deadline = retry < deadline ? retry : deadline;
    }
    /* One that fires early only looks again. */
    if (deadline >= log->timer_ns)
        return;
    log->timer_ns = deadline;
    io_timer_start(log->options.io, &log->timer, deadline);
}

/* ---- Snapshots ---- */

static void snapshot_reset_done(void *context, enum status status)
{
    struct replicated_log *log = context;
    if (status != STATUS_OK)
        return; /* `failed` was called */
    log->snapshot_status = STATUS_OK;
    log->snapshot_done_due = true;
    log_raft_tell(log);
}

static void snapshot_answer(struct replicated_log *log, enum status status)
{
    log->snapshot_status = status;
    log->snapshot_done_due = true;
}

/* Nothing that apply holds refers to the log, and nothing is read for it. */
static void forget_taken(struct replicated_log *log, uint64_t index)
{
    for (unsigned i = 0; i < log_taken_max; i++) {
        cached_entry_release(log->taken[i]);
        log->taken[i] = NULL;
    }
    log_reader_drop(&log->apply_reader);
    log->taken_index = index;
    log->applied_index = index;
    log->state_index = index;
}

/* Raft's log begins after the snapshot, or, while that does not exist, what was recovered. OK:
 * `*held` says whether what follows the mark is kept. */
static enum status snapshot_take(struct replicated_log *log, struct wal_mark mark,
                                 const struct membership *membership, bool *held)
{
    const struct raft_configuration configuration = memberships_configuration(membership);
    uint64_t term = 0;

    *held = wal_term_at(log->wal, mark.index, &term) && term == mark.term;
    if (log->raft == NULL) {
        log_recovered_install(log, mark);
        return STATUS_OK;
    }
    *held = raft_term_at(log->raft, mark.index, &term) &&
            (PLANTED(log_snapshot_keeps_suffix) || term == mark.term);
    /* The log has caught up meanwhile: only the state jumps. */
    if (*held && mark.index <= raft_commit_index(log->raft)) {
        raft_applied(log->raft, mark.index);
        raft_release(log->raft, mark.index);
        return STATUS_OK;
    }
    enum status status = raft_snapshot_installed(
        log->raft, (struct raft_mark){mark.index, mark.term}, &configuration);
    if (status != STATUS_OK || *held)
        return status;
    memberships_cut(&log->memberships, mark.index);
    entry_cache_cut(&log->cache, 0);
    log->extents_count = 0;
    log->written_index = mark.index;
    return STATUS_OK;
}

void replicated_log_snapshot_installed(struct replicated_log *log, struct wal_mark mark,
                                       struct bytes membership, uint64_t log_time_ns,
                                       void (*done)(void *context, enum status status))
{
    struct membership decoded;
    bool held;

    ASSERT(log->snapshot_done == NULL);
    log->snapshot_done = done;
    enum status status = membership_decode(membership, &decoded);
    if (status == STATUS_OK &&
        (mark.index <= log->taken_index || memberships_configuration(&decoded).voters_count == 0))
        status = STATUS_INVALID_ARGUMENT;
    if (status == STATUS_OK)
        status = snapshot_take(log, mark, &decoded, &held);
    if (status != STATUS_OK) {
        snapshot_answer(log, status);
        return;
    }
    log_clock_observe(&log->clock, log_time_ns);
    log->proposals_passed = log->proposals.count != 0;
    forget_taken(log, mark.index);
    memberships_install(&log->memberships, mark.index, &decoded);
    log->membership_version++;
    log->released_index = mark.index;
    if (held) {
        wal_release(log->wal, mark.index);
        snapshot_answer(log, STATUS_OK);
    } else {
        wal_reset(log->wal, mark, snapshot_reset_done, log);
    }
    if (log->raft != NULL)
        log_raft_follow(log);
    if (log->mend != NULL)
        mend_look(log->mend);
}
