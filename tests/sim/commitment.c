/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/commitment.h"

#include <inttypes.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "tests/sim/world.h"

enum { stalled_max_ms = 5000 };

void commitment_init(struct commitment *commitment)
{
    *commitment = (struct commitment){0};
    numbered_init(&commitment->points, sizeof(struct commitment_point), commitment_points_count);
}

void commitment_free(struct commitment *commitment)
{
    numbered_free(&commitment->points);
}

void commitment_started(struct commitment *commitment, unsigned server)
{
    struct commitment_log *log = &commitment->logs[server];
    log->commit_index = log->applied_index = log->snapshots_count = 0;
    log->led = log->is_seen = false;
    log->led_index = log->waits_since_ns = 0;
}

void commitment_wiped(struct commitment *commitment, unsigned server)
{
    commitment->logs[server] = (struct commitment_log){0};
    for (uint64_t i = 0; i < commitment->points.count; i++) {
        struct commitment_point *point = numbered_at(&commitment->points, i);
        point->holders &= ~(UINT32_C(1) << server);
    }
}

static const struct replicated_log *log_of(const struct world *world, unsigned server)
{
    return core_log(world->servers[server].core);
}

/* NULL: newer ones took its place. */
static struct commitment_point *point_at(struct commitment *commitment, uint64_t index)
{
    struct commitment_point *point = numbered_at(&commitment->points, index);
    if (point->index > index)
        return NULL;
    if (point->index < index)
        *point = (struct commitment_point){.index = index};
    return point;
}

static int mark_compare(struct raft_mark a, struct raft_mark b)
{
    if (a.term != b.term)
        return a.term < b.term ? -1 : 1;
    return (a.index > b.index) - (a.index < b.index);
}

/* ---- What is on disks ---- */

/* Another suffix may have taken the place of what it held, and be durable, between two looks. */
static bool still_holds(struct world *world, unsigned server, const struct commitment_log *log,
                        const struct log_facts *facts)
{
    uint64_t term;
    return log->is_seen && log->held.index <= facts->held_index &&
           replicated_log_term_at(log_of(world, server), log->held.index, &term) &&
           term == log->held.term;
}

static void note_held(struct commitment *commitment, struct world *world, unsigned server,
                      const struct log_facts *facts)
{
    struct commitment_log *log = &commitment->logs[server];
    uint64_t first = still_holds(world, server, log, facts) ? log->held.index + 1 : 1;
    uint64_t term;

    if (first <= facts->base.index)
        first = facts->base.index + 1;
    for (uint64_t index = first; index <= facts->held_index; index++) {
        struct commitment_point *point = point_at(commitment, index);
        if (!replicated_log_term_at(log_of(world, server), index, &term) || point == NULL ||
            point->term > term)
            continue; /* it was superseded elsewhere */
        if (point->term < term && point->committed_in == 0)
            *point = (struct commitment_point){.index = index, .term = term};
        if (point->term == term)
            point->holders |= UINT32_C(1) << server;
    }
}

/* After a restart: as soon as it has opened its log or, where that mends, as it is whole. Raft
 * takes part from then on, and what it hears comes with a later turn. */
static void look_what_is_left(struct commitment *commitment, struct world *world, unsigned server,
                              const struct log_facts *facts)
{
    const struct commitment_log *log = &commitment->logs[server];
    uint64_t term;
    if (world->servers[server].has_decayed || log->held.index <= facts->base.index)
        return;
    if (facts->held_index < log->held.index ||
        !replicated_log_term_at(log_of(world, server), log->held.index, &term) ||
        term != log->held.term)
        world_fail(world, "s%u had index %" PRIu64 " of term %" PRIu64 " on its disk, and has not",
                   server, log->held.index, log->held.term);
}

/* What it truncates is not committed. */
static void look_what_is_dropped(struct commitment *commitment, struct world *world,
                                 unsigned server, const struct log_facts *facts)
{
    const struct commitment_log *log = &commitment->logs[server];
    uint64_t first = facts->last.index > facts->base.index ? facts->last.index : facts->base.index;
    for (uint64_t index = first + 1; index <= log->held.index; index++) {
        const struct commitment_point *point = point_at(commitment, index);
        if (point != NULL && point->committed_in != 0 && (point->holders >> server & 1) != 0)
            world_fail(world, "s%u dropped index %" PRIu64 ", which is committed", server, index);
    }
}

/* What its log is now, after its restart too. */
static void note_log(struct commitment *commitment, struct world *world, unsigned server,
                     const struct log_facts *facts)
{
    struct commitment_log *log = &commitment->logs[server];
    if (!log->is_seen)
        look_what_is_left(commitment, world, server, facts);
    else
        look_what_is_dropped(commitment, world, server, facts);
    note_held(commitment, world, server, facts);
    log->is_seen = true;
    log->base = facts->base;
    log->held.index = facts->held_index;
    if (!replicated_log_term_at(log_of(world, server), facts->held_index, &log->held.term))
        log->held = facts->base;
    log->member = replicated_log_self(log_of(world, server));
}

static void look_at_log(struct commitment *commitment, struct world *world, unsigned server)
{
    struct log_facts facts = replicated_log_facts(log_of(world, server));
    if (facts.is_whole)
        note_log(commitment, world, server, &facts);
}

void commitment_opened(struct commitment *commitment, struct world *world, unsigned server)
{
    look_at_log(commitment, world, server);
}

void commitment_ended(struct commitment *commitment, struct world *world, unsigned server)
{
    look_at_log(commitment, world, server);
}

void commitment_heard(struct commitment *commitment, struct world *world, unsigned server,
                      const struct peer_message *message)
{
    if (message->kind != PEER_APPEND_REPLY || message->reject ||
        world->servers[server].core == NULL)
        return;
    struct log_facts facts = replicated_log_facts(log_of(world, server));
    if (!facts.is_whole)
        return;
    note_log(commitment, world, server, &facts);
    if (message->mark.index > facts.held_index)
        world_fail(world, "s%u said that it holds index %" PRIu64 ", and its disk holds %" PRIu64,
                   server, message->mark.index, facts.held_index);
}

/* ---- What is committed ---- */

struct question {
    const struct commitment *commitment;
    const struct world *world;
    const struct commitment_point *point;
    struct raft_mark candidate;
};

static unsigned find_member(const struct question *question, uint64_t member)
{
    unsigned server = 0;
    while (server < question->world->options.servers_count &&
           question->commitment->logs[server].member != member)
        server++;
    return server;
}

static bool holds(const void *context, uint64_t member)
{
    const struct question *question = context;
    unsigned server = find_member(question, member);
    return server < question->world->options.servers_count &&
           ((question->point->holders >> server & 1) != 0 ||
            question->commitment->logs[server].base.index >= question->point->index);
}

/* How its log ends, of one that runs and of one that will start again. */
static struct raft_mark end_of(const struct question *question, unsigned server)
{
    const struct sim_server *its = &question->world->servers[server];
    if (its->state == SIM_SERVER_UP) {
        struct log_facts facts = replicated_log_facts(core_log(its->core));
        if (facts.is_whole)
            return facts.last;
    }
    return question->commitment->logs[server].held;
}

static bool would_vote(const void *context, uint64_t member)
{
    const struct question *question = context;
    unsigned server = find_member(question, member);
    return server < question->world->options.servers_count &&
           mark_compare(end_of(question, server), question->candidate) <= 0;
}

static bool lacks(const struct question *question, unsigned server)
{
    const struct sim_server *its = &question->world->servers[server];
    const struct commitment_point *point = question->point;
    uint64_t term;
    if (its->state == SIM_SERVER_UP) {
        struct log_facts facts = replicated_log_facts(core_log(its->core));
        if (facts.is_whole)
            return facts.base.index < point->index &&
                   !(replicated_log_term_at(core_log(its->core), point->index, &term) &&
                     term == point->term);
    }
    return !holds(question, question->commitment->logs[server].member);
}

/* The leader has counted it. */
static void count_majority(struct commitment *commitment, struct world *world, unsigned server,
                           const struct commitment_point *point,
                           const struct raft_configuration *now)
{
    const struct raft_configuration *before = &commitment->logs[server].configuration;
    struct question question = {.commitment = commitment, .world = world, .point = point};

    commitment->counted_count++;
    if (!elections_majority(now, holds, &question) && !elections_majority(before, holds, &question))
        world_fail(world,
                   "s%u took index %" PRIu64 " for committed, which no majority has on its disks",
                   server, point->index);
    for (unsigned other = 0; other < world->options.servers_count; other++) {
        if (commitment->logs[other].member == 0 || other == server ||
            !raft_configuration_is_voter(now, commitment->logs[other].member) ||
            !lacks(&question, other))
            continue;
        question.candidate = end_of(&question, other);
        if (elections_majority(now, would_vote, &question) &&
            elections_majority(before, would_vote, &question))
            world_fail(world,
                       "s%u took index %" PRIu64 " for committed, and s%u could be elected "
                       "without it",
                       server, point->index, other);
    }
}

static void look_at_commits(struct commitment *commitment, struct world *world, unsigned server,
                            const struct core_facts *facts, const struct log_facts *log)
{
    const struct commitment_log *last = &commitment->logs[server];
    uint64_t term;
    for (uint64_t index = last->commit_index + 1; index <= facts->commit_index; index++) {
        struct commitment_point *point = point_at(commitment, index);
        if (point == NULL || !replicated_log_term_at(log_of(world, server), index, &term))
            continue;
        if (point->committed_in != 0 && point->term != term) {
            world_fail(world,
                       "s%u has an entry of term %" PRIu64 " at index %" PRIu64
                       ", which is of term %" PRIu64,
                       server, term, index, point->term);
            return;
        }
        /* A newer one that was never committed may have stood there on a few disks. */
        if (point->term != term)
            *point = (struct commitment_point){.index = index, .term = term};
        if (point->committed_in != 0)
            continue;
        point->committed_in = facts->term;
        if (facts->leads && index == facts->commit_index)
            count_majority(commitment, world, server, point, log->configuration);
    }
    if (facts->commit_index > commitment->index)
        commitment->index = facts->commit_index;
}

static void look_at_leader(struct commitment *commitment, struct world *world, unsigned server,
                           const struct core_facts *facts, const struct log_facts *log)
{
    uint64_t term;
    for (uint64_t index = log->base.index + 1; index <= commitment->index; index++) {
        const struct commitment_point *point = point_at(commitment, index);
        if (point == NULL || point->committed_in == 0 || point->committed_in >= facts->term)
            continue;
        commitment->completed_count++;
        if (replicated_log_term_at(log_of(world, server), index, &term) && term == point->term)
            continue;
        world_fail(world,
                   "s%u leads in term %" PRIu64 " without index %" PRIu64
                   ", which was committed in term %" PRIu64,
                   server, facts->term, index, point->committed_in);
        return;
    }
}

static void look_at_configuration(struct world *world, unsigned server, const struct log_facts *log)
{
    const struct membership *membership = replicated_log_membership(log_of(world, server));
    const struct raft_configuration *raft = log->configuration;
    unsigned voters = 0;
    unsigned outgoing = 0;
    bool same = true;
    for (unsigned i = 0; i < membership->count; i++) {
        const struct member *member = &membership->members[i];
        voters += (member->kinds & MEMBER_VOTER) != 0;
        outgoing += (member->kinds & MEMBER_OUTGOING) != 0;
        same = same && raft_configuration_has(raft, member->id);
    }
    if (!same || voters != raft->voters_count || outgoing != raft->outgoing_count)
        world_fail(world, "s%u decides by another membership than it tells", server);
}

/* Called with what was held at the last look. */
static void look_at_disk(struct commitment *commitment, struct world *world, unsigned server,
                         const struct core_facts *facts, const struct log_facts *log)
{
    struct commitment_log *last = &commitment->logs[server];
    uint64_t now_ns = world->now_ns; /* its own is ahead where it was busy, and could not tell */
    bool is_alone = log->configuration->voters_count + log->configuration->outgoing_count == 1;
    if (!facts->leads || log->held_index >= log->last.index || is_alone) {
        last->waits_since_ns = 0;
        return;
    }
    if (last->waits_since_ns == 0 || log->held_index > last->held.index)
        last->waits_since_ns = now_ns;
    if (now_ns - last->waits_since_ns > stalled_max_ms * UINT64_C(1000000))
        world_fail(world, "s%u leads, and its disk has not written index %" PRIu64 " for %d s",
                   server, log->held_index + 1, stalled_max_ms / 1000);
}

void commitment_look(struct commitment *commitment, struct world *world, unsigned server,
                     const struct core_facts *facts, const struct log_facts *log,
                     bool begins_to_lead)
{
    struct commitment_log *last = &commitment->logs[server];

    if (!log->is_whole)
        return;
    look_at_disk(commitment, world, server, facts, log);
    note_log(commitment, world, server, log);
    look_at_configuration(world, server, log);
    look_at_commits(commitment, world, server, facts, log);
    if (begins_to_lead)
        look_at_leader(commitment, world, server, facts, log);
    if (facts->leads || last->led)
        last->led_index = facts->commit_index;
    if (facts->applied_index > last->applied_index && facts->applied_index > log->held_index &&
        facts->applied_index > last->led_index && facts->snapshots_count == last->snapshots_count)
        world_fail(world, "s%u applied index %" PRIu64 ", and its disk holds %" PRIu64, server,
                   facts->applied_index, log->held_index);
    last->commit_index = facts->commit_index;
    last->applied_index = facts->applied_index;
    last->snapshots_count = facts->snapshots_count;
    last->led = facts->leads;
    last->configuration = *log->configuration;
}
