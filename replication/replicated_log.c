/* SPDX-License-Identifier: Apache-2.0 */
#include "replication/replicated_log.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/hash.h"
#include "proto/base/list.h"
#include "replication/log_clock.h"

enum { inflight_size_default = 64 * 1024 * 1024 };

/* One entry from its proposal or recovery until it is applied. */
struct slot {
    struct list_link link;
    uint64_t index;
    uint64_t term;
    void *context;
    bool proposed; /* here, in this run */
    size_t size;
    uint8_t bytes[]; /* as encoded */
};

struct replicated_log {
    struct replicated_log_options options;
    struct membership membership;
    struct wal *wal;
    struct log_clock clock;
    uint64_t term;
    uint64_t self;
    uint64_t term_index;    /* of the no-op that began the term */
    uint64_t last_index;    /* proposed */
    uint64_t durable_index; /* which is the commit index in a region of one */
    uint64_t taken_index;
    uint64_t applied_index;
    struct list_link slots; /* by index */
    size_t inflight_size;
    uint64_t inflight_count;
};

static void on_durable(void *context, struct wal_mark mark)
{
    struct replicated_log *log = context;
    const uint64_t index = mark.index;
    ASSERT(index >= log->durable_index && index <= log->last_index);
    log->durable_index = index;
    if (log->options.committed != NULL && index > log->taken_index)
        log->options.committed(log->options.context);
}

static void on_failed(void *context, enum status status, const char *text)
{
    struct replicated_log *log = context;
    log->options.failed(log->options.context, status, text);
}

static struct slot *slot_create(uint64_t index, uint64_t term, size_t size)
{
    struct slot *slot = malloc(sizeof *slot + size);
    if (slot == NULL)
        return NULL;
    list_init(&slot->link);
    slot->index = index;
    slot->term = term;
    slot->context = NULL;
    slot->proposed = false;
    slot->size = size;
    return slot;
}

static enum status on_replay(void *context, const struct wal_entry *recovered)
{
    struct replicated_log *log = context;
    struct entry entry;

    enum status status = entry_decode(recovered->bytes, &entry);
    if (status == STATUS_UNSUPPORTED)
        return STATUS_NEWER_FORMAT;
    if (status != STATUS_OK)
        return STATUS_CORRUPT;
    struct slot *slot = slot_create(recovered->index, recovered->term, recovered->bytes.size);
    if (slot == NULL)
        return STATUS_NO_MEMORY;
    bytes_copy(slot->bytes, recovered->bytes);
    list_push_last(&log->slots, &slot->link);
    log_clock_observe(&log->clock, entry.log_time_ns);
    log->last_index = recovered->index;
    return STATUS_OK;
}

struct hard_state_wait {
    bool done;
    enum status status;
};

static void on_hard_state(void *context, enum status status)
{
    struct hard_state_wait *wait = context;
    wait->done = true;
    wait->status = status;
}

/* A region of one elects itself: a new term with its own vote, durable before it is used. */
static enum status begin_term(struct replicated_log *log, struct error *error)
{
    struct hard_state_wait wait = {0};
    struct wal_hard_state state = wal_hard_state(log->wal);
    struct wal_mark last = wal_last(log->wal);

    state.term = (state.term > last.term ? state.term : last.term) + 1;
    state.vote = log->self;
    wal_hard_state_write(log->wal, &state, on_hard_state, &wait);
    while (!wait.done)
        io_turn(log->options.io, true);
    if (wait.status != STATUS_OK)
        return error_set(error, wait.status, "The new term could not be written to %s: %s.",
                         log->options.directory, status_text(wait.status));
    log->term = state.term;
    return STATUS_OK;
}

static void slots_free(struct replicated_log *log)
{
    while (!list_is_empty(&log->slots)) {
        struct slot *slot = LIST_ENTRY(list_pop_first(&log->slots), struct slot, link);
        if (slot->proposed && log->options.dropped != NULL)
            log->options.dropped(log->options.context, slot->context);
        free(slot);
    }
}

static enum status propose(struct replicated_log *log, const struct log_proposal *proposal,
                           bool counted)
{
    struct entry entry = {
        .kind = proposal->kind,
        .epoch_number = log->options.epoch_number,
        .epoch_region = log->options.epoch_region,
        .identity = proposal->identity,
        .body = proposal->body,
    };
    size_t size = entry_size(&entry);

    if (size > log->options.inflight_size_max - log->inflight_size)
        return STATUS_BUSY;
    struct slot *slot = slot_create(log->last_index + 1, log->term, size);
    if (slot == NULL)
        return STATUS_NO_MEMORY;
    entry.log_time_ns =
        log_clock_stamp(&log->clock, io_boot_ns(log->options.io), io_wall_ns(log->options.io));
    entry_encode(&entry, slot->bytes);
    slot->context = proposal->context;
    slot->proposed = counted;
    const struct wal_entry appended = {
        .index = slot->index, .term = log->term, .bytes = bytes_of(slot->bytes, size)};
    enum status status = wal_append(log->wal, &appended, 1);
    if (status != STATUS_OK) {
        free(slot);
        return status;
    }
    list_push_last(&log->slots, &slot->link);
    log->last_index = slot->index;
    if (counted) {
        log->inflight_size += size;
        log->inflight_count++;
    }
    return STATUS_OK;
}

static enum status membership_take(struct replicated_log *log, struct error *error)
{
    enum status status = membership_decode(log->options.membership, &log->membership);
    if (status != STATUS_OK)
        return error_set(error, status, "The membership that the state keeps cannot be read: %s.",
                         status_text(status));
    if (log->membership.count == 0) {
        struct member self = log->options.self;
        self.kinds = MEMBER_VOTER;
        self.id = hash_u64(log->options.seed);
        if (self.id == 0)
            self.id = 1;
        bool fits = membership_set(&log->membership, &self);
        ASSERT(fits);
    }
    log->self = log->membership.members[0].id;
    return STATUS_OK;
}

enum status replicated_log_open(const struct replicated_log_options *options,
                                struct replicated_log **log_out, struct wal_report *report,
                                struct error *error)
{
    struct replicated_log *log = calloc(1, sizeof *log);

    *log_out = NULL;
    if (log == NULL)
        return error_set(error, STATUS_NO_MEMORY, "Out of memory for the log.");
    log->options = *options;
    if (log->options.inflight_size_max == 0)
        log->options.inflight_size_max = inflight_size_default;
    list_init(&log->slots);
    log->clock.last_ns = options->log_time_ns;
    log->last_index = options->base.index;

    const struct wal_options wal_options = {
        .io = options->io,
        .keyring = options->keyring,
        .directory = options->directory,
        .segment_size = options->segment_size,
        .space_kept_size = options->space_kept_size,
        .alone = true,
        .durable = on_durable,
        .failed = on_failed,
        .context = log,
    };
    enum status status = membership_take(log, error);
    if (status == STATUS_OK)
        status = wal_open(&wal_options, options->base, on_replay, log, &log->wal, report, error);
    if (status != STATUS_OK)
        goto err;
    log->durable_index = log->last_index;
    log->taken_index = options->base.index;
    log->applied_index = options->base.index;
    log_clock_init(&log->clock, io_boot_ns(options->io), io_wall_ns(options->io),
                   log->clock.last_ns);
    status = begin_term(log, error);
    if (status != STATUS_OK)
        goto err;
    status = propose(log, &(struct log_proposal){.kind = ENTRY_NOOP}, false);
    if (status != STATUS_OK) {
        error_set(error, status, "The first entry of term %llu could not be logged in %s: %s.",
                  (unsigned long long)log->term, options->directory, status_text(status));
        goto err;
    }
    log->term_index = log->last_index;
    wal_flush(log->wal);
    *log_out = log;
    return STATUS_OK;

err:
    if (log->wal != NULL && wal_close(log->wal) != STATUS_OK)
        error_prefix(error, "The log was not closed cleanly. ");
    slots_free(log);
    free(log);
    return status;
}

enum status replicated_log_close(struct replicated_log *log)
{
    enum status status = wal_close(log->wal);
    slots_free(log);
    free(log);
    return status;
}

enum status replicated_log_propose(struct replicated_log *log, const struct log_proposal *proposal)
{
    return propose(log, proposal, true);
}

void replicated_log_turn(struct replicated_log *log)
{
    wal_flush(log->wal);
}

/* The slot of the first entry that was not taken: the first in the list, or, where an entry was
 * taken and is not applied yet, the second. */
static struct slot *first_untaken(struct replicated_log *log)
{
    LIST_EACH(link, &log->slots)
    {
        struct slot *slot = LIST_ENTRY(link, struct slot, link);
        if (slot->index > log->taken_index)
            return slot;
    }
    return NULL;
}

bool replicated_log_take(struct replicated_log *log, struct log_committed *committed)
{
    *committed = (struct log_committed){0};
    if (log->taken_index == log->durable_index)
        return false;
    struct slot *slot = first_untaken(log);
    ASSERT(slot != NULL && slot->index == log->taken_index + 1);
    committed->index = slot->index;
    committed->term = slot->term;
    committed->context = slot->context;
    enum status status = entry_decode(bytes_of(slot->bytes, slot->size), &committed->entry);
    ASSERT(status == STATUS_OK); /* it was encoded here, or decoded by on_replay() */
    log->taken_index = slot->index;
    return true;
}

void replicated_log_applied(struct replicated_log *log, uint64_t index)
{
    struct slot *slot = LIST_ENTRY(list_first(&log->slots), struct slot, link);
    ASSERT(slot != NULL && slot->index == index && index <= log->taken_index);
    list_remove(&slot->link);
    log->applied_index = index;
    if (slot->proposed) {
        log->inflight_size -= slot->size;
        log->inflight_count--;
    }
    free(slot);
}

void replicated_log_release(struct replicated_log *log, uint64_t index)
{
    wal_release(log->wal, index);
}

uint64_t replicated_log_time_ns(struct replicated_log *log)
{
    uint64_t now =
        log_clock_read(&log->clock, io_boot_ns(log->options.io), io_wall_ns(log->options.io));
    return now > log->clock.last_ns ? now : log->clock.last_ns;
}

bool replicated_log_clock_jumped(const struct replicated_log *log, int64_t *offset_ns)
{
    *offset_ns = log->clock.offset_ns;
    return log->clock.jumped;
}

uint64_t replicated_log_inflight_count(const struct replicated_log *log)
{
    return log->inflight_count;
}

uint64_t replicated_log_term(const struct replicated_log *log)
{
    return log->term;
}

uint64_t replicated_log_durable_index(const struct replicated_log *log)
{
    return log->durable_index;
}

struct wal_statistics replicated_log_statistics(const struct replicated_log *log)
{
    return wal_statistics(log->wal);
}

/* ---- What a region of one has to say of its members ---- */

bool replicated_log_may_read(const struct replicated_log *log)
{
    return log->applied_index >= log->term_index;
}

bool replicated_log_lease_holds(const struct replicated_log *log)
{
    (void)log;
    return true;
}

enum status replicated_log_confirm(struct replicated_log *log, uint64_t *round)
{
    (void)log;
    *round = 0; /* every round was confirmed from the start */
    return STATUS_OK;
}

const struct membership *replicated_log_membership(const struct replicated_log *log)
{
    return &log->membership;
}

uint64_t replicated_log_self(const struct replicated_log *log)
{
    return log->self;
}

enum log_role replicated_log_role(const struct replicated_log *log)
{
    (void)log;
    return LOG_LEADER;
}

const struct member *replicated_log_leader(const struct replicated_log *log)
{
    return &log->membership.members[0];
}

uint64_t replicated_log_commit_index(const struct replicated_log *log)
{
    return log->durable_index;
}

/* ---- Others, of which a region of one has none ---- */

bool replicated_log_send(struct replicated_log *log, uint64_t to, uint8_t kind, enum bus_lane lane,
                         struct bytes message)
{
    (void)log;
    (void)to;
    (void)kind;
    (void)lane;
    (void)message;
    return false;
}

bool replicated_log_member_facts(const struct replicated_log *log, uint64_t id,
                                 struct log_member_facts *facts)
{
    (void)log;
    (void)id;
    *facts = (struct log_member_facts){0};
    return false;
}

enum status replicated_log_change(struct replicated_log *log, const struct membership *target)
{
    (void)log;
    (void)target;
    return STATUS_UNSUPPORTED;
}

enum status replicated_log_transfer(struct replicated_log *log, uint64_t to)
{
    (void)log;
    (void)to;
    return STATUS_INVALID_ARGUMENT;
}

struct raft_statistics replicated_log_raft_statistics(const struct replicated_log *log)
{
    (void)log;
    return (struct raft_statistics){0};
}
