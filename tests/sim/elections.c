/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/elections.h"

#include <inttypes.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "tests/sim/world.h"

void elections_free(struct elections *elections)
{
    free(elections->terms);
}

static struct elections_term *term_of(struct elections *elections, uint64_t term)
{
    if (term >= elections->terms_capacity) {
        uint64_t capacity = (term + 1) * 2;
        elections->terms = realloc(elections->terms, capacity * sizeof *elections->terms);
        ASSERT(elections->terms != NULL);
        memset(elections->terms + elections->terms_capacity, 0,
               (capacity - elections->terms_capacity) * sizeof *elections->terms);
        elections->terms_capacity = capacity;
    }
    return &elections->terms[term];
}

/* ---- What is sent ---- */

static void note_vote(struct elections *elections, struct world *world, unsigned server,
                      uint64_t number, struct elections_vote vote)
{
    struct elections_term *term = term_of(elections, number);
    for (unsigned i = 0; i < term->votes_count; i++) {
        if (term->votes[i].voter != vote.voter)
            continue;
        if (term->votes[i].candidate != vote.candidate)
            world_fail(world, "s%u voted for two in term %" PRIu64, server, number);
        return;
    }
    elections->votes_count++;
    ASSERT(term->votes_count < elections_votes_max);
    term->votes[term->votes_count++] = vote;
}

void elections_heard(struct elections *elections, struct world *world, unsigned server,
                     const struct peer_message *message)
{
    struct elections_said *said = &elections->said[server];
    switch (message->kind) {
    case PEER_VOTE: /* it votes for itself */
        note_vote(elections, world, server, message->term,
                  (struct elections_vote){message->from, message->from});
        break;
    case PEER_VOTE_REPLY:
        if (!message->reject)
            note_vote(elections, world, server, message->term,
                      (struct elections_vote){message->from, message->to});
        break;
    case PEER_APPEND_REPLY:
        if (message->reject)
            return; /* it promises nothing: one that mends says so in the other's term */
        break;
    case PEER_HEARTBEAT:
    case PEER_HEARTBEAT_REPLY:
        break;
    default: /* what is asked before a vote carries a term that nobody is in */
        return;
    }
    if (said->member == message->from && message->term < said->term)
        world_fail(world, "s%u spoke in term %" PRIu64 ", and had in term %" PRIu64, server,
                   message->term, said->term);
    said->member = message->from;
    said->term = message->term;
}

void elections_started(struct elections *elections, unsigned server)
{
    elections->said[server].is_asked = false;
}

/* After a start. */
static void ask_what_was_said(struct elections *elections, struct world *world, unsigned server,
                              uint64_t member, const struct raft_hard_state *hard_state)
{
    const struct elections_said *said = &elections->said[server];
    if (said->member != member)
        return;
    if (hard_state->term < said->term)
        world_fail(world, "s%u has spoken in term %" PRIu64 ", and knows of %" PRIu64, server,
                   said->term, hard_state->term);
    const struct elections_term *term = term_of(elections, hard_state->term);
    for (unsigned i = 0; i < term->votes_count; i++)
        if (term->votes[i].voter == member && term->votes[i].candidate != hard_state->vote)
            world_fail(world, "s%u has voted in term %" PRIu64 ", and does not know for whom",
                       server, hard_state->term);
}

/* ---- What members are ---- */

static bool half_majority(const uint64_t *members, unsigned count,
                          bool (*is_such)(const void *context, uint64_t member),
                          const void *context)
{
    unsigned such = 0;
    for (unsigned i = 0; i < count; i++)
        such += is_such(context, members[i]);
    return count == 0 || such > count / 2;
}

bool elections_majority(const struct raft_configuration *configuration,
                        bool (*is_such)(const void *context, uint64_t member), const void *context)
{
    return half_majority(configuration->voters, configuration->voters_count, is_such, context) &&
           half_majority(configuration->outgoing, configuration->outgoing_count, is_such, context);
}

static bool has_voted(const void *context, uint64_t member)
{
    const struct elections_term *term = context;
    for (unsigned i = 0; i < term->votes_count; i++)
        if (term->votes[i].voter == member)
            return term->votes[i].candidate == term->leader;
    return member == term->leader; /* alone it asks nobody, and so tells nobody */
}

bool elections_look(struct elections *elections, struct world *world, unsigned server,
                    const struct core_facts *facts, const struct log_facts *log,
                    const struct raft_configuration *before)
{
    const struct sim_server *its = &world->servers[server];
    uint64_t now_ns = sim_disk_now_ns(its->disk);
    if (log->is_whole && !elections->said[server].is_asked) {
        elections->said[server].is_asked = true;
        ask_what_was_said(elections, world, server, facts->member, &log->hard_state);
    }
    if (!facts->leads)
        return false;
    struct elections_term *term = term_of(elections, facts->term);
    if (replicated_log_lease_holds(core_log(its->core))) {
        elections->leases_count++;
        if (elections->newest_term > facts->term && elections->newest_since_ns <= now_ns)
            world_fail(world, "s%u holds a lease in term %" PRIu64 " while s%u leads in %" PRIu64,
                       server, facts->term, elections->newest_server, elections->newest_term);
    }
    if (term->leader == facts->member)
        return false;
    if (term->leader != 0) {
        world_fail(world, "two leaders in term %" PRIu64, facts->term);
        return false;
    }
    term->leader = facts->member;
    elections->count++;
    if (!elections_majority(log->configuration, has_voted, term) &&
        !elections_majority(before, has_voted, term))
        world_fail(world, "s%u leads in term %" PRIu64 " without a majority's votes", server,
                   facts->term);
    if (facts->term > elections->newest_term) {
        elections->newest_term = facts->term;
        elections->newest_since_ns = now_ns;
        elections->newest_server = server;
    }
    return true;
}
