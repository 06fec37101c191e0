/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/io/io.h"

#include <stdio.h>

#include "proto/base/generator.h"
#include "storage/io/blocking.h"
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

/* ---- The same calls to both give the same answers ---- */

enum { names_count = 7, twin_steps = 400, bytes_max = 9000 };

/* The disk and the directory of each implementation; "" is the simulation's root. */
struct side {
    struct io *io;
    char directory[256];
};

static void side_path(const struct side *side, unsigned which, char *path, size_t size)
{
    static const char *const names[names_count] = {"a", "b", "c", "sub", "sub/a", "sub/b", "sub/d"};
    snprintf(path, size, "%s/%s", side->directory, names[which]);
}

/* What one call did, as far as a caller sees it. */
struct answer {
    enum status status;
    uint64_t size;
    uint64_t hash;
};

static struct answer answer_file(const struct side *side, const char *path, unsigned action,
                                 uint64_t offset, uint64_t size)
{
    static uint8_t bytes[bytes_max];
    struct answer answer = {0};
    struct io *io = side->io;
    struct io_file *file;
    size_t got = 0;
    answer.status = io_open_wait(io, path, IO_READ | IO_WRITE, &file);
    if (answer.status != STATUS_OK)
        return answer;
    memset(bytes, (int)(offset % 251), sizeof bytes);
    switch (action) {
    case 0:
        answer.status = io_write_wait(io, file, bytes, size, offset);
        break;
    case 1:
        answer.status = io_read_wait(io, file, bytes, size, offset, &got);
        answer.size = got;
        for (size_t i = 0; i < got; i++)
            answer.hash = answer.hash * 31 + bytes[i] + 1;
        break;
    case 2:
        answer.status = io_truncate_wait(io, file, size);
        break;
    case 3:
        answer.status = io_allocate_wait(io, file, size + 1);
        break;
    default:
        answer.status = io_file_size_wait(io, file, &answer.size);
    }
    ck_assert_int_eq(io_close_wait(io, file), STATUS_OK);
    return answer;
}

static void sum_names(void *context, const char *name, bool is_directory)
{
    struct answer *answer = context;
    answer->size++;
    answer->hash += (uint64_t)name[0] * (is_directory ? 1000 : 1);
}

static struct answer answer_name(const struct side *side, unsigned action, unsigned from,
                                 unsigned to)
{
    char from_path[512];
    char to_path[512];
    struct answer answer = {0};
    struct io *io = side->io;
    struct io_file *file;
    side_path(side, from, from_path, sizeof from_path);
    side_path(side, to, to_path, sizeof to_path);
    switch (action) {
    case 0:
        answer.status = io_open_wait(io, from_path, IO_WRITE | IO_CREATE, &file);
        if (answer.status == STATUS_OK)
            answer.status = io_close_wait(io, file);
        break;
    case 1:
        answer.status = io_rename_wait(io, from_path, to_path);
        break;
    case 2:
        answer.status = io_link_wait(io, from_path, to_path);
        break;
    case 3:
        answer.status = io_unlink_wait(io, from_path);
        break;
    case 4:
        answer.status = io_make_directory_wait(io, from_path);
        break;
    case 5:
        answer.status = io_remove_directory_wait(io, from_path);
        break;
    default:
        answer.status = io_list(io, from_path, sum_names, &answer);
    }
    return answer;
}

static struct answer answer_step(const struct side *side, struct generator generator)
{
    unsigned from = (unsigned)generator_below(&generator, names_count);
    unsigned to = (unsigned)generator_below(&generator, names_count);
    unsigned action = (unsigned)generator_below(&generator, 12);
    uint64_t offset = generator_below(&generator, 2 * bytes_max);
    uint64_t size = generator_below(&generator, bytes_max);
    char path[512];
    side_path(side, from, path, sizeof path);
    if (action < 5)
        return answer_file(side, path, action, offset, size);
    return answer_name(side, action - 5, from, to);
}

START_TEST(test_the_simulation_answers_like_the_kernel)
{
    const struct io_uring_options options = {0};
    unsigned ok_count = 0;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct error error = {0};
        struct generator generator;
        struct sim_disk *disk = sim_disk_create(seed);
        struct side sides[2] = {{.io = sim_disk_io(disk)}};
        ck_assert_int_eq(io_uring_open(&options, &sides[1].io, &error), STATUS_OK);
        snprintf(sides[1].directory, sizeof sides[1].directory, "%s", unit_directory());
        generator_init(&generator, seed);
        for (unsigned i = 0; i < twin_steps; i++) {
            struct answer simulated = answer_step(&sides[0], generator);
            struct answer real = answer_step(&sides[1], generator);
            generator_draw(&generator);
            ck_assert_msg(simulated.status == real.status && simulated.size == real.size &&
                              simulated.hash == real.hash,
                          "seed %llu, step %u: %s %llu, the kernel: %s %llu",
                          (unsigned long long)seed, i, status_name(simulated.status),
                          (unsigned long long)simulated.size, status_name(real.status),
                          (unsigned long long)real.size);
            ok_count += real.status == STATUS_OK;
        }
        io_uring_close(sides[1].io);
        sim_disk_destroy(disk);
    }
    ck_assert_uint_gt(ok_count, twin_steps);
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
    tcase_add_test(tests, test_the_simulation_answers_like_the_kernel);
    tcase_add_test(tests, test_an_op_under_way_cannot_be_started);
}
