/* SPDX-License-Identifier: Apache-2.0 */
/* The core as one thread on a simulated disk: it serves, stops, and comes back after crashes. */
#include "server/core.h"

#include <stdio.h>

#include "proto/message.h"
#include "tests/unit/server/core_fixture.h"

static void open_it(struct core_fixture *fixture)
{
    enum status status = core_fixture_open(fixture);
    ck_assert_msg(status == STATUS_OK, "%s", fixture->error.text);
}

START_TEST(test_serves_and_comes_back)
{
    struct core_fixture fixture;
    char value[64];

    core_fixture_begin(&fixture, 1);
    open_it(&fixture);
    ck_assert_int_eq(core_fixture_create_table(&fixture, "t"), STATUS_OK);
    ck_assert_int_eq(core_fixture_put(&fixture, "t", "k", "one", NULL), STATUS_OK);
    ck_assert_int_eq(core_fixture_get(&fixture, "t", "k", value), STATUS_OK);
    ck_assert_str_eq(value, "one");
    ck_assert_int_eq(core_fixture_get(&fixture, "t", "absent", value), STATUS_OK);
    ck_assert_str_eq(value, "");
    ck_assert_int_eq(core_fixture_get(&fixture, "none", "k", value), STATUS_NO_TABLE);
    core_fixture_close(&fixture);
    ck_assert_uint_eq(sim_disk_open_count(fixture.disk), 0);

    open_it(&fixture);
    ck_assert_int_eq(core_fixture_get(&fixture, "t", "k", value), STATUS_OK);
    ck_assert_str_eq(value, "one");
    core_fixture_close(&fixture);
    core_fixture_end(&fixture);
}
END_TEST

static void on_alarm(struct io_timer *timer)
{
    *(bool *)timer->context = true;
}

/* A stop waits for what is under way and for nothing else. Here that is the application of a
 * command, whose read ends after the log has come to rest: no event follows its end but
 * one that is far off. */
START_TEST(test_a_stop_does_not_oversleep)
{
    enum { turns_max = 12 };
    const uint64_t ns_per_ms = 1000 * 1000;
    const struct sim_fault slow_reads = {
        .effect = SIM_SLOW, .kind = IO_KIND_READ, .count = UINT64_MAX, .delay_ns = 100 * ns_per_ms};

    for (unsigned turns = 0; turns < turns_max; turns++) {
        struct core_fixture fixture;
        struct core_ask ask;
        bool overslept = false;
        struct io_timer alarm = {.fired = on_alarm, .context = &overslept};
        core_fixture_begin(&fixture, 100 + turns);
        open_it(&fixture);
        ck_assert_int_eq(core_fixture_create_table(&fixture, "t"), STATUS_OK);
        ck_assert_int_eq(core_fixture_put(&fixture, "t", "k", "5", NULL), STATUS_OK);
        core_fixture_close(&fixture);
        open_it(&fixture);
        /* The timers of its start are over. */
        uint64_t begun_ns = io_boot_ns(fixture.io);
        while (io_boot_ns(fixture.io) < begun_ns + 3000 * ns_per_ms)
            core_fixture_turn(&fixture);
        core_fixture_add_begin(&fixture, "t", "k", 1, &ask);
        sim_disk_fault(fixture.disk, &slow_reads);
        for (unsigned i = 0; i < turns && !ask.answered; i++)
            core_fixture_turn(&fixture);
        io_timer_start(fixture.io, &alarm, io_boot_ns(fixture.io) + 60 * 1000 * ns_per_ms);
        core_stop(fixture.core);
        core_fixture_close(&fixture);
        ck_assert(!overslept);
        io_timer_stop(fixture.io, &alarm);
        core_fixture_collect(&fixture);
        core_ask_free(&ask);
        core_fixture_end(&fixture);
    }
}
END_TEST

/* Jobs are run by the turns themselves: what is written is far more than a memtable holds. */
START_TEST(test_jobs_run_inline)
{
    struct core_fixture fixture;
    char key[16];
    static char text[4096];
    char value[64];

    memset(text, 'x', sizeof text - 1);
    core_fixture_begin(&fixture, 2);
    open_it(&fixture);
    ck_assert_int_eq(core_fixture_create_table(&fixture, "t"), STATUS_OK);
    for (int i = 0; i < 400; i++) {
        snprintf(key, sizeof key, "k%d", i);
        ck_assert_int_eq(core_fixture_put(&fixture, "t", key, text, NULL), STATUS_OK);
    }
    Strait__Status ask_status = STRAIT__STATUS__INIT;
    struct core_ask ask;
    core_fixture_ask(&fixture, &ask, FRAME_STATUS, &ask_status.base);
    ck_assert_int_eq(core_fixture_wait(&fixture, &ask), STATUS_OK);
    const Strait__StatusReply *reply = (const void *)ask.message;
    uint64_t flushed = 0;
    for (size_t i = 0; i < reply->n_metrics; i++) {
        if (strcmp(reply->metrics[i]->name, "flushed_bytes") == 0)
            flushed = reply->metrics[i]->value;
    }
    ck_assert_uint_gt(flushed, 0);
    core_ask_free(&ask);
    ck_assert_int_eq(core_fixture_get(&fixture, "t", "k7", value), STATUS_OK);
    ck_assert_int_eq(value[0], 'x');
    core_fixture_close(&fixture);
    core_fixture_end(&fixture);
}
END_TEST

/* What was acknowledged is there after any crash, and what was under way is told unknown. */
START_TEST(test_crashes_keep_what_was_acknowledged)
{
    struct core_fixture fixture;
    char key[16];
    char value[64];

    core_fixture_begin(&fixture, 3);
    open_it(&fixture);
    ck_assert_int_eq(core_fixture_create_table(&fixture, "t"), STATUS_OK);
    for (unsigned round = 0; round < 8; round++) {
        snprintf(key, sizeof key, "k%u", round);
        ck_assert_int_eq(core_fixture_put(&fixture, "t", key, key, NULL), STATUS_OK);

        Strait__Commit commit = STRAIT__COMMIT__INIT;
        Strait__Delete delete_all = STRAIT__DELETE__INIT;
        Strait__Operation operation = STRAIT__OPERATION__INIT;
        Strait__Operation *operations[] = {&operation};
        uint8_t id[16] = {9, (uint8_t)round};
        struct core_ask ask;
        delete_all.table = (char *)(uintptr_t) "t";
        delete_all.key = field_of_bytes(bytes_of_text("other"));
        operation.kind_case = STRAIT__OPERATION__KIND_DELETE;
        operation.delete_ = &delete_all;
        commit.txn_id = field_of_bytes(bytes_of(id, sizeof id));
        commit.operations = operations;
        commit.n_operations = 1;
        core_fixture_ask(&fixture, &ask, FRAME_COMMIT, &commit.base);
        core_fixture_crash(&fixture, round);
        ck_assert(ask.answered);
        ck_assert_int_eq(ask.request.status, STATUS_OUTCOME_UNKNOWN);
        core_ask_free(&ask);

        open_it(&fixture);
        for (unsigned i = 0; i <= round; i++) {
            snprintf(key, sizeof key, "k%u", i);
            ck_assert_int_eq(core_fixture_get(&fixture, "t", key, value), STATUS_OK);
            ck_assert_str_eq(value, key);
        }
    }
    core_fixture_close(&fixture);
    core_fixture_end(&fixture);
}
END_TEST

/* Power fails after the n-th step of the first opening. False: it was open before. */
static bool open_with_crash(uint64_t n)
{
    struct core_fixture fixture;
    char value[64];

    core_fixture_begin(&fixture, n);
    sim_disk_crash_after(fixture.disk, n + 2); /* the first two made the directory */
    enum status status = core_fixture_open(&fixture);
    bool crashed = sim_disk_crashed(fixture.disk);
    ck_assert(status == STATUS_OK || crashed);
    if (status == STATUS_OK)
        core_abandon(fixture.core);
    else
        ck_assert_ptr_null(fixture.core);
    sim_disk_restart(fixture.disk, n, SIM_RESTART_KEEP_ALL);
    fixture.io = sim_disk_io(fixture.disk);
    open_it(&fixture);
    ck_assert_int_eq(core_fixture_create_table(&fixture, "t"), STATUS_OK);
    ck_assert_int_eq(core_fixture_put(&fixture, "t", "k", "one", NULL), STATUS_OK);
    ck_assert_int_eq(core_fixture_get(&fixture, "t", "k", value), STATUS_OK);
    ck_assert_str_eq(value, "one");
    core_fixture_close(&fixture);
    core_fixture_end(&fixture);
    return crashed;
}

START_TEST(test_power_fails_while_opening)
{
    uint64_t step = 0;
    while (open_with_crash(step))
        step++;
    ck_assert_uint_gt(step, 10);
}
END_TEST

static uint64_t run_hash(uint64_t seed)
{
    struct core_fixture fixture;
    core_fixture_begin(&fixture, seed);
    open_it(&fixture);
    ck_assert_int_eq(core_fixture_create_table(&fixture, "t"), STATUS_OK);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(core_fixture_put(&fixture, "t", "k", "v", NULL), STATUS_OK);
    uint64_t steps = sim_disk_steps_count(fixture.disk) * 1000003 + io_boot_ns(fixture.io);
    core_fixture_close(&fixture);
    core_fixture_end(&fixture);
    return steps;
}

START_TEST(test_a_seed_gives_the_same_run)
{
    ck_assert_uint_eq(run_hash(11), run_hash(11));
    ck_assert_uint_ne(run_hash(11), run_hash(12));
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_serves_and_comes_back);
    tcase_add_test(tests, test_a_stop_does_not_oversleep);
    tcase_add_test(tests, test_jobs_run_inline);
    tcase_add_test(tests, test_crashes_keep_what_was_acknowledged);
    tcase_add_test(tests, test_power_fails_while_opening);
    tcase_add_test(tests, test_a_seed_gives_the_same_run);
}
