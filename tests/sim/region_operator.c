/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/region_operator.h"

#include <stdio.h>

#include "proto/base/assert.h"
#include "tests/sim/pair.h"

#define NS_PER_MS UINT64_C(1000000)

enum {
    between_min_ms = 800, /* two deeds */
    between_max_ms = 6000,
    gentle_deeds = 6, /* before the first region is given up */
    again_ms = 200,
    interrupt_max_ms = 500,
    lost_min_ms = 3000, /* a region, or the line */
    lost_max_ms = 20000,
    given_up_max_ms = 4000, /* until the other is promoted by force */
    silent_ms = 10500,      /* until it is promoted without */
};

static const char *const names[] = {"a", "b"};

static struct region_operator *operator_of_region(const struct client *client)
{
    return &client->world->pair->operator;
}

void region_operator_init(struct region_operator *operator, struct pair * pair, uint64_t seed,
                          unsigned index)
{
    *operator=(struct region_operator){.pair = pair};
    generator_init(&operator->generator, seed);
    operator->promotes = generator_chance(&operator->generator, 1, 2);
    operator->forces = !pair->has_witness || generator_chance(&operator->generator, 1, 4);
    for (unsigned side = 0; side < 2; side++) {
        client_init(&operator->clients[side], &pair->worlds[side], index + side);
        operator->clients[side].stays = true;
    }
}

void region_operator_free(struct region_operator *operator)
{
    client_free(&operator->clients[0]);
    client_free(&operator->clients[1]);
}

bool region_operator_is_idle(const struct region_operator *operator)
{
    return !operator->clients[0].call.active && !operator->clients[1].call.active;
}

static uint64_t draw_ns(struct pair *pair, uint64_t min_ms, uint64_t max_ms)
{
    return NS_PER_MS * generator_between(&pair->operator.generator, min_ms, max_ms);
}

static bool chance(struct pair *pair, uint64_t numerator, uint64_t denominator)
{
    return generator_chance(&pair->operator.generator, numerator, denominator);
}

/* ---- The list of regions ---- */

static void add_next(struct client *client);

static void added(struct client *client, enum status status, const ProtobufCMessage *message)
{
    struct region_operator *operator= operator_of_region(client);
    (void)message;
    world_note(client->world, NULL, "region %u is added: %s", operator->added_count,
               status_name(status));
    if (status == STATUS_OK || status == STATUS_ALREADY_EXISTS)
        operator->added_count++;
    if (operator->added_count == 2)
        operator->done(operator->pair);
    else
        client_later(client, again_ms * NS_PER_MS, add_next);
}

static void add_next(struct client *client)
{
    struct region_operator *operator= operator_of_region(client);
    Strait__RegionChange change = STRAIT__REGION_CHANGE__INIT;
    Strait__Region region = STRAIT__REGION__INIT;
    char endpoints[sim_servers_max][16];
    char *list[sim_servers_max];
    unsigned side = operator->added_count;

    for (unsigned i = 0; i < client->world->options.servers_count; i++) {
        snprintf(endpoints[i], sizeof endpoints[i], "%s%u:7100", names[side], i);
        list[i] = endpoints[i];
    }
    region.id = side + 1;
    region.name = (char *)(uintptr_t)names[side];
    region.endpoints = list;
    region.n_endpoints = client->world->options.servers_count;
    change.action = STRAIT__REGION_CHANGE__ACTION__ADD;
    change.region = &region;
    client_ask(client, FRAME_REGION_CHANGE, &change.base, false, added);
}

void region_operator_set_up(struct region_operator *operator, void (*done)(struct pair *pair))
{
    operator->done = done;
    add_next(&operator->clients[0]);
}

/* ---- Deeds ---- */

static void switched(struct client *client, enum status status, const ProtobufCMessage *message)
{
    struct region_operator *operator= operator_of_region(client);
    const Strait__RegionSwitchoverReply *reply = (const void *)message;
    bool is_done = status == STATUS_OK && !reply->was_primary_before;
    world_note(client->world, NULL, "switchover asked of %s: %s%s", names[client->world->side],
               status_name(status), is_done ? ", done" : "");
    operator->switchovers_count += is_done;
    operator->undone_count += status != STATUS_OK;
}

static void promoted(struct client *client, enum status status, const ProtobufCMessage *message)
{
    struct region_operator *operator= operator_of_region(client);
    const Strait__RegionPromoteReply *reply = (const void *)message;
    bool is_done = status == STATUS_OK && reply->done;
    world_note(client->world, NULL, "promotion asked of %s: %s%s", names[client->world->side],
               status_name(status), is_done ? ", done" : "");
    operator->promotions_count += is_done;
}

static void switch_over(struct pair *pair, unsigned from)
{
    struct client *client = &pair->operator.clients[from];
    Strait__RegionSwitchover wanted = STRAIT__REGION_SWITCHOVER__INIT;
    if (client->call.active)
        return;
    wanted.to = (char *)(uintptr_t)names[1 - from];
    wanted.timeout_ms = (uint32_t)generator_between(&pair->operator.generator, 500, 8000);
    client_ask(client, FRAME_REGION_SWITCHOVER, &wanted.base, false, switched);
}

static void promote(struct pair *pair, unsigned side, bool force)
{
    struct client *client = &pair->operator.clients[side];
    Strait__RegionPromote wanted = STRAIT__REGION_PROMOTE__INIT;
    if (client->call.active || !pair->operator.is_active)
        return;
    wanted.force = force && pair->operator.forces;
    lease_watch_asked(pair, side, wanted.force);
    client_ask(client, FRAME_REGION_PROMOTE, &wanted.base, false, promoted);
}

static void promote_by_force(struct pair *pair, uint64_t side)
{
    promote(pair, (unsigned)side, true);
}

static void promote_unforced(struct pair *pair, uint64_t side)
{
    promote(pair, (unsigned)side, false);
}

static void lose_power(struct pair *pair, unsigned side, unsigned index, uint64_t span_ns)
{
    struct sim_server *server = &pair->worlds[side].servers[index];
    enum sim_restart_mode mode = chance(pair, 1, 3) ? SIM_RESTART_KEEP_ALL : SIM_RESTART_RANDOM;
    if (server->state != SIM_SERVER_UP)
        return;
    world_note(server->world, server, "loses power");
    sim_disk_clock_advance_to(server->disk, pair_now_ns(pair));
    server_crash(server, mode, pair_now_ns(pair) + span_ns);
}

static void lose_region(struct pair *pair, unsigned side, uint64_t span_ns)
{
    for (unsigned i = 0; i < pair->worlds[side].options.servers_count; i++)
        lose_power(pair, side, i, span_ns + i * again_ms * NS_PER_MS);
}

static void interrupt(struct pair *pair, uint64_t number)
{
    unsigned side = (unsigned)(number % 2);
    struct world *world = &pair->worlds[side];
    unsigned index =
        (unsigned)generator_below(&pair->operator.generator, world->options.servers_count);
    if (!pair->operator.is_active)
        return;
    switch (number / 2) {
    case 0:
        lose_power(pair, side, index, draw_ns(pair, 50, 3000));
        break;
    case 1:
        lose_region(pair, side, draw_ns(pair, 50, 5000));
        break;
    case 2:
        line_faults_cut(pair, draw_ns(pair, 100, 8000));
        break;
    default:
        if (operator_is_idle(&world->operator))
            operator_transfer(&world->operator, index);
    }
}

static void lose(struct pair *pair, unsigned primary)
{
    uint64_t span_ns = draw_ns(pair, lost_min_ms, lost_max_ms);
    bool by_force = chance(pair, 3, 4);
    if (!by_force)
        span_ns += silent_ms * NS_PER_MS;
    if (chance(pair, 1, 2))
        lose_region(pair, primary, span_ns);
    else
        line_faults_cut(pair, span_ns);
    if (by_force)
        line_faults_later(pair, draw_ns(pair, 1, given_up_max_ms), 1 - primary, promote_by_force);
    else
        line_faults_later(pair, silent_ms * NS_PER_MS, 1 - primary, promote_unforced);
}

static void cut_in_midst(struct pair *pair, uint64_t number)
{
    if (number == 0 || !pair->operator.is_active)
        return;
    line_faults_cut(pair, number);
    line_faults_later(pair, draw_ns(pair, 1, 1500), 0, promote_by_force);
    line_faults_later(pair, draw_ns(pair, 1, 1500), 1, promote_by_force);
}

static void race(struct pair *pair, unsigned primary)
{
    switch_over(pair, primary);
    line_faults_later(pair, draw_ns(pair, 0, interrupt_max_ms),
                      draw_ns(pair, lost_min_ms, lost_max_ms), cut_in_midst);
}

void region_operator_granted(struct region_operator *operator, unsigned to)
{
    struct pair *pair = operator->pair;
    if (!operator->is_active || !operator->promotes || !chance(pair, 1, 3))
        return;
    line_faults_cut(pair, draw_ns(pair, lost_min_ms, lost_max_ms));
    line_faults_later(pair, draw_ns(pair, 1, given_up_max_ms), to, promote_by_force);
}

static void act_next(struct pair *pair, uint64_t unused)
{
    struct region_operator *operator= & pair->operator;
    (void)unused;
    if (!operator->is_active)
        return;
    unsigned primary = pair_epoch(pair).region - 1;
    uint64_t kind = generator_below(&operator->generator, 100);
    if (operator->promotes && kind<15) {
        lose(pair, primary);
    } else if (operator->promotes && kind<25) {
        race(pair, primary);
    } else if (kind < 35) {
        promote(pair, 1 - primary, false);
    } else {
        switch_over(pair, primary);
        if (chance(pair, 1, 2))
            line_faults_later(pair, draw_ns(pair, 0, interrupt_max_ms),
                              generator_below(&operator->generator, 8), interrupt);
    }
    line_faults_later(pair, draw_ns(pair, between_min_ms, between_max_ms), 0, act_next);
}

void region_operator_begin(struct region_operator *operator)
{
    operator->is_active = true;
    line_faults_later(operator->pair, draw_ns(operator->pair, between_min_ms, between_max_ms), 0,
                      act_next);
}

void region_operator_end(struct region_operator *operator)
{
    operator->is_active = false;
}
