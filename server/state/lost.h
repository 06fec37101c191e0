/* SPDX-License-Identifier: Apache-2.0 */
/* What a rewind gave up: the lost report.
 *
 * A region that was the primary, and comes back as a standby, may have committed entries that its
 * successor never had. The rewind takes their effects away; the entries themselves are filed here,
 * as they stood in the log, until an administrator closes the report. All of it is the region's
 * own: no part of the chain digest or of a scrub, not shipped to other regions, the same on all
 * members of the region, as it follows from their log alone.
 *
 *     (none) --lost_file()...--> FILING --lost_finish()--> OPEN --CLOSE--> CLOSED --EMPTY...-->
 * gone
 *
 * A report's id is the log's index of the entry that rewinds. The tree's keys, integers big-endian:
 *
 *     "R" id (8)                      the report
 *     "P"                             the id (8) of a telling that no report refers to yet
 *     "O" telling (8), version (8)    what a commit had come to: its status (2)
 *     "T" id (8), epoch number (8) and region (4), version (8), part (1) of (1)
 *                                     an entry, as in the log; a large one in several parts, all
 *                                     but the last of lost_part_size bytes
 *
 * and the value of a report, integers little-endian:
 *
 *     offset size
 *      0      1   format: 1, or 2 where some of it could not be listed
 *      1      1   flags: 1, closed
 *      2      2   0
 *      4      4   region of the epoch that it gave way to
 *      8      8   number of that epoch
 *     16      8   number of the epoch of the last entry
 *     24      4   region of that epoch
 *     28      4   0
 *     32      8   first version
 *     40      8   last version
 *     48      8   how many entries
 *     56      8   their bytes
 *     64      8   log time of the last entry, nanoseconds
 *     72      8   the telling that belongs to it; 0: there is none
 *     80      8   of format 2: the first version of those of which some are not listed, ...
 *     88      8   ... and the last
 *
 * What a commit of the tail had come to is not in its entry, and goes with the outcomes that the
 * rewind takes away. So the leader, before it proposes the rewind, puts that into the log too: a
 * telling, whose id is the index of its first entry. One that was refused was never acknowledged,
 * and must not be run later.
 *
 * ENTRY_LOST is regional, and what the leader proposes to close a report, to empty it, and to tell.
 * Its body:
 *
 *      0      1   format, 1
 *      1      1   action: 1 CLOSE, 2 EMPTY, 3 TELL, 4 FILE, 5 SURRENDER
 *      2      2   0
 *      4      4   of TELL, how many commits it tells of; of FILE, how many pieces follow; else 0
 *      8      8   of CLOSE and EMPTY the report's id; else 0
 *     16          of TELL, each: version (8), status (2); of FILE and SURRENDER see surrender.h
 *
 * CLOSE and EMPTY remove at most lost_removals_max entries of a report that is closed; the leader
 * proposes EMPTY until nothing is left (state_lost_due()). */
#ifndef SERVER_STATE_LOST_H
#define SERVER_STATE_LOST_H

#include "proto/entry.h"
#include "server/state/keys.h"
#include "server/state/state.h"

struct apply;

enum {
    lost_report_key_size = 9,
    lost_entry_key_size = 31,
    lost_outcome_key_size = 17,
    lost_report_size = 80,
    lost_report_size_max = 96,
    lost_part_size = 256 * 1024,
    lost_removals_max = 1024, /* of one entry of the log */
    lost_reports_max = 1024,  /* past which the oldest that is closed is forgotten */
};

/* Filed, and not finished yet; `id` 0: nothing is. */
struct lost_tail {
    uint64_t id;
    struct state_lost_report report; /* of the entries that are whole */
    uint64_t run_first;              /* from this version on none is missing */

    /* A large entry of which the first `parts_next` parts are filed; 0: there is none. */
    struct entry part_of; /* its header */
    size_t part_of_size;
    unsigned parts_count;
    unsigned parts_next;
};

/* A report, and where its emptying stands. */
struct lost_item {
    struct state_lost_report report;
    uint64_t telling_id;
    char
        left; /* closed: the letter of the keys that are being removed, "O" and then "T"; 0: none */
    struct keys_buffer cursor; /* of these all below is removed; empty: nothing is. A hint */
};

/* What the state keeps in memory of the tree. */
struct lost {
    struct lost_item *items; /* ids ascend */
    uint64_t telling_id;     /* that the next report will refer to; 0: none */
    size_t count;
    size_t capacity;
    struct lost_tail tail;
};

/* What an entry that files, or closes, knows while it is under way. */
struct lost_change {
    struct lost_tail tail; /* after it */
    uint64_t finished_id;  /* the tail became this report; 0: it did not */
    uint64_t finished_telling_id;
    uint64_t forgotten_id; /* for which an old one made room; 0: none */
    uint64_t telling_id;   /* after it */
    struct lost_item *item;
    bool closes;
    char left; /* of `item`, after it */
    unsigned removals_left;
    struct bytes last; /* the last key that was removed, of those of `left` */
    struct lsm_iterator *iterator;
    struct state_lost_report finished;
};

/* ---- Filing: for the command that rewinds, and for the entries that it passes over ---- */

/* Adds `entry`, a shared one that is given up, to the writes of the command under way, under the
 * report `id`: the index of the entry that rewinds. Each entry once; those of one report before any
 * of the next. Where memory does not hold it the overlay's `failure` says so. */
void lost_file(struct apply *apply, uint64_t id, const struct entry *entry);

/* Makes what was filed under `id` a report, which gave way to `next`: with the command that
 * rewinds, or any after the last was filed. Where nothing was filed there is none. */
void lost_finish(struct apply *apply, uint64_t id, struct epoch next);

/* Files one part of an entry under the tail that there is, or else under the index of the command
 * under way; parts and entries in their order. `header` is the entry's, as decoded, of `size` bytes
 * in all. `part` is copied. */
void lost_file_part(struct apply *apply, const struct entry *header, size_t size, unsigned number,
                    struct bytes part);

/* Makes what was filed, which may be nothing, a report of all versions above `version`: up to the
 * state's own, and gives way to `next`. What was not filed is said as a range. */
void lost_finish_above(struct apply *apply, uint64_t version, struct epoch next);

/* Parts of an entry of `size` bytes. */
static inline unsigned lost_parts_count(size_t size)
{
    return (unsigned)((size + lost_part_size - 1) / lost_part_size);
}

/* ---- For apply.c, state.c and lost_read.c ---- */

/* Before a command; after its publish. */
void lost_change_init(struct apply *apply);
void lost_published(struct apply *apply);

/* Reads what the tree has of reports, and of a tail that was not finished, in a state that is
 * being opened: by blocking. CORRUPT, NEWER_FORMAT, NO_MEMORY, IO_ERROR. */
MUST_CHECK enum status lost_load(struct lost *lost, struct io *io, struct lsm_view *view);
void lost_free(struct lost *lost);

/* NULL: there is none. */
struct lost_item *lost_item_find(const struct lost *lost, uint64_t id);

void lost_entry_key(uint64_t id, struct epoch epoch, uint64_t version, unsigned part,
                    unsigned parts_count, uint8_t to[lost_entry_key_size]);
void lost_outcome_key(uint64_t telling_id, uint64_t version, uint8_t to[lost_outcome_key_size]);

/* Where keys of `letter` and `id` begin and end: the bounds of an iterator. */
enum { lost_bound_size = 9 };
struct lost_range {
    uint8_t start[lost_bound_size];
    uint8_t end[lost_bound_size];
};
struct lost_range lost_range(char letter, uint64_t id);

/* The body of an entry that tells; `count` may be 0. */
enum { lost_told_size = 10, lost_tell_count_max = (state_lost_tell_size_max - 16) / 10 };
void lost_tell_encode(uint32_t count, uint8_t to[state_lost_body_size]);

/* How the bodies of surrender.h begin. */
void lost_filing_encode(uint32_t count, uint8_t to[state_lost_body_size]);
void lost_surrender_encode(uint8_t to[state_lost_body_size]);

#endif
