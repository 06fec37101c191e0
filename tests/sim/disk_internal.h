/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the simulated disk share: inode.c (files and directories, each as it is now and
 * as it would be after a power loss), disk.c (the disk, its faults and crashes), disk_io.c (the io
 * over it).
 *
 * Each inode has two images: `now`, which programs see, and `stable`, which has survived a flush.
 * What leads from one to the other is in the order of its making in `changes` (contents, per file)
 * and in the disk's `names` (entries of directories, for all of them, so that a rename between two
 * directories is one change). A flush applies and drops changes; a crash applies some. */
#ifndef TESTS_SIM_DISK_INTERNAL_H
#define TESTS_SIM_DISK_INTERNAL_H

#include "proto/base/generator.h"
#include "storage/io/timers.h"
#include "tests/sim/content.h"
#include "tests/sim/disk.h"

enum { sim_faults_max = 32, sim_name_max = 255 };

/* Bytes written, shared between a disk and its clones. */
struct sim_blob {
    uint32_t references;
    uint8_t bytes[];
};

/* A change of a file's contents: bytes written to [offset, offset + size), zeros where `blob` is
 * NULL, and the file's length after it. */
struct sim_change {
    uint64_t offset;
    uint64_t size;
    uint64_t size_after;
    struct sim_blob *blob;
};

struct sim_entry {
    char *name;
    struct sim_inode *inode;
};

/* In the order of names. */
struct sim_directory {
    struct sim_entry *entries;
    size_t count;
    size_t capacity;
};

/* Held by entries (of both images), by name changes and by open files, each one reference. */
struct sim_inode {
    struct list_link link; /* disk->inodes */
    uint32_t references;
    uint32_t names_count; /* entries of `now` images */
    uint32_t opens_count;
    bool is_directory;
    bool is_locked;
    bool has_forgotten; /* a failed flush left bytes that `now` has and no change leads to */
    struct sim_content now;
    struct sim_content stable;
    struct sim_change *changes;
    size_t changes_count;
    size_t changes_capacity;
    struct sim_directory now_entries;
    struct sim_directory stable_entries;
    struct sim_inode *twin; /* while cloning: this inode in the clone */
    uint64_t cut;           /* while choosing: how far the directory's name changes are kept */
};

/* An entry set to an inode, or removed (NULL). */
struct sim_set {
    struct sim_inode *directory; /* NULL: there is no second set */
    char *name;
    struct sim_inode *inode;
};

/* One or two entries changed together. */
struct sim_name_change {
    struct sim_set sets[2];
};

struct sim_armed_fault {
    struct sim_fault fault;
    uint64_t seen; /* matching calls so far */
};

struct sim_disk {
    struct generator generator;
    uint64_t now_ns;
    uint64_t anchor_now_ns; /* the boot clock was at `anchor_boot_ns` then, and drifts since */
    uint64_t anchor_boot_ns;
    int64_t drift_ppm;
    int64_t wall_error_ns;
    uint64_t slow_min_ns;
    uint64_t slow_max_ns;
    uint64_t slow_until_ns;
    uint64_t sequence; /* of submissions */
    bool in_order;
    unsigned cached_percent;
    uint64_t capacity_size;

    struct list_link inodes;
    struct sim_inode *root;
    struct sim_name_change *names;
    size_t names_count;
    size_t names_capacity;

    struct list_link ios;
    struct list_link files; /* open */
    uint64_t open_count;

    uint64_t steps_count;
    uint64_t crash_after; /* UINT64_MAX: never */
    bool crashed;
    sim_step_fn *stepped;
    void *step_context;

    struct sim_armed_fault faults[sim_faults_max];
    unsigned faults_count;
    uint64_t fault_hits[SIM_EFFECTS_END];
};

struct io_file {
    struct list_link link;   /* disk->files */
    struct sim_inode *inode; /* NULL: its disk was restarted since */
    unsigned flags;
    unsigned under_way; /* operations */
    bool is_lock;
    char *path;
};

struct sim_io {
    struct io io; /* first, so that a struct io is one of these */
    struct list_link link;
    struct sim_disk *disk;
    bool is_dead;
    struct list_link in_flight; /* ops, in the order of submission */
    struct timers timers;
    struct list_link bells;
};

/* ---- inode.c ---- */

struct sim_inode *sim_inode_create(struct sim_disk *disk, bool is_directory);
void sim_inode_hold(struct sim_inode *inode);
void sim_inode_release(struct sim_inode *inode);

/* A copy of these bytes; NULL where they are zeros. */
struct sim_blob *sim_blob_create(const void *data, uint64_t size);
void sim_blob_release(struct sim_blob *blob); /* NULL: nothing */

/* Whether the bytes are still those that it was made of. */
bool sim_blob_is(const struct sim_blob *blob, const void *data, uint64_t size);

/* A file's contents. `blob` NULL: zeros; a reference of its own is kept. */
void sim_inode_write_blob(struct sim_inode *inode, uint64_t offset, struct sim_blob *blob,
                          uint64_t size);
void sim_inode_write(struct sim_inode *inode, uint64_t offset, const void *data, uint64_t size);
void sim_inode_resize(struct sim_inode *inode, uint64_t size);

/* Makes all changes durable. */
void sim_inode_flush(struct sim_inode *inode);

/* As a failed flush does: makes a random part durable and forgets the rest. */
void sim_inode_flush_failing(struct sim_inode *inode, struct generator *generator);

/* Applies a random part of the changes to `stable`, as a crash does, and drops them. */
void sim_inode_flush_randomly(struct sim_inode *inode, struct generator *generator);
void sim_inode_drop_changes(struct sim_inode *inode);

/* Entries. */
struct sim_inode *sim_directory_find(const struct sim_directory *directory, const char *name);
void sim_directory_set(struct sim_directory *directory, const char *name, struct sim_inode *inode);
void sim_directory_clear(struct sim_directory *directory);

/* ---- name.c ---- */

/* The inode at a path, or NULL. */
struct sim_inode *sim_path_find(const struct sim_disk *disk, const char *path);

/* The directory that holds the path's last name, which is copied to `name` (sim_name_max + 1
 * bytes). NULL where there is no such directory. */
struct sim_inode *sim_path_parent(const struct sim_disk *disk, const char *path, char *name);

/* Why there is nothing at the path: NOT_FOUND, or IO_ERROR where a part of it is a file. */
enum status sim_path_miss(const struct sim_disk *disk, const char *path);

/* Changes `now`, and notes the change. `second` may be NULL. Sets are copied. */
void sim_names_change(struct sim_disk *disk, const struct sim_set *first,
                      const struct sim_set *second);

/* Makes the directory's changes durable, and those of others that came with or before them. */
void sim_names_flush(struct sim_disk *disk, struct sim_inode *directory);

/* Applies a random prefix of each directory's changes to `stable`, or all, and drops them. */
void sim_names_flush_randomly(struct sim_disk *disk);
void sim_names_flush_all(struct sim_disk *disk);
void sim_names_drop(struct sim_disk *disk);

/* ---- disk.c ---- */

/* Carried out: counts, calls the step function, and crashes where it is due. */
void sim_disk_step(struct sim_disk *disk);

/* The fault that this call meets, or NULL. Counts. */
const struct sim_fault *sim_disk_meet(struct sim_disk *disk, enum io_kind kind, const char *path,
                                      const char *path_to, bool at_submission);

/* The boot clock, and when it will show this time. */
uint64_t sim_disk_boot_ns(const struct sim_disk *disk);
uint64_t sim_disk_now_of_boot_ns(const struct sim_disk *disk, uint64_t boot_ns);

/* Whether a file may grow to `size`. */
bool sim_disk_has_room(const struct sim_disk *disk, const struct sim_inode *inode, uint64_t size);

/* ---- disk_io.c ---- */

struct sim_io *sim_io_create(struct sim_disk *disk);
void sim_io_destroy(struct sim_io *sim);
void sim_file_free(struct sim_disk *disk, struct io_file *file);

/* Ops under way have their effect on `disk`, without flushes: of a crash. Where the disk is a clone
 * of the io's own, inodes are found by their twins. */
void sim_io_absorb(struct sim_io *sim, struct sim_disk *disk);

/* Ops under way end as those of a disk that is not slow. */
void sim_io_hurry(struct sim_io *sim);

/* The virtual time of what this io would do next; UINT64_MAX: nothing. */
uint64_t sim_io_next_ns(const struct sim_io *sim);

#endif
