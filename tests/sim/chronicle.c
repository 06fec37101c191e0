/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/chronicle.h"

#include <inttypes.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "tests/sim/pair.h"

void chronicle_free(struct chronicle *chronicle)
{
    for (unsigned i = 0; i < chronicle->epochs_count; i++)
        numbered_free(&chronicle->epochs[i].points);
    free(chronicle->acks);
}

static struct chronicle_epoch *find(struct chronicle *chronicle, struct epoch epoch)
{
    for (unsigned i = chronicle->epochs_count; i > 0; i--)
        if (epoch_equal(chronicle->epochs[i - 1].epoch, epoch))
            return &chronicle->epochs[i - 1];
    return NULL;
}

const struct chronicle_epoch *chronicle_find(const struct chronicle *chronicle, struct epoch epoch)
{
    return find((struct chronicle *)(uintptr_t)chronicle, epoch);
}

/* Whoever is granted an epoch has all of the one before. */
static void look_at_grant(struct chronicle *chronicle, struct sim_server *server,
                          struct epoch epoch)
{
    const struct core_region_facts facts = core_region_facts(server->core);
    const struct epoch_end *end = facts.ends_count == 0 ? NULL : &facts.ends[facts.ends_count - 1];
    const struct chronicle_reach *reached = &chronicle->reached[1 - server->world->side];
    if (epoch.region == server->world->side + 1 || end == NULL || end->kind != EPOCH_GRANT ||
        !epoch_equal(end->next, epoch))
        return;
    region_operator_granted(&server->world->pair->operator, 1 - server->world->side);
    if (epoch_compare(reached->epoch, end->epoch) < 0 ||
        (epoch_equal(reached->epoch, end->epoch) && reached->version < end->version))
        world_fail(server->world,
                   "epoch (%" PRIu64 ", %" PRIu32 ") was granted after version %" PRIu64
                   ", and that region has %" PRIu64,
                   epoch.number, epoch.region, end->version, reached->version);
}

static struct chronicle_epoch *enter(struct chronicle *chronicle, struct sim_server *server,
                                     struct epoch epoch)
{
    struct chronicle_epoch *found = find(chronicle, epoch);
    if (found != NULL)
        return found;
    look_at_grant(chronicle, server, epoch);
    ASSERT(chronicle->epochs_count < chronicle_epochs_max);
    found = &chronicle->epochs[chronicle->epochs_count++];
    *found = (struct chronicle_epoch){.epoch = epoch, .began_ns = server->world->now_ns};
    numbered_init(&found->points, sizeof(struct chronicle_point), chronicle_versions_count);
    world_note(server->world, server, "epoch (%" PRIu64 ", %" PRIu32 ") begins", epoch.number,
               epoch.region);
    lease_watch_began(server->world->pair, server, epoch);
    witness_faults_epoch_began(server->world->pair, epoch);
    return found;
}

/* ---- Replicas ---- */

static void look_at_digest(struct chronicle *chronicle, struct sim_server *server,
                           struct epoch epoch, const struct core_facts *facts)
{
    struct chronicle_epoch *its = enter(chronicle, server, epoch);
    struct chronicle_point *point = numbered_at(&its->points, facts->version);

    if (facts->version > its->version)
        its->version = facts->version;
    if (point->version > facts->version)
        return; /* it is forgotten */
    if (point->version < facts->version) {
        *point = (struct chronicle_point){
            .version = facts->version, .side = server->world->side, .digest = facts->chain_digest};
        return;
    }
    chronicle->compared_count++;
    chronicle->crossed_count += point->side != server->world->side;
    if (point->digest.low != facts->chain_digest.low ||
        point->digest.high != facts->chain_digest.high)
        world_fail(server->world,
                   "%c%u has another state at version %" PRIu64 " of epoch (%" PRIu64 ", %" PRIu32
                   ")",
                   'a' + (int)server->world->side, server->index, facts->version, epoch.number,
                   epoch.region);
}

static void look_back(struct sim_server *server, const struct chronicle_last *last,
                      const struct core_region_facts *region, const struct core_facts *facts)
{
    int order = epoch_compare(region->epoch, last->epoch);
    bool rewinds = facts->is_rewinding || last->is_rewinding ||
                   facts->rewinds_count != last->rewinds_count ||
                   /* a peer's state, which has gone back */
                   facts->is_rebuilding || facts->is_installing || last->is_installing ||
                   facts->snapshots_count != last->snapshots_count;
    if (rewinds)
        order = 1;
    if (order < 0 || (order == 0 && facts->version < last->version) ||
        (epoch_compare(region->highest, last->highest) < 0 && !rewinds))
        world_fail(server->world,
                   "%c%u went back from version %" PRIu64 " of epoch %" PRIu64
                   " to version %" PRIu64 " of epoch %" PRIu64,
                   'a' + (int)server->world->side, server->index, last->version, last->epoch.number,
                   facts->version, region->epoch.number);
    if (region->is_primary && region->epoch.region != server->world->side + 1)
        world_fail(server->world, "%c%u takes itself for the primary in another's epoch",
                   'a' + (int)server->world->side, server->index);
}

void chronicle_look(struct chronicle *chronicle, struct sim_server *server,
                    const struct core_facts *facts)
{
    struct chronicle_last *last = &chronicle->last[server->world->side][server->index];
    const struct core_region_facts region = core_region_facts(server->core);

    if (last->life != server->lives)
        *last = (struct chronicle_last){.life = server->lives};
    look_back(server, last, &region, facts);
    if (facts->version != 0 &&
        (facts->version != last->version || !epoch_equal(region.epoch, last->epoch)))
        look_at_digest(chronicle, server, region.epoch, facts);
    if (last->is_primary != region.is_primary)
        world_note(server->world, server, "%s the primary's", region.is_primary ? "is" : "is not");
    struct chronicle_reach *reached = &chronicle->reached[server->world->side];
    int order = epoch_compare(region.epoch, reached->epoch);
    if (order > 0 || (order == 0 && facts->version > reached->version))
        *reached = (struct chronicle_reach){.epoch = region.epoch, .version = facts->version};
    last->epoch = region.epoch;
    last->highest = region.highest;
    last->version = facts->version;
    last->is_primary = region.is_primary;
    last->is_waived = region.lease_is_waived;
    last->leads = facts->leads;
    last->is_rewinding = facts->is_rewinding;
    last->rewinds_count = facts->rewinds_count;
    last->snapshots_count = facts->snapshots_count;
    last->is_installing = facts->is_installing;
}

struct client_position chronicle_position(const struct chronicle *chronicle,
                                          const struct sim_server *server)
{
    const struct chronicle_last *last = &chronicle->last[server->world->side][server->index];
    return (struct client_position){.epoch = last->epoch, .version = last->version};
}

/* ---- What is acknowledged ---- */

void chronicle_acknowledges(struct chronicle *chronicle, struct sim_server *server)
{
    const struct chronicle_last *last = &chronicle->last[server->world->side][server->index];
    const struct epoch *newest =
        epoch_compare(last->highest, last->epoch) > 0 ? &last->highest : &last->epoch;
    if (last->life == server->lives && newest->region != server->world->side + 1)
        world_fail(server->world,
                   "%c%u answers as the primary, and knew of epoch (%" PRIu64 ", %" PRIu32 ")",
                   'a' + (int)server->world->side, server->index, last->highest.number,
                   last->highest.region);
}

void chronicle_acknowledged(struct chronicle *chronicle, struct world *world,
                            const struct client *client)
{
    const struct client_position *position = &client->position;
    if (position->epoch.region != world->side + 1)
        world_fail(world, "region %c acknowledged a commit of epoch (%" PRIu64 ", %" PRIu32 ")",
                   'a' + (int)world->side, position->epoch.number, position->epoch.region);
    if (chronicle->acks_count == chronicle->acks_capacity) {
        chronicle->acks_capacity = chronicle->acks_capacity * 2 + 1024;
        chronicle->acks =
            realloc(chronicle->acks, chronicle->acks_capacity * sizeof *chronicle->acks);
        ASSERT(chronicle->acks != NULL);
    }
    chronicle->acks[chronicle->acks_count++] = (struct chronicle_ack){.epoch = position->epoch,
                                                                      .version = position->version,
                                                                      .client = client->index,
                                                                      .call = client->calls_count};
}

static int compare_acks(const void *a, const void *b)
{
    const struct chronicle_ack *first = a;
    const struct chronicle_ack *second = b;
    int order = epoch_compare(first->epoch, second->epoch);
    if (order != 0)
        return order;
    return (first->version > second->version) - (first->version < second->version);
}

void chronicle_judge(struct chronicle *chronicle, struct world *world)
{
    if (chronicle->acks_count == 0)
        return;
    qsort(chronicle->acks, chronicle->acks_count, sizeof *chronicle->acks, compare_acks);
    for (size_t i = 1; i < chronicle->acks_count; i++) {
        const struct chronicle_ack *one = &chronicle->acks[i - 1];
        const struct chronicle_ack *two = &chronicle->acks[i];
        if (compare_acks(one, two) == 0)
            world_fail(world,
                       "version %" PRIu64 " of epoch %" PRIu64
                       " was acknowledged to client %u and to client %u",
                       two->version, two->epoch.number, one->client, two->client);
    }
}
