/* SPDX-License-Identifier: Apache-2.0 */
/* The log stopped at every step of scripted workloads on the simulated disk, started again in each
 * way that a crash permits, and compared with a model; and stopped again in each step of some of
 * those recoveries.
 *
 * The model is the list of operations that were asked for. After a crash the log must be what some
 * number of them, from the first on, leaves: at least all that were acknowledged. Every other
 * restart is that of a member of several: what an alone one drops as torn is suspect there, and is
 * filled. */
#include "storage/wal/wal.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/generator.h"
#include "proto/base/hash.h"
#include "proto/base/log.h"
#include "tests/sim/disk.h"
#include "tests/unit/unit.h"

enum {
    operations_max = 1024,
    indexes_max = 1024,
    entry_size_max = 24 * 1024,
    images_max = 1 << 18,
    stops_max = 4096,
    segment_size = 64 * 1024,
    random_restarts = 10,
};

/* ---- The model ---- */

enum operation_kind { APPEND, TRUNCATE, FILL, RESET };

struct operation {
    enum operation_kind kind;
    uint64_t index;
    uint64_t term;
    uint32_t salt; /* the entry's bytes follow from it */
    uint32_t size;
    size_t mends; /* of a FILL: the operation whose entry it is */
};

struct model {
    struct operation operations[operations_max];
    size_t count;
    size_t acknowledged;           /* operations that are durable */
    size_t owner[indexes_max + 1]; /* the operation that appended the index */
    uint64_t last;
    uint64_t released;
    struct wal_hard_state hard_state; /* acknowledged */
    struct wal_hard_state hard_state_next;
};

/* The log that operations leave: which one wrote each index. */
struct image {
    size_t owner[indexes_max + 1];
    uint64_t last;
};

static void image_apply(struct image *image, const struct operation *operation, size_t number)
{
    switch (operation->kind) {
    case APPEND:
        image->last = operation->index;
        image->owner[operation->index] = number;
        return;
    case TRUNCATE:
        image->last = operation->index - 1;
        return;
    case FILL:
        image->owner[operation->index] = number;
        return;
    case RESET:
        image->last = operation->index;
        image->owner[operation->index] = number;
        return;
    }
    UNREACHABLE();
}

static struct bytes operation_bytes(const struct operation *operation, uint8_t *to)
{
    struct generator generator;
    generator_init(&generator, operation->salt);
    generator_fill(&generator, to, operation->size);
    return bytes_of(to, operation->size);
}

/* ---- A log on the simulated disk ---- */

struct run {
    struct sim_disk *disk;
    struct io *io;
    struct wal *wal;
    struct wal_report report;
    struct model *model;
    struct keyring *keyring;
    bool several; /* a member of several: not alone */
    bool failed;
    uint64_t durable;
    /* Found by recovery: a hash for each index, of a hole 0, and its term. */
    uint64_t found[indexes_max + 1];
    uint64_t found_terms[indexes_max + 1];
    uint64_t holes_count;
    uint64_t found_last;
    uint64_t found_first;
};

static struct keyring *the_keyring;
static uint64_t suspects_count; /* met in all */

static void on_durable(void *context, struct wal_mark mark)
{
    struct run *run = context;
    ck_assert(!run->failed);
    run->durable = mark.index;
    if (run->model == NULL)
        return;
    ck_assert_uint_le(mark.index, run->model->last);
    if (mark.index > 0 && run->model->owner[mark.index] + 1 > run->model->acknowledged)
        run->model->acknowledged = run->model->owner[mark.index] + 1;
}

static void on_failed(void *context, enum status status, const char *text)
{
    struct run *run = context;
    (void)status;
    (void)text;
    ck_assert(!run->failed);
    run->failed = true;
}

static uint64_t entry_hash(uint64_t term, struct bytes bytes)
{
    return hash64_seeded(bytes, term);
}

static enum status on_replay(void *context, const struct wal_entry *entry)
{
    struct run *run = context;
    ck_assert_uint_le(entry->index, indexes_max);
    if (run->found_first == 0)
        run->found_first = entry->index;
    else
        ck_assert_uint_eq(entry->index, run->found_last + 1);
    run->found_last = entry->index;
    run->found_terms[entry->index] = entry->term;
    run->found[entry->index] = 0;
    suspects_count += entry->hole == WAL_HOLE_SUSPECT;
    if (entry->hole == WAL_WHOLE)
        run->found[entry->index] = entry_hash(entry->term, entry->bytes);
    else
        run->holes_count++;
    ck_assert_int_ne(entry->hole, WAL_HOLE);
    ck_assert(entry->hole == WAL_WHOLE || run->several);
    return STATUS_OK;
}

static enum status run_open(struct run *run, struct wal_mark base, struct error *error)
{
    struct wal_options options = {
        .io = run->io,
        .keyring = the_keyring,
        .directory = "wal",
        .segment_size = segment_size,
        .queue_size_max = 256 * 1024,
        .spare_segments = 1,
        .alone = !run->several,
        .durable = on_durable,
        .failed = on_failed,
        .context = run,
    };
    run->found_first = 0;
    run->found_last = base.index;
    run->holes_count = 0;
    run->failed = false;
    return wal_open(&options, base, on_replay, run, &run->wal, &run->report, error);
}

static struct wal_mark model_base(const struct model *model, const struct image *image)
{
    struct wal_mark base = {.index = model->released};
    if (base.index > 0)
        base.term = model->operations[image->owner[base.index]].term;
    return base;
}

/* ---- Distinct images ---- */

static uint64_t images[images_max];
static size_t images_count;

static void image_count(uint64_t hash)
{
    hash |= 1;
    for (size_t i = hash % images_max;; i = (i + 1) % images_max) {
        if (images[i] == hash)
            return;
        if (images[i] == 0) {
            ASSERT(images_count < images_max / 2);
            images[i] = hash;
            images_count++;
            return;
        }
    }
}

/* ---- Recovery and comparison ---- */

/* Whether an index is as operation `number` left it. Of a hole the term is known. What a suspect
 * batch had filled is as it was before. */
static bool entry_matches(const struct run *run, const struct model *model, const uint64_t *hashes,
                          uint64_t index, size_t number)
{
    const struct operation *operation = &model->operations[number];
    if (run->found[index] == 0)
        return run->found_terms[index] == operation->term;
    while (run->several && operation->kind == FILL && hashes[number] != run->found[index]) {
        number = operation->mends;
        operation = &model->operations[number];
    }
    return hashes[number] == run->found[index];
}

/* How many operations leave what was found: at least `least`. SIZE_MAX: none do. */
static size_t match(const struct run *run, const struct model *model, size_t least)
{
    static uint8_t bytes[entry_size_max];
    static uint64_t hashes[operations_max];
    struct image image = {0};
    for (size_t i = 0; i < model->count; i++) {
        const struct operation *operation = &model->operations[i];
        if (operation->kind == APPEND || operation->kind == FILL)
            hashes[i] = entry_hash(operation->term, operation_bytes(operation, bytes));
    }
    for (size_t count = 0;; count++) {
        bool same = count >= least && image.last == run->found_last;
        for (uint64_t index = model->released + 1; same && index <= image.last; index++)
            same = entry_matches(run, model, hashes, index, image.owner[index]);
        if (same)
            return count;
        if (count == model->count)
            return SIZE_MAX;
        image_apply(&image, &model->operations[count], count);
    }
}

static bool hard_state_equal(struct wal_hard_state a, struct wal_hard_state b)
{
    return a.term == b.term && a.vote == b.vote && a.epoch_number == b.epoch_number &&
           a.epoch_region == b.epoch_region && a.member == b.member &&
           a.snapshot.index == b.snapshot.index && a.snapshot.term == b.snapshot.term;
}

struct stop {
    struct sim_disk *disk;
    size_t count;
    size_t acknowledged;
    uint64_t released;
    struct wal_hard_state hard_state;
    struct wal_hard_state hard_state_next;
};

struct stops {
    struct stop *stops;
    size_t count;
    const struct model *model;
};

static void on_step(void *context, struct sim_disk *disk, uint64_t step)
{
    struct stops *stops = context;
    ASSERT(stops->count < stops_max);
    stops->stops[stops->count++] = (struct stop){
        .disk = sim_disk_clone(disk, step),
        .count = stops->model->count,
        .acknowledged = stops->model->acknowledged,
        .released = stops->model->released,
        .hard_state = stops->model->hard_state,
        .hard_state_next = stops->model->hard_state_next,
    };
}

static void append_new(struct run *run, struct model *model, uint64_t index, uint64_t term,
                       uint32_t size)
{
    static uint8_t bytes[entry_size_max];
    ASSERT(model->count < operations_max && index <= indexes_max);
    struct operation *operation = &model->operations[model->count];
    *operation = (struct operation){.kind = APPEND,
                                    .index = index,
                                    .term = term,
                                    .salt = (uint32_t)(model->count * 7919 + 1),
                                    .size = size};
    struct wal_entry entry = {
        .index = index, .term = term, .bytes = operation_bytes(operation, bytes)};
    enum status status;
    while ((status = wal_append(run->wal, &entry, 1)) == STATUS_BUSY) {
        wal_flush(run->wal);
        io_turn(run->io, true);
    }
    if (status != STATUS_OK) {
        ck_assert(run->failed || status == STATUS_DISK_FULL);
        return;
    }
    model->owner[index] = model->count++;
    model->last = index;
}

static void settle(struct run *run)
{
    wal_flush(run->wal);
    while (!run->failed && wal_durable_index(run->wal) < wal_last(run->wal).index)
        io_turn(run->io, true);
}

/* The model as it was at a stop, with the log that was found taken for acknowledged. */
static struct model *model_after(const struct model *model, const struct stop *stop, size_t found)
{
    struct model *after = malloc(sizeof *after);
    ASSERT(after != NULL);
    *after = *model;
    after->count = found;
    after->acknowledged = found;
    after->released = stop->released;
    struct image image = {0};
    for (size_t i = 0; i < found; i++)
        image_apply(&image, &model->operations[i], i);
    memcpy(after->owner, image.owner, sizeof after->owner);
    after->last = image.last;
    return after;
}

static void stop_check(const struct model *model, const struct stop *stop, uint64_t seed,
                       enum sim_restart_mode mode, unsigned depth);

/* What is suspect is filled, as from a peer that has it. */
static void fill_holes(struct run *run, const struct model *model, size_t found)
{
    static uint8_t bytes[entry_size_max];
    struct image image = {0};
    struct wal_mark mark = {0};
    enum wal_hole hole;
    for (size_t i = 0; i < found; i++)
        image_apply(&image, &model->operations[i], i);
    ck_assert_uint_eq(wal_holes_count(run->wal), run->holes_count);
    while (wal_hole_next(run->wal, mark.index, &mark, &hole)) {
        const struct operation *operation = &model->operations[image.owner[mark.index]];
        struct wal_entry entry = {
            .index = mark.index, .term = mark.term, .bytes = operation_bytes(operation, bytes)};
        enum status status;
        ck_assert_int_eq(hole, WAL_HOLE_SUSPECT);
        ck_assert_uint_eq(mark.term, operation->term);
        while ((status = wal_fill(run->wal, &entry)) == STATUS_BUSY) {
            wal_flush(run->wal);
            io_turn(run->io, true);
        }
        ck_assert_int_eq(status, STATUS_OK);
    }
    wal_flush(run->wal);
    while (!run->failed && !wal_is_whole(run->wal))
        io_turn(run->io, true);
}

/* Goes on after a recovery: more entries, a clean end, and all of it is there. With `depth`, each
 * step of the recovery and of this is a stop too. */
static void go_on(struct run *run, const struct model *model, const struct stop *stop, size_t found)
{
    struct model *after = model_after(model, stop, found);
    struct error error = {0};
    run->model = after;
    run->durable = wal_durable_index(run->wal);
    for (unsigned i = 0; i < 3; i++)
        append_new(run, after, after->last + 1, wal_last(run->wal).term + 1, 300 + 2000 * i);
    settle(run);
    ck_assert_uint_eq(after->acknowledged, after->count);
    ck_assert_int_eq(wal_close(run->wal), STATUS_OK);
    ck_assert_uint_eq(sim_disk_open_count(run->disk), 0);
    struct image image = {0};
    memcpy(image.owner, after->owner, sizeof image.owner);
    enum status status = run_open(run, model_base(after, &image), &error);
    ck_assert_msg(status == STATUS_OK, "%s", error.text);
    ck_assert(!run->report.torn);
    ck_assert_uint_eq(match(run, after, after->acknowledged), after->count);
    ck_assert_int_eq(wal_close(run->wal), STATUS_OK);
    free(after);
}

/* The stops within a recovery that went through: until it was done any log that the first stop
 * permits is right, and what it found once it was. */
static void nested_check(struct stops *nested, const struct model *model, const struct stop *stop,
                         uint64_t seed)
{
    for (size_t i = 0; i < nested->count; i++) {
        struct stop inner = *stop;
        inner.disk = nested->stops[i].disk;
        stop_check(model, &inner, seed * 31 + i, SIM_RESTART_LOSE_UNFLUSHED, 0);
        stop_check(model, &inner, seed * 31 + i, SIM_RESTART_RANDOM, 0);
        sim_disk_destroy(inner.disk);
    }
}

static void stop_check(const struct model *model, const struct stop *stop, uint64_t seed,
                       enum sim_restart_mode mode, unsigned depth)
{
    struct model *at_stop = malloc(sizeof *at_stop);
    struct run *run = calloc(1, sizeof *run);
    struct stops nested = {.model = at_stop};
    struct error error = {0};
    struct image image = {0};
    ASSERT(at_stop != NULL && run != NULL);
    *at_stop = *model;
    at_stop->count = stop->count;
    at_stop->acknowledged = stop->acknowledged;
    at_stop->released = stop->released;
    for (size_t i = 0; i < stop->acknowledged; i++)
        image_apply(&image, &model->operations[i], i);
    run->disk = sim_disk_clone(stop->disk, seed);
    sim_disk_restart(run->disk, seed, mode);
    image_count(sim_disk_hash(run->disk));
    run->io = sim_disk_io(run->disk);
    run->several = seed % 2 == 1;
    if (depth > 0) {
        nested.stops = calloc(stops_max, sizeof *nested.stops);
        ASSERT(nested.stops != NULL);
        sim_disk_on_step(run->disk, on_step, &nested);
    }
    enum status status = run_open(run, model_base(at_stop, &image), &error);
    sim_disk_on_step(run->disk, NULL, NULL);
    ck_assert_msg(status == STATUS_OK, "seed %llu, mode %d, %zu of %zu operations: %s",
                  (unsigned long long)seed, (int)mode, stop->acknowledged, stop->count, error.text);
    size_t found = match(run, at_stop, stop->acknowledged);
    ck_assert_msg(found != SIZE_MAX,
                  "seed %llu, mode %d: found indexes %llu to %llu after %zu operations of which "
                  "%zu were acknowledged",
                  (unsigned long long)seed, (int)mode, (unsigned long long)run->found_first,
                  (unsigned long long)run->found_last, stop->count, stop->acknowledged);
    struct wal_hard_state hard_state = wal_hard_state(run->wal);
    ck_assert(hard_state_equal(hard_state, stop->hard_state) ||
              hard_state_equal(hard_state, stop->hard_state_next));
    fill_holes(run, at_stop, found);
    go_on(run, at_stop, stop, found);
    sim_disk_destroy(run->disk);
    nested_check(&nested, model, stop, seed);
    free(nested.stops);
    free(run);
    free(at_stop);
}

/* ---- Workloads ---- */

struct script {
    struct run run;
    struct model model;
    struct stops stops;
    struct generator generator;
    uint64_t checked; /* stops */
    bool resetting;
};

static void turn_for(struct run *run, uint64_t ns)
{
    uint64_t until = io_boot_ns(run->io) + ns;
    while (!run->failed && io_boot_ns(run->io) < until) {
        io_turn(run->io, false);
        sim_disk_clock_advance(run->disk, 50 * 1000);
    }
}

/* Checks the stops so far, and forgets them. */
static void script_check(struct script *script)
{
    for (size_t i = 0; i < script->stops.count; i++) {
        struct stop *stop = &script->stops.stops[i];
        uint64_t seed = script->checked * 100;
        unsigned depth = script->checked % 16 == 0;
        stop_check(&script->model, stop, seed, SIM_RESTART_LOSE_UNFLUSHED, depth);
        stop_check(&script->model, stop, seed + 1, SIM_RESTART_KEEP_ALL, 0);
        for (unsigned n = 0; n < random_restarts; n++)
            stop_check(&script->model, stop, seed + 2 + n, SIM_RESTART_RANDOM,
                       n == 0 && script->checked % 16 == 8);
        sim_disk_destroy(stop->disk);
        script->checked++;
    }
    script->stops.count = 0;
}

static void script_open(struct script *script)
{
    struct error error = {0};
    struct image image = {0};
    memcpy(image.owner, script->model.owner, sizeof image.owner);
    enum status status = run_open(&script->run, model_base(&script->model, &image), &error);
    ck_assert_msg(status == STATUS_OK, "%s", error.text);
    script->run.durable = wal_durable_index(script->run.wal);
}

static struct script *script_begin(uint64_t seed)
{
    static const uint8_t cluster[seal_id_size] = "cluster of tests";
    struct script *script = calloc(1, sizeof *script);
    struct io_op op = {0};
    ASSERT(script != NULL);
    printf("seed %llu\n", (unsigned long long)seed);
    log_descriptor_set(-1);
#if defined(STRAIT_FAULTS)
    seal_oracle_start();
#endif
    ck_assert_int_eq(keyring_create_in_memory(cluster, false, &the_keyring), STATUS_OK);
    generator_init(&script->generator, seed);
    script->stops.stops = calloc(stops_max, sizeof *script->stops.stops);
    ASSERT(script->stops.stops != NULL);
    script->stops.model = &script->model;
    script->run.disk = sim_disk_create(seed);
    script->run.io = sim_disk_io(script->run.disk);
    script->run.model = &script->model;
    io_make_directory(script->run.io, &op, "wal");
    ck_assert_int_eq(io_wait(script->run.io, &op), STATUS_OK);
    io_flush_directory(script->run.io, &op, "/");
    ck_assert_int_eq(io_wait(script->run.io, &op), STATUS_OK);
    sim_disk_on_step(script->run.disk, on_step, &script->stops);
    script_open(script);
    return script;
}

static void script_end(struct script *script)
{
    ck_assert_int_eq(wal_close(script->run.wal), STATUS_OK);
    script_check(script);
    printf("%llu stops, %zu distinct images in all\n", (unsigned long long)script->checked,
           images_count);
    sim_disk_destroy(script->run.disk);
    keyring_close(the_keyring);
    free(script->stops.stops);
    free(script);
}

static uint32_t draw_size(struct script *script, uint32_t bound)
{
    return (uint32_t)generator_below(&script->generator, bound);
}

static void release(struct script *script, uint64_t keep)
{
    uint64_t durable = wal_durable_index(script->run.wal);
    if (durable > keep && durable - keep > script->model.released) {
        script->model.released = durable - keep;
        wal_release(script->run.wal, script->model.released);
    }
}

/* One entry at a time, as of one client; sometimes idle, so that the empty batch follows. */
START_TEST(test_singles)
{
    struct script *script = script_begin(101);
    for (uint64_t index = 1; index <= 70; index++) {
        append_new(&script->run, &script->model, index, 1, draw_size(script, 3000));
        settle(&script->run);
        if (index % 9 == 0)
            turn_for(&script->run, 12 * 1000 * 1000);
        if (index % 5 == 0)
            release(script, 12);
        script_check(script);
    }
    ck_assert_uint_gt(wal_statistics(script->run.wal).recycled_count, 1);
    ck_assert_uint_gt(wal_statistics(script->run.wal).empty_count, 3);
    script_end(script);
}
END_TEST

/* What queues while a write flies goes in the next one, in batches of any size. */
START_TEST(test_bursts)
{
    struct script *script = script_begin(202);
    while (script->model.last < 400) {
        uint64_t burst = generator_between(&script->generator, 1, 12);
        while (burst-- > 0)
            append_new(&script->run, &script->model, script->model.last + 1, 1,
                       draw_size(script, generator_chance(&script->generator, 1, 9) ? 20000 : 900));
        wal_flush(script->run.wal);
        turn_for(&script->run, generator_below(&script->generator, 400) * 1000);
        release(script, 30);
        script_check(script);
    }
    settle(&script->run);
    script_end(script);
}
END_TEST

/* The records of a follower: superseding, truncating, filling. */
START_TEST(test_follower)
{
    struct script *script = script_begin(303);
    struct model *model = &script->model;
    static uint8_t bytes[entry_size_max];
    uint64_t term = 1;
    while (model->count < 150) {
        uint64_t draw = generator_below(&script->generator, 10);
        uint64_t lowest = model->released + 1;
        if (draw == 0 && model->last > lowest + 2) {
            uint64_t index = model->last - generator_below(&script->generator, 2);
            ck_assert_int_eq(wal_truncate(script->run.wal, index), STATUS_OK);
            model->operations[model->count++] =
                (struct operation){.kind = TRUNCATE, .index = index};
            model->last = index - 1;
        } else if (draw == 1 && model->last > lowest + 2) {
            append_new(&script->run, model, model->last - 1, ++term, draw_size(script, 2000));
        } else if (draw == 2 && model->last > lowest + 2) {
            uint64_t index = model->last - generator_below(&script->generator, 3);
            struct operation *operation = &model->operations[model->count];
            *operation = model->operations[model->owner[index]];
            operation->kind = FILL;
            operation->salt += 1000000;
            operation->mends = model->owner[index];
            struct wal_entry entry = {.index = index,
                                      .term = operation->term,
                                      .bytes = operation_bytes(operation, bytes)};
            ck_assert_int_eq(wal_fill(script->run.wal, &entry), STATUS_OK);
            model->count++; /* nothing announces it: known by what is appended after it */
        } else {
            append_new(&script->run, model, model->last + 1, term, draw_size(script, 2000));
        }
        if (generator_chance(&script->generator, 1, 3)) {
            wal_flush(script->run.wal);
            turn_for(&script->run, generator_below(&script->generator, 300) * 1000);
        }
        if (generator_chance(&script->generator, 1, 12)) {
            settle(&script->run);
            release(script, 25);
        }
        script_check(script);
    }
    settle(&script->run);
    script_end(script);
}
END_TEST

static void hard_state_done(void *context, enum status status)
{
    struct script *script = context;
    ck_assert_int_eq(status, STATUS_OK);
    script->model.hard_state = script->model.hard_state_next;
}

static void hard_state_wait(struct script *script)
{
    struct model *model = &script->model;
    wal_hard_state_write(script->run.wal, &model->hard_state_next, hard_state_done, script);
    while (!hard_state_equal(model->hard_state, model->hard_state_next))
        io_turn(script->run.io, true);
}

static void reset_done(void *context, enum status status)
{
    struct script *script = context;
    ck_assert_int_eq(status, STATUS_OK);
    script->resetting = false;
}

/* Snapshots take the state's place, above, at and below the log's end: the intent, then the state's
 * swap (which the state's own tests stop within), then the log begins anew. */
START_TEST(test_reset)
{
    struct script *script = script_begin(505);
    struct model *model = &script->model;
    uint64_t term = 1;
    for (unsigned round = 0; round < 14; round++) {
        uint64_t count = generator_between(&script->generator, 0, 9);
        while (script->resetting && count == 0)
            io_turn(script->run.io, true);
        for (uint64_t i = 0; i < count; i++) {
            append_new(&script->run, model, model->last + 1, term, draw_size(script, 9000));
            if (generator_chance(&script->generator, 1, 2)) {
                wal_flush(script->run.wal);
                turn_for(&script->run, generator_below(&script->generator, 200) * 1000);
            }
        }
        struct wal_mark mark = {.term = ++term};
        mark.index = generator_between(&script->generator, model->released + 1, model->last + 6);
        model->hard_state_next =
            (struct wal_hard_state){.term = term, .member = 4, .snapshot = mark};
        hard_state_wait(script);
        script_check(script);
        /* The state is the snapshot from here on: what the log held is nothing. */
        model->operations[model->count] =
            (struct operation){.kind = RESET, .index = mark.index, .term = mark.term};
        model->owner[mark.index] = model->count++;
        model->acknowledged = model->count;
        model->last = mark.index;
        model->released = mark.index;
        script->resetting = true;
        wal_reset(script->run.wal, mark, reset_done, script);
        while (script->resetting && generator_chance(&script->generator, 9, 10))
            io_turn(script->run.io, true);
        script_check(script);
    }
    settle(&script->run);
    script_end(script);
}
END_TEST

/* Votes between entries: old or new, never anything else; and several lives of the process. */
START_TEST(test_hard_state_and_reopening)
{
    struct script *script = script_begin(404);
    struct model *model = &script->model;
    for (uint64_t round = 1; round <= 12; round++) {
        model->hard_state_next =
            (struct wal_hard_state){.term = round,
                                    .vote = round % 3,
                                    .epoch_number = round / 4,
                                    .epoch_region = 2,
                                    .member = 77,
                                    .snapshot = {.index = round / 2, .term = round}};
        wal_hard_state_write(script->run.wal, &model->hard_state_next, hard_state_done, script);
        for (unsigned i = 0; i < 3; i++)
            append_new(&script->run, model, model->last + 1, round, draw_size(script, 5000));
        settle(&script->run);
        while (!hard_state_equal(model->hard_state, model->hard_state_next))
            io_turn(script->run.io, true);
        script_check(script);
        if (round % 3 == 0) {
            release(script, 4);
            ck_assert_int_eq(wal_close(script->run.wal), STATUS_OK);
            script_open(script);
            ck_assert_uint_eq(script->run.found_last, model->last);
            ck_assert(hard_state_equal(wal_hard_state(script->run.wal), model->hard_state));
            script_check(script);
        }
    }
    script_end(script);
}
END_TEST

/* ---- Faults ---- */

/* Whatever call fails: either the log says so once and acknowledges nothing more, or nobody
 * notices; and what was acknowledged is there afterwards. True: the fault was met. */
static bool fault_run(uint64_t nth, enum io_kind kind, enum sim_restart_mode mode)
{
    struct run *run = calloc(1, sizeof *run);
    struct model *model = calloc(1, sizeof *model);
    struct io_op op = {0};
    struct error error = {0};
    ASSERT(run != NULL && model != NULL);
    run->disk = sim_disk_create(nth);
    run->io = sim_disk_io(run->disk);
    run->model = model;
    io_make_directory(run->io, &op, "wal");
    ck_assert_int_eq(io_wait(run->io, &op), STATUS_OK);
    io_flush_directory(run->io, &op, "/");
    ck_assert_int_eq(io_wait(run->io, &op), STATUS_OK);
    struct sim_fault fault = {.effect = SIM_FAIL,
                              .kind = kind,
                              .path = "wal",
                              .nth = nth,
                              .status = STATUS_IO_ERROR,
                              .error_number = 5};
    sim_disk_fault(run->disk, &fault);
    if (run_open(run, (struct wal_mark){0}, &error) == STATUS_OK) {
        for (uint64_t index = 1; index <= 30 && !run->failed; index++) {
            append_new(run, model, index, 1, 2500);
            settle(run);
            if (index % 6 == 0 && !run->failed) {
                model->released = wal_durable_index(run->wal) - 4;
                wal_release(run->wal, model->released);
            }
        }
        enum status status = wal_close(run->wal);
        if (run->failed)
            ck_assert_int_ne(status, STATUS_OK);
        /* And once more, for the calls that only a log with contents makes. */
        struct image image = {0};
        memcpy(image.owner, model->owner, sizeof image.owner);
        if (!run->failed && run_open(run, model_base(model, &image), &error) == STATUS_OK) {
            ck_assert_uint_eq(match(run, model, model->acknowledged), model->count);
            status = wal_close(run->wal);
            ck_assert(!run->failed || status != STATUS_OK);
        }
    } else {
        ck_assert(error.text[0] != 0);
    }
    bool met = sim_disk_fault_hits(run->disk, SIM_FAIL) > 0;
    sim_disk_faults_clear(run->disk);
    struct stop stop = {.disk = run->disk,
                        .count = model->count,
                        .acknowledged = model->acknowledged,
                        .released = model->released};
    stop_check(model, &stop, nth, mode, 0);
    sim_disk_destroy(run->disk);
    free(run);
    free(model);
    return met;
}

START_TEST(test_failing_calls)
{
    static const enum io_kind kinds[] = {
        IO_KIND_OPEN,  IO_KIND_CLOSE,    IO_KIND_READ,   IO_KIND_WRITE,
        IO_KIND_FLUSH, IO_KIND_ALLOCATE, IO_KIND_RENAME, IO_KIND_FLUSH_DIRECTORY,
    };
    static const uint8_t cluster[seal_id_size] = "cluster of tests";
    log_descriptor_set(-1);
#if defined(STRAIT_FAULTS)
    seal_oracle_start();
#endif
    ck_assert_int_eq(keyring_create_in_memory(cluster, false, &the_keyring), STATUS_OK);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        uint64_t nth = 1;
        while (fault_run(nth, kinds[i], nth % 2 == 0 ? SIM_RESTART_RANDOM : SIM_RESTART_KEEP_ALL))
            nth++;
        printf("kind %d: %llu calls failed in turn\n", (int)kinds[i],
               (unsigned long long)(nth - 1));
    }
    keyring_close(the_keyring);
}
END_TEST

START_TEST(test_count)
{
    printf("wal: %zu distinct disk images\n", images_count);
    ck_assert_uint_ge(images_count, 2000);
    printf("wal: %llu suspect entries\n", (unsigned long long)suspects_count);
    ck_assert_uint_ge(suspects_count, 50);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_singles);
    tcase_add_test(tests, test_bursts);
    tcase_add_test(tests, test_follower);
    tcase_add_test(tests, test_hard_state_and_reopening);
    tcase_add_test(tests, test_reset);
    tcase_add_test(tests, test_failing_calls);
    tcase_add_test(tests, test_count);
}
