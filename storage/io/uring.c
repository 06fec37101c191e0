/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/io/uring.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/assert.h"
#include "storage/io/file_mode.h"
#include "storage/io/uring_internal.h"

enum { entries_default = 1024, completions_per_entry = 4, receive_buffers_max = 1 << 15 };

enum { kernel_major = 6, kernel_minor = 1 };

/* An open bell. It outlives the io_bell where the kernel still reads its descriptor. */
struct uring_bell {
    struct io_op op;
    struct io_bell *bell; /* NULL: closed, to be freed when the read has ended */
    int descriptor;       /* an eventfd, which a read on the ring empties */
    uint64_t counter;     /* what was read: of no interest */
    atomic_bool rung;     /* since the owner last woke: further rings need no system call */
};

enum status uring_status_of(int error_number)
{
    switch (error_number) {
    case 0:
        return STATUS_OK;
    case ENOENT:
        return STATUS_NOT_FOUND;
    case EEXIST:
        return STATUS_ALREADY_EXISTS;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return STATUS_DISK_FULL;
    case EACCES:
    case EPERM:
        return STATUS_FORBIDDEN;
    case ENOMEM:
        return STATUS_NO_MEMORY;
    default:
        return STATUS_IO_ERROR;
    }
}

/* ---- Submission ---- */

bool uring_room(struct uring *uring, unsigned count)
{
    if (io_uring_sq_space_left(&uring->ring) >= count)
        return true;
    /* Whatever keeps the kernel from taking entries now (memory, a full completion queue) shows as
     * there being no room: the op waits for a later turn. */
    (void)io_uring_submit(&uring->ring);
    return io_uring_sq_space_left(&uring->ring) >= count;
}

struct io_uring_sqe *uring_entry(struct uring *uring, struct io_op *op, bool second)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&uring->ring);
    ASSERT(entry != NULL);
    io_uring_sqe_set_data64(entry, (uint64_t)(uintptr_t)op | second);
    return entry;
}

static bool prepare(struct uring *uring, struct io_op *op)
{
    if (op->kind < IO_KIND_END)
        return uring_file_prepare(uring, op);
    if (op->kind != URING_KIND_BELL)
        return uring_socket_prepare(uring, op);
    if (!uring_room(uring, 1))
        return false;
    struct uring_bell *bell = op->context;
    io_uring_prep_read(uring_entry(uring, op, false), bell->descriptor, &bell->counter,
                       sizeof bell->counter, 0);
    return true;
}

void uring_start(struct uring *uring, struct io_op *op)
{
    if (!list_is_empty(&uring->backlog) || !prepare(uring, op))
        list_push_last(&uring->backlog, &op->link);
}

static void start_backlog(struct uring *uring)
{
    struct list_link *link;
    while ((link = list_first(&uring->backlog)) != NULL) {
        if (!prepare(uring, LIST_ENTRY(link, struct io_op, link)))
            return;
        list_remove(link);
    }
}

void uring_done(struct uring *uring, struct io_op *op, enum status status, int error_number)
{
    ASSERT(op->pending);
    ASSERT(uring->io.pending_count > 0);
    op->status = status;
    op->error_number = error_number;
    op->pending = false;
    uring->io.pending_count--;
    if (op->done != NULL)
        op->done(op);
}

void uring_done_later(struct uring *uring, struct io_op *op, enum status status, int error_number)
{
    op->status = status;
    op->error_number = error_number;
    list_push_last(&uring->ready, &op->link);
    uring->ready_count++;
}

/* ---- Bells ---- */

static void bell_end(struct uring *uring, struct uring_bell *bell)
{
    close(bell->descriptor);
    free(bell);
    uring->internal_count--;
}

static void bell_complete(struct uring *uring, struct io_op *op, int result)
{
    struct uring_bell *bell = op->context;
    ASSERT(result == sizeof bell->counter || result == -EINTR || result == -EAGAIN);
    if (bell->bell == NULL) {
        bell_end(uring, bell);
        return;
    }
    /* The flag falls before the owner looks at what was sent: a sender that comes after the look
     * finds it fallen, and rings. */
    bool rung = atomic_exchange(&bell->rung, false);
    uring_start(uring, op);
    if (rung)
        bell->bell->rung(bell->bell);
}

static enum status bell_open(struct io *io, struct io_bell *io_bell)
{
    struct uring *uring = (struct uring *)io;
    struct uring_bell *bell = calloc(1, sizeof *bell);
    if (bell == NULL)
        return STATUS_NO_MEMORY;
    bell->descriptor = eventfd(0, EFD_CLOEXEC);
    if (bell->descriptor < 0) {
        enum status status = uring_status_of(errno);
        free(bell);
        return status;
    }
    bell->bell = io_bell;
    bell->op.kind = URING_KIND_BELL;
    bell->op.context = bell;
    list_init(&bell->op.link);
    io_bell->private_pointer = bell;
    uring->internal_count++;
    uring_start(uring, &bell->op);
    return STATUS_OK;
}

static void bell_write(struct uring_bell *bell)
{
    const uint64_t one = 1;
    ssize_t written;
    do
        written = write(bell->descriptor, &one, sizeof one);
    while (written < 0 && errno == EINTR);
    ASSERT(written == sizeof one);
}

static void bell_ring(struct io_bell *io_bell)
{
    struct uring_bell *bell = io_bell->private_pointer;
    if (!atomic_exchange(&bell->rung, true))
        bell_write(bell);
}

/* Ends the read under way by satisfying it. The bell's memory goes with that completion. */
static void bell_close(struct io *io, struct io_bell *io_bell)
{
    (void)io;
    struct uring_bell *bell = io_bell->private_pointer;
    if (bell == NULL)
        return;
    bell->bell = NULL;
    bell_write(bell);
}

/* ---- Time ---- */

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec time;
    ASSERT(clock_gettime(clock, &time) == 0);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static uint64_t boot_ns(struct io *io)
{
    (void)io;
    return clock_ns(CLOCK_BOOTTIME);
}

static uint64_t wall_ns(struct io *io)
{
    (void)io;
    return clock_ns(CLOCK_REALTIME);
}

static void timer_start(struct io *io, struct io_timer *timer)
{
    timers_start(&((struct uring *)io)->timers, timer);
}

static void timer_stop(struct io *io, struct io_timer *timer)
{
    timers_stop(&((struct uring *)io)->timers, timer);
}

/* ---- The turn ---- */

/* Whether the kernel has something to do for us that only an enter lets it do. */
static bool needs_enter(const struct uring *uring)
{
    unsigned flags = IO_URING_READ_ONCE(*uring->ring.sq.kflags);
    return io_uring_sq_ready(&uring->ring) != 0 ||
           (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

/* One system call at most: submits, and sleeps where asked, to the next timer at the latest. */
static void enter(struct uring *uring, bool sleep)
{
    struct __kernel_timespec timeout;
    struct __kernel_timespec *timeout_or_null = NULL;
    uint64_t deadline_ns = timers_deadline_ns(&uring->timers);
    if (sleep && deadline_ns != UINT64_MAX) {
        uint64_t now_ns = boot_ns(&uring->io);
        uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
        timeout.tv_sec = (long long)(left_ns / 1000000000u);
        timeout.tv_nsec = (long long)(left_ns % 1000000000u);
        timeout_or_null = &timeout;
        sleep = left_ns != 0;
    }
    int result = 0;
    struct io_uring_cqe *completion;
    if (sleep)
        result =
            io_uring_submit_and_wait_timeout(&uring->ring, &completion, 1, timeout_or_null, NULL);
    else if (needs_enter(uring))
        result = io_uring_submit_and_get_events(&uring->ring);
    /* Time out, a signal, and a kernel short of memory or of room for completions all end the wait;
     * what was not submitted stays queued for the next turn. */
    ASSERT(result >= 0 || result == -ETIME || result == -EINTR || result == -EAGAIN ||
           result == -EBUSY);
}

static void complete(struct uring *uring, uint64_t user_data, int result, uint32_t flags)
{
    struct io_op *op = (struct io_op *)(uintptr_t)(user_data & ~UINT64_C(1));
    if (op->kind < IO_KIND_END)
        uring_file_complete(uring, op, (user_data & 1) != 0, result);
    else if (op->kind == URING_KIND_BELL)
        bell_complete(uring, op, result);
    else
        uring_socket_complete(uring, op, result, flags);
}

/* Takes each completion off the ring before its callback runs, so that a callback may itself turn
 * and find the rest. */
static void dispatch(struct uring *uring)
{
    for (unsigned left = io_uring_cq_ready(&uring->ring); left > 0; left--) {
        struct io_uring_cqe *completion;
        if (io_uring_peek_cqe(&uring->ring, &completion) != 0)
            break;
        uint64_t user_data = completion->user_data;
        int result = completion->res;
        uint32_t flags = completion->flags;
        io_uring_cqe_seen(&uring->ring, completion);
        complete(uring, user_data, result, flags);
    }
    for (uint64_t left = uring->ready_count; left > 0 && uring->ready_count > 0; left--) {
        struct io_op *op = LIST_ENTRY(list_pop_first(&uring->ready), struct io_op, link);
        uring->ready_count--;
        uring_done(uring, op, op->status, op->error_number);
    }
}

static void turn(struct io *io, bool wait)
{
    struct uring *uring = (struct uring *)io;
    start_backlog(uring);
    enter(uring, wait && uring->ready_count == 0 && list_is_empty(&uring->backlog));
    dispatch(uring);
    if (uring->timers.first != NULL)
        timers_fire(&uring->timers, boot_ns(io));
}

static const struct io_operations operations = {
    .submit = uring_file_submit,
    .read_now = uring_file_read_now,
    .list = uring_file_list,
    .space = uring_file_space,
    .file_mode = file_mode_of_system,
    .lock = uring_file_lock,
    .boot_ns = boot_ns,
    .wall_ns = wall_ns,
    .bell_open = bell_open,
    .bell_ring = bell_ring,
    .bell_close = bell_close,
    .timer_start = timer_start,
    .timer_stop = timer_stop,
    .turn = turn,
};

/* ---- Opening and closing ---- */

static enum status check_kernel(struct error *error)
{
    struct utsname system;
    int major = 0;
    int minor = 0;
    if (uname(&system) < 0 || sscanf(system.release, "%d.%d", &major, &minor) != 2)
        return error_set(error, STATUS_UNSUPPORTED, "Cannot tell the version of the kernel.");
    if (major > kernel_major || (major == kernel_major && minor >= kernel_minor))
        return STATUS_OK;
    return error_set(error, STATUS_UNSUPPORTED,
                     "Linux %d.%d or newer is required for io_uring; this is %s. Upgrade the "
                     "kernel.",
                     kernel_major, kernel_minor, system.release);
}

static enum status explain(int error_number, struct error *error)
{
    switch (error_number) {
    case EPERM:
    case EACCES:
        return error_set(error, STATUS_FORBIDDEN,
                         "The system forbids io_uring (%s). Set the sysctl "
                         "kernel.io_uring_disabled to 0 (or to 1, and the group of "
                         "kernel.io_uring_group to one of this user's); in a container, use a "
                         "seccomp profile that allows io_uring_setup, io_uring_enter and "
                         "io_uring_register.",
                         strerror(error_number));
    case ENOSYS:
        return error_set(error, STATUS_FORBIDDEN,
                         "The system has no io_uring (ENOSYS). In a container or sandbox, use a "
                         "seccomp profile or runtime that allows io_uring_setup, io_uring_enter "
                         "and io_uring_register; otherwise run a kernel built with "
                         "CONFIG_IO_URING.");
    case EINVAL:
        return error_set(error, STATUS_UNSUPPORTED,
                         "The kernel's io_uring lacks what is needed. Run Linux %d.%d or newer.",
                         kernel_major, kernel_minor);
    case ENOMEM:
        return error_set(error, STATUS_NO_MEMORY,
                         "No memory for io_uring. Free memory, or raise the limit of locked memory "
                         "(ulimit -l, or LimitMEMLOCK= of the service).");
    case EMFILE:
    case ENFILE:
        return error_set(error, STATUS_IO_ERROR,
                         "Too many open files. Raise the limit (ulimit -n, or LimitNOFILE= of the "
                         "service).");
    default:
        return error_set(error, STATUS_IO_ERROR, "Cannot set up io_uring: %s.",
                         strerror(error_number));
    }
}

static void buffers_release(struct uring *uring)
{
    if (uring->buffer_ring != NULL)
        munmap(uring->buffer_ring, uring->buffer_ring_size);
    if (uring->buffers != NULL)
        munmap(uring->buffers, uring->buffers_size);
}

/* Returns an errno. */
static int buffers_lend(struct uring *uring)
{
    unsigned count = uring->receive_buffers_count;
    uring->buffer_ring_size = count * sizeof(struct io_uring_buf);
    uring->buffers_size = (size_t)count * uring->receive_buffer_size;
    void *ring = mmap(NULL, uring->buffer_ring_size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (ring == MAP_FAILED)
        return errno;
    uring->buffer_ring = ring;
    void *buffers =
        mmap(NULL, uring->buffers_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buffers == MAP_FAILED)
        return errno;
    uring->buffers = buffers;
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)ring,
        .ring_entries = count,
        .bgid = 0,
    };
    int result = io_uring_register_buf_ring(&uring->ring, &registration, 0);
    if (result < 0)
        return -result;
    io_uring_buf_ring_init(uring->buffer_ring);
    for (unsigned i = 0; i < count; i++)
        io_uring_buf_ring_add(
            uring->buffer_ring, uring->buffers + (size_t)i * uring->receive_buffer_size,
            uring->receive_buffer_size, (unsigned short)i, io_uring_buf_ring_mask(count), (int)i);
    io_uring_buf_ring_advance(uring->buffer_ring, (int)count);
    return 0;
}

static int ring_open(struct uring *uring, unsigned entries)
{
    struct io_uring_params parameters = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE |
                 IORING_SETUP_CLAMP,
        .cq_entries = entries * completions_per_entry,
    };
    int result = io_uring_queue_init_params(entries, &uring->ring, &parameters);
    if (result < 0)
        return -result;
    const unsigned needed = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP;
    if ((parameters.features & needed) != needed) {
        io_uring_queue_exit(&uring->ring);
        return EINVAL;
    }
    /* Saves looking the descriptor up on each enter; where it fails, that is all that is lost. */
    (void)io_uring_register_ring_fd(&uring->ring);
    return 0;
}

enum status io_uring_open(const struct io_uring_options *options, struct io **io,
                          struct error *error)
{
    *io = NULL;
    unsigned entries = options->entries != 0 ? options->entries : entries_default;
    unsigned count = options->receive_buffers_count;
    ASSERT(entries >= 2);
    ASSERT(count <= receive_buffers_max);
    ASSERT((count == 0) == (options->receive_buffer_size == 0));
    enum status status = check_kernel(error);
    if (status != STATUS_OK)
        return status;
    struct uring *uring = calloc(1, sizeof *uring);
    if (uring == NULL)
        return explain(ENOMEM, error);
    uring->io.operations = &operations;
    list_init(&uring->backlog);
    list_init(&uring->ready);
    int error_number = ring_open(uring, entries);
    if (error_number != 0) {
        free(uring);
        return explain(error_number, error);
    }
    if (count != 0) {
        uring->receive_buffers_count = 1;
        while (uring->receive_buffers_count < count)
            uring->receive_buffers_count *= 2;
        uring->receive_buffer_size = options->receive_buffer_size;
        error_number = buffers_lend(uring);
    }
    if (error_number != 0) {
        io_uring_queue_exit(&uring->ring);
        buffers_release(uring);
        free(uring);
        return explain(error_number, error);
    }
    *io = &uring->io;
    return STATUS_OK;
}

void io_uring_close(struct io *io)
{
    struct uring *uring = (struct uring *)io;
    ASSERT(io->pending_count == 0);
    while (uring->internal_count > 0)
        turn(io, true);
    io_uring_queue_exit(&uring->ring);
    buffers_release(uring);
    free(uring);
}
