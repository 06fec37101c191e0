/* SPDX-License-Identifier: Apache-2.0 */
/* A region in one thread: several logs over simulated disks, and a bus between them that can be
 * cut.
 *
 * Time moves in steps, alike for all. In each step every node's io turns, its log turns, it applies
 * what is committed, and what was sent arrives. What is applied is kept, per index, over all of the
 * region's life: two nodes that apply different entries at one index fail the test at once. */
#ifndef TESTS_UNIT_REPLICATION_FIXTURE_H
#define TESTS_UNIT_REPLICATION_FIXTURE_H

#include "proto/peer.h"
#include "replication/replicated_log.h"
#include "tests/sim/disk.h"
#include "tests/unit/unit.h"

enum {
    nodes_max = 5,
    applied_max = 20000, /* entries that a test applies */
    proposals_max = 20000,
    messages_max = 4096, /* on their way at a time */
    step_ns = 200 * 1000,
};

struct message {
    unsigned from;
    unsigned to;
    struct bytes bytes;
};

/* What became of a proposal. */
enum fate { FATE_NONE, FATE_PROPOSED, FATE_APPLIED, FATE_DROPPED, FATE_APPLIED_AND_LOST };

struct proposal {
    enum fate fate;
    unsigned node;
};

struct node {
    struct bus bus; /* first */
    struct region *region;
    unsigned number;
    struct sim_disk *disk;
    struct io *io;
    struct keyring *keyring;
    struct replicated_log *log; /* NULL: down */
    struct wal_report report;
    struct bus_user user;
    struct membership bus_members;
    uint64_t id; /* known once it was open */

    /* The state: what was applied, and what of it is durable. */
    struct wal_mark applied;
    uint64_t log_time_ns;
    struct log_position position; /* of the newest shared entry */
    struct membership membership;
    struct wal_mark base;
    uint64_t base_time_ns;
    struct membership base_membership;

    bool stopped; /* its applying rests */
    bool failed;
    size_t room; /* of the bus to each other node, at a time */
    size_t queued[nodes_max];
    uint64_t confirmed;
    unsigned unconfirmed_count;
    unsigned changed_count;
    uint64_t snapshot_member; /* that needs one */
    bool prepared;
    bool installed;
    enum status install_status;
};

struct region {
    unsigned count;
    bool is_clone; /* its keyrings are another's */
    uint64_t segment_size;
    size_t cache_size;
    uint64_t retained_size;
    struct node nodes[nodes_max];
    bool cut[nodes_max][nodes_max]; /* from, to */
    unsigned messages_first;
    unsigned messages_count;
    struct message messages[messages_max];
    uint64_t steps;

    /* By index: a hash of what was applied there, by anyone. */
    uint64_t applied[applied_max];
    uint64_t applied_last;
    struct proposal proposals[proposals_max];
    unsigned proposals_count;
};

/* `count` nodes, all down and new. The first founds the region when it is opened. */
struct region *region_create(unsigned count, uint64_t seed);
void region_destroy(struct region *region);

/* The same region once more, with disks of its own and the original's keyrings: that one is
 * destroyed last. All nodes of both are down. */
struct region *region_clone(const struct region *region, uint64_t seed);

enum status node_try_open(struct region *region, unsigned number, struct error *error);
void node_open(struct region *region, unsigned number);

/* In good order. */
void node_close(struct region *region, unsigned number);

/* Power fails: what was not flushed may be lost. Comes back with node_open(). */
void node_crash(struct region *region, unsigned number, enum sim_restart_mode mode);

/* The state becomes durable as it is, and says so. */
void node_flush_state(struct region *region, unsigned number);

void region_step(struct region *region);
void region_run_ms(struct region *region, uint64_t ms);

/* Steps until `done` says so; fails the test after `ms`. */
void region_until(struct region *region, bool (*done)(struct region *region), uint64_t ms);

/* Opens all, and makes voters of all. */
void region_form(struct region *region);

/* The node that leads and may be read from; NULL: none. Two in one term fail the test. */
struct node *region_leader(struct region *region);
struct node *region_await_leader(struct region *region);

/* Proposes one entry with a body of `size` bytes. OK, or why not. `*number`: of the proposal. */
enum status node_propose(struct node *node, size_t size, unsigned *number);

/* Proposes at whoever leads, until one is applied there. */
void region_commit(struct region *region, unsigned count, size_t size);

/* All nodes that are up have applied as much as any. */
bool region_is_level(struct region *region);
void region_await_level(struct region *region);

/* Changes the membership at the leader, and waits for it. */
void region_change(struct region *region, const struct membership *target);
void region_isolate(struct region *region, unsigned number, bool isolated);

/* As a server does it: the state of `from` takes the place of that of `to`. */
enum status region_install(struct region *region, const struct node *from, struct node *to);

struct member node_member(const struct node *node, unsigned kinds);

/* Flips a bit of the proposal's body where its write-ahead log holds it (keys are off). False: it
 * does not. */
bool node_damage(struct node *node, unsigned proposal);

/* The same for the header of its batch, which is in the same block. */
bool node_damage_header(struct node *node, unsigned proposal);

#endif
