/* SPDX-License-Identifier: Apache-2.0 */
/* Random operations on an LSM over the simulated disk, against a naive model of it. A longer run is
 * tests/crash/lsm_crash_test.c; STRAIT_SEED repeats one run, STRAIT_STEPS makes it longer. */
#include "tests/unit/storage_lsm/model.h"

#include "storage/io/blocking.h"
#include "storage/seal/registry.h"
#include "tests/sim/disk.h"

static uint64_t environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

static void run(uint64_t seed, uint64_t steps)
{
    static const uint8_t cluster[seal_id_size] = {7};
    struct sim_disk *disk = sim_disk_create(seed);
    struct keyring *keyring;
    struct fixture fixture;
    struct model model = {.fixture = &fixture};
    printf("model_test: seed %llu, %llu steps\n", (unsigned long long)seed,
           (unsigned long long)steps);
    fflush(stdout);
    generator_init(&model.generator, seed);
    struct io *io = sim_disk_io(disk);
    for (unsigned i = 0; i < model_workers_count; i++)
        model.worker_ios[i] = sim_disk_io(disk);
    ck_assert_int_eq(keyring_create_in_memory(cluster, false, &keyring), STATUS_OK);
    ck_assert_int_eq(io_make_directory_wait(io, "lsm"), STATUS_OK);
    fixture_init(&fixture, io, keyring, "lsm");
    fixture.options.uncompressed = generator_chance(&model.generator, 1, 2);
    fixture.options.memtable_size = generator_between(&model.generator, 16, 64) * 1024;
    fixture.options.table_size = generator_between(&model.generator, 4, 24) * 1024;
    fixture.options.level_base_size = generator_between(&model.generator, 8, 64) * 1024;
    fixture.options.level0_compact_count = (unsigned)generator_between(&model.generator, 2, 4);
    ck_assert_msg(fixture_open(&fixture) == STATUS_OK, "%s", fixture.error.text);
    for (uint64_t i = 0; i < steps; i++)
        model_step(&model);
    model_expect_all(&model,
                     fixture.mark.version < model.horizon ? model.horizon : fixture.mark.version);
    model.compactions_count += lsm_statistics(fixture.lsm).compactions_count;
    model_close(&model);
    fixture_close(&fixture);
    ck_assert_uint_eq(sim_disk_open_count(disk), 0);
    printf("model_test: %llu scanned, %llu compactions, %llu checkpoints, %llu checks, "
           "%llu reopened, %llu held back\n",
           (unsigned long long)model.scanned_count, (unsigned long long)model.compactions_count,
           (unsigned long long)model.checkpoints_done_count,
           (unsigned long long)model.checks_done_count, (unsigned long long)model.reopened_count,
           (unsigned long long)model.pressed_count);
    keyring_close(keyring);
    sim_disk_destroy(disk);
}

START_TEST(test_model)
{
    uint64_t seed = environment("STRAIT_SEED", 0);
    uint64_t steps = environment("STRAIT_STEPS", 2500);
    if (seed != 0) {
        run(seed, steps);
        return;
    }
    for (seed = 1; seed <= 3; seed++)
        run(seed, steps);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_model);
}
