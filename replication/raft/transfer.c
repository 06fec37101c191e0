/* SPDX-License-Identifier: Apache-2.0 */
/* Handing leadership over (3.10). */
#include "replication/raft/raft_internal.h"

static void tell(struct raft *raft, uint64_t to)
{
    /* Before anybody is told to stand: from now on another may be elected within what would have
     * been the lease. */
    raft->lease_dropped = !PLANTED(raft_lease_kept);
    raft_outbox_put(raft, &(struct raft_message){.type = RAFT_TIMEOUT_NOW, .to = to});
}

enum status raft_transfer(struct raft *raft, uint64_t now_ns, uint64_t to)
{
    raft_see_time(raft, now_ns);
    if (raft->role != RAFT_LEADER)
        return STATUS_NOT_LEADER;
    if (to == raft->options.self ||
        !raft_configuration_is_voter(raft_newest_configuration(raft), to))
        return STATUS_INVALID_ARGUMENT;
    if (raft->transfer_to != 0)
        return raft->transfer_to == to ? STATUS_OK : STATUS_BUSY;
    raft->transfer_to = to;
    raft->transfer_deadline_ns = raft->now_ns + raft->options.election_timeout_ns;
    raft->lease_dropped = !PLANTED(raft_lease_kept);
    raft_transfer_proceed(raft);
    return STATUS_OK;
}

void raft_transfer_proceed(struct raft *raft)
{
    const struct raft_member *member;

    ASSERT(raft->role == RAFT_LEADER);
    if (raft->transfer_to == 0)
        return;
    member = raft_progress_find(raft, raft->transfer_to);
    if (member == NULL) {
        /* A configuration without it has begun. */
        raft->transfer_to = 0;
        return;
    }
    /* 3.10, step 2: its log must have all of the leader's. */
    if (member->match_index == raft->log.last_index)
        tell(raft, raft->transfer_to);
}

void raft_transfer_tick(struct raft *raft)
{
    /* 3.10: if it did not succeed within about an election timeout, the leader goes on. */
    if (raft->transfer_to != 0 && raft->now_ns >= raft->transfer_deadline_ns)
        raft->transfer_to = 0;
}

void raft_transfer_give_up(struct raft *raft)
{
    const struct raft_configuration *configuration = raft_newest_configuration(raft);
    const struct raft_member *best = NULL;

    ASSERT(raft->role == RAFT_LEADER);
    for (unsigned i = 0; i < raft->members_count; i++) {
        const struct raft_member *member = &raft->members[i];
        bool fits = raft_configuration_is_voter(configuration, member->id) &&
                    raft->now_ns - member->answered_ns < raft->options.election_timeout_ns;
        if (fits && (best == NULL || member->match_index > best->match_index))
            best = member;
    }
    uint64_t to = best == NULL ? 0 : best->id;
    raft_step_down(raft);
    if (to != 0)
        raft_outbox_put(raft, &(struct raft_message){.type = RAFT_TIMEOUT_NOW, .to = to});
}
