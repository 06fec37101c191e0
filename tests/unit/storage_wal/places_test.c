/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/wal/places.h"

#include <stdio.h>

#include "proto/base/generator.h"
#include "tests/unit/unit.h"

/* Against a plain array: for each index a batch's number, or a kind of hole. */
enum { indexes_max = 400, none = 0, hole = 1000000, suspect = 1000001 };

struct model {
    uint64_t begin; /* the first that is covered */
    uint64_t end;   /* one past the last */
    uint32_t owner[indexes_max + 1];
};

static struct wal_place place_make(uint64_t first, uint32_t count, uint32_t owner)
{
    struct wal_batch_id id = {.segment = 3 + owner / 100, .size = wal_block_size};
    if (owner >= hole)
        return wal_place_of_hole(first, count, owner == hole ? WAL_HOLE : WAL_HOLE_SUSPECT);
    return wal_place_of(first, count, &id, (uint64_t)(owner % 100 + 1) * wal_block_size);
}

static uint32_t place_owner(const struct wal_place *place)
{
    if (place->blocks == 0)
        return wal_place_hole(place) == WAL_HOLE ? hole : suspect;
    ck_assert_int_eq(wal_place_hole(place), WAL_WHOLE);
    return (place->segment - 3) * 100 + place->block - 1;
}

static void compare(const struct wal_places *places, const struct model *model)
{
    uint64_t next_hole = 0;
    uint64_t index = 0;
    uint64_t count = 0;
    for (uint64_t i = indexes_max; i >= 1; i--) {
        bool covered = i >= model->begin && i < model->end;
        const struct wal_place *place = wal_places_find(places, i);
        ck_assert_int_eq(place != NULL, covered);
        if (covered) {
            ck_assert_uint_eq(place_owner(place), model->owner[i]);
            ck_assert(place->first <= i && wal_place_last(place) >= i);
            if (model->owner[i] >= hole)
                next_hole = i;
        }
        place = wal_places_hole_next(places, i - 1, &index, &count);
        ck_assert_int_eq(place != NULL, next_hole != 0);
        ck_assert_uint_eq(index, next_hole);
        for (uint64_t j = 0; j < count; j++)
            ck_assert_uint_eq(model->owner[index + j], model->owner[index]);
    }
    ck_assert_uint_eq(wal_places_last(places), model->begin < model->end ? model->end - 1 : 0);
    const struct wal_place *place = wal_places_find(places, model->begin);
    uint64_t at = model->begin;
    for (; place != NULL; place = wal_places_next(places, place)) {
        ck_assert_uint_eq(place->first, at);
        at = wal_place_last(place) + 1;
    }
    ck_assert_uint_eq(at, model->end);
}

/* Appends, cuts, fills and releases at random. */
START_TEST(test_model)
{
    struct generator generator;
    struct wal_places places = {0};
    struct model model = {.begin = 1, .end = 1};
    uint32_t batch = 1;
    size_t fills_count = 0;
    generator_init(&generator, 700 + (uint64_t)_i);
    for (unsigned step = 0; step < 3000; step++) {
        uint64_t draw = generator_below(&generator, 20);
        ck_assert_int_eq(wal_places_reserve(&places, 2), STATUS_OK);
        if (draw < 12 && model.end + 8 < indexes_max) {
            uint32_t count = (uint32_t)generator_between(&generator, 1, 7);
            uint32_t owner = batch;
            if (generator_chance(&generator, 1, 6))
                owner = generator_chance(&generator, 1, 2) ? hole : suspect;
            else if (generator_chance(&generator, 3, 4))
                owner = ++batch;
            struct wal_place place = place_make(model.end, count, owner);
            wal_places_append(&places, &place);
            for (uint32_t i = 0; i < count; i++)
                model.owner[model.end++] = owner;
        } else if (draw < 15 && model.end > model.begin) {
            uint64_t first = generator_between(&generator, 1, model.end);
            uint32_t count = (uint32_t)generator_between(&generator, 1, 9);
            struct wal_place fill = place_make(first, count, ++batch);
            wal_places_fill(&places, &fill);
            for (uint64_t i = first; i < first + count; i++) {
                if (i >= model.begin && i < model.end)
                    model.owner[i] = batch;
            }
            fills_count++;
        } else if (draw < 17 && model.end > model.begin) {
            uint64_t index = generator_between(&generator, model.begin, model.end);
            wal_places_cut(&places, index);
            model.end = index;
        } else if (model.end > model.begin + 50) {
            uint64_t index = generator_between(&generator, model.begin, model.begin + 60);
            if (index >= model.end)
                index = model.end - 1;
            wal_places_release(&places, index);
            model.begin = index + 1;
        }
        if (model.end + 20 > indexes_max) {
            wal_places_release(&places, indexes_max);
            model.begin = 1;
            model.end = 1;
        }
        if (step % 7 == 0)
            compare(&places, &model);
    }
    ck_assert_uint_gt(fills_count, 100);
    wal_places_free(&places);
}
END_TEST

/* Entries of one batch take one place, however they come. */
START_TEST(test_merging)
{
    struct wal_places places = {0};
    ck_assert_int_eq(wal_places_reserve(&places, 3), STATUS_OK);
    for (uint64_t index = 5; index < 25; index++) {
        struct wal_place place = place_make(index, 1, index < 15 ? 1 : 2);
        wal_places_append(&places, &place);
    }
    ck_assert_uint_eq(places.count, 2);
    struct wal_place holes = place_make(25, 4, hole);
    wal_places_append(&places, &holes);
    for (uint64_t index = 25; index < 29; index++) {
        struct wal_place fill = place_make(index, 1, 3);
        ck_assert_int_eq(wal_places_reserve(&places, 2), STATUS_OK);
        wal_places_fill(&places, &fill);
    }
    ck_assert_uint_eq(places.count, 3);
    ck_assert_uint_eq(places.hole_places_count, 0);
    wal_places_free(&places);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_loop_test(tests, test_model, 0, 6);
    tcase_add_test(tests, test_merging);
}
