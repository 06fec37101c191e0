/* SPDX-License-Identifier: Apache-2.0 */
/* What answers the pulls of other regions: a reader of the log, and nothing more.
 *
 * A pull (strait.RegionPull) names what its region has, or follows the pull before it; it is
 * answered with the entries that come next, as they stand in the log, or, after a while, with none.
 * Who asks knows its own position, so the source keeps nothing for a standby but what it
 * acknowledged, and both sides may break at any time: the next pull says where to go on.
 *
 * What the stream is. A log also holds entries that are none of it: regional ones, duplicates,
 * tails that were given up. A version belongs to one epoch, which the state's own history of epochs
 * tells; its entry is any committed one whose header has that epoch and version (and an ENTRY_EPOCH
 * that grants is found under the epoch that it ends). All of them have the same bytes: an epoch has
 * one primary, whose log gave each of its versions to one entry. So the place of a version in the
 * log is found by bisection over headers; where duplicates mislead that, by reading from the log's
 * start.
 *
 * Entries are shipped once they are committed and applied here. A cursor serves its pulls in their
 * order, each with what comes after the one before. Small batches are held back for `gather_ms`
 * after the last, so that a fast log makes few and dense ones.
 *
 * A region that pulls from a standby is heard of by the primary through that one, whose pulls pass
 * on what it said; what came from itself later than that counts.
 *
 * What is kept for regions: source_pin_index() says from where on the log must not be released, by
 * what each region acknowledged, up to `pinned_size_max` bytes; a region farther behind needs a
 * checkpoint. One that was not heard of yet, since this server's start, may lack anything.
 *
 * Belongs to the thread of its io. Bounded: source_cursors_max cursors with source_pulls_max pulls
 * each, one read of the log for each cursor, one batch; `turn_size_max` bytes of entries a turn. It
 * proposes nothing and waits for nothing: commits do not notice it. */
#ifndef REPLICATION_REGION_SOURCE_H
#define REPLICATION_REGION_SOURCE_H

#include "proto/base/bytes.h"
#include "replication/region/position.h"
#include "storage/io/io.h"

enum {
    source_cursors_max = 16,
    source_pulls_max = 16, /* of one cursor, waiting */
    source_regions_max = 16,
    source_wait_ms_max = 10 * 1000,
};

/* The log, for its reader: replicated_log_source() (log_source.h) or a test's. */
struct source_log {
    /* The entry at `index`, which is committed. OK: valid until the next call for this reader, or
     * the io's next turn. AGAIN: it is being read (`ahead_size` bytes from there on, at most), and
     * source_log_ready() tells when to ask again. NOT_FOUND: released. Else it cannot be read. */
    enum status (*entry_at)(void *context, unsigned reader, uint64_t index, size_t ahead_size,
                            struct bytes *bytes);
    uint64_t (*first_index)(void *context);             /* the oldest kept */
    void (*reader_end)(void *context, unsigned reader); /* nothing it was given is used any more */
    void *context;
};

struct source_options {
    struct io *io;
    struct source_log log;
    uint64_t pinned_size_max; /* bytes of log kept for regions; 0: 4 GiB */
    size_t turn_size_max;     /* bytes of entries in one turn; 0: 256 KiB */
    unsigned gather_ms;       /* between two answers of a cursor that are not full; 0: 10 */

    /* The newest epoch of the applied state's history that is not above `wanted`. False: none.
     * Where `wanted` is of number 0, as of a region that has nothing yet: a span that ends at
     * version 0, whose `next` is the first of all. */
    bool (*epoch_find)(void *context, struct epoch wanted, struct region_epoch_span *span);

    /* The chain digest at a version of the history; false: not kept. May be NULL. */
    bool (*chain_at)(void *context, uint64_t version, struct hash128 *chain);

    /* The record of the promotion that began the state's epoch; empty: none did. Valid for the
     * turn. May be NULL. */
    struct bytes (*promotion)(void *context);

    /* How old the data here is: all that was acknowledged to anybody `*age_ns` ago is applied here,
     * beyond doubt. 0 where this server leads the primary and its lease holds
     * (replicated_log_lease_holds()); what it knows of its own where it leads a standby that others
     * follow. False: not known, and answers say nothing of the age of data. May be NULL: always 0.
     */
    bool (*age_find)(void *context, uint64_t *age_ns);

    /* Says whether this is the primary, and asks the standby for a lease (lease.h), with each
     * answer, by filling in its fields. May be NULL. */
    void (*lease_ask)(void *context, Strait__RegionPullReply *reply);

    /* A pull brought a promotion record, which was not checked yet; valid during the call. May be
     * NULL. */
    void (*promotion_seen)(void *context, struct bytes record);

    /* A region acknowledged more, or said something else than before. May be NULL. */
    void (*heard)(void *context, uint32_t region);

    /* The answer of a pull that source_pull() took, exactly once. OK: `message` is a
     * Strait__RegionPullReply; else a Strait__Refusal. It is valid during the call. */
    void (*answer)(void *context, void *request, enum status status,
                   const ProtobufCMessage *message);
    void *context;
};

struct source;

MUST_CHECK enum status source_create(const struct source_options *options, struct source **source);

/* Pulls that wait are answered with SHUTTING_DOWN. */
void source_free(struct source *source);

/* ---- What the owner tells ---- */

/* At opening, and after a snapshot took the state's place or a rewind moved it: the state is at
 * `position`, made of the log up to `index`. */
void source_reset(struct source *source, const struct region_position *position, uint64_t index);

/* An entry at `index` was applied, whatever came of it; the state is at `position` since. `size` is
 * that of the entry's bytes. */
void source_applied(struct source *source, const struct region_position *position, uint64_t index,
                    size_t size);

/* Whether it may answer: this member leads, and has applied its own first entry. Where it may not
 * any more, pulls that wait are refused with NOT_LEADER and the leader's address; NULL: not known.
 */
void source_lead(struct source *source, bool leads, const char *leader);

/* The other regions: for each a part of the log is kept. */
void source_regions(struct source *source, const uint32_t *regions, size_t count);

/* ---- Pulls ---- */

/* Takes a pull: the answer comes with a later turn, or, for a refusal and a pull that only tells,
 * from within. Whoever asks was authenticated as a server of the cluster. */
void source_pull(struct source *source, const Strait__RegionPull *pull, void *request);

/* A region has asked for something else than entries: it is there. */
void source_note_heard(struct source *source, uint32_t region);

/* Each turn: answers what can be. */
void source_turn(struct source *source);

/* A read of the log is done. */
void source_log_ready(struct source *source);

/* ---- What it knows ---- */

/* The log above this index is to be kept. UINT64_MAX: nothing is. */
uint64_t source_pin_index(struct source *source);

struct source_region {
    uint32_t region;
    bool heard;                          /* since this server's start */
    uint64_t heard_ns;                   /* boot clock: when its last pull came */
    struct region_position acknowledged; /* applied by its group */
    uint64_t oldest_snapshot;            /* the oldest version read at there; 0: none */
    bool ready;
    uint32_t cluster_version_max;
    uint64_t lag_versions;
    uint64_t lag_size; /* bytes of entries; to some 64 KiB, more coarsely where it is far behind */
    uint64_t lag_ms;   /* since when there was something that it has not acknowledged; 0: nothing */
    bool snapshot;     /* it lacks what the log does not hold any more */
};

/* Its `count` regions of source_regions(), in that order. False past the last. */
bool source_region_at(struct source *source, size_t number, struct source_region *region);

/* By id; false: none of those. */
bool source_region_find(struct source *source, uint32_t id, struct source_region *region);

struct source_statistics {
    uint64_t pulls_count;
    uint64_t batches_count;
    uint64_t entries_count;
    uint64_t raw_size;  /* bytes of entries sent */
    uint64_t sent_size; /* compressed */
    uint64_t refused_count;
    uint64_t rescans_count; /* the log was read from its start to find a version */
    unsigned cursors_count;
};
struct source_statistics source_statistics(const struct source *source);

#endif
