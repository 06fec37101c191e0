/* SPDX-License-Identifier: Apache-2.0 */
/* A state that waits for a checkpoint: what it applies meanwhile, and which it waits for. The state
 * is of region 7, which follows epoch (1, 7) of its own making here. */
#include "server/state/adopt.h"

#include "server/state/mark.h"
#include "tests/unit/server_state/backend_fake.h"
#include "tests/unit/server_state/harness.h"

static const struct epoch first = {.number = 1, .region = 7};
static const struct epoch next = {.number = 3, .region = 8};

static void begin(struct harness *harness)
{
    harness_open_on(harness, backend_open(1, 20, 10));
    harness_table(harness, "users");
}

static void adopt(struct harness *harness, struct epoch epoch, uint64_t version, uint64_t id)
{
    uint8_t body[adoption_size];
    const struct adoption adoption = {.epoch = epoch, .version = version, .id = {.low = id}};
    adoption_encode(&adoption, body);
    struct state_result result = harness_apply(harness, ENTRY_ADOPT, bytes_of(body, sizeof body));
    ck_assert_int_eq(result.status, STATUS_OK);
    ck_assert(!result.versioned);
}

static void expect_stands(const struct harness *harness, struct epoch epoch, uint64_t version,
                          uint64_t id)
{
    struct adoption stands;
    state_adoption(harness->state, &stands);
    ck_assert(epoch_equal(stands.epoch, epoch));
    ck_assert_uint_eq(stands.version, version);
    ck_assert_uint_eq(stands.id.low, id);
}

static struct state_result put_at(struct harness *harness, struct epoch epoch, uint64_t version)
{
    struct txn txn;
    txn_begin(harness, &txn);
    (void)txn_put(&txn, "users", "k", "v", 0);
    struct bytes body = txn_encode(&txn);
    struct entry entry = {.kind = ENTRY_COMMIT,
                          .version = version,
                          .epoch_number = epoch.number,
                          .epoch_region = epoch.region,
                          .log_time_ns = ++harness->time_ns,
                          .body = body};
    struct state_result result = harness_apply_entry(harness, ++harness->index, &entry);
    free((void *)(uintptr_t)body.data);
    return result;
}

static void reopen(struct harness *harness)
{
    state_close(harness->state);
    harness_state_open(harness);
}

START_TEST(test_what_comes_meanwhile_is_discarded)
{
    struct harness harness;
    begin(&harness);
    uint64_t version = state_position(harness.state).version;
    struct hash128 chain = state_chain(harness.state);

    /* What leads back, or nowhere, is not acted upon. */
    adopt(&harness, first, version, 5);
    adopt(&harness, first, version - 1, 5);
    ck_assert(!state_is_adopting(harness.state));
    expect_stands(&harness, first, version, 0);

    adopt(&harness, next, version + 100, 5);
    ck_assert(state_is_adopting(harness.state));
    expect_stands(&harness, next, version + 100, 5);

    /* The tail follows the stream from there, and the state nothing. */
    ck_assert(!put_at(&harness, first, version + 1).versioned);
    ck_assert(!put_at(&harness, next, version + 102).versioned);
    expect_stands(&harness, next, version + 100, 5);
    ck_assert(!put_at(&harness, next, version + 101).versioned);
    expect_stands(&harness, next, version + 101, 5);
    reopen(&harness);
    ck_assert(state_is_adopting(harness.state));
    expect_stands(&harness, next, version + 101, 5);
    ck_assert_uint_eq(state_position(harness.state).version, version);
    struct hash128 after = state_chain(harness.state);
    ck_assert_mem_eq(&after, &chain, sizeof chain);

    /* Another one takes its place, where it is not of an earlier position. */
    adopt(&harness, next, version + 100, 6);
    expect_stands(&harness, next, version + 101, 5);
    adopt(&harness, first, version + 200, 6);
    expect_stands(&harness, next, version + 101, 5);
    adopt(&harness, next, version + 101, 6);
    expect_stands(&harness, next, version + 101, 6);
    adopt(&harness, next, version + 150, 7);
    expect_stands(&harness, next, version + 150, 7);
    harness_close(&harness);
}
END_TEST

/* Fences are the region's own, and are applied as ever; and nothing is gone back for. */
START_TEST(test_regional_entries_are_applied)
{
    struct harness harness;
    begin(&harness);
    uint64_t version = state_position(harness.state).version;
    adopt(&harness, first, version + 100, 5);
    ck_assert_int_eq(harness_fence(&harness, 7, next).status, STATUS_OK);
    ck_assert(state_is_fenced(harness.state, 7));
    const struct rewind rewind = {.to = next, .from = first, .version = version - 1};
    ck_assert(!state_rewind_is_possible(harness.state, &rewind));
    /* What the fence stops does not move the tail. */
    ck_assert(!put_at(&harness, first, version + 101).versioned);
    expect_stands(&harness, first, version + 100, 5);
    harness_close(&harness);
}
END_TEST

START_TEST(test_a_body_that_is_none)
{
    struct harness harness;
    uint8_t body[adoption_size] = {9};
    struct state_result result;
    begin(&harness);
    struct entry entry = {.kind = ENTRY_ADOPT, .body = bytes_of(body, sizeof body)};
    state_apply_start(harness.state, harness.index + 1, 1, &entry);
    ck_assert_int_eq(state_apply_step(harness.state, &result), STATUS_NEWER_FORMAT);
    harness_close(&harness);
    begin(&harness);
    body[0] = 1;
    state_apply_start(harness.state, harness.index + 1, 1, &entry);
    ck_assert_int_eq(state_apply_step(harness.state, &result), STATUS_CORRUPT);
    harness_close(&harness);
}
END_TEST

/* ---- The mark ---- */

static struct mark_state checkpoint_state(const struct harness *harness, uint64_t version)
{
    struct mark_state state;
    ck_assert_int_eq(mark_decode(backend_mark(harness->backend), &state), STATUS_OK);
    state.version = version;
    state.epoch_number = next.number;
    state.epoch_region = next.region;
    state.chain = (struct hash128){.low = 77, .high = 78};
    state.fence_number = 9; /* another region's, as what follows */
    state.fence_region = 9;
    state.fenced_region = 8;
    state.rewind_index = 123456;
    return state;
}

START_TEST(test_the_mark_keeps_what_is_regional)
{
    for (unsigned reached = 0; reached < 2; reached++) {
        struct harness harness;
        struct lsm_mark checkpoint;
        struct lsm_mark made;
        struct adoption adoption;
        struct mark_state state;
        uint8_t body[adoption_size];

        begin(&harness);
        const struct epoch fence = {.number = reached ? 3 : 5, .region = 8};
        ck_assert_int_eq(harness_fence(&harness, 7, fence).status, STATUS_OK);
        state = checkpoint_state(&harness, 500);
        mark_encode(&state, 9999, 44, &checkpoint);
        ck_assert_int_eq(state_adoption_of(&checkpoint, &adoption), STATUS_OK);
        ck_assert(epoch_equal(adoption.epoch, next));
        ck_assert_uint_eq(adoption.version, 500);
        ck_assert(state_adoption_is_due(harness.state, &adoption));
        ck_assert_int_eq(state_adoption_mark(harness.state, &checkpoint, &made),
                         STATUS_INVALID_ARGUMENT);
        adoption_encode(&adoption, body);
        (void)harness_apply(&harness, ENTRY_ADOPT, bytes_of(body, sizeof body));
        ck_assert_int_eq(state_adoption_mark(harness.state, &checkpoint, &made), STATUS_OK);
        ck_assert_uint_eq(made.index, harness.index);
        ck_assert_uint_eq(made.version, 500);
        ck_assert_int_eq(mark_decode(&made, &state), STATUS_OK);
        ck_assert(!mark_is_adopting(&state) && !mark_is_rewinding(&state));
        ck_assert(epoch_equal(mark_epoch(&state), next));
        ck_assert_uint_eq(state.chain.low, 77);
        ck_assert_uint_eq(state.fence_number, reached ? 0 : 5);
        ck_assert_uint_eq(state.fenced_region, reached ? 0 : 7);
        ck_assert_uint_eq(state.rewind_index, harness.index);

        /* Of the same position, but another state. */
        state = checkpoint_state(&harness, 500);
        state.chain.low++;
        mark_encode(&state, 9999, 44, &checkpoint);
        ck_assert_int_eq(state_adoption_mark(harness.state, &checkpoint, &made),
                         STATUS_INVALID_ARGUMENT);
        harness_close(&harness);
    }
}
END_TEST

START_TEST(test_what_is_no_checkpoint)
{
    struct harness harness;
    struct lsm_mark mark;
    struct adoption adoption;

    begin(&harness);
    struct mark_state state = checkpoint_state(&harness, 500);
    state.adopt_index = 10;
    state.tail_epoch = next;
    state.tail_version = 600;
    mark_encode(&state, 20, 1, &mark);
    ck_assert_int_eq(state_adoption_of(&mark, &adoption), STATUS_INVALID_ARGUMENT);
    struct state_mark_facts facts;
    ck_assert_int_eq(state_mark_look(&mark, &facts), STATUS_OK);
    ck_assert(facts.is_adopting && !facts.is_rewinding);

    /* Marks of one that waits which make no sense: no tail, an entry that is still to come. */
    mark_encode(&state, 9, 1, &mark);
    ck_assert_int_eq(mark_decode(&mark, &state), STATUS_CORRUPT);
    state = checkpoint_state(&harness, 500);
    state.adopt_index = 10;
    mark_encode(&state, 20, 1, &mark);
    ck_assert_int_eq(mark_decode(&mark, &state), STATUS_CORRUPT);
    mark.state_size--;
    ck_assert_int_eq(mark_decode(&mark, &state), STATUS_CORRUPT);

    state = checkpoint_state(&harness, 500);
    state.horizon = 0;
    state.version = 0;
    mark_encode(&state, 20, 1, &mark);
    ck_assert_int_eq(state_adoption_of(&mark, &adoption), STATUS_INVALID_ARGUMENT);
    mark.state_size = 3;
    ck_assert_int_eq(state_adoption_of(&mark, &adoption), STATUS_CORRUPT);
    harness_close(&harness);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_what_comes_meanwhile_is_discarded);
    tcase_add_test(tests, test_regional_entries_are_applied);
    tcase_add_test(tests, test_a_body_that_is_none);
    tcase_add_test(tests, test_the_mark_keeps_what_is_regional);
    tcase_add_test(tests, test_what_is_no_checkpoint);
}
