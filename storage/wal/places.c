/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/wal/places.h"

#include <stdlib.h>

#include "proto/base/assert.h"

_Static_assert(sizeof(struct wal_place) == 24, "a place is small");

struct wal_place wal_place_of(uint64_t first, uint32_t count, const struct wal_batch_id *batch,
                              uint64_t offset)
{
    ASSERT(offset % wal_block_size == 0 && batch->size % wal_block_size == 0 && batch->size > 0);
    return (struct wal_place){
        .first = first,
        .count = count,
        .segment = (uint32_t)batch->segment,
        .block = (uint32_t)(offset / wal_block_size),
        .blocks = batch->size / wal_block_size,
    };
}

struct wal_place wal_place_of_hole(uint64_t first, uint32_t count, enum wal_hole hole)
{
    ASSERT(hole == WAL_HOLE || hole == WAL_HOLE_SUSPECT);
    return (struct wal_place){.first = first, .count = count, .segment = (uint32_t)hole};
}

void wal_places_free(struct wal_places *places)
{
    free(places->places);
    *places = (struct wal_places){0};
}

enum status wal_places_reserve(struct wal_places *places, size_t more)
{
    if (places->first + places->count + more <= places->capacity)
        return STATUS_OK;
    if (places->first >= places->count && places->count + more <= places->capacity) {
        /* At least as many were released as are left: moving these is paid for by those. */
        memcpy(places->places, places->places + places->first,
               places->count * sizeof *places->places);
        places->first = 0;
        return STATUS_OK;
    }
    size_t capacity = 2 * places->count + more + 64;
    struct wal_place *larger = malloc(capacity * sizeof *larger);
    if (larger == NULL)
        return STATUS_NO_MEMORY;
    if (places->count > 0)
        memcpy(larger, places->places + places->first, places->count * sizeof *larger);
    free(places->places);
    places->places = larger;
    places->first = 0;
    places->capacity = capacity;
    return STATUS_OK;
}

static struct wal_place *place_at(const struct wal_places *places, size_t position)
{
    ASSERT(position < places->count);
    return &places->places[places->first + position];
}

static bool same_batch(const struct wal_place *a, const struct wal_place *b)
{
    return a->segment == b->segment && a->block == b->block && a->blocks == b->blocks;
}

static uint64_t hole_count(const struct wal_place *place)
{
    return place->blocks == 0;
}

uint64_t wal_places_last(const struct wal_places *places)
{
    return places->count == 0 ? 0 : wal_place_last(place_at(places, places->count - 1));
}

void wal_places_append(struct wal_places *places, const struct wal_place *place)
{
    ASSERT(place->count > 0);
    if (places->count > 0) {
        struct wal_place *last = place_at(places, places->count - 1);
        ASSERT(place->first == wal_place_last(last) + 1);
        if (same_batch(last, place) && last->count <= UINT32_MAX - place->count) {
            last->count += place->count;
            return;
        }
    }
    ASSERT(places->first + places->count < places->capacity);
    places->count++;
    *place_at(places, places->count - 1) = *place;
    places->hole_places_count += hole_count(place);
}

void wal_places_cut(struct wal_places *places, uint64_t index)
{
    while (places->count > 0) {
        struct wal_place *last = place_at(places, places->count - 1);
        if (last->first < index) {
            if (wal_place_last(last) >= index)
                last->count = (uint32_t)(index - last->first);
            return;
        }
        places->hole_places_count -= hole_count(last);
        places->count--;
    }
}

void wal_places_release(struct wal_places *places, uint64_t index)
{
    while (places->count > 0) {
        struct wal_place *oldest = place_at(places, 0);
        if (wal_place_last(oldest) > index) {
            if (oldest->first <= index) {
                oldest->count = (uint32_t)(wal_place_last(oldest) - index);
                oldest->first = index + 1;
            }
            return;
        }
        places->hole_places_count -= hole_count(oldest);
        places->first++;
        places->count--;
    }
}

/* The position of the place that covers `index`, which one does. */
static size_t position_of(const struct wal_places *places, uint64_t index)
{
    size_t low = 0;
    size_t high = places->count; /* it is in [low, high) */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (place_at(places, middle)->first <= index)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static bool covers(const struct wal_places *places, uint64_t index)
{
    return places->count > 0 && index >= place_at(places, 0)->first &&
           index <= wal_place_last(place_at(places, places->count - 1));
}

const struct wal_place *wal_places_find(const struct wal_places *places, uint64_t index)
{
    return covers(places, index) ? place_at(places, position_of(places, index)) : NULL;
}

const struct wal_place *wal_places_next(const struct wal_places *places,
                                        const struct wal_place *place)
{
    size_t position = (size_t)(place - places->places) - places->first;
    return position + 1 < places->count ? place + 1 : NULL;
}

/* One fill within one place: that place is split in up to three. */
static void fill_one(struct wal_places *places, size_t position, const struct wal_place *fill)
{
    struct wal_place old = *place_at(places, position);
    struct wal_place parts[3];
    size_t count = 0;
    ASSERT(fill->first >= old.first && wal_place_last(fill) <= wal_place_last(&old));
    if (old.first < fill->first) {
        parts[count] = old;
        parts[count++].count = (uint32_t)(fill->first - old.first);
    }
    parts[count++] = *fill;
    if (wal_place_last(&old) > wal_place_last(fill)) {
        parts[count] = old;
        parts[count].first = wal_place_last(fill) + 1;
        parts[count].count = (uint32_t)(wal_place_last(&old) - wal_place_last(fill));
        count++;
    }
    ASSERT(places->first + places->count + count - 1 <= places->capacity);
    struct wal_place *at = &places->places[places->first + position];
    memmove(at + count, at + 1, (places->count - position - 1) * sizeof *at);
    memcpy(at, parts, count * sizeof *at);
    places->count += count - 1;
    places->hole_places_count -= hole_count(&old);
    for (size_t i = 0; i < count; i++)
        places->hole_places_count += hole_count(&parts[i]);
}

/* Puts a place together with the one before, where both are of one batch. */
static void merge(struct wal_places *places, size_t position)
{
    if (position == 0)
        return;
    struct wal_place *before = place_at(places, position - 1);
    struct wal_place *place = place_at(places, position);
    if (!same_batch(before, place) || before->count > UINT32_MAX - place->count)
        return;
    before->count += place->count;
    places->hole_places_count -= hole_count(place);
    memmove(place, place + 1, (places->count - position - 1) * sizeof *place);
    places->count--;
}

void wal_places_fill(struct wal_places *places, const struct wal_place *fill)
{
    uint64_t index = fill->first;
    ASSERT(fill->count > 0);
    if (places->count > 0 && index < place_at(places, 0)->first)
        index = place_at(places, 0)->first;
    while (index <= wal_place_last(fill) && covers(places, index)) {
        size_t position = position_of(places, index);
        uint64_t last = wal_place_last(place_at(places, position));
        if (last > wal_place_last(fill))
            last = wal_place_last(fill);
        struct wal_place part = *fill;
        part.first = index;
        part.count = (uint32_t)(last - index + 1);
        bool has_left = place_at(places, position)->first < index;
        fill_one(places, position, &part);
        if (!has_left)
            merge(places, position);
        index = last + 1;
    }
}

const struct wal_place *wal_places_hole_next(const struct wal_places *places, uint64_t after,
                                             uint64_t *index, uint64_t *count)
{
    *index = 0;
    *count = 0;
    if (places->hole_places_count == 0)
        return NULL;
    size_t position = covers(places, after) ? position_of(places, after) : 0;
    for (; position < places->count; position++) {
        const struct wal_place *place = place_at(places, position);
        if (place->blocks != 0 || wal_place_last(place) <= after)
            continue;
        *index = place->first > after ? place->first : after + 1;
        *count = wal_place_last(place) - *index + 1;
        return place;
    }
    return NULL;
}
