/* SPDX-License-Identifier: Apache-2.0 */
/* Several rafts in one process, with disks, a network and clocks that the test moves.
 *
 * What each raft asks for is done here as its owner would: entries and hard state are queued for
 * the disk, messages for the network; nothing is written or delivered before the test says so.
 * After each event all that must always hold is checked; a breach fails the test at once:
 *
 * - at most one leader in a term, and it holds every entry that was ever committed (3.6.3);
 * - what is committed at an index is the same everywhere, for ever;
 * - two logs that hold an entry of the same index and term are the same up to it (3.5);
 * - a member votes once in a term, and each vote, each answer to an append and each term was
 * durable before it was told;
 * - at most one lease holds, and its holder knows of all that is committed; so does, when it asked,
 *   whoever had a round confirmed. */
#ifndef TESTS_UNIT_REPLICATION_RAFT_CLUSTER_H
#define TESTS_UNIT_REPLICATION_RAFT_CLUSTER_H

#include <stdio.h>

#include "replication/raft/raft.h"

enum {
    cluster_nodes_max = 7,
    cluster_entries_max = 2048, /* of one log, and of all that is committed */
    cluster_packets_max = 4096,
    cluster_writes_max = 2048,
    cluster_terms_max = 4096,
    cluster_confirms_max = 64,
};

struct cluster_entry {
    uint64_t term;
    uint64_t value;                                 /* 0: a no-op or a configuration */
    uint64_t chain;                                 /* a digest of all entries up to here */
    const struct raft_configuration *configuration; /* owned by the cluster */
};

/* Entries after the base; entry `index` lies at [index - base.index - 1]. */
struct cluster_log {
    struct raft_mark base;
    uint64_t base_chain;
    struct raft_configuration base_configuration;
    size_t count;
    struct cluster_entry entries[cluster_entries_max];
};

struct cluster_write {
    uint64_t index; /* supersedes what lies there and above */
    struct cluster_entry entry;
};

struct cluster_confirm {
    uint64_t round;
    bool good; /* all that was committed anywhere was known when it was asked for */
};

struct cluster_node {
    uint64_t id;       /* 1 .. nodes_count; 0: none */
    struct raft *raft; /* NULL: down */
    struct cluster_log log;
    struct cluster_log disk;
    struct raft_hard_state disk_state;
    bool state_wanted; /* `state` is to be written */
    struct raft_hard_state state;
    size_t writes_count;
    struct cluster_write writes[cluster_writes_max];
    size_t notices_count; /* written, not reported */
    struct raft_mark notices[cluster_writes_max];
    uint64_t applied_index;
    uint64_t snapshot_for; /* a member that needs a snapshot; 0: none */
    uint64_t starts_count;
    uint64_t confirm_term;
    size_t confirms_count;
    struct cluster_confirm confirms[cluster_confirms_max];
    int64_t rate_ppm; /* how much faster than true time its clock runs */
};

struct cluster_packet {
    struct raft_message message;
    struct cluster_entry *entries; /* owned */
};

struct cluster_options {
    struct raft_configuration configuration;
    unsigned nodes_count; /* those outside the configuration have none at first */
    uint64_t seed;
    uint32_t clock_bound_ppm;
    uint64_t disk_stall_ns;
    bool lease_off;
    size_t append_size_max; /* entries count as 100 bytes each */
    unsigned inflight_count_max;
};

struct cluster {
    struct cluster_options options;
    FILE *trace; /* NULL: none */
    uint64_t now_ns;
    uint64_t next_value;
    unsigned nodes_count;
    struct cluster_node nodes[cluster_nodes_max + 1]; /* by id */
    bool cut[cluster_nodes_max + 1][cluster_nodes_max + 1];
    size_t packets_count;
    struct cluster_packet packets[cluster_packets_max];

    /* What was ever seen. */
    uint64_t committed_count;
    struct cluster_entry committed[cluster_entries_max + 1]; /* by index */
    uint64_t leader_of_term[cluster_terms_max];
    uint64_t vote_of_term[cluster_nodes_max + 1][cluster_terms_max];
    size_t configurations_count;
    struct raft_configuration configurations[cluster_entries_max];
    uint64_t confirmed_count;
    uint64_t lease_count; /* times that one was seen to hold */
    uint64_t snapshots_count;
};

struct cluster *cluster_create(const struct cluster_options *options);
void cluster_destroy(struct cluster *cluster);

uint64_t cluster_time_ns(const struct cluster *cluster, const struct cluster_node *node);

/* Takes out all that the node's raft wants done, and checks what always holds. */
void cluster_turn(struct cluster *cluster, struct cluster_node *node);

void cluster_tick(struct cluster *cluster, struct cluster_node *node);

/* Removes the packet and gives it to its receiver, unless that is down or the way is cut. */
void cluster_deliver(struct cluster *cluster, size_t packet);
void cluster_drop(struct cluster *cluster, size_t packet);
struct cluster_packet cluster_take(struct cluster *cluster, size_t packet);
void cluster_duplicate(struct cluster *cluster, size_t packet);

/* The oldest `count` queued writes become durable; and are reported. */
void cluster_write(struct cluster *cluster, struct cluster_node *node, size_t count);
void cluster_report(struct cluster *cluster, struct cluster_node *node, size_t count);
void cluster_write_state(struct cluster *cluster, struct cluster_node *node);

/* What was not written is lost; comes back with what was. */
void cluster_crash(struct cluster *cluster, struct cluster_node *node);
void cluster_start(struct cluster *cluster, struct cluster_node *node);

enum status cluster_propose(struct cluster *cluster, struct cluster_node *node, unsigned count);
enum status cluster_change(struct cluster *cluster, struct cluster_node *node,
                           const struct raft_configuration *target);
enum status cluster_transfer(struct cluster *cluster, struct cluster_node *node, uint64_t to);
enum status cluster_confirm(struct cluster *cluster, struct cluster_node *node, uint64_t *round);
void cluster_hold(struct cluster *cluster, struct cluster_node *node, bool held);

/* The log up to `index`, applied and durable, is given up. */
void cluster_release(struct cluster *cluster, struct cluster_node *node, uint64_t index);

/* `to` gets the state of `from`, as of what that has applied, written at once. */
enum status cluster_install(struct cluster *cluster, struct cluster_node *from,
                            struct cluster_node *to);

/* Everything queued is written and delivered until nothing moves; time stands still. */
void cluster_settle(struct cluster *cluster);

/* Settles, tick by tick, until so much time has passed. */
void cluster_run(struct cluster *cluster, uint64_t duration_ns);

/* The leader of the highest term among those that are up; NULL: none. */
struct cluster_node *cluster_leader(struct cluster *cluster);

const char *cluster_message_name(enum raft_message_type type);
void cluster_print_configuration(FILE *file, const struct raft_configuration *configuration);

#endif
