/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of the list of regions, by the primary's leader, one at a time.
 *
 *     a region is added, or set    in the log -> applied
 *     one is taken out             the witness keeps that (server/core_lease.h) -> in the log
 *
 * A region that is cut off may not hear that it was taken out, and be promoted by the witness's
 * grant, while this one needs no lease without it: so the witness is told first. It is asked for
 * some seconds; unless it is forced, nothing changes without. */
#include <inttypes.h>
#include <stdio.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "server/core_internal.h"
#include "server/net/request.h"

enum {
    retry_change_ms = 200,
    witness_within_ms = 3000, /* it keeps what it is told, or the change is refused */
};

#define NS_PER_MS 1000000ULL

/* ---- What is asked for ---- */

/* False: refused. */
static bool parse_upstream(struct core *core, struct request *request, const char *name,
                           struct region *region)
{
    const struct region *upstream = regions_find_name(state_regions(core->state), name);

    if (name[0] == 0)
        return true;
    if (upstream == NULL || upstream->id == region->id) {
        core_refuse(core, request, upstream == NULL ? STATUS_NOT_FOUND : STATUS_INVALID_ARGUMENT, 0,
                    "%.64s cannot pull from %.64s: %s.", region->name, name,
                    upstream == NULL ? "there is no such region; `strait region list` names them"
                                     : "that is itself");
        return false;
    }
    region->upstream = upstream->id;
    return true;
}

/* False: refused. */
static bool parse_region(struct core *core, struct request *request, const Strait__Region *message,
                         struct region *region)
{
    *region = (struct region){.id = message->id};
    bool fits = strlen(message->name) < sizeof region->name &&
                message->n_endpoints <= limit_region_endpoints_count;
    if (fits)
        snprintf(region->name, sizeof region->name, "%s", message->name);
    for (size_t i = 0; fits && i < message->n_endpoints; i++) {
        fits = region_endpoint_is_valid(message->endpoints[i]);
        if (fits)
            snprintf(region->endpoints[i], sizeof region->endpoints[i], "%s",
                     message->endpoints[i]);
    }
    region->endpoints_count = fits ? (unsigned)message->n_endpoints : 0;
    region->guard = (struct region_guard){
        .action = message->guard == STRAIT__REGION__GUARD__NONE
                      ? REGION_GUARD_ALERT
                      : (enum region_guard_action)message->guard,
        .lag_bytes_max = message->lag_bytes_max,
        .lag_ms_max = message->lag_ms_max,
    };
    if (fits && region_is_valid(region))
        return parse_upstream(core, request, message->upstream, region);
    core_refuse(core, request, STATUS_INVALID_ARGUMENT, 0,
                "A region has an id above 0, a name of letters, digits, - and _, and up to %d "
                "endpoints, each HOST:PORT.",
                limit_region_endpoints_count);
    return false;
}

/* False: refused. */
static bool change_target(struct core *core, struct request *request, struct regions *target)
{
    const Strait__RegionChange *change = REQUEST_MESSAGE(request, RegionChange);
    struct region region;

    *target = *state_regions(core->state);
    if (change->region == NULL) {
        core_refuse(core, request, STATUS_INVALID_ARGUMENT, 0, "No region is named.");
        return false;
    }
    const struct region *found = regions_find_name(target, change->region->name);
    if (change->action == STRAIT__REGION_CHANGE__ACTION__REMOVE) {
        if (found == NULL) {
            core_refuse(core, request, STATUS_NOT_FOUND, 0,
                        "There is no region %.64s: `strait region list` names them.",
                        change->region->name);
            return false;
        }
        regions_remove(target, found->id);
        return true;
    }
    if (change->action != STRAIT__REGION_CHANGE__ACTION__ADD &&
        change->action != STRAIT__REGION_CHANGE__ACTION__SET) {
        core_refuse(core, request, STATUS_UNSUPPORTED, 0,
                    "This server knows no such change of regions.");
        return false;
    }
    if (!parse_region(core, request, change->region, &region))
        return false;
    bool is_new = regions_find(target, region.id) == NULL;
    if (is_new != (change->action == STRAIT__REGION_CHANGE__ACTION__ADD)) {
        core_refuse(core, request, is_new ? STATUS_NOT_FOUND : STATUS_ALREADY_EXISTS, 0,
                    is_new ? "There is no region with the id %" PRIu32 "."
                           : "There is a region with the id %" PRIu32 " already.",
                    region.id);
        return false;
    }
    enum status status = regions_set(target, &region);
    if (status == STATUS_OK)
        return true;
    if (status == STATUS_TOO_LARGE)
        core_refuse(core, request, status, 0, "There are as many regions as there can be: %d.",
                    limit_regions_count);
    else
        core_refuse(core, request, status, 0, "Another region is named %s already.", region.name);
    return false;
}

/* ---- The change ---- */

static void propose_change(struct core *core, struct request *request, const struct regions *target)
{
    struct core_ship *ship = &core->ship;
    uint8_t body[regions_size_max];

    regions_encode(target, body);
    const struct log_proposal proposal = {.kind = ENTRY_REGIONS,
                                          .identity = bytes_of_text(request->session->identity),
                                          .body = bytes_of(body, regions_size(target)),
                                          .context = &ship->change};
    enum status status = replicated_log_propose(core->log, &proposal);
    if (status == STATUS_OK) {
        ship->change = request;
        return;
    }
    core_lease_let_go(core, 0);
    core_refuse(core, request, status, retry_change_ms, "The change cannot be logged: %s.",
                status_text(status));
}

bool core_regions_are_changing(const struct core *core)
{
    const struct core_ship *ship = &core->ship;
    return ship->change != NULL || ship->removal.request != NULL ||
           ship->switchover.step != SWITCHOVER_NONE;
}

static void removal_begin(struct core *core, struct request *request, const struct regions *target)
{
    const Strait__RegionChange *change = REQUEST_MESSAGE(request, RegionChange);
    const struct region *region =
        regions_find_name(state_regions(core->state), change->region->name);

    ASSERT(region != NULL);
    if (core->lease.open && !change->force) {
        core->ship.removal = (struct core_removal){.request = request,
                                                   .until_ns = io_boot_ns(core->options.io) +
                                                               witness_within_ms * NS_PER_MS};
        core_lease_let_go(core, region->id);
        return;
    }
    if (core->lease.open)
        log_warn("region_removed_by_force", LOG_TEXT("by", request->session->identity),
                 LOG_TEXT("region", region->name),
                 LOG_TEXT("text", "the witness may not know, and grant it a promotion"));
    propose_change(core, request, target);
}

void core_region_change(struct core *core, struct request *request)
{
    const Strait__RegionChange *wanted = REQUEST_MESSAGE(request, RegionChange);
    bool removes = wanted->action == STRAIT__REGION_CHANGE__ACTION__REMOVE;
    struct state_refusal refusal = {0};
    struct regions target;

    if (!core_regions_check_primary(core, request))
        return;
    if (core_regions_are_changing(core)) {
        core_refuse(core, request, STATUS_BUSY, retry_change_ms,
                    "Another change of regions is under way: try again in %d ms.", retry_change_ms);
        return;
    }
    if (!change_target(core, request, &target))
        return;
    enum status status = state_regions_check(core->state, &target, &refusal);
    if (status != STATUS_OK)
        core_refuse(core, request, status, 0, "%s", refusal.text);
    else if (removes)
        removal_begin(core, request, &target);
    else if (!core_lease_is_held(core))
        core_lease_refuse_out(core, request);
    else
        propose_change(core, request, &target);
}

static void removal_refuse(struct core *core, enum status status, const char *text)
{
    struct request *request = core->ship.removal.request;
    core->ship.removal = (struct core_removal){0};
    core_lease_let_go(core, 0);
    core_refuse(core, request, status, 0, "%s", text);
}

void core_region_change_turn(struct core *core)
{
    struct request *request = core->ship.removal.request;
    struct regions target;
    char text[error_text_size];

    if (request == NULL)
        return;
    if (!core_leads(core) || !core_is_primary(core)) {
        removal_refuse(core, STATUS_NOT_LEADER,
                       "This server lost the leadership meanwhile: nothing was changed; ask the "
                       "new leader.");
    } else if (core_lease_has_let_go(core)) {
        core->ship.removal = (struct core_removal){0};
        if (change_target(core, request, &target))
            propose_change(core, request, &target);
        else
            core_lease_let_go(core, 0);
    } else if (io_boot_ns(core->options.io) >= core->ship.removal.until_ns) {
        const char *said = core_lease_step_text(core);
        snprintf(text, sizeof text,
                 "%s%sThe witness has not confirmed that it grants this region nothing any more: "
                 "cut off, it might be promoted. Nothing was changed. --force removes it all the "
                 "same: stop its servers first.",
                 said, said[0] != 0 ? " " : "");
        removal_refuse(core, STATUS_CONDITION_FAILED, text);
    }
}

void core_region_change_ended(struct core *core, const struct state_result *result)
{
    struct request *request = core->ship.change;
    core->ship.change = NULL;
    if (request == NULL)
        return;
    if (result == NULL) {
        core_refuse_dropped(core, request);
        return;
    }
    /* Whatever came of it: the list says so now, and is told. */
    if (core->lease.leaving != 0)
        core_lease_let_go(core, 0);
    if (result->status != STATUS_OK) {
        core_refuse(core, request, result->status, 0, "%s", result->text);
        return;
    }
    Strait__RegionChangeReply reply = STRAIT__REGION_CHANGE_REPLY__INIT;
    reply.list = core_regions_list(core, &request->arena);
    if (reply.list == NULL)
        core_refuse(core, request, STATUS_NO_MEMORY, 0, "It is done; no memory to list it.");
    else
        core_reply(core, request, &reply.base);
}
