/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/network.h"

#include "proto/base/assert.h"

enum { latency_least_ns = 50000, latency_most_ns = 600000 };

void network_init(struct network *network, uint64_t seed, unsigned servers_count,
                  unsigned clients_count)
{
    *network = (struct network){.servers_count = servers_count};
    network->nodes_count = servers_count + clients_count;
    ASSERT(network->nodes_count <= network_nodes_max);
    generator_init(&network->generator, seed);
    network->latency_min_ns = latency_least_ns;
    network->latency_max_ns = latency_most_ns;
}

static void cut_both(struct network *network, unsigned a, unsigned b)
{
    network->cut[a][b] = network->cut[b][a] = true;
}

/* Two parts; `bridge`, if it is a server, is in neither and reaches both. */
static void cut_halves(struct network *network, unsigned victim, unsigned bridge)
{
    unsigned count = network->servers_count;
    for (unsigned a = 0; a < count; a++) {
        for (unsigned b = 0; b < count; b++) {
            bool a_is_left = (a + count - victim) % count < count / 2;
            bool b_is_left = (b + count - victim) % count < count / 2;
            if (a != bridge && b != bridge && a_is_left != b_is_left)
                cut_both(network, a, b);
        }
    }
}

/* Each server reaches its neighbours to the left and right, as many as make a majority with it. */
static void cut_ring(struct network *network)
{
    unsigned count = network->servers_count;
    unsigned reach = count < 4 ? 1 : count / 4;
    for (unsigned a = 0; a < count; a++) {
        for (unsigned b = 0; b < count; b++) {
            unsigned apart = (a + count - b) % count;
            if (apart > reach && count - apart > reach)
                cut_both(network, a, b);
        }
    }
    if (count == 3) /* a ring of three is whole: open it */
        cut_both(network, 0, 2);
}

static void cut_clients(struct network *network, unsigned victim)
{
    for (unsigned client = network->servers_count; client < network->nodes_count; client++)
        cut_both(network, victim, client);
}

void network_part(struct network *network, enum network_shape shape, unsigned victim)
{
    unsigned count = network->servers_count;
    ASSERT(victim < count);
    switch (shape) {
    case NETWORK_MINORITY:
        cut_halves(network, victim, count);
        break;
    case NETWORK_BRIDGE:
        cut_halves(network, victim, (victim + count - 1) % count);
        break;
    case NETWORK_RING:
        cut_ring(network);
        break;
    case NETWORK_CLIENTS:
        cut_clients(network, victim);
        break;
    default:
        for (unsigned other = 0; other < count; other++) {
            if (other == victim)
                continue;
            if (shape != NETWORK_SEND_ONLY)
                network->cut[victim][other] = true;
            if (shape != NETWORK_RECEIVE_ONLY)
                network->cut[other][victim] = true;
        }
        break;
    }
}

void network_heal(struct network *network)
{
    memset(network->cut, 0, sizeof network->cut);
    memset(network->late_ns, 0, sizeof network->late_ns);
    network->loss_percent = 0;
    network->delay_percent = 0;
}

bool network_pass(struct network *network, unsigned from, unsigned to, uint64_t now_ns,
                  uint64_t *due_ns)
{
    struct generator *generator = &network->generator;
    bool between_servers = from < network->servers_count && to < network->servers_count;

    ASSERT(from < network->nodes_count && to < network->nodes_count && from != to);
    *due_ns =
        now_ns + generator_between(generator, network->latency_min_ns, network->latency_max_ns);
    *due_ns += network->late_ns[from][to];
    if (network->delay_percent != 0 && generator_chance(generator, network->delay_percent, 100)) {
        *due_ns += generator_below(generator, network->delay_max_ns);
        network->delayed_count++;
    }
    bool lost = network->cut[from][to] || (between_servers && network->loss_percent != 0 &&
                                           generator_chance(generator, network->loss_percent, 100));
    network->lost_count += lost;
    return !lost;
}

const char *network_shape_name(enum network_shape shape)
{
    static const char *const names[] = {
        [NETWORK_ONE] = "partition-one",
        [NETWORK_MINORITY] = "partition-halves",
        [NETWORK_RING] = "partition-ring",
        [NETWORK_BRIDGE] = "partition-bridge",
        [NETWORK_SEND_ONLY] = "partition-send-only",
        [NETWORK_RECEIVE_ONLY] = "partition-receive-only",
        [NETWORK_CLIENTS] = "partition-clients",
    };
    return names[shape];
}
