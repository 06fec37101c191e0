/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/io/io.h"

#include <stdio.h>

#include "storage/io/uring.h"
#include "tests/sim/disk.h"
#include "tests/unit/unit.h"

/* The conventions of io.h, which both implementations keep. */

struct chain {
    struct io *io;
    struct io_op op;
    struct io_file *file;
    char path[512];
    unsigned done_count;
    uint8_t bytes[100];
};

/* Each step is started by the one before it, on the same op. */
static void next(struct io_op *op)
{
    struct chain *chain = op->context;
    ck_assert(!op->pending);
    ck_assert_int_eq(op->status, STATUS_OK);
    ck_assert_int_eq(op->error_number, 0);
    switch (chain->done_count++) {
    case 0:
        chain->file = op->file;
        io_write(chain->io, op, chain->file, "a hundred", 9, 0);
        break;
    case 1:
        ck_assert_uint_eq(op->size, 9);
        io_truncate(chain->io, op, chain->file, 6);
        break;
    case 2:
        io_file_size(chain->io, op, chain->file);
        break;
    case 3:
        ck_assert_uint_eq(op->size, 6);
        io_read(chain->io, op, chain->file, chain->bytes, 0, 0);
        break;
    case 4:
        ck_assert_uint_eq(op->size, 0);
        io_read(chain->io, op, chain->file, chain->bytes, 100, 2);
        break;
    case 5:
        ck_assert_uint_eq(op->size, 4);
        ck_assert_mem_eq(chain->bytes, "hund", 4);
        io_close(chain->io, op, chain->file);
        break;
    default:
        return;
    }
    /* Not even what is known at once is told from within the call. */
    ck_assert(op->pending);
    ck_assert_uint_eq(chain->io->pending_count, 1);
}

static void run_chain(struct io *io, const char *directory)
{
    struct chain chain = {.io = io, .op = {.done = next, .context = &chain}};
    snprintf(chain.path, sizeof chain.path, "%s/f", directory);
    io_open(io, &chain.op, chain.path, IO_READ | IO_WRITE | IO_CREATE);
    while (chain.done_count < 7)
        io_turn(io, true);
    ck_assert_uint_eq(io->pending_count, 0);
}

START_TEST(test_chain_on_the_ring)
{
    const struct io_uring_options options = {0};
    struct error error = {0};
    struct io *io;
    ck_assert_int_eq(io_uring_open(&options, &io, &error), STATUS_OK);
    run_chain(io, unit_directory());
    io_uring_close(io);
}
END_TEST

START_TEST(test_chain_in_simulation)
{
    struct sim_disk *disk = sim_disk_create(1);
    run_chain(sim_disk_io(disk), "");
    sim_disk_destroy(disk);
}
END_TEST

static void start_twice(void *context)
{
    struct io_op op = {0};
    io_unlink(context, &op, "a");
    io_unlink(context, &op, "b");
}

START_TEST(test_an_op_under_way_cannot_be_started)
{
    struct sim_disk *disk = sim_disk_create(1);
    unit_assert_dies(start_twice, sim_disk_io(disk));
    sim_disk_destroy(disk);
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_chain_on_the_ring);
    tcase_add_test(tests, test_chain_in_simulation);
    tcase_add_test(tests, test_an_op_under_way_cannot_be_started);
}
