/* SPDX-License-Identifier: Apache-2.0 */
/* The log as Raft knows it: terms as runs, configurations by index. */
#include "replication/raft/raft_internal.h"

#include <stdlib.h>
#include <string.h>

enum status raft_log_init(struct raft_log *log, struct raft_mark base,
                          const struct raft_configuration *configuration)
{
    *log = (struct raft_log){.base = base, .last_index = base.index, .durable_index = base.index};
    enum status status = raft_log_reserve(log, 1, 1);
    if (status != STATUS_OK)
        return status;
    log->configurations[0] =
        (struct raft_configuration_at){.index = base.index, .configuration = *configuration};
    log->configurations_count = 1;
    return STATUS_OK;
}

void raft_log_deinit(struct raft_log *log)
{
    free(log->runs);
    free(log->configurations);
    *log = (struct raft_log){0};
}

/* Grows by doubling, so that appending stays cheap. */
static bool grow(void **memory, size_t *capacity, size_t wanted, size_t item_size)
{
    if (wanted <= *capacity)
        return true;
    size_t grown = *capacity < 8 ? 8 : *capacity;
    while (grown < wanted)
        grown *= 2;
    void *larger = realloc(*memory, grown * item_size);
    if (larger == NULL)
        return false;
    *memory = larger;
    *capacity = grown;
    return true;
}

enum status raft_log_reserve(struct raft_log *log, size_t runs, size_t configurations)
{
    void *memory = log->runs;
    bool ok = grow(&memory, &log->runs_capacity, log->runs_count + runs, sizeof(struct raft_run));
    log->runs = memory;
    if (!ok)
        return STATUS_NO_MEMORY;
    memory = log->configurations;
    ok = grow(&memory, &log->configurations_capacity, log->configurations_count + configurations,
              sizeof(struct raft_configuration_at));
    log->configurations = memory;
    return ok ? STATUS_OK : STATUS_NO_MEMORY;
}

/* How many runs begin at or below `index`. */
static size_t runs_up_to(const struct raft_log *log, uint64_t index)
{
    size_t low = 0;
    size_t high = log->runs_count;
    /* Most ask for what is newest. */
    if (high > 0 && log->runs[high - 1].first_index <= index)
        return high;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (log->runs[middle].first_index <= index)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool raft_log_term_at(const struct raft_log *log, uint64_t index, uint64_t *term)
{
    *term = 0;
    if (index < log->base.index || index > log->last_index)
        return false;
    if (index == log->base.index) {
        *term = log->base.term;
        return true;
    }
    size_t runs = runs_up_to(log, index);
    ASSERT(runs > 0);
    *term = log->runs[runs - 1].term;
    return true;
}

struct raft_mark raft_log_mark(const struct raft_log *log, uint64_t index)
{
    struct raft_mark mark = {.index = index};
    bool found = raft_log_term_at(log, index, &mark.term);
    ASSERT(found);
    return mark;
}

struct raft_mark raft_log_last(const struct raft_log *log)
{
    return raft_log_mark(log, log->last_index);
}

bool raft_log_has(const struct raft_log *log, struct raft_mark mark)
{
    uint64_t term;
    return raft_log_term_at(log, mark.index, &term) && term == mark.term;
}

struct raft_mark raft_log_candidate(const struct raft_log *log, struct raft_mark mark)
{
    uint64_t index = mark.index < log->last_index ? mark.index : log->last_index;

    if (index <= log->base.index)
        return log->base;
    for (size_t run = runs_up_to(log, index); run > 0; run--) {
        if (log->runs[run - 1].term <= mark.term)
            return (struct raft_mark){.index = index, .term = log->runs[run - 1].term};
        index = log->runs[run - 1].first_index - 1;
    }
    ASSERT(index == log->base.index);
    return log->base;
}

void raft_log_append(struct raft_log *log, uint64_t term,
                     const struct raft_configuration *configuration)
{
    struct raft_mark last = raft_log_last(log);

    ASSERT(term >= last.term && term > 0);
    log->last_index++;
    if (log->runs_count == 0 || log->runs[log->runs_count - 1].term != term) {
        ASSERT(log->runs_count < log->runs_capacity);
        log->runs[log->runs_count++] =
            (struct raft_run){.first_index = log->last_index, .term = term};
    }
    if (configuration != NULL) {
        ASSERT(log->configurations_count < log->configurations_capacity);
        log->configurations[log->configurations_count++] = (struct raft_configuration_at){
            .index = log->last_index, .configuration = *configuration};
    }
}

bool raft_log_may_truncate(const struct raft_log *log)
{
    return log->superseding_index == 0;
}

void raft_log_truncate(struct raft_log *log, uint64_t index)
{
    ASSERT(index > log->base.index && index <= log->last_index);
    ASSERT(raft_log_may_truncate(log));
    if (log->durable_index < log->last_index)
        log->superseding_index = index;
    if (log->durable_index >= index)
        log->durable_index = index - 1;
    log->last_index = index - 1;
    log->runs_count = runs_up_to(log, log->last_index);
    while (!PLANTED(raft_configuration_kept) &&
           log->configurations[log->configurations_count - 1].index > log->last_index) {
        log->configurations_count--;
        ASSERT(log->configurations_count > 0);
    }
}

/* Drops all configurations before the newest at or below `index`. */
void raft_log_committed(struct raft_log *log, uint64_t index)
{
    size_t first = 0;

    ASSERT(index <= log->last_index);
    while (first + 1 < log->configurations_count && log->configurations[first + 1].index <= index)
        first++;
    if (first == 0)
        return;
    log->configurations_count -= first;
    memmove(log->configurations, log->configurations + first,
            log->configurations_count * sizeof(log->configurations[0]));
}

bool raft_log_persisted(struct raft_log *log, struct raft_mark mark)
{
    if (!raft_log_has(log, mark) && !(PLANTED(raft_notice_stale) && mark.index <= log->last_index))
        return false;
    /* Writes are done in the order in which they were begun: when one that supersedes others is,
     * nothing is heard of those any more. */
    if (log->superseding_index != 0 && mark.index >= log->superseding_index)
        log->superseding_index = 0;
    if (mark.index <= log->durable_index)
        return false;
    log->durable_index = mark.index;
    ASSERT(log->durable_index <= log->last_index);
    return true;
}

void raft_log_release(struct raft_log *log, uint64_t index)
{
    if (index <= log->base.index)
        return;
    ASSERT(index <= log->durable_index);
    log->base = raft_log_mark(log, index);
    /* The run that the base lies in stays, unless nothing of it does. */
    size_t gone = runs_up_to(log, index == log->last_index ? index : index + 1);
    gone -= index == log->last_index ? 0 : 1;
    log->runs_count -= gone;
    memmove(log->runs, log->runs + gone, log->runs_count * sizeof(log->runs[0]));
    if (log->runs_count > 0 && log->runs[0].first_index <= index)
        log->runs[0].first_index = index + 1;
    ASSERT(log->configurations[0].index <= log->last_index);
}

void raft_log_install(struct raft_log *log, struct raft_mark mark,
                      const struct raft_configuration *configuration)
{
    bool kept = raft_log_has(log, mark) && !PLANTED(raft_snapshot_drops);

    ASSERT(mark.index > log->base.index);
    if (kept) {
        if (log->durable_index < mark.index)
            log->durable_index = mark.index;
        raft_log_release(log, mark.index);
        raft_log_committed(log, mark.index);
        /* What is left first is of the snapshot's place, or follows it. */
        ASSERT(log->configurations[0].index <= mark.index);
    } else {
        log->base = mark;
        log->last_index = mark.index;
        log->durable_index = mark.index;
        log->runs_count = 0;
        log->configurations_count = 1;
    }
    if (log->superseding_index <= mark.index || !kept)
        log->superseding_index = 0;
    log->configurations[0] =
        (struct raft_configuration_at){.index = mark.index, .configuration = *configuration};
}

const struct raft_configuration_at *raft_log_configuration(const struct raft_log *log)
{
    ASSERT(log->configurations_count > 0);
    return &log->configurations[log->configurations_count - 1];
}
