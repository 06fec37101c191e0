/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/wal/terms.h"

#include <stdlib.h>

#include "proto/base/assert.h"

void wal_terms_init(struct wal_terms *terms, struct wal_mark begin)
{
    *terms = (struct wal_terms){.begin = begin, .last_index = begin.index};
}

void wal_terms_free(struct wal_terms *terms)
{
    free(terms->spans);
    *terms = (struct wal_terms){0};
}

enum status wal_terms_reserve(struct wal_terms *terms, size_t more)
{
    if (terms->spans_count + more <= terms->spans_capacity)
        return STATUS_OK;
    size_t capacity = 2 * terms->spans_capacity + more + 8;
    struct wal_span *spans = realloc(terms->spans, capacity * sizeof *spans);
    if (spans == NULL)
        return STATUS_NO_MEMORY;
    terms->spans = spans;
    terms->spans_capacity = capacity;
    return STATUS_OK;
}

enum status wal_terms_append(struct wal_terms *terms, uint64_t term, uint64_t count)
{
    if (count == 0)
        return STATUS_OK;
    bool goes_on = terms->spans_count > 0 && terms->spans[terms->spans_count - 1].term == term;
    if (!goes_on) {
        enum status status = wal_terms_reserve(terms, 1);
        if (status != STATUS_OK)
            return status;
        terms->spans[terms->spans_count++] =
            (struct wal_span){.index = terms->last_index + 1, .term = term};
    }
    terms->last_index += count;
    return STATUS_OK;
}

void wal_terms_cut(struct wal_terms *terms, uint64_t index)
{
    ASSERT(index > 0);
    if (index > terms->last_index)
        return;
    while (terms->spans_count > 0 && terms->spans[terms->spans_count - 1].index >= index)
        terms->spans_count--;
    terms->last_index = index - 1;
    if (terms->last_index < terms->begin.index)
        terms->begin = (struct wal_mark){.index = terms->last_index};
}

void wal_terms_release(struct wal_terms *terms, struct wal_mark mark)
{
    if (mark.index <= terms->begin.index)
        return;
    ASSERT(mark.index <= terms->last_index);
    size_t gone = 0;
    while (gone + 1 < terms->spans_count && terms->spans[gone + 1].index <= mark.index + 1)
        gone++;
    if (mark.index == terms->last_index)
        gone = terms->spans_count;
    terms->spans_count -= gone;
    if (terms->spans_count > 0) {
        memmove(terms->spans, terms->spans + gone, terms->spans_count * sizeof *terms->spans);
        if (terms->spans[0].index <= mark.index)
            terms->spans[0].index = mark.index + 1;
    }
    terms->begin = mark;
}

struct wal_mark wal_terms_last(const struct wal_terms *terms)
{
    struct wal_mark last = terms->begin;
    if (terms->last_index > terms->begin.index) {
        ASSERT(terms->spans_count > 0);
        last.index = terms->last_index;
        last.term = terms->spans[terms->spans_count - 1].term;
    }
    return last;
}

bool wal_terms_find(const struct wal_terms *terms, uint64_t index, uint64_t *term)
{
    *term = 0;
    if (index < terms->begin.index || index > terms->last_index)
        return false;
    if (index == terms->begin.index) {
        *term = terms->begin.term;
        return true;
    }
    size_t low = 0;
    size_t high = terms->spans_count; /* the span is in [low, high) */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (terms->spans[middle].index <= index)
            low = middle;
        else
            high = middle;
    }
    ASSERT(low < terms->spans_count && terms->spans[low].index <= index);
    *term = terms->spans[low].term;
    return true;
}
