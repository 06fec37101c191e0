/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/io/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/base/assert.h"
#include "storage/io/blocking.h"
#include "storage/io/uring_internal.h"

enum {
    connections_waiting_max = 4096, /* the kernel cuts it at net.core.somaxconn */
    accept_back_off_ms = 100,
    keep_alive_idle_s = 30,
    keep_alive_interval_s = 10,
    keep_alive_probes = 3,
    unacknowledged_ms = 120000, /* a peer that takes nothing for so long is gone */
    fruitless_max = 128,
    port_taken_look_ms = 20,
    port_taken_looks_max = 150,
};

/* The kernel is handed at most this much at once. */
static const uint64_t send_size_max = 1 << 30;

/* IPv4 or IPv6, as the kernel takes it. */
struct address {
    socklen_t size;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } as;
};

/* What is under way is in flags, each set when the op is started and cleared by its last
 * completion: `receiving`, `pausing` (the receive's cancel), `sending` (or connecting, which comes
 * before all sends and ends as one), `stopping` (its cancel), `closing`. socket_step() starts
 * whatever brings them to what the owner wants:
 *
 *     wanted, not receiving, not ended      receive
 *     receiving, not wanted, not pausing    cancel the receive
 *     closed, sending, not stopping         cancel the send, once
 *     closed, nothing under way             close the descriptor; its completion frees
 *
 * `visits` counts callbacks into the owner that have not returned: nothing is freed below them. */
struct io_socket {
    struct uring *uring;
    int descriptor;
    bool wanted;    /* bytes, by the owner */
    bool ended;     /* the last call of `received` was made */
    bool closed;    /* by the owner: nothing is told any more */
    bool receiving; /* may lag behind `wanted` */
    bool pausing;
    bool stopping;
    bool stopped; /* the send was cancelled before; one cancel is enough */
    bool closing;
    unsigned visits;
    struct io_op *sending; /* the owner's; NULL: none */
    struct io_op receive;
    struct io_op pause;
    struct io_op stop;
    struct io_op close;
    io_received_fn *received;
    void *context;
    struct io_address peer;
    struct address remote; /* where to connect to; unused where it was accepted */
};

/* The same with an accept for the receive. */
struct io_listener {
    struct uring *uring;
    int descriptor;
    uint16_t port;
    bool closed;
    bool accepting;
    bool cancelling;
    unsigned visits;
    struct io_op accept;
    struct io_op cancel;
    struct io_timer back_off;
    io_accepted_fn *accepted;
    void *context;
};

/* ---- Ops ---- */

/* Starts an op of the ring's own. `target` is the op to be cancelled, if any. */
static void start_own(struct uring *uring, struct io_op *op, enum uring_kind kind, void *owner,
                      struct io_op *target)
{
    op->kind = (uint8_t)kind;
    op->context = owner;
    op->private_pointer = target;
    list_init(&op->link);
    uring->internal_count++;
    uring_start(uring, op);
}

static void prepare_send(struct io_uring_sqe *entry, const struct io_op *op)
{
    const struct io_socket *socket = op->private_pointer;
    uint64_t left = op->wanted - op->size;
    /* MSG_WAITALL lets the kernel itself go on where the peer takes a part. */
    io_uring_prep_send(entry, socket->descriptor, op->buffer + op->size,
                       left < send_size_max ? left : send_size_max, MSG_NOSIGNAL | MSG_WAITALL);
}

bool uring_socket_prepare(struct uring *uring, struct io_op *op)
{
    if (!uring_room(uring, 1))
        return false;
    struct io_uring_sqe *entry = uring_entry(uring, op, false);
    switch (op->kind) {
    case URING_KIND_CONNECT: {
        const struct io_socket *socket = op->private_pointer;
        io_uring_prep_connect(entry, socket->descriptor, &socket->remote.as.any,
                              socket->remote.size);
        break;
    }
    case URING_KIND_SEND:
        prepare_send(entry, op);
        break;
    case URING_KIND_RECEIVE:
        io_uring_prep_recv_multishot(entry, ((struct io_socket *)op->context)->descriptor, NULL, 0,
                                     0);
        io_uring_sqe_set_flags(entry, IOSQE_BUFFER_SELECT);
        entry->buf_group = 0;
        break;
    case URING_KIND_ACCEPT:
        io_uring_prep_multishot_accept(entry, ((struct io_listener *)op->context)->descriptor, NULL,
                                       NULL, SOCK_CLOEXEC);
        break;
    case URING_KIND_CANCEL:
    case URING_KIND_ACCEPT_CANCEL:
        io_uring_prep_cancel64(entry, (uint64_t)(uintptr_t)op->private_pointer, 0);
        break;
    case URING_KIND_CLOSE:
        io_uring_prep_close(entry, ((struct io_socket *)op->context)->descriptor);
        break;
    default:
        UNREACHABLE();
    }
    return true;
}

static bool is_transient(int result)
{
    return result == -EINTR || result == -EAGAIN;
}

/* ---- Sockets ---- */

static void socket_step(struct io_socket *socket)
{
    struct uring *uring = socket->uring;
    bool wanted = socket->wanted && !socket->ended && !socket->closed;
    if (wanted && !socket->receiving) {
        socket->receiving = true;
        start_own(uring, &socket->receive, URING_KIND_RECEIVE, socket, NULL);
    }
    if (!wanted && socket->receiving && !socket->pausing) {
        socket->pausing = true;
        start_own(uring, &socket->pause, URING_KIND_CANCEL, socket, &socket->receive);
    }
    if (!socket->closed)
        return;
    if (socket->sending != NULL && !socket->stopped) {
        socket->stopped = socket->stopping = true;
        start_own(uring, &socket->stop, URING_KIND_CANCEL, socket, socket->sending);
    }
    if (!socket->receiving && !socket->pausing && socket->sending == NULL && !socket->stopping &&
        !socket->closing && socket->visits == 0) {
        socket->closing = true;
        start_own(uring, &socket->close, URING_KIND_CLOSE, socket, NULL);
    }
}

/* The last call of `received`. */
static void socket_end(struct io_socket *socket, enum status status)
{
    socket->ended = true;
    if (!socket->closed)
        socket->received(socket->context, NULL, 0, status);
}

static void give_buffer_back(struct uring *uring, unsigned index)
{
    io_uring_buf_ring_add(uring->buffer_ring,
                          uring->buffers + (size_t)index * uring->receive_buffer_size,
                          uring->receive_buffer_size, (unsigned short)index,
                          io_uring_buf_ring_mask(uring->receive_buffers_count), 0);
    io_uring_buf_ring_advance(uring->buffer_ring, 1);
}

static void receive_complete(struct io_socket *socket, int result, uint32_t flags)
{
    struct uring *uring = socket->uring;
    if ((flags & IORING_CQE_F_MORE) == 0) {
        socket->receiving = false;
        uring->internal_count--;
    }
    socket->visits++;
    if ((flags & IORING_CQE_F_BUFFER) != 0) {
        unsigned index = flags >> IORING_CQE_BUFFER_SHIFT;
        ASSERT(index < uring->receive_buffers_count);
        if (result > 0 && !socket->closed)
            socket->received(socket->context,
                             uring->buffers + (size_t)index * uring->receive_buffer_size,
                             (size_t)result, STATUS_OK);
        give_buffer_back(uring, index);
    }
    if (result == 0)
        socket_end(socket, STATUS_OK);
    else if (result < 0 && result != -ENOBUFS && result != -ECANCELED && !is_transient(result))
        socket_end(socket, STATUS_DISCONNECTED);
    /* All else, the want of buffers above all, ends one request and not the stream: it is asked
     * for anew, when what was lent has come back with this turn. */
    socket->visits--;
    socket_step(socket);
}

static void send_end(struct io_socket *socket, enum status status, int error_number)
{
    struct io_op *op = socket->sending;
    socket->sending = NULL;
    socket->visits++;
    uring_done(socket->uring, op, status, error_number);
    socket->visits--;
    socket_step(socket);
}

static void send_complete(struct io_socket *socket, struct io_op *op, int result)
{
    ASSERT(op == socket->sending);
    if (result > 0) {
        op->size += (uint64_t)result;
        op->private_words[0] = 0;
    }
    if (op->size == op->wanted)
        send_end(socket, STATUS_OK, 0);
    else if (socket->closed)
        send_end(socket, STATUS_DISCONNECTED, ECANCELED);
    else if (result < 0 && !is_transient(result))
        send_end(socket, STATUS_DISCONNECTED, -result);
    else if (++op->private_words[0] > fruitless_max)
        send_end(socket, STATUS_DISCONNECTED, EIO);
    else
        uring_start(socket->uring, op);
}

static void connect_complete(struct io_socket *socket, struct io_op *op, int result)
{
    ASSERT(op == socket->sending);
    if (socket->closed)
        send_end(socket, STATUS_DISCONNECTED, ECANCELED);
    else if (result == 0 || result == -EISCONN)
        send_end(socket, STATUS_OK, 0);
    else if (is_transient(result) && ++op->private_words[0] <= fruitless_max)
        uring_start(socket->uring, op);
    else
        send_end(socket, STATUS_UNREACHABLE, -result);
}

static struct io_address address_text(const struct sockaddr_storage *address)
{
    struct io_address result = {0};
    char host[INET6_ADDRSTRLEN] = "?";
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(result.text, sizeof result.text, "%s:%u", host, ntohs(v4->sin_port));
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        snprintf(result.text, sizeof result.text, "[%s]:%u", host, ntohs(v6->sin6_port));
    }
    return result;
}

/* NULL: no memory. */
static struct io_socket *socket_create(struct uring *uring, int descriptor)
{
    struct io_socket *socket = calloc(1, sizeof *socket);
    if (socket == NULL)
        return NULL;
    socket->uring = uring;
    socket->descriptor = descriptor;
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    /* It fails where the peer is gone already, which the first receive will tell. */
    if (getpeername(descriptor, (struct sockaddr *)&address, &size) == 0)
        socket->peer = address_text(&address);
    return socket;
}

void io_socket_receive_start(struct io_socket *socket, io_received_fn *received, void *context)
{
    ASSERT(!socket->closed);
    ASSERT(socket->received == NULL);
    ASSERT(socket->uring->buffers != NULL);
    socket->received = received;
    socket->context = context;
    socket->wanted = true;
    socket_step(socket);
}

void io_socket_receive_pause(struct io_socket *socket)
{
    ASSERT(!socket->closed);
    socket->wanted = false;
    socket_step(socket);
}

void io_socket_receive_resume(struct io_socket *socket)
{
    ASSERT(!socket->closed);
    ASSERT(socket->received != NULL);
    socket->wanted = true;
    socket_step(socket);
}

/* Starts an op of the caller's: a send or a connect. */
static void start_sending(struct io_socket *socket, struct io_op *op, enum uring_kind kind,
                          const void *data, size_t size)
{
    struct uring *uring = socket->uring;
    ASSERT(!socket->closed);
    ASSERT(socket->sending == NULL);
    ASSERT(!op->pending);
    op->kind = (uint8_t)kind;
    op->pending = true;
    op->status = STATUS_OK;
    op->error_number = 0;
    op->size = 0;
    op->buffer = (uint8_t *)(uintptr_t)data;
    op->wanted = size;
    op->private_pointer = socket;
    op->private_words[0] = 0; /* attempts without progress */
    list_init(&op->link);
    uring->io.pending_count++;
    socket->sending = op;
    uring_start(uring, op);
}

void io_socket_send(struct io_socket *socket, struct io_op *op, const void *data, size_t size)
{
    ASSERT(size > 0);
    start_sending(socket, op, URING_KIND_SEND, data, size);
}

void io_socket_close(struct io_socket *socket)
{
    ASSERT(!socket->closed);
    socket->closed = true;
    socket_step(socket);
}

struct io_address io_socket_peer(const struct io_socket *socket)
{
    return socket->peer;
}

/* ---- Listeners ---- */

static void listener_step(struct io_listener *listener)
{
    if (listener->closed && listener->accepting && !listener->cancelling) {
        listener->cancelling = true;
        start_own(listener->uring, &listener->cancel, URING_KIND_ACCEPT_CANCEL, listener,
                  &listener->accept);
    }
    if (!listener->closed && !listener->accepting && !listener->back_off.started) {
        listener->accepting = true;
        start_own(listener->uring, &listener->accept, URING_KIND_ACCEPT, listener, NULL);
    }
    if (listener->closed && !listener->accepting && !listener->cancelling &&
        listener->visits == 0) {
        close(listener->descriptor);
        free(listener);
    }
}

static void back_off_ended(struct io_timer *timer)
{
    listener_step(timer->context);
}

static void accept_failed(struct io_listener *listener, enum status status)
{
    struct io *io = &listener->uring->io;
    io_timer_start(io, &listener->back_off,
                   io_boot_ns(io) + accept_back_off_ms * UINT64_C(1000000));
    listener->accepted(listener->context, NULL, status);
}

static void accept_complete(struct io_listener *listener, int result, uint32_t flags)
{
    struct uring *uring = listener->uring;
    if ((flags & IORING_CQE_F_MORE) == 0) {
        listener->accepting = false;
        uring->internal_count--;
    }
    listener->visits++;
    if (listener->closed) {
        if (result >= 0)
            close(result);
    } else if (result >= 0) {
        struct io_socket *socket = socket_create(uring, result);
        if (socket == NULL) {
            close(result);
            accept_failed(listener, STATUS_NO_MEMORY);
        } else {
            listener->accepted(listener->context, socket, STATUS_OK);
        }
    } else if (!is_transient(result) && result != -ECONNABORTED && result != -ECANCELED) {
        accept_failed(listener, STATUS_IO_ERROR);
    }
    listener->visits--;
    listener_step(listener);
}

/* Accepted sockets inherit these. Returns whether all were set. */
static bool set_options(int descriptor)
{
    const struct {
        int level;
        int name;
        int value;
    } options[] = {
        {SOL_SOCKET, SO_REUSEADDR, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, keep_alive_idle_s},
        {IPPROTO_TCP, TCP_KEEPINTVL, keep_alive_interval_s},
        {IPPROTO_TCP, TCP_KEEPCNT, keep_alive_probes},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, unacknowledged_ms},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        if (setsockopt(descriptor, options[i].level, options[i].name, &options[i].value,
                       sizeof options[i].value) < 0)
            return false;
    return true;
}

/* A numeric address; false for anything else. Looks nothing up, so it does not block. */
static bool read_address(const char *host, uint16_t port, struct address *address)
{
    const struct addrinfo hints = {
        .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
        .ai_socktype = SOCK_STREAM,
    };
    char service[8];
    struct addrinfo *found = NULL;
    *address = (struct address){0};
    snprintf(service, sizeof service, "%u", port);
    if (host[0] == '\0' || getaddrinfo(host, service, &hints, &found) != 0)
        return false;
    bool fits = found->ai_addrlen <= sizeof address->as;
    if (fits) {
        memcpy(&address->as, found->ai_addr, found->ai_addrlen);
        address->size = found->ai_addrlen;
    }
    freeaddrinfo(found);
    return fits;
}

/* ---- Connecting ---- */

enum status io_connect(struct io *io, const char *host, uint16_t port, struct io_op *op,
                       struct io_socket **connecting)
{
    struct address address;
    struct sockaddr_storage remote = {0};
    *connecting = NULL;
    if (!read_address(host, port, &address) || port == 0)
        return STATUS_INVALID_ARGUMENT;
    int descriptor = socket(address.as.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
    if (descriptor < 0)
        return STATUS_IO_ERROR;
    struct io_socket *made =
        set_options(descriptor) ? socket_create((struct uring *)io, descriptor) : NULL;
    if (made == NULL) {
        close(descriptor);
        return STATUS_NO_MEMORY;
    }
    memcpy(&remote, &address.as, address.size);
    made->peer = address_text(&remote);
    made->remote = address;
    start_sending(made, op, URING_KIND_CONNECT, NULL, 0);
    *connecting = made;
    return STATUS_OK;
}

void io_socket_keep_short(struct io_socket *socket, uint32_t unacknowledged_max_ms,
                          uint32_t unsent_size)
{
    ASSERT(!socket->closed);
    /* Both are refused only to a socket whose connection is gone, which its receive tells. */
    (void)setsockopt(socket->descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_max_ms,
                     sizeof unacknowledged_max_ms);
    (void)setsockopt(socket->descriptor, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent_size,
                     sizeof unsent_size);
}

/* ---- Listening ---- */

static enum status explain_listen(const char *host, uint16_t port, int error_number,
                                  struct error *error)
{
    enum status status = STATUS_IO_ERROR;
    const char *advice = "Check the address, and the limits of the system.";
    if (error_number == EADDRINUSE) {
        status = STATUS_LOCKED;
        advice = "Stop the process that listens there, or choose another port.";
    } else if (error_number == EADDRNOTAVAIL) {
        status = STATUS_INVALID_ARGUMENT;
        advice = "Choose an address of this machine.";
    } else if (error_number == EACCES || error_number == EPERM) {
        status = STATUS_FORBIDDEN;
        advice = "Choose a port above 1023, or permit this one (CAP_NET_BIND_SERVICE).";
    }
    return error_set(error, status, "Cannot listen on %s port %u: %s. %s", host, port,
                     strerror(error_number), advice);
}

/* A listening descriptor, or minus an errno. */
static int open_listening(const struct address *address)
{
    int descriptor = socket(address->as.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
    if (descriptor < 0)
        return -errno;
    if (!set_options(descriptor) || bind(descriptor, &address->as.any, address->size) < 0 ||
        listen(descriptor, connections_waiting_max) < 0) {
        int error_number = errno;
        close(descriptor);
        return -error_number;
    }
    return descriptor;
}

/* A process that was killed leaves its port to the kernel's own clean-up of its ring, which goes on
 * for a moment after the process is gone, and of whose end nobody is told. The one that is started
 * in its place looks again until then. */
static int open_listening_patiently(struct io *io, const struct address *address)
{
    int descriptor = open_listening(address);
    for (unsigned i = 0; descriptor == -EADDRINUSE && i < port_taken_looks_max; i++) {
        io_pause_wait(io, port_taken_look_ms * UINT64_C(1000000));
        descriptor = open_listening(address);
    }
    return descriptor;
}

static uint16_t port_of(int descriptor)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    ASSERT(getsockname(descriptor, (struct sockaddr *)&address, &size) == 0);
    if (address.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

/* Takes the descriptor, and begins to accept. */
static enum status listener_open(struct uring *uring, int descriptor, io_accepted_fn *accepted,
                                 void *context, struct io_listener **listener, struct error *error)
{
    struct io_listener *result = calloc(1, sizeof *result);
    if (result == NULL) {
        close(descriptor);
        return error_set(error, STATUS_NO_MEMORY, "No memory to listen.");
    }
    result->uring = uring;
    result->descriptor = descriptor;
    result->port = port_of(descriptor);
    result->accepted = accepted;
    result->context = context;
    result->back_off.fired = back_off_ended;
    result->back_off.context = result;
    *listener = result;
    listener_step(result);
    return STATUS_OK;
}

enum status io_listen(struct io *io, const char *host, uint16_t port, io_accepted_fn *accepted,
                      void *context, struct io_listener **listener, struct error *error)
{
    struct uring *uring = (struct uring *)io;
    struct address address;
    *listener = NULL;
    if (!read_address(host, port, &address))
        return error_set(error, STATUS_INVALID_ARGUMENT,
                         "Cannot listen on \"%s\": not an IPv4 or IPv6 address. Write it in "
                         "numbers, as 127.0.0.1 or ::1.",
                         host);
    int descriptor = open_listening_patiently(io, &address);
    if (descriptor < 0)
        return explain_listen(host, port, -descriptor, error);
    return listener_open(uring, descriptor, accepted, context, listener, error);
}

enum status io_listen_beside(struct io *io, const struct io_listener *other,
                             io_accepted_fn *accepted, void *context, struct io_listener **listener,
                             struct error *error)
{
    *listener = NULL;
    int descriptor = fcntl(other->descriptor, F_DUPFD_CLOEXEC, 0);
    if (descriptor < 0)
        return error_set(error, STATUS_IO_ERROR, "Cannot share port %u: %s.", other->port,
                         strerror(errno));
    return listener_open((struct uring *)io, descriptor, accepted, context, listener, error);
}

uint16_t io_listener_port(const struct io_listener *listener)
{
    return listener->port;
}

void io_listener_close(struct io *io, struct io_listener *listener)
{
    ASSERT(!listener->closed);
    listener->closed = true;
    io_timer_stop(io, &listener->back_off);
    listener_step(listener);
}

/* ---- Completions ---- */

/* Of a cancel nothing is of interest but that it ended: what it met ends by its own completion. */
static void cancel_complete(struct io_socket *socket, const struct io_op *op)
{
    if (op == &socket->pause)
        socket->pausing = false;
    else
        socket->stopping = false;
    socket->uring->internal_count--;
    socket_step(socket);
}

void uring_socket_complete(struct uring *uring, struct io_op *op, int result, uint32_t flags)
{
    struct io_listener *listener = op->context;
    switch (op->kind) {
    case URING_KIND_CONNECT:
        connect_complete(op->private_pointer, op, result);
        return;
    case URING_KIND_SEND:
        send_complete(op->private_pointer, op, result);
        return;
    case URING_KIND_RECEIVE:
        receive_complete(op->context, result, flags);
        return;
    case URING_KIND_ACCEPT:
        accept_complete(listener, result, flags);
        return;
    case URING_KIND_CANCEL:
        cancel_complete(op->context, op);
        return;
    case URING_KIND_ACCEPT_CANCEL:
        listener->cancelling = false;
        uring->internal_count--;
        listener_step(listener);
        return;
    case URING_KIND_CLOSE:
        free(op->context);
        uring->internal_count--;
        return;
    default:
        UNREACHABLE();
    }
}
