/* SPDX-License-Identifier: Apache-2.0 */
/* What the state keeps beside its trees: a few numbers that every published mark carries, so that
 * they become durable with the tables.
 *
 *     offset size
 *      0      1   format, 3, or 4 while a checkpoint is being adopted
 *      1      3   0
 *      4      4   cluster version
 *      8      8   epoch number
 *     16      4   epoch region
 *     20      4   next table's id
 *     24      4   next index's id
 *     28      4   0
 *     32     16   chain digest
 *     48      8   log time, nanoseconds
 *     56      8   horizon
 *     64      8   retention of outcomes, nanoseconds
 *     72      8   first bucket of outcomes that is kept
 *     80    8×24  outcomes in each bucket, from bucket number modulo 24
 *    272      8   number of the epoch that the region is fenced by; 0: it is not
 *    280      4   region of that epoch
 *    284      4   region that is fenced
 *    288      8   index of the newest entry that rewinds, or behind which a checkpoint was
 *                   adopted; 0: there is none
 *    296      8   number of the epoch back to which it goes; 0: it is done
 *    304      4   region of that epoch
 *    308      4   0
 *    312      8   version back to which it goes
 *    320      8   number of the epoch of what was given up so far
 *    328      4   region of that epoch
 *    332      4   0
 *    336      8   newest version that was given up so far
 *    344      8   index of the entry that adopts a checkpoint; of format 4 alone, as what follows
 *    352     16   id of the checkpoint
 *
 * Where neither a rewind nor an adoption is under way, what was given up so far is zeros; or the
 * region has surrendered, and it is the last version that both histories share (surrender.h).
 *
 * Version, index and term are the mark's own. Format 1 ends before the fence, format 2 before the
 * rewind. Both are regional, as an adoption is, whose stream so far stands where a rewind says what
 * it gave up: all else is the same in all regions.
 *
 * Outcomes are counted in buckets of the time they were issued at, a sixteenth of the retention
 * each. Whole buckets are evicted, as the log's time passes; what is below the first bucket is
 * never looked up, so that replicas that have dropped it and replicas that have not agree. */
#ifndef SERVER_STATE_MARK_H
#define SERVER_STATE_MARK_H

#include "proto/base/hash.h"
#include "proto/base/status.h"
#include "proto/epoch.h"
#include "storage/lsm/lsm.h"

enum {
    mark_buckets_count = 24,
    mark_retention_buckets = 16,
    mark_state_size = 80 + 8 * 24 + 16 + 56,
    mark_adopting_size = mark_state_size + 24,
};

_Static_assert((int)mark_adopting_size <= (int)lsm_mark_state_size_max, "it fits the mark");

struct mark_state {
    uint32_t cluster_version;
    uint64_t epoch_number;
    uint32_t epoch_region;
    uint32_t table_id_next;
    uint32_t index_id_next;
    struct hash128 chain;
    uint64_t version;
    uint64_t log_time_ns;
    uint64_t horizon;
    uint64_t retention_ns;
    uint64_t bucket_first;
    uint64_t buckets[mark_buckets_count];
    uint64_t outcomes_count; /* the sum of them */
    uint64_t fence_number;   /* 0: none; else above the epoch */
    uint32_t fence_region;
    uint32_t fenced_region;

    /* While a rewind is under way (rewind.h): from a checkpoint on the log is applied again, what
     * lies above `rewind_version` is given up, and the entry at `rewind_index` ends it. */
    uint64_t rewind_index;
    struct epoch rewind_epoch; /* number 0: none is under way */
    uint64_t rewind_version;
    struct epoch tail_epoch; /* of the newest that was given up, or as the rewind's */
    uint64_t tail_version;

    /* While the state waits for a checkpoint that takes its place (adopt.h); the tail is then where
     * a state stands that has it, and has applied the log since. */
    uint64_t adopt_index; /* 0: none */
    struct hash128 adopt_id;
};

static inline bool mark_is_rewinding(const struct mark_state *state)
{
    return state->rewind_epoch.number != 0;
}

static inline bool mark_is_adopting(const struct mark_state *state)
{
    return state->adopt_index != 0;
}

/* What lies above the tail is given up, and reported: the state waits for a checkpoint of whoever
 * it gives way to (surrender.h). */
static inline bool mark_is_surrendered(const struct mark_state *state)
{
    return state->tail_epoch.number != 0 && !mark_is_rewinding(state) && !mark_is_adopting(state);
}

static inline struct epoch mark_epoch(const struct mark_state *state)
{
    return (struct epoch){.number = state->epoch_number, .region = state->epoch_region};
}

/* Number 0: there is none. */
static inline struct epoch mark_fence(const struct mark_state *state)
{
    return (struct epoch){.number = state->fence_number, .region = state->fence_region};
}

/* Moves on to `epoch`, and past a fence that it reaches. */
void mark_epoch_set(struct mark_state *state, struct epoch epoch);

void mark_encode(const struct mark_state *state, uint64_t index, uint64_t term,
                 struct lsm_mark *mark);

/* CORRUPT, NEWER_FORMAT. */
MUST_CHECK enum status mark_decode(const struct lsm_mark *mark, struct mark_state *state);

/* Moves the log's time on to `log_time_ns`, which is above the present one, and evicts what is past
 * its time. */
void mark_time_set(struct mark_state *state, uint64_t log_time_ns);

/* Outcomes issued before this are not kept. */
uint64_t mark_outcomes_floor_ns(const struct mark_state *state);

/* Whether a transaction issued then may run: not from before what is kept, nor from the future. */
bool mark_issued_is_valid(const struct mark_state *state, uint64_t issued_ns);

/* Counts an outcome whose `issued_ns` is valid. */
void mark_outcome_add(struct mark_state *state, uint64_t issued_ns);

#endif
