/* SPDX-License-Identifier: Apache-2.0 */
/* Which entries are on whose disks, which are committed, and that these are never lost; seen from
 * outside, by looking at each server's log after its turns.
 *
 * - What a follower says to hold is on its disk when it says so.
 * - What is committed is on the disks of a majority, and whoever lacks it cannot be elected
 *   (Ongaro and Ousterhout 2014, 5.4).
 * - At a committed index all logs have the same term (log matching), and the log of each leader of
 *   a newer term than the one that committed it reaches it (leader completeness).
 * - No log lets go of an entry that is committed, unless the state has it; what was on a disk is
 *   there after a restart, where nothing has decayed.
 * - The configuration by which Raft decides is the membership that the log tells.
 * - A follower's state is never ahead of its own log, but by what it took to apply while it led.
 * - Nobody leads whose own disk has not written for five seconds what is to be written, where
 * others could. */
#ifndef TESTS_SIM_COMMITMENT_H
#define TESTS_SIM_COMMITMENT_H

#include "proto/peer.h"
#include "server/core.h"
#include "tests/sim/bus.h"
#include "tests/sim/numbered.h"

struct world;

enum { commitment_points_count = 1 << 16 };

/* An index: the newest stay. */
struct commitment_point {
    uint64_t index;
    uint64_t term;
    uint64_t committed_in; /* the term of who was seen first to know it; 0: nobody does */
    uint32_t holders;      /* servers on whose disk it was, a bit each */
};

/* A server's log, as it was last seen. */
struct commitment_log {
    struct raft_mark held; /* durable; what lies before it as well */
    struct raft_mark base;
    uint64_t commit_index;
    uint64_t applied_index;
    uint64_t snapshots_count;
    uint64_t led_index; /* committed when it led last: it may have taken so far what it applies */
    bool led;
    bool is_seen;            /* since its start */
    uint64_t waits_since_ns; /* what is to be written next, while it leads; 0: nothing */
    struct raft_configuration configuration;
    uint64_t member;
};

struct commitment {
    struct numbered points;
    struct commitment_log logs[sim_servers_max];
    uint64_t index;           /* up to which entries are known to be committed */
    uint64_t counted_count;   /* commits whose majority was counted */
    uint64_t completed_count; /* entries looked up in the logs of new leaders */
};

void commitment_init(struct commitment *commitment);
void commitment_free(struct commitment *commitment);

/* A server begins a new life; `wiped`: with an empty disk. */
void commitment_started(struct commitment *commitment, unsigned server);
void commitment_wiped(struct commitment *commitment, unsigned server);

/* It has opened its log, and was not turned yet: what was on its disk is compared with what it
 * found, before it hears of a newer leader that supersedes it. */
void commitment_opened(struct commitment *commitment, struct world *world, unsigned server);

/* Its process ends in the midst of a turn, after which nobody would look: what it superseded within
 * that turn need not be there after its restart. */
void commitment_ended(struct commitment *commitment, struct world *world, unsigned server);

/* A message of Raft's leaves a server. */
void commitment_heard(struct commitment *commitment, struct world *world, unsigned server,
                      const struct peer_message *message);

/* After a turn; `log` is the server's, `begins_to_lead` as elections_look() says. */
void commitment_look(struct commitment *commitment, struct world *world, unsigned server,
                     const struct core_facts *facts, const struct log_facts *log,
                     bool begins_to_lead);

#endif
