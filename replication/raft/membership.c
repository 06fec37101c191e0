/* SPDX-License-Identifier: Apache-2.0 */
/* Configurations: what they may be, who is in them, what their majorities have reached, and how a
 * leader changes them (4.3). */
#include "replication/raft/raft_internal.h"

#include "proto/base/planted.h"

#include <string.h>

static bool list_has(const uint64_t *list, unsigned count, uint64_t member)
{
    for (unsigned i = 0; i < count; i++)
        if (list[i] == member)
            return true;
    return false;
}

static bool list_is_valid(const uint64_t *list, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (list[i] == 0 || list_has(list, i, list[i]))
            return false;
    return true;
}

bool raft_configuration_has(const struct raft_configuration *configuration, uint64_t member)
{
    return raft_configuration_is_voter(configuration, member) ||
           list_has(configuration->learners, configuration->learners_count, member);
}

bool raft_configuration_is_voter(const struct raft_configuration *configuration, uint64_t member)
{
    return list_has(configuration->voters, configuration->voters_count, member) ||
           list_has(configuration->outgoing, configuration->outgoing_count, member);
}

bool raft_configuration_is_joint(const struct raft_configuration *configuration)
{
    return configuration->outgoing_count > 0;
}

bool raft_configuration_is_alone(const struct raft_configuration *configuration, uint64_t member)
{
    return configuration->voters_count == 1 && configuration->voters[0] == member &&
           (configuration->outgoing_count == 0 ||
            (configuration->outgoing_count == 1 && configuration->outgoing[0] == member));
}

/* A voter of the outgoing half may be a learner already; one of the new half is none. */
bool raft_configuration_is_valid(const struct raft_configuration *configuration)
{
    const struct raft_configuration *c = configuration;

    if (c->voters_count > raft_voters_max || c->outgoing_count > raft_voters_max ||
        c->learners_count > raft_members_max)
        return false;
    if (!list_is_valid(c->voters, c->voters_count) ||
        !list_is_valid(c->outgoing, c->outgoing_count) ||
        !list_is_valid(c->learners, c->learners_count))
        return false;
    /* Without voters: the empty one of a member that waits to be added. */
    if (c->voters_count == 0)
        return c->outgoing_count == 0 && c->learners_count == 0;
    unsigned count = c->voters_count;
    for (unsigned i = 0; i < c->outgoing_count; i++)
        count += !list_has(c->voters, c->voters_count, c->outgoing[i]);
    for (unsigned i = 0; i < c->learners_count; i++) {
        if (list_has(c->voters, c->voters_count, c->learners[i]))
            return false;
        count += !list_has(c->outgoing, c->outgoing_count, c->learners[i]);
    }
    return count <= raft_members_max;
}

const struct raft_configuration *raft_newest_configuration(const struct raft *raft)
{
    return &raft_log_configuration(&raft->log)->configuration;
}

unsigned raft_configuration_members(const struct raft_configuration *configuration,
                                    uint64_t members[raft_members_max])
{
    const struct raft_configuration *c = configuration;
    const uint64_t *lists[] = {c->voters, c->outgoing, c->learners};
    const unsigned counts[] = {c->voters_count, c->outgoing_count, c->learners_count};
    unsigned count = 0;

    for (unsigned list = 0; list < 3; list++)
        for (unsigned i = 0; i < counts[list]; i++)
            if (!list_has(members, count, lists[list][i])) {
                ASSERT(count < raft_members_max);
                members[count++] = lists[list][i];
            }
    return count;
}

/* The value that more than half of the list has reached: sorted from the highest, the one in the
 * middle, or just past it. */
static uint64_t majority_value(const struct raft *raft, const uint64_t *list, unsigned count,
                               raft_value *value)
{
    uint64_t values[raft_voters_max];

    ASSERT(count > 0 && count <= raft_voters_max);
    for (unsigned i = 0; i < count; i++) {
        uint64_t own = value(raft, list[i]);
        unsigned place = i;
        for (; place > 0 && values[place - 1] < own; place--)
            values[place] = values[place - 1];
        values[place] = own;
    }
    return values[PLANTED(raft_commit_minority) ? 0 : count / 2];
}

uint64_t raft_quorum_value(const struct raft *raft, raft_value *value)
{
    const struct raft_configuration *c = raft_newest_configuration(raft);

    if (c->voters_count == 0)
        return 0;
    uint64_t reached = majority_value(raft, c->voters, c->voters_count, value);
    if (c->outgoing_count > 0 && !PLANTED(raft_commit_one_half)) {
        uint64_t other = majority_value(raft, c->outgoing, c->outgoing_count, value);
        reached = other < reached ? other : reached;
    }
    return reached;
}

static bool same_voters(const struct raft_configuration *a, const struct raft_configuration *b)
{
    if (a->voters_count != b->voters_count)
        return false;
    for (unsigned i = 0; i < a->voters_count; i++)
        if (!list_has(b->voters, b->voters_count, a->voters[i]))
            return false;
    return true;
}

/* Whether a change would be safe now. Before an entry of the own term is committed, an older change
 * that this log lacks may be: two majorities without a common member could decide (Ongaro's note of
 * 2015 on single-server changes; joint consensus keeps to it as well). And changes are made one at
 * a time. */
static bool change_may_begin(const struct raft *raft)
{
    const struct raft_configuration_at *newest = raft_log_configuration(&raft->log);

    bool begun = raft->commit_index >= raft->noop_index || PLANTED(raft_change_early);
    return begun && newest->index <= raft->commit_index &&
           !raft_configuration_is_joint(&newest->configuration) && raft->transfer_to == 0 &&
           raft->own_count == 0;
}

enum status raft_change(struct raft *raft, uint64_t now_ns, const struct raft_configuration *target)
{
    raft_see_time(raft, now_ns);
    if (raft->role != RAFT_LEADER)
        return STATUS_NOT_LEADER;
    if (!raft_configuration_is_valid(target) || target->voters_count == 0 ||
        raft_configuration_is_joint(target))
        return STATUS_INVALID_ARGUMENT;
    if (!change_may_begin(raft))
        return STATUS_BUSY;

    const struct raft_configuration *current = raft_newest_configuration(raft);
    struct raft_configuration next = *target;
    if (!same_voters(current, target)) {
        /* 4.3: a majority of the old and one of the new decide together. */
        next.outgoing_count = current->voters_count;
        memcpy(next.outgoing, current->voters, sizeof(next.outgoing));
        if (!raft_configuration_is_valid(&next))
            return STATUS_INVALID_ARGUMENT;
    }
    /* One for this, one for the end of the joint configuration, which must not fail. */
    enum status status = raft_log_reserve(&raft->log, 1, 2);
    if (status != STATUS_OK)
        return status;
    raft_append_own(raft, &next);
    raft_progress_follow_configuration(raft);
    if (PLANTED(raft_joint_left_early))
        raft_membership_committed(raft);
    return STATUS_OK;
}

void raft_membership_committed(struct raft *raft)
{
    const struct raft_configuration_at *newest = raft_log_configuration(&raft->log);

    ASSERT(raft->role == RAFT_LEADER);
    bool early = PLANTED(raft_joint_left_early) &&
                 raft_configuration_is_joint(&newest->configuration) &&
                 raft->own_count < raft_own_entries_max;
    if (!early && (newest->index > raft->commit_index || raft->commit_index < raft->noop_index))
        return;
    if (raft_configuration_is_joint(&newest->configuration)) {
        /* 4.3: once the joint configuration is committed, and not before, the leader makes the
         * entry of the new one. */
        struct raft_configuration next = newest->configuration;
        next.outgoing_count = 0;
        memset(next.outgoing, 0, sizeof(next.outgoing));
        raft_append_own(raft, &next);
        raft_progress_follow_configuration(raft);
    } else if (!raft_configuration_is_voter(&newest->configuration, raft->options.self)) {
        /* 4.2.2: a leader that is not in the new configuration has led until it was committed. */
        raft_transfer_give_up(raft);
    }
}
