/* SPDX-License-Identifier: Apache-2.0 */
/* A damaged log of a member of several, stopped at every step of its start and of what mends it,
 * and stopped again within the starts after that: nothing that is lost is ever forgotten, and
 * nothing that was mended is lost again. */
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "tests/unit/storage_wal/log_fixture.h"

enum { stops_max = 1024, entries_count = 10 };

static const struct wal_mark nothing = {0};

/* How far the mending is: nobody asked for it, it is under way, or it was told durable. */
enum phase { BEFORE, ASKED, DONE };

enum scene_kind {
    HOLES,
    SUSPECT_FILLED,
    SUSPECT_DISCARDED,
    SUSPECT_SUPERSEDED,
    UNKNOWN,
    KINDS_END
};

struct scene {
    enum scene_kind kind;
    struct log_fixture log;
    enum phase phase;
};

struct stop {
    struct sim_disk *disk;
    enum phase phase;
    struct wal_mark durable;
};

struct stops {
    const struct scene *scene;
    struct stop *stops;
    size_t count;
};

static uint64_t checked_count;

static void on_step(void *context, struct sim_disk *disk, uint64_t step)
{
    struct stops *stops = context;
    ASSERT(stops->count < stops_max);
    stops->stops[stops->count++] = (struct stop){
        .disk = sim_disk_clone(disk, step),
        .phase = stops->scene->phase,
        .durable = stops->scene->log.durable,
    };
}

static void stops_begin(struct stops *stops, const struct scene *scene)
{
    *stops = (struct stops){.scene = scene, .stops = calloc(stops_max, sizeof *stops->stops)};
    ASSERT(stops->stops != NULL);
}

static void stops_end(struct stops *stops)
{
    for (size_t i = 0; i < stops->count; i++)
        sim_disk_destroy(stops->stops[i].disk);
    free(stops->stops);
}

/* What a start must find. */
static void judge(const struct scene *scene, enum phase phase, const struct log_fixture *log)
{
    struct wal_suspect suspect = log->report.suspect;
    for (uint64_t index = 1; index < entries_count; index++) {
        ck_assert_uint_eq(log->terms[index], 1);
        ck_assert(log->holes[index] == WAL_WHOLE ||
                  (scene->kind == HOLES && phase != DONE && (index == 3 || index == 7)));
        if (scene->kind == HOLES && phase == BEFORE && (index == 3 || index == 7))
            ck_assert_int_eq(log->holes[index], WAL_HOLE);
    }
    switch (scene->kind) {
    case HOLES:
        ck_assert_uint_ge(log->last, entries_count);
        ck_assert(suspect.first == 0 || suspect.first > entries_count);
        break;
    case SUSPECT_FILLED:
    case SUSPECT_DISCARDED:
    case SUSPECT_SUPERSEDED:
        ck_assert(!suspect.is_unknown);
        if (phase == BEFORE) {
            ck_assert_uint_eq(suspect.first, entries_count);
            ck_assert_uint_eq(log->last, entries_count);
            ck_assert_int_eq(log->holes[entries_count], WAL_HOLE_SUSPECT);
        }
        /* Later ones were under way when it stopped. */
        if (phase == DONE && scene->kind == SUSPECT_FILLED)
            ck_assert_int_eq(log->holes[entries_count], WAL_WHOLE);
        if (phase == DONE && scene->kind != SUSPECT_FILLED && log->last >= entries_count)
            ck_assert_uint_eq(log->terms[entries_count], 2);
        break;
    case UNKNOWN:
        if (phase == BEFORE)
            ck_assert(suspect.is_unknown);
        if (phase == DONE)
            ck_assert(!suspect.is_unknown);
        break;
    case KINDS_END:
        UNREACHABLE();
    }
}

/* Mends whatever is left, and opens as strictly as a region of one. */
static void finish(struct log_fixture *log)
{
    log_mend(log);
    uint64_t last = wal_last(log->wal).index;
    log_append(log, last + 1, last + 3, 9);
    log_idle(log);
    log->alone = true;
    log_open(log, nothing);
    log_check_replay(log, 1, last + 3, 0);
    log_close(log);
}

static void stop_check(const struct scene *scene, const struct stop *stop, uint64_t seed,
                       enum sim_restart_mode mode, bool nested)
{
    static struct log_fixture logs[2];
    struct log_fixture *log = &logs[nested];
    struct stops inner;
    *log = scene->log;
    log->disk = sim_disk_clone(stop->disk, seed);
    sim_disk_restart(log->disk, seed, mode);
    log->io = sim_disk_io(log->disk);
    log->wal = NULL;
    log->on_durable = NULL;
    stops_begin(&inner, scene);
    if (!nested)
        sim_disk_on_step(log->disk, on_step, &inner);
    log_open(log, nothing);
    sim_disk_on_step(log->disk, NULL, NULL);
    judge(scene, stop->phase, log);
    ck_assert_uint_ge(log->last, stop->durable.index);
    if (stop->durable.index > 0)
        ck_assert_uint_eq(log->terms[stop->durable.index], stop->durable.term);
    finish(log);
    sim_disk_destroy(log->disk);
    checked_count++;
    for (size_t i = 0; i < inner.count; i++) {
        inner.stops[i].phase = stop->phase;
        inner.stops[i].durable = stop->durable;
        stop_check(scene, &inner.stops[i], seed + i, SIM_RESTART_LOSE_UNFLUSHED, true);
        stop_check(scene, &inner.stops[i], seed + i, SIM_RESTART_RANDOM, true);
    }
    stops_end(&inner);
}

static void mending_ask(struct scene *scene)
{
    struct log_fixture *log = &scene->log;
    switch (scene->kind) {
    case HOLES:
        ck_assert_int_eq(log_fill(log, 7, 1), STATUS_OK);
        wal_flush(log->wal);
        io_turn(log->io, true);
        ck_assert_int_eq(log_fill(log, 3, 1), STATUS_OK);
        return;
    case SUSPECT_FILLED:
        ck_assert_int_eq(log_fill(log, entries_count, 1), STATUS_OK);
        return;
    case SUSPECT_SUPERSEDED:
        ck_assert_int_eq(log_try_append(log, entries_count, 2), STATUS_OK);
        return;
    case SUSPECT_DISCARDED:
    case UNKNOWN:
        ck_assert_int_eq(wal_discard_suspect(log->wal), STATUS_OK);
        return;
    case KINDS_END:
        UNREACHABLE();
    }
}

START_TEST(test_scene)
{
    static struct scene scene;
    struct stops stops;
    scene = (struct scene){.kind = (enum scene_kind)_i};
    struct log_fixture *log = &scene.log;
    log_fixture_begin(log, 20 + (uint64_t)_i);
    log_append(log, 1, entries_count, 1);
    if (scene.kind == HOLES)
        log_idle(log);
    log_stop(log);
    if (scene.kind == HOLES) {
        ck_assert(sim_wal_damage(log->disk, "wal", 3, SIM_WAL_BODY));
        ck_assert(sim_wal_damage(log->disk, "wal", 7, SIM_WAL_HEADER));
    } else {
        ck_assert(sim_wal_damage(log->disk, "wal", entries_count,
                                 scene.kind == UNKNOWN ? SIM_WAL_HEADER : SIM_WAL_BODY));
    }
    log->durable = (struct wal_mark){.index = entries_count - 1, .term = 1};
    stops_begin(&stops, &scene);
    sim_disk_on_step(log->disk, on_step, &stops);
    for (unsigned life = 0; life < 2; life++)
        log_open(log, nothing);
    if (scene.kind == UNKNOWN) /* the leader's entries come meanwhile; segments come and go */
        log_append(log, entries_count, 30, 2);
    if (scene.kind == SUSPECT_DISCARDED || scene.kind == SUSPECT_SUPERSEDED)
        log->durable = (struct wal_mark){.index = entries_count - 1, .term = 1};
    scene.phase = ASKED;
    mending_ask(&scene);
    wal_flush(log->wal);
    while (!wal_is_whole(log->wal) || wal_durable_index(log->wal) < wal_last(log->wal).index)
        io_turn(log->io, true);
    scene.phase = DONE;
    uint64_t last = wal_last(log->wal).index;
    log_append(log, last + 1, last + 18, 2);
    log_close(log);
    sim_disk_on_step(log->disk, NULL, NULL);
    for (size_t i = 0; i < stops.count; i++) {
        uint64_t seed = 1000 * (i + 1);
        stop_check(&scene, &stops.stops[i], seed, SIM_RESTART_LOSE_UNFLUSHED, i % 8 != 0);
        stop_check(&scene, &stops.stops[i], seed, SIM_RESTART_KEEP_ALL, true);
        for (unsigned n = 0; n < 4; n++)
            stop_check(&scene, &stops.stops[i], seed + 1 + n, SIM_RESTART_RANDOM, true);
    }
    printf("scene %d: %zu stops, %llu starts checked\n", _i, stops.count,
           (unsigned long long)checked_count);
    ck_assert_uint_gt(stops.count, 50);
    stops_end(&stops);
    log_fixture_end(log);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_loop_test(tests, test_scene, 0, KINDS_END);
}
