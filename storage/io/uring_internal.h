/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the io_uring implementation share: uring.c (the ring and its turn),
 * uring_file.c (files), socket.c (sockets).
 *
 * Everything that the kernel works on is an op; a completion's user_data is the op's address, with
 * bit 0 set for the second half of a linked pair. An op is, in turn:
 *   waiting    in `backlog`: the submission queue had no room (uring_start)
 *   submitted  with the kernel: one completion is to come, also of a linked pair
 *   ready      in `ready`: its result was known at once, and is told in the next turn
 *   done       not pending; `done` was called (uring_done)
 * Ops of the ring's own kinds (bells, accepts, receives, cancels) are counted in internal_count,
 * ops of callers in io.pending_count. */
#ifndef STORAGE_IO_URING_INTERNAL_H
#define STORAGE_IO_URING_INTERNAL_H

#include <liburing.h>

#include "storage/io/io.h"
#include "storage/io/timers.h"

struct io_file {
    int descriptor;
    bool direct; /* opened with IO_DIRECT */
};

enum uring_kind {
    URING_KIND_BELL = IO_KIND_END,
    URING_KIND_CONNECT,
    URING_KIND_SEND,
    URING_KIND_RECEIVE,
    URING_KIND_ACCEPT,
    URING_KIND_CANCEL,        /* of a socket's receive or send */
    URING_KIND_ACCEPT_CANCEL, /* of a listener's accept */
    URING_KIND_CLOSE,
};

struct uring {
    struct io io; /* first, so that a struct io is one of these */
    struct io_uring ring;
    struct timers timers;
    struct list_link backlog;
    struct list_link ready;
    uint64_t ready_count;
    uint64_t internal_count;

    /* The receive buffers, lent to the kernel through a ring in shared memory. Buffer i starts at
     * i * receive_buffer_size. NULL where the thread has no sockets. */
    struct io_uring_buf_ring *buffer_ring;
    uint8_t *buffers;
    size_t buffer_ring_size;
    size_t buffers_size;
    unsigned receive_buffers_count; /* a power of two */
    unsigned receive_buffer_size;
};

/* Hands an op to the kernel, now or when there is room. */
void uring_start(struct uring *uring, struct io_op *op);

/* Room for `count` consecutive entries, submitting what is queued to make it. */
bool uring_room(struct uring *uring, unsigned count);

/* The next entry, of which there is room, with the op as its cookie. */
struct io_uring_sqe *uring_entry(struct uring *uring, struct io_op *op, bool second);

/* Ends an op of a caller: calls `done`. `error_number` 0: OK. */
void uring_done(struct uring *uring, struct io_op *op, enum status status, int error_number);

/* The same in the next turn: for results known while submitting. */
void uring_done_later(struct uring *uring, struct io_op *op, enum status status, int error_number);

/* io.h's statuses. */
enum status uring_status_of(int error_number);

/* uring_file.c: the parts of io_operations that concern files, and the two halves of an op. */
void uring_file_submit(struct io *io, struct io_op *op);
bool uring_file_prepare(struct uring *uring, struct io_op *op);
void uring_file_complete(struct uring *uring, struct io_op *op, bool second, int result);
enum status uring_file_read_now(struct io *io, struct io_file *file, void *to, size_t size,
                                uint64_t offset, size_t *read_size);
enum status uring_file_list(struct io *io, const char *path, io_list_fn *each, void *context);
enum status uring_file_space(struct io *io, const char *path, struct io_space *space);
enum status uring_file_lock(struct io *io, const char *path, struct io_file **lock);

/* socket.c: the same for sockets. `flags` are the completion's. */
bool uring_socket_prepare(struct uring *uring, struct io_op *op);
void uring_socket_complete(struct uring *uring, struct io_op *op, int result, uint32_t flags);

#endif
