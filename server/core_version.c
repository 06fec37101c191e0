/* SPDX-License-Identifier: Apache-2.0 */
/* The cluster version: what each program can apply, and the entry that raises it.
 *
 * A member whose program can apply more than the cluster version says so to its leader, once a
 * second; of one that says nothing no more is known than that it follows. (The peers' HELLO says it
 * too, to the bus, which refuses programs that can have nothing in common. Here it is told over any
 * bus, and to whoever leads by now.)
 *
 *     PEER_VERSION_FIRST     the highest version that the sender can apply (4), little-endian
 *
 * The primary's leader raises the version by an entry of the stream (server/state/version.c) as
 * soon as all can apply a higher one: every member of its region, voter or learner, as heard within
 * heard_within_ms, and every other region of the list, as its pulls say for all of its own. Nobody
 * who is away is passed over: it would come back and stop. Where the configuration holds it back,
 * it waits for an administrator besides. From then on no older program can take part: it stops
 * before that entry, or does not open the state, and says why.
 *
 * A program that is put back meanwhile may meet the entry all the same, where its own word was
 * heard shortly before. It stops there, and has changed nothing. */
#include <inttypes.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "proto/base/planted.h"
#include "proto/cluster_version.h"
#include "proto/peer.h"
#include "server/core_internal.h"
#include "server/net/request.h"

enum {
    version_say = PEER_VERSION_FIRST,
    version_say_size = 4,
    heard_within_ms = 5 * core_tick_ms,         /* of a member, who says it each second */
    region_heard_within_ms = 30 * core_tick_ms, /* of a region: a pull may wait for 10 s */
    retry_ms = 1000,
};

#define NS_PER_MS 1000000ULL

/* ---- What members say ---- */

static bool is_recent(const struct core *core, uint64_t then_ns, uint64_t within_ms)
{
    uint64_t now = io_boot_ns(core->options.io);
    return now <= then_ns || now - then_ns <= within_ms * NS_PER_MS;
}

/* Its place, or their count. */
static unsigned said_place(const struct core_version *version, uint64_t member)
{
    unsigned place = 0;
    while (place < version->said_count && version->said[place].member != member)
        place++;
    return place;
}

/* Who is no member any more makes room. */
static void forget_strangers(struct core *core)
{
    struct core_version *version = &core->version;
    unsigned kept = 0;
    for (unsigned i = 0; i < version->said_count; i++) {
        if (membership_find(replicated_log_membership(core->log), version->said[i].member) != NULL)
            version->said[kept++] = version->said[i];
    }
    version->said_count = kept;
}

void core_version_received(struct core *core, uint64_t from, uint8_t kind, struct bytes message)
{
    struct core_version *version = &core->version;

    if (kind != version_say || message.size != version_say_size ||
        membership_find(replicated_log_membership(core->log), from) == NULL)
        return;
    if (said_place(version, from) == version->said_count)
        forget_strangers(core);
    unsigned place = said_place(version, from);
    ASSERT(place < limit_members_count);
    if (place == version->said_count)
        version->said_count++;
    version->said[place] = (struct core_version_said){.member = from,
                                                      .version_max = load_u32(message.data),
                                                      .heard_ns = io_boot_ns(core->options.io)};
}

static void say(struct core *core)
{
    const struct member *leader = replicated_log_leader(core->log);
    uint32_t own = state_cluster_version_max(core->state);
    uint8_t body[version_say_size];

    if (leader == NULL || leader->id == replicated_log_self(core->log) ||
        own == state_cluster_version_present(core->state))
        return;
    store_u32(body, own);
    /* Where it cannot be sent, it is said again in a second. */
    if (!replicated_log_send(core->log, leader->id, version_say, BUS_CONTROL,
                             bytes_of(body, sizeof body)))
        return;
}

/* ---- What is known ---- */

uint32_t core_version_of(const struct core *core, uint64_t member)
{
    uint32_t present = state_cluster_version_present(core->state);
    struct log_member_facts facts;

    if (member == replicated_log_self(core->log))
        return state_cluster_version_max(core->state);
    if (!core_leads(core))
        return 0;
    unsigned place = said_place(&core->version, member);
    const struct core_version_said *said = &core->version.said[place];
    if (place < core->version.said_count && is_recent(core, said->heard_ns, heard_within_ms) &&
        said->version_max > present)
        return said->version_max;
    return replicated_log_member_facts(core->log, member, &facts) && facts.connected ? present : 0;
}

uint32_t core_version_supported(const struct core *core)
{
    const struct membership *membership = replicated_log_membership(core->log);
    uint32_t present = state_cluster_version_present(core->state);
    uint32_t least = state_cluster_version_max(core->state);

    if (PLANTED(core_version_unasked))
        return least;
    for (unsigned i = 0; i < membership->count; i++) {
        uint32_t version = core_version_of(core, membership->members[i].id);
        if (version < least)
            least = version;
    }
    return least > present ? least : present;
}

/* What another region says of all its members; one that is not heard of holds back. */
static uint32_t supported_in(const struct core *core, uint32_t region)
{
    struct source_region facts;
    if (!source_region_find(core->ship.source, region, &facts) || !facts.heard ||
        !is_recent(core, facts.heard_ns, region_heard_within_ms))
        return 0;
    return facts.cluster_version_max;
}

static uint32_t supported_elsewhere(const struct core *core)
{
    const struct regions *regions = state_regions(core->state);
    uint32_t least = UINT32_MAX;

    for (unsigned i = 0; i < regions->count; i++) {
        uint32_t id = regions->regions[i].id;
        uint32_t version = id == core->options.region_id ? UINT32_MAX : supported_in(core, id);
        if (version < least)
            least = version;
    }
    return least;
}

/* ---- Raising ---- */

/* Whether an entry of the stream can be proposed now. */
static bool may_raise(const struct core *core)
{
    return !core->version.raising && replicated_log_has_position(core->log) &&
           !core_is_draining(core) && !membership_is_joint(replicated_log_membership(core->log));
}

/* The version that all can apply; the present one where none is higher. */
static uint32_t find_target(const struct core *core)
{
    uint32_t present = state_cluster_version_present(core->state);
    uint32_t target = core_version_supported(core);
    uint32_t elsewhere = supported_elsewhere(core);

    if (elsewhere < target)
        target = elsewhere;
    return target > present ? target : present;
}

static enum status propose(struct core *core, uint32_t target)
{
    uint8_t body[cluster_version_size];

    cluster_version_encode(target, body);
    const struct log_proposal proposal = {.kind = ENTRY_VERSION,
                                          .body = bytes_of(body, sizeof body),
                                          .context = &core->version.raising};
    enum status status = replicated_log_propose(core->log, &proposal);
    core->version.raising = status == STATUS_OK;
    return status;
}

static void raise_by_itself(struct core *core)
{
    if (core->options.upgrade_held || !may_raise(core) || !core_ship_may_tick(core))
        return;
    uint32_t target = find_target(core);
    if (target == state_cluster_version_present(core->state))
        return;
    enum status status = propose(core, target);
    if (status != STATUS_OK && status != STATUS_NOT_LEADER)
        log_warn("cluster_version_not_logged", LOG_TEXT("reason", status_text(status)));
}

void core_version_look(struct core *core)
{
    if (core->failed || core_is_healing(core) || core_is_installing(core))
        return;
    say(core);
    raise_by_itself(core);
}

void core_version_applied(const struct core *core, const struct state_result *result)
{
    if (result->versioned && result->status == STATUS_OK)
        log_info("cluster_version", LOG_U64("version", state_cluster_version_present(core->state)),
                 LOG_TEXT("text", "all can apply it; an older program cannot take part any more"));
}

/* ---- Asked for ---- */

static void answer(struct core *core, struct request *request)
{
    Strait__ClusterUpgradeReply reply = STRAIT__CLUSTER_UPGRADE_REPLY__INIT;
    reply.cluster_version = state_cluster_version_present(core->state);
    core_reply(core, request, &reply.base);
}

/* Names one of those that do not let it rise. */
static void refuse_held_back(struct core *core, struct request *request)
{
    const struct membership *membership = replicated_log_membership(core->log);
    const struct regions *regions = state_regions(core->state);
    uint32_t present = state_cluster_version_present(core->state);
    uint32_t wanted = state_cluster_version_max(core->state);

    for (unsigned i = 0; i < membership->count; i++) {
        const struct member *member = &membership->members[i];
        uint32_t version = core_version_of(core, member->id);
        if (version > present)
            continue;
        core_refuse(core, request, STATUS_CONDITION_FAILED, 0,
                    version == 0 ? "%s does not answer: whether its program can apply more than "
                                   "cluster version %" PRIu32 " is not known. Start it, or remove "
                                   "it from the region."
                                 : "The program of %s can apply cluster version %" PRIu32
                                   " and no higher one. Start the newer program there.",
                    member->name, present);
        return;
    }
    for (unsigned i = 0; i < regions->count; i++) {
        const struct region *region = &regions->regions[i];
        if (region->id == core->options.region_id || supported_in(core, region->id) > present)
            continue;
        core_refuse(core, request, STATUS_CONDITION_FAILED, 0,
                    "Region %s has not said that all its members can apply more than cluster "
                    "version %" PRIu32 ". Start the newer program on all of them, or remove the "
                    "region from the list.",
                    region->name, present);
        return;
    }
    core_refuse(core, request, STATUS_BUSY, retry_ms,
                "Cluster version %" PRIu32 " cannot be proposed now: try again in %d ms.", wanted,
                retry_ms);
}

void core_version_request(struct core *core, struct request *request)
{
    uint32_t present = state_cluster_version_present(core->state);

    if (!core_leads(core)) {
        core_refuse_not_leader(core, request, NULL);
        return;
    }
    if (!core_is_primary(core)) {
        core_refuse_not_primary(core, request);
        return;
    }
    if (state_cluster_version_max(core->state) == present) {
        answer(core, request);
        return;
    }
    uint32_t target = find_target(core);
    if (target == present) {
        refuse_held_back(core, request);
        return;
    }
    enum status status = may_raise(core) ? propose(core, target) : STATUS_BUSY;
    if (status == STATUS_OK)
        core->version.request = request;
    else
        core_refuse(core, request, status, retry_ms,
                    "Cluster version %" PRIu32 " cannot be logged: %s.", target,
                    status_text(status));
}

bool core_version_ended(struct core *core, const void *context, const struct state_result *result)
{
    struct request *request = core->version.request;

    if (context != &core->version.raising)
        return false;
    core->version.raising = false;
    core->version.request = NULL;
    if (request == NULL)
        return true;
    if (result == NULL)
        core_refuse_dropped(core, request);
    else if (!result->versioned || result->status != STATUS_OK)
        core_refuse(core, request, result->status, retry_ms,
                    "The cluster version was not raised: %s.", status_text(result->status));
    else
        answer(core, request);
    return true;
}

void core_version_refuse(struct core *core)
{
    struct request *request = core->version.request;

    core->version.request = NULL;
    if (request != NULL)
        core_refuse(core, request, STATUS_OUTCOME_UNKNOWN, 0,
                    "This server stopped: `strait status` tells the cluster version.");
}
