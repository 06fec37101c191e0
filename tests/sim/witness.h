/* SPDX-License-Identifier: Apache-2.0 */
/* The witness of two simulated regions: the real one (server/witness.h) over a simulated disk,
 * which the servers' links reach over the lines between the three sites (region_link.h).
 *
 * As with servers, its disk's time is its own. */
#ifndef TESTS_SIM_WITNESS_H
#define TESTS_SIM_WITNESS_H

#include "server/witness.h"
#include "tests/sim/server.h"

struct pair;

struct sim_witness {
    struct pair *pair;
    enum sim_server_state state;
    struct generator generator;
    struct sim_disk *disk;
    struct io *io;
    struct keyring *keyring;
    struct witness *witness;
    struct session session; /* whom its questions come from */
    struct mailbox replies;
    struct event **inbox; /* what has come and was not taken */
    size_t inbox_count;
    size_t inbox_capacity;
    bool failed;    /* it cannot go on */
    bool has_keys;  /* on its disk */
    bool has_begun; /* it keeps something: it was started once to its end */
    uint64_t lives; /* starts */
    uint64_t paused_until_ns;
    uint64_t restart_ns; /* while down; UINT64_MAX: not by itself */
    struct error error;  /* why it failed */
};

/* Down, without anything on its disk, and due to start. */
void sim_witness_init(struct sim_witness *witness, struct pair *pair, uint64_t seed);
void sim_witness_free(struct sim_witness *witness);

/* When it is to be turned; UINT64_MAX: not before something comes. */
uint64_t sim_witness_next_ns(const struct sim_witness *witness);

/* A start, or a turn, at the pair's time. */
void sim_witness_turn(struct sim_witness *witness);

/* A question has come: takes the event. */
void sim_witness_receive(struct sim_witness *witness, struct event *event);

/* Power is lost, or the process is killed: the disk keeps what `mode` says. */
void sim_witness_crash(struct sim_witness *witness, enum sim_restart_mode mode,
                       uint64_t restart_ns);

#endif
