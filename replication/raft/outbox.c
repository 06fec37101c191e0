/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that wait to be taken, oldest first. A newer one of a type drops an older one to the
 * same member: it says all that the older one said. */
#include "replication/raft/raft_internal.h"

#include <string.h>

void raft_outbox_put(struct raft *raft, const struct raft_message *message)
{
    ASSERT(message->to != raft->options.self && message->to != 0);
    ASSERT(message->entries_count == 0);
    unsigned kept = 0;
    for (unsigned i = 0; i < raft->outbox_count; i++)
        if (raft->outbox[i].to != message->to || raft->outbox[i].type != message->type)
            raft->outbox[kept++] = raft->outbox[i];
    raft->outbox_count = kept;
    if (raft->outbox_count == raft_outbox_max) {
        raft->statistics.dropped_count++;
        return;
    }
    struct raft_message *place = &raft->outbox[raft->outbox_count++];
    *place = *message;
    place->from = raft->options.self;
    if (place->term == 0)
        place->term = raft->hard_state.term;
}

bool raft_hard_state_is_durable(const struct raft *raft)
{
    return raft->hard_state.term == raft->hard_state_durable.term &&
           raft->hard_state.vote == raft->hard_state_durable.vote;
}

/* A message says what its sender has promised: it waits until that promise would survive a crash
 * (3.8). */
bool raft_outbox_take(struct raft *raft, struct raft_message *message)
{
    bool durable = raft_hard_state_is_durable(raft) || PLANTED(raft_vote_early);
    if (raft->outbox_count == 0 || !durable)
        return false;
    *message = raft->outbox[0];
    raft->outbox_count--;
    memmove(raft->outbox, raft->outbox + 1, raft->outbox_count * sizeof(raft->outbox[0]));
    if (message->type == RAFT_HEARTBEAT)
        raft->round_open = false;
    return true;
}

void raft_outbox_clear(struct raft *raft)
{
    raft->outbox_count = 0;
}
