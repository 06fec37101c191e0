/* SPDX-License-Identifier: Apache-2.0 */
/* The herald of a promotion: the new primary's leader tells every region that it has not heard
 * since, and above all the old primary, which may come back and know of nothing.
 *
 * One region after another, over a link of its own: connect, tell (a pull that asks for nothing and
 * carries the signed record), hang up. Whoever follows the new epoch pulls, and is heard by that:
 * then there is nothing left to tell. */
#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "proto/message.h"
#include "server/core_internal.h"

enum {
    herald_heard_ms = 5000, /* a region that pulled within that knows */
    herald_turn_ms = 3000,  /* for one region, however slow */
    herald_answer_ms = 2000,
};

#define NS_PER_MS 1000000ULL

static void rest(struct core_herald *herald, struct link *link)
{
    if (herald->region == 0)
        return;
    herald->region = 0;
    link_endpoints(link, NULL, 0);
}

static bool is_heard(struct core *core, uint32_t region)
{
    struct source_region facts;
    uint64_t now = io_boot_ns(core->options.io);
    return source_region_find(core->ship.source, region, &facts) && facts.heard &&
           epoch_equal(facts.acknowledged.epoch, state_epoch(core->state)) &&
           now - facts.heard_ns < herald_heard_ms * NS_PER_MS;
}

/* The next one after that which was told last, in the order of the list; NULL: all know. */
static const struct region *next_region(struct core *core)
{
    const struct regions *regions = state_regions(core->state);
    const struct region *first = NULL;

    for (unsigned i = 0; i < regions->count; i++) {
        const struct region *region = &regions->regions[i];
        if (region->id == core->options.region_id || region->endpoints_count == 0 ||
            is_heard(core, region->id))
            continue;
        if (region->id > core->ship.herald.told)
            return region;
        first = first == NULL ? region : first;
    }
    return first;
}

static bool has_news(const struct core *core)
{
    const struct epoch_change *change = state_epoch_change(core->state);
    return core_leads(core) && core_is_primary(core) && change != NULL && change->record.size != 0;
}

void core_herald_turn(struct core *core)
{
    struct core_herald *herald = &core->ship.herald;
    const char *endpoints[limit_region_endpoints_count];
    uint64_t now = io_boot_ns(core->options.io);

    if (core->options.herald_link == NULL)
        return;
    if (herald->region != 0 && !has_news(core))
        rest(herald, core->options.herald_link);
    if (!has_news(core) || (herald->region != 0 && now < herald->until_ns))
        return;
    const struct region *region = next_region(core);
    rest(herald, core->options.herald_link);
    if (region == NULL)
        return;
    for (unsigned i = 0; i < region->endpoints_count; i++)
        endpoints[i] = region->endpoints[i];
    herald->region = region->id;
    herald->told = region->id;
    herald->until_ns = now + herald_turn_ms * NS_PER_MS;
    link_endpoints(core->options.herald_link, endpoints, region->endpoints_count);
}

static void on_connected(void *context, const char *endpoint)
{
    struct core *core = context;
    Strait__RegionPull pull = STRAIT__REGION_PULL__INIT;
    Strait__RegionPosition acknowledged;
    uint8_t chain_space[region_chain_size];
    struct region_position position = core_region_position(core);

    if (core->ship.herald.region == 0 || !has_news(core))
        return;
    const struct bytes record = state_epoch_change(core->state)->record;
    region_position_to_message(&position, chain_space, &acknowledged);
    pull.region_id = core->options.region_id;
    pull.cursor = core->options.seed | 1;
    pull.acknowledged = &acknowledged;
    pull.promotion = field_of_bytes(record);
    pull.cluster_version_max = core_version_supported(core);
    /* Not taken: another turn comes. */
    if (link_send(core->options.herald_link, FRAME_REGION_PULL, &pull.base, herald_answer_ms,
                  &core->ship.herald) == STATUS_OK)
        log_info("promotion_told", LOG_U64("region", core->ship.herald.region),
                 LOG_TEXT("endpoint", endpoint));
}

static void on_disconnected(void *context, const char *reason)
{
    (void)context;
    (void)reason;
}

/* Whatever it says: what it does next shows in its pulls. A refusal with NOT_LEADER is followed by
 * the link. */
static void on_replied(void *context, void *request, enum status status,
                       const ProtobufCMessage *message)
{
    (void)context;
    (void)request;
    (void)status;
    (void)message;
}

void core_herald_open(struct core *core)
{
    const struct link_user user = {.connected = on_connected,
                                   .disconnected = on_disconnected,
                                   .replied = on_replied,
                                   .context = core};
    if (core->options.herald_link == NULL)
        return;
    core->ship.herald.open = true;
    link_attach(core->options.herald_link, &user);
}

void core_herald_close(struct core *core)
{
    if (core->ship.herald.open)
        link_attach(core->options.herald_link, NULL);
    core->ship.herald.open = false;
}
