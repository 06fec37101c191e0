/* SPDX-License-Identifier: Apache-2.0 */
/* Which operation must stand before which, and why; and the cycle that shows that no order fits.
 *
 * Classes of cycles after Adya (PhD thesis, 1999) and Elle (Kingsbury and Alvaro, VLDB 2020): G0 of
 * writes alone, G1c with reads of what was written, G-single-item with one read that missed a
 * write, G2-item with several; "-realtime" where it takes the order of real time as well. */
#ifndef JEPSEN_CHECK_GRAPH_H
#define JEPSEN_CHECK_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

enum graph_edge_kind {
    GRAPH_WW = 1,       /* wrote the version before */
    GRAPH_WR = 2,       /* wrote what the other read */
    GRAPH_RW = 4,       /* read the version before the other's */
    GRAPH_REALTIME = 8, /* had ended when the other began */
};

struct graph_edge {
    uint32_t from;
    uint32_t to;
    enum graph_edge_kind kind;
};

struct graph {
    uint32_t nodes_count;
    struct graph_edge *edges;
    uint32_t edges_count;
    uint32_t edges_capacity;
};

enum { graph_cycle_max = 64 };

/* Steps in order; the last one leads back to the first. Longer ones are cut. */
struct graph_cycle {
    const char *class;
    struct graph_edge edges[graph_cycle_max];
    uint32_t count;
};

void graph_init(struct graph *graph, uint32_t nodes_count);
void graph_free(struct graph *graph);

/* Edges from a node to itself are left out. */
void graph_add(struct graph *graph, uint32_t from, uint32_t to, enum graph_edge_kind kind);

/* A shortest cycle of the gravest class there is; false: there is none. Strongly connected
 * components by Tarjan (1972), in time linear in the graph; the search within them looks from a
 * bounded number of nodes, so that the cycle may not be the shortest where there are very many. */
bool graph_find_cycle(const struct graph *graph, struct graph_cycle *cycle);

#endif
