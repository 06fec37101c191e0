/* SPDX-License-Identifier: Apache-2.0 */
/* Faults of worlds that are told to have them: disks that decay, members that come and go, several
 * faults at once, aimed at whoever leads, and newer programs. They come beside those of nemesis.c.
 */
#include "proto/base/assert.h"
#include "tests/sim/decay.h"
#include "tests/sim/nemesis_internal.h"

enum {
    more_between_min_ms = 200,
    more_between_max_ms = 3000,
    latent_min_ms = 100, /* decay, before its server starts anew */
    latent_max_ms = 3000,
    whole_look_ms = 300,
    answers_late_min_ms = 200, /* by so much, each */
    answers_late_max_ms = 1500,
    aimed_min_ms = 200, /* the first of two faults alone */
    aimed_max_ms = 1200,
    aimed_heal_min_ms = 500,
    aimed_heal_max_ms = 3000,
    blink_max_ms = 20,
    upgrade_between_min_ms = 1000, /* servers are looked at, one of them */
    upgrade_between_max_ms = 10000,
    stalled_min_ms = 1000, /* operations of a disk that stalls */
    stalled_max_ms = 10000,
};

/* ---- Decay ---- */

static bool is_whole(const struct sim_server *server)
{
    return server->state == SIM_SERVER_UP && replicated_log_facts(core_log(server->core)).is_whole;
}

static void crash(struct world *world, struct sim_server *server, enum sim_restart_mode mode,
                  uint64_t down_ns)
{
    sim_disk_clock_advance_to(server->disk, world->now_ns);
    server_crash(server, mode, world->now_ns + down_ns);
}

/* Until the server has started with it, and its log is whole; or until the table is gone: it was
 * rebuilt without it. A compaction that reads it finds it as well. */
static void look_whether_whole(struct world *world, unsigned index)
{
    struct nemesis *nemesis = &world->nemesis;
    const struct sim_server *server = &world->servers[index];
    bool is_over = nemesis->decayed_table[0] == 0
                       ? server->lives > nemesis->decayed_life && is_whole(server)
                       : !sim_disk_exists(server->disk, nemesis->decayed_table);
    if (is_over)
        nemesis->has_decay = false;
    else
        nemesis_later(world, whole_look_ms * NS_PER_MS, index, look_whether_whole);
}

static void end_latency(struct world *world, unsigned index)
{
    struct sim_server *server = &world->servers[index];
    if (world->nemesis.has_decay && world->nemesis.decayed_life == server->lives &&
        server->state == SIM_SERVER_UP)
        crash(world, server, SIM_RESTART_KEEP_ALL,
              world->nemesis.is_active
                  ? nemesis_draw_ms(world, nemesis_down_min_ms, nemesis_down_max_ms)
                  : 0);
}

static bool is_of_table(enum nemesis_fault fault)
{
    return fault >= NEMESIS_TABLE_BIT && fault <= NEMESIS_TABLE_MISDIRECTED;
}

static void decayed(struct world *world, struct sim_server *server, enum nemesis_fault fault)
{
    struct nemesis *nemesis = &world->nemesis;
    nemesis_did(world, server->index, fault);
    if (is_of_table(fault)) {
        server->is_damaged = true; /* which ends no process where there are others */
    } else {
        server->has_decayed = true;
        server->may_fail = true;
    }
    nemesis->has_decay = true;
    nemesis->decayed = server->index;
    nemesis->decayed_life = server->lives;
    nemesis_later(world, whole_look_ms * NS_PER_MS, server->index, look_whether_whole);
}

/* One disk at a time, and none while a member's disk is gone: what the others hold is the only
 * other copy. Half of the time it is found at the start that follows, else by whoever reads it. */
static void decay(struct world *world, struct sim_server *server, enum nemesis_fault fault)
{
    struct generator *generator = &world->nemesis.generator;
    if (world->nemesis.has_decay || !operator_is_idle(&world->operator) || !is_whole(server))
        return;
    struct log_facts facts = replicated_log_facts(core_log(server->core));
    bool is_copy = fault == NEMESIS_COPY_DECAY;
    /* Of two voters neither is a minority. */
    if (!is_copy && operator_voters_count(&world->operator) < 3)
        return;
    if (fault < NEMESIS_COPY_DECAY && facts.held_index <= facts.base.index)
        return;
    bool is_latent = !is_copy && nemesis_chance(world, 1, 2);
    if (!is_latent)
        crash(world, server,
              nemesis_chance(world, 1, 2) ? SIM_RESTART_KEEP_ALL : SIM_RESTART_RANDOM,
              nemesis_draw_ms(world, nemesis_down_min_ms, nemesis_down_max_ms));
    bool done;
    world->nemesis.decayed_table[0] = 0;
    if (is_copy) {
        done = decay_copy(server->disk, generator);
    } else if (is_of_table(fault)) {
        done = decay_table(server->disk, (enum decay)(fault - NEMESIS_TABLE_BIT), generator,
                           world->nemesis.decayed_table);
    } else {
        uint64_t index = generator_between(generator, facts.base.index + 1, facts.held_index);
        uint64_t other = generator_between(generator, facts.base.index + 1, facts.held_index);
        done = decay_log(server->disk, "data/wal", index, other,
                         (enum decay)(fault - NEMESIS_LOG_BIT), generator);
    }
    if (!done)
        return;
    decayed(world, server, fault);
    if (is_latent)
        nemesis_later(world, nemesis_draw_ms(world, latent_min_ms, latent_max_ms), server->index,
                      end_latency);
}

/* ---- Members ---- */

/* False: none is. */
static bool find_standing(const struct world *world, enum operator_standing standing,
                          unsigned *found)
{
    for (*found = 0; *found < world->options.servers_count; (*found)++)
        if (world->operator.standings[*found] == standing)
            return true;
    return false;
}

static void change_members(struct world *world, unsigned server, enum nemesis_fault fault)
{
    struct sim_operator *operator= & world->operator;
    unsigned found;
    if (!operator_is_idle(operator) || world->nemesis.has_decay)
        return;
    bool is_voter = operator->standings[server] == OPERATOR_VOTER;
    switch (fault) {
    case NEMESIS_MEMBER_REMOVED:
        if (operator->standings[server] == OPERATOR_OUT ||(
                is_voter &&operator_voters_count(operator) <= world->options.servers_count / 2 + 1))
            return;
        operator_remove(operator, server);
        break;
    case NEMESIS_MEMBER_ADDED:
        if (!find_standing(world, OPERATOR_OUT, &found))
            return;
        operator_add(operator, found);
        break;
    case NEMESIS_MEMBER_PROMOTED:
        if (!find_standing(world, OPERATOR_LEARNER, &found))
            return;
        operator_promote(operator, found);
        break;
    case NEMESIS_MEMBER_REPLACED:
        if (!is_voter || !find_standing(world, OPERATOR_OUT, &found))
            return;
        operator_exchange(operator, found, server);
        break;
    default:
        UNREACHABLE();
    }
    nemesis_did(world, server, fault);
}

/* ---- Aimed ---- */

static bool find_leader(const struct world *world, unsigned *leader)
{
    for (*leader = 0; *leader < world->options.servers_count; (*leader)++)
        if (world->servers[*leader].state == SIM_SERVER_UP && world->invariants.last[*leader].leads)
            return true;
    return false;
}

static void be_unheard(struct world *world, unsigned leader)
{
    network_part(&world->network, NETWORK_RECEIVE_ONLY, leader);
    nemesis_later(world, nemesis_draw_ms(world, aimed_heal_min_ms, aimed_heal_max_ms), leader,
                  nemesis_heal_partition);
}

/* The leader hears the others late; then they do not hear it any more, and choose another, while
 * what they said before still comes. Its disk may be slow, so that reads wait meanwhile. */
static void late_answers(struct world *world, unsigned leader)
{
    uint64_t late_ns = nemesis_draw_ms(world, answers_late_min_ms, answers_late_max_ms);
    world->nemesis.has_partition = true;
    for (unsigned other = 0; other < world->options.servers_count; other++)
        if (other != leader)
            world->network.late_ns[other][leader] = late_ns;
    nemesis_did(world, leader, NEMESIS_LATE_ANSWERS);
    if (nemesis_chance(world, 1, 2))
        nemesis_slow_disk(world, &world->servers[leader]);
    nemesis_later(world, nemesis_draw_ms(world, aimed_min_ms, aimed_max_ms), leader, be_unheard);
}

/* Leadership is handed to one whom the leader hears late. */
static void late_transfer(struct world *world, unsigned leader, unsigned to)
{
    if (!operator_is_idle(&world->operator) || leader == to)
        return;
    world->nemesis.has_partition = true;
    world->network.late_ns[to][leader] =
        nemesis_draw_ms(world, answers_late_min_ms, answers_late_max_ms);
    nemesis_did(world, to, NEMESIS_LATE_TRANSFER);
    operator_transfer(&world->operator, to);
    nemesis_later(world, nemesis_draw_ms(world, aimed_heal_min_ms, aimed_heal_max_ms), to,
                  nemesis_heal_partition);
}

/* All but the leader and the one that is cut off from it. */
static void blink(struct world *world, unsigned candidate)
{
    if (!world->nemesis.is_active)
        return;
    for (unsigned i = 0; i < world->options.servers_count; i++) {
        struct sim_server *server = &world->servers[i];
        if (i == candidate || i == world->nemesis.aimed || server->state != SIM_SERVER_UP ||
            sim_disk_now_ns(server->disk) > world->now_ns)
            continue;
        crash(world, server, SIM_RESTART_RANDOM, nemesis_draw_ms(world, 1, blink_max_ms));
    }
}

/* One cannot hear the leader and wants to be elected; the others, who do, lose power for so short a
 * time that the leader may still count on what they answered. */
static void cut_and_blink(struct world *world, unsigned leader, unsigned candidate)
{
    if (leader == candidate)
        return;
    world->nemesis.has_partition = true;
    world->nemesis.aimed = leader;
    world->network.cut[leader][candidate] = world->network.cut[candidate][leader] = true;
    nemesis_did(world, candidate, NEMESIS_BLINK);
    nemesis_later(world, nemesis_draw_ms(world, aimed_min_ms, aimed_max_ms), candidate, blink);
    nemesis_later(world, nemesis_draw_ms(world, aimed_max_ms, aimed_heal_max_ms), candidate,
                  nemesis_heal_partition);
}

/* Each operation of the leader's disk takes seconds: it is to let another lead (commitment.h). */
static void stall_disk(struct world *world, unsigned leader)
{
    if (world->nemesis.has_slow_disk)
        return;
    world->nemesis.has_slow_disk = true;
    nemesis_did(world, leader, NEMESIS_STALLED_DISK);
    uint64_t most_ns = nemesis_draw_ms(world, stalled_min_ms, stalled_max_ms);
    sim_disk_slow(world->servers[leader].disk, most_ns / 2, most_ns, world->now_ns + most_ns);
    nemesis_later(world, most_ns, leader, nemesis_heal_slow_disk);
}

static void aim(struct world *world, unsigned server, enum nemesis_fault fault)
{
    unsigned leader;
    if (world->nemesis.has_partition || !find_leader(world, &leader))
        return;
    switch (fault) {
    case NEMESIS_LATE_ANSWERS:
        late_answers(world, leader);
        break;
    case NEMESIS_LATE_TRANSFER:
        late_transfer(world, leader, server);
        break;
    case NEMESIS_BLINK:
        cut_and_blink(world, leader, server);
        break;
    case NEMESIS_STALLED_DISK:
        stall_disk(world, leader);
        break;
    default:
        UNREACHABLE();
    }
}

/* ---- Programs ---- */

static void act_upgrade(struct world *world, unsigned none);

static void upgrade_later(struct world *world)
{
    nemesis_later(world, nemesis_draw_ms(world, upgrade_between_min_ms, upgrade_between_max_ms), 0,
                  act_upgrade);
}

/* One server starts anew with the newer program: stopped in good order, as an operator would, or
 * because it failed. It never goes back to the older one. */
static void upgrade(struct world *world, struct sim_server *server)
{
    nemesis_did(world, server->index, NEMESIS_UPGRADE);
    server->version_max = sim_version_next;
    if (!world->options.keep_log && nemesis_chance(world, 2, 3))
        server_close(server);
    else
        crash(world, server,
              nemesis_chance(world, 1, 2) ? SIM_RESTART_KEEP_ALL : SIM_RESTART_RANDOM,
              nemesis_draw_ms(world, nemesis_down_min_ms, nemesis_down_max_ms));
}

static void act_upgrade(struct world *world, unsigned none)
{
    unsigned index =
        (unsigned)generator_below(&world->nemesis.generator, world->options.servers_count);
    struct sim_server *server = &world->servers[index];
    (void)none;
    if (!world->nemesis.is_active)
        return;
    if (server->state == SIM_SERVER_UP && !server->is_closing &&
        server->version_max != sim_version_next)
        upgrade(world, server);
    upgrade_later(world);
}

/* ---- Which, and when ---- */

static void act_more(struct world *world, unsigned none)
{
    struct generator *generator = &world->nemesis.generator;
    (void)none;
    if (!world->nemesis.is_active)
        return;
    enum nemesis_fault fault =
        (enum nemesis_fault)generator_between(generator, nemesis_first_count, NEMESIS_STALLED_DISK);
    unsigned index = (unsigned)generator_below(generator, world->options.servers_count);
    struct sim_server *server = &world->servers[index];
    if (nemesis_fault_applies(fault, &world->options) && server->state == SIM_SERVER_UP &&
        !server->is_closing) {
        if (fault <= NEMESIS_TABLE_MISDIRECTED)
            decay(world, server, fault);
        else if (fault <= NEMESIS_MEMBER_REPLACED)
            change_members(world, index, fault);
        else
            aim(world, index, fault);
    }
    nemesis_later(world, nemesis_draw_ms(world, more_between_min_ms, more_between_max_ms), 0,
                  act_more);
}

void nemesis_more_begin(struct world *world)
{
    if (world->options.decay || world->options.churn || world->options.aim)
        nemesis_later(world, nemesis_draw_ms(world, more_between_min_ms, more_between_max_ms), 0,
                      act_more);
    if (world->options.upgrade)
        upgrade_later(world);
}

void nemesis_more_end(struct world *world)
{
    if (world->nemesis.has_decay)
        end_latency(world, world->nemesis.decayed);
    operator_restore(&world->operator);
}
