/* SPDX-License-Identifier: Apache-2.0 */
/* A naive multi-version model of an LSM, and random operations that are done to both and compared:
 * publishes, gets, scans both ways that go on across flushes and compactions, questions for
 * changes, horizon, discards, checkpoints, checks, reopening, with two workers whose steps
 * interleave. All draws come from one seed. */
#ifndef TESTS_UNIT_STORAGE_LSM_MODEL_H
#define TESTS_UNIT_STORAGE_LSM_MODEL_H

#include <stdlib.h>

#include "proto/base/generator.h"
#include "proto/base/hash.h"
#include "tests/unit/storage_lsm/fixture.h"

enum {
    model_trees_count = 2,
    model_keys_count = 160,
    model_sessions_count = 4,
    model_workers_count = 2,
    model_value_size_max = 6000,
};

struct model_version {
    uint64_t version;
    uint32_t value_size;
    bool deletion;
};

struct model_key {
    struct model_version *versions; /* ascending */
    size_t count;
    size_t max;
};

/* A view that lives across steps, with a scan under way. */
struct model_session {
    struct lsm_view *view; /* NULL: free */
    struct lsm_iterator *iterator;
    uint64_t version;
    uint64_t horizon; /* when it was opened */
    unsigned tree;
    bool reverse;
    int next; /* the key that the scan may give next, or one further on */
    int end;  /* that it never reaches */
};

struct model {
    struct fixture *fixture;
    struct generator generator;
    struct model_key keys[model_trees_count][model_keys_count];
    uint64_t horizon;
    int floor; /* keys of the fixed tree below were discarded */
    struct model_session sessions[model_sessions_count];
    struct io *worker_ios[model_workers_count];
    struct lsm_job *jobs[model_workers_count];
    uint64_t checkpoints_count;
    uint64_t checkpoints_done_count;
    uint64_t checks_done_count;
    uint64_t reopened_count;
    uint64_t compactions_count; /* of openings before this one */
    uint64_t scanned_count;
    uint64_t pressed_count;
};

static const uint16_t model_tree_ids[model_trees_count] = {fixture_bytes_tree, fixture_fixed_tree};

/* ---- Keys and values ---- */

/* Ordered as their numbers. Lengths differ, prefixes are shared, some are prefixes of others. */
static inline struct bytes model_key_bytes(unsigned tree, int number, uint8_t buffer[64])
{
    if (tree == 1) {
        store_u64_be(buffer, (uint64_t)number * 3);
        return bytes_of(buffer, fixture_fixed_key_size);
    }
    int size = snprintf((char *)buffer, 64, "record/%03d%s", number / 2,
                        number % 2 == 0 ? "" : "/with a longer tail of its own");
    return bytes_of(buffer, (size_t)size);
}

static inline struct bytes model_value_bytes(unsigned tree, int number, uint64_t version,
                                             uint32_t size, uint8_t buffer[model_value_size_max])
{
    uint64_t word = hash_u64(version * 1000 + (uint64_t)number);
    (void)tree;
    for (uint32_t i = 0; i < size; i++)
        buffer[i] = (uint8_t)(word >> (i % 8 * 8)) ^ (uint8_t)(i / 64);
    return bytes_of(buffer, size);
}

static inline void model_value_expect(unsigned tree, int number, const struct model_version *at,
                                      struct bytes value)
{
    uint8_t buffer[model_value_size_max];
    ck_assert(
        bytes_equal(value, model_value_bytes(tree, number, at->version, at->value_size, buffer)));
}

/* The newest at or below `version`; NULL: none. */
static inline const struct model_version *model_newest(const struct model *model, unsigned tree,
                                                       int number, uint64_t version)
{
    const struct model_key *key = &model->keys[tree][number];
    for (size_t i = key->count; i > 0; i--)
        if (key->versions[i - 1].version <= version)
            return &key->versions[i - 1];
    return NULL;
}

static inline const struct model_version *model_visible(const struct model *model, unsigned tree,
                                                        int number, uint64_t version)
{
    const struct model_version *newest = model_newest(model, tree, number, version);
    return newest == NULL || newest->deletion ? NULL : newest;
}

static inline void model_add(struct model *model, unsigned tree, int number,
                             struct model_version version)
{
    struct model_key *key = &model->keys[tree][number];
    if (key->count == key->max) {
        key->max = key->max == 0 ? 16 : key->max * 2;
        key->versions = realloc(key->versions, key->max * sizeof *key->versions);
        ck_assert_ptr_nonnull(key->versions);
    }
    key->versions[key->count++] = version;
}

/* Forgets what is past a mark: what a restart drops. */
static inline void model_truncate(struct model *model, uint64_t version)
{
    for (unsigned t = 0; t < model_trees_count; t++)
        for (int k = 0; k < model_keys_count; k++) {
            struct model_key *key = &model->keys[t][k];
            while (key->count > 0 && key->versions[key->count - 1].version > version)
                key->count--;
        }
}

static inline int model_floor(const struct model *model, unsigned tree)
{
    return tree == 1 ? model->floor : 0;
}

static inline int model_draw_key(struct model *model, unsigned tree)
{
    int floor = model_floor(model, tree);
    /* One key in four draws is hot. */
    if (generator_chance(&model->generator, 1, 4))
        return floor;
    return floor + (int)generator_below(&model->generator, (uint64_t)(model_keys_count - floor));
}

/* ---- Jobs ---- */

static inline void model_job_return(struct model *model, unsigned worker)
{
    struct fixture *fixture = model->fixture;
    enum status status = lsm_job_return(fixture->lsm, model->jobs[worker], &fixture->error);
    ck_assert_msg(status == STATUS_OK, "%s: %s", status_name(status), fixture->error.text);
    model->jobs[worker] = NULL;
}

/* One step of a worker's life: take a job, or work on it and, mostly when finished, return it. */
static inline void model_work(struct model *model)
{
    unsigned worker = (unsigned)generator_below(&model->generator, model_workers_count);
    if (model->jobs[worker] == NULL) {
        model->jobs[worker] = lsm_job_take(model->fixture->lsm);
        return;
    }
    bool finished = lsm_job_step(model->jobs[worker], model->worker_ios[worker]);
    if (finished || generator_chance(&model->generator, 1, 3))
        model_job_return(model, worker);
}

static inline void model_work_all(struct model *model)
{
    for (unsigned worker = 0; worker < model_workers_count; worker++)
        if (model->jobs[worker] != NULL) {
            while (!lsm_job_step(model->jobs[worker], model->worker_ios[worker]))
                continue;
            model_job_return(model, worker);
        }
    ck_assert_int_eq(fixture_run_jobs(model->fixture), STATUS_OK);
}

/* ---- Operations ---- */

static inline int model_compare_writes(const void *a, const void *b)
{
    const struct lsm_write *left = a;
    const struct lsm_write *right = b;
    int order = (left->tree > right->tree) - (left->tree < right->tree);
    return order != 0 ? order : bytes_compare(left->key, right->key);
}

static inline void model_publish(struct model *model)
{
    enum { writes_max = 12 };
    struct fixture *fixture = model->fixture;
    static uint8_t keys[writes_max][64];
    static uint8_t values[writes_max][model_value_size_max];
    struct lsm_write writes[writes_max];
    size_t count = 0;
    uint64_t wanted = generator_below(&model->generator, writes_max + 1);
    uint64_t version = fixture->mark.version + 1;
    while (!lsm_has_room(fixture->lsm, 256 * 1024)) {
        model->pressed_count++;
        model_work(model);
    }
    for (uint64_t i = 0; i < wanted; i++) {
        unsigned tree = (unsigned)generator_below(&model->generator, model_trees_count);
        int number = model_draw_key(model, tree);
        const struct model_version *last = model_newest(model, tree, number, version);
        if (last != NULL && last->version == version)
            continue; /* each key once */
        struct model_version made = {.version = version,
                                     .deletion = generator_chance(&model->generator, 1, 4)};
        if (!made.deletion)
            made.value_size =
                tree == 1
                    ? 4
                    : (uint32_t)generator_below(
                          &model->generator,
                          generator_chance(&model->generator, 1, 20) ? model_value_size_max : 200);
        model_add(model, tree, number, made);
        writes[count] = (struct lsm_write){
            .tree = model_tree_ids[tree],
            .deletion = made.deletion,
            .key = model_key_bytes(tree, number, keys[count]),
            .value = model_value_bytes(tree, number, version, made.value_size, values[count])};
        count++;
    }
    qsort(writes, count, sizeof *writes, model_compare_writes);
    fixture_publish(fixture, writes, count);
}

static inline uint64_t model_draw_version(struct model *model)
{
    return generator_between(&model->generator, model->horizon,
                             model->fixture->mark.version < model->horizon
                                 ? model->horizon
                                 : model->fixture->mark.version);
}

static inline void model_get(struct model *model, struct lsm_view *view, uint64_t version)
{
    uint8_t buffer[64];
    struct lsm_value value;
    unsigned tree = (unsigned)generator_below(&model->generator, model_trees_count);
    int number = model_draw_key(model, tree);
    const struct model_version *newest = model_newest(model, tree, number, version);
    enum status status = fixture_get(model->fixture, view, model_tree_ids[tree],
                                     model_key_bytes(tree, number, buffer), &value);
    if (newest == NULL || newest->deletion) {
        ck_assert_msg(status == STATUS_NOT_FOUND, "tree %u key %d version %llu: %s", tree, number,
                      (unsigned long long)version, status_name(status));
        ck_assert(value.version == 0 || (newest != NULL && value.version == newest->version));
        return;
    }
    ck_assert_msg(status == STATUS_OK, "tree %u key %d version %llu: %s", tree, number,
                  (unsigned long long)version, status_name(status));
    ck_assert_uint_eq(value.version, newest->version);
    model_value_expect(tree, number, newest, value.value);
}

static inline void model_changed(struct model *model, struct lsm_view *view, uint64_t version,
                                 uint64_t horizon)
{
    uint8_t start[64];
    uint8_t end[64];
    bool changed;
    unsigned tree = (unsigned)generator_below(&model->generator, model_trees_count);
    int floor = model_floor(model, tree);
    uint64_t since = generator_between(&model->generator, horizon, version);
    if (generator_chance(&model->generator, 1, 2)) /* mostly recent */
        since = version > horizon + 5 ? version - generator_below(&model->generator, 5) : since;
    int from =
        floor + (int)generator_below(&model->generator, (uint64_t)(model_keys_count - floor));
    int to =
        from + (int)generator_below(&model->generator, (uint64_t)(model_keys_count - from + 1));
    bool expected = false;
    for (int k = from; k < to; k++) {
        const struct model_version *newest = model_newest(model, tree, k, version);
        expected = expected || (newest != NULL && newest->version > since);
    }
    struct bytes end_key =
        to == model_keys_count ? (struct bytes){0} : model_key_bytes(tree, to, end);
    ck_assert_int_eq(fixture_changed(model->fixture, view, model_tree_ids[tree],
                                     model_key_bytes(tree, from, start), end_key, since, &changed),
                     STATUS_OK);
    ck_assert_msg(changed == expected, "tree %u keys %d..%d since %llu at %llu: %d", tree, from, to,
                  (unsigned long long)since, (unsigned long long)version, changed);
}

/* ---- Sessions ---- */

static inline void model_session_close(struct model_session *session)
{
    if (session->view == NULL)
        return;
    lsm_iterator_close(session->iterator);
    lsm_view_close(session->view);
    session->view = NULL;
}

static inline void model_session_open(struct model *model, struct model_session *session)
{
    uint8_t start[64];
    uint8_t end[64];
    unsigned tree = (unsigned)generator_below(&model->generator, model_trees_count);
    int floor = model_floor(model, tree);
    int from =
        floor + (int)generator_below(&model->generator, (uint64_t)(model_keys_count - floor));
    int to =
        from + (int)generator_below(&model->generator, (uint64_t)(model_keys_count - from + 1));
    if (generator_chance(&model->generator, 1, 3)) {
        from = floor;
        to = model_keys_count;
    }
    *session = (struct model_session){.version = model_draw_version(model),
                                      .horizon = model->horizon,
                                      .tree = tree,
                                      .reverse = generator_chance(&model->generator, 1, 2)};
    session->next = session->reverse ? to - 1 : from;
    session->end = session->reverse ? from - 1 : to;
    ck_assert_int_eq(lsm_view_open(model->fixture->lsm, session->version, &session->view),
                     STATUS_OK);
    session->version = lsm_view_version(session->view);
    struct bytes end_key =
        to == model_keys_count ? (struct bytes){0} : model_key_bytes(tree, to, end);
    ck_assert_int_eq(lsm_iterator_open(session->view, model_tree_ids[tree],
                                       model_key_bytes(tree, from, start), end_key,
                                       session->reverse, &session->iterator),
                     STATUS_OK);
}

/* One item of its scan. False: it ended, where the model says so too. */
static inline bool model_session_next(struct model *model, struct model_session *session)
{
    uint8_t buffer[64];
    struct lsm_item item;
    const struct model_version *expected = NULL;
    int number = session->next;
    int step = session->reverse ? -1 : 1;
    for (; number != session->end; number += step) {
        expected = model_visible(model, session->tree, number, session->version);
        if (expected != NULL)
            break;
    }
    enum status status = fixture_next(model->fixture, session->iterator, &item);
    if (expected == NULL) {
        ck_assert_msg(status == STATUS_END, "%s past the end", status_name(status));
        return false;
    }
    ck_assert_msg(status == STATUS_OK, "%s before key %d", status_name(status), number);
    ck_assert_msg(bytes_equal(item.key, model_key_bytes(session->tree, number, buffer)),
                  "another key than %d", number);
    ck_assert_uint_eq(item.version, expected->version);
    model_value_expect(session->tree, number, expected, item.value);
    session->next = number + step;
    model->scanned_count++;
    return true;
}

static inline void model_session_step(struct model *model)
{
    struct model_session *session =
        &model->sessions[generator_below(&model->generator, model_sessions_count)];
    if (session->view == NULL) {
        model_session_open(model, session);
        return;
    }
    uint64_t count = generator_below(&model->generator, 40);
    for (uint64_t i = 0; i < count; i++) {
        if (session->tree == 1 && model->floor > 0 && session->reverse &&
            session->next < model->floor)
            break; /* what was discarded may or may not be met */
        if (!model_session_next(model, session)) {
            model_session_close(session);
            return;
        }
    }
    model_get(model, session->view, session->version);
    model_changed(model, session->view, session->version, session->horizon);
    lsm_view_release(session->view);
}

/* ---- The whole contents ---- */

static inline void model_expect_tree(struct model *model, unsigned tree, uint64_t version,
                                     bool reverse)
{
    uint8_t start[64];
    struct model_session session = {
        .version = version,
        .tree = tree,
        .reverse = reverse,
        .next = reverse ? model_keys_count - 1 : model_floor(model, tree),
        .end = reverse ? model_floor(model, tree) - 1 : model_keys_count};
    ck_assert_int_eq(lsm_view_open(model->fixture->lsm, version, &session.view), STATUS_OK);
    ck_assert_int_eq(lsm_iterator_open(session.view, model_tree_ids[tree],
                                       model_key_bytes(tree, model_floor(model, tree), start),
                                       (struct bytes){0}, reverse, &session.iterator),
                     STATUS_OK);
    while (model_session_next(model, &session))
        continue;
    model_session_close(&session);
}

static inline void model_expect_all(struct model *model, uint64_t version)
{
    for (unsigned tree = 0; tree < model_trees_count; tree++)
        for (int reverse = 0; reverse < 2; reverse++)
            model_expect_tree(model, tree, version, reverse != 0);
}

/* ---- Checkpoints, checks, restarts ---- */

static inline void model_checkpoint_done(void *context, enum status status,
                                         const struct lsm_mark *mark)
{
    struct model *model = context;
    char directory[300];
    struct fixture copy = *model->fixture;
    struct model other = *model;
    ck_assert_int_eq(status, STATUS_OK);
    snprintf(directory, sizeof directory, "%s-%llu", model->fixture->directory,
             (unsigned long long)++model->checkpoints_done_count);
    copy.options.directory = directory;
    copy.options.work = NULL;
    ck_assert_msg(fixture_open(&copy) == STATUS_OK, "%s", copy.error.text);
    ck_assert_uint_eq(copy.mark.index, mark->index);
    ck_assert_uint_eq(copy.mark.version, mark->version);
    ck_assert_uint_eq(load_u64(copy.mark.state), mark->version);
    other.fixture = &copy;
    if (mark->version >= model->horizon)
        model_expect_all(&other, mark->version);
    fixture_close(&copy);
}

static inline void model_checkpoint(struct model *model)
{
    char directory[300];
    if (model->checkpoints_count != model->checkpoints_done_count)
        return;
    snprintf(directory, sizeof directory, "%s-%llu", model->fixture->directory,
             (unsigned long long)++model->checkpoints_count);
    lsm_checkpoint(model->fixture->lsm, directory, model_checkpoint_done, model);
}

static inline void model_check_bad(void *context, const char *path, uint64_t offset,
                                   const char *text)
{
    (void)context;
    ck_abort_msg("%s at %llu: %s", path, (unsigned long long)offset, text);
}

static inline void model_check_done(void *context, enum status status)
{
    struct model *model = context;
    ck_assert_int_eq(status, STATUS_OK);
    model->checks_done_count++;
}

static inline void model_reopen(struct model *model)
{
    struct fixture *fixture = model->fixture;
    if (model->checkpoints_count != model->checkpoints_done_count)
        model_work_all(model);
    for (unsigned i = 0; i < model_sessions_count; i++)
        model_session_close(&model->sessions[i]);
    for (unsigned worker = 0; worker < model_workers_count; worker++)
        if (model->jobs[worker] != NULL)
            model_job_return(model, worker);
    struct lsm_mark before = fixture->mark;
    uint64_t installed = lsm_installed_index(fixture->lsm);
    model->compactions_count += lsm_statistics(fixture->lsm).compactions_count;
    fixture_close(fixture);
    ck_assert_msg(fixture_open(fixture) == STATUS_OK, "%s", fixture->error.text);
    ck_assert_uint_eq(fixture->mark.index, installed);
    ck_assert_uint_le(fixture->mark.version, before.version);
    model_truncate(model, fixture->mark.version);
    model->reopened_count++;
    /* The tables may have been installed at a mark below the horizon: what they show at the mark is
     * whole all the same. Then the log is replayed past the horizon, before anyone reads. */
    model_expect_all(model, UINT64_MAX);
    while (fixture->mark.version < model->horizon)
        model_publish(model);
}

static inline void model_discard(struct model *model)
{
    uint8_t buffer[64];
    if (model->floor + 4 >= model_keys_count)
        return;
    model->floor += 1 + (int)generator_below(&model->generator, 3);
    lsm_discard_below(model->fixture->lsm, fixture_fixed_tree,
                      model_key_bytes(1, model->floor, buffer));
}

/* A scan of the tree that was discarded from may have begun below: it is given up. */
static inline void model_discard_sessions(struct model *model)
{
    for (unsigned i = 0; i < model_sessions_count; i++)
        if (model->sessions[i].view != NULL && model->sessions[i].tree == 1)
            model_session_close(&model->sessions[i]);
}

static inline void model_step(struct model *model)
{
    struct lsm *lsm = model->fixture->lsm;
    uint64_t draw = generator_below(&model->generator, 1000);
    if (draw < 400) {
        model_publish(model);
    } else if (draw < 650) {
        model_work(model);
    } else if (draw < 900) {
        model_session_step(model);
    } else if (draw < 940) {
        if (model->fixture->mark.version > model->horizon)
            model->horizon =
                generator_between(&model->generator, model->horizon, model->fixture->mark.version);
        lsm_horizon_set(lsm, model->horizon);
    } else if (draw < 960) {
        lsm_seal(lsm);
    } else if (draw < 975) {
        if (!lsm_check_progress(lsm).running)
            ck_assert_int_eq(lsm_check(lsm, model_check_bad, model_check_done, model), STATUS_OK);
    } else if (draw < 980) {
        model_discard_sessions(model);
        model_discard(model);
    } else if (draw < 990) {
        model_checkpoint(model);
    } else if (draw < 995) {
        model_expect_all(model, model_draw_version(model));
    } else {
        model_reopen(model);
    }
}

static inline void model_close(struct model *model)
{
    for (unsigned i = 0; i < model_sessions_count; i++)
        model_session_close(&model->sessions[i]);
    model_work_all(model);
    ck_assert(lsm_is_idle(model->fixture->lsm));
    for (unsigned t = 0; t < model_trees_count; t++)
        for (int k = 0; k < model_keys_count; k++)
            free(model->keys[t][k].versions);
}

#endif
