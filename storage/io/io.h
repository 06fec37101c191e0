/* SPDX-License-Identifier: Apache-2.0 */
/* The outside as an interface: files, timers and clocks. Real on io_uring (uring.h), simulated in
 * tests/sim. Nothing else makes system calls on files.
 *
 * Conventions:
 * 1. A `struct io` belongs to one thread, which made it; nothing here is thread-safe but
 *    io_bell_ring().
 * 2. An operation is a `struct io_op` of the caller's. From io_X() until its `done` is called, it
 *    and every buffer and path given with it belong to the io. `done` is called from io_turn(),
 *    never from within io_X(); it may start further operations, and may free the op.
 * 3. Completions come in any order. What must follow an operation is started by its `done`.
 * 4. Reads and writes are whole: short transfers are continued inside. A read that meets the end of
 *    the file ends there, with `size` less than asked for, and status OK.
 * 5. Statuses: OK, NOT_FOUND, ALREADY_EXISTS, DISK_FULL (no space, quota, or file too large),
 *    FORBIDDEN (permission), NO_MEMORY, and IO_ERROR for all else; `error_number` has the errno.
 *    A flush that failed, alone or after a write, is always IO_ERROR, whatever the errno: nothing
 *    about the file's unflushed contents is known then; the caller ends the process, and never
 *    flushes again.
 * 6. Paths are relative to the working directory or absolute; components are made by us. */
#ifndef STORAGE_IO_IO_H
#define STORAGE_IO_IO_H

#include "proto/base/bytes.h"
#include "proto/base/error.h"
#include "proto/base/list.h"
#include "proto/base/status.h"

struct io;      /* one thread's ring, or its simulation */
struct io_file; /* an open file; may be used by the io of any thread, closed once */
struct io_op;

typedef void io_done_fn(struct io_op *op);

struct io_op {
    /* Set by the caller before. `done` may be NULL where io_wait() is used. */
    io_done_fn *done;
    void *context;

    /* Results, valid from `done` on. */
    enum status status;
    int error_number;     /* errno where status is not OK, else 0 */
    uint64_t size;        /* bytes read or written; io_file_size: the file's size */
    struct io_file *file; /* io_open */

    /* The implementation's. */
    bool pending;
    uint8_t kind;
    uint8_t step;
    uint32_t flags;
    struct list_link link;
    uint8_t *buffer;
    uint64_t wanted;
    uint64_t offset;
    const char *path;
    const char *path_to;
    void *private_pointer;
    uint64_t private_words[6];
};

enum io_open_flags {
    IO_READ = 1,
    IO_WRITE = 2,
    IO_CREATE = 4, /* must not exist; mode 0600 */
    IO_DIRECT = 8, /* past the page cache: buffers, offsets and sizes are multiples of 4 KiB */
};

enum { io_alignment = 4096 };

/* A point in time that calls back once. Zeroed by its owner before its first start. */
struct io_timer {
    void (*fired)(struct io_timer *timer);
    void *context;
    uint64_t deadline_ns; /* on io_boot_ns()'s clock */

    /* The implementation's (timers.h). */
    bool started;
    uint64_t sequence;
    struct io_timer *child;
    struct io_timer *sibling;
    struct io_timer *previous;
};

/* How another thread wakes this one. */
struct io_bell {
    void (*rung)(struct io_bell *bell); /* on the owner's thread; once for one or many rings */
    void *context;
    void *private_pointer; /* the implementation's */
};

struct io_space {
    uint64_t free_size;  /* bytes that we may still take */
    uint64_t total_size; /* of the file system */
};

/* Called for each name in a directory but "." and "..", in any order. */
typedef void io_list_fn(void *context, const char *name, bool is_directory);

/* The table that an implementation fills. Each entry is the function of the same name below. */
struct io_operations {
    void (*submit)(struct io *io, struct io_op *op); /* by op->kind, an enum io_kind */
    enum status (*read_now)(struct io *io, struct io_file *file, void *to, size_t size,
                            uint64_t offset, size_t *read_size);
    enum status (*list)(struct io *io, const char *path, io_list_fn *each, void *context);
    enum status (*space)(struct io *io, const char *path, struct io_space *space);
    enum status (*lock)(struct io *io, const char *path, struct io_file **lock);
    enum status (*file_mode)(struct io *io, const char *path, unsigned *mode); /* NULL: all 0600 */
    uint64_t (*boot_ns)(struct io *io);
    uint64_t (*wall_ns)(struct io *io);
    enum status (*bell_open)(struct io *io, struct io_bell *bell);
    void (*bell_ring)(struct io_bell *bell);
    void (*bell_close)(struct io *io, struct io_bell *bell);
    void (*timer_start)(struct io *io, struct io_timer *timer);
    void (*timer_stop)(struct io *io, struct io_timer *timer);
    void (*turn)(struct io *io, bool wait);
};

struct io {
    const struct io_operations *operations;
    uint64_t pending_count; /* operations of callers submitted and not yet done */
};

enum io_kind {
    IO_KIND_OPEN = 1,
    IO_KIND_CLOSE,
    IO_KIND_READ,
    IO_KIND_WRITE,
    IO_KIND_WRITE_FLUSH,
    IO_KIND_FLUSH,
    IO_KIND_ALLOCATE,
    IO_KIND_TRUNCATE,
    IO_KIND_FILE_SIZE,
    IO_KIND_RENAME,
    IO_KIND_UNLINK,
    IO_KIND_LINK,
    IO_KIND_MAKE_DIRECTORY,
    IO_KIND_REMOVE_DIRECTORY,
    IO_KIND_FLUSH_DIRECTORY,
    IO_KIND_WRITE_BACK,
    IO_KIND_END, /* an implementation may number kinds of its own from here */
};

/* ---- Files ---- */

/* `flags`: enum io_open_flags. The result is op->file. */
void io_open(struct io *io, struct io_op *op, const char *path, unsigned flags);

/* The file must have no operation under way. Frees `file` also where closing reports an error. */
void io_close(struct io *io, struct io_op *op, struct io_file *file);

void io_read(struct io *io, struct io_op *op, struct io_file *file, void *to, size_t size,
             uint64_t offset);
void io_write(struct io *io, struct io_op *op, struct io_file *file, const void *from, size_t size,
              uint64_t offset);

/* A write and, once it is whole, a data flush of the file, as one chain. */
void io_write_flush(struct io *io, struct io_op *op, struct io_file *file, const void *from,
                    size_t size, uint64_t offset);

/* fdatasync: contents, and the size needed to read them. */
void io_flush(struct io *io, struct io_op *op, struct io_file *file);

/* Waits until the device has taken what was being written back of the range, and begins to write
 * back the rest of it that is in the page cache. Nothing is durable by it: it spreads what a later
 * flush would else hand to the device at once. One that failed counts as a failed flush. */
void io_write_back(struct io *io, struct io_op *op, struct io_file *file, uint32_t size,
                   uint64_t offset);

/* Reserves blocks for [0, size) and makes the file that long. */
void io_allocate(struct io *io, struct io_op *op, struct io_file *file, uint64_t size);
void io_truncate(struct io *io, struct io_op *op, struct io_file *file, uint64_t size);
void io_file_size(struct io *io, struct io_op *op, struct io_file *file);

/* Names. Durable once the directory that holds them is flushed. */
void io_rename(struct io *io, struct io_op *op, const char *from, const char *to); /* replaces */
void io_unlink(struct io *io, struct io_op *op, const char *path);
void io_link(struct io *io, struct io_op *op, const char *from, const char *to);
void io_make_directory(struct io *io, struct io_op *op, const char *path); /* mode 0700 */
void io_remove_directory(struct io *io, struct io_op *op, const char *path);
void io_flush_directory(struct io *io, struct io_op *op, const char *path);

/* Reads what is in the page cache, without blocking: OK with `*read_size` (less than `size` at the
 * file's end only), or AGAIN where any of it would need the disk, or IO_ERROR. */
MUST_CHECK enum status io_read_now(struct io *io, struct io_file *file, void *to, size_t size,
                                   uint64_t offset, size_t *read_size);

/* Blocking, for start-up and workers. */
MUST_CHECK enum status io_list(struct io *io, const char *path, io_list_fn *each, void *context);
MUST_CHECK enum status io_space(struct io *io, const char *path, struct io_space *space);

/* The permission bits of a file: for those that hold secrets. Blocking; convention 5. */
MUST_CHECK enum status io_file_mode(struct io *io, const char *path, unsigned *mode);

/* Opens (making it where needed) and locks a file for this process: LOCKED where another has it.
 * Given back by closing `*lock`, or by the end of the process. */
MUST_CHECK enum status io_lock(struct io *io, const char *path, struct io_file **lock);

/* ---- Time ---- */

/* Nanoseconds since boot, suspended time included (CLOCK_BOOTTIME). Never goes back. */
uint64_t io_boot_ns(struct io *io);

/* Nanoseconds since 1970 by the wall clock: may jump either way. */
uint64_t io_wall_ns(struct io *io);

/* Starts or restarts; `fired` is called from io_turn() once the deadline has passed: earlier
 * deadlines first, equal ones in the order of starting. */
void io_timer_start(struct io *io, struct io_timer *timer, uint64_t deadline_ns);
void io_timer_stop(struct io *io, struct io_timer *timer); /* no call after this */

/* ---- The loop ---- */

/* Submits what was started, waits for the first completion, bell, timer or signal where `wait`, and
 * dispatches all that is ready. Operations started by callbacks go out with the next turn. */
void io_turn(struct io *io, bool wait);

/* Turns until `op` is done; its `done`, if any, was called. For start-up, shut-down and workers
 * only: other callbacks run meanwhile. Returns op->status. */
MUST_CHECK enum status io_wait(struct io *io, struct io_op *op);

/* `rung` and `context` are set before. */
MUST_CHECK enum status io_bell_open(struct io *io, struct io_bell *bell);
void io_bell_close(struct io *io, struct io_bell *bell);

/* From any thread or signal handler, while the bell is open. What was written before the ring is
 * seen by `rung`. Rings before the owner has woken cost no system call. */
void io_bell_ring(struct io *io_of_owner, struct io_bell *bell);

#endif
