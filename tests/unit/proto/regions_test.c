/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/regions.h"

#include <stdio.h>

#include "tests/unit/unit.h"

static struct region region_of(uint32_t id, const char *name, unsigned endpoints_count)
{
    struct region region;
    memset(&region, 0, sizeof region);
    region.id = id;
    region.guard = (struct region_guard){
        .action = REGION_GUARD_SLOW, .lag_bytes_max = 1 << 20, .lag_ms_max = 5000 + id};
    region.endpoints_count = endpoints_count;
    (void)snprintf(region.name, sizeof region.name, "%s", name);
    for (unsigned i = 0; i < endpoints_count; i++)
        (void)snprintf(region.endpoints[i], sizeof region.endpoints[i], "n%u.%s.example:7000", i,
                       name);
    return region;
}

static struct regions sample(void)
{
    struct regions regions = {.version = 77};
    const struct region list[] = {region_of(2, "sydney", 3), region_of(1, "singapore", 2),
                                  region_of(UINT32_MAX, "far-away", 0)};
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        ck_assert_int_eq(regions_set(&regions, &list[i]), STATUS_OK);
    return regions;
}

/* Without an upstream, and with one. */
START_TEST(test_round_trip)
{
    static uint8_t encoded[regions_size_max];
    struct regions regions = sample();
    regions.regions[1].upstream = _i == 0 ? 0 : UINT32_MAX;
    struct regions decoded;
    size_t size = regions_size(&regions);
    regions_encode(&regions, encoded);
    ck_assert_int_eq(regions_decode(bytes_of(encoded, size), &decoded), STATUS_OK);
    ck_assert_uint_eq(decoded.version, 77);
    ck_assert_uint_eq(decoded.count, 3);
    const uint32_t order[] = {1, 2, UINT32_MAX};
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_uint_eq(decoded.regions[i].id, order[i]);
        ck_assert_mem_eq(&decoded.regions[i], &regions.regions[i], sizeof(struct region));
    }
    for (size_t cut = 0; cut < size; cut++) {
        ck_assert_int_eq(regions_decode(bytes_of(encoded, cut), &decoded), STATUS_MALFORMED);
        ck_assert_uint_eq(decoded.count, 0);
    }
    encoded[size] = 0;
    ck_assert_int_eq(regions_decode(bytes_of(encoded, size + 1), &decoded), STATUS_MALFORMED);
}
END_TEST

START_TEST(test_none_and_the_largest)
{
    static uint8_t encoded[regions_size_max];
    static struct regions regions;
    static struct regions decoded;
    regions_encode(&regions, encoded);
    ck_assert_int_eq(regions_decode(bytes_of(encoded, regions_size(&regions)), &decoded),
                     STATUS_OK);
    ck_assert_uint_eq(decoded.count, 0);
    for (uint32_t id = limit_regions_count; id > 0; id--) {
        struct region region = region_of(id, "x", 0);
        memset(region.name, 'a' + (int)id, limit_name_size);
        region.endpoints_count = limit_region_endpoints_count;
        for (unsigned i = 0; i < limit_region_endpoints_count; i++) {
            memset(region.endpoints[i], 'h', limit_member_address_size);
            memcpy(region.endpoints[i] + limit_member_address_size - 6, ":65535", 6);
        }
        region.upstream = 1000;
        ck_assert_int_eq(regions_set(&regions, &region), STATUS_OK);
    }
    ck_assert_uint_eq(regions_size(&regions), regions_size_max);
    regions_encode(&regions, encoded);
    ck_assert_int_eq(regions_decode(bytes_of(encoded, sizeof encoded), &decoded), STATUS_OK);
    ck_assert_mem_eq(&decoded, &regions, sizeof regions);
    struct region more = region_of(99, "more", 1);
    ck_assert_int_eq(regions_set(&regions, &more), STATUS_TOO_LARGE);
    encoded[1] = limit_regions_count + 1;
    ck_assert_int_eq(regions_decode(bytes_of(encoded, sizeof encoded), &decoded), STATUS_MALFORMED);
}
END_TEST

/* Bytes of one region: where each field begins. */
enum {
    at_id = 16,
    at_action = 20,
    at_name_size = 21,
    at_endpoints = 22,
    at_zero = 23,
    at_name = 40
};

static enum status changed_at(size_t at, uint8_t value)
{
    uint8_t encoded[256];
    struct regions regions = {0};
    struct region region = region_of(3, "sydney", 1);
    struct regions decoded;
    ck_assert_int_eq(regions_set(&regions, &region), STATUS_OK);
    ck_assert_uint_le(regions_size(&regions), sizeof encoded);
    regions_encode(&regions, encoded);
    encoded[at] = value;
    return regions_decode(bytes_of(encoded, regions_size(&regions)), &decoded);
}

START_TEST(test_hostile_bytes)
{
    ck_assert_int_eq(changed_at(0, 1), STATUS_OK);
    ck_assert_int_eq(changed_at(0, 2), STATUS_MALFORMED);
    ck_assert_int_eq(changed_at(0, 3), STATUS_UNSUPPORTED);
    ck_assert_int_eq(changed_at(1, 0), STATUS_MALFORMED);
    ck_assert_int_eq(changed_at(1, 2), STATUS_MALFORMED);
    ck_assert_int_eq(changed_at(2, 1), STATUS_MALFORMED);
    ck_assert_int_eq(changed_at(7, 1), STATUS_MALFORMED);
    ck_assert_int_eq(changed_at(at_id, 0), STATUS_MALFORMED);
    ck_assert_int_eq(changed_at(at_action, 0), STATUS_MALFORMED);
    ck_assert_int_eq(changed_at(at_action, 4), STATUS_MALFORMED);
    ck_assert_int_eq(changed_at(at_name_size, 0), STATUS_MALFORMED);
    ck_assert_int_eq(changed_at(at_name_size, 255), STATUS_MALFORMED);
    ck_assert_int_eq(changed_at(at_endpoints, 0), STATUS_MALFORMED);
    ck_assert_int_eq(changed_at(at_endpoints, 255), STATUS_MALFORMED);
    ck_assert_int_eq(changed_at(at_zero, 1), STATUS_MALFORMED);
    ck_assert_int_eq(changed_at(at_name, 'S'), STATUS_MALFORMED);
    ck_assert_int_eq(changed_at(at_name, '\0'), STATUS_MALFORMED);
    ck_assert_int_eq(changed_at(at_name + 6, 255), STATUS_MALFORMED);
    ck_assert_int_eq(changed_at(at_name + 7, ' '), STATUS_MALFORMED);
    ck_assert_int_eq(changed_at(at_name + 7, 'm'), STATUS_OK);
}
END_TEST

START_TEST(test_two_of_the_same_are_malformed)
{
    uint8_t encoded[512];
    struct regions regions = {.count = 2};
    struct regions decoded;
    regions.regions[0] = region_of(1, "sydney", 1);
    regions.regions[1] = region_of(2, "sydney", 1);
    regions_encode(&regions, encoded);
    ck_assert_int_eq(regions_decode(bytes_of(encoded, regions_size(&regions)), &decoded),
                     STATUS_MALFORMED);
    regions.regions[1] = region_of(2, "perth", 1);
    regions_encode(&regions, encoded);
    ck_assert_int_eq(regions_decode(bytes_of(encoded, regions_size(&regions)), &decoded),
                     STATUS_OK);
    encoded[at_id] = 2;
    ck_assert_int_eq(regions_decode(bytes_of(encoded, regions_size(&regions)), &decoded),
                     STATUS_MALFORMED);
}
END_TEST

/* An upstream is another region; a list without any has one form. */
START_TEST(test_upstreams)
{
    uint8_t encoded[512];
    struct regions regions = sample();
    struct regions decoded;
    size_t plain_size = regions_size(&regions);
    regions.regions[0].upstream = 2;
    ck_assert_uint_eq(regions_size(&regions), plain_size + 4 * regions.count);
    ck_assert_uint_le(regions_size(&regions), sizeof encoded);
    regions_encode(&regions, encoded);
    struct bytes bytes = bytes_of(encoded, regions_size(&regions));
    ck_assert_uint_eq(encoded[0], 2);
    ck_assert_uint_eq(load_u32(encoded + at_name), 2);
    store_u32(encoded + at_name, 1);
    ck_assert_int_eq(regions_decode(bytes, &decoded), STATUS_MALFORMED);
    store_u32(encoded + at_name, 0);
    ck_assert_int_eq(regions_decode(bytes, &decoded), STATUS_MALFORMED);
    store_u32(encoded + at_name, 3);
    ck_assert_int_eq(regions_decode(bytes, &decoded), STATUS_OK);
    ck_assert_uint_eq(decoded.regions[0].upstream, 3);
    regions.regions[0].upstream = 1;
    ck_assert(!region_is_valid(&regions.regions[0]));
}
END_TEST

START_TEST(test_the_list)
{
    struct regions regions = sample();
    struct region changed = region_of(2, "sydney", 1);
    struct region taken = region_of(5, "singapore", 1);
    ck_assert_str_eq(regions_find(&regions, 1)->name, "singapore");
    ck_assert_ptr_null(regions_find(&regions, 3));
    ck_assert_uint_eq(regions_find_name(&regions, "far-away")->id, UINT32_MAX);
    ck_assert_ptr_null(regions_find_name(&regions, "far"));
    ck_assert_int_eq(regions_set(&regions, &changed), STATUS_OK);
    ck_assert_uint_eq(regions.count, 3);
    ck_assert_uint_eq(regions_find(&regions, 2)->endpoints_count, 1);
    ck_assert_int_eq(regions_set(&regions, &taken), STATUS_ALREADY_EXISTS);
    regions_remove(&regions, 3);
    ck_assert_uint_eq(regions.count, 3);
    regions_remove(&regions, 1);
    ck_assert_uint_eq(regions.count, 2);
    ck_assert_uint_eq(regions.regions[0].id, 2);
    ck_assert_uint_eq(regions.regions[1].id, UINT32_MAX);
}
END_TEST

START_TEST(test_endpoints)
{
    const char *const good[] = {"h:1", "n1.example:7000", "10.0.0.1:65535", "[::1]:7000"};
    const char *const bad[] = {"",        ":",    "h",        "h:",    ":7000",  "h:0",
                               "h:65536", "h:x1", "h:123456", "h 1:1", "h\x7f:1"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        ck_assert_msg(region_endpoint_is_valid(good[i]), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(!region_endpoint_is_valid(bad[i]), "%s", bad[i]);
    char long_one[limit_member_address_size + 2];
    memset(long_one, 'h', sizeof long_one);
    memcpy(long_one + sizeof long_one - 3, ":1", 3);
    ck_assert(!region_endpoint_is_valid(long_one));
    ck_assert(region_endpoint_is_valid(long_one + 1));
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_loop_test(tests, test_round_trip, 0, 2);
    tcase_add_test(tests, test_none_and_the_largest);
    tcase_add_test(tests, test_hostile_bytes);
    tcase_add_test(tests, test_two_of_the_same_are_malformed);
    tcase_add_test(tests, test_upstreams);
    tcase_add_test(tests, test_the_list);
    tcase_add_test(tests, test_endpoints);
}
