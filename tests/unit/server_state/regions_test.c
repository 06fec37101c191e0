/* SPDX-License-Identifier: Apache-2.0 */
/* The list of regions in the state, which is new in epoch (1, 7). */
#include "tests/unit/server_state/backend_fake.h"
#include "tests/unit/server_state/harness.h"

static void put(struct regions *regions, uint32_t id)
{
    const struct region region = harness_region(id);
    ck_assert_int_eq(regions_set(regions, &region), STATUS_OK);
}

static void begin(struct harness *harness)
{
    harness_open_on(harness, backend_open(3, 20, 10));
    struct regions regions = *state_regions(harness->state);
    ck_assert_uint_eq(regions.count + regions.version, 0);
    put(&regions, 7);
    put(&regions, 8);
    ck_assert_int_eq(harness_regions(harness, &regions).status, STATUS_OK);
}

/* It takes a version, and the list stays as it is; both before the proposal and by apply. */
static const char *refused(struct harness *harness, const struct regions *regions,
                           enum status status)
{
    static struct state_result result;
    struct state_refusal refusal;
    struct regions before = *state_regions(harness->state);
    uint64_t version = state_facts(harness->state).position.version;
    ck_assert_int_eq(state_regions_check(harness->state, regions, &refusal), status);
    result = harness_regions(harness, regions);
    ck_assert_int_eq(result.status, status);
    ck_assert_str_eq(result.text, refusal.text);
    ck_assert_uint_eq(result.version, version + 1);
    ck_assert_mem_eq(state_regions(harness->state), &before, sizeof before);
    return result.text;
}

START_TEST(test_the_list_is_kept)
{
    struct harness harness;
    begin(&harness);
    for (int i = 0; i < 2; i++) {
        const struct regions *regions = state_regions(harness.state);
        const struct region expected = harness_region(8);
        ck_assert_uint_eq(regions->version, 2);
        ck_assert_uint_eq(regions->count, 2);
        ck_assert_mem_eq(regions_find(regions, 8), &expected, sizeof expected);
        state_close(harness.state);
        harness_state_open(&harness);
    }
    struct regions regions = *state_regions(harness.state);
    regions_remove(&regions, 8);
    struct state_refusal refusal;
    ck_assert_int_eq(state_regions_check(harness.state, &regions, &refusal), STATUS_OK);
    ck_assert_str_eq(refusal.text, "");
    ck_assert_int_eq(harness_regions(&harness, &regions).status, STATUS_OK);
    ck_assert_uint_eq(state_regions(harness.state)->count, 1);
    ck_assert_uint_eq(state_regions(harness.state)->version, 3);
    harness_close(&harness);
}
END_TEST

START_TEST(test_of_two_changes_the_second_is_refused)
{
    struct harness harness;
    begin(&harness);
    struct regions one = *state_regions(harness.state);
    struct regions other = one;
    put(&one, 9);
    put(&other, 10);
    ck_assert_int_eq(harness_regions(&harness, &one).status, STATUS_OK);
    ck_assert_ptr_nonnull(strstr(refused(&harness, &other, STATUS_CONFLICT), "strait region list"));
    harness_close(&harness);
}
END_TEST

START_TEST(test_the_primary_stays)
{
    struct harness harness;
    begin(&harness);
    struct regions regions = *state_regions(harness.state);
    regions_remove(&regions, 7);
    ck_assert_ptr_nonnull(
        strstr(refused(&harness, &regions, STATUS_INVALID_ARGUMENT), "strait region switchover"));
    /* Once it is another, the old one may go. */
    struct epoch_change change;
    state_epoch_next(harness.state, EPOCH_GRANT, 8, &change);
    ck_assert_int_eq(harness_change(&harness, &change).status, STATUS_OK);
    ck_assert_int_eq(harness_regions(&harness, &regions).status, STATUS_OK);
    harness_close(&harness);
}
END_TEST

START_TEST(test_names_stay_with_ids)
{
    struct harness harness;
    begin(&harness);
    struct regions regions = *state_regions(harness.state);
    strcpy(regions.regions[1].name, "renamed");
    (void)refused(&harness, &regions, STATUS_INVALID_ARGUMENT);
    regions = *state_regions(harness.state);
    struct region taken = harness_region(9);
    strcpy(taken.name, regions_find(&regions, 8)->name);
    regions_remove(&regions, 8);
    ck_assert_int_eq(regions_set(&regions, &taken), STATUS_OK);
    (void)refused(&harness, &regions, STATUS_ALREADY_EXISTS);
    harness_close(&harness);
}
END_TEST

/* An upstream is of the list, and has none itself. */
START_TEST(test_upstreams_form_no_ring)
{
    struct harness harness;
    begin(&harness);
    struct regions regions = *state_regions(harness.state);
    struct region third = harness_region(9);
    third.upstream = 8;
    ck_assert_int_eq(regions_set(&regions, &third), STATUS_OK);
    ck_assert_int_eq(harness_regions(&harness, &regions).status, STATUS_OK);
    ck_assert_uint_eq(regions_find(state_regions(harness.state), 9)->upstream, 8);

    regions = *state_regions(harness.state);
    struct region ring = *regions_find(&regions, 8);
    ring.upstream = 9;
    ck_assert_int_eq(regions_set(&regions, &ring), STATUS_OK);
    ck_assert_ptr_nonnull(
        strstr(refused(&harness, &regions, STATUS_INVALID_ARGUMENT), "another standby itself"));
    regions = *state_regions(harness.state);
    regions_remove(&regions, 8);
    ck_assert_ptr_nonnull(
        strstr(refused(&harness, &regions, STATUS_INVALID_ARGUMENT), "--upstream primary"));
    state_close(harness.state);
    harness_state_open(&harness);
    ck_assert_uint_eq(regions_find(state_regions(harness.state), 9)->upstream, 8);
    harness_close(&harness);
}
END_TEST

START_TEST(test_a_first_list_has_the_primary)
{
    struct harness harness;
    harness_open_on(&harness, backend_open(3, 0, 0));
    struct regions regions = {0};
    put(&regions, 8);
    ck_assert_ptr_nonnull(
        strstr(refused(&harness, &regions, STATUS_INVALID_ARGUMENT), "strait region add"));
    struct state_result result = harness_apply(&harness, ENTRY_REGIONS, bytes_of_text("\x01"));
    ck_assert_int_eq(result.status, STATUS_MALFORMED);
    ck_assert(result.versioned && result.text[0] != 0);
    result = harness_apply(&harness, ENTRY_REGIONS, (struct bytes){0});
    ck_assert_int_eq(result.status, STATUS_MALFORMED);
    harness_close(&harness);
}
END_TEST

START_TEST(test_the_list_is_part_of_the_digest)
{
    struct hash128 digests[2];
    for (uint32_t i = 0; i < 2; i++) {
        struct harness harness;
        begin(&harness);
        struct regions regions = *state_regions(harness.state);
        regions.regions[0].guard.lag_ms_max = i;
        ck_assert_int_eq(harness_regions(&harness, &regions).status, STATUS_OK);
        digests[i] = state_facts(harness.state).chain_digest;
        harness_close(&harness);
    }
    ck_assert(memcmp(&digests[0], &digests[1], sizeof digests[0]) != 0);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_the_list_is_kept);
    tcase_add_test(tests, test_of_two_changes_the_second_is_refused);
    tcase_add_test(tests, test_the_primary_stays);
    tcase_add_test(tests, test_names_stay_with_ids);
    tcase_add_test(tests, test_upstreams_form_no_ring);
    tcase_add_test(tests, test_a_first_list_has_the_primary);
    tcase_add_test(tests, test_the_list_is_part_of_the_digest);
}
