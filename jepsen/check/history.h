/* SPDX-License-Identifier: Apache-2.0 */
/* What clients did and saw, in the order in which it happened: the input of the checkers.
 *
 * An entry is written when an operation is invoked, before its request is sent, and another one
 * when it ends, after its reply has come: OK (it happened), FAIL (it surely did not) or INFO (not
 * known). The order of entries is real time. A process has one operation under way at a time.
 *
 * A history belongs to one thread. Its memory is that of what was put in, freed at once; a process
 * without memory ends, as these are tools. */
#ifndef JEPSEN_CHECK_HISTORY_H
#define JEPSEN_CHECK_HISTORY_H

#include "proto/base/arena.h"
#include "proto/base/status.h"

struct verdict;

enum history_type { HISTORY_INVOKE, HISTORY_OK, HISTORY_FAIL, HISTORY_INFO };

enum history_function {
    HISTORY_TXN,
    HISTORY_READ,
    HISTORY_WRITE,
    HISTORY_CAS,
    HISTORY_ADD,
    HISTORY_TRANSFER,
    HISTORY_OTHER,
};

enum history_mop_kind { HISTORY_MOP_READ, HISTORY_MOP_APPEND, HISTORY_MOP_WRITE };

/* One step of a transaction. Of a read `numbers` is the list seen, or one number (a register's
 * value), and `is_nil` where nothing was there or the read has not been answered; of an append or
 * a write, the one number. */
struct history_mop {
    enum history_mop_kind kind;
    bool is_nil;
    uint32_t key; /* history_key() */
    uint32_t count;
    const int64_t *numbers;
};

/* What an entry carries beside steps. */
enum history_shape {
    HISTORY_NIL,
    HISTORY_NUMBERS, /* one of a write or an add, two of a compare-and-set, a list of a set's read
                      */
    HISTORY_PAIRS,   /* account and balance, in turn; accounts are history_key()s */
    HISTORY_MOPS,
};

enum { history_none = UINT32_MAX };

struct history_entry {
    enum history_type type;
    enum history_function function;
    enum history_shape shape;
    int64_t process;
    uint32_t line;  /* where it stood in its file; else its place in the history, from 1 */
    uint32_t other; /* set by history_pair(): the completion of an invocation, and the reverse */
    uint32_t count; /* of `numbers` (both numbers of a pair count), or of `mops` */
    const int64_t *numbers;
    const struct history_mop *mops;
};

struct history {
    struct arena arena;
    struct history_entry *entries;
    uint32_t count;
    uint32_t capacity;
    struct bytes *keys; /* by number; as they were written: 1, :a, "k" */
    uint32_t keys_count;
    uint32_t keys_capacity;
    uint32_t *buckets; /* of a hash table over `keys`, by number; history_none: free */
    uint32_t buckets_count;
};

void history_init(struct history *history);
void history_free(struct history *history);

/* A new entry at the end, to be filled by the caller: valid until the next one. Client processes
 * only; what a nemesis did is not part of a history. */
struct history_entry *history_add(struct history *history, enum history_type type,
                                  enum history_function function, int64_t process);

/* Memory that lives as long as the history. */
int64_t *history_numbers(struct history *history, size_t count);
struct history_mop *history_mops(struct history *history, size_t count);

/* The number of a key: the same for equal texts, from 0 without gaps. */
uint32_t history_key(struct history *history, struct bytes text);
uint32_t history_key_of_number(struct history *history, int64_t number);

/* Sets `other` of all entries. MALFORMED, with the reason in `verdict`, where a process invokes
 * twice without an end between, or something ends that was not begun, or ends as another function:
 * so an invocation and its result always have values of one kind. */
MUST_CHECK enum status history_pair(struct history *history, struct verdict *verdict);

/* The operation that `invocation` began: the entry that says its result, or the invocation itself
 * where it never ended. */
const struct history_entry *history_result(const struct history *history, uint32_t invocation);

/* OK, FAIL or INFO; INFO also where it never ended. */
enum history_type history_outcome(const struct history *history, uint32_t invocation);

#endif
