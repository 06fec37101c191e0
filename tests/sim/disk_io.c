/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "tests/sim/disk_internal.h"

enum {
    tick_ns = 1000, /* what a turn takes at least, so that polling makes time pass */
    latency_min_ns = 20000,
    latency_max_ns = 200000,
};

/* An arbitrary date in 2026. */
static const uint64_t wall_minus_boot_ns = UINT64_C(1780000000) * 1000000000;

/* Where an op keeps what it needs while in flight. */
enum {
    WORD_DUE,      /* virtual time of its completion */
    WORD_SEQUENCE, /* of its submission */
    WORD_BLOB,     /* a write's bytes (struct sim_blob): nobody may touch the buffer meanwhile */
};

struct sim_bell {
    struct list_link link;
    struct io_bell *bell;
    bool rung;
    bool due;
};

static struct sim_io *sim_of(struct io *io)
{
    return (struct sim_io *)io;
}

static bool is_off(const struct sim_io *sim)
{
    return sim->is_dead || sim->disk->crashed;
}

static struct sim_blob *blob_of(const struct io_op *op)
{
    return (struct sim_blob *)(uintptr_t)op->private_words[WORD_BLOB];
}

static const char *path_of(const struct io_op *op)
{
    return op->file != NULL ? op->file->path : op->path;
}

static int errno_of(enum status status)
{
    switch (status) {
    case STATUS_OK:
        return 0;
    case STATUS_NOT_FOUND:
        return ENOENT;
    case STATUS_ALREADY_EXISTS:
        return EEXIST;
    case STATUS_DISK_FULL:
        return ENOSPC;
    case STATUS_FORBIDDEN:
        return EACCES;
    case STATUS_NO_MEMORY:
        return ENOMEM;
    default:
        return EIO;
    }
}

/* ---- Files ---- */

static struct io_file *file_open(struct sim_disk *disk, struct sim_inode *inode, const char *path,
                                 unsigned flags)
{
    struct io_file *file = calloc(1, sizeof *file);
    ASSERT(file != NULL);
    file->inode = inode;
    file->flags = flags;
    file->path = strdup(path);
    ASSERT(file->path != NULL);
    sim_inode_hold(inode);
    inode->opens_count++;
    list_push_last(&disk->files, &file->link);
    disk->open_count++;
    return file;
}

void sim_file_free(struct sim_disk *disk, struct io_file *file)
{
    list_remove(&file->link);
    disk->open_count--;
    if (file->inode != NULL) {
        file->inode->opens_count--;
        if (file->is_lock)
            file->inode->is_locked = false;
        sim_inode_release(file->inode);
    }
    free(file->path);
    free(file);
}

/* Whether an op changes what is on the disk; such an op is a step. */
static bool is_change(const struct io_op *op)
{
    switch (op->kind) {
    case IO_KIND_OPEN:
        return (op->flags & IO_CREATE) != 0;
    case IO_KIND_WRITE:
    case IO_KIND_WRITE_FLUSH:
    case IO_KIND_ALLOCATE:
    case IO_KIND_TRUNCATE:
    case IO_KIND_RENAME:
    case IO_KIND_UNLINK:
    case IO_KIND_LINK:
    case IO_KIND_MAKE_DIRECTORY:
    case IO_KIND_REMOVE_DIRECTORY:
        return true;
    default:
        return false;
    }
}

/* Puts a new inode at the path. */
static enum status create(struct sim_disk *disk, const char *path, bool is_directory)
{
    char name[sim_name_max + 1];
    struct sim_inode *directory = sim_path_parent(disk, path, name);
    if (directory == NULL)
        return sim_path_miss(disk, path);
    if (sim_directory_find(&directory->now_entries, name) != NULL)
        return STATUS_ALREADY_EXISTS;
    if (sim_disk_used(disk) >= disk->capacity_size)
        return STATUS_DISK_FULL;
    struct sim_inode *inode = sim_inode_create(disk, is_directory);
    const struct sim_set set = {.directory = directory, .name = name, .inode = inode};
    sim_names_change(disk, &set, NULL);
    sim_inode_release(inode);
    return STATUS_OK;
}

static enum status link_name(struct sim_disk *disk, const char *from, const char *to)
{
    char name[sim_name_max + 1];
    struct sim_inode *inode = sim_path_find(disk, from);
    struct sim_inode *directory = sim_path_parent(disk, to, name);
    if (inode == NULL)
        return sim_path_miss(disk, from);
    if (directory == NULL)
        return sim_path_miss(disk, to);
    if (sim_directory_find(&directory->now_entries, name) != NULL)
        return STATUS_ALREADY_EXISTS;
    if (inode->is_directory)
        return STATUS_FORBIDDEN;
    const struct sim_set set = {.directory = directory, .name = name, .inode = inode};
    sim_names_change(disk, &set, NULL);
    return STATUS_OK;
}

static enum status remove_name(struct sim_disk *disk, const char *path, bool is_directory)
{
    char name[sim_name_max + 1];
    struct sim_inode *directory = sim_path_parent(disk, path, name);
    struct sim_inode *inode =
        directory != NULL ? sim_directory_find(&directory->now_entries, name) : NULL;
    if (inode == NULL)
        return sim_path_miss(disk, path);
    if (inode->is_directory != is_directory || inode->now_entries.count > 0)
        return STATUS_IO_ERROR;
    const struct sim_set set = {.directory = directory, .name = name};
    sim_names_change(disk, &set, NULL);
    return STATUS_OK;
}

/* Whether `inode` is `directory` or lies below it. */
static bool is_within(const struct sim_inode *inode, const struct sim_inode *directory)
{
    if (inode == directory)
        return true;
    for (size_t i = 0; i < directory->now_entries.count; i++)
        if (is_within(inode, directory->now_entries.entries[i].inode))
            return true;
    return false;
}

static enum status rename_name(struct sim_disk *disk, const char *from, const char *to)
{
    char from_name[sim_name_max + 1];
    char to_name[sim_name_max + 1];
    struct sim_inode *from_directory = sim_path_parent(disk, from, from_name);
    struct sim_inode *to_directory = sim_path_parent(disk, to, to_name);
    struct sim_inode *inode =
        from_directory != NULL ? sim_directory_find(&from_directory->now_entries, from_name) : NULL;
    if (from_directory == NULL)
        return sim_path_miss(disk, from);
    if (to_directory == NULL)
        return sim_path_miss(disk, to);
    if (inode == NULL)
        return STATUS_NOT_FOUND;
    if (inode->is_directory && is_within(to_directory, inode))
        return STATUS_IO_ERROR;
    struct sim_inode *old = sim_directory_find(&to_directory->now_entries, to_name);
    if (old == inode)
        return STATUS_OK;
    if (old != NULL && (old->is_directory != inode->is_directory || old->now_entries.count > 0))
        return STATUS_IO_ERROR;
    const struct sim_set put = {.directory = to_directory, .name = to_name, .inode = inode};
    const struct sim_set take = {.directory = from_directory, .name = from_name};
    sim_names_change(disk, &put, &take);
    return STATUS_OK;
}

static enum status resize(struct sim_disk *disk, struct sim_inode *inode, uint64_t size)
{
    if (!sim_disk_has_room(disk, inode, size))
        return STATUS_DISK_FULL;
    sim_inode_resize(inode, size);
    return STATUS_OK;
}

/* What an op changes, without its flush. `inode` is that of its file, if any. */
static enum status change(struct sim_disk *disk, struct sim_inode *inode, const struct io_op *op)
{
    switch (op->kind) {
    case IO_KIND_OPEN:
        return create(disk, op->path, false);
    case IO_KIND_WRITE:
    case IO_KIND_WRITE_FLUSH:
        ASSERT(op->wanted == 0 || sim_blob_is(blob_of(op), op->buffer, op->wanted));
        if (!sim_disk_has_room(disk, inode, op->offset + op->wanted))
            return STATUS_DISK_FULL;
        sim_inode_write_blob(inode, op->offset, blob_of(op), op->wanted);
        return STATUS_OK;
    case IO_KIND_ALLOCATE:
        return inode->now.size < op->wanted ? resize(disk, inode, op->wanted) : STATUS_OK;
    case IO_KIND_TRUNCATE:
        return resize(disk, inode, op->wanted);
    case IO_KIND_RENAME:
        return rename_name(disk, op->path, op->path_to);
    case IO_KIND_UNLINK:
        return remove_name(disk, op->path, false);
    case IO_KIND_LINK:
        return link_name(disk, op->path, op->path_to);
    case IO_KIND_MAKE_DIRECTORY:
        return create(disk, op->path, true);
    case IO_KIND_REMOVE_DIRECTORY:
        return remove_name(disk, op->path, true);
    default:
        UNREACHABLE();
    }
}

void sim_io_absorb(struct sim_io *sim, struct sim_disk *disk)
{
    LIST_EACH(link, &sim->in_flight)
    {
        struct io_op *op = LIST_ENTRY(link, struct io_op, link);
        if (!is_change(op))
            continue;
        struct sim_inode *inode = op->file != NULL ? op->file->inode : NULL;
        if (inode != NULL && disk != sim->disk)
            inode = inode->twin;
        /* One that would have been refused changes nothing. */
        enum status status = change(disk, inode, op);
        (void)status;
    }
}

/* ---- Carrying out ---- */

/* The status of a step that was carried out: power may have failed with it. */
static enum status step(struct sim_disk *disk)
{
    sim_disk_step(disk);
    return disk->crashed ? STATUS_IO_ERROR : STATUS_OK;
}

static enum status flush(struct sim_disk *disk, struct io_op *op)
{
    const struct sim_fault *fault = sim_disk_meet(disk, IO_KIND_FLUSH, path_of(op), NULL, false);
    if (fault != NULL) {
        sim_inode_flush_failing(op->file->inode, &disk->generator);
        op->error_number = fault->error_number;
        return STATUS_IO_ERROR;
    }
    sim_inode_flush(op->file->inode);
    return step(disk);
}

/* A write that fails may have written any of its sectors. */
static void write_partly(struct sim_disk *disk, const struct io_op *op)
{
    for (uint64_t at = 0; at < op->wanted; at += sim_sector_size) {
        uint64_t size = op->wanted - at < sim_sector_size ? op->wanted - at : sim_sector_size;
        if (generator_chance(&disk->generator, 1, 2) &&
            sim_disk_has_room(disk, op->file->inode, op->offset + at + size))
            sim_inode_write(op->file->inode, op->offset + at, op->buffer + at, size);
    }
}

static enum status write_file(struct sim_disk *disk, struct io_op *op)
{
    const struct sim_fault *fault = sim_disk_meet(disk, IO_KIND_WRITE, path_of(op), NULL, false);
    enum status status = STATUS_OK;
    if (fault != NULL && fault->effect == SIM_FAIL) {
        write_partly(disk, op);
        op->error_number = fault->error_number;
        return fault->status;
    }
    if (fault != NULL && fault->effect == SIM_MISDIRECT)
        sim_inode_write(op->file->inode, fault->other_offset, op->buffer, op->wanted);
    else if (fault == NULL)
        status = change(disk, op->file->inode, op);
    if (status != STATUS_OK)
        return status;
    op->size = op->wanted;
    return step(disk);
}

static enum status read_file(struct sim_disk *disk, struct io_file *file, void *to, size_t size,
                             uint64_t offset, uint64_t *read_size, int *error_number)
{
    const struct sim_fault *fault = sim_disk_meet(disk, IO_KIND_READ, file->path, NULL, false);
    if (fault != NULL && fault->effect == SIM_FAIL) {
        *error_number = fault->error_number;
        return fault->status;
    }
    if (fault != NULL)
        offset = fault->other_offset;
    *read_size = sim_content_read(&file->inode->now, offset, to, size);
    return STATUS_OK;
}

static enum status open_file(struct sim_disk *disk, struct io_op *op)
{
    if ((op->flags & IO_CREATE) != 0) {
        enum status status = change(disk, NULL, op);
        if (status == STATUS_OK)
            status = step(disk);
        if (status != STATUS_OK)
            return status;
    }
    struct sim_inode *inode = sim_path_find(disk, op->path);
    if (inode == NULL)
        return sim_path_miss(disk, op->path);
    if (inode->is_directory)
        return STATUS_IO_ERROR;
    op->file = file_open(disk, inode, op->path, op->flags);
    return STATUS_OK;
}

static enum status flush_directory(struct sim_disk *disk, const struct io_op *op)
{
    struct sim_inode *directory = sim_path_find(disk, op->path);
    if (directory == NULL)
        return sim_path_miss(disk, op->path);
    if (!directory->is_directory)
        return STATUS_IO_ERROR;
    sim_names_flush(disk, directory);
    return step(disk);
}

/* Ops other than writes and flushes, which meet their faults by the part. */
static enum status carry_out_plain(struct sim_disk *disk, struct io_op *op)
{
    const struct sim_fault *fault;
    if (op->kind == IO_KIND_READ)
        return read_file(disk, op->file, op->buffer, op->wanted, op->offset, &op->size,
                         &op->error_number);
    fault = sim_disk_meet(disk, op->kind, path_of(op), op->path_to, false);
    if (fault != NULL) {
        op->error_number = fault->error_number;
        return op->kind == IO_KIND_FLUSH_DIRECTORY || op->kind == IO_KIND_WRITE_BACK
                   ? STATUS_IO_ERROR
                   : fault->status;
    }
    enum status status;
    switch (op->kind) {
    case IO_KIND_OPEN:
        return open_file(disk, op);
    case IO_KIND_CLOSE:
    case IO_KIND_WRITE_BACK: /* what is not flushed may be on the disk at any time anyhow */
        return STATUS_OK;
    case IO_KIND_FILE_SIZE:
        op->size = op->file->inode->now.size;
        return STATUS_OK;
    case IO_KIND_FLUSH_DIRECTORY:
        return flush_directory(disk, op);
    default:
        status = change(disk, op->file != NULL ? op->file->inode : NULL, op);
        return status == STATUS_OK ? step(disk) : status;
    }
}

static enum status carry_out(struct sim_io *sim, struct io_op *op)
{
    struct sim_disk *disk = sim->disk;
    enum status status;
    if (is_off(sim) || (op->file != NULL && op->kind != IO_KIND_OPEN && op->file->inode == NULL))
        return STATUS_IO_ERROR;
    switch (op->kind) {
    case IO_KIND_WRITE:
        return write_file(disk, op);
    case IO_KIND_FLUSH:
        return flush(disk, op);
    case IO_KIND_WRITE_FLUSH:
        status = write_file(disk, op);
        return status == STATUS_OK ? flush(disk, op) : status;
    default:
        return carry_out_plain(disk, op);
    }
}

static void complete(struct sim_io *sim, struct io_op *op)
{
    list_remove(&op->link);
    struct io_file *file = op->kind != IO_KIND_OPEN ? op->file : NULL;
    op->error_number = 0;
    enum status status = carry_out(sim, op);
    if (status != STATUS_OK && op->error_number == 0)
        op->error_number = errno_of(status);
    op->status = status;
    if (file != NULL)
        file->under_way--;
    if (op->kind == IO_KIND_CLOSE) {
        sim_file_free(sim->disk, file);
        op->file = NULL;
    }
    sim_blob_release(blob_of(op));
    op->pending = false;
    sim->io.pending_count--;
    if (op->done != NULL)
        op->done(op);
}

/* ---- The table of io.h ---- */

static void check_transfer(const struct io_op *op)
{
    const struct io_file *file = op->file;
    ASSERT(file != NULL);
    ASSERT((file->flags & (op->kind == IO_KIND_READ ? IO_READ : IO_WRITE)) != 0);
    if ((file->flags & IO_DIRECT) != 0) {
        ASSERT((uintptr_t)op->buffer % io_alignment == 0);
        ASSERT(op->wanted % io_alignment == 0);
        ASSERT(op->offset % io_alignment == 0);
    }
}

static void submit(struct io *io, struct io_op *op)
{
    struct sim_io *sim = sim_of(io);
    struct sim_disk *disk = sim->disk;
    const struct sim_fault *slow = NULL;
    memset(op->private_words, 0, sizeof op->private_words);
    if (op->file != NULL) {
        ASSERT(op->kind != IO_KIND_CLOSE || op->file->under_way == 0);
        op->file->under_way++;
        op->path = op->path_to = NULL;
    }
    if (op->kind == IO_KIND_READ || op->kind == IO_KIND_WRITE || op->kind == IO_KIND_WRITE_FLUSH)
        check_transfer(op);
    if ((op->kind == IO_KIND_WRITE || op->kind == IO_KIND_WRITE_FLUSH) && op->wanted != 0)
        op->private_words[WORD_BLOB] = (uintptr_t)sim_blob_create(op->buffer, op->wanted);
    uint64_t due_ns = disk->now_ns;
    if (!is_off(sim)) {
        bool is_slow = disk->now_ns < disk->slow_until_ns;
        uint64_t min_ns = is_slow ? disk->slow_min_ns : latency_min_ns;
        uint64_t max_ns = is_slow ? disk->slow_max_ns : latency_max_ns;
        due_ns += disk->in_order ? min_ns : generator_between(&disk->generator, min_ns, max_ns);
        slow = sim_disk_meet(disk, op->kind, path_of(op), op->path_to, true);
    }
    op->private_words[WORD_DUE] = due_ns + (slow != NULL ? slow->delay_ns : 0);
    op->private_words[WORD_SEQUENCE] = ++disk->sequence;
    list_push_last(&sim->in_flight, &op->link);
}

void sim_io_hurry(struct sim_io *sim)
{
    uint64_t latest_ns = sim->disk->now_ns + latency_max_ns;
    LIST_EACH(link, &sim->in_flight)
    {
        struct io_op *op = LIST_ENTRY(link, struct io_op, link);
        if (op->private_words[WORD_DUE] > latest_ns)
            op->private_words[WORD_DUE] = latest_ns;
    }
}

/* The op that completes first. */
static struct io_op *next_op(const struct sim_io *sim)
{
    struct io_op *next = NULL;
    LIST_EACH(link, &sim->in_flight)
    {
        struct io_op *op = LIST_ENTRY(link, struct io_op, link);
        if (next == NULL || op->private_words[WORD_DUE] < next->private_words[WORD_DUE])
            next = op;
    }
    return next;
}

uint64_t sim_io_next_ns(const struct sim_io *sim)
{
    uint64_t next_ns = sim_disk_now_of_boot_ns(sim->disk, timers_deadline_ns(&sim->timers));
    const struct io_op *op = next_op(sim);
    if (op != NULL && op->private_words[WORD_DUE] < next_ns)
        next_ns = op->private_words[WORD_DUE];
    if (op != NULL && is_off(sim))
        return 0;
    LIST_EACH(link, &sim->bells)
    {
        if (LIST_ENTRY(link, struct sim_bell, link)->rung)
            return 0;
    }
    return next_ns;
}

/* A callback may close any bell, so each search begins anew. */
static void ring_due(struct sim_io *sim)
{
    LIST_EACH(link, &sim->bells)
    {
        struct sim_bell *bell = LIST_ENTRY(link, struct sim_bell, link);
        bell->due = bell->rung;
        bell->rung = false;
    }
    for (struct list_link *link = sim->bells.next; link != &sim->bells;) {
        struct sim_bell *bell = LIST_ENTRY(link, struct sim_bell, link);
        link = link->next;
        if (bell->due) {
            bell->due = false;
            bell->bell->rung(bell->bell);
            link = sim->bells.next;
        }
    }
}

static void turn(struct io *io, bool wait)
{
    struct sim_io *sim = sim_of(io);
    struct sim_disk *disk = sim->disk;
    uint64_t sequence_last = disk->sequence;
    uint64_t next_ns = sim_io_next_ns(sim);
    disk->now_ns += tick_ns;
    if (wait) {
        ASSERT(next_ns != UINT64_MAX); /* else this thread would sleep for ever */
        if (disk->now_ns < next_ns)
            disk->now_ns = next_ns;
    }
    struct io_op *op;
    while ((op = next_op(sim)) != NULL) {
        bool is_due = is_off(sim) || op->private_words[WORD_DUE] <= disk->now_ns;
        if (!is_due || op->private_words[WORD_SEQUENCE] > sequence_last)
            break;
        complete(sim, op);
    }
    ring_due(sim);
    timers_fire(&sim->timers, sim_disk_boot_ns(disk));
}

static enum status read_now(struct io *io, struct io_file *file, void *to, size_t size,
                            uint64_t offset, size_t *read_size)
{
    struct sim_io *sim = sim_of(io);
    uint64_t got = 0;
    int error_number;
    if (is_off(sim) || file->inode == NULL)
        return STATUS_IO_ERROR;
    ASSERT((file->flags & IO_READ) != 0);
    if ((file->flags & IO_DIRECT) != 0 ||
        !generator_chance(&sim->disk->generator, sim->disk->cached_percent, 100))
        return STATUS_AGAIN;
    enum status status = read_file(sim->disk, file, to, size, offset, &got, &error_number);
    *read_size = got;
    return status == STATUS_OK ? STATUS_OK : STATUS_IO_ERROR;
}

/* In an order of its own each time. */
static enum status list(struct io *io, const char *path, io_list_fn *each, void *context)
{
    struct sim_io *sim = sim_of(io);
    if (is_off(sim))
        return STATUS_IO_ERROR;
    const struct sim_inode *directory = sim_path_find(sim->disk, path);
    if (directory == NULL)
        return sim_path_miss(sim->disk, path);
    if (!directory->is_directory)
        return STATUS_IO_ERROR;
    size_t count = directory->now_entries.count;
    if (count == 0)
        return STATUS_OK;
    size_t *order = malloc(count * sizeof *order);
    ASSERT(order != NULL);
    for (size_t i = 0; i < count; i++) {
        size_t other = generator_below(&sim->disk->generator, i + 1);
        order[i] = i;
        order[i] = order[other];
        order[other] = i;
    }
    for (size_t i = 0; i < count; i++) {
        const struct sim_entry *entry = &directory->now_entries.entries[order[i]];
        each(context, entry->name, entry->inode->is_directory);
    }
    free(order);
    return STATUS_OK;
}

static enum status space(struct io *io, const char *path, struct io_space *result)
{
    struct sim_io *sim = sim_of(io);
    if (is_off(sim))
        return STATUS_IO_ERROR;
    if (sim_path_find(sim->disk, path) == NULL)
        return STATUS_NOT_FOUND;
    uint64_t used = sim_disk_used(sim->disk);
    result->total_size = sim->disk->capacity_size;
    result->free_size = used < result->total_size ? result->total_size - used : 0;
    return STATUS_OK;
}

static enum status lock(struct io *io, const char *path, struct io_file **result)
{
    struct sim_io *sim = sim_of(io);
    struct sim_disk *disk = sim->disk;
    if (is_off(sim))
        return STATUS_IO_ERROR;
    enum status status = create(disk, path, false);
    if (status == STATUS_OK)
        status = step(disk);
    if (status != STATUS_OK && status != STATUS_ALREADY_EXISTS)
        return status;
    struct sim_inode *inode = sim_path_find(disk, path);
    if (inode->is_directory)
        return STATUS_IO_ERROR;
    if (inode->is_locked)
        return STATUS_LOCKED;
    inode->is_locked = true;
    *result = file_open(disk, inode, path, IO_READ | IO_WRITE);
    (*result)->is_lock = true;
    return STATUS_OK;
}

static uint64_t boot_ns(struct io *io)
{
    return sim_disk_boot_ns(sim_of(io)->disk);
}

static uint64_t wall_ns(struct io *io)
{
    const struct sim_disk *disk = sim_of(io)->disk;
    return sim_disk_boot_ns(disk) + wall_minus_boot_ns + (uint64_t)disk->wall_error_ns;
}

static enum status bell_open(struct io *io, struct io_bell *io_bell)
{
    struct sim_bell *bell = calloc(1, sizeof *bell);
    ASSERT(bell != NULL);
    bell->bell = io_bell;
    io_bell->private_pointer = bell;
    list_push_last(&sim_of(io)->bells, &bell->link);
    return STATUS_OK;
}

static void bell_ring(struct io_bell *io_bell)
{
    ((struct sim_bell *)io_bell->private_pointer)->rung = true;
}

static void bell_close(struct io *io, struct io_bell *io_bell)
{
    struct sim_bell *bell = io_bell->private_pointer;
    (void)io;
    if (bell == NULL)
        return;
    list_remove(&bell->link);
    free(bell);
}

static void timer_start(struct io *io, struct io_timer *timer)
{
    timers_start(&sim_of(io)->timers, timer);
}

static void timer_stop(struct io *io, struct io_timer *timer)
{
    timers_stop(&sim_of(io)->timers, timer);
}

static const struct io_operations operations = {
    .submit = submit,
    .read_now = read_now,
    .list = list,
    .space = space,
    .lock = lock,
    .boot_ns = boot_ns,
    .wall_ns = wall_ns,
    .bell_open = bell_open,
    .bell_ring = bell_ring,
    .bell_close = bell_close,
    .timer_start = timer_start,
    .timer_stop = timer_stop,
    .turn = turn,
};

struct sim_io *sim_io_create(struct sim_disk *disk)
{
    struct sim_io *sim = calloc(1, sizeof *sim);
    ASSERT(sim != NULL);
    sim->io.operations = &operations;
    sim->disk = disk;
    list_init(&sim->in_flight);
    list_init(&sim->bells);
    list_push_last(&disk->ios, &sim->link);
    return sim;
}

void sim_io_destroy(struct sim_io *sim)
{
    LIST_EACH(link, &sim->bells)
    {
        struct sim_bell *bell = LIST_ENTRY(link, struct sim_bell, link);
        list_remove(&bell->link);
        free(bell);
    }
    list_remove(&sim->link);
    free(sim);
}
