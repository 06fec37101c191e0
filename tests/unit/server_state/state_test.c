/* SPDX-License-Identifier: Apache-2.0 */
/* The same entries on two states over real LSMs: one that keeps all in memory, and one with small
 * memtables and a cold cache, whose jobs run at random and which is opened anew from what is
 * installed, the rest of the log replayed. Their files differ; nothing else may. */
#include "server/state/state.h"

#include "tests/unit/server_state/backend_real.h"
#include "tests/unit/server_state/harness.h"
#include "tests/unit/server_state/model.h"
#include "tests/unit/server_state/model_history.h"

enum { steps_count = 2500 };

struct run {
    struct generator generator;
    struct harness memory;
    struct harness disk;
    struct model model;
    struct model_history epochs;
    struct entry log[2 * steps_count + 8]; /* by index; each body is its own */
    uint64_t replayed_count;
};

static struct bytes body_copy(struct bytes from)
{
    uint8_t *copy = malloc(from.size + 1);
    ck_assert(copy != NULL);
    bytes_copy(copy, from);
    return bytes_of(copy, from.size);
}

static struct state_result apply_both(struct run *run, enum entry_kind kind, struct bytes body)
{
    run->disk.time_ns = run->memory.time_ns;
    struct state_result a = harness_apply(&run->memory, kind, body);
    struct state_result b = harness_apply(&run->disk, kind, body);
    ck_assert_int_eq(a.status, b.status);
    ck_assert_uint_eq(a.version, b.version);
    ck_assert_uint_eq(run->memory.index, run->disk.index);
    run->log[run->disk.index] = run->disk.entry;
    run->log[run->disk.index].body = body_copy(body);
    return a;
}

/* With `expected` the model has counted it already. */
static void apply_change_both(struct run *run, const struct epoch_change *change,
                              enum status expected)
{
    uint8_t body[epoch_change_size_max];
    const struct entry entry = harness_change_entry(&run->memory, change, body);
    struct state_result a = harness_apply_entry(&run->memory, ++run->memory.index, &entry);
    struct state_result b = harness_apply_entry(&run->disk, ++run->disk.index, &entry);
    ck_assert_int_eq(a.status, expected);
    ck_assert_int_eq(b.status, expected);
    ck_assert_uint_eq(b.version, a.version);
    run->log[run->disk.index] = entry;
    run->log[run->disk.index].body = body_copy(entry.body);
    run->model.version += expected == STATUS_OK;
}

static void compare_facts(struct run *run)
{
    struct state_facts a = state_facts(run->memory.state);
    struct state_facts b = state_facts(run->disk.state);
    ck_assert_mem_eq(&a.chain_digest, &b.chain_digest, sizeof a.chain_digest);
    ck_assert_uint_eq(a.position.version, b.position.version);
    ck_assert_uint_eq(a.horizon, b.horizon);
    ck_assert_uint_eq(a.outcomes_count, b.outcomes_count);
    ck_assert_uint_eq(a.applied_index, b.applied_index);
    model_history_compare(run->memory.state, &run->epochs, a.position.version, &run->generator);
    model_history_compare(run->disk.state, &run->epochs, a.position.version, &run->generator);
}

/* As after a crash: what is installed, and the log from there. */
static void reopen(struct run *run)
{
    struct harness *disk = &run->disk;
    state_close(disk->state);
    lsm_close(disk->backend->lsm);
    backend_lsm_open(disk->backend);
    disk->lsm = backend_lsm(disk->backend);
    harness_state_open(disk);
    for (uint64_t i = state_facts(disk->state).applied_index + 1; i <= disk->index; i++) {
        const struct entry entry = run->log[i];
        (void)harness_apply_entry(disk, i, &entry);
        run->replayed_count++;
    }
    compare_facts(run);
}

/* A late copy of an old commit has no effect, whatever each of the two has forgotten. */
static void step_retry(struct run *run)
{
    uint64_t index = generator_between(&run->generator, 2, run->disk.index);
    if (run->log[index].kind != ENTRY_COMMIT)
        return;
    struct state_result result = apply_both(run, ENTRY_COMMIT, run->log[index].body);
    ck_assert(result.repeated_reply || result.status == STATUS_TXN_EXPIRED);
    run->model.version++;
}

static void step_regions(struct run *run)
{
    uint8_t body[2048];
    struct regions regions = draw_regions(&run->generator, &run->epochs);
    ck_assert_uint_le(regions_size(&regions), sizeof body);
    regions_encode(&regions, body);
    struct state_result result =
        apply_both(run, ENTRY_REGIONS, bytes_of(body, regions_size(&regions)));
    run->model.version++;
    ck_assert_int_eq(result.status, model_regions(&run->epochs, &regions, run->model.version));
}

/* A fence, and the promotion that it makes way for. */
static void step_fence(struct run *run)
{
    uint8_t body[fence_header_size];
    struct fence fence = draw_fence(&run->generator, &run->epochs);
    struct epoch_change change;
    fence_encode(&fence, body);
    (void)apply_both(run, ENTRY_FENCE, bytes_of(body, sizeof body));
    model_fence(&run->epochs, &fence);
    state_epoch_next(run->memory.state, EPOCH_PROMOTE, draw_region(&run->generator), &change);
    ck_assert_int_eq(model_change(&run->epochs, &change, STATUS_OK, run->model.version), STATUS_OK);
    apply_change_both(run, &change, STATUS_OK);
}

static void step_history(struct run *run)
{
    enum status spoilt;
    if (generator_chance(&run->generator, 1, 3)) {
        step_regions(run);
    } else if (generator_chance(&run->generator, 1, 2)) {
        const struct epoch_change change = draw_change(&run->generator, run->memory.state, &spoilt);
        apply_change_both(run, &change,
                          model_change(&run->epochs, &change, spoilt, run->model.version));
        if (model_is_fenced(&run->epochs, run->epochs.present))
            step_fence(run);
    } else {
        step_fence(run);
    }
}

static void step(struct run *run)
{
    struct txn txn;
    uint64_t kind = generator_below(&run->generator, 100);
    run->memory.time_ns += generator_below(&run->generator, 200000000);
    if (kind < 85) {
        txn_begin(&run->memory, &txn);
        int recreated = kind == 0 ? (int)generator_below(&run->generator, model_tables_count) : -1;
        if (recreated >= 0)
            model_recreate_txn(&txn, recreated);
        else
            model_draw(&run->generator, &run->model, &txn);
        struct bytes body = txn_encode(&txn);
        struct state_result result = apply_both(run, ENTRY_COMMIT, body);
        free((void *)(uintptr_t)body.data);
        struct model_verdict verdict = {.status = STATUS_OK};
        if (recreated >= 0)
            model_recreate(&run->model, recreated);
        else
            verdict = model_commit(&run->model, &txn.commit, run->memory.time_ns);
        ck_assert_msg(result.status == verdict.status, "%s instead of %s: %s",
                      status_name(result.status), status_name(verdict.status), result.text);
    } else if (kind < 90) {
        step_retry(run);
    } else if (kind < 97) {
        uint8_t body[8];
        uint64_t horizon = run->model.version - generator_below(&run->generator, 4);
        store_u64(body, horizon);
        (void)apply_both(run, ENTRY_TICK, bytes_of(body, sizeof body));
        model_tick(&run->model, horizon, run->memory.time_ns);
        ck_assert(!model_is_due(&run->model, run->memory.time_ns));
    } else {
        model_compare(&run->disk, &run->model, UINT64_MAX, &run->generator);
    }
    if (generator_chance(&run->generator, 1, 50))
        step_history(run);
    if (generator_chance(&run->generator, 1, 10))
        backend_turn(run->disk.backend);
    if (generator_chance(&run->generator, 1, 300))
        reopen(run);
    compare_facts(run);
}

static void run_seed(uint64_t seed)
{
    struct run *run = calloc(1, sizeof *run);
    ck_assert(run != NULL);
    printf("seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    generator_init(&run->generator, seed);
    harness_open_on(&run->memory, backend_open(seed, 16 << 20, 1 << 20, 100));
    harness_open_on(&run->disk, backend_open(seed + 1, 48 << 10, 128 << 10, 20));
    uint8_t first[8] = {0};
    run->log[1] = run->disk.entry;
    run->log[1].body = body_copy(bytes_of(first, sizeof first));
    model_history_begin(&run->epochs);
    struct txn txn;
    txn_begin(&run->memory, &txn);
    model_create_txn(&txn);
    struct bytes body = txn_encode(&txn);
    model_begin(&run->model, apply_both(run, ENTRY_COMMIT, body).version);
    free((void *)(uintptr_t)body.data);
    for (int i = 0; i < steps_count; i++)
        step(run);
    model_compare(&run->disk, &run->model, UINT64_MAX, &run->generator);
    model_compare(&run->memory, &run->model, UINT64_MAX, &run->generator);
    /* The small one did flush, did wait, and did go back. */
    struct lsm_statistics statistics = lsm_statistics(run->disk.lsm);
    ck_assert(statistics.tables_count != 0 && run->replayed_count != 0);
    for (size_t i = 0; i < 2 * steps_count + 8; i++)
        free((void *)(uintptr_t)run->log[i].body.data);
    harness_close(&run->memory);
    harness_close(&run->disk);
    free(run);
}

START_TEST(test_files_do_not_matter)
{
    const char *given = getenv("STRAIT_SEED");
    /* With 101, a commit is replayed whose conflict is with a tombstone past the installed mark's
     * horizon. */
    static const uint64_t seeds[] = {1, 2, 101};
    if (given != NULL) {
        run_seed(strtoull(given, NULL, 10));
        return;
    }
    for (size_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++)
        run_seed(seeds[i]);
}
END_TEST

START_TEST(test_a_bad_mark_is_refused)
{
    struct backend *backend = backend_open(1, 1 << 20, 1 << 20, 100);
    struct state_options options = {
        .lsm = backend->lsm, .io = backend->io, .mark = &backend->mark, .region_id = 7};
    struct state *state;
    struct error error = {0};
    backend->mark.state_size = 5;
    ck_assert_int_eq(state_open(&options, &state, &error), STATUS_CORRUPT);
    ck_assert(state == NULL && error.text[0] != 0);
    backend->mark.state[0] = 200;
    ck_assert_int_eq(state_open(&options, &state, &error), STATUS_NEWER_FORMAT);
    backend_close(backend);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_files_do_not_matter);
    tcase_add_test(tests, test_a_bad_mark_is_refused);
}
