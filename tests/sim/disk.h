/* SPDX-License-Identifier: Apache-2.0 */
/* A disk that misbehaves on demand, and the io (storage/io/io.h) that runs on it: for crash tests.
 *
 * The fault model
 * 1. Contents. A write is visible at once and durable after a flush of its file. A crash keeps, of
 *    what was written since the last flush, any subset of 512-byte sectors, and of each sector any
 *    of the versions that were written; the file's length is any that it had since that flush. What
 *    was under way at the crash counts as written and not flushed.
 * 2. Names. Creations, renames, links, unlinks and directories made or removed become durable when
 *    the directory that holds the name is flushed; flushing a file does nothing for its name. A
 *    crash keeps a prefix of each directory's changes since its last flush, and a rename between
 *    two directories in both or in neither.
 * 3. A flush that fails leaves some of the writes durable and forgets the others: they are still
 *    read, and no later flush saves them.
 * 4. A write that fails may have written any of its sectors.
 * 5. Bits flip at rest; reads and writes go to the wrong place; writes are reported and lost. Only
 *    where a test says so.
 *
 * Time is virtual: it starts at an hour, moves when an io turns, and jumps to the next completion
 * or timer where the turn waits. A turn that would wait for nothing at all is an assertion failure.
 * Operations take a random time, and so complete in a random order, unless in_order is set.
 * IO_DIRECT files assert that buffers, sizes and offsets are multiples of io_alignment.
 *
 * All of it belongs to one thread. The same seed and the same calls give the same run.
 *
 * A crash test, in outline:
 *
 *     for (uint64_t n = 0;; n++) {
 *         struct sim_disk *disk = sim_disk_create(seed);
 *         sim_disk_crash_after(disk, n);
 *         run(sim_disk_io(disk), model);              // unwinds with IO_ERROR from the crash on
 *         bool crashed = sim_disk_crashed(disk);
 *         sim_disk_restart(disk, seed + n, SIM_RESTART_RANDOM);
 *         count_distinct(sim_disk_hash(disk));
 *         recover_and_check(sim_disk_io(disk), model);
 *         sim_disk_destroy(disk);
 *         if (!crashed)
 *             break;
 *     }
 *
 * or, in one run of the workload, a step function (sim_disk_on_step) that clones the disk after
 * each call that matters, and checks the restarted clones. */
#ifndef TESTS_SIM_DISK_H
#define TESTS_SIM_DISK_H

#include "storage/io/io.h"

struct sim_disk;

enum { sim_sector_size = 512 };

/* An empty disk with a root directory: "a/b" and "/a/b" are the same path. */
struct sim_disk *sim_disk_create(uint64_t seed);

/* Frees the disk, its ios and the files that were left open. */
void sim_disk_destroy(struct sim_disk *disk);

/* A new io over the disk, which owns it; several stand for several threads. An io made before a
 * restart stays dead: all that it is asked for answers IO_ERROR. */
struct io *sim_disk_io(struct sim_disk *disk);

/* Advances the clock to the next event of any io, and lets that io turn. False: nothing to do. */
bool sim_disk_turn(struct sim_disk *disk);

/* Completions in the order of submission. */
void sim_disk_in_order(struct sim_disk *disk, bool in_order);

/* How often io_read_now() finds its bytes in memory: `percent` of calls. 75 at first. */
void sim_disk_cached_percent(struct sim_disk *disk, unsigned percent);

/* ---- Time ----
 *
 * The disk's own time is that of the world around it. Several disks share a world: each is at the
 * time of its last turn, and whoever drives them turns the one that is furthest behind, having
 * brought it up to the world's time (sim_disk_clock_advance_to). A turn that waits within itself
 * leaves its disk ahead of the others, as a server that was busy for that long.
 *
 * What the ios tell as boot and wall time derives from it, with an error that can be set. */

uint64_t sim_disk_now_ns(const struct sim_disk *disk);

/* Nanoseconds; both clocks of all ios move alike. */
void sim_disk_clock_advance(struct sim_disk *disk, uint64_t ns);

/* Does nothing where it is at that time or past it. */
void sim_disk_clock_advance_to(struct sim_disk *disk, uint64_t now_ns);

/* When the next completion, timer or bell of any io is due; UINT64_MAX: never. */
uint64_t sim_disk_next_ns(const struct sim_disk *disk);

/* From now on the boot clock runs faster by so many millionths, or slower; it does not jump. */
void sim_disk_clock_drift(struct sim_disk *disk, int64_t drift_ppm);

/* The wall clock jumps. */
void sim_disk_wall_jump(struct sim_disk *disk, int64_t jump_ns);

/* How long operations take that are started before `until_ns`; 20 to 200 microseconds otherwise.
 * With an `until_ns` that has passed, the disk is well: what is under way takes no longer than
 * that. */
void sim_disk_slow(struct sim_disk *disk, uint64_t min_ns, uint64_t max_ns, uint64_t until_ns);

/* ---- Crashes ---- */

/* Steps are what can matter to an image: each write, flush, allocation, truncation, creation,
 * rename, unlink, link, directory made, removed or flushed that was carried out (io_write_flush is
 * two). */
uint64_t sim_disk_steps_count(const struct sim_disk *disk);

/* Power fails right after step `n` from the creation or last restart (0: before the first). It has
 * its effect, and is not reported as done. From then on each operation answers IO_ERROR, closing
 * frees, and nothing reaches the disk. */
void sim_disk_crash_after(struct sim_disk *disk, uint64_t n);
void sim_disk_crash_now(struct sim_disk *disk);
bool sim_disk_crashed(const struct sim_disk *disk);

enum sim_restart_mode {
    SIM_RESTART_LOSE_UNFLUSHED, /* only what was flushed */
    SIM_RESTART_KEEP_ALL,       /* all that was written, as after kill -9 */
    SIM_RESTART_RANDOM,         /* a random image that the fault model permits */
};

/* Power comes back, whether or not it had failed: the image is chosen, faults and crash point are
 * cleared, steps begin at 0, older ios are dead. No operation may be under way on a live io. */
void sim_disk_restart(struct sim_disk *disk, uint64_t seed, enum sim_restart_mode mode);

/* A disk in the same state, unflushed changes included, without ios, faults or crash point.
 * Operations under way count as written and not flushed in the clone. Unchanged contents are
 * shared: a clone costs little. */
struct sim_disk *sim_disk_clone(const struct sim_disk *disk, uint64_t seed);

/* `stepped` is called after each step, with the step not yet reported. It may clone the disk, and
 * nothing else. NULL: none. */
typedef void sim_step_fn(void *context, struct sim_disk *disk, uint64_t step);
void sim_disk_on_step(struct sim_disk *disk, sim_step_fn *stepped, void *context);

/* Of all names, sizes and contents, as a program would see them now. */
uint64_t sim_disk_hash(const struct sim_disk *disk);

/* ---- Faults ---- */

enum sim_effect {
    SIM_FAIL = 1,  /* answer `status`, with `error_number` */
    SIM_MISDIRECT, /* the read or write goes to `other_offset` of the same file */
    SIM_LOSE,      /* the write is reported as done and is not */
    SIM_SLOW,      /* takes `delay_ns` longer */
    SIM_EFFECTS_END,
};

struct sim_fault {
    enum sim_effect effect;
    enum io_kind kind; /* 0: any. A WRITE fault also meets the write of a WRITE_FLUSH, a FLUSH
                          fault its flush; WRITE_FLUSH itself fails neither done */
    const char *path;  /* part of the path as it was opened or named; NULL: any. Kept, not copied */
    uint64_t nth;      /* the first call met, of those that match; 0 and 1: the next */
    uint64_t count;    /* calls met from there; 0: one; UINT64_MAX: for ever */
    enum status status;
    int error_number;
    uint64_t other_offset;
    uint64_t delay_ns;
};

/* At most 32 at a time. */
void sim_disk_fault(struct sim_disk *disk, const struct sim_fault *fault);
void sim_disk_faults_clear(struct sim_disk *disk);

/* Calls that met a fault of this effect since the creation. */
uint64_t sim_disk_fault_hits(const struct sim_disk *disk, enum sim_effect effect);

/* Bytes of all files' blocks (4 KiB each); past it, writes, allocations and creations answer
 * DISK_FULL. 1 TiB at first. */
void sim_disk_capacity(struct sim_disk *disk, uint64_t size);
uint64_t sim_disk_used(const struct sim_disk *disk);

/* Damage at rest, durable at once, to a file that exists and a byte within it. */
void sim_disk_flip_bit(struct sim_disk *disk, const char *path, uint64_t offset, unsigned bit);
void sim_disk_overwrite(struct sim_disk *disk, const char *path, uint64_t offset, const void *data,
                        size_t size);
void sim_disk_remove(struct sim_disk *disk, const char *path);

/* ---- A look from outside, without io ---- */

bool sim_disk_exists(const struct sim_disk *disk, const char *path);
uint64_t sim_disk_file_size(const struct sim_disk *disk, const char *path);

/* Copies at most `size` bytes from `offset`; the count. The file exists. */
size_t sim_disk_peek(const struct sim_disk *disk, const char *path, uint64_t offset, void *to,
                     size_t size);

/* Whether any file holds these bytes: the search for what should have been sealed. */
bool sim_disk_contains(const struct sim_disk *disk, struct bytes bytes);

/* Called with the path of each file, in order of names. */
void sim_disk_each_file(const struct sim_disk *disk,
                        void (*each)(void *context, const char *path, uint64_t size),
                        void *context);

/* Files opened and not closed: none after a clean shut-down. */
uint64_t sim_disk_open_count(const struct sim_disk *disk);

#endif
