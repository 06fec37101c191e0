/* SPDX-License-Identifier: Apache-2.0 */
/* From files to a log, and back: recovery, a new store's identity and membership, the election of a
 * region of one; closing. */
#include <stdlib.h>

#include "proto/base/hash.h"
#include "proto/base/log.h"
#include "replication/replicated_log_internal.h"

#define RETAINED_SIZE_DEFAULT (256ULL << 20)

enum {
    inflight_size_default = 64 * 1024 * 1024,
    cache_size_default = 64 * 1024 * 1024,
    election_timeout_default_ms = 300,
    restore_entries_max = 256,
};

/* ---- What the write-ahead log held ---- */

static enum status recovered_reserve(struct log_recovered *recovered)
{
    if (recovered->count < recovered->capacity)
        return STATUS_OK;
    size_t capacity = recovered->capacity == 0 ? 1024 : 2 * recovered->capacity;
    struct log_recovered_entry *entries = realloc(recovered->entries, capacity * sizeof *entries);
    if (entries == NULL)
        return STATUS_NO_MEMORY;
    recovered->entries = entries;
    recovered->capacity = capacity;
    return STATUS_OK;
}

enum status log_recovered_membership(struct replicated_log *log, uint64_t index, struct bytes body)
{
    struct membership membership;
    enum status status = membership_decode(body, &membership);
    if (status == STATUS_UNSUPPORTED)
        return STATUS_NEWER_FORMAT;
    if (status != STATUS_OK || memberships_configuration(&membership).voters_count == 0)
        return STATUS_CORRUPT;
    status = memberships_reserve(&log->memberships, 1);
    if (status != STATUS_OK)
        return status;
    memberships_add(&log->memberships, index, &membership);
    log->membership_version++;
    return STATUS_OK;
}

static enum status recovered_bytes(struct replicated_log *log, const struct wal_entry *recovered)
{
    struct entry entry;
    enum status status = entry_decode(recovered->bytes, &entry);
    if (status == STATUS_UNSUPPORTED)
        return STATUS_NEWER_FORMAT;
    if (status != STATUS_OK)
        return STATUS_CORRUPT;
    if (entry.kind == ENTRY_MEMBERSHIP) {
        status = log_recovered_membership(log, recovered->index, entry.body);
        if (status != STATUS_OK)
            return status;
    }
    log_clock_observe(&log->clock, entry.log_time_ns);
    struct cached_entry *cached =
        cached_entry_create(recovered->index, recovered->term, recovered->bytes.size);
    if (cached == NULL || entry_cache_reserve(&log->cache, 1) != STATUS_OK) {
        cached_entry_release(cached);
        return STATUS_NO_MEMORY;
    }
    bytes_copy(cached->bytes, recovered->bytes);
    entry_cache_put(&log->cache, cached);
    while (log->cache.size > log->options.cache_size_max)
        entry_cache_drop_first(&log->cache);
    return STATUS_OK;
}

static enum status on_replay(void *context, const struct wal_entry *entry)
{
    struct replicated_log *log = context;
    struct log_recovered *recovered = &log->recovered;

    ASSERT(entry->index == recovered->base.index + recovered->count + 1);
    enum status status = recovered_reserve(recovered);
    if (status != STATUS_OK)
        return status;
    recovered->entries[recovered->count++] =
        (struct log_recovered_entry){.term = entry->term, .hole = entry->hole != WAL_WHOLE};
    if (entry->hole == WAL_WHOLE)
        return recovered_bytes(log, entry);
    if (entry->hole == WAL_HOLE_SUSPECT && recovered->suspect_index == 0)
        recovered->suspect_index = entry->index;
    entry_cache_cut(&log->cache, 0); /* it has no gaps */
    return STATUS_OK;
}

void log_recovered_cut(struct replicated_log *log, uint64_t index)
{
    struct log_recovered *recovered = &log->recovered;
    if (index <= recovered->base.index + recovered->count)
        recovered->count = (size_t)(index - recovered->base.index - 1);
    entry_cache_cut(&log->cache, index);
    memberships_cut(&log->memberships, index);
    log->membership_version++;
}

void log_recovered_install(struct replicated_log *log, struct wal_mark mark)
{
    struct log_recovered *recovered = &log->recovered;
    size_t gone = (size_t)(mark.index - recovered->base.index);
    bool held =
        gone > 0 && gone <= recovered->count && recovered->entries[gone - 1].term == mark.term;

    if (held) {
        recovered->count -= gone;
        memmove(recovered->entries, recovered->entries + gone,
                recovered->count * sizeof recovered->entries[0]);
        while (log->cache.count > 0 && log->cache.first <= mark.index)
            entry_cache_drop_first(&log->cache);
    } else {
        memberships_cut(&log->memberships, mark.index);
        entry_cache_cut(&log->cache, 0);
        recovered->count = 0;
    }
    recovered->base = mark;
}

bool log_is_alone(const struct replicated_log *log)
{
    const struct membership *membership = memberships_newest(&log->memberships);
    return membership->count == 1 && membership->members[0].id == log->self;
}

/* Asked by the write-ahead log where it has damage: may peers have what it lost? */
static bool on_is_alone(void *context)
{
    struct replicated_log *log = context;
    const struct membership *membership = memberships_newest(&log->memberships);
    if (membership->count != 1 || membership->members[0].kinds != MEMBER_VOTER)
        return false;
    if (log->recovered.suspect_index != 0)
        log_recovered_cut(log, log->recovered.suspect_index);
    return true;
}

static void on_mended(void *context)
{
    struct replicated_log *log = context;
    if (log->mend != NULL)
        mend_look(log->mend);
}

static void on_failed(void *context, enum status status, const char *text)
{
    log_fail(context, status, text);
}

static enum status recover(struct replicated_log *log, struct wal_report *report,
                           struct error *error)
{
    const struct replicated_log_options *options = &log->options;
    const struct wal_options wal_options = {
        .io = options->io,
        .keyring = options->keyring,
        .directory = options->directory,
        .segment_size = options->segment_size,
        .space_kept_size = options->space_kept_size,
        .alone = options->bus == NULL,
        .is_alone = on_is_alone,
        .durable = log_raft_on_durable,
        .mended = on_mended,
        .failed = on_failed,
        .context = log,
    };
    struct membership base;
    enum status status = membership_decode(options->membership, &base);
    if (status != STATUS_OK)
        return error_set(error, status, "The membership that the state keeps cannot be read: %s.",
                         status_text(status));
    status = memberships_begin(&log->memberships, options->base.index, &base);
    if (status != STATUS_OK)
        return error_set(error, status, "Out of memory for the log.");
    log->recovered.base = options->base;
    status = wal_open(&wal_options, options->base, on_replay, log, &log->wal, report, error);
    if (status != STATUS_OK)
        return status;
    log->taken_index = options->base.index;
    log->applied_index = options->base.index;
    log->state_index = options->base.index;
    log->released_index = options->base.index;
    log_clock_init(&log->clock, log_now_ns(log), io_wall_ns(options->io), log->clock.last_ns);
    return STATUS_OK;
}

/* ---- A new store ---- */

struct wait {
    bool done;
    enum status status;
};

static void on_written(void *context, enum status status)
{
    struct wait *wait = context;
    *wait = (struct wait){.done = true, .status = status};
}

static enum status write_hard_state(struct replicated_log *log, const struct wal_hard_state *state,
                                    struct error *error)
{
    struct wait wait = {0};
    wal_hard_state_write(log->wal, state, on_written, &wait);
    while (!wait.done)
        io_turn(log->options.io, true);
    if (wait.status != STATUS_OK)
        return error_set(error, wait.status, "The hard state could not be written to %s: %s.",
                         log->options.directory, status_text(wait.status));
    return STATUS_OK;
}

static struct wal_mark recovered_last(const struct replicated_log *log)
{
    const struct log_recovered *recovered = &log->recovered;
    if (recovered->count == 0)
        return recovered->base;
    return (struct wal_mark){.index = recovered->base.index + recovered->count,
                             .term = recovered->entries[recovered->count - 1].term};
}

/* The log's first membership, of this store alone: an entry like that of a leader of a term of its
 * own, which nobody else takes part in. */
static enum status found_region(struct replicated_log *log, struct error *error)
{
    uint8_t encoded[membership_size_max];
    struct wal_mark last = recovered_last(log);
    struct membership membership = {.count = 1, .members = {log->options.self}};
    struct wal_hard_state state = wal_hard_state(log->wal);

    membership.members[0].id = log->self;
    membership.members[0].kinds = MEMBER_VOTER;
    membership_encode(&membership, encoded);
    state.term = (state.term > last.term ? state.term : last.term) + 1;
    state.vote = log->self;
    enum status status = write_hard_state(log, &state, error);
    if (status != STATUS_OK)
        return status;
    struct cached_entry *entry = log_entry_create(
        log, ENTRY_MEMBERSHIP, (struct bytes){0}, bytes_of(encoded, membership_size(&membership)),
        (struct raft_mark){last.index + 1, state.term}, log_now_ns(log));
    status = entry == NULL ? STATUS_NO_MEMORY : STATUS_OK;
    struct wal_entry founding = {.index = last.index + 1, .term = state.term};
    if (status == STATUS_OK) {
        founding.bytes = cached_entry_bytes(entry);
        status = wal_append(log->wal, &founding, 1);
    }
    if (status == STATUS_OK) {
        wal_flush(log->wal);
        while (wal_durable_index(log->wal) < founding.index && !log->failed)
            io_turn(log->options.io, true);
        status = log->failed ? STATUS_IO_ERROR : on_replay(log, &founding);
    }
    cached_entry_release(entry);
    if (status != STATUS_OK)
        return error_set(error, status, "The region's first entry could not be logged in %s: %s.",
                         log->options.directory, status_text(status));
    return STATUS_OK;
}

/* Who this is, and whether the region begins with it. */
static enum status identify(struct replicated_log *log, struct error *error)
{
    struct wal_hard_state state = wal_hard_state(log->wal);
    bool alone_for_good = log->options.bus == NULL;
    bool has_membership = memberships_newest(&log->memberships)->count != 0;
    bool is_new = recovered_last(log).index == 0;
    bool had_id = state.member != 0;

    if (!had_id && has_membership)
        return error_set(error, STATUS_CORRUPT,
                         "The log in %s has a membership, but its hard state does not say which "
                         "member this is.",
                         log->options.directory);
    if (!had_id) {
        state.member = hash_u64(log->options.seed);
        if (state.member == 0)
            state.member = 1;
        enum status status = write_hard_state(log, &state, error);
        if (status != STATUS_OK)
            return status;
    }
    log->self = state.member;
    if (!has_membership) {
        /* A store without a membership that holds something is one of before there were any; or it
         * has begun to join a region, and knows its id. */
        bool founds = is_new ? alone_for_good || log->options.bootstrap : !had_id;
        if (founds)
            return found_region(log, error);
    }
    if (alone_for_good && !log_is_alone(log))
        return error_set(
            error, STATUS_INVALID_ARGUMENT,
            "The store belongs to a region of several members, or waits to be added to "
            "one: its region has to be configured.");
    return STATUS_OK;
}

/* ---- Raft ---- */

static uint64_t recovered_term(const struct replicated_log *log, uint64_t index)
{
    const struct log_recovered *recovered = &log->recovered;
    uint64_t term = 0;

    if (index > recovered->base.index)
        return recovered->entries[index - recovered->base.index - 1].term;
    bool found = wal_term_at(log->wal, index, &term);
    ASSERT(found);
    return term;
}

/* What the log has after the index `after`, with the configurations of those that have one: of what
 * the state covers only the newest counts, which Raft has already. */
static enum status restore(struct replicated_log *log, uint64_t after)
{
    struct raft_entry entries[restore_entries_max];
    struct raft_configuration configuration;
    uint64_t last = recovered_last(log).index;
    size_t membership = 1; /* the first is the base's */

    for (uint64_t index = after + 1; index <= last;) {
        size_t count = 0;
        bool more = true;
        for (; more && index <= last && count < restore_entries_max; index++, count++) {
            entries[count] = (struct raft_entry){.term = recovered_term(log, index)};
            if (membership < log->memberships.count &&
                log->memberships.items[membership].index == index) {
                configuration =
                    memberships_configuration(&log->memberships.items[membership++].membership);
                entries[count].configuration = &configuration;
                more = false; /* one at a time */
            }
        }
        enum status status = raft_restore(log->raft, entries, count);
        if (status != STATUS_OK)
            return status;
    }
    ASSERT(membership == log->memberships.count);
    return STATUS_OK;
}

/* Where nobody else decides there is no reason to wait for anybody: the time to stand has come. */
static uint64_t start_ns(const struct replicated_log *log)
{
    uint64_t now = log_now_ns(log);
    uint64_t passed = 2 * log->options.election_timeout_ms * LOG_NS_PER_MS;
    return log_is_alone(log) && now > passed ? now - passed : now;
}

enum status log_raft_begin(struct replicated_log *log, struct error *error)
{
    struct log_recovered *recovered = &log->recovered;
    struct wal_hard_state state = wal_hard_state(log->wal);
    /* What the state covers and the log still has is what a member needs that lags a little. */
    struct wal_mark after = wal_served_after(log->wal, recovered->base.index);
    const struct raft_options options = {
        .self = log->self,
        .now_ns = start_ns(log),
        .election_timeout_ns = log->options.election_timeout_ms * LOG_NS_PER_MS,
        .lease_off = log->options.lease_off,
        .seed = log->options.seed,
        .hard_state = {.term = state.term, .vote = state.vote},
        .base = {after.index, after.term},
        .applied_index = recovered->base.index,
        .configuration = memberships_configuration(&log->memberships.items[0].membership),
    };
    enum status status = raft_create(&options, &log->raft);
    if (status == STATUS_OK)
        status = restore(log, after.index);
    if (status != STATUS_OK)
        return error_set(error, status, "Consensus could not begin with the log in %s: %s.",
                         log->options.directory, status_text(status));
    log->written_index = raft_last(log->raft).index;
    log->told_limit = raft_commit_index(log->raft);
    log->released_index = after.index;
    raft_hold(log->raft, log->held);
    free(recovered->entries);
    log->recovered = (struct log_recovered){0};
    log_raft_follow(log);
    return STATUS_OK;
}

/* Until its term has begun. */
static enum status elect_alone(struct replicated_log *log, struct error *error)
{
    while (raft_role(log->raft) != RAFT_LEADER) {
        raft_tick(log->raft, log_now_ns(log));
        log_raft_follow(log);
        if (log->failed)
            return error_set(error, STATUS_IO_ERROR, "The new term could not be written to %s.",
                             log->options.directory);
        if (raft_role(log->raft) == RAFT_LEADER)
            break;
        log_raft_timer(log);
        io_turn(log->options.io, true);
    }
    if (log->written_index < raft_last(log->raft).index)
        return error_set(error, log->write_status,
                         "The first entry of term %llu could not be logged in %s: %s.",
                         (unsigned long long)raft_term(log->raft), log->options.directory,
                         status_text(log->write_status));
    wal_flush(log->wal);
    return STATUS_OK;
}

/* ---- Opening and closing ---- */

static void take_options(struct replicated_log *log, const struct replicated_log_options *options)
{
    log->options = *options;
    if (log->options.inflight_size_max == 0)
        log->options.inflight_size_max = inflight_size_default;
    if (log->options.cache_size_max == 0)
        log->options.cache_size_max = cache_size_default;
    if (log->options.retained_size_max == 0)
        log->options.retained_size_max = RETAINED_SIZE_DEFAULT;
    if (log->options.election_timeout_ms == 0)
        log->options.election_timeout_ms = election_timeout_default_ms;
    log->opening = true;
    log->peers_index = UINT64_MAX;
    log->pin_index = UINT64_MAX;
    list_init(&log->readers);
    log->timer_ns = UINT64_MAX;
    log->timer = (struct io_timer){.fired = log_raft_on_timer, .context = log};
    log->apply_reader.log = log;
    entry_cache_init(&log->cache);
    log->clock.last_ns = options->log_time_ns;
}

/* Of memory only: the write-ahead log is closed, or was never opened. */
static void log_free(struct replicated_log *log)
{
    for (unsigned i = 0; i < log_taken_max; i++)
        cached_entry_release(log->taken[i]);
    mend_free(log->mend);
    raft_destroy(log->raft);
    entry_cache_free(&log->cache);
    memberships_free(&log->memberships);
    free(log->recovered.entries);
    free(log->proposals.items);
    free(log);
}

static enum status start(struct replicated_log *log, struct error *error)
{
    if (!wal_is_whole(log->wal))
        return mend_create(log, &log->mend, error);
    enum status status = log_raft_begin(log, error);
    if (status == STATUS_OK && log_is_alone(log))
        status = elect_alone(log, error);
    return status;
}

enum status replicated_log_open(const struct replicated_log_options *options,
                                struct replicated_log **log_out, struct wal_report *report,
                                struct error *error)
{
    struct replicated_log *log = calloc(1, sizeof *log);

    *log_out = NULL;
    if (log == NULL)
        return error_set(error, STATUS_NO_MEMORY, "Out of memory for the log.");
    take_options(log, options);
    enum status status = recover(log, report, error);
    if (status == STATUS_OK)
        status = identify(log, error);
    if (status == STATUS_OK)
        status = start(log, error);
    if (status != STATUS_OK)
        goto err;
    if (options->bus != NULL) {
        const struct bus_user user = {
            .received = log_receive_message,
            .happened = log_receive_event,
            .context = log,
        };
        bus_attach(options->bus, &user);
    }
    log->opening = false;
    log_raft_timer(log);
    *log_out = log;
    return STATUS_OK;

err:
    io_timer_stop(options->io, &log->timer);
    if (log->wal != NULL && wal_close(log->wal) != STATUS_OK)
        error_prefix(error, "The log was not closed cleanly. ");
    log_free(log);
    return status;
}

static bool is_reading(const struct replicated_log *log)
{
    bool reading = log->apply_reader.reading;
    for (unsigned i = 0; i < log_peers_max; i++)
        reading |= log->peers[i].reader.reading || log->peers[i].mend_reader.reading;
    return reading || log_readers_are_reading(log) || log->hard_state_writing;
}

enum status replicated_log_close(struct replicated_log *log)
{
    log->closing = true;
    /* What members say from here on would be written for nobody, and keep the log from its end. */
    if (log->options.bus != NULL)
        bus_attach(log->options.bus, NULL);
    io_timer_stop(log->options.io, &log->timer);
    while (is_reading(log))
        io_turn(log->options.io, true);
    log_reader_drop(&log->apply_reader);
    for (unsigned i = 0; i < log_peers_max; i++) {
        log_reader_drop(&log->peers[i].reader);
        log_reader_drop(&log->peers[i].mend_reader);
    }
    ASSERT(list_is_empty(&log->readers)); /* all were closed */
    enum status status = wal_close(log->wal);
    log_proposals_drop(log, 0);
    log_free(log);
    return status;
}
