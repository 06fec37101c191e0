/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/generator.h"
#include "storage/io/blocking.h"
#include "tests/unit/unit.h"

#define OK(call) ck_assert_int_eq(call, STATUS_OK)

enum { seeds_count = 200, sector = sim_sector_size };

static struct io_file *create(struct io *io, const char *path)
{
    struct io_file *file;
    OK(io_open_wait(io, path, IO_READ | IO_WRITE | IO_CREATE, &file));
    return file;
}

/* A file of one letter, durable with its name. */
static void put_durable(struct io *io, const char *path, char letter, size_t size)
{
    struct io_file *file = create(io, path);
    char *bytes = malloc(size);
    memset(bytes, letter, size);
    OK(io_write_wait(io, file, bytes, size, 0));
    OK(io_flush_wait(io, file));
    OK(io_close_wait(io, file));
    OK(io_flush_directory_wait(io, "/"));
    free(bytes);
}

static char letter_at(const struct sim_disk *disk, const char *path, uint64_t offset)
{
    char letter = 0;
    ck_assert_uint_eq(sim_disk_peek(disk, path, offset, &letter, 1), 1);
    return letter;
}

static void write_letters(struct io *io, struct io_file *file, char letter, size_t size,
                          uint64_t offset)
{
    char bytes[16 * sector];
    ck_assert_uint_le(size, sizeof bytes);
    memset(bytes, letter, size);
    OK(io_write_wait(io, file, bytes, size, offset));
}

static struct io_file *open_again(struct io *io, const char *path)
{
    struct io_file *file;
    OK(io_open_wait(io, path, IO_READ | IO_WRITE, &file));
    return file;
}

START_TEST(test_unflushed_writes_are_seen_and_lost)
{
    struct sim_disk *disk = sim_disk_create(1);
    struct io *io = sim_disk_io(disk);
    put_durable(io, "f", 'a', 4 * sector);
    struct io_file *file = open_again(io, "f");
    write_letters(io, file, 'b', 8 * sector, 0);
    OK(io_close_wait(io, file));
    ck_assert_int_eq(letter_at(disk, "f", 0), 'b');
    struct sim_disk *kept = sim_disk_clone(disk, 1);
    sim_disk_restart(disk, 1, SIM_RESTART_LOSE_UNFLUSHED);
    ck_assert_uint_eq(sim_disk_file_size(disk, "f"), 4 * sector);
    ck_assert_int_eq(letter_at(disk, "f", 0), 'a');
    sim_disk_restart(kept, 1, SIM_RESTART_KEEP_ALL);
    ck_assert_uint_eq(sim_disk_file_size(kept, "f"), 8 * sector);
    ck_assert_int_eq(letter_at(kept, "f", 8 * sector - 1), 'b');
    ck_assert_uint_ne(sim_disk_hash(disk), sim_disk_hash(kept));
    ck_assert_int_eq(io_open_wait(io, "f", IO_READ, &file), STATUS_IO_ERROR); /* an old io */
    sim_disk_destroy(disk);
    sim_disk_destroy(kept);
}
END_TEST

START_TEST(test_flushed_writes_survive_every_crash)
{
    for (uint64_t seed = 0; seed < seeds_count; seed++) {
        struct sim_disk *disk = sim_disk_create(seed);
        struct io *io = sim_disk_io(disk);
        put_durable(io, "f", 'a', 4 * sector);
        struct io_file *file = open_again(io, "f");
        write_letters(io, file, 'b', 2 * sector, sector);
        OK(io_flush_wait(io, file));
        write_letters(io, file, 'c', sector, 2 * sector);
        sim_disk_crash_now(disk);
        sim_disk_restart(disk, seed, SIM_RESTART_RANDOM);
        ck_assert_int_eq(letter_at(disk, "f", 0), 'a');
        ck_assert_int_eq(letter_at(disk, "f", sector), 'b');
        ck_assert_int_ne(letter_at(disk, "f", 2 * sector), 'a');
        ck_assert_int_eq(letter_at(disk, "f", 3 * sector), 'a');
        sim_disk_destroy(disk);
    }
}
END_TEST

/* Tears at sectors and nowhere else; all of none, some, all occur; any version may stay. */
START_TEST(test_a_crash_keeps_any_sectors_and_any_version)
{
    unsigned seen_by_letter[128] = {0};
    unsigned torn = 0;
    unsigned short_files = 0;
    for (uint64_t seed = 0; seed < seeds_count; seed++) {
        struct sim_disk *disk = sim_disk_create(seed);
        struct io *io = sim_disk_io(disk);
        put_durable(io, "f", 'a', 4 * sector);
        struct io_file *file = open_again(io, "f");
        write_letters(io, file, 'b', 8 * sector, 0);
        write_letters(io, file, 'c', 8 * sector, 0);
        sim_disk_crash_now(disk);
        sim_disk_restart(disk, seed, SIM_RESTART_RANDOM);
        uint64_t size = sim_disk_file_size(disk, "f");
        ck_assert(size == 4 * sector || size == 8 * sector);
        short_files += size == 4 * sector;
        for (uint64_t at = 0; at < size; at += sector) {
            char bytes[sector];
            char whole[sector];
            ck_assert_uint_eq(sim_disk_peek(disk, "f", at, bytes, sector), sector);
            char first = bytes[0];
            ck_assert(first == 'b' || first == 'c' || first == (at < 4 * sector ? 'a' : 0));
            memset(whole, first, sector);
            ck_assert_mem_eq(bytes, whole, sector);
            seen_by_letter[(unsigned char)first]++;
            torn += at > 0 && at < 4 * sector && first != letter_at(disk, "f", at - 1);
        }
        sim_disk_destroy(disk);
    }
    ck_assert_uint_gt(seen_by_letter['a'], 0);
    ck_assert_uint_gt(seen_by_letter['b'], 0);
    ck_assert_uint_gt(seen_by_letter['c'], 0);
    ck_assert_uint_gt(seen_by_letter[0], 0);
    ck_assert_uint_gt(torn, 0);
    ck_assert_uint_gt(short_files, 0);
}
END_TEST

/* A sector that holds two small writes has both, the first, or neither: never the second alone. */
START_TEST(test_a_sector_has_what_came_before)
{
    unsigned counts[3] = {0};
    for (uint64_t seed = 0; seed < seeds_count; seed++) {
        struct sim_disk *disk = sim_disk_create(seed);
        struct io *io = sim_disk_io(disk);
        put_durable(io, "f", 'a', sector);
        struct io_file *file = open_again(io, "f");
        write_letters(io, file, 'b', 10, 0);
        write_letters(io, file, 'c', 10, 100);
        sim_disk_crash_now(disk);
        sim_disk_restart(disk, seed, SIM_RESTART_RANDOM);
        bool first = letter_at(disk, "f", 0) == 'b';
        bool second = letter_at(disk, "f", 100) == 'c';
        ck_assert(first || !second);
        counts[first + second]++;
        sim_disk_destroy(disk);
    }
    for (unsigned i = 0; i < 3; i++)
        ck_assert_uint_gt(counts[i], 0);
}
END_TEST

START_TEST(test_names_need_a_flush_of_their_directory)
{
    struct sim_disk *disk = sim_disk_create(3);
    struct io *io = sim_disk_io(disk);
    OK(io_make_directory_wait(io, "d"));
    struct io_file *file = create(io, "d/new");
    write_letters(io, file, 'x', sector, 0);
    OK(io_flush_wait(io, file));
    OK(io_close_wait(io, file));
    OK(io_flush_directory_wait(io, "d"));
    struct sim_disk *whole = sim_disk_clone(disk, 1);
    sim_disk_restart(disk, 1, SIM_RESTART_LOSE_UNFLUSHED);
    ck_assert(!sim_disk_exists(disk, "d/new")); /* the directory itself was not flushed */
    ck_assert(!sim_disk_exists(disk, "d"));
    io = sim_disk_io(whole);
    OK(io_flush_directory_wait(io, "."));
    sim_disk_restart(whole, 1, SIM_RESTART_LOSE_UNFLUSHED);
    ck_assert_int_eq(letter_at(whole, "/d/new", 0), 'x');
    sim_disk_destroy(disk);
    sim_disk_destroy(whole);
}
END_TEST

/* Four changes of one directory: each prefix occurs, and nothing else. */
START_TEST(test_a_crash_keeps_a_prefix_of_a_directory)
{
    unsigned seen = 0;
    for (uint64_t seed = 0; seed < seeds_count; seed++) {
        struct sim_disk *disk = sim_disk_create(seed);
        struct io *io = sim_disk_io(disk);
        put_durable(io, "old", 'o', 10);
        put_durable(io, "current.new", 'n', 10);
        OK(io_close_wait(io, create(io, "a")));
        OK(io_link_wait(io, "old", "b"));
        OK(io_rename_wait(io, "current.new", "old"));
        OK(io_unlink_wait(io, "b"));
        sim_disk_crash_now(disk);
        sim_disk_restart(disk, seed, SIM_RESTART_RANDOM);
        bool a = sim_disk_exists(disk, "a");
        bool b = sim_disk_exists(disk, "b");
        bool renamed = !sim_disk_exists(disk, "current.new");
        ck_assert_int_eq(letter_at(disk, "old", 0), renamed ? 'n' : 'o');
        if (b)
            ck_assert_int_eq(letter_at(disk, "b", 0), 'o');
        unsigned prefix = !a ? 0 : !b && !renamed ? 1 : !renamed ? 2 : b ? 3 : 4;
        ck_assert(a || (!b && !renamed));
        seen |= 1u << prefix;
        sim_disk_destroy(disk);
    }
    ck_assert_uint_eq(seen, 31);
}
END_TEST

START_TEST(test_a_rename_between_directories_is_in_both_or_neither)
{
    unsigned counts[2] = {0};
    for (uint64_t seed = 0; seed < seeds_count; seed++) {
        struct sim_disk *disk = sim_disk_create(seed);
        struct io *io = sim_disk_io(disk);
        OK(io_make_directory_wait(io, "a"));
        OK(io_make_directory_wait(io, "b"));
        put_durable(io, "a/f", 'f', 10);
        OK(io_flush_directory_wait(io, "a"));
        OK(io_rename_wait(io, "a/f", "b/f"));
        struct sim_disk *flushed = sim_disk_clone(disk, seed);
        sim_disk_restart(disk, seed, SIM_RESTART_RANDOM);
        bool moved = sim_disk_exists(disk, "b/f");
        ck_assert_int_ne(moved, sim_disk_exists(disk, "a/f"));
        counts[moved]++;
        /* Either directory's flush makes both sides durable. */
        OK(io_flush_directory_wait(sim_disk_io(flushed), seed % 2 == 0 ? "a" : "b"));
        sim_disk_restart(flushed, seed, SIM_RESTART_LOSE_UNFLUSHED);
        ck_assert(sim_disk_exists(flushed, "b/f") && !sim_disk_exists(flushed, "a/f"));
        sim_disk_destroy(disk);
        sim_disk_destroy(flushed);
    }
    ck_assert_uint_gt(counts[0], 0);
    ck_assert_uint_gt(counts[1], 0);
}
END_TEST

/* The workload of the crash tests below: a file replaced by the book. */
static enum status replace(struct io *io, const char *text)
{
    struct io_file *file;
    enum status status = io_unlink_wait(io, "tmp");
    if (status == STATUS_OK || status == STATUS_NOT_FOUND)
        status = io_open_wait(io, "tmp", IO_WRITE | IO_CREATE, &file);
    if (status != STATUS_OK)
        return status;
    status = io_write_wait(io, file, text, strlen(text), 0);
    if (status == STATUS_OK)
        status = io_flush_wait(io, file);
    enum status closed = io_close_wait(io, file);
    if (status == STATUS_OK)
        status = closed;
    if (status == STATUS_OK)
        status = io_rename_wait(io, "tmp", "current");
    return status == STATUS_OK ? io_flush_directory_wait(io, "/") : status;
}

START_TEST(test_crash_after_each_step)
{
    uint64_t steps = 0;
    bool crashed = true;
    for (; crashed; steps++) {
        for (uint64_t seed = 0; seed < 20; seed++) {
            struct sim_disk *disk = sim_disk_create(seed);
            struct io *io = sim_disk_io(disk);
            char text[8] = {0};
            OK(replace(io, "first"));
            sim_disk_crash_after(disk, sim_disk_steps_count(disk) + steps);
            enum status status = replace(io, "second");
            crashed = sim_disk_crashed(disk);
            ck_assert_int_eq(status, crashed ? STATUS_IO_ERROR : STATUS_OK);
            ck_assert_uint_eq(sim_disk_open_count(disk), 0);
            sim_disk_restart(disk, seed, SIM_RESTART_RANDOM);
            sim_disk_peek(disk, "current", 0, text, sizeof text - 1);
            ck_assert(strcmp(text, "second") == 0 || (crashed && strcmp(text, "first") == 0));
            sim_disk_destroy(disk);
        }
    }
    ck_assert_uint_eq(steps, 7); /* after none, create, write, flush, rename, directory; no crash */
}
END_TEST

struct stepping {
    uint64_t hashes[64];
    uint64_t count;
    uint64_t clones_differ;
};

static void stepped(void *context, struct sim_disk *disk, uint64_t step)
{
    struct stepping *stepping = context;
    struct sim_disk *clone = sim_disk_clone(disk, step);
    ck_assert_uint_eq(sim_disk_hash(clone), sim_disk_hash(disk));
    ck_assert_uint_eq(step, ++stepping->count);
    sim_disk_restart(clone, step, SIM_RESTART_LOSE_UNFLUSHED);
    stepping->hashes[step] = sim_disk_hash(clone);
    sim_disk_destroy(clone);
}

/* One run that clones at each step finds the images of many runs that stop at each. */
START_TEST(test_clones_are_the_images_of_crashes)
{
    struct stepping stepping = {0};
    struct sim_disk *disk = sim_disk_create(9);
    sim_disk_on_step(disk, stepped, &stepping);
    OK(replace(sim_disk_io(disk), "first"));
    OK(replace(sim_disk_io(disk), "second"));
    sim_disk_destroy(disk);
    ck_assert_uint_eq(stepping.count, 10);
    for (uint64_t n = 1; n <= stepping.count; n++) {
        struct sim_disk *stopped = sim_disk_create(9);
        sim_disk_crash_after(stopped, n);
        if (replace(sim_disk_io(stopped), "first") == STATUS_OK)
            ck_assert_int_eq(replace(sim_disk_io(stopped), "second"), STATUS_IO_ERROR);
        sim_disk_restart(stopped, 1, SIM_RESTART_LOSE_UNFLUSHED);
        ck_assert_uint_eq(sim_disk_hash(stopped), stepping.hashes[n]);
        sim_disk_destroy(stopped);
    }
}
END_TEST

/* What was under way when power failed may have reached the disk, and its flush has not. */
START_TEST(test_operations_under_way_at_the_crash)
{
    static char bytes[2][sector];
    unsigned counts[2] = {0};
    for (uint64_t seed = 0; seed < seeds_count; seed++) {
        struct sim_disk *disk = sim_disk_create(seed);
        struct io *io = sim_disk_io(disk);
        struct io_op ops[2] = {0};
        put_durable(io, "f", 'a', 2 * sector);
        struct io_file *file = open_again(io, "f");
        memset(bytes[0], 'b', sector);
        memset(bytes[1], 'c', sector);
        io_write_flush(io, &ops[0], file, bytes[0], sector, 0);
        io_write_flush(io, &ops[1], file, bytes[1], sector, sector);
        sim_disk_crash_after(disk, sim_disk_steps_count(disk) + 2);
        ck_assert_int_eq(io_wait(io, &ops[0]), STATUS_IO_ERROR);
        ck_assert_int_eq(io_wait(io, &ops[1]), STATUS_IO_ERROR);
        sim_disk_restart(disk, seed, SIM_RESTART_RANDOM);
        bool first = letter_at(disk, "f", 0) == 'b';
        bool second = letter_at(disk, "f", sector) == 'c';
        ck_assert(first || second); /* the one whose flush was the last step */
        counts[first && second]++;
        sim_disk_destroy(disk);
    }
    ck_assert_uint_gt(counts[0], 0);
    ck_assert_uint_gt(counts[1], 0);
}
END_TEST

START_TEST(test_a_failed_flush_forgets)
{
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct sim_disk *disk = sim_disk_create(seed);
        struct io *io = sim_disk_io(disk);
        const struct sim_fault fault = {.effect = SIM_FAIL,
                                        .kind = IO_KIND_FLUSH,
                                        .path = "f",
                                        .nth = 2,
                                        .status = STATUS_DISK_FULL,
                                        .error_number = ENOSPC};
        put_durable(io, "f", 'a', sector);
        struct io_file *file = open_again(io, "f");
        sim_disk_fault(disk, &fault);
        OK(io_flush_wait(io, file));
        struct io_op op = {0};
        char bytes[sector];
        memset(bytes, 'b', sizeof bytes);
        io_write_flush(io, &op, file, bytes, sizeof bytes, 0);
        ck_assert_int_eq(io_wait(io, &op), STATUS_IO_ERROR);
        ck_assert_int_eq(op.error_number, ENOSPC);
        ck_assert_int_eq(letter_at(disk, "f", 0), 'b'); /* still in the page cache */
        OK(io_flush_wait(io, file));                    /* and this saves nothing */
        sim_disk_restart(disk, seed, SIM_RESTART_RANDOM);
        lost += letter_at(disk, "f", 0) == 'a';
        ck_assert_uint_eq(sim_disk_fault_hits(disk, SIM_FAIL), 1);
        sim_disk_destroy(disk);
    }
    ck_assert_uint_gt(lost, 0);
    ck_assert_uint_lt(lost, 50);
}
END_TEST

START_TEST(test_faults_meet_the_calls_they_name)
{
    struct sim_disk *disk = sim_disk_create(4);
    struct io *io = sim_disk_io(disk);
    const struct sim_fault faults[] = {
        {.effect = SIM_MISDIRECT, .kind = IO_KIND_WRITE, .path = "f", .other_offset = 8192},
        {.effect = SIM_LOSE, .kind = IO_KIND_WRITE, .path = "f", .nth = 2},
        {.effect = SIM_FAIL, .kind = IO_KIND_READ, .count = 2, .status = STATUS_IO_ERROR},
        {.effect = SIM_MISDIRECT, .kind = IO_KIND_READ, .nth = 4, .other_offset = 8192},
        {.effect = SIM_FAIL,
         .kind = IO_KIND_RENAME,
         .path = "g",
         .count = UINT64_MAX,
         .status = STATUS_FORBIDDEN},
    };
    for (unsigned i = 0; i < sizeof faults / sizeof faults[0]; i++)
        sim_disk_fault(disk, &faults[i]);
    struct io_file *file = create(io, "f");
    char byte;
    size_t got;
    write_letters(io, file, 'm', sector, 0);
    write_letters(io, file, 'l', sector, 0);
    write_letters(io, file, 'w', sector, 4096);
    ck_assert_int_eq(letter_at(disk, "f", 0), 0);
    ck_assert_int_eq(letter_at(disk, "f", 4096), 'w');
    ck_assert_int_eq(letter_at(disk, "f", 8192), 'm');
    ck_assert_int_eq(io_read_wait(io, file, &byte, 1, 0, &got), STATUS_IO_ERROR);
    ck_assert_int_eq(io_read_wait(io, file, &byte, 1, 0, &got), STATUS_IO_ERROR);
    OK(io_read_wait(io, file, &byte, 1, 4096, &got));
    ck_assert_int_eq(byte, 'w');
    OK(io_read_wait(io, file, &byte, 1, 4096, &got));
    ck_assert_int_eq(byte, 'm');
    OK(io_rename_wait(io, "f", "h"));
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(io_rename_wait(io, "h", "g"), STATUS_FORBIDDEN);
    ck_assert_uint_eq(sim_disk_fault_hits(disk, SIM_FAIL), 5);
    ck_assert_uint_eq(sim_disk_fault_hits(disk, SIM_MISDIRECT), 2);
    ck_assert_uint_eq(sim_disk_fault_hits(disk, SIM_LOSE), 1);
    OK(io_close_wait(io, file));
    sim_disk_destroy(disk);
}
END_TEST

START_TEST(test_a_failed_write_may_be_half_done)
{
    unsigned some = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct sim_disk *disk = sim_disk_create(seed);
        struct io *io = sim_disk_io(disk);
        const struct sim_fault fault = {
            .effect = SIM_FAIL, .kind = IO_KIND_WRITE, .status = STATUS_IO_ERROR};
        put_durable(io, "f", 'a', 2 * sector);
        struct io_file *file = open_again(io, "f");
        char bytes[2 * sector];
        memset(bytes, 'b', sizeof bytes);
        sim_disk_fault(disk, &fault);
        ck_assert_int_eq(io_write_wait(io, file, bytes, sizeof bytes, 0), STATUS_IO_ERROR);
        some += letter_at(disk, "f", 0) != letter_at(disk, "f", sector);
        sim_disk_destroy(disk);
    }
    ck_assert_uint_gt(some, 0);
}
END_TEST

START_TEST(test_the_disk_fills_up_and_empties)
{
    struct sim_disk *disk = sim_disk_create(5);
    struct io *io = sim_disk_io(disk);
    struct io_file *other;
    struct io_space space;
    sim_disk_capacity(disk, 4 * 4096);
    struct io_file *file = create(io, "f");
    OK(io_allocate_wait(io, file, 3 * 4096));
    write_letters(io, file, 'a', sector, 2 * 4096);
    OK(io_space(io, "/", &space));
    ck_assert_uint_eq(space.free_size, 4096);
    ck_assert_int_eq(io_allocate_wait(io, file, 5 * 4096), STATUS_DISK_FULL);
    ck_assert_int_eq(io_write_wait(io, file, "x", 1, 4 * 4096), STATUS_DISK_FULL);
    OK(io_write_wait(io, file, "x", 1, 3 * 4096));
    ck_assert_int_eq(io_open_wait(io, "g", IO_WRITE | IO_CREATE, &other), STATUS_DISK_FULL);
    OK(io_unlink_wait(io, "f"));
    ck_assert_uint_eq(sim_disk_used(disk), 4 * 4096); /* held by being open */
    OK(io_close_wait(io, file));
    ck_assert_uint_eq(sim_disk_used(disk), 0);
    sim_disk_destroy(disk);
}
END_TEST

START_TEST(test_damage_at_rest)
{
    struct sim_disk *disk = sim_disk_create(6);
    struct io *io = sim_disk_io(disk);
    put_durable(io, "f", 'a', 3 * 4096);
    uint64_t hash = sim_disk_hash(disk);
    sim_disk_flip_bit(disk, "f", 5000, 1);
    ck_assert_int_eq(letter_at(disk, "f", 5000), 'a' ^ 2);
    ck_assert_uint_ne(sim_disk_hash(disk), hash);
    sim_disk_flip_bit(disk, "f", 5000, 1);
    ck_assert_uint_eq(sim_disk_hash(disk), hash);
    sim_disk_overwrite(disk, "f", 4090, "secret-name", 11);
    sim_disk_restart(disk, 1, SIM_RESTART_LOSE_UNFLUSHED);
    ck_assert(sim_disk_contains(disk, bytes_of_text("secret-name")));
    ck_assert(!sim_disk_contains(disk, bytes_of_text("secret-nama")));
    sim_disk_remove(disk, "f");
    ck_assert(!sim_disk_exists(disk, "f"));
    sim_disk_destroy(disk);
}
END_TEST

static void note_order(struct io_op *op)
{
    unsigned **next = op->context;
    **next = (unsigned)op->offset;
    (*next)++;
}

static bool completes_in_order(uint64_t seed, bool in_order)
{
    enum { count = 8 };
    struct sim_disk *disk = sim_disk_create(seed);
    struct io *io = sim_disk_io(disk);
    struct io_op ops[count] = {0};
    unsigned order[count] = {0};
    unsigned *next = order;
    bool sorted = true;
    sim_disk_in_order(disk, in_order);
    struct io_file *file = create(io, "f");
    for (unsigned i = 0; i < count; i++) {
        ops[i].done = note_order;
        ops[i].context = &next;
        io_write(io, &ops[i], file, "x", 1, i);
    }
    while (io->pending_count > 0)
        io_turn(io, true);
    for (unsigned i = 0; i < count; i++)
        sorted = sorted && order[i] == i;
    sim_disk_destroy(disk);
    return sorted;
}

START_TEST(test_order_of_completions)
{
    unsigned sorted = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        ck_assert(completes_in_order(seed, true));
        sorted += completes_in_order(seed, false);
    }
    ck_assert_uint_lt(sorted, 3);
}
END_TEST

static void count_fired(struct io_timer *timer)
{
    (*(unsigned *)timer->context)++;
}

static void count_rung(struct io_bell *bell)
{
    (*(unsigned *)bell->context)++;
}

START_TEST(test_time_jumps_to_what_is_next)
{
    struct sim_disk *disk = sim_disk_create(7);
    struct io *io = sim_disk_io(disk);
    struct io *worker = sim_disk_io(disk);
    unsigned fired = 0;
    unsigned rung = 0;
    const struct sim_fault slow = {
        .effect = SIM_SLOW, .kind = IO_KIND_FLUSH, .delay_ns = UINT64_C(5000000000)};
    struct io_timer timer = {.fired = count_fired, .context = &fired};
    struct io_bell bell = {.rung = count_rung, .context = &rung};
    uint64_t begin_ns = io_boot_ns(io);
    io_timer_start(io, &timer, begin_ns + UINT64_C(60000000000));
    io_turn(io, true);
    ck_assert_uint_eq(fired, 1);
    ck_assert_uint_ge(io_boot_ns(worker), begin_ns + UINT64_C(60000000000));
    sim_disk_fault(disk, &slow);
    struct io_file *file = create(io, "f");
    begin_ns = io_boot_ns(io);
    OK(io_flush_wait(io, file));
    ck_assert_uint_ge(io_boot_ns(io), begin_ns + slow.delay_ns);
    OK(io_bell_open(worker, &bell));
    io_bell_ring(worker, &bell);
    io_bell_ring(worker, &bell);
    ck_assert(sim_disk_turn(disk));
    ck_assert_uint_eq(rung, 1);
    ck_assert(!sim_disk_turn(disk));
    io_bell_close(worker, &bell);
    OK(io_close_wait(worker, file));
    sim_disk_destroy(disk);
}
END_TEST

START_TEST(test_locks_hold_until_closed_or_restarted)
{
    struct sim_disk *disk = sim_disk_create(8);
    struct io *io = sim_disk_io(disk);
    struct io_file *lock;
    struct io_file *second;
    OK(io_lock(io, "LOCK", &lock));
    ck_assert_int_eq(io_lock(io, "LOCK", &second), STATUS_LOCKED);
    OK(io_close_wait(io, lock));
    OK(io_lock(io, "LOCK", &lock));
    sim_disk_restart(disk, 1, SIM_RESTART_KEEP_ALL);
    ck_assert_int_eq(io_close_wait(io, lock), STATUS_IO_ERROR); /* and freed */
    io = sim_disk_io(disk);
    OK(io_lock(io, "LOCK", &lock));
    sim_disk_destroy(disk);
}
END_TEST

START_TEST(test_read_now_misses_at_times)
{
    struct sim_disk *disk = sim_disk_create(10);
    struct io *io = sim_disk_io(disk);
    unsigned hits = 0;
    char bytes[16];
    size_t got;
    put_durable(io, "f", 'a', 10);
    struct io_file *file = open_again(io, "f");
    for (unsigned i = 0; i < 200; i++) {
        enum status status = io_read_now(io, file, bytes, sizeof bytes, 4, &got);
        ck_assert(status == STATUS_OK ? got == 6 : status == STATUS_AGAIN);
        hits += status == STATUS_OK;
    }
    ck_assert_uint_gt(hits, 100);
    ck_assert_uint_lt(hits, 190);
    OK(io_close_wait(io, file));
    sim_disk_destroy(disk);
}
END_TEST

static void write_unaligned(void *context)
{
    struct sim_disk *disk = context;
    struct io *io = sim_disk_io(disk);
    struct io_file *file;
    OK(io_open_wait(io, "f", IO_WRITE | IO_DIRECT | IO_CREATE, &file));
    if (io_write_wait(io, file, "x", 1, 0) != STATUS_OK)
        abort();
}

static void touch_buffer_under_way(void *context)
{
    struct sim_disk *disk = context;
    struct io *io = sim_disk_io(disk);
    struct io_op op = {0};
    char byte = 'x';
    struct io_file *file = create(io, "f");
    io_write(io, &op, file, &byte, 1, 0);
    byte = 'y';
    ck_assert_int_eq(io_wait(io, &op), STATUS_OK);
}

static void sleep_for_ever(void *context)
{
    io_turn(sim_disk_io(context), true);
}

START_TEST(test_misuse_is_caught)
{
    struct sim_disk *disk = sim_disk_create(11);
    unit_assert_dies(write_unaligned, disk);
    unit_assert_dies(touch_buffer_under_way, disk);
    unit_assert_dies(sleep_for_ever, disk);
    sim_disk_destroy(disk);
}
END_TEST

/* A random life of the disk, twice: same seed, same image, and no leak of what was unlinked. */
static uint64_t live(uint64_t seed)
{
    struct sim_disk *disk = sim_disk_create(seed);
    struct io *io = sim_disk_io(disk);
    struct generator generator;
    generator_init(&generator, seed);
    for (unsigned i = 0; i < 300; i++) {
        char from[16];
        char to[16];
        struct io_file *file;
        snprintf(from, sizeof from, "%c", (char)('a' + generator_below(&generator, 6)));
        snprintf(to, sizeof to, "%c", (char)('a' + generator_below(&generator, 6)));
        enum status status = STATUS_OK;
        switch (generator_below(&generator, 8)) {
        case 0:
            status = io_rename_wait(io, from, to);
            break;
        case 1:
            status = io_link_wait(io, from, to);
            break;
        case 2:
            status = io_unlink_wait(io, from);
            break;
        case 3:
            status = io_flush_directory_wait(io, "/");
            break;
        case 4:
            if (generator_chance(&generator, 1, 10)) {
                sim_disk_restart(disk, generator_draw(&generator), SIM_RESTART_RANDOM);
                io = sim_disk_io(disk);
            }
            break;
        default:
            status = io_open_wait(io, from, IO_WRITE, &file);
            if (status == STATUS_NOT_FOUND)
                status = io_open_wait(io, from, IO_WRITE | IO_CREATE, &file);
            ck_assert_int_eq(status, STATUS_OK);
            write_letters(io, file, to[0], 1 + generator_below(&generator, 8000),
                          generator_below(&generator, 20000));
            if (generator_chance(&generator, 1, 3))
                OK(io_flush_wait(io, file));
            if (generator_chance(&generator, 1, 5))
                OK(io_truncate_wait(io, file, generator_below(&generator, 20000)));
            OK(io_close_wait(io, file));
        }
        ck_assert(status == STATUS_OK || status == STATUS_NOT_FOUND ||
                  status == STATUS_ALREADY_EXISTS);
    }
    struct sim_disk *clone = sim_disk_clone(disk, seed);
    sim_disk_restart(disk, seed, SIM_RESTART_RANDOM);
    sim_disk_restart(clone, seed, SIM_RESTART_RANDOM);
    uint64_t hash = sim_disk_hash(disk);
    ck_assert_uint_eq(hash, sim_disk_hash(clone));
    sim_disk_destroy(disk);
    sim_disk_destroy(clone);
    return hash;
}

START_TEST(test_same_seed_same_image)
{
    for (uint64_t seed = 0; seed < 30; seed++)
        ck_assert_uint_eq(live(seed), live(seed));
    ck_assert_uint_ne(live(1), live(2));
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_unflushed_writes_are_seen_and_lost);
    tcase_add_test(tests, test_flushed_writes_survive_every_crash);
    tcase_add_test(tests, test_a_crash_keeps_any_sectors_and_any_version);
    tcase_add_test(tests, test_a_sector_has_what_came_before);
    tcase_add_test(tests, test_names_need_a_flush_of_their_directory);
    tcase_add_test(tests, test_a_crash_keeps_a_prefix_of_a_directory);
    tcase_add_test(tests, test_a_rename_between_directories_is_in_both_or_neither);
    tcase_add_test(tests, test_crash_after_each_step);
    tcase_add_test(tests, test_clones_are_the_images_of_crashes);
    tcase_add_test(tests, test_operations_under_way_at_the_crash);
    tcase_add_test(tests, test_a_failed_flush_forgets);
    tcase_add_test(tests, test_faults_meet_the_calls_they_name);
    tcase_add_test(tests, test_a_failed_write_may_be_half_done);
    tcase_add_test(tests, test_the_disk_fills_up_and_empties);
    tcase_add_test(tests, test_damage_at_rest);
    tcase_add_test(tests, test_order_of_completions);
    tcase_add_test(tests, test_time_jumps_to_what_is_next);
    tcase_add_test(tests, test_locks_hold_until_closed_or_restarted);
    tcase_add_test(tests, test_read_now_misses_at_times);
    tcase_add_test(tests, test_misuse_is_caught);
    tcase_add_test(tests, test_same_seed_same_image);
}
