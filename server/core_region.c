/* SPDX-License-Identifier: Apache-2.0 */
/* The core's place in its region: what the log tells of leadership, and what follows from it for
 * those who wait. */
#include <inttypes.h>
#include <stdio.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "proto/peer.h"
#include "server/core_internal.h"
#include "server/net/request.h"

enum { retry_leader_ms = 50 };

/* ---- What the log tells ---- */

void core_on_changed(void *context)
{
    struct core *core = context;
    core->region_changed = true;
}

void core_on_dropped(void *context, void *proposal)
{
    struct core *core = context;
    struct request *request = proposal;

    if (proposal == NULL) /* what came from another region: nobody here waits for it */
        return;
    if (proposal == &core->ticking) {
        core->ticking = false;
        return;
    }
    if (core_version_ended(core, proposal, NULL) || core_ship_ended(core, proposal, NULL))
        return;
    if (core->answers_none)
        return;
    core->commits_dropped_count++;
    list_remove(&request->link);
    list_push_last(&core->dropped, &request->link);
}

static void decide(struct core *core, bool is_confirmed, uint64_t round)
{
    LIST_EACH(link, &core->reads_unconfirmed)
    {
        struct core_read *read = LIST_ENTRY(link, struct core_read, link);
        if (is_confirmed && read->round > round)
            continue;
        read->is_confirmed = is_confirmed;
        list_remove(&read->link);
        list_push_last(&core->reads_decided, &read->link);
    }
}

void core_on_confirmed(void *context, uint64_t round)
{
    struct core *core = context;
    decide(core, true, round);
    for (unsigned i = 0; i < core->fresh.questions_count; i++) {
        struct core_question *question = &core->fresh.questions[i];
        if (question->state == QUESTION_CONFIRMING && question->round <= round)
            question->state = QUESTION_TRUE;
    }
}

void core_on_unconfirmed(void *context)
{
    struct core *core = context;
    decide(core, false, 0);
    core->fresh.questions_count = 0; /* whoever asked asks the next leader */
}

void core_on_received(void *context, uint64_t from, uint8_t kind, struct bytes message)
{
    struct core *core = context;
    if (kind >= PEER_FRESHNESS_FIRST && kind <= PEER_FRESHNESS_LAST)
        core_fresh_received(core, from, kind, message);
    else if (kind >= PEER_VERSION_FIRST && kind <= PEER_VERSION_LAST)
        core_version_received(core, from, kind, message);
    else if (kind == PEER_SHARED)
        core_checkpoints_received(core, from, message);
    else
        core_install_received(core, from, kind, message);
}

/* ---- Who leads ---- */

bool core_leads(const struct core *core)
{
    return replicated_log_role(core->log) == LOG_LEADER;
}

/* Once this term's own first entry is applied, all before it is: the state says where the stream
 * goes on. Nothing of it is under way, as nothing could be proposed. */
void core_position(struct core *core)
{
    if (core->failed || !core_leads(core) || replicated_log_has_position(core->log) ||
        replicated_log_inflight_count(core->log) != 0)
        return;
    struct state_facts facts = state_facts(core->state);
    if (facts.applied_term != replicated_log_term(core->log) || !core_is_primary(core))
        return;
    const struct log_position position = {.epoch_number = facts.position.epoch_number,
                                          .epoch_region = facts.position.epoch_region,
                                          .version = facts.position.version};
    replicated_log_position_set(core->log, &position);
    /* The term's first tick: a region that was without a leader may have much that is due. */
    if (core->ticks_follow)
        core_tick(core);
    core_admit_delayed(core);
}

const char *core_role_text(const struct core *core)
{
    const struct membership *membership = replicated_log_membership(core->log);
    const struct member *self = membership_find(membership, replicated_log_self(core->log));

    if (core_is_healing(core))
        return "rebuilding";
    if (core_is_rewinding(core))
        return "rewinding";
    if (core_is_adopting(core))
        return "adopting";
    switch (replicated_log_role(core->log)) {
    case LOG_MENDING:
        return "mending";
    case LOG_LEADER:
        return "leader";
    case LOG_CANDIDATE:
        return "candidate";
    case LOG_FOLLOWER:
        if (self == NULL)
            return "waiting";
        return (self->kinds & MEMBER_LEARNER) != 0 ? "learner" : "follower";
    }
    UNREACHABLE();
}

static const struct member *other_leader(const struct core *core)
{
    const struct member *leader = replicated_log_leader(core->log);
    return leader != NULL && leader->id != replicated_log_self(core->log) ? leader : NULL;
}

static void refuse(struct core *core, struct request *request, enum status status, const char *text)
{
    const struct member *leader = other_leader(core);
    Strait__Refusal refusal = STRAIT__REFUSAL__INIT;

    refusal.text = (char *)(uintptr_t)text;
    refusal.retry_after_ms = retry_leader_ms;
    if (leader != NULL)
        refusal.leader = (char *)(uintptr_t)leader->clients;
    core_refuse_with(core, request, status, &refusal);
}

void core_refuse_not_leader(struct core *core, struct request *request, const char *why)
{
    const struct member *leader = other_leader(core);
    char text[error_text_size];

    if (why == NULL)
        why = "This server does not lead its region";
    if (leader != NULL)
        snprintf(text, sizeof text, "%s: %s at %s leads.", why, leader->name, leader->clients);
    else
        snprintf(text, sizeof text, "%s, and knows of no leader now.", why);
    refuse(core, request, STATUS_NOT_LEADER, text);
}

void core_refuse_dropped(struct core *core, struct request *request)
{
    refuse(core, request, STATUS_OUTCOME_UNKNOWN,
           "The region's leader changed before this was committed; it may be committed yet. The "
           "same transaction, sent again, finds its outcome.");
}

void core_refuse_unconfirmed(struct core *core, struct request *request)
{
    refuse(core, request, STATUS_OUTCOME_UNKNOWN,
           "It is committed here, and this server cannot learn any more whether the standby has "
           "it. The same transaction, sent again, waits for that again.");
}

/* ---- A turn ---- */

void core_membership_applied(struct core *core)
{
    enum status status = membership_decode(state_membership(core->state), &core->membership);
    if (status != STATUS_OK)
        core_fail(core, status, "The region's membership in %s cannot be read: %s.", core->path_lsm,
                  status_text(status));
}

/* Each change is said once, in the log. */
static void look(struct core *core)
{
    const struct member *leader = replicated_log_leader(core->log);
    enum log_role role = replicated_log_role(core->log);
    uint64_t term = replicated_log_term(core->log);
    uint64_t leader_id = leader == NULL ? 0 : leader->id;

    if (role == core->role && term == core->term && leader_id == core->leader)
        return;
    core->role = role;
    core->term = term;
    core->leader = leader_id;
    core->fresh.look = true;
    core_ship_roles_changed(core);
    log_info("role", LOG_TEXT("role", core_role_text(core)), LOG_U64("term", term),
             LOG_TEXT("leader", leader == NULL ? "" : leader->name));
}

void core_region_turn(struct core *core)
{
    struct list_link *link;

    if (core->region_changed) {
        core->region_changed = false;
        look(core);
    }
    while ((link = list_pop_first(&core->dropped)) != NULL)
        core_refuse_dropped(core, LIST_ENTRY(link, struct request, link));
    core_member_turn(core);
    core_rewind_turn(core);
    core_heal_turn(core);
    core_install_turn(core);
    core_catchup_turn(core);
    if (!core->failed && !core_is_healing(core) && !core_is_rewinding(core) &&
        !core_is_adopting(core))
        core_fresh_turn(core);
}
