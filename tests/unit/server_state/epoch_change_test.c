/* SPDX-License-Identifier: Apache-2.0 */
/* Epochs that begin and end, and fences. The state is new in epoch (1, 7). */
#include "tests/unit/server_state/backend_fake.h"
#include "tests/unit/server_state/harness.h"

static void begin(struct harness *harness)
{
    harness_open_on(harness, backend_open(1, 20, 10));
    harness_table(harness, "users");
    struct regions regions = {0};
    for (uint32_t id = 7; id < 10; id++) {
        const struct region region = harness_region(id);
        ck_assert_int_eq(regions_set(&regions, &region), STATUS_OK);
    }
    ck_assert_int_eq(harness_regions(harness, &regions).status, STATUS_OK);
}

static void reopen(struct harness *harness)
{
    state_close(harness->state);
    harness_state_open(harness);
}

static struct epoch_change change_to(struct harness *harness, enum epoch_change_kind kind,
                                     uint32_t region)
{
    struct epoch_change change;
    struct state_refusal refusal;
    state_epoch_next(harness->state, kind, region, &change);
    ck_assert_msg(state_epoch_check(harness->state, &change, &refusal) == STATUS_OK, "%s",
                  refusal.text);
    return change;
}

static struct epoch_change change(struct harness *harness, enum epoch_change_kind kind,
                                  uint32_t region)
{
    struct epoch_change change = change_to(harness, kind, region);
    struct state_result result = harness_change(harness, &change);
    ck_assert_int_eq(result.status, STATUS_OK);
    ck_assert(result.versioned);
    ck_assert_uint_eq(result.version, change.version + 1);
    ck_assert(epoch_equal(state_epoch(harness->state), change.to));
    return change;
}

/* A put that a primary of `epoch` stamped as the next version. */
static struct state_result put_of(struct harness *harness, struct epoch epoch, const char *value)
{
    struct txn txn;
    txn_begin(harness, &txn);
    (void)txn_put(&txn, "users", "k", value, 0);
    struct bytes body = txn_encode(&txn);
    struct entry entry = {.kind = ENTRY_COMMIT,
                          .version = harness_next_version(harness),
                          .epoch_number = epoch.number,
                          .epoch_region = epoch.region,
                          .log_time_ns = ++harness->time_ns,
                          .body = body};
    struct state_result result = harness_apply_entry(harness, ++harness->index, &entry);
    free((void *)(uintptr_t)body.data);
    return result;
}

/* The change is discarded with this status, and nothing is otherwise than before. */
static void expect_discarded(struct harness *harness, const struct epoch_change *change,
                             enum status status)
{
    struct state_facts before = state_facts(harness->state);
    struct state_result result = harness_change(harness, change);
    struct state_facts after = state_facts(harness->state);
    ck_assert_msg(result.status == status, "%s", status_name(result.status));
    ck_assert(!result.versioned);
    ck_assert_uint_eq(after.position.version, before.position.version);
    ck_assert_uint_eq(after.position.epoch_number, before.position.epoch_number);
    ck_assert_uint_eq(after.position.epoch_region, before.position.epoch_region);
    ck_assert_uint_eq(after.position.log_time_ns, before.position.log_time_ns);
    ck_assert_mem_eq(&after.chain_digest, &before.chain_digest, sizeof after.chain_digest);
    ck_assert_uint_eq(after.applied_index, before.applied_index + 1);
}

static void expect_discarded_put(struct harness *harness, struct epoch epoch)
{
    uint64_t version = state_facts(harness->state).position.version;
    struct state_result result = put_of(harness, epoch, "discarded");
    ck_assert_int_eq(result.status, STATUS_NOT_PRIMARY);
    ck_assert(!result.versioned);
    ck_assert_uint_eq(state_facts(harness->state).position.version, version);
}

START_TEST(test_a_grant)
{
    const struct epoch first = {.number = 1, .region = 7};
    const struct epoch second = {.number = 2, .region = 8};
    struct harness harness;
    struct epoch_end end;
    begin(&harness);
    ck_assert_ptr_null(state_epoch_change(harness.state));
    ck_assert_int_eq(state_epoch_end(harness.state, first, &end), STATUS_NOT_FOUND);
    struct state_facts before = state_facts(harness.state);
    struct epoch_change granted = change(&harness, EPOCH_GRANT, 8);
    ck_assert(epoch_equal(granted.to, second));

    ck_assert_int_eq(state_epoch_end(harness.state, first, &end), STATUS_OK);
    ck_assert_uint_eq(end.version, before.position.version);
    ck_assert_uint_eq(end.log_time_ns, before.position.log_time_ns);
    ck_assert_mem_eq(&end.chain, &before.chain_digest, sizeof end.chain);
    ck_assert(epoch_equal(end.next, second));
    ck_assert_int_eq(end.kind, EPOCH_GRANT);
    struct state_facts after = state_facts(harness.state);
    ck_assert_uint_eq(after.position.version, before.position.version + 1);
    ck_assert(memcmp(&after.chain_digest, &before.chain_digest, sizeof end.chain) != 0);

    /* What the old primary had under way comes to nothing; what the new one does, counts. */
    expect_discarded_put(&harness, first);
    ck_assert_int_eq(put_of(&harness, second, "second").status, STATUS_OK);
    ck_assert_str_eq(harness_value(&harness, "users", "k"), "second");
    /* A second copy of the grant, and one that was made before the first was applied. */
    expect_discarded(&harness, &granted, STATUS_NOT_PRIMARY);
    harness_close(&harness);
}
END_TEST

START_TEST(test_a_promotion)
{
    struct harness harness;
    struct epoch_end end;
    begin(&harness);
    struct epoch_change promoted = change_to(&harness, EPOCH_PROMOTE, 8);
    promoted.record = bytes_of_text("signed");
    ck_assert_uint_eq(promoted.to.number, 3);
    /* Its header's epoch lets nothing else in. */
    expect_discarded_put(&harness, promoted.to);
    struct state_result result = harness_change(&harness, &promoted);
    ck_assert_int_eq(result.status, STATUS_OK);
    ck_assert(epoch_equal(state_epoch(harness.state), promoted.to));
    ck_assert_int_eq(state_epoch_end(harness.state, promoted.from, &end), STATUS_OK);
    ck_assert_uint_eq(end.version, promoted.version);
    ck_assert_int_eq(end.kind, EPOCH_PROMOTE);
    expect_discarded(&harness, &promoted, STATUS_NOT_PRIMARY);
    expect_discarded_put(&harness, promoted.from);
    ck_assert_int_eq(put_of(&harness, promoted.to, "third").status, STATUS_OK);

    reopen(&harness);
    const struct epoch_change *began = state_epoch_change(harness.state);
    ck_assert(began != NULL && epoch_equal(began->from, promoted.from));
    ck_assert(epoch_equal(began->to, promoted.to) && began->version == promoted.version);
    ck_assert(bytes_equal(began->record, bytes_of_text("signed")));
    ck_assert(epoch_equal(state_epoch(harness.state), promoted.to));
    ck_assert_int_eq(state_epoch_end(harness.state, promoted.from, &end), STATUS_OK);
    ck_assert_uint_eq(end.version, promoted.version);
    /* The next change's record stands in place of it. */
    (void)change(&harness, EPOCH_GRANT, 7);
    ck_assert_uint_eq(state_epoch_change(harness.state)->record.size, 0);
    harness_close(&harness);
}
END_TEST

START_TEST(test_changes_that_do_not_fit_are_discarded)
{
    const enum epoch_change_kind kinds[] = {EPOCH_GRANT, EPOCH_PROMOTE};
    struct harness harness;
    begin(&harness);
    for (int i = 0; i < 2; i++) {
        const struct epoch_change good = change_to(&harness, kinds[i], 8);
        struct epoch_change bad = good;
        bad.version--;
        expect_discarded(&harness, &bad, STATUS_NOT_PRIMARY);
        bad.version = good.version + 1;
        expect_discarded(&harness, &bad, STATUS_NOT_PRIMARY);
        bad = good;
        bad.from.region = 9;
        expect_discarded(&harness, &bad, STATUS_NOT_PRIMARY);
        bad = good;
        bad.chain.low ^= 1;
        expect_discarded(&harness, &bad, STATUS_HISTORY_LOST);
    }
    /* Bytes that are no change. */
    struct state_result result = harness_apply(&harness, ENTRY_EPOCH, bytes_of_text("\x01"));
    ck_assert_int_eq(result.status, STATUS_NOT_PRIMARY);
    ck_assert(!result.versioned);
    (void)change(&harness, EPOCH_GRANT, 8);
    harness_close(&harness);
}
END_TEST

/* What a newer version would take must not be passed over by this one. */
START_TEST(test_newer_formats_stop_apply)
{
    const enum entry_kind kinds[] = {ENTRY_EPOCH, ENTRY_REGIONS, ENTRY_FENCE};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct harness harness;
        struct state_result result;
        begin(&harness);
        struct epoch epoch = state_epoch(harness.state);
        bool shared = entry_kind_is_shared(kinds[i]);
        const struct entry entry = {.kind = kinds[i],
                                    .version = shared ? harness_next_version(&harness) : 0,
                                    .epoch_number = shared ? epoch.number : 0,
                                    .epoch_region = shared ? epoch.region : 0,
                                    .log_time_ns = harness.time_ns + 1,
                                    .body = bytes_of_text("\x7fnewer")};
        state_apply_start(harness.state, harness.index + 1, 1, &entry);
        ck_assert_int_eq(state_apply_step(harness.state, &result), STATUS_NEWER_FORMAT);
        harness_close(&harness);
    }
}
END_TEST

START_TEST(test_a_fence_stops_its_region)
{
    const struct epoch first = {.number = 1, .region = 7};
    const struct epoch higher = {.number = 5, .region = 9};
    struct harness harness;
    begin(&harness);
    struct epoch_change granted = change_to(&harness, EPOCH_GRANT, 8);
    struct state_facts before = state_facts(harness.state);
    struct state_result result = harness_fence(&harness, 7, higher);
    ck_assert_int_eq(result.status, STATUS_OK);
    ck_assert(!result.versioned);
    ck_assert_uint_eq(state_facts(harness.state).position.version, before.position.version);
    ck_assert(epoch_equal(state_fence(harness.state), higher));
    ck_assert(state_is_fenced(harness.state, 7) && !state_is_fenced(harness.state, 9));
    for (int i = 0; i < 2; i++) {
        expect_discarded_put(&harness, first);
        expect_discarded(&harness, &granted, STATUS_NOT_PRIMARY);
        ck_assert_int_eq(harness_tick(&harness, 0).status, STATUS_NOT_PRIMARY);
        reopen(&harness);
        ck_assert(epoch_equal(state_fence(harness.state), higher));
    }
    /* A lower one changes nothing, a higher one does. */
    (void)harness_fence(&harness, 7, (struct epoch){.number = 5, .region = 8});
    ck_assert(epoch_equal(state_fence(harness.state), higher));
    (void)harness_fence(&harness, 7, (struct epoch){.number = 6, .region = 8});
    ck_assert_uint_eq(state_fence(harness.state).number, 6);
    harness_close(&harness);
}
END_TEST

/* What leads the fenced region to the higher epoch may go through epochs below it. */
START_TEST(test_the_other_regions_history_passes_a_fence)
{
    const struct epoch third = {.number = 3, .region = 8};
    const struct epoch fifth = {.number = 5, .region = 9};
    struct harness harness;
    struct epoch_change change;
    begin(&harness);
    (void)harness_fence(&harness, 7, fifth);
    state_epoch_next(harness.state, EPOCH_PROMOTE, 8, &change);
    ck_assert_uint_eq(change.to.number, 7);
    change.to = third;
    ck_assert_int_eq(harness_change(&harness, &change).status, STATUS_OK);
    ck_assert_int_eq(put_of(&harness, third, "third").status, STATUS_OK);
    ck_assert(epoch_equal(state_fence(harness.state), fifth));
    state_epoch_next(harness.state, EPOCH_PROMOTE, 9, &change);
    change.to = fifth;
    ck_assert_int_eq(harness_change(&harness, &change).status, STATUS_OK);
    ck_assert_uint_eq(state_fence(harness.state).number, 0);
    ck_assert(!state_is_fenced(harness.state, 7));
    ck_assert_str_eq(harness_value(&harness, "users", "k"), "third");
    /* A fence that was reached before is none. */
    (void)harness_fence(&harness, 7, fifth);
    ck_assert_uint_eq(state_fence(harness.state).number, 0);
    harness_close(&harness);
}
END_TEST

START_TEST(test_positions)
{
    const struct epoch first = {.number = 1, .region = 7};
    const struct epoch lost = {.number = 2, .region = 8};
    struct harness harness;
    begin(&harness);
    uint64_t last = state_facts(harness.state).position.version;
    ck_assert_int_eq(state_position_check(harness.state, first, last), STATUS_OK);
    ck_assert_int_eq(state_position_check(harness.state, first, last + 1), STATUS_AGAIN);
    ck_assert_int_eq(state_position_check(harness.state, lost, last), STATUS_AGAIN);
    struct epoch third = change(&harness, EPOCH_PROMOTE, 9).to;
    ck_assert_int_eq(put_of(&harness, third, "third").status, STATUS_OK);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(state_position_check(harness.state, first, last), STATUS_OK);
        ck_assert_int_eq(state_position_check(harness.state, first, last + 1), STATUS_HISTORY_LOST);
        ck_assert_int_eq(state_position_check(harness.state, lost, 1), STATUS_HISTORY_LOST);
        ck_assert_int_eq(state_position_check(harness.state, third, 1), STATUS_OK);
        ck_assert_int_eq(state_position_check(harness.state, third, last + 2), STATUS_OK);
        ck_assert_int_eq(state_position_check(harness.state, third, last + 3), STATUS_AGAIN);
        reopen(&harness);
    }
    ck_assert(epoch_equal(state_epoch_end_before(harness.state, lost)->epoch, first));
    ck_assert_ptr_null(state_epoch_end_before(harness.state, (struct epoch){1, 6}));
    harness_close(&harness);
}
END_TEST

/* Reads at `snapshot` of that epoch, which may be none, and puts. */
static enum status commit_at(struct harness *harness, struct epoch epoch, uint64_t snapshot)
{
    struct txn txn;
    struct state_view *view;
    struct state_refusal refusal;
    struct lsm_wait wait;
    txn_begin(harness, &txn);
    txn.commit.snapshot = snapshot;
    txn.commit.snapshot_epoch_number = epoch.number;
    txn.commit.snapshot_epoch_region = epoch.region;
    txn_read(&txn, "users", "other");
    (void)txn_put(&txn, "users", "k", "read", 0);
    /* The leader does not tell beforehand: it is an outcome. */
    lsm_wait_init(&wait, harness_no_wait, NULL);
    ck_assert_int_eq(state_view_open(harness->state, UINT64_MAX, &view), STATUS_OK);
    enum status status;
    while ((status = state_validate(view, &wait, &txn.commit, &refusal)) == STATUS_AGAIN)
        backend_turn(harness->backend);
    ck_assert_int_eq(status, STATUS_OK);
    state_view_close(view);
    return txn_commit(harness, &txn).status;
}

START_TEST(test_snapshots_of_a_history_that_was_given_up)
{
    const struct epoch first = {.number = 1, .region = 7};
    struct harness harness;
    begin(&harness);
    uint64_t last = state_facts(harness.state).position.version;
    ck_assert_int_eq(commit_at(&harness, first, last), STATUS_OK);
    last++;
    struct epoch third = change(&harness, EPOCH_PROMOTE, 8).to;
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(harness_tick(&harness, 0).status, STATUS_OK);
    ck_assert_int_eq(commit_at(&harness, first, last), STATUS_OK);
    ck_assert_int_eq(commit_at(&harness, first, last + 1), STATUS_HISTORY_LOST);
    ck_assert_int_eq(commit_at(&harness, third, last + 1), STATUS_OK);
    ck_assert_int_eq(commit_at(&harness, (struct epoch){0}, last + 1), STATUS_OK);
    ck_assert_int_eq(commit_at(&harness, (struct epoch){2, 9}, last), STATUS_HISTORY_LOST);
    ck_assert_int_eq(commit_at(&harness, (struct epoch){4, 7}, last), STATUS_HISTORY_LOST);
    harness_close(&harness);
}
END_TEST

START_TEST(test_what_may_be_proposed)
{
    struct harness harness;
    struct state_refusal refusal;
    begin(&harness);
    struct epoch_change good = change_to(&harness, EPOCH_GRANT, 8);
    struct epoch_change bad = good;
    bad.to.region = 5;
    ck_assert_int_eq(state_epoch_check(harness.state, &bad, &refusal), STATUS_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(refusal.text, "strait region add"));
    bad.to.region = 7;
    ck_assert_int_eq(state_epoch_check(harness.state, &bad, &refusal), STATUS_INVALID_ARGUMENT);
    bad = good;
    bad.chain.high++;
    ck_assert_int_eq(state_epoch_check(harness.state, &bad, &refusal), STATUS_CONFLICT);
    struct epoch_change promotion = change_to(&harness, EPOCH_PROMOTE, 7);
    (void)harness_tick(&harness, 0);
    ck_assert_int_eq(state_epoch_check(harness.state, &good, &refusal), STATUS_CONFLICT);
    (void)harness_fence(&harness, 7, (struct epoch){.number = 3, .region = 9});
    state_epoch_next(harness.state, EPOCH_GRANT, 8, &good);
    ck_assert_int_eq(state_epoch_check(harness.state, &good, &refusal), STATUS_NOT_PRIMARY);
    ck_assert_int_eq(state_epoch_check(harness.state, &promotion, &refusal), STATUS_NOT_PRIMARY);
    /* Past the fence, it may take its reign back. */
    (void)change(&harness, EPOCH_PROMOTE, 7);
    ck_assert_uint_eq(state_epoch(harness.state).number, 5);
    harness_close(&harness);
}
END_TEST

START_TEST(test_a_long_history_is_bounded)
{
    struct harness harness;
    const struct epoch_end *ends;
    struct epoch_end end;
    begin(&harness);
    for (int i = 0; i < 1030; i++)
        (void)change(&harness, EPOCH_GRANT, 7 + (uint32_t)(i + 1) % 3);
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_eq(state_epoch_ends(harness.state, &ends), 1024);
        ck_assert_uint_eq(ends[0].epoch.number, 7);
        ck_assert_int_eq(state_epoch_end(harness.state, (struct epoch){1, 7}, &end),
                         STATUS_NOT_FOUND);
        ck_assert_int_eq(state_position_check(harness.state, (struct epoch){1, 7}, 1),
                         STATUS_HISTORY_LOST);
        ck_assert_int_eq(state_position_check(harness.state, ends[0].epoch, ends[0].version),
                         STATUS_OK);
        reopen(&harness);
    }
    harness_close(&harness);
}
END_TEST

/* A region that follows another has no epoch until the other's first entry brings it, and keeps it
 * over a start. */
START_TEST(test_a_region_that_follows_begins_with_nothing)
{
    struct backend *backend = backend_open(1, 20, 10);
    struct harness harness = {
        .time_ns = 1700000000 * HARNESS_SECOND_NS, .backend = backend, .lsm = backend_lsm(backend)};
    const struct state_options options = {.lsm = harness.lsm,
                                          .io = backend_io(backend),
                                          .mark = backend_mark(backend),
                                          .outcome_retention_ms = 60000,
                                          .apply_ready = harness_ready,
                                          .context = &harness};
    struct error error = {0};
    uint8_t body[8] = {0};
    ck_assert_int_eq(state_open(&options, &harness.state, &error), STATUS_OK);
    harness.index = state_facts(harness.state).applied_index;
    ck_assert_uint_eq(state_epoch(harness.state).number, 0);

    struct entry entry = {.kind = ENTRY_TICK,
                          .epoch_number = 6,
                          .epoch_region = 3,
                          .version = 2,
                          .log_time_ns = harness.time_ns,
                          .body = bytes_of(body, sizeof body)};
    ck_assert(!harness_apply_entry(&harness, ++harness.index, &entry).versioned);
    entry.version = 1;
    ck_assert(harness_apply_entry(&harness, ++harness.index, &entry).versioned);
    ck_assert_uint_eq(state_epoch(harness.state).number, 6);
    ck_assert_uint_eq(state_epoch(harness.state).region, 3);
    entry.version = 2;
    entry.epoch_number = 7;
    ck_assert(!harness_apply_entry(&harness, ++harness.index, &entry).versioned);
    entry.epoch_number = 6;
    ck_assert(harness_apply_entry(&harness, ++harness.index, &entry).versioned);
    ck_assert_uint_eq(state_facts(harness.state).position.version, 2);
    harness_close(&harness);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_a_grant);
    tcase_add_test(tests, test_a_promotion);
    tcase_add_test(tests, test_changes_that_do_not_fit_are_discarded);
    tcase_add_test(tests, test_newer_formats_stop_apply);
    tcase_add_test(tests, test_a_fence_stops_its_region);
    tcase_add_test(tests, test_the_other_regions_history_passes_a_fence);
    tcase_add_test(tests, test_positions);
    tcase_add_test(tests, test_snapshots_of_a_history_that_was_given_up);
    tcase_add_test(tests, test_what_may_be_proposed);
    tcase_add_test(tests, test_a_long_history_is_bounded);
    tcase_add_test(tests, test_a_region_that_follows_begins_with_nothing);
}
