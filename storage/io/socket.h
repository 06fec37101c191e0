/* SPDX-License-Identifier: Apache-2.0 */
/* TCP sockets on the thread's ring (uring.h). An idle connection holds no buffer: receives draw
 * from a ring of buffers that all sockets of the thread share.
 *
 * Conventions of io.h hold. A callback may close its own socket or any other. */
#ifndef STORAGE_IO_SOCKET_H
#define STORAGE_IO_SOCKET_H

#include "storage/io/io.h"

struct io_listener;
struct io_socket;

enum { io_address_text_size = 64 };

/* "192.0.2.1:7000", "[2001:db8::1]:7000". */
struct io_address {
    char text[io_address_text_size];
};

/* A new connection (NODELAY set), owned by the callee, or NULL with the reason where accepting
 * failed (IO_ERROR: out of descriptors; accepting goes on by itself after a back-off). */
typedef void io_accepted_fn(void *context, struct io_socket *socket, enum status status);

/* Bytes came: valid during the call only. `size` 0: the peer closed its side (status OK) or the
 * connection broke (DISCONNECTED); no further call comes. */
typedef void io_received_fn(void *context, const uint8_t *data, size_t size, enum status status);

/* `host` is a numeric address; `port` 0 lets the system choose. Blocking, for start-up: a port that
 * is taken is looked at for 3 s before it is LOCKED; what pends on the io goes on meanwhile.
 * `error` names the address and what to change. */
MUST_CHECK enum status io_listen(struct io *io, const char *host, uint16_t port,
                                 io_accepted_fn *accepted, void *context,
                                 struct io_listener **listener, struct error *error);

/* Accepts from the port of another thread's listener, beside it; that one stays open until this
 * returns. */
MUST_CHECK enum status io_listen_beside(struct io *io, const struct io_listener *other,
                                        io_accepted_fn *accepted, void *context,
                                        struct io_listener **listener, struct error *error);
uint16_t io_listener_port(const struct io_listener *listener);
void io_listener_close(struct io *io, struct io_listener *listener);

/* Connects to `host`, a numeric address. `*socket` is the caller's at once; `op` is done with OK
 * when it is connected (NODELAY set), with UNREACHABLE and the errno where it cannot be. It has no
 * time limit but the system's, minutes: the caller's timer closes the socket, which ends `op` with
 * DISCONNECTED. Until it is done nothing is sent or received. INVALID_ARGUMENT (no such address),
 * IO_ERROR (out of descriptors), NO_MEMORY: there is no socket, and `op` was not started. */
MUST_CHECK enum status io_connect(struct io *io, const char *host, uint16_t port, struct io_op *op,
                                  struct io_socket **socket);

/* For connections whose peer has to answer soon: the connection breaks where bytes that were sent
 * stay unacknowledged for so long; and a send takes no more than `unsent_size` bytes past what the
 * network has taken, so that what is sent next does not wait behind what is only buffered. */
void io_socket_keep_short(struct io_socket *socket, uint32_t unacknowledged_max_ms,
                          uint32_t unsent_size);

void io_socket_receive_start(struct io_socket *socket, io_received_fn *received, void *context);

/* Stops and goes on: for a connection whose peer does not take its replies. Bytes that the kernel
 * had handed over before the pause are still delivered. */
void io_socket_receive_pause(struct io_socket *socket);
void io_socket_receive_resume(struct io_socket *socket);

/* Sends all of it; one send at a time. The buffer is the io's until op->done: DISCONNECTED where
 * the connection broke. */
void io_socket_send(struct io_socket *socket, struct io_op *op, const void *data, size_t size);

/* Cancels what is under way (a send or connect under way is done, DISCONNECTED, before this frees),
 * closes, and frees. No callback of `receive` comes after this call. */
void io_socket_close(struct io_socket *socket);

struct io_address io_socket_peer(const struct io_socket *socket);

#endif
