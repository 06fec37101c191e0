/* SPDX-License-Identifier: Apache-2.0 */
/* Random transactions against a model; and the same entries on two states, of which one waits for
 * blocks, finds no room, forgets what it may and is opened anew, at random. */
#include "server/state/apply.h"

#include "tests/unit/server_state/backend_fake.h"
#include "tests/unit/server_state/harness.h"
#include "tests/unit/server_state/model.h"
#include "tests/unit/server_state/model_history.h"

enum { history_count = 16, sent_max = 64, steps_count = 1500 };

struct sent {
    struct bytes body;
    uint64_t issued_ns;
    struct state_result result;
};

struct run {
    struct generator generator;
    struct harness first;  /* everything at once */
    struct harness second; /* everything late */
    struct model model;
    struct model history[history_count]; /* by version, modulo */
    struct model_history epochs;
    struct sent sent[sent_max];
    size_t sent_count;
};

static void second_troubles(struct run *run)
{
    if (generator_chance(&run->generator, 1, 10))
        fake_compact(run->second.lsm);
    if (generator_chance(&run->generator, 1, 40)) {
        state_close(run->second.state);
        harness_state_open(&run->second);
    }
}

static void compare_facts(struct run *run)
{
    struct state_facts a = state_facts(run->first.state);
    struct state_facts b = state_facts(run->second.state);
    ck_assert_mem_eq(&a.chain_digest, &b.chain_digest, sizeof a.chain_digest);
    ck_assert_uint_eq(a.position.version, b.position.version);
    ck_assert_uint_eq(a.position.log_time_ns, b.position.log_time_ns);
    ck_assert_uint_eq(a.horizon, b.horizon);
    ck_assert_uint_eq(a.outcomes_count, b.outcomes_count);
    ck_assert_uint_eq(a.drops_count, b.drops_count);
    ck_assert_uint_eq(a.position.version, run->model.version);
    ck_assert_uint_eq(a.horizon, run->model.horizon);
    ck_assert_mem_eq(run->first.lsm->mark.state, run->second.lsm->mark.state,
                     sizeof run->first.lsm->mark.state);
    model_history_compare(run->first.state, &run->epochs, run->model.version, &run->generator);
    model_history_compare(run->second.state, &run->epochs, run->model.version, &run->generator);
}

static struct state_result apply_entry_both(struct run *run, const struct entry *entry)
{
    struct state_result a = harness_apply_entry(&run->first, ++run->first.index, entry);
    struct state_result b = harness_apply_entry(&run->second, ++run->second.index, entry);
    ck_assert_int_eq(a.status, b.status);
    ck_assert_uint_eq(a.versioned, b.versioned);
    ck_assert_str_eq(a.text, b.text);
    run->model.version += a.versioned;
    return a;
}

static struct state_result apply_both(struct run *run, enum entry_kind kind, struct bytes body)
{
    run->second.time_ns = run->first.time_ns;
    struct state_result a = harness_apply(&run->first, kind, body);
    struct state_result b = harness_apply(&run->second, kind, body);
    ck_assert_int_eq(a.status, b.status);
    ck_assert_uint_eq(a.version, b.version);
    ck_assert_uint_eq(a.item, b.item);
    ck_assert_str_eq(a.text, b.text);
    ck_assert_int_eq(a.repeated_reply, b.repeated_reply);
    return a;
}

static void keep_sent(struct run *run, struct bytes body, uint64_t issued_ns,
                      const struct state_result *result)
{
    struct sent *sent = &run->sent[run->sent_count++ % sent_max];
    free((void *)(uintptr_t)sent->body.data);
    *sent = (struct sent){.body = body, .issued_ns = issued_ns, .result = *result};
}

/* Says of some which epoch their snapshot is of, rightly or not. True: it is none of the history.
 */
static bool draw_snapshot_epoch(struct run *run, Strait__Commit *commit)
{
    struct epoch epoch = run->epochs.present;
    if (commit->n_reads + commit->n_ranges == 0 || generator_chance(&run->generator, 1, 2))
        return false;
    if (run->epochs.ends_count != 0 && generator_chance(&run->generator, 1, 2))
        epoch = run->epochs.ends[generator_below(&run->generator, run->epochs.ends_count)].epoch;
    else if (generator_chance(&run->generator, 1, 8))
        epoch.number += 1 - generator_below(&run->generator, 3);
    commit->snapshot_epoch_number = epoch.number;
    commit->snapshot_epoch_region = epoch.region;
    return epoch.number != 0 && commit->snapshot >= run->model.horizon &&
           model_position(&run->epochs, epoch, commit->snapshot, run->model.version) != STATUS_OK;
}

static void step_commit(struct run *run)
{
    struct txn txn;
    int recreated = -1;

    txn_begin(&run->first, &txn);
    if (generator_chance(&run->generator, 1, 60)) {
        recreated = (int)generator_below(&run->generator, model_tables_count);
        model_recreate_txn(&txn, recreated);
    } else {
        model_draw(&run->generator, &run->model, &txn);
    }
    bool is_lost = draw_snapshot_epoch(run, &txn.commit);
    struct bytes body = txn_encode(&txn);
    struct state_result result = apply_both(run, ENTRY_COMMIT, body);
    struct model_verdict verdict = {.status = is_lost ? STATUS_HISTORY_LOST : STATUS_OK};
    if (recreated >= 0)
        model_recreate(&run->model, recreated);
    else if (is_lost)
        run->model.version++;
    else
        verdict = model_commit(&run->model, &txn.commit, run->first.time_ns);
    ck_assert_msg(result.status == verdict.status, "%s instead of %s: %s",
                  status_name(result.status), status_name(verdict.status), result.text);
    ck_assert_uint_eq(result.item, verdict.item);
    ck_assert_int_eq(result.item_is_condition, verdict.item_is_condition);
    keep_sent(run, body, txn.commit.issued_ns, &result);
}

/* Sends again what was sent: the same answer, or none any more. */
static void step_retry(struct run *run)
{
    if (run->sent_count == 0)
        return;
    size_t count = run->sent_count < sent_max ? run->sent_count : sent_max;
    const struct sent *sent = &run->sent[generator_below(&run->generator, count)];
    struct state_result result = apply_both(run, ENTRY_COMMIT, sent->body);
    run->model.version++;
    if (run->first.time_ns - sent->issued_ns <= MODEL_RETENTION_NS || result.repeated_reply) {
        ck_assert(result.repeated_reply);
        ck_assert_int_eq(result.status, sent->result.status);
        ck_assert_uint_eq(result.version, sent->result.version);
        ck_assert_str_eq(result.text, sent->result.text);
    } else {
        ck_assert_int_eq(result.status, STATUS_TXN_EXPIRED);
        ck_assert_uint_eq(result.version, run->model.version);
    }
}

static void step_tick(struct run *run)
{
    uint8_t body[8];
    uint64_t horizon =
        run->model.horizon +
        generator_below(&run->generator, run->model.version - run->model.horizon + 3);
    store_u64(body, horizon);
    (void)apply_both(run, ENTRY_TICK, bytes_of(body, sizeof body));
    model_tick(&run->model, horizon, run->first.time_ns);
    ck_assert(!model_is_due(&run->model, run->first.time_ns));
}

static void step_change(struct run *run)
{
    uint8_t body[epoch_change_size_max];
    enum status spoilt;
    struct epoch_change change = draw_change(&run->generator, run->first.state, &spoilt);
    struct entry entry = harness_change_entry(&run->first, &change, body);
    /* Discarded for what its body says, and not for its header. */
    if (generator_chance(&run->generator, 1, 2))
        entry.version = run->model.version + 1;
    enum status expected = model_change(&run->epochs, &change, spoilt, run->model.version);
    struct state_result result = apply_entry_both(run, &entry);
    ck_assert_int_eq(result.status, expected);
    ck_assert_int_eq(result.versioned, expected == STATUS_OK);
}

/* What is not the successor: of another epoch, sent twice, or too early. */
static void step_stale(struct run *run)
{
    uint8_t body[8] = {0};
    struct epoch epoch = run->epochs.present;
    uint64_t version = run->model.version + 1;
    uint64_t kind = generator_below(&run->generator, 3);
    if (kind == 0)
        version -= generator_between(&run->generator, 1, version);
    else if (kind == 1)
        version += generator_between(&run->generator, 1, 3);
    else if (run->epochs.ends_count != 0 && generator_chance(&run->generator, 1, 2))
        epoch = run->epochs.ends[generator_below(&run->generator, run->epochs.ends_count)].epoch;
    else
        epoch.number += generator_between(&run->generator, 1, 3);
    const struct entry entry = {.kind = ENTRY_TICK,
                                .version = version,
                                .epoch_number = epoch.number,
                                .epoch_region = epoch.region,
                                .log_time_ns = ++run->first.time_ns,
                                .body = bytes_of(body, sizeof body)};
    struct state_result result = apply_entry_both(run, &entry);
    ck_assert_int_eq(result.status, STATUS_NOT_PRIMARY);
    ck_assert(!result.versioned);
}

static void step_fence(struct run *run)
{
    uint8_t body[fence_header_size];
    struct fence fence = draw_fence(&run->generator, &run->epochs);
    fence_encode(&fence, body);
    const struct entry entry = {.kind = ENTRY_FENCE, .body = bytes_of(body, sizeof body)};
    ck_assert(!apply_entry_both(run, &entry).versioned);
    model_fence(&run->epochs, &fence);
}

/* A primary that is fenced can do nothing, until another takes over, or itself with a higher epoch.
 */
static void leave_fence(struct run *run)
{
    uint8_t body[epoch_change_size_max] = {0};
    struct epoch_change change;
    ck_assert_int_eq(apply_both(run, ENTRY_TICK, bytes_of(body, 8)).status, STATUS_NOT_PRIMARY);
    state_epoch_next(run->first.state, EPOCH_PROMOTE, draw_region(&run->generator), &change);
    const struct entry entry = harness_change_entry(&run->first, &change, body);
    ck_assert_int_eq(model_change(&run->epochs, &change, STATUS_OK, run->model.version), STATUS_OK);
    ck_assert_int_eq(apply_entry_both(run, &entry).status, STATUS_OK);
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

static void step_history(struct run *run)
{
    switch (generator_below(&run->generator, 4)) {
    case 0:
        step_change(run);
        break;
    case 1:
        step_stale(run);
        break;
    case 2:
        step_fence(run);
        break;
    default:
        step_regions(run);
    }
    if (model_is_fenced(&run->epochs, run->epochs.present))
        leave_fence(run);
}

static void step_look(struct run *run)
{
    model_compare(&run->first, &run->model, UINT64_MAX, &run->generator);
    model_compare(&run->second, &run->model, UINT64_MAX, &run->generator);
    uint64_t version = run->model.version - generator_below(&run->generator, history_count);
    const struct model *then = &run->history[version % history_count];
    if (then->version != version || version < run->model.horizon)
        return;
    for (int t = 0; t < model_tables_count; t++) {
        if (run->model.tables[t].created > version)
            return;
    }
    model_compare(&run->second, then, version, &run->generator);
}

static void step(struct run *run)
{
    uint64_t kind = generator_below(&run->generator, 22);
    bool slow = generator_chance(&run->generator, 1, 10);
    run->first.time_ns +=
        generator_below(&run->generator, slow ? 10 * HARNESS_SECOND_NS : 100000000);
    if (model_is_due(&run->model, run->first.time_ns))
        ck_assert(state_tick_due(run->first.state, run->first.time_ns) &&
                  state_tick_due(run->second.state, run->first.time_ns));
    if (kind < 14)
        step_commit(run);
    else if (kind < 16)
        step_retry(run);
    else if (kind < 19)
        step_tick(run);
    else if (kind < 20)
        step_look(run);
    else
        step_history(run);
    run->history[run->model.version % history_count] = run->model;
    second_troubles(run);
    compare_facts(run);
}

static void run_seed(uint64_t seed)
{
    struct run *run = calloc(1, sizeof *run);
    ck_assert(run != NULL);
    printf("seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    generator_init(&run->generator, seed);
    harness_open_on(&run->first, backend_open(seed, 0, 0));
    harness_open_on(&run->second, backend_open(seed + 1, 25, 15));
    struct txn txn;
    model_history_begin(&run->epochs);
    txn_begin(&run->first, &txn);
    model_create_txn(&txn);
    struct bytes body = txn_encode(&txn);
    model_begin(&run->model, apply_both(run, ENTRY_COMMIT, body).version);
    free((void *)(uintptr_t)body.data);
    for (int i = 0; i < steps_count; i++)
        step(run);
    step_look(run);
    ck_assert(run->second.lsm->again_count != 0);
    ck_assert(run->epochs.ends_count != 0 && run->epochs.regions_version != 0);
    for (size_t i = 0; i < sent_max; i++)
        free((void *)(uintptr_t)run->sent[i].body.data);
    harness_close(&run->first);
    harness_close(&run->second);
    free(run);
}

START_TEST(test_against_a_model)
{
    const char *given = getenv("STRAIT_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : 1;
    uint64_t count = given != NULL ? 1 : 8;
    for (uint64_t i = 0; i < count; i++)
        run_seed(seed + i);
}
END_TEST

START_TEST(test_a_dropped_command_changes_nothing)
{
    struct harness harness;
    struct txn txn;
    struct state_result result;
    harness_open_on(&harness, backend_open(1, 100, 0));
    ck_assert_uint_eq(state_facts(harness.state).position.version, 1);
    txn_begin(&harness, &txn);
    txn_table_create(&txn, "users");
    struct bytes body = txn_encode(&txn);
    struct entry entry = {.kind = ENTRY_COMMIT,
                          .version = harness_next_version(&harness),
                          .epoch_number = 1,
                          .epoch_region = 7,
                          .log_time_ns = harness.time_ns + 1,
                          .body = body};
    state_apply_start(harness.state, harness.index + 1, 1, &entry);
    ck_assert_int_eq(state_apply_step(harness.state, &result), STATUS_AGAIN);
    ck_assert(state_apply_is_active(harness.state));
    ck_assert_uint_eq(harness.lsm->mark.version, 1);
    harness_close(&harness);
    free((void *)(uintptr_t)body.data);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_against_a_model);
    tcase_add_test(tests, test_a_dropped_command_changes_nothing);
}
