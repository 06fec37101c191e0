/* SPDX-License-Identifier: Apache-2.0 */
#include "jepsen/relay/relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "proto/base/assert.h"

enum { chunk_size_max = 64 * 1024, backlog = 128 };

static const uint64_t nanoseconds_in_second = 1000000000;

/* Bytes on their way; none of them: the end of the stream. */
struct chunk {
    struct list_link link;
    uint64_t due_ns;
    size_t size;
    size_t written;
    uint8_t bytes[];
};

/* One direction of one connection. */
struct stream {
    struct relay_wire *wire;
    int from;
    int to;
    struct list_link chunks;
    size_t held_size;
    bool is_read;    /* to its end */
    bool is_written; /* too */
};

struct connection {
    struct list_link link;
    struct relay *relay;
    int sockets[2]; /* who connected, and to whom */
    bool is_connecting;
    bool is_over;
    struct stream streams[relay_directions_count];
    const struct pollfd *polls[2]; /* in this turn; NULL: nothing is waited for */
};

uint64_t relay_now_ns(void)
{
    struct timespec now;
    int result = clock_gettime(CLOCK_MONOTONIC, &now);
    ASSERT(result == 0);
    return (uint64_t)now.tv_sec * nanoseconds_in_second + (uint64_t)now.tv_nsec;
}

/* ---- Addresses ---- */

static bool parse_address(const char *text, size_t size, struct sockaddr_in *address)
{
    char host[INET_ADDRSTRLEN];
    const char *colon = memrchr(text, ':', size);
    char *end = NULL;
    *address = (struct sockaddr_in){.sin_family = AF_INET};
    if (colon == NULL || (size_t)(colon - text) >= sizeof host)
        return false;
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = 0;
    errno = 0;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (errno != 0 || end != text + size || end == colon + 1 || port > UINT16_MAX ||
        colon[1] == '-' || colon[1] == '+')
        return false;
    address->sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, host, &address->sin_addr) == 1;
}

static bool listen_on(struct relay_way *way)
{
    const int yes = 1;
    socklen_t size = sizeof way->listen;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0)
        return false;
    if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        bind(listener, (const struct sockaddr *)&way->listen, size) != 0 ||
        listen(listener, backlog) != 0 ||
        getsockname(listener, (struct sockaddr *)&way->listen, &size) != 0) {
        int number = errno;
        close(listener);
        errno = number;
        return false;
    }
    way->listener = listener;
    return true;
}

bool relay_add_way(struct relay *relay, const char *text, const char **reason)
{
    const char *equals = strchr(text, '=');
    struct relay_way *way = &relay->ways[relay->ways_count];
    *reason = "it is no ADDRESS:PORT=ADDRESS:PORT of numeric IPv4 addresses";
    if (equals == NULL || !parse_address(text, (size_t)(equals - text), &way->listen) ||
        !parse_address(equals + 1, strlen(equals + 1), &way->target) || way->target.sin_port == 0)
        return false;
    *reason = "there are too many";
    if (relay->ways_count == relay_ways_max)
        return false;
    if (!listen_on(way)) {
        *reason = strerror(errno);
        return false;
    }
    relay->ways_count++;
    return true;
}

/* ---- Connections ---- */

static void chunk_free(struct relay *relay, struct stream *stream, struct chunk *chunk)
{
    list_remove(&chunk->link);
    stream->held_size -= chunk->size;
    relay->held_size -= chunk->size;
    free(chunk);
}

/* With a reset: what is left unsent is not to be waited for. */
static void reset(int descriptor)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    /* Where it cannot be, the end is an ordinary one. */
    (void)setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(descriptor);
}

static void connection_free(struct connection *connection)
{
    struct relay *relay = connection->relay;
    bool is_whole = true;
    for (unsigned i = 0; i < relay_directions_count; i++) {
        struct stream *stream = &connection->streams[i];
        is_whole = is_whole && stream->is_written;
        LIST_EACH(link, &stream->chunks)
        {
            chunk_free(relay, stream, LIST_ENTRY(link, struct chunk, link));
        }
    }
    for (unsigned i = 0; i < 2; i++) {
        if (is_whole)
            close(connection->sockets[i]);
        else
            reset(connection->sockets[i]);
    }
    list_remove(&connection->link);
    relay->connections_count--;
    free(connection);
}

void relay_drop(struct relay *relay)
{
    LIST_EACH(link, &relay->connections)
    {
        connection_free(LIST_ENTRY(link, struct connection, link));
    }
}

static void connection_make(struct relay *relay, int from, int to)
{
    const int yes = 1;
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL) {
        reset(from);
        close(to);
        return;
    }
    connection->relay = relay;
    connection->sockets[0] = from;
    connection->sockets[1] = to;
    connection->is_connecting = true;
    for (unsigned i = 0; i < relay_directions_count; i++) {
        struct stream *stream = &connection->streams[i];
        stream->wire = &relay->wires[i];
        stream->from = connection->sockets[i];
        stream->to = connection->sockets[1 - i];
        list_init(&stream->chunks);
        /* Without it, bytes are only later. */
        (void)setsockopt(stream->from, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    }
    list_push_last(&relay->connections, &connection->link);
    relay->connections_count++;
    relay->accepted_count++;
}

static void accept_one(struct relay *relay, const struct relay_way *way)
{
    int from = accept4(way->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (from < 0)
        return;
    int to = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (to >= 0 && (connect(to, (const struct sockaddr *)&way->target, sizeof way->target) == 0 ||
                    errno == EINPROGRESS)) {
        connection_make(relay, from, to);
        return;
    }
    reset(from);
    if (to >= 0)
        close(to);
}

/* ---- Bytes ---- */

void relay_wire_set_rate(struct relay_wire *wire, uint64_t rate)
{
    wire->rate = rate;
    wire->free_ns = 0;
}

static bool may_read(const struct connection *connection, const struct stream *stream)
{
    return !stream->is_read && !stream->wire->is_cut &&
           !(connection->is_connecting && stream->from == connection->sockets[1]) &&
           stream->held_size < relay_stream_size_max &&
           connection->relay->held_size < relay_size_max;
}

/* NULL: nothing is on its way, or nothing gets through. */
static struct chunk *next_chunk(const struct connection *connection, const struct stream *stream)
{
    if (stream->wire->is_cut || list_is_empty(&stream->chunks) ||
        (connection->is_connecting && stream->to == connection->sockets[1]))
        return NULL;
    return LIST_ENTRY(list_first(&stream->chunks), struct chunk, link);
}

static uint64_t due_of(struct relay_wire *wire, size_t size)
{
    uint64_t now_ns = relay_now_ns();
    if (wire->free_ns < now_ns)
        wire->free_ns = now_ns;
    if (wire->rate != 0)
        wire->free_ns += size * nanoseconds_in_second / wire->rate;
    return wire->free_ns + wire->delay_ns;
}

static void stream_read(struct connection *connection, struct stream *stream)
{
    static uint8_t buffer[chunk_size_max];
    struct relay *relay = connection->relay;
    ssize_t got = recv(stream->from, buffer, sizeof buffer, 0);
    if (got < 0) {
        connection->is_over = connection->is_over || (errno != EAGAIN && errno != EINTR);
        return;
    }
    struct chunk *chunk = malloc(sizeof *chunk + (size_t)got);
    if (chunk == NULL) {
        connection->is_over = true;
        return;
    }
    memcpy(chunk->bytes, buffer, (size_t)got);
    chunk->size = (size_t)got;
    chunk->written = 0;
    chunk->due_ns = due_of(stream->wire, chunk->size);
    list_init(&chunk->link);
    list_push_last(&stream->chunks, &chunk->link);
    stream->held_size += chunk->size;
    relay->held_size += chunk->size;
    stream->is_read = got == 0;
}

/* All that is due and that the other side takes. */
static void stream_write(struct connection *connection, struct stream *stream)
{
    struct chunk *chunk;
    while (!stream->is_written && (chunk = next_chunk(connection, stream)) != NULL &&
           chunk->due_ns <= relay_now_ns()) {
        if (chunk->size == 0) {
            /* Where it cannot be, the other side has gone already. */
            (void)shutdown(stream->to, SHUT_WR);
            stream->is_written = true;
            chunk_free(connection->relay, stream, chunk);
            return;
        }
        ssize_t written = send(stream->to, chunk->bytes + chunk->written,
                               chunk->size - chunk->written, MSG_NOSIGNAL);
        if (written < 0) {
            connection->is_over = connection->is_over || (errno != EAGAIN && errno != EINTR);
            return;
        }
        stream->wire->passed_size += (uint64_t)written;
        chunk->written += (size_t)written;
        if (chunk->written < chunk->size)
            return;
        chunk_free(connection->relay, stream, chunk);
    }
}

/* ---- Turns ---- */

/* What each of its sockets is waited for. A socket of which nothing is wanted is left out: poll
 * would tell of its end again and again. */
static unsigned connection_poll(struct connection *connection, struct pollfd *polls,
                                uint64_t now_ns, uint64_t *next_ns)
{
    unsigned count = 0;
    for (unsigned i = 0; i < 2; i++) {
        struct stream *in = &connection->streams[i];
        struct stream *out = &connection->streams[1 - i];
        const struct chunk *chunk = next_chunk(connection, out);
        short events = may_read(connection, in) ? POLLIN : 0;
        connection->polls[i] = NULL;
        if (i == 1 && connection->is_connecting)
            events = out->wire->is_cut ? 0 : POLLOUT;
        else if (chunk != NULL && chunk->due_ns <= now_ns)
            events |= POLLOUT;
        else if (chunk != NULL && chunk->due_ns < *next_ns)
            *next_ns = chunk->due_ns;
        if (events == 0)
            continue;
        polls[count] = (struct pollfd){.fd = connection->sockets[i], .events = events};
        connection->polls[i] = &polls[count++];
    }
    return count;
}

static void finish_connecting(struct connection *connection)
{
    int number = 0;
    socklen_t size = sizeof number;
    if (getsockopt(connection->sockets[1], SOL_SOCKET, SO_ERROR, &number, &size) != 0 ||
        number != 0)
        connection->is_over = true;
    connection->is_connecting = false;
}

static void connection_take(struct connection *connection)
{
    for (unsigned i = 0; i < 2 && !connection->is_over; i++) {
        const struct pollfd *poll = connection->polls[i];
        if (poll == NULL || poll->revents == 0)
            continue;
        if (i == 1 && connection->is_connecting)
            finish_connecting(connection);
        else if (may_read(connection, &connection->streams[i]))
            stream_read(connection, &connection->streams[i]);
    }
    for (unsigned i = 0; i < relay_directions_count && !connection->is_over; i++)
        stream_write(connection, &connection->streams[i]);
    if (connection->is_over ||
        (connection->streams[0].is_written && connection->streams[1].is_written))
        connection_free(connection);
}

static void wait_for(struct relay *relay, unsigned count, uint64_t now_ns, uint64_t next_ns)
{
    struct timespec wait = {0};
    if (next_ns != UINT64_MAX && next_ns > now_ns) {
        wait.tv_sec = (time_t)((next_ns - now_ns) / nanoseconds_in_second);
        wait.tv_nsec = (long)((next_ns - now_ns) % nanoseconds_in_second);
    }
    if (ppoll(relay->polls, count, next_ns != UINT64_MAX ? &wait : NULL, NULL) >= 0)
        return;
    ASSERT(errno == EINTR || errno == ENOMEM);
    for (unsigned i = 0; i < count; i++)
        relay->polls[i].revents = 0;
}

static void turn(struct relay *relay)
{
    uint64_t now_ns = relay_now_ns();
    uint64_t next_ns = UINT64_MAX;
    bool has_place = relay->connections_count < relay_connections_max &&
                     !relay->wires[RELAY_FORWARD].is_cut && !relay->wires[RELAY_BACK].is_cut;
    unsigned count = relay->ways_count;
    for (unsigned i = 0; i < relay->ways_count; i++)
        relay->polls[i] =
            (struct pollfd){.fd = has_place ? relay->ways[i].listener : -1, .events = POLLIN};
    unsigned controls_count = relay_control_poll(relay, relay->polls + count);
    count += controls_count;
    LIST_EACH(link, &relay->connections)
    {
        count += connection_poll(LIST_ENTRY(link, struct connection, link), relay->polls + count,
                                 now_ns, &next_ns);
    }
    wait_for(relay, count, now_ns, next_ns);
    LIST_EACH(link, &relay->connections)
    {
        connection_take(LIST_ENTRY(link, struct connection, link));
    }
    for (unsigned i = 0; i < relay->ways_count; i++) {
        if (relay->polls[i].revents != 0 && relay->connections_count < relay_connections_max)
            accept_one(relay, &relay->ways[i]);
    }
    /* Last: a command may end connections, whose places in `polls` were looked at by now. */
    relay_control_take(relay, relay->polls + relay->ways_count, controls_count);
}

void relay_init(struct relay *relay)
{
    memset(relay, 0, sizeof *relay);
    list_init(&relay->connections);
    relay->control = -1;
    for (unsigned i = 0; i < relay_controllers_max; i++)
        relay->controllers[i].from = -1;
}

void relay_run(struct relay *relay)
{
    while (!relay->is_ending)
        turn(relay);
}

void relay_close(struct relay *relay)
{
    relay_drop(relay);
    for (unsigned i = 0; i < relay->ways_count; i++)
        close(relay->ways[i].listener);
    relay_control_close(relay);
}
