/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/invariants.h"

#include <inttypes.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "storage/seal/seal.h"
#include "tests/sim/world.h"

void invariants_init(struct invariants *invariants)
{
    *invariants = (struct invariants){0};
    numbered_init(&invariants->indexes, sizeof(struct invariants_point), invariants_points_count);
    numbered_init(&invariants->versions, sizeof(struct invariants_point), invariants_points_count);
    commitment_init(&invariants->commitment);
#if defined(STRAIT_FAULTS)
    seal_oracle_start();
#endif
}

void invariants_free(struct invariants *invariants)
{
    elections_free(&invariants->elections);
    commitment_free(&invariants->commitment);
    numbered_free(&invariants->indexes);
    numbered_free(&invariants->versions);
}

void invariants_started(struct invariants *invariants, unsigned server)
{
    invariants->last[server] = (struct core_facts){0};
    elections_started(&invariants->elections, server);
    commitment_started(&invariants->commitment, server);
}

void invariants_opened(struct invariants *invariants, struct world *world, unsigned server)
{
    commitment_opened(&invariants->commitment, world, server);
}

/* Of several regions, one that had nothing to go back to may rebuild its state. */
static void note_lack(struct world *world, unsigned server, const struct core_facts *facts)
{
    if (facts->lacks_checkpoint && world->pair != NULL)
        world->servers[server].is_damaged = true;
}

void invariants_ended(struct invariants *invariants, struct world *world, unsigned server)
{
    /* It may have begun, and ended, within the one turn. */
    const struct core_facts facts = core_facts(world->servers[server].core);
    note_lack(world, server, &facts);
    commitment_ended(&invariants->commitment, world, server);
}

void invariants_wiped(struct invariants *invariants, unsigned server)
{
    commitment_wiped(&invariants->commitment, server);
}

void invariants_heard(struct invariants *invariants, struct world *world, unsigned server,
                      struct bytes message)
{
    struct peer_message decoded;
    if (message.size != peer_raft_size || !peer_kind_is_raft(message.data[1]))
        return; /* an append's entries promise nothing */
    enum status status = peer_decode(message, &decoded);
    ASSERT(status == STATUS_OK);
    elections_heard(&invariants->elections, world, server, &decoded);
    commitment_heard(&invariants->commitment, world, server, &decoded);
}

/* False: another replica had something else there. */
static bool same_as_first(struct invariants *invariants, struct numbered *points, uint64_t number,
                          uint64_t term, struct hash128 digest)
{
    struct invariants_point *point = numbered_at(points, number);
    if (point->number > number || number == 0)
        return true; /* it is forgotten */
    if (point->number < number) {
        *point = (struct invariants_point){.number = number, .term = term, .digest = digest};
        return true;
    }
    invariants->compared_count++;
    return point->term == term && point->digest.low == digest.low &&
           point->digest.high == digest.high;
}

/* Who heals must have been hurt by somebody. */
static void look_at_health(struct invariants *invariants, struct world *world, unsigned server,
                           const struct core_facts *facts)
{
    struct core_facts *last = &invariants->last[server];

    if (facts->odd_version != 0)
        world_fail(world, "s%u finds that its state at version %" PRIu64 " is not the others'",
                   server, facts->odd_version);
    note_lack(world, server, facts);
    if (facts->is_rebuilding && !world->servers[server].is_damaged)
        world_fail(world, "s%u finds its tables damaged", server);
    invariants->rebuilds_count += facts->rebuilds_count - last->rebuilds_count;
    invariants->scrubs_count += facts->scrubs_count - last->scrubs_count;
    last->rebuilds_count = facts->rebuilds_count;
    last->scrubs_count = facts->scrubs_count;
}

void invariants_look(struct invariants *invariants, struct world *world, unsigned server,
                     const struct core_facts *facts)
{
    struct core_facts *last = &invariants->last[server];

    struct commitment *commitment = &invariants->commitment;
    const struct log_facts log = replicated_log_facts(core_log(world->servers[server].core));
    bool begins = elections_look(&invariants->elections, world, server, facts, &log,
                                 &commitment->logs[server].configuration);
    commitment_look(commitment, world, server, facts, &log, begins);
    look_at_health(invariants, world, server, facts);
    invariants->snapshots_count += facts->snapshots_count - last->snapshots_count;
    last->snapshots_count = facts->snapshots_count;
    if (facts->applied_index == last->applied_index && facts->commit_index == last->commit_index &&
        facts->term == last->term)
        return;
    if (facts->term < last->term)
        world_fail(world, "s%u went back from term %" PRIu64 " to %" PRIu64, server, last->term,
                   facts->term);
    /* A state goes back where a region gives up a tail, and nowhere else. */
    bool rewinds =
        facts->is_rewinding || last->is_rewinding || facts->rewinds_count != last->rewinds_count;
    if (facts->commit_index < last->commit_index ||
        (facts->applied_index < last->applied_index && !rewinds))
        world_fail(world, "s%u went back from index %" PRIu64 " to %" PRIu64, server,
                   last->applied_index, facts->applied_index);
    if (facts->cluster_version < last->cluster_version)
        world_fail(world, "s%u went back from cluster version %u to %u", server,
                   last->cluster_version, facts->cluster_version);
    if (facts->cluster_version > world->servers[server].version_max)
        world_fail(world, "s%u applies cluster version %u and can apply %u at most", server,
                   facts->cluster_version, world->servers[server].version_max);
    if (facts->applied_index > facts->commit_index)
        world_fail(world, "s%u applied %" PRIu64 " and knows %" PRIu64 " to be committed", server,
                   facts->applied_index, facts->commit_index);
    const struct hash128 none = {0};
    if (facts->applied_index != last->applied_index) {
        if (!same_as_first(invariants, &invariants->indexes, facts->applied_index,
                           facts->applied_term, none))
            world_fail(world, "s%u applied another entry at index %" PRIu64, server,
                       facts->applied_index);
        /* Of two regions chronicle.h compares them, as a version is of an epoch there. */
        if (world->pair == NULL && !same_as_first(invariants, &invariants->versions, facts->version,
                                                  0, facts->chain_digest))
            world_fail(world, "s%u has another state at version %" PRIu64, server, facts->version);
    }
    *last = *facts;
}
