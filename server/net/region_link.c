/* SPDX-License-Identifier: Apache-2.0 */
#include "server/net/region_link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/assert.h"
#include "proto/base/log.h"
#include "server/net/region_link_internal.h"

enum { redirects_max = 4, log_pause_s = 10 };

static const uint64_t nanoseconds_in_ms = 1000000;

static void dial(struct region_link *link);

void region_link_timer_start(struct region_link *link, struct io_timer *timer, uint64_t delay_ms)
{
    io_timer_start(link->io, timer, io_boot_ns(link->io) + delay_ms * nanoseconds_in_ms);
}

void region_link_step_later(struct region_link *link)
{
    if (!link->step.started)
        region_link_timer_start(link, &link->step, 0);
}

/* ---- What is told ---- */

/* Why there is no connection. A line now and then is enough, where it stays so. */
static void note_trouble(struct region_link *link, const char *reason, bool is_news)
{
    uint64_t now_ns = io_boot_ns(link->io);
    snprintf(link->trouble, sizeof link->trouble, "%s: %s", link->endpoint, reason);
    if (!is_news && now_ns < link->log_after_ns)
        return;
    link->log_after_ns = now_ns + log_pause_s * 1000 * nanoseconds_in_ms;
    log_warn("region_link_down", LOG_TEXT("endpoint", link->endpoint), LOG_TEXT("reason", reason));
}

void region_link_opened(struct region_link *link)
{
    link->statistics.connected_count++;
    link->heard_ns = io_boot_ns(link->io);
    link->trouble[0] = 0;
    link->is_told = true;
    log_info("region_link_connected", LOG_TEXT("endpoint", link->endpoint),
             LOG_TEXT("identity", link->connection->identity));
    if (link->user != NULL)
        link->user->connected(link->user->context, link->endpoint);
}

static void reap(struct region_link *link)
{
    LIST_EACH(place, &link->ended)
    {
        struct region_link_connection *connection =
            LIST_ENTRY(place, struct region_link_connection, place);
        if (region_link_connection_is_done(connection))
            region_link_connection_free(connection);
    }
}

static void step(struct io_timer *timer)
{
    struct region_link *link = timer->context;
    reap(link);
    if (link->connection != NULL)
        region_link_connection_send(link->connection);
    /* No other connection opens before the end of the last is told (dial()). */
    if (link->is_told && link->connection == NULL) {
        link->is_told = false;
        region_link_requests_lose(link);
        if (link->user != NULL)
            link->user->disconnected(link->user->context, link->reason);
        dial(link);
    }
}

/* ---- Whom to dial ---- */

/* Between half of the back-off and all of it, so that those who lost one server at one time do not
 * all come back at one time. It doubles with each round of the list: while one server of a region
 * is down, the next is tried soon. */
static uint64_t back_off_draw(struct region_link *link)
{
    const struct region_link_options *options = &link->options;
    unsigned round = link->endpoints.count != 0 ? link->endpoints.count : 1;
    if (link->failures_count == 0)
        link->back_off_ms = options->back_off_min_ms;
    else if (link->failures_count % round == 0)
        link->back_off_ms = link->back_off_ms < options->back_off_max_ms / 2
                                ? link->back_off_ms * 2
                                : options->back_off_max_ms;
    link->failures_count++;
    return generator_between(&link->generator, link->back_off_ms / 2, link->back_off_ms);
}

/* Dials after `delay_ms`, unless that will happen sooner. */
static void dial_later(struct region_link *link, uint64_t delay_ms)
{
    if (!link->is_closing && !link->dial_timer.started)
        region_link_timer_start(link, &link->dial_timer, delay_ms);
}

/* This endpoint is not to be had: its next address at once, or, after a pause, the next one. */
static void dial_failed(struct region_link *link, const char *reason, bool is_news)
{
    note_trouble(link, reason, is_news);
    dial_later(link, link->addresses_next < link->addresses.count ? 0 : back_off_draw(link));
}

static void dial_address(struct region_link *link)
{
    ASSERT(link->addresses_next < link->addresses.count);
    const char *address = link->addresses.addresses[link->addresses_next++];
    enum status status = region_link_connection_dial(link, address, link->port);
    if (status != STATUS_OK)
        dial_failed(link, status_text(status), false);
}

static void looked_up(void *context, const struct resolved *resolved)
{
    struct region_link *link = context;
    io_timer_stop(link->io, &link->dial_timer);
    link->addresses = *resolved;
    link->addresses_next = 0;
    if (link->connection != NULL || link->is_closing)
        return;
    if (resolved->status != STATUS_OK)
        dial_failed(link, resolved->reason, false);
    else
        dial_address(link);
}

/* The leader that was named, or else the next of the list. False: there is nobody to dial. */
static bool endpoint_choose(struct region_link *link)
{
    if (link->leader[0] != 0) {
        memcpy(link->endpoint, link->leader, sizeof link->leader);
        link->leader[0] = 0;
        return true;
    }
    if (link->endpoints.count == 0)
        return false;
    link->endpoints_next %= link->endpoints.count;
    memcpy(link->endpoint, link->endpoints.texts[link->endpoints_next], sizeof link->endpoint);
    link->endpoints_next++;
    return true;
}

static void dial(struct region_link *link)
{
    char host[limit_member_address_size + 1];
    if (link->is_closing || link->is_told || link->connection != NULL || link->dial_timer.started ||
        resolver_is_busy(&link->resolver))
        return;
    if (link->addresses_next < link->addresses.count) {
        dial_address(link);
        return;
    }
    if (!endpoint_choose(link))
        return;
    link->addresses = (struct resolved){0};
    link->addresses_next = 0;
    bool is_address = address_split(link->endpoint, host, &link->port);
    ASSERT(is_address);
    if (address_is_numeric(host)) {
        link->addresses.count = 1;
        snprintf(link->addresses.addresses[0], resolver_address_size, "%s", host);
        dial_address(link);
        return;
    }
    enum status status = resolver_start(&link->resolver, host, looked_up, link);
    if (status == STATUS_OK)
        region_link_timer_start(link, &link->dial_timer, link->options.connect_ms);
    else
        dial_failed(link, status_text(status), false);
}

/* A pause is over, or the time for a look-up. */
static void dial_fired(struct io_timer *timer)
{
    struct region_link *link = timer->context;
    if (!resolver_is_busy(&link->resolver)) {
        dial(link);
        return;
    }
    resolver_abandon(&link->resolver);
    dial_failed(link, "no name server told its address in time", false);
}

/* Its endpoint is done with, whatever addresses it has. */
static void addresses_forget(struct region_link *link)
{
    resolver_abandon(&link->resolver);
    link->addresses = (struct resolved){0};
    link->addresses_next = 0;
}

void region_link_ended(struct region_link *link, bool was_open, const char *reason)
{
    snprintf(link->reason, sizeof link->reason, "%s", reason);
    region_link_step_later(link);
    if (link->is_closing)
        return;
    if (was_open)
        addresses_forget(link);
    dial_failed(link, reason, was_open);
}

static bool endpoints_hold(const struct region_link_endpoints *endpoints, const char *endpoint)
{
    for (unsigned i = 0; i < endpoints->count; i++) {
        if (strcmp(endpoints->texts[i], endpoint) == 0)
            return true;
    }
    return false;
}

/* A region's servers may name each other by addresses that only they can reach. So a leader that is
 * on the list is dialled at once; any other one once the whole list was asked in vain. */
void region_link_redirect(struct region_link *link, const char *leader)
{
    char host[limit_member_address_size + 1];
    uint16_t port;
    char reason[region_link_reason_size + 1];
    bool is_known = strlen(leader) <= limit_member_address_size && identity_is_valid(leader) &&
                    address_split(leader, host, &port);
    snprintf(reason, sizeof reason, "it does not lead its region%s%s", is_known ? "; leader: " : "",
             is_known ? leader : "");
    region_link_connection_end(link->connection, reason);
    if (!is_known)
        return;
    if (endpoints_hold(&link->endpoints, leader) ||
        link->redirects_count + 1 >= link->endpoints.count)
        snprintf(link->leader, sizeof link->leader, "%s", leader);
    link->statistics.redirects_count++;
    if (++link->redirects_count > redirects_max + link->endpoints.count)
        return;
    io_timer_stop(link->io, &link->dial_timer);
    dial_later(link, 0);
}

/* ---- The interface ---- */

static struct region_link *link_of(struct link *interface)
{
    return (struct region_link *)interface;
}

static void link_of_tls_attach(struct link *interface, const struct link_user *user)
{
    struct region_link *link = link_of(interface);
    ASSERT((link->user == NULL) != (user == NULL));
    if (user != NULL)
        link->attached = *user;
    link->user = user != NULL ? &link->attached : NULL;
}

static void endpoints_take(struct region_link_endpoints *endpoints, const char *const *from,
                           size_t count)
{
    char host[limit_member_address_size + 1];
    uint16_t port;
    *endpoints = (struct region_link_endpoints){0};
    for (size_t i = 0; i < count && endpoints->count < limit_link_endpoints_count; i++) {
        if (strlen(from[i]) <= limit_member_address_size && address_split(from[i], host, &port))
            snprintf(endpoints->texts[endpoints->count++], sizeof endpoints->texts[0], "%s",
                     from[i]);
    }
}

static void link_of_tls_endpoints(struct link *interface, const char *const *endpoints,
                                  size_t count)
{
    struct region_link *link = link_of(interface);
    struct region_link_endpoints next;
    endpoints_take(&next, endpoints, count);
    if (memcmp(&next, &link->endpoints, sizeof next) == 0)
        return;
    link->endpoints = next;
    if (endpoints_hold(&next, link->endpoint)) {
        /* It goes on with that one; or it rested, for there was none. */
        dial_later(link, 0);
        return;
    }
    link->leader[0] = 0;
    link->trouble[0] = 0;
    addresses_forget(link);
    if (link->connection != NULL)
        region_link_connection_end(link->connection, "it is no endpoint of the other region");
    io_timer_stop(link->io, &link->dial_timer);
    link->failures_count = 0;
    dial_later(link, 0);
}

static enum status link_of_tls_send(struct link *interface, enum frame_type type,
                                    const ProtobufCMessage *message, uint32_t timeout_ms,
                                    void *request)
{
    return region_link_request_send(link_of(interface), type, message, timeout_ms, request);
}

static void link_of_tls_leave(struct link *interface, const char *reason)
{
    struct region_link *link = link_of(interface);
    if (link->connection != NULL && link->connection->state == REGION_LINK_OPEN)
        region_link_connection_end(link->connection, reason);
}

static const char *link_of_tls_trouble(const struct link *interface)
{
    return ((const struct region_link *)interface)->trouble;
}

static const struct link_operations link_of_tls = {
    .attach = link_of_tls_attach,
    .endpoints = link_of_tls_endpoints,
    .send = link_of_tls_send,
    .leave = link_of_tls_leave,
    .trouble = link_of_tls_trouble,
};

struct link *region_link_interface(struct region_link *link)
{
    return &link->interface;
}

/* ---- Opening and closing ---- */

static void options_fill(struct region_link_options *options)
{
    const struct {
        uint32_t *option;
        uint32_t standard;
    } standards[] = {
        {&options->connect_ms, limit_handshake_ms},
        {&options->keep_alive_ms, 1000},
        {&options->silent_ms, 5000},
        {&options->back_off_min_ms, 50},
        {&options->back_off_max_ms, 2000},
    };
    for (size_t i = 0; i < sizeof standards / sizeof standards[0]; i++) {
        if (*standards[i].option == 0)
            *standards[i].option = standards[i].standard;
    }
}

enum status region_link_open(const struct region_link_options *options, struct region_link **link,
                             struct error *error)
{
    *link = NULL;
    struct region_link *made = calloc(1, sizeof *made);
    if (made == NULL || (made->bio_method = tls_stream_method()) == NULL) {
        free(made);
        return error_set(error, STATUS_NO_MEMORY, "No memory for the link to another region.");
    }
    enum status status = resolver_open(&made->resolver, options->io);
    if (status != STATUS_OK) {
        BIO_meth_free(made->bio_method);
        free(made);
        return error_set(error, status, "The link to another region cannot be opened: %s.",
                         status_text(status));
    }
    made->interface.operations = &link_of_tls;
    made->options = *options;
    options_fill(&made->options);
    snprintf(made->program, sizeof made->program, "%s", options->program);
    made->options.program = made->program;
    made->io = options->io;
    made->step = (struct io_timer){.fired = step, .context = made};
    made->dial_timer = (struct io_timer){.fired = dial_fired, .context = made};
    list_init(&made->ended);
    generator_init(&made->generator, options->seed);
    SSL_CTX_up_ref(options->tls);
    made->tls = options->tls;
    region_link_requests_init(made);
    *link = made;
    return STATUS_OK;
}

void region_link_close(struct region_link *link)
{
    link->is_closing = true;
    link->user = NULL;
    io_timer_stop(link->io, &link->dial_timer);
    resolver_close(&link->resolver);
    if (link->connection != NULL)
        region_link_connection_end(link->connection, "this server stops");
    region_link_requests_lose(link);
    /* What is left waits for its send or connect alone, which was cancelled. */
    for (reap(link); !list_is_empty(&link->ended); reap(link))
        io_turn(link->io, true);
    io_timer_stop(link->io, &link->step);
    SSL_CTX_free(link->tls);
    BIO_meth_free(link->bio_method);
    free(link);
}

void region_link_reload_tls(struct region_link *link, SSL_CTX *tls)
{
    SSL_CTX_up_ref(tls);
    SSL_CTX_free(link->tls);
    link->tls = tls;
}

void region_link_reload_access(struct region_link *link, const struct access *access)
{
    link->options.access = access;
}

/* ---- How it stands ---- */

struct region_link_facts region_link_facts(const struct region_link *link)
{
    const struct region_link_connection *connection = link->connection;
    struct region_link_facts facts = {.heard_ns = link->heard_ns,
                                      .requests_count = link->requests_count - link->late_count};
    facts.is_connected = connection != NULL && connection->state == REGION_LINK_OPEN;
    memcpy(facts.endpoint, link->endpoint, sizeof link->endpoint);
    memcpy(facts.trouble, link->trouble, sizeof link->trouble);
    if (facts.is_connected)
        memcpy(facts.identity, connection->identity, sizeof connection->identity);
    return facts;
}

struct region_link_statistics region_link_statistics(const struct region_link *link)
{
    return link->statistics;
}
