/* SPDX-License-Identifier: Apache-2.0 */
/* Kind fixed: sorted runs of slots. A published version's puts come in order and make a run;
 * closing it merges it into the run before while that is less than twice its size, so runs are
 * about log2 of the entries. A merge is cut off at merge_slots_max while runs are few, which bounds
 * what one publish can cost. A merge that finds no memory is left for the next time. */
#include "storage/lsm/memtable_internal.h"

#include <stdlib.h>

enum {
    merge_slots_max = 128 * 1024,
    runs_few = memtable_runs_max / 2,
};

static int slot_order(const struct memtable_slot *a, const struct memtable_slot *b)
{
    return memtable_record_order(a->prefix, a->record, b->prefix, memtable_record_key(b->record),
                                 b->record->version);
}

/* The first slot of the run at or after (key, version). */
static uint32_t lower_bound(const struct memtable_run *run, uint64_t key_prefix, struct bytes key,
                            uint64_t version)
{
    uint32_t low = 0;
    uint32_t high = run->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct memtable_slot *slot = &run->slots[middle];
        if (memtable_record_order(slot->prefix, slot->record, key_prefix, key, version) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- Writing ---- */

/* Merges the last two runs. False: no memory. */
static bool merge_last(struct memtable_runs *runs)
{
    struct memtable_run *a = &runs->runs[runs->count - 2];
    struct memtable_run *b = &runs->runs[runs->count - 1];
    uint32_t total = a->count + b->count;
    struct memtable_slot *to = malloc(total * sizeof *to);
    if (to == NULL)
        return false;
    uint32_t from_a = 0;
    uint32_t from_b = 0;
    uint32_t count = 0;
    while (from_a < a->count && from_b < b->count)
        to[count++] = slot_order(&a->slots[from_a], &b->slots[from_b]) < 0 ? a->slots[from_a++]
                                                                           : b->slots[from_b++];
    memcpy(to + count, a->slots + from_a, (a->count - from_a) * sizeof *to);
    count += a->count - from_a;
    memcpy(to + count, b->slots + from_b, (b->count - from_b) * sizeof *to);
    free(a->slots);
    /* The newest run's slots serve the next run. */
    if (runs->reserved.slots == NULL)
        runs->reserved = (struct memtable_run){.slots = b->slots, .capacity = b->capacity};
    else
        free(b->slots);
    *a = (struct memtable_run){.slots = to, .count = total, .capacity = total};
    runs->count--;
    return true;
}

static bool merge_is_due(const struct memtable_runs *runs)
{
    if (runs->count < 2)
        return false;
    uint64_t last = runs->runs[runs->count - 1].count;
    uint64_t before = runs->runs[runs->count - 2].count;
    return before < 2 * last && (before + last <= merge_slots_max || runs->count > runs_few);
}

static void close_run(struct memtable *memtable)
{
    struct memtable_runs *runs = &memtable->runs;
    if (!runs->open)
        return;
    runs->open = false;
    memtable->modifications_count++;
    while (merge_is_due(runs))
        if (!merge_last(runs))
            break;
    struct memtable_run *last = &runs->runs[runs->count - 1];
    if (last->capacity > 2 * last->count) {
        struct memtable_slot *smaller = realloc(last->slots, last->count * sizeof *smaller);
        if (smaller != NULL) {
            last->slots = smaller;
            last->capacity = last->count;
        }
    }
}

bool memtable_runs_reserve(struct memtable *memtable, size_t entries_count)
{
    struct memtable_runs *runs = &memtable->runs;
    close_run(memtable);
    if (entries_count > UINT32_MAX - memtable->entries_count)
        return false;
    if (runs->count == memtable_runs_max && !merge_last(runs))
        return false;
    if (runs->reserved.capacity >= entries_count)
        return true;
    struct memtable_slot *slots = malloc(entries_count * sizeof *slots);
    if (slots == NULL)
        return false;
    free(runs->reserved.slots);
    runs->reserved = (struct memtable_run){.slots = slots, .capacity = (uint32_t)entries_count};
    return true;
}

void memtable_runs_put(struct memtable *memtable, const struct memtable_record *record)
{
    struct memtable_runs *runs = &memtable->runs;
    if (runs->open && memtable->newest->version != record->version)
        close_run(memtable);
    if (!runs->open) {
        ASSERT(runs->count < memtable_runs_max && runs->reserved.slots != NULL);
        runs->runs[runs->count++] = runs->reserved;
        runs->reserved = (struct memtable_run){0};
        runs->open = true;
    }
    struct memtable_run *run = &runs->runs[runs->count - 1];
    ASSERT(run->count < run->capacity);
    run->slots[run->count++] = (struct memtable_slot){
        .prefix = memtable_prefix(memtable_record_key(record)), .record = record};
    runs->slots_size += sizeof *run->slots;
    memtable->modifications_count++;
}

void memtable_runs_free(struct memtable_runs *runs)
{
    for (unsigned i = 0; i < runs->count; i++)
        free(runs->runs[i].slots);
    free(runs->reserved.slots);
}

/* ---- Reading ---- */

const struct memtable_record *memtable_runs_get(const struct memtable *memtable, struct bytes key,
                                                uint64_t version)
{
    uint64_t prefix = memtable_prefix(key);
    /* From the newest run on: what an older run has is older. */
    for (unsigned i = memtable->runs.count; i > 0; i--) {
        const struct memtable_run *run = &memtable->runs.runs[i - 1];
        if (run->slots[0].prefix > prefix || run->slots[run->count - 1].prefix < prefix)
            continue;
        uint32_t slot = lower_bound(run, prefix, key, version);
        if (slot < run->count && run->slots[slot].prefix == prefix &&
            bytes_equal(memtable_record_key(run->slots[slot].record), key))
            return run->slots[slot].record;
    }
    return NULL;
}

/* Sets each run's place to its first slot at or after (key, version). */
static void set_places(struct memtable_cursor *cursor, struct bytes key, uint64_t version)
{
    const struct memtable_runs *runs = &cursor->memtable->runs;
    uint64_t prefix = memtable_prefix(key);
    for (unsigned i = 0; i < runs->count; i++)
        cursor->places[i] = lower_bound(&runs->runs[i], prefix, key, version);
    cursor->modifications_count = cursor->memtable->modifications_count;
}

/* Stands on the smallest slot at the places, and moves that one on: places are now after it. */
static void take_next(struct memtable_cursor *cursor)
{
    const struct memtable_runs *runs = &cursor->memtable->runs;
    const struct memtable_slot *best = NULL;
    unsigned best_run = 0;
    for (unsigned i = 0; i < runs->count; i++) {
        const struct memtable_run *run = &runs->runs[i];
        if (cursor->places[i] == run->count)
            continue;
        const struct memtable_slot *slot = &run->slots[cursor->places[i]];
        if (best == NULL || slot_order(slot, best) < 0) {
            best = slot;
            best_run = i;
        }
    }
    cursor->backwards = false;
    cursor->record = best != NULL ? best->record : NULL;
    if (best != NULL)
        cursor->places[best_run]++;
}

/* Stands on the largest slot before the places, and moves that one back: places are now at or
 * after it. */
static void take_previous(struct memtable_cursor *cursor)
{
    const struct memtable_runs *runs = &cursor->memtable->runs;
    const struct memtable_slot *best = NULL;
    unsigned best_run = 0;
    for (unsigned i = 0; i < runs->count; i++) {
        if (cursor->places[i] == 0)
            continue;
        const struct memtable_slot *slot = &runs->runs[i].slots[cursor->places[i] - 1];
        if (best == NULL || slot_order(slot, best) > 0) {
            best = slot;
            best_run = i;
        }
    }
    cursor->backwards = true;
    cursor->record = best != NULL ? best->record : NULL;
    if (best != NULL)
        cursor->places[best_run]--;
}

void memtable_runs_seek(struct memtable_cursor *cursor, struct bytes key, uint64_t version)
{
    set_places(cursor, key, version);
    take_next(cursor);
}

void memtable_runs_seek_before(struct memtable_cursor *cursor, struct bytes key, uint64_t version)
{
    set_places(cursor, key, version);
    take_previous(cursor);
}

void memtable_runs_first(struct memtable_cursor *cursor)
{
    memset(cursor->places, 0, sizeof cursor->places);
    cursor->modifications_count = cursor->memtable->modifications_count;
    take_next(cursor);
}

void memtable_runs_last(struct memtable_cursor *cursor)
{
    const struct memtable_runs *runs = &cursor->memtable->runs;
    for (unsigned i = 0; i < runs->count; i++)
        cursor->places[i] = runs->runs[i].count;
    cursor->modifications_count = cursor->memtable->modifications_count;
    take_previous(cursor);
}

void memtable_runs_next(struct memtable_cursor *cursor)
{
    if (cursor->backwards || cursor->modifications_count != cursor->memtable->modifications_count) {
        const struct memtable_record *record = cursor->record;
        set_places(cursor, memtable_record_key(record), record->version);
        take_next(cursor);
        ASSERT(cursor->record == record);
    }
    take_next(cursor);
}

void memtable_runs_previous(struct memtable_cursor *cursor)
{
    if (!cursor->backwards || cursor->modifications_count != cursor->memtable->modifications_count)
        set_places(cursor, memtable_record_key(cursor->record), cursor->record->version);
    take_previous(cursor);
}
