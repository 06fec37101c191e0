/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the receiver share.
 *
 * What always holds
 * - A pull is in one of three states: free; flying, until the link tells of it; held, with a copy
 * of its answer, until its turn comes. One of an earlier cursor is passed over when it comes.
 * - What was proposed last is `successor`; what is next to be proposed is its successor, and the
 *   first of `rest`, or in the answer of the pull `next_sequence`. */
#ifndef REPLICATION_REGION_RECEIVER_INTERNAL_H
#define REPLICATION_REGION_RECEIVER_INTERNAL_H

#include "proto/base/assert.h"
#include "proto/base/generator.h"
#include "replication/region/batch.h"
#include "replication/region/receiver.h"

enum {
    receiver_tells_max = 4,        /* pulls that only tell, in flight */
    receiver_slots_max = 48,       /* those of earlier cursors too, until the link tells of them */
    receiver_samples_max = 256,    /* positions of the source that are not applied here yet */
    receiver_inflight_max = 16384, /* entries proposed and not applied, a power of two */
};

#define RECEIVER_NS_PER_MS 1000000ULL

enum slot_state { SLOT_FREE, SLOT_FLYING, SLOT_HELD };

/* An answer, as far as it is needed. */
struct answer {
    uint64_t first_version;
    uint32_t count;
    size_t raw_size;
    struct bytes block;
};

struct slot {
    enum slot_state state;
    uint64_t cursor;
    uint64_t sequence; /* 0: it only tells */
    struct answer answer;
    uint8_t *held; /* what answer.block refers to */
};

/* Where the source was; all that had been acknowledged by `heard_ns` is in it. */
struct sample {
    struct region_position position;
    uint64_t heard_ns;
};

struct proposed {
    uint64_t version;
    size_t size;
};

struct receiver {
    struct receiver_options options;
    enum receiver_state state;
    struct generator generator;
    struct io_timer timer;
    uint64_t resume_ns;      /* WAITING: the end of the back-off */
    uint64_t started_ns;     /* by receiver_start() */
    unsigned attempts_count; /* since an answer was taken */

    bool connected;
    char endpoint[limit_member_address_size + 1];
    uint64_t answered_ns; /* anything of this cursor's, or its beginning */

    /* The cursor. */
    uint64_t cursor;
    uint64_t asked_sequence; /* of the last pull */
    uint64_t next_sequence;  /* whose answer is taken next */
    struct slot slots[receiver_slots_max];
    unsigned pulls_count; /* of this cursor, flying or held */
    unsigned tells_count; /* flying */
    struct batch_successor successor;
    struct region_position first; /* where the cursor began */
    bool asking;                  /* by its first pull, and no more */

    /* The answer that is being proposed. */
    uint8_t *raw;
    struct bytes rest;
    uint32_t rest_count;
    bool busy;         /* it waits for room */
    uint64_t retry_ns; /* then it is tried again */

    /* Proposed and not applied. */
    struct proposed *inflight; /* a ring */
    size_t inflight_first;
    size_t inflight_count;
    size_t inflight_size;

    /* The state. */
    struct region_position applied;
    bool applied_known;
    uint64_t told_version; /* the newest that was acknowledged by a pull */
    uint64_t told_ns;
    bool has_downstream_news; /* that was not passed on yet */

    /* The source, and how old our data is. */
    struct region_position source;
    bool source_known;
    uint64_t source_ns;
    uint64_t primary_ns; /* when the primary itself answered last; 0: never */
    struct sample samples[receiver_samples_max]; /* a ring */
    unsigned samples_first;
    unsigned samples_count;
    bool fresh;
    uint64_t fresh_ns;

    uint64_t entries_count;
    uint64_t raw_size;
    uint64_t received_size;
    uint64_t restarts_count;
    uint64_t malformed_count;
    enum status last_refusal;
};

/* ---- receiver.c ---- */

/* The cursor ends, whatever is in flight; another begins after a back-off. */
void receiver_start_over(struct receiver *receiver);

/* Proposes what there is, as far as there is room, and takes answers that wait. */
void receiver_pump(struct receiver *receiver);

/* ---- receiver_answer.c: what comes ---- */

void receiver_on_replied(void *context, void *request, enum status status,
                         const ProtobufCMessage *message);

/* The state has moved: which of the source's positions are reached. */
void receiver_samples_reached(struct receiver *receiver);

#endif
