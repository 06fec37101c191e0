/* SPDX-License-Identifier: Apache-2.0 */
/* The cluster version is raised, in a program that can apply 2 and changes with it what an outcome
 * keeps (STRAIT_NEXT), and in one that cannot. */
#include "proto/cluster_version.h"
#include "tests/unit/server_state/backend_fake.h"
#include "tests/unit/server_state/harness.h"

static void begin(struct harness *harness)
{
    harness_open_on(harness, backend_open(1, 20, 10));
    harness_table(harness, "users");
}

static void reopen(struct harness *harness, uint32_t version_max)
{
    state_close(harness->state);
    harness->version_max = version_max;
    harness_state_open(harness);
}

static struct entry raise_entry(struct harness *harness, uint32_t version)
{
    static uint8_t body[cluster_version_size];
    struct epoch epoch = state_epoch(harness->state);
    cluster_version_encode(version, body);
    return (struct entry){.kind = ENTRY_VERSION,
                          .version = harness_next_version(harness),
                          .epoch_number = epoch.number,
                          .epoch_region = epoch.region,
                          .log_time_ns = ++harness->time_ns,
                          .body = bytes_of(body, sizeof body)};
}

static struct state_result raise_to(struct harness *harness, uint32_t version)
{
    const struct entry entry = raise_entry(harness, version);
    return harness_apply_entry(harness, ++harness->index, &entry);
}

static uint32_t version_of(const struct harness *harness)
{
    return state_facts(harness->state).cluster_version;
}

static void put_two(struct harness *harness)
{
    struct txn txn;
    txn_begin(harness, &txn);
    (void)txn_put(&txn, "users", "a", "1", 0);
    (void)txn_put(&txn, "users", "b", "2", 0);
    struct state_result result = txn_commit(harness, &txn);
    ck_assert_int_eq(result.status, STATUS_OK);
    result = txn_commit(harness, &txn);
    ck_assert(result.repeated_reply && result.status == STATUS_OK);
}

static struct hash128 chain_of(const struct harness *harness)
{
    return state_facts(harness->state).chain_digest;
}

static bool same_chain(const struct harness *a, const struct harness *b)
{
    return chain_of(a).low == chain_of(b).low && chain_of(a).high == chain_of(b).high;
}

START_TEST(test_a_new_state_begins_with_the_first)
{
    struct harness harness;
    begin(&harness);
    ck_assert_uint_eq(state_cluster_version, 2);
    ck_assert_uint_eq(version_of(&harness), cluster_version_first);
    ck_assert_uint_eq(state_cluster_version_max(harness.state), 2);
    harness_close(&harness);
}
END_TEST

START_TEST(test_it_rises_and_never_falls)
{
    struct harness harness;
    begin(&harness);
    struct state_result result = raise_to(&harness, 2);
    ck_assert_int_eq(result.status, STATUS_OK);
    ck_assert(result.versioned);
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_eq(version_of(&harness), 2);
        for (uint32_t version = 1; version <= 2; version++) {
            result = raise_to(&harness, version);
            ck_assert_int_eq(result.status, STATUS_CONFLICT);
            ck_assert(result.versioned);
        }
        reopen(&harness, 0);
    }
    result = harness_apply(&harness, ENTRY_VERSION, bytes_of_text("\x01"));
    ck_assert_int_eq(result.status, STATUS_MALFORMED);
    ck_assert_uint_eq(version_of(&harness), 2);
    harness_close(&harness);
}
END_TEST

/* Programs of two ages have the same state as long as the version is the older one's; from the
 * raise on the newer does what the older one never did. */
START_TEST(test_what_it_brings_holds_from_the_raise_on)
{
    struct harness older;
    struct harness newer;
    struct harness raised;
    begin(&older);
    reopen(&older, 1);
    begin(&newer);
    begin(&raised);
    ck_assert(same_chain(&older, &newer));
    put_two(&older);
    put_two(&newer);
    put_two(&raised);
    ck_assert(same_chain(&older, &newer));

    ck_assert_int_eq(raise_to(&newer, 2).status, STATUS_OK);
    ck_assert_int_eq(raise_to(&raised, 2).status, STATUS_OK);
    ck_assert(same_chain(&newer, &raised));
    put_two(&newer);
    put_two(&raised);
    ck_assert(same_chain(&newer, &raised));
    /* With another chain at the same version, its own effect is what differs. */
    ck_assert_int_eq(raise_to(&older, 1).status, STATUS_CONFLICT);
    put_two(&older);
    ck_assert(!same_chain(&older, &newer));
    harness_close(&older);
    harness_close(&newer);
    harness_close(&raised);
}
END_TEST

START_TEST(test_who_cannot_stops_before_it)
{
    struct harness harness;
    struct state_result result;
    begin(&harness);
    reopen(&harness, 1);
    struct state_facts before = state_facts(harness.state);
    const struct entry entry = raise_entry(&harness, 2);
    state_apply_start(harness.state, harness.index + 1, 1, &entry);
    ck_assert_int_eq(state_apply_step(harness.state, &result), STATUS_NEWER_FORMAT);
    struct state_facts after = state_facts(harness.state);
    ck_assert_uint_eq(after.applied_index, before.applied_index);
    ck_assert_uint_eq(after.position.version, before.position.version);
    ck_assert_uint_eq(after.cluster_version, 1);

    /* A newer program goes on from there. */
    reopen(&harness, 2);
    result = harness_apply_entry(&harness, ++harness.index, &entry);
    ck_assert_int_eq(result.status, STATUS_OK);
    ck_assert_uint_eq(version_of(&harness), 2);
    harness_close(&harness);
}
END_TEST

START_TEST(test_an_older_program_does_not_open_it)
{
    struct harness harness;
    struct error error = {0};
    struct state *state;
    begin(&harness);
    ck_assert_int_eq(raise_to(&harness, 2).status, STATUS_OK);
    state_close(harness.state);
    const struct state_options options = {.lsm = harness.lsm,
                                          .io = backend_io(harness.backend),
                                          .mark = backend_mark(harness.backend),
                                          .cluster_version_max = 1,
                                          .region_id = 7};
    ck_assert_int_eq(state_open(&options, &state, &error), STATUS_NEWER_FORMAT);
    ck_assert_ptr_null(state);
    ck_assert_ptr_nonnull(strstr(error.text, "cluster version is 2"));
    ck_assert_ptr_nonnull(strstr(error.text, "Start the newer program"));
    harness_state_open(&harness);
    ck_assert_uint_eq(version_of(&harness), 2);
    harness_close(&harness);
}
END_TEST

/* A region whose history is another's, from an older program on, raises it where the other did. */
START_TEST(test_it_is_part_of_the_stream)
{
    struct harness harness;
    begin(&harness);
    struct entry entry = raise_entry(&harness, 2);
    entry.version++;
    struct state_result result = harness_apply_entry(&harness, ++harness.index, &entry);
    ck_assert_int_eq(result.status, STATUS_NOT_PRIMARY);
    ck_assert(!result.versioned);
    ck_assert_uint_eq(version_of(&harness), 1);
    entry = raise_entry(&harness, 2);
    entry.epoch_number++;
    ck_assert(!harness_apply_entry(&harness, ++harness.index, &entry).versioned);
    ck_assert_uint_eq(version_of(&harness), 1);
    harness_close(&harness);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_a_new_state_begins_with_the_first);
    tcase_add_test(tests, test_it_rises_and_never_falls);
    tcase_add_test(tests, test_what_it_brings_holds_from_the_raise_on);
    tcase_add_test(tests, test_who_cannot_stops_before_it);
    tcase_add_test(tests, test_an_older_program_does_not_open_it);
    tcase_add_test(tests, test_it_is_part_of_the_stream);
}
