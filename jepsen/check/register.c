/* SPDX-License-Identifier: Apache-2.0 */
#include "jepsen/check/register.h"

#include <inttypes.h>
#include <stdlib.h>

#include "jepsen/check/array.h"
#include "proto/base/hash.h"

enum { none = UINT32_MAX, words_count = register_under_way_max / 64 };

static const int64_t nil = INT64_MIN;

struct operation {
    enum history_function function;
    int64_t value; /* written, or read */
    int64_t expected;
    uint32_t key;
    bool is_known; /* it ended well: its effect must be found */
};

/* One way things may have gone: the register's value, and which slots have had their effect. */
struct state {
    int64_t value;
    uint64_t done[words_count];
};

struct states {
    struct state *items;
    uint32_t count;
    uint32_t capacity;
    uint32_t *buckets;
    uint32_t buckets_mask;
};

struct checker {
    const struct history *history;
    struct verdict *verdict;
    struct operation *operations; /* by invocation */
    uint32_t slots[register_under_way_max];
    uint32_t slots_count; /* those past it are free */
    struct states now;
    struct states next;
};

/* ---- Sets of states ---- */

static uint64_t hash_of(const struct state *state)
{
    return hash64(bytes_of(state, sizeof *state));
}

static void states_clear(struct states *states)
{
    states->count = 0;
    if (states->buckets != NULL)
        memset(states->buckets, 0xff, ((size_t)states->buckets_mask + 1) * sizeof(uint32_t));
}

static uint32_t *bucket_of(const struct states *states, const struct state *state)
{
    uint32_t at = (uint32_t)hash_of(state) & states->buckets_mask;
    while (states->buckets[at] != none &&
           memcmp(&states->items[states->buckets[at]], state, sizeof *state) != 0)
        at = (at + 1) & states->buckets_mask;
    return &states->buckets[at];
}

static void states_rehash(struct states *states)
{
    states->buckets_mask = states->buckets_mask == 0 ? 1023 : states->buckets_mask * 2 + 1;
    free(states->buckets);
    states->buckets = array_create((size_t)states->buckets_mask + 1, sizeof(uint32_t));
    memset(states->buckets, 0xff, ((size_t)states->buckets_mask + 1) * sizeof(uint32_t));
    for (uint32_t i = 0; i < states->count; i++)
        *bucket_of(states, &states->items[i]) = i;
}

static void states_add(struct states *states, const struct state *state)
{
    if (states->count >= states->buckets_mask / 2)
        states_rehash(states);
    uint32_t *bucket = bucket_of(states, state);
    if (*bucket != none)
        return;
    states->items =
        array_grow(states->items, states->count, &states->capacity, sizeof *states->items);
    *bucket = states->count;
    states->items[states->count++] = *state;
}

static void states_free(struct states *states)
{
    free(states->items);
    free(states->buckets);
}

static bool is_done(const struct state *state, uint32_t slot)
{
    return (state->done[slot / 64] >> (slot % 64) & 1) != 0;
}

/* ---- Steps ---- */

/* The state after the operation in `slot`; false where it cannot have its effect now. */
static bool take_effect(const struct checker *checker, const struct state *state, uint32_t slot,
                        struct state *after)
{
    const struct operation *operation = &checker->operations[checker->slots[slot]];
    *after = *state;
    after->done[slot / 64] |= UINT64_C(1) << (slot % 64);
    switch (operation->function) {
    case HISTORY_READ:
        return state->value == operation->value;
    case HISTORY_WRITE:
        after->value = operation->value;
        return true;
    default:
        after->value = operation->value;
        return state->value == operation->expected;
    }
}

/* Whether another of unknown end, that does the same and comes first, is still to be taken. */
static bool is_later_twin(const struct checker *checker, const struct state *state, uint32_t slot)
{
    const struct operation *operation = &checker->operations[checker->slots[slot]];
    if (operation->is_known)
        return false;
    for (uint32_t i = 0; i < slot; i++) {
        if (checker->slots[i] == none || is_done(state, i))
            continue;
        const struct operation *other = &checker->operations[checker->slots[i]];
        if (!other->is_known && other->function == operation->function &&
            other->value == operation->value && other->expected == operation->expected)
            return true;
    }
    return false;
}

/* From all states, by all orders of what is under way, to those in which `slot` has had its effect.
 * An operation that changes nothing there is taken at once: waiting can gain it nothing else. */
static void linearize(struct checker *checker, uint32_t slot)
{
    struct states *open = &checker->now; /* it grows while it is walked */
    states_clear(&checker->next);
    for (uint32_t i = 0; i < open->count; i++) {
        if (open->count > register_states_max) {
            verdict_set(checker->verdict, VERDICT_UNKNOWN, NULL, "More than %d states.",
                        (int)register_states_max);
            return;
        }
        struct state state = open->items[i];
        if (is_done(&state, slot)) {
            state.done[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
            states_add(&checker->next, &state);
            continue;
        }
        for (uint32_t other = 0; other < checker->slots_count; other++) {
            struct state after;
            if (checker->slots[other] == none || is_done(&state, other) ||
                is_later_twin(checker, &state, other) ||
                !take_effect(checker, &state, other, &after))
                continue;
            if (!checker->operations[checker->slots[other]].is_known && after.value == state.value)
                continue; /* it may as well have had no effect */
            states_add(open, &after);
        }
    }
    struct states swapped = checker->now;
    checker->now = checker->next;
    checker->next = swapped;
}

static uint32_t slot_of(const struct checker *checker, uint32_t invocation)
{
    uint32_t slot = 0;
    while (slot < checker->slots_count && checker->slots[slot] != invocation)
        slot++;
    return slot;
}

static void begin(struct checker *checker, uint32_t invocation)
{
    uint32_t slot = slot_of(checker, none);
    if (slot == register_under_way_max) {
        verdict_set(checker->verdict, VERDICT_UNKNOWN, NULL, "More than %d operations under way.",
                    register_under_way_max);
        return;
    }
    checker->slots[slot] = invocation;
    if (slot == checker->slots_count)
        checker->slots_count++;
}

static void end(struct checker *checker, uint32_t invocation)
{
    uint32_t slot = slot_of(checker, invocation);
    ASSERT(slot < checker->slots_count);
    linearize(checker, slot);
    checker->slots[slot] = none;
    if (checker->now.count == 0)
        verdict_set(checker->verdict, VERDICT_INVALID, "nonlinearizable",
                    "Line %u: no order of the operations lets this be its result.",
                    history_result(checker->history, invocation)->line);
}

static void check_key(struct checker *checker, uint32_t key)
{
    const struct history *history = checker->history;
    const struct state first = {.value = nil};

    checker->slots_count = 0;
    states_clear(&checker->now);
    states_add(&checker->now, &first);
    for (uint32_t i = 0; i < history->count && checker->verdict->kind == VERDICT_VALID; i++) {
        const struct history_entry *entry = &history->entries[i];
        uint32_t invocation = entry->type == HISTORY_INVOKE ? i : entry->other;
        const struct operation *operation = &checker->operations[invocation];
        if (operation->key != key)
            continue;
        if (entry->type == HISTORY_INVOKE)
            begin(checker, i);
        else if (entry->type == HISTORY_OK)
            end(checker, invocation);
    }
}

/* ---- What the history says ---- */

static int64_t value_at(const struct history_entry *entry, uint32_t index)
{
    return entry->shape == HISTORY_NUMBERS && index < entry->count ? entry->numbers[index] : nil;
}

/* Of failed operations, and of reads whose end is not known, nothing is left: key `none`. */
static void understand(struct checker *checker, uint32_t invocation)
{
    const struct history *history = checker->history;
    const struct history_entry *entry = &history->entries[invocation];
    const struct history_entry *result = history_result(history, invocation);
    enum history_type outcome = history_outcome(history, invocation);
    struct operation *operation = &checker->operations[invocation];

    *operation = (struct operation){.function = entry->function, .key = none};
    operation->is_known = outcome == HISTORY_OK;
    uint32_t key = 0;
    switch (entry->function) {
    case HISTORY_READ:
        operation->value = value_at(result, 0);
        break;
    case HISTORY_WRITE:
        operation->value = value_at(entry, 0);
        break;
    case HISTORY_CAS:
        operation->expected = value_at(entry, 0);
        operation->value = value_at(entry, 1);
        break;
    case HISTORY_TXN: {
        if (entry->count != 1 || result->count != 1 || entry->mops[0].kind == HISTORY_MOP_APPEND) {
            verdict_set(checker->verdict, VERDICT_MALFORMED, "mop",
                        "Line %u: a transaction on a register is one step, :r or :w.", entry->line);
            return;
        }
        const struct history_mop *mop = &result->mops[0];
        bool reads = mop->kind == HISTORY_MOP_READ;
        operation->function = reads ? HISTORY_READ : HISTORY_WRITE;
        operation->value = mop->count == 0 ? nil : mop->numbers[0];
        key = mop->key;
        break;
    }
    default:
        return;
    }
    bool reads = operation->function == HISTORY_READ;
    checker->verdict->operations_count += outcome == HISTORY_OK;
    checker->verdict->reads_count += outcome == HISTORY_OK && reads;
    if (outcome == HISTORY_OK || (outcome == HISTORY_INFO && !reads))
        operation->key = key;
}

void register_check(struct history *history, struct verdict *verdict)
{
    struct checker checker = {.history = history, .verdict = verdict};
    uint32_t keys_count = history->keys_count > 0 ? history->keys_count : 1;

    *verdict = (struct verdict){0};
    if (history_pair(history, verdict) != STATUS_OK)
        return;
    checker.operations = array_create(history->count, sizeof *checker.operations);
    for (uint32_t i = 0; i < history->count; i++)
        if (history->entries[i].type == HISTORY_INVOKE)
            understand(&checker, i);
    for (uint32_t key = 0; key < keys_count && verdict->kind == VERDICT_VALID; key++)
        check_key(&checker, key);
    if (verdict->operations_count == 0)
        verdict_set(verdict, VERDICT_VACUOUS, NULL, "No operation succeeded.");
    if (verdict->reads_count == 0)
        verdict_set(verdict, VERDICT_VACUOUS, NULL, "No read succeeded.");
    states_free(&checker.now);
    states_free(&checker.next);
    free(checker.operations);
}
