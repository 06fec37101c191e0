/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/witness_faults.h"

#include "proto/base/assert.h"
#include "tests/sim/pair.h"

#define NS_PER_MS UINT64_C(1000000)

enum {
    between_min_ms = 500, /* two faults */
    between_max_ms = 7000,
    gentle_times = 3,
    down_min_ms = 50,
    down_max_ms = 6000,
    pause_min_ms = 100,
    pause_max_ms = 8000,
    cut_min_ms = 300,
    cut_leases = 4,      /* at most so many times as long as a lease */
    noticed_ms = 6000,   /* a connection on which nothing came for so long is given up */
    steps_max = 24,      /* until a crash */
    turn_leases = 5,     /* until the other region should have been promoted */
    turn_steps_max = 12, /* of what is written for a new epoch */
    turned_leases = 3,   /* the witness starts anew, and the old primary finds it, within */
    turned_ms = 3000,
    drift_per_million = 400, /* as of servers */
};

static bool chance(struct pair *pair, uint64_t numerator, uint64_t denominator)
{
    return generator_chance(&pair->witness_faults.generator, numerator, denominator);
}

static uint64_t draw_ns(struct pair *pair, uint64_t min_ms, uint64_t max_ms)
{
    return NS_PER_MS * generator_between(&pair->witness_faults.generator, min_ms, max_ms);
}

static void did(struct pair *pair, enum witness_fault fault)
{
    pair->witness_faults.counts[fault]++;
    world_note(&pair->worlds[0], NULL, "fault: %s", witness_fault_name(fault));
}

/* ---- The process and its disk ---- */

static void crash(struct pair *pair, enum witness_fault fault)
{
    enum sim_restart_mode mode = SIM_RESTART_KEEP_ALL;
    if (fault == WITNESS_FAULT_POWER_LOSS)
        mode = chance(pair, 1, 2) ? SIM_RESTART_LOSE_UNFLUSHED : SIM_RESTART_RANDOM;
    did(pair, fault);
    sim_disk_clock_advance_to(pair->witness.disk, pair_now_ns(pair));
    sim_witness_crash(&pair->witness, mode,
                      pair_now_ns(pair) + draw_ns(pair, down_min_ms, down_max_ms));
}

static void crash_at_step(struct pair *pair, uint64_t steps_count)
{
    struct sim_disk *disk = pair->witness.disk;
    sim_disk_crash_after(disk, sim_disk_steps_count(disk) + steps_count);
}

/* ---- Lines ---- */

static void break_cut(struct pair *pair)
{
    for (unsigned side = 0; side < 2; side++)
        for (unsigned i = 0; i < pair->worlds[side].options.servers_count; i++) {
            if (pair->worlds[side].servers[i].state != SIM_SERVER_UP)
                continue;
            for (unsigned site = 0; site < wan_sites_count; site++)
                if (site != side && !wan_is_whole(&pair->wan, side, site))
                    region_links_break(&pair->links[side][i], site);
        }
}

/* Whoever is connected notices, where the cut lasts. */
static void notice(struct pair *pair, uint64_t number)
{
    if (pair->witness_faults.has_cut && pair->witness_faults.cuts_count == number)
        break_cut(pair);
}

static void heal_lines(struct pair *pair)
{
    for (unsigned one = 0; one < wan_sites_count; one++)
        for (unsigned other = 0; other < one; other++)
            wan_cut(&pair->wan, one, other, WAN_SHAPES, false);
}

static void heal(struct pair *pair, uint64_t number)
{
    struct witness_faults *faults = &pair->witness_faults;
    if (faults->cuts_count != number)
        return;
    faults->has_cut = faults->turns = false;
    heal_lines(pair);
    world_note(&pair->worlds[0], NULL, "the shape is healed");
}

/* The lines stay as they were cut now, for so long. */
static void hold(struct pair *pair, uint64_t span_ns)
{
    struct witness_faults *faults = &pair->witness_faults;
    faults->has_cut = true;
    faults->cuts_count++;
    line_faults_later(pair, noticed_ms * NS_PER_MS, faults->cuts_count, notice);
    line_faults_later(pair, span_ns, faults->cuts_count, heal);
}

/* A region is cut off from both others. */
static void cut_off(struct pair *pair, unsigned side, uint64_t span_ns)
{
    heal_lines(pair);
    wan_cut(&pair->wan, side, wan_witness, WAN_SHAPES, true);
    wan_cut(&pair->wan, side, 1 - side, WAN_SHAPES, true);
    hold(pair, span_ns);
}

static void cut(struct pair *pair, enum witness_fault fault)
{
    struct witness_faults *faults = &pair->witness_faults;
    uint64_t span_ns = draw_ns(pair, cut_min_ms, cut_leases * pair->lease_ms);
    unsigned primary = pair_epoch(pair).region - 1;
    unsigned side = (unsigned)generator_below(&faults->generator, 2);

    if (faults->has_cut)
        return;
    if (fault != WITNESS_FAULT_TURN) /* which comes when the other region is promoted, if it is */
        did(pair, fault);
    switch (fault) {
    case WITNESS_FAULT_DEAF:
        if (chance(pair, 1, 2))
            wan_cut_way(&pair->wan, side, wan_witness, WAN_SHAPES, true);
        else
            wan_cut_way(&pair->wan, wan_witness, side, WAN_SHAPES, true);
        hold(pair, span_ns);
        break;
    case WITNESS_FAULT_CUT_ONE:
    case WITNESS_FAULT_CUT_BOTH:
        wan_cut(&pair->wan, side, wan_witness, WAN_SHAPES, true);
        wan_cut(&pair->wan, 1 - side, wan_witness, WAN_SHAPES, fault == WITNESS_FAULT_CUT_BOTH);
        hold(pair, span_ns);
        break;
    case WITNESS_FAULT_PRIMARY_ALONE:
        cut_off(pair, primary, span_ns);
        break;
    case WITNESS_FAULT_STANDBY_ALONE:
        cut_off(pair, 1 - primary, span_ns);
        break;
    case WITNESS_FAULT_ALL_ALONE:
        cut_off(pair, primary, span_ns);
        wan_cut(&pair->wan, 1 - primary, wan_witness, WAN_SHAPES, true);
        break;
    default: /* until the other is promoted, or so long that it should have been */
        faults->turns = true;
        faults->turned = primary;
        cut_off(pair, primary, turn_leases * pair->lease_ms * NS_PER_MS);
    }
}

/* The witness is the old primary's alone. What it knew it has read from its disk. */
static void turn(struct pair *pair, uint64_t side)
{
    enum sim_restart_mode mode =
        chance(pair, 1, 2) ? SIM_RESTART_LOSE_UNFLUSHED : SIM_RESTART_KEEP_ALL;
    uint64_t span_ns = draw_ns(pair, turned_ms, turned_ms + turned_leases * pair->lease_ms) +
                       turned_ms * NS_PER_MS;
    if (!pair->witness_faults.is_active)
        return;
    did(pair, WITNESS_FAULT_TURN);
    if (pair->witness.state == SIM_SERVER_UP) {
        sim_disk_clock_advance_to(pair->witness.disk, pair_now_ns(pair));
        sim_witness_crash(&pair->witness, mode,
                          pair_now_ns(pair) + draw_ns(pair, down_min_ms, turned_ms / 4));
    }
    cut_off(pair, (unsigned)side, span_ns);
}

void witness_faults_epoch_began(struct pair *pair, struct epoch epoch)
{
    struct witness_faults *faults = &pair->witness_faults;
    if (!faults->turns || epoch.region - 1 == faults->turned)
        return;
    faults->turns = false;
    if (pair->witness.state == SIM_SERVER_UP)
        crash_at_step(pair, 1 + generator_below(&faults->generator, turn_steps_max));
    line_faults_later(pair, draw_ns(pair, 200, pair->lease_ms), epoch.region - 1, turn);
}

/* ---- What is next ---- */

static void act(struct pair *pair, enum witness_fault fault)
{
    struct witness_faults *faults = &pair->witness_faults;
    struct sim_witness *witness = &pair->witness;
    int64_t drift = (int64_t)generator_between(&faults->generator, 0, 2 * drift_per_million) -
                    drift_per_million;

    if (fault >= WITNESS_FAULT_CUT_ONE) {
        cut(pair, fault);
        return;
    }
    if (witness->state != SIM_SERVER_UP)
        return;
    switch (fault) {
    case WITNESS_FAULT_CRASH_AT_STEP:
        did(pair, fault);
        crash_at_step(pair, 1 + generator_below(&faults->generator, steps_max));
        break;
    case WITNESS_FAULT_PAUSE:
        did(pair, fault);
        witness->paused_until_ns = pair_now_ns(pair) + draw_ns(pair, pause_min_ms, pause_max_ms);
        break;
    case WITNESS_FAULT_DRIFT:
        did(pair, fault);
        sim_disk_clock_drift(witness->disk, drift);
        break;
    default:
        crash(pair, fault);
    }
}

static void act_next(struct pair *pair, uint64_t number);

static void act_later(struct pair *pair)
{
    uint64_t times = pair->witness_faults.is_gentle ? gentle_times : 1;
    line_faults_later(pair, times * draw_ns(pair, between_min_ms, between_max_ms), 0, act_next);
}

static void act_next(struct pair *pair, uint64_t number)
{
    struct witness_faults *faults = &pair->witness_faults;
    (void)number;
    if (!faults->is_active)
        return;
    act(pair, (enum witness_fault)generator_below(&faults->generator, WITNESS_FAULTS_END));
    act_later(pair);
}

void witness_faults_begin(struct pair *pair)
{
    pair->witness_faults.is_active = true;
    act_later(pair);
}

void witness_faults_end(struct pair *pair)
{
    struct witness_faults *faults = &pair->witness_faults;
    struct sim_witness *witness = &pair->witness;
    faults->is_active = faults->has_cut = faults->turns = false;
    faults->cuts_count++;
    heal_lines(pair);
    witness->paused_until_ns = 0;
    sim_disk_crash_after(witness->disk, UINT64_MAX);
    if (witness->state != SIM_SERVER_UP)
        witness->restart_ns = pair_now_ns(pair);
}

const char *witness_fault_name(enum witness_fault fault)
{
    static const char *const names[] = {
#define WITNESS_FAULT_NAME(name, text) [WITNESS_FAULT_##name] = text,
        WITNESS_FAULTS(WITNESS_FAULT_NAME)
#undef WITNESS_FAULT_NAME
    };
    return names[fault];
}
