/* SPDX-License-Identifier: Apache-2.0 */
/* The real io: one io_uring per thread, for files, sockets, timers and bells alike. Linux 6.1 or
 * newer (SINGLE_ISSUER, DEFER_TASKRUN, provided buffer rings, multishot accept and receive). */
#ifndef STORAGE_IO_URING_H
#define STORAGE_IO_URING_H

#include "storage/io/io.h"

struct io_uring_options {
    unsigned entries;               /* submission queue; 0: 1,024 */
    unsigned receive_buffers_count; /* shared by all sockets of the thread; 0: no sockets here */
    unsigned receive_buffer_size;   /* bytes each */
};

/* `options` is copied; the count of buffers is rounded up to a power of two, 32,768 at most.
 * Makes the calling thread's ring. FORBIDDEN (EPERM, ENOSYS) and UNSUPPORTED (an old kernel) come
 * with text that says what to change: the sysctl kernel.io_uring_disabled, the seccomp profile of
 * the container, the kernel's version. */
MUST_CHECK enum status io_uring_open(const struct io_uring_options *options, struct io **io,
                                     struct error *error);

/* Nothing of a caller may be under way; bells, listeners and sockets were closed. */
void io_uring_close(struct io *io);

#endif
