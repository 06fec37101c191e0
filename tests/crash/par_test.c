/* SPDX-License-Identifier: Apache-2.0 */
/* The matrix of "Protocol-Aware Recovery for Consensus-Based Storage" (FAST'18, 5.1): four
 * committed entries on three replicas, each in a batch of its own, and every combination of intact
 * and corrupt copies.
 *
 * Where a good copy of each entry is left (2,401 of 4,096: 7^4) the region repairs itself, elects
 * a leader, and all replicas end with what was committed. Where some entry is lost on all (1,695)
 * it halts and says so: no replica takes part, none changes its log. Never is a committed entry
 * lost or replaced: the fixture compares each entry that is applied with what was applied there
 * before the damage.
 *
 * A batch is known to have been durable by the one after it, which an idle log writes; the newest
 * batch has none, so that decay there cannot be told from a write that the power failure cut short.
 * So the matrix runs a second time with the fourth entry in the newest batch: there, and only
 * there, an entry whose copies have all decayed is dropped, which takes three disks that decay
 * within the moment before the crash (replication/mend.h). */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/base/log.h"
#include "tests/sim/wal_damage.h"
#include "tests/unit/replication/fixture.h"

enum {
    replicas_count = 3,
    entries_count = 4,
    combinations_count = 1 << (replicas_count * entries_count),
    /* Every so many of them, where a run is slow or looks closer: no multiple of a power of two. */
    stride_sanitized = 61,
    stride_closer = 7,
    said_size = 64 * 1024,
    body_size = 300,
};

#if defined(__SANITIZE_ADDRESS__)
static const unsigned stride = stride_sanitized;
#else
static const unsigned stride = 1;
#endif

/* ---- What was said ---- */

static int said_descriptor = -1;

static void said_begin(void)
{
    if (said_descriptor < 0)
        said_descriptor = memfd_create("said", 0);
    ck_assert_int_ge(said_descriptor, 0);
    ck_assert_int_eq(ftruncate(said_descriptor, 0), 0);
    ck_assert_int_eq(lseek(said_descriptor, 0, SEEK_SET), 0);
    log_descriptor_set(said_descriptor);
}

/* How many lines tell of this event. */
static unsigned said_count(const char *event)
{
    static char said[said_size];
    char wanted[64];
    unsigned count = 0;
    ssize_t size = pread(said_descriptor, said, sizeof said - 1, 0);
    ck_assert_int_ge(size, 0);
    ck_assert_int_lt(size, (ssize_t)sizeof said - 1);
    said[size] = 0;
    snprintf(wanted, sizeof wanted, "event=%s ", event);
    for (const char *at = strstr(said, wanted); at != NULL; at = strstr(at + 1, wanted))
        count++;
    return count;
}

/* ---- The region, and its damage ---- */

/* A region that has stopped after its four entries. */
struct scene {
    struct region *region;
    uint64_t indexes[entries_count];
};

/* Time passes for all, faster than it does step by step. */
static void pass_ms(struct region *region, unsigned ms)
{
    for (unsigned i = 0; i < region->count; i++)
        sim_disk_clock_advance(region->nodes[i].disk, (uint64_t)ms * 1000 * 1000);
    for (unsigned i = 0; i < 4; i++)
        region_step(region);
}

/* Proposes one entry and waits until all have applied it, and for nothing more. */
static uint64_t commit_one(struct region *region)
{
    unsigned number;
    struct node *leader = region_await_leader(region);
    ck_assert_int_eq(node_propose(leader, body_size, &number), STATUS_OK);
    while (region->proposals[number].fate != FATE_APPLIED || !region_is_level(region))
        region_step(region);
    return region->applied_last;
}

static struct scene scene_begin(uint64_t seed, bool has_successor)
{
    struct scene scene = {.region = region_create(replicas_count, seed)};
    scene.region->segment_size = 256 * 1024;
    region_form(scene.region);
    for (unsigned i = 0; i < entries_count; i++) {
        region_run_ms(scene.region, 30);
        scene.indexes[i] = commit_one(scene.region);
    }
    if (has_successor)
        region_run_ms(scene.region, 30);
    for (unsigned i = 0; i < replicas_count; i++)
        node_crash(scene.region, i, SIM_RESTART_KEEP_ALL);
    return scene;
}

static bool is_corrupt(unsigned combination, unsigned replica, unsigned entry)
{
    return (combination >> (replica * entries_count + entry) & 1) != 0;
}

/* Entries of which no replica has a good copy, a bit each. */
static unsigned lost_entries(unsigned combination)
{
    unsigned lost = combination;
    for (unsigned i = 1; i < replicas_count; i++)
        lost &= combination >> (i * entries_count);
    return lost & ((1 << entries_count) - 1);
}

/* A copy of the scene's region, damaged and opened. */
static struct region *open_damaged(const struct scene *scene, unsigned combination,
                                   enum sim_wal_damage damage)
{
    struct region *region = region_clone(scene->region, combination + 1);
    said_begin();
    for (unsigned i = 0; i < replicas_count; i++) {
        unsigned corrupt = 0;
        for (unsigned entry = 0; entry < entries_count; entry++) {
            if (!is_corrupt(combination, i, entry))
                continue;
            ck_assert(sim_wal_damage(region->nodes[i].disk, "wal", scene->indexes[entry], damage));
            corrupt++;
        }
        node_open(region, i);
        /* No damage goes unseen. */
        const struct node *node = &region->nodes[i];
        ck_assert_uint_eq(node->report.holes_count + node->report.suspect.is_unknown, corrupt);
        ck_assert_int_eq(replicated_log_role(node->log) == LOG_MENDING, corrupt > 0);
    }
    return region;
}

/* ---- What came of it ---- */

enum outcome { REPAIRED, HALTED, LOST, OUTCOMES_END };

static bool all_mend(const struct region *region)
{
    bool all = true;
    for (unsigned i = 0; i < replicas_count; i++)
        all &= replicated_log_role(region->nodes[i].log) == LOG_MENDING &&
               replicated_log_commit_index(region->nodes[i].log) == 0 &&
               region->nodes[i].applied.index == 0;
    return all;
}

static enum outcome await_outcome(struct region *region)
{
    for (unsigned i = 0; i < 500; i++) {
        if (region_is_level(region))
            return REPAIRED;
        pass_ms(region, 10);
        /* All has been asked and answered several times by then. */
        if (i >= 150 && all_mend(region))
            break;
    }
    pass_ms(region, 10 * 1000);
    pass_ms(region, 10);
    return all_mend(region) && region_leader(region) == NULL &&
                   said_count("log_mending_waits") == replicas_count
               ? HALTED
               : LOST;
}

static bool is_level(struct region *region)
{
    for (unsigned i = 0; i < 500 && !region_is_level(region); i++)
        pass_ms(region, 10);
    return region_is_level(region);
}

/* It goes on, and after another start nothing is missing. */
static bool goes_on(struct region *region)
{
    uint64_t last = region->applied_last;
    if (commit_one(region) <= last)
        return false;
    for (unsigned i = 0; i < replicas_count; i++)
        node_close(region, i);
    for (unsigned i = 0; i < replicas_count; i++) {
        node_open(region, i);
        if (region->nodes[i].report.holes_count != 0 || region->nodes[i].report.suspect.first != 0)
            return false;
    }
    return is_level(region);
}

/* Another start finds the same damage; and where one disk comes back as it once was, all is. */
static bool waits_still(const struct scene *scene, struct region *region)
{
    for (unsigned i = 0; i < replicas_count; i++) {
        uint64_t holes = region->nodes[i].report.holes_count;
        node_close(region, i);
        if (i == 1) {
            struct node *node = &region->nodes[1];
            sim_disk_destroy(node->disk);
            node->disk = sim_disk_clone(scene->region->nodes[1].disk, 7);
            sim_disk_clock_advance_to(node->disk, sim_disk_now_ns(region->nodes[0].disk));
            node->io = sim_disk_io(node->disk);
            holes = 0;
        }
        node_open(region, i);
        if (region->nodes[i].report.holes_count > holes)
            return false;
    }
    return is_level(region) && goes_on(region);
}

/* ---- The matrix ---- */

struct totals {
    unsigned outcomes[OUTCOMES_END];
    unsigned dropped; /* of those repaired: without the fourth entry */
};

/* The fourth entry's copies have all decayed in the newest batches, and nothing else is lost. */
static bool may_drop(unsigned combination, bool has_successor)
{
    return !has_successor && lost_entries(combination) == 1 << (entries_count - 1);
}

static void run_combination(const struct scene *scene, unsigned combination,
                            enum sim_wal_damage damage, bool has_successor, struct totals *totals)
{
    struct region *region = open_damaged(scene, combination, damage);
    enum outcome expected = lost_entries(combination) == 0 ? REPAIRED : HALTED;
    if (may_drop(combination, has_successor)) {
        /* It stood last: what takes its place is another entry. */
        region->applied_last = scene->indexes[entries_count - 2];
        expected = REPAIRED;
    }
    enum outcome outcome = await_outcome(region);
    bool closer = combination % stride_closer == 0;
    if (may_drop(combination, has_successor)) {
        totals->dropped++;
        ck_assert_uint_gt(said_count("log_suspect_discarded"), 0);
    } else {
        ck_assert_uint_eq(said_count("log_suspect_discarded"), 0);
    }
    if (outcome == REPAIRED && closer && !goes_on(region))
        outcome = LOST;
    if (outcome == HALTED && closer && has_successor && !waits_still(scene, region))
        outcome = LOST;
    ck_assert_msg(outcome == expected, "combination %03x: %d, and not %d", combination, outcome,
                  expected);
    totals->outcomes[outcome]++;
    region_destroy(region);
}

static struct totals run_matrix(uint64_t seed, enum sim_wal_damage damage, bool has_successor)
{
    struct scene scene = scene_begin(seed, has_successor);
    struct totals totals = {0};
    for (unsigned i = 0; i < combinations_count; i += stride)
        run_combination(&scene, i, damage, has_successor, &totals);
    log_descriptor_set(-1);
    printf("repaired %u (%u of them without the last entry), halted %u, lost %u\n",
           totals.outcomes[REPAIRED], totals.dropped, totals.outcomes[HALTED],
           totals.outcomes[LOST]);
    region_destroy(scene.region);
    return totals;
}

/* What a batch held is told by its own header, and where that is lost by its successor's. */
static void check_matrix(uint64_t seed, enum sim_wal_damage damage)
{
    struct totals totals = run_matrix(seed, damage, true);
    ck_assert_uint_eq(totals.dropped, 0);
    ck_assert_uint_eq(totals.outcomes[LOST], 0);
    if (stride == 1) {
        ck_assert_uint_eq(totals.outcomes[REPAIRED], 2401);
        ck_assert_uint_eq(totals.outcomes[HALTED], 1695);
    }
}

START_TEST(test_the_matrix)
{
    check_matrix(1, SIM_WAL_BODY);
}
END_TEST

START_TEST(test_the_matrix_of_headers)
{
    check_matrix(3, SIM_WAL_HEADER);
}
END_TEST

START_TEST(test_the_matrix_with_the_newest_batch)
{
    struct totals totals = run_matrix(2, SIM_WAL_BODY, false);
    ck_assert_uint_eq(totals.outcomes[LOST], 0);
    if (stride == 1) {
        ck_assert_uint_eq(totals.outcomes[REPAIRED] - totals.dropped, 2401);
        ck_assert_uint_eq(totals.dropped, 343);
        ck_assert_uint_eq(totals.outcomes[HALTED], 1352);
    }
}
END_TEST

/* ---- Last entries that not all hold ---- */

static void crash_all(struct region *region)
{
    for (unsigned i = 0; i < replicas_count; i++)
        node_crash(region, i, SIM_RESTART_KEEP_ALL);
}

static void damage_last(struct node *node, uint64_t index, enum sim_wal_damage damage)
{
    ck_assert(sim_wal_damage(node->disk, "wal", index, damage));
}

static void ends_well(struct region *region)
{
    ck_assert(is_level(region));
    ck_assert(goes_on(region));
    log_descriptor_set(-1);
    region_destroy(region);
}

/* One replica alone wrote the last entry: it is dropped, not waited for. With a successor it is
 * known to have been durable, and the others' word alone tells that it was not committed. */
static void uncommitted(uint64_t seed, enum sim_wal_damage damage, bool has_successor)
{
    unsigned number;
    struct scene scene = scene_begin(seed, true);
    struct region *region = scene.region;
    for (unsigned i = 0; i < replicas_count; i++)
        node_open(region, i);
    struct node *leader = region_await_leader(region);
    region_await_level(region);
    region_run_ms(region, 30);
    uint64_t index = region->applied_last + 1;
    region_isolate(region, leader->number, true);
    ck_assert_int_eq(node_propose(leader, body_size, &number), STATUS_OK);
    for (unsigned i = 0; i < (has_successor ? 150 : 10); i++)
        region_step(region);
    crash_all(region);
    region_isolate(region, leader->number, false);
    damage_last(leader, index, damage);
    said_begin();
    node_open(region, leader->number);
    ck_assert_int_eq(replicated_log_role(leader->log), LOG_MENDING);
    ck_assert_int_eq(leader->report.suspect.first == 0, has_successor);
    pass_ms(region, 1000);
    ck_assert_uint_eq(said_count("log_suspect_discarded"), 0);
    for (unsigned i = 0; i < replicas_count; i++) {
        if (i != leader->number)
            node_open(region, i);
    }
    ends_well(region);
}

START_TEST(test_an_uncommitted_last_entry_is_dropped)
{
    uncommitted(10, SIM_WAL_BODY, false);
    uncommitted(11, SIM_WAL_HEADER, false);
    uncommitted(12, SIM_WAL_BODY, true);
    uncommitted(13, SIM_WAL_HEADER, true);
}
END_TEST

/* Two replicas have committed the last entry, and one of the two copies decays: nobody goes on
 * without the other one, which repairs it. */
static void committed_on_two(uint64_t seed, enum sim_wal_damage damage)
{
    unsigned number;
    struct scene scene = scene_begin(seed, true);
    struct region *region = scene.region;
    for (unsigned i = 0; i < replicas_count; i++)
        node_open(region, i);
    struct node *leader = region_await_leader(region);
    region_await_level(region);
    region_run_ms(region, 30);
    unsigned behind = (leader->number + 1) % replicas_count;
    unsigned whole = (leader->number + 2) % replicas_count;
    region_isolate(region, behind, true);
    ck_assert_int_eq(node_propose(leader, body_size, &number), STATUS_OK);
    while (region->proposals[number].fate != FATE_APPLIED)
        region_step(region);
    uint64_t index = region->applied_last;
    crash_all(region);
    region_isolate(region, behind, false);
    damage_last(leader, index, damage);
    said_begin();
    node_open(region, leader->number);
    ck_assert_int_eq(replicated_log_role(leader->log), LOG_MENDING);
    node_open(region, behind);
    for (unsigned i = 0; i < 300; i++) {
        pass_ms(region, 10);
        ck_assert_ptr_null(region_leader(region));
        ck_assert_int_eq(replicated_log_role(leader->log), LOG_MENDING);
    }
    ck_assert_uint_eq(said_count("log_suspect_discarded"), 0);
    node_open(region, whole);
    ends_well(region);
}

START_TEST(test_a_committed_last_entry_is_repaired)
{
    committed_on_two(20, SIM_WAL_BODY);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_set_timeout(tests, 600);
    tcase_add_test(tests, test_the_matrix);
    tcase_add_test(tests, test_the_matrix_of_headers);
    tcase_add_test(tests, test_the_matrix_with_the_newest_batch);
    tcase_add_test(tests, test_an_uncommitted_last_entry_is_dropped);
    tcase_add_test(tests, test_a_committed_last_entry_is_repaired);
}
