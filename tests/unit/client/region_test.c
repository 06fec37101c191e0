/* SPDX-License-Identifier: Apache-2.0 */
/* What administrators ask of regions, through the library. */
#include "client/strait_region.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/client/fake_regions.h"
#include "tests/unit/unit.h"

static struct fake_regions regions;
static struct fake_server *server;
static strait *handle;

static void setup(void)
{
    fake_regions_init(&regions);
    server = fake_start(fake_regions_serve, &regions);
    handle = fake_open(server, 5000);
}

static void teardown(void)
{
    strait_close(handle);
    fake_stop(server);
    pthread_mutex_destroy(&regions.lock);
}

START_TEST(test_the_list_of_the_primary)
{
    struct strait_regions *list;
    struct strait_error error;

    ck_assert_msg(strait_region_list(handle, false, 0, &list, &error) == STRAIT_OK, "%s",
                  error.text);
    ck_assert_uint_eq(list->count, 2);
    ck_assert_uint_eq(list->region_id, 1);
    ck_assert_uint_eq(list->list_version, 42);
    ck_assert_uint_eq(list->position.version, 100);
    ck_assert_uint_eq(list->position.epoch_number, 3);
    ck_assert_uint_eq(list->position.epoch_region, 1);
    ck_assert(!list->fenced && !list->source_known && !list->age_known);
    ck_assert_str_eq(list->source, "");
    ck_assert_str_eq(list->trouble, "");
    const struct strait_region *own = &list->items[0];
    ck_assert(own->self && own->primary && !own->heard);
    ck_assert_str_eq(own->name, "singapore");
    const struct strait_region *other = &list->items[1];
    ck_assert(!other->self && !other->primary && other->heard && other->ready && !other->snapshot);
    ck_assert_uint_eq(other->id, 2);
    ck_assert_uint_eq(other->endpoints_count, 2);
    ck_assert_str_eq(other->endpoints[1], "syd2.example:7411");
    ck_assert_int_eq(other->guard, STRAIT_GUARD_SLOW);
    ck_assert_uint_eq(other->guard_lag_bytes, 1 << 20);
    ck_assert_uint_eq(other->guard_lag_ms, 0);
    ck_assert_uint_eq(other->heard_ago_ms, 12);
    ck_assert_uint_eq(other->version, 90);
    ck_assert_uint_eq(other->lag_versions, 10);
    ck_assert_uint_eq(other->lag_bytes, 4096);
    ck_assert_uint_eq(other->lag_ms, 250);
    strait_free(list);
}
END_TEST

START_TEST(test_the_list_of_a_standby)
{
    struct strait_regions *list;
    struct strait_error error;

    regions.self = 2;
    regions.source_known = true;
    regions.fenced = true;
    snprintf(regions.trouble, sizeof regions.trouble, "It needs a checkpoint.");
    ck_assert_msg(strait_region_list(handle, false, 0, &list, &error) == STRAIT_OK, "%s",
                  error.text);
    ck_assert_uint_eq(list->region_id, 2);
    ck_assert(list->fenced);
    ck_assert_uint_eq(list->fence_number, 5);
    ck_assert_uint_eq(list->fence_region, 9);
    ck_assert_str_eq(list->source, "sg1.example:7411");
    ck_assert(list->source_known && list->age_known);
    ck_assert_uint_eq(list->source_version, 110);
    ck_assert_uint_eq(list->answered_ago_ms, 1500);
    ck_assert_uint_eq(list->lag_versions, 10);
    ck_assert_uint_eq(list->age_ms, 1750);
    ck_assert_str_eq(list->trouble, "It needs a checkpoint.");
    strait_free(list);
}
END_TEST

START_TEST(test_the_list_without_a_leader)
{
    struct strait_regions *list;
    struct strait_error error;

    regions.leaderless = true;
    ck_assert_int_eq(strait_region_list(handle, false, 500, &list, &error), STRAIT_UNREACHABLE);
    ck_assert_ptr_null(list);
    ck_assert_int_eq(strait_region_list(handle, true, 0, &list, &error), STRAIT_OK);
    ck_assert_uint_eq(list->count, 2);
    strait_free(list);
}
END_TEST

START_TEST(test_changes)
{
    struct strait_region_settings settings = {.id = 7,
                                              .name = "tokyo",
                                              .endpoints = "[::1]:7411,tyo2.example:7412",
                                              .guard = STRAIT_GUARD_REFUSE,
                                              .guard_lag_bytes = 5000,
                                              .guard_lag_ms = 60000};
    struct strait_regions *list;
    struct strait_error error;

    ck_assert_msg(strait_region_add(handle, &settings, 0, &list, &error) == STRAIT_OK, "%s",
                  error.text);
    ck_assert_int_eq(regions.action, STRAIT__REGION_CHANGE__ACTION__ADD);
    ck_assert_uint_eq(list->count, 3);
    const struct strait_region *added = &list->items[2];
    ck_assert_uint_eq(added->id, 7);
    ck_assert_str_eq(added->name, "tokyo");
    ck_assert_uint_eq(added->endpoints_count, 2);
    ck_assert_str_eq(added->endpoints[0], "[::1]:7411");
    ck_assert_str_eq(added->endpoints[1], "tyo2.example:7412");
    ck_assert_int_eq(added->guard, STRAIT_GUARD_REFUSE);
    ck_assert_uint_eq(added->guard_lag_bytes, 5000);
    ck_assert_uint_eq(added->guard_lag_ms, 60000);
    strait_free(list);

    settings.guard = STRAIT_GUARD_ALERT;
    settings.endpoints = "tyo9.example:1";
    ck_assert_int_eq(strait_region_set(handle, &settings, 0, NULL, &error), STRAIT_OK);
    ck_assert_int_eq(regions.action, STRAIT__REGION_CHANGE__ACTION__SET);
    ck_assert_int_eq(regions.regions[2].guard, STRAIT__REGION__GUARD__ALERT);
    ck_assert_uint_eq(regions.regions[2].endpoints_count, 1);
    ck_assert_int_eq(strait_region_remove(handle, "tokyo", true, 0, &list, &error), STRAIT_OK);
    ck_assert_int_eq(regions.action, STRAIT__REGION_CHANGE__ACTION__REMOVE);
    ck_assert(regions.forced);
    ck_assert_uint_eq(list->count, 2);
    strait_free(list);

    regions.refused = STATUS_ALREADY_EXISTS;
    ck_assert_int_eq(strait_region_add(handle, &settings, 0, &list, &error), STRAIT_ALREADY_EXISTS);
    ck_assert_ptr_null(list);
    ck_assert_str_eq(error.text, "refused by the test");
    regions.refused = STATUS_OUTCOME_UNKNOWN;
    ck_assert_int_eq(strait_region_add(handle, &settings, 0, &list, &error),
                     STRAIT_OUTCOME_UNKNOWN);
}
END_TEST

/* The most that a region may be: it still goes into one request. */
START_TEST(test_the_largest_region)
{
    char name[65];
    char endpoints[2048];
    size_t size = 0;

    memset(name, 'n', 64);
    name[64] = 0;
    for (unsigned i = 0; i < 16; i++)
        size += (size_t)snprintf(endpoints + size, sizeof endpoints - size, "%s%058u:%05u",
                                 i == 0 ? "" : ",", i, 10000 + i);
    struct strait_region_settings settings = {.id = UINT32_MAX,
                                              .name = name,
                                              .endpoints = endpoints,
                                              .guard = STRAIT_GUARD_REFUSE,
                                              .guard_lag_bytes = UINT64_MAX,
                                              .guard_lag_ms = UINT64_MAX};
    struct strait_error error;
    ck_assert_msg(strait_region_add(handle, &settings, 0, NULL, &error) == STRAIT_OK, "%s",
                  error.text);
    ck_assert_uint_eq(regions.regions[2].endpoints_count, 16);
    ck_assert_uint_eq(strlen(regions.regions[2].endpoints[15]), 64);
    ck_assert_uint_eq(regions.regions[2].lag_ms_max, UINT64_MAX);
}
END_TEST

START_TEST(test_what_no_region_can_be)
{
    static const struct strait_region_settings good = {
        .id = 7, .name = "tokyo", .endpoints = "a:1", .guard = STRAIT_GUARD_ALERT};
    static const char *const names[] = {NULL, "", "Tokyo", "1tokyo", "to kyo", "tokyo\n"};
    static const char *const endpoints[] = {NULL,   "",         "a",        "a:0",     "a:1,",
                                            ",a:1", "a:1,,b:2", "a:1, b:2", "a:99999", "\x1b[2J:1"};
    struct strait_regions *list;
    struct strait_error error;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct strait_region_settings bad = good;
        bad.name = names[i];
        ck_assert_int_eq(strait_region_add(handle, &bad, 0, &list, &error),
                         STRAIT_INVALID_ARGUMENT);
        ck_assert_ptr_null(list);
        ck_assert_int_eq(strait_region_remove(handle, names[i], false, 0, NULL, &error),
                         STRAIT_INVALID_ARGUMENT);
        ck_assert_int_eq(strait_region_switchover(handle, names[i], 0, 0, NULL, &error),
                         STRAIT_INVALID_ARGUMENT);
    }
    for (size_t i = 0; i < sizeof endpoints / sizeof endpoints[0]; i++) {
        struct strait_region_settings bad = good;
        bad.endpoints = endpoints[i];
        ck_assert_int_eq(strait_region_set(handle, &bad, 0, NULL, &error), STRAIT_INVALID_ARGUMENT);
    }
    struct strait_region_settings bad = good;
    bad.id = 0;
    ck_assert_int_eq(strait_region_add(handle, &bad, 0, NULL, &error), STRAIT_INVALID_ARGUMENT);
    bad = good;
    bad.guard = (enum strait_guard)0;
    ck_assert_int_eq(strait_region_add(handle, &bad, 0, NULL, &error), STRAIT_INVALID_ARGUMENT);
    bad.guard = (enum strait_guard)4;
    ck_assert_int_eq(strait_region_add(handle, &bad, 0, NULL, &error), STRAIT_INVALID_ARGUMENT);
    bad = good;
    bad.endpoints = "a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1,a:1";
    ck_assert_int_eq(strait_region_add(handle, &bad, 0, NULL, &error), STRAIT_INVALID_ARGUMENT);
    ck_assert_uint_eq(atomic_load(&server->requests_count), 0);
}
END_TEST

START_TEST(test_a_switchover)
{
    struct strait_switchover *switchover;
    struct strait_error error;

    ck_assert_msg(strait_region_switchover(handle, "sydney", 0, 0, &switchover, &error) ==
                      STRAIT_OK,
                  "%s", error.text);
    ck_assert_str_eq(regions.to, "sydney");
    ck_assert_uint_eq(regions.pause_max_ms, 5000);
    ck_assert(!switchover->was_primary_before);
    ck_assert_uint_eq(switchover->paused_ms, 321);
    ck_assert_uint_eq(switchover->position.version, 100);
    strait_free(switchover);
    ck_assert_int_eq(strait_region_switchover(handle, "sydney", 1234, 0, &switchover, &error),
                     STRAIT_OK);
    ck_assert_uint_eq(regions.pause_max_ms, 1234);
    ck_assert(switchover->was_primary_before);
    strait_free(switchover);
    ck_assert_int_eq(strait_region_switchover(handle, "nowhere", 0, 0, NULL, &error),
                     STRAIT_NOT_FOUND);
    regions.refused = STATUS_CONDITION_FAILED;
    ck_assert_int_eq(strait_region_switchover(handle, "singapore", 0, 0, &switchover, &error),
                     STRAIT_CONDITION_FAILED);
    ck_assert_ptr_null(switchover);
    regions.refused = STATUS_OK;
    ck_assert_int_eq(strait_region_switchover(handle, "singapore", 0, 0, NULL, &error), STRAIT_OK);
}
END_TEST

START_TEST(test_a_promotion)
{
    struct strait_promotion *promotion;
    struct strait_error error;

    regions.self = 2;
    regions.source_known = true;
    ck_assert_msg(strait_region_promote(handle, true, false, 0, &promotion, &error) == STRAIT_OK,
                  "%s", error.text);
    ck_assert(!promotion->done && !promotion->was_primary_before);
    ck_assert(promotion->source_known && promotion->age_known);
    ck_assert_uint_eq(promotion->answered_ago_ms, 1500);
    ck_assert_uint_eq(promotion->source_version, 110);
    ck_assert_uint_eq(promotion->lost_versions_min, 10);
    ck_assert_uint_eq(promotion->age_ms, 1750);
    ck_assert_uint_eq(promotion->position.version, 100);
    strait_free(promotion);
    ck_assert_uint_eq(regions.promotions_count, 0);

    regions.refused = STATUS_CONDITION_FAILED;
    ck_assert_int_eq(strait_region_promote(handle, false, false, 0, &promotion, &error),
                     STRAIT_CONDITION_FAILED);
    ck_assert_ptr_null(promotion);
    ck_assert(!regions.forced);
    regions.refused = STATUS_OK;
    ck_assert_int_eq(strait_region_promote(handle, false, true, 0, &promotion, &error), STRAIT_OK);
    ck_assert(regions.forced);
    ck_assert(promotion->done);
    ck_assert_uint_eq(promotion->position.version, 101);
    ck_assert_uint_eq(promotion->position.epoch_region, 2);
    strait_free(promotion);
    ck_assert_int_eq(strait_region_promote(handle, false, false, 0, NULL, &error), STRAIT_OK);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_the_list_of_the_primary);
    tcase_add_test(tests, test_the_list_of_a_standby);
    tcase_add_test(tests, test_the_list_without_a_leader);
    tcase_add_test(tests, test_changes);
    tcase_add_test(tests, test_the_largest_region);
    tcase_add_test(tests, test_what_no_region_can_be);
    tcase_add_test(tests, test_a_switchover);
    tcase_add_test(tests, test_a_promotion);
}
