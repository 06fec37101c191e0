/* SPDX-License-Identifier: Apache-2.0 */
/* `strait region ...`, as it is typed, against a fake server: what it asks, prints and exits with.
 */
#include "tests/unit/cli/typed.h"
#include "tests/unit/client/fake_regions.h"

static struct fake_regions regions;
static struct fake_server *server;

static void setup(void)
{
    fake_regions_init(&regions);
    server = fake_start(fake_regions_serve, &regions);
    profile_write(server);
}

static void teardown(void)
{
    fake_stop(server);
    pthread_mutex_destroy(&regions.lock);
}

/* ---- Lists ---- */

START_TEST(test_list)
{
    assert_done("region list");
    assert_says(out,
                "singapore           1 primary           100          -            -        -");
    assert_says(out,
                "sydney              2 standby            90         10         4096    0.250 yes");
    assert_says(out, "syd1.example:7411,syd2.example:7411");
    regions.regions[1].snapshot = true;
    assert_done("region list");
    assert_says(out, "needs a checkpoint");
    regions.regions[1].heard = false;
    assert_done("region list");
    assert_says(out, "not heard");

    json_t *document = document_of("region list", CLI_DONE);
    ck_assert(json_is_true(json_object_get(document, "by_leader")));
    ck_assert_str_eq(text(document, "region"), "singapore");
    ck_assert_str_eq(text(document, "role"), "primary");
    ck_assert_int_eq(number(document, "version"), 100);
    ck_assert_int_eq(number(json_object_get(document, "epoch"), "number"), 3);
    ck_assert(json_is_null(json_object_get(document, "fence")));
    const json_t *list = json_object_get(document, "regions");
    ck_assert_uint_eq(json_array_size(list), 2);
    const json_t *sydney = json_array_get(list, 1);
    ck_assert(json_is_null(json_object_get(sydney, "lag_versions")));
    ck_assert_uint_eq(json_array_size(json_object_get(sydney, "endpoints")), 2);
    ck_assert_str_eq(text(json_object_get(sydney, "guard"), "action"), "slow");
    ck_assert_int_eq(number(json_object_get(sydney, "guard"), "lag_bytes"), 1 << 20);
    json_decref(document);
    regions.count = 0;
    assert_done("region list");
    assert_says(out, "no region is listed");
}
END_TEST

START_TEST(test_list_of_a_standby)
{
    regions.self = 2;
    regions.source_known = true;
    snprintf(regions.trouble, sizeof regions.trouble, "the log was \x1b[2J cut");
    assert_done("region list");
    assert_says(out,
                "sydney              2 standby           100         10            -    1.750");
    assert_says(out, "singapore           1 primary           110");
    assert_says(out, "answered 1500 ms ago");
    assert_says(out, "sydney: the log was \\x1b[2J cut");
    assert_says(out, "--endpoint sg1.example:7411");
    ck_assert_ptr_null(strchr(out, '\x1b'));
}
END_TEST

START_TEST(test_status)
{
    assert_done("region status");
    assert_says(out, "region     singapore (id 1), the primary\n");
    assert_says(out, "position   version 100, epoch 3 of singapore\n");
    assert_says(out, "fenced     no\n");
    assert_says(out,
                "standby    sydney is at version 90, 10 versions, 4096 bytes and 0.250 s behind, "
                "ready; heard 12 ms ago\n");
    assert_says(out, "its guard: slow, past 1048576 bytes\n");
    assert_says(out, "trouble    none\n");

    regions.self = 2;
    regions.fenced = true;
    assert_done("region status");
    assert_says(out, "region     sydney (id 2), a standby\n");
    assert_says(out, "fenced     by epoch 5 of region 9: it takes no writes\n");
    assert_says(out, "follows    nobody");
    assert_says(out, "age        not known");
    regions.source_known = true;
    assert_done("region status");
    assert_says(out, "follows    sg1.example:7411; version 110 was heard of there, 1500 ms ago: 10 "
                     "versions ahead\n");
    assert_says(out, "age        at most 1.750 s");
    json_t *document = document_of("region status", CLI_DONE);
    ck_assert_str_eq(text(document, "role"), "standby");
    ck_assert_int_eq(number(document, "age_ms"), 1750);
    ck_assert_int_eq(number(json_object_get(document, "fence"), "region"), 9);
    ck_assert_int_eq(number(json_object_get(document, "source"), "lag_versions"), 10);
    json_decref(document);
    regions.leaderless = true;
    assert_done("region status --timeout 300ms");
    assert_says(out, "no leader answers");
}
END_TEST

/* ---- Changes ---- */

START_TEST(test_add_and_remove)
{
    assert_done("region add tokyo --id 7 --endpoints tyo1:7411,[::1]:7412 --guard refuse "
                "--lag-bytes 5000 --lag 90s");
    assert_says(out, "added\n");
    assert_says(out, "tokyo");
    const struct fake_region *tokyo = &regions.regions[2];
    ck_assert_uint_eq(tokyo->id, 7);
    ck_assert_str_eq(tokyo->endpoints[1], "[::1]:7412");
    ck_assert_int_eq(tokyo->guard, STRAIT__REGION__GUARD__REFUSE);
    ck_assert_uint_eq(tokyo->lag_bytes_max, 5000);
    ck_assert_uint_eq(tokyo->lag_ms_max, 90000);
    json_t *document = document_of("region remove tokyo", CLI_DONE);
    ck_assert_uint_eq(json_array_size(json_object_get(document, "regions")), 2);
    json_decref(document);
    regions.refused = STATUS_ALREADY_EXISTS;
    ck_assert(!regions.forced);
    ck_assert_int_eq(run("region remove sydney --force"), CLI_REFUSED);
    ck_assert(regions.forced);
    document = document_of("region add tokyo --id 7 --endpoints tyo1:7411", CLI_REFUSED);
    ck_assert_str_eq(text(document, "error"), "ALREADY_EXISTS");
    json_decref(document);
    assert_says(err, "strait: refused by the test\n");
    regions.refused = STATUS_OUTCOME_UNKNOWN;
    ck_assert_int_eq(run("region remove sydney"), CLI_UNKNOWN);
}
END_TEST

START_TEST(test_set_keeps_what_is_not_said)
{
    assert_done("region set sydney --lag 5s");
    struct fake_region *sydney = &regions.regions[1];
    ck_assert_int_eq(regions.action, STRAIT__REGION_CHANGE__ACTION__SET);
    ck_assert_uint_eq(sydney->lag_ms_max, 5000);
    ck_assert_uint_eq(sydney->lag_bytes_max, 1 << 20);
    ck_assert_int_eq(sydney->guard, STRAIT__REGION__GUARD__SLOW);
    ck_assert_uint_eq(sydney->endpoints_count, 2);
    ck_assert_str_eq(sydney->endpoints[1], "syd2.example:7411");
    assert_done("region set sydney --lag-bytes 0 --guard alert --endpoints a:1");
    ck_assert_uint_eq(sydney->lag_ms_max, 5000);
    ck_assert_uint_eq(sydney->lag_bytes_max, 0);
    ck_assert_int_eq(sydney->guard, STRAIT__REGION__GUARD__ALERT);
    ck_assert_uint_eq(sydney->endpoints_count, 1);
    ck_assert_int_eq(run("region set nowhere --lag 5s"), CLI_REFUSED);
    assert_says(err, "there is no region nowhere");
    /* What a standby knows may be old: it is not written over what the primary has. */
    regions.self = 2;
    unsigned changes = regions.changes_count;
    ck_assert_int_eq(run("region set sydney --lag 1s"), CLI_REFUSED);
    assert_says(err, "a standby answered");
    ck_assert_uint_eq(regions.changes_count, changes);
}
END_TEST

START_TEST(test_usage)
{
    static const char *const wrong[] = {
        "region",
        "region fly",
        "region list now",
        "region status now",
        "region add",
        "region add tokyo",
        "region add tokyo --id 7",
        "region add tokyo --endpoints a:1",
        "region add tokyo --id 0 --endpoints a:1",
        "region add tokyo --id 4294967296 --endpoints a:1",
        "region add tokyo --id x --endpoints a:1",
        "region add tokyo --id 7 --endpoints a:1 --guard shout",
        "region add tokyo --id 7 --endpoints a:1 --lag-bytes -1",
        "region add tokyo --id 7 --endpoints a:1 --lag soon",
        "region add tokyo kyoto --id 7 --endpoints a:1",
        "region set sydney",
        "region set --lag 5s",
        "region set sydney --id 3",
        "region set sydney --lag 5",
        "region remove",
        "region switchover",
        "region switchover a b",
        "region switchover a --timeout never",
        "region promote a b",
        "region promote --nonsense",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ck_assert_msg(run(wrong[i]) == CLI_USAGE, "%s: %s", wrong[i], err);
        ck_assert_str_eq(out, "");
        ck_assert_int_eq(strncmp(err, "strait: ", 8), 0);
    }
    ck_assert_uint_eq(atomic_load(&server->requests_count), 0);
    /* What only the library knows to be wrong is refused without asking a server. */
    ck_assert_int_eq(run("region add Tokyo --id 7 --endpoints a:1"), CLI_REFUSED);
    ck_assert_int_eq(run("region add tokyo --id 7 --endpoints a"), CLI_REFUSED);
    ck_assert_uint_eq(atomic_load(&server->requests_count), 0);
}
END_TEST

/* ---- The primary ---- */

START_TEST(test_switchover)
{
    assert_done("region switchover sydney --timeout 1500ms");
    ck_assert_uint_eq(regions.pause_max_ms, 1500);
    ck_assert_str_eq(out, "sydney is the primary from version 100 on; commits waited 321 ms\n");
    assert_done("region switchover sydney");
    ck_assert_uint_eq(regions.pause_max_ms, 5000);
    ck_assert_str_eq(out, "sydney was the primary already: nothing was done\n");
    json_t *document = document_of("region switchover singapore", CLI_DONE);
    ck_assert_str_eq(text(document, "primary"), "singapore");
    ck_assert_int_eq(number(document, "paused_ms"), 321);
    ck_assert(json_is_false(json_object_get(document, "was_primary_before")));
    json_decref(document);
    regions.refused = STATUS_CONDITION_FAILED;
    ck_assert_int_eq(run("region switchover sydney"), CLI_REFUSED);
    ck_assert_str_eq(out, "");
    regions.refused = STATUS_OUTCOME_UNKNOWN;
    ck_assert_int_eq(run("region switchover sydney"), CLI_UNKNOWN);
}
END_TEST

START_TEST(test_promote_explains)
{
    regions.self = 2;
    assert_done("region promote --explain");
    assert_says(out, "sydney is at version 100, epoch 3 of singapore\n");
    assert_says(out, "the primary has not been heard");
    assert_says(out, "since when is not known\n");
    assert_says(out, "nothing was done");
    regions.source_known = true;
    assert_done("region promote sydney --explain");
    assert_says(out,
                "the primary was heard 1.500 s ago; its newest version that was heard of is 110\n");
    assert_says(out, "given up: at least 10 versions");
    assert_says(out, "in the last 1.750 s");
    json_t *document = document_of("region promote --explain", CLI_DONE);
    ck_assert(json_is_false(json_object_get(document, "done")));
    ck_assert_int_eq(number(json_object_get(document, "given_up"), "lost_versions_min"), 10);
    json_decref(document);
    ck_assert_uint_eq(regions.promotions_count, 0);
}
END_TEST

START_TEST(test_promote_does)
{
    regions.self = 2;
    regions.source_known = true;
    /* Refused: what would have been given up was said all the same. */
    regions.refused = STATUS_CONDITION_FAILED;
    ck_assert_int_eq(run("region promote"), CLI_REFUSED);
    assert_says(out, "given up: at least 10 versions");
    assert_says(err, "refused by the test");
    json_t *document = document_of("region promote", CLI_REFUSED);
    ck_assert_str_eq(text(document, "error"), "CONDITION_FAILED");
    json_decref(document);
    regions.refused = STATUS_OK;
    assert_done("region promote sydney --force");
    ck_assert(regions.forced);
    assert_says(out, "given up: at least 10 versions");
    assert_says(out, "sydney is the primary now: version 101, epoch 3\n");
    /* Again: nothing is asked of it. */
    unsigned promotions = regions.promotions_count;
    assert_done("region promote sydney");
    ck_assert_str_eq(out, "sydney is the primary already: nothing was done\n");
    ck_assert_uint_eq(regions.promotions_count, promotions);
    document = document_of("region promote", CLI_DONE);
    ck_assert(json_is_true(json_object_get(document, "was_primary_before")));
    ck_assert(json_is_null(json_object_get(document, "given_up")));
    json_decref(document);
    regions.primary = 1;
    document = document_of("region promote", CLI_DONE);
    ck_assert(json_is_true(json_object_get(document, "done")));
    ck_assert_int_eq(number(document, "version"), 102);
    ck_assert_int_eq(number(json_object_get(document, "epoch"), "region"), 2);
    ck_assert_int_eq(number(json_object_get(document, "given_up"), "source_version"), 110);
    json_decref(document);
}
END_TEST

START_TEST(test_promote_asks_the_region_that_is_meant)
{
    regions.self = 2;
    ck_assert_int_eq(run("region promote tokyo"), CLI_REFUSED);
    assert_says(err, "belongs to sydney, not to tokyo");
    ck_assert_str_eq(out, "");
    ck_assert_uint_eq(regions.explanations_count, 0);
    ck_assert_uint_eq(regions.promotions_count, 0);
    /* One without a leader cannot be promoted, which is not told by any other of its servers. */
    regions.leaderless = true;
    ck_assert_int_eq(run("region promote --timeout 300ms"), CLI_UNREACHABLE);
    ck_assert_uint_eq(regions.explanations_count, 0);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_list);
    tcase_add_test(tests, test_list_of_a_standby);
    tcase_add_test(tests, test_status);
    tcase_add_test(tests, test_add_and_remove);
    tcase_add_test(tests, test_set_keeps_what_is_not_said);
    tcase_add_test(tests, test_usage);
    tcase_add_test(tests, test_switchover);
    tcase_add_test(tests, test_promote_explains);
    tcase_add_test(tests, test_promote_does);
    tcase_add_test(tests, test_promote_asks_the_region_that_is_meant);
}
