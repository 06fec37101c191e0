/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/replicated_log.h"

#include <stdlib.h>

#include "proto/base/planted.h"
#include "replication/replicated_log_internal.h"

/* Kept where nobody is known to be slow, for whoever leads next. */
#define RETAINED_SIZE_IDLE (16ULL << 20)

enum { extent_size = 1024 * 1024, release_look_ms = 100, answered_max_ms = 10 * 60 * 1000 };

/* ---- Failure ---- */

void log_fail(struct replicated_log *log, enum status status, const char *text)
{
    if (log->failed)
        return;
    log->failed = true;
    log->options.failed(log->options.context, status, text);
}

/* ---- Proposals ---- */

static struct log_proposed *proposal_at(const struct log_proposals *proposals, size_t position)
{
    return &proposals->items[(proposals->first + position) & (proposals->capacity - 1)];
}

static enum status proposals_reserve(struct log_proposals *proposals)
{
    if (proposals->count < proposals->capacity)
        return STATUS_OK;
    size_t capacity = proposals->capacity == 0 ? 64 : 2 * proposals->capacity;
    struct log_proposed *items = malloc(capacity * sizeof *items);
    if (items == NULL)
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < proposals->count; i++)
        items[i] = *proposal_at(proposals, i);
    free(proposals->items);
    proposals->items = items;
    proposals->capacity = capacity;
    proposals->first = 0;
    return STATUS_OK;
}

static void proposals_pop_first(struct log_proposals *proposals)
{
    proposals->size -= proposal_at(proposals, 0)->size;
    proposals->first = (proposals->first + 1) & (proposals->capacity - 1);
    proposals->count--;
}

void log_proposals_drop(struct replicated_log *log, uint64_t index)
{
    struct log_proposals *proposals = &log->proposals;
    size_t kept = proposals->count;
    while (kept > 0 && proposal_at(proposals, kept - 1)->index >= index)
        kept--;
    size_t end = proposals->count;
    for (size_t i = kept; i < end; i++) {
        struct log_proposed dropped = *proposal_at(proposals, i);
        proposals->size -= dropped.size;
        proposals->count--;
        if (log->options.dropped != NULL)
            log->options.dropped(log->options.context, dropped.context);
    }
}

/* NULL also where it was made by another, or has no context. */
static void *proposal_context(const struct log_proposals *proposals, uint64_t index)
{
    for (size_t i = 0; i < proposals->count; i++) {
        const struct log_proposed *proposed = proposal_at(proposals, i);
        if (proposed->index >= index)
            return proposed->index == index ? proposed->context : NULL;
    }
    return NULL;
}

struct cached_entry *log_entry_create(struct replicated_log *log, enum entry_kind kind,
                                      struct bytes identity, struct bytes body,
                                      struct raft_mark mark, uint64_t now_ns)
{
    struct entry entry = {.kind = kind, .identity = identity, .body = body};
    if (entry_kind_is_shared(kind)) {
        entry.epoch_number = log->position.epoch_number;
        entry.epoch_region = log->position.epoch_region;
        entry.version = log->position.version + 1;
    }
    struct cached_entry *created = cached_entry_create(mark.index, mark.term, entry_size(&entry));
    if (created == NULL)
        return NULL;
    entry.log_time_ns = log_clock_stamp(&log->clock, now_ns, io_wall_ns(log->options.io));
    entry_encode(&entry, created->bytes);
    return created;
}

/* Whether a leader can take one more of this size, and where it would stand. */
static enum status propose_check(struct replicated_log *log, size_t size, uint64_t now_ns,
                                 uint64_t *index)
{
    *index = 0;
    if (log->raft == NULL || raft_role(log->raft) != RAFT_LEADER)
        return STATUS_NOT_LEADER;
    if (size > log->options.inflight_size_max - log->proposals.size)
        return STATUS_BUSY;
    /* Its own first entry still waits for room or space. */
    if (log->written_index < raft_last(log->raft).index)
        return log->write_status == STATUS_OK ? STATUS_BUSY : log->write_status;
    enum status status = raft_propose(log->raft, now_ns, NULL, 0, index);
    if (status == STATUS_OK)
        status = proposals_reserve(&log->proposals);
    if (status == STATUS_OK)
        status = entry_cache_reserve(&log->cache, 1);
    return status;
}

void replicated_log_position_set(struct replicated_log *log, const struct log_position *position)
{
    ASSERT(log->raft != NULL && raft_role(log->raft) == RAFT_LEADER);
    log->position = *position;
    log->position_term = raft_term(log->raft);
}

void replicated_log_position_clear(struct replicated_log *log)
{
    log->position_term = 0;
}

bool replicated_log_has_position(const struct replicated_log *log)
{
    return log->raft != NULL && raft_role(log->raft) == RAFT_LEADER &&
           log->position_term == raft_term(log->raft);
}

/* What propose_check() allowed at the place of `entry`, which is given away. */
static enum status propose(struct replicated_log *log, struct cached_entry *entry, uint64_t now_ns,
                           void *context)
{
    /* The write-ahead log first: it may refuse, and Raft will not. */
    const struct wal_entry appended = {
        .index = entry->index, .term = entry->term, .bytes = cached_entry_bytes(entry)};
    enum status status = wal_append(log->wal, &appended, 1);
    if (status != STATUS_OK) {
        cached_entry_release(entry);
        return status;
    }
    struct raft_entry taken = {0};
    uint64_t first;
    status = raft_propose(log->raft, now_ns, &taken, 1, &first);
    ASSERT(status == STATUS_OK && first == entry->index && taken.term == entry->term);
    entry_cache_put(&log->cache, entry);
    log->written_index = entry->index;
    log_extent_add(log, entry->index, entry->size);
    struct log_proposals *proposals = &log->proposals;
    ASSERT(proposals->count == 0 || proposals->term == entry->term);
    proposals->term = entry->term;
    *proposal_at(proposals, proposals->count) =
        (struct log_proposed){.index = entry->index, .size = entry->size, .context = context};
    proposals->count++;
    proposals->size += entry->size;
    return STATUS_OK;
}

enum status replicated_log_propose(struct replicated_log *log, const struct log_proposal *proposal)
{
    size_t size = entry_header_size + proposal->identity.size + proposal->body.size;
    bool is_shared = entry_kind_is_shared(proposal->kind);
    uint64_t now_ns = log_now_ns(log);
    uint64_t index;

    enum status status = propose_check(log, size, now_ns, &index);
    if (status == STATUS_OK && is_shared && !replicated_log_has_position(log))
        status = STATUS_BUSY;
    if (status != STATUS_OK)
        return status;
    struct cached_entry *entry =
        log_entry_create(log, proposal->kind, proposal->identity, proposal->body,
                         (struct raft_mark){index, raft_term(log->raft)}, now_ns);
    if (entry == NULL)
        return STATUS_NO_MEMORY;
    status = propose(log, entry, now_ns, proposal->context);
    if (status == STATUS_OK && is_shared)
        log->position.version++;
    return status;
}

enum status replicated_log_propose_entry(struct replicated_log *log, struct bytes bytes,
                                         void *context)
{
    uint64_t now_ns = log_now_ns(log);
    struct entry entry;
    uint64_t index;

    enum status status = entry_decode(bytes, &entry);
    if (status == STATUS_OK && !entry_kind_is_shared(entry.kind))
        status = STATUS_MALFORMED;
    if (status == STATUS_OK)
        status = propose_check(log, bytes.size, now_ns, &index);
    if (status == STATUS_OK && replicated_log_has_position(log))
        status = STATUS_BUSY;
    if (status != STATUS_OK)
        return status;
    struct cached_entry *cached = cached_entry_create(index, raft_term(log->raft), bytes.size);
    if (cached == NULL)
        return STATUS_NO_MEMORY;
    bytes_copy(cached->bytes, bytes);
    status = propose(log, cached, now_ns, context);
    if (status == STATUS_OK)
        log_clock_observe(&log->clock, entry.log_time_ns);
    return status;
}

/* ---- Reading what is not in memory ---- */

static void reader_done(struct wal_read *read)
{
    struct log_reader *reader = read->context;
    struct replicated_log *log = reader->log;

    reader->reading = false;
    reader->ready = read->status == STATUS_OK;
    if (reader->ready) {
        if (reader == &log->apply_reader && log->options.committed != NULL)
            log->options.committed(log->options.context);
        return;
    }
    enum status status = read->status;
    wal_read_end(read);
    /* Released or superseded meanwhile: whoever needs it looks again. */
    if (status == STATUS_NOT_FOUND || status == STATUS_NO_MEMORY || log->closing)
        return;
    /* A start finds out what is lost, and mends it from peers. */
    log_fail(log, status, "an entry of the write-ahead log cannot be read");
}

void log_reader_start(struct log_reader *reader, uint64_t first, uint64_t last)
{
    ASSERT(!reader->reading && !reader->ready && first <= last);
    reader->reading = true;
    reader->read = (struct wal_read){
        .first = first,
        .last = last,
        .size_max = log_read_size,
        .done = reader_done,
        .context = reader,
    };
    wal_read_start(reader->log->wal, &reader->read);
}

const struct wal_entry *log_reader_find(const struct log_reader *reader, uint64_t index)
{
    const struct wal_read *read = &reader->read;
    if (!reader->ready || index < read->first || index - read->first >= read->entries_count)
        return NULL;
    return &read->entries[index - read->first];
}

void log_reader_drop(struct log_reader *reader)
{
    if (!reader->ready)
        return;
    reader->ready = false;
    wal_read_end(&reader->read);
}

/* ---- Apply ---- */

uint64_t replicated_log_commit_index(const struct replicated_log *log)
{
    return log->raft == NULL ? log->applied_index : raft_commit_index(log->raft);
}

uint64_t log_take_limit(const struct replicated_log *log)
{
    uint64_t commit = replicated_log_commit_index(log);
    if (log->raft == NULL || raft_role(log->raft) == RAFT_LEADER || PLANTED(log_applies_unwritten))
        return commit;
    /* What is committed and not durable here may stand where the disk still has a suffix that was
     * superseded: were the state durable first, the log would not fit it after a crash. A leader
     * has no such suffix. */
    uint64_t durable = wal_durable_index(log->wal);
    durable = durable < log->written_index ? durable : log->written_index;
    return commit < durable ? commit : durable;
}

/* The bytes of the next entry to take: the cache's, which are kept, or the reader's. */
static bool take_bytes(struct replicated_log *log, uint64_t index, struct bytes *bytes,
                       uint64_t *term)
{
    struct log_reader *reader = &log->apply_reader;
    struct cached_entry *cached = entry_cache_find(&log->cache, index);
    if (cached != NULL) {
        cached_entry_keep(cached);
        log->taken[index & (log_taken_max - 1)] = cached;
        *bytes = cached_entry_bytes(cached);
        *term = cached->term;
        return true;
    }
    const struct wal_entry *read = log_reader_find(reader, index);
    if (read != NULL) {
        log->taken[index & (log_taken_max - 1)] = NULL;
        *bytes = read->bytes;
        *term = read->term;
        return true;
    }
    /* What was read before may still be referred to. */
    if (!reader->reading && log->applied_index == log->taken_index && !log->failed) {
        log_reader_drop(reader);
        log_reader_start(reader, index, log_take_limit(log));
    }
    return false;
}

bool replicated_log_take(struct replicated_log *log, struct log_committed *committed)
{
    struct bytes bytes;
    uint64_t index = log->taken_index + 1;

    *committed = (struct log_committed){0};
    if (index > log_take_limit(log) || log->taken_index - log->applied_index == log_taken_max)
        return false;
    if (!take_bytes(log, index, &bytes, &committed->term))
        return false;
    enum status status = entry_decode(bytes, &committed->entry);
    ASSERT(status == STATUS_OK); /* it was when it came, or was recovered */
    committed->index = index;
    committed->context = proposal_context(&log->proposals, index);
    log->taken_index = index;
    return true;
}

void replicated_log_applied(struct replicated_log *log, uint64_t index)
{
    ASSERT(index == log->applied_index + 1 && index <= log->taken_index);
    struct cached_entry **taken = &log->taken[index & (log_taken_max - 1)];
    cached_entry_release(*taken);
    *taken = NULL;
    log->applied_index = index;
    raft_applied(log->raft, index);
    struct log_proposals *proposals = &log->proposals;
    if (proposals->count > 0 && proposal_at(proposals, 0)->index == index)
        proposals_pop_first(proposals);
    log_cache_trim(log);
}

enum status replicated_log_replay(struct replicated_log *log, uint64_t index)
{
    if (index > log->applied_index || index + 1 < wal_first_index(log->wal))
        return STATUS_NOT_FOUND;
    for (uint64_t taken = log->applied_index + 1; taken <= log->taken_index; taken++) {
        struct cached_entry **cached = &log->taken[taken & (log_taken_max - 1)];
        cached_entry_release(*cached);
        *cached = NULL;
    }
    log->taken_index = index;
    log->applied_index = index;
    return STATUS_OK;
}

/* ---- What is kept, and for whom ---- */

void log_cache_trim(struct replicated_log *log)
{
    struct entry_cache *cache = &log->cache;
    uint64_t settled =
        log->applied_index < log->peers_index ? log->applied_index : log->peers_index;
    bool alone = log->options.bus == NULL && log->pin_index == UINT64_MAX;
    size_t settled_size = alone ? 0 : log_settled_size;
    /* What is not durable cannot be read again. */
    uint64_t durable = wal_durable_index(log->wal);
    if (durable > log->written_index)
        durable = log->written_index;

    while (cache->count > 0 && cache->first <= durable &&
           ((cache->first <= settled && cache->size > settled_size) ||
            cache->size > log->options.cache_size_max))
        entry_cache_drop_first(cache);
}

static struct log_extent *extent_at(struct replicated_log *log, unsigned position)
{
    return &log->extents[(log->extents_first + position) % log_extents_max];
}

void log_extent_add(struct replicated_log *log, uint64_t index, size_t size)
{
    log->appended_size += size;
    if (log->extents_count > 0) {
        const struct log_extent *newest = extent_at(log, log->extents_count - 1);
        if (log->appended_size - newest->size < extent_size)
            return;
    }
    if (log->extents_count == log_extents_max) {
        log->extents_first = (log->extents_first + 1) % log_extents_max;
        log->extents_count--;
    }
    *extent_at(log, log->extents_count++) =
        (struct log_extent){.index = index, .size = log->appended_size};
}

/* The newest `size` bytes of the log are above this index. */
static uint64_t index_before(struct replicated_log *log, uint64_t size)
{
    uint64_t index = 0;
    for (unsigned i = 0; i < log->extents_count; i++) {
        const struct log_extent *extent = extent_at(log, i);
        if (log->appended_size - extent->size < size)
            break;
        index = extent->index;
    }
    return index;
}

/* How far the members are that this leader hears of: what they hold needs not be kept for them. */
static uint64_t members_index(const struct replicated_log *log, uint64_t floor)
{
    const struct membership *membership = memberships_newest(&log->memberships);
    uint64_t index = UINT64_MAX;
    for (unsigned i = 0; i < membership->count; i++) {
        struct raft_progress progress;
        if (membership->members[i].id == log->self ||
            !raft_progress(log->raft, membership->members[i].id, &progress) ||
            progress.match_index < floor)
            continue;
        if (progress.match_index < index)
            index = progress.match_index;
    }
    return index;
}

void log_release(struct replicated_log *log)
{
    uint64_t index = log->state_index;
    log->release_look_ns = log_now_ns(log);
    log->peers_index = UINT64_MAX;
    if (log->raft == NULL)
        return;
    if (log->options.bus != NULL && !log_is_alone(log)) {
        uint64_t most = log->options.retained_size_max;
        uint64_t idle = index_before(log, most < RETAINED_SIZE_IDLE ? most : RETAINED_SIZE_IDLE);
        log->peers_index = members_index(log, index_before(log, most));
        index = index < idle ? index : idle;
        index = index < log->peers_index ? index : log->peers_index;
    }
    index = index < log->pin_index ? index : log->pin_index;
    if (index > log->released_index) {
        log->released_index = index;
        raft_release(log->raft, index);
        wal_release(log->wal, index);
    }
    log_cache_trim(log);
}

void replicated_log_release(struct replicated_log *log, uint64_t index)
{
    if (index > log->state_index)
        log->state_index = index;
    log_release(log);
}

void replicated_log_pin(struct replicated_log *log, uint64_t index)
{
    bool rises = index > log->pin_index;
    log->pin_index = index;
    if (rises && log->state_index > log->released_index)
        log_release(log);
}

/* ---- Turns ---- */

void replicated_log_turn(struct replicated_log *log)
{
    if (log->failed)
        return;
    if (log->mend != NULL && mend_turn(log->mend)) {
        mend_free(log->mend);
        log->mend = NULL;
    }
    if (log->raft != NULL) {
        log_raft_follow(log);
        if (log->options.bus != NULL) {
            if (log_now_ns(log) - log->release_look_ns > release_look_ms * LOG_NS_PER_MS)
                log_release(log);
            log_send_appends(log);
        }
    }
    wal_flush(log->wal);
    if (log->raft != NULL && log->options.bus != NULL)
        log_send_messages(log);
    log_raft_tell(log);
    if (log->options.bus != NULL) {
        mend_answer_turn(log);
        log_send_reap(log);
        bus_flush(log->options.bus);
    }
    log_raft_timer(log);
}

/* ---- Reads ---- */

bool replicated_log_may_read(const struct replicated_log *log)
{
    return log->raft != NULL && raft_may_read(log->raft);
}

bool replicated_log_lease_holds(const struct replicated_log *log)
{
    return log->raft != NULL && raft_lease_holds(log->raft, log_now_ns(log));
}

enum status replicated_log_confirm(struct replicated_log *log, uint64_t *round)
{
    *round = 0;
    if (log->raft == NULL)
        return STATUS_NOT_LEADER;
    enum status status = raft_confirm(log->raft, log_now_ns(log), round);
    if (status == STATUS_OK) {
        log->confirm_wanted = *round;
        log->confirm_term = raft_term(log->raft);
    }
    return status;
}

/* ---- Members ---- */

enum status replicated_log_change(struct replicated_log *log, const struct membership *target)
{
    if (log->options.bus == NULL)
        return STATUS_UNSUPPORTED;
    if (log->raft == NULL)
        return STATUS_NOT_LEADER;
    if (target->count > limit_members_count || membership_is_joint(target))
        return STATUS_INVALID_ARGUMENT;
    struct membership ordered = {0};
    for (unsigned i = 0; i < target->count; i++) {
        const struct member *member = &target->members[i];
        if (member->id == 0 || (member->kinds != MEMBER_VOTER && member->kinds != MEMBER_LEARNER) ||
            membership_find(&ordered, member->id) != NULL || !membership_set(&ordered, member))
            return STATUS_INVALID_ARGUMENT;
    }
    unsigned voters = 0;
    for (unsigned i = 0; i < ordered.count; i++)
        voters += ordered.members[i].kinds == MEMBER_VOTER;
    if (voters > limit_voters_count)
        return STATUS_INVALID_ARGUMENT;
    const struct raft_configuration configuration = memberships_configuration(&ordered);
    log->change = ordered;
    enum status status = raft_change(log->raft, log_now_ns(log), &configuration);
    if (status == STATUS_OK)
        log_raft_follow(log);
    log->change = (struct membership){0};
    return status;
}

enum status replicated_log_transfer(struct replicated_log *log, uint64_t to)
{
    if (log->raft == NULL)
        return STATUS_NOT_LEADER;
    return raft_transfer(log->raft, log_now_ns(log), to);
}

const struct membership *replicated_log_membership(const struct replicated_log *log)
{
    return memberships_newest(&log->memberships);
}

uint64_t replicated_log_self(const struct replicated_log *log)
{
    return log->self;
}

enum log_role replicated_log_role(const struct replicated_log *log)
{
    if (log->raft == NULL)
        return LOG_MENDING;
    switch (raft_role(log->raft)) {
    case RAFT_LEADER:
        return LOG_LEADER;
    case RAFT_FOLLOWER:
        return LOG_FOLLOWER;
    case RAFT_CANDIDATE_PREVOTE:
    case RAFT_CANDIDATE:
        return LOG_CANDIDATE;
    }
    UNREACHABLE();
}

uint64_t replicated_log_leader_id(const struct replicated_log *log)
{
    return log->raft == NULL ? 0 : raft_leader(log->raft);
}

const struct member *replicated_log_leader(const struct replicated_log *log)
{
    uint64_t leader = replicated_log_leader_id(log);
    return leader == 0 ? NULL : membership_find(memberships_newest(&log->memberships), leader);
}

bool replicated_log_member_facts(const struct replicated_log *log, uint64_t id,
                                 struct log_member_facts *facts)
{
    struct raft_progress progress;
    *facts = (struct log_member_facts){.id = id};
    if (log->raft == NULL || id == log->self || !raft_progress(log->raft, id, &progress))
        return false;
    uint64_t last = raft_last(log->raft).index;
    uint64_t now = log_now_ns(log);
    facts->match_index = progress.match_index;
    facts->lag_entries = last - progress.match_index;
    facts->answered = progress.answered_ns != 0;
    if (facts->answered && now > progress.answered_ns)
        facts->answered_ago_ms = (now - progress.answered_ns) / LOG_NS_PER_MS;
    facts->snapshot = progress.snapshot_wanted;
    for (unsigned i = 0; i < log->connected_count; i++)
        facts->connected |= log->connected[i] == id;
    return true;
}

/* ---- Snapshots and messages of the owner's ---- */

void replicated_log_snapshot_sent(struct replicated_log *log, uint64_t member, struct wal_mark mark,
                                  bool ok)
{
    if (log->raft != NULL)
        raft_snapshot_sent(log->raft, log_now_ns(log), member,
                           (struct raft_mark){mark.index, mark.term}, ok);
}

void replicated_log_disown(struct replicated_log *log)
{
    log->proposals_passed = log->proposals.count != 0;
}

void replicated_log_hold(struct replicated_log *log, bool held)
{
    log->held = held;
    if (log->raft != NULL)
        raft_hold(log->raft, held);
}

bool replicated_log_send(struct replicated_log *log, uint64_t to, uint8_t kind, enum bus_lane lane,
                         struct bytes message)
{
    ASSERT(peer_kind_is_owned(kind));
    return log_send_message(log, &(struct peer_message){.kind = kind, .to = to}, lane, message);
}

/* ---- How it stands ---- */

uint64_t replicated_log_term(const struct replicated_log *log)
{
    return log->raft == NULL ? wal_hard_state(log->wal).term : raft_term(log->raft);
}

uint64_t replicated_log_durable_index(const struct replicated_log *log)
{
    return wal_durable_index(log->wal);
}

struct log_facts replicated_log_facts(const struct replicated_log *log)
{
    uint64_t index;
    if (log->raft == NULL)
        return (struct log_facts){0};
    struct raft_mark base = raft_base(log->raft);
    /* The disk may still have what was superseded, where the newer entries wait to be written. */
    uint64_t held = wal_durable_index(log->wal);
    held = held < log->written_index ? held : log->written_index;
    struct wal_hard_state hard_state = wal_hard_state(log->wal);
    return (struct log_facts){
        .is_whole = true,
        .base = base,
        .last = raft_last(log->raft),
        .held_index = held > base.index ? held : base.index,
        .hard_state = {.term = hard_state.term, .vote = hard_state.vote},
        .configuration = raft_configuration(log->raft, &index),
    };
}

bool replicated_log_term_at(const struct replicated_log *log, uint64_t index, uint64_t *term)
{
    *term = 0;
    return log->raft != NULL && raft_term_at(log->raft, index, term);
}

uint64_t replicated_log_inflight_count(const struct replicated_log *log)
{
    return log->proposals.count;
}

uint64_t replicated_log_time_ns(struct replicated_log *log)
{
    uint64_t now = log_clock_read(&log->clock, log_now_ns(log), io_wall_ns(log->options.io));
    return now > log->clock.last_ns ? now : log->clock.last_ns;
}

bool replicated_log_clock_jumped(const struct replicated_log *log, int64_t *offset_ns)
{
    *offset_ns = log->clock.offset_ns;
    return log->clock.jumped;
}

struct wal_statistics replicated_log_statistics(const struct replicated_log *log)
{
    return wal_statistics(log->wal);
}

const struct histogram *replicated_log_flushes_ns(const struct replicated_log *log)
{
    return wal_flushes_ns(log->wal);
}

struct raft_statistics replicated_log_raft_statistics(const struct replicated_log *log)
{
    return log->raft == NULL ? (struct raft_statistics){0} : raft_statistics(log->raft);
}
