/* SPDX-License-Identifier: Apache-2.0 */
#include "server/net/net.h"

#include <stdlib.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "server/net/net_internal.h"

enum {
    log_lines_per_second_max = 10,
    refusals_beside_requests = 4096, /* answers of our own, past the requests that may be */
    requests_kept_max = 1024,
};

static const uint64_t ns_per_ms = 1000 * 1000;
static const uint64_t ns_per_second = 1000 * 1000 * 1000;

bool net_may_log(struct net *net)
{
    uint64_t second = io_boot_ns(net->io) / ns_per_second;
    if (second != net->log_second) {
        if (net->log_dropped_count != 0)
            log_warn("log_lines_dropped", LOG_U64("count", net->log_dropped_count));
        net->log_second = second;
        net->log_lines_count = 0;
        net->log_dropped_count = 0;
    }
    if (net->log_lines_count < log_lines_per_second_max) {
        net->log_lines_count++;
        return true;
    }
    net->log_dropped_count++;
    return false;
}

/* ---- Deadlines ---- */

/* The timer is set to the earliest that there was when it was set; what came later and is due
 * earlier sets it anew, what went away lets it fire in vain. */
static void net_timer_for(struct net *net, uint64_t due_ns)
{
    if (net->timer_runs && net->timer.deadline_ns <= due_ns)
        return;
    net->timer_runs = true;
    io_timer_start(net->io, &net->timer, due_ns);
}

void net_deadline_start(struct net *net, struct connection *connection, enum deadline_kind kind)
{
    const uint32_t times_ms[] = {[DEADLINE_HANDSHAKE] = net->options.handshake_ms,
                                 [DEADLINE_FRAME] = net->options.frame_ms,
                                 [DEADLINE_CLOSE] = net->options.close_ms};
    struct deadline *deadline = &connection->deadline;
    list_remove(&deadline->link);
    deadline->due_ns = io_boot_ns(net->io) + times_ms[kind] * ns_per_ms;
    list_push_last(&net->deadlines[kind], &deadline->link);
    net_timer_for(net, deadline->due_ns);
}

void net_send_deadline_start(struct net *net, struct connection *connection)
{
    struct deadline *deadline = &connection->send_deadline;
    deadline->due_ns = io_boot_ns(net->io) + net->options.send_ms * ns_per_ms;
    list_push_last(&net->sends, &deadline->link);
    net_timer_for(net, deadline->due_ns);
}

void net_deadline_stop(struct deadline *deadline)
{
    list_remove(&deadline->link);
}

/* The oldest of a list, if it is due; else the timer is set for it. */
static struct deadline *deadline_due(struct net *net, struct list_link *list, uint64_t now_ns)
{
    struct list_link *first = list_first(list);
    if (first == NULL)
        return NULL;
    struct deadline *deadline = LIST_ENTRY(first, struct deadline, link);
    if (deadline->due_ns <= now_ns)
        return deadline;
    net_timer_for(net, deadline->due_ns);
    return NULL;
}

static void net_timer_fired(struct io_timer *timer)
{
    static const char *const reasons[] = {[DEADLINE_HANDSHAKE] =
                                              "the handshake and the first frame took too long",
                                          [DEADLINE_FRAME] = "a frame's end did not come in time",
                                          [DEADLINE_CLOSE] = NULL};
    struct net *net = timer->context;
    uint64_t now_ns = io_boot_ns(net->io);
    struct deadline *deadline;
    net->timer_runs = false;
    for (int kind = 0; kind < deadline_kinds_count; kind++) {
        while ((deadline = deadline_due(net, &net->deadlines[kind], now_ns)) != NULL) {
            net->statistics.timeouts_count += kind != DEADLINE_CLOSE;
            connection_end(LIST_ENTRY(deadline, struct connection, deadline), reasons[kind]);
        }
    }
    while ((deadline = deadline_due(net, &net->sends, now_ns)) != NULL) {
        net->statistics.timeouts_count++;
        connection_end(LIST_ENTRY(deadline, struct connection, send_deadline),
                       "the peer does not take its replies");
    }
}

/* ---- Accepting ---- */

static void net_adopt_tls(struct net *net)
{
    SSL_CTX *next = atomic_exchange(&net->tls_next, NULL);
    if (next == NULL)
        return;
    SSL_CTX_free(net->tls);
    net->tls = next;
    log_info("tls_reloaded");
}

static void net_accepted(void *context, struct io_socket *socket, enum status status)
{
    struct net *net = context;
    const char *reason = NULL;
    if (socket == NULL)
        reason = status_text(status);
    else if (net->statistics.connections_count >= net->options.connections_max)
        reason = "too many connections";
    else if (net->handshakes_count >= limit_handshakes_count)
        reason = "too many handshakes at a time";
    if (reason == NULL && !net->draining) {
        net->statistics.accepted_count++;
        net_adopt_tls(net);
        connection_open(net, socket);
        return;
    }
    net->statistics.accept_refused_count++;
    if (reason != NULL && net_may_log(net))
        log_warn("accept_refused", LOG_TEXT("reason", reason));
    if (socket != NULL)
        io_socket_close(socket);
}

/* ---- Opening ---- */

static void bell_rung(struct io_bell *bell)
{
    (void)bell; /* the turn that it begins is all it is for */
}

static void options_fill(struct net_options *options)
{
    const struct {
        uint32_t *option;
        uint32_t standard;
    } standards[] = {
        {&options->connections_max, limit_connections_count},
        {&options->handshake_ms, limit_handshake_ms},
        {&options->frame_ms, limit_frame_ms},
        {&options->send_ms, limit_send_ms},
        {&options->close_ms, limit_close_ms},
        {&options->connection_output_size, limit_connection_output_size},
        {&options->connection_requests_max, limit_connection_requests_count},
        {&options->requests_max, limit_requests_count},
    };
    for (size_t i = 0; i < sizeof standards / sizeof standards[0]; i++) {
        if (*standards[i].option == 0)
            *standards[i].option = standards[i].standard;
    }
    if (options->requests_size == 0)
        options->requests_size = limit_requests_size;
}

static void net_free(struct net *net)
{
    SSL_CTX_free(net->tls);
    SSL_CTX_free(atomic_load(&net->tls_next));
    access_close(net->access);
    access_close(atomic_load(&net->access_next));
    BIO_meth_free(net->bio_method);
    free(net);
}

static struct net *net_make(const struct net_options *options)
{
    struct net *net = calloc(1, sizeof *net);
    if (net == NULL)
        return NULL;
    net->options = *options;
    options_fill(&net->options);
    net->io = options->io;
    list_init(&net->connections);
    list_init(&net->ended);
    list_init(&net->dirty);
    list_init(&net->sends);
    for (int kind = 0; kind < deadline_kinds_count; kind++)
        list_init(&net->deadlines[kind]);
    net->timer = (struct io_timer){.fired = net_timer_fired, .context = net};
    net->bell = (struct io_bell){.rung = bell_rung, .context = net};
    pool_init(&net->requests, sizeof(struct request),
              (uint64_t)net->options.requests_max + refusals_beside_requests, requests_kept_max);
    net->bio_method = connection_bio_method();
    if (net->bio_method == NULL) {
        free(net);
        return NULL;
    }
    SSL_CTX_up_ref(options->tls);
    net->tls = options->tls;
    net->access = access_share(options->access);
    return net;
}

enum status net_open(const struct net_options *options, struct net **net, struct error *error)
{
    *net = NULL;
    struct net *made = net_make(options);
    if (made == NULL)
        return error_set(error, STATUS_NO_MEMORY, "No memory for a net loop.");
    enum status status = io_bell_open(made->io, &made->bell);
    if (status != STATUS_OK) {
        net_free(made);
        return error_set(error, status, "The net loop cannot be woken: %s.", status_text(status));
    }
    status = options->beside != NULL ? io_listen_beside(made->io, options->beside->listener,
                                                        net_accepted, made, &made->listener, error)
                                     : io_listen(made->io, options->host, options->port,
                                                 net_accepted, made, &made->listener, error);
    if (status != STATUS_OK) {
        io_bell_close(made->io, &made->bell);
        net_free(made);
        return status;
    }
    *net = made;
    return STATUS_OK;
}

uint16_t net_port(const struct net *net)
{
    ASSERT(net->listener != NULL);
    return io_listener_port(net->listener);
}

/* ---- The turn's end ---- */

static void net_adopt_access(struct net *net)
{
    const struct access *next = atomic_exchange(&net->access_next, NULL);
    if (next == NULL)
        return;
    access_close(net->access);
    net->access = next;
    LIST_EACH(link, &net->connections)
    {
        struct connection *connection = LIST_ENTRY(link, struct connection, link);
        const struct session *session = &connection->session;
        if (session->role != ROLE_NONE && access_role(next, session->identity) != session->role)
            connection_end(connection, "its identity has another role now");
    }
}

static void net_drain_begin(struct net *net)
{
    net->draining = true;
    io_listener_close(net->io, net->listener);
    net->listener = NULL;
    LIST_EACH(link, &net->connections)
    {
        struct connection *connection = LIST_ENTRY(link, struct connection, link);
        if (connection->state <= CONNECTION_HELLO)
            connection_end(connection, NULL);
        else
            connection_mark_dirty(connection);
    }
}

static void net_reap(struct net *net)
{
    LIST_EACH(link, &net->ended)
    {
        struct connection *connection = LIST_ENTRY(link, struct connection, link);
        if (connection_is_done(connection))
            connection_free(connection);
    }
}

void net_turn_end(struct net *net)
{
    struct request *request;
    while ((request = mailbox_take(net->options.replies)) != NULL)
        connection_take_reply(request->connection, request);
    net_adopt_access(net);
    if (!net->draining && atomic_load(&net->drain_asked))
        net_drain_begin(net);
    for (struct list_link *link; (link = list_pop_first(&net->dirty)) != NULL;)
        connection_flush(LIST_ENTRY(link, struct connection, dirty_link));
    net_reap(net);
    mailbox_flush(net->options.requests);
}

void net_reload_tls(struct net *net, SSL_CTX *tls)
{
    SSL_CTX_up_ref(tls);
    SSL_CTX_free(atomic_exchange(&net->tls_next, tls));
}

void net_reload_access(struct net *net, const struct access *access)
{
    access_close(atomic_exchange(&net->access_next, access_share(access)));
    io_bell_ring(net->io, &net->bell);
}

/* ---- Stopping ---- */

void net_drain(struct net *net)
{
    atomic_store(&net->drain_asked, true);
    io_bell_ring(net->io, &net->bell);
}

bool net_is_drained(const struct net *net)
{
    return net->draining && list_is_empty(&net->connections) && list_is_empty(&net->ended);
}

void net_close(struct net *net)
{
    struct request *request;
    if (!net->draining) {
        net->draining = true;
        io_listener_close(net->io, net->listener);
    }
    LIST_EACH(link, &net->connections)
    {
        connection_end(LIST_ENTRY(link, struct connection, link), NULL);
    }
    while ((request = mailbox_take(net->options.replies)) != NULL)
        connection_take_reply(request->connection, request);
    for (net_reap(net); !list_is_empty(&net->ended); net_reap(net)) {
        /* What is left waits for its send alone: the core has answered everything. */
        struct list_link *first = list_first(&net->ended);
        ASSERT(LIST_ENTRY(first, struct connection, link)->requests_count == 0);
        io_turn(net->io, true);
    }
    io_timer_stop(net->io, &net->timer);
    io_bell_close(net->io, &net->bell);
    pool_close(&net->requests);
    net_free(net);
}

struct net_statistics net_statistics(const struct net *net)
{
    return net->statistics;
}
