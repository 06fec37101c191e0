/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/seal/registry.h"

#include <stdio.h>
#include <stdlib.h>

#include "storage/io/blocking.h"
#include "storage/seal/twin.h"
#include "tests/sim/disk.h"
#include "tests/unit/unit.h"

enum { seed = 20240918 };

static const uint8_t cluster[seal_id_size] = "cluster of tests";
static const struct master_key_source first = {.file = "first.key"};
static const struct master_key_source second = {.file = "second.key"};
static const struct master_key_source absent = {.file = "absent.key"};
static const struct master_key_source plain = {.plain = true};
static const char *const names[2] = {"store/keys.a", "store/keys.b"};

static struct error error;

static void put_file(struct io *io, const char *path, struct bytes contents)
{
    struct io_file *file = NULL;
    ck_assert_int_eq(io_open_wait(io, path, IO_WRITE | IO_CREATE, &file), STATUS_OK);
    ck_assert_int_eq(io_write_wait(io, file, contents.data, contents.size, 0), STATUS_OK);
    ck_assert_int_eq(io_flush_wait(io, file), STATUS_OK);
    ck_assert_int_eq(io_close_wait(io, file), STATUS_OK);
}

/* A disk with an empty folder and two master keys. */
static struct sim_disk *disk_begin(void)
{
    struct sim_disk *disk = sim_disk_create(seed);
    struct io *io = sim_disk_io(disk);
    put_file(io, first.file,
             bytes_of_text("1111111111111111111111111111111111111111111111111111111111111111\n"));
    put_file(io, second.file,
             bytes_of_text("2222222222222222222222222222222222222222222222222222222222222222\n"));
    ck_assert_int_eq(io_make_directory_wait(io, "store"), STATUS_OK);
    ck_assert_int_eq(io_flush_directory_wait(io, "/"), STATUS_OK);
    return disk;
}

static void disk_end(struct sim_disk *disk)
{
    ck_assert_uint_eq(sim_disk_open_count(disk), 0);
    sim_disk_destroy(disk);
}

static enum status create(struct io *io, const struct master_key_source *source)
{
    error = (struct error){0};
    return keyring_create(io, "store", source, cluster, &error);
}

static enum status open_store(struct io *io, const struct master_key_source *source,
                              struct keyring **keyring, struct keyring_report *report)
{
    error = (struct error){0};
    return keyring_open(io, "store", source, keyring, report, &error);
}

static enum status try_open(struct io *io, const struct master_key_source *source)
{
    struct keyring *keyring = NULL;
    enum status status = open_store(io, source, &keyring, NULL);
    keyring_close(keyring);
    return status;
}

static void assert_text_names(const char *words)
{
    ck_assert_msg(strstr(error.text, words) != NULL, "'%s' does not name '%s'", error.text, words);
}

START_TEST(test_created_and_opened)
{
    static const struct master_key_source *const sources[] = {&first, &plain};
    for (unsigned i = 0; i < 2; i++) {
        struct sim_disk *disk = disk_begin();
        struct io *io = sim_disk_io(disk);
        struct keyring *keyring = NULL, *again = NULL;
        struct keyring_report report;
        ck_assert_int_eq(try_open(io, sources[i]), STATUS_NOT_FOUND);
        ck_assert_int_eq(create(io, sources[i]), STATUS_OK);
        ck_assert_int_eq(open_store(io, sources[i], &keyring, &report), STATUS_OK);
        ck_assert(!report.repaired);
        ck_assert_int_eq(keyring_is_encrypted(keyring), i == 0);
        ck_assert_uint_eq(keyring_data_key(keyring), i == 0 ? 1 : 0);
        ck_assert_mem_eq(keyring_cluster_id(keyring), cluster, seal_id_size);
        ck_assert_int_eq(open_store(io, sources[i], &again, NULL), STATUS_OK);
        ck_assert_mem_eq(keyring_store_id(keyring), keyring_store_id(again), seal_id_size);
        ck_assert_int_eq(create(io, sources[i]), STATUS_ALREADY_EXISTS);
        ck_assert_int_eq(create(io, &second), STATUS_ALREADY_EXISTS);
        ck_assert_int_eq(try_open(io, sources[i]), STATUS_OK);
        keyring_close(keyring);
        keyring_close(again);
        disk_end(disk);
    }
}
END_TEST

/* Refusals leave the disk as it was, and say what to do. */
START_TEST(test_refusals)
{
    struct sim_disk *disk = disk_begin();
    struct io *io = sim_disk_io(disk);
    const struct master_key_source nothing = {0};
    const struct master_key_source confused = {.plain = true, .file = first.file};
    ck_assert_int_eq(create(io, &absent), STATUS_KEY_MISSING);
    ck_assert_int_eq(create(io, &first), STATUS_OK);
    uint64_t hash = sim_disk_hash(disk);
    ck_assert_int_eq(try_open(io, &second), STATUS_KEY_WRONG);
    assert_text_names(second.file);
    assert_text_names("store/keys");
    ck_assert_int_eq(try_open(io, &absent), STATUS_KEY_MISSING);
    assert_text_names(absent.file);
    ck_assert_int_eq(try_open(io, &plain), STATUS_INVALID_ARGUMENT);
    assert_text_names("store");
    ck_assert_int_eq(try_open(io, &nothing), STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(try_open(io, &confused), STATUS_INVALID_ARGUMENT);
    ck_assert_uint_eq(sim_disk_hash(disk), hash);
    disk_end(disk);
}
END_TEST

START_TEST(test_plain_store_opens_only_as_plain)
{
    struct sim_disk *disk = disk_begin();
    struct io *io = sim_disk_io(disk);
    struct keyring *keyring = NULL;
    ck_assert_int_eq(create(io, &plain), STATUS_OK);
    uint64_t hash = sim_disk_hash(disk);
    ck_assert_int_eq(try_open(io, &first), STATUS_INVALID_ARGUMENT);
    assert_text_names("store");
    ck_assert_int_eq(open_store(io, &plain, &keyring, NULL), STATUS_OK);
    ck_assert_int_eq(keyring_rotate(keyring, io, NULL), STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(keyring_rewrap(keyring, io, &first, NULL), STATUS_INVALID_ARGUMENT);
    keyring_close(keyring);
    ck_assert_uint_eq(sim_disk_hash(disk), hash);
    disk_end(disk);
}
END_TEST

/* Each bit of one copy; a wrong key is never taken for decay, nor decay for a wrong key. */
START_TEST(test_decay_of_one_copy_and_of_both)
{
    static const struct master_key_source *const sources[] = {&first, &plain};
    for (unsigned i = 0; i < 4; i++) {
        struct sim_disk *disk = disk_begin();
        struct io *io = sim_disk_io(disk);
        const struct master_key_source *source = sources[i / 2];
        const char *name = names[i % 2];
        ck_assert_int_eq(create(io, source), STATUS_OK);
        uint64_t size = sim_disk_file_size(disk, name);
        for (uint64_t at = 0; at < size; at++) {
            struct keyring *keyring = NULL;
            struct keyring_report report;
            sim_disk_flip_bit(disk, name, at, (unsigned)(at % 8));
            ck_assert_int_eq(open_store(io, source, &keyring, &report), STATUS_OK);
            ck_assert(report.repaired);
            ck_assert_str_eq(report.repaired_path, name);
            keyring_close(keyring);
            ck_assert_int_eq(open_store(io, source, &keyring, &report), STATUS_OK);
            ck_assert(!report.repaired);
            keyring_close(keyring);
        }
        sim_disk_flip_bit(disk, names[0], size / 2, 1);
        sim_disk_flip_bit(disk, names[1], size - 1, 1);
        uint64_t hash = sim_disk_hash(disk);
        ck_assert_int_eq(try_open(io, source), STATUS_CORRUPT);
        assert_text_names(names[0]);
        ck_assert_uint_eq(sim_disk_hash(disk), hash);
        disk_end(disk);
    }
}
END_TEST

static void count_bad(void *context, const char *path, const char *text)
{
    (void)text;
    ck_assert_str_eq(path, names[1]);
    ++*(unsigned *)context;
}

START_TEST(test_check_finds_a_bad_copy)
{
    struct sim_disk *disk = disk_begin();
    struct io *io = sim_disk_io(disk);
    struct keyring *keyring = NULL;
    unsigned bad_count = 0;
    ck_assert_int_eq(create(io, &first), STATUS_OK);
    ck_assert_int_eq(open_store(io, &first, &keyring, NULL), STATUS_OK);
    ck_assert_int_eq(keyring_check(io, keyring, "store", count_bad, &bad_count), STATUS_OK);
    ck_assert_uint_eq(bad_count, 0);
    sim_disk_flip_bit(disk, names[1], 200, 1);
    ck_assert_int_eq(keyring_check(io, keyring, "store", count_bad, &bad_count), STATUS_CORRUPT);
    ck_assert_uint_eq(bad_count, 1);
    keyring_close(keyring);
    disk_end(disk);
}
END_TEST

/* ---- Contents that verify and still are not ours ---- */

static const uint8_t good_header[48] = {'K', 'E', 'Y', 'R', 1, 0, 1, 0, 'c', 'l', 'u', 's', 't'};

/* Puts contents under a registry's seal, which takes no key where encryption is off. */
static enum status open_contents(struct bytes contents)
{
    static const uint8_t no_id[seal_id_size];
    struct sim_disk *disk = disk_begin();
    struct io *io = sim_disk_io(disk);
    struct twin *twin = NULL;
    struct keyring *keyring = NULL;
    uint8_t *before = NULL;
    size_t size = 0;
    /* The registry's own copies are bound to ids of zeros. */
    ck_assert_int_eq(keyring_create_in_memory(no_id, true, &keyring), STATUS_OK);
    memset((uint8_t *)(uintptr_t)keyring_store_id(keyring), 0, seal_id_size);
    ck_assert_int_eq(twin_open(io, keyring, "store", "keys", SEAL_FORMAT_REGISTRY, &twin, &before,
                               &size, NULL, NULL),
                     STATUS_NOT_FOUND);
    ck_assert_int_eq(twin_write_wait(twin, io, contents), STATUS_OK);
    enum status status = try_open(io, &plain);
    twin_close(twin);
    keyring_close(keyring);
    disk_end(disk);
    return status;
}

START_TEST(test_hostile_contents)
{
    uint8_t contents[48 + 76] = {0};
    struct bytes header = bytes_of(contents, 48);
    memcpy(contents, good_header, 48);
    ck_assert_int_eq(open_contents(header), STATUS_OK);
    for (size_t size = 0; size < 48; size++)
        ck_assert_int_eq(open_contents(bytes_of(contents, size)), STATUS_CORRUPT);
    ck_assert_int_eq(open_contents(bytes_of(contents, 49)), STATUS_CORRUPT);
    contents[4] = 2;
    ck_assert_int_eq(open_contents(header), STATUS_NEWER_FORMAT);
    contents[4] = 0;
    ck_assert_int_eq(open_contents(header), STATUS_CORRUPT);
    contents[4] = 1;
    contents[6] = 0;
    ck_assert_int_eq(open_contents(header), STATUS_CORRUPT);
    contents[6] = 1;
    contents[44] = 1;
    ck_assert_int_eq(open_contents(bytes_of(contents, sizeof contents)), STATUS_CORRUPT);
    memset(contents + 44, 0xff, 4);
    ck_assert_int_eq(open_contents(bytes_of(contents, sizeof contents)), STATUS_CORRUPT);
}
END_TEST

/* ---- Crashes ---- */

/* A store's life: each step is one change of the registry, or a file that is made under it. */
enum life_step {
    CREATE,
    FILE_0,
    ROTATE,
    FILE_1,
    REWRAP,
    FILE_2,
    ROTATE_AGAIN,
    FILE_3,
    RETIRE, /* key 1, after file 0 went */
    LIFE_END,
};

enum { files_count = 4 };

struct life {
    struct keyring *keyring;
    const struct master_key_source *source; /* that opens it */
    uint8_t envelopes[files_count][seal_envelope_size];
    bool sealed[files_count]; /* the file exists and must open */
    unsigned done;            /* steps */
};

static bool is_not_key_1(void *context, uint32_t data_key)
{
    (void)context;
    return data_key != 1;
}

static void make_file(struct life *life, unsigned number)
{
    struct seal_file file = {.format = SEAL_FORMAT_TABLE, .number = number};
    struct sealer *sealer = NULL;
    ck_assert_int_eq(seal_create(life->keyring, file, life->envelopes[number], &sealer), STATUS_OK);
    sealer_free(sealer);
    life->sealed[number] = true;
}

static enum status life_step(struct life *life, struct io *io, enum life_step step)
{
    enum status status = STATUS_OK;
    switch (step) {
    case CREATE:
        status = create(io, &first);
        return status != STATUS_OK ? status : open_store(io, &first, &life->keyring, NULL);
    case FILE_0:
    case FILE_1:
    case FILE_2:
    case FILE_3:
        make_file(life, ((unsigned)step - FILE_0) / 2);
        return STATUS_OK;
    case ROTATE:
    case ROTATE_AGAIN:
        return keyring_rotate(life->keyring, io, &error);
    case REWRAP:
        status = keyring_rewrap(life->keyring, io, &second, &error);
        if (status == STATUS_OK)
            life->source = &second;
        return status;
    case RETIRE:
        life->sealed[0] = false;
        return keyring_retire(life->keyring, io, is_not_key_1, NULL, &error);
    default:
        return STATUS_INTERNAL;
    }
}

static void live_until_crash(struct life *life, struct io *io)
{
    *life = (struct life){.source = &first};
    while (life->done < LIFE_END && life_step(life, io, (enum life_step)life->done) == STATUS_OK)
        life->done++;
}

/* The newest data key after so many steps. */
static uint32_t newest_key(unsigned done)
{
    return (uint32_t)((done > CREATE) + (done > ROTATE) + (done > ROTATE_AGAIN));
}

static void assert_life(const struct life *life, struct keyring *keyring)
{
    uint32_t newest = keyring_data_key(keyring);
    ck_assert(newest == newest_key(life->done) || newest == newest_key(life->done + 1));
    for (unsigned i = 0; i < files_count; i++) {
        struct seal_file file = {.format = SEAL_FORMAT_TABLE, .number = i};
        struct sealer *sealer = NULL;
        if (!life->sealed[i])
            continue;
        ck_assert_int_eq(seal_open(keyring, file, life->envelopes[i], &sealer), STATUS_OK);
        sealer_free(sealer);
    }
}

static enum status reopen(const struct life *life, struct io *io, bool new_first,
                          struct keyring **keyring, struct keyring_report *report)
{
    const struct master_key_source *order[2] = {&first, &second};
    enum status status = STATUS_INTERNAL;
    if (life->done < REWRAP)
        return open_store(io, &first, keyring, report);
    if (life->done > REWRAP)
        return open_store(io, &second, keyring, report);
    for (unsigned i = 0; i < 2; i++) {
        status = open_store(io, order[new_first ? 1 - i : i], keyring, report);
        if (status != STATUS_KEY_WRONG)
            break;
    }
    return status;
}

static bool crash_once(uint64_t n, uint64_t round_seed, enum sim_restart_mode mode, bool new_first)
{
    struct sim_disk *disk = disk_begin();
    struct life life;
    struct keyring *keyring = NULL;
    struct keyring_report report;
    sim_disk_crash_after(disk, sim_disk_steps_count(disk) + n);
    live_until_crash(&life, sim_disk_io(disk));
    bool has_crashed = sim_disk_crashed(disk);
    ck_assert_int_eq(has_crashed, life.done != LIFE_END);
    keyring_close(life.keyring);
    sim_disk_restart(disk, round_seed, mode);
    struct io *io = sim_disk_io(disk);
    enum status status = reopen(&life, io, new_first, &keyring, &report);
    if (status == STATUS_NOT_FOUND) {
        ck_assert_uint_eq(life.done, CREATE);
        ck_assert_int_eq(create(io, &first), STATUS_OK);
    } else {
        ck_assert_msg(status == STATUS_OK, "step %llu: %s", (unsigned long long)n, error.text);
        ck_assert(!report.repaired);
        assert_life(&life, keyring);
        ck_assert_int_eq(keyring_rotate(keyring, io, NULL), STATUS_OK);
        keyring_close(keyring);
        ck_assert_int_eq(reopen(&life, io, new_first, &keyring, &report), STATUS_OK);
        ck_assert(!report.repaired);
        keyring_close(keyring);
    }
    disk_end(disk);
    return has_crashed;
}

START_TEST(test_crash_at_every_step)
{
    static const enum sim_restart_mode modes[] = {SIM_RESTART_LOSE_UNFLUSHED, SIM_RESTART_KEEP_ALL,
                                                  SIM_RESTART_RANDOM, SIM_RESTART_RANDOM};
    bool has_crashed = true;
    uint64_t n = 0;
    for (; has_crashed; n++) {
        has_crashed = false;
        for (unsigned i = 0; i < 2 * sizeof modes / sizeof modes[0]; i++)
            has_crashed |= crash_once(n, seed + n * 8 + i, modes[i / 2], i % 2 == 0);
    }
    ck_assert_uint_gt(n, 5 * 8);
}
END_TEST

/* A full disk refuses each change; the keyring and the registry stay as they were. */
START_TEST(test_full_disk)
{
    struct sim_disk *disk = disk_begin();
    struct io *io = sim_disk_io(disk);
    struct keyring *keyring = NULL;
    const struct sim_fault fault = {
        .effect = SIM_FAIL, .kind = IO_KIND_WRITE, .status = STATUS_DISK_FULL};
    ck_assert_int_eq(create(io, &first), STATUS_OK);
    ck_assert_int_eq(open_store(io, &first, &keyring, NULL), STATUS_OK);
    ck_assert_int_eq(keyring_rotate(keyring, io, NULL), STATUS_OK);
    uint64_t hash = sim_disk_hash(disk);
    sim_disk_fault(disk, &fault);
    ck_assert_int_eq(keyring_rotate(keyring, io, &error), STATUS_DISK_FULL);
    sim_disk_fault(disk, &fault);
    ck_assert_int_eq(keyring_rewrap(keyring, io, &second, &error), STATUS_DISK_FULL);
    sim_disk_fault(disk, &fault);
    ck_assert_int_eq(keyring_retire(keyring, io, is_not_key_1, NULL, &error), STATUS_DISK_FULL);
    ck_assert_uint_eq(sim_disk_hash(disk), hash);
    ck_assert_uint_eq(keyring_data_key(keyring), 2);
    ck_assert_int_eq(keyring_rotate(keyring, io, NULL), STATUS_OK);
    keyring_close(keyring);
    ck_assert_int_eq(open_store(io, &first, &keyring, NULL), STATUS_OK);
    ck_assert_uint_eq(keyring_data_key(keyring), 3);
    keyring_close(keyring);
    disk_end(disk);
}
END_TEST

/* Numbers of data keys are not given out again, even after all but the newest went. */
START_TEST(test_numbers_are_not_used_again)
{
    struct sim_disk *disk = disk_begin();
    struct io *io = sim_disk_io(disk);
    struct keyring *keyring = NULL;
    ck_assert_int_eq(create(io, &first), STATUS_OK);
    for (uint32_t number = 1; number < 6; number++) {
        ck_assert_int_eq(open_store(io, &first, &keyring, NULL), STATUS_OK);
        ck_assert_uint_eq(keyring_data_key(keyring), number);
        ck_assert_int_eq(keyring_rotate(keyring, io, NULL), STATUS_OK);
        ck_assert_int_eq(keyring_retire(keyring, io, is_not_key_1, NULL, NULL), STATUS_OK);
        keyring_close(keyring);
    }
    disk_end(disk);
}
END_TEST

void unit_tests(TCase *tests)
{
    printf("seed %d\n", seed);
#if defined(STRAIT_FAULTS)
    seal_oracle_start();
#endif
    tcase_add_test(tests, test_created_and_opened);
    tcase_add_test(tests, test_refusals);
    tcase_add_test(tests, test_plain_store_opens_only_as_plain);
    tcase_add_test(tests, test_decay_of_one_copy_and_of_both);
    tcase_add_test(tests, test_check_finds_a_bad_copy);
    tcase_add_test(tests, test_hostile_contents);
    tcase_add_test(tests, test_crash_at_every_step);
    tcase_add_test(tests, test_full_disk);
    tcase_add_test(tests, test_numbers_are_not_used_again);
}
