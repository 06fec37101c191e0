/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/operator.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/assert.h"
#include "tests/sim/world.h"

#define NS_PER_MS UINT64_C(1000000)

enum { again_ms = 200 };

static void do_step(struct client *client);

struct sim_operator *operator_of(struct client *client)
{
    return LIST_ENTRY(client, struct sim_operator, client);
}

void operator_init(struct sim_operator *operator, struct world * world, unsigned index)
{
    *operator=(struct sim_operator){0};
    client_init(&operator->client, world, index);
    operator->client.stays = true;
    operator->standings[0] = OPERATOR_VOTER; /* the founder */
}

void operator_free(struct sim_operator *operator)
{
    client_free(&operator->client);
}

bool operator_is_idle(const struct sim_operator *operator)
{
    return operator->plan.step == OPERATOR_IDLE;
}

static void begin(struct sim_operator *operator, const struct operator_deed * deeds, unsigned count)
{
    struct operator_plan *plan = &operator->plan;
    ASSERT(operator_is_idle(operator) && count > 0 && count <= operator_deeds_max);
    *plan = (struct operator_plan){.count = count, .step = deeds[0].step};
    memcpy(plan->deeds, deeds, count * sizeof *deeds);
}

/* Who is removed, or removed in order to come back. */
static void mean(struct sim_operator *operator, unsigned server)
{
    const struct sim_bus *bus = operator->client.world->buses.buses[server];
    operator->plan.id = bus == NULL ? 0 : bus->self;
}

static bool restore_next(struct sim_operator *operator)
{
    for (unsigned i = 0; i < operator->client.world->options.servers_count; i++) {
        if (operator->standings[i] == OPERATOR_VOTER)
            continue;
        if (operator->standings[i] == OPERATOR_OUT)
            operator_add(operator, i);
        else
            operator_promote(operator, i);
        return true;
    }
    return false;
}

static void finish(struct sim_operator *operator)
{
    void (*done)(struct world * world) = operator->plan.done;
    operator->plan =(struct operator_plan){0};
    if (done != NULL)
        done(operator->client.world);
    if (operator->restores)
        (void)restore_next(operator);
}

/* The next deed; one follows a promotion at once. */
static void advance(struct sim_operator *operator)
{
    struct operator_plan *plan = &operator->plan;
    bool at_once = plan->step == OPERATOR_PROMOTE;
    if (++plan->at == plan->count) {
        finish(operator);
        return;
    }
    plan->step = plan->deeds[plan->at].step;
    if (plan->step == OPERATOR_REMOVE)
        mean(operator, plan->deeds[plan->at].server);
    if (at_once)
        do_step(&operator->client);
    else
        client_later(&operator->client, again_ms * NS_PER_MS, do_step);
}

/* What a step's end leads to. Statuses tell more than one way of being done: an attempt of unknown
 * end may have been. */
static void stepped(struct client *client, enum status status, const ProtobufCMessage *message)
{
    struct sim_operator *operator= operator_of(client);
    struct operator_plan *plan = &operator->plan;
    unsigned server = plan->deeds[plan->at].server;
    bool done = status == STATUS_OK;
    (void)message;

    world_note(client->world, &client->world->servers[server], "step %d of the operator: %s",
               (int)plan->step, status_name(status));
    switch (plan->step) {
    case OPERATOR_TRANSFER:
        operator->transfers_count += done;
        done = true;
        break;
    case OPERATOR_HAND_OVER: /* and then what it stood in the way of */
        plan->step = OPERATOR_REMOVE;
        done = false;
        break;
    case OPERATOR_REMOVE:
        done = done || status == STATUS_NOT_FOUND;
        if (done)
            operator->standings[server] = OPERATOR_OUT;
        else if (status == STATUS_CONDITION_FAILED)
            plan->step = OPERATOR_HAND_OVER;
        break;
    case OPERATOR_ADD:
        done = done || status == STATUS_ALREADY_EXISTS;
        if (done)
            operator->standings[server] = OPERATOR_LEARNER;
        break;
    case OPERATOR_PROMOTE:
        done = done || status == STATUS_ALREADY_EXISTS;
        if (done)
            operator->standings[server] = OPERATOR_VOTER;
        break;
    default:
        UNREACHABLE();
    }
    if (done)
        advance(operator);
    else
        client_later(client, again_ms * NS_PER_MS, do_step);
}

static void ask_change(struct sim_operator *operator, Strait__MemberChange__Action action)
{
    Strait__MemberChange change = STRAIT__MEMBER_CHANGE__INIT;
    char name[8];
    char peers[16];

    unsigned server = operator->plan.deeds[operator->plan.at].server;
    snprintf(name, sizeof name, "s%u", server);
    snprintf(peers, sizeof peers, "s%u:7101", server);
    change.action = action;
    change.name = name;
    if (action == STRAIT__MEMBER_CHANGE__ACTION__ADD)
        change.peers = peers;
    if (action == STRAIT__MEMBER_CHANGE__ACTION__REMOVE)
        change.id = operator->plan.id;
    client_ask(&operator->client, FRAME_MEMBER_CHANGE, &change.base, false, stepped);
}

/* To the server, or to any other than it. */
static void ask_transfer(struct sim_operator *operator, bool to)
{
    const struct world *world = operator->client.world;
    Strait__LeaderTransfer transfer = STRAIT__LEADER_TRANSFER__INIT;
    char name[8];
    unsigned server = operator->plan.deeds[operator->plan.at].server;
    if (!to)
        server = (server + 1 +
                  (unsigned)generator_below(&operator->client.generator,
                                            world->options.servers_count - 1)) %
                 world->options.servers_count;
    snprintf(name, sizeof name, "s%u", server);
    transfer.name = name;
    client_ask(&operator->client, FRAME_LEADER_TRANSFER, &transfer.base, false, stepped);
}

static void do_step(struct client *client)
{
    struct sim_operator *operator= operator_of(client);
    struct operator_plan *plan = &operator->plan;

    switch (plan->step) {
    case OPERATOR_REMOVE:
        ask_change(operator, STRAIT__MEMBER_CHANGE__ACTION__REMOVE);
        break;
    case OPERATOR_WIPE:
        server_wipe(&client->world->servers[plan->deeds[plan->at].server]);
        advance(operator);
        break;
    case OPERATOR_ADD:
        ask_change(operator, STRAIT__MEMBER_CHANGE__ACTION__ADD);
        break;
    case OPERATOR_PROMOTE:
        ask_change(operator, STRAIT__MEMBER_CHANGE__ACTION__PROMOTE);
        break;
    case OPERATOR_HAND_OVER:
        ask_transfer(operator, false);
        break;
    case OPERATOR_TRANSFER:
        ask_transfer(operator, true);
        break;
    case OPERATOR_IDLE:
        UNREACHABLE();
    }
}

void operator_build(struct sim_operator *operator, void (*done)(struct world *world))
{
    struct operator_deed deeds[operator_deeds_max];
    unsigned count = 0;
    for (unsigned i = 1; i < operator->client.world->options.servers_count; i++) {
        deeds[count++] = (struct operator_deed){OPERATOR_ADD, i};
        deeds[count++] = (struct operator_deed){OPERATOR_PROMOTE, i};
    }
    begin(operator, deeds, count);
    operator->plan.done = done;
    do_step(&operator->client);
}

void operator_transfer(struct sim_operator *operator, unsigned server)
{
    begin(operator, &(struct operator_deed){OPERATOR_TRANSFER, server}, 1);
    do_step(&operator->client);
}

void operator_replace(struct sim_operator *operator, unsigned server)
{
    const struct operator_deed deeds[] = {{OPERATOR_REMOVE, server},
                                          {OPERATOR_WIPE, server},
                                          {OPERATOR_ADD, server},
                                          {OPERATOR_PROMOTE, server}};
    operator->replacements_count++;
    begin(operator, deeds, 4);
    mean(operator, server);
    do_step(&operator->client);
}

void operator_remove(struct sim_operator *operator, unsigned server)
{
    const struct operator_deed deeds[] = {{OPERATOR_REMOVE, server}, {OPERATOR_WIPE, server}};
    ASSERT(operator->standings[server] != OPERATOR_OUT);
    begin(operator, deeds, 2);
    mean(operator, server);
    do_step(&operator->client);
}

void operator_add(struct sim_operator *operator, unsigned server)
{
    ASSERT(operator->standings[server] == OPERATOR_OUT);
    begin(operator, &(struct operator_deed){OPERATOR_ADD, server}, 1);
    do_step(&operator->client);
}

void operator_promote(struct sim_operator *operator, unsigned server)
{
    ASSERT(operator->standings[server] == OPERATOR_LEARNER);
    begin(operator, &(struct operator_deed){OPERATOR_PROMOTE, server}, 1);
    do_step(&operator->client);
}

void operator_exchange(struct sim_operator *operator, unsigned out, unsigned voter)
{
    const struct operator_deed deeds[] = {{OPERATOR_ADD, out},
                                          {OPERATOR_PROMOTE, out},
                                          {OPERATOR_REMOVE, voter},
                                          {OPERATOR_WIPE, voter}};
    ASSERT(operator->standings[out] == OPERATOR_OUT);
    ASSERT(operator->standings[voter] == OPERATOR_VOTER);
    begin(operator, deeds, 4);
    do_step(&operator->client);
}

void operator_restore(struct sim_operator *operator)
{
    operator->restores = true;
    if (operator_is_idle(operator))
        (void)restore_next(operator);
}

unsigned operator_voters_count(const struct sim_operator *operator)
{
    unsigned count = 0;
    for (unsigned i = 0; i < operator->client.world->options.servers_count; i++)
        count += operator->standings[i] == OPERATOR_VOTER;
    return count;
}
