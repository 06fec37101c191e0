/* SPDX-License-Identifier: Apache-2.0 */
/* Leases between regions, where a witness is configured: replication/region/lease.h has the rules,
 * this file asks, grants, and holds back what may not be answered.
 *
 * The primary's leader asks the witness each renewal, and the standby with each answer to its
 * pulls, which the next pull grants. While neither grant holds, commits that were applied wait, for
 * at most hold_ms, and end with OUTCOME_UNKNOWN; new ones, and linearizable reads, are refused with
 * NOT_LEADER and no leader's name, upon which a client asks at its other endpoints. Nothing else
 * stops.
 *
 * A standby's leader tells the witness of its epoch; it asks to be promoted where an operator wants
 * that, or, configured so, by itself once it has not heard the primary for a lease. From when it
 * asks it grants the primary nothing.
 *
 * Before a region is taken out of the list, the witness is told to grant it nothing any more: cut
 * off, it might not know, while this one needs no lease without it.
 *
 * A forced promotion needs no grant. Its leader acknowledges without one, too, until the first is
 * there: else a region that is alone could not go on. Where the leadership changes before that, the
 * command is repeated.
 *
 * Without a witness, or with one region in the list, everything here is true at once. */
#include "server/core_lease.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "proto/base/planted.h"
#include "proto/message.h"
#include "server/core_internal.h"
#include "server/net/request.h"

enum {
    renewals_count = 6, /* in the time of one lease */
    renew_most_ms = 1000,
    hold_ms = 3000,
    retry_lease_ms = 100,
    retry_least_ms = 10,        /* before the witness is asked again, whatever it says */
    said_compared_size = 30,    /* of two texts that differ in their numbers */
    promotion_retry_ms = 10000, /* after one by itself that failed */
};

#define NS_PER_MS 1000000ULL

/* A commit that is applied and not answered; lives in its request's arena. */
struct lease_wait {
    struct list_link link;
    struct request *request;
    struct state_result result;
    uint64_t deadline_ns;
};

static uint64_t now_ns(const struct core *core)
{
    return io_boot_ns(core->options.io);
}

static uint64_t left_ms(uint64_t until_ns, uint64_t now)
{
    return until_ns > now ? (until_ns - now) / NS_PER_MS : 0;
}

static uint64_t lease_ns(const struct core *core)
{
    return core->options.lease_ms * NS_PER_MS;
}

/* From when a lease is counted that was asked for at `asked_ns`, by its holder. */
static uint64_t counted_from_ns(const struct core *core, uint64_t asked_ns)
{
    return PLANTED(lease_from_answer) ? now_ns(core) : asked_ns;
}

static uint64_t renew_ns(const struct core *core)
{
    uint64_t renew_ms = core->options.lease_ms / renewals_count;
    return (renew_ms < renew_most_ms ? renew_ms : renew_most_ms) * NS_PER_MS;
}

bool core_lease_is_needed(const struct core *core)
{
    /* Of a state that is being rebuilt nothing is known. */
    return core->lease.open && (core_is_healing(core) || state_regions(core->state)->count > 1);
}

bool core_lease_is_held(const struct core *core)
{
    const struct core_lease *lease = &core->lease;

    if (!core_lease_is_needed(core))
        return true;
    if (core_is_healing(core))
        return false;
    if (lease->waived.number != 0 && epoch_equal(lease->waived, state_epoch(core->state)))
        return true;
    return lease->led_ns != 0 && epoch_equal(lease->epoch, state_epoch(core->state)) &&
           now_ns(core) < lease_holder_until_ns(&lease->holder, state_regions(core->state)->count);
}

/* ---- Answers that wait ---- */

void core_lease_refuse_out(struct core *core, struct request *request)
{
    core_refuse(
        core, request, STATUS_NOT_LEADER, retry_lease_ms,
        "This region's lease is out: neither the witness nor the standby has renewed it, and "
        "another region may be promoted. It takes no writes and no linearizable reads.");
}

static void refuse_unsure(struct core *core, struct request *request)
{
    core_refuse(core, request, STATUS_OUTCOME_UNKNOWN, retry_lease_ms,
                "It is in this region's log, and the region's lease is out: another one may be "
                "promoted, and this be given up. The same transaction, sent again, finds its "
                "outcome.");
}

bool core_lease_hold(struct core *core, struct request *request, const struct state_result *result)
{
    /* What apply discarded has done nothing, here or anywhere: it was never shipped, and no other
     * region's promotion changes that. */
    if (core_lease_is_held(core) || !result->versioned)
        return false;
    struct lease_wait *wait = arena_alloc_zeroed(&request->arena, 1, sizeof *wait);
    if (wait == NULL) {
        refuse_unsure(core, request);
        return true;
    }
    wait->request = request;
    wait->result = *result;
    wait->deadline_ns = now_ns(core) + hold_ms * NS_PER_MS;
    list_init(&wait->link);
    list_push_last(&core->lease.waiting, &wait->link);
    return true;
}

static void answer_waiting(struct core *core, uint64_t now)
{
    bool may_come = core_leads(core) && core_is_primary(core);
    struct list_link *link;

    while ((link = list_first(&core->lease.waiting)) != NULL) {
        struct lease_wait *wait = LIST_ENTRY(link, struct lease_wait, link);
        bool held = core_lease_is_held(core); /* it may run out between two of them */
        if (may_come && !held && now < wait->deadline_ns)
            return;
        list_remove(link);
        if (may_come && held)
            core_commit_answer(core, wait->request, &wait->result);
        else
            refuse_unsure(core, wait->request);
    }
}

void core_lease_refuse(struct core *core)
{
    struct list_link *link;
    while ((link = list_pop_first(&core->lease.waiting)) != NULL)
        refuse_unsure(core, LIST_ENTRY(link, struct lease_wait, link)->request);
}

/* ---- Between the regions ---- */

/* Of the primary's leader, with each answer to a pull. */
void core_lease_ask(struct core *core, Strait__RegionPullReply *reply)
{
    if (!core->lease.open || core->lease.led_ns == 0 || !core_is_primary(core))
        return;
    reply->lease_holder = core->lease.holder_id;
    reply->lease_asked_ns = now_ns(core);
    reply->lease_ms = core->options.lease_ms;
}

/* Of the same, with each pull. It may be late, or of another server's asking. */
void core_lease_pulled(struct core *core, const Strait__RegionPull *pull)
{
    struct core_lease *lease = &core->lease;
    const Strait__RegionPosition *at = pull->acknowledged;

    if (lease->led_ns == 0 || pull->lease_holder != lease->holder_id || at == NULL ||
        pull->lease_asked_ns < lease->led_ns || pull->lease_asked_ns > now_ns(core) ||
        !core_is_primary(core) || pull->region_id == core->options.region_id ||
        regions_find(state_regions(core->state), pull->region_id) == NULL)
        return;
    /* Of more than two regions none is a voter: what it grants must not count once there are two.
     */
    if (state_regions(core->state)->count > 2)
        return;
    lease->standby = pull->region_id;
    const struct epoch epoch = {.number = at->epoch_number, .region = at->epoch_region};
    if (!epoch_equal(epoch, state_epoch(core->state)) || !epoch_equal(epoch, lease->epoch))
        return;
    lease_holder_granted(&lease->holder.standby_until_ns,
                         counted_from_ns(core, pull->lease_asked_ns), lease_ns(core));
}

/* Of the standby's leader: the primary asks. */
void core_lease_asked(struct core *core, uint64_t holder, uint64_t asked_ns, uint32_t lease_ms)
{
    struct core_lease *lease = &core->lease;
    bool is_longer = lease_ms > core->options.lease_ms;

    lease->source_holder = is_longer ? 0 : holder;
    lease->source_asked_ns = asked_ns;
    lease->source_lease_ms = lease_ms;
    if (is_longer && !lease->source_is_longer && lease->open)
        log_warn("lease_too_short", LOG_U64("asked_ms", lease_ms),
                 LOG_U64("lease_ms", core->options.lease_ms),
                 LOG_TEXT("text", "the primary asks for longer leases than this region's "
                                  "witness.lease: it is granted none by this region"));
    lease->source_is_longer = is_longer;
}

/* And is granted it with the next pull. */
void core_lease_standing(struct core *core, struct receiver_standing *standing)
{
    struct core_lease *lease = &core->lease;

    if (lease->led_ns == 0 || lease->source_holder == 0 || lease->candidate ||
        core->ship.promotion.step != PROMOTION_NONE || core_is_primary(core) ||
        !replicated_log_lease_holds(core->log))
        return;
    standing->lease_holder = lease->source_holder;
    standing->lease_asked_ns = lease->source_asked_ns;
    lease->promised_ns = now_ns(core) + lease_ns(core);
}

/* ---- Whether to be promoted ---- */

static enum lease_step step_of(struct core *core, uint64_t now)
{
    const struct core_lease *lease = &core->lease;
    struct lease_standing standing = {
        .now_ns = now,
        .lease_ns = lease_ns(core),
        .past_ns = lease->asked_max_ns,
        .led_ns = lease->led_ns,
        .promised_ns = lease->promised_ns,
        .granted_ns = lease->granted_ns,
        .by_itself = core->ship.promotion.step == PROMOTION_NONE && core->options.promote_automatic,
        .regions_count = state_regions(core->state)->count,
        .lag_max_ns = core->options.promote_lag_max_ms * NS_PER_MS,
    };
    /* As an earlier leader told it, or this one has heard. */
    uint64_t fresh_ns = core->fresh.known_ns;
    if (core->ship.receiver != NULL) {
        struct receiver_facts facts = receiver_facts(core->ship.receiver);
        /* What was heard by an earlier leadership of this server's is no word of this one's. */
        standing.heard_ns = facts.primary_ns >= lease->led_ns ? facts.primary_ns : 0;
        if (facts.fresh && facts.fresh_ns > fresh_ns)
            fresh_ns = facts.fresh_ns;
    }
    standing.lag_known = fresh_ns != 0;
    /* The primary may have acknowledged all that while, by the witness's grant. A lease's time goes
     * by before anybody can know that it does not any more. */
    if (standing.lag_known && now > fresh_ns + lease_ns(core))
        standing.lag_ns = now - fresh_ns - lease_ns(core);
    return lease_standby_step(&standing);
}

bool core_lease_permits_promotion(struct core *core)
{
    return !core_lease_is_needed(core) || step_of(core, now_ns(core)) == LEASE_PROMOTE;
}

void core_lease_waive(struct core *core, struct epoch epoch, const char *by)
{
    if (!core_lease_is_needed(core))
        return;
    core->lease.waived = epoch;
    log_warn("lease_waived", LOG_TEXT("by", by), LOG_U64("number", epoch.number),
             LOG_TEXT("text",
                      "by force: this region acknowledges without a lease until it has one; "
                      "the old primary may acknowledge until its own is over"));
}

const char *core_lease_step_text(struct core *core)
{
    const struct core_lease *lease = &core->lease;
    if (core_is_primary(core) || lease->led_ns == 0)
        return lease->said;
    if (lease->source_is_longer && core->ship.promotion.step == PROMOTION_NONE)
        return "The primary asks for longer leases than witness.lease is here: this region grants "
               "it none. Set the same at all servers of both regions.";
    switch (step_of(core, now_ns(core))) {
    case LEASE_REST:
        return "The primary was heard within its lease.";
    case LEASE_OLD_DATA:
        return "This region does not promote itself: its data is older than witness.lag_max, or "
               "nobody here knows how old it is, as after a restart. An operator can promote it.";
    case LEASE_MANY:
        return "This region does not promote itself: there are more than two.";
    case LEASE_WAIT_PAST:
        return "What an earlier leader of this region may have promised to the primary is not over "
               "yet.";
    case LEASE_WAIT_PROMISE:
        return "What this region promised to the primary is not over yet.";
    case LEASE_ASK:
        return lease->said[0] != 0 ? lease->said : "The witness has not granted it.";
    case LEASE_PROMOTE:
        return "The witness has granted it.";
    }
    UNREACHABLE();
}

/* A standby that lost its primary, and may act by itself, does. */
static void look_for_promotion(struct core *core, uint64_t now)
{
    struct core_lease *lease = &core->lease;
    bool by_itself = core->ship.promotion.step == PROMOTION_NONE;

    lease->candidate = false;
    if (core_is_primary(core) || !core_lease_is_needed(core) ||
        (by_itself && !core->options.promote_automatic) || core_is_healing(core) ||
        core_is_rewinding(core) || core_is_adopting(core) || core_is_installing(core) ||
        (by_itself && !core_promotion_is_possible(core)))
        return;
    enum lease_step step = step_of(core, now);
    /* Promised is no more than before, while that runs out. */
    lease->candidate = step == LEASE_WAIT_PROMISE || step == LEASE_ASK || step == LEASE_PROMOTE;
    if (by_itself && step == LEASE_PROMOTE && now >= lease->promote_ns) {
        lease->promote_ns = now + promotion_retry_ms * NS_PER_MS;
        core_promotion_begin(core);
    }
}

/* ---- The witness ---- */

static void say(struct core *core, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct core *core, const char *format, ...)
{
    char before[sizeof core->lease.said];
    va_list arguments;

    memcpy(before, core->lease.said, sizeof before);
    va_start(arguments, format);
    vsnprintf(core->lease.said, sizeof core->lease.said, format, arguments);
    va_end(arguments);
    if (strncmp(before, core->lease.said, said_compared_size) != 0 && core->lease.said[0] != 0)
        log_info("witness_said", LOG_TEXT("text", core->lease.said));
}

/* A record that proves the epoch: what it began with, or, of a region that was handed the reign, or
 * where the signer's certificate does not hold any more, one that this server signs. */
static struct bytes proof_of(struct core *core, const struct epoch_change *change)
{
    struct core_lease *lease = &core->lease;
    const struct region *self = regions_find(state_regions(core->state), core->options.region_id);
    struct error error = {0};

    if (!core_is_primary(core) || core->options.promotion_sign == NULL || self == NULL ||
        (change->record.size != 0 && !lease->proof_needed))
        return change->record;
    if (epoch_equal(lease->proof_epoch, change->to))
        return bytes_of(lease->proof, lease->proof_size);
    lease->proof_size = 0;
    enum status status = core->options.promotion_sign(core->options.context, change, self,
                                                      lease->proof, &lease->proof_size, &error);
    if (status == STATUS_OK)
        lease->proof_epoch = change->to;
    else
        say(core, "The epoch cannot be proved to the witness: %.160s", error.text);
    return status == STATUS_OK ? bytes_of(lease->proof, lease->proof_size) : change->record;
}

/* The regions that may be primary, as far as this leader knows them. */
static void list_regions(struct core *core, struct lease_list *list)
{
    struct core_lease *lease = &core->lease;
    const struct regions *regions = state_regions(core->state);

    *list = (struct lease_list){0};
    /* What is in the log from before has to be applied. */
    if (regions_find(regions, core->options.region_id) == NULL ||
        state_facts(core->state).applied_term != lease->led_term)
        return;
    *list = (struct lease_list){
        .version = regions->version, .term = lease->led_term, .serial = lease->list_serial};
    for (unsigned i = 0; i < regions->count; i++) {
        if (regions->regions[i].id != lease->leaving)
            list->regions[list->count++] = regions->regions[i].id;
    }
}

void core_lease_let_go(struct core *core, uint32_t region)
{
    struct core_lease *lease = &core->lease;
    lease->leaving = region;
    lease->is_let_go = false;
    lease->list_serial++;
    lease->next_ns = 0;
}

bool core_lease_has_let_go(const struct core *core)
{
    return core->lease.is_let_go;
}

/* Whether there is anything to ask or tell, and what. */
static bool question(struct core *core, Strait__WitnessLease *message)
{
    struct core_lease *lease = &core->lease;
    struct epoch epoch = state_epoch(core->state);
    const struct epoch_change *change = state_epoch_change(core->state);

    strait__witness_lease__init(message);
    if (epoch.number == 0 || core_is_rewinding(core) || core_is_adopting(core) ||
        core_is_healing(core))
        return false;
    message->region_id = core->options.region_id;
    message->epoch_number = epoch.number;
    message->epoch_region = epoch.region;
    message->lease_ms = core->options.lease_ms;
    message->candidate = lease->candidate;
    if (change != NULL)
        message->promotion = field_of_bytes(proof_of(core, change));
    /* Fenced, and not followed up yet: it is no primary, and no standby of its own epoch. */
    if (epoch.region == core->options.region_id) {
        list_regions(core, &core->lease.asked_list);
        message->list_version = core->lease.asked_list.version;
        message->list_term = core->lease.asked_list.term;
        message->list_serial = core->lease.asked_list.serial;
        message->regions = core->lease.asked_list.regions;
        message->n_regions = core->lease.asked_list.count;
        return core_is_primary(core);
    }
    /* That its region acknowledges nothing any more, only its one leader can say. */
    return replicated_log_lease_holds(core->log);
}

static void ask_witness(struct core *core, uint64_t now)
{
    struct core_lease *lease = &core->lease;
    Strait__WitnessLease message;

    if (!lease->connected || lease->asking)
        return;
    if (lease->candidate != lease->asked_candidate)
        lease->next_ns = now;
    if (now < lease->next_ns || !question(core, &message))
        return;
    lease->next_ns = now + renew_ns(core);
    lease->asked_ns = now;
    lease->asked_epoch = state_epoch(core->state);
    lease->asked_candidate = lease->candidate;
    /* The witness takes it for given back. */
    if (!lease->candidate)
        lease->granted_ns = 0;
    lease->asked_led_ns = lease->led_ns;
    lease->asking = link_send(core->options.witness_link, FRAME_WITNESS_LEASE, &message.base,
                              core->options.lease_ms / 3, lease) == STATUS_OK;
}

/* The witness grants to one region at a time: nothing is left of what it had granted to another. */
static void granted(struct core *core, const Strait__WitnessLeaseReply *reply)
{
    struct core_lease *lease = &core->lease;
    const struct lease_list *asked = &lease->asked_list;

    lease->said[0] = 0;
    if (!lease->asked_candidate && lease->leaving != 0 && asked->version != 0 &&
        asked->serial == lease->list_serial && reply->list_version == asked->version &&
        reply->list_term == asked->term && reply->list_serial == asked->serial)
        lease->is_let_go = true;
    if (lease->asked_candidate) {
        if (lease->candidate)
            lease_holder_granted(&lease->granted_ns, lease->asked_ns, lease_ns(core));
    } else if (epoch_equal(lease->asked_epoch, lease->epoch) && core_is_primary(core)) {
        lease_holder_granted(&lease->holder.witness_until_ns,
                             counted_from_ns(core, lease->asked_ns), lease_ns(core));
    }
}

static void take_answer(struct core *core, const Strait__WitnessLeaseReply *reply)
{
    struct core_lease *lease = &core->lease;
    uint64_t wait_ms = reply->wait_ms > retry_least_ms ? reply->wait_ms : retry_least_ms;
    uint64_t soon_ns = now_ns(core) + (wait_ms < lease_ms_max ? wait_ms : lease_ms_max) * NS_PER_MS;

    lease->asked_max_ns = reply->asked_max_ms * NS_PER_MS;
    switch (reply->answer) {
    case STRAIT__WITNESS_LEASE_REPLY__ANSWER__GRANTED:
        granted(core, reply);
        return;
    case STRAIT__WITNESS_LEASE_REPLY__ANSWER__NOTED:
        lease->said[0] = 0;
        return;
    case STRAIT__WITNESS_LEASE_REPLY__ANSWER__WAITS:
        say(core, "The witness was restarted: it grants nothing for %" PRIu64 " ms yet.",
            reply->wait_ms);
        break;
    case STRAIT__WITNESS_LEASE_REPLY__ANSWER__HELD:
        say(core, "The witness's grant is region %" PRIu32 "'s, for %" PRIu64 " ms yet.",
            reply->region_id, reply->wait_ms);
        break;
    case STRAIT__WITNESS_LEASE_REPLY__ANSWER__OLD_EPOCH:
        say(core, "The witness knows of epoch %" PRIu64 " of region %" PRIu32 ".",
            reply->epoch_number, reply->epoch_region);
        core_promotion_seen(core, bytes_of_field(reply->promotion));
        return;
    case STRAIT__WITNESS_LEASE_REPLY__ANSWER__TOO_LONG:
        say(core, "The witness grants at most %" PRIu32 " ms: witness.lease is longer here.",
            reply->lease_ms);
        return;
    case STRAIT__WITNESS_LEASE_REPLY__ANSWER__NEVER_HELD:
        say(core, "The primary never asked this witness for a lease: it goes without.");
        return;
    case STRAIT__WITNESS_LEASE_REPLY__ANSWER__UNPROVEN:
        say(core, "The witness has no valid record of epoch %" PRIu64 ": its log says why.",
            lease->asked_epoch.number);
        /* Once more, with one that is signed now. */
        if (!lease->proof_needed)
            lease->next_ns = 0;
        lease->proof_needed = true;
        return;
    case STRAIT__WITNESS_LEASE_REPLY__ANSWER__REMOVED:
        say(core, "The witness grants this region nothing: the primary has taken it out of the "
                  "list of regions.");
        return;
    default:
        say(core, "The witness's answer is not understood.");
        return;
    }
    if (soon_ns < lease->next_ns)
        lease->next_ns = soon_ns;
}

static void on_replied(void *context, void *request, enum status status,
                       const ProtobufCMessage *message)
{
    struct core *core = context;
    struct core_lease *lease = &core->lease;

    (void)request;
    lease->asking = false;
    /* Who leads now did not ask that. */
    if (lease->led_ns == 0 || lease->asked_led_ns != lease->led_ns)
        return;
    if (status == STATUS_OK && message != NULL)
        take_answer(core, (const Strait__WitnessLeaseReply *)(const void *)message);
    else if (status == STATUS_BUSY) /* it writes another epoch, for a moment */
        lease->next_ns = now_ns(core) + retry_least_ms * NS_PER_MS;
    else
        say(core, "The witness did not answer: %s.", status_text(status));
}

static void on_connected(void *context, const char *endpoint)
{
    struct core *core = context;
    core->lease.connected = true;
    core->lease.next_ns = 0;
    log_info("witness_connected", LOG_TEXT("endpoint", endpoint));
}

static void on_disconnected(void *context, const char *reason)
{
    struct core *core = context;
    core->lease.connected = false;
    say(core, "The witness is not connected: %.160s", reason);
}

/* ---- Turns ---- */

/* What was granted or promised was by, or to, an earlier leadership or epoch. */
static void look_at_role(struct core *core, uint64_t now)
{
    struct core_lease *lease = &core->lease;
    bool leads = core_leads(core);
    uint64_t term = replicated_log_term(core->log);
    struct epoch epoch = state_epoch(core->state);

    if (leads != (lease->led_ns != 0) || (leads && lease->led_term != term)) {
        lease->led_ns = leads ? now : 0;
        lease->led_term = term;
        lease->holder = (struct lease_holder){0};
        lease->granted_ns = 0;
        lease->promised_ns = 0;
        lease->source_holder = 0;
        lease->candidate = false;
        lease->waived = (struct epoch){0};
        lease->leaving = 0;
        lease->is_let_go = false;
        lease->list_serial = 1;
        lease->next_ns = 0;
        link_endpoints(core->options.witness_link, core->options.witnesses,
                       leads ? core->options.witnesses_count : 0);
    }
    if (!epoch_equal(epoch, lease->epoch)) {
        lease->epoch = epoch;
        if (!PLANTED(lease_kept_over_epochs))
            lease->holder = (struct lease_holder){0};
        lease->granted_ns = 0;
        lease->asked_max_ns = 0;
        lease->proof_epoch = (struct epoch){0};
        lease->proof_needed = false;
        lease->next_ns = 0;
    }
    if (state_regions(core->state)->version != lease->list_version) {
        lease->list_version = state_regions(core->state)->version;
        lease->next_ns = 0;
        /* Who is removed is no voter any more, whatever it has granted. */
        if (regions_find(state_regions(core->state), lease->standby) == NULL)
            lease->holder.standby_until_ns = 0;
    }
    if (lease->waived.number != 0 &&
        now < lease_holder_until_ns(&lease->holder, state_regions(core->state)->count))
        lease->waived = (struct epoch){0};
}

/* Each change is said once. */
static void tell(struct core *core)
{
    struct core_lease *lease = &core->lease;
    bool acts = lease->led_ns != 0 && core_is_primary(core) && core_lease_is_needed(core);
    bool held = acts && core_lease_is_held(core);

    if (acts == lease->told_acts && held == lease->told_held)
        return;
    lease->told_acts = acts;
    lease->told_held = held;
    if (acts && held)
        log_info("lease_held");
    else if (acts)
        log_warn("lease_out", LOG_TEXT("text", "no writes and no linearizable reads are answered "
                                               "until the witness or the standby grants one"));
    core->remote.look = true;
    core->fresh.look = true;
}

static void set_timer(struct core *core, uint64_t now)
{
    struct core_lease *lease = &core->lease;
    uint64_t due_ns = lease->next_ns > now ? lease->next_ns : now + renew_ns(core);

    if (lease->led_ns == 0 && list_is_empty(&lease->waiting)) {
        io_timer_stop(core->options.io, &lease->timer);
        return;
    }
    if (lease->promised_ns > now && lease->candidate && lease->promised_ns < due_ns)
        due_ns = lease->promised_ns;
    if (!list_is_empty(&lease->waiting)) {
        struct lease_wait *wait = LIST_ENTRY(list_first(&lease->waiting), struct lease_wait, link);
        due_ns = wait->deadline_ns < due_ns ? wait->deadline_ns : due_ns;
    }
    io_timer_start(core->options.io, &lease->timer, due_ns);
}

void core_lease_turn(struct core *core)
{
    if (!core->lease.open || core->failed)
        return;
    uint64_t now = now_ns(core);
    look_at_role(core, now);
    if (core->lease.led_ns != 0) {
        look_for_promotion(core, now);
        ask_witness(core, now);
    }
    answer_waiting(core, now);
    tell(core);
    set_timer(core, now);
}

/* ---- For administrators ---- */

Strait__RegionLease *core_lease_message(struct core *core, struct arena *arena)
{
    const struct core_lease *lease = &core->lease;
    uint64_t now = now_ns(core);

    if (!lease->open)
        return NULL;
    Strait__RegionLease *message = arena_alloc_zeroed(arena, 1, sizeof *message);
    if (message == NULL)
        return NULL;
    strait__region_lease__init(message);
    message->held = core_is_primary(core) && core_lease_is_held(core);
    message->witness_ms = left_ms(lease->holder.witness_until_ns, now);
    message->standby_ms = left_ms(lease->holder.standby_until_ns, now);
    message->waived = lease->waived.number != 0;
    message->connected = lease->connected;
    message->promised_ms = left_ms(lease->promised_ns, now);
    message->automatic = core->options.promote_automatic;
    message->text = (char *)(uintptr_t)core_lease_step_text(core);
    message->lease_ms = core->options.lease_ms;
    return message;
}

/* ---- Opening and closing ---- */

static void on_time(struct io_timer *timer)
{
    (void)timer; /* core_lease_turn() does what is due */
}

void core_lease_open(struct core *core)
{
    struct core_lease *lease = &core->lease;
    const struct link_user user = {.connected = on_connected,
                                   .disconnected = on_disconnected,
                                   .replied = on_replied,
                                   .context = core};

    *lease = (struct core_lease){.timer = {.fired = on_time, .context = core},
                                 .open = core->options.witness_link != NULL,
                                 .holder_id = core->options.seed | 1};
    list_init(&lease->waiting);
    if (lease->open)
        link_attach(core->options.witness_link, &user);
}

void core_lease_close(struct core *core)
{
    ASSERT(list_is_empty(&core->lease.waiting));
    io_timer_stop(core->options.io, &core->lease.timer);
    if (core->lease.open)
        link_attach(core->options.witness_link, NULL);
    core->lease.open = false;
}
