/* SPDX-License-Identifier: Apache-2.0 */
/* The standby's side of shipping: its leader asks the other region for what follows its own
 * position, checks what comes, and has it proposed in its own group, in order.
 *
 *     RESTING ---start---> WAITING ---back-off over, link connected---> PULLING
 *        ^                    ^                                            |
 *        +------stop----------+---a break, a gap, a refusal: start over----+
 *
 * While PULLING up to `pulls_max` pulls of one cursor are in flight, and their answers are taken in
 * the cursor's order, whatever order they come in. Every entry is checked to be the successor of
 * the one before (batch.h) and handed to `propose` as it came. Whatever does not fit ends the
 * cursor, and the next begins at the position that the state has then: what was proposed and not
 * applied by then comes again, and apply passes over it. So nothing here needs to be remembered
 * over a break, and no answer that was lost, repeated or late can do harm.
 *
 * Flow: entries that are proposed and not applied yet are at most `inflight_size_max` bytes; past
 * it, or while `propose` says BUSY, answers are held, at most one of each pull, and no further
 * pulls are sent. What is applied is acknowledged with each pull, and by a pull of its own where
 * there is none to go out.
 *
 * Age: the source says in each answer the newest time of ours that had reached it, less the age of
 * its own data; once we have applied what it had applied when it answered, our data is no older
 * than that time.
 *
 * The link follows a NOT_LEADER to the leader's address; here that is only a reason to start over.
 *
 * Belongs to the thread of its io. Uses the link alone, from receiver_create() to receiver_free().
 */
#ifndef REPLICATION_REGION_RECEIVER_H
#define REPLICATION_REGION_RECEIVER_H

#include "proto/base/bytes.h"
#include "proto/limits.h"
#include "replication/region/link.h"
#include "replication/region/position.h"
#include "storage/io/io.h"

enum {
    receiver_pulls_max = 16,
    receiver_downstream_max = 16,
};

/* What a region that pulls from us said of itself: it is passed on to whom we pull from. */
struct receiver_downstream {
    uint32_t region;
    struct region_position acknowledged;
    uint64_t oldest_snapshot;
    bool ready;
    uint32_t cluster_version_max;
    uint64_t heard_ns; /* boot clock */
};

/* What this region says of itself with each pull. */
struct receiver_standing {
    struct region_position applied; /* by this member's state, which leads its group */
    uint64_t oldest_snapshot;       /* the oldest version read at in this region; 0: none */
    bool ready;                     /* it could take over */
    uint32_t cluster_version_max;
    struct bytes promotion; /* the newest promotion record known here; valid during the call */
    unsigned downstream_count;
    struct receiver_downstream downstream[receiver_downstream_max];

    /* The lease that this pull grants, as the source asked for it (`lease_asked`); 0: none. */
    uint64_t lease_holder;
    uint64_t lease_asked_ns;

    /* Nothing is to be followed yet: it is to be asked whether the other region's history has this
     * position (`agreed`, or `trouble` with another one). */
    bool asks;
    struct region_position ask;
};

/* Why the other region cannot serve us: it stays so until something is done about it. */
enum receiver_trouble {
    RECEIVER_HISTORY_LOST, /* our position is none of its history: `common` is to be rewound to */
    RECEIVER_RELEASED,     /* its log does not reach back: a checkpoint is needed */
    RECEIVER_DIVERGED,     /* same epoch and version, another chain digest */
    RECEIVER_BEHIND,       /* it is of an older epoch than we are */
};

struct receiver_options {
    struct io *io;
    struct link *link;
    uint32_t region; /* our own id */
    uint64_t seed;   /* of cursors and back-off: drawn at random */

    unsigned pulls_max;       /* in flight; 0: 8 */
    uint32_t pull_size;       /* bytes of entries asked for with each; 0: 256 KiB */
    uint32_t wait_ms;         /* that a pull waits for entries; 0: 100 */
    uint32_t silence_ms;      /* without any answer before the link is left; 0: 3000 */
    size_t inflight_size_max; /* bytes proposed and not applied; 0: 8 MiB */

    /* Gives how things stand here. */
    void (*standing)(void *context, struct receiver_standing *standing);

    /* Takes an entry into our own log, as it is (replicated_log_propose_entry()). BUSY: try later.
     * Any other status than OK: the cursor starts over. */
    enum status (*propose)(void *context, struct bytes entry);

    /* The other region refuses. `common` is zeroed but for HISTORY_LOST; `promotion` is the record
     * that came with it, not checked; empty: none. It is asked again after a back-off. */
    void (*trouble)(void *context, enum receiver_trouble trouble,
                    const struct region_position *common, struct bytes promotion);

    /* The other region's history has the position that standing() asked for. May be NULL. */
    void (*agreed)(void *context, const struct region_position *position);

    /* The other region's leader asks for a lease (lease.h), for that long; holder 0: for none. May
     * be NULL. */
    void (*lease_asked)(void *context, uint64_t holder, uint64_t asked_ns, uint32_t lease_ms);

    /* The other region's position, as of an answer. May be NULL. */
    void (*source_seen)(void *context, const struct region_position *position);
    void *context;
};

struct receiver;

MUST_CHECK enum status receiver_create(const struct receiver_options *options,
                                       struct receiver **receiver);
void receiver_free(struct receiver *receiver); /* detaches from the link */

/* This member leads its region, has applied its own first entry, and its region is a standby. */
void receiver_start(struct receiver *receiver);

/* Any of that holds no more. What is in flight is passed over when it comes. What is known of the
 * source stays, and how old our data is: it only grows older. */
void receiver_stop(struct receiver *receiver);

/* Stops, and what is known is gone: the state is replaced by another. */
void receiver_forget(struct receiver *receiver);

/* Entries were applied: the state is at `position`. Once a turn is enough. */
void receiver_applied(struct receiver *receiver, const struct region_position *position);

/* An entry of the stream, shipped or not, was discarded by apply. A duplicate does not matter;
 * anything else starts over. */
void receiver_discarded(struct receiver *receiver, struct epoch epoch, uint64_t version);

/* A region that pulls from us has said something else than before, which the next pull passes on:
 * soon, where none is to go out. */
void receiver_downstream_heard(struct receiver *receiver);

/* Each turn: proposes what waits for room, sends pulls. */
void receiver_turn(struct receiver *receiver);

/* ---- What it knows ---- */

enum receiver_state { RECEIVER_RESTING, RECEIVER_WAITING, RECEIVER_PULLING };

struct receiver_facts {
    enum receiver_state state;
    bool connected;
    char endpoint[limit_member_address_size + 1]; /* empty: none */
    bool source_known;                            /* and of no epoch below ours */
    struct region_position source;                /* as of the newest answer */
    uint64_t answered_ns;                         /* boot clock: when that came; 0: never */
    uint64_t
        primary_ns;     /* the same of an answer of the primary's, not of an upstream's; 0: never */
    uint64_t silent_ns; /* boot clock: since when, or since the start, none came */
    bool fresh;         /* `fresh_ns` holds */
    uint64_t fresh_ns;  /* boot clock: all that the primary acknowledged before is applied here */
    uint64_t lag_versions;
    size_t inflight_size; /* bytes proposed and not applied */
    unsigned pulls_count; /* in flight */
    uint64_t entries_count;
    uint64_t raw_size;
    uint64_t received_size;
    uint64_t restarts_count;
    uint64_t malformed_count;
    enum status last_refusal; /* of the newest cursor that was refused; OK: none was */
};
struct receiver_facts receiver_facts(const struct receiver *receiver);

/* The age of this region's data; UINT64_MAX: not known. */
uint64_t receiver_age_ns(const struct receiver *receiver);

#endif
