/* SPDX-License-Identifier: Apache-2.0 */
/* This server's part in what passes between regions: it answers the pulls of others as long as it
 * leads its region, and pulls from the primary as long as it leads a standby.
 *
 * Which of the two its region is, the state says: the epoch names the primary. So a role changes
 * with an entry of the log, at the same place on every member, whether the entry was made here or
 * came from another region.
 *
 * A higher epoch that is proved by a signed record stops the commits of a primary at once, before
 * its own log says so; then its leader proposes a fence, which stops what is in the log already. */
#include <inttypes.h>
#include <stdio.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "proto/base/planted.h"
#include "proto/message.h"
#include "server/core_internal.h"
#include "server/net/request.h"

enum {
    retry_role_ms = 50, /* while a reign is handed over, both may refuse */
    unsure_ms = 10000,  /* after a start without a word from other regions */
    silence_ms = 3000,
    downstream_ms = 10000, /* one that was not heard for longer is not passed on */
};

#define NS_PER_MS 1000000ULL

/* ---- Positions ---- */

struct region_position core_region_position(const struct core *core)
{
    struct state_position position = state_position(core->state);
    return (struct region_position){
        .epoch = {.number = position.epoch_number, .region = position.epoch_region},
        .version = position.version,
        .log_time_ns = position.log_time_ns,
        .chain_known = true,
        .chain = state_chain(core->state),
    };
}

static struct region_epoch_span span_of(const struct epoch_end *end)
{
    return (struct region_epoch_span){.epoch = end->epoch, .last = end->version, .next = end->next};
}

/* A standby that has nothing yet asks for epoch 0: it begins with the first one there is. */
static bool epoch_find(void *context, struct epoch wanted, struct region_epoch_span *span)
{
    const struct core *core = context;
    struct epoch present = state_epoch(core->state);
    const struct epoch_end *end;

    if (wanted.number == 0) {
        if (state_epoch_ends(core->state, &end) != 0) {
            *span = span_of(end);
            return true;
        }
    } else if (epoch_compare(wanted, present) < 0) {
        end = state_epoch_end_before(core->state, wanted);
        if (end != NULL)
            *span = span_of(end);
        return end != NULL;
    }
    *span = (struct region_epoch_span){.epoch = present, .last = UINT64_MAX};
    return true;
}

static bool chain_at(void *context, uint64_t version, struct hash128 *chain)
{
    const struct core *core = context;
    struct state_facts facts = state_facts(core->state);
    const struct epoch_end *ends;
    size_t count = state_epoch_ends(core->state, &ends);

    *chain = facts.chain_digest;
    if (version == facts.position.version)
        return true;
    for (size_t i = 0; i < count; i++) {
        if (ends[i].version != version)
            continue;
        *chain = ends[i].chain;
        return true;
    }
    return false;
}

/* What lies past the end of an epoch of ours was given up: whoever has that is no witness of what
 * we have in its place. */
uint64_t core_ship_shared_version(const struct core *core, const struct region_position *position)
{
    struct region_epoch_span span;
    bool is_ours = epoch_find((void *)(uintptr_t)core, position->epoch, &span) &&
                   epoch_equal(span.epoch, position->epoch) && position->version <= span.last;
    return is_ours ? position->version : 0;
}

static struct bytes promotion_of(void *context)
{
    struct bytes record;
    (void)core_claim_known(context, &record);
    return record;
}

static bool age_find(void *context, uint64_t *age_ns)
{
    const struct core *core = context;
    uint64_t fresh_ns;

    *age_ns = 0;
    if (core_is_primary(core))
        return replicated_log_lease_holds(core->log) && core_lease_is_held(core);
    if (!core_ship_fresh_ns(core, &fresh_ns))
        return false;
    *age_ns = io_boot_ns(core->options.io) - fresh_ns;
    return true;
}

static void lease_ask(void *context, Strait__RegionPullReply *reply)
{
    reply->primary = core_is_primary(context);
    core_lease_ask(context, reply);
}

static void lease_asked(void *context, uint64_t holder, uint64_t asked_ns, uint32_t lease_ms)
{
    core_lease_asked(context, holder, asked_ns, lease_ms);
}

/* ---- A higher epoch ---- */

/* Its region's history this one follows. */
static struct epoch newest_epoch(const struct core *core)
{
    struct epoch epoch = state_epoch(core->state);
    struct epoch fence = state_fence(core->state);
    if (epoch_compare(fence, epoch) > 0)
        epoch = fence;
    if (epoch_compare(core->ship.higher, epoch) > 0)
        epoch = core->ship.higher;
    return epoch;
}

void core_promotion_seen(struct core *core, struct bytes record)
{
    struct core_ship *ship = &core->ship;
    struct error error = {0};
    struct epoch to;

    if (record.size == 0 || record.size > sizeof ship->record ||
        core->options.promotion_verify == NULL ||
        bytes_equal(record, bytes_of(ship->record, ship->record_size)))
        return;
    const struct epoch_change *change = state_epoch_change(core->state);
    if (change != NULL && bytes_equal(record, change->record))
        return;
    if (core_claim_is_judged(core, record))
        return;
    enum status status = core->options.promotion_verify(core->options.context, record, &to, &error);
    if (status != STATUS_OK) {
        core_claim_is_bad(core, record, error.text);
        return;
    }
    if (epoch_compare(to, newest_epoch(core)) <= 0) {
        core_claim_is_old(core, record);
        return;
    }
    ship->higher = to;
    bytes_copy(ship->record, record);
    ship->record_size = record.size;
    ship->roles_look = true;
    /* Ticks of this region's own would all be discarded, each followed by the next at once. */
    replicated_log_position_clear(core->log);
    log_warn("higher_epoch", LOG_U64("number", to.number), LOG_U64("region", to.region),
             LOG_TEXT("text", "another region was promoted: this one takes no writes any more"));
}

static void promotion_seen(void *context, struct bytes record)
{
    core_promotion_seen(context, record);
}

/* The region's own log says so too, so that whoever leads next knows it. */
static void fence_turn(struct core *core)
{
    struct core_ship *ship = &core->ship;
    uint8_t body[fence_size_max];

    if (ship->higher.number == 0)
        return;
    if (epoch_compare(ship->higher, state_epoch(core->state)) <= 0 ||
        epoch_compare(ship->higher, state_fence(core->state)) <= 0) {
        ship->higher = (struct epoch){0};
        ship->record_size = 0;
        ship->roles_look = true;
        return;
    }
    if (ship->fencing || !core_leads(core))
        return;
    const struct fence fence = {.region = core->options.region_id,
                                .epoch = ship->higher,
                                .record = bytes_of(ship->record, ship->record_size)};
    fence_encode(&fence, body);
    const struct log_proposal proposal = {
        .kind = ENTRY_FENCE, .body = bytes_of(body, fence_size(&fence)), .context = &ship->fencing};
    ship->fencing = replicated_log_propose(core->log, &proposal) == STATUS_OK;
}

/* ---- Roles ---- */

bool core_is_primary(const struct core *core)
{
    if (state_epoch(core->state).region != core->options.region_id || core_is_rewinding(core) ||
        core_is_adopting(core))
        return false;
    return PLANTED(region_higher_ignored) ||
           (!state_is_fenced(core->state, core->options.region_id) &&
            core->ship.higher.number == 0);
}

const struct region *core_primary(const struct core *core)
{
    return regions_find(state_regions(core->state), newest_epoch(core).region);
}

struct core_region_facts core_region_facts(const struct core *core)
{
    struct core_region_facts facts = {
        .epoch = state_epoch(core->state),
        .highest = newest_epoch(core),
        .is_primary = core_is_primary(core),
        .is_draining = core_is_draining(core),
        .lease_is_waived = core->lease.waived.number != 0,
        .trouble = core_ship_trouble_text(core),
    };
    facts.ends_count = state_epoch_ends(core->state, &facts.ends);
    return facts;
}

/* "Singapore at HOST:PORT,HOST:PORT", as far as it is known. */
void core_refuse_not_primary(struct core *core, struct request *request)
{
    enum { endpoints_size = limit_region_endpoints_count * (limit_member_address_size + 2) };
    const struct region *primary = core_primary(core);
    Strait__Refusal refusal = STRAIT__REFUSAL__INIT;
    struct epoch epoch = newest_epoch(core);
    struct bytes record;
    Strait__Position position = STRAIT__POSITION__INIT;
    char endpoints[endpoints_size] = "";
    char text[error_text_size];
    size_t size = 0;

    for (unsigned i = 0; primary != NULL && i < primary->endpoints_count; i++)
        size += (size_t)snprintf(endpoints + size, sizeof endpoints - size, "%s%s",
                                 i == 0 ? "" : ",", primary->endpoints[i]);
    snprintf(text, sizeof text,
             "This region is a standby: %s%.64s takes writes and linearizable reads.",
             primary == NULL ? "another" : "the region ", primary == NULL ? "" : primary->name);
    refusal.text = text;
    refusal.retry_after_ms = retry_role_ms;
    refusal.leader = endpoints;
    position.epoch_number = epoch.number;
    position.epoch_region = epoch.region;
    refusal.position = &position; /* whose word is newer, where two regions name each other */
    if (epoch_equal(core_claim_known(core, &record), epoch))
        refusal.promotion = field_of_bytes(record);
    core_refuse_with(core, request, STATUS_NOT_PRIMARY, &refusal);
}

/* For whom a part of the log is kept. */
static void tell_regions(struct core *core)
{
    const struct regions *regions = state_regions(core->state);
    uint32_t others[limit_regions_count];
    size_t count = 0;

    for (unsigned i = 0; i < regions->count; i++) {
        if (regions->regions[i].id != core->options.region_id)
            others[count++] = regions->regions[i].id;
    }
    source_regions(core->ship.source, others, count);
    core_ship_pin(core);
}

static void tell_source(struct core *core, bool leads)
{
    struct core_ship *ship = &core->ship;
    const struct member *leader = replicated_log_leader(core->log);

    tell_regions(core);
    bool other = leader != NULL && leader->id != replicated_log_self(core->log);
    source_lead(ship->source, leads, other ? leader->clients : NULL);
}

/* The standby that this one is to pull from; NULL: the primary. */
static const struct region *upstream_of(const struct core *core)
{
    const struct regions *regions = state_regions(core->state);
    const struct region *self = regions_find(regions, core->options.region_id);
    return self == NULL ? NULL : regions_find(regions, self->upstream);
}

/* Where no server of the upstream answers, the primary's are tried: a region is not lost for those
 * that pull from it. */
static void tell_link(struct core *core)
{
    const struct region *primary = core_primary(core);
    const struct region *upstream = upstream_of(core);
    const char *endpoints[2 * limit_region_endpoints_count];
    size_t count = 0;

    /* A member may hear of its own region's promotion before it has applied it. */
    if (core_is_primary(core) || newest_epoch(core).region == core->options.region_id) {
        link_endpoints(core->options.link, NULL, 0);
        return;
    }
    for (unsigned i = 0; upstream != NULL && i < upstream->endpoints_count; i++)
        endpoints[count++] = upstream->endpoints[i];
    for (unsigned i = 0; primary != NULL && primary != upstream && i < primary->endpoints_count;
         i++)
        endpoints[count++] = primary->endpoints[i];
    /* Before the first list of regions has come. */
    if (count == 0)
        link_endpoints(core->options.link, core->options.standby_of,
                       core->options.standby_of_count);
    else
        link_endpoints(core->options.link, endpoints, count);
}

/* Follows leadership, epochs and the list of regions, all of which change seldom. */
static void roles_turn(struct core *core)
{
    struct core_ship *ship = &core->ship;

    if (!ship->roles_look)
        return;
    bool begun = state_facts(core->state).applied_term == replicated_log_term(core->log);
    bool leads = core_leads(core) && begun;
    /* The first entry of the term is still to come: this is looked at again then. */
    ship->roles_look = core_leads(core) && !begun;
    ship->holds = leads && core_checkpoints_lack(core);
    tell_source(core, leads && !ship->holds && !core_is_adopting(core));
    if (ship->receiver == NULL)
        return;
    tell_link(core);
    if (leads && !core_is_primary(core) && !core_is_adopting(core) && !core_catchup_fetches(core) &&
        ship->promotion.step == PROMOTION_NONE) {
        receiver_start(ship->receiver);
    } else {
        receiver_stop(ship->receiver);
        core_rewind_forget(core);
    }
}

void core_ship_roles_changed(struct core *core)
{
    core->ship.roles_look = true;
}

/* ---- What the source and the receiver ask ---- */

static void on_answer(void *context, void *request, enum status status,
                      const ProtobufCMessage *message)
{
    if (status == STATUS_OK)
        core_reply(context, request, message);
    else
        core_refuse_with(context, request, status, (const Strait__Refusal *)(const void *)message);
}

/* What the primary would not hear else. */
static void standing_downstream(struct core *core, struct receiver_standing *standing)
{
    uint64_t now = io_boot_ns(core->options.io);
    struct source_region facts;

    for (size_t i = 0; source_region_at(core->ship.source, i, &facts); i++) {
        if (!facts.heard || facts.region == newest_epoch(core).region ||
            now - facts.heard_ns > downstream_ms * NS_PER_MS)
            continue;
        standing->downstream[standing->downstream_count++] =
            (struct receiver_downstream){.region = facts.region,
                                         .acknowledged = facts.acknowledged,
                                         .oldest_snapshot = facts.oldest_snapshot,
                                         .ready = facts.ready,
                                         .cluster_version_max = facts.cluster_version_max,
                                         .heard_ns = facts.heard_ns};
    }
}

static void standing(void *context, struct receiver_standing *standing)
{
    struct core *core = context;
    uint64_t version = state_position(core->state).version;
    uint64_t oldest = snapshots_oldest(&core->snapshots, version);
    *standing = (struct receiver_standing){
        .applied = core_region_position(core),
        .ready = core_leads(core) && !core->disk_low && !core->failed,
        .cluster_version_max = core_version_supported(core),
        .promotion = promotion_of(core),
        .oldest_snapshot = oldest < version ? oldest : 0,
        .asks = core->rewind.asks,
        .ask = core->rewind.common,
    };
    standing_downstream(core, standing);
    core_lease_standing(core, standing);
}

/* Those that a region opened as the primary are read at there yet when another one has taken over.
 * One that has not been heard for as long as a snapshot lives holds nothing back. */
uint64_t core_ship_oldest_snapshot(const struct core *core, uint64_t newest)
{
    struct source_region facts;
    uint64_t now = io_boot_ns(core->options.io);
    uint64_t oldest = newest;

    for (size_t i = 0; source_region_at(core->ship.source, i, &facts); i++) {
        if (facts.heard && facts.oldest_snapshot != 0 && facts.oldest_snapshot < oldest &&
            now - facts.heard_ns < core->options.snapshot_age_ms * NS_PER_MS)
            oldest = facts.oldest_snapshot;
    }
    return oldest;
}

static enum status propose_shipped(void *context, struct bytes entry)
{
    struct core *core = context;
    return replicated_log_propose_entry(core->log, entry, NULL);
}

static void on_trouble(void *context, enum receiver_trouble trouble,
                       const struct region_position *common, struct bytes promotion)
{
    struct core *core = context;
    struct core_ship *ship = &core->ship;
    bool is_new = !ship->has_trouble || ship->trouble != trouble;

    core_promotion_seen(core, promotion);
    ship->has_trouble = true;
    ship->trouble = trouble;
    if (trouble == RECEIVER_HISTORY_LOST)
        core_rewind_lost(core, common);
    if (trouble == RECEIVER_BEHIND && upstream_of(core) != NULL)
        link_leave(core->options.link, "it is of an older epoch than this region");
    if (is_new)
        log_error("region_cannot_follow", LOG_TEXT("text", core_ship_trouble_text(core)));
}

static void on_agreed(void *context, const struct region_position *position)
{
    core_rewind_agreed(context, position);
}

static void source_seen(void *context, const struct region_position *position)
{
    struct core *core = context;
    (void)position;
    core->ship.has_trouble = false;
    core->ship.silence[0] = 0;
    core->fresh.look = true;
}

static void region_heard(void *context, uint32_t region)
{
    struct core *core = context;
    (void)region;
    core_remote_heard(core);
    if (core->ship.receiver != NULL)
        receiver_downstream_heard(core->ship.receiver);
}

const char *core_ship_trouble_text(const struct core *core)
{
    if (core_is_adopting(core))
        return "This region takes over the state of a checkpoint of the primary's.";
    if (!core->ship.has_trouble)
        return core->ship.silence;
    switch (core->ship.trouble) {
    case RECEIVER_HISTORY_LOST:
        if (core_rewind_is_possible(core))
            return "This region has committed what the primary's history does not have: it goes "
                   "back to what both share, and follows.";
        if (!core_leads(core) || core_rewind_is_wanted(core) || state_is_surrendered(core->state))
            return "This region has committed what the primary's history does not have, and has no "
                   "checkpoint from before that: it reports what its log has of it, and takes over "
                   "a checkpoint of the primary's.";
        return "This region has committed what the primary's history does not have, and nothing is "
               "known of where the two parted: it has to be set up anew from an empty directory, "
               "once what it has alone was saved.";
    case RECEIVER_RELEASED:
        return "The primary's log does not reach back to where this region stands: it catches up "
               "by a checkpoint of the primary's, and follows then.";
    case RECEIVER_DIVERGED:
        return "This region's state differs from the primary's at the same version: it has to be "
               "set up anew; keep its data for a look.";
    case RECEIVER_BEHIND:
        return "Who is taken for the primary is of an older epoch than this region.";
    }
    UNREACHABLE();
}

/* A leader of the primary's is found again within that, if there is one. */
static bool is_silent(const struct core *core, const struct receiver_facts *facts)
{
    return facts->state != RECEIVER_RESTING &&
           io_boot_ns(core->options.io) - facts->silent_ns > silence_ms * NS_PER_MS;
}

void core_ship_look(struct core *core)
{
    struct core_ship *ship = &core->ship;
    const struct region *primary = core_primary(core);
    const char *name = primary == NULL ? "The primary" : primary->name;

    if (ship->receiver == NULL)
        return;
    const struct receiver_facts facts = receiver_facts(ship->receiver);
    bool was_silent = ship->silence[0] != 0;
    ship->silence[0] = 0;
    if (!is_silent(core, &facts))
        return;
    const char *trouble = link_trouble(core->options.link);
    if (trouble[0] != 0)
        snprintf(ship->silence, sizeof ship->silence,
                 "%.64s cannot be reached: %.240s. See that its servers run and listen there, and "
                 "that the network lets this one through. If it is lost, `strait region promote "
                 "--explain` says what taking over here gives up.",
                 name, trouble);
    else
        snprintf(ship->silence, sizeof ship->silence,
                 "%.64s does not answer%s%.128s: see whether a majority of its servers runs. If it "
                 "is lost, `strait region promote --explain` says what taking over here gives up.",
                 name, facts.connected ? " at " : "", facts.endpoint);
    if (!was_silent)
        log_error("primary_not_heard", LOG_TEXT("text", ship->silence));
}

/* ---- What the core tells ---- */

void core_ship_applied(struct core *core, const struct log_committed *committed,
                       const struct state_result *result)
{
    struct core_ship *ship = &core->ship;
    const struct entry *entry = &committed->entry;
    struct region_position position = core_region_position(core);

    source_applied(ship->source, &position, committed->index, entry_size(entry));
    ship->applied = true;
    if (ship->receiver != NULL && entry_kind_is_shared(entry->kind) && !result->versioned)
        receiver_discarded(
            ship->receiver,
            (struct epoch){.number = entry->epoch_number, .region = entry->epoch_region},
            entry->version);
    if (entry->kind != ENTRY_EPOCH && entry->kind != ENTRY_REGIONS && entry->kind != ENTRY_FENCE &&
        entry->kind != ENTRY_REWIND)
        return;
    ship->roles_look = true;
    core->fresh.look = true;
    if (entry->kind == ENTRY_REGIONS)
        core_checkpoints_begin(core);
    if (entry->kind == ENTRY_EPOCH && result->versioned && result->status == STATUS_OK) {
        struct epoch epoch = state_epoch(core->state);
        if (epoch.region != core->options.region_id)
            replicated_log_position_clear(core->log);
        log_warn("epoch", LOG_U64("number", epoch.number), LOG_U64("region", epoch.region),
                 LOG_U64("version", position.version),
                 LOG_TEXT("text", epoch.region == core->options.region_id
                                      ? "this region is the primary"
                                      : "this region is a standby"));
    }
}

/* A primary that has just started may be one no longer, and not know it: a tick of its own accord
 * would be a tail that nobody wants, and keep it from following. */
bool core_ship_may_tick(const struct core *core)
{
    struct source_region facts;
    if (state_regions(core->state)->count < 2 || core->commits_count != 0 ||
        io_boot_ns(core->options.io) - core->started_ns > unsure_ms * NS_PER_MS)
        return true;
    for (size_t i = 0; source_region_at(core->ship.source, i, &facts); i++) {
        if (facts.heard)
            return true;
    }
    return false;
}

/* Whether a proposal of this file's, or of core_regions.c, is applied or dropped. */
bool core_ship_ended(struct core *core, const void *context, const struct state_result *result)
{
    if (context == &core->rewind.proposing) {
        core->rewind.proposing = false;
        return true;
    }
    if (core_catchup_ended(core, context) || core_surrender_ended(core, context, result))
        return true;
    if (context != &core->ship.fencing)
        return core_regions_ended(core, context, result);
    core->ship.fencing = false;
    return true;
}

void core_ship_reset(struct core *core)
{
    struct region_position position = core_region_position(core);
    source_reset(core->ship.source, &position, state_facts(core->state).applied_index);
    tell_regions(core);
    core->ship.roles_look = true;
}

void core_ship_pin(struct core *core)
{
    uint64_t pin = core_checkpoints_pin(core);
    uint64_t installed = lsm_installed_index(core->lsm);

    if (core->ship.source != NULL && source_pin_index(core->ship.source) < pin)
        pin = source_pin_index(core->ship.source);
    /* The log was told of newer tables than those that were gone back to. */
    if (installed < core->rewind.floor_index && installed < pin)
        pin = installed;
    if (core_surrender_keeps_log(core))
        pin = 0;
    if (core->log != NULL)
        replicated_log_pin(core->log, pin);
}

bool core_ship_fresh_ns(const struct core *core, uint64_t *fresh_ns)
{
    if (core->ship.receiver == NULL)
        return false;
    struct receiver_facts facts = receiver_facts(core->ship.receiver);
    *fresh_ns = facts.fresh_ns;
    return facts.fresh && facts.state != RECEIVER_RESTING;
}

void core_ship_pull(struct core *core, struct request *request)
{
    core_lease_pulled(core, REQUEST_MESSAGE(request, RegionPull));
    source_pull(core->ship.source, REQUEST_MESSAGE(request, RegionPull), request);
}

void core_ship_turn(struct core *core)
{
    struct core_ship *ship = &core->ship;

    if (core->failed || core_is_installing(core) || core_is_healing(core) ||
        core_is_rewinding(core))
        return;
    fence_turn(core);
    core_rewind_lead(core);
    core_surrender_turn(core);
    core_checkpoints_begin(core);
    if (ship->holds && !core_checkpoints_lack(core))
        ship->roles_look = true;
    roles_turn(core);
    if (ship->applied && ship->receiver != NULL) {
        struct region_position position = core_region_position(core);
        receiver_applied(ship->receiver, &position);
    }
    ship->applied = false;
    if (ship->receiver != NULL)
        receiver_turn(ship->receiver);
    core_regions_turn(core);
    source_turn(ship->source);
}

/* ---- Opening and closing ---- */

enum status core_ship_open(struct core *core, struct error *error)
{
    struct core_ship *ship = &core->ship;
    enum status status = log_source_open(core->log, &ship->log);
    if (status != STATUS_OK)
        return error_set(error, status, "No memory for what ships between regions.");
    const struct source_options source = {
        .io = core->options.io,
        .log = log_source_log(ship->log),
        .pinned_size_max = core->options.shipping_retained_size,
        .epoch_find = epoch_find,
        .chain_at = chain_at,
        .promotion = promotion_of,
        .age_find = age_find,
        .lease_ask = lease_ask,
        .promotion_seen = promotion_seen,
        .heard = region_heard,
        .answer = on_answer,
        .context = core,
    };
    if (core->options.link != NULL) {
        status = link_fork_create(core->options.link, &ship->fork);
        if (status != STATUS_OK)
            return error_set(error, status, "No memory for the link to other regions.");
    }
    const struct receiver_options receiver = {
        .io = core->options.io,
        .link = ship->fork == NULL ? NULL : link_fork_first(ship->fork),
        .region = core->options.region_id,
        .seed = core->options.seed,
        .standing = standing,
        .propose = propose_shipped,
        .trouble = on_trouble,
        .agreed = on_agreed,
        .source_seen = source_seen,
        .lease_asked = lease_asked,
        .context = core,
    };
    status = source_create(&source, &ship->source);
    if (status == STATUS_OK && ship->fork != NULL)
        status = receiver_create(&receiver, &ship->receiver);
    if (status != STATUS_OK)
        return error_set(error, status, "What ships between regions could not be set up: %s.",
                         status_text(status));
    log_source_attach(ship->log, ship->source);
    core_herald_open(core);
    core_ship_reset(core);
    return core_catchup_open(core, ship->fork == NULL ? NULL : link_fork_second(ship->fork), error);
}

void core_ship_close(struct core *core)
{
    struct core_ship *ship = &core->ship;
    core_herald_close(core);
    core_surrender_close(core);
    core_catchup_close(core);
    if (ship->receiver != NULL)
        receiver_free(ship->receiver);
    link_fork_free(ship->fork);
    ship->fork = NULL;
    if (ship->log != NULL)
        log_source_attach(ship->log, NULL);
    if (ship->source != NULL)
        source_free(ship->source);
    log_source_close(ship->log);
    ship->log = NULL;
    ship->receiver = NULL;
    ship->source = NULL;
}
