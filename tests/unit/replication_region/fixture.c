/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/replication_region/fixture.h"

#include <stdlib.h>

#include "proto/message.h"

/* ---- Time ---- */

uint64_t world_now_ns(const struct world *world)
{
    return io_boot_ns(world->io);
}

/* ---- The primary's log ---- */

static uint64_t item_add(struct world *world, const struct entry *entry)
{
    ck_assert_uint_lt(world->last_index + 1, world_entries_max);
    struct item *item = &world->items[++world->last_index];
    item->size = entry_size(entry);
    item->bytes = malloc(item->size);
    ck_assert_ptr_nonnull(item->bytes);
    entry_encode(entry, item->bytes);
    world->applied_index = world->last_index;
    return world->last_index;
}

static void tell_applied(struct world *world)
{
    if (world->source != NULL)
        source_applied(world->source, &world->position, world->applied_index,
                       world->items[world->applied_index].size);
}

/* The entry at the log's end is the stream's next. */
static void stream_add(struct world *world, struct epoch epoch, uint64_t version)
{
    const struct item *item = &world->items[world->last_index];
    struct hash128 chain = hash128(bytes_of(item->bytes, item->size));
    const struct hash128 *before = &world->chains[version - 1];
    chain.low ^= hash_u64(before->low);
    chain.high += before->high;
    world->stream[version] = world->last_index;
    world->chains[version] = chain;
    world->applied_ns[version] = world_now_ns(world);
    world->position = (struct region_position){.epoch = epoch,
                                               .version = version,
                                               .log_time_ns = world->last_index,
                                               .chain_known = true,
                                               .chain = chain};
    tell_applied(world);
}

void world_commit(struct world *world, size_t size)
{
    uint8_t *body = malloc(size + 1);
    ck_assert_ptr_nonnull(body);
    memset(body, 'b', size);
    generator_fill(&world->generator, body, size < 24 ? size : 24);
    const struct entry entry = {.kind = ENTRY_COMMIT,
                                .epoch_number = world->position.epoch.number,
                                .epoch_region = world->position.epoch.region,
                                .log_time_ns = world->last_index + 1,
                                .version = world->position.version + 1,
                                .identity = bytes_of_text("app"),
                                .body = bytes_of(body, size)};
    item_add(world, &entry);
    stream_add(world, world->position.epoch, entry.version);
    free(body);
}

void world_add_regional(struct world *world)
{
    const struct entry entry = {.kind = ENTRY_NOOP, .log_time_ns = world->last_index + 1};
    item_add(world, &entry);
    tell_applied(world);
}

void world_add_repeated(struct world *world, uint64_t version)
{
    const struct item *item = &world->items[world->stream[version]];
    struct entry entry;
    ck_assert_int_eq(entry_decode(bytes_of(item->bytes, item->size), &entry), STATUS_OK);
    item_add(world, &entry);
    tell_applied(world);
}

void world_add_foreign(struct world *world, struct epoch epoch, uint64_t version)
{
    const struct entry entry = {.kind = ENTRY_COMMIT,
                                .epoch_number = epoch.number,
                                .epoch_region = epoch.region,
                                .log_time_ns = world->last_index + 1,
                                .version = version,
                                .identity = bytes_of_text("other"),
                                .body = bytes_of_text("of another history")};
    item_add(world, &entry);
    tell_applied(world);
}

/* `last` becomes the end of the newest epoch, and an entry begins the next. */
static void begin_epoch(struct world *world, enum epoch_change_kind kind, uint64_t last,
                        struct epoch next)
{
    struct region_epoch_span *span = &world->epochs[world->epochs_count - 1];
    const struct epoch_change change = {.kind = kind,
                                        .from = span->epoch,
                                        .to = next,
                                        .version = last,
                                        .chain = world->chains[last]};
    uint8_t body[epoch_change_size_max];
    struct epoch stamp = kind == EPOCH_GRANT ? span->epoch : next;

    epoch_change_encode(&change, body);
    const struct entry entry = {.kind = ENTRY_EPOCH,
                                .epoch_number = stamp.number,
                                .epoch_region = stamp.region,
                                .log_time_ns = world->last_index + 1,
                                .version = last + 1,
                                .body = bytes_of(body, epoch_change_size(&change))};
    span->last = last;
    span->next = next;
    ck_assert_uint_lt(world->epochs_count, world_epochs_max);
    world->epochs[world->epochs_count++] =
        (struct region_epoch_span){.epoch = next, .last = UINT64_MAX};
    item_add(world, &entry);
    stream_add(world, next, last + 1);
}

void world_promote(struct world *world, uint64_t last, struct epoch next)
{
    if (last < world->position.version) {
        /* The state goes back, which is an entry of the region's own. */
        world->position.version = last;
        world->position.chain = world->chains[last];
        world_add_regional(world);
    }
    begin_epoch(world, EPOCH_PROMOTE, last, next);
}

void world_grant(struct world *world, struct epoch next)
{
    begin_epoch(world, EPOCH_GRANT, world->position.version, next);
}

/* ---- The source ---- */

static enum status entry_at(void *context, unsigned reader, uint64_t index, size_t ahead_size,
                            struct bytes *bytes)
{
    struct world *world = context;

    ck_assert_uint_le(index, world->applied_index);
    ck_assert_uint_gt(ahead_size, 0);
    *bytes = (struct bytes){0};
    if (world->reader_due_ns[reader] != 0)
        return STATUS_AGAIN;
    if (index < world->first_index)
        return STATUS_NOT_FOUND;
    if (world->reads_wait &&
        (index < world->reader_index[reader] || index >= world->reader_until[reader])) {
        world->reader_index[reader] = index;
        world->reader_until[reader] = index + 1 + ahead_size / 256;
        world->reader_due_ns[reader] = world_now_ns(world) + 1000 * 1000;
        return STATUS_AGAIN;
    }
    *bytes = bytes_of(world->items[index].bytes, world->items[index].size);
    return STATUS_OK;
}

static uint64_t first_index(void *context)
{
    return ((const struct world *)context)->first_index;
}

static void reader_end(void *context, unsigned reader)
{
    struct world *world = context;
    world->reader_until[reader] = 0;
}

static bool epoch_find(void *context, struct epoch wanted, struct region_epoch_span *span)
{
    const struct world *world = context;
    if (wanted.number == 0) {
        *span = (struct region_epoch_span){.last = 0, .next = world->epochs[0].epoch};
        return true;
    }
    for (unsigned i = world->epochs_count; i-- > 0;) {
        if (epoch_compare(world->epochs[i].epoch, wanted) <= 0) {
            *span = world->epochs[i];
            return true;
        }
    }
    return false;
}

static bool chain_at(void *context, uint64_t version, struct hash128 *chain)
{
    const struct world *world = context;
    if (version == 0 || version > world->position.version)
        return false;
    *chain = world->chains[version];
    return true;
}

static bool age_find(void *context, uint64_t *age_ns)
{
    const struct world *world = context;
    *age_ns = world->age_ns;
    return !world->is_deposed;
}

static void on_heard(void *context, uint32_t region)
{
    struct world *world = context;
    ck_assert(region == standby_id || region == downstream_id);
    world->heard_count++;
}

static void keep_encoded(struct exchange *exchange, const ProtobufCMessage *message)
{
    free(exchange->bytes);
    exchange->size = protobuf_c_message_get_packed_size(message);
    exchange->bytes = malloc(exchange->size + 1);
    ck_assert_ptr_nonnull(exchange->bytes);
    ck_assert_uint_eq(protobuf_c_message_pack(message, exchange->bytes), exchange->size);
    ck_assert_uint_le(exchange->size, limit_frame_size);
}

static void on_answer(void *context, void *request, enum status status,
                      const ProtobufCMessage *message)
{
    struct world *world = context;
    struct exchange *exchange = request;

    ck_assert(exchange->used && exchange->arrived && !exchange->answered);
    ck_assert_ptr_nonnull(message);
    exchange->answered = true;
    exchange->status = status;
    exchange->has_message = true;
    keep_encoded(exchange, message);
    exchange->due_ns =
        world_now_ns(world) + world->delay_ns +
        (world->jitter_ns == 0 ? 0 : generator_below(&world->generator, world->jitter_ns));
}

void world_restart_source(struct world *world)
{
    const uint32_t regions[] = {standby_id};
    if (world->source != NULL)
        source_free(world->source);
    memset(world->reader_due_ns, 0, sizeof world->reader_due_ns);
    memset(world->reader_until, 0, sizeof world->reader_until);
    ck_assert_int_eq(source_create(&world->source_options, &world->source), STATUS_OK);
    source_reset(world->source, &world->position, world->applied_index);
    source_regions(world->source, regions, 1);
    source_lead(world->source, true, NULL);
}

/* ---- The link ---- */

static struct world *world_of(struct link *link)
{
    return (struct world *)(void *)link;
}

static void link_attach_world(struct link *link, const struct link_user *user)
{
    world_of(link)->user = user == NULL ? (struct link_user){0} : *user;
}

static enum status link_send_world(struct link *link, enum frame_type type,
                                   const ProtobufCMessage *message, uint32_t timeout_ms,
                                   void *request)
{
    struct world *world = world_of(link);
    uint64_t due_ns = world_now_ns(world) + world->delay_ns;

    ck_assert_int_eq(type, FRAME_REGION_PULL);
    ck_assert_uint_eq(timeout_ms, 0);
    if (!world->connected)
        return STATUS_UNREACHABLE;
    for (unsigned i = 0; i < world_exchanges_max; i++) {
        struct exchange *exchange = &world->exchanges[i];
        if (exchange->used)
            continue;
        /* Requests of one connection come in their order. */
        world->last_due_ns = due_ns > world->last_due_ns ? due_ns : world->last_due_ns + 1;
        *exchange =
            (struct exchange){.used = true, .request = request, .due_ns = world->last_due_ns};
        keep_encoded(exchange, message);
        ck_assert_uint_le(exchange->size, limit_request_pull_size);
        return STATUS_OK;
    }
    return STATUS_BUSY;
}

static void link_leave_world(struct link *link, const char *reason)
{
    ck_assert_ptr_nonnull(reason);
    world_of(link)->leaves_count++;
}

static const struct link_operations operations = {
    .attach = link_attach_world,
    .send = link_send_world,
    .leave = link_leave_world,
};

static void exchange_end(struct exchange *exchange)
{
    free(exchange->bytes);
    *exchange = (struct exchange){0};
}

void world_connect(struct world *world)
{
    if (world->connected)
        return;
    world->connected = true;
    world->last_due_ns = 0;
    if (world->user.connected != NULL)
        world->user.connected(world->user.context, "192.0.2.1:7411");
}

void world_break(struct world *world)
{
    if (!world->connected)
        return;
    world->connected = false;
    for (unsigned i = 0; i < world_exchanges_max; i++) {
        struct exchange *exchange = &world->exchanges[i];
        if (!exchange->used || exchange->lost)
            continue;
        if (world->user.replied != NULL)
            world->user.replied(world->user.context, exchange->request, STATUS_DISCONNECTED, NULL);
        exchange->lost = true;
    }
    if (world->user.disconnected != NULL)
        world->user.disconnected(world->user.context, "cut");
}

static void deliver_pull(struct world *world, struct exchange *exchange)
{
    struct arena arena;
    ProtobufCMessage *message;

    message_arena_init(&arena, exchange->size);
    ck_assert_int_eq(message_decode(&strait__region_pull__descriptor,
                                    bytes_of(exchange->bytes, exchange->size), true, &arena,
                                    &message),
                     STATUS_OK);
    exchange->arrived = true;
    exchange->due_ns = UINT64_MAX;
    source_pull(world->source, (const Strait__RegionPull *)(const void *)message, exchange);
    arena_free(&arena);
}

static void deliver_answer(struct world *world, struct exchange *exchange)
{
    const struct exchange answered = *exchange;
    struct arena arena;
    ProtobufCMessage *message;
    const ProtobufCMessageDescriptor *descriptor = answered.status == STATUS_OK
                                                       ? &strait__region_pull_reply__descriptor
                                                       : &strait__refusal__descriptor;
    message_arena_init(&arena, answered.size);
    ck_assert_int_eq(message_decode(descriptor, bytes_of(answered.bytes, answered.size), false,
                                    &arena, &message),
                     STATUS_OK);
    *exchange = (struct exchange){0};
    if (!answered.lost && world->user.replied != NULL)
        world->user.replied(world->user.context, answered.request, answered.status, message);
    arena_free(&arena);
    free(answered.bytes);
}

static void deliver(struct world *world)
{
    uint64_t now = world_now_ns(world);
    for (;;) {
        struct exchange *first = NULL;
        for (unsigned i = 0; i < world_exchanges_max; i++) {
            struct exchange *exchange = &world->exchanges[i];
            if (exchange->used && exchange->due_ns <= now &&
                (first == NULL || exchange->due_ns < first->due_ns))
                first = exchange;
        }
        if (first == NULL)
            return;
        if (!first->arrived && first->lost)
            exchange_end(first);
        else if (!first->arrived)
            deliver_pull(world, first);
        else
            deliver_answer(world, first);
    }
}

/* ---- The standby ---- */

static void on_standing(void *context, struct receiver_standing *standing)
{
    const struct world *world = context;
    *standing = (struct receiver_standing){.applied = world->state,
                                           .ready = world->standby_ready,
                                           .oldest_snapshot = world->state.version,
                                           .cluster_version_max = 1};
}

/* Every proposal is the stream's entry, and follows the one before or the state. */
static enum status on_propose(void *context, struct bytes bytes)
{
    struct world *world = context;
    struct entry entry;

    ck_assert_int_eq(entry_decode(bytes, &entry), STATUS_OK);
    ck_assert_uint_le(entry.version, world->position.version);
    const struct item *item = &world->items[world->stream[entry.version]];
    ck_assert(bytes_equal(bytes, bytes_of(item->bytes, item->size)));
    if (generator_below(&world->generator, 100) < world->busy_percent)
        return STATUS_BUSY;
    if (entry.version != world->proposed_newest + 1)
        ck_assert_uint_le(entry.version, world->state.version + 1);
    world->proposed_newest = entry.version;
    world->proposals_count++;
    ck_assert_uint_lt(world->proposed_last, world_entries_max);
    world->proposed[world->proposed_last] = entry.version;
    world->proposed_due_ns[world->proposed_last++] = world_now_ns(world) + world->apply_ns;
    return STATUS_OK;
}

static void on_trouble(void *context, enum receiver_trouble trouble,
                       const struct region_position *common, struct bytes promotion)
{
    struct world *world = context;
    ck_assert(promotion.size == 0 || promotion.data != NULL);
    world->trouble = trouble;
    world->troubles_count++;
    world->common = *common;
}

static void apply(struct world *world)
{
    uint64_t now = world_now_ns(world);
    bool applied = false;
    while (world->proposed_first < world->proposed_last &&
           world->proposed_due_ns[world->proposed_first] <= now) {
        uint64_t version = world->proposed[world->proposed_first++];
        const struct item *item = &world->items[world->stream[version]];
        struct entry entry;
        ck_assert_int_eq(entry_decode(bytes_of(item->bytes, item->size), &entry), STATUS_OK);
        if (version != world->state.version + 1) {
            world->repeated_count++;
            receiver_discarded(world->receiver,
                               (struct epoch){entry.epoch_number, entry.epoch_region}, version);
            continue;
        }
        struct epoch begun;
        world->state.version = version;
        if (world->state.epoch.number == 0)
            world->state.epoch = (struct epoch){entry.epoch_number, entry.epoch_region};
        if (batch_epoch_begun(&entry, &begun))
            world->state.epoch = begun;
        world->state.chain_known = true;
        world->state.chain = world->chains[version];
        applied = true;
    }
    if (applied)
        receiver_applied(world->receiver, &world->state);
    if (world->proposed_first == world->proposed_last) {
        world->proposed_first = 0;
        world->proposed_last = 0;
    }
}

/* What the receiver says of the age of its data holds: all of the primary's versions up to then are
 * here. */
static void check_age(const struct world *world)
{
    struct receiver_facts facts = receiver_facts(world->receiver);
    if (facts.fresh && world->state.version < world->position.version)
        ck_assert_uint_gt(world->applied_ns[world->state.version + 1], facts.fresh_ns);
}

void world_start_receiver(struct world *world, const struct receiver_options *options)
{
    struct receiver_options all = *options;
    all.io = world->io;
    all.link = &world->link;
    all.region = standby_id;
    all.seed = generator_draw(&world->generator);
    all.standing = on_standing;
    all.propose = on_propose;
    all.trouble = on_trouble;
    all.context = world;
    ck_assert_int_eq(receiver_create(&all, &world->receiver), STATUS_OK);
    receiver_start(world->receiver);
}

/* ---- The world ---- */

void world_step(struct world *world)
{
    sim_disk_clock_advance(world->disk, step_us * 1000);
    io_turn(world->io, false);
    uint64_t now = world_now_ns(world);
    for (unsigned i = 0; i < source_cursors_max; i++) {
        if (world->reader_due_ns[i] == 0 || world->reader_due_ns[i] > now)
            continue;
        world->reader_due_ns[i] = 0;
        source_log_ready(world->source);
    }
    deliver(world);
    if (world->source != NULL)
        source_turn(world->source);
    if (world->receiver != NULL) {
        apply(world);
        receiver_turn(world->receiver);
        check_age(world);
    }
}

void world_run_ms(struct world *world, uint64_t ms)
{
    for (uint64_t i = 0; i < ms * 1000 / step_us; i++)
        world_step(world);
}

void world_await_level(struct world *world, uint64_t ms)
{
    for (uint64_t i = 0; i < ms * 1000 / step_us; i++) {
        if (world->state.version == world->position.version)
            return;
        world_step(world);
    }
    ck_assert_uint_eq(world->state.version, world->position.version);
}

struct world *world_create(uint64_t seed)
{
    struct world *world = calloc(1, sizeof *world);
    ck_assert_ptr_nonnull(world);
    generator_init(&world->generator, seed);
    world->link.operations = &operations;
    world->disk = sim_disk_create(seed);
    world->io = sim_disk_io(world->disk);
    world->first_index = 1;
    world->delay_ns = 2 * 1000 * 1000;
    world->position.epoch = (struct epoch){.number = 1, .region = primary_id};
    world->state.epoch = world->position.epoch;
    world->epochs[0] =
        (struct region_epoch_span){.epoch = world->position.epoch, .last = UINT64_MAX};
    world->epochs_count = 1;
    world->source_options = (struct source_options){
        .io = world->io,
        .log = {.entry_at = entry_at,
                .first_index = first_index,
                .reader_end = reader_end,
                .context = world},
        .epoch_find = epoch_find,
        .chain_at = chain_at,
        .age_find = age_find,
        .heard = on_heard,
        .answer = on_answer,
        .context = world,
    };
    return world;
}

void world_destroy(struct world *world)
{
    receiver_free(world->receiver);
    source_free(world->source);
    for (unsigned i = 0; i < world_exchanges_max; i++) {
        const struct exchange *exchange = &world->exchanges[i];
        ck_assert(!exchange->arrived || exchange->answered);
        exchange_end(&world->exchanges[i]);
    }
    for (uint64_t i = 1; i <= world->last_index; i++)
        free(world->items[i].bytes);
    sim_disk_destroy(world->disk);
    free(world);
}
