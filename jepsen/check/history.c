/* SPDX-License-Identifier: Apache-2.0 */
#include "jepsen/check/history.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "jepsen/check/array.h"
#include "jepsen/check/verdict.h"
#include "proto/base/hash.h"

enum { arena_chunk_size = 64 << 10, buckets_at_first = 64 };

void history_init(struct history *history)
{
    *history = (struct history){0};
    arena_init(&history->arena, arena_chunk_size, SIZE_MAX / 2);
}

void history_free(struct history *history)
{
    arena_free(&history->arena);
    free(history->entries);
    free(history->keys);
    free(history->buckets);
    *history = (struct history){0};
}

struct history_entry *history_add(struct history *history, enum history_type type,
                                  enum history_function function, int64_t process)
{
    history->entries =
        array_grow(history->entries, history->count, &history->capacity, sizeof *history->entries);
    struct history_entry *entry = &history->entries[history->count++];
    *entry = (struct history_entry){
        .type = type,
        .function = function,
        .process = process,
        .line = history->count,
        .other = history_none,
    };
    return entry;
}

int64_t *history_numbers(struct history *history, size_t count)
{
    int64_t *numbers = arena_alloc_zeroed(&history->arena, count, sizeof *numbers);
    ASSERT(numbers != NULL);
    return numbers;
}

struct history_mop *history_mops(struct history *history, size_t count)
{
    struct history_mop *mops = arena_alloc_zeroed(&history->arena, count, sizeof *mops);
    ASSERT(mops != NULL);
    return mops;
}

/* ---- Keys ---- */

static uint32_t *bucket_of(const struct history *history, struct bytes text)
{
    uint32_t at = (uint32_t)hash64(text) & (history->buckets_count - 1);
    while (history->buckets[at] != history_none &&
           !bytes_equal(history->keys[history->buckets[at]], text))
        at = (at + 1) & (history->buckets_count - 1);
    return &history->buckets[at];
}

static void grow_buckets(struct history *history)
{
    uint32_t count = history->buckets_count == 0 ? buckets_at_first : history->buckets_count * 2;
    free(history->buckets);
    history->buckets = array_create(count, sizeof *history->buckets);
    history->buckets_count = count;
    memset(history->buckets, 0xff, count * sizeof *history->buckets);
    for (uint32_t i = 0; i < history->keys_count; i++)
        *bucket_of(history, history->keys[i]) = i;
}

uint32_t history_key(struct history *history, struct bytes text)
{
    if (history->keys_count >= history->buckets_count / 2)
        grow_buckets(history);
    uint32_t *bucket = bucket_of(history, text);
    if (*bucket != history_none)
        return *bucket;
    history->keys = array_grow(history->keys, history->keys_count, &history->keys_capacity,
                               sizeof *history->keys);
    bool copied = arena_copy(&history->arena, text, &history->keys[history->keys_count]);
    ASSERT(copied);
    *bucket = history->keys_count;
    return history->keys_count++;
}

uint32_t history_key_of_number(struct history *history, int64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, number);
    return history_key(history, bytes_of_text(text));
}

/* ---- Pairs ---- */

/* What each process has under way, by a hash table of its number. */
struct under_way {
    struct {
        int64_t process;
        uint32_t invocation; /* history_none: nothing */
        bool used;
    } * slots;
    uint32_t mask;
};

static uint32_t *under_way_of(struct under_way *under_way, int64_t process)
{
    uint32_t at = (uint32_t)hash_u64((uint64_t)process) & under_way->mask;
    while (under_way->slots[at].used && under_way->slots[at].process != process)
        at = (at + 1) & under_way->mask;
    if (!under_way->slots[at].used) {
        under_way->slots[at].used = true;
        under_way->slots[at].process = process;
        under_way->slots[at].invocation = history_none;
    }
    return &under_way->slots[at].invocation;
}

enum status history_pair(struct history *history, struct verdict *verdict)
{
    struct under_way under_way = {.mask = buckets_at_first - 1};
    enum status status = STATUS_OK;

    while (under_way.mask < history->count)
        under_way.mask = under_way.mask * 2 + 1;
    under_way.mask = under_way.mask * 2 + 1;
    under_way.slots = array_create((size_t)under_way.mask + 1, sizeof *under_way.slots);
    for (uint32_t i = 0; i < history->count && status == STATUS_OK; i++) {
        struct history_entry *entry = &history->entries[i];
        uint32_t *invocation = under_way_of(&under_way, entry->process);
        entry->other = history_none;
        if (entry->type == HISTORY_INVOKE && *invocation != history_none) {
            verdict_set(verdict, VERDICT_MALFORMED, "double-invoke",
                        "Line %u: process %" PRId64 " invokes while its operation of line %u is "
                        "under way.",
                        entry->line, entry->process, history->entries[*invocation].line);
            status = STATUS_MALFORMED;
        } else if (entry->type == HISTORY_INVOKE) {
            *invocation = i;
        } else if (*invocation == history_none) {
            verdict_set(verdict, VERDICT_MALFORMED, "no-invocation",
                        "Line %u: process %" PRId64 " ends what it did not begin.", entry->line,
                        entry->process);
            status = STATUS_MALFORMED;
        } else if (entry->function != history->entries[*invocation].function) {
            verdict_set(verdict, VERDICT_MALFORMED, "other-function",
                        "Line %u: process %" PRId64 " ends another function than the one it began "
                        "in line %u.",
                        entry->line, entry->process, history->entries[*invocation].line);
            status = STATUS_MALFORMED;
        } else {
            entry->other = *invocation;
            history->entries[*invocation].other = i;
            *invocation = history_none;
        }
    }
    free(under_way.slots);
    return status;
}

const struct history_entry *history_result(const struct history *history, uint32_t invocation)
{
    const struct history_entry *entry = &history->entries[invocation];
    ASSERT(entry->type == HISTORY_INVOKE);
    return entry->other == history_none ? entry : &history->entries[entry->other];
}

enum history_type history_outcome(const struct history *history, uint32_t invocation)
{
    const struct history_entry *result = history_result(history, invocation);
    return result->type == HISTORY_INVOKE ? HISTORY_INFO : result->type;
}
