/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/seal/twin.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/hash.h"
#include "storage/io/blocking.h"
#include "storage/seal/registry.h"
#include "tests/sim/disk.h"
#include "tests/unit/unit.h"

enum { copy_size_max = 4096, seed = 20240917 };

static const uint8_t cluster[seal_id_size] = "cluster of tests";
static const char *const names[2] = {"store/meta.a", "store/meta.b"};
static const enum seal_format format = SEAL_FORMAT_MANIFEST;

/* ---- A store with one twin in it ---- */

struct fixture {
    struct sim_disk *disk;
    struct io *io;
    struct keyring *keyring;
    struct twin *twin;
    uint8_t *contents;
    size_t size;
    struct twin_report report;
    struct error error;
};

static struct keyring *keyring_new(bool plain)
{
    struct keyring *keyring = NULL;
    ck_assert_int_eq(keyring_create_in_memory(cluster, plain, &keyring), STATUS_OK);
    return keyring;
}

static void fixture_begin(struct fixture *fixture)
{
    memset(fixture, 0, sizeof *fixture);
    fixture->disk = sim_disk_create(seed);
    fixture->io = sim_disk_io(fixture->disk);
    fixture->keyring = keyring_new(false);
    ck_assert_int_eq(io_make_directory_wait(fixture->io, "store"), STATUS_OK);
    ck_assert_int_eq(io_flush_directory_wait(fixture->io, "/"), STATUS_OK);
}

static enum status fixture_open(struct fixture *fixture)
{
    twin_close(fixture->twin);
    free(fixture->contents);
    fixture->error = (struct error){0};
    return twin_open(fixture->io, fixture->keyring, "store", "meta", format, &fixture->twin,
                     &fixture->contents, &fixture->size, &fixture->report, &fixture->error);
}

static void fixture_end(struct fixture *fixture)
{
    twin_close(fixture->twin);
    free(fixture->contents);
    keyring_close(fixture->keyring);
    ck_assert_uint_eq(sim_disk_open_count(fixture->disk), 0);
    sim_disk_destroy(fixture->disk);
}

static void restart(struct fixture *fixture, uint64_t restart_seed, enum sim_restart_mode mode)
{
    twin_close(fixture->twin);
    fixture->twin = NULL;
    sim_disk_restart(fixture->disk, restart_seed, mode);
    fixture->io = sim_disk_io(fixture->disk);
}

/* The contents of each generation, of different sizes. */
static struct bytes contents_of(uint64_t generation)
{
    static char text[2000];
    size_t size =
        (size_t)snprintf(text, 100, "contents of generation %llu ", (unsigned long long)generation);
    size_t padding = generation * 37 % 900;
    memset(text + size, (int)('a' + generation % 26), padding);
    return bytes_of(text, size + padding);
}

static enum status write_next(struct fixture *fixture)
{
    return twin_write_wait(fixture->twin, fixture->io,
                           contents_of(twin_generation(fixture->twin) + 1));
}

static void assert_contents(const struct fixture *fixture, uint64_t generation)
{
    ck_assert_uint_eq(twin_generation(fixture->twin), generation);
    ck_assert(bytes_equal(bytes_of(fixture->contents, fixture->size), contents_of(generation)));
}

static void count_bad(void *context, const char *path, const char *text)
{
    (void)path;
    ck_assert_uint_ne(strlen(text), 0);
    ++*(unsigned *)context;
}

static void assert_whole(struct fixture *fixture)
{
    unsigned bad_count = 0;
    ck_assert_int_eq(
        twin_check(fixture->io, fixture->keyring, "store", "meta", format, count_bad, &bad_count),
        STATUS_OK);
    ck_assert_uint_eq(bad_count, 0);
}

/* ---- Copies made by hand ---- */

struct image {
    uint8_t data[copy_size_max];
    size_t size;
};

static void image_take(const struct fixture *fixture, unsigned copy, struct image *image)
{
    image->size = sim_disk_peek(fixture->disk, names[copy], 0, image->data, copy_size_max);
    ck_assert_uint_lt(image->size, copy_size_max);
}

static void image_put(struct fixture *fixture, unsigned copy, const struct image *image)
{
    struct io_file *file = NULL;
    enum status status = io_unlink_wait(fixture->io, names[copy]);
    ck_assert(status == STATUS_OK || status == STATUS_NOT_FOUND);
    if (image == NULL)
        return;
    ck_assert_int_eq(io_open_wait(fixture->io, names[copy], IO_WRITE | IO_CREATE, &file),
                     STATUS_OK);
    ck_assert_int_eq(io_write_wait(fixture->io, file, image->data, image->size, 0), STATUS_OK);
    ck_assert_int_eq(io_close_wait(fixture->io, file), STATUS_OK);
}

static void image_hash_again(struct image *image)
{
    store_u64(image->data + 136, hash64(bytes_of(image->data, 136)));
}

enum { NONE, GEN_1, GEN_2, GEN_3, BAD, NEWER, LOCKED, KINDS };

/* Writes generations 1 to 3, keeping each one's copy, and makes the other kinds from them. The two
 * copies of a generation differ only in their keys, so that one image serves for both. */
static void images_begin(struct fixture *fixture, struct image images[KINDS])
{
    struct keyring *keyring = fixture->keyring;
    struct keyring *stranger = keyring_new(false);
    ck_assert_int_eq(fixture_open(fixture), STATUS_NOT_FOUND);
    for (unsigned kind = GEN_1; kind <= GEN_3; kind++) {
        ck_assert_int_eq(write_next(fixture), STATUS_OK);
        image_take(fixture, 0, &images[kind]);
    }
    images[BAD] = images[GEN_2];
    images[BAD].data[images[BAD].size - 1] ^= 1;
    images[NEWER] = images[GEN_3];
    store_u16(images[NEWER].data + 4, 2);
    image_hash_again(&images[NEWER]);
    image_put(fixture, 0, NULL);
    image_put(fixture, 1, NULL);
    fixture->keyring = stranger;
    ck_assert_int_eq(fixture_open(fixture), STATUS_NOT_FOUND);
    ck_assert_int_eq(write_next(fixture), STATUS_OK);
    ck_assert_int_eq(write_next(fixture), STATUS_OK);
    image_take(fixture, 0, &images[LOCKED]);
    fixture->keyring = keyring;
    keyring_close(stranger);
}

/* ---- The table of twin.h ---- */

/* Rows: copy a; columns: copy b; both in the order of the kinds.
 *   =  both hold           A  take a, write b anew      a  the same, and report
 *                          b  take b, write a anew, and report
 *   N  NOT_FOUND   C  CORRUPT   F  NEWER_FORMAT   K  KEY_WRONG */
static const char *const table[KINDS] = {
    /*           -  1  2  3  bad new key */
    [NONE] = "NbbbCFK", [GEN_1] = "A=CCaFK", [GEN_2] = "aA=CaFK",  [GEN_3] = "aCA=aFK",
    [BAD] = "CbbbCFK",  [NEWER] = "FFFFFFF", [LOCKED] = "KKKKKFK",
};

static enum status expected_status(char row)
{
    switch (row) {
    case 'N':
        return STATUS_NOT_FOUND;
    case 'C':
        return STATUS_CORRUPT;
    case 'F':
        return STATUS_NEWER_FORMAT;
    case 'K':
        return STATUS_KEY_WRONG;
    default:
        return STATUS_OK;
    }
}

static void check_row(struct fixture *fixture, unsigned a, unsigned b)
{
    char row = table[a][b];
    uint64_t generation = row == 'b' ? b : a;
    bool is_reported = row == 'a' || row == 'b';
    uint64_t hash = sim_disk_hash(fixture->disk);
    ck_assert_msg(fixture_open(fixture) == expected_status(row), "copies %u and %u: %s", a, b,
                  fixture->error.text);
    ck_assert_int_eq(fixture->report.repaired, is_reported);
    if (is_reported)
        ck_assert_str_eq(fixture->report.repaired_path, names[row == 'a' ? 1 : 0]);
    if (expected_status(row) == STATUS_OK) {
        assert_contents(fixture, generation);
        assert_whole(fixture);
        ck_assert_int_eq(fixture_open(fixture), STATUS_OK);
        ck_assert(!fixture->report.repaired);
        assert_contents(fixture, generation);
    } else {
        ck_assert(row == 'N' || strstr(fixture->error.text, "store/meta") != NULL);
        ck_assert_uint_eq(sim_disk_hash(fixture->disk), hash);
    }
    if (row == '=')
        ck_assert_uint_eq(sim_disk_hash(fixture->disk), hash);
}

START_TEST(test_every_row)
{
    struct fixture fixture;
    struct image *images = calloc(KINDS, sizeof *images);
    fixture_begin(&fixture);
    images_begin(&fixture, images);
    for (unsigned a = NONE; a < KINDS; a++) {
        for (unsigned b = NONE; b < KINDS; b++) {
            image_put(&fixture, 0, a == NONE ? NULL : &images[a]);
            image_put(&fixture, 1, b == NONE ? NULL : &images[b]);
            check_row(&fixture, a, b);
        }
    }
    free(images);
    fixture_end(&fixture);
}
END_TEST

/* Two copies of one generation that say different things were written by no run of ours. */
START_TEST(test_same_generation_other_contents)
{
    struct fixture fixture;
    struct image image;
    fixture_begin(&fixture);
    ck_assert_int_eq(fixture_open(&fixture), STATUS_NOT_FOUND);
    ck_assert_int_eq(twin_write_wait(fixture.twin, fixture.io, bytes_of_text("other")), STATUS_OK);
    image_take(&fixture, 0, &image);
    image_put(&fixture, 0, NULL);
    image_put(&fixture, 1, NULL);
    ck_assert_int_eq(fixture_open(&fixture), STATUS_NOT_FOUND);
    ck_assert_int_eq(write_next(&fixture), STATUS_OK);
    image_put(&fixture, 0, &image);
    ck_assert_int_eq(fixture_open(&fixture), STATUS_CORRUPT);
    fixture_end(&fixture);
}
END_TEST

/* ---- Decay ---- */

static void check_decayed(struct fixture *fixture, unsigned copy, const struct image *image)
{
    image_put(fixture, copy, image);
    ck_assert_int_eq(fixture_open(fixture), STATUS_OK);
    ck_assert(fixture->report.repaired);
    ck_assert_str_eq(fixture->report.repaired_path, names[copy]);
    assert_contents(fixture, 2);
    assert_whole(fixture);
}

/* Each bit of either copy, each length: found and mended from the other. */
START_TEST(test_decay_of_one_copy)
{
    struct fixture fixture;
    struct image whole, image;
    fixture_begin(&fixture);
    ck_assert_int_eq(fixture_open(&fixture), STATUS_NOT_FOUND);
    ck_assert_int_eq(write_next(&fixture), STATUS_OK);
    ck_assert_int_eq(write_next(&fixture), STATUS_OK);
    for (unsigned copy = 0; copy < 2; copy++) {
        image_take(&fixture, copy, &whole);
        for (size_t at = 0; at < whole.size; at++) {
            image = whole;
            image.data[at] ^= (uint8_t)(1u << at % 8);
            check_decayed(&fixture, copy, &image);
        }
        for (size_t size = 0; size < whole.size; size += 7) {
            image = whole;
            image.size = size;
            check_decayed(&fixture, copy, &image);
        }
        image = whole;
        image.data[image.size++] = 0;
        check_decayed(&fixture, copy, &image);
    }
    fixture_end(&fixture);
}
END_TEST

START_TEST(test_sector_that_cannot_be_read)
{
    struct fixture fixture;
    fixture_begin(&fixture);
    ck_assert_int_eq(fixture_open(&fixture), STATUS_NOT_FOUND);
    ck_assert_int_eq(write_next(&fixture), STATUS_OK);
    const struct sim_fault fault = {
        .effect = SIM_FAIL, .kind = IO_KIND_READ, .path = names[0], .status = STATUS_IO_ERROR};
    sim_disk_fault(fixture.disk, &fault);
    ck_assert_int_eq(fixture_open(&fixture), STATUS_OK);
    ck_assert(fixture.report.repaired);
    assert_contents(&fixture, 1);
    assert_whole(&fixture);
    fixture_end(&fixture);
}
END_TEST

START_TEST(test_check_names_the_bad_copy)
{
    struct fixture fixture;
    unsigned bad_count = 0;
    fixture_begin(&fixture);
    ck_assert_int_eq(
        twin_check(fixture.io, fixture.keyring, "store", "meta", format, count_bad, &bad_count),
        STATUS_NOT_FOUND);
    ck_assert_int_eq(fixture_open(&fixture), STATUS_NOT_FOUND);
    ck_assert_int_eq(write_next(&fixture), STATUS_OK);
    sim_disk_flip_bit(fixture.disk, names[1], 150, 3);
    uint64_t hash = sim_disk_hash(fixture.disk);
    ck_assert_int_eq(
        twin_check(fixture.io, fixture.keyring, "store", "meta", format, count_bad, &bad_count),
        STATUS_CORRUPT);
    ck_assert_uint_eq(bad_count, 1);
    ck_assert_uint_eq(sim_disk_hash(fixture.disk), hash);
    fixture_end(&fixture);
}
END_TEST

/* A file that may not be read is not a decayed one: it is not written over. */
START_TEST(test_machine_trouble_is_not_decay)
{
    static const enum status statuses[] = {STATUS_FORBIDDEN, STATUS_NO_MEMORY};
    struct fixture fixture;
    fixture_begin(&fixture);
    ck_assert_int_eq(fixture_open(&fixture), STATUS_NOT_FOUND);
    ck_assert_int_eq(write_next(&fixture), STATUS_OK);
    uint64_t hash = sim_disk_hash(fixture.disk);
    for (unsigned i = 0; i < 2; i++) {
        const struct sim_fault fault = {
            .effect = SIM_FAIL, .kind = IO_KIND_OPEN, .path = names[1], .status = statuses[i]};
        sim_disk_fault(fixture.disk, &fault);
        ck_assert_int_eq(fixture_open(&fixture), statuses[i]);
        ck_assert_ptr_nonnull(strstr(fixture.error.text, names[1]));
        ck_assert_uint_eq(sim_disk_hash(fixture.disk), hash);
    }
    fixture_end(&fixture);
}
END_TEST

/* A repair that cannot be written leaves the whole copy, and is told. */
START_TEST(test_repair_that_fails)
{
    struct fixture fixture;
    fixture_begin(&fixture);
    ck_assert_int_eq(fixture_open(&fixture), STATUS_NOT_FOUND);
    ck_assert_int_eq(write_next(&fixture), STATUS_OK);
    sim_disk_flip_bit(fixture.disk, names[0], 3, 3);
    const struct sim_fault fault = {
        .effect = SIM_FAIL, .kind = IO_KIND_WRITE, .status = STATUS_DISK_FULL};
    sim_disk_fault(fixture.disk, &fault);
    ck_assert_int_eq(fixture_open(&fixture), STATUS_DISK_FULL);
    ck_assert_ptr_nonnull(strstr(fixture.error.text, names[0]));
    ck_assert_int_eq(fixture_open(&fixture), STATUS_OK);
    ck_assert(fixture.report.repaired);
    assert_contents(&fixture, 1);
    fixture_end(&fixture);
}
END_TEST

START_TEST(test_path_that_is_too_long)
{
    char directory[twin_path_size];
    struct fixture fixture;
    struct twin *twin = NULL;
    uint8_t *contents = NULL;
    size_t size = 0;
    fixture_begin(&fixture);
    memset(directory, 'd', sizeof directory);
    directory[twin_path_size + 1 - sizeof "/meta.a.tmp"] = '\0'; /* one too long */
    ck_assert_int_eq(twin_open(fixture.io, fixture.keyring, directory, "meta", format, &twin,
                               &contents, &size, NULL, &fixture.error),
                     STATUS_TOO_LARGE);
    ck_assert_ptr_null(twin);
    fixture_end(&fixture);
}
END_TEST

/* ---- Keys ---- */

static bool is_never_used(void *context, uint32_t data_key)
{
    (void)context;
    (void)data_key;
    return false;
}

START_TEST(test_keys_that_do_not_fit)
{
    struct fixture fixture;
    struct keyring *plain = keyring_new(true);
    fixture_begin(&fixture);
    ck_assert_int_eq(fixture_open(&fixture), STATUS_NOT_FOUND);
    ck_assert_int_eq(write_next(&fixture), STATUS_OK);
    uint64_t hash = sim_disk_hash(fixture.disk);
    ck_assert_int_eq(keyring_rotate(fixture.keyring, NULL, NULL), STATUS_OK);
    ck_assert_int_eq(fixture_open(&fixture), STATUS_OK);
    ck_assert_int_eq(keyring_retire(fixture.keyring, NULL, is_never_used, NULL, NULL), STATUS_OK);
    ck_assert_int_eq(fixture_open(&fixture), STATUS_KEY_MISSING);
    struct keyring *keyring = fixture.keyring;
    fixture.keyring = plain;
    ck_assert_int_eq(fixture_open(&fixture), STATUS_INVALID_ARGUMENT);
    ck_assert_uint_eq(sim_disk_hash(fixture.disk), hash);
    fixture.keyring = keyring;
    keyring_close(plain);
    fixture_end(&fixture);
}
END_TEST

START_TEST(test_contents_are_sealed)
{
    for (int plain = 0; plain < 2; plain++) {
        struct fixture fixture;
        fixture_begin(&fixture);
        keyring_close(fixture.keyring);
        fixture.keyring = keyring_new(plain == 1);
        ck_assert_int_eq(fixture_open(&fixture), STATUS_NOT_FOUND);
        ck_assert_int_eq(write_next(&fixture), STATUS_OK);
        ck_assert_int_eq(sim_disk_contains(fixture.disk, bytes_of_text("contents of")), plain);
        ck_assert_int_eq(fixture_open(&fixture), STATUS_OK);
        assert_contents(&fixture, 1);
        fixture_end(&fixture);
    }
}
END_TEST

START_TEST(test_sizes)
{
    struct fixture fixture;
    fixture_begin(&fixture);
    ck_assert_int_eq(fixture_open(&fixture), STATUS_NOT_FOUND);
    ck_assert_int_eq(twin_write_wait(fixture.twin, fixture.io, bytes_of(NULL, 0)), STATUS_OK);
    ck_assert_int_eq(fixture_open(&fixture), STATUS_OK);
    ck_assert_uint_eq(fixture.size, 0);
    ck_assert_ptr_nonnull(fixture.contents);
    ck_assert_int_eq(
        twin_write_wait(fixture.twin, fixture.io, bytes_of("", twin_contents_size_max + 1ul)),
        STATUS_TOO_LARGE);
    ck_assert(twin_is_usable(fixture.twin));
    ck_assert_int_eq(write_next(&fixture), STATUS_OK);
    fixture_end(&fixture);
}
END_TEST

/* ---- Crashes ---- */

enum { writes_count = 3 };

/* Makes the twin and writes it until power fails. Gives the last generation that was done. */
static uint64_t run_until_crash(struct fixture *fixture)
{
    if (fixture_open(fixture) != STATUS_NOT_FOUND)
        return 0;
    for (uint64_t i = 0; i < writes_count; i++)
        if (write_next(fixture) != STATUS_OK)
            return i;
    return writes_count;
}

/* What was done is there; what was begun may be; nothing else. No copy is called decayed. */
static void check_after_crash(struct fixture *fixture, uint64_t done)
{
    enum status status = fixture_open(fixture);
    if (status == STATUS_NOT_FOUND) {
        ck_assert_uint_eq(done, 0);
    } else {
        ck_assert_msg(status == STATUS_OK, "%s", fixture->error.text);
        uint64_t generation = twin_generation(fixture->twin);
        ck_assert_uint_ge(generation, done);
        ck_assert_uint_le(generation, done + 1);
        assert_contents(fixture, generation);
        assert_whole(fixture);
    }
    ck_assert(!fixture->report.repaired);
    ck_assert_int_eq(write_next(fixture), STATUS_OK);
    uint64_t written = twin_generation(fixture->twin);
    ck_assert_int_eq(fixture_open(fixture), STATUS_OK);
    assert_contents(fixture, written);
}

/* Power fails at step `n`, comes back in `mode`, fails again at step `m` of the recovery, and comes
 * back. False: neither failure happened. */
static bool crash_twice(uint64_t n, uint64_t m, uint64_t round_seed, enum sim_restart_mode mode)
{
    struct fixture fixture;
    fixture_begin(&fixture);
    uint64_t begun = sim_disk_steps_count(fixture.disk);
    sim_disk_crash_after(fixture.disk, begun + n);
    uint64_t done = run_until_crash(&fixture);
    bool has_crashed = sim_disk_crashed(fixture.disk);
    restart(&fixture, round_seed, mode);
    if (m != UINT64_MAX) {
        sim_disk_crash_after(fixture.disk, m);
        enum status status = fixture_open(&fixture);
        ck_assert(!fixture.report.repaired || status != STATUS_OK);
        restart(&fixture, round_seed + 1, mode);
    }
    check_after_crash(&fixture, done);
    fixture_end(&fixture);
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
        for (unsigned i = 0; i < sizeof modes / sizeof modes[0]; i++) {
            has_crashed |= crash_twice(n, UINT64_MAX, seed + n * 8 + i, modes[i]);
            for (uint64_t m = 0; m < 5; m++)
                (void)crash_twice(n, m, seed + n * 8 + i, modes[i]);
        }
    }
    ck_assert_uint_gt(n, writes_count * 8);
}
END_TEST

/* ---- Faults ---- */

/* A full disk refuses a replacement before anything has changed, and leaves nothing behind. */
START_TEST(test_full_disk_changes_nothing)
{
    static const enum io_kind kinds[] = {IO_KIND_OPEN, IO_KIND_WRITE};
    for (unsigned i = 0; i < 4; i++) {
        struct fixture fixture;
        fixture_begin(&fixture);
        ck_assert_int_eq(fixture_open(&fixture), STATUS_NOT_FOUND);
        ck_assert_int_eq(write_next(&fixture), STATUS_OK);
        uint64_t hash = sim_disk_hash(fixture.disk);
        const struct sim_fault fault = {.effect = SIM_FAIL,
                                        .kind = kinds[i % 2],
                                        .path = i < 2 ? "meta.a.tmp" : "meta.b.tmp",
                                        .status = STATUS_DISK_FULL};
        sim_disk_fault(fixture.disk, &fault);
        ck_assert_int_eq(write_next(&fixture), STATUS_DISK_FULL);
        ck_assert(twin_is_usable(fixture.twin));
        ck_assert_uint_eq(twin_generation(fixture.twin), 1);
        ck_assert_uint_eq(sim_disk_hash(fixture.disk), hash);
        ck_assert_int_eq(write_next(&fixture), STATUS_OK);
        ck_assert_int_eq(fixture_open(&fixture), STATUS_OK);
        assert_contents(&fixture, 2);
        fixture_end(&fixture);
    }
}
END_TEST

/* Any operation that fails ends the twin, which opens again with the old or the new contents. */
START_TEST(test_each_operation_fails)
{
    static const enum io_kind kinds[] = {IO_KIND_OPEN,  IO_KIND_WRITE,  IO_KIND_FLUSH,
                                         IO_KIND_CLOSE, IO_KIND_RENAME, IO_KIND_FLUSH_DIRECTORY};
    for (unsigned i = 0; i < 2 * sizeof kinds / sizeof kinds[0]; i++) {
        struct fixture fixture;
        fixture_begin(&fixture);
        ck_assert_int_eq(fixture_open(&fixture), STATUS_NOT_FOUND);
        ck_assert_int_eq(write_next(&fixture), STATUS_OK);
        const struct sim_fault fault = {
            .effect = SIM_FAIL, .kind = kinds[i / 2], .nth = 1 + i % 2, .status = STATUS_IO_ERROR};
        sim_disk_fault(fixture.disk, &fault);
        ck_assert_int_eq(write_next(&fixture), STATUS_IO_ERROR);
        ck_assert(!twin_is_usable(fixture.twin));
        ck_assert_uint_eq(sim_disk_fault_hits(fixture.disk, SIM_FAIL), 1);
        ck_assert_uint_eq(sim_disk_open_count(fixture.disk), 0);
        sim_disk_crash_now(fixture.disk);
        restart(&fixture, seed + i, SIM_RESTART_RANDOM);
        check_after_crash(&fixture, 1);
        fixture_end(&fixture);
    }
}
END_TEST

/* `done` comes from a turn, never from within twin_write(), and may start the next write. */
struct chain {
    struct fixture *fixture;
    unsigned left;
    bool is_inside;
};

static void chain_next(void *context, enum status status)
{
    struct chain *chain = context;
    ck_assert(!chain->is_inside);
    ck_assert_int_eq(status, STATUS_OK);
    if (--chain->left == 0)
        return;
    chain->is_inside = true;
    twin_write(chain->fixture->twin, chain->fixture->io,
               contents_of(twin_generation(chain->fixture->twin) + 1), chain_next, chain);
    chain->is_inside = false;
}

START_TEST(test_done_starts_the_next_write)
{
    struct fixture fixture;
    struct chain chain = {.fixture = &fixture, .left = 4};
    fixture_begin(&fixture);
    ck_assert_int_eq(fixture_open(&fixture), STATUS_NOT_FOUND);
    chain.is_inside = true;
    twin_write(fixture.twin, fixture.io, contents_of(1), chain_next, &chain);
    chain.is_inside = false;
    while (chain.left != 0)
        io_turn(fixture.io, true);
    ck_assert_int_eq(fixture_open(&fixture), STATUS_OK);
    assert_contents(&fixture, 4);
    fixture_end(&fixture);
}
END_TEST

void unit_tests(TCase *tests)
{
    printf("seed %d\n", seed);
    tcase_add_test(tests, test_every_row);
    tcase_add_test(tests, test_same_generation_other_contents);
    tcase_add_test(tests, test_decay_of_one_copy);
    tcase_add_test(tests, test_sector_that_cannot_be_read);
    tcase_add_test(tests, test_check_names_the_bad_copy);
    tcase_add_test(tests, test_machine_trouble_is_not_decay);
    tcase_add_test(tests, test_repair_that_fails);
    tcase_add_test(tests, test_path_that_is_too_long);
    tcase_add_test(tests, test_keys_that_do_not_fit);
    tcase_add_test(tests, test_contents_are_sealed);
    tcase_add_test(tests, test_sizes);
    tcase_add_test(tests, test_crash_at_every_step);
    tcase_add_test(tests, test_full_disk_changes_nothing);
    tcase_add_test(tests, test_each_operation_fails);
    tcase_add_test(tests, test_done_starts_the_next_write);
}
