/* SPDX-License-Identifier: Apache-2.0 */
/* Which term each index of the log has: an outline in memory, one span per change of term.
 *
 * It covers the indexes from one past `begin` to its last one. It grows with elections, not with
 * entries. Belongs to its log's thread. */
#ifndef STORAGE_WAL_TERMS_H
#define STORAGE_WAL_TERMS_H

#include "storage/wal/wal.h"

/* The entries from `index` on have `term`, up to the next span. */
struct wal_span {
    uint64_t index;
    uint64_t term;
};

struct wal_terms {
    struct wal_mark begin; /* what stands before the first index; its term may be 0: unknown */
    uint64_t last_index;   /* begin.index where there is none */
    struct wal_span *spans;
    size_t spans_count;
    size_t spans_capacity;
};

/* An outline with no index, which begins after `begin`. No memory is taken. */
void wal_terms_init(struct wal_terms *terms, struct wal_mark begin);
void wal_terms_free(struct wal_terms *terms);

/* Makes room for `more` changes of term, so that as many appends cannot fail. */
MUST_CHECK enum status wal_terms_reserve(struct wal_terms *terms, size_t more);

/* Adds last_index + 1 .. last_index + count. NO_MEMORY: nothing changed. */
MUST_CHECK enum status wal_terms_append(struct wal_terms *terms, uint64_t term, uint64_t count);

/* Forgets `index` and all above it. Where that is at or below `begin`, the outline begins one
 * before `index`, with an unknown term. */
void wal_terms_cut(struct wal_terms *terms, uint64_t index);

/* Forgets all below `mark`, where the outline begins from now on. */
void wal_terms_release(struct wal_terms *terms, struct wal_mark mark);

struct wal_mark wal_terms_last(const struct wal_terms *terms);

/* Whether the outline covers `index`, `begin` included; then its term. */
bool wal_terms_find(const struct wal_terms *terms, uint64_t index, uint64_t *term);

#endif
