/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/pair.h"

#include <inttypes.h>
#include <stdio.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "server/core.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

enum {
    prepare_max_s = 90, /* to make the store, and the standby */
    settle_max_s = 90,  /* for servers to start, clients to come to an end, and to read all */
    space_look_ms = 1100,
    live_max_s = 20,  /* until it commits again */
    told_max_s = 20,  /* until the old primary has heard of the new one */
    level_max_s = 30, /* until the standby has what the primary has */
    lease_min_ms = 1500,
    lease_max_ms = 4000,
    lag_max_ms = 10000,
    record_size = 28, /* of a promotion */
    tag_size = 16,
};

/* ---- For servers ---- */

/* Keyed, in place of a signature: nobody else makes one. */
static void seal_record(const struct epoch *epoch, uint8_t record[record_size])
{
    static const char key[] = "of this cluster alone";
    uint8_t text[sizeof key + record_size];
    store_u64(record, epoch->number);
    store_u32(record + 8, epoch->region);
    memcpy(text, key, sizeof key);
    memcpy(text + sizeof key, record, record_size - tag_size);
    struct hash128 tag = hash128(bytes_of(text, sizeof key + record_size - tag_size));
    store_u64(record + 12, tag.low);
    store_u64(record + 20, tag.high);
}

static enum status promotion_sign(void *context, const struct epoch_change *change,
                                  const struct region *self, uint8_t *record, size_t *size,
                                  struct error *error)
{
    const struct sim_server *server = context;
    (void)error;
    if (self->id != server->world->side + 1 || change->to.region != self->id)
        world_fail(server->world, "a promotion of another region is to be signed");
    seal_record(&change->to, record);
    *size = record_size;
    return STATUS_OK;
}

enum status pair_promotion_verify(void *context, struct bytes record, struct epoch *to,
                                  struct error *error)
{
    uint8_t expected[record_size];
    (void)context;
    *to = (struct epoch){0};
    if (record.size != record_size)
        return error_set(error, STATUS_MALFORMED, "That is no record.");
    const struct epoch epoch = {.number = load_u64(record.data),
                                .region = load_u32(record.data + 8)};
    seal_record(&epoch, expected);
    if (!bytes_equal(record, bytes_of(expected, record_size)))
        return error_set(error, STATUS_MALFORMED, "That record is not of this cluster.");
    *to = epoch;
    return STATUS_OK;
}

void pair_server_options(struct pair *pair, struct sim_server *server, struct core_options *options)
{
    static const char *const first[] = {"a0:7100", "a1:7100", "a2:7100", "a3:7100", "a4:7100"};
    static const char *const witnesses[] = {"w0:7100"};
    options->region_id = server->world->side + 1;
    options->promotion_sign = promotion_sign;
    options->promotion_verify = pair_promotion_verify;
    if (server->world->side == 1) {
        options->standby_of = first;
        options->standby_of_count = server->world->options.servers_count;
    }
    region_links_options(&pair->links[server->world->side][server->index], options);
    if (!pair->has_witness)
        return;
    options->witnesses = witnesses;
    options->witnesses_count = 1;
    options->lease_ms = (uint32_t)pair->lease_ms;
    options->promote_automatic = pair->is_automatic;
    options->promote_lag_max_ms = lag_max_ms;
}

void pair_server_started(struct pair *pair, struct sim_server *server)
{
    region_links_start(&pair->links[server->world->side][server->index]);
}

void pair_server_stopped(struct pair *pair, struct sim_server *server, bool is_said)
{
    region_links_stop(&pair->links[server->world->side][server->index], is_said);
}

void pair_send_replies(struct pair *pair, struct sim_server *server)
{
    region_links_send_replies(&pair->links[server->world->side][server->index],
                              sim_disk_now_ns(server->disk));
}

/* ---- What is known ---- */

uint64_t pair_now_ns(const struct pair *pair)
{
    return pair->worlds[0].now_ns;
}

struct epoch pair_epoch(const struct pair *pair)
{
    struct epoch highest = {.number = 1, .region = 1};
    for (unsigned i = 0; i < pair->chronicle.epochs_count; i++)
        if (epoch_compare(pair->chronicle.epochs[i].epoch, highest) > 0)
            highest = pair->chronicle.epochs[i].epoch;
    return highest;
}

struct sim_server *pair_server_of(struct pair *pair, unsigned side, struct epoch epoch)
{
    for (unsigned i = 0; i < pair->worlds[side].options.servers_count; i++) {
        struct sim_server *server = &pair->worlds[side].servers[i];
        if (server->state == SIM_SERVER_UP &&
            epoch_equal(core_region_facts(server->core).epoch, epoch))
            return server;
    }
    return NULL;
}

/* Whether the region has what the history that goes on does not. */
static bool has_tail(struct pair *pair, unsigned side)
{
    for (unsigned i = 0; i < pair->worlds[side].options.servers_count; i++) {
        struct sim_server *server = &pair->worlds[side].servers[i];
        if (server->state != SIM_SERVER_UP)
            continue;
        const struct client_position position = {
            .epoch = core_region_facts(server->core).epoch,
            .version = core_facts(server->core).version,
        };
        if (!pair_is_kept(pair, &position))
            return true;
    }
    return false;
}

/* ---- Time ---- */

static bool has_failed(const struct pair *pair)
{
    return pair->worlds[0].failure[0] != 0 || pair->worlds[1].failure[0] != 0;
}

/* The earlier one first. False: nothing is due by `until_ns`. */
static bool step(struct pair *pair, uint64_t until_ns)
{
    const struct world_next next[] = {world_next(&pair->worlds[0]), world_next(&pair->worlds[1])};
    uint64_t next_ns[] = {next[0].due_ns, next[1].due_ns,
                          pair->has_witness ? sim_witness_next_ns(&pair->witness) : UINT64_MAX};
    unsigned first = next_ns[1] < next_ns[0];
    if (next_ns[wan_witness] < next_ns[first])
        first = wan_witness;
    if (next_ns[first] > until_ns)
        return false;
    if (next_ns[first] > pair_now_ns(pair))
        pair->worlds[0].now_ns = pair->worlds[1].now_ns = next_ns[first];
    if (first == wan_witness)
        sim_witness_turn(&pair->witness);
    else
        world_step(&pair->worlds[first], &next[first]);
    if (pair->worlds[0].workload.failure[0] != 0)
        world_fail(&pair->worlds[0], "%s", pair->worlds[0].workload.failure);
    return true;
}

bool pair_run_until(struct pair *pair, uint64_t span_ns, bool (*done)(struct pair *pair))
{
    uint64_t until_ns = pair_now_ns(pair) + span_ns;
    while (!has_failed(pair)) {
        if (done != NULL && done(pair))
            return true;
        if (!step(pair, until_ns)) {
            pair->worlds[0].now_ns = pair->worlds[1].now_ns = until_ns;
            return false;
        }
    }
    return false;
}

/* ---- Phases ---- */

static void on_standby_built(struct world *world)
{
    world->pair->is_set_up = true;
}

static void on_listed(struct pair *pair)
{
    operator_build(&pair->worlds[1].operator, on_standby_built);
}

static void on_primary_built(struct world *world)
{
    region_operator_set_up(&world->pair->operator, on_listed);
}

static void on_prepared(struct client *client)
{
    operator_build(&client->world->operator, on_primary_built);
}

static bool is_level(struct pair *pair)
{
    const struct core_facts *here = &pair->worlds[0].invariants.last[0];
    const struct core_facts *there = &pair->worlds[1].invariants.last[0];
    if (!world_replicas_are_equal(&pair->worlds[0]) || !world_replicas_are_equal(&pair->worlds[1]))
        return false;
    return here->version == there->version && here->version != 0 &&
           here->chain_digest.low == there->chain_digest.low &&
           here->chain_digest.high == there->chain_digest.high &&
           epoch_equal(pair->chronicle.last[0][0].epoch, pair->chronicle.last[1][0].epoch);
}

static bool is_set_up(struct pair *pair)
{
    return pair->is_set_up && is_level(pair);
}

static bool all_are_up(struct pair *pair)
{
    return world_all_are_up(&pair->worlds[0]) && world_all_are_up(&pair->worlds[1]);
}

/* Whoever was replaced knows. */
static bool one_is_primary(struct pair *pair)
{
    struct epoch epoch = pair_epoch(pair);
    for (unsigned side = 0; side < 2; side++)
        for (unsigned i = 0; i < pair->worlds[side].options.servers_count; i++) {
            const struct sim_server *server = &pair->worlds[side].servers[i];
            if (server->state != SIM_SERVER_UP ||
                (core_region_facts(server->core).is_primary && side + 1 != epoch.region))
                return false;
        }
    return true;
}

static bool has_committed(struct pair *pair)
{
    return pair->worlds[0].workload.committed_count > pair->worlds[0].committed_before;
}

static bool all_are_idle(struct pair *pair)
{
    for (unsigned i = 0; i < pair_readers_count; i++)
        if (!region_reader_is_idle(&pair->readers[i]))
            return false;
    return world_clients_are_idle(&pair->worlds[0]) &&
           operator_is_idle(&pair->worlds[1].operator) && region_operator_is_idle(&pair->operator);
}

static void on_read_all(struct client *client)
{
    client->world->pair->worlds[0].is_read = true;
}

static bool is_read(struct pair *pair)
{
    return pair->worlds[0].is_read;
}

/* All of them in its epoch: a switchover that was asked for long ago, and came late to a server,
 * may have granted it to them a moment ago. */
static bool primary_is_equal(struct pair *pair)
{
    struct epoch epoch = pair_epoch(pair);
    unsigned side = epoch.region - 1;
    for (unsigned i = 0; i < pair->worlds[side].options.servers_count; i++)
        if (!epoch_equal(pair->chronicle.last[side][i].epoch, epoch))
            return false;
    return world_replicas_are_equal(&pair->worlds[side]);
}

static void note_server(struct pair *pair, struct sim_server *server)
{
    const struct sim_region_link *link = &pair->links[server->world->side][server->index].pull;
    if (server->state != SIM_SERVER_UP)
        return;
    const struct core_region_facts facts = core_region_facts(server->core);
    world_note(server->world, server,
               "epoch (%" PRIu64 ", %" PRIu32 "), knows of (%" PRIu64 ", %" PRIu32
               "), primary %d, link %d to %u; %s",
               facts.epoch.number, facts.epoch.region, facts.highest.number, facts.highest.region,
               facts.is_primary, (int)link->state, link->peer, facts.trouble);
}

void pair_fail(struct pair *pair, const char *text)
{
    for (unsigned side = 0; side < 2 && !has_failed(pair); side++) {
        world_note_servers(&pair->worlds[side]);
        for (unsigned i = 0; i < pair->worlds[side].options.servers_count; i++)
            note_server(pair, &pair->worlds[side].servers[i]);
    }
    world_fail(&pair->worlds[0], "%s", text);
}

static void set_up(struct pair *pair)
{
    struct world *world = &pair->worlds[0];
    workload_prepare(world->workload_clients[0], on_prepared);
    if (!pair_run_until(pair, prepare_max_s * NS_PER_S, is_set_up)) {
        pair_fail(pair, "the two regions are not made");
        return;
    }
    for (unsigned i = 0; i < world->clients_count; i++) {
        world->clients[i].log_time_ns = world->clients[0].log_time_ns;
        workload_begin(world->workload_clients[i]);
    }
    for (unsigned i = 0; i < pair_readers_count; i++)
        region_reader_begin(&pair->readers[i]);
    pair->leases.is_active = true;
    if (pair->has_witness)
        world_note(world, NULL, "with a witness, leases of %" PRIu64 " ms, promotion %s",
                   pair->lease_ms, pair->is_automatic ? "automatic" : "by operators");
    world_note(world, NULL, "both regions are set up");
}

static void be_alive(struct pair *pair)
{
    struct world *world = &pair->worlds[0];
    region_operator_end(&pair->operator);
    line_faults_end(pair);
    if (pair->has_witness)
        witness_faults_end(pair);
    nemesis_end(&pair->worlds[0]);
    nemesis_end(&pair->worlds[1]);
    world_note(world, NULL, "healed");
    if (!pair_run_until(pair, settle_max_s * NS_PER_S, all_are_up)) {
        pair_fail(pair, "not all servers start again");
        return;
    }
    if (!pair_run_until(pair, told_max_s * NS_PER_S, one_is_primary)) {
        pair_fail(pair, "a region that was replaced does not hear of it");
        return;
    }
    (void)pair_run_until(pair, space_look_ms * NS_PER_MS, NULL);
    for (unsigned i = 0; i < world->clients_count; i++)
        client_hurry(&world->clients[i]);
    world->committed_before = world->workload.committed_count;
    if (!pair_run_until(pair, live_max_s * NS_PER_S, has_committed))
        pair_fail(pair, "nothing was committed for long after the healing");
}

static void come_to_an_end(struct pair *pair)
{
    struct world *world = &pair->worlds[0];
    world->workload.is_stopping = true;
    for (unsigned i = 0; i < pair_readers_count; i++)
        pair->readers[i].is_stopping = true;
    if (!pair_run_until(pair, settle_max_s * NS_PER_S, all_are_idle)) {
        pair_fail(pair, "clients do not come to an end");
        return;
    }
    /* A promotion that was asked for before may have come after the healing. */
    if (!pair_run_until(pair, told_max_s * NS_PER_S, one_is_primary)) {
        pair_fail(pair, "a region that was replaced does not hear of it");
        return;
    }
    workload_read_all(world->workload_clients[0], on_read_all);
    if (!pair_run_until(pair, settle_max_s * NS_PER_S, is_read)) {
        pair_fail(pair, "what was written cannot be read");
        return;
    }
    if (!pair_run_until(pair, level_max_s * NS_PER_S, primary_is_equal)) {
        pair_fail(pair, "the primary's replicas do not become equal");
        return;
    }
    /* One with a tail and without a checkpoint stays as it is, and takes no writes. */
    if (has_tail(pair, 2 - pair_epoch(pair).region))
        return;
    if (!pair_run_until(pair, level_max_s * NS_PER_S, is_level))
        pair_fail(pair, "the standby does not become level");
}

static void run_phases(struct pair *pair)
{
    set_up(pair);
    if (has_failed(pair))
        return;
    if (!pair->worlds[0].options.calm) {
        for (unsigned side = 0; side < 2; side++)
            if (!pair->is_quiet[side])
                nemesis_begin(&pair->worlds[side]);
        line_faults_begin(pair);
        if (pair->has_witness)
            witness_faults_begin(pair);
    }
    region_operator_begin(&pair->operator);
    (void)pair_run_until(pair, pair->worlds[0].options.seconds * NS_PER_S, NULL);
    if (!has_failed(pair))
        be_alive(pair);
    if (!has_failed(pair))
        trial_run(pair);
    if (!has_failed(pair))
        come_to_an_end(pair);
    if (!has_failed(pair))
        pair_judge(pair);
}

/* ---- A run ---- */

/* Of a generator of its own: a seed without a witness is the run that it was without all this. */
static void begin_witness(struct pair *pair, uint64_t seed)
{
    struct generator generator;
    generator_init(&generator, ~seed);
    pair->has_witness = generator_chance(&generator, 1, 2);
    pair->is_automatic = generator_chance(&generator, 3, 4);
    pair->lease_ms = generator_between(&generator, lease_min_ms, lease_max_ms);
    pair->wan.witness_is_near = generator_chance(&generator, 1, 2);
    generator_init(&pair->witness_faults.generator, generator_draw(&generator));
    pair->witness_faults.is_gentle = generator_chance(&generator, 1, 2);
    pair->trial.is_cut = generator_chance(&generator, 1, 2);
    pair->trial.kind = (enum trial_kind)generator_below(&generator, TRIALS_END);
    if (!pair->has_witness)
        pair->trial.kind = TRIAL_NONE;
    else
        sim_witness_init(&pair->witness, pair, generator_draw(&generator));
    if (pair->trial.kind == TRIAL_PRIMARY_LOST && !pair->is_automatic)
        pair->trial.kind = TRIAL_STANDBY_LOST;
}

static void begin(struct pair *pair, const struct world_options *options)
{
    struct generator generator;
    *pair = (struct pair){0};
    generator_init(&generator, options->seed);
    wan_init(&pair->wan, generator_draw(&generator));
    generator_init(&pair->faults.generator, generator_draw(&generator));
    pair->faults.is_gentle = generator_chance(&generator, 1, 2);
    pair->is_quiet[0] = generator_chance(&generator, 1, 2);
    pair->is_quiet[1] = generator_chance(&generator, 1, 2);
    for (unsigned side = 0; side < 2; side++)
        for (unsigned i = 0; i < options->servers_count; i++)
            region_links_init(&pair->links[side][i], &pair->worlds[side].servers[i], side);
    begin_witness(pair, options->seed);
    for (unsigned side = 0; side < 2; side++) {
        struct world_options its = *options;
        its.seed = generator_draw(&generator);
        world_begin(&pair->worlds[side], &its, pair, side);
    }
    unsigned node = pair->worlds[0].clients_count + 1;
    region_operator_init(&pair->operator, pair, generator_draw(&generator), node);
    for (unsigned i = 0; i < pair_readers_count; i++)
        region_reader_init(&pair->readers[i], pair, i, node + pair_operators_count + i);
}

static void end(struct pair *pair)
{
    world_end(&pair->worlds[0]);
    world_end(&pair->worlds[1]);
    for (unsigned side = 0; side < 2; side++)
        for (unsigned i = 0; i < pair->worlds[side].options.servers_count; i++)
            region_links_free(&pair->links[side][i]);
    if (pair->has_witness)
        sim_witness_free(&pair->witness);
    region_operator_free(&pair->operator);
    for (unsigned i = 0; i < pair_readers_count; i++)
        region_reader_free(&pair->readers[i]);
    chronicle_free(&pair->chronicle);
}

static void tell_leases(const struct pair *pair, struct pair_leases_result *result)
{
    const struct lease_watch *watch = &pair->leases;
    *result = (struct pair_leases_result){
        .runs_count = 1,
        .witness_starts_count = pair->witness.lives,
        .grants_count = watch->grants_count,
        .refusals_count = watch->refusals_count,
        .acknowledged_count = watch->acknowledged_count,
        .by_witness_count = watch->by_witness_count,
        .by_standby_count = watch->by_standby_count,
        .automatic_count = watch->automatic_count,
    };
    memcpy(result->faults, pair->witness_faults.counts, sizeof result->faults);
    result->trials[pair->trial.kind] = pair->trial.is_done;
}

static void tell(struct pair *pair, struct pair_result *result)
{
    *result = (struct pair_result){
        .failed = has_failed(pair),
        .switchovers_count = pair->operator.switchovers_count,
        .promotions_count = pair->operator.promotions_count,
        .epochs_count = pair->chronicle.epochs_count,
        .kept_count = pair->kept_count,
        .given_up_count = pair->given_up_count,
        .compared_count = pair->chronicle.crossed_count,
        .simulated_ns = pair_now_ns(pair) - pair->worlds[0].begun_ns,
    };
    for (unsigned side = 0; side < 2; side++) {
        world_tell(&pair->worlds[side], &result->worlds[side]);
        result->digest = result->digest * 31 + result->worlds[side].digest;
        if (result->failure[0] == 0)
            snprintf(result->failure, sizeof result->failure, "%s", pair->worlds[side].failure);
    }
    result->digest ^= generator_draw(&pair->wan.generator);
    for (unsigned side = 0; side < 2; side++)
        result->tails_count += !result->failed && has_tail(pair, side);
    for (unsigned i = 0; i < pair_readers_count; i++)
        result->reads_count += pair->readers[i].standby_count;
    memcpy(result->line_faults, pair->faults.counts, sizeof result->line_faults);
    if (pair->has_witness)
        tell_leases(pair, &result->leases);
}

void pair_run(const struct world_options *options, struct pair_result *result)
{
    static struct pair pair; /* large; one at a time */
    ASSERT(options->servers_count >= 2 && options->servers_count < sim_servers_max);
    log_descriptor_set(-1);
    begin(&pair, options);
    run_phases(&pair);
    tell(&pair, result);
    end(&pair);
}
