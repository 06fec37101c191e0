/* SPDX-License-Identifier: Apache-2.0 */
/* Commits that a standby region is to have too before they are answered (durability REMOTE).
 *
 *     prepared -> (logged, applied: core_commit.c, core_apply.c) -> waiting -> answered: confirmed
 *                                                                          -> answered: not yet
 *
 * Nothing else differs from other commits: they are logged, shipped and applied as all are, and
 * wait for nobody but whoever asked. A standby acknowledges what its leader has applied, so what
 * its group has committed: whatever it is asked to do next, a promotion included, comes after that.
 *
 * Where this server ceases to lead, or its region to be the primary, nothing more is heard here: a
 * commit is answered with OUTCOME_UNKNOWN, upon which the client asks the next leader under the
 * same id, and waits there. A wait that is over is no failure: the commit is done, and the reply
 * says that it is not confirmed.
 *
 * Bounded by core_remote_count_max and core_remote_size_max, and by how many commits the log lets
 * be under way. Those that do not ask for it meet nothing of this but one comparison. */
#include <inttypes.h>
#include <stdio.h>

#include "proto/base/assert.h"
#include "server/core_internal.h"
#include "server/net/request.h"

enum {
    confirm_default_ms = 5000,
    confirm_max_ms = 60 * 1000,
    retry_remote_ms = 100,
};

#define NS_PER_MS 1000000ULL

/* Lives in its request's arena, as the request's context. */
struct remote_wait {
    uint32_t region; /* 0: any one */
    char name[limit_name_size + 1];
    uint64_t version; /* to be confirmed */
    uint64_t deadline_ns;
    size_t counted_size;

    ProtobufCMessage *reply;
    Strait__Confirmation confirmation; /* of that reply */
    Strait__CommitReply commit;
    Strait__Position position;
};

static struct request *request_of(struct list_link *link)
{
    return LIST_ENTRY(link, struct request, link);
}

/* ---- Before anything is done ---- */

/* False: refused. */
static bool find_region(struct core *core, struct request *request, const char *name,
                        struct remote_wait *wait)
{
    const struct regions *regions = state_regions(core->state);
    const struct region *region = NULL;

    if (name[0] == 0) {
        if (regions->count > 1)
            return true;
        core_refuse(core, request, STATUS_INVALID_ARGUMENT, 0,
                    "There is no standby region that could commit this: ask for the durability of "
                    "this region.");
        return false;
    }
    region = regions_find_name(regions, name);
    if (region == NULL) {
        core_refuse(core, request, STATUS_INVALID_ARGUMENT, 0,
                    "There is no region %.64s that could commit this too: `strait region list` "
                    "names them.",
                    name);
        return false;
    }
    if (region->id == core->options.region_id) {
        core_refuse(core, request, STATUS_INVALID_ARGUMENT, 0,
                    "%s is the primary itself: name a standby, or none, and any one of them is "
                    "waited for.",
                    region->name);
        return false;
    }
    wait->region = region->id;
    snprintf(wait->name, sizeof wait->name, "%s", region->name);
    return true;
}

bool core_remote_prepare(struct core *core, struct request *request)
{
    const struct core_remote *remote = &core->remote;
    bool is_commit = request->type == FRAME_COMMIT;
    const char *name = is_commit ? REQUEST_MESSAGE(request, Commit)->remote_region
                                 : REQUEST_MESSAGE(request, TxnStatus)->remote_region;
    uint32_t within_ms = is_commit ? REQUEST_MESSAGE(request, Commit)->confirm_within_ms
                                   : REQUEST_MESSAGE(request, TxnStatus)->confirm_within_ms;

    if (within_ms == 0)
        within_ms = confirm_default_ms;
    if (within_ms > confirm_max_ms) {
        core_refuse(core, request, STATUS_INVALID_ARGUMENT, 0,
                    "A standby is waited for at most %d s.", confirm_max_ms / 1000);
        return false;
    }
    if (remote->waiting_count >= core_remote_count_max ||
        remote->waiting_size >= core_remote_size_max) {
        core_refuse(core, request, STATUS_BUSY, retry_remote_ms,
                    "Too many commits wait for a standby: try again in %d ms, and see its lag in "
                    "`strait region status`.",
                    retry_remote_ms);
        return false;
    }
    struct remote_wait *wait = arena_alloc_zeroed(&request->arena, 1, sizeof *wait);
    if (wait == NULL) {
        core_refuse(core, request, STATUS_NO_MEMORY, 0, "No memory to wait for a standby.");
        return false;
    }
    if (!find_region(core, request, name, wait))
        return false;
    wait->deadline_ns = request->received_ns + within_ms * NS_PER_MS;
    request->context = wait;
    return true;
}

/* ---- Waiting ---- */

static void hold(struct core *core, struct request *request, uint64_t version)
{
    struct core_remote *remote = &core->remote;
    struct remote_wait *wait = request->context;

    strait__confirmation__init(&wait->confirmation);
    wait->version = version;
    wait->counted_size = request->arena.used_size;
    list_init(&request->link);
    list_push_last(&remote->waiting, &request->link);
    remote->waiting_count++;
    remote->waiting_size += wait->counted_size;
    remote->look = true;
}

void core_remote_hold_commit(struct core *core, struct request *request,
                             const Strait__Position *position, bool repeated_reply)
{
    struct remote_wait *wait = request->context;

    strait__commit_reply__init(&wait->commit);
    wait->position = *position;
    wait->commit.position = &wait->position;
    wait->commit.repeated_reply = repeated_reply;
    wait->commit.confirmation = &wait->confirmation;
    wait->reply = &wait->commit.base;
    hold(core, request, position->version);
}

void core_remote_hold_status(struct core *core, struct request *request,
                             Strait__TxnStatusReply *reply)
{
    struct remote_wait *wait = request->context;

    if (reply->state != STRAIT__TXN_STATUS_REPLY__STATE__COMMITTED) {
        core_reply(core, request, &reply->base);
        return;
    }
    ASSERT(reply->position != NULL);
    reply->confirmation = &wait->confirmation;
    wait->reply = &reply->base;
    hold(core, request, reply->position->version);
}

static void let_go(struct core *core, struct request *request)
{
    struct core_remote *remote = &core->remote;
    const struct remote_wait *wait = request->context;

    ASSERT(remote->waiting_count > 0 && remote->waiting_size >= wait->counted_size);
    list_remove(&request->link);
    remote->waiting_count--;
    remote->waiting_size -= wait->counted_size;
}

static void answer(struct core *core, struct request *request, const char *region, bool confirmed)
{
    struct remote_wait *wait = request->context;

    let_go(core, request);
    wait->confirmation.confirmed = confirmed;
    wait->confirmation.region = (char *)(uintptr_t)region;
    if (confirmed)
        core->remote.confirmed_count++;
    else
        core->remote.unconfirmed_count++;
    core_reply(core, request, wait->reply);
}

/* What each other region is known to have of this history. */
struct holdings {
    const struct region *regions[limit_regions_count];
    uint64_t versions[limit_regions_count];
    unsigned count;
};

static void holdings_fill(struct holdings *holdings, const struct core *core)
{
    const struct regions *regions = state_regions(core->state);
    struct source_region facts;

    holdings->count = 0;
    for (unsigned i = 0; i < regions->count; i++) {
        const struct region *region = &regions->regions[i];
        if (!source_region_find(core->ship.source, region->id, &facts) || !facts.heard)
            continue;
        holdings->regions[holdings->count] = region;
        holdings->versions[holdings->count++] = core_ship_shared_version(core, &facts.acknowledged);
    }
}

/* The region that has it; NULL: none of those that count. */
static const struct region *find_holder(const struct holdings *holdings,
                                        const struct remote_wait *wait)
{
    for (unsigned i = 0; i < holdings->count; i++) {
        const struct region *region = holdings->regions[i];
        if ((wait->region == 0 || wait->region == region->id) &&
            holdings->versions[i] >= wait->version)
            return region;
    }
    return NULL;
}

static void refuse_one(struct core *core, struct request *request)
{
    let_go(core, request);
    if (request->type == FRAME_COMMIT)
        core_refuse_unconfirmed(core, request);
    else if (core_leads(core) && !core_is_primary(core))
        core_refuse_not_primary(core, request);
    else if (core_leads(core) && !core_lease_is_held(core))
        core_lease_refuse_out(core, request);
    else
        core_refuse_not_leader(core, request, NULL);
}

static void refuse_all(struct core *core)
{
    struct list_link *link;
    while ((link = list_first(&core->remote.waiting)) != NULL)
        refuse_one(core, request_of(link));
}

static void look(struct core *core)
{
    struct core_remote *remote = &core->remote;
    uint64_t now = io_boot_ns(core->options.io);
    uint64_t next_ns = UINT64_MAX;
    bool may_answer = core_lease_is_held(core);
    struct holdings holdings;

    holdings_fill(&holdings, core);
    LIST_EACH(link, &remote->waiting)
    {
        struct request *request = request_of(link);
        const struct remote_wait *wait = request->context;
        const struct region *holder = find_holder(&holdings, wait);
        if (wait->deadline_ns <= now && !may_answer)
            refuse_one(core, request);
        else if (holder != NULL && may_answer)
            answer(core, request, holder->name, true);
        else if (wait->deadline_ns <= now)
            answer(core, request, wait->name, false);
        else if (wait->deadline_ns < next_ns)
            next_ns = wait->deadline_ns;
    }
    if (next_ns != UINT64_MAX)
        io_timer_start(core->options.io, &remote->timer, next_ns);
    else
        io_timer_stop(core->options.io, &remote->timer);
}

void core_remote_turn(struct core *core)
{
    struct core_remote *remote = &core->remote;

    if (list_is_empty(&remote->waiting))
        return;
    bool hears = core_leads(core) && core_is_primary(core) && !core_is_healing(core) &&
                 !core_is_installing(core) && !core->failed && !remote->stopping;
    if (!hears) {
        refuse_all(core);
    } else if (remote->look) {
        remote->look = false;
        look(core);
    }
}

void core_remote_heard(struct core *core)
{
    core->remote.look = true;
}

/* ---- Opening and closing ---- */

static void on_time(struct io_timer *timer)
{
    struct core *core = timer->context;
    core->remote.look = true;
}

void core_remote_open(struct core *core)
{
    core->remote = (struct core_remote){.timer = {.fired = on_time, .context = core}};
    list_init(&core->remote.waiting);
}

void core_remote_close(struct core *core)
{
    ASSERT(list_is_empty(&core->remote.waiting));
    io_timer_stop(core->options.io, &core->remote.timer);
}

void core_remote_stop(struct core *core)
{
    core->remote.stopping = true;
}

void core_remote_refuse(struct core *core)
{
    refuse_all(core);
}
