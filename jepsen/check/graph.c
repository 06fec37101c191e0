/* SPDX-License-Identifier: Apache-2.0 */
#include "jepsen/check/graph.h"

#include <stdlib.h>
#include <string.h>

#include "jepsen/check/array.h"

enum { none = UINT32_MAX, starts_max = 2000 };

void graph_init(struct graph *graph, uint32_t nodes_count)
{
    *graph = (struct graph){.nodes_count = nodes_count};
}

void graph_free(struct graph *graph)
{
    free(graph->edges);
    *graph = (struct graph){0};
}

void graph_add(struct graph *graph, uint32_t from, uint32_t to, enum graph_edge_kind kind)
{
    ASSERT(from < graph->nodes_count && to < graph->nodes_count);
    if (from == to)
        return;
    graph->edges =
        array_grow(graph->edges, graph->edges_count, &graph->edges_capacity, sizeof *graph->edges);
    graph->edges[graph->edges_count++] = (struct graph_edge){from, to, kind};
}

/* ---- Edges by the node they leave ---- */

struct search {
    const struct graph *graph;
    uint32_t *first; /* of a node, into `order`; one more than there are nodes */
    uint32_t *order; /* of edges */
    uint32_t *component;
    uint32_t components_count;
    uint32_t *component_sizes;
    uint32_t *queue;
    uint32_t *came_by; /* the edge by which a breadth-first search came to a node */
    uint32_t *seen;    /* the number of the search that saw a node last */
    uint32_t searches_count;
};

static void sort_edges(struct search *search)
{
    const struct graph *graph = search->graph;
    for (uint32_t i = 0; i < graph->edges_count; i++)
        search->first[graph->edges[i].from + 1]++;
    for (uint32_t i = 0; i < graph->nodes_count; i++)
        search->first[i + 1] += search->first[i];
    uint32_t *next = array_create(graph->nodes_count, sizeof *next);
    memcpy(next, search->first, graph->nodes_count * sizeof *next);
    for (uint32_t i = 0; i < graph->edges_count; i++)
        search->order[next[graph->edges[i].from]++] = i;
    free(next);
}

/* ---- Components ---- */

struct tarjan {
    struct search *search;
    uint32_t *number; /* in which order a node was met, from 1; 0: not yet */
    uint32_t *low;    /* the earliest that it leads back to */
    uint32_t *at;     /* the edge that is looked at next */
    uint32_t *path;   /* the depth-first search's own stack, so that long chains do no harm */
    uint32_t *stack;
    uint32_t stack_count;
    uint32_t met_count;
};

static void meet(struct tarjan *tarjan, uint32_t node)
{
    tarjan->number[node] = tarjan->low[node] = ++tarjan->met_count;
    tarjan->at[node] = tarjan->search->first[node];
    tarjan->stack[tarjan->stack_count++] = node;
}

static void leave(struct tarjan *tarjan, uint32_t node)
{
    struct search *search = tarjan->search;
    uint32_t member;
    if (tarjan->low[node] != tarjan->number[node])
        return;
    do {
        member = tarjan->stack[--tarjan->stack_count];
        search->component[member] = search->components_count;
        search->component_sizes[search->components_count]++;
    } while (member != node);
    search->components_count++;
}

static void walk_from(struct tarjan *tarjan, uint32_t root)
{
    struct search *search = tarjan->search;
    uint32_t depth = 0;

    tarjan->path[depth++] = root;
    meet(tarjan, root);
    while (depth != 0) {
        uint32_t node = tarjan->path[depth - 1];
        if (tarjan->at[node] == search->first[node + 1]) {
            leave(tarjan, node);
            depth--;
            if (depth != 0 && tarjan->low[node] < tarjan->low[tarjan->path[depth - 1]])
                tarjan->low[tarjan->path[depth - 1]] = tarjan->low[node];
            continue;
        }
        uint32_t to = search->graph->edges[search->order[tarjan->at[node]++]].to;
        if (tarjan->number[to] == 0) {
            meet(tarjan, to);
            tarjan->path[depth++] = to;
        } else if (search->component[to] == none && tarjan->number[to] < tarjan->low[node]) {
            tarjan->low[node] = tarjan->number[to];
        }
    }
}

static void find_components(struct search *search)
{
    uint32_t count = search->graph->nodes_count;
    struct tarjan tarjan = {
        .search = search,
        .number = array_create(count, sizeof(uint32_t)),
        .low = array_create(count, sizeof(uint32_t)),
        .at = array_create(count, sizeof(uint32_t)),
        .path = array_create(count, sizeof(uint32_t)),
        .stack = array_create(count, sizeof(uint32_t)),
    };
    memset(search->component, 0xff, count * sizeof *search->component);
    for (uint32_t node = 0; node < count; node++)
        if (tarjan.number[node] == 0)
            walk_from(&tarjan, node);
    free(tarjan.number);
    free(tarjan.low);
    free(tarjan.at);
    free(tarjan.path);
    free(tarjan.stack);
}

/* ---- Cycles ---- */

/* Breadth first from `from` to `to`, within their component, over edges of these kinds; `to` is
 * reached by at least one edge. The count of edges, or `none`. */
static uint32_t shortest(struct search *search, uint32_t from, uint32_t to, unsigned kinds)
{
    uint32_t head = 0;
    uint32_t tail = 0;
    uint32_t mark = ++search->searches_count;

    search->queue[tail++] = from;
    while (head < tail) {
        uint32_t node = search->queue[head++];
        for (uint32_t i = search->first[node]; i < search->first[node + 1]; i++) {
            const struct graph_edge *edge = &search->graph->edges[search->order[i]];
            if ((edge->kind & kinds) == 0 || search->seen[edge->to] == mark ||
                search->component[edge->to] != search->component[from])
                continue;
            search->seen[edge->to] = mark;
            search->came_by[edge->to] = search->order[i];
            if (edge->to == to) {
                uint32_t length = 0;
                uint32_t at = to;
                do {
                    at = search->graph->edges[search->came_by[at]].from;
                    length++;
                } while (at != from);
                return length;
            }
            search->queue[tail++] = edge->to;
        }
    }
    return none;
}

/* The path that was found last, from `from` to `to`; `closing` (NULL: none) leads back. */
static void note(const struct search *search, uint32_t from, uint32_t to, uint32_t length,
                 const struct graph_edge *closing, struct graph_cycle *cycle)
{
    uint32_t at = to;
    uint32_t index = length;
    cycle->count = length + (closing != NULL);
    do {
        const struct graph_edge *edge = &search->graph->edges[search->came_by[at]];
        if (--index < graph_cycle_max)
            cycle->edges[index] = *edge;
        at = edge->from;
    } while (at != from);
    if (closing != NULL && length < graph_cycle_max)
        cycle->edges[length] = *closing;
    if (cycle->count > graph_cycle_max)
        cycle->count = graph_cycle_max;
}

/* Without edges that miss a write, or with any number of them. */
static bool find_any(struct search *search, unsigned kinds, struct graph_cycle *cycle)
{
    uint32_t best = none;
    uint32_t starts = 0;
    for (uint32_t node = 0; node < search->graph->nodes_count && starts < starts_max; node++) {
        if (search->component_sizes[search->component[node]] < 2)
            continue;
        starts++;
        uint32_t length = shortest(search, node, node, kinds);
        if (length < best) {
            best = length;
            note(search, node, node, length, NULL, cycle);
        }
    }
    return best != none;
}

/* With exactly one of them. */
static bool find_single(struct search *search, unsigned kinds, struct graph_cycle *cycle)
{
    uint32_t best = none;
    uint32_t starts = 0;
    for (uint32_t i = 0; i < search->graph->edges_count && starts < starts_max; i++) {
        const struct graph_edge *edge = &search->graph->edges[i];
        if (edge->kind != GRAPH_RW || search->component[edge->from] != search->component[edge->to])
            continue;
        starts++;
        uint32_t length = shortest(search, edge->to, edge->from, kinds);
        if (length < best) {
            best = length;
            note(search, edge->to, edge->from, length, edge, cycle);
        }
    }
    return best != none;
}

static bool classify(struct search *search, struct graph_cycle *cycle)
{
    static const struct {
        const char *name;
        unsigned kinds;
        bool single;
    } classes[] = {
        {"G0", GRAPH_WW, false},
        {"G1c", GRAPH_WW | GRAPH_WR, false},
        {"G-single-item", GRAPH_WW | GRAPH_WR, true},
        {"G2-item", GRAPH_WW | GRAPH_WR | GRAPH_RW, false},
        {"G0-realtime", GRAPH_WW | GRAPH_REALTIME, false},
        {"G1c-realtime", GRAPH_WW | GRAPH_WR | GRAPH_REALTIME, false},
        {"G-single-item-realtime", GRAPH_WW | GRAPH_WR | GRAPH_REALTIME, true},
        {"G2-item-realtime", GRAPH_WW | GRAPH_WR | GRAPH_RW | GRAPH_REALTIME, false},
    };
    for (unsigned i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        bool found = classes[i].single ? find_single(search, classes[i].kinds, cycle)
                                       : find_any(search, classes[i].kinds, cycle);
        cycle->class = classes[i].name;
        if (found)
            return true;
    }
    return false;
}

bool graph_find_cycle(const struct graph *graph, struct graph_cycle *cycle)
{
    size_t count = graph->nodes_count;
    struct search search = {
        .graph = graph,
        .first = array_create(count + 1, sizeof(uint32_t)),
        .order = array_create(graph->edges_count, sizeof(uint32_t)),
        .component = array_create(count, sizeof(uint32_t)),
        .component_sizes = array_create(count, sizeof(uint32_t)),
        .queue = array_create(count + 1, sizeof(uint32_t)),
        .came_by = array_create(count, sizeof(uint32_t)),
        .seen = array_create(count, sizeof(uint32_t)),
    };
    *cycle = (struct graph_cycle){0};
    sort_edges(&search);
    find_components(&search);
    bool found = search.components_count < count && classify(&search, cycle);
    /* A component of two or more nodes has a cycle of the last class, whichever node begins. */
    ASSERT(found == (search.components_count < count));
    free(search.first);
    free(search.order);
    free(search.component);
    free(search.component_sizes);
    free(search.queue);
    free(search.came_by);
    free(search.seen);
    return found;
}
