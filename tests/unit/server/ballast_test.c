/* SPDX-License-Identifier: Apache-2.0 */
#include "server/ballast.h"

#include "proto/base/log.h"
#include "storage/io/blocking.h"
#include "tests/sim/disk.h"
#include "tests/unit/unit.h"

enum { kib = 1024, reserve = 1024 * kib, ballast_bytes = 768 * kib };

struct fixture {
    struct sim_disk *disk;
    struct io *io;
    struct ballast ballast;
};

static void fixture_begin(struct fixture *fixture, uint64_t capacity)
{
    log_descriptor_set(-1);
    *fixture = (struct fixture){.disk = sim_disk_create(7)};
    sim_disk_capacity(fixture->disk, capacity);
    fixture->io = sim_disk_io(fixture->disk);
    ck_assert_int_eq(io_make_directory_wait(fixture->io, "data"), STATUS_OK);
    ballast_open(&fixture->ballast, fixture->io, "data", reserve);
}

static void look(struct fixture *fixture)
{
    struct io_space space;
    ck_assert_int_eq(io_space(fixture->io, "data", &space), STATUS_OK);
    ballast_look(&fixture->ballast, &space);
    ballast_close(&fixture->ballast);
}

static void fill(struct fixture *fixture, uint64_t size)
{
    struct io_file *file;
    ck_assert_int_eq(io_open_wait(fixture->io, "other", IO_WRITE | IO_CREATE, &file), STATUS_OK);
    ck_assert_int_eq(io_allocate_wait(fixture->io, file, size), STATUS_OK);
    ck_assert_int_eq(io_close_wait(fixture->io, file), STATUS_OK);
}

START_TEST(test_taken_with_plenty_and_let_go_in_need)
{
    struct fixture fixture;
    fixture_begin(&fixture, 4096 * kib);
    ck_assert(fixture.ballast.held);
    ck_assert_uint_eq(sim_disk_file_size(fixture.disk, "data/ballast"), ballast_bytes);
    fill(&fixture, 2900 * kib);
    look(&fixture);
    ck_assert_msg(fixture.ballast.held, "half of it is still free");
    sim_disk_capacity(fixture.disk, 4000 * kib);
    look(&fixture);
    ck_assert(!fixture.ballast.held);
    ck_assert(!sim_disk_exists(fixture.disk, "data/ballast"));
    look(&fixture);
    ck_assert_msg(!fixture.ballast.held, "what was let go is not taken at once");
    sim_disk_capacity(fixture.disk, 8192 * kib);
    look(&fixture);
    ck_assert(fixture.ballast.held);
    ck_assert_uint_eq(sim_disk_open_count(fixture.disk), 0);
    sim_disk_destroy(fixture.disk);
}
END_TEST

START_TEST(test_let_go_at_start)
{
    struct fixture fixture;
    fixture_begin(&fixture, 4096 * kib);
    fill(&fixture, 3300 * kib);
    ballast_open(&fixture.ballast, fixture.io, "data", reserve);
    ck_assert(!fixture.ballast.held);
    ck_assert(!sim_disk_exists(fixture.disk, "data/ballast"));
    sim_disk_destroy(fixture.disk);
}
END_TEST

START_TEST(test_one_half_made_is_made_anew)
{
    struct fixture fixture;
    fixture_begin(&fixture, 4096 * kib);
    struct io_file *file;
    ck_assert_int_eq(io_open_wait(fixture.io, "data/ballast", IO_WRITE, &file), STATUS_OK);
    ck_assert_int_eq(io_truncate_wait(fixture.io, file, 4096), STATUS_OK);
    ck_assert_int_eq(io_close_wait(fixture.io, file), STATUS_OK);
    ballast_open(&fixture.ballast, fixture.io, "data", reserve);
    ck_assert(fixture.ballast.held);
    ck_assert_uint_eq(sim_disk_file_size(fixture.disk, "data/ballast"), ballast_bytes);
    sim_disk_destroy(fixture.disk);
}
END_TEST

START_TEST(test_trouble_stops_nothing)
{
    static const enum io_kind kinds[] = {IO_KIND_OPEN, IO_KIND_ALLOCATE, IO_KIND_CLOSE};
    for (unsigned i = 0; i < 3; i++) {
        struct fixture fixture;
        fixture_begin(&fixture, 1024 * kib);
        ck_assert(!fixture.ballast.held);
        sim_disk_capacity(fixture.disk, 4096 * kib);
        sim_disk_fault(fixture.disk, &(struct sim_fault){.effect = SIM_FAIL,
                                                         .kind = kinds[i],
                                                         .path = "ballast",
                                                         .status = STATUS_IO_ERROR,
                                                         .error_number = 5});
        look(&fixture);
        ck_assert(!fixture.ballast.held);
        ck_assert(!sim_disk_exists(fixture.disk, "data/ballast"));
        look(&fixture);
        ck_assert(fixture.ballast.held);
        sim_disk_destroy(fixture.disk);
    }
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_taken_with_plenty_and_let_go_in_need);
    tcase_add_test(tests, test_let_go_at_start);
    tcase_add_test(tests, test_one_half_made_is_made_anew);
    tcase_add_test(tests, test_trouble_stops_nothing);
}
