/* SPDX-License-Identifier: Apache-2.0 */
#include "jepsen/check/set_full.h"

#include <inttypes.h>
#include <stdlib.h>

#include "jepsen/check/array.h"

enum { none = UINT32_MAX };

struct element {
    int64_t number;
    uint32_t invocation;
    uint32_t due; /* the entry from which on each read shows it; none: nobody knows of it */
    bool is_acknowledged;
    bool failed;
    uint32_t seen; /* the last read that had it */
};

struct checker {
    const struct history *history;
    struct verdict *verdict;
    struct element *elements; /* by number, ascending */
    uint32_t count;
    uint32_t capacity;
    uint32_t reads_count;
    uint32_t last_begun; /* the invocation of the read that began last; none */
};

static int compare(const void *a, const void *b)
{
    const struct element *left = a;
    const struct element *right = b;
    return (left->number > right->number) - (left->number < right->number);
}

static void collect(struct checker *checker)
{
    const struct history *history = checker->history;
    for (uint32_t i = 0; i < history->count; i++) {
        const struct history_entry *entry = &history->entries[i];
        if (entry->type != HISTORY_INVOKE || entry->function != HISTORY_ADD)
            continue;
        if (entry->shape != HISTORY_NUMBERS) {
            verdict_set(checker->verdict, VERDICT_MALFORMED, "value",
                        "Line %u: an addition of nothing.", entry->line);
            return;
        }
        enum history_type outcome = history_outcome(history, i);
        checker->elements = array_grow(checker->elements, checker->count, &checker->capacity,
                                       sizeof *checker->elements);
        checker->elements[checker->count++] = (struct element){
            .number = entry->numbers[0],
            .invocation = i,
            .due = outcome == HISTORY_OK ? entry->other : none,
            .is_acknowledged = outcome == HISTORY_OK,
            .failed = outcome == HISTORY_FAIL,
        };
        checker->verdict->operations_count += outcome == HISTORY_OK;
    }
    if (checker->count != 0)
        qsort(checker->elements, checker->count, sizeof *checker->elements, compare);
    for (uint32_t i = 1; i < checker->count; i++)
        if (checker->elements[i].number == checker->elements[i - 1].number)
            verdict_set(checker->verdict, VERDICT_MALFORMED, "duplicate-adds",
                        "Lines %u and %u: both add %" PRId64 ".",
                        history->entries[checker->elements[i - 1].invocation].line,
                        history->entries[checker->elements[i].invocation].line,
                        checker->elements[i].number);
}

static void check_shown(struct checker *checker, const struct history_entry *read, uint32_t at)
{
    for (uint32_t i = 0; i < read->count; i++) {
        const struct element wanted = {.number = read->numbers[i]};
        struct element *element =
            checker->count == 0
                ? NULL
                : bsearch(&wanted, checker->elements, checker->count, sizeof wanted, compare);
        if (element == NULL || element->invocation > at) {
            verdict_set(checker->verdict, VERDICT_INVALID, "unexpected",
                        "Line %u: %" PRId64 " was read, which nobody had added.", read->line,
                        wanted.number);
            return;
        }
        if (element->failed)
            verdict_set(checker->verdict, VERDICT_INVALID, "failed-add",
                        "Line %u: %" PRId64 " was read, whose addition failed.", read->line,
                        wanted.number);
        if (element->seen == checker->reads_count)
            verdict_set(checker->verdict, VERDICT_INVALID, "duplicated",
                        "Line %u: %" PRId64 " is there twice.", read->line, wanted.number);
        element->seen = checker->reads_count;
        if (element->due > at)
            element->due = at;
    }
}

static void check_read(struct checker *checker, uint32_t at)
{
    const struct history_entry *read = &checker->history->entries[at];
    if (read->shape != HISTORY_NUMBERS) {
        verdict_set(checker->verdict, VERDICT_MALFORMED, "value",
                    "Line %u: a read of the set is a list.", read->line);
        return;
    }
    checker->reads_count++;
    if (checker->last_begun == none || read->other > checker->last_begun)
        checker->last_begun = read->other;
    check_shown(checker, read, at);
    for (uint32_t i = 0; i < checker->count; i++) {
        const struct element *element = &checker->elements[i];
        if (element->due < read->other && element->seen != checker->reads_count)
            verdict_set(checker->verdict, VERDICT_INVALID, "lost",
                        "Line %u: %" PRId64 " is missing, which was there at line %u.", read->line,
                        element->number, checker->history->entries[element->due].line);
    }
}

static void check_vacuous(struct checker *checker)
{
    struct verdict *verdict = checker->verdict;
    if (verdict->operations_count == 0)
        verdict_set(verdict, VERDICT_VACUOUS, NULL, "No addition succeeded.");
    if (checker->reads_count == 0)
        verdict_set(verdict, VERDICT_VACUOUS, NULL, "No read succeeded.");
    for (uint32_t i = 0; i < checker->count; i++) {
        const struct element *element = &checker->elements[i];
        if (element->is_acknowledged && element->due > checker->last_begun)
            verdict_set(verdict, VERDICT_VACUOUS, NULL,
                        "Line %u: nobody read after %" PRId64 " was added.",
                        checker->history->entries[element->invocation].line, element->number);
    }
    verdict->operations_count += checker->reads_count;
    verdict->reads_count = checker->reads_count;
}

void set_full_check(struct history *history, struct verdict *verdict)
{
    struct checker checker = {.history = history, .verdict = verdict, .last_begun = none};

    *verdict = (struct verdict){0};
    if (history_pair(history, verdict) != STATUS_OK)
        return;
    collect(&checker);
    for (uint32_t i = 0; i < history->count && verdict->kind == VERDICT_VALID; i++) {
        const struct history_entry *entry = &history->entries[i];
        if (entry->type == HISTORY_OK && entry->function == HISTORY_READ)
            check_read(&checker, i);
    }
    if (verdict->kind == VERDICT_VALID)
        check_vacuous(&checker);
    free(checker.elements);
}
