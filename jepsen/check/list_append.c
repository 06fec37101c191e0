/* SPDX-License-Identifier: Apache-2.0 */
#include "jepsen/check/list_append.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "jepsen/check/array.h"
#include "jepsen/check/graph.h"
#include "proto/base/hash.h"

enum { none = UINT32_MAX };

/* One number appended to one key, by its transaction. */
struct append {
    uint32_t key;
    int64_t number;
    uint32_t invocation;
    uint32_t mop;      /* which step of its transaction */
    uint32_t position; /* in the key's longest list; none: never read */
    uint32_t next;     /* the key's next append, of those that no read shows */
    bool is_last;      /* of its transaction, on this key */
};

/* What is known of a key. */
struct key_facts {
    const struct history_mop *longest;
    uint32_t longest_line;
    uint32_t unread;   /* acknowledged appends that no read shows: a chain */
    uint32_t *writers; /* of `longest`, by position: appends */
};

struct checker {
    struct history *history;
    struct verdict *verdict;
    struct append *appends;
    uint32_t appends_count;
    uint32_t appends_capacity;
    uint32_t *buckets; /* of a hash table over appends by key and number */
    uint32_t buckets_mask;
    struct key_facts *keys;
    struct graph graph; /* its nodes are invocations */
    uint32_t *seen;     /* appends: the last list that had them, for duplicates */
    uint32_t lists_count;
};

static bool is_txn(const struct history_entry *entry)
{
    return entry->type == HISTORY_INVOKE && entry->function == HISTORY_TXN;
}

static uint32_t line_of(const struct checker *checker, uint32_t invocation)
{
    return history_result(checker->history, invocation)->line;
}

static bool is_sound(const struct checker *checker)
{
    return checker->verdict->kind == VERDICT_VALID;
}

#define INVALID(checker, class, ...)                                                               \
    verdict_set((checker)->verdict, VERDICT_INVALID, class, __VA_ARGS__)

/* The key as it was written, for texts. */
#define KEY(checker, key)                                                                          \
    (int)(checker)->history->keys[key].size, (const char *)(checker)->history->keys[key].data

/* ---- Appends ---- */

static uint32_t *bucket_of(const struct checker *checker, uint32_t key, int64_t number)
{
    uint32_t at = (uint32_t)hash_u64(((uint64_t)key << 40) ^ (uint64_t)number);
    for (at &= checker->buckets_mask; checker->buckets[at] != none;
         at = (at + 1) & checker->buckets_mask) {
        const struct append *append = &checker->appends[checker->buckets[at]];
        if (append->key == key && append->number == number)
            break;
    }
    return &checker->buckets[at];
}

static struct append *find_append(const struct checker *checker, uint32_t key, int64_t number)
{
    uint32_t index = *bucket_of(checker, key, number);
    return index == none ? NULL : &checker->appends[index];
}

static bool is_last_append(const struct history_entry *entry, uint32_t mop)
{
    for (uint32_t i = mop + 1; i < entry->count; i++)
        if (entry->mops[i].kind == HISTORY_MOP_APPEND && entry->mops[i].key == entry->mops[mop].key)
            return false;
    return true;
}

static void collect(struct checker *checker, uint32_t invocation)
{
    const struct history_entry *entry = &checker->history->entries[invocation];
    for (uint32_t i = 0; i < entry->count; i++) {
        const struct history_mop *mop = &entry->mops[i];
        if (mop->kind == HISTORY_MOP_WRITE)
            verdict_set(checker->verdict, VERDICT_MALFORMED, "mop",
                        "Line %u: :w is no step of list-append.", entry->line);
        if (mop->kind != HISTORY_MOP_APPEND)
            continue;
        checker->appends = array_grow(checker->appends, checker->appends_count,
                                      &checker->appends_capacity, sizeof *checker->appends);
        checker->appends[checker->appends_count++] = (struct append){
            .key = mop->key,
            .number = mop->numbers[0],
            .invocation = invocation,
            .mop = i,
            .position = none,
            .next = none,
            .is_last = is_last_append(entry, i),
        };
    }
}

static void collect_all(struct checker *checker)
{
    struct history *history = checker->history;
    for (uint32_t i = 0; i < history->count; i++)
        if (is_txn(&history->entries[i]))
            collect(checker, i);
    checker->buckets_mask = 63;
    while (checker->buckets_mask / 2 < checker->appends_count)
        checker->buckets_mask = checker->buckets_mask * 2 + 1;
    checker->buckets = array_create((size_t)checker->buckets_mask + 1, sizeof(uint32_t));
    memset(checker->buckets, 0xff, ((size_t)checker->buckets_mask + 1) * sizeof(uint32_t));
    checker->seen = array_create(checker->appends_count, sizeof(uint32_t));
    for (uint32_t i = 0; i < checker->appends_count; i++) {
        const struct append *append = &checker->appends[i];
        uint32_t *bucket = bucket_of(checker, append->key, append->number);
        if (*bucket != none)
            verdict_set(checker->verdict, VERDICT_MALFORMED, "duplicate-appends",
                        "Lines %u and %u: both append %" PRId64 " to %.*s.",
                        history->entries[checker->appends[*bucket].invocation].line,
                        history->entries[append->invocation].line, append->number,
                        KEY(checker, append->key));
        *bucket = i;
    }
}

/* ---- Within one transaction ---- */

static bool same_list(const struct history_mop *a, const struct history_mop *b, uint32_t b_extra,
                      const struct history_entry *entry, uint32_t until)
{
    if (a->count != b->count + b_extra ||
        (b->count != 0 && memcmp(a->numbers, b->numbers, b->count * sizeof *a->numbers) != 0))
        return false;
    uint32_t at = b->count;
    for (uint32_t i = (uint32_t)(b - entry->mops); i < until; i++)
        if (entry->mops[i].kind == HISTORY_MOP_APPEND && entry->mops[i].key == a->key &&
            a->numbers[at++] != entry->mops[i].numbers[0])
            return false;
    return true;
}

/* A read sees what the transaction itself read and appended before. */
static void check_internal(struct checker *checker, const struct history_entry *entry, uint32_t at)
{
    const struct history_mop *read = &entry->mops[at];
    const struct history_mop *earlier = NULL;
    uint32_t own = 0;

    for (uint32_t i = 0; i < at; i++) {
        const struct history_mop *mop = &entry->mops[i];
        if (mop->key != read->key)
            continue;
        if (mop->kind == HISTORY_MOP_APPEND) {
            own++;
        } else {
            earlier = mop;
            own = 0;
        }
    }
    bool fits = true;
    if (earlier != NULL) {
        fits = same_list(read, earlier, own, entry, at);
    } else if (own != 0) {
        /* Whatever came first, its own appends stand last. */
        fits = read->count >= own;
        if (fits) {
            uint32_t index = read->count - own;
            for (uint32_t i = 0; i < at && fits; i++)
                if (entry->mops[i].kind == HISTORY_MOP_APPEND && entry->mops[i].key == read->key)
                    fits = read->numbers[index++] == entry->mops[i].numbers[0];
        }
    }
    if (!fits)
        INVALID(checker, "internal",
                "Line %u: a read of %.*s does not show what the same transaction read and appended "
                "before.",
                entry->line, KEY(checker, read->key));
}

/* ---- Lists ---- */

static void check_elements(struct checker *checker, uint32_t invocation, uint32_t mop)
{
    const struct history_mop *read = &history_result(checker->history, invocation)->mops[mop];
    uint32_t line = line_of(checker, invocation);
    uint32_t list = ++checker->lists_count;
    for (uint32_t i = 0; i < read->count && is_sound(checker); i++) {
        struct append *append = find_append(checker, read->key, read->numbers[i]);
        if (append == NULL) {
            verdict_set(checker->verdict, VERDICT_MALFORMED, "garbage",
                        "Line %u: nobody appended %" PRId64 " to %.*s, which was read.", line,
                        read->numbers[i], KEY(checker, read->key));
            return;
        }
        uint32_t index = (uint32_t)(append - checker->appends);
        if (checker->seen[index] == list)
            INVALID(checker, "duplicate-elements", "Line %u: %" PRId64 " is twice in %.*s.", line,
                    read->numbers[i], KEY(checker, read->key));
        checker->seen[index] = list;
        if (history_outcome(checker->history, append->invocation) == HISTORY_FAIL)
            INVALID(checker, "G1a",
                    "Line %u: %.*s has %" PRId64 ", whose transaction had failed: line %u.", line,
                    KEY(checker, read->key), read->numbers[i],
                    line_of(checker, append->invocation));
        if (append->invocation == invocation && append->mop > mop)
            INVALID(checker, "internal",
                    "Line %u: a read of %.*s shows what the same transaction appends later.", line,
                    KEY(checker, read->key));
        if (i + 1 == read->count && !append->is_last && append->invocation != invocation)
            INVALID(checker, "G1b",
                    "Line %u: %.*s ends with %" PRId64 ", which is the middle of line %u.", line,
                    KEY(checker, read->key), read->numbers[i],
                    line_of(checker, append->invocation));
    }
}

static void look_at_reads(struct checker *checker, uint32_t invocation)
{
    const struct history_entry *entry = history_result(checker->history, invocation);
    bool reads = false;
    for (uint32_t i = 0; i < entry->count && is_sound(checker); i++) {
        const struct history_mop *mop = &entry->mops[i];
        if (mop->kind != HISTORY_MOP_READ)
            continue;
        reads = true;
        struct key_facts *facts = &checker->keys[mop->key];
        check_internal(checker, entry, i);
        check_elements(checker, invocation, i);
        if (facts->longest == NULL || mop->count > facts->longest->count) {
            facts->longest = mop;
            facts->longest_line = entry->line;
        }
    }
    checker->verdict->operations_count++;
    checker->verdict->reads_count += reads;
}

/* Each list is the beginning of its key's longest one. */
static void check_prefixes(struct checker *checker, uint32_t invocation)
{
    const struct history_entry *entry = history_result(checker->history, invocation);
    for (uint32_t i = 0; i < entry->count && is_sound(checker); i++) {
        const struct history_mop *mop = &entry->mops[i];
        const struct key_facts *facts = &checker->keys[mop->key];
        if (mop->kind == HISTORY_MOP_READ && mop->count != 0 &&
            memcmp(mop->numbers, facts->longest->numbers, mop->count * sizeof *mop->numbers) != 0)
            INVALID(checker, "incompatible-order",
                    "Lines %u and %u: neither list of %.*s continues the other.", entry->line,
                    facts->longest_line, KEY(checker, mop->key));
    }
}

/* ---- Versions ---- */

static void settle_versions(struct checker *checker)
{
    for (uint32_t key = 0; key < checker->history->keys_count; key++) {
        struct key_facts *facts = &checker->keys[key];
        facts->unread = none;
        if (facts->longest == NULL)
            continue;
        facts->writers = array_create(facts->longest->count, sizeof(uint32_t));
        for (uint32_t i = 0; i < facts->longest->count; i++) {
            struct append *append = find_append(checker, key, facts->longest->numbers[i]);
            append->position = i;
            facts->writers[i] = (uint32_t)(append - checker->appends);
        }
    }
    for (uint32_t i = 0; i < checker->appends_count; i++) {
        struct append *append = &checker->appends[i];
        struct key_facts *facts = &checker->keys[append->key];
        if (append->position != none ||
            history_outcome(checker->history, append->invocation) != HISTORY_OK)
            continue;
        append->next = facts->unread;
        facts->unread = i;
    }
}

static uint32_t writer_of(const struct checker *checker, const struct key_facts *facts,
                          uint32_t position)
{
    return checker->appends[facts->writers[position]].invocation;
}

/* To each append that no read shows: it came after all that were read. */
static void add_to_unread(struct checker *checker, const struct key_facts *facts, uint32_t from,
                          enum graph_edge_kind kind)
{
    for (uint32_t i = facts->unread; i != none; i = checker->appends[i].next)
        graph_add(&checker->graph, from, checker->appends[i].invocation, kind);
}

static void add_writes(struct checker *checker)
{
    for (uint32_t key = 0; key < checker->history->keys_count; key++) {
        const struct key_facts *facts = &checker->keys[key];
        uint32_t count = facts->longest != NULL ? facts->longest->count : 0;
        for (uint32_t i = 1; i < count; i++)
            graph_add(&checker->graph, writer_of(checker, facts, i - 1),
                      writer_of(checker, facts, i), GRAPH_WW);
        if (count != 0)
            add_to_unread(checker, facts, writer_of(checker, facts, count - 1), GRAPH_WW);
    }
}

/* The first read of each key; the later ones follow from it. */
static void add_reads(struct checker *checker, uint32_t invocation)
{
    const struct history_entry *entry = history_result(checker->history, invocation);
    for (uint32_t i = 0; i < entry->count; i++) {
        const struct history_mop *mop = &entry->mops[i];
        uint32_t count = mop->count;
        bool is_first = mop->kind == HISTORY_MOP_READ;
        for (uint32_t k = 0; k < i && is_first; k++) {
            if (entry->mops[k].key != mop->key)
                continue;
            is_first = entry->mops[k].kind != HISTORY_MOP_READ;
            count -= is_first; /* its own append, which stands at the end */
        }
        if (!is_first)
            continue;
        const struct key_facts *facts = &checker->keys[mop->key];
        if (count != 0)
            graph_add(&checker->graph, writer_of(checker, facts, count - 1), invocation, GRAPH_WR);
        if (count < facts->longest->count)
            graph_add(&checker->graph, invocation, writer_of(checker, facts, count), GRAPH_RW);
        else
            add_to_unread(checker, facts, invocation, GRAPH_RW);
    }
}

/* ---- Real time ---- */

/* From each transaction that had ended when another began, unless that follows by way of a third:
 * the frontier has those that ended and that nothing which ended since began after. */
static void add_real_time(struct checker *checker)
{
    struct history *history = checker->history;
    uint32_t *frontier = NULL;
    uint32_t count = 0;
    uint32_t capacity = 0;
    uint32_t *began = array_create(history->count, sizeof *began); /* completions before it */
    uint32_t *ended = array_create(history->count, sizeof *ended); /* which completion it was */
    uint32_t completions = 0;

    for (uint32_t i = 0; i < history->count; i++) {
        const struct history_entry *entry = &history->entries[i];
        if (entry->function != HISTORY_TXN)
            continue;
        if (entry->type == HISTORY_INVOKE) {
            began[i] = completions;
            for (uint32_t k = 0; k < count; k++)
                graph_add(&checker->graph, frontier[k], i, GRAPH_REALTIME);
        } else if (entry->type == HISTORY_OK) {
            uint32_t kept = 0;
            for (uint32_t k = 0; k < count; k++)
                if (ended[frontier[k]] > began[entry->other])
                    frontier[kept++] = frontier[k];
            count = kept;
            frontier = array_grow(frontier, count, &capacity, sizeof *frontier);
            frontier[count++] = entry->other;
            ended[entry->other] = ++completions;
        }
    }
    free(frontier);
    free(began);
    free(ended);
}

static void tell_cycle(struct checker *checker, const struct graph_cycle *cycle)
{
    char text[verdict_text_size];
    size_t used = 0;
    for (uint32_t i = 0; i < cycle->count && used < sizeof text; i++) {
        const struct graph_edge *edge = &cycle->edges[i];
        const char *why = edge->kind == GRAPH_WW   ? "overwrote by"
                          : edge->kind == GRAPH_WR ? "was read by"
                          : edge->kind == GRAPH_RW ? "missed the write of"
                                                   : "ended before the beginning of";
        int added =
            snprintf(text + used, sizeof text - used, "%sline %u %s line %u", i == 0 ? "" : ", ",
                     line_of(checker, edge->from), why, line_of(checker, edge->to));
        used += (size_t)added;
    }
    INVALID(checker, cycle->class, "No order fits: %s.", text);
}

static void check_order(struct checker *checker)
{
    struct history *history = checker->history;
    struct graph_cycle cycle;

    graph_init(&checker->graph, history->count);
    settle_versions(checker);
    add_writes(checker);
    for (uint32_t i = 0; i < history->count; i++)
        if (is_txn(&history->entries[i]) && history_outcome(history, i) == HISTORY_OK)
            add_reads(checker, i);
    add_real_time(checker);
    if (graph_find_cycle(&checker->graph, &cycle))
        tell_cycle(checker, &cycle);
}

static void check_vacuous(struct checker *checker)
{
    struct verdict *verdict = checker->verdict;
    if (verdict->operations_count == 0)
        verdict_set(verdict, VERDICT_VACUOUS, NULL, "No transaction succeeded.");
    if (verdict->reads_count == 0)
        verdict_set(verdict, VERDICT_VACUOUS, NULL, "No transaction that read succeeded.");
    for (uint32_t key = 0; key < checker->history->keys_count; key++) {
        uint32_t unread = checker->keys[key].unread;
        if (unread != none)
            verdict_set(verdict, VERDICT_VACUOUS, NULL,
                        "Line %u: nobody read %.*s after %" PRId64 " was appended to it.",
                        line_of(checker, checker->appends[unread].invocation), KEY(checker, key),
                        checker->appends[unread].number);
    }
}

void list_append_check(struct history *history, struct verdict *verdict)
{
    struct checker checker = {.history = history, .verdict = verdict};

    *verdict = (struct verdict){0};
    if (history_pair(history, verdict) != STATUS_OK)
        return;
    checker.keys = array_create(history->keys_count, sizeof *checker.keys);
    collect_all(&checker);
    for (uint32_t pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < history->count && is_sound(&checker); i++) {
            if (!is_txn(&history->entries[i]) || history_outcome(history, i) != HISTORY_OK)
                continue;
            if (pass == 0)
                look_at_reads(&checker, i);
            else
                check_prefixes(&checker, i);
        }
    if (is_sound(&checker))
        check_order(&checker);
    if (is_sound(&checker))
        check_vacuous(&checker);
    for (uint32_t i = 0; i < history->keys_count; i++)
        free(checker.keys[i].writers);
    free(checker.keys);
    free(checker.appends);
    free(checker.buckets);
    free(checker.seen);
    graph_free(&checker.graph);
}
