/* SPDX-License-Identifier: Apache-2.0 */
#include "server/state/mark.h"

#include "proto/base/assert.h"
#include "proto/base/planted.h"

enum {
    mark_format_adopting = 4,
    mark_format = 3,
    mark_format_unrewound = 2,
    mark_format_unfenced = 1,
    mark_buckets_offset = 80,
    mark_fence_offset = mark_buckets_offset + 8 * mark_buckets_count,
    mark_rewind_offset = mark_fence_offset + 16,
};

_Static_assert(mark_rewind_offset + 56 == mark_state_size, "the rewind is the last");

static void encode_rewind(const struct mark_state *state, uint8_t *to)
{
    store_u64(to, state->rewind_index);
    store_u64(to + 8, state->rewind_epoch.number);
    store_u32(to + 16, state->rewind_epoch.region);
    store_u64(to + 24, state->rewind_version);
    store_u64(to + 32, state->tail_epoch.number);
    store_u32(to + 40, state->tail_epoch.region);
    store_u64(to + 48, state->tail_version);
}

void mark_encode(const struct mark_state *state, uint64_t index, uint64_t term,
                 struct lsm_mark *mark)
{
    *mark = (struct lsm_mark){.index = index + PLANTED(state_mark_ahead),
                              .term = term,
                              .version = state->version,
                              .state_size = mark_state_size};
    uint8_t *to = mark->state;
    to[0] = mark_format;
    store_u32(to + 4, state->cluster_version);
    store_u64(to + 8, state->epoch_number);
    store_u32(to + 16, state->epoch_region);
    store_u32(to + 20, state->table_id_next);
    store_u32(to + 24, state->index_id_next);
    store_u64(to + 32, state->chain.low);
    store_u64(to + 40, state->chain.high);
    store_u64(to + 48, state->log_time_ns);
    store_u64(to + 56, state->horizon);
    store_u64(to + 64, state->retention_ns);
    store_u64(to + 72, state->bucket_first);
    for (size_t i = 0; i < mark_buckets_count; i++)
        store_u64(to + mark_buckets_offset + 8 * i, state->buckets[i]);
    store_u64(to + mark_fence_offset, state->fence_number);
    store_u32(to + mark_fence_offset + 8, state->fence_region);
    store_u32(to + mark_fence_offset + 12, state->fenced_region);
    encode_rewind(state, to + mark_rewind_offset);
    if (!mark_is_adopting(state))
        return;
    mark->state_size = mark_adopting_size;
    to[0] = mark_format_adopting;
    store_u64(to + mark_state_size, state->adopt_index);
    store_u64(to + mark_state_size + 8, state->adopt_id.low);
    store_u64(to + mark_state_size + 16, state->adopt_id.high);
}

static void decode_rewind(const uint8_t *from, struct mark_state *state)
{
    state->rewind_index = load_u64(from);
    state->rewind_epoch.number = load_u64(from + 8);
    state->rewind_epoch.region = load_u32(from + 16);
    state->rewind_version = load_u64(from + 24);
    state->tail_epoch.number = load_u64(from + 32);
    state->tail_epoch.region = load_u32(from + 40);
    state->tail_version = load_u64(from + 48);
}

/* One under way ends with an entry that is still to come, and has not gone past where it goes. */
static bool rewind_is_valid(const struct mark_state *state, uint64_t index)
{
    return !mark_is_rewinding(state) ||
           (state->rewind_index > index && state->version <= state->rewind_version &&
            state->tail_version >= state->rewind_version && state->tail_epoch.number != 0);
}

/* One under way began with an entry that was applied. */
static bool adoption_is_valid(const struct mark_state *state, uint8_t format, uint64_t index)
{
    if (format != mark_format_adopting)
        return true;
    return mark_is_adopting(state) && state->adopt_index <= index && !mark_is_rewinding(state) &&
           state->tail_epoch.number != 0 && state->tail_version != 0;
}

static size_t size_of_format(uint8_t format)
{
    if (format == mark_format_adopting)
        return mark_adopting_size;
    if (format == mark_format_unfenced)
        return mark_fence_offset;
    return format == mark_format_unrewound ? mark_rewind_offset : mark_state_size;
}

enum status mark_decode(const struct lsm_mark *mark, struct mark_state *state)
{
    *state = (struct mark_state){0};
    const uint8_t *from = mark->state;
    if (mark->state_size == 0 || mark->state_size > lsm_mark_state_size_max)
        return STATUS_CORRUPT;
    if (from[0] > mark_format_adopting)
        return STATUS_NEWER_FORMAT;
    if (from[0] == 0 || mark->state_size != size_of_format(from[0]))
        return STATUS_CORRUPT;
    state->cluster_version = load_u32(from + 4);
    state->epoch_number = load_u64(from + 8);
    state->epoch_region = load_u32(from + 16);
    state->table_id_next = load_u32(from + 20);
    state->index_id_next = load_u32(from + 24);
    state->chain.low = load_u64(from + 32);
    state->chain.high = load_u64(from + 40);
    state->version = mark->version;
    state->log_time_ns = load_u64(from + 48);
    state->horizon = load_u64(from + 56);
    state->retention_ns = load_u64(from + 64);
    state->bucket_first = load_u64(from + 72);
    for (size_t i = 0; i < mark_buckets_count; i++) {
        state->buckets[i] = load_u64(from + mark_buckets_offset + 8 * i);
        state->outcomes_count += state->buckets[i];
    }
    if (from[0] != mark_format_unfenced) {
        state->fence_number = load_u64(from + mark_fence_offset);
        state->fence_region = load_u32(from + mark_fence_offset + 8);
        state->fenced_region = load_u32(from + mark_fence_offset + 12);
    }
    if (from[0] >= mark_format)
        decode_rewind(from + mark_rewind_offset, state);
    if (from[0] == mark_format_adopting) {
        state->adopt_index = load_u64(from + mark_state_size);
        state->adopt_id.low = load_u64(from + mark_state_size + 8);
        state->adopt_id.high = load_u64(from + mark_state_size + 16);
    }
    if (state->horizon > state->version || state->retention_ns < mark_retention_buckets ||
        !rewind_is_valid(state, mark->index) || !adoption_is_valid(state, from[0], mark->index) ||
        (state->fence_number != 0 && epoch_compare(mark_fence(state), mark_epoch(state)) <= 0))
        return STATUS_CORRUPT;
    return STATUS_OK;
}

void mark_epoch_set(struct mark_state *state, struct epoch epoch)
{
    ASSERT(epoch_compare(epoch, mark_epoch(state)) > 0);
    state->epoch_number = epoch.number;
    state->epoch_region = epoch.region;
    if (mark_is_surrendered(state)) {
        state->tail_epoch = (struct epoch){0};
        state->tail_version = 0;
    }
    if (epoch_compare(epoch, mark_fence(state)) < 0)
        return;
    state->fence_number = 0;
    state->fence_region = 0;
    state->fenced_region = 0;
}

static uint64_t bucket_span_ns(const struct mark_state *state)
{
    return state->retention_ns / mark_retention_buckets;
}

void mark_time_set(struct mark_state *state, uint64_t log_time_ns)
{
    ASSERT(log_time_ns > state->log_time_ns);
    state->log_time_ns = log_time_ns;
    if (log_time_ns <= state->retention_ns)
        return;
    uint64_t first = (log_time_ns - state->retention_ns) / bucket_span_ns(state);
    uint64_t evicted_count = first - state->bucket_first;
    if (first <= state->bucket_first)
        return;
    if (evicted_count > mark_buckets_count)
        evicted_count = mark_buckets_count;
    for (uint64_t i = 0; i < evicted_count; i++) {
        uint64_t *bucket = &state->buckets[(state->bucket_first + i) % mark_buckets_count];
        state->outcomes_count -= *bucket;
        *bucket = 0;
    }
    state->bucket_first = first;
}

uint64_t mark_outcomes_floor_ns(const struct mark_state *state)
{
    return state->bucket_first * bucket_span_ns(state);
}

bool mark_issued_is_valid(const struct mark_state *state, uint64_t issued_ns)
{
    return issued_ns <= state->log_time_ns && issued_ns >= mark_outcomes_floor_ns(state) &&
           state->log_time_ns - issued_ns <= state->retention_ns;
}

void mark_outcome_add(struct mark_state *state, uint64_t issued_ns)
{
    ASSERT(mark_issued_is_valid(state, issued_ns));
    uint64_t bucket = issued_ns / bucket_span_ns(state);
    ASSERT(bucket >= state->bucket_first && bucket < state->bucket_first + mark_buckets_count);
    state->buckets[bucket % mark_buckets_count]++;
    state->outcomes_count++;
}
