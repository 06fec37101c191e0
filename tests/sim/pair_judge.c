/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a run of two regions: which of the acknowledged commits are part of the history that
 * goes on, and whether clients saw what it says, and nothing else.
 *
 * What lies past the end of its epoch was given up. It is taken out of the histories as if it had
 * failed, so that the checkers find it where it is seen nevertheless; all else has to be there.
 * Only where another attempt of the same transaction may have been taken elsewhere, both is
 * possible.
 *
 * Taken out as well is what a region's clients read after another one had been promoted by force,
 * or without a witness: until it hears of that its reads are old, and no more is promised. */
#include <inttypes.h>

#include "proto/base/assert.h"
#include "tests/sim/pair.h"

static const struct epoch_end *end_of(const struct core_region_facts *facts, struct epoch epoch)
{
    for (size_t i = 0; i < facts->ends_count; i++)
        if (epoch_equal(facts->ends[i].epoch, epoch))
            return &facts->ends[i];
    return NULL;
}

/* The history that goes on, as one of its replicas tells it. */
static bool find_facts(struct pair *pair, struct core_region_facts *facts)
{
    struct epoch epoch = pair_epoch(pair);
    struct sim_server *server = pair_server_of(pair, epoch.region - 1, epoch);
    if (server == NULL)
        return false;
    *facts = core_region_facts(server->core);
    return true;
}

static bool is_kept(const struct core_region_facts *facts, const struct client_position *position)
{
    if (epoch_equal(position->epoch, facts->epoch))
        return true;
    const struct epoch_end *end = end_of(facts, position->epoch);
    return end != NULL && position->version <= end->version;
}

bool pair_is_kept(struct pair *pair, const struct client_position *position)
{
    struct core_region_facts facts;
    return find_facts(pair, &facts) && is_kept(&facts, position);
}

/* Whether the history that goes on tells of a promotion. Whoever asked for one need not have heard
 * that it was done. */
static bool tells_of_promotion(const struct core_region_facts *facts)
{
    for (size_t i = 0; i < facts->ends_count; i++)
        if (facts->ends[i].kind == EPOCH_PROMOTE)
            return true;
    return false;
}

/* Only a promotion gives up. */
static void look_who_gave_up(struct pair *pair, const struct core_region_facts *facts,
                             const struct client_position *position)
{
    const struct epoch_end *end = end_of(facts, position->epoch);
    if (pair->operator.promotions_count == 0 && !pair->operator.promotes && !tells_of_promotion(
            facts))
        world_fail(&pair->worlds[0],
                   "version %" PRIu64 " of epoch %" PRIu64
                   " was acknowledged and given up, and nobody was promoted",
                   position->version, position->epoch.number);
    if (end != NULL && end->kind == EPOCH_GRANT)
        world_fail(&pair->worlds[0],
                   "version %" PRIu64 " of epoch %" PRIu64
                   " was acknowledged, and a switchover gave it up",
                   position->version, position->epoch.number);
}

/* Whether another region had been promoted by force by then. */
static bool is_of_old(const struct pair *pair, const struct core_region_facts *facts,
                      const struct workload_position *position)
{
    for (size_t i = 0; i < facts->ends_count; i++) {
        const struct epoch_end *end = &facts->ends[i];
        if (end->kind != EPOCH_PROMOTE || epoch_compare(end->next, position->position.epoch) <= 0)
            continue;
        if (pair->has_witness && !lease_watch_is_forced(pair, end->next))
            continue;
        const struct chronicle_epoch *next = chronicle_find(&pair->chronicle, end->next);
        if (next != NULL && next->began_ns <= position->at_ns)
            return true;
    }
    return false;
}

static void take_out(struct pair *pair, const struct core_region_facts *facts,
                     struct history *history, const struct workload_positions *positions)
{
    for (uint32_t i = 0; i < history->count && i < positions->capacity; i++) {
        const struct workload_position *position = &positions->of[i];
        struct history_entry *entry = &history->entries[i];
        if (position->at_ns == 0 || entry->type == HISTORY_INFO)
            continue;
        bool is_lost = !is_kept(facts, &position->position);
        if (entry->type == HISTORY_FAIL) {
            if (is_lost && position->doubtful)
                entry->type = HISTORY_INFO;
            continue;
        }
        if (!position->is_read && is_lost) {
            look_who_gave_up(pair, facts, &position->position);
            pair->given_up_count++;
        }
        pair->kept_count += !position->is_read && !is_lost;
        if (!is_lost && !(position->is_read && is_of_old(pair, facts, position)))
            continue;
        entry->type = position->doubtful && !position->is_read ? HISTORY_INFO : HISTORY_FAIL;
        if (entry->function == HISTORY_READ) {
            entry->shape = HISTORY_NIL;
            entry->count = 0;
        }
    }
}

void pair_judge(struct pair *pair)
{
    struct workload *workload = &pair->worlds[0].workload;
    struct core_region_facts facts;
    if (!find_facts(pair, &facts)) {
        world_fail(&pair->worlds[0], "no replica of the primary's has its epoch");
        return;
    }
    chronicle_judge(&pair->chronicle, &pair->worlds[0]);
    for (unsigned i = 0; i < pair_readers_count; i++)
        region_reader_judge(&pair->readers[i]);
    take_out(pair, &facts, &workload->lists, &workload->lists_positions);
    take_out(pair, &facts, &workload->accounts, &workload->accounts_positions);
    take_out(pair, &facts, &workload->members, &workload->members_positions);
    world_judge(&pair->worlds[0]);
}
