/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/line_faults.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "tests/sim/pair.h"

#define NS_PER_MS UINT64_C(1000000)

enum {
    between_min_ms = 500, /* two faults */
    between_max_ms = 8000,
    gentle_times = 4,
    cut_min_ms = 100,
    cut_max_ms = 15000,
    noticed_ms = 6000,   /* a connection on which nothing came for so long is given up */
    slow_min_bytes = 20, /* a millisecond */
    slow_max_bytes = 2000,
    stall_max_percent = 20,
};

struct action {
    struct event event; /* first */
    struct pair *pair;
    uint64_t number;
    void (*act)(struct pair *pair, uint64_t number);
};

static void drop(struct event *event)
{
    free(event);
}

static void fire(struct event *event)
{
    struct action *action = (struct action *)event;
    action->act(action->pair, action->number);
    free(action);
}

void line_faults_later(struct pair *pair, uint64_t delay_ns, uint64_t number,
                       void (*act)(struct pair *pair, uint64_t number))
{
    struct action *action = calloc(1, sizeof *action);
    ASSERT(action != NULL);
    *action = (struct action){
        .event = {.fire = fire, .drop = drop}, .pair = pair, .number = number, .act = act};
    schedule_add(&pair->worlds[0].schedule, &action->event, pair_now_ns(pair) + delay_ns);
}

static uint64_t draw_ns(struct pair *pair, uint64_t min_ms, uint64_t max_ms)
{
    return NS_PER_MS * generator_between(&pair->faults.generator, min_ms, max_ms);
}

static void did(struct pair *pair, enum line_fault fault)
{
    pair->faults.counts[fault]++;
    world_note(&pair->worlds[0], NULL, "fault: %s", line_fault_name(fault));
}

static void break_all(struct pair *pair)
{
    for (unsigned side = 0; side < 2; side++)
        for (unsigned i = 0; i < pair->worlds[side].options.servers_count; i++)
            if (pair->worlds[side].servers[i].state == SIM_SERVER_UP)
                region_links_break(&pair->links[side][i], 1 - side);
}

/* Whoever is connected notices, where the cut lasts. */
static void notice(struct pair *pair, uint64_t number)
{
    if (pair->faults.has_cut && pair->faults.cuts_count == number)
        break_all(pair);
}

static void heal_cut(struct pair *pair, uint64_t number)
{
    if (pair->faults.cuts_count != number)
        return;
    pair->faults.has_cut = false;
    wan_cut(&pair->wan, 0, 1, WAN_LINE_FAULTS, false);
    world_note(&pair->worlds[0], NULL, "the line is healed");
}

static void cut(struct pair *pair, bool there, bool back, uint64_t span_ns)
{
    struct line_faults *faults = &pair->faults;
    faults->has_cut = true;
    faults->cuts_count++;
    wan_cut_way(&pair->wan, 0, 1, WAN_LINE_FAULTS, there);
    wan_cut_way(&pair->wan, 1, 0, WAN_LINE_FAULTS, back);
    line_faults_later(pair, noticed_ms * NS_PER_MS, faults->cuts_count, notice);
    line_faults_later(pair, span_ns, faults->cuts_count, heal_cut);
}

void line_faults_cut(struct pair *pair, uint64_t span_ns)
{
    did(pair, LINE_CUT);
    cut(pair, true, true, span_ns);
}

static void heal_slowness(struct pair *pair, uint64_t number)
{
    (void)number;
    pair->faults.has_slowness = false;
    pair->wan.slow_bytes_per_ms = 0;
    pair->wan.stall_percent = 0;
}

static void be_slow(struct pair *pair, enum line_fault fault)
{
    struct line_faults *faults = &pair->faults;
    if (faults->has_slowness)
        return;
    faults->has_slowness = true;
    did(pair, fault);
    if (fault == LINE_SLOW)
        pair->wan.slow_bytes_per_ms =
            generator_between(&faults->generator, slow_min_bytes, slow_max_bytes);
    else
        pair->wan.stall_percent =
            (unsigned)generator_between(&faults->generator, 1, stall_max_percent);
    line_faults_later(pair, draw_ns(pair, cut_min_ms, cut_max_ms), 0, heal_slowness);
}

static void act_next(struct pair *pair, uint64_t number);

static void act_later(struct pair *pair)
{
    uint64_t times = pair->faults.is_gentle ? gentle_times : 1;
    line_faults_later(pair, times * draw_ns(pair, between_min_ms, between_max_ms), 0, act_next);
}

static void act_next(struct pair *pair, uint64_t number)
{
    struct line_faults *faults = &pair->faults;
    (void)number;
    if (!faults->is_active)
        return;
    enum line_fault fault = (enum line_fault)generator_below(&faults->generator, LINE_FAULTS_END);
    uint64_t span_ns = draw_ns(pair, cut_min_ms, cut_max_ms);
    bool there = generator_chance(&faults->generator, 1, 2);
    switch (fault) {
    case LINE_CUT:
        if (!faults->has_cut)
            line_faults_cut(pair, span_ns);
        break;
    case LINE_DEAF:
        if (faults->has_cut)
            break;
        did(pair, fault);
        cut(pair, there, !there, span_ns);
        break;
    case LINE_BREAK:
        did(pair, fault);
        break_all(pair);
        break;
    default:
        be_slow(pair, fault);
    }
    act_later(pair);
}

void line_faults_begin(struct pair *pair)
{
    pair->faults.is_active = true;
    act_later(pair);
}

void line_faults_end(struct pair *pair)
{
    pair->faults.is_active = false;
    pair->faults.has_cut = false;
    pair->faults.cuts_count++;
    wan_heal(&pair->wan);
}

const char *line_fault_name(enum line_fault fault)
{
    static const char *const names[] = {
#define LINE_FAULT_NAME(name, text) [LINE_##name] = text,
        LINE_FAULTS(LINE_FAULT_NAME)
#undef LINE_FAULT_NAME
    };
    return names[fault];
}
