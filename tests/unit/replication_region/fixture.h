/* SPDX-License-Identifier: Apache-2.0 */
/* Two regions in one thread, as far as shipping sees of them: a log that is read, a link that can
 * be cut, slow and out of order, and a standby that takes entries and applies them as apply does.
 *
 * Time is the simulated disk's, and moves in steps. What each side promises is checked as it
 * happens: pulls are answered once, and what is proposed is the stream's, in order, from where the
 * standby's state was when the last cursor began. */
#ifndef TESTS_UNIT_REPLICATION_REGION_FIXTURE_H
#define TESTS_UNIT_REPLICATION_REGION_FIXTURE_H

#include "proto/base/generator.h"
#include "proto/epoch.h"
#include "replication/region/batch.h"
#include "replication/region/receiver.h"
#include "replication/region/source.h"
#include "tests/sim/disk.h"
#include "tests/unit/unit.h"

enum {
    world_entries_max = 40000,
    world_exchanges_max = 512,
    world_epochs_max = 8,
    primary_id = 1,
    standby_id = 2,
    downstream_id = 3, /* pulls from the standby, where a test says so */
    step_us = 500,
};

struct item {
    uint8_t *bytes;
    size_t size;
};

/* A request and its answer, on their way. */
struct exchange {
    bool used;
    bool lost;     /* the connection ended: the link has told so */
    bool arrived;  /* at the source */
    bool answered; /* by it */
    void *request; /* of the receiver's */
    uint64_t due_ns;
    enum status status;
    bool has_message;
    uint8_t *bytes; /* encoded: the pull, then the answer */
    size_t size;
};

struct world {
    struct link link; /* first */
    struct sim_disk *disk;
    struct io *io;
    struct generator generator;

    /* The primary. `items` by index; the stream's entry of each version. */
    struct item items[world_entries_max];
    uint64_t last_index;
    uint64_t first_index;
    uint64_t applied_index;
    struct region_position position;
    uint64_t stream[world_entries_max]; /* version -> index */
    struct hash128 chains[world_entries_max];
    uint64_t applied_ns[world_entries_max]; /* version -> when */
    struct region_epoch_span epochs[world_epochs_max];
    unsigned epochs_count;
    struct source_options source_options;
    struct source *source;
    uint64_t reader_index[source_cursors_max]; /* what was read, and is being read */
    uint64_t reader_until[source_cursors_max];
    uint64_t reader_due_ns[source_cursors_max]; /* 0: nothing is being read */
    bool reads_wait;                            /* entries are read before they are there */
    bool is_deposed;                            /* and does not know */
    uint64_t age_ns;                            /* of what the source has */
    unsigned heard_count;

    /* The link. */
    struct link_user user;
    bool connected;
    uint64_t connect_ns; /* 0: not due */
    uint64_t delay_ns;   /* each way */
    uint64_t jitter_ns;  /* of answers: they come out of order */
    uint64_t last_due_ns;
    struct exchange exchanges[world_exchanges_max];
    unsigned leaves_count;
    const struct exchange *answering;

    /* The standby. */
    struct receiver *receiver;
    struct region_position state;
    uint64_t proposed[world_entries_max]; /* versions under way */
    uint64_t proposed_due_ns[world_entries_max];
    size_t proposed_first;
    size_t proposed_last;
    uint64_t proposed_newest; /* by this cursor: 0 none yet */
    unsigned proposals_count;
    unsigned repeated_count; /* proposals that apply passed over */
    uint64_t apply_ns;       /* from propose to applied */
    unsigned busy_percent;
    bool standby_ready;
    enum receiver_trouble trouble;
    unsigned troubles_count;
    struct region_position common;
};

struct world *world_create(uint64_t seed);
void world_destroy(struct world *world);

/* Adds to the primary's log, applied at once: a version of the stream, of about `size` bytes; or
 * something that is none of it. */
void world_commit(struct world *world, size_t size);
void world_add_regional(struct world *world);
void world_add_repeated(struct world *world, uint64_t version);

/* An entry of the log, without the stream knowing of it. */
void world_add_foreign(struct world *world, struct epoch epoch, uint64_t version);

/* The old primary's log: from here on versions after `last` are given up; the epoch `next` began
 * there with an entry of its own. */
void world_promote(struct world *world, uint64_t last, struct epoch next);
void world_grant(struct world *world, struct epoch next);

/* A source without memory of what was before: as of another leader. */
void world_restart_source(struct world *world);
void world_start_receiver(struct world *world, const struct receiver_options *options);

void world_connect(struct world *world);
void world_break(struct world *world);
void world_step(struct world *world);
void world_run_ms(struct world *world, uint64_t ms);

/* Runs until the standby has all; fails the test after `ms`. */
void world_await_level(struct world *world, uint64_t ms);

uint64_t world_now_ns(const struct world *world);

#endif
