/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the source share.
 *
 * What always holds
 * - A cursor's pulls are answered in their order, each once; one that can go on no further is
 *   refused with all of its pulls, and forgotten.
 * - `version` of a cursor is the last one that it sent or that its puller had, and is on the
 * state's history: after each change of that (`history` counts them) it is looked at again.
 * - No entry above `applied_index` is looked at. */
#ifndef REPLICATION_REGION_SOURCE_INTERNAL_H
#define REPLICATION_REGION_SOURCE_INTERNAL_H

#include "proto/base/assert.h"
#include "replication/region/batch.h"
#include "replication/region/source.h"

enum {
    source_marks_max = 4096,
    source_mark_size_least = 64 * 1024,
};

#define SOURCE_NS_PER_MS              1000000ULL
#define SOURCE_MARK_INTERVAL_LEAST_NS (50 * SOURCE_NS_PER_MS)

struct waiting_pull {
    void *request;
    size_t size_max;
    uint64_t wait_ns;
    uint64_t deadline_ns; /* 0: those before it are to be answered first */
};

/* How a cursor finds the entry after `version`. */
enum cursor_step {
    CURSOR_BISECT, /* between `low` and `high`, by the first shared entry from `middle` on */
    CURSOR_FOLLOW, /* it stands at or above `index` */
    CURSOR_RESCAN, /* the same, from the log's start: bisection was misled, or it is not there */
};

struct cursor {
    uint64_t id; /* 0: this place is free */
    uint32_t region;
    uint64_t sequence; /* of the last pull that came */
    uint64_t heard_ns; /* the puller's clock, the newest of its pulls */
    uint64_t used_ns;
    uint64_t answered_ns;
    struct waiting_pull pulls[source_pulls_max]; /* a ring */
    unsigned pulls_first;
    unsigned pulls_count;

    struct region_epoch_span span; /* of the epoch that `version` belongs to */
    uint64_t version;
    uint64_t history;
    enum cursor_step step;
    uint64_t index;
    uint64_t low;
    uint64_t high;
    uint64_t middle;
    uint64_t probe; /* how far it was looked from `middle` on */
    uint64_t rescanned_size;
    bool rescan_is_late; /* all seen since the log's start was above what is sought */
    bool is_level;       /* all that was there was sent; `level_size` is the stream's then */
    uint64_t level_size;
};

/* A place in the log that is remembered: what the state was at after `index`. */
struct mark {
    uint64_t index;
    uint64_t version;
    uint64_t size;     /* bytes of the stream up to here, since the start */
    uint64_t begun_ns; /* when the first version after the mark before was applied */
};

struct source {
    struct source_options options;
    struct io_timer timer;
    bool leads;
    char leader[limit_member_address_size + 1];

    /* The state. */
    struct region_position position;
    uint64_t applied_index;
    uint64_t history;     /* counts what is not a next version in the same epoch */
    uint64_t stream_size; /* bytes of what was applied, since the start */

    struct mark marks[source_marks_max]; /* ascending; the first is where it started */
    size_t marks_count;
    uint64_t mark_size;        /* bytes between two */
    uint64_t mark_interval_ns; /* or this much time */
    uint64_t mark_ns;          /* when the last was made */
    uint64_t open_ns;          /* when the first version after the last mark was applied; 0: none */

    struct source_region regions[source_regions_max];
    size_t regions_count;

    struct cursor cursors[source_cursors_max];
    unsigned next_cursor; /* that has its turn first */
    struct batch batch;
    uint8_t *block; /* the batch, compressed */
    size_t block_size;
    bool has_more; /* the turn's bound was reached */
    struct source_statistics statistics;
};

/* ---- source_find.c ---- */

/* Whether the position is on the state's history: OK with its epoch's span; HISTORY_LOST with the
 * last one before it that is, as far as can be told, in `common`; NOT_PRIMARY: of a higher epoch;
 * NOT_LEADER, with the same in `common`: this region has sent what this server does not have. */
MUST_CHECK enum status source_position_check(struct source *source,
                                             const struct region_position *position,
                                             struct region_epoch_span *span,
                                             struct region_position *common);

/* The cursor is to go on after `position`, which is checked against the state's history. OK, or why
 * it cannot: HISTORY_LOST with `common`, NOT_PRIMARY, NOT_LEADER, CORRUPT. */
MUST_CHECK enum status cursor_begin(struct source *source, struct cursor *cursor,
                                    const struct region_position *position,
                                    struct region_position *common);

/* The state's history has changed: whether the cursor's position is still on it. */
MUST_CHECK enum status cursor_check(struct source *source, struct cursor *cursor,
                                    struct region_position *common);

/* The entries after the cursor's version go into the source's batch, at most `size_max` bytes of
 * them, and the cursor moves. OK: as many as there are now, as fit, or as may be looked at in a
 * turn. AGAIN: the log is being read; the batch may have some. NOT_FOUND: the log does not have the
 * next one any more. */
MUST_CHECK enum status cursor_gather(struct source *source, struct cursor *cursor, size_t size_max);

/* ---- source_regions.c ---- */

/* Some version was applied, of `size` bytes. */
void source_mark_applied(struct source *source, uint64_t index, size_t size);

/* The marks begin anew, at the state's position. */
void source_marks_reset(struct source *source);

/* The newest mark at or below a version; NULL: none. */
const struct mark *source_mark_find(const struct source *source, uint64_t version);

/* Notes what a pull says of its region. MALFORMED: it says nothing that could be. */
MUST_CHECK enum status source_note_pull(struct source *source, const Strait__RegionPull *pull);

/* Whether the region lacks what the log has no more. */
void source_note_snapshot(struct source *source, uint32_t region, bool needed);

#endif
