/* SPDX-License-Identifier: Apache-2.0 */
/* What the history of epochs and the list of regions must be, said again in the plainest way. Draws
 * changes of them, sound and spoilt, and tells what each must come to. Regions have the ids from
 * model_region_first on. */
#ifndef TESTS_UNIT_SERVER_STATE_MODEL_HISTORY_H
#define TESTS_UNIT_SERVER_STATE_MODEL_HISTORY_H

#include "proto/base/generator.h"
#include "tests/unit/server_state/harness.h"

enum { model_region_first = 7, model_regions_count = 4, model_ends_max = 1000 };

struct model_end {
    struct epoch epoch;
    uint64_t version;
};

struct model_history {
    struct epoch present;
    struct epoch fence; /* number 0: none */
    uint32_t fenced_region;
    uint64_t regions_version;
    unsigned regions; /* a bit for each */
    size_t ends_count;
    struct model_end ends[model_ends_max];
};

static void model_history_begin(struct model_history *history)
{
    *history = (struct model_history){.present = {.number = 1, .region = model_region_first}};
}

static uint32_t draw_region(struct generator *g)
{
    return model_region_first + (uint32_t)generator_below(g, model_regions_count);
}

static bool model_is_fenced(const struct model_history *history, struct epoch epoch)
{
    return history->fence.number != 0 && epoch.region == history->fenced_region &&
           epoch_compare(epoch, history->fence) < 0;
}

/* ---- Epochs ---- */

/* `*spoilt`: how it does not fit; OK where it does. */
static struct epoch_change draw_change(struct generator *g, const struct state *state,
                                       enum status *spoilt)
{
    static const uint8_t record[64] = {1, 2, 3};
    struct epoch_change change;
    uint32_t region = draw_region(g);
    bool is_grant = generator_chance(g, 1, 2) && region != state_epoch(state).region;
    state_epoch_next(state, is_grant ? EPOCH_GRANT : EPOCH_PROMOTE, region, &change);
    change.record = bytes_of(record, generator_below(g, sizeof record));
    *spoilt = STATUS_NOT_PRIMARY;
    switch (generator_below(g, 8)) {
    case 0:
        change.version--;
        break;
    case 1:
        change.version++;
        break;
    case 2:
        change.from.number++;
        change.to.number += 2;
        break;
    case 3:
        change.chain.high ^= 1;
        *spoilt = STATUS_HISTORY_LOST;
        break;
    default:
        *spoilt = STATUS_OK;
    }
    return change;
}

/* The change is applied after `version`. */
static enum status model_change(struct model_history *history, const struct epoch_change *change,
                                enum status spoilt, uint64_t version)
{
    if (model_is_fenced(history, change->kind == EPOCH_GRANT ? change->from : change->to))
        return STATUS_NOT_PRIMARY;
    if (spoilt != STATUS_OK)
        return spoilt;
    ck_assert_uint_lt(history->ends_count, model_ends_max);
    history->ends[history->ends_count++] =
        (struct model_end){.epoch = history->present, .version = version};
    history->present = change->to;
    if (epoch_compare(history->present, history->fence) >= 0)
        history->fence = (struct epoch){0};
    return STATUS_OK;
}

static struct fence draw_fence(struct generator *g, const struct model_history *history)
{
    return (struct fence){.region =
                              generator_chance(g, 2, 3) ? history->present.region : draw_region(g),
                          .epoch = {.number = history->present.number + generator_below(g, 4),
                                    .region = draw_region(g)}};
}

static void model_fence(struct model_history *history, const struct fence *fence)
{
    if (epoch_compare(fence->epoch, history->present) <= 0 ||
        epoch_compare(fence->epoch, history->fence) <= 0)
        return;
    history->fence = fence->epoch;
    history->fenced_region = fence->region;
}

/* ---- Regions ---- */

static struct regions draw_regions(struct generator *g, const struct model_history *history)
{
    struct regions regions = {.version = history->regions_version};
    for (uint32_t id = model_region_first; id < model_region_first + model_regions_count; id++) {
        const struct region region = harness_region(id);
        bool is_in = generator_chance(g, 2, 3) ||
                     (id == history->present.region && generator_chance(g, 4, 5));
        if (is_in)
            ck_assert_int_eq(regions_set(&regions, &region), STATUS_OK);
    }
    regions.version -= regions.version != 0 && generator_chance(g, 1, 5);
    return regions;
}

static enum status model_regions(struct model_history *history, const struct regions *regions,
                                 uint64_t version)
{
    if (regions->version != history->regions_version)
        return STATUS_CONFLICT;
    if (regions_find(regions, history->present.region) == NULL)
        return STATUS_INVALID_ARGUMENT;
    history->regions_version = version;
    history->regions = 0;
    for (unsigned i = 0; i < regions->count; i++)
        history->regions |= 1u << (regions->regions[i].id - model_region_first);
    return STATUS_OK;
}

/* ---- Comparing ---- */

static enum status model_position(const struct model_history *history, struct epoch epoch,
                                  uint64_t version, uint64_t now)
{
    if (epoch_compare(epoch, history->present) > 0)
        return STATUS_AGAIN;
    if (epoch_equal(epoch, history->present))
        return version <= now ? STATUS_OK : STATUS_AGAIN;
    for (size_t i = 0; i < history->ends_count; i++) {
        if (epoch_equal(history->ends[i].epoch, epoch) && version <= history->ends[i].version)
            return STATUS_OK;
    }
    return STATUS_HISTORY_LOST;
}

static void model_history_compare(const struct state *state, const struct model_history *history,
                                  uint64_t now, struct generator *g)
{
    const struct epoch_end *ends;
    const struct regions *regions = state_regions(state);
    ck_assert(epoch_equal(state_epoch(state), history->present));
    ck_assert(epoch_equal(state_fence(state), history->fence));
    ck_assert_uint_eq(regions->version, history->regions_version);
    ck_assert_uint_eq(regions->count, (unsigned)__builtin_popcount(history->regions));
    for (unsigned i = 0; i < regions->count; i++)
        ck_assert(history->regions >> (regions->regions[i].id - model_region_first) & 1);
    ck_assert_uint_eq(state_epoch_ends(state, &ends), history->ends_count);
    for (size_t i = 0; i < history->ends_count; i++) {
        ck_assert(epoch_equal(ends[i].epoch, history->ends[i].epoch));
        ck_assert_uint_eq(ends[i].version, history->ends[i].version);
    }
    const struct epoch asked = {.number = 1 + generator_below(g, history->present.number + 1),
                                .region = draw_region(g)};
    uint64_t version = generator_below(g, now + 3);
    ck_assert_int_eq(state_position_check(state, asked, version),
                     model_position(history, asked, version, now));
}

#endif
