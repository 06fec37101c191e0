/* SPDX-License-Identifier: Apache-2.0 */
/* The network of a simulated world: who reaches whom, how fast, and what is lost on the way.
 *
 * Nodes are the servers, by their numbers from 0, and after them the clients. Each direction
 * between two nodes is cut or not by itself. What is cut loses all that is sent; what is not loses
 * `loss_percent`, which is 0 but during faults, and takes a random time. */
#ifndef TESTS_SIM_NETWORK_H
#define TESTS_SIM_NETWORK_H

#include "proto/base/generator.h"

enum { network_nodes_max = 24 };

/* Ways to part servers. Each has a count of its own in the report. */
enum network_shape {
    NETWORK_ONE,          /* one server is cut off from the others */
    NETWORK_MINORITY,     /* the servers fall into two parts */
    NETWORK_RING,         /* each server reaches a majority, no two the same one */
    NETWORK_BRIDGE,       /* two halves, and one server that reaches both */
    NETWORK_SEND_ONLY,    /* one server is heard by the others, and hears none */
    NETWORK_RECEIVE_ONLY, /* one server hears the others, and is heard by none */
    NETWORK_CLIENTS,      /* one server is cut off from the clients alone */
    NETWORK_SHAPES_END,
};

struct network {
    struct generator generator;
    unsigned servers_count;
    unsigned nodes_count;
    bool cut[network_nodes_max][network_nodes_max];         /* from, to */
    uint64_t late_ns[network_nodes_max][network_nodes_max]; /* that much later; from, to */
    uint64_t latency_min_ns;
    uint64_t latency_max_ns;
    unsigned loss_percent;  /* of messages between servers */
    unsigned delay_percent; /* of all messages: those that take up to `delay_max_ns` */
    uint64_t delay_max_ns;
    uint64_t lost_count;
    uint64_t delayed_count;
};

void network_init(struct network *network, uint64_t seed, unsigned servers_count,
                  unsigned clients_count);

/* Parts the servers around `victim`, on top of what is cut already. Shapes that need more servers
 * than there are cut the victim off. */
void network_part(struct network *network, enum network_shape shape, unsigned victim);

/* All reach all, nothing is lost, nothing is slow. */
void network_heal(struct network *network);

/* Whether a message of now arrives, and when. */
bool network_pass(struct network *network, unsigned from, unsigned to, uint64_t now_ns,
                  uint64_t *due_ns);

const char *network_shape_name(enum network_shape shape);

#endif
