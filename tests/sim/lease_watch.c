/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/lease_watch.h"

#include <inttypes.h>
#include <stdio.h>

#include "proto/base/assert.h"
#include "proto/message.h"
#include "tests/sim/pair.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

enum {
    drift_per_million = 400, /* of each clock, as the nemesis has it */
    asked_s = 20,            /* a call's time, and the longest way of a message there */
    turn_us = 1000,          /* more than a turn of the witness's takes */
    lasts_text_size = 80,
};

/* How long what a voter has granted lasts at the least. */
static uint64_t least_ns(const struct pair *pair)
{
    uint64_t lease_ns = pair->lease_ms * NS_PER_MS;
    return lease_ns - lease_ns / 1000000 * drift_per_million;
}

static bool lasts(const struct pair *pair, uint64_t at_ns, uint64_t now_ns)
{
    return at_ns != 0 && now_ns <= at_ns + least_ns(pair);
}

/* ---- Voters ---- */

void lease_watch_pulls(struct pair *pair, unsigned side, const Strait__RegionPull *pull,
                       uint64_t now_ns)
{
    const Strait__RegionPosition *at = pull->acknowledged;
    if (pair->has_witness && pull->lease_holder != 0 && at != NULL)
        pair->leases.promised[side] = (struct lease_watch_promise){
            .at_ns = now_ns, .epoch = {.number = at->epoch_number, .region = at->epoch_region}};
}

static void granted(struct pair *pair, const Strait__WitnessLease *asked, uint64_t now_ns)
{
    struct lease_watch *watch = &pair->leases;
    unsigned side = asked->region_id - 1;
    const struct lease_watch_grant *other = &watch->witness[1 - side];
    const struct lease_watch_grant grant = {
        .at_ns = now_ns,
        .epoch = {.number = asked->epoch_number, .region = asked->epoch_region},
        .candidate = asked->candidate,
    };

    if (lasts(pair, other->at_ns, now_ns + turn_us * 1000))
        world_fail(&pair->worlds[0],
                   "the witness grants a lease to region %c %" PRIu64
                   " ms after it granted one to the other",
                   'a' + (int)side, (now_ns - other->at_ns) / NS_PER_MS);
    for (unsigned i = 0; i < watch->epochs_count; i++)
        if (watch->epochs[i].epoch.number == grant.epoch.number &&
            watch->epochs[i].epoch.region != grant.epoch.region)
            world_fail(&pair->worlds[0],
                       "the witness grants epoch %" PRIu64 " of region %c, which is the other's",
                       grant.epoch.number, 'a' + (int)grant.epoch.region - 1);
    watch->witness[side] = grant;
    if (grant.candidate)
        watch->permitted[side] = grant;
    watch->grants_count++;
}

void lease_watch_answered(struct pair *pair, const struct request *request, uint64_t now_ns)
{
    const Strait__WitnessLease *asked = REQUEST_MESSAGE(request, WitnessLease);
    struct arena arena;
    ProtobufCMessage *message;

    if (request->type != FRAME_WITNESS_LEASE || request->status != STATUS_OK)
        return;
    ASSERT(asked->region_id == 1 || asked->region_id == 2);
    message_arena_init(&arena, request->reply.size);
    enum status status = message_decode(
        &strait__witness_lease_reply__descriptor,
        bytes_of(request->reply.data + frame_header_size, request->reply.size - frame_header_size),
        false, &arena, &message);
    ASSERT(status == STATUS_OK);
    switch (((const Strait__WitnessLeaseReply *)(const void *)message)->answer) {
    case STRAIT__WITNESS_LEASE_REPLY__ANSWER__GRANTED:
        granted(pair, asked, now_ns);
        break;
    case STRAIT__WITNESS_LEASE_REPLY__ANSWER__NOTED:
        /* Its leader says that the epoch is another's: nothing there acknowledges any more. */
        pair->leases.witness[asked->region_id - 1] = (struct lease_watch_grant){0};
        break;
    default:
        pair->leases.refusals_count++;
    }
    arena_free(&arena);
}

/* ---- Promotions ---- */

void lease_watch_asked(struct pair *pair, unsigned side, bool force)
{
    uint64_t until_ns = pair_now_ns(pair) + asked_s * NS_PER_S;
    pair->leases.asked_until_ns[side] = until_ns;
    if (force)
        pair->leases.forced_until_ns[side] = until_ns;
}

static const struct lease_watch_epoch *find(const struct lease_watch *watch, struct epoch epoch)
{
    for (unsigned i = watch->epochs_count; i > 0; i--)
        if (epoch_equal(watch->epochs[i - 1].epoch, epoch))
            return &watch->epochs[i - 1];
    return NULL;
}

static void look_at_promotion(struct pair *pair, struct sim_server *server,
                              const struct epoch_end *end, uint64_t now_ns)
{
    struct lease_watch *watch = &pair->leases;
    unsigned side = end->next.region - 1;
    const struct lease_watch_grant *permitted = &watch->permitted[side];

    watch->automatic_count += now_ns > watch->asked_until_ns[side];
    if (permitted->at_ns == 0 || !epoch_equal(permitted->epoch, end->epoch))
        world_fail(server->world, "region %c was promoted, and the witness did not permit it",
                   'a' + (int)side);
    if (lasts(pair, watch->promised[side].at_ns, now_ns))
        world_fail(server->world, "region %c was promoted %" PRIu64 " ms after it promised not to",
                   'a' + (int)side, (now_ns - watch->promised[side].at_ns) / NS_PER_MS);
}

void lease_watch_began(struct pair *pair, struct sim_server *server, struct epoch epoch)
{
    struct lease_watch *watch = &pair->leases;
    uint64_t now_ns = server->world->now_ns;
    const struct core_region_facts facts = core_region_facts(server->core);
    const struct epoch_end *end = facts.ends_count == 0 ? NULL : &facts.ends[facts.ends_count - 1];

    if (!pair->has_witness || find(watch, epoch) != NULL)
        return;
    ASSERT(watch->epochs_count < lease_watch_epochs_max);
    struct lease_watch_epoch *its = &watch->epochs[watch->epochs_count++];
    *its = (struct lease_watch_epoch){.epoch = epoch};
    if (!watch->is_active || end == NULL || end->kind != EPOCH_PROMOTE ||
        !epoch_equal(end->next, epoch))
        return;
    its->is_forced = now_ns <= watch->forced_until_ns[epoch.region - 1];
    if (!its->is_forced)
        look_at_promotion(pair, server, end, now_ns);
}

bool lease_watch_is_forced(const struct pair *pair, struct epoch epoch)
{
    const struct lease_watch_epoch *its = find(&pair->leases, epoch);
    return its == NULL || its->is_forced;
}

bool lease_watch_is_acknowledged(const struct pair *pair, struct epoch epoch)
{
    const struct lease_watch_epoch *its = find(&pair->leases, epoch);
    return its != NULL && its->first_ns != 0;
}

/* ---- Acknowledgements ---- */

static const Strait__Position *position_of(enum frame_type type, const ProtobufCMessage *message)
{
    switch (type) {
    case FRAME_COMMIT:
        return ((const Strait__CommitReply *)(const void *)message)->position;
    case FRAME_GET:
        return ((const Strait__GetReply *)(const void *)message)->position;
    case FRAME_SCAN:
        return ((const Strait__ScanReply *)(const void *)message)->position;
    default:
        UNREACHABLE();
    }
}

/* Of what it was true. */
static struct epoch epoch_of(const struct request *request)
{
    struct arena arena;
    ProtobufCMessage *message;
    struct epoch epoch = {0};

    message_arena_init(&arena, request->reply.size);
    enum status status = message_decode(
        client_reply_descriptor(request->type),
        bytes_of(request->reply.data + frame_header_size, request->reply.size - frame_header_size),
        false, &arena, &message);
    ASSERT(status == STATUS_OK);
    const Strait__Position *position = position_of(request->type, message);
    if (position != NULL)
        epoch = (struct epoch){.number = position->epoch_number, .region = position->epoch_region};
    arena_free(&arena);
    return epoch;
}

static const char *tell_age(uint64_t at_ns, uint64_t now_ns, const struct epoch *epoch,
                            char text[lasts_text_size])
{
    if (at_ns == 0)
        snprintf(text, lasts_text_size, "none");
    else
        snprintf(text, lasts_text_size, "of epoch %" PRIu64 ", %" PRIu64 " ms old", epoch->number,
                 (now_ns - at_ns) / NS_PER_MS);
    return text;
}

/* Whether a voter permits it. */
static void look_at_voters(struct pair *pair, struct sim_server *server, struct epoch epoch,
                           uint64_t now_ns)
{
    struct lease_watch *watch = &pair->leases;
    unsigned side = server->world->side;
    const struct lease_watch_grant *grant = &watch->witness[side];
    const struct lease_watch_promise *promise = &watch->promised[1 - side];
    bool by_witness =
        !grant->candidate && epoch_equal(grant->epoch, epoch) && lasts(pair, grant->at_ns, now_ns);
    bool by_standby = epoch_equal(promise->epoch, epoch) && lasts(pair, promise->at_ns, now_ns);

    watch->acknowledged_count++;
    watch->by_witness_count += by_witness && !by_standby;
    watch->by_standby_count += by_standby && !by_witness;
    if (by_witness || by_standby)
        return;
    char witness_text[lasts_text_size];
    char standby_text[lasts_text_size];
    world_fail(server->world,
               "%c%u acknowledges in epoch (%" PRIu64 ", %" PRIu32 ") without a lease of %" PRIu64
               " ms: the witness's is %s, the standby's %s",
               'a' + (int)side, server->index, epoch.number, epoch.region, pair->lease_ms,
               tell_age(grant->at_ns, now_ns, &grant->epoch, witness_text),
               tell_age(promise->at_ns, now_ns, &promise->epoch, standby_text));
}

/* Whether one of a later epoch was acknowledged by then. */
static void look_at_order(struct pair *pair, struct sim_server *server, struct epoch epoch,
                          uint64_t now_ns)
{
    const struct lease_watch *watch = &pair->leases;
    const struct lease_watch_epoch *later = NULL;

    for (unsigned i = 0; i < watch->epochs_count; i++) {
        const struct lease_watch_epoch *its = &watch->epochs[i];
        if (epoch_compare(its->epoch, epoch) <= 0)
            continue;
        if (its->is_forced)
            return;
        if (its->first_ns != 0 && its->first_ns < now_ns && later == NULL)
            later = its;
    }
    if (later != NULL)
        world_fail(server->world,
                   "%c%u acknowledges in epoch (%" PRIu64 ", %" PRIu32 ") %" PRIu64
                   " ms after the first acknowledgement in epoch (%" PRIu64 ", %" PRIu32 ")",
                   'a' + (int)server->world->side, server->index, epoch.number, epoch.region,
                   (now_ns - later->first_ns) / NS_PER_MS, later->epoch.number,
                   later->epoch.region);
}

/* It was decided after its turn began, and by the turn's end: what must not be too late is taken
 * for as early as it can have been, and what must not be too early for as late. */
void lease_watch_acknowledges(struct pair *pair, struct sim_server *server,
                              const struct request *request)
{
    struct lease_watch *watch = &pair->leases;
    const struct chronicle_last *last = &pair->chronicle.last[server->world->side][server->index];

    if (!pair->has_witness || !watch->is_active)
        return;
    struct epoch epoch = epoch_of(request);
    if (epoch.number == 0)
        return;
    /* By force an old primary goes on, too, whoever was promoted meanwhile. */
    if (!(last->is_waived && last->life == server->lives) &&
        !core_region_facts(server->core).lease_is_waived) {
        look_at_voters(pair, server, epoch, server->world->now_ns);
        look_at_order(pair, server, epoch, server->world->now_ns);
    }
    const struct lease_watch_epoch *its = find(watch, epoch);
    if (its != NULL && its->first_ns == 0)
        watch->epochs[its - watch->epochs].first_ns = sim_disk_now_ns(server->disk);
}
