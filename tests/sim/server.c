/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/server.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "tests/sim/client.h"
#include "tests/sim/keys.h"
#include "tests/sim/pair.h"

#define NS_PER_MS UINT64_C(1000000)

enum {
    segment_bytes = 256 * 1024,
    memtable_bytes = 96 * 1024,
    kept_memtable_bytes = 64 * 1024 * 1024,
    table_bytes = 64 * 1024,
    cache_bytes = 256 * 1024,
    reserve_bytes = 1024 * 1024,
    scrub_ms = 9000,
    turn_ns = 10000, /* what a turn takes */
};

static void on_failed(void *context, const struct error *error)
{
    struct sim_server *server = context;
    server->failed = true;
    server->error = *error;
}

void server_init(struct sim_server *server, struct world *world, unsigned index, uint64_t seed)
{
    *server = (struct sim_server){.world = world,
                                  .index = index,
                                  .restart_ns = UINT64_MAX,
                                  .version_max = sim_version_today,
                                  .armed_fault = NEMESIS_FAULTS_END};
    server->disk = sim_disk_create(seed);
    enum status status = mailbox_open(&server->replies, false, limit_requests_count);
    ASSERT(status == STATUS_OK);
}

static void drop_inbox(struct sim_server *server)
{
    for (size_t i = 0; i < server->inbox_count; i++)
        server->inbox[i]->drop(server->inbox[i]);
    server->inbox_count = 0;
}

/* Replies that nobody will send: their connections are gone. */
static void drop_replies(struct sim_server *server)
{
    struct request *request;
    while ((request = mailbox_take(&server->replies)) != NULL)
        client_disconnect(LIST_ENTRY(request, struct sim_request, request));
}

void server_free(struct sim_server *server)
{
    if (server->state == SIM_SERVER_UP)
        server_crash(server, SIM_RESTART_KEEP_ALL, UINT64_MAX);
    drop_inbox(server);
    drop_replies(server);
    mailbox_close(&server->replies);
    sim_disk_destroy(server->disk);
    free(server->inbox);
}

/* ---- Probes ---- */

static void name_member(unsigned index, struct member *member)
{
    snprintf(member->name, sizeof member->name, "s%u", index);
    snprintf(member->peers, sizeof member->peers, "s%u:7101", index);
    snprintf(member->clients, sizeof member->clients, "s%u:7100", index);
}

/* One server asks another one who it is. */
struct probe {
    struct event event; /* first */
    struct sim_server *asker;
    uint64_t life; /* of the asker: its core is gone with it */
    unsigned asked;
    core_probed_fn *probed;
    void *context;
};

static void probe_drop(struct event *event)
{
    free(event);
}

/* In a turn of the asker's. */
static void probe_end(struct probe *probe)
{
    struct world *world = probe->asker->world;
    struct member member = {0};
    enum status status = STATUS_UNREACHABLE;
    if (probe->asked < world->options.servers_count &&
        world->servers[probe->asked].state == SIM_SERVER_UP &&
        world->servers[probe->asked].bus.self != 0 &&
        !world->network.cut[probe->asker->index][probe->asked] &&
        !world->network.cut[probe->asked][probe->asker->index]) {
        status = STATUS_OK;
        member.id = world->servers[probe->asked].bus.self;
        name_member(probe->asked, &member);
    }
    probe->probed(probe->context, status, status == STATUS_OK ? &member : NULL,
                  world->servers[probe->asked].version_max, "It does not answer.");
    free(probe);
}

static void probe_fire(struct event *event)
{
    struct probe *probe = (struct probe *)event;
    if (probe->asker->lives == probe->life && probe->asker->state == SIM_SERVER_UP)
        server_receive(probe->asker, event);
    else
        free(probe);
}

static void probe_begin(void *context, const char *address, const char *name,
                        core_probed_fn *probed, void *probed_context)
{
    struct sim_server *server = context;
    struct probe *probe = calloc(1, sizeof *probe);
    ASSERT(probe != NULL && address[0] == 's' && name[0] == 's' && address[1] == name[1]);
    probe->event.fire = probe_fire;
    probe->event.drop = probe_drop;
    probe->asker = server;
    probe->life = server->lives;
    probe->asked = (unsigned)(address[1] - '0');
    probe->probed = probed;
    probe->context = probed_context;
    schedule_add(&server->world->schedule, &probe->event,
                 sim_disk_now_ns(server->disk) + 5 * NS_PER_MS);
}

/* ---- Starts, once the keys are there ---- */

static enum status open_core(struct sim_server *server, bool bootstrap)
{
    struct world *world = server->world;
    struct core_options options = {
        .io = server->io,
        .keyring = server->keyring,
        .directory = sim_directory,
        .memtable_size = world->options.keep_log ? kept_memtable_bytes : memtable_bytes,
        .cache_size = cache_bytes,
        .segment_size = segment_bytes,
        .table_size = table_bytes,
        .workers_inline = true,
        .disk_reserve_size = reserve_bytes,
        .scrub_period_ms = scrub_ms,
        .cluster_version_max = server->version_max,
        .bootstrap = bootstrap,
        .seed = generator_draw(&world->generator),
        .failed = on_failed,
        .context = server,
    };
    if (world->options.servers_count > 1) {
        options.bus = &server->bus.bus;
        name_member(server->index, &options.self);
        options.probe = probe_begin;
    }
    if (world->pair != NULL)
        pair_server_options(world->pair, server, &options);
    return core_open(&options, &server->core, &server->error);
}

/* The disk after the process is gone; ready for the next one. */
static void settle_disk(struct sim_server *server, enum sim_restart_mode mode)
{
    keyring_close(server->keyring);
    server->keyring = NULL;
    sim_disk_restart(server->disk, generator_draw(&server->world->generator), mode);
    server->io = NULL;
}

/* What a start that failed comes to: where power failed within it, or the disk reported an error,
 * it is tried again; where the store is refused as it is, a person would have to look. */
static void start_failed(struct sim_server *server, enum status status)
{
    struct world *world = server->world;
    bool was_cut = sim_disk_crashed(server->disk);
    bool again =
        was_cut || server->failed || status == STATUS_IO_ERROR || status == STATUS_DISK_FULL;
    world_note(world, server, "start failed: %s: %s%s", status_name(status), server->error.text,
               again ? "" : "; broken");
    sim_disk_crash_now(server->disk);
    sim_bus_stop(&world->buses, server->index, true);
    if (world->pair != NULL)
        pair_server_stopped(world->pair, server, true);
    settle_disk(server, SIM_RESTART_RANDOM);
    if (again) {
        server->state = SIM_SERVER_DOWN;
        server->restart_ns = sim_disk_now_ns(server->disk) + 200 * NS_PER_MS;
    } else {
        server->state = SIM_SERVER_BROKEN;
        server->restart_ns = UINT64_MAX;
        world_server_broke(world, server);
    }
}

void server_start(struct sim_server *server, bool bootstrap)
{
    struct world *world = server->world;

    ASSERT(server->state == SIM_SERVER_DOWN && server->inbox_count == 0);
    sim_disk_clock_advance_to(server->disk, world->now_ns);
    server->io = sim_disk_io(server->disk);
    server->failed = false;
    server->is_closing = false;
    server->error = (struct error){0};
    server->lives++;
    server->armed_fault = NEMESIS_FAULTS_END; /* a restart clears the disk's */
    invariants_started(&world->invariants, server->index);
    server->is_opening = true;
    sim_bus_start(&world->buses, &server->bus, server->index);
    if (world->pair != NULL)
        pair_server_started(world->pair, server);
    enum status status = sim_keys_open(server->io, server->index, &server->is_made,
                                       &server->keyring, &server->error);
    if (status == STATUS_OK)
        status = open_core(server, bootstrap);
    server->is_opening = false;
    if (status != STATUS_OK) {
        start_failed(server, status);
        return;
    }
    server->state = SIM_SERVER_UP;
    server->more = true;
    server->restart_ns = UINT64_MAX;
    invariants_opened(&world->invariants, world, server->index);
    world_note(world, server, "started");
}

/* ---- Stops ---- */

static void stop(struct sim_server *server, enum sim_restart_mode mode, uint64_t restart_ns)
{
    struct world *world = server->world;
    /* Killed, the system closes its connections; without power nobody does. */
    sim_bus_stop(&world->buses, server->index, mode == SIM_RESTART_KEEP_ALL);
    if (world->pair != NULL)
        pair_server_stopped(world->pair, server, mode == SIM_RESTART_KEEP_ALL);
    drop_inbox(server);
    drop_replies(server);
    settle_disk(server, mode);
    server->state = SIM_SERVER_DOWN;
    server->restart_ns = restart_ns;
    server->paused_until_ns = 0;
}

void server_crash(struct sim_server *server, enum sim_restart_mode mode, uint64_t restart_ns)
{
    ASSERT(server->state == SIM_SERVER_UP);
    sim_disk_crash_now(server->disk);
    core_abandon(server->core);
    server->core = NULL;
    stop(server, mode, restart_ns);
}

void server_wipe(struct sim_server *server)
{
    struct world *world = server->world;
    uint64_t now_ns = sim_disk_now_ns(server->disk);
    if (server->state == SIM_SERVER_UP)
        server_crash(server, SIM_RESTART_KEEP_ALL, UINT64_MAX);
    sim_disk_destroy(server->disk);
    server->disk = sim_disk_create(generator_draw(&world->generator));
    sim_disk_clock_advance_to(server->disk, now_ns);
    server->state = SIM_SERVER_DOWN;
    if (world->options.upgrade)
        server->version_max = sim_version_next; /* who is set up anew gets the newest program */
    server->is_made = false;
    server->has_decayed = false;
    server->is_damaged = false;
    server->restart_ns = world->now_ns;
    invariants_wiped(&world->invariants, server->index);
    world_note(world, server, "has an empty disk");
}

void server_close(struct sim_server *server)
{
    ASSERT(server->state == SIM_SERVER_UP && !server->is_closing);
    core_stop(server->core);
    server->is_closing = true;
    server->closing_until_ns = server->world->now_ns + 1000 * NS_PER_MS;
}

static void close_gracefully(struct sim_server *server)
{
    struct error error = {0};
    enum status status = core_close(server->core, &error);
    server->core = NULL;
    world_note(server->world, server, "closed: %s %s", status_name(status), error.text);
    sim_disk_crash_now(server->disk);
    stop(server, SIM_RESTART_KEEP_ALL, sim_disk_now_ns(server->disk) + 100 * NS_PER_MS);
}

/* ---- Turns ---- */

void server_receive(struct sim_server *server, struct event *event)
{
    if (server->inbox_count == server->inbox_capacity) {
        server->inbox_capacity = server->inbox_capacity == 0 ? 64 : server->inbox_capacity * 2;
        server->inbox = realloc(server->inbox, server->inbox_capacity * sizeof *server->inbox);
        ASSERT(server->inbox != NULL);
    }
    server->inbox[server->inbox_count++] = event;
}

uint64_t server_next_ns(const struct sim_server *server)
{
    if (server->state != SIM_SERVER_UP)
        return server->restart_ns;
    uint64_t now_ns = sim_disk_now_ns(server->disk);
    uint64_t next_ns = now_ns;
    if (!server->more && server->inbox_count == 0)
        next_ns = sim_disk_next_ns(server->disk);
    if (server->is_closing && next_ns > server->closing_until_ns)
        next_ns = server->closing_until_ns;
    if (next_ns < now_ns)
        next_ns = now_ns;
    return next_ns < server->paused_until_ns ? server->paused_until_ns : next_ns;
}

static void take_inbox(struct sim_server *server)
{
    size_t count = server->inbox_count;
    for (size_t i = 0; i < count; i++) {
        struct event *event = server->inbox[i];
        if (client_is_request(event))
            client_hand_over(event, server);
        else if (event->fire == probe_fire)
            probe_end((struct probe *)event);
        else if (region_link_is_event(event))
            region_link_deliver(server, event);
        else
            sim_bus_deliver(&server->bus, event);
    }
    /* What came meanwhile (from within the bus's callbacks nothing does) stays. */
    server->inbox_count -= count;
    memmove(server->inbox, server->inbox + count, server->inbox_count * sizeof *server->inbox);
}

static void send_replies(struct sim_server *server)
{
    struct request *request;
    while ((request = mailbox_take(&server->replies)) != NULL)
        client_send_reply(LIST_ENTRY(request, struct sim_request, request),
                          sim_disk_now_ns(server->disk));
    if (server->world->pair != NULL)
        pair_send_replies(server->world->pair, server);
}

void server_turn(struct sim_server *server)
{
    struct world *world = server->world;

    if (server->state != SIM_SERVER_UP) {
        server_start(server, false);
        return;
    }
    sim_disk_clock_advance_to(server->disk, world->now_ns);
    sim_disk_clock_advance(server->disk, turn_ns);
    take_inbox(server);
    io_turn(server->io, false);
    if (!server->failed && !sim_disk_crashed(server->disk))
        server->more = core_turn(server->core);
    nemesis_look(world, server);
    if (server->failed || sim_disk_crashed(server->disk)) {
        bool was_cut = sim_disk_crashed(server->disk);
        world_note(world, server, "%s: %s", was_cut ? "power lost" : "ended", server->error.text);
        if (!was_cut)
            world_server_ended(world, server);
        invariants_ended(&world->invariants, world, server->index);
        server_crash(server, SIM_RESTART_RANDOM,
                     world->now_ns + NS_PER_MS * generator_between(&world->generator, 50, 3000));
        return;
    }
    send_replies(server);
    world_check_server(world, server);
    if (!server->is_closing)
        return;
    if (world->now_ns >= server->closing_until_ns)
        core_refuse_rest(server->core);
    if (core_requests_count(server->core) == 0) {
        send_replies(server);
        close_gracefully(server);
    }
}
