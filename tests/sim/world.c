/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "tests/sim/pair.h"
#include "tests/sim/random.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

enum {
    clients_count = 6,
    think_ms = 155,      /* of a client, between two transactions: 20 a second and more, of all */
    think_hard_ms = 100, /* where more goes wrong */
    think_alone_ms = 120,
    prepare_max_s = 60,  /* to make the store */
    settle_max_s = 60,   /* for clients to come to an end, and to read all */
    live_timeouts = 10,  /* election timeouts until it commits again */
    replicas_max_s = 30, /* for replicas to be equal */
    space_look_ms = 1100,
};

/* ---- What its parts tell ---- */

void world_fail(struct world *world, const char *format, ...)
{
    char text[sizeof world->failure - 64];
    va_list arguments;
    if (world->failure[0] != 0)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    snprintf(world->failure, sizeof world->failure, "at %" PRIu64 ".%03" PRIu64 " s: %s",
             (world->now_ns - world->begun_ns) / NS_PER_S,
             (world->now_ns - world->begun_ns) / NS_PER_MS % 1000, text);
    world_note(world, NULL, "FAILED: %s", text);
}

void world_note(struct world *world, const struct sim_server *server, const char *format, ...)
{
    va_list arguments;
    if (!world->options.verbose)
        return;
    uint64_t now_us = (world->now_ns - world->begun_ns) / 1000;
    printf("%4" PRIu64 ".%06" PRIu64 " ", now_us / 1000000, now_us % 1000000);
    if (server != NULL)
        printf("%c%u ", world->pair == NULL ? 's' : 'a' + (int)world->side, server->index);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
}

void world_server_ended(struct world *world, struct sim_server *server)
{
    if (!server->may_fail)
        world_fail(world, "s%u ended without a reason: %s", server->index, server->error.text);
}

void world_server_broke(struct world *world, struct sim_server *server)
{
    world_fail(world, "s%u does not open: %s", server->index, server->error.text);
}

void world_check_server(struct world *world, struct sim_server *server)
{
    if (server->state != SIM_SERVER_UP || server->failed || sim_disk_crashed(server->disk))
        return;
    struct core_facts facts = core_facts(server->core);
    invariants_look(&world->invariants, world, server->index, &facts);
    if (world->pair != NULL)
        chronicle_look(&world->pair->chronicle, server, &facts);
}

unsigned world_leader_hint(const struct world *world, const Strait__Refusal *refusal)
{
    unsigned count = world->options.servers_count;
    if (refusal->leader == NULL || refusal->leader[0] != 's')
        return count;
    unsigned index = (unsigned)(refusal->leader[1] - '0');
    return index < count ? index : count;
}

/* ---- Time ---- */

static uint64_t buses_now(void *context, unsigned server)
{
    struct world *world = context;
    uint64_t now_ns = sim_disk_now_ns(world->servers[server].disk);
    return now_ns > world->now_ns ? now_ns : world->now_ns;
}

static bool buses_is_off(void *context, unsigned server)
{
    struct world *world = context;
    return sim_disk_crashed(world->servers[server].disk);
}

static void buses_arrived(void *context, unsigned server, struct event *event)
{
    struct world *world = context;
    if (world->servers[server].state == SIM_SERVER_UP || world->servers[server].is_opening)
        server_receive(&world->servers[server], event);
    else
        event->drop(event);
}

static void buses_said(void *context, unsigned server, struct bytes message)
{
    struct world *world = context;
    invariants_heard(&world->invariants, world, server, message);
}

struct world_next world_next(struct world *world)
{
    struct world_next next = {.due_ns = schedule_next_ns(&world->schedule)};
    for (unsigned i = 0; i < world->options.servers_count; i++) {
        uint64_t due_ns = server_next_ns(&world->servers[i]);
        if (due_ns < next.due_ns)
            next = (struct world_next){due_ns, &world->servers[i]};
    }
    return next;
}

void world_step(struct world *world, const struct world_next *next)
{
    if (next->due_ns > world->now_ns)
        world->now_ns = next->due_ns;
    if (next->server == NULL) {
        struct event *event = schedule_take(&world->schedule);
        event->fire(event);
    } else {
        world->turns_count++;
        server_turn(next->server);
    }
    if (world->workload.failure[0] != 0)
        world_fail(world, "%s", world->workload.failure);
}

/* Until `done` says so; false after `span_ns`, or where the world has failed. */
static bool run(struct world *world, uint64_t span_ns, bool (*done)(struct world *world))
{
    uint64_t until_ns = world->now_ns + span_ns;
    while (world->failure[0] == 0) {
        if (done != NULL && done(world))
            return true;
        const struct world_next next = world_next(world);
        if (next.due_ns > until_ns) {
            world->now_ns = until_ns;
            return false;
        }
        world_step(world, &next);
    }
    return false;
}

/* ---- Phases ---- */

static void on_built(struct world *world)
{
    for (unsigned i = 0; i < world->clients_count; i++) {
        world->clients[i].log_time_ns = world->clients[0].log_time_ns;
        workload_begin(world->workload_clients[i]);
    }
    world->is_prepared = true;
}

static void on_prepared(struct client *client)
{
    if (client->world->options.servers_count == 1)
        on_built(client->world);
    else
        operator_build(&client->world->operator, on_built);
}

static bool is_prepared(struct world *world)
{
    return world->is_prepared;
}

static bool has_committed(struct world *world)
{
    return world->workload.committed_count > world->committed_before;
}

bool world_clients_are_idle(struct world *world)
{
    if (!operator_is_idle(&world->operator))
        return false;
    for (unsigned i = 0; i < world->clients_count; i++)
        if (!workload_is_idle(world->workload_clients[i]))
            return false;
    return true;
}

static void on_read_all(struct client *client)
{
    client->world->is_read = true;
}

static bool is_read(struct world *world)
{
    return world->is_read;
}

bool world_replicas_are_equal(struct world *world)
{
    const struct core_facts *first = &world->invariants.last[0];
    for (unsigned i = 0; i < world->options.servers_count; i++) {
        const struct core_facts *facts = &world->invariants.last[i];
        if (world->servers[i].state != SIM_SERVER_UP ||
            facts->applied_index != first->applied_index || facts->version != first->version ||
            facts->chain_digest.low != first->chain_digest.low ||
            facts->chain_digest.high != first->chain_digest.high ||
            facts->cluster_version != first->cluster_version)
            return false;
    }
    return true;
}

/* Once the last of them can apply it, and so is said to. */
static bool version_is_raised(struct world *world)
{
    const struct core_facts *first = &world->invariants.last[0];
    for (unsigned i = 0; i < world->options.servers_count; i++)
        if (world->servers[i].version_max != sim_version_next)
            return true; /* nothing is to be raised */
    return first->cluster_version == sim_version_next;
}

bool world_all_are_up(struct world *world)
{
    for (unsigned i = 0; i < world->options.servers_count; i++)
        if (world->servers[i].state != SIM_SERVER_UP ||
            sim_disk_now_ns(world->servers[i].disk) > world->now_ns)
            return false;
    return true;
}

void world_note_servers(struct world *world)
{
    for (unsigned i = 0; i < world->options.servers_count; i++) {
        const struct sim_server *server = &world->servers[i];
        const struct core_facts *facts = &world->invariants.last[i];
        world_note(world, server,
                   "state %d, %s in term %" PRIu64 ", committed %" PRIu64 ", applied %" PRIu64
                   ", version %" PRIu64 ", requests %" PRIu64 ", next due in %" PRIi64 " us",
                   server->state, facts->role != NULL ? facts->role : "unseen", facts->term,
                   facts->commit_index, facts->applied_index, facts->version,
                   server->core == NULL ? 0 : core_requests_count(server->core),
                   (int64_t)(server_next_ns(server) - world->now_ns) / 1000);
    }
}

static void be_alive(struct world *world)
{
    nemesis_end(world);
    world_note(world, NULL, "healed");
    if (!run(world, settle_max_s * NS_PER_S, world_all_are_up)) {
        world_fail(world, "not all servers start again");
        return;
    }
    /* Servers look once a second whether their disk has room again, and clients were told to wait.
     */
    (void)run(world, space_look_ms * NS_PER_MS, NULL);
    for (unsigned i = 0; i < world->clients_count; i++)
        client_hurry(&world->clients[i]);
    world->committed_before = world->workload.committed_count;
    if (run(world, live_timeouts * world_election_timeout_ms * NS_PER_MS, has_committed))
        return;
    world_note_servers(world);
    world_fail(world, "nothing was committed within %d election timeouts of the healing",
               live_timeouts);
}

static void come_to_an_end(struct world *world)
{
    world->workload.is_stopping = true;
    if (!run(world, settle_max_s * NS_PER_S, world_clients_are_idle)) {
        world_note_servers(world);
        world_fail(world, "clients do not come to an end");
    }
    if (world->failure[0] != 0)
        return;
    workload_read_all(world->workload_clients[0], on_read_all);
    if (!run(world, settle_max_s * NS_PER_S, is_read))
        world_fail(world, "what was written cannot be read");
    if (!run(world, replicas_max_s * NS_PER_S, version_is_raised))
        world_fail(world, "all can apply the next cluster version, and it is not raised");
    if (run(world, replicas_max_s * NS_PER_S, world_replicas_are_equal))
        return;
    world_note_servers(world);
    world_fail(world, "the replicas do not become equal");
}

void world_judge(struct world *world)
{
    struct verdict verdict;
    const char *history;
    workload_judge(&world->workload, &verdict, &history);
    if (verdict.kind != VERDICT_VALID)
        world_fail(world, "%s: %s %s: %s", history, verdict_name(verdict.kind), verdict.class,
                   verdict.text);
}

static void run_phases(struct world *world)
{
    workload_prepare(world->workload_clients[0], on_prepared);
    if (!run(world, prepare_max_s * NS_PER_S, is_prepared)) {
        world_fail(world, "the store is not made");
        return;
    }
    world_note(world, NULL, "prepared");
    if (!world->options.calm)
        nemesis_begin(world);
    (void)run(world, world->options.seconds * NS_PER_S, NULL);
    if (world->failure[0] == 0)
        be_alive(world);
    if (world->failure[0] == 0)
        come_to_an_end(world);
    if (world->failure[0] == 0)
        world_judge(world);
}

/* ---- A run ---- */

void world_begin(struct world *world, const struct world_options *options, struct pair *pair,
                 unsigned side)
{
    *world = (struct world){
        .options = *options, .pair = pair, .side = side, .clients_count = clients_count};
    generator_init(&world->generator, options->seed);
    uint64_t draw = generator_draw(&world->generator);
    if (side == 0)
        random_seed(draw);
    network_init(&world->network, generator_draw(&world->generator), options->servers_count,
                 clients_count + (pair == NULL ? 1 : pair_nodes_count));
    invariants_init(&world->invariants);
    workload_init(&world->workload);
    bool is_hard = options->decay || options->churn || options->aim;
    unsigned think = is_hard                       ? think_hard_ms
                     : options->servers_count == 1 ? think_alone_ms
                                                   : think_ms;
    world->workload.think_ns = 2 * think * NS_PER_MS;
    world->buses = (struct sim_buses){
        .network = &world->network,
        .schedule = &world->schedule,
        .count = options->servers_count,
        .now_ns = buses_now,
        .is_off = buses_is_off,
        .arrived = buses_arrived,
        .said = buses_said,
        .context = world,
    };
    for (unsigned i = 0; i < options->servers_count; i++)
        server_init(&world->servers[i], world, i, generator_draw(&world->generator));
    world->begun_ns = world->now_ns = sim_disk_now_ns(world->servers[0].disk);
    for (unsigned i = 0; i < clients_count; i++) {
        client_init(&world->clients[i], world, i);
        world->workload_clients[i] = workload_client_create(&world->workload, &world->clients[i]);
    }
    operator_init(&world->operator, world, clients_count);
    for (unsigned i = 0; i < options->servers_count; i++)
        server_start(&world->servers[i], i == 0);
}

void world_tell(struct world *world, struct world_result *result)
{
    *result = (struct world_result){
        .failed = world->failure[0] != 0,
        .commits_count = world->workload.committed_count,
        .transactions_count = world->workload.succeeded_count,
        .refused_count = world->workload.refused_count,
        .unknown_count = world->workload.unknown_count,
        .elections_count = world->invariants.elections.count,
        .turns_count = world->turns_count,
        .messages_count = world->buses.messages_count,
        .snapshots_count = world->invariants.snapshots_count,
        .scrubs_count = world->invariants.scrubs_count,
        .rebuilds_count = world->invariants.rebuilds_count,
        .replacements_count = world->operator.replacements_count,
        .raises_count = world->invariants.last[0].cluster_version > sim_version_today,
        .simulated_ns = world->now_ns - world->begun_ns,
        .final_draw = generator_draw(&world->generator),
    };
    snprintf(result->failure, sizeof result->failure, "%s", world->failure);
    for (unsigned i = 0; i < world->options.servers_count; i++) {
        result->starts_count += world->servers[i].lives;
        result->digest = result->digest * 31 + world->invariants.last[i].chain_digest.low;
    }
    for (unsigned i = 0; i < world->clients_count; i++) {
        result->retries_count += world->clients[i].retries_count;
        result->digest = result->digest * 31 + generator_draw(&world->clients[i].generator);
    }
    result->digest ^= generator_draw(&world->network.generator);
    result->digest += world->now_ns;
    memcpy(result->faults, world->nemesis.counts, sizeof result->faults);
}

void world_end(struct world *world)
{
    for (unsigned i = 0; i < world->options.servers_count; i++)
        server_free(&world->servers[i]);
    schedule_free(&world->schedule);
    for (unsigned i = 0; i < clients_count; i++) {
        client_free(&world->clients[i]);
        workload_client_free(world->workload_clients[i]);
    }
    operator_free(&world->operator);
    workload_free(&world->workload);
    invariants_free(&world->invariants);
}

void world_run(const struct world_options *options, struct world_result *result)
{
    static struct world world; /* large; one at a time */

    ASSERT(options->servers_count >= 1 && options->servers_count < sim_servers_max);
    log_descriptor_set(-1);
    world_begin(&world, options, NULL, 0);
    run_phases(&world);
    world_tell(&world, result);
    world_end(&world);
}
