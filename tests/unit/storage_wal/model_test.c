/* SPDX-License-Identifier: Apache-2.0 */
/* The whole log against a model: appended, superseded, truncated, filled, released, begun anew,
 * read, damaged and opened again, in any order, with writes under way; and each durable notice
 * against a disk that loses all that was not flushed. */
#include "storage/wal/wal.h"

#include <string.h>

#include "proto/base/generator.h"
#include "tests/unit/storage_wal/log_fixture.h"

enum { reads_max = 4, steps_count = 1500 };

struct model;

struct model_read {
    struct wal_read read;
    struct model *model;
    bool active;
};

struct model {
    struct log_fixture log;
    struct generator generator;
    uint64_t last;
    uint64_t terms[log_indexes_max];
    bool holes[log_indexes_max];
    bool filled[log_indexes_max];
    struct wal_mark base; /* released up to here */
    uint64_t term;
    uint64_t durable; /* what notices have told, lowered by what was dropped */
    bool resetting;
    struct wal_mark reset;
    struct model_read reads[reads_max];
    /* That it happened. */
    uint64_t notices_count;
    uint64_t notices_checked_count;
    uint64_t entries_read_count;
    uint64_t resets_count;
    uint64_t holes_count;
};

static uint64_t draw(struct model *model, uint64_t low, uint64_t high)
{
    return generator_between(&model->generator, low, high);
}

/* What the disk would hold now, had it lost all else or any of it, has the log up to the mark. */
static void notice_check(struct model *model, struct wal_mark mark)
{
    static struct log_fixture after;
    after = model->log;
    after.disk = sim_disk_clone(model->log.disk, 1);
    sim_disk_restart(after.disk, model->notices_count,
                     model->notices_count % 2 == 0 ? SIM_RESTART_LOSE_UNFLUSHED
                                                   : SIM_RESTART_RANDOM);
    after.io = sim_disk_io(after.disk);
    after.wal = NULL;
    after.on_durable = NULL;
    log_open(&after, model->base);
    ck_assert_uint_ge(wal_last(after.wal).index, mark.index);
    for (uint64_t index = model->base.index + 1; index <= mark.index; index++) {
        ck_assert_uint_eq(after.terms[index], model->terms[index]);
        if (!model->holes[index])
            ck_assert_int_eq(after.holes[index], WAL_WHOLE);
    }
    log_close(&after);
    sim_disk_destroy(after.disk);
    model->notices_checked_count++;
}

static void on_durable(struct log_fixture *fixture, struct wal_mark mark)
{
    struct model *model = fixture->context;
    ck_assert(!model->resetting);
    ck_assert_uint_gt(mark.index, model->durable);
    ck_assert_uint_le(mark.index, model->last);
    ck_assert_uint_eq(mark.term, model->terms[mark.index]);
    ck_assert_uint_eq(mark.index, wal_durable_index(fixture->wal));
    model->durable = mark.index;
    model->notices_count++;
    if (model->notices_count % 7 == 0)
        notice_check(model, mark);
}

static void cut(struct model *model, uint64_t index)
{
    model->last = index - 1;
    if (model->durable >= index)
        model->durable = index - 1;
    for (uint64_t i = index; i < log_indexes_max && i < index + 200; i++) {
        model->holes[i] = false;
        model->filled[i] = false;
    }
}

static void append(struct model *model)
{
    uint64_t index = model->last + 1;
    if (model->last > model->base.index && generator_chance(&model->generator, 1, 16)) {
        uint64_t low = model->last > model->base.index + 12 ? model->last - 12 : model->base.index;
        index = draw(model, low + 1, model->last);
        model->term++;
    }
    enum status status = log_try_append(&model->log, index, model->term);
    if (model->resetting) {
        ck_assert_int_eq(status, STATUS_BUSY);
    } else if (status != STATUS_BUSY) {
        ck_assert_int_eq(status, STATUS_OK);
        if (index <= model->last)
            cut(model, index);
        model->last = index;
        model->terms[index] = model->term;
    }
}

static void truncate_some(struct model *model)
{
    if (model->resetting || model->last <= model->base.index)
        return;
    uint64_t low = model->last > model->base.index + 6 ? model->last - 6 : model->base.index;
    uint64_t index = draw(model, low + 1, model->last + 1);
    enum status status = wal_truncate(model->log.wal, index);
    if (status == STATUS_OK && index <= model->last) {
        cut(model, index);
        model->term++; /* as a new leader's: an (index, term) is never used again */
    }
}

/* Holes first; and entries that are whole, as after a read that found them bad. */
static void fill(struct model *model)
{
    struct wal_mark mark;
    enum wal_hole hole;
    if (model->resetting || model->last <= model->base.index)
        return;
    if (!wal_hole_next(model->log.wal, 0, &mark, &hole) ||
        generator_chance(&model->generator, 1, 3)) {
        mark.index = draw(model, model->base.index + 1, model->last);
        mark.term = model->terms[mark.index];
    }
    ck_assert_uint_eq(mark.term, model->terms[mark.index]);
    enum status status = log_fill(&model->log, mark.index, mark.term);
    ck_assert(status == STATUS_OK || status == STATUS_BUSY);
    model->filled[mark.index] = model->filled[mark.index] || status == STATUS_OK;
    ck_assert_int_eq(log_fill(&model->log, mark.index, mark.term + 1000), STATUS_INVALID_ARGUMENT);
}

static void release(struct model *model)
{
    if (model->resetting || model->durable < model->base.index + 20)
        return;
    uint64_t index = draw(model, model->base.index, model->durable - 10);
    if (index == model->base.index)
        return;
    model->base = (struct wal_mark){.index = index, .term = model->terms[index]};
    wal_release(model->log.wal, index);
}

static void on_reset(void *context, enum status status)
{
    struct model *model = context;
    ck_assert_int_eq(status, STATUS_OK);
    model->resetting = false;
    model->resets_count++;
}

static void reset(struct model *model)
{
    if (model->resetting || model->last + 30 > log_indexes_max)
        return;
    model->term++;
    model->base.index = draw(model, model->base.index + 1, model->last + 10);
    model->base.term = model->term;
    cut(model, model->base.index + 1);
    model->last = model->base.index;
    model->durable = model->base.index;
    model->terms[model->last] = model->term;
    model->resetting = true;
    wal_reset(model->log.wal, model->base, on_reset, model);
}

static void on_read(struct wal_read *read)
{
    static uint8_t memory[log_entry_size_max];
    struct model_read *mine = read->context;
    struct model *model = mine->model;
    mine->active = false;
    if (read->status == STATUS_OK) {
        ck_assert_uint_ge(read->entries_count, 1);
        for (size_t i = 0; i < read->entries_count; i++) {
            const struct wal_entry *entry = &read->entries[i];
            ck_assert_uint_eq(entry->index, read->first + i);
            ck_assert_uint_le(entry->index, model->durable);
            ck_assert_uint_eq(entry->term, model->terms[entry->index]);
            struct bytes expected = log_bytes(entry->index, entry->term, memory);
            ck_assert_uint_eq(entry->bytes.size, expected.size);
            ck_assert_mem_eq(entry->bytes.data, expected.data, expected.size);
        }
        model->entries_read_count += read->entries_count;
    } else if (read->status == STATUS_CORRUPT) {
        ck_assert(model->holes[read->first] || read->first <= model->base.index);
    } else {
        ck_assert_int_eq(read->status, STATUS_NOT_FOUND);
    }
    wal_read_end(read);
}

static void read_some(struct model *model)
{
    for (unsigned i = 0; i < reads_max; i++) {
        struct model_read *mine = &model->reads[i];
        if (mine->active)
            continue;
        uint64_t low = wal_first_index(model->log.wal);
        uint64_t first = draw(model, low, (model->durable > low ? model->durable : low) + 1);
        *mine = (struct model_read){
            .read = {.first = first,
                     .last = first + draw(model, 0, 40),
                     .size_max = draw(model, 0, 20000),
                     .done = on_read,
                     .context = mine},
            .model = model,
            .active = true,
        };
        wal_read_start(model->log.wal, &mine->read);
        return;
    }
}

/* Closes, damages a batch sometimes, and opens: the replay is the model. */
static void reopen(struct model *model)
{
    while (model->resetting)
        io_turn(model->log.io, true);
    log_close(&model->log); /* all that was taken is durable */
    for (unsigned i = 0; i < reads_max; i++)
        ck_assert(!model->reads[i].active);
    uint64_t damaged = 0;
    if (model->last > model->base.index && generator_chance(&model->generator, 2, 3)) {
        damaged = draw(model, model->base.index + 1, model->last);
        ck_assert(sim_wal_damage(model->log.disk, "wal", damaged, SIM_WAL_BODY));
    }
    log_open(&model->log, model->base);
    ck_assert_uint_eq(wal_last(model->log.wal).index, model->last);
    ck_assert_uint_eq(model->log.last, model->last > model->base.index ? model->last : 0);
    /* Where it was a fill of what was whole, that is what is left. */
    ck_assert(damaged == 0 || model->filled[damaged] || model->log.holes[damaged] == WAL_HOLE);
    for (uint64_t index = model->base.index + 1; index <= model->last; index++) {
        ck_assert_uint_eq(model->log.terms[index], model->terms[index]);
        ck_assert_int_ne(model->log.holes[index], WAL_HOLE_SUSPECT);
        /* Without damage nothing is lost anew. */
        ck_assert(model->log.holes[index] == WAL_WHOLE || damaged != 0 || model->holes[index]);
        model->holes[index] = model->log.holes[index] == WAL_HOLE;
        model->holes_count += model->holes[index];
    }
    model->durable = model->last;
    model->term++;
}

static void step(struct model *model)
{
    uint64_t choice = draw(model, 0, 99);
    if (choice == 60 && generator_chance(&model->generator, 2, 3))
        choice = 0;
    if (choice < 48)
        append(model);
    else if (choice < 50)
        truncate_some(model);
    else if (choice < 57)
        fill(model);
    else if (choice < 60)
        release(model);
    else if (choice < 61)
        reset(model);
    else if (choice < 70)
        read_some(model);
    else if (choice < 80)
        wal_flush(model->log.wal);
    else if (choice < 98)
        sim_disk_clock_advance(model->log.disk, draw(model, 0, 200) * 1000);
    else
        reopen(model);
    io_turn(model->log.io, false);
}

START_TEST(test_model)
{
    static struct model model;
    memset(&model, 0, sizeof model);
    generator_init(&model.generator, 9000 + (uint64_t)_i);
    log_fixture_begin(&model.log, (uint64_t)_i);
    model.log.on_durable = on_durable;
    model.log.context = &model;
    model.term = 1;
    for (unsigned i = 0; i < steps_count && model.last + 100 < log_indexes_max; i++)
        step(&model);
    reopen(&model);
    log_mend(&model.log);
    log_open(&model.log, model.base);
    ck_assert(wal_is_whole(model.log.wal));
    for (uint64_t index = model.base.index + 1; index <= model.last; index++)
        ck_assert_int_eq(model.log.holes[index], WAL_WHOLE);
    ck_assert_uint_gt(model.notices_checked_count, 3);
    ck_assert_uint_gt(model.entries_read_count, 50);
    ck_assert_uint_gt(model.resets_count + model.holes_count, 0);
    log_fixture_end(&model.log);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_loop_test(tests, test_model, 0, 60);
}
