/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/io/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/generator.h"
#include "storage/io/uring.h"
#include "tests/unit/unit.h"

enum { connections_max = 64, buffers_count = 8, buffer_size = 1024 };

/* One end of a connection, as the server sees it. */
struct end {
    struct io_socket *socket;
    uint64_t received_size;
    uint64_t hash; /* of the stream: order matters */
    unsigned ends_count;
    enum status end_status;
    bool close_on_data;
};

struct server {
    struct io *io;
    struct io_listener *listener;
    struct end ends[connections_max];
    unsigned accepted_count;
    unsigned failures_count;
};

static void received(void *context, const uint8_t *data, size_t size, enum status status)
{
    struct end *end = context;
    ck_assert_uint_eq(end->ends_count, 0);
    for (size_t i = 0; i < size; i++)
        end->hash = end->hash * 1099511628211u + data[i];
    end->received_size += size;
    if (size == 0) {
        end->ends_count++;
        end->end_status = status;
    } else if (end->close_on_data) {
        io_socket_close(end->socket);
        end->socket = NULL;
    }
}

static void accepted(void *context, struct io_socket *socket, enum status status)
{
    struct server *server = context;
    if (socket == NULL) {
        ck_assert_int_ne(status, STATUS_OK);
        server->failures_count++;
        return;
    }
    struct end *end = &server->ends[server->accepted_count++];
    end->socket = socket;
    io_socket_receive_start(socket, received, end);
}

static struct server *server_open(void)
{
    struct server *server = calloc(1, sizeof *server);
    struct error error = {0};
    const struct io_uring_options options = {
        .entries = 16,
        .receive_buffers_count = buffers_count,
        .receive_buffer_size = buffer_size,
    };
    ck_assert_int_eq(io_uring_open(&options, &server->io, &error), STATUS_OK);
    enum status status =
        io_listen(server->io, "127.0.0.1", 0, accepted, server, &server->listener, &error);
    ck_assert_msg(status == STATUS_OK, "%s", error.text);
    return server;
}

static void server_close(struct server *server)
{
    for (unsigned i = 0; i < server->accepted_count; i++)
        if (server->ends[i].socket != NULL)
            io_socket_close(server->ends[i].socket);
    if (server->listener != NULL)
        io_listener_close(server->io, server->listener);
    while (server->io->pending_count > 0)
        io_turn(server->io, true);
    io_uring_close(server->io);
    free(server);
}

static int client_open(const struct server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(io_listener_port(server->listener)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(descriptor, 0);
    ck_assert_int_eq(connect(descriptor, (struct sockaddr *)&address, sizeof address), 0);
    return descriptor;
}

static void on_over(struct io_timer *timer)
{
    bool *over = timer->context;
    *over = true;
}

/* Turns for a little: on loopback enough, also on a busy machine, for what was started to be with
 * the kernel, and for most of what should not come to come. */
static void turn_a_while(struct server *server)
{
    bool over = false;
    struct io_timer timer = {.fired = on_over, .context = &over};
    io_timer_start(server->io, &timer, io_boot_ns(server->io) + 4000000);
    while (!over)
        io_turn(server->io, true);
}

/* Turns until the server's end is closed, which the client sees as the end of its stream. */
static void turn_until_closed(struct server *server, int client)
{
    char byte;
    ssize_t result;
    while ((result = recv(client, &byte, 1, MSG_DONTWAIT)) < 0 && errno == EAGAIN)
        io_turn(server->io, false);
    ck_assert_int_eq(result, 0);
}

static void accept_count(struct server *server, unsigned count)
{
    while (server->accepted_count < count)
        io_turn(server->io, true);
}

START_TEST(test_bytes_arrive_and_the_end_is_told_once)
{
    struct server *server = server_open();
    int client = client_open(server);
    accept_count(server, 1);
    struct end *end = &server->ends[0];
    ck_assert_int_eq(strncmp(io_socket_peer(end->socket).text, "127.0.0.1:", 10), 0);
    ck_assert_int_eq(write(client, "hello", 5), 5);
    while (end->received_size < 5)
        io_turn(server->io, true);
    close(client);
    while (end->ends_count == 0)
        io_turn(server->io, true);
    ck_assert_int_eq(end->end_status, STATUS_OK);
    turn_a_while(server);
    ck_assert_uint_eq(end->ends_count, 1);
    server_close(server);
}
END_TEST

/* Far more than all the buffers hold, from several peers at once: want of buffers must lose and
 * reorder nothing. */
START_TEST(test_many_bytes_through_few_buffers)
{
    enum { clients_count = 5, piece_size = 32768, pieces_count = 20 };
    struct server *server = server_open();
    int clients[clients_count];
    uint64_t hashes[clients_count] = {0};
    uint8_t piece[piece_size];
    for (unsigned i = 0; i < clients_count; i++) {
        clients[i] = client_open(server);
        accept_count(server, i + 1);
    }
    for (unsigned n = 0; n < pieces_count; n++) {
        for (unsigned i = 0; i < clients_count; i++) {
            for (unsigned k = 0; k < piece_size; k++) {
                piece[k] = (uint8_t)((n * 31 + i * 7 + k) ^ (k >> 8));
                hashes[i] = hashes[i] * 1099511628211u + piece[k];
            }
            size_t sent = 0;
            while (sent < piece_size) {
                ssize_t part = send(clients[i], piece + sent, piece_size - sent, MSG_DONTWAIT);
                if (part > 0)
                    sent += (size_t)part;
                else
                    io_turn(server->io, true);
            }
        }
    }
    for (unsigned i = 0; i < clients_count; i++) {
        while (server->ends[i].received_size < (uint64_t)piece_size * pieces_count)
            io_turn(server->io, true);
        ck_assert_uint_eq(server->ends[i].hash, hashes[i]);
        close(clients[i]);
    }
    server_close(server);
}
END_TEST

START_TEST(test_pause_holds_bytes_back_and_resume_brings_them)
{
    struct server *server = server_open();
    int client = client_open(server);
    accept_count(server, 1);
    struct end *end = &server->ends[0];
    io_socket_receive_pause(end->socket);
    turn_a_while(server);
    ck_assert_int_eq(write(client, "while paused", 12), 12);
    turn_a_while(server);
    ck_assert_uint_eq(end->received_size, 0);
    io_socket_receive_resume(end->socket);
    while (end->received_size < 12)
        io_turn(server->io, true);
    /* Both within one turn, in either order: the last word counts. */
    io_socket_receive_pause(end->socket);
    io_socket_receive_resume(end->socket);
    io_socket_receive_pause(end->socket);
    io_socket_receive_resume(end->socket);
    ck_assert_int_eq(write(client, "again", 5), 5);
    while (end->received_size < 17)
        io_turn(server->io, true);
    close(client);
    server_close(server);
}
END_TEST

START_TEST(test_a_long_send_is_whole)
{
    enum { size = 8 << 20 };
    struct server *server = server_open();
    int client = client_open(server);
    uint8_t *data = malloc(size);
    uint8_t *copy = malloc(size);
    struct io_op op = {0};
    size_t got = 0;
    accept_count(server, 1);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i * 2654435761u >> 13);
    io_socket_send(server->ends[0].socket, &op, data, size);
    while (got < size) {
        ssize_t part = recv(client, copy + got, size - got, MSG_DONTWAIT);
        if (part > 0)
            got += (size_t)part;
        else
            io_turn(server->io, false); /* no completion comes before this thread has read on */
    }
    ck_assert_int_eq(io_wait(server->io, &op), STATUS_OK);
    ck_assert_uint_eq(op.size, size);
    ck_assert_mem_eq(data, copy, size);
    free(data);
    free(copy);
    close(client);
    server_close(server);
}
END_TEST

START_TEST(test_close_ends_a_send_under_way)
{
    enum { size = 32 << 20 };
    struct server *server = server_open();
    int client = client_open(server);
    uint8_t *data = calloc(1, size);
    struct io_op op = {0};
    accept_count(server, 1);
    io_socket_send(server->ends[0].socket, &op, data, size);
    turn_a_while(server);
    ck_assert(op.pending);
    io_socket_close(server->ends[0].socket);
    server->ends[0].socket = NULL;
    ck_assert_int_eq(io_wait(server->io, &op), STATUS_DISCONNECTED);
    free(data);
    ck_assert_uint_eq(server->ends[0].ends_count, 0);
    close(client);
    server_close(server);
}
END_TEST

START_TEST(test_a_broken_connection_is_told_to_both_sides)
{
    struct server *server = server_open();
    int client = client_open(server);
    struct io_op op = {0};
    static const uint8_t data[1000];
    const struct linger reset = {.l_onoff = 1};
    accept_count(server, 1);
    ck_assert_int_eq(setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    close(client);
    while (server->ends[0].ends_count == 0)
        io_turn(server->io, true);
    ck_assert_int_eq(server->ends[0].end_status, STATUS_DISCONNECTED);
    io_socket_send(server->ends[0].socket, &op, data, sizeof data);
    ck_assert_int_eq(io_wait(server->io, &op), STATUS_DISCONNECTED);
    server_close(server);
}
END_TEST

START_TEST(test_a_callback_may_close_its_socket)
{
    struct server *server = server_open();
    int client = client_open(server);
    accept_count(server, 1);
    server->ends[0].close_on_data = true;
    ck_assert_int_eq(write(client, "bye", 3), 3);
    while (server->ends[0].socket != NULL)
        io_turn(server->io, true);
    turn_until_closed(server, client);
    ck_assert_uint_eq(server->ends[0].ends_count, 0);
    close(client);
    server_close(server);
}
END_TEST

START_TEST(test_accepting_survives_the_want_of_descriptors)
{
    struct server *server = server_open();
    int clients[4];
    struct rlimit limit;
    for (unsigned i = 0; i < 4; i++)
        clients[i] = client_open(server);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const struct rlimit none = {.rlim_cur = 3, .rlim_max = limit.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    while (server->failures_count == 0)
        io_turn(server->io, true);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    accept_count(server, 4);
    for (unsigned i = 0; i < 4; i++)
        close(clients[i]);
    server_close(server);
}
END_TEST

START_TEST(test_a_listener_can_be_closed_and_its_port_taken_again)
{
    struct server *server = server_open();
    uint16_t port = io_listener_port(server->listener);
    struct io_listener *second;
    struct error error = {0};
    ck_assert_int_eq(io_listen(server->io, "127.0.0.1", port, accepted, server, &second, &error),
                     STATUS_LOCKED);
    ck_assert_ptr_nonnull(strstr(error.text, "another port"));
    io_listener_close(server->io, server->listener);
    server->listener = NULL;
    /* The old one goes once its accept was cancelled. */
    enum status status =
        io_listen(server->io, "127.0.0.1", port, accepted, server, &second, &error);
    ck_assert_int_eq(status, STATUS_OK);
    server->listener = second;
    int client = client_open(server);
    accept_count(server, 1);
    close(client);
    server_close(server);
}
END_TEST

static void *let_go(void *context)
{
    const struct timespec pause = {.tv_nsec = 50000000};
    (void)nanosleep(&pause, NULL);
    ck_assert_int_eq(close(*(int *)context), 0);
    return NULL;
}

/* As the kernel holds the port of a process that was killed. */
START_TEST(test_a_port_that_is_let_go_in_a_moment_is_waited_for)
{
    struct server *server = server_open();
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    struct io_listener *second;
    struct error error = {0};
    pthread_t thread;
    int holder = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(holder, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(holder, 1), 0);
    ck_assert_int_eq(getsockname(holder, (struct sockaddr *)&address, &size), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, let_go, &holder), 0);
    ck_assert_int_eq(io_listen(server->io, "127.0.0.1", ntohs(address.sin_port), accepted, server,
                               &second, &error),
                     STATUS_OK);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    io_listener_close(server->io, second);
    server_close(server);
}
END_TEST

START_TEST(test_addresses_are_numbers)
{
    struct server *server = server_open();
    struct io_listener *listener;
    struct error error = {0};
    ck_assert_int_eq(io_listen(server->io, "localhost", 0, accepted, server, &listener, &error),
                     STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(io_listen(server->io, "", 0, accepted, server, &listener, &error),
                     STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(io_listen(server->io, "192.0.2.1", 0, accepted, server, &listener, &error),
                     STATUS_INVALID_ARGUMENT);
    server_close(server);
}
END_TEST

/* ---- Connecting ---- */

static void done_once(struct io_op *op)
{
    unsigned *count = op->context;
    ++*count;
}

START_TEST(test_both_ends_of_a_connection_made_here)
{
    struct server *server = server_open();
    struct io *io = server->io;
    struct io_socket *socket = NULL;
    struct io_op sent = {0};
    struct end own = {0};
    unsigned done_count = 0;
    struct io_op op = {.done = done_once, .context = &done_count};
    ck_assert_int_eq(io_connect(io, "127.0.0.1", io_listener_port(server->listener), &op, &socket),
                     STATUS_OK);
    ck_assert_uint_eq(done_count, 0);
    ck_assert_int_eq(io_wait(io, &op), STATUS_OK);
    ck_assert_uint_eq(done_count, 1);
    ck_assert_int_eq(strncmp(io_socket_peer(socket).text, "127.0.0.1:", 10), 0);
    io_socket_keep_short(socket, 5000, 64 * 1024);
    own.socket = socket;
    io_socket_receive_start(socket, received, &own);
    accept_count(server, 1);
    io_socket_send(socket, &sent, "ping", 4);
    ck_assert_int_eq(io_wait(io, &sent), STATUS_OK);
    while (server->ends[0].received_size < 4)
        io_turn(io, true);
    io_socket_send(server->ends[0].socket, &sent, "pong!", 5);
    ck_assert_int_eq(io_wait(io, &sent), STATUS_OK);
    while (own.received_size < 5)
        io_turn(io, true);
    io_socket_close(server->ends[0].socket);
    server->ends[0].socket = NULL;
    while (own.ends_count == 0)
        io_turn(io, true);
    io_socket_close(socket);
    server_close(server);
}
END_TEST

START_TEST(test_connecting_to_nobody_is_told)
{
    struct server *server = server_open();
    struct io_socket *socket = NULL;
    struct io_op op = {0};
    uint16_t port = io_listener_port(server->listener);
    io_listener_close(server->io, server->listener);
    server->listener = NULL;
    turn_a_while(server);
    ck_assert_int_eq(io_connect(server->io, "127.0.0.1", port, &op, &socket), STATUS_OK);
    ck_assert_int_eq(io_wait(server->io, &op), STATUS_UNREACHABLE);
    ck_assert_int_eq(op.error_number, ECONNREFUSED);
    io_socket_close(socket);

    ck_assert_int_eq(io_connect(server->io, "localhost", port, &op, &socket),
                     STATUS_INVALID_ARGUMENT);
    ck_assert_ptr_null(socket);
    ck_assert_int_eq(io_connect(server->io, "", port, &op, &socket), STATUS_INVALID_ARGUMENT);
    ck_assert_int_eq(io_connect(server->io, "127.0.0.1", 0, &op, &socket), STATUS_INVALID_ARGUMENT);
    ck_assert(!op.pending);
    server_close(server);
}
END_TEST

/* A listener that takes nothing and whose queue is full: a connect to it hangs, until it is closed.
 */
START_TEST(test_a_connect_that_hangs_ends_with_close)
{
    enum { fill_count = 8 };
    struct server *server = server_open();
    struct io *io = server->io;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(listen(listener, 0), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    struct io_socket *sockets[fill_count];
    struct io_op ops[fill_count] = {0};
    for (unsigned i = 0; i < fill_count; i++)
        ck_assert_int_eq(io_connect(io, "127.0.0.1", ntohs(address.sin_port), &ops[i], &sockets[i]),
                         STATUS_OK);
    turn_a_while(server);
    unsigned hanging_count = 0;
    for (unsigned i = 0; i < fill_count; i++) {
        bool hangs = ops[i].pending;
        io_socket_close(sockets[i]);
        ck_assert_int_eq(io_wait(io, &ops[i]), hangs ? STATUS_DISCONNECTED : STATUS_OK);
        hanging_count += hangs;
    }
    ck_assert_uint_ge(hanging_count, 1);
    close(listener);
    /* And one that was never handed to the kernel before it is closed. */
    struct io_op op = {0};
    struct io_socket *socket = NULL;
    ck_assert_int_eq(io_connect(io, "127.0.0.1", io_listener_port(server->listener), &op, &socket),
                     STATUS_OK);
    io_socket_close(socket);
    ck_assert_int_eq(io_wait(io, &op), STATUS_DISCONNECTED);
    server_close(server);
}
END_TEST

/* One random connection of the test below, both ends. */
struct pair {
    int client; /* -1: closed */
    struct io_op send;
    uint8_t data[40000];
};

static void act_as_server(struct end *end, struct pair *pair, struct generator *generator)
{
    if (end->socket == NULL)
        return;
    switch (generator_below(generator, 8)) {
    case 0:
    case 1:
        io_socket_receive_pause(end->socket);
        break;
    case 2:
    case 3:
        io_socket_receive_resume(end->socket);
        break;
    case 4:
        io_socket_close(end->socket);
        end->socket = NULL;
        break;
    default:
        if (!pair->send.pending)
            io_socket_send(end->socket, &pair->send, pair->data,
                           1 + generator_below(generator, sizeof pair->data));
    }
}

static void act_as_client(struct pair *pair, struct generator *generator)
{
    static uint8_t sink[20000];
    const struct linger reset = {.l_onoff = 1};
    if (pair->client < 0)
        return;
    switch (generator_below(generator, 12)) {
    case 0:
        ck_assert_int_eq(setsockopt(pair->client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
        close(pair->client);
        pair->client = -1;
        break;
    case 1:
        close(pair->client);
        pair->client = -1;
        break;
    case 2:
        shutdown(pair->client, SHUT_WR);
        break;
    case 3:
    case 4:
    case 5:
        while (recv(pair->client, sink, sizeof sink, MSG_DONTWAIT) > 0)
            ;
        break;
    default:
        if (send(pair->client, sink, 1 + generator_below(generator, sizeof sink),
                 MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            ck_assert_int_ne(errno, EBADF);
    }
}

/* Whatever both ends do in whatever order: every send ends, the end of a stream is told at most
 * once (received() asserts it), and the ring can be closed, which waits for all that is under way.
 */
START_TEST(test_random_lives_of_connections)
{
    enum { count = 24, steps = 600 };
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct server *server = server_open();
        struct pair *pairs = calloc(count, sizeof *pairs);
        struct generator generator;
        generator_init(&generator, seed);
        for (unsigned i = 0; i < count; i++) {
            pairs[i].client = client_open(server);
            accept_count(server, i + 1);
        }
        for (unsigned i = 0; i < steps; i++) {
            unsigned which = (unsigned)generator_below(&generator, count);
            if (generator_chance(&generator, 1, 3))
                act_as_server(&server->ends[which], &pairs[which], &generator);
            else
                act_as_client(&pairs[which], &generator);
            if (generator_chance(&generator, 1, 2))
                io_turn(server->io, false);
        }
        struct io *io = server->io;
        for (unsigned i = 0; i < count; i++) {
            if (server->ends[i].socket != NULL)
                io_socket_close(server->ends[i].socket);
            server->ends[i].socket = NULL;
        }
        while (io->pending_count > 0)
            io_turn(io, true);
        server_close(server);
        for (unsigned i = 0; i < count; i++)
            if (pairs[i].client >= 0)
                close(pairs[i].client);
        free(pairs);
    }
}
END_TEST

void unit_tests(TCase *tests)
{
    tcase_add_test(tests, test_random_lives_of_connections);
    tcase_add_test(tests, test_bytes_arrive_and_the_end_is_told_once);
    tcase_add_test(tests, test_many_bytes_through_few_buffers);
    tcase_add_test(tests, test_pause_holds_bytes_back_and_resume_brings_them);
    tcase_add_test(tests, test_a_long_send_is_whole);
    tcase_add_test(tests, test_close_ends_a_send_under_way);
    tcase_add_test(tests, test_a_broken_connection_is_told_to_both_sides);
    tcase_add_test(tests, test_a_callback_may_close_its_socket);
    tcase_add_test(tests, test_accepting_survives_the_want_of_descriptors);
    tcase_add_test(tests, test_a_listener_can_be_closed_and_its_port_taken_again);
    tcase_add_test(tests, test_a_port_that_is_let_go_in_a_moment_is_waited_for);
    tcase_add_test(tests, test_addresses_are_numbers);
    tcase_add_test(tests, test_both_ends_of_a_connection_made_here);
    tcase_add_test(tests, test_connecting_to_nobody_is_told);
    tcase_add_test(tests, test_a_connect_that_hangs_ends_with_close);
}
