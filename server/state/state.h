/* SPDX-License-Identifier: Apache-2.0 */
/* The state: what the log's entries, applied in order, have made. Tables, records, indexes, expiry
 * and the outcomes of transactions, on top of the LSM.
 *
 * Conventions:
 * 1. All here belongs to the core's thread. Nothing blocks but state_open().
 * 2. apply is a function of the state and the entry alone: the same entries give the same versions,
 *    the same results and the same digest on every replica. All that it goes by is in the trees or
 *    in the mark's state bytes.
 * 3. One command is applied at a time: state_apply_start(), then state_apply_step() until it
 *    answers OK. It changes nothing before its one lsm_publish(), and everything with it.
 * 4. Reads go through a `struct state_view`, which fixes a version and a schema. They answer AGAIN
 *    where a block is being read: call again once `wait` tells so. Results made so far are kept.
 * 5. The state alone tells the LSM what it may forget (lsm_horizon_set, lsm_discard_below): not
 *    before an installed mark knows of it, so that a replay finds all that the first run found.
 * 6. Not OK and not AGAIN, of a read: a refusal for the client, with words in `refusal`; or
 * CORRUPT, IO_ERROR, NO_MEMORY, without. Of apply: the process cannot go on. */
#ifndef SERVER_STATE_STATE_H
#define SERVER_STATE_STATE_H

#include "proto/base/arena.h"
#include "proto/base/error.h"
#include "proto/base/hash.h"
#include "proto/entry.h"
#include "proto/epoch.h"
#include "proto/regions.h"
#include "proto/strait.pb-c.h"
#include "storage/lsm/lsm.h"

struct state;
struct state_view;
struct state_scan;

/* ---- The trees ---- */

/* Numbers are on disk. keys.h has the grammar of each tree's keys. */
enum state_tree {
    STATE_TREE_RECORDS = 1,
    STATE_TREE_INDEXES = 2,
    STATE_TREE_EXPIRY = 3,
    STATE_TREE_META = 4,
    STATE_TREE_OUTCOMES = 5,
    STATE_TREE_LOST = 6, /* the region's own: lost.h */
};

enum { state_trees_count = 6 };

/* What lsm_open() is to be given. */
extern const struct lsm_tree_options state_trees[state_trees_count];

/* ---- Opening ---- */

/* The highest that this program can apply; version.h says when it is raised. */
extern const uint32_t state_cluster_version;

struct state_options {
    struct lsm *lsm;
    struct io *io;               /* the LSM's; turned while state_open() waits for reads */
    const struct lsm_mark *mark; /* from lsm_open(); all zeros: a new state */

    /* Of simulations, where programs of different age meet in one: the highest cluster version that
     * this one can apply, at most state_cluster_version; 0: just that. */
    uint32_t cluster_version_max;

    /* Of a new state only: what it is made with on every replica; afterwards the state's own word
     * holds, whatever is given here. */
    uint32_t region_id; /* of the first epoch, (1, region_id); 0: of a region that follows another,
                           whose first entry brings the epoch */
    uint64_t outcome_retention_ms; /* how long outcomes are kept; 0: one hour */

    /* A command whose step answered AGAIN may be stepped again. Called from io_turn() or from
     * within calls of the LSM; the callee only takes note. May be NULL. */
    void (*apply_ready)(void *context);
    void *context;
};

/* CORRUPT where the mark or the catalog is; NEWER_FORMAT where a newer version wrote them, or the
 * cluster version is higher than this program can apply: with words that say what to do. What the
 * mark says was applied, and no more: replay the log's entries above mark->index. */
MUST_CHECK enum status state_open(const struct state_options *options, struct state **state,
                                  struct error *error);

/* All views are closed. A command under way is dropped: it has changed nothing. */
void state_close(struct state *state);

enum { state_text_size = 256 };

/* Why a read or a proposal is refused. */
struct state_refusal {
    uint32_t item; /* as in struct state_result */
    bool item_is_condition;
    char text[state_text_size]; /* a sentence or two */
};

/* ---- Where it stands ---- */

struct state_position {
    uint64_t epoch_number;
    uint32_t epoch_region;
    uint64_t version;
    uint64_t log_time_ns;
};

struct state_facts {
    struct state_position position; /* of the newest applied entry that took a version */
    uint64_t applied_index;         /* of the newest applied entry, of any kind */
    uint64_t applied_term;
    struct hash128 chain_digest; /* over the write sets of all versions */
    uint64_t horizon;            /* the oldest version that can be read */
    uint64_t written_version;    /* newest that touched a record; starts as `version` at open.
                                    A horizon at or above it has nothing left to hide */
    uint32_t cluster_version; /* what apply does now: 1 of a new state, raised by ENTRY_VERSION */
    uint64_t outcome_retention_ms;
    uint64_t outcomes_count;
    uint64_t tables_count;
    uint64_t drops_count; /* dropped tables and indexes that ticks have not emptied yet */
};

/* By value; it counts and adds: for each second, or for people. */
struct state_facts state_facts(const struct state *state);

/* Two of these, for each entry. */
struct state_position state_position(const struct state *state);
struct hash128 state_chain(const struct state *state);

/* The cluster version that apply goes by now, and the highest that this state can apply. */
uint32_t state_cluster_version_present(const struct state *state);
uint32_t state_cluster_version_max(const struct state *state);

/* The bytes of the region's membership (proto/membership.h) as it was applied last; empty where
 * none was. Valid until the next one is applied. Regional: no part of the digest. */
struct bytes state_membership(const struct state *state);

/* Bytes that the outcomes take which are not evicted yet. The core answers BUSY before proposing
 * where this is past its quota. */
uint64_t state_outcomes_size(const struct state *state);

/* Whether a tick stamped `log_time_ns` would have work besides moving the horizon: something is
 * due, something dropped is to be emptied, the state is new and has no log time yet (its first
 * entry is a tick, so that clients have a time to issue by), or the log has been idle so long that
 * the times which clients issue by would go stale. */
bool state_tick_due(const struct state *state, uint64_t log_time_ns);

/* The log time at which state_tick_due() turns true if nothing else comes: for a timer. */
uint64_t state_tick_due_ns(const struct state *state);

/* ---- Regions and epochs ----
 *
 * All of it is shared state, the same in all regions, but the fence, which is the region's own. The
 * history is a chain of epochs: each ended with some version, and the next one began with the
 * version after it. */

/* The cluster's regions; count 0 where no list was ever written. Valid until the next entry is
 * applied. */
const struct regions *state_regions(const struct state *state);

/* The present epoch: its region is the primary. */
struct epoch state_epoch(const struct state *state);

/* What began it, with the promotion's record (its bytes are the state's); NULL: it is the first
 * one. Valid until the next entry is applied. */
const struct epoch_change *state_epoch_change(const struct state *state);

/* Where `epoch` ended. NOT_FOUND: it is no part of this history, has not ended, or is forgotten. */
MUST_CHECK enum status state_epoch_end(const struct state *state, struct epoch epoch,
                                       struct epoch_end *end);

/* All ends that are known, oldest first; the oldest of more than 1,024 are forgotten. Valid until
 * the next entry is applied. Returns how many. */
size_t state_epoch_ends(const struct state *state, const struct epoch_end **ends);

/* The newest of these that is of `epoch` or of one before it: how far a history that went on with
 * `epoch` may be the same as this one. NULL: none. */
const struct epoch_end *state_epoch_end_before(const struct state *state, struct epoch epoch);

/* Whether the position of a token, a snapshot or another region belongs to this history. OK: it
 * does, and is here. AGAIN: it is of the future: ask again once more is applied. HISTORY_LOST: it
 * lies past the end of its epoch, or its epoch is none of this history: what was seen there was
 * given up. */
MUST_CHECK enum status state_position_check(const struct state *state, struct epoch epoch,
                                            uint64_t version);

/* The epoch that fences a region here, until the state reaches it. Number 0: there is none. */
struct epoch state_fence(const struct state *state);

/* Whether it is `region`'s commands that the fence stops. */
bool state_is_fenced(const struct state *state, uint32_t region);

/* What the body of ENTRY_EPOCH has to say so that `region` becomes the primary after what is
 * applied now, without a record. A grant takes the next number, a promotion the one after the next,
 * past any fence: so that a grant that never left the old primary and a promotion never are the
 * same epoch.
 */
void state_epoch_next(const struct state *state, enum epoch_change_kind kind, uint32_t region,
                      struct epoch_change *change);

/* Whether that change can be proposed now, which apply then accepts: NOT_FOUND (no such region),
 * INVALID_ARGUMENT (it is the primary), NOT_PRIMARY (a higher epoch is known), CONFLICT (the state
 * has moved on), with words. */
MUST_CHECK enum status state_epoch_check(const struct state *state,
                                         const struct epoch_change *change,
                                         struct state_refusal *refusal);

/* Whether apply would take this list of regions now: CONFLICT (`regions->version` is not that of
 * the present list), INVALID_ARGUMENT (the primary is missing, or an id's name was changed),
 * ALREADY_EXISTS (another region has the name), with words. */
MUST_CHECK enum status state_regions_check(const struct state *state, const struct regions *regions,
                                           struct state_refusal *refusal);

/* ---- Rewinds ----
 *
 * The region gives up a tail of versions that another region's history lacks; rewind.h tells how.
 */

/* Whether the state has something to give up for it: it is fenced by that epoch or a higher one,
 * and past the version, which is of its history. */
bool state_rewind_is_possible(const struct state *state, const struct rewind *rewind);

/* Whether the entry, which comes next, is one that rewinds, and cannot be applied before the owner
 * has put a checkpoint at or below the version in the place of the tables. */
bool state_rewind_is_due(const struct state *state, const struct entry *entry,
                         struct rewind *rewind);

/* The mark under which that checkpoint is to be installed for the entry at `index`.
 * INVALID_ARGUMENT: it will not do; CORRUPT, NEWER_FORMAT. */
MUST_CHECK enum status state_rewind_mark(const struct lsm_mark *checkpoint,
                                         const struct rewind *rewind, uint64_t index,
                                         struct lsm_mark *mark);

/* The log is applied again from a checkpoint on: nobody is to see the state. */
bool state_is_rewinding(const struct state *state);

/* Of the newest entry that rewound, or is about to, or at which a checkpoint was adopted; 0: none.
 * Checkpoints below it are of use no more. */
uint64_t state_rewind_index(const struct state *state);

struct state_mark_facts {
    struct epoch epoch;
    uint64_t version;
    uint64_t rewind_index; /* as state_rewind_index() */
    bool is_rewinding;
    bool is_adopting; /* state_is_adopting() */
    uint32_t cluster_version;
};

/* What a mark says of the state that has it. CORRUPT, NEWER_FORMAT. */
MUST_CHECK enum status state_mark_look(const struct lsm_mark *mark, struct state_mark_facts *facts);

/* ---- Surrenders ----
 *
 * The same where nothing leads back to the version: surrender.h tells how. */

/* What lies above it is reported and given up: a checkpoint of another region is waited for. */
bool state_is_surrendered(const struct state *state);

/* The newest entry of the tail that is filed; false: none is. */
bool state_filed(const struct state *state, struct epoch *epoch, uint64_t *version);

/* The body of an entry ENTRY_LOST that files entries of the log, being made: `body` is the owner's,
 * of state_filing_size_max bytes. Its result is CONFLICT where there is nothing to surrender. */
enum { state_filing_size_max = 16 + 8 + 256 * 1024 };
struct state_filing {
    uint8_t *body;
    size_t size;
    uint32_t count; /* of parts */
};
void state_filing_begin(struct state_filing *filing, uint8_t *body);

/* Adds a part of an entry, as it stands in the log; `*part` moves to the next, and to 0 after the
 * last. False: there is no room, which there is in a body that has nothing. */
MUST_CHECK bool state_filing_add(struct state_filing *filing, struct bytes entry, unsigned *part);

/* The body of the ENTRY_LOST that surrenders: of a rewind that state_rewind_is_possible(). Its
 * result is as above. */
enum { state_surrender_size = 16 + rewind_size };
void state_surrender_encode(const struct rewind *rewind, uint8_t to[state_surrender_size]);

/* ---- Checkpoints of other regions ----
 *
 * The shared state of a checkpoint takes the place of this region's; adopt.h tells how. */

/* An entry that adopts one is applied, and the state is not in place: nobody is to see it. */
bool state_is_adopting(const struct state *state);

/* Where the state stands, or is to stand once it is in place: `id` is that of the checkpoint then,
 * and zeros where none is being adopted. Number and version 0: it has nothing yet. */
void state_adoption(const struct state *state, struct adoption *adoption);

/* What the entry says that adopts the checkpoint with this mark. INVALID_ARGUMENT: it is none to
 * begin with, being empty, or of a state that nobody is to see; CORRUPT, NEWER_FORMAT. */
MUST_CHECK enum status state_adoption_of(const struct lsm_mark *checkpoint,
                                         struct adoption *adoption);

/* Whether an entry that says so, if it comes next, is acted upon: it leads on from here. */
bool state_adoption_is_due(const struct state *state, const struct adoption *adoption);

/* The mark under which the checkpoint that is being adopted takes the state's place, with the index
 * of what is applied now. INVALID_ARGUMENT: it is another one; CORRUPT, NEWER_FORMAT. */
MUST_CHECK enum status state_adoption_mark(const struct state *state,
                                           const struct lsm_mark *checkpoint,
                                           struct lsm_mark *mark);

/* ---- What was given up ----
 *
 * The entries that a rewind or a surrender took away, until an administrator closes the report. The
 * region's own; lost.h has more. */

struct state_lost_report {
    uint64_t id;
    struct epoch epoch; /* of its last entry */
    struct epoch next;  /* that it gave way to */
    uint64_t first_version;
    uint64_t last_version;
    uint64_t count;       /* of its entries, while it is open */
    uint64_t size;        /* their bytes */
    uint64_t log_time_ns; /* of its last entry */

    /* Versions of which some are not listed, as the log did not hold them any more; 0: all are. */
    uint64_t unlisted_first;
    uint64_t unlisted_last;
    bool closed;
};

/* The report at this place, of those that there are, oldest first. False: there are no more. */
bool state_lost_report_at(const struct state *state, size_t place,
                          struct state_lost_report *report);

/* The body of an entry ENTRY_LOST that closes the report `id`, whose result is NOT_FOUND where
 * there is none, and OK also where it is closed already. */
enum { state_lost_body_size = 16 };
void state_lost_close_encode(uint64_t id, uint8_t to[state_lost_body_size]);

/* Whether a closed report has entries left; then the body of the ENTRY_LOST that the leader is to
 * propose next. */
bool state_lost_due(const struct state *state, uint8_t to[state_lost_body_size]);

/* A page of a report's entries, in the order of (epoch, version). */
struct state_lost_page {
    uint64_t id;
    struct epoch after_epoch; /* begins after this entry; number 0: with the first */
    uint64_t after_version;
    size_t count_max; /* at most so many entries; 0: as many as `size_max` permits */
    size_t size_max;  /* bytes of entries; the first comes whatever its size */
};

struct state_lost_entry {
    struct bytes bytes; /* as it stood in the log */
    uint64_t version;
    bool has_outcome;    /* of a commit: what it had come to is known... */
    enum status outcome; /* ... OK, or why it was refused */
};

struct state_lost_walk;

/* The walk is in the arena; the page is copied. NOT_FOUND: there is no such report, or it is
 * closed. */
MUST_CHECK enum status state_lost_walk_open(struct state_view *view,
                                            const struct state_lost_page *page, struct arena *arena,
                                            struct state_lost_walk **walk,
                                            struct state_refusal *refusal);

/* OK: `*entries` holds `*count` of them, in the arena, and `*more` tells whether others follow.
 * AGAIN as any read. */
MUST_CHECK enum status state_lost_walk_step(struct state_lost_walk *walk, struct lsm_wait *wait,
                                            const struct state_lost_entry **entries, size_t *count,
                                            bool *more);
void state_lost_walk_close(struct state_lost_walk *walk); /* before its view */

/* What the commits above a version have come to, for the log, before a rewind takes their outcomes
 * away: bodies of entries ENTRY_LOST, which the leader proposes one after the other before it
 * proposes the rewind. Where that was cut short it is begun anew, by whoever leads then. */
enum { state_lost_tell_size_max = 40 * 1024 };
struct state_lost_telling;
MUST_CHECK enum status state_lost_telling_open(struct state *state, uint64_t version,
                                               struct state_lost_telling **telling);

/* OK: `body` is the next one, of `*size` bytes, and `*more` tells whether others follow. AGAIN: as
 * any read, with the same `body` again; with nothing pending in `wait`, at once. */
MUST_CHECK enum status state_lost_telling_step(struct state_lost_telling *telling,
                                               struct lsm_wait *wait,
                                               uint8_t body[state_lost_tell_size_max], size_t *size,
                                               bool *more);
void state_lost_telling_close(struct state_lost_telling *telling); /* NULL is permitted */

/* ---- Applying ---- */

struct state_result {
    bool versioned; /* false: regional; or discarded, because it is not the successor of what was
                       applied, or of a region that is fenced (NOT_PRIMARY), or follows another
                       history (HISTORY_LOST): it changed nothing */
    enum status status; /* OK, or why it was refused */
    uint64_t version;   /* of the outcome: of the first attempt where `repeated_reply` */
    uint64_t log_time_ns;
    bool repeated_reply; /* the outcome of an earlier attempt */
    bool given_up;       /* it was taken once, and is discarded now by a rewind */
    bool rewound;        /* a rewind is through */
    bool scrubs;         /* a tick: every replica computes the digest of what its disk has of
                            this version (lsm_scrub()), now that it is the newest */
    uint32_t item;       /* 1 + the number of the operation or condition at fault, or 0 */
    bool item_is_condition;
    char text[state_text_size]; /* of a refusal: a sentence or two */
};

/* ---- Ticks ---- */

enum state_tick_flag { STATE_TICK_SCRUB = 1 };
enum { state_tick_body_size_max = 16 };

/* The body of an entry ENTRY_TICK, which moves the horizon up to `horizon`; its size. */
size_t state_tick_encode(uint64_t horizon, uint64_t flags, uint8_t to[state_tick_body_size_max]);

/* What replicas may have dropped or not, of the newest version, and a scrub leaves out. `key` is
 * filled in, and the floor refers to it. */
enum { state_floor_size_max = 32 };
struct lsm_scrub_floor state_scrub_floor(const struct state *state,
                                         uint8_t key[state_floor_size_max]);

/* Begins an entry: `index` is the successor of facts.applied_index. The entry's bytes stay valid
 * until the command is done. */
void state_apply_start(struct state *state, uint64_t index, uint64_t term,
                       const struct entry *entry);

/* OK: it is published, and `*result` is its result. AGAIN: blocks are being read, or it has worked
 * long enough for one turn; step again once apply_ready was called, which in the second case is
 * at once. BUSY: the LSM has no room; step again after its `work`. Anything else is fatal. */
MUST_CHECK enum status state_apply_step(struct state *state, struct state_result *result);

/* Whether a command was started and has not answered OK. */
bool state_apply_is_active(const struct state *state);

/* Asks for the blocks that the entry's command will touch, and forgets the answer: for the time
 * while it is being replicated. */
void state_prefetch(struct state *state, const struct entry *entry);

/* ---- Before proposing ---- */

struct state_precheck {
    bool has_schema; /* creates or drops: the role admin */
};

/* What can be told of a commit without the state: MALFORMED, TOO_LARGE or INVALID_ARGUMENT, with
 * words. apply checks the same again. Changes of the schema stand in a commit of their own, without
 * puts, deletes and adds: INVALID_ARGUMENT. Pure. */
MUST_CHECK enum status state_precheck(const Strait__Commit *commit, struct state_precheck *precheck,
                                      struct state_refusal *refusal);

/* Whether the commit's reads and ranges can no longer be validated: CONFLICT, SNAPSHOT_TOO_OLD,
 * which the same bytes can never overcome; OK: propose it, also where its outcome is known already.
 * AGAIN as any read. `view` is the newest, and serves one commit, which passed state_precheck(). */
MUST_CHECK enum status state_validate(struct state_view *view, struct lsm_wait *wait,
                                      const Strait__Commit *commit, struct state_refusal *refusal);

/* ---- Reading ---- */

/* `version` UINT64_MAX: the newest. SNAPSHOT_TOO_OLD below the horizon; HISTORY_LOST past the
 * newest. */
MUST_CHECK enum status state_view_open(struct state *state, uint64_t version,
                                       struct state_view **view);
void state_view_close(struct state_view *view);

/* The view's version; the log time is the newest one at the time of opening. */
struct state_position state_view_position(const struct state_view *view);

/* The same as the reply's field; in the arena. NULL: no memory. */
Strait__Position *state_position_message(const struct state_position *position,
                                         struct arena *arena);

/* `*reply` is initialised before the first call, and given again after AGAIN. Its records are in
 * the arena, their values in the view: encode it before the view is closed. Refusals: NO_TABLE,
 * INVALID_ARGUMENT, TOO_LARGE (more keys than limit_get_keys_count, or more than limit_reply_size
 * of values). */
MUST_CHECK enum status state_get(struct state_view *view, struct lsm_wait *wait,
                                 const Strait__Get *request, struct arena *arena,
                                 Strait__GetReply *reply, struct state_refusal *refusal);

/* A scan's progress, in the arena; `request` stays valid until it is closed. Refusals: NO_TABLE,
 * NO_INDEX, INVALID_ARGUMENT (also for a `resume` that is not of this range). */
MUST_CHECK enum status state_scan_open(struct state_view *view, const Strait__Scan *request,
                                       struct arena *arena, struct state_scan **scan,
                                       struct state_refusal *refusal);

/* OK: `*reply`, which was initialised, has everything, in the arena. AGAIN as any read. */
MUST_CHECK enum status state_scan_step(struct state_scan *scan, struct lsm_wait *wait,
                                       Strait__ScanReply *reply);
void state_scan_close(struct state_scan *scan); /* before its view, and before its arena is freed */

/* Fills state, status and position. */
MUST_CHECK enum status state_outcome(struct state_view *view, struct lsm_wait *wait,
                                     const Strait__TxnStatus *request, struct arena *arena,
                                     Strait__TxnStatusReply *reply, struct state_refusal *refusal);

/* Tables by name. Never AGAIN. */
MUST_CHECK enum status state_tables(struct state_view *view, struct arena *arena,
                                    Strait__TableListReply *reply);

#endif
