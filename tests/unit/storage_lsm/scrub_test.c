/* SPDX-License-Identifier: Apache-2.0 */
/* lsm_scrub(): the digest of what is visible, whatever the tables look like. */
#include "storage/lsm/lsm.h"

#include "storage/io/blocking.h"
#include "storage/lsm/table.h"
#include "storage/seal/registry.h"
#include "tests/sim/disk.h"
#include "tests/unit/storage_lsm/fixture.h"

static struct sim_disk *disk;
static struct keyring *keyring;
static struct fixture fixtures[2]; /* replicas that flush and compact at other times */

struct scrubbed {
    bool done;
    enum status status;
    uint64_t version;
    struct hash128 digest;
};

static void on_scrubbed(void *context, enum status status, uint64_t version, struct hash128 digest)
{
    struct scrubbed *scrubbed = context;
    ck_assert(!scrubbed->done);
    *scrubbed = (struct scrubbed){true, status, version, digest};
}

static void set_up(void)
{
    static const uint8_t cluster[seal_id_size] = {3};
    disk = sim_disk_create(1);
    struct io *io = sim_disk_io(disk);
    ck_assert_int_eq(keyring_create_in_memory(cluster, false, &keyring), STATUS_OK);
    for (unsigned i = 0; i < 2; i++) {
        const char *directory = i == 0 ? "one" : "two";
        ck_assert_int_eq(io_make_directory_wait(io, directory), STATUS_OK);
        fixture_init(&fixtures[i], io, keyring, directory);
        fixtures[i].options.table_size = i == 0 ? 16 * 1024 : 4 * 1024;
        fixtures[i].options.level0_compact_count = i == 0 ? 2 : 5;
        fixtures[i].options.memtable_size = i == 0 ? 24 * 1024 : 100 * 1024;
        ck_assert_int_eq(fixture_open(&fixtures[i]), STATUS_OK);
    }
}

static void tear_down(void)
{
    for (unsigned i = 0; i < 2; i++)
        fixture_close(&fixtures[i]);
    ck_assert_uint_eq(sim_disk_open_count(disk), 0);
    keyring_close(keyring);
    sim_disk_destroy(disk);
}

/* The same versions to one replica. `other` makes one value another one. */
static void fill(struct fixture *fixture, unsigned from, unsigned count, unsigned other)
{
    for (unsigned i = from; i < from + count; i++) {
        char key[32];
        char value[200];
        uint8_t fixed[fixture_fixed_key_size];
        snprintf(key, sizeof key, "key-%04u", i * 7919 % 300);
        memset(value, (int)('a' + i % 26), sizeof value);
        value[0] = i == other ? '!' : value[0];
        store_u64_be(fixed, i);
        struct lsm_write writes[] = {
            {.tree = fixture_bytes_tree,
             .deletion = i % 7 == 3,
             .key = bytes_of_text(key),
             .value = i % 7 == 3 ? (struct bytes){0} : bytes_of(value, 20 + i % 180)},
            {.tree = fixture_fixed_tree,
             .key = bytes_of(fixed, sizeof fixed),
             .value = bytes_of(value, 4)},
        };
        while (!lsm_has_room(fixture->lsm, 1000))
            ck_assert_int_eq(fixture_run_job(fixture), STATUS_OK);
        fixture_publish(fixture, writes, 2);
    }
}

static void begin(struct fixture *fixture, struct scrubbed *scrubbed)
{
    uint8_t fixed[fixture_fixed_key_size];
    uint64_t first = fixture->mark.version / 2;
    store_u64_be(fixed, first);
    const struct lsm_scrub_floor floor = {.tree = fixture_fixed_tree,
                                          .key = bytes_of(fixed, sizeof fixed)};
    *scrubbed = (struct scrubbed){0};
    ck_assert_int_eq(lsm_scrub(fixture->lsm, &floor, 1, on_scrubbed, scrubbed), STATUS_OK);
    ck_assert(!lsm_is_idle(fixture->lsm));
}

static struct scrubbed scrub(struct fixture *fixture)
{
    struct scrubbed scrubbed;
    begin(fixture, &scrubbed);
    ck_assert_int_eq(fixture_run_jobs(fixture), STATUS_OK);
    ck_assert(scrubbed.done);
    ck_assert_uint_eq(scrubbed.version, fixture->mark.version);
    return scrubbed;
}

static bool equal(struct scrubbed a, struct scrubbed b)
{
    return a.status == STATUS_OK && b.status == STATUS_OK && a.version == b.version &&
           a.digest.low == b.digest.low && a.digest.high == b.digest.high;
}

/* One flushes and compacts all along and forgets what it may; the other keeps everything. */
START_TEST(test_other_tables_same_digest)
{
    uint8_t below[fixture_fixed_key_size];
    set_up();
    ck_assert(equal(scrub(&fixtures[0]), scrub(&fixtures[1])));
    struct scrubbed before = scrub(&fixtures[0]);
    for (unsigned i = 0; i < 4000; i += 500) {
        fill(&fixtures[0], i, 500, UINT32_MAX);
        lsm_horizon_set(fixtures[0].lsm, fixtures[0].mark.version);
        store_u64_be(below, i / 2);
        lsm_discard_below(fixtures[0].lsm, fixture_fixed_tree, bytes_of(below, sizeof below));
        lsm_seal(fixtures[0].lsm);
        ck_assert_int_eq(fixture_run_jobs(&fixtures[0]), STATUS_OK);
        fill(&fixtures[1], i, 500, UINT32_MAX);
        struct scrubbed one = scrub(&fixtures[0]);
        ck_assert(equal(one, scrub(&fixtures[1])));
        ck_assert(!equal(one, before));
        before = one;
    }
    ck_assert_uint_ne(lsm_statistics(fixtures[0].lsm).tables_count,
                      lsm_statistics(fixtures[1].lsm).tables_count);
    tear_down();
}
END_TEST

START_TEST(test_one_byte_tells)
{
    set_up();
    fill(&fixtures[0], 0, 1000, UINT32_MAX);
    fill(&fixtures[1], 0, 1000, 901);
    ck_assert(!equal(scrub(&fixtures[0]), scrub(&fixtures[1])));
    tear_down();
}
END_TEST

/* It was asked for at a version; what is written, dropped and compacted until it begins, and while
 * it runs, changes nothing. */
START_TEST(test_writing_goes_on)
{
    struct scrubbed busy;
    uint8_t below[fixture_fixed_key_size];
    set_up();
    fill(&fixtures[0], 0, 1000, UINT32_MAX);
    fill(&fixtures[1], 0, 1000, UINT32_MAX);
    begin(&fixtures[0], &busy);
    ck_assert_int_eq(lsm_scrub(fixtures[0].lsm, NULL, 0, on_scrubbed, &busy), STATUS_BUSY);
    for (unsigned i = 1000; i < 3000; i += 100) {
        fill(&fixtures[0], i, 100, UINT32_MAX);
        lsm_horizon_set(fixtures[0].lsm, fixtures[0].mark.version);
        store_u64_be(below, i);
        lsm_discard_below(fixtures[0].lsm, fixture_fixed_tree, bytes_of(below, sizeof below));
        lsm_seal(fixtures[0].lsm);
        for (int j = 0; j < 3; j++)
            ck_assert_int_ge(fixture_run_job(&fixtures[0]), 0);
    }
    ck_assert_int_eq(fixture_run_jobs(&fixtures[0]), STATUS_OK);
    ck_assert(busy.done);
    ck_assert_uint_eq(busy.version, 1000);
    ck_assert(equal(busy, scrub(&fixtures[1])));
    /* From then on all may be dropped again. */
    lsm_seal(fixtures[0].lsm);
    ck_assert_int_eq(fixture_run_jobs(&fixtures[0]), STATUS_OK);
    ck_assert(lsm_is_idle(fixtures[0].lsm));
    tear_down();
}
END_TEST

static void damage(void *context, const char *path, uint64_t size)
{
    uint64_t number;
    unsigned *count = context;
    const char *name = strrchr(path, '/');
    if (strstr(path, "one/") != NULL && table_name_parse(name + 1, &number) && (*count)++ == 0)
        sim_disk_flip_bit(disk, path, size / 2, 1);
}

/* Damage at rest is an answer too, and the LSM goes on. */
START_TEST(test_damage_is_told)
{
    unsigned count = 0;
    set_up();
    fill(&fixtures[0], 0, 1000, UINT32_MAX);
    lsm_seal(fixtures[0].lsm);
    ck_assert_int_eq(fixture_run_jobs(&fixtures[0]), STATUS_OK);
    ck_assert_int_eq(scrub(&fixtures[0]).status, STATUS_OK);
    sim_disk_each_file(disk, damage, &count);
    ck_assert_uint_gt(count, 0);
    ck_assert_int_eq(scrub(&fixtures[0]).status, STATUS_CORRUPT);
    fixture_put(&fixtures[0], "it", "goes on");
    tear_down();
}
END_TEST

static void on_installed(void *context, enum status status, const struct lsm_mark *mark)
{
    (void)mark;
    *(enum status *)context = status;
}

/* An installation does not wait for it: neither for one that waits nor for one under way. */
START_TEST(test_gives_way_to_an_installation)
{
    struct scrubbed scrubbed;
    for (unsigned steps = 0; steps < 2; steps++) {
        enum status installed = STATUS_AGAIN;
        set_up();
        fill(&fixtures[0], 0, 500, UINT32_MAX);
        if (steps == 1) {
            lsm_seal(fixtures[0].lsm);
            ck_assert_int_eq(fixture_run_jobs(&fixtures[0]), STATUS_OK);
        }
        begin(&fixtures[0], &scrubbed);
        if (steps == 1) {
            struct lsm_job *job = lsm_job_take(fixtures[0].lsm);
            ck_assert(!lsm_job_step(job, fixtures[0].io)); /* one tree of two */
            ck_assert_int_eq(lsm_job_return(fixtures[0].lsm, job, &fixtures[0].error), STATUS_OK);
        }
        lsm_install(fixtures[0].lsm, "nowhere", on_installed, &installed);
        ck_assert_int_eq(lsm_scrub(fixtures[0].lsm, NULL, 0, on_scrubbed, NULL), STATUS_BUSY);
        ck_assert_int_eq(fixture_run_jobs(&fixtures[0]), STATUS_OK);
        ck_assert(scrubbed.done);
        ck_assert_int_eq(scrubbed.status, STATUS_CANCELLED);
        ck_assert_int_eq(installed, STATUS_CORRUPT);
        ck_assert_int_eq(scrub(&fixtures[0]).status, STATUS_OK);
        tear_down();
    }
}
END_TEST

/* Closed in each of its moments, it leaves nothing behind. */
START_TEST(test_closed_within)
{
    struct scrubbed scrubbed;
    for (unsigned jobs = 0; jobs < 6; jobs++) {
        set_up();
        fill(&fixtures[0], 0, 500, UINT32_MAX);
        begin(&fixtures[0], &scrubbed);
        for (unsigned i = 0; i < jobs; i++) {
            struct lsm_job *job = lsm_job_take(fixtures[0].lsm);
            if (job == NULL)
                break;
            lsm_job_step(job, fixtures[0].io);
            ck_assert_int_eq(lsm_job_return(fixtures[0].lsm, job, &fixtures[0].error), STATUS_OK);
        }
        tear_down();
    }
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_other_tables_same_digest);
    tcase_add_test(tests, test_one_byte_tells);
    tcase_add_test(tests, test_writing_goes_on);
    tcase_add_test(tests, test_damage_is_told);
    tcase_add_test(tests, test_gives_way_to_an_installation);
    tcase_add_test(tests, test_closed_within);
}
