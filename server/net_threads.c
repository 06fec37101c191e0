/* SPDX-License-Identifier: Apache-2.0 */
#include "server/net_threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "server/config.h"
#include "storage/io/uring.h"

enum { receive_buffers_count = 512, receive_buffer_size = 16 * 1024 };

/* One net loop. */
struct loop {
    struct net_threads *threads;
    struct mailbox requests; /* to the core */
    struct mailbox replies;  /* from the core */
    struct net *net;
    /* Where it has a thread of its own. */
    pthread_t thread;
    struct io *io;
    struct io_bell bell; /* rung to stop */
    bool stop;           /* the loop's own */
    atomic_bool drained;
};

struct net_threads {
    struct net_threads_options options;
    bool own_threads;
    unsigned count;
    struct loop loop[config_net_threads_max];
    /* For starting and stopping: a bell is never rung while its loop closes it. */
    pthread_mutex_t lock;
    pthread_cond_t started;
    unsigned started_count;
    struct error start_error;
};

static enum status open_net(struct loop *loop, struct io *io, struct error *error)
{
    const struct net_threads_options *options = &loop->threads->options;
    const struct net_options net_options = {
        .io = io,
        .host = options->host,
        .port = options->port,
        .connections_max = options->connections_max / (options->count == 0 ? 1 : options->count),
        .beside = loop == loop->threads->loop ? NULL : loop->threads->loop[0].net,
        .tls = options->tls,
        .access = options->access,
        .requests = &loop->requests,
        .replies = &loop->replies,
    };
    enum status status = mailbox_attach(&loop->replies, io);
    if (status != STATUS_OK)
        return error_set(error, status, "A mailbox could not be attached: %s.",
                         status_text(status));
    status = net_open(&net_options, &loop->net, error);
    if (status != STATUS_OK)
        mailbox_detach(&loop->replies);
    return status;
}

static void on_stop(struct io_bell *bell)
{
    struct loop *loop = bell->context;
    loop->stop = true;
}

static enum status loop_start(struct loop *loop, struct error *error)
{
    const struct io_uring_options options = {.receive_buffers_count = receive_buffers_count,
                                             .receive_buffer_size = receive_buffer_size};
    enum status status = io_uring_open(&options, &loop->io, error);
    if (status != STATUS_OK) {
        loop->io = NULL;
        return status;
    }
    loop->bell = (struct io_bell){.rung = on_stop, .context = loop};
    status = io_bell_open(loop->io, &loop->bell);
    if (status != STATUS_OK) {
        error_set(error, status, "A bell could not be made: %s.", status_text(status));
        goto err;
    }
    status = open_net(loop, loop->io, error);
    if (status == STATUS_OK)
        return STATUS_OK;
    io_bell_close(loop->io, &loop->bell);
err:
    io_uring_close(loop->io);
    loop->io = NULL;
    return status;
}

static void *loop_main(void *context)
{
    struct loop *loop = context;
    struct net_threads *threads = loop->threads;
    struct error error = {0};

    enum status status = loop_start(loop, &error);
    pthread_mutex_lock(&threads->lock);
    threads->started_count++;
    if (status != STATUS_OK)
        threads->start_error = error;
    pthread_cond_signal(&threads->started);
    pthread_mutex_unlock(&threads->lock);
    if (status != STATUS_OK)
        return NULL;
    while (!loop->stop) {
        io_turn(loop->io, mailbox_may_wait(&loop->replies));
        net_turn_end(loop->net);
        atomic_store(&loop->drained, net_is_drained(loop->net));
    }
    pthread_mutex_lock(&threads->lock);
    pthread_mutex_unlock(&threads->lock);
    net_close(loop->net);
    mailbox_detach(&loop->replies);
    io_bell_close(loop->io, &loop->bell);
    io_uring_close(loop->io);
    return NULL;
}

static void close_mailboxes(struct loop *loop)
{
    mailbox_detach(&loop->requests);
    mailbox_close(&loop->requests);
    mailbox_close(&loop->replies);
}

static enum status open_mailboxes(struct loop *loop, struct error *error)
{
    bool is_shared = loop->threads->own_threads;
    enum status status = mailbox_open(&loop->requests, is_shared, limit_requests_count);
    if (status != STATUS_OK)
        return error_set(error, status, "No memory for a mailbox.");
    status = mailbox_open(&loop->replies, is_shared, limit_requests_count);
    if (status != STATUS_OK) {
        mailbox_close(&loop->requests);
        return error_set(error, status, "No memory for a mailbox.");
    }
    status = mailbox_attach(&loop->requests, loop->threads->options.core_io);
    if (status != STATUS_OK) {
        close_mailboxes(loop);
        return error_set(error, status, "A mailbox could not be attached: %s.",
                         status_text(status));
    }
    return STATUS_OK;
}

static enum status open_loop(struct net_threads *threads, struct error *error)
{
    struct loop *loop = &threads->loop[threads->count];
    loop->threads = threads;
    enum status status = open_mailboxes(loop, error);
    if (status != STATUS_OK)
        return status;
    if (!threads->own_threads) {
        status = open_net(loop, threads->options.core_io, error);
    } else if (pthread_create(&loop->thread, NULL, loop_main, loop) != 0) {
        status = error_set(error, STATUS_NO_MEMORY,
                           "A net thread could not be started: check the limit on processes "
                           "(ulimit -u).");
    }
    if (status != STATUS_OK) {
        close_mailboxes(loop);
        return status;
    }
    threads->count++;
    return STATUS_OK;
}

/* Each loop is waited for before the next is opened: the first opens the port that all share. */
static enum status wait_for_start(struct net_threads *threads, struct error *error)
{
    pthread_mutex_lock(&threads->lock);
    while (threads->started_count < threads->count)
        pthread_cond_wait(&threads->started, &threads->lock);
    enum status status = threads->start_error.status;
    if (status != STATUS_OK)
        error_set(error, status, "%s", threads->start_error.text);
    pthread_mutex_unlock(&threads->lock);
    return status;
}

enum status net_threads_open(const struct net_threads_options *options,
                             struct net_threads **threads_out, struct error *error)
{
    struct net_threads *threads = calloc(1, sizeof *threads);
    unsigned wanted = options->count == 0 ? 1 : options->count;

    *threads_out = NULL;
    ASSERT(wanted <= config_net_threads_max);
    if (threads == NULL)
        return error_set(error, STATUS_NO_MEMORY, "Out of memory for the net loops.");
    threads->options = *options;
    threads->own_threads = options->count != 0;
    pthread_mutex_init(&threads->lock, NULL);
    pthread_cond_init(&threads->started, NULL);
    enum status status = STATUS_OK;
    for (unsigned i = 0; i < wanted && status == STATUS_OK; i++) {
        status = open_loop(threads, error);
        if (status == STATUS_OK && threads->own_threads)
            status = wait_for_start(threads, error);
    }
    if (status != STATUS_OK) {
        net_threads_close(threads);
        return status;
    }
    *threads_out = threads;
    return STATUS_OK;
}

uint16_t net_threads_port(const struct net_threads *threads)
{
    return net_port(threads->loop[0].net);
}

struct request *net_threads_take(struct net_threads *threads)
{
    for (unsigned i = 0; i < threads->count; i++) {
        struct request *request = mailbox_take(&threads->loop[i].requests);
        if (request != NULL)
            return request;
    }
    return NULL;
}

bool net_threads_may_wait(struct net_threads *threads)
{
    bool may_wait = true;
    for (unsigned i = 0; i < threads->count; i++) {
        may_wait = mailbox_may_wait(&threads->loop[i].requests) && may_wait;
        if (!threads->own_threads)
            may_wait = mailbox_may_wait(&threads->loop[i].replies) && may_wait;
    }
    return may_wait;
}

void net_threads_turn_end(struct net_threads *threads)
{
    for (unsigned i = 0; i < threads->count; i++) {
        struct loop *loop = &threads->loop[i];
        if (threads->own_threads)
            mailbox_flush(&loop->replies);
        else
            net_turn_end(loop->net);
    }
}

void net_threads_reload(struct net_threads *threads, SSL_CTX *tls)
{
    for (unsigned i = 0; i < threads->count; i++)
        net_reload_tls(threads->loop[i].net, tls);
}

void net_threads_reload_access(struct net_threads *threads, const struct access *access)
{
    for (unsigned i = 0; i < threads->count; i++)
        net_reload_access(threads->loop[i].net, access);
}

void net_threads_drain(struct net_threads *threads)
{
    for (unsigned i = 0; i < threads->count; i++)
        net_drain(threads->loop[i].net);
}

bool net_threads_are_drained(struct net_threads *threads)
{
    for (unsigned i = 0; i < threads->count; i++) {
        struct loop *loop = &threads->loop[i];
        if (threads->own_threads ? !atomic_load(&loop->drained) : !net_is_drained(loop->net))
            return false;
    }
    return true;
}

void net_threads_close(struct net_threads *threads)
{
    if (threads->own_threads) {
        pthread_mutex_lock(&threads->lock);
        for (unsigned i = 0; i < threads->count; i++) {
            if (threads->loop[i].io != NULL)
                io_bell_ring(threads->loop[i].io, &threads->loop[i].bell);
        }
        pthread_mutex_unlock(&threads->lock);
        for (unsigned i = 0; i < threads->count; i++)
            pthread_join(threads->loop[i].thread, NULL);
    } else if (threads->count != 0) {
        net_close(threads->loop[0].net);
        mailbox_detach(&threads->loop[0].replies);
    }
    for (unsigned i = 0; i < threads->count; i++)
        close_mailboxes(&threads->loop[i]);
    pthread_cond_destroy(&threads->started);
    pthread_mutex_destroy(&threads->lock);
    free(threads);
}
