/* SPDX-License-Identifier: Apache-2.0 */
#include "client/dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/error.h"

/* A NAT box forgets an idle connection after some minutes, some after one; a peer that is gone is
 * noticed after twenty seconds of unacknowledged data, or of silence once idle. */
enum {
    keepalive_idle_s = 30,
    keepalive_interval_s = 5,
    keepalive_probes_count = 4,
    user_timeout_ms = 20 * 1000
};

static const uint64_t millisecond_ns = 1000 * 1000;

void dial_init(struct dial *dial, const struct endpoint *endpoints, unsigned endpoints_count)
{
    *dial = (struct dial){
        .endpoints = endpoints, .endpoints_count = endpoints_count, .taken_count = endpoints_count};
    for (unsigned i = 0; i < dial_attempts_max; i++)
        dial->attempts[i].descriptor = -1;
}

void dial_begin(struct dial *dial, unsigned first)
{
    dial_stop(dial);
    dial->first = first;
    dial->taken_count = 0;
    dial->next_ns = 0;
}

static void forget_addresses(struct dial *dial)
{
    if (dial->addresses != NULL)
        freeaddrinfo(dial->addresses);
    dial->addresses = NULL;
    dial->next = NULL;
}

void dial_stop(struct dial *dial)
{
    for (unsigned i = 0; i < dial_attempts_max; i++) {
        if (dial->attempts[i].descriptor != -1)
            close(dial->attempts[i].descriptor);
        dial->attempts[i].descriptor = -1;
    }
    forget_addresses(dial);
    lookup_give_up(dial->lookup);
    dial->lookup = NULL;
}

static void describe(const struct dial *dial, unsigned endpoint, const char *why,
                     struct strait_error *error)
{
    client_error_set(error, STATUS_UNREACHABLE, "%s:%s cannot be reached: %s",
                     dial->endpoints[endpoint].host, dial->endpoints[endpoint].port, why);
}

/* Begins the look-up of the next endpoint. */
static void look_up_next(struct dial *dial, uint64_t now_ns, struct strait_error *error)
{
    dial->lookup_until_ns = now_ns + dial_attempt_ms * millisecond_ns;
    dial->endpoint = (dial->first + dial->taken_count++) % dial->endpoints_count;
    enum status status = lookup_start(&dial->endpoints[dial->endpoint], &dial->lookup);
    if (status != STATUS_OK)
        describe(dial, dial->endpoint,
                 status == STATUS_BUSY ? "too many names are being looked up"
                                       : "no memory to look its name up",
                 error);
}

/* Takes what a look-up has found, if it is done, or gives it up past its time: then none is under
 * way. */
static void take_lookup(struct dial *dial, uint64_t now_ns, struct strait_error *error)
{
    const char *why;

    if (dial->lookup == NULL)
        return;
    forget_addresses(dial);
    enum status status = lookup_take(dial->lookup, &dial->addresses, &why);
    if (status == STATUS_AGAIN && now_ns < dial->lookup_until_ns)
        return;
    if (status == STATUS_AGAIN) {
        lookup_give_up(dial->lookup);
        why = "no name server told its address in time";
    }
    dial->lookup = NULL;
    dial->next = dial->addresses;
    if (status != STATUS_OK)
        describe(dial, dial->endpoint, why, error);
}

/* The next address of the round; NULL when all have been taken, or while one is looked up. */
static const struct addrinfo *next_address(struct dial *dial, uint64_t now_ns,
                                           struct strait_error *error)
{
    while (dial->next == NULL && dial->lookup == NULL &&
           dial->taken_count < dial->endpoints_count) {
        look_up_next(dial, now_ns, error);
        take_lookup(dial, now_ns, error);
    }
    const struct addrinfo *address = dial->next;
    if (address != NULL)
        dial->next = address->ai_next;
    return address;
}

/* Best effort: a connection without one of these is a slower one, not a wrong one. */
static void tune(int descriptor)
{
    static const struct {
        int level;
        int name;
        int value;
    } tunings[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, keepalive_idle_s},
        {IPPROTO_TCP, TCP_KEEPINTVL, keepalive_interval_s},
        {IPPROTO_TCP, TCP_KEEPCNT, keepalive_probes_count},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, user_timeout_ms},
    };
    for (size_t i = 0; i < sizeof tunings / sizeof tunings[0]; i++)
        (void)setsockopt(descriptor, tunings[i].level, tunings[i].name, &tunings[i].value,
                         sizeof tunings[i].value);
}

/* False where the attempt failed at once. */
static bool begin_attempt(struct dial *dial, struct dial_attempt *attempt,
                          const struct addrinfo *address, uint64_t now_ns,
                          struct strait_error *error)
{
    int descriptor =
        socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (descriptor < 0) {
        describe(dial, dial->endpoint, strerror(errno), error);
        return false;
    }
    tune(descriptor);
    if (connect(descriptor, address->ai_addr, address->ai_addrlen) != 0 && errno != EINPROGRESS) {
        describe(dial, dial->endpoint, strerror(errno), error);
        close(descriptor);
        return false;
    }
    *attempt = (struct dial_attempt){.descriptor = descriptor,
                                     .endpoint = dial->endpoint,
                                     .deadline_ns = now_ns + dial_attempt_ms * millisecond_ns};
    dial->next_ns = now_ns + dial_step_ms * millisecond_ns;
    return true;
}

/* OK: connected; AGAIN: not yet; UNREACHABLE: it failed, and its descriptor is closed. */
static enum status check_attempt(struct dial *dial, struct dial_attempt *attempt, uint64_t now_ns,
                                 struct strait_error *error)
{
    struct pollfd polled = {.fd = attempt->descriptor, .events = POLLOUT};
    int failure = ETIMEDOUT;
    socklen_t size = sizeof failure;

    if (poll(&polled, 1, 0) == 1) {
        if (getsockopt(attempt->descriptor, SOL_SOCKET, SO_ERROR, &failure, &size) != 0)
            failure = errno;
        if (failure == 0)
            return STATUS_OK;
    } else if (now_ns < attempt->deadline_ns) {
        return STATUS_AGAIN;
    }
    describe(dial, attempt->endpoint, strerror(failure), error);
    close(attempt->descriptor);
    attempt->descriptor = -1;
    dial->next_ns = now_ns;
    return STATUS_UNREACHABLE;
}

enum status dial_step(struct dial *dial, uint64_t now_ns, int *descriptor, unsigned *endpoint,
                      struct strait_error *error)
{
    struct dial_attempt *unused = NULL;
    unsigned running = 0;

    *descriptor = -1;
    *endpoint = 0;
    for (unsigned i = 0; i < dial_attempts_max; i++) {
        struct dial_attempt *attempt = &dial->attempts[i];
        enum status status = attempt->descriptor == -1
                                 ? STATUS_UNREACHABLE
                                 : check_attempt(dial, attempt, now_ns, error);
        if (status == STATUS_OK) {
            *descriptor = attempt->descriptor;
            *endpoint = attempt->endpoint;
            attempt->descriptor = -1;
            dial_stop(dial);
            return STATUS_OK;
        }
        running += status == STATUS_AGAIN;
        if (status == STATUS_UNREACHABLE)
            unused = attempt;
    }
    take_lookup(dial, now_ns, error);
    while (unused != NULL && now_ns >= dial->next_ns) {
        const struct addrinfo *address = next_address(dial, now_ns, error);
        if (address == NULL)
            break;
        if (begin_attempt(dial, unused, address, now_ns, error))
            return STATUS_AGAIN;
    }
    return running != 0 || dial->lookup != NULL || now_ns < dial->next_ns ? STATUS_AGAIN
                                                                          : STATUS_UNREACHABLE;
}

unsigned dial_poll(const struct dial *dial, struct pollfd *polled, uint64_t *wake_ns)
{
    unsigned count = 0;
    bool more =
        dial->lookup == NULL && (dial->next != NULL || dial->taken_count < dial->endpoints_count);

    *wake_ns = UINT64_MAX;
    for (unsigned i = 0; i < dial_attempts_max; i++) {
        if (dial->attempts[i].descriptor == -1)
            continue;
        polled[count++] = (struct pollfd){.fd = dial->attempts[i].descriptor, .events = POLLOUT};
        if (dial->attempts[i].deadline_ns < *wake_ns)
            *wake_ns = dial->attempts[i].deadline_ns;
    }
    bool has_room = count < dial_attempts_max;
    if (dial->lookup != NULL && has_room)
        polled[count++] = (struct pollfd){.fd = lookup_descriptor(dial->lookup), .events = POLLIN};
    if (dial->lookup != NULL && dial->lookup_until_ns < *wake_ns)
        *wake_ns = dial->lookup_until_ns;
    if (count == 0 || (more && has_room && dial->next_ns < *wake_ns))
        *wake_ns = dial->next_ns;
    return count;
}
