/* SPDX-License-Identifier: Apache-2.0 */
/* The region's members: who they are, changes of them, and transfers of the leadership.
 *
 * A change is answered when the membership that it aimed at is applied here; where the leadership
 * is lost before that, its outcome is unknown, and the list of members tells it. A new member joins
 * as a learner, under the id and the addresses that it gives itself over a connection that its
 * certificate's name has proved; a vote it gets when it has the log. */
#include <inttypes.h>
#include <stdio.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "server/core_internal.h"
#include "server/net/request.h"

enum {
    promote_lag_max = 1000, /* entries */
    retry_lag_ms = 500,
    retry_change_ms = 200,
    transfer_ms = 5000,
};

#define NS_PER_MS 1000000ULL

/* ---- Lists ---- */

static const char *kind_text(const struct membership *membership, unsigned kinds)
{
    bool joint = membership_is_joint(membership);
    if ((kinds & MEMBER_VOTER) != 0)
        return joint && (kinds & MEMBER_OUTGOING) == 0 ? "joining" : "voter";
    return (kinds & MEMBER_OUTGOING) != 0 ? "leaving" : "learner";
}

static void fill_message(struct core *core, const struct membership *membership,
                         const struct member *member, Strait__Member *message)
{
    const struct member *leader = replicated_log_leader(core->log);
    struct log_member_facts facts;

    strait__member__init(message);
    message->id = member->id;
    message->kind = (char *)(uintptr_t)kind_text(membership, member->kinds);
    message->leader = leader != NULL && leader->id == member->id;
    message->self = replicated_log_self(core->log) == member->id;
    message->cluster_version_max = core_version_of(core, member->id);
    if (message->self) {
        message->connected = true;
        message->match_index = replicated_log_durable_index(core->log);
    } else if (replicated_log_member_facts(core->log, member->id, &facts)) {
        message->connected = facts.connected;
        message->answered = facts.answered;
        message->answered_ago_ms = facts.answered_ago_ms;
        message->match_index = facts.match_index;
        message->lag_entries = facts.lag_entries;
        message->snapshot = facts.snapshot;
    }
}

static char *copy_text(struct arena *arena, const char *text)
{
    struct bytes copy;
    return arena_copy(arena, bytes_of(text, strlen(text) + 1), &copy) ? (char *)(uintptr_t)copy.data
                                                                      : NULL;
}

Strait__Member **core_member_messages(struct core *core, struct arena *arena, size_t *count)
{
    const struct membership *membership = replicated_log_membership(core->log);
    size_t wanted = membership->count;
    Strait__Member **pointers = arena_alloc_zeroed(arena, wanted + 1, sizeof(Strait__Member *));
    Strait__Member *messages = arena_alloc_zeroed(arena, wanted + 1, sizeof *messages);

    *count = 0;
    if (pointers == NULL || messages == NULL)
        return NULL;
    for (size_t i = 0; i < wanted; i++) {
        const struct member *member = &membership->members[i];
        pointers[i] = &messages[i];
        fill_message(core, membership, member, &messages[i]);
        messages[i].name = copy_text(arena, member->name);
        messages[i].peers = copy_text(arena, member->peers);
        messages[i].clients = copy_text(arena, member->clients);
        if (messages[i].name == NULL || messages[i].peers == NULL || messages[i].clients == NULL)
            return NULL;
    }
    *count = wanted;
    return pointers;
}

static void list(struct core *core, struct request *request)
{
    Strait__MemberListReply reply = STRAIT__MEMBER_LIST_REPLY__INIT;

    if (!REQUEST_MESSAGE(request, MemberList)->any && !core_leads(core)) {
        core_refuse_not_leader(core, request, NULL);
        return;
    }
    reply.members = core_member_messages(core, &request->arena, &reply.n_members);
    reply.log_term = replicated_log_term(core->log);
    if (reply.members == NULL)
        core_refuse(core, request, STATUS_NO_MEMORY, 0, "No memory for the members.");
    else
        core_reply(core, request, &reply.base);
}

/* ---- Changes ---- */

static void change_answer(struct core *core)
{
    Strait__MemberChangeReply reply = STRAIT__MEMBER_CHANGE_REPLY__INIT;
    struct request *request = core->change.request;

    core->change = (struct core_change){0};
    reply.members = core_member_messages(core, &request->arena, &reply.n_members);
    if (reply.members == NULL)
        core_refuse(core, request, STATUS_NO_MEMORY, 0,
                    "The change is done; no memory to list it.");
    else
        core_reply(core, request, &reply.base);
}

#define CHANGE_REFUSE(core, status, retry_after_ms, ...)                                           \
    do {                                                                                           \
        /* The text may be of the target's. */                                                     \
        core_refuse(core, (core)->change.request, status, retry_after_ms, __VA_ARGS__);            \
        (core)->change = (struct core_change){0};                                                  \
    } while (false)

static void change_propose(struct core *core)
{
    enum status status = replicated_log_change(core->log, &core->change.target);
    switch (status) {
    case STATUS_OK:
        core->change.proposed = true;
        break;
    case STATUS_NOT_LEADER: {
        struct request *request = core->change.request;
        core->change = (struct core_change){0};
        core_refuse_not_leader(core, request, NULL);
        break;
    }
    case STATUS_BUSY:
        CHANGE_REFUSE(core, status, retry_change_ms,
                      "Another change of the members is under way: try again in %d ms.",
                      retry_change_ms);
        break;
    case STATUS_UNSUPPORTED:
        CHANGE_REFUSE(
            core, status, 0,
            "This server is a region of one for good: its configuration names no region.");
        break;
    default:
        CHANGE_REFUSE(core, status, 0, "The change cannot be made: %s.", status_text(status));
    }
}

/* The new member has said who it is, or could not be asked. */
static void on_probed(void *context, enum status status, const struct member *member,
                      uint32_t cluster_version_max, const char *text)
{
    struct core *core = context;
    uint32_t present = state_cluster_version_present(core->state);
    const struct member *known;

    if (core->change.request == NULL)
        return; /* refused meanwhile */
    ASSERT(!core->change.proposed);
    if (status != STATUS_OK) {
        CHANGE_REFUSE(core, status, 0, "The new member could not be asked who it is: %s", text);
        return;
    }
    if (cluster_version_max < present) {
        CHANGE_REFUSE(core, STATUS_UNSUPPORTED, 0,
                      "The program of %s is too old: the cluster version is %" PRIu32
                      ", and it can apply %" PRIu32 " at most. Start the newer program there.",
                      member->name, present, cluster_version_max);
        return;
    }
    known = membership_find(&core->change.target, member->id);
    if (known != NULL) {
        CHANGE_REFUSE(core, STATUS_ALREADY_EXISTS, 0, "That server is a member already: %s.",
                      known->name);
        return;
    }
    struct member added = *member;
    added.kinds = MEMBER_LEARNER;
    if (!membership_set(&core->change.target, &added)) {
        CHANGE_REFUSE(core, STATUS_OUT_OF_BOUNDS, 0, "A region has at most %d members.",
                      limit_members_count);
        return;
    }
    change_propose(core);
}

static void add(struct core *core, const Strait__MemberChange *change)
{
    if (membership_find_name(&core->change.target, change->name) != NULL) {
        CHANGE_REFUSE(core, STATUS_ALREADY_EXISTS, 0, "The region has a member %.64s already.",
                      change->name);
    } else if (core->options.probe == NULL) {
        CHANGE_REFUSE(
            core, STATUS_UNSUPPORTED, 0,
            "This server is a region of one for good: its configuration names no region.");
    } else {
        core->options.probe(core->options.context, change->peers, change->name, on_probed, core);
    }
}

static void promote(struct core *core, const struct member *found)
{
    struct log_member_facts facts;
    struct member member = *found;

    if ((member.kinds & MEMBER_VOTER) != 0) {
        CHANGE_REFUSE(core, STATUS_ALREADY_EXISTS, 0, "%s is a voter already.", member.name);
        return;
    }
    if (!replicated_log_member_facts(core->log, member.id, &facts) || !facts.connected ||
        !facts.answered) {
        CHANGE_REFUSE(core, STATUS_BUSY, retry_lag_ms,
                      "%s has not answered yet: it needs the log before it gets a vote.",
                      member.name);
        return;
    }
    if (facts.snapshot || facts.lag_entries > promote_lag_max) {
        CHANGE_REFUSE(core, STATUS_BUSY, retry_lag_ms,
                      "%s is %" PRIu64 " entries behind%s: it gets a vote at %d or fewer.",
                      member.name, facts.lag_entries,
                      facts.snapshot ? ", and is being given a snapshot" : "", promote_lag_max);
        return;
    }
    member.kinds = MEMBER_VOTER;
    bool set = membership_set(&core->change.target, &member);
    ASSERT(set);
    change_propose(core);
}

/* Of the voters that would be left: how many there are, and how many answer now. One that waits for
 * a snapshot is of no use to a quorum yet. */
static unsigned count_left(const struct core *core, uint64_t without, unsigned *connected)
{
    unsigned left = 0;
    *connected = 0;
    for (unsigned i = 0; i < core->change.target.count; i++) {
        const struct member *member = &core->change.target.members[i];
        struct log_member_facts facts;
        if ((member->kinds & MEMBER_VOTER) == 0 || member->id == without)
            continue;
        left++;
        if (member->id == replicated_log_self(core->log) ||
            (replicated_log_member_facts(core->log, member->id, &facts) && facts.connected &&
             facts.answered && !facts.snapshot))
            ++*connected;
    }
    return left;
}

static void remove_member(struct core *core, const struct member *found, bool force)
{
    unsigned connected;
    unsigned left = count_left(core, found->id, &connected);
    bool votes = (found->kinds & MEMBER_VOTER) != 0;

    if (votes && left == 0) {
        CHANGE_REFUSE(core, STATUS_CONDITION_FAILED, 0,
                      "%s is the last voter: without it there is no region.", found->name);
        return;
    }
    if (found->id == replicated_log_self(core->log)) {
        CHANGE_REFUSE(core, STATUS_CONDITION_FAILED, 0,
                      "%s leads: hand the leadership over first (`strait leader transfer`).",
                      found->name);
        return;
    }
    if (votes && connected <= left / 2 && !force) {
        CHANGE_REFUSE(core, STATUS_CONDITION_FAILED, 0,
                      "Without %s, %u of %u voters answer now, which is no majority: nothing could "
                      "be committed. Bring one back first, or remove it by force.",
                      found->name, connected, left);
        return;
    }
    membership_remove(&core->change.target, found->id);
    change_propose(core);
}

static void change(struct core *core, struct request *request)
{
    const Strait__MemberChange *wanted = REQUEST_MESSAGE(request, MemberChange);

    if (!core_leads(core)) {
        core_refuse_not_leader(core, request, NULL);
        return;
    }
    if (core->change.request != NULL || membership_is_joint(replicated_log_membership(core->log))) {
        core_refuse(core, request, STATUS_BUSY, retry_change_ms,
                    "Another change of the members is under way: try again in %d ms.",
                    retry_change_ms);
        return;
    }
    core->change =
        (struct core_change){.request = request, .target = *replicated_log_membership(core->log)};
    const struct member *found = membership_find_name(&core->change.target, wanted->name);
    if (wanted->action == STRAIT__MEMBER_CHANGE__ACTION__ADD)
        add(core, wanted);
    else if (wanted->action != STRAIT__MEMBER_CHANGE__ACTION__PROMOTE &&
             wanted->action != STRAIT__MEMBER_CHANGE__ACTION__REMOVE)
        CHANGE_REFUSE(core, STATUS_UNSUPPORTED, 0, "This server knows no such change of members.");
    else if (found == NULL)
        CHANGE_REFUSE(core, STATUS_NOT_FOUND, 0,
                      "The region has no member %.64s: `strait member list` names them.",
                      wanted->name);
    else if (wanted->id != 0 && wanted->id != found->id)
        CHANGE_REFUSE(core, STATUS_NOT_FOUND, 0,
                      "The member %.64s that is meant is gone: another has its name now.",
                      wanted->name);
    else if (wanted->action == STRAIT__MEMBER_CHANGE__ACTION__PROMOTE)
        promote(core, found);
    else
        remove_member(core, found, wanted->force);
}

static bool is_reached(const struct core *core)
{
    const struct membership *target = &core->change.target;
    const struct membership *applied = &core->membership;

    if (applied->count != target->count)
        return false;
    for (unsigned i = 0; i < target->count; i++) {
        if (applied->members[i].id != target->members[i].id ||
            applied->members[i].kinds != target->members[i].kinds)
            return false;
    }
    return true;
}

/* ---- The leadership ---- */

/* The voter that has the most of the log, of those that answer; NULL: none. */
static const struct member *best_voter(const struct core *core)
{
    const struct membership *membership = replicated_log_membership(core->log);
    const struct member *best = NULL;
    uint64_t best_index = 0;

    for (unsigned i = 0; i < membership->count; i++) {
        const struct member *member = &membership->members[i];
        struct log_member_facts facts;
        if ((member->kinds & MEMBER_VOTER) == 0 ||
            !replicated_log_member_facts(core->log, member->id, &facts) || !facts.connected ||
            !facts.answered)
            continue;
        if (best == NULL || facts.match_index > best_index) {
            best = member;
            best_index = facts.match_index;
        }
    }
    return best;
}

static void on_transfer_time(struct io_timer *timer)
{
    struct core *core = timer->context;
    core->transfer.timed_out = true;
}

static void transfer_answer(struct core *core, struct request *request, const struct member *leader)
{
    Strait__LeaderTransferReply reply = STRAIT__LEADER_TRANSFER_REPLY__INIT;
    reply.leader = (char *)(uintptr_t)leader->name;
    reply.clients = (char *)(uintptr_t)leader->clients;
    core_reply(core, request, &reply.base);
}

static void transfer(struct core *core, struct request *request)
{
    const char *name = REQUEST_MESSAGE(request, LeaderTransfer)->name;
    const struct membership *membership = replicated_log_membership(core->log);

    if (!core_leads(core)) {
        core_refuse_not_leader(core, request, NULL);
        return;
    }
    if (core->transfer.request != NULL) {
        core_refuse(core, request, STATUS_BUSY, retry_change_ms,
                    "The leadership is being handed over already.");
        return;
    }
    const struct member *to =
        name[0] != 0 ? membership_find_name(membership, name) : best_voter(core);
    if (to == NULL && name[0] != 0) {
        core_refuse(core, request, STATUS_NOT_FOUND, 0,
                    "The region has no member %.64s: `strait member list` names them.", name);
    } else if (to == NULL) {
        core_refuse(core, request, STATUS_CONDITION_FAILED, 0,
                    "No other voter answers now that could lead.");
    } else if (to->id == replicated_log_self(core->log)) {
        transfer_answer(core, request, to);
    } else {
        enum status status = replicated_log_transfer(core->log, to->id);
        if (status != STATUS_OK) {
            core_refuse(core, request, status, 0, "%s cannot be handed the leadership: %s.",
                        to->name,
                        (to->kinds & MEMBER_VOTER) == 0 ? "it has no vote" : status_text(status));
            return;
        }
        core->transfer = (struct core_transfer){
            .request = request, .timer = {.fired = on_transfer_time, .context = core}};
        io_timer_start(core->options.io, &core->transfer.timer,
                       io_boot_ns(core->options.io) + transfer_ms * NS_PER_MS);
    }
}

static void transfer_turn(struct core *core)
{
    struct request *request = core->transfer.request;
    const struct member *leader = replicated_log_leader(core->log);

    bool moved =
        !core_leads(core) && leader != NULL && leader->id != replicated_log_self(core->log);
    if (!moved && !core->transfer.timed_out)
        return;
    io_timer_stop(core->options.io, &core->transfer.timer);
    core->transfer = (struct core_transfer){0};
    if (moved)
        transfer_answer(core, request, leader);
    else if (core_leads(core))
        core_refuse(core, request, STATUS_DEADLINE_EXCEEDED, 0,
                    "No other member took over within %d ms: this server leads on.", transfer_ms);
    else
        core_refuse_not_leader(core, request, "The leadership was given up");
}

void core_stop(struct core *core)
{
    const struct member *best;

    core_remote_stop(core);
    if (!core_leads(core) || (best = best_voter(core)) == NULL)
        return;
    enum status status = replicated_log_transfer(core->log, best->id);
    log_info("leadership_handed_over", LOG_TEXT("to", best->name),
             LOG_TEXT("reason", status_text(status)));
}

/* ---- Turns and requests ---- */

void core_member_turn(struct core *core)
{
    if (core->change.request != NULL && core->change.proposed && is_reached(core))
        change_answer(core);
    if (core->change.request != NULL && !core_leads(core))
        CHANGE_REFUSE(core, core->change.proposed ? STATUS_OUTCOME_UNKNOWN : STATUS_NOT_LEADER, 0,
                      "The leader changed meanwhile: `strait member list` tells whether the change "
                      "was made.");
    if (core->transfer.request != NULL)
        transfer_turn(core);
}

void core_member_refuse(struct core *core)
{
    if (core->change.request != NULL)
        CHANGE_REFUSE(core, STATUS_OUTCOME_UNKNOWN, 0, "This server stopped.");
    if (core->transfer.request != NULL) {
        struct request *request = core->transfer.request;
        io_timer_stop(core->options.io, &core->transfer.timer);
        core->transfer = (struct core_transfer){0};
        core_refuse(core, request, STATUS_SHUTTING_DOWN, 0, "This server stopped.");
    }
}

void core_member(struct core *core, struct request *request)
{
    switch (request->type) {
    case FRAME_MEMBER_LIST:
        list(core, request);
        break;
    case FRAME_MEMBER_CHANGE:
        change(core, request);
        break;
    case FRAME_LEADER_TRANSFER:
        transfer(core, request);
        break;
    default:
        UNREACHABLE();
    }
}
