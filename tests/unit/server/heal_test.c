/* SPDX-License-Identifier: Apache-2.0 */
/* Regions of three cores on one simulated disk, whose tables are damaged or hold something else. */
#include <stdio.h>

#include "server/state/state.h"
#include "tests/unit/server/region_fixture.h"

/* ---- Damage ---- */

struct largest {
    char prefix[16];
    char path[64];
    uint64_t size;
};

static void look(void *context, const char *path, uint64_t size)
{
    struct largest *largest = context;
    if (strstr(path, largest->prefix) != NULL && strstr(path, ".table") != NULL &&
        size > largest->size) {
        snprintf(largest->path, sizeof largest->path, "%s", path);
        largest->size = size;
    }
}

/* One bit of the first block of a server's largest table, or of its end. */
static void damage(unsigned number, bool at_end, char path[64])
{
    struct largest largest = {0};
    snprintf(largest.prefix, sizeof largest.prefix, "d%u/lsm/", number);
    sim_disk_each_file(region_disk, look, &largest);
    ck_assert_uint_ne(largest.size, 0);
    sim_disk_flip_bit(region_disk, largest.path, at_end ? largest.size - 40 : 6000, 3);
    memcpy(path, largest.path, sizeof largest.path);
}

static void wait_rebuilt(unsigned number)
{
    for (int turns = 0; region_facts_of(number).rebuilds_count == 0; turns++) {
        ck_assert_int_lt(turns, region_turns_max);
        region_turn();
    }
    ck_assert(!region_facts_of(number).is_rebuilding);
}

static void check_server(unsigned number)
{
    Strait__Check check = STRAIT__CHECK__INIT;
    check.start = true;
    for (bool running = true; running; check.start = false) {
        struct region_asked asked;
        region_ask(number, &asked, FRAME_CHECK, &check.base);
        ck_assert_int_eq(asked.status, STATUS_OK);
        Strait__CheckReply *reply = strait__check_reply__unpack(NULL, region_reply_of(&asked).size,
                                                                region_reply_of(&asked).data);
        running = reply->running;
        strait__check_reply__free_unpacked(reply, NULL);
        region_forget(&asked);
        region_turn();
    }
}

/* All agree, by what they have on region_disk. */
static void scrub_all(unsigned agreed_wanted)
{
    Strait__Check check = STRAIT__CHECK__INIT;
    check.start = true;
    check.scrub = true;
    for (int tries = 0; tries < 20000; tries++) {
        struct region_asked asked;
        bool done = false;
        region_ask(region_wait_leader(), &asked, FRAME_CHECK, &check.base);
        if (asked.status == STATUS_OK) {
            check.start = false;
            Strait__CheckReply *reply = strait__check_reply__unpack(
                NULL, region_reply_of(&asked).size, region_reply_of(&asked).data);
            done = !reply->scrub->running;
            if (done) {
                ck_assert(!reply->scrub->failed);
                ck_assert_uint_eq(reply->scrub->members_count, region_servers_count);
                ck_assert_uint_eq(reply->scrub->agreed_count, agreed_wanted);
            }
            strait__check_reply__free_unpacked(reply, NULL);
        }
        region_forget(&asked);
        if (done)
            return;
        region_turn();
    }
    ck_abort_msg("the scrub does not end");
}

static unsigned other_than(unsigned number)
{
    return (number + 1) % region_servers_count;
}

/* ---- Tests ---- */

START_TEST(test_a_scrub_agrees)
{
    region_set_up();
    scrub_all(3);
    for (unsigned i = 0; i < region_servers_count; i++) {
        ck_assert_uint_eq(region_facts_of(i).rebuilds_count, 0);
        ck_assert_uint_ge(region_facts_of(i).scrubs_count, 1);
    }
    region_tear_down();
}
END_TEST

START_TEST(test_scrubs_come_by_themselves)
{
    region_scrub_period_ms = 3000;
    region_set_up();
    uint64_t before = region_facts_of(1).scrubs_count;
    for (int turns = 0; region_facts_of(1).scrubs_count < before + 3; turns++) {
        ck_assert_int_lt(turns, region_turns_max);
        region_turn();
    }
    region_wait_equal();
    region_tear_down();
    region_scrub_period_ms = 0;
}
END_TEST

/* Met by a check, a scrub, a read or a start; at a follower or the leader. */
START_TEST(test_damage_is_healed)
{
    bool of_leader = _i % 2 != 0;
    char path[64];
    region_set_up();
    unsigned leader = region_wait_leader();
    unsigned hurt = of_leader ? leader : other_than(leader);
    switch (_i / 2) {
    case 0:
        damage(hurt, false, path);
        check_server(hurt);
        break;
    case 1:
        damage(hurt, false, path);
        scrub_all(2);
        break;
    case 2:
        damage(hurt, false, path);
        for (unsigned i = 0; i < region_records_count && !region_facts_of(hurt).is_rebuilding;
             i++) {
            enum status status = region_read_one(hurt, i);
            ck_assert(status == STATUS_OK || status == STATUS_NOT_LEADER);
        }
        break;
    default:
        region_close_server(hurt);
        damage(hurt, true, path);
        ck_assert_msg(region_open_server(hurt, false) == STATUS_OK, "%s",
                      region_servers[hurt].error.text);
        ck_assert(region_facts_of(hurt).is_rebuilding);
        ck_assert_str_eq(region_facts_of(hurt).role, "rebuilding");
    }
    wait_rebuilt(hurt);
    for (unsigned i = 0; i < 20; i++)
        region_put(i, "third");
    region_wait_equal();
    ck_assert_uint_eq(region_facts_of(hurt).odd_version, 0);
    scrub_all(3);
    for (unsigned i = 0; i < region_servers_count; i++)
        ck_assert_uint_eq(region_facts_of(i).rebuilds_count, i == hurt);
    /* Nothing of the old content is left. */
    ck_assert(!sim_disk_exists(region_disk, path));
    region_close_all();
    region_open_all();
    ck_assert(!region_facts_of(hurt).is_rebuilding);
    region_wait_equal();
    region_tear_down();
}
END_TEST

/* While nobody can serve it, it answers nothing, and it neither gives up nor forgets. */
START_TEST(test_it_waits_and_begins_again)
{
    char path[64];
    char mark[16];
    region_set_up();
    unsigned hurt = other_than(region_wait_leader());
    for (unsigned i = 0; i < region_servers_count; i++)
        region_is_cut[i] = i != hurt;
    region_is_cut[hurt] = true;
    damage(hurt, false, path);
    check_server(hurt);
    snprintf(mark, sizeof mark, "d%u/rebuild", hurt);
    for (int turns = 0; !sim_disk_exists(region_disk, mark); turns++) {
        ck_assert_int_lt(turns, region_turns_max);
        region_turn();
    }
    for (unsigned i = 0; i < 3; i++) {
        ck_assert(region_facts_of(hurt).is_rebuilding);
        ck_assert_int_eq(region_read_one(hurt, 1), STATUS_NOT_LEADER);
        if (i % 2 == 0)
            region_kill_server(hurt);
        else
            region_close_server(hurt);
        ck_assert_msg(region_open_server(hurt, false) == STATUS_OK, "%s",
                      region_servers[hurt].error.text);
        for (int turns = 0; turns < 200; turns++)
            region_turn();
    }
    memset(region_is_cut, 0, sizeof region_is_cut);
    wait_rebuilt(hurt);
    for (int turns = 0; sim_disk_exists(region_disk, mark); turns++) {
        ck_assert_int_lt(turns, region_turns_max);
        region_turn();
    }
    region_wait_equal();
    scrub_all(3);
    region_tear_down();
}
END_TEST

/* Killed at many moments of the rebuild, it comes to its end all the same. */
START_TEST(test_killed_within)
{
    char path[64];
    region_set_up();
    unsigned hurt = other_than(region_wait_leader());
    damage(hurt, false, path);
    check_server(hurt);
    unsigned kills_count = 0;
    for (unsigned span = 5; kills_count < 25; span += 23) {
        for (unsigned i = 0; i < span && region_facts_of(hurt).rebuilds_count == 0; i++)
            region_turn();
        if (region_facts_of(hurt).rebuilds_count != 0)
            break;
        region_kill_server(hurt);
        kills_count++;
        ck_assert_msg(region_open_server(hurt, false) == STATUS_OK, "%s",
                      region_servers[hurt].error.text);
    }
    ck_assert_uint_ge(kills_count, 3);
    region_wait_equal();
    region_put(1, "third");
    region_wait_equal();
    scrub_all(3);
    region_tear_down();
}
END_TEST

static struct lsm *open_lsm(unsigned number, struct lsm_mark *mark)
{
    struct region_server *server = &region_servers[number];
    char directory[32];
    struct lsm *lsm;
    struct lsm_report report;
    snprintf(directory, sizeof directory, "%s/lsm", server->directory);
    const struct lsm_options options = {.io = server->io,
                                        .keyring = server->keyring,
                                        .directory = directory,
                                        .trees = state_trees,
                                        .trees_count = state_trees_count};
    ck_assert_int_eq(lsm_open(&options, &lsm, mark, &report, &server->error), STATUS_OK);
    return lsm;
}

/* A replica that was killed gets the mark that another one has come to, and not what was written up
 * to it, but something else, all of it properly sealed: what a bug would make. */
static void make_other(unsigned number, unsigned donor, bool is_chain)
{
    static const uint8_t key[] = {0, 0, 0, 1, 'x'};
    const struct lsm_write write = {.tree = STATE_TREE_INDEXES, .key = bytes_of(key, sizeof key)};
    struct lsm_mark mark;
    struct lsm_mark own;
    struct lsm_job *job;
    struct error error = {0};

    lsm_close(open_lsm(donor, &mark));
    struct lsm *lsm = open_lsm(number, &own);
    ck_assert_uint_lt(own.version, mark.version);
    mark.state[33] ^= is_chain ? 1 : 0; /* within the chain's digest */
    ck_assert(lsm_has_room(lsm, 4096));
    lsm_publish(lsm, &write, 1, &mark);
    lsm_seal(lsm);
    while ((job = lsm_job_take(lsm)) != NULL) {
        while (!lsm_job_step(job, region_servers[number].io))
            continue;
        ck_assert_int_eq(lsm_job_return(lsm, job, &error), STATUS_OK);
    }
    lsm_close(lsm);
}

START_TEST(test_another_state_is_rebuilt)
{
    bool is_chain = _i != 0;
    region_set_up();
    unsigned hurt = other_than(region_wait_leader());
    unsigned donor = other_than(hurt);
    region_wait_equal();
    region_kill_server(hurt);
    region_close_server(donor);
    make_other(hurt, donor, is_chain);
    region_open_all();
    region_put(2, "third");
    if (!is_chain)
        scrub_all(2);
    wait_rebuilt(hurt);
    ck_assert_uint_ne(region_facts_of(hurt).odd_version, 0);
    region_put(3, "third");
    region_wait_equal();
    scrub_all(3);
    region_tear_down();
}
END_TEST

/* The only log that has all that is committed is that of a member whose state is of no use: it is
 * elected, brings another one up to date, and lets that lead. */
START_TEST(test_it_brings_an_heir_up_to_date)
{
    char path[64];
    region_set_up();
    unsigned leader = region_wait_leader();
    unsigned hurt = (leader + 1) % region_servers_count;
    unsigned heir = (leader + 2) % region_servers_count;
    region_is_cut[heir] = true;
    for (unsigned i = 0; i < 10; i++)
        region_put(i, "third");
    for (int turns = 0;
         region_facts_of(hurt).applied_index != region_facts_of(leader).applied_index; turns++) {
        ck_assert_int_lt(turns, region_turns_max);
        region_turn();
    }
    uint64_t committed = region_facts_of(leader).commit_index;
    region_is_cut[hurt] = true;
    damage(hurt, false, path);
    check_server(hurt);
    ck_assert(region_facts_of(hurt).is_rebuilding);
    region_kill_server(leader);
    region_is_cut[hurt] = false;
    region_is_cut[heir] = false;
    wait_rebuilt(hurt);
    ck_assert_uint_ge(region_facts_of(heir).applied_index, committed);
    region_open_all();
    region_wait_equal();
    scrub_all(3);
    region_tear_down();
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_a_scrub_agrees);
    tcase_add_test(tests, test_scrubs_come_by_themselves);
    tcase_add_loop_test(tests, test_damage_is_healed, 0, 8);
    tcase_add_test(tests, test_it_waits_and_begins_again);
    tcase_add_test(tests, test_killed_within);
    tcase_add_test(tests, test_it_brings_an_heir_up_to_date);
    tcase_add_loop_test(tests, test_another_state_is_rebuilt, 0, 2);
}
