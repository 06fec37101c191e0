/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/operator.h"

#include <stdio.h>

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
}

void operator_free(struct sim_operator *operator)
{
    client_free(&operator->client);
}

bool operator_is_idle(const struct sim_operator *operator)
{
    return operator->plan.step == OPERATOR_IDLE;
}

static void finish(struct sim_operator *operator)
{
    void (*done)(struct world * world) = operator->plan.done;
    operator->plan =(struct operator_plan){0};
    if (done != NULL)
        done(operator->client.world);
}

/* A member more, or the region is whole. */
static void added(struct sim_operator *operator)
{
    struct operator_plan *plan = &operator->plan;
    if (plan->builds && plan->server + 1 < operator->client.world->options.servers_count) {
        plan->server++;
        plan->step = OPERATOR_ADD;
        do_step(&operator->client);
        return;
    }
    finish(operator);
}

/* What a step's end leads to. Statuses tell more than one way of being done: an attempt of unknown
 * end may have been. */
static void stepped(struct client *client, enum status status, const ProtobufCMessage *message)
{
    struct sim_operator *operator= operator_of(client);
    struct operator_plan *plan = &operator->plan;
    (void)message;

    world_note(client->world, &client->world->servers[plan->server], "step %d of the operator: %s",
               (int)plan->step, status_name(status));
    switch (plan->step) {
    case OPERATOR_TRANSFER:
        operator->transfers_count += status == STATUS_OK;
        finish(operator);
        return;
    case OPERATOR_HAND_OVER:
        plan->step = OPERATOR_REMOVE;
        break;
    case OPERATOR_REMOVE:
        if (status == STATUS_OK || status == STATUS_NOT_FOUND)
            plan->step = OPERATOR_WIPE;
        else if (status == STATUS_CONDITION_FAILED)
            plan->step = OPERATOR_HAND_OVER;
        break;
    case OPERATOR_ADD:
        if (status == STATUS_OK || status == STATUS_ALREADY_EXISTS)
            plan->step = OPERATOR_PROMOTE;
        break;
    case OPERATOR_PROMOTE:
        if (status == STATUS_OK || status == STATUS_ALREADY_EXISTS) {
            added(operator);
            return;
        }
        break;
    default:
        UNREACHABLE();
    }
    client_later(client, again_ms * NS_PER_MS, do_step);
}

static void ask_change(struct sim_operator *operator, Strait__MemberChange__Action action)
{
    Strait__MemberChange change = STRAIT__MEMBER_CHANGE__INIT;
    char name[8];
    char peers[16];

    snprintf(name, sizeof name, "s%u", operator->plan.server);
    snprintf(peers, sizeof peers, "s%u:7101", operator->plan.server);
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
    unsigned server = operator->plan.server;
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
        server_wipe(&client->world->servers[plan->server]);
        plan->step = OPERATOR_ADD;
        client_later(client, again_ms * NS_PER_MS, do_step);
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
    ASSERT(operator_is_idle(operator));
    operator->plan =(struct operator_plan){
        .step = OPERATOR_ADD, .server = 1, .builds = true, .done = done};
    do_step(&operator->client);
}

void operator_transfer(struct sim_operator *operator, unsigned server)
{
    ASSERT(operator_is_idle(operator));
    operator->plan =(struct operator_plan){.step = OPERATOR_TRANSFER, .server = server};
    do_step(&operator->client);
}

void operator_replace(struct sim_operator *operator, unsigned server)
{
    ASSERT(operator_is_idle(operator));
    operator->replacements_count++;
    const struct sim_bus *bus = operator->client.world->buses.buses[server];
    operator->plan =(struct operator_plan){
        .step = OPERATOR_REMOVE, .server = server, .id = bus == NULL ? 0 : bus->self};
    do_step(&operator->client);
}
