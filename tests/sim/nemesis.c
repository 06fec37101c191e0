/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/nemesis.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "tests/sim/nemesis_internal.h"

enum {
    between_min_ms = 100, /* two faults */
    between_max_ms = 2500,
    part_min_ms = 200,
    part_max_ms = 8000,
    crash_steps_max = 80,
    drift_ppm_max = 400, /* of each clock: two differ by less than what leases allow for */
    jump_max_s = 36000,
    slow_min_ms = 5, /* operations of a slow disk */
    slow_max_ms = 400,
    fault_nth_max = 12,
    full_margin_size = 64 * 1024,
    loss_percent_max = 30,
    delay_percent_max = 20,
    delay_max_ms = 5000,
};

/* Something of the nemesis that is due. */
struct action {
    struct event event; /* first */
    struct world *world;
    unsigned server;
    void (*act)(struct world *world, unsigned server);
};

static void drop(struct event *event)
{
    free(event);
}

static void fire(struct event *event)
{
    struct action *action = (struct action *)event;
    action->act(action->world, action->server);
    free(action);
}

uint64_t nemesis_draw_ms(struct world *world, uint64_t min_ms, uint64_t max_ms)
{
    return NS_PER_MS * generator_between(&world->nemesis.generator, min_ms, max_ms);
}

void nemesis_later(struct world *world, uint64_t delay_ns, unsigned server,
                   void (*act)(struct world *world, unsigned server))
{
    struct action *action = calloc(1, sizeof *action);
    ASSERT(action != NULL);
    *action = (struct action){
        .event = {.fire = fire, .drop = drop}, .world = world, .server = server, .act = act};
    schedule_add(&world->schedule, &action->event, world->now_ns + delay_ns);
}

bool nemesis_chance(struct world *world, uint64_t numerator, uint64_t denominator)
{
    return generator_chance(&world->nemesis.generator, numerator, denominator);
}

void nemesis_did(struct world *world, unsigned server, enum nemesis_fault fault)
{
    world->nemesis.counts[fault]++;
    world_note(world, &world->servers[server], "fault: %s", nemesis_fault_name(fault));
}

/* ---- Processes and power ---- */

static void crash(struct world *world, unsigned index, enum nemesis_fault fault)
{
    struct sim_server *server = &world->servers[index];
    enum sim_restart_mode mode = SIM_RESTART_KEEP_ALL;
    if (fault != NEMESIS_KILL)
        mode = nemesis_chance(world, 1, 3) ? SIM_RESTART_LOSE_UNFLUSHED : SIM_RESTART_RANDOM;
    nemesis_did(world, index, fault);
    sim_disk_clock_advance_to(server->disk, world->now_ns);
    server_crash(server, mode,
                 world->now_ns + nemesis_draw_ms(world, nemesis_down_min_ms, nemesis_down_max_ms));
}

static void crash_all(struct world *world)
{
    for (unsigned i = 0; i < world->options.servers_count; i++)
        if (world->servers[i].state == SIM_SERVER_UP)
            crash(world, i, NEMESIS_CRASH_ALL);
}

static void crash_at_step(struct world *world, struct sim_server *server)
{
    uint64_t steps = sim_disk_steps_count(server->disk) + 1 +
                     generator_below(&world->nemesis.generator, crash_steps_max);
    nemesis_did(world, server->index, NEMESIS_CRASH_AT_STEP);
    sim_disk_crash_after(server->disk, steps);
}

static void pause_server(struct world *world, struct sim_server *server)
{
    nemesis_did(world, server->index, NEMESIS_PAUSE);
    server->paused_until_ns = world->now_ns + nemesis_draw_ms(world, world_election_timeout_ms / 2,
                                                              world_election_timeout_ms * 20);
}

/* ---- The network ---- */

void nemesis_heal_partition(struct world *world, unsigned server)
{
    (void)server;
    world->nemesis.has_partition = false;
    memset(world->network.cut, 0, sizeof world->network.cut);
    memset(world->network.late_ns, 0, sizeof world->network.late_ns);
    world_note(world, NULL, "partition healed");
}

static void part(struct world *world, unsigned server, enum nemesis_fault fault)
{
    if (world->nemesis.has_partition)
        return;
    world->nemesis.has_partition = true;
    nemesis_did(world, server, fault);
    network_part(&world->network, (enum network_shape)(fault - NEMESIS_PARTITION_ONE), server);
    nemesis_later(world, nemesis_draw_ms(world, part_min_ms, part_max_ms), server,
                  nemesis_heal_partition);
}

static void heal_loss(struct world *world, unsigned server)
{
    (void)server;
    world->nemesis.has_loss = false;
    world->network.loss_percent = world->network.delay_percent = 0;
}

static void be_lossy(struct world *world, unsigned server, enum nemesis_fault fault)
{
    struct generator *generator = &world->nemesis.generator;
    if (world->nemesis.has_loss)
        return;
    world->nemesis.has_loss = true;
    nemesis_did(world, server, fault);
    if (fault == NEMESIS_LOSS) {
        world->network.loss_percent = (unsigned)generator_between(generator, 1, loss_percent_max);
    } else {
        world->network.delay_percent = (unsigned)generator_between(generator, 1, delay_percent_max);
        world->network.delay_max_ns = nemesis_draw_ms(world, 1, delay_max_ms);
    }
    nemesis_later(world, nemesis_draw_ms(world, part_min_ms, part_max_ms), server, heal_loss);
}

static void break_connections(struct world *world, unsigned server)
{
    nemesis_did(world, server, NEMESIS_BREAK);
    for (unsigned other = 0; other < world->options.servers_count; other++) {
        if (other == server)
            continue;
        sim_bus_break(&world->buses, server, other);
        if (nemesis_chance(world, 1, 2))
            sim_bus_break(&world->buses, other, server);
    }
}

/* ---- Clocks ---- */

static void drift(struct world *world, struct sim_server *server)
{
    nemesis_did(world, server->index, NEMESIS_DRIFT);
    sim_disk_clock_drift(server->disk,
                         (int64_t)generator_below(&world->nemesis.generator, 2 * drift_ppm_max) -
                             drift_ppm_max);
}

static void jump(struct world *world, struct sim_server *server)
{
    int64_t size_ns = (int64_t)nemesis_draw_ms(world, 1, jump_max_s * 1000ULL);
    if (nemesis_chance(world, 1, 2))
        size_ns /= 10000;
    nemesis_did(world, server->index, NEMESIS_WALL_JUMP);
    sim_disk_wall_jump(server->disk, nemesis_chance(world, 1, 2) ? size_ns : -size_ns);
}

/* ---- Disks ---- */

void nemesis_heal_slow_disk(struct world *world, unsigned server)
{
    world->nemesis.has_slow_disk = false;
    sim_disk_slow(world->servers[server].disk, 1, 1, 0);
}

void nemesis_slow_disk(struct world *world, struct sim_server *server)
{
    if (world->nemesis.has_slow_disk)
        return;
    world->nemesis.has_slow_disk = true;
    nemesis_did(world, server->index, NEMESIS_SLOW_DISK);
    uint64_t most_ns = nemesis_draw_ms(world, slow_min_ms, slow_max_ms);
    uint64_t span_ns = nemesis_draw_ms(world, part_min_ms, part_max_ms);
    sim_disk_slow(server->disk, most_ns / 10, most_ns, world->now_ns + span_ns);
    nemesis_later(world, span_ns, server->index, nemesis_heal_slow_disk);
}

static void heal_full_disk(struct world *world, unsigned server)
{
    world->nemesis.has_full_disk = false;
    sim_disk_capacity(world->servers[server].disk, UINT64_C(1) << 40);
}

static void full_disk(struct world *world, struct sim_server *server)
{
    if (world->nemesis.has_full_disk)
        return;
    world->nemesis.has_full_disk = true;
    nemesis_did(world, server->index, NEMESIS_DISK_FULL);
    server->may_fail = true;
    sim_disk_capacity(server->disk,
                      sim_disk_used(server->disk) +
                          generator_below(&world->nemesis.generator, full_margin_size));
    nemesis_later(world, nemesis_draw_ms(world, part_min_ms, part_max_ms), server->index,
                  heal_full_disk);
}

/* Counted when an operation meets it. */
static void io_error(struct world *world, struct sim_server *server, enum nemesis_fault fault)
{
    const struct sim_fault armed = {
        .effect = SIM_FAIL,
        .kind = fault == NEMESIS_WRITE_ERROR   ? IO_KIND_WRITE
                : fault == NEMESIS_FLUSH_ERROR ? IO_KIND_FLUSH
                                               : IO_KIND_READ,
        .nth = generator_between(&world->nemesis.generator, 1, fault_nth_max),
        .status = STATUS_IO_ERROR,
        .error_number = 5, /* EIO */
    };
    if (server->armed_fault != NEMESIS_FAULTS_END)
        return;
    server->armed_fault = fault;
    server->armed_hits = sim_disk_fault_hits(server->disk, SIM_FAIL);
    server->may_fail = true;
    sim_disk_fault(server->disk, &armed);
}

void nemesis_look(struct world *world, struct sim_server *server)
{
    if (server->armed_fault == NEMESIS_FAULTS_END ||
        sim_disk_fault_hits(server->disk, SIM_FAIL) == server->armed_hits)
        return;
    nemesis_did(world, server->index, server->armed_fault);
    server->armed_fault = NEMESIS_FAULTS_END;
}

/* The operator replaces the member: half of the time one that is gone already, else one that works
 * until it is removed. */
static void lose_disk(struct world *world, struct sim_server *server)
{
    const struct sim_operator *operator= & world->operator;
    if (!operator_is_idle(operator) || world->nemesis.has_decay)
        return;
    /* Two voters cannot lose one, and then remove it. */
    if (operator_voters_count(operator) < 3 && operator->standings[server->index] == OPERATOR_VOTER)
        return;
    nemesis_did(world, server->index, NEMESIS_LOST_DISK);
    if (nemesis_chance(world, 1, 2))
        server_crash(server, SIM_RESTART_KEEP_ALL, UINT64_MAX);
    operator_replace(&world->operator, server->index);
}

/* ---- Which, and when ---- */

static void act_on(struct world *world, struct sim_server *server, enum nemesis_fault fault)
{
    switch (fault) {
    case NEMESIS_KILL:
    case NEMESIS_POWER_LOSS:
        crash(world, server->index, fault);
        break;
    case NEMESIS_CRASH_AT_STEP:
        crash_at_step(world, server);
        break;
    case NEMESIS_CRASH_ALL:
        if (nemesis_chance(world, 1, 3))
            crash_all(world);
        break;
    case NEMESIS_RESTART:
        nemesis_did(world, server->index, fault);
        server_close(server);
        break;
    case NEMESIS_PAUSE:
        pause_server(world, server);
        break;
    case NEMESIS_LOSS:
    case NEMESIS_DELAY:
        be_lossy(world, server->index, fault);
        break;
    case NEMESIS_BREAK:
        break_connections(world, server->index);
        break;
    case NEMESIS_DRIFT:
        drift(world, server);
        break;
    case NEMESIS_WALL_JUMP:
        jump(world, server);
        break;
    case NEMESIS_SLOW_DISK:
        nemesis_slow_disk(world, server);
        break;
    case NEMESIS_WRITE_ERROR:
    case NEMESIS_FLUSH_ERROR:
    case NEMESIS_READ_ERROR:
        io_error(world, server, fault);
        break;
    case NEMESIS_TRANSFER:
        if (operator_is_idle(&world->operator)) {
            nemesis_did(world, server->index, fault);
            operator_transfer(&world->operator, server->index);
        }
        break;
    case NEMESIS_LOST_DISK:
        lose_disk(world, server);
        break;
    case NEMESIS_DISK_FULL:
        full_disk(world, server);
        break;
    default:
        part(world, server->index, fault);
    }
}

static void act_next(struct world *world, unsigned server)
{
    struct nemesis *nemesis = &world->nemesis;
    if (!nemesis->is_active)
        return;
    unsigned servers_count = world->options.servers_count;
    enum nemesis_fault fault =
        (enum nemesis_fault)generator_below(&nemesis->generator, nemesis_first_count);
    server = (unsigned)generator_below(&nemesis->generator, servers_count);
    if (nemesis_fault_applies(fault, &world->options) &&
        world->servers[server].state == SIM_SERVER_UP && !world->servers[server].is_closing)
        act_on(world, &world->servers[server], fault);
    nemesis_later(world, nemesis_draw_ms(world, between_min_ms, between_max_ms), 0, act_next);
}

void nemesis_begin(struct world *world)
{
    generator_init(&world->nemesis.generator, generator_draw(&world->generator));
    world->nemesis.is_active = true;
    nemesis_later(world, nemesis_draw_ms(world, between_min_ms, between_max_ms), 0, act_next);
    nemesis_more_begin(world);
}

void nemesis_end(struct world *world)
{
    world->nemesis.is_active = false;
    network_heal(&world->network);
    for (unsigned i = 0; i < world->options.servers_count; i++) {
        struct sim_server *server = &world->servers[i];
        nemesis_heal_slow_disk(world, i);
        heal_full_disk(world, i);
        sim_disk_faults_clear(server->disk);
        sim_disk_crash_after(server->disk, UINT64_MAX);
        server->armed_fault = NEMESIS_FAULTS_END;
        server->paused_until_ns = 0;
        if (server->state == SIM_SERVER_DOWN)
            server->restart_ns = world->now_ns;
    }
    nemesis_more_end(world);
}

const char *nemesis_fault_name(enum nemesis_fault fault)
{
    static const char *const names[] = {
#define NEMESIS_NAME(name, text, alone) [NEMESIS_##name] = text,
        NEMESIS_FAULTS(NEMESIS_NAME)
#undef NEMESIS_NAME
#define NEMESIS_NAME(name, text, alone, option) [NEMESIS_##name] = text,
            NEMESIS_MORE_FAULTS(NEMESIS_NAME)
#undef NEMESIS_NAME
    };
    return names[fault];
}

bool nemesis_fault_applies(enum nemesis_fault fault, const struct world_options *options)
{
    bool is_one = options->servers_count == 1;
    /* A graceful stop writes the memtables; without tables there is little to read. */
    if (options->keep_log && (fault == NEMESIS_RESTART || fault == NEMESIS_READ_ERROR))
        return false;
    /* Whoever comes back with an empty disk has no log from which another region could go on. */
    if (options->regions && (fault == NEMESIS_LOST_DISK || fault == NEMESIS_MEMBER_REMOVED ||
                             fault == NEMESIS_MEMBER_REPLACED))
        return false;
    switch (fault) {
#define NEMESIS_CASE(name, text, alone)                                                            \
    case NEMESIS_##name:                                                                           \
        return !is_one || (alone);
        NEMESIS_FAULTS(NEMESIS_CASE)
#undef NEMESIS_CASE
#define NEMESIS_CASE(name, text, alone, option)                                                    \
    case NEMESIS_##name:                                                                           \
        return options->option && (!is_one || (alone));
        NEMESIS_MORE_FAULTS(NEMESIS_CASE)
#undef NEMESIS_CASE
    default:
        UNREACHABLE();
    }
}
