/* SPDX-License-Identifier: Apache-2.0 */
#include "server/state/mark.h"

#include "tests/unit/unit.h"

#define SECOND_NS 1000000000ULL

static struct mark_state state_new(void)
{
    struct mark_state state = {.retention_ns = 160 * SECOND_NS};
    mark_time_set(&state, 1000000 * SECOND_NS);
    return state;
}

START_TEST(test_round_trip)
{
    struct mark_state state = state_new();
    struct mark_state decoded;
    struct lsm_mark mark;
    state.cluster_version = 1;
    state.epoch_number = 2;
    state.epoch_region = 3;
    state.table_id_next = 4;
    state.index_id_next = 5;
    state.chain = (struct hash128){.low = 6, .high = 7};
    state.version = 9;
    state.horizon = 8;
    mark_outcome_add(&state, state.log_time_ns);
    mark_encode(&state, 11, 12, &mark);
    ck_assert_uint_eq(mark.index, 11);
    ck_assert_uint_eq(mark.term, 12);
    ck_assert_uint_eq(mark.version, 9);
    ck_assert_int_eq(mark_decode(&mark, &decoded), STATUS_OK);
    ck_assert_mem_eq(&decoded, &state, sizeof state);
    mark.version = 7;
    ck_assert_int_eq(mark_decode(&mark, &decoded), STATUS_CORRUPT);
}
END_TEST

START_TEST(test_a_fence_holds_until_it_is_reached)
{
    struct mark_state state = state_new();
    struct mark_state decoded;
    struct lsm_mark mark;
    state.epoch_number = 2;
    state.epoch_region = 3;
    state.fence_number = 6;
    state.fence_region = 5;
    state.fenced_region = 3;
    mark_encode(&state, 1, 1, &mark);
    ck_assert_int_eq(mark_decode(&mark, &decoded), STATUS_OK);
    ck_assert_mem_eq(&decoded, &state, sizeof state);

    mark_epoch_set(&state, (struct epoch){.number = 6, .region = 4});
    ck_assert_uint_eq(mark_fence(&state).number, 6);
    ck_assert_uint_eq(state.fenced_region, 3);
    mark_epoch_set(&state, (struct epoch){.number = 6, .region = 5});
    ck_assert(epoch_equal(mark_epoch(&state), (struct epoch){.number = 6, .region = 5}));
    ck_assert_uint_eq(mark_fence(&state).number, 0);
    ck_assert_uint_eq(state.fenced_region, 0);

    /* A fence that was reached is no fence. */
    state.fence_number = 6;
    state.fence_region = 5;
    mark_encode(&state, 1, 1, &mark);
    ck_assert_int_eq(mark_decode(&mark, &decoded), STATUS_CORRUPT);
}
END_TEST

START_TEST(test_a_rewind_under_way)
{
    struct mark_state state = state_new();
    struct mark_state decoded;
    struct lsm_mark mark;
    state.epoch_number = 2;
    state.epoch_region = 3;
    state.version = 5;
    state.rewind_index = 90;
    state.rewind_epoch.number = 2;
    state.rewind_epoch.region = 3;
    state.rewind_version = 6;
    state.tail_epoch.number = 4;
    state.tail_epoch.region = 3;
    state.tail_version = 8;
    mark_encode(&state, 70, 1, &mark);
    ck_assert_int_eq(mark_decode(&mark, &decoded), STATUS_OK);
    ck_assert_mem_eq(&decoded, &state, sizeof state);
    ck_assert(mark_is_rewinding(&decoded));

    /* It ends with an entry to come, and goes no farther than to its version. */
    mark.index = 90;
    ck_assert_int_eq(mark_decode(&mark, &decoded), STATUS_CORRUPT);
    mark.index = 89;
    ck_assert_int_eq(mark_decode(&mark, &decoded), STATUS_OK);
    mark.version = 7;
    ck_assert_int_eq(mark_decode(&mark, &decoded), STATUS_CORRUPT);
    state.tail_version = 5;
    mark_encode(&state, 70, 1, &mark);
    ck_assert_int_eq(mark_decode(&mark, &decoded), STATUS_CORRUPT);
    state.rewind_epoch.number = 0;
    mark_encode(&state, 95, 1, &mark);
    ck_assert_int_eq(mark_decode(&mark, &decoded), STATUS_OK);
    ck_assert(!mark_is_rewinding(&decoded));
    ck_assert_uint_eq(decoded.rewind_index, 90);
}
END_TEST

START_TEST(test_marks_of_earlier_formats_say_less)
{
    struct mark_state state = state_new();
    struct mark_state decoded;
    struct lsm_mark mark;
    mark_encode(&state, 1, 1, &mark);
    static const uint64_t sizes[] = {56, 16};
    for (uint8_t i = 0; i < 2; i++) {
        mark.state[0] = (uint8_t)(2 - i);
        ck_assert_int_eq(mark_decode(&mark, &decoded), STATUS_CORRUPT);
        mark.state_size -= sizes[i];
        ck_assert_int_eq(mark_decode(&mark, &decoded), STATUS_OK);
        ck_assert_mem_eq(&decoded, &state, sizeof state);
        mark.state[0] = (uint8_t)(3 - i);
        ck_assert_int_eq(mark_decode(&mark, &decoded), STATUS_CORRUPT);
    }
    mark.state[0] = 0;
    ck_assert_int_eq(mark_decode(&mark, &decoded), STATUS_CORRUPT);
    mark.state[0] = 4; /* which is longer */
    ck_assert_int_eq(mark_decode(&mark, &decoded), STATUS_CORRUPT);
    mark.state[0] = 5;
    ck_assert_int_eq(mark_decode(&mark, &decoded), STATUS_NEWER_FORMAT);
}
END_TEST

START_TEST(test_outcomes_are_evicted_with_time)
{
    struct mark_state state = state_new();
    uint64_t begin = state.log_time_ns;
    for (uint64_t i = 0; i < 160; i++) {
        mark_time_set(&state, begin + (i + 1) * SECOND_NS);
        mark_outcome_add(&state, begin + i * SECOND_NS);
    }
    ck_assert_uint_eq(state.outcomes_count, 160);
    ck_assert(mark_issued_is_valid(&state, begin));
    ck_assert(!mark_issued_is_valid(&state, state.log_time_ns + 1));
    mark_time_set(&state, begin + 200 * SECOND_NS);
    ck_assert(!mark_issued_is_valid(&state, begin + 39 * SECOND_NS));
    ck_assert(mark_issued_is_valid(&state, begin + 40 * SECOND_NS));
    ck_assert_uint_le(mark_outcomes_floor_ns(&state), begin + 40 * SECOND_NS);
    ck_assert_uint_ge(state.outcomes_count, 120);
    ck_assert_uint_le(state.outcomes_count, 130);
    /* Idle for long: everything goes at once. */
    mark_time_set(&state, begin + 100000 * SECOND_NS);
    ck_assert_uint_eq(state.outcomes_count, 0);
    mark_outcome_add(&state, state.log_time_ns);
    ck_assert_uint_eq(state.outcomes_count, 1);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_round_trip);
    tcase_add_test(tests, test_outcomes_are_evicted_with_time);
    tcase_add_test(tests, test_a_fence_holds_until_it_is_reached);
    tcase_add_test(tests, test_a_rewind_under_way);
    tcase_add_test(tests, test_marks_of_earlier_formats_say_less);
}
